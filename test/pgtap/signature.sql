-- Keys of nodes, and the manifests that they sign. Signatures come from test/ed25519.py,
-- which shares no code with the extension.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

CREATE ROLE tsg_runner;
SELECT walwarden.create_org('signed') IS NOT NULL, walwarden.grant_runner('tsg_runner') \g /dev/null
CREATE TEMP TABLE tokens (name text, token text);
GRANT SELECT ON tokens TO tsg_runner;
INSERT INTO tokens SELECT name, (walwarden.issue_token('signed', name, kind => 'node')).token FROM unnest('{node,other,plain,spare}'::text[]) AS name;
INSERT INTO tokens SELECT 'api', token FROM walwarden.issue_token('signed', 'api', ARRAY['databases:write', 'destinations:write', 'backups:trigger', 'evidence:read']);
\ir request.psql
CREATE FUNCTION request(method text, path text, body text) RETURNS json LANGUAGE sql AS $$
    SELECT pg_temp.rest((SELECT t.token FROM tokens AS t WHERE t.name = 'api'), method, path, body)
$$;
CREATE FUNCTION evidence(manifest jsonb, result text DEFAULT 'passed') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('manifest', manifest, 'integrityVerification', jsonb_build_object('result', result, 'checkedAt', '2026-11-20T18:00:00Z', 'tool', 'x'),
                              'recoverableTo', '2026-11-20T17:00:00Z')
$$;
CREATE FUNCTION as_node(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM walwarden.authenticate((SELECT t.token FROM tokens AS t WHERE t.name = as_node.name));
END
$$;
CREATE FUNCTION last_kind() RETURNS text LANGUAGE sql AS $$
    SELECT kind FROM walwarden.list_audit('signed') ORDER BY seq DESC LIMIT 1
$$;
\set key `test/ed25519.py key one`
\set other_key `test/ed25519.py key two`

SELECT request('POST', '/destinations', '{"name":"d","provider":"local","uri":"file:///srv"}') ->> 'id' AS destination \gset
SELECT request('POST', '/databases', format('{"name":"d","connectionRef":"d","destinationId":"%s"}', :'destination')) ->> 'id' AS database \gset
SELECT request('POST', format('/databases/%s/backups', :'database'), '') ->> 'backupJobId' AS job \gset
SELECT id AS org FROM walwarden_internal.org WHERE slug = 'signed' \gset

-- the key is part of the node, and of the chain
SELECT as_node('node') \g /dev/null
SET ROLE tsg_runner;
SELECT throws_ok(format('SELECT walwarden.register_node(''node-1'', ''1'', %L)', key), '22023', 'invalid public key', 'key: ' || key)
  FROM unnest(ARRAY['', 'x', repeat('A', 44), repeat('A', 43), repeat('A', 42) || 'B=', repeat('A', 43) || E'\n', ' ' || repeat('A', 42) || '=', repeat('A', 42) || '==',
                    repeat('A', 41) || '-A=', repeat('A', 43) || '=' || repeat('A', 44), repeat('00', 32), U&'\00C4' || repeat('A', 41) || '=']) AS key;
-- points of small order, with either sign: anybody can sign under these
SELECT throws_ok(format('SELECT walwarden.register_node(''node-1'', ''1'', %L)', encode(set_byte(y, 31, get_byte(y, 31) | sign), 'base64')), '22023', 'invalid public key', format('%s %s', encode(y, 'hex'), sign))
  FROM (SELECT decode(v, 'hex') FROM unnest(ARRAY[repeat('00', 32), '01' || repeat('00', 31), 'ec' || repeat('ff', 30) || '7f', 'ed' || repeat('ff', 30) || '7f', 'ee' || repeat('ff', 30) || '7f',
               '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05', 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a']) AS v) AS k(y),
       unnest(ARRAY[0, 128]) AS sign;
SELECT throws_ok(format('SELECT walwarden.register_node(%L, ''1'', %L)', name, :'key'), '22023', 'the name of a node with a key contains a space or a plus sign', 'name: ' || name)
  FROM unnest(ARRAY['node 1', 'node+1', U&'node\00A01', U&'node\20091', U&'node\30001']) AS name;
SELECT walwarden.register_node('node-1', '1') AS node \gset
RESET ROLE;
SELECT is((SELECT body::jsonb #> '{payload,after}' ? 'publicKey' FROM walwarden.list_audit('signed') ORDER BY seq DESC LIMIT 1), false, 'no key, no member');
SET ROLE tsg_runner;
SELECT is(walwarden.register_node('node-1', '1', :'key'), :'node'::uuid, 'a key comes later');
RESET ROLE;
SELECT is(last_kind(), 'node.key_changed', 'which is an entry');
SELECT is((SELECT body::jsonb #>> '{payload,after,publicKey}' FROM walwarden.list_audit('signed') ORDER BY seq DESC LIMIT 1), :'key', 'with the key');
SELECT is((SELECT public_key FROM walwarden.list_nodes('signed')), :'key', 'and listed');
SELECT max(seq) AS head FROM walwarden.list_audit('signed') \gset
SET ROLE tsg_runner;
SELECT walwarden.register_node('node-1', '1', :'key'), walwarden.register_node('node-1', '1') \g /dev/null
RESET ROLE;
SELECT is((SELECT max(seq) FROM walwarden.list_audit('signed')), :head::bigint, 'the same key, or none, changes nothing');
SET ROLE tsg_runner;
SELECT walwarden.register_node('node-1', '2') \g /dev/null
RESET ROLE;
SELECT is(last_kind(), 'node.registered', 'another version');
SELECT is((SELECT public_key FROM walwarden.list_nodes('signed')), :'key', 'keeps the key');
SAVEPOINT s;
SET ROLE tsg_runner;
SELECT walwarden.register_node('node-1', '2', :'other_key') \g /dev/null
RESET ROLE;
SELECT is(last_kind(), 'node.key_changed', 'another key is an entry too');
UPDATE walwarden_internal.node SET public_key = :'key';
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('signed')), '^node .* differs from entry', 'a key changed by hand is found');
UPDATE walwarden_internal.node SET public_key = NULL;
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain_sql('signed')), '^node .* differs from entry', 'one that is taken away too');
ROLLBACK TO s;
SET ROLE tsg_runner;
SELECT lives_ok($$SELECT walwarden.register_node('plain node + 1', '1')$$, 'without a key a name is free') FROM as_node('spare');
SELECT walwarden.register_node('plain', '1') FROM as_node('plain') \g /dev/null

-- manifests
SELECT as_node('node') \g /dev/null
SELECT job_id = :'job' AS claimed FROM walwarden.claim_job('{backup}') \g /dev/null
SELECT walwarden.report_job(:'job', 1, 'running') \g /dev/null
SELECT json_build_object('format', 'walwarden/manifest/v1', 'orgId', :'org', 'jobId', :'job', 'fence', 1, 'databaseId', :'database', 'database', 'Zoë',
                         'artifact', json_build_object('name', 'b', 'sizeBytes', 1, 'checksumSha256', repeat('0', 64)), 'node', 'node-1', 'publicKey', :'key', 'zone', '"\') AS manifest \gset
\set signed `test/ed25519.py manifest one :'manifest'`
\set strangers `test/ed25519.py manifest two :'manifest'`
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(%L))', :'job', manifest), '22023', 'the manifest is not signed by the node: ' || problem, what)
  FROM (VALUES ('no signature', :'manifest', 'signature is missing'),
               ('another key', :'strangers', 'signature does not verify with the key of the node'),
               ('a field changed', (:'signed'::jsonb || '{"database":"Zoe"}')::text, 'signature does not verify with the key of the node'),
               ('a field added', (:'signed'::jsonb || '{"more":null}')::text, 'signature does not verify with the key of the node'),
               ('a field taken away', (:'signed'::jsonb - 'zone')::text, 'signature does not verify with the key of the node'),
               ('an empty signature', (:'signed'::jsonb || '{"signature":""}')::text, 'signature is not the base64 text of 64 bytes'),
               ('null', (:'signed'::jsonb || '{"signature":null}')::text, 'signature is not the base64 text of 64 bytes'),
               ('a number', (:'signed'::jsonb || '{"signature":64}')::text, 'signature is not the base64 text of 64 bytes'),
               ('an array', (:'signed'::jsonb || '{"signature":[]}')::text, 'signature is not the base64 text of 64 bytes'),
               ('half a signature', jsonb_set(:'signed', '{signature}', to_jsonb(left(:'signed'::jsonb ->> 'signature', 44)))::text, 'signature is not the base64 text of 64 bytes'),
               ('more than a signature', jsonb_set(:'signed', '{signature}', to_jsonb((:'signed'::jsonb ->> 'signature') || 'AAAA'))::text, 'signature is not the base64 text of 64 bytes'),
               ('zeros', jsonb_set(:'signed', '{signature}', to_jsonb(repeat('A', 86) || '=='))::text, 'signature does not verify with the key of the node'),
               ('elsewhere', (:'manifest'::jsonb || jsonb_build_object('artifact', :'signed'::jsonb))::text, 'signature is missing'),
               ('another node', (:'signed'::jsonb || '{"node":"node-2"}')::text, 'node is not the name of the node'),
               ('another public key', (:'signed'::jsonb || jsonb_build_object('publicKey', :'other_key'))::text, 'publicKey is not the key of the node')) AS v(what, manifest, problem);
-- signed, and about another job
SELECT :'manifest'::jsonb || '{"fence":2}' AS manifest_of_2 \gset
\set signed_2 `test/ed25519.py manifest one :'manifest_of_2'`
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(%L))', :'job', :'signed_2'), '22023', 'the manifest is about another job: fence differs', 'signed for another claim');
SELECT ok(walwarden.record_evidence(:'job', 1, evidence(:'signed'::jsonb)), 'a signed manifest');
SELECT ok(NOT walwarden.record_evidence(:'job', 1, evidence(:'signed'::jsonb)), 'the same again changes nothing');
SELECT walwarden.report_job(:'job', 1, 'finalizing'), walwarden.report_job(:'job', 1, 'completed', :'manifest'::jsonb - '{format,orgId,jobId,fence,databaseId,database,node,publicKey,zone}'::text[]) \g /dev/null
RESET ROLE;
SELECT is(request('GET', '/evidence/' || :'job', NULL) ->> 'publicKey', :'key', 'REST v1 shows which key');
SELECT is((SELECT body::jsonb #> '{payload,after}' FROM walwarden.search_audit('signed', 'evidence.recorded')) -> 'manifest', :'signed'::jsonb, 'the entry has the manifest with its signature');
SAVEPOINT s;
UPDATE walwarden_internal.evidence SET public_key = NULL;
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('signed')), '^evidence .* differs from entry', 'a key taken away from the evidence is found');
ROLLBACK TO s;

-- others check it again, and do not take the signature away
SELECT as_node('plain') \g /dev/null
SET ROLE tsg_runner;
SELECT ok(walwarden.record_evidence(:'job', 1, evidence(:'signed', 'failed')), 'a node without a key: the same manifest, another result');
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(%L))', :'job', manifest), '22023', 'the evidence is signed and the node has no key', 'no other manifest')
  FROM unnest(ARRAY[:'manifest', :'strangers']) AS manifest;
RESET ROLE;
SELECT is(request('GET', '/evidence/' || :'job', NULL) ->> 'publicKey', :'key', 'still signed');
SELECT is(request('GET', '/evidence/' || :'job', NULL) ->> 'state', 'failed', 'with the new result');
SELECT as_node('other') \g /dev/null
SET ROLE tsg_runner;
SELECT walwarden.register_node('node-2', '1', :'other_key') \g /dev/null
SELECT ok(walwarden.record_evidence(:'job', 1, evidence(:'signed')), 'a node with another key: the same manifest');
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(%L))', :'job', :'manifest'), '22023', 'the manifest is not signed by the node: node is not the name of the node', 'no manifest of the first');
SELECT jsonb_build_object('artifact', :'manifest'::jsonb -> 'artifact', 'node', 'node-2') AS manifest_2 \gset
\set signed_by_2 `test/ed25519.py manifest two :'manifest_2'`
SELECT ok(walwarden.record_evidence(:'job', 1, evidence(:'signed_by_2')), 'one of its own');
RESET ROLE;
SELECT is(request('GET', '/evidence/' || :'job', NULL) ->> 'publicKey', :'other_key', 'signed by the second');
-- with a new key, what the old one signed stays
SELECT as_node('node') \g /dev/null
SET ROLE tsg_runner;
SELECT ok(walwarden.record_evidence(:'job', 1, evidence(:'signed')), 'the first signs again');
SELECT walwarden.register_node('node-1', '2', :'other_key') \g /dev/null
SELECT ok(walwarden.record_evidence(:'job', 1, evidence(:'signed', 'failed')), 'and checks again with a new key');
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(%L))', :'job', :'signed'::jsonb || '{"more":1}'), '22023', 'the manifest is not signed by the node: publicKey is not the key of the node', 'but nothing new with the old one');
RESET ROLE;
SELECT is(request('GET', '/evidence/' || :'job', NULL) ->> 'publicKey', :'key', 'the key that signed');

-- a node without a key: unsigned, and says so
SELECT request('POST', format('/databases/%s/backups', :'database'), '') ->> 'backupJobId' AS unsigned \gset
SELECT as_node('plain') \g /dev/null
SET ROLE tsg_runner;
SELECT job_id FROM walwarden.claim_job('{backup}') \g /dev/null
SELECT walwarden.report_job(:'unsigned', 1, 'running') \g /dev/null
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(%L))', :'unsigned', manifest), '22023', 'the manifest is signed and the node has no key', manifest)
  FROM unnest(ARRAY['{"signature":"x"}', '{"publicKey":"x"}', '{"signature":null}']) AS manifest;
SELECT ok(walwarden.record_evidence(:'unsigned', 1, evidence('{}')), 'unsigned');
RESET ROLE;
SELECT is((request('GET', '/evidence/' || :'unsigned', NULL) -> 'publicKey')::text, 'null', 'and shown as such');
SET ROLE tsg_runner;
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(%L))', :'unsigned', '{}'), '22023', NULL, 'a node that gets a key signs from then on') FROM as_node('plain'), walwarden.register_node('plain', '1', :'other_key');
RESET ROLE;
SELECT is((SELECT ok FROM walwarden.verify_audit_chain('signed')), true, 'the chain holds');
SELECT is((SELECT ok FROM walwarden.verify_audit_chain_sql('signed')), true, 'in SQL too');

-- a server without OpenSSL: no key, and nothing that a node with a key signs; the rest works
CREATE OR REPLACE FUNCTION walwarden_internal.signatures_supported() RETURNS boolean LANGUAGE sql AS 'SELECT false';
SELECT as_node('node') \g /dev/null
SET ROLE tsg_runner;
SELECT throws_ok(format('SELECT walwarden.register_node(''node-1'', ''2'', %L)', :'key'), '0A000', 'this server cannot verify signatures', 'no key');
SELECT throws_ok(format('SELECT walwarden.record_evidence(%L, 1, evidence(%L))', :'job', :'signed_by_2'), '0A000', 'this server cannot verify signatures', 'no new manifest of a node with a key');
SELECT ok(walwarden.register_node('node-1', '3') = :'node' AND walwarden.record_evidence(:'job', 1, evidence(:'signed')), 'another version and another result');
RESET ROLE;

-- what is signed is the canonical text, whatever the text at hand looks like
\set small `test/ed25519.py manifest one '{"a":"A","b":1}'`
SELECT is(walwarden_internal.signature_problem(format(E' { "b" : 1,\n"signature": "%s", "a" : "\\u0041" } ', :'small'::jsonb ->> 'signature'), :'key'), NULL, 'signed');
\set empty `test/ed25519.py manifest one '{}'`
SELECT is(walwarden_internal.signature_problem(:'empty', :'key'), NULL, 'nothing but a signature');
SELECT is(walwarden_internal.signature_problem(manifest, :'key'), problem, manifest)
  FROM (VALUES ('', 'expected a value'), ('[]', 'not an object'), ('"signature"', 'not an object'), ('{"signature":"x","signature":"y"}', 'duplicate key'),
               ('{"a":{"signature":"x"}}', 'signature is missing'), ('{"Signature":"x"}', 'signature is missing')) AS v(manifest, problem);

SELECT is(walwarden_internal.public_key_is_valid(encode(decode(k, 'hex'), 'base64')), true, 'next to them: ' || k)
  FROM unnest(ARRAY['02' || repeat('00', 31), '00' || repeat('00', 30) || '01', 'eb' || repeat('ff', 30) || '7f', 'ef' || repeat('ff', 30) || '7f',
                    '27e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05']) AS k;
-- under the neutral point, this signature would be that of any text
SELECT is(walwarden_internal.signature_problem(format('{"signature":"%s"}', translate(encode(decode('01' || repeat('00', 63), 'hex'), 'base64'), E'\n', '')), encode(decode('01' || repeat('00', 31), 'hex'), 'base64')),
          'signature does not verify with the key of the node', 'not under such a key');

SELECT * FROM finish();
ROLLBACK;
