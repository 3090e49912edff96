# What demo_rest.sh and demo_runner.sh share. URL and TOKEN are in the environment.
post='-H "Content-Type: application/json" -H "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)"'
auth='-H "Authorization: Bearer $TOKEN"'

# Prints a command and what it prints.
show() {
    local output
    printf '\n$ %s\n' "$1"
    output=$(bash -c "$1" 2>&1)
    [ -z "$output" ] || printf '%s\n' "$output"
}
get() { curl -s "$URL$1" -H "Authorization: Bearer $TOKEN"; }
# The first text of this name in a response. Lists have the newest first.
field() { get "$1" | grep -oE "\"$2\" ?: \"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }    # path, name
