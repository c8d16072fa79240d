import { Parser } from '@asyncapi/parser'
import { describe, expect, test } from 'bun:test'
import { CLOSE } from '../../realtime/codes.ts'
import { COMMANDS, Connected } from '../../realtime/commands.ts'
import { features } from '../../src/features.ts'
import { asyncApi } from '../../src/http/asyncapi.ts'
import { createRegistry, type Registry } from '../../src/kernel/feature.ts'
import { sampleFeature } from './sample-feature.ts'
import { startHttp } from './support.ts'

interface Document {
  channels: Record<string, { address: string; messages: Record<string, Message> }>
  operations: Record<string, { action: string; reply?: { messages: { $ref: string }[] } }>
  components: { schemas: Record<string, unknown> }
  servers: Record<string, object>
}
interface Message {
  payload: { properties: Record<string, Record<string, unknown>>; required: string[] }
}

const protocol = { commands: COMMANDS, connected: Connected, close: CLOSE }
const documentOf = (registry: Registry, publicUrl = 'https://rialto.example') =>
  JSON.parse(
    JSON.stringify(asyncApi(registry, protocol, { version: '1.2.3', publicUrl })),
  ) as Document

const ERROR = 0
const mistakesOf = async (document: Document) => {
  const { diagnostics } = await new Parser().parse(structuredClone(document) as never)
  return diagnostics
    .filter(({ severity }) => severity === ERROR)
    .map(({ path, message }) => `${path.join('.')}: ${message}`)
}

// The parser takes seconds for it, and so reads it once; the sample is read with its mistake.
test('the document of the product is valid AsyncAPI 3.0', async () => {
  expect(await mistakesOf(documentOf(createRegistry(features)))).toEqual([])
}, 120_000)

describe.each([
  ['the sample', createRegistry([sampleFeature])],
  ['the product', createRegistry(features)],
])('the document of %s', (_, registry) => {
  const document = documentOf(registry)

  test('has every operation of the sockets and every command, and nothing else', () => {
    const received = Object.entries(document.operations)
      .filter(([, { action }]) => action === 'receive')
      .map(([name]) => name)
    const expected = [...registry.operations.values()]
      .filter(({ socket }) => socket)
      .map(({ name }) => name)
    expect(received.toSorted()).toEqual([...expected, ...Object.keys(COMMANDS)].toSorted())
    for (const name of received) {
      const messages = Object.keys(document.channels['socket']!.messages)
      expect(messages).toContain(name)
      expect(messages).toContain(`${name}.ack`)
      expect(document.operations[name]?.reply?.messages).toHaveLength(2)
    }
  })

  test('has every event on its channel', () => {
    const { socket: _socket, ...channels } = document.channels
    const described = Object.values(channels).flatMap(({ address, messages }) =>
      Object.keys(messages).map((type) => `${address} ${type}`),
    )
    const declared = registry.events.map((each) => `${each.channel.namespace}:{id} ${each.type}`)
    expect(described.toSorted()).toEqual(declared.toSorted())
    expect(Object.keys(channels).toSorted()).toEqual([...registry.channels.keys()].toSorted())
  })
})

describe('a frame in the document', () => {
  const document = documentOf(createRegistry([sampleFeature]))
  const frame = (channel: string, name: string) =>
    document.channels[channel]!.messages[name]!.payload

  test('of a call has an id if it likes, a key where one is taken, and the input', () => {
    const pay = frame('socket', 'pay')
    expect(pay.required).toEqual(['type', 'payload'])
    expect(pay.properties['type']).toEqual({ type: 'string', const: 'pay' })
    expect(Object.keys(pay.properties)).toEqual(['type', 'id', 'key', 'payload'])
    expect(Object.keys(frame('socket', 'pools.get').properties)).not.toContain('key')
    expect(frame('socket', 'pools.mine').required).toEqual(['type'])
  })

  test('of an answer has the output', () => {
    const { properties } = frame('socket', 'pools.get.ack')
    expect(properties['payload']).toEqual({ $ref: '#/components/schemas/Pool' })
  })

  test('of an event says its channel, and an offset where one is kept', () => {
    const { properties } = frame('pool', 'pool_moved')
    expect(properties['channel']).toMatchObject({ pattern: '^pool:' })
    expect(properties).toHaveProperty('offset')
  })

  test('of a ping is answered by a pong with or without an id', () => {
    const pong = frame('socket', 'ping.ack')
    expect(pong.properties['type']).toEqual({ type: 'string', const: 'pong' })
    expect(pong.required).toEqual(['type', 'payload'])
  })
})

test('the server is named by its public address', () => {
  const registry = createRegistry([sampleFeature])
  expect(documentOf(registry).servers['rialto']).toMatchObject({
    host: 'rialto.example',
    protocol: 'wss',
  })
  expect(documentOf(registry, 'http://localhost:8080').servers['rialto']).toMatchObject({
    host: 'localhost:8080',
    protocol: 'ws',
  })
})

test('a mistake in a document is found, and nothing else: the check can fail', async () => {
  const document = documentOf(createRegistry([sampleFeature]))
  document.operations['pools.get']!.action = 'emit'
  const mistakes = await mistakesOf(document)
  expect(mistakes).not.toEqual([])
  expect(mistakes.filter((text) => !text.includes('pools.get'))).toEqual([])
})

test('the document is served', async () => {
  await using app = startHttp()
  const response = await app.get('/asyncapi.json')
  expect(await response.json()).toMatchObject({ asyncapi: '3.0.0', info: { version: '1.2.3' } })
})
