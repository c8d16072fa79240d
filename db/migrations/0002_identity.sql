ALTER TABLE "tickets" ADD COLUMN "access_until" timestamp (3) with time zone NOT NULL;--> statement-breakpoint
-- Addresses and names are ASCII. In any other collation than this a prefix search could not use
-- the unique index, and what counts as the same name in other case would depend on the system.
ALTER TABLE "users"
	ALTER COLUMN "email" SET DATA TYPE text COLLATE "C",
	ALTER COLUMN "username" SET DATA TYPE text COLLATE "C";
