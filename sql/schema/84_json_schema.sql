-- Checking JSON from outside against the schemas of walwarden.rest_schema: what
-- the document promises is what is enforced.

-- A schema by its name or by a $ref.
CREATE FUNCTION walwarden._schema(name text) RETURNS json
    LANGUAGE sql STABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.schema FROM walwarden.rest_schema AS s WHERE s.name = replace($1, '#/components/schemas/', '')
$$;

-- The name of a field from outside, fit for an answer.
CREATE FUNCTION walwarden._field_name(name text) RETURNS text
    LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE name WHEN '' THEN '""' ELSE substr(shown, 2, length(shown) - 2) END FROM (SELECT walwarden._shown(name)) AS s(shown)
$$;

CREATE FUNCTION walwarden._schema_fault(field text, reason text, message text) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('field', coalesce(nullif(field, ''), 'body'), 'reason', reason,
                              'message', coalesce(nullif(field, ''), 'the body') || ' ' || message)
$$;

-- What looks like a secret wherever it stands: a token, an address with a
-- password, a password of a connection string. Whoever hides one better is not
-- found out.
CREATE FUNCTION walwarden._holds_secret(value text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT value ~ 'wal_[0-9a-f]{64}'
           OR value ~* '[a-z][a-z0-9+.-]*://[^/@:[:space:]]*:[^/@[:space:]]+@'
           OR value ~* '(^|[^a-z0-9])(password|passwd|pwd)"?[[:space:]]*[=:][[:space:]]*[^[:space:]]'
$$;

-- Five fields: minute, hour, day of month, month, day of week (0 or 7: Sunday),
-- each * or a list of numbers and ranges, with a step.
CREATE FUNCTION walwarden._is_cron(value text) RETURNS boolean
    LANGUAGE sql IMMUTABLE STRICT
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*) = 5
           AND coalesce(bool_and(NOT EXISTS (SELECT FROM regexp_matches(f.field, '/([0-9]+)', 'g') AS step(every) WHERE step.every[1]::integer > b.high)
                        AND f.field ~ '^([*]|[0-9]{1,2}(-[0-9]{1,2})?)(/[1-9][0-9]?)?(,([*]|[0-9]{1,2}(-[0-9]{1,2})?)(/[1-9][0-9]?)?)*$'
                        AND NOT EXISTS (SELECT FROM regexp_matches(f.field, '(?:^|,)([0-9]{1,2})(?:-([0-9]{1,2}))?', 'g') AS n(range)
                                         WHERE n.range[1]::integer NOT BETWEEN b.low AND b.high
                                            OR n.range[2]::integer NOT BETWEEN n.range[1]::integer AND b.high)), false)
      FROM regexp_split_to_table(value, ' ') WITH ORDINALITY AS f(field, n)
      LEFT JOIN (VALUES (1, 0, 59), (2, 0, 23), (3, 1, 31), (4, 1, 12), (5, 0, 7)) AS b(n, low, high) ON b.n = f.n
$$;

CREATE FUNCTION walwarden._is_time(value text) RETURNS boolean
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

-- The first way in which value does not meet schema, as {field, reason, message};
-- NULL when it does. field: where value stands, '' at the top. Messages never
-- quote a value.
CREATE FUNCTION walwarden._schema_problem(schema json, value jsonb, field text) RETURNS jsonb
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    kind text := CASE WHEN jsonb_typeof(value) = 'number' AND value::text ~ '^-?[0-9]+$' THEN 'integer' ELSE jsonb_typeof(value) END;
    kinds text[];
    content text := value #>> '{}';
    member record;
    problem jsonb;
BEGIN
    IF schema ->> '$ref' IS NOT NULL THEN
        RETURN walwarden._schema_problem(walwarden._schema(schema ->> '$ref'), value, field);
    END IF;
    kinds := ARRAY(SELECT json_array_elements_text(CASE json_typeof(schema -> 'type') WHEN 'array' THEN schema -> 'type'
                                                        ELSE json_build_array(schema -> 'type') END));
    IF schema -> 'type' IS NOT NULL AND kind <> ALL (kinds) THEN
        RETURN walwarden._schema_fault(field, 'wrong_type', 'is not of type ' || array_to_string(kinds, ' or '));
    END IF;
    IF schema -> 'const' IS NOT NULL AND value <> (schema -> 'const')::jsonb THEN
        RETURN walwarden._schema_fault(field, 'unknown_value', 'is not ' || (schema ->> 'const'));
    END IF;

    CASE kind
    WHEN 'object' THEN
        FOR member IN SELECT k.key FROM jsonb_object_keys(value) AS k(key) LOOP
            IF schema -> 'additionalProperties' IS NOT NULL AND schema -> 'properties' -> member.key IS NULL THEN
                RETURN walwarden._schema_fault(walwarden._field_name(concat_ws('.', nullif(field, ''), member.key)), 'unknown_field',
                                               'is not a known field');
            END IF;
        END LOOP;
        FOR member IN SELECT q.key FROM json_array_elements_text(coalesce(schema -> 'required', '[]')) AS q(key) LOOP
            IF NOT value ? member.key THEN
                RETURN walwarden._schema_fault(concat_ws('.', nullif(field, ''), member.key), 'missing', 'is missing');
            END IF;
        END LOOP;
        IF (SELECT count(*) FROM jsonb_object_keys(value)) < (schema ->> 'minProperties')::integer THEN
            RETURN walwarden._schema_fault(field, 'empty', 'has no field');
        END IF;
        FOR member IN SELECT p.key, p.value AS schema FROM json_each(schema -> 'properties') AS p WHERE value ? p.key LOOP
            problem := walwarden._schema_problem(member.schema, value -> member.key, concat_ws('.', nullif(field, ''), member.key));
            IF problem IS NOT NULL THEN
                RETURN problem;
            END IF;
        END LOOP;
        FOR member IN SELECT a.rule FROM json_array_elements(schema -> 'allOf') AS a(rule) LOOP
            IF walwarden._schema_problem(member.rule -> 'if', value, field) IS NULL THEN
                problem := walwarden._schema_problem(member.rule -> 'then', value, field);
                IF problem IS NOT NULL THEN
                    RETURN problem;
                END IF;
            END IF;
        END LOOP;
        IF schema -> 'properties' IS NULL AND walwarden._holds_secret(value::text) THEN
            RETURN walwarden._schema_fault(field, 'secret', 'contains a token or a password; treat it as disclosed');
        END IF;
    WHEN 'array' THEN
        IF jsonb_array_length(value) < (schema ->> 'minItems')::integer OR jsonb_array_length(value) > (schema ->> 'maxItems')::integer THEN
            RETURN walwarden._schema_fault(field, 'out_of_range', format('has not %s to %s items', coalesce(schema ->> 'minItems', '0'), schema ->> 'maxItems'));
        ELSIF (schema ->> 'uniqueItems')::boolean AND (SELECT count(*) <> count(DISTINCT e) FROM jsonb_array_elements(value) AS e) THEN
            RETURN walwarden._schema_fault(field, 'duplicate', 'names an item twice');
        END IF;
        FOR member IN SELECT e.value, e.n - 1 AS place FROM jsonb_array_elements(value) WITH ORDINALITY AS e(value, n) LOOP
            problem := walwarden._schema_problem(schema -> 'items', member.value, format('%s[%s]', field, member.place));
            IF problem IS NOT NULL THEN
                RETURN problem;
            END IF;
        END LOOP;
    WHEN 'string' THEN
        IF content ~ E'[\u0001-\u001F\u007F-\u009F]' THEN
            RETURN walwarden._schema_fault(field, 'malformed', 'contains a control character');
        ELSIF walwarden._holds_secret(content) THEN
            RETURN walwarden._schema_fault(field, 'secret', 'contains a token or a password; treat it as disclosed');
        ELSIF length(content) < (schema ->> 'minLength')::integer OR length(content) > (schema ->> 'maxLength')::integer
              OR ((schema ->> 'minLength')::integer > 0 AND btrim(content) = '') THEN
            RETURN walwarden._schema_fault(field, 'out_of_range', format('does not have %s to %s characters', coalesce(schema ->> 'minLength', '0'), schema ->> 'maxLength'));
        ELSIF schema -> 'enum' IS NOT NULL AND content NOT IN (SELECT json_array_elements_text(schema -> 'enum')) THEN
            RETURN walwarden._schema_fault(field, 'unknown_value', 'is none of: ' || (SELECT string_agg(v, ', ') FROM json_array_elements_text(schema -> 'enum') AS v));
        ELSIF content !~ (schema ->> 'pattern') THEN
            RETURN walwarden._schema_fault(field, 'malformed', 'does not match ' || (schema ->> 'pattern'));
        ELSIF (CASE schema ->> 'format'      -- not uuid: an id that is none is a missing resource
                   WHEN 'date-time' THEN NOT walwarden._is_time(content)
                   WHEN 'cron' THEN NOT walwarden._is_cron(content) END) THEN
            RETURN walwarden._schema_fault(field, 'malformed', CASE schema ->> 'format'
                WHEN 'date-time' THEN 'is not a UTC time like 2026-11-21T17:33:20Z'
                ELSE 'is not a five-field cron expression' END);
        END IF;
    WHEN 'integer' THEN
        IF content::numeric < (schema ->> 'minimum')::numeric OR content::numeric > coalesce((schema ->> 'maximum')::numeric, 9007199254740991) THEN
            RETURN walwarden._schema_fault(field, 'out_of_range', format('is not from %s to %s', coalesce(schema ->> 'minimum', '-9007199254740991'), coalesce(schema ->> 'maximum', '9007199254740991')));
        END IF;
    ELSE
        NULL;   -- true, false, null: the type is all there is
    END CASE;
    RETURN NULL;
END
$$;
