-- Alarms: what a node reports of another history, and how an operator accepts it.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

CREATE ROLE ta_runner;
CREATE ROLE ta_operator;
SELECT walwarden.create_org('alarm') IS NOT NULL, walwarden.create_org('quiet') IS NOT NULL, walwarden.grant_runner('ta_runner'), walwarden.grant_operator('ta_operator') \g /dev/null
CREATE TEMP TABLE tokens AS SELECT name, (walwarden.issue_token('alarm', name, kind => 'node')).token FROM unnest('{one,two}'::text[]) AS name;
INSERT INTO tokens SELECT 'api', token FROM walwarden.issue_token('alarm', 'api', ARRAY['readiness:read']);
GRANT SELECT ON tokens TO ta_runner;
CREATE FUNCTION as_node(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.authenticate((SELECT t.token FROM tokens AS t WHERE t.name = as_node.name));
END
$$;
-- the check of GET /readiness
CREATE FUNCTION kept() RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.headers', json_build_object('x-walwarden-token', (SELECT t.token FROM tokens AS t WHERE t.name = 'api'), 'x-walwarden-method', 'GET',
                                                            'x-walwarden-path', '/api/v1/readiness')::text, true);
    RETURN (SELECT c FROM json_array_elements(walwarden_rest.v1_get() -> 'checks') AS c WHERE c ->> 'name' = 'history_kept');
END
$$;
CREATE FUNCTION alarms() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM walwarden.list_audit('alarm') WHERE kind = 'audit.alarm' $$;
SELECT as_node('two'), set_config('role', 'ta_runner', true), walwarden.register_node('node-2', '1'),
       as_node('one'), walwarden.register_node('node-1', '1') \g /dev/null
RESET ROLE;
-- as published by the node; signatures are tried elsewhere
INSERT INTO walwarden_internal.checkpoint SELECT n.id, n.org_id, 7, sha256(''), 'note of ' || n.name, 'key', now() FROM walwarden_internal.node AS n JOIN walwarden_internal.org AS o ON o.id = n.org_id WHERE o.slug = 'alarm';

SELECT is(alarms(), 0::bigint, 'no alarm yet');
SELECT is(kept() ->> 'status', 'pass', 'the service is ready');
SELECT matches(kept() ->> 'detail', '; the largest checkpoint has 7 entries and came [0-9]+ seconds ago$', 'and says how old the newest checkpoint is');
SELECT as_node('one') \g /dev/null
SET ROLE ta_runner;
SELECT is(walwarden.report_alarm(7, repeat('a', 64), repeat('b', 64)), NULL, 'an alarm');
SELECT is(walwarden.report_alarm(7, repeat('a', 64), repeat('b', 64)), NULL, 'the same again');
RESET ROLE;
SELECT is(alarms(), 1::bigint, 'is one entry');
SELECT is((body::jsonb #> '{payload,after}') - '{nodeId,reportedAt}'::text[], jsonb_build_object('seq', 7, 'knownHash', repeat('a', 64), 'seenHash', repeat('b', 64), 'acceptedAt', NULL), 'which says what was found')
  FROM walwarden.list_audit('alarm') WHERE kind = 'audit.alarm';
SELECT is(body::jsonb #>> '{payload,actor,kind}', 'token', 'and by whom') FROM walwarden.list_audit('alarm') WHERE kind = 'audit.alarm';
SELECT is((SELECT ok FROM walwarden.verify_audit_chain('alarm')), true, 'the chain describes it');

-- the end is missing
SET ROLE ta_runner;
SELECT as_node('two') \g /dev/null
SELECT is(walwarden.report_alarm(7, repeat('a', 64), NULL), NULL, 'of another node');
SELECT is(walwarden.report_alarm(7, repeat('a', 64), NULL), NULL, 'the same again, without a hash');
RESET ROLE;
SELECT is(alarms(), 2::bigint, 'is one more entry');
SELECT is(kept() ->> 'status', 'fail', 'the service is not ready');
SELECT matches(kept() ->> 'detail', '^2 nodes have found another chain', 'which says why');
SELECT results_eq('SELECT org, node, seq FROM walwarden.stat_alarms ORDER BY node', $$VALUES ('alarm', 'node-1', 7::bigint), ('alarm', 'node-2', 7)$$, 'nodes with an alarm');
SELECT as_node('two') \g /dev/null

-- nothing is blocked
SET ROLE ta_runner;
SELECT is_empty($$SELECT * FROM walwarden.claim_job('{backup}')$$, 'the node could ask for jobs');
SELECT isnt_empty('SELECT * FROM walwarden.chain_hashes(0, 1)', 'and for hashes');
RESET ROLE;

-- accepted
SET ROLE ta_operator;
SELECT walwarden.accept_history('alarm', 'node-1', 'restored last night') AS accepted \gset
SELECT throws_ok($$SELECT walwarden.accept_history('alarm', 'node-1', 'again')$$, '55000', 'node "node-1" has no alarm', 'once');
RESET ROLE;
SELECT results_eq($$SELECT kind, body::jsonb #>> '{payload,reason}', body::jsonb #>> '{payload,checkpoint}', body::jsonb #>> '{payload,actor,role}' FROM walwarden.list_audit('alarm') ORDER BY seq DESC LIMIT 1$$,
                  $$VALUES ('audit.history_accepted', 'restored last night', 'note of node-1', 'ta_operator')$$, 'an entry, with the checkpoint that goes');
SELECT results_eq('SELECT note FROM walwarden_internal.checkpoint WHERE note ~ ''^note of''', $$VALUES ('note of node-2')$$, 'which is gone, and no other');
SELECT is((SELECT max(seq) FROM walwarden.list_audit('alarm')), :accepted::bigint, 'returns its seq');
SELECT matches(kept() ->> 'detail', '^1 nodes', 'one is left');
SELECT results_eq('SELECT node FROM walwarden.stat_alarms', $$VALUES ('node-2')$$, 'the other');
SELECT as_node('two') \g /dev/null
SELECT is((SELECT ok FROM walwarden.verify_audit_chain('alarm')), true, 'the chain describes it');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain_sql('alarm')), true, 'in SQL too');
SET ROLE ta_runner;
SELECT is(walwarden.report_alarm(7, repeat('a', 64), NULL), NULL, 'not that of the other node');
SELECT as_node('one') \g /dev/null
SELECT is(walwarden.report_alarm(7, repeat('a', 64), repeat('b', 64)), :accepted::bigint, 'the node reads it');
RESET ROLE;
SELECT is(alarms(), 2::bigint, 'without another entry');

-- another one is an alarm again
SET ROLE ta_runner;
SELECT is(walwarden.report_alarm(7, repeat('a', 64), repeat('c', 64)), NULL, 'another hash');
RESET ROLE;
SELECT is(alarms(), 3::bigint, 'is another alarm');
SELECT is((SELECT accepted_at FROM walwarden_internal.alarm WHERE seen_hash = repeat('c', 64)), NULL, 'which nobody has accepted');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain('alarm')), true, 'the chain describes it');
-- a superuser who accepts in silence
SET session_replication_role = replica;
UPDATE walwarden_internal.alarm SET accepted_at = now() WHERE seen_hash = repeat('c', 64);
SET session_replication_role = origin;
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('alarm')), '^alarm .* differs from entry', 'an acceptance without an entry is found');

SELECT * FROM finish();
ROLLBACK;
