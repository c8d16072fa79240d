import { retention } from '../kernel/retention.ts'

/** As long as somebody may ask which key it was that did something. */
const ENDED_KEPT_MS = 400 * 86_400_000

/** Deletes keys that ended long ago. */
export const forgetKeys = retention(
  'api_keys.forget_ended',
  'Deletes API keys that ended long ago',
  [
    { table: 'api_keys', column: 'revoked_at', keptMs: ENDED_KEPT_MS },
    { table: 'api_keys', column: 'expires_at', keptMs: ENDED_KEPT_MS },
  ],
)
