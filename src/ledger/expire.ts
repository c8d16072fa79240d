import type { Job } from '../kernel/job.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { Accounts } from './accounts.ts'
import type { Act } from './act.ts'
import { PostingBatcher } from './posting-batcher.ts'

/** Holds released in one round; there are as many rounds as it takes. */
const AT_ONCE = 500

/**
 * Releases every hold whose time has come. Safe to run twice and on several instances: the key of
 * each release is its hold's.
 * @returns how many this run has released
 */
export async function expireHolds(kernel: Kernel, signal?: AbortSignal): Promise<number> {
  const accounts = kernel.use(Accounts)
  const batcher = kernel.use(PostingBatcher)
  let released = 0
  for (;;) {
    signal?.throwIfAborted()
    const due = await dueHolds(kernel)
    const acts = await Promise.all(
      due.map(async ({ id, account }): Promise<Act> => {
        const on = await accounts.find(Number(account))
        if (on === undefined) throw new Error(`hold ${id} on no account`)
        const entries = [{ type: 'expire', hold: id, account: on }] as const
        return { key: `ledger.expire:${id}`, kind: 'ledger.expire', actor: 'server', entries }
      }),
    )
    const outcomes = await Promise.all(acts.map((act) => batcher.submit(act)))
    const now = outcomes.filter((outcome) => outcome.posted && !outcome.replayed).length
    released += now
    // Nothing moved although something is due: somebody else is at it, or has just been.
    if (due.length < AT_ONCE || now === 0) return released
  }
}

async function dueHolds({ db }: Kernel): Promise<{ id: string; account: string }[]> {
  return await db.read(
    async (sql) =>
      await sql`
        select id, account::text from ledger_holds
        where state = 'open' and expires_at <= clock_timestamp()
        order by expires_at limit ${AT_ONCE}`,
  )
}

/** Every minute: a hold ends when its time has come, whether or not anybody looks. */
export const expireHoldsJob: Job = {
  name: 'ledger.expire_holds',
  description: 'Releases holds whose time has come',
  run: async (kernel, signal) => ({ holds_released: await expireHolds(kernel, signal) }),
  async dryRun({ db }) {
    const [row] = await db.sql`
      select count(*)::int as due from ledger_holds
      where state = 'open' and expires_at <= clock_timestamp()`
    return { holds_released: row.due as number }
  },
}
