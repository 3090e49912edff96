-- Reports of leaked tokens. Everyone who has the plaintext of a token could use it, so they may
-- also end it. Neither the plaintext nor its fingerprint is stored.

-- The fingerprint of a token, or of a legacy credential as uuid:secret; NULL for other texts.
CREATE FUNCTION walwarden_internal.credential_fingerprint(credential text) RETURNS bytea
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_credential_fingerprint';

-- Where a token was found, validated; NULL if that is not said.
CREATE FUNCTION walwarden_internal.check_leak_source(source text, token text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF source IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM walwarden_internal.check_text('source', source, 400);
    -- a legacy secret has no form of its own
    IF walwarden_internal.holds_secret(source) OR strpos(source, substr(token, 38)) > 0 AND length(token) > 37 THEN
        PERFORM walwarden_internal.refuse('22023', 'source contains a secret',
            'Give the place without the secret, for example a repository and a line. It is kept in the audit chain.');
    END IF;
    RETURN source;
END
$$;

-- Revokes the token of a plaintext; false if there is none to revoke. The result and the
-- errors tell nothing else about the token: it is looked up after every check, and no error
-- names its organisation. The plaintext is passed on only in assignments, because the server
-- can log the parameters of queries.
CREATE FUNCTION walwarden_internal.revoke_leaked(token text, source text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reported bytea := walwarden_internal.credential_fingerprint(btrim(token, ' ' || chr(9) || chr(10) || chr(13)));
    c walwarden_internal.caller;
    cred walwarden_internal.credential;
    t walwarden_internal.token;
    actor jsonb;
BEGIN
    IF current_setting('transaction_read_only')::boolean THEN
        PERFORM walwarden_internal.refuse('25006', 'a leaked token cannot be revoked in a read-only transaction',
            'Report it to the primary, in a transaction that is not read-only.');
    END IF;
    SELECT * INTO cred FROM walwarden_internal.credential AS f WHERE f.fingerprint = reported;
    IF NOT FOUND OR cred.stopped = 'revoked' OR cred.valid_until <= clock_timestamp() THEN
        RETURN false;       -- without waiting
    END IF;
    BEGIN
        PERFORM walwarden_internal.acquire_org_lock(cred.org_id);
        c := walwarden_internal.caller();       -- after the wait
        -- a renewed plaintext that has ended never works again
        SELECT f.* INTO t
          FROM walwarden_internal.credential AS n JOIN walwarden_internal.token AS f ON f.id = n.token_id
         WHERE n.fingerprint = reported AND (n.valid_until IS NULL OR n.valid_until > clock_timestamp())
           AND f.removed_at IS NULL
           FOR NO KEY UPDATE OF f;
        IF NOT FOUND THEN
            RETURN false;
        END IF;
        t := walwarden_internal.record_expiry(t);
        actor := CASE WHEN c.operator OR (walwarden_internal.caller_member(c, t.org_id)).id IS NOT NULL
                      THEN walwarden_internal.actor('caller', c, t.org_id)
                      ELSE walwarden_internal.actor('bearer', c, t.org_id, t.id) END;
        RETURN walwarden_internal.revoke(actor, t, concat_ws(': ', 'leaked', source), 'leak');
    EXCEPTION WHEN lock_not_available THEN
        PERFORM walwarden_internal.refuse('55P03', 'could not revoke the token in time',
            'Try again. Another transaction is changing the same organisation.');
    END;
END
$$;

CREATE FUNCTION walwarden_internal.report_leaked_token(token text, source text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    checked text := walwarden_internal.check_leak_source(source, token);
BEGIN
    RETURN walwarden_internal.revoke_leaked(token, checked);
END
$$;

CREATE FUNCTION walwarden.report_leaked_token(token text, source text DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.report_leaked_token(text, text) IS
'Revokes the token whose plaintext was disclosed, for good, for every transaction that starts after this one commits. Everyone who has the plaintext may report it; no other permission is needed. token: the plaintext, or uuid:secret for a legacy credential; blanks and line ends around it do not count. source: where it was found, NULL or 1 to 400 characters without a secret; it is kept in the audit chain. Revokes the token in whatever state it is, also by its previous plaintext while that still works. Returns true if this call revoked the token. Returns false, and records nothing, if the token is unknown, malformed, NULL or already revoked, or if the plaintext was renewed and has ended. Pass the token as a parameter. Errors: 22023 if source is invalid, 25006 in a read-only transaction, 55P03 if the organisation is locked for too long, 40001 if another transaction changed the token or the chain under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.report_leaked_token(''wal_...'', ''github.com/acme/app, config.yaml'');';
