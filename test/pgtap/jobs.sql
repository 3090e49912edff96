-- Job state machines, every pair of states; and what the chain says of them.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

CREATE ROLE pgtap_runner;
SELECT walwarden.create_org('jobs') IS NOT NULL AS made, walwarden.grant_runner('pgtap_runner') \g /dev/null
CREATE TEMP TABLE tokens (name text, token text);
GRANT SELECT ON tokens TO pgtap_runner;
INSERT INTO tokens SELECT 'node', token FROM walwarden.issue_token('jobs', 'node', kind => 'node');
INSERT INTO tokens SELECT 'api', token FROM walwarden.issue_token('jobs', 'api', ARRAY['databases:write', 'databases:read', 'destinations:write', 'backups:trigger', 'restores:write']);

CREATE FUNCTION request(method text, path text, body text) RETURNS json
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.headers', json_build_object(
        'x-walwarden-token', (SELECT t.token FROM tokens AS t WHERE t.name = 'api'), 'x-walwarden-method', method,
        'x-walwarden-path', '/api/v1' || path, 'x-walwarden-content-type', 'application/json', 'idempotency-key', gen_random_uuid())::text, true);
    RETURN walwarden_rest.v1_post(convert_to(body, 'UTF8'));
END
$$;

SELECT request('POST', '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id' AS destination \gset
SELECT request('POST', '/databases', format('{"name":"d","connectionRef":"d","destinationId":"%s"}', :'destination')) ->> 'id' AS database \gset
SELECT request('POST', format('/databases/%s/backups', :'database'), '') ->> 'backupJobId' AS backup \gset
SELECT walwarden.authenticate(token) AS node FROM tokens WHERE name = 'node' \gset
SET ROLE pgtap_runner;
SELECT fence FROM walwarden.claim_job('{backup}') \g /dev/null
SELECT walwarden.report_job(:'backup', 1, 'running'), walwarden.report_job(:'backup', 1, 'finalizing'),
       walwarden.report_job(:'backup', 1, 'completed', jsonb_build_object('artifact', jsonb_build_object('name', 'b', 'sizeBytes', 0, 'checksumSha256', repeat('0', 64)))) \g /dev/null
RESET ROLE;
SELECT request('POST', '/restores', format('{"databaseId":"%s","backupJobId":"%s","kind":"drill","mode":"new_database","target":"x"}', :'database', :'backup')) ->> 'restoreJobId' AS restore \gset
SELECT walwarden.authenticate(token) FROM tokens WHERE name = 'node' \g /dev/null

-- What a runner may report, written out here once more.
CREATE TEMP TABLE allowed (machine text, from_state text, to_state text);
INSERT INTO allowed VALUES
    ('backup', 'claimed', 'running'), ('backup', 'running', 'finalizing'), ('backup', 'finalizing', 'completed'),
    ('backup', 'claimed', 'failed'), ('backup', 'running', 'failed'), ('backup', 'finalizing', 'failed'),
    ('restore', 'claimed', 'downloading'), ('restore', 'downloading', 'verifying'), ('restore', 'verifying', 'manifest_verified'),
    ('restore', 'manifest_verified', 'restoring'), ('restore', 'restoring', 'finalizing'), ('restore', 'finalizing', 'completed'),
    ('restore', 'claimed', 'failed'), ('restore', 'downloading', 'failed'), ('restore', 'verifying', 'failed'),
    ('restore', 'manifest_verified', 'failed'), ('restore', 'restoring', 'failed'), ('restore', 'finalizing', 'failed');
GRANT SELECT ON allowed TO pgtap_runner;

-- Puts the job into a state, reports another; the SQLSTATE or what is returned. All undone.
CREATE FUNCTION attempt(job uuid, from_machine text, from_state text, to_state text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    BEGIN
        UPDATE walwarden.job AS j SET state = from_state, fence = 7, claimed_by = walwarden.current_token_id(), attempt = 1, lease = '1 min',
               done = (SELECT s.done FROM walwarden.job_state AS s WHERE s.machine = j.machine AND s.state = from_state)
         WHERE j.id = job;
        SET LOCAL ROLE pgtap_runner;
        result := walwarden.report_job(job, 7, to_state, '{"error":{"class":"x","message":"x","retryable":false}}'
            || CASE from_machine WHEN 'backup' THEN jsonb_build_object('artifact', jsonb_build_object('name', 'b', 'sizeBytes', 0, 'checksumSha256', repeat('0', 64)))
                                 ELSE '{"validation":{"result":"passed"}}' END);
        RAISE SQLSTATE 'WWWWW' USING MESSAGE = result;
    EXCEPTION
        WHEN SQLSTATE 'WWWWW' THEN result := SQLERRM;
        WHEN OTHERS THEN result := SQLSTATE;
    END;
    RETURN result;
END
$$;

SELECT is(attempt(CASE f.machine WHEN 'backup' THEN :'backup' ELSE :'restore' END::uuid, f.machine, f.state, t.state),
          CASE WHEN f.state = t.state THEN 'false'
               WHEN EXISTS (SELECT FROM allowed AS a WHERE a.machine = f.machine AND a.from_state = f.state AND a.to_state = t.state) THEN 'true'
               ELSE '55000' END,
          format('%s: %s to %s', f.machine, f.state, t.state))
  FROM walwarden.job_state AS f
  JOIN walwarden.job_state AS t ON t.machine = f.machine
 ORDER BY f.machine, f.state, t.state;

-- terminal states never change, whoever asks
SELECT is((SELECT count(*) FROM walwarden.job_transition
            WHERE from_state IN ('completed', 'cancelled', 'dismissed', 'timed_out') OR (machine = 'restore' AND from_state = 'failed')),
          0::bigint, 'terminal states have no transition');
SELECT is((SELECT array_agg(from_state ORDER BY from_state) FROM walwarden.job_transition WHERE to_state = 'cancelled'), '{claimed,queued,running}', 'cancel');
SELECT is((SELECT array_agg(from_state) FROM walwarden.job_transition WHERE to_state = 'dismissed'), '{failed}', 'dismiss');
SELECT is((SELECT array_agg(state ORDER BY state) FROM walwarden.job_state WHERE done AND machine = 'backup'), '{cancelled,completed,dismissed,failed}', 'done backups');
SELECT is((SELECT array_agg(state ORDER BY state) FROM walwarden.job_state WHERE done AND machine = 'restore'), '{completed,failed,timed_out}', 'done restores');

-- a restore whose target was touched is not begun again
SET ROLE pgtap_runner;
SELECT is((SELECT count(*) FROM walwarden.claim_job('{drill}', '1 s')), 1::bigint, 'the drill is claimed');
SELECT ok(walwarden.report_job(:'restore', 1, s), s) FROM unnest('{downloading,verifying,manifest_verified,restoring}'::text[]) AS s;
RESET ROLE;
UPDATE walwarden.job SET lease_until = clock_timestamp() - interval '1 s' WHERE id = :'restore';
SET ROLE pgtap_runner;
SELECT is((SELECT count(*) FROM walwarden.claim_job('{drill}')), 0::bigint, 'it is not claimed again');
RESET ROLE;
SELECT is((SELECT state FROM walwarden.job WHERE id = :'restore'), 'timed_out', 'it timed out');

-- the chain
SELECT is((SELECT array_agg(kind ORDER BY seq) FROM walwarden.audit_entry WHERE job_id = :'restore'),
          '{restore.triggered,restore.claimed,restore.downloading,restore.verifying,restore.manifest_verified,restore.restoring,restore.timed_out}', 'entries of the drill');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain('jobs')), true, 'the chain holds');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain_sql('jobs')), true, 'in SQL too');

-- a job, its evidence, a database or a destination altered behind its back is found
SAVEPOINT s;
UPDATE walwarden.job SET state = 'completed', done = true WHERE id = :'restore';
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('jobs')), '^job .* differs from entry', 'an altered job');
ROLLBACK TO s;
UPDATE walwarden.database SET connection_ref = 'evil' WHERE id = :'database';
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('jobs')), '^database .* differs from entry', 'an altered database');
ROLLBACK TO s;
UPDATE walwarden.destination SET uri = 's3://evil' WHERE id = :'destination';
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('jobs')), '^destination .* differs from entry', 'an altered destination');
ROLLBACK TO s;
SET ROLE pgtap_runner;
SELECT ok(walwarden.record_evidence(:'backup', 1, '{"manifest":{},"integrityVerification":{"result":"failed","checkedAt":"2026-11-21T17:00:00Z","tool":"x"},"recoverableTo":"2026-11-20T17:00:00Z"}'), 'evidence after the fact');
RESET ROLE;
UPDATE walwarden.evidence SET state = 'verified', result = 'passed';
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('jobs')), '^evidence .* differs from entry', 'altered evidence');
ROLLBACK TO s;

-- reports are limited in bytes: what fits once fits twice, before and after
SELECT request('POST', format('/databases/%s/backups', :'database'), '') ->> 'backupJobId' AS wide \gset
SELECT walwarden.authenticate(token) FROM tokens WHERE name = 'node' \g /dev/null
SET ROLE pgtap_runner;
SELECT fence FROM walwarden.claim_job('{backup}') \g /dev/null
SELECT ok(walwarden.report_job(:'wide', 1, 'running', jsonb_build_object('artifact', jsonb_build_object('name', repeat(U&'\6F22', 500), 'sizeBytes', 0, 'checksumSha256', repeat('0', 64)))), 'wide characters');
SELECT throws_ok(format($$SELECT walwarden.record_evidence(%L, 1, jsonb_build_object('manifest', jsonb_build_object('x', repeat(U&'\6F22', 6000))))$$, :'wide'), '22023', 'evidence is too long', 'bytes, not characters');
SELECT throws_ok(format($$SELECT walwarden.record_evidence(%L, 1, '{"manifest":{"x":1.5},"integrityVerification":{"result":"not_run","checkedAt":null,"tool":null},"recoverableTo":"2026-11-20T17:00:00Z"}')$$, :'wide'), '22023', NULL, 'integers only');
SELECT ok(walwarden.record_evidence(:'wide', 1, jsonb_build_object('manifest', jsonb_build_object('x', repeat(U&'\6F22', 5200 + i)), 'integrityVerification', '{"result":"not_run","checkedAt":null,"tool":null}'::jsonb, 'recoverableTo', '2026-11-20T17:00:00Z')), 'the largest evidence, again') FROM generate_series(1, 3) AS i;
SELECT ok(walwarden.report_job(:'wide', 1, 'failed', jsonb_build_object('error', jsonb_build_object('class', 'x', 'message', repeat(U&'\6F22', 1000), 'retryable', false))), 'and the end');
RESET ROLE;
SELECT is(walwarden._plain_report(v) #>> '{error,message}', expected, 'plain: ' || expected)
  FROM (VALUES ('{"error":{"message":"connection failed\n\tIs the server running?\n"}}'::jsonb, 'connection failed Is the server running?'),
               ('{"error":{"message":"option password=x is bad"}}', '(withheld: it held a token or a password)'), ('{"error":{"message":7}}', '7')) AS v(v, expected);

-- views of lists hold no volatile function: a page would cost as much as the list
SELECT is((SELECT array_agg(DISTINCT v.viewname::text) FROM pg_views AS v
            WHERE v.schemaname = 'walwarden' AND v.viewname ~ '^_(shown|standing|telling)' AND v.definition ~ 'clock_timestamp|random'), NULL, 'no volatile function');

-- schemas and cron
SELECT is(walwarden._is_cron(c), expected, c)
  FROM (VALUES ('* * * * *', true), ('0 3 * * *', true), ('*/15 0-23 1,15 1-12/2 0-7', true), ('59 23 31 12 7', true),
               ('', false), ('* * * *', false), ('* * * * * *', false), ('60 * * * *', false), ('* 24 * * *', false), ('* * 0 * *', false),
               ('* * 32 * *', false), ('* * * 13 *', false), ('* * * * 8', false), ('5-1 * * * *', false), ('*/0 * * * *', false), ('*/61 * * * *', false), ('* 0-23/24 * * *', false),
               ('-1 * * * *', false), ('a * * * *', false), ('1,,2 * * * *', false), ('* *  * * *', false), ('@daily', false), ('0 3 * * MON', false)) AS v(c, expected);
SELECT is(walwarden._is_time(t), expected, t)
  FROM (VALUES ('2026-11-21T17:33:20Z', true), ('2026-11-21T17:33:20.123456Z', true), ('2026-11-21', false), ('2026-13-21T17:33:20Z', false),
               ('2026-11-21T17:33:20+01:00', false), ('infinity', false), ('2026-02-30T00:00:00Z', false), ('2026-11-21T25:00:00Z', false)) AS v(t, expected);

SELECT * FROM finish();
ROLLBACK;
