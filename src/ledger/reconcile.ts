import type { SQL } from 'bun'
import { uuidv7 } from '../base/ids.ts'
import { oneOf, type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import type { Job } from '../kernel/job.ts'
import { type Kernel, service } from '../kernel/kernel.ts'
import { AssetCode, formatAmount } from '../money/money.ts'
import { type Account, Accounts } from './accounts.ts'
import { balanceAt } from './balances.ts'
import { checkBooks } from './books-check.ts'
import { showCheck } from './books-report.ts'
import { CheckedBooks, Decimal, LedgerId } from './shapes.ts'
import { singleFlight } from './single-flight.ts'

/**
 * Reconciliation: whether the books are coherent in themselves, and whether each account of the
 * world outside holds what the world outside says.
 *
 * An external account is the mirror image of what the bank shows: money that came in makes it
 * negative here and positive there.
 */

/** An account that moves and whose bank has said nothing for so long is somebody's omission. */
const STATEMENT_DAYS_MAX = 3

/** One external account beside its newest statement. */
const ExternalAccount = t.Object({
  account_id: LedgerId,
  asset: AssetCode,
  reference: t.String(),
  verdict: oneOf(
    ['agrees', 'differs', 'overdue', 'no_statement'],
    'Overdue: it has moved, and the newest statement is older than three days',
  ),
  statement: t.Union([
    t.Object({ at: Timestamp, reference: t.String(), balance: Decimal }),
    t.Null(),
  ]),
  ledger_balance: t.Union([Decimal, t.Null()], {
    description: 'At the instant of the statement, seen as the bank sees it',
  }),
  difference: t.Union([Decimal, t.Null()], { description: 'Statement less ledger' }),
})
type ExternalAccount = Static<typeof ExternalAccount>

/** What one reconciliation has found. */
export const Reconciliation = t.Object({
  id: Uuid,
  at: Timestamp,
  agrees: t.Boolean({ description: 'The books are coherent, and no statement differs' }),
  books: CheckedBooks,
  accounts: t.Array(ExternalAccount),
})
export type Reconciliation = Static<typeof Reconciliation>

/** Numbers that alerts are made of. */
const Gauges = service('reconciliation gauges', ({ metrics }) => ({
  agrees: metrics.gauge(
    'ledger_reconciliation_agrees',
    '1 when the last reconciliation found books and statements in agreement, else 0',
  ),
  at: metrics.gauge(
    'ledger_reconciliation_timestamp_seconds',
    'When the last reconciliation ended, in seconds since the epoch',
  ),
  difference: metrics.gauge(
    'ledger_external_difference',
    'Statement less ledger of an external account, in minor units of its asset',
    ['asset', 'account'],
  ),
  overdue: metrics.gauge(
    'ledger_external_overdue',
    'External accounts that move without a recent statement',
  ),
}))

/** Reconciles now, stores what was found, and raises the alarm when something is wrong. */
export async function reconcile(kernel: Kernel): Promise<Reconciliation> {
  const { db, clock, log } = kernel
  const at = clock.iso()
  const books = showCheck(await checkBooks(db.sql), at)
  const accounts = await db.read((sql) => compareAll(kernel, sql))
  const agrees = books.coherent && accounts.every(({ verdict }) => verdict !== 'differs')
  const found = { id: uuidv7(clock.now()), at, agrees, books, accounts }
  await db.read(
    async (sql) =>
      await sql`
        insert into reconciliations (id, at, agrees, report)
        values (${found.id}, ${at}, ${agrees}, ${JSON.stringify(found)}::text::jsonb)
        on conflict do nothing`,
  )
  observe(kernel, found)
  const differing = accounts.filter(({ verdict }) => verdict === 'differs')
  if (!agrees) log.error('the books do not agree', { findings: books.findings, differing })
  const overdue = accounts.filter(({ verdict }) => verdict === 'overdue')
  if (overdue.length > 0) log.warn('statements of external accounts are overdue', { overdue })
  return found
}

function observe(kernel: Kernel, { agrees, accounts }: Reconciliation): void {
  const gauges = kernel.use(Gauges)
  gauges.agrees.labels().set(agrees ? 1 : 0)
  gauges.at.labels().set(kernel.clock.now() / 1_000)
  gauges.overdue.labels().set(accounts.filter(({ verdict }) => verdict === 'overdue').length)
  for (const { asset, reference, difference } of accounts) {
    if (difference === null) continue
    // How large it is matters little to an alert; that it is not zero is exact.
    const minor = Number(difference.replace('.', ''))
    gauges.difference.labels({ asset, account: reference }).set(minor)
  }
}

interface Newest {
  readonly account: string
  readonly at: string | null
  readonly balance: string | null
  readonly reference: string | null
  /** It has moved since, or without any statement. */
  readonly moved: boolean
  readonly old: boolean
}

async function compareAll(kernel: Kernel, sql: SQL): Promise<ExternalAccount[]> {
  const rows = (await sql`
    select a.id::text as account, s.balance::text, s.reference,
      to_char(s.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at,
      a.last_at > coalesce(s.at, '-infinity') as moved,
      coalesce(s.at, a.opened_at) < clock_timestamp() - make_interval(days => ${STATEMENT_DAYS_MAX})
        as old
    from ledger_accounts a left join lateral (
      select * from external_statements e where e.account = a.id order by e.at desc limit 1
    ) s on true
    where a.kind = 'external' order by a.id`) as Newest[]
  const compared: ExternalAccount[] = []
  for (const row of rows) {
    const account = await kernel.use(Accounts).find(Number(row.account))
    if (account === undefined) throw new Error(`no account ${row.account}`)
    compared.push(await compare(sql, account, row))
  }
  return compared
}

async function compare(sql: SQL, account: Account, newest: Newest): Promise<ExternalAccount> {
  const { at, balance, moved, old } = newest
  const { asset, reference } = account
  const about = { account_id: String(account.id), asset: asset.code, reference }
  if (at === null || balance === null) {
    const verdict = moved && old ? 'overdue' : 'no_statement'
    return { ...about, verdict, statement: null, ledger_balance: null, difference: null }
  }
  const { ledger, difference } = await differenceOf(sql, account, at, BigInt(balance))
  const agreeing = moved && old ? 'overdue' : 'agrees'
  return {
    ...about,
    verdict: difference === 0n ? agreeing : 'differs',
    statement: {
      at,
      reference: newest.reference ?? '',
      balance: formatAmount(BigInt(balance), asset),
    },
    ledger_balance: formatAmount(ledger, asset),
    difference: formatAmount(difference, asset),
  }
}

/** What the ledger says of an external account, seen from there, and what it lacks. */
export async function differenceOf(
  sql: SQL,
  account: Account,
  at: string,
  balance: bigint,
): Promise<{ readonly ledger: bigint; readonly difference: bigint }> {
  const ledger = -(await balanceAt(sql, account, at))
  return { ledger, difference: balance - ledger }
}

/** Reconciliations that people ask for. */
export const Reconciliations = service('reconciliations', (kernel) => ({
  /** @throws Failure `unavailable` for books so large that it takes longer than an answer may */
  now: singleFlight(kernel.clock, () => reconcile(kernel)),
}))

/** Every night; what it finds is an alert by the metric and by the log. */
export const reconcileDaily: Job = {
  name: 'ledger.reconcile',
  description: 'Checks the books, and every external account against its newest statement; daily',
  async run(kernel, signal) {
    // One snapshot of everything: once begun it is worth finishing.
    signal?.throwIfAborted()
    const { books, accounts } = await reconcile(kernel)
    const are = (wanted: string) => accounts.filter(({ verdict }) => verdict === wanted).length
    return {
      findings: books.findings.length,
      accounts_compared: accounts.length - are('no_statement'),
      accounts_differing: are('differs'),
      accounts_overdue: are('overdue'),
    }
  },
  async dryRun({ db }) {
    const [row] = await db.sql`
      select count(distinct account)::int as accounts from external_statements`
    return { accounts_compared: row.accounts as number }
  },
}
