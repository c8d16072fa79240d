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
ALTER TABLE "ledger_accounts" ADD CONSTRAINT "ledger_accounts_asset_ledger_assets_code_fk" FOREIGN KEY ("asset") REFERENCES "public"."ledger_assets"("code") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "ledger_accounts" ADD CONSTRAINT "ledger_accounts_kind_ledger_account_kinds_kind_fk" FOREIGN KEY ("kind") REFERENCES "public"."ledger_account_kinds"("kind") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "ledger_accounts_identity" ON "ledger_accounts" USING btree (coalesce("owner", '00000000-0000-0000-0000-000000000000'),"kind","asset","reference");--> statement-breakpoint
CREATE INDEX "ledger_accounts_kind" ON "ledger_accounts" USING btree ("kind","asset","id");--> statement-breakpoint
CREATE UNIQUE INDEX "ledger_acts_key" ON "ledger_acts" USING btree ("key");--> statement-breakpoint
CREATE UNIQUE INDEX "ledger_acts_reverses" ON "ledger_acts" USING btree ("reverses") WHERE "ledger_acts"."reverses" is not null;--> statement-breakpoint
CREATE INDEX "ledger_acts_ref" ON "ledger_acts" USING btree ("ref_type","ref_id") WHERE "ledger_acts"."ref_type" is not null;--> statement-breakpoint
CREATE INDEX "ledger_holds_due" ON "ledger_holds" USING btree ("expires_at") WHERE "ledger_holds"."state" = 'open';--> statement-breakpoint
CREATE INDEX "ledger_holds_account" ON "ledger_holds" USING btree ("account") WHERE "ledger_holds"."state" = 'open';--> statement-breakpoint
CREATE INDEX "ledger_transfers_debit" ON "ledger_transfers" USING btree ("debit","at","act","n");--> statement-breakpoint
CREATE INDEX "ledger_transfers_credit" ON "ledger_transfers" USING btree ("credit","at","act","n");