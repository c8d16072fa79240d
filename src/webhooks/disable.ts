import { mailAdministrators } from '../auth/index.ts'
import { uuidv7 } from '../base/ids.ts'
import { internalRequest } from '../kernel/access.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { tellServices } from '../kernel/service-event.ts'
import { unitOfWork } from '../kernel/write.ts'
import { webhookDisabled } from './events.ts'
import type { Webhook } from './shapes.ts'

/**
 * Stops to send to an endpoint, until its owner makes it active again; tells the administrators by
 * mail, the other endpoints by an event, and the audit log. Once: who comes second does nothing.
 * What waits for it stays.
 */
export async function disableEndpoint(
  kernel: Kernel,
  id: string,
  because: NonNullable<Webhook['disabled_because']>,
): Promise<void> {
  const { clock, log } = kernel
  const who = { actor: null, request: internalRequest(uuidv7(clock.now())) }
  await unitOfWork(kernel, who, async (ctx) => {
    const [row] = await ctx.tx.sql<{ url: string }[]>`
      update webhook_endpoints set state = 'disabled', disabled_because = ${because},
        sender_id = null, sender_until = null, updated_at = now()
      where id = ${id} and state = 'active' returning url`
    if (row === undefined) return
    const { host } = new URL(row.url)
    const target = { type: 'webhook', id }
    ctx.audit({ action: 'webhooks.disabled', target, after: { because, host } })
    ctx.emit(tellServices(webhookDisabled, clock, { webhook_id: id, because }))
    await mailAdministrators(ctx, 'webhook_disabled', { at: clock.iso(), host, because })
    ctx.afterCommit(() => log.warn('webhook disabled', { webhook: id, because }))
  })
}
