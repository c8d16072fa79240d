import { Failure } from '../../src/base/errors.ts'
import { input, oneOf, page, pageFields, t, Timestamp, Uuid } from '../../src/base/schema.ts'
import { anyone, apiKey, user } from '../../src/kernel/access.ts'
import { channel, event } from '../../src/kernel/channel.ts'
import { feature } from '../../src/kernel/feature.ts'
import { operation } from '../../src/kernel/operation.ts'

/** A feature with one operation for each thing that the edge must get right. */

const Pool = t.Object(
  {
    id: Uuid,
    name: t.String(),
    state: oneOf(['open', 'closed']),
    parent: t.Union([Uuid, t.Null()]),
  },
  { $id: 'Pool' },
)
const ID = '0198c0de-7a11-7000-8000-00000000000a'
const pool = { id: ID, name: 'Duomo', state: 'open' as const, parent: null }
const Echo = t.Object({ echo: t.Unknown() })

/** Immediate, GET, path parameter. */
const getPool = operation('pools.get', {
  summary: 'One pool',
  rest: 'GET /pools/:id',
  aliases: ['GET /pool/:id'],
  access: user(),
  limit: 'read',
  input: input({ id: Uuid }),
  output: Pool,
  immediate: (_, { id }) => {
    if (id !== ID) throw new Failure('not_found', 'No such pool')
    return pool
  },
})

/** Immediate without input, under a static path beside `/pools/:id`. */
const getMine = operation('pools.mine', {
  summary: 'The pool of the caller',
  rest: 'GET /pools/mine',
  access: user(),
  limit: 'read',
  input: input({}),
  output: Pool,
  immediate: () => pool,
})

/** Run, query of every kind of parameter. */
const listPools = operation('pools.list', {
  summary: 'Pools',
  rest: 'GET /pools',
  access: user(),
  limit: 'read',
  input: input({
    ...pageFields,
    open: t.Optional(t.Boolean()),
    share: t.Optional(t.Number({ minimum: 0 })),
    tag: t.Optional(t.Array(t.String({ maxLength: 20 }), { maxItems: 3 })),
    level: t.Optional(t.Array(t.Integer())),
    parent_id: t.Optional(t.Union([t.Integer(), t.Null()])),
  }),
  output: t.Object({ ...page(Pool).properties, echo: t.Unknown() }),
  run: async (_, given) => ({ items: [pool], next_cursor: null, echo: given }),
})

/** A literal path without the GET that `/pools/:id` beside it has. */
const importPools = operation('pools.import', {
  summary: 'Imports pools',
  rest: 'POST /pools/import',
  access: user(),
  limit: 'write',
  input: input({}),
  output: t.Object({}),
  immediate: () => ({}),
})

/** POST with a body and a path parameter of the same name as a field; created. */
const createPosition = operation('positions.create', {
  summary: 'Opens a position',
  description: 'For investors and others.',
  rest: 'POST /pools/:pool_id/positions',
  status: 201,
  access: user(),
  limit: 'write',
  input: input({
    pool_id: Uuid,
    amount: t.Integer({ minimum: 1 }),
    note: t.Optional(t.String({ maxLength: 2_000_000 })),
  }),
  output: Echo,
  run: async (_, given) => ({ echo: given }),
})

/** PUT where everything is optional. */
const putProfile = operation('profile.put', {
  summary: 'Changes the profile',
  rest: 'PUT /profile',
  access: user(),
  limit: 'write',
  input: input({
    name: t.Optional(t.String({ minLength: 1 })),
    tags: t.Optional(t.Array(t.String())),
  }),
  output: Echo,
  run: async (_, given) => ({ echo: given }),
})

/** DELETE without an answer. */
const deletePool = operation('pools.delete', {
  summary: 'Removes a pool',
  rest: 'DELETE /pools/:id',
  status: 204,
  access: user({ roles: ['admin'] }),
  limit: 'write',
  input: input({ id: Uuid, force: t.Optional(t.Boolean()) }),
  output: t.Object({}),
  run: async () => ({}),
})

/** Open to anyone, and worth guessing at. */
const login = operation('auth.login', {
  summary: 'Signs in',
  rest: 'POST /auth/login',
  socket: false,
  access: anyone(),
  limit: 'identity',
  input: input({ email: t.String({ format: 'email' }), password: t.String({ minLength: 8 }) }),
  output: t.Object({
    signed_in: t.Boolean(),
    address: t.String(),
    user: t.Union([Uuid, t.Null()]),
  }),
  run: async ({ actor, request }, { password }) => {
    if (password === 'wrong password') throw new Failure('invalid_credentials', 'Not these')
    return { signed_in: true, address: request.address, user: actor?.userId ?? null }
  },
})

/** Open to anyone, a mere read. */
const about = operation('about.get', {
  summary: 'About',
  rest: 'GET /about',
  access: anyone(),
  limit: 'read',
  input: input({}),
  output: t.Object({ request_id: t.String(), user_agent: t.Union([t.String(), t.Null()]) }),
  run: async ({ request }) => ({ request_id: request.id, user_agent: request.userAgent ?? null }),
})

/** Fails in whatever way it is told to. */
const fail = operation('fail', {
  summary: 'Fails',
  rest: 'POST /fail',
  access: user(),
  limit: 'ephemeral',
  input: input({
    how: oneOf(['unavailable', 'conflict', 'request_in_progress', 'bug', 'late_bug']),
  }),
  output: t.Object({}),
  immediate: (_, { how }) => {
    if (how === 'bug') throw new Error('secret text of a bug')
    if (how === 'late_bug') return Promise.reject(new Error('secret text of a late bug'))
    throw new Failure(how, `It is ${how}`, { retryAfterMs: 2_500 })
  },
})

/** Answers with what JSON cannot hold. */
const unserialisable = operation('unserialisable', {
  summary: 'Has a bug',
  rest: 'GET /unserialisable',
  access: user(),
  limit: 'read',
  input: input({}),
  output: t.Unknown(),
  immediate: () => ({ amount: 1n }),
})

/** In a transaction with a key; only described here, for it needs a database. */
const pay = operation('pay', {
  summary: 'Pays',
  rest: 'POST /pay',
  status: 201,
  access: user(),
  limit: 'write',
  idempotent: true,
  input: input({ amount: t.Integer({ minimum: 1 }) }),
  output: t.Object({ paid: t.Integer() }),
  handler: async (_, { amount }) => ({ paid: amount }),
})

/** For services alone. */
const hello = operation('services.hello', {
  summary: 'Greets a service',
  rest: 'GET /services/hello',
  aliases: ['POST /services/hello'],
  socket: false,
  access: apiKey('users:read'),
  limit: 'read',
  input: input({ text: t.Optional(t.String()) }),
  output: t.Object({ name: t.String() }),
  immediate: ({ actor }) => ({ name: actor.name }),
})

/** For people, and for services with a scope that the one of the tests lacks. */
const auditors = operation('services.audit', {
  summary: 'Looks at the log',
  rest: 'GET /services/audit',
  access: user({ scope: 'audit:read' }),
  limit: 'read',
  input: input({}),
  output: t.Object({}),
  immediate: () => ({}),
})

const pools = channel('pool', {
  description: 'A pool.',
  recovery: 'cache',
  mayRead: () => true,
})
const moved = event(pools, 'pool_moved', {
  kind: 900,
  description: 'A pool has moved.',
  payload: t.Object({ pool: Pool, at: Timestamp }),
})

export const sampleFeature = feature({
  name: 'sample',
  operations: [
    getPool,
    getMine,
    listPools,
    importPools,
    createPosition,
    putProfile,
    deletePool,
    login,
    about,
    fail,
    unserialisable,
    pay,
    hello,
    auditors,
  ],
  channels: [pools],
  events: [moved],
})

/** Id of the one pool there is. */
export const POOL_ID = ID
