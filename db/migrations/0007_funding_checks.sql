ALTER TABLE "payments" DROP CONSTRAINT "payments_returned";--> statement-breakpoint
ALTER TABLE "payouts" DROP CONSTRAINT "payouts_in_file";--> statement-breakpoint
CREATE INDEX "ledger_holds_opened" ON "ledger_holds" USING btree ("opened");--> statement-breakpoint
CREATE INDEX "ledger_holds_spent" ON "ledger_holds" USING btree ("account","opened");--> statement-breakpoint
ALTER TABLE "payments" ADD CONSTRAINT "payments_returned" CHECK ("payments"."returned" <= "payments"."amount");--> statement-breakpoint
ALTER TABLE "payouts" ADD CONSTRAINT "payouts_in_file" CHECK (("payouts"."file_id" is not null) =
        ("payouts"."state" in ('processing', 'completed', 'failed')));