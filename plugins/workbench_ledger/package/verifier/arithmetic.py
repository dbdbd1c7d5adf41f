"""Verification arithmetic on public data: SM3, SM2, Ed25519. Own code, and only for verifying (decision E6).

Sources: GB/T 32905-2016, GB/T 32918.2-2016 and .5-2017, RFC 8032 section 5.1. Not constant-time: nothing here is secret.
Cost in plain Python: SM2 about 8 ms, Ed25519 about 5 ms, SM3 about 0.1 ms a block where hashlib has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

# ------------------------------------------------------------------------------------------------ SM3

_MASK = 0xFFFFFFFF
_SM3_START = (
    0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E,
)  # fmt: skip
_SM3_CHECK = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"  # GB/T 32905 annex A.1, of "abc"


def _rotate(word: int, count: int) -> int:
    count %= 32
    return (word << count | word >> (32 - count)) & _MASK


def _sm3_block(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    words = [int.from_bytes(block[at : at + 4], "big") for at in range(0, 64, 4)]
    for j in range(16, 68):
        mixed = words[j - 16] ^ words[j - 9] ^ _rotate(words[j - 3], 15)
        mixed ^= _rotate(mixed, 15) ^ _rotate(mixed, 23)
        words.append(mixed ^ _rotate(words[j - 13], 7) ^ words[j - 6])
    a, b, c, d, e, f, g, h = state
    for j in range(64):
        a12 = _rotate(a, 12)
        ss1 = _rotate((a12 + e + _rotate(0x79CC4519 if j < 16 else 0x7A879D8A, j)) & _MASK, 7)
        ff = a ^ b ^ c if j < 16 else (a & b) | (a & c) | (b & c)
        gg = e ^ f ^ g if j < 16 else (e & f) | (~e & _MASK & g)
        tt1 = (ff + d + (ss1 ^ a12) + (words[j] ^ words[j + 4])) & _MASK
        tt2 = (gg + h + ss1 + words[j]) & _MASK
        a, b, c, d = tt1, a, _rotate(b, 9), c
        e, f, g, h = tt2 ^ _rotate(tt2, 9) ^ _rotate(tt2, 17), e, _rotate(f, 19), g
    return tuple(old ^ new for old, new in zip(state, (a, b, c, d, e, f, g, h)))  # noqa: B905  new in 3.10


def sm3_plain(data: bytes) -> bytes:
    """SM3 in plain Python: 32 bytes."""
    padded = data + b"\x80" + b"\0" * ((55 - len(data)) % 64) + (8 * len(data)).to_bytes(8, "big")
    state: tuple[int, ...] = _SM3_START
    for at in range(0, len(padded), 64):
        state = _sm3_block(state, padded[at : at + 64])
    return b"".join(word.to_bytes(4, "big") for word in state)


def _choose_sm3() -> Callable[[bytes], bytes]:
    """hashlib's SM3 where this Python has one and it gives the standard's example, our own otherwise."""
    try:
        if hashlib.new("sm3", b"abc").hexdigest() == _SM3_CHECK:
            return lambda data: hashlib.new("sm3", data).digest()
    except ValueError:
        pass
    return sm3_plain


sm3 = _choose_sm3()


def sha256(data: bytes) -> bytes:
    """SHA-256: 32 bytes."""
    return hashlib.sha256(data).digest()


def hmac_sm3(key: bytes, data: bytes) -> bytes:
    """HMAC (RFC 2104) with SM3; key: at most 64 bytes."""
    padded = key + b"\0" * (64 - len(key))
    inner = sm3(bytes(one ^ 0x36 for one in padded) + data)
    return sm3(bytes(one ^ 0x5C for one in padded) + inner)


# ------------------------------------------------------------------------------------------------ SM2

SM2_P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
SM2_A = SM2_P - 3
SM2_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
SM2_N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
SM2_G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)
SM2_USER = b"1234567812345678"

_Jacobian = tuple[int, int, int]
_NOTHING: _Jacobian = (1, 1, 0)


def _double(point: _Jacobian) -> _Jacobian:
    """Twice a point; a = -3 (Cohen, Miyaji, Ono 1998)."""
    x, y, z = point
    if not z or not y:
        return _NOTHING
    square = y * y % SM2_P
    s = 4 * x * square % SM2_P
    zz = z * z % SM2_P
    m = 3 * (x - zz) * (x + zz) % SM2_P
    x3 = (m * m - 2 * s) % SM2_P
    return x3, (m * (s - x3) - 8 * square * square) % SM2_P, 2 * y * z % SM2_P


def _add(one: _Jacobian, two: _Jacobian) -> _Jacobian:
    if not one[2]:
        return two
    if not two[2]:
        return one
    z1z1, z2z2 = one[2] * one[2] % SM2_P, two[2] * two[2] % SM2_P
    u1, u2 = one[0] * z2z2 % SM2_P, two[0] * z1z1 % SM2_P
    s1, s2 = one[1] * two[2] * z2z2 % SM2_P, two[1] * one[2] * z1z1 % SM2_P
    if u1 == u2:
        return _double(one) if s1 == s2 else _NOTHING
    h, r = u2 - u1, s2 - s1
    hh = h * h % SM2_P
    hhh, v = h * hh % SM2_P, u1 * hh % SM2_P
    x3 = (r * r - hhh - 2 * v) % SM2_P
    return x3, (r * (v - x3) - s1 * hhh) % SM2_P, h * one[2] * two[2] % SM2_P


def is_on_sm2_curve(key: bytes) -> bool:
    """Whether 64 bytes x || y are a point of the recommended curve (cofactor 1)."""
    if len(key) != 64:
        return False
    x, y = int.from_bytes(key[:32], "big"), int.from_bytes(key[32:], "big")
    return x < SM2_P and y < SM2_P and (y * y - (x * x * x + SM2_A * x + SM2_B)) % SM2_P == 0


def verify_sm2(key: bytes, message: bytes, signature: bytes, user: bytes = SM2_USER) -> bool:
    """GB/T 32918.2 section 7.1. key: x || y; signature: r || s; 64 bytes each; user: the distinguishing id."""
    if len(signature) != 64 or not is_on_sm2_curve(key):
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < SM2_N and 0 < s < SM2_N):
        return False
    t = (r + s) % SM2_N
    if not t:
        return False
    curve = b"".join(one.to_bytes(32, "big") for one in (SM2_A, SM2_B, *SM2_G))
    e = int.from_bytes(sm3(sm3((8 * len(user)).to_bytes(2, "big") + user + curve + key) + message), "big")
    base = (*SM2_G, 1)
    public = (int.from_bytes(key[:32], "big"), int.from_bytes(key[32:], "big"), 1)
    both = _add(base, public)
    point = _NOTHING
    for at in range(255, -1, -1):  # s G + t P, both scalars in one pass (Shamir)
        point = _double(point)
        bits = (s >> at & 1, t >> at & 1)
        if any(bits):
            point = _add(point, both if all(bits) else base if bits[0] else public)
    if not point[2]:
        return False
    x = point[0] * pow(point[2], -2, SM2_P) % SM2_P
    return (e + x) % SM2_N == r


def der_of(signature: bytes) -> bytes:
    """r || s as ASN.1 DER SEQUENCE of two INTEGERs, as OpenSSL reads it."""
    body = b""
    for half in (signature[:32], signature[32:]):
        number = half.lstrip(b"\0") or b"\0"
        number = b"\0" + number if number[0] & 0x80 else number
        body += b"\x02" + bytes([len(number)]) + number
    return b"\x30" + bytes([len(body)]) + body


# -------------------------------------------------------------------------------------------- Ed25519

_Q = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _Q) % _Q
_ROOT = pow(2, (_Q - 1) // 4, _Q)  # of -1

_Extended = tuple[int, int, int, int]


def _ed_add(one: _Extended, two: _Extended) -> _Extended:
    """RFC 8032 section 5.1.4; also doubles."""
    a = (one[1] - one[0]) * (two[1] - two[0]) % _Q
    b = (one[1] + one[0]) * (two[1] + two[0]) % _Q
    c = 2 * one[3] * two[3] * _D % _Q
    d = 2 * one[2] * two[2] % _Q
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _Q, g * h % _Q, f * g % _Q, e * h % _Q


def _ed_decode(text: bytes) -> _Extended | None:
    """RFC 8032 section 5.1.3; None when the 32 bytes are no point."""
    y = int.from_bytes(text, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= _Q:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _Q) % _Q
    x = pow(square, (_Q + 3) // 8, _Q)
    if (x * x - square) % _Q:
        x = x * _ROOT % _Q
    if (x * x - square) % _Q or (not x and sign):
        return None
    if x & 1 != sign:
        x = _Q - x
    return x, y, 1, x * y % _Q


_BASE = _ed_decode((4 * pow(5, -1, _Q) % _Q).to_bytes(32, "little"))


def verify_ed25519(key: bytes, message: bytes, signature: bytes) -> bool:
    """RFC 8032 section 5.1.7 without cofactor, comparing encodings as OpenSSL does. key: 32, signature: 64 bytes."""
    if len(key) != 32 or len(signature) != 64:
        return False
    public, s = _ed_decode(key), int.from_bytes(signature[32:], "little")
    if public is None or _BASE is None or s >= _L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _L
    minus = (_Q - public[0], public[1], 1, _Q - public[3])
    both = _ed_add(_BASE, minus)
    point: _Extended = (0, 1, 1, 0)
    for at in range(252, -1, -1):  # s B - k A in one pass
        point = _ed_add(point, point)
        bits = (s >> at & 1, k >> at & 1)
        if any(bits):
            point = _ed_add(point, both if all(bits) else _BASE if bits[0] else minus)
    inverse = pow(point[2], -1, _Q)
    x, y = point[0] * inverse % _Q, point[1] * inverse % _Q
    return (y | (x & 1) << 255).to_bytes(32, "little") == signature[:32]
