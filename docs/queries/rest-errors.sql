\echo '| status | code | meaning |'
\echo '|---|---|---|'
SELECT format('| %s | `%s` | %s |', status, code, meaning) FROM walwarden_internal.rest_error ORDER BY status;
