import { feature } from '../../src/kernel/feature.ts'
import { operation, user } from '../../src/kernel/operation.ts'
import { input, oneOf, t } from '../../src/kernel/schema.ts'

/** How code fails on what it was given; none of it says the value on purpose. */
export const CRASHES = [
  'bug',
  'json',
  'url',
  'number',
  'pattern',
  'cast_uuid',
  'cast_int',
  'cast_json',
  'cast_time',
  'unique',
  'check',
  'null',
  'length',
  'raise',
  'several',
  'output',
] as const
type Crash = (typeof CRASHES)[number]

/** Fails on `text` in one of the ways in which programs fail. */
const crash = operation('canary.crash', {
  summary: 'Fails on what it is given',
  rest: 'POST /canary/crash',
  access: user(),
  limit: 'write',
  idempotent: true,
  input: input({ how: oneOf(CRASHES), text: t.String({ maxLength: 10_000 }) }),
  output: t.Object({ fine: t.Literal(true) }),
  async handler({ tx: { sql } }, { how, text }) {
    const ways: Record<Crash, () => unknown> = {
      bug: () => (undefined as unknown as { text: string })[text as 'text'].length,
      json: () => JSON.parse(text) as unknown,
      url: () => new URL(text),
      number: () => BigInt(text),
      pattern: () => new RegExp(`(${text}`),
      cast_uuid: () => sql`select ${text}::text::uuid`,
      cast_int: () => sql`select ${text}::text::int`,
      cast_json: () => sql`select ${text}::text::jsonb`,
      cast_time: () => sql`select ${text}::text::timestamptz`,
      unique: () => sql`
        with twice as (select ${text}::text as channel from generate_series(1, 2))
        insert into stream_heads (channel) select channel from twice`,
      check: () => sql`
        update users set locale = ${text} where id = (select id from users limit 1)`,
      null: () => sql`insert into stream_heads (channel, epoch) values (${text}, null)`,
      length: () => sql`select ${text}::text::varchar(3)::char(1)::text::"char"::int`,
      raise: () =>
        sql.unsafe(`do $$ begin raise exception using errcode = '22023',
        message = 'bad value "${text}"', detail = '${text}', hint = '${text}'; end $$`),
      several: () =>
        Promise.any([Promise.reject(new Error('one')), sql`select ${text}::text::int`]),
      output: () => ({ fine: text }),
    }
    return (await ways[how]()) as { fine: true }
  },
})

export const crashFeature = feature({ name: 'canary', operations: [crash] })
