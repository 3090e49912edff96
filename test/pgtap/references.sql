-- Which references REST v1 accepts, and which it answers 400 to: test/references.json, by which
-- test/runner/003_references.pl tries the runner, too. {N} stands for N letters.
\set QUIET on
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();
\set references `cat test/references.json`
SELECT walwarden.create_org('references') \g /dev/null
SELECT token FROM walwarden.issue_token('references', 'api', ARRAY(SELECT name FROM walwarden_internal.scope)) \gset
\ir request.psql
SELECT set_config('pgtap.token', :'token', true) \g /dev/null
CREATE FUNCTION pg_temp.request(method text, path text, body jsonb) RETURNS jsonb LANGUAGE sql AS $$
    SELECT pg_temp.rest(current_setting('pgtap.token'), method, path, body::text)::jsonb
$$;
SELECT pg_temp.request('POST', '/destinations', '{"name":"d","provider":"s3","uri":"s3://bucket"}') ->> 'id' AS destination \gset
SELECT pg_temp.request('POST', '/databases', '{"name":"d","connectionRef":"d"}') ->> 'id' AS database \gset

CREATE TEMP TABLE reference AS
SELECT f.key AS field, k.key = 'good' AS good, v.n, v.value,
       -- of a reference that comes with others, the last is the one
       (CASE jsonb_typeof(v.value) WHEN 'array' THEN v.value -> -1 ELSE v.value END) #>> '{}' AS text
  FROM jsonb_each(:'references') AS f, jsonb_each(f.value) AS k, jsonb_array_elements(k.value) WITH ORDINALITY AS v(value, n);
UPDATE reference SET text = regexp_replace(text, '[{]\d+[}]', repeat('a', substring(text, '[{](\d+)[}]')::integer)) WHERE text ~ '[{]\d+[}]';
UPDATE reference SET text = regexp_replace(text, '[{]\d+[}]', repeat('a', substring(text, '[{](\d+)[}]')::integer)) WHERE text ~ '[{]\d+[}]';

-- Every request that a reference may come with; what is good meets nothing but a backup that does not exist.
CREATE TEMP VIEW request AS
SELECT r.field, r.good, r.value, v.method, v.path, v.body
  FROM reference AS r, current_setting('pgtap.ids') AS ids, LATERAL (VALUES
       ('connectionRef', 'POST', '/databases', jsonb_build_object('name', gen_random_uuid(), 'connectionRef', r.text)),
       ('connectionRef', 'PATCH', '/databases/' || (ids::json ->> 'database'), jsonb_build_object('connectionRef', r.text)),
       ('credentialRef', 'POST', '/destinations', jsonb_build_object('name', gen_random_uuid(), 'provider', 's3', 'uri', 's3://bucket', 'credentialRef', r.text)),
       ('credentialRef', 'PATCH', '/destinations/' || (ids::json ->> 'destination'), jsonb_build_object('credentialRef', r.text)),
       ('region', 'POST', '/destinations', jsonb_build_object('name', gen_random_uuid(), 'provider', 's3', 'uri', 's3://bucket', 'region', r.text)),
       ('region', 'PATCH', '/destinations/' || (ids::json ->> 'destination'), jsonb_build_object('region', r.text)),
       ('uri', 'POST', '/destinations', jsonb_build_object('name', gen_random_uuid(), 'provider', r.value -> 0, 'uri', r.text)),
       ('target', 'POST', '/restores', jsonb_build_object('databaseId', ids::json ->> 'database', 'backupJobId', gen_random_uuid(), 'kind', r.value -> 0, 'mode', r.value -> 1,
                                                          'target', r.text, 'confirmDestructive', r.value ->> 1 = 'in_place'))
       ) AS v(field, method, path, body)
 WHERE v.field = r.field;
SELECT set_config('pgtap.ids', json_build_object('database', :'database', 'destination', :'destination')::text, true) \g /dev/null

SELECT is((SELECT json_agg(json_build_array(t.method, t.value, t.status, t.answer -> 'error'))
             FROM (SELECT r.*, a.answer, current_setting('response.status') AS status
                     FROM request AS r, LATERAL (SELECT pg_temp.request(r.method, r.path, r.body) AS answer OFFSET 0) AS a
                    WHERE r.field = f.field AND r.good = g.good) AS t
            WHERE CASE WHEN t.good THEN CASE t.field WHEN 'target' THEN t.status || (t.answer #>> '{error,field}') <> '404backupJobId' ELSE t.status NOT IN ('200', '201') END
                       ELSE concat_ws(' ', t.status, t.answer #>> '{error,field}') <> '400 ' || t.field OR t.answer #>> '{error,reason}' NOT IN ('malformed', 'out_of_range') END)::text,
          NULL, format('%s that are %s', f.field, CASE WHEN g.good THEN 'accepted' ELSE 'refused' END))
  FROM unnest('{connectionRef,credentialRef,region,uri,target}'::text[]) AS f(field), unnest('{t,f}'::boolean[]) AS g(good);
SELECT set_eq('SELECT field FROM request', $$SELECT field FROM reference WHERE field <> 'artifactName'$$, 'all of them');
SELECT is((SELECT count(*) FROM walwarden_internal.audit_entry AS e JOIN walwarden_internal.org AS o ON o.id = e.org_id WHERE o.slug = 'references' AND e.kind ~ '^(database|destination)[.]created$'),
          (SELECT count(*) + 2 FROM request WHERE good AND method = 'POST' AND field <> 'target'), 'what is refused leaves nothing behind');

-- what nodes report: another node deletes it
SELECT is((SELECT json_agg(r.value) FROM reference AS r
            WHERE r.field = 'artifactName' AND r.good = (walwarden_internal.schema_problem('Artifact',
                  jsonb_build_object('name', r.text, 'sizeBytes', 0, 'checksumSha256', repeat('0', 64)), '') IS NOT NULL))::text, NULL, 'names of artifacts');

SELECT * FROM finish();
ROLLBACK;
