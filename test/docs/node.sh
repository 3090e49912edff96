# A client with every scope, and a node without a program. Sourced by the scripts of pages that show requests.
TOKEN=$(psql -XqAtc "SELECT token FROM walwarden.issue_token('acme', 'page', ARRAY(SELECT name FROM walwarden_internal.scope))")
NODE=$(psql -XqAtc "SELECT token FROM walwarden.issue_token('acme', 'node', kind => 'node')")
psql -Xqc "CREATE ROLE runner" -c "SELECT walwarden.grant_runner('runner')" >/dev/null
call() {    # method, path, body; prints the first id of the answer
    curl -X "$1" "$URL$2" -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: $RANDOM$RANDOM$RANDOM" -H "Content-Type: application/json" -d "$3" |
        grep -oE '[0-9a-f]{8}-[0-9a-f-]{27}' | head -n 1
}
node() { printf '%s\n' "BEGIN; SELECT walwarden.authenticate('$NODE') \g /dev/null" "SET ROLE runner; $1; COMMIT;" | psql -XqAt -v ON_ERROR_STOP=1; }
node "SELECT walwarden.register_node('node', '1')" >/dev/null
new_database() {
    destinationId=$(call POST /destinations "{\"name\": \"d$RANDOM\", \"provider\": \"local\", \"uri\": \"file:///srv\"}")
    databaseId=$(call POST /databases "{\"name\": \"d$RANDOM\", \"connectionRef\": \"d\", \"destinationId\": \"$destinationId\"}")
}
new_backup() { new_database; backupJobId=$(call POST "/databases/$databaseId/backups" '{}'); }
complete_backup() {    # as a node would
    new_backup
    node "SELECT job_id, fence FROM walwarden.claim_job('{backup}') \gset
        SELECT walwarden.report_job(:'job_id', :fence, 'running'), walwarden.report_job(:'job_id', :fence, 'finalizing')"
    node "SELECT walwarden.record_evidence('$backupJobId', 1, '{\"manifest\": {\"artifact\": {\"checksumSha256\": \"$(printf '0%.0s' {1..64})\"}}, \"integrityVerification\": {\"result\": \"passed\", \"checkedAt\": \"2025-11-21T17:00:00Z\", \"tool\": \"t\"},
            \"recoverableFrom\": \"2025-11-21T16:50:00Z\", \"recoverableTo\": \"2025-11-21T16:55:00Z\"}');
        SELECT walwarden.report_job('$backupJobId', 1, 'completed', '{\"artifact\": {\"name\": \"b\", \"sizeBytes\": 1, \"checksumSha256\": \"$(printf '0%.0s' {1..64})\"}}')"
}
