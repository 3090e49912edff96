-- The last stored verification of each chain.
CREATE TABLE walwarden_internal.verification (
    org_id        uuid PRIMARY KEY,
    finished_at   timestamptz NOT NULL,
    entries       bigint NOT NULL,
    head_hash     text NOT NULL,
    ok            boolean NOT NULL,
    first_bad_seq bigint,
    reason        text
);
-- for maintenance: those that are old
CREATE INDEX verification_by_age ON walwarden_internal.verification (finished_at);
COMMENT ON TABLE walwarden_internal.verification IS 'The last stored verification of each audit chain.';
COMMENT ON COLUMN walwarden_internal.verification.entries IS 'number of entries';
COMMENT ON COLUMN walwarden_internal.verification.head_hash IS 'lower-case hex: hash of the last entry';
COMMENT ON COLUMN walwarden_internal.verification.first_bad_seq IS 'seq of the first finding; NULL if there is none, or if it does not concern a single entry';

-- Verifies the entries and links of one chain, streamed in the order of seq, and the expected
-- head if one is given. compare_rows: if the entries are sound, then compare the rows of the view
-- described_row with them; difference is the first in the order of cross_check(). credentials: how
-- many of the chain's tokens, each of which is what its token and its entry say; NULL if that is not known
-- of all, or if there is a difference. src/audit/described.c has the query.
CREATE FUNCTION walwarden_internal.verify_chain(
        org_id uuid, expected_seq bigint, expected_hash text, compare_rows boolean DEFAULT false,
        OUT entries bigint, OUT head_hash text, OUT first_bad_seq bigint, OUT reason text,
        OUT differing_seq bigint, OUT difference text, OUT credentials bigint)
    LANGUAGE C STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_seqscan = off    -- one plan is for all chains, and most are a small part of each table
    SET jit = off               -- compiling would take longer than running
    AS 'MODULE_PATHNAME', 'walwarden_verify_chain';

-- Whether body, which is canonical, contains this commitment among the credentials of the state
-- after the change.
CREATE FUNCTION walwarden_internal.commits_to(body text, commitment text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_commits_to';

-- The sort order of keys in canonical JSON: UTF-16 code units, here as bytes.
CREATE FUNCTION walwarden_internal.utf16(key text) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(string_agg(CASE WHEN u.cp < 65536 THEN decode(lpad(to_hex(u.cp), 4, '0'), 'hex')
                                    ELSE decode(to_hex(55296 + ((u.cp - 65536) >> 10)) || to_hex(56320 + ((u.cp - 65536) & 1023)), 'hex') END,
                               '' ORDER BY u.n), '')
      FROM (SELECT n, ascii(substr(key, n, 1)) FROM generate_series(1, length(key)) AS n) AS u(n, cp)
$$;

-- An integer within +-(2^53-1), or NULL.
CREATE FUNCTION walwarden_internal.canonical_number(value jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT CASE WHEN value::text ~ '^(0|-?[1-9][0-9]{0,15})$' AND abs(value::text::numeric) <= 9007199254740991
                    THEN value::text END;
    END;

-- Canonical JSON without the C code, for the SQL verifier. The result is NULL, or differs from
-- the body, if the body is not canonical. Recurses only into arrays and objects. astral:
-- whether there are characters beyond U+FFFF; if not, keys can be sorted by bytes.
CREATE FUNCTION walwarden_internal.canonical(value jsonb, astral boolean, depth integer DEFAULT 1) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan    -- planning would take longer than the rest
AS $$
BEGIN
    IF depth > 64 THEN
        RETURN NULL;
    ELSIF jsonb_typeof(value) = 'object' THEN
        RETURN '{' || coalesce((
            SELECT string_agg(to_jsonb(m.key)::text || ':'
                              || CASE jsonb_typeof(m.value)
                                     WHEN 'object' THEN walwarden_internal.canonical(m.value, astral, depth + 1)
                                     WHEN 'array' THEN walwarden_internal.canonical(m.value, astral, depth + 1)
                                     WHEN 'number' THEN walwarden_internal.canonical_number(m.value)
                                     ELSE m.value::text END,
                              ',' ORDER BY CASE WHEN astral THEN walwarden_internal.utf16(m.key) END, m.key COLLATE "C")
              FROM jsonb_each(value) AS m), '') || '}';
    ELSIF jsonb_typeof(value) = 'array' THEN
        RETURN '[' || coalesce((
            SELECT string_agg(CASE jsonb_typeof(e.value)
                                  WHEN 'object' THEN walwarden_internal.canonical(e.value, astral, depth + 1)
                                  WHEN 'array' THEN walwarden_internal.canonical(e.value, astral, depth + 1)
                                  WHEN 'number' THEN walwarden_internal.canonical_number(e.value)
                                  ELSE e.value::text END,
                              ',' ORDER BY e.n)
              FROM jsonb_array_elements(value) WITH ORDINALITY AS e(value, n)), '') || ']';
    END IF;
    RETURN NULL;    -- no entry is a scalar
END
$$;

-- The same without a line of this extension's C: hashes by pgcrypto, rendering by to_char.
-- Streaming too: without sorts, entries come in the order of the primary key.
CREATE FUNCTION walwarden_internal.verify_chain_sql(
        org_id uuid, OUT entries bigint, OUT head_hash text, OUT first_bad_seq bigint, OUT reason text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET enable_sort = off
    SET jit = off       -- compiling would take longer than running
AS $$
    WITH linked AS (
        SELECT e.*, walwarden_internal.json_or_null(e.body) AS json,
               row_number() OVER w AS n,
               lag(e.at) OVER w AS at_before,
               coalesce(lag(e.hash) OVER w,
                        walwarden_internal.digest_sha256(convert_to('walwarden/audit/v2:' || e.org_id::text, 'UTF8'))) AS want_prev
          FROM walwarden_internal.audit_entry AS e
         WHERE e.org_id = $1
        WINDOW w AS (ORDER BY e.seq)
    ), judged AS (
        SELECT l.seq, l.n,
               CASE
                   WHEN num_nulls(l.at, l.kind, l.body, l.prev_hash, l.hash) > 0 THEN 'columns differ from the body'
                   WHEN l.seq <> l.n THEN 'entry is missing'
                   WHEN l.hash <> walwarden_internal.digest_sha256(convert_to(encode(l.prev_hash, 'hex') || l.body, 'UTF8'))
                       THEN 'hash does not match the body'
                   WHEN octet_length(l.body) > 65536 OR walwarden_internal.canonical(l.json, l.body ~ E'[\U00010000-\U0010FFFF]') IS DISTINCT FROM l.body
                       THEN 'body is not canonical JSON'
                   WHEN starts_with(l.body,
                            '{"at":"' || walwarden_internal.iso(l.at) || '","jobId":' || coalesce('"' || l.job_id::text || '"', 'null')
                            || ',"kind":"' || l.kind || '","payload":{') IS NOT TRUE
                        OR l.json - '{at,jobId,kind,payload}'::text[] <> '{}'
                        OR l.json #> '{payload,org}' IS DISTINCT FROM to_jsonb(l.org_id)
                        OR l.json #> '{payload,seq}' IS DISTINCT FROM to_jsonb(l.seq)
                       THEN 'columns differ from the body'
                   WHEN l.prev_hash <> l.want_prev THEN 'prev_hash does not match the hash of the previous entry'
                   WHEN l.at < l.at_before THEN 'at is earlier than in the previous entry'
               END AS reason
          FROM linked AS l
    )
    SELECT (SELECT count(*) FROM walwarden_internal.audit_entry AS e WHERE e.org_id = $1),
           coalesce((SELECT encode(e.hash, 'hex') FROM walwarden_internal.audit_entry AS e WHERE e.org_id = $1 ORDER BY e.seq DESC LIMIT 1),
                    encode(walwarden_internal.digest_sha256(convert_to('walwarden/audit/v2:' || $1::text, 'UTF8')), 'hex')),
           bad.n, bad.reason
      FROM (VALUES (true)) AS chain
      LEFT JOIN (SELECT j.n, j.reason FROM judged AS j WHERE j.reason IS NOT NULL ORDER BY j.seq LIMIT 1) AS bad ON true
$$;
