import { BlockList, isIP, isIPv6 } from 'node:net'

/** The proxies whose `X-Forwarded-*` headers count, compiled once. */
export interface TrustedProxies {
  /** True when nobody is trusted: then no header is looked at. */
  readonly none: boolean
  /** Whether this address is one of theirs. */
  has(address: string): boolean
}

/** Longest chain of proxies that is looked at; a longer header is somebody playing. */
const HOPS_MAX = 32

/**
 * Compiles addresses and CIDR networks, of either family; the result says whether an address, in
 * its canonical spelling, is in one of them.
 *
 * @throws Error for what is neither; configuration has checked them before
 */
export function networkList(networks: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const network of networks) {
    const [text = '', prefix] = network.split('/')
    const mapped = isIPv6(text) && !isIPv6(canonicalAddress(text) ?? '')
    const address = canonicalAddress(text)
    if (address === undefined) throw new Error(`not an address or network: ${network}`)
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (prefix === undefined) list.addAddress(address, family)
    // `::ffff:10.0.0.0/104` is 10.0.0.0/8.
    else list.addSubnet(address, Math.max(0, Number(prefix) - (mapped ? 96 : 0)), family)
  }
  return (address) => list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')
}

/** Compiles the addresses and networks of proxies. @throws as `networkList` */
export function trustedProxies(networks: readonly string[]): TrustedProxies {
  return { none: networks.length === 0, has: networkList(networks) }
}

/**
 * The one spelling of an IP address: IPv6 shortened as in RFC 5952, IPv4-mapped IPv6 as IPv4,
 * without a zone. Undefined for what is no address.
 */
export function canonicalAddress(text: string): string | undefined {
  const family = isIP(text)
  if (family === 0) return undefined
  if (family === 4) return text
  const zone = text.indexOf('%')
  const plain = zone === -1 ? text : text.slice(0, zone)
  const short = new URL(`http://[${plain}]/`).hostname.slice(1, -1)
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short)
  if (mapped === null) return short
  const high = Number.parseInt(mapped[1] as string, 16)
  const low = Number.parseInt(mapped[2] as string, 16)
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
}

/**
 * The client's network address. `X-Forwarded-For` is read from the right and only while the
 * address before it is a trusted proxy, so that what a client forges changes nothing. The header
 * `Forwarded` is not read: a proxy that writes one of the two passes the other on unseen.
 *
 * @param socketAddress the other end of the connection
 */
export function clientAddress(
  request: Request,
  socketAddress: string,
  trusted: TrustedProxies,
): string {
  const socket = socketAddress.includes(':')
    ? (canonicalAddress(socketAddress) ?? socketAddress)
    : socketAddress
  if (trusted.none || !trusted.has(socket)) return socket
  const hops = request.headers.get('x-forwarded-for')?.split(',') ?? []
  let address = socket
  for (let i = hops.length - 1; i >= Math.max(0, hops.length - HOPS_MAX); i--) {
    const hop = canonicalAddress(withoutPort((hops[i] as string).trim()))
    if (hop === undefined) break
    address = hop
    if (!trusted.has(hop)) break
  }
  return address
}

/** Some proxies write `1.2.3.4:5678` or `[::1]:5678`. */
function withoutPort(hop: string): string {
  const match = /^\[([^\]]+)\](?::\d+)?$|^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(hop)
  return match?.[1] ?? match?.[2] ?? hop
}

/**
 * Whether the client's side of the connection was encrypted: this server's own TLS, or a trusted
 * proxy that says `https` (its own word is the last one of `X-Forwarded-Proto`).
 */
export function arrivedByTls(
  request: Request,
  socketAddress: string,
  trusted: TrustedProxies,
): boolean {
  if (request.url.startsWith('https:')) return true
  if (trusted.none || !trusted.has(canonicalAddress(socketAddress) ?? socketAddress)) return false
  const said = request.headers.get('x-forwarded-proto')
  return said?.split(',').at(-1)?.trim().toLowerCase() === 'https'
}

/** The machine itself. */
export function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.')
}

/**
 * What a limit per address counts: an IPv6 customer owns a /64 at least and could use a new
 * address for every request (RFC 6177).
 */
export function addressGroup(address: string): string {
  if (!address.includes(':')) return address
  const [head = '', tail = ''] = address.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === '' ? [] : tail.split(':')
  const zeros = address.includes('::') ? 8 - left.length - right.length : 0
  return [...left, ...Array<string>(zeros).fill('0'), ...right].slice(0, 4).join(':')
}
