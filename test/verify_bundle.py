#!/usr/bin/env python3
"""Judge a bundle of evidence. Shares no code with walwarden-verify; written from
docs/auditors.md and docs/audit-chain.md alone. It prints the same lines, and is slower.

usage: verify_bundle.py --trust DIRECTORY BUNDLE

DIRECTORY holds what the auditor trusts, got another way than BUNDLE: verifier keys in
files NAME.vkey and, if one was kept, the newest checkpoint in the file checkpoint.

Prints a line for each check: OK, FAIL or SKIP, and what. Exits with 0 if all is OK, 1 if
a check failed, 2 if the usage is wrong or something cannot be read, 3 if nothing failed
but something could not be checked with what is there.
"""
import base64
import errno
import hashlib
import itertools
import json
import os
import re
import stat
import sys

import ed25519

BODY_MAX = 65536
LINE_MAX = 19 + 1 + 64 + 1 + 64 + 1 + BODY_MAX
NOTE_MAX = 1024
PROOF_MAX = 6144
PROOF_HASHES_MAX = 64
PEOPLE_MAX = 32 << 20
MEMBERS_MAX = 100_000
FILES_MAX = 100_000
TRUSTED_MAX = 10_000
SIZE_MAX = 2**63 - 1
DEPTH_MAX = 64

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
KIND = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")
HASH = re.compile(r"[0-9a-f]{64}")
NUMBER = re.compile(rb"0|[1-9][0-9]*")
# what a key's name must not contain beside ASCII: the spaces of Unicode
SPACES = [chr(c).encode() for c in [0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]]


class Unreadable(Exception):
    """What ends the program without a verdict."""


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# Texts


def harmless(text):
    return "".join(chr(b) if 0x20 <= b <= 0x7E and b != 0x5C else f"\\x{b:02x}" for b in text)


def number(text):
    """The value of decimal digits, or None."""
    return int(text) if len(text) < 20 and NUMBER.fullmatch(text) and int(text) <= SIZE_MAX else None


def from_base64(text, size):
    """The bytes, of which there are size, or None."""
    try:
        octets = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return octets if len(octets) == size and base64.b64encode(octets) == text else None


def canonical(value, depth=DEPTH_MAX):
    """RFC 8785, for the subset that entries use; ValueError outside of it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        value.encode()
        if "\0" in value:
            raise ValueError("a NUL")
        return json.dumps(value, ensure_ascii=False)
    if depth == 0:
        raise ValueError("too deep")
    if isinstance(value, list):
        return "[" + ",".join(canonical(v, depth - 1) for v in value) + "]"
    keys = sorted(value, key=lambda k: k.encode("utf-16-be"))
    return "{" + ",".join(canonical(k) + ":" + canonical(value[k], depth - 1) for k in keys) + "}"


def refuse(text):
    raise ValueError(f"{text} is not an integer")


def integer(text):
    value = int(text)
    if abs(value) >= 2**53:
        raise ValueError(f"{text} is a large number")
    return value


def unique(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate key")
    return result


def parse(octets, limit=BODY_MAX):
    """What canonical JSON says, or None: also for the word null, which nobody asks for."""
    try:
        text = octets.decode()
        value = json.loads(text, object_pairs_hook=unique, parse_int=integer, parse_float=refuse, parse_constant=refuse)
        return value if len(octets) <= limit and canonical(value) == text else None
    except (ValueError, RecursionError):
        return None


MISSING = object()


def member(value, key):
    return value.get(key, MISSING) if isinstance(value, dict) else MISSING


def plain(value):
    """A string in which JSON escapes nothing, or None."""
    return value if isinstance(value, str) and json.dumps(value, ensure_ascii=False)[1:-1] == value else None


def same(a, b):
    return a is not MISSING and b is not MISSING and canonical(a) == canonical(b)


def matches(pattern, value):
    return isinstance(value, str) and pattern.fullmatch(value) is not None


# Files


NOT_THERE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)


def open_below(directory, name, flags=0):
    if directory is None:
        return None
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | flags, dir_fd=directory)
    except OSError as error:
        if error.errno in NOT_THERE:
            return None
        raise


def is_something_else(directory, name):
    try:
        return not is_regular(directory, name)
    except OSError:
        return False


def open_file(directory, name):
    """A regular file, or None. What is something else is not opened, which could have an effect."""
    if directory is None or is_something_else(directory, name):
        return None
    fd = open_below(directory, name)
    if fd is None:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return os.fdopen(fd, "rb")


def content(directory, name, limit):
    """The first limit + 1 bytes of a file; None if it is not there."""
    file = open_file(directory, name)
    if file is None:
        return None
    with file:
        return file.read(limit + 1)


def names(directory, limit=FILES_MAX):
    """In their order, or None if there are more."""
    if directory is None:
        return []
    with os.scandir(directory) as entries:
        result = sorted(os.fsencode(entry.name) for entry in itertools.islice(entries, limit + 1))
    return None if len(result) > limit else result


def is_regular(directory, name):
    return stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)


def is_directory(directory, name):
    return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)


# The tree of RFC 6962, with the algorithms of RFC 9162


def node(left, right):
    return sha256(b"\x01", left, right)


def leaf(entry_hash):
    return sha256(b"\x00", entry_hash)


class Tree:
    def __init__(self):
        self.size, self.stack = 0, []

    def append(self, entry_hash):
        self.stack.append(leaf(entry_hash))
        self.size += 1
        n = self.size
        while n % 2 == 0:
            right = self.stack.pop()
            self.stack.append(node(self.stack.pop(), right))
            n //= 2

    def root(self):
        if not self.stack:
            return sha256()
        result = self.stack[-1]
        for left in reversed(self.stack[:-1]):
            result = node(left, result)
        return result


def includes(entry_hash, index, size, hashes, root):
    if index >= size:
        return False
    at, last, computed = index, size - 1, leaf(entry_hash)
    for sibling in hashes:
        if last == 0:
            return False
        if at & 1 or at == last:
            computed = node(sibling, computed)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            computed = node(computed, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and computed == root


def extends(old_size, old_root, size, hashes, root):
    if not 0 < old_size < size:
        return False
    if old_size & (old_size - 1) == 0:
        hashes = [old_root, *hashes]
    if not hashes:
        return False
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node(sibling, old), node(sibling, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node(new, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and old == old_root and new == root


# Trust


def is_key_name(name):
    return 0 < len(name) <= 400 and not any(c <= 0x20 or c in b"\x7f+" for c in name) and not any(s in name for s in SPACES)


def key_id(name, key):
    return sha256(name, b"\n\x01", key)[:4]


def read_vkey(text):
    """(name, public key), or None."""
    parts = text.removesuffix(b"\n").split(b"+", 2)
    key = from_base64(parts[2], 33) if len(parts) == 3 else None
    if key is None or len(text) > 1024 or key[0] != 1 or not is_key_name(parts[0]) or not ed25519.is_sound(key[1:]):
        return None
    return (parts[0], key[1:]) if parts[1] == key_id(parts[0], key[1:]).hex().encode() else None


class Trust:
    def __init__(self, path):
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.keys = []
        there = names(directory, TRUSTED_MAX)
        if there is None:
            raise Unreadable(f"{path} has too many files")
        for name in there:
            if name.endswith(b".vkey") and len(name) > 5:
                text = content(directory, name, 1024)
                key = None if text is None else read_vkey(text)
                if key is None:
                    raise Unreadable(f"{harmless(name)} is not a file with one verifier key")
                self.keys.append(key)
            elif name != b"checkpoint" and b"checkpoint" in name.lower():
                raise Unreadable(f"{harmless(name)} would not be read: the newest checkpoint has the name checkpoint, others belong elsewhere")
        if not self.keys:
            raise Unreadable(f"{path} has no verifier key")
        self.kept = content(directory, b"checkpoint", NOTE_MAX)
        if self.kept is None and b"checkpoint" in there:
            raise Unreadable("the kept checkpoint is not a regular file")

    def signer(self, is_signer, signature, message):
        """(name of the key that signed, None), or (None, what is wrong)."""
        known = [(name, key) for name, key in self.keys if is_signer(name, key)]
        for name, key in known:
            if ed25519.is_valid(key, signature, message):
                return name, None
        return None, "the signature is not that of its content" if known else "it is signed with a key that is not trusted"


class Head:
    """A checkpoint, or what is wrong with it."""

    FORM = re.compile(rb"(walwarden/(" + UUID.pattern.encode() + rb")\n([0-9]+)\n([^\n]+)\n)\n\xe2\x80\x94 ([^ ]+) ([^\n]+)\n")

    def __init__(self, note, trust):
        self.note, self.size = note, None
        self.problem = self.read(note, trust)
        if self.problem is not None:
            self.size = None

    def read(self, note, trust):
        if note is None:
            return "there is none"
        form = self.FORM.fullmatch(note)
        if form is None or len(note) > NOTE_MAX:
            return "it has not the form of a checkpoint"
        signed, org, size, root, name, signature = form.groups()
        self.org, self.size, self.root, self.name = org.decode(), number(size), from_base64(root, 32), name
        signature = from_base64(signature, 68)
        if None in (self.size, self.root, signature) or not is_key_name(name):
            return "it has not the form of a checkpoint"
        return trust.signer(lambda n, key: n == name and key_id(n, key) == signature[:4], signature[4:], signed)[1]


# Proofs


def read_hashes(text):
    """The hashes of lines, or None."""
    lines = text.split(b"\n")
    hashes = [from_base64(line, 32) for line in lines[:-1]]
    return None if lines[-1] or None in hashes or len(hashes) > PROOF_HASHES_MAX else hashes


def read_inclusion(text):
    """(index, hashes, note), or None."""
    form = re.fullmatch(rb"c2sp\.org/tlog-proof@v1\nindex ([0-9]+)\n((?:[^\n]+\n)*)\n(.*)", text, re.S)
    if form is None or len(text) > PROOF_MAX:
        return None
    index, hashes = number(form[1]), read_hashes(form[2])
    return None if index is None or hashes is None else (index, hashes, form[3])


def read_consistency(text):
    """(old size, new size, hashes), or None."""
    form = re.fullmatch(rb"old ([0-9]+)\nnew ([0-9]+)\n((?:[^\n]+\n)*)", text)
    if form is None or len(text) > PROOF_MAX:
        return None
    old, new, hashes = number(form[1]), number(form[2]), read_hashes(form[3])
    return None if None in (old, new, hashes) else (old, new, hashes)


# The bundle


class Finding(Exception):
    """What is wrong with a line of the chain."""


class Bundle:
    DIRECTORIES = {
        b"artifacts": lambda name: True,
        b"backups": lambda name: re.fullmatch(UUID.pattern.encode() + rb"\.manifest\.json", name) is not None,
        b"proofs": lambda name: (number(name) or 0) > 0,
    }
    FILES = (b"chain.tsv", b"checkpoint", b"consistency", b"people.json")

    def __init__(self, path, trust):
        self.top = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        self.trust = trust
        self.verdicts = []
        self.directory = {name: open_below(self.top, name, os.O_DIRECTORY) for name in self.DIRECTORIES}
        self.names = {name: names(fd) for name, fd in self.directory.items()}
        self.crowded = [name for name, there in self.names.items() if there is None]
        for name in self.crowded:
            self.directory[name], self.names[name] = None, []

        # the chain, as it is read
        self.sound, self.org, self.count, self.first, self.last = False, None, 0, None, None
        self.hash = self.at = None
        self.tree = Tree()
        self.roots = {}
        # what its entries say
        self.found, self.newer, self.unproven, self.bad_proof = 0, 0, None, None
        self.backups = {n.decode()[:36]: None for n in self.names[b"backups"] if self.belongs(b"backups", n)}
        self.members, self.no_member = {}, None

    def report(self, verdict, what):
        self.verdicts.append(verdict)
        print(verdict, harmless(what if isinstance(what, bytes) else what.encode()))

    def belongs(self, directory, name):
        return self.DIRECTORIES[directory](name) and is_regular(self.directory[directory], name)

    def check(self):
        self.head = Head(content(self.top, b"checkpoint", NOTE_MAX), self.trust)
        self.kept = Head(self.trust.kept, self.trust)
        self.check_files()
        self.check_chain()
        self.check_head()
        self.check_kept()
        self.check_inclusion()
        for job in sorted(self.backups):
            self.check_manifest(job)
        self.check_artifacts()
        self.check_people()
        return 1 if "FAIL" in self.verdicts else 3 if "SKIP" in self.verdicts else 0

    def check_files(self):
        count, intruders = 0, [(name, b"has too many files") for name in self.crowded]
        there = names(self.top)
        if there is None:
            self.report("FAIL", "files: the bundle has too many files")
            return
        for name in there:
            if name in self.DIRECTORIES:
                if not is_directory(self.top, name):
                    intruders.append((name, b"is not a directory"))
            elif name not in self.FILES:
                intruders.append((name, b"is not part of a bundle"))
            elif not is_regular(self.top, name):
                intruders.append((name, b"is not a regular file"))
            else:
                count += 1
        for directory, takes in self.DIRECTORIES.items():
            for name in self.names[directory]:
                path = directory + b"/" + name
                if not takes(name):
                    intruders.append((path, b"is not part of a bundle"))
                elif not is_regular(self.directory[directory], name):
                    intruders.append((path, b"is not a regular file"))
                else:
                    count += 1
        if intruders:
            self.report("FAIL", b"files: " + b" ".join(min(intruders)))
        else:
            self.report("OK", f"files: all {count} are known")

    # the chain

    def check_chain(self):
        file = open_file(self.top, b"chain.tsv")
        if file is None:
            self.report("FAIL", "chain: chain.tsv is not there")
            return
        self.note_root()
        with file:
            try:
                while line := file.readline(LINE_MAX + 2):
                    self.take(line)
            except Finding as finding:
                self.report("FAIL", f"chain: line {self.count + 1}: {finding}")
                return
        if self.count == 0:
            self.report("FAIL", "chain: chain.tsv is empty")
            return
        self.sound = True
        gaps = "" if self.last - self.first == self.count - 1 else " with gaps"
        self.report("OK", f"chain: {self.count} entries of organisation {self.org}, {self.first} to {self.last}{gaps}")

    def note_root(self):
        if self.tree.size in (self.head.size, self.kept.size):
            self.roots[self.tree.size] = self.tree.root()

    def take(self, line):
        columns = line.split(b"\t", 3)
        if len(columns) != 4 or line[-1:] != b"\n" or len(columns[3]) > BODY_MAX + 1:
            raise Finding("it has not the form of an entry")
        seq, prev_hash, digest, body = *columns[:3], columns[3][:-1]
        n = number(seq)
        if not n or not matches(HASH, prev_hash.decode("latin1")) or not matches(HASH, digest.decode("latin1")):
            raise Finding("it has not the form of an entry")
        if self.count and n <= self.last:
            raise Finding("it is not behind the entry of the line before")
        entry_hash = sha256(prev_hash, body)
        if entry_hash.hex().encode() != digest:
            raise Finding("the hash is not that of prevHash and body")
        entry = parse(body)
        payload = member(entry, "payload")
        org = member(payload, "org")
        if self.count == 0 and matches(UUID, org):
            self.org = org
        if not (isinstance(entry, dict) and sorted(entry) == ["at", "jobId", "kind", "payload"] and matches(AT, entry["at"]) and
                (entry["jobId"] is None or matches(UUID, entry["jobId"])) and matches(KIND, entry["kind"]) and len(entry["kind"]) <= 100 and
                org == self.org and self.org is not None and same(member(payload, "seq"), n)):
            other = matches(UUID, org) and org != self.org
            raise Finding("it belongs to another organisation" if other else "the body is not that of this entry")
        if n == 1 and prev_hash != sha256(f"walwarden/audit/v2:{self.org}".encode()).hex().encode():
            raise Finding("prevHash is not the start of the chain")
        if self.count and n == self.last + 1 and prev_hash != self.hash:
            raise Finding("prevHash is not the hash of the entry before")
        if self.count and entry["at"] < self.at:
            raise Finding("it is earlier than the entry before")
        self.count += 1
        self.first = self.first or n
        self.last, self.hash, self.at = n, digest, entry["at"]
        if self.tree.size == n - 1:
            self.tree.append(entry_hash)
            self.note_root()
        self.take_proof(n, entry_hash)
        self.take_evidence(n, entry)
        self.take_member(n, entry)

    def computed(self, head):
        """The root of the entries at the size of a checkpoint, or None."""
        return self.roots.get(head.size) if self.sound and head.size is not None else None

    def is_of_org(self, head):
        return self.count == 0 or head.org == self.org

    def check_head(self):
        head, problem, computed = self.head, self.head.problem, self.computed(self.head)
        self.head_is_sound = False
        if head.note is None:
            self.report("SKIP", f"checkpoint: {problem}")
            return
        if problem is None and not self.is_of_org(head):
            problem = "it is of another organisation"
        if problem is None and computed not in (None, head.root):
            problem = "the root is not that of the entries"
        if problem is None:
            self.head_is_sound = True
            self.report("OK", f"checkpoint: {head.size} entries, signed by ".encode() + head.name + (b"" if computed is None else b", root computed"))
        else:
            self.report("FAIL", f"checkpoint: {problem}")

    def check_kept(self):
        old, new, computed = self.kept, self.head if self.head_is_sound else None, self.computed(self.kept)
        text = content(self.top, b"consistency", PROOF_MAX)
        if old.note is None:
            if text is None:
                return
            verdict, what = "SKIP", f"{old.problem}, but there is a consistency proof"
        elif old.problem is not None:
            verdict, what = "FAIL", old.problem
        elif not self.is_of_org(old) or (new is not None and new.org != old.org):
            verdict, what = "FAIL", "it is of another organisation"
        elif computed not in (None, old.root):
            verdict, what = "FAIL", "the entries have another root"
        elif new is not None and new.size == old.size:
            verdict, what = ("OK", "the tree is the same") if new.root == old.root else ("FAIL", "the checkpoint has another root")
        elif new is not None and new.size > old.size and text is not None:
            proof = read_consistency(text)
            if proof is None or proof[:2] != (old.size, new.size) or not extends(old.size, old.root, new.size, proof[2], new.root):
                verdict, what = "FAIL", "the consistency proof does not lead from it to the checkpoint"
            else:
                verdict, what = "OK", f"the tree begins with its {old.size} entries"
        elif computed is not None:
            verdict, what = "OK", f"the tree begins with its {old.size} entries"
        elif new is None:
            verdict, what = "SKIP", "there is no sound checkpoint to compare it with"
        elif new.size < old.size:
            verdict, what = "FAIL", "it has more entries than the checkpoint"
        else:
            verdict, what = "SKIP", "there is no consistency proof"
        self.report(verdict, f"older checkpoint: {what}")

    # inclusion

    def take_proof(self, n, entry_hash):
        text = content(self.directory[b"proofs"], str(n).encode(), PROOF_MAX)
        self.found += text is not None
        if self.head.size is None:
            return
        if n > self.head.size:
            self.newer += 1
        elif text is None and self.unproven is None:
            self.unproven = n
        if text is None or self.bad_proof is not None:
            return
        proof = read_inclusion(text)
        if proof is None:
            self.bad_proof = n, "the proof has not the form of one"
        elif proof[2] != self.head.note:
            self.bad_proof = n, "the proof is for another checkpoint"
        elif proof[0] != n - 1 or not includes(entry_hash, n - 1, self.head.size, proof[1], self.head.root):
            self.bad_proof = n, "the proof does not lead to the root of the checkpoint"

    def check_inclusion(self):
        lost = sum(self.belongs(b"proofs", name) for name in self.names[b"proofs"]) - self.found
        bad = [self.bad_proof] if self.bad_proof else []
        if self.unproven is not None and self.computed(self.head) is None:
            bad.append((self.unproven, "there is no proof, and not every entry up to the checkpoint is here"))
        if not self.sound:
            self.report("SKIP", "inclusion: the chain is not sound")
        elif lost:
            self.report("FAIL", f"inclusion: {lost} proofs are of entries that are not here")
        elif not self.head_is_sound:
            self.report("SKIP", "inclusion: there is no sound checkpoint")
        elif bad:
            n, problem = min(bad)
            self.report("FAIL", f"inclusion: entry {n}: {problem}")
        elif self.newer:
            self.report("SKIP", f"inclusion: {self.newer} entries are not yet covered by a checkpoint")
        else:
            self.report("OK", f"inclusion: {self.count} entries are in the tree")

    # manifests and artifacts

    def take_evidence(self, n, entry):
        job = entry["jobId"]
        if entry["kind"] != "evidence.recorded" or job not in self.backups:
            return
        state = member(entry["payload"], "after")
        manifest = member(state, "manifest")
        expected = {"jobId": member(state, "backupJobId"), "fence": member(state, "fence"),
                    "databaseId": member(state, "databaseId"), "orgId": self.org}
        agrees = manifest is not MISSING and same(member(state, "backupJobId"), job) and all(
            member(manifest, key) is MISSING or same(member(manifest, key), value) for key, value in expected.items())
        self.backups[job] = n, None if manifest is MISSING else canonical(manifest).encode(), agrees

    def manifest(self, job):
        """(the bytes, what they say) of a manifest that is canonical, or None."""
        text = content(self.directory[b"backups"], f"{job}.manifest.json".encode(), BODY_MAX)
        value = None if text is None else parse(text)
        return (text, value) if isinstance(value, dict) else None

    def signer(self, manifest):
        """(name of the key that signed or None, what is wrong or None)."""
        signature = member(manifest, "signature")
        if signature is MISSING:
            return None, None
        signature = from_base64(signature.encode(), 64) if isinstance(signature, str) else None
        if signature is None:
            return None, "its signature is malformed"
        name, key = member(manifest, "node"), member(manifest, "publicKey")
        if name is not MISSING:
            name = plain(name)
        if key is not MISSING:
            key = from_base64(key.encode(), 32) if isinstance(key, str) else None
        if name is None or key is None:
            return None, "its node or its key is malformed"
        signed = canonical({k: v for k, v in manifest.items() if k != "signature"}).encode()
        return self.trust.signer(lambda n, k: (name is MISSING or n == name.encode()) and (key is MISSING or k == key), signature, signed)

    def check_manifest(self, job):
        read, name, problem = self.manifest(job), None, "it is not a canonical JSON object"
        if read is not None:
            name, problem = self.signer(read[1])
        if problem is None and self.sound:
            n, recorded, agrees = self.backups[job] or (None, None, None)
            if n is None:
                problem = "no entry records it"
            elif recorded != read[0]:
                problem = "the last entry of its job has another one"
            elif not agrees:
                problem = "its entry is of another job, fence, database or organisation"
        if problem is not None:
            self.report("FAIL", f"manifest {job}: {problem}")
        elif not self.sound:
            self.report("SKIP", f"manifest {job}: the chain is not sound")
        elif name is None:
            self.report("SKIP", f"manifest {job}: it is not signed, entry {n} has it")
        else:
            self.report("OK", f"manifest {job}: signed by ".encode() + name + f", entry {n} has it".encode())

    def check_artifacts(self):
        named = set()
        for job in sorted(self.backups):
            read = self.manifest(job)
            for key in ("artifact", "rows", "roles") if read else ():
                self.check_artifact(job, key, member(read[1], key), named)
        for name in self.names[b"artifacts"]:
            if name not in named:
                self.report("FAIL", b"artifact " + name + b": no manifest names it")

    def check_artifact(self, job, key, described, named):
        if described is MISSING:
            return
        name = (plain(member(described, "name")) or "").encode().rpartition(b"/")[2]
        is_missed = key == "artifact"
        if not 0 < len(name) < 256 or name in (b".", b".."):
            if is_missed:
                self.report("SKIP", f"artifact of {job}: the manifest names no file")
            return
        file = open_file(self.directory[b"artifacts"], name)
        if file is None:
            if is_missed:
                self.report("SKIP", b"artifact " + name + b": it is not here")
            return
        named.add(name)
        digest, size = hashlib.sha256(), 0
        expected = member(described, "sizeBytes")
        with file:
            if expected is not MISSING and not same(expected, os.fstat(file.fileno()).st_size):
                self.report("FAIL", b"artifact " + name + b": it has not the size that the manifest names")
                return
            while chunk := file.read(1 << 18):
                digest.update(chunk)
                size += len(chunk)
        if member(described, "checksumSha256") != digest.hexdigest():
            self.report("FAIL", b"artifact " + name + b": it has not the SHA-256 that the manifest names")
        else:
            self.report("OK", b"artifact " + name + f": {size} bytes".encode())

    # people

    def take_member(self, n, entry):
        if not entry["kind"].startswith("member."):
            return
        after = member(entry["payload"], "after")
        who, person, role = (member(after, key) for key in ("id", "person", "dbRole"))
        if matches(UUID, who) and matches(HASH, person) and (role is None or matches(HASH, role)):
            if who in self.members or len(self.members) <= MEMBERS_MAX:
                self.members[who] = person, role, "erasedAt" in after
        else:
            self.no_member = self.no_member or n

    @staticmethod
    def read_people(text):
        """What people.json says, or None."""
        people = parse(text.removesuffix(b"\n"), PEOPLE_MAX) if len(text) <= PEOPLE_MAX else None
        if not isinstance(people, dict) or not all(
                matches(UUID, who) and isinstance(p, dict) and sorted(p) == ["dbRole", "salt", "subject"] and matches(HASH, p["salt"]) and
                isinstance(p["subject"], str) and (p["dbRole"] is None or isinstance(p["dbRole"], str)) for who, p in people.items()):
            return None
        return people

    def wrong_persons(self, people):
        """What is wrong with each who is not the one of the chain."""
        def commitment(what, value):
            return sha256(f"walwarden/{what}/v1:{person['salt']}:{value}".encode()).hex()

        for who, person in sorted(people.items()):
            committed, role, is_erased = self.members.get(who, (None, None, None))
            if committed is None:
                continue
            if committed != commitment("person", person["subject"]):
                yield f"member {who} is not the person in people.json"
            elif not is_erased and role != (None if person["dbRole"] is None else commitment("dbrole", person["dbRole"])):
                yield f"member {who} does not have the dbRole in people.json"

    def check_people(self):
        text = content(self.top, b"people.json", PEOPLE_MAX)
        if text is None and not self.members and self.no_member is None:
            return
        people = {} if text is None else self.read_people(text)
        if people is None:
            self.report("FAIL", "people: people.json has not the form of one")
            return
        # else an entry that is not here could say more about a member
        whole = self.head_is_sound and self.computed(self.head) is not None and self.count == self.head.size
        missing = sorted(who for who, (_, _, is_erased) in self.members.items() if who not in people and not is_erased)
        strangers = sorted(who for who in people if who not in self.members)
        wrong = list(self.wrong_persons(people))
        unclear = len(wrong) + len(missing) + len(strangers)
        if self.no_member is not None:
            self.report("FAIL", f"people: entry {self.no_member} does not describe a member")
        elif text is None:
            self.report("SKIP", "people: people.json is not here")
        elif not self.sound:
            self.report("SKIP", "people: the chain is not sound")
        elif len(self.members) > MEMBERS_MAX:
            self.report("SKIP", f"people: there are more than {MEMBERS_MAX} members")
        elif unclear and not whole:
            self.report("SKIP", f"people: {unclear} of them need the whole chain")
        elif wrong:
            self.report("FAIL", f"people: {wrong[0]}")
        elif missing:
            self.report("FAIL", f"people: member {missing[0]} is not in people.json and was not erased")
        elif strangers:
            self.report("FAIL", f"people: {strangers[0]} is in people.json and in no entry")
        else:
            self.report("OK", f"people: {len(self.members)} members")


def main(arguments):
    if arguments in (["-h"], ["--help"]):
        print(__doc__, end="")
        return 0
    if len(arguments) != 3 or arguments[0] != "--trust":
        print(__doc__, end="", file=sys.stderr)
        return 2
    try:
        return Bundle(arguments[2], Trust(arguments[1])).check()
    except (OSError, Unreadable) as error:
        print(f"verify_bundle.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
