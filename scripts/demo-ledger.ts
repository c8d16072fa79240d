/**
 * A day of money, on a server of its own with an embedded database: `bun run
 * scripts/demo-ledger.ts`. Deposits, a transfer, a hold and its post, a reversal and a payout, then
 * every account as a statement that a person can add up. Ends with checks; exits with 1 when one
 * fails.
 *
 * People and administrators act over REST as apps do, with real second factors: Grace is the
 * administrator that the environment names, and invites Linus by mail. Where people would wait (for
 * the next code, for a day), the clock of this server is moved on.
 */

import { createHmac } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Secret, TOTP } from 'otpauth'
import { type Clock, systemClock } from '../src/base/clock.ts'
import { loadConfig } from '../src/config.ts'
import { features } from '../src/features.ts'
import { Accounts, postedAct, PostingBatcher } from '../src/ledger/index.ts'
import { createLogger } from '../src/observe/log.ts'
import { type RunningServer, startServer } from '../src/server.ts'
import { type Mailbox, startMailbox } from './demo-mailbox.ts'

const SECRET = 'whsec_of_the_demonstration'
const IBAN = 'FR14 2004 1010 0505 0001 3M02 606'

const CODE_MS = 30_000
const DAY_MS = 86_400_000

type Json = Record<string, unknown>
interface Answer {
  readonly status: number
  readonly body: Json
}
interface Person {
  readonly name: string
  readonly id: string
  token: string
  refreshToken: string
  /** Of the authenticator app, base32. */
  secret?: string
  /** When that app has last shown a code; each is good once. */
  shownAtMs: number
}

/** The machine's clock, moved on where people would wait. */
let waitedMs = 0
const clock: Clock = {
  ...systemClock,
  now: () => systemClock.now() + waitedMs,
  date: () => new Date(clock.now()),
  iso: () => clock.date().toISOString(),
}

const checks: [name: string, passed: boolean][] = []
const check = (name: string, passed: boolean) => void checks.push([name, passed])
const chapter = (title: string) => console.log(`\n${title}`)
const say = (text: string) => console.log(`  ${text}`)

let base = ''

async function send(
  who: Person | undefined,
  method: string,
  path: string,
  body?: object,
  stepUp?: string,
): Promise<Answer> {
  const response = await fetch(`${base}/api/v1${path}`, {
    method,
    headers: {
      'Content-Type': 'application/json',
      ...(who === undefined ? {} : { Authorization: `Bearer ${who.token}` }),
      ...(stepUp === undefined ? {} : { 'X-Step-Up': stepUp }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as Json }
}

/** A call; whoever has a second factor shows a fresh code where one is asked for. */
async function rest(
  who: Person | undefined,
  method: string,
  path: string,
  body?: object,
): Promise<Answer> {
  const first = await send(who, method, path, body)
  if (first.body['code'] !== 'step_up_required' || who?.secret === undefined) return first
  const proof = { challenge: first.body['challenge'], code: codeOf(who) }
  const { step_up } = await ask(who, 'POST', '/auth/mfa/verify', proof)
  return await send(who, method, path, body, String(step_up))
}

/** The same, for what has to work. */
async function ask(
  who: Person | undefined,
  method: string,
  path: string,
  body?: object,
): Promise<Json> {
  const answer = await rest(who, method, path, body)
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${JSON.stringify(answer.body)}`)
  return answer.body
}

/** What the authenticator app shows, once the code before is over. */
function codeOf(who: Person): string {
  const step = (ms: number) => Math.floor(ms / CODE_MS)
  if (step(who.shownAtMs) === step(clock.now())) waitedMs += CODE_MS
  who.shownAtMs = clock.now()
  const secret = Secret.fromBase32(who.secret ?? '')
  return new TOTP({ secret }).generate({ timestamp: who.shownAtMs })
}

const personOf = (name: string, signed: Json): Person => ({
  name,
  id: (signed['user'] as { id: string }).id,
  token: String(signed['token']),
  refreshToken: String(signed['refresh_token']),
  shownAtMs: 0,
})

async function register(name: string): Promise<Person> {
  const email = `${name.toLowerCase()}@example.org`
  const account = { email, password: `demo ${email}` }
  return personOf(name, await ask(undefined, 'POST', '/auth/register', account))
}

/** Signs in somebody who runs the place, and sets up their second factor. */
async function administrator(name: string, login: object, password: string): Promise<Person> {
  const signed = await ask(undefined, 'POST', '/auth/login', { ...login, password })
  const who = personOf(name, signed)
  const { secret } = await ask(who, 'POST', '/auth/mfa/setup', { password })
  who.secret = String(secret)
  const { token } = await ask(who, 'POST', '/auth/mfa/verify', { code: codeOf(who) })
  who.token = String(token)
  return who
}

/** Becomes an administrator by the link in a letter. */
async function invited(by: Person, name: string, mailbox: Mailbox): Promise<Person> {
  const email = `${name.toLowerCase()}@example.org`
  const password = `demo-${crypto.randomUUID()}`
  await ask(by, 'POST', '/admin/invitations', { email })
  const { token } = await mailbox.letter(email, /administrator/)
  await ask(undefined, 'POST', '/admin/invitations/accept', { token, password })
  return await administrator(name, { email }, password)
}

/** A day later everybody's app has refreshed its token. */
async function aDayPasses(people: readonly Person[]): Promise<void> {
  waitedMs += DAY_MS
  for (const who of people) {
    const token = { refresh_token: who.refreshToken }
    const signed = await ask(undefined, 'POST', '/auth/refresh', token)
    who.token = String(signed['token'])
    who.refreshToken = String(signed['refresh_token'])
  }
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
  const t = Math.floor(clock.now() / 1_000)
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
    value_date: clock.iso().slice(0, 10),
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
  const tooMuch = await rest(ada, 'POST', '/wallet/transfers', { ...sent, amount: '400' })
  say(`and would send 400.00, which she does not have: ${String(tooMuch.body['code'])}`)
  check('nothing goes below zero', tooMuch.body['code'] === 'insufficient_funds')
  const large = { to_user_id: ada.id, amount: '1100', asset: 'EUR' }
  const unproven = await rest(bob, 'POST', '/wallet/transfers', large)
  say(`Bob would send her 1,100.00 without a second factor: ${String(unproven.body['code'])}`)
  check('large sums need a second factor', unproven.body['code'] === 'mfa_required')
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
  const batcher = kernel.use(PostingBatcher)
  const id = crypto.randomUUID()
  const held = { hold: id, account: wallet }
  const expiresAtMs = kernel.clock.now() + 86_400_000
  const entry = { type: 'hold', ...held, amount: 20_000n, expiresAtMs } as const
  postedAct(await batcher.submit({ key: `${id} hold`, kind: 'demo.deposit', entries: [entry] }))
  say('a room is booked: 200.00 of Bob’s are held')
  const post = { type: 'post', ...held, credit: rooms, amount: 15_000n } as const
  const label = 'Room, one night'
  postedAct(await batcher.submit({ key: `${id} post`, kind: 'demo.stay', label, entries: [post] }))
  say('it costs 150.00; the other 50.00 are free again')
}

async function payout({ ada, bob, grace, linus }: Cast): Promise<void> {
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
  await aDayPasses([ada, bob, grace, linus])
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
  const mailbox = await startMailbox()
  const password = `demo-${crypto.randomUUID()}`
  const folder = mkdtempSync(join(tmpdir(), 'rialto-demo-'))
  // The embedded database may run under an account of its own.
  chmodSync(folder, 0o755)
  const config = loadConfig({
    env: {
      HOST: '127.0.0.1',
      PORT: '0',
      DATA_DIR: join(folder, 'data'),
      LOG_LEVEL: 'error',
      SMTP_HOST: '127.0.0.1',
      SMTP_PORT: String(mailbox.port),
      MAIL_FROM: 'Rialto <rialto@example.org>',
      ADMIN_USERNAME: 'grace',
      ADMIN_PASSWORD_HASH: await Bun.password.hash(password),
      PAYMENT_WEBHOOK_SECRET: SECRET,
    },
    cwd: folder,
    features: features.map(({ name }) => name),
  })
  const log = createLogger({ ...config.log, clock })
  const server = await startServer({ config, log, clock })
  try {
    base = `http://127.0.0.1:${server.port}`
    const [ada, bob] = [await register('Ada'), await register('Bob')]
    const grace = await administrator('Grace', { username: 'grace' }, password)
    const linus = await invited(grace, 'Linus', mailbox)
    const cast = { server, ada, bob, grace, linus }
    await deposits(cast)
    await transfers(cast)
    await hold(cast)
    await payout(cast)
    await books(cast)
  } finally {
    await server.stop()
    await mailbox.close()
    rmSync(folder, { recursive: true, force: true })
  }
  chapter('Checks')
  for (const [name, passed] of checks) say(`${passed ? '✓' : '✗'} ${name}`)
  return checks.every(([, passed]) => passed)
}

const passed = await main().catch((error: Error) => console.error(`demo: ${error.stack}`))
process.exit(passed === true ? 0 : 1)
