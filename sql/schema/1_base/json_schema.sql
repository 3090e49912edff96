-- The JSON Schemas (2020-12) of requests and responses. For requests, they use only keywords
-- that schema_problem() enforces; it does not accept another one. json, not jsonb, keeps the
-- order of the properties.
-- x-required-scope: a scope that a request needs in addition to the operation's own if it
-- contains the property. x-secret: the only strings in which a secret is accepted; nothing
-- stores or logs them. x-rules: a list of {when, field, must, nextAction}: if the object
-- contains the members of when, then the field is there and matches the schema must. Not
-- if and then, because generators make nothing usable of them.
CREATE TABLE walwarden_internal.json_schema (
    name   text COLLATE "C" PRIMARY KEY,
    schema json NOT NULL
);

COMMENT ON TABLE walwarden_internal.json_schema IS 'REST v1: JSON Schemas of requests and responses. Built in, immutable.';
COMMENT ON COLUMN walwarden_internal.json_schema.schema IS 'JSON Schema 2020-12';

-- A schema by its name or by a $ref.
CREATE FUNCTION walwarden_internal.schema(name text) RETURNS json
    LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT s.schema FROM walwarden_internal.json_schema AS s WHERE s.name = replace($1, '#/components/schemas/', ''));
END
$$;

-- The name of a field from outside, made fit for a response.
CREATE FUNCTION walwarden_internal.field_name(name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE name WHEN '' THEN '""' ELSE substr(shown, 2, length(shown) - 2) END FROM (SELECT walwarden_internal.shown(name)) AS s(shown)
$$;

-- Whether a text contains something that looks like a secret: a token, a URL with a
-- password, or the password of a connection string (src/base/text.c).
CREATE FUNCTION walwarden_internal.holds_secret(value text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'walwarden_holds_secret';

-- Whether value is a schedule that walwarden.cron_next() accepts (src/common/cron.c).
CREATE FUNCTION walwarden_internal.is_cron(value text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'walwarden_is_cron';

-- Whether value is a time as the API takes it (src/common/syntax.c).
CREATE FUNCTION walwarden_internal.is_time(value text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'walwarden_is_time';

-- A schema as jsonb, which has no order: properties are a list of names and schemas in turn.
CREATE FUNCTION walwarden_internal.schema_in_order(schema json) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF json_typeof(schema) <> 'object' THEN
        RETURN schema;
    END IF;
    RETURN (SELECT coalesce(jsonb_object_agg(s.key, CASE s.key
                       WHEN 'items' THEN walwarden_internal.schema_in_order(s.value)
                       WHEN 'properties' THEN
                           (SELECT coalesce(jsonb_agg(i.item ORDER BY p.n, i.n), '[]')
                              FROM json_each(s.value) WITH ORDINALITY AS p(name, schema, n),
                                   LATERAL (VALUES (1, to_jsonb(p.name)), (2, walwarden_internal.schema_in_order(p.schema))) AS i(n, item))
                       WHEN 'x-rules' THEN
                           (SELECT coalesce(jsonb_agg(r.rule::jsonb || jsonb_build_object('must', walwarden_internal.schema_in_order(r.rule -> 'must')) ORDER BY r.n), '[]')
                              FROM json_array_elements(s.value) WITH ORDINALITY AS r(rule, n))
                       ELSE s.value::jsonb END), '{}')
              FROM json_each(schema) AS s);
END
$$;

-- The first violation of schema by value, as {field, reason, message}, for a rule with its
-- nextAction too; NULL if value is valid (src/base/schema_problem.c). schema: the name of one,
-- or a schema. field: the path of value, '' at the top. Messages never quote a value.
CREATE FUNCTION walwarden_internal.schema_problem(schema text, value jsonb, field text) RETURNS jsonb
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'walwarden_schema_problem';
