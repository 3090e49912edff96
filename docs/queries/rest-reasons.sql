\echo '| reason | status | meaning |'
\echo '|---|---|---|'
SELECT format('| `%s` | %s | %s |', reason, status, meaning) FROM walwarden_internal.rest_reason ORDER BY status, reason;
