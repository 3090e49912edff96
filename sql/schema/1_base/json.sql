-- JSON functions in C, and parsing of text that may not be JSON.

-- NULL if body is not JSON: a tampered body must lead to a verdict, not an error.
CREATE FUNCTION walwarden_internal.json_or_null(body text) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN body::jsonb;
EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
    RETURN NULL;
END
$$;

-- An object of a response: a cheaper json_build_object() for literal keys and the types that
-- occur in responses, with times as the API shows them.
CREATE FUNCTION walwarden_internal.object(VARIADIC "any") RETURNS json
    LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'walwarden_object';

-- any_spelling: whether an integer may be spelled in any way, such as 1.0 or 1e2.
CREATE FUNCTION walwarden_internal.canonical_json(input bytea, any_spelling boolean DEFAULT false, OUT canonical text, OUT error text, OUT error_at integer, OUT duplicate_key text)
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_canonical_json';
