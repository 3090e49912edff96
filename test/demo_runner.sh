# What walwarden-runner makes of what demo_rest.sh has queued. Run by test/run demo after
# it, in the same environment, with the runner on the PATH, and started as runner_pid.
. test/demo_show.sh

# Until a response contains a text. Without the runner it never will, and the limit is for a
# broken one.
await() {    # path, text
    local i
    for i in $(seq 3000); do
        [[ $(get "$1") != *"$2"* ]] || return 0
        kill -0 "$runner_pid" || break
        sleep 0.2
    done
    echo "in vain: $2 in $1" >&2
    cat "$NODE/log" >&2
    exit 1
}
# A drill of a backup, to its end. Sets drill.
try_restore() {    # backup
    show "curl -s -D - -o /dev/null \$URL/restores $auth $post -d '{\"databaseId\": \"$database\", \"backupJobId\": \"$1\", \"kind\": \"drill\", \"mode\": \"new_database\", \"target\": \"scratch\"}' | grep -E '^(HTTP|Location)'"
    drill=$(field /restores id)
    await "/restores/$drill" '"done" : true'
}
database=$(field /databases id)
backup=$(field "/databases/$database/backups" id)
# the check is to find that the runner follows the chain
for _ in $(seq 3000); do
    [ ! -e "$NODE/state/chain" ] && kill -0 "$runner_pid" || break
    sleep 0.2
done

echo
echo "== 15. A node: a machine on which walwarden-runner runs jobs. This one protects the database orders. Its configuration, and what a check of it says"
show "cat $NODE/runner.conf"
show "walwarden-runner --config $NODE/runner.conf --check"

echo
echo "== 16. The runner was started and has claimed the queued backup. It has stored a dump, read it again, and signed what it found"
await "/backups/$backup" '"done" : true'
artifact=$(field "/backups/$backup" name)
show "curl -s \$URL/backups/$backup $auth"
show "echo '$(field "/backups/$backup" checksumSha256)  $NODE/backups/$artifact' | sha256sum --check"
show "curl -s \$URL/evidence/$backup $auth | grep -oE '\"signature\": \"[^\"]*\"|\"integrityVerification\" : \{[^}]*\}'"

echo
echo "== 17. Recovery is proven, and the proof says what it does not claim"
show "curl -s \$URL/databases/$database/recovery/summary $auth"
window=$(field "/databases/$database/recovery/summary" windowId)
show "curl -s \$URL/recovery/windows/$window/proof $auth | grep -oE '\"verdict\" : \"[a-z]*\"|\"notClaimed\" : \[.*\]'"

echo
echo "== 18. A drill restores the backup beside the original, compares the rows of each table with those that the backup had, measures the seconds, and drops the copy"
try_restore "$backup"
proven=$drill
show "grep -o '\"tables\":.*' $NODE/backups/${artifact%.dump}.rows.json"
show "curl -s \$URL/restores/$drill $auth | grep -oE '\"state\" : \"[a-z]*\"|\"validation\" : \{.*\}\}'"
show "curl -s \$URL/recovery/windows/$window/proof $auth | grep -oE '\"withinRto\" : [a-z]*'"

echo
echo "== 19. A schedule: Sundays at 3:00. So that nobody has to wait for it, a superuser makes it due now. The backup then appears by itself"
show "curl -s \$URL/databases/$database $auth $post -X PATCH -d '{\"schedule\": \"0 3 * * 0\"}' | grep -oE '\"(schedule|nextBackupAt)\" : \"[^\"]*\"'"
show "psql -d demo_rest -c \"UPDATE walwarden_internal.database SET next_run_at = now() WHERE id = '$database'\""
await "/databases/$database/backups" '"trigger" : "schedule"'
newest=$(field "/databases/$database/backups" id)
await "/backups/$newest" '"done" : true'
show "curl -s \$URL/databases/$database/backups $auth | grep -oE '\"trigger\" : \"[a-z]*\"|\"state\" : \"[a-z]*\"'"

echo
echo "== 20. Somebody changes the last byte of that backup. A drill of it fails, and its proof is refuted. The candidate to restore is the backup before"
artifact=$(field "/backups/$newest" name)
window=$(field "/databases/$database/recovery/summary" windowId)
show "truncate -s -1 $NODE/backups/$artifact; printf x >> $NODE/backups/$artifact"
try_restore "$newest"
show "curl -s \$URL/restores/$drill $auth | grep -oE '\"state\" : \"[a-z]*\"|\"error\" : \{[^}]*\}'"
show "curl -s \$URL/recovery/windows/$window/proof $auth | grep -oE '\"verdict\" : \"[a-z]*\"'"
show "curl -s \$URL/databases/$database/recovery/candidate $auth"
[[ $(get "/databases/$database/recovery/candidate") != *"$backup"* ]] || printf '\nThis is the backup of step 16.\n'

echo
echo "== 21. For an auditor: a bundle of the evidence of that backup over REST, written by a function of docs/auditors.md, with the backup itself. The folder trust, with the key of the node, comes another way"
eval "$(sed -n '/^export_bundle() {$/,/^}$/p' docs/auditors.md)"
export -f export_bundle
# which the runner has to have read and signed
for _ in $(seq 3000); do
    [ "$(psql -XAt -d demo_rest -c "SELECT size >= (SELECT max(seq) FROM walwarden_internal.audit_entry WHERE job_id = '$proven') FROM walwarden_internal.checkpoint")" != t ] && kill -0 "$runner_pid" || break
    sleep 0.2
done
cd "$NODE"
artifact=$(field "/backups/$backup" name)
show "export_bundle bundle '{\"backupJobIds\": [\"$backup\"]}'"
show "mkdir bundle/artifacts && cp backups/${artifact%.dump}.{dump,rows.json} bundle/artifacts && ls bundle"
show "cat trust/node-1.vkey"
