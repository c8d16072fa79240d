import { sql } from 'drizzle-orm'
import { bigint, index, pgTable, primaryKey, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytea, moment } from './columns.ts'
import { sessions, users } from './identity.ts'

/**
 * Second factors, one a user at most. A row without `enabled_at` is one that was begun and not
 * confirmed; a pending secret beside an enabled one is a new authenticator about to replace it.
 */
export const secondFactors = pgTable('second_factors', {
  userId: uuid('user_id')
    .primaryKey()
    .references(() => users.id, { onDelete: 'cascade' }),
  /** Sealed by the vault, as is the pending one. */
  secret: bytea('secret'),
  enabledAt: moment('enabled_at'),
  /** Time step (RFC 6238) of the last accepted code: only later ones are taken. */
  lastStep: bigint('last_step', { mode: 'number' }),
  pendingSecret: bytea('pending_secret'),
  /** Only the session that began may confirm. */
  pendingSessionId: uuid('pending_session_id'),
  pendingUntil: moment('pending_until'),
})

/** Recovery codes by hash. Used ones stay until new ones are made. */
export const recoveryCodes = pgTable(
  'recovery_codes',
  {
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    hash: bytea('hash').notNull(),
    usedAt: moment('used_at'),
  },
  (table) => [primaryKey({ columns: [table.userId, table.hash] })],
)

/** What a fresh second factor has earned: one call of one operation with one input. */
export const stepUps = pgTable(
  'step_ups',
  {
    hash: bytea('hash').primaryKey(),
    sessionId: uuid('session_id')
      .notNull()
      .references(() => sessions.id, { onDelete: 'cascade' }),
    operation: text('operation').notNull(),
    /** Keyed hash of the input. */
    fingerprint: bytea('fingerprint').notNull(),
    expiresAt: moment('expires_at').notNull(),
  },
  (table) => [
    index('step_ups_expires').on(table.expiresAt),
    index('step_ups_session').on(table.sessionId),
  ],
)

/** Requests to remove a second factor that its owner has lost. */
export const recoveries = pgTable(
  'recoveries',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    /** Of the secret that whoever began it holds. */
    tokenHash: bytea('token_hash').notNull(),
    startedAt: moment('started_at').notNull(),
    /** From when it may be completed. */
    completesAt: moment('completes_at').notNull(),
    /** Until when. */
    endsAt: moment('ends_at').notNull(),
    completedAt: moment('completed_at'),
    cancelledAt: moment('cancelled_at'),
  },
  (table) => [
    uniqueIndex('recoveries_open')
      .on(table.userId)
      .where(sql`${table.completedAt} is null and ${table.cancelledAt} is null`),
    index('recoveries_user').on(table.userId),
    index('recoveries_ends').on(table.endsAt),
  ],
)
