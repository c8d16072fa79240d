import { SQL } from 'bun'
import { expect } from 'bun:test'
import type { Kernel } from '../../src/kernel/kernel.ts'
import {
  type Account,
  Accounts,
  type AccountSpec,
  checkBooks,
  postedAct,
  PostingBatcher,
} from '../../src/ledger/index.ts'

/**
 * The books are coherent: ends every test that moves money. Reads as the owner of the database, so
 * that nothing the server's role may not see is missed.
 */
export async function expectLedgerCoherent(database: { readonly ownerUrl: string }): Promise<void> {
  const sql = new SQL({ url: database.ownerUrl, max: 1 })
  try {
    const { findings, assets } = await checkBooks(sql)
    expect(findings).toEqual([])
    for (const { sum } of assets) expect(sum).toBe(0n)
  } finally {
    await sql.close()
  }
}

let funded = 0

/** Opens an account and pays `amount` minor units into it from outside. */
export async function funds(kernel: Kernel, spec: AccountSpec, amount: bigint): Promise<Account> {
  const accounts = kernel.use(Accounts)
  const account = await accounts.open(spec)
  if (amount === 0n) return account
  const outside = await accounts.open({ asset: spec.asset, kind: 'external', reference: 'test' })
  postedAct(
    await kernel.use(PostingBatcher).submit({
      key: `test:fund:${process.pid}:${++funded}`,
      kind: 'test.fund',
      entries: [{ type: 'transfer', debit: outside, credit: account, amount }],
    }),
  )
  return account
}

/** Opens a wallet of a new user's id with something in it. */
export function wallet(kernel: Kernel, amount: bigint, asset = 'EUR'): Promise<Account> {
  return funds(kernel, { asset, kind: 'wallet', owner: crypto.randomUUID() }, amount)
}
