import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path/posix'
import { describe, expect, test } from 'bun:test'
import { checkFile } from '../../scripts/tidy.ts'
import { layers } from '../../scripts/tidy/boundaries.ts'

const project = join(import.meta.dir, '../..')

/** What tidy says of a file of this project with one more import. */
function planted(from: string, to: string): string[] {
  const path = relative(dirname(from), to)
  const specifier = path.startsWith('.') ? path : `./${path}`
  const text = readFileSync(join(project, from), 'utf8')
  return checkFile(from, `${text}\nimport '${specifier}'\n`).map(({ message }) => message)
}

interface Case {
  readonly rule: string
  readonly from: string
  /** What it must not import, and what the refusal begins with. */
  readonly breach: string
  readonly says: RegExp
  /** What it may import instead. */
  readonly legal: string
}

const inside = (feature: string) =>
  new RegExp(`is inside ${feature}: import ${feature}/index.ts \\(export it there\\)`)
const layer = (from: string, to: string) => new RegExp(`^${from} must not import ${to} `)

const doors: Case[] = [
  {
    rule: 'a feature sees of another its index alone',
    from: 'src/privacy/exports.ts',
    breach: 'src/auth/accounts/lock.ts',
    says: inside('src/auth'),
    legal: 'src/auth/index.ts',
  },
  {
    rule: 'also of a shared feature that is not mounted',
    from: 'src/payouts/requests.ts',
    breach: 'src/approvals/store.ts',
    says: inside('src/approvals'),
    legal: 'src/approvals/index.ts',
  },
  {
    rule: 'also a feature of the folder jobs',
    from: 'jobs/admin/stats.ts',
    breach: 'src/mail/send.ts',
    says: inside('src/mail'),
    legal: 'src/mail/index.ts',
  },
  {
    rule: 'the REST edge sees a feature through its door',
    from: 'src/http/index.ts',
    breach: 'src/auth/pages.ts',
    says: inside('src/auth'),
    legal: 'src/auth/index.ts',
  },
  {
    rule: 'the socket edge sees a feature through its door',
    from: 'realtime/presence-announcer.ts',
    breach: 'src/messaging/store.ts',
    says: inside('src/messaging'),
    legal: 'src/messaging/index.ts',
  },
  {
    rule: 'jobs see a feature through its door',
    from: 'jobs/schedule.ts',
    breach: 'jobs/admin/stats.ts',
    says: inside('jobs/admin'),
    legal: 'jobs/admin/index.ts',
  },
  {
    rule: 'the assembly sees a feature through its door',
    from: 'src/server.ts',
    breach: 'src/auth/mailbox/recipients.ts',
    says: inside('src/auth'),
    legal: 'src/auth/index.ts',
  },
  {
    rule: 'inside a feature nobody goes through the door',
    from: 'src/auth/mailbox/links.ts',
    breach: 'src/auth/index.ts',
    says: /is for other features: inside src\/auth, import the file that has it/,
    legal: 'src/auth/secrets.ts',
  },
]

const ways: Case[] = [
  ['base', 'src/base/ids.ts', 'observe', 'src/observe/log.ts', 'src/base/clock.ts'],
  ['observe', 'src/observe/log.ts', 'money', 'src/money/money.ts', 'src/base/ids.ts'],
  ['money', 'src/money/iban.ts', 'vault', 'src/vault/vault.ts', 'src/base/errors.ts'],
  ['vault', 'src/vault/xaes.ts', 'net', 'src/net/address.ts', 'src/base/ids.ts'],
  ['net', 'src/net/address.ts', 'db', 'db/client.ts', 'src/base/errors.ts'],
  ['db', 'db/client.ts', 'kernel', 'src/kernel/kernel.ts', 'src/money/money.ts'],
  ['db', 'db/client.ts', 'config', 'src/config.ts', 'src/observe/log.ts'],
  ['config', 'src/config/rules.ts', 'db', 'db/client.ts', 'src/net/origins.ts'],
  ['kernel', 'src/kernel/queue.ts', 'feature', 'src/auth/index.ts', 'db/client.ts'],
  ['drivers', 'src/drivers/mail/port.ts', 'feature', 'src/mail/index.ts', 'src/config.ts'],
  ['feature', 'src/mail/send.ts', 'http', 'src/http/index.ts', 'src/drivers/mail/index.ts'],
  ['feature', 'src/mail/send.ts', 'realtime', 'realtime/hub.ts', 'src/kernel/kernel.ts'],
  ['feature', 'jobs/admin/forget.ts', 'jobs', 'jobs/enqueue.ts', 'src/vault/vault.ts'],
  ['feature', 'src/mail/send.ts', 'assembly', 'src/server.ts', 'src/base/clock.ts'],
  ['http', 'src/http/call.ts', 'realtime', 'realtime/codes.ts', 'src/auth/index.ts'],
  ['realtime', 'realtime/hub.ts', 'http', 'src/http/edge.ts', 'src/auth/index.ts'],
  ['jobs', 'jobs/worker.ts', 'realtime', 'realtime/hub.ts', 'src/auth/index.ts'],
].map(([from, file, to, breach, legal]) => ({
  rule: `${from} does not import ${to}`,
  from: file!,
  breach: breach!,
  says: layer(from!, to!),
  legal: legal!,
}))

describe('planted breaches', () => {
  test.each([...doors, ...ways])('$rule: $from', ({ from, breach, legal, says }) => {
    for (const path of [breach, legal]) expect(existsSync(join(project, path))).toBe(true)
    expect(planted(from, breach)).toEqual([expect.stringMatching(says)])
    expect(planted(from, legal)).toEqual([])
  })

  test('the product imports no test; tests and tools look into everything', () => {
    expect(planted('src/main.ts', 'test/support/kernel.ts')).toEqual([
      expect.stringMatching(/^assembly imports test\/support\/kernel.ts, outside the product/),
    ])
    for (const tool of ['test/support/kernel.ts', 'scripts/jobs.ts', 'bench/run.ts']) {
      expect(planted(tool, 'src/auth/accounts/lock.ts')).toEqual([])
    }
  })

  test.each([
    ['a type', "import type { x } from '../auth/jobs.ts'"],
    ['a re-export', "export { x } from '../auth/jobs.ts'"],
    ['everything', "export * from '../auth/jobs.ts'"],
    ['at run time', "await import('../auth/jobs.ts')"],
    ['a type in place', "let a: import('../auth/jobs.ts').A"],
  ])('however it is imported: %s', (_how, text) => {
    expect(checkFile('src/mail/x.ts', text)).toHaveLength(1)
    expect(checkFile('src/mail/x.ts', text.replace('jobs.ts', 'index.ts'))).toEqual([])
  })

  test('each layer imports only layers below it', () => {
    const names = layers.map(({ name }) => name)
    for (const [at, { mayImport }] of layers.entries()) {
      for (const below of mayImport) expect(names.slice(0, at)).toContain(below)
    }
  })
})
