/**
 * All tables, one file a feature. `bun run db:generate` compares them with `db/migrations` and
 * writes what is new; the server's start applies it.
 */
export * from './administration.ts'
export * from './approvals.ts'
export * from './audit.ts'
export * from './funding.ts'
export * from './identity.ts'
export * from './jobs.ts'
export * from './ledger.ts'
export * from './limits.ts'
export * from './links.ts'
export * from './messaging.ts'
export * from './mfa.ts'
export * from './payouts.ts'
export * from './privacy.ts'
export * from './reconciliation.ts'
export * from './safety.ts'
export * from './services.ts'
export * from './streams.ts'
export * from './webhooks.ts'
