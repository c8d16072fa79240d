import { input, page, pageFields, t, Uuid } from '../../src/base/schema.ts'
import { user } from '../../src/kernel/access.ts'
import { operation } from '../../src/kernel/operation.ts'
import { QueueCatalog } from '../../src/kernel/queue.ts'
import { DeadLetter, discardDeadLetter, listDeadLetters, retryDeadLetter } from './dead-letters.ts'
import { COUNTED_MAX, queueStats } from './stats.ts'

/** What administrators ask of the queues. */

const admins = user({ roles: ['admin'] })

const QueueState = t.Object({
  queue: t.String(),
  description: t.Union([t.String(), t.Null()], {
    description: 'Null for a queue that this version or configuration does not have',
  }),
  due: t.Integer({ description: 'To be started as soon as there is room' }),
  later: t.Integer({ description: 'To be started at their time' }),
  failed: t.Integer({ description: 'Of those two, jobs that have failed and are tried again' }),
  running: t.Integer(),
  dead: t.Integer({ description: 'Given up: dead letters' }),
  oldest_due_seconds: t.Number({ description: 'How long the oldest due one has been waiting' }),
})

export const list = operation('queues.list', {
  summary: 'How much waits in each queue',
  description: `Counts stop at ${COUNTED_MAX}.`,
  rest: 'GET /admin/queues',
  access: admins,
  limit: 'read',
  input: input({}),
  output: t.Object({ items: t.Array(QueueState) }),
  async run({ kernel }) {
    const queues = kernel.use(QueueCatalog)
    const stats = await kernel.db.read((sql) => queueStats(sql, [...queues.keys()]))
    return {
      items: stats.map(({ oldestDueSeconds, ...rest }) => ({
        ...rest,
        description: queues.get(rest.queue)?.description ?? null,
        oldest_due_seconds: oldestDueSeconds,
      })),
    }
  },
})

export const deadLetters = operation('queues.dead_letters', {
  summary: 'Jobs that were given up, newest first',
  rest: 'GET /admin/queues/dead-letters',
  access: admins,
  limit: 'read',
  input: input({ ...pageFields, queue: t.Optional(t.String({ minLength: 1, maxLength: 100 })) }),
  output: page(DeadLetter),
  run: ({ kernel }, { limit = 50, cursor, queue }) =>
    listDeadLetters(kernel, { limit, cursor, queue }),
})

const Done = t.Object({ id: Uuid, queue: t.String() })

export const retry = operation('queues.retry', {
  summary: 'Make a dead letter a job again',
  description: 'It keeps its id, is due at once and has all its tries again.',
  rest: 'POST /admin/queues/dead-letters/:id/retry',
  access: admins,
  limit: 'write',
  input: input({ id: Uuid }),
  output: Done,
  handler: async (ctx, { id }) => ({ id, queue: await retryDeadLetter(ctx, id) }),
})

export const discard = operation('queues.discard', {
  summary: 'Remove a dead letter for good',
  rest: 'DELETE /admin/queues/dead-letters/:id',
  access: admins,
  limit: 'write',
  input: input({ id: Uuid }),
  output: Done,
  handler: async (ctx, { id }) => ({ id, queue: await discardDeadLetter(ctx, id) }),
})
