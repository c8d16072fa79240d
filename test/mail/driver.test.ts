import { afterAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import type { SMTPServerOptions } from 'smtp-server'
import {
  mailDomain,
  MailError,
  type Mailer,
  type OutgoingMail,
  openMailer,
} from '../../src/drivers/mail/index.ts'
import { loadConfig } from '../../src/config.ts'
import { chance } from '../support/budget.ts'
import { recordingLog } from '../support/log.ts'
import { mailServer } from '../support/mail.ts'
import { freePort, until } from '../support/wait.ts'
import { CERTIFICATE, OTHER_CERTIFICATE, PRIVATE_KEY } from './certificates.ts'
import { type Script, scriptedServer, usual } from './scripted.ts'

const MAIL: OutgoingMail = {
  to: 'ann@example.org',
  subject: 'À bientôt',
  text: 'Bonjour,\n\nà bientôt.\n.\nFin.\n',
  html: '<p>à bientôt</p>',
  messageId: '019b76da-a800-7701-9f17-382f11735b42@rialto.test',
  date: new Date('2026-01-01T00:00:00Z'),
}
const ENV = { SMTP_HOST: 'localhost', MAIL_FROM: 'Rialto <no-reply@rialto.test>' }
/** Given, so that none are made in a folder. */
const KEYS = { JWT_SECRET: 's'.repeat(32), MASTER_ENCRYPTION_KEY: '00'.repeat(32) }
const IN_TIME = () => AbortSignal.timeout(5_000)

const ends: (() => unknown)[] = []
afterAll(async () => {
  for (const end of ends.toReversed()) await end()
})

const config = (env: Record<string, string> = {}) =>
  loadConfig({ env: { NODE_ENV: 'test', ...KEYS, ...env }, cwd: '/nowhere' })

/** A mailer as the settings make it. */
function mailerWith(env: Record<string, string>): Mailer {
  const mailer = openMailer(config({ ...ENV, ...env }), recordingLog())
  ends.push(() => mailer.close())
  return mailer
}
async function serverWith(options: SMTPServerOptions = {}) {
  const server = await mailServer(options)
  ends.push(() => server.close())
  return server
}
async function scripted(script: Script) {
  const server = await scriptedServer(script)
  ends.push(() => server.close())
  return server
}
/** The trouble that sending ends in. */
async function trouble(mailer: Mailer, mail = MAIL, signal = IN_TIME()): Promise<MailError> {
  const error = await mailer.send(mail, signal).then(
    () => new Error('was sent'),
    (reason: unknown) => reason,
  )
  if (!(error instanceof MailError)) throw error
  return error
}

const TLS: SMTPServerOptions = { key: PRIVATE_KEY, cert: CERTIFICATE, disabledCommands: [] }
const ACCOUNT = { SMTP_USER: 'rialto', SMTP_PASSWORD: 'sesame' }

/** Signs in whoever has the password; notes every try. */
function door(tries: string[]): SMTPServerOptions {
  return {
    authOptional: false,
    onAuth({ username, password }, _session, done) {
      tries.push(`${username}:${password}`)
      if (password === 'sesame') done(null, { user: username })
      else done(new Error('Invalid username or password'))
    },
  }
}

describe('a mail that is taken', () => {
  test('arrives once, in both forms, with what makes machines leave it alone', async () => {
    const server = await serverWith()
    await mailerWith({ SMTP_PORT: String(server.port) }).send(MAIL, IN_TIME())
    expect(server.received).toHaveLength(1)
    const [got] = server.received
    expect(got).toMatchObject({ from: 'no-reply@rialto.test', to: 'ann@example.org' })
    expect(got?.parsed).toMatchObject({
      from: { name: 'Rialto', address: 'no-reply@rialto.test' },
      to: [{ name: '', address: 'ann@example.org' }],
      subject: 'À bientôt',
      messageId: `<${MAIL.messageId}>`,
      date: '2026-01-01T00:00:00.000Z',
    })
    expect(got?.text.trimEnd()).toBe(MAIL.text.trimEnd())
    expect(got?.parsed.html).toContain('<p>à bientôt</p>')
    const header = (name: string) => got?.parsed.headers.find(({ key }) => key === name)?.value
    expect(header('auto-submitted')).toBe('auto-generated')
  })

  test('one connection serves several, and ends with the server', async () => {
    let connections = 0
    const server = await serverWith({
      onConnect(_session, done) {
        connections++
        done()
      },
    })
    const mailer = mailerWith({ SMTP_PORT: String(server.port) })
    for (let i = 0; i < 5; i++) await mailer.send(MAIL, IN_TIME())
    expect(server.received).toHaveLength(5)
    expect(connections).toBe(1)
  })

  test('many at once use a few connections', async () => {
    let open = 0
    let most = 0
    const server = await serverWith({
      onConnect(_session, done) {
        most = Math.max(most, ++open)
        done()
      },
      onClose: () => void open--,
    })
    const mailer = mailerWith({ SMTP_PORT: String(server.port) })
    await Promise.all(Array.from({ length: 30 }, () => mailer.send(MAIL, IN_TIME())))
    expect(server.received).toHaveLength(30)
    expect(most).toBeLessThanOrEqual(4)
  })
})

describe('encryption', () => {
  test('STARTTLS is used when it is offered, and a password sent over it', async () => {
    const tries: string[] = []
    let secure: boolean | undefined
    const server = await serverWith({
      ...TLS,
      ...door(tries),
      onMailFrom(_address, session, done) {
        ;({ secure } = session)
        done()
      },
    })
    const env = { ...ACCOUNT, SMTP_PORT: String(server.port), SMTP_TLS_CA: CERTIFICATE }
    await mailerWith(env).send(MAIL, IN_TIME())
    expect(secure).toBe(true)
    expect(tries).toEqual(['rialto:sesame'])
  })

  test.each([
    ['that nobody vouches for', {}],
    ['of somebody else', { SMTP_TLS_CA: OTHER_CERTIFICATE }],
  ])('a certificate %s gets neither password nor mail', async (_name, ca) => {
    const tries: string[] = []
    const server = await serverWith({ ...TLS, ...door(tries) })
    const mailer = mailerWith({ ...ACCOUNT, SMTP_PORT: String(server.port), ...ca })
    expect((await trouble(mailer)).trouble).toBe('settings')
    expect(tries).toEqual([])
    expect(server.received).toEqual([])
  })

  test('without encryption no password is sent, whatever the server says it can', async () => {
    const script = (greeting: string): Script => ({
      greeting: '220 scripted.test',
      answer: (command) => (command === 'EHLO' ? greeting : usual(command)),
    })
    // One offers nothing; the other pretends, as somebody in the middle would.
    for (const greeting of ['250-scripted.test\r\n250 AUTH PLAIN LOGIN', '250 scripted.test']) {
      const server = await scripted(script(greeting))
      const mailer = mailerWith({ ...ACCOUNT, SMTP_PORT: String(server.port) })
      expect((await trouble(mailer)).trouble).toBe('settings')
      expect(server.lines.join('\n')).not.toMatch(/AUTH|c2VzYW1l|sesame/)
    }
  })

  test('port 465 speaks TLS from the start', async () => {
    const tries: string[] = []
    const server = await mailServer({ ...TLS, ...door(tries), secure: true }, 465).catch(() => {
      console.log('skipped: port 465 is not free, or not for us')
      return undefined
    })
    if (server === undefined) return
    ends.push(() => server.close())
    const env = { ...ACCOUNT, SMTP_HOST: '127.0.0.1', SMTP_PORT: '465', SMTP_TLS_CA: CERTIFICATE }
    await mailerWith(env).send(MAIL, IN_TIME())
    expect(server.received).toHaveLength(1)
    expect(tries).toEqual(['rialto:sesame'])
  })
})

test('a product at an IPv6 address has a name that mail takes', () => {
  expect(mailDomain('http://[::1]:8080')).toBe('localhost')
  expect(mailDomain('https://api.example.org:8443/x')).toBe('api.example.org')
})

describe('trouble', () => {
  const replies: [string, string, string, MailError['trouble']][] = [
    ['RCPT', '450 4.2.0 greylisted, come back', 'greylisting', 'later'],
    ['RCPT', '452 4.2.2 mailbox full', 'a full mailbox', 'later'],
    ['RCPT', '550 5.1.1 no such user', 'an unknown mailbox', 'address'],
    ['RCPT', '550 5.2.1 mailbox disabled', 'a disabled mailbox', 'address'],
    ['RCPT', '550 unknown user', 'an unknown mailbox without a code', 'address'],
    ['RCPT', '550 5.7.1 relaying denied', 'a policy, which is not the mailbox', 'refused'],
    ['RCPT', '554 5.7.1 blocked by a list', 'a list that we stand on', 'refused'],
    ['MAIL', '553 5.7.1 sender not allowed', 'a sender that is not ours', 'refused'],
    ['MAIL', '530 5.7.0 authentication required', 'a sign-in that is missing', 'settings'],
    ['MAIL', '421 4.3.2 shutting down', 'a server that goes away', 'later'],
    ['HELLO', '554 5.7.1 go away', 'a server that does not want us', 'settings'],
    ['END', '554 5.6.0 spam', 'a text that is not liked', 'refused'],
    ['END', '451 4.3.0 try again', 'a server that is busy', 'later'],
  ]
  test.each(replies)('%s answered %s: %s', async (command, reply, _name, expected) => {
    const server = await scripted({
      greeting: command === 'HELLO' ? reply : '220 scripted.test',
      answer: (given) => (given === command ? reply : usual(given)),
    })
    const error = await trouble(mailerWith({ SMTP_PORT: String(server.port) }))
    expect(error.trouble).toBe(expected)
    expect(error.message).toContain(reply)
  })

  test('nobody there, or a name that is none: later', async () => {
    expect((await trouble(mailerWith({ SMTP_PORT: String(freePort()) }))).trouble).toBe('later')
    const nameless = mailerWith({ SMTP_HOST: 'mail.invalid' })
    expect((await trouble(nameless, MAIL, AbortSignal.timeout(20_000))).trouble).toBe('later')
  })

  test('a password that is refused is trouble for whoever runs the server', async () => {
    const tries: string[] = []
    const server = await serverWith({ ...TLS, ...door(tries) })
    const env = { SMTP_USER: 'rialto', SMTP_PASSWORD: 'wrong', SMTP_TLS_CA: CERTIFICATE }
    const error = await trouble(mailerWith({ ...env, SMTP_PORT: String(server.port) }))
    expect(error.trouble).toBe('settings')
    expect(error.message).not.toContain('wrong')
    expect(tries).toEqual(['rialto:wrong'])
  })

  test('a server that cannot check passwords at the moment: later', async () => {
    const busy = Object.assign(new Error('temporarily unavailable'), { responseCode: 454 })
    const server = await serverWith({
      ...TLS,
      ...door([]),
      onAuth: (_auth, _session, done) => done(busy),
    })
    const env = { ...ACCOUNT, SMTP_PORT: String(server.port), SMTP_TLS_CA: CERTIFICATE }
    expect((await trouble(mailerWith(env))).trouble).toBe('later')
  })

  test('what a server says is cut to one short line', async () => {
    const server = await scripted({
      greeting: '220 scripted.test',
      answer: (command) =>
        command === 'RCPT' ? `550-5.7.1 ${'long '.repeat(200)}\r\n550 5.7.1 end` : usual(command),
    })
    const { message } = await trouble(mailerWith({ SMTP_PORT: String(server.port) }))
    expect(message.length).toBeLessThanOrEqual(300)
    expect(message).not.toMatch(/[\r\n]/)
  })
})

describe('a deadline', () => {
  const silent: [string, Script][] = [
    ['says nothing at all', {}],
    [
      'says nothing after the mail',
      {
        greeting: '220 scripted.test',
        answer: (command) => (command === 'END' ? null : usual(command)),
      },
    ],
    [
      'speaks, but never comes to an end',
      {
        greeting: '220 scripted.test',
        answer(command, _line, socket) {
          if (command !== 'EHLO') return usual(command)
          const drip = setInterval(() => socket.write('250-still here\r\n'), 20)
          socket.on('close', () => clearInterval(drip))
          return null
        },
      },
    ],
  ]
  test.each(silent)('ends a try with a server that %s, and its connection', async (_, script) => {
    const server = await scripted(script)
    const mailer = mailerWith({ SMTP_PORT: String(server.port) })
    const startMs = performance.now()
    const error = await trouble(mailer, MAIL, AbortSignal.timeout(300))
    expect(error.trouble).toBe('later')
    expect(performance.now() - startMs).toBeLessThan(3_000)
    await until(() => server.open() === 0, 'the connection is closed')
  })

  test('of one mail does not end the others', async () => {
    const stuck: string[] = []
    const server = await scripted({
      greeting: '220 scripted.test',
      answer(command, line) {
        if (command === 'RCPT' && line.includes('stuck')) {
          stuck.push(line)
          return null
        }
        return usual(command)
      },
    })
    const mailer = mailerWith({ SMTP_PORT: String(server.port) })
    const bad = trouble(mailer, { ...MAIL, to: 'stuck@example.org' }, AbortSignal.timeout(1_000))
    await until(() => stuck.length === 1, 'one is stuck')
    await Promise.all(Array.from({ length: 6 }, () => mailer.send(MAIL, IN_TIME())))
    expect((await bad).trouble).toBe('later')
  })
})

describe('injection', () => {
  const hostile = [
    'ann@example.org\r\nBcc: eve@example.org',
    'ann@example.org>\r\nRCPT TO:<eve@example.org',
    'ann@example.org, eve@example.org',
    'ann@example.org;eve@example.org',
    'Ann <ann@example.org>',
    '"ann\\" <eve@example.org>"@example.org',
    'ann @example.org',
    'ann@example.org\0',
    'ann@example.org\u2028',
    '@example.org',
    'ann@',
    '',
  ]
  test.each(hostile)('%j is no address of one mailbox', async (to) => {
    const server = await serverWith()
    const error = await trouble(mailerWith({ SMTP_PORT: String(server.port) }), { ...MAIL, to })
    expect(error.trouble).toBe('refused')
    expect(server.received).toEqual([])
  })

  test('whatever stands in address, subject or text: refused, or one mail to it', async () => {
    const server = await serverWith()
    const mailer = mailerWith({ SMTP_PORT: String(server.port) })
    const seed = chance('mail injection').below(2 ** 31)
    const PLAIN = ['a', 'é', '@', '.', ',', ';', ':', '<', '>', '"', ' ', '\t', '(x)', '%']
    const HOSTILE = ['\r\n', '\n', '\r', '\0', '\u2028', '\u0085', '\r\n.\r\n']
    const FORGED = ['Bcc: eve@example.org', '=?utf-8?Q?x?=']
    const piece = fc.constantFrom(...PLAIN, ...HOSTILE, ...FORGED)
    const text = fc.array(piece, { maxLength: 12 }).map((parts) => parts.join(''))
    const to = fc.oneof(
      text,
      text.map((local) => `${local}@example.org`),
      text.map((end) => `ann@example.org${end}`),
      fc.constant('ann@example.org'),
    )
    const names = new Set<string>()
    await fc.assert(
      fc.asyncProperty(to, text, text, async (address, subject, body) => {
        server.clear()
        const mail = { ...MAIL, to: address, subject, text: body, html: '' }
        const refused = await mailer.send(mail, IN_TIME()).then(
          () => false,
          (error: unknown) => error instanceof MailError,
        )
        if (refused) return server.received.length === 0
        const [got] = server.received
        if (got === undefined || server.received.length !== 1) return false
        for (const { key } of got.parsed.headers) names.add(key)
        return got.to === address && !got.parsed.headers.some(({ key }) => key === 'bcc')
      }),
      { numRuns: 300, seed },
    )
    const known =
      'auto-submitted content-transfer-encoding content-type date from message-id mime-version ' +
      'subject to x-auto-response-suppress'
    expect([...names].toSorted().join(' ')).toBe(known)
  })
})

describe('without a mail server', () => {
  test('the log says so, without the text, whose links are as good as passwords', async () => {
    const log = recordingLog()
    const mailer = openMailer(config(), log)
    expect(mailer.kind).toBe('log')
    await mailer.send({ ...MAIL, text: 'https://x.org/account/a#token=canary' }, IN_TIME())
    expect(log.entries).toEqual([
      {
        level: 'info',
        message: 'mail not sent: no SMTP_HOST',
        fields: { to: MAIL.to, subject: MAIL.subject, message_id: MAIL.messageId },
      },
    ])
    const forged = await trouble(mailer, { ...MAIL, to: 'a@b.c\r\nBcc: d@e.f' })
    expect(forged.trouble).toBe('refused')
  })
})
