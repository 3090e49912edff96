SELECT format(E'### %s\n\n%s\n\n| column | type | |\n|---|---|---|\n%s\n',
              c.relname, obj_description(c.oid, 'pg_class'),
              (SELECT string_agg(format('| `%s` | %s | %s |', a.attname, format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum)), E'\n' ORDER BY a.attnum)
                 FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0))
  FROM pg_class AS c
 WHERE c.relnamespace = 'walwarden'::regnamespace AND c.relkind = 'v'
 ORDER BY c.relname COLLATE "C";
