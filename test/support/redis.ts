import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort, until } from './wait.ts'

/** Where the machine has one; tests that need it are skipped otherwise, and say so. */
export const redisProgram = Bun.which('redis-server')
if (redisProgram === null) console.log('no redis-server in the path: tests with one are skipped')

/** A Redis of a test's own, which can be taken away and brought back. */
export interface TestRedis {
  readonly url: string
  start(): Promise<void>
  /** Kills it: whatever it held is gone. */
  kill(): Promise<void>
  flushAll(): Promise<void>
  /** Cuts the lines of those who publish, and of those who subscribe if `all`. */
  cutLines(all: boolean): Promise<void>
  /** Kills it and removes its folder. */
  remove(): Promise<void>
}

/** Starts one on a free port of loopback. */
export async function startRedis(): Promise<TestRedis> {
  const program = redisProgram
  if (program === null) throw new Error('there is no redis-server on this machine')
  const folder = mkdtempSync(join(tmpdir(), 'rialto-redis-'))
  const port = freePort()
  let child: Bun.Subprocess | undefined

  const ask = async (word: string, ...rest: string[]) => {
    const client = new Redis({ port, lazyConnect: true, maxRetriesPerRequest: 0 })
    client.on('error', () => undefined)
    try {
      await client.connect()
      return await client.call(word, ...rest)
    } finally {
      client.disconnect()
    }
  }
  const redis: TestRedis = {
    url: `redis://127.0.0.1:${port}`,
    async start() {
      const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', folder]
      child = Bun.spawn([program, ...options], { stdio: ['ignore', 'ignore', 'ignore'] })
      await until(
        () =>
          ask('ping').then(
            () => true,
            () => false,
          ),
        'Redis answers',
      )
    },
    async kill() {
      child?.kill('SIGKILL')
      await child?.exited
      child = undefined
    },
    async flushAll() {
      await ask('flushall')
    },
    async cutLines(all) {
      await ask('client', 'kill', 'type', 'normal')
      if (all) await ask('client', 'kill', 'type', 'pubsub')
    },
    async remove() {
      await redis.kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
  await redis.start()
  return redis
}
