import { afterAll, beforeAll, expect, test } from 'bun:test'
import { documentText } from '../docs/examples.ts'
import { Client } from '../support/client.ts'
import { giveFactor } from '../support/factor.ts'
import { restWithFactor } from '../support/mfa.ts'
import { administrator, type Person, person, rest } from '../support/people.ts'
import type { TestServer } from '../support/server.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { lettersOf, makeService, type Service, webhookServer } from './setup.ts'

/** What the product tells services, by the acts that it tells of. */

let server: TestServer
let admin: Person
let receiver: Receiver
let service: Service
beforeAll(async () => {
  server = await webhookServer()
  admin = await administrator(server)
  await giveFactor(server.kernel, admin.id)
  service = await makeService(server, admin.id)
  receiver = await startReceiver()
  await service.create({ url: receiver.url })
})
afterAll(async () => {
  await receiver.stop()
  await server.stop()
})

/** What comes of an act: types and data of the next so many messages. */
async function toldOf(act: () => Promise<unknown>, count = 1) {
  const before = receiver.received.length
  await act()
  await receiver.wait(before + count)
  return receiver.received.slice(before).map(({ body }) => [body.type, body.data] as const)
}
const asAdmin = async (method: string, path: string, body?: object) => {
  const answer = await restWithFactor(server, method, `/api/v1${path}`, { as: admin, body })
  if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer.body)}`)
  return answer.body
}

test('the life of an account, by its id alone', async () => {
  const written = lettersOf(server)
  let someone: Person | undefined
  const registered = await toldOf(async () => (someone = await person(server, 'someone')))
  const { id } = someone as Person
  expect(registered).toEqual([['user.registered', { user_id: id }]])
  const letter = written.find((one) => one.user_id === id)
  const verification = { token: String(letter?.data.link).split('#token=')[1] }
  const verify = () => rest(server, 'POST', '/api/v1/auth/email/verify', { body: verification })
  expect(await toldOf(verify)).toEqual([['user.verified', { user_id: id }]])
  expect(
    await toldOf(() => asAdmin('POST', `/admin/users/${id}/block`, { reason: 'a test' })),
  ).toEqual([['user.blocked', { user_id: id }]])
  expect(await toldOf(() => asAdmin('POST', `/admin/users/${id}/unblock`, {}))).toEqual([
    ['user.unblocked', { user_id: id }],
  ])
  expect(await toldOf(() => asAdmin('DELETE', `/users/${id}`))).toEqual([
    ['user.closed', { user_id: id }],
  ])
  const texts = receiver.received.map(({ text }) => text).join('\n')
  expect(texts).not.toContain('@')
})

test('API keys, by their ids', async () => {
  let made: { api_key: { id: string }; key: string } | undefined
  const created = await toldOf(async () => {
    made = (await asAdmin('POST', '/admin/api-keys', {
      name: 'a secret project',
      scopes: ['users:read'],
    })) as typeof made
  })
  const key_id = made?.api_key.id
  expect(created).toEqual([['api_key.created', { key_id, scopes: ['users:read'] }]])
  expect(await toldOf(() => asAdmin('DELETE', `/admin/api-keys/${key_id}`))).toEqual([
    ['api_key.revoked', { key_id }],
  ])
})

test('every type that is declared is one of these, or has a test of its own', () => {
  const types = [...server.registry.serviceEvents.keys()]
  const tested = new Set(receiver.received.map(({ body }) => body.type as string))
  const elsewhere = ['webhook.disabled', 'test.happened', 'test.other']
  expect(types.filter((type) => !tested.has(type) && !elsewhere.includes(type))).toEqual([])
})

test('the document names every type', () => {
  const types = [...server.registry.serviceEvents.keys()]
  const text = documentText('webhooks.md')
  const unnamed = types.filter((type) => !text.includes(`\`${type}\``))
  expect(unnamed).toEqual(['test.happened', 'test.other'])
})

test('administrators may follow them on a socket, and nobody else', async () => {
  const { token } = await person(server)
  const [ear, stranger] = await Promise.all([
    Client.connect(server.wsUrl, admin.token),
    Client.connect(server.wsUrl, token),
  ])
  const channel = 'service:events'
  await ear.ask('subscribe', { channel })
  await expect(stranger.ask('subscribe', { channel })).rejects.toThrow()
  await expect(ear.ask('subscribe', { channel: 'service:others' })).rejects.toThrow()
  const { id } = await person(server, 'another')
  const told = await ear.wait((frame) => JSON.stringify(frame).includes(id))
  expect(told).toMatchObject({
    type: 'service_event',
    channel,
    payload: { type: 'user.registered', data: { user_id: id } },
  })
  await Promise.all([ear.close(), stranger.close()])
})
