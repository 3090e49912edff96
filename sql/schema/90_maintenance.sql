-- What time asks for: expiries on record, tokens removed, old answers purged, every
-- chain verified once in walwarden.verify_interval, weakened guards restored.

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
        RAISE WARNING USING
            MESSAGE = format('trigger %s on walwarden.%s was not ENABLE ALWAYS, and is again', g.trigger, g.relation),
            HINT = 'pg_restore --disable-triggers does that. If nobody restored a dump, ask who changed it.';
        EXECUTE format('ALTER TABLE walwarden.%I ENABLE ALWAYS TRIGGER %I', g.relation, g.trigger);
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

-- The orgs in which time decided something about tokens, and which. Every branch
-- finds its index.
CREATE FUNCTION walwarden._tokens_to_end() RETURNS TABLE (org_id uuid, ids uuid[])
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT n.org_id, array_agg(n.id)
      FROM (SELECT t.id FROM walwarden.token AS t
             WHERE t.removed_at IS NULL AND t.revoked_at IS NULL AND t.disabled_at IS NOT NULL
            UNION
            SELECT t.id FROM walwarden.token AS t
             WHERE t.removed_at IS NULL AND t.revoked_at IS NULL AND t.expires_at IS NOT NULL AND t.expires_at <= statement_timestamp()
            UNION
            SELECT t.id FROM walwarden.member AS m JOIN walwarden.token AS t ON t.owner_id = m.id
             WHERE m.removed_at IS NULL AND m.disabled_at IS NOT NULL) AS candidate
      JOIN walwarden._ended_token AS n ON n.id = candidate.id
     WHERE n.overdue OR n.unrecorded
     GROUP BY n.org_id
     ORDER BY n.org_id
$$;

-- All of it; what an org in use does not let through now is left for the next time.
-- Locks are waited for no longer than a second.
CREATE FUNCTION walwarden._maintain() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '1s'
AS $$
DECLARE
    due record;
    changed boolean;
    verify_interval interval := current_setting('walwarden.verify_interval');
BEGIN
    -- one at a time: another one is doing the same work
    BEGIN
        LOCK TABLE walwarden.verification IN SHARE ROW EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN false;
    END;
    changed := walwarden._restore_guards();

    FOR due IN SELECT k.org_id
                 FROM walwarden._chains() AS k
                 LEFT JOIN walwarden.verification AS v ON v.org_id = k.org_id
                WHERE v.org_id IS NULL OR v.finished_at <= clock_timestamp() - verify_interval LOOP
        PERFORM walwarden._store_verification(due.org_id);
        changed := true;
    END LOOP;

    DELETE FROM walwarden.idempotency_key AS k
     WHERE k.created_at <= clock_timestamp() - current_setting('walwarden.idempotency_retention')::interval;
    changed := changed OR FOUND;

    -- last, because from here on organisations are locked
    FOR due IN SELECT * FROM walwarden._tokens_to_end() LOOP
        BEGIN
            PERFORM walwarden._take_org_lock(due.org_id);
            changed := walwarden._end_tokens(due.ids) OR changed;
        EXCEPTION WHEN lock_not_available THEN
            RAISE LOG 'walwarden: maintenance leaves organisation % for later: %', due.org_id, SQLERRM;
        END;
    END LOOP;
    RETURN changed;
END
$$;

CREATE FUNCTION walwarden._run_maintenance() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._require(walwarden._caller(), NULL, 'maintenance.run', 'any');
    RETURN walwarden._maintain();
END
$$;

CREATE FUNCTION walwarden.run_maintenance() RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.run_maintenance() IS
'Does what time asks for, in one transaction: records expiries, removes tokens that ended longer ago than their organisation''s retention, purges answers older than walwarden.idempotency_retention, verifies every chain that was not verified within walwarden.verify_interval and stores the verdict, and makes guards ENABLE ALWAYS again where pg_restore --disable-triggers changed them, with a WARNING. Leaves out organisations whose lock is not to be had within a second. Call it every minute to hour, with pg_cron for example. For operators. Returns whether anything changed; false at once when another one is running. Errors: 42501 no operator. Example: SELECT walwarden.run_maintenance();';
