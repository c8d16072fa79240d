import { beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { budget, full } from '../support/budget.ts'
import type { DriverReport } from '../support/driver-load.ts'

/** Why the request path is built on Bun's client: docs/decisions/002-database-driver.md. */

const RESTARTS = budget(2, 50)
/** Each of these waits for its deadline, because somebody never comes back. */
const CONTROL_RESTARTS = budget(1, 5)
const DEADLINE_MS = budget(2_000, 10_000)

async function load(driver: 'bun' | 'postgres', restarts: number): Promise<DriverReport> {
  const script = join(import.meta.dir, '..', 'support', 'driver-load.ts')
  const args = [script, driver, String(restarts), String(DEADLINE_MS)]
  const child = Bun.spawn([process.execPath, '--no-env-file', ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const report = JSON.parse(await new Response(child.stdout).text()) as DriverReport
  if (full) console.log(driver, JSON.stringify(report))
  return report
}

const holds = ({ hanging, lost, doubled, uncaught }: DriverReport) =>
  hanging.every((n) => n === 0) && lost + doubled + uncaught === 0

describe('when PostgreSQL restarts', () => {
  let reports: Promise<{ bun: DriverReport; postgres: DriverReport }>
  beforeAll(() => {
    // At the same time: most of it is waiting.
    const both = [load('bun', RESTARTS), load('postgres', CONTROL_RESTARTS)] as const
    reports = Promise.all(both).then(([bun, postgres]) => ({ bun, postgres }))
  })

  test('Bun’s client serves every writer again', async () => {
    const report = (await reports).bun
    expect(report).toMatchObject({ lost: 0, doubled: 0, uncaught: 0 })
    expect(report.hanging).toEqual(new Array(RESTARTS).fill(0))
  })

  test('control: the postgres package leaves writers hanging', async () => {
    expect(holds((await reports).postgres)).toBe(false)
  })
})
