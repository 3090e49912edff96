-- Listing and appending entries of the audit chain.

-- The chain with a name: the slug of an organisation, or _system for the system chain.
CREATE FUNCTION walwarden_internal.permitted_chain(c walwarden_internal.caller, org text, action text) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF org = '_system' THEN
        PERFORM walwarden_internal.require(c, NULL, action, 'system');
        RETURN walwarden_internal.system_org();
    END IF;
    RETURN (walwarden_internal.permitted_org(c, org, action, 'org')).id;
END
$$;

-- The seq after which a page of a chain begins.
CREATE FUNCTION walwarden_internal.check_after_seq(after_seq bigint) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF after_seq IS NULL OR after_seq < 0 THEN
        PERFORM walwarden_internal.refuse('22023', 'after_seq is missing or negative',
            'Give the last seq of the previous page, or 0 for the first page.');
    END IF;
END
$$;

CREATE FUNCTION walwarden_internal.list_audit(org text, after_seq bigint, max_rows integer) RETURNS SETOF walwarden_internal.audit_entry
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    chain uuid := walwarden_internal.permitted_chain(c, org, 'audit.list');
BEGIN
    IF max_rows < 1 THEN
        PERFORM walwarden_internal.refuse('22023', 'max_rows is less than 1',
            'Give the size of a page, or NULL for all entries.');
    END IF;
    PERFORM walwarden_internal.check_after_seq(after_seq);
    PERFORM walwarden_internal.flush_audit();
    RETURN QUERY
        SELECT e.* FROM walwarden_internal.audit_entry AS e WHERE e.org_id = chain AND e.seq > after_seq ORDER BY e.seq LIMIT max_rows;
END
$$;

CREATE FUNCTION walwarden_internal.append_audit(kind text, payload jsonb, job_id uuid, org text) RETURNS bigint
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_append_audit';

CREATE FUNCTION walwarden.list_audit(org text, after_seq bigint DEFAULT 0, max_rows integer DEFAULT NULL)
    RETURNS TABLE (org_id uuid, seq bigint, at timestamptz, kind text, job_id uuid, body text, prev_hash bytea, hash bytea)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_audit(text, bigint, integer) IS
'Lists the audit entries of an organisation by seq; org _system lists the system chain. Returns all entries after after_seq, or a page of max_rows entries. A condition on a page misses the entries of the other pages. For operators, and for owners and admins of the organisation. Errors: 42501 if the caller lacks permission, 42704 if the organisation does not exist, 22023 if after_seq or max_rows is invalid. Example: SELECT seq, at, body FROM walwarden.list_audit(''acme'') WHERE kind = ''token.revoked'';';

CREATE FUNCTION walwarden.append_audit(kind text, payload jsonb, job_id uuid DEFAULT NULL, org text DEFAULT NULL) RETURNS bigint
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.append_audit(text, jsonb, uuid, text) IS
'Appends an entry of your application to an organisation''s chain; returns its seq. kind: app. and lower-case words separated by dots, at most 100 characters. payload: JSON with integers only, stored under payload.data; an entry has at most 64 KiB. org: NULL for the identity''s organisation. For operators, owners and admins, and for the identity of a token in a role authorised with grant_rest(). Errors: 42501 if the caller lacks permission, 42704 if the organisation does not exist, 22023 if kind or payload is invalid, 55000 if the organisation is closed, 55P03 if the chain is locked for too long, 40001 if another transaction appended to the chain under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.append_audit(''app.invoice.sent'', ''{"invoice":17}'', NULL, ''acme'');';
