-- Jobs: how they are shown, begin and move; the handlers of REST v1 on them; and
-- the protocol that nodes speak in SQL.

-- The one place where a job changes its state: was becomes j, if the machine has
-- that transition for moved_by, with an entry of the chain. Returns the row as
-- stored; NULL when there is no such transition. The caller holds the row's lock.
CREATE FUNCTION walwarden._move_job(actor jsonb, moved_by text, was walwarden.job, j walwarden.job) RETURNS walwarden.job
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    event text;
BEGIN
    SELECT t.event, s.done INTO event, j.done
      FROM walwarden.job_transition AS t
      JOIN walwarden.job_state AS s ON s.machine = t.machine AND s.state = t.to_state
     WHERE t.machine = j.machine AND t.from_state IS NOT DISTINCT FROM was.state AND t.to_state = j.state
       AND t.moved_by = _move_job.moved_by;
    IF event IS NULL THEN
        RETURN NULL;
    END IF;
    IF j.done THEN
        j.finished_at := coalesce(j.finished_at, clock_timestamp());
        j.lease_until := NULL;
    END IF;
    j.audit_seq := walwarden._append(j.org_id, event,
        walwarden._change(actor, 'job', j.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden._job_state(was) END, walwarden._job_state(j)), j.id);
    IF was.id IS NULL THEN
        j.first_seq := j.audit_seq;
        INSERT INTO walwarden.job SELECT j.*;
    ELSE
        UPDATE walwarden.job AS f
           SET state = j.state, done = j.done, attempt = j.attempt, fence = j.fence, claimed_by = j.claimed_by,
               lease = j.lease, lease_until = j.lease_until, progress = j.progress,
               artifact = j.artifact, validation = j.validation, error = j.error,
               claimed_at = j.claimed_at, started_at = j.started_at, finished_at = j.finished_at, audit_seq = j.audit_seq
         WHERE f.id = j.id;
    END IF;
    RETURN j;
END
$$;

-- A new job of the token of r; the caller fills in the rest.
CREATE FUNCTION walwarden._new_job(r walwarden.rest_request, kind text) RETURNS walwarden.job
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    j walwarden.job;
BEGIN
    j.id := gen_random_uuid();
    j.org_id := r.org_id;
    j.kind := kind;
    j.machine := CASE kind WHEN 'backup' THEN 'backup' ELSE 'restore' END;
    j.trigger := 'api';
    j.state := 'queued';
    j.attempt := 0;
    j.max_attempts := 3;
    j.fence := 0;
    j.requested_by := r.token_id;
    j.queued_at := clock_timestamp();
    RETURN j;
END
$$;

CREATE VIEW walwarden._shown_backup AS
    SELECT j.org_id, j.database_id, j.id, j.queued_at,
           walwarden._object(
               'id', j.id, 'databaseId', j.database_id, 'destinationId', j.destination_id, 'type', j.type,
               'trigger', j.trigger, 'reason', j.reason, 'state', j.state,
               'attempt', j.attempt, 'maxAttempts', j.max_attempts,
               'progress', j.progress, 'artifact', j.artifact, 'error', j.error,
               'queuedAt', j.queued_at, 'claimedAt', j.claimed_at,
               'startedAt', j.started_at, 'finishedAt', j.finished_at,
               'done', j.done) AS item
      FROM walwarden.job AS j
     WHERE j.kind = 'backup';

CREATE VIEW walwarden._shown_restore AS
    SELECT j.org_id, j.id, j.queued_at,
           walwarden._object(
               'id', j.id, 'databaseId', j.database_id, 'kind', j.kind, 'mode', j.mode,
               'backupJobId', j.backup_job_id, 'target', j.target, 'state', j.state,
               'attempt', j.attempt, 'maxAttempts', j.max_attempts,
               'progress', j.progress, 'validation', j.validation, 'error', j.error,
               'timings', walwarden._object(
                   'queuedAt', j.queued_at, 'claimedAt', j.claimed_at,
                   'startedAt', j.started_at, 'finishedAt', j.finished_at),
               'done', j.done) AS item
      FROM walwarden.job AS j
     WHERE j.kind <> 'backup';

-- Backups.

CREATE FUNCTION walwarden._rest_list_database_backups(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database := walwarden._rest_database(r.org_id, r.id);
BEGIN
    RETURN walwarden._rest_page(r, 'backups', ARRAY(
        SELECT (j.queued_at, j.id::text, j.item)::walwarden.rest_item
          FROM walwarden._shown_backup AS j
         WHERE j.database_id = d.id
           AND (j.queued_at, j.id) < (r.after_at, r.after_id::uuid)
         ORDER BY j.queued_at DESC, j.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_backup(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_found((SELECT j.item FROM walwarden._shown_backup AS j WHERE j.org_id = r.org_id AND j.id = r.id));
END
$$;

CREATE FUNCTION walwarden._rest_backup_accepted(r walwarden.rest_request) RETURNS json
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden._object('backupJobId', r.id, 'job', walwarden._rest_get_backup(r))
$$;

CREATE FUNCTION walwarden._rest_trigger_backup(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database := walwarden._rest_database(r.org_id, r.id);
    j walwarden.job := walwarden._new_job(r, 'backup');
    active uuid;
BEGIN
    j.database_id := d.id;
    j.destination_id := coalesce(walwarden._rest_body_destination(r), d.destination_id);
    j.type := coalesce(r.body ->> 'type', 'full');
    j.reason := r.body ->> 'reason';
    IF j.destination_id IS NULL THEN
        PERFORM walwarden._rest_fail(409, 'the database has no destination', jsonb_build_object(
            'reason', 'no_destination', 'nextAction', 'Give the database a destination, or name one in destinationId.'));
    END IF;
    SELECT f.id INTO active FROM walwarden.job AS f WHERE f.database_id = d.id AND f.kind = 'backup' AND NOT f.done;
    IF FOUND THEN
        PERFORM walwarden._rest_fail(409, 'a backup of the database is active already', jsonb_build_object(
            'reason', 'backup_already_active', 'backupJobId', active));
    END IF;
    j := walwarden._move_job(walwarden._token_actor(walwarden._caller()), 'api', NULL, j);
    r.id := j.id;
    RETURN walwarden._rest_backup_accepted(r);
END
$$;

CREATE FUNCTION walwarden._rest_end_backup(r walwarden.rest_request, state text) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.job;
    j walwarden.job;
BEGIN
    SELECT * INTO was FROM walwarden.job AS f WHERE f.org_id = r.org_id AND f.id = r.id AND f.kind = 'backup' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM walwarden._rest_missing();
    END IF;
    j := was;
    j.state := state;
    IF (walwarden._move_job(walwarden._token_actor(walwarden._caller()), 'api', was, j)).id IS NULL THEN
        PERFORM walwarden._rest_fail(409, format('a backup that is %s cannot become %s', was.state, state), jsonb_build_object(
            'reason', 'invalid_state', 'state', was.state));
    END IF;
    RETURN walwarden._rest_backup_accepted(r);
END
$$;

CREATE FUNCTION walwarden._rest_cancel_backup(r walwarden.rest_request) RETURNS json
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden._rest_end_backup(r, 'cancelled')
$$;

CREATE FUNCTION walwarden._rest_dismiss_backup(r walwarden.rest_request) RETURNS json
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden._rest_end_backup(r, 'dismissed')
$$;

-- Restores.

CREATE FUNCTION walwarden._rest_list_restores(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_page(r, 'restores', ARRAY(
        SELECT (j.queued_at, j.id::text, j.item)::walwarden.rest_item
          FROM walwarden._shown_restore AS j
         WHERE j.org_id = r.org_id
           AND (j.queued_at, j.id) < (r.after_at, r.after_id::uuid)
         ORDER BY j.queued_at DESC, j.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_restore(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_found((SELECT j.item FROM walwarden._shown_restore AS j WHERE j.org_id = r.org_id AND j.id = r.id));
END
$$;

CREATE FUNCTION walwarden._rest_create_restore(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database;
    b walwarden.job;
    j walwarden.job := walwarden._new_job(r, r.body ->> 'kind');
BEGIN
    j.mode := r.body ->> 'mode';
    j.target := r.body ->> 'target';
    d := walwarden._rest_database(r.org_id, walwarden._rest_uuid(r.body ->> 'databaseId'), 'databaseId');
    SELECT * INTO b FROM walwarden.job AS f
     WHERE f.org_id = r.org_id AND f.id = walwarden._rest_uuid(r.body ->> 'backupJobId') AND f.kind = 'backup' AND f.database_id = d.id;
    IF NOT FOUND THEN
        PERFORM walwarden._rest_missing('backupJobId');
    ELSIF b.state <> 'completed' THEN
        PERFORM walwarden._rest_fail(409, 'the backup is not completed', jsonb_build_object(
            'reason', 'backup_not_completed', 'state', b.state));
    ELSIF NOT EXISTS (SELECT FROM walwarden.destination AS f WHERE f.id = b.destination_id AND f.deleted_at IS NULL) THEN
        PERFORM walwarden._rest_fail(409, 'the destination of the backup was deleted', '{"reason": "destination_deleted"}');
    END IF;
    j.database_id := d.id;
    j.destination_id := b.destination_id;
    j.backup_job_id := b.id;
    j := walwarden._move_job(walwarden._token_actor(walwarden._caller()), 'api', NULL, j);
    r.id := j.id;
    RETURN walwarden._object('restoreJobId', j.id, 'job', walwarden._rest_get_restore(r));
END
$$;

-- The runner protocol.

-- The node that speaks: a token of a node, in a role given grant_runner. Returns
-- the token's org.
CREATE FUNCTION walwarden._require_runner(c walwarden.caller) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT walwarden._is_granted(c.role, '{runner}') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = format('permission denied for %s', c.door),
            HINT = 'The runner protocol is for roles given walwarden.grant_runner().';
    ELSIF walwarden.current_token_id() IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_authorization_specification',
            MESSAGE = 'the transaction has no identity',
            HINT = 'Call walwarden.authenticate() first, in the same transaction.';
    ELSIF NOT walwarden._speaks_for_node() THEN
        RAISE EXCEPTION USING
            ERRCODE = 'insufficient_privilege',
            MESSAGE = 'the token is not a node''s',
            HINT = 'Use a token of kind node, or one with the role deploy; scopes do not open the runner protocol.';
    END IF;
    RETURN walwarden.current_org_id();
END
$$;

-- JSON from a node, checked against a schema.
CREATE FUNCTION walwarden._check_report(what text, schema text, value jsonb) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem jsonb;
BEGIN
    problem := CASE
        WHEN value IS NULL THEN jsonb_build_object('message', what || ' is missing')
        -- in bytes: an entry of the chain holds this twice, before and after
        WHEN octet_length(value::text) > 16384 THEN jsonb_build_object('message', what || ' is too long')
        ELSE coalesce(walwarden._schema_problem(walwarden._schema(schema), value, what),
                      (SELECT jsonb_build_object('message', format('%s is not acceptable JSON: %s', what, p.error))
                         FROM walwarden._canonical_json(convert_to(value::text, 'UTF8')) AS p
                        WHERE p.error IS NOT NULL)) END;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = problem ->> 'message',
            HINT = format('At most 16 KiB of JSON with integers only, as the schema %s describes it; docs/runner.md has examples.', schema);
    END IF;
END
$$;

-- The job, locked, for the node that holds it; a completed one for any node of
-- the organisation that knows its fence, so that it can be verified again.
CREATE FUNCTION walwarden._held_job(c walwarden.caller, job_id uuid, fence bigint) RETURNS walwarden.job
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    runner_org uuid := walwarden._require_runner(c);
    j walwarden.job;
BEGIN
    SELECT * INTO j FROM walwarden.job AS f WHERE f.id = job_id AND f.org_id = runner_org FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('job %s does not exist', coalesce(job_id::text, 'NULL')),
            HINT = 'Use the job_id that walwarden.claim_job() returned.';
    ELSIF j.fence IS DISTINCT FROM fence
          OR (j.claimed_by IS DISTINCT FROM walwarden.current_token_id() AND j.state <> 'completed') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('job %s is held by another claim', job_id),
            HINT = 'Stop working on it: another node''s token claimed it, or its lease ran out and it was claimed again with a higher fence.';
    END IF;
    RETURN j;
END
$$;

CREATE FUNCTION walwarden._refuse_job_state(j walwarden.job, wanted text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION USING
        ERRCODE = 'object_not_in_prerequisite_state',
        MESSAGE = format('job %s is %s and cannot %s', j.id, j.state, wanted),
        HINT = CASE WHEN j.done THEN 'Stop working on it: it is done.'
                    ELSE 'Next states are: ' || coalesce((SELECT string_agg(t.to_state, ', ' ORDER BY t.to_state)
                                                            FROM walwarden.job_transition AS t
                                                           WHERE t.machine = j.machine AND t.from_state = j.state AND t.moved_by = 'runner'), 'none') || '.' END;
END
$$;

CREATE FUNCTION walwarden._claim_job(
        kinds text[], lease interval,
        OUT job_id uuid, OUT kind text, OUT fence bigint, OUT lease_until timestamptz, OUT job jsonb) RETURNS SETOF record
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    c walwarden.caller := walwarden._caller();
    runner_org uuid := walwarden._require_runner(c);
    wanted text[] := kinds;
    span interval := lease;
    was walwarden.job;
    j walwarden.job;
BEGIN
    IF wanted IS NULL OR cardinality(wanted) NOT BETWEEN 1 AND 3 OR NOT wanted <@ '{backup,restore,drill}' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'bad kinds of jobs',
            HINT = 'Give an array of backup, restore and drill.';
    ELSIF span IS NULL OR span NOT BETWEEN '1 s' AND '1 h' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'bad lease',
            HINT = 'Give an interval from 1 second to 1 hour, and renew it with walwarden.heartbeat_job().';
    END IF;

    LOOP
        SELECT f.* INTO was
          FROM walwarden.job AS f
         WHERE f.org_id = runner_org AND NOT f.done AND f.kind = ANY (wanted)
           AND (f.state = 'queued' OR f.lease_until <= clock_timestamp())
         ORDER BY f.queued_at, f.id
         LIMIT 1
           FOR NO KEY UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        j := was;
        IF was.attempt < was.max_attempts THEN
            j.state := 'claimed';
            j.attempt := was.attempt + 1;
            j.fence := was.fence + 1;
            j.claimed_by := walwarden.current_token_id();
            j.claimed_at := clock_timestamp();
            -- what an earlier attempt reported is not this one's
            j.started_at := NULL;
            j.progress := NULL;
            j.artifact := NULL;
            j.validation := NULL;
            j.error := NULL;
            j.lease := span;
            j.lease_until := j.claimed_at + span;
            j := walwarden._move_job(walwarden._token_actor(c), 'claim', was, j);
            IF j.id IS NOT NULL THEN
                EXIT;
            END IF;
            j := was;
        END IF;
        -- nobody may begin it again: it ends here, and the next one is looked for
        j.state := CASE was.machine WHEN 'backup' THEN 'failed' ELSE 'timed_out' END;
        j.error := jsonb_build_object('class', 'lease_expired', 'retryable', was.machine = 'backup',
                                      'message', format('the lease of attempt %s of %s ran out', was.attempt, was.max_attempts));
        PERFORM walwarden._move_job(jsonb_build_object('kind', 'system'), 'lease', was, j);
    END LOOP;

    job_id := j.id;
    kind := j.kind;
    fence := j.fence;
    lease_until := j.lease_until;
    job := walwarden._job_state(j) || jsonb_build_object(
        'database', (SELECT walwarden._database_state(d) FROM walwarden.database AS d WHERE d.id = j.database_id),
        'destination', (SELECT walwarden._destination_state(d) FROM walwarden.destination AS d WHERE d.id = j.destination_id),
        'backup', (SELECT walwarden._job_state(b) FROM walwarden.job AS b WHERE b.id = j.backup_job_id));
    RETURN NEXT;
END
$$;

CREATE FUNCTION walwarden._heartbeat_job(job_id uuid, fence bigint, progress jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    j walwarden.job := walwarden._held_job(walwarden._caller(), job_id, fence);
BEGIN
    IF progress IS NOT NULL THEN
        PERFORM walwarden._check_report('progress', 'Progress', progress);
    END IF;
    IF j.done THEN
        PERFORM walwarden._refuse_job_state(j, 'be worked on');
    END IF;
    UPDATE walwarden.job AS f
       SET lease_until = clock_timestamp() + f.lease,
           progress = coalesce(_heartbeat_job.progress, f.progress)
     WHERE f.id = j.id;
    RETURN true;
END
$$;

-- What programs say of themselves, fit to be stored: in one line, and withheld when
-- it holds a secret. A report must not fail for how an error was worded.
CREATE FUNCTION walwarden._plain_text(value jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN jsonb_typeof(value) <> 'string' THEN value
                WHEN walwarden._holds_secret(value #>> '{}') THEN '"(withheld: it held a token or a password)"'
                ELSE to_jsonb(btrim(regexp_replace(value #>> '{}', E'[\u0001-\u001F\u007F-\u009F]+', ' ', 'g'))) END
$$;

CREATE FUNCTION walwarden._plain_report(detail jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    path text[];
BEGIN
    FOR path IN
        SELECT '{error,message}'::text[]
        UNION ALL
        SELECT ARRAY['validation', 'checks', i::text, 'detail']
          FROM generate_series(0, jsonb_array_length(CASE jsonb_typeof(detail #> '{validation,checks}') WHEN 'array' THEN detail #> '{validation,checks}' ELSE '[]' END) - 1) AS i
    LOOP
        IF detail #> path IS NOT NULL THEN
            detail := jsonb_set(detail, path, walwarden._plain_text(detail #> path));
        END IF;
    END LOOP;
    RETURN detail;
END
$$;

CREATE FUNCTION walwarden._report_job(job_id uuid, fence bigint, state text, detail jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    was walwarden.job := walwarden._held_job(c, job_id, fence);
    j walwarden.job := was;
    foreign_part text := CASE was.machine WHEN 'backup' THEN 'validation' ELSE 'artifact' END;
    missing text;
BEGIN
    IF NOT EXISTS (SELECT FROM walwarden.job_state AS s WHERE s.machine = was.machine AND s.state = _report_job.state) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('unknown state %s of a %s', walwarden._shown(state), was.kind),
            HINT = 'The states are: ' || (SELECT string_agg(s.state, ', ' ORDER BY s.state) FROM walwarden.job_state AS s WHERE s.machine = was.machine) || '.';
    END IF;
    detail := walwarden._plain_report(coalesce(detail, '{}'));
    PERFORM walwarden._check_report('detail', 'JobReport', detail);
    IF state = was.state THEN
        -- a report that is repeated
        UPDATE walwarden.job AS f SET lease_until = clock_timestamp() + f.lease WHERE f.id = was.id AND NOT f.done;
        RETURN false;
    ELSIF NOT EXISTS (SELECT FROM walwarden.job_transition AS t
                       WHERE t.machine = was.machine AND t.from_state = was.state AND t.to_state = _report_job.state AND t.moved_by = 'runner') THEN
        PERFORM walwarden._refuse_job_state(was, 'become ' || state);
    END IF;

    j.state := state;
    j.artifact := coalesce(nullif(detail -> 'artifact', 'null'), j.artifact);
    j.validation := coalesce(nullif(detail -> 'validation', 'null'), j.validation);
    j.error := CASE WHEN state = 'failed' THEN nullif(detail -> 'error', 'null') END;
    j.started_at := coalesce(j.started_at, clock_timestamp());
    j.lease_until := clock_timestamp() + j.lease;
    missing := CASE
        WHEN state = 'failed' AND j.error IS NULL THEN 'error'
        WHEN state = 'completed' AND j.kind = 'backup' AND j.artifact IS NULL THEN 'artifact'
        WHEN state = 'completed' AND j.kind <> 'backup' AND j.validation IS NULL THEN 'validation' END;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('a %s that is %s needs detail.%s', j.kind, state, missing),
            HINT = 'Say what came of it; docs/runner.md has examples.';
    ELSIF nullif(detail -> foreign_part, 'null') IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('a %s has no %s', j.kind, foreign_part),
            HINT = 'A backup has an artifact, a restore has a validation.';
    ELSIF state = 'completed' AND (j.validation ->> 'result' = 'failed' OR j.validation -> 'checks' @> '[{"result": "failed"}]') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('a %s whose validation failed is not completed', j.kind),
            HINT = 'Report it as failed, with "retryable": false when the backup is to blame.';
    END IF;
    PERFORM walwarden._move_job(walwarden._token_actor(c), 'runner', was, j);
    RETURN true;
END
$$;

CREATE FUNCTION walwarden._record_evidence(job_id uuid, fence bigint, evidence jsonb) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c walwarden.caller := walwarden._caller();
    j walwarden.job := walwarden._held_job(c, job_id, fence);
    was walwarden.evidence;
    e walwarden.evidence;
BEGIN
    PERFORM walwarden._check_report('evidence', 'EvidenceReport', evidence);
    IF j.kind <> 'backup' OR j.state NOT IN ('running', 'finalizing', 'completed') THEN
        PERFORM walwarden._refuse_job_state(j, 'have evidence');
    END IF;
    SELECT * INTO was FROM walwarden.evidence AS f WHERE f.backup_job_id = j.id;
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
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'recoverableFrom is after recoverableTo, or a time lies in the future',
            HINT = 'They are the first and the last point in time to which this backup can be restored; checkedAt is when that was checked.';
    ELSIF e.state <> 'unverified' AND (e.checked_at IS NULL OR e.tool IS NULL) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'a verification that ran needs checkedAt and tool',
            HINT = 'Say when and with what it was checked, or give the result not_run.';
    END IF;
    IF was.fence IS DISTINCT FROM j.fence THEN
        e.recorded_at := clock_timestamp();
    END IF;
    e.recorded_by := walwarden.current_token_id();
    IF was.backup_job_id IS NOT NULL AND walwarden._evidence_state(e) = walwarden._evidence_state(was) THEN
        RETURN false;
    END IF;
    e.audit_seq := walwarden._append(e.org_id, 'evidence.recorded',
        walwarden._change(walwarden._token_actor(c), 'evidence', j.id::text,
                          CASE WHEN was.backup_job_id IS NOT NULL THEN walwarden._evidence_state(was) END, walwarden._evidence_state(e)), j.id);
    INSERT INTO walwarden.evidence SELECT e.*
        ON CONFLICT ON CONSTRAINT evidence_pkey DO UPDATE
       SET fence = e.fence, state = e.state, manifest = e.manifest, result = e.result, checked_at = e.checked_at, tool = e.tool,
           recoverable_from = e.recoverable_from, recoverable_to = e.recoverable_to,
           recorded_at = e.recorded_at, recorded_by = e.recorded_by, audit_seq = e.audit_seq;
    RETURN true;
END
$$;

CREATE FUNCTION walwarden.claim_job(
        kinds text[], lease interval DEFAULT '60 s',
        OUT job_id uuid, OUT kind text, OUT fence bigint, OUT lease_until timestamptz, OUT job jsonb) RETURNS SETOF record
    LANGUAGE C ROWS 1 AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.claim_job(text[], interval) IS
'Claims the oldest job of the identity''s organisation that is queued or whose lease ran out; no row when there is none. kinds: of backup, restore, drill. lease: 1 second to 1 hour; renew it with heartbeat_job(). Returns job_id, kind, fence, lease_until and job, a JSON object as REST v1 shows it, with what a node needs. fence goes with every further call and is refused once the job was claimed again. A job that another node is looking at is skipped; the entry waits for the organisation''s chain, so commit at once, and make one call a transaction. For node tokens, in a role given grant_runner. Errors: 42501 no right, 28000 no identity, 22023 bad kinds or lease, 55P03 chain locked for too long, 40001 concurrent append under REPEATABLE READ or SERIALIZABLE. Example: SELECT * FROM walwarden.claim_job(''{backup}'');';

CREATE FUNCTION walwarden.heartbeat_job(job_id uuid, fence bigint, progress jsonb DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.heartbeat_job(uuid, bigint, jsonb) IS
'Renews the lease of a claimed job and stores its progress, {"percent","bytesDone","bytesTotal","phase"}: 0 to 100, bytes, bytes, 1 to 100 characters, each optional; NULL leaves it. fence: as claim_job() gave it. Returns true. For the node that claimed it. Errors: 42501 no right, 28000 no identity, 42704 unknown job, 55000 claimed again or done (stop working), 22023 bad progress, 55P03 row locked for too long. Example: SELECT walwarden.heartbeat_job($1, $2, ''{"percent":40}'');';

CREATE FUNCTION walwarden.report_job(job_id uuid, fence bigint, state text, detail jsonb DEFAULT NULL) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.report_job(uuid, bigint, text, jsonb) IS
'Moves a claimed job to its next state and renews its lease. state: of the machine of the job, listed in job_transition. detail: {"artifact":{"name","sizeBytes","checksumSha256"}} for a completed backup, {"validation":{"result","checks":[{"name","result","detail"}]}} for a completed restore, {"error":{"class","message","retryable"}} for failed; sizes in bytes, checksums in lower-case hex, results passed, failed or not_run. Returns false when the job is in that state already. For the node that claimed it. Errors: 42501 no right, 28000 no identity, 42704 unknown job, 55000 claimed again or no such transition, 22023 bad state or detail, 55P03 locked for too long, 40001 concurrent append under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.report_job($1, $2, ''running'');';

CREATE FUNCTION walwarden.record_evidence(job_id uuid, fence bigint, evidence jsonb) RETURNS boolean
    LANGUAGE C AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.record_evidence(uuid, bigint, jsonb) IS
'Records what a node found out about a backup: {"manifest","integrityVerification":{"result","checkedAt","tool"},"recoverableFrom","recoverableTo"}, integers only, at most 16 KiB. result: passed, failed or not_run. Times: UTC, 2025-11-21T17:00:00Z, none in the future; recoverableFrom may be left out. Recorded again, it replaces what was there; the chain keeps both. Returns whether anything changed. For the node that claimed the backup, while it is running or finalizing; for every node of the organisation once it is completed. Errors: 42501 no right, 28000 no identity, 42704 unknown job, 55000 claimed again or wrong state, 22023 bad evidence, 55P03 locked for too long, 40001 concurrent append under REPEATABLE READ or SERIALIZABLE. Example: SELECT walwarden.record_evidence($1, $2, ''{"manifest":{},"integrityVerification":{"result":"passed","checkedAt":"2025-11-21T17:00:00Z","tool":"pg_verifybackup"},"recoverableTo":"2025-11-21T16:55:00Z"}'');';
