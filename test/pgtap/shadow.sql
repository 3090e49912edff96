-- Shadowing: what the extension's code names stands in front of it once more, in a
-- schema of the caller's and among the temporary objects, and tells when it runs.
-- Then every public function is called in such a session by everyone, also by whom
-- somebody tricked into it: an operator, a superuser.
SET client_min_messages = error;
BEGIN;
SELECT no_plan();
-- first of all: a function is compiled once a session
SET LOCAL plpgsql.extra_errors = 'all';
\ir doors.psql

CREATE ROLE td_mallory;
CREATE SCHEMA td_evil AUTHORIZATION td_mallory;
GRANT ALL ON SCHEMA td_evil TO PUBLIC;
-- counts what ran, which no rollback takes back, and ends the statement
CREATE SEQUENCE td_evil.ran;
GRANT ALL ON td_evil.ran TO PUBLIC;
CREATE FUNCTION td_evil.trap() RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    PERFORM nextval('td_evil.ran');
    RAISE SQLSTATE 'WW666' USING MESSAGE = 'ran as ' || current_user;
END
$$;

-- The names. Types: those whose name is no keyword can be shadowed, too.
CREATE TEMP TABLE code AS
SELECT string_agg(prosrc, ' ') AS text FROM pg_proc WHERE pronamespace = 'walwarden_internal'::regnamespace;
CREATE TEMP TABLE shadowed AS
SELECT oid::regtype AS type, typname AS name, typname ~ '^(text|name|uuid|jsonb?|bytea|timestamptz|oid|regclass)$' AS by_name
  FROM pg_type
 WHERE typnamespace = 'pg_catalog'::regnamespace
   AND typname ~ '^_?(text|name|uuid|jsonb?|bytea|bool|int[48]|timestamptz|interval|char|oid|regclass|float8|numeric|anyarray|anyelement|anynonarray|anycompatible|anycompatiblearray)$';
CREATE TEMP TABLE relation AS
SELECT oid, relname::text AS name FROM pg_class
 WHERE relkind IN ('r', 'v')
   AND (relnamespace IN ('walwarden'::regnamespace, 'walwarden_internal'::regnamespace)
        OR relnamespace = 'pg_catalog'::regnamespace AND (SELECT text FROM code) ~ ('\m' || relname || '\M'));
GRANT SELECT ON code, shadowed, relation TO td_mallory;
SET LOCAL ROLE td_mallory;

-- operators
SELECT format('CREATE FUNCTION td_evil.%1$s(%2$s) RETURNS %3$s LANGUAGE plpgsql AS $f$BEGIN PERFORM td_evil.trap(); RETURN NULL; END$f$; '
              'CREATE OPERATOR td_evil.%4$s (%5$s RIGHTARG = %6$s, FUNCTION = td_evil.%1$s)',
              'op' || oid, concat_ws(', ', nullif(oprleft, 0)::regtype, oprright::regtype), oprresult::regtype,
              oprname, 'LEFTARG = ' || nullif(oprleft, 0)::regtype || ',', oprright::regtype)
  FROM pg_operator
 WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprright IN (SELECT type FROM shadowed) AND oprresult IN (SELECT type FROM shadowed)
   AND (oprleft = 0 OR oprleft IN (SELECT type FROM shadowed)) \gexec
-- functions, aggregates as functions; where any type is taken, text
SELECT DISTINCT format('CREATE FUNCTION td_evil.%I(%s) RETURNS %s%s LANGUAGE plpgsql AS $f$BEGIN PERFORM td_evil.trap(); RETURN%s; END$f$',
              f.proname, f.arguments, CASE WHEN f.proretset THEN 'SETOF ' END, f.prorettype::regtype, CASE WHEN NOT f.proretset THEN ' NULL' END)
  FROM (SELECT p.*, (SELECT string_agg(CASE t WHEN '"any"'::regtype THEN 'text' ELSE t::regtype::text END, ', ' ORDER BY n)
                       FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS u(t, n)) || repeat(', text', more) AS arguments
          FROM pg_proc AS p, generate_series(0, 3) AS more
         WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname !~ '^op\d'
           AND (SELECT text FROM code) ~ ('\m' || p.proname || '\(')
           AND (more = 0 OR p.provariadic = '"any"'::regtype)
           AND p.prorettype IN (SELECT type FROM shadowed)
           AND p.proargtypes::oid[] <@ ARRAY(SELECT type::oid FROM shadowed UNION SELECT '"any"'::regtype)) AS f
 WHERE f.arguments IS NOT NULL \gexec
-- tables and views, the extension's and the server's; types
SELECT format('CREATE VIEW %1$s.%2$I AS SELECT %3$s WHERE td_evil.trap(); GRANT SELECT ON %1$s.%2$I TO PUBLIC', place, r.name,
              (SELECT string_agg(format('NULL::pg_catalog.int4 AS %I', attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = r.oid AND attnum > 0 AND NOT attisdropped))
  FROM relation AS r, unnest('{td_evil,pg_temp}'::text[]) AS place
 WHERE NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relname = r.name) \gexec
SET LOCAL search_path = pg_catalog, public, pg_temp;
SELECT format('CREATE DOMAIN %s.%I AS pg_catalog.%I CHECK (td_evil.trap())', place, name, name)
  FROM shadowed, unnest('{td_evil,pg_temp}'::text[]) AS place WHERE by_name \gexec
RESET ROLE;
\set hostile 'pg_temp, td_evil, public, pg_catalog'

-- they work: what is written without care runs into them
SELECT is(tried(c, statement, :'hostile'), 'WW666', statement)
  FROM caller AS c, unnest('{SELECT current_user = session_user,SELECT lower(session_user::pg_catalog.text),SELECT FROM org,SELECT FROM pg_roles,SELECT $$a$$::text,SELECT format($$%s$$\,$$a$$)}'::text[]) AS statement
 WHERE c.name = 'operator';
ALTER SEQUENCE td_evil.ran RESTART;

-- the session's settings are the caller's too, as far as they are anybody's to set
-- until 18 a literal could be read in another way
SELECT current_setting('server_version_num')::int < 190000 AS reads_escapes \gset
\if :reads_escapes
SET LOCAL standard_conforming_strings = off;
SET LOCAL escape_string_warning = off;
\endif
SET LOCAL backslash_quote = on;
SET LOCAL transform_null_equals = on;
SET LOCAL array_nulls = off;
SET LOCAL quote_all_identifiers = on;
SET LOCAL bytea_output = escape;
SET LOCAL DateStyle = 'German, DMY';
SET LOCAL IntervalStyle = iso_8601;
SET LOCAL TimeZone = 'Asia/Kathmandu';
SET LOCAL extra_float_digits = -15;
SET LOCAL row_security = off;
SET LOCAL plan_cache_mode = force_generic_plan;
DISCARD PLANS;
SELECT is(tried(c, call_of(d.function, d.arguments), :'hostile'), k.value, format('%s: %s', c.name, d.function))
  FROM door AS d, caller AS c, jsonb_each_text(to_jsonb(d)) AS k WHERE k.key = c.name;
SELECT is((SELECT is_called FROM td_evil.ran), false, 'nothing of theirs ran');

-- and would have, where a function's path is not pinned
CREATE FUNCTION unpinned(f regprocedure, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    came text;
BEGIN
    EXECUTE format('ALTER FUNCTION %s RESET search_path', f);
    came := tried((SELECT c FROM caller AS c WHERE c.name = 'superuser'), statement, 'pg_temp, td_evil, public, pg_catalog');
    RAISE SQLSTATE 'WW000' USING MESSAGE = came;
EXCEPTION WHEN SQLSTATE 'WW000' THEN
    RETURN SQLERRM;
END
$$;
SELECT cmp_ok(count(*), '>', 20::bigint, 'an inner function without its search_path runs into them')
  FROM door AS d JOIN pg_proc AS p ON p.pronamespace = 'walwarden_internal'::regnamespace AND p.proname = d.function
 WHERE p.proconfig IS NOT NULL AND unpinned(p.oid, call_of(d.function, d.arguments)) = 'WW666';

SELECT * FROM finish();
ROLLBACK;
