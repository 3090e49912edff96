# what an auditor got, and the verifier
SOURCE=$PWD
make -s -C bin/verify
PATH=$PWD/bin/verify:$PATH
cd "$(mktemp -d "$WORK/auditors.XXXXXX")"
python3 "$SOURCE/test/verify/bundles.py" --example .
rm -r trust
