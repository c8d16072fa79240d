import { writeFileSync } from 'node:fs'
import { createAccessTokens } from '../src/auth/sessions/tokens.ts'
import { systemClock } from '../src/base/clock.ts'
import { uuidv7 } from '../src/base/ids.ts'

/** Somebody who connects. Users 2p and 2p + 1 share a conversation. */
export interface BenchUser {
  readonly id: string
  readonly session: string
  readonly conversation: string
  readonly token: string
}

/** Life of a token: longer than any run. */
const TOKEN_MS = 86_400_000

/** Makes `count` users with access tokens signed by `secret`; nothing is stored. */
export async function makeUsers(count: number, secret: string): Promise<readonly BenchUser[]> {
  const tokens = createAccessTokens({
    secrets: [secret],
    accessTtlMs: TOKEN_MS,
    clock: systemClock,
  })
  const sessionEndsMs = systemClock.now() + TOKEN_MS
  const users: BenchUser[] = []
  for (let index = 0; index < count; index++) {
    const [id, session] = [uuidv7(), uuidv7()]
    const subject = { userId: id, sessionId: session, roles: ['user'], sessionEndsMs } as const
    const { token } = await tokens.sign(subject)
    const conversation = index % 2 === 0 ? uuidv7() : (users[index - 1]?.conversation ?? '')
    users.push({ id, session, conversation, token })
  }
  return users
}

/** Writes what the generator and the peers read: id, token, conversation. */
export function writeUsers(path: string, users: readonly BenchUser[]): void {
  const lines = users.map(({ id, token, conversation }) => `${id}\t${token}\t${conversation}\n`)
  writeFileSync(path, lines.join(''), { mode: 0o600 })
}
