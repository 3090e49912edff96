-- Renaming and closing an organisation; another subject and another server role
-- for a member. What refuses, role by role and call by call, is in sql/errors.sql too.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();
CREATE TEMP VIEW verdict AS
SELECT 'C' AS verifier, v.org, v.entries, v.ok, v.reason FROM walwarden.verify_audit_chain() AS v
UNION ALL SELECT 'SQL', v.org, v.entries, v.ok, v.reason FROM walwarden.verify_audit_chain_sql(NULL) AS v;
CREATE FUNCTION pg_temp.opens(token text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN CASE WHEN walwarden.authenticate(token) IS NOT NULL THEN walwarden.current_org() END;
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
CREATE FUNCTION pg_temp.last_entry(org text) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('kind', e.kind) || (e.body::jsonb -> 'payload') FROM walwarden.list_audit(org, 0, 1000) AS e ORDER BY e.seq DESC LIMIT 1
$$;
CREATE ROLE te_op;
CREATE ROLE te_member;
CREATE ROLE te_another;
SELECT walwarden.grant_operator('te_op') \g /dev/null

-- Renaming.
SELECT walwarden.create_org('blue', 'Blue Ltd') AS blue, walwarden.create_org('red') AS red \gset
SELECT walwarden.add_member('blue', 'anna', 'owner'), walwarden.add_member('blue', 'bert', 'member', 'te_member') \g /dev/null
SELECT token_id, token FROM walwarden.issue_token('blue', 'ci', '{databases:read}') \gset
SELECT is(pg_temp.opens(:'token'), 'blue', 'the slug is what it was made with');
SET LOCAL ROLE te_op;
SELECT ok(walwarden.rename_org('blue', 'green'), 'an operator renames it');
RESET ROLE;
SELECT is(pg_temp.last_entry('green') - '{actor,org,seq,object}'::text[],
    jsonb_build_object('kind', 'org.renamed',
                       'before', walwarden_internal.org_image(o, '{green}') || '{"slug":"blue"}',
                       'after', walwarden_internal.org_image(o, '{blue}') || '{"slug":"green","formerSlugs":["blue"]}') , 'its entry')
  FROM walwarden_internal.org AS o WHERE id = :'blue';
SELECT is(pg_temp.last_entry('green') #>> '{actor,role}', 'te_op', 'by whom');
SELECT is(pg_temp.opens(:'token'), 'green', 'its token goes on, under the new slug');
SELECT is(walwarden.introspect_token(:'token') ->> 'org', 'green', 'which introspection shows');
SELECT set_config('request.headers', json_build_object('x-walwarden-token', :'token', 'x-walwarden-method', 'GET', 'x-walwarden-path', '/api/v1/profile')::text, true) \g /dev/null
SELECT is(walwarden_rest.v1_get() #>> '{org,slug}', 'green', 'and REST v1');
SELECT results_eq($$SELECT slug COLLATE "default", display_name, closed_at FROM walwarden.list_orgs() WHERE slug IN ('blue', 'green')$$, $$VALUES ('green', 'Blue Ltd', NULL::timestamptz)$$, 'the list has the new slug alone');
SELECT is(count(*), 1::bigint, 'what names it by slug finds it') FROM walwarden.list_tokens('green');
SELECT throws_ok($$SELECT * FROM walwarden.list_tokens('blue')$$, '42704', NULL, 'the former slug does not');
SELECT results_eq($$SELECT DISTINCT org FROM verdict WHERE org IN ('blue', 'green')$$, $$VALUES ('green')$$, 'the chain has the new name');
SELECT is_empty('SELECT * FROM verdict WHERE NOT ok', 'and verifies');
SELECT throws_ok($$SELECT walwarden.create_org('blue')$$, '23505', NULL, 'a former slug is not for a new organisation');
SELECT throws_ok($$SELECT walwarden.rename_org('red', 'blue')$$, '23505', NULL, 'nor for another');
SELECT throws_ok($$SELECT walwarden.rename_org('red', 'green')$$, '23505', NULL, 'nor is a present one');
SELECT ok(NOT walwarden.rename_org('green', 'green'), 'to its own slug nothing changes');
SELECT ok(NOT walwarden.rename_org('green', 'green', 'Blue Ltd'), 'nor to its own display name');
SELECT ok(walwarden.rename_org('green', 'green', 'Green Ltd'), 'another display name alone');
SELECT is(display_name, 'Green Ltd', 'is there') FROM walwarden.list_orgs() WHERE slug = 'green';
SELECT ok(walwarden.rename_org('green', 'blue'), 'it may have its own former slug again');
SELECT is(pg_temp.last_entry('blue') #> '{after,formerSlugs}', '["green"]', 'and keeps the other');
SELECT is(pg_temp.last_entry('blue') #>> '{after,displayName}', 'Green Ltd', 'NULL keeps the display name');
SELECT throws_ok($$SELECT walwarden.create_org('green')$$, '23505', NULL, 'for good');
SELECT ok(walwarden.set_org_retention('blue', '1 day'), 'another change');
SELECT is(pg_temp.last_entry('blue') #> '{after,formerSlugs}', '["green"]', 'says so too');
SELECT ok(walwarden.rename_org('blue', repeat('a', 63)), 'a slug of 63 characters');
SELECT ok(walwarden.rename_org(repeat('a', 63), 'blue'), 'and back');
SELECT is_empty('SELECT * FROM verdict WHERE NOT ok', 'all of it verifies');

-- What verification finds of slugs.
CREATE FUNCTION pg_temp.found(deed text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    findings text;
BEGIN
    ALTER TABLE walwarden_internal.org_slug DISABLE TRIGGER refuse_change;
    EXECUTE deed;
    ALTER TABLE walwarden_internal.org_slug ENABLE ALWAYS TRIGGER refuse_change;
    findings := (SELECT string_agg(DISTINCT v.org || ': ' || v.reason, ', ' ORDER BY v.org || ': ' || v.reason) FROM verdict AS v WHERE NOT ok);
    RAISE SQLSTATE 'WW000' USING MESSAGE = coalesce(regexp_replace(findings, '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>', 'g'), 'nothing');
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN SQLERRM;
END
$$;
SELECT audit_seq AS blue_seq FROM walwarden_internal.org WHERE slug = 'blue' \gset
SELECT is(pg_temp.found(deed), wanted, deed)
  FROM (VALUES ('SELECT', 'nothing'),
               ($$DELETE FROM walwarden_internal.org_slug WHERE slug = 'green'$$, format('blue: org <id> differs from entry %s', :blue_seq)),
               ($$DELETE FROM walwarden_internal.org_slug WHERE slug = 'blue'$$, format('blue: org <id> differs from entry %s', :blue_seq)),
               ($$UPDATE walwarden_internal.org_slug SET slug = 'grey' WHERE slug = 'green'$$, format('blue: org <id> differs from entry %s', :blue_seq)),
               ($$INSERT INTO walwarden_internal.org_slug SELECT 'planted', id FROM walwarden_internal.org WHERE slug = 'red'$$, 'red: org <id> differs from entry 1'),
               ($$UPDATE walwarden_internal.org SET slug = 'green' WHERE slug = 'blue'$$, format('green: org <id> differs from entry %s', :blue_seq)),
               ($$UPDATE walwarden_internal.org SET closed_at = now() WHERE slug = 'red'$$, 'red: org <id> differs from entry 1')) AS v(deed, wanted);

-- Another subject.
SELECT id AS bert, person AS person, salt AS salt, created_at AS since FROM walwarden_internal.member WHERE subject = 'bert' AND org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'blue') \gset
SELECT walwarden.add_member('blue', 'gone') AS gone, walwarden.remove_member('blue', 'gone') \gset
SET LOCAL ROLE te_member;
SELECT token_id AS own, token AS own_token FROM walwarden.issue_token('blue', 'own', owner => 'bert') \gset
SELECT walwarden.revoke_token(token_id) FROM walwarden.issue_token('blue', 'ended', owner => 'bert') \g /dev/null
RESET ROLE;
SELECT ok(NOT walwarden.set_member_subject('blue', 'bert', 'bert'), 'the same subject is no change');
SELECT ok(walwarden.set_member_subject('blue', 'bert', 'robert'), 'another subject');
SELECT is(pg_temp.last_entry('blue') ->> 'kind', 'member.subject_changed', 'its entry');
SELECT is(pg_temp.last_entry('blue') #>> '{object,id}', :'bert', 'of that member');
SELECT is(pg_temp.last_entry('blue') #>> '{before,person}', :'person', 'with the former commitment');
SELECT is(m.id::text || m.created_at, :'bert' || :'since'::timestamptz, 'the member is the same') FROM walwarden_internal.member AS m WHERE subject = 'robert';
SELECT ok(m.salt <> :'salt' AND m.person <> :'person', 'with a new salt and commitment') FROM walwarden_internal.member AS m WHERE subject = 'robert';
SELECT is(pg_temp.last_entry('blue') #>> '{after,person}', encode(digest('walwarden/person/v1:' || encode(m.salt, 'hex') || ':robert', 'sha256'), 'hex'), 'of the new subject')
  FROM walwarden_internal.member AS m WHERE subject = 'robert';
SELECT is(pg_temp.last_entry('blue') #>> '{after,dbRole}', encode(digest('walwarden/dbrole/v1:' || encode(m.salt, 'hex') || ':te_member', 'sha256'), 'hex'), 'and of the role')
  FROM walwarden_internal.member AS m WHERE subject = 'robert';
SELECT is_empty($$SELECT FROM walwarden_internal.audit_entry WHERE body ~ 'bert'$$, 'no entry holds a subject');
SELECT results_eq($$SELECT name, owner, created_by, revoked_by FROM walwarden.token_list WHERE name IN ('own', 'ended') ORDER BY name$$,
    $$VALUES ('ended', 'robert', 'robert', 'robert'), ('own', 'robert', 'robert', NULL)$$, 'listings show the new subject');
SELECT is(walwarden.authenticate(:'own_token'), :'own'::uuid, 'the token opens');
SELECT is(walwarden.current_subject(), 'robert', 'for the new subject');
SET LOCAL ROLE te_member;
SELECT is(count(*), 2::bigint, 'the role still acts as the member') FROM walwarden.list_tokens('blue');
RESET ROLE;
SELECT throws_ok($$SELECT walwarden.set_member_role('blue', 'bert', 'analyst')$$, '42704', NULL, 'the former subject is nobody');
SELECT throws_ok($$SELECT walwarden.set_member_subject('blue', 'robert', 'anna')$$, '23505', NULL, 'not the subject of another member');
SELECT ok(walwarden.set_member_subject('blue', 'robert', 'gone'), 'that of a removed one is free');
SELECT ok(walwarden.set_member_subject('blue', 'gone', 'bert'), 'and the former one again');
SELECT ok(m.salt <> :'salt' AND m.person <> :'person', 'with a salt that is new once more') FROM walwarden_internal.member AS m WHERE id = :'bert';
SELECT is_empty('SELECT * FROM verdict WHERE NOT ok', 'all of it verifies');

-- Another server role.
CREATE FUNCTION pg_temp.acts(role text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    org text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    org := (SELECT slug FROM walwarden.list_orgs());
    RESET ROLE;
    RETURN org IS NOT NULL;
END
$$;
SELECT ok(NOT walwarden.set_member_db_role('blue', 'bert', 'te_member'), 'the same role is no change');
SELECT ok(walwarden.set_member_db_role('blue', 'bert', 'te_another'), 'another role');
SELECT is(pg_temp.last_entry('blue') ->> 'kind', 'member.db_role_changed', 'its entry');
SELECT is(pg_temp.last_entry('blue') #>> '{after,dbRole}', encode(digest('walwarden/dbrole/v1:' || encode(m.salt, 'hex') || ':te_another', 'sha256'), 'hex'), 'with its commitment')
  FROM walwarden_internal.member AS m WHERE id = :'bert';
SELECT results_eq($$SELECT pg_temp.acts('te_member'), pg_temp.acts('te_another')$$, 'VALUES (false, true)', 'which acts as the member from now on');
SELECT ok(walwarden.set_member_db_role('blue', 'bert', NULL), 'none');
SELECT is(pg_temp.last_entry('blue') #> '{after,dbRole}', 'null', 'its entry');
SELECT is(num_nulls(db_role, db_role_oid, system_identifier), 3, 'nothing is left of it') FROM walwarden_internal.member WHERE id = :'bert';
SELECT results_eq($$SELECT pg_temp.acts('te_member'), pg_temp.acts('te_another')$$, 'VALUES (false, false)', 'and nobody acts');
SELECT ok(NOT walwarden.set_member_db_role('blue', 'bert', NULL), 'once');
SELECT ok(walwarden.set_member_db_role('blue', 'bert', 'te_op'), 'an operator''s role, by an operator');
SELECT throws_ok($$SELECT walwarden.set_member_db_role('blue', 'anna', 'te_op')$$, '23505', NULL, 'for one member');
SELECT ok(walwarden.set_member_db_role('blue', 'bert', 'te_member'), 'and back');

-- Who may, role by role.
SELECT walwarden.create_org('rights') AS rights \gset
CREATE TEMP TABLE has_role AS SELECT name AS member_role, 'te_' || name AS role FROM walwarden_internal.role WHERE name <> 'member' UNION ALL VALUES ('member', 'te_plain');
SELECT format('CREATE ROLE %I', role) FROM has_role \gexec
SELECT walwarden.add_member('rights', member_role, member_role, role) FROM has_role \g /dev/null
SELECT walwarden.add_member('rights', 'target'), walwarden.add_member('rights', 'second owner', 'owner') \g /dev/null
CREATE FUNCTION pg_temp.tried(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement INTO result;
    RAISE SQLSTATE 'WW000' USING MESSAGE = CASE result WHEN 'true' THEN 'yes' ELSE coalesce(result, 'NULL') END;
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'WW000' THEN SQLERRM WHEN '42501' THEN 'no' ELSE SQLSTATE || ' ' || SQLERRM END;
END
$$;
SELECT is(pg_temp.tried(c.role, s.statement), CASE WHEN c.member_role = ANY (s.allowed) THEN 'yes' ELSE 'no' END, c.member_role || ': ' || s.statement)
  FROM has_role AS c,
       (VALUES ($$SELECT walwarden.rename_org('rights', 'other-name')$$, '{}'::text[]),
               ($$SELECT walwarden.close_org('rights')$$, '{}'),
               ($$SELECT walwarden.set_member_subject('rights', 'target', 'new')$$, '{owner,admin}'),
               ($$SELECT walwarden.set_member_subject('rights', 'second owner', 'new')$$, '{owner}'),
               ($$SELECT walwarden.set_member_db_role('rights', 'target', 'te_another')$$, '{owner,admin}'),
               ($$SELECT walwarden.set_member_db_role('rights', 'second owner', 'te_another')$$, '{owner}'),
               ($$SELECT walwarden.set_member_db_role('rights', 'target', 'te_op')$$, '{}'),
               ($$SELECT walwarden.confirm_server_role('te_another')$$, '{}')) AS s(statement, allowed);
SELECT is(pg_temp.tried('te_op', statement), 'yes', 'operator: ' || statement)
  FROM (VALUES ($$SELECT walwarden.rename_org('rights', 'other-name')$$), ($$SELECT walwarden.close_org('rights')$$), ($$SELECT walwarden.set_member_subject('rights', 'second owner', 'new')$$),
               ($$SELECT walwarden.set_member_db_role('rights', 'second owner', 'te_another')$$), ($$SELECT walwarden.set_member_db_role('rights', 'target', 'te_op')$$)) AS v(statement);

-- Closing: tokens of every kind and in every state, and jobs.
SELECT walwarden.import_legacy_credential('blue', 'anna', gen_random_uuid(), repeat('s', 32)) \g /dev/null
CREATE TEMP TABLE kept AS
SELECT w.what, t.token_id, t.token
  FROM (VALUES ('shared', NULL, NULL, 'api'), ('private', 'anna', NULL, 'api'), ('role', NULL, 'analyst', 'api'), ('machine', NULL, NULL, 'node'), ('disabled', NULL, NULL, 'api'), ('overlap', NULL, NULL, 'api')) AS w(what, owner, role, kind),
       walwarden.issue_token('blue', w.what, owner => w.owner, role => w.role, kind => w.kind,
                             scopes => CASE w.what WHEN 'shared' THEN '{databases:read,databases:write,destinations:write,backups:trigger,restores:write}' ELSE '{}' END::text[]) AS t;
INSERT INTO kept SELECT 'renewed', r.token_id, r.token FROM kept AS k, walwarden.renew_token(k.token_id, '1 day') AS r WHERE k.what = 'overlap';
SELECT walwarden.disable_token(token_id) FROM kept WHERE what = 'disabled' \g /dev/null
\ir request.psql
CREATE FUNCTION pg_temp.request(path text, body jsonb) RETURNS json LANGUAGE sql AS $$
    SELECT pg_temp.rest((SELECT k.token FROM kept AS k WHERE k.what = 'shared'), 'POST', path, body::text)
$$;
SELECT pg_temp.request('/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id' AS destination \gset
SELECT pg_temp.request('/databases', jsonb_build_object('name', 'one', 'connectionRef', 'd', 'destinationId', :'destination')) ->> 'id' AS one \gset
SELECT pg_temp.request('/databases', jsonb_build_object('name', 'two', 'connectionRef', 'd', 'destinationId', :'destination')) ->> 'id' AS two \gset
SELECT pg_temp.request(format('/databases/%s/backups', :'one'), '{}') ->> 'backupJobId' AS backup \gset
\ir job_moves.psql
SELECT pg_temp.move(:'backup'::uuid, 'claimed', 'running', 'finalizing', 'completed') \g /dev/null
SELECT pg_temp.request(format('/databases/%s/backups', :'two'), '{}') ->> 'backupJobId' AS queued \gset
SELECT pg_temp.request('/restores', jsonb_build_object('databaseId', :'one', 'backupJobId', :'backup', 'kind', 'drill', 'mode', 'new_database', 'target', 'x')) ->> 'restoreJobId' AS early \gset
SELECT pg_temp.request('/restores', jsonb_build_object('databaseId', :'one', 'backupJobId', :'backup', 'kind', 'drill', 'mode', 'new_database', 'target', 'y')) ->> 'restoreJobId' AS late \gset
SELECT pg_temp.move(:'early'::uuid, 'claimed', 'downloading'), pg_temp.move(:'late'::uuid, 'claimed', 'downloading', 'verifying', 'manifest_verified', 'restoring') \g /dev/null
SELECT token AS red_token FROM walwarden.issue_token('red', 'red') \gset
CREATE TEMP TABLE entry_before AS TABLE walwarden_internal.audit_entry;

SET LOCAL ROLE te_op;
SELECT ok(walwarden.close_org('blue', 'contract ended'), 'it is closed');
RESET ROLE;
SELECT ok(NOT walwarden.close_org('blue', 'contract ended'), 'once');
SELECT is((SELECT array_agg(DISTINCT pg_temp.opens(k.token)) FROM kept AS k), '{28000}', 'no token opens');
SELECT is((SELECT array_agg(DISTINCT state) FROM walwarden.list_tokens('blue')), '{revoked}', 'every token is revoked');
SELECT is((SELECT array_agg(DISTINCT revoked_reason) FROM walwarden_internal.token AS t JOIN kept AS k ON k.token_id = t.id), '{"contract ended"}', 'for the reason');
SELECT is((SELECT array_agg(DISTINCT walwarden.introspect_token(k.token) ->> 'reason') FROM kept AS k), '{revoked}', 'introspection says so');
SELECT set_eq(format($$SELECT id::text, state COLLATE "default", error ->> 'message' FROM walwarden_internal.job WHERE org_id = %L$$, :'blue'),
    format($$VALUES (%L, 'completed', NULL), (%L, 'cancelled', 'contract ended'), (%L, 'cancelled', 'contract ended'), (%L, 'timed_out', 'contract ended')$$, :'backup', :'queued', :'early', :'late'),
    'jobs that were open are ended; a restore that touched its target timed out');
SELECT is(pg_temp.opens(:'red_token'), 'red', 'another organisation goes on');
SELECT is(pg_temp.last_entry('blue') - '{actor,org,seq,object,before,after}'::text[], '{"kind":"org.closed","reason":"contract ended"}', 'its entry is the last');
SELECT is(pg_temp.last_entry('blue') #> '{before,closedAt}', NULL, 'open before');
SELECT is(pg_temp.last_entry('blue') #>> '{after,closedAt}', walwarden_internal.iso(closed_at), 'closed after') FROM walwarden.list_orgs() WHERE slug = 'blue';
SELECT is_empty($$SELECT FROM walwarden_internal.audit_entry AS e
                   WHERE (e.org_id, e.seq) NOT IN (SELECT b.org_id, b.seq FROM entry_before AS b) AND e.body::jsonb #>> '{payload,actor,role}' IS DISTINCT FROM 'te_op'$$, 'all by the same operator');
SELECT is_empty('SELECT * FROM verdict WHERE NOT ok', 'the chains verify');

-- what would open if its token were not revoked: the organisation decides too
SAVEPOINT s;
UPDATE walwarden_internal.token SET revoked_at = NULL WHERE org_id = :'blue';
SELECT is(pg_temp.opens(k.token), '28000', 'closed: ' || k.what) FROM kept AS k;
SELECT is((SELECT array_agg(DISTINCT walwarden.introspect_token(k.token) ->> 'reason' ORDER BY walwarden.introspect_token(k.token) ->> 'reason') FROM kept AS k), '{disabled,"organisation closed"}', 'for this reason');
ROLLBACK TO s;

-- everything that changes is refused, of every door that names an organisation or a token
\ir doors.psql
CREATE FUNCTION pg_temp.in_closed(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.close_org('acme');
    SET LOCAL ROLE td_operator;
    EXECUTE call;
    RAISE SQLSTATE 'WW000';
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'WW000' THEN 'goes on' WHEN '55000' THEN CASE WHEN SQLERRM = 'organisation "acme" is closed' THEN 'closed' ELSE SQLERRM END ELSE SQLSTATE END;
END
$$;
CREATE TEMP TABLE after_close AS
SELECT function, arguments, (SELECT min(p.provolatile) FROM pg_proc AS p WHERE p.pronamespace = 'walwarden'::regnamespace AND p.proname = d.function) AS volatile,
       pg_temp.in_closed(call_of(function, arguments)) AS came
  FROM door AS d WHERE operator = 'yes' AND (arguments ~ '''acme''' OR arguments ~ '<(api|off)>');
SELECT is_empty($$SELECT function, came FROM after_close
                   WHERE came <> CASE WHEN volatile = 's' OR function IN ('erase_member', 'close_org') THEN 'goes on' ELSE 'closed' END$$,
    'what reads goes on, and erasing; everything else is refused');
SELECT cmp_ok(count(*), '>', 4::bigint, 'what reads was tried') FROM after_close WHERE volatile = 's';
SELECT cmp_ok(count(*), '>', 15::bigint, 'which was tried') FROM after_close WHERE came = 'closed';
SELECT set_eq($$SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'walwarden'::regnamespace AND p.provolatile = 'v' AND 'org' = ANY (p.proargnames) AND p.proname NOT IN ('close_org', 'erase_member')$$,
    $$SELECT function::name FROM after_close WHERE came = 'closed' AND arguments ~ '''acme'''$$, 'of every function that takes an organisation and changes something');

-- people of a closed organisation
SELECT throws_ok($$SELECT walwarden.remove_member('blue', 'bert')$$, '55000', NULL, 'nobody is removed any more');
SET LOCAL ROLE te_member;
SELECT is(count(*), 2::bigint, 'a member still lists the own tokens') FROM walwarden.list_tokens('blue');
RESET ROLE;
SELECT ok(walwarden.erase_member('blue', 'gone'), 'a member who was removed before is erased');
SELECT ok(walwarden.erase_member('blue', 'bert'), 'so is one who was there until the end');
SELECT results_eq($$SELECT kind COLLATE "default" FROM walwarden.list_audit('blue', 0, 1000) ORDER BY seq DESC LIMIT 3$$, $$VALUES ('member.erased'), ('member.removed'), ('member.erased')$$, 'with both entries');
SELECT throws_ok($$SELECT walwarden.erase_member('blue', 'bert')$$, '42704', NULL, 'once');
SELECT ok(walwarden.erase_member('blue', 'anna'), 'the last owner too');
SELECT is(num_nulls(subject, salt, db_role, db_role_oid), 4, 'nothing is left of them') FROM walwarden_internal.member WHERE org_id = :'blue';
SELECT is(count(*), 0::bigint, 'nobody is there') FROM walwarden.list_members('blue');
SELECT lives_ok('SELECT walwarden.run_maintenance()', 'maintenance goes on');
SELECT throws_ok($$SELECT walwarden.create_org('blue')$$, '23505', NULL, 'its slug stays taken');
SELECT throws_ok($$SELECT walwarden.rename_org('red', 'green')$$, '23505', NULL, 'and its former ones');
SELECT is_empty($$SELECT * FROM verdict WHERE NOT ok AND org <> 'acme'$$, 'all of it verifies');

SELECT * FROM finish();
ROLLBACK;
