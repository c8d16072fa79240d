/**
 * All tables, one file a feature. `bun run db:generate` compares them with `db/migrations` and
 * writes what is new; the server's start applies it.
 */
export * from './identity.ts'
export * from './messaging.ts'
export * from './streams.ts'
