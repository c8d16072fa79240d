import type { SQL } from 'bun'
import { Failure } from '../base/errors.ts'
import { type Kernel, service } from '../kernel/kernel.ts'
import type { Asset } from '../money/money.ts'

/** Accounts: who owns what of which asset. Their rows hold the balances; here is who they are. */

/** What an account is for; each kind has its own floor, in the table `ledger_account_kinds`. */
export const ACCOUNT_KINDS = [
  'wallet',
  'pool',
  'investment',
  'escrow',
  'fee',
  'treasury',
  'external',
] as const
export type AccountKind = (typeof ACCOUNT_KINDS)[number]

/** What makes an account one and the same. */
export interface AccountSpec {
  /** Code of the asset. */
  readonly asset: string
  readonly kind: AccountKind
  /** The user it belongs to; none for the house's own. */
  readonly owner?: string
  /** Tells several of one kind apart: a pool's id, a bank. */
  readonly reference?: string
}

/** An account that exists. */
export interface Account {
  /** As the database counts them; a decimal text would not sort. */
  readonly id: number
  readonly asset: Asset
  readonly kind: AccountKind
  readonly owner: string | undefined
  readonly reference: string
}

/** Assets and accounts of a server. */
export interface Accounts {
  /**
   * Every asset by its code.
   * @throws Failure `unavailable`
   */
  assets(): Promise<ReadonlyMap<string, Asset>>
  /** @throws Failure `validation_failed` for one that does not exist */
  asset(code: string, path?: string): Promise<Asset>
  /**
   * Finds an account or opens it, in a transaction of its own: an account must be there before it
   * is locked, and stays whatever becomes of the caller's transaction. Ask before opening that one.
   *
   * In a transaction pass its connection as `on`, here and below: what has been opened before and
   * is not remembered is read there. Transactions that each wait for a second connection of the
   * pool would wait for each other.
   */
  open(spec: AccountSpec, on?: SQL): Promise<Account>
  /** An account that has been opened before; undefined for one that never was. */
  lookup(spec: AccountSpec, on?: SQL): Promise<Account | undefined>
  /** An account by its id, undefined for one that does not exist. */
  find(id: number, on?: SQL): Promise<Account | undefined>
}

/** Accounts remembered: what they are never changes. */
const REMEMBERED_MAX = 50_000

/** The accounts of a server. */
export const Accounts = service<Accounts>('ledger accounts', createAccounts)

interface AccountRow {
  readonly id: string
  readonly asset: string
  readonly kind: AccountKind
  readonly owner: string | null
  readonly reference: string
}

function createAccounts({ db }: Kernel): Accounts {
  let assets: Map<string, Asset> | undefined
  const bySpec = new Map<string, Account>()
  const byId = new Map<number, Account>()

  const reading = <T>(on: SQL | undefined, work: (sql: SQL) => Promise<T>) =>
    on === undefined ? db.read(work) : work(on)
  const readAssets = async (on?: SQL) => {
    const rows = await reading(
      on,
      async (sql): Promise<Asset[]> =>
        await sql`select code, name, scale, transferable from ledger_assets`,
    )
    assets = new Map(rows.map((asset) => [asset.code, asset]))
    return assets
  }
  const asset = async (code: string, path = '/asset', on?: SQL) => {
    // Adding an asset is a row: one that is not known may have come since.
    const found = assets?.get(code) ?? (await readAssets(on)).get(code)
    if (found !== undefined) return found
    throw new Failure('validation_failed', `There is no asset ${code}`, {
      errors: [{ path, message: 'is no asset of this server' }],
    })
  }
  const remember = (account: Account) => {
    if (byId.size >= REMEMBERED_MAX) {
      byId.clear()
      bySpec.clear()
    }
    byId.set(account.id, account)
    bySpec.set(specKey(account), account)
    return account
  }
  const lookup = async (spec: AccountSpec, on?: SQL) => {
    const known = bySpec.get(specKey(spec))
    if (known !== undefined) return known
    const { kind, owner, reference = '' } = spec
    const of = await asset(spec.asset, undefined, on)
    const [row] = await reading(
      on,
      async (sql): Promise<{ id: string }[]> =>
        await sql`
          select id::text from ledger_accounts
          where coalesce(owner, '00000000-0000-0000-0000-000000000000')
              = coalesce(${owner ?? null}::uuid, '00000000-0000-0000-0000-000000000000')
            and kind = ${kind} and asset = ${of.code} and reference = ${reference}`,
    )
    if (row === undefined) return undefined
    return remember({ id: Number(row.id), asset: of, kind, owner, reference })
  }

  return {
    assets: async () => assets ?? (await readAssets()),
    asset: (code, path) => asset(code, path),
    lookup,
    async open(spec, on) {
      const known = on === undefined ? bySpec.get(specKey(spec)) : await lookup(spec, on)
      if (known !== undefined) return known
      const { kind, owner, reference = '' } = spec
      const of = await asset(spec.asset, undefined, on)
      const id = await db.read((sql) => openAccount(sql, spec))
      return remember({ id, asset: of, kind, owner, reference })
    },
    async find(id, on) {
      const known = byId.get(id)
      if (known !== undefined) return known
      const [row] = await reading(
        on,
        async (sql): Promise<AccountRow[]> =>
          await sql`
            select id::text, asset, kind, owner, reference from ledger_accounts where id = ${id}`,
      )
      if (row === undefined) return undefined
      const { kind, owner, reference } = row
      const of = await asset(row.asset, undefined, on)
      return remember({ id, asset: of, kind, owner: owner ?? undefined, reference })
    },
  }
}

function specKey({ asset, kind, owner, reference }: AccountSpec | Account): string {
  const code = typeof asset === 'string' ? asset : asset.code
  return `${owner ?? ''} ${kind} ${code} ${reference ?? ''}`
}

/** Repeating it is harmless: it finds what it has made. */
async function openAccount(sql: SQL, { asset, kind, owner, reference = '' }: AccountSpec) {
  const [row] = await sql`
    select ledger_open_account(${asset}, ${kind}, ${owner ?? null}::uuid, ${reference})::text as id`
  return Number(row.id)
}

/**
 * Closes an account for good.
 * @throws Failure `conflict` while there is something in it or held
 */
export async function closeAccount(sql: SQL, account: Account): Promise<void> {
  const [row] = await sql`select ledger_close_account(${account.id}) as closed`
  if (row.closed !== true) throw new Failure('conflict', 'The account is not empty, or closed')
}
