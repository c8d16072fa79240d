/**
 * The audit log: who did what, from where, with which outcome.
 *
 * - Lines are inserted in the transaction of the act that they report, unchained.
 *
 * May import the kernel and the database; no other feature, and no edge.
 */

export { createAudit } from './record.ts'
