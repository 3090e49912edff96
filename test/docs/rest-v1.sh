# A reader's variables. Nothing is there before the first request.
. test/docs/node.sh
fail() { node "SELECT walwarden.report_job(job_id, fence, 'failed', '{\"error\": {\"class\": \"io\", \"message\": \"x\", \"retryable\": false}}') FROM walwarden.claim_job('{backup}')"; }
# before getbackup
complete_backup
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
