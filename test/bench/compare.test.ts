import { describe, expect, test } from 'bun:test'
import { judge, type Measured, renderComparison } from '../../bench/compare.ts'
import { inTurn } from '../../bench/order.ts'
import type { Result } from '../../bench/results.ts'

const long = { rounds: 9, seconds: 3 }
const even: Measured = { ratio: 1, spread: 1, runs: 9 }

describe('the verdict', () => {
  test('needs 0.97 of the parent', () => {
    expect(judge(even, long)).toBe('≥ 0.97')
    expect(judge({ ...even, ratio: 0.97 }, long)).toBe('≥ 0.97')
    expect(judge({ ...even, ratio: 0.969 }, long)).toBe('**below**')
  })

  test('is none where the parent differs from itself, with both numbers', () => {
    const both = { ...even, ratio: 0.9 }
    const said = '*not decided*: the parent against itself 1.031, against ours 0.900'
    expect(judge({ ...both, spread: 1.031 }, long)).toBe(said)
    expect(judge({ ...both, spread: 0.96 }, long)).toContain('*not decided*')
    expect(judge({ ...both, spread: 1.029 }, long)).toBe('**below**')
    expect(judge({ ...both, spread: undefined }, long)).toContain('against itself')
  })

  test('is none after too little', () => {
    expect(judge(even, { rounds: 8, seconds: 3 })).toBe('*not decided*: the run is too short')
    expect(judge(even, { rounds: 9, seconds: 2 })).toBe('*not decided*: the run is too short')
    expect(judge({ ...even, runs: 8 }, long)).toBe('*not decided*: 8 rounds count')
  })
})

describe('the table', () => {
  const run = (peer: string, round: number, perCpu: number, failures = 0): Result => {
    const figures = { rate_per_cpu: perCpu }
    return { peer, scenario: 'dm-500', round, figures, failures, failure: '' }
  }
  const folder = '/nowhere/parent'
  const checkouts = ['ours@parent', 'ours@parent#2'].map((name) => ({ word: name, name, folder }))
  const rows = [{ scenario: 'dm-500', unit: 'messages' }]

  test('has medians over the rounds that did not fail', () => {
    const results = [
      ...[1e4, 2e4, 3e4].map((perCpu, round) => run('ours', round, perCpu)),
      run('ours', 3, 1, 1),
      run('ours@parent', 0, 1.6e4),
      run('ours@parent#2', 0, 2e4),
    ]
    const text = renderComparison(results, rows, checkouts, { rounds: 4, seconds: 3 }).join('\n')
    expect(text).toContain('| `dm-500` | messages | 1 | 50 | 62.50 | 50 | 1.250 | 1.250 | *not')
    expect(text).toContain('**These figures decide nothing')
  })

  test('leaves out what was not measured', () => {
    const text = renderComparison([], rows, checkouts, long).join('\n')
    expect(text).not.toContain('dm-500')
    expect(text).not.toContain('decide nothing')
  })
})

test('three take their turns in all six orders', () => {
  const orders = Array.from({ length: 6 }, (_, round) => inTurn(['a', 'b', 'c'], round).join(''))
  expect(new Set(orders).size).toBe(6)
})
