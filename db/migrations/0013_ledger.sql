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
	CONSTRAINT "payments_returned" CHECK ("payments"."returned" <= "payments"."amount")
);
--> statement-breakpoint
CREATE TABLE "ledger_account_kinds" (
	"kind" text PRIMARY KEY NOT NULL,
	"description" text NOT NULL,
	"floor" numeric(78, 0)
);
--> statement-breakpoint
CREATE TABLE "ledger_accounts" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "ledger_accounts_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"asset" text NOT NULL,
	"kind" text NOT NULL,
	"owner" uuid,
	"reference" text DEFAULT '' NOT NULL,
	"floor" numeric(78, 0),
	"balance" numeric(78, 0) DEFAULT 0 NOT NULL,
	"held" numeric(78, 0) DEFAULT 0 NOT NULL,
	"last_at" timestamp with time zone DEFAULT '-infinity' NOT NULL,
	"opened_at" timestamp with time zone DEFAULT now() NOT NULL,
	"closed_at" timestamp with time zone,
	CONSTRAINT "ledger_accounts_floor" CHECK ("ledger_accounts"."balance" - "ledger_accounts"."held" >= "ledger_accounts"."floor"),
	CONSTRAINT "ledger_accounts_held" CHECK ("ledger_accounts"."held" >= 0)
);
--> statement-breakpoint
CREATE TABLE "ledger_acts" (
	"id" bigint PRIMARY KEY NOT NULL,
	"key" "bytea" NOT NULL,
	"fingerprint" "bytea" NOT NULL,
	"kind" text NOT NULL,
	"label" text,
	"ref_type" text,
	"ref_id" text,
	"reverses" bigint,
	"actor" text,
	"at" timestamp with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "ledger_assets" (
	"code" text PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"scale" smallint NOT NULL,
	"transferable" boolean NOT NULL,
	CONSTRAINT "ledger_assets_code" CHECK ("ledger_assets"."code" ~ '^[A-Z][A-Z0-9]{1,11}$'),
	CONSTRAINT "ledger_assets_scale" CHECK ("ledger_assets"."scale" between 0 and 18)
);
--> statement-breakpoint
CREATE TABLE "ledger_holds" (
	"id" uuid PRIMARY KEY NOT NULL,
	"account" bigint NOT NULL,
	"amount" numeric(78, 0) NOT NULL,
	"state" text NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	"opened" bigint NOT NULL,
	"resolved" bigint,
	"posted" numeric(78, 0),
	CONSTRAINT "ledger_holds_amount" CHECK ("ledger_holds"."amount" > 0),
	CONSTRAINT "ledger_holds_state" CHECK ("ledger_holds"."state" in ('open', 'posted', 'voided', 'expired'))
);
--> statement-breakpoint
CREATE TABLE "ledger_transfers" (
	"act" bigint NOT NULL,
	"n" smallint NOT NULL,
	"debit" bigint NOT NULL,
	"credit" bigint NOT NULL,
	"amount" numeric(78, 0) NOT NULL,
	"debit_after" numeric(78, 0) NOT NULL,
	"credit_after" numeric(78, 0) NOT NULL,
	"at" timestamp with time zone NOT NULL,
	CONSTRAINT "ledger_transfers_act_n_pk" PRIMARY KEY("act","n"),
	CONSTRAINT "ledger_transfers_amount" CHECK ("ledger_transfers"."amount" > 0),
	CONSTRAINT "ledger_transfers_sides" CHECK ("ledger_transfers"."debit" <> "ledger_transfers"."credit")
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
	CONSTRAINT "payouts_in_file" CHECK (("payouts"."file_id" is not null) =
        ("payouts"."state" in ('processing', 'completed', 'failed')))
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
ALTER TABLE "ledger_accounts" ADD CONSTRAINT "ledger_accounts_asset_ledger_assets_code_fk" FOREIGN KEY ("asset") REFERENCES "public"."ledger_assets"("code") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "ledger_accounts" ADD CONSTRAINT "ledger_accounts_kind_ledger_account_kinds_kind_fk" FOREIGN KEY ("kind") REFERENCES "public"."ledger_account_kinds"("kind") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "approvals_subject" ON "approvals" USING btree ("kind","subject") WHERE "approvals"."state" in ('pending', 'approved');--> statement-breakpoint
CREATE INDEX "approvals_list" ON "approvals" USING btree ("kind","id");--> statement-breakpoint
CREATE INDEX "payment_events_payment" ON "payment_events" USING btree ("provider","payment_id");--> statement-breakpoint
CREATE INDEX "payment_events_body" ON "payment_events" USING btree ("received_at") WHERE "payment_events"."body" is not null;--> statement-breakpoint
CREATE INDEX "payments_trouble" ON "payments" USING btree ("number") WHERE "payments"."trouble" is not null;--> statement-breakpoint
CREATE UNIQUE INDEX "ledger_accounts_identity" ON "ledger_accounts" USING btree (coalesce("owner", '00000000-0000-0000-0000-000000000000'),"kind","asset","reference");--> statement-breakpoint
CREATE INDEX "ledger_accounts_kind" ON "ledger_accounts" USING btree ("kind","asset","id");--> statement-breakpoint
CREATE UNIQUE INDEX "ledger_acts_key" ON "ledger_acts" USING btree ("key");--> statement-breakpoint
CREATE UNIQUE INDEX "ledger_acts_reverses" ON "ledger_acts" USING btree ("reverses") WHERE "ledger_acts"."reverses" is not null;--> statement-breakpoint
CREATE INDEX "ledger_acts_ref" ON "ledger_acts" USING btree ("ref_type","ref_id") WHERE "ledger_acts"."ref_type" is not null;--> statement-breakpoint
CREATE INDEX "ledger_holds_due" ON "ledger_holds" USING btree ("expires_at") WHERE "ledger_holds"."state" = 'open';--> statement-breakpoint
CREATE INDEX "ledger_holds_account" ON "ledger_holds" USING btree ("account") WHERE "ledger_holds"."state" = 'open';--> statement-breakpoint
CREATE INDEX "ledger_holds_opened" ON "ledger_holds" USING btree ("opened");--> statement-breakpoint
CREATE INDEX "ledger_holds_spent" ON "ledger_holds" USING btree ("account","opened");--> statement-breakpoint
CREATE INDEX "ledger_transfers_debit" ON "ledger_transfers" USING btree ("debit","at","act","n");--> statement-breakpoint
CREATE INDEX "ledger_transfers_credit" ON "ledger_transfers" USING btree ("credit","at","act","n");--> statement-breakpoint
CREATE UNIQUE INDEX "payout_files_message" ON "payout_files" USING btree ("message_id");--> statement-breakpoint
CREATE INDEX "payout_files_prepared" ON "payout_files" USING btree ("id") WHERE "payout_files"."state" = 'prepared';--> statement-breakpoint
CREATE INDEX "payouts_user" ON "payouts" USING btree ("user_id","id");--> statement-breakpoint
CREATE INDEX "payouts_state" ON "payouts" USING btree ("state","id");--> statement-breakpoint
CREATE INDEX "payouts_file" ON "payouts" USING btree ("file_id");--> statement-breakpoint
CREATE UNIQUE INDEX "external_statements_account" ON "external_statements" USING btree ("account","at");--> statement-breakpoint
CREATE INDEX "reconciliations_at" ON "reconciliations" USING btree ("at");