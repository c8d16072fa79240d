import { input, oneOf, type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import { type Scope, SCOPES } from '../kernel/access.ts'

/** API keys as clients see them. */

const scopeNames = Object.keys(SCOPES) as Scope[]
const meanings = Object.entries(SCOPES).map(([name, meaning]) => `\`${name}\`: ${meaning}`)
const Scopes = t.Array(oneOf(scopeNames), {
  minItems: 1,
  maxItems: scopeNames.length,
  uniqueItems: true,
  description: `What the key may be used for. ${meanings.join('; ')}`,
})

const nullableTime = (description: string) => t.Union([Timestamp, t.Null()], { description })

export const ApiKey = t.Object(
  {
    id: Uuid,
    name: t.String(),
    prefix: t.String({ description: 'How the key begins' }),
    scopes: Scopes,
    state: oneOf(['active', 'expired', 'revoked']),
    created_by: Uuid,
    created_at: Timestamp,
    rotated_at: nullableTime('When it last got a new secret'),
    previous_until: nullableTime('Until when the secret before the last rotation works as well'),
    expires_at: nullableTime('Null for a key that works until it is revoked'),
    last_used_at: nullableTime('To the minute'),
    last_used_address: t.Union([t.String(), t.Null()]),
    revoked_at: nullableTime('When it was ended'),
  },
  { $id: 'ApiKey' },
)
export type ApiKey = Static<typeof ApiKey>

/** A key with its secret, where that is shown. */
export const ApiKeyWithSecret = t.Object({
  api_key: ApiKey,
  key: t.Union([t.String(), t.Null()], {
    description:
      'The key, for the header `X-API-Key`: shown this once. Null when the request is repeated ' +
      'under its idempotency key: whoever has lost the answer rotates the key.',
  }),
})
export type ApiKeyWithSecret = Static<typeof ApiKeyWithSecret>

export const CreateKeyInput = input({
  name: t.String({
    minLength: 1,
    maxLength: 100,
    pattern: '^[^\\u0000-\\u001f\\u007f]*$',
    description: 'Which service it is for, and where',
  }),
  scopes: Scopes,
  expires_at: t.Optional(Timestamp),
})

const OVERLAP_S_MAX = 7 * 86_400
/** A day, for services that are rolled out by hand. */
export const OVERLAP_S = 86_400

export const RotateKeyInput = input({
  id: Uuid,
  overlap_seconds: t.Optional(
    t.Integer({
      minimum: 0,
      maximum: OVERLAP_S_MAX,
      default: OVERLAP_S,
      description: 'How long the old secret works as well; 0 when somebody has got hold of it',
    }),
  ),
})
