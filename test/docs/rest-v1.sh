# A reader's variables. Nothing is there before the first request.
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
fail() { node "SELECT walwarden.report_job(job_id, fence, 'failed', '{\"error\": {\"class\": \"io\", \"message\": \"x\", \"retryable\": false}}') FROM walwarden.claim_job('{backup}')"; }
# before getbackup
new_backup
node "SELECT job_id, fence FROM walwarden.claim_job('{backup}') \gset
    SELECT walwarden.report_job(:'job_id', :fence, 'running'), walwarden.report_job(:'job_id', :fence, 'finalizing')"
node "SELECT walwarden.record_evidence('$backupJobId', 1, '{\"manifest\": {\"artifact\": {\"checksumSha256\": \"$(printf '0%.0s' {1..64})\"}}, \"integrityVerification\": {\"result\": \"passed\", \"checkedAt\": \"2025-11-21T17:00:00Z\", \"tool\": \"t\"},
        \"recoverableFrom\": \"2025-11-21T16:50:00Z\", \"recoverableTo\": \"2025-11-21T16:55:00Z\"}');
    SELECT walwarden.report_job('$backupJobId', 1, 'completed', '{\"artifact\": {\"name\": \"b\", \"sizeBytes\": 1, \"checksumSha256\": \"$(printf '0%.0s' {1..64})\"}}')"
windowId=$(psql -XqAtc "SELECT window_id FROM walwarden_internal.evidence")
# before getrestore
restoreJobId=$(psql -XqAtc "SELECT id FROM walwarden_internal.job WHERE kind <> 'backup' LIMIT 1")
# before cancelbackup
new_backup
# before dismissbackup
new_backup
fail; fail    # the oldest first: that of triggerBackup
# before cancelrestore
completed=$(psql -XqAtc "SELECT json_build_object('databaseId', database_id, 'backupJobId', backup_job_id, 'kind', 'drill', 'mode', 'new_database', 'target', 'x') FROM walwarden_internal.evidence")
restoreJobId=$(call POST /restores "$completed")
# before createdatabase
new_database
# before updatedatabase
databaseId=$(psql -XqAtc "SELECT id FROM walwarden_internal.database WHERE name = 'orders'")
# before deletedatabase
new_database
# before updatedestination
destinationId=$(psql -XqAtc "SELECT id FROM walwarden_internal.destination WHERE name = 'offsite'")
# before deletedestination
destinationId=$(call POST /destinations '{"name": "unused", "provider": "local", "uri": "file:///srv"}')
# before exportevidence
backupJobId=$(psql -XqAtc "SELECT backup_job_id FROM walwarden_internal.evidence")
# a checkpoint of the first entry
read -r org root < <(psql -XqAt -F ' ' -c "SELECT org_id, encode(sha256('\\x00'::bytea || hash), 'base64') FROM walwarden_internal.audit_entry WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'acme') AND seq = 1")
node "SELECT walwarden.register_node('node', '1', '$(test/ed25519.py key page)'), walwarden.publish_checkpoint('$(test/ed25519.py note page node "walwarden/$org" 1 "$root")' || E'\n')" >/dev/null
