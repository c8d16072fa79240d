-- What the schema language cannot say: storage, the rows that the product starts with, and the only
-- ways in which the ledger changes. The functions belong to the owner; the server's role may call
-- them and read the tables, no more (db/roles.ts).

-- Balances change in place: room on the page keeps those updates out of the indexes (HOT).
ALTER TABLE "ledger_accounts" SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);--> statement-breakpoint
CREATE SEQUENCE "ledger_act_id";--> statement-breakpoint
INSERT INTO "ledger_assets" ("code", "name", "scale", "transferable") VALUES
  ('EUR', 'Euro', 2, true),
  ('MSAT', 'Millisatoshi', 0, true),
  ('T4G', 'Token for Good', 2, true),
  ('TK', 'TechJam token', 18, false),
  ('TKI', 'TechJam interest', 18, false);--> statement-breakpoint
INSERT INTO "ledger_account_kinds" ("kind", "description", "floor") VALUES
  ('wallet', 'What a user may spend', 0),
  ('pool', 'Capital of a pool', 0),
  ('investment', 'A share in a pool', 0),
  ('escrow', 'Held for two parties until their matter is decided', 0),
  ('fee', 'What the house has earned', 0),
  ('treasury', 'What the house gives away', 0),
  ('external', 'The world outside: a bank, a payment provider, a chain; below zero by what came in', NULL);--> statement-breakpoint

-- Finds or makes an account. How far it may go below zero is the kind's, never the caller's.
CREATE FUNCTION ledger_open_account(p_asset text, p_kind text, p_owner uuid, p_reference text)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
  account bigint;
BEGIN
  LOOP
    SELECT id INTO account FROM ledger_accounts
    WHERE coalesce(owner, '00000000-0000-0000-0000-000000000000')
        = coalesce(p_owner, '00000000-0000-0000-0000-000000000000')
      AND kind = p_kind AND asset = p_asset AND reference = p_reference;
    IF FOUND THEN RETURN account; END IF;
    INSERT INTO ledger_accounts (asset, kind, owner, reference, floor)
    SELECT p_asset, k.kind, p_owner, p_reference, k.floor
    FROM ledger_account_kinds k WHERE k.kind = p_kind
    ON CONFLICT DO NOTHING RETURNING id INTO account;
    IF FOUND THEN RETURN account; END IF;
    IF NOT EXISTS (SELECT FROM ledger_account_kinds k WHERE k.kind = p_kind) THEN
      RAISE foreign_key_violation USING MESSAGE = 'no such kind of account';
    END IF;
  END LOOP;
END $$;--> statement-breakpoint

-- Closes an empty account for good; false when there is something in it or held.
CREATE FUNCTION ledger_close_account(p_account bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  UPDATE ledger_accounts SET closed_at = clock_timestamp()
  WHERE id = p_account AND closed_at IS NULL AND balance = 0 AND held = 0;
  RETURN FOUND;
END $$;--> statement-breakpoint

-- What most calls are: one transfer. The same rules as below, without the arrays, at a third of the
-- cost. Called by `ledger_post` alone.
CREATE FUNCTION ledger_post_one(
  p_accounts bigint[], p_key bytea, p_fingerprint bytea, p_kind text, p_label text,
  p_ref_type text, p_ref_id text, p_actor text, p_debit int, p_amount numeric,
  OUT act_id bigint, OUT outcome text, OUT posted_at timestamptz, OUT balances numeric[],
  OUT helds numeric[]
)
LANGUAGE plpgsql SET search_path = pg_catalog, public SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  low ledger_accounts%ROWTYPE;
  high ledger_accounts%ROWTYPE;
  change numeric := CASE p_debit WHEN 1 THEN p_amount ELSE -p_amount END;
  same boolean;
BEGIN
  SELECT * INTO low FROM ledger_accounts WHERE id = p_accounts[1] FOR NO KEY UPDATE;
  SELECT * INTO high FROM ledger_accounts WHERE id = p_accounts[2] FOR NO KEY UPDATE;
  IF (low.id < high.id) IS NOT TRUE THEN
    RAISE invalid_parameter_value USING MESSAGE = 'accounts are unknown, repeated or not sorted';
  END IF;
  posted_at := greatest(clock_timestamp(), low.last_at, high.last_at);
  SELECT id, fingerprint = p_fingerprint INTO act_id, same FROM ledger_acts WHERE key = p_key;
  IF FOUND THEN
    outcome := CASE WHEN same THEN 'replayed' ELSE 'key_reused' END;
  ELSE
    outcome := CASE
      WHEN p_amount IS NULL OR p_amount <= 0 OR p_amount > 1e60 OR p_amount <> trunc(p_amount)
        THEN 'amount_invalid'
      WHEN low.closed_at IS NOT NULL OR high.closed_at IS NOT NULL THEN 'account_closed'
      WHEN low.asset <> high.asset THEN 'asset_mismatch'
      WHEN p_debit = 1 AND low.balance - low.held - p_amount < low.floor
        OR p_debit = 2 AND high.balance - high.held - p_amount < high.floor
        THEN 'insufficient_funds'
      ELSE 'posted'
    END;
  END IF;
  IF outcome = 'posted' THEN
    act_id := nextval('ledger_act_id');
    low.balance := low.balance - change;
    high.balance := high.balance + change;
    INSERT INTO ledger_acts (id, key, fingerprint, kind, label, ref_type, ref_id, actor, at)
    VALUES (act_id, p_key, p_fingerprint, p_kind, p_label, p_ref_type, p_ref_id, p_actor, posted_at)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN RAISE serialization_failure; END IF;
    INSERT INTO ledger_transfers (act, n, debit, credit, amount, debit_after, credit_after, at)
    VALUES (act_id, 1,
      CASE p_debit WHEN 1 THEN low.id ELSE high.id END,
      CASE p_debit WHEN 1 THEN high.id ELSE low.id END, p_amount,
      CASE p_debit WHEN 1 THEN low.balance ELSE high.balance END,
      CASE p_debit WHEN 1 THEN high.balance ELSE low.balance END, posted_at);
    UPDATE ledger_accounts SET balance = low.balance, last_at = posted_at WHERE id = low.id;
    UPDATE ledger_accounts SET balance = high.balance, last_at = posted_at WHERE id = high.id;
  END IF;
  balances := ARRAY[low.balance, high.balance];
  helds := ARRAY[low.held, high.held];
END $$;--> statement-breakpoint

-- Posts business acts: locks their accounts in order, judges each act in turn (all of it or
-- nothing), and writes the transfers of those that pass together with the balances that they add
-- up to. There is no other statement in the product that changes a balance.
--
-- Acts are parallel arrays; so are entries, which name their act by its place, in growing order.
--   p_accounts  the accounts concerned, distinct, sorted; entries name them by their place
--   p_ops       0 transfer, 1 hold, 2 post a hold, 3 void a hold, 4 expire a hold
--   p_lock_ms   how long to wait for an account that another transaction holds; null: as it comes
-- Answers for each act its id and `posted`, or an earlier act's id and `replayed`, or no id and why
-- not, with the place of the entry that failed; and for each account where it stands now.
CREATE FUNCTION ledger_post(
  p_accounts bigint[],
  p_keys bytea[], p_fingerprints bytea[], p_kinds text[], p_labels text[],
  p_ref_types text[], p_ref_ids text[], p_reverses bigint[], p_actors text[],
  p_acts int[], p_ops int[], p_debits int[], p_credits int[], p_amounts numeric[],
  p_holds uuid[], p_expires timestamptz[], p_lock_ms int,
  OUT act_ids bigint[], OUT outcomes text[], OUT failed int[], OUT posted_at timestamptz,
  OUT balances numeric[], OUT helds numeric[]
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public
SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  acts constant int := cardinality(p_keys);
  entries constant int := cardinality(p_acts);
  places constant int := cardinality(p_accounts);
  ids bigint[];
  assets text[];
  floors numeric[];
  closed boolean[];
  touched boolean[] := array_fill(false, ARRAY[places]);
  numbers int[] := array_fill(NULL::int, ARRAY[entries]);
  debit_after numeric[] := array_fill(NULL::numeric, ARRAY[entries]);
  credit_after numeric[] := array_fill(NULL::numeric, ARRAY[entries]);
  released numeric[] := array_fill(NULL::numeric, ARRAY[entries]);
  latest timestamptz;
  earlier record;
  hold ledger_holds%ROWTYPE;
  e int := 1;
  first int;
  j int;
  d int;
  c int;
  op int;
  n int;
  quantity numeric;
  verdict text;
  reversed bigint[] := '{}';
  posted int := 0;
  written int;
BEGIN
  act_ids := array_fill(NULL::bigint, ARRAY[acts]);
  outcomes := array_fill(NULL::text, ARRAY[acts]);
  failed := array_fill(NULL::int, ARRAY[acts]);
  IF p_lock_ms IS NOT NULL THEN
    PERFORM set_config('lock_timeout', p_lock_ms::text, true);
  END IF;
  IF acts = 1 AND entries = 1 AND places = 2 AND p_acts[1] = 1 AND p_ops[1] = 0
    AND p_reverses[1] IS NULL AND p_debits[1] + p_credits[1] = 3 AND p_debits[1] IN (1, 2) THEN
    SELECT ARRAY[o.act_id], ARRAY[o.outcome], o.posted_at, o.balances, o.helds
    INTO act_ids, outcomes, posted_at, balances, helds
    FROM ledger_post_one(p_accounts, p_keys[1], p_fingerprints[1], p_kinds[1], p_labels[1],
      p_ref_types[1], p_ref_ids[1], p_actors[1], p_debits[1], p_amounts[1]) o;
    IF outcomes[1] NOT IN ('posted', 'replayed', 'key_reused') THEN failed := ARRAY[1]; END IF;
    RETURN;
  END IF;
  SELECT array_agg(a.id), array_agg(a.asset), array_agg(a.balance), array_agg(a.held),
    array_agg(a.floor), array_agg(a.closed_at IS NOT NULL), max(a.last_at)
  INTO ids, assets, balances, helds, floors, closed, latest
  FROM (
    SELECT * FROM ledger_accounts WHERE id = ANY (p_accounts) ORDER BY id FOR NO KEY UPDATE
  ) a;
  -- Places must mean what the caller thinks they mean.
  IF coalesce(ids, '{}') IS DISTINCT FROM p_accounts THEN
    RAISE invalid_parameter_value USING MESSAGE = 'accounts are unknown, repeated or not sorted';
  END IF;
  -- After the locks; never before what is in the accounts already, whatever the clock says.
  posted_at := greatest(clock_timestamp(), latest);

  -- Whoever posted one of these keys before held these very locks: their act is visible by now.
  FOR earlier IN
    SELECT k.place, x.id, x.fingerprint = p_fingerprints[k.place] AS same
    FROM unnest(p_keys) WITH ORDINALITY AS k (key, place) JOIN ledger_acts x ON x.key = k.key
  LOOP
    act_ids[earlier.place] := earlier.id;
    outcomes[earlier.place] := CASE WHEN earlier.same THEN 'replayed' ELSE 'key_reused' END;
  END LOOP;

  FOR a IN 1..acts LOOP
    first := e;
    WHILE e <= entries AND p_acts[e] = a LOOP e := e + 1; END LOOP;
    CONTINUE WHEN outcomes[a] IS NOT NULL;
    verdict := CASE WHEN first = e THEN 'empty' END;
    j := first;
    n := 0;
    IF p_reverses[a] IS NOT NULL AND (p_reverses[a] = ANY (reversed)
      OR EXISTS (SELECT FROM ledger_acts x WHERE x.reverses = p_reverses[a])) THEN
      verdict := 'already_reversed';
    END IF;
    act_ids[a] := nextval('ledger_act_id');

    WHILE verdict IS NULL AND j < e LOOP
      op := p_ops[j];
      d := p_debits[j];
      c := p_credits[j];
      quantity := p_amounts[j];
      IF (op BETWEEN 0 AND 4 AND d BETWEEN 1 AND places
        AND (op NOT IN (0, 2) OR c BETWEEN 1 AND places)) IS NOT TRUE THEN
        RAISE invalid_parameter_value USING MESSAGE = 'an entry of an unknown kind or place';
      END IF;
      IF op >= 2 THEN
        SELECT * INTO hold FROM ledger_holds h WHERE h.id = p_holds[j];
        verdict := CASE
          WHEN NOT FOUND OR hold.account IS DISTINCT FROM ids[d] THEN 'hold_unknown'
          WHEN hold.state <> 'open' THEN 'hold_' || hold.state
          WHEN op = 2 AND hold.expires_at <= posted_at THEN 'hold_expired'
          WHEN op = 2 AND quantity > hold.amount THEN 'exceeds_hold'
          WHEN op = 4 AND hold.expires_at > posted_at THEN 'hold_not_due'
        END;
      END IF;
      IF verdict IS NULL AND op <= 2 THEN
        verdict := CASE
          -- NaN is the greatest of numbers to PostgreSQL; fractions would be rounded apart.
          WHEN quantity IS NULL OR quantity <= 0 OR quantity > 1e60
            OR quantity <> trunc(quantity) THEN 'amount_invalid'
          WHEN closed[d] OR (op <> 1 AND closed[c]) THEN 'account_closed'
          WHEN op <> 1 AND c = d THEN 'same_account'
          WHEN op <> 1 AND assets[c] <> assets[d] THEN 'asset_mismatch'
          WHEN op = 1 AND p_expires[j] <= posted_at THEN 'hold_expired'
          WHEN op <> 2 AND balances[d] - helds[d] - quantity < floors[d] THEN 'insufficient_funds'
        END;
      END IF;
      EXIT WHEN verdict IS NOT NULL;

      touched[d] := true;
      IF op = 1 THEN
        helds[d] := helds[d] + quantity;
        INSERT INTO ledger_holds (id, account, amount, state, expires_at, opened)
        VALUES (p_holds[j], ids[d], quantity, 'open', p_expires[j], act_ids[a])
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
          helds[d] := helds[d] - quantity;
          verdict := 'hold_exists';
          EXIT;
        END IF;
      ELSIF op >= 2 THEN
        helds[d] := helds[d] - hold.amount;
        released[j] := hold.amount;
        UPDATE ledger_holds h SET resolved = act_ids[a],
          state = CASE op WHEN 2 THEN 'posted' WHEN 3 THEN 'voided' ELSE 'expired' END,
          posted = CASE op WHEN 2 THEN quantity END
        WHERE h.id = p_holds[j];
      END IF;
      IF op = 0 OR op = 2 THEN
        touched[c] := true;
        balances[d] := balances[d] - quantity;
        balances[c] := balances[c] + quantity;
        debit_after[j] := balances[d];
        credit_after[j] := balances[c];
        n := n + 1;
        numbers[j] := n;
      END IF;
      j := j + 1;
    END LOOP;

    IF verdict IS NULL THEN
      outcomes[a] := 'posted';
      posted := posted + 1;
      IF p_reverses[a] IS NOT NULL THEN reversed := reversed || p_reverses[a]; END IF;
    ELSE
      outcomes[a] := verdict;
      failed[a] := j - first + 1;
      -- As if it had never been tried, last entry first.
      WHILE j > first LOOP
        j := j - 1;
        op := p_ops[j];
        d := p_debits[j];
        IF op = 0 OR op = 2 THEN
          balances[d] := balances[d] + p_amounts[j];
          balances[p_credits[j]] := balances[p_credits[j]] - p_amounts[j];
          numbers[j] := NULL;
        END IF;
        IF op = 1 THEN
          helds[d] := helds[d] - p_amounts[j];
          DELETE FROM ledger_holds h WHERE h.id = p_holds[j];
        ELSIF op >= 2 THEN
          helds[d] := helds[d] + released[j];
          UPDATE ledger_holds h SET state = 'open', resolved = NULL, posted = NULL
          WHERE h.id = p_holds[j];
        END IF;
      END LOOP;
      act_ids[a] := NULL;
    END IF;
  END LOOP;

  IF posted > 0 THEN
    INSERT INTO ledger_acts (id, key, fingerprint, kind, label, ref_type, ref_id, reverses, actor, at)
    SELECT act_ids[x.place], x.key, p_fingerprints[x.place], p_kinds[x.place], p_labels[x.place],
      p_ref_types[x.place], p_ref_ids[x.place], p_reverses[x.place], p_actors[x.place], posted_at
    FROM unnest(p_keys) WITH ORDINALITY AS x (key, place)
    WHERE outcomes[x.place] = 'posted'
    -- In order, so that two batches with the same keys wait for each other and never in a ring.
    ORDER BY x.key ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS written = ROW_COUNT;
    -- The same key, or a reversal of the same act, was just posted over other accounts: the whole
    -- transaction is tried again, and finds it.
    IF written <> posted THEN RAISE serialization_failure; END IF;

    INSERT INTO ledger_transfers (act, n, debit, credit, amount, debit_after, credit_after, at)
    SELECT act_ids[t.act], t.n, ids[t.debit], ids[t.credit], t.amount, t.debit_after,
      t.credit_after, posted_at
    FROM unnest(p_acts, numbers, p_debits, p_credits, p_amounts, debit_after, credit_after)
      AS t (act, n, debit, credit, amount, debit_after, credit_after)
    WHERE t.n IS NOT NULL;

    UPDATE ledger_accounts a SET balance = x.balance, held = x.held, last_at = posted_at
    FROM unnest(ids, balances, helds, touched) AS x (id, balance, held, touched)
    WHERE a.id = x.id AND x.touched;
  END IF;
END $$;--> statement-breakpoint

-- Minor units as people write them: 1250 with two decimals is 12.50.
CREATE FUNCTION ledger_decimal(p_minor numeric, p_scale smallint) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
  SELECT CASE WHEN p_minor < 0 THEN '-' ELSE '' END || CASE
    WHEN p_scale = 0 THEN abs(p_minor)::text
    ELSE (SELECT left(digits, -p_scale) || '.' || right(digits, p_scale)
      FROM (SELECT lpad(abs(p_minor)::text, greatest(length(abs(p_minor)::text), p_scale + 1), '0')
        AS digits) t)
  END
$$;--> statement-breakpoint
REVOKE ALL ON FUNCTION ledger_open_account FROM PUBLIC;--> statement-breakpoint
REVOKE ALL ON FUNCTION ledger_close_account FROM PUBLIC;--> statement-breakpoint
REVOKE ALL ON FUNCTION ledger_post_one FROM PUBLIC;--> statement-breakpoint
REVOKE ALL ON FUNCTION ledger_post FROM PUBLIC;
