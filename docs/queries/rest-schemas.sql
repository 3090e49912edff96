WITH RECURSIVE field(name, path, schema, required, n) AS (
    SELECT s.name, NULL::text, s.schema, false, ARRAY[]::bigint[]
      FROM walwarden_internal.json_schema AS s
     WHERE s.name NOT IN ('OpenApi', 'Nothing', 'ApiError')
    UNION ALL
    SELECT f.name, concat_ws('.', f.path, p.key), p.value,
           p.key IN (SELECT json_array_elements_text(coalesce(object.schema -> 'required', '[]'))), f.n || p.n
      FROM field AS f
     CROSS JOIN LATERAL (SELECT CASE WHEN f.schema #>> '{items,properties}' IS NOT NULL THEN f.schema -> 'items' ELSE f.schema END) AS object(schema)
     CROSS JOIN LATERAL ROWS FROM (json_each(object.schema -> 'properties')) WITH ORDINALITY AS p(key, value, n)
)
SELECT CASE WHEN f.path IS NULL
            THEN format(E'\n### %s\n\n%s| field | type | required | |\n|---|---|---|---|', f.name, coalesce((f.schema ->> 'description') || E'\n\n', ''))
            ELSE format('| `%s` | %s | %s | %s |', f.path,
                   CASE WHEN f.schema ->> '$ref' IS NOT NULL
                        THEN format('[%s](#%s)', replace(f.schema ->> '$ref', '#/components/schemas/', ''), lower(replace(f.schema ->> '$ref', '#/components/schemas/', '')))
                             || CASE WHEN json_typeof(walwarden_internal.schema(f.schema ->> '$ref') -> 'type') = 'array' THEN ' or null' ELSE '' END
                        ELSE coalesce(f.schema ->> 'format',
                                      (SELECT string_agg(k ->> 'type', ' or ') FROM json_array_elements(f.schema -> 'anyOf') AS k),
                                      (SELECT string_agg(k, ' or ') FROM json_array_elements_text(CASE json_typeof(f.schema -> 'type') WHEN 'array' THEN f.schema -> 'type' ELSE json_build_array(f.schema -> 'type') END) AS k))
                             || CASE WHEN f.schema ->> 'format' IS NOT NULL AND json_typeof(f.schema -> 'type') = 'array' THEN ' or null' ELSE '' END
                             || coalesce(' of ' || coalesce(f.schema #>> '{items,format}', replace(f.schema #>> '{items,$ref}', '#/components/schemas/', ''), f.schema #>> '{items,type}'), '') END,
                   CASE WHEN f.required THEN 'yes' ELSE '' END,
                   concat_ws(' ', f.schema ->> 'description',
                       'One of ' || (SELECT string_agg('`' || e || '`', ', ') FROM json_array_elements_text(coalesce(f.schema -> 'enum', f.schema #> '{anyOf,0,enum}')) AS e) || '.',
                       CASE WHEN f.schema ->> 'maxLength' IS NOT NULL
                            THEN coalesce((f.schema ->> 'minLength') || ' to ', 'At most ') || (f.schema ->> 'maxLength') || ' characters.' END,
                       (f.schema ->> 'minimum') || ' to ' || (f.schema ->> 'maximum') || '.',
                       (f.schema ->> 'minItems') || ' to ' || (f.schema ->> 'maxItems') || ' items.',
                       'Matches `' || (f.schema ->> 'pattern') || '`.',
                       'Needs the scope `' || (f.schema ->> 'x-required-scope') || '` as well.')) END
  FROM field AS f
 ORDER BY f.name, f.n;
