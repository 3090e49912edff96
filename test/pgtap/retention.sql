-- Retention: which backups expire, and what nodes do about it.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = error;
BEGIN;
SELECT no_plan();

CREATE ROLE tsc_runner;
SELECT walwarden.create_org('keep') \g /dev/null
SELECT walwarden.grant_runner('tsc_runner') \g /dev/null
CREATE TEMP TABLE tokens AS
SELECT 'keep ' || k.kind AS name, t.token
  FROM unnest('{api,node}'::text[]) AS k(kind),
       walwarden.issue_token('keep', k.kind, CASE k.kind WHEN 'api' THEN '{databases:write,databases:read,destinations:write,backups:trigger,restores:write,restores:read}' ELSE '{}' END::text[], kind => k.kind) AS t;
\ir scheduling.psql
SELECT pg_temp.maintain() \g /dev/null

-- what may be asked for
CREATE FUNCTION pg_temp.answer(json) RETURNS text LANGUAGE sql AS $$SELECT coalesce(concat_ws(' ', $1 #>> '{error,code}', $1 #>> '{error,field}', $1 #>> '{error,reason}'), '')$$;
SELECT pg_temp.request('keep', 'POST', '/destinations', '{"name":"floor","provider":"local","uri":"file:///srv","retentionFloorDays":30}') ->> 'id' AS floor,
       pg_temp.request('keep', 'POST', '/destinations', '{"name":"none","provider":"local","uri":"file:///srv"}') ->> 'id' AS none \gset
SELECT is(pg_temp.answer(pg_temp.request('keep', 'POST', '/databases', format('{"name":"x","connectionRef":"x","destinationId":"%s","retentionDays":29}', :'floor'))), 'conflict retentionDays retention_below_floor', 'less than the destination asks for');
SELECT is(pg_temp.answer(pg_temp.request('keep', 'POST', '/databases', '{"name":"x","connectionRef":"x","retentionDays":0}')), 'invalid_request retentionDays out_of_range', 'no day at all');
SELECT pg_temp.request('keep', 'POST', '/databases', format('{"name":"d","connectionRef":"x","destinationId":"%s","retentionDays":30}', :'floor')) ->> 'id' AS database \gset
SELECT is(pg_temp.answer(pg_temp.request('keep', 'PATCH', '/databases/' || :'database', '{"retentionDays":10}')), 'conflict retentionDays retention_below_floor', 'nor later');
SELECT is(pg_temp.request('keep', 'PATCH', '/databases/' || :'database', format('{"retentionDays":10,"destinationId":"%s"}', :'none')) ->> 'retentionDays', '10', 'at another destination');
SELECT is(pg_temp.answer(pg_temp.request('keep', 'PATCH', '/databases/' || :'database', format('{"destinationId":"%s"}', :'floor'))), 'conflict retentionDays retention_below_floor', 'from where it cannot come back');
SELECT is(pg_temp.request('keep', 'PATCH', '/databases/' || :'database', '{"name":"d"}') ->> 'name', 'd', 'other changes are no matter');

-- A backup that finished so many days ago.
CREATE FUNCTION pg_temp.backup(database text, age integer, verified boolean DEFAULT true) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    made uuid := pg_temp.request('keep', 'POST', format('/databases/%s/backups', database), '') ->> 'backupJobId';
BEGIN
    PERFORM pg_temp.move(made, 'claimed', 'running', 'finalizing', 'completed');
    UPDATE walwarden_internal.job AS j SET finished_at = clock_timestamp() - make_interval(days => age), artifact = '{"name":"a","sizeBytes":1,"checksumSha256":"b"}' WHERE j.id = made;
    IF verified THEN
        PERFORM pg_temp.verify_backup(j.id, j.finished_at) FROM walwarden_internal.job AS j WHERE j.id = made;
    END IF;
    RETURN made;
END
$$;
-- The ages of the backups that are about to expire, in days.
CREATE FUNCTION pg_temp.expiring() RETURNS integer[] LANGUAGE sql AS $$
    SELECT array_agg(round(extract(epoch FROM clock_timestamp() - b.finished_at) / 86400)::integer ORDER BY b.finished_at)
      FROM walwarden_internal.job AS x JOIN walwarden_internal.job AS b ON b.id = x.backup_job_id
     WHERE x.kind = 'expire' AND NOT x.done
$$;

-- of these, as old as they are, none while no later one is verified
SELECT pg_temp.backup(:'database', 40, false) AS unverified \gset
SELECT pg_temp.backup(:'database', 20, false) \g /dev/null
SELECT pg_temp.maintain() \g /dev/null
SELECT is(pg_temp.expiring(), NULL, 'without a verified backup nothing expires');
SELECT pg_temp.backup(:'database', 15) AS last \gset
SELECT pg_temp.maintain() \g /dev/null
SELECT is(pg_temp.expiring(), '{40,20}', 'a later one is verified');
SELECT is((SELECT array_agg(DISTINCT concat_ws(' ', state, trigger, coalesce(requested_by::text, 'nobody'), max_attempts > 1)) FROM walwarden_internal.job WHERE kind = 'expire'), '{"queued schedule nobody t"}', 'queued');
SELECT is((SELECT array_agg(DISTINCT e.payload #>> '{actor,kind}') FROM pg_temp.entry AS e WHERE e.kind = 'expire.queued'), '{system}', 'by nobody');
SELECT is(pg_temp.maintain(), false, 'once');
SELECT is(pg_temp.expiring(), '{40,20}', 'one for each');

-- a node deletes it
SELECT is_empty($$SELECT * FROM pg_temp.claims('keep', '{backup,restore,drill}')$$, 'a node that does not expire backups');
SELECT job_id AS expiry, fence AS fence, job AS job FROM pg_temp.claims('keep', '{expire}') \gset
SELECT is(:'job'::jsonb ->> 'backupJobId', :'unverified', 'the oldest first');
SELECT is(jsonb_build_array(:'job'::jsonb #> '{artifact,name}', :'job'::jsonb #> '{destination,uri}', :'job'::jsonb #> '{database,name}'), '["a", "file:///srv", "d"]', 'with all that a node needs');
SELECT is(pg_temp.answer(pg_temp.request('keep', 'POST', '/restores', format('{"databaseId":"%s","backupJobId":"%s","kind":"drill","mode":"new_database","target":"x/y"}', :'database', :'unverified'))),
          'conflict backup_expiring', 'a restore comes too late');
SELECT is(pg_temp.answer(pg_temp.get('keep', '/restores/' || :'expiry')), 'not_found no_such_resource', 'an expiry is no restore');
SELECT is(pg_temp.answer(pg_temp.get('keep', '/backups/' || :'expiry')), 'not_found no_such_resource', 'nor a backup');
SELECT walwarden.authenticate(token) FROM tokens WHERE name = 'keep node' \g /dev/null
SET LOCAL ROLE tsc_runner;
SELECT throws_ok(format($$SELECT walwarden.report_job(%L, %s, 'completed', '{"%s":%s}')$$, :'expiry', :fence, p, v), '22023', 'an expire has no ' || p, 'no ' || p)
  FROM (VALUES ('validation', '{"result":"passed"}'), ('artifact', '{"name":"a","sizeBytes":1,"checksumSha256":"' || repeat('0', 64) || '"}')) AS v(p, v);
SELECT throws_ok(format($$SELECT walwarden.report_job(%L, %s, 'running')$$, :'expiry', :fence), '22023', NULL, 'a state of backups');
SELECT ok(walwarden.heartbeat_job(:'expiry', :fence), 'it may take long');
SELECT ok(walwarden.report_job(:'expiry', :fence, 'completed'), 'done');
RESET ROLE;
SELECT is(pg_temp.get('keep', '/backups/' || :'unverified') ->> 'state', 'expired', 'the backup is expired');
SELECT is((SELECT string_agg(e.kind, ' ' ORDER BY e.seq) FROM pg_temp.entry AS e WHERE e.job_id IN (:'expiry', :'unverified') AND e.kind ~ 'expire'), 'expire.queued expire.claimed backup.expired expire.completed', 'each has its entry');
SELECT is((SELECT e.payload #>> '{actor,kind}' FROM pg_temp.entry AS e WHERE e.kind = 'backup.expired'), 'token', 'of the node');
SELECT is(pg_temp.answer(pg_temp.request('keep', 'POST', '/restores', format('{"databaseId":"%s","backupJobId":"%s","kind":"drill","mode":"new_database","target":"x/y"}', :'database', :'unverified'))),
          'conflict backup_not_completed', 'it cannot be restored');

-- nor one that a node has claimed and given back
SAVEPOINT claimed;
SELECT job_id AS expiry, job ->> 'backupJobId' AS begun, fence AS fence FROM pg_temp.claims('keep', '{expire}') \gset
SET LOCAL ROLE tsc_runner;
SELECT ok(walwarden.release_job(:'expiry', :fence), 'given back');
RESET ROLE;
SELECT is(pg_temp.answer(pg_temp.request('keep', 'POST', '/restores', format('{"databaseId":"%s","backupJobId":"%s","kind":"drill","mode":"new_database","target":"x/y"}', :'database', :'begun'))),
          'conflict backup_expiring', 'it may have been begun');
SELECT is(pg_temp.answer(pg_temp.request('keep', 'POST', format('/restores/%s/cancel', :'expiry'), '')), 'not_found no_such_resource', 'and is no restore to cancel');
ROLLBACK TO claimed;

-- one that a restore names: the restore comes first, or it ends an expiry that nobody has claimed
SELECT backup_job_id AS second, id AS expiry FROM walwarden_internal.job WHERE kind = 'expire' AND NOT done \gset
SELECT pg_temp.request('keep', 'POST', '/restores', format('{"databaseId":"%s","backupJobId":"%s","kind":"drill","mode":"new_database","target":"x/y"}', :'database', :'second')) ->> 'restoreJobId' AS drill \gset
SELECT is((SELECT concat_ws(' ', j.state, j.error ->> 'class') FROM walwarden_internal.job AS j WHERE j.id = :'expiry'), 'failed backup_needed', 'a drill of it ends the expiry');
UPDATE walwarden_internal.job SET finished_at = finished_at - interval '25 hours' WHERE kind = 'expire' AND done;
SELECT pg_temp.maintain() \g /dev/null
SELECT is(pg_temp.expiring(), NULL, 'none while it is active');
SELECT pg_temp.move(:'drill', 'claimed', 'failed') \g /dev/null
UPDATE walwarden_internal.job SET finished_at = clock_timestamp() - interval '23 hours' WHERE kind = 'expire' AND done;
SELECT pg_temp.maintain() \g /dev/null
SELECT is(pg_temp.expiring(), NULL, 'nor for a day after a failure');
UPDATE walwarden_internal.job SET finished_at = clock_timestamp() - interval '25 hours' WHERE kind = 'expire' AND done;
SELECT pg_temp.maintain() \g /dev/null
SELECT is(pg_temp.expiring(), '{20}', 'then it expires');

-- the later one is refuted meanwhile
UPDATE walwarden_internal.evidence SET state = 'failed' WHERE backup_job_id = :'last';
SELECT is_empty($$SELECT * FROM pg_temp.claims('keep', '{expire}')$$, 'no node gets the expiry');
SELECT pg_temp.maintain() \g /dev/null
SELECT is((SELECT array_agg(j.error ->> 'message' ORDER BY j.error ->> 'message' COLLATE "C") FROM walwarden_internal.job AS j WHERE j.kind = 'expire' AND j.state = 'failed'), '{"a restore or drill of the backup was requested","no later backup is verified any more"}', 'which ends');
UPDATE walwarden_internal.evidence SET state = 'verified' WHERE backup_job_id = :'last';
UPDATE walwarden_internal.job SET finished_at = clock_timestamp() - interval '25 hours' WHERE kind = 'expire' AND done;

-- the last verified backup, as old as it is, and what is younger
SELECT pg_temp.backup(:'database', 9) \g /dev/null
SELECT pg_temp.backup(:'database', 8, false) \g /dev/null
SELECT pg_temp.maintain() \g /dev/null
SELECT is(pg_temp.expiring(), '{20,15}', 'older than 10 days');
UPDATE walwarden_internal.job SET finished_at = finished_at - interval '100 days' WHERE kind = 'backup';
SELECT pg_temp.maintain() \g /dev/null
SELECT is(pg_temp.expiring(), '{120,115}', 'but the newest verified one stays, and what came after it');
SELECT is((SELECT (pg_temp.get('keep', format('/databases/%s/recovery/candidate', :'database')) #>> '{candidate,backupJobId}')::uuid),
          (SELECT id FROM walwarden_internal.job WHERE kind = 'backup' AND state = 'completed' ORDER BY finished_at DESC OFFSET 1 LIMIT 1), 'it is the one to restore');
-- it leaves the windows once it is expired
SELECT is((pg_temp.get('keep', format('/databases/%s/recovery/summary', :'database')) #>> '{backups,completed}'), '4', 'until then it counts');
SELECT pg_temp.move(id, 'claimed', 'completed'), walwarden_internal.expire_backup('{"kind":"system"}', j) FROM walwarden_internal.job AS j WHERE kind = 'expire' AND backup_job_id = :'last' AND NOT done \g /dev/null
SELECT is((pg_temp.get('keep', format('/databases/%s/recovery/summary', :'database')) #>> '{backups,completed}'), '3', 'then no more');
SELECT is(json_array_length(pg_temp.get('keep', format('/databases/%s/recovery/summary', :'database')) -> 'windows'), 1, 'and has no window');

-- the floor, and none
SELECT pg_temp.request('keep', 'POST', '/databases', format('{"name":"%s","connectionRef":"x","destinationId":"%s"}', n, d)) ->> 'id' AS id, n FROM (VALUES ('floored', :'floor'), ('forever', :'none')) AS v(n, d) \g /dev/null
SELECT pg_temp.backup(d.id::text, age) FROM walwarden_internal.database AS d, unnest('{400,31,29,1}'::integer[]) AS age WHERE d.name IN ('floored', 'forever') \g /dev/null
SELECT pg_temp.maintain() \g /dev/null
SELECT bag_eq($$SELECT d.name, count(*) FROM walwarden_internal.job AS x JOIN walwarden_internal.database AS d ON d.id = x.database_id WHERE x.kind = 'expire' AND NOT x.done GROUP BY d.name$$,
    $$VALUES ('d', 1::bigint), ('floored', 2)$$, 'without retentionDays the floor, without either none');
-- a floor that was raised wins, to the highest that there is
SELECT pg_temp.request('keep', 'PATCH', '/destinations/' || :'none', '{"retentionFloorDays":36500}') \g /dev/null
UPDATE walwarden_internal.job SET state = 'failed', done = true, finished_at = clock_timestamp() - interval '2 days' WHERE kind = 'expire' AND NOT done;
SELECT pg_temp.maintain() \g /dev/null
SELECT is((SELECT count(*) FROM walwarden_internal.job WHERE kind = 'expire' AND NOT done AND database_id = :'database'), 0::bigint, 'the destination''s floor was raised');
SELECT pg_temp.request('keep', 'PATCH', '/destinations/' || :'none', '{"retentionFloorDays":0}') \g /dev/null

-- many: a round looks closer only at those that are old enough, and keeps few waiting
SAVEPOINT many;
SELECT pg_temp.maintain() \g /dev/null
UPDATE walwarden_internal.job SET state = 'claimed' WHERE kind = 'expire' AND state = 'queued';
SELECT pg_temp.request('keep', 'POST', '/databases', format('{"name":"many","connectionRef":"x","destinationId":"%s","retentionDays":40}', :'floor')) ->> 'id' AS many \gset
SELECT pg_temp.backup(:'many', 1) AS newest \gset
INSERT INTO walwarden_internal.job SELECT f.* FROM walwarden_internal.job AS j, generate_series(2, 39) AS n, jsonb_populate_record(j, jsonb_build_object('id', gen_random_uuid(), 'finished_at', clock_timestamp() - make_interval(days => n))) AS f WHERE j.id = :'newest';
SET LOCAL track_functions = 'pl';
CREATE FUNCTION pg_temp.calls(name text) RETURNS bigint LANGUAGE sql AS $$SELECT coalesce(sum(f.calls), 0)::bigint FROM pg_stat_xact_user_functions AS f WHERE f.funcname = name$$;
SELECT is_empty('SELECT walwarden_internal.orgs_with_overdue_backups()', 'nothing is overdue');
SELECT pg_temp.calls('is_expendable') AS before \gset
SELECT is_empty('SELECT walwarden_internal.orgs_with_overdue_backups()', 'still nothing');
SELECT is(pg_temp.calls('is_expendable') - :before, (SELECT count(*) FROM walwarden_internal.aged_backup), 'what is too young costs nothing');
SELECT ok((SELECT count(*) FROM walwarden_internal.aged_backup) < 5, 'and that is almost all');
INSERT INTO walwarden_internal.job SELECT f.* FROM walwarden_internal.job AS j, generate_series(1, 1100) AS n, jsonb_populate_record(j, jsonb_build_object('id', gen_random_uuid(), 'finished_at', clock_timestamp() - make_interval(days => 41, hours => n))) AS f WHERE j.id = :'newest';
SELECT is(array_agg(walwarden_internal.queue_expiries((SELECT id FROM walwarden_internal.org WHERE slug = 'keep'), most)), '{50,50,900,0}', 'no more than 1000 wait') FROM unnest('{50,50,2000,50}'::integer[]) AS most;
SELECT ok(pg_temp.calls('is_expendable') >= 1000, 'these are looked at');
SELECT is((SELECT max(b.finished_at) < clock_timestamp() - interval '41 days 100 hours' FROM walwarden_internal.job AS x JOIN walwarden_internal.job AS b ON b.id = x.backup_job_id WHERE x.kind = 'expire' AND x.state = 'queued'), true, 'the oldest first');
UPDATE walwarden_internal.job SET state = 'claimed' WHERE id IN (SELECT id FROM walwarden_internal.job WHERE kind = 'expire' AND state = 'queued' LIMIT 30);
SELECT is(walwarden_internal.queue_expiries((SELECT id FROM walwarden_internal.org WHERE slug = 'keep'), 50), 30, 'the next when some are claimed');
ROLLBACK TO many;

-- closing ends expiries; a closed copy expires nothing of production's
SELECT pg_temp.maintain() \g /dev/null
SELECT isnt_empty($$SELECT FROM walwarden_internal.job WHERE kind = 'expire' AND state = 'queued'$$, 'some are queued');
SELECT is((SELECT array_agg(DISTINCT c.kind) FROM walwarden_internal.org_summary AS s, jsonb_to_recordset(s.jobs) AS c(kind text) WHERE s.org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'keep')), '{backup,drill,expire}', 'and counted');
SAVEPOINT copy;
SELECT walwarden.close_copy('a copy') \g /dev/null
SELECT is_empty($$SELECT FROM walwarden_internal.job WHERE kind = 'expire' AND NOT done$$, 'none in a copy');
SELECT is((SELECT array_agg(DISTINCT j.error ->> 'message') FROM walwarden_internal.job AS j WHERE j.kind = 'expire' AND j.error ->> 'class' = 'closed'), '{"a copy"}', 'they say why');
UPDATE walwarden_internal.job SET finished_at = finished_at - interval '2 days' WHERE kind = 'expire';
SELECT pg_temp.maintain() \g /dev/null
SELECT is_empty($$SELECT FROM walwarden_internal.job WHERE kind = 'expire' AND NOT done$$, 'nor later');
ROLLBACK TO copy;
SELECT walwarden.close_org('keep') \g /dev/null
SELECT is_empty($$SELECT FROM walwarden_internal.job WHERE kind = 'expire' AND NOT done$$, 'none in a closed organisation');
UPDATE walwarden_internal.job SET finished_at = finished_at - interval '2 days' WHERE kind = 'expire';
SELECT pg_temp.maintain() \g /dev/null
SELECT is_empty($$SELECT FROM walwarden_internal.job WHERE kind = 'expire' AND NOT done$$, 'nor later');
ROLLBACK TO copy;

-- a deleted database, and a clock that jumped ahead
UPDATE walwarden_internal.job SET state = 'failed', done = true, finished_at = clock_timestamp() - interval '2 days' WHERE NOT done;
SAVEPOINT due;
UPDATE walwarden_internal.maintenance_round SET at = clock_timestamp() - interval '30 days', careful_until = NULL, found_until = NULL WHERE source = 'round';
SELECT pg_temp.maintain() \g /dev/null
SELECT is_empty($$SELECT FROM walwarden_internal.job WHERE kind = 'expire' AND NOT done AND database_id IN (SELECT id FROM walwarden_internal.database WHERE name = 'floored') AND backup_job_id IN
                    (SELECT id FROM walwarden_internal.job WHERE finished_at > clock_timestamp() - interval '40 days')$$, 'after a jump ahead, only what was due before');
ROLLBACK TO due;
SELECT pg_temp.request('keep', 'DELETE', '/databases/' || d.id, '') FROM walwarden_internal.database AS d WHERE d.deleted_at IS NULL \g /dev/null
SELECT pg_temp.maintain() \g /dev/null
SELECT is_empty($$SELECT FROM walwarden_internal.job WHERE kind = 'expire' AND NOT done$$, 'backups of deleted databases stay');

SELECT * FROM finish();
ROLLBACK;
