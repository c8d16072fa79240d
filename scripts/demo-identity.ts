/**
 * The life of an account, from registration to closing: `bun run scripts/demo-identity.ts`. Starts
 * a server of its own on embedded defaults and a mail server beside it, prints every step and what
 * it was answered, and ends with checks; exits with 1 when one fails. It speaks the public protocol
 * and reads its mail, and nothing else.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Secret, TOTP } from 'otpauth'
import { type Letter, type Mailbox, startMailbox } from './demo-mailbox.ts'

const START_MS = 60_000
const STEP_MS = 30_000

const email = 'ada@example.org'
let password = `demo-${crypto.randomUUID()}`

const checks: [name: string, passed: boolean][] = []
const check = (name: string, passed: boolean) => void checks.push([name, passed])
const chapter = (title: string) => console.log(`\n${title}`)
const say = (sign: string, text: string) => console.log(`  ${sign} ${text}`)

let mailbox: Mailbox

/** The next letter of this kind to Ada. */
async function letter(subject: RegExp): Promise<Letter> {
  const found = await mailbox.letter(email, subject)
  say('✉', `to ${email}: “${found.subject}”`)
  return found
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

let base = ''

async function startServer(dataDir: string, mailPort: number): Promise<Bun.Subprocess> {
  const port = await freePort()
  base = `http://127.0.0.1:${port}`
  const child = Bun.spawn(
    [process.execPath, '--no-env-file', join(import.meta.dir, '../src/main.ts')],
    {
      env: {
        PATH: process.env['PATH'],
        HOME: process.env['HOME'],
        HOST: '127.0.0.1',
        PORT: String(port),
        PUBLIC_URL: base,
        DATA_DIR: dataDir,
        SMTP_HOST: '127.0.0.1',
        SMTP_PORT: String(mailPort),
        MAIL_FROM: 'Rialto <rialto@example.org>',
        LOG_LEVEL: 'warn',
      },
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  )
  const deadline = performance.now() + START_MS
  while (
    !(await fetch(`${base}/health/ready`).then(
      ({ ok }) => ok,
      () => false,
    ))
  ) {
    if (child.exitCode !== null || performance.now() > deadline) throw new Error('no server')
    await Bun.sleep(50)
  }
  return child
}

// oxlint-disable-next-line no-explicit-any
type Answer = Record<string, any>

/** A call, printed with its outcome; never throws, so that refusals can be shown. */
async function call(
  method: string,
  path: string,
  options: { token?: string; body?: object; stepUp?: string } = {},
): Promise<Answer & { status: number }> {
  const { token, body, stepUp } = options
  const response = await fetch(`${base}/api/v1${path}`, {
    method,
    headers: {
      'User-Agent': device,
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(stepUp === undefined ? {} : { 'X-Step-Up': stepUp }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const answer = (await response.json()) as Answer
  say('▶', `${method} ${path} → ${response.status}${answer['code'] ? ` ${answer['code']}` : ''}`)
  return { ...answer, status: response.status }
}
/** What the client calls itself. */
let device = 'RialtoApp/1.0 (Android 16; Pixel 9)'

/** An authenticator app. Each code is good once, so it shows the next ones before their time. */
class Authenticator {
  private shown = -1
  constructor(private readonly secret: string) {}
  code(): string {
    const timestamp = Date.now() + STEP_MS * this.shown++
    return new TOTP({ secret: Secret.fromBase32(this.secret) }).generate({ timestamp })
  }
}

/** Calls, and shows a fresh second factor when it is asked for one. */
async function callWithFactor(
  code: () => string,
  ...[method, path, options = {}]: Parameters<typeof call>
): Promise<Answer & { status: number }> {
  const first = await call(method, path, options)
  if (first['code'] !== 'step_up_required') return first
  const proof = await call('POST', '/auth/mfa/verify', {
    ...options,
    body: { challenge: first['challenge'], code: code() },
  })
  return await call(method, path, { ...options, stepUp: proof['step_up'] as string })
}

async function registerAndVerify(): Promise<Answer> {
  chapter('Ada registers, and verifies her address with the link of a letter')
  const ada = await call('POST', '/auth/register', { body: { email, password, locale: 'en' } })
  check('she is signed in', ada.status === 201)
  const { token } = await letter(/confirm your address/)
  const first = await call('POST', '/auth/email/verify', { body: { token } })
  const again = await call('POST', '/auth/email/verify', { body: { token } })
  check('the link works once', first.status === 200 && again.status >= 400)
  const me = await call('GET', '/auth/me', { token: ada['token'] })
  check('her address is verified', me['email_verified'] === true)
  return ada
}

async function secondFactor(ada: Answer) {
  chapter('She sets up a second factor')
  const body = { password }
  const setup = await call('POST', '/auth/mfa/setup', { token: ada['token'], body })
  say(
    ' ',
    `secret ${String(setup['secret']).slice(0, 4)}…, QR code of ${setup['qr']?.length} bytes`,
  )
  const app = new Authenticator(setup['secret'] as string)
  const code = app.code()
  const enabled = await call('POST', '/auth/mfa/verify', { token: ada['token'], body: { code } })
  const codes = (enabled['recovery_codes'] ?? []) as string[]
  check('it is in force, with ten recovery codes', codes.length === 10)
  await letter(/asks for a second factor/)
  const token = enabled['token'] as string
  const replay = await call('POST', '/auth/mfa/verify', { token, body: { code } })
  check('a code works once', replay.status === 401)
  return { app, codes, token }
}

async function stepUp(token: string, app: Authenticator): Promise<void> {
  chapter('Asking for a copy of her data needs a fresh code, for exactly this')
  const refused = await call('POST', '/privacy/export', { token, body: {} })
  const { challenge } = refused
  const body = { challenge, code: app.code() }
  const proof = await call('POST', '/auth/mfa/verify', { token, body })
  const with_ = { token, stepUp: proof['step_up'] as string }
  const other = await call('POST', '/auth/mfa/recovery-codes', { ...with_, body: {} })
  check('it opens nothing else', other.status === 401)
  const made = await call('POST', '/privacy/export', { ...with_, body: {} })
  const twice = await call('POST', '/privacy/export', { ...with_, body: {} })
  check('it opens this, once', made.status === 201 && twice.status === 401)
  await letter(/data is ready/)
  const page = await call('GET', `/privacy/exports/${made['id']}/pages`, { token })
  const items = (page['items'] ?? []) as { section: string }[]
  say(' ', `sections: ${[...new Set(items.map(({ section }) => section))].join(', ')}`)
  check(
    'the copy holds her profile',
    items.some(({ section }) => /profile|account/.test(section)),
  )
}

async function newDevice(codes: string[]): Promise<void> {
  chapter('She signs in on a new laptop: with the second factor, and a letter says so')
  device = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
  const without = await call('POST', '/auth/login', { body: { email, password } })
  check('the password alone is not enough', without['code'] === 'mfa_code_required')
  const body = { email, password, mfa_code: codes.pop() }
  const laptop = await call('POST', '/auth/login', { body })
  check('with a recovery code it is', laptop.status === 200)
  await letter(/recovery code was used/)
  await letter(/new device/)
  const devices = await call('GET', '/auth/devices', { token: laptop['token'] })
  check('both devices are listed', devices['items']?.length === 2)
}

async function reset(token: string, codes: string[]): Promise<string> {
  chapter('She has forgotten her password, and resets it by letter: every session ends')
  const known = await call('POST', '/auth/password/forgot', { body: { email } })
  const unknown = await call('POST', '/auth/password/forgot', {
    body: { email: 'nobody@example.org' },
  })
  check('the answer does not say who has an account', known.status === unknown.status)
  const { token: link } = await letter(/new password/)
  password = `demo-${crypto.randomUUID()}`
  const done = await call('POST', '/auth/password/reset', { body: { token: link, password } })
  check('the link sets a new one', done.status === 200)
  const late = await call('POST', '/auth/password/reset', { body: { token: link, password } })
  check('and works once', late.status >= 400)
  const old = await call('GET', '/auth/me', { token })
  check('the old session has ended', old.status === 401)
  const body = { email, password, mfa_code: codes.pop(), device_token: done['device_token'] }
  const again = await call('POST', '/auth/login', { body })
  check('the second factor is still asked for, and enough', again.status === 200)
  return again['token'] as string
}

async function close(token: string, codes: string[]): Promise<void> {
  chapter('She closes her account')
  const closed = await callWithFactor(() => codes.pop() ?? '', 'DELETE', '/users/me', {
    token,
    body: {},
  })
  for (const reason of (closed['kept'] ?? []) as string[]) say(' ', `kept: ${reason}`)
  check('it is closed', closed.status === 200)
  await letter(/is closed/)
  const gone = await call('POST', '/auth/login', { body: { email, password } })
  check('nobody signs in any more', gone['code'] === 'invalid_credentials')
  const fresh = await call('POST', '/auth/register', { body: { email, password } })
  check('the address is free again', fresh.status === 201)
}

async function main(): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), 'rialto-demo-'))
  mailbox = await startMailbox()
  let server: Bun.Subprocess | undefined
  try {
    server = await startServer(join(folder, 'data'), mailbox.port)
    const ada = await registerAndVerify()
    const { app, codes, token } = await secondFactor(ada)
    await stepUp(token, app)
    await newDevice(codes)
    const fresh = await reset(token, codes)
    await close(fresh, codes)
  } finally {
    server?.kill('SIGTERM')
    await server?.exited
    await mailbox.close()
    rmSync(folder, { recursive: true, force: true })
  }
  chapter('Checks')
  for (const [name, passed] of checks) console.log(`  ${passed ? '✓' : '✗'} ${name}`)
  return checks.every(([, passed]) => passed)
}

const passed = await main().catch((error: Error) => console.error(`demo: ${error.message}`))
process.exit(passed === true ? 0 : 1)
