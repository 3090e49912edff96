# What walwarden-verify says of the bundle that demo_runner.sh has made in the directory NODE.
# Run by test/run demo after all servers are stopped.
. test/demo_show.sh
cd "$NODE"

echo
echo "== 22. PostgreSQL, PostgREST, nginx and the runner are stopped. walwarden-verify judges the bundle by the key alone"
show "psql -d demo_rest -c 'SELECT 1' 2>&1 | grep -o 'failed: No such file or directory'"
show "walwarden-verify bundle --trust trust bundle; echo \"exit code \$?\""

echo
echo "== 23. Somebody changes one byte of an entry"
show "sed -i '0,/\"result\":\"passed\"/s//\"result\":\"passeD\"/' bundle/chain.tsv"
show "walwarden-verify bundle --trust trust bundle; echo \"exit code \$?\""
