import { userChannel } from '../auth/index.ts'
import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import type { Static } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import { emission } from '../kernel/channel.ts'
import type { BatchContext, BatchItem } from '../kernel/context.ts'
import type { Emission } from '../kernel/effects.ts'
import { operation } from '../kernel/operation.ts'
import { messageEvent } from './channels.ts'
import { Conversations } from './conversations.ts'
import {
  blocksAmong,
  findOrCreate,
  havingWritten,
  inTouch,
  markWrote,
  type Pair,
  pairKey,
  sideOf,
  type Wish,
} from './pairs.ts'
import { type Message, MessageInput, SentMessage } from './shapes.ts'
import { findSent, insertMessages, messageKey, type NewMessage } from './store.ts'

type Sent = Static<typeof SentMessage>

/** Sends the metadata of a message. The content never passes through this server. */
export const sendMessage = operation('message', {
  summary: 'Announces a message to a user: metadata only',
  description:
    'Creates the conversation with the first message. The same id again is the same message; ' +
    'the same id with other content is a conflict. Fields that the schema does not know are ' +
    'refused, so that no content can slip in. Somebody who has blocked you or closed their ' +
    'account cannot be reached: `forbidden`.',
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
  const age = ctx.kernel.use(Conversations).age()
  const between = await pairsOf(ctx, items, age)
  const candidates: Candidate[] = []
  for (const [index, item] of items.entries()) {
    const made = candidate(index, item, between)
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
  const noting = noteFirst(ctx, candidates, age)
  noting.catch(() => undefined)
  const numbers = new Map<string, number>()
  for (const row of await inserting) numbers.set(messageKey(row.id, row.sender_id), row.number)
  // After the insert: when that fails, this only says that the transaction has ended.
  await noting

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

/** What there is between the people of a batch. */
interface Between {
  /** By `pairKey`. */
  readonly pairs: ReadonlyMap<string, Pair>
  /** Of those who have no conversation: who has blocked whom. */
  readonly blocks: readonly Wish[]
}

/** The conversations of a batch: remembered ones, and in one go those that are not. */
async function pairsOf(
  ctx: BatchContext,
  items: readonly BatchItem<MessageInput>[],
  age: number,
): Promise<Between> {
  const table = ctx.kernel.use(Conversations)
  const pairs = new Map<string, Pair>()
  const missing = new Map<string, Wish>()
  for (const { actor, input } of items) {
    const recipientId = input.recipient_id.toLowerCase()
    if (recipientId === actor.userId) continue
    const pair = table.between(actor.userId, recipientId)
    const key = pairKey(actor.userId, recipientId)
    if (pair === undefined) missing.set(key, [actor.userId, recipientId])
    else pairs.set(key, pair)
  }
  if (missing.size === 0) return { pairs, blocks: [] }
  const made = await findOrCreate(ctx.sql, [...missing.values()])
  ctx.afterCommit(() => table.remember([...made.values()], age))
  for (const [key, pair] of made) {
    pairs.set(key, pair)
    missing.delete(key)
  }
  const blocks = missing.size === 0 ? [] : await blocksAmong(ctx.sql, [...missing.values()])
  return { pairs, blocks }
}

/** The same for blocks and for closed accounts: a block is told to nobody. */
const unreachable = () => new Failure('forbidden', 'This person cannot be reached')
const youBlock = () => new Failure('forbidden', 'You have blocked this person')

/** Why somebody may not write in a conversation; undefined when they may. */
function refusalOf(pair: Pair, senderId: string): Failure | undefined {
  if (sideOf(pair, senderId).blocks) return youBlock()
  return inTouch(pair) ? undefined : unreachable()
}

/** Why there is no conversation between two people. */
function noPair(blocks: readonly Wish[], senderId: string, recipientId: string): Failure {
  const blocking = (by: string, whom: string) => blocks.some(([b, w]) => b === by && w === whom)
  if (blocking(senderId, recipientId)) return youBlock()
  if (blocking(recipientId, senderId)) return unreachable()
  return new Failure('not_found', 'There is no such recipient')
}

function candidate(
  index: number,
  { actor, input }: BatchItem<MessageInput>,
  { pairs, blocks }: Between,
): Candidate | Failure {
  const recipientId = input.recipient_id.toLowerCase()
  if (recipientId === actor.userId) return invalid('/recipient_id', 'You cannot write to yourself')
  const pair = pairs.get(pairKey(actor.userId, recipientId))
  if (pair === undefined) return noPair(blocks, actor.userId, recipientId)
  const refusal = refusalOf(pair, actor.userId)
  if (refusal !== undefined) return refusal
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

/** Whoever writes to somebody for the first time shows them their presence from now on. */
async function noteFirst(
  ctx: BatchContext,
  candidates: readonly Candidate[],
  age: number,
): Promise<void> {
  const first = candidates.filter(({ pair, row }) => !sideOf(pair, row.senderId).wrote)
  if (first.length === 0) return
  const sides = first.map(({ pair, row }) => ({ pair, senderId: row.senderId }))
  await markWrote(ctx.sql, sides)
  const noted = new Map<string, Pair>()
  for (const { pair, senderId } of sides) {
    noted.set(pair.id, havingWritten(noted.get(pair.id) ?? pair, senderId))
  }
  ctx.afterCommit(() => ctx.kernel.use(Conversations).remember([...noted.values()], age))
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
  const sent: Emission = {
    ...received,
    channel: channelOf(row.senderId),
    owner: row.senderId,
  }
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
