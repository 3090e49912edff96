TOKEN=$(psql -XqAtc "SELECT token FROM walwarden.issue_token('acme', 'page', ARRAY['databases:write'])")
# before schedules-and-retention
databaseId=$(curl -X POST "$URL/databases" -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: $RANDOM" -H "Content-Type: application/json" -d '{"name": "scheduled", "connectionRef": "d"}' |
    grep -oE '[0-9a-f]{8}-[0-9a-f-]{27}' | head -n 1)
