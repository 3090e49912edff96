-- close_copy(): every token refuses, every job ends, each with its entry; once.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

-- Tokens of every kind and in every state, in two organisations.
SELECT walwarden.create_org(o) FROM unnest('{c-one,c-two,c-empty}'::text[]) AS o \g /dev/null
SELECT walwarden.add_member(o, 'ann', 'owner'), walwarden.add_member(o, 'bob', 'admin') FROM unnest('{c-one,c-two}'::text[]) AS o \g /dev/null
CREATE TEMP TABLE kept AS
SELECT o AS org, w.what, t.token_id, t.token
  FROM unnest('{c-one,c-two}'::text[]) AS o,
       (VALUES ('expired', NULL, NULL, 'api'), ('shared', NULL, NULL, 'api'), ('private', 'ann', NULL, 'api'), ('inactive', 'bob', NULL, 'api'), ('role', NULL, 'analyst', 'api'),
               ('node', NULL, NULL, 'node'), ('disabled', NULL, NULL, 'api'), ('overlap', NULL, NULL, 'api'), ('revoked', NULL, NULL, 'api')) AS w(what, owner, role, kind),
       walwarden.issue_token(o, w.what, owner => w.owner, role => w.role, kind => w.kind, expires_at => CASE w.what WHEN 'expired' THEN clock_timestamp() + interval '2 s' END,
                             scopes => CASE w.what WHEN 'shared' THEN '{databases:read,databases:write,destinations:write,backups:trigger,restores:write}' ELSE '{}' END::text[]) AS t;
INSERT INTO kept SELECT k.org, 'renewed', r.token_id, r.token FROM kept AS k, walwarden.renew_token(k.token_id, '1 day') AS r WHERE k.what = 'overlap';
SELECT walwarden.disable_token(token_id) FROM kept WHERE what = 'disabled' \g /dev/null
SELECT walwarden.revoke_token(token_id, 'earlier') FROM kept WHERE what = 'revoked' \g /dev/null
SELECT walwarden.disable_member(o, 'bob'), walwarden.import_legacy_credential(o, 'ann', gen_random_uuid(), repeat('s', 32)) FROM unnest('{c-one,c-two}'::text[]) AS o \g /dev/null
-- what is overdue for removal is revoked too, so that it stays listed
SELECT walwarden.set_org_retention('c-one', '0') \g /dev/null

-- Jobs in every state, moved there as nodes and clients move them.
\ir request.psql
CREATE FUNCTION pg_temp.request(org text, path text, body jsonb) RETURNS json LANGUAGE sql AS $$
    SELECT pg_temp.rest((SELECT k.token FROM kept AS k WHERE k.org = $1 AND k.what = 'shared'), 'POST', path, body::text)
$$;
\ir job_moves.psql
CREATE TEMP TABLE path (kind text, states text[]);
INSERT INTO path VALUES
    ('backup', '{}'), ('backup', '{claimed}'), ('backup', '{claimed,running}'), ('backup', '{claimed,running,finalizing}'), ('backup', '{claimed,running,finalizing,completed}'), ('backup', '{claimed,failed}'),
    ('backup', '{cancelled}'), ('backup', '{claimed,failed,dismissed}'),
    ('restore', '{}'), ('restore', '{claimed}'), ('restore', '{claimed,downloading}'), ('restore', '{claimed,downloading,verifying}'), ('restore', '{claimed,downloading,verifying,manifest_verified}'),
    ('restore', '{claimed,downloading,verifying,manifest_verified,restoring}'), ('restore', '{claimed,downloading,verifying,manifest_verified,restoring,finalizing}'),
    ('restore', '{claimed,downloading,verifying,manifest_verified,restoring,finalizing,completed}'), ('restore', '{claimed,failed}');
INSERT INTO path SELECT 'drill', states FROM path WHERE kind = 'restore';
INSERT INTO path VALUES ('restore', '{claimed,downloading,verifying,manifest_verified,restoring,timed_out}');
DO $$
DECLARE
    org text;
    destination text;
    database text;
    backup text;
    p record;
BEGIN
    FOREACH org IN ARRAY '{c-one,c-two}'::text[] LOOP
        destination := pg_temp.request(org, '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id';
        FOR p IN SELECT * FROM path ORDER BY kind, states LOOP
            IF p.kind = 'backup' THEN
                database := pg_temp.request(org, '/databases', jsonb_build_object('name', p.states::text, 'connectionRef', 'd', 'destinationId', destination)) ->> 'id';
                backup := pg_temp.request(org, format('/databases/%s/backups', database), '{}') ->> 'backupJobId';
                PERFORM pg_temp.move(backup::uuid, VARIADIC p.states);
            ELSE
                SELECT j.id, j.database_id INTO backup, database FROM walwarden_internal.job AS j JOIN walwarden_internal.org AS o ON o.id = j.org_id WHERE o.slug = org AND j.state = 'completed' AND j.kind = 'backup';
                PERFORM pg_temp.move((pg_temp.request(org, '/restores', jsonb_build_object('databaseId', database, 'backupJobId', backup, 'kind', p.kind, 'mode', 'new_database', 'target', 'x/y')) ->> 'restoreJobId')::uuid,
                                     VARIADIC p.states);
            END IF;
        END LOOP;
    END LOOP;
END
$$;
SELECT set_eq('SELECT kind, state FROM walwarden_internal.job', $$SELECT machine, state FROM walwarden_internal.job_state WHERE (machine, state) NOT IN (('restore', 'cancelled'), ('drill', 'cancelled'), ('drill', 'timed_out')) AND machine <> 'expire' AND state <> 'expired'$$, 'jobs in every state');
SELECT pg_sleep(extract(epoch FROM max(expires_at) - clock_timestamp())) FROM walwarden_internal.token WHERE name = 'expired' \g /dev/null
SELECT is((SELECT array_agg(DISTINCT t.state ORDER BY t.state) FROM walwarden.token_list AS t WHERE t.token_id IN (SELECT k.token_id FROM kept AS k)), '{active,disabled,expired,inactive,revoked}', 'tokens in every state');

-- How each token opens: its id, or the SQLSTATE.
CREATE FUNCTION pg_temp.opens(token text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN walwarden.authenticate(token);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
CREATE TEMP VIEW opening AS SELECT k.org, k.what, pg_temp.opens(k.token) AS opens FROM kept AS k;
SELECT is((SELECT array_agg(DISTINCT what ORDER BY what) FROM opening WHERE opens <> '28000'), '{node,overlap,private,renewed,role,shared}', 'most open');
CREATE TEMP TABLE opening_before AS TABLE opening;
CREATE TEMP TABLE token_before AS SELECT t.*, (walwarden_internal.token_status(t)).state FROM walwarden_internal.token AS t;
CREATE TEMP TABLE job_before AS TABLE walwarden_internal.job;
CREATE TEMP TABLE entry_before AS TABLE walwarden_internal.audit_entry;
CREATE TEMP VIEW new_entry AS SELECT e.*, e.body::jsonb -> 'payload' AS payload FROM walwarden_internal.audit_entry AS e WHERE (e.org_id, e.seq) NOT IN (SELECT b.org_id, b.seq FROM entry_before AS b);
CREATE TEMP VIEW verdict AS
SELECT 'C' AS verifier, v.org, v.ok, v.reason FROM walwarden.verify_audit_chain() AS v UNION ALL SELECT 'SQL', v.org, v.ok, v.reason FROM walwarden.verify_audit_chain_sql(NULL) AS v;
SELECT is_empty('SELECT * FROM verdict WHERE NOT ok', 'the chains verify before');

SAVEPOINT before;
SELECT results_eq($$SELECT * FROM walwarden.close_copy('staging')$$,
    $$SELECT (SELECT count(*)::int FROM token_before WHERE revoked_at IS NULL), (SELECT count(*)::int FROM job_before WHERE NOT done)$$, 'it says how much it ended');
SELECT cmp_ok((SELECT count(*) FROM new_entry), '>', 40::bigint, 'which is something');

-- tokens
SELECT is((SELECT array_agg(DISTINCT opens) FROM opening), '{28000}', 'no value opens');
SELECT is((SELECT array_agg(DISTINCT state) FROM walwarden.token_list WHERE token_id IN (SELECT token_id FROM token_before)), '{revoked}', 'every token is revoked');
SELECT is((SELECT array_agg(DISTINCT c.stopped) FROM walwarden_internal.credential AS c), '{revoked}', 'and all its values, of pairs too');
SELECT is((SELECT count(*) FROM walwarden.token_list), (SELECT count(*) FROM token_before), 'none was removed');
SELECT is((SELECT array_agg(DISTINCT revoked_reason) FROM walwarden_internal.token WHERE name = 'revoked'), '{earlier}', 'what was revoked before is as it was');
SELECT is((SELECT array_agg(DISTINCT t.revoked_reason) FROM walwarden_internal.token AS t JOIN token_before AS b USING (id) WHERE b.revoked_at IS NULL), '{staging}', 'the others say why');

-- jobs: what each state became
SELECT is_empty('SELECT FROM walwarden_internal.job WHERE NOT done', 'no job is open');
SELECT bag_eq($$SELECT DISTINCT b.kind, b.state AS was, j.state, j.error ->> 'message' AS why FROM job_before AS b JOIN walwarden_internal.job AS j USING (id) WHERE NOT b.done$$,
    $$SELECT s.machine, s.state, CASE WHEN s.state IN ('restoring', 'finalizing') AND s.machine <> 'backup' THEN 'timed_out' ELSE 'cancelled' END, 'staging'
        FROM walwarden_internal.job_state AS s WHERE NOT s.done AND s.machine <> 'expire'$$, 'every open state ends');
SELECT set_eq('SELECT * FROM walwarden_internal.job WHERE id IN (SELECT id FROM job_before WHERE done)', 'SELECT * FROM job_before WHERE done', 'jobs that were done are as they were');
SELECT is_empty('SELECT FROM walwarden_internal.job WHERE lease_until IS NOT NULL', 'no lease is left');

-- entries
SELECT bag_eq($$SELECT kind, payload #>> '{object,id}' FROM new_entry WHERE kind LIKE 'token.%'$$,
    $$SELECT 'token.revoked', id::text FROM token_before WHERE revoked_at IS NULL
      UNION ALL SELECT 'token.expired', id::text FROM token_before WHERE revoked_at IS NULL AND state = 'expired' AND expired_at IS NULL$$, 'one entry for each token, and one for each expiry that had none');
SELECT bag_eq($$SELECT job_id, kind FROM new_entry WHERE job_id IS NOT NULL$$,
    $$SELECT b.id, CASE b.kind WHEN 'drill' THEN 'restore' ELSE b.kind END || '.' || j.state FROM job_before AS b JOIN walwarden_internal.job AS j USING (id) WHERE NOT b.done$$, 'one for each job');
SELECT bag_eq($$SELECT kind, org_id, payload - 'org' - 'seq' - 'actor', payload #>> '{actor,kind}' AS actor FROM new_entry WHERE kind !~ '^token[.]' AND job_id IS NULL$$,
    $$SELECT 'copy.closed' AS kind, walwarden_internal.system_org(), jsonb_build_object('reason', 'staging', 'tokens', (SELECT count(*) FROM token_before WHERE revoked_at IS NULL), 'jobs', (SELECT count(*) FROM job_before WHERE NOT done), 'sessions', 0), 'operator' AS actor$$,
    'and one for the copy');
SELECT is_empty($$SELECT FROM new_entry WHERE payload #>> '{actor,role}' IS DISTINCT FROM current_user AND kind <> 'token.expired'$$, 'by whoever closed it');
SELECT is_empty('SELECT * FROM verdict WHERE NOT ok', 'the chains verify');

-- once
SELECT results_eq('SELECT * FROM walwarden.close_copy()', 'VALUES (0, 0)', 'a second call ends nothing');
SELECT is((SELECT count(*) FROM new_entry WHERE kind = 'copy.closed'), 1::bigint, 'and records nothing');

-- the copy is used with tokens of its own
SELECT token AS fresh FROM walwarden.issue_token('c-two', 'fresh', kind => 'node') \gset
SELECT isnt(walwarden.authenticate(:'fresh'), NULL, 'a new token opens');
CREATE ROLE pgtap_runner;
SELECT walwarden.grant_runner('pgtap_runner') \g /dev/null
SET ROLE pgtap_runner;
SELECT walwarden.register_node('copy', '1') \g /dev/null
SELECT is_empty($$SELECT * FROM walwarden.claim_job('{backup,restore,drill}')$$, 'and its node finds no job');
RESET ROLE;
SELECT is((SELECT tokens FROM walwarden.close_copy()), 1, 'it can be closed again');
SELECT is((SELECT payload ->> 'reason' FROM new_entry WHERE kind = 'copy.closed' ORDER BY seq DESC LIMIT 1), 'copy closed', 'without a reason too');

-- a rollback brings all of it back
ROLLBACK TO before;
SELECT set_eq('TABLE opening', 'TABLE opening_before', 'rolled back, all tokens open that did');
SELECT set_eq('TABLE walwarden_internal.job', 'TABLE job_before', 'jobs are as they were');
SELECT is_empty('TABLE new_entry', 'so are the chains');

SELECT * FROM finish();
ROLLBACK;
