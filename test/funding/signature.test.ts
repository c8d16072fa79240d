import { describe, expect, test } from 'bun:test'
import { checkSignature, TOLERANCE_MS } from '../../src/funding/signature.ts'
import { signed, WEBHOOK_SECRET } from '../support/payments.ts'

/** Signatures of payment webhooks: whatever is not exactly right is refused. */

const NOW_MS = 1_795_000_000_000
const body = '{"id":"evt_1","amount":100}'
const bytes = new TextEncoder().encode(body)
const good = signed(body, { atMs: NOW_MS })
const verdict = (
  header: string | undefined,
  of = bytes,
  secrets = [WEBHOOK_SECRET],
  now = NOW_MS,
) => {
  try {
    checkSignature(header, of, secrets, now)
    return 'accepted'
  } catch (error) {
    return (error as { code: string }).code
  }
}

test('a vector made elsewhere (Python’s hmac) by the provider’s description', () => {
  const payload = new TextEncoder().encode('{\n  "id": "evt_test_webhook",\n  "object": "event"\n}')
  const v1 = '2672d138c9a412830f3bfe2ecc5bfb3277cf6f5b49d0119d77dd6cb64da1257e'
  expect(verdict(`t=12345,v1=${v1}`, payload, ['whsec_test_secret'], 12_345_000)).toBe('accepted')
})

describe('accepted are', () => {
  test.each([
    ['what was just signed', good],
    ['what was signed five minutes ago', signed(body, { atMs: NOW_MS - TOLERANCE_MS })],
    ['a clock that is five minutes ahead', signed(body, { atMs: NOW_MS + TOLERANCE_MS })],
    ['one good signature among others', `${good},v1=${'0'.repeat(64)}`],
    ['a good one after others', good.replace(',v1=', `,v1=${'0'.repeat(64)},v0=abc,v1=`)],
    ['spaces between the parts', good.replace(',', ', ')],
    ['parts that nobody knows', `${good},v9=later`],
  ])('%s', (_what, header) => {
    expect(verdict(header)).toBe('accepted')
  })

  test('both secrets while one replaces the other', () => {
    const newer = 'whsec_the_next_one_of_the_tests'
    expect(verdict(good, bytes, [newer, WEBHOOK_SECRET])).toBe('accepted')
    expect(verdict(signed(body, { atMs: NOW_MS, secret: newer }), bytes, [newer])).toBe('accepted')
    expect(verdict(good, bytes, [newer])).toBe('unauthenticated')
  })
})

describe('refused are', () => {
  test.each([
    ['no header', undefined],
    ['an empty one', ''],
    ['another secret', signed(body, { atMs: NOW_MS, secret: 'whsec_of_somebody_else' })],
    ['an old one', signed(body, { atMs: NOW_MS - TOLERANCE_MS - 1_000 })],
    ['one of the future', signed(body, { atMs: NOW_MS + TOLERANCE_MS + 1_000 })],
    [
      'a fresh time on an old signature',
      signed(body, { atMs: 0 }).replace('t=0', `t=${NOW_MS / 1000}`),
    ],
    ['the scheme for tests alone', signed(body, { atMs: NOW_MS, scheme: 'v0' })],
    ['no time', good.slice(good.indexOf('v1='))],
    ['two times', `${good},t=${NOW_MS / 1000}`],
    ['a time that is no number', good.replace(/t=\d+/, 't=now')],
    ['a time with a sign', good.replace('t=', 't=+')],
    ['half a signature', good.slice(0, -2)],
    ['a longer one', `${good}00`],
    ['capitals', good.toUpperCase().replace('T=', 't=').replace('V1=', 'v1=')],
    [
      'eleven signatures',
      `t=${NOW_MS / 1000}${',v1='.padEnd(68, '0').repeat(10)},${good.split(',')[1]}`,
    ],
  ])('%s', (_what, header) => {
    expect(verdict(header)).toBe('unauthenticated')
  })

  test('every body with another byte, and none with another space', () => {
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice()
      changed[at]! ^= 1
      expect(verdict(good, changed)).toBe('unauthenticated')
    }
    expect(verdict(good, new TextEncoder().encode(`${body} `))).toBe('unauthenticated')
    expect(verdict(good, bytes, [])).toBe('unauthenticated')
  })
})
