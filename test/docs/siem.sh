cd "$(mktemp -d "$WORK/siem.XXXXXX")"
