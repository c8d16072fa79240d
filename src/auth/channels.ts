import { oneOf, type Static, t, Timestamp } from '../base/schema.ts'
import { channel, event } from '../kernel/channel.ts'

/** What concerns one person; each of their connections is subscribed from the start. */
export const userChannel = channel('user', {
  description: 'Everything that concerns the user alone, on all of their devices',
  recovery: 'stream',
  personal: true,
  mayRead: (_kernel, actor, id) => id === actor.userId,
})

const NOTICES = [
  'new_device',
  'mfa_enabled',
  'mfa_disabled',
  'recovery_code_used',
  'recovery_codes_replaced',
  'recovery_started',
  'recovery_reminder',
  'recovery_cancelled',
  'recovery_completed',
  'password_changed',
  'email_changed',
  'email_reverted',
] as const
export type SecurityNotice = (typeof NOTICES)[number]

export const securityEvent = event(userChannel, 'security_notice', {
  kind: 20,
  description: 'Something that the owner of an account should know of; to all of their devices',
  payload: t.Object({
    notice: oneOf(NOTICES),
    at: Timestamp,
    device: t.Optional(t.Union([t.String(), t.Null()], { description: 'Kind of device' })),
    address: t.Optional(t.String({ description: 'Where it was done from' })),
    completes_at: t.Optional(t.String({ description: 'From when a recovery can be completed' })),
    recovery_codes_left: t.Optional(t.Integer({ minimum: 0 })),
  }),
})
export type SecurityNoticeFields = Omit<Static<typeof securityEvent.payload>, 'notice' | 'at'>
