-- Schedules: when backups and drills of a database are due, and how they are queued.

CREATE FUNCTION walwarden.cron_next(schedule text, after timestamptz DEFAULT now()) RETURNS timestamptz
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'walwarden_cron_next';
COMMENT ON FUNCTION walwarden.cron_next(text, timestamptz) IS
'Returns the first time after another at which a schedule is due. schedule: the five fields of cron in UTC, as in a protected database''s schedule: minute, hour, day of month, month, day of week (0 or 7 is Sunday), separated by single spaces. Each field is a list of *, numbers and ranges; * and ranges may have a step. If both day fields are restricted, that is neither * nor */1, a day is due if either has it. docs/schedules.md has the details. Returns NULL for NULL. Errors: 22023 if the schedule is malformed or no date matches it, or if after is infinite. Example: SELECT walwarden.cron_next(''30 3 * * 1-5'');';

-- A schedule queues backups and drills as a request does.
INSERT INTO walwarden_internal.job_transition (machine, from_state, to_state, moved_by, event)
SELECT t.machine, t.from_state, t.to_state, 'schedule', t.event
  FROM walwarden_internal.job_transition AS t
 WHERE t.from_state IS NULL AND t.moved_by = 'api' AND t.machine IN ('backup', 'drill');

-- The newest verified backup of a database that is not about to expire. A scheduled drill
-- restores it, and it never expires.
CREATE FUNCTION walwarden_internal.newest_verified(database_id uuid) RETURNS walwarden_internal.valid_evidence
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    newest walwarden_internal.valid_evidence;
BEGIN
    SELECT * INTO newest
      FROM walwarden_internal.valid_evidence AS e
     WHERE e.database_id = $1
       AND NOT EXISTS (SELECT FROM walwarden_internal.job AS x WHERE x.backup_job_id = e.backup_job_id AND x.kind = 'expire' AND NOT x.done)
     ORDER BY e.recoverable_to DESC, e.recorded_at DESC, e.backup_job_id
     LIMIT 1;
    RETURN newest;
END
$$;

-- Queues the backup or drill that is due, or records once what is in its way. kind: backup or
-- drill. hindered_by: what was recorded last. Returns what is in the way now, or NULL.
CREATE FUNCTION walwarden_internal.queue_scheduled(d walwarden_internal.database, kind text, hindered_by text) RETURNS text
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    j walwarden_internal.job := walwarden_internal.new_job(d.org_id, kind, 'schedule');
    e walwarden_internal.valid_evidence;
    event text;
    obstacle uuid;
    hindrance text;
BEGIN
    j.database_id := d.id;
    IF kind = 'backup' THEN
        j.type := 'full';
        j.destination_id := d.destination_id;
        obstacle := (walwarden_internal.exclusive_job(d.id)).id;
        hindrance := coalesce(obstacle::text, CASE WHEN d.destination_id IS NULL THEN 'no_destination' END);
    ELSE
        e := walwarden_internal.newest_verified(d.id);
        j.backup_job_id := e.backup_job_id;
        j.destination_id := e.destination_id;
        -- as the backup was made, which may not be how the next one will be
        j.mode := CASE coalesce(e.manifest #>> '{engine,method}', d.method) WHEN 'pg_basebackup' THEN 'new_cluster' ELSE 'new_database' END;
        j.target := 'scratch';
        obstacle := (SELECT f.id FROM walwarden_internal.job AS f
                      WHERE f.database_id = d.id AND f.kind = 'drill' AND NOT f.done LIMIT 1);
        hindrance := coalesce(obstacle::text, CASE WHEN e.backup_job_id IS NULL THEN 'no_verified_backup' END);
    END IF;
    IF hindrance IS NULL THEN
        PERFORM walwarden_internal.move_job(walwarden_internal.actor('system'), 'schedule', NULL, j);
    ELSIF hindrance IS DISTINCT FROM hindered_by THEN
        event := CASE kind WHEN 'backup' THEN 'backup.skipped' ELSE 'drill.skipped' END;
        PERFORM walwarden_internal.append(d.org_id, event,
            jsonb_build_object('actor', walwarden_internal.actor('system'), 'databaseId', d.id,
                               'reason', CASE WHEN obstacle IS NULL THEN hindrance ELSE 'job_active' END), obstacle);
    END IF;
    RETURN hindrance;
END
$$;

-- Queues what is due in an organisation, at most so many, and returns how many schedules it
-- served. Each is due next at its first time from now on, so what was missed is made up for
-- once, and a clock that was set back repeats nothing. The caller must hold the lock of the
-- organisation.
CREATE FUNCTION walwarden_internal.queue_due(org_id uuid, most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    now CONSTANT timestamptz := clock_timestamp();
    due record;
    d walwarden_internal.database;
    served integer := 0;
BEGIN
    FOR due IN
        SELECT u.id, u.kind
          FROM (SELECT f.id, 'backup' AS kind, f.next_run_at AS at FROM walwarden_internal.database AS f WHERE f.org_id = org_id AND f.next_run_at <= now
                UNION ALL
                SELECT f.id, 'drill', f.next_drill_at FROM walwarden_internal.database AS f WHERE f.org_id = org_id AND f.next_drill_at <= now) AS u
         ORDER BY u.at, u.id, u.kind
         LIMIT most
    LOOP
        SELECT * INTO d FROM walwarden_internal.database AS f WHERE f.id = due.id FOR NO KEY UPDATE;
        IF due.kind = 'backup' THEN
            d.run_hindered_by := walwarden_internal.queue_scheduled(d, 'backup', d.run_hindered_by);
            d.next_run_at := walwarden.cron_next(d.schedule, now);
        ELSE
            d.drill_hindered_by := walwarden_internal.queue_scheduled(d, 'drill', d.drill_hindered_by);
            d.next_drill_at := walwarden.cron_next(d.drill_schedule, now);
        END IF;
        UPDATE walwarden_internal.database AS f
           SET next_run_at = d.next_run_at, next_drill_at = d.next_drill_at,
               run_hindered_by = d.run_hindered_by, drill_hindered_by = d.drill_hindered_by
         WHERE f.id = d.id;
        served := served + 1;
    END LOOP;
    RETURN served;
END
$$;

-- Whether a schedule of an organisation has been due since that time. By min(), because the
-- planner expects a third of the databases to be due if it does not know the time, and would
-- read all of them to find one.
CREATE FUNCTION walwarden_internal.is_schedule_due(org_id uuid, since timestamptz) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN coalesce(least((SELECT min(d.next_run_at) FROM walwarden_internal.database AS d WHERE d.org_id = $1),
                          (SELECT min(d.next_drill_at) FROM walwarden_internal.database AS d WHERE d.org_id = $1)) <= $2, false);
END
$$;

-- Organisations with schedules that are due, for maintenance.
CREATE FUNCTION walwarden_internal.orgs_with_due_schedules() RETURNS SETOF uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT due.org_id
      FROM (SELECT DISTINCT d.org_id FROM walwarden_internal.database AS d WHERE least(d.next_run_at, d.next_drill_at) <= statement_timestamp()) AS due
     WHERE EXISTS (SELECT FROM walwarden_internal.org AS o WHERE o.id = due.org_id OFFSET 0)
     ORDER BY due.org_id        -- in which order their locks are acquired
$$;

-- The same for one organisation whenever one of its nodes asks for a job, so that schedules
-- do without maintenance. Does not wait: who holds the lock is about to be done, and the next
-- call comes soon.
CREATE FUNCTION walwarden_internal.poll_schedules(org_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF walwarden_internal.is_schedule_due(org_id, clock_timestamp()) AND walwarden_internal.try_org_lock(org_id) THEN
        PERFORM walwarden_internal.queue_due(org_id, 50);
    END IF;
END
$$;

-- Ends the schedules of an organisation that is closed, or of a copy. They are due again if
-- they are set again. Returns how many databases had one.
CREATE FUNCTION walwarden_internal.stop_schedules(org_id uuid) RETURNS bigint
    LANGUAGE sql
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH stopped AS (
        UPDATE walwarden_internal.database AS d SET next_run_at = NULL, next_drill_at = NULL
         WHERE d.org_id = $1 AND (d.next_run_at IS NOT NULL OR d.next_drill_at IS NOT NULL)
        RETURNING d.id)
    SELECT count(*) FROM stopped
$$;
