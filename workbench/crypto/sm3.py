"""SM3 digests (GB/T 32905-2016) and HMAC-SM3.

The fast path is the C library behind `gmssl_pyx` (about 0.6 microseconds for a short message); `cryptography` takes
its place where that wheel is missing. Incremental hashing goes through `cryptography` too: 2.8 ns a byte, where hashlib's
OpenSSL takes 3.8. Many short messages of one length go through `sm3_lanes`, side by side, with a sample hashed again by
the library.
"""

from __future__ import annotations

import hmac as _hmac
from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from workbench.errors import SelfTestFailed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Rows = npt.NDArray[np.uint8]

try:
    import gmssl_pyx as _native  # type: ignore[import-untyped]  # its stubs lack the py.typed mark
except ImportError:  # pragma: no cover - the wheel is a dependency; platforms without it use the slower path
    _native = None

DIGEST_SIZE = 32
BLOCK_SIZE = 64
MANY = 1 << 14
"""From this many messages of one length on they are hashed side by side (`sm3_lanes`); fewer do not pay for loading it."""

# numpy is loaded where rows are, not by every command and helper process that hashes one message: a third of their start.

# GB/T 32905-2016, Appendix A.1: the digest of "abc".
_ABC = bytes.fromhex("66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0")


class Hasher(Protocol):
    """An SM3 computation fed in pieces."""

    def update(self, data: bytes, /) -> None:
        """Append `data` to the message."""

    def digest(self) -> bytes:
        """The 32-byte digest of everything appended so far; more may be appended afterwards."""


def digest(data: bytes) -> bytes:
    """The 32-byte SM3 digest of `data`. Cost: 0.6 microseconds up to 55 bytes, then about 3 ns a byte."""
    return _digest(data)


def digest_many(messages: Sequence[bytes]) -> list[bytes]:
    """The digest of every message, in order.

    Cost: as `digest`, without a Python frame per message; many messages of one length cost 0.04 microseconds a block of
    64 bytes and 0.1 each.
    """
    rows = _rows_of_one_length(messages)
    return list(map(_digest, messages)) if rows is None else _listed(digest_rows(rows))


def digest_rows(rows: Rows) -> Rows:
    """The digest of every row: (n, width) uint8 gives (n, 32). Cost: 0.04 microseconds a block of 64 bytes."""
    lanes = _lanes() if len(rows) >= MANY else None
    if lanes is None:
        return _joined(list(map(_digest, _listed(rows))))
    digests: Rows = lanes.digest_rows(rows)
    _recheck(rows, digests, _digest)
    return digests


def hmac_rows(key: bytes, rows: Rows) -> Rows:
    """The HMAC-SM3 of every row under one key: (n, width) uint8 gives (n, 32). Cost: as `digest_rows`, one block more."""
    lanes = _lanes() if len(rows) >= MANY and len(key) <= BLOCK_SIZE else None
    mac = partial(_hmac_sm3, key)
    if lanes is None:
        return _joined(list(map(mac, _listed(rows))))
    macs: Rows = lanes.hmac_rows(key, rows)
    _recheck(rows, macs, mac)
    return macs


def hmac_many(key: bytes, messages: Sequence[bytes]) -> list[bytes]:
    """The HMAC-SM3 of every message under one key, in order. Cost: as `digest_many`."""
    rows = _rows_of_one_length(messages)
    return list(map(partial(_hmac_sm3, key), messages)) if rows is None else _listed(hmac_rows(key, rows))


def hmac(key: bytes, data: bytes) -> bytes:
    """The 32-byte HMAC-SM3 of `data` under `key` (RFC 2104 with SM3; any key length)."""
    return _hmac_sm3(key, data)


def new(data: bytes = b"") -> Hasher:
    """A hasher for messages that do not fit in memory at once."""
    hasher = _CryptographyHasher()
    hasher.update(data)
    return hasher


def selftest() -> None:
    """Check the standard's example and that all implementations present agree.

    Raises SelfTestFailed: the node must not start with a digest that lies.
    """
    message = bytes(range(256)) * 3
    expected = _digest_cryptography(message)
    agrees = (
        digest(b"abc") == _ABC
        and digest(message) == expected
        and new(message).digest() == expected
        and _hmac.compare_digest(hmac(message[:100], message), _hmac_cryptography(message[:100], message))
    )
    if not agrees:
        raise SelfTestFailed(
            "SM3 自检失败，节点不得运行", "the SM3 self-test failed: this node must not run", code="SM3_SELF_TEST"
        )


def warm_up() -> None:
    """Load the code for many messages now: 0.2 s, or some seconds where it must be compiled first. Raises SelfTestFailed."""
    _lanes()


@cache
def _lanes() -> Any:  # Any: a module
    """`sm3_lanes` after a test with known answers, None where numba is missing.

    Raises SelfTestFailed: as for the library, the node must not go on with a digest that lies.
    """
    try:
        import numpy as np

        lanes = import_module("workbench.crypto.sm3_lanes")
    except ImportError:  # pragma: no cover - numba is a dependency; without it everything is slower
        return None
    for width in (0, 3, 55, 56, 64, 119, 120, 200):
        rows = (np.arange(33 * width, dtype=np.uint32) * 31 % 251).astype(np.uint8).reshape(33, width)
        rows[:, :3] = np.frombuffer(b"abc", np.uint8)[:width]
        messages, key = _listed(rows), bytes(range(width % 65))
        if lanes.digest_rows(rows).tobytes() != b"".join(map(_digest_cryptography, messages)):
            raise _wrong_lanes()
        if lanes.hmac_rows(key, rows).tobytes() != b"".join(_hmac_cryptography(key, one) for one in messages):
            raise _wrong_lanes()
    return lanes


def _recheck(rows: Rows, digests: Rows, slow: Callable[[bytes], bytes]) -> None:
    """One row in every thousand again with the library: a processor that computes wrongly must not go unnoticed."""
    for row in range(0, len(rows), 1009):
        if slow(rows[row].tobytes()) != digests[row].tobytes():
            raise _wrong_lanes()


def _wrong_lanes() -> SelfTestFailed:
    return SelfTestFailed(
        "成批 SM3 运算与标准实现不符，节点停止计算，请运维人员检查处理器与安装",
        "SM3 in batches differs from the library: this node stops computing; operators check processor and installation",
        code="SM3_SELF_TEST",
    )


def _rows_of_one_length(messages: Sequence[bytes]) -> Rows | None:
    """The messages as rows when they are many and equally long, else None."""
    if len(messages) < MANY:
        return None
    width = len(messages[0])
    joined = b"".join(messages)
    if width == 0 or len(joined) != width * len(messages) or any(len(one) != width for one in messages):
        return None
    import numpy as np

    return np.frombuffer(joined, np.uint8).reshape(-1, width)


def _listed(rows: Rows) -> list[bytes]:
    """The rows as bytes objects: a view of void items lists them twice as fast as slicing does."""
    if rows.shape[1] == 0:
        return [b""] * len(rows)
    import numpy as np

    messages: list[bytes] = np.ascontiguousarray(rows).view(f"V{rows.shape[1]}").ravel().tolist()
    return messages


def _joined(digests: Sequence[bytes]) -> Rows:
    import numpy as np

    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_SIZE)


class _CryptographyHasher:
    """The `Hasher` behind `new`."""

    def __init__(self) -> None:
        self._context = hashes.Hash(hashes.SM3())

    def update(self, data: bytes, /) -> None:
        self._context.update(data)

    def digest(self) -> bytes:
        return self._context.copy().finalize()


def _digest_cryptography(data: bytes) -> bytes:
    context = hashes.Hash(hashes.SM3())
    context.update(data)
    return context.finalize()


def _hmac_cryptography(key: bytes, data: bytes) -> bytes:
    context = HMAC(key, hashes.SM3())
    context.update(data)
    return context.finalize()


def _hmac_native(key: bytes, data: bytes) -> bytes:
    # The C library refuses an empty key; RFC 2104 pads a short key with zeros, so one zero byte is the same key.
    result: bytes = _native.sm3_hmac(key or b"\x00", data)
    return result


_digest: Callable[[bytes], bytes] = _native.sm3_hash if _native is not None else _digest_cryptography
_hmac_sm3: Callable[[bytes, bytes], bytes] = _hmac_native if _native is not None else _hmac_cryptography
