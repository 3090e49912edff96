#!/usr/bin/env python3
"""Bundles that are sound, that lack something, and that somebody damaged: what
walwarden-verify and verify_bundle.py say of each, which is the same.

    test/verify/bundles.py PROGRAM WORK        (by test/run, in TAP)
    test/verify/bundles.py --seeds DIRECTORY   writes each bundle as an input of test/fuzz/bundle.c
    test/verify/bundles.py --example DIRECTORY writes a sound one, and the folder of trust
"""
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]
sys.dont_write_bytecode = True

import verify_bundle
from evidence import *

WHOLE = chain()
BEFORE = chain(erased=False)
LAST = len(WHOLE.entries)
A = f"manifest {JOB_A}"
DUMP_NAME = f"artifact {JOB_A}.1.dump"
ROWS_NAME = f"artifact {JOB_A}.1.rows.json"
STRANGER = manifest("stranger", JOB_A, 1)
SKIPPED = ["SKIP inclusion: there is no sound checkpoint"]

cases = []


def case(what, code, lines, files, trust=TRUST):
    """lines: those that are not OK, or all of them if all are."""
    cases.append((what, code, lines, files, trust))


def without(files, *names):
    return {k: v for k, v in files.items() if k not in names}


def rewritten(seq, change, c=WHOLE):
    """A chain with one body changed, and every hash from there on made anew."""
    result = Chain(c.org)
    for n, _, _, body in c.entries:
        result.append("x.x", body=lambda _, n=n, body=body: change(body) if n == seq else body)
    return result


def altered(data, old, new):
    assert old in data, (old, data)
    return data.replace(old, new, 1)


def lines_of(data):
    return data.splitlines(keepends=True)


def rehashed(line, change):
    """A line of chain.tsv with its body changed and its own hash made anew."""
    seq, prev, _, body = line.decode().rstrip("\n").split("\t", 3)
    body = change(body)
    return f"{seq}\t{prev}\t{sha256(prev, body).hex()}\t{body}\n".encode()


def with_kept(text, trust=TRUST):
    return {**trust, "checkpoint": text}


# Sound

case("one backup with its artifact", 0, [
    "OK files: all 10 are known",
    f"OK chain: 5 entries of organisation {ORG}, 4 to 8",
    f"OK checkpoint: {LAST} entries, signed by node-1",
    "OK inclusion: 5 entries are in the tree",
    f"OK {A}: signed by node-1, entry 7 has it",
    f"OK {DUMP_NAME}: {len(DUMP)} bytes",
    f"OK {ROWS_NAME}: {len(ROWS)} bytes"], one_backup())
case("a whole chain with people", 0, [
    "OK files: all 5 are known",
    f"OK chain: {LAST} entries of organisation {ORG}, 1 to {LAST}",
    f"OK checkpoint: {LAST} entries, signed by node-1, root computed",
    f"OK inclusion: {LAST} entries are in the tree",
    f"OK {A}: signed by node-1, entry 7 has it",
    f"OK {DUMP_NAME}: {len(DUMP)} bytes",
    "OK people: 2 members"], whole())
case("before somebody was erased", 0, None, whole(BEFORE, PEOPLE_BEFORE))
case("somebody kept the salt of an erased person", 0, None, whole(people=PEOPLE_BEFORE))
case("a line feed behind people.json", 0, None, whole(**{"people.json": canonical(PEOPLE).encode() + b"\n"}))
case("entries with gaps", 0, None, one_backup(seqs=(1, 7, 9)))
case("a whole chain with proofs", 0, None, whole(**{f"proofs/{n}": WHOLE.proof(n) for n in (1, 3, LAST)}))
case("the checkpoint that was kept, and a consistency proof", 0, None, {**one_backup(), "consistency": WHOLE.consistency(9)}, with_kept(WHOLE.note(9)))
case("a kept checkpoint of a power of two", 0, None, {**one_backup(), "consistency": WHOLE.consistency(8)}, with_kept(WHOLE.note(8)))
case("the same checkpoint", 0, None, one_backup(), with_kept(WHOLE.note()))
case("a kept checkpoint and the whole chain", 0, None, whole(), with_kept(WHOLE.note(9)))
case("a kept checkpoint of nothing and the whole chain", 0, None, whole(), with_kept(WHOLE.note(0)))
case("a newer checkpoint than that of the bundle, and the whole chain", 3, ["SKIP inclusion: 4 entries are not yet covered by a checkpoint"],
     whole(checkpoint=WHOLE.note(LAST - 4)), with_kept(WHOLE.note(LAST - 2)))
case("a checkpoint by another key of the node", 0, None, whole(checkpoint=WHOLE.note(seed="node-1 before")))
case("a manifest by an older key of the node", 0, None,
     one_backup(chain(a=manifest("node-1 before", JOB_A, 1)), recorded=manifest("node-1 before", JOB_A, 1)))
case("a manifest that names no node", 0, None, one_backup(chain(a=manifest("node-1", JOB_A, 1, node=None, publicKey=None)),
                                                          recorded=manifest("node-1", JOB_A, 1, node=None, publicKey=None)))
AGAIN = chain().evidence(JOB_A, MANIFEST_A, state="failed")
case("evidence that was recorded again", 0, None, one_backup(AGAIN, (4, 5, 6, 7, 8, 17)))
case("nothing but entries", 0, None, without(one_backup(), manifest_path(JOB_A), artifact_path("dump"), artifact_path("rows.json")))

# Something is missing, which is not a fault

case("no artifact", 3, [f"SKIP {DUMP_NAME}: it is not here"], without(one_backup(), artifact_path("dump"), artifact_path("rows.json")))
case("no checkpoint", 3, ["SKIP checkpoint: there is none", *SKIPPED], without(one_backup(), "checkpoint"))
case("entries that are newer than the checkpoint", 3, ["SKIP inclusion: 2 entries are not yet covered by a checkpoint"],
     without({**one_backup(), "checkpoint": WHOLE.note(6), **{f"proofs/{n}": WHOLE.proof(n, 6) for n in (4, 5, 6)}}, "proofs/7", "proofs/8"))
UNSIGNED = manifest(None, JOB_A, 1, publicKey=None)
case("a manifest that is not signed", 3, [f"SKIP {A}: it is not signed, entry 7 has it"], one_backup(chain(a=UNSIGNED), recorded=UNSIGNED))
NAMELESS = manifest("node-1", JOB_A, 1, artifact={"checksumSha256": "0" * 64}, rows=None)
case("an artifact without a name", 3, [f"SKIP artifact of {JOB_A}: the manifest names no file"],
     without(one_backup(chain(a=NAMELESS), recorded=NAMELESS), artifact_path("dump"), artifact_path("rows.json")))
case("no people.json", 3, ["SKIP people: people.json is not here"], whole(people=None))
UP_TO_12 = {**whole(), "chain.tsv": WHOLE.tsv(range(1, 13)), **{f"proofs/{n}": WHOLE.proof(n) for n in range(1, 13)}}
case("a whole chain but for its end, where persons changed", 3, ["SKIP people: 2 of them need the whole chain"], UP_TO_12)
case("a whole chain but for its end, and a person in no entry", 3, ["SKIP people: 1 of them need the whole chain"],
     {**UP_TO_12, "people.json": canonical({ANN: {**PEOPLE[ANN], "dbRole": "ann"}, BOB: PEOPLE_BEFORE[BOB], JOB_A: PEOPLE[ANN]}).encode()})
case("a whole chain without a checkpoint, and a person missing", 3, ["SKIP checkpoint: there is none", *SKIPPED, "SKIP people: 1 of them need the whole chain"],
     without(whole(BEFORE, PEOPLE), "checkpoint"))
case("a whole chain that is newer than the checkpoint, and a person missing", 3,
     ["SKIP inclusion: 1 entries are not yet covered by a checkpoint", "SKIP people: 1 of them need the whole chain"], whole(BEFORE, PEOPLE, checkpoint=BEFORE.note(13)))
case("people of whom there is no entry", 3, ["SKIP people: 2 of them need the whole chain"], {**one_backup(), "people.json": canonical(PEOPLE_BEFORE).encode()})
case("a kept checkpoint without a proof", 3, ["SKIP older checkpoint: there is no consistency proof"], one_backup(), with_kept(WHOLE.note(9)))
case("a consistency proof without a kept checkpoint", 3, ["SKIP older checkpoint: there is none, but there is a consistency proof"],
     {**one_backup(), "consistency": WHOLE.consistency(9)})
case("a kept checkpoint and none in the bundle", 3, ["SKIP checkpoint: there is none", "SKIP older checkpoint: there is no sound checkpoint to compare it with", *SKIPPED],
     without(one_backup(), "checkpoint"), with_kept(WHOLE.note(9)))

# Files

case("an unknown file", 1, ["FAIL files: readme.txt is not part of a bundle"], {**one_backup(), "readme.txt": b""})
case("an unknown directory", 1, ["FAIL files: more is not part of a bundle"], {**one_backup(), "more": DIRECTORY})
case("a name with escapes of a terminal", 1, [r"FAIL files: \x1b[2J\x0aOK all\x5c is not part of a bundle"], {**one_backup(), "\x1b[2J\nOK all\\": b""})
case("a name that is not UTF-8", 1, [r"FAIL files: proofs/\xff is not part of a bundle"], {**one_backup(), b"proofs/\xff": b""})
case("a proof of entry 07", 1, ["FAIL files: proofs/07 is not part of a bundle"], {**one_backup(), "proofs/07": b""})
case("a proof of no number that fits", 1, ["FAIL files: proofs/9223372036854775808 is not part of a bundle"], {**one_backup(), "proofs/9223372036854775808": b""})
case("a manifest of no job", 1, ["FAIL files: backups/x.manifest.json is not part of a bundle"], {**one_backup(), "backups/x.manifest.json": b"{}"})
case("a link to the chain", 1, ["FAIL files: chain.tsv is not a regular file", "FAIL chain: chain.tsv is not there",
                                "SKIP inclusion: the chain is not sound", f"SKIP {A}: the chain is not sound"],
     {**one_backup(), "chain.tsv": Link("../other/chain.tsv")})
case("a link to the artifact", 1, [f"FAIL files: artifacts/{JOB_A}.1.dump is not a regular file", f"SKIP {DUMP_NAME}: it is not here",
                                   f"FAIL {DUMP_NAME}: no manifest names it"], {**one_backup(), artifact_path("dump"): Link("/etc/hostname")})
case("a link to a manifest", 1, [f"FAIL files: {manifest_path(JOB_A)} is not a regular file", f"FAIL {DUMP_NAME}: no manifest names it",
                                 f"FAIL {ROWS_NAME}: no manifest names it"], {**one_backup(), manifest_path(JOB_A): Link("../chain.tsv")})
case("a link to proofs", 1, ["FAIL files: proofs is not a directory", "FAIL inclusion: entry 4: there is no proof, and not every entry up to the checkpoint is here"],
     {**{k: v for k, v in one_backup().items() if not k.startswith("proofs/")}, "proofs": Link("artifacts")})
case("a FIFO as the checkpoint", 1, ["FAIL files: checkpoint is not a regular file", "SKIP checkpoint: there is none", *SKIPPED], {**one_backup(), "checkpoint": FIFO})
case("a directory as people.json", 1, ["FAIL files: people.json is not a regular file", "SKIP people: people.json is not here"], whole(people=None, **{"people.json": DIRECTORY}))
case("a file as backups", 1, ["FAIL files: backups is not a directory", f"FAIL {DUMP_NAME}: no manifest names it"], without({**whole(), "backups": b""}, manifest_path(JOB_A)))

case("proofs that are too many", 1, ["FAIL files: proofs has too many files"], whole(**{f"proofs/{n}": b"" for n in range(1, 100_002)}))
case("files that are too many", 1, ["FAIL files: the bundle has too many files"], whole(**{f"{n}": b"" for n in range(100_001)}))

# The chain

BAD_CHAIN = ["SKIP inclusion: the chain is not sound", f"SKIP {A}: the chain is not sound"]
BAD_WHOLE = BAD_CHAIN + ["SKIP people: the chain is not sound"]


def bad_line(what, line, problem, data, files=whole, skipped=BAD_WHOLE):
    case(what, 1, [f"FAIL chain: line {line}: {problem}", *skipped], {**files(), "chain.tsv": data})


TSV = lines_of(WHOLE.tsv())
HASH = "the hash is not that of prevHash and body"
BODY = "the body is not that of this entry"
FORM = "it has not the form of an entry"
bad_line("an entry changed", 9, HASH, altered(WHOLE.tsv(), "Zoë".encode(), b"Joe"))
bad_line("an entry changed, and its hash", 10, "prevHash is not the hash of the entry before",
         b"".join(TSV[:8] + [rehashed(TSV[8], lambda b: b.replace("Zoë", "Joe"))] + TSV[9:]))
case("an entry changed, and its hash, among few", 1, ["FAIL inclusion: entry 8: the proof does not lead to the root of the checkpoint"],
     {**one_backup(), "chain.tsv": b"".join(lines_of(WHOLE.tsv(OF_A))[:4] + [rehashed(TSV[7], lambda b: b.replace("system", "member"))])})
case("history rewritten", 1, ["FAIL checkpoint: the root is not that of the entries", *SKIPPED],
     {**whole(), "chain.tsv": rewritten(9, lambda b: b.replace("Zoë", "Joe")).tsv()})
case("an entry missing", 1, ["FAIL inclusion: entry 1: there is no proof, and not every entry up to the checkpoint is here"],
     {**whole(), "chain.tsv": b"".join(TSV[:8] + TSV[9:])})
case("the tail missing", 1, ["FAIL inclusion: entry 1: there is no proof, and not every entry up to the checkpoint is here"], {**whole(), "chain.tsv": b"".join(TSV[:-1])})
case("an entry missing among few", 1, ["FAIL inclusion: 1 proofs are of entries that are not here"], {**one_backup(), "chain.tsv": WHOLE.tsv((4, 5, 7, 8))})
case("the entry of the evidence missing", 1, [f"FAIL {A}: no entry records it"], without({**one_backup(), "chain.tsv": WHOLE.tsv((4, 5, 6, 8))}, "proofs/7"))
bad_line("two lines exchanged", 3, "it is not behind the entry of the line before", b"".join([TSV[0], TSV[2], TSV[1]] + TSV[3:]))
bad_line("a line twice", 2, "it is not behind the entry of the line before", b"".join(TSV[:1] + TSV))
bad_line("an entry of another organisation", 4, "it belongs to another organisation", b"".join(TSV[:3] + [rehashed(TSV[3], lambda b: b.replace(ORG, OTHER_ORG))] + TSV[4:]))
bad_line("the wrong start", 1, "prevHash is not the start of the chain", rehashed(TSV[0], lambda b: b.replace(ORG, OTHER_ORG)) + b"".join(TSV[1:]))
bad_line("an entry in the place of another", 9, BODY, altered(b"".join(TSV[:8] + TSV[9:]), b"\n10\t", b"\n9\t"))
bad_line("a duplicate key", 9, BODY, b"".join(TSV[:8] + [rehashed(TSV[8], lambda b: b.replace('"data"', '"actor":{},"data"'))]))
bad_line("keys out of order", 9, BODY, b"".join(TSV[:8] + [rehashed(TSV[8], lambda b: b.replace('"actor"', '"zz":1,"actor"'))]))
bad_line("a space", 9, BODY, b"".join(TSV[:8] + [rehashed(TSV[8], lambda b: b.replace('"data":', '"data": '))]))
for value in ("1.0", "1e3", "-0", "01", "9007199254740992", "NaN", r'"\u0041"', r'"\ud800"', r'"\u0000"', "[" * 63 + "]" * 63):
    bad_line(f"the value {value[:20]}", 9, BODY, b"".join(TSV[:8] + [rehashed(TSV[8], lambda b: b.replace('"Zoë"', value))]))
bad_line("another member", 9, BODY, b"".join(TSV[:8] + [rehashed(TSV[8], lambda b: b.replace('"payload"', '"p":1,"payload"'))]))
bad_line("a kind that is none", 9, BODY, b"".join(TSV[:8] + [rehashed(TSV[8], lambda b: b.replace('"app.invoice.sent"', '"App"'))]))
bad_line("a time that is none", 9, BODY, b"".join(TSV[:8] + [rehashed(TSV[8], lambda b: b.replace("2026-11", "2026/11"))]))
bad_line("a time that goes back", 2, "it is earlier than the entry before", Chain().append("org.created").append("x.y", at="2026-11-21T17:00:59.999999Z").tsv())
bad_line("an upper-case hash", 1, FORM, altered(TSV[0], WHOLE.entries[0][2].encode(), WHOLE.entries[0][2].upper().encode()))
bad_line("a short hash", 1, FORM, altered(TSV[0], WHOLE.entries[0][2].encode(), WHOLE.entries[0][2][:-1].encode()))
bad_line("seq 01", 1, FORM, b"0" + TSV[0])
bad_line("seq 0", 1, FORM, b"0" + TSV[0][1:])
bad_line("a large seq", 1, FORM, b"9223372036854775808" + TSV[0][1:])
bad_line("a seq that JSON cannot say", 1, BODY, b"9007199254740992" + TSV[0][1:])
bad_line("a NUL", 9, BODY, b"".join(TSV[:8] + [rehashed(TSV[8], lambda b: b.replace("Zoë", "Zo\0"))]))
bad_line("a NUL behind the last line", LAST + 1, FORM, WHOLE.tsv() + b"\0")
bad_line("line ends of Windows", 1, HASH, WHOLE.tsv().replace(b"\n", b"\r\n"))
bad_line("no line end", LAST, FORM, WHOLE.tsv()[:-1])
bad_line("cut in a line", LAST, FORM, WHOLE.tsv()[:-100])
bad_line("an empty line", 2, FORM, TSV[0] + b"\n" + b"".join(TSV[1:]))
bad_line("a line without end", 1, FORM, TSV[0][:-1] + b"x" * 200_000)
bad_line("a body that is too long", 1, FORM, TSV[0][:-1] + b"x" * 66_000 + b"\n")
for n, line in ((1, 1), (LAST + 1, LAST + 1)):
    bad_line(f"a body of another organisation that is too long, in line {line}", line, FORM, b"".join(TSV[:n - 1]) + rehashed(
        TSV[0].replace(b"1", str(n).encode(), 1), lambda b: b.replace(ORG, OTHER_ORG).replace("acme", "a" * (65_537 - len(b.encode()) + 4))))
LONG = chain().append("app.x", data="x" * 65_536)
LONG_ENOUGH = chain().append("app.x", data="x" * (2 * 65_536 - len(LONG.entries[-1][3])))
case("a body that is as long as can be", 0, None, whole(LONG_ENOUGH))
bad_line("a body that is not UTF-8", 9, BODY, b"".join(TSV[:8]) + (lambda prev, body: b"9\t" + prev + b"\t" + sha256(prev, body).hex().encode() + b"\t" + body + b"\n")(
    WHOLE.entries[8][1].encode(), altered(WHOLE.entries[8][3].encode(), "ë".encode(), b"\xff")))
case("an empty chain", 1, ["FAIL chain: chain.tsv is empty", *BAD_CHAIN], {**whole(people=None), "chain.tsv": b""})
case("no chain", 1, ["FAIL chain: chain.tsv is not there", *BAD_CHAIN], without(whole(people=None), "chain.tsv"))
case("nothing", 1, ["FAIL chain: chain.tsv is not there", "SKIP checkpoint: there is none", "SKIP inclusion: the chain is not sound"], {})
case("the chain of another organisation", 1, ["FAIL checkpoint: it is of another organisation", *SKIPPED,
                                              f"FAIL {A}: its entry is of another job, fence, database or organisation"], {**whole(), "chain.tsv": chain(OTHER_ORG).tsv()})

# The checkpoint

NOTE = WHOLE.note()
NO_FORM = ["FAIL checkpoint: it has not the form of a checkpoint", *SKIPPED]
FORGED = "the signature is not that of its content"
UNTRUSTED = "it is signed with a key that is not trusted"
case("the size of the checkpoint changed", 1, [f"FAIL checkpoint: {FORGED}", *SKIPPED], whole(checkpoint=altered(NOTE, f"\n{LAST}\n".encode(), b"\n9\n")))
case("the checkpoint signed by a stranger", 1, [f"FAIL checkpoint: {UNTRUSTED}", *SKIPPED], whole(checkpoint=WHOLE.note(seed="stranger")))
case("the checkpoint signed by nobody known", 1, [f"FAIL checkpoint: {UNTRUSTED}", *SKIPPED], whole(checkpoint=WHOLE.note(name="node-3")))
case("the checkpoint signed in another's name", 1, [f"FAIL checkpoint: {UNTRUSTED}", *SKIPPED], whole(checkpoint=WHOLE.note(name="node-2")))
case("the key id of a checkpoint forged", 1, [f"FAIL checkpoint: {FORGED}", *SKIPPED], whole(checkpoint=NOTE[:-93] + base64_text(
    bytes.fromhex(TRUST["node-1.vkey"].decode().split("+")[1]) + bytes(64)).encode() + b"\n"))
case("text behind the signature", 1, NO_FORM, whole(checkpoint=NOTE + b"more\n"))
case("two signatures", 1, NO_FORM, whole(checkpoint=NOTE + NOTE.splitlines(keepends=True)[-1]))
case("a second signature that is bad", 1, NO_FORM, whole(checkpoint=NOTE + altered(NOTE.splitlines(keepends=True)[-1], b"node-1", b"node-2")))
case("a checkpoint with line ends of Windows", 1, NO_FORM, whole(checkpoint=NOTE.replace(b"\n", b"\r\n")))
case("a checkpoint with a size of 016", 1, NO_FORM, whole(checkpoint=altered(NOTE, b"\n16\n", b"\n016\n")))
case("a root without its padding", 1, NO_FORM, whole(checkpoint=altered(NOTE, b"=\n\n", b"\n\n")))
case("a root whose padding hides bits", 1, NO_FORM, whole(checkpoint=NOTE[:NOTE.index(b"=") - 1] + b"B" + NOTE[NOTE.index(b"="):]))
case("a checkpoint of nothing", 3, [f"SKIP inclusion: {LAST} entries are not yet covered by a checkpoint"], whole(checkpoint=WHOLE.note(0)))
case("a checkpoint of nothing with a root", 1, ["FAIL checkpoint: the root is not that of the entries", *SKIPPED],
     whole(checkpoint=note("node-1", "node-1", ORG, 0, root(WHOLE.hashes()))))
case("a checkpoint of as many entries as fit", 1, ["FAIL inclusion: entry 1: there is no proof, and not every entry up to the checkpoint is here"],
     whole(checkpoint=note("node-1", "node-1", ORG, 2**63 - 1, root(WHOLE.hashes()))))
case("a line more in the checkpoint", 1, NO_FORM, whole(checkpoint=altered(NOTE, b"\n\n", b"\nx\n\n")))
case("a checkpoint cut", 1, NO_FORM, whole(checkpoint=NOTE[:-1]))
case("a checkpoint that is too long", 1, NO_FORM, whole(checkpoint=NOTE + b" " * 2000))
case("a checkpoint of another organisation", 1, ["FAIL checkpoint: it is of another organisation", *SKIPPED], whole(checkpoint=chain(OTHER_ORG).note()))
case("a checkpoint of another history", 1, ["FAIL checkpoint: the root is not that of the entries", *SKIPPED], whole(checkpoint=rewritten(3, lambda b: b.replace("owner", "admin")).note()))

# The older checkpoint

OTHER = rewritten(3, lambda b: b.replace("owner", "admin"))
OLDER = "FAIL older checkpoint: "
case("a kept checkpoint with another root", 1, [OLDER + "the checkpoint has another root"], one_backup(), with_kept(OTHER.note()))
case("a kept checkpoint of another history", 1, [OLDER + "the entries have another root"], whole(), with_kept(OTHER.note(9)))
case("a shortened history", 1, [OLDER + "it has more entries than the checkpoint"], one_backup(), with_kept(chain().append("x.y").note()))
case("a consistency proof of another history", 1, [OLDER + "the consistency proof does not lead from it to the checkpoint"],
     {**one_backup(), "consistency": OTHER.consistency(9)}, with_kept(WHOLE.note(9)))
case("a consistency proof for another size", 1, [OLDER + "the consistency proof does not lead from it to the checkpoint"],
     {**one_backup(), "consistency": WHOLE.consistency(8)}, with_kept(WHOLE.note(9)))
case("a consistency proof cut", 1, [OLDER + "the consistency proof does not lead from it to the checkpoint"],
     {**one_backup(), "consistency": WHOLE.consistency(9)[:-46]}, with_kept(WHOLE.note(9)))
case("a kept checkpoint of a stranger", 1, [OLDER + UNTRUSTED], whole(), with_kept(WHOLE.note(9, seed="stranger")))
case("a kept checkpoint of another organisation", 1, [OLDER + "it is of another organisation"], whole(), with_kept(chain(OTHER_ORG).note(9)))
case("a kept checkpoint of another organisation, and no entry", 1,
     ["FAIL chain: chain.tsv is empty", OLDER + "it is of another organisation", "SKIP inclusion: the chain is not sound"],
     {"chain.tsv": b"", "checkpoint": NOTE}, with_kept(chain(OTHER_ORG).note()))
case("a kept checkpoint that is none", 1, [OLDER + "it has not the form of a checkpoint"], whole(), with_kept(b"x"))

# Inclusion


def bad_proof(what, problem, data):
    case(what, 1, [f"FAIL inclusion: entry 7: {problem}"], {**one_backup(), "proofs/7": data})


PROOF = WHOLE.proof(7)
NOT_A_PROOF = "the proof has not the form of one"
WRONG = "the proof does not lead to the root of the checkpoint"
bad_proof("the proof of another entry", WRONG, WHOLE.proof(8))
bad_proof("the proof of another entry with the index of this one", WRONG, altered(WHOLE.proof(8), b"index 7", b"index 6"))
bad_proof("a hash changed", WRONG, altered(PROOF, PROOF.split(b"\n")[3], WHOLE.proof(1).split(b"\n")[2]))
bad_proof("a hash whose padding hides bits", NOT_A_PROOF, altered(PROOF, b"=\n", b"\n").replace(PROOF.split(b"\n")[2][:-1], PROOF.split(b"\n")[2][:-2] + b"B="))
bad_proof("a proof with line ends of Windows", NOT_A_PROOF, PROOF.replace(b"\n", b"\r\n"))
bad_proof("a hash missing", WRONG, altered(PROOF, PROOF.split(b"\n")[3] + b"\n", b""))
bad_proof("a hash too many", WRONG, altered(PROOF, b"\n\n", b"\n" + PROOF.split(b"\n")[3] + b"\n\n"))
bad_proof("65 hashes", NOT_A_PROOF, altered(PROOF, b"\n\n", b"\n" + (PROOF.split(b"\n")[3] + b"\n") * 61 + b"\n"))
bad_proof("a proof cut", NOT_A_PROOF, PROOF[:60])
bad_proof("a proof with the note cut", "the proof is for another checkpoint", PROOF[:-1])
bad_proof("a proof for another checkpoint", "the proof is for another checkpoint", WHOLE.proof(7, 9))
bad_proof("a proof with another head", NOT_A_PROOF, altered(PROOF, b"@v1", b"@v2"))
bad_proof("a negative index", NOT_A_PROOF, altered(PROOF, b"index 6", b"index -6"))
bad_proof("an empty proof", NOT_A_PROOF, b"")
bad_proof("a proof that is too long", NOT_A_PROOF, PROOF + b"x" * 7000)
case("no proof", 1, ["FAIL inclusion: entry 7: there is no proof, and not every entry up to the checkpoint is here"], without(one_backup(), "proofs/7"))
case("a proof too many", 1, ["FAIL inclusion: 1 proofs are of entries that are not here"], {**one_backup(), "proofs/9": WHOLE.proof(9)})
case("a bad proof beside the whole chain", 1, ["FAIL inclusion: entry 2: " + WRONG], whole(**{"proofs/2": WHOLE.proof(3)}))
case("a proof of an entry that the checkpoint does not cover", 1, ["FAIL inclusion: entry 8: " + WRONG],
     {**one_backup(), "checkpoint": WHOLE.note(7), **{f"proofs/{n}": WHOLE.proof(n, 7) for n in (4, 5, 6, 7)},
      "proofs/8": altered(WHOLE.proof(7, 7), b"index 6", b"index 7")})

# Manifests


def bad_manifest(what, problem, data):
    case(what, 1, [f"FAIL {A}: {problem}"], {**one_backup(), manifest_path(JOB_A): data})


def recorded(what, problem, m):
    """The chain has it just so."""
    files = one_backup(chain(a=m), recorded=m)
    case(what, 1, [f"FAIL {A}: {problem}"], files)


def signed(**members):
    return manifest("node-1", JOB_A, 1, **members)


TEXT = canonical(MANIFEST_A).encode()
NO_JSON = "it is not a canonical JSON object"
LOST = [f"FAIL {DUMP_NAME}: no manifest names it", f"FAIL {ROWS_NAME}: no manifest names it"]
bad_manifest("a field of the manifest changed", FORGED, altered(TEXT, b"manifest/v1", b"manifest/v2"))
bad_manifest("a manifest signed by a stranger", UNTRUSTED, canonical(STRANGER).encode())
bad_manifest("a manifest signed by a stranger with the key of the node", FORGED,
             canonical({**STRANGER, "publicKey": MANIFEST_A["publicKey"]}).encode())
bad_manifest("a manifest that another node signed", UNTRUSTED, canonical(manifest("node-2", JOB_A, 1)).encode())
bad_manifest("a manifest signed anew", "the last entry of its job has another one", canonical(signed(format="walwarden/manifest/v2")).encode())
bad_manifest("the signature taken off", "the last entry of its job has another one", canonical({k: v for k, v in MANIFEST_A.items() if k != "signature"}).encode())
bad_manifest("a signature that is none", "its signature is malformed", canonical({**MANIFEST_A, "signature": "x"}).encode())
bad_manifest("a signature without its padding", "its signature is malformed", canonical({**MANIFEST_A, "signature": MANIFEST_A["signature"].rstrip("=")}).encode())
bad_manifest("a signature that is a number", "its signature is malformed", canonical({**MANIFEST_A, "signature": 1}).encode())
bad_manifest("a key that is none", "its node or its key is malformed", canonical({**MANIFEST_A, "publicKey": "x"}).encode())
bad_manifest("a node that is a number", "its node or its key is malformed", canonical({**MANIFEST_A, "node": 1}).encode())
bad_manifest("a node with an escape", "its node or its key is malformed", canonical({**MANIFEST_A, "node": "\n"}).encode())
for what, data in (("a manifest with a space", altered(TEXT, b":", b": ")), ("a manifest with a line feed", TEXT + b"\n"),
                   ("a duplicate key", altered(TEXT, b'"fence":1', b'"fence":1,"fence":1')),
                   ("a size of 260.0", altered(TEXT, b'"sizeBytes":260', b'"sizeBytes":260.0')), ("a fence of 1e0", altered(TEXT, b'"fence":1', b'"fence":1e0')),
                   ("a letter escaped", altered(TEXT, b'"node":"n', rb'"node":"\u006e')),
                   ("the signature not in its place", altered(TEXT, b'{', f'{{"signature":"{MANIFEST_A["signature"]}",'.encode())),
                   ("a manifest cut", TEXT[:-1]), ("an empty manifest", b""), ("a list as manifest", b"[]"),
                   ("a manifest that is too long", b'{"a":"' + b"x" * 70_000 + b'"}')):
    case(what, 1, [f"FAIL {A}: {NO_JSON}", *LOST], {**one_backup(), manifest_path(JOB_A): data})
EARLIER = chain().evidence(JOB_A, manifest("node-1", JOB_A, 2))
case("an earlier manifest of the job", 1, [f"FAIL {A}: the last entry of its job has another one"], one_backup(EARLIER, (*OF_A, 17)))
WITHOUT = chain().append("evidence.recorded", JOB_A, after={"backupJobId": JOB_A, "databaseId": DATABASE, "fence": 1, "state": "failed"})
case("evidence without a manifest, recorded again", 1, [f"FAIL {A}: the last entry of its job has another one"], one_backup(WITHOUT, (*OF_A, 17)))
case("the manifest of another job", 1, [f"FAIL {A}: the last entry of its job has another one", f"SKIP artifact b.tar.gz: it is not here", *LOST],
     {**one_backup(), manifest_path(JOB_A): canonical(MANIFEST_B).encode()})
recorded("evidence with the manifest of another job", "its entry is of another job, fence, database or organisation", signed(jobId=JOB_B))
recorded("evidence with the manifest of another organisation", "its entry is of another job, fence, database or organisation", signed(orgId=OTHER_ORG))
recorded("evidence with the manifest of another database", "its entry is of another job, fence, database or organisation", signed(databaseId=JOB_B))
FENCED = Chain().append("org.created").evidence(JOB_A, MANIFEST_A, fence=2)
case("evidence with the manifest of another fence", 1, [f"FAIL {A}: its entry is of another job, fence, database or organisation"], one_backup(FENCED, (1, 2)))
case("a manifest without an entry", 1, [f"FAIL manifest {JOB_B}: no entry records it", "SKIP artifact b.tar.gz: it is not here"],
     {**one_backup(), manifest_path(JOB_B): canonical(MANIFEST_B).encode()})

# Artifacts

case("a byte of the artifact changed", 1, [f"FAIL {DUMP_NAME}: it has not the SHA-256 that the manifest names"], {**one_backup(), artifact_path("dump"): altered(DUMP, b"\x40", b"\x41")})
case("an artifact cut", 1, [f"FAIL {DUMP_NAME}: it has not the size that the manifest names"], {**one_backup(), artifact_path("dump"): DUMP[:-1]})
case("an artifact that takes long to read", 1, [f"FAIL {DUMP_NAME}: it has not the size that the manifest names"], {**one_backup(), artifact_path("dump"): Sparse(1 << 42)})
case("an empty artifact", 1, [f"FAIL {DUMP_NAME}: it has not the size that the manifest names"], {**one_backup(), artifact_path("dump"): b""})
case("a byte of the rows changed", 1, [f"FAIL {ROWS_NAME}: it has not the SHA-256 that the manifest names"], {**one_backup(), artifact_path("rows.json"): altered(ROWS, b"4", b"5")})
case("an artifact that no manifest names", 1, ["FAIL artifact x: no manifest names it"], {**one_backup(), "artifacts/x": b""})
UPPER = signed(artifact={"checksumSha256": sha256(DUMP).hex().upper(), "name": f"{JOB_A}.1.dump"})
case("a manifest with a checksum that is none", 1, [f"FAIL {DUMP_NAME}: it has not the SHA-256 that the manifest names"], one_backup(chain(a=UPPER), recorded=UPPER))
for name in ("..", "x/..", "", "a/", "x" * 256, 'a"b', 1, None):
    m = signed(artifact={"checksumSha256": "0" * 64, "name": name}, rows=None)
    case(f"an artifact with the name {str(name)[:10]}", 3, [f"SKIP artifact of {JOB_A}: the manifest names no file"],
         without(one_backup(chain(a=m), recorded=m), artifact_path("dump"), artifact_path("rows.json")))

# People


def bad_people(what, problem, people, c=WHOLE):
    data = people if isinstance(people, bytes) else canonical(people).encode()
    case(what, 1, [f"FAIL people: {problem}"], {**whole(c), "people.json": data})


NO_PEOPLE = "people.json has not the form of one"
bad_people("an erased person with a made-up salt", f"member {BOB} is not the person in people.json", {**PEOPLE_BEFORE, BOB: {**PEOPLE_BEFORE[BOB], "salt": "ab" * 32}})
bad_people("a subject that looks the same", f"member {BOB} is not the person in people.json", {**PEOPLE_BEFORE, BOB: {**PEOPLE_BEFORE[BOB], "subject": 'bob "o\u0308" \u0001@acme.example'}})
bad_people("another subject", f"member {ANN} is not the person in people.json", {ANN: {**PEOPLE[ANN], "subject": "eve@acme.example"}})
bad_people("another server role", f"member {ANN} does not have the dbRole in people.json", {ANN: {**PEOPLE[ANN], "dbRole": "ann"}})
bad_people("no server role", f"member {ANN} does not have the dbRole in people.json", {ANN: {**PEOPLE[ANN], "dbRole": None}})
bad_people("a server role too many", f"member {BOB} does not have the dbRole in people.json", {**PEOPLE_BEFORE, BOB: {**PEOPLE_BEFORE[BOB], "dbRole": "bob"}}, BEFORE)
bad_people("a member missing who was not erased", f"member {BOB} is not in people.json and was not erased", PEOPLE, BEFORE)
bad_people("nobody", f"member {ANN} is not in people.json and was not erased", {})
bad_people("a person in no entry", f"{JOB_A} is in people.json and in no entry", {**PEOPLE, JOB_A: PEOPLE[ANN]})
for what, data in (("with a space", canonical(PEOPLE).encode() + b" \n"), ("with an empty line", canonical(PEOPLE).encode() + b"\n\n"), ("that is a list", b"[]"), ("that is empty", b""), ("cut", canonical(PEOPLE).encode()[:-1]),
                   ("with a key that is no id", canonical({"ann": PEOPLE[ANN]}).encode()), ("with an upper-case salt", canonical({ANN: {**PEOPLE[ANN], "salt": "AB" * 32}}).encode()),
                   ("with a short salt", canonical({ANN: {**PEOPLE[ANN], "salt": SALTS[ANN][:-1]}}).encode()),
                   ("with a member twice", canonical(PEOPLE).encode()[:-1] + b"," + canonical(PEOPLE).encode()[1:]),
                   ("with line ends of Windows", canonical(PEOPLE).encode() + b"\r\n"),
                   ("without a subject", canonical({ANN: {"salt": SALTS[ANN], "dbRole": None}}).encode()),
                   ("with a member too many", canonical({ANN: {**PEOPLE[ANN], "x": 1}}).encode()), ("with a number", canonical({ANN: {**PEOPLE[ANN], "dbRole": 1}}).encode())):
    bad_people(f"people.json {what}", NO_PEOPLE, data)
bad_people("an entry that describes no member", f"entry {LAST + 1} does not describe a member", PEOPLE, chain().append("member.added", after={"id": ANN}))


def run(*command, **options):
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, **options)
    return result.returncode, result.stdout.splitlines(), result.stderr


def second_opinion(work):
    """As run(), without starting Python for each bundle."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = verify_bundle.main(["--trust", str(work / "trust"), str(work / "bundle")])
    return code, out.getvalue().splitlines(), err.getvalue()


def problems(program, work, expected_code, expected, files, trust):
    """What is not as it should be with one bundle."""
    write(work / "bundle", files)
    write(work / "trust", trust)
    code, lines, stderr = run(program, "bundle", "--trust", work / "trust", work / "bundle")
    second_code, second, second_stderr = second_opinion(work)
    json_code, json_lines, _ = run(program, "bundle", "--json", "--trust", work / "trust", work / "bundle")
    bad = [line for line in lines if not line.startswith("OK ")]
    if stderr or second_stderr:
        yield f"stderr: {stderr} {second_stderr}"
    if code != expected_code:
        yield f"exit code {code}, expected {expected_code}"
    if expected is not None and (bad or lines) != expected:
        yield "\n".join(["said:", *(bad or lines), "expected:", *expected])
    if expected is None and bad:
        yield "\n".join(["said:", *bad])
    if (second_code, second) != (code, lines):
        yield "\n".join([f"the second verifier, exit code {second_code}:", *second, f"the first, exit code {code}:", *lines])
    try:
        report = json.loads("\n".join(json_lines))
        again = [f"{check['verdict']} {check['what']}" for check in report["checks"]]
        if json_code != code or again != lines or report["verdict"] != {0: "OK", 1: "FAIL", 3: "SKIP"}[code]:
            yield f"--json says otherwise: {report}"
    except ValueError as error:
        yield f"--json: {error}: {json_lines}"


# Wrong usage, and what ends without a verdict

SMALL = b"node-1+" + sha256("node-1\n\1", bytes([1]) + bytes(31))[:4].hex().encode() + b"+" + base64_text(bytes([1, 1]) + bytes(31)).encode() + b"\n"
USAGE = [
    ("no keys", {"README": b""}), ("a key that is none", {**TRUST, "x.vkey": b"node-1\n"}), ("a key file that is a link", {**TRUST, "x.vkey": Link("node-1.vkey")}),
    ("a kept checkpoint that is a link", {**TRUST, "checkpoint": Link("/dev/null")}),
    ("a key that is a directory", {**TRUST, "x.vkey": DIRECTORY}), ("a key that is empty", {**TRUST, "x.vkey": b""}),
    ("a key with a line end of Windows", {"x.vkey": altered(TRUST["node-1.vkey"], b"\n", b"\r\n")}),
    ("a key file with escapes of a terminal in its name", {**TRUST, "\x1b[2J\u009b2J.vkey": b"x"}),
    ("a kept checkpoint that is a directory", {**TRUST, "checkpoint": DIRECTORY}), ("a kept checkpoint that is a FIFO", {**TRUST, "checkpoint": FIFO}),
    *((f"a kept checkpoint with the name {name}", {**TRUST, name: NOTE}) for name in ("checkpoint.txt", "Checkpoint", "the checkpoint")),
    ("two keys in a file", {"x.vkey": TRUST["node-1.vkey"] * 2}), ("another key id", {"x.vkey": altered(TRUST["node-1.vkey"], b"-1", b"-3")}),
    ("an upper-case key id", {"x.vkey": b"+".join(p.upper() if i == 1 else p for i, p in enumerate(TRUST["node-1.vkey"].split(b"+", 2)))}),
    ("a key of another type", {"x.vkey": altered(TRUST["node-1.vkey"], b"+A", b"+B")}), ("a key under which anybody can sign", {"x.vkey": SMALL}),
    ("no folder", None),
]

NO_TRUST = "--trust DIRECTORY is missing: your own folder with the keys of the nodes that you trust"
WRONG = [([], "the command is missing"), (["check", "--trust", "x", "y"], "the command is missing"), (["bundle"], NO_TRUST), (["bundle", "x"], NO_TRUST),
         (["bundle", "--trust", "x"], "name one directory"), (["bundle", "--trust", "x", "y", "z"], "name one directory"),
         (["bundle", "--trust", "x", "--trust", "y", "z"], "--trust is given twice"), (["--no"], "")]


def usage_problems(program, work, trust):
    write(work / "bundle", whole())
    write(work / "trust", trust or {})
    folder = work / ("trust" if trust is not None else "nowhere")
    for command in ((program, "bundle"), (sys.executable, HERE.parent / "verify_bundle.py")):
        code, lines, stderr = run(*command, "--trust", folder, work / "bundle")
        if code != 2 or lines or not stderr or not all(c == "\n" or " " <= c <= "~" for c in stderr):
            yield f"{command[0]}: exit code {code}, {lines}, {stderr}"


# Memory

MEMORY = 40 << 20


def memory_problems(program, work):
    """A chain and an artifact of twice the memory."""
    c = Chain()
    for _ in range(2 * MEMORY // 60_000):
        c.append("app.x", data="x" * 60_000, at="2026-11-21T17:00:00.000000Z")
    c.minute = 0
    zeros = hashlib.sha256()
    for _ in range(2 * MEMORY >> 20):
        zeros.update(bytes(1 << 20))
    c.evidence(JOB_A, signed(artifact={"checksumSha256": zeros.hexdigest(), "name": "zeros"}, rows=None))
    recorded = json.loads(c.entries[-1][3])["payload"]["after"]["manifest"]
    write(work / "bundle", {"chain.tsv": c.tsv(), "checkpoint": c.note(), manifest_path(JOB_A): canonical(recorded).encode(), "artifacts/zeros": b""})
    os.truncate(work / "bundle" / "artifacts" / "zeros", 2 * MEMORY)
    write(work / "trust", TRUST)
    code, lines, stderr = run(program, "bundle", "--trust", work / "trust", work / "bundle",
                              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)))
    if code != 0 or len(lines) != 6:
        yield "\n".join([f"exit code {code}", *lines, stderr])


def main(program, work):
    work = Path(work)
    failed = 0
    tests = [(f"{what}: {'OK SKIP FAIL'.split()[{0: 0, 3: 1, 1: 2}[code]]}", problems(program, work, code, *rest)) for what, code, *rest in cases]
    tests += [(f"without a verdict: {what}", usage_problems(program, work, trust)) for what, trust in USAGE]
    tests.append(("more than the memory", memory_problems(program, work)))
    for arguments, problem in WRONG:
        code, lines, stderr = run(program, *arguments)
        tests.append((f"usage: {' '.join(arguments)}", [] if code == 2 and not lines and problem in stderr and "Usage:" in stderr else [f"{code} {lines} {stderr}"]))
    print(f"1..{len(tests)}")
    for n, (what, found) in enumerate(tests, start=1):
        found = list(found)
        failed += bool(found)
        print("not ok" if found else "ok", n, "-", what)
        for problem in found:
            print("\n".join(f"# {line}" for line in problem.splitlines()))
    return 1 if failed else 0


def seeds(directory):
    """As test/fuzz/bundle.c reads them: path, NUL, content, NUL ..."""
    os.makedirs(directory, exist_ok=True)
    for what, _, _, files, trust in cases:
        parts = {**files, **({"kept": trust["checkpoint"]} if "checkpoint" in trust else {})}
        if all(isinstance(v, bytes) and b"\0" not in v for v in parts.values()):
            data = b"".join(os.fsencode(k) + b"\0" + v + b"\0" for k, v in parts.items())
            if len(data) < 60_000:
                (Path(directory) / what.replace(" ", "-").replace("/", "").replace("\\", "")[:60]).write_bytes(data)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--seeds"] and len(sys.argv) == 3:
        seeds(sys.argv[2])
    elif sys.argv[1:2] == ["--example"] and len(sys.argv) == 3:
        write(Path(sys.argv[2]) / "bundle", one_backup())
        write(Path(sys.argv[2]) / "trust", TRUST)
    elif len(sys.argv) == 3:
        sys.exit(main(sys.argv[1], sys.argv[2]))
    else:
        sys.exit(__doc__)
