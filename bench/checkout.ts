import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'

/** Another checkout of Rialto, whose server is measured beside this one's. */
export interface Checkout {
  /** As it was asked for: `ours@FOLDER` or `ours@FOLDER#label`. */
  readonly word: string
  /** In reports, which name no folder of the machine: `ours@<last part>#label`. */
  readonly name: string
  readonly folder: string
}

const PREFIX = 'ours@'

/** Whether a word of `--peers` names another checkout. */
export function isCheckout(word: string): boolean {
  return word.startsWith(PREFIX)
}

/**
 * Reads the words that name checkouts.
 * @throws Error with a sentence where a folder is none, or two would have the same name
 */
export function readCheckouts(words: readonly string[]): readonly Checkout[] {
  const all = words.map(readCheckout)
  const names = new Set<string>()
  for (const { word, name } of all) {
    if (names.has(name)) {
      throw new Error(`${word}: there is a ${name} already; give it a label, as in ${word}#2`)
    }
    names.add(name)
  }
  return all
}

function readCheckout(word: string): Checkout {
  const [path = '', ...label] = word.slice(PREFIX.length).split('#')
  if (path === '' || label.length > 1 || label[0] === '') {
    throw new Error(`${word}: a checkout is named as ours@FOLDER or ours@FOLDER#label`)
  }
  const folder = resolve(path)
  const reason = whyNoCheckout(folder)
  if (reason !== undefined) throw new Error(`${word}: ${folder} ${reason}`)
  const name = [`${PREFIX}${basename(realpathSync(folder))}`, ...label].join('#')
  return { word, name, folder: realpathSync(folder) }
}

function whyNoCheckout(folder: string): string | undefined {
  if (!existsSync(folder)) return 'does not exist'
  const needed = ['package.json', 'bench/server.ts', 'scripts/migrate.ts']
  const missing = needed.find((file) => !existsSync(join(folder, file)))
  if (missing !== undefined) return `is no checkout of Rialto: it has no ${missing}`
  const { name } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  if (name !== 'rialto') return `is no checkout of Rialto: its package is called ${name}`
  if (!existsSync(bunOf(folder))) return 'has no packages yet: run `node scripts/setup.mjs` there'
  return undefined
}

/** The Bun that a checkout pins. */
export function bunOf(folder: string): string {
  return join(folder, 'node_modules', 'bun', 'bin', 'bun.exe')
}

/** The commit of a checkout, with `-dirty` where files differ from it. */
export function commitOf(folder: string): string {
  const command = ['git', '-C', folder, 'describe', '--always', '--dirty', '--abbrev=10']
  if (Bun.which('git') === null) return 'an unknown commit'
  const { stdout, exitCode } = Bun.spawnSync(command, { stderr: 'ignore' })
  return exitCode === 0 ? stdout.toString().trim() : 'an unknown commit'
}

/** A command line without the folders of this machine. */
export function withoutFolders(text: string, checkouts: readonly Checkout[]): string {
  const longestFirst = checkouts.toSorted((a, b) => b.word.length - a.word.length)
  return longestFirst.reduce((shown, { word, name }) => shown.replaceAll(word, name), text)
}
