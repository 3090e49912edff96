-- What time asks for: expiries on record, tokens removed, old answers purged, every
-- chain verified once in walwarden.verify_interval, weakened guards restored. One
-- set of steps, for run_maintenance() and for the worker (src/worker.c).

-- Guards that pg_restore --disable-triggers left enabled as ordinary triggers. One
-- that is missing or altered is not made again: verification reports it.
CREATE FUNCTION walwarden._restore_guards() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off     -- definitions are compared as text
AS $$
DECLARE
    g record;
    restored boolean := false;
BEGIN
    FOR g IN SELECT p.relation, p.trigger
               FROM walwarden._protecting_trigger AS p
               JOIN pg_class AS r ON r.relname = p.relation AND r.relnamespace = 'walwarden'::regnamespace
               JOIN pg_trigger AS t ON t.tgrelid = r.oid AND t.tgname = p.trigger
              WHERE t.tgenabled <> 'A' AND pg_get_triggerdef(t.oid) = p.definition
              ORDER BY p.relation, p.trigger LOOP
        EXECUTE format('ALTER TABLE walwarden.%I ENABLE ALWAYS TRIGGER %I', g.relation, g.trigger);
        RAISE WARNING USING
            MESSAGE = format('trigger %s on walwarden.%s was not ENABLE ALWAYS, and is again', g.trigger, g.relation),
            HINT = 'pg_restore --disable-triggers does that. If nobody restored a dump, ask who changed it.';
        restored := true;
    END LOOP;
    RETURN restored;
END
$$;

-- Verifies one chain and what it says of the present state, and stores the verdict.
CREATE FUNCTION walwarden._store_verification(chain uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO walwarden.verification AS f (org_id, finished_at, entries, head_hash, ok, first_bad_seq, reason)
    SELECT chain, clock_timestamp(), v.entries, v.head_hash, v.reason IS NULL, v.first_bad_seq, v.reason
      FROM walwarden._verify(chain, NULL, NULL) AS v
        ON CONFLICT ON CONSTRAINT verification_pkey DO UPDATE
       SET finished_at = clock_timestamp(), entries = EXCLUDED.entries, head_hash = EXCLUDED.head_hash,
           ok = EXCLUDED.ok, first_bad_seq = EXCLUDED.first_bad_seq, reason = EXCLUDED.reason;
END
$$;

CREATE FUNCTION walwarden._is_verification_due(chain uuid) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NOT EXISTS (SELECT FROM walwarden.verification AS v
                        WHERE v.org_id = chain
                          AND v.finished_at > clock_timestamp() - current_setting('walwarden.verify_interval')::interval)
$$;

-- The orgs in which time decided something about tokens. Every branch finds its
-- index.
CREATE FUNCTION walwarden._orgs_with_ended_tokens() RETURNS SETOF uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT DISTINCT n.org_id
      FROM (SELECT t.id FROM walwarden.token AS t
             WHERE t.removed_at IS NULL AND t.revoked_at IS NULL AND t.disabled_at IS NOT NULL
            UNION
            SELECT t.id FROM walwarden.token AS t
             WHERE t.removed_at IS NULL AND t.revoked_at IS NULL AND t.expires_at IS NOT NULL AND t.expires_at <= statement_timestamp()
            UNION
            SELECT t.id FROM walwarden.member AS m JOIN walwarden.token AS t ON t.owner_id = m.id
             WHERE m.removed_at IS NULL AND m.disabled_at IS NOT NULL
               AND t.removed_at IS NULL AND t.revoked_at IS NULL) AS candidate
      JOIN walwarden._ended_token AS n ON n.id = candidate.id
     WHERE n.overdue OR n.unrecorded
$$;

-- Ends the tokens of an org that are to be ended, at most so many of them; returns
-- how many.
CREATE FUNCTION walwarden._end_tokens_of(org_id uuid, most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[];
BEGIN
    PERFORM walwarden._take_org_lock(org_id);
    ids := ARRAY(SELECT n.id FROM walwarden._ended_token AS n
                  WHERE n.org_id = _end_tokens_of.org_id AND (n.overdue OR n.unrecorded)
                  LIMIT most);
    RETURN CASE WHEN walwarden._end_tokens(ids) THEN cardinality(ids) ELSE 0 END;
END
$$;

-- One maintenance at a time: whether it is the turn of this transaction, which keeps
-- it to its end. Not waited for: who has it is doing the same work.
CREATE FUNCTION walwarden._take_maintenance_turn() RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_take_maintenance_turn';

-- From here to the end of the door, or of the worker's life, no lock is waited for
-- longer than so many milliseconds.
CREATE FUNCTION walwarden._bound_waits(milliseconds integer) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'walwarden_bound_waits';

-- What is to be done now, in this order: run_maintenance() does it in one
-- transaction, the worker each step in a transaction of its own. Those that lock
-- organisations come last.
CREATE FUNCTION walwarden._maintenance_steps() RETURNS TABLE (step text, org_id uuid)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY VALUES ('guards', NULL::uuid);
    RETURN QUERY SELECT 'verification', k.org_id FROM walwarden._chains() AS k WHERE walwarden._is_verification_due(k.org_id);
    RETURN QUERY VALUES ('idempotency keys', NULL::uuid);
    RETURN QUERY SELECT 'tokens', o FROM walwarden._orgs_with_ended_tokens() AS o;
END
$$;

-- One of these steps. more: it did a part of its work and is to be called again.
-- Locks are waited for no longer than a second, and an org in use is left for the
-- next time; so is one in which anything else goes wrong, because it must not keep
-- the others from theirs.
CREATE FUNCTION walwarden._maintenance_step(step text, org_id uuid, OUT changed boolean, OUT more boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch CONSTANT integer := 300;
    ended integer;
BEGIN
    changed := false;
    more := false;
    IF NOT walwarden._take_maintenance_turn() THEN
        RETURN;
    END IF;
    PERFORM walwarden._bound_waits(1000);
    CASE step
        WHEN 'guards' THEN
            changed := walwarden._restore_guards();
        WHEN 'verification' THEN
            PERFORM walwarden._store_verification(org_id);
            changed := true;
        WHEN 'idempotency keys' THEN
            DELETE FROM walwarden.idempotency_key AS k
             USING (SELECT f.token_id, f.key_hash FROM walwarden.idempotency_key AS f
                     WHERE f.created_at <= clock_timestamp() - current_setting('walwarden.idempotency_retention')::interval
                       FOR UPDATE SKIP LOCKED) AS old
             WHERE k.token_id = old.token_id AND k.key_hash = old.key_hash;
            changed := FOUND;
        WHEN 'tokens' THEN
            ended := walwarden._end_tokens_of(org_id, batch);
            changed := ended > 0;
            more := ended = batch;
    END CASE;
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RAISE LOG 'walwarden: maintenance leaves % for later: %', step || coalesce(' of ' || org_id, ''), SQLERRM;
        changed := false;
        more := false;
    WHEN serialization_failure OR read_only_sql_transaction THEN
        RAISE;      -- the whole transaction's
    WHEN OTHERS THEN
        RAISE WARNING 'walwarden: maintenance could not do %: %', step || coalesce(' of ' || org_id, ''), SQLERRM USING ERRCODE = SQLSTATE;
        changed := false;
        more := false;
END
$$;

CREATE FUNCTION walwarden._run_maintenance() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due record;
    did record;
    changed boolean := false;
BEGIN
    PERFORM walwarden._require(walwarden._caller(), NULL, 'maintenance.run', 'any');
    IF NOT walwarden._take_maintenance_turn() THEN
        RETURN false;
    END IF;
    FOR due IN SELECT s.step, s.org_id FROM walwarden._maintenance_steps() AS s LOOP
        LOOP
            did := walwarden._maintenance_step(due.step, due.org_id);
            changed := changed OR did.changed;
            EXIT WHEN NOT did.more;
        END LOOP;
    END LOOP;
    RETURN changed;
END
$$;

CREATE FUNCTION walwarden.run_maintenance() RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.run_maintenance() IS
'Does what time asks for, in one transaction: records expiries, removes tokens that ended longer ago than their organisation''s retention, purges answers older than walwarden.idempotency_retention, verifies every chain that was not verified within walwarden.verify_interval and stores the verdict, and makes guards ENABLE ALWAYS again where pg_restore --disable-triggers changed them, with a WARNING. Leaves out organisations whose lock is not to be had within a second. Without preload call it every minute to hour, with pg_cron for example; with preload the worker does the same by itself. For operators. Returns whether anything changed; false at once when another one is running. Errors: 42501 no operator. Example: SELECT walwarden.run_maintenance();';
