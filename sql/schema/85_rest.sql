-- The router of REST v1. An answer of 400 or more is an error of class WW until
-- the last moment, so that whatever was done before it is rolled back.
-- PL/pgSQL on the way of every request, also for what is one expression: it keeps
-- its plans from one transaction to the next, an SQL function does not.

-- The request. The first fields are filled in by _rest_request(), the others by
-- the router, for the handler.
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

CREATE FUNCTION walwarden._rest_request() RETURNS walwarden.rest_request
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_rest_request';

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

-- Node tokens, and those whose role may register nodes: they speak the runner
-- protocol and open nothing of REST v1.
CREATE FUNCTION walwarden._speaks_for_node(token_id uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM walwarden.token AS t
                     LEFT JOIN walwarden.role AS r ON r.name = t.role
                    WHERE t.id = $1 AND (t.kind = 'node' OR r.capabilities @> '{register_nodes}'));
END
$$;

CREATE FUNCTION walwarden._rest_require_scope(scope text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT walwarden.has_scope(scope) THEN
        PERFORM walwarden._rest_fail(403, 'the token does not hold the required scope', jsonb_build_object(
            'requiredScope', scope,
            'nextAction', format('Use a token that was issued with the scope %s; for a private token the owner''s role must carry it too.', scope)));
    END IF;
END
$$;

-- The operation that a request means, once the token may use it: 401, 404, 405,
-- 403, in this order. A literal path goes before one with a parameter.
CREATE FUNCTION walwarden._rest_route(r walwarden.rest_request) RETURNS walwarden.rest_operation
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    op walwarden.rest_operation;
    sent text := CASE WHEN starts_with(r.path, '/api/v1/') THEN substr(r.path, 8) END;
    depth_sent integer := length(sent) - length(replace(sent, '/', ''));
    wanted text := CASE r.method WHEN 'HEAD' THEN 'GET' ELSE r.method END;
BEGIN
    SELECT * INTO op
      FROM walwarden.rest_operation AS o
     WHERE o.depth = depth_sent AND sent LIKE o.template AND sent !~ '//|/$'
     ORDER BY o.parameter IS NOT NULL, o.method <> wanted
     LIMIT 1;
    IF op.stage = 'public' AND op.method = wanted THEN
        RETURN op;
    END IF;
    IF r.credential IS DISTINCT FROM 'good' THEN
        PERFORM walwarden._rest_fail(401, CASE r.credential WHEN 'none' THEN 'a bearer token is required' ELSE 'invalid or inactive token' END,
                                     jsonb_build_object('nextAction', 'Send a valid token: Authorization: Bearer wal_...'));
    ELSIF op.operation IS NULL THEN
        PERFORM walwarden._rest_fail(404, 'no such path');
    ELSIF op.method <> wanted OR wanted IS NULL THEN
        PERFORM walwarden._rest_fail(405, 'the path does not have this method', jsonb_build_object('allow',
            (SELECT string_agg(CASE o.method WHEN 'GET' THEN 'GET, HEAD' ELSE o.method END, ', ' ORDER BY o.method)
               FROM walwarden.rest_operation AS o WHERE o.template = op.template)));
    ELSIF walwarden._speaks_for_node(r.token_id) THEN
        PERFORM walwarden._rest_fail(403, 'a node token opens no operation of this API',
            jsonb_build_object('requiredScope', NULL, 'nextAction', 'Use an API token: kind api, with scopes.'));
    ELSIF op.required_scope IS NOT NULL THEN
        PERFORM walwarden._rest_require_scope(op.required_scope);
    END IF;
    RETURN op;
END
$$;

-- The query of a list: limit and cursor, each once; nothing for what is no list.
CREATE FUNCTION walwarden._rest_query(r walwarden.rest_request, op walwarden.rest_operation) RETURNS walwarden.rest_request
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    pair text;
    name text;
    value text;
    seen text[] := '{}';
    key json;
BEGIN
    r.max_rows := 25;
    -- the chain is listed from its first seq on, everything else from the newest
    r.after_at := 'infinity';
    r.after_id := CASE op.list_field WHEN 'entries' THEN '0' ELSE 'ffffffff-ffff-ffff-ffff-ffffffffffff' END;
    IF r.query IS NULL THEN
        RETURN r;
    END IF;
    FOREACH pair IN ARRAY string_to_array(r.query, '&') LOOP
        name := split_part(pair, '=', 1);
        value := substr(pair, length(name) + 2);
        IF op.list_field IS NULL OR name NOT IN ('limit', 'cursor') THEN
            PERFORM walwarden._rest_fail(400, 'unknown query parameter', jsonb_build_object(
                'field', walwarden._field_name(name), 'reason', 'unknown_parameter',
                'nextAction', CASE WHEN op.list_field IS NULL THEN 'This operation has no query parameters.' ELSE 'Lists have limit and cursor.' END));
        ELSIF name = ANY (seen) THEN
            PERFORM walwarden._rest_fail(400, 'a query parameter was given twice', jsonb_build_object('field', name, 'reason', 'duplicate'));
        ELSIF name = 'limit' THEN
            IF value !~ '^[0-9]{1,3}$' OR value::integer NOT BETWEEN 1 AND 100 THEN
                PERFORM walwarden._rest_fail(400, 'limit is not a number from 1 to 100', jsonb_build_object('field', name, 'reason', 'out_of_range'));
            END IF;
            r.max_rows := value::integer;
        ELSE
            key := walwarden._rest_decode_cursor(value);
            -- the chain is listed by seq, everything else by time and uuid
            IF key IS NULL OR key ->> 0 IS DISTINCT FROM op.operation OR key ->> 1 IS DISTINCT FROM r.id::text
               OR (op.list_field = 'entries') <> (walwarden._rest_uuid(key ->> 3) IS NULL) THEN
                PERFORM walwarden._rest_fail(400, 'the cursor is not one of this list', jsonb_build_object('field', name, 'reason', 'bad_cursor'));
            END IF;
            r.after_at := key ->> 2;
            r.after_id := key ->> 3;
        END IF;
        seen := seen || name;
    END LOOP;
    RETURN r;
END
$$;

-- [operation, id of the path, at, id] of a cursor that _rest_page() made; NULL
-- for what cannot be one.
CREATE FUNCTION walwarden._rest_decode_cursor(cursor text) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    key json;
BEGIN
    IF length(cursor) > 400 OR cursor !~ '^[A-Za-z0-9_-]+$' THEN
        RETURN NULL;
    END IF;
    key := convert_from(decode(translate(cursor, '-_', '+/') || repeat('=', -length(cursor) & 3), 'base64'), 'UTF8')::json;
    IF json_typeof(key) = 'array' AND json_array_length(key) = 4
       AND key ->> 2 ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[.][0-9]{6}Z$'
       AND (walwarden._rest_uuid(key ->> 3) IS NOT NULL OR key ->> 3 ~ '^[0-9]{1,18}$')
       AND isfinite((key ->> 2)::timestamptz) THEN
        RETURN key;
    END IF;
    RETURN NULL;
EXCEPTION WHEN data_exception OR character_not_in_repertoire OR untranslatable_character THEN
    RETURN NULL;
END
$$;

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
    IF r.query IS NOT NULL THEN
        PERFORM walwarden._rest_query(r, op);
    END IF;
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

-- One request. body is NULL where only GET and HEAD are served. The wait for a
-- lock is short: whoever waits holds a connection that other organisations need.
CREATE FUNCTION walwarden._rest_serve(body bytea) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '2s'
AS $$
DECLARE
    r walwarden.rest_request;
    op walwarden.rest_operation;
    answer json;
    status integer;
    replayed boolean := false;
    headers json[] := '{}';
    state text;
    message text;
    detail text;
    context text;
BEGIN
    BEGIN
        r := walwarden._rest_request();
        op := walwarden._rest_route(r);
        r.operation := op.operation;
        IF op.parameter IS NOT NULL THEN
            r.id := walwarden._rest_uuid(split_part(substr(r.path, 8), '/', op.parameter_at));
        END IF;
        IF op.method <> 'GET' AND body IS NULL THEN
            PERFORM walwarden._rest_fail(405, 'this entry point serves GET and HEAD only', '{"allow": "GET, HEAD"}');
        ELSIF op.method = 'GET' THEN
            r := walwarden._rest_query(r, op);
            answer := walwarden._rest_handle(op.handler, r);
        ELSE
            SELECT * INTO answer, replayed FROM walwarden._rest_mutate(op, r, body);
        END IF;
        status := op.success_status;
        IF op.location IS NOT NULL THEN
            headers := headers || json_build_object('Location', walwarden._rest_location(op.location, answer));
        END IF;
        IF replayed THEN
            headers := headers || json_build_object('Idempotency-Replayed', 'true');
        END IF;
    -- query_canceled is statement_timeout, which deserves an answer as well
    EXCEPTION WHEN OTHERS OR query_canceled THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL,
                                context = PG_EXCEPTION_CONTEXT;
        SELECT * INTO status, headers, answer FROM walwarden._rest_error(r, state, message, detail, context);
    END;
    headers := headers || json_build_object('X-Request-Id', r.request_id);
    PERFORM set_config('response.status', status::text, true),
            set_config('response.headers', array_to_json(headers)::text, true);
    RETURN answer;
END
$$;

-- VOLATILE, though it only reads: it sets the status, and PostgREST's query for
-- HEAD does not use its result, so that the planner would leave a STABLE one out.
CREATE FUNCTION walwarden._v1_get() RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_serve(NULL);
END
$$;

CREATE FUNCTION walwarden._v1_post(bytea) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_serve(coalesce($1, ''));
END
$$;

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
