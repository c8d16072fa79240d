/**
 * Another order each round: what warms up or throttles in time must not favour anybody. Three take
 * their turns in all six orders in six rounds.
 */
export function inTurn<Item>(items: readonly Item[], round: number): readonly Item[] {
  const first = (round >> 1) % Math.max(1, items.length)
  const rotated = [...items.slice(first), ...items.slice(0, first)]
  return round % 2 === 1 ? rotated.toReversed() : rotated
}
