\echo '| | operation | scope | success | stage |'
\echo '|---|---|---|---|---|'
SELECT format('| `%s %s` | [%s](#%s) | %s | %s | %s |', method, path, operation, lower(operation),
              CASE WHEN caller = 'anyone' THEN 'no token' ELSE coalesce('`' || required_scope || '`', 'none') END, success_status, stage)
  FROM walwarden_internal.rest_operation
 ORDER BY caller DESC, stage, path, array_position('{GET,POST,PATCH,DELETE}', method);
