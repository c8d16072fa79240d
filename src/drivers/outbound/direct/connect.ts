import { connect as connectPlain, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Clock } from '../../../base/clock.ts'
import { Trouble } from './trouble.ts'

/** Where to, by whose name. */
export interface Target {
  /** The very address that was checked. */
  readonly address: string
  readonly port: number
  /** The name that the certificate must have; undefined for plain TCP. */
  readonly certified: string | undefined
  /** Trusted beside the authorities that every program trusts; PEM. */
  readonly ca: string | undefined
}

/** One address may take this long to be reached, so that there is time for the next. */
const CONNECT_MS_MAX = 5_000

/**
 * Opens a connection to an address. No name is looked up here, so that nobody can answer
 * differently the second time.
 * @throws Trouble `unreachable` | `tls`; the reason of `signal`
 */
export async function connect(clock: Clock, target: Target, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const { certified } = target
  let reached = false
  const socket = certified === undefined ? plain(target) : encrypted(target, certified)
  const late = clock.setTimeout(() => {
    reject(new Trouble(reached ? 'tls' : 'unreachable', 'No connection in time'))
  }, CONNECT_MS_MAX)
  const onAbort = () => reject(signal.reason as Error)
  signal.addEventListener('abort', onAbort, { once: true })
  socket.once('connect', () => (reached = true))
  socket.once(certified === undefined ? 'connect' : 'secureConnect', () => resolve(socket))
  socket.on('error', (error) => reject(troubleOf(error, reached)))
  socket.once('close', () => reject(new Trouble('unreachable', 'The connection was closed')))
  try {
    return await promise
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    late.cancel()
    signal.removeEventListener('abort', onAbort)
  }
}

function plain({ address, port }: Target): Socket {
  return connectPlain({ host: address, port })
}

function encrypted({ address, port, ca }: Target, certified: string): Socket {
  return connectTls({
    host: address,
    port,
    // An address is no server name (RFC 6066, 3); the certificate is then held against the host.
    ...(isIP(certified) === 0 ? { servername: certified } : {}),
    ALPNProtocols: ['http/1.1'],
    minVersion: 'TLSv1.2',
    ...(ca === undefined ? {} : { ca }),
    rejectUnauthorized: true,
  })
}

function troubleOf(error: Error, reached: boolean): Trouble {
  const { code = '' } = error as NodeJS.ErrnoException
  const tls = reached || /CERT|TLS|SSL|SELF_SIGNED|ALTNAME|UNABLE_TO/.test(code)
  return new Trouble(tls ? 'tls' : 'unreachable', tls ? error.message : `No connection (${code})`)
}
