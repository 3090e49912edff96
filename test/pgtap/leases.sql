-- How a job gets to a node and away from it: connections, several tokens of a node, jobs that
-- are given back, tried again, cancelled or taken at the end of a lease; what excludes what.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();
CREATE ROLE tl_runner;
CREATE ROLE tl_web;
SELECT walwarden.create_org('leases') AS org, walwarden.grant_runner('tl_runner') \gset
CREATE TEMP TABLE known (name text, token text);
INSERT INTO known SELECT v.name, (walwarden.issue_token('leases', v.issued, kind => 'node')).token
  FROM (VALUES ('one', 'node-1'), ('one again', 'node-1'), ('two', 'node-2')) AS v(name, issued);
INSERT INTO known SELECT 'api', token FROM walwarden.issue_token('leases', 'api', ARRAY(SELECT name FROM walwarden_internal.scope));

-- A request of REST v1; the body of its answer.
\ir request.psql
CREATE FUNCTION pg_temp.request(method text, path text, body jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT pg_temp.rest((SELECT k.token FROM known AS k WHERE k.name = 'api'), method, path, body::text)::jsonb
$$;
-- What a node gets of a statement with one value, or its SQLSTATE.
CREATE FUNCTION pg_temp.by(node text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM walwarden.authenticate(k.token) FROM known AS k WHERE k.name = node;
    SET LOCAL ROLE tl_runner;
    EXECUTE statement INTO result;
    RESET ROLE;
    RETURN result;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
CREATE FUNCTION pg_temp.claim(node text, kind text DEFAULT 'backup', connections text[] DEFAULT NULL) RETURNS uuid LANGUAGE sql AS $$
    SELECT pg_temp.by(node, format('SELECT job_id FROM walwarden.claim_job(%L, connections => %L)', ARRAY[kind], connections))::uuid
$$;
-- Reports a state with the job's present fence.
CREATE FUNCTION pg_temp.report(node text, job uuid, state text, detail jsonb DEFAULT '{}') RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.by(node, format('SELECT walwarden.report_job(%L, %s, %L, %L)', job, (SELECT j.fence FROM walwarden_internal.job AS j WHERE j.id = job), state, detail))
$$;
CREATE FUNCTION pg_temp.failure(retryable boolean, blames text DEFAULT NULL) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('error', jsonb_strip_nulls(jsonb_build_object('class', 'io', 'message', 'disk full', 'retryable', retryable, 'blames', blames)))
$$;
CREATE FUNCTION pg_temp.is_now(job uuid) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s attempt %s fence %s%s', j.state, j.attempt, j.fence, CASE WHEN j.claimed_by IS NOT NULL THEN ' ' || n.name END)
      FROM walwarden_internal.job AS j LEFT JOIN walwarden_internal.node AS n ON n.id = j.claimed_by WHERE j.id = job
$$;
CREATE FUNCTION pg_temp.kinds(job uuid) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(split_part(e.kind, '.', 2), ' ' ORDER BY e.seq) FROM walwarden_internal.audit_entry AS e WHERE e.job_id = job
$$;
-- The lease of a job expires, and the pause of a job ends.
CREATE FUNCTION pg_temp.expire(job uuid) RETURNS void LANGUAGE sql AS $$
    UPDATE walwarden_internal.job AS j SET lease_until = clock_timestamp() - interval '1 second' WHERE j.id = job
$$;
CREATE FUNCTION pg_temp.resume(job uuid) RETURNS void LANGUAGE sql AS $$
    UPDATE walwarden_internal.job AS j SET not_before = clock_timestamp() - interval '1 second' WHERE j.id = job
$$;
CREATE FUNCTION pg_temp.database(name text, connection text) RETURNS uuid LANGUAGE sql AS $$
    SELECT (pg_temp.request('POST', '/databases', jsonb_build_object('name', name, 'connectionRef', connection, 'destinationId',
            (SELECT d.id FROM walwarden_internal.destination AS d JOIN walwarden_internal.org AS o ON o.id = d.org_id WHERE o.slug = 'leases'))) ->> 'id')::uuid
$$;
CREATE FUNCTION pg_temp.backup(database uuid) RETURNS uuid LANGUAGE sql AS $$
    SELECT (pg_temp.request('POST', format('/databases/%s/backups', database)) ->> 'backupJobId')::uuid
$$;
CREATE FUNCTION pg_temp.ask_restore(database uuid, backup uuid, kind text, mode text, target text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT pg_temp.request('POST', '/restores', jsonb_build_object('databaseId', database, 'backupJobId', backup, 'kind', kind, 'mode', mode, 'target', target, 'confirmDestructive', mode = 'in_place'))
$$;
CREATE FUNCTION pg_temp.restore(database uuid, backup uuid, kind text DEFAULT 'restore', mode text DEFAULT 'new_database', target text DEFAULT 'host/x') RETURNS uuid LANGUAGE sql AS $$
    SELECT (pg_temp.ask_restore(database, backup, kind, mode, target) ->> 'restoreJobId')::uuid
$$;
CREATE FUNCTION pg_temp.complete(node text, job uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    artifact jsonb := jsonb_build_object('artifact', jsonb_build_object('name', 'a', 'sizeBytes', 0, 'checksumSha256', repeat('0', 64)));
    evidence jsonb := jsonb_build_object('manifest', artifact, 'integrityVerification', '{"result":"passed","checkedAt":"2025-01-01T00:00:00Z","tool":"t"}'::jsonb, 'recoverableTo', '2025-01-01T00:00:00Z');
BEGIN
    RETURN concat_ws(' ', pg_temp.report(node, job, 'running'), pg_temp.report(node, job, 'finalizing'),
                     pg_temp.by(node, format('SELECT walwarden.record_evidence(%L, %s, %L)', job, (SELECT j.fence FROM walwarden_internal.job AS j WHERE j.id = job), evidence)),
                     pg_temp.report(node, job, 'completed', artifact));
END
$$;
SELECT pg_temp.request('POST', '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id' AS destination \gset
SELECT pg_temp.database('orders', 'orders-primary') AS orders, pg_temp.database('stock', 'eu/stock') AS stock \gset

-- a token speaks for the node that it registered
SELECT is(pg_temp.by('one', 'SELECT job_id FROM walwarden.claim_job(''{backup}'')'), '55000', 'no job before register_node()');
SELECT is(pg_temp.by('one', 'SELECT count(*) FROM walwarden.held_jobs()'), '55000', 'and none is held');
SELECT is(pg_temp.by('one', 'SELECT walwarden.register_node(''node-1'', ''1'')'), pg_temp.by('one again', 'SELECT walwarden.register_node(''node-1'', ''1'')'), 'two tokens of one name, one node');
SELECT is(length(pg_temp.by('two', 'SELECT walwarden.register_node(''node-2'', ''1'')')), 36, 'another node');
SELECT is(pg_temp.by('two', 'SELECT walwarden.register_node(''node-1'', ''1'')'), '55000', 'a token speaks for one node');

-- connections
SELECT pg_temp.backup(:'orders') AS first \gset
SELECT pg_temp.backup(:'stock') AS second \gset
SELECT is(pg_temp.claim('one', 'backup', '{}'), NULL, 'a node without connections gets nothing');
SELECT is(pg_temp.claim('one', 'backup', '{orders,eu,stock}'), NULL, 'nor one with others');
SELECT is(pg_temp.claim('one', 'drill', '{orders-primary}'), NULL, 'nor of another kind');
SELECT is(pg_temp.claim('two', 'backup', '{x,eu/stock}'), :'second', 'a node gets the job that it can do, not the oldest');
SELECT is(pg_temp.claim('one', 'backup', '{x,orders-primary}'), :'first', 'and so does another');

-- a job belongs to its node, whatever token it comes with
SELECT is(pg_temp.by('one again', 'SELECT string_agg(job_id || '' '' || kind || '' '' || fence || '' '' || (job ->> ''state'') || '' '' || (job #>> ''{database,name}''), '','') FROM walwarden.held_jobs()'),
    :'first' || ' backup 1 claimed orders', 'held, as another token of the node sees it');
SELECT is(pg_temp.by('one again', format('SELECT walwarden.heartbeat_job(%L, 1)', :'first')), 'true', 'its lease is renewed');
SELECT is(pg_temp.report('one again', :'first', 'running'), 'true', 'and it goes on');
SELECT is(pg_temp.by('two', format('SELECT walwarden.heartbeat_job(%L, 1)', :'first')), '55000', 'another node does not hold it');
SELECT is(pg_temp.by('two', 'SELECT string_agg(job_id::text, '','') FROM walwarden.held_jobs()'), :'second', 'but what it claimed itself');

-- given back
SELECT is(pg_temp.by('one', format('SELECT walwarden.release_job(%L, 1, clock_timestamp() + interval ''1 hour'')', :'first')), 'true', 'given back');
SELECT is(pg_temp.is_now(:'first'), 'queued attempt 0 fence 2', 'the attempt does not count, and nobody holds it');
SELECT ok(lease IS NULL AND lease_until IS NULL AND started_at IS NULL AND claimed_at IS NULL, 'nothing of the node is left') FROM walwarden_internal.job WHERE id = :'first';
SELECT is(pg_temp.by('one', format('SELECT walwarden.heartbeat_job(%L, %s)', :'first', fence)), '55000', 'gone with the fence ' || fence) FROM generate_series(1, 2) AS fence;
SELECT is(pg_temp.claim('one'), NULL, 'nobody claims it before its time');
SELECT isnt(pg_temp.request('GET', '/backups/' || :'first') ->> 'notBefore', NULL, 'which the API shows');
SELECT pg_temp.resume(:'first') \g /dev/null
SELECT is(pg_temp.claim('two'), :'first', 'and then another node does');
SELECT is(pg_temp.is_now(:'first'), 'claimed attempt 1 fence 3 node-2', 'with its first attempt and a higher fence');
SELECT is(not_before, NULL, 'without a pause') FROM walwarden_internal.job WHERE id = :'first';

-- tried again: after 1, 5 and 15 minutes, at most four times
CREATE FUNCTION pg_temp.fail(node text, job uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    pause text;
BEGIN
    PERFORM pg_temp.report(node, job, 'running');
    ASSERT pg_temp.report(node, job, 'failed', pg_temp.failure(true)) = 'true';
    SELECT coalesce(round(extract(epoch FROM j.not_before - clock_timestamp()) / 60)::text, 'none') INTO pause FROM walwarden_internal.job AS j WHERE j.id = job;
    RETURN pg_temp.is_now(job) || ', minutes: ' || pause;
END
$$;
SELECT is(pg_temp.fail('two', :'first'), 'queued attempt 1 fence 4, minutes: 1', 'a failure that may pass');
SELECT is(pg_temp.request('GET', '/backups/' || :'first') -> 'error', '{"class": "io", "message": "disk full", "retryable": true, "blames": "node"}', 'is shown while the job waits');
SELECT is(pg_temp.claim('one'), NULL, 'which nobody claims before its time');
SELECT pg_temp.resume(:'first') \g /dev/null
SELECT is(pg_temp.claim('one'), :'first', 'then somebody does');
SELECT is(error, NULL, 'and the error is gone') FROM walwarden_internal.job WHERE id = :'first';
SELECT is(pg_temp.fail('one', :'first'), 'queued attempt 2 fence 6, minutes: 5', 'the second attempt');
SELECT pg_temp.resume(:'first'), pg_temp.claim('one') \g /dev/null
SELECT is(pg_temp.fail('one', :'first'), 'queued attempt 3 fence 8, minutes: 15', 'the third');
SELECT pg_temp.resume(:'first'), pg_temp.claim('one') \g /dev/null
SELECT is(pg_temp.fail('one', :'first'), 'failed attempt 4 fence 9 node-1, minutes: none', 'the last');
SELECT is(pg_temp.kinds(:'first'), 'queued claimed running released claimed running retried claimed running retried claimed running retried claimed running failed', 'each with its entry');
SELECT is(pg_temp.report('two', :'second', 'failed', pg_temp.failure(false)), 'true', 'a failure that will not pass');
SELECT is(pg_temp.is_now(:'second'), 'failed attempt 1 fence 1 node-2', 'ends the job');
SELECT throws_ok(format('UPDATE walwarden_internal.job SET state = ''queued'', done = false, claimed_by = NULL WHERE id = %L', :'first'), '23514', NULL, 'no job is queued without attempts');

-- restores and drills
SELECT pg_temp.backup(:'orders') AS backup \gset
SELECT pg_temp.claim('one') \g /dev/null
SELECT is(pg_temp.complete('one', :'backup'), 'true true true true', 'a backup');
-- Claims and moves a job up to a state.
CREATE FUNCTION pg_temp.work(node text, job uuid, up_to text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    path text[] := '{downloading,verifying,manifest_verified,restoring,finalizing}';
BEGIN
    ASSERT pg_temp.claim(node, (SELECT j.kind FROM walwarden_internal.job AS j WHERE j.id = job)) = job;
    FOR i IN 1 .. coalesce(array_position(path, up_to), 0) LOOP
        ASSERT pg_temp.report(node, job, path[i]) = 'true';
    END LOOP;
    RETURN (SELECT j.state FROM walwarden_internal.job AS j WHERE j.id = job);
END
$$;
SELECT is(pg_temp.claim('one', 'restore', '{hos,orders-primary}'), NULL, 'no restore yet');
SELECT pg_temp.restore(:'orders', :'backup', target => 'eu-host/copy') AS restore \gset
SELECT is(pg_temp.claim('one', 'restore', '{eu,eu-host/copy,orders-primary}'), NULL, 'a restore needs the section of its target');
SELECT is(pg_temp.claim('one', 'restore', '{eu-host}'), :'restore', 'which is what precedes the first slash');
SELECT pg_temp.by('one', format('SELECT walwarden.release_job(%L, 1)', :'restore')) \g /dev/null
-- what comes of each state when it fails, is given back, and when its lease ends
CREATE TEMP TABLE came (kind text, state text, retried text, released text, ended text);
DO $$
DECLARE
    k text;
    s text;
    t text;
    job uuid;
    c came;
BEGIN
    DELETE FROM pg_temp.came;
    FOREACH k IN ARRAY '{restore,drill}'::text[] LOOP
        -- none that is older
        FOR job IN SELECT j.id FROM walwarden_internal.job AS j WHERE j.kind = k AND NOT j.done LOOP
            PERFORM pg_temp.request('POST', format('/restores/%s/cancel', job));
        END LOOP;
        FOREACH s IN ARRAY '{claimed,downloading,verifying,manifest_verified,restoring,finalizing}'::text[] LOOP
            FOREACH t IN ARRAY '{retried,released,ended}'::text[] LOOP
                BEGIN
                    SELECT pg_temp.restore(j.database_id, j.id, k) INTO job FROM walwarden_internal.job AS j WHERE j.state = 'completed' AND j.kind = 'backup' AND j.org_id = (SELECT o.id FROM walwarden_internal.org AS o WHERE o.slug = 'leases');
                    ASSERT pg_temp.work('one', job, s) = s;
                    CASE t
                        WHEN 'retried' THEN PERFORM pg_temp.report('one', job, 'failed', pg_temp.failure(true, 'backup'));
                        WHEN 'released' THEN c.released := pg_temp.by('one', format('SELECT walwarden.release_job(%L, 1)', job));
                        WHEN 'ended' THEN
                            PERFORM pg_temp.expire(job);
                            ASSERT walwarden_internal.end_leases((SELECT j.org_id FROM walwarden_internal.job AS j WHERE j.id = job), 10) = 1;
                    END CASE;
                    RAISE SQLSTATE 'WW000' USING MESSAGE = (SELECT j.state || CASE WHEN j.claimed_by IS NULL THEN ' free' ELSE '' END FROM walwarden_internal.job AS j WHERE j.id = job);
                EXCEPTION WHEN SQLSTATE 'WW000' THEN
                    CASE t WHEN 'retried' THEN c.retried := SQLERRM; WHEN 'released' THEN c.released := coalesce(c.released, '') || ' ' || SQLERRM; ELSE c.ended := SQLERRM; END CASE;
                END;
            END LOOP;
            INSERT INTO came VALUES (k, s, c.retried, c.released, c.ended);
        END LOOP;
    END LOOP;
END
$$;
SELECT results_eq('SELECT kind, state, retried, released, ended FROM came',
    $$SELECT k, s, CASE WHEN safe THEN 'queued free' ELSE 'failed' END, CASE WHEN safe THEN 'true queued free' ELSE '55000 ' || s END, CASE WHEN safe THEN 'queued free' ELSE 'timed_out free' END
        FROM unnest('{restore,drill}'::text[]) AS k, unnest('{claimed,downloading,verifying,manifest_verified,restoring,finalizing}'::text[]) AS s,
             LATERAL (SELECT k = 'drill' OR s NOT IN ('restoring', 'finalizing')) AS w(safe)$$, 'what touched a target is not begun again, but for drills');

-- leases that expired: by the next claim of any node and kind, and by maintenance
SELECT pg_temp.backup(:'stock') AS lost \gset
SELECT is(pg_temp.claim('one'), :'lost', 'claimed');
SELECT pg_temp.report('one', :'lost', 'running'), pg_temp.expire(:'lost') \g /dev/null
SELECT is(pg_temp.by('one', format('SELECT walwarden.heartbeat_job(%L, 1)', :'lost')), 'true', 'the holder renews an expired lease');
SELECT is(pg_temp.claim('two'), NULL, 'which is then not claimed');
SELECT pg_temp.expire(:'lost') \g /dev/null
SELECT is(pg_temp.request('GET', '/readiness') -> 'status', '"degraded"', 'the service is degraded');
SELECT is(jsonb_path_query_first(pg_temp.request('GET', '/readiness'), '$.checks[*] ? (@.name == "leases_renewed")'), '{"name": "leases_renewed", "status": "fail", "detail": "the leases of 1 jobs have expired"}', 'because of it');
SELECT is(pg_temp.claim('two', 'drill'), NULL, 'a node that looks for another kind');
SELECT is(pg_temp.is_now(:'lost'), 'queued attempt 1 fence 2', 'ends it');
SELECT is(pg_temp.by('one', format('SELECT walwarden.heartbeat_job(%L, 1)', :'lost')), '55000', 'the holder is refused');
SELECT is(pg_temp.request('GET', '/readiness') -> 'status', '"ready"', 'the service is ready again');
SELECT is(error ->> 'class', 'lease_expired', 'the job says why') FROM walwarden_internal.job WHERE id = :'lost';
SELECT is(pg_temp.claim('two'), :'lost', 'and is claimed');
SELECT walwarden.run_maintenance() \g /dev/null
SELECT pg_temp.expire(:'lost') \g /dev/null
SELECT results_eq($$SELECT step FROM walwarden_internal.maintenance_steps(false) WHERE step = 'leases'$$, $$VALUES ('leases')$$, 'a step of maintenance');
SELECT ok(walwarden.run_maintenance(), 'ends it too');
SELECT ok(NOT walwarden.run_maintenance(), 'once');
SELECT is_empty($$SELECT step FROM walwarden_internal.maintenance_steps(false) WHERE step = 'leases'$$, 'and is not due');
SELECT is(pg_temp.is_now(:'lost'), 'queued attempt 2 fence 4', 'with the same result');
SELECT pg_temp.claim('one'), pg_temp.expire(:'lost'), pg_temp.claim('one'), pg_temp.expire(:'lost') \g /dev/null
SELECT is(pg_temp.claim('one'), NULL, 'after the fourth attempt');
SELECT is(pg_temp.is_now(:'lost'), 'failed attempt 4 fence 8', 'it failed, and nobody holds it');
SELECT is(error - 'message', '{"class": "lease_expired", "retryable": true, "blames": "node"}', 'because of the node') FROM walwarden_internal.job WHERE id = :'lost';
SELECT is(pg_temp.kinds(:'lost'), 'queued claimed running lease_ended claimed lease_ended claimed lease_ended claimed failed', 'each with its entry');
SELECT is((SELECT DISTINCT body::jsonb #> '{payload,actor}' FROM walwarden_internal.audit_entry WHERE kind = 'backup.lease_ended' AND job_id = :'lost'), '{"kind": "system"}', 'by nobody');

-- cancelled, until the target was touched
SELECT is((SELECT string_agg(format('%s %s', u.s, coalesce(pg_temp.request('POST', format('/restores/%s/cancel', r.id)) #>> '{job,state}', current_setting('response.status'))), ', ' ORDER BY n)
             FROM unnest('{claimed,downloading,verifying,manifest_verified,restoring,finalizing}'::text[]) WITH ORDINALITY AS u(s, n),
                  LATERAL (SELECT pg_temp.restore(:'orders', :'backup', CASE n % 2 WHEN 0 THEN 'drill' ELSE 'restore' END) AS id) AS r,
                  LATERAL (SELECT pg_temp.work('one', r.id, u.s)) AS w),
    'claimed cancelled, downloading cancelled, verifying cancelled, manifest_verified cancelled, restoring 409, finalizing 409', 'cancel');
SELECT pg_temp.restore(:'orders', :'backup', 'drill') AS queued \gset
SELECT is(pg_temp.request('POST', format('/restores/%s/cancel', :'queued')) #>> '{job,state}', 'cancelled', 'a queued drill');
SELECT is(pg_temp.request('POST', format('/restores/%s/cancel', :'queued')) #>> '{error,reason}', 'invalid_state', 'once');
SELECT is(pg_temp.request('POST', format('/restores/%s/cancel', :'backup')) #>> '{error,code}', 'not_found', 'a backup is no restore');
SELECT is(pg_temp.request('POST', format('/backups/%s/cancel', :'queued')) #>> '{error,code}', 'not_found', 'nor the other way');

-- what overwrites a database or a target excludes
UPDATE walwarden_internal.job SET done = true, state = 'failed' WHERE NOT done AND org_id = :'org';
SELECT pg_temp.backup(:'stock') AS other_backup \gset
SELECT pg_temp.claim('one') \g /dev/null
SELECT is(pg_temp.complete('one', :'other_backup'), 'true true true true', 'a backup of another database');
SELECT pg_temp.backup(:'orders') AS active \gset
SELECT is(pg_temp.ask_restore(:'orders', :'backup', 'restore', 'in_place', 'orders-primary') -> 'error' ->> 'reason', 'backup_already_active', 'not in place while a backup is active');
SELECT is(pg_temp.ask_restore(:'orders', :'backup', 'restore', 'in_place', 'orders-primary') -> 'error' ->> 'backupJobId', :'active', 'which the answer names');
SELECT is(pg_temp.request('POST', format('/restores/%s/cancel', pg_temp.restore(:'orders', :'backup', 'restore', 'new_database', 'host/y'))) #>> '{job,state}', 'cancelled', 'but beside it');
SELECT pg_temp.request('POST', format('/backups/%s/cancel', :'active')) \g /dev/null
SELECT pg_temp.restore(:'orders', :'backup', 'restore', 'in_place', 'orders-primary') AS in_place \gset
SELECT is(e ->> 'reason' || ' ' || (e ->> 'restoreJobId'), 'restore_active ' || :'in_place', what)
  FROM (VALUES ('no backup meanwhile', pg_temp.request('POST', format('/databases/%s/backups', :'orders')) -> 'error'),
               ('not twice', pg_temp.ask_restore(:'orders', :'backup', 'restore', 'in_place', 'orders-primary') -> 'error'),
               ('no other target of the database', pg_temp.ask_restore(:'orders', :'backup', 'restore', 'in_place', 'orders-standby') -> 'error'),
               ('no other database into the target', pg_temp.ask_restore(:'stock', :'other_backup', 'restore', 'in_place', 'orders-primary') -> 'error')) AS v(what, e);
SELECT isnt(pg_temp.backup(:'stock'), NULL, 'another database goes on');
SELECT isnt(pg_temp.restore(:'orders', :'backup', 'drill', 'new_database', 'orders-primary/x'), NULL, 'so does a drill');
SELECT pg_temp.work('one', :'in_place', 'downloading'), pg_temp.report('one', :'in_place', 'failed', pg_temp.failure(true)) \g /dev/null
SELECT is(pg_temp.request('POST', format('/databases/%s/backups', :'orders')) #>> '{error,reason}', 'restore_active', 'also while it waits to be tried again');
SELECT throws_ok(format('INSERT INTO walwarden_internal.job SELECT f.* FROM walwarden_internal.job AS j, jsonb_populate_record(j, jsonb_build_object(''id'', gen_random_uuid(), ''database_id'', %L::uuid)) AS f WHERE j.id = %L', :'stock', :'in_place'),
    '23505', NULL, 'the tables refuse it too: the target');
SELECT throws_ok(format('INSERT INTO walwarden_internal.job SELECT f.* FROM walwarden_internal.job AS j, jsonb_populate_record(j, jsonb_build_object(''id'', gen_random_uuid(), ''target'', ''x'')) AS f WHERE j.id = %L', :'in_place'),
    '23505', NULL, 'and the database');
SELECT is(pg_temp.request('POST', format('/restores/%s/cancel', :'in_place')) #>> '{job,state}', 'cancelled', 'cancelled');
SELECT isnt(pg_temp.backup(:'orders'), NULL, 'a backup again');

-- only what blames the backup refutes it
CREATE FUNCTION pg_temp.refuted(retryable boolean, blames text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    job uuid;
BEGIN
    SELECT pg_temp.restore(j.database_id, j.id, 'drill') INTO job FROM walwarden_internal.job AS j JOIN walwarden_internal.database AS d ON d.id = j.database_id
     WHERE j.state = 'completed' AND j.kind = 'backup' AND d.name = 'orders';
    PERFORM pg_temp.work('two', job, 'verifying');
    UPDATE walwarden_internal.job AS j SET attempt = j.max_attempts WHERE j.id = job;
    PERFORM pg_temp.report('two', job, 'failed', pg_temp.failure(retryable, blames));
    RAISE SQLSTATE 'WW000' USING MESSAGE = format('%s %s', (SELECT j.state FROM walwarden_internal.job AS j WHERE j.id = job), coalesce((SELECT NOT c.restored FROM walwarden_internal.conclusive_restore AS c WHERE c.id = job), false));
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN SQLERRM;
END
$$;
UPDATE walwarden_internal.job SET done = true, state = 'failed' WHERE kind = 'drill' AND NOT done AND org_id = :'org';
SELECT is(pg_temp.refuted(r, b), CASE b WHEN 'backup' THEN 'failed t' ELSE 'failed f' END, format('retryable %s, blames %s', r, b))
  FROM unnest('{true,false}'::boolean[]) AS r, unnest('{backup,target,node,NULL}'::text[]) AS b;

-- when a node was seen: once a minute, and not in the chain
SELECT set_eq($$SELECT name, last_seen_at > now() FROM walwarden.list_nodes('leases')$$, $$VALUES ('node-1', true), ('node-2', true)$$, 'both were seen');
CREATE FUNCTION pg_temp.seen_after(span interval) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    before timestamptz := clock_timestamp() - span;
BEGIN
    UPDATE walwarden_internal.node SET last_seen_at = before WHERE name = 'node-2';
    PERFORM pg_temp.claim('two', 'restore', '{}');
    RETURN (SELECT last_seen_at <> before FROM walwarden_internal.node WHERE name = 'node-2');
END
$$;
SELECT is(pg_temp.seen_after(span), expected, format('a node that called %s ago', span))
  FROM (VALUES ('59 seconds'::interval, false), ('61 seconds', true), ('-1 hour', true)) AS v(span, expected);
CREATE FUNCTION pg_temp.check(name text) RETURNS text LANGUAGE sql AS $$
    SELECT c ->> 'status' FROM jsonb_array_elements(pg_temp.request('GET', '/readiness') -> 'checks') AS c WHERE c ->> 'name' = name
$$;
SELECT is(pg_temp.check('nodes_seen'), 'pass', 'jobs wait, and nodes call');
UPDATE walwarden_internal.node SET last_seen_at = clock_timestamp() - interval '301 seconds';
SELECT is(pg_temp.check('nodes_seen'), 'fail', 'no node has called for 5 minutes');
UPDATE walwarden_internal.node SET last_seen_at = NULL;
SELECT is(pg_temp.check('nodes_seen'), 'fail', 'or ever');
UPDATE walwarden_internal.job SET not_before = clock_timestamp() + interval '1 hour' WHERE state = 'queued';
SELECT is(pg_temp.check('nodes_seen'), 'pass', 'nothing waits for a node');

-- the settings that keep tokens out of the log
CREATE FUNCTION pg_temp.settings(role name) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM unnest('{log_parameter_max_length,log_parameter_max_length_on_error,idle_in_transaction_session_timeout}'::text[]) AS s WHERE walwarden_internal.role_setting(role, s) IN ('0', '10s')
$$;
SELECT is(pg_temp.settings('tl_runner'), 3::bigint, 'grant_runner() makes them');
SELECT walwarden.grant_rest('tl_web', 'tl_runner'), walwarden.revoke_runner('tl_runner') \g /dev/null
SELECT is(pg_temp.settings('tl_runner'), 3::bigint, 'they stay while another grant needs them');
SELECT walwarden.grant_runner('tl_runner'), walwarden.revoke_rest('tl_web') \g /dev/null
SELECT is(pg_temp.settings('tl_runner'), 3::bigint, 'whichever it is');
SELECT walwarden.revoke_runner('tl_runner') \g /dev/null
SELECT is(pg_temp.settings('tl_runner'), 0::bigint, 'and go with the last');

SELECT * FROM finish();
ROLLBACK;
