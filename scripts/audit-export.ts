/**
 * Writes the audit log of the configured database to standard output, in the order of its chain:
 *
 *     bun run --silent audit:export [--from TIME] [--to TIME] [--format ndjson|csv] > file
 *
 * Page by page, so that a log of any length needs little memory. The export becomes a line itself.
 */

import { parseArgs } from 'node:util'
import { insertLines } from '../src/audit/record.ts'
import { exportLines } from '../src/audit/search.ts'
import { EXPORT_PAGE_MAX, ExportedLine } from '../src/audit/shapes.ts'
import { systemClock } from '../src/base/clock.ts'
import { uuidv7 } from '../src/base/ids.ts'
import { loadConfig } from '../src/config.ts'
import { features } from '../src/features.ts'
import { internalRequest } from '../src/kernel/access.ts'
import { withAuditDatabase } from './audit-database.ts'

const USAGE = 'bun run --silent audit:export [--from TIME] [--to TIME] [--format ndjson|csv] > file'

interface Options {
  readonly format: 'ndjson' | 'csv'
  readonly times: { readonly from?: string; readonly to?: string }
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      from: { type: 'string' },
      to: { type: 'string' },
      format: { type: 'string', default: 'ndjson' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(USAGE)
    process.exit(0)
  }
  const { from, to, format } = values
  for (const time of [from, to]) {
    if (time !== undefined && Number.isNaN(Date.parse(time))) throw new Error(`not a time: ${time}`)
  }
  if (format !== 'ndjson' && format !== 'csv') throw new Error(USAGE)
  return { format, times: { ...(from && { from }), ...(to && { to }) } }
}

const COLUMNS = Object.keys(ExportedLine.properties) as (keyof ExportedLine)[]

/** A cell (RFC 4180), with what a spreadsheet would take for a formula made harmless. */
function cell(value: string | number | object | null): string {
  if (value === null) return ''
  const text = typeof value === 'object' ? JSON.stringify(value) : `${value}`
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}

async function main(): Promise<void> {
  const { format, times } = readOptions()
  const config = loadConfig({ features: features.map(({ name }) => name) })
  const render = (line: ExportedLine) =>
    format === 'ndjson'
      ? `${JSON.stringify(line)}\n`
      : `${COLUMNS.map((name) => cell(line[name])).join(',')}\r\n`
  const output = Bun.stdout.writer()
  if (format === 'csv') await output.write(`${COLUMNS.join(',')}\r\n`)
  await withAuditDatabase(config, async (sql) => {
    let [cursor, lines]: [string | null, number] = ['0', 0]
    while (cursor !== null) {
      const page = await exportLines(sql, { ...times, cursor, limit: EXPORT_PAGE_MAX })
      await output.write(page.items.map(render).join(''))
      await output.flush()
      lines += page.items.length
      cursor = page.next_cursor
    }
    await insertLines(sql, systemClock, [
      {
        action: 'audit.exported',
        after: { filters: times, lines, format },
        caller: null,
        request: internalRequest(uuidv7()),
      },
    ])
  })
  await output.end()
}

await main().catch((error: Error) => {
  console.error(`audit:export: ${error.message}`)
  process.exitCode = 1
})
