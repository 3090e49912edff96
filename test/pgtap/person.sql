-- People in the chain: commitments in place of names, erasure, and what verification
-- finds of either.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();
CREATE ROLE tp_hidden_owner;
CREATE ROLE tp_hidden_admin;
CREATE ROLE tp_hidden_member;
SELECT walwarden.create_org('people') AS people, walwarden.create_org('others') AS others \gset
SELECT walwarden.add_member('people', 'hidden-owner@x.example', 'owner', 'tp_hidden_owner') AS owner,
       walwarden.add_member('people', 'hidden-admin@x.example', 'admin', 'tp_hidden_admin') AS admin,
       walwarden.add_member('people', 'hidden-member@x.example', 'member', 'tp_hidden_member') AS member,
       walwarden.add_member('others', 'hidden-member@x.example', 'owner', 'tp_hidden_member') AS same \gset

-- commitments, recomputed with pgcrypto from what docs/audit-chain.md says
SELECT is(walwarden_internal.member_image(m) ->> 'person', encode(digest('walwarden/person/v1:' || encode(m.salt, 'hex') || ':' || m.subject, 'sha256'), 'hex'), 'a person')
  FROM walwarden_internal.member AS m WHERE m.id = :'member';
SELECT is(walwarden_internal.member_image(m) ->> 'dbRole', encode(digest('walwarden/dbrole/v1:' || encode(m.salt, 'hex') || ':' || m.db_role, 'sha256'), 'hex'), 'a server role')
  FROM walwarden_internal.member AS m WHERE m.id = :'member';
SELECT is(body::jsonb #> '{payload,after}', (SELECT walwarden_internal.member_image(m) FROM walwarden_internal.member AS m WHERE m.id = :'member'), 'as its entry has them')
  FROM walwarden.list_audit('people') WHERE body::jsonb #>> '{payload,object,id}' = :'member';
SELECT is(count(DISTINCT person), 2::bigint, 'the same person in two organisations has two') FROM walwarden_internal.member WHERE subject = 'hidden-member@x.example';
SELECT is(count(DISTINCT salt), 4::bigint, 'because each member has a salt') FROM walwarden_internal.member WHERE org_id IN (:'people', :'others');

-- who they are, for auditors
SELECT is(walwarden.export_people('people'), '{' || string_agg(format('"%s":{"dbRole":"%s","salt":"%s","subject":"%s"}', m.id, m.db_role, encode(m.salt, 'hex'), m.subject), ',' ORDER BY m.id::text COLLATE "C") || '}', 'people.json')
  FROM walwarden_internal.member AS m WHERE m.org_id = :'people';
SELECT walwarden.create_org('nobody') \g /dev/null
SELECT is(walwarden.export_people('nobody'), '{}', 'of nobody');

-- no entry holds a subject or a member's server role, whatever is done
CREATE FUNCTION id_of(token_name text) RETURNS uuid LANGUAGE sql SECURITY DEFINER AS $$SELECT id FROM walwarden_internal.token WHERE name = token_name$$;
SELECT walwarden.import_legacy_credential('people', 'hidden-member@x.example', gen_random_uuid(), repeat('s', 32), 'pair'),
       walwarden.issue_token('people', 'revealed', owner => 'hidden-member@x.example') \g /dev/null
SET LOCAL ROLE tp_hidden_member;
SELECT walwarden.issue_token('people', 'own', '{databases:read}', owner => 'hidden-member@x.example'),
       walwarden.issue_token('people', 'lost', '{databases:read}', owner => 'hidden-member@x.example') \g /dev/null
SELECT walwarden.update_token(id_of('own'), 'own'), walwarden.renew_token(id_of('own'), '1 hour'), walwarden.disable_token(id_of('own')), walwarden.enable_token(id_of('own')),
       walwarden.revoke_token(id_of('lost')) \g /dev/null
SET LOCAL ROLE tp_hidden_admin;
SELECT walwarden.issue_token('people', 'shared'), walwarden.set_member_role('people', 'hidden-member@x.example', 'analyst'),
       walwarden.disable_member('people', 'hidden-member@x.example'), walwarden.enable_member('people', 'hidden-member@x.example'),
       walwarden.set_member_sso('people', 'hidden-member@x.example', true), walwarden.append_audit('app.x', '{}', NULL, 'people'),
       walwarden.disable_token(id_of('shared')), walwarden.revoke_token(id_of('shared')) \g /dev/null
SET LOCAL ROLE tp_hidden_owner;
SELECT walwarden.set_member_role('people', 'hidden-admin@x.example', 'owner'), walwarden.set_member_role('people', 'hidden-admin@x.example', 'admin'),
       walwarden.remove_member('people', 'hidden-member@x.example') \g /dev/null
RESET ROLE;
CREATE FUNCTION entries_with(what text) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT e.kind || ' ' || e.body FROM walwarden_internal.audit_entry AS e WHERE strpos(e.body, what) > 0
$$;
SELECT is_empty($$SELECT entries_with('hidden-')$$, 'no entry holds a subject');
SELECT is_empty($$SELECT entries_with('tp_hidden')$$, 'nor a server role that is a member''s');
SELECT isnt_empty(format('SELECT entries_with(%L)', :'member'), 'they name members by id');
-- and listings by subject
SELECT results_eq($$SELECT name, owner, created_by, revoked_by FROM walwarden.list_tokens('people') ORDER BY name$$,
    $$VALUES ('lost', 'hidden-member@x.example', 'hidden-member@x.example', 'hidden-member@x.example'),
             ('own', 'hidden-member@x.example', 'hidden-member@x.example', 'hidden-owner@x.example'),
             ('pair', 'hidden-member@x.example', session_user::text COLLATE "default", 'hidden-owner@x.example'),
             ('revealed', 'hidden-member@x.example', session_user::text COLLATE "default", 'hidden-owner@x.example'),
             ('shared', NULL, 'hidden-admin@x.example', 'hidden-admin@x.example')$$, 'list_tokens()');
SELECT ok(walwarden.export_people('people')::jsonb ? :'member', 'people.json has removed members');

-- What both verifiers find after a deed by a superuser, which is undone.
CREATE FUNCTION found(deed text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c text;
    s text;
    checked text := (SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'walwarden_internal.member'::regclass AND conname = 'member_check');
BEGIN
    ALTER TABLE walwarden_internal.member DROP CONSTRAINT member_check;
    EXECUTE deed;
    -- put back, so that the finding is the deed
    EXECUTE format('ALTER TABLE walwarden_internal.member ADD CONSTRAINT member_check %s NOT VALID', checked);
    UPDATE pg_constraint SET convalidated = true WHERE conrelid = 'walwarden_internal.member'::regclass AND conname = 'member_check';
    SELECT v.reason INTO c FROM walwarden.verify_audit_chain('people') AS v;
    SELECT v.reason INTO s FROM walwarden.verify_audit_chain_sql('people') AS v;
    RAISE SQLSTATE 'WW000' USING MESSAGE = CASE WHEN c IS NOT DISTINCT FROM s THEN coalesce(c, 'nothing') ELSE format('C: %s, SQL: %s', c, s) END;
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN regexp_replace(SQLERRM, '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>', 'g');
END$$;
SELECT audit_seq AS admin_seq FROM walwarden_internal.member WHERE id = :'admin' \gset
SELECT is(found('SELECT 1'), 'nothing', 'no deed, no finding');
SELECT is(found(format('UPDATE walwarden_internal.member AS m SET %s WHERE id = %L', change, :'admin')), format('member <id> differs from entry %s', :admin_seq), change)
  FROM (VALUES ($$subject = 'somebody'$$), ('salt = sha256(salt)'), ($$person = encode(sha256('x'), 'hex')$$), ($$db_role = 'tp_hidden_owner_too'$$), ('db_role = NULL'),
               ($$subject = 'somebody', person = walwarden_internal.member_commitment('person', m.salt, 'somebody')$$),
               ($$subject = 'somebody', salt = sha256('x'), person = walwarden_internal.member_commitment('person', sha256('x'), 'somebody')$$),
               ('subject = NULL'), ('subject = NULL, salt = NULL, db_role = NULL'),
               ('subject = NULL, salt = NULL, db_role = NULL, removed_at = now(), erased_at = now()')) AS v(change);
SELECT throws_ok(format('UPDATE walwarden_internal.member AS m SET %s WHERE id = %L', change, :'admin'), '23514', NULL, 'half erased: ' || change)
  FROM (VALUES ('subject = NULL'), ('salt = NULL'), ('erased_at = now()'), ('subject = NULL, salt = NULL, erased_at = now(), removed_at = now()'),
               ('subject = NULL, salt = NULL, db_role = NULL, erased_at = now()'), ($$salt = '\x00'$$)) AS v(change);

-- erasure: of whom was removed, by whom manages members
SET LOCAL ROLE tp_hidden_admin;
SELECT throws_ok($$SELECT walwarden.erase_member('people', 'hidden-owner@x.example')$$, '55000', NULL, 'not of an active member');
RESET ROLE;
SELECT walwarden.set_plan('people', 'free') \g /dev/null
CREATE TEMP TABLE was AS SELECT * FROM walwarden_internal.member WHERE id = :'member';
SET LOCAL ROLE tp_hidden_admin;
SELECT ok(walwarden.erase_member('people', 'hidden-member@x.example'), 'a removed member, on a plan without tokens too');
SELECT throws_ok($$SELECT walwarden.erase_member('people', 'hidden-member@x.example')$$, '42704', NULL, 'once');
RESET ROLE;
SELECT results_eq(format($$SELECT num_nulls(m.subject, m.salt, m.db_role), m.erased_at IS NOT NULL, m.person = w.person FROM walwarden_internal.member AS m, was AS w WHERE m.id = %L$$, :'member'),
    'VALUES (3, true, true)', 'subject, salt and role are gone, the commitment stays');
SELECT results_eq($$SELECT kind COLLATE "default", body::jsonb #> '{payload,actor}', body::jsonb #>> '{payload,object,id}', body::jsonb #> '{payload,before}' ? 'erasedAt', body::jsonb #> '{payload,after}' ? 'erasedAt'
                      FROM walwarden.list_audit('people') ORDER BY seq DESC LIMIT 1$$,
    format($$VALUES ('member.erased', jsonb_build_object('kind', 'member', 'memberId', %L), %L, false, true)$$, :'admin', :'member'), 'its entry');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'the chain verifies');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok', 'in SQL too');
SELECT results_eq($$SELECT name, owner, created_by, revoked_by FROM walwarden.token_list WHERE name IN ('lost', 'own') ORDER BY name$$,
    $$VALUES ('lost', 'erased', 'erased', 'erased'), ('own', 'erased', 'erased', 'hidden-owner@x.example')$$, 'listings show erased');
SELECT is(string_agg(subject, ' '), 'hidden-admin@x.example hidden-owner@x.example', 'the members') FROM walwarden.list_members('people');
SELECT is(count(*), 1::bigint, 'of another organisation the same person is still there') FROM walwarden.list_members('others');
SELECT ok(NOT walwarden.export_people('people')::jsonb ? :'member', 'nor in people.json');
SELECT audit_seq AS erased_seq FROM walwarden_internal.member WHERE id = :'member' \gset
SELECT is(found(format('UPDATE walwarden_internal.member SET %s WHERE id = %L', change, :'member')), format('member <id> differs from entry %s', :erased_seq), 'erased, then ' || change)
  FROM (VALUES ($$person = encode(sha256('x'), 'hex')$$), ($$subject = 'somebody', salt = sha256('x')$$), ('erased_at = NULL'), ('subject = (SELECT subject FROM was), salt = (SELECT salt FROM was)'), ($$db_role = 'postgres', salt = sha256('x')$$)) AS v(change);
SELECT is(found('UPDATE walwarden_internal.member AS m SET subject = w.subject, salt = w.salt, db_role = w.db_role, erased_at = NULL, audit_seq = w.audit_seq FROM was AS w WHERE m.id = w.id'),
    format('member <id> is older than entry %s', :erased_seq), 'an erasure that is undone');

-- somebody may come back, and go again
SELECT walwarden.add_member('people', 'hidden-member@x.example') AS again \gset
SELECT isnt(:'again'::uuid, :'member'::uuid, 'as another member');
SELECT isnt(person, (SELECT person FROM was), 'with another commitment') FROM walwarden_internal.member WHERE id = :'again';
SELECT throws_ok($$SELECT walwarden.erase_member('people', 'hidden-member@x.example')$$, '55000', NULL, 'not erased while there');
SELECT walwarden.remove_member('people', 'hidden-member@x.example'), walwarden.add_member('people', 'hidden-member@x.example', 'owner'), walwarden.remove_member('people', 'hidden-member@x.example') \g /dev/null
SET LOCAL ROLE tp_hidden_admin;
SELECT throws_ok($$SELECT walwarden.erase_member('people', 'hidden-member@x.example')$$, '42501', NULL, 'a removed owner is not an admin''s to erase');
SET LOCAL ROLE tp_hidden_owner;
SELECT ok(walwarden.erase_member('people', 'hidden-member@x.example'), 'but an owner''s');
RESET ROLE;
SELECT is(count(*), 3::bigint, 'every row that had the subject, with an entry each') FROM walwarden.list_audit('people') WHERE kind = 'member.erased';
SELECT is_empty($$SELECT FROM walwarden_internal.member WHERE subject = 'hidden-member@x.example' AND removed_at IS NOT NULL$$, 'none is left');
SELECT is_empty($$SELECT entries_with('hidden-')$$, 'and still no entry holds a subject');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'all chains verify');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok', 'in SQL too');

SELECT * FROM finish();
ROLLBACK;
