"""Outside anchors of the logs in a package: which are put in, and how each is tied to a checkpoint here.

Document: docs/protocols/package.md section 4.2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workbench.crypto import canonical
from workbench.domain.envelope import format_time
from workbench.domain.package import ANCHOR_FILES, ANCHOR_STATES, PackageAnchor, PackageOrder
from workbench.domain.party import PartyId
from workbench_ledger.package.plan import Plan, Shelf

CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class Anchored:
    """An anchor of the package. checkpoint: size of the one here that it is tied to, 0 unless confirmed.

    covered, entries: how many entries of its log here it covers, of how many. paths: between `checkpoint` and the anchored
    size, from the smaller to the larger.
    """

    anchor: PackageAnchor
    covered: int
    entries: int
    checkpoint: int = 0
    sha256_path: tuple[bytes, ...] = ()
    sm3_path: tuple[bytes, ...] = ()

    @property
    def is_confirmed(self) -> bool:
        return self.anchor.state == CONFIRMED

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
    """Of each log and kind the anchor that covers most entries here, ascending; one that waits where none is confirmed."""
    found = []
    for log in sorted({one.log for one in plan.entries}):
        sizes = sorted(one.index + 1 for one in plan.entries if one.log == log)
        head = max(covered for owner, covered in plan.notes if owner == log)
        asked: dict[int, dict[str, PackageAnchor]] = {}

        def at(size: int, log: PartyId = log, asked: dict[int, dict[str, PackageAnchor]] = asked) -> dict[str, PackageAnchor]:
            if size not in asked:
                asked[size] = {}
                for one in order.anchors(log, size):
                    if _has_place(one, log, plan):
                        asked[size].setdefault(one.kind, one)
            return asked[size]

        for kind in sorted(ANCHOR_FILES):
            anchor = _covering_most(kind, sizes, at)
            if anchor is not None:
                covered = sum(size <= anchor.size for size in sizes)
                found.append(_tied(anchor, head, covered, len(sizes), shelf))
    return found


def _covering_most(
    kind: str, sizes: Sequence[int], at: Callable[[int], Mapping[str, PackageAnchor]]
) -> PackageAnchor | None:
    """The confirmed anchor of the largest of these sizes; what covers one covers all below. Cost: a few questions."""
    newest = at(sizes[-1]).get(kind)
    if newest is not None and newest.state == CONFIRMED:
        return newest
    best = at(sizes[0]).get(kind)
    if best is None or best.state != CONFIRMED:
        return newest
    low, high = 0, len(sizes) - 1
    while high - low > 1:
        middle = (low + high) // 2
        found = at(sizes[middle]).get(kind)
        if found is not None and found.state == CONFIRMED:
            low, best = middle, found
        else:
            high = middle
    return best


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


def _has_place(anchor: PackageAnchor, log: PartyId, plan: Plan) -> bool:
    """Whether it may stand in a package: section 4.2."""
    if anchor.log != log or anchor.kind not in ANCHOR_FILES or anchor.state not in ANCHOR_STATES or anchor.size < 1:
        return False
    return anchor.state != CONFIRMED or (set(anchor.files) == ANCHOR_FILES[anchor.kind] and anchor.size <= plan.held[log])


def _tied(anchor: PackageAnchor, head: int, covered: int, entries: int, shelf: Shelf) -> Anchored:
    """With the paths to the largest checkpoint here, where it is confirmed."""
    if anchor.state != CONFIRMED:
        return Anchored(anchor, 0, entries)
    old, new = sorted((head, anchor.size))
    paths = shelf.consistency(anchor.log, old, new) if old < new else ([], [])
    return Anchored(anchor, covered, entries, head, *map(tuple, paths))


__all__ = ["Anchored", "anchors_of", "how_to_check"]
