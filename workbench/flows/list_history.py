"""Sketches of the lists used in earlier attempts, sealed in the vault, so that near-duplicates are noticed (decision 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from workbench.contracts import Transaction
from workbench.domain.party import PartyId
from workbench.flows.near_duplicates import NearDuplicate, find, sketch

if TYPE_CHECKING:
    from workbench.host import Workbench

PREFIX = "sketch/"
DAY_MS = 86_400_000
REMEMBERED = 200
"""Newest attempts towards one partner and purpose that a new list is compared with."""


class ListHistory:
    """What this node's earlier lists had in common with a new one; nothing of it leaves the node."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        # Another version of the library hashes differently: sketches of different versions are never compared.
        self._prefix = f"{PREFIX}{pl.__version__}/"

    def sketch(self, identifiers: pl.Series) -> bytes:
        """The sealed form of a list; see near_duplicates.sketch."""
        return sketch(identifiers, seed=self._host.vault.token_key("near-duplicate"))

    def near_duplicates(self, new: bytes, *, job: str, partner: PartyId, purpose: str) -> list[NearDuplicate]:
        """Other jobs with this partner and purpose whose list was nearly the same, the nearest first."""
        host = self._host
        with host.store.read() as reader:
            rows = reader.execute(
                "SELECT job, attempt FROM host_attempt WHERE partner = ? AND purpose = ? AND job <> ? AND started_ms > ?"
                " ORDER BY started_ms DESC LIMIT ?",
                (partner, purpose, job, self._oldest_ms(), REMEMBERED),
            ).fetchall()
            known = set(host.vault.names(reader, self._prefix))
            names = [(row["job"], self._name(row["job"], row["attempt"])) for row in rows]
            earlier = [(one, host.vault.get(reader, name)) for one, name in names if name in known]
        return find(new, earlier, threshold=float(host.setting("intersection.near_duplicate")))

    def remember(self, tx: Transaction, new: bytes, *, job: str, attempt: int) -> None:
        """Keep the sketch of an attempt's list."""
        self._host.vault.put(tx, self._name(job, attempt), new)

    def forget_old(self) -> int:
        """Shred the sketches of attempts older than `intersection.sketch_days`, and those of no known attempt; how many."""
        host = self._host

        def change(tx: Transaction) -> int:
            rows = tx.execute("SELECT job, attempt FROM host_attempt WHERE started_ms > ?", (self._oldest_ms(),)).fetchall()
            young = {f"{row['job']}/{row['attempt']}" for row in rows}
            old = [name for name in host.vault.names(tx, PREFIX) if name.removeprefix(PREFIX).partition("/")[2] not in young]
            for name in old:
                host.vault.shred(tx, name)
            return len(old)

        return host.store.write(change)

    def _oldest_ms(self) -> int:
        return int(self._host.now_ms() - self._host.setting("intersection.sketch_days") * DAY_MS)

    def _name(self, job: str, attempt: int) -> str:
        return f"{self._prefix}{job}/{attempt}"
