/**
 * The master keys and what is sealed with them, on the configured database:
 *
 *     bun run secrets status    which keys are in use, and whether an old one may be removed
 *     bun run secrets rotate    seals everything anew with the first key; servers may run meanwhile
 *
 * docs/security-keys.md has the whole procedure.
 */

import { type ColumnResealed, nameOf, resealAll, surveyColumn } from '../jobs/reseal.ts'
import { systemClock } from '../src/base/clock.ts'
import { SealedColumns } from '../src/kernel/feature.ts'
import type { Kernel } from '../src/kernel/kernel.ts'
import { createLogger } from '../src/observe/log.ts'
import { offlineKernel, productConfig } from './offline-kernel.ts'

const USAGE = 'usage: bun run secrets status | bun run secrets rotate'

/** Says how many values each key has sealed; false when one is missing. */
async function status(kernel: Kernel): Promise<boolean> {
  const { keyId, keyIds } = kernel.vault
  const totals = new Map<string, number>(keyIds.map((id) => [id, 0]))
  for (const column of kernel.use(SealedColumns)) {
    const { sealed } = await surveyColumn(kernel, column)
    const counts = [...sealed].map(([key, count]) => `${count} with ${key}`)
    console.log(`${nameOf(column).padEnd(40)} ${counts.join(', ') || 'none'}`)
    for (const [key, count] of sealed) totals.set(key, (totals.get(key) ?? 0) + count)
  }
  console.log('')
  for (const [key, count] of totals) {
    const role = key === keyId ? 'seals' : keyIds.includes(key) ? 'opens' : 'is missing'
    const values = `${count} ${count === 1 ? 'value' : 'values'}`
    console.log(`key ${key} ${role}; ${values}${advice(role, count)}`)
  }
  return [...totals.keys()].every((key) => keyIds.includes(key))
}

function advice(role: string, count: number): string {
  if (role === 'seals') return ''
  if (role === 'is missing') return ': they do not open until MASTER_ENCRYPTION_KEY has it again'
  if (count > 0)
    return ': keep it, and run `secrets rotate` when all servers have the new key first'
  return ': may be removed, two days after the last server had it first (docs/security-keys.md)'
}

/** Says what was done in each column; false when something does not open or was held. */
async function rotate(kernel: Kernel): Promise<boolean> {
  const results = await resealAll(kernel)
  for (const result of results) console.log(sentenceOf(result))
  console.log('')
  const complete = await status(kernel)
  return complete && results.every(({ unreadable, held }) => unreadable === 0 && held === 0)
}

function sentenceOf({ column, resealed, unreadable, unreadableIds, held }: ColumnResealed): string {
  const parts = [`${resealed} sealed anew`]
  if (held > 0) parts.push(`${held} in use: run it again`)
  if (unreadable > 0) parts.push(`${unreadable} do not open: ${unreadableIds.join(', ')}`)
  return `${nameOf(column).padEnd(40)} ${parts.join('; ')}`
}

async function main(): Promise<boolean> {
  const [command, ...more] = process.argv.slice(2)
  const act = command === 'status' ? status : command === 'rotate' ? rotate : undefined
  if (act === undefined || more.length > 0) throw new Error(USAGE)
  const log = createLogger({ level: 'error', clock: systemClock })
  const { kernel, stop } = await offlineKernel(productConfig(), log)
  try {
    return await act(kernel)
  } finally {
    await stop()
  }
}

await main().then(
  (good) => process.exit(good ? 0 : 1),
  (error: Error) => {
    console.error(`secrets: ${error.message}`)
    process.exit(1)
  },
)
