-- Golden: every refusal with its SQLSTATE, message, detail and hint.
\set ECHO none
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE ROLE regress_walwarden_op;
CREATE ROLE regress_walwarden_admin;
CREATE ROLE regress_walwarden_member;
CREATE ROLE regress_walwarden_dev;
CREATE ROLE regress_walwarden_other;
CREATE ROLE regress_walwarden_nobody;
CREATE ROLE regress_walwarden_auth LOGIN;
CREATE ROLE regress_walwarden_super SUPERUSER;
CREATE ROLE regress_walwarden_runner;

-- Runs a statement as a role; what it is refused with. A statement that is not
-- refused says so, and is undone.
CREATE FUNCTION refused(who text, statement text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    hint text;
    message text;
    state text;
    meant text := statement;
    place text;
    id uuid;
BEGIN
    FOR place, id IN SELECT i.place, i.id FROM ids AS i LOOP
        meant := replace(meant, place, quote_literal(id));
    END LOOP;
    IF who <> 'super' THEN
        EXECUTE format('SET LOCAL ROLE %I', 'regress_walwarden_' || who);
    END IF;
    EXECUTE meant;
    RAISE SQLSTATE 'WW000' USING MESSAGE = 'NOT REFUSED';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    FOR place, id IN SELECT i.place, i.id FROM ids AS i LOOP
        message := replace(message, id::text, place);
    END LOOP;
    RETURN format(E'%s: %s\n  -> %s %s%s%s', who, left(statement, 150), state, message,
                  CASE WHEN detail <> '' THEN E'\n     detail: ' || detail ELSE '' END,
                  CASE WHEN hint <> '' THEN E'\n     hint: ' || hint ELSE E'\n     NO HINT' END);
END
$$;

-- Ids of this run, by the names under which statements speak of them.
CREATE TEMP TABLE ids (place text, id uuid);

-- Everything that is stored, as one number that changes with it.
CREATE FUNCTION everything() RETURNS bigint
    LANGUAGE sql AS $$
    SELECT (SELECT count(*) FROM walwarden.org) + (SELECT count(*) FROM walwarden.member) + (SELECT count(*) FROM walwarden.token)
         + (SELECT count(*) FROM walwarden.credential) + (SELECT count(*) FROM walwarden.token_usage)
         + (SELECT count(*) FROM walwarden.role_override) + (SELECT count(*) FROM walwarden.role_grant)
         + (SELECT count(*) FROM walwarden.scope) + (SELECT count(*) FROM walwarden.audit_entry)
         + (SELECT count(*) FROM walwarden.database) + (SELECT count(*) FROM walwarden.destination) + (SELECT count(*) FROM walwarden.job)
         + (SELECT count(*) FROM walwarden.evidence) + (SELECT count(*) FROM walwarden.idempotency_key)
         + (SELECT count(*) FROM walwarden.node) + (SELECT count(*) FROM walwarden.verification)
$$;

-- Tokens by name, for statements that authenticate first.
CREATE TEMP TABLE tokens (name text, token text);
GRANT SELECT ON tokens TO PUBLIC;
CREATE FUNCTION as_token(name text) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.authenticate((SELECT t.token FROM tokens AS t WHERE t.name = as_token.name));
END
$$;

-- A request as PostgREST makes it.
CREATE FUNCTION request(token_name text, method text, path text, body text) RETURNS json
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.headers', json_build_object(
        'x-walwarden-token', (SELECT t.token FROM tokens AS t WHERE t.name = token_name), 'x-walwarden-method', method,
        'x-walwarden-path', '/api/v1' || path, 'x-walwarden-content-type', 'application/json', 'idempotency-key', gen_random_uuid())::text, true);
    RETURN walwarden_rest.v1_post(convert_to(body, 'UTF8'));
END
$$;

SELECT walwarden.create_org('acme', 'Acme Ltd') IS NULL, walwarden.create_org('other') IS NULL, walwarden.create_org('poor', plan => 'free') IS NULL
\g /dev/null
SELECT walwarden.grant_operator('regress_walwarden_op'),
       walwarden.trust_authenticator('regress_walwarden_auth'),
       walwarden.add_member('acme', 'root@acme.example', 'owner') IS NULL,
       walwarden.add_member('acme', 'admin@acme.example', 'admin', 'regress_walwarden_admin') IS NULL,
       walwarden.add_member('acme', 'member@acme.example', 'member', 'regress_walwarden_member') IS NULL,
       walwarden.add_member('acme', 'dev@acme.example', 'api_developer', 'regress_walwarden_dev') IS NULL,
       walwarden.add_member('acme', 'gone@acme.example', 'member') IS NULL,
       walwarden.disable_member('acme', 'gone@acme.example'),
       walwarden.add_member('other', 'boss@other.example', 'owner', 'regress_walwarden_other') IS NULL,
       walwarden.add_member('poor', 'boss@poor.example', 'owner') IS NULL
\g /dev/null
INSERT INTO ids SELECT '<shared>', token_id FROM walwarden.issue_token('acme', 'shared', ARRAY['databases:read']);
INSERT INTO ids SELECT '<private>', token_id FROM walwarden.issue_token('acme', 'private', ARRAY['databases:read'], owner => 'admin@acme.example');
INSERT INTO tokens SELECT k, (walwarden.issue_token(o, k, kind => 'node')).token FROM (VALUES ('acme', 'node'), ('acme', 'second node'), ('other', 'elsewhere')) AS v(o, k);
INSERT INTO tokens SELECT 'api', (walwarden.issue_token('acme', 'api', ARRAY['databases:write', 'destinations:write', 'backups:trigger'])).token;
SELECT walwarden.grant_runner('regress_walwarden_runner') \g /dev/null

-- A token in every state, and whose it is: what becomes of them is refused below.
-- The admin is also the only manager of another organisation, which keeps nothing.
SELECT walwarden.create_org('brief') IS NULL, walwarden.set_org_retention('brief', '0'),
       walwarden.add_member('brief', 'admin@acme.example', 'admin', 'regress_walwarden_admin') IS NULL,
       walwarden.add_member('acme', 'left@acme.example', 'member') IS NULL,
       walwarden.add_member('acme', 'sso@acme.example', 'member') IS NULL, walwarden.set_member_sso('acme', 'sso@acme.example', true),
       walwarden.set_member_role('acme', 'dev@acme.example', 'member'), walwarden.set_plan('poor', 'team')
\g /dev/null
INSERT INTO ids SELECT format('<%s>', name), (walwarden.issue_token('acme', name, ARRAY['databases:read'])).token_id
  FROM unnest('{revoked,expired,disabled,disabled and expired}'::text[]) AS name;
INSERT INTO ids SELECT format('<%s>', name), (walwarden.issue_token('acme', name, ARRAY['databases:read'], owner => owner || '@acme.example')).token_id
  FROM (VALUES ('own', 'member'), ('own revoked', 'member'), ('own expired', 'member'), ('disabled by its owner', 'member'),
               ('inactive', 'left'), ('of dev', 'dev'), ('of dev disabled', 'dev')) AS v(name, owner);
INSERT INTO ids SELECT '<of a role>', token_id FROM walwarden.issue_token('acme', 'of a role', role => 'analyst');
INSERT INTO ids SELECT '<of a node>', token_id FROM walwarden.issue_token('acme', 'of a node', kind => 'node');
INSERT INTO ids SELECT format('<%s>', name), (walwarden.issue_token('poor', name)).token_id FROM unnest('{poor,poor disabled}'::text[]) AS name;
INSERT INTO ids SELECT '<overdue>', token_id FROM walwarden.issue_token('brief', 'overdue');
INSERT INTO ids SELECT '<legacy>', token_id
  FROM walwarden.import_legacy_credential('acme', 'member@acme.example', '5f2b8a9c-0e4d-4c3a-9b1f-000000000001', repeat('s', 32), 'old pair');
INSERT INTO tokens SELECT 'deploy', (walwarden.issue_token('acme', 'deploy', role => 'deploy')).token;
SELECT walwarden.revoke_token(id) FROM ids WHERE place IN ('<revoked>', '<own revoked>') \g /dev/null
SELECT walwarden.disable_token(id) FROM ids WHERE place IN ('<disabled>', '<disabled and expired>', '<of dev disabled>', '<poor disabled>', '<overdue>') \g /dev/null
GRANT SELECT ON ids TO PUBLIC;
SET ROLE regress_walwarden_member;
SELECT walwarden.disable_token(id) FROM ids WHERE place = '<disabled by its owner>' \g /dev/null
RESET ROLE;
SELECT walwarden.disable_member('acme', 'left@acme.example'), walwarden.set_member_role('acme', 'dev@acme.example', 'api_developer'),
       walwarden.set_plan('poor', 'free')
\g /dev/null
-- No expiry in the past can be given, and there is no clock to set: the row is
-- changed behind the extension's back, by a superuser, as only a test may.
UPDATE walwarden.token SET expires_at = now() - interval '1 hour'
 WHERE id IN (SELECT id FROM ids WHERE place IN ('<expired>', '<disabled and expired>', '<own expired>'));

SELECT request('api', 'POST', '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id' AS destination \gset
SELECT request('api', 'POST', '/databases', format('{"name":"d","connectionRef":"d","destinationId":"%s"}', :'destination')) ->> 'id' AS database \gset
INSERT INTO ids SELECT 'JOB', (request('api', 'POST', format('/databases/%s/backups', :'database'), '') ->> 'backupJobId')::uuid;
BEGIN;
SET LOCAL ROLE regress_walwarden_runner;
SELECT as_token('node') \g /dev/null
SELECT kind, fence, job ->> 'state' AS state, job #>> '{database,name}' AS database FROM walwarden.claim_job('{backup}');
SELECT walwarden.register_node('node-1', '2.4.0') IS NULL \g /dev/null
COMMIT;
SELECT everything() AS before
\gset
\set ECHO queries

-- organisations
SELECT refused('nobody', $$SELECT walwarden.create_org('mine')$$);
SELECT refused('admin', $$SELECT walwarden.create_org('mine')$$);
SELECT refused('op', $$SELECT walwarden.create_org(NULL)$$);
SELECT refused('op', $$SELECT walwarden.create_org('')$$);
SELECT refused('op', $$SELECT walwarden.create_org('Acme')$$);
SELECT refused('op', $$SELECT walwarden.create_org('-acme')$$);
SELECT refused('op', $$SELECT walwarden.create_org(repeat('a', 64))$$);
SELECT refused('op', $$SELECT walwarden.create_org(E'ac\nme')$$);
SELECT refused('op', $$SELECT walwarden.create_org('acme')$$);
SELECT refused('op', $$SELECT walwarden.create_org('new', '')$$);
SELECT refused('op', $$SELECT walwarden.create_org('new', repeat('x', 101))$$);
SELECT refused('op', $$SELECT walwarden.create_org('new', E'two\nlines')$$);
SELECT refused('op', $$SELECT walwarden.create_org('new', plan => 'gold')$$);
SELECT refused('op', $$SELECT walwarden.create_org('new', plan => NULL)$$);
SELECT refused('op', $$SELECT walwarden.set_plan('nope', 'team')$$);
SELECT refused('op', $$SELECT walwarden.set_plan('ACME', 'team')$$);
SELECT refused('op', $$SELECT walwarden.set_plan(NULL, 'team')$$);
SELECT refused('op', $$SELECT walwarden.set_plan('acme', 'gold')$$);
SELECT refused('op', $$SELECT walwarden.set_plan('acme', NULL)$$);
SELECT refused('admin', $$SELECT walwarden.set_plan('acme', 'free')$$);
SELECT refused('op', $$SELECT walwarden.set_org_retention('acme', NULL)$$);
SELECT refused('op', $$SELECT walwarden.set_org_retention('acme', '-1 day')$$);
SELECT refused('op', $$SELECT walwarden.set_org_retention('acme', '3651 days')$$);
SELECT refused('admin', $$SELECT walwarden.set_org_retention('acme', '1 day')$$);

-- members: a stranger and a member of another org get one answer for all orgs
SELECT refused('nobody', $$SELECT walwarden.add_member('acme', 'x@acme.example')$$);
SELECT refused('nobody', $$SELECT walwarden.add_member('nope', 'x@acme.example')$$);
SELECT refused('other', $$SELECT walwarden.add_member('acme', 'x@acme.example')$$);
SELECT refused('member', $$SELECT walwarden.add_member('acme', 'x@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.add_member('nope', 'x@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', NULL)$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', '')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', '   ')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', repeat('x', 256))$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', E'x\u0007y')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'member@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'king')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', NULL)$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'Owner')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'member', 'regress_walwarden_none')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'member', 'regress_walwarden_super')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'member', 'regress_walwarden_auth')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'member', 'regress_walwarden_member')$$);
SELECT refused('admin', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'owner')$$);
SELECT refused('admin', $$SELECT walwarden.set_member_role('acme', 'admin@acme.example', 'owner')$$);
SELECT refused('admin', $$SELECT walwarden.set_member_role('acme', 'root@acme.example', 'member')$$);
SELECT refused('admin', $$SELECT walwarden.disable_member('acme', 'root@acme.example')$$);
SELECT refused('admin', $$SELECT walwarden.remove_member('acme', 'root@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.set_member_role('acme', 'none@acme.example', 'member')$$);
SELECT refused('op', $$SELECT walwarden.set_member_role('acme', NULL, 'member')$$);
SELECT refused('op', $$SELECT walwarden.set_member_role('acme', 'member@acme.example', 'king')$$);
SELECT refused('op', $$SELECT walwarden.set_member_sso('acme', 'member@acme.example', NULL)$$);
SELECT refused('op', $$SELECT walwarden.set_member_role('poor', 'boss@poor.example', 'member')$$);
SELECT refused('op', $$SELECT walwarden.disable_member('poor', 'boss@poor.example')$$);
SELECT refused('op', $$SELECT walwarden.remove_member('poor', 'boss@poor.example')$$);
SELECT refused('other', $$SELECT walwarden.set_member_role('other', 'boss@other.example', 'member')$$);
SELECT refused('member', $$SELECT * FROM walwarden.list_members('acme')$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_members('nope')$$);

-- statistics: operators, however one got SELECT on the view
SELECT refused('nobody', $$SELECT * FROM walwarden.auth_statistics()$$);
SELECT refused('admin', $$SELECT * FROM walwarden.auth_statistics()$$);

-- grants: superusers alone
SELECT refused('op', $$SELECT walwarden.grant_operator('regress_walwarden_nobody')$$);
SELECT refused('op', $$SELECT walwarden.revoke_operator('regress_walwarden_op')$$);
SELECT refused('op', $$SELECT walwarden.trust_authenticator('regress_walwarden_nobody')$$);
SELECT refused('op', $$SELECT walwarden.untrust_authenticator('regress_walwarden_auth')$$);
SELECT refused('op', $$SELECT walwarden.grant_rest('regress_walwarden_nobody', 'regress_walwarden_auth')$$);
SELECT refused('op', $$SELECT walwarden.revoke_rest('regress_walwarden_nobody')$$);
SELECT refused('op', $$SELECT walwarden.grant_runner('regress_walwarden_nobody')$$);
SELECT refused('op', $$SELECT walwarden.revoke_runner('regress_walwarden_nobody')$$);
SELECT refused('super', $$SELECT walwarden.grant_operator(NULL)$$);
SELECT refused('super', $$SELECT walwarden.grant_operator('regress_walwarden_none')$$);
SELECT refused('super', $$SELECT walwarden.trust_authenticator('regress_walwarden_super')$$);
SELECT refused('super', $$SELECT walwarden.trust_authenticator('regress_walwarden_member')$$);
SELECT refused('super', $$SELECT walwarden.grant_rest('regress_walwarden_super', 'regress_walwarden_auth')$$);
SELECT refused('super', $$SELECT walwarden.grant_rest('regress_walwarden_nobody', NULL)$$);
SELECT refused('super', $$SELECT walwarden.grant_runner('regress_walwarden_super')$$);

-- scopes and roles
SELECT refused('admin', $$SELECT walwarden.create_scope('invoices:read', 'x', 'y')$$);
SELECT refused('op', $$SELECT walwarden.create_scope(NULL, 'x', 'y')$$);
SELECT refused('op', $$SELECT walwarden.create_scope('*', 'x', 'y')$$);
SELECT refused('op', $$SELECT walwarden.create_scope('invoices', 'x', 'y')$$);
SELECT refused('op', $$SELECT walwarden.create_scope('invoices:*', 'x', 'y')$$);
SELECT refused('op', $$SELECT walwarden.create_scope('databases:read', 'x', 'y')$$);
SELECT refused('op', $$SELECT walwarden.create_scope('invoices:read', '', 'y')$$);
SELECT refused('op', $$SELECT walwarden.create_scope('invoices:read', 'x', NULL)$$);
SELECT refused('op', $$SELECT walwarden.create_scope('invoices:read', 'x', repeat('y', 501))$$);
SELECT refused('admin', $$SELECT walwarden.set_role_scopes('member', '{}')$$);
SELECT refused('op', $$SELECT walwarden.set_role_scopes('king', '{}')$$);
SELECT refused('op', $$SELECT walwarden.set_role_scopes(NULL, '{}')$$);
SELECT refused('op', $$SELECT walwarden.set_role_scopes('member', '{nope:read}')$$);

-- issue: who
SELECT refused('nobody', $$SELECT walwarden.issue_token('acme', 'x')$$);
SELECT refused('nobody', $$SELECT walwarden.issue_token('nope', 'x')$$);
SELECT refused('other', $$SELECT walwarden.issue_token('acme', 'x')$$);
SELECT refused('member', $$SELECT walwarden.issue_token('acme', 'x')$$);
SELECT refused('member', $$SELECT walwarden.issue_token('acme', 'x', owner => 'admin@acme.example')$$);
SELECT refused('admin', $$SELECT walwarden.issue_token('acme', 'x', owner => 'member@acme.example')$$);
SELECT refused('dev', $$SELECT walwarden.issue_token('acme', 'x', owner => 'dev@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', owner => 'dev@acme.example')$$);
SELECT refused('member', $$SELECT walwarden.issue_token('acme', 'x', owner => 'member@acme.example', role => 'member')$$);
SELECT refused('member', $$SELECT walwarden.issue_token('acme', 'x', owner => 'member@acme.example', kind => 'node')$$);

-- issue: what
SELECT refused('op', $$SELECT walwarden.issue_token('nope', 'x')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('Acme', 'x')$$);
SELECT refused('op', $$SELECT walwarden.issue_token(NULL, 'x')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('', 'x')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', NULL)$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', '')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', repeat('x', 101))$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', E'a\nb')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', E'a\x1bb')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', E'a\u0085b')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'wal_' || repeat('0', 64))$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', NULL)$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', '{*}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', '{databases:*}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', '{databases:reed}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', '{Databases:read}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', '{""}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', '{databases:read,NULL}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', '{databases:read,audit:read,databases:read}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', array_fill('databases:read'::text, ARRAY[10000]))$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', '{{databases:read},{audit:read}}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', ARRAY['wal_' || repeat('0', 64)])$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', ARRAY[repeat('x', 1000) || E'\n'])$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', expires_at => '-infinity')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', expires_at => '2020-01-01')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', expires_at => now())$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', expires_at => '10000-01-01 UTC')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', owner => 'none@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', owner => '')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', owner => 'gone@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', '{databases:write}', owner => 'member@acme.example')$$);
SELECT refused('member', $$SELECT walwarden.issue_token('acme', 'x', '{databases:read,audit:read,databases:write}', owner => 'member@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', role => 'king')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', '{databases:read}', role => 'member')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', role => 'admin', owner => 'member@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', kind => 'robot')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', kind => NULL)$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', kind => 'legacy')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', '{databases:read}', kind => 'node')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', role => 'deploy', kind => 'node')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('poor', 'x')$$);

-- list and revoke
SELECT refused('nobody', $$SELECT * FROM walwarden.list_tokens('acme')$$);
SELECT refused('other', $$SELECT * FROM walwarden.list_tokens('acme')$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_tokens('nope')$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_tokens(NULL)$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_tokens('acme', max_rows => 0)$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_tokens('acme', max_rows => 1001)$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_tokens('acme', max_rows => NULL)$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_tokens('acme', '00000000-0000-0000-0000-000000000001')$$);
SELECT refused('op', $$SELECT walwarden.revoke_token(NULL)$$);
SELECT refused('op', $$SELECT walwarden.revoke_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('op', $$SELECT walwarden.revoke_token(<shared>, '')$$);
SELECT refused('op', $$SELECT walwarden.revoke_token(<shared>, repeat('x', 501))$$);
SELECT refused('op', $$SELECT walwarden.revoke_token(<shared>, E'a\nb')$$);
-- unknown, foreign and not one's own: alike for whoever is no operator
SELECT refused('other', $$SELECT walwarden.revoke_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('other', $$SELECT walwarden.revoke_token(<shared>)$$);
SELECT refused('member', $$SELECT walwarden.revoke_token(<shared>)$$);
SELECT refused('member', $$SELECT walwarden.revoke_token(<private>)$$);
SELECT refused('nobody', $$SELECT walwarden.revoke_token(<private>)$$);

-- authentication: one answer to everything
SELECT refused('nobody', $$SELECT walwarden.authenticate(NULL)$$);
SELECT refused('nobody', $$SELECT walwarden.authenticate('')$$);
SELECT refused('nobody', $$SELECT walwarden.authenticate('wal_' || repeat('A', 64))$$);
SELECT refused('nobody', $$SELECT walwarden.authenticate('wal_' || repeat('a', 64))$$);
SELECT refused('nobody', $$SELECT walwarden.authorize(NULL, 'databases:read')$$);
SELECT refused('nobody', $$SELECT walwarden.require_scope('databases:read')$$);
SELECT refused('nobody', $$SELECT walwarden.require_scope(NULL)$$);

-- audit
SELECT refused('nobody', $$SELECT * FROM walwarden.list_audit('acme')$$);
SELECT refused('member', $$SELECT * FROM walwarden.list_audit('acme')$$);
SELECT refused('other', $$SELECT * FROM walwarden.list_audit('acme')$$);
SELECT refused('admin', $$SELECT * FROM walwarden.list_audit('_system')$$);
SELECT refused('admin', $$SELECT * FROM walwarden.list_audit(NULL)$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_audit('nope')$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_audit('acme', -1)$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_audit('acme', NULL)$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_audit('acme', 0, 0)$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_audit('acme', 0, 1001)$$);
SELECT refused('nobody', $$SELECT walwarden.append_audit('app.x', '{}')$$);
SELECT refused('nobody', $$SELECT walwarden.append_audit('app.x', '{}', org => 'acme')$$);
SELECT refused('member', $$SELECT walwarden.append_audit('app.x', '{}', org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', '{}')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', '{}', org => 'nope')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', '{}', org => '_system')$$);
SELECT refused('op', $$SELECT walwarden.append_audit(NULL, '{}', org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('token.issued', '{}', org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app', '{}', org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.X', '{}', org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.' || repeat('x', 97), '{}', org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', NULL, org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', '1.5', org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', '{"n":1.0}', org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', '9007199254740992', org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', '-9007199254740992', org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', to_jsonb(repeat('x', 65536)), org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', (repeat('[', 63) || repeat(']', 63))::jsonb, org => 'acme')$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', to_jsonb('a wal_' || repeat('0', 64)), org => 'acme')$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.verify_audit_chain()$$);
SELECT refused('admin', $$SELECT * FROM walwarden.verify_audit_chain()$$);
SELECT refused('member', $$SELECT * FROM walwarden.verify_audit_chain('acme')$$);
SELECT refused('other', $$SELECT * FROM walwarden.verify_audit_chain('acme')$$);
SELECT refused('admin', $$SELECT * FROM walwarden.verify_audit_chain('_system')$$);
SELECT refused('op', $$SELECT * FROM walwarden.verify_audit_chain('nope')$$);
SELECT refused('op', $$SELECT * FROM walwarden.verify_audit_chain(NULL, 1, repeat('0', 64))$$);
SELECT refused('op', $$SELECT * FROM walwarden.verify_audit_chain('acme', 1)$$);
SELECT refused('op', $$SELECT * FROM walwarden.verify_audit_chain('acme', NULL, repeat('0', 64))$$);
SELECT refused('op', $$SELECT * FROM walwarden.verify_audit_chain('acme', -1, repeat('0', 64))$$);
SELECT refused('op', $$SELECT * FROM walwarden.verify_audit_chain('acme', 1, 'XYZ')$$);
SELECT refused('op', $$SELECT * FROM walwarden.verify_audit_chain_sql('acme')$$);

-- nobody changes entries and catalogues, superusers included
SELECT refused('super', $$UPDATE walwarden.audit_entry SET kind = 'x.y'$$);
SELECT refused('super', $$DELETE FROM walwarden.audit_entry$$);
SELECT refused('super', $$TRUNCATE walwarden.audit_entry$$);
SELECT refused('super', $$SET LOCAL session_replication_role = replica; DELETE FROM walwarden.audit_entry$$);
SELECT refused('super', $$UPDATE walwarden.scope SET label = 'x'$$);
SELECT refused('super', $$DELETE FROM walwarden.scope$$);
SELECT refused('super', $$TRUNCATE walwarden.scope CASCADE$$);
SELECT refused('super', $$UPDATE walwarden.role SET scopes = NULL$$);
SELECT refused('super', $$INSERT INTO walwarden.role VALUES ('king', NULL, '{}', 'x')$$);
SELECT refused('super', $$UPDATE walwarden.permission SET any_of = '{member}'$$);
SELECT refused('super', $$UPDATE walwarden.plan SET api_tokens = true$$);
SELECT refused('super', $$DELETE FROM walwarden.capability$$);
SELECT refused('op', $$SELECT * FROM walwarden.credential$$);
SELECT refused('op', $$SELECT * FROM walwarden.token$$);
SELECT refused('op', $$INSERT INTO walwarden.audit_entry (org_id, kind, body) VALUES (gen_random_uuid(), 'a.b', '{}')$$);
SELECT refused('op', $$SELECT walwarden._issue_token('acme', 'x', '{}', NULL, NULL, NULL, 'api')$$);
SELECT refused('super', $$SELECT walwarden._issue_token('acme', 'x', '{}', NULL, NULL, NULL, 'api')$$);
SELECT refused('super', $$INSERT INTO walwarden.audit_entry (org_id, seq, kind, body) VALUES (gen_random_uuid(), 5, 'a.b', '{}')$$);
SELECT refused('super', $$INSERT INTO walwarden.audit_entry (org_id, kind, body) VALUES (gen_random_uuid(), 'a.b', '[]')$$);
SELECT regexp_replace(refused('super', $$INSERT INTO walwarden.audit_entry (org_id, kind, body) VALUES (gen_random_uuid(), 'a.b', '{"org":"x"}')$$), 'row contains.*', '...');
SELECT refused('super', $$SET LOCAL walwarden.max_tokens_per_org = 1000000$$);
SELECT refused('op', $$SET LOCAL walwarden.audit_lock_timeout = 0$$);
SELECT refused('op', $$SET LOCAL walwarden.unknown = 0$$);

\echo
\echo == the runner protocol
SELECT refused('nobody', $$SELECT * FROM walwarden.claim_job('{backup}')$$);
SELECT refused('super', $$SELECT * FROM walwarden.claim_job('{backup}')$$);
SELECT refused('runner', $$SELECT * FROM walwarden.claim_job('{backup}')$$);
SELECT refused('runner', $$SELECT as_token('api'); SELECT * FROM walwarden.claim_job('{backup}')$$);
SELECT refused('nobody', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job('{backup}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job(NULL)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job('{}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job('{backup,NULL}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job('{dump}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job('{backup}', NULL)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job('{backup}', '0')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job('{backup}', '2 h')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.heartbeat_job(NULL, 1)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.heartbeat_job('00000000-0000-0000-0000-000000000000', 1)$$);
SELECT refused('runner', $$SELECT as_token('elsewhere'); SELECT walwarden.heartbeat_job(JOB, 1)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.heartbeat_job(JOB, 0)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.heartbeat_job(JOB, NULL)$$);
SELECT refused('runner', $$SELECT as_token('second node'); SELECT walwarden.heartbeat_job(JOB, 1)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.heartbeat_job(JOB, 1, '{"percent":101}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.heartbeat_job(JOB, 1, '{"speed":1}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, NULL)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'verifying')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'completed')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'finalizing')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'cancelled')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'failed')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'failed', '{"error":{"class":"Bad Class","message":"x","retryable":true}}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running', '{"secret":1}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running', jsonb_build_object('artifact', jsonb_build_object('name', 'wal_' || repeat('a', 64), 'sizeBytes', 0, 'checksumSha256', repeat('0', 64))))$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.record_evidence(JOB, 1, NULL)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.record_evidence(JOB, 1, '[]')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.record_evidence(JOB, 1, '{"manifest":{},"integrityVerification":{"result":"not_run","checkedAt":null,"tool":null},"recoverableTo":"2026-11-21T17:00:00Z"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running'); SELECT walwarden.record_evidence(JOB, 1, '{"manifest":{},"integrityVerification":{"result":"passed","checkedAt":null,"tool":null},"recoverableTo":"2026-11-20T17:00:00Z"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running'); SELECT walwarden.record_evidence(JOB, 1, '{"manifest":{},"integrityVerification":{"result":"not_run","checkedAt":null,"tool":null},"recoverableTo":"2026-11-20T17:00:00Z","recoverableFrom":"2026-11-21T17:00:00Z"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running'); SELECT walwarden.record_evidence(JOB, 1, '{"manifest":{},"integrityVerification":{"result":"not_run","checkedAt":null,"tool":null},"recoverableTo":"9999-11-20T17:00:00Z"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running'); SELECT walwarden.record_evidence(JOB, 1, '{"manifest":{},"integrityVerification":{"result":"not_run","checkedAt":null,"tool":null},"recoverableTo":"yesterday"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running'); SELECT walwarden.record_evidence(JOB, 1, jsonb_build_object('manifest', jsonb_build_object('x', repeat('y', 20000))))$$);

\echo
\echo == what becomes of tokens
-- unknown, foreign, and shared without a right to see it: one text for whoever is no
-- operator, whatever they want of it
SELECT refused('nobody', $$SELECT walwarden.disable_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('member', $$SELECT walwarden.disable_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('member', $$SELECT walwarden.disable_token(<poor>)$$);
SELECT refused('member', $$SELECT walwarden.disable_token(<shared>)$$);
SELECT refused('member', $$SELECT walwarden.disable_token(<private>)$$);
SELECT refused('other', $$SELECT walwarden.disable_token(<shared>)$$);
SELECT refused('op', $$SELECT walwarden.disable_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('op', $$SELECT walwarden.disable_token(NULL)$$);
SELECT refused('nobody', $$SELECT walwarden.enable_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('member', $$SELECT walwarden.enable_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('member', $$SELECT walwarden.enable_token(<poor>)$$);
SELECT refused('member', $$SELECT walwarden.enable_token(<shared>)$$);
SELECT refused('member', $$SELECT walwarden.enable_token(<private>)$$);
SELECT refused('other', $$SELECT walwarden.enable_token(<shared>)$$);
SELECT refused('op', $$SELECT walwarden.enable_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('op', $$SELECT walwarden.enable_token(NULL)$$);
SELECT refused('nobody', $$SELECT walwarden.update_token('00000000-0000-0000-0000-000000000001', 'new')$$);
SELECT refused('member', $$SELECT walwarden.update_token('00000000-0000-0000-0000-000000000001', 'new')$$);
SELECT refused('member', $$SELECT walwarden.update_token(<poor>, 'new')$$);
SELECT refused('member', $$SELECT walwarden.update_token(<shared>, 'new')$$);
SELECT refused('member', $$SELECT walwarden.update_token(<private>, 'new')$$);
SELECT refused('other', $$SELECT walwarden.update_token(<shared>, 'new')$$);
SELECT refused('op', $$SELECT walwarden.update_token('00000000-0000-0000-0000-000000000001', 'new')$$);
SELECT refused('op', $$SELECT walwarden.update_token(NULL, 'new')$$);
SELECT refused('nobody', $$SELECT walwarden.renew_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('member', $$SELECT walwarden.renew_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('member', $$SELECT walwarden.renew_token(<poor>)$$);
SELECT refused('member', $$SELECT walwarden.renew_token(<shared>)$$);
SELECT refused('member', $$SELECT walwarden.renew_token(<private>)$$);
SELECT refused('other', $$SELECT walwarden.renew_token(<shared>)$$);
SELECT refused('op', $$SELECT walwarden.renew_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(NULL)$$);
SELECT what, count(DISTINCT split_part(refused('member', format($$SELECT walwarden.%s_token(%s)$$, what, id)), E'\n  -> ', 2)) = 1 AS one_text
  FROM unnest('{disable,enable,update,renew,revoke}'::text[]) AS what, unnest(ARRAY['<shared>', '<private>', '<poor>', '<overdue>', quote_literal(gen_random_uuid())]) AS id
 GROUP BY what ORDER BY what;
-- the same of one that is final: it is not said of what is not theirs
SELECT refused('member', $$SELECT walwarden.disable_token(<revoked>)$$);
SELECT refused('member', $$SELECT walwarden.enable_token(<revoked>)$$);
SELECT refused('member', $$SELECT walwarden.update_token(<revoked>, 'new')$$);
SELECT refused('member', $$SELECT walwarden.renew_token(<revoked>)$$);

-- from a state that does not lead there
SELECT refused('op', $$SELECT walwarden.disable_token(<revoked>)$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<revoked>)$$);
SELECT refused('op', $$SELECT walwarden.update_token(<revoked>, 'new')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<revoked>)$$);
SELECT refused('member', $$SELECT walwarden.disable_token(<own revoked>)$$);
SELECT refused('member', $$SELECT walwarden.enable_token(<own revoked>)$$);
SELECT refused('member', $$SELECT walwarden.update_token(<own revoked>, 'new')$$);
SELECT refused('member', $$SELECT walwarden.renew_token(<own revoked>)$$);
SELECT refused('op', $$SELECT walwarden.disable_token(<expired>)$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<expired>)$$);
SELECT refused('op', $$SELECT walwarden.update_token(<expired>, 'new')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<expired>, expires_at => 'infinity')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<expired>)$$);
SELECT refused('op', $$SELECT walwarden.disable_token(<disabled and expired>)$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<disabled and expired>)$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<disabled and expired>)$$);
SELECT refused('member', $$SELECT walwarden.enable_token(<own expired>)$$);
SELECT refused('member', $$SELECT walwarden.renew_token(<own expired>)$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<disabled>)$$);
SELECT refused('member', $$SELECT walwarden.renew_token(<disabled by its owner>)$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<shared>, now() + interval '1 day')$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<inactive>, now() + interval '1 day')$$);
-- no retention: it is to be removed as soon as it ended
SELECT refused('op', $$SELECT walwarden.enable_token(<overdue>)$$);
SELECT refused('admin', $$SELECT walwarden.enable_token(<overdue>, 'infinity')$$);
-- the plan
SELECT refused('op', $$SELECT walwarden.enable_token(<poor disabled>)$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<poor>)$$);
SELECT refused('op', $$SELECT walwarden.update_token(<poor>, 'new')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<poor>)$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<poor disabled>)$$);

-- whose it is: managers stop another's private token, and take back what one of them did
SELECT refused('admin', $$SELECT walwarden.update_token(<own>, 'new')$$);
SELECT refused('admin', $$SELECT walwarden.renew_token(<own>)$$);
SELECT refused('admin', $$SELECT walwarden.enable_token(<disabled by its owner>)$$);
SELECT refused('admin', $$SELECT walwarden.enable_token(<own expired>, 'infinity')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<own>, 'new')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<own>)$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<disabled by its owner>)$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<own expired>, 'infinity')$$);
SELECT refused('super', $$SELECT walwarden.update_token(<own>, 'new')$$);
SELECT refused('super', $$SELECT walwarden.renew_token(<own>)$$);
SELECT refused('super', $$SELECT walwarden.enable_token(<disabled by its owner>)$$);
SELECT refused('super', $$SELECT walwarden.enable_token(<own expired>, 'infinity')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<inactive>)$$);
SELECT refused('op', $$SELECT walwarden.update_token(<inactive>, 'new')$$);
SELECT refused('other', $$SELECT walwarden.enable_token(<disabled by its owner>)$$);
-- a role without private tokens can only end those that are left
SELECT refused('dev', $$SELECT walwarden.enable_token(<of dev disabled>)$$);
SELECT refused('dev', $$SELECT walwarden.update_token(<of dev>, 'new')$$);
SELECT refused('dev', $$SELECT walwarden.renew_token(<of dev>)$$);

-- with what
SELECT refused('op', $$SELECT walwarden.disable_token(<shared>, '')$$);
SELECT refused('op', $$SELECT walwarden.disable_token(<shared>, repeat('x', 501))$$);
SELECT refused('op', $$SELECT walwarden.disable_token(<shared>, E'a\nb')$$);
SELECT refused('op', $$SELECT walwarden.disable_token(<shared>, 'wal_' || repeat('0', 64))$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<disabled>, '2020-01-01')$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<disabled>, now())$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<disabled>, '-infinity')$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<disabled>, '10000-01-01 UTC')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, expires_at => '2020-01-01')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, expires_at => now())$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, expires_at => '-infinity')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, expires_at => '10000-01-01 UTC')$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<expired>, now())$$);
SELECT refused('member', $$SELECT walwarden.enable_token(<own expired>, now() - interval '1 s')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, '')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, '   ')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, repeat('x', 101))$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, E'a\nb')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, 'wal_' || repeat('0', 64))$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, scopes => '{*}')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, scopes => '{databases:reed}')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, scopes => '{databases:read,NULL}')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, scopes => '{databases:read,databases:read}')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, scopes => '{{databases:read},{audit:read}}')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, scopes => array_fill('databases:read'::text, ARRAY[201]))$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, 'new', '{databases:read}', now())$$);
SELECT refused('op', $$SELECT walwarden.update_token(<of a role>, scopes => '{databases:read}')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<of a node>, scopes => '{databases:read}')$$);
SELECT refused('member', $$SELECT walwarden.update_token(<legacy>, scopes => '{databases:read}')$$);
SELECT refused('member', $$SELECT walwarden.update_token(<legacy>, scopes => '{}')$$);
SELECT refused('member', $$SELECT walwarden.update_token(<own>, scopes => '{databases:read,databases:write,audit:read}')$$);
SELECT refused('super', $$SELECT walwarden.set_role_scopes('admin', '{databases:read}'); SET LOCAL ROLE regress_walwarden_admin; SELECT walwarden.update_token(<shared>, scopes => '{databases:read,databases:write}')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<shared>, '8 days')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<shared>, '7 days 1 us')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<shared>, '1 month')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<shared>, '-1 s')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<shared>, '1 day -25 h')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<shared>, NULL)$$);

-- the last manager
SELECT refused('admin', $$SELECT walwarden.set_member_role('brief', 'admin@acme.example', 'member')$$);
SELECT refused('admin', $$SELECT walwarden.disable_member('brief', 'admin@acme.example')$$);
SELECT refused('admin', $$SELECT walwarden.remove_member('brief', 'admin@acme.example')$$);
SELECT refused('other', $$SELECT walwarden.disable_member('other', 'boss@other.example')$$);
SELECT refused('other', $$SELECT walwarden.remove_member('other', 'boss@other.example')$$);

\echo
\echo == pairs of a UUID and a secret
SELECT refused('admin', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('member', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('nobody', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('other', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('nobody', $$SELECT walwarden.import_legacy_credential('nope', 'member@acme.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('nope', 'member@acme.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential(NULL, 'member@acme.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('poor', 'boss@poor.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'none@acme.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', '', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', NULL, gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'gone@acme.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'sso@acme.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'boss@other.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', NULL, repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), NULL)$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), '')$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 31))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 513))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 20) || ' ' || repeat('x', 20))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 32) || E'\n')$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 32) || 'é')$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 32), NULL)$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 32), '')$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 32), repeat('x', 101))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', gen_random_uuid(), repeat('x', 32), E'a\nb')$$);
-- imported already, in whichever case and for whomever
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', '5f2b8a9c-0e4d-4c3a-9b1f-000000000001', repeat('s', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('other', 'boss@other.example', '5f2b8a9c-0e4d-4c3a-9b1f-000000000001', repeat('s', 32))$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('acme', 'admin@acme.example', '5F2B8A9C-0E4D-4C3A-9B1F-000000000001', repeat('s', 32))$$);
SELECT refused('super', $$SELECT walwarden.import_legacy_credential('acme', 'member@acme.example', '5f2b8a9c-0e4d-4c3a-9b1f-000000000001', repeat('s', 32))$$);

\echo
\echo == nodes and maintenance
SELECT refused('nobody', $$SELECT walwarden.register_node('n', '1')$$);
SELECT refused('super', $$SELECT walwarden.register_node('n', '1')$$);
SELECT refused('runner', $$SELECT walwarden.register_node('n', '1')$$);
SELECT refused('runner', $$SELECT as_token('api'); SELECT walwarden.register_node('n', '1')$$);
SELECT refused('nobody', $$SELECT as_token('node'); SELECT walwarden.register_node('n', '1')$$);
SELECT refused('nobody', $$SELECT as_token('deploy'); SELECT walwarden.register_node('n', '1')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node(NULL, '1')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node('', '1')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node('  ', '1')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node(repeat('x', 101), '1')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node(E'a\nb', '1')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node('wal_' || repeat('0', 64), '1')$$);
SELECT refused('runner', $$SELECT as_token('deploy'); SELECT walwarden.register_node('node-1', NULL)$$);
SELECT refused('runner', $$SELECT as_token('deploy'); SELECT walwarden.register_node('node-1', '')$$);
SELECT refused('runner', $$SELECT as_token('deploy'); SELECT walwarden.register_node('node-1', repeat('x', 101))$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.list_nodes('acme')$$);
SELECT refused('member', $$SELECT * FROM walwarden.list_nodes('acme')$$);
SELECT refused('dev', $$SELECT * FROM walwarden.list_nodes('acme')$$);
SELECT refused('other', $$SELECT * FROM walwarden.list_nodes('acme')$$);
SELECT refused('admin', $$SELECT * FROM walwarden.list_nodes('other')$$);
SELECT refused('member', $$SELECT * FROM walwarden.list_nodes('nope')$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_nodes('nope')$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_nodes(NULL)$$);
-- a node sees those of its own organisation, through a role for nodes
SELECT refused('runner', $$SELECT * FROM walwarden.list_nodes('acme')$$);
SELECT refused('runner', $$SELECT as_token('api'); SELECT * FROM walwarden.list_nodes('acme')$$);
SELECT refused('runner', $$SELECT as_token('elsewhere'); SELECT * FROM walwarden.list_nodes('acme')$$);
SELECT refused('nobody', $$SELECT as_token('node'); SELECT * FROM walwarden.list_nodes('acme')$$);
SELECT refused('nobody', $$SELECT walwarden.run_maintenance()$$);
SELECT refused('member', $$SELECT walwarden.run_maintenance()$$);
SELECT refused('admin', $$SELECT walwarden.run_maintenance()$$);
SELECT refused('other', $$SELECT walwarden.run_maintenance()$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.run_maintenance()$$);

\echo
\echo == the entry points of REST v1, and requests made up in SQL
SELECT refused('nobody', $$SELECT walwarden_rest.v1_get()$$);
SELECT refused('op', $$SELECT walwarden_rest.v1_post('')$$);
SELECT refused('nobody', $$SELECT set_config('request.headers', 'no JSON', true); SELECT walwarden.pre_request()$$);
SELECT refused('nobody', $$SELECT set_config('request.headers', '{"x-walwarden-token":"wal_x"}', true); SELECT walwarden.pre_request()$$);
SELECT refused('nobody', $$SELECT set_config('request.headers', '{"x-wallarmapi-uuid":"x"}', true); SELECT walwarden.pre_request()$$);
SELECT refused('super', $$UPDATE walwarden.rest_operation SET required_scope = NULL$$);
SELECT refused('super', $$DELETE FROM walwarden.rest_schema$$);
SELECT refused('super', $$UPDATE walwarden.rest_error SET code = 'x'$$);
SELECT refused('super', $$INSERT INTO walwarden.job_transition VALUES ('backup', 'completed', 'queued', 'api', 'a.b')$$);
SELECT refused('super', $$TRUNCATE walwarden.job_state CASCADE$$);

-- nothing of all that left anything behind
SELECT everything() = :before AS nothing_left;

\set ECHO none
SELECT walwarden.revoke_operator('regress_walwarden_op') AND walwarden.untrust_authenticator('regress_walwarden_auth')
\g /dev/null
DROP EXTENSION walwarden CASCADE;
DROP ROLE regress_walwarden_runner, regress_walwarden_op, regress_walwarden_admin, regress_walwarden_member, regress_walwarden_dev,
    regress_walwarden_other, regress_walwarden_nobody, regress_walwarden_auth, regress_walwarden_super;

-- another encoding
CREATE DATABASE regress_walwarden_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\set dbname :DBNAME
\c regress_walwarden_latin1
\set SHOW_CONTEXT never
\set ECHO queries
CREATE EXTENSION walwarden CASCADE;
\echo :LAST_ERROR_SQLSTATE
\set ECHO none
\c :dbname
DROP DATABASE regress_walwarden_latin1;
