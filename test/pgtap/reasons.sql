-- The reasons of REST v1: those that are raised are those that are declared.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();
\set sql `cat sql/schema/5_rest/[!c]*.sql sql/schema/6_people/*.sql`
\set router `cat sql/schema/5_rest/request.sql`
\set c `cat src/rest/*.c`
\set schema `cat src/base/schema_problem.c`
\set nginx `cat postgrest/nginx.conf`

CREATE TEMP TABLE raised AS
    SELECT 'SQL' AS source, r[1] AS reason FROM regexp_matches(:'sql', $$PERFORM walwarden_internal\.rest_fail\(([^,]+),$$, 'g') AS r
    UNION ALL
    SELECT 'schema', translate(r[1], '"', '''') FROM regexp_matches(:'schema', '\mreject(?:_field)?\(problem, [^,]+, ("[a-z_]+")', 'g') AS r
    UNION ALL
    SELECT 'condition', r[1] FROM regexp_matches(:'router', $$WHEN [^\n]*state [^\n]* THEN ('\w+')$$, 'g') AS r
    UNION ALL
    SELECT 'condition', r[1] FROM regexp_matches(:'router', $$ELSE ('internal_error') END$$, 'g') AS r
    UNION ALL
    SELECT 'C', translate(r[1], '"', '''') FROM regexp_matches(:'c', '\mrest_fail(?:_field)?\(([^,]+),', 'g') AS r
    UNION ALL
    SELECT 'refusal', quote_literal(reason) FROM walwarden_internal.rest_refusal
    UNION ALL
    SELECT 'repeated', quote_literal(repeated) FROM walwarden_internal.rest_operation WHERE repeated IS NOT NULL
    UNION ALL
    SELECT 'nginx', quote_literal(r[1]) FROM regexp_matches(:'nginx', '"reason":"(\w+)"', 'g') AS r;
-- the definitions themselves, and what hands on the reason of a schema or of an operation
DELETE FROM raised WHERE reason IN ('reason text', 'const char *reason', 'text_to_cstring(PG_GETARG_TEXT_PP(0))', 'reason', 'problem ->> ''reason''', 'op.repeated');

SELECT is_empty($$SELECT * FROM raised WHERE reason !~ '^''[a-z_]+''$'$$, 'each is written out where it is raised');
SELECT is_empty($$SELECT * FROM raised WHERE trim(reason, '''') NOT IN (SELECT r.reason FROM walwarden_internal.rest_reason AS r)$$, 'each is declared');
SELECT is_empty($$SELECT r.reason FROM walwarden_internal.rest_reason AS r WHERE r.reason NOT IN (SELECT trim(f.reason, '''') FROM raised AS f)$$, 'each that is declared is raised');
SELECT set_eq('SELECT source FROM raised', '{SQL,schema,condition,C,refusal,repeated,nginx}'::text[], 'they were found everywhere');
SELECT is_empty($$SELECT * FROM raised AS f JOIN walwarden_internal.rest_reason AS r ON r.reason = trim(f.reason, '''') WHERE f.source = 'schema' AND r.status <> 400$$,
    'a body that does not fit its schema is 400');

-- the document has them
SELECT set_eq(
    $$SELECT e.status, x.key, x.value
        FROM walwarden_internal.rest_error AS e,
             jsonb_each_text(walwarden_internal.openapi()::jsonb #> ARRAY['components', 'responses', e.code, 'x-reasons']) AS x$$,
    'SELECT status, reason, meaning FROM walwarden_internal.rest_reason', 'they are in the document');
SELECT is_empty('SELECT status FROM walwarden_internal.rest_error EXCEPT SELECT status FROM walwarden_internal.rest_reason', 'each status has one');

-- another one is a fault of ours
CREATE FUNCTION pg_temp.refused(reason text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer json;
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION walwarden_internal.rest_get_open_api(r walwarden_internal.rest_request) RETURNS json LANGUAGE plpgsql AS %L',
                   format('BEGIN PERFORM walwarden_internal.rest_fail(%L, ''no'', ''{"field": "f"}''); END', reason));
    PERFORM set_config('request.headers', '{"x-walwarden-method": "GET", "x-walwarden-path": "/api/v1/openapi.json"}', true);
    answer := walwarden_rest.v1_get();
    RETURN concat_ws(' ', current_setting('response.status'), answer -> 'error' ->> 'code', answer -> 'error' ->> 'reason', answer -> 'error' ->> 'message', answer -> 'error' ->> 'field');
END
$$;
SELECT is(pg_temp.refused(r.reason), concat_ws(' ', e.status, e.code, r.reason, CASE WHEN r.status IN (431, 500, 503) THEN '' ELSE 'no' END, 'f'), r.reason)
  FROM walwarden_internal.rest_reason AS r JOIN walwarden_internal.rest_error AS e USING (status)
 WHERE r.status NOT IN (431, 500, 503);
SET LOCAL log_min_messages = fatal;
SELECT is(pg_temp.refused('no_such_reason'), '500 internal internal_error internal error', 'a reason that is not declared');
SELECT is(pg_temp.refused(''), '500 internal internal_error internal error', 'no reason');

SELECT * FROM finish();
ROLLBACK;
