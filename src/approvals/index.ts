/**
 * Four eyes: what one person asks for, another one has to agree to. For acts that would let one
 * administrator alone (or whoever has stolen one's session) make money appear or disappear.
 *
 * - What is asked never changes after it was asked; the decision is made once, whoever decides at
 *   the same time, and does what was asked in its own transaction.
 * - Nobody agrees to their own request, nor somebody who would gain by it: checked here and,
 *   whatever code runs, by the table itself.
 * - What nobody decides in time expires; then it may be asked for again.
 *
 * No feature of its own: features mount the operations that `fourEyes` makes for them. May import
 * the kernel and the database; no feature, and no edge.
 */

export { fourEyes } from './four-eyes.ts'
