-- Bundles of evidence: files that an auditor verifies without this server. docs/audit-chain.md
-- specifies them. A bundle is made from the chain up to a size and from one checkpoint, so that
-- it can be made again, byte for byte, from what its entry says.

CREATE TYPE walwarden_internal.bundle_file AS (
    path text,
    text text
);
COMMENT ON TYPE walwarden_internal.bundle_file IS 'A file of a bundle of evidence. Internal.';

-- The limit of a bundle, in bytes.
CREATE FUNCTION walwarden_internal.bundle_max() RETURNS bigint
    LANGUAGE sql IMMUTABLE
    RETURN 4194304;

CREATE FUNCTION walwarden_internal.refuse_bundle_size() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.rest_fail('bundle_too_large', 'the files would be larger than 4 MiB', '{"nextAction": "Export fewer backups at a time."}');
END
$$;

-- The digest of a bundle: SHA-256 of what sha256sum prints of its files.
CREATE FUNCTION walwarden_internal.bundle_digest(files walwarden_internal.bundle_file[]) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT encode(sha256(convert_to(string_agg(format(E'%s  %s\n', encode(sha256(convert_to(f.text, 'UTF8')), 'hex'), f.path), '' ORDER BY f.path COLLATE "C"), 'UTF8')), 'hex')
      FROM unnest(files) AS f
$$;

-- The entries in which a node registered one of these keys, and which.
CREATE FUNCTION walwarden_internal.key_entries(org_id uuid, chain_size bigint, keys text[]) RETURNS TABLE (seq bigint, key text)
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT e.seq, p.payload #>> '{after,publicKey}'
          FROM walwarden_internal.audit_entry AS e
         CROSS JOIN LATERAL (SELECT e.body::jsonb -> 'payload' OFFSET 0) AS p(payload)
         WHERE e.org_id = $1 AND e.seq <= chain_size AND e.kind IN ('node.registered', 'node.key_changed')
           AND p.payload #>> '{after,publicKey}' = ANY (keys)
           AND p.payload #>> '{after,publicKey}' IS DISTINCT FROM p.payload #>> '{before,publicKey}';
END
$$;

-- A bundle of these backups, from the first chain_size entries. checkpoints: an array of {"note",
-- "publicKey"} by size; what comes out is the last of them that is true of this chain, or NULL:
-- a node may have signed a root that the chain does not have, and a proof of that proves nothing.
CREATE FUNCTION walwarden_internal.make_bundle(
        org_id uuid, ids uuid[], chain_size bigint, since_size bigint, checkpoints jsonb,
        OUT checkpoint jsonb, OUT files walwarden_internal.bundle_file[])
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan     -- organisations differ in size
    SET jit = off                               -- compiling would take longer than running
AS $$
DECLARE
    jobs uuid[];
    of_jobs bigint[];
    of_keys bigint[];
    registered text[];
    seqs bigint[];
    keys text[];
    sizes bigint[];
    roots bytea[];
    size bigint;
    note text;
    proofs record;
BEGIN
    jobs := ids || ARRAY(SELECT j.id FROM walwarden_internal.job AS j WHERE j.backup_job_id = ANY (ids) AND j.org_id = make_bundle.org_id);
    -- an entry has more than 100 bytes, and a line of chain.tsv 130 more
    of_jobs := ARRAY(SELECT e.seq FROM walwarden_internal.audit_entry AS e
                      WHERE e.org_id = make_bundle.org_id AND e.seq <= chain_size AND e.job_id = ANY (jobs)
                      LIMIT walwarden_internal.bundle_max() / 100);
    IF (SELECT sum(octet_length(e.body) + 130) FROM walwarden_internal.audit_entry AS e
         WHERE e.org_id = make_bundle.org_id AND e.seq = ANY (of_jobs)) > walwarden_internal.bundle_max() THEN
        PERFORM walwarden_internal.refuse_bundle_size();
    END IF;
    -- evidence that was recorded again replaces what was there
    SELECT array_agg((format('backups/%s.manifest.json', m.job_id), m.manifest)::walwarden_internal.bundle_file), array_remove(array_agg(m.key), NULL)
      INTO files, keys
      FROM (SELECT DISTINCT ON (e.job_id) e.job_id, p.after ->> 'publicKey' AS key,
                   (walwarden_internal.canonical_json(convert_to(p.after ->> 'manifest', 'UTF8'))).canonical AS manifest
              FROM walwarden_internal.audit_entry AS e
             CROSS JOIN LATERAL (SELECT e.body::jsonb #> '{payload,after}' OFFSET 0) AS p(after)
             WHERE e.org_id = make_bundle.org_id AND e.seq = ANY (of_jobs) AND e.job_id = ANY (ids) AND e.kind = 'evidence.recorded'
             ORDER BY e.job_id, e.seq DESC) AS m;

    SELECT array_agg(c.size ORDER BY u.n), array_agg(c.root ORDER BY u.n) INTO sizes, roots
      FROM jsonb_array_elements(checkpoints) WITH ORDINALITY AS u(claim, n)
     CROSS JOIN LATERAL walwarden_internal.read_checkpoint(u.claim ->> 'note', u.claim ->> 'publicKey') AS c;
    SELECT array_agg(k.seq), array_agg(k.key) INTO of_keys, registered
      FROM walwarden_internal.key_entries(org_id, chain_size, keys || ARRAY(SELECT c ->> 'publicKey' FROM jsonb_array_elements(checkpoints) AS c)) AS k;
    seqs := ARRAY(SELECT u.seq FROM unnest(of_jobs || of_keys) AS u(seq) GROUP BY u.seq ORDER BY u.seq);
    SELECT * INTO proofs FROM walwarden_internal.chain_proofs(org_id, coalesce(sizes, '{}'), coalesce(roots, '{}'), seqs, since_size);
    checkpoint := checkpoints -> (proofs.chosen - 1);
    size := sizes[proofs.chosen];
    note := checkpoint ->> 'note';

    files := files || ARRAY(
        WITH entry AS (
            SELECT u.seq, u.proof
              FROM unnest(seqs, proofs.inclusion) AS u(seq, proof)
             WHERE u.seq = ANY (of_jobs)
                OR u.seq IN (SELECT k.seq FROM unnest(of_keys, registered) AS k(seq, key) WHERE k.key = ANY (keys || (checkpoint ->> 'publicKey')))
        )
        SELECT ('chain.tsv', string_agg(format(E'%s\t%s\t%s\t%s\n', e.seq, encode(e.prev_hash, 'hex'), encode(e.hash, 'hex'), e.body), '' ORDER BY e.seq))::walwarden_internal.bundle_file
          FROM entry AS u
          JOIN walwarden_internal.audit_entry AS e ON e.org_id = make_bundle.org_id AND e.seq = u.seq
        UNION ALL
        SELECT ('checkpoint', note)::walwarden_internal.bundle_file WHERE note IS NOT NULL
        UNION ALL
        SELECT ('proofs/' || u.seq, walwarden_internal.inclusion_proof(u.seq, u.proof, note))::walwarden_internal.bundle_file
          FROM entry AS u WHERE u.proof IS NOT NULL
        UNION ALL
        SELECT ('consistency', walwarden_internal.consistency_proof(since_size, size, proofs.consistency))::walwarden_internal.bundle_file
         WHERE proofs.consistency IS NOT NULL);
    files := ARRAY(SELECT f FROM unnest(files) AS f ORDER BY f.path COLLATE "C");
    IF (SELECT sum(octet_length(f.text)) FROM unnest(files) AS f) > walwarden_internal.bundle_max() THEN
        PERFORM walwarden_internal.refuse_bundle_size();
    ELSIF since_size > coalesce(size, 0) THEN
        PERFORM walwarden_internal.rest_fail('no_checkpoint', format('no checkpoint covers %s entries', since_size), jsonb_build_object(
            'field', 'sinceSize', 'nextAction', 'Export without sinceSize, or again once a node has published a larger checkpoint.'));
    END IF;
END
$$;

-- The response of an export, from its entry and its files.
CREATE FUNCTION walwarden_internal.rest_evidence_export(org_id uuid, seq bigint, files walwarden_internal.bundle_file[]) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT walwarden_internal.object(
                       'exportId', p.payload ->> 'exportId', 'exportedAt', e.at,
                       'files', (SELECT json_agg(walwarden_internal.object('path', f.path, 'text', f.text) ORDER BY f.path COLLATE "C") FROM unnest(files) AS f),
                       'packageSha256', p.payload ->> 'packageSha256', 'auditSeq', e.seq)
              FROM walwarden_internal.audit_entry AS e
             CROSS JOIN LATERAL (SELECT e.body::jsonb -> 'payload' OFFSET 0) AS p(payload)
             WHERE e.org_id = $1 AND e.seq = $2);
END
$$;

-- The digest of the files goes into the chain, so that the recipient can check the package; and
-- all that it takes to make them again.
CREATE FUNCTION walwarden_internal.rest_export_evidence(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT DISTINCT walwarden_internal.uuid_or_null(e) FROM jsonb_array_elements_text(r.body -> 'backupJobIds') AS e ORDER BY 1);
    since_size bigint := r.body ->> 'sinceSize';
    chain_size bigint;
    bundle record;
    seq bigint;
BEGIN
    IF (SELECT count(*) FROM walwarden_internal.current_evidence AS e WHERE e.org_id = r.org_id AND e.backup_job_id = ANY (ids)) <> cardinality(ids) THEN
        PERFORM walwarden_internal.rest_missing();
    END IF;
    -- entries that others append from here on are not part of it
    chain_size := (SELECT max(e.seq) FROM walwarden_internal.audit_entry AS e WHERE e.org_id = r.org_id);
    SELECT * INTO bundle
      FROM walwarden_internal.make_bundle(r.org_id, ids, chain_size, since_size, (
               SELECT coalesce(jsonb_agg(jsonb_build_object('note', c.note, 'publicKey', c.public_key) ORDER BY c.size, c.published_at), '[]')
                 FROM (SELECT * FROM walwarden_internal.checkpoint AS f WHERE f.org_id = r.org_id AND f.size <= chain_size
                        ORDER BY f.size DESC, f.published_at DESC LIMIT 100) AS c));
    seq := walwarden_internal.append(r.org_id, 'evidence.exported', jsonb_build_object(
        'actor', walwarden_internal.request_actor(r.org_id), 'exportId', gen_random_uuid(),
        'backupJobIds', ids, 'chainSize', chain_size, 'sinceSize', since_size, 'checkpoint', bundle.checkpoint,
        'packageSha256', walwarden_internal.bundle_digest(bundle.files)));
    RETURN walwarden_internal.rest_evidence_export(r.org_id, seq, bundle.files);
END
$$;

-- The same response again, from its entry.
CREATE FUNCTION walwarden_internal.rest_evidence_export(org_id uuid, seq bigint) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    payload jsonb := (SELECT e.body::jsonb -> 'payload' FROM walwarden_internal.audit_entry AS e WHERE e.org_id = $1 AND e.seq = $2);
    bundle record;
BEGIN
    SELECT * INTO bundle
      FROM walwarden_internal.make_bundle(org_id, ARRAY(SELECT i::uuid FROM jsonb_array_elements_text(payload -> 'backupJobIds') AS i),
               (payload ->> 'chainSize')::bigint, (payload ->> 'sinceSize')::bigint,
               CASE jsonb_typeof(payload -> 'checkpoint') WHEN 'object' THEN jsonb_build_array(payload -> 'checkpoint') ELSE '[]' END);
    IF walwarden_internal.bundle_digest(bundle.files) IS DISTINCT FROM payload ->> 'packageSha256' THEN
        RAISE 'the chain is no longer the one that entry % exported', seq;
    END IF;
    RETURN walwarden_internal.rest_evidence_export(org_id, seq, bundle.files);
END
$$;

-- What is stored of a response to give it again: of an export, which can be large, the seq
-- of its entry; of a response with a secret, what it is about.
CREATE FUNCTION walwarden_internal.rest_stored(operation text, response json) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM walwarden_internal.rest_operation AS o WHERE o.operation = $1 AND o.repeated IS NOT NULL) THEN
        RETURN json_build_object('tokenId', response -> 'tokenId');
    END IF;
    RETURN CASE operation WHEN 'exportEvidence' THEN json_build_object('auditSeq', response -> 'auditSeq') ELSE response END;
END
$$;

-- The response of which rest_stored() made this. A secret is returned once: then this ends the
-- request with 409. It is 404 if the person does not see the token any more.
CREATE FUNCTION walwarden_internal.rest_replayed(operation text, org_id uuid, stored json) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    op walwarden_internal.rest_operation;
BEGIN
    SELECT * INTO op FROM walwarden_internal.rest_operation AS o WHERE o.operation = $1;
    IF op.caller = 'person' AND stored ->> 'tokenId' IS NOT NULL
       AND NOT walwarden_internal.sees_token(walwarden_internal.caller(), (stored ->> 'tokenId')::uuid) THEN
        PERFORM walwarden_internal.rest_missing();
    END IF;
    IF op.repeated IS NOT NULL THEN
        PERFORM walwarden_internal.rest_fail(op.repeated, 'an earlier request with this key got the value, which is returned once', jsonb_build_object(
            'tokenId', stored -> 'tokenId', 'nextAction', 'If the value was lost, renew the token with a new key to get another.'));
    END IF;
    RETURN CASE operation WHEN 'exportEvidence' THEN walwarden_internal.rest_evidence_export(org_id, (stored ->> 'auditSeq')::bigint) ELSE stored END;
END
$$;
