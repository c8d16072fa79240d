import type { SQL } from 'bun'
import type { Caller } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import type { PersonalItem } from '../../kernel/personal-data.ts'
import { eraseFactor, factorStatus } from '../factors/mfa.ts'
import { cancelRecovery } from '../factors/recoveries.ts'
import { deviceName } from '../sessions/device-name.ts'
import { previousAddresses } from './addresses.ts'
import { getAccount } from './users.ts'

/**
 * What identity holds of a person: for their export, and for the closing of their account. Secrets
 * (passwords, tokens, codes) are neither exported nor kept.
 */

/** What stays when somebody leaves. */
export const KEPT = [
  'The id of your account, without name or address: messages and bookings of others refer to it.',
  'When your sessions began and ended, without device or place: they end by themselves within a ' +
    'month.',
] as const

const PAGE = 500

/** The account, its earlier addresses, sessions, devices, second factor and recoveries. */
export async function* exportIdentity(
  { clock }: Kernel,
  sql: SQL,
  userId: string,
): AsyncGenerator<PersonalItem> {
  yield { section: 'account', item: { ...(await getAccount(sql, userId)) } }
  for (const email of await previousAddresses(sql, clock, userId)) {
    yield { section: 'previous_addresses', item: { email } }
  }
  const { enabledAt, recoveryCodesLeft } = await factorStatus(sql, userId)
  yield {
    section: 'second_factor',
    item: {
      enabled: enabledAt !== undefined,
      enabled_at: enabledAt?.toISOString() ?? null,
      recovery_codes_left: recoveryCodesLeft,
    },
  }
  yield* exportSessions(sql, userId)
  yield* exportDevices(sql, userId)
  yield* exportRecoveries(sql, userId)
}

interface SessionRow {
  readonly id: string
  readonly created_at: Date
  readonly last_used_at: Date
  readonly revoked_at: Date | null
  readonly user_agent: string | null
  readonly address: string
}

async function* exportSessions(sql: SQL, userId: string): AsyncGenerator<PersonalItem> {
  const pages = pagesOf<SessionRow>(
    (after) => sql`
      select id, created_at, last_used_at, revoked_at, user_agent, address from sessions
      where user_id = ${userId} and id > ${after} order by id limit ${PAGE}`,
  )
  for await (const { id, user_agent, address, ...times } of pages) {
    const item = { id, ...isoOf(times), user_agent, address }
    yield { section: 'sessions', item }
  }
}

interface DeviceRow {
  readonly id: string
  readonly first_seen_at: Date
  readonly last_seen_at: Date
  readonly user_agent: string | null
  readonly address: string
}

async function* exportDevices(sql: SQL, userId: string): AsyncGenerator<PersonalItem> {
  const pages = pagesOf<DeviceRow>(
    (after) => sql`
      select id, first_seen_at, last_seen_at, user_agent, address from devices
      where user_id = ${userId} and id > ${after} order by id limit ${PAGE}`,
  )
  for await (const { id, user_agent, address, ...times } of pages) {
    const item = { id, name: deviceName(user_agent), ...isoOf(times), user_agent, address }
    yield { section: 'devices', item }
  }
}

interface RecoveryRow {
  readonly id: string
  readonly started_at: Date
  readonly completes_at: Date
  readonly completed_at: Date | null
  readonly cancelled_at: Date | null
}

async function* exportRecoveries(sql: SQL, userId: string): AsyncGenerator<PersonalItem> {
  const pages = pagesOf<RecoveryRow>(
    (after) => sql`
      select id, started_at, completes_at, completed_at, cancelled_at from recoveries
      where user_id = ${userId} and id > ${after} order by id limit ${PAGE}`,
  )
  for await (const { id, ...times } of pages) {
    yield { section: 'recoveries', item: { id, ...isoOf(times) } }
  }
}

/** Before every id. */
const FIRST = '00000000-0000-0000-0000-000000000000'

/** Rows in order of their ids, a page at a time. */
async function* pagesOf<Row extends { readonly id: string }>(
  read: (after: string) => Promise<unknown>,
): AsyncGenerator<Row> {
  let after = FIRST
  for (;;) {
    const rows = (await read(after)) as Row[]
    yield* rows
    const last = rows.at(-1)
    if (last === undefined || rows.length < PAGE) return
    after = last.id
  }
}

/** Moments as clients see them. */
function isoOf<Name extends string>(
  times: Readonly<Record<Name, Date | null>>,
): Record<Name, string | null> {
  const texts = Object.entries<Date | null>(times).map(([name, at]) => [
    name,
    at?.toISOString() ?? null,
  ])
  return Object.fromEntries(texts) as Record<Name, string | null>
}

/** Removes what hangs on an account that is being closed; the account's own row is not touched. */
export async function forgetIdentity(
  ctx: WriteContext<Caller | null>,
  userId: string,
): Promise<void> {
  const { sql } = ctx.tx
  await cancelRecovery(ctx, userId, 'account_closed')
  await eraseFactor(sql, userId)
  await sql`update sessions set user_agent = null, address = '' where user_id = ${userId}`
  await sql`delete from devices where user_id = ${userId}`
  await sql`delete from one_time_links where user_id = ${userId}`
  await sql`delete from previous_addresses where user_id = ${userId}`
}
