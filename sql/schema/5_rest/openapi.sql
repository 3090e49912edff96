-- The OpenAPI 3.1 document, generated from rest_operation, rest_description, json_schema,
-- rest_error, rest_reason and scope. Generators of clients read it, so it is kept to what
-- they make usable types of: responses are open, requests closed, and lists have names.

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

-- A reference to a component of the document: schemas, headers, parameters or responses.
CREATE FUNCTION walwarden_internal.component_ref(kind text, name text) RETURNS json
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object('$ref', '#/components/' || kind || '/' || name)
$$;

-- The header fields of a response, those of names in their order and then those that every
-- response can have. own: fields that are described where they are.
CREATE FUNCTION walwarden_internal.response_headers(names text[], own json DEFAULT NULL) RETURNS json
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_object_agg(n.name, coalesce(own -> n.name, walwarden_internal.component_ref('headers', n.name)) ORDER BY n.n)
      FROM unnest('{X-Request-Id}' || names || '{Vary,Access-Control-Allow-Origin,Access-Control-Expose-Headers}') WITH ORDINALITY AS n(name, n)
     WHERE n.name IS NOT NULL
$$;

-- A tag, parameter or operation as rest_description has it.
CREATE FUNCTION walwarden_internal.description(subject text, name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.description FROM walwarden_internal.rest_description AS d WHERE d.subject = $1 AND d.name = $2
$$;

-- The schema of a page of a list.
CREATE FUNCTION walwarden_internal.list_schema(op walwarden_internal.rest_operation) RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object(
        'description', 'A page of a list.', 'type', 'object',
        'required', json_build_array(op.list_field, 'pageInfo'),
        'properties', json_build_object(
            op.list_field, json_build_object('type', 'array', 'items', walwarden_internal.component_ref('schemas', op.response)),
            'pageInfo', walwarden_internal.component_ref('schemas', 'PageInfo')))
$$;

-- The schemas of the document: those that operations name and those that these refer to, and
-- the pages of lists.
CREATE FUNCTION walwarden_internal.document_schemas() RETURNS TABLE (name text, schema json)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE used(name) AS (
        SELECT n.name
          FROM walwarden_internal.rest_operation AS o
         CROSS JOIN LATERAL unnest(ARRAY[o.response, nullif(o.request, 'Nothing')]) AS n(name)
         WHERE n.name IS NOT NULL
        UNION
        SELECT unnest('{ApiError,PageInfo}'::text[])
        UNION
        SELECT r.name[1]
          FROM used AS u
          JOIN walwarden_internal.json_schema AS s ON s.name = u.name
         CROSS JOIN LATERAL regexp_matches(s.schema::text, '"#/components/schemas/([[:alnum:]]+)"', 'g') AS r(name)
    )
    SELECT s.name, s.schema FROM used AS u JOIN walwarden_internal.json_schema AS s ON s.name = u.name
    UNION ALL
    SELECT o.response || 'List', walwarden_internal.list_schema(o)
      FROM walwarden_internal.rest_operation AS o
     WHERE o.list_field IS NOT NULL
$$;

-- A successful response of an operation.
CREATE FUNCTION walwarden_internal.response_content(op walwarden_internal.rest_operation) RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object('application/json', json_build_object(
               'schema', walwarden_internal.component_ref('schemas', op.response || CASE WHEN op.list_field IS NULL THEN '' ELSE 'List' END),
               'example', walwarden_internal.schema_example(
                   CASE WHEN op.list_field IS NULL THEN walwarden_internal.schema(op.response) ELSE walwarden_internal.list_schema(op) END)))
$$;

-- Whether an operation changes a resource that has an entity tag.
CREATE FUNCTION walwarden_internal.takes_if_match(op walwarden_internal.rest_operation) RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT op.method IN ('PATCH', 'DELETE')
       AND EXISTS (SELECT FROM walwarden_internal.rest_operation AS r WHERE r.path = op.path AND r.method = 'GET' AND r.tag IS NOT NULL)
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
        OR (e.status IN (401, 404) AND op.caller <> 'anyone')
        OR (e.status = 401 AND op.path = '/session')    -- a code that is not valid
        -- a change may come from another site
        OR (e.status = 403 AND (op.caller <> 'anyone' OR op.request IS NOT NULL))
        OR (e.status IN (413, 415) AND op.request IS NOT NULL)
        OR (e.status = 409 AND op.takes_key)
        OR (e.status = 412 AND walwarden_internal.takes_if_match(op))
     ORDER BY e.status
$$;

-- The resource of an operation.
CREATE FUNCTION walwarden_internal.operation_tag(op walwarden_internal.rest_operation) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT split_part(split_part(regexp_replace(op.path, '^/orgs/[{]org[}]/', '/'), '/', 2), '.', 1)
$$;

-- Which credentials an operation accepts, any of them. A JWT is for the paths below /orgs.
CREATE FUNCTION walwarden_internal.operation_security(op walwarden_internal.rest_operation) RETURNS json
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN op.caller = 'anyone' THEN '[]'
                WHEN op.caller = 'token' THEN '[{"bearer": []}, {"header": []}]'
                WHEN op.caller = 'any' THEN '[{"bearer": []}, {"header": []}, {"session": []}, {"jwt": []}]'
                WHEN op.path LIKE '/orgs%' THEN '[{"session": []}, {"jwt": []}]'
                ELSE '[{"session": []}]' END::json
$$;

-- Where an operation is that is not at the root alone: for people, below their organisation.
CREATE FUNCTION walwarden_internal.operation_servers(op walwarden_internal.rest_operation) RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN op.caller = 'any' THEN json_build_array(
        json_build_object('url', walwarden_internal.rest_root(), 'description', 'With a token.'),
        json_build_object('url', walwarden_internal.rest_root() || '/orgs/{org}', 'description', 'For a person.',
                          'variables', '{"org": {"default": "acme", "description": "The slug of the organisation."}}'::json)) END
$$;

CREATE FUNCTION walwarden_internal.openapi_operation(op walwarden_internal.rest_operation) RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH parameter(n, item) AS (
        SELECT 0, walwarden_internal.component_ref('parameters', 'org')
         WHERE op.in_org
        UNION ALL
        SELECT 1, walwarden_internal.component_ref('parameters', op.parameter)
         WHERE op.parameter IS NOT NULL
        UNION ALL
        SELECT 3, json_build_object('name', f.name, 'in', 'query', 'description', f.description, 'schema', f.schema, 'example', f.schema #> '{examples,0}')
          FROM walwarden_internal.rest_filter AS f WHERE f.operation = op.operation
        UNION ALL
        SELECT 2, walwarden_internal.component_ref('parameters', p)
          FROM unnest(CASE WHEN op.list_field IS NOT NULL THEN '{limit,cursor}'::text[]
                           WHEN op.takes_key THEN '{idempotencyKey}' END) AS p
        UNION ALL
        SELECT 3, walwarden_internal.component_ref('parameters', 'ifNoneMatch')
         WHERE op.method = 'GET' AND op.tag IS NOT NULL
        UNION ALL
        SELECT 3, walwarden_internal.component_ref('parameters', 'ifMatch')
         WHERE walwarden_internal.takes_if_match(op)
    ), request AS (
        SELECT walwarden_internal.schema(op.request) AS schema WHERE op.request <> 'Nothing'
    ), answer AS (
        SELECT walwarden_internal.json_object_without_nulls(
            '{description,headers,content}',
            ARRAY[to_json(op.summary),
                  walwarden_internal.response_headers(
                      ARRAY[CASE WHEN op.caller <> 'person' THEN 'RateLimit' END,
                            CASE WHEN op.tag IS NOT NULL THEN 'ETag' END,
                            'Cache-Control',
                            CASE WHEN op.location IS NOT NULL THEN 'Location' END,
                            CASE WHEN op.takes_key THEN 'Idempotency-Replayed' END,
                            CASE WHEN op.path = '/session' THEN 'Set-Cookie' END,
                            CASE WHEN op.operation = 'deleteSession' THEN 'Clear-Site-Data' END],
                      json_build_object('Location', json_build_object(
                          'description', walwarden_internal.rest_root() || CASE WHEN op.in_org THEN '/orgs/{org}' ELSE '' END || op.location, 'schema', json_build_object('type', 'string')))),
                  CASE WHEN op.response IS NOT NULL THEN walwarden_internal.response_content(op) END]) AS item
    )
    SELECT walwarden_internal.json_object_without_nulls(
        '{operationId,summary,description,tags,x-stage,x-required-scope,security,servers,parameters,requestBody,responses}',
        ARRAY[to_json(op.operation), to_json(op.summary),
              to_json(concat_ws(' ', walwarden_internal.description('operation', op.operation), 'Requires the scope ' || op.required_scope || '.')),
              json_build_array(walwarden_internal.operation_tag(op)), to_json(op.stage),
              to_json(op.required_scope),
              walwarden_internal.operation_security(op),
              walwarden_internal.operation_servers(op),
              (SELECT json_agg(p.item ORDER BY p.n, p.item ->> 'name') FROM parameter AS p),
              (SELECT json_build_object(
                          'required', q.schema -> 'required' IS NOT NULL OR q.schema -> 'minProperties' IS NOT NULL,
                          'content', json_build_object('application/json', json_build_object(
                              'schema', walwarden_internal.component_ref('schemas', op.request), 'example', walwarden_internal.schema_example(q.schema))))
                 FROM request AS q),
              (SELECT json_object_agg(a.status, a.item ORDER BY a.status)
                 FROM (SELECT op.success_status, n.item FROM answer AS n
                       UNION ALL
                       SELECT 304, json_build_object('description', 'The client has the response already, as If-None-Match says.',
                                                     'headers', walwarden_internal.response_headers('{RateLimit,ETag,Cache-Control}'))
                        WHERE op.method = 'GET' AND op.tag IS NOT NULL
                       UNION ALL
                       SELECT e.status, walwarden_internal.component_ref('responses', e.code)
                         FROM walwarden_internal.operation_errors(op) AS e) AS a(status, item))])
$$;

-- The parameters of paths, then those that operations share.
CREATE FUNCTION walwarden_internal.document_parameters() RETURNS TABLE (name text, item json)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.name, json_build_object('name', p.name, 'in', 'path', 'required', true,
                                     'description', walwarden_internal.description('parameter', p.name),
                                     'schema', json_build_object('type', 'string', 'format', 'uuid'),
                                     'example', walwarden_internal.schema_example('{"type": "string", "format": "uuid"}'))
      FROM (SELECT DISTINCT o.parameter FROM walwarden_internal.rest_operation AS o WHERE o.parameter IS NOT NULL ORDER BY o.parameter) AS p(name)
    UNION ALL
    SELECT p.key, p.value
      -- backslashes, whatever standard_conforming_strings is
      FROM json_each($json${
  "org": {"name": "org", "in": "path", "required": true, "description": "The slug of the organisation.", "schema": {"type": "string"}, "example": "acme"},
  "limit": {"name": "limit", "in": "query", "description": "Number of items per page.", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 25}, "example": 25},
  "cursor": {"name": "cursor", "in": "query", "description": "pageInfo.nextCursor of the previous page. Omit it to get the first page.", "schema": {"type": "string"}, "example": "WyJsaXN0RGF0YWJhc2VzIiwgbnVsbCwgIjIwMjYtMTEtMjFUMTc6MzM6MjAuMTIzNDU2WiIsICIwYjZmNWEzZS04YzFkLTRlMmYtOWE3Yi0zYzRkNWU2ZjcwODEiXQ"},
  "idempotencyKey": {"name": "Idempotency-Key", "in": "header", "required": true, "description": "A new random value for each request. If a request is repeated with the same value within 24 hours, the stored response is returned with Idempotency-Replayed: true.", "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}, "example": "5b0e6f0c-3f1d-4a57-9d7c-0f6c2f6d1a11"},
  "ifNoneMatch": {"name": "If-None-Match", "in": "header", "description": "Tags of responses that the client has, from ETag, with commas between them; or *. If the response would have one of them, the status is 304 without a body.", "schema": {"type": "string"}, "example": "\"2c26b46b68ffc68ff99b453c1d304134\""},
  "ifMatch": {"name": "If-Match", "in": "header", "description": "The tag of the resource, from ETag, as the client read it; or *. If the resource has another one by now, the status is 412 and nothing changes.", "schema": {"type": "string"}, "example": "\"2c26b46b68ffc68ff99b453c1d304134\""}
}$json$::json) AS p
$$;

-- An error with the first of the reasons of its status.
CREATE FUNCTION walwarden_internal.error_example(e walwarden_internal.rest_error) RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object('error', json_build_object(
               'code', e.code, 'message', r.meaning, 'reason', r.reason,
               'requestId', walwarden_internal.schema('ApiError') #> '{properties,error,properties,requestId,examples,0}'))
      FROM walwarden_internal.rest_reason AS r
     WHERE r.status = e.status
     ORDER BY r.reason LIMIT 1
$$;

-- The document. Of what clients call: single sign-on is for the address bar of a browser, and
-- has no response that a client could use.
CREATE FUNCTION walwarden_internal.openapi() RETURNS json
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH path AS (
        SELECT o.path, min(CASE WHEN o.caller = 'anyone' THEN 4 WHEN o.caller = 'person' THEN 3 WHEN o.stage = 'beta' THEN 2 ELSE 1 END) AS place,
               json_object_agg(lower(o.method), walwarden_internal.openapi_operation(o)
                               ORDER BY array_position('{GET,POST,PATCH,DELETE}', o.method)) AS item
          FROM walwarden_internal.rest_operation AS o
         WHERE o.caller <> 'sso'
         GROUP BY o.path
    )
    SELECT json_build_object(
        'openapi', '3.1.0',
        'info', json_build_object(
            'title', 'walwarden REST API', 'version', walwarden_internal.version(),
            'summary', 'Protected databases, backups, evidence, restores and recovery.',
            'description', 'HEAD is served wherever GET is. Responses may gain fields; ignore fields that you do not know.',
            'license', json_build_object('name', 'PostgreSQL', 'identifier', 'PostgreSQL')),
        'servers', json_build_array(json_build_object('url', walwarden_internal.rest_root())),
        'security', '[{"bearer": []}, {"header": []}]'::json,
        'tags', (SELECT json_agg(json_build_object('name', t.name, 'description', walwarden_internal.description('tag', t.name)) ORDER BY t.name)
                   FROM (SELECT DISTINCT walwarden_internal.operation_tag(o) AS name FROM walwarden_internal.rest_operation AS o WHERE o.caller <> 'sso') AS t),
        'paths', (SELECT json_object_agg(p.path, p.item ORDER BY p.place, p.path) FROM path AS p),
        'components', json_build_object(
            'headers', json_build_object(
                'X-Request-Id', '{"description": "Identifies the request in the logs.", "schema": {"type": "string"}}'::json,
                'RateLimit', json_build_object('description', 'For a token with a rate limit: how many uses remain (r), and for how many seconds (t).',
                                               'schema', json_build_object('type', 'string', 'examples', json_build_array('"token";r=41;t=17'))),
                'RateLimit-Policy', json_build_object('description', 'With a limit of the proxy: how many requests (q) it allows in how many seconds (w).',
                                                      'schema', json_build_object('type', 'string', 'examples', json_build_array('"requests";q=50;w=1'))),
                'Vary', '{"description": "Which fields of the request the response depends on.", "schema": {"type": "string", "examples": ["Origin"]}}'::json,
                'Access-Control-Allow-Origin', '{"description": "The origin of the page that made the request, if the server allows it (CORS); never below /orgs and /session.", "schema": {"type": "string", "examples": ["https://app.example.com"]}}'::json,
                'Access-Control-Expose-Headers', '{"description": "With Access-Control-Allow-Origin: the header fields that the page can read.", "schema": {"type": "string", "examples": ["ETag, Retry-After, X-Request-Id"]}}'::json,
                'Set-Cookie', '{"description": "The session of a person, or its removal.", "schema": {"type": "string"}}'::json,
                'Clear-Site-Data', '{"description": "What the browser is to forget.", "schema": {"type": "string"}}'::json,
                'ETag', $json${"description": "The entity tag of the body, for If-None-Match and If-Match.", "schema": {"type": "string", "examples": ["\"2c26b46b68ffc68ff99b453c1d304134\""]}}$json$::json,
                'Cache-Control', '{"description": "Who may keep the response, and for how long.", "schema": {"type": "string", "examples": ["private, no-cache"]}}'::json,
                'Idempotency-Replayed', '{"description": "true if the response repeats the response to an earlier request with the same key.", "schema": {"type": "string", "const": "true"}}'::json,
                'WWW-Authenticate', '{"description": "Bearer, with error and scope where they apply.", "schema": {"type": "string"}}'::json,
                'Allow', '{"description": "The methods that the path supports.", "schema": {"type": "string"}}'::json,
                'Retry-After', '{"description": "How many seconds to wait before the next attempt.", "schema": {"type": "integer"}}'::json),
            'securitySchemes', json_build_object(
                'jwt', '{"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "For programs of a person: a JWT of the identity provider, if the server accepts JWTs. Nothing may be sent beside it."}'::json,
                'session', '{"type": "apiKey", "in": "cookie", "name": "__Host-walwarden", "description": "The session of a person, which POST /session or signing in by single sign-on starts. No token may be sent beside it. A change needs Sec-Fetch-Site: same-origin or none, which browsers send, or an Origin that is this server."}'::json,
                'header', '{"type": "apiKey", "in": "header", "name": "X-WallarmApi-Token", "description": "The same token in its own header field."}'::json,
                'bearer', json_build_object(
                'type', 'http', 'scheme', 'bearer',
                'description', 'A walwarden token. The scopes are: '
                    || (SELECT string_agg(s.name, ', ' ORDER BY s.name) FROM walwarden_internal.scope AS s WHERE s.builtin) || '.')),
            'parameters', (SELECT json_object_agg(p.name, p.item) FROM walwarden_internal.document_parameters() AS p),
            'responses', (SELECT json_object_agg(e.code, json_build_object(
                                     'description', e.meaning,
                                     'x-reasons', (SELECT json_object_agg(r.reason, r.meaning ORDER BY r.reason) FROM walwarden_internal.rest_reason AS r WHERE r.status = e.status),
                                     'headers', walwarden_internal.response_headers(
                                         ARRAY[CASE WHEN e.status NOT IN (414, 431, 503) THEN 'RateLimit' END,   -- not by the router, or it does not know
                                               CASE WHEN e.status = 429 THEN 'RateLimit-Policy' END,
                                               CASE WHEN e.status IN (409, 429, 503) THEN 'Retry-After' END,
                                               'Cache-Control',
                                               CASE WHEN e.status IN (401, 403) THEN 'WWW-Authenticate' END,
                                               CASE WHEN e.status = 405 THEN 'Allow' END]),
                                     'content', json_build_object('application/json', json_build_object(
                                         'schema', walwarden_internal.component_ref('schemas', 'ApiError'),
                                         'example', walwarden_internal.error_example(e))))
                                     ORDER BY e.status)
                            FROM walwarden_internal.rest_error AS e),
            'schemas', (SELECT json_object_agg(s.name, s.schema ORDER BY s.name) FROM walwarden_internal.document_schemas() AS s)))
$$;
