import { Failure } from '../../kernel/errors.ts'
import { type Actor, operation, user } from '../../kernel/operation.ts'
import { input, page, pageFields, t, Uuid } from '../../kernel/schema.ts'
import { Passwords } from '../passwords.ts'
import { announceRevoked, revokeSessions } from '../sessions.ts'
import {
  Account,
  CreateUserInput,
  Profile,
  UpdateProfileInput,
  UpdateUserInput,
} from '../shapes.ts'
import {
  closeAccount,
  createUser,
  findProfiles,
  getAccount,
  listProfiles,
  noSuchUser,
  updateProfile,
} from '../users.ts'

/** Accounts and profiles. */

export const me = operation('auth.me', {
  summary: "One's own account",
  rest: 'GET /auth/me',
  aliases: ['GET /auth/profile', 'GET /users/me', 'GET /users/profile'],
  access: user(),
  limit: 'read',
  input: input({}),
  output: Account,
  run: ({ kernel, actor }) => kernel.db.read((sql) => getAccount(sql, actor.userId)),
})

export const updateMe = operation('auth.update_profile', {
  summary: "Change one's own profile",
  rest: 'PUT /auth/me',
  aliases: ['PUT /auth/profile', 'PUT /users/me', 'PUT /users/profile'],
  access: user(),
  limit: 'write',
  input: UpdateProfileInput,
  output: Account,
  handler: ({ tx, clock, actor }, change) => updateProfile(tx.sql, clock, actor.userId, change),
})

export const list = operation('users.list', {
  summary: 'Public profiles in order of their names',
  rest: 'GET /users',
  access: user(),
  limit: 'read',
  input: input({
    ...pageFields,
    q: t.Optional(
      t.String({ pattern: '^[A-Za-z0-9._-]{1,50}$', description: 'How the username begins' }),
    ),
  }),
  output: page(Profile),
  run: ({ kernel }, { q = '', limit = 50, cursor }) =>
    kernel.db.read((sql) => listProfiles(sql, { prefix: q, cursor, limit })),
})

export const get = operation('users.get', {
  summary: 'A public profile',
  rest: 'GET /users/:user_id',
  access: user(),
  limit: 'read',
  input: input({ user_id: Uuid }),
  output: Profile,
  async run({ kernel }, { user_id }) {
    const [profile] = await kernel.db.read((sql) => findProfiles(sql, [user_id]))
    if (profile === undefined) throw noSuchUser()
    return profile
  },
})

export const create = operation('users.create', {
  summary: 'Create an account for somebody',
  rest: 'POST /users',
  status: 201,
  access: user({ roles: ['admin'] }),
  limit: 'identity',
  input: CreateUserInput,
  output: Account,
  idempotent: true,
  prepare: ({ kernel }, { password }) => kernel.use(Passwords).hash(password),
  async handler({ tx, clock }, account, passwordHash) {
    const userId = await createUser(tx.sql, clock, account, passwordHash as string)
    return await getAccount(tx.sql, userId)
  },
})

export const update = operation('users.update', {
  summary: "Change a profile: one's own, or as an administrator anybody's",
  rest: 'PUT /users/:user_id',
  access: user(),
  limit: 'write',
  input: UpdateUserInput,
  output: Account,
  async handler({ tx, clock, actor }, { user_id, ...change }) {
    ownOrAdmin(actor, user_id)
    return await updateProfile(tx.sql, clock, user_id, change)
  },
})

export const remove = operation('users.delete', {
  summary: "Close an account: one's own, or as an administrator anybody's",
  description: 'What identifies the person is erased and every session ends; the id stays.',
  rest: 'DELETE /users/:user_id',
  access: user(),
  limit: 'write',
  input: input({ user_id: Uuid }),
  output: t.Object({ id: Uuid, deleted: t.Literal(true) }),
  async handler({ kernel, tx, clock, actor, afterCommit }, { user_id }) {
    ownOrAdmin(actor, user_id)
    await closeAccount(tx.sql, clock, user_id)
    const revoked = await revokeSessions(tx.sql, clock, { userId: user_id }, 'account_closed')
    afterCommit(() => announceRevoked(kernel, revoked))
    return { id: user_id, deleted: true } as const
  },
})

function ownOrAdmin(actor: Actor, userId: string): void {
  // Ids compare as the database does: in any case.
  if (actor.userId === userId.toLowerCase() || actor.roles.includes('admin')) return
  throw new Failure('forbidden', 'Not your own account, and you are no administrator')
}
