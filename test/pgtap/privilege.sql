-- Least privilege: every function of the extension, called by everyone; every
-- table and view, read and written by everyone; what would plant something.
-- errors only: a step of maintenance that is called with NULL warns
SET client_min_messages = error;
BEGIN;
SELECT no_plan();
\ir doors.psql

-- every public function has its row, and one only
SELECT bag_eq('SELECT function::name FROM door',
    $$SELECT proname FROM pg_proc WHERE pronamespace IN ('walwarden'::regnamespace, 'walwarden_rest'::regnamespace)$$,
    'the table has every public function');
SELECT is(tried(c, call_of(d.function, d.arguments)), k.value, format('%s: %s', c.name, d.function))
  FROM door AS d, caller AS c, jsonb_each_text(to_jsonb(d)) AS k WHERE k.key = c.name;

-- every function with every argument NULL; from a sub-select, or the planner would
-- not call those that are STRICT
CREATE FUNCTION null_call(f oid) RETURNS text LANGUAGE sql AS $$
    SELECT format('SELECT %s.%I(%s)', pronamespace::regnamespace, proname,
                  (SELECT string_agg(format('(SELECT NULL::%s)', CASE t WHEN '"any"'::regtype THEN 'text' ELSE t::regtype::text END), ', ' ORDER BY n)
                     FROM unnest(proargtypes::oid[]) WITH ORDINALITY AS u(t, n)))
      FROM pg_proc WHERE oid = f
$$;
CREATE TEMP TABLE called AS
SELECT c.name AS caller, p.oid::regprocedure AS function, tried(c, null_call(p.oid)) AS came, to_jsonb(d) ->> c.name AS cell
  FROM pg_proc AS p CROSS JOIN caller AS c LEFT JOIN door AS d ON d.function = p.proname AND p.pronamespace <> 'walwarden_internal'::regnamespace
 WHERE p.pronamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace, 'walwarden_rest'::regnamespace);
SELECT is_empty(format($$SELECT function, came FROM called WHERE caller = %L AND cell IS NULL AND came <> 'closed'$$, name), 'inner functions are closed: ' || name)
  FROM caller WHERE name <> 'superuser';
SELECT isnt_empty($$SELECT FROM called WHERE caller = 'superuser' AND cell IS NULL AND came <> 'closed'$$, 'and open for a superuser');
-- a call that has a fault besides may be told of that one, and gets no further
SELECT is_empty($$SELECT caller, function, came, cell FROM called WHERE cell IN ('refused', 'closed') AND came NOT IN (cell, '22023', '42704')$$, 'NULL opens nothing');
SELECT is_empty($$SELECT caller, function, came FROM called WHERE cell IS NOT NULL AND came NOT IN (cell, 'none', '22023', '28000', '42704', 'refused')$$, 'and breaks nothing');

-- every table and view, by every command; what is open to whom
CREATE TEMP TABLE touched AS
SELECT c.name AS caller, r.oid::regclass::text AS relation, v.command, tried(c, format(v.statement, r.oid::regclass, a.attname)) AS came
  FROM pg_class AS r
  LEFT JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = 1
 CROSS JOIN caller AS c
 CROSS JOIN (VALUES ('SELECT', 'SELECT FROM %s LIMIT 1'), ('SELECT', 'SELECT %2$I FROM %1$s LIMIT 1'), ('INSERT', 'INSERT INTO %s DEFAULT VALUES'),
                    ('UPDATE', 'UPDATE %s SET %I = DEFAULT'), ('DELETE', 'DELETE FROM %s'), ('TRUNCATE', 'TRUNCATE %s'),
                    ('LOCK', 'LOCK TABLE %s IN SHARE MODE')) AS v(command, statement)
 WHERE r.relnamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace, 'walwarden_rest'::regnamespace) AND r.relkind IN ('r', 'v')
   -- the server refuses to write to these views before it asks for rights
   AND NOT (r.relkind = 'v' AND v.command IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'))
   AND (a.attname IS NOT NULL OR v.statement !~ '%(2\$)?I');
SELECT bag_eq($$SELECT DISTINCT relation, command, caller FROM touched WHERE caller <> 'superuser' AND came <> 'closed'$$,
    $$SELECT v.oid::regclass::text, 'SELECT' AS command, c.name AS caller FROM caller AS c, pg_class AS v
        WHERE v.relnamespace = 'walwarden'::regnamespace AND v.relkind = 'v' AND c.name <> 'superuser'$$,
    'public views are for everyone; no table is anybody''s');
SELECT bag_eq($$SELECT DISTINCT caller, relation, came = 'refused' AS refused FROM touched WHERE relation ~ '^walwarden.stat_' AND command = 'SELECT'$$,
    $$SELECT c.name AS caller, v.oid::regclass::text AS relation, c.name NOT IN ('monitor', 'operator', 'superuser') AS refused FROM caller AS c, pg_class AS v
       WHERE v.relnamespace = 'walwarden'::regnamespace AND v.relname ~ '^stat_'$$, 'but operators and monitors alone read the statistics');
SELECT is_empty($$SELECT caller, relation, came FROM touched WHERE relation ~ '^walwarden.stat_' AND came NOT IN ('refused', 'yes', 'none') AND command = 'SELECT'$$, 'and read them all');
SELECT isnt_empty(format($$SELECT FROM touched WHERE caller = 'superuser' AND command = %L AND came <> 'closed'$$, command), command || ' was tried') FROM touched GROUP BY command;

-- what would put something of theirs into the extension, or take something out of it
CREATE SCHEMA td_own;
CREATE TABLE td_own.bait (i int);
GRANT ALL ON SCHEMA td_own TO PUBLIC;
GRANT ALL ON td_own.bait TO PUBLIC;
SELECT is(string_agg(DISTINCT tried(c, statement), ' '), 'closed', left(statement, 100))
  FROM caller AS c, unnest(ARRAY[
    'CREATE FUNCTION walwarden.has_scope(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT true$$',
    'CREATE OR REPLACE FUNCTION walwarden.has_scope(scope text) RETURNS boolean LANGUAGE sql AS $$SELECT true$$',
    'CREATE FUNCTION walwarden_rest.more() RETURNS int LANGUAGE sql AS $$SELECT 1$$',
    'CREATE TABLE walwarden.more (i int)',
    'CREATE VIEW walwarden.more AS SELECT 1 AS one',
    'CREATE FUNCTION td_own.issue_token() RETURNS boolean LANGUAGE c AS $$walwarden$$, $$walwarden_door$$',
    'CREATE TRIGGER t BEFORE INSERT ON td_own.bait FOR EACH ROW EXECUTE FUNCTION walwarden_internal.audit_append()',
    'CREATE TABLE td_own.typed (c walwarden_internal.caller)',
    'CREATE FUNCTION td_own.typed(walwarden_internal.rest_request) RETURNS int LANGUAGE sql AS $$SELECT 1$$',
    'CREATE TABLE td_own.child (id uuid REFERENCES walwarden_internal.org)',
    'CREATE TABLE td_own.child () INHERITS (walwarden_internal.audit_entry)',
    'CREATE INDEX ON walwarden_internal.token (name)',
    'CREATE RULE more AS ON INSERT TO walwarden_internal.token DO INSTEAD NOTHING',
    'CREATE TRIGGER more BEFORE INSERT ON walwarden_internal.token FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()',
    'CREATE POLICY more ON walwarden_internal.token',
    'CREATE STATISTICS td_own.more ON name, kind FROM walwarden_internal.token',
    'ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER ALL',
    'ALTER TABLE walwarden_internal.audit_entry DROP CONSTRAINT audit_entry_is_valid',
    'DROP TRIGGER append ON walwarden_internal.audit_entry',
    'ALTER FUNCTION walwarden_internal.require(walwarden_internal.caller, uuid, text, text) RESET search_path',
    'ALTER FUNCTION walwarden.issue_token SECURITY DEFINER',
    'DROP FUNCTION walwarden.has_scope',
    'DROP TABLE walwarden_internal.token CASCADE',
    'ALTER SCHEMA walwarden RENAME TO more',
    'GRANT ALL ON ALL TABLES IN SCHEMA walwarden_internal TO PUBLIC',
    'GRANT EXECUTE ON FUNCTION walwarden_internal.mint TO PUBLIC',
    'COMMENT ON FUNCTION walwarden.has_scope IS $$x$$',
    'ALTER EXTENSION walwarden UPDATE',
    'DROP EXTENSION walwarden',
    'DROP EXTENSION pgcrypto CASCADE',
    'SET session_replication_role = replica']) AS statement
 WHERE c.name <> 'superuser' GROUP BY statement;

SELECT * FROM finish();
ROLLBACK;
