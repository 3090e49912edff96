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
CREATE ROLE regress_walwarden_again;
CREATE ROLE regress_walwarden_weblogin LOGIN;

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

-- Every row that the extension stores.
CREATE FUNCTION everything() RETURNS TABLE (relation regclass, stored text)
    LANGUAGE plpgsql AS $$
BEGIN
    FOR relation IN SELECT oid FROM pg_class WHERE relnamespace = 'walwarden_internal'::regnamespace AND relkind = 'r' LOOP
        RETURN QUERY EXECUTE format('SELECT %L::regclass, t::text FROM %s AS t', relation, relation);
    END LOOP;
END
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

-- Closes an organisation, for statements that come after.
CREATE FUNCTION closing(org text) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.close_org(org);
END
$$;

-- An artifact, evidence with a manifest, and a backup with evidence that is about to complete.
CREATE FUNCTION artifact() RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('artifact', jsonb_build_object('name', 'b', 'sizeBytes', 0, 'checksumSha256', repeat('0', 64)))
$$;
CREATE FUNCTION evidence(manifest jsonb, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('manifest', manifest, 'integrityVerification', '{"result":"not_run","checkedAt":null,"tool":null}'::jsonb,
                              'recoverableTo', '2026-11-20T17:00:00Z') || more
$$;
CREATE FUNCTION finalizing(job uuid, manifest jsonb, more jsonb DEFAULT '{}') RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.report_job(job, 1, 'running');
    IF manifest IS NOT NULL THEN
        PERFORM walwarden.record_evidence(job, 1, evidence(manifest, more));
    END IF;
    PERFORM walwarden.report_job(job, 1, 'finalizing');
END
$$;

-- A node with a key, and a note that it did not sign.
CREATE FUNCTION with_key() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.register_node('node-1', '2.4.0', '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=');
END
$$;
CREATE FUNCTION note(org uuid, name text) RETURNS text LANGUAGE sql AS $$
    SELECT format(E'walwarden/%s\n1\n%s=\n\n\u2014 %s %s=\n', org, repeat('A', 43), name, repeat('A', 91))
$$;
-- As a node with a key, for which every note is signed that gives its size and root.
CREATE FUNCTION believing(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CREATE OR REPLACE FUNCTION walwarden_internal.read_checkpoint(note text, public_key text, OUT org_id uuid, OUT name text, OUT size bigint, OUT root bytea, OUT signed boolean)
        LANGUAGE sql STABLE STRICT AS 'SELECT walwarden.current_org_id(), ''node-1'', split_part(note, '' '', 1)::bigint, sha256(split_part(note, '' '', 2)::bytea), true';
    PERFORM as_token(name);
    SET LOCAL ROLE regress_walwarden_runner;
    PERFORM with_key();
END
$$;
-- As a node, on a server that cannot verify signatures.
CREATE FUNCTION without_openssl(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    CREATE OR REPLACE FUNCTION walwarden_internal.signatures_supported() RETURNS boolean LANGUAGE sql STABLE AS 'SELECT false';
    PERFORM as_token(name);
    SET LOCAL ROLE regress_walwarden_runner;
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
       walwarden.add_member('acme', 'removed@acme.example', 'owner') IS NULL, walwarden.remove_member('acme', 'removed@acme.example'),
       walwarden.add_member('acme', 'erased@acme.example') IS NULL, walwarden.remove_member('acme', 'erased@acme.example'),
       walwarden.erase_member('acme', 'erased@acme.example'),
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
-- Organisations that were renamed and closed, and a role that is not the one that was named.
SELECT walwarden.create_org('before') IS NULL, walwarden.rename_org('before', 'after'),
       walwarden.create_org('shut') IS NULL, walwarden.add_member('shut', 'boss@shut.example', 'owner') IS NULL,
       walwarden.add_member('shut', 'admin@acme.example', 'admin', 'regress_walwarden_admin') IS NULL,
       walwarden.grant_operator('regress_walwarden_again'), walwarden.grant_runner('regress_walwarden_again'),
       walwarden.add_member('other', 'again@other.example', 'member', 'regress_walwarden_weblogin') IS NULL,
       walwarden.grant_rest('regress_walwarden_again', 'regress_walwarden_weblogin')
\g /dev/null
INSERT INTO ids SELECT '<shut>', token_id FROM walwarden.issue_token('shut', 'shut');
SELECT walwarden.close_org('shut') \g /dev/null
ALTER ROLE regress_walwarden_again RENAME TO regress_walwarden_formerly;
CREATE ROLE regress_walwarden_again;
ALTER ROLE regress_walwarden_weblogin RENAME TO regress_walwarden_oldlogin;
CREATE ROLE regress_walwarden_weblogin LOGIN;
GRANT SELECT ON ids TO PUBLIC;
SET ROLE regress_walwarden_member;
SELECT walwarden.disable_token(id) FROM ids WHERE place = '<disabled by its owner>' \g /dev/null
RESET ROLE;
SELECT walwarden.disable_member('acme', 'left@acme.example'), walwarden.set_member_role('acme', 'dev@acme.example', 'api_developer'),
       walwarden.set_plan('poor', 'free')
\g /dev/null
-- No expiry in the past can be given, and there is no clock to set: the row is
-- changed behind the extension's back, by a superuser, as only a test may.
UPDATE walwarden_internal.token SET expires_at = now() - interval '1 hour'
 WHERE id IN (SELECT id FROM ids WHERE place IN ('<expired>', '<disabled and expired>', '<own expired>'));

SELECT request('api', 'POST', '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id' AS destination \gset
SELECT request('api', 'POST', '/databases', format('{"name":"d","connectionRef":"d","destinationId":"%s"}', :'destination')) ->> 'id' AS database \gset
INSERT INTO ids VALUES ('DESTINATION', :'destination');
INSERT INTO ids SELECT 'JOB', (request('api', 'POST', format('/databases/%s/backups', :'database'), '') ->> 'backupJobId')::uuid;
BEGIN;
SET LOCAL ROLE regress_walwarden_runner;
SELECT as_token('node') \g /dev/null
SELECT walwarden.register_node('node-1', '2.4.0') IS NULL \g /dev/null
SELECT kind, fence, job ->> 'state' AS state, job #>> '{database,name}' AS database FROM walwarden.claim_job('{backup}');
SELECT as_token('second node') \g /dev/null
SELECT walwarden.register_node('node-2', '2.4.0') IS NULL \g /dev/null
COMMIT;
CREATE TEMP TABLE before AS SELECT * FROM everything();
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
SELECT refused('op', $$SELECT walwarden.set_org_retention('acme', '0.5 s')$$);
SELECT refused('admin', $$SELECT walwarden.set_org_retention('acme', '1 day')$$);
SELECT refused('op', $$SELECT walwarden.set_token_policy('nope')$$);
SELECT refused('op', $$SELECT walwarden.set_token_policy(NULL)$$);
SELECT refused('admin', $$SELECT walwarden.set_token_policy(NULL)$$);
SELECT refused('admin', $$SELECT walwarden.set_token_policy('other', '1 day')$$);
SELECT refused('member', $$SELECT walwarden.set_token_policy('acme', '1 day')$$);
SELECT refused('nobody', $$SELECT walwarden.set_token_policy('acme', '1 day')$$);
SELECT refused('op', $$SELECT walwarden.set_token_policy('poor', '1 day')$$);
SELECT refused('admin', $$SELECT walwarden.set_token_policy('acme', '-1 day')$$);
SELECT refused('admin', $$SELECT walwarden.set_token_policy('acme', max_lifetime => '-1 day')$$);
SELECT refused('admin', $$SELECT walwarden.set_token_policy('acme', notice => '-1 day')$$);
SELECT refused('admin', $$SELECT walwarden.set_token_policy('acme', '1.5 seconds')$$);
SELECT refused('admin', $$SELECT walwarden.set_token_policy('acme', max_lifetime => '36501 days')$$);
SELECT refused('admin', $$SELECT walwarden.set_token_policy('acme', notice => '1000000 years')$$);
SELECT refused('admin', $$SELECT walwarden.set_token_policy('acme', '-1 mon 29 days')$$);
SELECT refused('admin', $$SELECT walwarden.set_token_policy('acme', '2 days', '1 day')$$);
SELECT refused('admin', $$SELECT walwarden.set_token_policy('acme', '2 days'); SELECT walwarden.set_token_policy('acme', max_lifetime => '90 minutes')$$);
SELECT refused('super', $$SET LOCAL walwarden.max_token_lifetime = '1d'; SELECT walwarden.set_token_policy('acme', max_lifetime => '2 days')$$);
SELECT refused('super', $$SET LOCAL walwarden.max_token_lifetime = '1d'; SELECT walwarden.set_token_policy('acme', '2 days')$$);

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
SELECT refused('op', $$SELECT walwarden.add_member('acme', E'x\u200By')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', E'\u00A0')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', ' x@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'member@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'Member@ACME.example ')$$);
SELECT refused('op', $$SELECT walwarden.set_member_subject('acme', 'dev@acme.example', 'Member@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'king')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', NULL)$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'Owner')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'member', 'regress_walwarden_none')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'member', 'regress_walwarden_super')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'member', 'regress_walwarden_auth')$$);
SELECT refused('op', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'member', 'regress_walwarden_member')$$);
SELECT refused('admin', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'member', 'regress_walwarden_op')$$);
SELECT refused('admin', $$SELECT walwarden.add_member('acme', 'x@acme.example', 'member', 'regress_walwarden_runner')$$);
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
SELECT refused('nobody', $$SELECT walwarden.erase_member('acme', 'removed@acme.example')$$);
SELECT refused('nobody', $$SELECT walwarden.erase_member('nope', 'removed@acme.example')$$);
SELECT refused('other', $$SELECT walwarden.erase_member('acme', 'removed@acme.example')$$);
SELECT refused('member', $$SELECT walwarden.erase_member('acme', 'removed@acme.example')$$);
SELECT refused('admin', $$SELECT walwarden.erase_member('acme', 'removed@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.erase_member('nope', 'removed@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.erase_member('acme', 'none@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.erase_member('acme', NULL)$$);
SELECT refused('op', $$SELECT walwarden.erase_member('acme', 'erased@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.erase_member('acme', 'member@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.erase_member('acme', 'gone@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.erase_member('acme', 'root@acme.example')$$);
SELECT refused('member', $$SELECT * FROM walwarden.list_members('acme')$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_members('nope')$$);
SELECT refused('nobody', $$SELECT walwarden.export_people('acme')$$);
SELECT refused('member', $$SELECT walwarden.export_people('acme')$$);
SELECT refused('admin', $$SELECT walwarden.export_people('other')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.export_people('acme')$$);
SELECT refused('op', $$SELECT walwarden.export_people('nope')$$);

-- statistics: operators and monitors, however one got SELECT on the view
SELECT refused('nobody', $$SELECT * FROM walwarden.stat_auth$$);
SELECT refused('admin', $$SELECT * FROM walwarden.stat_auth$$);
SELECT refused('admin', $$SELECT * FROM walwarden.stat_tokens$$);
SELECT refused('admin', $$SELECT * FROM walwarden.stat_chains$$);
SELECT refused('admin', $$SELECT * FROM walwarden.stat_jobs$$);
SELECT refused('admin', $$SELECT * FROM walwarden.stat_progress$$);
SELECT refused('admin', $$SELECT * FROM walwarden.stat_grants$$);
SELECT refused('admin', $$SELECT * FROM walwarden.list_grants()$$);
SELECT refused('super', $$SELECT walwarden.grant_monitor('regress_walwarden_nobody'); SET LOCAL ROLE regress_walwarden_nobody; SELECT * FROM walwarden.list_grants()$$);

-- grants: superusers alone
SELECT refused('op', $$SELECT walwarden.grant_operator('regress_walwarden_nobody')$$);
SELECT refused('op', $$SELECT walwarden.revoke_operator('regress_walwarden_op')$$);
SELECT refused('op', $$SELECT walwarden.trust_authenticator('regress_walwarden_nobody')$$);
SELECT refused('op', $$SELECT walwarden.untrust_authenticator('regress_walwarden_auth')$$);
SELECT refused('op', $$SELECT walwarden.grant_rest('regress_walwarden_nobody', 'regress_walwarden_auth')$$);
SELECT refused('op', $$SELECT walwarden.revoke_rest('regress_walwarden_nobody')$$);
SELECT refused('op', $$SELECT walwarden.grant_runner('regress_walwarden_nobody')$$);
SELECT refused('op', $$SELECT walwarden.revoke_runner('regress_walwarden_nobody')$$);
SELECT refused('op', $$SELECT walwarden.grant_monitor('regress_walwarden_nobody')$$);
SELECT refused('op', $$SELECT walwarden.revoke_monitor('regress_walwarden_nobody')$$);
SELECT refused('super', $$SELECT walwarden.revoke_operator('nosuch')$$);
SELECT refused('super', $$SELECT walwarden.revoke_operator(NULL)$$);
SELECT refused('super', $$SELECT walwarden.grant_monitor(NULL)$$);
SELECT refused('super', $$SELECT walwarden.grant_monitor('regress_walwarden_none')$$);
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
SELECT refused('admin', $$SELECT walwarden.add_role_scopes('member', '{audit:read}')$$);
SELECT refused('op', $$SELECT walwarden.add_role_scopes('king', '{audit:read}')$$);
SELECT refused('op', $$SELECT walwarden.add_role_scopes(NULL, '{audit:read}')$$);
SELECT refused('op', $$SELECT walwarden.add_role_scopes('member', NULL)$$);
SELECT refused('op', $$SELECT walwarden.add_role_scopes('member', '{}')$$);
SELECT refused('op', $$SELECT walwarden.add_role_scopes('member', '{audit:read,NULL}')$$);
SELECT refused('op', $$SELECT walwarden.add_role_scopes('member', '{{audit:read},{evidence:read}}')$$);
SELECT refused('op', $$SELECT walwarden.add_role_scopes('member', '{audit:read,audit:read}')$$);
SELECT refused('op', $$SELECT walwarden.add_role_scopes('member', '{nope:read}')$$);
SELECT refused('op', $$SELECT walwarden.add_role_scopes('member', '{databases:*}')$$);
SELECT refused('admin', $$SELECT walwarden.remove_role_scopes('member', '{evidence:read}')$$);
SELECT refused('op', $$SELECT walwarden.remove_role_scopes('king', '{evidence:read}')$$);
SELECT refused('op', $$SELECT walwarden.remove_role_scopes('member', NULL)$$);
SELECT refused('op', $$SELECT walwarden.remove_role_scopes('member', '{}')$$);
SELECT refused('op', $$SELECT walwarden.remove_role_scopes('member', '{NULL}')$$);
SELECT refused('op', $$SELECT walwarden.remove_role_scopes('member', '{evidence:read,evidence:read}')$$);
SELECT refused('op', $$SELECT walwarden.remove_role_scopes('member', '{nope:read}')$$);

-- issue: who
SELECT refused('nobody', $$SELECT walwarden.issue_token('acme', 'x')$$);
SELECT refused('nobody', $$SELECT walwarden.issue_token('nope', 'x')$$);
SELECT refused('other', $$SELECT walwarden.issue_token('acme', 'x')$$);
SELECT refused('member', $$SELECT walwarden.issue_token('acme', 'x')$$);
SELECT refused('member', $$SELECT walwarden.issue_token('acme', 'x', owner => 'admin@acme.example')$$);
SELECT refused('admin', $$SELECT walwarden.issue_token('acme', 'x', owner => 'member@acme.example')$$);
SELECT refused('op', $$SELECT (walwarden.issue_token('acme', 'x')).*$$);
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
SELECT refused('admin', $$SELECT walwarden.issue_token('acme', 'x', owner => 'admin@acme.example', kind => 'node')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', owner => 'member@acme.example', role => 'deploy')$$);
-- beyond the maximum lifetime
SELECT refused('op', $$SELECT walwarden.set_token_policy('acme', NULL, '30 days'); SELECT walwarden.issue_token('acme', 'x')$$);
SELECT refused('op', $$SELECT walwarden.set_token_policy('acme', NULL, '30 days'); SELECT walwarden.issue_token('acme', 'x', expires_at => 'infinity')$$);
SELECT refused('op', $$SELECT walwarden.set_token_policy('acme', NULL, '30 days'); SELECT walwarden.issue_token('acme', 'x', expires_at => now() + interval '31 days')$$);
SELECT refused('super', $$SET LOCAL walwarden.max_token_lifetime = '90min'; SELECT walwarden.issue_token('acme', 'x', expires_at => now() + interval '2 hours')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', role => 'deploy', kind => 'node')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('poor', 'x')$$);

-- issue: labels, networks, rate limit
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => NULL)$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => 'null')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '["a"]')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '"a"')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => (SELECT jsonb_object_agg('a' || i, 'b') FROM generate_series(1, 17) AS i))$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"a":{"b":"c"}}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"a":["b"]}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"a":1}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"a":null}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"":"b"}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"Customer":"b"}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"1a":"b"}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"a\n":"b"}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => jsonb_build_object('wal_' || repeat('0', 64), 'b'))$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => jsonb_build_object(repeat('a', 64), 'b'))$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"a":""}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"a":"  "}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => jsonb_build_object('a', repeat('x', 201)))$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"a":"b\nc"}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => jsonb_build_object('a', 'see wal_' || repeat('0', 64)))$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"a":"postgres://u:pw@host/db"}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', labels => '{"a":"host=h password=pw"}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', networks => NULL)$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', networks => '{192.0.2.0/24,NULL}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', networks => (SELECT array_agg(set_masklen('192.0.2.0'::cidr + i, 32)::cidr) FROM generate_series(1, 33) AS i))$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', networks => '{192.0.2.0/24,2001:db8::/32,192.0.2.0/24}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', networks => '{::ffff:192.0.2.7}')$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', networks => '{::ffff:0.0.0.0/96}')$$);
-- each is within its limit, and all together are not
SELECT refused('op', $$SELECT count(walwarden.create_scope(rpad('s' || i, 31, 'x') || ':' || repeat('r', 31), 'x', 'y')) FROM generate_series(100, 280) AS i;
                       SELECT walwarden.issue_token('acme', 'x', (SELECT array_agg(name) FROM walwarden.list_scopes()), labels => (SELECT jsonb_object_agg(rpad('a' || i, 63, 'x'), repeat(U&'\+01F600', 200)) FROM generate_series(10, 25) AS i))$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', rate_limit => 0)$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', rate_limit => -1)$$);
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', rate_limit => 1000001)$$);
-- without preload
SELECT refused('op', $$SELECT walwarden.issue_token('acme', 'x', rate_limit => 60)$$);

-- list and revoke
SELECT refused('nobody', $$SELECT * FROM walwarden.list_tokens('acme')$$);
SELECT refused('other', $$SELECT * FROM walwarden.list_tokens('acme')$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_tokens('nope')$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_tokens(NULL)$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_tokens('acme', max_rows => 0)$$);
SELECT refused('op', $$SELECT * FROM walwarden.list_tokens('acme', '00000000-0000-0000-0000-000000000001')$$);
SELECT refused('op', $$SELECT * FROM walwarden.get_token(NULL)$$);
SELECT refused('op', $$SELECT * FROM walwarden.get_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.get_token('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.get_token(<shared>)$$);
SELECT refused('member', $$SELECT * FROM walwarden.get_token(<shared>)$$);
SELECT refused('other', $$SELECT * FROM walwarden.get_token(<shared>)$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.find_tokens(NULL)$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.find_tokens('718c24a5918')$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.find_tokens('wal_718c24a5918d')$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.find_tokens(repeat('0', 65))$$);
SELECT refused('op', $$SELECT walwarden.end_overlap(NULL)$$);
SELECT refused('op', $$SELECT walwarden.end_overlap('00000000-0000-0000-0000-000000000001')$$);
SELECT refused('nobody', $$SELECT walwarden.end_overlap(<shared>)$$);
SELECT refused('member', $$SELECT walwarden.end_overlap(<shared>)$$);
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
SELECT refused('op', $$SELECT walwarden.authenticate(NULL, '192.0.2.0/24')$$);
SELECT refused('op', $$SELECT walwarden.authorize(NULL, 'databases:read', '2001:db8::/32')$$);
-- for which client: the session user decides
GRANT SELECT ON ids TO PUBLIC;
SET SESSION AUTHORIZATION regress_walwarden_nobody;
SELECT refused('super', $$SELECT walwarden.authenticate(NULL, '192.0.2.7')$$);
SELECT refused('super', $$SELECT walwarden.authorize(NULL, 'databases:read', '192.0.2.7')$$);
SELECT refused('super', $$SELECT set_config('request.headers', '{"x-walwarden-token":"wal_","x-walwarden-client":"192.0.2.7"}', true), walwarden.pre_request()$$);
RESET SESSION AUTHORIZATION;
SELECT refused('nobody', $$SELECT walwarden.require_scope('databases:read')$$);
SELECT refused('nobody', $$SELECT walwarden.require_scope(NULL)$$);
SELECT refused('nobody', $$SELECT set_config('request.method', 'GET', true), walwarden.require_scope('databases:read')$$);

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
SELECT refused('super', $$UPDATE walwarden_internal.audit_entry SET kind = 'x.y'$$);
SELECT refused('super', $$DELETE FROM walwarden_internal.audit_entry$$);
SELECT refused('super', $$TRUNCATE walwarden_internal.audit_entry$$);
SELECT refused('super', $$SET LOCAL session_replication_role = replica; DELETE FROM walwarden_internal.audit_entry$$);
SELECT refused('super', $$UPDATE walwarden_internal.scope SET label = 'x'$$);
SELECT refused('super', $$DELETE FROM walwarden_internal.scope$$);
SELECT refused('super', $$TRUNCATE walwarden_internal.scope CASCADE$$);
SELECT refused('super', $$UPDATE walwarden_internal.role SET scopes = NULL$$);
SELECT refused('super', $$INSERT INTO walwarden_internal.role VALUES ('king', NULL, '{}', 'x')$$);
SELECT refused('super', $$UPDATE walwarden_internal.permission SET any_of = '{member}'$$);
SELECT refused('super', $$INSERT INTO walwarden_internal.audit_kind VALUES ('token.found', 'org', 'x')$$);
SELECT refused('super', $$UPDATE walwarden_internal.plan SET api_tokens = true$$);
SELECT refused('super', $$DELETE FROM walwarden_internal.capability$$);
SELECT refused('op', $$SELECT * FROM walwarden_internal.credential$$);
SELECT refused('op', $$SELECT * FROM walwarden_internal.token$$);
SELECT refused('op', $$INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) VALUES (gen_random_uuid(), 'a.b', '{}')$$);
SELECT refused('op', $$SELECT walwarden_internal.issue_token('acme', 'x', '{}', NULL, NULL, NULL, 'api', '{}', '{}', NULL)$$);
SELECT refused('super', $$SELECT walwarden_internal.issue_token('acme', 'x', '{}', NULL, NULL, NULL, 'api', '{}', '{}', NULL)$$);
SELECT refused('super', $$INSERT INTO walwarden_internal.audit_entry (org_id, seq, kind, body) VALUES (gen_random_uuid(), 5, 'a.b', '{}')$$);
SELECT refused('super', $$INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) VALUES (gen_random_uuid(), 'a.b', '[]')$$);
SELECT regexp_replace(refused('super', $$INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) VALUES (gen_random_uuid(), 'a.b', '{"org":"x"}')$$), 'row contains.*', '...');
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
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job('{backup}', '-1 mon 30 days 1 hour')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job('{backup}', connections => '{{d,NULL},{d,d}}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job('{backup}', connections => array_fill('d'::text, ARRAY[1001]))$$);
SELECT refused('runner', $$SELECT as_token('elsewhere'); SELECT * FROM walwarden.claim_job('{backup}')$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.held_jobs()$$);
SELECT refused('runner', $$SELECT * FROM walwarden.held_jobs()$$);
SELECT refused('runner', $$SELECT as_token('api'); SELECT * FROM walwarden.held_jobs()$$);
SELECT refused('runner', $$SELECT as_token('elsewhere'); SELECT * FROM walwarden.held_jobs()$$);
SELECT refused('nobody', $$SELECT walwarden.release_job(JOB, 1)$$);
SELECT refused('runner', $$SELECT walwarden.release_job(JOB, 1)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.release_job('00000000-0000-0000-0000-000000000000', 1)$$);
SELECT refused('runner', $$SELECT as_token('second node'); SELECT walwarden.release_job(JOB, 1)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.release_job(JOB, 1, 'infinity')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.release_job(JOB, 1, now() + interval '25 hours')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.release_job(JOB, 1); SELECT walwarden.heartbeat_job(JOB, 1)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.release_job(JOB, 1); SELECT walwarden.heartbeat_job(JOB, 2)$$);
-- a token without a node does not hold what no node holds
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.release_job(JOB, 1); SELECT as_token('deploy'); SELECT walwarden.heartbeat_job(JOB, 2)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, s) FROM unnest('{running,finalizing}'::text[]) AS s;
    SELECT walwarden.report_job(JOB, 1, 'completed', jsonb_build_object('artifact', jsonb_build_object('name', 'a', 'sizeBytes', 0, 'checksumSha256', repeat('0', 64)))); SELECT walwarden.release_job(JOB, 1)$$);
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
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'failed', '{"error":{"class":"x","message":"x","retryable":true,"blames":"me"}}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'queued')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running', '{"secret":1}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running', jsonb_build_object('artifact', jsonb_build_object('name', 'wal_' || repeat('a', 64), 'sizeBytes', 0, 'checksumSha256', repeat('0', 64))))$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.record_evidence(JOB, 1, NULL)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.record_evidence(JOB, 1, '[]')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.record_evidence(JOB, 1, '{"manifest":{},"integrityVerification":{"result":"not_run","checkedAt":null,"tool":null},"recoverableTo":"2026-11-21T17:00:00Z"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running'); SELECT walwarden.record_evidence(JOB, 1, '{"manifest":{},"integrityVerification":{"result":"passed","checkedAt":null,"tool":null},"recoverableTo":"2026-11-20T17:00:00Z"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running'); SELECT walwarden.record_evidence(JOB, 1, '{"manifest":{},"integrityVerification":{"result":"not_run","checkedAt":null,"tool":null},"recoverableTo":"2026-11-20T17:00:00Z","recoverableFrom":"2026-11-21T17:00:00Z"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running'); SELECT walwarden.record_evidence(JOB, 1, '{"manifest":{},"integrityVerification":{"result":"not_run","checkedAt":null,"tool":null},"recoverableTo":"9999-11-20T17:00:00Z"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_job(JOB, 1, 'running'); SELECT walwarden.record_evidence(JOB, 1, '{"manifest":{},"integrityVerification":{"result":"not_run","checkedAt":null,"tool":null},"recoverableTo":"yesterday"}')$$);
-- who signed it
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node('node-1', '2.4.0', '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='); SELECT finalizing(JOB, '{}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node('node-1', '2.4.0', '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='); SELECT finalizing(JOB, jsonb_build_object('signature', repeat('A', 86) || '=='))$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node('node-1', '2.4.0', '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo='); SELECT finalizing(JOB, '{"node":"node-2"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT finalizing(JOB, '{"signature":"x"}')$$);
-- what it is about
SELECT refused('runner', $$SELECT as_token('node'); SELECT finalizing(JOB, '{"engine":{"method":"pg_dump"}}', '{"recoverableFrom":"2026-11-19T17:00:00Z"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT finalizing(JOB, '{"fence":2}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT finalizing(JOB, NULL); SELECT walwarden.report_job(JOB, 1, 'completed', artifact())$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT finalizing(JOB, '{}'); SELECT walwarden.report_job(JOB, 1, 'completed', artifact())$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT finalizing(JOB, artifact()); SELECT walwarden.report_job(JOB, 1, 'completed', artifact()); SELECT walwarden.record_evidence(JOB, 1, evidence('{}'))$$);
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
SELECT refused('op', $$SELECT walwarden.set_token_policy('acme', NULL, '30 days'); SELECT walwarden.enable_token(<disabled>)$$);
SELECT refused('op', $$SELECT walwarden.set_token_policy('acme', NULL, '30 days'); SELECT walwarden.enable_token(<disabled>, now() + interval '31 days')$$);
SELECT refused('op', $$SELECT walwarden.set_token_policy('acme', NULL, '30 days'); SELECT walwarden.update_token(<shared>, expires_at => now() + interval '31 days')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, expires_at => now() + interval '1 day'); SELECT walwarden.set_token_policy('acme', NULL, '30 days'); SELECT walwarden.update_token(<shared>, expires_at => now() + interval '31 days')$$);
SELECT refused('op', $$SELECT walwarden.set_token_policy('acme', NULL, '30 days'); SELECT walwarden.renew_token(<shared>)$$);
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
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, labels => '{"A":"b"}')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, labels => 'null')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, networks => '{NULL}')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, networks => '{10.0.0.0/8,10.0.0.0/8}')$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, rate_limit => -1)$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, rate_limit => 1000001)$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shared>, rate_limit => 60)$$);
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
\echo == renaming and closing an organisation
SELECT refused('nobody', $$SELECT walwarden.rename_org('acme', 'mine')$$);
SELECT refused('nobody', $$SELECT walwarden.rename_org('nope', 'mine')$$);
SELECT refused('admin', $$SELECT walwarden.rename_org('acme', 'mine')$$);
SELECT refused('op', $$SELECT walwarden.rename_org('nope', 'mine')$$);
SELECT refused('op', $$SELECT walwarden.rename_org(NULL, 'mine')$$);
SELECT refused('op', $$SELECT walwarden.rename_org('acme', NULL)$$);
SELECT refused('op', $$SELECT walwarden.rename_org('acme', 'Acme')$$);
SELECT refused('op', $$SELECT walwarden.rename_org('acme', '_system')$$);
SELECT refused('op', $$SELECT walwarden.rename_org('acme', 'acme', '')$$);
SELECT refused('op', $$SELECT walwarden.rename_org('acme', 'acme', E'two\nlines')$$);
SELECT refused('op', $$SELECT walwarden.rename_org('acme', 'other')$$);
SELECT refused('op', $$SELECT walwarden.rename_org('acme', 'before')$$);
SELECT refused('op', $$SELECT walwarden.rename_org('acme', 'shut')$$);
SELECT refused('op', $$SELECT walwarden.create_org('before')$$);
SELECT refused('op', $$SELECT walwarden.create_org('shut')$$);
SELECT refused('op', $$SELECT walwarden.set_plan('before', 'free')$$);
SELECT refused('super', $$UPDATE walwarden_internal.org_slug SET slug = 'x'$$);
SELECT refused('super', $$DELETE FROM walwarden_internal.org_slug$$);
SELECT refused('super', $$TRUNCATE walwarden_internal.org_slug$$);
SELECT refused('nobody', $$SELECT walwarden.close_org('acme')$$);
SELECT refused('nobody', $$SELECT walwarden.close_org('nope')$$);
SELECT refused('admin', $$SELECT walwarden.close_org('acme')$$);
SELECT refused('op', $$SELECT walwarden.close_org('nope')$$);
SELECT refused('op', $$SELECT walwarden.close_org('acme', '')$$);
SELECT refused('op', $$SELECT walwarden.close_org('acme', repeat('x', 501))$$);
-- a closed one: the right comes first, then the state
SELECT refused('nobody', $$SELECT walwarden.add_member('shut', 'x@shut.example')$$);
SELECT refused('op', $$SELECT walwarden.rename_org('shut', 'reopened')$$);
SELECT refused('op', $$SELECT walwarden.set_plan('shut', 'free')$$);
SELECT refused('op', $$SELECT walwarden.set_org_retention('shut', '1 day')$$);
SELECT refused('op', $$SELECT walwarden.add_member('shut', 'x@shut.example')$$);
SELECT refused('admin', $$SELECT walwarden.add_member('shut', 'x@shut.example')$$);
SELECT refused('op', $$SELECT walwarden.set_member_role('shut', 'admin@acme.example', 'owner')$$);
SELECT refused('op', $$SELECT walwarden.set_member_subject('shut', 'admin@acme.example', 'x@shut.example')$$);
SELECT refused('op', $$SELECT walwarden.set_member_db_role('shut', 'admin@acme.example', NULL)$$);
SELECT refused('op', $$SELECT walwarden.disable_member('shut', 'admin@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.enable_member('shut', 'admin@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.remove_member('shut', 'admin@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.set_member_sso('shut', 'admin@acme.example', true)$$);
SELECT refused('op', $$SELECT walwarden.issue_token('shut', 'x')$$);
SELECT refused('admin', $$SELECT walwarden.issue_token('shut', 'x')$$);
SELECT refused('op', $$SELECT walwarden.import_legacy_credential('shut', 'admin@acme.example', gen_random_uuid(), repeat('x', 32))$$);
SELECT refused('op', $$SELECT walwarden.disable_token(<shut>)$$);
SELECT refused('op', $$SELECT walwarden.enable_token(<shut>)$$);
SELECT refused('op', $$SELECT walwarden.update_token(<shut>, 'new')$$);
SELECT refused('op', $$SELECT walwarden.renew_token(<shut>)$$);
SELECT refused('op', $$SELECT walwarden.end_overlap(<shut>)$$);
SELECT refused('op', $$SELECT walwarden.revoke_token(<shut>)$$);
SELECT refused('op', $$SELECT walwarden.append_audit('app.x', '{}', NULL, 'shut')$$);
SELECT refused('admin', $$SELECT walwarden.erase_member('shut', 'boss@shut.example')$$);
-- a token or node that has authenticated before, and the end comes in between
SELECT refused('super', $$SELECT as_token('node'); SELECT closing('acme'); SET LOCAL ROLE regress_walwarden_runner; SELECT walwarden.register_node('node-1', '3')$$);
SELECT refused('super', $$SELECT as_token('node'); SELECT closing('acme'); SET LOCAL ROLE regress_walwarden_runner; SELECT walwarden.heartbeat_job(JOB, 1)$$);
SELECT refused('super', $$SELECT walwarden.grant_rest('regress_walwarden_nobody', 'regress_walwarden_auth'); SELECT as_token('api'); SELECT closing('acme'); SET LOCAL ROLE regress_walwarden_nobody; SELECT walwarden.append_audit('app.x', '{}')$$);
SELECT refused('super', $$SELECT closing('acme'); SELECT as_token('api')$$);

\echo
\echo == another subject, another server role
SELECT refused('nobody', $$SELECT walwarden.set_member_subject('acme', 'member@acme.example', 'x@acme.example')$$);
SELECT refused('nobody', $$SELECT walwarden.set_member_subject('nope', 'member@acme.example', 'x@acme.example')$$);
SELECT refused('member', $$SELECT walwarden.set_member_subject('acme', 'member@acme.example', 'x@acme.example')$$);
SELECT refused('other', $$SELECT walwarden.set_member_subject('acme', 'member@acme.example', 'x@acme.example')$$);
SELECT refused('admin', $$SELECT walwarden.set_member_subject('acme', 'root@acme.example', 'x@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.set_member_subject('nope', 'member@acme.example', 'x@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.set_member_subject('acme', 'none@acme.example', 'x@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.set_member_subject('acme', 'removed@acme.example', 'x@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.set_member_subject('acme', NULL, 'x@acme.example')$$);
SELECT refused('op', $$SELECT walwarden.set_member_subject('acme', 'member@acme.example', NULL)$$);
SELECT refused('op', $$SELECT walwarden.set_member_subject('acme', 'member@acme.example', '')$$);
SELECT refused('op', $$SELECT walwarden.set_member_subject('acme', 'member@acme.example', repeat('x', 256))$$);
SELECT refused('op', $$SELECT walwarden.set_member_subject('acme', 'member@acme.example', E'x\u0007y')$$);
SELECT refused('op', $$SELECT walwarden.set_member_subject('acme', 'member@acme.example', 'admin@acme.example')$$);
SELECT refused('nobody', $$SELECT walwarden.set_member_db_role('acme', 'member@acme.example', NULL)$$);
SELECT refused('member', $$SELECT walwarden.set_member_db_role('acme', 'member@acme.example', NULL)$$);
SELECT refused('other', $$SELECT walwarden.set_member_db_role('acme', 'member@acme.example', NULL)$$);
SELECT refused('admin', $$SELECT walwarden.set_member_db_role('acme', 'root@acme.example', 'regress_walwarden_nobody')$$);
SELECT refused('admin', $$SELECT walwarden.set_member_db_role('acme', 'member@acme.example', 'regress_walwarden_op')$$);
SELECT refused('admin', $$SELECT walwarden.set_member_db_role('acme', 'member@acme.example', 'regress_walwarden_runner')$$);
SELECT refused('admin', $$SELECT walwarden.set_member_db_role('acme', 'member@acme.example', 'regress_walwarden_again')$$);
SELECT refused('op', $$SELECT walwarden.set_member_db_role('nope', 'member@acme.example', NULL)$$);
SELECT refused('op', $$SELECT walwarden.set_member_db_role('acme', 'none@acme.example', NULL)$$);
SELECT refused('op', $$SELECT walwarden.set_member_db_role('acme', 'member@acme.example', 'regress_walwarden_none')$$);
SELECT refused('op', $$SELECT walwarden.set_member_db_role('acme', 'member@acme.example', 'regress_walwarden_super')$$);
SELECT refused('op', $$SELECT walwarden.set_member_db_role('acme', 'member@acme.example', 'regress_walwarden_auth')$$);
SELECT refused('op', $$SELECT walwarden.set_member_db_role('acme', 'member@acme.example', 'regress_walwarden_admin')$$);
SELECT refused('op', $$SELECT walwarden.set_member_db_role('other', 'again@other.example', 'regress_walwarden_weblogin')$$);
SELECT refused('op', $$SELECT walwarden.erase_member('poor', 'boss@poor.example')$$);

\echo
\echo == a role that is not the one that was named
SELECT refused('again', $$SELECT walwarden.create_org('mine')$$);
SELECT refused('again', $$SELECT as_token('node'); SELECT * FROM walwarden.claim_job('{backup}')$$);
SELECT refused('again', $$SELECT as_token('node'); SELECT * FROM walwarden.list_nodes('acme')$$);
SELECT refused('again', $$SELECT as_token('api'); SELECT walwarden.append_audit('app.x', '{}')$$);
SELECT refused('again', $$SELECT walwarden_rest.v1_get()$$);
SELECT refused('weblogin', $$SELECT * FROM walwarden.list_tokens('other')$$);
SELECT refused('super', $$SELECT walwarden.grant_operator('regress_walwarden_again')$$);
SELECT refused('super', $$SELECT walwarden.grant_runner('regress_walwarden_again')$$);
SELECT refused('super', $$SELECT walwarden.grant_rest('regress_walwarden_again', 'regress_walwarden_weblogin')$$);
SELECT refused('super', $$SELECT walwarden.grant_rest('regress_walwarden_again', 'regress_walwarden_auth')$$);
SELECT refused('nobody', $$SELECT walwarden.confirm_server_role('regress_walwarden_again')$$);
SELECT refused('op', $$SELECT walwarden.confirm_server_role('regress_walwarden_again')$$);
SELECT refused('super', $$SELECT walwarden.confirm_server_role(NULL)$$);
SELECT refused('super', $$SELECT walwarden.confirm_server_role('regress_walwarden_none')$$);

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
\echo == searching the chains
SELECT refused('nobody', $$SELECT * FROM walwarden.search_audit()$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.search_audit('acme')$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.search_audit('nope')$$);
SELECT refused('member', $$SELECT * FROM walwarden.search_audit('acme')$$);
SELECT refused('admin', $$SELECT * FROM walwarden.search_audit()$$);
SELECT refused('admin', $$SELECT * FROM walwarden.search_audit('other')$$);
SELECT refused('admin', $$SELECT * FROM walwarden.search_audit('_system')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('nope')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', '')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', 'token')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', 'token.reissued')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', 'toke.')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', 'token.%')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', 'app..')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', '.')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', actor => '')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', actor => E'a\nb')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', actor => repeat('x', 501))$$);
SELECT refused('op', $$SELECT s.* FROM tokens AS t, walwarden.search_audit('acme', actor => t.token) AS s WHERE t.name = 'deploy'$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', object => '')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', object => 'token')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', object => 'token:')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', object => ':x')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', object => 'Token:x')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', object => 'token:' || repeat('x', 200))$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', since => '2026-01-02Z', until => '2026-01-02Z')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', since => 'infinity', until => '-infinity')$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', max_rows => 0)$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', max_rows => 1001)$$);
SELECT refused('op', $$SELECT * FROM walwarden.search_audit('acme', max_rows => NULL)$$);

\echo
\echo == reports of leaked tokens
SELECT refused('nobody', $$SELECT walwarden.report_leaked_token('wal_x', '')$$);
SELECT refused('nobody', $$SELECT walwarden.report_leaked_token(NULL, '   ')$$);
SELECT refused('nobody', $$SELECT walwarden.report_leaked_token('wal_x', E'a\nb')$$);
SELECT refused('nobody', $$SELECT walwarden.report_leaked_token('wal_x', repeat('x', 401))$$);
SELECT refused('nobody', $$SELECT walwarden.report_leaked_token(t.token, 'found ' || t.token) FROM tokens AS t WHERE t.name = 'deploy'$$);
SELECT refused('nobody', $$SELECT walwarden.report_leaked_token('wal_x', 'postgres://ann:pw@h/d')$$);
SELECT refused('nobody', $$SELECT walwarden.report_leaked_token('5f2b8a9c-0e4d-4c3a-9b1f-000000000001:' || repeat('s', 32), 'seen ' || repeat('s', 32))$$);
BEGIN READ ONLY;
SELECT walwarden.report_leaked_token('wal_x');
ROLLBACK;

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
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node('node-2', '1')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node('node-3', '1')$$);
SELECT refused('runner', $$SELECT as_token('deploy'); SELECT walwarden.register_node('node-1', '1')$$);
SELECT refused('runner', $$SELECT as_token('deploy'); SELECT walwarden.register_node('node-1', NULL)$$);
SELECT refused('runner', $$SELECT as_token('deploy'); SELECT walwarden.register_node('node-1', '')$$);
SELECT refused('runner', $$SELECT as_token('deploy'); SELECT walwarden.register_node('node-1', repeat('x', 101))$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node('node-1', '2.4.0', 'key')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.register_node('node 1', '2.4.0', '11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=')$$);
-- checkpoints
SELECT refused('nobody', $$SELECT * FROM walwarden.chain_hashes(0, 1)$$);
SELECT refused('super', $$SELECT * FROM walwarden.chain_hashes(0, 1)$$);
SELECT refused('runner', $$SELECT * FROM walwarden.chain_hashes(0, 1)$$);
SELECT refused('runner', $$SELECT as_token('api'); SELECT * FROM walwarden.chain_hashes(0, 1)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.chain_hashes(-1, 1)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.chain_hashes(NULL, 1)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.chain_hashes(0, 0)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.chain_hashes(0, NULL)$$);
SELECT refused('nobody', $$SELECT walwarden.publish_checkpoint('x')$$);
SELECT refused('super', $$SELECT walwarden.publish_checkpoint('x')$$);
SELECT refused('runner', $$SELECT walwarden.publish_checkpoint('x')$$);
SELECT refused('runner', $$SELECT as_token('api'); SELECT walwarden.publish_checkpoint('x')$$);
SELECT refused('runner', $$SELECT as_token('second node'); SELECT walwarden.publish_checkpoint('x')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.publish_checkpoint('x')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT with_key(); SELECT walwarden.publish_checkpoint('x')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT with_key(); SELECT walwarden.publish_checkpoint(note(gen_random_uuid(), 'node-1'))$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT with_key(); SELECT walwarden.publish_checkpoint(note(walwarden.current_org_id(), 'node-2'))$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT with_key(); SELECT walwarden.publish_checkpoint(note(walwarden.current_org_id(), 'node-1'))$$);
SELECT refused('super', $$SELECT believing('node'); SELECT walwarden.publish_checkpoint('3 a'), walwarden.publish_checkpoint('2 a')$$);
SELECT refused('super', $$SELECT believing('node'); SELECT walwarden.publish_checkpoint('3 a'), walwarden.publish_checkpoint('3 b')$$);
SELECT refused('super', $$SELECT believing('node'); SELECT walwarden.publish_checkpoint('1000000 a')$$);
SELECT refused('super', $$SELECT believing('node'); RESET ROLE; SELECT closing('acme'); SET LOCAL ROLE regress_walwarden_runner; SELECT walwarden.publish_checkpoint('3 a')$$);
SELECT refused('super', $$SELECT without_openssl('node'); SELECT walwarden.publish_checkpoint('x')$$);
-- alarms
SELECT refused('nobody', $$SELECT walwarden.report_alarm(1, repeat('a', 64), NULL)$$);
SELECT refused('super', $$SELECT walwarden.report_alarm(1, repeat('a', 64), NULL)$$);
SELECT refused('runner', $$SELECT walwarden.report_alarm(1, repeat('a', 64), NULL)$$);
SELECT refused('runner', $$SELECT as_token('api'); SELECT walwarden.report_alarm(1, repeat('a', 64), NULL)$$);
SELECT refused('runner', $$SELECT as_token('elsewhere'); SELECT walwarden.report_alarm(1, repeat('a', 64), NULL)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_alarm(NULL, repeat('a', 64), NULL)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_alarm(0, repeat('a', 64), NULL)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_alarm(9007199254740992, repeat('a', 64), NULL)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_alarm(1, NULL, repeat('a', 64))$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_alarm(1, repeat('A', 64), NULL)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_alarm(1, repeat('a', 64), repeat('b', 63))$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_alarm(1, repeat('a', 64), repeat('a', 64))$$);
SELECT refused('super', $$SELECT as_token('node'); SELECT closing('acme'); SET LOCAL ROLE regress_walwarden_runner; SELECT walwarden.report_alarm(1, repeat('a', 64), NULL)$$);
SELECT refused('nobody', $$SELECT walwarden.accept_history('acme', 'node-1', 'restored')$$);
SELECT refused('admin', $$SELECT walwarden.accept_history('acme', 'node-1', 'restored')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.accept_history('acme', 'node-1', 'restored')$$);
SELECT refused('op', $$SELECT walwarden.accept_history('nope', 'node-1', 'restored')$$);
SELECT refused('op', $$SELECT walwarden.accept_history('acme', 'nope', 'restored')$$);
SELECT refused('op', $$SELECT walwarden.accept_history('acme', NULL, 'restored')$$);
SELECT refused('op', $$SELECT walwarden.accept_history('acme', 'node-1', NULL)$$);
SELECT refused('op', $$SELECT walwarden.accept_history('acme', 'node-1', '')$$);
SELECT refused('op', $$SELECT walwarden.accept_history('acme', 'node-1', repeat('x', 501))$$);
SELECT refused('op', $$SELECT walwarden.accept_history('acme', 'node-1', 'restored')$$);
SELECT refused('super', $$SELECT closing('acme'); SELECT walwarden.accept_history('acme', 'node-1', 'restored')$$);
SELECT refused('super', $$SELECT without_openssl('node'); SELECT with_key()$$);
SELECT refused('super', $$SELECT believing('node'); RESET ROLE; SELECT without_openssl('node'); SELECT finalizing(JOB, '{}')$$);
-- destinations
SELECT refused('nobody', $$SELECT walwarden.report_destination(DESTINATION, true)$$);
SELECT refused('runner', $$SELECT walwarden.report_destination(DESTINATION, true)$$);
SELECT refused('runner', $$SELECT as_token('api'); SELECT walwarden.report_destination(DESTINATION, true)$$);
SELECT refused('runner', $$SELECT as_token('elsewhere'); SELECT walwarden.report_destination(DESTINATION, true)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_destination(NULL, true)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_destination(DESTINATION, NULL)$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_destination(DESTINATION, false, '[]')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_destination(DESTINATION, false, '{"reason":"x"}')$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.report_destination(DESTINATION, false, jsonb_build_object('message', repeat('x', 20000)))$$);
SELECT refused('super', $$SELECT as_token('node'); SELECT closing('acme'); SET LOCAL ROLE regress_walwarden_runner; SELECT walwarden.report_destination(DESTINATION, true)$$);
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
SELECT refused('nobody', $$SELECT walwarden.sign_in_link('x')$$);
SELECT refused('admin', $$SELECT walwarden.sign_in_link('x')$$);
SELECT refused('op', $$SELECT walwarden.sign_in_link('nobody')$$);
SELECT refused('op', $$SELECT walwarden.sign_in_link(NULL)$$);
SELECT refused('op', $$SELECT walwarden.sign_in_link('')$$);
SELECT refused('nobody', $$SELECT walwarden.run_maintenance()$$);
SELECT refused('member', $$SELECT walwarden.run_maintenance()$$);
SELECT refused('admin', $$SELECT walwarden.run_maintenance()$$);
SELECT refused('other', $$SELECT walwarden.run_maintenance()$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT walwarden.run_maintenance()$$);
SELECT refused('nobody', $$SELECT * FROM walwarden.close_copy()$$);
SELECT refused('admin', $$SELECT * FROM walwarden.close_copy()$$);
SELECT refused('runner', $$SELECT as_token('node'); SELECT * FROM walwarden.close_copy()$$);
SELECT refused('op', $$SELECT * FROM walwarden.close_copy()$$);
SELECT refused('super', $$SELECT * FROM walwarden.close_copy('')$$);
SELECT refused('super', $$SELECT * FROM walwarden.close_copy(repeat('x', 501))$$);
SELECT refused('super', $$SELECT * FROM walwarden.close_copy('wal_' || repeat('0', 64))$$);

\echo
\echo == the entry points of REST v1, and requests made up in SQL
SELECT refused('nobody', $$SELECT walwarden_rest.v1_get()$$);
SELECT refused('op', $$SELECT walwarden_rest.v1_post('')$$);
SELECT refused('op', $$SELECT walwarden_rest.v1_page()$$);
SELECT refused('nobody', $$SELECT set_config('request.headers', 'no JSON', true); SELECT walwarden.pre_request()$$);
SELECT refused('nobody', $$SELECT set_config('request.headers', repeat('x', 131073), true); SELECT walwarden.pre_request()$$);
SELECT refused('nobody', $$SELECT set_config('request.headers', '{"x-walwarden-token":"wal_x"}', true); SELECT walwarden.pre_request()$$);
SELECT refused('nobody', $$SELECT set_config('request.headers', '{"x-wallarmapi-uuid":"x"}', true); SELECT walwarden.pre_request()$$);
SELECT refused('super', $$UPDATE walwarden_internal.rest_operation SET required_scope = NULL$$);
SELECT refused('super', $$DELETE FROM walwarden_internal.json_schema$$);
SELECT refused('super', $$UPDATE walwarden_internal.rest_error SET code = 'x'$$);
SELECT refused('super', $$UPDATE walwarden_internal.rest_reason SET status = 400$$);
SELECT refused('super', $$UPDATE walwarden_internal.rest_description SET description = 'x'$$);
SELECT refused('super', $$INSERT INTO walwarden_internal.job_transition VALUES ('backup', 'completed', 'queued', 'api', 'a.b')$$);
SELECT refused('super', $$TRUNCATE walwarden_internal.job_state CASCADE$$);

-- schedules
SELECT refused('nobody', $$SELECT walwarden.cron_next('5/10 * * * *')$$);
SELECT refused('nobody', $$SELECT walwarden.cron_next('0 0 30 2 *')$$);
SELECT refused('nobody', $$SELECT walwarden.cron_next('* * * * *', 'infinity')$$);
SELECT refused('nobody', $$SELECT walwarden.cron_next('0 0 1 1 *', '294276-06-01')$$);

-- nothing of all that left anything behind
SELECT NOT EXISTS ((TABLE before EXCEPT ALL SELECT * FROM everything()) UNION ALL (SELECT * FROM everything() EXCEPT ALL TABLE before)) AS nothing_left;

\set ECHO none
SELECT walwarden.revoke_operator('regress_walwarden_op') AND walwarden.untrust_authenticator('regress_walwarden_auth')
\g /dev/null
DROP EXTENSION walwarden CASCADE;
DROP ROLE regress_walwarden_runner, regress_walwarden_op, regress_walwarden_admin, regress_walwarden_member, regress_walwarden_dev,
    regress_walwarden_again, regress_walwarden_formerly, regress_walwarden_weblogin, regress_walwarden_oldlogin,
    regress_walwarden_other, regress_walwarden_nobody, regress_walwarden_auth, regress_walwarden_super;

-- another encoding
CREATE DATABASE regress_walwarden_latin1 ENCODING 'LATIN1' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\set dbname :DBNAME
\c regress_walwarden_latin1
\set SHOW_CONTEXT never
\set ECHO queries
CREATE EXTENSION walwarden CASCADE;
\echo :LAST_ERROR_SQLSTATE
\set ECHO none
\c :dbname
DROP DATABASE regress_walwarden_latin1;
