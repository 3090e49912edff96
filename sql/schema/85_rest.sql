-- What the router of REST v1, src/router.c, leaves to SQL: mutations, errors, and
-- what handlers have in common. An answer of 400 or more is an error of class WW
-- until the last moment, so that whatever was done before it is rolled back.
-- PL/pgSQL on the way of every request, also for what is one expression: it keeps
-- its plans from one transaction to the next, an SQL function does not.

-- The request: what it says, and what the router makes of it.
CREATE TYPE walwarden.rest_request AS (
    method          text,
    path            text,       -- as it was sent, without the query
    query           text,
    content_type    text,
    idempotency_key text,
    request_id      text,
    credential      text,       -- none, bad or good
    org_id          uuid,       -- of a good one
    token_id        uuid,
    operation       text,
    id              uuid,       -- the path's parameter; NULL when it is no uuid
    max_rows        integer,    -- of a page
    after_at        timestamptz,    -- where the page begins: after this key, never NULL
    after_id        text,
    body            jsonb
);

-- What a list shows, with the key that its order goes by.
CREATE TYPE walwarden.rest_item AS (
    at   timestamptz,
    id   text,
    item json
);

CREATE FUNCTION walwarden._rest_handle(handler text, r walwarden.rest_request) RETURNS json
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'walwarden_rest_handle';

-- An object of an answer: json_build_object() for literal keys and the types that
-- answers have, with times as the API shows them, and without its costs.
CREATE FUNCTION walwarden._object(VARIADIC "any") RETURNS json
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'walwarden_object';

-- A page of items, of which one more than the page holds was asked for.
CREATE FUNCTION walwarden._rest_page(r walwarden.rest_request, list_field text, items walwarden.rest_item[]) RETURNS json
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_rest_page';

CREATE FUNCTION walwarden._canonical_json(input bytea, OUT canonical text, OUT error text, OUT error_at integer, OUT twice text)
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_canonical_json';

CREATE FUNCTION walwarden._take_request_lock(id uuid) RETURNS void
    LANGUAGE C STRICT AS 'MODULE_PATHNAME', 'walwarden_take_request_lock';

-- Ends the request with an error answer.
CREATE FUNCTION walwarden._rest_fail(status integer, message text, extra jsonb DEFAULT '{}') RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'WW' || status, MESSAGE = message, DETAIL = extra::text;
END
$$;

-- The same for a missing resource, one of another organisation, and no uuid.
-- field: of the body, when it was not the path that named it.
CREATE FUNCTION walwarden._rest_missing(field text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._rest_fail(404, 'no such resource', CASE WHEN field IS NULL THEN '{}' ELSE jsonb_build_object('field', field) END);
END
$$;

-- A resource as it is shown, when there is one.
CREATE FUNCTION walwarden._rest_found(item json) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF item IS NULL THEN
        PERFORM walwarden._rest_missing();
    END IF;
    RETURN item;
END
$$;

CREATE FUNCTION walwarden._rest_uuid(value text) RETURNS uuid
    LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE WHEN value ~* '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' THEN value::uuid END;
END
$$;

-- Whether the identity is a node's, which speaks the runner protocol and opens
-- nothing of REST v1.
CREATE FUNCTION walwarden._speaks_for_node() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_speaks_for_node';

CREATE FUNCTION walwarden._rest_require_scope(scope text) RETURNS void
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_rest_require_scope';

-- Refuses a query, for an operation that has none.
CREATE FUNCTION walwarden._rest_refuse_query(query text) RETURNS void
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_rest_refuse_query';

-- The key without its quotes. 1 to 255 visible ASCII characters.
CREATE FUNCTION walwarden._rest_idempotency_key(r walwarden.rest_request) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key text := r.idempotency_key;
BEGIN
    IF key ~ '^".*"$' AND length(key) >= 2 THEN
        key := substr(key, 2, length(key) - 2);
    END IF;
    IF key IS NULL THEN
        PERFORM walwarden._rest_fail(400, 'the header Idempotency-Key is missing', jsonb_build_object(
            'field', 'Idempotency-Key', 'reason', 'missing',
            'nextAction', 'Send a new random value with each request, and the same one when you repeat it.'));
    ELSIF key !~ '^[!-~]{1,255}$' THEN
        PERFORM walwarden._rest_fail(400, 'the header Idempotency-Key is not 1 to 255 visible ASCII characters', jsonb_build_object(
            'field', 'Idempotency-Key', 'reason', 'malformed'));
    END IF;
    RETURN key;
END
$$;

-- Says why a body is not acceptable, naming the field where that can be done: a
-- key that stands twice, or a number that is no integer.
CREATE FUNCTION walwarden._rest_refuse_json(body bytea, schema json, error text, error_at integer, twice text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem jsonb;
BEGIN
    IF twice IS NOT NULL THEN
        PERFORM walwarden._rest_fail(400, 'a key stands twice in one object', jsonb_build_object(
            'field', walwarden._field_name(twice), 'reason', 'duplicate_key', 'position', error_at));
    END IF;
    BEGIN
        problem := walwarden._schema_problem(schema, convert_from(body, 'UTF8')::jsonb, '');
    EXCEPTION WHEN data_exception OR character_not_in_repertoire OR program_limit_exceeded THEN
        NULL;   -- not even JSON
    END;
    IF problem IS NOT NULL THEN
        PERFORM walwarden._rest_fail(400, problem ->> 'message', problem - 'message');
    END IF;
    PERFORM walwarden._rest_fail(400, 'the body is not acceptable JSON: ' || error, jsonb_build_object(
        'field', 'body', 'reason', 'malformed_json', 'position', error_at));
END
$$;

-- The body as canonical JSON that meets the operation's schema, and the scopes
-- that its properties need. No body at all is an empty object.
CREATE FUNCTION walwarden._rest_body(op walwarden.rest_operation, body bytea) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parsed record;
    schema json;
    problem jsonb;
BEGIN
    IF octet_length(body) > 65536 THEN
        PERFORM walwarden._rest_fail(413, 'the body has more than 64 KiB');
    END IF;
    SELECT * INTO parsed FROM walwarden._canonical_json(CASE octet_length(body) WHEN 0 THEN '{}' ELSE body END);
    schema := walwarden._schema(op.request);
    IF parsed.error IS NOT NULL THEN
        PERFORM walwarden._rest_refuse_json(body, schema, parsed.error, parsed.error_at, parsed.twice);
    END IF;
    -- null sets nothing in what is new, and clears in what there is
    PERFORM walwarden._rest_require_scope(p.value ->> 'x-required-scope')
       FROM json_each(schema -> 'properties') AS p
      WHERE p.value ->> 'x-required-scope' IS NOT NULL
        AND CASE op.method WHEN 'POST' THEN parsed.canonical::jsonb ->> p.key IS NOT NULL ELSE parsed.canonical::jsonb ? p.key END;
    problem := walwarden._schema_problem(schema, parsed.canonical::jsonb, '');
    IF problem IS NOT NULL THEN
        PERFORM walwarden._rest_fail(400, problem ->> 'message', problem - 'message');
    END IF;
    RETURN parsed.canonical;
END
$$;

-- Everything of a mutation: 415, key 400, body 400 (413), replay or 409, then
-- the handler. Key, effect and audit entry commit together.
CREATE FUNCTION walwarden._rest_mutate(
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

-- /api/v1 and a location template filled from the fields of an answer.
CREATE FUNCTION walwarden._rest_location(template text, answer json) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '/api/v1' || regexp_replace(template, '[{][^}]*[}]', answer ->> substring(template, '[{]([^}]*)[}]'))
$$;

-- The error that was raised, as status, header fields and body. What is not of
-- class WW is a state of the server, or a fault of ours that the log explains.
CREATE FUNCTION walwarden._rest_error(
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

-- The request. VOLATILE, though it may only read: it sets the status, and
-- PostgREST's query for HEAD does not use its result, so that the planner would leave
-- a STABLE one out.
CREATE FUNCTION walwarden._v1_get() RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_rest_serve';

CREATE FUNCTION walwarden._v1_post(bytea) RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_rest_serve';

CREATE FUNCTION walwarden_rest.v1_get() RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_rest.v1_get() IS
'Entry point of REST v1 for GET and HEAD, called by PostgREST in a read-only transaction; nginx puts method, path and query into header fields. For roles given grant_rest. Errors: 42501 no such role; else none, every answer is JSON with a status of its own. Example: SELECT walwarden_rest.v1_get();';

CREATE FUNCTION walwarden_rest.v1_post(bytea) RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_rest.v1_post(bytea) IS
'Entry point of REST v1 for every other method; the argument is the body, byte by byte. For roles given grant_rest. Errors: 42501 no such role; else none, every answer is JSON with a status of its own. Example: SELECT walwarden_rest.v1_post('''');';

CREATE FUNCTION walwarden.pre_request() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_pre_request';
COMMENT ON FUNCTION walwarden.pre_request() IS
'PostgREST''s db-pre-request, for tables of your own: makes the token of the request (X-Walwarden-Token, to which nginx moves Authorization: Bearer wal_..., or X-WallarmApi-Token) the identity of its transaction. Without one the request stays anonymous; a bad one, or two different ones, end it with 401. Leaves REST v1 alone. Errors: PGRST, answered as 401, 22023 header fields that are no JSON. Example: SELECT walwarden.pre_request();';
