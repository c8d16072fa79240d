import { Failure } from '../../base/errors.ts'
import { input, type Static, t, Timestamp } from '../../base/schema.ts'
import { type Actor, anyone, user } from '../../kernel/access.ts'
import type { WriteContext } from '../../kernel/context.ts'
import { operation } from '../../kernel/operation.ts'
import { SecurityLimits } from '../../kernel/security-limits.ts'
import { tellServices } from '../../kernel/service-event.ts'
import { addressGroup } from '../../net/address.ts'
import { createUser } from '../accounts/users.ts'
import { codeWasRight, countCode, type Guesser } from '../factors/code-attempts.ts'
import { askToVerify } from '../mailbox/verification.ts'
import { userRegistered } from '../service-events.ts'
import { knownDevice } from '../sessions/devices.ts'
import { refresh as rotateTokens } from '../sessions/refresh.ts'
import { makeTicket } from '../sessions/tickets.ts'
import { LoginInput, RefreshInput, RegisterInput, SignedIn } from '../shapes.ts'
import { countingTries } from './login-limits.ts'
import { holdLogin, proveLogin, type ProvenLogin } from './login-proof.ts'
import { Passwords } from './passwords.ts'
import { signIn, signInAgain } from './sign-in.ts'

/** Becoming somebody: registration, login, refresh, tickets. */

/** Tokens are not stored for repeated requests: the same session gets new ones. */
const tokensOnce = {
  remember: (output: SignedIn) => output.session_id,
  replay: (ctx: WriteContext<Actor | null>, sessionId: string) => signInAgain(ctx, sessionId),
}

export const register = operation('auth.register', {
  summary: 'Register an account and sign in',
  description:
    'Without a username one is derived from the address. The wallet stays unverified until a ' +
    'signature proves it.',
  rest: 'POST /auth/register',
  aliases: ['POST /auth/signup'],
  status: 201,
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: RegisterInput,
  output: SignedIn,
  idempotent: true,
  secretOutput: tokensOnce,
  async prepare({ kernel, request }, { password }) {
    await kernel.use(SecurityLimits).take('register_address', addressGroup(request.address))
    return await kernel.use(Passwords).hash(password)
  },
  async handler(ctx, account, passwordHash) {
    const userId = await createUser(ctx.tx.sql, ctx.clock, account, passwordHash as string)
    await askToVerify(ctx, userId)
    const target = { type: 'user', id: userId }
    ctx.audit({ action: 'auth.registered', actorId: userId, target })
    ctx.emit(tellServices(userRegistered, ctx.clock, { user_id: userId }))
    return await signIn(ctx, userId, { registering: true })
  },
})

/** What a login has proven before its transaction. */
interface LoginProof {
  readonly login: ProvenLogin
  /** Hash to store instead of an outdated one. */
  readonly rehash: string | undefined
  readonly guesser: Guesser | undefined
}

export const login = operation('auth.login', {
  summary: 'Sign in',
  description:
    'By email or username and password. An account with a second factor is answered ' +
    '`mfa_code_required` until `mfa_code` comes as well. Other providers are refused until ' +
    'configured.',
  rest: 'POST /auth/login',
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: LoginInput,
  output: SignedIn,
  idempotent: true,
  secretOutput: tokensOnce,
  async prepare(ctx, fields): Promise<LoginProof> {
    const { name, password } = credentialsOf(fields)
    const { kernel, request } = ctx
    const { mfa_code, device_token } = fields
    const prove = () => proveLogin(ctx, name, password)
    const login = await countingTries(ctx, name, device_token, prove)
    const rehash = login.outdated ? await kernel.use(Passwords).hash(password) : undefined
    if (mfa_code === undefined) return { login, rehash, guesser: undefined }
    const { userId } = login
    const place = await kernel.db.read((sql) => knownDevice(sql, userId, device_token))
    const guesser = { userId, place }
    await countCode(kernel, request, guesser)
    return { login, rehash, guesser }
  },
  async handler(ctx, fields, { login: proven, rehash, guesser }) {
    const { userId, hash } = proven
    const { password } = credentialsOf(fields)
    if (rehash !== undefined) {
      await ctx.tx.sql`
        update users set password_hash = ${rehash}
        where id = ${userId} and password_hash = ${hash}`
    }
    await holdLogin(ctx, rehash === undefined ? proven : { ...proven, hash: rehash }, password)
    const { mfa_code: mfaCode, device_token: deviceToken } = fields
    const answer = await signIn(ctx, userId, { mfaCode, deviceToken })
    if (guesser !== undefined) codeWasRight(ctx, guesser)
    return answer
  },
})

function credentialsOf(fields: Static<typeof LoginInput>): { name: string; password: string } {
  const { provider = 'password', password } = fields
  if (provider !== 'password') {
    throw invalid('provider', `sign-in by ${provider} is not configured on this server`)
  }
  const names = [fields.email, fields.username, fields.login].filter((name) => name !== undefined)
  const [name] = names
  if (name === undefined || names.length > 1) {
    throw invalid('login', 'give exactly one of email, username and login')
  }
  if (password === undefined) throw invalid('password', 'is required')
  return { name, password }
}

function invalid(field: string, message: string): Failure {
  return new Failure('validation_failed', `${field}: ${message}`, {
    errors: [{ path: `/${field}`, message }],
  })
}

export const refresh = operation('auth.refresh', {
  summary: 'Trade a refresh token for the next one and a fresh access token',
  description:
    'A refresh token is good for one use. The same one again within 10 s gets the same answer ' +
    '(a lost one can be asked for again); later it ends the session, since two seem to hold it.',
  rest: 'POST /auth/refresh',
  socket: false,
  access: anyone(),
  limit: 'write',
  input: RefreshInput,
  output: SignedIn,
  run: ({ kernel, request }, { refresh_token }) => rotateTokens(kernel, refresh_token, request),
})

export const ticket = operation('auth.ticket', {
  summary: 'A ticket that opens one socket, good for 30 s',
  rest: 'POST /auth/ticket',
  status: 201,
  socket: false,
  access: user(),
  limit: 'write',
  input: input({}),
  output: t.Object({ ticket: t.String(), expires_at: Timestamp }),
  async handler(ctx) {
    const made = await makeTicket(ctx)
    return { ticket: made.ticket, expires_at: new Date(made.expiresAtMs).toISOString() }
  },
})
