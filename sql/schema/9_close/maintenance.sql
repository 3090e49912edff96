-- Maintenance: records and announces expiries, removes tokens, purges old responses and sessions, ends leases,
-- queues what schedules and retention ask for, verifies every chain
-- once per walwarden.verify_interval, restores weakened guards, binds server roles in a new
-- cluster, and counts for the monitoring views. run_maintenance() and the worker
-- (src/worker/worker.c) run the same steps.

-- Restores guards that pg_restore --disable-triggers left enabled as ordinary triggers. One of
-- them may have signalled no change meanwhile, so every backend then forgets what it remembers.
-- A missing or altered guard is not recreated; verification reports it. Does not wait for a
-- table that is locked: any role can hold ROW EXCLUSIVE on it, and writers would queue behind
-- the wait.
CREATE FUNCTION walwarden_internal.restore_guards() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off     -- definitions are compared as text
AS $$
DECLARE
    g walwarden_internal.protecting_trigger;
    restored boolean := false;
BEGIN
    -- an array, because the list itself has guards, which cannot be altered while it is read
    FOREACH g IN ARRAY ARRAY(
        SELECT p
          FROM walwarden_internal.protecting_trigger AS p
          JOIN pg_class AS r ON r.relname = p.relation AND r.relnamespace = 'walwarden_internal'::regnamespace
          JOIN pg_trigger AS t ON t.tgrelid = r.oid AND t.tgname = p.trigger
         WHERE t.tgenabled <> 'A' AND pg_get_triggerdef(t.oid) = p.definition
         ORDER BY p.relation, p.trigger)
    LOOP
        BEGIN
            EXECUTE format('LOCK TABLE walwarden_internal.%I IN SHARE ROW EXCLUSIVE MODE NOWAIT', g.relation);
        EXCEPTION WHEN lock_not_available THEN
            RAISE LOG 'walwarden: maintenance restores trigger % in a later run: walwarden_internal.% is locked', g.trigger, g.relation;
            CONTINUE;
        END;
        EXECUTE format('ALTER TABLE walwarden_internal.%I ENABLE ALWAYS TRIGGER %I', g.relation, g.trigger);
        RAISE WARNING USING
            MESSAGE = format('trigger %s on walwarden_internal.%s was not ENABLE ALWAYS and has been restored', g.trigger, g.relation),
            HINT = 'pg_restore --disable-triggers has this effect. If nobody restored a dump, find out who altered the trigger.';
        restored := true;
    END LOOP;
    IF restored THEN
        -- changes nothing but invalidates the relation (src/base/invalidation.c)
        ALTER TABLE walwarden_internal.cache_signal RESET (fillfactor);
    END IF;
    RETURN restored;
END
$$;

-- Those of chains() that have no verdict, or an old one, in the same order. A verdict from the
-- future is from before the clock was set back. OFFSET 0: by key, one by one.
CREATE FUNCTION walwarden_internal.chains_to_verify() RETURNS SETOF uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH now AS MATERIALIZED (
        SELECT clock_timestamp() AS at
    ), without AS (
        SELECT f.org_id
          FROM (SELECT walwarden_internal.system_org()
                UNION ALL
                SELECT * FROM walwarden_internal.chains_with_entries()) AS f(org_id)
         WHERE NOT EXISTS (SELECT FROM walwarden_internal.verification AS v WHERE v.org_id = f.org_id OFFSET 0)
        UNION
        SELECT o.id FROM walwarden_internal.org AS o
         WHERE NOT EXISTS (SELECT FROM walwarden_internal.verification AS v WHERE v.org_id = o.id)
    ), old AS (
        SELECT v.org_id FROM walwarden_internal.verification AS v
         WHERE v.finished_at > (SELECT n.at FROM now AS n)
            OR v.finished_at <= walwarden_internal.later((SELECT n.at FROM now AS n), -walwarden_internal.setting('verify_interval'))
    )
    SELECT due.org_id
      FROM (SELECT w.org_id FROM without AS w
            UNION ALL
            SELECT v.org_id FROM old AS v
             WHERE v.org_id = walwarden_internal.system_org()
                OR EXISTS (SELECT FROM walwarden_internal.audit_entry AS e WHERE e.org_id = v.org_id OFFSET 0)
                OR EXISTS (SELECT FROM walwarden_internal.org AS o WHERE o.id = v.org_id OFFSET 0)) AS due
     ORDER BY due.org_id <> walwarden_internal.system_org(), (SELECT o.slug FROM walwarden_internal.org AS o WHERE o.id = due.org_id), due.org_id
$$;

-- The steps that are due, in order. run_maintenance() runs them in one transaction, the
-- worker runs each in its own transaction. Steps that lock organisations come after those that
-- do not. counting: the steps that count what the others have left. Ask for them afterwards.
-- If nothing is due, what is read grows with the number of organisations and of their databases,
-- not with that of tokens, jobs and entries.
CREATE FUNCTION walwarden_internal.maintenance_steps(counting boolean) RETURNS TABLE (step text, org_id uuid)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off    -- the planner expects more to be due than is: statistics are of an earlier time
    SET jit = off               -- compiling would take longer than running
AS $$
BEGIN
    IF counting THEN
        RETURN QUERY SELECT 'summary', o FROM walwarden_internal.orgs_to_count() AS o;
        RETURN;
    END IF;
    RETURN QUERY VALUES ('guards', NULL::uuid), ('server roles', NULL), ('round', NULL);
    RETURN QUERY SELECT 'verification', c FROM walwarden_internal.chains_to_verify() AS c;
    RETURN QUERY VALUES ('idempotency keys', NULL::uuid), ('sessions', NULL);
    RETURN QUERY SELECT 'tokens', o FROM walwarden_internal.orgs_with_ended_tokens() AS o;
    RETURN QUERY SELECT 'notices', o FROM walwarden_internal.orgs_with_expiring_tokens() AS o;
    RETURN QUERY SELECT 'schedules', o FROM walwarden_internal.orgs_with_due_schedules() AS o;
    RETURN QUERY SELECT 'retention', o FROM walwarden_internal.orgs_with_overdue_backups() AS o;
    RETURN QUERY SELECT 'leases', o FROM walwarden_internal.orgs_with_expired_leases() AS o;
END
$$;

-- Runs one of these steps. more: the step did part of its work and must be called again, with
-- what it returned as failed: tokens on which it has failed in this run. Each wait for a lock
-- is limited to one second. An organisation that is in use is skipped until the next run. So
-- is one whose step fails with another error, because it must not hold up the others.
CREATE FUNCTION walwarden_internal.maintenance_step(step text, org_id uuid, INOUT failed uuid[], OUT changed boolean, OUT more boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    batch CONSTANT integer := 300;
    jobs CONSTANT integer := 50;
    due timestamptz;
    ended integer;
    announced integer;
    queued integer;
BEGIN
    changed := false;
    more := false;
    IF NOT walwarden_internal.try_maintenance_lock() THEN
        RETURN;
    END IF;
    PERFORM walwarden_internal.bound_waits(1000);
    PERFORM walwarden_internal.show_progress('maintenance: ' || step, org_id);
    CASE step
        WHEN 'guards' THEN
            changed := walwarden_internal.restore_guards();
        WHEN 'server roles' THEN
            changed := walwarden_internal.bind_server_roles();
        WHEN 'round' THEN
            PERFORM walwarden_internal.record_round();
        WHEN 'verification' THEN
            PERFORM walwarden_internal.store_verification(org_id);
            changed := true;
        WHEN 'idempotency keys' THEN
            -- a variable, because the planner would expect a third of the keys to be due
            due := walwarden_internal.later(walwarden_internal.removal_limit(), -walwarden_internal.setting('idempotency_retention'));
            DELETE FROM walwarden_internal.idempotency_key AS k
             USING (SELECT f.holder, f.key_hash FROM walwarden_internal.idempotency_key AS f
                     WHERE f.created_at <= due
                       FOR UPDATE SKIP LOCKED) AS old
             WHERE k.holder = old.holder AND k.key_hash = old.key_hash;
            changed := FOUND;
        WHEN 'sessions' THEN
            changed := walwarden_internal.forget_old_sessions();
        WHEN 'tokens' THEN
            SELECT e.failed, e.ended > 0, e.more INTO failed, changed, more
              FROM walwarden_internal.expire_tokens_of(org_id, batch, failed) AS e;
        WHEN 'leases' THEN
            ended := walwarden_internal.end_leases(org_id, batch);
            changed := ended > 0;
            more := ended = batch;
        WHEN 'summary' THEN     -- not a change of what is counted
            PERFORM walwarden_internal.store_summary(org_id);
        WHEN 'notices' THEN
            announced := walwarden_internal.announce_expiries_of(org_id, batch);
            changed := announced > 0;
            more := announced = batch;
        WHEN 'schedules' THEN
            PERFORM walwarden_internal.acquire_org_lock(org_id);
            queued := walwarden_internal.queue_due(org_id, jobs);
            changed := queued > 0;
            more := queued = jobs;
        WHEN 'retention' THEN
            queued := walwarden_internal.queue_expiries(org_id, jobs);
            changed := queued > 0;
            more := queued = jobs;
    END CASE;
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN
        RAISE LOG 'walwarden: maintenance skips % until the next run: %', step || coalesce(' of ' || org_id, ''), SQLERRM;
        changed := false;
        more := false;
    WHEN serialization_failure OR read_only_sql_transaction THEN
        RAISE;      -- this concerns the whole transaction
    WHEN OTHERS THEN
        RAISE WARNING 'walwarden: maintenance failed on %: %', step || coalesce(' of ' || org_id, ''), SQLERRM USING ERRCODE = SQLSTATE;
        changed := false;
        more := false;
END
$$;

CREATE FUNCTION walwarden_internal.run_maintenance() RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    counting boolean;
    due record;
    did record;
    failed uuid[];
    changed boolean := false;
BEGIN
    PERFORM walwarden_internal.require(walwarden_internal.caller(), NULL, 'maintenance.run', 'any');
    IF NOT walwarden_internal.try_maintenance_lock() THEN
        RETURN false;
    END IF;
    FOREACH counting IN ARRAY '{false,true}'::boolean[] LOOP
        FOR due IN SELECT s.step, s.org_id FROM walwarden_internal.maintenance_steps(counting) AS s LOOP
            failed := NULL;
            LOOP
                did := walwarden_internal.maintenance_step(due.step, due.org_id, failed);
                failed := did.failed;
                changed := changed OR did.changed;
                -- the rest of many jobs waits for the next call: a transaction holds the chain
                EXIT WHEN NOT did.more OR due.step IN ('schedules', 'retention');
            END LOOP;
        END LOOP;
    END LOOP;
    RETURN changed;
END
$$;

CREATE FUNCTION walwarden.run_maintenance() RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.run_maintenance() IS
'Runs the maintenance that is due, in one transaction. Records expiries, announces those that are near, removes tokens that ended longer ago than their organisation''s retention, and purges responses older than walwarden.idempotency_retention, expired sign-in codes, and sessions that expired a week ago. If it runs more than 24 hours after the last time, it removes and purges nothing for 24 hours that was not due the last time: the clock may have jumped. Takes jobs whose lease has expired from their node: a job with attempts left is queued again, other jobs fail, and a restore that has begun to write to its target times out. Verifies every chain that was not verified within walwarden.verify_interval, and stores the verdict. Queues the backups and drills that schedules ask for, and the expiry of backups whose retention is over, at most 50 of each in an organisation; no more than 1000 expiries of an organisation wait for a node. Counts tokens and jobs for the views stat_tokens and stat_jobs, which does not count as a change. Restores guards to ENABLE ALWAYS, with a WARNING, if pg_restore --disable-triggers changed them. In a cluster to which the database was restored or upgraded, stores the OIDs that server roles have there. An organisation whose lock cannot be acquired within one second is skipped until the next run. A token that cannot be removed is named in a WARNING and holds up no other. Returns whether anything changed. If two calls overlap, the second returns false at once. Without preload, call it every minute to every hour, for example with pg_cron. With preload, a background worker runs the same steps. For operators. Errors: 42501 if the caller is not an operator. Example: SELECT walwarden.run_maintenance();';
