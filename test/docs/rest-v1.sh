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
# before listorgs
psql -XqAtc "SELECT walwarden.add_member('acme', 'ann@acme.example', 'owner')" >/dev/null
org=acme
code() { psql -XqAtc "SELECT walwarden.sign_in_link('ann@acme.example')"; }
SESSION=$(curl -si "$URL/session" -H "Content-Type: application/json" -d "{\"code\": \"$(code)\"}" | sed -nE 's/^set-cookie: __Host-walwarden=([0-9a-f]+);.*/\1/Ip')
# before getmember
memberId=$(psql -XqAtc "SELECT member_id FROM walwarden.list_members('acme') WHERE subject = 'zoe@acme.example' OR subject = 'zoe.b@acme.example'")
# before listmembers
memberId=$(psql -XqAtc "SELECT walwarden.add_member('acme', 'max@acme.example')")
# before listtokens
token() { psql -XqAtc "SELECT token_id FROM walwarden.issue_token('acme', 'managed')"; }
tokenId=$(token)
# before enabletoken
psql -XqAtc "SELECT walwarden.disable_token('$tokenId') WHERE (SELECT state FROM walwarden.get_token('$tokenId')) = 'active'" >/dev/null
# before renewtoken
tokenId=$(token)
# before endoverlap
psql -XqAtc "SELECT walwarden.renew_token('$tokenId', '1 day')" >/dev/null
# before revoketoken
tokenId=$(token)
# before createsession
CODE=$(code)
