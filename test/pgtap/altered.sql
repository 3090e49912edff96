-- What somebody with every right has altered ends no backend, and opens nothing. A NULL in a column that
-- C reads, although NOT NULL forbade it, is no match and grants nothing, or it is an error. So is a type
-- of which C knows other columns.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
-- its statements have tokens in them, which no log is to have
SET log_min_messages = panic;
BEGIN;
SELECT no_plan();

CREATE ROLE tn_ann;
CREATE ROLE tn_app;
CREATE ROLE tn_rest;
CREATE ROLE tn_login LOGIN;
SELECT walwarden.create_org('acme') AS org, walwarden.add_member('acme', 'ann', 'owner', 'tn_ann'), walwarden.grant_rest('tn_rest', 'tn_login'), walwarden.trust_authenticator('tn_login') \gset
CREATE TEMP TABLE known (what text, token text, id uuid);
INSERT INTO known SELECT 'shared', t.token, t.token_id FROM walwarden.issue_token('acme', 'shared', '{databases:read,destinations:write}') AS t;
INSERT INTO known SELECT 'private', t.token, t.token_id FROM walwarden.issue_token('acme', 'private', '{databases:read}', owner => 'ann') AS t;
SELECT gen_random_uuid() AS pair, repeat('s', 32) AS secret \gset
SELECT walwarden.import_legacy_credential('acme', 'ann', :'pair', :'secret', 'pair') \g /dev/null

-- The status and the reason of the answer to a request with these fields.
CREATE FUNCTION answer(method text, path text, fields jsonb, body text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    content json;
BEGIN
    PERFORM set_config('request.headers', (jsonb_build_object('x-walwarden-method', method, 'x-walwarden-path', '/api/v1' || path, 'x-walwarden-content-type', 'application/json') || fields)::text, true);
    content := CASE method WHEN 'GET' THEN walwarden_rest.v1_get() ELSE walwarden_rest.v1_post(convert_to(body, 'UTF8')) END;
    RETURN concat_ws(' ', current_setting('response.status'), content -> 'error' ->> 'reason');
END
$$;
SELECT is(answer('POST', '/session', '{}', json_build_object('code', walwarden.sign_in_link('ann'))::text), '204', 'signed in');
SELECT substring(current_setting('response.headers') FROM '__Host-walwarden=([0-9a-f]{64})') AS cookie \gset

-- What is called, and as whom.
CREATE TEMP TABLE call (who text, what text, called text);
INSERT INTO call
SELECT 'tn_ann', v.what, v.called FROM (VALUES
    ('list tokens', $$SELECT count(*) FROM walwarden.list_tokens('acme')$$),
    ('list orgs', 'SELECT count(*) FROM walwarden.list_orgs()'),
    ('issue a token', $$SELECT token_id IS NOT NULL FROM walwarden.issue_token('acme', 'new')$$),
    ('append', $$SELECT walwarden.append_audit('app.x', '{}', NULL, 'acme') > 0$$)) AS v(what, called)
UNION ALL
SELECT current_user, v.what, v.called FROM (VALUES
    ('list tokens', $$SELECT count(*) FROM walwarden.list_tokens('acme')$$),
    ('verify', $$SELECT ok FROM walwarden.verify_audit_chain('acme')$$),
    ('prove', format('SELECT chosen FROM walwarden_internal.chain_proofs(%L, ''{1}'', ARRAY[sha256(''x'')], ''{1}'', 0)', :'org'))) AS v(what, called)
UNION ALL
SELECT 'tn_app', f.what || ' ' || k.what, format(f.called, k.token)
  FROM known AS k, (VALUES
    ('authenticate', $$SELECT walwarden.authenticate(%1$L) IS NOT NULL$$),
    ('scope of', $$SELECT walwarden.authorize(%1$L, 'databases:read') IS NOT NULL$$),
    ('organisation of', $$SELECT CASE WHEN walwarden.authenticate(%1$L) IS NOT NULL THEN walwarden.current_org() END$$),
    ('subject of', $$SELECT CASE WHEN walwarden.authenticate(%1$L) IS NOT NULL THEN walwarden.current_subject() END$$),
    ('introspect', $$SELECT walwarden.introspect_token(%1$L) ->> 'active'$$)) AS f(what, called)
UNION ALL
SELECT 'tn_rest', 'append as ' || k.what, format($$SELECT walwarden.append_audit('app.x', '{}') > 0 WHERE walwarden.authenticate(%L) IS NOT NULL$$, k.token) FROM known AS k
UNION ALL
SELECT current_user, v.what, format('SELECT answer(%L, %L, %L, %L)', v.method, v.path, v.fields, '{"name": "d", "provider": "local", "uri": "file:///srv"}')
  FROM (SELECT 'read as ' || k.what, 'GET', '/databases', jsonb_build_object('x-walwarden-token', k.token) FROM known AS k
        UNION ALL
        SELECT 'read as legacy', 'GET', '/databases', jsonb_build_object('x-wallarmapi-uuid', :'pair', 'x-wallarmapi-secret', :'secret')
        UNION ALL
        SELECT 'write', 'POST', '/destinations', jsonb_build_object('x-walwarden-token', k.token, 'idempotency-key', 'k') FROM known AS k WHERE k.what = 'shared'
        UNION ALL
        SELECT 'person at ' || p, 'GET', p, jsonb_build_object('x-walwarden-session', :'cookie') FROM unnest('{/orgs,/orgs/acme,/orgs/acme/databases}'::text[]) AS p) AS v(what, method, path, fields);
GRANT SELECT ON call TO PUBLIC;

-- The columns of src/*/columns.h that cannot be null, and those of an operation, where it depends.
\set header `cat src/*/columns.h`
CREATE TEMP TABLE col AS
    SELECT a.attrelid::regclass AS of, a.attname AS name
      FROM regexp_matches(:'header', '#define Anum_(\w+)\s', 'g') AS d
      JOIN pg_class AS k ON d[1] LIKE k.relname || '\_%' AND k.relkind = 'r' AND k.relnamespace = 'walwarden_internal'::regnamespace
      JOIN pg_attribute AS a ON a.attrelid = k.oid AND k.relname || '_' || a.attname = d[1] AND a.attnum > 0
     WHERE a.attnotnull OR k.relname = 'rest_operation';
SELECT cmp_ok((SELECT count(*) FROM col), '>', 50::bigint, 'they are read');

-- Nothing protects the tables any more. What the keys were is still an index.
DO $$
DECLARE
    t regclass;
    c name;
    index text;
BEGIN
    -- but for what tells the sessions to read again
    FOR t, c IN SELECT g.tgrelid, g.tgname FROM pg_trigger AS g JOIN pg_class AS k ON k.oid = g.tgrelid
                 WHERE k.relnamespace = 'walwarden_internal'::regnamespace AND g.tgname !~ '^signal_' AND g.tgname <> 'append' AND NOT g.tgisinternal LOOP
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', t, c);
    END LOOP;
    FOR t, c, index IN SELECT n.conrelid, n.conname, pg_get_indexdef(n.conindid) FROM pg_constraint AS n
                        WHERE n.connamespace = 'walwarden_internal'::regnamespace AND n.contype IN ('c', 'f', 'p', 'u') AND n.conrelid <> 0
                        ORDER BY n.contype = 'p', n.contype = 'u' LOOP
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', t, c);
        IF index LIKE 'CREATE UNIQUE INDEX ' || c || ' %' THEN
            EXECUTE index;
            EXECUTE format('ALTER TABLE %1$s ADD CONSTRAINT %2$I UNIQUE USING INDEX %2$I', t, c);
        END IF;
    END LOOP;
    FOR t, c IN SELECT a.attrelid, a.attname FROM pg_attribute AS a JOIN pg_class AS k ON k.oid = a.attrelid
                 WHERE k.relnamespace = 'walwarden_internal'::regnamespace AND k.relkind = 'r' AND a.attnotnull AND a.attnum > 0 LOOP
        EXECUTE format('ALTER TABLE %s ALTER %I DROP NOT NULL', t, c);
    END LOOP;
    FOR t, c IN SELECT a.attrelid, a.attname FROM pg_attribute AS a JOIN pg_class AS k ON k.oid = a.attrelid
                 WHERE k.relnamespace = 'walwarden_internal'::regnamespace AND k.relkind = 'r' AND a.attgenerated = 's' LOOP
        EXECUTE format('ALTER TABLE %s ALTER %I DROP EXPRESSION', t, c);
    END LOOP;
END$$;
SELECT answer('POST', '/destinations', jsonb_build_object('x-walwarden-token', token, 'idempotency-key', 'k'), '{"name": "d", "provider": "local", "uri": "file:///srv"}')
  FROM known WHERE what = 'shared' \g /dev/null

-- What comes of a call, undone.
CREATE FUNCTION outcome(who text, called text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    PERFORM set_config('role', who, true);
    EXECUTE called INTO result;
    RAISE SQLSTATE 'WW000' USING MESSAGE = coalesce(result, 'NULL');
EXCEPTION WHEN OTHERS THEN
    RETURN CASE SQLSTATE WHEN 'WW000' THEN SQLERRM ELSE 'error ' || SQLSTATE || ' ' || SQLERRM END;
END
$$;
-- The outcomes of all calls after a deed, which is undone.
CREATE FUNCTION outcomes(deed text) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE deed;
    UPDATE walwarden_internal.org SET id = id;     -- a signal
    RAISE SQLSTATE 'WW001' USING MESSAGE = (SELECT jsonb_object_agg(c.who || ': ' || c.what, outcome(c.who, c.called)) FROM call AS c);
EXCEPTION WHEN SQLSTATE 'WW001' THEN
    RETURN SQLERRM;
END
$$;
CREATE TEMP TABLE before AS SELECT k.key AS call, k.value AS outcome FROM jsonb_each_text(outcomes('SELECT')) AS k;
SELECT is_empty($$SELECT call, outcome FROM before WHERE outcome ~ '^(error|[45])'$$, 'every call is answered');

-- each column in all rows of its table
CREATE TEMP TABLE after AS
    SELECT c.of, c.name, k.key AS call, k.value AS outcome
      FROM col AS c, jsonb_each_text(outcomes(format('UPDATE %s SET %I = NULL', c.of, c.name))) AS k;
SELECT is_empty($$
    SELECT a.of, a.name, a.call, a.outcome, b.outcome FROM after AS a JOIN before AS b USING (call)
     WHERE a.outcome <> b.outcome AND a.outcome !~ '^(error|[45]|NULL$|f|0$)'$$, 'no NULL opens anything');
SELECT cmp_ok((SELECT count(DISTINCT (a.of, a.name)) FROM after AS a JOIN before AS b USING (call) WHERE a.outcome <> b.outcome), '>', 30::bigint, 'and most end something');

-- a missing index: its rows are found without it. Only a chain is read in the order of its index.
CREATE TEMP TABLE index AS
    SELECT i.indexrelid::regclass AS name,
           coalesce(format('ALTER TABLE %s DROP CONSTRAINT ', i.indrelid::regclass) || quote_ident(n.conname), format('DROP INDEX %s', i.indexrelid::regclass)) AS drop
      FROM pg_index AS i LEFT JOIN pg_constraint AS n ON n.conindid = i.indexrelid AND n.conrelid = i.indrelid
     WHERE i.indrelid IN (SELECT of FROM col UNION VALUES ('walwarden_internal.role_grant'::regclass)) AND i.indrelid <> 'walwarden_internal.audit_entry'::regclass;
CREATE TEMP TABLE without AS
    SELECT i.name AS index, k.key AS call, k.value AS outcome FROM index AS i, jsonb_each_text(outcomes(i.drop)) AS k;
SELECT is_empty($$SELECT w.index, w.call, w.outcome, b.outcome FROM without AS w JOIN before AS b USING (call) WHERE w.outcome <> b.outcome$$, 'no index is needed');
SELECT cmp_ok((SELECT count(DISTINCT index) FROM without), '>', 15::bigint, 'although there are some');

-- more columns than the library knows: a later version may have added some, and a session goes on
CREATE TEMP TABLE wide AS
    SELECT t.of, k.key AS call, k.value AS outcome
      FROM (SELECT of FROM col WHERE of <> 'walwarden_internal.audit_entry'::regclass GROUP BY of
             -- last, because the server keeps plans with a function's columns when they are taken back
             ORDER BY of = 'walwarden_internal.member'::regclass, of) AS t,
           jsonb_each_text(outcomes(format('ALTER TABLE %s ', t.of) || (SELECT string_agg(format('ADD more_%s text', n), ', ') FROM generate_series(1, 20) AS n))) AS k;
SELECT is_empty($$SELECT w.of, w.call, w.outcome, b.outcome FROM wide AS w JOIN before AS b USING (call) WHERE w.outcome <> b.outcome AND w.of::text <> 'walwarden_internal.rest_operation'$$, 'columns that C does not know change nothing');
SELECT isnt_empty($$SELECT FROM wide WHERE of::text = 'walwarden_internal.rest_operation' AND outcome = '500 internal_error'$$, 'but operations, which are read whole');

-- the type of a caller, likewise: what C reads is what is there, or it is an error
CREATE FUNCTION after_alter(alteration text, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE alteration;
    RETURN outcome(current_user, statement);
END
$$;
SELECT format('SELECT walwarden_internal.may(jsonb_populate_record(NULL::walwarden_internal.caller, %L), NULL, ''org.create'', ''any'')', c.c) AS asked
  FROM (VALUES ('{"role": "r", "login": "l", "superuser": true, "operator": true, "monitor": false, "person": false, "by_sso": false}'::jsonb)) AS c(c) \gset
SELECT is(outcome(current_user, :'asked'), 'true', 'a superuser may');
SELECT is(outcome(current_user, regexp_replace(:'asked', format('"%s": \w+|"%1$s": "\w"', v.field), format('"%s": null', v.field))), format('error XX000 column %s of the caller is null', v.n), 'a caller without ' || v.field)
  FROM (VALUES ('role', 2), ('login', 3), ('superuser', 4), ('operator', 5), ('monitor', 6), ('person', 8), ('by_sso', 10)) AS v(field, n);
SELECT is(outcome(current_user, format('SELECT after_alter(''ALTER TYPE walwarden_internal.%s'', %L)', v.alteration, coalesce(c.called, v.called))), v.wanted, format('%s: %s', v.alteration, left(v.called, 33)))
  FROM (VALUES ('caller ADD ATTRIBUTE more text, ADD ATTRIBUTE again text', :'asked', 'true'),
               ('caller ADD ATTRIBUTE more text, ADD ATTRIBUTE again text', $$SELECT walwarden.create_org('new') IS NOT NULL$$, 'true'),
               ('caller DROP ATTRIBUTE by_sso', :'asked', 'error XX000 column 10 of type walwarden_internal.caller is not as it was installed'),
               ('caller DROP ATTRIBUTE by_sso', $$SELECT walwarden.create_org('new') IS NOT NULL$$, 'error XX000 column 10 of type walwarden_internal.caller is not as it was installed'),
               ('rest_request ADD ATTRIBUTE more text', 'read as shared', '200'),
               ('rest_request ALTER ATTRIBUTE max_rows TYPE text', 'read as shared', '500 internal_error'),
               ('rest_item ALTER ATTRIBUTE at TYPE text', 'read as shared', '500 internal_error')) AS v(alteration, called, wanted)
  LEFT JOIN call AS c ON c.what = v.called;

SELECT * FROM finish();
ROLLBACK;
