-- The JSON Schemas (2020-12) of requests and responses. For requests, they use only keywords
-- that schema_problem() enforces. json, not jsonb, keeps the order of the properties.
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

-- Validation of JSON from outside against walwarden_internal.json_schema, so that the
-- published schemas are also the enforced ones.

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

CREATE FUNCTION walwarden_internal.schema_error(field text, reason text, message text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('field', coalesce(nullif(field, ''), 'body'), 'reason', reason,
                              'message', coalesce(nullif(field, ''), 'the body') || ' ' || message)
$$;

-- Whether a text contains something that looks like a secret: a token, a URL with a
-- password, or the password of a connection string. A disguised secret is not detected.
CREATE FUNCTION walwarden_internal.holds_secret(value text) RETURNS boolean
    LANGUAGE sql IMMUTABLE
    RETURN walwarden_internal.contains_token(value)
           OR value ~* '[a-z][a-z0-9+.-]*://[^/@:[:space:]]*:[^/@[:space:]]+@'
           OR value ~* '(^|[^a-z0-9])(password|passwd|pwd)"?[[:space:]]*[=:][[:space:]]*[^[:space:]]';

-- Whether value is a schedule that walwarden.cron_next() accepts (src/common/cron.c).
CREATE FUNCTION walwarden_internal.is_cron(value text) RETURNS boolean
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'walwarden_is_cron';

CREATE FUNCTION walwarden_internal.is_time(value text) RETURNS boolean
    LANGUAGE plpgsql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN value ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9]([.][0-9]{1,6})?Z$'
       AND isfinite(value::timestamptz);
EXCEPTION WHEN data_exception THEN
    RETURN false;
END
$$;

-- The first violation of schema by value, as {field, reason, message}, for a rule with its
-- nextAction too; NULL if value is valid. field: the path of value, '' at the top. Messages never quote a value.
CREATE FUNCTION walwarden_internal.schema_problem(schema json, value jsonb, field text) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    kind text := CASE WHEN jsonb_typeof(value) = 'number' AND value::text ~ '^-?[0-9]+([.]0+)?$' THEN 'integer' ELSE jsonb_typeof(value) END;
    kinds text[];
    content text := value #>> '{}';
    member record;
    problem jsonb;
BEGIN
    IF schema ->> '$ref' IS NOT NULL THEN
        RETURN walwarden_internal.schema_problem(walwarden_internal.schema(schema ->> '$ref'), value, field);
    END IF;
    kinds := ARRAY(SELECT json_array_elements_text(CASE json_typeof(schema -> 'type') WHEN 'array' THEN schema -> 'type'
                                                        ELSE json_build_array(schema -> 'type') END));
    IF schema -> 'type' IS NOT NULL AND kind <> ALL (kinds) THEN
        RETURN walwarden_internal.schema_error(field, 'wrong_type', 'is not of type ' || array_to_string(kinds, ' or '));
    END IF;
    IF schema -> 'const' IS NOT NULL AND value <> (schema -> 'const')::jsonb THEN
        RETURN walwarden_internal.schema_error(field, 'unknown_value', 'must be ' || (schema ->> 'const'));
    END IF;

    CASE kind
    WHEN 'object' THEN
        FOR member IN SELECT k.key FROM jsonb_object_keys(value) AS k(key) LOOP
            -- additionalProperties or not: what comes in is always closed
            IF schema -> 'properties' IS NOT NULL AND schema -> 'properties' -> member.key IS NULL THEN
                RETURN walwarden_internal.schema_error(walwarden_internal.field_name(concat_ws('.', nullif(field, ''), member.key)), 'unknown_field',
                                               'is not a known field');
            END IF;
        END LOOP;
        FOR member IN SELECT q.key FROM json_array_elements_text(coalesce(schema -> 'required', '[]')) AS q(key) LOOP
            IF NOT value ? member.key THEN
                RETURN walwarden_internal.schema_error(concat_ws('.', nullif(field, ''), member.key), 'missing', 'is missing');
            END IF;
        END LOOP;
        IF (SELECT count(*) FROM jsonb_object_keys(value)) < (schema ->> 'minProperties')::integer THEN
            RETURN walwarden_internal.schema_error(field, 'empty', 'has no fields');
        END IF;
        FOR member IN SELECT p.key, p.value AS schema FROM json_each(schema -> 'properties') AS p WHERE value ? p.key LOOP
            problem := walwarden_internal.schema_problem(member.schema, value -> member.key, concat_ws('.', nullif(field, ''), member.key));
            IF problem IS NOT NULL THEN
                RETURN problem;
            END IF;
        END LOOP;
        FOR member IN SELECT r.rule, r.rule ->> 'field' AS key FROM json_array_elements(schema -> 'x-rules') AS r(rule) LOOP
            IF value @> (member.rule -> 'when')::jsonb THEN
                problem := CASE WHEN value ? member.key
                                THEN walwarden_internal.schema_problem(member.rule -> 'must', value -> member.key, concat_ws('.', nullif(field, ''), member.key))
                                ELSE walwarden_internal.schema_error(concat_ws('.', nullif(field, ''), member.key), 'missing', 'is missing') END;
                IF problem IS NOT NULL THEN
                    RETURN problem || jsonb_build_object('nextAction', member.rule -> 'nextAction');
                END IF;
            END IF;
        END LOOP;
        IF schema -> 'properties' IS NULL AND walwarden_internal.holds_secret(value::text) THEN
            RETURN walwarden_internal.schema_error(field, 'secret', 'contains a token or a password; treat it as disclosed');
        END IF;
    WHEN 'array' THEN
        IF jsonb_array_length(value) < (schema ->> 'minItems')::integer OR jsonb_array_length(value) > (schema ->> 'maxItems')::integer THEN
            RETURN walwarden_internal.schema_error(field, 'out_of_range', format('does not have %s to %s items', coalesce(schema ->> 'minItems', '0'), schema ->> 'maxItems'));
        ELSIF (schema ->> 'uniqueItems')::boolean AND (SELECT count(*) <> count(DISTINCT e) FROM jsonb_array_elements(value) AS e) THEN
            RETURN walwarden_internal.schema_error(field, 'duplicate', 'contains the same item twice');
        END IF;
        FOR member IN SELECT e.value, e.n - 1 AS place FROM jsonb_array_elements(value) WITH ORDINALITY AS e(value, n) LOOP
            problem := walwarden_internal.schema_problem(schema -> 'items', member.value, format('%s[%s]', field, member.place));
            IF problem IS NOT NULL THEN
                RETURN problem;
            END IF;
        END LOOP;
    WHEN 'string' THEN
        IF (schema ->> 'x-secret')::boolean THEN
            IF length(content) > (schema ->> 'maxLength')::integer THEN
                RETURN walwarden_internal.schema_error(field, 'out_of_range', format('does not have 0 to %s characters', schema ->> 'maxLength'));
            END IF;
        ELSIF content ~ walwarden_internal.control_character() THEN
            RETURN walwarden_internal.schema_error(field, 'malformed', 'contains a control character');
        ELSIF content ~ '[^ -~]' AND content ~ walwarden_internal.hidden_character() THEN
            RETURN walwarden_internal.schema_error(field, 'malformed', 'contains an invisible character');
        ELSIF walwarden_internal.holds_secret(content) THEN
            RETURN walwarden_internal.schema_error(field, 'secret', 'contains a token or a password; treat it as disclosed');
        ELSIF length(content) < (schema ->> 'minLength')::integer OR length(content) > (schema ->> 'maxLength')::integer
              OR ((schema ->> 'minLength')::integer > 0 AND content !~ walwarden_internal.visible_character()) THEN
            RETURN walwarden_internal.schema_error(field, 'out_of_range', format('does not have %s to %s characters', coalesce(schema ->> 'minLength', '0'), schema ->> 'maxLength'));
        ELSIF schema -> 'enum' IS NOT NULL AND content NOT IN (SELECT json_array_elements_text(schema -> 'enum')) THEN
            RETURN walwarden_internal.schema_error(field, 'unknown_value', 'is not one of: ' || (SELECT string_agg(v, ', ') FROM json_array_elements_text(schema -> 'enum') AS v));
        ELSIF content !~ (schema ->> 'pattern') THEN
            RETURN walwarden_internal.schema_error(field, 'malformed', 'does not match ' || (schema ->> 'pattern'));
        ELSIF (CASE schema ->> 'format'      -- not uuid: an id that is not a uuid is a missing resource
                   WHEN 'date-time' THEN NOT walwarden_internal.is_time(content)
                   WHEN 'cron' THEN NOT walwarden_internal.is_cron(content) END) THEN
            RETURN walwarden_internal.schema_error(field, 'malformed', CASE schema ->> 'format'
                WHEN 'date-time' THEN 'is not a UTC time like 2026-11-21T17:33:20Z'
                ELSE 'is not a five-field cron expression with a possible date' END);
        END IF;
    WHEN 'integer' THEN
        IF content::numeric < (schema ->> 'minimum')::numeric OR content::numeric > coalesce((schema ->> 'maximum')::numeric, 9007199254740991) THEN
            RETURN walwarden_internal.schema_error(field, 'out_of_range', format('is not between %s and %s', coalesce(schema ->> 'minimum', '-9007199254740991'), coalesce(schema ->> 'maximum', '9007199254740991')));
        END IF;
    ELSE
        NULL;   -- true, false and null have nothing but their type to check
    END CASE;
    RETURN NULL;
END
$$;
