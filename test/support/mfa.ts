import { freshCode } from './factor.ts'
import { type Body, type Person, rest } from './people.ts'
import type { TestServer } from './server.ts'

/** Calls that need a fresh second factor. */

/** A REST call, with the fresh second factor that it asks for. */
export async function restWithFactor(
  server: TestServer,
  method: string,
  path: string,
  { as, body }: { as: Person; body?: unknown },
): Promise<{ status: number; body: Body; headers: Headers }> {
  const options = { token: as.token, ...(body === undefined ? {} : { body }) }
  const first = await rest(server, method, path, options)
  if (first.body['code'] !== 'step_up_required') return first
  const token = await earnToken(server, as, first.body['challenge'] as string)
  return await rest(server, method, path, { ...options, headers: { 'X-Step-Up': token } })
}

/** Trades a challenge for the token of its call. */
export async function earnToken(
  server: TestServer,
  as: Person,
  challenge: string,
): Promise<string> {
  const { status, body } = await rest(server, 'POST', '/api/v1/auth/mfa/verify', {
    token: as.token,
    body: { challenge, code: await freshCode(server.kernel, as.id) },
  })
  if (status !== 200) throw new Error(`no step-up: ${status} ${JSON.stringify(body)}`)
  return body['step_up'] as string
}
