import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { uuidv7 } from '../../src/base/ids.ts'
import { t } from '../../src/base/schema.ts'
import { features } from '../../src/features.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { feature } from '../../src/kernel/feature.ts'
import { Hopeless, queue } from '../../src/kernel/queue.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { auditTrail } from '../support/audit.ts'
import { administrator, type Body, type Person, person, rest } from '../support/people.ts'
import { type TestServer, testServer } from '../support/server.ts'
import { until } from '../support/wait.ts'

const common = {
  description: 'Errands',
  payload: t.Object({ text: t.String() }),
  concurrency: 2,
  deadlineMs: 5_000,
  triesMax: 1,
  backoffMs: 1_000,
}
let broken = true
const seen: string[] = []
const perform = async (_ctx: unknown, { text }: { text: string }) => {
  if (broken) throw new Hopeless(`nobody home for ${text.length}`)
  seen.push(text)
}
const plain = queue('test.plain', { ...common, perform })
const secret = queue('test.secret', { ...common, sealed: true, perform })

let server: TestServer
let admin: Person
let ada: Person
beforeAll(async () => {
  const errands = feature({ name: 'errands', queues: [plain, secret] })
  server = await testServer({ features: [...features, errands] })
  admin = await administrator(server)
  ada = await person(server, 'ada')
})
afterEach(async () => {
  broken = true
  seen.length = 0
  await server.kernel.db.sql`delete from dead_letters`
  await server.kernel.db.sql`delete from queue_jobs`
})
afterAll(() => server.stop())

const ask = (method: string, path: string, who = admin) =>
  rest(server, method, `/api/v1/admin/queues${path}`, { token: who.token })

async function bury(line: typeof plain, texts: readonly string[], key?: string): Promise<Body[]> {
  const who = { actor: null, request: internalRequest('test') }
  for (const text of texts) {
    await unitOfWork(server.kernel, who, async ({ enqueue }) => {
      await Promise.resolve()
      enqueue(line, { text }, key === undefined ? {} : { key })
    })
  }
  const letters = async () => (await ask('GET', `/dead-letters?queue=${line.name}`)).body['items']
  await until(async () => (await letters()).length === texts.length, 'they are dead')
  return await letters()
}
const audited = async (id: string) => {
  const lines = await auditTrail(server, 'queues.')
  return lines
    .filter(({ target_id }) => target_id === id)
    .map(({ action, actor_id }) => ({ action, actor_id }))
}

describe('the state of the queues', () => {
  test('is for administrators: each with what waits, runs and is dead', async () => {
    await bury(plain, ['a', 'b'])
    await server.kernel.db.sql`
      insert into queue_jobs (id, queue, payload, due_at, created_at, attempts) values
      (${uuidv7()}, 'test.newer', '{}', now() - interval '1 minute', now(), 0),
      (${uuidv7()}, 'test.newer', '{}', now() + interval '1 minute', now(), 1)`
    const { status, body } = await ask('GET', '')
    expect(status).toBe(200)
    const of = (name: string) => body['items'].find((item: Body) => item['queue'] === name)
    expect(of('test.plain')).toMatchObject({ dead: 2, due: 0, running: 0, description: 'Errands' })
    expect(of('schedule')).toMatchObject({ dead: 0 })
    expect(of('test.newer')).toMatchObject({ due: 1, later: 1, failed: 1, description: null })
    expect(of('test.newer').oldest_due_seconds).toBeGreaterThanOrEqual(60)
    for (const path of ['', '/dead-letters']) {
      expect((await ask('GET', path, ada)).status).toBe(403)
    }
  })
})

describe('dead letters', () => {
  test('are listed newest first, in pages, by queue', async () => {
    await bury(plain, ['a', 'b', 'c', 'd', 'e'])
    await bury(secret, ['hush'])
    const ids: string[] = []
    let cursor = ''
    do {
      const { body } = await ask('GET', `/dead-letters?queue=test.plain&limit=2${cursor}`)
      ids.push(...body['items'].map((item: Body) => item['payload'].text))
      cursor = body['next_cursor'] === null ? '' : `&cursor=${body['next_cursor']}`
    } while (cursor !== '')
    expect(ids.toSorted()).toEqual(['a', 'b', 'c', 'd', 'e'])
    expect((await ask('GET', '/dead-letters')).body['items'].length).toBe(6)
    for (const wrong of ['cursor=x', 'cursor=1.2', `cursor=9e9.${uuidv7()}`, 'limit=0', 'more=1']) {
      expect((await ask('GET', `/dead-letters?${wrong}`)).status).toBe(422)
    }
  })

  test('say why and when, and keep secrets to themselves', async () => {
    const [letter] = await bury(secret, ['hush'])
    expect(letter).toMatchObject({
      queue: 'test.secret',
      attempts: 1,
      sealed: true,
      payload: null,
      error: 'Hopeless: nobody home for 4',
    })
    expect(JSON.stringify(letter)).not.toContain('hush')
  })

  test.each([plain, secret])(
    'of $name become jobs again, once, and that is logged',
    async (line) => {
      const [letter] = await bury(line, ['x'])
      broken = false
      const path = `/dead-letters/${letter?.['id']}/retry`
      const both = await Promise.all([ask('POST', path), ask('POST', path)])
      expect(both.map(({ status }) => `${status}`).toSorted()).toEqual(['200', '404'])
      await until(() => seen.length === 1, 'it has run')
      expect(seen).toEqual(['x'])
      expect(await audited(letter?.['id'])).toEqual([
        { action: 'queues.dead_letter_retried', actor_id: admin.id },
      ])
    },
  )

  test('with a key wait until no other with it waits', async () => {
    const [letter] = await bury(plain, ['x'], 'k')
    await server.kernel.db.sql`
      insert into queue_jobs (id, queue, key, payload, due_at, created_at)
      values (${uuidv7()}, 'test.plain', 'k', '{"text":"y"}', now() + interval '1 hour', now())`
    const path = `/dead-letters/${letter?.['id']}/retry`
    expect(await ask('POST', path)).toMatchObject({ status: 409, body: { code: 'conflict' } })
    // Refused, hence still there.
    expect((await ask('GET', '/dead-letters')).body['items'].length).toBe(1)
    expect(await audited(letter?.['id'])).toEqual([])
  })

  test('of a queue that is not here, or whose secrets do not open, stay', async () => {
    const [letter] = await bury(secret, ['x'])
    await server.kernel.db.sql`update dead_letters set payload = 'nonsense'`
    const path = `/dead-letters/${letter?.['id']}/retry`
    expect(await ask('POST', path)).toMatchObject({ status: 409 })
    await server.kernel.db.sql`update dead_letters set queue = 'test.newer'`
    expect(await ask('POST', path)).toMatchObject({ status: 409 })
    const { body } = await ask('GET', '/dead-letters')
    expect(body['items']).toMatchObject([{ queue: 'test.newer', sealed: true, payload: null }])
  })

  test('are discarded for good, and that is logged', async () => {
    const [letter] = await bury(plain, ['x'])
    const path = `/dead-letters/${letter?.['id']}`
    expect((await ask('DELETE', path, ada)).status).toBe(403)
    const both = await Promise.all([ask('DELETE', path), ask('DELETE', path)])
    expect(both.map(({ status }) => `${status}`).toSorted()).toEqual(['200', '404'])
    expect(await audited(letter?.['id'])).toEqual([
      { action: 'queues.dead_letter_discarded', actor_id: admin.id },
    ])
    expect((await ask('DELETE', '/dead-letters/nonsense')).status).toBe(422)
  })
})

test('metrics tell of tries and of punctuality', async () => {
  broken = false
  const who = { actor: null, request: internalRequest('test') }
  await unitOfWork(server.kernel, who, async ({ enqueue }) => {
    await Promise.resolve()
    enqueue(plain, { text: 'm' })
  })
  await until(() => seen.length === 1, 'it has run')
  const render = () => server.kernel.metrics.render()
  await until(
    () => /queue_tries_total\{queue="test.plain",outcome="done"\} \d/.test(render()),
    'done',
  )
  expect(render()).toContain('queue_start_delay_seconds_count{queue="test.plain"}')
  expect(render()).toContain('queue_job_duration_seconds_count{queue="test.plain"}')
})
