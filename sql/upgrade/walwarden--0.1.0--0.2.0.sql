-- From 0.1.0 to 0.2.0.

\echo Use "ALTER EXTENSION walwarden UPDATE TO '0.2.0'" to load this file. \quit

-- What is created belongs to whoever runs this.
DO $$
BEGIN
    IF (SELECT e.extowner FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'walwarden')
       OPERATOR(pg_catalog.<>) (SELECT r.oid FROM pg_catalog.pg_roles AS r WHERE r.rolname OPERATOR(pg_catalog.=) current_user) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'walwarden is updated by its owner',
            HINT = 'SET ROLE to the owner of the extension.';
    END IF;
END
$$;

-- Every relation says what it is.
COMMENT ON TYPE walwarden.caller IS 'Who calls a door. Internal.';
COMMENT ON TABLE walwarden._standing_signal IS 'Never holds a row: its invalidation tells every backend that what it remembers of tokens is old.';
COMMENT ON VIEW walwarden._described IS 'Every row that a chain describes: the chain, the entry that last described it, and its state as entries hash it. Both verifiers compare with it.';
COMMENT ON VIEW walwarden._protecting_trigger IS 'The triggers that append to the chain, refuse changes and signal them, as they have to be. Both verifiers compare the server with it.';
COMMENT ON VIEW walwarden._token_overview IS 'Every token, resolved as authenticate() would; token_list shows a caller''s part of it.';
COMMENT ON VIEW walwarden._ended_token IS 'Tokens that ended and are neither revoked nor removed, and since when; maintenance records and removes them.';
COMMENT ON VIEW walwarden._telling_restore IS 'Restores and drills that say whether their backup can be restored.';
COMMENT ON VIEW walwarden._current_evidence IS 'Evidence of the claim that holds or completed its backup.';
COMMENT ON VIEW walwarden._standing_evidence IS 'Evidence that claims of recovery rest on: verified, still there, and not refuted.';
COMMENT ON VIEW walwarden._shown_destination IS 'Destinations as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_database IS 'Databases as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_backup IS 'Backups as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_restore IS 'Restores and drills as REST v1 shows them.';
COMMENT ON VIEW walwarden._shown_evidence IS 'Evidence as REST v1 shows it.';

-- A full disk: a token is good though its use cannot be noted.
CREATE OR REPLACE FUNCTION walwarden._note_usage(token_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE walwarden.token_usage AS u
       SET last_used_at = clock_timestamp()
     WHERE u.token_id = (SELECT f.token_id FROM walwarden.token_usage AS f
                          WHERE f.token_id = _note_usage.token_id
                            FOR UPDATE SKIP LOCKED);
EXCEPTION
    WHEN disk_full THEN
        NULL;       -- the token is good, and what only reads goes on
END
$$;

-- The server's log says why REST v1 answers 503.
CREATE OR REPLACE FUNCTION walwarden._rest_error(
        r walwarden.rest_request, state text, message text, detail text, context text,
        OUT status integer, OUT headers json[], OUT answer json)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    extra jsonb := '{}';
BEGIN
    IF state ~ '^WW[0-9]{3}$' THEN
        status := substr(state, 3)::integer;
        extra := detail::jsonb;
    ELSIF r.request_id IS NULL AND state = '22023' THEN     -- from _rest_request()
        status := 431;
        message := 'the header fields are too large';
        r.request_id := replace(gen_random_uuid()::text, '-', '');
    ELSIF state IN ('55P03', '40001', '40P01', '25006') OR state LIKE '53%' OR state LIKE '57%' THEN
        IF state LIKE '53%' THEN    -- a full disk, say: it does not pass by itself
            RAISE LOG 'walwarden: REST request % failed: % (SQLSTATE %)', r.request_id, message, state USING DETAIL = context;
        END IF;
        status := 503;
        message := CASE WHEN state = '25006' AND pg_is_in_recovery() THEN 'this is a read-only standby' WHEN state = '25006' THEN 'the transaction is read-only' ELSE 'the database is busy; try again' END;
    ELSE
        RAISE LOG 'walwarden: REST request % failed: % (SQLSTATE %)', r.request_id, message, state USING DETAIL = context;
        status := 500;
        message := 'internal error';
    END IF;

    headers := CASE status
        WHEN 401 THEN ARRAY[json_build_object('WWW-Authenticate',
            CASE r.credential WHEN 'none' THEN 'Bearer' ELSE 'Bearer error="invalid_token"' END)]
        WHEN 403 THEN ARRAY[json_build_object('WWW-Authenticate',
            'Bearer error="insufficient_scope"' || coalesce(', scope="' || (extra ->> 'requiredScope') || '"', ''))]
        WHEN 405 THEN ARRAY[json_build_object('Allow', extra ->> 'allow')]
        WHEN 503 THEN ARRAY[json_build_object('Retry-After', '1')]
        ELSE '{}' END::json[];
    -- ASCII and in one line: nginx takes it from a header field
    SELECT regexp_replace(json_build_object('error', jsonb_build_object('code', e.code, 'message', message, 'requestId', r.request_id)
                                                     || (extra - 'allow'))::text, '[^ -~]', '?', 'g')::json
      INTO STRICT answer
      FROM walwarden.rest_error AS e WHERE e.status = _rest_error.status;
    headers := headers || json_build_object('X-Walwarden-Error', answer::text);
END
$$;
