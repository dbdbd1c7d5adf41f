"""All attacks by name, in the order in which a page shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from workbench_ledger.attacks import between, on_copy
from workbench_ledger.attacks.bench import Bench
from workbench_ledger.attacks.findings import AUDIT, CLOCK, DOCUMENTS, GOSSIP, MIRROR, VERIFY, Check, Outcome


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack: what somebody does, which check must find it, the rehearsal, and how many institutions it takes."""

    name: str
    zh: str
    en: str
    check: Check
    run: Callable[[Bench], Outcome]
    institutions: int = 2


_ALL = (
    Attack("edited-row", "改动一条记录", "edit a row", AUDIT, on_copy.edited_row),
    Attack("deleted-row", "删除一条记录", "delete a row", AUDIT, on_copy.deleted_row),
    Attack("truncated-log", "截断日志", "truncate the log", AUDIT, on_copy.truncated_log),
    Attack("reordered-rows", "调换记录顺序", "reorder rows", AUDIT, on_copy.reordered_rows),
    Attack("restored-shorter", "恢复旧副本并改写得更短", "restore an older copy, rewritten shorter", MIRROR, between.restored_shorter),
    Attack("restored-longer", "恢复旧副本并改写得更长", "restore an older copy, rewritten longer", MIRROR, between.restored_longer),
    Attack("split-view", "给两家看不同的历史", "show two partners two histories", GOSSIP, between.split_view, 3),
    Attack("forged-cosignature", "伪造共签", "forge a co-signature", AUDIT, on_copy.forged_cosignature),
    Attack("missing-cosignature", "抽掉共签", "take a co-signature away", VERIFY, on_copy.missing_cosignature),
    Attack("swapped-document", "调换签署文件", "swap a signed form", DOCUMENTS, on_copy.swapped_document),
    Attack("altered-receipt", "改动收据", "alter a receipt", VERIFY, on_copy.altered_receipt),
    Attack("changed-clock", "调回时钟", "set the clock back", CLOCK, on_copy.changed_clock),
)
ATTACKS: Mapping[str, Attack] = MappingProxyType({one.name: one for one in _ALL})
