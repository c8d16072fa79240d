/**
 * `bun run bench:against --peers ours,ours@FOLDER,ours@FOLDER#2 [--programs ledger,queue,audit]
 * [--rounds 9] [--secs 3]`: CPU a unit of what is measured in process, beside other checkouts in
 * interleaved turns. Each turn is a process of its own on an empty database of one embedded
 * PostgreSQL; a run that is long enough for a verdict writes its section of RESULTS.md.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { SQL } from 'bun'
import { bunOf, type Checkout, commitOf, readCheckouts, withoutFolders } from '../checkout.ts'
import { isEnough, renderComparison } from '../compare.ts'
import { createDatabase, startCluster } from '../database.ts'
import { describeMachine, leaveServerCore, pinned } from '../machine.ts'
import { inTurn } from '../order.ts'
import { endOnSignals, failIfInterrupted, track } from '../process.ts'
import { readResult, type Result } from '../results.ts'
import { writeSection } from '../sections.ts'

const ROOT = join(import.meta.dir, '..', '..')
const UNITS: Readonly<Record<string, string>> = {
  ledger: 'transfers',
  queue: 'jobs',
  audit: 'transactions',
}

const { values } = parseArgs({
  options: {
    peers: { type: 'string', default: 'ours' },
    programs: { type: 'string', default: Object.keys(UNITS).join(',') },
    rounds: { type: 'string', default: '9' },
    secs: { type: 'string', default: '3' },
  },
})
const effort = { rounds: Number(values.rounds), seconds: Number(values.secs) }
const programs = values.programs.split(',')
const checkouts = readCheckouts(values.peers.split(',').filter((word) => word !== 'ours'))
const peers: readonly Omit<Checkout, 'word'>[] = [{ name: 'ours', folder: ROOT }, ...checkouts]
if (checkouts.length === 0) throw new Error('--peers must name a checkout, as in ours,ours@FOLDER')
const unknown = programs.find((program) => UNITS[program] === undefined)
if (unknown !== undefined) throw new Error(`--programs: there is no ${unknown}`)

let turns = 0

/** One program of one checkout, on a database and in a folder of its own. */
async function turn(
  program: string,
  { name, folder }: Omit<Checkout, 'word'>,
  at: { ownerUrl: string; folder: string },
  round: number,
): Promise<readonly Result[]> {
  const database = `turn_${++turns}`
  const url = await createDatabase(at.ownerUrl, database)
  const data = join(at.folder, database)
  mkdirSync(data)
  const script = [join(import.meta.dir, 'turn.ts'), program, name, folder, values.secs, url, data]
  const bun = folder === ROOT ? process.execPath : bunOf(folder)
  const command = pinned([bun, ...script])
  const options = { cwd: at.folder, stdout: 'pipe', stderr: 'inherit' } as const
  const child = track(Bun.spawn(command, options))
  const output = await new Response(child.stdout).text()
  const code = await child.exited
  failIfInterrupted()
  if (code !== 0) throw new Error(`${name}: ${program} ended with ${code}`)
  const sql = new SQL(at.ownerUrl, { max: 1 })
  await sql.unsafe(`drop database ${database} with (force)`)
  await sql.close()
  const lines = output.split('\n').filter((text) => text.startsWith('{'))
  return lines.map((text) => readResult(text, round))
}

async function measureAll(at: { ownerUrl: string; folder: string }): Promise<readonly Result[]> {
  const results: Result[] = []
  for (let round = 0; round < effort.rounds; round++) {
    for (const program of programs) {
      for (const peer of inTurn(peers, round)) {
        const turned = await turn(program, peer, at, round).catch((error: Error) => {
          failIfInterrupted()
          console.error(`round ${round + 1}: ${error.message}`)
          return []
        })
        for (const result of turned) {
          results.push(result)
          const { rate = 0, rate_per_cpu: perCpu = 0 } = result.figures
          const said = `${Math.round(rate)}/s, ${Math.round(perCpu)} per CPU-s`
          console.log(`round ${round + 1} ${peer.name} ${result.scenario}: ${said}`)
        }
      }
    }
  }
  return results
}

function render(results: readonly Result[]): string {
  const names = [...new Set(results.map(({ scenario }) => scenario))]
  const rows = names.map((scenario) => {
    const [program = ''] = scenario.split('-')
    return { scenario, unit: scenario === 'audit-sealing' ? 'lines' : (UNITS[program] ?? '') }
  })
  const [first, second, ...table] = renderComparison(results, rows, checkouts, effort)
  const words = withoutFolders(process.argv.slice(2).join(' '), checkouts)
  const about = `Written by \`bun run bench:against ${words}\`; ours is ${commitOf(ROOT)}.`
  return [first, `${second}, in process`, '', about, `${describeMachine()}.`, ...table].join('\n')
}

endOnSignals()
leaveServerCore()
const folder = mkdtempSync(join(tmpdir(), 'rialto-bench-against-'))
const postgres = await startCluster(folder)
try {
  const section = render(await measureAll({ ownerUrl: postgres.ownerUrl, folder }))
  console.log(section)
  if (isEnough(effort)) writeSection('comparison in process', section)
} finally {
  await postgres.stop()
  rmSync(folder, { recursive: true, force: true })
}
