import { SQL } from 'bun'
import { sqlState } from '../../db/transaction.ts'

/**
 * Two ways in which whoever runs statements as the server's role became the owner of the tables,
 * by way of temporary tables. Each is rolled back, whatever came of it.
 */

/** `done`, or what has stopped it: a state of PostgreSQL, or `held`. */
export type Outcome = string

interface Attack {
  /** Before the posting function is called. */
  readonly prepare: readonly string[]
  /** Whether it has worked, judged as the role that attacks. */
  readonly judge: string
}

/** Names that the posting function writes to, taken by tables of the role's own. */
const SHADOWS = [
  'create temporary table ledger_acts (like public.ledger_acts including all)',
  'create temporary table ledger_transfers (like public.ledger_transfers including all)',
  'grant all on ledger_acts, ledger_transfers to public',
]

const ATTACKS = {
  'change a balance without a transfer': {
    prepare: SHADOWS,
    judge: `
      select a.balance <> coalesce((select sum(case when t.credit = a.id then t.amount
        else -t.amount end) from public.ledger_transfers t where a.id in (t.credit, t.debit)), 0)
        as done
      from public.ledger_accounts a where a.reference = 'attack' and a.kind = 'external'`,
  },
  'run a trigger of its own as the owner': {
    prepare: [
      ...SHADOWS,
      `create function pg_temp.seize() returns trigger language plpgsql as $$
        begin
          alter table public.ledger_accounts drop constraint if exists ledger_accounts_floor;
          execute 'delete from public.ledger_transfers';
          execute 'delete from public.audit_log';
          execute 'grant all on all tables in schema public to ' || quote_ident(session_user);
          return new;
        end $$`,
      `create trigger seize before insert on ledger_transfers
        for each row execute function pg_temp.seize()`,
    ],
    judge: `
      with seized as (update public.ledger_accounts set balance = -1 where reference = 'attack'
        returning 1)
      select count(*) > 0 as done from seized`,
  },
} as const satisfies Record<string, Attack>

/** What each would do. */
export type AttackName = keyof typeof ATTACKS
export const attackNames = Object.keys(ATTACKS) as readonly AttackName[]

/** One entry goes the short way (`ledger_post_one`), two the long one. */
const post = (accounts: readonly string[], entries: 1 | 2) => {
  const list = (value: string) => `{${Array.from({ length: entries }, () => value).join(',')}}`
  return `
    select outcomes from public.ledger_post('{${accounts.join(',')}}', '{"\\\\x00"}', '{"\\\\x00"}',
      '{attack}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '{NULL}', '${list('1')}', '${list('0')}',
      '${list('1')}', '${list('2')}', '${list('100')}', '${list('NULL')}', '${list('NULL')}', null)`
}

/** Tries one as the role of a URL. */
export async function attack(url: string, name: AttackName, entries: 1 | 2): Promise<Outcome> {
  const sql = new SQL({ url, max: 1 })
  try {
    await sql.unsafe('begin')
    const accounts: string[] = []
    for (const kind of ['external', 'treasury']) {
      const [row] = await sql`
        select ledger_open_account('EUR', ${kind}, null, 'attack')::text as id`
      accounts.push(row.id)
    }
    for (const statement of ATTACKS[name].prepare) await sql.unsafe(statement)
    const [posted] = await sql.unsafe(post(accounts, entries))
    if (posted.outcomes.join() !== 'posted') throw new Error(`not even posted: ${posted.outcomes}`)
    const [judged] = await sql.unsafe(ATTACKS[name].judge)
    return judged.done ? 'done' : 'held'
  } catch (error) {
    const state = sqlState(error)
    if (state === undefined) throw error
    return state
  } finally {
    // Ends the session, and with it the transaction and its temporary tables.
    await sql.close()
  }
}
