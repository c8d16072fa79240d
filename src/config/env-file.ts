/**
 * Reads `.env` files literally: nothing is expanded.
 *
 * The runtime's own loader replaces `$…` even between single quotes and turns
 * `ADMIN_PASSWORD_HASH=$argon2id$v=19$m=…` into something else; it is therefore turned off
 * (`env = false` in bunfig.toml, `--no-env-file`) and this parser is used instead.
 */

/** A line that is no assignment, by its number from 1. */
export interface EnvFileProblem {
  line: number
  reason: string
}

/** What a file says; a name given twice has its last value. */
export interface EnvFile {
  values: Record<string, string>
  problems: EnvFileProblem[]
}

const ASSIGNMENT = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=[ \t]*(.*)$/

const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t' }

/** A value as read: its text or what is wrong with it, and the index of its last line. */
interface Reading {
  value?: string
  reason?: string
  last: number
}

/** Only a comment may follow a closing quote. */
function quoted(value: string, tail: string, last: number): Reading {
  if (/^\s*(?:#.*)?$/.test(tail)) return { value, last }
  return { reason: 'goes on behind the closing quote', last }
}

/** `raw` begins behind the opening quote; nothing inside has a meaning. */
function readSingleQuoted(raw: string, index: number): Reading {
  const end = raw.indexOf("'")
  if (end === -1) return { reason: 'has a single quote that is not closed', last: index }
  return quoted(raw.slice(0, end), raw.slice(end + 1), index)
}

/** `raw` begins behind the opening quote; the value may go on over the following lines. */
function readDoubleQuoted(raw: string, index: number, lines: string[]): Reading {
  let text = raw
  for (let last = index; last < lines.length; text += `\n${lines[++last]}`) {
    const match = /^((?:[^"\\]|\\.)*)"(.*)$/s.exec(text)
    if (!match) continue
    const value = match[1]!.replace(/\\(.)/gs, (_, letter: string) => ESCAPES[letter] ?? letter)
    return quoted(value, match[2]!, last)
  }
  return { reason: 'has a double quote that is not closed', last: index }
}

function readValue(raw: string, index: number, lines: string[]): Reading {
  if (raw.startsWith("'")) return readSingleQuoted(raw.slice(1), index)
  if (raw.startsWith('"')) return readDoubleQuoted(raw.slice(1), index, lines)
  return { value: raw.replace(/(?:^|\s+)#.*$/, '').trim(), last: index }
}

/**
 * Parses the text of a `.env` file: `NAME=value`, an optional `export`, comments after `#` (inside
 * a line only behind a space), single quotes (literal), double quotes (with `\n`, `\t`, `\"`,
 * `\\`, `\$`, and line breaks), either kind of line ending, and a byte order mark.
 */
export function parseEnvFile(text: string): EnvFile {
  const lines = text.replace(/^\uFEFF/, '').split(/\r\n|\n|\r/)
  const file: EnvFile = { values: {}, problems: [] }
  for (let index = 0; index < lines.length; index++) {
    if (/^\s*(?:#|$)/.test(lines[index]!)) continue
    const match = ASSIGNMENT.exec(lines[index]!)
    const reading: Reading = match
      ? readValue(match[2]!, index, lines)
      : { reason: 'is not NAME=value', last: index }
    if (reading.value !== undefined) file.values[match![1]!] = reading.value
    else file.problems.push({ line: index + 1, reason: reading.reason! })
    index = reading.last
  }
  return file
}
