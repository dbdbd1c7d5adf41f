"""The note that is anchored, as values, and when the next one is due. Document: docs/protocols/anchor.md section 1. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from workbench.domain.checkpoint import Checkpoint, origin_of, parse_checkpoint, parse_origin, split_note
from workbench.domain.party import PartyId

_LOG_SIGNATURE_SIZE = 64
GATHER_MS = 600_000
"""How long a due note waits for the co-signatures of all institutions."""


@dataclass(frozen=True, slots=True)
class Note:
    """A signed checkpoint as it is anchored. text: every byte; digest: SHA-256 of it. cosigners: as the note names them."""

    text: str
    checkpoint: Checkpoint
    digest: bytes
    cosigners: tuple[PartyId, ...]

    @property
    def size(self) -> int:
        return self.checkpoint.size

    @property
    def origin_id(self) -> bytes:
        """The number of its log in the contract."""
        return origin_id(self.checkpoint.project, self.checkpoint.log)


def read_note(text: str) -> Note:
    """A note of this node's own ledger, which verified its signatures. Raises VerificationError when malformed."""
    head, lines = split_note(text)
    # The log's own signature is 64 bytes and no co-signature; all kinds of co-signature begin with a time of 8 bytes.
    names = {line.name for line in lines if len(line.payload) > _LOG_SIGNATURE_SIZE}
    return Note(
        text,
        parse_checkpoint(head),
        hashlib.sha256(text.encode()).digest(),
        tuple(sorted({parse_origin(name)[1] for name in names})),
    )


def origin_id(project: str, party: PartyId) -> bytes:
    """SHA-256 of a log's origin line: 32 bytes (document section 3.1)."""
    return hashlib.sha256(origin_of(project, party).encode()).digest()


def is_due(*, entries: int, since_ms: int, now_ms: int, every_entries: int, every_minutes: int) -> bool:
    """Whether the next anchor of a kind is due.

    entries: of the own log since the last one, without those that anchoring wrote; since_ms: when the last one was made.
    """
    return entries >= max(1, every_entries) or (entries > 0 and now_ms - since_ms >= every_minutes * 60_000)
