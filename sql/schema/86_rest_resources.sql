-- Handlers of REST v1: profile, destinations, databases. A handler gets the
-- request, sees only rows of r.org_id, and returns the body of a success. How a
-- resource is shown is a view, so that a list is one statement; no view has a
-- volatile function, which would keep the planner from reading one page only.

CREATE FUNCTION walwarden._version() RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT e.extversion FROM pg_extension AS e WHERE e.extname = 'walwarden');
END
$$;

CREATE FUNCTION walwarden._rest_get_profile(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT walwarden._object(
        'org', walwarden._object('id', o.id, 'slug', o.slug, 'plan', o.plan),
        'token', walwarden._object(
            'id', t.id, 'kind', t.kind, 'scopes', to_json(t.scopes),
            'effectiveScopes', to_json((walwarden._token_standing(t.id)).effective_scopes),
            'expiresAt', t.expires_at),
        'apiVersion', 'v1',
        'server', walwarden._object('walwarden', walwarden._version(), 'postgresql', split_part(current_setting('server_version'), ' ', 1)))
      FROM walwarden.token AS t
      JOIN walwarden.org AS o ON o.id = t.org_id
     WHERE t.id = r.token_id);
END
$$;

-- Destinations.

CREATE VIEW walwarden._shown_destination AS
    SELECT d.org_id, d.id, d.created_at,
           walwarden._object(
               'id', d.id, 'name', d.name, 'provider', d.provider, 'uri', d.uri, 'region', d.region,
               'credentialRef', d.credential_ref, 'retentionFloorDays', d.retention_floor_days,
               'state', CASE WHEN l.state = 'failed' OR e.state = 'failed' THEN 'failing'
                             WHEN e.state = 'verified' THEN 'verified'
                             ELSE 'unverified' END,
               'createdAt', d.created_at) AS item
      FROM walwarden.destination AS d
      LEFT JOIN LATERAL (SELECT j.id, j.state
                           FROM walwarden.job AS j
                          WHERE j.destination_id = d.id AND j.kind = 'backup' AND j.state IN ('completed', 'failed')
                          ORDER BY j.finished_at DESC LIMIT 1) AS l ON true
      LEFT JOIN walwarden._current_evidence AS e ON e.backup_job_id = l.id
     WHERE d.deleted_at IS NULL;

CREATE FUNCTION walwarden._rest_list_destinations(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_page(r, 'destinations', ARRAY(
        SELECT (d.created_at, d.id::text, d.item)::walwarden.rest_item
          FROM walwarden._shown_destination AS d
         WHERE d.org_id = r.org_id
           AND (d.created_at, d.id) < (r.after_at, r.after_id::uuid)
         ORDER BY d.created_at DESC, d.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_destination(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_found((SELECT d.item FROM walwarden._shown_destination AS d WHERE d.org_id = r.org_id AND d.id = r.id));
END
$$;

-- The destination, for a change or as what a database is to use.
CREATE FUNCTION walwarden._rest_destination(org_id uuid, id uuid, field text DEFAULT NULL) RETURNS walwarden.destination
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.destination;
BEGIN
    SELECT * INTO d FROM walwarden.destination AS f WHERE f.org_id = $1 AND f.id = $2 AND f.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM walwarden._rest_missing(field);
    END IF;
    RETURN d;
END
$$;

-- The destination that a body names, or NULL when it names none.
CREATE FUNCTION walwarden._rest_body_destination(r walwarden.rest_request) RETURNS uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN r.body ->> 'destinationId' IS NOT NULL
                THEN (walwarden._rest_destination(r.org_id, walwarden._rest_uuid(r.body ->> 'destinationId'), 'destinationId')).id END
$$;

CREATE FUNCTION walwarden._rest_name_taken() RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._rest_fail(409, 'the name is taken', '{"field": "name", "reason": "name_taken"}');
END
$$;

-- Stores the row d, which was was, with its entry.
CREATE FUNCTION walwarden._store_destination(event text, was walwarden.destination, d walwarden.destination) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM walwarden.destination AS f
                WHERE f.org_id = d.org_id AND f.name = d.name AND f.id <> d.id AND f.deleted_at IS NULL) THEN
        PERFORM walwarden._rest_name_taken();
    END IF;
    d.updated_at := clock_timestamp();
    d.created_at := coalesce(d.created_at, d.updated_at);
    d.audit_seq := walwarden._append(d.org_id, event,
        walwarden._change(walwarden._token_actor(walwarden._caller()), 'destination', d.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden._destination_state(was) END, walwarden._destination_state(d)));
    IF was.id IS NULL THEN
        INSERT INTO walwarden.destination SELECT d.*;
    ELSE
        UPDATE walwarden.destination AS f
           SET name = d.name, region = d.region, credential_ref = d.credential_ref,
               retention_floor_days = d.retention_floor_days,
               updated_at = d.updated_at, deleted_at = d.deleted_at, audit_seq = d.audit_seq
         WHERE f.id = d.id;
    END IF;
END
$$;

-- A field of the body, or what was there before when the body does not name it.
CREATE FUNCTION walwarden._field(body jsonb, field text, before text) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN body ? field THEN body ->> field ELSE before END
$$;

CREATE FUNCTION walwarden._rest_create_destination(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.destination;
BEGIN
    d.id := gen_random_uuid();
    d.org_id := r.org_id;
    d.name := r.body ->> 'name';
    d.provider := r.body ->> 'provider';
    d.uri := r.body ->> 'uri';
    d.region := r.body ->> 'region';
    d.credential_ref := r.body ->> 'credentialRef';
    d.retention_floor_days := coalesce((r.body ->> 'retentionFloorDays')::integer, 0);
    PERFORM walwarden._store_destination('destination.created', NULL, d);
    r.id := d.id;
    RETURN walwarden._rest_get_destination(r);
END
$$;

CREATE FUNCTION walwarden._rest_update_destination(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.destination := walwarden._rest_destination(r.org_id, r.id);
    d walwarden.destination := was;
BEGIN
    d.name := walwarden._field(r.body, 'name', d.name);
    d.region := walwarden._field(r.body, 'region', d.region);
    d.credential_ref := walwarden._field(r.body, 'credentialRef', d.credential_ref);
    d.retention_floor_days := walwarden._field(r.body, 'retentionFloorDays', d.retention_floor_days::text)::integer;
    IF walwarden._destination_state(d) <> walwarden._destination_state(was) THEN
        PERFORM walwarden._store_destination('destination.updated', was, d);
    END IF;
    RETURN walwarden._rest_get_destination(r);
END
$$;

CREATE FUNCTION walwarden._rest_delete_destination(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.destination := walwarden._rest_destination(r.org_id, r.id);
    d walwarden.destination := was;
BEGIN
    IF EXISTS (SELECT FROM walwarden.database AS f WHERE f.destination_id = d.id AND f.deleted_at IS NULL)
       OR EXISTS (SELECT FROM walwarden.job AS j WHERE j.org_id = r.org_id AND j.destination_id = d.id AND NOT j.done) THEN
        PERFORM walwarden._rest_fail(409, 'the destination is in use', jsonb_build_object(
            'reason', 'destination_in_use', 'nextAction', 'Give its databases another destination, and wait for its jobs.'));
    END IF;
    d.deleted_at := clock_timestamp();
    PERFORM walwarden._store_destination('destination.deleted', was, d);
    RETURN NULL;
END
$$;

-- Databases.

CREATE VIEW walwarden._shown_database AS
    SELECT d.org_id, d.id, d.created_at,
           walwarden._object(
               'id', d.id, 'name', d.name, 'engine', d.engine, 'postgresVersion', d.postgres_version,
               'connectionRef', d.connection_ref, 'destinationId', d.destination_id, 'schedule', d.schedule,
               'objectives', walwarden._object('rpoSeconds', d.rpo_seconds, 'rtoSeconds', d.rto_seconds),
               -- by the newest backup that ended in one of the two; mostly that is the newest of all
               'state', CASE CASE WHEN n.state IN ('completed', 'failed') THEN n.state
                                  WHEN n.id IS NOT NULL THEN
                                      (SELECT j.state
                                         FROM walwarden.job AS j
                                        WHERE j.database_id = d.id AND j.kind = 'backup' AND j.state IN ('completed', 'failed')
                                        ORDER BY j.queued_at DESC, j.id DESC LIMIT 1) END
                        WHEN 'completed' THEN 'protected' WHEN 'failed' THEN 'failing' ELSE 'unprotected' END,
               'lastBackup', CASE WHEN n.id IS NOT NULL THEN walwarden._object(
                   'backupJobId', n.id, 'state', n.state,
                   'queuedAt', n.queued_at, 'finishedAt', n.finished_at) END,
               'readiness', walwarden._object(
                   'verdict', CASE WHEN e.recoverable_to IS NULL THEN 'unproven' ELSE 'ready' END,
                   'recoverableTo', e.recoverable_to,
                   'rpoMet', e.recoverable_to >= statement_timestamp() - make_interval(secs => d.rpo_seconds)),
               'createdAt', d.created_at, 'updatedAt', d.updated_at) AS item
      FROM walwarden.database AS d
      LEFT JOIN LATERAL (SELECT j.id, j.state, j.queued_at, j.finished_at
                           FROM walwarden.job AS j
                          WHERE j.database_id = d.id AND j.kind = 'backup'
                          ORDER BY j.queued_at DESC, j.id DESC LIMIT 1) AS n ON true
      LEFT JOIN LATERAL (SELECT v.recoverable_to
                           FROM walwarden._standing_evidence AS v
                          WHERE v.database_id = d.id AND n.id IS NOT NULL    -- without a backup there is none
                          ORDER BY v.recoverable_to DESC LIMIT 1) AS e ON true
     WHERE d.deleted_at IS NULL;

CREATE FUNCTION walwarden._rest_list_databases(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_page(r, 'databases', ARRAY(
        SELECT (d.created_at, d.id::text, d.item)::walwarden.rest_item
          FROM walwarden._shown_database AS d
         WHERE d.org_id = r.org_id
           AND (d.created_at, d.id) < (r.after_at, r.after_id::uuid)
         ORDER BY d.created_at DESC, d.id DESC
         LIMIT r.max_rows + 1));
END
$$;

CREATE FUNCTION walwarden._rest_get_database(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN walwarden._rest_found((SELECT d.item FROM walwarden._shown_database AS d WHERE d.org_id = r.org_id AND d.id = r.id));
END
$$;

CREATE FUNCTION walwarden._rest_database(org_id uuid, id uuid, field text DEFAULT NULL) RETURNS walwarden.database
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database;
BEGIN
    SELECT * INTO d FROM walwarden.database AS f WHERE f.org_id = $1 AND f.id = $2 AND f.deleted_at IS NULL;
    IF NOT FOUND THEN
        PERFORM walwarden._rest_missing(field);
    END IF;
    RETURN d;
END
$$;

CREATE FUNCTION walwarden._store_database(event text, was walwarden.database, d walwarden.database) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM walwarden.database AS f
                WHERE f.org_id = d.org_id AND f.name = d.name AND f.id <> d.id AND f.deleted_at IS NULL) THEN
        PERFORM walwarden._rest_name_taken();
    END IF;
    d.updated_at := clock_timestamp();
    d.created_at := coalesce(d.created_at, d.updated_at);
    d.audit_seq := walwarden._append(d.org_id, event,
        walwarden._change(walwarden._token_actor(walwarden._caller()), 'database', d.id::text,
                          CASE WHEN was.id IS NOT NULL THEN walwarden._database_state(was) END, walwarden._database_state(d)));
    IF was.id IS NULL THEN
        INSERT INTO walwarden.database SELECT d.*;
    ELSE
        UPDATE walwarden.database AS f
           SET name = d.name, postgres_version = d.postgres_version, connection_ref = d.connection_ref,
               destination_id = d.destination_id, schedule = d.schedule,
               rpo_seconds = d.rpo_seconds, rto_seconds = d.rto_seconds,
               updated_at = d.updated_at, deleted_at = d.deleted_at, audit_seq = d.audit_seq
         WHERE f.id = d.id;
    END IF;
END
$$;

CREATE FUNCTION walwarden._rest_create_database(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    d walwarden.database;
BEGIN
    d.id := gen_random_uuid();
    d.org_id := r.org_id;
    d.name := r.body ->> 'name';
    d.engine := coalesce(r.body ->> 'engine', 'postgresql');
    d.postgres_version := r.body ->> 'postgresVersion';
    d.connection_ref := r.body ->> 'connectionRef';
    d.destination_id := walwarden._rest_body_destination(r);
    d.schedule := r.body ->> 'schedule';
    d.rpo_seconds := r.body #>> '{objectives,rpoSeconds}';
    d.rto_seconds := r.body #>> '{objectives,rtoSeconds}';
    PERFORM walwarden._store_database('database.created', NULL, d);
    r.id := d.id;
    RETURN walwarden._rest_get_database(r);
END
$$;

CREATE FUNCTION walwarden._rest_update_database(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.database := walwarden._rest_database(r.org_id, r.id);
    d walwarden.database := was;
BEGIN
    d.name := walwarden._field(r.body, 'name', d.name);
    d.postgres_version := walwarden._field(r.body, 'postgresVersion', d.postgres_version);
    d.connection_ref := walwarden._field(r.body, 'connectionRef', d.connection_ref);
    IF r.body ? 'destinationId' THEN
        d.destination_id := walwarden._rest_body_destination(r);
    END IF;
    d.schedule := walwarden._field(r.body, 'schedule', d.schedule);
    d.rpo_seconds := walwarden._field(r.body -> 'objectives', 'rpoSeconds', d.rpo_seconds::text);
    d.rto_seconds := walwarden._field(r.body -> 'objectives', 'rtoSeconds', d.rto_seconds::text);
    IF walwarden._database_state(d) <> walwarden._database_state(was) THEN
        PERFORM walwarden._store_database('database.updated', was, d);
    END IF;
    RETURN walwarden._rest_get_database(r);
END
$$;

CREATE FUNCTION walwarden._rest_delete_database(r walwarden.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden.database := walwarden._rest_database(r.org_id, r.id);
    d walwarden.database := was;
BEGIN
    IF EXISTS (SELECT FROM walwarden.job AS j WHERE j.org_id = r.org_id AND j.database_id = d.id AND NOT j.done) THEN
        PERFORM walwarden._rest_fail(409, 'the database has jobs that are not done', jsonb_build_object(
            'reason', 'job_active', 'nextAction', 'Cancel its backup, or wait for its jobs.'));
    END IF;
    d.deleted_at := clock_timestamp();
    PERFORM walwarden._store_database('database.deleted', was, d);
    RETURN NULL;
END
$$;
