-- What nodes report about destinations, and what is shown and recorded of it.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

CREATE ROLE tds_runner;
SELECT walwarden.create_org('places') IS NOT NULL, walwarden.create_org('elsewhere') IS NOT NULL, walwarden.grant_runner('tds_runner') \g /dev/null
CREATE TEMP TABLE tokens (name text, token text);
GRANT SELECT ON tokens TO tds_runner;
INSERT INTO tokens SELECT 'node', token FROM walwarden.issue_token('places', 'node', kind => 'node');
INSERT INTO tokens SELECT 'stranger', token FROM walwarden.issue_token('elsewhere', 'node', kind => 'node');
INSERT INTO tokens SELECT 'api', token FROM walwarden.issue_token('places', 'api', ARRAY['destinations:write', 'destinations:read']);
\ir request.psql
CREATE FUNCTION request(method text, path text, body text DEFAULT '') RETURNS json LANGUAGE sql AS $$
    SELECT pg_temp.rest((SELECT t.token FROM tokens AS t WHERE t.name = 'api'), method, path, body)
$$;
-- A report by a node: what it returns, or why it is refused.
CREATE FUNCTION reported(name text, destination uuid, ok boolean, detail jsonb DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM walwarden.authenticate((SELECT t.token FROM tokens AS t WHERE t.name = reported.name));
    SET LOCAL ROLE tds_runner;
    result := walwarden.report_destination(destination, ok, detail);
    RESET ROLE;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
CREATE FUNCTION head() RETURNS bigint LANGUAGE sql AS $$ SELECT max(seq) FROM walwarden.list_audit('places') $$;
SELECT request('POST', '/destinations', '{"name":"d","provider":"s3","uri":"s3://bucket","credentialRef":"one"}') ->> 'id' AS d \gset
CREATE FUNCTION shown(id uuid) RETURNS json LANGUAGE sql AS $$ SELECT request('GET', '/destinations/' || id) $$;

SELECT is(shown(:'d') ->> 'state', 'unverified', 'nobody has tried it');
SELECT is(shown(:'d') ->> 'lastReport', NULL, 'so there is no report');
SELECT is(reported('node', :'d', true), 'true', 'it works');
SELECT is((SELECT kind FROM walwarden.list_audit('places') ORDER BY seq DESC LIMIT 1), 'destination.reported', 'which is an entry');
SELECT is(shown(:'d') ->> 'state', 'verified', 'verified');
SELECT is(shown(:'d') #>> '{lastReport,ok}', 'true', 'by the report');
SELECT matches(shown(:'d') #>> '{lastReport,at}', '^20.*Z$', 'of this time');
SELECT is((shown(:'d') #> '{lastReport,detail}')::text, 'null', 'without a detail');
SELECT head() AS head \gset
SELECT is(reported('node', :'d', true, '{"message":"in 20 ms"}'), 'false', 'it still works');
SELECT is(head(), :head::bigint, 'which is no entry');
SELECT is(shown(:'d') #>> '{lastReport,detail,message}', 'in 20 ms', 'but shown');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain('places')), true, 'and no difference');
SELECT is(reported('node', :'d', false, '{"class":"denied","message":"no\n password=secret"}'), 'true', 'it fails');
SELECT is(shown(:'d') ->> 'state', 'failing', 'failing');
SELECT is(shown(:'d') #>> '{lastReport,detail,message}', '(withheld: it contained a token or a password)', 'without what nobody may read');
SELECT is((SELECT body::jsonb #>> '{payload,detail,class}' FROM walwarden.list_audit('places') ORDER BY seq DESC LIMIT 1), 'denied', 'the entry says why');
SELECT is((SELECT body::jsonb #>> '{payload,before,state}' || ' ' || (body::jsonb #>> '{payload,after,state}') FROM walwarden.list_audit('places') ORDER BY seq DESC LIMIT 1), 'verified failing', 'and what changed');
SELECT is(reported('node', :'d', false, 'null'), 'false', 'null is no detail');
SELECT is((shown(:'d') #> '{lastReport,detail}')::text, 'null', 'none is shown');

SELECT is(reported('node', :'d', NULL), '22023 ok is missing', 'ok');
SELECT is(reported('node', :'d', true, detail::jsonb), '22023 ' || problem, detail)
  FROM (VALUES ('[]', 'detail is not of type object'), ('"x"', 'detail is not of type object'), ('{"x":1}', 'detail.x is not a known field'), ('{"message":1}', 'detail.message is not of type string'),
               ('{"message":""}', 'detail.message does not have 1 to 1000 characters'), ('{"class":"No"}', 'detail.class does not match ^[a-z0-9_.-]+$'),
               ('{"class":"wal_' || repeat('a', 64) || '"}', 'detail.class contains a token or a password; treat it as disclosed')) AS v(detail, problem);
SELECT is(reported('node', :'d', true, jsonb_build_object('message', repeat('x', 20000))), '22023 detail is too long', 'a long detail');
SELECT is(reported('node', gen_random_uuid(), true) ~ '^42704 destination .* does not exist$', true, 'another destination');
SELECT is(reported('stranger', :'d', true), format('42704 destination %s does not exist', :'d'), 'a node of another organisation');
SELECT is(reported('api', :'d', true), '42501 the token is not a node token', 'a token of REST v1');
SELECT is(shown(:'d') ->> 'state', 'failing', 'none of these changed anything');

-- with another credential or region nobody has tried it; another name changes nothing
SELECT request('PATCH', '/destinations/' || :'d', '{"name":"e","retentionFloorDays":3}') ->> 'state' AS state \gset
SELECT is(:'state'::text, 'failing', 'another name');
SELECT request('PATCH', '/destinations/' || :'d', '{"credentialRef":"two"}') AS patched \gset
SELECT is(:'patched'::json ->> 'state', 'unverified', 'another credential');
SELECT is(:'patched'::json ->> 'lastReport', NULL, 'the report was about the first');
SELECT is(reported('node', :'d', true), 'true', 'it works with this one');
SELECT is(request('PATCH', '/destinations/' || :'d', '{"region":"eu-central-1"}') ->> 'state', 'unverified', 'another region');
SELECT is(reported('node', :'d', true), 'true', 'it works there');
-- a report by a token without a node is as good; with one, the node is seen
SELECT walwarden.authenticate(token) FROM tokens WHERE name = 'node' \g /dev/null
SET ROLE tds_runner;
SELECT walwarden.register_node('node', '1') \g /dev/null
RESET ROLE;
UPDATE walwarden_internal.node SET last_seen_at = NULL;
SELECT is(reported('node', :'d', true), 'false', 'it works for the node');
SELECT is((SELECT array_agg(last_seen_at > now()) FROM walwarden.list_nodes('places')), '{t}', 'which was seen');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain('places')), true, 'the chain holds');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain_sql('places')), true, 'in SQL too');
SAVEPOINT s;
UPDATE walwarden_internal.destination SET reported_state = 'failing';
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('places')), '^destination .* differs from entry', 'a state changed by hand is found');
ROLLBACK TO s;
SELECT request('DELETE', '/destinations/' || :'d') \g /dev/null
SELECT is(reported('node', :'d', true), format('42704 destination %s does not exist', :'d'), 'a deleted destination');

SELECT * FROM finish();
ROLLBACK;
