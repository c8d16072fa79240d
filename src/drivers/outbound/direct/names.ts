import { lookup } from 'node:dns/promises'

/** Looks up the addresses of a name, those to try first in front. Rejects when there are none. */
export type Resolve = (name: string) => Promise<readonly string[]>

/** As the operating system does it, hosts file included. */
export const systemNames: Resolve = async (name) => {
  const found = await lookup(name, { all: true, order: 'ipv4first' })
  return found.map(({ address }) => address)
}
