import type { Server, WebSocketHandler } from 'bun'
import type { Authenticator } from '../src/auth/index.ts'
import { ERRORS, Failure } from '../src/base/errors.ts'
import { uuidv7 } from '../src/base/ids.ts'
import type { Actor } from '../src/kernel/access.ts'
import type { Executor } from '../src/kernel/execute.ts'
import type { Registry } from '../src/kernel/feature.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { clientAddress, trustedProxies } from '../src/net/address.ts'
import { originAllowed } from '../src/net/origins.ts'
import { CLOSE, type CloseName, GATEWAY_LIMITS, type GatewayLimits } from './codes.ts'
import { createCommandHandlers, personal } from './command-handlers.ts'
import { Connection, type Socket } from './connection.ts'
import type { RealtimeCore } from './core.ts'
import { serverFrame } from './dialects/native.ts'
import { createFrameHandler } from './frames.ts'
import type { Subscribed } from './hub.ts'
import { type Credentials, credentialsOf, PROTOCOL } from './upgrade.ts'

/** The sockets of an instance. */
export interface Gateway {
  /** Whether a path belongs to the sockets. */
  serves(path: string): boolean
  /** Upgrades a request, or answers why not; undefined when it has become a socket. */
  upgrade(
    request: Request,
    server: Server<Connection>,
  ): Response | undefined | Promise<Response | undefined>
  readonly websocket: WebSocketHandler<Connection>
  /** Refuses what is new, lets what runs finish, then closes every socket with 1001. */
  drain(): Promise<void>
}

const PATHS = new Set(['/ws', '/ws/chat'])
/** Expired tokens and revoked sessions are looked for this often: closed within a second. */
const SWEEP_MS = 500
/** How long running calls may take once the server is going away. */
const DRAIN_MS_MAX = 5_000

export interface GatewayParts {
  readonly kernel: Kernel
  readonly registry: Registry
  readonly core: RealtimeCore
  readonly executor: Executor
  readonly authenticator: Authenticator
  readonly limits?: Partial<GatewayLimits>
}

/** Makes the gateway; sockets come when Bun's server hands them over. */
export function createGateway(parts: GatewayParts): Gateway {
  const { kernel, registry, core, executor, authenticator } = parts
  const { clock, log, metrics, presence } = kernel
  const limits: GatewayLimits = { ...GATEWAY_LIMITS, ...parts.limits }
  const strangers = new Set<Connection>()
  const revoked = new Set<string>()
  const proxies = trustedProxies(kernel.config.trustedProxies)
  let draining = false

  const closed = metrics.counter('socket_closed_total', 'Closed sockets by close code', ['code'])
  const opened = metrics.counter('socket_opened_total', 'Sockets that have said who they are')
  const openedHandle = opened.labels()
  observeSockets(kernel, core)

  const commands = createCommandHandlers({
    kernel,
    channels: registry.channels,
    hub: core.hub,
    recovery: core.recovery,
    limits,
    authenticator,
    begin: (connection, actor) => begin(connection, actor),
  })
  const frames = createFrameHandler({
    kernel,
    executor,
    commands,
    operations: registry.operations,
    limits,
    draining: () => draining,
  })

  /** The connection is somebody's: personal channel, presence, then the `connected` frame. */
  const begin = (connection: Connection, actor: Actor) => {
    strangers.delete(connection)
    // It may have been revoked between the look at its token and this moment.
    if (authenticator.isRevoked(actor.sessionId)) return connection.close('session_revoked')
    if (presence.connections(actor.userId) >= limits.connectionsPerUserMax) {
      return connection.close('too_many_connections')
    }
    // Until `connected` is out, everything else waits.
    connection.held = []
    core.sockets.add(connection)
    core.presence.connected(actor.userId)
    openedHandle.inc()
    const channel = personal(connection)
    connection.subscriptions.add(channel)
    const greet = ({ epoch, offset }: Subscribed) => {
      // Closed meanwhile: the hub must not keep it.
      if (connection.closedAs !== undefined) return core.hub.detach(connection, channel)
      connection.release(
        serverFrame('connected', {
          connection_id: connection.id,
          user_id: actor.userId,
          session_id: actor.sessionId,
          server_time: clock.iso(),
          heartbeat_ms: limits.heartbeatMs,
          subscriptions: [{ channel, epoch, offset }],
        }),
      )
      frames.pump(connection)
    }
    try {
      const attached = core.hub.attach(connection, channel, undefined, greet)
      attached?.catch((error: unknown) => failOpening(connection, error))
    } catch (error) {
      failOpening(connection, error)
    }
  }
  const failOpening = (connection: Connection, error: unknown) => {
    log.warn('socket not opened', { connection_id: connection.id, error })
    connection.close('overloaded')
  }

  const sweep = () => {
    const nowMs = clock.now()
    for (const connection of core.sockets.all()) {
      const { actor } = connection
      // What a topic brings is not seen from here; a queue does not fill within one sweep.
      connection.behind = (connection.socket?.getBufferedAmount() ?? 0) > 0
      if (actor === undefined) continue
      if (revoked.has(actor.sessionId)) connection.close('session_revoked')
      else if (actor.expiresAtMs <= nowMs) connection.close('unauthenticated')
    }
    revoked.clear()
  }
  const sweeper = clock.setInterval(sweep, SWEEP_MS)
  const stopListening = authenticator.onRevoked((sessionIds) => {
    if (revoked.size === 0) clock.setTimeout(sweep, 0)
    for (const id of sessionIds) revoked.add(id)
  })

  const open = (socket: Socket) => {
    const connection = socket.data
    connection.socket = socket
    if (draining) return connection.close('going_away')
    if (connection.actor !== undefined) return begin(connection, connection.actor)
    strangers.add(connection)
    clock.setTimeout(() => {
      if (connection.actor === undefined) connection.close('unauthenticated')
    }, limits.authenticateMs)
  }

  const close = (socket: Socket, code: number, reason: string) => {
    const connection = socket.data
    const cause = causeOf(connection, code, reason)
    closed.labels({ code: String(cause.code) }).inc()
    log.debug('socket closed', { connection_id: connection.id, code, reason: cause.reason })
    strangers.delete(connection)
    connection.closedAs ??= 'going_away'
    connection.socket = undefined
    connection.waiting = undefined
    for (const channel of connection.subscriptions) core.hub.detach(connection, channel)
    connection.subscriptions.clear()
    if (!isMember(core, connection)) return
    core.sockets.remove(connection)
    if (connection.actor !== undefined) core.presence.disconnected(connection.actor.userId)
  }

  const accept = (
    request: Request,
    server: Server<Connection>,
    who: Credentials,
    actor?: Actor,
  ) => {
    const forwarded = proxies.none
      ? undefined
      : clientAddress(request, server.requestIP(request)?.address ?? '', proxies)
    const data = new Connection(uuidv7(), forwarded, actor)
    const upgraded = server.upgrade(request, {
      data,
      ...(who.protocol ? { headers: { 'Sec-WebSocket-Protocol': PROTOCOL } } : {}),
    })
    if (upgraded) return undefined
    return refusal(new Failure('bad_request', 'This address speaks WebSocket'), 426)
  }

  return {
    serves: (path) => PATHS.has(path),
    upgrade(request, server) {
      if (draining) return refusal(new Failure('unavailable', 'The server is going away'))
      if (core.sockets.size() >= limits.connectionsMax) {
        return refusal(new Failure('overloaded', 'Too many connections'))
      }
      if (!pageAllowed(kernel.config, request.headers.get('origin'))) {
        return refusal(new Failure('forbidden', 'This origin may not connect'))
      }
      try {
        const who = credentialsOf(request)
        if (who.token !== undefined) {
          return accept(request, server, who, authenticator.verify(who.token))
        }
        if (who.ticket !== undefined) {
          return authenticator
            .redeemTicket(who.ticket)
            .then((actor) => accept(request, server, who, actor), refusalOf)
        }
        if (strangers.size >= limits.unauthenticatedMax) {
          return refusal(new Failure('overloaded', 'Too many unauthenticated connections'))
        }
        return accept(request, server, who)
      } catch (error) {
        return refusalOf(error)
      }
    },
    websocket: {
      perMessageDeflate: false,
      maxPayloadLength: limits.frameBytesMax,
      backpressureLimit: limits.outgoingBytesMax,
      // Without this a reader that does not read silently loses frames.
      closeOnBackpressureLimit: true,
      // Bun sends the ping by itself, so that an answered one keeps the socket alive.
      sendPings: true,
      idleTimeout: idleSeconds(limits),
      open,
      close,
      message(socket, message) {
        if (typeof message === 'string') frames.onText(socket.data, message)
        else socket.data.close('bad_frame')
      },
    },
    async drain() {
      draining = true
      sweeper.cancel()
      stopListening()
      await Promise.race([executor.idle(), clock.sleep(DRAIN_MS_MAX)])
      for (const connection of [...core.sockets.all(), ...strangers]) connection.close('going_away')
    },
  }
}

/**
 * Whether a browser's page may open a socket. A request without an `Origin` comes from no browser
 * (native apps, services): it needs a token all the same.
 */
function pageAllowed({ cors, publicUrl }: Kernel['config'], origin: string | null): boolean {
  return origin === null || originAllowed(cors, origin) || origin === new URL(publicUrl).origin
}

function observeSockets({ metrics }: Kernel, { sockets, hub, presence }: RealtimeCore): void {
  metrics.gauge('socket_connections', 'Open sockets of this instance', [], (gauge) =>
    gauge.labels().set(sockets.size()),
  )
  metrics.gauge('socket_channels', 'Streams with subscribers on this instance', [], (gauge) =>
    gauge.labels().set(hub.channels()),
  )
  metrics.gauge('stream_held_back', 'Events waiting for their predecessors', [], (gauge) =>
    gauge.labels().set(hub.heldBack()),
  )
  metrics.gauge('presence_users', 'Users online, over all instances', [], (gauge) =>
    gauge.labels().set(presence.onlineCount()),
  )
}

/**
 * After how much silence a socket is dead. Bun looks every four seconds and rounds up, once until
 * its ping and once after it; from a multiple of four nothing is added.
 */
function idleSeconds({ heartbeatMs, deadAfterMs }: GatewayLimits): number {
  return Math.max(8, 4 * Math.floor((heartbeatMs + deadAfterMs) / 4_000))
}

function isMember(core: RealtimeCore, connection: Connection): boolean {
  const userId = connection.actor?.userId
  return userId !== undefined && core.sockets.of(userId).includes(connection)
}

/** The reason that Bun gives for a socket that did not answer its ping. */
const TIMED_OUT = 'WebSocket timed out from inactivity'

/** Why a socket closed: what we said ourselves, or what can be told of a line that was cut. */
function causeOf(connection: Connection, code: number, reason: string) {
  if (connection.closedAs !== undefined) return CLOSE[connection.closedAs]
  // The other side sees no close frame in these cases; only here is the reason known.
  if (reason === TIMED_OUT) return CLOSE.stale
  if (code === 1006 && connection.behind) return CLOSE.slow_consumer
  const known = Object.keys(CLOSE) as CloseName[]
  const name = known.find((key) => CLOSE[key].code === code)
  return name === undefined ? { code, reason: 'closed by the client' } : CLOSE[name]
}

function refusalOf(error: unknown): Response {
  if (error instanceof Failure) return refusal(error)
  throw error
}

/** A refused upgrade is an ordinary answer, before there is a socket. */
function refusal(failure: Failure, status: number = failure.status): Response {
  const { code, message } = failure
  const headers: Record<string, string> = { 'Content-Type': 'application/problem+json' }
  if (status === 426) headers['Upgrade'] = 'websocket'
  if (status === 503) headers['Retry-After'] = '1'
  if (status === 401) headers['WWW-Authenticate'] = 'Bearer'
  const problem = { type: `urn:rialto:problem:${code}`, title: ERRORS[code].title, status, code }
  return new Response(JSON.stringify({ ...problem, detail: message }), { status, headers })
}
