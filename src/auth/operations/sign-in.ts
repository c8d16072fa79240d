import { Failure } from '../../kernel/errors.ts'
import { type Actor, anyone, operation, user, type WriteContext } from '../../kernel/operation.ts'
import { input, type Static, t, Timestamp } from '../../kernel/schema.ts'
import { Passwords } from '../passwords.ts'
import { refresh as rotateTokens } from '../refresh.ts'
import { signIn, signInAgain } from '../sessions.ts'
import { LoginInput, RefreshInput, RegisterInput, SignedIn } from '../shapes.ts'
import { makeTicket } from '../tickets.ts'
import { createUser, findCredentials } from '../users.ts'

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
  prepare: ({ kernel }, { password }) => kernel.use(Passwords).hash(password),
  async handler(ctx, account, passwordHash) {
    const userId = await createUser(ctx.tx.sql, ctx.clock, account, passwordHash as string)
    return await signIn(ctx, userId)
  },
})

/** A login whose password was right. */
interface ProvenLogin {
  readonly userId: string
  /** Hash to store instead of the outdated one. */
  readonly rehash: { from: string; to: string } | undefined
}

export const login = operation('auth.login', {
  summary: 'Sign in',
  description: 'By email or username and password. Other providers are refused until configured.',
  rest: 'POST /auth/login',
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: LoginInput,
  output: SignedIn,
  idempotent: true,
  secretOutput: tokensOnce,
  async prepare({ kernel }, fields): Promise<ProvenLogin> {
    const { name, password } = credentialsOf(fields)
    const passwords = kernel.use(Passwords)
    const known = await kernel.db.read((sql) => findCredentials(sql, name))
    const hash = known?.password_hash ?? null
    const verdict = await passwords.verify(password, hash)
    if (known === undefined || hash === null || verdict === 'wrong') {
      throw new Failure('invalid_credentials', 'Unknown user or wrong password')
    }
    if (verdict === 'right') return { userId: known.id, rehash: undefined }
    return { userId: known.id, rehash: { from: hash, to: await passwords.hash(password) } }
  },
  async handler(ctx, _fields, prepared) {
    const { userId, rehash } = prepared as ProvenLogin
    if (rehash !== undefined) {
      await ctx.tx.sql`
        update users set password_hash = ${rehash.to}
        where id = ${userId} and password_hash = ${rehash.from}`
    }
    return await signIn(ctx, userId)
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
  run: ({ kernel }, { refresh_token }) => rotateTokens(kernel, refresh_token),
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
