/**
 * `npm run db:generate -- --name what`: writes a migration from the changed schema, then removes
 * the snapshots before the newest. drizzle-kit compares with that one alone, and each is as long as
 * the whole schema.
 */

import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'

const project = dirname(import.meta.dir)
const META = join(project, 'db/migrations/meta')

/**
 * The snapshots in `folder`, and the one among them that belongs to the journal's last entry.
 * @throws Error when that one is missing: without it the next migration would make every table anew
 */
export function snapshotsIn(folder: string): { newest: string; all: string[] } {
  const journal = JSON.parse(readFileSync(join(folder, '_journal.json'), 'utf8')) as {
    entries: { idx: number }[]
  }
  const newest = `${String(journal.entries.at(-1)?.idx).padStart(4, '0')}_snapshot.json`
  const all = readdirSync(folder).filter((name) => name.endsWith('_snapshot.json'))
  if (!all.includes(newest)) throw new Error(`${join(folder, newest)} is missing: restore it`)
  return { newest, all: all.toSorted() }
}

/** Removes all snapshots in `folder` but the newest. */
export function keepNewestSnapshot(folder: string): void {
  const { newest, all } = snapshotsIn(folder)
  for (const name of all) if (name !== newest) rmSync(join(folder, name))
}

if (import.meta.main) {
  // Before, too: nothing is generated from a schema that drizzle-kit would take for new.
  snapshotsIn(META)
  const command = [join(project, 'node_modules/.bin/drizzle-kit'), 'generate']
  const child = Bun.spawn([...command, ...process.argv.slice(2)], {
    cwd: project,
    stdio: ['inherit', 'inherit', 'inherit'],
  })
  process.exitCode = await child.exited
  if (process.exitCode === 0) keepNewestSnapshot(META)
}
