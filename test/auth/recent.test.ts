import { expect, test } from 'bun:test'
import { recentMap } from '../../src/auth/sessions/recent-map.ts'

test('holds at most two generations, and what is used stays', () => {
  const map = recentMap<number, string>(100)
  map.set(-1, 'used')
  for (let i = 0; i < 1_000; i++) {
    map.set(i, `value ${i}`)
    expect(map.get(-1)).toBe('used')
    expect(map.size).toBeLessThanOrEqual(200)
  }
  expect(map.get(999)).toBe('value 999')
  expect(map.get(900)).toBe('value 900')
  expect(map.get(0)).toBeUndefined()
})
