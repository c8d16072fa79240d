import { mailUser } from '../auth/index.ts'
import { internalRequest } from '../kernel/access.ts'
import type { Kernel } from '../kernel/kernel.ts'
import { AllPersonalData } from '../kernel/personal-data.ts'
import { Hopeless, type PerformContext } from '../kernel/queue.ts'
import { unitOfWork } from '../kernel/write.ts'
import { beginRun, failRun, finishRun, type Run, RunIsOver, storePage } from './exports.ts'

/** The writing of copies of personal data. */

/** About the size of a page in characters; what one answer can carry and a client can hold. */
const PAGE_CHARS = 128 * 1024
/** A gigabyte: more is a bug, or an attack on the disk. */
const PAGES_MAX = 8_192

/** Writes a copy; begins anew where an earlier try has left off. */
export async function writeExport(
  { kernel, job, signal }: PerformContext,
  exportId: string,
  triesMax: number,
): Promise<void> {
  const run = await beginRun(kernel, exportId)
  if (run === undefined) return
  try {
    const items = await writePages(kernel, run, signal)
    const by = { actor: null, request: internalRequest(`job-${job.id}`) }
    await unitOfWork(kernel, by, async (ctx) => {
      const expiresAt = await finishRun(ctx, run, items)
      const target = { type: 'user', id: run.userId }
      ctx.audit({ action: 'privacy.export_written', target, after: { export_id: exportId, items } })
      const data = { expires_at: expiresAt.toISOString() }
      await mailUser(ctx, run.userId, 'account_export_ready', data)
    })
  } catch (error) {
    // A newer try goes on, or the account was closed: nobody waits for this one.
    if (error instanceof RunIsOver || (await isOver(kernel, run))) return
    if (error instanceof Hopeless || job.attempt >= triesMax) await failRun(kernel, run)
    throw error
  }
}

/** Whether nobody wants this try any more: a closed account makes features fail in many ways. */
async function isOver({ db }: Kernel, run: Run): Promise<boolean> {
  const rows = await db.read(
    (sql) => sql`
      select from data_exports where id = ${run.exportId} and run = ${run.id}
        and state = 'pending'`,
  )
  return rows.length === 0
}

/** @returns how many items there were */
async function writePages(kernel: Kernel, run: Run, signal: AbortSignal): Promise<number> {
  let items = 0
  let pages = 0
  let page: string[] = []
  let chars = 0
  const flush = async () => {
    if (pages >= PAGES_MAX) throw new Hopeless(`more than ${PAGES_MAX} pages`)
    await storePage(kernel, run, pages++, `[${page.join(',')}]`)
    page = []
    chars = 0
  }
  for (const { export: exported } of kernel.use(AllPersonalData)) {
    const all = exported?.(kernel, kernel.db.sql, run.userId) ?? []
    for await (const { section, item } of all) {
      signal.throwIfAborted()
      const text = JSON.stringify({ section, item })
      if (page.length > 0 && chars + text.length > PAGE_CHARS) await flush()
      page.push(text)
      chars += text.length + 1
      items++
    }
  }
  // The last page, or the only one of somebody of whom nothing is held.
  await flush()
  return items
}
