import type { SQL } from 'bun'
import type { Clock } from '../../base/clock.ts'
import { internalRequest } from '../../kernel/access.ts'
import type { Job } from '../../kernel/job.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { QueueCatalog } from '../../kernel/queue.ts'
import { unitOfWork } from '../../kernel/write.ts'
import { mailQueue, sendMail } from '../../mail/index.ts'
import { eraseAccount } from '../accounts/closing.ts'
import { lockUser } from '../accounts/lock.ts'
import { makeLink } from './links.ts'

/**
 * Accounts whose address nobody has confirmed: reminded once after three days (where the mailbox
 * exists); after thirty, closed if they were hardly used and nothing refers to them. Names and
 * addresses that somebody has taken and left are free again then. Whoever uses their account keeps
 * it, confirmed or not.
 */

const DAY_MS = 86_400_000
const REMINDED_AFTER_MS = 3 * DAY_MS
const CLOSED_AFTER_MS = 30 * DAY_MS
/** At least from the reminder to the closing. */
const NOTICE_MS = 27 * DAY_MS
/** Use of an account on its first day says nothing: whoever registers is signed in. */
const FIRST_DAY_MS = DAY_MS

/** Accounts looked at in one step. */
const STEP = 200

/** Reminds, then closes. */
export const closeUnverified: Job = {
  name: 'auth.close_unverified',
  description:
    'Reminds the owners of unconfirmed addresses after 3 days; closes their accounts after 30 ' +
    'days when they were not used and nothing refers to them',
  async run(kernel, signal) {
    // Without mail nobody could confirm anything.
    if (!kernel.use(QueueCatalog).has(mailQueue.name)) return { reminded: 0, closed: 0 }
    const run = `unverified-${kernel.clock.iso()}`
    const reminded = await each(kernel, signal, toRemind, (id) => remind(kernel, run, id))
    const closed = await each(kernel, signal, toClose, (id) => close(kernel, run, id))
    return { reminded, closed }
  },
  async dryRun(kernel) {
    const { clock } = kernel
    if (!kernel.use(QueueCatalog).has(mailQueue.name)) return { reminded: 0, closed: 0 }
    const count = async (select: Select) => {
      let found = 0
      let after = NOBODY
      for (;;) {
        const ids = await kernel.db.read((sql) => select(sql, clock, after))
        for (const id of ids) {
          if (select === toRemind || !(await isReferredTo(kernel.db.sql, id))) found++
        }
        if (ids.length < STEP) return found
        after = ids.at(-1) as string
      }
    }
    return { reminded: await count(toRemind), closed: await count(toClose) }
  },
}

/** Ids of accounts, in order, after one. */
type Select = (sql: SQL, clock: Clock, after: string) => Promise<string[]>
const NOBODY = '00000000-0000-0000-0000-000000000000'

/** @returns for how many `act` said that it did something */
async function each(
  { db, clock }: Kernel,
  signal: AbortSignal | undefined,
  select: Select,
  act: (userId: string) => Promise<boolean>,
): Promise<number> {
  let done = 0
  let after = NOBODY
  for (;;) {
    const ids = await db.read((sql) => select(sql, clock, after))
    for (const id of ids) {
      signal?.throwIfAborted()
      if (await act(id)) done++
    }
    if (ids.length < STEP) return done
    after = ids.at(-1) as string
  }
}

const idsOf = (rows: readonly { id: string }[]) => rows.map(({ id }) => id)
const ago = (clock: Clock, ms: number) => new Date(clock.now() - ms)

async function toRemind(sql: SQL, clock: Clock, after: string): Promise<string[]> {
  return idsOf(
    await sql`
      select id from users
      where email_verified_at is null and closed_at is null and blocked_at is null
        and not environment_admin and verification_reminded_at is null
        and email_refused_at is null
        and created_at < ${ago(clock, REMINDED_AFTER_MS)} and id > ${after}
      order by id limit ${STEP}`,
  )
}

async function toClose(sql: SQL, clock: Clock, after: string, only?: string): Promise<string[]> {
  return idsOf(
    await sql`
      select id from users u
      where email_verified_at is null and closed_at is null and blocked_at is null
        and not environment_admin and roles <@ '{user,creator}'
        and coalesce(verification_reminded_at, email_refused_at) < ${ago(clock, NOTICE_MS)}
        and created_at < ${ago(clock, CLOSED_AFTER_MS)} and id > ${after}
        and id = coalesce(${only ?? null}::uuid, id)
        and not exists (
          select from sessions s where s.user_id = u.id
            and s.last_used_at > u.created_at + ${FIRST_DAY_MS} * interval '1 millisecond')
      order by id limit ${STEP}`,
  )
}

async function remind(kernel: Kernel, run: string, userId: string): Promise<boolean> {
  const by = { actor: null, request: internalRequest(run) }
  return await unitOfWork(kernel, by, async (ctx) => {
    const { clock, tx } = ctx
    const user = await lockUser(tx.sql, userId)
    if (user === undefined || user.email_verified_at !== null) return false
    const [marked] = (await tx.sql`
      update users set verification_reminded_at = ${clock.date()}
      where id = ${userId} and verification_reminded_at is null
      returning created_at`) as { created_at: Date }[]
    if (marked === undefined) return false
    const { email, locale, time_zone: timeZone } = user
    const link = await makeLink(ctx, 'verify_email', { userId, email, locale })
    const closesAtMs = Math.max(
      marked.created_at.getTime() + CLOSED_AFTER_MS,
      clock.now() + NOTICE_MS,
    )
    const data = { ...link, closes_at: new Date(closesAtMs).toISOString() }
    sendMail(ctx, { to: email, locale, timeZone, template: 'unverified_reminder', data, userId })
    return true
  })
}

async function close(kernel: Kernel, run: string, userId: string): Promise<boolean> {
  const by = { actor: null, request: internalRequest(run) }
  return await unitOfWork(kernel, by, async (ctx) => {
    const { clock, tx } = ctx
    // Whoever signs in at this moment waits for the lock or is seen; asked again after it.
    const user = await lockUser(tx.sql, userId)
    if (user === undefined) return false
    const [still] = await toClose(tx.sql, clock, NOBODY, userId)
    if (still === undefined || (await isReferredTo(tx.sql, userId))) return false
    await eraseAccount(ctx, userId)
    ctx.audit({
      action: 'auth.unverified_account_closed',
      target: { type: 'user', id: userId },
    })
    return true
  })
}

/**
 * Whether any row that outlives an account refers to it (a conversation, a report, a ledger's
 * account): every foreign key to users that does not go with them, whichever feature it is of.
 */
async function isReferredTo(sql: SQL, userId: string): Promise<boolean> {
  const keys = (await sql`
    select c.conrelid::regclass::text as table, quote_ident(a.attname) as column
    from pg_constraint c
    join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.contype = 'f' and c.confrelid = 'users'::regclass and c.confdeltype <> 'c'`) as {
    table: string
    column: string
  }[]
  for (const { table, column } of keys) {
    const rows = await sql.unsafe(`select from ${table} where ${column} = $1 limit 1`, [userId])
    if (rows.length > 0) return true
  }
  return false
}
