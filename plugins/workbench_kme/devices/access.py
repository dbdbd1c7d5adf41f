"""What a key store needs of whatever wraps its values: one session with one device, or several devices side by side.

Document: docs/protocols/key-delivery.md sections 3.2 and 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

Pair = tuple[bytes | bytearray, bytes]
"""A value, or its wrapped form, and the context it is bound to."""


class DeviceAccess(Protocol):
    """Fulfilled by `Session` and by `DeviceGroup`. Thread-safe."""

    @property
    def kek_ids(self) -> frozenset[bytes]:
        """The key-encryption keys that are here, fit or not."""

    @property
    def serving_keks(self) -> frozenset[bytes]:
        """Those whose values can be opened now."""

    def expect(self, keks: frozenset[bytes]) -> None:
        """Be told whose values the store has."""

    def check(self) -> None:
        """Return if values are wrapped and opened here at all. Raises SelfTestFailed, KeyUnavailable."""

    def generate_random(self, count: int) -> bytes:
        """Random bytes."""

    def wrap(self, purpose: str, value: bytes | bytearray, context: bytes) -> bytes:
        """One value wrapped for storage."""

    def unwrap(self, purpose: str, wrapped: bytes, context: bytes) -> bytearray:
        """One value. Raises VerificationError SEAL_BROKEN; KeyUnavailable DEVICE_OUT where its device does not serve."""

    def wrap_many(self, purpose: str, pairs: Sequence[Pair]) -> list[bytes]:
        """As `wrap`, in order."""

    def unwrap_many(self, purpose: str, pairs: Sequence[Pair]) -> list[bytearray]:
        """As `unwrap`, in order: all of them, or none."""
