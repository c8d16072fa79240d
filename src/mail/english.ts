import type { Draft, Part } from './layout.ts'
import type { Letters, Origin } from './letters.ts'

/** What a language writes a letter with. */
export interface Writing {
  /** A moment, in words, in the reader's time zone. */
  readonly moment: (at: string) => string
  /** Where one asks for a new password. */
  readonly forgotLink: string
}

/** A writer for every letter. */
export type Writers = {
  readonly [Name in keyof Letters]: (data: Letters[Name], writing: Writing) => Draft
}

/** What a language brings. */
export interface Language {
  readonly letters: Writers
  /** The line under every letter. */
  readonly closing: string
  /** Between a name and its value. */
  readonly colon: string
}

const origin = ({ at, device, address }: Origin, { moment }: Writing): Part => ({
  facts: [
    ['When', moment(at)],
    ['Device', device ?? 'unknown'],
    ['Network address', address],
  ],
})
const notYou = ({ forgotLink }: Writing): Part[] => [
  'If this was not you, somebody may know your password. Choose a new one now; that signs out ' +
    'every device.',
  { press: 'Choose a new password', link: forgotLink },
]

const letters: Writers = {
  verify_email: ({ link, expires_at }, { moment }) => ({
    subject: 'Please confirm your address',
    parts: [
      'Hello,',
      'An account was opened with this address. Please confirm that it is yours, so that we can ' +
        'reach you when you need us, for example to set a new password.',
      { press: 'Confirm my address', link },
      `The link works once, until ${moment(expires_at)}.`,
      'If you did not open an account, you need not do anything.',
    ],
  }),
  unverified_reminder: ({ link, expires_at, closes_at }, { moment }) => ({
    subject: 'Your address is not confirmed yet',
    parts: [
      'Hello,',
      'A few days ago an account was opened with this address, which nobody has confirmed yet.',
      { press: 'Confirm my address', link },
      `The link works once, until ${moment(expires_at)}.`,
      `If the account is not used and the address not confirmed, we will close the account after ` +
        `${moment(closes_at)}. If you did not open it, you need not do anything.`,
    ],
  }),
  reset_password: ({ link, expires_at, ...from }, writing) => ({
    subject: 'Choose a new password',
    parts: [
      'Hello,',
      'Somebody has asked for a new password for the account with this address.',
      { press: 'Choose a new password', link },
      `The link works once, until ${writing.moment(expires_at)}; a newer one replaces it.`,
      'If it was not you, you need not do anything: without this link nothing changes.',
      origin(from, writing),
    ],
  }),
  password_changed: (from, writing) => ({
    subject: 'Your password was changed',
    parts: [
      'Hello,',
      'The password of your account was changed, and your other devices were signed out.',
      origin(from, writing),
      ...notYou(writing),
    ],
  }),
  email_change_confirm: ({ link, expires_at }, { moment }) => ({
    subject: 'Please confirm your new address',
    parts: [
      'Hello,',
      'Somebody wants to use this address for their account. If that is you, please confirm it; ' +
        'until then your account keeps its old address.',
      { press: 'Use this address', link },
      `The link works once, until ${moment(expires_at)}.`,
      'If it was not you, you need not do anything.',
    ],
  }),
  email_change_taken: ({ at }, { moment }) => ({
    subject: 'Your address is already in use',
    parts: [
      'Hello,',
      `On ${moment(at)} somebody wanted to use this address for their account, but it already ` +
        'belongs to yours. Nothing has changed.',
      'If that was you: you have a second account, with this address. Sign in there, or close it ' +
        'before you use the address elsewhere.',
    ],
  }),
  email_changed: ({ link, expires_at, new_email, ...from }, writing) => ({
    subject: 'The address of your account was changed',
    parts: [
      'Hello,',
      `Your account now has the address ${new_email}. This one is no longer used.`,
      origin(from, writing),
      'If this was not you, take the change back. Your account gets this address again, every ' +
        'device is signed out, and we send you a link for a new password.',
      { press: 'This was not me', link },
      `The link works once, until ${writing.moment(expires_at)}.`,
    ],
  }),
  email_reverted: ({ at }, { moment }) => ({
    subject: 'The change of your address was taken back',
    parts: [
      'Hello,',
      `On ${moment(at)} the change of your account's address was taken back from the old ` +
        'address. Every device was signed out, and the old password no longer works.',
      'To sign in again, choose a new password with the link that was sent to the old address.',
    ],
  }),
  new_device: (from, writing) => ({
    subject: 'A new device has signed in',
    parts: [
      'Hello,',
      'Somebody has signed in to your account on a device that we have not seen before.',
      origin(from, writing),
      'If it was you, you need not do anything.',
      ...notYou(writing),
    ],
  }),
  mfa_enabled: (from, writing) => ({
    subject: 'Your account now asks for a second factor',
    parts: [
      'Hello,',
      'From now on, signing in to your account takes a code beside your password. Please keep ' +
        'your recovery codes in a safe place.',
      origin(from, writing),
      ...notYou(writing),
    ],
  }),
  mfa_disabled: (from, writing) => ({
    subject: 'Your account no longer asks for a second factor',
    parts: [
      'Hello,',
      'From now on, your password alone is enough to sign in to your account.',
      origin(from, writing),
      ...notYou(writing),
    ],
  }),
  recovery_code_used: ({ codes_left, ...from }, writing) => ({
    subject: 'A recovery code was used',
    parts: [
      'Hello,',
      `One of your recovery codes was used. You have ${codes_left} left.` +
        (codes_left < 3 ? ' Please make new ones soon.' : ''),
      origin(from, writing),
      ...notYou(writing),
    ],
  }),
  recovery_started: ({ completes_at, link, ...from }, writing) => ({
    subject: 'Somebody wants to remove your second factor',
    parts: [
      'Hello,',
      'Somebody who knows your password says that they have lost the device and the recovery ' +
        `codes of your account. On ${writing.moment(completes_at)} they may remove the second ` +
        'factor.',
      origin(from, writing),
      'If this was not you, stop it now, and choose a new password.',
      { press: 'Stop this', link },
    ],
  }),
  recovery_reminder: ({ completes_at, link }, { moment }) => ({
    subject: 'Your second factor will be removed soon',
    parts: [
      'Hello,',
      `As announced, the second factor of your account can be removed from ` +
        `${moment(completes_at)}.`,
      'If you have not asked for that, stop it now, and choose a new password.',
      { press: 'Stop this', link },
    ],
  }),
  recovery_completed: ({ at }, writing) => ({
    subject: 'Your second factor was removed',
    parts: [
      'Hello,',
      `On ${writing.moment(at)} the second factor of your account was removed, and every device ` +
        'was signed out. Please set up a new one soon.',
      ...notYou(writing),
    ],
  }),
  admin_invitation: ({ link, expires_at, inviter }, { moment }) => ({
    subject: 'You are invited to be an administrator',
    parts: [
      'Hello,',
      `The administrator ${inviter} invites you to become one as well. You will need a second ` +
        'factor (an app that shows codes).',
      { press: 'Accept the invitation', link },
      `The link works once, until ${moment(expires_at)}. If you do not know what this is about, ` +
        'you need not do anything.',
    ],
  }),
  account_blocked: ({ at, reason }, { moment }) => ({
    subject: 'Your account is blocked',
    parts: [
      'Hello,',
      `On ${moment(at)} an administrator blocked your account. You cannot sign in for now; ` +
        'nothing of yours was deleted.',
      ...(reason === null ? [] : [{ facts: [['Reason', reason]] } as const]),
    ],
  }),
  account_unblocked: ({ at }, { moment }) => ({
    subject: 'Your account is open again',
    parts: ['Hello,', `Since ${moment(at)} your account is open again, and you can sign in.`],
  }),
  account_closed: ({ at }, { moment }) => ({
    subject: 'Your account is closed',
    parts: [
      'Hello,',
      `On ${moment(at)} your account was closed and what identified you was erased. This is the ` +
        'last message to this address. Thank you for having been with us.',
    ],
  }),
  account_export_ready: ({ expires_at }, { moment }) => ({
    subject: 'Your data is ready',
    parts: [
      'Hello,',
      'The copy of your data that you asked for is ready. Sign in to your account to fetch it, ' +
        `until ${moment(expires_at)}.`,
    ],
  }),
  api_key_created: ({ at, name, by, scopes }, { moment }) => ({
    subject: 'A new API key was made',
    parts: [
      'Hello,',
      'You receive this as an administrator: a new API key was made.',
      {
        facts: [
          ['When', moment(at)],
          ['Name', name],
          ['By', by],
          ['May', scopes.join(', ')],
        ],
      },
      'If nobody of you has made it, revoke it now.',
    ],
  }),
  webhook_disabled: ({ at, host, because }, { moment }) => ({
    subject: 'A webhook was disabled',
    parts: [
      'Hello,',
      'You receive this as an administrator: the server has stopped to send events to a webhook.',
      {
        facts: [
          ['When', moment(at)],
          ['Host', host],
          ['Because', `${DISABLED_BECAUSE[because]} (${because})`],
        ],
      },
      'Events are kept for three days: what it has missed by then can still be sent.',
    ],
  }),
}

const DISABLED_BECAUSE = {
  gone: 'it has answered that it is gone for good',
  failing: 'every attempt has failed for three days',
  key_ended: 'the API key that it belongs to has ended',
} as const

/** The letters in English. */
export const english: Language = {
  closing:
    'This message was sent automatically, because it concerns your account. We never ask for ' +
    'your password or a code by mail or phone.',
  colon: ': ',
  letters,
}
