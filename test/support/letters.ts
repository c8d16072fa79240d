import type { Kernel } from '../../src/kernel/kernel.ts'
import { placeOf } from '../../src/vault/vault.ts'

/** A letter on its way, as the queue holds it. */
export interface QueuedLetter {
  readonly to: string
  readonly template: string
  readonly user_id?: string
  // oxlint-disable-next-line no-explicit-any
  readonly data: any
}

/** Letters about an account that wait to be sent, oldest first. */
export async function queuedLetters(
  { db, vault }: Pick<Kernel, 'db' | 'vault'>,
  userId: string,
): Promise<QueuedLetter[]> {
  const rows = (await db.sql`
    select id, payload from queue_jobs where queue = 'mail' order by id`) as {
    id: string
    payload: Uint8Array
  }[]
  return rows
    .map(({ id, payload }) => {
      const text = vault.open(placeOf('queue_jobs', 'payload', id), payload).toString()
      return JSON.parse(text) as QueuedLetter
    })
    .filter(({ user_id }) => user_id === userId)
}
