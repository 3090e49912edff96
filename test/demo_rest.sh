# What REST v1 answers, in a few curl lines. Run by test/run demo, with URL and TOKEN
# in the environment.
show() {
    printf '\n$ %s\n' "$1"
    bash -c "$1"
    echo
}
id() { sed -n 's/^{"id" : "\([^"]*\)".*/\1/p'; }
post='-H "Content-Type: application/json" -H "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)"'
auth='-H "Authorization: Bearer $TOKEN"'

echo "== 11. REST API v1: PostgREST behind nginx. To try more, paste these two lines into a second terminal; what is shown below has been done already"
echo "export URL=$URL"
echo "export TOKEN=$TOKEN"

show "curl -s \$URL/profile $auth"
show "curl -s -w ' (%{http_code})' \$URL/profile"

show "curl -s \$URL/destinations $auth $post -d '{\"name\": \"offsite\", \"provider\": \"s3\", \"uri\": \"s3://acme-backups/prod\"}'"
destination=$(curl -s "$URL/destinations" -H "Authorization: Bearer $TOKEN" | sed 's/.*"id" : "\([^"]*\)".*/\1/')
show "curl -s \$URL/databases $auth $post -d '{\"name\": \"orders\", \"connectionRef\": \"orders-primary\", \"destinationId\": \"$destination\"}'"
database=$(curl -s "$URL/databases" -H "Authorization: Bearer $TOKEN" | sed 's/.*"databases" : \[{"id" : "\([^"]*\)".*/\1/')

echo
echo "== 12. A backup is queued once, however often it is asked for under one key; it stays queued until a node claims it"
show "curl -s \$URL/databases/$database/backups $auth -H 'Idempotency-Key: nightly-1' -X POST"
show "curl -s -D - -o /dev/null \$URL/databases/$database/backups $auth -H 'Idempotency-Key: nightly-1' -X POST | grep -E '^(HTTP|Location|Idempotency)'"
show "curl -s -w ' (%{http_code})' \$URL/databases/$database/backups $auth -H 'Idempotency-Key: nightly-2' -X POST"

echo
echo "== 13. No backup has finished, so the API reports that nothing can be recovered"
show "curl -s \$URL/databases/$database/recovery/summary $auth"

echo
echo "== 14. A scope that the token does not hold, a field that does not exist"
show "curl -s -w ' (%{http_code})' \$URL/audit/entries $auth"
show "curl -s -w ' (%{http_code})' \$URL/databases $auth $post -d '{\"name\": \"x\", \"password\": \"y\"}'"
