import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test'
import { startWorker } from '../../jobs/worker.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { budget, chance } from '../support/budget.ts'
import { countEffects, makeEffects } from '../support/effects.ts'
import { testKernel, type TestKernel } from '../support/kernel.ts'
import { labour, labours, LEASE_MS, type Way } from '../support/labour.ts'
import { until } from '../support/wait.ts'

/**
 * Processes that work jobs off are killed, ended by their own jobs, made to stand still. A job
 * whose effect is in its transaction happens exactly once, every other one at least once.
 */

const KILLS = budget(4, 200)
const CONTROL_KILLS = budget(3, 20)
const STOPS = budget(3, 20)
/** Jobs of each kind for a round. */
const JOBS = 60
const luck = chance('queue kill')

const folder = mkdtempSync(join(tmpdir(), 'rialto-queue-'))
const { inside, outside, fragile } = labours()
let world: TestKernel
beforeAll(async () => {
  world = await testKernel({ features: [labour()] })
  await makeEffects(world.database)
})
afterEach(async () => {
  for (const table of ['queue_jobs', 'dead_letters', 'queue_workers', 'effects']) {
    await world.kernel.db.sql.unsafe(`delete from ${table}`)
  }
})
afterAll(async () => {
  await world.close()
  rmSync(folder, { recursive: true, force: true })
})

/** A process that works. */
class Labourer {
  readonly said: Record<string, unknown>[] = []
  private constructor(readonly child: Bun.Subprocess<'ignore', 'pipe', 'inherit'>) {
    void this.#listen()
  }

  static async start(way: Way = 'worker'): Promise<Labourer> {
    const script = join(import.meta.dir, '..', 'support', 'queue-process.ts')
    const { url } = world.database
    const child = Bun.spawn([process.execPath, '--no-env-file', script, url, way], {
      // What a killed process leaves behind.
      env: { ...process.env, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const labourer = new Labourer(child)
    await until(() => labourer.said.length > 0 || child.exitCode !== null, 'it works', 30_000)
    return labourer
  }

  async #listen(): Promise<void> {
    let rest = ''
    for await (const bytes of this.child.stdout) {
      const lines = (rest + new TextDecoder().decode(bytes)).split('\n')
      rest = lines.pop() ?? ''
      this.said.push(...lines.map((line) => JSON.parse(line)))
    }
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL')
    await this.child.exited
  }
}

async function enqueue(
  line: typeof inside,
  works: readonly { text: string; ms: number; tell?: boolean; fatal?: boolean }[],
): Promise<void> {
  await unitOfWork(world.kernel, { actor: null, request: internalRequest('test') }, async (ctx) => {
    await Promise.resolve()
    for (const work of works) ctx.enqueue(line, work)
  })
}
const some = (name: string, count: number) =>
  Array.from({ length: count }, (_, n) => ({ text: `${name}-${n}`, ms: luck.below(6) }))

const jobs = async () => {
  const [row] = await world.kernel.db.sql`select count(*)::int as jobs from queue_jobs`
  return row.jobs as number
}
/** Works off what is left, with a worker of this process. */
async function finish(timeoutMs: number): Promise<void> {
  const worker = await startWorker(world.kernel, { leaseMs: LEASE_MS })
  await until(async () => (await jobs()) === 0, 'all done', timeoutMs).finally(worker.stop)
}
const times = async (text: string) => (await countEffects(world.kernel.db.sql)).get(text) ?? 0

describe('a process that works', () => {
  test('and is killed at any moment repeats no effect inside, and loses none at all', async () => {
    for (let n = 0; n < KILLS; n++) {
      await enqueue(inside, some(`in-${n}`, JOBS))
      await enqueue(outside, some(`out-${n}`, JOBS))
      const labourer = await Labourer.start()
      await Bun.sleep(luck.below(80))
      await labourer.kill()
    }
    await finish(60_000 + KILLS * 1_000)
    const effects = await countEffects(world.kernel.db.sql)
    const counts = (name: string) =>
      [...effects].filter(([text]) => text.startsWith(name)).map(([, count]) => count)
    expect(counts('in').length).toBe(KILLS * JOBS)
    expect(counts('in').filter((count) => count !== 1)).toEqual([])
    expect(counts('out').length).toBe(KILLS * JOBS)
    const [row] = await world.kernel.db.sql`select count(*)::int as dead from dead_letters`
    expect(row.dead).toBe(0)
  }, 1_800_000)

  /** What becomes of the same jobs, worked off in an order that looks right. */
  const control = async (way: Way) => {
    for (let n = 0; n < CONTROL_KILLS; n++) {
      await enqueue(
        inside,
        some(`in-${n}`, JOBS).map((work) => ({ ...work, ms: 10 })),
      )
      const before = await jobs()
      const labourer = await Labourer.start(way)
      await until(async () => (await jobs()) <= before - 12, 'it is in the middle of it')
      await Bun.sleep(luck.below(20))
      await labourer.kill()
    }
    const last = await Labourer.start(way)
    await until(async () => (await jobs()) === 0, 'nothing is left', 60_000)
    await Bun.sleep(200)
    await last.kill()
    const effects = [...(await countEffects(world.kernel.db.sql)).values()]
    return {
      lost: CONTROL_KILLS * JOBS - effects.length,
      repeated: effects.filter((count) => count > 1).length,
    }
  }
  test('the controls: done before the effect loses, the effect before done repeats', async () => {
    expect((await control('done-first')).lost).toBeGreaterThan(0)
    await world.kernel.db.sql`delete from effects`
    expect((await control('effect-first')).repeated).toBeGreaterThan(0)
  }, 300_000)

  test('and is ended by one of its jobs is ended a few times only, by that one alone', async () => {
    await enqueue(fragile, [{ text: 'poison', ms: 500, fatal: true }])
    await enqueue(
      fragile,
      some('innocent', 8).map((work) => ({ ...work, ms: 600 })),
    )
    let deaths = 0
    while ((await jobs()) > 0) {
      const labourer = await Labourer.start()
      const over = until(async () => (await jobs()) === 0, 'all done', 20_000)
      await Promise.race([labourer.child.exited, over])
      over.catch(() => undefined)
      if (labourer.child.signalCode === 'SIGKILL') deaths++
      else await labourer.kill()
    }
    expect(deaths).toBe(fragile.triesMax)
    const dead = await world.kernel.db.sql`
      select convert_from(payload, 'UTF8')::json->>'text' as text, attempts from dead_letters`
    // Without isolation, those that ran beside it at first would have died with it each time.
    expect([...dead]).toEqual([{ text: 'poison', attempts: 3 }])
    expect((await countEffects(world.kernel.db.sql)).size).toBe(8)
  }, 60_000)
})

describe('a process that stands still for longer than its lease', () => {
  test('keeps a job whose transaction is open, and ends it afterwards', async () => {
    const labourer = await Labourer.start()
    await enqueue(inside, [{ text: 'held', ms: 300, tell: true }])
    await until(() => labourer.said.some(({ begun }) => begun === 'held'), 'it runs')
    labourer.child.kill('SIGSTOP')
    const worker = await startWorker(world.kernel, { leaseMs: LEASE_MS })
    await Bun.sleep(4 * LEASE_MS)
    expect(worker.running()).toBe(0)
    labourer.child.kill('SIGCONT')
    await until(async () => (await jobs()) === 0, 'it is done')
    await worker.stop()
    await labourer.kill()
    expect(await times('held')).toBe(1)
  })

  test('loses a job with an effect outside, which then happens twice', async () => {
    const labourer = await Labourer.start()
    await enqueue(outside, [{ text: 'lost', ms: 300, tell: true }])
    await until(() => labourer.said.some(({ begun }) => begun === 'lost'), 'it runs')
    labourer.child.kill('SIGSTOP')
    await finish(10_000)
    expect(await times('lost')).toBe(1)
    labourer.child.kill('SIGCONT')
    await until(async () => (await times('lost')) === 2, 'the first comes to its end as well')
    await labourer.kill()
  })

  test('again and again completes nothing twice', async () => {
    const labourer = await Labourer.start()
    const worker = await startWorker(world.kernel, { leaseMs: LEASE_MS })
    for (let n = 0; n < STOPS; n++) {
      await enqueue(inside, some(`stop-${n}`, JOBS))
      await Bun.sleep(luck.below(30))
      labourer.child.kill('SIGSTOP')
      await Bun.sleep(2 * LEASE_MS)
      labourer.child.kill('SIGCONT')
    }
    await until(async () => (await jobs()) === 0, 'all done', 60_000)
    await worker.stop()
    await labourer.kill()
    const effects = [...(await countEffects(world.kernel.db.sql)).values()]
    expect(effects.length).toBe(STOPS * JOBS)
    expect(effects.filter((count) => count !== 1)).toEqual([])
  }, 120_000)
})
