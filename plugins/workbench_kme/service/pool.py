"""The authentication pool of a line on disk: sealed by the device, positions written ahead of what is drawn.

Document: docs/protocols/qkd.md section 5. Positions must be on disk before a message leaves; to write once for many
messages, the position on disk runs ahead of the one reached, and a restart goes on from there: what lies between is
lost, never used twice.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from workbench.errors import KeyUnavailable, VerificationError
from workbench_kme.service.journal import Journal

if TYPE_CHECKING:
    from workbench_kme.devices import Session
    from workbench_kme.distill import AuthenticationPool

AHEAD_BYTES = 512
"""Pads of 32 messages."""
LOW_BYTES = 1024
"""Fewer left in a half: an alarm."""


class PoolKeeper:
    """The pool of one line at one end. secret: what people brought to both ends. One thread at a time."""

    def __init__(self, journal: Journal, session: Session, line: str, secret: bytes, *, is_sender: bool) -> None:
        self._journal, self._session, self._line = journal, session, line
        self._secret, self._is_sender = secret, is_sender
        self._pool: AuthenticationPool | None = None
        self._sealed_key = b""
        self._on_disk: tuple[int, int] = (-1, -1)

    def pool(self) -> AuthenticationPool:
        """The pool, opened with the first block. Raises KeyUnavailable when what is on disk does not open."""
        if self._pool is not None:
            return self._pool
        from workbench_kme.distill import AuthenticationPool

        record = self._journal.line(self._line)
        if record.pool is None or record.pool_key is None:
            self._pool = AuthenticationPool(self._secret, is_sender=self._is_sender)
            handle, self._sealed_key = self._session.generate_key_with_kek()
            self._handle = handle
        else:
            try:
                self._sealed_key = record.pool_key
                self._handle = self._session.import_key_with_kek(record.pool_key)
                text = self._session.decrypt(self._handle, record.pool, associated=self._line.encode())
                self._pool = AuthenticationPool.from_state(json.loads(text), is_sender=self._is_sender)
            except (VerificationError, ValueError, KeyError, TypeError) as error:
                raise KeyUnavailable(
                    f"线路 {self._line} 的认证密钥池无法打开：两端人员须注入新的初始密钥",
                    f"the authentication pool of line {self._line} does not open: people bring both ends a new secret",
                    code="POOL_UNREADABLE",
                ) from error
        self._write_ahead()
        return self._pool

    def before_sending(self) -> None:
        """Return when everything drawn so far is covered on disk."""
        if self._pool is not None and self._position(self._pool.state()) > self._on_disk:
            self._write_ahead()

    def after_block(self) -> None:
        """Write what a block gave back, and the exact position."""
        if self._pool is not None:
            state = self._pool.state()
            self._on_disk = self._position(state)
            self._write(state)

    @property
    def is_low(self) -> bool:
        """Whether either half is nearly used up."""
        return self._pool is not None and min(self._pool.own_bytes, self._pool.their_bytes) < LOW_BYTES

    def _position(self, state: dict[str, Any]) -> tuple[int, int]:
        segment, offset = state["sender" if self._is_sender else "receiver"]["next"]
        return int(segment), int(offset)

    def _write_ahead(self) -> None:
        assert self._pool is not None
        state: dict[str, Any] = self._pool.state()
        half = state["sender" if self._is_sender else "receiver"]
        segment, offset = self._position(state)
        size = next((len(text) // 2 for number, text, _shared in half["segments"] if number == segment), 0)
        # At the end of a segment the next draw starts another one, which is a position above this and written then.
        half["next"] = [segment, max(offset, min(size, offset + AHEAD_BYTES))]
        self._on_disk = self._position(state)
        self._write(state)

    def _write(self, state: dict[str, Any]) -> None:
        text = json.dumps(state, separators=(",", ":")).encode("ascii")
        sealed = self._session.encrypt(self._handle, text, associated=self._line.encode())
        self._journal.set_pool(self._line, self._sealed_key, sealed)
