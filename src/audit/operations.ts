import { user } from '../kernel/access.ts'
import type { JsonObject } from '../kernel/effects.ts'
import { operation } from '../kernel/operation.ts'
import { exportLines, searchLines } from './search.ts'
import { ExportInput, ExportPage, SearchInput, SearchPage } from './shapes.ts'

/** What can be asked of the log. Who reads it is written down in it. */

/** Who may read the log. */
const reader = user({ roles: ['admin'], scope: 'audit:read' })

export const search = operation('audit.search', {
  summary: 'Search the audit log, newest first',
  description:
    'A line is found once it is sealed, within a second of its act. All filters must fit; ' +
    '`action` fits what begins with it. The search itself becomes a line.',
  rest: 'GET /admin/audit-logs',
  access: reader,
  limit: 'read',
  input: SearchInput,
  output: SearchPage,
  async handler({ tx, audit }, wanted) {
    const found = await searchLines(tx.sql, wanted)
    audit({ action: 'audit.searched', after: asked(wanted, found.items.length) })
    return found
  },
})

export const exportLog = operation('audit.export', {
  summary: 'Export the audit log in the order of its chain',
  description:
    'Page by page, with positions and hashes, so that a checkpoint can be compared with it. ' +
    '`bun run audit:export` writes the same as NDJSON or CSV.',
  rest: 'GET /admin/audit-logs/export',
  access: reader,
  limit: 'read',
  input: ExportInput,
  output: ExportPage,
  async handler({ tx, audit }, wanted) {
    const found = await exportLines(tx.sql, wanted)
    audit({ action: 'audit.exported', after: asked(wanted, found.items.length) })
    return found
  },
})

function asked(wanted: Readonly<Record<string, string | number | undefined>>, lines: number) {
  const filters = Object.entries(wanted).filter(([, value]) => value !== undefined)
  return { filters: Object.fromEntries(filters) as JsonObject, lines }
}
