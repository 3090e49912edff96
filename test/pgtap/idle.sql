-- A round of maintenance with nothing to do reads no table whole, nor does verification of one chain.
BEGIN;
SELECT no_plan();
SELECT walwarden.create_org('idle-' || n) FROM generate_series(1, 200) AS n \g /dev/null
INSERT INTO walwarden_internal.token (org_id, name, kind, scopes, created_at, created_by, expires_at, audit_seq)
SELECT o.id, 'later', 'api', '{}', now(), 'test', now() + interval '90 days', 1 FROM walwarden_internal.org AS o;
INSERT INTO walwarden_internal.destination (id, org_id, name, provider, uri, retention_floor_days, created_at, updated_at, audit_seq)
SELECT o.id, o.id, 'd', 'local', 'file:///srv', 7, now(), now(), 1 FROM walwarden_internal.org AS o;
INSERT INTO walwarden_internal.database (id, org_id, name, engine, connection_ref, destination_id, schedule, next_run_at, created_at, updated_at, audit_seq)
SELECT o.id, o.id, 'b', 'postgresql', 'b', o.id, '0 3 * * *', now() + interval '1 day', now(), now(), 1 FROM walwarden_internal.org AS o;
INSERT INTO walwarden_internal.job (org_id, kind, database_id, destination_id, type, trigger, state, done, attempt, max_attempts, fence, queued_at, finished_at, first_seq, audit_seq)
SELECT o.id, 'backup', o.id, o.id, 'full', 'schedule', 'completed', true, 1, 3, 1, now(), now() - n * interval '1 day', 1, 1 FROM walwarden_internal.org AS o, generate_series(1, 5) AS n;
INSERT INTO walwarden_internal.idempotency_key (holder, key_hash, request_hash, created_at)
SELECT sha256('x'), sha256(int4send(n)), sha256('x'), now() FROM generate_series(1, 3000) AS n;
INSERT INTO walwarden_internal.session (id, cookie_hash, subject, salt, method, created_at, expires_at)
SELECT gen_random_uuid(), sha256(int4send(n)), 'ann', sha256('x'), 'link', now(), now() + interval '1 day' FROM generate_series(1, 3000) AS n;
INSERT INTO walwarden_internal.sign_in_code (code_hash, subject, made_by, created_at, expires_at)
SELECT sha256(int4send(n)), 'ann', '{}', now(), now() + interval '1 day' FROM generate_series(1, 3000) AS n;
-- what a round leaves behind, but for the verdicts, which take time
INSERT INTO walwarden_internal.verification (org_id, finished_at, entries, head_hash, ok)
SELECT c.org_id, now(), 0, '', true FROM walwarden_internal.chains() AS c;
SELECT walwarden_internal.store_summary(o.id) FROM walwarden_internal.org AS o \g /dev/null
ANALYZE walwarden_internal.org, walwarden_internal.token, walwarden_internal.database, walwarden_internal.destination, walwarden_internal.job,
    walwarden_internal.verification, walwarden_internal.org_summary, walwarden_internal.audit_entry, walwarden_internal.idempotency_key,
    walwarden_internal.session, walwarden_internal.sign_in_code;

-- Which of the tables that are large here a statement reads whole.
CREATE FUNCTION read_whole(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before jsonb;
BEGIN
    SELECT jsonb_object_agg(s.relname, s.seq_scan) INTO before FROM pg_stat_xact_all_tables AS s WHERE s.schemaname = 'walwarden_internal';
    EXECUTE 'SELECT count(*) FROM (' || statement || ') AS s';
    RETURN (SELECT coalesce(string_agg(s.relname, ' ' ORDER BY s.relname), 'none')
              FROM pg_stat_xact_all_tables AS s
             WHERE s.schemaname = 'walwarden_internal' AND s.seq_scan > (before ->> s.relname::text)::bigint
               AND s.relname IN ('org', 'token', 'database', 'destination', 'job', 'verification', 'org_summary', 'audit_entry', 'idempotency_key', 'session', 'sign_in_code'));
END
$$;
-- How many entries of the indexes of a table, and of its rows, a statement reads in maintenance_steps().
CREATE FUNCTION entries_read(statement text, relation regclass) RETURNS bigint LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    read CONSTANT text := 'SELECT sum(pg_stat_get_xact_tuples_returned(r.oid)) FROM (SELECT i.indexrelid FROM pg_index AS i WHERE i.indrelid = $1 UNION ALL SELECT $1) AS r(oid)';
    before bigint;
    after bigint;
BEGIN
    EXECUTE read INTO before USING relation;
    EXECUTE 'SELECT count(*) FROM (' || statement || ') AS s';
    EXECUTE read INTO after USING relation;
    RETURN after - before;
END
$$;
SELECT is(read_whole('SELECT FROM walwarden_internal.org UNION ALL SELECT FROM walwarden_internal.org_summary'), 'org org_summary', 'what is read whole is found');
SELECT is(read_whole('SELECT * FROM walwarden_internal.maintenance_steps(false)'), 'none', 'a round with nothing to do reads no table whole');
SELECT is(read_whole('SELECT * FROM walwarden_internal.maintenance_steps(true)'), 'none', 'nor with nothing to count');
SELECT is(read_whole('SELECT walwarden.run_maintenance()'), 'none', 'nor does the round itself');
SELECT is(read_whole(format('SELECT * FROM walwarden_internal.verify_chain(%L, NULL, NULL, true)', (SELECT o.id FROM walwarden_internal.org AS o WHERE o.slug = 'idle-1'))), 'none',
    'nor does verification of one chain');
SELECT is(entries_read('SELECT * FROM walwarden_internal.orgs_with_overdue_backups()', 'walwarden_internal.org'), 0::bigint, 'no organisation is asked whose backups are not old enough to expire');
SELECT is(entries_read('SELECT * FROM walwarden_internal.orgs_with_expiring_tokens()', 'walwarden_internal.org'), 0::bigint, 'nor one without tokens whose expiry is near');

-- nor where the statistics are of a time when all was due
UPDATE walwarden_internal.database SET next_run_at = now() - interval '1 day', next_drill_at = now() - interval '1 day';
UPDATE walwarden_internal.token SET expires_at = now() + interval '1 day', notice_for = now() + interval '1 day';
UPDATE walwarden_internal.verification SET finished_at = now() - interval '30 days';
ANALYZE walwarden_internal.database, walwarden_internal.token, walwarden_internal.verification;
SELECT matches(read_whole('SELECT FROM walwarden_internal.database AS d WHERE least(d.next_run_at, d.next_drill_at) <= statement_timestamp()'), 'database', 'without more, the server reads whole what it expects to be due');
UPDATE walwarden_internal.database SET next_run_at = now() + interval '1 day', next_drill_at = NULL;
UPDATE walwarden_internal.verification SET finished_at = now();
SELECT is(read_whole('SELECT * FROM walwarden_internal.maintenance_steps(false)'), 'none', 'statistics change nothing');

-- what is due is found in the order of the organisations, however long their notice is
UPDATE walwarden_internal.token SET expires_at = now() + interval '90 days', notice_for = NULL;
UPDATE walwarden_internal.org SET notice = v.notice
  FROM (VALUES ('idle-1', interval '100 days'), ('idle-2', '80 days'), ('idle-3', '7 days'), ('idle-4', '6 days'), ('idle-5', '0')) AS v(slug, notice) WHERE v.slug = org.slug;
UPDATE walwarden_internal.token AS t SET expires_at = now() + v.ends
  FROM (VALUES ('idle-3', interval '6 days 12 hours'), ('idle-4', '6 days 12 hours'), ('idle-5', '1 hour'), ('idle-6', '6 days'), ('idle-7', '8 days')) AS v(slug, ends) JOIN walwarden_internal.org AS o ON o.slug = v.slug
 WHERE t.org_id = o.id;
UPDATE walwarden_internal.database AS d SET next_run_at = v.run, next_drill_at = v.drill
  FROM (VALUES ('idle-1', now(), NULL), ('idle-2', NULL, now()), ('idle-3', now() + interval '1 day', now()), ('idle-4', now(), now() + interval '1 day'), ('idle-5', NULL, NULL)) AS v(slug, run, drill)
  JOIN walwarden_internal.org AS o ON o.slug = v.slug
 WHERE d.org_id = o.id;
CREATE FUNCTION due(step text) RETURNS TABLE (org_id uuid) LANGUAGE sql AS $$
    SELECT s.org_id FROM walwarden_internal.maintenance_steps(false) WITH ORDINALITY AS s(step, org_id, n) WHERE s.step = due.step ORDER BY s.n
$$;
SELECT results_eq($$SELECT * FROM due('notices')$$, $$SELECT id FROM walwarden_internal.org WHERE slug IN ('idle-1', 'idle-3', 'idle-6') ORDER BY id$$, 'notices');
SELECT results_eq($$SELECT * FROM due('schedules')$$, $$SELECT id FROM walwarden_internal.org WHERE slug IN ('idle-1', 'idle-2', 'idle-3', 'idle-4') ORDER BY id$$, 'schedules');

-- tokens that are near and not due, because their organisation has a short notice: not all are read
INSERT INTO walwarden_internal.token (org_id, name, kind, scopes, created_at, created_by, expires_at, audit_seq)
SELECT o.id, 'short', 'api', '{}', now(), 'test', now() + interval '1 day' + n * interval '1 s', 1 FROM walwarden_internal.org AS o, generate_series(1, 20000) AS n WHERE o.slug = 'idle-5';
ANALYZE walwarden_internal.token;
SELECT cmp_ok(entries_read($$SELECT * FROM walwarden_internal.maintenance_steps(false) WHERE step = 'notices'$$, 'walwarden_internal.token'), '<', 5000::bigint, 'of 20000 tokens that are near and not due, part are read');
SELECT results_eq($$SELECT * FROM due('notices')$$, $$SELECT id FROM walwarden_internal.org WHERE slug IN ('idle-1', 'idle-3', 'idle-6') ORDER BY id$$, 'tokens behind them are found');

-- expiries that wait are read once, although the statistics know of none
INSERT INTO walwarden_internal.job (org_id, kind, database_id, destination_id, backup_job_id, trigger, state, done, attempt, max_attempts, fence, queued_at, first_seq, audit_seq)
SELECT j.org_id, 'expire', j.database_id, j.destination_id, j.id, 'schedule', 'claimed', false, 1, 3, 1, now(), 1, 1 FROM walwarden_internal.job AS j WHERE j.kind = 'backup';
SELECT cmp_ok(entries_read('SELECT * FROM walwarden_internal.orgs_with_overdue_backups()', 'walwarden_internal.job'), '<', 10000::bigint, 'of 1000 expiries that wait, none is read for each organisation');

-- a chain is verified whoever lost what: the system's and one without a row first
SELECT gen_random_uuid() AS stray, gen_random_uuid() AS nothing \gset
INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) VALUES (:'stray', 'app.x', '{}');
DELETE FROM walwarden_internal.verification WHERE org_id IN (SELECT id FROM walwarden_internal.org WHERE slug = 'idle-9') OR org_id = walwarden_internal.system_org();
INSERT INTO walwarden_internal.verification (org_id, finished_at, entries, head_hash, ok) VALUES (:'nothing', now() - interval '30 days', 0, '', true);
UPDATE walwarden_internal.verification SET finished_at = v.at
  FROM (VALUES ('idle-7', now() - interval '30 days'), ('idle-8', now() + interval '30 days')) AS v(slug, at) JOIN walwarden_internal.org AS o ON o.slug = v.slug
 WHERE verification.org_id = o.id;
SELECT results_eq($$SELECT k.name FROM due('verification') WITH ORDINALITY AS d JOIN walwarden_internal.chains() AS k USING (org_id) ORDER BY d.ordinality$$,
    format($$VALUES ('_system'), ('idle-7'), ('idle-8'), ('idle-9'), (%L)$$, :'stray'), 'in the order of chains(), none that is no chain');
SELECT is((SELECT count(*) FROM due('verification')), 5::bigint, 'each once');
SELECT * FROM finish();
ROLLBACK;
