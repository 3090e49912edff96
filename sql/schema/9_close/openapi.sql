-- The handler of the OpenAPI document. It is built at install time, because the tables it is
-- generated from cannot change afterwards.
DO $$
BEGIN
    EXECUTE format('CREATE FUNCTION walwarden_internal.rest_get_open_api(r walwarden_internal.rest_request) RETURNS json '
                   'LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS %L', format('SELECT %L::json', walwarden_internal.openapi()));
END
$$;
