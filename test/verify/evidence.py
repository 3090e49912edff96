"""Bundles of evidence for tests: chains, trees, notes and manifests made from scratch, with
nothing of what verifies them but the signatures of ed25519.py."""
import base64
import copy
import hashlib
import json
import os
import shutil

import ed25519

ORG = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER_ORG = "1f8fad5b-d9cb-469f-a165-70867728950e"
JOB_A = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
JOB_B = "8c9e6679-7425-40de-944b-e07fc1f90ae7"
DATABASE = "9c9e6679-7425-40de-944b-e07fc1f90ae7"
ANN = "3d813cbb-47fb-42ba-91df-831e1593ac29"
BOB = "4d813cbb-47fb-42ba-91df-831e1593ac29"
SALTS = {ANN: "00" * 31 + "0a", BOB: "00" * 31 + "0b"}
DUMP = b"PGDMP" + bytes(range(1, 256))
ROWS = b'{"orders":1204}'


def sha256(*parts):
    return hashlib.sha256(b"".join(p.encode() if isinstance(p, str) else p for p in parts)).digest()


def base64_text(octets):
    return base64.b64encode(octets).decode()


def canonical(value):
    """Keys of tests are ASCII, so this order is that of RFC 8785."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


# Trees, as RFC 6962 defines them


def split(n):
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def root(hashes):
    if len(hashes) < 2:
        return sha256(b"\0", hashes[0]) if hashes else sha256()
    k = split(len(hashes))
    return sha256(b"\1", root(hashes[:k]), root(hashes[k:]))


def path(m, hashes):
    if len(hashes) == 1:
        return []
    k = split(len(hashes))
    return path(m, hashes[:k]) + [root(hashes[k:])] if m < k else path(m - k, hashes[k:]) + [root(hashes[:k])]


def subproof(m, hashes, complete=True):
    if m == len(hashes):
        return [] if complete else [root(hashes)]
    k = split(len(hashes))
    return subproof(m, hashes[:k], complete) + [root(hashes[k:])] if m <= k else subproof(m - k, hashes[k:], False) + [root(hashes[:k])]


# Signatures


def note(seed, name, org, size, root_hash):
    key = ed25519.expand(seed)[2]
    body = f"walwarden/{org}\n{size}\n{base64_text(root_hash)}\n".encode()
    signature = sha256(name, b"\n\1", key)[:4] + ed25519.sign(seed, body)
    return body + f"\n\u2014 {name} {base64_text(signature)}\n".encode()


def vkey(seed, name):
    key = ed25519.expand(seed)[2]
    return f"{name}+{sha256(name, chr(10), bytes([1]), key)[:4].hex()}+{base64_text(bytes([1]) + key)}\n".encode()


def manifest(seed, job, fence, **members):
    stem = f"{DATABASE}/{job}.{fence}"
    result = {
        "artifact": {"checksumSha256": sha256(DUMP).hex(), "name": f"{stem}.dump", "sizeBytes": len(DUMP)},
        "databaseId": DATABASE, "fence": fence, "format": "walwarden/manifest/v1", "jobId": job, "node": "node-1", "orgId": ORG,
        "publicKey": base64_text(ed25519.expand(seed or "node-1")[2]),
        "rows": {"checksumSha256": sha256(ROWS).hex(), "name": f"{stem}.rows.json", "sizeBytes": len(ROWS)},
    }
    result.update(members)
    result = {k: v for k, v in result.items() if v is not None}
    if seed is not None:
        result["signature"] = base64_text(ed25519.sign(seed, canonical(result).encode()))
    return result


class Chain:
    """Entries as (seq, prevHash, hash, body), of one organisation."""

    def __init__(self, org=ORG):
        self.org, self.entries, self.minute = org, [], 0

    def append(self, kind, job=None, at=None, body=None, **payload):
        seq = len(self.entries) + 1
        prev = self.entries[-1][2] if self.entries else sha256(f"walwarden/audit/v2:{self.org}").hex()
        self.minute += 1
        at = at or f"2026-11-21T17:{self.minute:02d}:00.000000Z"
        payload = {"actor": {"kind": "system"}, "org": self.org, "seq": seq, **payload}
        text = canonical({"at": at, "jobId": job, "kind": kind, "payload": payload})
        if body:
            text = body(text)
        self.entries.append((seq, prev, sha256(prev, text).hex(), text))
        return self

    def member(self, kind, who, subject, role=None, person=None, **members):
        after = {"id": who, "person": person or sha256(f"walwarden/person/v1:{SALTS[who]}:{subject}").hex(), "role": "owner",
                 "dbRole": role and sha256(f"walwarden/dbrole/v1:{SALTS[who]}:{role}").hex(), **members}
        return self.append(kind, object={"id": who, "type": "member"}, before=None, after=after)

    def evidence(self, job, recorded, **members):
        after = {"backupJobId": job, "databaseId": DATABASE, "fence": recorded.get("fence"), "manifest": recorded, "state": "verified", **members}
        return self.append("evidence.recorded", job=job, object={"id": job, "type": "evidence"}, before=None, after=after)

    def hashes(self, size=None):
        return [bytes.fromhex(e[2]) for e in self.entries[:size]]

    def note(self, size=None, seed="node-1", name="node-1"):
        hashes = self.hashes(size)
        return note(seed, name, self.org, len(hashes), root(hashes))

    def tsv(self, seqs=None):
        return "".join("\t".join(map(str, e)) + "\n" for e in self.entries if seqs is None or e[0] in seqs).encode()

    def proof(self, seq, size=None, text=None):
        hashes = self.hashes(size)
        lines = ["c2sp.org/tlog-proof@v1", f"index {seq - 1}", *map(base64_text, path(seq - 1, hashes)), "", ""]
        return "\n".join(lines).encode() + (text or self.note(size))

    def consistency(self, old, size=None):
        hashes = self.hashes(size)
        return "".join(f"{line}\n" for line in [f"old {old}", f"new {len(hashes)}", *map(base64_text, subproof(old, hashes))]).encode()

    def copy(self):
        return copy.deepcopy(self)


MANIFEST_A = manifest("node-1", JOB_A, 1)
MANIFEST_B = manifest("node-2", JOB_B, 3, node="node-2", artifact={"checksumSha256": sha256(b"b").hex(), "name": "b.tar.gz"}, rows=None)


def chain(org=ORG, a=MANIFEST_A, b=MANIFEST_B, erased=True):
    """A history of 16 entries; 14 without the erasure."""
    c = Chain(org)
    c.append("org.created", object={"id": org, "type": "org"}, before=None, after={"slug": "acme"})
    c.member("member.added", ANN, "ann@acme.example", "ann")
    c.member("member.added", BOB, 'bob "\u00f6" \u0001@acme.example')
    c.append("node.registered", after={"name": "node-1", "publicKey": a.get("publicKey")})
    c.append("backup.queued", JOB_A).append("backup.claimed", JOB_A)
    c.evidence(JOB_A, a)
    c.append("backup.completed", JOB_A)
    c.append("app.invoice.sent", data={"to": "Zo\u00eb"})
    c.append("backup.queued", JOB_B)
    c.evidence(JOB_B, b)
    c.append("backup.completed", JOB_B)
    c.member("member.db_role_changed", ANN, "ann@acme.example", "ann2")
    if erased:
        c.member("member.removed", BOB, 'bob "\u00f6" \u0001@acme.example', removedAt="2026-11-21T17:33:41Z")
        c.member("member.erased", BOB, 'bob "\u00f6" \u0001@acme.example', erasedAt="2026-11-21T17:33:41Z")
    return c.append("evidence.exported", detail="all")


PEOPLE = {ANN: {"subject": "ann@acme.example", "salt": SALTS[ANN], "dbRole": "ann2"}}
PEOPLE_BEFORE = {**PEOPLE, BOB: {"subject": 'bob "\u00f6" \u0001@acme.example', "salt": SALTS[BOB], "dbRole": None}}
OF_A = (4, 5, 6, 7, 8)
TRUST = {"node-1.vkey": vkey("node-1", "node-1"), "node-2.vkey": vkey("node-2", "node-2"), "node-1.old.vkey": vkey("node-1 before", "node-1"),
         "README": b"from the office of the auditor\n"}


def manifest_path(job):
    return f"backups/{job}.manifest.json"


def artifact_path(suffix):
    return f"artifacts/{JOB_A}.1.{suffix}"


def one_backup(c=None, seqs=OF_A, recorded=MANIFEST_A):
    """The files of a bundle of backup A, with proofs."""
    c = c or chain()
    text = c.note()
    files = {"chain.tsv": c.tsv(seqs), "checkpoint": text, manifest_path(JOB_A): canonical(recorded).encode(),
             artifact_path("dump"): DUMP, artifact_path("rows.json"): ROWS}
    return {**files, **{f"proofs/{seq}": c.proof(seq, text=text) for seq in seqs}}


def whole(c=None, people=PEOPLE, **more):
    """The files of a bundle of a whole chain."""
    c = c or chain()
    files = {"chain.tsv": c.tsv(), "checkpoint": c.note(), manifest_path(JOB_A): canonical(MANIFEST_A).encode(), artifact_path("dump"): DUMP}
    return {**files, **({} if people is None else {"people.json": canonical(people).encode()}), **more}


class Link:
    """A symbolic link."""

    def __init__(self, to):
        self.to = to


class Sparse:
    """A file of so many zeros, which take no room."""

    def __init__(self, size):
        self.size = size


FIFO = object()
DIRECTORY = object()


def write(directory, files):
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    for name, data in files.items():
        name = os.path.join(os.fsencode(directory), os.fsencode(name))
        os.makedirs(os.path.dirname(name), exist_ok=True)
        if isinstance(data, Link):
            os.symlink(data.to, name)
        elif data is FIFO:
            os.mkfifo(name, 0)  # who opens it, fails
        elif data is DIRECTORY:
            os.makedirs(name, exist_ok=True)
        else:
            with open(name, "wb") as file:
                if isinstance(data, Sparse):
                    file.truncate(data.size)
                else:
                    file.write(data)
