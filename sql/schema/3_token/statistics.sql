-- Statistics of accepted and refused authentications, for operators and monitors.

-- The counters in shared memory; no rows without preload.
CREATE FUNCTION walwarden_internal.auth_counters() RETURNS TABLE (outcome text, reason text, count bigint)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'walwarden_auth_counters';

CREATE FUNCTION walwarden_internal.stat_auth() RETURNS TABLE (outcome text, reason text, count bigint)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM walwarden_internal.require(walwarden_internal.caller(), NULL, 'statistics.read', 'any');
    RETURN QUERY SELECT * FROM walwarden_internal.auth_counters();
END
$$;

CREATE FUNCTION walwarden_internal.stat_auth_door() RETURNS TABLE (outcome text, reason text, count bigint)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_door';
COMMENT ON FUNCTION walwarden_internal.stat_auth_door() IS
'The door behind the view stat_auth. For operators and monitors. Errors: 42501 if the caller is neither. Example: SELECT reason, count FROM walwarden.stat_auth WHERE outcome = ''refused'';';

-- The function runs as the reader of the view, so only operators and monitors can read it,
-- although PUBLIC has SELECT.
CREATE VIEW walwarden.stat_auth AS
    SELECT * FROM walwarden_internal.stat_auth_door();
COMMENT ON VIEW walwarden.stat_auth IS 'Attempts to authenticate since server start, in all databases together. outcome: accepted or refused. reason: active if accepted, otherwise why the attempt was refused. malformed: the token was NULL or did not have the form of a token, or the request had half a legacy credential or two different credentials. introspect_token() is not counted. Empty without preload. For operators and monitors; other readers fail with 42501. Example: SELECT reason, count FROM walwarden.stat_auth WHERE outcome = ''refused'';';
COMMENT ON COLUMN walwarden.stat_auth.count IS 'number of attempts since server start';
