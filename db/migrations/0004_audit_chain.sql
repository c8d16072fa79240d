-- Lines as the acts wrote them.
CREATE TABLE "audit_pending" (
	"number" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "audit_pending_number_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"line" text NOT NULL
);
--> statement-breakpoint
-- No version that was released has written to it.
DROP TABLE "audit_log";
--> statement-breakpoint
-- Rows live for less than a second; without eager vacuuming the sealer would wade through dead ones.
ALTER TABLE "audit_pending" SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
--> statement-breakpoint
CREATE TABLE "audit_log" (
	"position" bigint NOT NULL,
	"sealed_at" timestamp (3) with time zone NOT NULL,
	"key_id" text NOT NULL,
	"id" uuid NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	"actor_kind" text NOT NULL,
	"actor_id" text,
	"session_id" uuid,
	"action" text COLLATE "C" NOT NULL,
	"outcome" text NOT NULL,
	"target_type" text,
	"target_id" text,
	"transport" text NOT NULL,
	"request_id" text NOT NULL,
	"before" json,
	"after" json,
	"subject_id" text,
	"origin_digest" "bytea",
	"personal_digest" "bytea",
	"hash" "bytea" NOT NULL,
	CONSTRAINT "audit_log_position_sealed_at_pk" PRIMARY KEY("position","sealed_at")
) PARTITION BY RANGE ("sealed_at");
--> statement-breakpoint
CREATE TABLE "audit_personal" (
	"position" bigint NOT NULL,
	"part" text NOT NULL,
	"sealed_at" timestamp (3) with time zone NOT NULL,
	"subject_id" text,
	"salt" "bytea" NOT NULL,
	"data" json NOT NULL,
	CONSTRAINT "audit_personal_position_part_sealed_at_pk" PRIMARY KEY("position","part","sealed_at"),
	CONSTRAINT "audit_personal_part" CHECK ("audit_personal"."part" in ('origin', 'personal'))
) PARTITION BY RANGE ("sealed_at");
--> statement-breakpoint
CREATE INDEX "audit_log_newest" ON "audit_log" USING btree ("at","id");--> statement-breakpoint
CREATE INDEX "audit_log_actor" ON "audit_log" USING btree ("actor_id","at","id");--> statement-breakpoint
CREATE INDEX "audit_log_target" ON "audit_log" USING btree ("target_id","at","id");--> statement-breakpoint
CREATE INDEX "audit_log_action" ON "audit_log" USING btree ("action","at","id");--> statement-breakpoint
CREATE INDEX "audit_log_request" ON "audit_log" USING btree ("request_id");--> statement-breakpoint
CREATE INDEX "audit_log_refused" ON "audit_log" USING btree ("at","id") WHERE "audit_log"."outcome" <> 'success';--> statement-breakpoint
CREATE INDEX "audit_personal_subject" ON "audit_personal" USING btree ("subject_id","position");--> statement-breakpoint
CREATE TABLE "audit_head" (
	"one" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"position" bigint NOT NULL,
	"hash" "bytea" NOT NULL,
	"sealed_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "audit_head_one" CHECK ("audit_head"."one")
);
--> statement-breakpoint
INSERT INTO "audit_head" VALUES (true, 0, decode(repeat('00', 32), 'hex'), 'epoch');
--> statement-breakpoint
CREATE TABLE "audit_keys" (
	"id" text PRIMARY KEY NOT NULL,
	"secret" "bytea" NOT NULL,
	"created_at" timestamp (3) with time zone DEFAULT now() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audit_trims" (
	"position" bigint PRIMARY KEY NOT NULL,
	"hash" "bytea" NOT NULL,
	"checkpoint" text NOT NULL
);
--> statement-breakpoint
-- Where TimescaleDB is installed in this database, it keeps the two large tables as hypertables.
-- This branch has not been run by us: no build of TimescaleDB was at hand.
DO $$
DECLARE
  big text;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
    CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;
    CREATE TABLE audit_personal_default PARTITION OF audit_personal DEFAULT;
    RETURN;
  END IF;
  FOREACH big IN ARRAY ARRAY['audit_log', 'audit_personal'] LOOP
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', big || '_plain', big);
    EXECUTE format('DROP TABLE %I', big);
    EXECUTE format('ALTER TABLE %I RENAME TO %I', big || '_plain', big);
    PERFORM create_hypertable(big, 'sealed_at', chunk_time_interval => interval '1 month');
  END LOOP;
END $$;
--> statement-breakpoint
-- The owner lends the server's role three acts, and no right to change or remove a line: to seal, to
-- make the coming months, and to drop a month that is seven years old.
--
-- Sealing moves lines from audit_pending into the log behind the head that the sealer has hashed
-- them onto, all or none. False: somebody else has moved the head; read again. Each seal has the
-- number of its line in the batch, from 1. Names are qualified throughout: a temporary table of the
-- same name would be found first.
CREATE FUNCTION rialto_seal_audit(
  head_position bigint, head_hash bytea, sealed timestamptz, key text, seals json
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  head public.audit_head;
  wanted CONSTANT bigint := json_array_length(seals);
  numbers bigint;
  last_hash bytea;
  sealed_lines bigint;
BEGIN
  SELECT * INTO STRICT head FROM public.audit_head FOR UPDATE;
  IF head.position <> head_position OR head.hash <> head_hash THEN
    RETURN false;
  END IF;
  IF sealed < head.sealed_at THEN
    RAISE EXCEPTION 'lines are not sealed before earlier ones';
  END IF;
  SELECT count(DISTINCT n) FILTER (WHERE n BETWEEN 1 AND wanted),
    (array_agg(hash) FILTER (WHERE n = wanted))[1]
  INTO numbers, last_hash
  FROM json_to_recordset(seals) AS seal(n bigint, hash bytea);
  IF wanted = 0 OR numbers <> wanted THEN
    RAISE EXCEPTION 'lines are sealed in a row';
  END IF;
  WITH seal AS (
    SELECT * FROM json_to_recordset(seals) AS seal(n bigint, number bigint, hash bytea,
      origin_salt bytea, origin_digest bytea, personal_salt bytea, personal_digest bytea)
  ), moved AS (
    DELETE FROM public.audit_pending waiting USING seal WHERE waiting.number = seal.number
    RETURNING waiting.line::json, head.position + seal.n AS position, seal.hash,
      origin_salt, origin_digest, personal_salt, personal_digest
  ), taken AS MATERIALIZED (
    SELECT moved.*, said.* FROM moved, json_to_record(moved.line) AS said(
      id uuid, at timestamptz, actor_kind text, actor_id text, session_id uuid, action text,
      outcome text, target_type text, target_id text, transport text, request_id text, before json,
      after json, subject_id text, origin json, personal json)
  ), erasable AS (
    INSERT INTO public.audit_personal (position, part, sealed_at, subject_id, salt, data)
    SELECT position, 'origin', sealed,
      CASE WHEN actor_kind IN ('user', 'stranger') THEN actor_id END, origin_salt, origin
    FROM taken WHERE origin IS NOT NULL
    UNION ALL
    SELECT position, 'personal', sealed, subject_id, personal_salt, personal
    FROM taken WHERE personal IS NOT NULL
  )
  INSERT INTO public.audit_log (position, sealed_at, key_id, id, at, actor_kind, actor_id,
    session_id, action, outcome, target_type, target_id, transport, request_id, before, after,
    subject_id, origin_digest, personal_digest, hash)
  SELECT position, sealed, key, id, at, actor_kind, actor_id, session_id, action, outcome,
    target_type, target_id, transport, request_id, before, after, subject_id, origin_digest,
    personal_digest, hash
  FROM taken;
  GET DIAGNOSTICS sealed_lines = ROW_COUNT;
  IF sealed_lines <> wanted THEN
    RAISE EXCEPTION 'lines to be sealed are gone';
  END IF;
  UPDATE public.audit_head SET position = head.position + wanted, hash = last_hash,
    sealed_at = sealed;
  RETURN true;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION rialto_seal_audit(bigint, bytea, timestamptz, text, json) FROM PUBLIC;
--> statement-breakpoint
-- One month of both tables. Rows that have come to lie in the default partition, because their month
-- had none yet, move into it. Attaching, unlike CREATE TABLE … PARTITION OF, does not wait for
-- whoever is just writing.
CREATE FUNCTION rialto_add_audit_month(month date) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  big text;
  part text;
  changed boolean := false;
BEGIN
  month := date_trunc('month', month);
  FOREACH big IN ARRAY ARRAY['audit_log', 'audit_personal'] LOOP
    part := big || '_' || to_char(month, 'YYYYMM');
    CONTINUE WHEN to_regclass('public.' || part) IS NOT NULL;
    EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
      part, big);
    EXECUTE format('LOCK TABLE public.%I IN ACCESS EXCLUSIVE MODE', big || '_default');
    EXECUTE format('WITH moved AS (DELETE FROM public.%I WHERE sealed_at >= %L::timestamptz
      AND sealed_at < %L::timestamptz RETURNING *) INSERT INTO public.%I SELECT * FROM moved',
      big || '_default', month::text || ' 00:00+00',
      (month + interval '1 month')::date::text || ' 00:00+00', part);
    EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
      big, part, month::text || ' 00:00+00',
      (month + interval '1 month')::date::text || ' 00:00+00');
    changed := true;
  END LOOP;
  RETURN changed;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION rialto_add_audit_month(date) FROM PUBLIC;
--> statement-breakpoint
-- This month, the next two, and those of rows without one. A hypertable does this by itself.
CREATE FUNCTION rialto_rotate_audit() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET lock_timeout = '2s' AS $$
DECLARE
  month date;
  changed integer := 0;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_partitioned_table
                 WHERE partrelid = 'public.audit_log'::regclass) THEN
    RETURN 0;
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('rialto_rotate_audit'));
  FOR month IN
    SELECT (date_trunc('month', now()) + make_interval(months => n))::date
    FROM generate_series(0, 2) AS n
    UNION
    SELECT DISTINCT date_trunc('month', sealed_at)::date FROM public.audit_log_default
  LOOP
    changed := changed + public.rialto_add_audit_month(month)::integer;
  END LOOP;
  RETURN changed;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION rialto_rotate_audit() FROM PUBLIC;
--> statement-breakpoint
-- The oldest month (or chunk) that is wholly older than seven years: its end, and its last line, if
-- it has any.
CREATE FUNCTION rialto_expired_audit(
  OUT ends timestamptz, OUT last_position bigint, OUT last_hash bytea, OUT last_sealed_at timestamptz
) RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  keep CONSTANT timestamptz := now() - interval '7 years';
BEGIN
  IF EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = 'public.audit_log'::regclass) THEN
    SELECT (to_date(right(c.relname, 6), 'YYYYMM') + interval '1 month')::timestamptz INTO ends
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.audit_log'::regclass AND c.relname ~ '^audit_log_[0-9]{6}$'
    ORDER BY c.relname LIMIT 1;
  ELSE
    SELECT range_end INTO ends FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'audit_log'
    ORDER BY range_end LIMIT 1;
  END IF;
  IF ends IS NULL OR ends > keep THEN
    RETURN;
  END IF;
  SELECT l.position, l.hash, l.sealed_at INTO last_position, last_hash, last_sealed_at
  FROM public.audit_log l WHERE l.sealed_at < ends ORDER BY l.position DESC LIMIT 1;
  RETURN NEXT;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION rialto_expired_audit() FROM PUBLIC;
--> statement-breakpoint
-- Drops that month, if where the chain then begins has been written down.
CREATE FUNCTION rialto_drop_audit() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
SET lock_timeout = '2s' AS $$
DECLARE
  expired record;
  month text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('rialto_rotate_audit'));
  SELECT * INTO expired FROM public.rialto_expired_audit();
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF expired.last_position IS NOT NULL AND NOT EXISTS (
    SELECT FROM public.audit_trims t
    WHERE t.position = expired.last_position AND t.hash = expired.last_hash
  ) THEN
    RAISE EXCEPTION 'line % has no checkpoint yet', expired.last_position;
  END IF;
  IF EXISTS (SELECT FROM pg_partitioned_table WHERE partrelid = 'public.audit_log'::regclass) THEN
    month := to_char(expired.ends - interval '1 day', 'YYYYMM');
    EXECUTE format('DROP TABLE IF EXISTS public.%I', 'audit_personal_' || month);
    EXECUTE format('DROP TABLE public.%I', 'audit_log_' || month);
  ELSE
    PERFORM drop_chunks('public.audit_personal', older_than => expired.ends);
    PERFORM drop_chunks('public.audit_log', older_than => expired.ends);
  END IF;
  RETURN true;
END $$;
--> statement-breakpoint
REVOKE ALL ON FUNCTION rialto_drop_audit() FROM PUBLIC;
--> statement-breakpoint
SELECT rialto_rotate_audit();
