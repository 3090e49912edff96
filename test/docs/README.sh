# before quick-start
# what make demo prints and has made
[ -n "${TOKEN:-}" ] || {
    TOKEN=$(psql -XqAtc "SELECT token FROM walwarden.issue_token('acme', 'console', ARRAY['destinations:write'])")
    curl -s -o /dev/null "$URL/destinations" -H "Authorization: Bearer $TOKEN" -H 'Idempotency-Key: offsite' \
        -H 'Content-Type: application/json' -d '{"name": "offsite", "provider": "s3", "uri": "s3://acme-backups/prod"}'
}
