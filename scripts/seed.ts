/**
 * Fills a running server with a few people who talk: `bun run seed [http://localhost:8080]`.
 * Running it again changes nothing. It speaks the public REST API and nothing else.
 */

import { createHash } from 'node:crypto'

const base = (process.argv[2] ?? 'http://localhost:8080').replace(/\/$/, '')
const isLocal = /^(localhost|127\.|\[?::1)/.test(new URL(base).hostname)
const password = process.env['SEED_PASSWORD'] ?? (isLocal ? 'demo-password' : undefined)

const PEOPLE = ['ada', 'bob', 'carol', 'dan', 'eve'] as const
/** Who has written to whom, oldest first. */
const MESSAGES: readonly (readonly [from: string, to: string, type: string])[] = [
  ['ada', 'bob', 'text'],
  ['bob', 'ada', 'text'],
  ['ada', 'bob', 'image'],
  ['carol', 'ada', 'text'],
  ['ada', 'carol', 'audio'],
  ['dan', 'ada', 'file'],
  ['eve', 'bob', 'location'],
  ['bob', 'eve', 'text'],
]

interface Account {
  readonly id: string
  readonly token: string
}
interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
}

async function post(path: string, body: object, token?: string): Promise<Answer> {
  const headers: Record<string, string> = { 'Content-Type': 'application/json' }
  if (token !== undefined) headers['Authorization'] = `Bearer ${token}`
  const init = { method: 'POST', headers, body: JSON.stringify(body) }
  const response = await fetch(`${base}/api/v1${path}`, init)
  return { status: response.status, body: (await response.json()) as Answer['body'] }
}

/** Signs in, and up before that where nobody of this name is there yet. */
async function account(username: string): Promise<{ account: Account; isNew: boolean }> {
  const email = `${username}@demo.example`
  const known = await post('/auth/login', { email, password })
  const isNew = known.status === 401
  const name = `${username[0]?.toUpperCase()}${username.slice(1)}`
  const answer = isNew ? await post('/auth/register', { email, username, name, password }) : known
  if (answer.status >= 400) throw refusal(`no account for ${username}`, answer)
  const { token, user } = answer.body as { token: string; user: { id: string } }
  return { account: { id: user.id, token }, isNew }
}

function refusal(what: string, { status, body }: Answer): Error {
  return new Error(`${what}: ${status} ${String(body['detail'])}`)
}

/** The same message has the same id in every run, and the same id is the same message. */
function messageId(n: number): string {
  const hex = createHash('sha256').update(`rialto demo message ${n}`).digest('hex')
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
  ]
  return [...parts, hex.slice(20, 32)].join('-')
}

async function main(): Promise<void> {
  if (password === undefined) throw new Error('set SEED_PASSWORD: this server is not on localhost')
  const people = new Map<string, Account>()
  for (const name of PEOPLE) {
    const { account: found, isNew } = await account(name)
    people.set(name, found)
    console.log(`${name}@demo.example ${isNew ? 'registered' : 'is there'}`)
  }
  for (const [n, [from, to, message_type]] of MESSAGES.entries()) {
    const message = { id: messageId(n), recipient_id: people.get(to)?.id, message_type }
    const sent = await post('/messages', message, people.get(from)?.token)
    if (sent.status >= 400) throw refusal(`no message from ${from} to ${to}`, sent)
    // The last few stay unread, so that there is something to see.
    if (n >= MESSAGES.length - 3) continue
    const read = await post(`/messages/${messageId(n)}/read`, {}, people.get(to)?.token)
    if (read.status >= 400) throw refusal(`${to} cannot read`, read)
  }
  console.log(`${MESSAGES.length} messages between them; all sign in with "${password}"`)
}

await main().catch((error: Error) => {
  console.error(`seed: ${error.message}`)
  process.exit(1)
})
