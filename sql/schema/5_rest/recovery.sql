-- Evidence and the recovery claims derived from it, the operations for auditors, and
-- readiness. Everything is computed from the tables at the time of the request.

CREATE VIEW walwarden_internal.shown_evidence AS
    SELECT e.org_id, e.backup_job_id, e.recorded_at,
           walwarden_internal.object(
               'backupJobId', e.backup_job_id, 'databaseId', e.database_id, 'state', e.state, 'manifest', e.manifest,
               'integrityVerification', walwarden_internal.object('result', e.result, 'checkedAt', e.checked_at, 'tool', e.tool),
               'recoverableFrom', e.recoverable_from, 'recoverableTo', e.recoverable_to,
               'recordedAt', e.recorded_at, 'publicKey', e.public_key,
               'fence', e.fence, 'auditSeq', e.audit_seq,
               'audit', (SELECT walwarden_internal.object('firstSeq', e.first_seq, 'lastSeq', a.seq, 'headHash', encode(a.hash, 'hex'))
                           FROM walwarden_internal.audit_entry AS a
                          WHERE a.org_id = e.org_id AND a.seq = e.last_seq)) AS item
      FROM walwarden_internal.current_evidence AS e;
COMMENT ON VIEW walwarden_internal.shown_evidence IS 'Evidence as REST v1 shows it.';

CREATE FUNCTION walwarden_internal.rest_list_evidence(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.flush_audit();
    RETURN walwarden_internal.rest_page(r, 'evidence', ARRAY(
        SELECT (e.recorded_at, e.backup_job_id::text, e.item)::walwarden_internal.rest_item
          FROM walwarden_internal.shown_evidence AS e
         WHERE e.org_id = r.org_id
           AND (e.recorded_at, e.backup_job_id) < (r.after_at, r.after_id::uuid)
         ORDER BY e.recorded_at DESC, e.backup_job_id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_evidence(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.flush_audit();
    RETURN walwarden_internal.rest_found((SELECT e.item FROM walwarden_internal.shown_evidence AS e WHERE e.org_id = r.org_id AND e.backup_job_id = r.id));
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_recovery_summary(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden_internal.database := walwarden_internal.rest_database(r.org_id, r.id);
    windows json;
BEGIN
    SELECT json_agg(walwarden_internal.object('windowId', w.id, 'from', w.starts, 'to', w.ends) ORDER BY w.ends DESC)
      INTO windows
      FROM (SELECT * FROM walwarden_internal.recovery_windows(d.id) AS f ORDER BY f.ends DESC LIMIT 100) AS w;
    RETURN walwarden_internal.object(
        'databaseId', d.id,
        'verdict', CASE WHEN windows IS NULL THEN 'unproven' ELSE 'proven' END,
        'windows', coalesce(windows, '[]'),
        'lastVerifiedAt', walwarden_internal.last_verified(d.id),
        'backups', (SELECT walwarden_internal.object(
                        'completed', count(*), 'verified', count(*) FILTER (WHERE e.state = 'verified'),
                        'failedVerification', count(*) FILTER (WHERE e.state = 'failed'),
                        'withoutEvidence', count(*) FILTER (WHERE e.state IS NULL))
                      FROM walwarden_internal.job AS j
                      LEFT JOIN walwarden_internal.current_evidence AS e ON e.backup_job_id = j.id
                     WHERE j.database_id = d.id AND j.kind = 'backup' AND j.state = 'completed'));
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_recovery_candidate(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden_internal.database := walwarden_internal.rest_database(r.org_id, r.id);
BEGIN
    RETURN walwarden_internal.object('databaseId', d.id, 'candidate', (
        SELECT walwarden_internal.object('backupJobId', e.backup_job_id,
                                 'recoverableFrom', e.recoverable_from, 'recoverableTo', e.recoverable_to,
                                 'destinationId', e.destination_id)
          FROM walwarden_internal.valid_evidence AS e
         WHERE e.database_id = d.id
         ORDER BY e.recoverable_to DESC, e.recorded_at DESC, e.backup_job_id
         LIMIT 1));
END
$$;

-- A window is identified by the evidence it begins with, and can always be found by it.
-- If an earlier backup was recorded later, the result is the window that contains the
-- evidence now. If the evidence no longer verifies anything, the result is its own span.
CREATE FUNCTION walwarden_internal.rest_get_recovery_window_proof(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    anchor walwarden_internal.current_evidence;
    w record;
    basis json;
    proven boolean;
    refuted boolean;
    restored boolean;
    rto integer;
    in_time boolean;
BEGIN
    SELECT e.* INTO anchor FROM walwarden_internal.current_evidence AS e JOIN walwarden_internal.database AS d ON d.id = e.database_id
     WHERE e.org_id = r.org_id AND e.window_id = r.id AND d.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM walwarden_internal.rest_missing();
    END IF;
    rto := (SELECT d.rto_seconds FROM walwarden_internal.database AS d WHERE d.id = anchor.database_id);
    SELECT * INTO w FROM walwarden_internal.recovery_windows(anchor.database_id) AS f WHERE anchor.backup_job_id = ANY (f.members);
    proven := FOUND;
    IF NOT proven THEN
        SELECT anchor.window_id AS id, anchor.recoverable_from AS starts, anchor.recoverable_to AS ends,
               ARRAY[anchor.backup_job_id] AS members, anchor.state AS state INTO w;
    END IF;

    SELECT json_agg(walwarden_internal.object(
               'backupJobId', e.backup_job_id, 'state', e.state,
               'integrityVerification', walwarden_internal.object('result', e.result, 'checkedAt', e.checked_at, 'tool', e.tool),
               'recoverableFrom', e.recoverable_from, 'recoverableTo', e.recoverable_to,
               'lastRestore', CASE WHEN t.id IS NOT NULL THEN walwarden_internal.object(
                   'restoreJobId', t.id, 'kind', t.kind, 'state', t.state, 'validation', t.validation ->> 'result',
                   'measured', t.validation -> 'measured', 'withinRto', m.seconds <= rto,
                   'finishedAt', t.finished_at) END,
               'auditSeq', e.audit_seq) ORDER BY e.n) FILTER (WHERE e.n <= 1000),
           bool_or(e.state = 'failed' OR s.restored IS FALSE),
           bool_or(s.restored),
           bool_and(m.seconds <= rto)
      INTO basis, refuted, restored, in_time
      FROM (SELECT f.*, u.n FROM unnest(w.members) WITH ORDINALITY AS u(id, n)
              JOIN walwarden_internal.current_evidence AS f ON f.backup_job_id = u.id) AS e
      LEFT JOIN LATERAL (SELECT j.id, j.kind, j.state, j.validation, j.finished_at
                           FROM walwarden_internal.job AS j
                          WHERE j.backup_job_id = e.backup_job_id AND j.kind IN ('restore', 'drill') AND j.done AND j.state <> 'cancelled'
                          ORDER BY j.finished_at DESC LIMIT 1) AS t ON true
      -- of a restore that did not pass, the time says nothing
      LEFT JOIN LATERAL (SELECT sum(f.value::bigint) AS seconds
                           FROM jsonb_each_text(t.validation -> 'measured') AS f
                          WHERE t.state = 'completed' AND t.validation ->> 'result' = 'passed') AS m ON true
      LEFT JOIN LATERAL (SELECT f.restored
                           FROM walwarden_internal.conclusive_restore AS f
                          WHERE f.backup_job_id = e.backup_job_id
                          ORDER BY f.finished_at DESC LIMIT 1) AS s ON true;

    RETURN walwarden_internal.object(
        'windowId', w.id, 'databaseId', anchor.database_id,
        'from', w.starts, 'to', w.ends,
        'verdict', CASE WHEN proven THEN 'proven' WHEN refuted THEN 'refuted' ELSE 'unproven' END,
        'basis', basis,
        'notClaimed', array_to_json(array_remove(ARRAY[
            'That the destination still holds the artifacts: each was last checked at its checkedAt.',
            'That the node''s report is true: the audit chain only proves that the report has not been altered.',
            CASE WHEN rto IS NULL THEN 'That a restore meets a recovery time objective: the database has none.'
                 WHEN in_time IS NULL THEN 'That a restore meets the recovery time objective: none of these backups has a restore that passed and was measured.'
                 WHEN in_time THEN 'That the next restore meets the recovery time objective: the last ones of these backups that were measured did.'
                 ELSE 'That a restore meets the recovery time objective: the last one of a backup took longer.' END,
            CASE WHEN restored IS NOT TRUE THEN 'That a restore has been tried: no restore or drill of these backups has passed its validation.' END], NULL)));
END
$$;

-- For auditors.

-- A page of the chain, which filters make smaller. An actor is found by reading: one request
-- reads so many entries, and where that is not all, the next page goes on from there. Who may
-- see the members can name the actor as search_audit() takes it; others by what entries contain.
CREATE FUNCTION walwarden_internal.rest_list_audit_entries(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    max_read CONSTANT integer := 20000;
    newest boolean := coalesce(r.filters ->> 'order' = 'newest', false);
    kinds text[] := walwarden_internal.check_kinds(r.filters ->> 'kind');
    object text := walwarden_internal.check_object(r.filters ->> 'object');
    actor text := walwarden_internal.check_actor(r.filters ->> 'actor');
    since timestamptz := r.filters ->> 'since';
    until timestamptz := r.filters ->> 'until';
    after bigint := r.after_id;     -- 0 on the first page
    first bigint;
    last bigint := coalesce((SELECT e.seq FROM walwarden_internal.audit_entry AS e WHERE e.org_id = r.org_id ORDER BY e.seq DESC LIMIT 1), 0);
    ids text[];
    page record;
    items walwarden_internal.rest_item[];
BEGIN
    PERFORM walwarden_internal.check_span(since, until);
    PERFORM walwarden_internal.flush_audit();
    IF actor IS NOT NULL AND r.member_id IS NOT NULL AND walwarden_internal.may(walwarden_internal.caller(), r.org_id, 'audit.list', 'org') THEN
        ids := walwarden_internal.actor_ids(r.org_id, actor);
    END IF;
    first := CASE WHEN since IS NULL THEN 1 ELSE walwarden_internal.first_seq_at(r.org_id, since) END;
    IF until IS NOT NULL THEN
        last := least(last, walwarden_internal.first_seq_at(r.org_id, until) - 1);
    END IF;
    IF newest AND after > 0 THEN
        last := least(last, after - 1);
    ELSIF NOT newest THEN
        first := greatest(first, after + 1);
    END IF;

    SELECT * INTO page
      FROM walwarden_internal.search_chain(r.org_id, kinds, r.filters ->> 'kind', actor, ids, object, first, last, newest, r.max_rows + 1, max_read);
    items := ARRAY(
        SELECT (e.at, e.seq::text, walwarden_internal.object(
                    'seq', e.seq, 'at', e.at, 'kind', e.kind, 'jobId', e.job_id, 'body', e.body,
                    'prevHash', encode(e.prev_hash, 'hex'), 'hash', encode(e.hash, 'hex')))::walwarden_internal.rest_item
          FROM unnest(page.entries) WITH ORDINALITY AS e(org_id, seq, at, kind, job_id, body, prev_hash, hash, n)
         ORDER BY e.n);
    IF page.read_to IS NOT NULL THEN
        items := items || (statement_timestamp(), page.read_to::text, NULL)::walwarden_internal.rest_item;
    END IF;
    RETURN walwarden_internal.rest_page(r, 'entries', items);
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_audit_verification(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT walwarden_internal.object(
        'lastRun', CASE WHEN v.org_id IS NOT NULL THEN walwarden_internal.object(
            'finishedAt', v.finished_at, 'ok', v.ok, 'entries', v.entries, 'headHash', v.head_hash,
            'firstBadSeq', v.first_bad_seq, 'reason', v.reason) END,
        'ageSeconds', floor(extract(epoch FROM clock_timestamp() - v.finished_at))::bigint,
        'checkpoint', (SELECT walwarden_internal.object('size', k.size, 'root', encode(k.root, 'base64'), 'node', n.name, 'at', k.published_at,
                                                       'ageSeconds', floor(extract(epoch FROM clock_timestamp() - k.published_at))::bigint)
                         FROM walwarden_internal.checkpoint AS k
                         JOIN walwarden_internal.node AS n ON n.id = k.node_id
                        WHERE k.org_id = r.org_id
                        ORDER BY k.size DESC, k.published_at DESC LIMIT 1))
      FROM (SELECT) AS one
      LEFT JOIN walwarden_internal.verification AS v ON v.org_id = r.org_id);
END
$$;

CREATE FUNCTION walwarden_internal.rest_list_recoverability(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.rest_page(r, 'databases', ARRAY(
        SELECT (d.created_at, d.id::text, walwarden_internal.object(
                    'databaseId', d.id, 'name', d.name,
                    'verdict', CASE WHEN e.recoverable_to IS NULL THEN 'unproven' ELSE 'proven' END,
                    'lastVerifiedAt', walwarden_internal.last_verified(d.id),
                    'recoverableTo', e.recoverable_to,
                    'rpoMet', e.recoverable_to >= statement_timestamp() - make_interval(secs => d.rpo_seconds)))::walwarden_internal.rest_item
          FROM walwarden_internal.database AS d
          LEFT JOIN LATERAL (SELECT max(f.ends) AS recoverable_to FROM walwarden_internal.recovery_windows(d.id) AS f) AS e ON true
         WHERE d.org_id = r.org_id AND d.deleted_at IS NULL
           AND (d.created_at, d.id) < (r.after_at, r.after_id::uuid)
         ORDER BY d.created_at DESC, d.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_readiness(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (WITH fact AS (
        SELECT pg_is_in_recovery() AS standby, v.ok, v.finished_at,
               (SELECT count(*) FROM walwarden_internal.job AS j
                 WHERE j.org_id = r.org_id AND NOT j.done AND j.state = 'queued'
                   AND j.queued_at < clock_timestamp() - interval '15 minutes') AS waiting,
               (SELECT count(*) FROM walwarden_internal.job AS j
                 WHERE j.org_id = r.org_id AND NOT j.done AND j.claimed_by IS NOT NULL AND j.lease_until <= clock_timestamp()) AS expired,
               EXISTS (SELECT FROM walwarden_internal.job AS j
                        WHERE j.org_id = r.org_id AND NOT j.done AND j.state = 'queued' AND coalesce(j.not_before <= clock_timestamp(), true)) AS claimable,
               (SELECT max(n.last_seen_at) FROM walwarden_internal.node AS n WHERE n.org_id = r.org_id) AS seen_at,
               walwarden_internal.is_schedule_due(r.org_id, walwarden_internal.later(clock_timestamp(), -300)) AS overdue,
               (SELECT count(*) FROM walwarden_internal.alarm AS a WHERE a.org_id = r.org_id AND a.accepted_at IS NULL) AS alarms,
               (SELECT format('the largest checkpoint has %s entries and came %s seconds ago', k.size, floor(extract(epoch FROM clock_timestamp() - k.published_at)))
                  FROM walwarden_internal.checkpoint AS k WHERE k.org_id = r.org_id ORDER BY k.size DESC, k.published_at DESC LIMIT 1) AS checkpoint
          FROM (SELECT) AS one
          LEFT JOIN walwarden_internal.verification AS v ON v.org_id = r.org_id
    ), checks(name, status, detail) AS (
        SELECT 'database_writable', CASE WHEN f.standby THEN 'warn' ELSE 'pass' END,
               CASE WHEN f.standby THEN 'the server is a read-only standby' ELSE 'the server is a primary' END
          FROM fact AS f
        UNION ALL
        SELECT 'audit_verified', CASE WHEN f.ok IS NULL THEN 'warn' WHEN f.ok THEN 'pass' ELSE 'fail' END,
               CASE WHEN f.ok IS NULL THEN 'no verification has been stored'
                    ELSE format('%s %s seconds ago', CASE WHEN f.ok THEN 'verified' ELSE 'verification failed' END,
                                floor(extract(epoch FROM clock_timestamp() - f.finished_at))) END
          FROM fact AS f
        UNION ALL
        SELECT 'queue_served', CASE WHEN f.waiting = 0 THEN 'pass' ELSE 'warn' END,
               format('%s jobs have been queued for more than 15 minutes', f.waiting)
          FROM fact AS f
        UNION ALL
        SELECT 'leases_renewed', CASE WHEN f.expired = 0 THEN 'pass' ELSE 'fail' END,
               format('the leases of %s jobs have expired', f.expired)
          FROM fact AS f
        UNION ALL
        SELECT 'nodes_seen', CASE WHEN f.claimable AND coalesce(f.seen_at <= clock_timestamp() - interval '5 minutes', true) THEN 'fail' ELSE 'pass' END,
               CASE WHEN f.seen_at IS NULL THEN 'no node has called yet'
                    ELSE format('a node called %s seconds ago', floor(extract(epoch FROM clock_timestamp() - f.seen_at))) END
               || CASE WHEN f.claimable THEN ', and jobs wait for one' ELSE '' END
          FROM fact AS f
        UNION ALL
        SELECT 'schedules_kept', CASE WHEN f.overdue THEN 'fail' ELSE 'pass' END,
               CASE WHEN f.overdue THEN 'schedules have been due for more than 5 minutes: neither maintenance nor a node serves them'
                    ELSE 'no schedule has been due for more than 5 minutes' END
          FROM fact AS f
        UNION ALL
        SELECT 'history_kept', CASE WHEN f.alarms = 0 THEN 'pass' ELSE 'fail' END,
               CASE WHEN f.alarms = 0 THEN 'no node has found another chain than the one that it knows'
                    ELSE format('%s nodes have found another chain than the one that they know, and nobody has accepted it', f.alarms) END
               || '; ' || coalesce(f.checkpoint, 'no node has published a checkpoint')
          FROM fact AS f
    )
    SELECT walwarden_internal.object(
        'status', CASE WHEN bool_or(c.status = 'fail') THEN 'degraded' ELSE 'ready' END,
        'checks', json_agg(walwarden_internal.object('name', c.name, 'status', c.status, 'detail', c.detail)),
        'server', walwarden_internal.object('walwarden', walwarden_internal.version(),
                                    'postgresql', split_part(current_setting('server_version'), ' ', 1),
                                    'standby', pg_is_in_recovery()))
      FROM checks AS c);
END
$$;
