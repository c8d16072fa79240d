import { mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { systemClock, testClock } from '../../src/base/clock.ts'
import { createLogger, type LogFields, type LogLevel } from '../../src/observe/log.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rialto-log-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** A logger whose entries can be read back. */
function recording(level: LogLevel = 'info', options: { dir?: string; base?: LogFields } = {}) {
  const lines: string[] = []
  const clock = testClock(Date.UTC(2026, 0, 2, 3, 4, 5, 678))
  const log = createLogger({ level, clock, write: (line) => lines.push(line), ...options })
  const entries = () => lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  return { log, clock, lines, entries }
}

const entriesOf = (path: string) =>
  readFileSync(path, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>)

describe('entries', () => {
  test('are one line of JSON with time, level, message and fields', () => {
    const { log, lines } = recording('info', { base: { instance: 'a' } })
    log.info('two\nlines', { request_id: 'r1', ms: 1.5, none: undefined })
    expect(lines).toEqual([
      '{"time":"2026-01-02T03:04:05.678Z","level":"info","message":"two\\nlines",' +
        '"instance":"a","request_id":"r1","ms":1.5}\n',
    ])
  })

  test('below the level are not written', () => {
    const { log, entries } = recording('warn')
    log.debug('no')
    log.info('no')
    log.warn('yes')
    log.fatal('yes')
    expect(entries().map((entry) => entry.level)).toEqual(['warn', 'fatal'])
    expect([log.enabled('info'), log.enabled('error')]).toEqual([false, true])
  })

  test('of a child carry its fields; a nearer field replaces a farther one, once', () => {
    const { log, lines, entries } = recording('info', { base: { a: 0, b: 0 } })
    log.child({ b: 1, c: 1 }).info('x', { c: 2 })
    expect(entries()[0]).toMatchObject({ a: 0, b: 1, c: 2 })
    expect(lines[0]!.match(/"[bc]":/g)).toHaveLength(2)
  })

  test('cannot forge time, level or message, and lose secrets everywhere', () => {
    const { log, entries } = recording()
    const fields = { level: 'fatal', time: 0, url: '/ws?token=canary-1', password: 'canary-2' }
    log.child({ token: 'canary-3' }).info('Bearer canary-4-abcdefgh', fields)
    expect(entries()[0]).toMatchObject({ level: 'info', level_: 'fatal', time_: 0 })
    expect(JSON.stringify(entries())).not.toContain('canary')
  })

  test('survive what cannot be read', () => {
    const { log, entries } = recording()
    const hostile = {
      get boom(): string {
        throw new RangeError('no')
      },
    }
    log.info('x', { hostile, after: 1 })
    expect(entries()[0]).toMatchObject({ hostile: '[unreadable: RangeError]', after: 1 })
  })
})

describe('LOG_DIR', () => {
  test('has everything in combined.log and errors in error.log, appended', async () => {
    const dir = join(folder, 'made', 'here')
    for (const run of [1, 2]) {
      const { log } = recording('info', { dir })
      log.info('ordinary', { run })
      log.error('broken', { run })
      await log.flush()
    }
    const messages = entriesOf(join(dir, 'combined.log')).map(({ message, run }) => [message, run])
    expect(messages).toEqual([
      ['ordinary', 1],
      ['broken', 1],
      ['ordinary', 2],
      ['broken', 2],
    ])
    expect(entriesOf(join(dir, 'error.log'))).toHaveLength(2)
  })

  test('waits for a batch, which time or size completes', async () => {
    const { log, clock } = recording('info', { dir: folder })
    const path = join(folder, 'combined.log')
    const written = () => Bun.file(path).exists()
    log.info('x')
    await Bun.sleep(10)
    expect(await written()).toBe(false)
    clock.advance(100)
    await log.flush()
    expect(entriesOf(path)).toHaveLength(1)
    for (let i = 0; i < 2_000; i++) log.info('x'.repeat(50))
    while (entriesOf(path).length === 1) await Bun.sleep(1)
  })

  test('follows rotation: a file moved away or removed is opened anew', async () => {
    const { log } = recording('info', { dir: folder })
    const path = join(folder, 'combined.log')
    log.info('first')
    await log.flush()
    renameSync(path, `${path}.1`)
    log.info('second')
    await log.flush()
    rmSync(path)
    log.info('third')
    await log.flush()
    expect(entriesOf(`${path}.1`)[0]).toMatchObject({ message: 'first' })
    expect(entriesOf(path).map((entry) => entry.message)).toEqual(['third'])
  })

  test('that cannot be used is reported once; what fits in memory is written later', async () => {
    const dir = join(folder, 'file')
    writeFileSync(dir, '')
    const { log, clock, entries } = recording('info', { dir })
    for (let i = 0; i < 5; i++) {
      log.info('kept', { i })
      await log.flush()
      clock.advance(100)
    }
    const failures = entries().filter((entry) => entry.message === 'log cannot be written')
    expect(failures.map((entry) => entry.reason)).toEqual(['ENOTDIR', 'ENOTDIR'])
    rmSync(dir)
    recording('info', { dir })
    await log.flush()
    const kept = entriesOf(join(dir, 'combined.log')).filter((entry) => entry.message === 'kept')
    expect(kept.map((entry) => entry.i)).toEqual([0, 1, 2, 3, 4])
  })

  test.skipIf(process.platform !== 'linux')(
    'on a full disk loses lines beyond the limit, counts them, and recovers',
    async () => {
      const path = join(folder, 'combined.log')
      symlinkSync('/dev/full', path)
      const { log, entries } = recording('info', { dir: folder })
      for (let i = 0; i < 100; i++) log.info('x'.repeat(8_000), { i, more: ['x'.repeat(8_000)] })
      await log.flush()
      for (let i = 0; i < 600; i++) log.info('x'.repeat(8_000), { i, more: ['x'.repeat(8_000)] })
      await log.flush()
      expect(entries().find((entry) => entry.reason === 'ENOSPC')).toBeDefined()
      rmSync(path)
      log.info('free again')
      await log.flush()
      await log.flush()
      const report = entriesOf(path).find((entry) => entry.message === 'log is written again')
      expect(report?.dropped).toBeGreaterThan(100)
      expect(report?.dropped).toBeLessThan(300)
    },
  )
})

describe('standard output', () => {
  const modules = ['base/clock', 'observe/log'].map((name) =>
    JSON.stringify(new URL(`../../src/${name}.ts`, import.meta.url).pathname),
  )
  const program = (body: string) =>
    `import { systemClock as clock } from ${modules[0]!}
    import { createLogger } from ${modules[1]!}
    const log = createLogger({ level: 'info', clock })
    ${body}`

  test.each([
    ['returns', ''],
    ['exits', 'process.exit(0)'],
    ['throws', "throw new Error('crash')"],
    ['is fatal and killed', "log.fatal('end'); process.kill(process.pid, 'SIGKILL')"],
  ])('has every line when the process %s', async (_, end) => {
    const body = `for (let i = 0; i < 1_000; i++) log.info('line', { i })\n${end}`
    const child = Bun.spawn([process.execPath, '-e', program(body)], { stderr: 'ignore' })
    const lines = (await child.stdout.text()).trimEnd().split('\n')
    const indexes = lines.map((line) => (JSON.parse(line) as { i?: number }).i)
    expect(indexes.slice(0, 1_000)).toEqual(Array.from({ length: 1_000 }, (_, i) => i))
  })

  test('that nobody reads does not hold up the process', async () => {
    const body = `
      const text = 'x'.repeat(1_000)
      for (let i = 0; i < 1_000; i++) log.info(text)
      let longest = 0, last = performance.now()
      for (let i = 0; i < 40; i++) {
        await new Promise((resolve) => setTimeout(resolve, 5))
        longest = Math.max(longest, performance.now() - last)
        last = performance.now()
        log.info(text)
      }
      require('fs').writeSync(2, 'longest ' + longest + ' ms')
      process.kill(process.pid, 'SIGKILL')`
    const command = [process.execPath, '-e', program(body)]
    const child = Bun.spawn(['sh', '-c', '"$@" | sleep 0.6', 'sh', ...command], {
      stdout: 'ignore',
      stderr: 'pipe',
    })
    const longestMs = Number(/longest (\S+)/.exec(await child.stderr.text())?.[1])
    expect(longestMs).toBeLessThan(300)
  })
})

test('the system clock writes batches by itself', async () => {
  const log = createLogger({ level: 'info', clock: systemClock, dir: folder, write: () => {} })
  log.info('x')
  const path = join(folder, 'combined.log')
  while (!(await Bun.file(path).exists()) || Bun.file(path).size === 0) await Bun.sleep(5)
  expect(entriesOf(path)).toHaveLength(1)
})
