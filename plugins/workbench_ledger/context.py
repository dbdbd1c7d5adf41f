"""What every part of the ledger is given: the store, who this is, the keys, the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from workbench.contracts import Store, Transaction
from workbench.crypto import ed25519, mldsa, sm2
from workbench.domain.checkpoint import Checkpoint, Cosignature, PartyKeys, VerifiedNote, cosign, verify_note
from workbench.domain.party import PartyId


class CosigningKeys(Protocol):
    """The secret co-signing keys of this institution, used for tree heads and for nothing else."""

    @property
    def ed25519(self) -> ed25519.PrivateKey: ...

    @property
    def sm2(self) -> sm2.PrivateKey: ...

    @property
    def mldsa44(self) -> mldsa.PrivateKey | None:
        """None where the setting `ledger.mldsa` is off."""


Record = Callable[[Transaction, str, Mapping[str, str]], None]
"""Writes an evidence entry of this node, given its kind and values, in the same transaction."""


def no_record(tx: Transaction, kind: str, values: Mapping[str, str]) -> None:
    """The recorder of a ledger without an evidence log, as in tests of the ledger alone."""


def always(tx: Transaction) -> bool:
    """Of a ledger whose log is always open."""
    return True


def no_notes(tx: Transaction, log: PartyId, start: int, bodies: Sequence[bytes]) -> None:
    """Of a ledger that looks for no changes of members."""


def no_participants(log: PartyId, job: str) -> frozenset[PartyId]:
    """Of a ledger that knows no jobs."""
    return frozenset()


def no_kinds() -> Sequence[str]:
    """No kind of entry demands ML-DSA-44 lines."""
    return ()


@dataclass(frozen=True, slots=True)
class Context:
    """One node's ledger.

    pinned: asked anew each time for the keys of every institution, this one and former members included. may_write:
    whether the own log takes entries now; what cannot be recorded is kept all the same. note_members: looks through bodies that are being written for changes of members. participants: who takes part in a job, as far as this node knows. mldsa_kinds: prefixes of kinds that need ML-DSA-44 lines.
    """

    store: Store
    party: PartyId
    project: str
    keys: CosigningKeys = field(repr=False)
    pinned: Callable[[], Mapping[PartyId, PartyKeys]]
    now_ms: Callable[[], int]
    record: Record = no_record
    may_write: Callable[[Transaction], bool] = always
    note_members: Callable[[Transaction, PartyId, int, Sequence[bytes]], None] = no_notes
    participants: Callable[[PartyId, str], frozenset[PartyId]] = no_participants
    mldsa_kinds: Callable[[], Sequence[str]] = no_kinds

    def parties(self) -> tuple[PartyId, ...]:
        """All institutions of the project, present and former, ascending."""
        return tuple(sorted(self.pinned()))

    def verified(self, note: str) -> VerifiedNote:
        """A note after all rules; co-signatures of institutions that had left that log by then, and had not come back, are left out.

        Raises VerificationError as `verify_note`.
        """
        keys = self.pinned()
        found = verify_note(note, keys, project=self.project)
        log, last = found.checkpoint.log, found.checkpoint.size - 1
        gone = {
            one for one in found.cosignatures
            if last >= keys[one].left.get(log, last + 1) and not keys[one].is_member(log, last)
        }  # fmt: skip
        if not gone:
            return found
        kept = {party: one for party, one in found.cosignatures.items() if party not in gone}
        return replace(found, cosignatures=kept)

    def cosign(self, checkpoint: Checkpoint) -> Cosignature:
        """All lines of this institution, now."""
        return cosign(
            checkpoint,
            party=self.party,
            ed25519_key=self.keys.ed25519,
            sm2_key=self.keys.sm2,
            time_s=self.now_ms() // 1000,
            mldsa_key=self.keys.mldsa44,
        )
