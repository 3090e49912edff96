-- Monitors, and the list of grants with what does not hold.
BEGIN;
SELECT no_plan();
CREATE ROLE tm_monitor;
CREATE ROLE tm_member IN ROLE tm_monitor;
CREATE ROLE tm_server IN ROLE pg_monitor;
CREATE ROLE tm_aside NOINHERIT IN ROLE pg_monitor;
CREATE ROLE tm_op;
CREATE ROLE tm_web;
CREATE ROLE tm_login;
CREATE ROLE tm_runner;
CREATE ROLE tm_admin;
CREATE ROLE tm_gone;
SELECT walwarden.create_org('acme'), walwarden.add_member('acme', 'ann', 'owner', 'tm_admin') \g /dev/null

-- granted and revoked by superusers, once, and recorded
SELECT ok(walwarden.grant_monitor('tm_monitor'), 'a monitor');
SELECT ok(NOT walwarden.grant_monitor('tm_monitor'), 'granted once');
SELECT ok(walwarden.revoke_monitor('tm_monitor') AND NOT walwarden.revoke_monitor('tm_monitor'), 'revoked once');
SELECT ok(walwarden.grant_monitor('tm_monitor'), 'granted again');
SELECT results_eq($$SELECT kind COLLATE "default", body::jsonb #>> '{payload,object,id}' FROM walwarden.list_audit('_system', 0, 1000) WHERE kind ~ '^monitor' ORDER BY seq$$,
    $$VALUES ('monitor.granted', 'monitor:tm_monitor'), ('monitor.revoked', 'monitor:tm_monitor'), ('monitor.granted', 'monitor:tm_monitor')$$, 'entries of the system chain');
-- a dump contains GRANTs, and does not restore where the role is missing
SELECT is_empty($$SELECT FROM pg_shdepend WHERE refobjid = 'tm_monitor'::regrole AND deptype <> 'o'$$, 'no privilege is given to the role');

-- who reads the statistics
CREATE FUNCTION reads(who text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', who);
    FOR v IN SELECT relname FROM pg_class WHERE relnamespace = 'walwarden'::regnamespace AND relname ~ '^stat_' ORDER BY 1 LOOP
        EXECUTE format('SELECT count(*) FROM walwarden.%I', v);
    END LOOP;
    RESET ROLE;
    RETURN 'all';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
SELECT is(reads(who), came, format('%s: %s', who, came))
  FROM (VALUES ('tm_monitor', 'all'), ('tm_server', 'all'), ('pg_monitor', 'all'), ('tm_member', '42501'), ('tm_aside', '42501'),
               ('tm_web', '42501'), ('tm_admin', '42501')) AS v(who, came);
SELECT walwarden.grant_operator('tm_op') \g /dev/null
SELECT is(reads('tm_op'), 'all', 'an operator is not asked to be a monitor');
SELECT walwarden.revoke_monitor('tm_monitor') \g /dev/null
SELECT is(reads('tm_monitor'), '42501', 'no longer after revoke_monitor()');
SELECT walwarden.grant_monitor('tm_monitor') \g /dev/null
-- and nothing else
SET LOCAL ROLE tm_monitor;
SELECT is_empty('SELECT FROM walwarden.token_list UNION ALL SELECT FROM walwarden.list_orgs()', 'a monitor sees no token and no organisation');
SELECT throws_ok('SELECT * FROM walwarden.list_grants()', '42501', NULL, 'and no function of operators');
RESET ROLE;

-- the grants, as they hold
SELECT walwarden.grant_rest('tm_web', 'tm_login'), walwarden.trust_authenticator('tm_login'), walwarden.grant_runner('tm_runner'), walwarden.grant_runner('tm_gone'), walwarden.revoke_runner('tm_gone') \g /dev/null
SET LOCAL ROLE tm_op;
CREATE TEMP TABLE listed AS SELECT * FROM walwarden.list_grants();
GRANT SELECT ON listed TO PUBLIC;
RESET ROLE;
SELECT columns_are('listed', '{kind,role,login,granted_at,agrees,problem}'::name[]);
SELECT results_eq('SELECT kind COLLATE "default", role, login, agrees, problem FROM listed',
    $$VALUES ('authenticator', 'tm_login'::name, NULL::name, true, 'claims unchecked'::text), ('monitor', 'tm_monitor', NULL, true, NULL), ('operator', 'tm_op', NULL, true, NULL),
             ('rest', 'tm_web', 'tm_login', true, NULL), ('runner', 'tm_runner', NULL, true, NULL)$$, 'every present grant');
SET LOCAL ROLE tm_monitor;
SELECT results_eq('SELECT s::text FROM walwarden.stat_grants AS s', 'SELECT l::text FROM listed AS l', 'the view has the same rows');
RESET ROLE;

-- what does not hold
CREATE FUNCTION problems(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    found text;
BEGIN
    EXECUTE statement;
    SELECT string_agg(kind || ': ' || problem, E'\n' ORDER BY kind) INTO found FROM walwarden.list_grants() WHERE NOT agrees;
    RAISE SQLSTATE 'WW000' USING MESSAGE = coalesce(found, 'none');
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN SQLERRM;
END
$$;
SELECT is(problems('SELECT'), 'none', 'nothing to find');
SELECT is(problems(statement), came, statement)
  FROM (VALUES ('DROP ROLE tm_monitor', 'monitor: role "tm_monitor" does not exist in this server'),
               ('DROP ROLE tm_runner', 'runner: role "tm_runner" does not exist in this server'),
               ('ALTER ROLE tm_runner RENAME TO tm_other', 'runner: role "tm_runner" does not exist in this server'),
               ('DROP ROLE tm_login', E'authenticator: role "tm_login" does not exist in this server\nrest: role "tm_login" does not exist in this server'),
               ('ALTER ROLE tm_runner SUPERUSER', 'runner: role "tm_runner" is a superuser'),
               (format('ALTER ROLE tm_runner IN DATABASE %I RESET log_parameter_max_length', current_database()), 'runner: setting log_parameter_max_length of role "tm_runner" is not 0 in this database'),
               ('ALTER ROLE tm_login SUPERUSER', E'authenticator: role "tm_login" is a superuser\nrest: role "tm_login" is a superuser'),
               ('ALTER ROLE tm_monitor SUPERUSER', 'none'),
               ('ALTER ROLE tm_login SET log_parameter_max_length = 10', 'none'),   -- the setting in the database takes precedence
               (format('ALTER ROLE tm_login IN DATABASE %I RESET log_parameter_max_length', current_database()), 'rest: setting log_parameter_max_length of role "tm_login" is not 0 in this database'),
               (format('ALTER ROLE tm_login IN DATABASE %I SET log_parameter_max_length_on_error = 10', current_database()),
                'rest: setting log_parameter_max_length_on_error of role "tm_login" is not 0 in this database'),
               ('ALTER ROLE tm_login IN DATABASE template1 SET log_parameter_max_length = 10', 'none'),
               (format('ALTER ROLE tm_login IN DATABASE template1 RESET ALL; ALTER ROLE tm_login IN DATABASE %I RESET ALL', current_database()),
                'rest: setting idle_in_transaction_session_timeout of role "tm_login" is not 10s in this database; setting log_parameter_max_length of role "tm_login" is not 0 in this database; setting log_parameter_max_length_on_error of role "tm_login" is not 0 in this database'),
               ('REVOKE USAGE ON SCHEMA walwarden_rest FROM tm_web', 'rest: role "tm_web" lacks a privilege that grant_rest() gives'),
               ('REVOKE EXECUTE ON FUNCTION walwarden_rest.v1_get FROM tm_web', 'rest: role "tm_web" lacks a privilege that grant_rest() gives'),
               ('REVOKE ALL ON FUNCTION walwarden_internal.stat_auth_door() FROM tm_op', 'operator: role "tm_op" can be dropped while it is an operator')
       ) AS v(statement, came);
-- and what repairs it
SELECT is(problems(format('ALTER ROLE tm_login IN DATABASE %I RESET ALL;', current_database()) || $$REVOKE ALL ON SCHEMA walwarden_rest FROM tm_web; REVOKE ALL ON FUNCTION walwarden_internal.stat_auth_door() FROM tm_op;
    SELECT walwarden.grant_rest('tm_web', 'tm_login'), walwarden.grant_operator('tm_op')$$), 'none', 'the grants again');
-- a login without the settings writes tokens into the log, so verification reports it
SAVEPOINT settings;
SELECT format('ALTER ROLE tm_login IN DATABASE %I RESET log_parameter_max_length', current_database()) \gexec
SELECT is(reason, 'setting log_parameter_max_length of role "tm_login" is not 0 in this database', 'verification reports a missing setting') FROM walwarden.verify_audit_chain('acme');
ROLLBACK TO settings;
-- of pgaudit only if it is loaded
SET LOCAL pgaudit.log_parameter = on;
SELECT is(reason, 'setting pgaudit.log_parameter of role "tm_login" is not off in this database', 'and that of pgaudit') FROM walwarden.verify_audit_chain('acme');
SELECT walwarden.grant_rest('tm_web', 'tm_login'), walwarden.grant_runner('tm_runner') \g /dev/null
SELECT ok(ok, 'which a repeated grant makes') FROM walwarden.verify_audit_chain('acme');
ROLLBACK TO settings;
SELECT format('ALTER ROLE tm_login IN DATABASE %I RESET log_parameter_max_length', current_database()) \gexec
SELECT ok(walwarden.grant_rest('tm_web', 'tm_login'), 'a grant that repairs a setting changes something');
SELECT ok(NOT walwarden.grant_rest('tm_web', 'tm_login'), 'once');
SELECT is(problems($$DROP ROLE tm_monitor; SELECT walwarden.revoke_monitor('tm_monitor')$$), 'none', 'or the revoke of a role that is gone');
SELECT is(problems($$DROP ROLE tm_monitor; CREATE ROLE tm_monitor$$), 'monitor: role "tm_monitor" is not the role that was named: that one was renamed or dropped', 'a role that was made again');

SELECT is_empty($$SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok$$, 'all chains verify');

-- counts of tokens: those that the list shows, in every state
CREATE FUNCTION counted() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s %s %s %s', state, tokens, expiring_7d, never_used) FROM walwarden.stat_tokens WHERE org = 'acme' ORDER BY state COLLATE "C"
$$;
CREATE FUNCTION listed() RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s %s %s %s', s, count(t), count(*) FILTER (WHERE t.expires_at BETWEEN now() AND now() + interval '7 days' AND s <> 'revoked'), count(*) FILTER (WHERE t.last_used_at IS NULL AND t.token_id IS NOT NULL))
      FROM (SELECT from_state FROM walwarden_internal.token_transition UNION SELECT to_state FROM walwarden_internal.token_transition) AS v(s) LEFT JOIN walwarden.list_tokens('acme', max_rows => 1000) AS t ON t.state = s
     WHERE s NOT IN ('none', 'removed')
     GROUP BY s ORDER BY s COLLATE "C"
$$;
SELECT is_empty('SELECT FROM counted()', 'no count before maintenance');
SELECT walwarden.add_member('acme', 'bob'), walwarden.add_member('acme', 'eve', 'admin') \g /dev/null
SELECT token AS used FROM walwarden.issue_token('acme', 'used', expires_at => now() + interval '3 days') \gset
SELECT walwarden.issue_token('acme', 'never ends'), walwarden.issue_token('acme', 'later', expires_at => now() + interval '8 days'),
       walwarden.issue_token('acme', 'away', owner => 'bob', expires_at => now() + interval '1 day'), walwarden.disable_member('acme', 'bob') \g /dev/null
SELECT walwarden.revoke_token(token_id) FROM walwarden.issue_token('acme', 'revoked', expires_at => now() + interval '1 day') \g /dev/null
SELECT walwarden.disable_token(token_id) FROM walwarden.issue_token('acme', 'disabled', expires_at => now() + interval '1 day') \g /dev/null
SELECT token_id AS old FROM walwarden.issue_token('acme', 'old', expires_at => now() + interval '1 hour') \gset
SELECT walwarden.authenticate(:'used') \g /dev/null
SET LOCAL ROLE tm_op;
SELECT walwarden.run_maintenance() \g /dev/null
RESET ROLE;
SELECT results_eq('SELECT counted()', 'SELECT listed()', 'counts by state');
SELECT results_eq($$SELECT c FROM counted() AS c WHERE c !~ ' 0 0 0$'$$, $$VALUES ('active 4 2 3'), ('disabled 1 1 1'), ('inactive 1 1 1'), ('revoked 1 0 1')$$, 'as expected');
SET LOCAL ROLE tm_monitor;
SELECT isnt_empty('SELECT counted()', 'a monitor sees them');
RESET ROLE;

-- counted again after a change, and when the clock changes a count; not otherwise
CREATE FUNCTION to_count() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM walwarden_internal.orgs_to_count() AS o WHERE o = (SELECT id FROM walwarden_internal.org WHERE slug = 'acme')
$$;
CREATE FUNCTION summary(changes text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('UPDATE walwarden_internal.org_summary SET %s WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = ''acme'')', changes);
END
$$;
SELECT is(to_count(), 0::bigint, 'nothing to count');
SELECT is((SELECT valid_until FROM walwarden_internal.org_summary WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'acme')),
    (SELECT expires_at FROM walwarden.list_tokens('acme', max_rows => 1000) WHERE token_id = :'old'), 'until the next token expires');
SELECT walwarden.append_audit('app.x', '{}', NULL, 'acme') \g /dev/null
SELECT is(to_count(), 1::bigint, 'an entry was appended');
SELECT walwarden_internal.store_summary((SELECT id FROM walwarden_internal.org WHERE slug = 'acme')) \g /dev/null
SELECT is(to_count(), 0::bigint, 'and counted');
UPDATE walwarden_internal.token SET expires_at = now() - interval '1 second' WHERE id = :'old';
SELECT summary('valid_until = now()') \g /dev/null
SELECT is(to_count(), 1::bigint, 'a count changed by the clock');
SELECT walwarden_internal.store_summary((SELECT id FROM walwarden_internal.org WHERE slug = 'acme')) \g /dev/null
SELECT results_eq($$SELECT c FROM counted() AS c WHERE c !~ ' 0 0 0$'$$, $$VALUES ('active 3 1 2'), ('disabled 1 1 1'), ('expired 1 0 1'), ('inactive 1 1 1'), ('revoked 1 0 1')$$, 'a token has expired');
SELECT ok((SELECT valid_until <= as_of + interval '1 day' FROM walwarden_internal.org_summary WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'acme')), 'uses are counted after a day');
SELECT summary($$valid_until = now(), tokens = '[{"state": "active", "tokens": 60000}, {"state": "revoked", "tokens": 10000}]'$$) \g /dev/null
SELECT is(to_count(), 0::bigint, 'many tokens are not counted at once');
SELECT summary($$as_of = as_of - interval '1 minute'$$) \g /dev/null
SELECT is(to_count(), 1::bigint, 'but some time later');
SELECT summary($$as_of = as_of + interval '1 day', valid_until = valid_until + interval '2 days'$$) \g /dev/null
SELECT is(to_count(), 1::bigint, 'and at once if the clock went back');
SELECT walwarden_internal.store_summary(id) FROM walwarden_internal.org \g /dev/null

-- neither reading nor a round without changes reads tokens or jobs
CREATE FUNCTION reads_of(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint;
BEGIN
    SELECT sum(seq_scan + coalesce(idx_scan, 0)) INTO before FROM pg_stat_xact_user_tables WHERE relname IN ('token', 'credential', 'token_usage', 'job');
    EXECUTE statement;
    RETURN (SELECT sum(seq_scan + coalesce(idx_scan, 0)) - before FROM pg_stat_xact_user_tables WHERE relname IN ('token', 'credential', 'token_usage', 'job'));
END
$$;
SELECT cmp_ok(reads_of('SELECT walwarden_internal.store_summary(id) FROM walwarden_internal.org'), '>', 0::bigint, 'counting reads tokens');
SELECT is(reads_of('SELECT * FROM walwarden.stat_tokens, walwarden.stat_jobs, walwarden.stat_chains, walwarden.stat_grants'), 0::bigint, 'reading the views does not');
SELECT is(reads_of('SELECT walwarden_internal.orgs_to_count()'), 0::bigint, 'nor does looking for something to count');

-- jobs, with an expired lease
SELECT id AS org FROM walwarden_internal.org WHERE slug = 'acme' \gset
INSERT INTO walwarden_internal.destination (id, org_id, name, provider, uri, retention_floor_days, created_at, updated_at, audit_seq)
VALUES (:'org', :'org', 'd', 'local', 'file:///srv', 0, now(), now(), 1);
INSERT INTO walwarden_internal.database (org_id, name, engine, connection_ref, created_at, updated_at, audit_seq)
SELECT :'org', i, 'postgresql', 'd', now(), now(), 1 FROM generate_series(1, 5) AS i;
INSERT INTO walwarden_internal.job (org_id, kind, database_id, destination_id, type, trigger, state, done, attempt, max_attempts, fence, lease_until, requested_by, queued_at, first_seq, audit_seq)
SELECT :'org', 'backup', d.id, :'org', 'full', 'manual', j.state, j.done, 1, 3, 1, j.lease_until, :'old', '2026-01-01 00:00:00+00'::timestamptz + j.n * interval '1 hour', 1, 1
  FROM (VALUES (1, 'queued', false, NULL), (2, 'queued', false, NULL), (3, 'running', false, now() - interval '1 second'), (4, 'running', false, now() + interval '10 minutes'),
               (5, 'completed', true, now() - interval '1 day')) AS j(n, state, done, lease_until)
  JOIN walwarden_internal.database AS d ON d.name = j.n::text AND d.org_id = :'org';
SELECT walwarden_internal.store_summary(:'org') \g /dev/null
SET LOCAL ROLE tm_monitor;
SELECT columns_are('walwarden', 'stat_tokens', '{org,state,tokens,expiring_7d,never_used,as_of}'::name[]);
SELECT columns_are('walwarden', 'stat_jobs', '{org,kind,state,jobs,oldest_queued_at,expired_leases,as_of}'::name[]);
SELECT columns_are('walwarden', 'stat_chains', '{org,entries,head_seq,ok,verified_at,age_seconds}'::name[]);
SELECT columns_are('walwarden', 'stat_progress', '{pid,what,org,done,total}'::name[]);
SELECT columns_are('walwarden', 'stat_alarms', '{org,node,seq,reported_at}'::name[]);
SELECT columns_are('walwarden', 'stat_grants', '{kind,role,login,granted_at,agrees,problem}'::name[]);
SELECT columns_are('walwarden', 'stat_auth', '{outcome,reason,count}'::name[]);
SELECT results_eq($$SELECT kind, state, jobs, oldest_queued_at, expired_leases FROM walwarden.stat_jobs WHERE org = 'acme' ORDER BY state COLLATE "C"$$,
    $$VALUES ('backup', 'completed', 1::bigint, NULL::timestamptz, 0::bigint), ('backup', 'queued', 2, '2026-01-01 01:00:00+00', 0), ('backup', 'running', 2, NULL, 1)$$, 'jobs by kind and state');
RESET ROLE;
SELECT is(valid_until, as_of, 'an expired lease is counted again at once') FROM walwarden_internal.org_summary WHERE org_id = :'org';
UPDATE walwarden_internal.job SET lease_until = now() + interval '20 minutes' WHERE state = 'running' AND lease_until < now();
SELECT walwarden_internal.store_summary(:'org') \g /dev/null
SELECT is((SELECT sum(expired_leases) FROM walwarden.stat_jobs WHERE org = 'acme'), 0::numeric, 'and gone once it is renewed, without an entry');
SELECT is((SELECT valid_until FROM walwarden_internal.org_summary WHERE org_id = :'org'), now() + interval '10 minutes', 'counted again when the next lease expires');

-- chains, with the last stored verdict
SET LOCAL ROLE tm_monitor;
SELECT is((SELECT ok FROM walwarden.stat_chains WHERE org = 'acme'), true, 'as verified by maintenance');
SELECT ok((SELECT head_seq > entries AND age_seconds >= 0 AND verified_at IS NOT NULL FROM walwarden.stat_chains WHERE org = 'acme'), 'with entries that are newer');
SELECT is((SELECT count(*) FROM walwarden.stat_chains WHERE org = '_system'), 1::bigint, 'the system chain too');
RESET ROLE;
SELECT walwarden.create_org('fresh') \g /dev/null
SELECT results_eq($$SELECT entries, head_seq, ok, verified_at, age_seconds FROM walwarden.stat_chains WHERE org = 'fresh'$$,
    $$VALUES (NULL::bigint, 1::bigint, NULL::boolean, NULL::timestamptz, NULL::bigint)$$, 'a chain without a verdict');
-- maintenance finds the jobs that were put there by hand
SELECT walwarden_internal.store_verification(:'org') \g /dev/null
SELECT is((SELECT ok FROM walwarden.stat_chains WHERE org = 'acme'), false, 'a finding');

SELECT * FROM finish();
ROLLBACK;
