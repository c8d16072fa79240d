import {
  Account,
  Email,
  getAccount,
  LinkToken,
  NewPassword,
  Passwords,
  Username,
} from '../../auth/index.ts'
import { Failure } from '../../base/errors.ts'
import {
  input,
  oneOf,
  page,
  pageFields,
  type Static,
  t,
  Timestamp,
  Uuid,
} from '../../base/schema.ts'
import { type Actor, anyone, user } from '../../kernel/access.ts'
import type { Context } from '../../kernel/context.ts'
import { idOfCursor, pageOf } from '../../kernel/cursor.ts'
import { operation } from '../../kernel/operation.ts'
import { SecurityLimits } from '../../kernel/security-limits.ts'
import { addressGroup } from '../../net/address.ts'
import {
  acceptInvitation,
  INVITATION_STATES,
  type InvitationRow,
  invite,
  listInvitations,
  peekInvitation,
  revokeInvitation,
  stateOf,
} from '../invitations.ts'

/** Becoming an administrator, by invitation. */

const admins = user({ roles: ['admin'] })

const Invitation = t.Object({
  id: Uuid,
  email: t.String(),
  state: oneOf(INVITATION_STATES),
  invited_by: Uuid,
  created_at: Timestamp,
  expires_at: Timestamp,
  accepted_at: t.Union([Timestamp, t.Null()]),
  accepted_by: t.Union([Uuid, t.Null()]),
})

function shown(row: InvitationRow, nowMs: number): Static<typeof Invitation> {
  const { id, email, invited_by, accepted_by } = row
  return {
    id,
    email,
    state: stateOf(row, nowMs),
    invited_by,
    created_at: row.created_at.toISOString(),
    expires_at: row.expires_at.toISOString(),
    accepted_at: row.accepted_at?.toISOString() ?? null,
    accepted_by,
  }
}

export const create = operation('admin.invitations.create', {
  summary: 'Invite somebody to become an administrator',
  description:
    'The link goes to the address, works once within 72 hours, and ends the one before it. It ' +
    'ends too when you are no administrator any more.',
  rest: 'POST /admin/invitations',
  status: 201,
  access: admins,
  limit: 'write',
  input: input({ email: Email }),
  output: Invitation,
  idempotent: true,
  stepUp: () => true,
  prepare: ({ kernel, actor }) => kernel.use(SecurityLimits).take('invitation', actor.userId),
  handler: async (ctx, { email }) => shown(await invite(ctx, email), ctx.clock.now()),
})

export const list = operation('admin.invitations.list', {
  summary: 'Invitations of administrators, newest first',
  rest: 'GET /admin/invitations',
  access: admins,
  limit: 'read',
  input: input(pageFields),
  output: page(Invitation),
  async run({ kernel, clock }, { limit = 50, cursor }) {
    const before = idOfCursor(cursor)
    const rows = await kernel.db.read((sql) => listInvitations(sql, limit + 1, before))
    const items = rows.map((row) => shown(row, clock.now()))
    return pageOf(items, limit, ({ id }) => id)
  },
})

export const revoke = operation('admin.invitations.revoke', {
  summary: 'Take an invitation back',
  rest: 'DELETE /admin/invitations/:invitation_id',
  access: admins,
  limit: 'write',
  input: input({ invitation_id: Uuid }),
  output: Invitation,
  handler: async (ctx, { invitation_id }) =>
    shown(await revokeInvitation(ctx, invitation_id), ctx.clock.now()),
})

export const accept = operation('admin.invitations.accept', {
  summary: 'Accept an invitation to become an administrator',
  description:
    'Signed in as the owner of the address with the token alone, or as somebody new with a ' +
    'password. Then sign in, or refresh your token, and set up a second factor: without one an ' +
    'administrator can do nothing.',
  rest: 'POST /admin/invitations/accept',
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: input({
    token: LinkToken,
    username: t.Optional(Username),
    password: t.Optional(NewPassword),
  }),
  output: t.Object({ user: Account }),
  async prepare(ctx, { token, username, password }) {
    const { kernel, actor } = ctx
    await proveInvitation(ctx, token)
    if (actor !== null || password === undefined) return undefined
    const passwordHash = await kernel.use(Passwords).hash(password)
    return { username, passwordHash }
  },
  async handler(ctx, { token }, newcomer) {
    const userId = await acceptInvitation(ctx, token, newcomer)
    return { user: await getAccount(ctx.tx.sql, userId) }
  },
})

/** Looks whether the link is good before a password is hashed; those that are none are counted. */
async function proveInvitation(
  { kernel, clock, actor, request }: Context<Actor | null>,
  token: string,
): Promise<void> {
  const limits = kernel.use(SecurityLimits)
  const address = addressGroup(request.address)
  await limits.take('reset_token_address', address)
  try {
    await kernel.db.read((sql) => peekInvitation(sql, clock, token))
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'invalid_link') throw error
    const line = { action: 'admin.invitation_refused', outcome: 'failure' } as const
    await kernel.audit.record({ ...line, caller: actor, request })
    throw error
  }
  await limits.giveBack('reset_token_address', address)
}
