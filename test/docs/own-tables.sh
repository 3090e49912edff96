# the page's settings of PostgREST, in a copy that start_rest reads
page=$PWD/docs/own-tables.md here=$(mktemp -d "$WORK/own-tables.XXXXXX")
cp -r postgrest "$here"
cd "$here"
sed -i -f <(sed -nE 's/^    (db-[a-z-]+) = (.*)$/s!^\1 = .*!\1 = \2!/p' "$page") postgrest/postgrest.conf
