import type { ErrorCode } from '../../src/base/errors.ts'

/** What an attempt is made of: whose things, by whom, and how it must end. */

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
  readonly deviceId: string
  /** Of a call of hers that needs a fresh second factor. */
  readonly challenge: string
  readonly conversationId: string
  /** A copy of her data. */
  readonly exportId: string
  /** Received, not yet read. */
  readonly messageId: string
  readonly sentId: string
  /** Of their lists of conversations and messages. */
  readonly conversationCursor: string
  readonly messageCursor: string
  /** Asked for, not decided yet. */
  readonly payoutId: string
  readonly iban: string
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

/** Ids compare in any case. */
export const upper = (text: string) => text.toUpperCase()
/** An answer about oneself does not name her. */
export const hersNotMine = ({ userId }: Belongings) => [userId]
