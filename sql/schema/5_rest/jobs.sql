-- REST v1 handlers for backups, restores and drills.

CREATE VIEW walwarden_internal.shown_backup AS
    SELECT j.org_id, j.database_id, j.id, j.queued_at,
           walwarden_internal.object(
               'id', j.id, 'databaseId', j.database_id, 'destinationId', j.destination_id, 'type', j.type,
               'trigger', j.trigger, 'reason', j.reason, 'state', j.state,
               'attempt', j.attempt, 'maxAttempts', j.max_attempts,
               'progress', j.progress, 'artifact', j.artifact, 'error', j.error,
               'queuedAt', j.queued_at, 'notBefore', j.not_before, 'claimedAt', j.claimed_at,
               'startedAt', j.started_at, 'finishedAt', j.finished_at,
               'done', j.done) AS item
      FROM walwarden_internal.job AS j
     WHERE j.kind = 'backup';
COMMENT ON VIEW walwarden_internal.shown_backup IS 'Backups as REST v1 shows them.';

CREATE VIEW walwarden_internal.shown_restore AS
    SELECT j.org_id, j.id, j.queued_at,
           walwarden_internal.object(
               'id', j.id, 'databaseId', j.database_id, 'kind', j.kind, 'mode', j.mode,
               'backupJobId', j.backup_job_id, 'target', j.target, 'state', j.state,
               'attempt', j.attempt, 'maxAttempts', j.max_attempts,
               'progress', j.progress, 'validation', j.validation, 'error', j.error,
               'timings', walwarden_internal.object(
                   'queuedAt', j.queued_at, 'notBefore', j.not_before, 'claimedAt', j.claimed_at,
                   'startedAt', j.started_at, 'finishedAt', j.finished_at),
               'done', j.done) AS item
      FROM walwarden_internal.job AS j
     WHERE j.kind IN ('restore', 'drill');
COMMENT ON VIEW walwarden_internal.shown_restore IS 'Restores and drills as REST v1 shows them.';

-- Backups.

CREATE FUNCTION walwarden_internal.rest_list_database_backups(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden_internal.database := walwarden_internal.rest_database(r.org_id, r.id);
BEGIN
    RETURN walwarden_internal.rest_page(r, 'backups', ARRAY(
        SELECT (j.queued_at, j.id::text, j.item)::walwarden_internal.rest_item
          FROM walwarden_internal.shown_backup AS j
         WHERE j.database_id = d.id
           AND (j.queued_at, j.id) < (r.after_at, r.after_id::uuid)
         ORDER BY j.queued_at DESC, j.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_backup(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.rest_found((SELECT j.item FROM walwarden_internal.shown_backup AS j WHERE j.org_id = r.org_id AND j.id = r.id));
END
$$;

CREATE FUNCTION walwarden_internal.rest_backup_accepted(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden_internal.object('backupJobId', r.id, 'job', walwarden_internal.rest_get_backup(r))
$$;

-- Ends the request with 409 if a backup of the database is active, or a restore that
-- overwrites it. The lock of the organisation keeps others from starting one meanwhile.
CREATE FUNCTION walwarden_internal.rest_exclude(database_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    active walwarden_internal.job := walwarden_internal.exclusive_job(database_id);
BEGIN
    IF active.kind = 'backup' THEN
        PERFORM walwarden_internal.rest_fail('backup_already_active', 'a backup of the database is already active', jsonb_build_object('backupJobId', active.id));
    ELSIF active.kind IS NOT NULL THEN
        PERFORM walwarden_internal.rest_fail('restore_active', 'a restore of the database in place is active', jsonb_build_object('restoreJobId', active.id));
    END IF;
END
$$;

CREATE FUNCTION walwarden_internal.rest_trigger_backup(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden_internal.database := walwarden_internal.rest_database(r.org_id, r.id);
    j walwarden_internal.job := walwarden_internal.new_job(r.org_id, 'backup', 'api', r.token_id);
BEGIN
    j.database_id := d.id;
    j.destination_id := coalesce(walwarden_internal.rest_body_destination(r), d.destination_id);
    j.type := coalesce(r.body ->> 'type', 'full');
    j.reason := r.body ->> 'reason';
    IF j.destination_id IS NULL THEN
        PERFORM walwarden_internal.rest_fail('no_destination', 'the database has no destination', jsonb_build_object(
            'nextAction', 'Assign a destination to the database, or name one in destinationId.'));
    END IF;
    PERFORM walwarden_internal.rest_exclude(d.id);
    j := walwarden_internal.move_job(walwarden_internal.request_actor(r.org_id), 'api', NULL, j);
    r.id := j.id;
    RETURN walwarden_internal.rest_backup_accepted(r);
END
$$;

-- Ends a job as the request wants it. kind: backup, or restore for restores and drills.
CREATE FUNCTION walwarden_internal.rest_end_job(r walwarden_internal.rest_request, kind text, state text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.job;
    j walwarden_internal.job;
BEGIN
    SELECT * INTO was FROM walwarden_internal.job AS f WHERE f.org_id = r.org_id AND f.id = r.id AND f.kind = ANY (CASE rest_end_job.kind WHEN 'backup' THEN '{backup}' ELSE '{restore,drill}' END::text[]) FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM walwarden_internal.rest_missing();
    END IF;
    j := was;
    j.state := state;
    IF (walwarden_internal.move_job(walwarden_internal.request_actor(r.org_id), 'api', was, j)).id IS NULL THEN
        PERFORM walwarden_internal.rest_fail('invalid_state', format('a %s %s cannot become %s', was.state, was.kind, state), jsonb_build_object('state', was.state));
    END IF;
END
$$;

CREATE FUNCTION walwarden_internal.rest_cancel_backup(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.rest_end_job(r, 'backup', 'cancelled');
    RETURN walwarden_internal.rest_backup_accepted(r);
END
$$;

CREATE FUNCTION walwarden_internal.rest_dismiss_backup(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.rest_end_job(r, 'backup', 'dismissed');
    RETURN walwarden_internal.rest_backup_accepted(r);
END
$$;

-- Restores.

CREATE FUNCTION walwarden_internal.rest_list_restores(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.rest_page(r, 'restores', ARRAY(
        SELECT (j.queued_at, j.id::text, j.item)::walwarden_internal.rest_item
          FROM walwarden_internal.shown_restore AS j
         WHERE j.org_id = r.org_id
           AND (j.queued_at, j.id) < (r.after_at, r.after_id::uuid)
         ORDER BY j.queued_at DESC, j.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_restore(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.rest_found((SELECT j.item FROM walwarden_internal.shown_restore AS j WHERE j.org_id = r.org_id AND j.id = r.id));
END
$$;

CREATE FUNCTION walwarden_internal.rest_restore_accepted(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT walwarden_internal.object('restoreJobId', r.id, 'job', walwarden_internal.rest_get_restore(r))
$$;

CREATE FUNCTION walwarden_internal.rest_create_restore(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden_internal.database;
    b walwarden_internal.job;
    active uuid;
    j walwarden_internal.job := walwarden_internal.new_job(r.org_id, r.body ->> 'kind', 'api', r.token_id);
BEGIN
    j.mode := r.body ->> 'mode';
    j.target := r.body ->> 'target';
    d := walwarden_internal.rest_database(r.org_id, walwarden_internal.uuid_or_null(r.body ->> 'databaseId'), 'databaseId');
    -- first, because it keeps the backup as it is
    IF NOT walwarden_internal.keep_backup(walwarden_internal.request_actor(r.org_id), r.org_id, walwarden_internal.uuid_or_null(r.body ->> 'backupJobId')) THEN
        PERFORM walwarden_internal.rest_fail('backup_expiring', 'the backup is about to expire');
    END IF;
    SELECT * INTO b FROM walwarden_internal.job AS f
     WHERE f.org_id = r.org_id AND f.id = walwarden_internal.uuid_or_null(r.body ->> 'backupJobId') AND f.kind = 'backup' AND f.database_id = d.id;
    IF NOT FOUND THEN
        PERFORM walwarden_internal.rest_missing('backupJobId');
    ELSIF b.state <> 'completed' THEN
        PERFORM walwarden_internal.rest_fail('backup_not_completed', 'the backup is not completed', jsonb_build_object('state', b.state));
    ELSIF NOT EXISTS (SELECT FROM walwarden_internal.destination AS f WHERE f.id = b.destination_id AND f.deleted_at IS NULL) THEN
        PERFORM walwarden_internal.rest_fail('destination_deleted', 'the destination of the backup was deleted');
    END IF;
    IF j.mode = 'in_place' THEN
        SELECT f.id INTO active FROM walwarden_internal.job AS f WHERE f.org_id = r.org_id AND f.target = j.target AND f.mode = 'in_place' AND NOT f.done;
        IF FOUND THEN
            PERFORM walwarden_internal.rest_fail('restore_active', 'another restore of the target in place is active', jsonb_build_object('restoreJobId', active));
        END IF;
        PERFORM walwarden_internal.rest_exclude(d.id);
    END IF;
    j.database_id := d.id;
    j.destination_id := b.destination_id;
    j.backup_job_id := b.id;
    j := walwarden_internal.move_job(walwarden_internal.request_actor(r.org_id), 'api', NULL, j);
    r.id := j.id;
    RETURN walwarden_internal.rest_restore_accepted(r);
END
$$;

CREATE FUNCTION walwarden_internal.rest_cancel_restore(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.rest_end_job(r, 'restore', 'cancelled');
    RETURN walwarden_internal.rest_restore_accepted(r);
END
$$;
