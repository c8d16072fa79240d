import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import {
  input,
  oneOf,
  page,
  pageFields,
  type Static,
  t,
  Timestamp,
  type TObject,
  Uuid,
} from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import type { Context, WriteContext } from '../kernel/context.ts'
import type { JsonObject } from '../kernel/effects.ts'
import { type Operation, operation } from '../kernel/operation.ts'
import {
  agreedTo,
  type ApprovalRow,
  decideApproval,
  findApproval,
  insertApproval,
  listApprovals,
  STATES,
} from './store.ts'

/** Something asked for, with what the decision is on. */
export type Approval<D> = ApprovalRow<D>

/** One kind of thing that needs a second person. */
export interface FourEyesDefinition<D extends TObject, P = undefined> {
  /** `feature.noun`, stored and never reused; audit actions are made of it. */
  readonly kind: string
  /** Everything that the decision is on: what the second person gets to see. */
  readonly details: D
  /** Names of the operations. */
  readonly names: { readonly list: string; readonly approve: string; readonly reject: string }
  /** Address of the list; the decisions are at `/:id/<verb>` below it. */
  readonly path: `/admin/${string}`
  /** What agreeing is called in the address. Default: `approve`. */
  readonly verb?: string
  /** For the documents: `the reversal of an act`. */
  readonly what: string
  /** A request that nobody has decided after so long is over. */
  readonly ttlMs: number
  /** It is one's own that is asked for. Otherwise nobody asks for what they would gain by. */
  readonly ofOneself?: true
  /** How the details go into the audit log, and whose data they are. */
  readonly audited: (details: Static<D>) => {
    readonly after: JsonObject
    readonly personal?: JsonObject
    readonly subjectId?: string
  }
  /** What must be there before the transaction: accounts. */
  readonly prepare?: (ctx: Context, details: Static<D>) => Promise<P>
  /** Does what was asked, in the transaction of the decision. */
  readonly approved: (
    ctx: WriteContext,
    approval: Approval<Static<D>>,
    prepared: P,
  ) => Promise<void>
  /** Undoes what the request has done already. */
  readonly rejected?: (ctx: WriteContext, approval: Approval<Static<D>>) => Promise<void>
}

/** The ways of one kind. */
export interface FourEyes<D> {
  /**
   * Asks for it, in the caller's transaction.
   * @throws Failure `already_exists` when it is asked already, or was agreed to; `forbidden` when
   *   the caller would gain by it, unless that is what it is for
   */
  request(ctx: WriteContext, asked: Asked<D>): Promise<Approval<D>>
  /**
   * Takes a request back that is still pending.
   * @throws Failure `not_found` for one that `by` has not made, `conflict` for one that is decided
   */
  withdraw(ctx: WriteContext, id: string, by: { by: string; note: string }): Promise<void>
  /** What was agreed to, by the ids of the requests: of those that are not, nothing. */
  agreed(sql: SQL, ids: readonly string[]): Promise<ReadonlyMap<string, D>>
  /** List, approve, reject. */
  readonly operations: readonly Operation[]
  /** The schema of an answer. */
  readonly output: TObject
  /** An approval as clients see it. */
  show(approval: Approval<D>): Static<TObject>
}

/** What is asked for. */
export interface Asked<D> {
  /** Default: a new one. */
  readonly id?: string
  /** What it is about: the same can be asked for once at a time, and agreed to once. */
  readonly subject: string
  readonly details: D
  /** Users who would gain by it: none of them may agree, nor ask, unless it is `ofOneself`. */
  readonly barred: readonly string[]
}

const Note = t.Optional(
  t.String({ minLength: 1, maxLength: 500, pattern: '^[^\\u0000-\\u001f]*$' }),
)

/** Makes the operations of a kind of request. */
export function fourEyes<D extends TObject, P = undefined>(
  definition: FourEyesDefinition<D, P>,
): FourEyes<Static<D>> {
  const { kind, details, names, path, what, verb = 'approve' } = definition
  const output: TObject = t.Object({
    id: Uuid,
    subject: t.String(),
    details,
    state: oneOf(STATES),
    requested_by: Uuid,
    requested_at: Timestamp,
    expires_at: Timestamp,
    decided_by: t.Union([Uuid, t.Null()]),
    decided_at: t.Union([Timestamp, t.Null()]),
    note: t.Union([t.String(), t.Null()]),
  })
  type Row = Approval<Static<D>>
  // The details were checked against their schema when they were asked for.
  const typed = (row: ApprovalRow) => row as ApprovalRow<unknown> as Row
  const access = user({ roles: ['admin'] })

  const list = operation(names.list, {
    summary: `Requests for ${what}, newest first`,
    rest: `GET ${path}`,
    access,
    limit: 'read',
    input: input({ ...pageFields, cursor: t.Optional(Uuid), state: t.Optional(oneOf(STATES)) }),
    output: page(output),
    async run({ kernel, clock }, { state, cursor, limit = 50 }) {
      const query = { kind, state, before: cursor, limit: limit + 1 }
      const rows = await kernel.db.read((sql) => listApprovals(sql, clock.date(), query))
      const items = rows.slice(0, limit)
      const next = rows.length > limit ? (items.at(-1)?.id ?? null) : null
      return { items: items.map(shown), next_cursor: next }
    },
  })

  const find = async (ctx: Context, sql: WriteContext['tx']['sql'], id: string, lock: boolean) => {
    const row = await findApproval(sql, ctx.clock.date(), kind, id, { lock })
    if (row === undefined) throw noSuchRequest()
    return typed(row)
  }
  const decide = async (
    ctx: WriteContext,
    row: Row,
    state: 'approved' | 'rejected',
    note: string | undefined,
  ): Promise<Row> => {
    const now = ctx.clock.date()
    await decideApproval(ctx.tx.sql, now, row.id, { state, by: ctx.actor.userId, note })
    ctx.audit({
      action: `${kind}_${state}`,
      target: { type: 'approval', id: row.id },
      ...definition.audited(row.details),
    })
    return { ...row, state, decided_by: ctx.actor.userId, decided_at: now, note: note ?? null }
  }

  const approve = operation(names.approve, {
    summary: `Agree to ${what} that another administrator has asked for`,
    description: 'Not by whoever has asked, nor by who would gain by it. Needs a second factor.',
    rest: `POST ${path}/:id/${verb}`,
    access,
    limit: 'write',
    input: input({ id: Uuid, note: Note }),
    output,
    idempotent: true,
    stepUp: () => true,
    async prepare(ctx, { id }) {
      // Without `prepare`, `P` is undefined.
      if (definition.prepare === undefined) return undefined as P
      const row = await ctx.kernel.db.read((sql) => find(ctx, sql, id, false))
      return await definition.prepare(ctx, row.details)
    },
    async handler(ctx, { id, note }, prepared) {
      const row = await find(ctx, ctx.tx.sql, id, true)
      refuseOwn(ctx, kind, row)
      refuseDecided(row)
      const decided = await decide(ctx, row, 'approved', note)
      await definition.approved(ctx, decided, prepared)
      return shown(decided)
    },
  })

  const reject = operation(names.reject, {
    summary: `Refuse ${what}, or take one's own request back`,
    rest: `POST ${path}/:id/reject`,
    access,
    limit: 'write',
    input: input({ id: Uuid, note: Note }),
    output,
    idempotent: true,
    async handler(ctx, { id, note }) {
      const row = await find(ctx, ctx.tx.sql, id, true)
      refuseDecided(row)
      const decided = await decide(ctx, row, 'rejected', note)
      await definition.rejected?.(ctx, decided)
      return shown(decided)
    },
  })

  return {
    async request(ctx, { id, subject, details: asked, barred }) {
      const { clock, actor } = ctx
      if (definition.ofOneself !== true && barred.includes(actor.userId)) {
        const action = `${kind}_requested`
        ctx.auditRefusal({ action, outcome: 'denied', ...definition.audited(asked) })
        throw new Failure('forbidden', 'You would gain by it: somebody else has to ask')
      }
      const made = await insertApproval(ctx.tx.sql, clock.date(), {
        id: id ?? uuidv7(clock.now()),
        kind,
        subject,
        details: asked as JsonObject,
        requestedBy: actor.userId,
        barred,
        expiresAt: new Date(clock.now() + definition.ttlMs),
      })
      if (made === undefined) {
        throw new Failure('already_exists', `There is such a request already: ${what}`)
      }
      const target = { type: 'approval', id: made.id }
      ctx.audit({ action: `${kind}_requested`, target, ...definition.audited(asked) })
      return typed(made)
    },
    async withdraw(ctx, id, { by, note }) {
      const row = await find(ctx, ctx.tx.sql, id, true)
      if (row.requested_by !== by) throw noSuchRequest()
      refuseDecided(row)
      await decide(ctx, row, 'rejected', note)
    },
    async agreed(sql, ids) {
      const rows = await agreedTo(sql, kind, ids)
      return new Map(rows.map(({ id, details: asked }) => [id, asked as Static<D>]))
    },
    operations: [list, approve, reject],
    output,
    show: shown,
  }
}

const noSuchRequest = () => new Failure('not_found', 'No such request')

function refuseOwn(
  { actor, auditRefusal }: WriteContext,
  kind: string,
  { id, requested_by, barred }: Pick<ApprovalRow, 'id' | 'requested_by' | 'barred'>,
): void {
  const own = requested_by === actor.userId
  if (!own && !barred.includes(actor.userId)) return
  auditRefusal({
    action: `${kind}_approved`,
    outcome: 'denied',
    target: { type: 'approval', id },
  })
  throw new Failure(
    'forbidden',
    own
      ? 'You have asked for it: somebody else has to agree'
      : 'You would gain by it: somebody else has to agree',
  )
}

function refuseDecided({ state }: Pick<ApprovalRow, 'state'>): void {
  if (state === 'pending') return
  throw new Failure('conflict', state === 'expired' ? 'It has expired' : `It is ${state} already`)
}

function shown(row: ApprovalRow<unknown>) {
  const { barred: _barred, requested_at, expires_at, decided_at, ...rest } = row
  return {
    ...rest,
    requested_at: requested_at.toISOString(),
    expires_at: expires_at.toISOString(),
    decided_at: decided_at?.toISOString() ?? null,
  }
}
