import { sql } from 'drizzle-orm'
import { index, pgTable, text, uuid } from 'drizzle-orm/pg-core'
import { bytea, moment } from './columns.ts'
import { users } from './identity.ts'

/** Links that were mailed, each good for one use; the database knows a hash of the secret. */
export const oneTimeLinks = pgTable(
  'one_time_links',
  {
    hash: bytea('hash').primaryKey(),
    purpose: text('purpose', {
      enum: ['verify_email', 'reset_password', 'confirm_email', 'revert_email', 'cancel_recovery'],
    }).notNull(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    /** The address it is about: to be verified, taken, or given back. */
    email: text('email').notNull(),
    createdAt: moment('created_at').notNull(),
    expiresAt: moment('expires_at').notNull(),
    /** Used, or replaced by a newer one. */
    endedAt: moment('ended_at'),
  },
  (table) => [
    index('one_time_links_user').on(table.userId, table.purpose, table.createdAt),
    index('one_time_links_expires').on(table.expiresAt),
  ],
)

/** Addresses that accounts had lately: for notices, and kept free, to be taken back. */
export const previousAddresses = pgTable(
  'previous_addresses',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    email: text('email').notNull(),
    changedAt: moment('changed_at').notNull(),
    /** Until then nobody else may have it. */
    reservedUntil: moment('reserved_until').notNull(),
  },
  (table) => [
    index('previous_addresses_user').on(table.userId),
    index('previous_addresses_email').on(sql`lower(${table.email})`),
    index('previous_addresses_changed').on(table.changedAt),
  ],
)
