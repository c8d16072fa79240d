import { sql } from 'drizzle-orm'
import { check, index, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
import { bytea, moment, xid8 } from './columns.ts'

/** People. A closed account keeps its row, without what identified the person. */
export const users = pgTable(
  'users',
  {
    id: uuid('id').primaryKey(),
    email: text('email').notNull(),
    username: text('username').notNull(),
    /** Argon2id, or the bcrypt hash of an old system until the next login. */
    passwordHash: text('password_hash'),
    name: text('name'),
    avatar: text('avatar'),
    roles: text('roles').array().notNull(),
    actorType: text('actor_type').notNull().default('user'),
    locale: text('locale').notNull().default('en'),
    timeZone: text('time_zone').notNull().default('UTC'),
    walletAddress: text('wallet_address'),
    walletVerifiedAt: moment('wallet_verified_at'),
    createdAt: moment('created_at').notNull().defaultNow(),
    updatedAt: moment('updated_at').notNull().defaultNow(),
    blockedAt: moment('blocked_at'),
    closedAt: moment('closed_at'),
  },
  (table) => [
    uniqueIndex('users_email_key').on(sql`lower(${table.email})`),
    uniqueIndex('users_username_key').on(sql`lower(${table.username})`),
    check('users_locale', sql`${table.locale} in ('en', 'fr')`),
    check('users_actor_type', sql`${table.actorType} in ('user', 'creator')`),
  ],
)

/** A signed-in device: what access and refresh tokens are bound to, and what is revoked. */
export const sessions = pgTable(
  'sessions',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    userAgent: text('user_agent'),
    address: text('address').notNull(),
    createdAt: moment('created_at').notNull().defaultNow(),
    lastUsedAt: moment('last_used_at').notNull().defaultNow(),
    /** The end that no refresh can move. */
    expiresAt: moment('expires_at').notNull(),
    revokedAt: moment('revoked_at'),
    revokedReason: text('revoked_reason'),
    /** When it has shown a second factor. */
    mfaAt: moment('mfa_at'),
  },
  (table) => [index('sessions_user').on(table.userId)],
)

/**
 * Sessions revoked lately, which every instance polls. `xact` lets a poll ask for everything
 * that its last snapshot could not see yet; a sequence would skip rows that commit late.
 */
export const sessionRevocations = pgTable(
  'session_revocations',
  {
    sessionId: uuid('session_id').primaryKey(),
    revokedAt: moment('revoked_at').notNull().defaultNow(),
    xact: xid8('xact')
      .notNull()
      .default(sql`pg_current_xact_id()`),
  },
  (table) => [index('session_revocations_xact').on(table.xact)],
)

/**
 * Refresh tokens by hash. A used one stays, so that its reuse is noticed; its successor is
 * derived from it, so that a lost answer can be given again without storing a token.
 */
export const refreshTokens = pgTable(
  'refresh_tokens',
  {
    hash: bytea('hash').primaryKey(),
    sessionId: uuid('session_id')
      .notNull()
      .references(() => sessions.id, { onDelete: 'cascade' }),
    createdAt: moment('created_at').notNull().defaultNow(),
    expiresAt: moment('expires_at').notNull(),
    usedAt: moment('used_at'),
  },
  (table) => [index('refresh_tokens_session').on(table.sessionId)],
)

/** Single-use tickets that open one socket. */
export const tickets = pgTable(
  'tickets',
  {
    hash: bytea('hash').primaryKey(),
    sessionId: uuid('session_id')
      .notNull()
      .references(() => sessions.id, { onDelete: 'cascade' }),
    expiresAt: moment('expires_at').notNull(),
    /**
     * When the access token ends that the ticket was made with. The socket ends then too: tickets
     * made from tickets must not keep a stolen token alive.
     */
    accessUntil: moment('access_until').notNull(),
  },
  (table) => [index('tickets_expires').on(table.expiresAt)],
)
