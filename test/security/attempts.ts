import type { CommandName } from '../../realtime/commands.ts'
import { type Attempt, type Belongings, hersNotMine, upper } from './attempt.ts'
import { MONEY_ATTEMPTS } from './money-attempts.ts'

/**
 * What a user may try with the things of another, one row for every operation and channel of the
 * product. An operation without a row fails the tests: whoever adds one says here how it could
 * be abused.
 */

/** By operation. */
export const ATTEMPTS: Readonly<Record<string, readonly Attempt[]>> = {
  ...MONEY_ATTEMPTS,
  'auth.register': [
    {
      input: ({ email }) => ({ email: upper(email), password: 'another password' }),
      expect: 'already_exists',
      tellsApart: 'an address that is taken is said to be; limited by network address',
    },
  ],
  'auth.login': [
    {
      input: ({ email }) => ({ email, password: 'a wrong password' }),
      expect: 'invalid_credentials',
    },
  ],
  'auth.refresh': [
    {
      input: ({ refreshToken }) => ({ refresh_token: refreshToken.slice(1) + refreshToken[0] }),
      expect: 'unauthenticated',
    },
  ],
  'auth.ticket': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
    { input: ({ sessionId }) => ({ session_id: sessionId }), expect: 'validation_failed' },
  ],
  'auth.logout': [
    { input: ({ sessionId }) => ({ session_id: sessionId }), expect: 'validation_failed' },
    {
      input: ({ userId }) => ({ user_id: userId, all: true }),
      expect: 'own',
      without: hersNotMine,
      harmful: true,
    },
  ],
  'auth.sessions': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
    { input: ({ sessionId }) => ({ cursor: sessionId }), expect: 'own' },
  ],
  'auth.sessions.revoke': [
    { input: ({ sessionId }) => ({ session_id: sessionId }), expect: 'not_found' },
    { input: ({ sessionId }) => ({ session_id: upper(sessionId) }), expect: 'not_found' },
  ],
  'auth.devices': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
    { input: ({ deviceId }) => ({ cursor: deviceId }), expect: 'own' },
  ],
  'auth.devices.forget': [
    { input: ({ deviceId }) => ({ device_id: deviceId }), expect: 'not_found' },
    { input: ({ deviceId }) => ({ device_id: upper(deviceId) }), expect: 'not_found' },
  ],
  'auth.mfa.setup': [
    {
      input: ({ userId }) => ({ user_id: userId, password: 'a password of the tests' }),
      expect: 'own',
      without: hersNotMine,
      harmful: true,
    },
    { input: ({ email }) => ({ email, password: 'a guess it is' }), expect: 'validation_failed' },
  ],
  'auth.mfa.verify': [
    { input: ({ challenge }) => ({ challenge, code: '123456' }), expect: 'validation_failed' },
    { input: ({ userId }) => ({ user_id: userId, code: '123456' }), expect: 'mfa_required' },
  ],
  'auth.mfa.disable': [
    { input: ({ userId }) => ({ user_id: userId, code: '123456' }), expect: 'mfa_required' },
    { input: ({ userId }) => ({ user_id: userId }), expect: 'mfa_required' },
  ],
  'auth.mfa.recovery_codes': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'mfa_required' },
  ],
  'auth.mfa.status': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
  ],
  'auth.recovery.start': [
    {
      input: ({ email }) => ({ login: email, password: 'a wrong password' }),
      expect: 'invalid_credentials',
    },
  ],
  'auth.recovery.cancel': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
    { input: ({ refreshToken }) => ({ token: refreshToken }), expect: 'invalid_link' },
  ],
  'auth.recovery.complete': [
    {
      input: ({ username, refreshToken }) => ({
        login: username,
        password: 'a wrong password',
        recovery_token: refreshToken,
      }),
      expect: 'invalid_credentials',
    },
  ],
  'auth.me': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
    { input: ({ userId }) => ({ id: userId }), expect: 'validation_failed' },
  ],
  'auth.update_profile': [
    {
      input: ({ userId }) => ({ user_id: userId, locale: 'fr' }),
      expect: 'own',
      without: hersNotMine,
    },
    {
      input: ({ username }) => ({ username: upper(username) }),
      expect: 'already_exists',
      tellsApart: 'names are public',
      harmful: true,
    },
  ],
  'auth.email.verify': [
    { input: ({ refreshToken }) => ({ token: refreshToken }), expect: 'invalid_link' },
  ],
  'auth.email.resend': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
    { input: ({ email }) => ({ email }), expect: 'validation_failed' },
  ],
  'auth.email.change': [
    {
      input: ({ email, userId }) => ({ email, user_id: userId, password: 'a wrong password' }),
      expect: 'invalid_credentials',
    },
  ],
  'auth.email.confirm': [
    { input: ({ refreshToken }) => ({ token: refreshToken }), expect: 'invalid_link' },
  ],
  'auth.email.revert': [
    { input: ({ refreshToken }) => ({ token: refreshToken }), expect: 'invalid_link' },
  ],
  'auth.password.forgot': [
    { input: ({ email }) => ({ email }), expect: 'own' },
    {
      input: ({ email }) => ({ email: upper(email) }),
      expect: 'own',
      without: ({ userId }) => [userId],
    },
  ],
  'auth.password.reset': [
    {
      input: ({ refreshToken }) => ({ token: refreshToken, password: 'another password' }),
      expect: 'invalid_link',
    },
  ],
  'auth.password.change': [
    {
      input: ({ userId }) => ({
        user_id: userId,
        current_password: 'a wrong password',
        password: 'another password',
      }),
      expect: 'invalid_credentials',
    },
  ],
  'users.list': [{ input: ({ username }) => ({ q: username }), expect: 'own' }],
  'users.get': [
    {
      input: ({ userId }) => ({ user_id: userId }),
      expect: 'own',
      tellsApart: 'profiles are public',
    },
  ],
  'users.create': [
    {
      input: ({ email }) => ({ email, password: 'another password', roles: ['admin'] }),
      expect: 'forbidden',
    },
  ],
  'audit.search': [
    { input: ({ userId }) => ({ actor_id: userId }), expect: 'forbidden' },
    { input: ({ userId }) => ({ target_id: upper(userId), limit: 100 }), expect: 'forbidden' },
  ],
  'audit.export': [
    { input: () => ({}), expect: 'forbidden' },
    { input: () => ({ cursor: '0', limit: 1_000 }), expect: 'forbidden' },
  ],
  'users.update': [
    { input: ({ userId }) => ({ user_id: userId, name: 'Mallory' }), expect: 'forbidden' },
    { input: ({ userId }) => ({ user_id: upper(userId), locale: 'fr' }), expect: 'forbidden' },
  ],
  'users.delete': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'forbidden' },
    { input: ({ userId }) => ({ user_id: upper(userId) }), expect: 'forbidden' },
  ],
  'auth.close_account': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'validation_failed' },
    { input: ({ userId }) => ({ id: userId }), expect: 'validation_failed' },
  ],
  'blocks.add': [
    {
      input: ({ userId }) => ({ user_id: userId }),
      expect: 'own',
      tellsApart: 'profiles are public',
      harmful: true,
    },
  ],
  'blocks.remove': [{ input: ({ userId }) => ({ user_id: upper(userId) }), expect: 'own' }],
  'blocks.list': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
    { input: ({ conversationCursor }) => ({ cursor: conversationCursor }), expect: 'own' },
  ],
  'reports.create': [
    {
      // She has written none of these to me.
      input: ({ userId, sentId, messageId }) => ({
        user_id: userId,
        reason: 'spam',
        message_ids: [sentId, messageId],
      }),
      expect: 'validation_failed',
      tellsApart: 'profiles are public',
    },
    {
      input: ({ userId, sentId }, { friendId }) => ({
        user_id: friendId,
        sender_id: userId,
        reason: 'other',
        message_ids: [sentId],
      }),
      expect: 'validation_failed',
    },
  ],
  'reports.list': [{ input: ({ userId }) => ({ user_id: userId }), expect: 'forbidden' }],
  'reports.resolve': [
    {
      input: ({ messageId }) => ({ report_id: messageId, outcome: 'no_action' }),
      expect: 'forbidden',
    },
  ],
  'privacy.export': [
    {
      input: ({ userId }) => ({ user_id: userId }),
      expect: 'own',
      without: hersNotMine,
      harmful: true,
    },
  ],
  'privacy.exports': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
  ],
  'privacy.export_download': [
    { input: ({ exportId }) => ({ export_id: exportId }), expect: 'not_found' },
    {
      input: ({ exportId, userId }) => ({ export_id: upper(exportId), user_id: userId }),
      expect: 'not_found',
    },
  ],
  'privacy.export_delete': [
    { input: ({ exportId }) => ({ export_id: exportId }), expect: 'not_found' },
  ],
  'admin.users.list': [{ input: ({ email }) => ({ q: email }), expect: 'forbidden' }],
  'admin.users.get': [{ input: ({ userId }) => ({ user_id: userId }), expect: 'forbidden' }],
  'admin.users.block': [
    { input: ({ userId }) => ({ user_id: userId, reason: 'none' }), expect: 'forbidden' },
  ],
  'admin.users.unblock': [{ input: ({ userId }) => ({ user_id: userId }), expect: 'forbidden' }],
  'admin.users.roles': [
    {
      input: (_hers, { userId }) => ({ user_id: userId, roles: ['admin'] }),
      expect: 'forbidden',
    },
    { input: ({ userId }) => ({ user_id: userId, roles: [] }), expect: 'forbidden' },
  ],
  'admin.invitations.create': [{ input: ({ email }) => ({ email }), expect: 'forbidden' }],
  'admin.invitations.list': [{ input: () => ({}), expect: 'forbidden' }],
  'admin.invitations.revoke': [
    { input: ({ messageId }) => ({ invitation_id: messageId }), expect: 'forbidden' },
  ],
  'admin.invitations.accept': [
    {
      input: ({ refreshToken }) => ({ token: refreshToken, password: 'another password' }),
      expect: 'invalid_link',
    },
  ],
  message: [
    {
      input: ({ conversationId }, { friendId }) => ({
        recipient_id: friendId,
        message_type: 'text',
        conversation_id: conversationId,
      }),
      expect: 'validation_failed',
    },
    {
      // Ids belong to their senders: taking hers neither collides with it nor finds it.
      input: ({ messageId, userId }, { friendId }) => ({
        recipient_id: friendId,
        message_type: 'text',
        id: messageId,
        sender_id: userId,
      }),
      expect: 'own',
      without: hersNotMine,
      harmful: true,
    },
  ],
  read_receipt: [
    { input: ({ messageId }) => ({ message_id: messageId }), expect: 'not_found' },
    { input: ({ sentId }) => ({ message_id: upper(sentId) }), expect: 'not_found' },
    {
      input: ({ conversationId, messageId }) => ({
        conversation_id: conversationId,
        up_to: messageId,
      }),
      expect: 'not_found',
    },
    {
      input: ({ conversationId }, { messageId }) => ({
        conversation_id: conversationId,
        up_to: messageId,
      }),
      expect: 'not_found',
    },
    {
      input: ({ messageId }, { conversationId }) => ({
        conversation_id: conversationId,
        up_to: messageId,
      }),
      expect: 'not_found',
    },
  ],
  typing_indicator: [
    {
      input: ({ conversationId, userId }) => ({
        conversation_id: conversationId,
        is_typing: true,
        user_id: userId,
      }),
      expect: 'not_found',
    },
    {
      input: ({ conversationId }) => ({ conversation_id: upper(conversationId), is_typing: true }),
      expect: 'not_found',
    },
  ],
  presence_update: [
    {
      input: ({ userId }) => ({ user_id: userId, status: 'busy' }),
      expect: 'own',
      without: hersNotMine,
    },
  ],
  'presence.mine': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
  ],
  'presence.get': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'not_found' },
    { input: ({ userId }) => ({ user_id: upper(userId) }), expect: 'not_found' },
  ],
  'conversations.list': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine },
    { input: ({ conversationCursor }) => ({ cursor: conversationCursor }), expect: 'own' },
  ],
  'conversations.messages': [
    {
      input: ({ conversationId }) => ({ conversation_id: conversationId }),
      expect: 'not_found',
    },
    {
      input: ({ conversationId }) => ({ conversation_id: upper(conversationId), limit: 100 }),
      expect: 'not_found',
    },
    {
      input: ({ messageCursor }, { conversationId }) => ({
        conversation_id: conversationId,
        cursor: messageCursor,
      }),
      expect: 'own',
    },
  ],
  'api_keys.list': [{ input: () => ({}), expect: 'forbidden' }],
  'api_keys.create': [
    { input: () => ({ name: 'mine', scopes: ['users:read'] }), expect: 'forbidden' },
  ],
  'api_keys.rotate': [{ input: ({ messageId }) => ({ id: messageId }), expect: 'forbidden' }],
  'api_keys.revoke': [{ input: ({ messageId }) => ({ id: messageId }), expect: 'forbidden' }],
  'queues.list': [{ input: () => ({}), expect: 'forbidden' }],
  'queues.dead_letters': [{ input: () => ({ limit: 1 }), expect: 'forbidden' }],
  'queues.retry': [{ input: ({ messageId }) => ({ id: messageId }), expect: 'forbidden' }],
  'queues.discard': [{ input: ({ messageId }) => ({ id: messageId }), expect: 'forbidden' }],
  'webhooks.create': [
    { input: () => ({ url: 'https://mallory.example.org/' }), expect: 'forbidden' },
  ],
  'webhooks.list': [{ input: () => ({}), expect: 'forbidden' }],
  'webhooks.event_types': [{ input: () => ({}), expect: 'forbidden' }],
  'webhooks.get': [{ input: ({ messageId }) => ({ webhook_id: messageId }), expect: 'forbidden' }],
  'webhooks.update': [
    {
      input: ({ messageId }) => ({ webhook_id: messageId, url: 'https://mallory.example.org/' }),
      expect: 'forbidden',
    },
  ],
  'webhooks.delete': [
    { input: ({ messageId }) => ({ webhook_id: messageId }), expect: 'forbidden' },
  ],
  'webhooks.rotate_secret': [
    { input: ({ messageId }) => ({ webhook_id: messageId }), expect: 'forbidden' },
  ],
  'webhooks.test': [{ input: ({ messageId }) => ({ webhook_id: messageId }), expect: 'forbidden' }],
  'webhooks.replay': [
    { input: ({ messageId }) => ({ webhook_id: messageId, offset: 0 }), expect: 'forbidden' },
  ],
  'webhooks.deliveries': [
    { input: ({ messageId }) => ({ webhook_id: messageId }), expect: 'forbidden' },
  ],
  'webhooks.retry': [
    {
      input: ({ messageId }) => ({ webhook_id: messageId, delivery_id: messageId }),
      expect: 'forbidden',
    },
  ],
}

/** Her channels, by namespace: none of them may be subscribed to or looked into. */
export const CHANNELS: Readonly<Record<string, (hers: Belongings) => string[]>> = {
  user: ({ userId }) => [userId, upper(userId)],
  conversation: ({ conversationId }) => [conversationId, upper(conversationId)],
  service: () => ['events'],
}

/** Commands of the protocol that name a channel; `unsubscribe` is answered for any. */
export const CHANNEL_COMMANDS = {
  subscribe: [{}, { recover: { epoch: 'any', offset: 0 } }],
  unsubscribe: [{}],
  history: [{}, { limit: 100, reverse: true }, { since: { epoch: 'any', offset: 0 } }],
  presence: [{}],
  presence_stats: [{}],
} as const satisfies Partial<Record<CommandName, readonly object[]>>

/** Commands without a channel. */
export const COMMAND_ATTEMPTS: Readonly<Record<string, readonly Attempt[]>> = {
  authenticate: [
    { input: ({ token }) => ({ token }), expect: 'forbidden', tellsApart: 'a token is its proof' },
    { input: ({ userId }) => ({ token: userId }), expect: 'unauthenticated' },
    { input: ({ sessionId }) => ({ token: sessionId }), expect: 'unauthenticated' },
  ],
  ping: [{ input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine }],
}
