import { Failure } from '../../base/errors.ts'
import { input, page, pageFields, t, Uuid } from '../../base/schema.ts'
import { type Actor, isAdmin, user } from '../../kernel/access.ts'
import type { AuditEntry } from '../../kernel/effects.ts'
import { operation } from '../../kernel/operation.ts'
import { tellServices } from '../../kernel/service-event.ts'
import { askToVerify } from '../mailbox/verification.ts'
import { userRegistered } from '../service-events.ts'
import {
  Account,
  CreateUserInput,
  Profile,
  UpdateProfileInput,
  UpdateUserInput,
} from '../shapes.ts'
import { Passwords } from '../sign-in/passwords.ts'
import {
  createUser,
  findProfiles,
  getAccount,
  listProfiles,
  noSuchUser,
  refuseIfEnvironmentAdmin,
  updateProfile,
} from './users.ts'

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
  handler({ tx, clock, actor, audit }, change) {
    audit(profileChanged(actor.userId, change))
    return updateProfile(tx.sql, clock, actor.userId, change)
  },
})

export const list = operation('users.list', {
  summary: 'Public profiles in order of their names',
  rest: 'GET /users',
  access: user({ scope: 'users:read' }),
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
  access: user({ scope: 'users:read' }),
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
  description: 'Services may not make managers.',
  rest: 'POST /users',
  status: 201,
  access: user({ roles: ['admin'], scope: 'users:write' }),
  limit: 'identity',
  input: CreateUserInput,
  output: Account,
  idempotent: true,
  prepare: ({ kernel }, { password }) => kernel.use(Passwords).hash(password),
  async handler(ctx, account, passwordHash) {
    const { tx, clock } = ctx
    if (account.roles?.includes('admin')) {
      throw new Failure('forbidden', 'Administrators are invited: POST /admin/invitations')
    }
    if (ctx.actor.kind === 'service' && account.roles?.includes('manager')) {
      throw new Failure('forbidden', 'A service may not make managers')
    }
    const userId = await createUser(tx.sql, clock, account, passwordHash as string)
    await askToVerify(ctx, userId)
    const created = await getAccount(tx.sql, userId)
    ctx.audit({
      action: 'users.created',
      target: { type: 'user', id: userId },
      after: { roles: created.roles, actor_type: created.actor_type },
    })
    ctx.emit(tellServices(userRegistered, clock, { user_id: userId }))
    return created
  },
})

export const update = operation('users.update', {
  summary: "Change a profile: one's own, or as an administrator anybody's",
  rest: 'PUT /users/:user_id',
  access: user(),
  limit: 'write',
  input: UpdateUserInput,
  output: Account,
  async handler({ tx, clock, actor, audit }, { user_id, ...change }) {
    ownOrAdmin(actor, user_id)
    if (actor.userId !== user_id.toLowerCase()) await refuseIfEnvironmentAdmin(tx.sql, user_id)
    audit(profileChanged(user_id, change))
    return await updateProfile(tx.sql, clock, user_id, change)
  },
})

/** Which fields have changed; what they say is the person's own. */
function profileChanged(userId: string, change: object): AuditEntry {
  return {
    action: 'users.updated',
    target: { type: 'user', id: userId.toLowerCase() },
    after: { fields: Object.keys(change) },
  }
}

function ownOrAdmin(actor: Actor, userId: string): void {
  // Ids compare as the database does: in any case.
  if (actor.userId === userId.toLowerCase() || isAdmin(actor)) return
  throw new Failure('forbidden', 'Not your own account, and you are no administrator')
}
