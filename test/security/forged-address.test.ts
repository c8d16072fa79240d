import { describe, expect, test } from 'bun:test'
import { LIMITS } from '../../src/kernel/limits.ts'
import { rest } from '../support/people.ts'
import { testServer } from '../support/server.ts'

/** An address that a client makes up must not give it fresh attempts. */

const { burst } = LIMITS.login_address

/** Guesses at as many accounts, each as from elsewhere; how many were compared and refused. */
async function guess(env: Record<string, string>, header: (n: number) => Record<string, string>) {
  const server = await testServer({
    env: { RATE_LIMITS: 'on', RATE_LIMIT_MAX_REQUESTS: '1000', ...env },
  })
  try {
    const outcomes = []
    for (let n = 0; n < burst + 5; n++) {
      const body = { login: `nobody-${n}`, password: 'a wrong password' }
      outcomes.push(await rest(server, 'POST', '/api/v1/auth/login', { body, headers: header(n) }))
    }
    const refused = outcomes.filter(({ status }) => status === 429)
    for (const { headers } of refused) {
      expect(headers.get('ratelimit')).toStartWith('"login_address";r=0;t=')
    }
    return { compared: outcomes.length - refused.length, refused: refused.length }
  } finally {
    await server.stop()
  }
}

const one = { compared: burst, refused: 5 }
const trusting = { TRUSTED_PROXIES: '127.0.0.1' }

describe('guesses from one place', () => {
  test('are counted as such when the client names others', async () => {
    expect(await guess({}, (n) => ({ 'X-Forwarded-For': `203.0.113.${n}` }))).toEqual(one)
  }, 30_000)

  test.each([
    ['X-Real-IP', (n: number) => `203.0.113.${n}`],
    ['Forwarded', (n: number) => `for=203.0.113.${n}`],
    ['True-Client-IP', (n: number) => `203.0.113.${n}`],
  ])(
    'are counted as such when %s says otherwise, also of a trusted proxy',
    async (name, value) => {
      expect(await guess(trusting, (n) => ({ [name]: value(n) }))).toEqual(one)
    },
    30_000,
  )

  test('are counted as such when the client has put others before its own', async () => {
    const header = (n: number) => ({ 'X-Forwarded-For': `203.0.113.${n}, 198.51.100.7` })
    expect(await guess(trusting, header)).toEqual(one)
  }, 30_000)

  test('are counted as such from all addresses of an IPv6 network', async () => {
    const header = (n: number) => ({ 'X-Forwarded-For': `2001:db8::${n.toString(16)}` })
    expect(await guess(trusting, header)).toEqual(one)
  }, 30_000)

  test('control: those that a trusted proxy tells apart are not', async () => {
    const header = (n: number) => ({ 'X-Forwarded-For': `203.0.113.${n}` })
    expect(await guess(trusting, header)).toEqual({ compared: burst + 5, refused: 0 })
  }, 30_000)
})
