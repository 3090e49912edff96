-- Sessions of people: who makes a link, what a code is good for, and what ends a session. The
-- last happens at a commit, so this commits, and installs the extension anew in the end.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE SCHEMA ts;
SELECT set_config('search_path', 'ts, ' || current_setting('search_path'), false) \g /dev/null
SELECT no_plan();
CREATE ROLE ts_op;
CREATE ROLE ts_owner;
SELECT walwarden.grant_operator('ts_op'), walwarden.create_org('s-one'), walwarden.create_org('s-two'), walwarden.create_org('s-three'),
       walwarden.add_member('s-one', 'ann@s.example', 'owner', 'ts_owner'), walwarden.add_member('s-one', 'bob@s.example'), walwarden.add_member('s-two', 'ann@s.example'),
       walwarden.add_member('s-one', 'eve@s.example'), walwarden.add_member('s-three', 'eve@s.example', 'owner'), walwarden.add_member('s-three', 'joe@s.example') \g /dev/null

-- Signs in by the code at the end of a link: the id of the session, or NULL.
CREATE FUNCTION signed_in(link text, cookie text DEFAULT gen_random_uuid()) RETURNS uuid LANGUAGE sql AS $$
    SELECT walwarden_internal.sign_in(sha256(convert_to(right(link, 64), 'UTF8')), sha256(convert_to(cookie, 'UTF8')))
$$;
CREATE FUNCTION newest() RETURNS jsonb LANGUAGE sql AS $$
    SELECT e.body::jsonb -> 'payload' FROM walwarden_internal.audit_entry AS e WHERE e.org_id = walwarden_internal.system_org() ORDER BY e.seq DESC LIMIT 1
$$;
CREATE FUNCTION open_sessions(of text) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM walwarden_internal.session AS s WHERE s.subject = of AND s.ended_at IS NULL
$$;
CREATE FUNCTION entries() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM walwarden_internal.audit_entry AS e WHERE e.org_id = walwarden_internal.system_org()
$$;
CREATE FUNCTION chains() RETURNS bigint LANGUAGE sql AS $$SELECT count(*) FROM walwarden_internal.audit_entry$$;

-- the link
SELECT matches(walwarden.sign_in_link('ann@s.example'), '^[0-9a-f]{64}$', 'without base_url the code alone');
SET walwarden.base_url = 'https://walwarden.example.com/x';
SET ROLE ts_op;
SELECT walwarden.sign_in_link('ann@s.example') AS link \gset
RESET ROLE;
SELECT matches(:'link'::text, '^https://walwarden[.]example[.]com/x/signin#[0-9a-f]{64}$', 'an operator''s link');
SELECT is(strpos(s::text, right(:'link', 64)) + strpos(s::text, encode(convert_to(right(:'link', 64), 'UTF8'), 'hex')), 0, 'the table does not have the code')
  FROM walwarden_internal.sign_in_code AS s;
SELECT throws_ok(format($$SET LOCAL walwarden.base_url = %L$$, v), '22023', NULL, 'not an address: ' || v)
  FROM unnest('{https://x/,javascript:x,//x,https://,x,https://x?y,https://x#y,https://x y}'::text[]) AS v;
SELECT throws_ok(format('SELECT walwarden.sign_in_link(%L)', v), s, NULL, format('no link for %L', left(v, 1)))
  FROM (VALUES ('nobody', '42704'), ('', '22023'), (NULL, '22023'), (E'a\nb', '22023')) AS x(v, s);

-- the code: once, for 10 minutes, for an active member
SELECT chains() AS chains \gset
SELECT signed_in(:'link', 'a cookie') AS first \gset
SELECT is((s.subject, s.method, s.cookie_hash, s.expires_at - s.created_at, s.ended_at)::text, ('ann@s.example'::text, 'link', sha256('a cookie'), interval '12 hours', NULL::timestamptz)::text, 'a session')
  FROM walwarden_internal.session AS s WHERE s.id = :'first';
SELECT is(newest() - '{org,seq}'::text[], jsonb_build_object(
    'actor', jsonb_build_object('kind', 'session', 'sessionId', :'first'),
    'session', jsonb_build_object('id', :'first', 'method', 'link', 'person',
        encode(digest('walwarden/person/v1:' || encode(s.salt, 'hex') || ':ann@s.example', 'sha256'), 'hex')),
    'linkBy', jsonb_build_object('kind', 'operator', 'role', 'ts_op', 'login', session_user)), 'its entry names who made the link, and no subject')
  FROM walwarden_internal.session AS s WHERE s.id = :'first';
SELECT is(chains(), :chains::bigint + 1, 'in no chain but the system''s');
SELECT is((SELECT actor FROM walwarden.search_audit('_system', 'session.', actor => :'first')), 'session ' || :'first', 'a search finds it');
SELECT is(signed_in(:'link'), NULL, 'a code is used once');
SELECT is(signed_in(repeat('0', 64)), NULL, 'an unknown code');
SELECT walwarden.sign_in_link('bob@s.example') AS link \gset
UPDATE walwarden_internal.sign_in_code SET expires_at = clock_timestamp() WHERE used_at IS NULL;
SELECT is(signed_in(:'link'), NULL, 'an expired code');
SELECT walwarden.sign_in_link('bob@s.example') AS link, walwarden.disable_member('s-one', 'bob@s.example') \gset
SELECT is(signed_in(:'link'), NULL, 'a code for a member who was disabled meanwhile');
SELECT walwarden.enable_member('s-one', 'bob@s.example') \g /dev/null
SELECT isnt(signed_in(:'link'), NULL, 'which is still good for the member who is enabled again');
SET walwarden.session_lifetime = '1h';
SELECT signed_in(walwarden.sign_in_link('bob@s.example')) AS short \gset
SELECT is(s.expires_at - s.created_at, interval '1 hour', 'walwarden.session_lifetime') FROM walwarden_internal.session AS s WHERE s.id = :'short';
RESET walwarden.session_lifetime;
SELECT is(count(DISTINCT e.body::jsonb #>> '{payload,session,person}'), 3::bigint, 'sessions of a person have no commitment in common')
  FROM walwarden_internal.audit_entry AS e JOIN walwarden_internal.session AS s ON s.id::text = e.body::jsonb #>> '{payload,session,id}'
 WHERE e.kind = 'session.started' AND s.subject LIKE '%@s.example';

-- the last active membership ends them, by whatever way
SELECT walwarden.disable_member('s-two', 'ann@s.example') \g /dev/null
SELECT is(open_sessions('ann@s.example'), 1::bigint, 'a member of another organisation stays signed in');
SELECT is(open_sessions('bob@s.example'), 2::bigint, 'bob is signed in twice');
SET ROLE ts_owner;
BEGIN;
SELECT walwarden.disable_member('s-one', 'bob@s.example') \g /dev/null
RESET ROLE;
SELECT is(open_sessions('bob@s.example'), 2::bigint, 'not before the commit, so that nobody has to wait for it');
SET ROLE ts_owner;
COMMIT;
RESET ROLE;
SELECT is(open_sessions('bob@s.example'), 0::bigint, 'the last membership ends');
SELECT is(newest() - '{org,seq,session}'::text[], jsonb_build_object('reason', 'no active member', 'actor', jsonb_build_object(
    'kind', 'member', 'memberId', m.id)), 'by whom') FROM walwarden_internal.member AS m WHERE m.db_role = 'ts_owner';
SELECT walwarden.enable_member('s-one', 'bob@s.example') \g /dev/null
SELECT is(open_sessions('bob@s.example'), 0::bigint, 'and a session does not come back with it');
SELECT isnt(signed_in(walwarden.sign_in_link('bob@s.example')), NULL, 'signed in again');
BEGIN;
SAVEPOINT back;
SELECT walwarden.disable_member('s-one', 'bob@s.example') \g /dev/null
ROLLBACK TO back;
COMMIT;
SELECT is(open_sessions('bob@s.example'), 1::bigint, 'nor if nothing of it is committed');
BEGIN;
SELECT walwarden.disable_member('s-one', 'bob@s.example') \g /dev/null
SELECT walwarden.enable_member('s-one', 'bob@s.example') \g /dev/null
COMMIT;
SELECT is(open_sessions('bob@s.example'), 0::bigint, 'nor with a membership of the same transaction');
SELECT isnt(signed_in(walwarden.sign_in_link('bob@s.example')), NULL, 'signed in again');
BEGIN;
SELECT walwarden.set_member_subject('s-one', 'bob@s.example', 'former@s.example'), walwarden.set_member_subject('s-one', 'eve@s.example', 'bob@s.example') \g /dev/null
COMMIT;
SELECT is(open_sessions('bob@s.example'), 0::bigint, 'whoever gets the subject in the same transaction does not get the session');
BEGIN;
SELECT walwarden.set_member_subject('s-one', 'bob@s.example', 'eve@s.example'), walwarden.set_member_subject('s-one', 'former@s.example', 'bob@s.example') \g /dev/null
COMMIT;
SELECT isnt(signed_in(walwarden.sign_in_link('bob@s.example')), NULL, 'signed in again');
BEGIN;
SELECT count(walwarden.disable_member('s-one', 'bob@s.example')), count(walwarden.enable_member('s-one', 'bob@s.example')) FROM generate_series(1, 3000) \g /dev/null
COMMIT;
SELECT is(open_sessions('bob@s.example'), 0::bigint, 'three thousand ends in one transaction');
SELECT is(count(*), 1::bigint, 'are one entry') FROM walwarden_internal.audit_entry AS e
  JOIN walwarden_internal.session AS s ON s.id::text = e.body::jsonb #>> '{payload,session,id}'
 WHERE e.kind = 'session.ended' AND s.id = (SELECT f.id FROM walwarden_internal.session AS f WHERE f.subject = 'bob@s.example' ORDER BY f.created_at DESC LIMIT 1);
SELECT isnt(signed_in(walwarden.sign_in_link('bob@s.example')), NULL, 'signed in again');
DO $$BEGIN
    PERFORM walwarden.disable_member('s-one', 'bob@s.example');
    COMMIT;
    PERFORM walwarden.enable_member('s-one', 'bob@s.example');
END$$;
SELECT is(open_sessions('bob@s.example'), 0::bigint, 'a commit in the middle of a statement');
SELECT isnt(signed_in(walwarden.sign_in_link('bob@s.example')), NULL, 'and again');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SAVEPOINT kept;
SELECT walwarden.disable_member('s-one', 'bob@s.example') \g /dev/null
RELEASE SAVEPOINT kept;
COMMIT;
SELECT is(open_sessions('bob@s.example'), 0::bigint, 'a savepoint that was kept, in a serializable transaction');
SELECT walwarden.enable_member('s-one', 'bob@s.example') \g /dev/null
SELECT isnt(signed_in(walwarden.sign_in_link('bob@s.example')), NULL, 'and again');
SELECT walwarden.set_member_subject('s-one', 'bob@s.example', 'robert@s.example') \g /dev/null
SELECT is(open_sessions('bob@s.example'), 0::bigint, 'another subject ends it');
SELECT isnt(signed_in(walwarden.sign_in_link('robert@s.example')), NULL, 'signed in again');
SELECT walwarden.remove_member('s-one', 'robert@s.example') \g /dev/null
SELECT is(open_sessions('robert@s.example'), 0::bigint, 'removal ends it');
SELECT walwarden.erase_member('s-one', 'robert@s.example') \g /dev/null
SELECT is_empty($$SELECT FROM walwarden_internal.session WHERE subject = 'robert@s.example' UNION ALL SELECT FROM walwarden_internal.sign_in_code WHERE subject = 'robert@s.example'$$, 'erasure leaves nothing');

-- with a fixed snapshot, what is to be forgotten must be visible
SELECT walwarden.add_member('s-one', 'fix@s.example') \g /dev/null
SELECT isnt(signed_in(walwarden.sign_in_link('fix@s.example')), NULL, 'signed in');
SELECT walwarden.disable_member('s-one', 'fix@s.example'), walwarden.remove_member('s-one', 'fix@s.example') \g /dev/null
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT lives_ok($$SELECT walwarden.erase_member('s-one', 'fix@s.example')$$, 'a session of before');
COMMIT;
SELECT is_empty($$SELECT FROM walwarden_internal.session WHERE subject = 'fix@s.example'$$, 'is forgotten');

-- a closed organisation, and a copy
SELECT isnt(signed_in(walwarden.sign_in_link(u)), NULL, 'signed in') FROM unnest('{eve@s.example,joe@s.example}'::text[]) AS u;
SELECT walwarden.close_org('s-three') \g /dev/null
SELECT is(open_sessions('eve@s.example'), 1::bigint, 'eve is a member elsewhere');
SELECT is(open_sessions('joe@s.example'), 0::bigint, 'joe is not');
SELECT is(newest() ->> 'reason', 'organisation closed', 'why');
SELECT throws_ok($$SELECT walwarden.sign_in_link('joe@s.example')$$, '42704', NULL, 'nor may joe sign in');
SELECT walwarden.sign_in_link('eve@s.example') AS link \gset
SELECT walwarden.close_copy() \g /dev/null
SELECT is(open_sessions('eve@s.example') + open_sessions('ann@s.example'), 0::bigint, 'a closed copy knows no session');
SELECT is(newest() ->> 'sessions', '2', 'and says how many there were');
SELECT is(signed_in(:'link'), NULL, 'and no code');
SELECT entries() AS entries \gset
SELECT walwarden.close_copy() \g /dev/null
SELECT is(entries(), :entries::bigint, 'once');

-- what is in no entry, and what verification says
SELECT is_empty($$SELECT e.body FROM walwarden_internal.audit_entry AS e WHERE strpos(e.body, 's.example') > 0$$, 'no entry has a subject');
SELECT is((SELECT array_agg(v.org) FROM walwarden.verify_audit_chain() AS v WHERE NOT v.ok), NULL, 'sessions are no part of the check of the state');

-- maintenance; a session stays for a week after its expiry, without an entry
SELECT entries() AS entries \gset
SELECT isnt(signed_in(walwarden.sign_in_link('eve@s.example')), NULL, 'signed in');
DELETE FROM walwarden_internal.session WHERE subject <> 'eve@s.example' OR ended_at IS NOT NULL;
SELECT walwarden.run_maintenance() \g /dev/null
SELECT is((SELECT count(*) FROM walwarden_internal.session), 1::bigint, 'a session is kept');
SELECT is((SELECT count(*) FROM walwarden_internal.sign_in_code), 1::bigint, 'and a code of 10 minutes');
UPDATE walwarden_internal.session SET expires_at = clock_timestamp() - interval '6 days 23 hours';
UPDATE walwarden_internal.sign_in_code SET expires_at = clock_timestamp();
SELECT walwarden_internal.forget_old_sessions() \g /dev/null
SELECT is((SELECT count(*) FROM walwarden_internal.session), 1::bigint, 'for a week after its expiry');
SELECT is((SELECT count(*) FROM walwarden_internal.sign_in_code), 0::bigint, 'not the code');
UPDATE walwarden_internal.session SET expires_at = clock_timestamp() - interval '7 days';
SELECT ok(walwarden_internal.forget_old_sessions(), 'then it is forgotten');
SELECT is((SELECT count(*) FROM walwarden_internal.session), 0::bigint, 'and gone');
SELECT is(entries(), :entries::bigint + 1, 'expiry leaves no entry');
SELECT * FROM finish();
RESET search_path;
SELECT walwarden.add_member('s-one', 'last@s.example') \g /dev/null
BEGIN;
SELECT walwarden.revoke_operator('ts_op'), walwarden.remove_member('s-one', 'last@s.example') \g /dev/null
-- with what is to happen when the transaction commits
DROP EXTENSION walwarden;
COMMIT;
CREATE EXTENSION walwarden;
DROP SCHEMA ts CASCADE;
DROP ROLE ts_op, ts_owner;
