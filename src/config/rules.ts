/** What settings demand of each other, and what production demands of all. */

import { createPrivateKey, X509Certificate } from 'node:crypto'
import { type Name, rows, table, type Values } from './table.ts'
import { type ConfigProblem, EVERY_FEATURE } from './types.ts'

/** Settings of which none makes sense without the others. */
const TOGETHER: readonly (readonly Name[])[] = [
  ['TLS_CERT', 'TLS_KEY'],
  ['ADMIN_USERNAME', 'ADMIN_PASSWORD_HASH'],
  ['SMTP_USER', 'SMTP_PASSWORD'],
  ['PAYOUT_NAME', 'PAYOUT_IBAN'],
]

/** The first setting has no effect without the second. */
const NEEDS: readonly (readonly [Name, Name])[] = [
  ['SMTP_USER', 'SMTP_HOST'],
  ['SMTP_TLS_CA', 'SMTP_HOST'],
  ['PAYOUT_BIC', 'PAYOUT_IBAN'],
  ['DATABASE_SERVER_URL', 'DATABASE_URL'],
]

/** Features that cannot work without others: they move money, and that is the ledger's. */
const FEATURE_NEEDS: readonly (readonly [feature: string, other: string])[] = [
  ['funding', 'ledger'],
  ['payouts', 'ledger'],
]

/** What the rules look at. `given` also holds the settings whose value was refused. */
export interface Settings {
  values: Partial<Values>
  given: ReadonlySet<Name>
  /** The features this server has. */
  features: readonly string[] | undefined
}

/** Everything that breaks a rule. */
export function checkRules(settings: Settings): ConfigProblem[] {
  const problems: ConfigProblem[] = []
  const refuse = (name: Name, reason: string) => {
    problems.push({ name, reason, example: `${name}=${table[name].example}` })
  }
  checkPairs(settings, refuse)
  checkValues(settings, refuse)
  if (settings.values.NODE_ENV === 'production') {
    checkProduction(settings, refuse)
    checkDrivers(settings, refuse)
  }
  return problems
}

type Refuse = (name: Name, reason: string) => void

function checkPairs({ values, given }: Settings, refuse: Refuse): void {
  for (const names of TOGETHER) {
    const present = names.filter((name) => given.has(name))
    if (present.length === 0) continue
    for (const name of names) {
      if (!given.has(name)) refuse(name, `is missing beside ${present.join(' and ')}`)
    }
  }
  for (const [name, other] of NEEDS) {
    if (given.has(name) && !given.has(other)) refuse(other, `is missing beside ${name}`)
  }
  if (given.has('SMTP_HOST') && !given.has('MAIL_FROM') && !values.SMTP_USER?.includes('@')) {
    refuse('MAIL_FROM', 'is missing beside SMTP_HOST')
  }
}

function checkValues({ values, given, features }: Settings, refuse: Refuse): void {
  if (values.DATABASE_EMBEDDED === true && given.has('DATABASE_URL')) {
    refuse('DATABASE_EMBEDDED', 'is true while DATABASE_URL is given: keep one')
  }
  if (values.DATABASE_EMBEDDED === false && !given.has('DATABASE_URL')) {
    refuse('DATABASE_URL', 'is missing while DATABASE_EMBEDDED is false')
  }
  if (values.DATABASE_SINGLE_ROLE === true && given.has('DATABASE_SERVER_URL')) {
    refuse('DATABASE_SINGLE_ROLE', 'is true while DATABASE_SERVER_URL is given: keep one')
  }
  if (features && Array.isArray(values.FEATURES)) {
    const unknown = values.FEATURES.filter((name) => !features.includes(name))
    if (unknown.length > 0) {
      const list = features.length > 0 ? features.join(', ') : 'none'
      refuse('FEATURES', `names ${unknown.join(', ')}, which is not one of: ${list}`)
    }
    for (const [feature, other] of FEATURE_NEEDS) {
      if (!values.FEATURES.includes(feature) || values.FEATURES.includes(other)) continue
      refuse('FEATURES', `names ${feature}, which needs ${other}: name both, or neither`)
    }
  }
  if (values.TLS_CERT && values.TLS_KEY && !belongTogether(values.TLS_CERT, values.TLS_KEY)) {
    refuse('TLS_KEY', 'is not the private key of TLS_CERT')
  }
}

function belongTogether(cert: string, key: string): boolean {
  try {
    return new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))
  } catch {
    return false
  }
}

function checkProduction({ values, given }: Settings, refuse: Refuse): void {
  for (const name of ['JWT_SECRET', 'MASTER_ENCRYPTION_KEY', 'PUBLIC_URL'] as const) {
    if (!given.has(name)) refuse(name, 'is missing: production does not invent it')
  }
  if (values.PUBLIC_URL && !values.PUBLIC_URL.startsWith('https://')) {
    refuse('PUBLIC_URL', 'must begin with https:// in production')
  }
  if (!given.has('DATABASE_URL') && !given.has('DATABASE_EMBEDDED')) {
    refuse(
      'DATABASE_URL',
      'is missing: production needs it, or DATABASE_EMBEDDED=true to keep the embedded database',
    )
  }
  if (values.DATABASE_SINGLE_ROLE === true) {
    refuse('DATABASE_SINGLE_ROLE', 'may not be true in production')
  }
  if (values.RATE_LIMITS === false) refuse('RATE_LIMITS', 'may not be off in production')
  if (!given.has('TLS_CERT') && !given.has('TRUSTED_PROXIES')) {
    refuse(
      'TLS_CERT',
      'is missing: production needs it with TLS_KEY, or TRUSTED_PROXIES for a proxy with HTTPS',
    )
  }
}

/** A driver for development never runs in production, so each feature's settings must be there. */
function checkDrivers({ values, given, features = [] }: Settings, refuse: Refuse): void {
  const chosen = values.FEATURES ?? EVERY_FEATURE
  const on = features.filter((name) => chosen === EVERY_FEATURE || chosen.includes(name))
  for (const [name, row] of rows) {
    if (given.has(name)) continue
    const feature = row.neededBy?.find((candidate) => on.includes(candidate))
    if (feature)
      refuse(name, `is missing: ${feature} needs it in production (or leave it out of FEATURES)`)
  }
}
