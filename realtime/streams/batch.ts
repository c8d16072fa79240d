import type { SQL } from 'bun'
import { plainArray } from '../../db/literals.ts'
import { pipelined } from '../../db/pipelined.ts'
import { Failure } from '../../src/base/errors.ts'
import type { Emission } from '../../src/kernel/effects.ts'
import type { StreamBatch } from '../../src/kernel/kernel.ts'
import type { StreamEvent } from '../hub.ts'
import type { Heads } from './heads.ts'
import type { Mutex } from './mutex.ts'
import { insertOutbox } from './outbox.ts'
import { insertEvents } from './rows.ts'

/** What a batch needs of the streams it belongs to. */
export interface BatchParts {
  readonly heads: Heads
  /** Held from locking heads to the commit, by one batch of this process at a time. */
  readonly numbering: Mutex
  readonly publish: (events: readonly StreamEvent[]) => void
  /** Some emissions went to the outbox. */
  readonly queued: () => void
  /** A commit may have counted though its answer was lost: then nobody publishes its events. */
  readonly doubt: () => void
}

interface Claimed {
  /** Current top of each head that is ours until the commit. */
  readonly tops: Map<number, number>
}

/**
 * Numbering by a batch handler itself. Heads that another instance holds are skipped, never waited
 * for (a stalled holder would stall everybody), and so are channels with events in the outbox,
 * whose turn comes first; what cannot be numbered here goes to the outbox. Between the batches of
 * this process a mutex keeps them from skipping each other's heads all the time.
 */
export function createStreamBatch(sql: SQL, parts: BatchParts): StreamBatch {
  let claimed: Promise<Claimed> | undefined
  let held = false
  let released = false
  let numbered: (StreamEvent | undefined)[] = []

  const lock = async (channels: readonly string[]): Promise<Claimed> => {
    await parts.heads.ensure(channels)
    const ids = [...new Set(channels)].map((channel) => parts.heads.known(channel)?.id)
    await parts.numbering.acquire()
    if (released) {
      // The batch has failed while this was waiting for its turn.
      parts.numbering.release()
      return { tops: new Map() }
    }
    held = true
    const rows = await pipelined(sql<{ id: number; top: number }[]>`
      select h.id::float8 as id, h.top::float8 as top from stream_heads h
      where h.id = any(${plainArray(ids)}::text::bigint[])
        and not exists (select from outbox o where o.channel = h.channel)
      order by h.id for no key update skip locked`)
    return { tops: new Map(rows.map(({ id, top }) => [id, top])) }
  }
  const claim = (channels: readonly string[]) => {
    if (claimed !== undefined || channels.length === 0) return
    claimed = lock(channels)
    claimed.catch(() => undefined)
  }
  const release = () => {
    released = true
    if (held) parts.numbering.release()
    held = false
  }

  return {
    claim,
    async commit(emissions) {
      claim(emissions.filter(inline).map(({ channel }) => channel))
      const { tops } = (await claimed) ?? { tops: new Map<number, number>() }
      numbered = number(emissions, tops, parts.heads)
      const rest = emissions.filter((_, n) => numbered[n] === undefined)
      const statements = [
        ...write(sql, emissions, numbered, parts.heads),
        ...(rest.length === 0 ? [] : [insertOutbox(sql, rest)]),
        pipelined(sql`commit`),
      ]
      const results = await Promise.all(statements).catch((error: unknown) => {
        parts.doubt()
        throw error
      })
      // After an error inside a pipeline, `commit` itself answers ROLLBACK and no error.
      if ((results.at(-1) as { command?: string }).command === 'ROLLBACK') {
        throw new Failure('internal', 'The transaction was rolled back')
      }
      release()
      if (rest.length > 0) parts.queued()
      return numbered.map((event) => event?.offset)
    },
    publish(emissions, skip) {
      const events: StreamEvent[] = []
      for (const [n, event] of numbered.entries()) {
        if (event === undefined) continue
        const { payload } = emissions[n] as Emission
        events.push({ ...event, payload, skip: skip[n] })
      }
      if (events.length > 0) parts.publish(events)
    },
    release,
  }
}

/** Cache channels replace their latest row; that is the writer's business. */
function inline(emission: Emission): boolean {
  return emission.recovery === 'stream'
}

function number(emissions: readonly Emission[], tops: Map<number, number>, heads: Heads) {
  return emissions.map((emission): StreamEvent | undefined => {
    const head = heads.known(emission.channel)
    const top = head === undefined ? undefined : tops.get(head.id)
    if (head === undefined || top === undefined || !inline(emission)) return undefined
    const offset = top + 1
    tops.set(head.id, offset)
    const { channel, type, payload } = emission
    return { channel, offset, type, payload, skip: undefined }
  })
}

/** The stream rows and the new tops, as two statements sent at once. */
function write(
  sql: SQL,
  emissions: readonly Emission[],
  numbered: readonly (StreamEvent | undefined)[],
  heads: Heads,
): Promise<unknown>[] {
  const ids: number[] = []
  const positions: number[] = []
  const kinds: number[] = []
  const refA: (number | null)[] = []
  const refB: (number | null)[] = []
  const payloads: (string | null)[] = []
  const tops = new Map<number, number>()
  for (const [n, event] of numbered.entries()) {
    if (event === undefined) continue
    const { ref, payload, kind } = emissions[n] as Emission
    const { id } = heads.known(event.channel) as { id: number }
    ids.push(id)
    positions.push(event.offset)
    kinds.push(kind as number)
    refA.push(ref?.[0] ?? null)
    refB.push(ref?.[1] ?? null)
    payloads.push(ref === undefined ? payload : null)
    tops.set(id, event.offset)
  }
  if (ids.length === 0) return []
  return [
    insertEvents(sql, { ids, positions, kinds, refA, refB, payloads }),
    pipelined(sql`
      update stream_heads h set top = u.top
      from unnest(${plainArray([...tops.keys()])}::text::bigint[],
                  ${plainArray([...tops.values()])}::text::bigint[]) u(id, top)
      where h.id = u.id`),
  ]
}
