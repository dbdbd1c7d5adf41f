"""Known answers of everything that makes a key from detections; also makes the machine code ready.

Document: docs/protocols/qkd.md sections 5, 7 and 8.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from workbench.crypto import poly1305
from workbench.errors import SelfTestFailed
from workbench_kme.distill import toeplitz
from workbench_kme.distill.cascade import Cascade

# RFC 8439 section 2.5.2.
_POLY1305_KEY: Final = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
_POLY1305_TAG: Final = bytes.fromhex("a8061dc1305136c6c22b8baf0c0127a9")
# Made with the plain models of the tests (cascade_model.py, the product by definition).
_WRONG: Final = (3, 50, 51, 120, 121, 122, 300, 477, 478, 599)
_QUESTIONS: Final = 223
_PRODUCT: Final = "ec9b32b475b3f41d"


def self_test() -> None:
    """Nothing if every answer is right. Raises SelfTestFailed: this machine must not distil.

    Cost: milliseconds, and about ten seconds of compiling where numba's cache is empty.
    """
    if poly1305.tag(_POLY1305_KEY, b"Cryptographic Forum Research Group") != _POLY1305_TAG:
        raise _failed("Poly1305")
    if correction() != _QUESTIONS:
        raise _failed("Cascade")
    if product() != _PRODUCT or not both_ways_agree():
        raise _failed("Toeplitz")


def correction() -> int:
    """Parities that correcting ten errors in 600 bits takes; -1 if it does not correct them."""
    sent = np.arange(600).astype(np.uint8) % 2
    seen = sent.copy()
    seen[list(_WRONG)] ^= 1
    sender, receiver = (
        Cascade(key, corrects=corrects, seed=bytes(range(16)), block_size=20)
        for key, corrects in ((sent, False), (seen, True))
    )
    while not receiver.finished:
        theirs = sender.parities().copy()
        sender.advance(receiver.parities().copy())
        receiver.advance(theirs)
    return sender.disclosed if np.array_equal(receiver.key, sent) else -1


def product() -> str:
    """64 bits of the product of a fixed matrix and a fixed key of 1,000 bits, hexadecimal."""
    bits = np.unpackbits((np.arange(400, dtype=np.int64) ** 3 % 251).astype(np.uint8))
    return np.packbits(toeplitz.multiply(bits[:1063], bits[2000:3000], 64)).tobytes().hex()


def both_ways_agree() -> bool:
    """Whether a product of several pieces is the same by transforms and in the way this machine takes."""
    bits = np.unpackbits((np.arange(3000, dtype=np.int64) ** 3 % 251).astype(np.uint8))
    seed, key = bits[:14_999], bits[9000:19_000]
    return np.array_equal(toeplitz.multiply(seed, key, 5000), toeplitz.transform(seed, key, 5000))


def _failed(what: str) -> SelfTestFailed:
    return SelfTestFailed(
        f"密钥提炼自检失败：{what} 的已知答案不符，本机不得生成密钥，请运维人员检查",
        f"self-test of the distillation failed: {what} gives a wrong answer; this machine must not make keys, operators check it",
    )
