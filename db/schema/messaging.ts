import { sql } from 'drizzle-orm'
import {
  bigint,
  boolean,
  check,
  index,
  pgTable,
  primaryKey,
  smallint,
  text,
  unique,
  uniqueIndex,
  uuid,
} from 'drizzle-orm/pg-core'
import { moment } from './columns.ts'
import { users } from './identity.ts'

/**
 * A pair of users, the smaller id first. Who they are never changes, so that rows may be cached;
 * a side that has written stays one that has.
 */
export const conversations = pgTable(
  'conversations',
  {
    id: uuid('id').primaryKey(),
    number: bigint('number', { mode: 'number' }).generatedAlwaysAsIdentity().unique(),
    userA: uuid('user_a')
      .notNull()
      .references(() => users.id),
    userB: uuid('user_b')
      .notNull()
      .references(() => users.id),
    createdAt: moment('created_at').notNull().defaultNow(),
    /** Whoever has written to the other shows them their presence. */
    aWrote: boolean('a_wrote').notNull().default(false),
    bWrote: boolean('b_wrote').notNull().default(false),
  },
  (table) => [
    unique('conversations_pair').on(table.userA, table.userB),
    index('conversations_user_b').on(table.userB),
    check('conversations_order', sql`${table.userA} < ${table.userB}`),
  ],
)

/**
 * Metadata of messages: never content, never keys. No foreign keys (two of them double the cost
 * of a row, and the batch that inserts has just read both sides). The recipient is the other
 * side of the pair.
 */
export const messages = pgTable(
  'messages',
  {
    conversation: bigint('conversation', { mode: 'number' }).notNull(),
    number: bigint('number', { mode: 'number' }).generatedAlwaysAsIdentity(),
    id: uuid('id').notNull(),
    senderId: uuid('sender_id').notNull(),
    messageType: smallint('message_type').notNull(),
    sessionId: text('session_id'),
    createdAt: moment('created_at').notNull(),
    /** `-infinity`: read, but not told to the sender: one of the two had blocked the other. */
    readAt: moment('read_at'),
  },
  (table) => [
    primaryKey({ columns: [table.conversation, table.number] }),
    // Unique a sender, not in all: a stranger must not learn or block ids by trying them.
    uniqueIndex('messages_id').on(table.id, table.senderId),
    index('messages_unread')
      .on(table.conversation, table.senderId)
      .where(sql`${table.readAt} is null`),
  ],
)

/** When somebody was last connected. */
export const lastSeen = pgTable('last_seen', {
  userId: uuid('user_id')
    .primaryKey()
    .references(() => users.id, { onDelete: 'cascade' }),
  at: moment('at').notNull(),
})
