import { input, page, pageFields, t, Timestamp, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import { encodeCursor, pageOf, placeOfCursor } from '../kernel/cursor.ts'
import { operation } from '../kernel/operation.ts'
import { addBlock, listBlocks, removeBlock } from './blocks.ts'

/** Blocking other users. */

const Block = t.Object({
  user_id: Uuid,
  username: t.String(),
  name: t.Union([t.String(), t.Null()]),
  avatar: t.Union([t.String(), t.Null()]),
  blocked_at: Timestamp,
})

export const blocksAdd = operation('blocks.add', {
  summary: 'Block a user',
  description:
    'Neither of you can write to the other any more, nor sees the other’s typing, receipts or ' +
    'presence. The other is not told; who writes to you is told that you cannot be reached. What ' +
    'was written stays.',
  rest: 'POST /users/:user_id/block',
  access: user(),
  limit: 'write',
  input: input({ user_id: Uuid }),
  output: t.Object({ user_id: Uuid, blocked: t.Literal(true), blocked_at: Timestamp }),
  async handler(ctx, { user_id }) {
    const blockedId = user_id.toLowerCase()
    const since = await addBlock(ctx, blockedId)
    return { user_id: blockedId, blocked: true, blocked_at: since.toISOString() } as const
  },
})

export const blocksRemove = operation('blocks.remove', {
  summary: 'Unblock a user',
  rest: 'DELETE /users/:user_id/block',
  access: user(),
  limit: 'write',
  input: input({ user_id: Uuid }),
  output: t.Object({ user_id: Uuid, blocked: t.Literal(false) }),
  async handler(ctx, { user_id }) {
    const blockedId = user_id.toLowerCase()
    await removeBlock(ctx, blockedId)
    return { user_id: blockedId, blocked: false } as const
  },
})

export const blocksList = operation('blocks.list', {
  summary: 'Whom you have blocked, newest first',
  rest: 'GET /blocks',
  access: user(),
  limit: 'read',
  input: input(pageFields),
  output: page(Block),
  async run({ kernel, actor }, { limit = 50, cursor }) {
    const place = placeOfCursor(cursor)
    const rows = await kernel.db.read((sql) => listBlocks(sql, actor.userId, limit + 1, place))
    const listed = rows.map((row) => ({ ...row, blocked_at: row.blocked_at.toISOString() }))
    return pageOf(listed, limit, (last) => encodeCursor([last.blocked_at, last.user_id]))
  },
})
