import { describe, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseEnvFile } from '../../src/config/env-file.ts'

const HASH = '$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA'

describe('parseEnvFile', () => {
  test.each([
    ['plain', 'A=b', { A: 'b' }],
    ['spaces around', '  A =  b c  ', { A: 'b c' }],
    ['nothing', 'A=', { A: '' }],
    ['export', 'export A=b\nexport\tB=c', { A: 'b', B: 'c' }],
    ['equals signs', 'A=b=c==', { A: 'b=c==' }],
    ['comments', '# x\n\n  # y\nA=b # c\nB=c#d\nC=#e\nD= # f', { A: 'b', B: 'c#d', C: '', D: '' }],
    ['single quotes are literal', 'A=\'b \\n $c "d" # e\' # f', { A: 'b \\n $c "d" # e' }],
    [
      'double quotes',
      'A="b # c"\nB="d\\n\\t\\"e\\" \\\\n \\$f"',
      { A: 'b # c', B: 'd\n\t"e" \\n $f' },
    ],
    ['double quotes over lines', 'A="b\n# c\n"\nB=d', { A: 'b\n# c\n', B: 'd' }],
    ['Windows line ends', 'A=b\r\nB="c\r\nd"\r\n', { A: 'b', B: 'c\nd' }],
    ['byte order mark', '\uFEFFA=b', { A: 'b' }],
    ['the last of two', 'A=b\nA=c', { A: 'c' }],
    [
      'no expansion',
      `A=${HASH}\nB="${HASH}"\nC='${HASH}'\nD=$A \${A} \`id\``,
      {
        A: HASH,
        B: HASH,
        C: HASH,
        D: '$A ${A} `id`',
      },
    ],
  ])('%s', (_, text, expected: Record<string, string>) => {
    expect(parseEnvFile(text)).toEqual({ values: expected, problems: [] })
  })

  test('says which lines are wrong and reads the others', () => {
    const text = ['A=1', 'just text', '1B=c', "C='open", 'D="a" b', 'E=2', 'F="open', 'G=3'].join(
      '\n',
    )
    const { values, problems } = parseEnvFile(text)
    expect(problems).toEqual([
      { line: 2, reason: 'is not NAME=value' },
      { line: 3, reason: 'is not NAME=value' },
      { line: 4, reason: 'has a single quote that is not closed' },
      { line: 5, reason: 'goes on behind the closing quote' },
      { line: 7, reason: 'has a double quote that is not closed' },
    ])
    expect(values).toEqual({ A: '1', E: '2', G: '3' })
  })
})

describe('a process of this runtime', () => {
  /** What a process that loads the configuration in a folder with such a .env prints. */
  async function start(flags: string[], env: string, bunfig?: string): Promise<string> {
    const folder = mkdtempSync(join(tmpdir(), 'rialto-env-'))
    try {
      writeFileSync(join(folder, '.env'), env)
      if (bunfig) writeFileSync(join(folder, 'bunfig.toml'), bunfig)
      const config = JSON.stringify(new URL('../../src/config.ts', import.meta.url).pathname)
      writeFileSync(
        join(folder, 'main.ts'),
        `import { loadConfig } from ${config}
        try { console.log(loadConfig().admin?.passwordHash) } catch (e) { console.log(e.message) }`,
      )
      const command = [process.execPath, ...flags, 'main.ts']
      const child = Bun.spawn(command, { cwd: folder, env: { PATH: process.env.PATH } })
      return (await child.stdout.text()).trim()
    } finally {
      rmSync(folder, { recursive: true })
    }
  }

  const quotations = [HASH, `'${HASH}'`, `"${HASH}"`]

  test.each(quotations)('gets ADMIN_PASSWORD_HASH=%s unharmed', async (written) => {
    const env = `ADMIN_USERNAME=admin\nADMIN_PASSWORD_HASH=${written}\n`
    expect(await start(['--no-env-file'], env)).toBe(HASH)
    expect(await start([], env, 'env = false\n')).toBe(HASH)
  })

  test("control: the runtime's own loader mangles it, which stops the start", async () => {
    const printed = await start([], `ADMIN_USERNAME=admin\nADMIN_PASSWORD_HASH=${HASH}\n`)
    expect(printed).toContain('ADMIN_PASSWORD_HASH is not an Argon2id hash')
    expect(printed).toContain('single quotes')
  })
})
