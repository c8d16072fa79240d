import { sql } from 'drizzle-orm'
import { bigint, date, index, pgTable, primaryKey, smallint, text, uuid } from 'drizzle-orm/pg-core'
import { bytea, moment } from './columns.ts'

/**
 * Where each channel's stream stands. `epoch` names the life of the stream: when its rows are
 * lost or restored from a backup, a new epoch tells clients that their offsets mean nothing.
 */
export const streamHeads = pgTable('stream_heads', {
  id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
  channel: text('channel').notNull().unique(),
  epoch: text('epoch')
    .notNull()
    .default(sql`substr(md5(gen_random_uuid()::text), 1, 8)`),
  top: bigint('top', { mode: 'number' }).notNull().default(0),
})

/** Events of streams: by reference where a feature's table holds the content, else inline. */
export const streamEvents = pgTable(
  'stream_events',
  {
    head: bigint('head', { mode: 'number' }).notNull(),
    position: bigint('position', { mode: 'number' }).notNull(),
    kind: smallint('kind').notNull(),
    refA: bigint('ref_a', { mode: 'number' }),
    refB: bigint('ref_b', { mode: 'number' }),
    payload: text('payload'),
    createdAt: moment('created_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.head, table.position] }),
    index('stream_events_created').using('brin', table.createdAt),
  ],
)

/** Events that are durable with their transaction and wait for an offset. */
export const outbox = pgTable(
  'outbox',
  {
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    channel: text('channel').notNull(),
    kind: smallint('kind').notNull(),
    refA: bigint('ref_a', { mode: 'number' }),
    refB: bigint('ref_b', { mode: 'number' }),
    payload: text('payload'),
    createdAt: moment('created_at').notNull().defaultNow(),
  },
  (table) => [index('outbox_channel').on(table.channel, table.id)],
)

/** Running servers, by their heartbeats. */
export const instances = pgTable('instances', {
  id: uuid('id').primaryKey(),
  startedAt: moment('started_at').notNull().defaultNow(),
  seenAt: moment('seen_at').notNull().defaultNow(),
})

/**
 * Answers of requests that carried an idempotency key. Partitioned by day (see the migration), so
 * that old days are dropped, not deleted. `scope` is a hash of actor, operation and key.
 */
export const idempotency = pgTable(
  'idempotency',
  {
    day: date('day')
      .notNull()
      .default(sql`current_date`),
    scope: bytea('scope').notNull(),
    fingerprint: bytea('fingerprint').notNull(),
    answer: text('answer').notNull(),
    createdAt: moment('created_at').notNull().defaultNow(),
  },
  (table) => [primaryKey({ columns: [table.day, table.scope] })],
)
