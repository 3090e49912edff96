-- Public functions. The comment of each says what it does, its errors and an example.
SELECT format(E'### %s\n\n```text\n%s(%s)\n    returns %s\n```\n\n%s\n\n%s```sql\n%s\n```\n',
              p.proname, p.proname,
              (SELECT string_agg(a, E',\n    ' ORDER BY n)
                 FROM regexp_split_to_table(pg_get_function_arguments(p.oid), ', (?=(OUT )?\w+ [a-z])') WITH ORDINALITY AS s(a, n)
                WHERE a !~ '^OUT '),
              CASE WHEN c.names IS NULL THEN lower(left(pg_get_function_result(p.oid), 5)) || substr(pg_get_function_result(p.oid), 6)
                   ELSE CASE WHEN p.proretset THEN 'rows' ELSE 'one row' END || E' (\n        ' || c.names || ')' END,
              split_part(split_part(d.text, ' Errors: ', 1), ' Example: ', 1),
              coalesce('Errors: ' || split_part(nullif(split_part(d.text, ' Errors: ', 2), ''), ' Example: ', 1) || E'\n\n', ''),
              split_part(d.text, 'Example: ', 2))
  FROM pg_proc AS p
 CROSS JOIN obj_description(p.oid, 'pg_proc') AS d(text)
 CROSS JOIN LATERAL (SELECT string_agg(p.proargnames[i] || ' ' || format_type(p.proallargtypes[i], NULL), E',\n        ' ORDER BY i)
                       FROM generate_subscripts(p.proallargtypes, 1) AS i WHERE p.proargmodes[i] IN ('o', 't')) AS c(names)
 WHERE p.pronamespace IN ('walwarden'::regnamespace, 'walwarden_rest'::regnamespace)
 ORDER BY p.proname COLLATE "C";
