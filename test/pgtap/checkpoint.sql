-- Checkpoints: the hashes that a node reads, and the notes that it signs. Signatures come
-- from test/ed25519.py, which shares no code with the extension.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

CREATE ROLE tc_runner;
SELECT walwarden.create_org('chain') IS NOT NULL, walwarden.create_org('chain2') IS NOT NULL, walwarden.grant_runner('tc_runner') \g /dev/null
CREATE TEMP TABLE tokens (name text, token text);
GRANT SELECT ON tokens TO tc_runner;
INSERT INTO tokens SELECT name, (walwarden.issue_token('chain', name, kind => 'node')).token FROM unnest('{node,other,plain,none}'::text[]) AS name;
INSERT INTO tokens SELECT 'api', token FROM walwarden.issue_token('chain', 'api', ARRAY['audit:read']);
CREATE FUNCTION as_node(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.authenticate((SELECT t.token FROM tokens AS t WHERE t.name = as_node.name));
END
$$;
CREATE FUNCTION shown() RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.headers', json_build_object('x-walwarden-token', (SELECT t.token FROM tokens AS t WHERE t.name = 'api'), 'x-walwarden-method', 'GET',
                                                            'x-walwarden-path', '/api/v1/audit/verification')::text, true);
    RETURN walwarden_rest.v1_get() -> 'checkpoint';
END
$$;
SELECT id AS org FROM walwarden_internal.org WHERE slug = 'chain' \gset
SELECT id AS other_org FROM walwarden_internal.org WHERE slug = 'chain2' \gset
SELECT is(shown()::text, 'null', 'nothing is published yet');

-- hashes
SELECT as_node('none') \g /dev/null
SET ROLE tc_runner;
CREATE TEMP TABLE hashes AS SELECT * FROM walwarden.chain_hashes(0, 10000);
SELECT throws_ok(format('SELECT * FROM walwarden.chain_hashes(%s, %s)', after_seq, max_rows), '22023', NULL, format('chain_hashes(%s, %s)', after_seq, max_rows))
  FROM (VALUES ('NULL', '1'), ('-1', '1'), ('0', 'NULL'), ('0', '0'), ('0', '-1'), ('0', '10001')) AS v(after_seq, max_rows);
SELECT results_eq('SELECT * FROM walwarden.chain_hashes(2, 3)', 'SELECT * FROM hashes WHERE seq BETWEEN 3 AND 5 ORDER BY seq', 'a page');
SELECT is_empty('SELECT * FROM walwarden.chain_hashes(9223372036854775807, 1)', 'after the end');
SELECT throws_ok('SELECT walwarden.publish_checkpoint(''x'')', '55000', 'the token has not registered a node', 'before register_node()');
RESET ROLE;
SELECT results_eq('SELECT * FROM hashes ORDER BY seq', $$SELECT seq, encode(hash, 'hex') FROM walwarden.list_audit('chain') ORDER BY seq$$, 'the hashes of the chain of the organisation, and no other');

-- notes
\set key `test/ed25519.py key one`
\set root NcFqE0Y6BKVGkzPWsWq/60w2dDDtEIwl7zuJLwr1tKg=
\set other_root NsFqE0Y6BKVGkzPWsWq/60w2dDDtEIwl7zuJLwr1tKg=
SELECT as_node('plain') \g /dev/null
SET ROLE tc_runner;
SELECT walwarden.register_node('plain', '1') \g /dev/null
SELECT throws_ok('SELECT walwarden.publish_checkpoint(''x'')', '55000', 'the node has no key', 'a node without a key');
SELECT as_node('node') \g /dev/null
SELECT walwarden.register_node('node-1', '1', :'key') \g /dev/null
RESET ROLE;
SELECT max(seq) AS head, max(seq) + 1 AS beyond FROM walwarden.list_audit('chain') \gset

-- Notes: who signs what, under which name.
SELECT 'walwarden/' || :'org' AS origin, 'walwarden/' || :'other_org' AS other_origin, 'walwarden/' || upper(:'org') AS upper_origin \gset
\set n5 `test/ed25519.py note one node-1 :'origin' 5 :'root'`
\set n5b `test/ed25519.py note one node-1 :'origin' 5 :'other_root'`
\set n6 `test/ed25519.py note one node-1 :'origin' 6 :'root'`
\set n4 `test/ed25519.py note one node-1 :'origin' 4 :'root'`
\set nhead `test/ed25519.py note one node-1 :'origin' :'head' :'root'`
\set nbeyond `test/ed25519.py note one node-1 :'origin' :'beyond' :'root'`
\set nother `test/ed25519.py note one node-1 :'other_origin' 5 :'root'`
\set nzero `test/ed25519.py note one node-1 :'origin' 05 :'root'`
\set nmore `test/ed25519.py note one node-1 :'origin' 5 :'root' more`
\set nupper `test/ed25519.py note one node-1 :'upper_origin' 5 :'root'`
\set nname `test/ed25519.py note one node-2 :'origin' 5 :'root'`
\set nstranger `test/ed25519.py note two node-1 :'origin' 5 :'root'`
-- psql takes the last line feed from a program's output
CREATE TEMP TABLE notes AS
SELECT v.name, v.note || E'\n' AS note
  FROM (VALUES ('5', :'n5'), ('5b', :'n5b'), ('6', :'n6'), ('4', :'n4'), ('head', :'nhead'), ('beyond', :'nbeyond'), ('other', :'nother'), ('zero', :'nzero'), ('more', :'nmore'),
               ('upper', :'nupper'), ('name', :'nname'), ('stranger', :'nstranger')) AS v(name, note);
GRANT SELECT ON notes TO tc_runner;
CREATE FUNCTION published(note text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN walwarden.publish_checkpoint(note);
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
CREATE FUNCTION published_as(name text) RETURNS text LANGUAGE sql AS $$ SELECT published(n.note) FROM notes AS n WHERE n.name = $1 $$;
CREATE TEMP TABLE head AS SELECT max(seq) AS seq FROM walwarden.list_audit('chain');

SET ROLE tc_runner;
SELECT is(published(v.note), '22023 invalid checkpoint', v.what)
  FROM notes AS n, LATERAL (VALUES ('NULL', NULL), ('empty', ''), ('text alone', split_part(n.note, E'\n\n', 1)), ('without its end', rtrim(n.note, E'\n')), ('with more', n.note || 'x'),
                                   ('two signatures', n.note || split_part(n.note, E'\n\n', 2)), ('a hyphen', replace(n.note, U&'\2014', '-')),
                                   ('long', repeat('x', 100000)), ('another origin', 'example.org/' || n.note), ('CRLF', replace(n.note, E'\n', E'\r\n'))) AS v(what, note)
 WHERE n.name = '5';
SELECT is(published_as(name), '22023 invalid checkpoint', name) FROM unnest('{zero,more,upper}'::text[]) AS name;
SELECT is(published_as('other'), '22023 the checkpoint is of another organisation', 'another organisation');
SELECT is(published_as('name'), '22023 the checkpoint is signed under another name', 'another name');
SELECT is(published_as('stranger'), '22023 the signature of the checkpoint does not verify with the key of the node', 'a stranger''s key');
SELECT is(published(regexp_replace(n.note, '^.*\n\n', split_part(o.note, E'\n\n', 1) || E'\n\n')), '22023 the signature of the checkpoint does not verify with the key of the node', 'the text of ' || o.name || ' under the signature')
  FROM notes AS n, notes AS o WHERE n.name = '5' AND o.name IN ('4', '5b', '6');
-- the id of the key, the first of the bytes
SELECT is(published(regexp_replace(note, U&'\2014 node-1 ..', U&'\2014 node-1 AA')), '22023 the signature of the checkpoint does not verify with the key of the node', 'another key id') FROM notes WHERE name = '5';
SELECT is(published_as('beyond'), '55000 the checkpoint has more entries than the chain', 'more than there are');
RESET ROLE;
SELECT is_empty('SELECT FROM walwarden_internal.checkpoint', 'none is stored');
UPDATE walwarden_internal.node SET last_seen_at = NULL;
SET ROLE tc_runner;
SELECT is(published_as('5'), 'true', 'a checkpoint');
SELECT is((SELECT array_agg(name) FROM walwarden.list_nodes('chain') WHERE last_seen_at > now()), '{node-1}', 'by a node, which was seen');
SELECT is(published_as('5'), 'false', 'the same again');
SELECT is(published_as('4'), '55000 the node has published a checkpoint of 5 entries already', 'a smaller one');
SELECT is(published_as('5b'), '55000 the node has published another root for the same entries', 'another root');
RESET ROLE;
SELECT is(shown() ->> 'size', '5', 'REST v1 shows it');
SELECT is(shown() ->> 'root', :'root', 'its root');
SELECT is(shown() ->> 'node', 'node-1', 'its node');
SELECT matches(shown() ->> 'at', '^20.*Z$', 'and when it came');
SELECT as_node('node') \g /dev/null
SET ROLE tc_runner;
SELECT is(published_as('head'), 'true', 'as large as the chain');
SELECT is(published_as('6'), format('55000 the node has published a checkpoint of %s entries already', :'head'), 'and no way back');
RESET ROLE;
SELECT is((SELECT max(seq) FROM walwarden.list_audit('chain')), (SELECT seq FROM head), 'no checkpoint is an entry');
SELECT is((SELECT note FROM walwarden_internal.checkpoint), (SELECT note FROM notes WHERE name = 'head'), 'the newest is stored');

-- each node has its own; the largest is shown
\set other_key `test/ed25519.py key two`
\set m6 `test/ed25519.py note two node-2 :'origin' 6 :'root'`
SELECT as_node('other') \g /dev/null
SET ROLE tc_runner;
SELECT walwarden.register_node('node-2', '1', :'other_key') \g /dev/null
SELECT is(published(:'m6' || E'\n'), 'true', 'a smaller one of another node');
SELECT is(published_as('head'), '22023 the checkpoint is signed under another name', 'that of the first it cannot publish');
RESET ROLE;
SELECT is(shown() ->> 'node', 'node-1', 'the largest is shown');
SELECT is((SELECT count(*) FROM walwarden_internal.checkpoint), 2::bigint, 'both are stored');
-- another key goes on where the first was
SELECT as_node('node') \g /dev/null
SET ROLE tc_runner;
SELECT walwarden.register_node('node-1', '1', :'other_key') \g /dev/null
SELECT is(published_as('head'), '22023 the signature of the checkpoint does not verify with the key of the node', 'not with the old key');
\set n5new `test/ed25519.py note two node-1 :'origin' 5 :'root'`
\set nheadnew `test/ed25519.py note two node-1 :'origin' :'head' :'root'`
SELECT matches(published(:'n5new' || E'\n'), '^55000 the node has published', 'and not from the start');
SELECT is(published(:'nheadnew' || E'\n'), 'true', 'the same entries, signed with the new key');
RESET ROLE;
SELECT is((SELECT k.public_key FROM walwarden_internal.checkpoint AS k JOIN walwarden_internal.node AS n ON n.id = k.node_id WHERE n.name = 'node-1'), :'other_key', 'the key that signed is stored');

SELECT is((SELECT ok FROM walwarden.verify_audit_chain('chain')), true, 'the chain holds');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain_sql('chain')), true, 'in SQL too');

-- without OpenSSL
CREATE OR REPLACE FUNCTION walwarden_internal.signatures_supported() RETURNS boolean LANGUAGE sql AS 'SELECT false';
SET ROLE tc_runner;
SELECT is(published_as('head'), '0A000 this server cannot verify signatures', 'a server without OpenSSL');
SELECT isnt_empty('SELECT * FROM walwarden.chain_hashes(0, 1)', 'has hashes');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
