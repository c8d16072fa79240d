import { expect, test } from 'bun:test'
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/**
 * A Drizzle query is a thenable that does nothing until it is awaited, so that a forgotten `await`
 * silently loses the write. Only the type-aware rule, told to look at thenables, sees it.
 */
test('an insert that is not awaited does not pass', () => {
  const project = join(import.meta.dir, '../..')
  const folder = mkdtempSync(join(tmpdir(), 'rialto-lint-'))
  try {
    for (const name of ['.oxlintrc.json', 'tsconfig.json', 'package.json']) {
      cpSync(join(project, name), join(folder, name))
    }
    symlinkSync(join(project, 'node_modules'), join(folder, 'node_modules'))
    writeFileSync(
      join(folder, 'sample.ts'),
      `import { SQL } from 'bun'
       import { drizzle } from 'drizzle-orm/bun-sql'
       import { pgTable, text } from 'drizzle-orm/pg-core'
       const words = pgTable('words', { word: text() })
       const orm = drizzle({ client: new SQL('postgres://localhost/x') })
       export async function add(word: string): Promise<void> {
         orm.insert(words).values({ word })
         await orm.insert(words).values({ word })
       }`,
    )
    const oxlint = join(project, 'node_modules/.bin/oxlint')
    const { exitCode, stdout } = Bun.spawnSync([oxlint, '-f', 'unix', 'sample.ts'], { cwd: folder })
    const findings = stdout.toString().match(/sample\.ts:(\d+).*no-floating-promises/g)
    expect(findings).toEqual([expect.stringMatching(/^sample\.ts:7:/)])
    expect(exitCode).toBe(1)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
