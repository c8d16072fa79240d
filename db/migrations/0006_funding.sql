CREATE TABLE "approvals" (
	"id" uuid PRIMARY KEY NOT NULL,
	"kind" text NOT NULL,
	"subject" text NOT NULL,
	"details" jsonb NOT NULL,
	"state" text DEFAULT 'pending' NOT NULL,
	"requested_by" uuid NOT NULL,
	"requested_at" timestamp (3) with time zone NOT NULL,
	"expires_at" timestamp (3) with time zone NOT NULL,
	"barred" uuid[] NOT NULL,
	"decided_by" uuid,
	"decided_at" timestamp (3) with time zone,
	"note" text,
	CONSTRAINT "approvals_state" CHECK ("approvals"."state" in ('pending', 'approved', 'rejected', 'expired')),
	CONSTRAINT "approvals_decided" CHECK (("approvals"."state" in ('approved', 'rejected')) = ("approvals"."decided_by" is not null)),
	CONSTRAINT "approvals_four_eyes" CHECK ("approvals"."state" <> 'approved' or ("approvals"."decided_by" <> "approvals"."requested_by"
        and "approvals"."decided_by" <> all("approvals"."barred")))
);
--> statement-breakpoint
CREATE TABLE "payment_disputes" (
	"provider" text NOT NULL,
	"dispute_id" text NOT NULL,
	"payment_id" text NOT NULL,
	"amount" numeric(78, 0) NOT NULL,
	"state" text NOT NULL,
	"hold" uuid,
	"updated_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "payment_disputes_provider_dispute_id_pk" PRIMARY KEY("provider","dispute_id"),
	CONSTRAINT "payment_disputes_state" CHECK ("payment_disputes"."state" in ('open', 'won', 'lost'))
);
--> statement-breakpoint
CREATE TABLE "payment_events" (
	"provider" text NOT NULL,
	"event_id" text NOT NULL,
	"type" text NOT NULL,
	"payment_id" text,
	"outcome" text NOT NULL,
	"deliveries" integer DEFAULT 1 NOT NULL,
	"body" "bytea",
	"received_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "payment_events_provider_event_id_pk" PRIMARY KEY("provider","event_id")
);
--> statement-breakpoint
CREATE TABLE "payments" (
	"provider" text NOT NULL,
	"payment_id" text NOT NULL,
	"user_id" uuid,
	"asset" text,
	"amount" numeric(78, 0),
	"refunded" numeric(78, 0) DEFAULT 0 NOT NULL,
	"credited" text DEFAULT 'none' NOT NULL,
	"returned" numeric(78, 0) DEFAULT 0 NOT NULL,
	"trouble" text,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	"number" bigint GENERATED ALWAYS AS IDENTITY (sequence name "payments_number_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	CONSTRAINT "payments_provider_payment_id_pk" PRIMARY KEY("provider","payment_id"),
	CONSTRAINT "payments_number_unique" UNIQUE("number"),
	CONSTRAINT "payments_credited" CHECK ("payments"."credited" in ('none', 'wallet', 'unassigned')),
	CONSTRAINT "payments_amount" CHECK ("payments"."amount" > 0),
	CONSTRAINT "payments_returned" CHECK ("payments"."returned" <= "payments"."refunded")
);
--> statement-breakpoint
CREATE TABLE "payout_destinations" (
	"user_id" uuid NOT NULL,
	"iban" text NOT NULL,
	"first_used_at" timestamp (3) with time zone NOT NULL,
	CONSTRAINT "payout_destinations_user_id_iban_pk" PRIMARY KEY("user_id","iban")
);
--> statement-breakpoint
CREATE TABLE "payout_files" (
	"id" uuid PRIMARY KEY NOT NULL,
	"message_id" text NOT NULL,
	"state" text NOT NULL,
	"count" integer NOT NULL,
	"control_sum" numeric(78, 0) NOT NULL,
	"sha256" "bytea" NOT NULL,
	"content" "bytea" NOT NULL,
	"created_by" uuid NOT NULL,
	"created_at" timestamp (3) with time zone NOT NULL,
	"delivered_at" timestamp (3) with time zone,
	"delivered_as" text,
	CONSTRAINT "payout_files_state" CHECK ("payout_files"."state" in ('prepared', 'delivered'))
);
--> statement-breakpoint
CREATE TABLE "payouts" (
	"id" uuid PRIMARY KEY NOT NULL,
	"user_id" uuid NOT NULL,
	"asset" text NOT NULL,
	"amount" numeric(78, 0) NOT NULL,
	"iban" text NOT NULL,
	"name" text NOT NULL,
	"state" text NOT NULL,
	"reason" text,
	"not_before" timestamp (3) with time zone NOT NULL,
	"requested_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	"file_id" uuid,
	"bank_reference" text,
	CONSTRAINT "payouts_amount" CHECK ("payouts"."amount" > 0),
	CONSTRAINT "payouts_state" CHECK ("payouts"."state" in
        ('requested', 'approved', 'processing', 'completed', 'rejected', 'failed')),
	CONSTRAINT "payouts_in_file" CHECK (("payouts"."state" in ('processing', 'completed', 'failed')) = ("payouts"."file_id" is not null))
);
--> statement-breakpoint
CREATE TABLE "external_statements" (
	"id" uuid PRIMARY KEY NOT NULL,
	"account" bigint NOT NULL,
	"at" timestamp with time zone NOT NULL,
	"balance" numeric(78, 0) NOT NULL,
	"reference" text NOT NULL,
	"entered_by" uuid NOT NULL,
	"entered_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "reconciliations" (
	"id" uuid PRIMARY KEY NOT NULL,
	"at" timestamp (3) with time zone NOT NULL,
	"agrees" boolean NOT NULL,
	"report" jsonb NOT NULL
);
--> statement-breakpoint
CREATE UNIQUE INDEX "approvals_subject" ON "approvals" USING btree ("kind","subject") WHERE "approvals"."state" in ('pending', 'approved');--> statement-breakpoint
CREATE INDEX "approvals_list" ON "approvals" USING btree ("kind","id");--> statement-breakpoint
CREATE INDEX "payment_events_payment" ON "payment_events" USING btree ("provider","payment_id");--> statement-breakpoint
CREATE INDEX "payment_events_body" ON "payment_events" USING btree ("received_at") WHERE "payment_events"."body" is not null;--> statement-breakpoint
CREATE INDEX "payments_trouble" ON "payments" USING btree ("number") WHERE "payments"."trouble" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "payout_files_message" ON "payout_files" USING btree ("message_id");--> statement-breakpoint
CREATE INDEX "payout_files_prepared" ON "payout_files" USING btree ("id") WHERE "payout_files"."state" = 'prepared';--> statement-breakpoint
CREATE INDEX "payouts_user" ON "payouts" USING btree ("user_id","id");--> statement-breakpoint
CREATE INDEX "payouts_state" ON "payouts" USING btree ("state","id");--> statement-breakpoint
CREATE INDEX "payouts_file" ON "payouts" USING btree ("file_id");--> statement-breakpoint
CREATE UNIQUE INDEX "external_statements_account" ON "external_statements" USING btree ("account","at");--> statement-breakpoint
CREATE INDEX "reconciliations_at" ON "reconciliations" USING btree ("at");