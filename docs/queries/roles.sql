\echo '| role | purpose | scopes | capabilities |'
\echo '|---|---|---|---|'
SELECT format('| `%s` | %s | %s | %s |', name, description,
              coalesce(nullif(array_to_string(scopes, ' '), ''), CASE WHEN scopes IS NULL THEN 'all' ELSE 'none' END),
              array_to_string(capabilities, ', '))
  FROM walwarden_internal.role
 ORDER BY array_position('{owner,admin,analyst,member,api_developer,read_only,deploy}', name);
