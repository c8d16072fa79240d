/** No setting without a reader: the table only has what changes something. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'bun:test'
import { rows } from '../../src/config/table.ts'
import { CERTIFICATE, PRIVATE_KEY } from '../mail/certificates.ts'
import { configFolder, HASH, SECRET } from './folder.ts'
import { Readers } from './readers.ts'

const root = join(import.meta.dir, '../..')

/** Files of the product outside the configuration, by their path. */
const sources = [...new Bun.Glob('{src,realtime,jobs,db,scripts}/**/*.ts').scanSync({ cwd: root })]
  .filter((path) => !/^src\/config[./]/.test(path))
  .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }))

const product = new Readers()
for (const { path, text } of sources) product.add(path, text)

/** Which of `names` the configuration is not put together from. */
function notAssembled(names: readonly string[]): string[] {
  const assembly = new Readers(['values', 'v'])
  for (const path of ['src/config.ts', 'src/config/assemble.ts']) {
    assembly.add(path, readFileSync(join(root, path), 'utf8'))
  }
  return names.filter((name) => !assembly.reads(name))
}

/** Paths to the values of a section, those that are hidden included. */
function leavesOf(section: object, prefix = ''): string[] {
  const names = [...Object.keys(section), ...hiddenOf(section)]
  return names.flatMap((name) => {
    const value = (section as Record<string, unknown>)[name]
    const isSection = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isSection ? leavesOf(value, `${prefix}${name}.`) : [`${prefix}${name}`]
  })
}

function hiddenOf(section: object): string[] {
  const secrets = Object.getPrototypeOf(section) as object
  return secrets === Object.prototype ? [] : Object.getOwnPropertyNames(secrets)
}

/** Values where the example of the table is a placeholder. */
const VALUES: Record<string, string> = {
  // Production would refuse some of the examples.
  NODE_ENV: 'test',
  // Not beside DATABASE_SERVER_URL.
  DATABASE_SINGLE_ROLE: 'false',
  TLS_CERT: CERTIFICATE,
  TLS_KEY: PRIVATE_KEY,
  SMTP_TLS_CA: CERTIFICATE,
  JWT_SECRET: SECRET,
  MASTER_ENCRYPTION_KEY: '00'.repeat(32),
  ADMIN_PASSWORD_HASH: HASH,
  METRICS_TOKEN: SECRET,
  PAYMENT_WEBHOOK_SECRET: SECRET,
  SMTP_PASSWORD: 'p',
}

/** Settings that say nothing to the server, with the reason why they exist. */
const CHECKED_ONLY: Record<string, string> = {
  DATABASE_EMBEDDED: 'chosen by leaving DATABASE_URL out, which production must do knowingly',
}

const { load } = configFolder()

describe('settings that nobody reads', () => {
  test('there are none: each is a part of the configuration', () => {
    expect(notAssembled(rows.map(([name]) => name))).toEqual(Object.keys(CHECKED_ONLY))
  })

  test('there are none: each part of the configuration has a reader', () => {
    const given = rows.filter(([name]) => !Object.hasOwn(CHECKED_ONLY, name))
    const env = Object.fromEntries(given.map(([name, row]) => [name, VALUES[name] ?? row.example]))
    const leaves = leavesOf(load(env))
    expect(leaves).toContain('smtp.password')
    expect(leaves.length).toBeGreaterThan(given.length - 5)
    expect(leaves.filter((leaf) => !product.reads(leaf))).toEqual([])
  })

  test('control: what was only put into the table, and what was only assembled, is found', () => {
    expect(notAssembled(['PORT', 'TURN_URLS'])).toEqual(['TURN_URLS'])
    const planted = ['turn', 'turn.urls', 'smtp.patienceMs', 'jwt.issuer', 'port', 'smtp.ca']
    expect(planted.filter((leaf) => !product.reads(leaf))).toEqual(planted.slice(0, 4))
  })

  test('whatever holds the configuration is called so, or taken apart', () => {
    const holders = sources.flatMap(({ text }) =>
      [...text.matchAll(/([\w}]+)\??: (?:Config|Readonly<Config>)\b(?!\[)/g)].map(
        ([, name]) => name,
      ),
    )
    expect(new Set(holders)).toEqual(new Set(['config', '}']))
  })
})

describe('what counts as reading a.b', () => {
  test.each([
    'use(config.a.b)',
    'use(kernel.config.a?.b)',
    'use(this.kernel.config!.a!.b === 1)',
    'const { b } = config.a',
    'const { a: { b } } = kernel.config',
    'const { config: { a: { b = 1 } } } = kernel',
    'const f = ({ a: { b } }: Config) => b',
    'const f = ({ config: { a } }: Kernel) => a.b',
    'const { a } = config; use(a.b)',
    'use(config.a); const g = (section) => section.b',
    'use({ ...config.a }); const g = ({ b }) => b',
    'const a = config.a ?? DEFAULT; use(a.b)',
  ])('%s', (text) => {
    const readers = new Readers()
    readers.add('a.ts', text)
    expect(readers.reads('a.b')).toBe(true)
  })

  test.each([
    '// config.a.b',
    "use('config.a.b')",
    'use(other.a.b)',
    'use(config.a.c)',
    'use(config.c.a.b)',
    'use(config.a)',
    'if (config.a === undefined) use(other.b)',
    'use(config.a.c, other.b)',
    'const { c } = config.a; use(other.b)',
    'const f = ({ a: { b } }: Other) => b',
    'config[a].b',
  ])('not: %s', (text) => {
    const readers = new Readers()
    readers.add('a.ts', text)
    expect(readers.reads('a.b')).toBe(false)
  })
})
