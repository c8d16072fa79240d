import { input, oneOf, type Static, t, Timestamp, Uuid } from '../base/schema.ts'
import { ROLES } from '../kernel/access.ts'
import { SECRET_LENGTH } from './secrets.ts'
import { PASSWORD_LENGTH_MAX, PASSWORD_LENGTH_MIN } from './sign-in/passwords.ts'

/** What identity's operations take and answer. */

const nullable = <S extends ReturnType<typeof t.String>>(schema: S) => t.Union([schema, t.Null()])

export const Email = t.String({ format: 'email', maxLength: 254 })
export const Username = t.String({
  pattern: '^[A-Za-z0-9._-]{3,50}$',
  description: '3 to 50 letters, digits, dots, underscores and hyphens; case does not distinguish',
})
const DisplayName = t.String({
  minLength: 1,
  maxLength: 100,
  pattern: '^[^\\u0000-\\u001f\\u007f]*$',
})
// Pictures only: an address that a browser would fetch in the clear, or a document with scripts
// (SVG), would be handed on to everybody who sees this person.
const PICTURE_ADDRESS = 'https://[^\\s"\'<>\\\\]{1,2040}'
const PICTURE_DATA = 'data:image/(png|jpeg|gif|webp|avif);base64,[A-Za-z0-9+/]+={0,2}'
const Avatar = t.String({
  maxLength: 16_384,
  pattern: `^(${PICTURE_ADDRESS}|${PICTURE_DATA})$`,
  description: 'https address, or a data URL of an image of up to 12 KB',
})
// A NUL would end the password for bcrypt and many other tools, silently.
export const NewPassword = t.String({
  minLength: PASSWORD_LENGTH_MIN,
  maxLength: PASSWORD_LENGTH_MAX,
  pattern: '^[^\\u0000]*$',
})
/** A password that is to be compared; those of old systems may be shorter than new ones. */
export const OfferedPassword = t.String({
  maxLength: PASSWORD_LENGTH_MAX,
  pattern: '^[^\\u0000]*$',
})
const Locale = oneOf(['en', 'fr'])
const ActorType = oneOf(['user', 'creator'])
const TimeZone = t.String({ format: 'time-zone', maxLength: 64, description: 'IANA time zone' })
const WalletAddress = t.String({ pattern: '^0x[0-9a-fA-F]{40}$' })
const RoleName = oneOf(ROLES)

const newAccountFields = {
  email: Email,
  password: NewPassword,
  username: t.Optional(Username),
  name: t.Optional(DisplayName),
  avatar: t.Optional(Avatar),
  wallet_address: t.Optional(WalletAddress),
  actor_type: t.Optional(ActorType),
  locale: t.Optional(Locale),
  time_zone: t.Optional(TimeZone),
}

export const RegisterInput = input(newAccountFields)
/** What an administrator says of a new account. */
export const CreateUserInput = input({
  ...newAccountFields,
  roles: t.Optional(t.Array(RoleName, { maxItems: ROLES.length, uniqueItems: true })),
})
export type NewAccount = Static<typeof CreateUserInput>

/** A code of an authenticator, or a recovery code; spaces and hyphens do not count. */
export const MfaCode = t.String({
  minLength: 6,
  maxLength: 32,
  pattern: '^[0-9A-Za-z -]*$',
  description: 'Six digits of the authenticator, or a recovery code',
})

export const LoginInput = input({
  email: t.Optional(t.String({ maxLength: 254 })),
  username: t.Optional(t.String({ maxLength: 254 })),
  login: t.Optional(t.String({ maxLength: 254, description: 'Email or username' })),
  password: t.Optional(t.String({ maxLength: PASSWORD_LENGTH_MAX, pattern: '^[^\\u0000]*$' })),
  provider: t.Optional(oneOf(['password', 'dazeno', 't4g', 'linkedin'])),
  token: t.Optional(t.String({ maxLength: 4_096, description: "The provider's token" })),
  mfa_code: t.Optional(MfaCode),
  device_token: t.Optional(
    t.String({
      minLength: SECRET_LENGTH,
      maxLength: SECRET_LENGTH,
      description: 'The one that an earlier login on this device has answered',
    }),
  ),
})
export const RefreshInput = input({
  refresh_token: t.String({ minLength: SECRET_LENGTH, maxLength: SECRET_LENGTH }),
})

const profileFields = {
  username: t.Optional(Username),
  name: t.Optional(nullable(DisplayName)),
  avatar: t.Optional(nullable(Avatar)),
  locale: t.Optional(Locale),
  time_zone: t.Optional(TimeZone),
}
export const UpdateProfileInput = input(profileFields, 'What is absent stays as it is')
export const UpdateUserInput = input({ user_id: Uuid, ...profileFields })
export type ProfileChange = Static<typeof UpdateProfileInput>

/** A user as others see them. */
export const Profile = t.Object({
  id: Uuid,
  username: t.String(),
  name: nullable(t.String()),
  avatar: nullable(t.String()),
  actor_type: ActorType,
})
export type Profile = Static<typeof Profile>

/** A user as they see themself. */
export const Account = t.Object({
  id: Uuid,
  email: t.String(),
  email_verified: t.Boolean(),
  username: t.String(),
  name: nullable(t.String()),
  avatar: nullable(t.String()),
  roles: t.Array(RoleName),
  actor_type: ActorType,
  locale: Locale,
  time_zone: t.String(),
  wallet_address: nullable(t.String()),
  wallet_verified: t.Boolean(),
  created_at: Timestamp,
})
export type Account = Static<typeof Account>

/** The answer of whatever signs somebody in. */
export const SignedIn = t.Object({
  token: t.String({ description: 'Access token' }),
  refresh_token: t.String({ description: 'Good for one use; see `POST auth/refresh`' }),
  token_type: t.Literal('Bearer'),
  expires_at: Timestamp,
  session_id: Uuid,
  user: Account,
  device_token: t.Optional(
    t.String({ description: 'To be kept on the device and sent with its next login' }),
  ),
})
export type SignedIn = Static<typeof SignedIn>

/** A signed-in device of one's own. */
export const Session = t.Object({
  id: Uuid,
  created_at: Timestamp,
  last_used_at: Timestamp,
  user_agent: nullable(t.String()),
  address: t.String(),
  current: t.Boolean({ description: 'The session that asks' }),
})
export type Session = Static<typeof Session>

/** A device that has signed in. */
export const Device = t.Object({
  id: Uuid,
  name: nullable(t.String({ description: 'Kind of device' })),
  address: t.String({ description: 'Where it last signed in from' }),
  first_seen_at: Timestamp,
  last_seen_at: Timestamp,
  sessions: t.Integer({ description: 'How many of its sessions are open' }),
  current: t.Boolean({ description: 'The device that asks' }),
})
export type Device = Static<typeof Device>
