-- What the extension is measured against. psql -v noop=FILE: the library made of
-- bench/noop.c.

-- A C function of the shape of has_scope() that only returns true.
CREATE FUNCTION bench.noop(text) RETURNS boolean
    LANGUAGE C STABLE PARALLEL RESTRICTED AS :'noop', 'bench_true';
CREATE FUNCTION bench.noop(text, text) RETURNS boolean
    LANGUAGE C VOLATILE AS :'noop', 'bench_true';
CREATE FUNCTION bench.sha256_ms(text[]) RETURNS float8
    LANGUAGE C VOLATILE AS :'noop', 'bench_sha256_ms';

-- Verification of API keys as PL/pgSQL packages do it: the key by its digest, the
-- permissions by a join, the time of use, the answer. The columns are those that it
-- needs; the digest is text, and fillfactor makes the UPDATE as cheap as it can be.
CREATE TABLE bench.api_key (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL,
    key_digest   text NOT NULL UNIQUE,
    role_id      integer NOT NULL,
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz
) WITH (fillfactor = 50);
CREATE TABLE bench.permission (id integer PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE bench.role_permission (role_id integer, permission_id integer, PRIMARY KEY (role_id, permission_id));
INSERT INTO bench.api_key
SELECT bench.token_id(i), bench.org_id(i), encode(digest(bench.token(i), 'sha256'), 'hex'), 1 + i % 5
  FROM generate_series(1, 1000) AS i;
INSERT INTO bench.permission
SELECT row_number() OVER (ORDER BY s.name), s.name FROM walwarden_internal.scope AS s;
INSERT INTO bench.role_permission
SELECT r, p.id FROM generate_series(1, 5) AS r, bench.permission AS p;

CREATE FUNCTION bench.verify_api_key(key text, wanted text) RETURNS uuid
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = bench, public, pg_temp
AS $$
DECLARE
    k bench.api_key;
    granted text[];
BEGIN
    SELECT * INTO k FROM bench.api_key AS a WHERE a.key_digest = encode(digest(key, 'sha256'), 'hex');
    IF NOT FOUND OR k.revoked_at IS NOT NULL OR k.expires_at <= now() THEN
        RAISE EXCEPTION 'invalid API key' USING ERRCODE = '28000';
    END IF;
    SELECT array_agg(p.name) INTO granted
      FROM bench.role_permission AS r JOIN bench.permission AS p ON p.id = r.permission_id
     WHERE r.role_id = k.role_id;
    IF NOT wanted = ANY (granted) THEN
        RAISE EXCEPTION 'permission denied' USING ERRCODE = '42501';
    END IF;
    UPDATE bench.api_key AS a SET last_used_at = now() WHERE a.id = k.id;
    RETURN k.id;
END
$$;

-- A JWT verified in SQL: HS256 by pgcrypto, then the claims.
CREATE FUNCTION bench.from_base64url(value text) RETURNS bytea
    LANGUAGE sql IMMUTABLE
    RETURN decode(rpad(translate(value, '-_', '+/'), (length(value) + 3) / 4 * 4, '='), 'base64');
CREATE FUNCTION bench.to_base64url(value bytea) RETURNS text
    LANGUAGE sql IMMUTABLE
    RETURN rtrim(translate(encode(value, 'base64'), E'+/\n', '-_'), '=');

CREATE FUNCTION bench.sign_jwt(claims json, secret text) RETURNS text
    LANGUAGE sql
    SET search_path = bench, public, pg_temp
AS $$
    SELECT signed || '.' || to_base64url(hmac(signed, secret, 'sha256'))
      FROM (SELECT to_base64url('{"alg":"HS256","typ":"JWT"}') || '.' || to_base64url(convert_to(claims::text, 'UTF8'))) AS j(signed)
$$;

CREATE FUNCTION bench.verify_jwt(token text, secret text, wanted text) RETURNS text
    LANGUAGE plpgsql
AS $$
DECLARE
    part text[] := string_to_array(token, '.');
    claims jsonb;
BEGIN
    IF hmac(part[1] || '.' || part[2], secret, 'sha256') IS DISTINCT FROM bench.from_base64url(part[3]) THEN
        RAISE EXCEPTION 'invalid JWT' USING ERRCODE = '28000';
    END IF;
    claims := convert_from(bench.from_base64url(part[2]), 'UTF8')::jsonb;
    IF (claims ->> 'exp')::bigint <= extract(epoch FROM clock_timestamp()) THEN
        RAISE EXCEPTION 'JWT expired' USING ERRCODE = '28000';
    END IF;
    IF NOT string_to_array(claims ->> 'scope', ' ') @> ARRAY[wanted] THEN
        RAISE EXCEPTION 'permission denied' USING ERRCODE = '42501';
    END IF;
    PERFORM set_config('request.jwt.claims', claims::text, true);
    RETURN claims ->> 'role';
END
$$;

-- One table, four readers, four policies.
CREATE TABLE bench.document (id integer, title text);
INSERT INTO bench.document SELECT i, 'document ' || i FROM generate_series(1, :documents) AS i;
ALTER TABLE bench.document ENABLE ROW LEVEL SECURITY;
CREATE ROLE bench_noop;
CREATE ROLE bench_scope;
CREATE ROLE bench_true;
CREATE ROLE bench_subselect;
GRANT USAGE ON SCHEMA bench TO bench_noop, bench_scope, bench_true, bench_subselect;
GRANT SELECT ON bench.document TO bench_noop, bench_scope, bench_true, bench_subselect;
CREATE POLICY noop ON bench.document TO bench_noop USING (bench.noop('databases:read'));
CREATE POLICY scope ON bench.document TO bench_scope USING (walwarden.has_scope('databases:read'));
CREATE POLICY everything ON bench.document TO bench_true USING (true);
CREATE POLICY subselect ON bench.document TO bench_subselect USING ((SELECT walwarden.has_scope('databases:read')));

-- The audit table without what makes it one.
CREATE TABLE bench.plain_entry (LIKE walwarden_internal.audit_entry INCLUDING INDEXES);
CREATE SEQUENCE bench.plain_seq;

-- Microseconds an entry, of n entries in one statement; each time in a chain of its own.
CREATE FUNCTION bench.append_us(n integer) RETURNS float8
    LANGUAGE plpgsql
AS $$
DECLARE
    chain uuid := gen_random_uuid();
    start timestamptz := clock_timestamp();
BEGIN
    INSERT INTO walwarden_internal.audit_entry (org_id, kind, body)
    SELECT chain, 'app.bench', '{"data": {"note": "one of many"}}' FROM generate_series(1, n);
    RETURN 1000000 * extract(epoch FROM clock_timestamp() - start) / n;
END
$$;

-- A chain of n bodies of 400 bytes, and how long its verification takes beside
-- SHA-256 alone, in milliseconds.
CREATE FUNCTION bench.verify_ms(n integer, rounds integer) RETURNS TABLE (verify float8, sha256 float8)
    LANGUAGE plpgsql
    SET work_mem = '256MB'
AS $$
DECLARE
    chain uuid := gen_random_uuid();
    bodies text[];
    start timestamptz;
    found text;
BEGIN
    FOR i IN 1 .. n / 1000 LOOP
        INSERT INTO walwarden_internal.audit_entry (org_id, kind, body)
        SELECT chain, 'app.bench', format('{"data": {"note": "%s"}}', repeat('x', 245)) FROM generate_series(1, 1000);
    END LOOP;
    bodies := ARRAY(SELECT e.body FROM walwarden_internal.audit_entry AS e WHERE e.org_id = chain);
    FOR i IN 1 .. rounds LOOP
        sha256 := bench.sha256_ms(bodies);
        start := clock_timestamp();
        SELECT v.reason INTO STRICT found FROM walwarden_internal.verify_chain(chain, NULL, NULL) AS v;
        verify := 1000 * extract(epoch FROM clock_timestamp() - start);
        IF found IS NOT NULL THEN
            RAISE EXCEPTION 'the chain does not verify: %', found;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;
