import { service } from '../kernel/kernel.ts'
import { type BooksCheck, checkBooks } from './books-check.ts'
import type { CheckedBooks } from './shapes.ts'
import { singleFlight } from './single-flight.ts'

/** Checks of the books that people ask for. */
export const BooksChecks = service('ledger checks', ({ db, clock }) => ({
  /** @throws Failure `unavailable` for books so large that it takes longer than an answer may */
  now: singleFlight(clock, async () => {
    const checkedAt = clock.iso()
    return showCheck(await checkBooks(db.sql), checkedAt)
  }),
}))

/** Renders what a check has found. */
export function showCheck(
  { coherent, assets, findings }: BooksCheck,
  checkedAt: string,
): CheckedBooks {
  return {
    coherent,
    checked_at: checkedAt,
    assets: assets.map((asset) => ({ ...asset, sum: asset.sum.toString() })),
    findings: [...findings],
  }
}
