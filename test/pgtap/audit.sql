-- The chain: its bytes, its verifiers, what they find.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();

CREATE ROLE t_nobody;
CREATE ROLE t_admin;
SELECT walwarden.create_org('acme'), walwarden.create_org('other'), walwarden.add_member('acme', 'adm', 'admin', 't_admin') \g /dev/null
SELECT id AS acme FROM walwarden_internal.org WHERE slug = 'acme' \gset
SELECT id AS other FROM walwarden_internal.org WHERE slug = 'other' \gset

-- canonical form: what comes out for what goes in
CREATE FUNCTION data_of(payload text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    n bigint := walwarden.append_audit('app.test', payload::jsonb, NULL, 'acme');
BEGIN
    RETURN (SELECT substring(body FROM '"data":(.*),"org":"[0-9a-f-]{36}","seq":\d+}}$')
              FROM walwarden.list_audit('acme', n - 1, 1));
END
$$;
SELECT is(data_of(given), wanted, what)
  FROM (VALUES
    ('{}', '{}', 'empty object'), ('[]', '[]', 'empty array'), ('null', 'null', 'null'), ('true', 'true', 'true'), ('false', 'false', 'false'),
    ('0', '0', 'zero'), ('-0', '0', 'minus zero'), ('9007199254740991', '9007199254740991', 'largest integer'),
    ('-9007199254740991', '-9007199254740991', 'least integer'), ('1e2', '100', 'an integer written with an exponent'),
    ('""', '""', 'empty string'), ('"a b"', '"a b"', 'a space inside a string'),
    ('{ "b" : 1 , "a" : [ 1 , 2 ] }', '{"a":[1,2],"b":1}', 'spaces between'),
    ('{"aa":1,"b":2}', '{"aa":1,"b":2}', 'jsonb sorts by length, RFC 8785 does not'),
    ('{"a":1,"A":2,"_":3,"0":4,"":5}', '{"":5,"0":4,"A":2,"_":3,"a":1}', 'order of ASCII'),
    ('{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}',
     U&'{"\\r":"Carriage Return","1":"One","\0080":"Control","\00f6":"Latin Small Letter O With Diaeresis","\20ac":"Euro Sign","\+01f600":"Emoji: Grinning Face","\fb33":"Hebrew Letter Dalet With Dagesh"}',
     'the sorting example of RFC 8785: UTF-16 units, surrogates before U+FB33'),
    ('"\u20ac$\u000F\u000aA''\u0042\u0022\u005c\\\"\/"', '"€$\u000f\nA''B\"\\\\\"/"', 'the escaping example of RFC 8785'),
    ('"\b\f\n\r\t\u0001\u001f\u007f"', E'"\\b\\f\\n\\r\\t\\u0001\\u001f\u007f"', 'short escapes, lower-case hex, DEL as it is'),
    ('{"x":{"d":{"b":[{"z":1,"y":2}],"a":null}},"\"":1,"!":2,"#":3}', '{"!":2,"\"":1,"#":3,"x":{"d":{"a":null,"b":[{"y":2,"z":1}]}}}', 'nested, and a key that is escaped')
  ) AS v(given, wanted, what);
SELECT is(data_of(v.j::text), v.j::text, 'every printable and control character of ASCII survives')
  FROM (SELECT to_jsonb(string_agg(chr(i), '' ORDER BY i))  FROM generate_series(1, 127) AS i) AS v(j);
SELECT is(data_of(jsonb_object_agg(k, 1)::text), '{' || string_agg('"' || k || '":1', ',' ORDER BY k COLLATE "C") || '}', '1,000 keys')
  FROM (SELECT md5(i::text) FROM generate_series(1, 1000) AS i) AS v(k);
CREATE FUNCTION size_of(padding int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    n bigint := walwarden.append_audit('app.test', to_jsonb(repeat('x', padding)), NULL, 'acme');
BEGIN
    RETURN (SELECT octet_length(body) FROM walwarden.list_audit('acme', n - 1, 1));
END
$$;
SELECT is(data_of(repeat('[', 62) || '1' || repeat(']', 62)), repeat('[', 62) || '1' || repeat(']', 62), '62 levels');
SELECT throws_ok($$SELECT data_of(repeat('[', 63) || repeat(']', 63))$$, '22023', NULL, 'and no more');
SELECT size_of(0) AS empty \gset
SELECT is(size_of(65536 - :empty), 65536, 'an entry of 64 KiB');
SELECT throws_ok(format('SELECT size_of(%s)', 65537 - :empty), '22023', NULL, 'and no byte more');

-- the columns of list_audit and the bytes of an entry, recomputed with pgcrypto
SELECT walwarden.append_audit('app.bytes', '{"n":1}', '11111111-2222-3333-4444-555555555555', 'acme') AS n \gset
SELECT is(body, format('{"at":"%s","jobId":"11111111-2222-3333-4444-555555555555","kind":"app.bytes","payload":{"actor":{"kind":"operator","login":"%s","role":"%s"},"data":{"n":1},"org":"%s","seq":%s}}',
    to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), session_user, current_user, :'acme', :n), 'the body of an entry')
  FROM walwarden.list_audit('acme', :n - 1, 1);
SELECT is(hash, digest(encode(prev_hash, 'hex') || body, 'sha256'), 'hash = SHA-256(hex(prev_hash) || body)') FROM walwarden.list_audit('acme', :n - 1, 1);
SELECT is(prev_hash, digest('walwarden/audit/v2:' || :'acme', 'sha256'), 'the first prev_hash') FROM walwarden.list_audit('acme', 0, 1);
SELECT * FROM walwarden.issue_token('acme', 't') \gset t_
SELECT is((SELECT body::jsonb #>> '{payload,after,credentials,0,commitment}' FROM walwarden.list_audit('acme', 0, 1000) WHERE kind = 'token.issued'),
    encode(digest('walwarden/credential/v1:' || :'t_token_id' || ':' || encode(digest(:'t_token', 'sha256'), 'hex'), 'sha256'), 'hex'), 'the commitment of a credential');

-- rendering depends on no setting
SET LOCAL TimeZone = 'Asia/Kathmandu';
SET LOCAL DateStyle = 'German, DMY';
SET LOCAL IntervalStyle = 'iso_8601';
SET LOCAL extra_float_digits = -15;
SET LOCAL bytea_output = 'escape';
SET LOCAL lc_time = 'C';
SET LOCAL search_path = public;
-- until 18 a literal could be read in another way
SELECT current_setting('server_version_num')::int < 190000 AS reads_escapes \gset
\if :reads_escapes
SET LOCAL standard_conforming_strings = off;
\endif
SET LOCAL quote_all_identifiers = on;
SELECT token_id AS odd FROM walwarden.issue_token('acme', 'odd', '{databases:read}', now() + interval '1 day') \gset
SELECT walwarden.set_org_retention('acme', 'P3DT4H') \g /dev/null
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'verifies under odd settings');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok', 'in SQL too');
RESET TimeZone;
RESET DateStyle;
RESET IntervalStyle;
RESET extra_float_digits;
RESET bytea_output;
RESET search_path;
RESET standard_conforming_strings;
RESET quote_all_identifiers;
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'and under the usual ones');
SELECT matches(body::text, '"expiresAt":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"', 'times are UTC with microseconds')
  FROM walwarden.list_audit('acme', 0, 1000) WHERE kind = 'token.issued' AND body::jsonb #>> '{payload,after,id}' = :'odd';

-- many entries in one statement, savepoints, gaps
SELECT is(count(walwarden.append_audit('app.many', to_jsonb(i), NULL, CASE i % 2 WHEN 0 THEN 'acme' ELSE 'other' END)), 2000::bigint, '2,000 entries in one statement')
  FROM generate_series(1, 2000) AS i;
SAVEPOINT s;
SELECT walwarden.append_audit('app.undone', '{}', NULL, 'acme') AS undone \gset
ROLLBACK TO s;
SELECT is(walwarden.append_audit('app.done', '{}', NULL, 'acme'), :undone::bigint, 'what was rolled back leaves no gap');
CREATE FUNCTION half(i int) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.append_audit('app.half', to_jsonb(i), NULL, 'acme');
    IF i % 2 = 0 THEN RAISE division_by_zero; END IF;
    RETURN i;
    EXCEPTION WHEN division_by_zero THEN RETURN NULL;
END$$;
SELECT is(count(half(i)), 50::bigint, 'every other one rolled back, in one statement') FROM generate_series(1, 100) AS i;
INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) SELECT :'acme', 'app.direct', jsonb_build_object('half', half(i)) FROM generate_series(1, 10) AS i;
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'no gap, no fork');
SELECT is((SELECT count(*) FROM walwarden_internal.audit_entry WHERE org_id = :'acme'), (SELECT max(seq) FROM walwarden_internal.audit_entry WHERE org_id = :'acme'), 'gapless');

-- at never goes back, also behind an entry that a clock ahead of ours made
SELECT seq + 1 AS ahead, hash AS prev, walwarden_internal.iso(at + interval '30 days') AS later
  FROM walwarden_internal.audit_entry WHERE org_id = :'other' ORDER BY seq DESC LIMIT 1 \gset
INSERT INTO walwarden_internal.audit_entry
SELECT :'other', :ahead, :'later', 'app.ahead', NULL, b, :'prev', digest(encode(:'prev', 'hex') || b, 'sha256')
  FROM format('{"at":"%s","jobId":null,"kind":"app.ahead","payload":{"org":"%s","seq":%s}}', :'later', :'other', :'ahead') AS b;
SELECT walwarden.append_audit('app.behind', '{}', NULL, 'other') FROM generate_series(1, 2) \g /dev/null
SELECT is(string_agg(DISTINCT walwarden_internal.iso(at), ' '), :'later', 'entries behind one from the future have its time')
  FROM walwarden.list_audit('other', :ahead - 1);
SELECT is(count(*), 3::bigint, 'all of them') FROM walwarden.list_audit('other', :ahead - 1);
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'which verifies');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain_sql(NULL) WHERE NOT ok', 'in SQL too');

-- what entries say of a row can grow
SELECT is(walwarden_internal.with_later('{"a": null}', jsonb_build_object('b', v.value)), v.wanted, v.what)
  FROM (VALUES (NULL::jsonb, '{"a": null}'::jsonb, 'a later member that is NULL does not appear'), ('null', '{"a": null}', 'nor one that is null'),
               ('[null]', '{"a": null, "b": [null]}', 'one with a value does, as it is'), ('false', '{"a": null, "b": false}', 'false is one')) AS v(value, wanted, what);

-- an expected head
SELECT entries AS seen, head_hash AS head FROM walwarden.verify_audit_chain('acme') \gset
SELECT ok(ok, 'the head itself') FROM walwarden.verify_audit_chain('acme', :seen, :'head');
SELECT walwarden.append_audit('app.later', '{}', NULL, 'acme') \g /dev/null
SELECT ok(ok, 'an earlier head') FROM walwarden.verify_audit_chain('acme', :seen, :'head');
SELECT results_eq(format($$SELECT ok, first_bad_seq, reason FROM walwarden.verify_audit_chain('acme', %s, %L)$$, :seen + 2, :'head'),
    format($$VALUES (false, %s::bigint, 'tail is lost: the expected entry is missing')$$, :seen + 2), 'a lost tail');
SELECT results_eq(format($$SELECT ok, first_bad_seq, reason FROM walwarden.verify_audit_chain('acme', %s, %L)$$, :seen - 1, :'head'),
    format($$VALUES (false, %s::bigint, 'entry is not the expected one')$$, :seen - 1), 'another history');

SELECT encode(digest('walwarden/audit/v2:00000000-0000-0000-0000-000000000000', 'sha256'), 'hex') AS start \gset
SELECT ok(ok, 'the start of a chain is a head, too') FROM walwarden.verify_audit_chain('_system', 0, :'start');
SELECT is(reason, 'entry is not the expected one', 'of that chain only') FROM walwarden.verify_audit_chain('acme', 0, :'start');

SELECT results_eq($$SELECT ok, reason FROM walwarden.verify_audit_chain_sql('nope')$$, $$VALUES (false, 'organisation does not exist')$$, 'a misspelt org is a finding');

-- who may read and verify
SET LOCAL ROLE t_admin;
SELECT isnt_empty($$SELECT * FROM walwarden.list_audit('acme')$$, 'an admin reads the org''s chain');
SELECT ok(ok, 'and verifies it') FROM walwarden.verify_audit_chain('acme');
SELECT isnt(walwarden.append_audit('app.admin', '{}', NULL, 'acme'), NULL, 'and extends it');
SELECT throws_ok($$SELECT * FROM walwarden.list_audit('other')$$, '42501', NULL, 'no other one');
RESET ROLE;

-- a token's identity extends its org's chain in a REST role, and nowhere else
SELECT token AS tok, token_id AS tok_id FROM walwarden.issue_token('acme', 'tok') \gset
CREATE ROLE t_login;
SELECT walwarden.authenticate(:'tok') \g /dev/null
SET LOCAL ROLE t_nobody;
SELECT throws_ok($$SELECT walwarden.append_audit('app.rest', '{}')$$, '42501', NULL, 'not in a role without grant_rest');
RESET ROLE;
SELECT ok(walwarden.grant_rest('t_nobody', 't_login'), 'grant_rest');
SELECT ok(has_schema_privilege('t_nobody', 'walwarden_rest', 'usage'), 'gives the schema of the entry points');
SELECT is((SELECT setconfig FROM pg_db_role_setting WHERE setrole = 't_login'::regrole),
    '{log_parameter_max_length=0,log_parameter_max_length_on_error=0,idle_in_transaction_session_timeout=10s}', 'and quiets the login''s logs');
SET LOCAL ROLE t_nobody;
SELECT walwarden.append_audit('app.rest', '{}') AS n \gset
SELECT throws_ok($$SELECT walwarden.append_audit('app.rest', '{}', NULL, 'other')$$, '42501', NULL, 'not another org''s');
RESET ROLE;
SELECT is(body::jsonb #> '{payload,actor}', jsonb_build_object('kind', 'token', 'role', 't_nobody', 'login', session_user, 'tokenId', :'tok_id'), 'signed by the token')
  FROM walwarden.list_audit('acme', :n - 1, 1);
SELECT ok(walwarden.revoke_rest('t_nobody'), 'revoke_rest');
SELECT ok(NOT has_schema_privilege('t_nobody', 'walwarden_rest', 'usage'), 'takes it back');
SELECT is_empty($$SELECT FROM pg_db_role_setting WHERE setrole = 't_login'::regrole$$, 'and the settings');
CREATE ROLE t_login2;
SELECT ok(walwarden.grant_rest('t_nobody', 't_login') AND NOT walwarden.grant_rest('t_nobody', 't_login'), 'granted again is no change');
SELECT ok(walwarden.grant_rest('t_nobody', 't_login2'), 'another login is one');
SELECT is_empty($$SELECT FROM pg_db_role_setting WHERE setrole = 't_login'::regrole$$, 'the login before has its settings back');
SELECT throws_ok($$SELECT walwarden.add_member('acme', 'shadow', 'owner', 't_nobody')$$, '22023', NULL, 'a REST role is no member''s');
SELECT throws_ok($$SELECT walwarden.grant_rest('t_admin', 't_login')$$, '55000', NULL, 'a member''s role is no REST role');
SELECT ok(walwarden.revoke_rest('t_nobody'), 'revoked');
SELECT ok(NOT walwarden.revoke_rest('t_nobody'), 'once');

-- tampering, as a superuser who switches off every guard: both verifiers say
-- the same and name the entry
SELECT walwarden.create_org('victim') AS victim, walwarden.create_org('thief') AS thief \gset
SELECT walwarden.append_audit('app.v', to_jsonb(i), NULL, 'victim'), walwarden.append_audit('app.t', to_jsonb(i), NULL, 'thief')
  FROM generate_series(1, 8) AS i \g /dev/null
SELECT walwarden.add_member('victim', 'vic', 'owner') \g /dev/null
SELECT token_id AS tid FROM walwarden.issue_token('victim', 'vt', '{databases:read}') \gset
SELECT walwarden.revoke_token(:'tid') \g /dev/null
SELECT token_id AS live FROM walwarden.issue_token('victim', 'live', '{databases:read}') \gset
SELECT walwarden.create_scope('x:read', 'x', 'x'), walwarden.set_role_scopes('member', '{x:read}') \g /dev/null

CREATE FUNCTION disarm() RETURNS void LANGUAGE sql AS $$
    ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER ALL;
    ALTER TABLE walwarden_internal.audit_entry DROP CONSTRAINT audit_entry_is_valid;
    ALTER TABLE walwarden_internal.scope DISABLE TRIGGER ALL;
$$;
-- rearmed, so that the finding is the deed and not the disarming
CREATE FUNCTION rearm() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER append, ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate;
    ALTER TABLE walwarden_internal.scope ENABLE TRIGGER ALL;
    ALTER TABLE walwarden_internal.scope ENABLE ALWAYS TRIGGER refuse_builtin, ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate,
        ENABLE ALWAYS TRIGGER signal_change, ENABLE ALWAYS TRIGGER signal_truncate;
    ALTER TABLE walwarden_internal.audit_entry ADD CONSTRAINT audit_entry_is_valid
        CHECK (walwarden_internal.audit_entry_is_valid(org_id, seq, at, kind, job_id, body, prev_hash, hash)) NOT VALID;
    UPDATE pg_constraint SET convalidated = true WHERE conrelid = 'walwarden_internal.audit_entry'::regclass;
END$$;
CREATE FUNCTION rehash(o uuid, s bigint, b text) RETURNS void LANGUAGE sql AS $$
    UPDATE walwarden_internal.audit_entry SET body = b, hash = digest(encode(prev_hash, 'hex') || b, 'sha256') WHERE org_id = o AND seq = s;
$$;
-- What the two verifiers find after a deed; the deed is undone.
CREATE FUNCTION found(deed text, chain text DEFAULT 'victim') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c text;
    s text;
BEGIN
    PERFORM disarm();
    EXECUTE deed;
    PERFORM rearm();
    SELECT format('%s %s %s', v.ok, v.first_bad_seq, v.reason) INTO c FROM walwarden.verify_audit_chain(chain) AS v;
    SELECT format('%s %s %s', v.ok, v.first_bad_seq, v.reason) INTO s FROM walwarden.verify_audit_chain_sql(chain) AS v;
    RAISE SQLSTATE 'WW000' USING MESSAGE = CASE WHEN c = s THEN c ELSE format('C: %s, SQL: %s', c, s) END;
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN regexp_replace(SQLERRM, '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>', 'g');
END$$;

CREATE FUNCTION entry(deed text) RETURNS text LANGUAGE sql AS $$SELECT format(deed, id) FROM walwarden_internal.org WHERE slug = 'victim'$$;
SELECT is(found('SELECT 1'), 't  ', 'no deed, no finding');
SELECT is(found(entry($$UPDATE walwarden_internal.audit_entry SET body = replace(body, '"data":3', '"data":4') WHERE org_id = '%s' AND seq = 4$$)),
    'f 4 hash does not match the body', 'a changed body');
SELECT is(found(entry($$UPDATE walwarden_internal.audit_entry SET body = overlay(body PLACING 'garbage' FROM 1) WHERE org_id = '%s' AND seq = 4$$)),
    'f 4 hash does not match the body', 'a body that is no JSON any more');
SELECT is(found(entry($$SELECT rehash('%s', 4, 'no json')$$)), 'f 4 body is not canonical JSON', 'the same, hashed again');
-- the last entry, hashed again: nothing after it tells, so its own form must
CREATE FUNCTION last_body(change text) RETURNS text LANGUAGE sql AS $$
    SELECT format('UPDATE walwarden_internal.audit_entry AS e SET body = c.b, hash = digest(encode(e.prev_hash, ''hex'') || c.b, ''sha256'') '
                  'FROM (SELECT org_id, seq, (%s) AS b FROM walwarden_internal.audit_entry) AS c, walwarden_internal.org AS o '
                  'WHERE o.slug = ''thief'' AND e.org_id = o.id AND e.seq = 9 AND (c.org_id, c.seq) = (e.org_id, e.seq)', change)
$$;
SELECT is(found(last_body(change), 'thief'), 'f 9 ' || wanted, what)
  FROM (VALUES
    ($$replace(body, '"data":8', '"data":garbage')$$, 'body is not canonical JSON', 'no JSON inside'),
    ($$replace(body, '"data":8', '"data": 8')$$, 'body is not canonical JSON', 'a space'),
    ($$replace(body, '"data":8', '"data":1.50')$$, 'body is not canonical JSON', 'a fraction'),
    ($$replace(body, '"data":8', '"data":9007199254740992')$$, 'body is not canonical JSON', 'too large an integer'),
    ($$replace(body, '"data":8', '"data":-0')$$, 'body is not canonical JSON', 'minus zero'),
    ($$replace(body, '"data":8', '"data":8,"data":8')$$, 'body is not canonical JSON', 'a duplicate key'),
    ($$replace(body, '"data":8', '"data":{"b":1,"a":2}')$$, 'body is not canonical JSON', 'keys out of order'),
    ($$replace(body, '"data":8', '"data":"\u0041"')$$, 'body is not canonical JSON', 'a needless escape'),
    ($$replace(body, '"data":8', '"data":"\/"')$$, 'body is not canonical JSON', 'an escaped slash'),
    ($$replace(body, '"data":8', '"data":"\u0000"')$$, 'body is not canonical JSON', 'NUL'),
    ($$replace(body, '"data":8', '"data":' || repeat('[', 63) || repeat(']', 63))$$, 'body is not canonical JSON', 'nested too deeply'),
    ($$replace(body, '"data":8', '"data":' || repeat('[', 30000) || repeat(']', 30000))$$, 'body is not canonical JSON', 'nested until the stack ends'),
    ($$replace(body, '"data":8', '"data":"' || repeat('x', 65536) || '"')$$, 'body is not canonical JSON', 'too long'),
    ($$replace(body, '"org":', '"\u006frg":')$$, 'body is not canonical JSON', 'an escaped key'),
    ($$left(body, -1) || ',"zz":1}'$$, 'columns differ from the body', 'another member of the envelope'),
    ($$replace(body, '"seq":9', '"seq":"9"')$$, 'columns differ from the body', 'seq as a string'),
    ($$replace(body, '"seq":9', '"seq":10')$$, 'columns differ from the body', 'another seq'),
    ($$replace(body, ',"seq":9', '')$$, 'columns differ from the body', 'no seq'),
    ($$regexp_replace(body, '"org":"[^"]*"', '"org":"00000000-0000-0000-0000-000000000000"')$$, 'columns differ from the body', 'another org'),
    ($$replace(body, '"at":"2', '"at":"3')$$, 'columns differ from the body', 'another time')
  ) AS v(change, wanted, what);
SELECT is(found(entry($$UPDATE walwarden_internal.audit_entry SET at = (to_char(at, 'YYYY-MM-DD HH24:MI:SS.US') || ' BC')::timestamptz WHERE org_id = '%s' AND seq = 4$$)),
    'f 4 columns differ from the body', 'the same time before Christ');
SELECT is(found(entry($$UPDATE walwarden_internal.audit_entry SET hash = '\x00' WHERE org_id = '%s' AND seq = 4$$)), 'f 4 hash does not match the body', 'a hash cut short');
SELECT is(found(entry($$UPDATE walwarden_internal.audit_entry SET kind = 'app.w' WHERE org_id = '%s' AND seq = 4$$)), 'f 4 columns differ from the body', 'a changed kind');
SELECT is(found(entry($$UPDATE walwarden_internal.audit_entry SET at = at + interval '1 us' WHERE org_id = '%s' AND seq = 4$$)), 'f 4 columns differ from the body', 'a changed time');
SELECT is(found(entry($$UPDATE walwarden_internal.audit_entry SET at = 'infinity' WHERE org_id = '%s' AND seq = 4$$)), 'f 4 columns differ from the body', 'an infinite time');
-- the time of the last entry, in the column and in the body, hashed again
CREATE FUNCTION last_at(change text) RETURNS text LANGUAGE sql AS $$
    SELECT format('UPDATE walwarden_internal.audit_entry AS e SET at = c.at, body = c.b, hash = digest(encode(e.prev_hash, ''hex'') || c.b, ''sha256'') '
                  'FROM (SELECT l.org_id, l.seq, n.at, replace(l.body, walwarden_internal.iso(l.at), walwarden_internal.iso(n.at)) AS b '
                  'FROM walwarden_internal.audit_entry AS l JOIN walwarden_internal.audit_entry AS p ON p.org_id = l.org_id AND p.seq = l.seq - 1, LATERAL (SELECT %s) AS n(at)) AS c, '
                  'walwarden_internal.org AS o WHERE o.slug = ''thief'' AND e.org_id = o.id AND e.seq = 9 AND (c.org_id, c.seq) = (e.org_id, e.seq)', change)
$$;
SELECT is(found(last_at($$p.at - interval '1 us'$$), 'thief'), 'f 9 at is earlier than in the previous entry', 'an entry that is earlier than the one before');
SELECT is(found(last_at('p.at'), 'thief'), 't  ', 'the same time is none');
SELECT is(found(entry($$UPDATE walwarden_internal.audit_entry SET job_id = gen_random_uuid() WHERE org_id = '%s' AND seq = 4$$)), 'f 4 columns differ from the body', 'a changed job');
SELECT is(found(entry($$DELETE FROM walwarden_internal.audit_entry WHERE org_id = '%s' AND seq = 4$$)), 'f 4 entry is missing', 'an entry deleted in the middle');
SELECT is(found(entry($$DELETE FROM walwarden_internal.audit_entry WHERE org_id = '%s' AND seq = 1$$)), 'f 1 entry is missing', 'the first entry deleted');
SELECT is(found(entry($$UPDATE walwarden_internal.audit_entry SET seq = CASE seq WHEN 4 THEN 1000 ELSE seq END WHERE org_id = '%s'$$)), 'f 4 entry is missing', 'an entry moved to the end');
SELECT is(found(entry($$SELECT rehash('%1$s', 4, (SELECT replace(body, '"data":3', '"data":4') FROM walwarden_internal.audit_entry WHERE org_id = '%1$s' AND seq = 4))$$)),
    'f 5 prev_hash does not match the hash of the previous entry', 'a changed body, hashed again: the next one tells');
SELECT is(found(entry($$UPDATE walwarden_internal.audit_entry AS v SET body = t.body, hash = t.hash, kind = t.kind, at = t.at
                          FROM walwarden_internal.audit_entry AS t, walwarden_internal.org AS o WHERE o.slug = 'thief' AND t.org_id = o.id AND t.seq = 4 AND v.org_id = '%s' AND v.seq = 4$$)),
    'f 4 hash does not match the body', 'an entry of another chain');
SELECT is(found($$DELETE FROM walwarden_internal.audit_entry AS e USING walwarden_internal.org AS o WHERE o.slug = 'victim' AND e.org_id = o.id AND e.seq > 2$$),
    'f 10 member <id> differs from entry 10', 'a deleted tail shows in the state');
SELECT is(found($$DELETE FROM walwarden_internal.audit_entry AS e USING walwarden_internal.org AS o WHERE o.slug = 'thief' AND e.org_id = o.id AND e.seq > 5$$, 'thief'),
    't  ', 'a deleted tail of the application''s entries shows only to who holds a head');

-- entries in another order: places exchanged, and contents
CREATE FUNCTION exchange(columns text) RETURNS text LANGUAGE sql AS $$
    SELECT format('UPDATE walwarden_internal.audit_entry AS e SET (%1$s) = (SELECT %1$s FROM walwarden_internal.audit_entry AS o WHERE o.org_id = e.org_id AND o.seq = 11 - e.seq) '
                  'WHERE e.org_id = (SELECT id FROM walwarden_internal.org WHERE slug = ''victim'') AND e.seq IN (5, 6)', columns)
$$;
SELECT is(found(entry($$UPDATE walwarden_internal.audit_entry SET seq = -seq WHERE org_id = '%1$s' AND seq IN (5, 6); UPDATE walwarden_internal.audit_entry SET seq = 11 + seq WHERE org_id = '%1$s' AND seq < 0$$)),
    'f 5 columns differ from the body', 'two entries that change places');
SELECT is(found(exchange('body, kind, at, job_id')), 'f 5 hash does not match the body', 'two that change what they say');
SELECT is(found(exchange('body, kind, at, job_id, hash')), 'f 5 hash does not match the body', 'and their hashes');

-- whoever holds an earlier head finds what the chain itself no longer tells
SELECT entries AS thief_seq, head_hash AS thief_head FROM walwarden.verify_audit_chain('thief') \gset
CREATE FUNCTION found_by_head(deed text, seq bigint, hash text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    alone text;
    with_head text;
BEGIN
    PERFORM disarm();
    EXECUTE deed;
    PERFORM rearm();
    SELECT format('%s', v.ok) INTO alone FROM walwarden.verify_audit_chain('thief') AS v;
    SELECT format('%s %s %s', v.ok, v.first_bad_seq, v.reason) INTO with_head FROM walwarden.verify_audit_chain('thief', seq, hash) AS v;
    RAISE SQLSTATE 'WW000' USING MESSAGE = format('%s, %s', alone, with_head);
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN SQLERRM;
END$$;
SELECT is(found_by_head('SELECT 1', :thief_seq, :'thief_head'), 't, t  ', 'no deed, no finding');
SELECT is(found_by_head($$DELETE FROM walwarden_internal.audit_entry AS e USING walwarden_internal.org AS o WHERE o.slug = 'thief' AND e.org_id = o.id AND e.seq > 5$$, :thief_seq, :'thief_head'),
    't, f 6 tail is lost: the expected entry is missing', 'a deleted tail');
SELECT is(found_by_head($$DELETE FROM walwarden_internal.audit_entry AS e USING walwarden_internal.org AS o WHERE o.slug = 'thief' AND e.org_id = o.id AND e.seq = 9;
                          ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER append;
                          SELECT walwarden.append_audit('app.t', '"another"', NULL, 'thief')$$, :thief_seq, :'thief_head'),
    't, f 9 entry is not the expected one', 'another entry in the place of the last one');
SELECT is(found_by_head(last_body($$replace(body, '"data":8', '"data":80')$$), :thief_seq, :'thief_head'), 't, f 9 entry is not the expected one', 'the last entry, changed and hashed again');
SELECT is(found('TRUNCATE walwarden_internal.audit_entry'), 'f 1 org <id> differs from entry 1', 'all entries gone');
SELECT is(found('TRUNCATE walwarden_internal.audit_entry', '_system') ~ '^f \d+ ', true, 'of the system chain too');

-- the present state against the chain
SELECT is(found(format($$UPDATE walwarden_internal.token SET scopes = '{databases:read,databases:write}' WHERE id = %L$$, :'live')), 'f 13 token <id> differs from entry 13', 'widened scopes');
SELECT is(found(format($$UPDATE walwarden_internal.token SET revoked_at = NULL WHERE id = %L$$, :'tid')), 'f 12 token <id> differs from entry 12', 'an undone revoke');
SELECT is(found(format($$UPDATE walwarden_internal.token SET revoked_at = NULL, revoked_by = NULL, revoked_reason = NULL, audit_seq = 11 WHERE id = %L$$, :'tid')),
    'f 12 token <id> is older than entry 12', 'an undone revoke that hides behind an older entry');
SELECT is(found(format($$UPDATE walwarden_internal.token SET owner_id = (SELECT id FROM walwarden_internal.member WHERE subject = 'vic') WHERE id = %L$$, :'live')), 'f 13 token <id> differs from entry 13', 'another owner');
SELECT is(found(format($$UPDATE walwarden_internal.token SET expires_at = now() WHERE id = %L$$, :'live')), 'f 13 token <id> differs from entry 13', 'another expiry');
SELECT is(found(format($$UPDATE walwarden_internal.credential SET fingerprint = sha256('mine') WHERE token_id = %L$$, :'live')), 'f 13 a credential of token <id> is not in entry 13', 'a swapped fingerprint');
SELECT is(found(format($$INSERT INTO walwarden_internal.credential SELECT sha256('mine'), token_id, kind, now(), NULL, audit_seq FROM walwarden_internal.credential WHERE token_id = %L$$, :'live')), 'f 13 a credential of token <id> is not in entry 13', 'a second credential');
SELECT is(found(format($$UPDATE walwarden_internal.credential SET token_id = %L WHERE token_id = %L$$, :'live', :'tid')), 'f 11 a credential of token <id> is not in entry 11', 'a credential moved to another token');
SELECT is(found(format($$DELETE FROM walwarden_internal.credential WHERE token_id = %L$$, :'live')), 'f 13 token <id> differs from entry 13', 'a missing credential');
SELECT is(found(format($$UPDATE walwarden_internal.credential SET scopes = '{databases:write}', stopped = NULL, expires_at = NULL WHERE token_id = %L$$, :'live')), 't  ', 'what a credential says of its token is the token''s, whatever an UPDATE says');
SELECT is(found(format($$ALTER TABLE walwarden_internal.credential DISABLE TRIGGER copy_token_status; UPDATE walwarden_internal.credential SET %s WHERE token_id = %L; ALTER TABLE walwarden_internal.credential ENABLE ALWAYS TRIGGER copy_token_status$$, change, :'live')),
    'f 13 a credential of token <id> does not have its status', 'without its trigger: ' || change)
  FROM (VALUES ($$scopes = '{databases:write}'$$), ($$stopped = 'disabled'$$), ('owner_id = gen_random_uuid()'), ($$role = 'admin'$$),
               ('org_id = NULL'), ($$token_kind = 'node'$$), ('expires_at = now()')) AS v(change);
SELECT is(found($$SET LOCAL session_replication_role = replica; ALTER TABLE walwarden_internal.credential DISABLE TRIGGER copy_token_status;
    INSERT INTO walwarden_internal.credential (fingerprint, token_id, kind, created_at, audit_seq, org_id, token_kind, scopes)
    SELECT sha256('mine'), gen_random_uuid(), 'bearer', now(), 2, o.id, 'api', '{databases:write}' FROM walwarden_internal.org AS o WHERE o.slug = 'victim';
    ALTER TABLE walwarden_internal.credential ENABLE ALWAYS TRIGGER copy_token_status; SET LOCAL session_replication_role = origin$$), 'f 2 a credential of token <id> has no token', 'a credential of no token');
-- rows that belong to no chain, put in where no foreign key is enforced
CREATE FUNCTION planted(statement text) RETURNS text LANGUAGE sql AS $$
    SELECT 'SET LOCAL session_replication_role = replica; ' || statement || '; SET LOCAL session_replication_role = origin'
$$;
SELECT is(found(planted(deed), '_system'), 'f  ' || wanted, what)
  FROM (VALUES
    ($$INSERT INTO walwarden_internal.credential (fingerprint, token_id, kind, created_at, audit_seq) VALUES (sha256('mine'), gen_random_uuid(), 'bearer', now(), 2)$$,
     'a credential of token <id> has no token', 'a credential of nothing'),
    (format($$INSERT INTO walwarden_internal.token (org_id, name, kind, scopes, created_at, created_by, audit_seq) SELECT gen_random_uuid(), 'planted', kind, scopes, now(), 'x', 2 FROM walwarden_internal.token WHERE id = %L$$, :'live'),
     'token <id> belongs to no organisation', 'a token of no organisation'),
    ($$ALTER TABLE walwarden_internal.member ALTER org_id DROP NOT NULL; INSERT INTO walwarden_internal.member (org_id, subject, salt, person, role, created_at, audit_seq) SELECT NULL, 'x', salt, person, role, now(), 2 FROM walwarden_internal.member WHERE subject = 'vic'$$,
     'member <id> belongs to no organisation', 'a member whose organisation is NULL'),
    ($$INSERT INTO walwarden_internal.org_slug VALUES ('taken', gen_random_uuid())$$, 'slug taken belongs to no organisation', 'a slug that nobody had'),
    ($$INSERT INTO walwarden_internal.destination (org_id, name, provider, uri, retention_floor_days, created_at, updated_at, audit_seq) VALUES (gen_random_uuid(), 'd', 'local', 'file:///', 0, now(), now(), 2)$$,
     'destination <id> belongs to no organisation', 'a destination')) AS v(deed, wanted, what);
SELECT is(found(format($$DELETE FROM walwarden_internal.token_usage WHERE token_id = %1$L; DELETE FROM walwarden_internal.credential WHERE token_id = %1$L; DELETE FROM walwarden_internal.token WHERE id = %1$L$$, :'live')),
    'f 13 token <id> of entry 13 is missing', 'a missing token');
SELECT is(found(format($$INSERT INTO walwarden_internal.token (org_id, name, kind, scopes, created_at, created_by, audit_seq) SELECT org_id, 'planted', 'api', scopes, now(), 'x', 13 FROM walwarden_internal.token WHERE id = %L$$, :'live')),
    'f 13 token <id> differs from entry 13', 'a planted token');
SELECT is(found(format($$UPDATE walwarden_internal.token SET %s WHERE id = %L$$, change, :'live')), 'f 13 token <id> differs from entry 13', change)
  FROM (VALUES ($$expires_at = '-infinity'$$), ($$revoked_at = 'infinity'$$), ($$expires_at = '0044-03-15 BC'$$), ($$created_at = (to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00 BC')::timestamptz$$)) AS v(change);
SELECT is(found($$UPDATE walwarden_internal.member SET disabled_at = 'infinity' WHERE subject = 'vic'$$), 'f 10 member <id> differs from entry 10', 'disabled at the end of time');
SELECT is(found($$UPDATE walwarden_internal.member SET role = 'admin' WHERE subject = 'vic'$$), 'f 10 member <id> differs from entry 10', 'another role');
SELECT is(found(format($$UPDATE walwarden_internal.org SET retention = %L WHERE slug = 'victim'$$, retention)),
    'f 1 org <id> differs from entry 1', 'a retention of ' || retention)
  FROM unnest('{7 days 0.4 s,6 days,1 mon}'::text[]) AS retention;
SELECT is(found($$UPDATE walwarden_internal.org SET plan = 'free' WHERE slug = 'victim'$$), 'f 1 org <id> differs from entry 1', 'another plan');
SELECT is(found($$UPDATE walwarden_internal.role_override SET scopes = '{databases:write}' WHERE role = 'member'$$, '_system'), 'f ' || (SELECT audit_seq FROM walwarden_internal.role_override WHERE role = 'member') || ' role member differs from entry ' || (SELECT audit_seq FROM walwarden_internal.role_override WHERE role = 'member'), 'a role''s scopes');
SELECT is(found($$DELETE FROM walwarden_internal.role_override WHERE role = 'member'$$, '_system'), 'f ' || (SELECT audit_seq FROM walwarden_internal.role_override WHERE role = 'member') || ' role member of entry ' || (SELECT audit_seq FROM walwarden_internal.role_override WHERE role = 'member') || ' is missing', 'a missing override');
SELECT audit_seq AS x_seq FROM walwarden_internal.scope WHERE name = 'x:read' \gset
SELECT is(found($$DELETE FROM walwarden_internal.scope WHERE name = 'x:read'$$, '_system'), format('f %1$s scope x:read of entry %1$s is missing', :x_seq), 'a missing scope');
SELECT is(found($$INSERT INTO walwarden_internal.role_grant VALUES ('operator', 't_nobody', NULL, now(), NULL, 1, 1, NULL, '1')$$, '_system'), 'f 1 grant operator:t_nobody differs from entry 1', 'a planted operator');
SELECT is(found($$INSERT INTO walwarden_internal.role_grant VALUES ('authenticator', 't_nobody', NULL, now(), NULL, 1, 1, NULL, '1')$$, '_system'), 'f 1 grant authenticator:t_nobody differs from entry 1', 'a planted authenticator');
-- what entries say of a scope grows: rows from before are as they were
SELECT is(found($$ALTER TABLE walwarden_internal.scope ADD COLUMN owner text;
    CREATE OR REPLACE FUNCTION walwarden_internal.scope_image(s walwarden_internal.scope) RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
        AS 'SELECT walwarden_internal.with_later(jsonb_build_object(''name'', s.name, ''label'', s.label, ''description'', s.description), jsonb_build_object(''owner'', s.owner))'; $$ || grown, '_system'),
    wanted, what)
  FROM (VALUES ('', 'f  column owner was added to walwarden_internal.scope', 'a column that came later changes no row'),
               ($$UPDATE walwarden_internal.scope SET owner = 'x' WHERE name = 'x:read'$$, format('f %1$s scope x:read differs from entry %1$s', :x_seq), 'its value is a part of the row')) AS v(grown, wanted, what);
-- what an entry says of a row, though it is a sound one
CREATE FUNCTION entry_of(object text) RETURNS text LANGUAGE sql AS $$
    SELECT format('ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER append; '
                  'INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) SELECT id, ''token.updated'', %L FROM walwarden_internal.org WHERE slug = ''victim''',
                  jsonb_build_object('object', object::jsonb))
$$;
-- triggers beside the one that hashes: what an earlier one edits would be hashed, what a later one edits fails the CHECK
CREATE FUNCTION edit_actor() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.body := replace(NEW.body, 'operator', 'member'); RETURN NEW; END$$;
SAVEPOINT triggers;
CREATE TRIGGER aaa BEFORE INSERT ON walwarden_internal.audit_entry FOR EACH ROW EXECUTE FUNCTION edit_actor();
SELECT throws_ok($$SELECT walwarden.append_audit('app.x', '{}', NULL, 'victim')$$, '55000', 'trigger "aaa" runs before the entry is hashed', 'an earlier trigger');
ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER aaa;
SELECT lives_ok($$SELECT walwarden.append_audit('app.x', '{}', NULL, 'victim')$$, 'one that does not run');
ROLLBACK TO triggers;
CREATE TRIGGER zzz BEFORE INSERT ON walwarden_internal.audit_entry FOR EACH ROW EXECUTE FUNCTION edit_actor();
SELECT throws_ok($$SELECT walwarden.append_audit('app.x', '{}', NULL, 'victim')$$, '23514', NULL, 'a later trigger');
ROLLBACK TO triggers;
SELECT is(found(entry_of(object)), wanted, 'an entry of ' || what)
  FROM (VALUES
    ('{"type":"token","id":"nobody"}', 'f 14 token nobody of entry 14 is missing', 'a token whose id is no uuid'),
    ('{"type":"token","id":"9b2f0d3e-0000-4000-8000-000000000000"}', 'f 14 token <id> of entry 14 is missing', 'a token that is not there'),
    ('{"type":"x","id":"y"}', 'f 14 x y of entry 14 is missing', 'an unknown type'),
    ('{"type":"scope","id":"x:read"}', 'f 14 scope x:read of entry 14 is missing', 'a row of the system chain'),
    ('{}', 'f 14   of entry 14 is missing', 'an object without a name'),
    ('null', 'f 14   of entry 14 is missing', 'no object')
  ) AS v(object, wanted, what);
SELECT is(found(entry_of(format('{"type":"org","id":"%s"}', :'thief'))), 'f 14 org <id> of entry 14 is missing', 'an entry of another organisation''s row');
SELECT is(found(entry_of(format('{"type":"token","id":"%s"}', :'live'))), 'f 14 token <id> is older than entry 14', 'an entry that its row does not know');
SELECT is(found($$ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER append; SELECT walwarden.append_audit('app.x', '{"object":{"type":"token","id":"nobody"}}', NULL, 'victim')$$),
    't  ', 'what an application calls object is none of ours');
SELECT is(found(format($$UPDATE walwarden_internal.token SET audit_seq = 999 WHERE id = %L$$, :'live')), 'f 999 token <id> differs from entry 999', 'a row of an entry to come');
SELECT is(found(format($$UPDATE walwarden_internal.token SET scopes = '{}', audit_seq = audit_seq WHERE id = %L; UPDATE walwarden_internal.member SET sso = true WHERE subject = 'vic'$$, :'live')),
    'f 10 member <id> differs from entry 10', 'of two findings the first');
SELECT is(found(format($$UPDATE walwarden_internal.token_usage SET last_used_at = now() WHERE token_id = %L$$, :'live')), 't  ', 'a use is no difference');

-- what verification cannot know: who was there, and who made an entry
CREATE FUNCTION found_anywhere(deed text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM disarm();
    EXECUTE deed;
    PERFORM rearm();
    RAISE SQLSTATE 'WW000' USING MESSAGE = (SELECT coalesce(string_agg(v.reason, '; '), 'nothing') FROM walwarden.verify_audit_chain() AS v WHERE NOT ok);
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN SQLERRM;
END$$;
SELECT is(found_anywhere($$DELETE FROM walwarden_internal.audit_entry AS e USING walwarden_internal.org AS o WHERE o.slug = 'thief' AND e.org_id = o.id; 
    ALTER TABLE walwarden_internal.org_slug DISABLE TRIGGER refuse_change; DELETE FROM walwarden_internal.org_slug WHERE slug = 'thief'; DELETE FROM walwarden_internal.org WHERE slug = 'thief';
    ALTER TABLE walwarden_internal.org_slug ENABLE ALWAYS TRIGGER refuse_change$$),
    'nothing', 'an organisation erased whole');
SELECT is(found_anywhere(format($$
    ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER append;
    WITH made AS (
        INSERT INTO walwarden_internal.audit_entry (org_id, kind, body)
        SELECT org_id, 'token.updated', jsonb_set(body::jsonb -> 'payload', '{after,scopes}', '["databases:read","databases:write"]') - 'org' - 'seq'
          FROM walwarden_internal.audit_entry WHERE body::jsonb #>> '{payload,after,id}' = %1$L
        RETURNING seq)
    UPDATE walwarden_internal.token SET scopes = '{databases:read,databases:write}', audit_seq = made.seq FROM made WHERE id = %1$L;
    -- an error unless it was done
    SELECT 1 / count(*) FROM walwarden_internal.token WHERE id = %1$L AND 'databases:write' = ANY (scopes)$$, :'live')),
    'nothing', 'a matching entry by hand');

-- the guards themselves, and whatever else stands around the tables
CREATE FUNCTION suppress_nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE FUNCTION edit_key(change text) RETURNS text LANGUAGE sql AS $$
    SELECT format('UPDATE pg_trigger SET %s WHERE tgconstraint = (SELECT oid FROM pg_constraint WHERE conname = ''node_org_id_fkey'') AND tgtype = 5', change)
$$;
CREATE FUNCTION guard_found(deed text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE deed;
    RAISE SQLSTATE 'WW000' USING MESSAGE = (SELECT format('%s %s', v.reason, s.reason IS NOT DISTINCT FROM v.reason) FROM walwarden.verify_audit_chain('other') AS v, walwarden.verify_audit_chain_sql('other') AS s);
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN SQLERRM;
END$$;
SELECT is(guard_found(deed), wanted || ' t', what)
  FROM (VALUES
    ('ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER refuse_change',
     'trigger refuse_change on walwarden_internal.audit_entry is missing, altered or not ENABLE ALWAYS', 'a disabled trigger'),
    ('ALTER TABLE walwarden_internal.audit_entry ENABLE TRIGGER append',
     'trigger append on walwarden_internal.audit_entry is missing, altered or not ENABLE ALWAYS', 'a trigger that pg_restore --disable-triggers left weak'),
    ('CREATE OR REPLACE TRIGGER refuse_change BEFORE DELETE ON walwarden_internal.audit_entry FOR EACH ROW EXECUTE FUNCTION walwarden_internal.refuse_change(); ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER refuse_change',
     'trigger refuse_change on walwarden_internal.audit_entry is missing, altered or not ENABLE ALWAYS', 'a trigger that guards less'),
    ('CREATE OR REPLACE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON walwarden_internal.audit_entry FOR EACH ROW WHEN (false) EXECUTE FUNCTION walwarden_internal.refuse_change(); ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER refuse_change',
     'trigger refuse_change on walwarden_internal.audit_entry is missing, altered or not ENABLE ALWAYS', 'a trigger that never fires'),
    ('CREATE OR REPLACE TRIGGER refuse_truncate BEFORE TRUNCATE ON walwarden_internal.audit_entry FOR EACH STATEMENT EXECUTE FUNCTION suppress_nothing(); ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER refuse_truncate',
     'trigger refuse_truncate on walwarden_internal.audit_entry is missing, altered or not ENABLE ALWAYS', 'a trigger with another function'),
    ('ALTER TABLE walwarden_internal.audit_entry DROP CONSTRAINT audit_entry_is_valid',
     'constraint audit_entry_is_valid of walwarden_internal.audit_entry is missing, altered or not validated', 'a missing CHECK'),
    ('ALTER TABLE walwarden_internal.audit_entry DROP CONSTRAINT audit_entry_is_valid, ADD CONSTRAINT audit_entry_is_valid CHECK (true)',
     'constraint audit_entry_is_valid of walwarden_internal.audit_entry is missing, altered or not validated', 'a CHECK that checks nothing'),
    ('ALTER TABLE walwarden_internal.audit_entry DROP CONSTRAINT audit_entry_org_id_prev_hash_key',
     'constraint audit_entry_org_id_prev_hash_key of walwarden_internal.audit_entry is missing, altered or not validated', 'a missing key'),
    ('CREATE RULE swallow AS ON INSERT TO walwarden_internal.audit_entry DO INSTEAD NOTHING',
     'rule swallow was added to walwarden_internal.audit_entry', 'a rule that swallows entries'),
    ($$ALTER TABLE walwarden_internal.role DISABLE TRIGGER ALL; UPDATE walwarden_internal.role SET capabilities = '{member,manage_tokens}' WHERE name = 'read_only'; ALTER TABLE walwarden_internal.role ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate$$,
     'the built-in catalogues are not as they were installed', 'a built-in role that can do more'),
    ($$ALTER TABLE walwarden_internal.permission DISABLE TRIGGER ALL; UPDATE walwarden_internal.permission SET any_of = any_of || '{member}'; ALTER TABLE walwarden_internal.permission ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate$$,
     'the built-in catalogues are not as they were installed', 'permissions for everyone'),
    ($$ALTER TABLE walwarden_internal.table_structure DISABLE TRIGGER refuse_change; DELETE FROM walwarden_internal.table_structure WHERE name = 'token_kind_check';
       ALTER TABLE walwarden_internal.table_structure ENABLE ALWAYS TRIGGER refuse_change; ALTER TABLE walwarden_internal.token DROP CONSTRAINT token_kind_check$$,
     'the built-in catalogues are not as they were installed', 'a CHECK that is missing from the list too'),

    ('CREATE TRIGGER aaa BEFORE INSERT ON walwarden_internal.audit_entry FOR EACH ROW EXECUTE FUNCTION suppress_nothing()',
     'trigger aaa was added to walwarden_internal.audit_entry', 'a trigger that edits what is appended'),
    ('CREATE TRIGGER aaa AFTER INSERT ON walwarden_internal.verification EXECUTE FUNCTION suppress_nothing()',
     'trigger aaa was added to walwarden_internal.verification', 'a trigger on a table that has no guard'),
    ($$CREATE TRIGGER aaa BEFORE INSERT ON walwarden_internal.audit_entry FOR EACH ROW EXECUTE FUNCTION suppress_nothing(); UPDATE pg_trigger SET tgisinternal = true WHERE tgname = 'aaa'$$,
     'trigger aaa was added to walwarden_internal.audit_entry', 'a trigger that is marked as internal'),
    ('CREATE CONSTRAINT TRIGGER late AFTER INSERT ON walwarden_internal.token DEFERRABLE FOR EACH ROW EXECUTE FUNCTION suppress_nothing()',
     'constraint late was added to walwarden_internal.token', 'a constraint trigger'),
    ('CREATE TRIGGER instead INSTEAD OF INSERT ON walwarden.token_list FOR EACH ROW EXECUTE FUNCTION suppress_nothing()',
     'trigger instead was added to walwarden.token_list', 'a trigger on a view'),
    ('ALTER TABLE walwarden_internal.node DISABLE TRIGGER ALL',
     'trigger of constraint alarm_node_id_fkey on walwarden_internal.node is disabled or altered', 'foreign keys that are not enforced'),
    ($$UPDATE pg_trigger SET tgenabled = 'R' WHERE tgrelid = 'walwarden_internal.node'::regclass AND tgisinternal$$,
     'trigger of constraint alarm_node_id_fkey on walwarden_internal.node is disabled or altered', 'foreign keys that only a replica enforces'),
    ($$DELETE FROM pg_trigger WHERE tgconstraint = (SELECT oid FROM pg_constraint WHERE conname = 'node_org_id_fkey')$$,
     'constraint node_org_id_fkey of walwarden_internal.node is missing, altered or not validated', 'a foreign key without triggers'),
    ($$CREATE TRIGGER aaa BEFORE UPDATE ON walwarden_internal.token FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); UPDATE pg_trigger SET tgisinternal = true WHERE tgname = 'aaa'$$,
     'trigger aaa was added to walwarden_internal.token', 'the same with a function of the server'),
    ($$CREATE TRIGGER aaa BEFORE UPDATE ON walwarden_internal.token FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
       UPDATE pg_trigger SET tgisinternal = true, tgconstraint = (SELECT oid FROM pg_constraint WHERE conname = 'token_org_id_fkey') WHERE tgname = 'aaa'$$,
     'constraint token_org_id_fkey of walwarden_internal.token is missing, altered or not validated', 'and as one of a foreign key'),
    ($$CREATE TRIGGER aaa BEFORE UPDATE ON walwarden_internal.token FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
       UPDATE pg_trigger SET tgisinternal = true, tgconstraint = (SELECT oid FROM pg_constraint WHERE conname = 'token_kind_check') WHERE tgname = 'aaa'$$,
     'trigger aaa was added to walwarden_internal.token', 'or of a CHECK'),
    ($$UPDATE pg_class SET relhastriggers = false WHERE oid = 'walwarden_internal.audit_entry'::regclass$$,
     'pg_class hides triggers, indexes or constraints of walwarden_internal.audit_entry', 'triggers that the server does not look for'),

    ('ALTER TABLE walwarden_internal.token DROP CONSTRAINT token_org_id_fkey, ADD CONSTRAINT token_org_id_fkey FOREIGN KEY (org_id) REFERENCES walwarden_internal.org NOT VALID',
     'constraint token_org_id_fkey of walwarden_internal.token is missing, altered or not validated', 'a foreign key that is not validated'),
    ('ALTER TABLE walwarden_internal.token DROP CONSTRAINT token_org_id_fkey, ADD CONSTRAINT token_org_id_fkey FOREIGN KEY (org_id) REFERENCES walwarden_internal.org ON DELETE CASCADE',
     'constraint token_org_id_fkey of walwarden_internal.token is missing, altered or not validated', 'a foreign key that deletes'),
    ('ALTER TABLE walwarden_internal.token ALTER CONSTRAINT token_org_id_fkey DEFERRABLE INITIALLY DEFERRED',
     'constraint token_org_id_fkey of walwarden_internal.token is missing, altered or not validated', 'a foreign key that waits'),
    ('ALTER TABLE walwarden_internal.token DROP CONSTRAINT token_owner_id_fkey',
     'constraint token_owner_id_fkey of walwarden_internal.token is missing, altered or not validated', 'a missing foreign key'),
    ($$ALTER TABLE walwarden_internal.token DROP CONSTRAINT token_kind_check, ADD CONSTRAINT token_kind_check CHECK (kind IN ('api', 'node', 'legacy', 'own'))$$,
     'constraint token_kind_check of walwarden_internal.token is missing, altered or not validated', 'a CHECK that allows more'),
    ('ALTER TABLE walwarden_internal.credential DROP CONSTRAINT credential_fingerprint_check, ADD CONSTRAINT credential_fingerprint_check CHECK (octet_length(fingerprint) >= 16)',
     'constraint credential_fingerprint_check of walwarden_internal.credential is missing, altered or not validated', 'a CHECK that allows longer ones'),
    ('ALTER TABLE walwarden_internal.member ADD CONSTRAINT none CHECK (removed_at IS NULL) NOT VALID',
     'constraint none was added to walwarden_internal.member', 'a CHECK that was added'),
    ('ALTER TABLE walwarden_internal.node ADD CONSTRAINT none EXCLUDE (token_id WITH =)',
     'constraint none was added to walwarden_internal.node', 'an exclusion that was added'),
    ('ALTER TABLE walwarden_internal.org DROP CONSTRAINT org_slug_key',
     'constraint org_slug_key of walwarden_internal.org is missing, altered or not validated', 'a missing UNIQUE'),
    ('CREATE TABLE mine (org uuid REFERENCES walwarden_internal.org ON DELETE CASCADE)',
     'foreign key mine_org_fkey of public.mine refers to walwarden_internal.org', 'a foreign key of another table'),
    ($$UPDATE pg_constraint SET conpfeqop = ARRAY['<>(uuid,uuid)'::regoperator] WHERE conname = 'node_org_id_fkey'$$,
     'constraint node_org_id_fkey of walwarden_internal.node is missing, altered or not validated', 'a foreign key that compares in another way'),
    ('CREATE DOMAIN kinds AS text; ALTER TABLE walwarden_internal.token DROP CONSTRAINT token_kind_check, ADD CONSTRAINT token_kind_check CHECK (kind = ANY (ARRAY[''api''::kinds, ''node''::kinds, ''legacy''::kinds]::text[]))',
     'constraint token_kind_check of walwarden_internal.token is missing, altered or not validated', 'a CHECK by way of another type'),
    ('DROP INDEX walwarden_internal.member_subject_key',
     'index member_subject_key of walwarden_internal.member is missing, altered or invalid', 'a missing unique index'),
    ('DROP INDEX walwarden_internal.member_subject_key; CREATE UNIQUE INDEX member_subject_key ON walwarden_internal.member (org_id, subject) WHERE removed_at IS NULL AND NOT sso',
     'index member_subject_key of walwarden_internal.member is missing, altered or invalid', 'a unique index of fewer rows'),
    ($$UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'walwarden_internal.audit_entry_pkey'::regclass$$,
     'index audit_entry_pkey of walwarden_internal.audit_entry is missing, altered or invalid', 'an invalid index'),
    ($$UPDATE pg_index SET indisready = false WHERE indexrelid = 'walwarden_internal.credential_by_org'::regclass$$,
     'index credential_by_org of walwarden_internal.credential is missing, altered or invalid', 'an index that gets no rows'),
    ($$UPDATE pg_index SET indimmediate = false WHERE indexrelid = 'walwarden_internal.org_slug_key'::regclass$$,
     'index org_slug_key of walwarden_internal.org is missing, altered or invalid', 'an index that is checked later'),
    ('DROP INDEX walwarden_internal.member_subject_key; CREATE UNIQUE INDEX member_subject_key ON walwarden_internal.member (org_id, subject text_pattern_ops) WHERE removed_at IS NULL',
     'index member_subject_key of walwarden_internal.member is missing, altered or invalid', 'a unique index of another operator class'),
    ('DROP INDEX walwarden_internal.member_subject_key; CREATE UNIQUE INDEX member_subject_key ON walwarden_internal.member (org_id, subject COLLATE "POSIX") WHERE removed_at IS NULL',
     'index member_subject_key of walwarden_internal.member is missing, altered or invalid', 'a unique index of another collation'),
    ('CREATE UNIQUE INDEX one ON walwarden_internal.token (org_id, name)',
     'index one was added to walwarden_internal.token', 'a unique index that was added'),
    ('CREATE FUNCTION seen(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN $1; CREATE INDEX seen ON walwarden_internal.audit_entry (seen(kind))',
     'index seen was added to walwarden_internal.audit_entry', 'an index that calls a function of somebody''s'),

    ('ALTER TABLE walwarden_internal.scope ALTER builtin DROP DEFAULT',
     'column builtin of walwarden_internal.scope is missing, altered or moved', 'a missing default'),
    ('ALTER TABLE walwarden_internal.org ALTER retention SET DEFAULT interval ''0''',
     'column retention of walwarden_internal.org is missing, altered or moved', 'another default'),
    ('ALTER TABLE walwarden_internal.token ALTER stopped DROP EXPRESSION',
     'column stopped of walwarden_internal.token is missing, altered or moved', 'a column that is no longer generated'),
    ('ALTER TABLE walwarden_internal.token ALTER created_by DROP NOT NULL',
     'column created_by of walwarden_internal.token is missing, altered or moved', 'a column that may be null'),
    ('ALTER TABLE walwarden_internal.verification ALTER reason TYPE varchar(1000)',
     'column reason of walwarden_internal.verification is missing, altered or moved', 'a column of another type'),
    ('ALTER TABLE walwarden_internal.verification ALTER reason TYPE text COLLATE "C"',
     'column reason of walwarden_internal.verification is missing, altered or moved', 'a column of another collation'),
    ($$CREATE COLLATION public."C" FROM "POSIX"; UPDATE pg_attribute SET attcollation = 'public."C"'::regcollation WHERE attrelid = 'walwarden_internal.member'::regclass AND attname = 'subject'$$,
     'column subject of walwarden_internal.member is missing, altered or moved', 'a collation of the same name'),
    ('ALTER TABLE walwarden_internal.verification DROP reason, ADD reason text',
     'column reason of walwarden_internal.verification is missing, altered or moved', 'a column that was made again'),
    ('ALTER TABLE walwarden_internal.org ADD note text',
     'column note was added to walwarden_internal.org', 'a column that was added'),

    ('CREATE RULE swallow AS ON DELETE TO walwarden.stat_auth DO INSTEAD NOTHING',
     'rule swallow was added to walwarden.stat_auth', 'a rule on a view'),
    ('ALTER TABLE walwarden_internal.audit_entry ENABLE ROW LEVEL SECURITY',
     'row security is enabled on walwarden_internal.audit_entry', 'row security'),
    ('ALTER TABLE walwarden_internal.audit_entry FORCE ROW LEVEL SECURITY',
     'row security is forced on walwarden_internal.audit_entry', 'row security for the owner too'),
    ('CREATE POLICY hide ON walwarden_internal.token USING (false)',
     'policy hide was added to walwarden_internal.token', 'a policy'),
    ('CREATE TABLE child () INHERITS (walwarden_internal.role_grant)',
     'public.child inherits from walwarden_internal.role_grant', 'a child, whose rows show in the table'),
    ('CREATE TABLE parent (); ALTER TABLE walwarden_internal.token INHERIT parent',
     'walwarden_internal.token inherits from public.parent', 'a parent'),
    ('ALTER TABLE walwarden_internal.verification SET UNLOGGED',
     'table walwarden_internal.verification is unlogged', 'a table that a crash empties'),
    ('CREATE TABLE walwarden_internal.other ()',
     'table walwarden_internal.other was added', 'a table that was added'),
    ('CREATE FUNCTION walwarden_internal.append(uuid, text, jsonb) RETURNS bigint LANGUAGE sql SET search_path = pg_catalog, pg_temp AS ''SELECT 1''',
     'function walwarden_internal.append(pg_catalog.uuid,pg_catalog.text,pg_catalog.jsonb) was added', 'a function that is called in place of ours'),

    ('CREATE DOMAIN walwarden_internal.amount AS int', 'type walwarden_internal.amount was added', 'a domain'),
    ('CREATE TYPE walwarden.mood AS ENUM ()', 'type walwarden.mood was added', 'an enum'),
    ('CREATE TYPE walwarden_rest.shell', 'type walwarden_rest.shell was added', 'a type of nothing'),
    ('CREATE TYPE walwarden.pair AS (a int)', 'type walwarden.pair was added', 'a composite type'),
    ('CREATE OPERATOR walwarden_internal.=== (FUNCTION = uuid_eq, LEFTARG = uuid, RIGHTARG = uuid)',
     'operator walwarden_internal.===(pg_catalog.uuid,pg_catalog.uuid) was added', 'an operator'),
    ('CREATE OPERATOR FAMILY walwarden_internal.f USING btree', 'operator family walwarden_internal.f USING btree was added', 'an operator family'),
    ('CREATE COLLATION walwarden_internal.c FROM "C"', 'collation walwarden_internal.c was added', 'a collation'),
    ('CREATE STATISTICS walwarden_internal.s ON org_id, kind FROM walwarden_internal.audit_entry', 'statistics object walwarden_internal.s was added', 'statistics'),
    ('CREATE TEXT SEARCH CONFIGURATION walwarden.t (COPY = simple)', 'text search configuration walwarden.t was added', 'a text search configuration'),
    ('CREATE TABLE mine (); ALTER EXTENSION walwarden ADD TABLE mine', 'table public.mine was added to the extension', 'a table that joins the extension'),
    ('CREATE TABLE walwarden_internal.other (); ALTER EXTENSION walwarden ADD TABLE walwarden_internal.other',
     'table walwarden_internal.other was added to the extension', 'the same in its schema'),
    ('CREATE FUNCTION walwarden.current_org(text) RETURNS text IMMUTABLE RETURN $1; ALTER EXTENSION walwarden ADD FUNCTION walwarden.current_org(text)',
     'function walwarden.current_org(pg_catalog.text) was added to the extension', 'a function that joins'),
    ('CREATE DOMAIN walwarden_internal.amount AS int; ALTER EXTENSION walwarden ADD DOMAIN walwarden_internal.amount',
     'type walwarden_internal.amount was added to the extension', 'a domain that joins'),
    ('ALTER EXTENSION walwarden DROP FUNCTION walwarden.current_org(); DROP FUNCTION walwarden.current_org()',
     'function walwarden.current_org() is missing from the extension, or altered', 'a missing function'),
    ('ALTER TYPE walwarden_internal.caller ADD ATTRIBUTE x int', 'column x was added to walwarden_internal.caller', 'an attribute of a type'),
    ('ALTER FUNCTION walwarden_internal.system_org() VOLATILE', 'function walwarden_internal.system_org() is missing from the extension, or altered', 'another volatility'),
    ('ALTER FUNCTION walwarden.has_scope(text) PARALLEL SAFE', 'function walwarden.has_scope(pg_catalog.text) is missing from the extension, or altered', 'a function that parallel workers may call'),
    ('ALTER FUNCTION walwarden.authenticate(text, inet) STRICT', 'function walwarden.authenticate(pg_catalog.text,pg_catalog.inet) is missing from the extension, or altered', 'a function that is not called with NULL'),
    ('ALTER FUNCTION walwarden.has_scope(text) LEAKPROOF', 'function walwarden.has_scope(pg_catalog.text) is missing from the extension, or altered', 'a function of which the planner believes more'),
    ('ALTER FUNCTION walwarden_internal.chains() SET row_security = off', 'function walwarden_internal.chains() is missing from the extension, or altered', 'one setting more'),
    ('ALTER VIEW walwarden.token_list SET (security_barrier = false)', 'view walwarden.token_list is missing from the extension, or altered', 'a view that leaks'),
    ('ALTER VIEW walwarden.token_list RESET (security_barrier)', 'view walwarden.token_list is missing from the extension, or altered', 'the same by another name'),

    ('ALTER TABLE walwarden_internal.credential OWNER TO t_nobody',
     'table walwarden_internal.credential does not belong to the owner of the extension', 'a table of another owner'),
    ('ALTER VIEW walwarden_internal.shown_backup OWNER TO t_nobody',
     'type walwarden_internal.shown_backup does not belong to the owner of the extension', 'a view of another owner'),
    ('ALTER FUNCTION walwarden_internal.with_token_status(walwarden_internal.credential, walwarden_internal.token) OWNER TO t_nobody',
     'function walwarden_internal.with_token_status(walwarden_internal.credential,walwarden_internal.token) does not belong to the owner of the extension', 'a function of another owner'),
    ('ALTER TYPE walwarden_internal.caller OWNER TO t_nobody',
     'type walwarden_internal.caller does not belong to the owner of the extension', 'a type of another owner'),
    ('ALTER SCHEMA walwarden_rest OWNER TO t_nobody',
     'schema walwarden_rest does not belong to the owner of the extension', 'a schema of another owner'),
    ($$UPDATE pg_init_privs SET initprivs = initprivs || makeaclitem(4294967000, 10, 'USAGE', false) WHERE classoid = 'pg_namespace'::regclass AND objoid = 'walwarden_rest'::regnamespace$$,
     'privileges on schema walwarden_rest name role 4294967000, which does not exist', 'initial privileges of a role that was dropped'),
    ('ALTER FUNCTION walwarden_internal.system_org() SECURITY DEFINER',
     'function walwarden_internal.system_org() is SECURITY DEFINER', 'a function that runs as its owner'),
    ('ALTER FUNCTION walwarden_internal.chains() RESET search_path',
     'function walwarden_internal.chains() does not pin its search_path', 'a function that finds what others plant'),
    ($$ALTER FUNCTION walwarden_internal.chains() SET search_path TO 'pg_catalog, pg_temp'$$,
     'function walwarden_internal.chains() does not pin its search_path', 'the name of one schema that looks like two'),
    ('ALTER FUNCTION walwarden_internal.chains() SET search_path TO pg_catalog, pg_temp, public',
     'function walwarden_internal.chains() does not pin its search_path', 'one schema more')
  ) AS v(deed, wanted, what);

-- the triggers of a foreign key, one column changed at a time
SELECT is(guard_found(edit_key(change)), wanted || ' t', change)
  FROM (VALUES
    ($$tgfoid = 'suppress_redundant_updates_trigger'::regproc$$, 'trigger of constraint node_org_id_fkey on walwarden_internal.node is disabled or altered'),
    ($$tgfoid = 'suppress_nothing'::regproc$$, 'trigger of constraint node_org_id_fkey on walwarden_internal.node is disabled or altered'),
    ($$tgfoid = '"RI_FKey_check_upd"'::regproc$$, 'constraint node_org_id_fkey of walwarden_internal.node is missing, altered or not validated'),
    ($$tgfoid = '"RI_FKey_check_upd"'::regproc, tgtype = 17$$, 'constraint node_org_id_fkey of walwarden_internal.node is missing, altered or not validated'),
    ('tgtype = 0', 'trigger of constraint node_org_id_fkey on walwarden_internal.node is disabled or altered'),
    ('tgtype = 4', 'trigger of constraint node_org_id_fkey on walwarden_internal.node is disabled or altered'),
    ($$tgattr = '2'$$, 'trigger of constraint node_org_id_fkey on walwarden_internal.node is disabled or altered'),
    ($$tgqual = (SELECT d.adbin FROM pg_attrdef AS d LIMIT 1)$$, 'trigger of constraint node_org_id_fkey on walwarden_internal.node is disabled or altered'),
    ('tgdeferrable = true, tginitdeferred = true', 'trigger of constraint node_org_id_fkey on walwarden_internal.node is disabled or altered'),
    ($$tgconstrrelid = 'walwarden_internal.token'::regclass$$, 'trigger of constraint node_org_id_fkey on walwarden_internal.node is disabled or altered'),
    ($$tgrelid = 'walwarden_internal.destination'::regclass$$, 'trigger of constraint node_org_id_fkey on walwarden_internal.destination is disabled or altered')) AS v(change, wanted);

-- and what is no alteration
SELECT is(guard_found(deed), ' t', what)
  FROM (VALUES
    ('SELECT', 'nothing'),
    ('CREATE INDEX mine ON walwarden_internal.audit_entry (kind, at); CREATE STATISTICS mine ON org_id, kind FROM walwarden_internal.audit_entry', 'an index and statistics for the administrator''s queries'),
    ('ALTER TABLE walwarden_internal.audit_entry SET (autovacuum_enabled = off, fillfactor = 90), REPLICA IDENTITY FULL, ALTER body SET STORAGE EXTERNAL, ALTER kind SET STATISTICS 1000, CLUSTER ON audit_entry_pkey',
     'settings of a table'),
    ('CREATE VIEW mine AS SELECT ''walwarden''::regnamespace, t.* FROM walwarden.token_list AS t; GRANT SELECT ON walwarden.token_list TO t_nobody', 'a view of the application'),
    ('REINDEX TABLE walwarden_internal.audit_entry; CLUSTER walwarden_internal.token USING token_pkey', 'indexes and tables that are rebuilt'),
    ('GRANT USAGE ON SCHEMA walwarden_internal TO t_nobody; GRANT SELECT ON walwarden_internal.audit_entry TO t_nobody', 'an auditor who may read'),
    ('SET LOCAL quote_all_identifiers = on; SET LOCAL search_path = public, pg_catalog; SET LOCAL TimeZone = ''Asia/Kathmandu''; SET LOCAL DateStyle = ''SQL, DMY''; SET LOCAL IntervalStyle = ''iso_8601''; SET LOCAL work_mem = ''64kB''; SET LOCAL client_min_messages = error',
     'settings of a session')
  ) AS v(deed, what);
-- a definition that is printed and read again, as pg_upgrade does it, is the same one
CREATE FUNCTION made_again() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint := 0;
    statement text;
BEGIN
    FOR statement IN
        SELECT format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %2$I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
          FROM pg_constraint AS k WHERE k.connamespace = 'walwarden_internal'::regnamespace AND k.contype = 'c'
        UNION ALL
        SELECT format('DROP INDEX %s; %s', i.indexrelid::regclass, pg_get_indexdef(i.indexrelid))
          FROM pg_index AS i JOIN pg_class AS r ON r.oid = i.indrelid AND r.relnamespace = 'walwarden_internal'::regnamespace WHERE i.indpred IS NOT NULL
        UNION ALL
        SELECT format('ALTER TABLE %s ALTER %I SET DEFAULT %s', d.adrelid::regclass, a.attname, pg_get_expr(d.adbin, d.adrelid))
          FROM pg_attrdef AS d JOIN pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum AND a.attgenerated = ''
          JOIN pg_class AS r ON r.oid = d.adrelid AND r.relnamespace = 'walwarden_internal'::regnamespace
    LOOP
        EXECUTE statement;
        n := n + 1;
    END LOOP;
    RETURN n;
END$$;
SELECT is(guard_found('SELECT 1 / made_again()'), ' t', 'definitions that are printed and read again');


-- the CHECK knows the entry that this session made last, and nothing like it
SELECT walwarden.append_audit('app.kept', '{"n":1}', gen_random_uuid(), 'victim') AS kept \gset
CREATE FUNCTION holds(change text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    e walwarden_internal.audit_entry;
    args text[] := '{org_id,seq,at,kind,job_id,body,prev_hash,hash}';
    held boolean;
BEGIN
    SELECT * INTO e FROM walwarden_internal.audit_entry WHERE kind = 'app.kept';
    IF change <> '' THEN
        args := array_replace(args, split_part(change, ' = ', 1), split_part(change, ' = ', 2));
    END IF;
    EXECUTE format('SELECT walwarden_internal.audit_entry_is_valid(%s) FROM (SELECT ($1).*) AS e', array_to_string(args, ', ')) INTO held USING e;
    RETURN held;
END$$;
SELECT ok(holds(''), 'the entry itself');
SELECT ok(NOT holds(change), 'not with ' || change)
  FROM (VALUES ('org_id = gen_random_uuid()'), ('seq = seq + 1'), ($$at = at + interval '1 microsecond'$$), ($$kind = 'app.kepu'$$),
               ($$kind = 'app.kep'$$), ('job_id = NULL::uuid'), ('job_id = gen_random_uuid()'), ($$body = replace(body, '"n":1', '"n":2')$$),
               ($$body = body || ' '$$), ($$body = left(body, -1)$$), ($$prev_hash = hash$$), ($$prev_hash = prev_hash || '\x00'$$),
               ('hash = prev_hash'), ($$hash = set_byte(hash, 31, get_byte(hash, 31) # 1)$$), ($$hash = substr(hash, 1, 31)$$)) AS v(change);
SELECT throws_ok(format('INSERT INTO walwarden_internal.audit_entry SELECT org_id, seq + 1, at, kind, job_id, body, hash, hash FROM walwarden_internal.audit_entry WHERE kind = %L', 'app.kept'), '23514', NULL, 'nor is a copy of it let in');
SELECT throws_ok(format('INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) VALUES (%L, %L, %L)', :'thief', kind, payload), '22023', 'invalid kind or payload for an audit entry', what)
  FROM (VALUES ('app.x', '{},"x":{}', 'a payload that goes on in the envelope'), ('app\u002ex', '{}', 'a kind with an escape'),
               ('app.x","kinds":{"a":1},"x":"', '{}', 'a kind that goes on')) AS v(kind, payload, what);

SELECT throws_ok(format('INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) VALUES (%L, %L, %L)', :'victim', kind, '{}'), '23514', NULL, format('no kind: %s', left(kind, 10)))
  FROM (VALUES (''), ('x'), ('x.'), ('.x'), ('x..y'), ('X.y'), ('x.é'), ('x-y.z'), ('x y.z'), (repeat('x', 99) || '.y')) AS v(kind);
SELECT lives_ok(format('INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) VALUES (%L, %L, %L)', :'victim', kind, '{}'), format('a kind: %s', left(kind, 10)))
  FROM (VALUES ('x.y'), ('_.0.z9'), (repeat('x', 98) || '.y')) AS v(kind);

-- under replica role the triggers refuse as always, and the CHECK what they would not make
SET LOCAL session_replication_role = replica;
SELECT throws_ok(statement, '42501', NULL, statement)
  FROM unnest('{UPDATE walwarden_internal.audit_entry SET kind = kind,DELETE FROM walwarden_internal.audit_entry,TRUNCATE walwarden_internal.audit_entry}'::text[]) AS statement;
SELECT throws_ok(format('INSERT INTO walwarden_internal.audit_entry SELECT org_id, seq + 1, at, kind, job_id, body, hash, hash FROM walwarden_internal.audit_entry WHERE org_id = %L AND seq = 9', :'thief'), '23514', NULL, 'a hash that does not fit');
SELECT throws_ok(format('INSERT INTO walwarden_internal.audit_entry SELECT org_id, seq + 1, at, kind, job_id, body, hash, digest(encode(hash, ''hex'') || body, ''sha256'') FROM walwarden_internal.audit_entry WHERE org_id = %L AND seq = 9', :'thief'), '23514', NULL, 'a seq that the body denies');
SELECT throws_ok(format('INSERT INTO walwarden_internal.audit_entry SELECT %L, seq + 100, at, kind, job_id, body, hash, hash FROM walwarden_internal.audit_entry WHERE org_id = %L AND seq = 9', :'victim', :'thief'), '23514', NULL, 'an entry of another org');
SELECT throws_ok(format($$INSERT INTO walwarden_internal.audit_entry SELECT org_id, 10, at, kind, job_id, b, hash, digest(encode(hash, 'hex') || b, 'sha256') FROM (SELECT e.*, replace(replace(body, '"seq":9', '"seq":10'), '"data":8', '"data": 8') AS b FROM walwarden_internal.audit_entry AS e) AS e WHERE org_id = %L AND seq = 9$$, :'thief'), '23514', NULL, 'a body that is not canonical');
SELECT throws_ok(format($$INSERT INTO walwarden_internal.audit_entry SELECT org_id, 10, at, kind, job_id, b, hash, digest(encode(hash, 'hex') || b, 'sha256') FROM (SELECT e.*, replace(body, '"seq":9', '"seq":10') || ' ' AS b FROM walwarden_internal.audit_entry AS e) AS e WHERE org_id = %L AND seq = 9$$, :'thief'), '23514', NULL, 'a space at the end');
SELECT throws_ok(format($$INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) VALUES (%L, 'app.x', '{"t":"wal\u005f%s"}')$$, :'thief', repeat('0', 64)), '22023', 'an audit entry cannot contain a token', 'a token behind an escape');
SELECT lives_ok(format($$INSERT INTO walwarden_internal.audit_entry SELECT org_id, 10, at, kind, job_id, b, hash, digest(encode(hash, 'hex') || b, 'sha256') FROM (SELECT e.*, replace(body, '"seq":9', '"seq":10') AS b FROM walwarden_internal.audit_entry AS e) AS e WHERE org_id = %L AND seq = 9$$, :'thief'), 'a true entry is let in: that is what a restore does');
RESET session_replication_role;

SELECT * FROM finish();
ROLLBACK;
