import { afterAll, beforeAll, expect, test } from 'bun:test'
import { uuidv7 } from '../../src/base/ids.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { forgetDeliveries, wakeSenders, webhooksFeature } from '../../src/webhooks/index.ts'
import { giveFactor } from '../support/factor.ts'
import { restWithFactor } from '../support/mfa.ts'
import { administrator, type Body, type Person } from '../support/people.ts'
import type { TestServer } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { type Receiver, startReceiver } from './receiver.ts'
import { later, makeService, type Service, tell, untilDeliveries, webhookServer } from './setup.ts'

/** What happens to webhooks by itself, and to those of somebody who leaves. */

let server: TestServer
let admin: Person
let service: Service
let receiver: Receiver
beforeAll(async () => {
  server = await webhookServer()
  admin = await administrator(server)
  await giveFactor(server.kernel, admin.id)
  service = await makeService(server, admin.id)
  receiver = await startReceiver()
})
afterAll(async () => {
  await receiver.stop()
  await server.stop()
})

test('a sender whose job was lost is woken', async () => {
  const { id } = await service.create({ url: receiver.url, events: ['test.happened'] })
  receiver.reply(500)
  await tell(server, [1])
  await untilDeliveries(service, id, ([d]) => d?.attempts === 1, 'noted')
  await later(server, 0)
  const { db, metrics } = server.kernel
  await db.sql`delete from queue_jobs where queue = 'webhooks'`
  receiver.reply(200)
  await later(server, 600_000)
  await Bun.sleep(300)
  expect(receiver.received).toHaveLength(1)
  expect(await wakeSenders.run(server.kernel)).toMatchObject({ senders_woken: 1 })
  await receiver.wait(2)
  await untilDeliveries(service, id, ([d]) => d?.state === 'delivered', 'delivered')
  expect(await wakeSenders.run(server.kernel)).toMatchObject({ senders_woken: 0 })
  const text = metrics.render()
  expect(text).toContain('webhook_attempts_total{outcome="5xx"} 1')
  expect(text).toContain('webhook_attempts_total{outcome="2xx"} 1')
})

test('a secret that has ended is forgotten, not only unused', async () => {
  const { id } = await service.create({ url: receiver.url, events: ['test.other'] })
  await service.call('POST', `/${id}/rotate-secret`, { overlap_seconds: 60 })
  expect(await wakeSenders.run(server.kernel)).toMatchObject({ secrets_forgotten: 0 })
  await later(server, 61_000)
  expect(await wakeSenders.run(server.kernel)).toMatchObject({ secrets_forgotten: 1 })
  const [row] = await server.kernel.db.sql`
    select previous_secret, previous_until from webhook_endpoints where id = ${id}`
  expect(row).toEqual({ previous_secret: null, previous_until: null })
})

test('deliveries are kept for fourteen days', async () => {
  const { db } = server.kernel
  await db.sql`update webhook_deliveries set created_at = now() - interval '13 days'`
  expect(await forgetDeliveries.run(server.kernel)).toEqual({ webhook_deliveries: 0 })
  await db.sql`update webhook_deliveries set created_at = now() - interval '15 days'`
  expect(await forgetDeliveries.dryRun(server.kernel)).toEqual({ webhook_deliveries: 1 })
  expect(await forgetDeliveries.run(server.kernel)).toEqual({ webhook_deliveries: 1 })
})

test('of an administrator who leaves, the webhook stays and the name goes', async () => {
  const body = { url: `${receiver.url}?token=theirs`, events: ['test.other'] }
  const made = await restWithFactor(server, 'POST', '/api/v1/webhooks', { as: admin, body })
  const { id } = made.body['webhook'] as Body
  const { kernel } = server
  const { personalData } = webhooksFeature
  const exported: unknown[] = []
  for await (const item of personalData!.export!(kernel, kernel.db.sql, admin.id)) {
    exported.push(item)
  }
  expect(exported).toEqual([
    {
      section: 'webhooks',
      item: { id, host: new URL(receiver.url).host, created_at: expect.any(String) },
    },
  ])
  const who = { actor: null, request: internalRequest(uuidv7()) }
  await unitOfWork(kernel, who, (ctx) => personalData!.forget!(ctx, admin.id))
  const [row] = await kernel.db
    .sql`select created_by, state from webhook_endpoints where id = ${id}`
  expect(row).toEqual({ created_by: null, state: 'active' })
})

test('how far webhooks are behind is measured', async () => {
  const { id } = await service.create({ url: receiver.url, events: ['test.happened'] })
  receiver.reply(500)
  await tell(server, [1, 2, 3])
  await untilDeliveries(service, id, (all) => all.some((d) => d['attempts'] > 0), 'noted')
  await until(
    () => server.kernel.metrics.render().includes(`webhook_waiting_deliveries{webhook="${id}"} 3`),
    'the sample is taken',
    15_000,
  )
  expect(server.kernel.metrics.render()).toMatch(/webhook_endpoints\{state="active"\} \d/)
}, 30_000)
