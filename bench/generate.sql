-- Data for the benchmarks. By hand, as a superuser in a database with the extension:
--
--     \i bench/generate.sql
--     CALL bench.generate(10000);                 -- tokens 1 .. 10000
--     CALL bench.done();
--     CALL bench.generate_overdue(10000, 10001, 10500);   -- 500 more that maintenance is to remove
--
-- Every token has its credential, its row of last use and its entry token.issued, so
-- that verify_audit_chain() finds nothing. Token i is bench.token(i), its id
-- bench.token_id(i). The first tenth of the tokens belongs to org-1, each thousand of
-- the others to an organisation of its own: org-2, org-3 ...
--
-- Entries are appended by the table's own trigger, as all entries are. What is left
-- out: the doors, which check what is known to be good here, and foreign keys. Two
-- connections share the work:
--
--     CALL bench.generate(10000000, 0, 2);        -- and at the same time, elsewhere:
--     CALL bench.generate(10000000, 1, 2);

CREATE SCHEMA bench;

-- make_tokens() puts in what these triggers would copy, row by row.
ALTER TABLE walwarden_internal.credential DISABLE TRIGGER copy_token_status;
ALTER TABLE walwarden_internal.token DISABLE TRIGGER refresh_token_status;
CREATE PROCEDURE bench.done()
    LANGUAGE sql
AS $$
    ALTER TABLE walwarden_internal.credential ENABLE ALWAYS TRIGGER copy_token_status;
    ALTER TABLE walwarden_internal.token ENABLE ALWAYS TRIGGER refresh_token_status;
$$;

-- What the planner puts in the place of the call: the cast is immutable, what || does by itself is not.
-- It ends with a number of 19 digits, because that is what pgbench can make.
CREATE FUNCTION bench.token(i bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 'wal_000000000000000000000000000000000000000000000' || (1000000000000000000 + i)::text;

CREATE FUNCTION bench.token_id(i bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN md5('token ' || i::text)::uuid;

CREATE FUNCTION bench.org_id(o bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN md5('org ' || o::text)::uuid;

-- The organisation of a token, and its place there, from 1; tenth: how many org-1 has.
CREATE FUNCTION bench.org_of(i bigint, tenth bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN i <= tenth THEN 1 ELSE 2 + (i - tenth - 1) / 1000 END;
CREATE FUNCTION bench.place_of(i bigint, tenth bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN i <= tenth THEN i ELSE 1 + (i - tenth - 1) % 1000 END;

CREATE PROCEDURE bench.make_orgs(first bigint, last bigint)
    LANGUAGE sql
AS $$
    INSERT INTO walwarden_internal.org (id, slug, display_name, plan, created_at, audit_seq)
    SELECT bench.org_id(o), 'org-' || o, 'Org ' || o, 'team', '2020-01-01 00:00:00+00', 1
      FROM generate_series(first, last) AS o;
    INSERT INTO walwarden_internal.org_slug (slug, org_id)
    SELECT 'org-' || o, bench.org_id(o) FROM generate_series(first, last) AS o;
    INSERT INTO walwarden_internal.audit_entry (org_id, kind, body)
    SELECT o.id, 'org.created',
           walwarden_internal.change('{"kind": "operator", "role": "postgres", "login": "postgres"}', 'org', o.id::text, NULL, walwarden_internal.org_image(o, ARRAY[o.slug]))::text
      FROM generate_series(first, last) AS n JOIN walwarden_internal.org AS o ON o.id = bench.org_id(n);
$$;

-- Rows reach the trigger in the order of the numbers, so that the k-th token of an
-- organisation is described by entry k + 1.
CREATE PROCEDURE bench.make_tokens(first bigint, last bigint, tenth bigint, expires_at timestamptz)
    LANGUAGE plpgsql
AS $$
BEGIN
    CREATE TEMP TABLE made ON COMMIT DROP AS
        SELECT i, bench.token_id(i) AS id, bench.org_id(bench.org_of(i, tenth)) AS org_id, bench.place_of(i, tenth) + 1 AS seq,
               sha256(bench.token(i)::bytea) AS fingerprint, '2020-01-01 00:00:00+00'::timestamptz + i * interval '1 microsecond' AS at
          FROM generate_series(first, last) AS i;
    INSERT INTO walwarden_internal.audit_entry (org_id, kind, body)
    SELECT m.org_id, 'token.issued',
           -- what walwarden_internal.change() and token_image() make of it, at a tenth of the cost
           format('{"actor":{"kind":"operator","role":"postgres","login":"postgres"},"object":{"type":"token","id":"%1$s"},"before":null,"after":{'
                  '"id":"%1$s","name":"token %2$s","kind":"api","scopes":["databases:read","backups:trigger"],"role":null,"ownerId":null,'
                  '"createdAt":"%3$s","createdBy":"postgres","expiresAt":%4$s,"expiredAt":null,'
                  '"disabledAt":null,"disabledBy":null,"disabledByOwner":null,"disabledReason":null,'
                  '"revokedAt":null,"revokedBy":null,"revokedReason":null,"removedAt":null,'
                  '"credentials":[{"kind":"bearer","commitment":"%5$s","createdAt":"%3$s","validUntil":null}]}}',
                  m.id, m.i, walwarden_internal.iso(m.at), coalesce('"' || walwarden_internal.iso(expires_at) || '"', 'null'),
                  walwarden_internal.commitment(m.id, m.fingerprint))
      FROM made AS m ORDER BY m.i;
    INSERT INTO walwarden_internal.token (id, org_id, name, kind, scopes, created_at, created_by, expires_at, audit_seq)
    SELECT m.id, m.org_id, 'token ' || m.i, 'api', '{databases:read,backups:trigger}', m.at, 'postgres', expires_at, m.seq
      FROM made AS m;
    INSERT INTO walwarden_internal.credential (fingerprint, token_id, kind, created_at, audit_seq, org_id, token_kind, scopes, expires_at, slot)
    SELECT m.fingerprint, m.id, 'bearer', m.at, m.seq, m.org_id, 'api', '{databases:read,backups:trigger}', expires_at, 0
      FROM made AS m;
    INSERT INTO walwarden_internal.token_usage (token_id) SELECT m.id FROM made AS m;
    DROP TABLE made;
END
$$;

-- Commits as it goes: a transaction keeps the locks of all chains that it extended.
CREATE PROCEDURE bench.generate(tokens bigint, part integer DEFAULT 0, parts integer DEFAULT 1)
    LANGUAGE plpgsql
AS $$
DECLARE
    tenth bigint := tokens / 10;
    first bigint := tokens / parts * part + 1;
    last bigint := tokens / parts * (part + 1);
    n bigint;
BEGIN
    IF tokens % 10000 <> 0 OR parts NOT IN (1, 2) OR part NOT BETWEEN 0 AND parts - 1 THEN
        RAISE EXCEPTION 'give tokens in ten thousands, and 1 or 2 parts';
    END IF;
    PERFORM set_config('session_replication_role', 'replica', false);   -- no foreign keys; triggers ENABLE ALWAYS work on
    FOR n IN bench.org_of(first, tenth) .. bench.org_of(last, tenth) BY 1000 LOOP
        CALL bench.make_orgs(n, least(n + 999, bench.org_of(last, tenth)));
        COMMIT;
    END LOOP;
    FOR n IN first .. last BY 50000 LOOP
        CALL bench.make_tokens(n, least(n + 49999, last), tenth, NULL);
        COMMIT;
    END LOOP;
    PERFORM set_config('session_replication_role', 'origin', false);
END
$$;

-- After generate(tokens): the tokens from first on, expired years ago, in organisations of their own.
CREATE PROCEDURE bench.generate_overdue(tokens bigint, first bigint, last bigint)
    LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM set_config('session_replication_role', 'replica', true);
    CALL bench.make_orgs(bench.org_of(first, tokens / 10), bench.org_of(last, tokens / 10));
    CALL bench.make_tokens(first, last, tokens / 10, '2021-01-01 00:00:00+00');
END
$$;
