# what an auditor got, and the verifier
SOURCE=$PWD
make -s -C bin/verify
PATH=$PWD/bin/verify:$PATH
cd "$(mktemp -d "$WORK/auditors.XXXXXX")"
python3 "$SOURCE/test/verify/bundles.py" --example .
rm -r trust
# before a-bundle-over-rest
# a backup of a node, whose manifest and checkpoint are signed. Before the last block nothing
# is served any more, and this page needs no server after it
if [ -n "${URL:-}" ] && [ ! -e exported ]; then
    TOKEN=$(psql -XqAtc "SELECT token FROM walwarden.issue_token('acme', 'page', ARRAY(SELECT name FROM walwarden_internal.scope))")
    node=$(psql -XqAtc "SELECT token FROM walwarden.issue_token('acme', 'node-1', kind => 'node')")
    psql -Xqc "CREATE ROLE runner" -c "SELECT walwarden.grant_runner('runner')" >/dev/null
    as_node() { printf '%s\n' "BEGIN; SELECT walwarden.authenticate('$node') \g /dev/null" "SET ROLE runner; $1; COMMIT;" | psql -XqAt -v ON_ERROR_STOP=1; }
    post() { curl -s "$URL$1" -H "Authorization: Bearer $TOKEN" -H "Idempotency-Key: $RANDOM$RANDOM" -H "Content-Type: application/json" -d "$2" | jq -r "$3"; }
    key=$("$SOURCE/test/ed25519.py" key page)
    as_node "SELECT walwarden.register_node('node-1', '1', '$key')" >/dev/null
    destination=$(post /destinations '{"name": "d", "provider": "local", "uri": "file:///srv"}' .id)
    database=$(post /databases "{\"name\": \"d\", \"connectionRef\": \"d\", \"destinationId\": \"$destination\"}" .id)
    backupJobId=$(post "/databases/$database/backups" '{}' .backupJobId)
    artifact="{\"name\": \"$database/$backupJobId.1.dump\", \"sizeBytes\": 1, \"checksumSha256\": \"$(printf '0%.0s' {1..64})\"}"
    manifest=$("$SOURCE/test/ed25519.py" manifest page "{\"artifact\": $artifact, \"node\": \"node-1\", \"publicKey\": \"$key\"}")
    as_node "SELECT walwarden.claim_job('{backup}'); SELECT walwarden.report_job('$backupJobId', 1, 'running'); SELECT walwarden.report_job('$backupJobId', 1, 'finalizing');
        SELECT walwarden.record_evidence('$backupJobId', 1, '{\"manifest\": $manifest, \"integrityVerification\": {\"result\": \"passed\", \"checkedAt\": \"2025-11-21T17:00:00Z\", \"tool\": \"t\"}, \"recoverableFrom\": \"2025-11-21T16:50:00Z\", \"recoverableTo\": \"2025-11-21T16:55:00Z\"}');
        SELECT walwarden.report_job('$backupJobId', 1, 'completed', '{\"artifact\": $artifact}')" >/dev/null
    read -r org size < <(psql -XqAt -F ' ' -c "SELECT org_id, max(seq) FROM walwarden_internal.audit_entry WHERE org_id = (SELECT id FROM walwarden_internal.org WHERE slug = 'acme') GROUP BY 1")
    root=$(psql -XqAtc "SELECT encode(hash, 'hex') FROM walwarden_internal.audit_entry WHERE org_id = '$org' ORDER BY seq" |
        PYTHONPATH=$SOURCE/test:$SOURCE/test/verify python3 -Bc 'import sys, evidence; print(evidence.base64_text(evidence.root([bytes.fromhex(line) for line in sys.stdin])))')
    as_node "SELECT walwarden.publish_checkpoint('$("$SOURCE/test/ed25519.py" note page node-1 "walwarden/$org" "$size" "$root")' || E'\n')" >/dev/null
    mkdir trust-acme
    echo "node-1+$({ printf 'node-1\n\001'; base64 --decode <<< "$key"; } | sha256sum | cut -c 1-8)+$({ printf '\001'; base64 --decode <<< "$key"; } | base64)" > trust-acme/node-1.vkey
elif [ -e whole-acme ]; then
    stop_rest
    pg_ctl -s -w -m fast stop
    trap 'pg_ctl -s -w -l "$WORK/server.log" start' EXIT
fi
