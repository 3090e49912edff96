-- The identity ends with its transaction, however that ends.
SET client_min_messages = warning;
SELECT no_plan();
SELECT walwarden.create_org('idtx') \g /dev/null
SELECT token AS t, token_id AS t_id FROM walwarden.issue_token('idtx', 't', '{databases:read}') \gset
SELECT token AS t2 FROM walwarden.issue_token('idtx', 't2', '{databases:read}') \gset
SELECT walwarden.authenticate(:'t') \g /dev/null
SELECT is(walwarden.current_token_id(), NULL, 'gone after autocommit');
BEGIN;
SELECT walwarden.authenticate(:'t') \g /dev/null
COMMIT;
SELECT is(walwarden.current_token_id(), NULL, 'gone after COMMIT: a pooled connection starts clean');
BEGIN;
SELECT walwarden.authenticate(:'t') \g /dev/null
ROLLBACK;
SELECT is(walwarden.current_token_id(), NULL, 'gone after ROLLBACK');
BEGIN;
SELECT walwarden.authenticate(:'t') \g /dev/null
\set ON_ERROR_STOP off
SELECT 1 / 0 \g /dev/null
COMMIT;
SET client_min_messages = warning;
\set ON_ERROR_STOP on
SELECT is(walwarden.current_token_id(), NULL, 'gone after an error');
BEGIN;
SELECT walwarden.authenticate(:'t') \g /dev/null
PREPARE TRANSACTION 'walwarden_identity';
SELECT is(walwarden.current_token_id(), NULL, 'gone after PREPARE TRANSACTION');
ROLLBACK PREPARED 'walwarden_identity';
BEGIN READ ONLY;
SELECT is(walwarden.authenticate(:'t'), :'t_id', 'works read-only');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE;
SELECT is(walwarden.authenticate(:'t'), :'t_id', 'works serializable');
COMMIT;
-- prepared statements
PREPARE auth(text) AS SELECT walwarden.authenticate($1), walwarden.has_scope('databases:read');
SELECT walwarden.has_scope('x') \g /dev/null
PREPARE held AS SELECT walwarden.has_scope('databases:read');
SET plan_cache_mode = force_generic_plan;
BEGIN;
EXECUTE auth(:'t') \g /dev/null
EXECUTE held \gset
SELECT ok(:'has_scope', 'a cached plan sees the identity');
COMMIT;
EXECUTE held \gset
SELECT ok(NOT :'has_scope', 'and its end');
RESET plan_cache_mode;
DEALLOCATE ALL;
-- a procedure goes from one transaction to the next with its expressions in hand
CREATE PROCEDURE across(t text, INOUT answers text) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..4 LOOP
        IF i % 2 = 1 THEN
            PERFORM walwarden.authenticate(t);
        END IF;
        answers := answers || walwarden.has_scope('databases:read')::int;
        IF i % 4 = 0 THEN ROLLBACK; ELSE COMMIT; END IF;
        answers := answers || walwarden.has_scope('databases:read')::int;
        COMMIT;
    END LOOP;
END$$;
CALL across(:'t', '') \gset
SELECT is(:'answers'::text, '10001000', 'an answer ends with its transaction');
DROP PROCEDURE across;
-- effective at commit, for transactions that start after it
SELECT walwarden.revoke_token(:'t_id') \g /dev/null
SELECT throws_ok(format('SELECT walwarden.authenticate(%L)', :'t'), '28000');

-- a function that is wrongly marked PARALLEL SAFE fails loudly instead of
-- hiding rows
CREATE TABLE rows_of_everyone AS SELECT i FROM generate_series(1, 20000) AS i;
ANALYZE rows_of_everyone;
CREATE FUNCTION liar(int) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$BEGIN RETURN walwarden.has_scope('databases:read'); END$$;
SET parallel_leader_participation = off;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT throws_ok('SELECT count(*) FROM rows_of_everyone WHERE liar(i)', '55000', NULL, 'a parallel worker says that it does not know');
-- the server logs the statement when it ends the other workers, so it contains no token
SELECT set_config('pgtap.token', :'t2', false) \g /dev/null
CREATE FUNCTION called(what text, i int) RETURNS boolean LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$BEGIN EXECUTE 'SELECT walwarden.' || what; RETURN true; END$$;
SELECT throws_ok(format('SELECT count(*) FROM rows_of_everyone WHERE called(%L, i)', call), '55000', 'a parallel worker cannot access the identity of the transaction', 'nor does it run ' || call)
  FROM (VALUES ('authenticate(current_setting(''pgtap.token''))'), ('authorize(current_setting(''pgtap.token''), ''audit:read'')'), ('introspect_token(current_setting(''pgtap.token''))'),
               ('list_orgs()'), ('run_maintenance()'), ('pre_request()')) AS v(call);
DROP FUNCTION called(text, int);
BEGIN;
SELECT walwarden.authenticate(:'t2') \g /dev/null
SELECT throws_ok($$SELECT walwarden.require_scope('audit:read') FROM rows_of_everyone WHERE i = 20000$$, '42501', NULL, 'require_scope above a parallel scan');
SELECT throws_ok($$SELECT walwarden.require_scope('nope:read') FROM rows_of_everyone WHERE i = 20000$$, '22023', NULL, 'with an unknown scope too');
COMMIT;
DROP FUNCTION liar(int);
DROP TABLE rows_of_everyone;

-- a transaction that appended is not prepared; one whose append was undone is
BEGIN;
SELECT walwarden.append_audit('app.x', '{}', NULL, 'idtx') \g /dev/null
\set ON_ERROR_STOP off
\set VERBOSITY sqlstate
PREPARE TRANSACTION 'walwarden_appended';
\set ON_ERROR_STOP on
\set VERBOSITY default
SELECT is(:'LAST_ERROR_SQLSTATE'::text, '0A000', 'PREPARE TRANSACTION after an append is refused');
BEGIN;
SELECT walwarden.set_plan('idtx', 'team') AS changed \g /dev/null
\set ON_ERROR_STOP off
\set VERBOSITY sqlstate
PREPARE TRANSACTION 'walwarden_unchanged';
\set ON_ERROR_STOP on
\set VERBOSITY default
SELECT is(:'LAST_ERROR_SQLSTATE'::text, '0A000', 'nor after a call that changed nothing but holds a lock');
BEGIN;
SAVEPOINT s;
SELECT walwarden.append_audit('app.x', '{}', NULL, 'idtx') \g /dev/null
ROLLBACK TO s;
PREPARE TRANSACTION 'walwarden_undone';
ROLLBACK PREPARED 'walwarden_undone';
SELECT pass('PREPARE TRANSACTION after an append that was rolled back');
SELECT results_eq($$SELECT ok FROM walwarden.verify_audit_chain('idtx')$$, $$VALUES (true)$$, 'the chain verifies');

SELECT * FROM finish();
