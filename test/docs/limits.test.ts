import { describe, expect, test } from 'bun:test'
import { limitsPath, renderLimits } from '../../scripts/limits-docs.ts'
import { features } from '../../src/features.ts'
import { type LimitRule, LIMITS } from '../../src/kernel/limits.ts'

const rules = Object.entries(LIMITS) as [string, LimitRule][]

test('docs/limits.md is current', async () => {
  expect(await Bun.file(limitsPath).text()).toBe(renderLimits())
})

describe.each(rules)('the limit %s', (_name, { burst, perSecond, store, fails, why, per }) => {
  test('can be kept to, and says why it is there', () => {
    expect(Number.isInteger(burst) && burst >= 1).toBe(true)
    expect(perSecond).toBeGreaterThan(0)
    expect(Math.min(why.length, per.length)).toBeGreaterThan(5)
  })

  test('fails as its store does', () => {
    expect(fails).toBe(store === 'postgres' ? 'closed' : 'open')
  })

  test('is refilled in a time that somebody can wait for', () => {
    expect(burst / perSecond).toBeLessThanOrEqual(24 * 3_600)
  })
})

test('operations only name limits that are counted in memory', () => {
  for (const { operations } of features) {
    for (const { name, limit } of operations) {
      expect([name, LIMITS[limit].store]).toEqual([name, 'memory'])
    }
  }
})
