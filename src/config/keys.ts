/** Secrets that the server makes itself at its first start, outside production. */

import {
  chmodSync,
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { randomToken } from '../base/ids.ts'

const hasCode = (error: unknown, code: string) => (error as NodeJS.ErrnoException).code === code

function readKey(path: string): string | undefined {
  let key: string
  try {
    key = readFileSync(path, 'utf8').trim()
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
  // Going on with another key would make what the old one encrypted unreadable.
  if (!/^[\w-]{43}$/.test(key)) throw new Error(`${path} does not hold a key: restore it`)
  return key
}

/**
 * The key called `name` in `dataDir`/keys, made when it is not there: 32 random bytes as base64url,
 * readable by the owner only. Of processes that start at once, all get the same. Throws what the
 * file system throws, and when the file holds something else.
 */
export function obtainKey(dataDir: string, name: string): string {
  const folder = join(dataDir, 'keys')
  const path = join(folder, name)
  const existing = readKey(path)
  if (existing !== undefined) return existing

  mkdirSync(folder, { recursive: true, mode: 0o700 })
  chmodSync(folder, 0o700)
  const draft = join(folder, `.${name}.${randomToken(9)}`)
  const fd = openSync(draft, 'wx', 0o600)
  try {
    writeSync(fd, `${randomToken(32)}\n`)
    fsyncSync(fd)
    // A link appears complete or not at all, and never replaces what another process made.
    linkSync(draft, path)
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error
  } finally {
    closeSync(fd)
    unlinkSync(draft)
  }
  return readKey(path)!
}
