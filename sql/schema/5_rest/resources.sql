-- REST v1 handlers for the profile, destinations and databases. A handler receives the
-- request, reads only rows of r.org_id, and returns the body of a successful response.
-- A view defines how each resource is shown, so that a list is one statement. These views
-- call no volatile function, which would keep the planner from reading only one page.

CREATE FUNCTION walwarden_internal.version() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT e.extversion FROM pg_extension AS e WHERE e.extname = 'walwarden');
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_profile(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT walwarden_internal.object(
        'org', walwarden_internal.object('id', o.id, 'slug', o.slug, 'plan', o.plan),
        'token', walwarden_internal.object(
            'id', t.id, 'kind', t.kind, 'scopes', to_json(t.scopes),
            'effectiveScopes', to_json((walwarden_internal.token_status(t)).effective_scopes),
            'expiresAt', t.expires_at),
        'apiVersion', 'v1',
        'server', walwarden_internal.object('walwarden', walwarden_internal.version(), 'postgresql', split_part(current_setting('server_version'), ' ', 1)))
      FROM walwarden_internal.token AS t
      JOIN walwarden_internal.org AS o ON o.id = t.org_id
     WHERE t.id = r.token_id);
END
$$;

-- Destinations.

CREATE VIEW walwarden_internal.shown_destination AS
    SELECT d.org_id, d.id, d.created_at,
           walwarden_internal.object(
               'id', d.id, 'name', d.name, 'provider', d.provider, 'uri', d.uri, 'region', d.region,
               'credentialRef', d.credential_ref, 'retentionFloorDays', d.retention_floor_days,
               'state', CASE WHEN d.reported_state IS NOT NULL THEN d.reported_state
                             WHEN l.state = 'failed' OR e.state = 'failed' THEN 'failing'
                             WHEN e.state = 'verified' THEN 'verified'
                             ELSE 'unverified' END,
               'lastReport', CASE WHEN d.reported_state IS NOT NULL THEN walwarden_internal.object(
                   'ok', d.reported_state = 'verified', 'at', d.reported_at, 'detail', d.reported_detail) END,
               'createdAt', d.created_at) AS item
      FROM walwarden_internal.destination AS d
      LEFT JOIN LATERAL (SELECT j.id, j.state
                           FROM walwarden_internal.job AS j
                          WHERE j.destination_id = d.id AND j.kind = 'backup' AND j.state IN ('completed', 'failed')
                          ORDER BY j.finished_at DESC LIMIT 1) AS l ON true
      LEFT JOIN walwarden_internal.current_evidence AS e ON e.backup_job_id = l.id
     WHERE d.deleted_at IS NULL;
COMMENT ON VIEW walwarden_internal.shown_destination IS 'Destinations as REST v1 shows them.';

CREATE FUNCTION walwarden_internal.rest_list_destinations(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.rest_page(r, 'destinations', ARRAY(
        SELECT (d.created_at, d.id::text, d.item)::walwarden_internal.rest_item
          FROM walwarden_internal.shown_destination AS d
         WHERE d.org_id = r.org_id
           AND (d.created_at, d.id) < (r.after_at, r.after_id::uuid)
         ORDER BY d.created_at DESC, d.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_destination(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.rest_found((SELECT d.item FROM walwarden_internal.shown_destination AS d WHERE d.org_id = r.org_id AND d.id = r.id));
END
$$;

-- A destination that the request changes or refers to; ends the request with 404 if it
-- does not exist.
CREATE FUNCTION walwarden_internal.rest_destination(org_id uuid, id uuid, field text DEFAULT NULL) RETURNS walwarden_internal.destination
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden_internal.destination;
BEGIN
    SELECT * INTO d FROM walwarden_internal.destination AS f WHERE f.org_id = $1 AND f.id = $2 AND f.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM walwarden_internal.rest_missing(field);
    END IF;
    RETURN d;
END
$$;

-- The destination that the body names, or NULL if it does not name one.
CREATE FUNCTION walwarden_internal.rest_body_destination(r walwarden_internal.rest_request) RETURNS uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN r.body ->> 'destinationId' IS NOT NULL
                THEN (walwarden_internal.rest_destination(r.org_id, walwarden_internal.uuid_or_null(r.body ->> 'destinationId'), 'destinationId')).id END
$$;

CREATE FUNCTION walwarden_internal.rest_name_taken() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.rest_fail('name_taken', 'the name is already taken', '{"field": "name"}');
END
$$;

-- Appends the entry and stores the row d. was: the row before, or NULL for a new one.
CREATE FUNCTION walwarden_internal.store_destination(event text, was walwarden_internal.destination, d walwarden_internal.destination) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM walwarden_internal.destination AS f
                WHERE f.org_id = d.org_id AND f.name = d.name AND f.id <> d.id AND f.deleted_at IS NULL) THEN
        PERFORM walwarden_internal.rest_name_taken();
    END IF;
    d.updated_at := clock_timestamp();
    d.created_at := coalesce(d.created_at, d.updated_at);
    d.audit_seq := walwarden_internal.append(d.org_id, event,
        walwarden_internal.change(walwarden_internal.request_actor(d.org_id), 'destination', d.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden_internal.destination_image(was) END, walwarden_internal.destination_image(d)));
    IF was.id IS NULL THEN
        INSERT INTO walwarden_internal.destination SELECT d.*;
    ELSE
        UPDATE walwarden_internal.destination AS f
           SET name = d.name, region = d.region, credential_ref = d.credential_ref,
               retention_floor_days = d.retention_floor_days, reported_state = d.reported_state,
               updated_at = d.updated_at, deleted_at = d.deleted_at, audit_seq = d.audit_seq
         WHERE f.id = d.id;
    END IF;
END
$$;

-- A field of the body, or the value before if the body omits the field.
CREATE FUNCTION walwarden_internal.patched_value(body jsonb, field text, before text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN body ? field THEN body ->> field ELSE before END
$$;

CREATE FUNCTION walwarden_internal.rest_create_destination(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden_internal.destination;
BEGIN
    d.id := gen_random_uuid();
    d.org_id := r.org_id;
    d.name := r.body ->> 'name';
    d.provider := r.body ->> 'provider';
    d.uri := r.body ->> 'uri';
    IF split_part(d.uri, ':', 1) <> ALL (CASE d.provider WHEN 'local' THEN '{file}' WHEN 's3' THEN '{s3}' WHEN 'gcs' THEN '{gs,gcs}'
                                                         ELSE ARRAY['s3', d.provider] END) THEN
        PERFORM walwarden_internal.rest_fail('malformed', 'uri does not fit the provider', '{"field": "uri"}');
    END IF;
    d.region := r.body ->> 'region';
    d.credential_ref := r.body ->> 'credentialRef';
    d.retention_floor_days := coalesce((r.body ->> 'retentionFloorDays')::integer, 0);
    PERFORM walwarden_internal.store_destination('destination.created', NULL, d);
    r.id := d.id;
    RETURN walwarden_internal.rest_get_destination(r);
END
$$;

CREATE FUNCTION walwarden_internal.rest_update_destination(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.destination := walwarden_internal.rest_destination(r.org_id, r.id);
    d walwarden_internal.destination := was;
BEGIN
    d.name := walwarden_internal.patched_value(r.body, 'name', d.name);
    d.region := walwarden_internal.patched_value(r.body, 'region', d.region);
    d.credential_ref := walwarden_internal.patched_value(r.body, 'credentialRef', d.credential_ref);
    d.retention_floor_days := walwarden_internal.patched_value(r.body, 'retentionFloorDays', d.retention_floor_days::text)::integer;
    IF (d.region, d.credential_ref) IS DISTINCT FROM (was.region, was.credential_ref) THEN
        d.reported_state := NULL;       -- nobody has tried the new ones
    END IF;
    IF walwarden_internal.destination_image(d) <> walwarden_internal.destination_image(was) THEN
        PERFORM walwarden_internal.store_destination('destination.updated', was, d);
    END IF;
    RETURN walwarden_internal.rest_get_destination(r);
END
$$;

CREATE FUNCTION walwarden_internal.rest_delete_destination(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.destination := walwarden_internal.rest_destination(r.org_id, r.id);
    d walwarden_internal.destination := was;
BEGIN
    IF EXISTS (SELECT FROM walwarden_internal.database AS f WHERE f.destination_id = d.id AND f.deleted_at IS NULL)
       OR EXISTS (SELECT FROM walwarden_internal.job AS j WHERE j.org_id = r.org_id AND j.destination_id = d.id AND NOT j.done) THEN
        PERFORM walwarden_internal.rest_fail('destination_in_use', 'the destination is in use', jsonb_build_object(
            'nextAction', 'Assign another destination to its databases, and wait for its jobs to finish.'));
    END IF;
    d.deleted_at := clock_timestamp();
    PERFORM walwarden_internal.store_destination('destination.deleted', was, d);
    RETURN NULL;
END
$$;

-- Databases.

CREATE VIEW walwarden_internal.shown_database AS
    SELECT d.org_id, d.id, d.created_at,
           walwarden_internal.object(
               'id', d.id, 'name', d.name, 'engine', d.engine, 'method', d.method, 'postgresVersion', d.postgres_version,
               'connectionRef', d.connection_ref, 'destinationId', d.destination_id, 'schedule', d.schedule, 'nextBackupAt', d.next_run_at,
               'retentionDays', d.retention_days, 'drillSchedule', d.drill_schedule, 'nextDrillAt', d.next_drill_at,
               'objectives', walwarden_internal.object('rpoSeconds', d.rpo_seconds, 'rtoSeconds', d.rto_seconds),
               -- from the newest backup that completed or failed, usually the newest of all
               'state', CASE CASE WHEN n.state IN ('completed', 'failed') THEN n.state
                                  WHEN n.id IS NOT NULL THEN
                                      (SELECT j.state
                                         FROM walwarden_internal.job AS j
                                        WHERE j.database_id = d.id AND j.kind = 'backup' AND j.state IN ('completed', 'failed')
                                        ORDER BY j.queued_at DESC, j.id DESC LIMIT 1) END
                        WHEN 'completed' THEN 'protected' WHEN 'failed' THEN 'failing' ELSE 'unprotected' END,
               'lastBackup', CASE WHEN n.id IS NOT NULL THEN walwarden_internal.object(
                   'backupJobId', n.id, 'state', n.state,
                   'queuedAt', n.queued_at, 'finishedAt', n.finished_at) END,
               'readiness', walwarden_internal.object(
                   'verdict', CASE WHEN e.recoverable_to IS NULL THEN 'unproven' ELSE 'ready' END,
                   'recoverableTo', e.recoverable_to,
                   'rpoMet', e.recoverable_to >= statement_timestamp() - make_interval(secs => d.rpo_seconds)),
               'createdAt', d.created_at, 'updatedAt', d.updated_at) AS item
      FROM walwarden_internal.database AS d
      LEFT JOIN LATERAL (SELECT j.id, j.state, j.queued_at, j.finished_at
                           FROM walwarden_internal.job AS j
                          WHERE j.database_id = d.id AND j.kind = 'backup'
                          ORDER BY j.queued_at DESC, j.id DESC LIMIT 1) AS n ON true
      LEFT JOIN LATERAL (SELECT v.recoverable_to
                           FROM walwarden_internal.valid_evidence AS v
                          WHERE v.database_id = d.id AND n.id IS NOT NULL    -- without a backup there is no evidence
                          ORDER BY v.recoverable_to DESC LIMIT 1) AS e ON true
     WHERE d.deleted_at IS NULL;
COMMENT ON VIEW walwarden_internal.shown_database IS 'Databases as REST v1 shows them.';

CREATE FUNCTION walwarden_internal.rest_list_databases(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.rest_page(r, 'databases', ARRAY(
        SELECT (d.created_at, d.id::text, d.item)::walwarden_internal.rest_item
          FROM walwarden_internal.shown_database AS d
         WHERE d.org_id = r.org_id
           AND (d.created_at, d.id) < (r.after_at, r.after_id::uuid)
         ORDER BY d.created_at DESC, d.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden_internal.rest_get_database(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden_internal.rest_found((SELECT d.item FROM walwarden_internal.shown_database AS d WHERE d.org_id = r.org_id AND d.id = r.id));
END
$$;

CREATE FUNCTION walwarden_internal.rest_database(org_id uuid, id uuid, field text DEFAULT NULL) RETURNS walwarden_internal.database
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden_internal.database;
BEGIN
    SELECT * INTO d FROM walwarden_internal.database AS f WHERE f.org_id = $1 AND f.id = $2 AND f.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM walwarden_internal.rest_missing(field);
    END IF;
    RETURN d;
END
$$;

-- Appends the entry and stores the row d. was: the row before, or NULL for a new one.
CREATE FUNCTION walwarden_internal.store_database(event text, was walwarden_internal.database, d walwarden_internal.database) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM walwarden_internal.database AS f
                WHERE f.org_id = d.org_id AND f.name = d.name AND f.id <> d.id AND f.deleted_at IS NULL) THEN
        PERFORM walwarden_internal.rest_name_taken();
    END IF;
    d.updated_at := clock_timestamp();
    d.created_at := coalesce(d.created_at, d.updated_at);
    d.audit_seq := walwarden_internal.append(d.org_id, event,
        walwarden_internal.change(walwarden_internal.request_actor(d.org_id), 'database', d.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden_internal.database_image(was) END, walwarden_internal.database_image(d)));
    IF was.id IS NULL THEN
        INSERT INTO walwarden_internal.database SELECT d.*;
    ELSE
        UPDATE walwarden_internal.database AS f
           SET name = d.name, postgres_version = d.postgres_version, connection_ref = d.connection_ref,
               destination_id = d.destination_id, schedule = d.schedule,
               rpo_seconds = d.rpo_seconds, rto_seconds = d.rto_seconds,
               method = d.method, retention_days = d.retention_days, drill_schedule = d.drill_schedule,
               next_run_at = d.next_run_at, next_drill_at = d.next_drill_at,
               run_hindered_by = d.run_hindered_by, drill_hindered_by = d.drill_hindered_by,
               updated_at = d.updated_at, deleted_at = d.deleted_at, audit_seq = d.audit_seq
         WHERE f.id = d.id;
    END IF;
END
$$;

-- Ends the request with 409 if backups of the database would expire before the destination
-- lets go of them.
CREATE FUNCTION walwarden_internal.rest_check_retention(d walwarden_internal.database) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    least_days integer := (SELECT f.retention_floor_days FROM walwarden_internal.destination AS f WHERE f.id = d.destination_id);
BEGIN
    IF d.retention_days < least_days THEN
        PERFORM walwarden_internal.rest_fail('retention_below_floor', format('the destination keeps backups for at least %s days', least_days), jsonb_build_object(
            'field', 'retentionDays', 'nextAction', 'Keep backups for at least as long, or null for as long as the destination.'));
    END IF;
END
$$;

CREATE FUNCTION walwarden_internal.rest_create_database(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden_internal.database;
BEGIN
    d.id := gen_random_uuid();
    d.org_id := r.org_id;
    d.name := r.body ->> 'name';
    d.engine := coalesce(r.body ->> 'engine', 'postgresql');
    d.method := coalesce(r.body ->> 'method', 'pg_dump');
    d.postgres_version := r.body ->> 'postgresVersion';
    d.connection_ref := r.body ->> 'connectionRef';
    d.destination_id := walwarden_internal.rest_body_destination(r);
    d.schedule := r.body ->> 'schedule';
    d.retention_days := r.body ->> 'retentionDays';
    d.drill_schedule := r.body ->> 'drillSchedule';
    d.next_run_at := walwarden.cron_next(d.schedule, clock_timestamp());
    d.next_drill_at := walwarden.cron_next(d.drill_schedule, clock_timestamp());
    d.rpo_seconds := r.body #>> '{objectives,rpoSeconds}';
    d.rto_seconds := r.body #>> '{objectives,rtoSeconds}';
    PERFORM walwarden_internal.rest_check_retention(d);
    PERFORM walwarden_internal.store_database('database.created', NULL, d);
    r.id := d.id;
    RETURN walwarden_internal.rest_get_database(r);
END
$$;

CREATE FUNCTION walwarden_internal.rest_update_database(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.database := walwarden_internal.rest_database(r.org_id, r.id);
    d walwarden_internal.database := was;
BEGIN
    d.name := walwarden_internal.patched_value(r.body, 'name', d.name);
    d.method := walwarden_internal.patched_value(r.body, 'method', d.method);
    d.postgres_version := walwarden_internal.patched_value(r.body, 'postgresVersion', d.postgres_version);
    d.connection_ref := walwarden_internal.patched_value(r.body, 'connectionRef', d.connection_ref);
    IF r.body ? 'destinationId' THEN
        d.destination_id := walwarden_internal.rest_body_destination(r);
        d.run_hindered_by := NULL;
    END IF;
    IF r.body ? 'schedule' THEN
        d.schedule := r.body ->> 'schedule';
        d.next_run_at := walwarden.cron_next(d.schedule, clock_timestamp());
    END IF;
    IF r.body ? 'drillSchedule' THEN
        d.drill_schedule := r.body ->> 'drillSchedule';
        d.next_drill_at := walwarden.cron_next(d.drill_schedule, clock_timestamp());
    END IF;
    d.retention_days := walwarden_internal.patched_value(r.body, 'retentionDays', d.retention_days::text);
    IF r.body ?| '{destinationId,retentionDays}' THEN
        PERFORM walwarden_internal.rest_check_retention(d);
    END IF;
    d.rpo_seconds := walwarden_internal.patched_value(r.body -> 'objectives', 'rpoSeconds', d.rpo_seconds::text);
    d.rto_seconds := walwarden_internal.patched_value(r.body -> 'objectives', 'rtoSeconds', d.rto_seconds::text);
    IF walwarden_internal.database_image(d) <> walwarden_internal.database_image(was) THEN
        PERFORM walwarden_internal.store_database('database.updated', was, d);
    ELSE
        -- a schedule that is given again counts from now, as after the clock was set
        UPDATE walwarden_internal.database AS f SET next_run_at = d.next_run_at, next_drill_at = d.next_drill_at
         WHERE f.id = d.id AND (f.next_run_at, f.next_drill_at) IS DISTINCT FROM (d.next_run_at, d.next_drill_at);
    END IF;
    RETURN walwarden_internal.rest_get_database(r);
END
$$;

CREATE FUNCTION walwarden_internal.rest_delete_database(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.database := walwarden_internal.rest_database(r.org_id, r.id);
    d walwarden_internal.database := was;
BEGIN
    IF EXISTS (SELECT FROM walwarden_internal.job AS j WHERE j.org_id = r.org_id AND j.database_id = d.id AND NOT j.done) THEN
        PERFORM walwarden_internal.rest_fail('job_active', 'the database has unfinished jobs', jsonb_build_object(
            'nextAction', 'Cancel its jobs, or wait for them to finish.'));
    END IF;
    d.deleted_at := clock_timestamp();
    d.next_run_at := NULL;
    d.next_drill_at := NULL;
    PERFORM walwarden_internal.store_database('database.deleted', was, d);
    RETURN NULL;
END
$$;
