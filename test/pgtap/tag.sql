-- Entity tags of REST v1: they change with what is shown, and a tag that is remembered is
-- answered without building the body.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();
SELECT walwarden.create_org('tag') \g /dev/null
SELECT token FROM walwarden.issue_token('tag', 'all', (SELECT array_agg(name) FROM walwarden_internal.scope WHERE builtin)) \gset
SELECT set_config('walwarden_test.token', :'token', true) \g /dev/null
SELECT token AS other FROM walwarden.issue_token('tag', 'node', '{}', kind => 'node') \gset

-- The status of a request, and its tag if it has one.
CREATE TYPE pg_temp.answer AS (status text, tag text, body json);
CREATE FUNCTION pg_temp.ask(method text, path text, fields json DEFAULT '{}', body text DEFAULT '', query text DEFAULT NULL) RETURNS pg_temp.answer LANGUAGE plpgsql AS $$
DECLARE
    a pg_temp.answer;
BEGIN
    PERFORM set_config('request.headers', (jsonb_build_object(
        'x-walwarden-token', current_setting('walwarden_test.token'), 'x-walwarden-method', method, 'x-walwarden-path', '/api/v1' || path, 'x-walwarden-query', query,
        'x-walwarden-content-type', 'application/json', 'idempotency-key', gen_random_uuid()) || fields::jsonb)::text, true);
    a.body := CASE WHEN method IN ('GET', 'HEAD') THEN walwarden_rest.v1_get() ELSE walwarden_rest.v1_post(convert_to(body, 'UTF8')) END;
    a.status := current_setting('response.status');
    a.tag := (SELECT h ->> 'ETag' FROM json_array_elements(current_setting('response.headers')::json) AS h WHERE h ->> 'ETag' IS NOT NULL);
    IF a.status::int >= 400 THEN
        a.status := a.status || ' ' || (a.body #>> '{error,reason}');
    END IF;
    RETURN a;
END
$$;
CREATE FUNCTION pg_temp.if_none(path text, tags text, method text DEFAULT 'GET') RETURNS text LANGUAGE sql AS $$
    SELECT status || CASE WHEN body IS NULL THEN '' ELSE ' body' END FROM pg_temp.ask(method, path, json_build_object('if-none-match', tags))
$$;
SELECT FROM pg_temp.ask('POST', '/destinations', body => '{"name": "d", "provider": "local", "uri": "file:///srv"}') \g /dev/null
SELECT id AS destination FROM walwarden_internal.destination WHERE name = 'd' \gset
SELECT FROM pg_temp.ask('POST', '/databases', body => json_build_object('name', 'b', 'connectionRef', 'c', 'destinationId', :'destination', 'objectives', json_build_object('rpoSeconds', 3600))::text) \g /dev/null
SELECT d.id AS database, '/databases/' || d.id AS path FROM walwarden_internal.database AS d WHERE d.name = 'b' \gset

-- forms of the condition
SELECT tag FROM pg_temp.ask('GET', :'path') \gset
SELECT matches(:'tag'::text, '^"[0-9a-f]{32}"$', 'a strong tag');
SELECT is(tag, :'tag', 'the same for the same body') FROM pg_temp.ask('GET', :'path');
SELECT is(pg_temp.if_none(:'path', replace(v.tags, 'TAG', :'tag')), v.expected, v.tags)
  FROM (VALUES ('TAG', '304'), ('*', '304'), ('W/TAG', '304'), ('"x", TAG', '304'), (',TAG,, "x"', '304'), ('"x"', '200 body'), ('W/"x","y"', '200 body'), ('"*"', '200 body'), ('""', '200 body'),
               ('TAG TAG', '400 malformed body'), ('x', '400 malformed body'), ('"x', '400 malformed body'), ('w/TAG', '400 malformed body'), ('TAG, *', '400 malformed body'), (',', '400 malformed body'), ('W/', '400 malformed body')) AS v(tags, expected);
SELECT is(pg_temp.if_none(:'path', '', 'GET'), '200 body', 'an empty field is none');
SELECT is(pg_temp.if_none(:'path', :'tag', 'HEAD'), '304', 'HEAD');
SELECT is(tag, :'tag', '304 has the tag') FROM pg_temp.ask('GET', :'path', json_build_object('if-none-match', :'tag'));
SELECT is(pg_temp.if_none('/databases/' || gen_random_uuid(), '*'), '404 no_such_resource body', 'what is not there matches nothing');
SELECT is(pg_temp.if_none('/profile', '*'), '200 body', 'without a tag, a condition says nothing');
SELECT is(o.operation, NULL, 'a tag of ' || o.operation)
  FROM walwarden_internal.rest_operation AS o, pg_temp.ask('GET', replace(o.path, '{databaseId}', :'database')) AS a
 WHERE o.method = 'GET' AND (o.parameter IS NULL OR o.parameter = 'databaseId') AND o.caller IN ('token', 'any') AND (a.tag IS NULL) <> (o.tag IS NULL);
SELECT set_eq($$SELECT operation FROM walwarden_internal.rest_operation WHERE tag = 'chain'$$,
    '{listDatabases,getDatabase,listDestinations,getDestination,listDatabaseBackups,getBackup,listRestores,getRestore,listEvidence,getEvidence}'::text[], 'these are remembered');

-- If-Match
SELECT is(status, '412 tag_differs', 'another tag') FROM pg_temp.ask('PATCH', :'path', '{"if-match": "\"x\""}', '{"name": "c"}');
SELECT is(status, '412 tag_differs', 'a weak tag') FROM pg_temp.ask('PATCH', :'path', json_build_object('if-match', 'W/' || :'tag'), '{"name": "c"}');
SELECT is(status, '400 malformed', 'no tag') FROM pg_temp.ask('PATCH', :'path', '{"if-match": "x"}', '{"name": "c"}');
SELECT is(status, '400 unsupported_condition', 'If-None-Match with a change') FROM pg_temp.ask('PATCH', :'path', '{"if-none-match": "*"}', '{"name": "c"}');
SELECT is(status, '400 unsupported_condition', 'If-Match with GET') FROM pg_temp.ask('GET', :'path', '{"if-match": "*"}');
SELECT is(status, '400 unsupported_condition', 'or with what has no tag to match') FROM pg_temp.ask('POST', :'path' || '/backups', '{"if-match": "*"}', '{}');
SELECT is(status, '404 no_such_resource', 'a missing resource comes first') FROM pg_temp.ask('DELETE', '/databases/' || gen_random_uuid(), '{"if-match": "\"x\""}');
SELECT is(status, '412 tag_differs', 'before its state') FROM pg_temp.ask('DELETE', '/destinations/' || :'destination', '{"if-match": "\"x\""}');
SELECT is(status, '409 destination_in_use', 'its state') FROM pg_temp.ask('DELETE', '/destinations/' || :'destination', '{"if-match": "*"}');
SELECT is(name, 'b', 'nothing has changed') FROM walwarden_internal.database WHERE id = :'database';
SELECT status, tag AS after FROM pg_temp.ask('PATCH', :'path', json_build_object('if-match', '"x", ' || :'tag'), '{"name": "c"}') \gset
SELECT is(:'status'::text, '200', 'its tag');
SELECT is(tag, :'after', 'the response has the new tag') FROM pg_temp.ask('GET', :'path');
SELECT isnt(:'after'::text, :'tag', 'which is another one');
SELECT is(status, '412 tag_differs', 'the old one counts no longer') FROM pg_temp.ask('DELETE', :'path', json_build_object('if-match', :'tag'));

-- A tag that is remembered is answered although the body cannot be built.
CREATE FUNCTION pg_temp.without_handlers() RETURNS void LANGUAGE sql AS $$
    SELECT set_config('walwarden_test.broken', string_agg(pg_get_functiondef(p.oid), ';' ORDER BY p.oid), true)
      FROM pg_proc AS p JOIN walwarden_internal.rest_operation AS o ON o.handler = p.proname
     WHERE p.pronamespace = 'walwarden_internal'::regnamespace AND o.tag = 'chain'
$$;
CREATE FUNCTION pg_temp.fast(path text, tags text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    o record;
    result text;
BEGIN
    PERFORM pg_temp.without_handlers();
    SET LOCAL log_min_messages = fatal;
    FOR o IN SELECT handler FROM walwarden_internal.rest_operation WHERE tag = 'chain' LOOP
        EXECUTE format('CREATE OR REPLACE FUNCTION walwarden_internal.%I(r walwarden_internal.rest_request) RETURNS json LANGUAGE plpgsql STABLE AS $x$BEGIN RAISE ''built''; END$x$', o.handler);
    END LOOP;
    result := pg_temp.if_none(path, tags);
    EXECUTE current_setting('walwarden_test.broken');
    RETURN CASE result WHEN '304' THEN 'recalled' WHEN '500 internal_error body' THEN 'built' ELSE result END;
END
$$;
CREATE TEMP TABLE shown AS
    SELECT path, (pg_temp.ask('GET', path)).tag
      FROM unnest(ARRAY['/databases', :'path', '/destinations', '/destinations/' || :'destination', '/evidence', :'path' || '/backups', '/restores']) AS path;
SELECT is(pg_temp.fast(path, tag), 'built', path || ' is not remembered before anybody asks') FROM shown;
SELECT is(pg_temp.if_none(path, tag), '304', path) FROM shown;
SELECT is(pg_temp.fast(path, tag), 'recalled', path || ' is remembered') FROM shown;
SELECT is(pg_temp.fast(path, '"x", W/' || tag), 'recalled', path || ' among others') FROM shown;
SELECT is(pg_temp.fast(path, '*'), 'recalled', path || ' whatever it is') FROM shown;
SELECT is(pg_temp.fast(path, '"x"'), 'built', path || ' for another tag') FROM shown;
-- pages and other lists have tags of their own
SELECT is(status, '200', 'another page') FROM pg_temp.ask('GET', '/databases', json_build_object('if-none-match', (SELECT tag FROM shown WHERE path = '/databases/' || :'database')), query => 'limit=1');

-- What each change leaves of the tags: those whose body has changed are new, the others stay.
CREATE FUNCTION pg_temp.changed() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    s record;
    a pg_temp.answer;
    result text[] := '{}';
BEGIN
    FOR s IN SELECT * FROM shown ORDER BY path COLLATE "C" LOOP
        a := pg_temp.ask('GET', s.path, json_build_object('if-none-match', s.tag));
        IF a.status <> '304' THEN
            result := result || regexp_replace(s.path, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID');
            IF a.tag = (pg_temp.ask('GET', s.path)).tag AND a.tag <> s.tag THEN
                UPDATE shown AS f SET tag = a.tag WHERE f.path = s.path;
            END IF;
            IF pg_temp.if_none(s.path, a.tag) <> '304' OR pg_temp.if_none(s.path, s.tag) <> '200 body' THEN
                result := result || '(wrong)'::text;
            END IF;
        END IF;
    END LOOP;
    RETURN array_to_string(result, ' ');
END
$$;
SELECT is(pg_temp.changed(), '', 'nothing');
SELECT walwarden.append_audit('app.x', '{}', org => 'tag') \g /dev/null
SELECT is(pg_temp.changed(), '', 'an entry that nothing shows');
SELECT FROM pg_temp.ask('PATCH', :'path', body => '{"schedule": "0 3 * * *"}') \g /dev/null
SELECT is(pg_temp.changed(), '/databases /databases/ID', 'a schedule');
-- without an entry: a schedule, a report
UPDATE walwarden_internal.database SET next_run_at = next_run_at + interval '1 day' WHERE id = :'database';
SELECT is(pg_temp.changed(), '/databases /databases/ID', 'when it is due');
UPDATE walwarden_internal.database SET next_drill_at = now() WHERE id = :'database';
SELECT is(pg_temp.changed(), '/databases /databases/ID', 'when a drill is due');
UPDATE walwarden_internal.database SET next_run_at = NULL WHERE id = :'database';
SELECT is(pg_temp.changed(), '/databases /databases/ID', 'no backup any more');
UPDATE walwarden_internal.database SET next_drill_at = now() + interval '1 hour' WHERE id = :'database';
SELECT is(pg_temp.changed(), '/databases /databases/ID', 'when a drill is due that is alone');
UPDATE walwarden_internal.database SET next_drill_at = NULL WHERE id = :'database';
SELECT is(pg_temp.changed(), '/databases /databases/ID', 'nothing is due any more');
UPDATE walwarden_internal.destination SET reported_at = now(), reported_state = 'verified' WHERE id = :'destination';
SELECT is(pg_temp.changed(), '/destinations /destinations/ID', 'a report');
UPDATE walwarden_internal.destination SET reported_detail = '{"message": "x"}' WHERE id = :'destination';
SELECT is(pg_temp.changed(), '/destinations /destinations/ID', 'its detail');

-- a backup, its progress, its end
SELECT body ->> 'backupJobId' AS job FROM pg_temp.ask('POST', :'path' || '/backups', body => '{}') \gset
SELECT is(pg_temp.changed(), '/databases /databases/ID /databases/ID/backups', 'a backup');
INSERT INTO shown SELECT '/backups/' || :'job', (pg_temp.ask('GET', '/backups/' || :'job')).tag;
SELECT is(pg_temp.if_none(path, tag), '304', path) FROM shown;
SELECT is(pg_temp.fast(path, tag), CASE WHEN path LIKE '%/backups%' OR path LIKE '/backups/%' THEN 'built' ELSE 'recalled' END, path || ' during a backup') FROM shown;
UPDATE walwarden_internal.job SET progress = '{"percent": 7}' WHERE id = :'job';
SELECT is(pg_temp.changed(), '/backups/ID /databases/ID/backups', 'its progress');
SELECT FROM pg_temp.ask('POST', '/backups/' || :'job' || '/cancel', body => '{}') \g /dev/null
SELECT is(pg_temp.changed(), '/backups/ID /databases /databases/ID /databases/ID/backups', 'its end');
SELECT is(pg_temp.if_none(path, tag), '304', path) FROM shown;
SELECT is(pg_temp.fast(path, tag), 'recalled', path || ' after it') FROM shown;

-- an objective is missed as time passes, and met again if the clock goes back
CREATE FUNCTION pg_temp.until(body json) RETURNS timestamptz LANGUAGE sql AS $$SELECT walwarden_internal.rest_unchanged_until('Database', NULL, body)$$;
SELECT is(pg_temp.until(v.body::json), v.until, v.body)
  FROM (VALUES ('{"objectives": {"rpoSeconds": 60}, "readiness": {"recoverableTo": "2026-01-01T00:00:00.000001Z", "rpoMet": true}}', '2026-01-01 00:01:00.000001+00'::timestamptz),
               ('{"objectives": {"rpoSeconds": 60}, "readiness": {"recoverableTo": "2026-01-01T00:00:00.000000Z", "rpoMet": false}}', 'infinity'),
               ('{"objectives": {"rpoSeconds": null}, "readiness": {"recoverableTo": "2026-01-01T00:00:00.000000Z", "rpoMet": null}}', 'infinity')) AS v(body, until);
SELECT is(walwarden_internal.rest_unchanged_until('Database', 'databases', json_build_object('databases', json_build_array(
              '{"objectives": {"rpoSeconds": 60}, "readiness": {"recoverableTo": "2026-01-01T00:00:00Z", "rpoMet": true}}'::json,
              '{"objectives": {"rpoSeconds": 30}, "readiness": {"recoverableTo": "2026-01-01T00:00:00Z", "rpoMet": true}}'::json))),
          '2026-01-01 00:00:30+00', 'the first of a page');
SELECT is(walwarden_internal.rest_unchanged_until(v.schema, NULL, v.body::json), v.until, v.schema || v.body)
  FROM (VALUES ('Backup', '{"done": true}', 'infinity'::timestamptz), ('Backup', '{"done": false}', '-infinity'), ('Restore', '{}', '-infinity'), ('Evidence', '{}', 'infinity'), ('Profile', '{}', NULL)) AS v(schema, body, until);

-- the operations that are remembered are those whose state is known
SELECT lives_ok(format($$SELECT walwarden_internal.rest_state(gen_random_uuid(), %L, NULL, 25, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff')$$, response), response)
  FROM (SELECT DISTINCT o.response FROM walwarden_internal.rest_operation AS o WHERE o.tag = 'chain') AS s;
SELECT throws_ok($$SELECT walwarden_internal.rest_state(gen_random_uuid(), 'Profile', NULL, 25, 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff')$$, '20000', NULL, 'no other one');

SELECT * FROM finish();
ROLLBACK;
