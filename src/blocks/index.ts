/**
 * Blocks: who wants nothing to do with whom.
 *
 * - A block works in both directions and is told to nobody. Other features ask for it: by
 *   `blocksSql` in their queries, and by `Contacts`, which tells them what to forget.
 * - A change is a row that every instance polls within half a second (`contacts.ts`), in the
 *   transaction of what it reports.
 *
 * May import the kernel, the database and `auth`'s exports; other features import it.
 */

import { feature } from '../kernel/feature.ts'
import { retention } from '../kernel/retention.ts'
import { forgetBlocks } from './blocks.ts'
import { changeContacts } from './contacts.ts'
import { blocksAdd, blocksList, blocksRemove } from './operations.ts'
import { exportBlocks } from './personal.ts'

export { blocksSql } from './blocks.ts'
export { type ContactChange, Contacts } from './contacts.ts'

/** Deletes changes of contacts that every instance has read: longer than any transaction lasts. */
export const forgetContactChanges = retention(
  'safety.forget_contact_changes',
  'Deletes changes of contacts that every instance has read; hourly',
  [{ table: 'contact_changes', column: 'changed_at', keptMs: 3_600_000 }],
)

/** Safety, as `features.ts` mounts it. */
export const blocksFeature = feature({
  name: 'safety',
  operations: [blocksAdd, blocksRemove, blocksList],
  jobs: [forgetContactChanges],
  personalData: {
    export: exportBlocks,
    async forget(ctx, userId) {
      await forgetBlocks(ctx.tx.sql, userId)
      // Whoever has left can no longer be written to.
      await changeContacts(ctx, userId)
    },
  },
})
