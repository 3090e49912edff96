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
BEGIN; SELECT set_config('request.jwt.claims', '{"sub":"bob","x":"' || repeat('x', 131072) || '"}', true) \g /dev/null
SELECT throws_ok('SELECT walwarden.list_orgs()', '54000', NULL, 'claims of more than 128 KiB'); COMMIT;
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

-- who signs, and in whose name a column says so
CREATE FUNCTION signed() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    id uuid := (SELECT token_id FROM walwarden.issue_token('callers', 'signed'));
BEGIN
    RETURN (SELECT format('%s by %s', e.body::jsonb #> '{payload,actor}', e.body::jsonb #>> '{payload,after,createdBy}')
              FROM walwarden.list_audit('callers', 0, 1000) AS e WHERE e.body::jsonb #>> '{payload,object,id}' = id::text);
END
$$;
SELECT id AS ann FROM walwarden_internal.member WHERE subject = 'ann' AND role = 'admin' \gset
SELECT id AS bob FROM walwarden_internal.member WHERE subject = 'bob' \gset
SELECT is(signed(), format('{"kind": "operator", "role": "%1$s", "login": "%1$s"} by %1$s', session_user), 'a superuser signs as an operator');
BEGIN;
SET LOCAL ROLE tc_ann;
SELECT is(signed(), format('{"kind": "member", "memberId": "%1$s"} by %1$s', :'ann'), 'a member signs by id, without role and login');
COMMIT;
SELECT walwarden.grant_operator('tc_op'), walwarden.add_member('callers', 'vip', 'admin', 'tc_op'), walwarden.trust_authenticator('tc_auth') \g /dev/null
GRANT tc_op TO tc_stranger, tc_auth;
SET SESSION AUTHORIZATION tc_stranger;
BEGIN;
SET LOCAL ROLE tc_op;
SELECT is(signed(), '{"kind": "operator", "role": "tc_op", "login": "tc_stranger"} by tc_op',
    'an operator signs with the role and who stands behind it, not as the member who is said to have that role');
SELECT token_id AS said FROM walwarden.issue_token('callers', 'said', owner => 'vip') \gset
SELECT count(*) FROM walwarden.renew_token(:'said') \g /dev/null
SELECT is((SELECT string_agg(kind, ' ' ORDER BY seq) FROM walwarden.search_audit('callers', object => 'token:' || :'said')),
    'token.issued token.revealed_for_owner token.renewed token.revealed_for_owner', 'so a plaintext of that member''s tokens is on record as seen by somebody else');
COMMIT;
SET SESSION AUTHORIZATION tc_auth;
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub":"bob"}', true) \g /dev/null
SET LOCAL ROLE tc_web;
SELECT is(signed(), format('{"kind": "member", "memberId": "%1$s"} by %1$s', :'bob'), 'a member whom a trusted session verified');
SET LOCAL ROLE tc_op;
SELECT is(signed(), format('{"kind": "operator", "role": "tc_op", "login": "tc_auth", "memberId": "%1$s"} by %1$s', :'bob'), 'an operator of whom it verified who they are');
COMMIT;
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub":"eve"}', true) \g /dev/null
SET LOCAL ROLE tc_op;
SELECT is(signed(), '{"kind": "operator", "role": "tc_op", "login": "tc_auth"} by tc_op', 'an operator who is no member of that organisation');
COMMIT;
RESET SESSION AUTHORIZATION;
SELECT walwarden.revoke_operator('tc_op'), walwarden.untrust_authenticator('tc_auth') \g /dev/null

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

-- how the session reads literals, of which there are two ways until 18, does not reach them either
SELECT current_setting('server_version_num')::int < 190000 AS reads_escapes \gset
\if :reads_escapes
SET escape_string_warning = off;
SET standard_conforming_strings = off;
\endif
DISCARD PLANS;
SELECT throws_ok($$SELECT walwarden.append_audit('apple.pie', '{}', NULL, 'callers')$$, '22023', NULL, 'a kind that only looks like app.');
SELECT throws_ok($$SELECT walwarden.create_org('control', chr(7))$$, '22023', NULL, 'a control character');
SELECT throws_ok($$SELECT walwarden.create_org('newline', E'a\nb')$$, '22023', NULL, 'a newline');
\if :reads_escapes
RESET standard_conforming_strings;
RESET escape_string_warning;
\endif

-- an org row that is gone, after a damaged restore: no crash
BEGIN;
SELECT token AS lost FROM walwarden.issue_token('callers', 'lost') \gset
SET LOCAL session_replication_role = replica;
DELETE FROM walwarden_internal.org WHERE slug = 'callers';
SELECT is(walwarden.introspect_token(:'lost') ->> 'state', 'inactive', 'a token without its org is inactive');
SELECT throws_ok(format('SELECT walwarden.authenticate(%L)', :'lost'), '28000');
SELECT isnt_empty('SELECT FROM walwarden.verify_audit_chain() WHERE NOT ok', 'and verification says so');
ROLLBACK;

-- internal functions called by hand by the owner: an error, no crash
SELECT throws_ok('SELECT walwarden_internal.verify_chain(NULL, NULL, NULL)', 'XX000');
SELECT throws_ok($$SELECT walwarden_internal.verify_chain(walwarden_internal.system_org(), 1, 'short')$$, 'XX000');
CREATE TABLE eight (a int, b int, c int, d int, e int, f int, g int, h int);
CREATE TRIGGER t BEFORE INSERT ON eight FOR EACH ROW EXECUTE FUNCTION walwarden_internal.audit_append();
SELECT throws_ok('INSERT INTO eight VALUES (1, NULL, NULL, 4, NULL, 6, NULL, NULL)', '39P01', NULL, 'the trigger on another table');
DROP TABLE eight;

SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'all chains verify');
DROP SCHEMA tc_evil CASCADE;
DROP FUNCTION lists(), signed();
DROP ROLE tc_op, tc_group, tc_ann, tc_web, tc_auth, tc_stranger;
-- A refusal shows the caller's own lines of context and none of inner functions; any
-- other error keeps all of them.
CREATE FUNCTION context_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    context text;
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
    RETURN context;
END
$$;
SELECT unalike(context_of(statement), '%walwarden_internal%', statement)
  FROM unnest(ARRAY[
    $$SELECT * FROM walwarden.claim_job('{backup}')$$,
    $$SELECT walwarden.heartbeat_job(gen_random_uuid(), 1)$$,
    $$SELECT walwarden.create_org('Not a slug')$$,
    $$SELECT walwarden.revoke_token(gen_random_uuid())$$,
    $$SELECT walwarden.append_audit('app.x', '1.5', NULL, 'acme')$$]) AS statement;
SELECT alike(context_of($$SELECT walwarden.claim_job('{backup}')$$), '%context_of(text) line 5 at EXECUTE%', 'the caller''s own context stays');
SELECT alike(context_of($$SELECT walwarden_internal.refuse('22023', NULL, 'x')$$), '%context_of%', 'an error that is not a refusal keeps its context');

-- an actor is of one of the kinds that entries have
SELECT throws_ok(format('SELECT walwarden_internal.actor(%L, jsonb_populate_record(NULL::walwarden_internal.caller, %L))', v.who,
                        '{"role": "r", "login": "l", "superuser": false, "operator": false, "monitor": false, "person": false, "by_sso": false}'),
                 'XX000', format('an actor cannot be "%s"', v.who), 'no actor: ' || v.who)
  FROM (VALUES ('operator'), ('')) AS v(who);

-- a wait is bounded for as long as a function runs, which restores it
SELECT throws_ok('SELECT walwarden_internal.bound_waits(1)', '55000', 'no walwarden function is running', 'the owner cannot bound waits for the session');
SELECT is(current_setting('lock_timeout'), '0', 'which stay as they were');

SELECT * FROM finish();
