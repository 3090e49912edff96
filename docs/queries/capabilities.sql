\echo '| capability | meaning |'
\echo '|---|---|'
SELECT format('| `%s` | %s |', name, description) FROM walwarden_internal.capability ORDER BY name;
