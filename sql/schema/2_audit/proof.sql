-- Proofs about a chain for whoever does not have the whole: docs/audit-chain.md specifies them.

-- sizes, roots: claims about the tree of the chain, by size. chosen: the place of the last one
-- that is true, or NULL. inclusion: for each of seqs, which are ascending, the hashes that prove
-- the entry to be in the chosen tree; NULL if it is not. consistency: those that prove this tree
-- to begin with that of old_size entries; NULL if it is not larger.
CREATE FUNCTION walwarden_internal.chain_proofs(
        org_id uuid, sizes bigint[], roots bytea[], seqs bigint[], old_size bigint,
        OUT chosen integer, OUT inclusion bytea[], OUT consistency bytea)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_chain_proofs';

-- The hashes of a proof in base64, one a line.
CREATE FUNCTION walwarden_internal.proof_lines(proof bytea) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(string_agg(encode(substr(proof, n, 32), 'base64') || E'\n', '' ORDER BY n), '')
      FROM generate_series(1, octet_length(proof), 32) AS n
$$;

-- c2sp.org/tlog-proof@v1: that an entry is in the tree of a checkpoint.
CREATE FUNCTION walwarden_internal.inclusion_proof(seq bigint, proof bytea, note text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'c2sp.org/tlog-proof@v1\nindex %s\n%s\n%s', seq - 1, walwarden_internal.proof_lines(proof), note)
$$;

-- That the tree of a checkpoint begins with an older one.
CREATE FUNCTION walwarden_internal.consistency_proof(old_size bigint, size bigint, proof bytea) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format(E'old %s\nnew %s\n%s', old_size, size, walwarden_internal.proof_lines(proof))
$$;
