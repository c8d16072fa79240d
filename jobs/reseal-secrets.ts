import { SealedColumns } from '../src/kernel/feature.ts'
import type { Job, JobReport } from '../src/kernel/job.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { nameOf, resealAll, surveyColumn } from './reseal.ts'

/** Seals anew with the first master key what is sealed with another (docs/security-keys.md). */
export const resealSecrets: Job = {
  name: 'secrets.reseal',
  description: 'Seals anew, with the first master key, what is sealed with an older one',
  async run(kernel, signal) {
    const results = await resealAll(kernel, signal)
    for (const { column, unreadable, unreadableIds } of results) {
      if (unreadable === 0) continue
      const rows = { column: nameOf(column), unreadable, ids: unreadableIds }
      kernel.log.error('sealed values do not open: is a master key missing?', rows)
    }
    return Object.fromEntries(results.map(({ column, resealed }) => [nameOf(column), resealed]))
  },
  dryRun: stale,
}

async function stale(kernel: Kernel): Promise<JobReport> {
  const report: Record<string, number> = {}
  for (const column of kernel.use(SealedColumns)) {
    const { sealed } = await surveyColumn(kernel, column)
    let count = 0
    for (const [key, values] of sealed) if (key !== kernel.vault.keyId) count += values
    report[nameOf(column)] = count
  }
  return report
}
