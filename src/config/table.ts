/**
 * Every setting, in one table: the check at start, `.env.example` and the reference page are made
 * from it.
 */

import { coreTable } from './table/core.ts'
import { driversTable } from './table/drivers.ts'
import type { Variable } from './table/variable.ts'

export { UNREAD_YET } from './table/unread.ts'
export type { Variable } from './table/variable.ts'

export const table = { ...coreTable, ...driversTable }

/** The name of a setting. */
export type Name = keyof typeof table

type ValueOf<V extends Variable> = ReturnType<V['type']['parse']>

/** The settings after parsing: those without a default may be absent. */
export type Values = {
  [N in Name]: (typeof table)[N] extends { default: string }
    ? ValueOf<(typeof table)[N]>
    : ValueOf<(typeof table)[N]> | undefined
}

/** The rows, in the order of the documentation. */
export const rows = Object.entries(table) as [Name, Variable][]

/** Names that are accepted and need nothing, with the sentence that says so. */
export const UNNEEDED: Record<string, string> = {
  JOB_SERVER_PORT: 'is not needed: jobs run in this process, on PORT',
  API_VERSION: 'is not needed: the API is served at /api/v1 and /api',
  JWT_REFRESH_SECRET: 'is not needed: refresh tokens are random and stored as hashes',
  MONGODB_URI: 'is ignored: this server stores in Postgres (DATABASE_URL)',
}
