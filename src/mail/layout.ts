/**
 * The two forms of a letter, plain text and simple HTML, made from the same parts, so that neither
 * says what the other does not. Pure.
 */

/** A part of a letter. */
export type Part =
  | string
  /** Something to press: a label and where it leads. */
  | { readonly press: string; readonly link: string }
  /** A few facts, one a line. */
  | { readonly facts: readonly (readonly [string, string])[] }

/** A letter as its language has written it. */
export interface Draft {
  readonly subject: string
  readonly parts: readonly Part[]
}

/** A letter as it is sent. */
export interface Rendered {
  readonly subject: string
  readonly text: string
  readonly html: string
}

/** Letters are read on screens of 80 columns too; a link is never broken. */
const COLUMNS = 76

/** What the layout takes from a language. */
interface Setting {
  /** BCP 47. */
  readonly tag: string
  /** The line under every letter. */
  readonly closing: string
  readonly colon: string
}

/** Makes both forms. */
export function layOut({ subject, parts }: Draft, { tag, closing, colon }: Setting): Rendered {
  const sheet = parts.map((part) => asText(part, colon))
  const text = [...sheet, `-- \n${wrapped(closing)}`].join('\n\n')
  const body = [...parts.map(asHtml), `<p style="${SMALL}">${escaped(closing)}</p>`].join('\n')
  return {
    subject: oneLine(subject),
    text: `${text}\n`,
    html: [
      '<!doctype html>',
      `<html lang="${tag}"><head><meta charset="utf-8">`,
      '<meta name="viewport" content="width=device-width, initial-scale=1">',
      `<title>${escaped(oneLine(subject))}</title></head>`,
      `<body style="${BODY}">`,
      body,
      '</body></html>\n',
    ].join('\n'),
  }
}

const BODY =
  'margin:0 auto;padding:24px;max-width:36em;' +
  'font:16px/1.5 system-ui,-apple-system,Segoe UI,Roboto,sans-serif;color:#1a1a1a'
const PRESS =
  'display:inline-block;padding:10px 18px;border-radius:6px;background:#1f4fd8;color:#ffffff;' +
  'text-decoration:none'
const SMALL = 'margin-top:32px;font-size:13px;color:#5c5c5c'

function asText(part: Part, colon: string): string {
  if (typeof part === 'string') return wrapped(part)
  if ('press' in part) return `${part.press}${colon.trimEnd()}\n${part.link}`
  return part.facts.map(([name, value]) => `  ${name}${colon}${oneLine(value)}`).join('\n')
}

function asHtml(part: Part): string {
  if (typeof part === 'string') return `<p>${escaped(part)}</p>`
  if ('press' in part) {
    const link = escaped(part.link)
    return (
      `<p><a href="${link}" style="${PRESS}">${escaped(part.press)}</a></p>\n` +
      `<p style="font-size:13px;word-break:break-all">${link}</p>`
    )
  }
  const rows = part.facts.map(
    ([name, value]) =>
      `<tr><td style="padding-right:12px;color:#5c5c5c">${escaped(name)}</td>` +
      `<td>${escaped(oneLine(value))}</td></tr>`,
  )
  return `<table>\n${rows.join('\n')}\n</table>`
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] as string)
}

/** Control characters would forge lines, of a header or of the letter. */
function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim()
}

function wrapped(text: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of oneLine(text).split(' ')) {
    if (line !== '' && line.length + 1 + word.length > COLUMNS) {
      lines.push(line)
      line = word
    } else {
      line = line === '' ? word : `${line} ${word}`
    }
  }
  return [...lines, line].join('\n')
}
