"""ML-DSA-44 on public data: verification of a signature, nothing else (decision E6). Own code.

Source: FIPS 204 (August 2024), algorithms 3, 8, 16 to 21, 23, 26 to 32, 36, 40 to 42 and the first column of table 1.
SHAKE comes from hashlib. Not constant-time: nothing here is secret. Cost in plain Python: about 30 ms a signature.
"""

from __future__ import annotations

import functools
import hashlib

MLDSA_KEY_SIZE, MLDSA_SIGNATURE_SIZE = 1312, 2420

_LATTICE_Q = 8380417
_DROPPED_BITS = 13  # d
_ONES = 39  # tau: coefficients of the challenge that are not zero
_MASK_RANGE = 1 << 17  # gamma1
_ROUNDING = (_LATTICE_Q - 1) // 88  # gamma2
_BOUND = _MASK_RANGE - _ONES * 2  # gamma1 - beta, with eta = 2
_ROWS = _COLUMNS = 4  # k, l
_HINTS = 80  # omega

_Poly = list[int]
_Matrix = list[list[_Poly]]


def _bit_reversed(number: int) -> int:
    return int(f"{number:08b}"[::-1], 2)


_ZETAS = [pow(1753, _bit_reversed(at), _LATTICE_Q) for at in range(256)]


def _transformed(poly: _Poly) -> _Poly:
    """NTT (algorithm 41)."""
    w, at, length = list(poly), 0, 128
    while length:
        for start in range(0, 256, 2 * length):
            at += 1
            zeta = _ZETAS[at]
            for j in range(start, start + length):
                t = zeta * w[j + length] % _LATTICE_Q
                w[j + length], w[j] = (w[j] - t) % _LATTICE_Q, (w[j] + t) % _LATTICE_Q
        length //= 2
    return w


def _restored(poly: _Poly) -> _Poly:
    """The inverse of `_transformed` (algorithm 42)."""
    w, at, length = list(poly), 256, 1
    while length < 256:
        for start in range(0, 256, 2 * length):
            at -= 1
            zeta = -_ZETAS[at]
            for j in range(start, start + length):
                t = w[j]
                w[j] = (t + w[j + length]) % _LATTICE_Q
                w[j + length] = zeta * (t - w[j + length]) % _LATTICE_Q
        length *= 2
    return [8347681 * one % _LATTICE_Q for one in w]


def _uniform(seed: bytes) -> _Poly:
    """RejNTTPoly (algorithm 30): 256 numbers below q out of SHAKE-128."""
    size = 1344
    while True:
        stream = hashlib.shake_128(seed).digest(size)
        found = []
        for at in range(0, size - size % 3, 3):
            value = int.from_bytes(stream[at : at + 3], "little") & 0x7FFFFF
            if value < _LATTICE_Q:
                found.append(value)
        if len(found) >= 256:
            return found[:256]
        size *= 2


def _unpacked(data: bytes, bits: int) -> _Poly:
    """256 numbers of `bits` bits each, least significant first."""
    whole, mask = int.from_bytes(data, "little"), (1 << bits) - 1
    return [whole >> bits * at & mask for at in range(256)]


@functools.lru_cache(maxsize=64)
def _expanded(key: bytes) -> tuple[_Matrix, list[_Poly], bytes]:
    """The matrix, t1 times 2^d (both transformed) and the digest of a public key."""
    rows = [
        [_uniform(key[:32] + bytes([column, row])) for column in range(_COLUMNS)] for row in range(_ROWS)
    ]
    high = [_unpacked(key[32 + 320 * row : 352 + 320 * row], 10) for row in range(_ROWS)]
    scaled = [_transformed([one << _DROPPED_BITS for one in poly]) for poly in high]
    return rows, scaled, hashlib.shake_256(key).digest(64)


def _challenge(seed: bytes) -> _Poly:
    """SampleInBall (algorithm 29)."""
    size = 272
    while True:
        stream = hashlib.shake_256(seed).digest(size)
        signs, at, poly = int.from_bytes(stream[:8], "little"), 8, [0] * 256
        for place in range(256 - _ONES, 256):
            while at < size and stream[at] > place:
                at += 1
            if at == size:
                break
            poly[place], poly[stream[at]] = poly[stream[at]], -1 if signs & 1 else 1
            signs, at = signs >> 1, at + 1
        else:
            return poly
        size *= 2


def _hints(data: bytes) -> list[set[int]] | None:
    """HintBitUnpack (algorithm 21): places of ones by row; None for any but the one spelling."""
    rows, index = [], 0
    for row in range(_ROWS):
        stop = data[_HINTS + row]
        if not index <= stop <= _HINTS:
            return None
        places = list(data[index:stop])
        if any(one >= two for one, two in zip(places, places[1:])):  # noqa: B905, RUF007  strict= and pairwise are new in 3.10
            return None
        rows.append(set(places))
        index = stop
    return None if any(data[index:_HINTS]) else rows


def _rounded(value: int, hint: bool) -> int:
    """UseHint (algorithm 40): the high part of a number, moved by one where a hint says so."""
    low = value % (2 * _ROUNDING)
    low = low - 2 * _ROUNDING if low > _ROUNDING else low
    high = 0 if value - low == _LATTICE_Q - 1 else (value - low) // (2 * _ROUNDING)
    low = low - 1 if value - low == _LATTICE_Q - 1 else low
    if not hint:
        return high
    return (high + 1) % 44 if low > 0 else (high - 1) % 44


def verify_mldsa44(key: bytes, message: bytes, signature: bytes) -> bool:
    """ML-DSA.Verify with an empty context string (algorithms 3 and 8). key: 1312, signature: 2420 bytes."""
    if len(key) != MLDSA_KEY_SIZE or len(signature) != MLDSA_SIGNATURE_SIZE:
        return False
    hints = _hints(signature[2336:])
    packed = [_unpacked(signature[32 + 576 * at : 608 + 576 * at], 18) for at in range(_COLUMNS)]
    response = [[_MASK_RANGE - one for one in poly] for poly in packed]
    if hints is None or any(abs(one) >= _BOUND for poly in response for one in poly):
        return False
    matrix, scaled, digest = _expanded(key)
    mark = hashlib.shake_256(digest + b"\0\0" + message).digest(64)
    challenge = _transformed(_challenge(signature[:32]))
    z = [_transformed(poly) for poly in response]
    encoded = b""
    for row in range(_ROWS):
        total = [
            (sum(matrix[row][column][at] * z[column][at] for column in range(_COLUMNS)) - challenge[at] * scaled[row][at])
            % _LATTICE_Q
            for at in range(256)
        ]
        high = [_rounded(value, at in hints[row]) for at, value in enumerate(_restored(total))]
        encoded += sum(one << 6 * at for at, one in enumerate(high)).to_bytes(192, "little")
    return hashlib.shake_256(mark + encoded).digest(32) == signature[:32]
