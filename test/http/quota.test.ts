import { describe, expect, test } from 'bun:test'
import { testClock } from '../../src/base/clock.ts'
import { createAddressQuota } from '../../src/http/quota.ts'

const rule = { windowMs: 60_000, maxRequests: 2 }

describe('requests per address', () => {
  test('count down, end, and begin again with the next window', () => {
    const clock = testClock()
    const quota = createAddressQuota(clock, rule)
    expect(quota.take('a')).toEqual({ allowed: true, remaining: 1, resetMs: 60_000 })
    clock.advance(20_000)
    expect(quota.take('a')).toEqual({ allowed: true, remaining: 0, resetMs: 40_000 })
    expect(quota.take('a')).toEqual({ allowed: false, remaining: 0, resetMs: 40_000 })
    expect(quota.take('b').allowed).toBe(true)
    clock.advance(40_000)
    expect(quota.take('a')).toEqual({ allowed: true, remaining: 1, resetMs: 60_000 })
  })

  test('an IPv6 network of one customer is one address', () => {
    const quota = createAddressQuota(testClock(), rule)
    quota.take('2001:db8::1')
    quota.take('2001:db8::2')
    expect(quota.take('2001:db8::3').allowed).toBe(false)
    expect(quota.take('2001:db8:0:1::3').allowed).toBe(true)
  })

  test('a flood of addresses is forgotten from the oldest on, the newest is not', () => {
    const quota = createAddressQuota(testClock(), { windowMs: 60_000, maxRequests: 1 })
    for (let i = 0; i <= 100_000; i++) quota.take(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
    expect(quota.take('10.1.134.160').allowed).toBe(false)
    expect(quota.take('10.0.0.0').allowed).toBe(true)
  })
})
