import { createHmac } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { uuidv7 } from '../src/kernel/ids.ts'

/** Somebody who connects. Users 2p and 2p + 1 share a conversation. */
export interface BenchUser {
  readonly id: string
  readonly session: string
  readonly conversation: string
  readonly token: string
}

/** Longer than any run. */
const TOKEN_SECONDS = 86_400

/** Makes `count` users with access tokens signed by `secret`; nothing is stored. */
export function makeUsers(count: number, secret: string): readonly BenchUser[] {
  const pairs = Array.from({ length: Math.ceil(count / 2) }, () => uuidv7())
  return Array.from({ length: count }, (_, index) => {
    const id = uuidv7()
    const session = uuidv7()
    const conversation = pairs[index >> 1] ?? ''
    return { id, session, conversation, token: accessToken(id, session, secret) }
  })
}

/** Writes what the generator and the peers read: id, token, conversation. */
export function writeUsers(path: string, users: readonly BenchUser[]): void {
  const lines = users.map(({ id, token, conversation }) => `${id}\t${token}\t${conversation}\n`)
  writeFileSync(path, lines.join(''), { mode: 0o600 })
}

/** A token (HS256, RFC 7515) with the claims of our server's. */
function accessToken(user: string, session: string, secret: string): string {
  const nowSeconds = Math.floor(Date.now() / 1000)
  const claims = {
    iss: 'rialto',
    aud: 'rialto',
    sub: user,
    sid: session,
    role: 'user',
    iat: nowSeconds,
    exp: nowSeconds + TOKEN_SECONDS,
    typ: 'access',
  }
  const signed = [{ alg: 'HS256', typ: 'JWT' }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
    .join('.')
  const signature = createHmac('sha256', secret).update(signed).digest('base64url')
  return `${signed}.${signature}`
}
