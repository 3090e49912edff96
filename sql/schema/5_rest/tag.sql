-- What the entity tags of REST v1 are remembered by (src/rest/tag.c).

-- What the responses about an organisation follow from, but for the request and the clock: the
-- version of the extension, the head of the chain, and what a page, or one resource, shows
-- although no entry describes it. schema: of the resource. id: NULL for a page.
CREATE FUNCTION walwarden_internal.rest_state(org_id uuid, schema text, id uuid, max_rows integer, after_at timestamptz, after_id text) RETURNS text
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    silent json;
BEGIN
    CASE schema
    WHEN 'Database' THEN
        -- A schedule can become due at another time without an entry. An index finds that an
        -- organisation has none: by min(), as in is_schedule_due().
        IF id IS NOT NULL
           OR coalesce((SELECT min(s.next_run_at) FROM walwarden_internal.database AS s WHERE s.org_id = $1),
                       (SELECT min(s.next_drill_at) FROM walwarden_internal.database AS s WHERE s.org_id = $1)) IS NOT NULL THEN
            silent := (
                SELECT json_agg(json_build_array(d.id, d.next_run_at, d.next_drill_at) ORDER BY d.id)
                  FROM ((SELECT f.id, f.next_run_at, f.next_drill_at FROM walwarden_internal.database AS f
                          WHERE $3 IS NULL AND f.org_id = $1 AND f.deleted_at IS NULL AND (f.created_at, f.id) < ($5, $6::uuid)
                          ORDER BY f.created_at DESC, f.id DESC LIMIT $4)
                        UNION ALL
                        SELECT f.id, f.next_run_at, f.next_drill_at FROM walwarden_internal.database AS f WHERE f.org_id = $1 AND f.id = $3) AS d);
        END IF;
    WHEN 'Destination' THEN
        -- a report that repeats the state has no entry
        silent := (
            SELECT json_agg(json_build_array(d.id, d.reported_at, d.reported_detail) ORDER BY d.id)
              FROM ((SELECT f.* FROM walwarden_internal.destination AS f
                      WHERE $3 IS NULL AND f.org_id = $1 AND f.deleted_at IS NULL AND (f.created_at, f.id) < ($5, $6::uuid)
                      ORDER BY f.created_at DESC, f.id DESC LIMIT $4)
                    UNION ALL
                    SELECT f.* FROM walwarden_internal.destination AS f WHERE f.org_id = $1 AND f.id = $3) AS d);
    WHEN 'Backup', 'Restore', 'Evidence' THEN
        NULL;   -- of jobs, only those that are done are remembered
    END CASE;
    RETURN json_build_array(
        (SELECT e.extversion FROM pg_extension AS e WHERE e.extname = 'walwarden'),     -- version(), without starting a function
        (SELECT encode(a.hash, 'hex') FROM walwarden_internal.audit_entry AS a WHERE a.org_id = $1 ORDER BY a.seq DESC LIMIT 1),
        silent);
END
$$;

-- Until when a response stays as it is if rest_state() does: -infinity if it can change at once.
CREATE FUNCTION walwarden_internal.rest_unchanged_until(schema text, list_field text, response json) RETURNS timestamptz
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    items json[] := CASE WHEN list_field IS NULL THEN ARRAY[response] ELSE ARRAY(SELECT json_array_elements(response -> list_field)) END;
BEGIN
    RETURN CASE
        -- an objective is missed as time passes
        WHEN schema = 'Database' THEN coalesce((
            SELECT min(walwarden_internal.later((i #>> '{readiness,recoverableTo}')::timestamptz, (i #>> '{objectives,rpoSeconds}')::numeric))
              FROM unnest(items) AS i WHERE (i #>> '{readiness,rpoMet}')::boolean), 'infinity')
        -- progress has no entry
        WHEN schema IN ('Backup', 'Restore') THEN CASE WHEN EXISTS (SELECT FROM unnest(items) AS i WHERE (i ->> 'done')::boolean IS NOT TRUE) THEN '-infinity'::timestamptz ELSE 'infinity' END
        WHEN schema IN ('Destination', 'Evidence') THEN 'infinity' END;
END
$$;
