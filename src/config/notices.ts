/** What the operator should hear about variables that have no effect. */

import { knownNames } from './source.ts'
import { UNNEEDED, UNREAD_YET } from './table.ts'

/**
 * Edit distance in which two swapped neighbours are one edit (optimal string alignment), or
 * `limit + 1` when it is larger than `limit`.
 */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let row = 1; row <= a.length; row++) {
    const current = [row]
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1]
      let cost = Math.min(
        last[column]! + 1,
        current[column - 1]! + 1,
        last[column - 1]! + (same ? 0 : 1),
      )
      if (row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]) {
        cost = Math.min(cost, beforeLast[column - 2]! + 1)
      }
      current.push(cost)
    }
    if (Math.min(...current) > limit) return limit + 1
    beforeLast = last
    last = current
  }
  return Math.min(last[b.length]!, limit + 1)
}

/** The setting that `name` was probably meant to be; short names allow one edit, long ones two. */
function meant(name: string): string | undefined {
  if (name.length < 5) return undefined
  const limit = name.length < 8 ? 1 : 2
  let best: string | undefined
  let bestDistance = limit + 1
  for (const known of knownNames) {
    const distance = editDistance(name, known, limit)
    if (distance < bestDistance) [best, bestDistance] = [known, distance]
  }
  return best
}

/** Whether nothing here reads `name` yet, itself or as the file of a secret. */
const isUnread = (name: string) =>
  !knownNames.has(name) && UNREAD_YET.has(name.replace(/_FILE$/, ''))

/**
 * One sentence for each given name that is not needed or looks misspelt, and one for all those that
 * nothing reads yet. Names that mean nothing to us are the business of other programs.
 */
export function noticesFor(names: readonly string[]): string[] {
  const notices = names.flatMap((name) => {
    if (Object.hasOwn(UNNEEDED, name)) return [`${name} ${UNNEEDED[name]}`]
    if (knownNames.has(name) || isUnread(name)) return []
    const suggestion = meant(name)
    return suggestion ? [`${name} is not a setting: did you mean ${suggestion}?`] : []
  })
  const unread = names.filter(isUnread)
  if (unread.length > 0) {
    notices.push(`these have no effect, no feature here reads them yet: ${unread.join(', ')}`)
  }
  return notices
}
