-- The identity of a transaction.
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();

CREATE ROLE t_nobody;
CREATE ROLE t_op;
SELECT walwarden.grant_operator('t_op'), walwarden.create_org('acme'), walwarden.add_member('acme', 'bob', 'member') \g /dev/null
SELECT token AS a, token_id AS a_id FROM walwarden.issue_token('acme', 'a', '{databases:read,backups:trigger}') \gset
SELECT token AS b, token_id AS b_id FROM walwarden.issue_token('acme', 'b', '{audit:read}') \gset
SELECT token AS p, token_id AS p_id FROM walwarden.issue_token('acme', 'p', '{databases:read}', owner => 'bob') \gset
SELECT id AS acme FROM walwarden_internal.org WHERE slug = 'acme' \gset

-- without an identity
SELECT ok(NOT walwarden.has_scope('databases:read'), 'no identity: no scope');
SELECT is(walwarden.current_token_id(), NULL, 'no token');
SELECT is(walwarden.current_org(), NULL, 'no org');
SELECT is(walwarden.current_org_id(), NULL, 'no org id');
SELECT is(walwarden.current_subject(), NULL, 'no subject');
SELECT throws_ok($$SELECT walwarden.require_scope('databases:read')$$, '28000');

-- as a role without any right
SET LOCAL ROLE t_nobody;
SELECT is(walwarden.authenticate(:'a'), :'a_id', 'authenticate returns the token''s id');
SELECT ok(walwarden.has_scope('databases:read'), 'scope held');
SELECT ok(walwarden.has_scope('backups:trigger'), 'the other too');
SELECT ok(NOT walwarden.has_scope('audit:read'), 'scope not held');
SELECT ok(NOT walwarden.has_scope('databases:*'), 'no wildcard');
SELECT ok(NOT walwarden.has_scope('databases'), 'no prefix');
SELECT ok(NOT walwarden.has_scope('Databases:read'), 'no other case');
SELECT ok(NOT walwarden.has_scope(''), 'empty');
SELECT ok(NOT walwarden.has_scope(NULL), 'NULL is false, not NULL');
SELECT lives_ok($$SELECT walwarden.require_scope('databases:read')$$, 'require_scope');
SELECT throws_ok($$SELECT walwarden.require_scope('audit:read')$$, '42501', 'the token does not hold the required scope');
SELECT throws_ok($$SELECT walwarden.require_scope('nope:read')$$, '22023', 'unknown scope "nope:read"');
SELECT throws_ok($$SELECT walwarden.require_scope('*')$$, '22023', 'unknown scope "*"');
SELECT throws_ok($$SELECT walwarden.require_scope(NULL)$$, '22023', 'scope is missing');
SELECT throws_ok($$SELECT walwarden.require_scope(repeat('x', 1000000))$$, '22023', 'unknown scope');
-- PostgREST takes the status from the detail
SELECT is(set_config('request.method', 'GET', true), 'GET');
SELECT lives_ok($$SELECT walwarden.require_scope('databases:read')$$, 'require_scope in a request');
SELECT throws_ok($$SELECT walwarden.require_scope('nope:read')$$, '22023', 'unknown scope "nope:read"');
SELECT throws_ok($$SELECT walwarden.require_scope('audit:read')$$, 'PGRST',
    '{"code":"42501","message":"the token does not hold the required scope","details":"requiredScope=audit:read","hint":"Use a token that was issued with this scope. For a private token, the owner''s role must also carry the scope."}');
SELECT throws_ok($$SELECT walwarden.authorize(NULL, 'audit:read')$$, '28000');
SELECT is(set_config('request.method', '', true), '');
SELECT is(walwarden.current_token_id(), :'a_id', 'current_token_id');
SELECT is(walwarden.current_org(), 'acme', 'current_org');
SELECT is(walwarden.current_org_id(), :'acme', 'current_org_id');
SELECT is(walwarden.current_subject(), NULL, 'a shared token has no subject');

-- a second call replaces the first
SELECT is(walwarden.authenticate(:'p'), :'p_id', 'another token');
SELECT is(walwarden.current_subject(), 'bob', 'current_subject');
SELECT ok(NOT walwarden.has_scope('backups:trigger'), 'the first one''s scopes are gone');

-- savepoints
SAVEPOINT one;
SELECT walwarden.authenticate(:'b') \g /dev/null
SELECT ok(walwarden.has_scope('audit:read'), 'identity of the subtransaction');
SAVEPOINT two;
SELECT walwarden.authenticate(:'a') \g /dev/null
RELEASE two;
SELECT is(walwarden.current_token_id(), :'a_id', 'released: kept');
ROLLBACK TO one;
SELECT is(walwarden.current_token_id(), :'p_id', 'rolled back: the outer one holds again');
SELECT walwarden.authenticate(:'b') \g /dev/null
RELEASE one;
SELECT is(walwarden.current_token_id(), :'b_id', 'released: replaces the outer one');
SAVEPOINT three;
SELECT throws_ok(format('SELECT walwarden.authenticate(%L)', 'wal_' || repeat('0', 64)), '28000', 'invalid or inactive token');
SELECT is(walwarden.current_token_id(), :'b_id', 'a failure that is caught leaves the identity');
ROLLBACK TO three;

-- authorize
SELECT is(walwarden.authorize(:'a', 'databases:read'), :'a_id', 'authorize');
SELECT throws_ok(format('SELECT walwarden.authorize(%L, %L)', :'a', 'audit:read'), '42501');
SELECT throws_ok(format('SELECT walwarden.authorize(%L, %L)', :'a', 'nope'), '22023');
SELECT throws_ok(format('SELECT walwarden.authorize(%L, NULL)', :'a'), '22023');
SELECT throws_ok($$SELECT walwarden.authorize(NULL, 'databases:read')$$, '28000');
RESET ROLE;

-- wrong shapes: one answer
SELECT throws_ok(format('SELECT walwarden.authenticate(%L)', bad), '28000', 'invalid or inactive token', what)
  FROM (VALUES ('wal_' || upper(substr(:'a', 5)), 'upper-case digits'),
               (left(:'a', -1), '63 digits'), (:'a' || '0', '65 digits'), (:'a' || ' ', 'trailing space'), (' ' || :'a', 'leading space'),
               (:'a' || E'\n', 'trailing newline'), ('tok_' || substr(:'a', 5), 'other prefix'), ('WAL_' || substr(:'a', 5), 'prefix in upper case'),
               (substr(:'a', 5), 'no prefix'), ('Bearer ' || :'a', 'with its scheme'), ('', 'empty'), (repeat('w', 1000000), '1 MB'),
               (repeat(:'a', 15000), '1 MB of tokens'), (left(:'a', 66) || 'é', 'multi-byte, 68 bytes'), (left(:'a', 67) || 'é', 'multi-byte, 69 bytes'),
               ('wal_' || repeat('0', 64), 'unknown'), ('%s%n', 'format characters'), (left(:'a', 67) || 'g', 'no hex digit')) AS v(bad, what);
SELECT throws_ok('SELECT walwarden.authenticate(NULL)', '28000', 'invalid or inactive token', 'NULL');

-- what is decided by authenticate holds for the rest of the transaction
SELECT walwarden.authenticate(:'p') \g /dev/null
SELECT ok(walwarden.set_member_role('acme', 'bob', 'deploy'), 'the owner''s role is reduced');
SELECT ok(walwarden.has_scope('databases:read'), 'fixed by authenticate');
SELECT walwarden.authenticate(:'p') \g /dev/null
SELECT ok(NOT walwarden.has_scope('databases:read'), 'until it is called again');
SELECT ok(walwarden.set_member_role('acme', 'bob', 'member'), 'back');

-- introspection
SELECT is(walwarden.introspect_token(:'p') - 'expiresAt', jsonb_build_object('active', true, 'state', 'active', 'tokenId', :'p_id', 'org', 'acme', 'kind', 'api',
    'scopes', '["databases:read"]'::jsonb, 'effectiveScopes', '["databases:read"]'::jsonb), 'for an operator, active');
SELECT ok(walwarden.introspect_token(:'p') ? 'expiresAt', 'expiresAt is there, and null');
SET LOCAL ROLE t_nobody;
SELECT is((SELECT array_agg(k ORDER BY k COLLATE "C") FROM jsonb_object_keys(walwarden.introspect_token(:'p')) AS k),
    '{active,effectiveScopes,expiresAt,kind,org,scopes,tokenId}', 'for anyone else, exactly these keys');
SELECT is(walwarden.introspect_token('wal_' || repeat('0', 64)), '{"active": false}', 'unknown');
SELECT is(walwarden.introspect_token(NULL), '{"active": false}', 'NULL');
RESET ROLE;
SELECT ok(walwarden.disable_member('acme', 'bob'), 'owner disabled');
SELECT is(walwarden.introspect_token(:'p') ->> 'reason', 'owner disabled', 'an operator learns the reason');
SET LOCAL ROLE t_op;
SELECT is(walwarden.introspect_token(:'p') ->> 'state', 'inactive', 'also one who is no superuser');
SELECT is(walwarden.introspect_token('x') ->> 'reason', 'malformed', 'malformed');
SELECT is(walwarden.introspect_token('wal_' || repeat('0', 64)) ->> 'reason', 'unknown', 'unknown');
SET LOCAL ROLE t_nobody;
SELECT is(walwarden.introspect_token(:'p'), '{"active": false}', 'nobody else does');
SELECT throws_ok(format('SELECT walwarden.authenticate(%L)', :'p'), '28000', 'invalid or inactive token', 'a disabled owner''s token');
RESET ROLE;
SELECT ok(walwarden.revoke_token(:'a_id'), 'revoked');
SELECT is(walwarden.introspect_token(:'a') ->> 'reason', 'revoked', 'revoked');
SELECT throws_ok(format('SELECT walwarden.authenticate(%L)', :'a'), '28000', 'invalid or inactive token', 'a revoked token');
UPDATE walwarden_internal.token SET expires_at = clock_timestamp() WHERE id = :'b_id';
SELECT is(walwarden.introspect_token(:'b') ->> 'reason', 'expired', 'equal is expired');
SELECT throws_ok(format('SELECT walwarden.authenticate(%L)', :'b'), '28000', 'invalid or inactive token', 'an expired token');
UPDATE walwarden_internal.credential SET valid_until = clock_timestamp() WHERE token_id = :'b_id';
UPDATE walwarden_internal.token SET expires_at = NULL WHERE id = :'b_id';
SELECT is(walwarden.introspect_token(:'b') ->> 'reason', 'value renewed', 'a value past its overlap');

-- a policy, read by a role without rights, bare and in parallel plans
CREATE TABLE documents (id int, org_id uuid);
INSERT INTO documents SELECT i, CASE WHEN i % 2 = 0 THEN :'acme'::uuid ELSE gen_random_uuid() END FROM generate_series(1, 20000) AS i;
ANALYZE documents;
ALTER TABLE documents ENABLE ROW LEVEL SECURITY;
CREATE POLICY reader ON documents FOR SELECT USING ((SELECT walwarden.has_scope('databases:read')) AND org_id = (SELECT walwarden.current_org_id()));
CREATE POLICY bare ON documents FOR DELETE USING (walwarden.has_scope('databases:write'));
GRANT SELECT, DELETE ON documents TO t_nobody;
SET LOCAL ROLE t_nobody;
SELECT is(count(*), 0::bigint, 'no identity that counts: no row') FROM documents;
RESET ROLE;
SELECT token AS r FROM walwarden.issue_token('acme', 'r', '{databases:read}') \gset
GRANT CREATE ON SCHEMA public TO t_nobody;
SET LOCAL ROLE t_nobody;
SELECT walwarden.authenticate(:'r') \g /dev/null
SELECT is(count(*), 10000::bigint, 'the org''s rows') FROM documents;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
CREATE FUNCTION plan_of(q text) RETURNS text LANGUAGE plpgsql AS $$DECLARE j json; BEGIN EXECUTE 'EXPLAIN (FORMAT JSON) ' || q INTO j; RETURN j; END$$;
SELECT matches(plan_of('SELECT count(*) FROM documents'), 'Workers Planned', 'a plan with workers');
SELECT is(count(*), 10000::bigint, 'gives the same') FROM documents;
WITH gone AS (DELETE FROM documents RETURNING id) SELECT is(count(*), 0::bigint, 'a bare call in a policy') FROM gone;
RESET ROLE;
-- an answer is kept where the call stands: for that scope and that identity alone
SELECT token AS kw FROM walwarden.issue_token('acme', 'kw', '{databases:write}') \gset
SELECT token AS kr FROM walwarden.issue_token('acme', 'kr', '{databases:read}') \gset
SELECT is(ARRAY(SELECT walwarden.authenticate(t) IS NOT NULL AND walwarden.has_scope('databases:read') FROM unnest(ARRAY[:'kr', :'kw', :'kr']) AS t),
    '{t,f,t}', 'the identity changes from row to row');
SELECT is(array_agg(walwarden.has_scope(s) ORDER BY n), '{t,f,f,t}', 'the scope does')
  FROM unnest(ARRAY['databases:read', 'databases:write', NULL, 'databases:read']) WITH ORDINALITY AS u(s, n);
CREATE FUNCTION loop_over(tokens text[], scopes text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answers text := '';
    v_token text;
    v_scope text;
BEGIN
    FOREACH v_token IN ARRAY tokens LOOP
        BEGIN
            PERFORM walwarden.authenticate(v_token);
            FOREACH v_scope IN ARRAY scopes LOOP
                answers := answers || walwarden.has_scope(v_scope)::int || walwarden.has_scope('databases:read')::int || walwarden.has_scope(NULL)::int || ' ';
            END LOOP;
            RAISE division_by_zero;
        EXCEPTION WHEN division_by_zero THEN
            answers := answers || walwarden.has_scope('databases:read')::int || ', ';
        END;
    END LOOP;
    RETURN answers;
END$$;
SELECT walwarden.authenticate(:'kr') \g /dev/null
SELECT is(loop_over(ARRAY[:'kw', :'kr'], '{databases:write,databases:read}'), '100 000 1, 010 110 1, ', 'in PL/pgSQL, in subtransactions that roll back');
SELECT is(loop_over(ARRAY[:'kr', :'kw'], '{databases:read,databases:write}'), '110 010 1, 000 100 1, ', 'and again');
SELECT * FROM finish();
ROLLBACK;

