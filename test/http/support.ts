import { CLOSE } from '../../realtime/codes.ts'
import { COMMANDS, Connected } from '../../realtime/commands.ts'
import { createStepUp } from '../../src/auth/factors/step-up.ts'
import { type TestClock, testClock } from '../../src/base/clock.ts'
import { Failure } from '../../src/base/errors.ts'
import type { Config } from '../../src/config.ts'
import type { HttpOptions } from '../../src/http/edge.ts'
import { createHttp } from '../../src/http/index.ts'
import type { Actor, ApiKeyActor } from '../../src/kernel/access.ts'
import { OperationExecutor } from '../../src/kernel/execute.ts'
import { createRegistry, type Feature } from '../../src/kernel/feature.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'
import { createLimiter } from '../../src/kernel/limits.ts'
import { createLogger } from '../../src/observe/log.ts'
import { createMetrics } from '../../src/observe/metrics.ts'
import { observeProcess } from '../../src/observe/process-metrics.ts'
import { sampleFeature } from './sample-feature.ts'

/** What a test may change of the configuration. */
export type ConfigChanges = Partial<
  Pick<Config, 'production' | 'cors' | 'trustedProxies' | 'rateLimits' | 'metricsToken' | 'tls'>
>

export interface TestOptions extends Partial<HttpOptions> {
  config?: ConfigChanges
  features?: readonly Feature[]
  logLevel?: 'debug' | 'info'
}

/** A user whose token is `good`. */
export const ACTOR: Actor = {
  kind: 'user',
  userId: '0198c0de-7a11-7000-8000-000000000001',
  sessionId: '0198c0de-7a11-7000-8000-000000000002',
  roles: ['user'],
  mfa: false,
  expiresAtMs: Number.MAX_SAFE_INTEGER,
}

/** A service whose key is `key`. */
export const SERVICE: ApiKeyActor = {
  kind: 'service',
  keyId: '0198c0de-7a11-7000-8000-00000000000a',
  name: 'a service of the tests',
  scopes: ['users:read'],
}

const CONFIG = {
  production: false,
  publicUrl: 'https://rialto.example',
  cors: { origins: ['https://app.example'], localhostAllowed: false },
  trustedProxies: [],
  rateLimits: { enabled: true, windowMs: 900_000, maxRequests: 100 },
}

function authenticate(token: string): Actor {
  if (token === 'good') return ACTOR
  if (token === 'admin') return { ...ACTOR, roles: ['admin'], mfa: true }
  if (token === 'broken') throw new Error('the verifier has a bug')
  throw new Failure(token === 'old' ? 'token_expired' : 'unauthenticated', 'This token is no good')
}

/** A service whose key is `key`; one whose key is `slow` is known a moment later. */
function authenticateKey(key: string): ApiKeyActor | Promise<ApiKeyActor> {
  if (key === 'key') return SERVICE
  if (key === 'slow') return Promise.resolve(SERVICE)
  if (key === 'broken') throw new Error('the lookup has a bug')
  if (key === 'later') return Promise.reject(new Failure('unavailable', 'No database'))
  throw new Failure('unauthenticated', 'This API key is not valid')
}

/** An HTTP edge over a kernel of fakes: no database, a clock that stands still, a log in memory. */
export function testHttp(options: TestOptions = {}) {
  const clock: TestClock = testClock()
  const lines: string[] = []
  const level = options.logLevel ?? 'info'
  const log = createLogger({ level, clock, write: (line) => lines.push(line) })
  const metrics = createMetrics()
  observeProcess(metrics, clock)
  const kernel = {
    config: { ...CONFIG, ...options.config },
    clock,
    log,
    metrics,
    limiter: createLimiter(clock),
  } as unknown as Kernel
  const http = createHttp({
    kernel,
    registry: createRegistry(options.features ?? [sampleFeature]),
    executor: new OperationExecutor(kernel, { stepUp: createStepUp(), checksOutputs: true }),
    authenticate,
    authenticateKey,
    readiness: async () => ({ database: { ok: true } }),
    version: '1.2.3',
    sockets: { commands: COMMANDS, connected: Connected, close: CLOSE },
    ...options,
  })
  return { http, kernel, clock, metrics, log: () => lines.map((line) => JSON.parse(line)) }
}

/** The same behind a real listener on a free port. Dispose of it. */
export function startHttp(options: TestOptions = {}) {
  const made = testHttp(options)
  const server = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    development: false,
    fetch: made.http.fetch,
    routes: made.http.routes,
  })
  const base = `http://127.0.0.1:${server.port}`
  return {
    ...made,
    base,
    port: server.port as number,
    /** Fetches a path; a `token` becomes the header, an object body becomes JSON. */
    async get(path: string, init: Init = {}) {
      const { token, json, ...rest } = init
      const headers = new Headers(rest.headers)
      if (token !== undefined) headers.set('authorization', `Bearer ${token}`)
      if (json !== undefined) headers.set('content-type', 'application/json')
      return await fetch(base + path, {
        redirect: 'manual',
        ...rest,
        ...(json === undefined
          ? {}
          : { body: JSON.stringify(json), method: rest.method ?? 'POST' }),
        headers,
      })
    },
    async [Symbol.asyncDispose]() {
      await server.stop(true)
    },
  }
}

type Init = RequestInit & { token?: string; json?: unknown }

/**
 * Sends bytes as they are and gives back what comes until the server closes, or until it has been
 * silent for a while.
 */
export async function sendRaw(port: number, data: string | Uint8Array, silentMs = 150) {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let answer = ''
  let timer = setTimeout(resolve, silentMs * 4)
  const socket = await Bun.connect({
    hostname: '127.0.0.1',
    port,
    socket: {
      data(_, chunk) {
        answer += chunk.toString('latin1')
        clearTimeout(timer)
        timer = setTimeout(resolve, silentMs)
      },
      close: () => resolve(),
      error: (_, error) => reject(error),
    },
  })
  socket.write(data)
  await promise
  clearTimeout(timer)
  socket.end()
  return answer
}
