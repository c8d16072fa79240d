import { describe, expect, test } from 'bun:test'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ALONE, plan } from '../run.ts'

const project = join(import.meta.dir, '../..')
const alone = 'test/observe/redact.test.ts'
const [one, two] = ['test/http/body.test.ts', 'test/http/query.test.ts']
const files = [one, two, alone]
const planned = (args: string[], full = false) => plan(files, args, full)

describe('the run of the tests', () => {
  test('keeps apart only files that are there', () => {
    expect(Object.keys(ALONE)).toContain(alone)
    expect(Object.keys(ALONE).filter((file) => !existsSync(join(project, file)))).toEqual([])
  })

  test('has every file once: those that bear company first, then the others', () => {
    const expected = { runs: [[one, two], [alone]], options: ['--timeout=1'], sideBySide: true }
    expect(planned(['--timeout=1'])).toEqual(expected)
  })

  test('has the files that are asked for, and hands the options on', () => {
    expect(planned(['./test/http', '--timeout', '5'])).toEqual({
      runs: [[one, two]],
      options: ['--timeout', '5'],
      sideBySide: true,
    })
    expect(planned(['test/observe', two]).runs).toEqual([[two, alone]])
    expect(() => planned(['nowhere'])).toThrow('no test file has nowhere in its path')
  })

  test.each([
    ['a name', ['-t', 'http']],
    ['coverage', ['--coverage']],
    ['one file', [two]],
  ])('is one, in order, for %s', (_, args) => {
    const { runs, sideBySide } = planned(args)
    expect({ count: runs.length, sideBySide }).toEqual({ count: 1, sideBySide: false })
  })

  test('is one, in order, with the full figures', () => {
    expect(planned([], true)).toEqual({ runs: [files], options: [], sideBySide: false })
  })
})
