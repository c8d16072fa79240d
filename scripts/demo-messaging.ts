/**
 * Two people, three devices and a cut line, against a running server:
 * `bun run scripts/demo-messaging.ts [http://localhost:8080]`. Prints what each side sees and ends
 * with checks; exits with 1 when one fails. It speaks the public protocol and nothing else.
 */

const base = (process.argv[2] ?? 'http://localhost:8080').replace(/\/$/, '')
const password = `demo-${crypto.randomUUID()}`
const WAIT_MS = 8_000

interface Frame {
  readonly type: string
  readonly id?: string
  readonly offset?: number
  readonly payload: Record<string, unknown>
}
interface Position {
  readonly channel: string
  readonly epoch: string
  readonly offset: number
}
interface Person {
  readonly name: string
  readonly id: string
  readonly token: string
}

async function rest<T>(method: string, path: string, token?: string, input?: object): Promise<T> {
  const headers: Record<string, string> = { 'Content-Type': 'application/json' }
  if (token !== undefined) headers['Authorization'] = `Bearer ${token}`
  const body = JSON.stringify(input)
  const response = await fetch(`${base}/api/v1${path}`, { method, headers, body })
  const answer = await response.text()
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${answer}`)
  return JSON.parse(answer) as T
}

const nameOf = new Map<string, string>()

async function signIn(name: string, email: string, path: string): Promise<Person> {
  const body = { email, password }
  type SignedIn = { token: string; user: { id: string } }
  const { token, user } = await rest<SignedIn>('POST', `/auth/${path}`, undefined, body)
  nameOf.set(user.id, name)
  return { name, id: user.id, token }
}

/** A frame as a sentence: there is nothing but metadata to tell. */
function describe({ type, payload }: Pick<Frame, 'type' | 'payload'>): string {
  const fields = Object.entries(payload)
    .filter(([name]) => !/^(timestamp|server_time|heartbeat_ms|subscriptions)$/.test(name))
    .map(([name, value]) => {
      const text = typeof value === 'string' ? value : JSON.stringify(value)
      return `${name} ${nameOf.get(text) ?? (text.length === 36 ? `…${text.slice(-6)}` : text)}`
    })
  return `${type}: ${fields.join(', ')}`
}

/** One of somebody's devices: a socket, and everything that it has seen. */
class Device {
  readonly seen: Frame[] = []
  /** Where this device stands in its user's stream. */
  position: Position = { channel: '', epoch: '', offset: 0 }
  private socket: WebSocket | undefined
  private calls = 0

  constructor(
    readonly owner: Person,
    readonly kind: string,
  ) {}

  /** Opens the socket; the first frame says where its user's stream stands. */
  async connect(): Promise<void> {
    const before = this.seen.length
    const socket = new WebSocket(`${base.replace(/^http/, 'ws')}/ws?token=${this.owner.token}`)
    socket.addEventListener('message', ({ data }) => this.take(JSON.parse(String(data)) as Frame))
    this.socket = socket
    const first = await this.wait(({ type }) => type === 'connected', before)
    const [own] = (first?.payload['subscriptions'] ?? []) as Position[]
    if (own === undefined) throw new Error(`${this.owner.name} cannot connect`)
    this.position = own
  }

  private take(frame: Frame): void {
    this.seen.push(frame)
    const { type, offset } = frame
    // Acks carry an offset too, where the call has moved the caller's own stream.
    if (offset !== undefined) this.position = { ...this.position, offset }
    if (type !== 'ack') this.say('◀', describe(frame))
    else if (offset !== undefined) this.say('◀', `ack: offset ${offset}`)
  }

  /** Calls an operation and returns what it was answered. */
  async call<T = Record<string, unknown>>(type: string, payload: Frame['payload']): Promise<T> {
    const id = `${++this.calls}`
    this.say('▶', describe({ type, payload }))
    const before = this.seen.length
    this.socket?.send(JSON.stringify({ type, id, payload }))
    const answer = await this.wait((frame) => frame.id === id, before)
    if (answer?.type !== 'ack') throw new Error(`${type}: ${JSON.stringify(answer?.payload)}`)
    return answer.payload as T
  }

  /** The first frame that passes, from the `from`th on; undefined when none comes in time. */
  private async wait(passes: (frame: Frame) => boolean, from = 0): Promise<Frame | undefined> {
    const deadline = performance.now() + WAIT_MS
    for (;;) {
      const found = this.seen.slice(from).find(passes)
      if (found !== undefined || performance.now() > deadline) return found
      await Bun.sleep(5)
    }
  }

  /** Whether a frame with this value comes in time. */
  async saw(type: string, field: string, value: unknown): Promise<boolean> {
    const frame = await this.wait((f) => f.type === type && f.payload[field] === value)
    return frame !== undefined
  }

  /** Cuts the line without a word, as a lost network would. */
  cut(): void {
    this.say('✂', 'the line is cut')
    this.socket?.terminate()
  }

  say(sign: string, text: string): void {
    console.log(`  ${`${this.owner.name}'s ${this.kind}`.padEnd(12)} ${sign} ${text}`)
  }
}

const checks: [name: string, passed: boolean][] = []
const check = (name: string, passed: boolean) => void checks.push([name, passed])
const chapter = (title: string) => console.log(`\n${title}`)

async function talk(phone: Device, laptop: Device, bob: Device): Promise<unknown> {
  chapter('Ada writes to Bob: his phone and her laptop hear of it')
  const toBob = { recipient_id: bob.owner.id, message_type: 'text' }
  const { id, conversation_id } = await phone.call('message', toBob)
  check('the recipient gets the message', await bob.saw('message', 'id', id))
  check("so does the sender's other device", await laptop.saw('message', 'id', id))

  chapter('Bob answers, and says that he has read')
  const reply = await bob.call('message', { ...toBob, recipient_id: phone.owner.id })
  check('the answer arrives', await phone.saw('message', 'id', reply['id']))
  await bob.call('read_receipt', { message_id: id })
  for (const device of [phone, laptop]) {
    check(`Ada's ${device.kind} is told`, await device.saw('read_receipt', 'message_id', id))
  }
  chapter('Bob types, then is busy')
  await bob.call('typing_indicator', { conversation_id, is_typing: true })
  check('typing is seen', await phone.saw('typing_indicator', 'user_id', bob.owner.id))
  await bob.call('presence_update', { status: 'busy' })
  check('so is presence', await phone.saw('presence_update', 'status', 'busy'))
  return conversation_id
}

async function recover(phone: Device, bob: Device): Promise<void> {
  chapter("Bob's line is cut, Ada goes on writing, Bob comes back")
  const { channel, epoch, offset } = bob.position
  bob.cut()
  const message = { recipient_id: bob.owner.id, message_type: 'image' }
  const sent = [1, 2, 3].map(() => phone.call('message', message))
  const ids = (await Promise.all(sent)).map(({ id }) => id)
  await bob.connect()
  const request = { channel, recover: { epoch, offset } }
  type Answer = { recovered: boolean; publications: Frame[] }
  const { recovered, publications } = await bob.call<Answer>('subscribe', request)
  for (const publication of publications) bob.say('◀', `missed ${describe(publication)}`)
  check('the server vouches that nothing is missing', recovered)
  const missed = publications.map(({ payload }) => payload['id'])
  check('what was missed is there, in order', missed.join() === ids.join())
}

async function main(): Promise<boolean> {
  const run = Math.random().toString(36).slice(2, 8)
  const email = `ada-${run}@example.org`
  const phone = new Device(await signIn('Ada', email, 'register'), 'phone')
  const laptop = new Device(await signIn('Ada', email, 'login'), 'laptop')
  const bob = new Device(await signIn('Bob', `bob-${run}@example.org`, 'register'), 'phone')
  chapter(`Three devices connect to ${base}`)
  for (const device of [phone, laptop, bob]) await device.connect()
  const conversation = await talk(phone, laptop, bob)
  await recover(phone, bob)

  chapter('All that the server knows of it')
  const path = `/conversations/${String(conversation)}/messages`
  const { items } = await rest<{ items: Frame['payload'][] }>('GET', path, bob.owner.token)
  for (const item of items) console.log(`  ${describe({ type: 'stored', payload: item })}`)
  check('five messages are listed, metadata only', items.length === 5)

  chapter('Checks')
  for (const [name, passed] of checks) console.log(`  ${passed ? '✓' : '✗'} ${name}`)
  return checks.every(([, passed]) => passed)
}

const passed = await main().catch((error: Error) => console.error(`demo: ${error.message}`))
process.exit(passed === true ? 0 : 1)
