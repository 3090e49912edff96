-- Roles of the server that are named in walwarden, renamed, dropped and created again: the
-- name has no rights until it is confirmed. As an operator, authenticator, runner, REST role
-- and its login, and member. Roles last longer than a transaction here, because claims are
-- read once a transaction.
SET client_min_messages = warning;
SELECT no_plan();
CREATE FUNCTION ts_make() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{ts_op,ts_auth,ts_runner,ts_web,ts_weblogin,ts_ann}'::text[] LOOP
        EXECUTE format('CREATE ROLE %I LOGIN', name);
    END LOOP;
END
$$;
SELECT ts_make() \g /dev/null
SELECT walwarden.create_org('roles') AS roles \gset
SELECT walwarden.grant_operator('ts_op'), walwarden.trust_authenticator('ts_auth'), walwarden.grant_runner('ts_runner'), walwarden.grant_rest('ts_web', 'ts_weblogin'),
       walwarden.add_member('roles', 'ts-ann@roles', 'admin', 'ts_ann'), walwarden.add_member('roles', 'ts-bob@roles', 'admin') \g /dev/null
SELECT token AS api FROM walwarden.issue_token('roles', 'ts api') \gset
SELECT token AS node FROM walwarden.issue_token('roles', 'ts node', kind => 'node') \gset

-- What each role can do by what it was named for: yes, or the SQLSTATE. By the current
-- user; for an authenticator by the session user, see below.
CREATE FUNCTION ts_can(role text, statement text, token text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF token IS NOT NULL THEN
        PERFORM walwarden.authenticate(token);
    END IF;
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement;
    RAISE SQLSTATE 'WW000';
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'WW000' THEN 'yes' ELSE SQLSTATE END;
END
$$;
CREATE TEMP TABLE ts_token AS SELECT :'api'::text AS api, :'node'::text AS node;
CREATE VIEW ts_rights AS
SELECT v.role, ts_can(v.role, v.statement, v.token) AS can
  FROM ts_token AS t,
       LATERAL (VALUES ('ts_op', $$SELECT walwarden.create_scope('ts:read', 'x', 'y')$$, NULL),
                       ('ts_runner', $$SELECT walwarden.register_node('n', '1')$$, t.node),
                       ('ts_web', $$SELECT walwarden.append_audit('app.x', '{}')$$, t.api),
                       ('ts_ann', $$SELECT * FROM walwarden.list_members('roles')$$, NULL)) AS v(role, statement, token);
CREATE FUNCTION ts_problem(role name) RETURNS text LANGUAGE sql AS $$SELECT walwarden_internal.server_role_problem(role)$$;
SELECT set_eq('SELECT role, can FROM ts_rights', $$VALUES ('ts_op', 'yes'), ('ts_runner', 'yes'), ('ts_web', 'yes'), ('ts_ann', 'yes')$$, 'each has the rights of its name');
SELECT is(string_agg(ts_problem(r), ' '), NULL, 'nothing is wrong with any') FROM unnest('{ts_op,ts_auth,ts_runner,ts_web,ts_weblogin,ts_ann,ts_nothing}'::name[]) AS r;

-- renamed, and others created under the names
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY '{ts_op,ts_auth,ts_runner,ts_web,ts_weblogin,ts_ann}'::text[] LOOP
        EXECUTE format('ALTER ROLE %I RENAME TO %I', name, name || '_old');
    END LOOP;
END
$$;
SELECT is(ts_problem('ts_op'), 'role "ts_op" does not exist in this server', 'a name that no role has any more');
SELECT set_eq($$SELECT role, can FROM (SELECT v.role, ts_can(v.role, v.statement, v.token) AS can FROM ts_token AS t,
       LATERAL (VALUES ('ts_op_old', $s$SELECT walwarden.create_scope('ts:read', 'x', 'y')$s$, NULL), ('ts_runner_old', $s$SELECT walwarden.register_node('n', '1')$s$, t.node),
                       ('ts_web_old', $s$SELECT walwarden.append_audit('app.x', '{}')$s$, t.api), ('ts_ann_old', $s$SELECT * FROM walwarden.list_members('roles')$s$, NULL)) AS v(role, statement, token)) AS r$$,
    $$VALUES ('ts_op_old', '42501'), ('ts_runner_old', '42501'), ('ts_web_old', '42501'), ('ts_ann_old', '42501')$$, 'a renamed role has no rights under its new name');
SELECT ts_make() \g /dev/null
SELECT set_eq('SELECT role, can FROM ts_rights', $$VALUES ('ts_op', '42501'), ('ts_runner', '42501'), ('ts_web', '42501'), ('ts_ann', '42501')$$, 'nor has another role under its old name');
SELECT is(ts_problem(r), format('role "%s" is not the role that was named: that one was renamed or dropped', r), 'which is said of ' || r) FROM unnest('{ts_op,ts_auth,ts_runner,ts_web,ts_weblogin,ts_ann}'::name[]) AS r;
SELECT set_eq($$SELECT g.kind, g.problem FROM walwarden.list_grants() AS g WHERE g.role ~ '^ts_' AND NOT g.agrees$$,
    $$SELECT v.kind, string_agg(format('role "%s" is not the role that was named: that one was renamed or dropped', n), '; ' ORDER BY n)
        FROM (VALUES ('operator', '{ts_op}'::text[]), ('authenticator', '{ts_auth}'), ('runner', '{ts_runner}'), ('rest', '{ts_web,ts_weblogin}')) AS v(kind, names), unnest(v.names) AS n
       GROUP BY v.kind$$, 'the list of grants says it too');
SELECT is_empty('SELECT FROM walwarden.verify_audit_chain() WHERE NOT ok', 'verification is about the entries, which still hold');

-- the session user of an authenticator: the current user is another
GRANT ts_web TO ts_auth, ts_auth_old;
CREATE FUNCTION ts_lists() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT string_agg(slug, ' ') FROM walwarden.list_orgs());
END
$$;
SET SESSION AUTHORIZATION ts_auth;
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub":"ts-bob@roles"}', true) \g /dev/null
SET LOCAL ROLE ts_web;
SELECT is(ts_lists(), NULL, 'another role of that name verifies nobody');
COMMIT;
RESET SESSION AUTHORIZATION;
SET SESSION AUTHORIZATION ts_auth_old;
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub":"ts-bob@roles"}', true) \g /dev/null
SET LOCAL ROLE ts_web;
SELECT is(ts_lists(), NULL, 'nor does the renamed one');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT throws_like($$SELECT walwarden.trust_authenticator('ts_auth')$$, '%is not the role that was named%', 'trusting it once more is refused');
SELECT throws_ok($$SELECT walwarden.set_member_db_role('roles', 'ts-ann@roles', 'ts_ann')$$, '55000', NULL, 'so is the role of the member');
-- restrictions hold for the name
SELECT throws_ok(format($$SELECT walwarden.add_member('roles', 'x', 'member', %L)$$, r), '22023', NULL, r || ' is no member''s role meanwhile') FROM unnest('{ts_auth,ts_web}'::text[]) AS r;

-- confirming: the name has its rights again, one by one
CREATE TEMP TABLE entry_before AS TABLE walwarden_internal.audit_entry;
SELECT ok(walwarden.confirm_server_role('ts_op'), 'confirmed');
SELECT ok(NOT walwarden.confirm_server_role('ts_op'), 'once');
SELECT set_eq('SELECT role, can FROM ts_rights', $$VALUES ('ts_op', 'yes'), ('ts_runner', '42501'), ('ts_web', '42501'), ('ts_ann', '42501')$$, 'that one has its rights again');
SELECT is(has_function_privilege('ts_op', 'walwarden_internal.stat_auth_door()', 'EXECUTE') AND 'ts_op'::regrole IN (SELECT a.grantee FROM pg_proc AS p, aclexplode(p.proacl) AS a WHERE p.proname = 'stat_auth_door'), true,
    'and the privilege that keeps it from being dropped');
SELECT lives_ok('DROP ROLE ts_op_old', 'which the renamed role no longer has');
SELECT ok(walwarden.confirm_server_role(r), 'confirmed: ' || r) FROM unnest('{ts_auth,ts_runner,ts_web,ts_ann}'::name[]) AS r;
SELECT set_eq('SELECT role, can FROM ts_rights', $$VALUES ('ts_op', 'yes'), ('ts_runner', 'yes'), ('ts_web', 'yes'), ('ts_ann', 'yes')$$, 'all of them');
SELECT is(ts_problem('ts_weblogin'), 'role "ts_weblogin" is not the role that was named: that one was renamed or dropped', 'but the login of the REST role');
SELECT ok(NOT has_schema_privilege('ts_web', 'walwarden_rest', 'USAGE'), 'without which the REST role is not given its privileges');
SELECT ok(walwarden.confirm_server_role('ts_weblogin'), 'the login is confirmed');
SELECT ok(has_schema_privilege('ts_web', 'walwarden_rest', 'USAGE'), 'now they are there');
SELECT is(ts_can('ts_web', 'SELECT walwarden_rest.v1_get()'), 'yes', 'and REST v1 is served');
SELECT isnt_empty($$SELECT FROM pg_db_role_setting AS s WHERE s.setrole = 'ts_weblogin'::regrole AND 'log_parameter_max_length=0' = ANY (s.setconfig)$$, 'with the settings of its login');
SET SESSION AUTHORIZATION ts_auth;
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub":"ts-bob@roles"}', true) \g /dev/null
SET LOCAL ROLE ts_web;
SELECT is(ts_lists(), 'roles', 'the authenticator verifies again');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT is(string_agg(ts_problem(r), ' '), NULL, 'nothing is wrong with any') FROM unnest('{ts_op,ts_auth,ts_runner,ts_web,ts_weblogin,ts_ann}'::name[]) AS r;
SELECT results_eq($$SELECT e.kind COLLATE "default", e.body::jsonb #>> '{payload,role}', e.body::jsonb #> '{payload,grants}', e.body::jsonb #>> '{payload,actor,kind}'
                      FROM walwarden.list_audit('_system', 0, 1000) AS e WHERE e.org_id = walwarden_internal.system_org() AND e.seq NOT IN (SELECT b.seq FROM entry_before AS b WHERE b.org_id = e.org_id) ORDER BY e.seq$$,
    $$VALUES ('server_role.confirmed', 'ts_op', '["operator:ts_op"]'::jsonb, 'operator'), ('server_role.confirmed', 'ts_auth', '["authenticator:ts_auth"]', 'operator'),
             ('server_role.confirmed', 'ts_runner', '["runner:ts_runner"]', 'operator'), ('server_role.confirmed', 'ts_web', '["rest:ts_web"]', 'operator'),
             ('server_role.confirmed', NULL, NULL, 'operator'), ('server_role.confirmed', 'ts_weblogin', '["rest:ts_web"]', 'operator')$$, 'each with its entry');
SELECT is((SELECT e.body::jsonb #> '{payload,members}' FROM walwarden_internal.audit_entry AS e WHERE e.kind = 'server_role.confirmed' AND e.body::jsonb -> 'payload' ? 'members'),
    jsonb_build_array(id), 'that of a member has the id instead of the name') FROM walwarden_internal.member WHERE subject = 'ts-ann@roles';
SELECT is_empty($$SELECT FROM walwarden_internal.audit_entry WHERE body ~ 'ts_ann'$$, 'which no entry has');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'all chains verify');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok', 'in SQL too');

-- dropped, and created again under the same name
DROP OWNED BY ts_op, ts_web;
DROP ROLE ts_op, ts_auth, ts_runner, ts_web, ts_weblogin, ts_ann;
SELECT ok(NOT walwarden_internal.server_role_holds('ts_op', g.role_oid, g.system_identifier), 'a role that does not exist') FROM walwarden_internal.role_grant AS g WHERE g.role = 'ts_op';
SELECT ts_make() \g /dev/null
SELECT set_eq('SELECT role, can FROM ts_rights', $$VALUES ('ts_op', '42501'), ('ts_runner', '42501'), ('ts_web', '42501'), ('ts_ann', '42501')$$, 'created again: none has rights');
-- instead of confirming: taken away and given anew
SELECT ok(walwarden.revoke_operator('ts_op') AND walwarden.grant_operator('ts_op') AND walwarden.revoke_runner('ts_runner') AND walwarden.grant_runner('ts_runner')
          AND walwarden.revoke_rest('ts_web') AND walwarden.grant_rest('ts_web', 'ts_weblogin')
          AND walwarden.set_member_db_role('roles', 'ts-ann@roles', NULL) AND walwarden.set_member_db_role('roles', 'ts-ann@roles', 'ts_ann'), 'revoked and granted');
SELECT set_eq('SELECT role, can FROM ts_rights', $$VALUES ('ts_op', 'yes'), ('ts_runner', 'yes'), ('ts_web', 'yes'), ('ts_ann', 'yes')$$, 'has the same effect');
SELECT ok(NOT walwarden.confirm_server_role(r), 'then there is nothing to confirm: ' || r) FROM unnest('{ts_op,ts_runner,ts_web,ts_weblogin,ts_ann}'::name[]) AS r;
-- what was revoked has nothing to confirm
SELECT throws_ok(format('SELECT walwarden.%s(%L)', f, 'ts_nosuch'), '42704', 'server role "ts_nosuch" does not exist', f || ' of a misspelt name')
  FROM unnest('{revoke_operator,untrust_authenticator,revoke_rest,revoke_runner,revoke_monitor}'::text[]) AS f;
SELECT throws_ok(format('SELECT walwarden.%s(NULL)', f), '22023', 'server role is missing', f || '(NULL)')
  FROM unnest('{revoke_operator,untrust_authenticator,revoke_rest,revoke_runner,revoke_monitor}'::text[]) AS f;
SELECT ok(walwarden.untrust_authenticator('ts_auth') AND NOT walwarden.confirm_server_role('ts_auth'), 'nor is there for a name that was revoked');

-- another cluster: the name is believed, and maintenance stores what it is here
UPDATE walwarden_internal.role_grant SET role_oid = 1, login_oid = CASE WHEN login IS NOT NULL THEN 1 END, system_identifier = '1';
UPDATE walwarden_internal.member SET db_role_oid = 1, system_identifier = '1' WHERE db_role IS NOT NULL;
SELECT set_eq('SELECT role, can FROM ts_rights', $$VALUES ('ts_op', 'yes'), ('ts_runner', 'yes'), ('ts_web', 'yes'), ('ts_ann', 'yes')$$, 'elsewhere the names decide');
SELECT ok(NOT walwarden.confirm_server_role('ts_op'), 'nothing to confirm there');
DELETE FROM entry_before;
INSERT INTO entry_before TABLE walwarden_internal.audit_entry;
SELECT ok(walwarden_internal.bind_server_roles(), 'maintenance binds them');
SELECT ok(NOT walwarden_internal.bind_server_roles(), 'once');
SELECT is_empty('SELECT e.kind FROM walwarden_internal.audit_entry AS e EXCEPT SELECT b.kind FROM entry_before AS b', 'without an entry');
SELECT results_eq($$SELECT role, role_oid, login_oid FROM walwarden_internal.role_grant WHERE revoked_at IS NULL AND role ~ '^ts_' ORDER BY role$$,
    $$VALUES ('ts_op'::name, 'ts_op'::regrole::oid, NULL::oid), ('ts_runner', 'ts_runner'::regrole::oid, NULL), ('ts_web', 'ts_web'::regrole::oid, 'ts_weblogin'::regrole::oid)$$, 'to the roles of this cluster');
SELECT is(db_role_oid, 'ts_ann'::regrole::oid, 'members too') FROM walwarden_internal.member WHERE subject = 'ts-ann@roles';
SELECT set_eq('SELECT role, can FROM ts_rights', $$VALUES ('ts_op', 'yes'), ('ts_runner', 'yes'), ('ts_web', 'yes'), ('ts_ann', 'yes')$$, 'which have their rights');
UPDATE walwarden_internal.role_grant SET system_identifier = '1' WHERE role = 'ts_runner';
DROP ROLE ts_runner;
SELECT ok(NOT walwarden_internal.bind_server_roles(), 'a role that does not exist yet waits');
CREATE ROLE ts_runner;
SELECT ok(walwarden_internal.bind_server_roles(), 'until it does');
-- a row without an OID, which no function makes, is not believed
UPDATE walwarden_internal.member SET db_role_oid = NULL, system_identifier = NULL WHERE subject = 'ts-ann@roles';
SELECT is(can, '42501', 'a role without an OID') FROM ts_rights WHERE role = 'ts_ann';
SELECT ok(walwarden.grant_runner('ts_runner'), 'a repeated grant makes its settings again');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'OIDs are not described');

SELECT walwarden.revoke_operator('ts_op'), walwarden.revoke_runner('ts_runner'), walwarden.revoke_rest('ts_web'), walwarden.set_member_db_role('roles', 'ts-ann@roles', NULL) \g /dev/null
DROP VIEW ts_rights;
DROP FUNCTION ts_make(), ts_can(text, text, text), ts_problem(name), ts_lists();
DROP OWNED BY ts_web_old;
DROP ROLE ts_op, ts_auth, ts_runner, ts_web, ts_weblogin, ts_ann, ts_auth_old, ts_runner_old, ts_web_old, ts_weblogin_old, ts_ann_old;
SELECT * FROM finish();
