import { sql } from 'drizzle-orm'
import { boolean, check, index, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core'
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
    /** As the administrator put it; shown to the user. */
    blockedReason: text('blocked_reason'),
    closedAt: moment('closed_at'),
    /** The administrator that the configuration makes; nothing else may change it. */
    environmentAdmin: boolean('environment_admin').notNull().default(false),
    /** When its owner has shown that they read mail to the address. */
    emailVerifiedAt: moment('email_verified_at'),
    /** When a mail server has said that there is no such mailbox. */
    emailRefusedAt: moment('email_refused_at'),
    /** When the owner was reminded to verify. */
    verificationRemindedAt: moment('verification_reminded_at'),
    /** When password, second factor or address last changed: what is risky waits for a day. */
    securityChangedAt: moment('security_changed_at'),
  },
  (table) => [
    uniqueIndex('users_email_key').on(sql`lower(${table.email})`),
    uniqueIndex('users_username_key').on(sql`lower(${table.username})`),
    index('users_admins')
      .on(table.id)
      .where(sql`'admin' = any(${table.roles})`),
    // How many hashes of older systems are left, by their cost: see src/auth/sign-in/passwords.ts.
    index('users_legacy_password')
      .on(sql`substr(${table.passwordHash}, 5, 2)`)
      .where(sql`${table.passwordHash} like '$2%'`),
    check('users_locale', sql`${table.locale} in ('en', 'fr')`),
    check('users_actor_type', sql`${table.actorType} in ('user', 'creator')`),
  ],
)

/**
 * Devices that a user has signed in from. A client that keeps its token is recognised by it; one
 * that keeps none, by what kind it is and where it calls from.
 */
export const devices = pgTable(
  'devices',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    /** Of the secret that the client keeps. */
    tokenHash: bytea('token_hash').notNull(),
    /** When the client last showed its secret; null for one that may not keep it. */
    tokenUsedAt: moment('token_used_at'),
    /** Hash of the kind of client and its network. */
    fingerprint: bytea('fingerprint').notNull(),
    userAgent: text('user_agent'),
    address: text('address').notNull(),
    firstSeenAt: moment('first_seen_at').notNull(),
    lastSeenAt: moment('last_seen_at').notNull(),
  },
  (table) => [
    uniqueIndex('devices_token').on(table.tokenHash),
    index('devices_user').on(table.userId, table.lastSeenAt),
    index('devices_last_seen').on(table.lastSeenAt),
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
    deviceId: uuid('device_id').references(() => devices.id, { onDelete: 'set null' }),
  },
  (table) => [index('sessions_user').on(table.userId), index('sessions_device').on(table.deviceId)],
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
