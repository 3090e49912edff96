-- Who is calling: operator, member by database role, member by verified
-- subject, and nobody else. Roles last longer than a transaction here, because
-- claims are read once a transaction.
SET client_min_messages = warning;
SELECT no_plan();
CREATE ROLE tc_op;
CREATE ROLE tc_group;
CREATE ROLE tc_ann;
CREATE ROLE tc_web;
CREATE ROLE tc_auth LOGIN NOINHERIT;
CREATE ROLE tc_stranger LOGIN NOINHERIT;
GRANT tc_web, tc_ann TO tc_auth, tc_stranger;
GRANT tc_op TO tc_group;
SELECT walwarden.create_org('callers'), walwarden.create_org('callers2'),
       walwarden.add_member('callers', 'ann', 'admin', 'tc_ann'),
       walwarden.add_member('callers', 'bob', 'admin'),
       walwarden.add_member('callers2', 'ann', 'member'),
       walwarden.add_member('callers2', 'eve', 'owner') \g /dev/null

-- which of the two orgs' members the caller may list, as a string
CREATE FUNCTION lists() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    org text;
    result text := '';
BEGIN
    FOREACH org IN ARRAY '{callers,callers2}'::text[] LOOP
        BEGIN
            PERFORM FROM walwarden.list_members(org);
            result := result || org || ' ';
        EXCEPTION WHEN insufficient_privilege THEN
            NULL;
        END;
    END LOOP;
    RETURN result;
END
$$;

-- operators: superusers, and roles given grant_operator, by themselves
SELECT is(lists(), 'callers callers2 ', 'a superuser is an operator');
BEGIN;
SET LOCAL ROLE tc_op;
SELECT is(lists(), '', 'a role is not');
COMMIT;
SELECT ok(walwarden.grant_operator('tc_op'), 'until it is granted');
SELECT ok(NOT walwarden.grant_operator('tc_op'), 'once');
BEGIN;
SET LOCAL ROLE tc_op;
SELECT is(lists(), 'callers callers2 ', 'then it is');
SET LOCAL ROLE tc_group;
SELECT is(lists(), '', 'its members are not, before SET ROLE');
COMMIT;
SELECT ok(walwarden.revoke_operator('tc_op'), 'revoked');
SELECT ok(NOT walwarden.revoke_operator('tc_op'), 'once');
BEGIN;
SET LOCAL ROLE tc_op;
SELECT is(lists(), '', 'no operator any more');
COMMIT;
SELECT ok(walwarden.grant_operator('tc_op') AND walwarden.revoke_operator('tc_op'), 'granted and revoked again');
SELECT is(string_agg(kind, ' ' ORDER BY seq), 'operator.granted operator.revoked operator.granted operator.revoked', 'each with its entry')
  FROM walwarden.list_audit('_system', 0, 1000) WHERE body::jsonb #>> '{payload,after,role}' = 'tc_op';

-- a member by database role
BEGIN;
SET LOCAL ROLE tc_ann;
SELECT is(lists(), 'callers ', 'the current user is the member');
COMMIT;
BEGIN;
SET LOCAL ROLE tc_web;
SELECT is(lists(), '', 'another role is nobody');
SELECT set_config('request.jwt.claims', '{"sub":"bob"}', true) \g /dev/null
SELECT is(lists(), '', 'whatever it claims');
COMMIT;

-- claims in a session that nobody trusts
SET SESSION AUTHORIZATION tc_stranger;
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub":"bob"}', true) \g /dev/null
SELECT is(lists(), '', 'an untrusted session cannot claim');
SET LOCAL ROLE tc_web;
SELECT is(lists(), '', 'nor after SET ROLE');
COMMIT;
RESET SESSION AUTHORIZATION;

-- a member by the subject that a trusted authenticator verified
SELECT ok(walwarden.trust_authenticator('tc_auth'), 'trust_authenticator');
SET SESSION AUTHORIZATION tc_auth;
BEGIN;
SET LOCAL ROLE tc_web;
SELECT set_config('request.jwt.claims', '{"sub":"bob","role":"tc_web"}', true) \g /dev/null
SELECT is(lists(), 'callers ', 'bob, by subject');
SELECT set_config('request.jwt.claims', '{"sub":"eve"}', true) \g /dev/null
SELECT is(lists(), 'callers ', 'still bob: claims are read once a transaction');
COMMIT;
BEGIN;
SET LOCAL ROLE tc_web;
SELECT set_config('request.jwt.claims', '{"sub":"eve"}', true) \g /dev/null
SELECT is(lists(), 'callers2 ', 'eve, in the next one');
COMMIT;
BEGIN;
SET LOCAL ROLE tc_web;
SELECT walwarden.has_scope('x') \g /dev/null
SELECT set_config('request.jwt.claims', '{"sub":"eve"}', true) \g /dev/null
SELECT is(lists(), '', 'any first call of walwarden reads them, has_scope too');
COMMIT;
BEGIN;
SAVEPOINT s;
SELECT lists() \g /dev/null
ROLLBACK TO s;
SELECT set_config('request.jwt.claims', '{"sub":"eve"}', true) \g /dev/null
SELECT is(lists(), '', 'a rolled-back savepoint does not open them again');
COMMIT;
BEGIN;
SET LOCAL ROLE tc_ann;
SELECT set_config('request.jwt.claims', '{"sub":"eve"}', true) \g /dev/null
SELECT is(lists(), 'callers2 ', 'a verified subject is the person, not the role');
COMMIT;
BEGIN;
SET LOCAL ROLE tc_ann;
SELECT is(lists(), 'callers ', 'without one the role is');
COMMIT;
SELECT is(lists(), '', 'the authenticator itself is nobody');
BEGIN; SELECT set_config('request.jwt.claims', '{"sub":null}', true) \g /dev/null
SELECT is(lists(), '', 'sub null'); COMMIT;
BEGIN; SELECT set_config('request.jwt.claims', '{"sub":1}', true) \g /dev/null
SELECT is(lists(), '', 'sub a number'); COMMIT;
BEGIN; SELECT set_config('request.jwt.claims', '{"sub":""}', true) \g /dev/null
SELECT is(lists(), '', 'sub empty'); COMMIT;
BEGIN; SELECT set_config('request.jwt.claims', '{"sub":["bob"]}', true) \g /dev/null
SELECT is(lists(), '', 'sub an array'); COMMIT;
BEGIN; SELECT set_config('request.jwt.claims', '["sub","bob"]', true) \g /dev/null
SELECT is(lists(), '', 'claims an array'); COMMIT;
BEGIN; SELECT set_config('request.jwt.claims', '{"sub":"bob', true) \g /dev/null
SELECT throws_ok('SELECT walwarden.list_orgs()', '22023', NULL, 'claims that are no JSON'); COMMIT;
BEGIN; SELECT set_config('request.jwt.claims', '{"sub":"bob","x":"' || repeat('x', 65536) || '"}', true) \g /dev/null
SELECT throws_ok('SELECT walwarden.list_orgs()', '22023', NULL, 'claims of more than 64 KiB'); COMMIT;
BEGIN; SELECT set_config('request.jwt.claims', '{"sub":"bob","sub":"eve"}', true) \g /dev/null
SELECT is(lists(), 'callers2 ', 'of duplicate keys the last, as in jsonb'); COMMIT;
RESET SESSION AUTHORIZATION;
SELECT ok(walwarden.untrust_authenticator('tc_auth'), 'untrust_authenticator');
SET SESSION AUTHORIZATION tc_auth;
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub":"bob"}', true) \g /dev/null
SELECT is(lists(), '', 'trusted no more');
COMMIT;
RESET SESSION AUTHORIZATION;

-- who signs
SELECT is(string_agg(DISTINCT body::jsonb #>> '{payload,actor,kind}', ' '), 'operator', 'operators sign as such') FROM walwarden.list_audit('callers');
BEGIN;
SET LOCAL ROLE tc_ann;
SELECT walwarden.set_member_sso('callers', 'bob', true) \g /dev/null
COMMIT;
SELECT is(body::jsonb #> '{payload,actor}', '{"kind":"member","role":"tc_ann","subject":"ann"}', 'a member signs with role and subject')
  FROM walwarden.list_audit('callers', 0, 1000) ORDER BY seq DESC LIMIT 1;

-- forging: a SECURITY DEFINER function acts as its owner, who is no operator
CREATE SCHEMA tc_evil AUTHORIZATION tc_stranger;
SET SESSION AUTHORIZATION tc_stranger;
CREATE FUNCTION tc_evil.mint() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$SELECT token FROM walwarden.issue_token('callers', 'forged')$$;
GRANT USAGE ON SCHEMA tc_evil TO PUBLIC;
RESET SESSION AUTHORIZATION;
SELECT throws_ok('SELECT tc_evil.mint()', '42501', NULL, 'a definer function called by a superuser acts as its owner');
-- shadowing: functions, operators and tables of the caller's own in front of everything
SET SESSION AUTHORIZATION tc_stranger;
CREATE FUNCTION tc_evil.superuser_now() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'tc_stranger' THEN RAISE EXCEPTION 'ran as %', current_user; END IF;
    RETURN true;
END$$;
CREATE FUNCTION tc_evil.eq(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT tc_evil.superuser_now()$$;
CREATE OPERATOR tc_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = tc_evil.eq);
SET search_path = tc_evil, pg_temp, public, pg_catalog;
CREATE TEMP TABLE role_grant (kind text, role name, login name, granted_at timestamptz, revoked_at timestamptz, audit_seq bigint);
INSERT INTO role_grant VALUES ('operator', 'tc_stranger', NULL, now(), NULL, 1);
CREATE TEMP TABLE org AS SELECT gen_random_uuid() AS id;
SELECT lists() AS shadowed \gset
CREATE TEMP TABLE tried (state text);
DO $$
BEGIN
    PERFORM walwarden.issue_token('callers', 'forged');
EXCEPTION WHEN OTHERS THEN
    INSERT INTO tried VALUES (SQLSTATE);
END$$;
RESET search_path;
SELECT state AS tried FROM pg_temp.tried \gset
SELECT is(:'shadowed'::text, '', 'objects in front of the search_path change nothing');
SELECT is(:'tried'::text, '42501', 'nor do operators and temporary tables');
DROP TABLE pg_temp.role_grant, pg_temp.org, pg_temp.tried;
RESET SESSION AUTHORIZATION;

-- the collation of an argument does not reach the inner functions
CREATE COLLATION tc_ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
SELECT throws_ok($$SELECT walwarden.list_tokens('CALLERS' COLLATE tc_ci)$$, '42704', NULL, 'an org of another case under a collation that ignores it');
DROP COLLATION tc_ci;

-- how the session reads literals does not reach them either
SET escape_string_warning = off;
SET standard_conforming_strings = off;
DISCARD PLANS;
SELECT throws_ok($$SELECT walwarden.append_audit('apple.pie', '{}', NULL, 'callers')$$, '22023', NULL, 'a kind that only looks like app.');
SELECT throws_ok($$SELECT walwarden.create_org('control', chr(7))$$, '22023', NULL, 'a control character');
SELECT throws_ok($$SELECT walwarden.create_org('newline', E'a\nb')$$, '22023', NULL, 'a newline');
RESET standard_conforming_strings;
RESET escape_string_warning;

-- an org row that is gone, after a damaged restore: no crash
BEGIN;
SELECT token AS lost FROM walwarden.issue_token('callers', 'lost') \gset
SET LOCAL session_replication_role = replica;
DELETE FROM walwarden.org WHERE slug = 'callers';
SELECT is(walwarden.introspect_token(:'lost') ->> 'state', 'inactive', 'a token without its org is inactive');
SELECT throws_ok(format('SELECT walwarden.authenticate(%L)', :'lost'), '28000');
SELECT isnt_empty('SELECT FROM walwarden.verify_audit_chain() WHERE NOT ok', 'and verification says so');
ROLLBACK;

-- internal functions called by hand by the owner: an error, no crash
SELECT throws_ok('SELECT walwarden._verify_chain(NULL, NULL, NULL)', 'XX000');
SELECT throws_ok($$SELECT walwarden._verify_chain(walwarden._system_org(), 1, 'short')$$, 'XX000');
CREATE TABLE eight (a int, b int, c int, d int, e int, f int, g int, h int);
CREATE TRIGGER t BEFORE INSERT ON eight FOR EACH ROW EXECUTE FUNCTION walwarden._audit_append();
SELECT throws_ok('INSERT INTO eight VALUES (1, NULL, NULL, 4, NULL, 6, NULL, NULL)', '39P01', NULL, 'the trigger on another table');
DROP TABLE eight;

SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'all chains verify');
DROP SCHEMA tc_evil CASCADE;
DROP FUNCTION lists();
DROP ROLE tc_op, tc_group, tc_ann, tc_web, tc_auth, tc_stranger;
SELECT * FROM finish();
