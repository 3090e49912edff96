-- last_used_at without preload, and the column numbers in src/*/columns.h.
SET client_min_messages = warning;
SELECT no_plan();
SELECT walwarden.create_org('usage') \g /dev/null
SELECT token AS t, token_id AS id FROM walwarden.issue_token('usage', 't') \gset
CREATE ROLE tu_nobody;
CREATE VIEW last AS SELECT last_used_at FROM walwarden.list_tokens('usage');

SELECT is(last_used_at, NULL, 'never used') FROM last;
BEGIN READ ONLY;
SELECT walwarden.authenticate(:'t') \g /dev/null
COMMIT;
SELECT is(last_used_at, NULL, 'a read-only transaction writes nothing') FROM last;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT walwarden.authenticate(:'t') \g /dev/null
COMMIT;
SELECT is(last_used_at, NULL, 'nor does one with a fixed snapshot') FROM last;
BEGIN;
SELECT walwarden.authenticate(:'t') \g /dev/null
ROLLBACK;
SELECT is(last_used_at, NULL, 'a rollback takes it back') FROM last;
BEGIN;
SET LOCAL ROLE tu_nobody;
SELECT throws_ok(format('SELECT walwarden.authenticate(%L)', 'wal_' || repeat('0', 64)), '28000');
SELECT walwarden.authenticate(:'t') \g /dev/null
SELECT is(current_user, 'tu_nobody', 'the caller is who it was');
COMMIT;
SELECT ok(last_used_at > now() - interval '1 minute', 'a use is noted, in the name of whoever') FROM last;
SELECT last_used_at AS at FROM last \gset
SELECT walwarden.authenticate(:'t') \g /dev/null
SELECT is(last_used_at, :'at', 'not again within a minute') FROM last;
UPDATE walwarden_internal.token_usage SET last_used_at = now() - interval '61 seconds' WHERE token_id = :'id';
-- this session knows when it noted the last use, until a change makes it forget
SELECT walwarden.set_org_retention('usage', '8 days') \g /dev/null
SELECT walwarden.authenticate(:'t') \g /dev/null
SELECT ok(last_used_at >= :'at', 'but after it') FROM last;
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'no difference for the verifier');

-- src/*/columns.h say what the tables say
\set header `cat src/*/columns.h`
CREATE TEMP VIEW defined AS
    SELECT d[1] AS name, d[2]::int AS n FROM regexp_matches(:'header', '#define Anum_(\w+)\s+(\d+)', 'g') AS d;
SELECT isnt_empty('SELECT FROM defined', 'they are read');
SELECT is_empty($$
    SELECT d.name, d.n FROM defined AS d
     WHERE NOT EXISTS (SELECT FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
                        WHERE c.relnamespace = 'walwarden_internal'::regnamespace AND c.relname || '_' || a.attname = d.name AND a.attnum = d.n)$$,
    'every Anum_ is the number of its column');

DROP VIEW last;
DROP ROLE tu_nobody;
SELECT * FROM finish();
