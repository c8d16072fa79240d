-- What the schema language cannot say: storage parameters and the daily partitions.

-- Heads are updated with every event: room on the page keeps those updates in place (HOT).
ALTER TABLE "stream_heads" SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);--> statement-breakpoint
-- Rows live for milliseconds; without eager vacuuming the writer would wade through dead ones.
ALTER TABLE "outbox" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);--> statement-breakpoint
-- Read state changes once, in place.
ALTER TABLE "messages" SET (fillfactor = 90);--> statement-breakpoint
-- Heartbeats need not survive a crash of the database.
ALTER TABLE "instances" SET UNLOGGED;--> statement-breakpoint
-- A day that nobody has made a partition for still has a place.
CREATE TABLE "idempotency_default" PARTITION OF "idempotency" DEFAULT;--> statement-breakpoint
-- The server's role may not change tables; the owner lends it exactly this one act. Keeps today,
-- yesterday and the day before, so that an answer lives for at least 24 hours in any time zone.
CREATE FUNCTION rialto_rotate_idempotency() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  made date;
  old text;
  changed integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('rialto_rotate_idempotency'));
  FOR made IN SELECT current_date + n FROM generate_series(0, 2) AS n LOOP
    IF to_regclass('public.idempotency_' || to_char(made, 'YYYYMMDD')) IS NULL THEN
      EXECUTE format(
        'CREATE TABLE public.%I PARTITION OF public.idempotency FOR VALUES FROM (%L) TO (%L)',
        'idempotency_' || to_char(made, 'YYYYMMDD'), made, made + 1);
      changed := changed + 1;
    END IF;
  END LOOP;
  FOR old IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.idempotency'::regclass
      AND c.relname ~ '^idempotency_[0-9]{8}$'
      AND to_date(right(c.relname, 8), 'YYYYMMDD') < current_date - 2
  LOOP
    EXECUTE format('DROP TABLE public.%I', old);
    changed := changed + 1;
  END LOOP;
  RETURN changed;
END $$;--> statement-breakpoint
REVOKE ALL ON FUNCTION rialto_rotate_idempotency() FROM PUBLIC;--> statement-breakpoint
SELECT rialto_rotate_idempotency();
