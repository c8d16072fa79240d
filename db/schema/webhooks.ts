import { sql } from 'drizzle-orm'
import {
  bigint,
  check,
  foreignKey,
  index,
  integer,
  pgTable,
  smallint,
  text,
  uuid,
} from 'drizzle-orm/pg-core'
import { bytea, moment } from './columns.ts'

/**
 * Where services want to be told what happens, and how far each has been told. Every moment here is
 * the database's, so that no clock of an instance moves a delivery.
 */
export const webhookEndpoints = pgTable(
  'webhook_endpoints',
  {
    id: uuid('id').primaryKey(),
    /** The API key of the service whose it is; null for one of the administrators'. */
    keyId: uuid('key_id'),
    /** The administrator who made it; null when a service did, or when the account is closed. */
    createdBy: uuid('created_by'),
    url: text('url').notNull(),
    description: text('description').notNull(),
    /** Types of events; empty for all. */
    events: text('events').array().notNull(),
    /** Deliveries at the same time; one keeps the order. */
    parallel: smallint('parallel').notNull(),
    /** What deliveries are signed with; sealed. */
    secret: bytea('secret').notNull(),
    /** The secret before, and until when deliveries are signed with it too; sealed. */
    previousSecret: bytea('previous_secret'),
    previousUntil: moment('previous_until'),
    state: text('state', { enum: ['active', 'paused', 'disabled'] }).notNull(),
    /** Why the server has disabled it. */
    disabledBecause: text('disabled_because', { enum: ['gone', 'failing', 'key_ended'] }),
    /** The stream's life, and the last of its events that was considered. */
    epoch: text('epoch').notNull(),
    position: bigint('position', { mode: 'number' }).notNull(),
    /** Events that were forgotten before they could be considered, and when that was last seen. */
    missed: bigint('missed', { mode: 'number' }).notNull().default(0),
    missedAt: moment('missed_at'),
    /** Since when every attempt has failed, and how many. */
    failingSince: moment('failing_since'),
    failures: integer('failures').notNull().default(0),
    /** Nothing is sent before this: it asked for that, or has failed too often. */
    notBefore: moment('not_before'),
    /** The job that sends to it now, unless it has been silent for too long. */
    senderId: uuid('sender_id'),
    senderUntil: moment('sender_until'),
    createdAt: moment('created_at').notNull(),
    updatedAt: moment('updated_at').notNull(),
  },
  (table) => [
    index('webhook_endpoints_key').on(table.keyId, table.id),
    check(
      'webhook_endpoints_previous',
      sql`(${table.previousSecret} is null) = (${table.previousUntil} is null)`,
    ),
    check(
      'webhook_endpoints_disabled',
      sql`(${table.state} = 'disabled') = (${table.disabledBecause} is not null)`,
    ),
  ],
)

/** One event for one endpoint: to be sent, or what came of it. */
export const webhookDeliveries = pgTable(
  'webhook_deliveries',
  {
    id: uuid('id').primaryKey(),
    endpointId: uuid('endpoint_id').notNull(),
    /** The order of an endpoint's deliveries. */
    number: bigint('number', { mode: 'number' }).generatedAlwaysAsIdentity(),
    /** `webhook-id`: the same for every copy of an event, so that receivers know it again. */
    messageId: text('message_id').notNull(),
    type: text('type').notNull(),
    /** Exactly what is sent. */
    body: text('body').notNull(),
    state: text('state', { enum: ['pending', 'delivered', 'failed'] }).notNull(),
    attempts: integer('attempts').notNull().default(0),
    dueAt: moment('due_at').notNull(),
    /** Of the last attempt: when, what was answered, how it failed, how long it took. */
    attemptedAt: moment('attempted_at'),
    status: smallint('status'),
    error: text('error'),
    durationMs: integer('duration_ms'),
    answer: text('answer'),
    createdAt: moment('created_at').notNull(),
  },
  (table) => [
    foreignKey({
      name: 'webhook_deliveries_endpoint',
      columns: [table.endpointId],
      foreignColumns: [webhookEndpoints.id],
    }).onDelete('cascade'),
    index('webhook_deliveries_endpoint').on(table.endpointId, table.number),
    index('webhook_deliveries_due')
      .on(table.endpointId, table.dueAt, table.number)
      .where(sql`${table.state} = 'pending'`),
    index('webhook_deliveries_created').on(table.createdAt),
  ],
)
