-- Evidence, and what can be said of recovery from it; the auditors' operations;
-- readiness. All of it is computed from what the tables hold, when it is asked.

CREATE VIEW walwarden._shown_evidence AS
    SELECT e.org_id, e.backup_job_id, e.recorded_at,
           walwarden._object(
               'backupJobId', e.backup_job_id, 'databaseId', e.database_id, 'state', e.state, 'manifest', e.manifest,
               'integrityVerification', walwarden._object('result', e.result, 'checkedAt', e.checked_at, 'tool', e.tool),
               'recoverableFrom', e.recoverable_from, 'recoverableTo', e.recoverable_to,
               'recordedAt', e.recorded_at,
               'audit', (SELECT walwarden._object('firstSeq', e.first_seq, 'lastSeq', a.seq, 'headHash', encode(a.hash, 'hex'))
                           FROM walwarden.audit_entry AS a
                          WHERE a.org_id = e.org_id AND a.seq = e.last_seq)) AS item
      FROM walwarden._current_evidence AS e;

CREATE FUNCTION walwarden._rest_list_evidence(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._settle_audit();
    RETURN walwarden._rest_page(r, 'evidence', ARRAY(
        SELECT (e.recorded_at, e.backup_job_id::text, e.item)::walwarden.rest_item
          FROM walwarden._shown_evidence AS e
         WHERE e.org_id = r.org_id
           AND (e.recorded_at, e.backup_job_id) < (r.after_at, r.after_id::uuid)
         ORDER BY e.recorded_at DESC, e.backup_job_id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_evidence(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._settle_audit();
    RETURN walwarden._rest_found((SELECT e.item FROM walwarden._shown_evidence AS e WHERE e.org_id = r.org_id AND e.backup_job_id = r.id));
END
$$;

-- The package goes out in the answer. Its digest goes into the chain, so that
-- whoever gets it can compare.
CREATE FUNCTION walwarden._rest_export_evidence(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ids uuid[] := ARRAY(SELECT walwarden._rest_uuid(e) FROM jsonb_array_elements_text(r.body -> 'backupJobIds') AS e);
    package json;
    digest text;
    export_id uuid := gen_random_uuid();
    at timestamptz := clock_timestamp();
    seq bigint;
BEGIN
    SELECT json_agg(e.item ORDER BY u.n) INTO package
      FROM unnest(ids) WITH ORDINALITY AS u(id, n)
      JOIN walwarden._shown_evidence AS e ON e.org_id = r.org_id AND e.backup_job_id = u.id
    HAVING count(*) = cardinality(ids);
    PERFORM walwarden._settle_audit();
    IF package IS NULL THEN
        PERFORM walwarden._rest_missing();
    END IF;
    digest := encode(sha256(convert_to((walwarden._canonical_json(convert_to(package::text, 'UTF8'))).canonical, 'UTF8')), 'hex');
    IF digest IS NULL THEN
        PERFORM walwarden._rest_fail(413, 'the package would have more than 64 KiB; export fewer at a time');
    END IF;
    seq := walwarden._append(r.org_id, 'evidence.exported', jsonb_build_object(
        'actor', walwarden._token_actor(walwarden._caller()), 'exportId', export_id, 'backupJobIds', ids, 'packageSha256', digest));
    RETURN walwarden._object('exportId', export_id, 'exportedAt', at, 'evidence', package,
                             'packageSha256', digest, 'auditSeq', seq);
END
$$;

-- The windows of a database: verified spans that meet or overlap are one. id:
-- that of its first backup's evidence, which no later backup changes.
CREATE FUNCTION walwarden._recovery_windows(database_id uuid)
    RETURNS TABLE (id uuid, starts timestamptz, ends timestamptz, members uuid[])
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH span AS (
        SELECT e.*, max(e.recoverable_to) OVER (ORDER BY e.recoverable_from, e.recoverable_to DESC, e.backup_job_id
                                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
          FROM walwarden._standing_evidence AS e
         WHERE e.database_id = $1
    ), numbered AS (
        SELECT s.*, count(*) FILTER (WHERE s.reached IS NULL OR s.recoverable_from > s.reached)
                        OVER (ORDER BY s.recoverable_from, s.recoverable_to DESC, s.backup_job_id) AS place
          FROM span AS s
    )
    SELECT (array_agg(n.window_id ORDER BY n.recoverable_from, n.recoverable_to DESC, n.backup_job_id))[1],
           min(n.recoverable_from), max(n.recoverable_to),
           array_agg(n.backup_job_id ORDER BY n.recoverable_to DESC, n.backup_job_id)
      FROM numbered AS n
     GROUP BY n.place
$$;

CREATE FUNCTION walwarden._last_verified(database_id uuid) RETURNS timestamptz
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT max(e.checked_at) FROM walwarden._standing_evidence AS e WHERE e.database_id = $1
$$;

CREATE FUNCTION walwarden._rest_get_recovery_summary(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database := walwarden._rest_database(r.org_id, r.id);
    windows json;
BEGIN
    SELECT json_agg(walwarden._object('windowId', w.id, 'from', w.starts, 'to', w.ends) ORDER BY w.ends DESC)
      INTO windows
      FROM (SELECT * FROM walwarden._recovery_windows(d.id) AS f ORDER BY f.ends DESC LIMIT 100) AS w;
    RETURN walwarden._object(
        'databaseId', d.id,
        'verdict', CASE WHEN windows IS NULL THEN 'unproven' ELSE 'proven' END,
        'windows', coalesce(windows, '[]'),
        'lastVerifiedAt', walwarden._last_verified(d.id),
        'backups', (SELECT walwarden._object(
                        'completed', count(*), 'verified', count(*) FILTER (WHERE e.state = 'verified'),
                        'failedVerification', count(*) FILTER (WHERE e.state = 'failed'),
                        'withoutEvidence', count(*) FILTER (WHERE e.state IS NULL))
                      FROM walwarden.job AS j
                      LEFT JOIN walwarden._current_evidence AS e ON e.backup_job_id = j.id
                     WHERE j.database_id = d.id AND j.kind = 'backup' AND j.state = 'completed'));
END
$$;

CREATE FUNCTION walwarden._rest_get_recovery_candidate(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database := walwarden._rest_database(r.org_id, r.id);
BEGIN
    RETURN walwarden._object('databaseId', d.id, 'candidate', (
        SELECT walwarden._object('backupJobId', e.backup_job_id,
                                 'recoverableFrom', e.recoverable_from, 'recoverableTo', e.recoverable_to,
                                 'destinationId', e.destination_id)
          FROM walwarden._standing_evidence AS e
         WHERE e.database_id = d.id
         ORDER BY e.recoverable_to DESC, e.recorded_at DESC, e.backup_job_id
         LIMIT 1));
END
$$;

-- A window is named by the evidence that it begins with, and stays findable by
-- it: where an earlier backup was recorded later, the window that holds it now;
-- where that evidence verifies nothing any more, its own span.
CREATE FUNCTION walwarden._rest_get_recovery_window_proof(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    anchor walwarden._current_evidence;
    w record;
    basis json;
    standing boolean;
    refuted boolean;
    restored boolean;
BEGIN
    SELECT e.* INTO anchor FROM walwarden._current_evidence AS e JOIN walwarden.database AS d ON d.id = e.database_id
     WHERE e.org_id = r.org_id AND e.window_id = r.id AND d.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM walwarden._rest_missing();
    END IF;
    SELECT * INTO w FROM walwarden._recovery_windows(anchor.database_id) AS f WHERE anchor.backup_job_id = ANY (f.members);
    standing := FOUND;
    IF NOT standing THEN
        SELECT anchor.window_id AS id, anchor.recoverable_from AS starts, anchor.recoverable_to AS ends,
               ARRAY[anchor.backup_job_id] AS members, anchor.state AS state INTO w;
    END IF;

    SELECT json_agg(walwarden._object(
               'backupJobId', e.backup_job_id, 'state', e.state,
               'integrityVerification', walwarden._object('result', e.result, 'checkedAt', e.checked_at, 'tool', e.tool),
               'recoverableFrom', e.recoverable_from, 'recoverableTo', e.recoverable_to,
               'lastRestore', CASE WHEN t.id IS NOT NULL THEN walwarden._object(
                   'restoreJobId', t.id, 'kind', t.kind, 'state', t.state, 'validation', t.validation ->> 'result',
                   'finishedAt', t.finished_at) END,
               'auditSeq', e.audit_seq) ORDER BY e.n) FILTER (WHERE e.n <= 1000),
           bool_or(e.state = 'failed' OR s.restored IS FALSE),
           bool_or(s.restored)
      INTO basis, refuted, restored
      FROM (SELECT f.*, u.n FROM unnest(w.members) WITH ORDINALITY AS u(id, n)
              JOIN walwarden._current_evidence AS f ON f.backup_job_id = u.id) AS e
      LEFT JOIN LATERAL (SELECT j.id, j.kind, j.state, j.validation, j.finished_at
                           FROM walwarden.job AS j
                          WHERE j.backup_job_id = e.backup_job_id AND j.kind <> 'backup' AND j.done
                          ORDER BY j.finished_at DESC LIMIT 1) AS t ON true
      LEFT JOIN LATERAL (SELECT f.restored
                           FROM walwarden._telling_restore AS f
                          WHERE f.backup_job_id = e.backup_job_id
                          ORDER BY f.finished_at DESC LIMIT 1) AS s ON true;

    RETURN walwarden._object(
        'windowId', w.id, 'databaseId', anchor.database_id,
        'from', w.starts, 'to', w.ends,
        'verdict', CASE WHEN standing THEN 'proven' WHEN refuted THEN 'refuted' ELSE 'unproven' END,
        'basis', basis,
        'notClaimed', array_to_json(array_remove(ARRAY[
            'That the destination still holds the artifacts now: each was last checked at its checkedAt.',
            'That the node''s report is true: it is what the node recorded, and the audit chain holds it unaltered.',
            'That a restore meets the recovery time objective.',
            CASE WHEN restored IS NOT TRUE THEN 'That a restore was tried: none of these backups has a restore or drill that passed its validation.' END], NULL)));
END
$$;

-- For auditors.

CREATE FUNCTION walwarden._rest_list_audit_entries(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._settle_audit();
    RETURN walwarden._rest_page(r, 'entries', ARRAY(
        SELECT (a.at, a.seq::text, walwarden._object(
                    'seq', a.seq, 'at', a.at, 'kind', a.kind, 'jobId', a.job_id, 'body', a.body,
                    'prevHash', encode(a.prev_hash, 'hex'), 'hash', encode(a.hash, 'hex')))::walwarden.rest_item
          FROM walwarden.audit_entry AS a
         WHERE a.org_id = r.org_id AND a.seq > r.after_id::bigint
         ORDER BY a.seq
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_audit_verification(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT walwarden._object(
        'lastRun', CASE WHEN v.org_id IS NOT NULL THEN walwarden._object(
            'finishedAt', v.finished_at, 'ok', v.ok, 'entries', v.entries, 'headHash', v.head_hash,
            'firstBadSeq', v.first_bad_seq, 'reason', v.reason) END,
        'ageSeconds', floor(extract(epoch FROM clock_timestamp() - v.finished_at))::bigint)
      FROM (SELECT) AS one
      LEFT JOIN walwarden.verification AS v ON v.org_id = r.org_id);
END
$$;

CREATE FUNCTION walwarden._rest_list_recoverability(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_page(r, 'databases', ARRAY(
        SELECT (d.created_at, d.id::text, walwarden._object(
                    'databaseId', d.id, 'name', d.name,
                    'verdict', CASE WHEN e.recoverable_to IS NULL THEN 'unproven' ELSE 'proven' END,
                    'lastVerifiedAt', walwarden._last_verified(d.id),
                    'recoverableTo', e.recoverable_to,
                    'rpoMet', e.recoverable_to >= statement_timestamp() - make_interval(secs => d.rpo_seconds)))::walwarden.rest_item
          FROM walwarden.database AS d
          LEFT JOIN LATERAL (SELECT max(f.ends) AS recoverable_to FROM walwarden._recovery_windows(d.id) AS f) AS e ON true
         WHERE d.org_id = r.org_id AND d.deleted_at IS NULL
           AND (d.created_at, d.id) < (r.after_at, r.after_id::uuid)
         ORDER BY d.created_at DESC, d.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_readiness(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (WITH fact AS (
        SELECT pg_is_in_recovery() AS standby, v.ok, v.finished_at,
               (SELECT count(*) FROM walwarden.job AS j
                 WHERE j.org_id = r.org_id AND NOT j.done AND j.state = 'queued'
                   AND j.queued_at < clock_timestamp() - interval '15 minutes') AS waiting
          FROM (SELECT) AS one
          LEFT JOIN walwarden.verification AS v ON v.org_id = r.org_id
    ), checks(name, status, detail) AS (
        SELECT 'database_writable', CASE WHEN f.standby THEN 'warn' ELSE 'pass' END,
               CASE WHEN f.standby THEN 'a read-only standby' ELSE 'a primary' END
          FROM fact AS f
        UNION ALL
        SELECT 'audit_verified', CASE WHEN f.ok IS NULL THEN 'warn' WHEN f.ok THEN 'pass' ELSE 'fail' END,
               CASE WHEN f.ok IS NULL THEN 'no verification has been stored'
                    ELSE format('%s, %s seconds ago', CASE WHEN f.ok THEN 'verified' ELSE 'verification failed' END,
                                floor(extract(epoch FROM clock_timestamp() - f.finished_at))) END
          FROM fact AS f
        UNION ALL
        SELECT 'queue_served', CASE WHEN f.waiting = 0 THEN 'pass' ELSE 'warn' END,
               format('%s jobs have been queued for more than 15 minutes', f.waiting)
          FROM fact AS f
    )
    SELECT walwarden._object(
        'status', CASE WHEN bool_or(c.status = 'fail') THEN 'degraded' ELSE 'ready' END,
        'checks', json_agg(walwarden._object('name', c.name, 'status', c.status, 'detail', c.detail)),
        'server', walwarden._object('walwarden', walwarden._version(),
                                    'postgresql', split_part(current_setting('server_version'), ' ', 1),
                                    'standby', pg_is_in_recovery()))
      FROM checks AS c);
END
$$;
