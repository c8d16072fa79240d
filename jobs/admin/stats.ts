import type { SQL } from 'bun'

/** How many jobs of one queue are in which state. Counts stop at `COUNTED_MAX`. */
export interface QueueStats {
  readonly queue: string
  /** To be started as soon as there is room. */
  readonly due: number
  /** To be started later, new ones and tries after a failure. */
  readonly later: number
  /** Of `due` and `later`, those that have failed before. */
  readonly failed: number
  readonly running: number
  readonly dead: number
  /** How long the oldest due one has been so, in seconds; 0 when none is due. */
  readonly oldestDueSeconds: number
}

/** Rows counted at most for each figure: "more than this" is all that anybody needs to know. */
export const COUNTED_MAX = 10_000

/**
 * Figures of these queues and of all others that have jobs or dead letters (a newer version's, or
 * those of a feature that is turned off).
 */
export async function queueStats(sql: SQL, known: readonly string[]): Promise<QueueStats[]> {
  return await sql<QueueStats[]>`
    with recursive waiting(queue) as (
      (select queue from queue_jobs where lease_id is null order by queue limit 1)
      union all
      select (select j.queue from queue_jobs j where lease_id is null and j.queue > waiting.queue
              order by j.queue limit 1)
      from waiting where waiting.queue is not null),
    buried(queue) as (
      (select queue from dead_letters order by queue limit 1)
      union all
      select (select d.queue from dead_letters d where d.queue > buried.queue
              order by d.queue limit 1)
      from buried where buried.queue is not null),
    running as (
      select queue, count(*)::int as jobs from queue_jobs
      where lease_id is not null group by queue),
    name as (
      select queue from json_array_elements_text(${JSON.stringify(known)}::text::json) n(queue)
      union select queue from waiting where queue is not null
      union select queue from buried where queue is not null
      union select queue from running)
    select name.queue, due.jobs as due, later.jobs as later, due.failed + later.failed as failed,
      coalesce(running.jobs, 0) as running, dead.jobs as dead,
      coalesce(extract(epoch from now() - due.oldest), 0)::float8 as "oldestDueSeconds"
    from name
    left join running using (queue)
    cross join lateral (
      select count(*)::int as jobs, (count(*) filter (where attempts > 0))::int as failed,
        min(due_at) as oldest
      from (select attempts, due_at from queue_jobs j
        where j.queue = name.queue and lease_id is null and due_at <= now()
        order by due_at limit ${COUNTED_MAX}) j) due
    cross join lateral (
      select count(*)::int as jobs, (count(*) filter (where attempts > 0))::int as failed
      from (select attempts from queue_jobs j
        where j.queue = name.queue and lease_id is null and due_at > now()
        order by due_at limit ${COUNTED_MAX}) j) later
    cross join lateral (
      select count(*)::int as jobs
      from (select from dead_letters d where d.queue = name.queue limit ${COUNTED_MAX}) d) dead
    order by name.queue`
}
