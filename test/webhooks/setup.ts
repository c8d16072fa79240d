import { createKey } from '../../src/api-keys/keys.ts'
import { uuidv7 } from '../../src/base/ids.ts'
import { t } from '../../src/base/schema.ts'
import { features } from '../../src/features.ts'
import { internalRequest } from '../../src/kernel/access.ts'
import { feature } from '../../src/kernel/feature.ts'
import { serviceEvent, tellServices } from '../../src/kernel/service-event.ts'
import { unitOfWork } from '../../src/kernel/write.ts'
import { type Body, rest } from '../support/people.ts'
import { type TestServer, testServer, type TestServerOptions } from '../support/server.ts'
import { until } from '../support/wait.ts'

/** Something that happens in tests, and something else. */
export const happened = serviceEvent('test.happened', {
  description: 'Something has happened',
  data: t.Object({ n: t.Integer() }),
})
const other = serviceEvent('test.other', {
  description: 'Something else has',
  data: t.Object({ n: t.Integer() }),
})
const testFeature = feature({ name: 'webhook_tests', serviceEvents: [happened, other] })

/** So that the receivers of the tests, which speak plain HTTP on loopback, can be sent to. */
export const LOOPBACK = { WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8' }

/** A server that may send webhooks to loopback. */
export const webhookServer = (options: TestServerOptions = {}) =>
  testServer({ env: LOOPBACK, features: [...features, testFeature], ...options })

const who = () => ({ actor: null, request: internalRequest(uuidv7()) })

/** Lets something happen, as an operation would; once for each number. */
export async function tell(
  { kernel }: Pick<TestServer, 'kernel'>,
  numbers: readonly number[],
  type: 'test.happened' | 'test.other' = 'test.happened',
): Promise<void> {
  const event = type === 'test.happened' ? happened : other
  await unitOfWork(kernel, who(), async ({ emit, clock }) => {
    for (const n of numbers) emit(tellServices(event, clock, { n }))
  })
}

/** A letter as it is put into the queue. */
export interface Letter {
  readonly template: string
  readonly user_id?: string
  // oxlint-disable-next-line no-explicit-any
  readonly data: any
}

/** The letters that a server writes from now on. */
export function lettersOf({ kernel: { queues } }: TestServer): readonly Letter[] {
  const written: Letter[] = []
  const { insert } = queues
  queues.insert = (sql, jobs) => {
    for (const { queue, payload } of jobs)
      if (queue === 'mail') written.push(JSON.parse(payload) as Letter)
    return insert(sql, jobs)
  }
  return written
}

/** A service that may manage webhooks of its own. */
export interface Service {
  readonly keyId: string
  call(
    method: string,
    path?: string,
    body?: object,
    headers?: Record<string, string>,
  ): Promise<{ status: number; body: Body }>
  /** Makes a webhook. */
  create(body: Body): Promise<{ id: string; secret: string; webhook: Body }>
  get(id: string): Promise<Body>
  deliveries(id: string, query?: string): Promise<Body[]>
}

/** Makes the API key of a service. */
export async function makeService(
  server: TestServer,
  adminId: string,
  scopes: readonly ('webhooks:write' | 'users:read')[] = ['webhooks:write'],
): Promise<Service> {
  const actor = {
    kind: 'user',
    userId: adminId,
    sessionId: adminId,
    roles: ['admin'],
    mfa: true,
    expiresAtMs: Infinity,
  } as const
  const { row, key } = await unitOfWork(server.kernel, { ...who(), actor }, (ctx) =>
    createKey(ctx, { name: 'a service of the tests', scopes, expiresAt: undefined }),
  )
  const call = (method: string, path = '', body?: object, headers = {}) =>
    rest(server, method, `/api/v1/webhooks${path}`, {
      headers: { 'X-API-Key': key.text, ...headers },
      ...(body === undefined ? {} : { body }),
    })
  const good = async (method: string, path: string, body?: object) => {
    const answer = await call(method, path, body)
    if (answer.status >= 300) throw new Error(`${path}: ${JSON.stringify(answer)}`)
    return answer.body
  }
  return {
    keyId: row.id,
    call,
    async create(body) {
      const made = await good('POST', '', body)
      return { id: made['webhook'].id, secret: made['secret'], webhook: made['webhook'] }
    },
    get: (id) => good('GET', `/${id}`),
    deliveries: async (id, query = '') => {
      const { items } = await good('GET', `/${id}/deliveries${query}`)
      return items as Body[]
    },
  }
}

/** Lets `ms` pass for what waits to be sent. */
export async function later({ kernel }: TestServer, ms: number): Promise<void> {
  const { db, queues } = kernel
  const span = `${ms} milliseconds`
  // A sender that is just leaving has its own idea of when the next delivery is due.
  await until(async () => {
    const [row] = await db.sql`
      select count(*)::int as running from queue_jobs
      where queue = 'webhooks' and lease_id is not null`
    return row.running === 0
  }, 'no sender is at work')
  await db.sql`
    update webhook_deliveries set due_at = due_at - ${span}::interval where state = 'pending'`
  await db.sql`
    update webhook_endpoints set not_before = not_before - ${span}::interval,
      failing_since = failing_since - ${span}::interval,
      previous_until = previous_until - ${span}::interval`
  await db.sql`update queue_jobs set due_at = due_at - ${span}::interval where queue = 'webhooks'`
  queues.committed()
}

/** Waits until the deliveries of an endpoint are as `test` says. */
export async function untilDeliveries(
  service: Service,
  id: string,
  test: (deliveries: Body[]) => boolean,
  what: string,
): Promise<Body[]> {
  let found: Body[] = []
  await until(async () => {
    found = await service.deliveries(id)
    return test(found)
  }, what)
  return found
}
