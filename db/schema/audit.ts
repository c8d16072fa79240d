import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  index,
  json,
  pgTable,
  primaryKey,
  text,
  uuid,
} from 'drizzle-orm/pg-core'
import { bytea, moment } from './columns.ts'

/*
 * What each table is for and who may do what with it: docs/audit.md. JSON is kept as `json`, not
 * `jsonb`: what was written is what is read, to the byte, so that its hash still fits.
 */

/**
 * Lines as the acts wrote them, JSON text, for the moment until they are sealed: as columns they
 * would cost the acts a tenth more.
 */
export const auditPending = pgTable('audit_pending', {
  number: bigint('number', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
  line: text('line').notNull(),
})

/** The log: sealed lines, by position. Partitioned by month (see the migration). */
export const auditLog = pgTable(
  'audit_log',
  {
    position: bigint('position', { mode: 'number' }).notNull(),
    sealedAt: moment('sealed_at').notNull(),
    keyId: text('key_id').notNull(),
    id: uuid('id').notNull(),
    at: moment('at').notNull(),
    actorKind: text('actor_kind').notNull(),
    actorId: text('actor_id'),
    sessionId: uuid('session_id'),
    action: text('action').notNull(),
    outcome: text('outcome').notNull(),
    targetType: text('target_type'),
    targetId: text('target_id'),
    transport: text('transport').notNull(),
    requestId: text('request_id').notNull(),
    before: json('before'),
    after: json('after'),
    /** Whose data `personal` is. */
    subjectId: text('subject_id'),
    originDigest: bytea('origin_digest'),
    personalDigest: bytea('personal_digest'),
    hash: bytea('hash').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.position, table.sealedAt] }),
    index('audit_log_newest').on(table.at, table.id),
    index('audit_log_actor').on(table.actorId, table.at, table.id),
    index('audit_log_target').on(table.targetId, table.at, table.id),
    index('audit_log_action').on(table.action, table.at, table.id),
    index('audit_log_request').on(table.requestId),
    index('audit_log_refused')
      .on(table.at, table.id)
      .where(sql`${table.outcome} <> 'success'`),
  ],
)

/** The erasable parts of sealed lines. Partitioned as the log is. */
export const auditPersonal = pgTable(
  'audit_personal',
  {
    position: bigint('position', { mode: 'number' }).notNull(),
    part: text('part').notNull(),
    sealedAt: moment('sealed_at').notNull(),
    /** Whose data it is; null where nobody knows. */
    subjectId: text('subject_id'),
    salt: bytea('salt').notNull(),
    data: json('data').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.position, table.part, table.sealedAt] }),
    index('audit_personal_subject').on(table.subjectId, table.position),
    check('audit_personal_part', sql`${table.part} in ('origin', 'personal')`),
  ],
)

/** Where the chain ends. One row. */
export const auditHead = pgTable(
  'audit_head',
  {
    one: boolean('one').primaryKey().default(true),
    position: bigint('position', { mode: 'number' }).notNull(),
    hash: bytea('hash').notNull(),
    sealedAt: moment('sealed_at').notNull(),
  },
  (table) => [check('audit_head_one', sql`${table.one}`)],
)

/** Secrets that lines were sealed with, themselves sealed by the vault. */
export const auditKeys = pgTable('audit_keys', {
  id: text('id').primaryKey(),
  secret: bytea('secret').notNull(),
  createdAt: moment('created_at').notNull().defaultNow(),
})

/** Where the chain begins after old months were dropped: signed checkpoints. */
export const auditTrims = pgTable('audit_trims', {
  position: bigint('position', { mode: 'number' }).primaryKey(),
  hash: bytea('hash').notNull(),
  /** The signed checkpoint, as JSON text. */
  checkpoint: text('checkpoint').notNull(),
})
