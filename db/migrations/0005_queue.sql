CREATE TABLE "dead_letters" (
	"id" uuid PRIMARY KEY NOT NULL,
	"queue" text NOT NULL,
	"key" text,
	"payload" "bytea" NOT NULL,
	"attempts" integer NOT NULL,
	"error" text NOT NULL,
	"worker_id" uuid NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"died_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "job_periods" (
	"job" text NOT NULL,
	"period" timestamp (3) with time zone NOT NULL,
	"state" text NOT NULL,
	"inserted_at" timestamp (3) with time zone NOT NULL,
	"done_at" timestamp (3) with time zone,
	CONSTRAINT "job_periods_job_period_pk" PRIMARY KEY("job","period")
);
--> statement-breakpoint
CREATE TABLE "queue_workers" (
	"id" uuid PRIMARY KEY NOT NULL,
	"alive_until" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
DROP INDEX "queue_jobs_due";--> statement-breakpoint
DROP INDEX "queue_jobs_key";--> statement-breakpoint
ALTER TABLE "queue_jobs" ADD COLUMN "lease_id" uuid;--> statement-breakpoint
ALTER TABLE "queue_jobs" ADD COLUMN "error" text;--> statement-breakpoint
CREATE INDEX "dead_letters_died" ON "dead_letters" USING btree ("died_at","id");--> statement-breakpoint
CREATE INDEX "dead_letters_queue" ON "dead_letters" USING btree ("queue","died_at","id");--> statement-breakpoint
CREATE INDEX "queue_jobs_leased" ON "queue_jobs" USING btree ("lease_id") WHERE "queue_jobs"."lease_id" is not null;--> statement-breakpoint
CREATE INDEX "queue_jobs_due" ON "queue_jobs" USING btree ("queue","due_at","id") WHERE "queue_jobs"."lease_id" is null;--> statement-breakpoint
CREATE UNIQUE INDEX "queue_jobs_key" ON "queue_jobs" USING btree ("queue","key") WHERE "queue_jobs"."key" is not null and "queue_jobs"."lease_id" is null;