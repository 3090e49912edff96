-- The handler of reports of leaked tokens. It needs no identity, and its response is the same
-- for every token.

CREATE FUNCTION walwarden_internal.rest_report_leaked_token(r walwarden_internal.rest_request) RETURNS json
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    source text;
    revoked boolean;
BEGIN
    BEGIN
        source := walwarden_internal.check_leak_source(r.body ->> 'source', r.body ->> 'token');
    EXCEPTION WHEN invalid_parameter_value THEN
        PERFORM walwarden_internal.rest_fail('malformed', SQLERRM, '{"field": "source"}');
    END;
    revoked := walwarden_internal.revoke_leaked(r.body ->> 'token', source);
    RETURN NULL;
END
$$;
