/**
 * A bounded map that keeps what was used lately: two generations, of which the older one is
 * dropped when the younger is full. An entry used at least once a generation is never lost, and a
 * hit in the younger costs one lookup, where a true LRU list would rewrite itself each time.
 */
export interface RecentMap<K, V> {
  get(key: K): V | undefined
  set(key: K, value: V): void
  /** Entries held now, at most twice the size of a generation. */
  readonly size: number
}

/** Makes one with at most `generationSize` entries a generation. */
export function recentMap<K, V>(generationSize: number): RecentMap<K, V> {
  let younger = new Map<K, V>()
  let older = new Map<K, V>()
  const set = (key: K, value: V) => {
    if (younger.size >= generationSize) {
      older = younger
      younger = new Map()
    }
    younger.set(key, value)
  }
  return {
    get(key) {
      const found = younger.get(key)
      if (found !== undefined) return found
      const aged = older.get(key)
      if (aged === undefined) return undefined
      older.delete(key)
      set(key, aged)
      return aged
    },
    set,
    get size() {
      return younger.size + older.size
    },
  }
}
