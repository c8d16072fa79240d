/**
 * A server in a process of its own, to be stopped and killed: takes the URL of the database's
 * owner and further environment variables as JSON, prints its port as one line of JSON, and serves
 * until it is ended.
 */
import type { TestDatabase } from './database.ts'
import { features } from '../../src/features.ts'
import { labFeature } from './lab.ts'
import { testServer } from './server.ts'

const [ownerUrl = '', env = '{}'] = process.argv.slice(2)
const database = { ownerUrl } as TestDatabase
const { port } = await testServer({
  features: [...features, labFeature],
  database,
  env: JSON.parse(env) as Record<string, string>,
})
console.log(JSON.stringify({ port }))
