/**
 * The queues as administrators see them: how much waits, what was given up, and what is to become
 * of it. The jobs themselves are run by `jobs/`.
 *
 * May import the kernel and the database; no other feature, and no edge.
 */

import { feature } from '../../src/kernel/feature.ts'
import { forgetOld } from './forget.ts'
import { deadLetters, discard, list, retry } from './operations.ts'

/** The queues, as `features.ts` mounts them. */
export const queuesFeature = feature({
  name: 'queues',
  operations: [list, deadLetters, retry, discard],
  jobs: [forgetOld],
  sealed: [
    { table: 'queue_jobs', column: 'payload', id: 'id' },
    { table: 'dead_letters', column: 'payload', id: 'id' },
  ],
  personalData: {
    kept: ['Work that had to be given up, such as a mail that could not be delivered, for 30 days'],
  },
})

export { forgetOld } from './forget.ts'
export { COUNTED_MAX, queueStats } from './stats.ts'
