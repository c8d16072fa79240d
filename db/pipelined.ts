import type { SQL } from 'bun'

/**
 * Sends a statement now and lets it be awaited later: a query of Bun's client starts only when
 * somebody asks for its result.
 */
export function pipelined<T>(query: SQL.Query<T>): Promise<T> {
  const promise = query.execute() as Promise<T>
  // It is awaited later; until then its failure is not an unhandled one.
  promise.catch(() => undefined)
  return promise
}
