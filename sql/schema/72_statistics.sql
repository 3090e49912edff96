-- How many authentications were accepted and refused, for operators.

-- The counters in shared memory; no rows without preload.
CREATE FUNCTION walwarden._auth_counters() RETURNS TABLE (outcome text, reason text, count bigint)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_auth_counters';

CREATE FUNCTION walwarden._auth_statistics() RETURNS TABLE (outcome text, reason text, count bigint)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden._require(walwarden._caller(), NULL, 'statistics.read', 'any');
    RETURN QUERY SELECT * FROM walwarden._auth_counters();
END
$$;

CREATE FUNCTION walwarden.auth_statistics() RETURNS TABLE (outcome text, reason text, count bigint)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden.auth_statistics() IS
'The door behind the view stat_auth. For operators. Errors: 42501 no operator. Example: SELECT reason, count FROM walwarden.stat_auth WHERE outcome = ''refused'';';

-- Read with the rights of the reader where the function is concerned: who is no
-- operator is refused, however they got SELECT.
CREATE VIEW walwarden.stat_auth AS
    SELECT * FROM walwarden.auth_statistics();
