import type { SQL } from 'bun'
import { uuidv7 } from '../base/ids.ts'
import { internalRequest } from '../kernel/access.ts'
import type { Job } from '../kernel/job.ts'
import { retention } from '../kernel/retention.ts'
import { unitOfWork } from '../kernel/write.ts'
import { sendQueue } from './sender.ts'

const DAY_MS = 86_400_000
const KEPT_DAYS = 14

/** Deletes old deliveries: also those that wait at an endpoint which nobody has made active. */
export const forgetDeliveries = retention(
  'webhooks.forget_deliveries',
  `Deletes deliveries of webhooks after ${KEPT_DAYS} days`,
  [{ table: 'webhook_deliveries', column: 'created_at', keptMs: KEPT_DAYS * DAY_MS }],
)

/**
 * Wakes the senders of endpoints where something is overdue. Nothing should be: this is for a job
 * that was discarded by hand or has died of a failure of ours.
 */
export const wakeSenders: Job = {
  name: 'webhooks.wake_senders',
  description: 'Wakes the senders of overdue deliveries, and forgets secrets that have ended',
  async run(kernel) {
    const who = { actor: null, request: internalRequest(uuidv7(kernel.clock.now())) }
    return await unitOfWork(kernel, who, async (ctx) => {
      const { sql } = ctx.tx
      const ended = await sql`
        update webhook_endpoints set previous_secret = null, previous_until = null
        where previous_until < now()`
      const rows = await overdue(sql)
      for (const { id } of rows) ctx.enqueue(sendQueue, { endpoint_id: id }, { key: id })
      return { senders_woken: rows.length, secrets_forgotten: ended.count }
    })
  },
  async dryRun({ db: { sql } }) {
    const rows = await overdue(sql)
    const [row] = await sql`
      select count(*)::int as ended from webhook_endpoints where previous_until < now()`
    return { senders_woken: rows.length, secrets_forgotten: row.ended as number }
  },
}

/** Active endpoints with deliveries that should have been sent a while ago. */
async function overdue(sql: SQL): Promise<{ id: string }[]> {
  return await sql<{ id: string }[]>`
    select id from webhook_endpoints e
    where state = 'active' and (not_before is null or not_before < now()) and exists (
      select from webhook_deliveries d where d.endpoint_id = e.id and d.state = 'pending'
        and d.due_at < now() - interval '1 minute')
    order by id`
}
