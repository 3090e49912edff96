CREATE EXTENSION walwarden CASCADE;
SELECT walwarden.create_org('acme');
SELECT token AS api_token FROM walwarden.issue_token('acme', 'api', ARRAY(SELECT name FROM walwarden_internal.scope)) \gset
-- what REST v1 would be asked for
CREATE FUNCTION pg_temp.request(token text, path text, body json) RETURNS json LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('request.headers', json_build_object('x-walwarden-token', token, 'x-walwarden-method', 'POST', 'x-walwarden-path', '/api/v1' || path,
                                                            'x-walwarden-content-type', 'application/json', 'idempotency-key', gen_random_uuid())::text, true);
    RETURN walwarden_rest.v1_post(convert_to(body::text, 'UTF8'));
END
$$;
SELECT pg_temp.request(:'api_token', '/destinations', '{"name": "d", "provider": "local", "uri": "file:///srv"}') ->> 'id' AS destination \gset
SELECT pg_temp.request(:'api_token', '/databases', json_build_object('name', 'd', 'connectionRef', 'orders-primary', 'destinationId', :'destination')) ->> 'id' AS database \gset
SELECT pg_temp.request(:'api_token', format('/databases/%s/backups', :'database'), '{}') ->> 'backupJobId' AS backup \gset
-- before a-restore
RESET ROLE;
SELECT pg_temp.request(:'api_token', '/restores', json_build_object('databaseId', :'database', 'backupJobId', :'backup', 'kind', 'drill', 'mode', 'new_database', 'target', 'drill-host/orders_drill'));
SET ROLE runner;
-- before a-failure
RESET ROLE;
SELECT pg_temp.request(:'api_token', format('/databases/%s/backups', :'database'), '{}');
SET ROLE runner;
-- before giving-a-job-back
RESET ROLE;
UPDATE walwarden_internal.job SET not_before = NULL WHERE state = 'queued';
SET ROLE runner;
:as_node
SELECT * FROM walwarden.claim_job('{backup}') \gset
COMMIT;
