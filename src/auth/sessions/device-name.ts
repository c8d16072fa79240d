/**
 * What kind of device a user agent says it is, in a few words for people: "Firefox, Windows".
 * Clients say what they like; only words of these tables and plain product names come out, because
 * the answer stands in mail, where an address would become a link.
 */

// In this order: most claim to be several of those below them.
const APPS: readonly (readonly [RegExp, string])[] = [
  [/\bEdgA?(?:iOS)?\//, 'Edge'],
  [/\bOPR\//, 'Opera'],
  [/\bSamsungBrowser\//, 'Samsung Internet'],
  [/\b(?:Firefox|FxiOS)\//, 'Firefox'],
  [/\b(?:Chrome|CriOS|Chromium)\//, 'Chrome'],
  [/\bVersion\/[\d.]+ .*Safari\//, 'Safari'],
]
const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/\b(?:iPhone|iPad|iPod)\b/, 'iOS'],
  [/\bAndroid\b/, 'Android'],
  [/\bWindows\b/, 'Windows'],
  [/\bCrOS\b/, 'ChromeOS'],
  [/\b(?:Macintosh|Mac OS X)\b/, 'macOS'],
  [/\bLinux\b/, 'Linux'],
]

/** The product that a user agent begins with (RFC 9110, 10.1.5), without its version. */
const PRODUCT = /^([A-Za-z][A-Za-z0-9 _-]{0,39})(?:\/|$)/

/** The same words in every language, or null for what says nothing. */
export function deviceName(userAgent: string | null | undefined): string | null {
  if (!userAgent) return null
  const named = (table: readonly (readonly [RegExp, string])[]) =>
    table.find(([form]) => form.test(userAgent))?.[1]
  const product = PRODUCT.exec(userAgent)?.[1]?.trim()
  const app = named(APPS) ?? (product === 'Mozilla' ? undefined : product)
  const system = named(SYSTEMS)
  if (app === undefined) return system ?? null
  return system === undefined ? app : `${app}, ${system}`
}
