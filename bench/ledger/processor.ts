import { readdirSync, readFileSync } from 'node:fs'

/** Clock ticks a second, as Linux counts processor time for everybody. */
const TICKS_PER_SECOND = 100

/** Processor seconds used so far by this process and by PostgreSQL with all of its back ends. */
export interface ProcessorTime {
  readonly server: number
  readonly postgres: number
}

/** Reads both; PostgreSQL's includes back ends that have ended. */
export function processorTime(postmaster: number): ProcessorTime {
  const { user, system } = process.cpuUsage()
  return { server: (user + system) / 1e6, postgres: postgresSeconds(postmaster) }
}

function postgresSeconds(postmaster: number): number {
  let ticks = 0
  for (const name of readdirSync('/proc')) {
    const stat = /^\d+$/.test(name) ? statOf(name) : undefined
    if (stat === undefined) continue
    // Fields 14 to 17 of proc(5): own user and system time, and that of ended children.
    const [parent, own, ended] = [Number(stat[1]), [11, 12], [13, 14]]
    const mine = Number(name) === postmaster
    if (!mine && parent !== postmaster) continue
    for (const n of mine ? [...own, ...ended] : own) ticks += Number(stat[n])
  }
  return ticks / TICKS_PER_SECOND
}

/** Fields from the third on: the second, a name in brackets, may hold anything. */
function statOf(pid: string): string[] | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return undefined
  }
}
