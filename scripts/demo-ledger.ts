/**
 * A day of money, on a server of its own with an embedded database: `bun run
 * scripts/demo-ledger.ts`. Deposits, a transfer, a hold and its post, a reversal and a payout, then
 * every account as a statement that a person can add up. Ends with checks; exits with 1 when one
 * fails.
 *
 * People and administrators act over REST as apps do. Where the product asks for a fresh second
 * factor, the demonstration, which has no phone, answers for them.
 */

import { createHmac } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Authenticator } from '../src/auth/index.ts'
import { loadConfig } from '../src/config.ts'
import { features } from '../src/features.ts'
import { systemClock } from '../src/kernel/clock.ts'
import { createLogger } from '../src/kernel/log.ts'
import { Accounts, Lane, postedAct } from '../src/ledger/index.ts'
import { type RunningServer, startServer } from '../src/server.ts'

const SECRET = 'whsec_of_the_demonstration'
const IBAN = 'FR14 2004 1010 0505 0001 3M02 606'

type Json = Record<string, unknown>
interface Person {
  readonly name: string
  readonly id: string
  readonly token: string
}

const checks: [name: string, passed: boolean][] = []
const check = (name: string, passed: boolean) => void checks.push([name, passed])
const chapter = (title: string) => console.log(`\n${title}`)
const say = (text: string) => console.log(`  ${text}`)

let base = ''

async function rest(who: Person | undefined, method: string, path: string, body?: object) {
  const response = await fetch(`${base}/api/v1${path}`, {
    method,
    headers: {
      'Content-Type': 'application/json',
      ...(who === undefined ? {} : { Authorization: `Bearer ${who.token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as Json }
}

/** The same, for what has to work. */
async function ask(who: Person | undefined, method: string, path: string, body?: object) {
  const answer = await rest(who, method, path, body)
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${JSON.stringify(answer.body)}`)
  return answer.body
}

async function register(name: string): Promise<Person> {
  const email = `${name.toLowerCase()}@example.org`
  const signed = await ask(undefined, 'POST', '/auth/register', {
    email,
    password: `demo ${email}`,
  })
  const { id } = signed['user'] as { id: string }
  return { name, id, token: String(signed['token']) }
}

/** Somebody who runs the place, in a session that has shown a second factor. */
async function administrator({ kernel }: RunningServer, name: string): Promise<Person> {
  const person = await register(name)
  await kernel.db.sql`update users set roles = '{user,admin}' where id = ${person.id}`
  const [session] = await kernel.db.sql`
    update sessions set mfa_at = now() where user_id = ${person.id} returning id`
  const { token } = await kernel.use(Authenticator).issue({
    userId: person.id,
    sessionId: String(session.id),
    roles: ['user', 'admin'],
    sessionEndsMs: kernel.clock.now() + 3_600_000,
    mfa: true,
  })
  return { ...person, token }
}

/** The payment provider tells of a payment; whoever else tells is refused. */
async function tell(payment: string, cents: number, userId: string, secret = SECRET) {
  const object = {
    id: payment,
    amount_received: cents,
    currency: 'eur',
    metadata: { user_id: userId },
  }
  const body = JSON.stringify({
    id: `evt_${payment}`,
    type: 'payment_intent.succeeded',
    data: { object },
  })
  const t = Math.floor(systemClock.now() / 1_000)
  const v1 = createHmac('sha256', secret).update(`${t}.${body}`).digest('hex')
  const response = await fetch(`${base}/api/v1/webhooks/payments/stripe`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'Stripe-Signature': `t=${t},v1=${v1}` },
    body,
  })
  return response.status
}

interface Cast {
  readonly server: RunningServer
  readonly ada: Person
  readonly bob: Person
  readonly grace: Person
  readonly linus: Person
}

async function deposits({ ada, bob, grace, linus }: Cast): Promise<void> {
  chapter('Money comes in')
  for (let n = 1; n <= 3; n++) await tell('pi_1', 50_000, ada.id)
  say('the payment provider tells three times that Ada has paid 500.00 by card')
  const forged = await tell('pi_2', 1_000_000, ada.id, 'whsec_of_somebody_else')
  say(`somebody else tells that she has paid 10,000.00: refused (${forged})`)
  check('a forged payment is refused', forged === 401)
  const { id } = await ask(grace, 'POST', '/admin/funding/bank-transfers', {
    to_user_id: bob.id,
    amount: '1200',
    bank_reference: 'CAMT-2026-11-21-0001',
    value_date: systemClock.iso().slice(0, 10),
  })
  say('Grace enters a bank transfer of 1,200.00 for Bob')
  const path = `/admin/funding/bank-transfers/${String(id)}/confirm`
  const own = await rest(grace, 'POST', path, {})
  say(`she cannot confirm it herself (${own.status}); Linus does`)
  check('nobody confirms what they have entered', own.status === 403)
  await ask(linus, 'POST', path, {})
}

async function transfers({ ada, bob, grace, linus }: Cast): Promise<void> {
  chapter('Money moves')
  const sent = { to_user_id: bob.id, amount: '120.50', asset: 'EUR', note: 'Concert tickets' }
  await ask(ada, 'POST', '/wallet/transfers', sent)
  say('Ada sends Bob 120.50 for tickets')
  const tooMuch = await rest(ada, 'POST', '/wallet/transfers', { ...sent, amount: '900' })
  say(`and would send 900.00, which she does not have: ${String(tooMuch.body['code'])}`)
  check('nothing goes below zero', tooMuch.body['code'] === 'insufficient_funds')
  const wrong = await ask(ada, 'POST', '/wallet/transfers', { ...sent, amount: '10', note: 'Oops' })
  const act_id = String(wrong['act_id'])
  const asked = await ask(grace, 'POST', '/admin/ledger/reversals', {
    act_id,
    reason: 'Sent twice',
  })
  await ask(linus, 'POST', `/admin/ledger/reversals/${String(asked['id'])}/approve`, {})
  say('10.00 by mistake: Grace asks for it to be taken back, Linus agrees')
}

async function hold({ server, bob }: Cast): Promise<void> {
  chapter('Money is set aside')
  const { kernel } = server
  const accounts = kernel.use(Accounts)
  const wallet = await accounts.open({ asset: 'EUR', kind: 'wallet', owner: bob.id })
  const rooms = await accounts.open({ asset: 'EUR', kind: 'fee', reference: 'rooms' })
  const lane = kernel.use(Lane)
  const id = crypto.randomUUID()
  const held = { hold: id, account: wallet }
  const expiresAtMs = kernel.clock.now() + 86_400_000
  const entry = { type: 'hold', ...held, amount: 20_000n, expiresAtMs } as const
  postedAct(await lane.submit({ key: `${id} hold`, kind: 'demo.deposit', entries: [entry] }))
  say('a room is booked: 200.00 of Bob’s are held')
  const post = { type: 'post', ...held, credit: rooms, amount: 15_000n } as const
  const label = 'Room, one night'
  postedAct(await lane.submit({ key: `${id} post`, kind: 'demo.stay', label, entries: [post] }))
  say('it costs 150.00; the other 50.00 are free again')
}

async function payout({ server, bob, linus }: Cast): Promise<void> {
  chapter('Money goes out')
  const asked = await ask(bob, 'POST', '/payouts', {
    amount: '300',
    iban: IBAN,
    name: 'Bob Møller',
  })
  const id = String(asked['id'])
  say(`Bob wants 300.00 at ${String(asked['iban'])}; held until ${String(asked['held_until'])}`)
  check('a new destination waits', asked['held_until'] !== null)
  const early = await rest(linus, 'POST', `/admin/payouts/requests/${id}/approve`, {})
  check('and is not approved before', early.status === 409)
  say('a day passes')
  await server.kernel.db.sql`update payouts set not_before = now() where id = ${id}`
  await ask(linus, 'POST', `/admin/payouts/requests/${id}/approve`, {})
  const file = await ask(linus, 'POST', '/admin/payouts/files', {})
  say(`Linus approves, and orders it: ${String(file['message_id'])}.xml (pain.001.001.09)`)
  await ask(linus, 'POST', `/admin/payouts/${id}/settle`, { bank_reference: 'B 17' })
  say('the bank has paid')
}

interface Line {
  readonly at: string
  readonly kind: string
  readonly label: string | null
  readonly amount: string
  readonly balance: string
}

/** An account, oldest line first; returns whether its lines add up to its balance. */
async function statement(admin: Person, title: string, account: Json): Promise<boolean> {
  const path = `/admin/ledger/accounts/${String(account['id'])}/statement?limit=100`
  const { items } = (await ask(admin, 'GET', path)) as unknown as { items: Line[] }
  console.log(`\n  ${title}`)
  let sum = 0n
  for (const { at, kind, label, amount, balance } of items.toReversed()) {
    const [time, what] = [at.slice(11, 19), `${kind}${label === null ? '' : `: ${label}`}`]
    say(`  ${time}  ${what.padEnd(50)}${amount.padStart(10)}${balance.padStart(11)}`)
    sum += BigInt(amount.replace('.', ''))
  }
  const adds = sum === BigInt(String(account['balance']).replace('.', ''))
  say(`  ${''.padEnd(60)}${'─'.repeat(10)}`)
  say(`  ${'balance'.padEnd(60)}${String(account['balance']).padStart(10)}`)
  return adds
}

async function books({ ada, bob, grace }: Cast): Promise<void> {
  chapter('Every account, line by line')
  const path = '/admin/ledger/accounts?asset=EUR&limit=100'
  const { items } = (await ask(grace, 'GET', path)) as unknown as { items: Json[] }
  const names = new Map([ada, bob].map(({ id, name }) => [id, `${name}’s wallet`]))
  let total = 0n
  for (const account of items) {
    const house = `${String(account['kind'])} ${String(account['reference'])}`
    const title = names.get(String(account['owner_id'])) ?? house
    const adds = await statement(grace, title, account)
    check(`${title}: its lines add up to its balance`, adds)
    total += BigInt(String(account['balance']).replace('.', ''))
  }
  check('all balances together are zero', total === 0n)
  const balances = new Map(items.map((one) => [String(one['owner_id']), one['balance']]))
  check('Ada has 379.50', balances.get(ada.id) === '379.50')
  check('Bob has 870.50', balances.get(bob.id) === '870.50')
  const report = await ask(grace, 'GET', '/admin/ledger/check')
  check('the server finds its books coherent', report['coherent'] === true)
}

async function main(): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'rialto-demo-'))
  // The embedded database may run under an account of its own.
  chmodSync(folder, 0o755)
  const config = loadConfig({
    env: {
      HOST: '127.0.0.1',
      PORT: '0',
      DATA_DIR: join(folder, 'data'),
      LOG_LEVEL: 'error',
      RATE_LIMITS: 'off',
      PAYMENT_WEBHOOK_SECRET: SECRET,
    },
    cwd: folder,
    features: features.map(({ name }) => name),
  })
  const log = createLogger({ ...config.log, clock: systemClock })
  const server = await startServer({ config, log })
  try {
    base = `http://127.0.0.1:${server.port}`
    Object.assign(server.kernel, { stepUp: { require: () => Promise.resolve() } })
    const [ada, bob] = [await register('Ada'), await register('Bob')]
    const grace = await administrator(server, 'Grace')
    const linus = await administrator(server, 'Linus')
    const cast = { server, ada, bob, grace, linus }
    await deposits(cast)
    await transfers(cast)
    await hold(cast)
    await payout(cast)
    await books(cast)
  } finally {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  chapter('Checks')
  for (const [name, passed] of checks) say(`${passed ? '✓' : '✗'} ${name}`)
  return checks.every(([, passed]) => passed)
}

const passed = await main().catch((error: Error) => console.error(`demo: ${error.stack}`))
process.exit(passed === true ? 0 : 1)
