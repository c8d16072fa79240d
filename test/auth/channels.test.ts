import { expect, test } from 'bun:test'
import { authFeature, userChannel } from '../../src/auth/index.ts'
import type { Actor } from '../../src/kernel/access.ts'
import type { Kernel } from '../../src/kernel/kernel.ts'

test('the channel of a user is read by that user alone', () => {
  const id = '01900000-0000-7000-8000-00000000000a'
  const actor = {
    kind: 'user',
    mfa: false,
    userId: id,
    sessionId: id,
    roles: ['admin'],
    expiresAtMs: 0,
  } as Actor
  const mayRead = (channelId: string) => userChannel.mayRead({} as Kernel, actor, channelId)
  expect(mayRead(id)).toBe(true)
  // Another spelling is another channel, which nothing is ever written to.
  expect(mayRead(id.toUpperCase())).toBe(false)
  expect(mayRead('01900000-0000-7000-8000-00000000000b')).toBe(false)
  expect(userChannel).toMatchObject({ namespace: 'user', recovery: 'stream', personal: true })
})

test('operations without sign-in are those that make one, or bring their own proof', () => {
  const open = authFeature.operations.filter(({ access }) => access.kind === 'anyone')
  expect(open.map(({ name }) => name).toSorted()).toEqual([
    'auth.email.confirm',
    'auth.email.revert',
    'auth.email.verify',
    'auth.login',
    'auth.password.forgot',
    'auth.password.reset',
    'auth.recovery.cancel',
    'auth.recovery.complete',
    'auth.recovery.start',
    'auth.refresh',
    'auth.register',
  ])
  // Of these, one makes sense for somebody who is signed in, and nobody else is on a socket.
  expect(open.filter(({ socket }) => socket).map(({ name }) => name)).toEqual([
    'auth.recovery.cancel',
  ])
})
