import { hasSecondFactor } from '../auth/index.ts'
import { input, oneOf, page, type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import { badCursor } from '../kernel/cursor.ts'
import { operation } from '../kernel/operation.ts'
import { queue } from '../kernel/queue.ts'
import { deleteExport, type ExportRow, listExports, readPage, requestExport } from './exports.ts'
import { writeExport } from './writer.ts'

/** A copy of one's own data. */

const TRIES_MAX = 5

/** Copies on their way. */
export const exportQueue = queue('privacy.export', {
  description: 'Collects what is held of a person, for themself',
  payload: t.Object({ export_id: Uuid }),
  concurrency: 1,
  deadlineMs: 15 * 60_000,
  triesMax: TRIES_MAX,
  backoffMs: 30_000,
  perform: (ctx, { export_id }) => writeExport(ctx, export_id, TRIES_MAX),
})

const moment = t.Union([Timestamp, t.Null()])
const Export = t.Object({
  id: Uuid,
  state: oneOf(['pending', 'ready', 'failed']),
  created_at: Timestamp,
  ready_at: moment,
  expires_at: moment,
  items: t.Integer({ minimum: 0 }),
})

function shown({ id, state, created_at, ready_at, expires_at, items }: ExportRow) {
  return {
    id,
    state,
    created_at: created_at.toISOString(),
    ready_at: ready_at?.toISOString() ?? null,
    expires_at: expires_at?.toISOString() ?? null,
    items,
  } satisfies Static<typeof Export>
}

export const request = operation('privacy.export', {
  summary: 'Ask for a copy of your data',
  description:
    'It is written in the background; a letter says when it is ready to be fetched, for seven ' +
    'days. One a day. Needs a fresh second factor where you have one.',
  rest: 'POST /privacy/export',
  status: 201,
  access: user(),
  limit: 'write',
  input: input({}),
  output: Export,
  idempotent: true,
  stepUp: ({ tx, actor }) => hasSecondFactor(tx.sql, actor.userId),
  async handler(ctx) {
    const made = await requestExport(ctx)
    ctx.enqueue(exportQueue, { export_id: made.id })
    ctx.audit({
      action: 'privacy.export_requested',
      target: { type: 'user', id: ctx.actor.userId },
      after: { export_id: made.id },
    })
    return shown(made)
  },
})

export const list = operation('privacy.exports', {
  summary: 'Copies of your data, newest first',
  rest: 'GET /privacy/exports',
  access: user(),
  limit: 'read',
  input: input({}),
  output: page(Export),
  async run({ kernel, clock, actor }) {
    const rows = await kernel.db.read((sql) => listExports(sql, actor.userId, clock.date()))
    return { items: rows.map(shown), next_cursor: null }
  },
})

const PAGE_NUMBER = /^\d{1,6}$/

export const download = operation('privacy.export_download', {
  summary: 'A page of a copy of your data',
  description:
    'Items by section. Follow `next_cursor` until it is null; the pages together are the copy.',
  rest: 'GET /privacy/exports/:export_id/pages',
  access: user(),
  limit: 'read',
  input: input({
    export_id: Uuid,
    cursor: t.Optional(t.String({ minLength: 1, maxLength: 200 })),
  }),
  output: page(t.Object({ section: t.String(), item: t.Record(t.String(), t.Unknown()) })),
  async run({ kernel, actor, request }, { export_id, cursor }) {
    if (cursor !== undefined && !PAGE_NUMBER.test(cursor)) throw badCursor()
    const { text, next } = await readPage(kernel, actor.userId, export_id, Number(cursor ?? 0))
    if (cursor === undefined) {
      await kernel.audit.record({
        action: 'privacy.export_downloaded',
        target: { type: 'user', id: actor.userId },
        after: { export_id: export_id.toLowerCase() },
        caller: actor,
        request,
      })
    }
    return {
      items: JSON.parse(text) as { section: string; item: Record<string, unknown> }[],
      next_cursor: next === undefined ? null : String(next),
    }
  },
})

export const forget = operation('privacy.export_delete', {
  summary: 'Delete a copy of your data before its time',
  rest: 'DELETE /privacy/exports/:export_id',
  access: user(),
  limit: 'write',
  input: input({ export_id: Uuid }),
  output: t.Object({ id: Uuid, deleted: t.Literal(true) }),
  async handler(ctx, { export_id }) {
    const id = export_id.toLowerCase()
    await deleteExport(ctx, id)
    const target = { type: 'user', id: ctx.actor.userId }
    ctx.audit({ action: 'privacy.export_deleted', target, after: { export_id: id } })
    return { id, deleted: true } as const
  },
})
