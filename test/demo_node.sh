# Makes a node for the runner in the directory NODE: its configuration, and a place for
# backups. It protects the database orders of this cluster, and restores into the same
# cluster. Run by test/run demo, with the control database's name as argument.
set -euo pipefail

mkdir -p "$NODE"/{backups,keys,work,state,trust}
createdb orders
psql -qX -v ON_ERROR_STOP=1 -d orders <<'SQL'
CREATE TABLE customer (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE purchase (id integer PRIMARY KEY, customer integer NOT NULL REFERENCES customer, total numeric NOT NULL);
INSERT INTO customer SELECT n, 'Customer ' || n FROM generate_series(1, 100) AS n;
INSERT INTO purchase SELECT n, 1 + n % 100, n FROM generate_series(1, 1000) AS n;
SQL

psql -qX -v ON_ERROR_STOP=1 -d "$1" -o /dev/null -c 'CREATE ROLE runner LOGIN' -c "SELECT walwarden.grant_runner('runner')"
(
    umask 077
    psql -XqAt -v ON_ERROR_STOP=1 -d "$1" -c "SELECT token FROM walwarden.issue_token('acme', 'node-1', kind => 'node')" > "$NODE/token"
    openssl genpkey -algorithm ed25519 -out "$NODE/node-1.key"
)
openssl pkey -in "$NODE/node-1.key" -pubout -out "$NODE/keys/node-1.pem"
# for an auditor, as docs/auditors.md has it
key() { printf '\001'; openssl pkey -in "$NODE/node-1.key" -pubout -outform DER | tail -c 32; }
echo "node-1+$({ echo node-1; key; } | sha256sum | cut -c 1-8)+$(key | base64)" > "$NODE/trust/node-1.vkey"

server="host=$PGHOST
port=$PGPORT
user=$PGUSER"
printf '[orders]\n%s\ndbname=orders\n' "$server" > "$NODE/services"
printf '[scratch]\n%s\ndbname=postgres\n' "$server" > "$NODE/targets"
cat > "$NODE/runner.conf" <<CONF
control = host=$PGHOST port=$PGPORT dbname=$1 user=runner
token_file = $NODE/token
node = node-1
services = $NODE/services
targets = $NODE/targets
local_root = $NODE/backups
signing_key = $NODE/node-1.key
trusted_keys = $NODE/keys
work = $NODE/work
state = $NODE/state
bindir.$PGVERSION = $bindir
poll = 1
CONF
