import { sql } from 'drizzle-orm'
import { index, integer, pgTable, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytea, moment } from './columns.ts'

/**
 * Durable jobs that are not done yet: waiting, or (with a lease) running. Every moment here is the
 * database's, so that neither a wrong nor a jumping clock of an instance moves a job.
 */
export const queueJobs = pgTable(
  'queue_jobs',
  {
    id: uuid('id').primaryKey(),
    queue: text('queue').notNull(),
    key: text('key'),
    /** JSON text; sealed by the vault where the queue says so. */
    payload: bytea('payload').notNull(),
    dueAt: moment('due_at').notNull(),
    /** Tries begun. With `lease_id` it tells one try from every other. */
    attempts: integer('attempts').notNull().default(0),
    /** The worker that runs it; ended or not is for `queue_workers` to say. */
    leaseId: uuid('lease_id'),
    /** Why the last try failed, redacted and bounded. */
    error: text('error'),
    createdAt: moment('created_at').notNull(),
  },
  (table) => [
    index('queue_jobs_due')
      .on(table.queue, table.dueAt, table.id)
      .where(sql`${table.leaseId} is null`),
    index('queue_jobs_leased')
      .on(table.leaseId)
      .where(sql`${table.leaseId} is not null`),
    // A running job does not count: what is enqueued during its run may be news to it.
    uniqueIndex('queue_jobs_key')
      .on(table.queue, table.key)
      .where(sql`${table.key} is not null and ${table.leaseId} is null`),
  ],
)

/** Processes that work jobs off, each alive until the moment that it keeps moving on. */
export const queueWorkers = pgTable('queue_workers', {
  id: uuid('id').primaryKey(),
  aliveUntil: moment('alive_until').notNull(),
})

/** Jobs that were given up, for somebody to look at. */
export const deadLetters = pgTable(
  'dead_letters',
  {
    /** As it was as a job. */
    id: uuid('id').primaryKey(),
    queue: text('queue').notNull(),
    key: text('key'),
    /** As in `queue_jobs`, but sealed for this table. */
    payload: bytea('payload').notNull(),
    attempts: integer('attempts').notNull(),
    /** Why the last try failed, redacted and bounded. */
    error: text('error').notNull(),
    /** The worker that gave it up. */
    workerId: uuid('worker_id').notNull(),
    createdAt: moment('created_at').notNull(),
    diedAt: moment('died_at').notNull(),
  },
  (table) => [
    index('dead_letters_died').on(table.diedAt, table.id),
    index('dead_letters_queue').on(table.queue, table.diedAt, table.id),
  ],
)

/** Times at which scheduled jobs were to run: whoever inserts one has seen to it. */
export const jobPeriods = pgTable(
  'job_periods',
  {
    job: text('job').notNull(),
    period: moment('period').notNull(),
    /** Enqueued; or only noted, because the job was new then. */
    state: text('state', { enum: ['enqueued', 'noted'] }).notNull(),
    insertedAt: moment('inserted_at').notNull(),
    doneAt: moment('done_at'),
  },
  (table) => [primaryKey({ columns: [table.job, table.period] })],
)
