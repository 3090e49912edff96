\echo '| scope | label | what it allows |'
\echo '|---|---|---|'
SELECT format('| `%s` | %s | %s |', name, label, description) FROM walwarden_internal.scope WHERE builtin ORDER BY name;
