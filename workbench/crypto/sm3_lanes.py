"""SM3 (GB/T 32905-2016) of many messages of one length, side by side: about 0.1 microseconds a block and core.

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


def _compress_groups(words: Words, state: Words, constants: Words, work: Words, out: Words) -> None:
    """Section 5.3 for every group of lanes. words: (n, 16 a block), n a multiple of LANES; out: (n, 8)."""
    # The eight registers stay where they are; their names move by one place a round (A to B, …, E to F, …).
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
            for j in range(64):
                t = constants[j]
                a, b, c, d = -j & 3, (1 - j) & 3, (2 - j) & 3, (3 - j) & 3
                e, f, g, h = 4 + a, 4 + b, 4 + c, 4 + d
                for lane in range(LANES):
                    ra, rb, rc = registers[a, lane], registers[b, lane], registers[c, lane]
                    re, rf, rg = registers[e, lane], registers[f, lane], registers[g, lane]
                    turned = _left(ra, 12)
                    ss1 = _left(uint32(turned + re + t), 7)
                    if j < 16:
                        ff, gg = ra ^ rb ^ rc, re ^ rf ^ rg
                    else:
                        ff, gg = (ra & rb) | (ra & rc) | (rb & rc), (re & rf) | (~re & rg)
                    tt1 = uint32(
                        ff + registers[d, lane] + (ss1 ^ turned) + (expanded[j, lane] ^ expanded[j + 4, lane])
                    )
                    tt2 = uint32(gg + registers[h, lane] + ss1 + expanded[j, lane])
                    registers[b, lane] = _left(rb, 9)
                    registers[d, lane] = tt1
                    registers[f, lane] = _left(rf, 19)
                    registers[h, lane] = tt2 ^ _left(tt2, 9) ^ _left(tt2, 17)
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
