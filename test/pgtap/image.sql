-- The image of a token that C makes for entries and for the verifier has the bytes of the canonical text of
-- the one that SQL makes for the verifier in SQL; and C finds every credential that SQL finds to differ.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();
SELECT walwarden.create_org('image') AS org \gset

-- Nothing protects the two tables any more.
DO $$
DECLARE
    t regclass;
    c name;
BEGIN
    FOREACH t IN ARRAY '{walwarden_internal.token_usage,walwarden_internal.credential,walwarden_internal.token}'::regclass[] LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER ALL', t);
        FOR c IN SELECT n.conname FROM pg_constraint AS n WHERE n.conrelid = t ORDER BY n.contype = 'n', n.contype = 'p' LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I CASCADE', t, c);
        END LOOP;
        FOR c IN SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = t AND a.attnotnull AND a.attnum > 0 LOOP
            EXECUTE format('ALTER TABLE %s ALTER %I DROP NOT NULL', t, c);
        END LOOP;
    END LOOP;
END$$;
ALTER TABLE walwarden_internal.token ALTER stopped DROP EXPRESSION;

-- Values of each type, some of which no door stores.
CREATE FUNCTION some_value(type regtype) RETURNS text LANGUAGE sql AS $$
    SELECT v.value FROM (VALUES
        ('text', ''), ('text', 'plain'), ('text', E'quote " backslash \\ slash / \b\f\n\r\t \u0001\u001f\u007f'), ('text', U&'\00e9 e\0301 \2028 \+01f600 \fb33 \ffff'),
        ('timestamptz', '2026-11-21 17:33:20.123456+00'), ('timestamptz', '1969-12-31 23:59:59.999999+00'), ('timestamptz', '0001-01-01 00:00:00+00'),
        ('timestamptz', '0044-03-15 12:00:00.5+00 BC'), ('timestamptz', '12026-01-01 00:00:00+00'), ('timestamptz', 'infinity'), ('timestamptz', '-infinity'),
        ('timestamptz', '1970-01-01 00:00:00.000001+00'), ('uuid', 'F0000000-0000-4000-8000-00000000000A'), ('uuid', '00000000-0000-0000-0000-000000000000'),
        ('boolean', 'true'), ('boolean', 'false'), ('integer', '0'), ('integer', '-2147483648'), ('integer', '2147483647'), ('smallint', '1'), ('bigint', '7'),
        ('text[]', '{}'), ('text[]', '{a}'), ('text[]', E'{b,a,NULL,"x \\" y","\u00e9\t"}'), ('text[]', '{{a,b},{c,NULL}}'), ('text[]', '[3:4]={a,b}'),
        ('cidr[]', '{}'), ('cidr[]', '{10.0.0.0/8}'), ('cidr[]', '{2001:db8::/32,192.0.2.1/32,NULL}'),
        ('jsonb', '{"a": "b"}'), ('jsonb', E'{"z": "1", "\\u00e9": "x\\ty", "\\ufb33": "2", "\\ud83d\\ude00": "3", "aa": ""}'), ('jsonb', 'null'), ('jsonb', '{}'), ('jsonb', '"x"'),
        ('jsonb', '{"a": null, "b": {"c": null, "d": [null, {"e": null}]}}'), ('jsonb', '[1.0, 1e2, -0.00]'), ('jsonb', '9007199254740991'), ('jsonb', '{"a": 9007199254740993}'), ('jsonb', '[1.5]'), ('jsonb', 'true'),
        ('bytea', ''), ('bytea', '\x00ff'), ('bytea', '\x' || repeat('c0', 32))) AS v(type, value)
     WHERE v.type::regtype = $1 ORDER BY random() LIMIT 1
$$;
-- A row of such values, but for those that are given.
CREATE FUNCTION insert_some(relation regclass, given jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE (SELECT format('INSERT INTO %s VALUES (%s)', relation,
                           string_agg(quote_nullable(CASE WHEN given ? a.attname THEN given ->> a.attname WHEN random() < 0.7 THEN some_value(a.atttypid) END), ', ' ORDER BY a.attnum))
               FROM pg_attribute AS a WHERE a.attrelid = relation AND a.attnum > 0);
END
$$;
SELECT setseed(0.5) \g /dev/null
SELECT insert_some('walwarden_internal.token', jsonb_build_object('org_id', :'org', 'id', md5('token ' || i)::uuid, 'audit_seq', 1)) FROM generate_series(1, 400) AS i \g /dev/null
-- up to three credentials each, in an order that created_at does not always decide
SELECT insert_some('walwarden_internal.credential', jsonb_build_object('token_id', md5('token ' || i)::uuid, 'fingerprint', (ARRAY[NULL, '\x00ff', '\x00'])[n]))
  FROM generate_series(1, 400) AS i, generate_series(1, i % 4) AS n \g /dev/null
UPDATE walwarden_internal.token SET id = NULL WHERE id = md5('token 4')::uuid;

CREATE TEMP TABLE image AS
    SELECT t.id, d.canonical AS made, r.image, c.canonical AS wanted
      FROM walwarden_internal.token AS t
      JOIN walwarden_internal.audited_row AS r ON r.type = 'token' AND r.org_id = t.org_id AND r.key IS NOT DISTINCT FROM t.id
      JOIN walwarden_internal.described_row AS d ON d.type = 'token' AND d.org_id = t.org_id AND d.key IS NOT DISTINCT FROM t.id
     CROSS JOIN LATERAL walwarden_internal.canonical_json(convert_to(r.image::text, 'UTF8'), true) AS c
     WHERE t.org_id = :'org';
SELECT is((SELECT count(*) FROM image), 400::bigint, 'tokens of all kinds');
SELECT is_empty('SELECT id, made, wanted FROM image WHERE wanted IS NOT NULL AND made IS DISTINCT FROM wanted', 'their images are the same, byte for byte');
SELECT cmp_ok((SELECT count(*) FROM image WHERE wanted IS NOT NULL), '>', 300::bigint, 'of most');
SELECT is_empty($$SELECT id, made, image FROM image WHERE wanted IS NOT NULL AND image::text !~ '[0-9][.][0-9]+[],]' AND walwarden_internal.canonical(image, true) IS DISTINCT FROM made$$,
    'and what is canonical by SQL alone');
SELECT is_empty($$SELECT i.made FROM image AS i, walwarden_internal.canonical_json(convert_to(i.made, 'UTF8')) AS c WHERE i.wanted IS NULL AND c.error IS NULL$$,
    'what no entry can contain is in none');
SELECT isnt_empty('SELECT FROM image WHERE wanted IS NULL', 'of some');
SELECT is_empty($$SELECT k FROM jsonb_object_keys((SELECT image FROM image WHERE image ?& '{labels,networks,rateLimit,keyName,lifetimeFrom,noticeFor}' LIMIT 1)) AS k
                   WHERE NOT EXISTS (SELECT FROM image WHERE image ->> k IS NOT NULL)$$, 'every member has a value somewhere');

-- A credential with the status of its token, and one in which a column is another.
CREATE TEMP TABLE credential AS
    SELECT t, a.attname, jsonb_populate_record(s, jsonb_build_object('audit_seq', 1, a.attname, CASE WHEN random() < 0.8 THEN some_value(a.atttypid) END)) AS c
      FROM walwarden_internal.token AS t
      JOIN walwarden_internal.credential AS c ON c.token_id = t.id
     CROSS JOIN LATERAL walwarden_internal.with_token_status(c, t) AS s
      JOIN pg_attribute AS a ON a.attrelid = 'walwarden_internal.credential'::regclass
       AND a.attname IN ('org_id', 'token_kind', 'scopes', 'role', 'owner_id', 'expires_at', 'stopped', 'networks', 'rate_limit')
     WHERE t.org_id = :'org';
SELECT is((SELECT count(DISTINCT attname) FROM credential), 9::bigint, 'every column of a status');
SELECT is_empty('SELECT attname, c, t FROM credential WHERE walwarden_internal.credentials_match(t, ARRAY[c]) IS DISTINCT FROM (walwarden_internal.with_token_status(c, t) IS NOT DISTINCT FROM c)',
    'a credential that has not the status of its token is found');
SELECT is((SELECT count(DISTINCT (attname, walwarden_internal.credentials_match(t, ARRAY[c]))) FROM credential), 17::bigint, 'by each column, of which org_id is never the same');
SELECT is(walwarden_internal.credentials_match(t, ARRAY[walwarden_internal.with_token_status(c, t), c]), false, 'also the second one') FROM credential
 WHERE attname = 'stopped' AND NOT walwarden_internal.credentials_match(t, ARRAY[c]) LIMIT 1;
SELECT ok(walwarden_internal.credentials_match(t, '{}'), 'none is to be found') FROM credential LIMIT 1;
SELECT is_empty($$SELECT v.seq, f.t FROM credential AS f, (VALUES (NULL), (99999)) AS v(seq)
                   WHERE walwarden_internal.credentials_match(f.t, ARRAY[jsonb_populate_record(walwarden_internal.with_token_status(f.c, f.t), jsonb_build_object('audit_seq', v.seq))])$$,
    'a credential that names no entry, or one that is not there, is found');

SELECT * FROM finish();
ROLLBACK;
