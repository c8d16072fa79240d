import { retention } from '../kernel/retention.ts'
import { ADDRESSES_KEPT_MS } from './accounts/addresses.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/** Longest life that the configuration lets an access token have, and a day. */
const REVOCATIONS_KEPT_MS = 31 * DAY_MS
/** Ended sessions are kept a while to tell their owner where and why. */
const SESSIONS_KEPT_MS = 30 * DAY_MS

/** Whoever tries to take over an account tries again. */
const RECOVERIES_KEPT_MS = 400 * DAY_MS
/** Somebody who comes back after more than a year is news. */
const DEVICES_KEPT_MS = 400 * DAY_MS
const UNUSED_DEVICE = 'not exists (select from sessions s where s.device_id = devices.id)'
const UNCONFIRMED = 'enabled_at is null'

/** Deletes tickets, tokens, sessions and revocations that nothing asks for any more. */
export const forgetEnded = retention(
  'auth.forget_ended',
  'Deletes ended tickets, tokens, sessions and links, old revocations and addresses',
  [
    { table: 'tickets', column: 'expires_at', keptMs: HOUR_MS },
    { table: 'session_revocations', column: 'revoked_at', keptMs: REVOCATIONS_KEPT_MS },
    { table: 'refresh_tokens', column: 'expires_at', keptMs: DAY_MS },
    { table: 'sessions', column: 'expires_at', keptMs: SESSIONS_KEPT_MS },
    { table: 'step_ups', column: 'expires_at', keptMs: HOUR_MS },
    { table: 'recoveries', column: 'ends_at', keptMs: RECOVERIES_KEPT_MS },
    { table: 'devices', column: 'last_seen_at', keptMs: DEVICES_KEPT_MS, where: UNUSED_DEVICE },
    { table: 'second_factors', column: 'pending_until', keptMs: DAY_MS, where: UNCONFIRMED },
    { table: 'one_time_links', column: 'expires_at', keptMs: DAY_MS },
    { table: 'previous_addresses', column: 'changed_at', keptMs: ADDRESSES_KEPT_MS },
  ],
)
