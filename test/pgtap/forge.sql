-- Forging an identity, or a caller, without a right: by a setting, by SET ROLE, by
-- functions of the same name, by claims that come late or from nobody. By code that
-- the server runs for somebody: test/t/002_autovacuum.pl; by objects in front of the
-- extension's: shadow.sql; who is calling otherwise: caller.sql.
SET client_min_messages = warning;
SELECT no_plan();
CREATE ROLE tf_op;
CREATE ROLE tf_boss;
CREATE ROLE tf_web;
CREATE ROLE tf_mallory LOGIN;
CREATE ROLE tf_auth LOGIN NOINHERIT;
GRANT tf_web TO tf_auth, tf_mallory;
CREATE SCHEMA tf_own AUTHORIZATION tf_mallory;
GRANT USAGE ON SCHEMA tf_own TO PUBLIC;
SELECT walwarden.create_org('forge'), walwarden.add_member('forge', 'boss', 'owner', 'tf_boss'), walwarden.add_member('forge', 'clerk'),
       walwarden.grant_operator('tf_op'), walwarden.trust_authenticator('tf_auth') \g /dev/null
SELECT token, token_id FROM walwarden.issue_token('forge', 't', '{databases:read}') \gset
CREATE TABLE forge_documents (title text, org_id uuid);
INSERT INTO forge_documents SELECT 'secret', id FROM walwarden_internal.org WHERE slug = 'forge';
GRANT SELECT ON forge_documents TO PUBLIC;
ALTER TABLE forge_documents ENABLE ROW LEVEL SECURITY;
CREATE POLICY qualified ON forge_documents FOR SELECT
    USING ((SELECT walwarden.has_scope('databases:read')) AND org_id = (SELECT walwarden.current_org_id()));

-- What this session is to the extension: the organisations that it may list, its
-- identity, the rows that its identity opens.
CREATE FUNCTION seen() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    orgs text := (SELECT string_agg(slug, ' ') FROM walwarden.list_orgs() WHERE slug = 'forge');
BEGIN
    RETURN concat_ws(' ', coalesce(orgs, 'no org'), coalesce(walwarden.current_token_id()::text, 'no identity'), (SELECT count(*) FROM forge_documents), 'rows');
END
$$;
CREATE FUNCTION state_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'done';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
\set nothing '''no org no identity 0 rows'''

SET SESSION AUTHORIZATION tf_mallory;
SELECT is(seen(), :nothing, 'she is nobody');

-- by a setting: the extension's own are not hers to set or to invent
BEGIN;
SELECT is(state_of(format('SET walwarden.%s = %L', name, value)), state, name)
  FROM (VALUES ('max_tokens_per_org', '1', '55P02'), ('early_lock_release', 'on', '55P02'), ('audit_lock_timeout', '1d', '55P02'),
               ('token', :'token', '42602'), ('token_id', :'token_id', '42602'), ('current_token_id', :'token_id', '42602'), ('identity', :'token_id', '42602'),
               ('org', 'forge', '42602'), ('scopes', '{databases:read}', '42602'), ('operator', 'on', '42602'), ('role', 'tf_op', '42602'), ('subject', 'boss', '42602')) AS v(name, value, state);
SELECT is(state_of(format('SET LOCAL %s', setting)), state, setting)
  FROM (VALUES ('is_superuser = on', '55P02'), ('role = tf_op', '42501')) AS v(setting, state);
-- those of a gateway name nobody outside of one
SELECT set_config(name, value, true)
  FROM (VALUES ('request.jwt.claims', '{"sub":"boss","role":"tf_boss","org":"forge"}'), ('request.jwt.claim.sub', 'boss'), ('request.jwt.claim.role', 'tf_boss'),
               ('jwt.claims.sub', 'boss'), ('request.headers', format('{"x-walwarden-token":"%s","x-forwarded-user":"boss"}', :'token_id'))) AS v(name, value) \g /dev/null
SELECT is(seen(), :nothing, 'settings of a gateway that nobody trusts');
SELECT throws_ok('SELECT walwarden.pre_request()', 'PGRST', NULL, 'the id of a token is no token');
COMMIT;
CREATE FUNCTION tf_own.as_boss() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    PERFORM set_config('request.jwt.claims', '{"sub":"boss"}', true);
    RETURN seen();
END
$$;
SELECT is(tf_own.as_boss(), :nothing, 'nor inside of a definer''s function');

-- by SET ROLE
SELECT is(state_of(statement), '42501', statement)
  FROM unnest('{SET ROLE tf_op,SET ROLE tf_boss}'::text[]) AS statement;
SELECT is(state_of($$SELECT set_config('role', 'tf_boss', true)$$), '42501', 'set_config of role');
CREATE FUNCTION tf_own.to_boss() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN SET LOCAL ROLE tf_mallory; RETURN seen(); END$$;
SELECT is(state_of('SELECT tf_own.to_boss()'), '42501', 'no SET ROLE in a definer''s function, whoever calls it');
BEGIN;
SET LOCAL ROLE tf_web;
SELECT is(seen(), :nothing, 'a role that she may take adds nothing');
ROLLBACK;
RESET SESSION AUTHORIZATION;
SELECT is(state_of('SELECT tf_own.to_boss()'), '42501', 'not for a superuser either');
SELECT is(tf_own.as_boss(), :nothing, 'a superuser who calls her function is her');
-- SET ROLE neither ends an identity nor makes one
BEGIN;
SET LOCAL ROLE tf_web;
SELECT walwarden.authenticate(:'token') \g /dev/null
SET LOCAL ROLE tf_mallory;
SELECT is(seen(), format('no org %s 1 rows', :'token_id'), 'the identity is the transaction''s');
COMMIT;

-- by functions of the same name: what is bound is bound, and a door opens to the
-- extension's inner function alone
SET SESSION AUTHORIZATION tf_mallory;
SELECT format('CREATE FUNCTION tf_own.%s RETURNS %s LANGUAGE sql AS $f$SELECT %s$f$', f, result, value)
  FROM (VALUES ('has_scope(text)', 'boolean', 'true'), ('current_org_id()', 'uuid', 'gen_random_uuid()'), ('current_token_id()', 'uuid', 'gen_random_uuid()'),
               ('authenticate(text, inet)', 'uuid', 'gen_random_uuid()'), ('caller()', 'text', '''x'''), ('require(text, uuid, text, text)', 'boolean', 'true'),
               ('list_orgs()', 'text', '''forge'''), ('issue_token(text, text, text[], timestamptz, text, text, text, jsonb, cidr[], integer)', 'text', '''x''')) AS v(f, result, value) \gexec
SET search_path = tf_own, public;
SELECT is(has_scope('databases:read'), true, 'her own function says what she likes');
SELECT is(seen(), :nothing, 'and is asked by nobody else');
SELECT is(state_of($$SELECT walwarden.issue_token('forge', 'forged')$$), '42501', 'nor called by a door');
RESET search_path;
RESET SESSION AUTHORIZATION;
-- also a policy that was written without the schema is bound to what was meant
SET search_path = walwarden, public;
CREATE POLICY unqualified ON public.forge_documents FOR SELECT USING (has_scope('databases:read') AND org_id = current_org_id());
RESET search_path;
DROP POLICY qualified ON forge_documents;
SET SESSION AUTHORIZATION tf_mallory;
SET search_path = tf_own, public;
SELECT is(seen(), :nothing, 'a policy without a schema in it');
RESET search_path;
RESET SESSION AUTHORIZATION;

-- by claims in a trusted session, after the transaction's first call
SET SESSION AUTHORIZATION tf_auth;
BEGIN;
SELECT set_config('request.jwt.claims', '{"sub":"clerk"}', true) \g /dev/null
SELECT is(state_of($$SELECT FROM walwarden.list_members('forge')$$), '42501', 'the clerk lists nobody');
SELECT set_config('request.jwt.claims', '{"sub":"boss"}', true) \g /dev/null
SELECT is(state_of($$SELECT FROM walwarden.list_members('forge')$$), '42501', 'nor as the boss, afterwards');
SAVEPOINT s;
SELECT set_config('request.jwt.claims', '{"sub":"boss"}', true) \g /dev/null
SELECT is(state_of($$SELECT FROM walwarden.list_members('forge')$$), '42501', 'nor in a savepoint');
ROLLBACK TO s;
COMMIT;
-- the first call may be any, also one that fails, also through the view
\set claim 'SELECT set_config(''request.jwt.claims'', ''{"sub":"boss"}'', true) \\g /dev/null'
BEGIN; SELECT count(*) FROM walwarden.token_list \g /dev/null
:claim
SELECT is(seen(), :nothing, 'after the view was read'); COMMIT;
BEGIN; SELECT state_of($$SELECT walwarden.authenticate('x')$$) \g /dev/null
:claim
SELECT is(seen(), :nothing, 'after a failed authenticate'); COMMIT;
BEGIN; SELECT walwarden.introspect_token('x') \g /dev/null
:claim
SELECT is(seen(), :nothing, 'after introspect_token'); COMMIT;
BEGIN; SELECT walwarden.pre_request() \g /dev/null
:claim
SELECT is(seen(), :nothing, 'after pre_request'); COMMIT;
BEGIN; SELECT walwarden.current_org() \g /dev/null
:claim
SELECT is(seen(), :nothing, 'after current_org'); COMMIT;
BEGIN;
:claim
SELECT is(seen(), 'forge no identity 0 rows', 'and first of all they count'); COMMIT AND CHAIN;
SELECT is(seen(), :nothing, 'for that transaction'); COMMIT;
RESET SESSION AUTHORIZATION;
-- a superuser's session verifies nothing, whatever it was declared to be
ALTER ROLE tf_auth SUPERUSER;
SET SESSION AUTHORIZATION tf_auth;
BEGIN;
SET LOCAL ROLE tf_web;
:claim
SELECT is(seen(), :nothing, 'claims in a superuser''s session');
COMMIT;
RESET SESSION AUTHORIZATION;

SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'all chains verify');
SELECT walwarden.revoke_operator('tf_op'), walwarden.untrust_authenticator('tf_auth') \g /dev/null
DROP TABLE forge_documents;
DROP SCHEMA tf_own CASCADE;
DROP FUNCTION seen(), state_of(text);
DROP ROLE tf_op, tf_boss, tf_web, tf_mallory, tf_auth;
SELECT * FROM finish();
