-- Retention: when backups expire. Maintenance queues a job of kind expire for a backup whose
-- time is over. The node that completes it has deleted the artifact, and the backup is then
-- expired.

INSERT INTO walwarden_internal.job_state (machine, state, done) VALUES
    ('expire', 'queued',    false),
    ('expire', 'claimed',   false),
    ('expire', 'completed', true),
    ('expire', 'failed',    true),
    ('backup', 'expired',   true);

-- A node claims an expiry, fails with it, and loses it as it does a backup.
INSERT INTO walwarden_internal.job_transition (machine, from_state, to_state, moved_by, event)
SELECT 'expire', t.from_state, t.to_state, t.moved_by, 'expire.' || split_part(t.event, '.', 2)
  FROM walwarden_internal.job_transition AS t
 WHERE t.machine = 'backup' AND t.from_state IN ('queued', 'claimed') AND t.to_state IN ('queued', 'claimed', 'failed')
   AND t.moved_by IN ('runner', 'lease');
INSERT INTO walwarden_internal.job_transition (machine, from_state, to_state, moved_by, event) VALUES
    ('expire', NULL,        'queued',    'expire', 'expire.queued'),
    ('expire', 'claimed',   'completed', 'runner', 'expire.completed'),
    ('backup', 'completed', 'expired',   'expire', 'backup.expired'),
    -- the backup is needed after all
    ('expire', 'queued',    'failed',    'expire', 'expire.failed'),
    ('expire', 'queued',    'failed',    'close',  'expire.failed'),
    ('expire', 'claimed',   'failed',    'close',  'expire.failed');

-- Whether a backup may expire, whatever its age: a later one is verified, and no active
-- restore or drill names it. So the newest verified backup of a database never expires, nor
-- does any as long as none is verified.
CREATE FUNCTION walwarden_internal.is_expendable(backup_job_id uuid) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    b walwarden_internal.job;
BEGIN
    SELECT * INTO b FROM walwarden_internal.job AS f WHERE f.id = $1;
    RETURN b.state = 'completed'
       AND NOT EXISTS (SELECT FROM walwarden_internal.job AS r WHERE r.backup_job_id = b.id AND r.kind IN ('restore', 'drill') AND NOT r.done)
       AND EXISTS (SELECT FROM walwarden_internal.newest_verified(b.database_id) AS e
                     JOIN walwarden_internal.job AS n ON n.id = e.backup_job_id
                    WHERE (n.finished_at, n.id) > (b.finished_at, b.id));
END
$$;

-- The backups that are old enough to expire now, if they are expendable. Their destination
-- exists, and their database was not deleted: nobody could see them go. Those that a copy of
-- production has from production are not its own to delete. After a failure a day passes
-- before the next try. A clock that jumped ahead expires nothing (removal_limit()). An index
-- finds those of a database and a destination, oldest first; is_expendable() costs much more,
-- and OFFSET 0 keeps it from the others.
CREATE VIEW walwarden_internal.aged_backup AS
    SELECT d.org_id, j.id
      FROM walwarden_internal.database AS d
      JOIN walwarden_internal.destination AS t ON t.org_id = d.org_id AND t.deleted_at IS NULL
     CROSS JOIN LATERAL (
           SELECT f.id
             FROM walwarden_internal.job AS f
            WHERE f.database_id = d.id AND f.destination_id = t.id AND f.kind = 'backup' AND f.state = 'completed'
              AND f.finished_at <= walwarden_internal.later((SELECT walwarden_internal.removal_limit()), -86400::numeric * greatest(d.retention_days, t.retention_floor_days))
              AND f.finished_at > coalesce((SELECT e.at FROM walwarden_internal.audit_entry AS e
                                             WHERE e.org_id = walwarden_internal.system_org() AND e.kind = 'copy.closed' ORDER BY e.seq DESC LIMIT 1), '-infinity')
              AND NOT EXISTS (SELECT FROM walwarden_internal.job AS x
                               WHERE x.backup_job_id = f.id AND x.kind = 'expire'
                                 AND (NOT x.done OR x.finished_at > walwarden_internal.later(statement_timestamp(), -86400)))
            ORDER BY f.finished_at
           OFFSET 0) AS j
     WHERE d.deleted_at IS NULL
       -- nothing is deleted unless somebody said when
       AND (d.retention_days IS NOT NULL OR t.retention_floor_days > 0);
COMMENT ON VIEW walwarden_internal.aged_backup IS 'Backups that expire now if they are expendable: retentionDays or the floor of the destination is over.';

-- Expiries that no node has ever claimed, of backups that are needed after all: the later one
-- was refuted. What a node has begun to delete cannot be kept.
CREATE VIEW walwarden_internal.needless_expiry AS
    SELECT x.org_id, x.id
      FROM walwarden_internal.job AS x
     WHERE x.kind = 'expire' AND x.state = 'queued' AND x.fence = 0 AND NOT walwarden_internal.is_expendable(x.backup_job_id);
COMMENT ON VIEW walwarden_internal.needless_expiry IS 'Expiries that no node has claimed, of backups that are needed after all.';

-- Looks at the organisations that have aged backups, or expiries that wait. Few have; to ask each
-- for its own would take longer.
CREATE FUNCTION walwarden_internal.orgs_with_overdue_backups() RETURNS SETOF uuid
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT candidate.org_id
      FROM (SELECT b.org_id FROM walwarden_internal.aged_backup AS b
            UNION
            SELECT x.org_id FROM walwarden_internal.job AS x WHERE x.kind = 'expire' AND NOT x.done) AS candidate
     WHERE (SELECT o.closed_at IS NULL FROM walwarden_internal.org AS o WHERE o.id = candidate.org_id)
       -- OFFSET 0, so that it is asked for each by itself, as far as the first
       AND (EXISTS (SELECT FROM walwarden_internal.aged_backup AS b WHERE b.org_id = candidate.org_id AND walwarden_internal.is_expendable(b.id) OFFSET 0)
            -- for all at once: the planner could read all that wait for each
            OR candidate.org_id IN (SELECT x.org_id FROM walwarden_internal.needless_expiry AS x))
     ORDER BY candidate.org_id      -- in which order their locks are acquired
$$;

-- Ends an expiry that no node has ever claimed. The caller must hold the lock on the row.
CREATE FUNCTION walwarden_internal.end_expiry(actor jsonb, was walwarden_internal.job, reason text) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    j walwarden_internal.job := was;
BEGIN
    j.state := 'failed';
    j.error := jsonb_build_object('class', 'backup_needed', 'message', reason, 'retryable', false);
    PERFORM walwarden_internal.move_job(actor, 'expire', was, j);
END
$$;

-- Queues the expiry of backups of an organisation that are overdue, of each database the
-- oldest first, at most so many, and returns how many. At most 1000 wait at a time: where no
-- node claims them, they are looked at again in each round. Ends expiries that are needless.
CREATE FUNCTION walwarden_internal.queue_expiries(org_id uuid, most integer) RETURNS integer
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    needless walwarden_internal.job[];
    b walwarden_internal.job;
    j walwarden_internal.job;
    waiting integer;
    queued integer := 0;
BEGIN
    PERFORM walwarden_internal.acquire_org_lock(org_id);
    IF EXISTS (SELECT FROM walwarden_internal.org AS o WHERE o.id = $1 AND o.closed_at IS NOT NULL) THEN
        RETURN 0;
    END IF;
    needless := ARRAY(SELECT f FROM walwarden_internal.job AS f
                       WHERE f.id IN (SELECT x.id FROM walwarden_internal.needless_expiry AS x WHERE x.org_id = $1)
                         FOR NO KEY UPDATE SKIP LOCKED);
    FOREACH j IN ARRAY needless LOOP
        PERFORM walwarden_internal.end_expiry(walwarden_internal.actor('system'), j, 'no later backup is verified any more');
    END LOOP;
    SELECT count(*) INTO waiting FROM walwarden_internal.job AS f WHERE f.org_id = $1 AND f.kind = 'expire' AND f.state = 'queued';
    FOR b IN SELECT f.* FROM walwarden_internal.job AS f
              WHERE f.id = ANY (ARRAY(SELECT a.id FROM walwarden_internal.aged_backup AS a
                                       WHERE a.org_id = $1 AND walwarden_internal.is_expendable(a.id)
                                       LIMIT greatest(least(most, 1000 - waiting), 0)))
              ORDER BY f.finished_at, f.id LOOP
        j := walwarden_internal.new_job(org_id, 'expire', 'schedule');
        j.database_id := b.database_id;
        j.destination_id := b.destination_id;
        j.backup_job_id := b.id;
        PERFORM walwarden_internal.move_job(walwarden_internal.actor('system'), 'expire', NULL, j);
        queued := queued + 1;
    END LOOP;
    RETURN queued;
END
$$;

-- The backup of an expiry that completes is expired. The caller holds the lock on the row of
-- the expiry, and not yet that of the chain.
CREATE FUNCTION walwarden_internal.expire_backup(actor jsonb, expiry walwarden_internal.job) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was walwarden_internal.job;
    b walwarden_internal.job;
BEGIN
    SELECT * INTO was FROM walwarden_internal.job AS f WHERE f.id = expiry.backup_job_id FOR NO KEY UPDATE;
    b := was;
    b.state := 'expired';
    PERFORM walwarden_internal.move_job(actor, 'expire', was, b);
END
$$;

-- Keeps a backup that a request is about to name: ends an expiry that no node has ever
-- claimed. Returns whether there is no other; its artifact may already be gone. The caller must
-- hold the lock of the organisation, so that no other expiry is queued.
CREATE FUNCTION walwarden_internal.keep_backup(actor jsonb, org_id uuid, backup_job_id uuid) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    x walwarden_internal.job;
BEGIN
    SELECT * INTO x FROM walwarden_internal.job AS f
     WHERE f.org_id = $2 AND f.backup_job_id = $3 AND f.kind = 'expire' AND NOT f.done FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN true;
    ELSIF x.fence > 0 THEN
        RETURN false;
    END IF;
    PERFORM walwarden_internal.end_expiry(actor, x, 'a restore or drill of the backup was requested');
    RETURN true;
END
$$;
