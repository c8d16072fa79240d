/**
 * The audit log: who did what, from where, with which outcome (docs/audit.md).
 *
 * - Lines are inserted in the transaction of the act that they report, unchained (`record.ts`).
 * - The sealer chains them within a second by a key that is not in the database (`sealer.ts`), and
 *   writes signed checkpoints outside the database (`checkpoints.ts`).
 * - The server's database role can neither change nor remove a line, sealed or not.
 * - What identifies a person is kept apart and erasable, and covered by a salted hash.
 *
 * May import the kernel and the database; no other feature, and no edge.
 */

import { feature } from '../kernel/feature.ts'
import { eraseQueue, personalData } from './erasure.ts'
import { exportLog, search } from './operations.ts'
import { forgetStrangers, rotateAudit } from './retention.ts'
import { Sealer } from './sealer.ts'

export { createAudit } from './record.ts'
export { forgetStrangers, rotateAudit } from './retention.ts'

/** The audit log, as `features.ts` mounts it. */
export const auditFeature = feature({
  name: 'audit',
  operations: [search, exportLog],
  jobs: [rotateAudit, forgetStrangers],
  queues: [eraseQueue],
  sealed: [{ table: 'audit_keys', column: 'secret', id: 'id' }],
  personalData,
  start: (kernel) => kernel.use(Sealer).start(),
})
