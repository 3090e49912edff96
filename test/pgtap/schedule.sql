-- Schedules: the next time of an expression, and what is queued when it has come.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = error;
BEGIN;
SELECT no_plan();

SET timezone = 'America/New_York';
SELECT is(walwarden.cron_next(s, a::timestamptz), n::timestamptz, format('%s after %s', s, a))
  FROM (VALUES ('0 3 * * *',    '2026-11-29 02:59:59.999999+00', '2026-11-29 03:00+00'),
               ('0 3 * * *',    '2026-11-29 03:00+00',           '2026-11-30 03:00+00'),
               ('0 3 * * *',    '2026-11-29 03:00:00.000001+00', '2026-11-30 03:00+00'),
               -- New York's clock steps forward, and then back
               ('30 2 * * *',   '2026-03-08 02:30+00',           '2026-03-09 02:30+00'),
               ('30 6 * * *',   '2026-11-01 05:30+00',           '2026-11-01 06:30+00'),
               ('*/15 * * * *', '2026-12-31 23:45+00',           '2027-01-01 00:00+00'),
               ('0 0 29 2 *',   '2026-11-29 00:00+00',           '2028-02-29 00:00+00'),
               ('0 0 29 2 *',   '2096-02-29 00:00+00',           '2104-02-29 00:00+00'),
               ('0 0 29 2 *',   '1896-02-29 00:00+00',           '1904-02-29 00:00+00'),
               ('59 23 31 12 *', '1999-12-31 23:58+00',          '1999-12-31 23:59+00'),
               ('59 23 31 12 *', '1999-12-31 23:59+00',          '2000-12-31 23:59+00'),
               ('0 0 31 * *',   '2026-08-31 00:00+00',           '2026-10-31 00:00+00'),
               ('0 12 13 * 5',  '2026-11-13 12:00+00',           '2026-11-20 12:00+00'),
               ('0 12 13 * 5',  '2026-12-11 12:00+00',           '2026-12-13 12:00+00'),
               ('0 12 */1 * 5', '2026-11-29 12:00+00',           '2026-12-04 12:00+00'),
               ('0 12 13 * */1', '2026-11-29 12:00+00',          '2026-12-13 12:00+00'),
               ('0 12 */2 * 5', '2026-11-29 12:00+00',           '2026-12-01 12:00+00'),
               ('0 0 * * 7',    '2026-11-29 00:00+00',           '2026-12-06 00:00+00'),
               ('0 0 * * 0',    '2026-11-29 00:00+00',           '2026-12-06 00:00+00'),
               ('* * * * *',    '4713-11-24 00:00+00 BC',        '4713-11-24 00:01+00 BC'),
               ('0 0 1 1 *',    '0001-12-31 12:00+00 BC',        '0001-01-01 00:00+00'),
               ('0 0 1 1 *',    '294275-12-31 00:00+00',         '294276-01-01 00:00+00')) AS v(s, a, n);
SELECT is(walwarden.cron_next('* * * * *'), date_trunc('minute', now()) + interval '1 minute', 'after now() by itself');
SELECT is(walwarden.cron_next(NULL), NULL, 'no schedule');
SELECT is(walwarden.cron_next('* * * * *', NULL), NULL, 'no time');
SELECT throws_ok(format('SELECT walwarden.cron_next(%L, %L)', s, a), '22023', m, format('%s after %s', s, a))
  FROM (VALUES ('0 0 30 2 *', 'now', 'invalid schedule'), ('5/10 * * * *', 'now', 'invalid schedule'), ('', 'now', 'invalid schedule'),
               ('*/9999999999 * * * *', 'now', 'invalid schedule'), (repeat('1,', 100000) || '1 * * * *', 'infinity', 'after is infinite'),
               ('* * * * *', '-infinity', 'after is infinite'), ('0 0 1 1 *', '294276-06-01', 'the next time is out of range')) AS v(s, a, m);
SELECT is((SELECT p.provolatile FROM pg_proc AS p WHERE p.oid = 'walwarden.cron_next(text, timestamptz)'::regprocedure), 's', 'stable');
SET timezone = 'UTC';

-- an organisation with a database, and another
CREATE ROLE tsc_runner;
SELECT walwarden.create_org(o) FROM unnest('{sched,other}'::text[]) AS o \g /dev/null
SELECT walwarden.grant_runner('tsc_runner') \g /dev/null
CREATE TEMP TABLE tokens AS
SELECT o || ' ' || k.kind AS name, t.token
  FROM unnest('{sched,other}'::text[]) AS o, unnest('{api,node}'::text[]) AS k(kind),
       walwarden.issue_token(o, k.kind, CASE k.kind WHEN 'api' THEN '{databases:write,databases:read,destinations:write,backups:trigger,restores:write,readiness:read}' ELSE '{}' END::text[], kind => k.kind) AS t;
\ir scheduling.psql

SELECT pg_temp.request('sched', 'POST', '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id' AS destination \gset
SELECT pg_temp.request('sched', 'POST', '/databases', format('{"name":"plain","connectionRef":"d","destinationId":"%s"}', :'destination')) AS plain \gset
SELECT is((SELECT array_agg(:'plain'::jsonb ->> f) FROM unnest('{method,schedule,nextBackupAt,retentionDays,drillSchedule,nextDrillAt}'::text[]) AS f), '{pg_dump,NULL,NULL,NULL,NULL,NULL}', 'defaults');
SELECT pg_temp.request('sched', 'POST', '/databases', format('{"name":"d","connectionRef":"d","destinationId":"%s","schedule":"0 3 * * *","drillSchedule":"0 0 29 2 *","method":"pg_basebackup"}', :'destination')) AS made \gset
SELECT :'made'::json ->> 'id' AS database \gset
SELECT is((:'made'::json ->> 'nextBackupAt')::timestamptz, walwarden.cron_next('0 3 * * *', clock_timestamp()), 'due next');
SELECT is((:'made'::json ->> 'nextDrillAt')::timestamptz, walwarden.cron_next('0 0 29 2 *', clock_timestamp()), 'the drill, on 29 February');
SELECT is(:'made'::json ->> 'method', 'pg_basebackup', 'the method');
SELECT is((SELECT i.image - '{id,name,engine,postgresVersion,connectionRef,destinationId,rpoSeconds,rtoSeconds,createdAt,updatedAt,deletedAt}'::text[]
             FROM walwarden_internal.database AS d, walwarden_internal.database_image(d) AS i(image) WHERE d.id = :'database'),
          '{"schedule": "0 3 * * *", "drillSchedule": "0 0 29 2 *", "method": "pg_basebackup"}', 'the chain describes what was asked for, and not when it is due');

-- backups
SELECT pg_temp.maintain() \g /dev/null
SELECT is_empty('SELECT FROM walwarden_internal.job', 'nothing is due');
SELECT pg_temp.put_off('next_run_at', '14 hours');
SELECT is(pg_temp.maintain(), true, 'maintenance changes something');
SELECT is((SELECT array_agg(concat_ws(' ', kind, type, trigger, state, coalesce(requested_by::text, 'nobody'))) FROM walwarden_internal.job), '{"backup full schedule queued nobody"}', 'once after 14 hours');
SELECT is(pg_temp.due('next_run_at'), walwarden.cron_next('0 3 * * *', clock_timestamp()), 'next from now on');
SELECT is((SELECT e.payload -> 'actor' FROM pg_temp.entry AS e WHERE e.kind = 'backup.queued'), '{"kind": "system"}', 'nobody asked');
SELECT is(pg_temp.maintain(), false, 'again, nothing');
SELECT id AS backup FROM walwarden_internal.job \gset
SELECT is(pg_temp.get('sched', '/backups/' || :'backup') ->> 'trigger', 'schedule', 'REST v1 says so');

-- what is in the way is recorded once
SELECT pg_temp.put_off('next_run_at', '1 minute'), pg_temp.maintain(), pg_temp.put_off('next_run_at', '1 minute'), pg_temp.maintain() \g /dev/null
SELECT is((SELECT count(*) FROM walwarden_internal.job), 1::bigint, 'one active backup');
SELECT is((SELECT array_agg(concat_ws(' ', e.payload ->> 'reason', e.job_id, e.payload ->> 'databaseId', e.payload #>> '{actor,kind}')) FROM pg_temp.entry AS e WHERE e.kind = 'backup.skipped'),
          ARRAY[concat_ws(' ', 'job_active', :'backup', :'database', 'system')], 'skipped for it, once');
SELECT is(pg_temp.due('next_run_at'), walwarden.cron_next('0 3 * * *', clock_timestamp()), 'and due later');
SELECT pg_temp.move(:'backup', 'claimed', 'running', 'finalizing', 'completed') \g /dev/null
SELECT pg_temp.request('sched', 'POST', '/restores', format('{"databaseId":"%s","backupJobId":"%s","kind":"restore","mode":"in_place","target":"d","confirmDestructive":true}', :'database', :'backup')) ->> 'restoreJobId' AS restore \gset
SELECT pg_temp.put_off('next_run_at', '1 minute'), pg_temp.maintain(), pg_temp.put_off('next_run_at', '1 minute'), pg_temp.maintain() \g /dev/null
SELECT is((SELECT array_agg(e.job_id ORDER BY e.seq) FROM pg_temp.entry AS e WHERE e.kind = 'backup.skipped'), ARRAY[:'backup', :'restore']::uuid[], 'then for a restore in place');
SELECT pg_temp.move(:'restore', 'claimed', 'failed') \g /dev/null
SELECT pg_temp.request('sched', 'PATCH', '/databases/' || :'database', '{"destinationId":null}') \g /dev/null
SELECT pg_temp.put_off('next_run_at', '1 minute'), pg_temp.maintain(), pg_temp.put_off('next_run_at', '1 minute'), pg_temp.maintain() \g /dev/null
SELECT is((SELECT array_agg(e.payload ->> 'reason' ORDER BY e.seq) FROM pg_temp.entry AS e WHERE e.kind = 'backup.skipped'), '{job_active,job_active,no_destination}', 'then for a missing destination');
SELECT is((SELECT e.job_id FROM pg_temp.entry AS e WHERE e.kind = 'backup.skipped' ORDER BY e.seq DESC LIMIT 1), NULL, 'which is no job');
SELECT pg_temp.request('sched', 'PATCH', '/databases/' || :'database', format('{"destinationId":"%s"}', :'destination')) \g /dev/null
SELECT pg_temp.put_off('next_run_at', '1 minute'), pg_temp.maintain() \g /dev/null
SELECT is((SELECT count(*) FROM walwarden_internal.job WHERE kind = 'backup'), 2::bigint, 'it goes on');
SELECT pg_temp.put_off('next_run_at', '1 minute'), pg_temp.maintain() \g /dev/null
SELECT is((SELECT count(*) FROM pg_temp.entry AS e WHERE e.kind = 'backup.skipped'), 4::bigint, 'and another job in the way has its entry');
SELECT pg_temp.move(id, 'cancelled') FROM walwarden_internal.job WHERE NOT done \g /dev/null

-- a clock that is set back repeats nothing: what is due next is as far ahead as before
SELECT pg_temp.put_off('next_run_at', '-20 hours'), pg_temp.maintain() \g /dev/null
SELECT is_empty('SELECT FROM walwarden_internal.job WHERE NOT done', 'nothing before its time');
-- unless the schedule is set again, with or without a change
SELECT count(*) AS entries FROM walwarden_internal.audit_entry \gset
SELECT is((pg_temp.request('sched', 'PATCH', '/databases/' || :'database', '{"schedule":"0 3 * * *"}') ->> 'nextBackupAt')::timestamptz, walwarden.cron_next('0 3 * * *', clock_timestamp()), 'it counts from now on');
SELECT is((SELECT count(*) FROM walwarden_internal.audit_entry), :entries::bigint, 'which changes nothing that the chain describes');
SELECT is((pg_temp.request('sched', 'PATCH', '/databases/' || :'database', '{"schedule":"*/5 * * * *"}') ->> 'nextBackupAt')::timestamptz, walwarden.cron_next('*/5 * * * *', clock_timestamp()), 'another schedule');
SELECT pg_temp.put_off('next_run_at', '1 minute') \g /dev/null
SELECT is(pg_temp.request('sched', 'PATCH', '/databases/' || :'database', '{"name":"renamed"}') ->> 'name', 'renamed', 'another change');
SELECT cmp_ok(pg_temp.due('next_run_at'), '<', clock_timestamp(), 'leaves it due');
SELECT is(pg_temp.request('sched', 'PATCH', '/databases/' || :'database', '{"schedule":null}') ->> 'nextBackupAt', NULL, 'without a schedule it is never due');

-- a node asks for a job: of its own organisation, without maintenance
SELECT pg_temp.request('sched', 'PATCH', '/databases/' || :'database', '{"schedule":"0 3 * * *"}') \g /dev/null
SELECT pg_temp.put_off('next_run_at', '1 minute') \g /dev/null
SELECT is_empty($$SELECT * FROM pg_temp.claims('other', '{backup}')$$, 'another organisation''s node');
SELECT is_empty('SELECT FROM walwarden_internal.job WHERE NOT done', 'queues nothing');
SELECT is((SELECT array_agg(kind) FROM pg_temp.claims('sched', '{backup}')), '{backup}', 'its own gets the job at once');
SELECT is_empty($$SELECT * FROM pg_temp.claims('sched', '{backup}')$$, 'and no second one');
SELECT is((SELECT trigger FROM walwarden_internal.job WHERE NOT done), 'schedule', 'by schedule');
SELECT pg_temp.move(id, 'running', 'finalizing', 'completed') FROM walwarden_internal.job WHERE NOT done \g /dev/null

SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'the chain describes what there is');

-- drills
SELECT pg_temp.put_off('next_drill_at', '1 minute'), pg_temp.maintain(), pg_temp.put_off('next_drill_at', '1 minute'), pg_temp.maintain() \g /dev/null
SELECT is((SELECT array_agg(e.payload ->> 'reason') FROM pg_temp.entry AS e WHERE e.kind = 'drill.skipped'), '{no_verified_backup}', 'no backup is verified, which is recorded once');
SELECT is(pg_temp.due('next_drill_at'), walwarden.cron_next('0 0 29 2 *', clock_timestamp()), 'next from now on');
SELECT pg_temp.verify_backup(id, finished_at) FROM walwarden_internal.job WHERE kind = 'backup' AND state = 'completed' \g /dev/null
SELECT id AS newest FROM walwarden_internal.job WHERE kind = 'backup' AND state = 'completed' ORDER BY finished_at DESC LIMIT 1 \gset
SELECT pg_temp.put_off('next_drill_at', '1 minute'), pg_temp.maintain() \g /dev/null
SELECT is((SELECT array_agg(concat_ws(' ', mode, target, trigger, backup_job_id)) FROM walwarden_internal.job WHERE kind = 'drill'), ARRAY['new_cluster scratch schedule ' || :'newest'], 'a drill of the newest verified backup');
SELECT pg_temp.put_off('next_drill_at', '1 minute'), pg_temp.maintain() \g /dev/null
SELECT is((SELECT array_agg(e.payload ->> 'reason' ORDER BY e.seq) FROM pg_temp.entry AS e WHERE e.kind = 'drill.skipped'), '{no_verified_backup,job_active}', 'one at a time');
SELECT pg_temp.move(id, 'claimed', 'failed') FROM walwarden_internal.job WHERE kind = 'drill' \g /dev/null
UPDATE walwarden_internal.evidence SET manifest = '{"engine":{"method":"pg_dump"}}' WHERE backup_job_id = :'newest';
SELECT pg_temp.put_off('next_drill_at', '1 minute'), pg_temp.maintain() \g /dev/null
SELECT is((SELECT mode FROM walwarden_internal.job WHERE kind = 'drill' AND NOT done), 'new_database', 'as that backup was made');
SELECT pg_temp.move(id, 'claimed', 'failed') FROM walwarden_internal.job WHERE NOT done \g /dev/null

-- readiness
SELECT is(pg_temp.kept('sched'), 'pass', 'nothing is overdue');
SELECT pg_temp.put_off('next_run_at', '4 minutes');
SELECT is(pg_temp.kept('sched'), 'pass', 'maintenance may take a while');
SELECT pg_temp.put_off('next_run_at', '6 minutes');
SELECT is(pg_temp.kept('sched'), 'fail', 'but not for ever');
SELECT is(pg_temp.kept('other'), 'pass', 'another organisation is not concerned');
SELECT pg_temp.put_off('next_run_at', '-1 minute'), pg_temp.put_off('next_drill_at', '6 minutes') \g /dev/null
SELECT is(pg_temp.kept('sched'), 'fail', 'nor for drills');
SELECT pg_temp.maintain() \g /dev/null
SELECT is(pg_temp.kept('sched'), 'pass', 'maintenance has served them');
SELECT pg_temp.move(id, 'claimed', 'failed') FROM walwarden_internal.job WHERE NOT done \g /dev/null

-- at most 50 in a transaction
SELECT pg_temp.request('sched', 'POST', '/databases', format('{"name":"n%s","connectionRef":"d","destinationId":"%s","schedule":"0 3 * * *"}', n, :'destination')) FROM generate_series(1, 60) AS n \g /dev/null
UPDATE walwarden_internal.database SET next_run_at = clock_timestamp() - interval '1 minute' WHERE name ~ '^n';
SELECT pg_temp.maintain() \g /dev/null
SELECT is((SELECT count(*) FROM walwarden_internal.job WHERE NOT done), 50::bigint, '50 in one transaction');
SELECT pg_temp.maintain() \g /dev/null
SELECT is((SELECT count(*) FROM walwarden_internal.job WHERE NOT done), 60::bigint, 'the others in the next');
SELECT pg_temp.move(id, 'cancelled') FROM walwarden_internal.job WHERE NOT done \g /dev/null

-- what has no next time
SELECT pg_temp.put_off('next_run_at', '1 minute'), pg_temp.put_off('next_drill_at', '1 minute') \g /dev/null
SELECT pg_temp.request('sched', 'DELETE', '/databases/' || :'database', '') \g /dev/null
SELECT is((SELECT concat(d.next_run_at, d.next_drill_at) FROM walwarden_internal.database AS d WHERE d.id = :'database'), '', 'a deleted database');
SELECT is_empty(format('SELECT FROM walwarden_internal.database WHERE id = %L AND (next_run_at IS NOT NULL OR next_drill_at IS NOT NULL)', :'database'), 'is never due');
SAVEPOINT copy;
UPDATE walwarden_internal.database SET next_run_at = clock_timestamp() - interval '1 minute' WHERE name ~ '^n';
SELECT walwarden.close_copy() \g /dev/null
SELECT is_empty('SELECT FROM walwarden_internal.database WHERE next_run_at IS NOT NULL', 'a copy');
SELECT is((SELECT count(*) FROM walwarden_internal.database WHERE schedule IS NOT NULL AND deleted_at IS NULL), 60::bigint, 'whose schedules stay');
ROLLBACK TO copy;
UPDATE walwarden_internal.database SET next_run_at = clock_timestamp() - interval '1 minute' WHERE name ~ '^n';
SELECT walwarden.close_org('sched') \g /dev/null
SELECT is_empty('SELECT FROM walwarden_internal.database WHERE next_run_at IS NOT NULL', 'a closed organisation');
SELECT pg_temp.maintain() \g /dev/null
SELECT is_empty('SELECT FROM walwarden_internal.job WHERE NOT done', 'nothing is queued for it');

-- Whether one is due is asked at each claim, with a plan that does not know the time: no table
-- is read whole for it, however many databases have no schedule.
INSERT INTO walwarden_internal.database (org_id, name, engine, connection_ref, destination_id, created_at, updated_at, audit_seq)
SELECT d.org_id, 'many ' || n, d.engine, d.connection_ref, d.destination_id, now(), now(), 1
  FROM (SELECT * FROM walwarden_internal.database LIMIT 1) AS d, generate_series(1, 3000) AS n;
ANALYZE walwarden_internal.database;
SET LOCAL plan_cache_mode = force_generic_plan;
SELECT seq_scan AS before FROM pg_stat_xact_all_tables WHERE relid = 'walwarden_internal.database'::regclass \gset
SELECT is(walwarden_internal.is_schedule_due(org_id, 'infinity'), false, 'none is due') FROM walwarden_internal.database WHERE name = 'many 1';
SELECT is(seq_scan - :before, 1::bigint, 'and only this test reads the table whole') FROM pg_stat_xact_all_tables WHERE relid = 'walwarden_internal.database'::regclass;

SELECT * FROM finish();
ROLLBACK;
