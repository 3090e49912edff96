-- Responses to mutations, returned again for the same key and deleted when they are old.
-- Keys and requests are stored only as hashes. A key belongs to its holder instead of to a
-- token, so that a client can repeat a request after its token was rotated.
CREATE TABLE walwarden_internal.idempotency_key (
    holder       bytea NOT NULL CHECK (octet_length(holder) = 32),
    key_hash     bytea NOT NULL CHECK (octet_length(key_hash) = 32),
    request_hash bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    body         json,
    created_at   timestamptz NOT NULL,
    PRIMARY KEY (holder, key_hash)
);
CREATE INDEX idempotency_key_by_age ON walwarden_internal.idempotency_key (created_at);
SELECT pg_extension_config_dump('walwarden_internal.idempotency_key', '');
COMMENT ON TABLE walwarden_internal.idempotency_key IS 'Responses of REST v1 to mutations, returned again for the same key within walwarden.idempotency_retention. Keys and requests are stored only as hashes.';
COMMENT ON COLUMN walwarden_internal.idempotency_key.holder IS '32 bytes: SHA-256 of the organisation, owner, kind and key_name of the token, or of the id of the member who signed in';
COMMENT ON COLUMN walwarden_internal.idempotency_key.key_hash IS '32 bytes: SHA-256';
COMMENT ON COLUMN walwarden_internal.idempotency_key.request_hash IS '32 bytes: SHA-256';
COMMENT ON COLUMN walwarden_internal.idempotency_key.body IS 'the stored response; NULL if it had no body';

-- The part of REST v1 that the router (src/rest/router.c) leaves to SQL: bodies, errors,
-- and helpers for the handlers. A response of 400 or above stays an error WW000 until
-- the last moment, so that everything done before it is rolled back.
-- Functions that run for every request are PL/pgSQL, even if they are one expression:
-- PL/pgSQL keeps its plans from one transaction to the next, an SQL function does not.

-- A request: what the client sent, and what the router derived from it.
CREATE TYPE walwarden_internal.rest_request AS (
    method          text,
    path            text,       -- as sent, without the query
    query           text,
    content_type    text,
    idempotency_key text,
    request_id      text,
    credential      text,       -- none, bad or good
    org_id          uuid,       -- of the token, or of the path
    token_id        uuid,       -- of a token; NULL for a person
    operation       text,
    id              uuid,       -- the parameter of the path; NULL if it is not a uuid
    max_rows        integer,    -- per page
    after_at        timestamptz,    -- the page begins after this key, which is never NULL
    after_id        text,
    body            jsonb,
    session_id      uuid,       -- of a person; NULL for a token, and for a person with a JWT
    org             text,       -- this and member_id: of a person, with a path in an organisation
    member_id       uuid,
    filters         jsonb,      -- query parameters of rest_filter
    jwt_expires_at  timestamptz,    -- this and claims_hash: of a person with a JWT
    claims_hash     bytea       -- 32 bytes: SHA-256 of the claims
);
COMMENT ON TYPE walwarden_internal.rest_request IS 'A REST v1 request as handlers receive it. Internal.';

-- An item of a list, with its sort key.
CREATE TYPE walwarden_internal.rest_item AS (
    at   timestamptz,
    id   text,
    item json
);
COMMENT ON TYPE walwarden_internal.rest_item IS 'An item of a REST v1 list, with its sort key. Internal.';

-- A page of items. The caller has fetched one more item than fits on the page. An item that is
-- NULL is the last one and not shown: what comes after its key has not been read yet.
CREATE FUNCTION walwarden_internal.rest_page(r walwarden_internal.rest_request, list_field text, items walwarden_internal.rest_item[]) RETURNS json
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_rest_page';

-- Ends the request with an error response. reason: one of rest_reason, which says the status.
CREATE FUNCTION walwarden_internal.rest_fail(reason text, message text, extra jsonb DEFAULT '{}') RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_rest_fail';

-- Ends the request with 404 for a resource that does not exist, belongs to another
-- organisation, or has an id that is not a uuid. field: the field of the body with the id;
-- NULL if the id is in the path.
CREATE FUNCTION walwarden_internal.rest_missing(field text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.rest_fail('no_such_resource', 'no such resource', CASE WHEN field IS NULL THEN '{}' ELSE jsonb_build_object('field', field) END);
END
$$;

-- Returns item, or ends the request with 404 if it is NULL.
CREATE FUNCTION walwarden_internal.rest_found(item json) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF item IS NULL THEN
        PERFORM walwarden_internal.rest_missing();
    END IF;
    RETURN item;
END
$$;

-- Rejects a body that is not acceptable JSON. Names the field where possible: for a key
-- that occurs twice, and for a number that is not an integer.
CREATE FUNCTION walwarden_internal.rest_refuse_json(body bytea, schema text, error text, error_at integer, duplicate_key text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem jsonb;
BEGIN
    IF duplicate_key IS NOT NULL THEN
        PERFORM walwarden_internal.rest_fail('duplicate_key', 'a key occurs twice in one object', jsonb_build_object(
            'field', walwarden_internal.field_name(duplicate_key), 'position', error_at));
    END IF;
    BEGIN
        problem := walwarden_internal.schema_problem(schema, convert_from(body, 'UTF8')::jsonb, '');
    EXCEPTION WHEN data_exception OR character_not_in_repertoire OR program_limit_exceeded THEN
        NULL;   -- not even JSON
    END;
    IF problem IS NOT NULL THEN
        PERFORM walwarden_internal.rest_fail(problem ->> 'reason', problem ->> 'message', problem - '{reason,message}'::text[]);
    END IF;
    PERFORM walwarden_internal.rest_fail('malformed_json', 'the body is not acceptable JSON: ' || error, jsonb_build_object(
        'field', 'body', 'position', error_at));
END
$$;

-- Ends the request with 403 unless its caller has the scopes that the properties of the body need.
CREATE FUNCTION walwarden_internal.rest_require_body_scopes(method text, request text, body jsonb) RETURNS void
    LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_rest_require_body_scopes';

-- Ends the request with 403 unless its person may do an action on one of its targets at least.
-- The handler checks the target, once it knows which.
CREATE FUNCTION walwarden_internal.rest_require_action(org_id uuid, action text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    target text;
BEGIN
    FOR target IN SELECT p.target FROM walwarden_internal.permission AS p WHERE p.action = $2 ORDER BY p.target LOOP
        IF walwarden_internal.may(c, org_id, action, target) THEN
            RETURN;
        END IF;
    END LOOP;
    PERFORM walwarden_internal.require(c, org_id, action, target);
END
$$;

-- Returns the body as canonical JSON, after checking it against the operation's schema and
-- the token against the scopes that its properties need. No body counts as an empty object.
CREATE FUNCTION walwarden_internal.rest_body(method text, request text, body bytea) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    parsed record;
    problem jsonb;
BEGIN
    IF octet_length(body) > 65536 THEN
        PERFORM walwarden_internal.rest_fail('body_too_large', 'the body is larger than 64 KiB');
    END IF;
    SELECT * INTO parsed FROM walwarden_internal.canonical_json(CASE octet_length(body) WHEN 0 THEN '{}' ELSE body END, true);
    IF parsed.error IS NOT NULL THEN
        PERFORM walwarden_internal.rest_refuse_json(body, request, parsed.error, parsed.error_at, parsed.duplicate_key);
    END IF;
    PERFORM walwarden_internal.rest_require_body_scopes(method, request, parsed.canonical::jsonb);
    problem := walwarden_internal.schema_problem(request, parsed.canonical::jsonb, '');
    IF problem IS NOT NULL THEN
        PERFORM walwarden_internal.rest_fail(problem ->> 'reason', problem ->> 'message', problem - '{reason,message}'::text[]);
    END IF;
    RETURN parsed.canonical;
END
$$;

-- The holder of a token's idempotency keys: tokens that were issued in one organisation, for one
-- owner (or shared), of one kind and under one name have the same.
CREATE FUNCTION walwarden_internal.rest_key_holder(token_id uuid) RETURNS bytea
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- only the last part can contain the separator
    RETURN (SELECT sha256(convert_to(concat_ws(':', t.org_id, coalesce(t.owner_id::text, ''), t.kind, coalesce(t.key_name, t.name)), 'UTF8'))
              FROM walwarden_internal.token AS t WHERE t.id = token_id);
END
$$;

-- The same for a person: their keys belong to a member of one organisation.
CREATE FUNCTION walwarden_internal.rest_member_key_holder(member_id uuid) RETURNS bytea
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN sha256(convert_to('member:' || member_id, 'UTF8'));
END
$$;

-- Stores the response to a mutation under its key. An existing row with this key is too old
-- to count. Under a fixed snapshot it may also be invisible, which causes a serialization
-- failure. Each new key deletes a few old ones.
CREATE FUNCTION walwarden_internal.rest_store_response(holder bytea, key_hash bytea, request_hash bytea, body json, oldest timestamptz) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO walwarden_internal.idempotency_key AS k (holder, key_hash, request_hash, body, created_at)
    VALUES ($1, $2, $3, $4, clock_timestamp())
        ON CONFLICT ON CONSTRAINT idempotency_key_pkey DO UPDATE
       SET request_hash = EXCLUDED.request_hash, body = EXCLUDED.body, created_at = EXCLUDED.created_at
     WHERE k.created_at <= oldest;
    DELETE FROM walwarden_internal.idempotency_key AS k
     USING (SELECT f.holder, f.key_hash FROM walwarden_internal.idempotency_key AS f
             WHERE f.created_at <= oldest ORDER BY f.created_at LIMIT 10 FOR UPDATE SKIP LOCKED) AS old
     WHERE k.holder = old.holder AND k.key_hash = old.key_hash;
END
$$;

-- A query parameter of a list, after its check; NULL if the operation has none of this name.
CREATE FUNCTION walwarden_internal.rest_filter_value(operation text, name text, value text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    schema text := (SELECT f.schema FROM walwarden_internal.rest_filter AS f WHERE f.operation = $1 AND f.name = $2);
    problem jsonb;
BEGIN
    IF schema IS NULL THEN
        RETURN NULL;
    END IF;
    problem := walwarden_internal.schema_problem(schema, to_jsonb(value), name);
    IF problem IS NOT NULL THEN
        PERFORM walwarden_internal.rest_fail(problem ->> 'reason', problem ->> 'message', problem - '{reason,message}'::text[]);
    END IF;
    RETURN value;
END
$$;

-- What every path begins with: /api/v1.
CREATE FUNCTION walwarden_internal.rest_root() RETURNS text
    LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'walwarden_rest_root';

-- The header Location: the root, /orgs/SLUG for a person, and a template, filled from fields of
-- the response.
CREATE FUNCTION walwarden_internal.rest_location(prefix text, template text, answer json) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden_internal.rest_root() || prefix || regexp_replace(template, '[{][^}]*[}]', answer ->> substring(template, '[{]([^}]*)[}]'))
$$;

-- JSON with every character outside of ASCII escaped.
CREATE FUNCTION walwarden_internal.ascii_json(value text) RETURNS text
    LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF value !~ '[^ -~]' THEN
        RETURN value;
    END IF;
    -- not a backslash as a literal, which standard_conforming_strings would decide about;
    -- two for a character beyond U+FFFF
    RETURN (SELECT string_agg(CASE WHEN c.letter ~ '[ -~]' THEN c.letter
                                   WHEN c.code < 65536 THEN chr(92) || 'u' || lpad(to_hex(c.code), 4, '0')
                                   ELSE chr(92) || 'u' || to_hex(55232 + c.code / 1024) || chr(92) || 'u' || to_hex(56320 + c.code % 1024) END, '' ORDER BY c.n)
              FROM (SELECT s.letter, ascii(s.letter) AS code, s.n FROM string_to_table(value, NULL) WITH ORDINALITY AS s(letter, n)) AS c);
END
$$;

-- Turns an error into status, header fields and body. An error that is not of rest_fail() is a
-- condition of the server, or a bug, which is logged; so is a reason that is not declared.
-- refused: it was raised by refuse(), and so has a message for the client.
CREATE FUNCTION walwarden_internal.rest_error_response(
        credential text, request_id text, state text, message text, detail text, context text, refused boolean,
        OUT status integer, OUT headers json[], OUT answer json)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    extra jsonb;
    code text;
    known text;
BEGIN
    IF refused THEN
        SELECT f.reason INTO known FROM walwarden_internal.rest_refusal AS f WHERE f.sqlstate = state;
    END IF;
    IF state = 'WW000' THEN
        extra := detail::jsonb;
    ELSE
        extra := jsonb_build_object('reason', CASE
            WHEN known IS NOT NULL THEN known
            WHEN credential IS NULL AND state = '54000' THEN 'headers_too_large'     -- raised while the header fields were read
            WHEN state = '25006' AND pg_is_in_recovery() THEN 'standby'
            WHEN state = '25006' THEN 'read_only'
            WHEN state IN ('55P03', '40001', '40P01') OR state LIKE '53%' OR state LIKE '57%' THEN 'busy'
            ELSE 'internal_error' END);
    END IF;
    SELECT e.status, e.code INTO status, code
      FROM walwarden_internal.rest_reason AS r
      JOIN walwarden_internal.rest_error AS e ON e.status = r.status
     WHERE r.reason = extra ->> 'reason';
    IF NOT FOUND THEN
        message := format('the reason %s of "%s" is not declared', extra -> 'reason', message);
        extra := '{"reason": "internal_error"}';
        SELECT e.status, e.code INTO STRICT status, code FROM walwarden_internal.rest_error AS e WHERE e.status = 500;
    END IF;
    IF status = 500 OR (state LIKE '53%' AND known IS NULL) THEN    -- such as a full disk, which does not resolve itself
        RAISE LOG 'walwarden: REST request % failed: % (SQLSTATE %)', request_id, message, state USING DETAIL = context;
    END IF;
    -- what the server says stays in its log
    message := CASE extra ->> 'reason'
        WHEN 'headers_too_large' THEN 'the header fields are too large'
        WHEN 'standby' THEN CASE state WHEN 'WW000' THEN message ELSE 'the server is a read-only standby' END
        WHEN 'read_only' THEN 'the transaction is read-only'
        WHEN 'busy' THEN 'the database is busy; try again'
        WHEN 'internal_error' THEN 'internal error'
        ELSE message END;

    headers := CASE status
        WHEN 401 THEN ARRAY[json_build_object('WWW-Authenticate',
            CASE credential WHEN 'none' THEN 'Bearer' ELSE 'Bearer error="invalid_token"' END)]
        WHEN 403 THEN CASE WHEN extra ? 'requiredScope' THEN ARRAY[json_build_object('WWW-Authenticate',
            'Bearer error="insufficient_scope"' || coalesce(', scope="' || (extra ->> 'requiredScope') || '"', ''))] ELSE '{}' END
        WHEN 405 THEN ARRAY[json_build_object('Allow', extra ->> 'allow')]
        WHEN 409 THEN CASE extra ->> 'reason' WHEN 'request_in_progress' THEN ARRAY[json_build_object('Retry-After', '1')] ELSE '{}' END
        WHEN 429 THEN ARRAY[json_build_object('Retry-After', extra ->> 'retryAfter')]
        WHEN 503 THEN ARRAY[json_build_object('Retry-After', '1')]
        ELSE '{}' END::json[];
    -- ASCII on one line, because nginx reads it from a header field
    answer := walwarden_internal.ascii_json(json_build_object('error', jsonb_build_object('code', code, 'message', message, 'requestId', request_id)
                                                                     || (extra - '{allow,retryAfter}'::text[]))::text);
    headers := headers || json_build_object('X-Walwarden-Error', answer::text);
END
$$;

-- Serves a request. VOLATILE although it may only read: it sets the status, and PostgREST's
-- query for HEAD does not use the result, so the planner would drop the call if it were
-- STABLE.
CREATE FUNCTION walwarden_internal.v1_get() RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_rest_serve';

CREATE FUNCTION walwarden_internal.v1_post(bytea) RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_rest_serve';

CREATE FUNCTION walwarden_rest.v1_get() RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_rest.v1_get() IS
'Entry point of REST v1 for GET and HEAD. PostgREST calls it in a read-only transaction; nginx passes method, path and query in header fields. For roles authorised with grant_rest(). Errors: 42501 if the role is not authorised; every other error becomes a JSON response with its own status. Example: SELECT walwarden_rest.v1_get();';

CREATE FUNCTION walwarden_rest.v1_post(bytea) RETURNS json
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_rest.v1_post(bytea) IS
'Entry point of REST v1 for all other methods. The argument is the body, byte for byte. For roles authorised with grant_rest(). Errors: 42501 if the role is not authorised; every other error becomes a JSON response with its own status. Example: SELECT walwarden_rest.v1_post('''');';

CREATE FUNCTION walwarden.pre_request() RETURNS void
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_pre_request';
COMMENT ON FUNCTION walwarden.pre_request() IS
'A db-pre-request function of PostgREST for your own tables. Makes the token of the request the identity of its transaction. The token is in X-Walwarden-Token, where nginx puts the value of Authorization: Bearer wal_..., or in X-WallarmApi-Token. Removes every credential from request.headers for the rest of the transaction. A request without a token stays anonymous. A request with an invalid token, or with two different ones, fails with status 401; one with a token that has reached its rate limit fails with status 429. X-Walwarden-Client, where nginx puts the address of the client, counts as the argument client of authenticate() does. Requests to REST v1 are not affected. Errors: PGRST, which PostgREST turns into status 401 or 429, if the token is invalid or has reached its rate limit, 42501 if the header fields name a client and the session user may not, 22023 if the header fields are not JSON, 54000 if they are longer than 128 KiB. Example: SELECT walwarden.pre_request();';
