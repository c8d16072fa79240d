/**
 * How much a fault test does: a little in `npm test`, the figures of the promises with
 * `FAULTS=full`. What is left to chance comes from one seed, which is printed and can be given.
 */

/** Whether the figures of the promises are wanted. */
export const full = process.env['FAULTS'] === 'full'

/** The size of this run. */
export function budget(small: number, whole: number): number {
  return full ? whole : small
}

/** Chance that can be replayed. */
export interface Chance {
  /** From 0 up to, not including, 1. */
  next(): number
  /** A whole number from 0 up to, not including, `below`. */
  below(below: number): number
  pick<T>(from: readonly T[]): T
}

/** Chance by `SEED`, or by a seed of its own, which is printed for a replay. */
export function chance(name: string): Chance {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  console.log(`${name}: replay with SEED=${seed}`)
  return seededChance(seed)
}

/** Mulberry32 (Tommy Ettinger, public domain): small, and good enough to shuffle with. */
export function seededChance(seed: number): Chance {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number) => Math.floor(next() * limit)
  return { next, below, pick: (from) => from[below(from.length)] as never }
}
