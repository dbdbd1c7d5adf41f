"""SM3 (GB/T 32905-2016) of many messages of one length, side by side: about 0.04 microseconds a block and core.

The compression function is written once, over `LANES` messages at a time, as plain loops that LLVM turns into vectors;
numba compiles it (some seconds the first time, from numba's cache afterwards). `workbench.crypto.sm3` is the only
caller: it decides when this is worth it, compares known answers first and falls back to the library without numba.
Nothing branches on a message or a key, and no address depends on one; the workspace is overwritten with zeros.
Decision: docs/decisions/0023-sm3-in-lanes.md.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit, types, uint32

Rows = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint32]

LANES: Final = 32
BLOCK_BYTES: Final = 64
DIGEST_BYTES: Final = 32
BATCH_ROWS: Final = 4096
"""Messages padded at a time: their words stay in the cache."""

# Section 4.1: the initial value.
INITIAL: Final = np.array(
    [0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E], np.uint32
)
# Section 4.2: T(j), here already rotated by j mod 32 as section 5.3.3 uses it.
_ROTATED_T: Final = np.array(
    [
        ((t << turn) | (t >> (32 - turn))) & 0xFFFFFFFF
        for j in range(64)
        for t, turn in ((0x79CC4519 if j < 16 else 0x7A879D8A, j % 32),)
    ],
    np.uint32,
)
_WORKSPACE_ROWS: Final = 68 + 8 + 8


def digest_rows(rows: Rows, *, state: Words = INITIAL, absorbed: int = 0) -> Rows:
    """The digest of every row: (n, width) uint8 gives (n, 32).

    state: chaining value after `absorbed` bytes that all messages begin with, a multiple of 64 (`absorb`).
    """
    digests = np.empty((len(rows), DIGEST_BYTES), np.uint8)
    work = np.empty((_WORKSPACE_ROWS, LANES), np.uint32)
    try:
        for start in range(0, len(rows), BATCH_ROWS):
            part = rows[start : start + BATCH_ROWS]
            words = _padded(part, absorbed + rows.shape[1])
            out = np.empty((len(words), 8), np.uint32)
            _compress(words, state, _ROTATED_T, work, out)
            digests[start : start + len(part)] = out[: len(part)].astype(">u4").view(np.uint8)
    finally:
        work.fill(0)
    return digests


def absorb(blocks: bytes) -> Words:
    """The chaining value after some whole blocks."""
    words = np.zeros((LANES, len(blocks) // 4), np.uint32)
    words[0] = np.frombuffer(blocks, ">u4")
    out = np.empty((LANES, 8), np.uint32)
    work = np.empty((_WORKSPACE_ROWS, LANES), np.uint32)
    _compress(words, INITIAL, _ROTATED_T, work, out)
    work.fill(0)
    words.fill(0)
    state: Words = out[0].copy()
    return state


def hmac_rows(key: bytes, rows: Rows) -> Rows:
    """HMAC-SM3 (RFC 2104) of every row under one key of at most 64 bytes: (n, 32)."""
    if len(key) > BLOCK_BYTES:
        raise ValueError("a key for many messages has at most one block")
    inner = absorb(bytes(byte ^ 0x36 for byte in key.ljust(BLOCK_BYTES, b"\0")))
    outer = absorb(bytes(byte ^ 0x5C for byte in key.ljust(BLOCK_BYTES, b"\0")))
    return digest_rows(digest_rows(rows, state=inner, absorbed=BLOCK_BYTES), state=outer, absorbed=BLOCK_BYTES)


def _padded(rows: Rows, length: int) -> Words:
    """Section 5.2: a one bit, zeros, the length in bits; as words, for a whole number of groups of lanes."""
    count, width = rows.shape
    blocks = -(-(width + 9) // BLOCK_BYTES)
    padded = np.zeros((-(-count // LANES) * LANES, blocks * BLOCK_BYTES), np.uint8)
    padded[:count, :width] = rows
    padded[:, width] = 0x80
    padded[:, -8:] = np.frombuffer((8 * length).to_bytes(8, "big"), np.uint8)
    words: Words = padded.view(">u4").astype(np.uint32)
    return words


@njit(inline="always")
def _left(x: Any, count: int) -> Any:
    return uint32((x << uint32(count)) | (x >> uint32(32 - count)))


@njit(inline="always")
def _early(a: Any, b: Any, c: Any, e: Any, f: Any, g: Any) -> Any:
    """FF and GG of the first sixteen rounds (section 4.3)."""
    return a ^ b ^ c, e ^ f ^ g


@njit(inline="always")
def _late(a: Any, b: Any, c: Any, e: Any, f: Any, g: Any) -> Any:
    """FF and GG of the other rounds."""
    return (a & b) | (a & c) | (b & c), (e & f) | (~e & g)


@njit(inline="always")
def _round(mixed: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, t: Any, w: Any, w4: Any) -> Any:
    """One round without moving anything: what becomes of B, D, F and H. The next round calls D what was A, and so on."""
    ff, gg = mixed(a, b, c, e, f, g)
    turned = _left(a, 12)
    ss1 = _left(uint32(turned + e + t), 7)
    tt2 = uint32(gg + h + ss1 + w)
    return _left(b, 9), uint32(ff + d + (ss1 ^ turned) + (w ^ w4)), _left(f, 19), tt2 ^ _left(tt2, 9) ^ _left(tt2, 17)


@njit(inline="always")
def _four_rounds(
    mixed: Any, registers: Any, expanded: Any, j: Any, lane: Any, t0: Any, t1: Any, t2: Any, t3: Any
) -> None:
    """Rounds j to j + 3 of one lane: after four of them every register has its own name again."""
    a, b, c, d = registers[0, lane], registers[1, lane], registers[2, lane], registers[3, lane]
    e, f, g, h = registers[4, lane], registers[5, lane], registers[6, lane], registers[7, lane]
    b, d, f, h = _round(mixed, a, b, c, d, e, f, g, h, t0, expanded[j, lane], expanded[j + 4, lane])
    a, c, e, g = _round(mixed, d, a, b, c, h, e, f, g, t1, expanded[j + 1, lane], expanded[j + 5, lane])
    d, b, h, f = _round(mixed, c, d, a, b, g, h, e, f, t2, expanded[j + 2, lane], expanded[j + 6, lane])
    c, a, g, e = _round(mixed, b, c, d, a, f, g, h, e, t3, expanded[j + 3, lane], expanded[j + 7, lane])
    registers[0, lane], registers[1, lane], registers[2, lane], registers[3, lane] = a, b, c, d
    registers[4, lane], registers[5, lane], registers[6, lane], registers[7, lane] = e, f, g, h


def _compress_groups(words: Words, state: Words, constants: Words, work: Words, out: Words) -> None:
    """Section 5.3 for every group of lanes. words: (n, 16 a block), n a multiple of LANES; out: (n, 8)."""
    expanded, registers, chain = work[:68], work[68:76], work[76:84]
    for first in range(0, words.shape[0], LANES):
        for i in range(8):
            for lane in range(LANES):
                chain[i, lane] = state[i]
        for block in range(0, words.shape[1], 16):
            for lane in range(LANES):
                for i in range(16):
                    expanded[i, lane] = words[first + lane, block + i]
            for j in range(16, 68):
                for lane in range(LANES):
                    x = expanded[j - 16, lane] ^ expanded[j - 9, lane] ^ _left(expanded[j - 3, lane], 15)
                    x = x ^ _left(x, 15) ^ _left(x, 23)
                    expanded[j, lane] = x ^ _left(expanded[j - 13, lane], 7) ^ expanded[j - 6, lane]
            for i in range(8):
                for lane in range(LANES):
                    registers[i, lane] = chain[i, lane]
            for j in range(0, 64, 4):
                t0, t1, t2, t3 = constants[j], constants[j + 1], constants[j + 2], constants[j + 3]
                if j < 16:
                    for lane in range(LANES):
                        _four_rounds(_early, registers, expanded, j, lane, t0, t1, t2, t3)
                else:
                    for lane in range(LANES):
                        _four_rounds(_late, registers, expanded, j, lane, t0, t1, t2, t3)
            for i in range(8):
                for lane in range(LANES):
                    chain[i, lane] ^= registers[i, lane]
        for lane in range(LANES):
            for i in range(8):
                out[first + lane, i] = chain[i, lane]


def _compile() -> Any:
    """The kernel for its one signature, through numba's cache where a folder for it can be written."""
    read, write = types.Array(types.uint32, 2, "C", readonly=True), types.Array(types.uint32, 2, "C")
    line = types.Array(types.uint32, 1, "C", readonly=True)
    signature = types.void(read, line, line, write, write)
    for cache in (True, False):
        try:
            return njit(signature, nogil=True, boundscheck=False, cache=cache)(_compress_groups)
        except RuntimeError as error:
            if not cache or "no locator available" not in str(error):
                raise
    raise AssertionError("the last attempt returns or raises")


_compress = _compile()
