import type { SQL } from 'bun'
import { uuidv7 } from '../base/ids.ts'
import { blocksSql } from '../blocks/index.ts'

/** Two users, the conversation between them, and what they are to each other. */
export interface Pair {
  readonly id: string
  /** Compact key of its messages. */
  readonly number: number
  /** The smaller of the two ids. */
  readonly userA: string
  readonly userB: string
  readonly a: Side
  readonly b: Side
}

/** One of the two. */
export interface Side {
  /** Has written to the other, and so shows them their presence. Stays so. */
  readonly wrote: boolean
  readonly blocks: boolean
  /** The account is closed. */
  readonly left: boolean
}

/** The key of a pair, whoever is named first. */
export function pairKey(one: string, other: string): string {
  return one < other ? `${one}${other}` : `${other}${one}`
}

/** The other side of a conversation; undefined for somebody who is not in it. */
export function otherSide(pair: Pair, userId: string): string | undefined {
  if (pair.userA === userId) return pair.userB
  return pair.userB === userId ? pair.userA : undefined
}

/** One of the two, by id. */
export function sideOf(pair: Pair, userId: string): Side {
  return pair.userA === userId ? pair.a : pair.b
}

/** The same two, of whom one has written. */
export function havingWritten(pair: Pair, userId: string): Pair {
  const wrote = { ...sideOf(pair, userId), wrote: true }
  return pair.userA === userId ? { ...pair, a: wrote } : { ...pair, b: wrote }
}

/** Whether the two may hear of each other at all. */
export function inTouch({ a, b }: Pair): boolean {
  return !a.blocks && !b.blocks && !a.left && !b.left
}

/** Whether somebody's presence is shown to the other: by having written to them. */
export function showsPresence(pair: Pair, userId: string): boolean {
  return sideOf(pair, userId).wrote && inTouch(pair)
}

interface PairRow {
  readonly id: string
  readonly number: number
  readonly user_a: string
  readonly user_b: string
  readonly a_wrote: boolean
  readonly b_wrote: boolean
  readonly a_blocks: boolean
  readonly b_blocks: boolean
  readonly a_left: boolean
  readonly b_left: boolean
}

/** Rows of conversations `c` as pairs. */
const SELECT = `
  select c.id, c.number::float8 as number, c.user_a, c.user_b, c.a_wrote, c.b_wrote,
    ${blocksSql('c.user_a', 'c.user_b')} as a_blocks,
    ${blocksSql('c.user_b', 'c.user_a')} as b_blocks,
    x.closed_at is not null as a_left, y.closed_at is not null as b_left
  from conversations c join users x on x.id = c.user_a join users y on y.id = c.user_b`

function pairOf(row: PairRow): Pair {
  return {
    id: row.id,
    number: row.number,
    userA: row.user_a,
    userB: row.user_b,
    a: { wrote: row.a_wrote, blocks: row.a_blocks, left: row.a_left },
    b: { wrote: row.b_wrote, blocks: row.b_blocks, left: row.b_left },
  }
}

/** The conversations of these ids. */
export async function findPairs(sql: SQL, ids: readonly string[]): Promise<Pair[]> {
  const rows = await sql.unsafe<PairRow[]>(`${SELECT} where c.id = any($1::text::uuid[])`, [
    `{${ids.join(',')}}`,
  ])
  return rows.map(pairOf)
}

/** The conversation of two users. */
export async function findPair(sql: SQL, one: string, other: string): Promise<Pair | undefined> {
  const [a, b] = one < other ? [one, other] : [other, one]
  const [row] = await sql.unsafe<PairRow[]>(
    `${SELECT} where c.user_a = $1::uuid and c.user_b = $2::uuid`,
    [a, b],
  )
  return row === undefined ? undefined : pairOf(row)
}

/** A message that somebody wants to send: from whom, to whom. */
export type Wish = readonly [senderId: string, recipientId: string]

/**
 * Finds or makes the conversations of pairs within the caller's transaction. None is made with
 * somebody who does not exist (any more), nor where one blocks the other.
 */
export async function findOrCreate(sql: SQL, wishes: readonly Wish[]): Promise<Map<string, Pair>> {
  // In one order everywhere, so that two batches cannot deadlock on each other's new rows.
  const sorted = wishes
    .map(([from, to]) =>
      from < to ? { a: from, b: to, first: 'a' } : { a: to, b: from, first: 'b' },
    )
    .toSorted((one, other) => `${one.a}${one.b}`.localeCompare(`${other.a}${other.b}`))
  const list = (values: readonly string[]) => `{${values.join(',')}}`
  const as = list(sorted.map(({ a }) => a))
  const bs = list(sorted.map(({ b }) => b))
  await sql.unsafe(
    `insert into conversations (id, user_a, user_b, a_wrote, b_wrote)
    select u.id, u.a, u.b, u.first = 'a', u.first = 'b'
    from unnest($1::text::uuid[], $2::text::uuid[], $3::text::uuid[], $4::text::text[])
      u(id, a, b, first)
    join users x on x.id = u.a and x.closed_at is null
    join users y on y.id = u.b and y.closed_at is null
    where not ${blocksSql('u.a', 'u.b')} and not ${blocksSql('u.b', 'u.a')}
    order by u.a, u.b
    on conflict (user_a, user_b) do nothing`,
    [list(sorted.map(() => uuidv7())), as, bs, list(sorted.map(({ first }) => first))],
  )
  const rows = await sql.unsafe<PairRow[]>(
    `${SELECT} join unnest($1::text::uuid[], $2::text::uuid[]) u(a, b)
       on c.user_a = u.a and c.user_b = u.b`,
    [as, bs],
  )
  return new Map(rows.map((row) => [pairKey(row.user_a, row.user_b), pairOf(row)]))
}

/** Who of these pairs, which have no conversation, has blocked whom: `[blocker, blocked]`. */
export async function blocksAmong(sql: SQL, wishes: readonly Wish[]): Promise<readonly Wish[]> {
  const list = (values: readonly string[]) => `{${values.join(',')}}`
  const both = wishes.flatMap(([from, to]) => [[from, to] as const, [to, from] as const])
  const rows = await sql.unsafe<{ x: string; y: string }[]>(
    `select u.x, u.y from unnest($1::text::uuid[], $2::text::uuid[]) u(x, y)
    where ${blocksSql('u.x', 'u.y')}`,
    [list(both.map(([x]) => x)), list(both.map(([, y]) => y))],
  )
  return rows.map(({ x, y }) => [x, y])
}

/** Notes that sides have written, in the caller's transaction: once in the life of each. */
export async function markWrote(
  sql: SQL,
  sides: readonly { readonly pair: Pair; readonly senderId: string }[],
): Promise<void> {
  const list = (values: readonly (number | boolean)[]) => `{${values.join(',')}}`
  await sql.unsafe(
    `with locked as (
      select c.number from conversations c where c.number = any($1::text::bigint[])
      order by c.number for no key update)
    update conversations c set a_wrote = c.a_wrote or exists (
        select from unnest($1::text::bigint[], $2::text::boolean[]) u(number, a)
        where u.number = c.number and u.a),
      b_wrote = c.b_wrote or exists (
        select from unnest($1::text::bigint[], $2::text::boolean[]) u(number, a)
        where u.number = c.number and not u.a)
    from locked where locked.number = c.number`,
    [
      list(sides.map(({ pair }) => pair.number)),
      list(sides.map(({ pair, senderId }) => pair.userA === senderId)),
    ],
  )
}
