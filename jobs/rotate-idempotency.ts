import type { Job } from '../src/kernel/job.ts'

/** Makes the coming days' partitions and drops those whose answers nobody may ask for any more. */
export const rotateIdempotency: Job = {
  name: 'idempotency.rotate',
  description: 'Partitions of idempotency records: makes coming days, drops old ones',
  async run({ db }) {
    await db.sql`select rialto_rotate_idempotency()`
  },
}
