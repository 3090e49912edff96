\echo '| | operation | scope | success | stage |'
\echo '|---|---|---|---|---|'
SELECT format('| `%s %s` | [%s](#%s) | %s | %s | %s |', method, path, operation, lower(operation),
              CASE caller WHEN 'anyone' THEN 'no token' WHEN 'sso' THEN 'single sign-on' WHEN 'person' THEN 'a person' ELSE coalesce('`' || required_scope || '`', 'none') END, success_status, stage)
  FROM walwarden_internal.rest_operation
 ORDER BY array_position('{anyone,sso,person}', caller) DESC NULLS FIRST, stage, path, array_position('{GET,POST,PATCH,DELETE}', method);
