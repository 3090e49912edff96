-- search_audit(): what each condition finds, for whom, and in which order.
BEGIN;
SELECT no_plan();

CREATE ROLE ts_ops;
CREATE ROLE ts_admin;
CREATE ROLE ts_bob;
CREATE ROLE ts_stranger;
SELECT walwarden.create_org('find'), walwarden.create_org('find-other'), walwarden.grant_operator('ts_ops') \g /dev/null
SELECT walwarden.add_member('find', 'adm', 'admin', 'ts_admin'), walwarden.add_member('find', 'bob', 'member', 'ts_bob') \g /dev/null
SELECT id AS bob FROM walwarden_internal.member WHERE subject = 'bob' AND db_role = 'ts_bob' \gset

-- What a search finds, as kinds from the newest on.
CREATE FUNCTION found(org text DEFAULT 'find', kind text DEFAULT NULL, actor text DEFAULT NULL, object text DEFAULT NULL,
                      since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, max_rows integer DEFAULT 100) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(s.kind, ' ' ORDER BY n) FROM walwarden.search_audit(org, $2, $3, $4, since, until, max_rows) WITH ORDINALITY AS s(org, seq, at, kind, actor, object, body, n)
$$;

SET LOCAL ROLE ts_admin;
SELECT token_id AS ci FROM walwarden.issue_token('find', 'ci', '{databases:read}') \gset
SET LOCAL ROLE ts_bob;
SELECT token_id AS own, token AS own_token FROM walwarden.issue_token('find', 'bob''s', '{databases:read}', owner => 'bob') \gset
SET LOCAL ROLE ts_ops;
SELECT walwarden.disable_token(:'ci') \g /dev/null
SELECT walwarden.append_audit('app.invoice.sent', '{"object": {"type": "token", "id": "x"}}', NULL, 'find'), walwarden.append_audit('app.login', '{"actor": {"role": "ts_bob"}}', NULL, 'find') \g /dev/null
RESET ROLE;

SELECT is(found(), 'app.login app.invoice.sent token.disabled token.issued token.issued member.added member.added org.created', 'everything, newest first');
SELECT results_eq($$SELECT seq, at, kind, body FROM walwarden.search_audit('find')$$,
                  $$SELECT seq, at, kind, body::jsonb FROM walwarden.list_audit('find') ORDER BY seq DESC$$, 'as list_audit() has it');
SELECT is(found(max_rows => 2), 'app.login app.invoice.sent', 'the newest of them');

-- kinds and their groups
SELECT is(found(kind => 'token.issued'), 'token.issued token.issued', 'one kind');
SELECT is(found(kind => 'token.revoked'), NULL, 'which does not occur');
SELECT is(found(kind => 'token.'), 'token.disabled token.issued token.issued', 'a group');
SELECT is(found(kind => 'token.', max_rows => 2), 'token.disabled token.issued', 'its newest');
SELECT is(found(kind => 'app.'), 'app.login app.invoice.sent', 'kinds of applications');
SELECT is(found(kind => 'app.invoice.'), 'app.invoice.sent', 'a group of them');
SELECT is(found(kind => 'app.none.'), NULL, 'which does not occur');
SELECT is(found(kind => 'app.login'), 'app.login', 'one of them');

-- objects
SELECT is(found(object => 'token:' || :'ci'), 'token.disabled token.issued', 'a token');
SELECT is(found(object => 'token:' || upper(:'ci')), 'token.disabled token.issued', 'in upper case');
SELECT is(found(object => 'token:' || :'ci', kind => 'token.issued'), 'token.issued', 'and a kind');
SELECT is(found(object => 'member:' || :'bob'), 'member.added', 'a member');
SELECT is(found(object => 'token:x'), NULL, 'what an application writes is not an object');
SELECT results_eq($$SELECT DISTINCT object FROM walwarden.search_audit('_system', object => 'grant:operator:ts_ops')$$, $$VALUES ('grant:operator:ts_ops')$$, 'an object with a name');
CREATE ROLE "ts ""é\";
SELECT walwarden.grant_operator('ts "é\') \g /dev/null
SELECT is(found('_system', object => 'grant:operator:ts "é\'), 'operator.granted', 'whatever the name is');

-- actors, and how they are shown
SELECT is(found(actor => 'bob'), 'token.issued', 'a subject');
SELECT is(found(actor => 'ts_bob'), 'token.issued', 'the server role of a member, which no entry contains');
SELECT is(found(actor => :'bob'), 'token.issued', 'the id of a member');
SELECT is(found(actor => 'ts_ops'), 'app.login app.invoice.sent token.disabled', 'an operator');
SELECT is(found(actor => 'ts_ops', kind => 'app.'), 'app.login app.invoice.sent', 'and a group');
SELECT is(found(actor => 'ts_ops', kind => 'token.disabled'), 'token.disabled', 'and a kind');
SELECT is(found(actor => 'ts_ops', object => 'token:' || :'ci'), 'token.disabled', 'and an object');
SELECT is(found(actor => 'nobody'), NULL, 'somebody else');
SELECT is(found(actor => 'tsxops'), NULL, 'no pattern');
SET LOCAL ROLE "ts ""é\";
SELECT walwarden.append_audit('app.odd', '{}', NULL, 'find-other') \g /dev/null
RESET ROLE;
SELECT is(found('find-other', actor => v), expected, 'an odd name: ' || v) FROM (VALUES ('ts "é\', 'app.odd'), ('ts_"é\', NULL), ('%', NULL)) AS v(v, expected);
SELECT walwarden.report_leaked_token(:'own_token') \g /dev/null
SET LOCAL ROLE ts_bob;
SELECT token AS again FROM walwarden.issue_token('find', 'again', '{}', owner => 'bob') \gset
RESET ROLE;
CREATE ROLE ts_nobody;
SET LOCAL ROLE ts_nobody;
SELECT walwarden.report_leaked_token(:'again') \g /dev/null
RESET ROLE;
SELECT is(found(actor => (walwarden.introspect_token(:'again') ->> 'tokenId')), 'token.leaked', 'the id of a token');
SELECT is((SELECT string_agg(actor, ', ' ORDER BY seq) FROM walwarden.search_audit('find', 'token.') WHERE kind <> 'token.leaked' OR actor ~ 'token'),
          format('adm, bob, %s as ts_ops, bob, token again', session_user), 'members by subject, operators by login and role, tokens by name');
SELECT is((SELECT actor FROM walwarden.search_audit('find', 'org.created')), session_user::text, 'who did not SET ROLE is shown once');
SELECT walwarden.remove_member('find', 'bob'), walwarden.erase_member('find', 'bob') \g /dev/null
SELECT is(found(actor => 'bob'), NULL, 'an erased member is not found by subject');
SELECT is((SELECT DISTINCT actor FROM walwarden.search_audit('find', actor => :'bob')), 'erased', 'but by id');

-- times
SELECT is(found('find-other', since => now() + interval '1 day'), NULL, 'after the last entry');
SELECT is(found('find-other', until => now() - interval '1 day'), NULL, 'before the first');
SELECT is(found('find-other', since => '-infinity', until => 'infinity'), 'app.odd org.created', 'always');
SELECT s.at AS third FROM walwarden.search_audit('find') AS s WHERE seq = 3 \gset
SELECT is((SELECT string_agg(seq::text, ' ') FROM walwarden.search_audit('find', until => :'third')), '2 1', 'entries at until are not included');
SELECT is((SELECT min(seq) FROM walwarden.search_audit('find', since => :'third')), 3::bigint, 'those at since are');
SELECT is((SELECT walwarden_internal.first_seq_at(e.org_id, e.at) FROM walwarden_internal.audit_entry AS e WHERE e.org_id = o.id AND e.seq = n.n), n.n::bigint, format('entry %s', n.n))
  FROM walwarden_internal.org AS o, generate_series(1, 9) AS n(n) WHERE o.slug = 'find';
SELECT is((SELECT walwarden_internal.first_seq_at(gen_random_uuid(), now())), 1::bigint, 'a chain without entries');

-- all chains
CREATE TEMP TABLE everything AS SELECT * FROM walwarden.search_audit(max_rows => 1000) WITH ORDINALITY;
SELECT ok((SELECT bool_and(at <= before) FROM (SELECT at, lag(at, 1, 'infinity') OVER (ORDER BY ordinality) AS before FROM everything) AS e), 'from the newest on');
SELECT set_eq('SELECT org, seq FROM everything', $$SELECT coalesce(o.slug, '_system'), e.seq FROM walwarden_internal.audit_entry AS e LEFT JOIN walwarden_internal.org AS o ON o.id = e.org_id$$, 'of all chains');
SELECT results_eq('SELECT org, seq FROM walwarden.search_audit(max_rows => 7)', 'SELECT org, seq FROM everything ORDER BY ordinality LIMIT 7', 'the newest of all');
SELECT results_eq($$SELECT org, seq FROM walwarden.search_audit(kind => 'org.created', max_rows => 2)$$, $$SELECT org, seq FROM everything WHERE kind = 'org.created' ORDER BY ordinality LIMIT 2$$, 'of a kind');
SELECT results_eq($$SELECT org, seq FROM walwarden.search_audit(actor => 'ts_ops')$$, $$SELECT org, seq FROM everything WHERE body #>> '{payload,actor,role}' = 'ts_ops' ORDER BY ordinality$$, 'of an actor');

-- who may search what: as list_audit()
SELECT throws_ok(format('SET LOCAL ROLE %I; SELECT * FROM walwarden.search_audit(%L)', v.role, v.org), '42501', NULL, v.role || ' ' || coalesce(v.org, 'all'))
  FROM (VALUES ('ts_nobody', 'find'), ('ts_nobody', NULL), ('ts_nobody', '_system'), ('ts_nobody', 'nope'), ('ts_admin', 'find-other'), ('ts_admin', NULL), ('ts_admin', '_system'), ('ts_admin', 'nope')) AS v(role, org);
SELECT lives_ok(format('SET LOCAL ROLE %I; SELECT * FROM walwarden.search_audit(%L)', v.role, v.org), v.role || ' ' || coalesce(v.org, 'all'))
  FROM (VALUES ('ts_admin', 'find'), ('ts_ops', 'find'), ('ts_ops', NULL), ('ts_ops', '_system')) AS v(role, org);
RESET ROLE;

-- the object in the bytes of an entry
SELECT is(walwarden_internal.entry_object(v.body), v.object, v.body)
  FROM (VALUES ('{"payload":{"object":{"id":"1","type":"a"}}}', '{"id":"1","type":"a"}'), ('{"object":{"id":"1"},"payload":{}}', NULL), ('{"payload":{"data":{"object":1}}}', NULL),
               ('{"payload":{"token":{"id":"1","name":"x"}}}', '{"id":"1","type":"token"}'), ('{"payload":{"object":{"id":"1","type":"a"},"token":{"id":"2"}}}', '{"id":"1","type":"a"}'),
               ('{"payload":{"token":"x"}}', NULL), ('{"payload":{"token":{"name":"x"}}}', NULL), ('{"payload":[{"object":1}]}', NULL), ('{"payload":{"object":null}}', 'null'), ('{"payload": {"object":1}}', NULL), ('garbage', NULL), ('', NULL), ('{"payload":{"object":"é\"}', NULL)) AS v(body, object);
SELECT is(walwarden_internal.entry_object(format('{"payload":{"object":"%s"}}', repeat('x', 1001))), NULL, 'too long for an index');
SELECT is_empty($$SELECT e.kind, e.body FROM walwarden_internal.audit_entry AS e
                   WHERE coalesce(e.body::jsonb #> '{payload,object}', jsonb_build_object('type', 'token', 'id', e.body::jsonb #> '{payload,token,id}')) <> walwarden_internal.entry_object(e.body)::jsonb
                      OR e.body::jsonb -> 'payload' ?| '{object,token}' AND walwarden_internal.entry_object(e.body) IS NULL$$, 'as the server reads it');
SELECT token_id AS id FROM walwarden.issue_token('find', 'for adm', owner => 'adm') \gset
SELECT is(found(object => 'token:' || :'id'), 'token.revealed_for_owner token.issued', 'an entry that names a token beside a change');
SELECT is((SELECT string_agg(DISTINCT object, ' ') FROM walwarden.search_audit('find', object => 'token:' || :'id')), 'token:' || :'id', 'has it as its object');
-- whether somebody is a member elsewhere is not looked up: an entry with their id is not examined
SELECT walwarden.create_org('find-else') \g /dev/null
SELECT walwarden.add_member('find-else', 'stranger@example', 'member', 'ts_stranger') AS stranger \gset
SELECT walwarden.append_audit('app.login', jsonb_build_object('id', :'stranger'), NULL, 'find') \g /dev/null
CREATE FUNCTION examined(actor text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    f CONSTANT oid := 'walwarden_internal.is_actor'::regproc;
    before bigint := coalesce(pg_stat_get_xact_function_calls(f), 0);
BEGIN
    PERFORM found(actor => actor);
    RETURN coalesce(pg_stat_get_xact_function_calls(f), 0) - before;
END
$$;
SET LOCAL track_functions = 'all';
SELECT is(examined(a), n, 'entries examined for ' || a) FROM (VALUES (:'stranger', 1::bigint), ('stranger@example', 0), ('ts_stranger', 0)) AS v(a, n);
RESET track_functions;

-- an entry that somebody tampered with
ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER ALL;
ALTER TABLE walwarden_internal.audit_entry DROP CONSTRAINT audit_entry_is_valid;
UPDATE walwarden_internal.audit_entry AS e SET body = 'garbage' FROM walwarden_internal.org AS o WHERE o.slug = 'find-other' AND e.org_id = o.id;
SELECT results_eq($$SELECT seq, kind, actor, object, body FROM walwarden.search_audit('find-other')$$, $$VALUES (2::bigint, 'app.odd', NULL::text, NULL::text, NULL::jsonb), (1, 'org.created', NULL, NULL, NULL)$$, 'is found, without a body');
SELECT is(found('find-other', actor => 'x'), NULL, 'and does not stop a search for an actor');

SELECT * FROM finish();
ROLLBACK;
