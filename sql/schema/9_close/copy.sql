-- Closing a copy of production.

CREATE FUNCTION walwarden_internal.close_copy(reason text, OUT tokens integer, OUT jobs integer)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    why text := coalesce(reason, 'copy closed');
    org_id uuid;
    actor jsonb;
    schedules bigint := 0;
    sessions integer;
BEGIN
    PERFORM walwarden_internal.require(c, NULL, 'copy.close', 'any');
    PERFORM walwarden_internal.check_reason(reason);
    tokens := 0;
    jobs := 0;
    -- only organisations that have something to end: each takes two locks
    FOR org_id IN SELECT o.id FROM walwarden_internal.org AS o
                   WHERE EXISTS (SELECT FROM walwarden_internal.token AS t WHERE t.org_id = o.id AND t.revoked_at IS NULL AND t.removed_at IS NULL)
                      OR EXISTS (SELECT FROM walwarden_internal.job AS j WHERE j.org_id = o.id AND NOT j.done)
                      OR walwarden_internal.is_schedule_due(o.id, 'infinity')
                   ORDER BY o.id LOOP
        PERFORM walwarden_internal.acquire_org_lock(org_id);
        c := walwarden_internal.caller();       -- who may have lost the right meanwhile
        PERFORM walwarden_internal.require(c, NULL, 'copy.close', 'any');
        actor := walwarden_internal.actor('caller', c, org_id);
        schedules := schedules + walwarden_internal.stop_schedules(org_id);
        jobs := jobs + walwarden_internal.end_jobs(actor, org_id, why);
        tokens := tokens + walwarden_internal.end_tokens(actor, org_id, why);
    END LOOP;
    sessions := walwarden_internal.end_every_session(walwarden_internal.actor('caller', c), 'copy closed');
    IF tokens > 0 OR jobs > 0 OR schedules > 0 OR sessions > 0 THEN
        PERFORM walwarden_internal.append(walwarden_internal.system_org(), 'copy.closed',
            jsonb_build_object('actor', walwarden_internal.actor('caller', c), 'reason', why, 'tokens', tokens, 'jobs', jobs, 'sessions', sessions));
    END IF;
END
$$;

CREATE FUNCTION walwarden.close_copy(reason text DEFAULT NULL, OUT tokens integer, OUT jobs integer)
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.close_copy(text) IS
'Closes a copy of production, restored from a dump or a base backup or created with TEMPLATE, so that it accepts none of the tokens of production and no node claims its jobs. In one transaction it revokes every token for good, stops every schedule until it is set again, ends every session of people, and ends every job that is not done: it cancels backups, and restores that have not written to their target; other restores time out. Each has its entry, and the system chain has copy.closed. Organisations, members, roles and the chains stay. Call it only in the copy, before anybody can reach it: it ends everything in the database of the session, and nothing brings the tokens back. Check with SELECT current_database() first. reason: why, for the entries, NULL or 1 to 500 characters; it does not name the database. Returns the number of tokens and of jobs that it ended; a second call ends none and records nothing. For superusers. Errors: 42501 if the caller is not a superuser, 22023 for an invalid reason. Example: SELECT * FROM walwarden.close_copy(''copy for tests'');';

INSERT INTO walwarden_internal.audit_kind (kind, chain, meaning) VALUES
    ('copy.closed', 'system', 'a superuser closed a copy of production: every token was revoked, every job and every session ended');
