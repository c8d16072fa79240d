/**
 * API keys: for programs that ask over REST, instead of a person's token.
 *
 * - Of a key the database has a hash; the answer that makes it shows it once.
 * - `ApiKeys` alone turns a key into a caller. It asks the database again after half a second, so
 *   that an ended key is refused within one.
 * - What a key may be used for is said by its scopes and by each operation (`access`).
 *
 * May import the kernel, the database and `auth` (whom to tell of a new key); no edge.
 */

import { feature } from '../kernel/feature.ts'
import { forgetKeys } from './jobs.ts'
import { create, list, revoke, rotate } from './operations.ts'
import { apiKeyCreated, apiKeyRevoked } from './service-events.ts'

export { ApiKeys } from './authentication.ts'
export { forgetKeys } from './jobs.ts'
export { standingKeys } from './keys.ts'

/** API keys, as `features.ts` mounts them. */
export const apiKeysFeature = feature({
  name: 'services',
  operations: [create, list, rotate, revoke],
  jobs: [forgetKeys],
  serviceEvents: [apiKeyCreated, apiKeyRevoked],
  personalData: {
    kept: ['Which API keys an administrator has made, by id, until 400 days after their end'],
  },
})
