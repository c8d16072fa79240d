import type { SQL } from 'bun'
import type { Clock } from '../../base/clock.ts'
import { Failure } from '../../base/errors.ts'
import { t } from '../../base/schema.ts'
import type { Config } from '../../config.ts'
import type { Caller } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { type LockedUser, lockUser } from '../accounts/lock.ts'
import { newSecret, SECRET_LENGTH, secretOf } from '../secrets.ts'

/**
 * Links that are mailed and good for one use. The secret stands behind the `#` of the address:
 * browsers do not send that part, so that no log on the way has it. The page there waits for a
 * press before it uses the secret, because scanners open every link of a mail
 * (`docs/decisions/011-links-in-mail.md`).
 */

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

interface LinkRule {
  /** Path below `/account/`, see `src/auth/pages.ts`. */
  readonly page: string
  readonly lifeMs: number
  /** A new one ends those before it. */
  readonly replaces: boolean
  /** Why it lives that long. */
  readonly why: string
}

/** What links are for. */
export const LINKS = {
  verify_email: {
    page: 'verify-email',
    lifeMs: 3 * DAY_MS,
    replaces: true,
    why: 'a weekend; a new one can be asked for',
  },
  reset_password: {
    page: 'reset-password',
    lifeMs: HOUR_MS,
    replaces: true,
    why: 'as good as the password, and asked for by somebody who waits for it',
  },
  confirm_email: {
    page: 'confirm-email',
    lifeMs: DAY_MS,
    replaces: true,
    why: 'asked for by somebody who waits for it; both mailboxes are at hand',
  },
  revert_email: {
    page: 'revert-email',
    lifeMs: 3 * DAY_MS,
    replaces: false,
    why: 'whoever lost their account must read the notice in time; each goes to another mailbox',
  },
  cancel_recovery: {
    page: 'cancel-recovery',
    lifeMs: 10 * DAY_MS,
    replaces: false,
    why: 'as long as a recovery can be open; the reminder must not end the first notice’s link',
  },
} as const satisfies Record<string, LinkRule>
export type LinkPurpose = keyof typeof LINKS

/** The field of an operation that takes the secret of a link. */
export const LinkToken = t.String({
  minLength: SECRET_LENGTH,
  maxLength: SECRET_LENGTH,
  description: 'What stands behind `#token=` in the link of the mail',
  'x-one-use': true,
})

/** The address of a page of this server that uses up `token` when somebody presses its button. */
export function pageLink(config: Config, page: string, locale: string, token: string): string {
  return `${config.publicUrl}/account/${page}?lang=${locale}#token=${token}`
}

type AnyContext = WriteContext<Caller | null>

/** A new link, as a letter needs it. */
export interface NewLink {
  readonly link: string
  readonly expires_at: string
}

/**
 * Makes a link for the account, about an address. The account's row must be locked
 * (`lockUser`), so that of two made at once one ends the other.
 */
export async function makeLink(
  { kernel, tx, clock }: AnyContext,
  purpose: LinkPurpose,
  { userId, email, locale }: { userId: string; email: string; locale: string },
): Promise<NewLink> {
  const { page, lifeMs, replaces } = LINKS[purpose]
  const { text, hash } = newSecret()
  const expiresAt = new Date(clock.now() + lifeMs)
  if (replaces) await endLinks(tx.sql, clock, userId, [purpose])
  await tx.sql`
    insert into one_time_links (hash, purpose, user_id, email, created_at, expires_at)
    values (${hash}, ${purpose}, ${userId}, ${email}, ${clock.date()}, ${expiresAt})`
  return { link: pageLink(kernel.config, page, locale, text), expires_at: expiresAt.toISOString() }
}

/** Ends what is open of these purposes. */
export async function endLinks(
  sql: SQL,
  clock: Clock,
  userId: string,
  purposes: readonly LinkPurpose[],
): Promise<void> {
  await sql`
    update one_time_links set ended_at = ${clock.date()}
    where user_id = ${userId} and ended_at is null
      and purpose = any(${`{${purposes.join(',')}}`}::text::text[])`
}

/** The one refusal of links that are not, or no longer, good for anything. */
const invalidLink = () => new Failure('invalid_link', 'This link is wrong, used or expired')

/**
 * Whether a link can be used now; a look that changes nothing, before expensive work.
 * @throws Failure `invalid_link`
 */
export async function peekLink(
  sql: SQL,
  clock: Clock,
  purpose: LinkPurpose,
  token: string,
): Promise<void> {
  const rows = await sql`
    select from one_time_links
    where hash = ${secretOf(token).hash} and purpose = ${purpose} and ended_at is null
      and expires_at > ${clock.date()}`
  if (rows.length === 0) throw invalidLink()
}

/** A link that has been used. */
export interface UsedLink {
  readonly user: LockedUser
  /** The address that it was made for. */
  readonly email: string
  readonly madeAt: Date
}

/**
 * Uses a link up, in the caller's transaction: of several at once one succeeds. Locks the account.
 * @throws Failure `invalid_link` | `forbidden` (the account is blocked)
 */
export async function useLink(
  { tx, clock }: AnyContext,
  purpose: LinkPurpose,
  token: string,
): Promise<UsedLink> {
  const { sql } = tx
  const { hash } = secretOf(token)
  const [owner] = (await sql`
    select user_id from one_time_links where hash = ${hash}`) as { user_id: string }[]
  // The account first, as everywhere: in the other order two would wait for each other.
  const user = owner === undefined ? undefined : await lockUser(sql, owner.user_id)
  if (user === undefined) throw invalidLink()
  const [link] = (await sql`
    update one_time_links set ended_at = ${clock.date()}
    where hash = ${hash} and purpose = ${purpose} and ended_at is null
      and expires_at > ${clock.date()}
    returning email, created_at`) as { email: string; created_at: Date }[]
  if (link === undefined) throw invalidLink()
  if (user.blocked_at !== null) throw new Failure('forbidden', 'This account is blocked')
  return { user, email: link.email, madeAt: link.created_at }
}
