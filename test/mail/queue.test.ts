import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { SMTPServerOptions } from 'smtp-server'
import { authFeature } from '../../src/auth/index.ts'
import { uuidv7 } from '../../src/base/ids.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { type Letter, mailFeature, sendMail } from '../../src/mail/index.ts'
import { auditTrail } from '../support/audit.ts'
import { queuesLater, workOff } from '../support/jobs.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { type MailServer, mailServer } from '../support/mail.ts'
import { until } from '../support/wait.ts'

/** How the server treats the next recipients; beyond them it takes everything. */
let moods: (() => Error | undefined)[] = []
const reply = (responseCode: number, text: string) =>
  Object.assign(new Error(text), { responseCode })
const options: SMTPServerOptions = {
  onRcptTo(_address, _session, done) {
    done(moods.shift()?.())
  },
}

let mail: MailServer
let world: TestKernel
beforeAll(async () => {
  mail = await mailServer(options)
  world = await testKernel({ features: [authFeature, mailFeature], env: mail.env })
})
afterAll(async () => {
  await world.close()
  await mail.close()
})
beforeEach(async () => {
  mail.clear()
  moods = []
  await world.kernel.db.sql`delete from queue_jobs`
  await world.kernel.db.sql`delete from dead_letters`
})

const at = '2026-01-01T00:00:00.000Z'
const letter: Letter<'account_blocked'> = {
  to: 'ann@example.org',
  locale: 'en',
  timeZone: 'UTC',
  template: 'account_blocked',
  data: { at, reason: null },
}
const send = (one: Letter) =>
  unitOfWork(world.kernel, { actor: null, request: internalRequest('test') }, async (ctx) =>
    sendMail(ctx, one),
  )
const waiting = async () => {
  const [row] = await world.kernel.db.sql`select count(*)::int as jobs from queue_jobs`
  return row.jobs as number
}
const deadLetters = async (): Promise<{ error: string; attempts: number }[]> => [
  ...(await world.kernel.db.sql`select error, attempts from dead_letters`),
]
/** An account with this address. */
async function account(email: string): Promise<string> {
  const id = uuidv7()
  await world.kernel.db.sql`
    insert into users (id, email, username, roles) values (${id}, ${email}, ${id}, '{user}')`
  return id
}

describe('a letter', () => {
  test('is sent when its transaction commits, and not at all when it does not', async () => {
    const failing = unitOfWork(
      world.kernel,
      { actor: null, request: internalRequest('test') },
      async (ctx) => {
        sendMail(ctx, letter)
        await Promise.resolve()
        throw new Error('no commit')
      },
    )
    await expect(failing).rejects.toThrow('no commit')
    await workOff(world.kernel)
    expect(mail.received).toEqual([])
    await send(letter)
    await workOff(world.kernel)
    expect(mail.received).toHaveLength(1)
  })

  test('lies in the database sealed', async () => {
    await send({
      ...letter,
      template: 'verify_email',
      data: { link: 'https://x.org/canary', expires_at: '2999-01-01T00:00:00.000Z' },
    } as Letter)
    const [row] = await world.kernel.db.sql`
      select encode(payload, 'escape') as text from queue_jobs`
    expect(row.text).not.toMatch(/canary|example\.org/)
  })

  test('is not even written down where the feature is off', async () => {
    const off = await testKernel({ features: [], database: world.database })
    await unitOfWork(off.kernel, { actor: null, request: internalRequest('test') }, async (ctx) =>
      sendMail(ctx, letter),
    )
    expect(await waiting()).toBe(0)
    await off.close()
  })

  test('goes to no placeholder', async () => {
    await send({ ...letter, to: 'deleted-1@deleted.invalid' })
    expect(await waiting()).toBe(0)
  })
})

describe('a server that does not take it', () => {
  test('now, as greylisting does: the same letter comes again, once', async () => {
    moods = [() => reply(450, 'greylisted'), () => reply(451, 'still greylisted')]
    await send(letter)
    for (const tries of [1, 2]) {
      await workOff(world.kernel)
      expect(mail.received).toEqual([])
      const [job] = await world.kernel.db.sql`select attempts, error from queue_jobs`
      expect(job).toMatchObject({ attempts: tries, error: expect.stringContaining('greylisted') })
      await queuesLater(world.kernel, 3_600_000)
    }
    await workOff(world.kernel)
    expect(mail.received).toHaveLength(1)
    expect(await waiting()).toBe(0)
  })

  test('because it is away: the letter waits, and arrives when it is back', async () => {
    const { port } = mail
    await mail.close()
    await send(letter)
    await workOff(world.kernel)
    expect(await waiting()).toBe(1)
    mail = await mailServer(options, port)
    await queuesLater(world.kernel, 3_600_000)
    await workOff(world.kernel)
    expect(mail.received).toHaveLength(1)
  })

  test('for good: it is given up at once, for an administrator to see', async () => {
    moods = [() => reply(550, '5.7.1 relaying denied')]
    await send(letter)
    await workOff(world.kernel)
    expect(await waiting()).toBe(0)
    expect(await deadLetters()).toEqual([
      { attempts: 1, error: expect.stringContaining('relaying denied') },
    ])
  })

  test('because there is no such mailbox: the account that has it is marked', async () => {
    const [ann, bob] = [await account('ann@example.org'), await account('bob@example.org')]
    for (const [userId, to] of [
      [ann, 'ann@example.org'],
      [bob, 'bobs-old@example.org'],
    ] as const) {
      moods = [() => reply(550, '5.1.1 no such user')]
      await send({ ...letter, to, userId })
      await workOff(world.kernel)
    }
    const marked = await world.kernel.db.sql`
      select id from users where email_refused_at is not null`
    expect([...marked]).toEqual([{ id: ann }])
    expect(await deadLetters()).toHaveLength(2)
    const lines = await auditTrail(world, 'mail.address_refused')
    expect(lines[0]).toMatchObject({
      outcome: 'failure',
      target_id: ann,
      after: { letter: 'account_blocked' },
      personal: { email: 'ann@example.org' },
    })
  })

  test('with our account: somebody is called, and the letter waits', async () => {
    const closed = await mailServer({
      authOptional: false,
      disabledCommands: ['STARTTLS'],
      allowInsecureAuth: true,
    })
    const other = await testKernel({
      features: [authFeature, mailFeature],
      database: world.database,
      env: closed.env,
    })
    await send(letter)
    await workOff(other.kernel)
    expect(await waiting()).toBe(1)
    const entry = other.log.entries.find(({ level }) => level === 'error')
    expect(entry).toMatchObject({ message: 'mail cannot be sent with these settings' })
    expect(other.kernel.metrics.render()).toContain(
      'mails_total{letter="account_blocked",outcome="settings"} 1',
    )
    await other.close()
    await closed.close()
  })

  test('but has taken it: the second copy is recognisable', async () => {
    // The server dies after it has the mail and before it has said so.
    let deaths = 1
    const dying = await mailServer({
      onData(stream, _session, done) {
        stream.on('end', () => (deaths-- > 0 ? done(reply(421, 'going away')) : done()))
        stream.resume()
        stream.on('data', (chunk: Buffer) => raws.push(chunk.toString()))
      },
    })
    const raws: string[] = []
    const other = await testKernel({
      features: [authFeature, mailFeature],
      database: world.database,
      env: dying.env,
    })
    await send(letter)
    await workOff(other.kernel)
    await queuesLater(other.kernel, 3_600_000)
    await workOff(other.kernel)
    const ids = raws.join('').match(/^Message-ID: .*$/gm)
    expect(ids).toHaveLength(2)
    expect(ids?.[0]).toBe(ids?.[1] as string)
    await other.close()
    await dying.close()
  })
})

describe('what has changed before it was sent', () => {
  const link = { link: 'https://x.org/', expires_at: '2999-01-01T00:00:00.000Z' }
  const origin = { at, device: null, address: '10.0.0.1' }

  test('a link does not go to an address that the account has left; a notice does', async () => {
    const userId = await account('new@example.org')
    const to = 'old@example.org'
    await send({ ...letter, to, userId, template: 'verify_email', data: link } as Letter)
    await send({ ...letter, to, userId, template: 'password_changed', data: origin } as Letter)
    await workOff(world.kernel)
    expect(mail.to(to).map(({ parsed }) => parsed.subject)).toEqual(['Your password was changed'])
    expect(await deadLetters()).toEqual([])
  })

  test('a closed account gets the notice of that, and nothing else', async () => {
    const userId = await account('closing@example.org')
    const to = 'closing@example.org'
    await send({ ...letter, to, userId, template: 'password_changed', data: origin } as Letter)
    await send({ ...letter, to, userId, template: 'account_closed', data: { at } } as Letter)
    await world.kernel.db.sql`
      update users set closed_at = now(), email = 'x@deleted.invalid' where id = ${userId}`
    await workOff(world.kernel)
    expect(mail.to(to).map(({ parsed }) => parsed.subject)).toEqual(['Your account is closed'])
  })

  test('a link that has ended is not sent any more', async () => {
    const data = { ...link, expires_at: new Date(Date.now() + 200).toISOString() }
    await send({ ...letter, template: 'verify_email', data } as Letter)
    await until(() => Date.now() > Date.parse(data.expires_at), 'the link has ended')
    await workOff(world.kernel)
    expect(mail.received).toEqual([])
    expect(await waiting()).toBe(0)
  })
})

test('a hundred letters through one worker: each arrives once', async () => {
  for (let i = 0; i < 100; i++) await send({ ...letter, to: `n${i}@example.org` })
  await workOff(world.kernel)
  expect(new Set(mail.received.map(({ to }) => to)).size).toBe(100)
  expect(mail.received).toHaveLength(100)
})
