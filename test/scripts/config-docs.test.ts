import { expect, test } from 'bun:test'
import { parseEnvFile } from '../../src/config/env-file.ts'
import { rows } from '../../src/config/table.ts'
import { generatedFiles, pathOf, renderEnvExample } from '../../scripts/config-docs.ts'

test.each(Object.keys(generatedFiles))('%s is current', async (file) => {
  expect(await Bun.file(pathOf(file)).text()).toBe(generatedFiles[file]!())
})

test('.env.example names every setting, sets none, and parses once uncommented', () => {
  const example = renderEnvExample()
  expect(parseEnvFile(example)).toEqual({ values: {}, problems: [] })
  const uncommented = parseEnvFile(example.replace(/^# ([A-Z0-9_]+=)/gm, '$1'))
  expect(uncommented.problems).toEqual([])
  expect(Object.keys(uncommented.values)).toEqual(rows.map(([name]) => name))
})
