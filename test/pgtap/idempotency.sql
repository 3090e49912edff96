-- Whose idempotency keys are whose: organisation, owner, kind and name at issue of the token.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

SELECT walwarden.create_org(o), walwarden.add_member(o, 'ann', 'owner'), walwarden.add_member(o, 'ben', 'owner') FROM unnest('{i-one,i-two}'::text[]) AS o \g /dev/null
CREATE TEMP TABLE known (what text, id uuid, token text);
CREATE FUNCTION pg_temp.mint(what text, org text, name text, owner text DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
    INSERT INTO known SELECT what, token_id, token FROM walwarden.issue_token(org, name, '{destinations:write}', owner => owner)$$;
-- the status of the answer, and "replayed" if it was given before
CREATE FUNCTION pg_temp.create_destination(what text, key text, name text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer json;
BEGIN
    PERFORM set_config('request.headers', json_build_object(
        'x-walwarden-token', (SELECT k.token FROM known AS k WHERE k.what = $1), 'x-walwarden-method', 'POST',
        'x-walwarden-path', '/api/v1/destinations', 'x-walwarden-content-type', 'application/json', 'idempotency-key', key)::text, true),
        set_config('response.headers', '', true);
    answer := walwarden_rest.v1_post(convert_to(json_build_object('name', name, 'provider', 'local', 'uri', 'file:///srv')::text, 'UTF8'));
    RETURN concat_ws(' ', current_setting('response.status'), answer -> 'error' ->> 'reason',
                     CASE WHEN current_setting('response.headers') ~ 'Idempotency-Replayed' THEN 'replayed' END);
END
$$;

SELECT pg_temp.mint('first', 'i-one', 'ci'), pg_temp.mint('second', 'i-one', 'ci'), pg_temp.mint('other name', 'i-one', 'cd'), pg_temp.mint('other org', 'i-two', 'ci'),
       pg_temp.mint('ann''s', 'i-one', 'ci', 'ann'), pg_temp.mint('ann''s second', 'i-one', 'ci', 'ann'), pg_temp.mint('ben''s', 'i-one', 'ci', 'ben') \g /dev/null
INSERT INTO known SELECT 'legacy', token_id, token FROM walwarden.import_legacy_credential('i-one', 'ann', gen_random_uuid(), repeat('s', 32), 'ci');
SELECT is(pg_temp.create_destination('first', 'k', 'd'), '201', 'a request');
SELECT is(pg_temp.create_destination('second', 'k', 'd'), '201 replayed', 'another token of the name');
SELECT is(pg_temp.create_destination('second', 'k', 'e'), '409 idempotency_key_reused', 'whose other requests need other keys');
SELECT is(pg_temp.create_destination(what, 'k', 'of ' || what), expected, what)
  FROM (VALUES ('other name', '201'), ('other org', '201'), ('ann''s', '201'), ('ann''s second', '409 idempotency_key_reused'), ('ben''s', '201'), ('legacy', '201')) AS v(what, expected);

-- a new name moves nothing, neither away nor hither
SELECT walwarden.update_token(id, CASE what WHEN 'first' THEN 'cd' ELSE 'ci' END) FROM known WHERE what IN ('first', 'other name') \g /dev/null
SELECT results_eq($$SELECT k.what, t.name, t.key_name FROM walwarden_internal.token AS t JOIN known AS k ON k.id = t.id WHERE k.what IN ('first', 'other name') ORDER BY 1$$,
    $$VALUES ('first', 'cd', 'ci'), ('other name', 'ci', 'cd')$$, 'key_name stays');
SELECT is(pg_temp.create_destination('first', 'k', 'd'), '201 replayed', 'a renamed token keeps its keys');
SELECT is(pg_temp.create_destination('other name', 'k', 'of other name'), '201 replayed', 'so does the other');
SELECT is(pg_temp.create_destination('other name', 'k', 'd'), '409 idempotency_key_reused', 'and gets none');
-- rotation, both ways
UPDATE known AS k SET token = r.token FROM known AS f, walwarden.renew_token(f.id) AS r WHERE f.what = 'second' AND k.what = f.what;
SELECT is(pg_temp.create_destination('second', 'k', 'd'), '201 replayed', 'a renewed token');
SELECT walwarden.revoke_token(id) FROM known WHERE what IN ('first', 'second') \g /dev/null
SELECT pg_temp.mint('third', 'i-one', 'ci') \g /dev/null
SELECT is(pg_temp.create_destination('third', 'k', 'd'), '201 replayed', 'a token issued after the others were revoked');
SELECT is(pg_temp.create_destination('first', 'k', 'd'), '401 token_refused', 'which do not open any more');
-- names that could be taken for other parts of the holder
SELECT pg_temp.mint(n, 'i-one', n) FROM unnest('{a,a:,:a,api:a,:api:a,A,á}'::text[]) AS n \g /dev/null
SELECT is(count(DISTINCT walwarden_internal.rest_key_holder(t.id)), count(DISTINCT (t.org_id, t.owner_id, t.kind, t.key_name)), 'a holder for each organisation, owner, kind and name')
  FROM walwarden_internal.token AS t JOIN known AS k ON k.id = t.id;

SELECT is((SELECT body::jsonb #>> '{payload,after,keyName}' FROM walwarden.list_audit('i-one') WHERE kind = 'token.updated' LIMIT 1), 'ci', 'entries say it');
SELECT is_empty('SELECT * FROM walwarden.verify_audit_chain() WHERE NOT ok', 'the chain says all of it');
UPDATE walwarden_internal.token SET key_name = 'cd' WHERE id = (SELECT id FROM known WHERE what = 'third');
SELECT matches((SELECT reason FROM walwarden.verify_audit_chain('i-one')), 'token .* differs from entry', 'a key_name that was changed by hand is found');

SELECT * FROM finish();
ROLLBACK;
