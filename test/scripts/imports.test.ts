import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'bun:test'
import { checkProject } from '../../scripts/tidy.ts'

const project = join(import.meta.dir, '../..')

const root = mkdtempSync(join(tmpdir(), 'rialto-doors-'))
afterAll(() => rmSync(root, { recursive: true }))

/** A project of these files, in a folder of its own. */
function tree(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(root, 'tree-'))
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), `/** What it is for. */\n${text}\n`)
  }
  return folder
}

function command(folder: string): { code: number; lines: string[] } {
  const script = join(project, 'scripts/imports.ts')
  const { exitCode, stdout } = Bun.spawnSync([process.execPath, script, folder])
  return { code: exitCode, lines: stdout.toString().trimEnd().split('\n') }
}

const circular: [what: string, files: Record<string, string>, group: string[]][] = [
  [
    'two files',
    {
      'src/a/index.ts': "import './x.ts'",
      'src/a/x.ts': "import './y.ts'",
      'src/a/y.ts': "import './x.ts'",
    },
    ['src/a/x.ts', 'src/a/y.ts'],
  ],
  [
    'types alone',
    {
      'src/a/index.ts': "import type { X } from './x.ts'",
      'src/a/x.ts': "import type { Y } from './y.ts'",
      'src/a/y.ts': "export type Y = import('./x.ts').X",
    },
    ['src/a/x.ts', 'src/a/y.ts'],
  ],
  [
    'two features over their doors',
    {
      'src/a/index.ts': "export * from './x.ts'",
      'src/a/x.ts': "import { b } from '../b/index.ts'",
      'src/b/index.ts': "export { b } from './y.ts'",
      'src/b/y.ts': "import { a } from '../a/index.ts'",
    },
    ['src/a/index.ts', 'src/a/x.ts', 'src/b/index.ts', 'src/b/y.ts'],
  ],
  ['a file and itself', { 'test/x.ts': "import { x } from './x.ts'" }, ['test/x.ts']],
]

describe('import circles', () => {
  test.each(circular)('of %s are refused, file by file', (_what, files, group) => {
    const folder = tree(files)
    expect(checkProject(folder)).toEqual([
      { path: group[0]!, line: 1, message: expect.stringContaining(group.join(', ')) },
    ])
    const { code, lines } = command(folder)
    expect(code).toBe(1)
    expect(lines).toContain(`  a circle of ${group.length} files:`)
    for (const path of group) expect(lines.join('\n')).toContain(`    ${path} → `)
  })

  test('two ways to one file are none', () => {
    const folder = tree({
      'src/a/index.ts': "import './x.ts'\nimport './y.ts'",
      'src/a/x.ts': "import './z.ts'",
      'src/a/y.ts': "import './z.ts'\nimport './x.ts'",
      'src/a/z.ts': '',
    })
    expect(checkProject(folder)).toEqual([])
    expect(command(folder)).toEqual({
      code: 0,
      lines: ['files                 4', 'import circles        0', 'arrows back up        0'],
    })
  })

  test('the command lists arrows that run back up', () => {
    const folder = tree({
      'src/base/base.ts': '',
      'src/base/x.ts': "import type { Y } from '../kernel/kernel.ts'",
      'src/kernel/kernel.ts': "import '../base/base.ts'",
    })
    const { code, lines } = command(folder)
    expect(code).toBe(1)
    expect(lines.slice(-2)).toEqual([
      'arrows back up        1',
      '  src/base/x.ts:2 → src/kernel/kernel.ts',
    ])
  })
})
