/**
 * Makes values fit for the log: secrets out, sizes bounded, everything expressible in JSON.
 *
 * By name: what is called password, token, key, code and so on is not shown, at any depth. By form:
 * tokens and passwords inside texts (addresses, headers, JWTs, hashes, PEM keys) are cut out.
 */

import { ERRORS } from '../base/errors.ts'

/** What stands where a secret was. */
export const REDACTED = '[redacted]'

const DEPTH_MAX = 6
const ITEMS_MAX = 100
const TEXT_MAX = 8_192
const NAMES_MAX = 2_000

/** Parts of names that are secret wherever they stand. */
const SECRET_PART = new RegExp(
  'passw|passphrase|token|secret|authori[sz]|cookie|mnemonic|ticket|macaroon|credential|refresh|' +
    'apikey|privatekey|preimage|ciphertext|stepup|otpauth',
)
/** Words that are secret when they stand alone in a name such as `mfa_code`. */
const SECRET_WORD = /(?:^|[^a-z0-9])(?:keys?|codes?|[ht]?otp|seeds?|pin|jwt|payload)(?:$|[^a-z0-9])/
/** Names that sound secret and are not. */
const HARMLESS = new Set([
  'close_code',
  'error_code',
  'exit_code',
  'key_id',
  'public_key',
  'signal_code',
  'status_code',
])
/** Measures of something secret are not secret. */
const MEASURE = /_(?:bytes|count|ms|total)$/

const knownNames = new Map<string, boolean>()

/** Whether a field of this name is not to be shown. */
export function isSecretName(name: string): boolean {
  let secret = knownNames.get(name)
  if (secret === undefined) {
    const words = name.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toLowerCase()
    secret =
      (SECRET_PART.test(words.replace(/[^a-z0-9]/g, '')) || SECRET_WORD.test(words)) &&
      !HARMLESS.has(words) &&
      !MEASURE.test(words)
    // Names can come from input: an attacker must not fill the memory with them.
    if (knownNames.size >= NAMES_MAX) knownNames.clear()
    knownNames.set(name, secret)
  }
  return secret
}

/** The cheap question whether any of `SECRET_FORMS` can match. */
const SUSPICIOUS = /[?&#]|bearer|basic|eyJ|:\/\/|\$2|\$argon2|-----BEGIN|rialto_[\da-f]{16}_/i

// Each starts a match only where a run of its characters starts, so that no text is slow to search.
const SECRET_FORMS: [RegExp, string][] = [
  [
    /([?&#][\w.-]*(?:token|ticket|secret|key|code|passw\w*|refresh|otp|signature)=)[^&\s"'#]*/gi,
    '$1',
  ],
  [/\b((?:bearer|basic)[.\s]\s*)[\w.~+/=-]{8,}/gi, '$1'],
  [/()(?<![\w-])eyJ[\w-]{4,}\.[\w-]+\.?[\w-]*/g, '$1'],
  [/((?<![\w+.-])[a-z][\w+.-]*:\/\/[^\s:@/]{0,256}:)[^\s/]{1,256}(?=@)/gi, '$1'],
  [/()\$(?:argon2\w*|2[aby])\$[^\s"']+/g, '$1'],
  [/(rialto_[\da-f]{16}_)[\da-f]+/gi, '$1'],
  [/(-----BEGIN [A-Z ]*PRIVATE KEY-----)[^]*?(?:-----END|$)/g, '$1'],
]

/** `text` without the secrets that its form gives away, cut to 8,192 characters. */
export function redactText(text: string): string {
  const bounded = text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text
  if (bounded.length < 8 || !SUSPICIOUS.test(bounded)) return bounded
  return SECRET_FORMS.reduce(
    (result, [form, kept]) => result.replace(form, `${kept}${REDACTED}`),
    bounded,
  )
}

/** The value of the field `name` as it may be logged, made of what JSON knows. */
export function redactField(name: string, value: unknown, depth = 0): unknown {
  if (typeof value === 'boolean' || value === null || value === undefined) return value
  if (isSecretName(name) && !isErrorCode(name, value)) return REDACTED
  return redactValue(value, depth)
}

/** Our own error codes and small numbers (exit codes, close codes) may be called `code`. */
function isErrorCode(name: string, value: unknown): boolean {
  if (name !== 'code') return false
  return typeof value === 'number' ? value < 10_000 : Object.hasOwn(ERRORS, value as string)
}

function redactValue(value: unknown, depth: number): unknown {
  switch (typeof value) {
    case 'string':
      return redactText(value)
    case 'number':
      return Number.isFinite(value) ? value : String(value)
    case 'bigint':
      return value.toString()
    case 'object':
      return value === null ? null : redactObject(value, depth)
    case 'boolean':
      return value
    default:
      return undefined
  }
}

function redactObject(value: object, depth: number): unknown {
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString()
  if (value instanceof Error) return describeError(value, depth)
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer)
    return `[${value.byteLength} bytes]`
  if (depth >= DEPTH_MAX) return '[too deep]'
  if (value instanceof Map) return redactObject(Object.fromEntries(value), depth)
  if (Array.isArray(value) || value instanceof Set) {
    const items = [...value].slice(0, ITEMS_MAX).map((item) => redactValue(item, depth + 1))
    const rest = (Array.isArray(value) ? value.length : value.size) - items.length
    return rest > 0 ? [...items, `[${rest} more]`] : items
  }
  if ('toJSON' in value && typeof value.toJSON === 'function') {
    return redactValue(value.toJSON(), depth + 1)
  }
  const result: Record<string, unknown> = {}
  for (const name of Object.keys(value).slice(0, ITEMS_MAX)) {
    result[name] = redactField(name, (value as Record<string, unknown>)[name], depth + 1)
  }
  return result
}

/** Properties of errors that say where and why, without repeating data. */
const ERROR_FIELDS = [
  'code',
  'errno',
  'syscall',
  'severity',
  'schema',
  'table',
  'column',
  'constraint',
  'constraint_name',
  'table_name',
] as const

/**
 * An error as name, message, code, stack and causes. Database errors lose what repeats their
 * parameters: the query builder's `params:` line, PostgreSQL's `detail` and quoted values.
 */
function describeError(error: Error, depth: number): Record<string, unknown> {
  const properties = error as unknown as Record<string, unknown>
  const result: Record<string, unknown> = { name: error.name, message: messageOf(error) }
  for (const name of ERROR_FIELDS) {
    const value = properties[name]
    if (typeof value === 'string' || typeof value === 'number') {
      result[name] = typeof value === 'string' ? redactText(value) : value
    }
  }
  // The first line of a stack repeats the message.
  const frames = error.stack?.indexOf('\n    at ') ?? -1
  if (frames !== -1) result.stack = redactText(error.stack!.slice(frames + 1))
  if (depth >= DEPTH_MAX) return result
  if (error.cause !== undefined) result.cause = redactValue(error.cause, depth + 1)
  if (error instanceof AggregateError) {
    result.errors = redactValue(error.errors, depth + 1)
  }
  return result
}

function messageOf(error: Error): string {
  const properties = error as unknown as Record<string, unknown>
  const message = redactText(error.message.replace(/\nparams:[^]*$/, ''))
  // Class 22 (a value could not be used) and JSON.parse quote what they stumbled over.
  if (error instanceof SyntaxError) return message.replace(/"[^]*"/, '"…"')
  const state = [properties.code, properties.errno].find(
    (code) => typeof code === 'string' && /^22[0-9A-Z]{3}$/.test(code),
  )
  return state === undefined ? message : message.replace(/"[^]*"/, '"…"')
}
