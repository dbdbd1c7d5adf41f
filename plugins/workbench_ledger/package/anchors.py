"""Outside anchors of the logs in a package: which are put in, and how each is tied to a checkpoint here.

Document: docs/protocols/package.md section 4.2.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.crypto import canonical
from workbench.domain.envelope import format_time
from workbench.domain.package import ANCHOR_FILES, ANCHOR_STATES, PackageAnchor, PackageOrder
from workbench_ledger.package.plan import Plan, Shelf


@dataclass(frozen=True, slots=True)
class Anchored:
    """An anchor of the package. checkpoint: size of the one here that it is tied to, 0 unless confirmed.

    paths: between `checkpoint` and the anchored size, from the smaller to the larger.
    """

    anchor: PackageAnchor
    checkpoint: int = 0
    sha256_path: tuple[bytes, ...] = ()
    sm3_path: tuple[bytes, ...] = ()

    @property
    def is_confirmed(self) -> bool:
        return self.anchor.state == "confirmed"

    @property
    def folder(self) -> str:
        return f"anchors/{self.anchor.log}/{self.anchor.kind}"

    @property
    def files(self) -> Mapping[str, bytes]:
        """What lies beside anchor.json: nothing, unless confirmed."""
        return self.anchor.files if self.is_confirmed else {}

    @property
    def time(self) -> str:
        """Outside time as in an envelope, "" unless confirmed."""
        return format_time(self.anchor.time_ms) if self.is_confirmed else ""


def anchors_of(order: PackageOrder, plan: Plan, shelf: Shelf) -> list[Anchored]:
    """The anchors that cover the entries of each log, ascending by log and kind; the first of each kind."""
    found: dict[str, Anchored] = {}
    for log in sorted({one.log for one in plan.entries}):
        size = 1 + max(one.index for one in plan.entries if one.log == log)
        head = max(covered for owner, covered in plan.notes if owner == log)
        for anchor in order.anchors(log, size):
            one = _tied(anchor, head, plan, shelf) if anchor.log == log else None
            if one is not None:
                found.setdefault(one.folder, one)
    return [found[folder] for folder in sorted(found)]


def how_to_check(one: Anchored) -> tuple[str, dict[str, str]]:
    """What a reader runs, or asks a node of the chain; and of a chain what to compare, by names of the sentences."""
    if one.anchor.kind == "rfc3161":
        stamp = f"{one.folder}/tsa.pem"
        command = f"openssl ts -verify -in {one.folder}/token.tsr -data {one.folder}/checkpoint.note"
        return f"{command} -CAfile {stamp} -untrusted {stamp} -attime {one.anchor.time_ms // 1000}", {}
    told = canonical.parse_object(one.files["transaction.json"])
    facts = {
        "chain_id": str(told["chain_id"]),
        "contract": f"0x{told['contract']}",
        "block": f"{told['block']} (0x{told['block_hash']})",
        "transaction": f"0x{told['transaction']}",
    }
    asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_getTransactionReceipt", "params": [facts["transaction"]]}
    return f"curl -s -H 'content-type: application/json' -d '{json.dumps(asked)}' NODE", facts


def _tied(anchor: PackageAnchor, head: int, plan: Plan, shelf: Shelf) -> Anchored | None:
    """None for what has no place in a package: section 4.2."""
    if anchor.kind not in ANCHOR_FILES or anchor.state not in ANCHOR_STATES:
        return None
    if anchor.state != "confirmed":
        return Anchored(anchor)
    if set(anchor.files) != ANCHOR_FILES[anchor.kind] or anchor.size > plan.held[anchor.log]:
        return None
    old, new = sorted((head, anchor.size))
    paths = shelf.consistency(anchor.log, old, new) if old < new else ([], [])
    return Anchored(anchor, head, *map(tuple, paths))


__all__ = ["Anchored", "anchors_of", "how_to_check"]
