import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import { input, oneOf, page, pageFields, t, Timestamp, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import { operation } from '../kernel/operation.ts'
import { AssetCode, formatAmount } from '../money/money.ts'
import { type Account, ACCOUNT_KINDS, type AccountKind, Accounts } from './accounts.ts'
import { BooksChecks } from './books-report.ts'
import { instantOf } from './instant.ts'
import {
  CheckedBooks,
  LedgerAccount,
  LedgerAct,
  LedgerId,
  showLine,
  StatementItem,
} from './shapes.ts'
import { statementOf } from './statement.ts'

/** What administrators can see of the books. Nothing here changes them. */

const access = user({ roles: ['admin'] })

export const check = operation('ledger.check', {
  summary:
    'Whether the books are coherent: every asset sums to zero, every balance is its transfers',
  description:
    'Reads everything in one snapshot, beside postings. On large books it may answer ' +
    '`unavailable` and go on: ask again for the result.',
  rest: 'GET /admin/ledger/check',
  access,
  limit: 'read',
  input: input({}),
  output: CheckedBooks,
  run: ({ kernel }) => kernel.use(BooksChecks).now(),
})

interface AccountRow {
  readonly id: string
  readonly asset: string
  readonly kind: AccountKind
  readonly owner: string | null
  readonly reference: string
  readonly balance: string
  readonly held: string
  readonly opened_at: Date
  readonly closed_at: Date | null
}

export const accounts = operation('ledger.accounts', {
  summary: 'Accounts of the ledger with their balances, oldest first',
  rest: 'GET /admin/ledger/accounts',
  access,
  limit: 'read',
  input: input({
    ...pageFields,
    cursor: t.Optional(LedgerId),
    kind: t.Optional(oneOf(ACCOUNT_KINDS)),
    asset: t.Optional(AssetCode),
    owner_id: t.Optional(Uuid),
    reference: t.Optional(t.String({ maxLength: 200 })),
  }),
  output: page(LedgerAccount),
  async run({ kernel }, { limit = 50, cursor = '0', kind, asset, owner_id, reference }) {
    const assets = await kernel.use(Accounts).assets()
    const rows = await kernel.db.read(
      async (sql): Promise<AccountRow[]> =>
        await sql`
          select id::text, asset, kind, owner, reference, balance::text, held::text,
            opened_at, closed_at
          from ledger_accounts
          where id > ${cursor}::text::bigint
            and (${kind ?? null}::text is null or kind = ${kind ?? null})
            and (${asset ?? null}::text is null or asset = ${asset ?? null})
            and (${reference ?? null}::text is null or reference = ${reference ?? null})
            ${owner_id === undefined ? sql`` : ofOwner(sql, owner_id)}
          order by id limit ${limit + 1}`,
    )
    const items = rows.slice(0, limit).map(({ owner, balance, held, ...row }) => {
      const of = assets.get(row.asset)
      if (of === undefined) throw new Error(`account ${row.id} of no asset`)
      return {
        ...row,
        owner_id: owner,
        balance: formatAmount(BigInt(balance), of),
        held: formatAmount(BigInt(held), of),
        available: formatAmount(BigInt(balance) - BigInt(held), of),
        opened_at: row.opened_at.toISOString(),
        closed_at: row.closed_at?.toISOString() ?? null,
      }
    })
    return { items, next_cursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
  },
})

/** As the index has it. */
const ofOwner = (sql: SQL, owner: string) =>
  sql`and coalesce(owner, '00000000-0000-0000-0000-000000000000') = ${owner}`

export const accountStatement = operation('ledger.statement', {
  summary: 'The transfers of any account, newest first',
  description: 'Looking into a person’s account is written to the audit log.',
  rest: 'GET /admin/ledger/accounts/:account_id/statement',
  access,
  limit: 'read',
  input: input({
    account_id: LedgerId,
    from: t.Optional(Timestamp),
    to: t.Optional(Timestamp),
    ...pageFields,
  }),
  output: page(StatementItem),
  async run({ kernel, actor, request }, { account_id, limit = 50, cursor, from, to }) {
    const account = await kernel.use(Accounts).find(Number(account_id))
    if (account === undefined) throw new Failure('not_found', 'No such account')
    const query = {
      limit,
      cursor,
      from: from === undefined ? undefined : instantOf(from, '/from'),
      to: to === undefined ? undefined : instantOf(to, '/to'),
    }
    if (account.owner !== undefined) {
      await kernel.audit.record({
        caller: actor,
        request,
        action: 'ledger.statement_read',
        target: { type: 'user', id: account.owner },
        after: { account: account_id },
        subjectId: account.owner,
      })
    }
    const { lines, nextCursor } = await kernel.db.read((sql) => statementOf(sql, account, query))
    return { items: lines.map((line) => showLine(line, account)), next_cursor: nextCursor }
  },
})

interface ActRow {
  readonly id: string
  readonly at: string
  readonly kind: string
  readonly label: string | null
  readonly ref_type: string | null
  readonly ref_id: string | null
  readonly actor: string | null
  readonly reverses: string | null
  readonly reversed_by: string | null
  readonly transfers: readonly { n: number; amount: string; debit: string; credit: string }[] | null
  readonly holds: readonly HoldRow[] | null
}
interface HoldRow {
  readonly id: string
  readonly account: string
  readonly amount: string
  readonly state: 'open' | 'posted' | 'voided' | 'expired'
}

export const act = operation('ledger.acts', {
  summary: 'One act with its transfers and holds',
  rest: 'GET /admin/ledger/acts/:act_id',
  access,
  limit: 'read',
  input: input({ act_id: LedgerId }),
  output: LedgerAct,
  async run({ kernel }, { act_id }) {
    const row = await kernel.db.read((sql) => findAct(sql, act_id))
    if (row === undefined) throw new Failure('not_found', 'No such act')
    const { ref_type, ref_id, transfers, holds, ...fields } = row
    const known = kernel.use(Accounts)
    const find = async (id: string) => {
      const account = await known.find(Number(id))
      if (account === undefined) throw new Error(`act ${act_id} with no account ${id}`)
      return account
    }
    return {
      ...fields,
      reference: ref_type === null || ref_id === null ? null : { type: ref_type, id: ref_id },
      transfers: await Promise.all(
        (transfers ?? []).map(async ({ n, amount, debit, credit }) => {
          const [from, to] = [await find(debit), await find(credit)]
          const shown = formatAmount(BigInt(amount), from.asset)
          return { n, asset: from.asset.code, amount: shown, debit: side(from), credit: side(to) }
        }),
      ),
      holds: await Promise.all(
        (holds ?? []).map(async ({ id, account, amount, state }) => {
          const { asset } = await find(account)
          const shown = formatAmount(BigInt(amount), asset)
          return { id, account_id: account, asset: asset.code, amount: shown, state }
        }),
      ),
    }
  },
})

const side = ({ id, asset, kind, owner, reference }: Account) => ({
  id: String(id),
  asset: asset.code,
  kind,
  owner_id: owner ?? null,
  reference,
})

async function findAct(sql: SQL, id: string): Promise<ActRow | undefined> {
  const rows = await sql`
    select a.id::text, a.kind, a.label, a.ref_type, a.ref_id, a.actor, a.reverses::text,
      to_char(a.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
      (select r.id::text from ledger_acts r where r.reverses = a.id) as reversed_by,
      (select json_agg(json_build_object('n', n, 'amount', amount::text, 'debit', debit::text,
          'credit', credit::text) order by n)
        from ledger_transfers t where t.act = a.id) as transfers,
      -- Those that it ended are found through the business object, which has few acts.
      (select json_agg(json_build_object('id', h.id, 'account', h.account::text,
          'amount', h.amount::text, 'state', h.state))
        from (
          select * from ledger_holds where opened = a.id
          union
          select h.* from ledger_acts o join ledger_holds h on h.opened = o.id
          where o.ref_type = a.ref_type and o.ref_id = a.ref_id and h.resolved = a.id
        ) h) as holds
    from ledger_acts a where a.id = ${id}::text::bigint`
  return (rows as ActRow[])[0]
}
