import { isIPv4 } from 'node:net'
import { canonicalAddress, networkList } from '../../net/address.ts'

/** Which addresses may be sent to. Pure: looks up no names. */
export interface Networks {
  /** Why not this URL, before its name is looked up. */
  refusal(url: URL): string | undefined
  /** Whether this address may be connected to, for a URL with this scheme (`https:`). */
  permits(address: string, scheme: string): boolean
}

/**
 * Not the public internet (IANA IPv4 Special-Purpose Address Registry, RFC 6890), and
 * 168.63.129.16, behind which a cloud answers its machines although the address is public.
 */
const CLOSED_IPV4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '168.63.129.16/32',
]
/** What is given out as global unicast (RFC 4291, 2.4); everything else is closed. */
const OPEN_IPV6 = ['2000::/3']
/**
 * Of that: protocol assignments with Teredo and benchmarking, documentation, and 6to4, whose
 * addresses hold one of IPv4 that nobody would look at.
 */
const CLOSED_IPV6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']

const closedIpv4 = networkList(CLOSED_IPV4)
const openIpv6 = networkList(OPEN_IPV6)
const closedIpv6 = networkList(CLOSED_IPV6)

/** Whether an address in its canonical spelling is one of the public internet. */
function isPublic(address: string): boolean {
  if (isIPv4(address)) return !closedIpv4(address)
  return openIpv6(address) && !closedIpv6(address)
}

/** The address that a URL names by itself; undefined where it has a name instead. */
export function literalAddress({ hostname }: URL): string | undefined {
  return canonicalAddress(hostname.replace(/^\[(.*)\]$/, '$1'))
}

const HTTPS_PORT = 443
const HTTP_PORT = 80
/** Below are the ports of mail, DNS, SSH and others that a request might talk to. */
const FREE_PORT_MIN = 1_024
const HOST_LENGTH_MAX = 253

function portOf({ port, protocol }: URL): number {
  if (port !== '') return Number(port)
  return protocol === 'https:' ? HTTPS_PORT : HTTP_PORT
}

/**
 * The rule for a server: the public internet over HTTPS. The operator may open more networks;
 * outside production those may also be spoken to in plain HTTP.
 */
export function createNetworks(options: {
  /** Addresses and networks (CIDR) that are open beside the public internet. */
  readonly opened: readonly string[]
  readonly production: boolean
}): Networks {
  const isOpened = networkList(options.opened)
  const plainAllowed = !options.production && options.opened.length > 0
  const permits = (text: string, scheme: string) => {
    const address = canonicalAddress(text)
    if (address === undefined) return false
    return isOpened(address) || (scheme === 'https:' && isPublic(address))
  }
  return {
    permits,
    refusal(url) {
      const { protocol, username, password, hostname } = url
      if (protocol !== 'https:' && !(protocol === 'http:' && plainAllowed)) {
        return 'Must begin with https://'
      }
      if (username !== '' || password !== '') return 'Must not hold a user name or password'
      if (url.hash !== '') return 'Must not hold a fragment'
      if (hostname.length > HOST_LENGTH_MAX) return 'Has too long a host name'
      const port = portOf(url)
      const usual = port === HTTPS_PORT || (port === HTTP_PORT && protocol === 'http:')
      if (!usual && port < FREE_PORT_MIN) return 'Must use port 443, or one from 1024 on'
      const literal = literalAddress(url)
      if (literal !== undefined && !permits(literal, protocol)) {
        return 'Must not lead into a private network'
      }
      return undefined
    },
  }
}
