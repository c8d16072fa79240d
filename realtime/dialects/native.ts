import { errorPayload, type Failure } from '../../src/base/errors.ts'
import type { Outcome } from '../../src/kernel/call.ts'
import type { Publication } from '../streams/publication.ts'
import type { StreamRenderer, WaitingFrame } from './dialect.ts'

/** The native dialect: `{type, payload}` frames as JSON text, one a message. */

const ID_LENGTH_MAX = 64
// Most ids need no escaping; asking costs less than a call of the serialiser.
const PLAIN = /^[\w-]+$/

/** A frame of a client, or the reason why it is none, with its id where it had a usable one. */
export type Parsed =
  | { readonly ok: true; readonly frame: WaitingFrame }
  | { readonly ok: false; readonly id: string | undefined; readonly why: string }

/** Takes a text frame apart; never throws. */
export function parseFrame(text: string): Parsed {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return { ok: false, id: undefined, why: 'A frame is one JSON object' }
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { ok: false, id: undefined, why: 'A frame is one JSON object' }
  }
  const { type, id, key, step_up: stepUp, payload } = value as Record<string, unknown>
  if (id !== undefined && !isId(id)) {
    return { ok: false, id: undefined, why: '`id` is a text of 1 to 64 characters' }
  }
  if (typeof type !== 'string') return { ok: false, id, why: '`type` is missing' }
  if (key !== undefined && typeof key !== 'string') {
    return { ok: false, id, why: '`key` is a text' }
  }
  if (stepUp !== undefined && typeof stepUp !== 'string') {
    return { ok: false, id, why: '`step_up` is a text' }
  }
  if (payload !== undefined && (typeof payload !== 'object' || payload === null)) {
    return { ok: false, id, why: '`payload` is an object' }
  }
  return { ok: true, frame: { type, id, key, stepUp, payload: payload ?? {} } }
}

function isId(id: unknown): id is string {
  return typeof id === 'string' && id.length > 0 && id.length <= ID_LENGTH_MAX
}

const quoted = (id: string) => (PLAIN.test(id) ? `"${id}"` : JSON.stringify(id))

/** The answer to a call. A caller whose own stream has moved learns its offset here. */
export function ackFrame(id: string, { output, position, replayed }: Outcome): string {
  const where =
    position === undefined ? '' : `"channel":"${position.channel}","offset":${position.offset},`
  const again = replayed === true ? '"replayed":true,' : ''
  return `{"type":"ack","id":${quoted(id)},${where}${again}"payload":${text(output)}}`
}

/** The answer to a command of the protocol whose payload is JSON text already. */
export function rawAckFrame(id: string, payload: string): string {
  return `{"type":"ack","id":${quoted(id)},"payload":${payload}}`
}

/** A refusal; with the call's id where it had a usable one. */
export function errorFrame(id: string | undefined, failure: Failure): string {
  const which = id === undefined ? '' : `"id":${quoted(id)},`
  return `{"type":"error",${which}"payload":${JSON.stringify(errorPayload(failure))}}`
}

/** A frame of the server's own accord. */
export function serverFrame(type: string, payload: unknown): string {
  return `{"type":"${type}","payload":${text(payload)}}`
}

/** An ephemeral event: a channel and no offset. */
export function ephemeralFrame(type: string, channel: string, payload: unknown): string {
  return `{"type":"${type}","channel":${JSON.stringify(channel)},"payload":${text(payload)}}`
}

/** The answer to `ping`: always, with or without an id. */
export function pongFrame(id: string | undefined, serverTime: string): string {
  const which = id === undefined ? '' : `"id":${quoted(id)},`
  return `{"type":"pong",${which}"payload":{"server_time":"${serverTime}"}}`
}

/** A numbered event: serialised once for all its readers. */
function eventFrame(channel: string, { type, offset, payload }: Publication): string {
  return `{"type":"${type}","channel":"${channel}","offset":${offset},"payload":${payload}}`
}

/** Publications as the elements of a JSON array, without parsing their payloads. */
export function publicationsJson(publications: readonly Publication[]): string {
  const each = publications.map(
    ({ offset, type, payload }) => `{"offset":${offset},"type":"${type}","payload":${payload}}`,
  )
  return each.join(',')
}

/** The same as an SQL expression over a stream row `e`, whose type and payload are expressions. */
function publicationSql(type: string, payload: string): string {
  const head = `'{"offset":' || e.position || ',"type":"' || ${type} || '"'`
  return `${head} || ',"payload":' || ${payload} || '}'`
}

/** What the hub and recovery write in this dialect. */
export const nativeRenderer: StreamRenderer = {
  eventFrame,
  publicationsJson,
  publicationSql,
}

function text(value: unknown): string {
  return value === undefined || value === null ? '{}' : JSON.stringify(value)
}
