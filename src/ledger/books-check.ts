import type { SQL } from 'bun'

/**
 * Whether the books are coherent: every asset sums to zero, every balance is what its transfers add
 * up to, what is held is what open holds say, the running balances follow one another, and nothing
 * is below its floor. One snapshot, so that it may run beside postings.
 */

/** One asset's books. */
export interface AssetCheck {
  readonly asset: string
  readonly accounts: number
  readonly transfers: number
  /** Of all balances, in minor units; zero when the books balance. */
  readonly sum: bigint
}

/** What the check has found. */
export interface BooksCheck {
  readonly coherent: boolean
  readonly assets: readonly AssetCheck[]
  /** What is wrong, one sentence each, the first hundred. */
  readonly findings: readonly string[]
}

const FINDINGS_MAX = 100

/**
 * Checks all of it. Reads every transfer: for a job and an administrator, not for a request path.
 * @param sql a transaction of its own is opened on it
 */
export async function checkBooks(sql: SQL): Promise<BooksCheck> {
  return await sql.begin('isolation level repeatable read read only', async (tx) => {
    // Reading millions of rows takes longer than any request may.
    await tx`set local statement_timeout = 0`
    const assets = (await tx`
      select s.code as asset, count(a.id)::int as accounts,
        coalesce(sum(a.balance), 0)::text as sum,
        (select count(*) from ledger_transfers t join ledger_accounts d on d.id = t.debit
          where d.asset = s.code)::int as transfers
      from ledger_assets s left join ledger_accounts a on a.asset = s.code
      group by s.code order by s.code`) as (Omit<AssetCheck, 'sum'> & { sum: string })[]
    const findings = (await tx`
      ${tx.unsafe(FINDINGS)} limit ${FINDINGS_MAX}`) as { finding: string }[]
    const checks = assets.map((row) => ({ ...row, sum: BigInt(row.sum) }))
    const unbalanced = checks
      .filter(({ sum }) => sum !== 0n)
      .map(({ asset, sum }) => `${asset} sums to ${sum} instead of zero`)
    const all = [...unbalanced, ...findings.map(({ finding }) => finding)]
    return { coherent: all.length === 0, assets: checks, findings: all.slice(0, FINDINGS_MAX) }
  })
}

const FINDINGS = `
  with sides as (
    select debit as account, -amount as amount, debit_after as after, at, act, n
      from ledger_transfers
    union all
    select credit, amount, credit_after, at, act, n from ledger_transfers
  ), running as (
    select account, act, n, after,
      sum(amount) over (partition by account order by at, act, n) as expected
    from sides
  ), totals as (
    select account, sum(amount) as amount from sides group by account
  ), holding as (
    select account, sum(amount) as amount from ledger_holds where state = 'open' group by account
  )
  select 'account ' || a.id || ' has ' || a.balance || ', its transfers add up to '
      || coalesce(t.amount, 0) as finding
    from ledger_accounts a left join totals t on t.account = a.id
    where a.balance <> coalesce(t.amount, 0)
  union all
  select 'account ' || a.id || ' has ' || a.held || ' set aside, its open holds say '
      || coalesce(h.amount, 0)
    from ledger_accounts a left join holding h on h.account = a.id
    where a.held <> coalesce(h.amount, 0)
  union all
  select 'account ' || id || ' is below its floor' from ledger_accounts
    where balance - held < floor or held < 0
  union all
  select 'transfer ' || act || '.' || n || ' leaves ' || after || ' in account ' || account
      || ' instead of ' || expected
    from running where after <> expected
  union all
  select 'transfer ' || t.act || '.' || t.n || ' is between different assets'
    from ledger_transfers t join ledger_accounts d on d.id = t.debit
    join ledger_accounts c on c.id = t.credit where d.asset <> c.asset
  union all
  select 'transfer ' || t.act || '.' || t.n || ' belongs to no act'
    from ledger_transfers t left join ledger_acts a on a.id = t.act where a.id is null`
