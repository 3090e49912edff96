-- The OpenAPI 3.1 document, generated from rest_operation, json_schema, rest_error and
-- scope.

-- An example value for a schema, built from the examples of its properties.
CREATE FUNCTION walwarden_internal.schema_example(schema json) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kind text := CASE json_typeof(schema -> 'type') WHEN 'array' THEN schema #>> '{type,0}' ELSE schema ->> 'type' END;
BEGIN
    IF schema #> '{examples,0}' IS NOT NULL THEN
        RETURN schema #> '{examples,0}';
    ELSIF schema ->> '$ref' IS NOT NULL THEN
        RETURN walwarden_internal.schema_example(walwarden_internal.schema(schema ->> '$ref'));
    ELSIF kind = 'object' THEN
        RETURN coalesce((SELECT json_object_agg(p.key, walwarden_internal.schema_example(p.value)) FROM json_each(schema -> 'properties') AS p), '{}');
    ELSIF kind = 'array' THEN
        RETURN json_build_array(walwarden_internal.schema_example(schema -> 'items'));
    ELSIF kind IN ('integer', 'boolean') THEN
        RETURN CASE kind WHEN 'integer' THEN coalesce(schema -> 'minimum', '0') ELSE 'false' END;
    END IF;
    RETURN to_json(CASE schema ->> 'format'
        WHEN 'uuid' THEN '0b6f5a3e-8c1d-4e2f-9a7b-3c4d5e6f7081'
        WHEN 'date-time' THEN '2026-11-21T17:33:20.123456Z'
        ELSE 'text' END);
END
$$;

-- A JSON object of the members that are not null, in this order.
CREATE FUNCTION walwarden_internal.json_object_without_nulls(keys text[], items json[]) RETURNS json
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_object_agg(m.key, m.item ORDER BY m.n)
      FROM unnest(keys, items) WITH ORDINALITY AS m(key, item, n)
     WHERE m.item IS NOT NULL
$$;

CREATE FUNCTION walwarden_internal.schema_ref(name text) RETURNS json
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object('$ref', '#/components/schemas/' || name)
$$;

CREATE FUNCTION walwarden_internal.header_ref(name text) RETURNS json
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object('$ref', '#/components/headers/' || name)
$$;

-- The schema of a successful response: op.response itself, or a page of it.
CREATE FUNCTION walwarden_internal.response_schema(op walwarden_internal.rest_operation) RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN op.list_field IS NULL THEN walwarden_internal.schema_ref(op.response)
                ELSE json_build_object(
                    'type', 'object', 'additionalProperties', false,
                    'required', json_build_array(op.list_field, 'pageInfo'),
                    'properties', json_build_object(
                        op.list_field, json_build_object('type', 'array', 'items', walwarden_internal.schema_ref(op.response)),
                        'pageInfo', walwarden_internal.schema_ref('PageInfo'))) END
$$;

-- The error statuses that an operation can return. Limits of the proxy and internal
-- errors apply to all operations.
CREATE FUNCTION walwarden_internal.operation_errors(op walwarden_internal.rest_operation) RETURNS SETOF walwarden_internal.rest_error
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.*
      FROM walwarden_internal.rest_error AS e
     WHERE e.status IN (400, 405, 414, 429, 431, 500, 503)
        OR (e.status IN (401, 403, 404) AND op.caller = 'token')
        OR (e.status IN (413, 415) AND op.request IS NOT NULL)
        OR (e.status = 409 AND op.request IS NOT NULL AND op.caller = 'token')
     ORDER BY e.status
$$;

CREATE FUNCTION walwarden_internal.openapi_operation(op walwarden_internal.rest_operation) RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH parameter(n, item) AS (
        SELECT 1, json_build_object('name', op.parameter, 'in', 'path', 'required', true,
                                    'schema', json_build_object('type', 'string', 'format', 'uuid'))
         WHERE op.parameter IS NOT NULL
        UNION ALL
        SELECT 2, json_build_object('$ref', '#/components/parameters/' || p)
          FROM unnest(CASE WHEN op.list_field IS NOT NULL THEN '{Limit,Cursor}'::text[]
                           WHEN op.request IS NOT NULL AND op.caller = 'token' THEN '{IdempotencyKey}' END) AS p
    ), request AS (
        SELECT walwarden_internal.schema(op.request) AS schema WHERE op.request <> 'Nothing'
    ), answer AS (
        SELECT walwarden_internal.json_object_without_nulls(
            '{description,headers,content}',
            ARRAY[to_json(op.summary),
                  walwarden_internal.json_object_without_nulls(
                      '{X-Request-Id,RateLimit,Location,Idempotency-Replayed}',
                      ARRAY[walwarden_internal.header_ref('X-Request-Id'),
                            CASE WHEN op.stage <> 'public' THEN walwarden_internal.header_ref('RateLimit') END,
                            CASE WHEN op.location IS NOT NULL THEN json_build_object(
                                'description', walwarden_internal.rest_root() || op.location, 'schema', json_build_object('type', 'string')) END,
                            CASE WHEN op.request IS NOT NULL AND op.caller = 'token' THEN walwarden_internal.header_ref('Idempotency-Replayed') END]),
                  CASE WHEN op.response IS NOT NULL THEN json_build_object('application/json', json_build_object(
                      'schema', walwarden_internal.response_schema(op),
                      'example', walwarden_internal.schema_example(walwarden_internal.response_schema(op)))) END]) AS item
    )
    SELECT walwarden_internal.json_object_without_nulls(
        '{operationId,summary,tags,x-stage,x-required-scope,security,parameters,requestBody,responses}',
        ARRAY[to_json(op.operation), to_json(op.summary), json_build_array(split_part(split_part(op.path, '/', 2), '.', 1)), to_json(op.stage),
              to_json(op.required_scope),
              CASE op.caller WHEN 'anyone' THEN '[]'::json ELSE '[{"bearer": []}, {"header": []}]'::json END,
              (SELECT json_agg(p.item ORDER BY p.n) FROM parameter AS p),
              (SELECT json_build_object(
                          'required', q.schema -> 'required' IS NOT NULL OR q.schema -> 'minProperties' IS NOT NULL,
                          'content', json_build_object('application/json', json_build_object(
                              'schema', walwarden_internal.schema_ref(op.request), 'example', walwarden_internal.schema_example(q.schema))))
                 FROM request AS q),
              (SELECT json_object_agg(a.status, a.item ORDER BY a.status)
                 FROM (SELECT op.success_status, n.item FROM answer AS n
                       UNION ALL
                       SELECT e.status, json_build_object('$ref', '#/components/responses/' || e.code)
                         FROM walwarden_internal.operation_errors(op) AS e) AS a(status, item))])
$$;

CREATE FUNCTION walwarden_internal.openapi() RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH path AS (
        SELECT o.path, min(CASE WHEN o.caller = 'anyone' THEN 3 WHEN o.stage = 'beta' THEN 2 ELSE 1 END) AS place,
               json_object_agg(lower(o.method), walwarden_internal.openapi_operation(o)
                               ORDER BY array_position('{GET,POST,PATCH,DELETE}', o.method)) AS item
          FROM walwarden_internal.rest_operation AS o
         GROUP BY o.path
    )
    SELECT json_build_object(
        'openapi', '3.1.0',
        'info', json_build_object(
            'title', 'walwarden REST API', 'version', 'v1',
            'summary', 'Protected databases, backups, evidence, restores and recovery.',
            'description', 'HEAD is served wherever GET is. Responses may gain fields; ignore fields that you do not know.',
            'license', json_build_object('name', 'PostgreSQL', 'identifier', 'PostgreSQL')),
        'servers', json_build_array(json_build_object('url', walwarden_internal.rest_root())),
        'security', '[{"bearer": []}, {"header": []}]'::json,
        'tags', (SELECT json_agg(json_build_object('name', t.name) ORDER BY t.name)
                   FROM (SELECT DISTINCT split_part(split_part(o.path, '/', 2), '.', 1) AS name FROM walwarden_internal.rest_operation AS o) AS t),
        'paths', (SELECT json_object_agg(p.path, p.item ORDER BY p.place, p.path) FROM path AS p),
        'components', json_build_object(
            'headers', json_build_object(
                'X-Request-Id', '{"description": "Identifies the request in the logs.", "schema": {"type": "string"}}'::json,
                'RateLimit', json_build_object('description', 'For a token with a rate limit: how many uses remain (r), and for how many seconds (t).',
                                               'schema', json_build_object('type', 'string', 'examples', json_build_array('"token";r=41;t=17'))),
                'Idempotency-Replayed', '{"description": "true if the response repeats the response to an earlier request with the same key.", "schema": {"type": "string", "const": "true"}}'::json,
                'WWW-Authenticate', '{"description": "Bearer, with error and scope where they apply.", "schema": {"type": "string"}}'::json,
                'Allow', '{"description": "The methods that the path supports.", "schema": {"type": "string"}}'::json,
                'Retry-After', '{"description": "How many seconds to wait before the next attempt.", "schema": {"type": "integer"}}'::json),
            'securitySchemes', json_build_object(
                'header', '{"type": "apiKey", "in": "header", "name": "X-WallarmApi-Token", "description": "The same token in its own header field."}'::json,
                'bearer', json_build_object(
                'type', 'http', 'scheme', 'bearer',
                'description', 'A walwarden token. The scopes are: '
                    || (SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM walwarden_internal.scope AS s WHERE s.builtin) || '.')),
            'parameters', json_build_object(
                'Limit', '{"name": "limit", "in": "query", "description": "Number of items per page.", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 25}}'::json,
                'Cursor', '{"name": "cursor", "in": "query", "description": "pageInfo.nextCursor of the previous page.", "schema": {"type": "string"}}'::json,
                'IdempotencyKey', '{"name": "Idempotency-Key", "in": "header", "required": true, "description": "A new random value for each request. If a request is repeated with the same value within 24 hours, the stored response is returned with Idempotency-Replayed: true.", "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}}'::json),
            'responses', (SELECT json_object_agg(e.code, json_build_object(
                                     'description', e.meaning,
                                     'headers', walwarden_internal.json_object_without_nulls(
                                         '{X-Request-Id,RateLimit,WWW-Authenticate,Allow,Retry-After}',
                                         ARRAY[walwarden_internal.header_ref('X-Request-Id'),
                                               CASE WHEN e.status IN (400, 403, 404, 405, 409, 415, 429) THEN walwarden_internal.header_ref('RateLimit') END,
                                               CASE WHEN e.status IN (401, 403) THEN walwarden_internal.header_ref('WWW-Authenticate') END,
                                               CASE WHEN e.status = 405 THEN walwarden_internal.header_ref('Allow') END,
                                               CASE WHEN e.status IN (409, 429, 503) THEN walwarden_internal.header_ref('Retry-After') END]),
                                     'content', json_build_object('application/json', json_build_object('schema', walwarden_internal.schema_ref('Error'))))
                                     ORDER BY e.status)
                            FROM walwarden_internal.rest_error AS e),
            'schemas', (SELECT json_object_agg(s.name, s.schema ORDER BY s.name) FROM walwarden_internal.json_schema AS s WHERE s.name NOT IN ('JobReport', 'EvidenceReport', 'Nothing'))))
$$;

-- Built at install time, because the tables it is generated from cannot change afterwards.
DO $$
BEGIN
    EXECUTE format('CREATE FUNCTION walwarden_internal.rest_get_open_api(r walwarden_internal.rest_request) RETURNS json '
                   'LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS %L', format('SELECT %L::json', walwarden_internal.openapi()));
END
$$;
