import { Failure } from '../base/errors.ts'
import { type ApiKeyActor, type RequestInfo, SCOPES } from '../kernel/access.ts'
import type { AuditLine } from '../kernel/effects.ts'
import { type Kernel, service } from '../kernel/kernel.ts'
import { addressGroup } from '../net/address.ts'
import { type KeyText, readKey } from './format.ts'
import { type KeyRow, secretEndsMs, stateOf } from './keys.ts'

/**
 * Who asks with an API key. A key is believed for half a second after the database was
 * asked, so that a busy key costs two lookups a second and a revocation bites within one, on
 * every instance and without anybody announcing it.
 */
export interface ApiKeys {
  /**
   * Answers at once where it knows the key.
   * @throws Failure `unauthenticated` | `rate_limited` (too many that were none) | `unavailable`
   */
  authenticate(text: string, request: RequestInfo): ApiKeyActor | Promise<ApiKeyActor>
}

/** With the lookup itself, a revocation bites well within a second. */
const FRESH_MS = 500
/** What was refused stays refused: no secret comes to life. Bounds what one client can cost. */
const REFUSED_MS = 60_000
const REFUSED_MAX = 10_000
/** More than there may be keys. */
const KNOWN_MAX = 2_000
/** `last_used_at` is exact to this. */
const USE_NOTED_MS = 60_000

interface Known {
  readonly actor: ApiKeyActor
  /** By the wall clock. */
  readonly endsMs: number
  /** By the monotonic clock. */
  readonly freshUntilMs: number
}

/** The API keys of a server. */
export const ApiKeys = service<ApiKeys>('api keys', (kernel) => {
  const { clock, config, limiter } = kernel
  /** By hash, in base64; only keys that are in the table get in here. */
  const known = new Map<string, Known>()
  const asking = new Map<string, Promise<ApiKeyActor>>()
  const refused = new Map<string, number>()

  const ask = async (key: KeyText, id: string, request: RequestInfo): Promise<ApiKeyActor> => {
    // From before the question on: a revocation may commit right after it was answered.
    const freshUntilMs = clock.monotonicMs() + FRESH_MS
    try {
      const { actor, endsMs } = await look(kernel, key, request)
      // Secrets that were rotated away are only forgotten so.
      if (known.size >= KNOWN_MAX) known.clear()
      known.set(id, { actor, endsMs, freshUntilMs })
      return actor
    } catch (error) {
      if (error instanceof Failure && error.code === 'unauthenticated') {
        known.delete(id)
        if (refused.size >= REFUSED_MAX) refused.clear()
        refused.set(id, clock.monotonicMs() + REFUSED_MS)
      }
      throw error
    } finally {
      asking.delete(id)
    }
  }

  return {
    authenticate(text, request) {
      const key = readKey(text)
      if (key === undefined) throw notValid()
      const id = key.hash.toString('base64')
      const nowMs = clock.monotonicMs()
      const held = known.get(id)
      if (held !== undefined && held.freshUntilMs > nowMs && held.endsMs > clock.now()) {
        return held.actor
      }
      if ((refused.get(id) ?? 0) > nowMs) throw notValid()
      const asked = asking.get(id)
      if (asked !== undefined) return asked
      // A key that was good half a second ago is not counted.
      if (held === undefined && config.rateLimits.enabled) countLookup(limiter, request)
      const answer = ask(key, id, request)
      asking.set(id, answer)
      return answer
    },
  }
})

const notValid = (why = 'not valid') => new Failure('unauthenticated', `This API key is ${why}`)

function countLookup(limiter: Kernel['limiter'], { address }: RequestInfo): void {
  const waitMs = limiter.take('api_key_address', addressGroup(address))
  if (waitMs === 0) return
  throw new Failure('rate_limited', 'Too many API keys of this address are not valid', {
    retryAfterMs: waitMs,
    limit: 'api_key_address',
  })
}

async function look(
  kernel: Kernel,
  key: KeyText,
  request: RequestInfo,
): Promise<{ actor: ApiKeyActor; endsMs: number }> {
  const { clock, db } = kernel
  const [row] = (await db.read(
    (sql) => sql`select * from api_keys where prefix = ${key.prefix}`,
  )) as KeyRow[]
  if (row === undefined) throw notValid()
  const endsMs = secretEndsMs(row, key)
  if (endsMs === undefined) {
    await note(kernel, row, request, 'wrong_secret')
    throw notValid()
  }
  const nowMs = clock.now()
  const state = stateOf(row, nowMs)
  if (state !== 'active' || endsMs <= nowMs) {
    const why = state === 'active' ? 'replaced' : state
    await note(kernel, row, request, why)
    throw notValid(why)
  }
  await noteUse(kernel, row, request)
  const { id: keyId, name, scopes } = row
  const actor = {
    kind: 'service',
    keyId,
    name,
    // One that a newer version had is none here.
    scopes: scopes.filter((scope) => Object.hasOwn(SCOPES, scope)),
  } as const
  return { actor, endsMs }
}

/** Notes that a key was used, once a minute. Its caller is answered, also where this fails. */
async function noteUse(
  { clock, db, log }: Kernel,
  { id, last_used_at }: KeyRow,
  { address }: RequestInfo,
): Promise<void> {
  const before = new Date(clock.now() - USE_NOTED_MS)
  if (last_used_at !== null && last_used_at > before) return
  try {
    await db.sql`
      update api_keys set last_used_at = ${clock.date()}, last_used_address = ${address}
      where id = ${id} and (last_used_at is null or last_used_at <= ${before})`
  } catch (error) {
    log.warn('use of an API key not noted', { key_id: id, error })
  }
}

/** Writes down that a key of ours was refused, not each time. The answer does not depend on it. */
async function note(
  { audit, limiter, log }: Kernel,
  { id }: KeyRow,
  request: RequestInfo,
  why: string,
): Promise<void> {
  if (limiter.take('refusal', `key:${id}`) !== 0) return
  const line: AuditLine = {
    action: 'api_keys.refused',
    outcome: 'failure',
    target: { type: 'api_key', id },
    after: { why },
    caller: null,
    request,
  }
  await audit.record(line).catch((error: unknown) => {
    log.error('refusal not in the audit log', { action: line.action, error })
  })
}
