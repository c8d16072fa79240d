import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import { input, page, pageFields, t, Timestamp, Uuid } from '../base/schema.ts'
import { type Actor, user } from '../kernel/access.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { operation } from '../kernel/operation.ts'
import { Amount, AssetCode, formatAmount, parseAmount } from '../money/money.ts'
import { type Account, Accounts } from './accounts.ts'
import { balanceOf, walletsOf } from './balances.ts'
import { bookActs } from './book.ts'
import { instantOf } from './instant.ts'
import { isOpen, lockPeople } from './people.ts'
import {
  SentTransfer,
  showBalance,
  showLine,
  showWallet,
  StatementItem,
  WalletBalance,
} from './shapes.ts'
import { needsStepUp } from './spending.ts'
import { CSV_HEADER, csvLine, type StatementLine, statementOf } from './statement.ts'

/** What users can ask of their own wallets. */

/** Every asset of the server with what the caller has of it. */
export const balances = operation('wallet.balances', {
  summary: 'Your balance of every asset, also of those that you have none of',
  rest: 'GET /wallet/balances',
  access: user(),
  limit: 'read',
  input: input({}),
  output: t.Object({ items: t.Array(WalletBalance) }),
  async run({ kernel, actor }) {
    const [assets, wallets] = await Promise.all([
      kernel.use(Accounts).assets(),
      kernel.db.read((sql) => walletsOf(sql, actor.userId)),
    ])
    const byCode = new Map(wallets.map((wallet) => [wallet.asset.code, wallet]))
    const items = [...assets.values()].map((asset) => {
      return showWallet(byCode.get(asset.code) ?? { asset, balance: 0n, held: 0n })
    })
    return { items: items.toSorted((a, b) => (a.asset < b.asset ? -1 : 1)) }
  },
})

const period = {
  asset: AssetCode,
  from: t.Optional(Timestamp),
  to: t.Optional(Timestamp),
}
interface Period {
  readonly asset: string
  readonly from?: string
  readonly to?: string
}

/** The transfers of one wallet, newest first. */
export const statement = operation('wallet.statement', {
  summary: 'What went in and out of one of your wallets, newest first',
  description: 'From `from` on until before `to`. Every line has the balance after it.',
  rest: 'GET /wallet/statement',
  access: user(),
  limit: 'read',
  input: input({ ...period, ...pageFields }),
  output: page(StatementItem),
  async run({ kernel, actor }, { limit = 50, cursor, ...query }) {
    const found = await ownStatement(kernel, actor, query, limit, cursor)
    return { items: found.lines.map((line) => showLine(line, found)), next_cursor: found.next }
  },
})

/** Lines of one file; what is longer goes on in the next one. */
export const EXPORT_LINES_MAX = 10_000

/** The same as a table for spreadsheets. */
export const exportStatement = operation('wallet.export', {
  summary: 'The statement of one of your wallets as CSV (RFC 4180), newest first',
  description:
    `At most ${EXPORT_LINES_MAX} lines. A longer statement goes on at the address in \`Link\` ` +
    '(`rel="next"`, RFC 8288), without the line of headings, so that the files can be joined.',
  rest: 'GET /wallet/statement.csv',
  access: user(),
  limit: 'write',
  input: input({ ...period, cursor: pageFields.cursor }),
  output: t.Object({ csv: t.String(), next_cursor: t.Union([t.String(), t.Null()]) }),
  media: {
    type: 'text/csv; charset=utf-8',
    render({ csv, next_cursor }, { asset, from, to }) {
      const file = { 'content-disposition': `attachment; filename="statement-${asset}.csv"` }
      if (next_cursor === null) return { body: csv, headers: file }
      const query = new URLSearchParams({
        asset,
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
        cursor: next_cursor,
      })
      return { body: csv, headers: { ...file, link: `<?${query.toString()}>; rel="next"` } }
    },
  },
  async run({ kernel, actor }, { cursor, ...query }) {
    const found = await ownStatement(kernel, actor, query, EXPORT_LINES_MAX, cursor)
    const lines = found.lines.map((line) => csvLine(line, found))
    const csv = (cursor === undefined ? CSV_HEADER : '') + lines.join('')
    return { csv, next_cursor: found.next }
  },
})

/** One page of the caller's own; a wallet that was never opened is empty. */
async function ownStatement(
  kernel: Kernel,
  actor: Actor,
  { asset: code, from, to }: Period,
  limit: number,
  cursor: string | undefined,
): Promise<Pick<Account, 'asset'> & { lines: StatementLine[]; next: string | null }> {
  const accounts = kernel.use(Accounts)
  const asset = await accounts.asset(code)
  const query = {
    limit,
    cursor,
    from: from === undefined ? undefined : instantOf(from, '/from'),
    to: to === undefined ? undefined : instantOf(to, '/to'),
  }
  const wallet = await accounts.lookup({ asset: code, kind: 'wallet', owner: actor.userId })
  if (wallet === undefined) return { asset, lines: [], next: null }
  const { lines, nextCursor } = await kernel.db.read((sql) => statementOf(sql, wallet, query))
  return { asset, lines, next: nextCursor }
}

/** What `transfer` finds before its transaction; nothing of it is refused there. */
interface Ends {
  readonly from: Account | undefined
  readonly to: Account | undefined
}

/** Sends money to another user. */
export const transfer = operation('wallet.transfer', {
  summary: 'Send money to another user',
  description:
    'Above 1,000 EUR (or as much of another asset) within 24 hours, payouts included, it needs a ' +
    'fresh second factor. The note is shown to both of you.',
  rest: 'POST /wallet/transfers',
  status: 201,
  access: user(),
  limit: 'money',
  input: input({
    to_user_id: Uuid,
    amount: Amount,
    asset: AssetCode,
    note: t.Optional(
      t.String({ minLength: 1, maxLength: 140, pattern: '^[^\\u0000-\\u001f\\u007f]*$' }),
    ),
  }),
  output: SentTransfer,
  idempotent: true,
  async stepUp(ctx, { amount, asset }) {
    const of = await ctx.kernel.use(Accounts).asset(asset)
    return await needsStepUp(ctx, of, parseAmount(amount, of))
  },
  async prepare({ kernel, actor }, { to_user_id, amount, asset }): Promise<Ends> {
    const accounts = kernel.use(Accounts)
    const of = await accounts.asset(asset)
    const wanted = parseAmount(amount, of)
    const owner = to_user_id.toLowerCase()
    const from = await accounts.lookup({ asset, kind: 'wallet', owner: actor.userId })
    const known = await accounts.lookup({ asset, kind: 'wallet', owner })
    if (known !== undefined || from === undefined || !of.transferable) return { from, to: known }
    // Nobody opens others' wallets with money that they do not have.
    const { balance, held } = await kernel.db.read((sql) => balanceOf(sql, from))
    if (balance - held < wanted) return { from, to: undefined }
    if (!(await kernel.db.read((sql) => isOpen(sql, owner)))) return { from, to: undefined }
    return { from, to: await accounts.open({ asset, kind: 'wallet', owner }) }
  },
  async handler(ctx, { to_user_id, amount, asset, note }, { from, to }) {
    const { kernel, actor, clock, tx, audit } = ctx
    const of = await kernel.use(Accounts).asset(asset)
    const minor = parseAmount(amount, of)
    const owner = to_user_id.toLowerCase()
    if (owner === actor.userId) throw refused('/to_user_id', 'is you yourself')
    if (!of.transferable) throw refused('/asset', `${of.name} cannot be sent to other users`)
    await lockPeople(tx.sql, [actor.userId, owner], { blocked: 'refused' })
    if (from === undefined || to === undefined) {
      throw new Failure('insufficient_funds', 'There is not enough in the account')
    }
    const id = uuidv7(clock.now())
    const sent = formatAmount(minor, of)
    audit({
      action: 'wallet.transferred',
      target: { type: 'user', id: owner },
      after: { id, asset, amount: sent },
      subjectId: actor.userId,
    })
    const { ids, standings } = await bookActs(ctx, [
      {
        key: `wallet.transfer:${id}`,
        kind: 'wallet.transfer',
        ...(note === undefined ? {} : { label: note }),
        reference: { type: 'transfer', id },
        actor: actor.userId,
        entries: [{ type: 'transfer', debit: from, credit: to, amount: minor }],
      },
    ])
    const own = standings.find(({ account }) => account.id === from.id)
    if (own === undefined) throw new Error('a transfer that has not changed its sender')
    return {
      id,
      act_id: String(ids[0]),
      to_user_id: owner,
      asset,
      amount: sent,
      note: note ?? null,
      balance: showBalance(of, own),
    }
  },
})

function refused(path: string, message: string): Failure {
  return new Failure('validation_failed', `${path.slice(1)} ${message}`, {
    errors: [{ path, message }],
  })
}
