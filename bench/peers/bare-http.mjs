// Routes of `Bun.serve` that check nothing: one answers a fixed body as long as ours, the other
// runs the query that ours runs.
import { readFileSync } from 'node:fs'
import { SQL } from 'bun'

const { BODY, DATABASE_URL, PORT, QUERY, USERS } = process.env
const sql = new SQL(DATABASE_URL, { max: 20 })
const headers = new Headers({ 'content-type': 'application/json' })
const ids = readFileSync(USERS, 'utf8')
  .split('\n', 64)
  .map((line) => line.split('\t')[0])
let turn = 0

Bun.serve({
  hostname: '127.0.0.1',
  port: Number(PORT),
  routes: {
    '/plain': () => new Response(BODY, { headers }),
    '/query': async () => {
      const [row] = await sql.unsafe(QUERY, [ids[turn++ % ids.length]])
      return new Response(JSON.stringify(row), { headers })
    },
  },
})
