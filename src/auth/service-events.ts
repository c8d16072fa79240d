import { t, Uuid } from '../base/schema.ts'
import { serviceEvent } from '../kernel/service-event.ts'

/** What services are told of accounts: ids. Who may know more asks for the profile. */

const data = t.Object({ user_id: Uuid })

export const userRegistered = serviceEvent('user.registered', {
  description: 'There is a new account',
  data,
})
export const userVerified = serviceEvent('user.verified', {
  description: 'The owner of an account has shown that they read mail to its address',
  data,
})
export const userBlocked = serviceEvent('user.blocked', {
  description: 'An administrator has blocked an account: its sessions have ended',
  data,
})
export const userUnblocked = serviceEvent('user.unblocked', {
  description: 'A blocked account is open again',
  data,
})
export const userClosed = serviceEvent('user.closed', {
  description: 'An account is closed and what identified the person erased: forget them too',
  data,
})

/** All of them. */
export const accountEvents = [userRegistered, userVerified, userBlocked, userUnblocked, userClosed]
