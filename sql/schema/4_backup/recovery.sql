-- Recovery claims, derived from evidence and restores.

-- The restores and drills that are conclusive about their backup: those that completed and
-- passed validation, and those that failed and blame the backup. A failure of the target or
-- of the node is not conclusive.
CREATE VIEW walwarden_internal.conclusive_restore AS
    SELECT j.backup_job_id, j.id, j.finished_at, j.state = 'completed' AS restored
      FROM walwarden_internal.job AS j
     WHERE j.kind IN ('restore', 'drill')
       AND ((j.state = 'completed' AND j.validation ->> 'result' = 'passed')
            OR (j.state = 'failed' AND j.error ->> 'blames' = 'backup'));
COMMENT ON VIEW walwarden_internal.conclusive_restore IS 'Restores and drills that are conclusive about whether their backup can be restored.';

-- Evidence from the claim that holds or completed its backup. Evidence from an earlier claim
-- is only in the chain.
CREATE VIEW walwarden_internal.current_evidence AS
    SELECT e.*, j.destination_id, j.state AS job_state, j.first_seq, greatest(j.audit_seq, e.audit_seq) AS last_seq
      FROM walwarden_internal.evidence AS e
      JOIN walwarden_internal.job AS j ON j.id = e.backup_job_id AND j.fence = e.fence;
COMMENT ON VIEW walwarden_internal.current_evidence IS 'Evidence from the claim that holds or completed its backup.';

-- The evidence that recovery claims rest on: it is verified, its backup is completed, the
-- destination still exists, and the last conclusive restore did not refute it. This view
-- alone decides that.
CREATE VIEW walwarden_internal.valid_evidence AS
    SELECT e.*
      FROM walwarden_internal.current_evidence AS e
      JOIN walwarden_internal.destination AS d ON d.id = e.destination_id AND d.deleted_at IS NULL
     WHERE e.state = 'verified' AND e.job_state = 'completed'
       AND (SELECT t.restored FROM walwarden_internal.conclusive_restore AS t
             WHERE t.backup_job_id = e.backup_job_id
             ORDER BY t.finished_at DESC LIMIT 1) IS NOT FALSE;
COMMENT ON VIEW walwarden_internal.valid_evidence IS 'Evidence that recovery claims rest on: verified, at a destination that still exists, and not refuted.';

-- The recovery windows of a database. Verified spans that meet or overlap form one window.
-- id: the window_id of its first backup's evidence, which later backups do not change.
CREATE FUNCTION walwarden_internal.recovery_windows(database_id uuid)
    RETURNS TABLE (id uuid, starts timestamptz, ends timestamptz, members uuid[])
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    WITH span AS (
        SELECT e.*, max(e.recoverable_to) OVER (ORDER BY e.recoverable_from, e.recoverable_to DESC, e.backup_job_id
                                                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached
          FROM walwarden_internal.valid_evidence AS e
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

CREATE FUNCTION walwarden_internal.last_verified(database_id uuid) RETURNS timestamptz
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT max(e.checked_at) FROM walwarden_internal.valid_evidence AS e WHERE e.database_id = $1
$$;
