-- The evidence of backups, as nodes record it.

-- The artifact that a manifest names; an empty object if it names none.
CREATE FUNCTION walwarden_internal.manifest_artifact(manifest jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE jsonb_typeof(manifest -> 'artifact') WHEN 'object' THEN manifest -> 'artifact' ELSE '{}' END;
END
$$;

-- Whether a manifest is about an artifact: it names the checksum, and names no other size and
-- no other name.
CREATE FUNCTION walwarden_internal.manifest_names(manifest jsonb, artifact jsonb) RETURNS boolean
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    named jsonb := walwarden_internal.manifest_artifact(manifest);
BEGIN
    RETURN coalesce(named -> 'checksumSha256' = artifact -> 'checksumSha256', false)
       AND coalesce(named -> 'sizeBytes' = artifact -> 'sizeBytes', true)
       AND coalesce(named -> 'name' = artifact -> 'name', true);
END
$$;

-- A backup completes only with evidence of the same claim about the artifact that the node
-- reports. j: the row that is about to be stored.
CREATE FUNCTION walwarden_internal.require_evidence(j walwarden_internal.job) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    e walwarden_internal.evidence;
BEGIN
    SELECT * INTO e FROM walwarden_internal.evidence AS f WHERE f.backup_job_id = j.id AND f.fence = j.fence;
    IF NOT FOUND THEN
        PERFORM walwarden_internal.refuse('55000', format('backup %s has no evidence of claim %s', j.id, j.fence),
            'Call walwarden.record_evidence() with the manifest of the artifact first.');
    ELSIF NOT walwarden_internal.manifest_names(e.manifest, j.artifact) THEN
        PERFORM walwarden_internal.refuse('22023', 'the evidence is about another artifact',
            'Report the artifact whose checksumSha256 the manifest names in its member artifact, with the same name and sizeBytes.');
    END IF;
END
$$;

-- The first member of a manifest that contradicts the job, or NULL. A manifest need not have
-- these members.
CREATE FUNCTION walwarden_internal.manifest_contradiction(manifest jsonb, j walwarden_internal.job) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT m.member
              FROM (VALUES (1, 'orgId', to_jsonb(j.org_id)), (2, 'jobId', to_jsonb(j.id)), (3, 'fence', to_jsonb(j.fence)),
                           (4, 'databaseId', to_jsonb(j.database_id))) AS m(n, member, value)
             WHERE manifest -> m.member <> m.value
             ORDER BY m.n LIMIT 1);
END
$$;

-- The key with which a new manifest is signed, or NULL if its node does not sign. was: the
-- evidence that the manifest replaces.
CREATE FUNCTION walwarden_internal.manifest_key(manifest jsonb, n walwarden_internal.node, was walwarden_internal.evidence) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text;
BEGIN
    IF was.public_key IS NOT NULL AND was.manifest = manifest THEN
        RETURN was.public_key;      -- checked again, maybe by another node, which cannot sign it
    ELSIF n.public_key IS NOT NULL THEN
        PERFORM walwarden_internal.require_signatures();
        problem := CASE WHEN manifest -> 'node' <> to_jsonb(n.name) THEN 'node is not the name of the node'
                        WHEN manifest -> 'publicKey' <> to_jsonb(n.public_key) THEN 'publicKey is not the key of the node'
                        ELSE walwarden_internal.signature_problem(manifest::text, n.public_key) END;
        IF problem IS NOT NULL THEN
            PERFORM walwarden_internal.refuse('22023', 'the manifest is not signed by the node: ' || problem,
                'Sign the canonical JSON of the manifest without its member signature with the key that the node has registered, and add the signature in base64.');
        END IF;
    ELSIF was.public_key IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('22023', 'the evidence is signed and the node has no key',
            'Record the same manifest again with the new result, or register the node with a public key.');
    ELSIF manifest ?| '{signature,publicKey}' THEN
        PERFORM walwarden_internal.refuse('22023', 'the manifest is signed and the node has no key',
            'Register the node with its public key: walwarden.register_node(name, version, public_key).');
    END IF;
    RETURN n.public_key;
END
$$;

CREATE FUNCTION walwarden_internal.record_evidence(job_id uuid, fence bigint, evidence jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden_internal.caller := walwarden_internal.caller();
    j walwarden_internal.job := walwarden_internal.held_job(c, job_id, fence);
    was walwarden_internal.evidence;
    e walwarden_internal.evidence;
    contradiction text;
BEGIN
    PERFORM walwarden_internal.check_report('evidence', 'EvidenceReport', evidence);
    IF j.kind <> 'backup' OR j.state NOT IN ('running', 'finalizing', 'completed') THEN
        PERFORM walwarden_internal.refuse_job_state(j, 'have evidence');
    END IF;
    SELECT * INTO was FROM walwarden_internal.evidence AS f WHERE f.backup_job_id = j.id;
    e := was;
    e.backup_job_id := j.id;
    e.org_id := j.org_id;
    e.database_id := j.database_id;
    e.fence := j.fence;
    e.window_id := coalesce(was.window_id, gen_random_uuid());
    e.manifest := evidence -> 'manifest';
    e.result := evidence #>> '{integrityVerification,result}';
    e.state := CASE e.result WHEN 'passed' THEN 'verified' WHEN 'failed' THEN 'failed' ELSE 'unverified' END;
    e.checked_at := evidence #>> '{integrityVerification,checkedAt}';
    e.tool := evidence #>> '{integrityVerification,tool}';
    e.recoverable_to := evidence ->> 'recoverableTo';
    e.recoverable_from := coalesce(evidence ->> 'recoverableFrom', evidence ->> 'recoverableTo');
    IF e.recoverable_from > e.recoverable_to OR e.recoverable_from < '1970-01-01 00:00:00+00'
       OR greatest(e.recoverable_to, e.checked_at) > clock_timestamp() + interval '1 hour' THEN
        PERFORM walwarden_internal.refuse('22023', 'recoverableFrom is after recoverableTo, or a time is in the future',
            'Give the first and the last point in time that this backup can be restored to, and as checkedAt the time of the check.');
    ELSIF e.state <> 'unverified' AND (e.checked_at IS NULL OR e.tool IS NULL) THEN
        PERFORM walwarden_internal.refuse('22023', 'a verification that ran needs checkedAt and tool',
            'Give the time and the tool of the check, or the result not_run.');
    ELSIF e.recoverable_from <> e.recoverable_to AND e.manifest #>> '{engine,method}' IN ('pg_dump', 'pg_basebackup') THEN
        PERFORM walwarden_internal.refuse('22023', format('a backup by %s is a snapshot: recoverableFrom differs from recoverableTo', e.manifest #>> '{engine,method}'),
            'Leave out recoverableFrom, or give the time of the snapshot for both.');
    END IF;
    contradiction := walwarden_internal.manifest_contradiction(e.manifest, j);
    IF contradiction IS NOT NULL THEN
        PERFORM walwarden_internal.refuse('22023', format('the manifest is about another job: %s differs', contradiction),
            'Write the manifest for the job and the fence that walwarden.claim_job() returned.');
    ELSIF j.state = 'completed' AND NOT walwarden_internal.manifest_names(e.manifest, j.artifact) THEN
        PERFORM walwarden_internal.refuse('22023', 'the manifest is about another artifact than the completed backup',
            'Give a manifest whose artifact has the checksumSha256, the sizeBytes and the name of the backup''s artifact.');
    END IF;
    e.public_key := walwarden_internal.manifest_key(e.manifest, walwarden_internal.current_node(), CASE WHEN was.fence = j.fence THEN was END);
    IF was.fence IS DISTINCT FROM j.fence THEN
        e.recorded_at := clock_timestamp();
    END IF;
    e.recorded_by := walwarden.current_token_id();
    IF was.backup_job_id IS NOT NULL AND walwarden_internal.evidence_image(e) = walwarden_internal.evidence_image(was) THEN
        RETURN false;
    END IF;
    e.audit_seq := walwarden_internal.append(e.org_id, 'evidence.recorded',
        walwarden_internal.change(walwarden_internal.actor('token', c), 'evidence', j.id::text,
                          CASE WHEN was.backup_job_id IS NOT NULL THEN walwarden_internal.evidence_image(was) END, walwarden_internal.evidence_image(e)), j.id);
    PERFORM walwarden_internal.require_open(e.org_id);      -- close_org() does not lock a job that is done
    INSERT INTO walwarden_internal.evidence SELECT e.*
        ON CONFLICT ON CONSTRAINT evidence_pkey DO UPDATE
       SET fence = e.fence, state = e.state, manifest = e.manifest, result = e.result, checked_at = e.checked_at, tool = e.tool,
           recoverable_from = e.recoverable_from, recoverable_to = e.recoverable_to,
           recorded_at = e.recorded_at, recorded_by = e.recorded_by, audit_seq = e.audit_seq, public_key = e.public_key;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden.record_evidence(job_id uuid, fence bigint, evidence jsonb) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.record_evidence(uuid, bigint, jsonb) IS
'Records the evidence of a backup: {"manifest","integrityVerification":{"result","checkedAt","tool"},"recoverableFrom","recoverableTo"}, with integers only, at most 16 KiB. result: passed, failed or not_run. Times are in UTC, such as 2025-11-21T17:00:00Z, and not in the future; recoverableFrom is optional, and must equal recoverableTo if the manifest says that engine.method is pg_dump or pg_basebackup. The manifest names the artifact as {"artifact":{"name","sizeBytes","checksumSha256"}}: report_job() and this function reject a completed backup whose artifact has another checksum, size or name. A node with a key signs the manifest: its member signature is the Ed25519 signature, in base64, of the canonical JSON (RFC 8785) of the manifest without this member; node and publicKey, if present, are the node''s own. Signed evidence is replaced only by signed evidence, or by the same manifest with another result. If the manifest has orgId, jobId, fence or databaseId, they must be those of the job. Recording again replaces the evidence; the chain keeps both. Returns whether anything changed. For the node that claimed the backup while it is running or finalizing, and for every node of the organisation once it is completed. Errors: 42501 if the role or the token may not run jobs, 28000 if the transaction has no identity, 42704 if the job does not exist, 55000 if the node no longer holds the job or its state does not allow evidence, 22023 if the evidence is invalid or contradicts the job, or the manifest is not signed by a node with a key, 0A000 for such a node if the server has no OpenSSL, 55P03 if the row or the chain is locked for too long, 40001 if another transaction appended to the chain under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.record_evidence($1, $2, ''{"manifest":{},"integrityVerification":{"result":"passed","checkedAt":"2025-11-21T17:00:00Z","tool":"pg_verifybackup"},"recoverableTo":"2025-11-21T16:55:00Z"}'');';
