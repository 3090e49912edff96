-- Closing an organisation. It ends what every wing has of it.

CREATE FUNCTION walwarden_internal.close_org(org text, reason text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    was walwarden_internal.org := walwarden_internal.lock_org(c, org, 'org.close', 'any');
    o walwarden_internal.org := was;
    why text := coalesce(reason, 'organisation closed');
    actor jsonb;
    changed boolean;
BEGIN
    c := walwarden_internal.caller();       -- after the wait
    PERFORM walwarden_internal.check_reason(reason);
    IF was.closed_at IS NOT NULL THEN
        RETURN false;
    END IF;
    actor := walwarden_internal.actor('caller', c, o.id);
    PERFORM walwarden_internal.stop_schedules(o.id);
    PERFORM walwarden_internal.end_jobs(actor, o.id, why);
    PERFORM walwarden_internal.end_tokens(actor, o.id, why);
    o.closed_at := clock_timestamp();
    changed := walwarden_internal.update_org(c, 'org.closed', was, o, reason);
    PERFORM walwarden_internal.end_sessions_of(actor, ARRAY(SELECT m.subject FROM walwarden_internal.member AS m WHERE m.org_id = o.id AND m.removed_at IS NULL), 'organisation closed');
    RETURN changed;
END
$$;

CREATE FUNCTION walwarden.close_org(org text, reason text DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.close_org(text, text) IS
'Closes an organisation for good. In one transaction it revokes every token, stops every schedule, and ends every job that is not done: it cancels backups, and restores that have not written to their target; other restores time out. When it commits, it ends the sessions of people who are an active member of no other organisation. From commit on every change in the organisation is refused. Its lists, chain and verification stay available, members can still be erased, and maintenance goes on. Its slugs are never given to another organisation. reason: NULL or 1 to 500 characters. For operators. Returns false, and records nothing, if the organisation is already closed. Errors: 42501 if the caller is not an operator, 42704 if the organisation does not exist, 22023 if the reason is invalid, 55P03 if the organisation or one of its jobs is locked for too long. Example: SELECT walwarden.close_org(''acme'', ''contract ended'');';

INSERT INTO walwarden_internal.audit_kind (kind, chain, meaning) VALUES
    ('org.closed', 'org', 'an organisation was closed for good: every token was revoked, every job ended');
