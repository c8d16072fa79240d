import type { SQL } from 'bun'
import { randomToken, uuidv7 } from '../../base/ids.ts'
import { ConfigError } from '../../config.ts'
import { type Caller, internalRequest } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { unitOfWork } from '../../kernel/write.ts'
import { announceRevoked, revokeSessions } from '../sessions/sessions.ts'

/**
 * The administrator that the environment keeps (ADMIN_USERNAME, ADMIN_PASSWORD_HASH): who invites
 * the others, and who can still sign in when all of them are gone. At every start the account is
 * made what the environment says; nothing else changes it. It has no mailbox, sets up a second
 * factor like everybody, and without its variables, or under another name, it is disabled.
 */

type Context = WriteContext<Caller | null>

interface Row {
  readonly id: string
  readonly username: string
  readonly password_hash: string | null
  readonly environment_admin: boolean
  readonly disabled: boolean
}

/**
 * Makes the account what the environment says.
 * @throws ConfigError when the name is an ordinary account's
 */
export async function keepEnvironmentAdmin(kernel: Kernel): Promise<void> {
  const by = { actor: null, request: internalRequest('start') }
  await unitOfWork(kernel, by, async (ctx) => {
    const { sql } = ctx.tx
    const { admin } = kernel.config
    // Instances that start together come one after the other; the lock ends with the transaction.
    await sql`select pg_advisory_xact_lock(hashtextextended('rialto environment admin', 0))`
    const rows = (await sql`
      select id, username, password_hash, environment_admin, blocked_at is not null as disabled
      from users
      where closed_at is null
        and (environment_admin or lower(username) = lower(${admin?.username ?? ''}::text))
      order by id for no key update`) as Row[]
    const isNamed = ({ username }: Row) => username.toLowerCase() === admin?.username.toLowerCase()
    for (const row of rows) if (!isNamed(row) && !row.disabled) await disable(ctx, row)
    if (admin === undefined) return
    const own = rows.find(isNamed)
    if (own === undefined) await create(ctx, admin)
    else if (!own.environment_admin) throw nameIsTaken(admin.username)
    else await follow(ctx, own, admin.passwordHash)
  })
}

function nameIsTaken(username: string): ConfigError {
  return new ConfigError([
    {
      name: 'ADMIN_USERNAME',
      reason: `names "${username}", which is the account of a user: choose another name`,
      example: `${username}-root`,
    },
  ])
}

/** For whom the variables no longer stand. Everything stays, and comes back with them. */
async function disable(ctx: Context, { id }: Row): Promise<void> {
  const { clock, tx, audit } = ctx
  await tx.sql`
    update users set blocked_at = ${clock.date()}, password_hash = null, roles = '{user}',
      updated_at = ${clock.date()}
    where id = ${id}`
  const ended = await endSessions(ctx, id)
  audit({
    action: 'admin.environment_admin_disabled',
    target: { type: 'user', id },
    after: { sessions_ended: ended },
  })
}

async function create(
  { kernel, clock, tx, audit }: Context,
  { username, passwordHash }: NonNullable<Kernel['config']['admin']>,
): Promise<void> {
  const id = uuidv7(clock.now())
  // Nobody can have registered this address before, and no mail goes there.
  const email = `admin-${randomToken(12)}@environment.invalid`
  await insertAccount(tx.sql, { id, email, username, passwordHash, at: clock.date() })
  audit({ action: 'admin.environment_admin_created', target: { type: 'user', id } })
  kernel.log.info('administrator of the environment made', { user_id: id })
}

async function insertAccount(
  sql: SQL,
  row: { id: string; email: string; username: string; passwordHash: string; at: Date },
): Promise<void> {
  const { id, email, username, passwordHash, at } = row
  const made = await sql`
    insert into users (id, email, username, password_hash, roles, environment_admin,
      email_verified_at, created_at, updated_at)
    values (${id}, ${email}, ${username}, ${passwordHash}, '{user,admin}', true,
      ${at}, ${at}, ${at})
    on conflict do nothing returning id`
  // Registered while this server was starting, by another one that is running.
  if (made.length === 0) throw nameIsTaken(username)
}

/** With another password every session ends, as with any change of a password. */
async function follow(ctx: Context, row: Row, passwordHash: string): Promise<void> {
  const { id, disabled } = row
  if (!disabled && row.password_hash === passwordHash) return
  const { clock, tx, audit } = ctx
  await tx.sql`
    update users set password_hash = ${passwordHash}, roles = '{user,admin}', blocked_at = null,
      security_changed_at = ${clock.date()}, updated_at = ${clock.date()}
    where id = ${id}`
  const ended = await endSessions(ctx, id)
  audit({
    action: disabled
      ? 'admin.environment_admin_enabled'
      : 'admin.environment_admin_password_changed',
    target: { type: 'user', id },
    after: { sessions_ended: ended },
  })
}

async function endSessions(
  { kernel, clock, tx, afterCommit }: Context,
  userId: string,
): Promise<number> {
  const revoked = await revokeSessions(tx.sql, clock, { userId }, 'environment_changed')
  afterCommit(() => announceRevoked(kernel, revoked))
  return revoked.length
}
