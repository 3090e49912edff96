# what an auditor got, and the verifier
SOURCE=$PWD
make -s -C bin/verify
PATH=$PWD/bin/verify:$PATH
cd "$(mktemp -d "$WORK/auditors.XXXXXX")"
python3 "$SOURCE/test/verify/bundles.py" --example .
rm -r trust
# before for-the-organisation-export-a-bundle
. "$SOURCE/test/docs/node.sh"
complete_backup
rm -r bundle
