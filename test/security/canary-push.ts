import { COMMANDS } from '../../realtime/commands.ts'
import { pathParameters, PREFIXES } from '../../src/http/mount.ts'
import type { Operation } from '../../src/kernel/operation.ts'
import { Client } from '../support/client.ts'
import type { TestServer } from '../support/server.ts'
import { OPCODE, RawSocket, upgradeRequest, wsFrame } from './raw-socket.ts'

/** Everything that was answered, in whatever form. */
export type Answers = string[]

/** Makes a mark for a place. */
export type MarkAt = (place: string) => string

export interface Target {
  readonly server: Pick<TestServer, 'url' | 'wsUrl' | 'port' | 'registry'>
  readonly token: string
  readonly mark: MarkAt
  readonly answers: Answers
  /** A recipient, for messages that would be accepted but for their content. */
  readonly recipientId: string
}

/** Profile fields are stored because they are meant to be. */
const STORED = new Set(['name', 'username', 'avatar', 'email'])

async function ask({ server, answers }: Target, path: string, init: RequestInit): Promise<void> {
  const response = await fetch(server.url + path, init).catch(() => undefined)
  if (response === undefined) return
  answers.push(`${JSON.stringify([...response.headers])} ${await response.text()}`)
}

/** Bodies that go wrong at every step of being read, from the first byte to the last rule. */
function bodies(target: Target, operation: Operation): [type: string, body: string | Uint8Array][] {
  const { mark } = target
  const { name } = operation
  const json = 'application/json'
  const fields = Object.keys(operation.input.properties)
  const all = Object.fromEntries(fields.map((field) => [field, mark(`${name} body ${field}`)]))
  const each = fields
    .filter((field) => !STORED.has(field))
    .map((field) => ({ [field]: mark(`${name} body only ${field}`) }))
  const values = [
    all,
    { content: mark(`${name} body content`), ciphertext: [mark(`${name} body ciphertext`)] },
    { [mark(`field name in a body of ${name}`)]: 1 },
    ...each,
  ]
  return [
    ...values.map((value): [string, string] => [json, JSON.stringify(value)]),
    [json, JSON.stringify(mark(`${name} body text`))],
    [json, `{"content":"${mark(`${name} body cut short`)}`],
    [json, mark(`${name} body no JSON`)],
    [json, Buffer.concat([Buffer.from(mark(`${name} body UTF-8`)), Buffer.from([0xff])])],
    ['text/plain', mark(`${name} body plain`)],
    [`application/${mark(`${name} body media type`)}`, '{}'],
    [json, JSON.stringify({ content: mark(`${name} body NUL`), nul: '\0' })],
    [json, JSON.stringify({ content: mark(`${name} body big`) + 'x'.repeat(1_100_000) })],
  ]
}

/** Pushes marks through every route of an operation. */
export async function pushOverRest(target: Target, operation: Operation): Promise<void> {
  const { mark, token } = target
  const authorized = { Authorization: `Bearer ${token}` }
  const { name } = operation
  for (const { method, path } of operation.routes) {
    let address = PREFIXES[0] + path
    for (const [, parameter] of pathParameters(path)) {
      const value = encodeURIComponent(mark(`${name} path ${parameter}`))
      address = address.replace(`:${parameter}`, value)
    }
    const fields = Object.keys(operation.input.properties)
    const query = new URLSearchParams({ [mark(`field name in a query of ${name}`)]: '1' })
    for (const field of ['content', ...fields]) query.set(field, mark(`${name} query ${field}`))
    await ask(target, `${address}?${query.toString()}`, { method, headers: authorized })
    for (const field of fields) {
      const one = new URLSearchParams({ [field]: mark(`${name} query only ${field}`) })
      await ask(target, `${address}?${one.toString()}`, { method, headers: authorized })
    }
    await ask(target, address, { method, headers: headersWithMarks(mark, name) })
    await ask(target, address, {
      method,
      headers: { ...headersWithMarks(mark, name), ...authorized },
    })
    if (method === 'GET') continue
    for (const [type, body] of bodies(target, operation)) {
      const headers = { ...authorized, 'Content-Type': type }
      await ask(target, address, { method, headers, body: body as string })
    }
  }
}

function headersWithMarks(mark: MarkAt, of: string): Record<string, string> {
  const names = ['Cookie', 'Referer', 'Origin', 'X-Content', 'X-Request-Id', 'X-Forwarded-For']
  const more = ['Accept', 'Accept-Language', 'If-None-Match', 'Range', 'X-Step-Up', 'X-API-Key']
  const basic = Buffer.from(`user:${mark(`${of} basic authorization`)}`).toString('base64')
  return {
    ...Object.fromEntries([...names, ...more].map((name) => [name, mark(`${of} header ${name}`)])),
    Authorization: `Basic ${basic}`,
    'Idempotency-Key': mark(`${of} idempotency key`),
  }
}

/** Addresses that do not exist. */
export async function pushOverAddresses(target: Target): Promise<void> {
  const { mark } = target
  for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS', 'HEAD']) {
    for (const start of [
      '/',
      '/api/',
      '/api/v1/',
      '/api/v1/users/x/',
      '/ws/',
      '/health/',
      '/metrics/',
    ]) {
      await ask(target, `${start}${encodeURIComponent(mark(`${method} ${start}`))}`, { method })
    }
    await ask(target, `/metrics?${encodeURIComponent(mark(`${method} metrics`))}`, { method })
  }
}

/** Frames that go wrong at every step of being read. */
function frames(target: Target, type: string, fields: readonly string[]): object[] {
  const { mark } = target
  const payload = Object.fromEntries(
    fields.filter((f) => f !== 'channel').map((f) => [f, mark(`${type} frame ${f}`)]),
  )
  const only = fields
    // Channels have frames of their own, below.
    .filter((field) => !STORED.has(field) && field !== 'channel')
    .map((field) => ({ type, payload: { [field]: mark(`${type} frame only ${field}`) } }))
  return [
    { type, payload },
    { type, payload: { ...payload, content: mark(`${type} frame content`) } },
    { type, payload: { [mark(`field name in a frame of ${type}`)]: { deep: [1] } } },
    { type, payload: [mark(`${type} frame list`)] },
    { type, payload: mark(`${type} frame text`) },
    { type, payload: { text: mark(`${type} frame NUL`), nul: '\0' } },
    {
      type,
      content: mark(`${type} frame beside`),
      key: mark(`${type} frame key`),
      step_up: mark(`${type} frame step_up`),
      channel: mark(`${type} frame channel`),
      epoch: mark(`${type} frame epoch`),
    },
    ...only,
  ]
}

/** Channels with a mark for an id. */
function channelFrames({ mark, server }: Target): object[] {
  const commands = Object.entries(COMMANDS).filter(
    ([, { payload }]) => 'channel' in payload.properties,
  )
  return commands.flatMap(([type]) =>
    [...server.registry.channels.keys(), 'nowhere'].map((namespace) => ({
      type,
      payload: { channel: `${namespace}:${mark(`channel of ${type}, ${namespace}`)}` },
    })),
  )
}

/** Pushes marks through frames of every operation and command, well-formed and not. */
export async function pushOverSocket(target: Target): Promise<void> {
  const { server, token, mark, answers, recipientId } = target
  const client = await Client.connect(server.wsUrl, token)
  const say = (frame: object, id?: string) =>
    client.send(id === undefined ? frame : { id, ...frame })
  const types: [string, string[]][] = [
    ...[...server.registry.operations.values()].map((operation): [string, string[]] => [
      operation.name,
      Object.keys(operation.input.properties),
    ]),
    ...Object.entries(COMMANDS).map(([command, { payload }]): [string, string[]] => [
      command,
      Object.keys(payload.properties),
    ]),
  ]
  let n = 0
  for (const [type, fields] of types) {
    for (const frame of frames(target, type, fields)) say(frame, `n${n++}`)
    say({ type, payload: {} }, mark('id of a frame').slice(0, 64))
  }
  for (const frame of channelFrames(target)) say(frame, `n${n++}`)
  say({ type: mark('unknown type'), payload: { content: mark('frame of unknown type') } }, 'u1')
  const message = { recipient_id: recipientId, message_type: 'text' }
  for (const field of [
    'content',
    'body',
    'ciphertext',
    'text',
    'key',
    'prekey_bundle',
    'signature',
  ]) {
    const payload = { ...message, [field]: mark(`message with ${field}`) }
    say({ type: 'message', payload }, `m-${field}`)
  }
  for (const field of ['session_id', 'message_type', 'id', 'conversation_id']) {
    say(
      { type: 'message', payload: { ...message, [field]: mark(`message ${field}`) } },
      `m-${field}`,
    )
  }
  // Overwritten, not refused.
  for (const field of ['user_id', 'sender_id', 'caller_id', 'timestamp', 'is_read']) {
    say(
      { type: 'message', payload: { ...message, [field]: mark(`message ${field}`) } },
      `m-${field}`,
    )
  }
  say({ type: 'message', key: mark('key of a good message'), payload: message }, 'good')
  for (const text of [mark('no JSON'), `"${mark('JSON text')}"`, `{"type":"${mark('cut short')}`]) {
    client.send(text)
  }
  await client.call('ping')
  answers.push(...client.frames.map((frame) => JSON.stringify(frame)))
  await client.close()
}

/** Marks on the way to a socket, and in what ends one. */
export async function pushOverConnections(target: Target): Promise<void> {
  const { server, token, mark, answers } = target
  const queries = ['token', 'ticket', 'content', 'access_token'].map(
    (name) => `?${name}=${encodeURIComponent(mark(`ws query ${name}`))}`,
  )
  const upgrades = [
    ...queries.map((query) => upgradeRequest(`/ws${query}`)),
    upgradeRequest(`/ws?token=${token}&content=${mark('ws query beside a token')}`),
    upgradeRequest('/ws', {
      'Sec-WebSocket-Protocol': `rialto.v1, bearer.${mark('ws protocol').replaceAll(/[=/]/g, '')}`,
    }),
    upgradeRequest('/ws', { ...headersWithMarks(mark, 'ws'), 'User-Agent': 'canary' }),
    upgradeRequest(`/ws/${mark('ws path')}`),
    `GET /ws HTTP/1.1\r\nHost: ${mark('host')}\r\nX: ${mark('raw header')}\r\n\r\n`,
    `${mark('no HTTP')}\r\n\r\n`,
  ]
  for (const request of upgrades) {
    const raw = await RawSocket.open(server.port)
    raw.write(request)
    await Promise.race([raw.sees('HTTP/1.1'), raw.end()])
    answers.push(raw.received.toString('latin1'))
    raw.destroy()
  }
  const endings = [
    wsFrame(OPCODE.binary, mark('binary frame')),
    wsFrame(OPCODE.text, `${mark('frame too big')}${'x'.repeat(70_000)}`),
    wsFrame(OPCODE.text, Buffer.concat([Buffer.from(mark('not UTF-8')), Buffer.from([0xff])])),
    wsFrame(OPCODE.text, mark('unmasked frame'), { masked: false }),
    wsFrame(3, mark('reserved opcode')),
    Buffer.concat([
      wsFrame(OPCODE.text, mark('unfinished fragment'), { fin: false }),
      wsFrame(OPCODE.close, ''),
    ]),
    wsFrame(
      OPCODE.close,
      Buffer.concat([Buffer.from([3, 232]), Buffer.from(mark('close reason'))]),
    ),
    wsFrame(OPCODE.ping, mark('fragmented ping'), { fin: false }),
  ]
  for (const bytes of endings) {
    const raw = await RawSocket.upgraded(server.port, `/ws?token=${token}`)
    raw.write(wsFrame(OPCODE.ping, mark('ping')))
    raw.write(bytes)
    await raw.end()
    raw.destroy()
  }
}
