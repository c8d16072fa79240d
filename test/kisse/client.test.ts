import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { until } from '../support/wait.ts'
import { type TestServer, testServer } from '../support/server.ts'

/** What the app looks at in answers. */
interface Answer {
  readonly id: string
  readonly email: string
  readonly token: string
  readonly user: { readonly id: string; readonly username: string; readonly email: string }
  readonly items: readonly Record<string, unknown>[]
}

/**
 * The app of the messenger that this server stands in for, as its document describes it: REST
 * below `/api`, one socket at `/ws?token=`, frames `{type, payload}` without an id, and nothing
 * else. It must work unchanged.
 */
class KisseApp {
  readonly received: { type: string; payload: Record<string, unknown> }[] = []
  token = ''
  userId = ''
  private socket: WebSocket | undefined

  constructor(
    private readonly server: TestServer,
    private readonly name: string,
  ) {}

  /** What the app's HTTP client does: JSON both ways, and the token once there is one. */
  async api(method: string, path: string, body?: object) {
    const response = await fetch(`${this.server.url}/api${path}`, {
      method,
      headers: {
        'Content-Type': 'application/json',
        ...(this.token === '' ? {} : { Authorization: `Bearer ${this.token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as Answer }
  }

  async register(): Promise<void> {
    const email = `${this.name}@kisse.example`
    const { status, body } = await this.api('POST', '/auth/register', {
      username: this.name,
      email,
      password: 'MotDePasse123',
    })
    expect(status).toBe(201)
    expect(body.user).toMatchObject({ username: this.name, email })
  }

  async login(): Promise<void> {
    const { status, body } = await this.api('POST', '/auth/login', {
      email: `${this.name}@kisse.example`,
      password: 'MotDePasse123',
    })
    expect(status).toBe(200)
    this.token = body.token
    this.userId = body.user.id
  }

  async connect(): Promise<void> {
    const socket = new WebSocket(`${this.server.wsUrl}?token=${this.token}`)
    socket.addEventListener('message', ({ data }) => {
      this.received.push(JSON.parse(String(data)) as (typeof this.received)[number])
    })
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve)
      socket.addEventListener('error', reject)
    })
    this.socket = socket
  }

  say(type: string, payload: object): void {
    this.socket?.send(JSON.stringify({ type, payload }))
  }

  /** The payload of the newest frame of a type, once there is one that passes. */
  async hears(type: string, passes: (payload: Record<string, unknown>) => boolean = () => true) {
    const find = () => this.received.findLast((f) => f.type === type && passes(f.payload))
    await until(() => find() !== undefined, `${this.name} hears ${type}`)
    return find()?.payload as Record<string, unknown>
  }

  disconnect(): void {
    this.socket?.close()
  }
}

const LONG_AGO = '2024-01-01T00:00:00Z'
const NOW = /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/
const NOBODY = '00000000-0000-4000-8000-000000000000'

let server: TestServer
let amelie: KisseApp
let bruno: KisseApp
let conversationId: string

beforeAll(async () => {
  server = await testServer()
  amelie = new KisseApp(server, 'amelie')
  bruno = new KisseApp(server, 'bruno')
})
afterAll(() => server.stop())

test('registers, signs in, and knows who it is', async () => {
  for (const app of [amelie, bruno]) {
    await app.register()
    expect((await app.api('GET', '/auth/me')).status).toBe(401)
    await app.login()
    const { status, body } = await app.api('GET', '/auth/me')
    expect(status).toBe(200)
    expect(body).toMatchObject({ id: app.userId, email: expect.stringContaining('@kisse') })
  }
})

test('has no conversations at first, and connects', async () => {
  const { status, body } = await amelie.api('GET', '/conversations')
  expect([status, body.items]).toEqual([200, []])
  await Promise.all([amelie.connect(), bruno.connect()])
})

/** Every field of the document's frame, as an app fills them in. */
const message = (from: KisseApp, to: KisseApp, id: string) => ({
  id,
  ...(conversationId === undefined ? {} : { conversation_id: conversationId }),
  sender_id: from.userId,
  recipient_id: to.userId,
  message_type: 'text',
  timestamp: LONG_AGO,
  session_id: 'string',
  is_read: false,
})

describe('messages', () => {
  const first = crypto.randomUUID()
  const second = crypto.randomUUID()

  test('a first one makes the conversation that both then list', async () => {
    amelie.say('message', message(amelie, bruno, first))
    const payload = await bruno.hears('message')
    expect(Object.keys(payload).toSorted()).toEqual(
      Object.keys({ ...message(amelie, bruno, first), conversation_id: '' }).toSorted(),
    )
    for (const [app, other] of [
      [amelie, bruno],
      [bruno, amelie],
    ] as const) {
      const { body } = await app.api('GET', '/conversations')
      expect(body.items).toMatchObject([
        { id: payload['conversation_id'], participant_id: other.userId, last_message: null },
      ])
    }
    conversationId = String(payload['conversation_id'])
  })

  test('later ones name it, and arrive with every field of the frame', async () => {
    bruno.say('message', message(bruno, amelie, second))
    expect(await amelie.hears('message', ({ id }) => id === second)).toEqual({
      ...message(bruno, amelie, second),
      timestamp: expect.stringMatching(NOW),
    })
  })

  test('are listed, newest first, and marked as read', async () => {
    const list = async (app: KisseApp) => {
      const { body } = await app.api('GET', `/conversations/${conversationId}/messages`)
      return body.items
    }
    expect(await list(amelie)).toMatchObject([
      { id: second, sender_id: bruno.userId, is_read: false },
      { id: first, sender_id: amelie.userId, is_read: false },
    ])
    const { status } = await amelie.api('POST', `/messages/${second}/read`)
    expect(status).toBe(200)
    expect((await list(bruno)).map(({ is_read }) => is_read)).toEqual([true, false])
  })

  test('cannot be sent in somebody else’s name', async () => {
    const id = crypto.randomUUID()
    amelie.say('message', { ...message(amelie, bruno, id), sender_id: NOBODY })
    const payload = await bruno.hears('message', (p) => p['id'] === id)
    expect(payload['sender_id']).toBe(amelie.userId)
  })
})

test('typing reaches the other side, from the one who really types', async () => {
  amelie.say('typing_indicator', {
    user_id: NOBODY,
    conversation_id: conversationId,
    is_typing: true,
    timestamp: LONG_AGO,
  })
  expect(await bruno.hears('typing_indicator')).toEqual({
    user_id: amelie.userId,
    conversation_id: conversationId,
    is_typing: true,
    timestamp: expect.stringMatching(NOW),
  })
})

test('presence reaches the other side, with all fields of the frame', async () => {
  bruno.say('presence_update', { user_id: NOBODY, status: 'busy', last_seen: LONG_AGO })
  expect(await amelie.hears('presence_update', ({ status }) => status === 'busy')).toEqual({
    user_id: bruno.userId,
    status: 'busy',
    last_seen: expect.stringMatching(NOW),
  })
})

test('nothing that the app said was answered with an error', () => {
  for (const { received } of [amelie, bruno]) {
    expect(received.filter(({ type }) => type === 'error' || type === 'ack')).toEqual([])
  }
  amelie.disconnect()
  bruno.disconnect()
})
