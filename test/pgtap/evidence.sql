-- The evidence of backups: what it has to be about, and when it is taken.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

CREATE ROLE te_runner;
SELECT walwarden.create_org('evidence') IS NOT NULL, walwarden.grant_runner('te_runner') \g /dev/null
CREATE TEMP TABLE tokens (name text, token text);
GRANT SELECT ON tokens TO te_runner;
INSERT INTO tokens SELECT 'node', token FROM walwarden.issue_token('evidence', 'node', kind => 'node');
INSERT INTO tokens SELECT 'api', token FROM walwarden.issue_token('evidence', 'api', ARRAY['databases:write', 'destinations:write', 'backups:trigger']);

\ir request.psql
CREATE FUNCTION request(path text, body text) RETURNS json LANGUAGE sql AS $$
    SELECT pg_temp.rest((SELECT t.token FROM tokens AS t WHERE t.name = 'api'), 'POST', path, body)
$$;
-- A report of evidence with this manifest, and what else it says.
CREATE FUNCTION evidence(manifest jsonb, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('manifest', manifest, 'integrityVerification', '{"result":"not_run","checkedAt":null,"tool":null}'::jsonb,
                              'recoverableTo', '2026-11-20T17:00:00Z') || more
$$;
CREATE FUNCTION artifact(digit text, name text DEFAULT 'b') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('artifact', jsonb_build_object('name', name, 'sizeBytes', 1, 'checksumSha256', repeat(digit, 64)))
$$;

SELECT request('/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id' AS destination \gset
SELECT request('/databases', format('{"name":"d","connectionRef":"d","destinationId":"%s"}', :'destination')) ->> 'id' AS database \gset
SELECT request(format('/databases/%s/backups', :'database'), '') ->> 'backupJobId' AS job \gset
SELECT id AS org FROM walwarden_internal.org WHERE slug = 'evidence' \gset
SELECT walwarden.authenticate(token) FROM tokens WHERE name = 'node' \g /dev/null
SET ROLE te_runner;
SELECT walwarden.register_node('node', '1') \g /dev/null
SELECT fence FROM walwarden.claim_job('{backup}') \g /dev/null

-- when
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(artifact(''0'')))', :'job'), '55000', format('job %s is claimed and cannot have evidence', :'job'), 'a claimed backup has no evidence yet');
SELECT walwarden.report_job(:'job', 1, 'running') \g /dev/null

-- the manifest is about this job, or does not say
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(jsonb_build_object(%L, %s)))', :'job', member, value), '22023',
                 format('the manifest is about another job: %s differs', member), member || ': ' || value)
  FROM (VALUES ('jobId', '''00000000-0000-0000-0000-000000000000''::text'), ('jobId', '1'), ('jobId', 'NULL::text'), ('fence', '2'), ('fence', '''1''::text'), ('fence', '''{}''::jsonb'),
               ('orgId', '''00000000-0000-0000-0000-000000000000''::text'), ('databaseId', '''00000000-0000-0000-0000-000000000000''::text'),
               ('jobId', quote_literal(upper(:'job')) || '::text')) AS v(member, value);
SELECT ok(walwarden.record_evidence(:'job', 1, evidence(jsonb_build_object('orgId', :'org', 'jobId', :'job', 'fence', 1, 'databaseId', :'database'))), 'a manifest that names the job');

-- a snapshot can be restored to one point in time
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(%L, ''{"recoverableFrom":"2026-11-20T16:00:00Z"}''))', :'job', format('{"engine":{"method":"%s"}}', method)), '22023',
                 format('a backup by %s is a snapshot: recoverableFrom differs from recoverableTo', method), method || ' is a snapshot')
  FROM unnest('{pg_dump,pg_basebackup}'::text[]) AS method;
SELECT ok(walwarden.record_evidence(:'job', 1, evidence(format('{"engine":{"method":"%s"}}', method)::jsonb, '{"recoverableFrom":"2026-11-20T17:00:00Z"}')), method || ', both times')
  FROM unnest('{pg_dump,pg_basebackup}'::text[]) AS method;
SELECT ok(walwarden.record_evidence(:'job', 1, evidence('{"engine":{"method":"pg_dump"}}')), 'or one time');
SELECT ok(walwarden.record_evidence(:'job', 1, evidence(manifest::jsonb, '{"recoverableFrom":"2026-11-20T16:00:00Z"}')), 'a span: ' || manifest)
  FROM unnest(ARRAY['{"engine":{"method":"wal"}}', '{"engine":"pg_dump"}', '{"method":"pg_dump"}']) AS manifest;

-- completed: evidence of this claim, about this artifact
SELECT walwarden.report_job(:'job', 1, 'finalizing') \g /dev/null
SELECT throws_ok(format('SELECT walwarden.report_job(%L, 1, ''completed'', artifact(''0''))', :'job'), '22023', 'the evidence is about another artifact', 'a manifest without an artifact');
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(%L)), walwarden.report_job(%1$L, 1, ''completed'', artifact(''0''))', :'job', manifest), '22023', 'the evidence is about another artifact', manifest)
  FROM unnest(ARRAY['{"artifact":null}', '{"artifact":[]}', '{"artifact":"0"}', '{"artifact":{}}', '{"artifact":{"checksumSha256":0}}', '{"checksumSha256":"' || repeat('0', 64) || '"}',
                    artifact('1')::text, artifact('0', 'other')::text, (artifact('0') || '{"artifact":{"sizeBytes":2}}')::text,
                    jsonb_set(artifact('0'), '{artifact,sizeBytes}', '2')::text]) AS manifest;
SELECT ok(walwarden.record_evidence(:'job', 1, evidence(artifact('0'))), 'the manifest of the artifact');
SELECT throws_ok(format('SELECT walwarden.report_job(%L, 1, ''completed'', artifact(''1''))', :'job'), '22023', 'the evidence is about another artifact', 'and another artifact');
SELECT ok(walwarden.report_job(:'job', 1, 'completed', artifact('0')), 'then it is completed');

-- later evidence stays with the artifact
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(%L))', :'job', manifest), '22023', 'the manifest is about another artifact than the completed backup', 'afterwards: ' || manifest)
  FROM unnest(ARRAY['{}', artifact('1')::text, artifact('0', 'other')::text]) AS manifest;
SELECT ok(walwarden.record_evidence(:'job', 1, evidence(artifact('0'), '{"integrityVerification":{"result":"passed","checkedAt":"2026-11-20T18:00:00Z","tool":"pg_restore"}}')), 'checked again');
RESET ROLE;

-- evidence of an earlier claim is none
SELECT request(format('/databases/%s/backups', :'database'), '') ->> 'backupJobId' AS job \gset
SELECT walwarden.authenticate(token) FROM tokens WHERE name = 'node' \g /dev/null
SET ROLE te_runner;
SELECT fence FROM walwarden.claim_job('{backup}') \g /dev/null
SELECT walwarden.report_job(:'job', 1, 'running'), walwarden.record_evidence(:'job', 1, evidence(artifact('0'))) \g /dev/null
RESET ROLE;
UPDATE walwarden_internal.job SET lease_until = clock_timestamp() WHERE id = :'job';
SET ROLE te_runner;
SELECT fence FROM walwarden.claim_job('{backup}') \gset
SELECT cmp_ok(:fence, '>', 1, 'claimed again');
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, %s, evidence(artifact(''0'')))', :'job', :fence), '55000', format('job %s is claimed and cannot have evidence', :'job'), 'also then');
SELECT walwarden.report_job(:'job', :fence, 'running'), walwarden.report_job(:'job', :fence, 'finalizing') \g /dev/null
SELECT throws_ok(format('SELECT walwarden.report_job(%L, %s, ''completed'', artifact(''0''))', :'job', :fence), '55000', format('backup %s has no evidence of claim %s', :'job', :fence), 'the evidence of claim 1 does not count');
SELECT ok(walwarden.record_evidence(:'job', :fence, evidence(artifact('0'))) AND walwarden.report_job(:'job', :fence, 'completed', artifact('0')), 'its own does');
RESET ROLE;
SELECT is((SELECT ok FROM walwarden.verify_audit_chain('evidence')), true, 'the chain holds');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain_sql('evidence')), true, 'in SQL too');

SELECT * FROM finish();
ROLLBACK;
