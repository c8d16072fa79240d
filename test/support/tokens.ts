import { Authenticator } from '../../src/auth/index.ts'
import type { TestServer } from './server.ts'

/** Somebody whom only a token knows: enough for channels that everybody may read. */
export interface Stranger {
  readonly id: string
  readonly token: string
}

/** Makes tokens of users who have never registered: hashing a thousand passwords takes minutes. */
export async function strangers(server: TestServer, count: number): Promise<Stranger[]> {
  const authenticator = server.kernel.use(Authenticator)
  const sessionEndsMs = Date.now() + 3_600_000
  return await Promise.all(
    Array.from({ length: count }, async () => {
      const id = crypto.randomUUID()
      const sessionId = crypto.randomUUID()
      const subject = { userId: id, sessionId, roles: ['user'] as const, sessionEndsMs }
      return { id, token: (await authenticator.issue(subject)).token }
    }),
  )
}
