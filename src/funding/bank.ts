import { fourEyes } from '../approvals/index.ts'
import { Failure } from '../base/errors.ts'
import { input, t, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import { operation } from '../kernel/operation.ts'
import { Accounts, bookActs, isOpen, lockPeople } from '../ledger/index.ts'
import { Amount, AssetCode, formatAmount, parseAmount } from '../money/money.ts'

/** Bank transfers that have come in: entered by one administrator, confirmed by another. */

const DAY_MS = 86_400_000
/** What banks transfer; other assets have no bank. */
const BANK_ASSET = 'EUR'
/** A transfer that the bank has booked longer ago than this is a mistake of the year. */
const VALUE_DATE_DAYS_MAX = 400

const Details = t.Object({
  to_user_id: Uuid,
  asset: AssetCode,
  amount: t.String(),
  bank_reference: t.String(),
  value_date: t.String(),
})

const confirming = fourEyes({
  kind: 'funding.bank_transfer',
  details: Details,
  names: { list: 'funding.bank', approve: 'funding.bank.confirm', reject: 'funding.bank.reject' },
  path: '/admin/funding/bank-transfers',
  verb: 'confirm',
  what: 'a bank transfer that has come in',
  ttlMs: 7 * DAY_MS,
  audited: ({ to_user_id, ...rest }) => ({ after: rest, subjectId: to_user_id }),
  async prepare({ kernel }, { to_user_id, asset }) {
    const accounts = kernel.use(Accounts)
    if (!(await kernel.db.read((sql) => isOpen(sql, to_user_id)))) {
      throw new Failure('not_found', 'No such user')
    }
    return {
      bank: await accounts.open({ asset, kind: 'external', reference: 'bank' }),
      wallet: await accounts.open({ asset, kind: 'wallet', owner: to_user_id }),
    }
  },
  async approved(ctx, { details }, { bank, wallet }) {
    const { to_user_id, asset, amount, bank_reference } = details
    await lockPeople(ctx.tx.sql, [to_user_id], { blocked: 'allowed' })
    const of = await ctx.kernel.use(Accounts).asset(asset)
    await bookActs(ctx, [
      {
        key: `bank:${bank_reference}`,
        kind: 'funding.bank',
        label: `Bank transfer ${bank_reference}`,
        reference: { type: 'bank_transfer', id: bank_reference },
        actor: ctx.actor.userId,
        entries: [
          { type: 'transfer', debit: bank, credit: wallet, amount: parseAmount(amount, of) },
        ],
      },
    ])
  },
})

const enter = operation('funding.bank.enter', {
  summary: 'Enter a transfer that the bank has booked; another administrator has to confirm it',
  description:
    'The reference is the bank’s own for this booking (AcctSvcrRef of camt.053): it counts once.',
  rest: 'POST /admin/funding/bank-transfers',
  status: 201,
  access: user({ roles: ['admin'] }),
  limit: 'write',
  input: input({
    to_user_id: Uuid,
    amount: Amount,
    asset: t.Optional(AssetCode),
    bank_reference: t.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9 ./:_-]{2,69}$' }),
    value_date: t.String({ pattern: '^\\d{4}-\\d\\d-\\d\\d$', examples: ['2026-11-21'] }),
  }),
  output: confirming.output,
  idempotent: true,
  stepUp: () => true,
  async handler(ctx, given) {
    const { kernel, tx, clock } = ctx
    const { amount, value_date, asset = BANK_ASSET } = given
    const owner = given.to_user_id.toLowerCase()
    if (asset !== BANK_ASSET) throw refused('/asset', `is not ${BANK_ASSET}, which banks transfer`)
    const of = await kernel.use(Accounts).asset(asset)
    const minor = parseAmount(amount, of)
    checkValueDate(value_date, clock.now())
    if (!(await isOpen(tx.sql, owner))) throw new Failure('not_found', 'No such user')
    const details = {
      to_user_id: owner,
      asset,
      amount: formatAmount(minor, of),
      bank_reference: given.bank_reference.toUpperCase().trim().replaceAll(/ +/g, ' '),
      value_date,
    }
    const asked = { subject: details.bank_reference, details, barred: [owner] }
    return confirming.show(await confirming.request(ctx, asked)) as never
  },
})

function checkValueDate(date: string, nowMs: number): void {
  const ms = Date.parse(`${date}T00:00:00Z`)
  const real = !Number.isNaN(ms) && new Date(ms).toISOString().startsWith(date)
  if (!real) throw refused('/value_date', 'is no date')
  // A day more, because it is tomorrow already somewhere.
  if (ms > nowMs + DAY_MS) throw refused('/value_date', 'lies in the future')
  if (ms < nowMs - VALUE_DATE_DAYS_MAX * DAY_MS) throw refused('/value_date', 'is too long ago')
}

function refused(path: string, message: string): Failure {
  return new Failure('validation_failed', `${path.slice(1)} ${message}`, {
    errors: [{ path, message }],
  })
}

/** Enter, list, confirm, reject. */
export const bankOperations = [enter, ...confirming.operations]
