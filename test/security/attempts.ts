import type { ErrorCode } from '../../src/kernel/errors.ts'
import type { WordName } from '../../realtime/words.ts'

/**
 * What a user may try with the things of another, one row for every operation and channel of the
 * product. An operation without a row fails the tests: whoever adds one says here how it could
 * be abused.
 */

/** Somebody's things that others must not get at. */
export interface Belongings {
  readonly userId: string
  readonly email: string
  readonly username: string
  readonly timeZone: string
  readonly userAgent: string
  readonly token: string
  readonly refreshToken: string
  readonly sessionId: string
  readonly conversationId: string
  /** Received, not yet read. */
  readonly messageId: string
  readonly sentId: string
  /** Of their lists of conversations and messages. */
  readonly conversationCursor: string
  readonly messageCursor: string
}

/** Who tries: a user with a conversation of their own with a third. */
export interface Attacker {
  readonly userId: string
  readonly conversationId: string
  readonly messageId: string
  /** Somebody who talks with both. */
  readonly friendId: string
}

/** One thing to try. */
export interface Attempt {
  readonly input: (hers: Belongings, me: Attacker) => Record<string, unknown>
  /** The refusal; `own` when it works, but on the caller's own things only. */
  readonly expect: ErrorCode | 'own'
  /** Values that a working answer must not hold although the input named them. */
  readonly without?: (hers: Belongings) => string[]
  /** Why a thing that does not exist is answered differently, where it is. */
  readonly tellsApart?: string
  /** Leaves traces with the caller: to be tried by somebody made for it. */
  readonly harmful?: true
}

const upper = (text: string) => text.toUpperCase()
const hersNotMine = ({ userId }: Belongings) => [userId]

/** By operation. */
export const ATTEMPTS: Readonly<Record<string, readonly Attempt[]>> = {
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
  'users.update': [
    { input: ({ userId }) => ({ user_id: userId, name: 'Mallory' }), expect: 'forbidden' },
    { input: ({ userId }) => ({ user_id: upper(userId), locale: 'fr' }), expect: 'forbidden' },
  ],
  'users.delete': [
    { input: ({ userId }) => ({ user_id: userId }), expect: 'forbidden' },
    { input: ({ userId }) => ({ user_id: upper(userId) }), expect: 'forbidden' },
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
}

/** Her channels, by namespace: none of them may be subscribed to or looked into. */
export const CHANNELS: Readonly<Record<string, (hers: Belongings) => string[]>> = {
  user: ({ userId }) => [userId, upper(userId)],
  conversation: ({ conversationId }) => [conversationId, upper(conversationId)],
}

/** Words of the protocol that name a channel; `unsubscribe` is answered for any. */
export const CHANNEL_WORDS = {
  subscribe: [{}, { recover: { epoch: 'any', offset: 0 } }],
  unsubscribe: [{}],
  history: [{}, { limit: 100, reverse: true }, { since: { epoch: 'any', offset: 0 } }],
  presence: [{}],
  presence_stats: [{}],
} as const satisfies Partial<Record<WordName, readonly object[]>>

/** Words without a channel. */
export const WORD_ATTEMPTS: Readonly<Record<string, readonly Attempt[]>> = {
  authenticate: [
    { input: ({ token }) => ({ token }), expect: 'forbidden', tellsApart: 'a token is its proof' },
    { input: ({ userId }) => ({ token: userId }), expect: 'unauthenticated' },
    { input: ({ sessionId }) => ({ token: sessionId }), expect: 'unauthenticated' },
  ],
  ping: [{ input: ({ userId }) => ({ user_id: userId }), expect: 'own', without: hersNotMine }],
}
