/**
 * The types a setting can have: each turns the text of a variable into a value, or throws
 * `InvalidValue` with a sentence that says what is wrong with it. No message repeats the text:
 * whether it may be shown is the caller's decision.
 */

import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { resolve } from 'node:path'
import type { LogLevel } from '../observe/log.ts'
import { EVERY_FEATURE } from './types.ts'

/** What is wrong with a value, as the end of a sentence that begins with the variable's name. */
export class InvalidValue extends Error {}

/** A type: `label` names it in the documentation, `parse` reads it. */
export interface ValueType<T> {
  label: string
  /** `cwd` is what relative paths are relative to. */
  parse(text: string, cwd: string): T
}

function fail(reason: string): never {
  throw new InvalidValue(reason)
}

/** Any text up to `maxLength` characters without control characters. */
export const text = (maxLength = 255): ValueType<string> => ({
  label: 'text',
  parse(input) {
    if (input.length > maxLength) fail(`is longer than ${maxLength} characters`)
    // oxlint-disable-next-line no-control-regex -- refusing them is the purpose
    if (/[\u0000-\u001f\u007f]/.test(input)) fail('contains a control character or line break')
    return input
  },
})

/** A secret of at least `bytesMin` bytes. */
export const secretText = (bytesMin: number): ValueType<string> => ({
  label: `text, ≥ ${bytesMin} bytes`,
  parse(input) {
    const bytes = Buffer.byteLength(input)
    if (bytes < bytesMin) fail(`is ${bytes} bytes long, at least ${bytesMin} are needed`)
    return input
  },
})

/** One of some words. */
export const oneOf = <const Words extends readonly string[]>(
  ...words: Words
): ValueType<Words[number]> => ({
  label: words.map((word) => `\`${word}\``).join(', '),
  parse: (input) => words.find((word) => word === input) ?? fail(`is none of ${words.join(', ')}`),
})

/** An integer in a range. */
export const integer = (min: number, max: number): ValueType<number> => ({
  label: `integer, ${min} to ${max}`,
  parse(input) {
    const value = Number(input)
    if (!/^\d{1,16}$/.test(input) || value < min || value > max) {
      fail(`is not a whole number from ${min} to ${max}`)
    }
    return value
  },
})

/** A TCP port. */
export const port: ValueType<number> = {
  label: 'port',
  parse: (input) => integer(1, 65_535).parse(input, ''),
}

const WORDS_OF_FLAGS: Record<string, boolean> = {
  true: true,
  on: true,
  yes: true,
  '1': true,
  false: false,
  off: false,
  no: false,
  '0': false,
}

/** Yes or no, in the usual words. */
export const flag: ValueType<boolean> = {
  label: '`true` or `false`',
  parse: (input) => WORDS_OF_FLAGS[input.toLowerCase()] ?? fail('is neither true nor false'),
}

const UNITS_MS: Record<string, number> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
}

/** A duration in milliseconds, written `15m`, `24h`, `7d`, or a plain number of seconds. */
export const duration = (minMs: number, maxMs: number): ValueType<number> => ({
  label: 'duration',
  parse(input) {
    const match = /^(\d{1,12}) ?(ms|s|m|h|d|w)?$/.exec(input)
    if (!match) fail('is not a duration such as 90s, 15m, 24h or 7d')
    const ms = Number(match[1]) * UNITS_MS[match[2] ?? 's']!
    if (ms < minMs || ms > maxMs) {
      fail(`must be from ${minMs / 1_000} to ${maxMs / 1_000} seconds`)
    }
    return ms
  },
})

/** Several values, separated by commas; the first failing one is named by its place. */
export const list = <T>(item: ValueType<T>): ValueType<T[]> => ({
  label: `comma list: ${item.label}`,
  parse(input, cwd) {
    const parts = input.split(',').map((part) => part.trim())
    return parts.map((part, index) => {
      try {
        return part === '' ? fail('is empty') : item.parse(part, cwd)
      } catch (error) {
        if (!(error instanceof InvalidValue) || parts.length === 1) throw error
        return fail(`has a wrong entry (number ${index + 1}): it ${error.message}`)
      }
    })
  },
})

/** The features that are on: a comma list of names, or `all`. */
export const features: ValueType<string[] | typeof EVERY_FEATURE> = {
  label: '`all`, or comma list of features',
  parse(input) {
    if (input === EVERY_FEATURE) return EVERY_FEATURE
    return list(text()).parse(input, '')
  },
}

/** An address with one of the schemes, returned without a trailing slash. */
export const url = (...schemes: string[]): ValueType<string> => ({
  label: schemes.map((scheme) => `\`${scheme}://\``).join(' or '),
  parse(input) {
    const address = URL.parse(input)
    const scheme = address?.protocol.slice(0, -1) ?? ''
    if (!address || !schemes.includes(scheme) || !address.hostname) {
      return fail(`is not an address that begins with ${schemes.join(':// or ')}://`)
    }
    return input.replace(/\/+$/, '')
  },
})

/** The address of a web page's origin: scheme, host and port, nothing after them. */
export const origin: ValueType<string> = {
  label: 'origin',
  parse(input) {
    if (input === '*')
      fail('may not be `*`: name the origins, since cookies and tokens are at stake')
    const address = URL.parse(input)
    if (!address || address.origin === 'null' || !/^https?:$/.test(address.protocol)) {
      return fail('is not an origin such as https://app.example.org')
    }
    if (`${address.origin}/` !== address.href) fail('must end after the host and port')
    return address.origin
  },
}

/** The PostgreSQL address; the database's name is required. */
export const postgresUrl: ValueType<string> = {
  label: '`postgres://` or `postgresql://`',
  parse(input) {
    const checked = url('postgres', 'postgresql').parse(input, '')
    if (!/^\/[^/]+$/.test(new URL(checked).pathname))
      fail('does not name a database after the host')
    return checked
  },
}

/** An IP address, or a network in CIDR form. */
export const network: ValueType<string> = {
  label: 'address or CIDR',
  parse(input) {
    const [address = '', prefix, ...rest] = input.split('/')
    const family = isIP(address)
    const bits = family === 4 ? 32 : 128
    const prefixIsRight =
      prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits)
    if (family === 0 || !prefixIsRight || rest.length > 0) {
      fail('is neither an IP address nor a network such as 10.0.0.0/8')
    }
    return input
  },
}

/** A file or folder; the result is absolute. */
export const path: ValueType<string> = {
  label: 'path',
  parse: (input, cwd) => resolve(cwd, text(4_096).parse(input, cwd)),
}

/** PEM text, given itself (line breaks may be written `\n`) or as the path of a file. */
export const pem = (kind: 'CERTIFICATE' | 'PRIVATE KEY'): ValueType<string> => ({
  label: 'path of a PEM file, or its text',
  parse(input, cwd) {
    let content = input.replaceAll('\\n', '\n')
    if (!content.includes('-----BEGIN')) {
      try {
        content = readFileSync(resolve(cwd, input), 'utf8')
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        fail(`is neither PEM text nor the path of a readable file (${code ?? 'unreadable'})`)
      }
    }
    if (!new RegExp(`-----BEGIN (?:[A-Z]+ )?${kind}-----`).test(content)) {
      fail(`holds no PEM block "${kind}"`)
    }
    return content
  },
})

const BASE64 = /^[A-Za-z0-9+/_-]+={0,2}$/

function decode(input: string): Uint8Array | undefined {
  if (/^(?:[0-9a-fA-F]{2})+$/.test(input)) return Uint8Array.fromHex(input)
  if (!BASE64.test(input)) return undefined
  return new Uint8Array(Buffer.from(input, 'base64'))
}

/** A key of exactly 32 bytes as base64 or hex. */
export const key32: ValueType<Uint8Array> = {
  label: '32 bytes as base64 or hex',
  parse(input) {
    const bytes = decode(input)
    if (!bytes) return fail('is neither base64 nor hex')
    if (bytes.length !== 32) fail(`is ${bytes.length} bytes long once decoded, 32 are needed`)
    return bytes
  },
}

/**
 * An Argon2id hash in PHC form, at least m=19456, t=2, p=1 (OWASP Password Storage Cheat Sheet).
 */
export const argon2id: ValueType<string> = {
  label: 'Argon2id hash',
  parse(input) {
    const b64 = '[A-Za-z0-9+/]+'
    const form = new RegExp(`^\\$argon2id\\$v=19\\$m=(\\d+),t=(\\d+),p=\\d+\\$${b64}\\$${b64}$`)
    const match = form.exec(input)
    if (!match) {
      return fail(
        'is not an Argon2id hash ($argon2id$v=19$m=…,t=…,p=…$salt$hash); ' +
          'a shell that expands `$` mangles it: quote it with single quotes there',
      )
    }
    if (Number(match[1]) < 19_456 || Number(match[2]) < 2) fail('is weaker than m=19456,t=2')
    return input
  },
}

/** Text of a fixed form, described by `what`. */
export const matching = (label: string, form: RegExp, what: string): ValueType<string> => ({
  label,
  parse: (input) => (form.test(input) ? input : fail(`is not ${what}`)),
})

const LOG_LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'fatal']

/** A log level; of a `RUST_LOG` filter (`info,hyper=warn`) the directive without a target. */
export const logLevel: ValueType<LogLevel> = {
  label: LOG_LEVELS.map((level) => `\`${level}\``).join(', '),
  parse(input) {
    const bare = input.split(',').find((directive) => !directive.includes('='))
    const word = bare?.trim().toLowerCase()
    if (word === 'trace') return 'debug'
    return LOG_LEVELS.find((level) => level === word) ?? fail(`is none of ${LOG_LEVELS.join(', ')}`)
  },
}
