import { sql } from 'drizzle-orm'
import { check, index, pgTable, text, uuid } from 'drizzle-orm/pg-core'
import { bytea, moment } from './columns.ts'
import { users } from './identity.ts'

/** Keys of services. The secrets have 256 random bits, so that a plain hash cannot be searched. */
export const apiKeys = pgTable(
  'api_keys',
  {
    id: uuid('id').primaryKey(),
    name: text('name').notNull(),
    /** How the key begins: names it in lists, logs and the findings of secret scanners. */
    prefix: text('prefix').notNull().unique(),
    hash: bytea('hash').notNull(),
    /** The secret before the last rotation, and until when it still works. */
    previousHash: bytea('previous_hash'),
    previousUntil: moment('previous_until'),
    scopes: text('scopes').array().notNull(),
    createdBy: uuid('created_by')
      .notNull()
      .references(() => users.id),
    createdAt: moment('created_at').notNull(),
    rotatedAt: moment('rotated_at'),
    expiresAt: moment('expires_at'),
    /** Written at most once a minute. */
    lastUsedAt: moment('last_used_at'),
    lastUsedAddress: text('last_used_address'),
    revokedAt: moment('revoked_at'),
  },
  (table) => [
    index('api_keys_revoked').on(table.revokedAt),
    check(
      'api_keys_previous',
      sql`(${table.previousHash} is null) = (${table.previousUntil} is null)`,
    ),
  ],
)
