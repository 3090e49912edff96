-- Each example finds this, and leaves nothing behind: -- roll back
CREATE EXTENSION walwarden CASCADE;
CREATE ROLE ann;
CREATE ROLE ops;
CREATE ROLE bob;
CREATE ROLE web_anon;
CREATE ROLE authenticator;
CREATE ROLE runner;
CREATE ROLE exporter;
SELECT walwarden.grant_rest('web_anon', 'authenticator'), walwarden.grant_runner('runner');
SELECT walwarden.create_org('acme'), walwarden.add_member('acme', 'bob@acme.example', 'owner'), walwarden.add_member('acme', 'eve@acme.example', 'owner');
SELECT token FROM walwarden.issue_token('acme', 'ci', ARRAY(SELECT name FROM walwarden_internal.scope)) \gset
SELECT token AS node FROM walwarden.issue_token('acme', 'node', kind => 'node') \gset
CREATE TABLE t (org_id uuid);
CREATE TABLE old_keys AS SELECT 'bob@acme.example' AS email, gen_random_uuid() AS uuid, repeat('s', 32) AS secret;
CREATE FUNCTION request(token text, path text, body json) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.headers', json_build_object('x-walwarden-token', token, 'x-walwarden-method', 'POST', 'x-walwarden-path', '/api/v1' || path,
                                                            'x-walwarden-content-type', 'application/json', 'idempotency-key', gen_random_uuid())::text, true);
    RETURN walwarden_rest.v1_post(convert_to(body::text, 'UTF8'));
END
$$;
SELECT request(:'token', '/destinations', '{"name": "d", "provider": "local", "uri": "file:///srv"}') ->> 'id' AS destination \gset
SELECT request(:'token', '/databases', json_build_object('name', 'd', 'connectionRef', 'd', 'destinationId', :'destination')) ->> 'id' AS database \gset
SELECT request(:'token', format('/databases/%s/backups', :'database'), '{}') ->> 'backupJobId' AS job \gset
\set as_node 'SELECT walwarden.authenticate(:\'node\'); SET LOCAL ROLE runner;'
BEGIN;
:as_node SELECT walwarden.register_node('node-1', '1');
COMMIT;
\set claim ':as_node SELECT job_id AS p1, fence AS p2 FROM walwarden.claim_job(\'{backup}\') \\gset'
-- before authenticate
\set p1 :token
-- before authorize
\set p1 :token
-- before enable_token
SELECT walwarden.disable_token(token_id) FROM walwarden.list_tokens('acme');
-- before erase_member
SELECT walwarden.remove_member('acme', 'bob@acme.example');
-- before enable_member
SELECT walwarden.disable_member('acme', 'bob@acme.example');
-- before introspect_token
\set p1 :token
-- before require_scope
SELECT walwarden.authenticate(:'token');
-- before register_node
:as_node
-- before chain_hashes
:as_node
-- before publish_checkpoint
SELECT 'walwarden/' || id AS origin FROM walwarden_internal.org WHERE slug = 'acme' \gset
\set key `test/ed25519.py key page`
\set p1 `test/ed25519.py note page node-1 :'origin' 1 NcFqE0Y6BKVGkzPWsWq/60w2dDDtEIwl7zuJLwr1tKg=`
SELECT :'p1' || E'\n' AS p1 \gset
:as_node
SELECT walwarden.register_node('node-1', '1', :'key');
-- before report_alarm
:as_node
-- before accept_history
:as_node SELECT walwarden.report_alarm(7, repeat('0a', 32), NULL); RESET ROLE;
-- before report_destination
\set p1 :destination
:as_node
-- before claim_job
:as_node
-- before held_jobs
:claim
-- before release_job
:claim
-- before heartbeat_job
:claim
-- before report_job
:claim
-- before record_evidence
:claim
SELECT walwarden.report_job(:'p1', :p2, 'running');
