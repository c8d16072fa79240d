import type { SQL } from 'bun'

/** Makes every sixth insert fail as a serialisation failure or a deadlock would. */
export interface Contention {
  /** Failures so far. */
  injected(): Promise<number>
}

/**
 * Lets inserts into these tables fail from now on.
 * @param owner a client of the database's owner
 */
export async function contend(owner: SQL, tables: readonly string[]): Promise<Contention> {
  await owner.unsafe(`
    create sequence contention;
    create function contend() returns trigger language plpgsql security definer as $$
      declare n bigint := nextval('contention');
      begin
        if n % 12 = 0 then raise sqlstate '40001'; end if;
        if n % 12 = 6 then raise sqlstate '40P01'; end if;
        return null;
      end $$;`)
  // Each by itself: the server is at work, and one transaction over all tables could deadlock.
  for (const table of tables) {
    await owner.unsafe(
      `create trigger contend before insert on ${table} execute function contend()`,
    )
  }
  return {
    async injected() {
      const [row] = await owner`select last_value::int / 6 as n from contention`
      return row.n as number
    },
  }
}
