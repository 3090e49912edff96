-- From 0.1.0 to 0.2.0.

\echo Use "ALTER EXTENSION walwarden UPDATE TO '0.2.0'" to load this file. \quit

-- Nothing is found outside pg_catalog unless it is qualified: pgcrypto's schema, in
-- which others may have planted something, would be searched too.
SET LOCAL search_path = pg_catalog, pg_temp;

-- What is created belongs to whoever runs this.
DO $$
BEGIN
    IF (SELECT e.extowner FROM pg_extension AS e WHERE e.extname = 'walwarden')
       <> (SELECT r.oid FROM pg_roles AS r WHERE r.rolname = current_user) THEN
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

-- The router of REST v1 is C. Errors: the server's log says why it answers 503.
DROP FUNCTION walwarden._rest_request();
DROP FUNCTION walwarden._rest_route(walwarden.rest_request);
DROP FUNCTION walwarden._rest_query(walwarden.rest_request, walwarden.rest_operation);
DROP FUNCTION walwarden._rest_decode_cursor(text);
DROP FUNCTION walwarden._rest_serve(bytea);
DROP FUNCTION walwarden._speaks_for_node(uuid);

CREATE FUNCTION walwarden._speaks_for_node() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_speaks_for_node';

CREATE FUNCTION walwarden._rest_refuse_query(query text) RETURNS void
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_rest_refuse_query';

-- They are for nobody, whatever the default privileges of this role say.
REVOKE ALL ON FUNCTION walwarden._speaks_for_node(), walwarden._rest_refuse_query(text) FROM PUBLIC;
DO $$
BEGIN
    EXECUTE (SELECT coalesce(string_agg(format('REVOKE ALL ON FUNCTION %s FROM %s;', p.oid::regprocedure, a.grantee::regrole), ' '), 'SELECT')
               FROM pg_proc AS p CROSS JOIN aclexplode(p.proacl) AS a
              WHERE p.oid IN ('walwarden._speaks_for_node()'::regprocedure, 'walwarden._rest_refuse_query(text)'::regprocedure)
                AND a.grantee NOT IN (0, p.proowner));
END
$$;

CREATE OR REPLACE FUNCTION walwarden._rest_require_scope(scope text) RETURNS void
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_rest_require_scope';

CREATE OR REPLACE FUNCTION walwarden._v1_get() RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_rest_serve';

CREATE OR REPLACE FUNCTION walwarden._v1_post(bytea) RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_rest_serve';

CREATE OR REPLACE FUNCTION walwarden._rest_mutate(
        op walwarden.rest_operation, r walwarden.rest_request, body bytea, OUT answer json, OUT replayed boolean)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    canonical text;
    key text;
    key_digest bytea;
    request_digest bytea;
    known walwarden.idempotency_key;
    oldest timestamptz;
BEGIN
    replayed := false;
    IF octet_length(body) > 0 AND r.content_type !~* '^application/json[ ]*(;[ ]*charset="?utf-8"?[ ]*)?$' IS NOT FALSE THEN
        PERFORM walwarden._rest_fail(415, 'the body must be application/json', jsonb_build_object(
            'field', 'Content-Type', 'nextAction', 'Send Content-Type: application/json.'));
    END IF;
    key := walwarden._rest_idempotency_key(r);
    PERFORM walwarden._rest_refuse_query(r.query);
    canonical := walwarden._rest_body(op, body);
    r.body := canonical::jsonb;

    key_digest := sha256(convert_to(key, 'UTF8'));
    request_digest := sha256(convert_to(r.method || ' ' || r.path || E'\n' || canonical, 'UTF8'));
    BEGIN
        PERFORM walwarden._take_request_lock(encode(substr(sha256(uuid_send(r.token_id) || key_digest), 1, 16), 'hex')::uuid);
    EXCEPTION WHEN lock_not_available THEN
        PERFORM walwarden._rest_fail(409, 'a request with this key is still being worked on', jsonb_build_object(
            'reason', 'request_in_progress', 'nextAction', 'Repeat it later with the same key.'));
    END;
    oldest := clock_timestamp() - current_setting('walwarden.idempotency_retention')::interval;
    SELECT * INTO known FROM walwarden.idempotency_key AS k WHERE k.token_id = r.token_id AND k.key_hash = key_digest AND k.created_at > oldest;
    IF FOUND THEN
        IF known.request_hash IS DISTINCT FROM request_digest THEN
            PERFORM walwarden._rest_fail(409, 'the key was used for another request', jsonb_build_object(
                'reason', 'idempotency_key_reused', 'nextAction', 'Send a new key with a new request.'));
        END IF;
        answer := known.body;
        replayed := true;
        RETURN;
    END IF;

    PERFORM walwarden._take_org_lock(r.org_id);
    answer := walwarden._rest_handle(op.handler, r);

    -- A row under this key is too old to count, or, where the snapshot is fixed, not
    -- seen and so a serialization failure. For each new key some old ones go.
    INSERT INTO walwarden.idempotency_key AS k (token_id, key_hash, request_hash, body, created_at)
    VALUES (r.token_id, key_digest, request_digest, answer, clock_timestamp())
        ON CONFLICT ON CONSTRAINT idempotency_key_pkey DO UPDATE
       SET request_hash = EXCLUDED.request_hash, body = EXCLUDED.body, created_at = EXCLUDED.created_at
     WHERE k.created_at <= oldest;
    DELETE FROM walwarden.idempotency_key AS k
     USING (SELECT f.token_id, f.key_hash FROM walwarden.idempotency_key AS f
             WHERE f.created_at <= oldest ORDER BY f.created_at LIMIT 10 FOR UPDATE SKIP LOCKED) AS old
     WHERE k.token_id = old.token_id AND k.key_hash = old.key_hash;
END
$$;

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
    ELSIF r.credential IS NULL AND state = '22023' THEN     -- before anything was made of them
        status := 431;
        message := 'the header fields are too large';
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

CREATE OR REPLACE FUNCTION walwarden._list_nodes(org text)
    RETURNS TABLE (node_id uuid, name text, version text, registered_at timestamptz, token_id uuid, token_state text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    wanted uuid;
BEGIN
    -- a node sees those of its organisation
    IF org = walwarden.current_org() AND walwarden._is_granted(c.role, '{runner}')
       AND walwarden._speaks_for_node() THEN
        wanted := walwarden.current_org_id();
    ELSE
        wanted := (walwarden._org(c, org, 'node.list', 'any')).id;
    END IF;
    RETURN QUERY
        SELECT n.id, n.name, n.version, n.registered_at, n.token_id,
               CASE (s.standing).state WHEN 'unknown' THEN 'removed' ELSE (s.standing).state END
          FROM walwarden.node AS n
         CROSS JOIN LATERAL (SELECT walwarden._token_standing(n.token_id)) AS s(standing)
         WHERE n.org_id = wanted
         ORDER BY n.name;
END
$$;

CREATE OR REPLACE FUNCTION walwarden._require_runner(c walwarden.caller) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT walwarden._is_granted(c.role, '{runner}') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('permission denied for %s', c.door),
            HINT = 'The runner protocol is for roles given walwarden.grant_runner().';
    ELSIF walwarden.current_token_id() IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_authorization_specification',
            MESSAGE = 'the transaction has no identity',
            HINT = 'Call walwarden.authenticate() first, in the same transaction.';
    ELSIF NOT walwarden._speaks_for_node() THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'the token is not a node''s',
            HINT = 'Use a token of kind node, or one with the role deploy; scopes do not open the runner protocol.';
    END IF;
    RETURN walwarden.current_org_id();
END
$$;
