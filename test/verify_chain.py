#!/usr/bin/env python3
"""Verify exported audit chains. Shares no code with the extension.

    psql -AtX -c "COPY (SELECT org_id, seq, body, encode(prev_hash, 'hex'),
        encode(hash, 'hex') FROM walwarden.audit_entry ORDER BY org_id, seq)
        TO STDOUT (FORMAT csv)" | verify_chain.py

Written from docs/audit-chain.md alone. Prints one line for each chain; exits
with 1 when one does not verify.
"""
import csv
import hashlib
import json
import sys


def canonical(value):
    """RFC 8785, for the subset that entries use."""
    if value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + ",".join(canonical(v) for v in value) + "]"
    if isinstance(value, dict):
        keys = sorted(value, key=lambda k: k.encode("utf-16-be"))
        return "{" + ",".join(canonical(k) + ":" + canonical(value[k]) for k in keys) + "}"
    raise ValueError(f"{type(value).__name__} is not allowed in an entry")


def unique(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def verify(org, rows):
    """The reason why a chain is bad, or None."""
    prev = hashlib.sha256(b"walwarden/audit/v1:" + org.encode()).hexdigest()
    for n, (seq, body, prev_hash, digest) in enumerate(rows, start=1):
        if int(seq) != n:
            return f"entry {n} is missing"
        if prev_hash != prev:
            return f"entry {n} does not follow the one before"
        if hashlib.sha256((prev_hash + body).encode()).hexdigest() != digest:
            return f"entry {n} does not match its hash"
        try:
            entry = json.loads(body, object_pairs_hook=unique)
            if canonical(entry) != body:
                return f"entry {n} is not canonical"
            if entry["payload"]["org"] != org or entry["payload"]["seq"] != n:
                return f"entry {n} belongs elsewhere"
            if sorted(entry) != ["at", "jobId", "kind", "payload"]:
                return f"entry {n} has other members"
        except (ValueError, KeyError, TypeError) as error:
            return f"entry {n}: {error}"
        prev = digest
    return None


def main():
    csv.field_size_limit(1 << 20)
    chains = {}
    for org, *row in csv.reader(sys.stdin):
        chains.setdefault(org, []).append(row)
    bad = 0
    for org, rows in chains.items():
        reason = verify(org, rows)
        bad += reason is not None
        print(org, len(rows), rows[-1][3], reason or "ok")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
