/**
 * Forty writers over a pool of twenty connections, on a PostgreSQL of their own that is restarted
 * under them. Each repeats what failed, and no writer may wait longer than the deadline.
 *
 * `bun test/support/driver-load.ts <bun|postgres> <restarts> <deadline in ms>` prints one line of
 * JSON. A process of its own, because what a driver throws outside any promise ends one.
 */
import { SQL } from 'bun'
import postgres from 'postgres'
import { type Ending, ownPostgres } from './postgres.ts'

const [driver = 'bun', restarts = '3', deadline = '10000'] = process.argv.slice(2)
const ENDINGS: readonly Ending[] = ['SIGINT', 'SIGQUIT', 'SIGKILL']
const WRITERS = 40
const DEADLINE_MS = Number(deadline)

/** What came of it. */
export interface DriverReport {
  /** Milliseconds from PostgreSQL's return until every writer was served, a restart each. */
  readonly servedMs: (number | null)[]
  /** Writers that waited longer than the deadline, a restart each. */
  readonly hanging: number[]
  readonly acknowledged: number
  readonly lost: number
  readonly doubled: number
  /** Errors that no promise brought: they would end a server. */
  readonly uncaught: number
}

/** A transaction of either driver: both take queries as tagged templates. */
type Tx = (strings: TemplateStringsArray, ...values: string[]) => PromiseLike<unknown[]>
type Begin = (fn: (tx: Tx) => Promise<void>) => Promise<unknown>

function open(url: string): Begin {
  if (driver === 'bun') {
    const client = new SQL({ url, max: 20, connectionTimeout: 5 })
    return (fn) => client.begin((tx) => fn(tx as unknown as Tx))
  }
  const client = postgres(url, { max: 20, connect_timeout: 5, onnotice: () => undefined })
  return (fn) => client.begin((tx) => fn(tx as unknown as Tx))
}

let uncaught = 0
process.on('uncaughtException', () => void uncaught++)
process.on('unhandledRejection', () => void uncaught++)

const own = await ownPostgres()
const { ownerUrl } = await own.database()
const owner = new SQL({ url: ownerUrl, max: 1 })
await owner`create table writes (id text)`
const begin = open(ownerUrl)

const acknowledged: string[] = []
const servedAtMs = new Array<number>(WRITERS).fill(0)
for (let writer = 0; writer < WRITERS; writer++) void write(writer)

async function write(writer: number): Promise<void> {
  for (let n = 0; ; n++) {
    const id = `${writer}-${n}`
    while (!(await tryToWrite(id))) await Bun.sleep(20)
    acknowledged.push(id)
    servedAtMs[writer] = performance.now()
  }
}

async function tryToWrite(id: string): Promise<boolean> {
  try {
    await begin(async (tx) => {
      const found = await tx`select from writes where id = ${id}`
      if (found.length === 0) await tx`insert into writes values (${id})`
    })
    return true
  } catch {
    return false
  }
}

const servedMs: (number | null)[] = []
const hanging: number[] = []
for (let n = 0; n < Number(restarts); n++) {
  await Bun.sleep(400)
  await own.end(ENDINGS[n % ENDINGS.length] as Ending)
  await own.start()
  const backMs = performance.now()
  const unserved = () => servedAtMs.filter((ms) => ms < backMs).length
  while (unserved() > 0 && performance.now() - backMs < DEADLINE_MS) await Bun.sleep(5)
  hanging.push(unserved())
  servedMs.push(unserved() > 0 ? null : Math.round(performance.now() - backMs))
}
const sure = acknowledged.slice()
await owner.close()
const reader = new SQL({ url: ownerUrl, max: 1 })
const rows = await reader<{ id: string; n: number }[]>`
  select id, count(*)::int as n from writes group by id`
const stored = new Set(rows.map(({ id }) => id))
const report: DriverReport = {
  servedMs,
  hanging,
  acknowledged: sure.length,
  lost: sure.filter((id) => !stored.has(id)).length,
  doubled: rows.filter(({ n }) => n > 1).length,
  uncaught,
}
console.log(JSON.stringify(report))
await own.end('SIGKILL')
await own.remove().catch(() => undefined)
process.exit(0)
