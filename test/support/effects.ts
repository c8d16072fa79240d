import { SQL } from 'bun'
import type { TestDatabase } from './database.ts'

/** Makes the table `effects`, which the server may write to. */
export async function makeEffects({ ownerUrl }: Pick<TestDatabase, 'ownerUrl'>): Promise<void> {
  const sql = new SQL({ url: ownerUrl, max: 1 })
  try {
    await sql.unsafe(`create table effects (text text not null, at timestamptz default now());
      grant all on effects to public`)
  } finally {
    await sql.close()
  }
}

/** How often each effect has happened. */
export async function countEffects(sql: SQL): Promise<Map<string, number>> {
  const rows = await sql<{ text: string; times: number }[]>`
    select text, count(*)::int as times from effects group by text`
  return new Map(rows.map(({ text, times }) => [text, times]))
}
