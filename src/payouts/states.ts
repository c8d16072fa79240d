import { Failure } from '../base/errors.ts'

/** What becomes of a payout. One table: whatever is not in it is refused. */

export const STATES = [
  'requested',
  'approved',
  'processing',
  'completed',
  'rejected',
  'failed',
] as const
export type PayoutState = (typeof STATES)[number]

/** The states that each may become. The money is held until one of the last three. */
const NEXT: Readonly<Record<PayoutState, readonly PayoutState[]>> = {
  /** Its owner has asked; the money is set aside. */
  requested: ['approved', 'rejected'],
  /** An administrator has agreed; it waits for the next order to the bank. */
  approved: ['processing'],
  /** It stands in an order. From here on only the bank knows. */
  processing: ['completed', 'failed'],
  /** Paid; the money has left the books. */
  completed: [],
  /** Never ordered; the money is free again. */
  rejected: [],
  /** The bank has refused it; the money is free again. */
  failed: [],
}

/**
 * Refuses a step that a payout cannot take.
 * @throws Failure `conflict`
 */
export function checkStep(from: PayoutState, to: PayoutState): void {
  if (NEXT[from].includes(to)) return
  throw new Failure('conflict', `The payout is ${from}: it cannot become ${to}`)
}
