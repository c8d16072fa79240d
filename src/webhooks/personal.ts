import type { PersonalData } from '../kernel/personal-data.ts'

/** What webhooks hold of a person: which of them an administrator has made. */
export const personalData: PersonalData = {
  async *export({ db: _db }, sql, userId) {
    const rows = await sql<{ id: string; url: string; created_at: Date }[]>`
      select id, url, created_at from webhook_endpoints where created_by = ${userId} order by id`
    for (const { id, url, created_at } of rows) {
      yield { section: 'webhooks', item: { id, url, created_at: created_at.toISOString() } }
    }
  },
  async forget({ tx }, userId) {
    await tx.sql`update webhook_endpoints set created_by = null where created_by = ${userId}`
  },
}
