import { userChannel } from '../auth/channels.ts'
import type { Emission } from '../kernel/channel.ts'
import { emission } from '../kernel/channel.ts'
import { Failure } from '../kernel/errors.ts'
import { uuidv7 } from '../kernel/ids.ts'
import { type BatchContext, type BatchItem, operation, user } from '../kernel/operation.ts'
import type { Static } from '../kernel/schema.ts'
import { messageEvent } from './channels.ts'
import { Conversations, findOrCreate, type Pair, pairKey } from './conversations.ts'
import { type Message, MessageInput, SentMessage } from './shapes.ts'
import { findSent, insertMessages, messageKey, type NewMessage } from './store.ts'

type Sent = Static<typeof SentMessage>

/** Sends the metadata of a message. The content never passes through this server. */
export const sendMessage = operation('message', {
  summary: 'Announces a message to a user: metadata only',
  description:
    'Creates the conversation with the first message. The same id again is the same message; ' +
    'the same id with other content is a conflict. Fields that the schema does not know are ' +
    'refused, so that no content can slip in.',
  rest: 'POST /messages',
  status: 201,
  access: user(),
  limit: 'message',
  input: MessageInput,
  output: SentMessage,
  batch: send,
})

/** An item that may be inserted: validated, with its conversation. */
interface Candidate {
  readonly index: number
  readonly pair: Pair
  readonly row: NewMessage
  readonly recipientId: string
}

async function send(ctx: BatchContext, items: readonly BatchItem<MessageInput>[]) {
  const results = new Array<Sent | Failure>(items.length)
  const pairs = await pairsOf(ctx, items)
  const candidates: Candidate[] = []
  for (const [index, item] of items.entries()) {
    const made = candidate(index, item, pairs)
    if (made instanceof Failure) results[index] = made
    else candidates.push(made)
  }
  if (candidates.length === 0) return results
  const timestamp = ctx.clock.iso()
  // Both are on their way before the first answer is waited for.
  const inserting = insertMessages(
    ctx.sql,
    candidates.map(({ row }) => row),
    timestamp,
  )
  ctx.claim(candidates.flatMap((c) => [channelOf(c.row.senderId), channelOf(c.recipientId)]))
  const numbers = new Map<string, number>()
  for (const row of await inserting) numbers.set(messageKey(row.id, row.sender_id), row.number)

  const repeated: Candidate[] = []
  for (const one of candidates) {
    const key = messageKey(one.row.id, one.row.senderId)
    const number = numbers.get(key)
    if (number === undefined) {
      repeated.push(one)
      continue
    }
    // A second item with this id in the same batch is a repetition of the first.
    numbers.delete(key)
    results[one.index] = announce(ctx, one, number, timestamp)
  }
  if (repeated.length > 0) await answerRepeated(ctx, repeated, results)
  return results
}

const channelOf = (userId: string) => `${userChannel.namespace}:${userId}`

/** The conversations of a batch: remembered ones, and in one go those that are not. */
async function pairsOf(
  ctx: BatchContext,
  items: readonly BatchItem<MessageInput>[],
): Promise<Map<string, Pair>> {
  const table = ctx.kernel.use(Conversations)
  const found = new Map<string, Pair>()
  const missing = new Map<string, readonly [string, string]>()
  for (const { actor, input } of items) {
    const recipientId = input.recipient_id.toLowerCase()
    if (recipientId === actor.userId) continue
    const pair = table.between(actor.userId, recipientId)
    const key = pairKey(actor.userId, recipientId)
    if (pair === undefined) missing.set(key, [actor.userId, recipientId])
    else found.set(key, pair)
  }
  if (missing.size > 0) {
    const made = await findOrCreate(ctx.sql, [...missing.values()])
    for (const [key, pair] of made) found.set(key, pair)
    ctx.afterCommit(() => table.remember([...made.values()]))
  }
  return found
}

function candidate(
  index: number,
  { actor, input }: BatchItem<MessageInput>,
  pairs: ReadonlyMap<string, Pair>,
): Candidate | Failure {
  const recipientId = input.recipient_id.toLowerCase()
  if (recipientId === actor.userId) return invalid('/recipient_id', 'You cannot write to yourself')
  const pair = pairs.get(pairKey(actor.userId, recipientId))
  if (pair === undefined) return new Failure('not_found', 'There is no such recipient')
  if (input.conversation_id !== undefined && input.conversation_id.toLowerCase() !== pair.id) {
    return invalid('/conversation_id', 'Not the conversation with this recipient')
  }
  const row = {
    conversation: pair.number,
    id: input.id?.toLowerCase() ?? uuidv7(),
    senderId: actor.userId,
    type: input.message_type,
    sessionId: input.session_id ?? null,
  }
  return { index, pair, row, recipientId }
}

function invalid(path: string, message: string): Failure {
  return new Failure('validation_failed', message, { errors: [{ path, message }] })
}

/** Puts a new message on both users' streams, by reference, and makes its ack. */
function announce(ctx: BatchContext, one: Candidate, number: number, timestamp: string): Sent {
  const { row, pair, recipientId } = one
  const message: Message = {
    id: row.id,
    conversation_id: pair.id,
    sender_id: row.senderId,
    recipient_id: recipientId,
    message_type: row.type,
    timestamp,
    session_id: row.sessionId,
    is_read: false,
  }
  const received = emission(messageEvent, recipientId, message, [pair.number, number])
  // The same payload, serialised once, on the sender's own stream for their other devices.
  const sent: Emission = { ...received, channel: channelOf(row.senderId) }
  ctx.emit(one.index, received)
  ctx.emit(one.index, sent)
  return { ...message, delivered: ctx.kernel.presence.connections(recipientId) }
}

/** An id that the sender has used: the same message again, or a conflict. */
async function answerRepeated(
  ctx: BatchContext,
  repeated: readonly Candidate[],
  results: (Sent | Failure)[],
): Promise<void> {
  const sent = await findSent(
    ctx.sql,
    repeated.map(({ row }) => [row.id, row.senderId]),
  )
  for (const { index, row, recipientId } of repeated) {
    const first = sent.get(messageKey(row.id, row.senderId))
    const same =
      first !== undefined &&
      first.recipient_id === recipientId &&
      first.message_type === row.type &&
      first.session_id === row.sessionId
    results[index] = same
      ? { ...first, delivered: ctx.kernel.presence.connections(recipientId) }
      : new Failure('conflict', 'You have used this id for another message')
  }
}
