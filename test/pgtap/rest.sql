-- REST v1 as data: the alpha matrix, handlers, the document; pre_request().
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

-- the alpha matrix, written out here once more
SELECT set_eq(
    $$SELECT method, path, operation, required_scope, success_status FROM walwarden_internal.rest_operation WHERE stage = 'alpha'$$,
    $$VALUES ('GET', '/profile', 'getProfile', NULL, 200),
             ('GET', '/databases', 'listDatabases', 'databases:read', 200),
             ('GET', '/databases/{databaseId}', 'getDatabase', 'databases:read', 200),
             ('GET', '/destinations', 'listDestinations', 'destinations:read', 200),
             ('GET', '/destinations/{destinationId}', 'getDestination', 'destinations:read', 200),
             ('GET', '/databases/{databaseId}/backups', 'listDatabaseBackups', 'databases:read', 200),
             ('POST', '/databases/{databaseId}/backups', 'triggerBackup', 'backups:trigger', 202),
             ('GET', '/backups/{backupJobId}', 'getBackup', 'databases:read', 200),
             ('GET', '/evidence', 'listEvidence', 'evidence:read', 200),
             ('GET', '/evidence/{backupJobId}', 'getEvidence', 'evidence:read', 200),
             ('POST', '/restores', 'createRestore', 'restores:write', 202),
             ('GET', '/restores/{restoreJobId}', 'getRestore', 'restores:read', 200),
             ('GET', '/databases/{databaseId}/recovery/summary', 'getRecoverySummary', 'databases:read', 200),
             ('GET', '/databases/{databaseId}/recovery/candidate', 'getRecoveryCandidate', 'databases:read', 200),
             ('GET', '/recovery/windows/{windowId}/proof', 'getRecoveryWindowProof', 'databases:read', 200)$$,
    'the alpha matrix');
SELECT is((SELECT array_agg(s.name ORDER BY s.name) FROM walwarden_internal.scope AS s
            WHERE s.builtin AND NOT EXISTS (SELECT FROM walwarden_internal.rest_operation AS o WHERE o.required_scope = s.name)),
          NULL, 'every scope opens something');
SELECT set_eq($$SELECT operation FROM walwarden_internal.rest_operation WHERE in_org AND action IS NULL$$, '{getOrg,getPolicy}'::text[], 'what every member may do; the rest has an action');
SELECT is_empty($$SELECT action FROM walwarden_internal.rest_operation WHERE action IS NOT NULL EXCEPT SELECT action FROM walwarden_internal.permission$$, 'one that permissions know');
SELECT has_function('walwarden_internal'::name, handler::name, '{walwarden_internal.rest_request}'::name[]) FROM walwarden_internal.rest_operation;
SELECT is((SELECT array_agg(p.proname ORDER BY 1) FROM pg_proc AS p
            WHERE p.pronamespace = 'walwarden_internal'::regnamespace AND p.proname ~ '^rest_(get|list|create|update|delete|trigger|cancel|dismiss|export)_'
              AND NOT EXISTS (SELECT FROM walwarden_internal.rest_operation AS o WHERE o.handler = p.proname)), NULL, 'no handler without an operation');

-- the document that is served is the one that is made of the rows
SELECT is(walwarden_internal.rest_get_open_api(NULL)::text, walwarden_internal.openapi()::text, 'the document is up to date');
SELECT set_eq(
    $$SELECT upper(m.key) AS a, p.key AS b, m.value ->> 'operationId' AS c, m.value ->> 'x-required-scope' AS d
        FROM jsonb_each(walwarden_internal.openapi()::jsonb -> 'paths') AS p, jsonb_each(p.value) AS m$$,
    $$SELECT method, path, operation, required_scope FROM walwarden_internal.rest_operation WHERE caller <> 'sso'$$, 'and has all that clients call');
-- names that schemas refer to exist
SELECT is((SELECT array_agg(DISTINCT r[1]) FROM walwarden_internal.json_schema AS s, regexp_matches(s.schema::text, '"#/components/schemas/(\w+)"', 'g') AS r
            WHERE NOT EXISTS (SELECT FROM walwarden_internal.json_schema AS t WHERE t.name = r[1])), NULL, 'references of schemas');

-- what the document says about bodies: request is closed, response is open, and neither has
-- what generators make nothing usable of
SELECT walwarden_internal.openapi()::jsonb AS document \gset
CREATE TEMPORARY TABLE part AS
WITH RECURSIVE part(side, item) AS (
    SELECT s.side, s.item
      FROM jsonb_each(:'document'::jsonb -> 'paths') AS p, jsonb_each(p.value) AS m,
           LATERAL (VALUES ('request', m.value -> 'requestBody'), ('response', m.value -> 'responses')) AS s(side, item)
     WHERE s.item IS NOT NULL
    UNION
    SELECT p.side, c.value
      FROM part AS p,
           LATERAL (SELECT e.value FROM jsonb_each(CASE jsonb_typeof(p.item) WHEN 'object' THEN p.item ELSE '{}' END) AS e WHERE e.key <> ALL ('{example,examples,x-rules}')
                    UNION ALL
                    SELECT e.value FROM jsonb_array_elements(CASE jsonb_typeof(p.item) WHEN 'array' THEN p.item ELSE '[]' END) AS e
                    UNION ALL
                    SELECT :'document'::jsonb #> string_to_array(substr(p.item ->> '$ref', 3), '/')) AS c(value)
     WHERE c.value IS NOT NULL
)
SELECT p.side, p.item FROM part AS p WHERE jsonb_typeof(p.item) = 'object';
SELECT is(count(*) > 5, true, 'objects of a ' || side) FROM part WHERE jsonb_typeof(item -> 'properties') = 'object' GROUP BY side;
SELECT is_empty($$SELECT item FROM part WHERE side = 'request' AND jsonb_typeof(item -> 'properties') = 'object' AND item -> 'additionalProperties' IS DISTINCT FROM 'false'$$, 'requests are closed');
SELECT is_empty($$SELECT item FROM part WHERE side = 'response' AND item -> 'additionalProperties' = 'false'$$, 'responses are open');
SELECT is_empty($$SELECT item FROM part WHERE item ?| '{if,then,else,allOf,default,const}' AND side = 'request'$$, 'nothing depends, and nothing omitted becomes required');
SELECT is_empty($$SELECT item FROM part WHERE item ?| '{if,then,else,allOf}' OR item -> 'enum' @> 'null'$$, 'nor in responses');
SELECT is_empty($$SELECT item FROM part WHERE item ->> 'type' = 'object' AND NOT item ?| '{properties,additionalProperties}'$$, 'an object without known members says so');
SELECT is(:'document'::jsonb #>> '{info,version}', extversion, 'the version of the document') FROM pg_extension WHERE extname = 'walwarden';
-- descriptions: each has one, and none is left over
SELECT set_eq($$SELECT subject, name FROM walwarden_internal.rest_description$$,
              $$SELECT 'operation', operation FROM walwarden_internal.rest_operation
                UNION SELECT 'parameter', parameter FROM walwarden_internal.rest_operation WHERE parameter IS NOT NULL
                UNION SELECT 'tag', walwarden_internal.operation_tag(o) FROM walwarden_internal.rest_operation AS o$$, 'descriptions');
SELECT is_empty(format($$SELECT p FROM jsonb_each(%L::jsonb #> '{components,parameters}') AS p WHERE NOT p.value ?& '{description,example}'$$, :'document'), 'parameters have examples');

SELECT is_empty(format($$SELECT r FROM jsonb_each(%L::jsonb #> '{components,responses}') AS r
                          WHERE r.value #>> '{content,application/json,example,error,code}' IS DISTINCT FROM r.key$$, :'document'), 'errors too');

-- rules of a request
SELECT is(walwarden_internal.schema_problem('RestoreRequest',
              '{"databaseId": "d", "backupJobId": "b", "kind": "restore", "mode": "in_place", "target": "s", "confirmDestructive": true}'::jsonb || change::jsonb, '') - 'nextAction',
          problem::jsonb, change)
  FROM (VALUES ('{}', NULL),
               ('{"confirmDestructive": false}', '{"field": "confirmDestructive", "reason": "unknown_value", "message": "confirmDestructive must be true"}'),
               ('{"kind": "drill"}', '{"field": "kind", "reason": "unknown_value", "message": "kind must be restore"}'),
               ('{"target": "s/n"}', '{"field": "target", "reason": "malformed", "message": "target does not match ^[^/]+$"}'),
               ('{"mode": "new_database"}', '{"field": "target", "reason": "malformed", "message": "target does not match ^[^/]+/[^/]+$"}'),
               ('{"mode": "new_cluster"}', '{"field": "target", "reason": "malformed", "message": "target does not match ^[^/]+/[^/]+$"}'),
               ('{"mode": "new_cluster", "target": "s/n", "confirmDestructive": false}', NULL),
               ('{"mode": "new_database", "kind": "drill"}', NULL),
               ('{"mode": "new_database", "kind": "drill", "target": "s/n"}', NULL)) AS v(change, problem);
SELECT matches(walwarden_internal.schema_problem('RestoreRequest', '{"databaseId": "d", "backupJobId": "b", "kind": "restore", "mode": "in_place", "target": "s"}', '') ->> 'nextAction',
               'confirmDestructive: true', 'what to do about a restore in place that is not confirmed');

-- integers in any spelling, in requests alone
SELECT results_eq(format($$SELECT canonical, error IS NOT NULL FROM walwarden_internal.canonical_json(%L, true)$$, convert_to(v, 'UTF8')),
                  format($$VALUES (%L::text, %L::boolean)$$, canonical, canonical IS NULL), v)
  FROM (VALUES ('1.0', '1'), ('1e2', '100'), ('-0.0', '0'), ('-12.50E+1', '-125'), ('1200e-2', '12'), ('9007199254740991.000', '9007199254740991'), ('0e99999999999', '0'),
               ('1.5', NULL), ('1e-1', NULL), ('9007199254740992.0', NULL), ('1e16', NULL), ('1e99999999999', NULL), ('1.', NULL), ('.5', NULL), ('1e', NULL), ('1e+', NULL), ('01.0', NULL)) AS v(v, canonical);
SELECT is_empty($$SELECT v FROM unnest('{1.0,1e2,0e1}'::text[]) AS v, walwarden_internal.canonical_json(convert_to(v, 'UTF8')) AS j WHERE j.canonical IS NOT NULL$$, 'nowhere else');

-- JSON for a header field
SELECT is(walwarden_internal.ascii_json('{"a": "~"}'), '{"a": "~"}', 'ASCII stays as it is');
SELECT is(walwarden_internal.ascii_json(to_json(v)::text)::json #>> '{}', v, v) FROM unnest(ARRAY[U&'gr\00F6\00DFe', U&'\20AC', U&'a\+01F600b', U&'\+010000', U&'\+10FFFF', chr(127), U&'\FFFD']) AS v;
SELECT matches(walwarden_internal.ascii_json(to_json(v)::text), '^[ -~]+$', 'in ASCII') FROM unnest(ARRAY[U&'gr\00F6\00DFe', U&'a\+01F600b', chr(127)]) AS v;

-- objects of answers are json_build_object()'s, byte for byte, but for times, which are iso()'s
SELECT is(walwarden_internal.object('a', t, 'b "\', u, 'c', b, 'd', i, 'e', l, 'f', j, 'g', k, 'h', NULL, 'i', 'x "y"', 'j', at)::text,
          json_build_object('a', t, 'b "\', u, 'c', b, 'd', i, 'e', l, 'f', j, 'g', k, 'h', NULL, 'i', 'x "y"', 'j', walwarden_internal.iso(at))::text, 'an object')
  FROM (VALUES ((SELECT string_agg(chr(c), '') FROM generate_series(1, 300) AS c), gen_random_uuid(), true, -2147483648, 9223372036854775807, '{"a" :1}'::json, '{"b": [1, "\\"]}'::jsonb, now()),
               ('', NULL, false, 0, -9223372036854775808, '[]', 'null', 'infinity'), (NULL, NULL, NULL, NULL, NULL, NULL, NULL, '-infinity'),
               (repeat('x', 100000), NULL, NULL, 7, 7, NULL, NULL, '0001-01-01 00:00:00+00'), (NULL, NULL, NULL, NULL, NULL, NULL, NULL, '4000-02-28 23:59:59.999999+00 BC'),
               (NULL, NULL, NULL, NULL, NULL, NULL, NULL, '12026-01-02 03:04:05+00'), (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)) AS v(t, u, b, i, l, j, k, at);
SELECT throws_ok($$SELECT walwarden_internal.object('a', '{x}'::text[])$$, 'XX000', 'type text[] is not supported in JSON', 'few types');
SELECT throws_ok($$SELECT walwarden_internal.object(VARIADIC '{a,b}'::text[])$$, 'XX000', 'object() requires pairs of keys and values', 'no array');

-- secrets by their look, and what only looks a little like one
SELECT is(walwarden_internal.holds_secret(v), expected, v)
  FROM (VALUES ('postgres://u:p@h/d', true), ('see https://u:p@h', true), ('host=h password=x', true), ('PASSWORD: x', true), ('{"password": "x"}', true),
               ('wal_' || repeat('0', 64), true),
               ('postgres://u@h/d', false), ('s3://bucket/path:with@sign', false), ('http://h:9000/b', false), ('time 12:30 @ home', false),
               ('password authentication failed for user "x"', false), ('the password was changed', false), ('mailto:ann@acme.example', false),
               ('wal_' || repeat('0', 63), false), ('', false)) AS v(v, expected);

-- pre_request
SELECT walwarden.create_org('rest') AS org \gset
SELECT token FROM walwarden.issue_token('rest', 'x', ARRAY['databases:read']) \gset
CREATE ROLE pgtap_anon;
SET ROLE pgtap_anon;
SELECT lives_ok('SELECT walwarden.pre_request()', 'outside of a request');
SELECT set_config('request.headers', '{}', true), set_config('request.path', '/invoices', true) \g /dev/null
SELECT lives_ok('SELECT walwarden.pre_request()', 'without a token');
SELECT is(walwarden.current_org(), NULL, 'stays anonymous');
SELECT set_config('request.headers', '{"x-walwarden-token":"wal_x"}', true) \g /dev/null
SELECT throws_ok('SELECT walwarden.pre_request()', 'PGRST', NULL, 'a bad token');
SELECT set_config('request.path', p, true) AS path FROM unnest('{/rpc/v1_get,/rpc/v1_post}'::text[]) AS p \g /dev/null
SELECT lives_ok('SELECT walwarden.pre_request()', 'the router answers for itself');
SELECT set_config('request.path', '/rpc/v1_get/', true) \g /dev/null
SELECT throws_ok('SELECT walwarden.pre_request()', 'PGRST', NULL, 'and nobody else');
SELECT set_config('request.path', '/invoices', true), set_config('request.headers', json_build_object('x-walwarden-token', :'token', 'x-wallarmapi-token', :'token')::text, true) \g /dev/null
SELECT lives_ok('SELECT walwarden.pre_request()', 'one token in two fields');
SELECT is(walwarden.current_org(), 'rest', 'is the identity');
SELECT is(current_setting('request.headers'), '{}', 'and is in no field any more');
SELECT lives_ok('SELECT walwarden.pre_request()', 'a second call finds none');
SELECT is(walwarden.current_org(), 'rest', 'and leaves the identity');
SELECT set_config('request.headers', json_build_object('x-wallarmapi-token', :'token', 'authorization', 'Basic ' || :'token', 'referer', '/?' || :'token' || '&x', 'prefer', 'count=exact', 'x-n', 1, 'x-o', '{"a": []}'::json)::text, true) \g /dev/null
SELECT lives_ok('SELECT walwarden.pre_request()', 'a token in other fields, too');
SELECT is(current_setting('request.headers')::jsonb, '{"prefer": "count=exact", "x-n": 1, "x-o": {"a": []}}', 'is nowhere, and the rest is as it was');
SELECT set_config('request.headers', json_build_object('authorization', 'Bearer a.b.c', 'x-walwarden-token', '')::text, true) \g /dev/null
SELECT lives_ok('SELECT walwarden.pre_request()', 'credentials of others');
SELECT is(current_setting('request.headers')::jsonb, '{"authorization": "Bearer a.b.c"}', 'stay');
SELECT set_config('request.headers', json_build_object('x-walwarden-method', 'GET', 'x-walwarden-path', '/api/v1/profile', 'x-walwarden-token', :'token')::text, true) \g /dev/null
RESET ROLE;
SELECT is(walwarden_rest.v1_get() #>> '{org,slug}', 'rest', 'a request of REST v1');
SELECT is(current_setting('request.headers')::jsonb, '{"x-walwarden-path": "/api/v1/profile", "x-walwarden-method": "GET"}', 'hides it too');
SET ROLE pgtap_anon;
SELECT set_config('request.headers', json_build_object('x-walwarden-token', :'token', 'x-wallarmapi-secret', 'x')::text, true) \g /dev/null
SELECT throws_ok('SELECT walwarden.pre_request()', 'PGRST', NULL, 'half a pair beside a token');
SELECT set_config('request.headers', '[1]', true) \g /dev/null
SELECT lives_ok('SELECT walwarden.pre_request()', 'an array has no header fields');
RESET ROLE;

-- A fault of ours is 500 wherever it shows, in C too, and says nothing of itself. The
-- server's log does, in which part rest of test/run looks for faults that nobody meant.
SET LOCAL log_min_messages = fatal;
SELECT set_config('walwarden_test.token', token, true) FROM walwarden.issue_token('rest', 'faults', '{destinations:write}') \g /dev/null
CREATE FUNCTION pg_temp.answer(method text, path text, body text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer json;
BEGIN
    PERFORM set_config('request.headers', json_build_object('x-walwarden-token', current_setting('walwarden_test.token'), 'x-walwarden-method', method,
                       'x-walwarden-path', '/api/v1' || path, 'x-walwarden-content-type', 'application/json', 'idempotency-key', gen_random_uuid())::text, true);
    answer := CASE WHEN body IS NULL THEN walwarden_rest.v1_get() ELSE walwarden_rest.v1_post(convert_to(body, 'UTF8')) END;
    RETURN concat_ws(' ', current_setting('response.status'), answer -> 'error' ->> 'code', answer -> 'error' ->> 'message');
END
$$;
SELECT is(pg_temp.answer('GET', '/profile', NULL), '200', 'a request');
ALTER FUNCTION walwarden_internal.rest_get_profile(walwarden_internal.rest_request) RENAME TO rest_get_lost;
SELECT is(pg_temp.answer('GET', '/profile', NULL), '500 internal internal error', 'a handler that is missing');
SELECT is(pg_temp.answer('POST', '/destinations', '{"name": "d", "provider": "local", "uri": "file:///srv"}'), '201', 'a change');
CREATE OR REPLACE FUNCTION walwarden_internal.rest_create_destination(r walwarden_internal.rest_request) RETURNS json LANGUAGE sql AS $$SELECT '{}'::json$$;
SELECT is(pg_temp.answer('POST', '/destinations', '{"name": "e", "provider": "local", "uri": "file:///srv"}'), '500 internal internal error', 'a handler without what the location is made of');
CREATE OR REPLACE FUNCTION walwarden_internal.rest_create_destination(r walwarden_internal.rest_request) RETURNS json LANGUAGE sql AS $$SELECT NULL::json$$;
SELECT is(pg_temp.answer('POST', '/destinations', '{"name": "f", "provider": "local", "uri": "file:///srv"}'), '500 internal internal error', 'a handler without an answer');
SELECT is((SELECT count(*) FROM walwarden_internal.idempotency_key AS k JOIN walwarden_internal.token AS t ON walwarden_internal.rest_key_holder(t.id) = k.holder WHERE t.name = 'faults'), 1::bigint, 'they leave no key behind');
ALTER FUNCTION walwarden_internal.rest_get_lost(walwarden_internal.rest_request) RENAME TO rest_get_profile;
SELECT set_config('request.headers', '{"x":"' || repeat('x', 131072) || '"}', true) \g /dev/null
SELECT is(walwarden_rest.v1_get() #>> '{error,message}', 'the header fields are too large', 'more than 64 KiB of header fields');
SELECT is(current_setting('response.status'), '431', 'are 431');
SELECT set_config('request.headers', '{"x":', true) \g /dev/null
SELECT is(walwarden_rest.v1_get() #>> '{error,code}', 'internal', 'what is not JSON is a fault of the gateway');
RESET log_min_messages;
-- a handler sees what its token was found in
SELECT is((SELECT walwarden_rest.v1_get() -> 'token' ->> 'id' = token_id::text
             FROM walwarden.issue_token('rest', 'new', '{}') AS t,
                  set_config('request.headers', json_build_object('x-walwarden-token', t.token, 'x-walwarden-method', 'GET', 'x-walwarden-path', '/api/v1/profile')::text, true)),
          true, 'a token of the same statement has a profile');

SELECT * FROM finish();
ROLLBACK;
