# What REST v1 answers, in a few curl lines. Run by test/run demo, with URL, TOKEN and
# NODE, the directory of the runner's files, in the environment.
. test/demo_show.sh

echo "== 11. REST API v1: PostgREST behind nginx. To try more, paste these two lines into a second terminal; what is shown below has been done already"
echo "export URL=$URL"
echo "export TOKEN=$TOKEN"

show "curl -s \$URL/profile $auth"
show "curl -s -w ' (%{http_code})' \$URL/profile"

show "curl -s \$URL/destinations $auth $post -d '{\"name\": \"disk\", \"provider\": \"local\", \"uri\": \"file://$NODE/backups\"}'"
destination=$(field /destinations id)
show "curl -s \$URL/databases $auth $post -d '{\"name\": \"orders\", \"connectionRef\": \"orders\", \"destinationId\": \"$destination\", \"objectives\": {\"rtoSeconds\": 3600}}'"
database=$(field /databases id)

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
