-- Uses of tokens (src/token/usage.c).

-- The usage of a token: its row of token_usage, with what shared memory has of it. All but the
-- times of uses is NULL without preload.
CREATE FUNCTION walwarden_internal.current_usage(token_id uuid, on_record walwarden_internal.token_usage) RETURNS walwarden_internal.token_usage
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_current_usage';

-- Called by authenticate() if the worker does not record the use, at most once a minute per
-- credential. created_at: of the credential. Never waits.
CREATE FUNCTION walwarden_internal.record_usage(token_id uuid, slot smallint, created_at timestamptz) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now timestamptz := clock_timestamp();
    slot_at timestamptz := greatest(now, created_at);       -- if the clock went back
BEGIN
    UPDATE walwarden_internal.token_usage AS u
       SET last_used_at = now, last_used_from = NULL,
           slot0_used_at = CASE WHEN slot = 0 THEN slot_at ELSE u.slot0_used_at END,
           slot1_used_at = CASE WHEN slot = 1 THEN slot_at ELSE u.slot1_used_at END
     WHERE u.token_id = (SELECT f.token_id FROM walwarden_internal.token_usage AS f
                          WHERE f.token_id = record_usage.token_id
                            FOR UPDATE SKIP LOCKED);
EXCEPTION
    WHEN disk_full THEN
        NULL;       -- the token is valid, and reading is still possible
END
$$;

-- The counts on record of these tokens, from which shared memory counts on.
CREATE FUNCTION walwarden_internal.counts_on_record(ids uuid[]) RETURNS TABLE (token_id uuid, uses bigint, refusals bigint)
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT u.token_id, coalesce(u.uses, 0), coalesce(u.refusals, 0)
      FROM walwarden_internal.token_usage AS u
     WHERE u.token_id = ANY (ids)
$$;

-- Called by the worker with the usage of distinct tokens. Never waits, and never sets a time
-- or a count back. Returns the tokens to retry, whose row another transaction has locked.
-- Tokens without a row are not returned.
CREATE FUNCTION walwarden_internal.flush_usage(
        ids uuid[], used_at timestamptz[], slot0_used_at timestamptz[], slot1_used_at timestamptz[], used_from inet[], uses bigint[],
        refusals bigint[], refused_at timestamptz[], refused_reason text[]) RETURNS SETOF uuid
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        WITH n AS (
            SELECT * FROM unnest(ids, used_at, slot0_used_at, slot1_used_at, used_from, uses, refusals, refused_at, refused_reason)
                AS f(token_id, used_at, slot0_used_at, slot1_used_at, used_from, uses, refusals, refused_at, refused_reason)),
        locked AS (
            SELECT n.*
              FROM n JOIN walwarden_internal.token_usage AS f ON f.token_id = n.token_id
               FOR UPDATE OF f SKIP LOCKED),
        written AS (
            UPDATE walwarden_internal.token_usage AS u
               SET last_used_at = greatest(u.last_used_at, l.used_at),
                   slot0_used_at = greatest(u.slot0_used_at, l.slot0_used_at),
                   slot1_used_at = greatest(u.slot1_used_at, l.slot1_used_at),
                   last_used_from = CASE WHEN l.used_at >= u.last_used_at OR u.last_used_at IS NULL THEN l.used_from ELSE u.last_used_from END,
                   uses = greatest(u.uses, l.uses),
                   refusals = greatest(u.refusals, l.refusals),
                   last_refused_at = greatest(u.last_refused_at, l.refused_at),
                   last_refused_reason = CASE WHEN l.refused_at >= u.last_refused_at OR u.last_refused_at IS NULL THEN l.refused_reason ELSE u.last_refused_reason END
              FROM locked AS l
             WHERE u.token_id = l.token_id)
        SELECT f.token_id
          FROM walwarden_internal.token_usage AS f
         WHERE f.token_id = ANY (ARRAY(SELECT n.token_id FROM n EXCEPT SELECT l.token_id FROM locked AS l));
END
$$;

-- Called by the worker of a standby, on its primary, with the usage of distinct tokens since
-- its last report.
CREATE FUNCTION walwarden.receive_usage(
        token_ids uuid[], used_at timestamptz[], slot0_used_at timestamptz[], slot1_used_at timestamptz[], used_from inet[], uses bigint[],
        refusals bigint[], refused_at timestamptz[], refused_reason text[]) RETURNS integer
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_receive_usage';
COMMENT ON FUNCTION walwarden.receive_usage(uuid[], timestamptz[], timestamptz[], timestamptz[], inet[], bigint[], bigint[], timestamptz[], text[]) IS
'Adds the uses and refusals that a standby has seen to those of this server, and returns of how many tokens. The worker of a standby calls it, as walwarden.primary_conninfo says; there is no need to call it yourself. A time in the future counts as now, and a reason that is unknown here as unknown. For superusers and roles with the attribute REPLICATION. Errors: 42501 if the caller is neither, 55000 without preload or if walwarden.database leaves this database out, 22023 if an array is missing or longer than 1000, the arrays differ in length, a token is there twice, or a count is out of range. Example: SELECT walwarden.receive_usage(''{}'', ''{}'', ''{}'', ''{}'', ''{}'', ''{}'', ''{}'', ''{}'', ''{}'');';

-- The size and use of the table in shared memory, for all databases; NULL without preload.
CREATE FUNCTION walwarden_internal.usage_table(OUT slots integer, OUT used integer, OUT dirty integer, OUT lost bigint)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_usage_table';
