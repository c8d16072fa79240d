import type { SQL } from 'bun'
import type { Caller } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { type LetterName, type Letters, type Origin, sendMail } from '../../mail/index.ts'
import { previousAddresses } from '../accounts/addresses.ts'
import { deviceName } from '../sessions/device-name.ts'

/** Letters to the owners of accounts. */

interface Recipient {
  readonly email: string
  readonly locale: 'en' | 'fr'
  readonly time_zone: string
}

/** Who else gets a notice. */
export interface NoticeOptions {
  /**
   * The addresses of the last 30 days as well: for what somebody who has taken over an account
   * would rather not have its owner know.
   */
  readonly everyAddress?: boolean
}

/**
 * Writes to the owner of an account, in their language, if the caller's transaction commits. Does
 * nothing for an account that is closed: to say that it is, write before closing it. The account
 * that the environment keeps has no mailbox.
 *
 * @example
 * await mailUser(ctx, userId, 'mfa_enabled', originOf(ctx))
 */
export async function mailUser<Name extends LetterName>(
  ctx: WriteContext<Caller | null> | WriteContext,
  userId: string,
  template: Name,
  data: Letters[Name],
  options: NoticeOptions = {},
): Promise<void> {
  const { sql } = ctx.tx
  const [user] = (await sql`
    select email, locale, time_zone from users
    where id = ${userId} and closed_at is null and not environment_admin`) as Recipient[]
  if (user === undefined) return
  const others =
    options.everyAddress === true ? await previousAddresses(sql, ctx.clock, userId) : []
  const { locale, time_zone: timeZone } = user
  for (const to of new Set([user.email, ...others])) {
    sendMail(ctx, { to, locale, timeZone, template, data, userId })
  }
}

/** Writes to every administrator. */
export async function mailAdministrators<Name extends LetterName>(
  ctx: WriteContext<Caller | null> | WriteContext,
  template: Name,
  data: Letters[Name],
): Promise<void> {
  for (const { id } of await administrators(ctx.tx.sql)) await mailUser(ctx, id, template, data)
}

async function administrators(sql: SQL): Promise<readonly { id: string }[]> {
  return await sql`
    select id from users
    where 'admin' = any(roles) and closed_at is null and blocked_at is null`
}

/**
 * When, on which kind of device and from where the caller acts, as letters say it. Only for letters
 * to the caller themself: nobody's address is for others.
 */
export function originOf({
  clock,
  request,
}: Pick<WriteContext<never>, 'clock' | 'request'>): Origin {
  return {
    at: clock.iso(),
    device: deviceName(request.userAgent),
    address: request.address,
  }
}
