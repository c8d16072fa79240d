/** A network of two ends, of which one can be taken down: needs root and iproute2 on Linux. */
export interface Link {
  /** Runs a command at the far end. */
  readonly within: readonly string[]
  /** The address of this end. */
  readonly address: string
  /** From now on nothing passes, and neither end is told. */
  down(): void
  remove(): void
}

/** Why there can be no link on this machine; undefined when there can. */
export function whyNoLink(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are Linux’s'
  if (process.getuid?.() !== 0) return 'not root'
  if (Bun.which('ip') === null) return 'no iproute2'
  const name = `rialto-probe-${process.pid}`
  const made = Bun.spawnSync(['ip', 'netns', 'add', name])
  if (made.exitCode !== 0) return `no network namespace: ${made.stderr.toString().trim()}`
  Bun.spawnSync(['ip', 'netns', 'del', name])
  return undefined
}

function ip(...args: readonly string[]): void {
  const { exitCode, stderr } = Bun.spawnSync(['ip', ...args])
  if (exitCode !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.toString()}`)
}

/** Makes a link to a namespace of its own. */
export function makeLink(): Link {
  const space = `rialto-${process.pid}`
  const [near, far] = [`rl${process.pid}a`, `rl${process.pid}b`]
  // TEST-NET-2 (RFC 5737): nobody's.
  const net = `198.51.100.${4 * (process.pid % 60)}`.split('.')
  const host = (n: number) => [...net.slice(0, 3), Number(net[3]) + n].join('.')
  ip('netns', 'add', space)
  ip('link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', space)
  ip('addr', 'add', `${host(1)}/30`, 'dev', near)
  ip('link', 'set', near, 'up')
  ip('-n', space, 'addr', 'add', `${host(2)}/30`, 'dev', far)
  ip('-n', space, 'link', 'set', far, 'up')
  return {
    within: ['ip', 'netns', 'exec', space],
    address: host(1),
    down: () => ip('-n', space, 'link', 'set', far, 'down'),
    remove() {
      ip('link', 'del', near)
      ip('netns', 'del', space)
    },
  }
}
