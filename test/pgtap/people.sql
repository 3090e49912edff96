-- People in the router: what the role that serves a request is, is not who the person is; the
-- rules against requests of other sites, without nginx; where a cookie is to be seen.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();
SELECT walwarden.create_org('p-one'), walwarden.create_org('p-two'), walwarden.add_member('p-one', 'p-ann', 'member'), walwarden.add_member('p-two', 'p-boss', 'owner') \g /dev/null
CREATE ROLE tp_op;
CREATE ROLE tp_login LOGIN;
SELECT walwarden.grant_operator('tp_op'), walwarden.grant_rest('tp_op', 'tp_login') \g /dev/null
GRANT tp_op TO CURRENT_USER;

-- The answer to a request with these fields: status, header fields, body.
CREATE TYPE answer AS (status text, headers text, body json);
CREATE FUNCTION request(method text, path text, fields jsonb, body text DEFAULT '') RETURNS answer LANGUAGE plpgsql AS $$
DECLARE
    content json;
BEGIN
    PERFORM set_config('request.headers', jsonb_strip_nulls(jsonb_build_object('x-walwarden-method', method, 'x-walwarden-path', '/api/v1' || path) || fields)::text, true);
    content := CASE method WHEN 'GET' THEN walwarden_rest.v1_get() ELSE walwarden_rest.v1_post(convert_to(body, 'UTF8')) END;
    RETURN ROW(current_setting('response.status'), current_setting('response.headers'), content);
END
$$;
SELECT (a).status AS status, substring((a).headers FROM '__Host-walwarden=([0-9a-f]{64})') AS cookie
  FROM (SELECT request('POST', '/session', '{"x-walwarden-content-type": "application/json"}', json_build_object('code', walwarden.sign_in_link('p-ann'))::text) AS a) AS r \gset
SELECT is(:'status'::text, '204', 'signed in');
SELECT is(s.cookie_hash, sha256(:'cookie'), 'the hash of the cookie is stored') FROM walwarden_internal.session AS s WHERE s.subject = 'p-ann';
SELECT jsonb_build_object('x-walwarden-session', :'cookie', 'idempotency-key', 'k', 'x-walwarden-content-type', 'application/json') AS person \gset

-- a member is no more than that, even if a superuser or an operator serves the request
CREATE TEMP TABLE tried (role text, path text, status text);
GRANT ALL ON tried TO PUBLIC;
SELECT is(current_setting('is_superuser'), 'on', 'a superuser');
INSERT INTO tried SELECT 'superuser', p, (request('GET', p, :'person')).status FROM unnest('{/orgs,/orgs/p-one,/orgs/p-one/databases,/orgs/p-one/audit/entries,/orgs/p-two}'::text[]) AS p;
SET LOCAL ROLE tp_op;
INSERT INTO tried SELECT 'operator', p, (request('GET', p, :'person')).status FROM unnest('{/orgs,/orgs/p-one,/orgs/p-one/databases,/orgs/p-one/audit/entries,/orgs/p-two}'::text[]) AS p;
RESET ROLE;
SELECT is(t.status, CASE t.path WHEN '/orgs/p-one/audit/entries' THEN '403' WHEN '/orgs/p-two' THEN '404' ELSE '200' END, t.role || ' ' || t.path) FROM tried AS t;
SELECT is(json_array_length((request('GET', '/orgs', :'person')).body -> 'orgs'), 1, 'one organisation');
SELECT is((request('GET', '/orgs/p-one', :'person')).body -> 'capabilities' #>> '{}', '["member","own_tokens"]', 'and its rights there');
-- the person ends with the request
SELECT lives_ok($$SELECT walwarden.set_org_retention('p-two', '8 days')$$, 'afterwards the role is itself again');
SELECT is(walwarden.current_subject(), NULL, 'and the transaction has no identity');

-- the cookie is nowhere, as a token is not
SELECT request('GET', '/orgs', :'person') \g /dev/null
SELECT is(strpos(current_setting('request.headers'), :'cookie'), 0, 'not in the header fields');
SELECT set_config('request.headers', jsonb_build_object('x-walwarden-session', :'cookie', 'x', 'y')::text, true), walwarden.pre_request() \g /dev/null
SELECT is(current_setting('request.headers')::jsonb, '{"x": "y"}', 'nor after pre_request(), for which it is nobody''s');
SELECT set_config('request.cookies', jsonb_build_object('__Host-walwarden', :'cookie', 'x', 'y')::text, true), walwarden.pre_request() \g /dev/null
SELECT is(current_setting('request.cookies')::jsonb, '{"x": "y"}', 'nor among the cookies');
SELECT set_config('request.cookies', jsonb_build_object('__Host-walwarden', :'cookie', 'x', 'y')::text, true), request('GET', '/orgs', :'person') \g /dev/null
SELECT is(current_setting('request.cookies')::jsonb, '{"x": "y"}', 'nor after the router');

-- another site; the fields are those that nginx sets
CREATE TEMP TABLE rule (fields jsonb, served boolean);
INSERT INTO rule VALUES
    ('{}', true), ('{"x-walwarden-fetch-site": "same-origin"}', true), ('{"x-walwarden-fetch-site": "none"}', true),
    ('{"x-walwarden-fetch-site": "same-site"}', false), ('{"x-walwarden-fetch-site": "cross-site"}', false), ('{"x-walwarden-fetch-site": "Same-Origin"}', false),
    ('{"x-walwarden-origin": "https://a", "x-walwarden-own-origin": "https://a"}', true), ('{"x-walwarden-origin": "https://a:1", "x-walwarden-own-origin": "https://a"}', false),
    ('{"x-walwarden-origin": "https://a"}', false), ('{"x-walwarden-origin": "null", "x-walwarden-own-origin": "https://a"}', false),
    ('{"x-walwarden-fetch-site": "cross-site", "x-walwarden-origin": "https://a", "x-walwarden-own-origin": "https://a"}', false),
    ('{"x-walwarden-content-type": "text/plain"}', false), ('{"x-walwarden-content-type": "application/json; charset=utf-8"}', true);
SELECT is((request('POST', '/orgs/p-one/restores', :'person'::jsonb || fields, '{}')).body #>> '{error,reason}', CASE WHEN served THEN 'missing' ELSE 'cross_site' END, 'a change: ' || fields::text) FROM rule;
SELECT is((request('POST', '/session', '{"x-walwarden-content-type": "application/json"}'::jsonb || fields, '{"code": "x"}')).status, CASE WHEN served THEN '401' ELSE '403' END, 'signing in: ' || fields::text) FROM rule;
SELECT is((request('POST', '/session', '{}', '{"code": "x"}')).status, '415', 'a body without a type');
SELECT is((request('POST', '/orgs/p-one/restores', :'person'::jsonb - 'idempotency-key', '{}')).body #>> '{error,reason}', 'cross_site', 'a change without a key');
SELECT is((request('DELETE', '/session', :'person'::jsonb || '{"x-walwarden-fetch-site": "same-site"}')).status, '403', 'signing out');
SELECT is((request('GET', '/orgs', :'person'::jsonb || '{"x-walwarden-fetch-site": "cross-site"}')).status, '200', 'reading is not a change');
SELECT is((request('POST', '/session', '{"x-walwarden-fetch-site": "cross-site"}', '{}')).headers ~ 'WWW-Authenticate', false, 'no token would help');


-- refusals of inner functions, and of the server
SET LOCAL log_min_messages = fatal;     -- part rest takes a logged failure for one of its own
SELECT is((e.status, e.answer #>> '{error,reason}', e.answer #>> '{error,message}')::text, (n.status, f.reason, 'what is wrong')::text, f.sqlstate || ' of refuse()')
  FROM walwarden_internal.rest_refusal AS f JOIN walwarden_internal.rest_reason AS n USING (reason), walwarden_internal.rest_error_response('good', 'x', f.sqlstate, 'what is wrong', '', '', true) AS e;
SELECT is((e.status, e.answer #>> '{error,reason}', e.answer #>> '{error,message}')::text, (500, 'internal_error', 'internal error')::text, f.sqlstate || ' of the server')
  FROM walwarden_internal.rest_refusal AS f, walwarden_internal.rest_error_response('good', 'x', f.sqlstate, 'a detail', '', '', false) AS e
 WHERE f.sqlstate !~ '^53';    -- the server lacks something
SELECT is((e.status, e.answer #>> '{error,message}')::text, (503, 'the database is busy; try again')::text, s || ' of either')
  FROM unnest('{55P03,40001,57014}'::text[]) AS s, unnest('{true,false}'::boolean[]) AS refused, walwarden_internal.rest_error_response('good', 'x', s, 'a detail', '', '', refused) AS e;

SELECT is((request('DELETE', '/session', :'person')).status, '204', 'signed out');
SELECT is((request('GET', '/orgs', :'person')).status, '401', 'for good');
SELECT is((request('GET', '/orgs', '{"x-walwarden-session": ""}')).status, '401', 'an empty cookie');
SELECT * FROM finish();
ROLLBACK;
