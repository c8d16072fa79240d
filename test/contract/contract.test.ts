import { expect, test } from 'bun:test'
import { join } from 'node:path'
import { collectContract, type Contract } from './collect.ts'
import { differencesOf, render } from './differences.ts'

/** What clients, dashboards and databases know by name stays what it is, unless it is meant. */

const PATH = join(import.meta.dir, 'contract.json')

const MEANING = `
Clients, dashboards and rows in databases depend on what test/contract/contract.json says.
If it is meant: UPDATE_CONTRACT=1 npm test -- test/contract
writes it anew; review the difference, and say it in CHANGELOG.md.`

test('the contract is the one that was written down', async () => {
  const found = await collectContract()
  if (process.env['UPDATE_CONTRACT'] === '1') await Bun.write(PATH, render(found))
  const differences = differencesOf(await Bun.file(PATH).json(), JSON.parse(render(found)))
  if (differences.length > 0) throw new Error(`${differences.join('\n')}\n${MEANING}`)
})

const before: Contract = {
  errors: { not_found: { status: 404 }, conflict: { status: 409 } },
  jobs: { 'limits.forget': '25 * * * *' },
  rest: { 'GET /pools': { parameters: ['limit', 'cursor'] } },
}
const changed = (change: object) => differencesOf(before, { ...before, ...change })

test.each<[what: string, change: object, said: string]>([
  ['a name that is gone', { jobs: {} }, 'gone     jobs › limits.forget: "25 * * * *"'],
  ['a part that is gone', { jobs: undefined }, 'gone     jobs: {"limits.forget":"25 * * * *"}'],
  [
    'a name that has come',
    { jobs: { ...before['jobs'], sweep: '* * * * *' } },
    'new      jobs › sweep: "* * * * *"',
  ],
  [
    'a value within',
    { errors: { ...before['errors'], conflict: { status: 410 } } },
    'changed  errors › conflict › status: 409 → 410',
  ],
  [
    'a place in a list',
    { rest: { 'GET /pools': { parameters: ['limit'] } } },
    'gone     rest › GET /pools › parameters › 1: "cursor"',
  ],
])('control: %s is found and named', (_what, change, said) => {
  expect(changed(change)).toEqual([said])
})
