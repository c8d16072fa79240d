import { sqlState } from '../../db/transaction.ts'
import { Failure } from '../base/errors.ts'
import { type Kernel, service } from '../kernel/kernel.ts'
import { type Act, type ActOutcome, checkAct } from './act.ts'
import { ACTS_MAX, balanceEvents, postActs, type Posting } from './post.ts'

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
/** Acts waiting; above that the server says so instead of growing. */
const WAITING_MAX = 20_000
/**
 * How long a batch waits for an account that a transaction outside the batcher has locked. Then its
 * acts go one by one, so that only those wait which want that account.
 */
const LOCK_MS = 100
const LOCK_ALONE_MS = 10_000
/** Acts of a split batch that run at the same time: most of the pool stays free for others. */
const ALONE_AT_ONCE = 4

interface Waiting {
  readonly act: Act
  readonly resolve: (outcome: ActOutcome) => void
  readonly reject: (error: unknown) => void
}

/** The posting batcher of a server. */
export const PostingBatcher = service<PostingBatcher>('posting batcher', createPostingBatcher)

function createPostingBatcher(kernel: Kernel): PostingBatcher {
  const waiting: Waiting[] = []
  let busy = false
  const sizes = kernel.metrics
    .histogram(
      'ledger_batch_acts',
      'Acts that were posted together',
      [],
      [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000],
    )
    .labels()

  const flush = async () => {
    while (waiting.length > 0) {
      // Those who have just been answered ask again in this turn: let them join.
      await new Promise((resolve) => setImmediate(resolve))
      const batch = take(waiting)
      sizes.observe(batch.length)
      await settle(kernel, batch)
    }
    busy = false
  }

  return {
    submit(act) {
      checkAct(act)
      if (waiting.length >= WAITING_MAX) {
        const retryAfterMs = 1_000
        return Promise.reject(new Failure('overloaded', 'Too much is waiting', { retryAfterMs }))
      }
      return new Promise((resolve, reject) => {
        waiting.push({ act, resolve, reject })
        if (busy) return
        busy = true
        void flush()
      })
    },
  }
}

/** The next batch: in order, without the same key twice, which the next batch finds posted. */
function take(waiting: Waiting[]): Waiting[] {
  const keys = new Set<string>()
  let entries = 0
  let count = 0
  for (const { act } of waiting) {
    if (keys.has(act.key) || count >= ACTS_MAX) break
    entries += act.entries.length
    if (count > 0 && entries > ENTRIES_AT_ONCE) break
    keys.add(act.key)
    count++
  }
  return waiting.splice(0, count)
}

async function settle(kernel: Kernel, batch: readonly Waiting[]): Promise<void> {
  try {
    const lockMs = batch.length === 1 ? LOCK_ALONE_MS : LOCK_MS
    const { outcomes } = await post(
      kernel,
      batch.map(({ act }) => act),
      lockMs,
    )
    for (const [n, { resolve }] of batch.entries()) resolve(outcomes[n] as ActOutcome)
  } catch (error) {
    // What nobody can do is nobody's own fault; everything else may be one act's alone.
    if (batch.length === 1 || error instanceof Failure) {
      const failure = sqlState(error) === '55P03' ? busyAccount(error) : error
      for (const { reject } of batch) reject(failure)
      return
    }
    if (sqlState(error) !== '55P03') {
      kernel.log.warn('posting failed, acts go one by one', { size: batch.length, error })
    }
    await alone(kernel, batch)
  }
}

async function alone(kernel: Kernel, batch: readonly Waiting[]): Promise<void> {
  const left = batch.values()
  const work = async () => {
    for (const one of left) await settle(kernel, [one])
  }
  await Promise.all(Array.from({ length: ALONE_AT_ONCE }, work))
}

function busyAccount(cause: unknown): Failure {
  return new Failure('unavailable', 'The account is busy', { retryAfterMs: 1_000, cause })
}

/** One transaction: the acts and the events of the balances that they have changed. */
async function post(kernel: Kernel, acts: readonly Act[], lockMs: number): Promise<Posting> {
  const posting = await kernel.db.transaction(async ({ sql }) => {
    const done = await postActs(sql, acts, { lockMs })
    const events = balanceEvents(done.standings)
    if (events.length > 0) await kernel.streams.enqueue(sql, events)
    return done
  })
  kernel.streams.committed()
  return posting
}
