-- Rows come, change once and go thousands of times a second: room in each page for the change, and
-- a vacuum that counts rows instead of waiting for a fifth of a table that is mostly empty.
ALTER TABLE "queue_jobs" SET (
	fillfactor = 80,
	autovacuum_vacuum_scale_factor = 0,
	autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_insert_scale_factor = 0,
	autovacuum_analyze_scale_factor = 0,
	autovacuum_analyze_threshold = 20000
);
--> statement-breakpoint
ALTER TABLE "queue_workers" SET (fillfactor = 50);
