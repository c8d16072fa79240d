import { describe, expect, test } from 'bun:test'
import { LETTER_NAMES, type LetterName, type Letters } from '../../src/mail/letters.ts'
import { type Locale, renderLetter } from '../../src/mail/render.ts'

const at = '2026-07-14T22:30:00.000Z'
const origin = { at, device: 'Firefox, Windows', address: '2001:db8::1' }
const link = { link: 'https://x.org/account/a?lang=fr#token=abc', expires_at: at }

/** Each letter with something that must be seen in it. */
const SAMPLES: { readonly [Name in LetterName]: Letters[Name] } = {
  verify_email: link,
  unverified_reminder: { ...link, closes_at: at },
  reset_password: { ...link, ...origin },
  password_changed: origin,
  email_change_confirm: link,
  email_change_taken: { at },
  email_changed: { ...link, ...origin, new_email: 'new@example.org' },
  email_reverted: { at },
  new_device: origin,
  mfa_enabled: origin,
  mfa_disabled: origin,
  recovery_code_used: { ...origin, codes_left: 2 },
  recovery_started: { ...origin, link: link.link, completes_at: at },
  recovery_reminder: { link: link.link, completes_at: at },
  recovery_completed: { at },
  admin_invitation: { ...link, inviter: 'ann' },
  account_blocked: { at, reason: 'Spam & <b>worse</b>' },
  account_unblocked: { at },
  account_closed: { at },
  account_export_ready: { expires_at: at },
  api_key_created: { at, name: 'backup', by: 'ann', scopes: ['users:read', 'audit:read'] },
  webhook_disabled: { at, host: 'hooks.example.org', because: 'failing' },
}

const reader = (locale: Locale, timeZone = 'Europe/Paris') => ({
  locale,
  timeZone,
  publicUrl: 'https://rialto.test',
})
const render = (name: LetterName, locale: Locale, timeZone?: string) =>
  renderLetter(name, SAMPLES[name] as never, reader(locale, timeZone))

describe.each(LETTER_NAMES.flatMap((name) => [[name, 'en'] as const, [name, 'fr'] as const]))(
  '%s in %s',
  (name, locale) => {
    const { subject, text, html } = render(name, locale)
    const plain = html
      .replace(/<style[^]*?<\/style>|<title>[^]*?<\/title>|<[^>]+>/g, ' ')
      .replaceAll('&amp;', '&')
      .replaceAll('&lt;', '<')
      .replaceAll('&gt;', '>')
      .replaceAll('&quot;', '"')
      .replaceAll('&#39;', "'")
    const words = (of: string) => of.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word))

    test('has a subject of one short line', () => {
      expect(subject).toMatch(/^[^\r\n]{8,70}$/)
    })

    test('says the same as text and as HTML', () => {
      const said = new Set(words(plain).map((word) => word.replace(/[:\u00a0]+$/, '')))
      for (const word of words(text)) expect(said).toContain(word.replace(/[:\u00a0]+$/, ''))
    })

    test('says everything that it was told', () => {
      const told = { at: null, expires_at: null, closes_at: null, completes_at: null }
      for (const [field, value] of Object.entries(SAMPLES[name])) {
        if (field in told) {
          expect(text.replaceAll('\n', ' ')).toContain(
            locale === 'fr' ? '15 juillet 2026' : '15 July 2026',
          )
        } else {
          for (const one of Array.isArray(value) ? value : [value]) {
            expect(text).toContain(String(one))
          }
        }
      }
    })

    test('leaves nothing unsaid by mistake, and no markup of others', () => {
      expect(text + html).not.toMatch(/undefined|null|\[object|Invalid Date|\$\{/)
      expect(html).not.toContain('<b>')
    })

    test('fits 76 columns, except for links', () => {
      for (const line of text.split('\n')) {
        if (!line.includes('https://')) expect(line.length).toBeLessThanOrEqual(76)
      }
    })
  },
)

test('moments are those of the reader’s clock, in summer and in winter', () => {
  const told = (timeZone: string, moment: string, locale: Locale = 'en') =>
    renderLetter('account_closed', { at: moment }, reader(locale, timeZone)).text
  expect(told('Europe/Paris', '2026-01-01T23:30:00Z')).toContain('2 January 2026 at 00:30 CET')
  expect(told('Europe/Paris', '2026-07-01T22:30:00Z')).toContain('2 July 2026 at 00:30 CEST')
  expect(told('America/New_York', '2026-07-01T22:30:00Z')).toContain('1 July 2026 at 18:30')
  expect(told('UTC', '2026-07-01T22:30:00Z', 'fr')).toContain('1 juillet 2026 à 22:30 UTC')
  expect(told('Asia/Kathmandu', '2026-07-01T22:30:00Z', 'fr')).toContain('2 juillet 2026 à 04:15')
})

test('control characters in what others have chosen forge no lines', () => {
  const data = { at, reason: 'a\r\n\r\nhttps://evil.example\u2028b\0' }
  const { text, html } = renderLetter('account_blocked', data, reader('en'))
  expect(text).toContain('Reason: a https://evil.example b')
  expect(html).not.toMatch(/[\0\u2028\r]/)
})

test('no letter has a place for the name of its reader', () => {
  // Whoever registers chooses name and address: a greeting by name would send words of theirs.
  const names = new Set(Object.values(SAMPLES).flatMap((data) => Object.keys(data)))
  expect([...names].filter((name) => /user|display|first|full/.test(name))).toEqual([])
})
