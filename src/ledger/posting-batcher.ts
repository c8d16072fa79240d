import { sqlState } from '../../db/transaction.ts'
import { Failure } from '../base/errors.ts'
import { Gather } from '../kernel/gather.ts'
import { type Kernel, service } from '../kernel/kernel.ts'
import { type Act, type ActOutcome, checkAct } from './act.ts'
import { ACTS_MAX, balanceEvents, postActs } from './post.ts'

/**
 * Posts acts of many callers together: what arrives while a batch commits is the next batch. A busy
 * account (a pool's, the treasury's) is locked once a batch instead of once a transfer.
 */
export interface PostingBatcher {
  /**
   * Posts an act in a transaction of its own, which may also hold others' acts. Resolves after the
   * commit; refusals are outcomes.
   * @throws Failure `overloaded` | `unavailable`
   */
  submit(act: Act): Promise<ActOutcome>
}

/** Entries of one batch; larger ones only delay their first answer. */
const ENTRIES_AT_ONCE = 2_000
/**
 * How long a batch waits for an account that a transaction outside the batcher has locked. Then its
 * acts go one by one, so that only those wait which want that account.
 */
const LOCK_MS = 100
const LOCK_ALONE_MS = 10_000
/** Acts of a split batch that run at the same time: most of the pool stays free for others. */
const ALONE_AT_ONCE = 4

/** The posting batcher of a server. */
export const PostingBatcher = service<PostingBatcher>('posting batcher', createPostingBatcher)

function createPostingBatcher(kernel: Kernel): PostingBatcher {
  const sizes = kernel.metrics
    .histogram(
      'ledger_batch_acts',
      'Acts that were posted together',
      [],
      [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000],
    )
    .labels()
  const gather = new Gather<Act, ActOutcome>({
    run: (acts) => (acts.length === 1 ? postAlone(kernel, acts) : post(kernel, acts, LOCK_MS)),
    fit,
    aloneAtOnce: ALONE_AT_ONCE,
    split(size, error) {
      if (sqlState(error) === '55P03') return
      kernel.log.warn('posting failed, acts go one by one', { size, error })
    },
    sizes,
  })
  return {
    submit(act) {
      checkAct(act)
      return gather.submit(act)
    },
  }
}

/** In order, without the same key twice, which the next batch finds posted. */
function fit(waiting: readonly { readonly item: Act }[]): number {
  const keys = new Set<string>()
  let entries = 0
  for (const { item } of waiting) {
    if (keys.has(item.key) || keys.size >= ACTS_MAX) break
    entries += item.entries.length
    if (keys.size > 0 && entries > ENTRIES_AT_ONCE) break
    keys.add(item.key)
  }
  return keys.size
}

/** Posts one act; it waits longer, since nobody else waits with it. */
async function postAlone(kernel: Kernel, acts: readonly Act[]): Promise<readonly ActOutcome[]> {
  try {
    return await post(kernel, acts, LOCK_ALONE_MS)
  } catch (error) {
    if (sqlState(error) !== '55P03') throw error
    throw new Failure('unavailable', 'The account is busy', { retryAfterMs: 1_000, cause: error })
  }
}

/** One transaction: the acts and the events of the balances that they have changed. */
async function post(
  kernel: Kernel,
  acts: readonly Act[],
  lockMs: number,
): Promise<readonly ActOutcome[]> {
  const { outcomes } = await kernel.db.transaction(async ({ sql }) => {
    const done = await postActs(sql, acts, { lockMs })
    const events = balanceEvents(done.standings)
    if (events.length > 0) await kernel.streams.enqueue(sql, events)
    return done
  })
  kernel.streams.committed()
  return outcomes
}
