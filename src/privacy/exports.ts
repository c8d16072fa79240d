import type { SQL } from 'bun'
import { lockUser } from '../auth/index.ts'
import { Failure } from '../base/errors.ts'
import { uuidv7 } from '../base/ids.ts'
import type { WriteContext } from '../kernel/context.ts'
import { badCursor } from '../kernel/cursor.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { placeOf } from '../vault/vault.ts'

/** Copies of personal data: asked for, written page by page, handed out for a week. */

/** Time to come back to the mail that says it is ready. */
const EXPORT_KEPT_MS = 7 * 86_400_000
/** One in that time: collecting reads everything of a person. */
const EXPORT_EVERY_MS = 86_400_000

/** A copy of somebody's data. */
export interface ExportRow {
  readonly id: string
  readonly state: 'pending' | 'ready' | 'failed'
  readonly created_at: Date
  readonly ready_at: Date | null
  readonly expires_at: Date | null
  readonly items: number
}

/**
 * Notes that somebody wants a copy.
 * @throws Failure `conflict` while one is being written | `rate_limited` within a day
 */
export async function requestExport({ tx, clock, actor }: WriteContext): Promise<ExportRow> {
  const { sql } = tx
  // One after the other, so that of two at once the second sees the first.
  if ((await lockUser(sql, actor.userId)) === undefined) throw new Failure('not_found')
  const since = new Date(clock.now() - EXPORT_EVERY_MS)
  // Nobody works on it any more: its job was given up with the server that ran it.
  await sql`
    update data_exports set state = 'failed'
    where user_id = ${actor.userId} and state = 'pending' and created_at <= ${since}`
  const [last] = (await sql`
    select state, created_at from data_exports
    where user_id = ${actor.userId} and state <> 'failed' and created_at > ${since}
    order by created_at desc limit 1`) as Pick<ExportRow, 'state' | 'created_at'>[]
  if (last?.state === 'pending') {
    throw new Failure('conflict', 'A copy of your data is being written')
  }
  if (last !== undefined) {
    const retryAfterMs = last.created_at.getTime() + EXPORT_EVERY_MS - clock.now()
    throw new Failure('rate_limited', 'One copy of your data a day', { retryAfterMs })
  }
  const created_at = clock.date()
  const id = uuidv7(clock.now())
  await sql`
    insert into data_exports (id, user_id, state, created_at)
    values (${id}, ${actor.userId}, 'pending', ${created_at})`
  return { id, state: 'pending', created_at, ready_at: null, expires_at: null, items: 0 }
}

/** Somebody's copies, newest first; there is at most one a day for a week. */
export async function listExports(sql: SQL, userId: string, now: Date): Promise<ExportRow[]> {
  return await sql`
    select id, state, created_at, ready_at, expires_at, items from data_exports
    where user_id = ${userId} and (expires_at is null or expires_at > ${now})
    order by created_at desc limit 100`
}

/** A page of a copy: JSON text, and the number of the next one. */
export interface ExportPage {
  readonly text: string
  readonly next: number | undefined
}

/**
 * A page of a copy that is ready.
 * @throws Failure `not_found` | `conflict` while it is not ready | `validation_failed` for a page
 *   that there is not
 */
export async function readPage(
  { db, clock, vault }: Kernel,
  userId: string,
  exportId: string,
  number: number,
): Promise<ExportPage> {
  const [found] = (await db.read(
    (sql) => sql`
      select e.state, p.id, p.content,
        exists (select from export_pages n where n.export_id = e.id and n.number = ${number + 1})
          as more
      from data_exports e left join export_pages p on p.export_id = e.id and p.number = ${number}
      where e.id = ${exportId} and e.user_id = ${userId}
        and (e.expires_at is null or e.expires_at > ${clock.date()})`,
  )) as {
    state: ExportRow['state']
    id: string | null
    content: Uint8Array | null
    more: boolean
  }[]
  if (found === undefined) throw noSuchExport()
  if (found.state !== 'ready') throw new Failure('conflict', 'This copy is not ready')
  if (found.id === null || found.content === null) throw badCursor()
  const packed = vault.open(pagePlace(found.id), found.content)
  const text = Buffer.from(Bun.gunzipSync(new Uint8Array(packed))).toString()
  return { text, next: found.more ? number + 1 : undefined }
}

/** The refusal for copies of nobody, of others, and those that have expired. */
const noSuchExport = () => new Failure('not_found', 'You have no such copy of your data')

const pagePlace = (pageId: string) => placeOf('export_pages', 'content', pageId)

/**
 * Deletes a copy before its time. Its row stays for the rest of the day: there is no other then.
 * @throws Failure `not_found`
 */
export async function deleteExport(
  { tx, clock, actor }: WriteContext,
  exportId: string,
): Promise<void> {
  const ended = await tx.sql`
    update data_exports set expires_at = ${clock.date()}
    where id = ${exportId} and user_id = ${actor.userId} and state = 'ready'
      and expires_at > ${clock.date()} returning 1`
  if (ended.length === 0) throw noSuchExport()
  await tx.sql`delete from export_pages where export_id = ${exportId}`
}

/** A try at writing a copy. */
export interface Run {
  readonly exportId: string
  readonly userId: string
  readonly id: string
}

/**
 * Begins a try, or begins again: what an earlier one has written is removed, and what it may still
 * write is not taken. Undefined when nobody wants the copy any more.
 */
export async function beginRun({ db, clock }: Kernel, exportId: string): Promise<Run | undefined> {
  const id = uuidv7(clock.now())
  return await db.transaction(async ({ sql }) => {
    const [row] = (await sql`
      update data_exports set run = ${id} where id = ${exportId} and state = 'pending'
      returning user_id`) as { user_id: string }[]
    if (row === undefined) return undefined
    await sql`delete from export_pages where export_id = ${exportId}`
    return { exportId, userId: row.user_id, id }
  })
}

/** Thrown where a newer try has begun, or the copy is no longer wanted. */
export class RunIsOver extends Error {
  override readonly name = 'RunIsOver'
}

/**
 * Stores a page.
 * @throws RunIsOver
 */
export async function storePage(
  { db, clock, vault }: Kernel,
  run: Run,
  number: number,
  text: string,
): Promise<void> {
  const id = uuidv7(clock.now())
  const content = vault.seal(pagePlace(id), Bun.gzipSync(text))
  const stored = await db.transaction(
    async ({ sql }) =>
      await sql`
      insert into export_pages (id, export_id, number, content)
      select ${id}, e.id, ${number}, ${content} from data_exports e
      where e.id = ${run.exportId} and e.run = ${run.id} and e.state = 'pending' for share
      returning 1`,
  )
  if (stored.length === 0) throw new RunIsOver()
}

/**
 * Marks a copy as complete, in the caller's transaction.
 * @returns until when it is kept
 * @throws RunIsOver
 */
export async function finishRun(
  { tx, clock }: WriteContext<null>,
  run: Run,
  items: number,
): Promise<Date> {
  const expiresAt = new Date(clock.now() + EXPORT_KEPT_MS)
  const done = await tx.sql`
    update data_exports set state = 'ready', ready_at = ${clock.date()},
      expires_at = ${expiresAt}, items = ${items}
    where id = ${run.exportId} and run = ${run.id} and state = 'pending' returning 1`
  if (done.length === 0) throw new RunIsOver()
  return expiresAt
}

/** Gives a copy up, so that its owner may ask for another one. */
export async function failRun({ db }: Kernel, run: Run): Promise<void> {
  await db.transaction(
    async ({ sql }) =>
      await sql`
      with failed as (
        update data_exports set state = 'failed'
        where id = ${run.exportId} and run = ${run.id} and state = 'pending' returning id)
      delete from export_pages where export_id in (select id from failed)`,
  )
}
