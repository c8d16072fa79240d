import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { Accounts } from './accounts.ts'
import type { Act, TransferEntry } from './act.ts'

/**
 * The act that takes another one back: the same transfers the other way round, last first. Post it
 * like any other; it is refused when the act has been reversed already, or when what came in has
 * been spent.
 *
 * @param act id of the act to take back
 * @throws Failure `not_found` for an act that does not exist or moved nothing, `conflict` for one
 *   that is itself a reversal
 */
export async function reversalOf(
  kernel: Kernel,
  sql: SQL,
  act: bigint,
  by: { readonly actor: string; readonly label?: string },
): Promise<Act> {
  const rows = (await sql`
    select t.debit::text, t.credit::text, t.amount::text, a.reverses is not null as reversal,
      a.ref_type, a.ref_id
    from ledger_acts a join ledger_transfers t on t.act = a.id
    where a.id = ${act.toString()}::text::bigint order by t.n desc`) as Row[]
  const [first] = rows
  if (first === undefined) throw new Failure('not_found', 'No such act with transfers')
  if (first.reversal) throw new Failure('conflict', 'A reversal is not reversed: post a new act')
  const accounts = kernel.use(Accounts)
  const entries: TransferEntry[] = []
  for (const { debit, credit, amount } of rows) {
    const from = await accounts.find(Number(credit), sql)
    const to = await accounts.find(Number(debit), sql)
    if (from === undefined || to === undefined) throw new Error(`act ${act} without accounts`)
    entries.push({ type: 'transfer', debit: from, credit: to, amount: BigInt(amount) })
  }
  const { ref_type: type, ref_id: id } = first
  return {
    key: `ledger.reverse:${act}`,
    kind: 'ledger.reverse',
    reverses: act,
    actor: by.actor,
    ...(by.label === undefined ? {} : { label: by.label }),
    ...(type === null || id === null ? {} : { reference: { type, id } }),
    entries,
  }
}

interface Row {
  readonly debit: string
  readonly credit: string
  readonly amount: string
  readonly reversal: boolean
  readonly ref_type: string | null
  readonly ref_id: string | null
}
