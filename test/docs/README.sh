# before quick-start
# what make demo prints and has made
[ -n "${TOKEN:-}" ] || {
    TOKEN=$(psql -XqAtc "SELECT token FROM walwarden.issue_token('acme', 'console', ARRAY['destinations:write'])")
    curl -s -o /dev/null "$URL/destinations" -H "Authorization: Bearer $TOKEN" -H 'Idempotency-Key: disk' \
        -H 'Content-Type: application/json' -d '{"name": "disk", "provider": "local", "uri": "file:///srv/backups"}'
}
