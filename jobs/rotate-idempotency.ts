import type { Job } from '../src/kernel/job.ts'

/** Makes the coming days' partitions and drops those whose answers nobody may ask for any more. */
export const rotateIdempotency: Job = {
  name: 'idempotency.rotate',
  description: 'Partitions of idempotency records: makes coming days, drops old ones',
  async run({ db }) {
    const [row] = await db.sql`select rialto_rotate_idempotency() as changed`
    return { partitions_changed: row.changed as number }
  },
  // The days are those of the function in the migrations.
  async dryRun({ db }) {
    const [row] = await db.sql`
      select (select count(*) from generate_series(0, 2) n
          where to_regclass('public.idempotency_' || to_char(current_date + n::int, 'YYYYMMDD'))
            is null)::int as made,
        (select count(*) from pg_inherits i join pg_class c on c.oid = i.inhrelid
          where i.inhparent = 'public.idempotency'::regclass
            and c.relname ~ '^idempotency_[0-9]{8}$'
            and to_date(right(c.relname, 8), 'YYYYMMDD') < current_date - 2)::int as dropped`
    return { partitions_made: row.made as number, partitions_dropped: row.dropped as number }
  },
}
