import type { SQL } from 'bun'
import type { PersonalItem } from '../kernel/personal-data.ts'
import type { Kernel } from '../kernel/kernel.ts'
import type { Place } from '../kernel/cursor.ts'
import { listBlocks } from './blocks.ts'

const PAGE = 500

/** Whom somebody has blocked, for the export of their data. Who has blocked them is not theirs. */
export async function* exportBlocks(
  _kernel: Kernel,
  sql: SQL,
  userId: string,
): AsyncGenerator<PersonalItem> {
  let place: Place | undefined
  for (;;) {
    const rows = await listBlocks(sql, userId, PAGE, place)
    for (const { user_id, blocked_at } of rows) {
      yield { section: 'blocks', item: { user_id, blocked_at: blocked_at.toISOString() } }
    }
    const last = rows.at(-1)
    if (last === undefined || rows.length < PAGE) return
    place = { at: last.blocked_at.toISOString(), id: last.user_id }
  }
}
