-- Verification of the chains, and of the current state against them. It reads the tables of
-- all wings.

-- All audited rows, each with its chain, its last entry and its image.
CREATE VIEW walwarden_internal.audited_row AS
    SELECT r.* FROM walwarden_internal.token_audited_row AS r
    UNION ALL
    SELECT r.* FROM walwarden_internal.backup_audited_row AS r;
COMMENT ON VIEW walwarden_internal.audited_row IS 'All audited rows, each with its chain, its last entry and its image. Both verifiers compare them with the chains.';

-- The same for the verifier in C. canonical: the image as text, instead of a jsonb, where C makes it.
-- credentials: how many the row has; NULL if one of them may differ from it.
CREATE VIEW walwarden_internal.described_row AS
    SELECT r.*, NULL::text AS canonical, 0 AS credentials
      FROM walwarden_internal.audited_row AS r
     WHERE r.type <> 'token'
    UNION ALL
    SELECT t.org_id, 'token', t.id, t.id::text, t.audit_seq, NULL, NULL,
           walwarden_internal.token_image_text(t, c.credentials),
           CASE WHEN walwarden_internal.credentials_match(t, c.credentials) THEN cardinality(c.credentials) END
      FROM walwarden_internal.token AS t
     CROSS JOIN LATERAL (SELECT ARRAY(SELECT c FROM walwarden_internal.credential AS c WHERE c.token_id = t.id) OFFSET 0) AS c(credentials);
COMMENT ON VIEW walwarden_internal.described_row IS 'All audited rows as verify_chain() compares them, with images of tokens made in C.';

-- A row that belongs to nothing: a credential without its token and, in the system chain, rows of
-- organisations that do not exist. The first, as in cross_check(), or NULL.
-- matched: how many credentials of the chain are known to have a token. If there are no others, they are not looked up.
CREATE FUNCTION walwarden_internal.stray_row(chain uuid, matched bigint, OUT bad_seq bigint, OUT reason text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
BEGIN
    IF matched IS DISTINCT FROM (SELECT count(*) FROM walwarden_internal.credential AS c WHERE c.org_id = chain) THEN
        -- LIMIT: where a key was dropped, a second row is no error
        SELECT c.audit_seq, format('a credential of token %s has no token', c.token_id) COLLATE "C"
          INTO bad_seq, reason
          FROM walwarden_internal.credential AS c
         WHERE c.org_id = chain
           AND (SELECT t.id FROM walwarden_internal.token AS t WHERE t.id = c.token_id LIMIT 1) IS NULL
         ORDER BY 1, 2 LIMIT 1;
    END IF;
    IF bad_seq IS NULL AND chain = walwarden_internal.system_org() THEN
        SELECT least(stray_row.reason COLLATE "C", min(f.reason)) INTO reason
          FROM (SELECT format('%s %s belongs to no organisation', d.type, d.id) COLLATE "C"
                  FROM walwarden_internal.audited_row AS d
                 WHERE d.org_id IS DISTINCT FROM chain
                   AND (SELECT o.id FROM walwarden_internal.org AS o WHERE o.id = d.org_id LIMIT 1) IS NULL
                UNION ALL
                SELECT format('a credential of token %s has no token', c.token_id) COLLATE "C"
                  FROM walwarden_internal.credential AS c
                 WHERE (SELECT o.id FROM walwarden_internal.org AS o WHERE o.id = c.org_id LIMIT 1) IS NULL
                   AND (SELECT t.id FROM walwarden_internal.token AS t WHERE t.id = c.token_id LIMIT 1) IS NULL
                UNION ALL
                SELECT format('slug %s belongs to no organisation', s.slug) COLLATE "C"
                  FROM walwarden_internal.org_slug AS s
                 WHERE (SELECT o.id FROM walwarden_internal.org AS o WHERE o.id = s.org_id LIMIT 1) IS NULL) AS f(reason);
    END IF;
END
$$;

-- A credential that differs from its token, or of which the entry that it names knows nothing; the
-- first, as in cross_check(), or NULL. It looks up every entry: verify_chain() tells whether there may be one.
CREATE FUNCTION walwarden_internal.unmatched_credential(chain uuid, OUT bad_seq bigint, OUT reason text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off
AS $$
BEGIN
    SELECT c.audit_seq,
           CASE WHEN NOT c.status THEN format('a credential of token %s does not have its status', c.token_id)
                ELSE format('a credential of token %s is not in entry %s', c.token_id, c.audit_seq) END COLLATE "C"
      INTO bad_seq, reason
      FROM walwarden_internal.token AS t
     CROSS JOIN LATERAL (SELECT c.token_id, c.audit_seq, c.fingerprint,
                                walwarden_internal.with_token_status(c, t) IS NOT DISTINCT FROM c AS status
                           FROM walwarden_internal.credential AS c
                          WHERE c.token_id = t.id OFFSET 0) AS c
     WHERE t.org_id = chain
       AND (NOT c.status
            OR (SELECT walwarden_internal.commits_to(e.body, walwarden_internal.commitment(c.token_id, c.fingerprint))
                  FROM walwarden_internal.audit_entry AS e
                 WHERE e.org_id = chain AND e.seq = c.audit_seq) IS NOT TRUE)
     ORDER BY 1, 2 LIMIT 1;
END
$$;

-- The first difference between the present state and the chain. Every audited row must
-- equal the entry that it names. Every entry that describes a row must find it at that
-- entry or a later one. A row that names its first entry must begin there. For every credential, its
-- entry must contain the commitment. Every row must belong to an organisation that exists, or to the
-- system chain. Of several differences the first is that of the lowest seq, and among those of one seq
-- that whose reason is first by bytes. The caller has verified the entries: their bodies are parsed
-- without a check.
--
-- verify_chain() finds the same in a small part of the time. This is the second opinion, but for
-- stray_row(), which both verifiers call.
--
-- Invariant: memory does not grow with the chain, and there are no temporary files. Each
-- row looks up its entry by key, and each entry its row; OFFSET 0 keeps the planner from
-- turning a look-up into a join that hashes or sorts.
CREATE FUNCTION walwarden_internal.cross_check(chain uuid, OUT bad_seq bigint, OUT reason text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    SET jit = off       -- compiling would take longer than running
AS $$
    (SELECT d.audit_seq AS seq, format('%s %s differs from entry %s', d.type, d.id, d.audit_seq) COLLATE "C" AS reason
       FROM walwarden_internal.audited_row AS d
       LEFT JOIN LATERAL (SELECT e.body::jsonb -> 'payload' AS payload
                            FROM walwarden_internal.audit_entry AS e
                           WHERE e.org_id = chain AND e.seq = d.audit_seq OFFSET 0) AS e ON true
      WHERE d.org_id = chain
        AND (e.payload -> 'object' IS DISTINCT FROM jsonb_build_object('type', d.type, 'id', d.id)
             OR e.payload -> 'after' IS DISTINCT FROM d.image)
      ORDER BY 1, 2 LIMIT 1)
    UNION ALL
    (SELECT e.seq, CASE WHEN d.audit_seq IS NULL THEN format('%s %s of entry %s is missing', o.type, o.id, e.seq)
                        ELSE format('%s %s is older than entry %s', o.type, o.id, e.seq) END COLLATE "C"
       FROM walwarden_internal.audit_entry AS e
      CROSS JOIN LATERAL (SELECT e.body::json #> '{payload,object}' OFFSET 0) AS p(object)
      CROSS JOIN LATERAL (SELECT p.object ->> 'type', p.object ->> 'id', walwarden_internal.uuid_or_null(p.object ->> 'id') OFFSET 0) AS o(type, id, key)
      CROSS JOIN LATERAL (
          SELECT CASE WHEN o.key IS NOT NULL
                      THEN (SELECT min(d.audit_seq) FROM walwarden_internal.audited_row AS d
                             WHERE d.org_id = chain AND d.type = o.type AND d.key = o.key)
                      ELSE (SELECT min(d.audit_seq) FROM walwarden_internal.audited_row AS d
                             WHERE d.org_id = chain AND d.type = o.type AND d.key IS NULL AND d.id = o.id) END OFFSET 0) AS d(audit_seq)
      WHERE e.org_id = chain AND p.object IS NOT NULL AND (d.audit_seq >= e.seq) IS NOT TRUE
      ORDER BY e.seq LIMIT 1)
    UNION ALL
    (SELECT d.audit_seq, format('%s %s does not begin at entry %s', d.type, d.id, d.first_seq) COLLATE "C"
       FROM walwarden_internal.audited_row AS d
       LEFT JOIN LATERAL (SELECT e.body::jsonb -> 'payload' AS payload
                            FROM walwarden_internal.audit_entry AS e
                           WHERE e.org_id = chain AND e.seq = d.first_seq OFFSET 0) AS e ON true
      WHERE d.org_id = chain AND d.first_seq IS NOT NULL
        AND (e.payload #>> '{object,id}' IS DISTINCT FROM d.id OR e.payload -> 'before' IS DISTINCT FROM 'null')
      ORDER BY 1, 2 LIMIT 1)
    UNION ALL
    (SELECT c.audit_seq,
            CASE WHEN NOT c.status THEN format('a credential of token %s does not have its status', c.token_id)
                 ELSE format('a credential of token %s is not in entry %s', c.token_id, c.audit_seq) END COLLATE "C"
       FROM walwarden_internal.token AS t
      CROSS JOIN LATERAL (SELECT c.token_id, c.audit_seq,
                                 walwarden_internal.commitment(c.token_id, c.fingerprint) AS commitment,
                                 walwarden_internal.with_token_status(c, t) IS NOT DISTINCT FROM c AS status
                            FROM walwarden_internal.credential AS c
                           WHERE c.token_id = t.id OFFSET 0) AS c
       LEFT JOIN LATERAL (SELECT e.body::jsonb #> '{payload,after,credentials}' AS credentials
                            FROM walwarden_internal.audit_entry AS e
                           WHERE e.org_id = chain AND e.seq = c.audit_seq OFFSET 0) AS e ON true
      WHERE t.org_id = chain
        AND (NOT c.status
             OR (e.credentials @> jsonb_build_array(jsonb_build_object('commitment', c.commitment))) IS NOT TRUE)
      ORDER BY 1, 2 LIMIT 1)
    UNION ALL
    SELECT s.bad_seq, s.reason FROM walwarden_internal.stray_row(chain, NULL) AS s WHERE s.reason IS NOT NULL
    ORDER BY 1, 2 LIMIT 1
$$;

-- The chains with entries, found by skipping along the index.
CREATE FUNCTION walwarden_internal.chains_with_entries() RETURNS SETOF uuid
    LANGUAGE sql STABLE
    BEGIN ATOMIC
    WITH RECURSIVE found AS (
        (SELECT e.org_id FROM walwarden_internal.audit_entry AS e ORDER BY e.org_id LIMIT 1)
        UNION ALL
        SELECT (SELECT e.org_id FROM walwarden_internal.audit_entry AS e WHERE e.org_id > f.org_id ORDER BY e.org_id LIMIT 1)
          FROM found AS f
         WHERE f.org_id IS NOT NULL
    )
    SELECT f.org_id FROM found AS f WHERE f.org_id IS NOT NULL;
END;

-- All chains: those with entries, of organisations, and the system chain.
CREATE FUNCTION walwarden_internal.chains(OUT org_id uuid, OUT name text) RETURNS SETOF record
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH chain AS (
        SELECT f AS org_id FROM walwarden_internal.chains_with_entries() AS f
        UNION
        SELECT o.id FROM walwarden_internal.org AS o
        UNION
        SELECT walwarden_internal.system_org()
    )
    SELECT c.org_id, CASE WHEN c.org_id = walwarden_internal.system_org() THEN '_system' ELSE coalesce(o.slug, c.org_id::text) END
      FROM chain AS c
      LEFT JOIN walwarden_internal.org AS o ON o.id = c.org_id
     ORDER BY c.org_id <> walwarden_internal.system_org(), o.slug, c.org_id
$$;

-- Verifies the entries of one chain, and if they are sound, the present state. altered is
-- the finding if there is no other: first_alteration(), which is the same for every chain.
CREATE FUNCTION walwarden_internal.verify(
        chain uuid, expected_seq bigint, expected_hash text, altered text,
        OUT entries bigint, OUT head_hash text, OUT first_bad_seq bigint, OUT reason text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    differing_seq bigint;
    difference text;
    credentials bigint;
BEGIN
    SELECT v.entries, v.head_hash, v.first_bad_seq, v.reason, v.differing_seq, v.difference, v.credentials
      INTO entries, head_hash, first_bad_seq, reason, differing_seq, difference, credentials
      FROM walwarden_internal.verify_chain(chain, expected_seq, expected_hash, true) AS v;
    IF reason IS NULL THEN
        SELECT f.bad_seq, f.reason INTO first_bad_seq, reason
          FROM (SELECT differing_seq, difference COLLATE "C"
                UNION ALL
                SELECT c.bad_seq, c.reason COLLATE "C" FROM walwarden_internal.unmatched_credential(chain) AS c WHERE credentials IS NULL
                UNION ALL
                SELECT r.bad_seq, r.reason COLLATE "C" FROM walwarden_internal.stray_row(chain, credentials) AS r) AS f(bad_seq, reason)
         WHERE f.reason IS NOT NULL
         ORDER BY 1, 2 LIMIT 1;
    END IF;
    reason := coalesce(reason, altered);
END
$$;

-- Verifies one chain, and the current state against it, and stores the verdict. head_seq: of the
-- last entry that was verified.
CREATE FUNCTION walwarden_internal.store_verification(
        chain uuid, OUT ok boolean, OUT entries bigint, OUT head_seq bigint, OUT head_hash text, OUT first_bad_seq bigint, OUT reason text)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO walwarden_internal.verification AS f (org_id, finished_at, entries, head_hash, ok, first_bad_seq, reason)
    SELECT chain, clock_timestamp(), v.entries, v.head_hash, v.reason IS NULL, v.first_bad_seq, v.reason
      FROM walwarden_internal.verify(chain, NULL, NULL, walwarden_internal.first_alteration()) AS v
        ON CONFLICT ON CONSTRAINT verification_pkey DO UPDATE
       SET finished_at = clock_timestamp(), entries = EXCLUDED.entries, head_hash = EXCLUDED.head_hash,
           ok = EXCLUDED.ok, first_bad_seq = EXCLUDED.first_bad_seq, reason = EXCLUDED.reason
    RETURNING f.ok, f.entries, (SELECT e.seq FROM walwarden_internal.audit_entry AS e WHERE e.org_id = chain ORDER BY e.seq DESC LIMIT 1),
              f.head_hash, f.first_bad_seq, f.reason
         INTO store_verification.ok, store_verification.entries, store_verification.head_seq,
              store_verification.head_hash, store_verification.first_bad_seq, store_verification.reason;
END
$$;

-- A person verifies the chain of their organisation, over REST v1.
CREATE FUNCTION walwarden_internal.rest_verify_audit(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chain uuid := walwarden_internal.permitted_chain(walwarden_internal.caller(), r.org, 'audit.verify');
BEGIN
    RETURN (SELECT walwarden_internal.object(
        'ok', v.ok, 'entries', v.entries, 'headSeq', coalesce(v.head_seq, 0), 'headHash', v.head_hash,
        'firstBadSeq', v.first_bad_seq, 'reason', v.reason)
      FROM walwarden_internal.store_verification(chain) AS v);
END
$$;

-- Verifies every fourth chain, beginning with the one at first. It writes nothing, so that
-- processes of a parallel query can take parts.
CREATE FUNCTION walwarden_internal.verify_part(chains uuid[], first integer, altered text)
    RETURNS TABLE (chain uuid, entries bigint, head_hash text, first_bad_seq bigint, reason text)
    LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000000
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    FOR n IN first .. cardinality(chains) BY 4 LOOP
        chain := chains[n];
        SELECT v.entries, v.head_hash, v.first_bad_seq, v.reason
          INTO entries, head_hash, first_bad_seq, reason
          FROM walwarden_internal.verify(chain, NULL, NULL, altered) AS v;
        RETURN NEXT;
    END LOOP;
END
$$;

CREATE FUNCTION walwarden_internal.verify_audit_chain(org text, expected_seq bigint, expected_hash text)
    RETURNS TABLE (org_name text, entries bigint, head_hash text, ok boolean, first_bad_seq bigint, reason text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    wanted uuid;
    altered text;
    chains uuid[];
    names text[];
BEGIN
    IF org IS NULL THEN
        PERFORM walwarden_internal.require(c, NULL, 'audit.verify', 'all');
    ELSE
        wanted := walwarden_internal.permitted_chain(c, org, 'audit.verify');
    END IF;
    IF (expected_seq IS NULL) <> (expected_hash IS NULL) OR (org IS NULL AND expected_seq IS NOT NULL) THEN
        PERFORM walwarden_internal.refuse('22023', 'an expected head needs an organisation, a seq and a hash',
            'Give all three, as returned by an earlier verification of that chain.');
    ELSIF expected_seq < 0 OR expected_hash !~ '^[0-9a-f]{64}$' THEN
        PERFORM walwarden_internal.refuse('22023', 'invalid expected head',
            'Give a seq of 0 or more, and a hash of 64 lower-case hex digits.');
    END IF;
    altered := walwarden_internal.first_alteration();
    IF wanted IS NOT NULL THEN
        RETURN QUERY
            SELECT k.name, v.entries, v.head_hash, v.reason IS NULL, v.first_bad_seq, v.reason
              FROM walwarden_internal.chains() AS k
             CROSS JOIN LATERAL walwarden_internal.verify(k.org_id, expected_seq, expected_hash, altered) AS v
             WHERE k.org_id = wanted;
        RETURN;
    END IF;
    SELECT array_agg(k.org_id ORDER BY k.n), array_agg(k.name ORDER BY k.n) INTO chains, names
      FROM walwarden_internal.chains() WITH ORDINALITY AS k(org_id, name, n);
    RETURN QUERY
        SELECT k.name, v.entries, v.head_hash, v.reason IS NULL, v.first_bad_seq, v.reason
          FROM (SELECT * FROM walwarden_internal.verify_part(chains, 1, altered)
                UNION ALL
                SELECT * FROM walwarden_internal.verify_part(chains, 2, altered)
                UNION ALL
                SELECT * FROM walwarden_internal.verify_part(chains, 3, altered)
                UNION ALL
                SELECT * FROM walwarden_internal.verify_part(chains, 4, altered)) AS v
          JOIN unnest(chains, names) WITH ORDINALITY AS k(org_id, name, n) ON k.org_id = v.chain
         ORDER BY k.n;
END
$$;

CREATE FUNCTION walwarden.verify_audit_chain(org text DEFAULT NULL, expected_seq bigint DEFAULT NULL, expected_hash text DEFAULT NULL)
    RETURNS TABLE (org text, entries bigint, head_hash text, ok boolean, first_bad_seq bigint, reason text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.verify_audit_chain(text, bigint, text) IS
'Verifies an audit chain, or all chains if org is NULL, and that the current state agrees with it. Writes nothing. expected_seq, expected_hash: an earlier head of the chain (64 lower-case hex digits); with them, verification also finds a lost tail. They require org. entries: the number of entries. head_hash: the hash of the last entry, in hex. reason: the first finding, or NULL. first_bad_seq: the entry of that finding. For operators; owners and admins can verify the chain of their organisation. Errors: 42501 if the caller lacks permission, 42704 if the organisation does not exist, 22023 if the expected head is invalid. Example: SELECT * FROM walwarden.verify_audit_chain(''acme'');';

-- The same verdict without this extension's C, for auditors who do not trust the library.
-- The library only flushes the entries that are verified.
CREATE FUNCTION walwarden.verify_audit_chain_sql(org text DEFAULT NULL)
    RETURNS TABLE (org text, entries bigint, head_hash text, ok boolean, first_bad_seq bigint, reason text)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden_internal.flush_audit();
    WITH chain AS (
        SELECT c.org_id, c.name FROM walwarden_internal.chains() AS c WHERE $1 IS NULL OR c.name = $1
        UNION ALL
        SELECT NULL, $1 WHERE $1 IS NOT NULL AND NOT EXISTS (SELECT FROM walwarden_internal.chains() AS c WHERE c.name = $1)
    ), altered AS MATERIALIZED (
        SELECT walwarden_internal.first_alteration() AS reason
    )
    SELECT c.name, v.entries, v.head_hash, f.reason IS NULL, coalesce(v.first_bad_seq, x.bad_seq), f.reason
      FROM chain AS c
     CROSS JOIN altered AS a
     CROSS JOIN LATERAL walwarden_internal.verify_chain_sql(c.org_id) AS v
     -- NULL, no chain, unless the entries are sound
     CROSS JOIN LATERAL walwarden_internal.cross_check(CASE WHEN v.reason IS NULL THEN c.org_id END) AS x
     CROSS JOIN LATERAL (SELECT CASE WHEN c.org_id IS NULL THEN 'organisation does not exist'
                                     ELSE coalesce(v.reason, x.reason, a.reason) END) AS f(reason)
     ORDER BY c.name <> '_system', c.name
$$;
COMMENT ON FUNCTION walwarden.verify_audit_chain_sql(text) IS
'verify_audit_chain() in plain SQL with pgcrypto, for auditors who do not trust the C code. NULL verifies all chains. A name without a chain is reported as a finding. Much slower: it looks up each row and each entry by itself. For the extension''s owner and superusers. Errors: 42501 if the caller lacks permission. Example: SELECT * FROM walwarden.verify_audit_chain_sql(''acme'');';
