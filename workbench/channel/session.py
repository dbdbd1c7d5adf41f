"""A session at work: frames sealed and opened, limits, renewals, the end. No I/O; the clock is an argument.

Document: docs/protocols/frame.md sections 7 to 9. Keys, counters and the window live in this object only: after a restart
there is a new session. Whatever is wrong with a frame, the opener gets one refusal and nothing has changed but a count.
"""

from __future__ import annotations

import threading
from typing import NoReturn

from workbench.channel import frame as frames
from workbench.channel.frame import Direction, Header, Kind, Parts, SignedItem
from workbench.channel.handshake import Initiator, Responder
from workbench.channel.pad import PadPool
from workbench.channel.session_keys import (
    Established,
    Renewal,
    Role,
    direction_of,
    other_role,
    rekey_required,
    session_broken,
)
from workbench.channel.session_state import (
    MAX_REFUSED,
    WINDOW,
    EpochState,
    EpochUse,
    Limits,
    OpenedFrame,
    SessionStatus,
    Window,
)
from workbench.channel.terms import QkdShare, Signer
from workbench.crypto import canonical, gcm, kdf, random, sm2
from workbench.errors import Refused, VerificationError

GRACE_MS = 60_000
"""How long the epoch before is still opened after a renewal, and how long a frame may be on its way."""
END_PURPOSE = "end"
_CHUNK_HEAD = 17


class SealedSession:
    """One end of a session. Safe for threads; not to be copied, pickled or carried across a fork."""

    def __init__(self, established: Established, *, now_ms: int, limits: Limits | None = None) -> None:
        """established: from an exchange; its keys belong to this object from here on. limits: lower ones than usual."""
        self._lock = threading.Lock()
        self._limits = limits if limits is not None else Limits()
        self._latest_ms = now_ms
        self._current = EpochState(established, now_ms)
        self._previous: EpochState | None = None
        self._uses: list[EpochUse] = []
        self._window = Window(established.terms.order)
        self._sent = 0
        self._refused = 0
        self._refused_before = 0
        self._end_sent = False
        self._end_sequence = 0
        self._broken = False

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def session_id(self) -> str:
        """The public id, 32 hexadecimal digits."""
        return self._current.agreed.session.hex()

    @property
    def role(self) -> Role:
        """Which end this is."""
        return self._current.agreed.role

    @property
    def peer(self) -> str:
        """The other end's identity."""
        return self._current.agreed.peer.identity

    @property
    def epoch(self) -> int:
        """The number of the epoch under which this end seals."""
        return self._current.agreed.epoch

    @property
    def live(self) -> bool:
        """Whether the session still has keys."""
        return not self._broken

    def facts(self) -> dict[str, str]:
        """What evidence says about the running epoch: ids, names, digests."""
        return self._current.agreed.facts()

    def status(self) -> SessionStatus:
        """Counts, with what each epoch's key protected so far."""
        with self._lock:
            parts = [self._current] if self._previous is None else [self._previous, self._current]
            window = self._window
            return SessionStatus(
                self.session_id,
                not self._broken,
                self.epoch,
                self._sent,
                window.accepted,
                window.missing,
                self._refused,
                self._end_sent,
                self._end_sequence > 0,
                (*self._uses, *(one.use() for one in parts)),
                window.lost,
            )

    @property
    def gaps(self) -> tuple[int, int]:
        """(missing, lost) as `status` has them."""
        with self._lock:
            return self._window.missing, self._window.lost

    # --------------------------------------------------------------------------------------------------- sealing

    def seal(self, payload: bytes, *, purpose: str, now_ms: int) -> bytes:
        """A frame of kind data. Cost: SM4-GCM and about 20 microseconds.

        payload: at most 16 MiB. Raises KeyUnavailable (REKEY_REQUIRED) at a limit, Refused (SESSION_BROKEN,
        SESSION_CLOSED), ValueError for a purpose of another form, a payload too large, or terms that ask for signatures.
        """
        self._check_unsigned()
        return self._seal(Kind.DATA, purpose, now_ms, b"", payload)

    def seal_signed(
        self, payload: bytes, *, purpose: str, key: Signer, now_ms: int, reply_to: str = ""
    ) -> tuple[bytes, SignedItem]:
        """(frame, what was signed): keep the item with the payload to show it later.

        key: this end's signing key. reply_to: digest of the statement that this one answers. Raises as `seal`.
        Cost: as `seal`, one SM2 signature (0.4 ms), SM3 of the payload.
        """
        with self._lock:
            agreed = self._current.agreed
            self._check_sealing(len(payload), purpose, now_ms, overhead=frames.SIGNED_OVERHEAD_BYTES)
            statement = frames.make_statement(
                sender=agreed.own.identity,
                recipient=agreed.peer.identity,
                session=agreed.session.hex(),
                sequence=self._sent + 1,
                purpose=purpose,
                time_ms=now_ms,
                payload=payload,
                key_id=agreed.key_id,
                provenance=agreed.provenance,
                reply_to=reply_to,
            )
            signature = frames.sign_statement(
                statement, sender=agreed.own.identity, session=agreed.session.hex(), key=key
            )
            item = SignedItem(statement, signature, canonical.parse_object(statement))
            return self._seal_locked(Kind.SIGNED, purpose, frames.join_signed(statement, signature), payload), item

    def seal_chunk(self, part: bytes, *, stream: bytes, index: int, final: bool, purpose: str, now_ms: int) -> bytes:
        """A frame of kind chunk; `stream.StreamSealer` counts. stream: 8 bytes. Raises as `seal`."""
        self._check_unsigned()
        if len(stream) != 8:
            raise ValueError("a stream id has 8 bytes")
        head = stream + index.to_bytes(8, "big") + bytes([final])
        return self._seal(Kind.CHUNK, purpose, now_ms, head, part)

    def seal_padded(self, payload: bytes, *, purpose: str, pads: PadPool, now_ms: int, retry_after_s: int = 0) -> bytes:
        """An item of at most 1,024 bytes under a one-time pad. pads: the pool of this end's own direction.

        Raises KeyUnavailable (PAD_EXHAUSTED), else as `seal`.
        """
        self._check_unsigned()
        with self._lock:
            self._check_live(now_ms)
            if pads.direction is not direction_of(self.role):
                raise ValueError("this pool belongs to the other direction")
            header = self._header(Kind.PADDED, purpose, frames.PAD_SUITE)
            sealed = pads.seal(header, payload, retry_after_s=retry_after_s)
            self._sent += 1
            return sealed

    def close(self, *, now_ms: int) -> bytes:
        """The end frame: nothing is sealed after it, the other end then knows that nothing is missing."""
        with self._lock:
            self._check_live(now_ms)
            frame = self._seal_locked(Kind.END, END_PURPOSE)
            self._end_sent = True
            return frame

    def _check_unsigned(self) -> None:
        if self._current.agreed.terms.signed:
            raise ValueError("the terms of this session ask for signed data: use seal_signed")

    def _seal(self, kind: Kind, purpose: str, now_ms: int, head: bytes, payload: bytes) -> bytes:
        with self._lock:
            self._check_sealing(len(payload), purpose, now_ms, overhead=len(head))
            return self._seal_locked(kind, purpose, head, payload)

    def _check_sealing(self, size: int, purpose: str, now_ms: int, *, overhead: int) -> None:
        frames.check_purpose(purpose)
        if size > frames.MAX_PAYLOAD_BYTES:
            raise ValueError("a frame carries at most 16 MiB; larger payloads are streams")
        self._check_live(now_ms)
        reached = self._limit_reached(self._current, size + overhead)
        if reached:
            raise rekey_required(self.session_id, self.epoch, reached)

    def _seal_locked(self, kind: Kind, purpose: str, *parts: bytes) -> bytes:
        epoch = self._current
        header = self._header(kind, purpose, epoch.agreed.suite.number)
        # Counted before the library is called: a sequence that was once used with a key never comes again.
        self._sent += 1
        epoch.sent += 1
        epoch.sent_bytes += sum(map(len, parts))
        return epoch.agreed.send.seal(header, self._sent, *parts)

    def _header(self, kind: Kind, purpose: str, suite: int) -> bytes:
        agreed = self._current.agreed
        direction = direction_of(agreed.role)
        return Header(suite, kind, direction, agreed.session, agreed.epoch, self._sent + 1, purpose).format()

    def _check_live(self, now_ms: int) -> None:
        # A clock that was set back must not give a key more time.
        self._latest_ms = max(self._latest_ms, now_ms)
        if self._broken:
            raise session_broken()
        if self._end_sent:
            raise Refused(
                "本方已结束该会话，不能再发送；请建立新会话",
                "this end has closed the session and sends nothing more; start a new one",
                code="SESSION_CLOSED",
            )

    def _limit_reached(self, epoch: EpochState, size: int) -> str:
        """Which limit sealing `size` bytes more would pass, "" for none."""
        if epoch.sent >= self._limits.records:
            return "records"
        if epoch.sent_bytes + size > self._limits.size_bytes:
            return "bytes"
        return "time" if self._latest_ms - epoch.began_ms >= self._limits.age_s * 1000 else ""

    # --------------------------------------------------------------------------------------------------- opening

    def open(
        self,
        frame: bytes,
        *,
        now_ms: int,
        purpose: str = "",
        signer: sm2.PublicKey | None = None,
        pads: PadPool | None = None,
    ) -> OpenedFrame:
        """The frame's content.

        purpose: what it must be, "" for any. signer: whose signature counts on signed data, the other end's own key by
        default. pads: the pool of the other end's direction, where padded items are expected.
        Raises VerificationError (FRAME_REFUSED), one for every cause; Refused (SESSION_BROKEN) once the session has ended
        or 256 frames of an epoch were refused. Cost: as `seal`; signed data one SM2 verification (0.8 ms) more.
        """
        with self._lock:
            self._latest_ms = max(self._latest_ms, now_ms)
            if self._broken:
                raise session_broken()
            self._retire(force=False)
            parts = frames.split(frame)
            if parts.header.suite == frames.PAD_SUITE and pads is not None:
                opened = self._open_padded(parts, pads)
            else:  # a padded item without a pool for it too: its tag does not fit, and takes the same time not to
                opened = self._open_sealed(parts, signer)
            if opened is None or (purpose and opened.purpose != purpose):
                self._count_refusal()
                raise frames.refused()
            self._accept(parts, opened, pads)
            return opened

    def finish(self) -> None:
        """Return if the other end has closed the session and nothing is missing. Raises VerificationError (SESSION_CUT)."""
        with self._lock:
            if not self._end_sequence or self._window.accepted != self._end_sequence:
                raise VerificationError(
                    "会话末尾缺帧：对方未正常结束或有帧丢失，请重新传输",
                    "frames are missing at the end: the other end has not closed the session, or some were lost; send again",
                    code="SESSION_CUT",
                )

    def _open_sealed(self, parts: Parts, signer: sm2.PublicKey | None) -> OpenedFrame | None:
        header = parts.header
        known = self._epoch_of(header.epoch)
        epoch = known if known is not None else self._current
        plaintext = epoch.agreed.receive.open_sealed(parts)
        if plaintext is None or known is None or not self._fits(parts, epoch, len(plaintext)):
            return None
        agreed = epoch.agreed
        key_ids = (agreed.key_id,) if agreed.key_id else ()
        if agreed.terms.signed and header.kind not in (Kind.SIGNED, Kind.END):  # a payload that nobody signed
            return None
        if header.kind == Kind.CHUNK:
            if len(plaintext) < _CHUNK_HEAD or plaintext[16] > 1:
                return None
            index = int.from_bytes(plaintext[8:16], "big")
            return OpenedFrame(
                Kind.CHUNK, header.purpose, header.sequence, header.epoch, plaintext[_CHUNK_HEAD:], key_ids, agreed.provenance,
                stream=plaintext[:8], index=index, final=bool(plaintext[16]),
            )  # fmt: skip
        item = None
        if header.kind == Kind.SIGNED:
            statement, signature, payload = frames.split_signed(plaintext)
            item = self._verified(header, agreed, statement, signature, payload, signer)
            if item is None:
                return None
            plaintext = payload
        elif header.kind != Kind.DATA and (header.kind != Kind.END or plaintext or header.purpose != END_PURPOSE):
            return None
        return OpenedFrame(
            Kind(header.kind),
            header.purpose,
            header.sequence,
            header.epoch,
            plaintext,
            key_ids,
            agreed.provenance,
            item,
        )

    def _open_padded(self, parts: Parts, pads: PadPool) -> OpenedFrame | None:
        header = parts.header
        found = pads.open_sealed(parts)
        here = pads.direction is self._other_direction() and self._epoch_of(header.epoch) is not None
        is_unsigned_barred = self._current.agreed.terms.signed
        if found is None or not here or not self._in_place(parts) or header.kind != Kind.PADDED or is_unsigned_barred:
            return None
        payload, ids = found
        return OpenedFrame(
            Kind.PADDED, header.purpose, header.sequence, header.epoch, payload, tuple(ids), pads.provenance
        )

    def _fits(self, parts: Parts, epoch: EpochState, size: int) -> bool:
        """Whether an intact frame may be accepted here and now, as far as its header tells."""
        header = parts.header
        if header.suite != epoch.agreed.suite.number or header.kind == Kind.PADDED or not self._in_place(parts):
            return False
        if epoch is self._previous and self._current.lowest and header.sequence > self._current.lowest:
            return False
        spent = epoch.accepted >= self._limits.records or epoch.accepted_bytes + size > self._limits.size_bytes
        old = self._latest_ms - epoch.began_ms >= self._limits.age_s * 1000 + GRACE_MS
        return header.kind == Kind.END or not (spent or old)

    def _in_place(self, parts: Parts) -> bool:
        """Whether form, session, direction and sequence are right; the same for every kind of frame."""
        header = parts.header
        before_end = not self._end_sequence or header.sequence < self._end_sequence
        return (
            parts.sound
            and header.session == self._current.agreed.session
            and header.direction == self._other_direction()
            and self._window.admits(header.sequence)
            and before_end
            and (header.kind != Kind.END or header.sequence > self._window.highest)
        )

    def _verified(
        self, header: Header, agreed: Established, statement: bytes, signature: bytes, payload: bytes,
        signer: sm2.PublicKey | None,
    ) -> SignedItem | None:  # fmt: skip
        """The signed item, if it is the other end's about exactly this frame."""
        try:
            item = frames.verify_signed_item(
                statement, signature, payload, key=signer if signer is not None else agreed.peer.key
            )
        except VerificationError:
            return None
        expected = {
            "from": agreed.peer.identity,
            "to": agreed.own.identity,
            "session": agreed.session.hex(),
            "sequence": header.sequence,
            "purpose": header.purpose,
            "key_id": agreed.key_id,
            "provenance": agreed.provenance,
        }
        return item if all(item.fields[name] == value for name, value in expected.items()) else None

    def _accept(self, parts: Parts, opened: OpenedFrame, pads: PadPool | None) -> None:
        self._window.accept(opened.sequence)
        epoch = self._epoch_of(opened.epoch)
        assert epoch is not None
        if opened.kind is Kind.PADDED:
            assert pads is not None
            pads.use(opened.key_ids)
            return
        epoch.accepted += 1
        epoch.accepted_bytes += len(parts.sealed) - gcm.TAG_SIZE
        epoch.lowest = min(epoch.lowest, opened.sequence) if epoch.lowest else opened.sequence
        if opened.kind is Kind.END:
            self._end_sequence = opened.sequence
        self._retire(force=epoch is self._current and epoch.accepted >= WINDOW)

    def _count_refusal(self) -> None:
        self._refused += 1
        if self._refused - self._refused_before >= MAX_REFUSED:
            self._wipe()

    def _epoch_of(self, number: int) -> EpochState | None:
        if number == self._current.agreed.epoch:
            return self._current
        previous = self._previous
        return previous if previous is not None and number == previous.agreed.epoch else None

    def _other_direction(self) -> Direction:
        return direction_of(other_role(self.role))

    # -------------------------------------------------------------------------------------- renewal and the end

    def rekey_due(self, now_ms: int) -> bool:
        """Whether 7/8 of a limit of either direction is reached: the initiator renews now."""
        with self._lock:
            self._latest_ms = max(self._latest_ms, now_ms)
            epoch, limits = self._current, self._limits
            return (
                8 * max(epoch.sent, epoch.accepted) >= 7 * limits.records
                or 8 * max(epoch.sent_bytes, epoch.accepted_bytes) >= 7 * limits.size_bytes
                or 8 * (self._latest_ms - epoch.began_ms) >= 7000 * limits.age_s
            )

    def renewal(
        self,
        *,
        key: Signer,
        qkd: QkdShare | None = None,
        retry_after_s: int = 0,
        source: random.RandomSource = random.SYSTEM,
    ) -> Initiator:
        """The exchange that makes the next epoch, at the session's initiator; `adopt` what comes of it.

        qkd: a fresh key. Raises as `Initiator`: without a key that the policy asks for there is no renewal.
        """
        agreed = self._renewable(Role.INITIATOR)
        return Initiator(
            identity=agreed.own.identity, key=key, peer=agreed.peer, terms=agreed.terms, qkd=qkd, retry_after_s=retry_after_s,
            source=source, renews=Renewal(agreed.session, agreed.epoch + 1, agreed.renewal),
        )  # fmt: skip

    def renewal_responder(self, *, key: Signer, source: random.RandomSource = random.SYSTEM) -> Responder:
        """The same at the session's responder."""
        agreed = self._renewable(Role.RESPONDER)
        return Responder(
            identity=agreed.own.identity, key=key, peer=agreed.peer, terms=agreed.terms, source=source,
            renews=Renewal(agreed.session, agreed.epoch + 1, agreed.renewal),
        )  # fmt: skip

    def adopt(self, established: Established, *, now_ms: int) -> None:
        """Seal under the new epoch from here on; the one before opens what is still under way.

        Raises ValueError unless it is the next epoch of this session, Refused (SESSION_BROKEN): its keys are then wiped.
        """
        with self._lock:
            agreed = self._current.agreed
            fits = (established.session, established.epoch) == (agreed.session, agreed.epoch + 1)
            if self._broken or not fits or established.role is not agreed.role:
                established.wipe()
                if self._broken:
                    raise session_broken()
                raise ValueError("this is not the next epoch of this session")
            self._latest_ms = max(self._latest_ms, now_ms)
            self._retire(force=True)
            self._previous, self._current = self._current, EpochState(established, self._latest_ms)
            self._previous.replaced_ms = self._latest_ms
            self._refused_before = self._refused  # fresh keys: tries against the old ones do not count any more
            # What was sealed under the old epoch stays sealed; this end never seals under it again.
            agreed.send.wipe()
            agreed.renewal.wipe()
            agreed.export.wipe()

    def export(self, label: str, *, length: int = 32) -> bytes:
        """A secret of the running epoch for another use, such as sealing a file; both ends get the same. label: see kdf."""
        with self._lock:
            if self._broken:
                raise session_broken()
            agreed = self._current.agreed
            return kdf.expand(agreed.export.reveal(), f"session/export/{label}", agreed.session, length=length)

    def kill(self) -> None:
        """End the session here and overwrite its keys: for the revocation of a person, a device or a key."""
        with self._lock:
            self._wipe()

    def _renewable(self, role: Role) -> Established:
        with self._lock:
            if self._broken:
                raise session_broken()
            if self.role is not role:
                raise ValueError("the initiator of the session starts its renewals, the responder answers")
            return self._current.agreed

    def _retire(self, *, force: bool) -> None:
        """Overwrite the epoch before, if it has had its time."""
        previous = self._previous
        if previous is not None and (force or self._latest_ms - previous.replaced_ms >= GRACE_MS):
            self._uses.append(previous.use())
            previous.agreed.wipe()
            self._previous = None

    def _wipe(self) -> None:
        self._broken = True
        self._current.agreed.wipe()
        self._retire(force=True)

    def __repr__(self) -> str:
        return f"SealedSession({self.session_id}, {self.role}, epoch {self.epoch})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a session is not copied or stored")
