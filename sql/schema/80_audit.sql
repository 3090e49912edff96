-- Reading, extending and verifying the audit chain.

-- The chain that a name means: the org of a slug, or the system chain.
CREATE FUNCTION walwarden._chain(c walwarden.caller, org text, action text) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF org = '_system' THEN
        PERFORM walwarden._require(c, NULL, action, 'system');
        RETURN walwarden._system_org();
    END IF;
    RETURN (walwarden._org(c, org, action, 'org')).id;
END
$$;

CREATE FUNCTION walwarden._list_audit(org text, after_seq bigint, max_rows integer) RETURNS SETOF walwarden.audit_entry
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    chain uuid := walwarden._chain(c, org, 'audit.list');
BEGIN
    IF max_rows IS NULL OR max_rows < 1 OR max_rows > 1000 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'max_rows is not between 1 and 1000',
            HINT = 'List in pages: give the last seq of one page as after_seq of the next.';
    ELSIF after_seq IS NULL OR after_seq < 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'after_seq is missing or negative',
            HINT = 'Give the last seq of the page before, or 0 for the first page.';
    END IF;
    PERFORM walwarden._settle_audit();
    RETURN QUERY
        SELECT e.* FROM walwarden.audit_entry AS e WHERE e.org_id = chain AND e.seq > after_seq ORDER BY e.seq LIMIT max_rows;
END
$$;

-- Who did it, for entries that a token causes.
CREATE FUNCTION walwarden._token_actor(c walwarden.caller) RETURNS jsonb
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('kind', 'token', 'role', c.role, 'tokenId', walwarden.current_token_id(),
                              'subject', walwarden.current_subject())
$$;

CREATE FUNCTION walwarden._append_audit(kind text, payload jsonb, job_id uuid, org text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    chain uuid;
    actor jsonb;
BEGIN
    SELECT o.id INTO chain FROM walwarden.org AS o WHERE o.slug = coalesce(org, walwarden.current_org());
    IF chain = walwarden.current_org_id()
       AND walwarden._is_granted(c.role, '{rest}') THEN
        actor := walwarden._token_actor(c);
    ELSIF org IS NULL AND chain IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'organisation is missing',
            HINT = 'Name the organisation, or authenticate a token first.';
    ELSE
        chain := (walwarden._org(c, coalesce(org, walwarden.current_org()), 'audit.append', 'org')).id;
        PERFORM walwarden._hold_org(chain, 'audit.append', 'org');
        actor := walwarden._actor(c, chain);
    END IF;
    IF kind IS NULL OR kind !~ '^app([.][a-z0-9_]+)+$' OR length(kind) > 100 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('bad audit kind %s', walwarden._shown(kind)),
            HINT = 'Kinds of your own are app. and lower-case words with dots between them, at most 100 characters: app.invoice.sent.';
    ELSIF payload IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'payload is missing',
            HINT = 'Give any JSON value with integers only; {} is one.';
    END IF;
    RETURN walwarden._append(chain, kind, jsonb_build_object('actor', actor, 'data', payload), job_id);
END
$$;

-- One chain, streamed in the order of seq: its entries and links, and the
-- expected head when one is given.
CREATE FUNCTION walwarden._verify_chain(
        org_id uuid, expected_seq bigint, expected_hash text,
        OUT entries bigint, OUT head_hash text, OUT first_bad_seq bigint, OUT reason text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_verify_chain';

-- NULL for what is no JSON: a tampered body must give a verdict, not an error.
CREATE FUNCTION walwarden._json(body text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN body::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$$;

-- Order of keys in canonical JSON: UTF-16 code units, here as bytes.
CREATE FUNCTION walwarden._utf16(key text) RETURNS bytea
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(string_agg(CASE WHEN u.cp < 65536 THEN decode(lpad(to_hex(u.cp), 4, '0'), 'hex')
                                    ELSE decode(to_hex(55296 + ((u.cp - 65536) >> 10)) || to_hex(56320 + ((u.cp - 65536) & 1023)), 'hex') END,
                               '' ORDER BY u.n), '')
      FROM (SELECT n, ascii(substr(key, n, 1)) FROM generate_series(1, length(key)) AS n) AS u(n, cp)
$$;

-- An integer within +-(2^53-1), or NULL.
CREATE FUNCTION walwarden._canonical_number(value jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE
    BEGIN ATOMIC
        SELECT CASE WHEN value::text ~ '^(0|-?[1-9][0-9]{0,15})$' AND abs(value::text::numeric) <= 9007199254740991
                    THEN value::text END;
    END;

-- Canonical JSON without the C code, for the SQL verifier; NULL, or not equal to
-- the body, for what is not canonical. Calls itself for arrays and objects only.
-- astral: there are characters beyond U+FFFF, without which the order of bytes is
-- that of UTF-16 units.
CREATE FUNCTION walwarden._canonical(value jsonb, astral boolean, depth integer DEFAULT 1) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan    -- planning takes longer than the rest
AS $$
BEGIN
    IF depth > 64 THEN
        RETURN NULL;
    ELSIF jsonb_typeof(value) = 'object' THEN
        RETURN '{' || coalesce((
            SELECT string_agg(to_jsonb(m.key)::text || ':'
                              || CASE jsonb_typeof(m.value)
                                     WHEN 'object' THEN walwarden._canonical(m.value, astral, depth + 1)
                                     WHEN 'array' THEN walwarden._canonical(m.value, astral, depth + 1)
                                     WHEN 'number' THEN walwarden._canonical_number(m.value)
                                     ELSE m.value::text END,
                              ',' ORDER BY CASE WHEN astral THEN walwarden._utf16(m.key) END, m.key COLLATE "C")
              FROM jsonb_each(value) AS m), '') || '}';
    ELSIF jsonb_typeof(value) = 'array' THEN
        RETURN '[' || coalesce((
            SELECT string_agg(CASE jsonb_typeof(e.value)
                                  WHEN 'object' THEN walwarden._canonical(e.value, astral, depth + 1)
                                  WHEN 'array' THEN walwarden._canonical(e.value, astral, depth + 1)
                                  WHEN 'number' THEN walwarden._canonical_number(e.value)
                                  ELSE e.value::text END,
                              ',' ORDER BY e.n)
              FROM jsonb_array_elements(value) WITH ORDINALITY AS e(value, n)), '') || ']';
    END IF;
    RETURN NULL;    -- no entry is a scalar
END
$$;

-- The first difference between the present state and what the chain says of
-- it. Every described row must equal the entry that it names, every entry that
-- describes a row must find it at that entry or a later one, every credential
-- must be committed to by its entry, and the guards must be as they were made.
CREATE FUNCTION walwarden._cross_check(chain uuid, OUT bad_seq bigint, OUT reason text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET quote_all_identifiers = off     -- definitions are compared as text
AS $$
    WITH entry AS MATERIALIZED (
        SELECT e.seq, walwarden._json(e.body) -> 'payload' AS payload
          FROM walwarden.audit_entry AS e
         WHERE e.org_id = chain
    ), described AS MATERIALIZED (
        SELECT d.type, d.id, d.audit_seq, d.state
          FROM walwarden._described AS d
         WHERE d.org_id = chain
    ), finding AS (
        SELECT d.audit_seq AS seq, format('%s %s differs from entry %s', d.type, d.id, d.audit_seq) AS reason
          FROM described AS d
          LEFT JOIN entry AS e ON e.seq = d.audit_seq
         WHERE e.payload -> 'object' IS DISTINCT FROM jsonb_build_object('type', d.type, 'id', d.id)
            OR e.payload -> 'after' IS DISTINCT FROM d.state
        UNION ALL
        SELECT e.seq, format('%s %s of entry %s is missing', e.payload #>> '{object,type}', e.payload #>> '{object,id}', e.seq)
          FROM entry AS e
          LEFT JOIN described AS d ON d.type = e.payload #>> '{object,type}' AND d.id = e.payload #>> '{object,id}'
         WHERE e.payload ? 'object' AND d.id IS NULL
        UNION ALL
        SELECT e.seq, format('%s %s is older than entry %s', d.type, d.id, e.seq)
          FROM entry AS e
          JOIN described AS d ON d.type = e.payload #>> '{object,type}' AND d.id = e.payload #>> '{object,id}'
         WHERE d.audit_seq < e.seq
        UNION ALL
        SELECT j.audit_seq, format('job %s does not begin at entry %s', j.id, j.first_seq)
          FROM walwarden.job AS j
          LEFT JOIN entry AS e ON e.seq = j.first_seq
         WHERE j.org_id = chain
           AND (e.payload #>> '{object,id}' IS DISTINCT FROM j.id::text OR e.payload -> 'before' IS DISTINCT FROM 'null')
        UNION ALL
        SELECT c.audit_seq, format('a credential of token %s is not in entry %s', c.token_id, c.audit_seq)
          FROM walwarden.credential AS c
          JOIN walwarden.token AS t ON t.id = c.token_id AND t.org_id = chain
          LEFT JOIN entry AS e ON e.seq = c.audit_seq
         WHERE (e.payload #> '{after,credentials}' @> jsonb_build_array(jsonb_build_object(
                   'commitment', walwarden._commitment(c.token_id, c.fingerprint)))) IS NOT TRUE
        UNION ALL
        SELECT c.audit_seq, format('a credential of token %s does not have its standing', c.token_id)
          FROM walwarden.credential AS c
          JOIN walwarden.token AS t ON t.id = c.token_id AND t.org_id = chain
         WHERE walwarden._with_standing(c, t) IS DISTINCT FROM c
        UNION ALL
        SELECT c.audit_seq, format('a credential of token %s has no token', c.token_id)
          FROM walwarden.credential AS c
         WHERE c.org_id = chain AND NOT EXISTS (SELECT FROM walwarden.token AS t WHERE t.id = c.token_id)
        UNION ALL
        SELECT NULL, format('trigger %s on walwarden.%s is missing, altered or not ENABLE ALWAYS', p.trigger, p.relation)
          FROM walwarden._protecting_trigger AS p
         WHERE NOT EXISTS (SELECT FROM pg_trigger AS g JOIN pg_class AS r ON r.oid = g.tgrelid
                            WHERE r.relnamespace = 'walwarden'::regnamespace
                              AND r.relname = p.relation AND g.tgname = p.trigger
                              AND g.tgenabled = 'A' AND pg_get_triggerdef(g.oid) = p.definition)
        UNION ALL
        SELECT NULL, format('constraint %s of walwarden.audit_entry is missing, altered or not validated', p.name)
          FROM (VALUES ('audit_entry_holds',
                        'CHECK (walwarden._audit_entry_holds(org_id, seq, at, kind, job_id, body, prev_hash, hash))'),
                       ('audit_entry_pkey', 'PRIMARY KEY (org_id, seq)'),
                       ('audit_entry_org_id_prev_hash_key', 'UNIQUE (org_id, prev_hash)')) AS p(name, definition)
         WHERE NOT EXISTS (SELECT FROM pg_constraint AS k
                            WHERE k.conrelid = 'walwarden.audit_entry'::regclass
                              AND k.conname = p.name AND k.convalidated
                              AND pg_get_constraintdef(k.oid) = p.definition)
        UNION ALL
        SELECT NULL, format('rule %s stands on walwarden.%s', w.rulename, r.relname)
          FROM pg_rewrite AS w JOIN pg_class AS r ON r.oid = w.ev_class
         WHERE r.relnamespace = 'walwarden'::regnamespace AND r.relkind = 'r'
        UNION ALL
        SELECT NULL, 'the built-in catalogues are not as they were installed'
         WHERE walwarden._catalogue_digest() <> walwarden._catalogue_installed()
    )
    SELECT f.seq, f.reason FROM finding AS f ORDER BY f.seq NULLS LAST, f.reason LIMIT 1
$$;

-- Every chain there is: those of the orgs, the system's, and any that entries
-- name though its org is gone. Chains are found by skipping along the index.
CREATE FUNCTION walwarden._chains(OUT org_id uuid, OUT name text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE found AS (
        (SELECT e.org_id FROM walwarden.audit_entry AS e ORDER BY e.org_id LIMIT 1)
        UNION ALL
        SELECT (SELECT e.org_id FROM walwarden.audit_entry AS e WHERE e.org_id > f.org_id ORDER BY e.org_id LIMIT 1)
          FROM found AS f
         WHERE f.org_id IS NOT NULL
    ), chain AS (
        SELECT f.org_id FROM found AS f WHERE f.org_id IS NOT NULL
        UNION
        SELECT o.id FROM walwarden.org AS o
        UNION
        SELECT walwarden._system_org()
    )
    SELECT c.org_id, CASE WHEN c.org_id = walwarden._system_org() THEN '_system' ELSE coalesce(o.slug, c.org_id::text) END
      FROM chain AS c
      LEFT JOIN walwarden.org AS o ON o.id = c.org_id
     ORDER BY c.org_id <> walwarden._system_org(), o.slug, c.org_id
$$;

-- The entries of one chain, and once they are sound, the present state.
CREATE FUNCTION walwarden._verify(
        chain uuid, expected_seq bigint, expected_hash text,
        OUT entries bigint, OUT head_hash text, OUT first_bad_seq bigint, OUT reason text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT v.entries, v.head_hash, v.first_bad_seq, v.reason
      INTO entries, head_hash, first_bad_seq, reason
      FROM walwarden._verify_chain(chain, expected_seq, expected_hash) AS v;
    IF reason IS NULL THEN
        SELECT x.bad_seq, x.reason INTO first_bad_seq, reason FROM walwarden._cross_check(chain) AS x;
    END IF;
END
$$;

CREATE FUNCTION walwarden._verify_audit_chain(org text, expected_seq bigint, expected_hash text)
    RETURNS TABLE (org_name text, entries bigint, head_hash text, ok boolean, first_bad_seq bigint, reason text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    wanted uuid;
    chain record;
BEGIN
    IF org IS NULL THEN
        PERFORM walwarden._require(c, NULL, 'audit.verify', 'all');
    ELSE
        wanted := walwarden._chain(c, org, 'audit.verify');
    END IF;
    IF (expected_seq IS NULL) <> (expected_hash IS NULL) OR (org IS NULL AND expected_seq IS NOT NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'an expected head needs an organisation, a seq and a hash',
            HINT = 'Give all three, as an earlier verification of that chain returned them.';
    ELSIF expected_seq < 0 OR expected_hash !~ '^[0-9a-f]{64}$' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'bad expected head',
            HINT = 'seq is 0 or more; hash is 64 lower-case hex digits.';
    END IF;
    FOR chain IN SELECT k.org_id, k.name FROM walwarden._chains() AS k WHERE wanted IS NULL OR k.org_id = wanted LOOP
        org_name := chain.name;
        SELECT v.entries, v.head_hash, v.first_bad_seq, v.reason
          INTO entries, head_hash, first_bad_seq, reason
          FROM walwarden._verify(chain.org_id, expected_seq, expected_hash) AS v;
        ok := reason IS NULL;
        RETURN NEXT;
    END LOOP;
END
$$;

CREATE FUNCTION walwarden.list_audit(org text, after_seq bigint DEFAULT 0, max_rows integer DEFAULT 100) RETURNS SETOF walwarden.audit_entry
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.list_audit(text, bigint, integer) IS
'Lists the audit entries of an organisation, or of the system chain for org _system, in order: a page of max_rows (1 to 1000) after after_seq. For operators, and for owners and admins of the organisation. Errors: 42501 no right, 42704 unknown organisation, 22023 bad page. Example: SELECT seq, at, kind, body FROM walwarden.list_audit(''acme'');';

CREATE FUNCTION walwarden.append_audit(kind text, payload jsonb, job_id uuid DEFAULT NULL, org text DEFAULT NULL) RETURNS bigint
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.append_audit(text, jsonb, uuid, text) IS
'Appends an entry of your application''s own to an organisation''s chain; returns its seq. kind: app. and lower-case words with dots, at most 100 characters. payload: JSON with integers only, stored under payload.data; an entry has at most 64 KiB. org NULL: the identity''s. For operators, owners and admins, and for a token''s identity in a role given grant_rest. Errors: 42501 no right, 42704 unknown organisation, 22023 bad kind or payload, 55P03 locked for too long, 40001 concurrent append under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.append_audit(''app.invoice.sent'', ''{"invoice":17}'', NULL, ''acme'');';

CREATE FUNCTION walwarden.verify_audit_chain(org text DEFAULT NULL, expected_seq bigint DEFAULT NULL, expected_hash text DEFAULT NULL)
    RETURNS TABLE (org text, entries bigint, head_hash text, ok boolean, first_bad_seq bigint, reason text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.verify_audit_chain(text, bigint, text) IS
'Verifies an audit chain, or with NULL every chain, and that the present state is what it says; writes nothing. With the seq and hash (64 lower-case hex digits) of an earlier head, which go with one org, it also finds a lost tail. entries counts what is there; head_hash, in hex, is that of the last. reason names the first finding, first_bad_seq its entry. For operators; for owners and admins with their organisation named. Errors: 42501 no right, 42704 unknown organisation, 22023 bad expected head. Example: SELECT * FROM walwarden.verify_audit_chain(''acme'');';

-- The same verdict without a line of this extension's C: hashes by pgcrypto,
-- rendering by to_char. For whoever does not trust the library, which has no part
-- in it but to flush what is judged.
CREATE FUNCTION walwarden.verify_audit_chain_sql(org text)
    RETURNS TABLE (org text, entries bigint, head_hash text, ok boolean, first_bad_seq bigint, reason text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden._settle_audit();
    WITH chain AS (
        SELECT c.org_id, c.name FROM walwarden._chains() AS c WHERE $1 IS NULL OR c.name = $1
        UNION ALL
        SELECT NULL, $1 WHERE $1 IS NOT NULL AND NOT EXISTS (SELECT FROM walwarden._chains() AS c WHERE c.name = $1)
    ), linked AS (
        SELECT e.*, c.name, walwarden._json(e.body) AS json,
               row_number() OVER w AS n,
               coalesce(lag(e.hash) OVER w,
                        walwarden._digest_sha256(convert_to('walwarden/audit/v1:' || e.org_id::text, 'UTF8'))) AS want_prev
          FROM walwarden.audit_entry AS e
          JOIN chain AS c ON c.org_id = e.org_id
        WINDOW w AS (PARTITION BY e.org_id ORDER BY e.seq)
    ), judged AS (
        SELECT l.org_id, l.n, l.hash,
               CASE
                   WHEN num_nulls(l.at, l.kind, l.body, l.prev_hash, l.hash) > 0 THEN 'columns differ from the body'
                   WHEN l.seq <> l.n THEN 'entry is missing'
                   WHEN l.hash <> walwarden._digest_sha256(convert_to(encode(l.prev_hash, 'hex') || l.body, 'UTF8'))
                       THEN 'hash does not match the body'
                   WHEN octet_length(l.body) > 65536 OR walwarden._canonical(l.json, l.body ~ E'[\U00010000-\U0010FFFF]') IS DISTINCT FROM l.body
                       THEN 'body is not canonical JSON'
                   WHEN starts_with(l.body,
                            '{"at":"' || walwarden._iso(l.at) || '","jobId":' || coalesce('"' || l.job_id::text || '"', 'null')
                            || ',"kind":"' || l.kind || '","payload":{') IS NOT TRUE
                        OR l.json - '{at,jobId,kind,payload}'::text[] <> '{}'
                        OR l.json #> '{payload,org}' IS DISTINCT FROM to_jsonb(l.org_id)
                        OR l.json #> '{payload,seq}' IS DISTINCT FROM to_jsonb(l.seq)
                       THEN 'columns differ from the body'
                   WHEN l.prev_hash <> l.want_prev THEN 'prev_hash is not the hash of the entry before'
               END AS reason
          FROM linked AS l
    ), summed AS (
        SELECT c.org_id, c.name, count(j.n) AS entries,
               coalesce((array_agg(encode(j.hash, 'hex') ORDER BY j.n DESC) FILTER (WHERE j.n IS NOT NULL))[1],
                        encode(walwarden._digest_sha256(convert_to('walwarden/audit/v1:' || c.org_id::text, 'UTF8')), 'hex')) AS head_hash,
               (array_agg(j.n ORDER BY j.n) FILTER (WHERE j.reason IS NOT NULL))[1] AS bad_seq,
               CASE WHEN c.org_id IS NULL THEN 'organisation does not exist'
                    ELSE (array_agg(j.reason ORDER BY j.n) FILTER (WHERE j.reason IS NOT NULL))[1] END AS reason
          FROM chain AS c
          LEFT JOIN judged AS j ON j.org_id = c.org_id
         GROUP BY c.org_id, c.name
    )
    SELECT s.name, s.entries, s.head_hash,
           s.reason IS NULL AND x.reason IS NULL,
           CASE WHEN s.reason IS NULL THEN x.bad_seq ELSE s.bad_seq END,
           coalesce(s.reason, x.reason)
      FROM summed AS s
      LEFT JOIN LATERAL (SELECT f.bad_seq, f.reason FROM walwarden._cross_check(s.org_id) AS f WHERE s.reason IS NULL) AS x ON true
     ORDER BY s.name <> '_system', s.name
$$;
COMMENT ON FUNCTION walwarden.verify_audit_chain_sql(text) IS
'verify_audit_chain in plain SQL with pgcrypto, for whoever does not trust the C code; NULL verifies every chain, a name that is no chain is a finding. Slow: about a hundredth of the speed. For the extension''s owner and superusers. Errors: 42501 no right. Example: SELECT * FROM walwarden.verify_audit_chain_sql(''acme'');';
