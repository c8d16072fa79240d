import type { SQL } from 'bun'
import { pipelined } from '../../db/pipelined.ts'
import { blocksSql } from '../blocks/index.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { type Message, MESSAGE_TYPES, type MessageType } from './shapes.ts'

/** A message row joined with its pair. */
interface MessageRow {
  readonly id: string
  readonly conversation_id: string
  readonly sender_id: string
  readonly user_a: string
  readonly user_b: string
  readonly message_type: number
  readonly session_id: string | null
  readonly created_at: Date
  readonly is_read: boolean
  readonly conversation: number
  readonly number: number
}

/** Whether a message `m` is read, as its sender is told: see `messages` in db/schema. */
const TOLD = `coalesce(m.read_at > '-infinity', false)`

/** Messages `m` as `viewer`, an SQL expression of an id, sees them. */
const select = (viewer: string) => `
  select m.id, c.id as conversation_id, m.sender_id, c.user_a, c.user_b, m.message_type,
    m.session_id, m.created_at,
    case m.sender_id when ${viewer} then ${TOLD} else m.read_at is not null end as is_read,
    m.conversation::float8 as conversation, m.number::float8 as number
  from messages m join conversations c on c.number = m.conversation`

/** The stored number of a type of message. */
function typeNumber(type: MessageType): number {
  return MESSAGE_TYPES.indexOf(type)
}

function toMessage(row: MessageRow): Message {
  return {
    id: row.id,
    conversation_id: row.conversation_id,
    sender_id: row.sender_id,
    recipient_id: row.sender_id === row.user_a ? row.user_b : row.user_a,
    message_type: MESSAGE_TYPES[row.message_type] ?? 'system',
    timestamp: row.created_at.toISOString(),
    session_id: row.session_id,
    is_read: row.is_read,
  }
}

/** A new message on its way into the table. */
export interface NewMessage {
  readonly conversation: number
  readonly id: string
  readonly senderId: string
  readonly type: MessageType
  readonly sessionId: string | null
}

/**
 * Inserts messages; an id that the sender has used before is passed over. Sent at once, to be
 * awaited later. Arrays go as text literals: half the cost of array parameters.
 * @returns numbers of the new rows by `messageKey`
 */
export function insertMessages(
  sql: SQL,
  rows: readonly NewMessage[],
  createdAt: string,
): Promise<{ id: string; sender_id: string; number: number }[]> {
  const list = (values: readonly (string | number | null)[]) => `{${values.join(',')}}`
  const sessions = rows.map((r) => (r.sessionId === null ? 'null' : `"${r.sessionId}"`))
  return pipelined(sql<{ id: string; sender_id: string; number: number }[]>`
    insert into messages (conversation, id, sender_id, message_type, session_id, created_at)
    select u.c, u.i, u.s, u.t, u.x, ${createdAt}::text::timestamptz
    from unnest(${list(rows.map((r) => r.conversation))}::text::bigint[],
      ${list(rows.map((r) => r.id))}::text::uuid[],
      ${list(rows.map((r) => r.senderId))}::text::uuid[],
      ${list(rows.map((r) => typeNumber(r.type)))}::text::smallint[],
      ${list(sessions)}::text::text[]) u(c, i, s, t, x)
    on conflict (id, sender_id) do nothing
    returning id, sender_id, number::float8 as number`)
}

/** Ids are unique a sender. */
export function messageKey(id: string, senderId: string): string {
  return `${id.toLowerCase()}${senderId}`
}

/** Messages by their senders' ids, for recognising what has been sent before. */
export async function findSent(
  sql: SQL,
  ids: readonly (readonly [id: string, senderId: string])[],
): Promise<Map<string, Message>> {
  const rows = await sql.unsafe<MessageRow[]>(
    `${select('m.sender_id')} join unnest($1::text::uuid[], $2::text::uuid[]) u(id, s)
       on m.id = u.id and m.sender_id = u.s`,
    [`{${ids.map(([id]) => id).join(',')}}`, `{${ids.map(([, sender]) => sender).join(',')}}`],
  )
  return new Map(rows.map((row) => [messageKey(row.id, row.sender_id), toMessage(row)]))
}

/**
 * A message as JSON text for a stream row `e` that refers to it by (conversation, number). Nothing
 * in it needs escaping: ids, times and short tokens, which the input's own rules guarantee.
 */
export const messageText = `(
  select '{"id":"' || m.id || '","conversation_id":"' || c.id || '","sender_id":"' || m.sender_id
    || '","recipient_id":"' || case m.sender_id when c.user_a then c.user_b else c.user_a end
    || '","message_type":"' || (array['${MESSAGE_TYPES.join("','")}'])[m.message_type + 1]
    || '","timestamp":"'
    || to_char(m.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    || '","session_id":' || coalesce('"' || m.session_id || '"', 'null')
    || ',"is_read":' || case when ${TOLD} then 'true' when m.read_at is null
        or (select channel from stream_heads where id = e.head) = 'user:' || m.sender_id
      then 'false' else 'true' end || '}'
  from messages m join conversations c on c.number = m.conversation
  where m.conversation = e.ref_a and m.number = e.ref_b)`

/**
 * A page of a conversation's messages as `viewerId` sees them, newest first, before the message of
 * that number.
 */
export async function listMessages(
  kernel: Kernel,
  { conversation, viewerId }: { conversation: number; viewerId: string },
  limit: number,
  before: number | undefined,
): Promise<{ items: Message[]; last: number | undefined }> {
  const rows = await kernel.db.read((sql) =>
    sql.unsafe<MessageRow[]>(
      `${select('$4')} where m.conversation = $1 and m.number < $2
      order by m.number desc limit $3`,
      [conversation, before ?? Number.MAX_SAFE_INTEGER, limit + 1, viewerId],
    ),
  )
  const shown = rows.slice(0, limit)
  return {
    items: shown.map(toMessage),
    last: rows.length > limit ? shown.at(-1)?.number : undefined,
  }
}

/** One line of somebody's list of conversations. */
export interface ConversationRow {
  readonly id: string
  readonly participant_id: string
  readonly participant_name: string
  readonly participant_avatar: string | null
  readonly last_message_time: Date | null
  readonly unread_count: number
  /** The participant shows their presence. */
  readonly shown: boolean
  /** What the list is ordered by. */
  readonly at: Date
}

/**
 * Conversations of a user, newest first, after (`at`, `id`). Last message and unread count are
 * computed here: keeping them in the row would cost every message an update.
 */
export async function listConversations(
  kernel: Kernel,
  userId: string,
  limit: number,
  after: { at: string; id: string } | undefined,
): Promise<ConversationRow[]> {
  return await kernel.db.read((sql) =>
    sql.unsafe<ConversationRow[]>(
      `with mine as (
        select id, number, user_b as other, b_wrote as wrote, created_at
        from conversations where user_a = $1
        union all
        select id, number, user_a, a_wrote, created_at from conversations where user_b = $1),
      dated as (
        select mine.*, last.created_at as last, coalesce(last.created_at, mine.created_at) as at
        from mine left join lateral (
          select created_at from messages where conversation = mine.number
          order by number desc limit 1) last on true)
      select d.id, d.other as participant_id, coalesce(u.name, u.username) as participant_name,
        u.avatar as participant_avatar, d.last as last_message_time, d.at,
        (select count(*)::int from messages m where m.conversation = d.number
           and m.sender_id = d.other and m.read_at is null) as unread_count,
        d.wrote and not ${blocksSql('$1', 'd.other')} and not ${blocksSql('d.other', '$1')} as shown
      from dated d join users u on u.id = d.other
      where $2::text is null or (d.at, d.id) < ($2::text::timestamptz, $3::uuid)
      order by d.at desc, d.id desc limit $4`,
      [userId, after?.at ?? null, after?.id ?? null, limit],
    ),
  )
}

/** To whom these users show their presence: whom they have written to, where nobody blocks. */
export async function peersOf(kernel: Kernel, userIds: readonly string[]) {
  const unblocked = `not ${blocksSql('user_a', 'user_b')} and not ${blocksSql('user_b', 'user_a')}`
  return await kernel.db.read((sql) =>
    sql.unsafe<{ userId: string; peerId: string; channelId: string }[]>(
      `select user_a as "userId", user_b as "peerId", id as "channelId" from conversations
      where user_a = any($1::text::uuid[]) and a_wrote and ${unblocked}
      union all
      select user_b, user_a, id from conversations
      where user_b = any($1::text::uuid[]) and b_wrote and ${unblocked}`,
      [`{${userIds.join(',')}}`],
    ),
  )
}

/** Writes down when users who have just left were last connected. */
export async function writeLastSeen(kernel: Kernel, userIds: readonly string[]): Promise<void> {
  await kernel.db.sql`
    insert into last_seen (user_id, at)
    select u.id, now() from unnest(${`{${userIds.join(',')}}`}::text::uuid[]) u(id)
    join users on users.id = u.id
    order by u.id
    on conflict (user_id) do update set at = excluded.at`
}

/** When somebody was last connected. */
export async function lastSeenOf(kernel: Kernel, userId: string): Promise<Date | undefined> {
  const [row] = await kernel.db.read(
    (sql) => sql<{ at: Date }[]>`select at from last_seen where user_id = ${userId}`,
  )
  return row?.at
}

/** Which of these messages somebody had from somebody. */
export async function receivedFrom(
  sql: SQL,
  { by, from, ids }: { by: string; from: string; ids: readonly string[] },
): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set()
  const [a, b] = by < from ? [by, from] : [from, by]
  const rows = (await sql`
    select m.id from messages m join conversations c on c.number = m.conversation
    where m.id = any(${`{${ids.join(',')}}`}::text::uuid[]) and m.sender_id = ${from}
      and c.user_a = ${a} and c.user_b = ${b}`) as { id: string }[]
  return new Set(rows.map(({ id }) => id))
}
