#!/usr/bin/env python3
"""Verify exported audit chains. Shares no code with the extension; written from
docs/audit-chain.md alone.

usage: verify_chain.py [--people FILE] < chains.csv

Reads the entries of one or more chains, five columns without a header, in the order
of seq:

    psql -AtX -c "COPY (SELECT org_id, seq, body, encode(prev_hash, 'hex'),
        encode(hash, 'hex') FROM walwarden_internal.audit_entry ORDER BY org_id, seq)
        TO STDOUT (FORMAT csv)" | verify_chain.py

Prints a line for each chain: its organisation, its entries, the hash of the last, and
ok or the first finding. Exits with 1 if a chain does not verify, or if there is none.

--people FILE also checks who the members in the entries are. FILE is JSON, an object
{"<memberId>": {"subject": "...", "salt": "<hex>", "dbRole": "..." or null}, ...}:

    psql -AtX -c "SELECT coalesce(json_object_agg(id, json_build_object('subject',
        subject, 'salt', encode(salt, 'hex'), 'dbRole', db_role)), '{}')
        FROM walwarden_internal.member WHERE erased_at IS NULL" > people.json

The last commitments of each member have to be those of subject, salt and dbRole. A
member who is not in FILE has to have been erased.
"""
import csv
import hashlib
import json
import re
import sys

AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


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


def wrong_person(members, people):
    """The reason why a member is not who the people file says, or None. members: what
    the last entry of each says."""
    for member, (n, person, db_role, erased) in members.items():
        known = people.get(member)
        if known is None:
            if not erased:
                return f"entry {n}: member {member} is not in the people file and was not erased"
            continue
        salt, role = known["salt"], known.get("dbRole")
        if person != sha256(f"walwarden/person/v1:{salt}:{known['subject']}"):
            return f"entry {n}: member {member} is not the person in the people file"
        if not erased and db_role != (None if role is None else sha256(f"walwarden/dbrole/v1:{salt}:{role}")):
            return f"entry {n}: member {member} does not have the dbRole in the people file"
    return None


def verify(org, rows, people):
    """The reason why a chain is bad, or None."""
    prev = sha256(f"walwarden/audit/v2:{org}")
    at = ""
    members = {}
    for n, (seq, body, prev_hash, digest) in enumerate(rows, start=1):
        if int(seq) != n:
            return f"entry {n} is missing"
        if prev_hash != prev:
            return f"entry {n} does not follow the one before"
        if sha256(prev_hash + body) != digest:
            return f"entry {n} does not match its hash"
        try:
            entry = json.loads(body, object_pairs_hook=unique)
            if canonical(entry) != body:
                return f"entry {n} is not canonical"
            payload = entry["payload"]
            if payload["org"] != org or canonical(payload["seq"]) != str(n):
                return f"entry {n} belongs elsewhere"
            if sorted(entry) != ["at", "jobId", "kind", "payload"]:
                return f"entry {n} has other members"
            if not AT.fullmatch(entry["at"]):
                return f"entry {n} has no time"
            if entry["at"] < at:
                return f"entry {n} is earlier than the one before"
            if payload.get("object", {}).get("type") == "member":
                after = payload["after"]
                members[payload["object"]["id"]] = n, after["person"], after["dbRole"], "erasedAt" in after
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return f"entry {n}: {error!r}"
        prev, at = digest, entry["at"]
    return None if people is None else wrong_person(members, people)


def main(arguments):
    people = None
    if arguments[:1] == ["--people"] and len(arguments) == 2:
        with open(arguments[1], encoding="utf-8") as file:
            people = json.load(file)
    elif arguments:
        print(__doc__, end="")
        return 0 if arguments in (["-h"], ["--help"]) else 2
    csv.field_size_limit(1 << 20)
    chains = {}
    for org, *row in csv.reader(sys.stdin):
        chains.setdefault(org, []).append(row)
    bad = 0
    for org, rows in chains.items():
        reason = verify(org, rows, people)
        bad += reason is not None
        print(org, len(rows), rows[-1][3], reason or "ok")
    if not chains:
        print("no entries", file=sys.stderr)
    return 1 if bad or not chains else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
