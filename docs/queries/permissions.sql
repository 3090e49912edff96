\echo '| action | target | capabilities |'
\echo '|---|---|---|'
SELECT format('| `%s` | %s | %s |', action, target, coalesce(nullif(array_to_string(any_of, ', '), ''), 'none'))
  FROM walwarden_internal.permission
 ORDER BY action, target;
