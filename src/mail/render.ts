import { english, type Language } from './english.ts'
import { french } from './french.ts'
import { layOut, type Rendered } from './layout.ts'
import type { LetterName, Letters } from './letters.ts'

const LANGUAGES = { en: english, fr: french } as const
/** The languages that letters are written in. */
export type Locale = keyof typeof LANGUAGES

/** English as one reads it everywhere, not American dates. */
const DATES = { en: 'en-GB', fr: 'fr-FR' } as const

/** For whom a letter is written. */
export interface Reader {
  readonly locale: Locale
  /** IANA name. */
  readonly timeZone: string
  /** Address of the product, without a trailing slash. */
  readonly publicUrl: string
}

/** Writes a letter. Pure: the same data make the same letter. */
export function renderLetter<Name extends LetterName>(
  name: Name,
  data: Letters[Name],
  reader: Reader,
): Rendered {
  const language: Language = LANGUAGES[reader.locale]
  const dates = new Intl.DateTimeFormat(DATES[reader.locale], {
    timeZone: reader.timeZone,
    day: 'numeric',
    month: 'long',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    timeZoneName: 'short',
  })
  const draft = language.letters[name](data, {
    moment: (at) => dates.format(new Date(at)),
    forgotLink: `${reader.publicUrl}/account/forgot-password?lang=${reader.locale}`,
  })
  return layOut(draft, { tag: reader.locale, ...language })
}
