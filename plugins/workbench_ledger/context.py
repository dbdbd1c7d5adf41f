"""What every part of the ledger is given: the store, who this is, the keys, the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from workbench.contracts import Store, Transaction
from workbench.crypto import ed25519, sm2
from workbench.domain.checkpoint import Checkpoint, Cosignature, PartyKeys, cosign
from workbench.domain.party import PartyId


class CosigningKeys(Protocol):
    """The secret co-signing keys of this institution, used for tree heads and for nothing else."""

    @property
    def ed25519(self) -> ed25519.PrivateKey: ...

    @property
    def sm2(self) -> sm2.PrivateKey: ...


Record = Callable[[Transaction, str, Mapping[str, str]], None]
"""Writes an evidence entry of this node, given its kind and values, in the same transaction."""


def no_record(tx: Transaction, kind: str, values: Mapping[str, str]) -> None:
    """The recorder of a ledger without an evidence log, as in tests of the ledger alone."""


@dataclass(frozen=True, slots=True)
class Context:
    """One node's ledger. pinned: asked anew each time for the keys of every institution, this one included."""

    store: Store
    party: PartyId
    project: str
    keys: CosigningKeys = field(repr=False)
    pinned: Callable[[], Mapping[PartyId, PartyKeys]]
    now_ms: Callable[[], int]
    record: Record = no_record

    def parties(self) -> tuple[PartyId, ...]:
        """All institutions of the project, ascending."""
        return tuple(sorted(self.pinned()))

    def cosign(self, checkpoint: Checkpoint) -> Cosignature:
        """Both lines of this institution, now."""
        return cosign(
            checkpoint,
            party=self.party,
            ed25519_key=self.keys.ed25519,
            sm2_key=self.keys.sm2,
            time_s=self.now_ms() // 1000,
        )
