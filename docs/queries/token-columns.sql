-- The columns of a listed token that need an explanation.
\echo '| column | meaning |'
\echo '|---|---|'
SELECT format('| `%s` | %s |', attname, col_description(attrelid, attnum))
  FROM pg_attribute
 WHERE attrelid = 'walwarden.token_list'::regclass AND attnum > 0 AND col_description(attrelid, attnum) IS NOT NULL
 ORDER BY attnum;
