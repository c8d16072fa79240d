import type { SQL } from 'bun'
import { input, oneOf, t } from '../../src/base/schema.ts'
import { user } from '../../src/kernel/access.ts'
import { feature } from '../../src/kernel/feature.ts'
import { operation } from '../../src/kernel/operation.ts'

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
  'range',
  'several',
  'output',
] as const
type Crash = (typeof CRASHES)[number]

/** Lets the database fail with a text of its own. */
function raise(sql: SQL, code: string, message: string, detail: string) {
  return sql.unsafe(`do $$ begin raise exception using errcode = '${code}',
    message = '${message}', detail = '${detail}', hint = '${detail}'; end $$`)
}

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
      // Raised, because a row that a constraint refuses has been in the file before.
      unique: () => raise(sql, '23505', `duplicate key`, `Key (channel)=(${text}) already exists.`),
      range: () => raise(sql, '22003', `value "${text}" is out of range`, text),
      check: () => sql`
        update users set locale = ${text} where id = (select id from users limit 1)`,
      null: () => sql`insert into stream_heads (channel, epoch) values (${text}, null)`,
      several: () =>
        Promise.any([Promise.reject(new Error('one')), sql`select ${text}::text::int`]),
      output: () => ({ fine: text }),
    }
    return (await ways[how]()) as { fine: true }
  },
})

export const crashFeature = feature({ name: 'canary', operations: [crash] })
