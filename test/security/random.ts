/** A generator of its own, so that a run is repeated by its seed. */
export interface Random {
  /** From 0 to `below - 1`. */
  int(below: number): number
  chance(of: number): boolean
  pick<T>(from: readonly T[]): T
  bytes(length: number): Uint8Array<ArrayBuffer>
}

/** Mulberry32 (Tommy Ettinger, public domain). */
export function random(seed: number): Random {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let z = state
    z = Math.imul(z ^ (z >>> 15), z | 1)
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61)
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (below: number) => Math.floor(next() * below)
  return {
    int,
    chance: (of) => next() < of,
    pick: <T>(from: readonly T[]) => from[int(from.length)] as T,
    bytes: (length) => Uint8Array.from({ length }, () => int(256)),
  }
}

/** `SEED` of the environment, else one by chance. */
export function chosenSeed(): number {
  const given = process.env['SEED']
  return given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given)
}
