import { renderSVG } from 'uqr'
import { Failure } from '../../base/errors.ts'
import { input, type Static, t, Timestamp } from '../../base/schema.ts'
import { type Actor, user } from '../../kernel/access.ts'
import type { Context, WriteContext } from '../../kernel/context.ts'
import { operation } from '../../kernel/operation.ts'
import { lockUser } from '../accounts/lock.ts'
import { getAccount } from '../accounts/users.ts'
import { mailUser, originOf } from '../mailbox/notices.ts'
import { tellOwner } from '../mailbox/security-notices.ts'
import { Authenticator } from '../sessions/authenticator.ts'
import { MfaCode, OfferedPassword } from '../shapes.ts'
import { provePassword } from '../sign-in/proofs.ts'
import { codeWasRight, countCode, type Guesser } from './code-attempts.ts'
import {
  beginSetup,
  factorStatus,
  hasSecondFactor,
  noSecondFactor,
  removeFactor,
  renewRecoveryCodes,
  showCode,
  useFactor,
} from './mfa.ts'
import { cancelRecovery, openRecovery } from './recoveries.ts'
import { earnStepUp, readChallenge } from './step-up.ts'
import { totpText, totpUrl } from './totp.ts'

/** The second factor: set up, shown, taken away. */

const RecoveryCodes = t.Array(t.String(), {
  description: 'Each signs in once instead of a code; shown this once, so keep them safe',
})

/** An account without a password shows by a fresh login that it is the owner. */
const FRESH_LOGIN_MS = 10 * 60_000

export const setup = operation('auth.mfa.setup', {
  summary: 'Begin to set up a second factor',
  description:
    'Answers with the secret for an authenticator app. It takes effect when `auth.mfa.verify` ' +
    'gets the first code from the same session within 15 minutes; beginning again replaces it. ' +
    'Who has a second factor shows it first (step-up) and keeps it till then. An account without ' +
    'a password signs in anew instead of giving one.',
  rest: 'POST /auth/mfa/setup',
  access: user(),
  limit: 'identity',
  input: input({ password: t.Optional(OfferedPassword) }),
  output: t.Object({
    secret: t.String({ description: 'Base32' }),
    otpauth_url: t.String(),
    qr: t.String({ description: 'The URL as a QR code: a data URL of an SVG image' }),
    expires_at: Timestamp,
  }),
  stepUp: ({ tx, actor }) => hasSecondFactor(tx.sql, actor.userId),
  prepare: (ctx, { password }) => proveOwner(ctx, password),
  async handler(ctx) {
    const { email } = await getAccount(ctx.tx.sql, ctx.actor.userId)
    const { secret, expiresAt } = await beginSetup(ctx)
    const otpauth_url = totpUrl(secret, email)
    const svg = renderSVG(otpauth_url)
    return {
      secret: totpText(secret),
      otpauth_url,
      qr: `data:image/svg+xml;base64,${Buffer.from(svg).toString('base64')}`,
      expires_at: expiresAt.toISOString(),
    }
  },
})

/** @throws Failure `invalid_credentials` | `validation_failed` | `forbidden` */
async function proveOwner(ctx: Context, password: string | undefined): Promise<void> {
  if (password !== undefined) {
    await provePassword(ctx, password)
    return
  }
  const { kernel, clock, actor } = ctx
  const [session] = (await kernel.db.read(
    (sql) => sql`
      select u.password_hash is not null as has_password, s.created_at
      from sessions s join users u on u.id = s.user_id where s.id = ${actor.sessionId}`,
  )) as { has_password: boolean; created_at: Date }[]
  if (session === undefined || session.has_password) {
    throw new Failure('validation_failed', 'password: is required', {
      errors: [{ path: '/password', message: 'is required' }],
    })
  }
  if (clock.now() - session.created_at.getTime() > FRESH_LOGIN_MS) {
    throw new Failure('forbidden', 'Sign in anew first: this account has no password')
  }
}

const Verified = t.Object({
  enabled: t.Optional(t.Literal(true, { description: 'The second factor is now in force' })),
  recovery_codes: t.Optional(RecoveryCodes),
  token: t.Optional(
    t.String({ description: 'Access token that says that the session has shown the factor' }),
  ),
  step_up: t.Optional(
    t.String({
      description: 'For the call of the challenge: `X-Step-Up`, or `step_up` of a frame',
    }),
  ),
  expires_at: Timestamp,
})

export const verify = operation('auth.mfa.verify', {
  summary: 'Show a code of the second factor',
  description:
    'With the `challenge` of a call that was answered `step_up_required`: answers with `step_up` ' +
    'for that very call, good once within 5 minutes. Without: the first code of a new ' +
    'authenticator enables it (`enabled`, `recovery_codes`, and every other session ends), any ' +
    'other is noted for the session; both answer with a `token` that says so.',
  rest: 'POST /auth/mfa/verify',
  access: user(),
  limit: 'identity',
  input: input({
    code: MfaCode,
    challenge: t.Optional(t.String({ minLength: 1, maxLength: 1_000 })),
  }),
  output: Verified,
  async prepare({ kernel, actor, request }, { challenge }) {
    const read = challenge === undefined ? undefined : readChallenge(kernel, actor, challenge)
    await countCode(kernel, request, guesserOf(actor))
    return read
  },
  async handler(ctx, { code }, challenge): Promise<Static<typeof Verified>> {
    codeWasRight(ctx, guesserOf(ctx.actor))
    if (challenge !== undefined) {
      const { token, expiresAt } = await earnStepUp(ctx, challenge, code)
      return { step_up: token, expires_at: expiresAt.toISOString() }
    }
    const shown = await showCode(ctx, code)
    const access = await freshToken(ctx)
    if (!shown.enabled) return access
    return { enabled: true, recovery_codes: shown.recoveryCodes, ...access }
  },
})

/**
 * An access token of the actor's session that says that it has shown a second factor.
 * @throws Failure `session_revoked`
 */
async function freshToken({ kernel, tx, actor }: WriteContext) {
  const { userId, sessionId } = actor
  const [session] = (await tx.sql`
    select expires_at from sessions
    where id = ${sessionId} and revoked_at is null`) as { expires_at: Date }[]
  if (session === undefined) throw new Failure('session_revoked')
  const { roles } = await getAccount(tx.sql, userId)
  const { token, expiresAtMs } = await kernel.use(Authenticator).issue({
    userId,
    sessionId,
    roles,
    sessionEndsMs: session.expires_at.getTime(),
    mfa: true,
  })
  return { token, expires_at: new Date(expiresAtMs).toISOString() }
}

/** Each session has a count of its own. */
const guesserOf = ({ userId, sessionId }: Actor): Guesser => ({ userId, place: sessionId })

/** A fresh code in the input, or else a step-up. */
const freshCode = {
  code: t.Optional(MfaCode),
}
const withoutCode = (_ctx: WriteContext, { code }: { code?: string }) => code === undefined

async function countGivenCode(
  { kernel, actor, request }: Context,
  { code }: { code?: string },
): Promise<void> {
  if (code === undefined) return
  await countCode(kernel, request, guesserOf(actor))
}

/** Uses up the code, where one was given; where none was, a step-up has been shown. */
async function useGivenCode(ctx: WriteContext, code: string | undefined): Promise<void> {
  if (code === undefined) return
  await useFactor(ctx, ctx.actor.userId, code)
  codeWasRight(ctx, guesserOf(ctx.actor))
}

export const disable = operation('auth.mfa.disable', {
  summary: 'Take the second factor away',
  description:
    'Needs a fresh code, in the input or as a step-up. Ends every other session. Administrators ' +
    'need a second factor and can only replace theirs (`auth.mfa.setup`).',
  rest: 'POST /auth/mfa/disable',
  access: user(),
  limit: 'identity',
  input: input(freshCode),
  output: t.Object({
    enabled: t.Literal(false),
    sessions_ended: t.Integer({ description: 'Other sessions that this has ended' }),
  }),
  prepare: countGivenCode,
  stepUp: withoutCode,
  async handler(ctx, { code }) {
    const { tx, actor } = ctx
    const { userId, sessionId } = actor
    if ((await lockUser(tx.sql, userId)) === undefined) throw new Failure('not_found')
    if (!(await hasSecondFactor(tx.sql, userId))) throw noSecondFactor()
    const { roles } = await getAccount(tx.sql, userId)
    if (roles.includes('admin')) {
      throw new Failure('forbidden', 'Administrators keep their second factor; they may replace it')
    }
    await useGivenCode(ctx, code)
    await cancelRecovery(ctx, userId, 'factor_shown')
    const ended = await removeFactor(ctx, userId, sessionId)
    ctx.audit({
      action: 'auth.mfa_disabled',
      target: { type: 'user', id: userId },
      after: { sessions_ended: ended },
    })
    const origin = originOf(ctx)
    tellOwner(ctx, userId, 'mfa_disabled', { device: origin.device, address: origin.address })
    await mailUser(ctx, userId, 'mfa_disabled', origin, { everyAddress: true })
    return { enabled: false, sessions_ended: ended } as const
  },
})

export const newRecoveryCodes = operation('auth.mfa.recovery_codes', {
  summary: 'New recovery codes instead of all earlier ones',
  description: 'Needs a fresh code, in the input or as a step-up.',
  rest: 'POST /auth/mfa/recovery-codes',
  access: user(),
  limit: 'identity',
  input: input(freshCode),
  output: t.Object({ recovery_codes: RecoveryCodes }),
  prepare: countGivenCode,
  stepUp: withoutCode,
  async handler(ctx, { code }) {
    await useGivenCode(ctx, code)
    return { recovery_codes: await renewRecoveryCodes(ctx) }
  },
})

const nullable = <S extends typeof Timestamp>(schema: S) => t.Union([schema, t.Null()])

export const status = operation('auth.mfa.status', {
  summary: 'What second factor one has',
  rest: 'GET /auth/mfa',
  access: user(),
  limit: 'read',
  input: input({}),
  output: t.Object({
    enabled: t.Boolean(),
    enabled_at: nullable(Timestamp),
    shown: t.Boolean({ description: 'This session has shown it' }),
    recovery_codes_left: t.Integer(),
    recovery: t.Union(
      [t.Object({ started_at: Timestamp, completes_at: Timestamp, ends_at: Timestamp }), t.Null()],
      { description: 'An open request to remove the second factor; see `auth.recovery.cancel`' },
    ),
  }),
  run: ({ kernel, clock, actor }) =>
    kernel.db.read(async (sql) => {
      const { enabledAt, recoveryCodesLeft } = await factorStatus(sql, actor.userId)
      const open = await openRecovery(sql, clock.date(), actor.userId)
      const [session] = await sql`
        select mfa_at is not null as shown from sessions where id = ${actor.sessionId}`
      return {
        enabled: enabledAt !== undefined,
        enabled_at: enabledAt?.toISOString() ?? null,
        shown: (session?.shown ?? false) as boolean,
        recovery_codes_left: recoveryCodesLeft,
        recovery:
          open === undefined
            ? null
            : {
                started_at: open.started_at.toISOString(),
                completes_at: open.completes_at.toISOString(),
                ends_at: open.ends_at.toISOString(),
              },
      }
    }),
})
