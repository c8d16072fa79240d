import { afterEach, beforeEach, describe, expect, test } from 'bun:test'
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { keepNewestSnapshot, snapshotsIn } from '../../scripts/generate.ts'

const project = join(import.meta.dir, '../..')
const META = join(project, 'db/migrations/meta')

describe('snapshots of the schema', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'rialto-migrations-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  test('there is one, of the last migration', () => {
    const { newest, all } = snapshotsIn(META)
    expect(all).toEqual([newest])
    expect(readdirSync(META).toSorted()).toEqual([newest, '_journal.json'].toSorted())
  })

  test('all before the newest are removed, and nothing else', () => {
    const entries = [{ idx: 0 }, { idx: 1 }, { idx: 12 }]
    writeFileSync(join(folder, '_journal.json'), JSON.stringify({ entries }))
    for (const name of ['0000', '0001', '0012']) {
      writeFileSync(join(folder, `${name}_snapshot.json`), '{}')
    }
    writeFileSync(join(folder, 'notes.json'), '{}')
    keepNewestSnapshot(folder)
    expect(readdirSync(folder).toSorted()).toEqual([
      '0012_snapshot.json',
      '_journal.json',
      'notes.json',
    ])
  })

  test('none is removed while the newest is missing', () => {
    writeFileSync(join(folder, '_journal.json'), JSON.stringify({ entries: [{ idx: 1 }] }))
    writeFileSync(join(folder, '0000_snapshot.json'), '{}')
    expect(() => keepNewestSnapshot(folder)).toThrow('0001_snapshot.json is missing')
    expect(readdirSync(folder)).toHaveLength(2)
  })

  test('drizzle-kit finds no difference between it and the schema', async () => {
    const out = join(folder, 'migrations')
    cpSync(join(project, 'db/migrations'), out, { recursive: true })
    const before = readdirSync(out).toSorted()
    // drizzle-kit takes every path for a relative one.
    const where = ['--schema=./db/schema/index.ts', `--out=${relative(project, out)}`]
    const program = join(project, 'node_modules/.bin/drizzle-kit')
    const child = Bun.spawn([program, 'generate', '--dialect=postgresql', ...where], {
      cwd: project,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const said = (await child.stdout.text()) + (await child.stderr.text())
    expect(await child.exited).toBe(0)
    expect(said).toContain('No schema changes')
    expect(readdirSync(out).toSorted()).toEqual(before)
  })
})
