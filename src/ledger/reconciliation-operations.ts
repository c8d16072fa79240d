import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import { input, page, pageFields, t, Timestamp, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import { operation } from '../kernel/operation.ts'
import { AssetCode, formatAmount, parseAmount } from '../money/money.ts'
import { Accounts } from './accounts.ts'
import { instantOf } from './instant.ts'
import { differenceOf, Reconciliation, Reconciliations } from './reconcile.ts'
import { Decimal, LedgerId } from './shapes.ts'

/** What the world outside says, entered by people, and the reconciliation with it. */

const access = user({ roles: ['admin'] })

export const enterStatement = operation('ledger.statements.enter', {
  summary: 'Enter the closing balance that a bank or a provider has stated',
  description:
    'Moves no money: it is what reconciliation compares with. It cannot be changed; a later ' +
    'statement of the same account replaces it in the comparison.',
  rest: 'POST /admin/ledger/statements',
  status: 201,
  access,
  limit: 'write',
  input: input({
    account_id: LedgerId,
    at: Timestamp,
    balance: t.String({
      pattern: '^-?(0|[1-9][0-9]{0,39})(\\.[0-9]{1,18})?$',
      maxLength: 60,
      description: 'As the bank shows it: above zero is ours',
      examples: ['1250.00'],
    }),
    reference: t.String({
      minLength: 1,
      maxLength: 100,
      pattern: '^[^\\u0000-\\u001f]*$',
      description: 'Number of the statement',
    }),
  }),
  output: t.Object({
    id: Uuid,
    account_id: LedgerId,
    asset: AssetCode,
    at: Timestamp,
    balance: Decimal,
    reference: t.String(),
    ledger_balance: Decimal,
    difference: Decimal,
  }),
  idempotent: true,
  async handler({ kernel, tx, clock, actor, audit }, { account_id, at, balance, reference }) {
    const account = await kernel.use(Accounts).find(Number(account_id), tx.sql)
    if (account === undefined) throw new Failure('not_found', 'No such account')
    if (account.kind !== 'external') {
      throw refused('/account_id', 'is no account of the world outside')
    }
    const instant = instantOf(at, '/at')
    if (Date.parse(at) > clock.now()) throw refused('/at', 'lies in the future')
    const stated = signed(balance, account.asset)
    const id = uuidv7(clock.now())
    const rows = await tx.sql`
      insert into external_statements (id, account, at, balance, reference, entered_by, entered_at)
      values (${id}, ${account.id}, ${instant}::text::timestamptz,
        ${stated.toString()}::text::numeric, ${reference}, ${actor.userId}, ${clock.date()})
      on conflict (account, at) do nothing returning id`
    if (rows.length === 0) throw new Failure('already_exists', 'There is one of this instant')
    const { ledger, difference } = await differenceOf(tx.sql, account, instant, stated)
    const entered = {
      account_id,
      at: instant,
      balance: formatAmount(stated, account.asset),
      reference,
      difference: formatAmount(difference, account.asset),
    }
    audit({
      action: 'ledger.statement_entered',
      target: { type: 'account', id: account_id },
      after: entered,
    })
    return {
      id,
      asset: account.asset.code,
      ...entered,
      ledger_balance: formatAmount(ledger, account.asset),
    }
  },
})

function signed(text: string, asset: Parameters<typeof parseAmount>[1]): bigint {
  const digits = text.replace('-', '')
  if (/^[0.]*$/.test(digits)) return 0n
  const value: bigint = parseAmount(digits, asset, '/balance')
  return text.startsWith('-') ? -value : value
}

function refused(path: string, message: string): Failure {
  return new Failure('validation_failed', `${path.slice(1)} ${message}`, {
    errors: [{ path, message }],
  })
}

export const reconciliations = operation('ledger.reconciliation', {
  summary: 'What the reconciliations have found, newest first',
  rest: 'GET /admin/ledger/reconciliation',
  access,
  limit: 'read',
  input: input({ ...pageFields, cursor: t.Optional(Uuid) }),
  output: page(Reconciliation),
  async run({ kernel }, { limit = 10, cursor }) {
    const rows = await kernel.db.read(
      async (sql): Promise<{ report: Reconciliation }[]> =>
        await sql`
          select report from reconciliations
          where ${cursor ?? null}::text is null or id < ${cursor ?? null}::text::uuid
          order by id desc limit ${limit + 1}`,
    )
    const items = rows.slice(0, limit).map(({ report }) => report)
    return { items, next_cursor: rows.length > limit ? (items.at(-1)?.id ?? null) : null }
  },
})

export const reconcileNow = operation('ledger.reconcile', {
  summary: 'Reconcile now instead of tonight',
  rest: 'POST /admin/ledger/reconciliation',
  access,
  limit: 'identity',
  input: input({}),
  output: Reconciliation,
  run: ({ kernel }) => kernel.use(Reconciliations).now(),
})
