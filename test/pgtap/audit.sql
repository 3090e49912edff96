-- The chain: its bytes, its verifiers, what they find.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();

CREATE ROLE t_nobody;
CREATE ROLE t_admin;
SELECT walwarden.create_org('acme'), walwarden.create_org('other'), walwarden.add_member('acme', 'adm', 'admin', 't_admin') \g /dev/null
SELECT id AS acme FROM walwarden.org WHERE slug = 'acme' \gset
SELECT id AS other FROM walwarden.org WHERE slug = 'other' \gset

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
SELECT is(body, format('{"at":"%s","jobId":"11111111-2222-3333-4444-555555555555","kind":"app.bytes","payload":{"actor":{"kind":"operator","role":"%s","subject":null},"data":{"n":1},"org":"%s","seq":%s}}',
    to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), current_user, :'acme', :n), 'the body of an entry')
  FROM walwarden.list_audit('acme', :n - 1, 1);
SELECT is(hash, digest(encode(prev_hash, 'hex') || body, 'sha256'), 'hash = SHA-256(hex(prev_hash) || body)') FROM walwarden.list_audit('acme', :n - 1, 1);
SELECT is(prev_hash, digest('walwarden/audit/v1:' || :'acme', 'sha256'), 'the first prev_hash') FROM walwarden.list_audit('acme', 0, 1);
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
SET LOCAL standard_conforming_strings = off;
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
INSERT INTO walwarden.audit_entry (org_id, kind, body) SELECT :'acme', 'app.direct', jsonb_build_object('half', half(i)) FROM generate_series(1, 10) AS i;
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'no gap, no fork');
SELECT is((SELECT count(*) FROM walwarden.audit_entry WHERE org_id = :'acme'), (SELECT max(seq) FROM walwarden.audit_entry WHERE org_id = :'acme'), 'gapless');

-- an expected head
SELECT entries AS seen, head_hash AS head FROM walwarden.verify_audit_chain('acme') \gset
SELECT ok(ok, 'the head itself') FROM walwarden.verify_audit_chain('acme', :seen, :'head');
SELECT walwarden.append_audit('app.later', '{}', NULL, 'acme') \g /dev/null
SELECT ok(ok, 'an earlier head') FROM walwarden.verify_audit_chain('acme', :seen, :'head');
SELECT results_eq(format($$SELECT ok, first_bad_seq, reason FROM walwarden.verify_audit_chain('acme', %s, %L)$$, :seen + 2, :'head'),
    format($$VALUES (false, %s::bigint, 'tail is lost: the expected entry is missing')$$, :seen + 2), 'a lost tail');
SELECT results_eq(format($$SELECT ok, first_bad_seq, reason FROM walwarden.verify_audit_chain('acme', %s, %L)$$, :seen - 1, :'head'),
    format($$VALUES (false, %s::bigint, 'entry is not the expected one')$$, :seen - 1), 'another history');

SELECT encode(digest('walwarden/audit/v1:00000000-0000-0000-0000-000000000000', 'sha256'), 'hex') AS start \gset
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
SELECT is(body::jsonb #> '{payload,actor}', jsonb_build_object('kind', 'token', 'role', 't_nobody', 'subject', NULL, 'tokenId', :'tok_id'), 'signed by the token')
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
    ALTER TABLE walwarden.audit_entry DISABLE TRIGGER ALL;
    ALTER TABLE walwarden.audit_entry DROP CONSTRAINT audit_entry_holds;
    ALTER TABLE walwarden.scope DISABLE TRIGGER ALL;
$$;
-- rearmed, so that the finding is the deed and not the disarming
CREATE FUNCTION rearm() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    ALTER TABLE walwarden.audit_entry ENABLE ALWAYS TRIGGER append, ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate;
    ALTER TABLE walwarden.scope ENABLE ALWAYS TRIGGER refuse_builtin, ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate,
        ENABLE ALWAYS TRIGGER signal_change, ENABLE ALWAYS TRIGGER signal_truncate;
    ALTER TABLE walwarden.audit_entry ADD CONSTRAINT audit_entry_holds
        CHECK (walwarden._audit_entry_holds(org_id, seq, at, kind, job_id, body, prev_hash, hash)) NOT VALID;
    UPDATE pg_constraint SET convalidated = true WHERE conrelid = 'walwarden.audit_entry'::regclass;
END$$;
CREATE FUNCTION rehash(o uuid, s bigint, b text) RETURNS void LANGUAGE sql AS $$
    UPDATE walwarden.audit_entry SET body = b, hash = digest(encode(prev_hash, 'hex') || b, 'sha256') WHERE org_id = o AND seq = s;
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

CREATE FUNCTION entry(deed text) RETURNS text LANGUAGE sql AS $$SELECT format(deed, id) FROM walwarden.org WHERE slug = 'victim'$$;
SELECT is(found('SELECT 1'), 't  ', 'no deed, no finding');
SELECT is(found(entry($$UPDATE walwarden.audit_entry SET body = replace(body, '"data":3', '"data":4') WHERE org_id = '%s' AND seq = 4$$)),
    'f 4 hash does not match the body', 'a changed body');
SELECT is(found(entry($$UPDATE walwarden.audit_entry SET body = overlay(body PLACING 'garbage' FROM 1) WHERE org_id = '%s' AND seq = 4$$)),
    'f 4 hash does not match the body', 'a body that is no JSON any more');
SELECT is(found(entry($$SELECT rehash('%s', 4, 'no json')$$)), 'f 4 body is not canonical JSON', 'the same, hashed again');
-- the last entry, hashed again: nothing after it tells, so its own form must
CREATE FUNCTION last_body(change text) RETURNS text LANGUAGE sql AS $$
    SELECT format('UPDATE walwarden.audit_entry AS e SET body = c.b, hash = digest(encode(e.prev_hash, ''hex'') || c.b, ''sha256'') '
                  'FROM (SELECT org_id, seq, (%s) AS b FROM walwarden.audit_entry) AS c, walwarden.org AS o '
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
SELECT is(found(entry($$UPDATE walwarden.audit_entry SET at = (to_char(at, 'YYYY-MM-DD HH24:MI:SS.US') || ' BC')::timestamptz WHERE org_id = '%s' AND seq = 4$$)),
    'f 4 columns differ from the body', 'the same time before Christ');
SELECT is(found(entry($$UPDATE walwarden.audit_entry SET hash = '\x00' WHERE org_id = '%s' AND seq = 4$$)), 'f 4 hash does not match the body', 'a hash cut short');
SELECT is(found(entry($$UPDATE walwarden.audit_entry SET kind = 'app.w' WHERE org_id = '%s' AND seq = 4$$)), 'f 4 columns differ from the body', 'a changed kind');
SELECT is(found(entry($$UPDATE walwarden.audit_entry SET at = at + interval '1 us' WHERE org_id = '%s' AND seq = 4$$)), 'f 4 columns differ from the body', 'a changed time');
SELECT is(found(entry($$UPDATE walwarden.audit_entry SET at = 'infinity' WHERE org_id = '%s' AND seq = 4$$)), 'f 4 columns differ from the body', 'an infinite time');
SELECT is(found(entry($$UPDATE walwarden.audit_entry SET job_id = gen_random_uuid() WHERE org_id = '%s' AND seq = 4$$)), 'f 4 columns differ from the body', 'a changed job');
SELECT is(found(entry($$DELETE FROM walwarden.audit_entry WHERE org_id = '%s' AND seq = 4$$)), 'f 4 entry is missing', 'an entry deleted in the middle');
SELECT is(found(entry($$DELETE FROM walwarden.audit_entry WHERE org_id = '%s' AND seq = 1$$)), 'f 1 entry is missing', 'the first entry deleted');
SELECT is(found(entry($$UPDATE walwarden.audit_entry SET seq = CASE seq WHEN 4 THEN 1000 ELSE seq END WHERE org_id = '%s'$$)), 'f 4 entry is missing', 'an entry moved to the end');
SELECT is(found(entry($$SELECT rehash('%1$s', 4, (SELECT replace(body, '"data":3', '"data":4') FROM walwarden.audit_entry WHERE org_id = '%1$s' AND seq = 4))$$)),
    'f 5 prev_hash is not the hash of the entry before', 'a changed body, hashed again: the next one tells');
SELECT is(found(entry($$UPDATE walwarden.audit_entry AS v SET body = t.body, hash = t.hash, kind = t.kind, at = t.at
                          FROM walwarden.audit_entry AS t, walwarden.org AS o WHERE o.slug = 'thief' AND t.org_id = o.id AND t.seq = 4 AND v.org_id = '%s' AND v.seq = 4$$)),
    'f 4 hash does not match the body', 'an entry of another chain');
SELECT is(found($$DELETE FROM walwarden.audit_entry AS e USING walwarden.org AS o WHERE o.slug = 'victim' AND e.org_id = o.id AND e.seq > 2$$),
    'f 10 member <id> differs from entry 10', 'a deleted tail shows in the state');
SELECT is(found($$DELETE FROM walwarden.audit_entry AS e USING walwarden.org AS o WHERE o.slug = 'thief' AND e.org_id = o.id AND e.seq > 5$$, 'thief'),
    't  ', 'a deleted tail of the application''s entries shows only to who holds a head');

-- entries in another order: places exchanged, and contents
CREATE FUNCTION exchange(columns text) RETURNS text LANGUAGE sql AS $$
    SELECT format('UPDATE walwarden.audit_entry AS e SET (%1$s) = (SELECT %1$s FROM walwarden.audit_entry AS o WHERE o.org_id = e.org_id AND o.seq = 11 - e.seq) '
                  'WHERE e.org_id = (SELECT id FROM walwarden.org WHERE slug = ''victim'') AND e.seq IN (5, 6)', columns)
$$;
SELECT is(found(entry($$UPDATE walwarden.audit_entry SET seq = -seq WHERE org_id = '%1$s' AND seq IN (5, 6); UPDATE walwarden.audit_entry SET seq = 11 + seq WHERE org_id = '%1$s' AND seq < 0$$)),
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
SELECT is(found_by_head($$DELETE FROM walwarden.audit_entry AS e USING walwarden.org AS o WHERE o.slug = 'thief' AND e.org_id = o.id AND e.seq > 5$$, :thief_seq, :'thief_head'),
    't, f 6 tail is lost: the expected entry is missing', 'a deleted tail');
SELECT is(found_by_head($$DELETE FROM walwarden.audit_entry AS e USING walwarden.org AS o WHERE o.slug = 'thief' AND e.org_id = o.id AND e.seq = 9;
                          ALTER TABLE walwarden.audit_entry ENABLE ALWAYS TRIGGER append;
                          SELECT walwarden.append_audit('app.t', '"another"', NULL, 'thief')$$, :thief_seq, :'thief_head'),
    't, f 9 entry is not the expected one', 'another entry in the place of the last one');
SELECT is(found_by_head(last_body($$replace(body, '"data":8', '"data":80')$$), :thief_seq, :'thief_head'), 't, f 9 entry is not the expected one', 'the last entry, changed and hashed again');
SELECT is(found('TRUNCATE walwarden.audit_entry'), 'f 1 org <id> differs from entry 1', 'all entries gone');
SELECT is(found('TRUNCATE walwarden.audit_entry', '_system') ~ '^f \d+ ', true, 'of the system chain too');

-- the present state against the chain
SELECT is(found(format($$UPDATE walwarden.token SET scopes = '{databases:read,databases:write}' WHERE id = %L$$, :'live')), 'f 13 token <id> differs from entry 13', 'widened scopes');
SELECT is(found(format($$UPDATE walwarden.token SET revoked_at = NULL WHERE id = %L$$, :'tid')), 'f 12 token <id> differs from entry 12', 'an undone revoke');
SELECT is(found(format($$UPDATE walwarden.token SET revoked_at = NULL, revoked_by = NULL, revoked_reason = NULL, audit_seq = 11 WHERE id = %L$$, :'tid')),
    'f 12 token <id> is older than entry 12', 'an undone revoke that hides behind an older entry');
SELECT is(found(format($$UPDATE walwarden.token SET owner_id = (SELECT id FROM walwarden.member WHERE subject = 'vic') WHERE id = %L$$, :'live')), 'f 13 token <id> differs from entry 13', 'another owner');
SELECT is(found(format($$UPDATE walwarden.token SET expires_at = now() WHERE id = %L$$, :'live')), 'f 13 token <id> differs from entry 13', 'another expiry');
SELECT is(found(format($$UPDATE walwarden.credential SET fingerprint = sha256('mine') WHERE token_id = %L$$, :'live')), 'f 13 a credential of token <id> is not in entry 13', 'a swapped fingerprint');
SELECT is(found(format($$INSERT INTO walwarden.credential SELECT sha256('mine'), token_id, kind, now(), NULL, audit_seq FROM walwarden.credential WHERE token_id = %L$$, :'live')), 'f 13 a credential of token <id> is not in entry 13', 'a second credential');
SELECT is(found(format($$UPDATE walwarden.credential SET token_id = %L WHERE token_id = %L$$, :'live', :'tid')), 'f 11 a credential of token <id> is not in entry 11', 'a credential moved to another token');
SELECT is(found(format($$DELETE FROM walwarden.credential WHERE token_id = %L$$, :'live')), 'f 13 token <id> differs from entry 13', 'a missing credential');
SELECT is(found(format($$UPDATE walwarden.credential SET scopes = '{databases:write}', stopped = NULL, expires_at = NULL WHERE token_id = %L$$, :'live')), 't  ', 'what a credential says of its token is the token''s, whatever an UPDATE says');
SELECT is(found(format($$ALTER TABLE walwarden.credential DISABLE TRIGGER copy_standing; UPDATE walwarden.credential SET %s WHERE token_id = %L; ALTER TABLE walwarden.credential ENABLE ALWAYS TRIGGER copy_standing$$, change, :'live')),
    'f 13 a credential of token <id> does not have its standing', 'without its trigger: ' || change)
  FROM (VALUES ($$scopes = '{databases:write}'$$), ($$stopped = 'disabled'$$), ('owner_id = gen_random_uuid()'), ($$role = 'admin'$$),
               ('org_id = NULL'), ($$token_kind = 'node'$$), ('expires_at = now()')) AS v(change);
SELECT is(found($$SET LOCAL session_replication_role = replica; ALTER TABLE walwarden.credential DISABLE TRIGGER copy_standing;
    INSERT INTO walwarden.credential (fingerprint, token_id, kind, created_at, audit_seq, org_id, token_kind, scopes)
    SELECT sha256('mine'), gen_random_uuid(), 'bearer', now(), 2, o.id, 'api', '{databases:write}' FROM walwarden.org AS o WHERE o.slug = 'victim';
    ALTER TABLE walwarden.credential ENABLE ALWAYS TRIGGER copy_standing; SET LOCAL session_replication_role = origin$$), 'f 2 a credential of token <id> has no token', 'a credential of no token');
SELECT is(found(format($$DELETE FROM walwarden.token_usage WHERE token_id = %1$L; DELETE FROM walwarden.credential WHERE token_id = %1$L; DELETE FROM walwarden.token WHERE id = %1$L$$, :'live')),
    'f 13 token <id> of entry 13 is missing', 'a missing token');
SELECT is(found(format($$INSERT INTO walwarden.token (org_id, name, kind, scopes, created_at, created_by, audit_seq) SELECT org_id, 'planted', 'api', scopes, now(), 'x', 13 FROM walwarden.token WHERE id = %L$$, :'live')),
    'f 13 token <id> differs from entry 13', 'a planted token');
SELECT is(found(format($$UPDATE walwarden.token SET %s WHERE id = %L$$, change, :'live')), 'f 13 token <id> differs from entry 13', change)
  FROM (VALUES ($$expires_at = '-infinity'$$), ($$revoked_at = 'infinity'$$), ($$expires_at = '0044-03-15 BC'$$), ($$created_at = (to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00 BC')::timestamptz$$)) AS v(change);
SELECT is(found($$UPDATE walwarden.member SET disabled_at = 'infinity' WHERE subject = 'vic'$$), 'f 10 member <id> differs from entry 10', 'disabled at the end of time');
SELECT is(found($$UPDATE walwarden.member SET role = 'admin' WHERE subject = 'vic'$$), 'f 10 member <id> differs from entry 10', 'another role');
SELECT is(found($$UPDATE walwarden.org SET plan = 'free' WHERE slug = 'victim'$$), 'f 1 org <id> differs from entry 1', 'another plan');
SELECT is(found($$UPDATE walwarden.role_override SET scopes = '{databases:write}' WHERE role = 'member'$$, '_system'), 'f ' || (SELECT audit_seq FROM walwarden.role_override WHERE role = 'member') || ' role member differs from entry ' || (SELECT audit_seq FROM walwarden.role_override WHERE role = 'member'), 'a role''s scopes');
SELECT is(found($$DELETE FROM walwarden.role_override WHERE role = 'member'$$, '_system'), 'f ' || (SELECT audit_seq FROM walwarden.role_override WHERE role = 'member') || ' role member of entry ' || (SELECT audit_seq FROM walwarden.role_override WHERE role = 'member') || ' is missing', 'a missing override');
SELECT audit_seq AS x_seq FROM walwarden.scope WHERE name = 'x:read' \gset
SELECT is(found($$DELETE FROM walwarden.scope WHERE name = 'x:read'$$, '_system'), format('f %1$s scope x:read of entry %1$s is missing', :x_seq), 'a missing scope');
SELECT is(found($$INSERT INTO walwarden.role_grant VALUES ('operator', 't_nobody', NULL, now(), NULL, 1)$$, '_system'), 'f 1 grant operator:t_nobody differs from entry 1', 'a planted operator');
SELECT is(found($$INSERT INTO walwarden.role_grant VALUES ('authenticator', 't_nobody', NULL, now(), NULL, 1)$$, '_system'), 'f 1 grant authenticator:t_nobody differs from entry 1', 'a planted authenticator');
SELECT is(found(format($$UPDATE walwarden.token_usage SET last_used_at = now() WHERE token_id = %L$$, :'live')), 't  ', 'a use is no difference');

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
SELECT is(found_anywhere($$DELETE FROM walwarden.audit_entry AS e USING walwarden.org AS o WHERE o.slug = 'thief' AND e.org_id = o.id; DELETE FROM walwarden.org WHERE slug = 'thief'$$),
    'nothing', 'an organisation erased whole');
SELECT is(found_anywhere(format($$
    ALTER TABLE walwarden.audit_entry ENABLE ALWAYS TRIGGER append;
    WITH made AS (
        INSERT INTO walwarden.audit_entry (org_id, kind, body)
        SELECT org_id, 'token.updated', jsonb_set(body::jsonb -> 'payload', '{after,scopes}', '["databases:read","databases:write"]') - 'org' - 'seq'
          FROM walwarden.audit_entry WHERE body::jsonb #>> '{payload,after,id}' = %1$L
        RETURNING seq)
    UPDATE walwarden.token SET scopes = '{databases:read,databases:write}', audit_seq = made.seq FROM made WHERE id = %1$L;
    -- an error unless it was done
    SELECT 1 / count(*) FROM walwarden.token WHERE id = %1$L AND 'databases:write' = ANY (scopes)$$, :'live')),
    'nothing', 'a matching entry by hand');

-- the guards themselves
CREATE FUNCTION suppress_nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
CREATE FUNCTION guard_found(deed text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE deed;
    RAISE SQLSTATE 'WW000' USING MESSAGE = (SELECT format('%s %s', v.reason, s.reason = v.reason) FROM walwarden.verify_audit_chain('other') AS v, walwarden.verify_audit_chain_sql('other') AS s);
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN SQLERRM;
END$$;
SELECT is(guard_found(deed), wanted || ' t', what)
  FROM (VALUES
    ('ALTER TABLE walwarden.audit_entry DISABLE TRIGGER refuse_change',
     'trigger refuse_change on walwarden.audit_entry is missing, altered or not ENABLE ALWAYS', 'a disabled trigger'),
    ('ALTER TABLE walwarden.audit_entry ENABLE TRIGGER append',
     'trigger append on walwarden.audit_entry is missing, altered or not ENABLE ALWAYS', 'a trigger that pg_restore --disable-triggers left weak'),
    ('CREATE OR REPLACE TRIGGER refuse_change BEFORE DELETE ON walwarden.audit_entry FOR EACH ROW EXECUTE FUNCTION walwarden._refuse_change(); ALTER TABLE walwarden.audit_entry ENABLE ALWAYS TRIGGER refuse_change',
     'trigger refuse_change on walwarden.audit_entry is missing, altered or not ENABLE ALWAYS', 'a trigger that guards less'),
    ('CREATE OR REPLACE TRIGGER refuse_change BEFORE DELETE OR UPDATE ON walwarden.audit_entry FOR EACH ROW WHEN (false) EXECUTE FUNCTION walwarden._refuse_change(); ALTER TABLE walwarden.audit_entry ENABLE ALWAYS TRIGGER refuse_change',
     'trigger refuse_change on walwarden.audit_entry is missing, altered or not ENABLE ALWAYS', 'a trigger that never fires'),
    ('CREATE OR REPLACE TRIGGER refuse_truncate BEFORE TRUNCATE ON walwarden.audit_entry FOR EACH STATEMENT EXECUTE FUNCTION suppress_nothing(); ALTER TABLE walwarden.audit_entry ENABLE ALWAYS TRIGGER refuse_truncate',
     'trigger refuse_truncate on walwarden.audit_entry is missing, altered or not ENABLE ALWAYS', 'a trigger with another function'),
    ('ALTER TABLE walwarden.audit_entry DROP CONSTRAINT audit_entry_holds',
     'constraint audit_entry_holds of walwarden.audit_entry is missing, altered or not validated', 'a missing CHECK'),
    ('ALTER TABLE walwarden.audit_entry DROP CONSTRAINT audit_entry_holds, ADD CONSTRAINT audit_entry_holds CHECK (true)',
     'constraint audit_entry_holds of walwarden.audit_entry is missing, altered or not validated', 'a CHECK that checks nothing'),
    ('ALTER TABLE walwarden.audit_entry DROP CONSTRAINT audit_entry_org_id_prev_hash_key',
     'constraint audit_entry_org_id_prev_hash_key of walwarden.audit_entry is missing, altered or not validated', 'a missing key'),
    ('CREATE RULE swallow AS ON INSERT TO walwarden.audit_entry DO INSTEAD NOTHING',
     'rule swallow stands on walwarden.audit_entry', 'a rule that swallows entries'),
    ($$ALTER TABLE walwarden.role DISABLE TRIGGER ALL; UPDATE walwarden.role SET capabilities = '{member,manage_tokens}' WHERE name = 'read_only'; ALTER TABLE walwarden.role ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate$$,
     'the built-in catalogues are not as they were installed', 'a built-in role that can do more'),
    ($$ALTER TABLE walwarden.permission DISABLE TRIGGER ALL; UPDATE walwarden.permission SET any_of = any_of || '{member}'; ALTER TABLE walwarden.permission ENABLE ALWAYS TRIGGER refuse_change, ENABLE ALWAYS TRIGGER refuse_truncate$$,
     'the built-in catalogues are not as they were installed', 'permissions for everyone')
  ) AS v(deed, wanted, what);

-- the CHECK knows the entry that this session made last, and nothing like it
SELECT walwarden.append_audit('app.kept', '{"n":1}', gen_random_uuid(), 'victim') AS kept \gset
CREATE FUNCTION holds(change text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    e walwarden.audit_entry;
    args text[] := '{org_id,seq,at,kind,job_id,body,prev_hash,hash}';
    held boolean;
BEGIN
    SELECT * INTO e FROM walwarden.audit_entry WHERE kind = 'app.kept';
    IF change <> '' THEN
        args := array_replace(args, split_part(change, ' = ', 1), split_part(change, ' = ', 2));
    END IF;
    EXECUTE format('SELECT walwarden._audit_entry_holds(%s) FROM (SELECT ($1).*) AS e', array_to_string(args, ', ')) INTO held USING e;
    RETURN held;
END$$;
SELECT ok(holds(''), 'the entry itself');
SELECT ok(NOT holds(change), 'not with ' || change)
  FROM (VALUES ('org_id = gen_random_uuid()'), ('seq = seq + 1'), ($$at = at + interval '1 microsecond'$$), ($$kind = 'app.kepu'$$),
               ($$kind = 'app.kep'$$), ('job_id = NULL::uuid'), ('job_id = gen_random_uuid()'), ($$body = replace(body, '"n":1', '"n":2')$$),
               ($$body = body || ' '$$), ($$body = left(body, -1)$$), ($$prev_hash = hash$$), ($$prev_hash = prev_hash || '\x00'$$),
               ('hash = prev_hash'), ($$hash = set_byte(hash, 31, get_byte(hash, 31) # 1)$$), ($$hash = substr(hash, 1, 31)$$)) AS v(change);
SELECT throws_ok(format('INSERT INTO walwarden.audit_entry SELECT org_id, seq + 1, at, kind, job_id, body, hash, hash FROM walwarden.audit_entry WHERE kind = %L', 'app.kept'), '23514', NULL, 'nor is a copy of it let in');
SELECT throws_ok(format('INSERT INTO walwarden.audit_entry (org_id, kind, body) VALUES (%L, %L, %L)', :'thief', kind, payload), '22023', 'kind and payload do not make an audit entry', what)
  FROM (VALUES ('app.x', '{},"x":{}', 'a payload that goes on in the envelope'), ('app\u002ex', '{}', 'a kind with an escape'),
               ('app.x","kinds":{"a":1},"x":"', '{}', 'a kind that goes on')) AS v(kind, payload, what);

SELECT throws_ok(format('INSERT INTO walwarden.audit_entry (org_id, kind, body) VALUES (%L, %L, %L)', :'victim', kind, '{}'), '23514', NULL, format('no kind: %s', left(kind, 10)))
  FROM (VALUES (''), ('x'), ('x.'), ('.x'), ('x..y'), ('X.y'), ('x.é'), ('x-y.z'), ('x y.z'), (repeat('x', 99) || '.y')) AS v(kind);
SELECT lives_ok(format('INSERT INTO walwarden.audit_entry (org_id, kind, body) VALUES (%L, %L, %L)', :'victim', kind, '{}'), format('a kind: %s', left(kind, 10)))
  FROM (VALUES ('x.y'), ('_.0.z9'), (repeat('x', 98) || '.y')) AS v(kind);

-- under replica role the triggers refuse as always, and the CHECK what they would not make
SET LOCAL session_replication_role = replica;
SELECT throws_ok(statement, '42501', NULL, statement)
  FROM unnest('{UPDATE walwarden.audit_entry SET kind = kind,DELETE FROM walwarden.audit_entry,TRUNCATE walwarden.audit_entry}'::text[]) AS statement;
SELECT throws_ok(format('INSERT INTO walwarden.audit_entry SELECT org_id, seq + 1, at, kind, job_id, body, hash, hash FROM walwarden.audit_entry WHERE org_id = %L AND seq = 9', :'thief'), '23514', NULL, 'a hash that does not fit');
SELECT throws_ok(format('INSERT INTO walwarden.audit_entry SELECT org_id, seq + 1, at, kind, job_id, body, hash, digest(encode(hash, ''hex'') || body, ''sha256'') FROM walwarden.audit_entry WHERE org_id = %L AND seq = 9', :'thief'), '23514', NULL, 'a seq that the body denies');
SELECT throws_ok(format('INSERT INTO walwarden.audit_entry SELECT %L, seq + 100, at, kind, job_id, body, hash, hash FROM walwarden.audit_entry WHERE org_id = %L AND seq = 9', :'victim', :'thief'), '23514', NULL, 'an entry of another org');
SELECT throws_ok(format($$INSERT INTO walwarden.audit_entry SELECT org_id, 10, at, kind, job_id, b, hash, digest(encode(hash, 'hex') || b, 'sha256') FROM (SELECT e.*, replace(replace(body, '"seq":9', '"seq":10'), '"data":8', '"data": 8') AS b FROM walwarden.audit_entry AS e) AS e WHERE org_id = %L AND seq = 9$$, :'thief'), '23514', NULL, 'a body that is not canonical');
SELECT throws_ok(format($$INSERT INTO walwarden.audit_entry SELECT org_id, 10, at, kind, job_id, b, hash, digest(encode(hash, 'hex') || b, 'sha256') FROM (SELECT e.*, replace(body, '"seq":9', '"seq":10') || ' ' AS b FROM walwarden.audit_entry AS e) AS e WHERE org_id = %L AND seq = 9$$, :'thief'), '23514', NULL, 'a space at the end');
SELECT throws_ok(format($$INSERT INTO walwarden.audit_entry (org_id, kind, body) VALUES (%L, 'app.x', '{"t":"wal\u005f%s"}')$$, :'thief', repeat('0', 64)), '22023', 'an audit entry cannot contain a token', 'a token behind an escape');
SELECT lives_ok(format($$INSERT INTO walwarden.audit_entry SELECT org_id, 10, at, kind, job_id, b, hash, digest(encode(hash, 'hex') || b, 'sha256') FROM (SELECT e.*, replace(body, '"seq":9', '"seq":10') AS b FROM walwarden.audit_entry AS e) AS e WHERE org_id = %L AND seq = 9$$, :'thief'), 'a true entry is let in: that is what a restore does');
RESET session_replication_role;

SELECT * FROM finish();
ROLLBACK;
