import type { Caller, RequestInfo } from './access.ts'
import type { WriteContext } from './context.ts'
import type { AuditEntry, AuditLine, Emission, Enqueued } from './effects.ts'
import type { Kernel } from './kernel.ts'

/**
 * Runs `work` in one transaction that also writes its events, audit lines and jobs, and after
 * the commit tells whoever waits for them. Operations and jobs run in one; so does whatever else
 * changes something that others must hear of.
 *
 * `work` may run again after a serialisation failure: what the last try has collected is forgotten.
 */
export async function unitOfWork<A extends Caller | null, T>(
  kernel: Kernel,
  { actor, request }: { readonly actor: A; readonly request: RequestInfo },
  work: (ctx: WriteContext<A>) => Promise<T>,
): Promise<T> {
  let emissions: Emission[] = []
  let lines: AuditLine[] = []
  let jobs: Enqueued[] = []
  let after: (() => void)[] = []
  let refusals: AuditLine[] = []
  const running = kernel.db.transaction(async (tx) => {
    refusals = []
    emissions = []
    lines = []
    jobs = []
    after = []
    const done = await work({
      kernel,
      clock: kernel.clock,
      actor,
      request,
      tx,
      emit: (emission) => void emissions.push(emission),
      audit: (entry: AuditEntry) => void lines.push({ ...entry, caller: actor, request }),
      auditRefusal: (entry) => void refusals.push({ ...entry, caller: actor, request }),
      enqueue: (queue, payload, options) => void jobs.push({ ...options, queue, payload }),
      afterCommit: (fn) => void after.push(fn),
    })
    if (jobs.length > 0) await kernel.queues.insert(tx.sql, jobs)
    if (emissions.length > 0) await kernel.streams.enqueue(tx.sql, emissions)
    if (lines.length > 0) tx.withCommit(kernel.audit.insert(tx.sql, lines))
    return done
  })
  const result = await running.catch(async (error: unknown) => {
    for (const line of refusals) await recordRefusal(kernel, line)
    throw error
  })
  if (emissions.length > 0) kernel.streams.committed()
  if (lines.length > 0) kernel.audit.committed()
  if (jobs.length > 0) kernel.queues.committed()
  for (const fn of after) fn()
  return result
}

/** The refusal is answered, also when nobody can write it down. */
async function recordRefusal(kernel: Kernel, line: AuditLine): Promise<void> {
  try {
    await kernel.audit.record(line)
  } catch (error) {
    kernel.log.error('refusal not in the audit log', { action: line.action, error })
  }
}
