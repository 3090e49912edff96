-- Proofs about a chain, compared with the definitions of RFC 6962, section 2.1.
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset fieldsep '\n'
BEGIN;
SELECT no_plan();

SELECT walwarden.create_org('proof') IS NOT NULL, walwarden.create_org('proof2') IS NOT NULL \g /dev/null
SELECT walwarden.append_audit('app.x', '{}', NULL, 'proof') FROM generate_series(1, 21) \g /dev/null
SELECT id AS org FROM walwarden_internal.org WHERE slug = 'proof' \gset
CREATE TEMP TABLE leaf AS SELECT a.seq, sha256('\x00'::bytea || a.hash) AS hash FROM walwarden.list_audit('proof') AS a;
SELECT is((SELECT count(*) FROM leaf), 22::bigint, 'entries');

-- MTH(D[a:b]), PATH(m, D[a:b]) and SUBPROOF(m, D[a:b], whole)
CREATE FUNCTION half(n bigint) RETURNS bigint LANGUAGE sql AS $$ SELECT max(1::bigint << i) FROM generate_series(0, 40) AS i WHERE 1::bigint << i < n $$;
CREATE FUNCTION mth(a bigint, b bigint) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
    IF b - a = 1 THEN
        RETURN (SELECT hash FROM leaf WHERE seq = b);
    END IF;
    RETURN sha256('\x01'::bytea || mth(a, a + half(b - a)) || mth(a + half(b - a), b));
END
$$;
CREATE FUNCTION path(m bigint, a bigint, b bigint) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    k bigint := half(b - a);
BEGIN
    RETURN CASE WHEN b - a = 1 THEN '' WHEN m < k THEN path(m, a, a + k) || mth(a + k, b) ELSE path(m - k, a + k, b) || mth(a, a + k) END;
END
$$;
CREATE FUNCTION subproof(m bigint, a bigint, b bigint, whole boolean) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
    k bigint := half(b - a);
BEGIN
    RETURN CASE WHEN m = b - a THEN CASE WHEN whole THEN '' ELSE mth(a, b) END
                WHEN m <= k THEN subproof(m, a, a + k, whole) || mth(a + k, b) ELSE subproof(m - k, a + k, b, false) || mth(a, a + k) END;
END
$$;
CREATE FUNCTION proofs(sizes bigint[], roots bytea[], old_size bigint DEFAULT NULL, seqs bigint[] DEFAULT '{1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22}',
                       OUT chosen integer, OUT inclusion bytea[], OUT consistency bytea) LANGUAGE sql AS $$
    SELECT f.* FROM walwarden_internal.chain_proofs((SELECT id FROM walwarden_internal.org WHERE slug = 'proof'), sizes, roots, seqs, old_size) AS f
$$;

-- every size, every entry, every older size
SELECT is(p.chosen, 1, format('root of %s', n)),
       is(p.inclusion, ARRAY(SELECT CASE WHEN i <= n THEN path(i - 1, 0, n) END FROM generate_series(1, 22) AS i), format('paths of %s', n))
  FROM generate_series(1, 22) AS n, proofs(ARRAY[n], ARRAY[mth(0, n)]) AS p;
SELECT is(p.consistency, CASE WHEN m BETWEEN 1 AND n - 1 THEN subproof(m, 0, n, true) END, format('%s begins with %s', n, m)),
       is(p.inclusion[3], CASE WHEN n >= 3 THEN path(2, 0, n) END, format('and the path of the third of %s', n))
  FROM generate_series(1, 22) AS n, generate_series(-1, 23) AS m, proofs(ARRAY[n], ARRAY[mth(0, n)], m) AS p;
SELECT is(p.inclusion, ARRAY[path(2, 0, 20), path(16, 0, 20), path(19, 0, 20), NULL], 'some entries')
  FROM proofs(ARRAY[20], ARRAY[mth(0, 20)], NULL, '{3,17,20,21}') AS p;

-- of several claims, the last that is true
SELECT is(p.chosen, v.chosen, v.what), is(p.inclusion[5], CASE WHEN v.size >= 5 THEN path(4, 0, v.size) END, 'and its proof'), is(p.consistency, CASE WHEN v.size > 4 THEN subproof(4, 0, v.size, true) END, 'its consistency')
  FROM (VALUES ('the largest', 3, 20, ARRAY[4, 11, 20], ARRAY[mth(0, 4), mth(0, 11), mth(0, 20)]),
               ('the second of the largest', 2, 11, ARRAY[4, 11, 20], ARRAY[mth(0, 4), mth(0, 11), mth(0, 19)]),
               ('one of the same size', 2, 11, ARRAY[11, 11, 11], ARRAY[mth(0, 10), mth(0, 11), mth(0, 12)]),
               ('the last of the same size', 2, 11, ARRAY[11, 11], ARRAY[mth(0, 11), mth(0, 11)]),
               ('one that is not larger than the old size', 1, 4, ARRAY[4, 22], ARRAY[mth(0, 4), mth(0, 4)]),
               ('a root of another length', 1, 4, ARRAY[4, 8, 9], ARRAY[mth(0, 4), substr(mth(0, 8), 1, 31), '']),
               ('more than there are', 1, 4, ARRAY[4, 23], ARRAY[mth(0, 4), mth(0, 22)]),
               ('none', NULL, 0, ARRAY[11], ARRAY[mth(0, 12)]),
               ('no claim', NULL, 0, '{}', '{}')) AS v(what, chosen, size, sizes, roots),
       proofs(v.sizes::bigint[], v.roots, 4) AS p;
SELECT is(p.inclusion, '{}', 'no entries') FROM proofs('{2}', ARRAY[mth(0, 2)], NULL, '{}') AS p;
SELECT throws_ok(statement, NULL, message, message)
  FROM (VALUES ($$SELECT proofs('{2,1}', ARRAY[''::bytea, ''])$$, 'sizes are not in order'), ($$SELECT proofs('{2}', '{}')$$, 'as many roots as sizes are needed'),
               ($$SELECT proofs('{}', '{}', NULL, '{2,2}')$$, 'seqs are not in order'), ($$SELECT proofs('{}', '{}', NULL, '{0}')$$, 'seqs are not in order'), ($$SELECT proofs('{NULL}', '{NULL}')$$, 'array contains nulls')) AS v(statement, message);

-- a chain with a gap has no larger tree
SET session_replication_role = replica;
ALTER TABLE walwarden_internal.audit_entry DISABLE TRIGGER ALL;
DELETE FROM walwarden_internal.audit_entry WHERE org_id = :'org' AND seq = 12;
SELECT is(p.chosen, 1, 'only what is before the gap') FROM proofs('{11,12,22}', ARRAY[mth(0, 11), mth(0, 12), mth(0, 22)]) AS p;

SELECT * FROM finish();
ROLLBACK;
