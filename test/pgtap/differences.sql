-- Rows against the chain: the verifier in C, which reads both once, and the one in SQL, which looks up
-- every row and every entry, come to the same verdict, whatever is altered.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

-- an organisation with rows of every kind, some of them described more than once
CREATE ROLE pgtap_differences;
SELECT walwarden.create_org('differs') AS org, walwarden.create_org('beside') AS beside, walwarden.grant_runner('pgtap_differences') \gset
SELECT walwarden.add_member('differs', 'ann', 'owner'), walwarden.add_member('differs', 'bob', 'member'), walwarden.set_member_role('differs', 'bob', 'analyst') \g /dev/null
SELECT walwarden.create_scope('differs:read', 'x', 'x') \g /dev/null
CREATE TEMP TABLE tokens (name text, id uuid, token text);
GRANT SELECT ON tokens TO pgtap_differences;
INSERT INTO tokens SELECT 'node', token_id, token FROM walwarden.issue_token('differs', 'node', kind => 'node');
INSERT INTO tokens SELECT 'api', token_id, token FROM walwarden.issue_token('differs', 'api', ARRAY['databases:write', 'destinations:write', 'backups:trigger'],
    labels => '{"a": "\u00e9", "b": "\ud83d\ude00"}');
INSERT INTO tokens SELECT 'revoked', token_id, token FROM walwarden.issue_token('differs', 'revoked');
INSERT INTO tokens SELECT 'renewed', token_id, token FROM walwarden.issue_token('differs', 'renewed');
INSERT INTO tokens SELECT 'beside', token_id, token FROM walwarden.issue_token('beside', 'beside');
SELECT walwarden.revoke_token(id) FROM tokens WHERE name = 'revoked' \g /dev/null
SELECT walwarden.renew_token(id, interval '1 hour') FROM tokens WHERE name = 'renewed' \g /dev/null
SELECT walwarden.disable_token(id), walwarden.enable_token(id) FROM tokens WHERE name = 'renewed' \g /dev/null
\ir request.psql
CREATE FUNCTION request(method text, path text, body text) RETURNS json LANGUAGE sql AS $$
    SELECT pg_temp.rest((SELECT t.token FROM tokens AS t WHERE t.name = 'api'), method, path, body)
$$;
SELECT request('POST', '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id' AS destination \gset
SELECT request('POST', '/databases', format('{"name":"d","connectionRef":"d","destinationId":"%s"}', :'destination')) ->> 'id' AS database \gset
SELECT request('POST', format('/databases/%s/backups', :'database'), '') ->> 'backupJobId' AS backup \gset
SELECT walwarden.authenticate(token) FROM tokens WHERE name = 'node' \g /dev/null
SET ROLE pgtap_differences;
SELECT walwarden.register_node('node', '1') \g /dev/null
SELECT fence FROM walwarden.claim_job('{backup}') \g /dev/null
SELECT walwarden.report_job(:'backup', 1, 'running') \g /dev/null
RESET ROLE;
SELECT is((SELECT count(DISTINCT type) FROM walwarden_internal.audited_row WHERE org_id = :'org'), 8::bigint, 'rows of eight types');

-- Nothing protects the tables any more, so that everything can be done to them.
DO $$
DECLARE
    t regclass;
    c name;
BEGIN
    FOR t IN SELECT k.oid FROM pg_class AS k WHERE k.relnamespace = 'walwarden_internal'::regnamespace AND k.relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', t);
    END LOOP;
    FOR t, c IN SELECT k.conrelid, k.conname FROM pg_constraint AS k
                 WHERE k.connamespace = 'walwarden_internal'::regnamespace AND k.conrelid <> 'walwarden_internal.audit_entry'::regclass
                   AND k.contype <> 'n'    -- follows below
                 ORDER BY k.contype = 'p', k.contype = 'u' LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', t, c);
    END LOOP;
    FOR t IN SELECT i.indexrelid FROM pg_index AS i JOIN pg_class AS k ON k.oid = i.indrelid
              WHERE k.relnamespace = 'walwarden_internal'::regnamespace AND i.indisunique AND NOT i.indisprimary AND k.relname IN ('token', 'member') LOOP
        EXECUTE format('DROP INDEX %s', t);
    END LOOP;
    FOR t, c IN SELECT a.attrelid, a.attname FROM pg_attribute AS a JOIN pg_class AS k ON k.oid = a.attrelid
                 WHERE k.relnamespace = 'walwarden_internal'::regnamespace AND k.relkind = 'r' AND a.attnotnull AND a.attnum > 0 AND k.relname <> 'audit_entry' LOOP
        EXECUTE format('ALTER TABLE %s ALTER %I DROP NOT NULL', t, c);
    END LOOP;
END$$;
ALTER TABLE walwarden_internal.audit_entry ENABLE ALWAYS TRIGGER append;

-- An entry by hand: the payload, which begins with an object.
CREATE FUNCTION forge(chain uuid, payload jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) VALUES (chain, 'token.updated', payload::text)
$$;
-- The verdict of the verifier in C after a deed, which is undone; with that of the other one, if it differs.
CREATE FUNCTION verdict(deed text, chain uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    c text;
    s text;
BEGIN
    EXECUTE deed;
    SELECT format('%s %s', v.first_bad_seq, v.reason) INTO c FROM walwarden_internal.verify(chain, NULL, NULL, NULL) AS v;
    SELECT format('%s %s', x.bad_seq, x.reason) INTO s FROM walwarden_internal.cross_check(chain) AS x;
    RAISE SQLSTATE 'WW000' USING MESSAGE = CASE WHEN c = coalesce(s, ' ') THEN c ELSE format('C: %s, SQL: %s', c, s) END;
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN regexp_replace(SQLERRM, '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>', 'gi');
END$$;
CREATE FUNCTION seq_of(type text, id uuid) RETURNS text LANGUAGE sql AS $$
    SELECT r.audit_seq::text FROM walwarden_internal.audited_row AS r WHERE r.type = $1 AND r.key = $2 LIMIT 1
$$;
SELECT id AS api FROM tokens WHERE name = 'api' \gset
SELECT id AS revoked FROM tokens WHERE name = 'revoked' \gset
SELECT id AS renewed FROM tokens WHERE name = 'renewed' \gset
SELECT id AS other FROM tokens WHERE name = 'beside' \gset
SELECT seq_of('token', :'api') AS api_seq, seq_of('token', :'revoked') AS revoked_seq, seq_of('token', :'renewed') AS renewed_seq, seq_of('job', :'backup') AS job_seq,
       (SELECT first_seq FROM walwarden_internal.job WHERE id = :'backup') AS job_first,
       (SELECT max(seq) + 1 FROM walwarden_internal.audit_entry WHERE org_id = :'org') AS next \gset

SELECT is(verdict('SELECT 1', :'org'), ' ', 'no deed, no difference');
SELECT is(verdict('SELECT 1', o.id), ' ', 'nor in another chain') FROM (SELECT :'beside'::uuid UNION ALL SELECT walwarden_internal.system_org()) AS o(id);

-- rows
SELECT is(verdict(format('DELETE FROM walwarden_internal.token WHERE id = %1$L; DELETE FROM walwarden_internal.credential WHERE token_id = %1$L', :'revoked'), :'org'),
    (SELECT format('%s token <id> of entry %1$s is missing', min(seq)) FROM walwarden_internal.audit_entry WHERE org_id = :'org' AND body::jsonb #>> '{payload,object,id}' = :'revoked'),
    'a deleted row: the first entry about it is named');
SELECT is(verdict(format('UPDATE walwarden_internal.token SET revoked_at = NULL, revoked_by = NULL, revoked_reason = NULL, audit_seq = %1$s WHERE id = %2$L; UPDATE walwarden_internal.credential SET stopped = NULL WHERE token_id = %2$L',
                         (SELECT min(seq) FROM walwarden_internal.audit_entry WHERE org_id = :'org' AND body::jsonb #>> '{payload,object,id}' = :'revoked'), :'revoked'), :'org'),
    format('%s token <id> is older than entry %1$s', :revoked_seq), 'an old row put back');
SELECT is(verdict(format('UPDATE walwarden_internal.token SET audit_seq = %s WHERE id = %L', :revoked_seq, :'api'), :'org'),
    format('%s token <id> differs from entry %1$s', :revoked_seq), 'a row that names an entry about another');
SELECT is(verdict(format('UPDATE walwarden_internal.token SET audit_seq = NULL WHERE id = %L', :'api'), :'org'),
    format('%s token <id> of entry %1$s is missing', :api_seq), 'a row that names no entry');
SELECT is(verdict(format('UPDATE walwarden_internal.token SET audit_seq = 0 WHERE id = %L', :'api'), :'org'),
    '0 token <id> differs from entry 0', 'one before the first');
SELECT is(verdict(format('INSERT INTO walwarden_internal.token (id, org_id, name, kind, scopes, role, owner_id, created_at, created_by, expires_at, labels, key_name, audit_seq) SELECT id, org_id, name, kind, scopes, role, owner_id, created_at, created_by, expires_at, labels, key_name, audit_seq FROM walwarden_internal.token WHERE id = %L', :'api'), :'org'),
    ' ', 'the same row twice');
SELECT is(verdict(format('INSERT INTO walwarden_internal.token (id, org_id, name, kind, scopes, created_at, created_by, audit_seq) SELECT id, org_id, ''two'', kind, scopes, created_at, created_by, audit_seq FROM walwarden_internal.token WHERE id = %L', :'api'), :'org'),
    format('%s token <id> differs from entry %1$s', :api_seq), 'two rows of one id, one of them another');
SELECT is(verdict(format('INSERT INTO walwarden_internal.token (id, org_id, name, kind, scopes, created_at, created_by, audit_seq) SELECT id, org_id, ''two'', kind, scopes, created_at, created_by, 1 FROM walwarden_internal.token WHERE id = %L', :'api'), :'org'),
    '1 token <id> differs from entry 1', 'one of them of an entry about the organisation');
SELECT id AS bob, audit_seq AS bob_seq FROM walwarden_internal.member WHERE org_id = :'org' AND subject = 'bob' \gset
SELECT is(verdict(format('INSERT INTO walwarden_internal.member (id, org_id, subject, salt, person, role, db_role, sso, created_at, audit_seq) '
                         'SELECT id, org_id, subject, salt, person, ''member'', db_role, sso, created_at, %s FROM walwarden_internal.member WHERE id = %L',
                         (SELECT min(seq) FROM walwarden_internal.audit_entry WHERE org_id = :'org' AND body::jsonb #>> '{payload,object,id}' = :'bob'), :'bob'), :'org'),
    format('%s member <id> is older than entry %1$s', :bob_seq), 'the row as it was beside the row as it is');
SELECT is(verdict(format('UPDATE walwarden_internal.token SET org_id = %1$L WHERE id = %2$L; UPDATE walwarden_internal.credential SET org_id = %1$L, audit_seq = 99999 WHERE token_id = %2$L', :'beside', :'revoked'), o.id), o.wanted, 'a row moved to another organisation, ' || o.what)
  FROM (VALUES (:'beside'::uuid, format('%s token <id> differs from entry %1$s', :revoked_seq), 'seen from there'),
               (:'org', (SELECT format('%s token <id> of entry %1$s is missing', min(seq)) FROM walwarden_internal.audit_entry WHERE org_id = :'org' AND body::jsonb #>> '{payload,object,id}' = :'revoked'), 'seen from here')) AS o(id, wanted, what);
SELECT is(verdict(format('UPDATE walwarden_internal.token SET org_id = gen_random_uuid() WHERE id = %L', :'api'), walwarden_internal.system_org()),
    ' token <id> belongs to no organisation', 'a row of a chain that does not exist');

-- credentials
SELECT is(verdict(format('UPDATE walwarden_internal.credential SET token_id = %L WHERE token_id = %L', :'revoked', :'api'), :'org'),
    format('%s a credential of token <id> does not have its status', :api_seq), 'a credential moved to another token');
SELECT is(verdict(format('UPDATE walwarden_internal.credential AS c SET token_id = t.id, org_id = t.org_id, token_kind = t.kind, scopes = t.scopes, stopped = t.stopped FROM walwarden_internal.token AS t WHERE t.id = %L AND c.token_id = %L', :'revoked', :'api'), :'org'),
    format('%s a credential of token <id> is not in entry %1$s', :api_seq), 'with the status of that one');
SELECT is(verdict(format('UPDATE walwarden_internal.credential SET stopped = ''disabled'' WHERE token_id = %L', :'api'), :'org'),
    format('%s a credential of token <id> does not have its status', :api_seq), 'a status that differs');
SELECT is(verdict(format('UPDATE walwarden_internal.credential SET audit_seq = %s WHERE token_id = %L', :renewed_seq, :'renewed'), :'org'),
    ' ', 'credentials that name a later entry, which has them too');
SELECT is(verdict(format('UPDATE walwarden_internal.credential SET audit_seq = %s WHERE token_id = %L', :api_seq, :'renewed'), :'org'),
    format('%s a credential of token <id> is not in entry %1$s', :api_seq), 'credentials that name an entry about another token');
SELECT is(verdict(format('UPDATE walwarden_internal.credential SET audit_seq = 99999 WHERE token_id = %L', :'api'), :'org'),
    '99999 a credential of token <id> is not in entry 99999', 'one that is not there');
SELECT is(verdict(format('UPDATE walwarden_internal.credential SET token_id = gen_random_uuid() WHERE token_id = %L', :'api'), :'org'),
    format('%s a credential of token <id> has no token', :api_seq), 'one without a token');
SELECT is(verdict(format('INSERT INTO walwarden_internal.credential (fingerprint, token_id, kind, created_at, audit_seq, org_id) SELECT sha256(''x''), %3$s, ''bearer'', now(), 1, %1$L;'
                         'INSERT INTO walwarden_internal.token (id, org_id, name, kind, scopes, role, owner_id, created_at, created_by, expires_at, labels, key_name, audit_seq) SELECT id, org_id, name, kind, scopes, role, owner_id, created_at, created_by, expires_at, labels, key_name, audit_seq FROM walwarden_internal.token WHERE id = %2$L',
                         :'org', :'api', c.token), :'org'), c.wanted, c.what)
  FROM (VALUES ('gen_random_uuid()', '1 a credential of token <id> has no token', 'another one without a token, beside a token that is there twice'),
               ('NULL', '1 a credential of token  has no token', 'one of no token'),
               (format('%L', :'other'), ' ', 'one of a token of another organisation, which is found there')) AS c(token, wanted, what);
SELECT is(verdict('ALTER TABLE walwarden_internal.credential ADD extra text', :'org'), ' ', 'a column that somebody adds');
SELECT is(verdict(format('ALTER TABLE walwarden_internal.credential ADD extra text; UPDATE walwarden_internal.credential SET extra = ''x'' WHERE token_id = %L', :'api'), :'org'),
    format('%s a credential of token <id> does not have its status', :api_seq), 'and a value in it');
SELECT is(verdict(format('ALTER TABLE walwarden_internal.credential ADD extra text; UPDATE walwarden_internal.credential SET extra = ''x''; ALTER TABLE walwarden_internal.credential DROP extra;'
                         'DO $d$BEGIN ASSERT (SELECT v.credentials IS NOT NULL FROM walwarden_internal.verify_chain(%L, NULL, NULL, true) AS v); END$d$', :'org'), :'org'),
    ' ', 'nothing is looked up for one that is dropped again');
SELECT is(verdict(format('UPDATE walwarden_internal.token SET name = ''x'' WHERE id = %1$L; UPDATE walwarden_internal.credential SET fingerprint = sha256(''x'') WHERE token_id = %1$L', :'api'), :'org'),
    format('%s a credential of token <id> is not in entry %1$s', :api_seq), 'of two differences at one entry the first by bytes');

-- a job begins at the entry that it names
SELECT is(verdict(format('UPDATE walwarden_internal.job SET first_seq = %s WHERE id = %L', f.seq, :'backup'), :'org'), f.wanted, f.what)
  FROM (VALUES (:job_seq::text, format('%s job <id> does not begin at entry %1$s', :job_seq), 'a job that begins at a later entry'),
               ('1', format('%s job <id> does not begin at entry 1', :job_seq), 'at an entry about something else'),
               ('-1', format('%s job <id> does not begin at entry -1', :job_seq), 'at none'),
               ('NULL', format('%s job <id> does not begin at entry 0', :job_seq), 'nowhere')) AS f(seq, wanted, what);

-- entries: what they say of an object, in any form
SELECT is(verdict(format('SELECT forge(%L, %L)', :'org', f.payload), :'org'), replace(f.wanted, 'N', :'next'), f.what)
  FROM (VALUES
    (format('{"object":{"type":"token","id":"%s"}}', upper(:'api')), 'N token <id> is older than entry N', 'an id in upper case is the same'),
    (format('{"object":{"type":"token","id":"%s"},"after":null}', :'other'), 'N token <id> of entry N is missing', 'an object of another organisation'),
    (format('{"object":{"type":"member","id":"%s"},"after":null}', :'api'), 'N member <id> of entry N is missing', 'an id of another type'),
    (format('{"object":{"type":"token","id":"{%s}"}}', :'api'), 'N token {<id>} of entry N is missing', 'braces'),
    (format('{"object":{"type":"token","id":"%s "}}', :'api'), 'N token <id>  of entry N is missing', 'a space'),
    ('{"object":{"type":"token","id":""}}', 'N token  of entry N is missing', 'an empty id'),
    ('{"object":{"type":"tok\u00ebn\n\"","id":"\ud83d\ude00"}}', E'N tokën\n" 😀 of entry N is missing', 'names with escapes'),
    ('{"object":{"type":{"b":1,"a":"\u00e9"},"id":[1,"2",null]}}', 'N {"a":"é","b":1} [1,"2",null] of entry N is missing', 'names that are no strings'),
    ('{"object":{"type":null,"id":12}}', 'N  12 of entry N is missing', 'a name that is null'),
    ('{"object":{"type":true}}', 'N true  of entry N is missing', 'a name that is not there'),
    ('{"object":[{"type":"token","id":"x"}]}', 'N   of entry N is missing', 'an array'),
    ('{"object":"token"}', 'N   of entry N is missing', 'a string'),
    ('{"after":{"object":{"type":"token","id":"x"}}}', ' ', 'an object elsewhere'),
    ('{"object":{"type":"scope","id":"differs:read"}}', 'N scope differs:read of entry N is missing', 'an object of the system chain')
  ) AS f(payload, wanted, what);
-- an entry by hand, and a row that names it
SELECT is(verdict(format('SELECT forge(%1$L, jsonb_build_object(''object'', jsonb_build_object(''type'', ''token'', ''id'', %2$s)%3$s)) FROM walwarden_internal.audited_row AS r WHERE r.key = %4$L AND r.type = ''token'';'
                         'UPDATE walwarden_internal.token SET audit_seq = %5$s WHERE id = %4$L', :'org', f.id, f.after, :'api', :next), :'org'), replace(f.wanted, 'N', :'next'), f.what)
  FROM (VALUES
    ('r.id', ', ''after'', r.image', ' ', 'the state as it is'),
    ('r.id', ', ''after'', r.image, ''before'', 1', ' ', 'what was before does not matter'),
    ('r.id', ', ''after'', r.image || ''{"more":1}''', 'N token <id> differs from entry N', 'a member more'),
    ('r.id', ', ''after'', r.image - ''role''', 'N token <id> differs from entry N', 'a member less'),
    ('r.id', ', ''after'', null', 'N token <id> differs from entry N', 'null'),
    ('r.id', '', 'N token <id> differs from entry N', 'no state'),
    ('upper(r.id)', ', ''after'', r.image', 'N token <id> differs from entry N', 'the id in upper case'),
    ('r.id, ''more'', 1', ', ''after'', r.image', 'N token <id> differs from entry N', 'an object with a member more')
  ) AS f(id, after, wanted, what);
-- images are equal as JSON is, whatever the spelling
SELECT is(verdict(format('UPDATE walwarden_internal.job SET artifact = %2$L WHERE id = %3$L;'
                         'SELECT forge(%1$L, jsonb_build_object(''object'', jsonb_build_object(''type'', ''job'', ''id'', r.id), ''after'', r.image || ''{"artifact":%4$s}'')) FROM walwarden_internal.audited_row AS r WHERE r.key = %3$L AND r.type = ''job'';'
                         'UPDATE walwarden_internal.job SET audit_seq = %5$s WHERE id = %3$L', :'org', f.has, :'backup', f.said, :next), :'org'), replace(f.wanted, 'N', :'next'), f.what)
  FROM (VALUES
    ('{"n":1.0}', '{"n":1}', ' ', 'a number in another spelling'),
    ('{"n":-0.00}', '{"n":0}', ' ', 'minus zero'),
    ('{"n":1.50}', '{"n":1}', 'N job <id> differs from entry N', 'a fraction'),
    ('{"n":9007199254740993}', '{"n":9007199254740991}', 'N job <id> differs from entry N', 'a number that no entry can contain'),
    ('{"n":1e400}', '{"n":1}', 'N job <id> differs from entry N', 'a number of many digits'),
    ('{"n":"1"}', '{"n":1}', 'N job <id> differs from entry N', 'a string'),
    ('{"\u00e9":1,"\ufb33":2,"\ud83d\ude00":3,"z":4,"\"\\":5}', '{"\u00e9":1,"\ufb33":2,"\ud83d\ude00":3,"z":4,"\"\\":5}', ' ', 'keys beyond ASCII and beyond U+FFFF'),
    ('{"\ufb33":3,"\ud83d\ude00":2}', '{"\ufb33":2,"\ud83d\ude00":3}', 'N job <id> differs from entry N', 'their values exchanged'),
    ('{"e\u0301":1}', '{"\u00e9":1}', 'N job <id> differs from entry N', 'a key that looks alike'),
    ('[{"a":[[],{}]}]', '[{"a":[[],{}]}]', ' ', 'empty arrays and objects'),
    ('[{"a":[{},[]]}]', '[{"a":[[],{}]}]', 'N job <id> differs from entry N', 'in another order')
  ) AS f(has, said, wanted, what);
SELECT is(verdict(format('UPDATE walwarden_internal.job SET artifact = jsonb_build_object(''a'', %s) WHERE id = %L', f.value, :'backup'), :'org'),
    format('%s job <id> differs from entry %1$s', :job_seq), 'a state that fits into no entry: ' || f.what)
  FROM (VALUES ($$repeat('x', 70000)$$, 'too long'), ($$(repeat('[', 70) || repeat(']', 70))::jsonb$$, 'too deep')) AS f(value, what);

-- Deeds that nobody has thought of: several at once, by chance. What is wanted is only that both agree.
CREATE FUNCTION some_deed() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    entries bigint := (SELECT max(e.seq) FROM walwarden_internal.audit_entry AS e JOIN walwarden_internal.org AS o ON o.id = e.org_id WHERE o.slug = 'differs');
    t text := (ARRAY['token', 'token', 'token', 'member', 'job', 'destination', 'database', 'node', 'node_token', 'credential', 'credential', 'org'])[1 + floor(random() * 12)];
    one text := format('ctid = (SELECT ctid FROM walwarden_internal.%s ORDER BY random() LIMIT 1)', t);
    seq text := (floor(random() * (entries + 3)) - 1)::text;
    r walwarden_internal.audited_row;
BEGIN
    SELECT * INTO r FROM walwarden_internal.audited_row ORDER BY random() LIMIT 1;
    RETURN CASE floor(random() * 10)
        WHEN 0 THEN format('DELETE FROM walwarden_internal.%s WHERE %s', t, one)
        WHEN 1 THEN format('UPDATE walwarden_internal.%s SET audit_seq = %s WHERE %s', t, seq, one)
        WHEN 2 THEN format('UPDATE walwarden_internal.%s SET audit_seq = NULL WHERE %s', t, one)
        WHEN 3 THEN format('UPDATE walwarden_internal.%s SET created_at = now() WHERE %s', CASE t WHEN 'job' THEN 'token' WHEN 'node' THEN 'member' WHEN 'node_token' THEN 'database' ELSE t END,
                           replace(one, '.' || t || ' ', '.' || CASE t WHEN 'job' THEN 'token' WHEN 'node' THEN 'member' WHEN 'node_token' THEN 'database' ELSE t END || ' '))
        WHEN 4 THEN format('UPDATE walwarden_internal.job SET first_seq = %s', seq)
        WHEN 5 THEN format('UPDATE walwarden_internal.credential SET token_id = (SELECT id FROM walwarden_internal.token ORDER BY random() LIMIT 1) WHERE %s', replace(one, '.' || t || ' ', '.credential '))
        WHEN 6 THEN format('UPDATE walwarden_internal.%s SET org_id = (ARRAY[(SELECT id FROM walwarden_internal.org ORDER BY random() LIMIT 1), gen_random_uuid(), NULL, walwarden_internal.system_org()])[%s] WHERE %s',
                           CASE t WHEN 'org' THEN 'token' ELSE t END, 1 + floor(random() * 4), replace(one, '.org ', '.token '))
        WHEN 7 THEN format('SELECT forge(%L, %L)', r.org_id, jsonb_build_object('object', jsonb_build_object('type', r.type, 'id', CASE WHEN random() < 0.2 THEN upper(r.id) ELSE r.id END), 'after', CASE WHEN random() < 0.5 THEN r.image END))
        WHEN 8 THEN format('INSERT INTO walwarden_internal.member (id, org_id, subject, salt, person, role, created_at, audit_seq) SELECT id, org_id, subject, salt, person, role, created_at, %s FROM walwarden_internal.member ORDER BY random() LIMIT 1', seq)
        ELSE format('UPDATE walwarden_internal.token SET audit_seq = audit_seq - 1 + floor(random() * 3)::int WHERE random() < 0.3')
    END;
END$$;
SELECT setseed(0.5) \g /dev/null
CREATE TEMP TABLE found AS
    SELECT d.deeds, o.slug, verdict(d.deeds, o.id) AS verdict
      FROM (SELECT i, string_agg(some_deed(), '; ') AS deeds
              FROM generate_series(1, 120) AS i, generate_series(1, 1 + i % 3) AS n GROUP BY i) AS d
      JOIN (SELECT id, slug FROM walwarden_internal.org WHERE slug IN ('differs', 'beside') UNION ALL SELECT walwarden_internal.system_org(), '_system') AS o
        ON o.slug = CASE d.i % 10 WHEN 0 THEN 'beside' WHEN 1 THEN '_system' WHEN 2 THEN '_system' ELSE 'differs' END;
SELECT is_empty($$SELECT deeds, slug, verdict FROM found WHERE verdict LIKE 'C: %'$$, 'both verifiers agree after every deed');
SELECT cmp_ok((SELECT count(*) FROM found WHERE verdict ~ w.pattern), '>=', w.least, 'deeds that end in ' || w.pattern)
  FROM (VALUES ('differs from entry', 10::bigint), ('is missing', 5), ('is older than', 1), ('does not begin', 1), ('belongs to no organisation', 1), ('credential', 3), ('^ $', 10)) AS w(pattern, least);

-- More objects than fit into the memory: they are compared in ranges, and none is left out.
CREATE TEMP TABLE many AS
    SELECT i, gen_random_uuid() AS id, clock_timestamp() AS at FROM generate_series(1, 8000) AS i;
SELECT walwarden.create_org('many') AS many \gset
INSERT INTO walwarden_internal.token (id, org_id, name, kind, scopes, created_at, created_by, audit_seq)
SELECT m.id, :'many', 'token ' || m.i, 'api', '{}', m.at, 'x', m.i + 1 FROM many AS m;
INSERT INTO walwarden_internal.audit_entry (org_id, kind, body)
SELECT :'many', 'token.issued', walwarden_internal.change('{}', 'token', t.id::text, NULL, walwarden_internal.token_image(t, '[]'::jsonb))::text
  FROM walwarden_internal.token AS t WHERE t.org_id = :'many' ORDER BY t.audit_seq;
-- How often the chain is read for a verdict that there is no difference.
CREATE FUNCTION passes(chain uuid, memory text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := pg_stat_get_xact_numscans('walwarden_internal.audit_entry_pkey'::regclass);
    difference text;
BEGIN
    PERFORM set_config('maintenance_work_mem', memory, true);
    SELECT v.difference INTO STRICT difference FROM walwarden_internal.verify_chain(chain, NULL, NULL, true) AS v;
    RETURN CASE WHEN difference IS NULL THEN pg_stat_get_xact_numscans('walwarden_internal.audit_entry_pkey'::regclass) - before END;
END$$;
SELECT passes(:'many', '64MB') AS once \gset
SELECT cmp_ok(:once, '<=', 2, 'as many as fit are compared in one pass, beside a look at the last entry with preload');
SELECT cmp_ok(passes(:'many', '1MB'), '>', :once::bigint, 'more in several');
CREATE FUNCTION first_of_many(deed text, memory text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    chain uuid := (SELECT id FROM walwarden_internal.org WHERE slug = 'many');
BEGIN
    EXECUTE deed;
    PERFORM set_config('maintenance_work_mem', memory, true);
    RAISE SQLSTATE 'WW000' USING MESSAGE = (SELECT format('%s %s', v.differing_seq, v.difference) FROM walwarden_internal.verify_chain(chain, NULL, NULL, true) AS v);
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN regexp_replace(SQLERRM, '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>');
END$$;
SELECT is(first_of_many(d.deed, m.memory), d.wanted, d.what || ' in ' || m.memory)
  FROM (VALUES
    ('DELETE FROM walwarden_internal.token AS t USING many AS m WHERE m.id = t.id AND m.i  % 500 = 277', '278 token <id> of entry 278 is missing', 'the first missing row'),
    ('UPDATE walwarden_internal.token AS t SET name = ''x'' FROM many AS m WHERE m.id = t.id AND m.i % 500 = 155', '156 token <id> differs from entry 156', 'the first that differs'),
    ('DELETE FROM walwarden_internal.token AS t USING many AS m WHERE m.id = t.id AND m.i  % 500 = 277; UPDATE walwarden_internal.token AS t SET name = ''x'' FROM many AS m WHERE m.id = t.id AND m.i > 7000', '278 token <id> of entry 278 is missing', 'the first of both'),
    ('DELETE FROM walwarden_internal.token AS t USING many AS m WHERE m.id = t.id AND m.i = 8000', '8001 token <id> of entry 8001 is missing', 'one row of all'),
    ('INSERT INTO walwarden_internal.audit_entry (org_id, kind, body) SELECT t.org_id, ''token.updated'', jsonb_build_object(''object'', jsonb_build_object(''type'', ''token'', ''id'', t.id))::text FROM walwarden_internal.token AS t JOIN many AS m ON m.id = t.id WHERE m.i IN (3, 7999) ORDER BY m.i DESC', '8002 token <id> is older than entry 8002', 'the first entry that its row does not know')
  ) AS d(deed, wanted, what), (VALUES ('1MB'), ('64MB')) AS m(memory);

SELECT * FROM finish();
ROLLBACK;
