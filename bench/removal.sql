-- What the removal of tokens is measured against: the same rows, into tables with the same columns
-- and indexes, without triggers, CHECK and foreign keys, by one function. They hold the overdue tokens
-- alone, so their indexes are small beside those of a large database.

CREATE TABLE bench.removed_entry (LIKE walwarden_internal.audit_entry INCLUDING INDEXES);
CREATE TABLE bench.removed_token (LIKE walwarden_internal.token INCLUDING INDEXES);
CREATE TABLE bench.removed_credential (LIKE walwarden_internal.credential INCLUDING INDEXES);

-- Also records a verdict on their chain, so that the round does not verify it.
CREATE FUNCTION bench.copy_overdue(org uuid) RETURNS void
    LANGUAGE sql
AS $$
    INSERT INTO walwarden_internal.verification (org_id, finished_at, entries, head_hash, ok) VALUES (org, now(), 0, '', true);
    INSERT INTO bench.removed_token OVERRIDING USER VALUE SELECT * FROM walwarden_internal.token WHERE org_id = org;
    INSERT INTO bench.removed_credential SELECT * FROM walwarden_internal.credential WHERE org_id = org;
$$;

-- The bodies are those that the removal itself has written before.
CREATE FUNCTION bench.bare_remove(org uuid) RETURNS integer
    LANGUAGE plpgsql
AS $$
DECLARE
    now timestamptz := clock_timestamp();
    ids uuid[] := ARRAY(SELECT t.id FROM bench.removed_token AS t WHERE t.org_id = org AND t.removed_at IS NULL);
BEGIN
    INSERT INTO bench.removed_entry (org_id, seq, at, kind, body, prev_hash, hash)
    SELECT e.org_id, e.seq, now, e.kind, e.body, e.prev_hash, e.hash
      FROM walwarden_internal.audit_entry AS e
     WHERE e.org_id = org AND e.kind IN ('token.expired', 'token.removed');
    UPDATE bench.removed_token SET expired_at = expires_at, removed_at = now, audit_seq = 1, stopped = 'removed' WHERE id = ANY (ids);
    DELETE FROM bench.removed_credential WHERE token_id = ANY (ids);
    RETURN cardinality(ids);
END
$$;
