import { Failure } from '../../src/base/errors.ts'
import { input, t } from '../../src/base/schema.ts'
import { user } from '../../src/kernel/access.ts'
import { channel, emission, event } from '../../src/kernel/channel.ts'
import { feature } from '../../src/kernel/feature.ts'
import { operation } from '../../src/kernel/operation.ts'

/**
 * A feature for tests of the kernel and the streams: a stream channel and a cache channel that
 * everybody may read, and operations of each form that emit to them.
 */
const labChannel = channel('lab', {
  description: 'A stream of the tests',
  recovery: 'stream',
  mayRead: (_kernel, _actor, id) => !id.startsWith('private'),
})
const boardChannel = channel('board', {
  description: 'A latest value of the tests',
  recovery: 'cache',
  mayRead: () => true,
})

const Noted = t.Object({ text: t.String() })
const noted = event(labChannel, 'noted', {
  kind: 31_000,
  description: 'A note',
  payload: Noted,
})
const shown = event(boardChannel, 'shown', {
  kind: 31_001,
  description: 'The newest value',
  payload: Noted,
})

const NoteInput = input({
  on: t.String({ pattern: '^[a-z0-9-]{1,40}$' }),
  text: t.String({ maxLength: 2_000 }),
  /** Keeps the transaction open, after everything is written. */
  stall_ms: t.Optional(t.Integer({ minimum: 0, maximum: 10_000 })),
})

/** Through the outbox. */
const note = operation('lab.note', {
  summary: 'Notes something in a transaction',
  rest: 'POST /lab/notes',
  access: user(),
  limit: 'write',
  idempotent: true,
  input: NoteInput,
  output: t.Object({ text: t.String(), run: t.Integer() }),
  async handler({ emit, tx, clock }, { on, text, stall_ms }) {
    emit(emission(noted, on, { text }))
    const [row] = await tx.sql`select coalesce(max(id), 0)::int as run from outbox`
    if (stall_ms !== undefined) await clock.sleep(stall_ms)
    if (text === 'fail') throw new Failure('conflict', 'as you wished')
    if (text === 'crash') throw new Error('a bug, with a secret in its text')
    return { text, run: row.run as number }
  },
})

/** Numbered by the batch itself; the text `fail` fails alone, `poison` fails the statement. */
const noteFast = operation('lab.note_fast', {
  summary: 'Notes something in a batch',
  rest: 'POST /lab/fast',
  access: user(),
  limit: 'message',
  input: NoteInput,
  output: t.Object({ text: t.String() }),
  async batch(ctx, items) {
    ctx.claim(items.map((item) => `lab:${item.input.on}`))
    const texts = items.map((item) => item.input.text)
    if (texts.includes('poison')) await ctx.sql`select 1 / 0`
    if (texts.includes('deadlock')) await ctx.sql`do $$ begin raise sqlstate '40P01'; end $$`
    return items.map(({ input: { on, text } }, n) => {
      if (text === 'fail') return new Failure('conflict', 'as you wished')
      ctx.emit(n, emission(noted, on, { text }))
      return { text }
    })
  },
})

/** To the cache channel. */
const show = operation('lab.show', {
  summary: 'Shows a value',
  access: user(),
  limit: 'write',
  input: NoteInput,
  output: t.Object({}),
  handler({ emit }, { on, text }) {
    emit(emission(shown, on, { text }))
    return Promise.resolve({})
  },
})

/** Takes its time, to see that frames of one socket keep their order. */
const slow = operation('lab.slow', {
  summary: 'Answers after a while',
  access: user(),
  limit: 'read',
  input: input({ ms: t.Integer({ minimum: 0, maximum: 5_000 }), tag: t.Optional(t.String()) }),
  output: t.Object({ tag: t.String() }),
  async run({ clock }, { ms, tag = '' }) {
    await clock.sleep(ms)
    return { tag }
  },
})

/** Answers at once. */
const quick = operation('lab.quick', {
  summary: 'Answers at once',
  rest: 'GET /lab/quick',
  access: user(),
  limit: 'ephemeral',
  input: input({ tag: t.Optional(t.String()) }),
  output: t.Object({ tag: t.String() }),
  immediate: (_ctx, { tag = '' }) => ({ tag }),
})

export const labFeature = feature({
  name: 'lab',
  operations: [note, noteFast, show, slow, quick],
  channels: [labChannel, boardChannel],
  events: [noted, shown],
})
