import { join } from 'node:path'
import type { Server as BunServer } from 'bun'
import { type Database, openDatabase } from '../db/client.ts'
import { startEmbeddedPostgres } from '../db/embedded.ts'
import { prepareDatabase } from '../db/roles.ts'
import { createQueues } from '../jobs/enqueue.ts'
import { schedule, type Scheduled } from '../jobs/schedule.ts'
import { scheduling, startScheduler } from '../jobs/scheduler.ts'
import { startWorker } from '../jobs/worker.ts'
import { CLOSE, type GatewayLimits } from '../realtime/codes.ts'
import { COMMANDS, Connected } from '../realtime/commands.ts'
import type { Connection } from '../realtime/connection.ts'
import { type RealtimeCore, startCore } from '../realtime/core.ts'
import { createGateway, type Gateway } from '../realtime/gateway.ts'
import { announcePresence } from '../realtime/presence-announcer.ts'
import type { PresenceTimes } from '../realtime/presence.ts'
import { ApiKeys } from './api-keys/index.ts'
import { createAudit } from './audit/index.ts'
import { Authenticator, createStepUp } from './auth/index.ts'
import { type Clock, systemClock } from './base/clock.ts'
import type { Config } from './config.ts'
import { EVERY_FEATURE } from './config/types.ts'
import { features as allFeatures } from './features.ts'
import { createHttp, type Http } from './http/index.ts'
import { type Executor, OperationExecutor } from './kernel/execute.ts'
import { createRegistry, type Feature, feature, partsOf, type Registry } from './kernel/feature.ts'
import { type Given, type Kernel, serviceTable } from './kernel/kernel.ts'
import { createLimiter, LIMITS, type LimitTable } from './kernel/limits.ts'
import type { StepUp } from './kernel/step-up.ts'
import type { Logger } from './observe/log.ts'
import { createMetrics, type Metrics } from './observe/metrics.ts'
import { observeProcess } from './observe/process-metrics.ts'
import { createVault } from './vault/vault.ts'
import { VERSION } from './version.ts'

/** A running server. */
export interface RunningServer {
  readonly port: number
  readonly kernel: Kernel
  readonly registry: Registry
  readonly stepUp: StepUp
  readonly executor: Executor
  readonly core: RealtimeCore
  /** Drains and stops everything in reverse order of starting. */
  stop(): Promise<void>
}

export interface ServerOptions {
  readonly config: Config
  readonly log: Logger
  readonly clock?: Clock
  /** Default: all that the configuration turns on. */
  readonly features?: readonly Feature[]
  readonly limits?: LimitTable
  readonly gatewayLimits?: Partial<GatewayLimits>
  readonly presence?: Partial<PresenceTimes>
  readonly schedule?: readonly Scheduled[]
  /** Services that are to be other than the product's: for tests. */
  readonly parts?: readonly Given[]
  /** Whether answers are checked against their schemas; by default outside production. */
  readonly checksOutputs?: boolean
}

/** Things to stop, last started first. */
type Stack = { name: string; stop: () => unknown }[]

/** A request for a socket may wait this long for the rest of its answer, in seconds. */
const IDLE_SECONDS = 30
/** The HTTP edge refuses from 1 MiB with a proper answer; far beyond that Bun ends the request. */
const BODY_BYTES_MAX = 8 * 1024 * 1024

/**
 * Starts a server in order: database, streams and bus, features, edges. If one step fails, what
 * has started is stopped again and the error passed on.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const started: Stack = []
  const { log } = options
  const stop = async () => {
    for (const { name, stop: end } of started.splice(0).toReversed()) {
      try {
        await end()
      } catch (error) {
        log.error('did not stop cleanly', { part: name, error })
      }
    }
  }
  try {
    const running = await start(options, started)
    return { ...running, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

async function start(options: ServerOptions, started: Stack): Promise<Omit<RunningServer, 'stop'>> {
  const { config, log, clock = systemClock } = options
  const timetable = options.schedule ?? schedule
  const features = [...(options.features ?? chosenFeatures(config)), scheduling(timetable)]
  const registry = createRegistry(features)
  const { db, url } = await startDatabase(config, clock, log, started)
  const metrics = createMetrics()
  const eventLoop = observeProcess(metrics, clock)
  started.push({ name: 'metrics', stop: () => eventLoop.cancel() })
  const core = await startCore({
    db,
    databaseUrl: url,
    alone: config.database.embedded,
    redisUrl: config.redisUrl,
    clock,
    log,
    metrics,
    registry,
    presence: options.presence,
  })
  started.push({ name: 'streams', stop: () => core.stop() })
  const kernel = createKernel(options, { clock, db, registry, metrics, core })
  const authenticator = kernel.use(Authenticator)
  const audiences = features.flatMap(({ presence }) => presence ?? [])
  core.listen({
    revoked: (ids) => authenticator.applyRevoked(ids),
    presence: (changes) => {
      announcePresence(kernel, audiences, changes).catch((error: unknown) => {
        log.warn('presence not announced', { error })
      })
    },
  })
  for (const { name, start: begin } of features) {
    const end = await begin?.(kernel)
    if (end !== undefined) started.push({ name, stop: end })
  }
  const worker = await startWorker(kernel, { alone: config.database.embedded })
  started.push({ name: 'worker', stop: () => worker.stop() })
  const stepUp = createStepUp()
  const checksOutputs = options.checksOutputs ?? !config.production
  const executor = new OperationExecutor(kernel, { stepUp, checksOutputs })
  observeDatabase(kernel)
  const gateway = createGateway({
    kernel,
    registry,
    core,
    executor,
    authenticator,
    ...(options.gatewayLimits === undefined ? {} : { limits: options.gatewayLimits }),
  })
  const http = createHttp({
    kernel,
    registry,
    executor,
    authenticate: (token) => authenticator.verify(token),
    authenticateKey: (key, request) => kernel.use(ApiKeys).authenticate(key, request),
    readiness: () => readiness(kernel, core),
    version: VERSION,
    sockets: { commands: COMMANDS, connected: Connected, close: CLOSE },
  })
  const server = listen(config, gateway, http)
  core.publishThrough((topic, frame) => void server.publish(topic, frame))
  started.push({
    name: 'edges',
    async stop() {
      await gateway.drain()
      await server.stop(true)
    },
  })
  const scheduler = startScheduler(kernel, timetable)
  started.push({ name: 'scheduler', stop: () => scheduler.stop() })
  return { port: server.port ?? config.port, kernel, registry, stepUp, executor, core }
}

/** What a kernel is made of. */
export interface KernelParts {
  readonly clock: Clock
  readonly db: Database
  readonly registry: Registry
  readonly metrics: Metrics
  /** What reaches the sockets. */
  readonly core: Pick<Kernel, 'streams' | 'announcer' | 'presence'>
}

/** Puts the machine's parts together; for the server, and for tools that work without edges. */
export function createKernel(
  { config, log, limits = LIMITS, parts: more = [] }: ServerOptions,
  parts: KernelParts,
): Kernel {
  const { clock, db, core } = parts
  const vault = createVault(config.masterKeys)
  const kernel: Kernel = {
    config,
    clock,
    log,
    metrics: parts.metrics,
    db,
    limiter: createLimiter(clock, limits),
    streams: core.streams,
    audit: createAudit({ db, clock }),
    queues: createQueues({ clock, vault }),
    vault,
    announcer: core.announcer,
    presence: core.presence,
    use: serviceTable(() => kernel, [...partsOf(parts.registry), ...more]),
  }
  return kernel
}

/** No choice: without these nobody signs in, and nobody knows afterwards who did what. */
const ALWAYS_ON: readonly string[] = ['audit', 'auth']

function chosenFeatures({ features }: Config): readonly Feature[] {
  if (features === EVERY_FEATURE) return allFeatures
  const isOn = (name: string) => ALWAYS_ON.includes(name) || features.includes(name)
  return allFeatures.map((one) => (isOn(one.name) ? one : turnedOff(one)))
}

/**
 * A feature that is off keeps its tables, and so what it owes to whoever is in them: their data is
 * exported and forgotten, no account is closed over money, and secrets follow the master key.
 */
function turnedOff({ name, personalData, sealed }: Feature): Feature {
  return feature({ name, sealed, ...(personalData === undefined ? {} : { personalData }) })
}

async function startDatabase(
  config: Config,
  clock: Clock,
  log: Logger,
  started: Stack,
): Promise<{ db: Database; url: string }> {
  let ownerUrl = config.database.url
  if (ownerUrl === undefined) {
    const embedded = await startEmbeddedPostgres({
      dataDir: join(config.dataDir, 'postgres'),
      log: (message, fields) => log.info(message, fields),
    })
    started.push({ name: 'postgres', stop: () => embedded.stop() })
    ownerUrl = embedded.ownerUrl
  }
  const { serverUrl, singleRole } = config.database
  const { url } = await prepareDatabase({ ownerUrl, serverUrl, singleRole, clock, log })
  const db = openDatabase({ url, clock })
  started.push({ name: 'database', stop: () => db.close() })
  return { db, url }
}

function listen(config: Config, gateway: Gateway, http: Http): BunServer<Connection> {
  return Bun.serve<Connection>({
    hostname: config.host,
    port: config.port,
    idleTimeout: IDLE_SECONDS,
    maxRequestBodySize: BODY_BYTES_MAX,
    development: false,
    ...(config.tls === undefined ? {} : { tls: { cert: config.tls.cert, key: config.tls.key } }),
    // The frequent reads, found by Bun's own router before `fetch` is asked.
    routes: http.routes,
    fetch(request, server) {
      if (gateway.serves(pathOf(request.url))) return gateway.upgrade(request, server)
      return http.fetch(request, server)
    },
    websocket: gateway.websocket,
  })
}

/** The path of an absolute URL, cut by hand: this runs for every request. */
function pathOf(url: string): string {
  const start = url.indexOf('/', url.indexOf('://') + 3)
  const query = url.indexOf('?', start)
  return query < 0 ? url.slice(start) : url.slice(start, query)
}

async function readiness({ db }: Kernel, { broker, instances }: RealtimeCore) {
  const database = await db.sql`select 1`.then(
    () => ({ ok: true }),
    (error: Error) => ({ ok: false, detail: error.message }),
  )
  const others = `${broker.kind}, ${instances.others().size} other instances`
  return { database, broker: { ok: broker.ready(), detail: others } }
}

function observeDatabase({ metrics, db }: Kernel): void {
  metrics.gauge('database_connections', 'Connections by state', ['state'], (gauge) => {
    const { busy, max } = db.pool()
    gauge.labels({ state: 'busy' }).set(busy)
    gauge.labels({ state: 'max' }).set(max)
  })
}
