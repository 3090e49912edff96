#!/usr/bin/env python3
"""Bundles of evidence by the length of their chain: sizes, and how long walwarden-verify takes.

    make -C bin/verify && bench/evidence.py DIRECTORY [ENTRIES...]

Chains are made here, with entries of a backup of six in the middle and bodies of 400 bytes. A
bundle of this backup has its entries with proofs; another one has the whole chain. What there is
to compare with is `openssl dgst -sha256` of the same file. Times are processor times, so that a
busy machine changes them little. Needs no server. 10 million entries: 5.4 GB of disk.
"""
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TOP / "test"), str(TOP / "test/verify")]
sys.dont_write_bytecode = True

from evidence import *

ROUNDS = 5


def body(seq, job, kind, **payload):
    payload = {"actor": {"kind": "system"}, "org": ORG, "seq": seq, **payload}
    return canonical({"at": "2026-11-21T17:00:00.000000Z", "jobId": job, "kind": kind, "payload": payload})


def write_chain(path, entries, own):
    """All entries, into a file. Returns the lines of those whose bodies are given, and the leaves of the tree."""
    head, tail = body(0, None, "app.order.shipped", x="").replace('"seq":0,"x":""', "|").split("|")
    leaves, lines, hash_ = bytearray(), {}, sha256(f"walwarden/audit/v2:{ORG}").hex()
    with open(path, "w", buffering=1 << 20) as file:
        for seq in range(1, entries + 1):
            text = own.get(seq)
            if text is None:
                text = f'{head}"seq":{seq},"x":"'
                text += "x" * (400 - len(text) - 1 - len(tail)) + '"' + tail
            previous, hash_ = hash_, hashlib.sha256((hash_ + text).encode()).hexdigest()
            line = f"{seq}\t{previous}\t{hash_}\t{text}\n"
            file.write(line)
            if seq in own:
                lines[seq] = line
            leaves += hashlib.sha256(b"\0" + bytes.fromhex(hash_)).digest()
    return lines, leaves


def paths(level, indexes):
    """The root over these leaves, and the inclusion proof of each of these. A node without a sibling moves up as it is."""
    found = {index: [] for index in indexes}
    height = 0
    while len(level) > 32:
        for index, proof in found.items():
            at = 32 * (index >> height ^ 1)
            if at < len(level):
                proof.append(bytes(level[at:at + 32]))
        paired = len(level) // 64 * 64
        upper = bytearray().join(hashlib.sha256(b"\1" + level[i:i + 64]).digest() for i in range(0, paired, 64))
        level, height = upper + level[paired:], height + 1
    return bytes(level), found


def size_of(directory):
    return sum(f.stat().st_size for f in Path(directory).rglob("*") if f.is_file())


def seconds(*command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 3) or "FAIL" in done.stdout:
        sys.exit(f"{command}: {done.stdout}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(work, entries):
    middle, small, whole, trust = entries // 2, work / "proofs", work / "whole", work / "trust"
    after = {"backupJobId": JOB_A, "databaseId": DATABASE, "fence": 1, "manifest": MANIFEST_A, "state": "verified"}
    kinds = ["backup.queued", "backup.claimed", "backup.running", "backup.finalizing", "evidence.recorded", "backup.completed"]
    own = {middle + i: body(middle + i, JOB_A, kind, **({"after": after} if kind == "evidence.recorded" else {})) for i, kind in enumerate(kinds)}
    write(whole, {})
    lines, leaves = write_chain(whole / "chain.tsv", entries, own)
    root_hash, proofs = paths(leaves, [seq - 1 for seq in own])
    text = note("node-1", "node-1", ORG, entries, root_hash)
    proof = {seq: "\n".join(["c2sp.org/tlog-proof@v1", f"index {seq - 1}", *map(base64_text, proofs[seq - 1]), "", ""]).encode() + text for seq in own}
    write(small, {"chain.tsv": "".join(lines.values()).encode(), "checkpoint": text, manifest_path(JOB_A): canonical(MANIFEST_A).encode(),
                  **{f"proofs/{seq}": p for seq, p in proof.items()}})
    (whole / "checkpoint").write_bytes(text)
    write(trust, {"node-1.vkey": vkey("node-1", "node-1")})
    verify = [str(TOP / "bin/verify/walwarden-verify"), "bundle", "--trust", str(trust)]
    rounds = ROUNDS if entries < 1000000 else 3
    by_proofs = [seconds(*verify, str(small)) for _ in range(rounds)]
    pairs = [(seconds(*verify, str(whole)), seconds("openssl", "dgst", "-sha256", str(whole / "chain.tsv"))) for _ in range(rounds)]
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    print(f"| {entries:,} | {size_of(small):,} bytes | {len(proofs[middle])} hashes, {len(proof[middle]):,} bytes | {1000 * statistics.median(by_proofs):.0f} ms "
          f"| {size_of(whole) / 1e6:,.1f} MB | {statistics.median(o for o, _ in pairs):.3f} s | {statistics.median(t for _, t in pairs):.3f} s "
          f"| {statistics.median(ratios):.2f} | {ratios[0]:.2f} .. {ratios[-1]:.2f} |", flush=True)
    (whole / "chain.tsv").unlink()


def main(directory, *sizes):
    work = Path(directory)
    work.mkdir(parents=True, exist_ok=True)
    print("| entries | bundle with proofs | a proof | verified in | whole chain | verified in | SHA-256 alone | ratio | range |\n|" + "---|" * 9)
    for entries in sizes or ("300", "100000", "10000000"):
        measure(work, int(entries))


if __name__ == "__main__":
    main(*sys.argv[1:])
