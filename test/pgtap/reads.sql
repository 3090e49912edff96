-- What a refused call reads is the same for what exists and for what does not: the server
-- shows every session how many rows its transaction has read of each table.
SET client_min_messages = error;
BEGIN;
SELECT no_plan();
\ir doors.psql

-- Callers who have no right to what is acme's: everybody without rights, an owner and a member of another
-- organisation, its node; and a member of acme, who has no right to tokens of others.
CREATE ROLE td_owner;
CREATE ROLE td_stranger;
SELECT walwarden.create_org('other'), walwarden.add_member('other', 'owner', 'owner', 'td_owner'), walwarden.add_member('other', 'stranger', 'member', 'td_stranger') \g /dev/null
INSERT INTO thing SELECT 'other node', token FROM walwarden.issue_token('other', 'node', kind => 'node');
CREATE TEMP TABLE stranger AS
SELECT * FROM caller WHERE name IN ('nobody', 'token', 'rest', 'runner', 'monitor')
UNION ALL VALUES ('owner of another', 'td_owner', NULL), ('member of another', 'td_stranger', NULL), ('node of another', 'td_runner', 'other node'), ('token of another', 'td_rest', 'other node');

-- The rows of each table that the transaction has read.
CREATE FUNCTION read() RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_object_agg(s.relname, s.seq_tup_read + coalesce(s.idx_tup_fetch, 0))
      FROM pg_stat_xact_all_tables AS s WHERE s.schemaname = 'walwarden_internal'
$$;
CREATE FUNCTION reads(c caller, statement text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    before jsonb;
    came text;
    after jsonb;
BEGIN
    -- more than once: functions are compiled, and plans become generic
    FOR i IN 1 .. 7 LOOP
        before := read();
        came := tried(c, statement);
        after := read();
    END LOOP;
    RETURN jsonb_build_object('came', came, 'read', (SELECT jsonb_object_agg(a.key, a.value::text::bigint - (before ->> a.key)::bigint)
        FROM jsonb_each(after) AS a WHERE a.value <> before -> a.key));
END
$$;

-- every public function that names an organisation, a token or a job
CREATE TEMP TABLE named AS
SELECT d.function, call_of(d.function, d.arguments) AS existing,
       call_of(d.function, regexp_replace(replace(d.arguments, '''acme''', '''nosuch'''), '<(api|off|job)>', '00000000-0000-4000-8000-000000000000')) AS missing
  FROM door AS d WHERE d.arguments ~ '''acme''|<(api|off|job)>' AND d.nobody IN ('refused', 'none');
-- with a member, who exists or does not
INSERT INTO named SELECT function || ', member', existing, replace(replace(existing, '''bob''', '''nosuch'''), '''away''', '''nosuch''') FROM named WHERE existing ~ '''(bob|away)''';
INSERT INTO named VALUES
    ('issue_token, own', $$SELECT walwarden.issue_token('acme', 'x', owner => 'stranger')$$, $$SELECT walwarden.issue_token('nosuch', 'x', owner => 'stranger')$$),
    ('append_audit, own', $$SELECT walwarden.append_audit('app.x', '{}', NULL, 'acme')$$, $$SELECT walwarden.append_audit('app.x', '{}', NULL, 'nosuch')$$);
SELECT cmp_ok(count(*), '>', 25::bigint, 'they are many') FROM named;
CREATE TEMP TABLE compared AS
SELECT s.name, n.function, reads(x.c, n.existing) AS existing, reads(x.c, n.missing) AS missing
  FROM named AS n, stranger AS s, LATERAL (SELECT (s.name, s.role, s.identity)::caller) AS x(c)
 -- not the callers of doors.psql who may
 WHERE NOT EXISTS (SELECT FROM door AS d WHERE d.function = split_part(n.function, ',', 1) AND to_jsonb(d) ->> s.name = 'yes');
SELECT is(existing, missing, format('%s: %s', name, function)) FROM compared;
SELECT is_empty($$SELECT * FROM compared WHERE existing ->> 'came' NOT IN ('refused', 'closed', '42704')$$, 'each was refused');
SELECT isnt_empty($$SELECT FROM compared WHERE existing ->> 'came' = '42704'$$, 'for jobs of others there is another error');
SELECT is_empty($$SELECT * FROM compared WHERE existing ->> 'came' <> 'closed' AND existing ->> 'read' IS NULL$$, 'each read something');

-- a member of acme has no right to the private tokens of others
SELECT is(reads(x.c, format(v.call, t.value)), reads(x.c, format(v.call, '00000000-0000-4000-8000-000000000000')), format('a member: %s, %s', t.name, v.call))
  FROM (SELECT ('member', 'td_member', NULL)::caller) AS x(c), thing AS t,
       (VALUES ('SELECT walwarden.disable_token(%L)'), ('SELECT walwarden.revoke_token(%L)'), ('SELECT walwarden.renew_token(%L)'),
               ('SELECT walwarden.update_token(%L, ''y'')'), ('SELECT walwarden.enable_token(%L)'), ('SELECT count(*) FROM walwarden.list_tokens(''acme'', %L)')) AS v(call)
 WHERE t.name IN ('bob', '<api>');
SELECT is(reads(x.c, format('SELECT count(*) FROM walwarden.list_tokens(''other'', %L)', t.value)), reads(x.c, 'SELECT count(*) FROM walwarden.list_tokens(''other'', ''00000000-0000-4000-8000-000000000000'')'), 'after: ' || x.c::text)
  FROM (VALUES (('owner', 'td_owner', NULL)::caller), (('member', 'td_stranger', NULL)::caller)) AS x(c), thing AS t WHERE t.name IN ('bob', '<api>');

-- and that rows which are read are counted
SELECT isnt(reads(x.c, 'SELECT count(*) FROM walwarden.list_members(''acme'')'), reads(x.c, 'SELECT count(*) FROM walwarden.list_members(''nosuch'')'), 'an operator reads what there is')
  FROM (SELECT ('operator', 'td_operator', NULL)::caller) AS x(c);

-- Rights are found by index, however many members there are.
CREATE FUNCTION scans() RETURNS TABLE (whole bigint, by_index bigint) LANGUAGE sql AS $$
    SELECT sum(s.seq_scan)::bigint, sum(s.idx_scan)::bigint FROM pg_stat_xact_all_tables AS s
     WHERE s.schemaname = 'walwarden_internal' AND s.relname IN ('member', 'org', 'permission', 'role', 'role_grant')
$$;
SELECT * FROM scans() \gset before_
SELECT is(tried(x.c, v.call), 'yes', v.call)
  FROM (SELECT ('admin', 'td_admin', NULL)::caller) AS x(c),
       (VALUES ('SELECT walwarden.append_audit(''app.x'', ''{}'', NULL, ''acme'')'), ('SELECT * FROM walwarden.list_audit(''acme'', 0, 1)')) AS v(call);
SELECT is((s.whole, s.by_index > :before_by_index)::text, (:before_whole::bigint, true)::text, 'no table is read whole for them') FROM scans() AS s;

-- Over HTTP a person reads the same of an organisation of others as of one that does not exist,
-- and of their tokens and members, and gets the same response.
SELECT walwarden.add_member('other', 'reader', 'owner'), walwarden_internal.start_session(sha256(repeat('5', 64)::bytea), 'reader', NULL, NULL) \g /dev/null
CREATE FUNCTION asked(method text, path text, body text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    before jsonb;
    answer jsonb;
    after jsonb;
BEGIN
    FOR i IN 1 .. 7 LOOP
        PERFORM set_config('request.headers', json_build_object(
            'x-walwarden-session', repeat('5', 64), 'x-walwarden-method', method, 'x-walwarden-path', '/api/v1' || path,
            'x-walwarden-content-type', 'application/json', 'idempotency-key', gen_random_uuid())::text, true);
        before := read();
        answer := CASE method WHEN 'GET' THEN walwarden_rest.v1_get() ELSE walwarden_rest.v1_post(convert_to(body, 'UTF8')) END;
        after := read();
    END LOOP;
    RETURN jsonb_build_object('status', current_setting('response.status'), 'answer', answer #- '{error,requestId}', 'read',
        (SELECT jsonb_object_agg(a.key, a.value::text::bigint - (before ->> a.key)::bigint) FROM jsonb_each(after) AS a WHERE a.value <> before -> a.key));
END
$$;
CREATE TEMP TABLE asked AS
SELECT o.operation, v.what, asked(o.method, v.existing, b.body) AS existing, asked(o.method, v.missing, b.body) AS missing
  FROM (SELECT r.*, CASE WHEN r.in_org THEN r.path ELSE '/orgs/{org}' || r.path END AS whole FROM walwarden_internal.rest_operation AS r WHERE r.in_org OR r.caller = 'any') AS o,
       LATERAL (SELECT coalesce(walwarden_internal.schema_example(walwarden_internal.schema(o.request)), '{}')::text) AS b(body),
       LATERAL (SELECT m.id::text AS member_id, (SELECT value FROM thing WHERE name = '<api>') AS token_id
                  FROM walwarden_internal.member AS m JOIN walwarden_internal.org AS g ON g.id = m.org_id WHERE g.slug = 'acme' ORDER BY m.subject LIMIT 1) AS i,
       LATERAL (SELECT regexp_replace(replace(replace(o.whole, '{memberId}', i.member_id), '{tokenId}', i.token_id), '[{](?!org)[^}]*[}]', '00000000-0000-4000-8000-000000000001')) AS p(path),
       LATERAL (VALUES ('organisation', replace(p.path, '{org}', 'acme'), replace(p.path, '{org}', 'nosuch')),
                       ('resource', replace(p.path, '{org}', 'other'), regexp_replace(replace(p.path, '{org}', 'other'), '[0-9a-f]{8}-[0-9a-f-]{27}', '00000000-0000-4000-8000-000000000000'))) AS v(what, existing, missing)
 WHERE v.what = 'organisation' OR p.path ~ '[0-9a-f]{8}-[0-9a-f-]{27}';
SELECT is(existing, missing, format('%s, %s', operation, what)) FROM asked;
SELECT is_empty($$SELECT * FROM asked WHERE existing ->> 'status' <> '404'$$, 'each is 404');

SELECT * FROM finish();
ROLLBACK;
