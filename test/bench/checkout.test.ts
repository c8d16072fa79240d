import { afterAll, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { readCheckouts, withoutFolders } from '../../bench/checkout.ts'
import { readOptions } from '../../bench/options.ts'

const base = mkdtempSync(join(tmpdir(), 'rialto-checkout-'))
afterAll(() => rmSync(base, { recursive: true, force: true }))

const FILES = [
  'bench/server.ts',
  'scripts/migrate.ts',
  'node_modules/bun/bin/bun.exe',
  'package.json',
]

function folderWith(name: string, files: readonly string[], packageName = 'rialto'): string {
  for (const file of files) {
    const path = join(base, name, file)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, JSON.stringify({ name: packageName }))
  }
  return join(base, name)
}

const parent = folderWith('parent', FILES)

describe('peers that are other checkouts', () => {
  test('may be named twice under different labels', () => {
    const words = ['ours', `ours@${parent}`, `ours@${parent}#2`]
    const { peers, checkouts } = readOptions(['--peers', words.join(',')])
    expect(peers).toEqual(['ours', 'ours@parent', 'ours@parent#2'])
    expect(checkouts.map(({ folder }) => folder)).toEqual([parent, parent])
  })

  test('are compared with ours, which must be named', () => {
    expect(() => readOptions(['--peers', `ours@${parent}`])).toThrow('name it as well')
  })

  test('leave the other words as they were', () => {
    const args = ['--peers', 'ours,bun-json', '--scenarios', 'fan,storm']
    const { peers, checkouts, scenarios } = readOptions(args)
    expect(peers).toEqual(['ours', 'bun-json'])
    expect(checkouts).toEqual([])
    expect(scenarios).toEqual(['fan-w1', 'fan-w32', 'fan-fixed', 'storm'])
    expect(readOptions(['--quick']).peers).toEqual(['ours', 'bun-json', 'bare-http'])
    expect(() => readOptions(['--peers', 'theirs'])).toThrow('there is no theirs')
  })

  const refused: [what: string, word: () => string, sentence: string][] = [
    ['nothing', () => `ours@${base}/nowhere`, 'does not exist'],
    ['another folder', () => `ours@${base}`, 'is no checkout of Rialto: it has no package.json'],
    [
      'another package',
      () => `ours@${folderWith('other', FILES, 'other')}`,
      'its package is called other',
    ],
    [
      'one that is not set up',
      () => `ours@${folderWith('bare', FILES.toSpliced(2, 1))}`,
      'run `node scripts/setup.mjs` there',
    ],
    ['no folder', () => 'ours@', 'is named as ours@FOLDER'],
    ['an empty label', () => `ours@${parent}#`, 'is named as ours@FOLDER'],
  ]
  test.each(refused)('%s is refused with a sentence', (_, word, sentence) => {
    expect(() => readCheckouts([word()])).toThrow(sentence)
  })

  test('cannot have the same name', () => {
    const word = `ours@${parent}`
    expect(() => readCheckouts([word, word])).toThrow(`give it a label, as in ${word}#2`)
  })

  test('are shown without the folders of the machine', () => {
    const words = [`ours@${parent}`, `ours@${parent}#2`]
    const shown = withoutFolders(`--peers ours,${words.join(',')}`, readCheckouts(words))
    expect(shown).toBe('--peers ours,ours@parent,ours@parent#2')
  })
})
