"""What a session counts: limits, epochs, the window of sequences, and what it tells of them.

Document: docs/protocols/frame.md sections 7 and 8. Values and small state without keys of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from workbench.channel.frame import Kind, SignedItem
from workbench.channel.session_keys import Established
from workbench.channel.terms import Order

WINDOW = 64
MAX_REFUSED = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one key of one direction and epoch may seal; never more than the document's own numbers."""

    records: int = 1 << 20
    size_bytes: int = 64 << 30
    age_s: int = 3600

    def __post_init__(self) -> None:
        if not (1 <= self.records <= 1 << 20 and 1 <= self.size_bytes <= 64 << 30 and 1 <= self.age_s <= 3600):
            raise ValueError("limits lie between 1 and 2^20 frames, 64 GiB, 3600 s")


@dataclass(frozen=True, slots=True)
class OpenedFrame:
    """A frame that was accepted.

    item: what the sender signed, None unless it is signed data. stream, index, final: of a chunk. key_ids: the QKD keys
    that protect it: the epoch's, or those of a padded item; empty under pqc-only.
    """

    kind: Kind
    purpose: str
    sequence: int
    epoch: int
    payload: bytes = field(repr=False)
    key_ids: tuple[str, ...] = ()
    provenance: str = ""
    item: SignedItem | None = None
    stream: bytes = b""
    index: int = 0
    final: bool = False


@dataclass(frozen=True, slots=True)
class EpochUse:
    """What one epoch's keys protected, for the report on a key: counts only."""

    epoch: int
    key_id: str
    provenance: str
    transcript: str
    sent: int
    sent_bytes: int
    accepted: int
    accepted_bytes: int


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """Counts of a session. missing: sequences below the highest accepted that have not come; lost: of them those too old to be taken."""

    session: str
    live: bool
    epoch: int
    sent: int
    accepted: int
    missing: int
    refused: int
    ended_here: bool
    ended_there: bool
    epochs: tuple[EpochUse, ...]
    lost: int = 0


@dataclass(slots=True)
class EpochState:
    """Keys of one epoch and what they have done."""

    agreed: Established
    began_ms: int
    sent: int = 0
    sent_bytes: int = 0
    accepted: int = 0
    accepted_bytes: int = 0
    lowest: int = 0
    replaced_ms: int = -1

    def use(self) -> EpochUse:
        agreed = self.agreed
        return EpochUse(
            agreed.epoch,
            agreed.key_id,
            agreed.provenance,
            agreed.transcript,
            self.sent,
            self.sent_bytes,
            self.accepted,
            self.accepted_bytes,
        )


@dataclass(slots=True)
class Window:
    """Which sequences of the other end have come: the highest, and a bit for each of the 64 up to it."""

    order: Order
    highest: int = 0
    seen: int = 0
    accepted: int = 0

    def admits(self, sequence: int) -> bool:
        if self.order is Order.STRICT:
            return sequence == self.highest + 1
        back = self.highest - sequence
        return back < 0 or (back < WINDOW and not self.seen >> back & 1)

    @property
    def missing(self) -> int:
        """Sequences below the highest that have not come."""
        return self.highest - self.accepted

    @property
    def lost(self) -> int:
        """Of the missing ones those below the window: they come no more."""
        return self.missing - (min(WINDOW, self.highest) - self.seen.bit_count())

    def accept(self, sequence: int) -> None:
        ahead = sequence - self.highest
        if ahead > 0:
            self.seen = (self.seen << ahead | 1) & (1 << WINDOW) - 1 if ahead < WINDOW else 1
            self.highest = sequence
        else:
            self.seen |= 1 << -ahead
        self.accepted += 1
