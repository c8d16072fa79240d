import type { Timer } from '../base/clock.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { WAITING_MAX } from './consumer.ts'
import { streamHead } from './endpoints.ts'
import { STATES } from './shapes.ts'

const SAMPLE_MS = 10_000
/** Endpoints with series of their own: those furthest behind. */
const NAMED_MAX = 20

interface Lag {
  readonly id: string
  readonly behind: number
  readonly waiting: number
  readonly overdue: number
}

/** Measures how far webhooks are behind, as metrics; cancel it at the end. */
export function observeWebhooks(kernel: Kernel): Timer {
  const { metrics, clock, log, db } = kernel
  const endpoints = metrics.gauge('webhook_endpoints', 'Endpoints of webhooks by state', ['state'])
  const help = `by endpoint, for the ${NAMED_MAX} that are furthest behind`
  const behind = metrics.gauge('webhook_behind_events', `Events not considered yet, ${help}`, [
    'webhook',
  ])
  const waiting = metrics.gauge('webhook_waiting_deliveries', `Deliveries to be sent, ${help}`, [
    'webhook',
  ])
  const overdue = metrics.gauge(
    'webhook_overdue_seconds',
    'For how long the oldest due delivery of any active endpoint has been waiting',
  )
  const sample = async () => {
    const counts = await db.sql<{ state: string; count: number }[]>`
      select state, count(*)::int as count from webhook_endpoints group by state`
    const byState = new Map(counts.map(({ state, count }) => [state, count]))
    for (const state of STATES) endpoints.labels({ state }).set(byState.get(state) ?? 0)
    const lags = byState.size === 0 ? [] : await lagsOf(kernel)
    behind.clear()
    waiting.clear()
    for (const lag of lags.slice(0, NAMED_MAX)) {
      behind.labels({ webhook: lag.id }).set(lag.behind)
      waiting.labels({ webhook: lag.id }).set(lag.waiting)
    }
    overdue.labels().set(Math.max(0, ...lags.map((lag) => lag.overdue)))
  }
  return clock.setInterval(() => {
    sample().catch((error: unknown) => log.debug('webhooks not measured', { error }))
  }, SAMPLE_MS)
}

async function lagsOf(kernel: Kernel): Promise<readonly Lag[]> {
  const { epoch, top } = await streamHead(kernel)
  const rows = await kernel.db.sql<Lag[]>`
    select id, waiting, overdue,
      (${top} - case when epoch = ${epoch} then position else 0 end)::float8 as behind
    from webhook_endpoints e cross join lateral (
      select count(*)::int as waiting,
        coalesce(extract(epoch from now() - min(due_at)), 0)::float8 as overdue
      from (
        select due_at from webhook_deliveries d
        where d.endpoint_id = e.id and d.state = 'pending' order by due_at limit ${WAITING_MAX}
      ) pending) waits
    where state = 'active'`
  return rows.toSorted((a, b) => b.behind + b.waiting - a.behind - a.waiting)
}
