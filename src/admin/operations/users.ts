import {
  ACCOUNT_STATES,
  AccountView,
  blockAccount,
  listAccounts,
  setRoles,
  unblockAccount,
  viewAccount,
} from '../../auth/index.ts'
import { input, oneOf, page, pageFields, t, Uuid } from '../../base/schema.ts'
import { ROLES, user } from '../../kernel/access.ts'
import { operation } from '../../kernel/operation.ts'
import { endInvitationsBy } from '../invitations.ts'

/** Accounts of others. */

const admins = user({ roles: ['admin'] })

export const list = operation('admin.users.list', {
  summary: 'Accounts, newest first, or those that are searched for',
  rest: 'GET /admin/users',
  access: admins,
  limit: 'read',
  input: input({
    ...pageFields,
    q: t.Optional(
      t.String({
        pattern: '^[\\x21-\\x7e]{1,254}$',
        description: 'How the username begins, or the address where it holds an `@`; or an id',
      }),
    ),
    state: t.Optional(oneOf(ACCOUNT_STATES)),
    role: t.Optional(oneOf(ROLES)),
  }),
  output: page(AccountView),
  async run({ kernel, actor, request }, { q, state, role, limit = 50, cursor }) {
    const found = await kernel.db.read((sql) =>
      listAccounts(sql, { q, state, role }, { limit, cursor }),
    )
    await kernel.audit.record({
      action: 'admin.users_listed',
      after: { state: state ?? null, role: role ?? null, found: found.items.length },
      ...(q === undefined ? {} : { personal: { q } }),
      caller: actor,
      request,
    })
    return found
  },
})

export const get = operation('admin.users.get', {
  summary: 'An account, closed ones too',
  rest: 'GET /admin/users/:user_id',
  access: admins,
  limit: 'read',
  input: input({ user_id: Uuid }),
  output: AccountView,
  async run({ kernel, actor, request }, { user_id }) {
    const account = await kernel.db.read((sql) => viewAccount(sql, user_id))
    const target = { type: 'user', id: account.id }
    await kernel.audit.record({ action: 'admin.user_viewed', target, caller: actor, request })
    return account
  },
})

export const block = operation('admin.users.block', {
  summary: 'Block an account',
  description:
    'Ends every session within a second and refuses to open another one, until it is unblocked. ' +
    'The owner gets a letter with the reason.',
  rest: 'POST /admin/users/:user_id/block',
  access: admins,
  limit: 'write',
  input: input({
    user_id: Uuid,
    reason: t.String({
      minLength: 1,
      maxLength: 500,
      pattern: '^[^\\u0000-\\u001f\\u007f]*$',
      description: 'For the owner of the account, who reads it',
    }),
  }),
  output: AccountView,
  stepUp: () => true,
  async handler(ctx, { user_id, reason }) {
    const userId = user_id.toLowerCase()
    await blockAccount(ctx, userId, reason)
    await endInvitationsBy(ctx.tx.sql, ctx.clock, userId)
    return await viewAccount(ctx.tx.sql, userId)
  },
})

export const unblock = operation('admin.users.unblock', {
  summary: 'Open a blocked account again',
  rest: 'POST /admin/users/:user_id/unblock',
  access: admins,
  limit: 'write',
  input: input({ user_id: Uuid }),
  output: AccountView,
  stepUp: () => true,
  async handler(ctx, { user_id }) {
    const userId = user_id.toLowerCase()
    await unblockAccount(ctx, userId)
    return await viewAccount(ctx.tx.sql, userId)
  },
})

export const roles = operation('admin.users.roles', {
  summary: 'Set the roles of an account',
  description:
    'Replaces all of them; `user` is always one. Whoever loses one is signed out everywhere ' +
    'within a second. Administrators are not made here but invited, and the last one stays.',
  rest: 'PUT /admin/users/:user_id/roles',
  access: admins,
  limit: 'write',
  input: input({
    user_id: Uuid,
    roles: t.Array(oneOf(ROLES), { maxItems: ROLES.length, uniqueItems: true }),
  }),
  output: AccountView,
  stepUp: () => true,
  async handler(ctx, input) {
    const userId = input.user_id.toLowerCase()
    const before = await setRoles(ctx, userId, input.roles)
    if (before.includes('admin') && !input.roles.includes('admin')) {
      await endInvitationsBy(ctx.tx.sql, ctx.clock, userId)
    }
    return await viewAccount(ctx.tx.sql, userId)
  },
})
