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

\ir request.psql
CREATE FUNCTION request(method text, path text, body text) RETURNS json LANGUAGE sql AS $$
    SELECT pg_temp.rest((SELECT t.token FROM tokens AS t WHERE t.name = 'api'), method, path, body)
$$;

SELECT request('POST', '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id' AS destination \gset
SELECT request('POST', '/databases', format('{"name":"d","connectionRef":"d","destinationId":"%s"}', :'destination')) ->> 'id' AS database \gset
SELECT request('POST', format('/databases/%s/backups', :'database'), '') ->> 'backupJobId' AS backup \gset
SELECT walwarden.authenticate(token) AS node FROM tokens WHERE name = 'node' \gset
SET ROLE pgtap_runner;
SELECT walwarden.register_node('node', '1') AS node_id \gset
SELECT fence FROM walwarden.claim_job('{backup}') \g /dev/null
SELECT walwarden.report_job(:'backup', 1, 'running'), walwarden.report_job(:'backup', 1, 'finalizing'),
       walwarden.record_evidence(:'backup', 1, jsonb_build_object('manifest', jsonb_build_object('artifact', jsonb_build_object('checksumSha256', repeat('0', 64))),
                                 'integrityVerification', '{"result":"not_run","checkedAt":null,"tool":null}'::jsonb, 'recoverableTo', '2026-11-20T17:00:00Z')),
       walwarden.report_job(:'backup', 1, 'completed', jsonb_build_object('artifact', jsonb_build_object('name', 'b', 'sizeBytes', 0, 'checksumSha256', repeat('0', 64)))) \g /dev/null
RESET ROLE;
SELECT request('POST', '/restores', format('{"databaseId":"%s","backupJobId":"%s","kind":"drill","mode":"new_database","target":"x"}', :'database', :'backup')) ->> 'restoreJobId' AS drill \gset
SELECT request('POST', '/restores', format('{"databaseId":"%s","backupJobId":"%s","kind":"restore","mode":"new_database","target":"x/y"}', :'database', :'backup')) ->> 'restoreJobId' AS restore \gset
SELECT walwarden.authenticate(token) FROM tokens WHERE name = 'node' \g /dev/null

-- What a runner may report, written out here once more.
CREATE TEMP TABLE allowed (kind text, from_state text, to_state text);
INSERT INTO allowed VALUES
    ('backup', 'claimed', 'running'), ('backup', 'running', 'finalizing'), ('backup', 'finalizing', 'completed'),
    ('backup', 'claimed', 'failed'), ('backup', 'running', 'failed'), ('backup', 'finalizing', 'failed'),
    ('restore', 'claimed', 'downloading'), ('restore', 'downloading', 'verifying'), ('restore', 'verifying', 'manifest_verified'),
    ('restore', 'manifest_verified', 'restoring'), ('restore', 'restoring', 'finalizing'), ('restore', 'finalizing', 'completed'),
    ('restore', 'claimed', 'failed'), ('restore', 'downloading', 'failed'), ('restore', 'verifying', 'failed'),
    ('restore', 'manifest_verified', 'failed'), ('restore', 'restoring', 'failed'), ('restore', 'finalizing', 'failed');
INSERT INTO allowed SELECT 'drill', from_state, to_state FROM allowed WHERE kind = 'restore';

-- Puts the job into a state, reports another; the SQLSTATE or what is returned. All undone.
CREATE FUNCTION attempt(job uuid, node uuid, kind text, from_state text, to_state text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    BEGIN
        UPDATE walwarden_internal.job AS j SET state = from_state, fence = 7, claimed_by = CASE WHEN from_state <> 'queued' THEN node END, attempt = 1, lease = '1 min',
               done = (SELECT s.done FROM walwarden_internal.job_state AS s WHERE s.machine = j.kind AND s.state = from_state)
         WHERE j.id = job;
        UPDATE walwarden_internal.evidence SET fence = 7 WHERE backup_job_id = job;
        SET LOCAL ROLE pgtap_runner;
        result := walwarden.report_job(job, 7, to_state, '{"error":{"class":"x","message":"x","retryable":false}}'
            || CASE kind WHEN 'backup' THEN jsonb_build_object('artifact', jsonb_build_object('name', 'b', 'sizeBytes', 0, 'checksumSha256', repeat('0', 64)))
                                 ELSE '{"validation":{"result":"passed"}}' END);
        RAISE SQLSTATE 'WWWWW' USING MESSAGE = result;
    EXCEPTION
        WHEN SQLSTATE 'WWWWW' THEN result := SQLERRM;
        WHEN OTHERS THEN result := SQLSTATE;
    END;
    RETURN result;
END
$$;

SELECT is(attempt(CASE f.machine WHEN 'backup' THEN :'backup' WHEN 'drill' THEN :'drill' ELSE :'restore' END::uuid, :'node_id', f.machine, f.state, t.state),
          CASE WHEN f.state = 'queued' THEN '55000'
               WHEN f.state = t.state THEN 'false'
               WHEN EXISTS (SELECT FROM allowed AS a WHERE a.kind = f.machine AND a.from_state = f.state AND a.to_state = t.state) THEN 'true'
               ELSE '55000' END,
          format('%s: %s to %s', f.machine, f.state, t.state))
  FROM walwarden_internal.job_state AS f
  JOIN walwarden_internal.job_state AS t ON t.machine = f.machine
 WHERE f.machine <> 'expire'       -- retention.sql
 ORDER BY f.machine, f.state, t.state;

-- terminal states never change, whoever asks
SELECT is((SELECT count(*) FROM walwarden_internal.job_transition
            WHERE from_state IN ('completed', 'cancelled', 'dismissed', 'timed_out') OR (machine <> 'backup' AND from_state = 'failed')),
          1::bigint, 'terminal states have no transition but one');
SELECT is((SELECT array_agg(concat_ws(' ', machine, from_state, to_state, moved_by)) FROM walwarden_internal.job_transition WHERE to_state = 'expired'), '{backup completed expired expire}', 'a completed backup expires');
SELECT set_eq($$SELECT machine COLLATE "default", string_agg(from_state, ' ' ORDER BY from_state) FROM walwarden_internal.job_transition WHERE to_state = 'cancelled' AND moved_by = 'api' GROUP BY machine$$,
              $$VALUES ('backup', 'claimed queued running'), ('restore', 'claimed downloading manifest_verified queued verifying'), ('drill', 'claimed downloading manifest_verified queued verifying')$$, 'cancel');
SELECT set_eq($$SELECT machine COLLATE "default", moved_by COLLATE "default", split_part(event, '.', 2), string_agg(from_state, ' ' ORDER BY from_state) FROM walwarden_internal.job_transition WHERE to_state = 'queued' AND from_state IS NOT NULL GROUP BY 1, 2, 3$$,
              $$SELECT m.machine, w.moved_by, w.verb, m.states FROM (VALUES ('runner', 'retried'), ('runner', 'released'), ('lease', 'lease_ended')) AS w(moved_by, verb),
                       (VALUES ('backup', 'claimed finalizing running'), ('restore', 'claimed downloading manifest_verified verifying'), ('drill', 'claimed downloading finalizing manifest_verified restoring verifying'), ('expire', 'claimed')) AS m(machine, states)$$,
              'what goes back into the queue: of restores what has not touched its target');
SELECT is((SELECT array_agg(from_state) FROM walwarden_internal.job_transition WHERE to_state = 'dismissed'), '{failed}', 'dismiss');
SELECT is((SELECT array_agg(state ORDER BY state) FROM walwarden_internal.job_state WHERE done AND machine = 'backup'), '{cancelled,completed,dismissed,expired,failed}', 'done backups');
SELECT is((SELECT array_agg(state ORDER BY state) FROM walwarden_internal.job_state WHERE done AND machine IN ('restore', 'drill')), '{cancelled,cancelled,completed,completed,failed,failed,timed_out,timed_out}', 'done restores and drills');
SELECT is((SELECT string_agg(format('%s %s %s', t.machine, s.state, t.to_state), ', ' ORDER BY s.machine, s.state) FROM walwarden_internal.job_state AS s
            LEFT JOIN walwarden_internal.job_transition AS t ON t.machine = s.machine AND t.from_state = s.state AND t.moved_by = 'close' WHERE NOT s.done),
          'backup claimed cancelled, backup finalizing cancelled, backup queued cancelled, backup running cancelled, '
          'drill claimed cancelled, drill downloading cancelled, drill finalizing timed_out, drill manifest_verified cancelled, drill queued cancelled, drill restoring timed_out, drill verifying cancelled, '
          'expire claimed failed, expire queued failed, '
          'restore claimed cancelled, restore downloading cancelled, restore finalizing timed_out, restore manifest_verified cancelled, restore queued cancelled, restore restoring timed_out, restore verifying cancelled',
          'a closing ends every job in one way');

-- a restore whose target was touched is not begun again
SET ROLE pgtap_runner;
SELECT is((SELECT count(*) FROM walwarden.claim_job('{restore}', '1 s')), 1::bigint, 'the restore is claimed');
SELECT ok(walwarden.report_job(:'restore', 1, s), s) FROM unnest('{downloading,verifying,manifest_verified,restoring}'::text[]) AS s;
RESET ROLE;
UPDATE walwarden_internal.job SET lease_until = clock_timestamp() - interval '1 s' WHERE id = :'restore';
SET ROLE pgtap_runner;
SELECT is((SELECT count(*) FROM walwarden.claim_job('{restore}')), 0::bigint, 'it is not claimed again');
RESET ROLE;
SELECT is((SELECT state FROM walwarden_internal.job WHERE id = :'restore'), 'timed_out', 'it timed out');

-- the chain
SELECT is((SELECT array_agg(kind ORDER BY seq) FROM walwarden_internal.audit_entry WHERE job_id = :'restore'),
          '{restore.triggered,restore.claimed,restore.downloading,restore.verifying,restore.manifest_verified,restore.restoring,restore.timed_out}', 'entries of the restore');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain('jobs')), true, 'the chain holds');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain_sql('jobs')), true, 'in SQL too');

-- a job, its evidence, a database or a destination altered behind its back is found
SAVEPOINT s;
UPDATE walwarden_internal.job SET state = 'completed', done = true WHERE id = :'restore';
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('jobs')), '^job .* differs from entry', 'an altered job');
ROLLBACK TO s;
UPDATE walwarden_internal.database SET connection_ref = 'evil' WHERE id = :'database';
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('jobs')), '^database .* differs from entry', 'an altered database');
ROLLBACK TO s;
UPDATE walwarden_internal.destination SET uri = 's3://evil' WHERE id = :'destination';
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('jobs')), '^destination .* differs from entry', 'an altered destination');
ROLLBACK TO s;
INSERT INTO walwarden_internal.node_token SELECT t.id, t.org_id, n.id, n.audit_seq FROM walwarden_internal.node AS n JOIN walwarden_internal.token AS t ON t.org_id = n.org_id WHERE t.name = 'api';
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('jobs')), '^node_token .* differs from entry', 'a token that was given a node');
ROLLBACK TO s;
UPDATE walwarden_internal.node SET last_seen_at = NULL;
SELECT is((SELECT reason FROM walwarden.verify_audit_chain('jobs')), NULL, 'when a node was seen is not described');
SET ROLE pgtap_runner;
SELECT ok(walwarden.record_evidence(:'backup', 1, jsonb_build_object('manifest', jsonb_build_object('artifact', jsonb_build_object('checksumSha256', repeat('0', 64))),
    'integrityVerification', '{"result":"failed","checkedAt":"2026-11-21T17:00:00Z","tool":"x"}'::jsonb, 'recoverableTo', '2026-11-20T17:00:00Z')), 'evidence after the fact');
RESET ROLE;
UPDATE walwarden_internal.evidence SET state = 'verified', result = 'passed';
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('jobs')), '^evidence .* differs from entry', 'altered evidence');
ROLLBACK TO s;

-- reports are limited in bytes: what fits once fits twice, before and after
SELECT request('POST', format('/databases/%s/backups', :'database'), '') ->> 'backupJobId' AS wide \gset
SELECT walwarden.authenticate(token) FROM tokens WHERE name = 'node' \g /dev/null
SET ROLE pgtap_runner;
SELECT fence FROM walwarden.claim_job('{backup}') \g /dev/null
SELECT ok(walwarden.report_job(:'wide', 1, 'running', jsonb_build_object('artifact', jsonb_build_object('name', repeat('x', 500), 'sizeBytes', 0, 'checksumSha256', repeat('0', 64)))), 'the longest name');
SELECT throws_ok(format($$SELECT walwarden.record_evidence(%L, 1, jsonb_build_object('manifest', jsonb_build_object('x', repeat(U&'\6F22', 6000))))$$, :'wide'), '22023', 'evidence is too long', 'bytes, not characters');
SELECT throws_ok(format($$SELECT walwarden.record_evidence(%L, 1, '{"manifest":{"x":1.5},"integrityVerification":{"result":"not_run","checkedAt":null,"tool":null},"recoverableTo":"2026-11-20T17:00:00Z"}')$$, :'wide'), '22023', NULL, 'integers only');
SELECT ok(walwarden.record_evidence(:'wide', 1, jsonb_build_object('manifest', jsonb_build_object('x', repeat(U&'\6F22', 5200 + i)), 'integrityVerification', '{"result":"not_run","checkedAt":null,"tool":null}'::jsonb, 'recoverableTo', '2026-11-20T17:00:00Z')), 'the largest evidence, again') FROM generate_series(1, 3) AS i;
-- before it is read for secrets, which takes time: afterwards, this message would be short
SELECT throws_ok(format($$SELECT walwarden.report_job(%L, 1, 'failed', jsonb_build_object('error', jsonb_build_object('class', 'x', 'message', 'password=' || repeat('x', 20000), 'retryable', false)))$$, :'wide'), '22023', 'detail is too long', 'a report is measured first');
SELECT ok(walwarden.report_job(:'wide', 1, 'failed', jsonb_build_object('error', jsonb_build_object('class', 'x', 'message', repeat(U&'\6F22', 1000), 'retryable', false))), 'and the end');
RESET ROLE;
SELECT is(walwarden_internal.plain_report(v) #>> '{error,message}', expected, 'plain: ' || expected)
  FROM (VALUES ('{"error":{"message":"connection failed\n\tIs the server running?\n"}}'::jsonb, 'connection failed Is the server running?'),
               ('{"error":{"message":"option password=x is bad"}}', '(withheld: it contained a token or a password)'), ('{"error":{"message":7}}', '7')) AS v(v, expected);

-- measured seconds: all of them, whole and not negative
SELECT is(walwarden_internal.schema_problem('JobReport', jsonb_build_object('validation', jsonb_build_object('result', 'passed', 'measured', m::jsonb)), 'detail') ->> 'message', problem, m)
  FROM (VALUES ('{"fetchSeconds":0,"restoreSeconds":310,"checkSeconds":25}', NULL), ('{"fetchSeconds":0,"restoreSeconds":310}', 'detail.validation.measured.checkSeconds is missing'),
               ('{"fetchSeconds":-1,"restoreSeconds":310,"checkSeconds":25}', 'detail.validation.measured.fetchSeconds is not between 0 and 9007199254740991'),
               ('{"fetchSeconds":1.5,"restoreSeconds":310,"checkSeconds":25}', 'detail.validation.measured.fetchSeconds is not of type integer'),
               ('{"fetchSeconds":1,"restoreSeconds":310,"checkSeconds":25,"x":1}', 'detail.validation.measured.x is not a known field'),
               ('375', 'detail.validation.measured is not of type object'), ('null', 'detail.validation.measured is not of type object')) AS v(m, problem);

-- views of lists hold no volatile function: a page would cost as much as the list
SELECT is((SELECT array_agg(DISTINCT v.viewname::text) FROM pg_views AS v
            WHERE v.schemaname = 'walwarden_internal' AND v.viewname ~ '^(shown|valid|conclusive)' AND v.definition ~ 'clock_timestamp|random'), NULL, 'no volatile function');

-- schemas and cron
SELECT is(walwarden_internal.is_cron(c), expected, c)
  FROM (VALUES ('* * * * *', true), ('0 3 * * *', true), ('*/15 0-23 1,15 1-12/2 0-7', true), ('59 23 31 12 7', true),
               ('', false), ('* * * *', false), ('* * * * * *', false), ('60 * * * *', false), ('* 24 * * *', false), ('* * 0 * *', false),
               ('* * 32 * *', false), ('* * * 13 *', false), ('* * * * 8', false), ('5-1 * * * *', false), ('*/0 * * * *', false), ('*/61 * * * *', false), ('* 0-23/24 * * *', false),
               ('-1 * * * *', false), ('a * * * *', false), ('1,,2 * * * *', false), ('* *  * * *', false), ('@daily', false), ('0 3 * * MON', false),
               ('*/99999999999 * * * *', false), ('1-99999999999 * * * *', false), ('99999999999 * * * *', false), ('* * * * *' || chr(10), false),
               ('5/10 * * * *', false), ('1-9/3,*/20 * * * *', true),
               ('0 0 30 2 *', false), ('0 0 30,31 2 *', false), ('0 0 31 4,6,9,11 *', false), ('0 0 31 4-6/2 *', false), ('0 0 30 2 */2', true), ('0 0 30 2 */1', false),
               ('0 0 29 2 *', true), ('0 0 1,31 2 *', true), ('0 0 31 4-6 *', true), ('0 0 */30 2 *', true), ('0 0 30 2 1', true)) AS v(c, expected);
SELECT is(walwarden_internal.is_time(t), expected, t)
  FROM (VALUES ('2026-11-21T17:33:20Z', true), ('2026-11-21T17:33:20.123456Z', true), ('2026-11-21', false), ('2026-13-21T17:33:20Z', false),
               ('2026-11-21T17:33:20+01:00', false), ('infinity', false), ('2026-02-30T00:00:00Z', false), ('2026-11-21T25:00:00Z', false)) AS v(t, expected);

SELECT * FROM finish();
ROLLBACK;
