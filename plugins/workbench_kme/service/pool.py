"""The authentication pool of a line on disk: sealed by the device, positions written ahead of what is drawn.

Document: docs/protocols/qkd.md section 5. Positions must be on disk before a message leaves; to write once for many
messages, the position on disk runs ahead of the one reached, and a restart goes on from there: what lies between is
lost, never used twice. The mark beside the database holds the same positions, so that an older copy is noticed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from workbench.crypto import kdf
from workbench.errors import KeyUnavailable, VerificationError
from workbench_kme.service.journal import Journal

if TYPE_CHECKING:
    from workbench_kme.devices import Session
    from workbench_kme.distill import AuthenticationPool
    from workbench_kme.keys.mark import MarkKeeper, Place, SecretUse

AHEAD_BYTES = 512
"""Pads of 32 messages."""
LOW_BYTES = 1024
"""Fewer left in a half: an alarm."""
FIRST_BYTES = 32
"""Of the first message of a block."""
_ID_BYTES = 16


class PoolKeeper:
    """The pool of one line at one end. One thread at a time.

    secret: what people brought to both ends. mark: of the key store. distils: False where the line's source needs no
    tags; its pool is empty and nothing is written.
    """

    def __init__(
        self,
        journal: Journal,
        session: Session,
        line: str,
        secret: bytes,
        *,
        is_sender: bool,
        mark: MarkKeeper,
        distils: bool = True,
    ) -> None:
        self._journal, self._session, self._line, self._mark = journal, session, line, mark
        self._secret, self._is_sender, self._distils = secret, is_sender, distils
        self._id = kdf.derive(secret, "kme/authentication-secret", length=_ID_BYTES).hex()
        self._pool: AuthenticationPool | None = None
        self._sealed_key = b""
        self._on_disk: Place = (-1, -1)
        self._is_refused = False
        if distils:
            mark.meet_secret(line, self._id)

    def pool(self) -> AuthenticationPool:
        """The pool, opened with the first block.

        Raises KeyUnavailable POOL_UNREADABLE when what is on disk does not open, or may be an older copy of it.
        """
        if not self._distils:
            return _empty(is_sender=self._is_sender)
        use = self._mark.use_of(self._line, self._id)
        if self._pool is not None and use is not None:
            return self._pool
        self._pool = None  # the store was found to be an older copy while this pool was open
        self._pool = self._opened(use)
        self._is_refused = False
        return self._pool

    def before_sending(self) -> None:
        """Return when everything drawn so far is covered on disk, in the database and in the mark."""
        if self._pool is not None and self._own(self._pool.state()) > self._on_disk:
            state: dict[str, Any] = self._pool.state()
            half = state[self._half]
            segment, offset = self._own(state)
            size = next((len(text) // 2 for number, text, _shared in half["segments"] if number == segment), 0)
            # At the end of a segment the next draw starts another one, which is a position above this and written then.
            half["next"] = [segment, max(offset, min(size, offset + AHEAD_BYTES))]
            self._write(state)

    def after_block(self) -> None:
        """Write what a block gave back. The position stays where it was written ahead: the mark never goes down."""
        if self._pool is not None:
            state: dict[str, Any] = self._pool.state()
            state[self._half]["next"] = list(max(self._own(state), self._on_disk))
            self._write(state)

    @property
    def is_low(self) -> bool:
        """Whether people must prepare a new secret: a half is nearly used up, or the pool is not to be used."""
        if self._pool is None:
            return self._is_refused or (self._distils and self._id in self._mark.mark.retired)
        return min(self._pool.own_bytes, self._pool.their_bytes) < LOW_BYTES

    @property
    def is_stopped(self) -> bool:
        """Whether no block can be made any more: the pool is not to be used, or a half has less left than one message takes."""
        if self._pool is None:
            return self.is_low
        return min(self._pool.own_bytes, self._pool.their_bytes) < FIRST_BYTES

    @property
    def _half(self) -> str:
        return "sender" if self._is_sender else "receiver"

    def _own(self, state: dict[str, Any]) -> Place:
        return _place(state, self._half)

    def _opened(self, use: SecretUse | None) -> AuthenticationPool:
        """From disk, or from the start of a secret that was never used. use: what the mark says of this secret."""
        from workbench_kme.distill import AuthenticationPool

        kept = self._kept()
        if kept is not None and use is not None:
            if _place(kept, "sender") >= use.sender and _place(kept, "receiver") >= use.receiver:
                self._on_disk = self._own(kept)
                return AuthenticationPool.from_state(kept, is_sender=self._is_sender)
        elif kept is not None:
            # In use here, and the mark does not know it: it says nothing of how far. Not even a later mark forgets that.
            self._mark.retire_secret(self._id)
        elif use.is_fresh if use is not None else self._mark.begin_secret(self._line, self._id):
            self._on_disk = (-1, -1)
            self._handle, self._sealed_key = self._session.generate_key_with_kek()
            return AuthenticationPool(self._secret, is_sender=self._is_sender)
        self._is_refused = True
        raise KeyUnavailable(
            f"线路 {self._line} 的认证密钥池无法打开，或可能是用过的旧副本：两端密钥管理员须在 secrets.json 换入新的初始密钥并重启",
            f"the authentication pool of line {self._line} does not open, or may be an older copy that was used since: key"
            " staff put a new initial secret into secrets.json at both ends and restart",
            code="POOL_UNREADABLE",
        )

    def _kept(self) -> dict[str, Any] | None:
        """The state on disk of a pool of this secret; None where there is none that opens."""
        from workbench_kme.distill import AuthenticationPool

        record = self._journal.line(self._line)
        if record.pool is None or record.pool_key is None:
            return None
        try:
            handle = self._session.import_key_with_kek(record.pool_key)
            state: dict[str, Any] = json.loads(self._session.decrypt(handle, record.pool, associated=self._associated))
            AuthenticationPool.from_state(state, is_sender=self._is_sender)
        except (VerificationError, ValueError, KeyError, TypeError):
            return None
        self._handle, self._sealed_key = handle, record.pool_key
        return state

    def _write(self, state: dict[str, Any]) -> None:
        """The database first: after a crash between the two it lies above the mark, and is no older copy."""
        text = json.dumps(state, separators=(",", ":")).encode("ascii")
        sealed = self._session.encrypt(self._handle, text, associated=self._associated)
        self._journal.set_pool(self._line, self._sealed_key, sealed)
        self._mark.cover_secret(self._line, sender=_place(state, "sender"), receiver=_place(state, "receiver"))
        self._on_disk = self._own(state)

    @property
    def _associated(self) -> bytes:
        return f"{self._line}\0{self._id}".encode()


def _place(state: dict[str, Any], half: str) -> Place:
    segment, offset = state[half]["next"]
    return int(segment), int(offset)


def _empty(*, is_sender: bool) -> AuthenticationPool:
    """A pool that has nothing to draw."""
    from workbench_kme.distill import AuthenticationPool

    half: dict[str, object] = {"next": [0, 0], "segments": []}
    return AuthenticationPool.from_state({"sender": half, "receiver": half}, is_sender=is_sender)
