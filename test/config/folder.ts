/** What the tests of the configuration share. */

import { afterEach, beforeEach } from 'bun:test'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ConfigError, loadConfig } from '../../src/config.ts'

export type Env = Record<string, string | undefined>

export const HASH = '$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA'
export const SECRET = 's'.repeat(32)

/** Gives each test of the file a folder of its own to load the configuration in. */
export function configFolder() {
  const folder = {
    cwd: '',
    load: (env: Env = {}, features?: string[]) => loadConfig({ env, cwd: folder.cwd, features }),
    /** What is wrong with an environment, as `NAME reason`. */
    problemsOf: (env: Env, features?: string[]): string[] => {
      try {
        folder.load(env, features)
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        return error.problems.map(({ name, reason }) => `${name} ${reason}`)
      }
      return []
    },
  }
  beforeEach(() => {
    folder.cwd = mkdtempSync(join(tmpdir(), 'rialto-config-'))
  })
  afterEach(() => rmSync(folder.cwd, { recursive: true, force: true }))
  return folder
}
