import { Buffer } from 'node:buffer'
import type { SQL } from 'bun'
import type { Database } from '../db/client.ts'
import { sqlState } from '../db/transaction.ts'

/**
 * The statements by which workers share the jobs. A lease is the id of a worker in a job's row,
 * good as long as that worker is alive in `queue_workers`; together with the number of the try it
 * fences off whoever comes back too late. All times are the database's.
 *
 * Statements that a crash of the *database* may undo without harm do not wait for its disk: a lost
 * claim is claimed again, a lost note of an effect outside repeats it, which is promised.
 */

/** A job that is ours to run. */
export interface ClaimedJob {
  readonly id: string
  readonly queue: string
  readonly payload: Uint8Array
  /** 1 for the first try. */
  readonly attempt: number
  readonly enqueuedAtMs: number
  /** How long it had been due. */
  readonly lateMs: number
}

/** One try of one job. */
export type Try = Pick<ClaimedJob, 'id' | 'attempt'>

/** What a queue may take. */
export interface Room {
  readonly queue: string
  /** Jobs that it may still start. */
  readonly free: number
  readonly running: number
}

/** What waits. */
export interface Outlook {
  /** Milliseconds until the next job is due, 0 or less when one is; null when none waits. */
  readonly dueInMs: number | null
  /** Whether jobs of workers that are gone wait to be taken over. */
  readonly abandoned: boolean
}

/** How a job goes back to those that wait. */
export interface PutBack {
  readonly delayMs: number
  /** Whether this was a try; else its number is given back. */
  readonly counted: boolean
  readonly error?: string
}

/** What becomes of a job that is given up. */
export interface Burial {
  /** Sealed for `dead_letters`, where its queue is sealed. */
  readonly payload: Uint8Array
  /** Tries that were begun. */
  readonly attempts: number
  readonly error: string
}

/** Other jobs with the same key may come in between; so often is it tried again. */
const PUT_BACK_TRIES = 5

/** How long a row that others keep locking is waited for, in ms. */
const OVERDUE_LOCK_MS = 1_000

const json = (value: unknown) => JSON.stringify(value)

/** The statements of one worker. */
export class Leases {
  readonly #sql: SQL
  readonly #me: string
  readonly #leaseMs: number

  /**
   * @param me id of the worker
   * @param leaseMs how long it counts as alive after a sign of life
   */
  constructor({ sql }: Database, me: string, leaseMs: number) {
    this.#sql = sql
    this.#me = me
    this.#leaseMs = leaseMs
  }

  /** What a claim returns of a row `q`. */
  #claimed() {
    const sql = this.#sql
    return sql`q.id, q.queue, q.payload, q.attempts as attempt,
      extract(epoch from q.created_at)::float8 * 1000 as "enqueuedAtMs",
      greatest(extract(epoch from now() - q.due_at)::float8 * 1000, 0) as "lateMs"`
  }

  /** A sign of life. */
  async beat(): Promise<void> {
    await this.#sql`
      with fast as materialized (select set_config('synchronous_commit', 'off', true))
      insert into queue_workers (id, alive_until)
      select ${this.#me}::uuid, now() + ${this.#leaseMs}::float8 * interval '1 millisecond'
      from fast
      on conflict (id) do update set alive_until = excluded.alive_until`
  }

  /** Says good-bye; whatever is still leased may be taken over at once. */
  async leave(): Promise<void> {
    await this.#sql`delete from queue_workers where id = ${this.#me}`
  }

  /** Declares all other workers gone: for a database that no other process can be on. */
  async alone(): Promise<void> {
    await this.#sql`delete from queue_workers where id <> ${this.#me}`
  }

  /**
   * Takes due jobs, at most `most`: first for queues with the fewest running, in each by due
   * time. Counts the try before it begins, so that a job that kills its process runs out of them.
   * @param avoid ids not to be taken
   */
  async claim(
    rooms: readonly Room[],
    most: number,
    avoid: readonly string[],
  ): Promise<ClaimedJob[]> {
    const jobs = await this.#sql<ClaimedJob[]>`
      with fast as materialized (select set_config('synchronous_commit', 'off', true)),
      room as (
        select queue, free, running, row_number() over () as turn
        from json_to_recordset(${json(rooms)}::text::json) r(queue text, free int, running int)),
      due as materialized (
        select job.id,
          room.running + row_number() over (partition by room.queue order by job.due_at, job.id)
            as rank, room.turn
        from room cross join lateral (
          select id, due_at from queue_jobs
          where queue = room.queue and lease_id is null and due_at <= now()
            and id <> all(array(
              select value::uuid from json_array_elements_text(${json(avoid)}::text::json)))
          order by due_at, id limit room.free for no key update skip locked) job
        order by rank, turn limit ${most}::int)
      update queue_jobs q set lease_id = ${this.#me}, attempts = q.attempts + 1
      from due, fast where q.id = due.id
      returning ${this.#claimed()}`
    return [...jobs]
  }

  /**
   * Takes one job with a key that has been due for `overdueMs` because somebody enqueues it at
   * every moment, so that its row is never found free: waits for it, in line with them.
   */
  async claimOverdue(queues: readonly string[], overdueMs: number): Promise<ClaimedJob[]> {
    const jobs = await this.#sql<ClaimedJob[]>`
      with fast as materialized (
        select set_config('synchronous_commit', 'off', true),
          set_config('lock_timeout', ${`${OVERDUE_LOCK_MS}`}, true)),
      due as materialized (
        select q.id from fast, queue_jobs q
        where q.key is not null and q.lease_id is null
          and q.due_at < now() - ${overdueMs}::float8 * interval '1 millisecond'
          and q.queue = any(array(
            select json_array_elements_text(${json(queues)}::text::json)))
        order by q.due_at, q.id limit 1 for no key update of q)
      update queue_jobs q set lease_id = ${this.#me}, attempts = q.attempts + 1
      from due where q.id = due.id
      returning ${this.#claimed()}`
    return [...jobs]
  }

  /** Takes over one job whose worker is gone while it ran; the longest due. */
  async takeOver(queues: readonly string[], avoid: readonly string[]): Promise<ClaimedJob[]> {
    const jobs = await this.#sql<ClaimedJob[]>`
      with fast as materialized (select set_config('synchronous_commit', 'off', true)),
      orphan as materialized (
        select q.id from queue_jobs q
        where q.lease_id is not null and q.lease_id <> ${this.#me}
          and not exists (
            select from queue_workers w where w.id = q.lease_id and w.alive_until > now())
          and q.queue = any(array(
            select json_array_elements_text(${json(queues)}::text::json)))
          and q.id <> all(array(
            select value::uuid from json_array_elements_text(${json(avoid)}::text::json)))
        order by q.due_at, q.id limit 1 for no key update skip locked)
      update queue_jobs q set lease_id = ${this.#me}, attempts = q.attempts + 1
      from orphan, fast where q.id = orphan.id
      returning ${this.#claimed()}`
    return [...jobs]
  }

  /** Looks what waits for these queues. */
  async look(queues: readonly string[]): Promise<Outlook> {
    const [row] = await this.#sql<Outlook[]>`
      with wanted as (
        select value as queue from json_array_elements_text(${json(queues)}::text::json))
      select (
          select extract(epoch from min(first.due_at) - now())::float8 * 1000
          from wanted cross join lateral (
            select due_at from queue_jobs q where q.queue = wanted.queue and lease_id is null
            order by due_at, id limit 1) first) as "dueInMs",
        exists (
          select from queue_jobs q join wanted on wanted.queue = q.queue
          where q.lease_id is not null and q.lease_id <> ${this.#me} and not exists (
            select from queue_workers w where w.id = q.lease_id and w.alive_until > now())
        ) as abandoned`
    return row as Outlook
  }

  /** The tries that the database takes for running here. */
  async held(): Promise<Try[]> {
    return [
      ...(await this.#sql<Try[]>`
        select id, attempts as attempt from queue_jobs where lease_id = ${this.#me}`),
    ]
  }

  /** Notes that effects outside have happened. */
  async complete(tries: readonly Try[]): Promise<void> {
    await this.#sql`
      with fast as materialized (select set_config('synchronous_commit', 'off', true))
      delete from queue_jobs q
      using json_to_recordset(${json(tries)}::text::json) as t(id uuid, attempt int), fast
      where q.id = t.id and q.attempts = t.attempt and q.lease_id = ${this.#me}`
  }

  /**
   * Lets a job wait again, or gives way to a newer one with its key that waits already.
   * @returns false when somebody else has it by now
   */
  async putBack({ id, attempt }: Try, { delayMs, counted, error }: PutBack): Promise<boolean> {
    for (let tried = 1; ; tried++) {
      try {
        const [row] = await this.#sql<{ found: boolean }[]>`
          with mine as materialized (
            select id, queue, key from queue_jobs
            where id = ${id} and attempts = ${attempt} and lease_id = ${this.#me}
            for no key update),
          newer as materialized (
            select from queue_jobs w join mine m on w.queue = m.queue and w.key = m.key
            where w.lease_id is null),
          merged as (
            delete from queue_jobs q using mine m
            where q.id = m.id and exists (select from newer)),
          waiting as (
            update queue_jobs q set lease_id = null,
              attempts = q.attempts - ${counted ? 0 : 1}::int,
              error = coalesce(${error ?? null}::text, q.error),
              due_at = date_trunc('milliseconds',
                now() + ${delayMs}::float8 * interval '1 millisecond')
            from mine m where q.id = m.id and not exists (select from newer))
          select exists (select from mine) as found`
        return row?.found === true
      } catch (error) {
        // One with its key has come just now: the next look sees it.
        if (sqlState(error) !== '23505' || tried === PUT_BACK_TRIES) throw error
      }
    }
  }

  /** Gives a job up. @returns false when somebody else has it by now */
  async bury({ id, attempt }: Try, { payload, attempts, error }: Burial): Promise<boolean> {
    const rows = await this.#sql`
      with dead as (
        delete from queue_jobs
        where id = ${id} and attempts = ${attempt} and lease_id = ${this.#me}
        returning id, queue, key, created_at)
      insert into dead_letters
        (id, queue, key, payload, attempts, error, worker_id, created_at, died_at)
      select id, queue, key, ${`\\x${Buffer.from(payload).toString('hex')}`}::text::bytea,
        ${attempts}::int, ${error}, ${this.#me}, created_at, now()
      from dead returning id`
    return rows.length > 0
  }
}
