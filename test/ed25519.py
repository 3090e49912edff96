#!/usr/bin/env python3
"""Ed25519 in plain Python, after RFC 8032: signatures for tests, and their verification
for verify_bundle.py. It shares no code with the extension and needs no library. It is
slow, and its secret keys are those of tests.

  ed25519.py key SEED                  the public key, in base64
  ed25519.py sign SEED TEXT            the signature of TEXT, in base64
  ed25519.py manifest SEED JSON        JSON with the member "signature"
  ed25519.py note SEED NAME LINE...    the signed note of these lines

SEED: any text; its SHA-256 is the secret key.
"""
import base64
import hashlib
import json
import sys

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P


def add(a, b):
    """The sum of two points, as x, y, z, x * y / z."""
    e = (a[1] - a[0]) * (b[1] - b[0]) % P
    f = (a[1] + a[0]) * (b[1] + b[0]) % P
    g = 2 * a[3] * b[3] * D % P
    h = 2 * a[2] * b[2] % P
    return (f - e) * (h - g) % P, (h + g) * (f + e) % P, (h - g) * (h + g) % P, (f - e) * (f + e) % P


def times(n, point):
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = add(result, point)
        point = add(point, point)
        n >>= 1
    return result


def base_point():
    y = 4 * pow(5, P - 2, P) % P
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    x = P - x if x & 1 else x
    return x, y, 1, x * y % P


def encode(point):
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def scalar(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % L


def expand(seed):
    """The secret scalar, the prefix of nonces, and the public key."""
    digest = hashlib.sha512(hashlib.sha256(seed.encode()).digest()).digest()
    a = int.from_bytes(digest[:32], "little") & (1 << 254) - 8 | 1 << 254
    return a, digest[32:], encode(times(a, base_point()))


def sign(seed, message):
    a, prefix, key = expand(seed)
    r = scalar(prefix, message)
    commitment = encode(times(r, base_point()))
    s = (r + scalar(commitment, key, message) * a) % L
    return commitment + s.to_bytes(32, "little")


def decode(octets):
    """The point with this encoding, or None."""
    y = int.from_bytes(octets, "little") & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or y >= P or (x == 0 and octets[31] >> 7):
        return None
    x = P - x if x & 1 != octets[31] >> 7 else x
    return x, y, 1, x * y % P


def is_sound(key):
    """Whether it is a key under which not anybody can sign: a point of large order."""
    point = decode(key)
    return point is not None and times(8, point)[0] % P != 0


def is_valid(key, signature, message):
    """Whether signature is that of message by a sound key."""
    x, y, z, t = decode(key)
    s = int.from_bytes(signature[32:], "little")
    h = scalar(signature[:32], key, message)
    return s < L and encode(add(times(s, base_point()), times(h, (P - x, y, z, P - t)))) == signature[:32]


def text(octets):
    return base64.b64encode(octets).decode()


def main(what, seed, *rest):
    if what == "key":
        return text(expand(seed)[2])
    if what == "sign":
        return text(sign(seed, rest[0].encode()))
    if what == "manifest":
        # keys of tests are ASCII, so that this order is that of RFC 8785
        manifest = json.loads(rest[0])
        signed = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return json.dumps({**manifest, "signature": text(sign(seed, signed.encode()))}, ensure_ascii=False)
    if what == "note":
        name, body = rest[0], "".join(line + "\n" for line in rest[1:])
        key_id = hashlib.sha256(name.encode() + b"\n\x01" + expand(seed)[2]).digest()[:4]
        return f"{body}\n\u2014 {name} {text(key_id + sign(seed, body.encode()))}"
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    print(main(*sys.argv[1:]))
