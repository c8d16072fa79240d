import type { SQL } from 'bun'
import { fourEyes } from '../approvals/index.ts'
import { Failure } from '../base/errors.ts'
import { input, type Static, t, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { operation } from '../kernel/operation.ts'
import type { Act } from './act.ts'
import { bookActs } from './book.ts'
import { reversalOf } from './reversal-act.ts'
import { LedgerId } from './shapes.ts'

/** Taking an act back: one administrator asks, another one agrees. */

const DAY_MS = 86_400_000

/**
 * Acts whose feature keeps a state beside them, which a bare reversal would contradict: how they
 * are taken back instead.
 */
const TAKEN_BACK_ELSEWHERE: Readonly<Record<string, string>> = {
  'funding.payment': 'Refund it at the payment provider: the ledger follows',
  'funding.refund': 'A payment made anew at the provider, or a bank transfer, undoes a refund',
  'payouts.settle': 'Enter the returned money as a bank transfer',
}

const Details = t.Object({
  act_id: LedgerId,
  kind: t.String({ description: 'What the act was' }),
  reason: t.String(),
  /** Users whose wallets it pays into. */
  gaining: t.Array(Uuid),
})
type Details = Static<typeof Details>

const flow = fourEyes({
  kind: 'ledger.reversal',
  details: Details,
  names: {
    list: 'ledger.reversals',
    approve: 'ledger.reversals.approve',
    reject: 'ledger.reversals.reject',
  },
  path: '/admin/ledger/reversals',
  what: 'the reversal of an act',
  ttlMs: 7 * DAY_MS,
  audited: ({ act_id, kind, reason }) => ({ after: { act_id, kind, reason } }),
  async approved(ctx, { id, details }) {
    const { kernel, tx, actor } = ctx
    const act = await takenBack(kernel, tx.sql, details.act_id, actor.userId)
    await bookActs(ctx, [{ ...act, label: `Reversal of ${details.act_id}` }])
    ctx.audit({
      action: 'ledger.reversed',
      target: { type: 'act', id: details.act_id },
      after: { approval: id },
    })
  },
})

/** Asks for the reversal of an act. */
const request = operation('ledger.reversals.request', {
  summary: 'Ask for an act to be taken back; another administrator has to agree',
  description:
    'A reversal is new transfers the other way round; nothing is erased. It is refused when what ' +
    'came in has been spent.',
  rest: 'POST /admin/ledger/reversals',
  status: 201,
  access: user({ roles: ['admin'] }),
  limit: 'write',
  input: input({
    act_id: LedgerId,
    reason: t.String({ minLength: 3, maxLength: 500, pattern: '^[^\\u0000-\\u001f]*$' }),
  }),
  output: flow.output,
  idempotent: true,
  stepUp: () => true,
  async handler(ctx, { act_id, reason }) {
    const { kernel, tx, actor } = ctx
    const act = await takenBack(kernel, tx.sql, act_id, actor.userId)
    const gaining = [
      ...new Set(
        act.entries.flatMap((entry) => {
          const owner = entry.type === 'transfer' ? entry.credit.owner : undefined
          return owner === undefined ? [] : [owner]
        }),
      ),
    ]
    const details = { act_id, kind: await kindOf(tx.sql, act_id), reason, gaining }
    return flow.show(
      await flow.request(ctx, { subject: act_id, details, barred: gaining }),
    ) as never
  },
})

/**
 * The act that takes one back.
 * @throws Failure also for acts that their feature has to take back, and for those taken back
 */
async function takenBack(kernel: Kernel, sql: SQL, id: string, actor: string): Promise<Act> {
  const act = await reversalOf(kernel, sql, BigInt(id), { actor })
  const elsewhere = TAKEN_BACK_ELSEWHERE[await kindOf(sql, id)]
  if (elsewhere !== undefined) throw new Failure('conflict', elsewhere)
  const [done] = await sql`select from ledger_acts where reverses = ${id}::text::bigint`
  if (done !== undefined) throw new Failure('conflict', 'It has been reversed already')
  return act
}

async function kindOf(sql: SQL, id: string): Promise<string> {
  const [row] = await sql`select kind from ledger_acts where id = ${id}::text::bigint`
  return (row?.kind ?? '') as string
}

/** Request, list, approve, reject. */
export const reversals = [request, ...flow.operations]
