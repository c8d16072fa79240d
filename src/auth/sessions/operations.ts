import { Failure } from '../../base/errors.ts'
import { input, page, pageFields, t, Uuid } from '../../base/schema.ts'
import { user } from '../../kernel/access.ts'
import { operation } from '../../kernel/operation.ts'
import { Session } from '../shapes.ts'
import { announceRevoked, listSessions, revokeSessions } from './sessions.ts'

/** One's own signed-in devices. */

export const logout = operation('auth.logout', {
  summary: 'Sign out of this session, or of all',
  rest: 'POST /auth/logout',
  access: user(),
  limit: 'write',
  input: input({ all: t.Optional(t.Boolean({ description: 'Every session of the account' })) }),
  output: t.Object({ revoked: t.Integer({ description: 'How many sessions have ended' }) }),
  async handler({ kernel, tx, clock, actor, audit, afterCommit }, { all = false }) {
    const { userId, sessionId } = actor
    const revoked = all
      ? await revokeSessions(tx.sql, clock, { userId }, 'logout_all')
      : await revokeSessions(tx.sql, clock, { userId, sessionId }, 'logout')
    audit({
      action: 'auth.signed_out',
      target: { type: 'user', id: userId },
      after: { sessions: revoked.length },
    })
    afterCommit(() => announceRevoked(kernel, revoked))
    return { revoked: revoked.length }
  },
})

export const list = operation('auth.sessions', {
  summary: "One's own sessions, newest first",
  rest: 'GET /auth/sessions',
  access: user(),
  limit: 'read',
  input: input(pageFields),
  output: page(Session),
  run: ({ kernel, actor }, { limit = 50, cursor }) => listSessions(kernel, actor, limit, cursor),
})

export const revoke = operation('auth.sessions.revoke', {
  summary: "End one of one's own sessions",
  rest: 'DELETE /auth/sessions/:session_id',
  access: user(),
  limit: 'write',
  input: input({ session_id: Uuid }),
  output: t.Object({ session_id: Uuid, revoked: t.Literal(true) }),
  async handler({ kernel, tx, clock, actor, audit, afterCommit }, { session_id }) {
    const { userId } = actor
    const [own] = await tx.sql`
      select id from sessions where id = ${session_id} and user_id = ${userId}`
    if (own === undefined) throw new Failure('not_found', 'No such session')
    const which = { userId, sessionId: session_id }
    const revoked = await revokeSessions(tx.sql, clock, which, 'revoked_by_user')
    if (revoked.length > 0) {
      audit({ action: 'auth.session_revoked', target: { type: 'session', id: own.id as string } })
    }
    afterCommit(() => announceRevoked(kernel, revoked))
    return { session_id, revoked: true } as const
  },
})
