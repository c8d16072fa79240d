import { SQL } from 'bun'
import { schedule } from '../../jobs/schedule.ts'
import { CLOSE } from '../../realtime/codes.ts'
import { ERRORS } from '../../src/base/errors.ts'
import { LIMITS } from '../../src/kernel/limits.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { isWords, schemaText } from './schema-text.ts'
import { dottedNames, metricDefinitions } from './source-names.ts'

/** What others rely on by name: clients, dashboards, other services, and rows in databases. */
export type Contract = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/** Reads the contract of the product from a started server. */
export async function collectContract(): Promise<Contract> {
  const server = await testServer()
  try {
    const { kinds, events, queues, channels, serviceEvents } = server.registry
    return {
      ...(await restContract(server)),
      ...(await socketContract(server)),
      metrics: await metrics(server),
      close_codes: Object.fromEntries(
        Object.entries(CLOSE).map(([, { code, ...rest }]) => [code, rest]),
      ),
      errors: Object.fromEntries(
        Object.entries(ERRORS).map(([code, { status, retryable }]) => [
          code,
          { status, retryable },
        ]),
      ),
      limits: Object.fromEntries(
        Object.entries(LIMITS).map(([name, { store }]) => [name, { store }]),
      ),
      queues: Object.fromEntries(
        [...queues].map(([name, { payload }]) => [name, schemaText(payload)]),
      ),
      jobs: Object.fromEntries(schedule.map(({ job, at }) => [job.name, at])),
      channels: Object.fromEntries([...channels].map(([name, { recovery }]) => [name, recovery])),
      event_kinds: Object.fromEntries([...kinds].map(([kind, { type }]) => [kind, type])),
      events: Object.fromEntries(
        events.map(({ type, channel, payload }) => [
          `${channel.namespace} ${type}`,
          schemaText(payload),
        ]),
      ),
      service_events: Object.fromEntries(
        [...serviceEvents].map(([type, { data }]) => [type, schemaText(data)]),
      ),
      audit_actions: namesOf('action'),
      stored_kinds: namesOf('kind'),
      tables: await tables(server),
    }
  } finally {
    await server.stop()
  }
}

type Json = { [name: string]: unknown }

const namesOf = (property: 'action' | 'kind'): Json =>
  Object.fromEntries(dottedNames(property).map((name) => [name, true]))

/** A document with its schemas as text and without words for people. */
function digest(value: unknown, key = ''): unknown {
  if (key === 'schema' || key === 'payload') return schemaText(value)
  if (Array.isArray(value)) return value.map((each) => digest(each))
  if (typeof value !== 'object' || value === null) return value
  if ('$ref' in value && Object.keys(value).length === 1) return String(value.$ref)
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name, field]) => !isWords(name, field))
      .map(([name, field]) => [name, digest(field, name)]),
  )
}

async function documentOf({ url }: TestServer, path: string): Promise<Json> {
  const response = await fetch(url + path)
  if (!response.ok) throw new Error(`${path}: ${response.status}`)
  return (await response.json()) as Json
}

const schemasOf = (components: Json): Json =>
  Object.fromEntries(
    Object.entries(components['schemas'] as Json).map(([name, one]) => [name, schemaText(one)]),
  )

/** Every path and method, with what they share. */
async function restContract(server: TestServer): Promise<Contract> {
  const { paths, components } = (await documentOf(server, '/api-json')) as { [part: string]: Json }
  const routes: Json = {}
  for (const [path, methods] of Object.entries(paths as { [path: string]: Json })) {
    for (const [method, entry] of Object.entries(methods)) {
      routes[`${method.toUpperCase()} ${path}`] = digest(entry)
    }
  }
  const { schemas: _, ...parts } = components as Json
  return {
    rest: routes,
    rest_schemas: schemasOf(components as Json),
    rest_parts: digest(parts) as Json,
  }
}

async function socketContract(server: TestServer): Promise<Contract> {
  const document = (await documentOf(server, '/asyncapi.json')) as { [part: string]: Json }
  const { schemas: _, ...parts } = document['components'] as Json
  return {
    socket_channels: withoutServers(digest(document['channels']) as { [name: string]: Json }),
    socket_operations: digest(document['operations']) as Json,
    socket_schemas: schemasOf(document['components'] as Json),
    socket_parts: digest(parts) as Json,
  }
}

/** Where a server listens is not the contract's business. */
const withoutServers = (channels: { [name: string]: Json }): Json =>
  Object.fromEntries(
    Object.entries(channels).map(([name, channel]) => {
      const { servers: _servers, ...rest } = channel
      return [name, rest]
    }),
  )

/**
 * Those that `/metrics` of a started server has, and those that come with the first mail, batch or
 * refusal. A server that just started shows few series, so that labels are read from the source.
 */
async function metrics({ url }: TestServer): Promise<Json> {
  const found: Json = Object.fromEntries(metricDefinitions())
  const text = await (await fetch(`${url}/metrics`)).text()
  for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    found[name as string] ??= { type, labels: [] }
  }
  return found
}

/** Tables with their columns; a partitioned one stands for its days. */
async function tables({ database }: TestServer): Promise<Json> {
  const sql = new SQL({ url: database.ownerUrl, max: 1 })
  try {
    const rows: { table: string; column: string; type: string }[] = await sql`
      select c.relname as table, a.attname as column,
        format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end
          as type
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public'
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where c.relkind in ('r', 'p', 'v', 'm') and not c.relispartition
      order by 1, 2`
    const found: { [table: string]: Json } = {}
    for (const { table, column, type } of rows) (found[table] ??= {})[column] = type
    return found
  } finally {
    await sql.close()
  }
}
