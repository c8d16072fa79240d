import { Failure } from '../../base/errors.ts'
import type { Actor, Caller, RequestInfo } from '../../kernel/access.ts'
import type { Context, WriteContext } from '../../kernel/context.ts'
import type { Kernel } from '../../kernel/kernel.ts'
import { SecurityLimits } from '../../kernel/security-limits.ts'
import { addressGroup } from '../../net/address.ts'
import { secretOf } from '../secrets.ts'

/**
 * How often passwords may be tried, counted before they are compared, which costs 0.1 s of a core.
 *
 * What is counted is the name as it was typed, whoever has it or nobody: so refusals say nothing of
 * what exists, nor that a name and an address are of one account. A known device has a count of its
 * own and passes the others by: strangers may use up the count of a name, and its owner still
 * signs in. An owner without a known device sets a new password by mail, and gets both.
 */

/** What was counted of a try. */
interface Counted {
  readonly account: string
  /** Undefined where the address was not counted. */
  readonly address: string | undefined
}

/**
 * Counts a try, and lets `prove` compare the password. A right one takes the try back and forgets
 * those before it; so does, for this one alone, a server too busy to compare.
 * @param typed the name that somebody signs in with
 * @throws Failure `rate_limited` | `unavailable`, and what `prove` throws
 */
export async function countingTries<T>(
  ctx: Context<Actor | null>,
  typed: string,
  deviceToken: string | undefined,
  prove: () => Promise<T>,
): Promise<T> {
  const limits = ctx.kernel.use(SecurityLimits)
  const { account, address } = await countTry(ctx, typed, deviceToken)
  const giveAddressBack = async () => {
    if (address !== undefined) await limits.giveBack('login_address', address)
  }
  try {
    const proof = await prove()
    await Promise.all([limits.reset('login_account', account), giveAddressBack()])
    return proof
  } catch (error) {
    if (error instanceof Failure && error.code === 'overloaded') {
      await Promise.all([limits.giveBack('login_account', account), giveAddressBack()])
    }
    throw error
  }
}

async function countTry(
  { kernel, request }: Context<Actor | null>,
  typed: string,
  deviceToken: string | undefined,
): Promise<Counted> {
  const limits = kernel.use(SecurityLimits)
  const { name, device } = await placeOfTry(kernel, typed, deviceToken)
  const account = subjectOf(name, device)
  const address = device === null ? addressGroup(request.address) : undefined
  try {
    // First the address: one that has used up its own count takes nothing from that of the name.
    if (address !== undefined) await limits.take('login_address', address)
    await limits.take('login_account', account)
  } catch (error) {
    const refused = error instanceof Failure && error.code === 'rate_limited'
    if (refused) await note(kernel, request, error)
    throw error
  }
  return { account, address }
}

/** A name may hold whatever somebody has typed, and must not pass for a name and a device. */
const subjectOf = (name: string, device: string | null) => JSON.stringify([name, device])

/** After the commit, forgets what strangers have tried: its owner has shown to read its mail. */
export function ownerWasProven(ctx: WriteContext<Caller | null>, userId: string): void {
  const { kernel } = ctx
  ctx.afterCommit(() => {
    forgetTries(kernel, userId).catch((error: unknown) => {
      kernel.log.warn('tries at an account not forgotten', { error })
    })
  })
}

async function forgetTries(kernel: Kernel, userId: string): Promise<void> {
  const limits = kernel.use(SecurityLimits)
  const [names] = (await kernel.db.read(
    (sql) => sql`
      select lower(email) as email, lower(username) as username from users where id = ${userId}`,
  )) as { email: string; username: string }[]
  for (const name of Object.values(names ?? {})) {
    await limits.reset('login_account', subjectOf(name, null))
  }
}

/** The name as the database compares it, and the known device of its account that is used. */
async function placeOfTry(
  { db }: Kernel,
  typed: string,
  deviceToken: string | undefined,
): Promise<{ name: string; device: string | null }> {
  const hash = deviceToken === undefined ? null : secretOf(deviceToken).hash
  const [row] = (await db.read(
    (sql) => sql`
      select lower(${typed}::text) as name, (
        select d.id from devices d join users u on u.id = d.user_id
        where d.token_hash = ${hash}
          and lower(${typed}::text) in (lower(u.email), lower(u.username))
      ) as device`,
  )) as { name: string; device: string | null }[]
  return row ?? { name: typed, device: null }
}

/** A line about tries that go on, not one about each. */
async function note(kernel: Kernel, request: RequestInfo, { limit }: Failure): Promise<void> {
  if (limit === undefined) return
  if (kernel.limiter.take('refusal', `${limit} ${request.address}`) !== 0) return
  await kernel.audit.record({
    action: 'auth.sign_in_limited',
    outcome: 'denied',
    after: { limit },
    caller: null,
    request,
  })
}
