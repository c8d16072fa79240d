import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import { input, type Static, t, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import { emission } from '../kernel/channel.ts'
import type { BatchContext, BatchItem } from '../kernel/context.ts'
import { operation } from '../kernel/operation.ts'
import { receiptEvent } from './channels.ts'
import { Conversations } from './conversations.ts'
import { inTouch } from './pairs.ts'
import type { ReadReceipt } from './shapes.ts'

const ReadInput = input({
  message_id: t.Optional(Uuid),
  conversation_id: t.Optional(Uuid),
  up_to: t.Optional(Uuid),
})
type ReadInput = Static<typeof ReadInput>
const ReadOutput = t.Object({ read: t.Integer({ minimum: 0 }) })
type ReadOutput = Static<typeof ReadOutput>

/** Marks messages as read: one by its id, or all of a conversation up to one. */
export const markRead = operation('read_receipt', {
  summary: 'Marks a message as read, or a conversation up to a message',
  description:
    'For the recipient only; idempotent. The sender and the reader’s other devices get ' +
    '`read_receipt`. Give `message_id`, or `conversation_id` and `up_to` (a message id).',
  rest: 'POST /messages/:message_id/read',
  aliases: ['POST /conversations/:conversation_id/read'],
  access: user(),
  limit: 'receipt',
  input: ReadInput,
  output: ReadOutput,
  batch: read,
})

/** What an item asks for, with its place in the batch. */
interface Wanted {
  readonly index: number
  readonly readerId: string
  /** The message that is read, or up to which all are. */
  readonly messageId: string
  /** Set: everything before it in this conversation too. */
  readonly conversationId: string | undefined
}

/** A message that the reader received, found by its id. */
interface Found {
  readonly n: number
  readonly sender_id: string
  readonly conversation_id: string
  readonly conversation: number
  readonly number: number
}

async function read(ctx: BatchContext, items: readonly BatchItem<ReadInput>[]) {
  const results = new Array<ReadOutput | Failure>(items.length)
  const wanted: Wanted[] = []
  for (const [index, { actor, input: given }] of items.entries()) {
    const { message_id, conversation_id, up_to } = given
    const one = message_id !== undefined && conversation_id === undefined && up_to === undefined
    const many = message_id === undefined && conversation_id !== undefined && up_to !== undefined
    if (one || many) {
      const messageId = (message_id ?? up_to) as string
      wanted.push({ index, readerId: actor.userId, messageId, conversationId: conversation_id })
    } else {
      results[index] = new Failure('validation_failed', 'What has been read?', {
        errors: [{ path: '/', message: 'Either message_id, or conversation_id and up_to' }],
      })
    }
  }
  if (wanted.length === 0) return results
  const found = new Map((await findReceived(ctx.sql, wanted)).map((row) => [row.n - 1, row]))
  const known = wanted.filter((_, n) => found.has(n))
  const counts = await markAll(
    ctx,
    known.map((one) => [one, found.get(wanted.indexOf(one)) as Found]),
  )
  for (const one of wanted) {
    const count = counts.get(one)
    results[one.index] =
      count === undefined
        ? new Failure('not_found', 'You have received no such message')
        : { read: count }
  }
  return results
}

/** Only what the reader received: somebody else's message does not exist for them. */
function findReceived(sql: SQL, wanted: readonly Wanted[]): Promise<Found[]> {
  const list = (values: readonly (string | undefined)[]) =>
    `{${values.map((v) => v ?? 'null').join(',')}}`
  return sql<Found[]>`
    select distinct on (u.n) u.n::int as n, m.sender_id, c.id as conversation_id,
      m.conversation::float8 as conversation, m.number::float8 as number
    from unnest(${list(wanted.map((w) => w.messageId))}::text::uuid[],
      ${list(wanted.map((w) => w.readerId))}::text::uuid[],
      ${list(wanted.map((w) => w.conversationId))}::text::uuid[])
      with ordinality u(id, reader, c, n)
    join messages m on m.id = u.id and m.sender_id <> u.reader
    join conversations c on c.number = m.conversation
      and u.reader in (c.user_a, c.user_b) and (u.c is null or c.id = u.c)
    order by u.n, m.number desc`
}

/** Marks and announces; rows are locked in one order, so that two readers cannot deadlock. */
async function markAll(
  ctx: BatchContext,
  pairs: readonly (readonly [Wanted, Found])[],
): Promise<Map<Wanted, number>> {
  const counts = new Map<Wanted, number>()
  if (pairs.length === 0) return counts
  const timestamp = ctx.clock.iso()
  const known = await ctx.kernel
    .use(Conversations)
    .load(ctx.sql, [...new Set(pairs.map(([, found]) => found.conversation_id))])
  const isTold = ({ conversation_id }: Found) => {
    const pair = known.get(conversation_id)
    return pair !== undefined && inTouch(pair)
  }
  const list = (values: readonly (string | number | boolean)[]) => `{${values.join(',')}}`
  const rows = await ctx.sql<{ conversation: number; number: number }[]>`
    with u as (
      select * from unnest(${list(pairs.map(([, f]) => f.conversation))}::text::bigint[],
        ${list(pairs.map(([, f]) => f.number))}::text::bigint[],
        ${list(pairs.map(([, f]) => f.sender_id))}::text::uuid[],
        ${list(pairs.map(([w]) => w.conversationId !== undefined))}::text::boolean[],
        ${list(pairs.map(([, f]) => isTold(f)))}::text::boolean[])
        as u(conversation, number, sender, up_to, told)),
    unread as (
      select m.conversation, m.number from messages m
      where m.read_at is null and exists (
        select from u where u.conversation = m.conversation and u.sender = m.sender_id
          and (u.number = m.number or (u.up_to and m.number < u.number)))
        and m.conversation in (select conversation from u)
      order by m.conversation, m.number for no key update)
    update messages m set read_at = case
      when m.conversation in (select conversation from u where told)
      then ${timestamp}::text::timestamptz else '-infinity' end
    from unread where m.conversation = unread.conversation and m.number = unread.number
    returning m.conversation::float8 as conversation, m.number::float8 as number`
  // Two items may cover the same message: the first of them has read it.
  const marked = new Set(rows.map((row) => `${row.conversation}/${row.number}`))
  for (const [one, row] of pairs) {
    const upTo = one.conversationId !== undefined
    const own = upTo
      ? rows.filter((r) => r.conversation === row.conversation && r.number <= row.number)
      : rows.filter((r) => r.conversation === row.conversation && r.number === row.number)
    let count = 0
    for (const r of own) if (marked.delete(`${r.conversation}/${r.number}`)) count++
    counts.set(one, count)
    if (count > 0) announce(ctx, one, row, { timestamp, isTold: isTold(row) })
  }
  return counts
}

function announce(
  ctx: BatchContext,
  one: Wanted,
  row: Found,
  { timestamp, isTold }: { timestamp: string; isTold: boolean },
): void {
  const receipt: ReadReceipt = {
    message_id: one.messageId.toLowerCase(),
    conversation_id: row.conversation_id,
    reader_id: one.readerId,
    timestamp,
    up_to: one.conversationId !== undefined,
  }
  if (isTold) ctx.emit(one.index, emission(receiptEvent, row.sender_id, receipt))
  ctx.emit(one.index, emission(receiptEvent, one.readerId, receipt))
}
