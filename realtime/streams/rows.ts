import type { SQL } from 'bun'
import { plainArray, quotedArray } from '../../db/literals.ts'
import { pipelined } from '../../db/pipelined.ts'

/** Columns of new stream rows. */
export interface EventColumns {
  readonly ids: readonly number[]
  readonly positions: readonly number[]
  readonly kinds: readonly number[]
  readonly refA: readonly (number | null)[]
  readonly refB: readonly (number | null)[]
  readonly payloads: readonly (string | null)[]
}

/** Inserts stream rows; without the payload column where all of them are references. */
export function insertEvents(sql: SQL, rows: EventColumns): Promise<unknown> {
  const { ids, positions, kinds, refA, refB, payloads } = rows
  if (payloads.every((payload) => payload === null)) {
    return pipelined(sql`
      insert into stream_events (head, position, kind, ref_a, ref_b)
      select * from unnest(${plainArray(ids)}::text::bigint[],
        ${plainArray(positions)}::text::bigint[], ${plainArray(kinds)}::text::smallint[],
        ${plainArray(refA)}::text::bigint[], ${plainArray(refB)}::text::bigint[])`)
  }
  return pipelined(sql`
    insert into stream_events (head, position, kind, ref_a, ref_b, payload)
    select * from unnest(${plainArray(ids)}::text::bigint[],
      ${plainArray(positions)}::text::bigint[], ${plainArray(kinds)}::text::smallint[],
      ${plainArray(refA)}::text::bigint[], ${plainArray(refB)}::text::bigint[],
      ${quotedArray(payloads)}::text::text[])`)
}
