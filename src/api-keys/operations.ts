import { getAccount, mailAdministrators } from '../auth/index.ts'
import { Failure } from '../base/errors.ts'
import { input, page, pageFields, Uuid } from '../base/schema.ts'
import { user } from '../kernel/access.ts'
import type { WriteContext } from '../kernel/context.ts'
import { operation } from '../kernel/operation.ts'
import { tellServices } from '../kernel/service-event.ts'
import type { KeyText } from './format.ts'
import {
  createKey,
  describeKey,
  findKey,
  type KeyRow,
  listKeys,
  revokeKey,
  rotateKey,
} from './keys.ts'
import { apiKeyCreated, apiKeyRevoked } from './service-events.ts'
import { ApiKey, ApiKeyWithSecret, CreateKeyInput, OVERLAP_S, RotateKeyInput } from './shapes.ts'

/** What administrators ask about API keys. Making a secret needs a fresh second factor. */

const admins = user({ roles: ['admin'] })
const target = ({ id }: KeyRow) => ({ type: 'api_key', id })

/** The database never has a secret: a repeated request is answered without it. */
const secretOnce = {
  remember: ({ api_key }: ApiKeyWithSecret) => api_key.id,
  async replay({ tx, clock }: WriteContext, id: string): Promise<ApiKeyWithSecret> {
    return { api_key: describeKey(await findKey(tx.sql, id), clock.now()), key: null }
  },
}

const shown = ({ clock }: WriteContext, made: { row: KeyRow; key: KeyText }): ApiKeyWithSecret => ({
  api_key: describeKey(made.row, clock.now()),
  key: made.key.text,
})

export const create = operation('api_keys.create', {
  summary: 'Make a key for a service',
  description: 'The answer shows the key, and nothing shows it again.',
  rest: 'POST /admin/api-keys',
  status: 201,
  access: admins,
  limit: 'write',
  input: CreateKeyInput,
  output: ApiKeyWithSecret,
  idempotent: true,
  secretOutput: secretOnce,
  stepUp: () => true,
  async handler(ctx, { name, scopes, expires_at }) {
    const expiresAt = expires_at === undefined ? undefined : new Date(expires_at)
    if (expiresAt !== undefined && expiresAt.getTime() <= ctx.clock.now()) {
      throw new Failure('validation_failed', 'The key would have ended already', {
        errors: [{ path: '/expires_at', message: 'must be in the future' }],
      })
    }
    const made = await createKey(ctx, { name, scopes, expiresAt })
    const { prefix } = made.row
    ctx.audit({
      action: 'api_keys.created',
      target: target(made.row),
      after: { name, prefix, scopes, expires_at: expiresAt?.toISOString() ?? null },
    })
    ctx.emit(tellServices(apiKeyCreated, ctx.clock, { key_id: made.row.id, scopes }))
    const { username: by } = await getAccount(ctx.tx.sql, ctx.actor.userId)
    await mailAdministrators(ctx, 'api_key_created', { at: ctx.clock.iso(), name, by, scopes })
    return shown(ctx, made)
  },
})

export const list = operation('api_keys.list', {
  summary: 'Keys of services, newest first',
  description: 'Also those that were revoked or have expired, for 400 days.',
  rest: 'GET /admin/api-keys',
  access: admins,
  limit: 'read',
  input: input(pageFields),
  output: page(ApiKey),
  async run({ kernel, clock }, { limit = 50, cursor }) {
    const { items, next_cursor } = await kernel.db.read((sql) => listKeys(sql, limit, cursor))
    return { items: items.map((row) => describeKey(row, clock.now())), next_cursor }
  },
})

export const rotate = operation('api_keys.rotate', {
  summary: 'Give a key a new secret',
  description:
    'Id, name and scopes stay. The old secret works for `overlap_seconds` more, a day unless ' +
    'said otherwise, so that services can change over without a gap.',
  rest: 'POST /admin/api-keys/:id/rotate',
  access: admins,
  limit: 'write',
  input: RotateKeyInput,
  output: ApiKeyWithSecret,
  idempotent: true,
  secretOutput: secretOnce,
  stepUp: () => true,
  async handler(ctx, { id, overlap_seconds = OVERLAP_S }) {
    const made = await rotateKey(ctx, id, overlap_seconds * 1000)
    ctx.audit({ action: 'api_keys.rotated', target: target(made.row), after: { overlap_seconds } })
    return shown(ctx, made)
  },
})

export const revoke = operation('api_keys.revoke', {
  summary: 'End a key',
  description:
    'Within a second nobody gets in with it, on any instance. It needs no second factor: what ' +
    'makes things safer must be quick.',
  rest: 'DELETE /admin/api-keys/:id',
  access: admins,
  limit: 'write',
  input: input({ id: Uuid }),
  output: ApiKey,
  async handler(ctx, { id }) {
    const { row, revoked } = await revokeKey(ctx, id)
    if (revoked) {
      const { name, prefix } = row
      ctx.audit({ action: 'api_keys.revoked', target: target(row), after: { name, prefix } })
      ctx.emit(tellServices(apiKeyRevoked, ctx.clock, { key_id: row.id }))
    }
    return describeKey(row, ctx.clock.now())
  },
})
