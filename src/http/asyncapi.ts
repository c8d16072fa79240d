import { type ErrorCode, ERRORS } from '../base/errors.ts'
import { oneOf, t, type TObject, type TSchema } from '../base/schema.ts'
import { type Channel, CHANNEL_NAME_MAX, type EventType } from '../kernel/channel.ts'
import type { Registry } from '../kernel/feature.ts'
import { stepsUp } from '../kernel/operation.ts'
import { type SchemaWriter, schemaWriter } from './json-schema.ts'

type Json = { [name: string]: unknown }

/** What the sockets say beside operations and events: the commands of the protocol. */
export interface SocketProtocol {
  readonly commands: Readonly<
    Record<string, { summary: string; payload: TObject; answer: TObject }>
  >
  /** Payload of the server's first frame. */
  readonly connected: TObject
  readonly close: Readonly<Record<string, { code: number; reason: string }>>
}

const FrameId = t.String({ minLength: 1, maxLength: 64 })

/** The payload of an error frame. */
const SocketError = t.Object(
  {
    code: oneOf(Object.keys(ERRORS) as ErrorCode[]),
    message: t.String(),
    retryable: t.Boolean(),
    details: t.Optional(
      t.Object({
        errors: t.Optional(t.Array(t.Object({ path: t.String(), message: t.String() }))),
        challenge: t.Optional(
          t.String({ description: 'For `step_up_required`: goes to `auth.mfa.verify`' }),
        ),
      }),
    ),
    retry_after_ms: t.Optional(t.Integer({ minimum: 0 })),
    request_id: t.Optional(t.String()),
  },
  { $id: 'SocketError' },
)

/** A frame of a client: answered once when it has an `id`. */
const callFrame = (type: string, payload: TObject, idempotent: boolean, stepsUp = false) =>
  t.Object({
    type: t.Literal(type),
    id: t.Optional(FrameId),
    ...(idempotent
      ? { key: t.Optional(t.String({ minLength: 1, maxLength: 255, description: 'Idempotency' })) }
      : {}),
    ...(stepsUp
      ? { step_up: t.Optional(t.String({ description: 'What `auth.mfa.verify` has given' })) }
      : {}),
    ...((payload.required ?? []).length > 0 ? { payload } : { payload: t.Optional(payload) }),
  })

/** The answer to a call; with the caller's own position where its event is numbered already. */
const ackFrame = (payload: TSchema) =>
  t.Object({
    type: t.Literal('ack'),
    id: FrameId,
    channel: t.Optional(t.String()),
    offset: t.Optional(t.Integer({ minimum: 1 })),
    replayed: t.Optional(t.Literal(true)),
    payload,
  })

const errorFrame = t.Object({
  type: t.Literal('error'),
  id: t.Optional(FrameId),
  payload: SocketError,
})

const eventFrame = ({ type, channel, payload }: EventType) =>
  t.Object({
    type: t.Literal(type),
    channel: t.String({ pattern: `^${channel.namespace}:`, maxLength: CHANNEL_NAME_MAX }),
    ...(channel.recovery === 'none' ? {} : { offset: t.Optional(t.Integer({ minimum: 1 })) }),
    payload,
  })

/** The parts of a document while it is written. */
interface Draft {
  readonly schemas: SchemaWriter
  /** Messages of the socket itself, by name. */
  readonly messages: Record<string, Json>
  readonly operations: Record<string, Json>
}

const ref = (...path: string[]) => ({ $ref: `#/${path.join('/')}` })

/**
 * The AsyncAPI 3.0 document of the sockets: one channel for the frames of the native dialect, and
 * one for each namespace of events, which reach the client over the same socket. `receive` is what
 * clients send, `send` what the server does.
 */
export function asyncApi(
  registry: Registry,
  protocol: SocketProtocol,
  options: { version: string; publicUrl: string },
): Json {
  const draft: Draft = { schemas: schemaWriter(), messages: {}, operations: {} }
  draft.messages['error'] = message(draft, 'An error', 'error', errorFrame)
  draft.messages['connected'] = message(
    draft,
    'The first frame of the server',
    'connected',
    t.Object({ type: t.Literal('connected'), payload: protocol.connected }),
  )
  draft.operations['connected'] = sends('socket', ['connected'], 'Greets a client')
  for (const [name, command] of Object.entries(protocol.commands)) addCommand(draft, name, command)
  for (const feature of registry.features) {
    for (const operation of feature.operations) {
      if (!operation.socket) continue
      const { name, input, idempotent } = operation
      const frame = callFrame(name, input, idempotent, stepsUp(operation))
      addCall(draft, name, operation.summary, frame, ackFrame(operation.output), {
        tags: [{ name: feature.name }],
        security:
          operation.access.kind === 'user' ? [ref('components', 'securitySchemes', 'token')] : [],
      })
    }
  }
  const channels = Object.fromEntries(
    [...registry.channels.values()].map((c) => [
      c.namespace,
      addChannel(draft, c, registry.events),
    ]),
  )
  return {
    asyncapi: '3.0.0',
    info: info(options.version),
    defaultContentType: 'application/json',
    servers: { rialto: server(options.publicUrl) },
    channels: { socket: socketChannel(draft, protocol), ...channels },
    operations: draft.operations,
    components: { schemas: draft.schemas.components, securitySchemes: SECURITY },
  }
}

const SECURITY = {
  token: {
    type: 'httpApiKey',
    in: 'query',
    name: 'token',
    description:
      'An access token of `auth/login`. Instead: the subprotocols `rialto.v1, bearer.<token>`, a ' +
      '`ticket` of `auth/ticket` in the query, or a first frame `authenticate` within 10 s.',
  },
}

function info(version: string): Json {
  return {
    title: 'Rialto sockets',
    version,
    description:
      'Frames are JSON objects `{type, payload}`, one a message. A frame with an `id` gets ' +
      'exactly one answer: `ack` or `error`. Answers come in order. The operations are those of ' +
      '`/api-json`.',
    license: { name: 'MIT' },
  }
}

function server(publicUrl: string): Json {
  const { host, protocol, pathname } = new URL(publicUrl)
  return {
    host,
    protocol: protocol === 'https:' ? 'wss' : 'ws',
    ...(pathname === '/' ? {} : { pathname }),
    security: [ref('components', 'securitySchemes', 'token')],
  }
}

function socketChannel(draft: Draft, { close }: SocketProtocol): Json {
  const text = { type: 'string' }
  return {
    address: '/ws',
    title: 'The socket',
    description: 'The native dialect; `/ws/chat` is the same.',
    servers: [ref('servers', 'rialto')],
    messages: draft.messages,
    bindings: {
      ws: {
        method: 'GET',
        query: { type: 'object', properties: { token: text, ticket: text } },
        bindingVersion: '0.1.0',
      },
    },
    'x-close-codes': Object.values(close).map(({ code, reason }) => ({
      code,
      reason,
      reconnect: code < 4500,
    })),
  }
}

function message(draft: Draft, title: string, name: string, payload: TSchema): Json {
  return { name, title, payload: draft.schemas.write(payload) }
}

function sends(channel: string, names: readonly string[], summary: string): Json {
  return {
    action: 'send',
    channel: ref('channels', channel),
    summary,
    messages: names.map((name) => ref('channels', channel, 'messages', name)),
  }
}

function addCall(
  draft: Draft,
  name: string,
  summary: string,
  frame: TSchema,
  answer: TSchema,
  rest: Json = {},
): void {
  const answerName = `${name}.ack`
  draft.messages[name] = message(draft, summary, name, frame)
  draft.messages[answerName] = message(draft, `Answer to ${name}`, 'ack', answer)
  draft.operations[name] = {
    action: 'receive',
    channel: ref('channels', 'socket'),
    summary,
    ...rest,
    messages: [ref('channels', 'socket', 'messages', name)],
    reply: {
      channel: ref('channels', 'socket'),
      messages: [answerName, 'error'].map((n) => ref('channels', 'socket', 'messages', n)),
    },
  }
}

/** `ping` is the one command with an answer of its own, which comes without an `id` as well. */
function addCommand(draft: Draft, name: string, command: SocketProtocol['commands'][string]): void {
  const pong = t.Object({
    type: t.Literal('pong'),
    id: t.Optional(FrameId),
    payload: command.answer,
  })
  const answer = name === 'ping' ? pong : ackFrame(command.answer)
  addCall(draft, name, command.summary, callFrame(name, command.payload, false), answer, {
    tags: [{ name: 'protocol' }],
  })
}

const RECOVERY: Record<Channel['recovery'], string> = {
  stream: 'Missed events are recovered by `subscribe {recover}`.',
  cache: 'The latest event comes with the subscription.',
  none: 'Events are only for who is connected.',
}

function addChannel(draft: Draft, channel: Channel, events: readonly EventType[]): Json {
  const { namespace, recovery, personal, members, viaMembers, description } = channel
  const own = events.filter((e) => e.channel.namespace === namespace)
  for (const each of own) {
    const name = `${namespace}.${each.type}`
    draft.operations[name] = sends(namespace, [each.type], each.description)
  }
  const sentences = [
    description,
    RECOVERY[recovery],
    personal ? 'Every connection of its user is subscribed from the start.' : '',
    viaMembers ? 'Its events reach every member without a subscription.' : '',
    members === undefined ? '' : 'Its readers may ask for its presence.',
  ]
  return {
    address: `${namespace}:{id}`,
    title: namespace,
    description: sentences.filter((s) => s !== '').join(' '),
    servers: [ref('servers', 'rialto')],
    parameters: { id: { description: `Which ${namespace}` } },
    messages: Object.fromEntries(
      own.map((e) => [e.type, message(draft, e.description, e.type, eventFrame(e))]),
    ),
  }
}
