-- Walls against whoever runs statements as the server's role. What it may do at all is in
-- db/rights.ts, and given at every start; here is what rights cannot say.

-- A schema that is not named is searched first when it is the one of temporary tables: whoever made
-- a table called ledger_transfers had the owner write into it, and its triggers ran as the owner.
-- Last in the path, it finds nothing that is not temporary.
ALTER FUNCTION "rialto_rotate_idempotency" SET search_path = pg_catalog, public, pg_temp;--> statement-breakpoint
ALTER FUNCTION "ledger_open_account" SET search_path = pg_catalog, public, pg_temp;--> statement-breakpoint
ALTER FUNCTION "ledger_close_account" SET search_path = pg_catalog, public, pg_temp;--> statement-breakpoint
ALTER FUNCTION "ledger_post_one" SET search_path = pg_catalog, public, pg_temp;--> statement-breakpoint
ALTER FUNCTION "ledger_post" SET search_path = pg_catalog, public, pg_temp;--> statement-breakpoint
-- What day it is was the caller's to say: a week ahead, it dropped answers that are still owed.
ALTER FUNCTION "rialto_rotate_idempotency" SET timezone = 'UTC';--> statement-breakpoint

-- Rows that carry a decision or a fact go one way only. Rights are by column and cannot say it;
-- these are for everybody, the owner too, until somebody drops them.
CREATE FUNCTION rialto_refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE insufficient_privilege USING MESSAGE = TG_TABLE_NAME || ': ' || TG_ARGV[0];
END $$;--> statement-breakpoint
REVOKE ALL ON FUNCTION rialto_refuse_change FROM PUBLIC;--> statement-breakpoint

CREATE TRIGGER "approvals_final" BEFORE UPDATE ON "approvals" FOR EACH ROW
WHEN (OLD.state <> 'pending')
EXECUTE FUNCTION rialto_refuse_change('what is decided stays as it was decided');--> statement-breakpoint

-- The same steps as src/payouts/states.ts; a test compares. Above all none back to approved: the
-- next order would pay a second time.
CREATE TRIGGER "payouts_steps" BEFORE UPDATE ON "payouts" FOR EACH ROW
WHEN (
  (OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (
    ('requested', 'approved'), ('requested', 'rejected'), ('approved', 'processing'),
    ('processing', 'completed'), ('processing', 'failed')))
  OR (OLD.file_id IS NOT NULL AND NEW.file_id IS DISTINCT FROM OLD.file_id)
)
EXECUTE FUNCTION rialto_refuse_change('no such step, or another order');--> statement-breakpoint

CREATE TRIGGER "payment_disputes_final" BEFORE UPDATE ON "payment_disputes" FOR EACH ROW
WHEN (OLD.state <> 'open' AND NEW.state <> OLD.state)
EXECUTE FUNCTION rialto_refuse_change('a dispute is decided once');--> statement-breakpoint

-- Bytes that somebody has signed are kept or removed, never replaced.
CREATE TRIGGER "payment_events_body" BEFORE UPDATE ON "payment_events" FOR EACH ROW
WHEN (NEW.body IS NOT NULL AND NEW.body IS DISTINCT FROM OLD.body)
EXECUTE FUNCTION rialto_refuse_change('what was signed is not replaced');--> statement-breakpoint

-- A payment is told of in any order, so asset, amount and user are not there from the start. Once
-- there, asset and amount stay, and no sum shrinks.
CREATE TRIGGER "payments_told" BEFORE UPDATE ON "payments" FOR EACH ROW
WHEN (
  (OLD.amount IS NOT NULL AND NEW.amount IS DISTINCT FROM OLD.amount)
  OR (OLD.asset IS NOT NULL AND NEW.asset IS DISTINCT FROM OLD.asset)
  OR NEW.refunded < OLD.refunded OR NEW.returned < OLD.returned
  OR (NEW.credited <> OLD.credited
    AND (OLD.credited = 'wallet' OR NEW.credited = 'none'))
)
EXECUTE FUNCTION rialto_refuse_change('what a provider has told stays told');--> statement-breakpoint

-- Whose a payment is changes by what two administrators have agreed to, and not once it is in a
-- wallet. The first to be named comes from the provider.
CREATE FUNCTION payments_keep_user() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
  IF OLD.credited = 'wallet' OR NOT EXISTS (
    SELECT FROM approvals a
    WHERE a.kind = 'funding.assignment' AND a.state = 'approved'
      AND a.subject = NEW.provider || '/' || NEW.payment_id
      AND a.details ->> 'to_user_id' = NEW.user_id::text
  ) THEN
    RAISE insufficient_privilege USING MESSAGE = 'payments: nobody has agreed to another user';
  END IF;
  RETURN NEW;
END $$;--> statement-breakpoint
REVOKE ALL ON FUNCTION payments_keep_user FROM PUBLIC;--> statement-breakpoint
CREATE TRIGGER "payments_user" BEFORE UPDATE ON "payments" FOR EACH ROW
WHEN (OLD.user_id IS NOT NULL AND NEW.user_id IS DISTINCT FROM OLD.user_id)
EXECUTE FUNCTION payments_keep_user();
