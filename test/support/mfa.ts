import { freshCode } from './factor.ts'
import { type Body, type Person, rest } from './people.ts'
import type { TestServer } from './server.ts'

/** Calls that need a fresh second factor. */

/** A call, by whom. */
interface Called {
  readonly as: Person
  readonly body?: unknown
  readonly headers?: Record<string, string>
}

/** A REST call, with the fresh second factor that it asks for. */
export async function restWithFactor(
  server: TestServer,
  method: string,
  path: string,
  { as, body, headers }: Called,
): Promise<{ status: number; body: Body; headers: Headers }> {
  const options = {
    token: as.token,
    ...(body === undefined ? {} : { body }),
    ...(headers === undefined ? {} : { headers }),
  }
  const first = await rest(server, method, path, options)
  if (first.body['code'] !== 'step_up_required') return first
  const token = await earnToken(server, as, first.body['challenge'] as string)
  return await rest(server, method, path, {
    ...options,
    headers: { ...headers, 'X-Step-Up': token },
  })
}

/** The header with which a call that needs a fresh second factor goes through, once. */
export async function provenFor(
  server: TestServer,
  method: string,
  path: string,
  { as, body }: Called,
): Promise<{ 'X-Step-Up': string }> {
  const options = { token: as.token, ...(body === undefined ? {} : { body }) }
  const refused = await rest(server, method, path, options)
  if (refused.body['code'] !== 'step_up_required') {
    throw new Error(`${method} ${path} was not asked for a second factor: ${refused.status}`)
  }
  return { 'X-Step-Up': await earnToken(server, as, refused.body['challenge'] as string) }
}

/** Whose codes are being used: the next one of the same person is taken after that. */
const turns = new Map<string, Promise<unknown>>()

/** Trades a challenge for the token of its call. */
export function earnToken(server: TestServer, as: Person, challenge: string): Promise<string> {
  const turn = (turns.get(as.id) ?? Promise.resolve()).then(async () => {
    const { status, body } = await rest(server, 'POST', '/api/v1/auth/mfa/verify', {
      token: as.token,
      body: { challenge, code: await freshCode(server.kernel, as.id) },
    })
    if (status !== 200) throw new Error(`no step-up: ${status} ${JSON.stringify(body)}`)
    return body['step_up'] as string
  })
  turns.set(
    as.id,
    turn.catch(() => undefined),
  )
  return turn
}
