-- Lookups: list_tokens(), get_token(), find_tokens() and token_list show a caller the same tokens, all of them, and find
-- them by index; list_audit() shows all entries.
\set QUIET on
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

CREATE ROLE l_op;
CREATE ROLE l_admin;
CREATE ROLE l_member;
CREATE ROLE l_both;
CREATE ROLE l_nobody;
SELECT walwarden.grant_operator('l_op') \g /dev/null
SELECT walwarden.create_org(o), walwarden.add_member(o, 'adm', 'admin', CASE o WHEN 'l-small' THEN 'l_admin' END::name), walwarden.add_member(o, 'bob', 'member', CASE o WHEN 'l-small' THEN 'l_member' END::name),
       walwarden.add_member(o, 'both', CASE o WHEN 'l-big' THEN 'owner' ELSE 'analyst' END, 'l_both')
  FROM unnest('{l-small,l-big}'::text[]) AS o \g /dev/null

-- tokens of every kind, and more of one organisation than any page holds
CREATE TEMP TABLE made AS
SELECT o AS org, w.what, t.token_id, t.token
  FROM unnest('{l-small,l-big}'::text[]) AS o,
       (VALUES ('oldest', NULL, 'api'), ('shared', NULL, 'api'), ('bob''s', 'bob', 'api'), ('adm''s', 'adm', 'api'), ('both''s', 'both', 'api'), ('node', NULL, 'node'), ('revoked', NULL, 'api'), ('removed', NULL, 'api')) AS w(what, owner, kind),
       walwarden.issue_token(o, w.what, owner => w.owner, kind => w.kind, expires_at => CASE w.what WHEN 'oldest' THEN now() + interval '3 days' END) AS t;
INSERT INTO made SELECT 'l-small', 'legacy', t.token_id, t.token FROM walwarden.import_legacy_credential('l-small', 'bob', '0E6B3A6E-4A55-4C8E-9F0F-0D5C1B1F2A3B', repeat('s', 32), 'legacy') AS t;
SELECT walwarden.revoke_token(token_id) FROM made WHERE what = 'revoked' \g /dev/null
SELECT walwarden.set_org_retention(o, '0') FROM unnest('{l-small,l-big}'::text[]) AS o \g /dev/null
SELECT walwarden.disable_token(token_id) FROM made WHERE what = 'removed' \g /dev/null
SELECT walwarden.run_maintenance() \g /dev/null
SELECT count(*) AS filled FROM generate_series(1, 1200) AS i, walwarden.issue_token('l-big', 'ci ' || i) \gset
SELECT walwarden.create_org('l-own'), walwarden.add_member('l-own', 'own', 'owner') \g /dev/null
SELECT count(*) FROM generate_series(1, 100) AS i, walwarden.issue_token('l-own', 'ci ' || i, owner => 'own') \g /dev/null
ANALYZE walwarden_internal.token, walwarden_internal.credential, walwarden_internal.token_usage, walwarden_internal.org;

-- what a caller should see, from the tables
CREATE TEMP VIEW seen AS
SELECT c.role, o.slug AS org, t.id AS token_id, t.created_at
  FROM walwarden_internal.token AS t JOIN walwarden_internal.org AS o ON o.id = t.org_id
  LEFT JOIN walwarden_internal.member AS m ON m.id = t.owner_id,
       (VALUES ('l_op'), ('l_admin'), ('l_member'), ('l_both'), ('l_nobody')) AS c(role)
 WHERE t.removed_at IS NULL
   AND CASE c.role WHEN 'l_op' THEN true WHEN 'l_admin' THEN o.slug = 'l-small' WHEN 'l_member' THEN o.slug = 'l-small' AND m.subject = 'bob'
                   WHEN 'l_both' THEN o.slug = 'l-big' OR o.slug = 'l-small' AND m.subject = 'both' ELSE false END;
-- what a caller does see
CREATE FUNCTION pg_temp.seen_by(role text, statement text) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %I', role);
    RETURN QUERY EXECUTE statement;
    RESET ROLE;
END
$$;
CREATE FUNCTION pg_temp.get_or_not(id uuid) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT g.token_id FROM walwarden.get_token(id) AS g);
EXCEPTION WHEN insufficient_privilege OR undefined_object THEN
    RETURN NULL;
END
$$;
GRANT SELECT ON made TO PUBLIC;
SELECT is(array(SELECT pg_temp.seen_by(r, 'SELECT token_id FROM walwarden.token_list')), array(SELECT token_id FROM seen WHERE role = r ORDER BY created_at DESC, token_id DESC), 'token_list: ' || r)
  FROM unnest('{l_op,l_admin,l_member,l_both,l_nobody}'::text[]) AS r;
SELECT is(array(SELECT pg_temp.seen_by(r, 'SELECT g FROM (SELECT pg_temp.get_or_not(token_id) AS g FROM made ORDER BY token_id) AS g WHERE g IS NOT NULL')),
          array(SELECT token_id FROM seen JOIN made USING (token_id) WHERE role = r ORDER BY token_id), 'get_token(): ' || r)
  FROM unnest('{l_op,l_admin,l_member,l_both,l_nobody}'::text[]) AS r;
SELECT is(array(SELECT pg_temp.seen_by(r, $$SELECT f.token_id FROM (SELECT * FROM made ORDER BY token_id) AS m, walwarden.find_tokens(encode(digest(m.token, 'sha256'), 'hex')) AS f$$)),
          array(SELECT token_id FROM seen JOIN made USING (token_id) WHERE role = r ORDER BY token_id), 'find_tokens(): ' || r)
  FROM unnest('{l_op,l_admin,l_member,l_both,l_nobody}'::text[]) AS r;
SELECT is(array(SELECT pg_temp.seen_by(r, format('SELECT token_id FROM walwarden.list_tokens(%L)', o))), array(SELECT token_id FROM seen WHERE role = r AND org = o ORDER BY created_at DESC, token_id DESC), format('list_tokens(%s): %s', o, r))
  FROM (VALUES ('l_op', 'l-small'), ('l_op', 'l-big'), ('l_admin', 'l-small'), ('l_member', 'l-small'), ('l_both', 'l-small'), ('l_both', 'l-big')) AS v(r, o);
SELECT is((SELECT count(*) FROM walwarden.list_tokens('l-big')), 1207::bigint, 'more than any page');
SELECT is((SELECT count(*) FROM walwarden.list_tokens('l-big', max_rows => 1150)), 1150::bigint, 'a page of any size');

-- pages from one to the next show what the whole list shows
CREATE FUNCTION pg_temp.paged(size int) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
DECLARE
    page uuid[];
BEGIN
    LOOP
        page := ARRAY(SELECT token_id FROM walwarden.list_tokens('l-big', page[cardinality(page)], size));
        EXIT WHEN page = '{}';
        RETURN QUERY SELECT unnest(page);
    END LOOP;
END
$$;
SELECT is(array(SELECT pg_temp.paged(n)), array(SELECT token_id FROM walwarden.list_tokens('l-big')), 'pages of ' || n) FROM unnest('{7,1000,5000}'::int[]) AS n;

-- the same columns everywhere, org before them
CREATE TEMP VIEW columns AS
SELECT p.proname, p.proargnames[i] AS name, p.proallargtypes[i] AS type, i - CASE p.proname WHEN 'list_tokens' THEN 3 ELSE 2 END AS n
  FROM pg_proc AS p, generate_subscripts(p.proallargtypes, 1) AS i
 WHERE p.pronamespace = 'walwarden'::regnamespace AND p.proname IN ('list_tokens', 'get_token', 'find_tokens') AND p.proargmodes[i] = 't';
SELECT is((SELECT array_agg(format('%s %s', name, type::regtype) ORDER BY n) FROM columns WHERE proname = f), (SELECT 'org text'::text || array_agg(format('%s %s', name, type::regtype) ORDER BY n) FROM columns WHERE proname = 'list_tokens'), f || '()')
  FROM unnest('{get_token,find_tokens}'::text[]) AS f;
SELECT is((SELECT array_agg(format('%s %s', attname, atttypid::regtype) ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'walwarden.token_list'::regclass AND attnum > 0),
          (SELECT array_agg(format('%s %s', name, type::regtype) ORDER BY n) FROM columns WHERE proname = 'get_token'), 'token_list');
SELECT is_empty($$SELECT attname FROM pg_attribute WHERE attrelid = 'walwarden.token_list'::regclass AND attcollation NOT IN (0, 'pg_catalog.default'::regcollation)$$, 'which compares with other tables');
SELECT results_eq($$SELECT g::text FROM made AS m, walwarden.get_token(m.token_id) AS g WHERE m.what NOT IN ('removed', 'other') ORDER BY 1$$,
                  $$SELECT l::text FROM walwarden.token_list AS l JOIN made USING (token_id) ORDER BY 1$$, 'and the same values');
SELECT results_eq($$SELECT f::text FROM made AS m, walwarden.find_tokens(encode(digest(m.token, 'sha256'), 'hex')) AS f ORDER BY 1$$,
                  $$SELECT l::text FROM walwarden.token_list AS l JOIN made USING (token_id) ORDER BY 1$$, 'found too');

-- by name, in a list that is longer than a page
SELECT ok(walwarden.revoke_token(token_id), 'the oldest is revoked by its name') FROM walwarden.list_tokens('l-big') WHERE name = 'oldest';
SELECT is((SELECT state FROM walwarden.token_list WHERE org = 'l-big' AND name = 'oldest'), 'revoked', 'it is');
SELECT throws_ok(format('SELECT * FROM walwarden.get_token(%L)', token_id), '42704', NULL, 'a removed token does not exist') FROM made WHERE what = 'removed';
SELECT is_empty($$SELECT FROM made AS m, walwarden.find_tokens(encode(digest(m.token, 'sha256'), 'hex')) WHERE m.what = 'removed'$$, 'and is not found');

-- fingerprints: of any length from a handle on, of values that were renewed, of pairs
SELECT token AS t, token_id AS id, encode(digest(token, 'sha256'), 'hex') AS print FROM made WHERE what = 'shared' AND org = 'l-small' \gset
SELECT is((SELECT array_agg(token_id) FROM walwarden.find_tokens(left(:'print', n))), ARRAY[:'id'::uuid], n || ' digits') FROM unnest('{12,13,31,63,64}'::int[]) AS n;
SELECT is((SELECT token_id FROM walwarden.find_tokens(upper(:'print'))), :'id'::uuid, 'in capitals');
SELECT is_empty(format('SELECT FROM walwarden.find_tokens(%L)', overlay(:'print' placing CASE substr(:'print', n, 1) WHEN '0' THEN '1' ELSE '0' END from n for 1)), 'another digit at ' || n) FROM unnest('{1,12,64}'::int[]) AS n;
SELECT throws_ok(format('SELECT FROM walwarden.find_tokens(%L)', h), '22023', 'handle is not 12 to 64 hex digits', coalesce(h, 'NULL'))
  FROM unnest(ARRAY[NULL, '', left(:'print', 11), :'print' || '0', :'t', ' ' || left(:'print', 12), '%', left(:'print', 12) || E'\n', '０１２３４５６７８９０１']) AS h;
SELECT token AS t2 FROM walwarden.renew_token(:'id', '1 hour') \gset
SELECT is(array_agg(token_id), ARRAY[:'id'::uuid], 'once, by its previous value') FROM walwarden.find_tokens(left(:'print', 12));
SELECT is(array_agg(token_id), ARRAY[:'id'::uuid], 'and by its newest') FROM walwarden.find_tokens(left(encode(digest(:'t2', 'sha256'), 'hex'), 12));
SELECT walwarden.end_overlap(:'id') \g /dev/null
SELECT is(array_agg(token_id), ARRAY[:'id'::uuid], 'also after its end') FROM walwarden.find_tokens(left(:'print', 12));
SELECT is((SELECT name FROM walwarden.find_tokens(left(encode(digest('0e6b3a6e-4a55-4c8e-9f0f-0d5c1b1f2a3b:' || repeat('s', 32), 'sha256'), 'hex'), 12))), 'legacy', 'a pair');
SET LOCAL ROLE l_admin;
SELECT is_empty(format('SELECT FROM walwarden.find_tokens(%L)', (SELECT left(encode(digest(token, 'sha256'), 'hex'), 12) FROM made WHERE org = 'l-big' AND what = 'shared')), 'not of another organisation');
RESET ROLE;

-- by index: no table of tokens is read whole
CREATE FUNCTION pg_temp.rows_read(statement text, role text DEFAULT 'l_op') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint;
    tables regclass[] := '{walwarden_internal.token,walwarden_internal.credential,walwarden_internal.token_usage}';
BEGIN
    SELECT sum(pg_stat_get_xact_tuples_returned(t)) INTO before FROM unnest(tables) AS t;
    EXECUTE format('SET LOCAL ROLE %I', role);
    EXECUTE statement;
    RESET ROLE;
    RETURN (SELECT sum(pg_stat_get_xact_tuples_returned(t)) - before FROM unnest(tables) AS t);
END
$$;
SELECT cmp_ok(pg_temp.rows_read(s), '<', 10::bigint, s)
  FROM unnest(ARRAY[format('SELECT FROM walwarden.get_token(%L)', :'id'), format('SELECT FROM walwarden.find_tokens(%L)', left(:'print', 12)), 'SELECT FROM walwarden.list_tokens(''l-small'')',
                    'SELECT FROM walwarden.list_tokens(''l-big'', max_rows => 3)']) AS s;
SELECT cmp_ok(pg_temp.rows_read('SELECT FROM walwarden.token_list'), '>=', 1200::bigint, 'a table that is read whole counts');
SELECT cmp_ok(pg_temp.rows_read('SELECT FROM walwarden.token_list', 'l_member'), '<', 10::bigint, 'the view, for a member');

-- A row of a list costs a look-up of its usage and one of its values; what tokens share is looked up once a list.
CREATE FUNCTION pg_temp.scans(tables regclass[]) RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(pg_stat_get_xact_numscans(r))
      FROM (SELECT unnest(tables) UNION ALL SELECT i.indexrelid FROM pg_index AS i WHERE i.indrelid = ANY (tables)) AS u(r)
$$;
CREATE FUNCTION pg_temp.scanned(statement text, tables regclass[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    before bigint := pg_temp.scans(tables);
BEGIN
    EXECUTE statement;
    RETURN pg_temp.scans(tables) - before;
END
$$;
SELECT count(*) AS listed FROM walwarden.list_tokens('l-big') \gset
SELECT is(pg_temp.scanned('SELECT FROM walwarden.list_tokens(''l-big'')', ARRAY[t]), :'listed'::bigint, t || ': once a row')
  FROM unnest('{walwarden_internal.token_usage,walwarden_internal.credential}'::regclass[]) AS t;
SELECT cmp_ok(pg_temp.scanned(s, '{walwarden_internal.token,walwarden_internal.org,walwarden_internal.plan,walwarden_internal.member,walwarden_internal.role,walwarden_internal.role_override,walwarden_internal.scope}'), '<', 100::bigint, 'what tokens share: once, ' || s)
  FROM unnest(ARRAY['SELECT FROM walwarden.list_tokens(''l-big'')', 'SELECT FROM walwarden.list_tokens(''l-own'')']) AS s;

-- entries, too
SELECT is(array(SELECT seq FROM walwarden.list_audit('l-big')), array(SELECT seq FROM walwarden_internal.audit_entry WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'l-big') ORDER BY seq), 'list_audit() shows all entries');
SELECT cmp_ok(count(*), '>', 1200::bigint, 'more than any page') FROM walwarden.list_audit('l-big', max_rows => 5000);
SELECT is((SELECT count(*) FROM walwarden.list_audit('l-big', 3, 1100)), 1100::bigint, 'or a page of any size');
SELECT is((SELECT count(*) FROM walwarden.list_audit('l-big') WHERE kind = 'token.revoked'), 2::bigint, 'the last of them by kind');

SELECT * FROM finish();
ROLLBACK;
