-- (f(...)).* calls f once for each column. For functions that mint, that is refused.
BEGIN;
SELECT no_plan();

SELECT walwarden.create_org('acme'), walwarden.add_member('acme', 'ann', 'owner') \g /dev/null
SELECT token_id AS id FROM walwarden.issue_token('acme', 'kept') \gset
CREATE TABLE kept AS SELECT :'id'::uuid AS id;

-- How many entries a statement appends, or how it fails.
CREATE FUNCTION appends(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    before bigint := (SELECT count(*) FROM walwarden_internal.audit_entry);
    state text;
BEGIN
    BEGIN
        EXECUTE statement;
    EXCEPTION WHEN OTHERS THEN
        state := SQLSTATE || ' ';
    END;
    RETURN concat(state, (SELECT count(*) FROM walwarden_internal.audit_entry) - before);
END
$$;
CREATE FUNCTION wrapped(name text) RETURNS record LANGUAGE sql AS $$SELECT walwarden.issue_token('acme', name)$$;
CREATE FUNCTION inlined(name text) RETURNS text LANGUAGE sql AS $$SELECT (walwarden.issue_token('acme', name)).token$$;
CREATE FUNCTION stable_loop() RETURNS text LANGUAGE plpgsql STABLE AS $$
DECLARE
    r record;
BEGIN
    FOR i IN 1..3 LOOP
        EXECUTE $q$SELECT walwarden.issue_token('acme', 'x')$q$ INTO r;
    END LOOP;
    RETURN r;
END
$$;
CREATE TABLE part (i int) PARTITION BY LIST (i);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2);
CREATE TABLE child () INHERITS (kept);
CREATE TABLE defaults (a text DEFAULT (walwarden.issue_token('acme', 'x')).token, b int);
INSERT INTO part VALUES (1), (1), (2), (2);
PREPARE expanded(text) AS SELECT (walwarden.issue_token('acme', $1)).*;
PREPARE plain(text) AS SELECT * FROM walwarden.issue_token('acme', $1);

SELECT is(appends(statement), expected, statement)
  FROM (VALUES
    ($$SELECT (walwarden.issue_token('acme', 'x')).*$$, '0A000 0'),
    ($$SELECT (walwarden.issue_token('acme', 'x')).* FROM generate_series(1, 2)$$, '0A000 0'),
    ($$SELECT (walwarden.issue_token('acme', 'x' || i)).* FROM part$$, '0A000 0'),
    ($$SELECT (walwarden.renew_token(id)).* FROM kept$$, '0A000 0'),
    ($$SELECT (walwarden.import_legacy_credential('acme', 'ann', gen_random_uuid(), repeat('s', 32))).*$$, '0A000 0'),
    ($$EXECUTE expanded('x')$$, '0A000 0'),
    ($$SELECT (walwarden.issue_token((SELECT slug FROM walwarden.list_orgs() WHERE slug = 'acme'), 'x')).*$$, '0A000 0'),
    ($$SELECT (walwarden.issue_token('acme', 'x', ARRAY(SELECT 'databases:read'))).*$$, '0A000 0'),
    ($$SELECT (walwarden.issue_token('acme', (SELECT k.id::text || max(i) FROM part WHERE k.id IS NOT NULL))).* FROM kept AS k$$, '0A000 0'),
    ($$SELECT (walwarden.renew_token((SELECT id FROM kept))).*$$, '0A000 0'),
    ($$CREATE TEMP TABLE t AS SELECT (walwarden.issue_token('acme', 'x')).*$$, '0A000 0'),
    ($$INSERT INTO defaults SELECT (f).name, 1 FROM (SELECT (walwarden.issue_token('acme', 'x')).*) AS f$$, '0A000 0'),
    ($$DO 'DECLARE r record; BEGIN SELECT (walwarden.issue_token(''acme'', ''x'')).* INTO r; END'$$, '0A000 0'),

    ($$SELECT * FROM walwarden.issue_token('acme', 'x')$$, '1'),
    ($$SELECT walwarden.issue_token('acme', 'x')$$, '1'),
    ($$SELECT (walwarden.issue_token('acme', 'x')).token$$, '1'),
    ($$SELECT (t.f).* FROM (SELECT walwarden.issue_token('acme', 'x') AS f OFFSET 0) AS t$$, '1'),
    ($$SELECT walwarden.issue_token('acme', 'x') FROM generate_series(1, 3)$$, '3'),
    ($$SELECT t.* FROM generate_series(1, 3) AS i, walwarden.issue_token('acme', 'x' || i) AS t$$, '3'),
    ($$SELECT walwarden.issue_token('acme', 'x'), walwarden.issue_token('acme', 'x')$$, '2'),
    ($$SELECT (walwarden.issue_token('acme', 'x')).token, (walwarden.issue_token('acme', 'x')).token$$, '2'),
    ($$SELECT walwarden.issue_token('acme', 'x') UNION ALL SELECT walwarden.issue_token('acme', 'x')$$, '2'),
    ($$SELECT wrapped('a'), wrapped('b')$$, '2'),
    ($$SELECT wrapped((SELECT 'a')), wrapped((SELECT 'b'))$$, '2'),
    ($$SELECT inlined((SELECT 'a')), inlined((SELECT 'b'))$$, '2'),
    ($$SELECT inlined('a'), inlined((SELECT 'a'))$$, '2'),
    ($$SELECT walwarden.issue_token('acme', (SELECT 'x')), walwarden.issue_token('acme', (SELECT 'x'))$$, '2'),
    ($$SELECT walwarden.issue_token('acme', (SELECT 'x')) FROM part$$, '4'),
    ($$SELECT (walwarden.issue_token('acme', (SELECT 'x' || p.i))).token FROM part AS p$$, '4'),
    ($$SELECT walwarden.issue_token('acme', 'x') FROM part$$, '4'),
    ($$SELECT (walwarden.issue_token('acme', 'x')).token FROM part$$, '4'),
    ($$UPDATE part SET i = i WHERE (walwarden.issue_token('acme', 'x')).token IS NOT NULL$$, '4'),
    ($$SELECT walwarden.issue_token('acme', 'x'), (SELECT count(*) FROM kept)$$, '1'),
    ($$INSERT INTO defaults (b) SELECT generate_series(1, 3)$$, '3'),
    ($$INSERT INTO defaults (b) VALUES (1), (2)$$, '2'),
    ($$EXECUTE plain('x')$$, '1'),
    ($$SELECT stable_loop()$$, '3'),
    ($$SELECT walwarden.renew_token(id) FROM kept$$, '1'),
    ($$DO 'DECLARE a record; b record; BEGIN a := walwarden.issue_token(''acme'', ''x''); b := walwarden.issue_token(''acme'', ''x''); FOR i IN 1..2 LOOP a := walwarden.issue_token(''acme'', ''x''); END LOOP; END'$$, '4')
  ) AS v(statement, expected);

-- a call that was rolled back does not count
SELECT walwarden.issue_token('acme', 'x') \g /dev/null
SAVEPOINT s;
SELECT walwarden.issue_token('acme', 'x') \g /dev/null
ROLLBACK TO s;
SELECT lives_ok($$SELECT walwarden.issue_token('acme', 'x')$$, 'after a savepoint');

SELECT * FROM finish();
ROLLBACK;
