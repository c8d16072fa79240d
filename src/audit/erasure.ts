import type { SQL } from 'bun'
import { t, Uuid } from '../base/schema.ts'
import type { JsonObject } from '../kernel/effects.ts'
import type { PersonalData } from '../kernel/personal-data.ts'
import { queue } from '../kernel/queue.ts'
import { CLOSED_KEPT_MS, ERASED } from './shapes.ts'

/** What the log holds of a person: who may see it, and when it goes. */

const MINUTE_MS = 60_000

/** Erases the personal data of a closed account. The lines stay: who did what is kept as ids. */
export const eraseQueue = queue('audit.erase', {
  description: 'Erases personal data of closed accounts from the audit log',
  payload: t.Object({ subject_id: Uuid }),
  concurrency: 1,
  deadlineMs: 5 * MINUTE_MS,
  triesMax: 20,
  backoffMs: MINUTE_MS,
  async handle({ tx, audit }, { subject_id }) {
    const erased = await tx.sql`delete from audit_personal where subject_id = ${subject_id}`
    // Without this line in the log, what is gone would count as tampered with.
    audit({
      action: ERASED,
      target: { type: 'user', id: subject_id },
      after: { parts: erased.count as number },
    })
  },
})

/** Lines read at once for somebody's export. */
const LINES_AT_ONCE = 500

interface OwnRow extends JsonObject {
  readonly position: string
  readonly part: string
}

async function readOwn(sql: SQL, userId: string, after: OwnRow | undefined): Promise<OwnRow[]> {
  return await sql`
    select p.position::text as position, to_char(l.at at time zone 'UTC',
        'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at, l.action, l.outcome, l.target_type, l.target_id,
      p.part, p.data
    from audit_personal p
    join audit_log l on l.position = p.position and l.sealed_at = p.sealed_at
    where p.subject_id = ${userId} and
      (p.position, p.part) > (${after?.position ?? '0'}::text::bigint, ${after?.part ?? ''}::text)
    order by p.position, p.part limit ${LINES_AT_ONCE}`
}

/** The log's part in a person's rights over their data. */
export const personalData: PersonalData = {
  async *export(_kernel, sql, userId) {
    let last: OwnRow | undefined
    do {
      const rows = await readOwn(sql, userId, last)
      for (const { position: _, ...item } of rows) yield { section: 'audit', item }
      last = rows.length < LINES_AT_ONCE ? undefined : rows.at(-1)
    } while (last !== undefined)
  },
  forget({ enqueue }, userId) {
    enqueue(eraseQueue, { subject_id: userId }, { delayMs: CLOSED_KEPT_MS, key: userId })
    return Promise.resolve()
  },
  kept: [
    'The audit log keeps for seven years what the account did, under its id; network addresses ' +
      'and devices are erased from it 30 days after closing.',
  ],
}
