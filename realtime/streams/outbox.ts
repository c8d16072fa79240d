import type { SQL } from 'bun'
import { plainArray, quotedArray, textArray } from '../../db/literals.ts'
import { pipelined } from '../../db/pipelined.ts'
import type { Emission } from '../../src/kernel/effects.ts'

/** Inserts events without offsets in the caller's transaction: they are as durable as it is. */
export function insertOutbox(sql: SQL, emissions: readonly Emission[]): Promise<unknown> {
  for (const { type, kind } of emissions) {
    if (kind === undefined) throw new Error(`${type} is not a durable event`)
  }
  const payloads = emissions.map(({ ref, payload }) => (ref === undefined ? payload : null))
  return pipelined(sql`
    insert into outbox (channel, kind, ref_a, ref_b, payload)
    select * from unnest(
      ${textArray(emissions.map(({ channel }) => channel))}::text::text[],
      ${plainArray(emissions.map(({ kind }) => kind))}::text::smallint[],
      ${plainArray(emissions.map(({ ref }) => ref?.[0]))}::text::bigint[],
      ${plainArray(emissions.map(({ ref }) => ref?.[1]))}::text::bigint[],
      ${quotedArray(payloads)}::text::text[])`)
}
