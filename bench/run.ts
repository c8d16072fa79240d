/**
 * `bun run bench`: measures our server beside its peers and prints the tables. See README.md.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readBareWork } from './bare.ts'
import { commitOf, withoutFolders } from './checkout.ts'
import { isEnough, renderComparison } from './compare.ts'
import { type BenchDatabase, databaseFor, startDatabase } from './database.ts'
import { canPin, describeMachine, leaveServerCore, waitForQuiet } from './machine.ts'
import { type Options, readOptions } from './options.ts'
import { inTurn } from './order.ts'
import { buildGenerator, type Peer, peerOf, PEERS } from './peers.ts'
import { endOnSignals, failIfInterrupted } from './process.ts'
import { type Circumstances, renderReport } from './report.ts'
import type { Result } from './results.ts'
import { otherSections, writeSection } from './sections.ts'
import { type ScenarioName, SCENARIOS } from './scenarios.ts'
import { measureStarts } from './start.ts'
import { environment, type Setting, takeTurn } from './turn.ts'
import { type BenchUser, makeUsers, writeUsers } from './users.ts'
import { readVersions } from './versions.ts'

/** As many as the storm opens and the recovery brings back. */
const USERS = 5000
const ROOT = join(import.meta.dir, '..')
const SECRET = 'only-for-the-bench-0123456789abcdef-0123456789abcdef'

async function bench(options: Options): Promise<void> {
  const generator = await buildGenerator()
  const absent: string[] = []
  const peers = await available(options, absent)
  leaveServerCore()
  const folder = mkdtempSync(join(tmpdir(), 'rialto-bench-'))
  let database: BenchDatabase | undefined
  const results: Result[] = []
  try {
    const people = await makeUsers(USERS, SECRET)
    const users = join(folder, 'users.tsv')
    writeUsers(users, people)
    if (peers.some(({ needsDatabase }) => needsDatabase)) {
      database = await startDatabase(folder, people)
    }
    const shared = { generator, folder, users, secret: SECRET, seconds: options.seconds, database }
    const setting = await withBareWork(peers, people, await withOwn(options, people, shared))
    await measure(peers, options, setting, (result) => {
      results.push(result)
      console.log(progress(result))
    })
  } finally {
    await database?.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  const about = await circumstances(options, absent, database?.version)
  keep(options, results, renderReport(results, peers, about), comparison(options, results, about))
}

/** Ours beside other checkouts, with what is to be known about the run. */
function comparison(options: Options, results: readonly Result[], about: Circumstances): string {
  const rows = SCENARIOS.map((scenario) => {
    return { scenario: scenario.name, unit: 'unit' in scenario ? scenario.unit : 'starts' }
  })
  const [first, second, ...table] = renderComparison(results, rows, options.checkouts, options)
  const said = `Written by \`${about.command}\` on ${about.date}; ours is ${commitOf(ROOT)}.`
  return [first, second, '', said, `${about.machine}. ${about.pinning}`, ...table].join('\n')
}

/** Prints what was measured; keeps a full run, and of a comparison what it decides. */
function keep(options: Options, results: readonly Result[], report: string, beside: string): void {
  const compares = options.checkouts.length > 0
  console.log(`\n${report}${compares ? `\n${beside}` : ''}`)
  if (options.quick) return
  const lines = results.map((result) => `${JSON.stringify(result)}\n`)
  writeFileSync(join(import.meta.dir, 'results.jsonl'), lines.join(''))
  if (!compares) writeFileSync(join(import.meta.dir, 'RESULTS.md'), report + otherSections())
  else if (isEnough(options)) writeSection('comparison', beside)
}

/** Each other checkout gets a database and a data folder of its own. */
async function withOwn(
  { checkouts }: Options,
  people: readonly BenchUser[],
  setting: Setting,
): Promise<Setting> {
  const { database, folder } = setting
  if (database === undefined || checkouts.length === 0) return setting
  const own: Record<string, Readonly<Record<string, string>>> = {}
  for (const [index, checkout] of checkouts.entries()) {
    const at = { url: database.url, name: `beside_${index}`, folder, env: environment(0, setting) }
    own[checkout.name] = await databaseFor(checkout, people, at)
  }
  return { ...setting, own }
}

async function measure(
  peers: readonly Peer[],
  options: Options,
  setting: Setting,
  onResult: (result: Result) => void,
): Promise<void> {
  for (let round = 0; round < options.rounds; round++) {
    for (const peer of inTurn(peers, round)) {
      const scenarios = scenariosOf(peer, options).filter((name) => !name.startsWith('start'))
      if (scenarios.length === 0) continue
      await waitForQuiet(options.quietSeconds)
      failIfInterrupted()
      await takeTurn(peer, scenarios, round, setting, onResult).catch((error: Error) => {
        failIfInterrupted()
        console.error(`round ${round + 1} ${peer.name}: ${error.message}`)
        const [scenario = 'storm'] = scenarios
        const failure = `the turn ended early: ${error.message.split('\n')[0]}`
        onResult({ peer: peer.name, scenario, round, figures: {}, failures: 1, failure })
      })
    }
  }
  const starts = options.scenarios.some((name) => name.startsWith('start'))
  if (!starts) return
  const servers = peers.filter(({ checkout }) => checkout !== undefined)
  await measureStarts(servers, options.rounds, setting, onResult)
}

async function withBareWork(
  peers: readonly Peer[],
  people: readonly BenchUser[],
  setting: Setting,
): Promise<Setting> {
  if (!peers.some(({ name }) => name === 'bare-http')) return setting
  return { ...setting, bareWork: await readBareWork(people[0]?.token ?? '', setting) }
}

async function circumstances(
  { checkouts }: Options,
  absent: readonly string[],
  postgres: string | undefined,
): Promise<Circumstances> {
  const versions = await readVersions()
  return {
    command: withoutFolders(`bun run bench ${process.argv.slice(2).join(' ')}`.trim(), checkouts),
    date: new Date().toISOString().slice(0, 10),
    machine: describeMachine(),
    pinning: canPin
      ? 'The server has one core; the generator and Postgres share the other.'
      : 'Nothing is pinned: server, generator and Postgres share the cores.',
    versions: postgres === undefined ? versions : { ...versions, PostgreSQL: postgres },
    absent,
  }
}

/** The chosen peers that can run; the others are said to be absent. */
async function available(options: Options, absent: string[]): Promise<readonly Peer[]> {
  const peers: Peer[] = []
  for (const peer of [...PEERS, ...options.checkouts.map(peerOf)]) {
    if (!options.peers.includes(peer.name) || scenariosOf(peer, options).length === 0) continue
    const reason = await peer.prepare?.()
    if (reason === undefined) peers.push(peer)
    else absent.push(`${peer.title}: ${reason}`)
  }
  return peers
}

function scenariosOf(peer: Peer, options: Options): ScenarioName[] {
  const own = SCENARIOS.filter(({ group }) => peer.groups.includes(group))
  return own.map(({ name }) => name).filter((name) => options.scenarios.includes(name))
}

function progress({ peer, scenario, round, figures, failures, failure }: Result): string {
  const shown = [
    'ms',
    'all_back_ms',
    'rate',
    'rate_per_cpu',
    'p50_ms',
    'p99_ms',
    'event_bytes',
    'server_cpu',
  ]
  const said = [...shown, 'postgres_cpu', 'generator_cpu', 'others_cpu', 'kib_per_connection']
    .filter((name) => figures[name] !== undefined)
    .map((name) => `${name}=${Number(figures[name]?.toPrecision(4))}`)
  const trouble = failures > 0 ? ` FAILED ${failures}: ${failure}` : ''
  return `round ${round + 1} ${peer} ${scenario}: ${said.join(' ')}${trouble}`
}

endOnSignals()
await bench(readOptions(process.argv.slice(2)))
