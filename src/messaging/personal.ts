import type { SQL } from 'bun'
import { t, Uuid } from '../base/schema.ts'
import type { Caller } from '../kernel/access.ts'
import type { WriteContext } from '../kernel/context.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { PersonalItem } from '../kernel/personal-data.ts'
import { queue } from '../kernel/queue.ts'
import { MESSAGE_TYPES } from './shapes.ts'

/** What messaging holds of a person: for their export, and for the closing of their account. */

/** What stays when somebody leaves. */
export const KEPT = [
  'When you exchanged messages with whom: it belongs to the other side as well, who keeps it ' +
    'without your name until they close their account too. What you wrote was never stored here.',
  'Events for your own devices: they end by themselves within three days.',
] as const

const CONVERSATIONS_AT_ONCE = 200
const MESSAGES_AT_ONCE = 1_000

interface ConversationRow {
  readonly number: number
  readonly id: string
  readonly other: string
  readonly created_at: Date
}
interface MessageRow {
  readonly number: number
  readonly id: string
  readonly sent: boolean
  readonly message_type: number
  readonly created_at: Date
  readonly is_read: boolean
}

/** Conversations with their messages' metadata, oldest first. */
export async function* exportMessaging(
  _kernel: Kernel,
  sql: SQL,
  userId: string,
): AsyncGenerator<PersonalItem> {
  for await (const conversation of conversationsOf(sql, userId)) {
    const { id, other } = conversation
    const started_at = conversation.created_at.toISOString()
    yield { section: 'conversations', item: { id, participant_id: other, started_at } }
    for await (const row of messagesOf(sql, conversation.number, userId)) {
      const item = {
        id: row.id,
        conversation_id: id,
        direction: row.sent ? 'sent' : 'received',
        message_type: MESSAGE_TYPES[row.message_type] ?? 'system',
        timestamp: row.created_at.toISOString(),
        is_read: row.is_read,
      }
      yield { section: 'messages', item }
    }
  }
  const [seen] = (await sql`select at from last_seen where user_id = ${userId}`) as { at: Date }[]
  if (seen !== undefined) yield { section: 'last_seen', item: { at: seen.at.toISOString() } }
}

async function* conversationsOf(sql: SQL, userId: string) {
  let after = 0
  for (;;) {
    const rows = await sql<ConversationRow[]>`
      select number::float8 as number, id, other, created_at from (
        select number, id, user_b as other, created_at from conversations where user_a = ${userId}
        union all
        select number, id, user_a, created_at from conversations where user_b = ${userId}) mine
      where number > ${after} order by number limit ${CONVERSATIONS_AT_ONCE}`
    yield* rows
    if (rows.length < CONVERSATIONS_AT_ONCE) return
    after = (rows.at(-1) as ConversationRow).number
  }
}

async function* messagesOf(sql: SQL, conversation: number, userId: string) {
  let after = 0
  for (;;) {
    const rows = await sql<MessageRow[]>`
      select number::float8 as number, id, sender_id = ${userId} as sent, message_type, created_at,
        case when sender_id = ${userId} then coalesce(read_at > '-infinity', false)
          else read_at is not null end as is_read
      from messages where conversation = ${conversation} and number > ${after}
      order by number limit ${MESSAGES_AT_ONCE}`
    yield* rows
    if (rows.length < MESSAGES_AT_ONCE) return
    after = (rows.at(-1) as MessageRow).number
  }
}

/** Conversations whose messages one run deletes, and how many of these. */
const CONVERSATIONS_MAX = 100
const MESSAGES_MAX = 5_000

/** Batches that were on their way when the account was closed have long ended by then. */
const FORGET_DELAY_MS = 60_000

/** What nobody can read any more: conversations of which both sides have left. */
export const forgetQueue = queue('messaging.forget', {
  description: 'Deletes conversations whose two sides have closed their accounts',
  payload: t.Object({ user_id: Uuid }),
  concurrency: 1,
  deadlineMs: 60_000,
  triesMax: 10,
  backoffMs: 5_000,
  async handle({ tx, enqueue }, payload) {
    if (await deleteSome(tx.sql, payload.user_id)) enqueue(forgetQueue, payload)
  },
})

/** Deletes a bounded part; true while there may be more. */
async function deleteSome(sql: SQL, userId: string): Promise<boolean> {
  const rows = (await sql`
    select c.number::float8 as number from (
      select number, user_b as other from conversations where user_a = ${userId}
      union all
      select number, user_a from conversations where user_b = ${userId}) c
    join users u on u.id = c.other and u.closed_at is not null
    order by c.number limit ${CONVERSATIONS_MAX}`) as { number: number }[]
  if (rows.length === 0) return false
  const numbers = `{${rows.map(({ number }) => number).join(',')}}`
  const deleted = await sql`
    delete from messages where (conversation, number) in (
      select conversation, number from messages
      where conversation = any(${numbers}::text::bigint[]) limit ${MESSAGES_MAX})
    returning 1`
  if (deleted.length === MESSAGES_MAX) return true
  await sql`delete from conversations where number = any(${numbers}::text::bigint[])`
  return rows.length === CONVERSATIONS_MAX
}

/** Forgets when somebody was here, and in the queue what is left to nobody. */
export async function forgetMessaging(
  { tx, enqueue }: WriteContext<Caller | null>,
  userId: string,
): Promise<void> {
  await tx.sql`delete from last_seen where user_id = ${userId}`
  enqueue(forgetQueue, { user_id: userId }, { delayMs: FORGET_DELAY_MS })
}
