# a directory of its own, in which the page's files are, with what start_rest reads
here=$(mktemp -d "$WORK/leaks.XXXXXX")
cp -r postgrest "$here"
cd "$here"
psql -XqAtc "SELECT token FROM walwarden.issue_token('acme', 'leaked')" > token.txt
git init -q . && git config user.email dev@acme.example && git config user.name dev
echo "token: $(cat token.txt)" > config.yaml
# before github-secret-scanning
[ -e github.pem ] || {
    printf '[{"token":"%s","type":"walwarden_token","url":"https://github.com/acme/app/blob/main/config.yaml","source":"content"}]' "$(cat token.txt)" > findings.json
    openssl ecparam -name prime256v1 -genkey -noout -out key.pem && openssl ec -in key.pem -pubout -out github.pem 2>/dev/null
    openssl dgst -sha256 -sign key.pem findings.json | base64 > signature.txt
}
# before stop-tokens-before-they-leak
git add config.yaml
