import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Marks: texts that occur nowhere else. Each mark carries the number of the place where it was
 * pushed in, so that one that is found says how it got there.
 */
export class Canary {
  /** Lower case and digits only: nothing that quoting, escaping or folding would change. */
  readonly core = `cnry${crypto.randomUUID().replaceAll('-', '').slice(0, 12)}`
  private readonly places: string[] = []

  /** A mark in the shape of ciphertext. */
  at(place: string): string {
    return `${this.core}x${this.places.push(place) - 1}x+/c2VjcmV0==`
  }

  /** Where the marks in a text were pushed in. */
  placesIn(text: string): string[] {
    const found = text.matchAll(new RegExp(`${this.core}x(\\d+)x`, 'g'))
    return [...new Set([...found].map(([, n]) => this.places[Number(n)] ?? 'nowhere'))]
  }
}

/** A found mark: where, and some bytes around it. */
export interface Find {
  readonly where: string
  readonly around: string
}

/** Searches bytes for a text, also in the disguises that a program might store it in. */
export function findIn(where: string, bytes: Buffer, text: string): Find[] {
  return disguises(text).flatMap(([name, needle]) => {
    const at = bytes.indexOf(needle)
    if (at < 0) return []
    const around = bytes.toString('latin1', Math.max(0, at - 80), at + needle.length + 80)
    return [{ where: `${where} (${name})`, around: around.replaceAll(/[^\x20-\x7e]+/g, '·') }]
  })
}

function disguises(text: string): [name: string, needle: Buffer][] {
  const bytes = Buffer.from(text)
  // In base64 a text looks in one of three ways; its ends depend on what stands beside it.
  const inBase64 = [0, 1, 2].map((shift): [string, Buffer] => {
    const whole = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64')
    return ['base64', Buffer.from(whole.slice(shift === 0 ? 0 : 4, -4))]
  })
  return [
    ['as it is', bytes],
    ['UTF-16', Buffer.from(text, 'utf16le')],
    ['hexadecimal', Buffer.from(bytes.toString('hex'))],
    ['hexadecimal', Buffer.from(bytes.toString('hex').toUpperCase())],
    ...inBase64,
  ]
}

/** Every file below a folder, as bytes. */
export function* filesBelow(folder: string): Generator<[path: string, bytes: Buffer]> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* filesBelow(path)
    else if (entry.isFile()) yield [path, readFileSync(path)]
  }
}
