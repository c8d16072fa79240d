import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import type { Caller } from '../kernel/access.ts'
import type { WriteContext } from '../kernel/context.ts'
import { idOfCursor, pageOf } from '../kernel/cursor.ts'
import type { Kernel, StreamPage } from '../kernel/kernel.ts'
import { SERVICE_STREAM, ServiceEventTypes } from '../kernel/service-event.ts'
import { placeOf, type Vault } from '../vault/vault.ts'
import { Out } from './out.ts'
import type { Change, Webhook, WebhookStanding } from './shapes.ts'
import { newSecret } from './signature.ts'

/** The table of endpoints, as their owners see and change it. */

/** A row, as it is selected with `COLUMNS`. */
export interface EndpointRow {
  readonly id: string
  readonly key_id: string | null
  readonly url: string
  readonly description: string
  readonly events: string[]
  readonly parallel: number
  readonly state: Webhook['state']
  readonly disabled_because: Webhook['disabled_because']
  readonly secret: Uint8Array
  readonly previous_secret: Uint8Array | null
  readonly previous_until: Date | null
  readonly epoch: string
  readonly position: number
  readonly missed: number
  readonly missed_at: Date | null
  readonly failing_since: Date | null
  readonly failures: number
  readonly created_at: Date
  readonly updated_at: Date
}

/** What `EndpointRow` has, in SQL. */
const COLUMNS = `id, key_id, url, description, events, parallel, state, disabled_because,
  secret, previous_secret, previous_until, epoch, position::float8 as position,
  missed::float8 as missed, missed_at, failing_since, failures, created_at, updated_at`

const TABLE = 'webhook_endpoints'
/** Endpoints of one service, and of all administrators together. */
const SERVICE_ENDPOINTS_MAX = 10
const ADMIN_ENDPOINTS_MAX = 100

/** The API key whose endpoints a caller has to do with; null for administrators: everybody's. */
const keyOf = (caller: Caller) => (caller.kind === 'service' ? caller.keyId : null)

const noSuchWebhook = () => new Failure('not_found', 'You have no such webhook')

/**
 * Where the stream of events for services stands. Not within a transaction: it asks over a
 * connection of its own, of which there may be none left when many wait for each other.
 */
export function streamHead({ streams }: Kernel): Promise<StreamPage> {
  return streams.page(SERVICE_STREAM, 0, 0)
}

/**
 * What a caller says about an endpoint, checked.
 * @returns the address in its one spelling
 * @throws Failure `validation_failed`
 */
function checked({ kernel }: { kernel: Kernel }, { url, events }: Change): string | undefined {
  for (const [n, type] of (events ?? []).entries()) {
    if (kernel.use(ServiceEventTypes).has(type)) continue
    throw invalid(`/events/${n}`, 'is no type of event: see GET /webhooks/event-types')
  }
  if (url === undefined) return undefined
  const parsed = new URL(url)
  const refusal = kernel.use(Out).refusal(parsed)
  if (refusal !== undefined) throw invalid('/url', refusal)
  return parsed.href
}

/** The refusal of one field. */
export function invalid(path: string, message: string): Failure {
  return new Failure('validation_failed', 'Invalid webhook', { errors: [{ path, message }] })
}

/** Types of events as a text literal; they are our own words by now. */
const textArray = (types: readonly string[]) => `{${types.join(',')}}`

/** What is sealed of an endpoint. */
export type SecretColumn = 'secret' | 'previous_secret'

/** Opens a secret. @throws VaultError */
export function openSecret(vault: Vault, id: string, column: SecretColumn, sealed: Uint8Array) {
  return vault.open(placeOf(TABLE, column, id), sealed)
}
function seal(vault: Vault, id: string, column: SecretColumn, secret: Uint8Array): Buffer {
  return vault.seal(placeOf(TABLE, column, id), secret)
}

/**
 * Makes an endpoint that is told from now on.
 * @throws Failure `validation_failed` | `conflict` when there are too many
 */
export async function createEndpoint(
  ctx: WriteContext<Caller>,
  wanted: Change & { readonly url: string },
  head: StreamPage,
): Promise<{ row: EndpointRow; secret: Buffer }> {
  const { tx, clock, actor, kernel } = ctx
  const url = checked(ctx, wanted) as string
  await refuseTooMany(tx.sql, actor)
  const id = uuidv7(clock.now())
  const secret = newSecret()
  const { description = '', events = [], parallel = 1 } = wanted
  const createdBy = actor.kind === 'user' ? actor.userId : null
  await tx.sql`
    insert into webhook_endpoints (id, key_id, created_by, url, description, events, parallel,
      secret, state, epoch, position, created_at, updated_at)
    values (${id}, ${keyOf(actor)}, ${createdBy}, ${url}, ${description},
      ${textArray(events)}::text::text[], ${parallel}, ${seal(kernel.vault, id, 'secret', secret)},
      'active', ${head.epoch}, ${head.top}, now(), now())`
  return { row: await ownEndpoint(tx.sql, actor, id), secret }
}

async function refuseTooMany(sql: SQL, caller: Caller): Promise<void> {
  const key = keyOf(caller)
  // One after another for one owner: who comes at the same time is counted too.
  await sql`select pg_advisory_xact_lock(hashtextextended(${`webhooks of ${key ?? 'admins'}`}, 0))`
  const [row] = await sql`
    select count(*)::int as count from webhook_endpoints
    where key_id is not distinct from ${key}::uuid`
  const most = key === null ? ADMIN_ENDPOINTS_MAX : SERVICE_ENDPOINTS_MAX
  if (row.count < most) return
  throw new Failure('conflict', `There are ${most} webhooks already: delete one that nobody needs`)
}

/**
 * An endpoint that the caller may see: administrators all, a service its own.
 * @throws Failure `not_found`
 */
export async function ownEndpoint(sql: SQL, caller: Caller, id: string): Promise<EndpointRow> {
  const key = keyOf(caller)
  const [row] = await sql.unsafe<EndpointRow[]>(
    `select ${COLUMNS} from webhook_endpoints
     where id = $1 and ($2::uuid is null or key_id = $2::uuid)`,
    [id, key],
  )
  if (row === undefined) throw noSuchWebhook()
  return row
}

/** The same, locked until the caller's transaction ends. */
export async function holdEndpoint(sql: SQL, caller: Caller, id: string): Promise<EndpointRow> {
  const key = keyOf(caller)
  const [row] = await sql.unsafe<EndpointRow[]>(
    `select ${COLUMNS} from webhook_endpoints
     where id = $1 and ($2::uuid is null or key_id = $2::uuid) for no key update`,
    [id, key],
  )
  if (row === undefined) throw noSuchWebhook()
  return row
}

/** Endpoints that the caller may see, the newest first. */
export async function listEndpoints(
  sql: SQL,
  caller: Caller,
  limit: number,
  cursor: string | undefined,
): Promise<{ items: EndpointRow[]; next_cursor: string | null }> {
  const rows = await sql.unsafe<EndpointRow[]>(
    `select ${COLUMNS} from webhook_endpoints
     where ($1::uuid is null or key_id = $1::uuid) and ($2::uuid is null or id < $2::uuid)
     order by id desc limit $3`,
    [keyOf(caller), idOfCursor(cursor) ?? null, limit + 1],
  )
  return pageOf(rows, limit, ({ id }) => id)
}

/**
 * Changes an endpoint. A new address, or being made active, clears what failures have left behind.
 * @throws Failure `not_found` | `validation_failed`
 */
export async function updateEndpoint(
  ctx: WriteContext<Caller>,
  id: string,
  change: Change,
): Promise<{ before: EndpointRow; after: EndpointRow }> {
  const { tx, actor } = ctx
  const before = await holdEndpoint(tx.sql, actor, id)
  const url = checked(ctx, change) ?? before.url
  const { description = before.description, events = before.events } = change
  const { parallel = before.parallel, state = before.state } = change
  const afresh = url !== before.url || change.state === 'active'
  await tx.sql`
    update webhook_endpoints set url = ${url}, description = ${description},
      events = ${textArray(events)}::text::text[], parallel = ${parallel}, state = ${state},
      disabled_because = case when ${state} = 'disabled' then disabled_because end,
      failing_since = case when ${afresh} then null else failing_since end,
      failures = case when ${afresh} then 0 else failures end,
      not_before = case when ${afresh} then null else not_before end,
      updated_at = now()
    where id = ${before.id}`
  return { before, after: await ownEndpoint(tx.sql, actor, before.id) }
}

/** Removes an endpoint with everything that was sent or waits. @throws Failure `not_found` */
export async function deleteEndpoint(
  { tx, actor }: WriteContext<Caller>,
  id: string,
): Promise<EndpointRow> {
  const row = await holdEndpoint(tx.sql, actor, id)
  await tx.sql`delete from webhook_endpoints where id = ${row.id}`
  return row
}

/**
 * Gives an endpoint a new secret; deliveries are signed with the old one too for `overlapMs`. One
 * that was still known from before that ends now.
 * @throws Failure `not_found`
 */
export async function rotateSecret(
  { tx, actor, kernel: { vault } }: WriteContext<Caller>,
  id: string,
  overlapMs: number,
): Promise<{ row: EndpointRow; secret: Buffer }> {
  const held = await holdEndpoint(tx.sql, actor, id)
  const secret = newSecret()
  const old = openSecret(vault, held.id, 'secret', held.secret)
  const previous = overlapMs > 0 ? seal(vault, held.id, 'previous_secret', old) : null
  await tx.sql`
    update webhook_endpoints set secret = ${seal(vault, held.id, 'secret', secret)},
      previous_secret = ${previous},
      previous_until = case when ${previous !== null}
        then now() + ${overlapMs}::float8 * interval '1 millisecond' end,
      updated_at = now()
    where id = ${held.id}`
  return { row: await ownEndpoint(tx.sql, actor, held.id), secret }
}

/** Sets the place in the stream from which on an endpoint is told. */
export async function moveEndpoint(
  { tx, actor }: WriteContext<Caller>,
  { id }: EndpointRow,
  to: { readonly epoch: string; readonly offset: number },
): Promise<EndpointRow> {
  await tx.sql`
    update webhook_endpoints set epoch = ${to.epoch}, position = ${to.offset} where id = ${id}`
  return await ownEndpoint(tx.sql, actor, id)
}

const iso = (date: Date | null) => date?.toISOString() ?? null

/** An endpoint as its owner sees it. */
export function describeEndpoint(row: EndpointRow, nowMs: number): Webhook {
  const overlaps = row.previous_until !== null && row.previous_until.getTime() > nowMs
  return {
    id: row.id,
    url: row.url,
    description: row.description,
    events: row.events,
    parallel: row.parallel,
    state: row.state,
    disabled_because: row.disabled_because,
    key_id: row.key_id,
    epoch: row.epoch,
    offset: row.position,
    missed: row.missed,
    missed_at: iso(row.missed_at),
    failing_since: iso(row.failing_since),
    previous_secret_until: overlaps ? iso(row.previous_until) : null,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  }
}

/** The same with how far it is behind a head of the stream. */
export function withBehind(row: EndpointRow, head: StreamPage, nowMs: number): WebhookStanding {
  // In another life of the stream everything is still to come.
  const position = row.epoch === head.epoch ? row.position : 0
  return { ...describeEndpoint(row, nowMs), behind: Math.max(0, head.top - position) }
}
