"""Entrusted processors and their contracts (PIPL 21): another object than a recipient. docs/consent.md section 16.

A telecom operator that runs a sandbox, or a data centre, processes for this institution; nothing is *provided* to it, no consent
towards it is asked, and it is never a recipient of a notice, a grant or an intersection. That reading is ours and needs a lawyer's
confirmation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workbench.errors import Refused
from workbench_consent import changes
from workbench_consent.tables import Reader

KIND = "processor"
DUE_MS = 30 * 86_400_000
"""A contract that ends within so long is due for renewal, or for return and deletion."""


@dataclass(frozen=True, slots=True)
class Missing:
    """What a contract lacks; article 21 (law-text) asks for it."""

    field: str
    zh: str
    en: str


_TEXTS = (
    ("name", "写明受托处理方名称", "name the processor"),
    ("purpose", "约定委托处理的目的", "agree what for"),
    ("method", "约定处理方式", "agree how"),
    ("measures", "约定保护措施", "agree the protection"),
    ("duties", "约定双方的权利和义务，以及如何监督", "agree rights and duties of both, and how it is supervised"),
    ("ending", "约定合同终止时返还或者删除，不得保留", "agree return or deletion at the end, nothing kept"),
)


def lint(body: Mapping[str, Any]) -> list[Missing]:
    """What the contract lacks."""
    found = [Missing(name, zh, en) for name, zh, en in _TEXTS if not (body[name]["zh"] and body[name]["en"])]
    if not body["contact"]:
        found.append(Missing("contact", "写明联系方式", "say how to reach it"))
    if not body["categories"]:
        found.append(Missing("categories", "约定个人信息的种类", "agree which personal information"))
    if not body["from_ms"] < body["until_ms"]:
        found.append(Missing("until_ms", "约定期限", "agree from when until when"))
    if body["sub_processing"] and not (body["sub_terms"]["zh"] and body["sub_terms"]["en"]):
        found.append(Missing("sub_terms", "转委托须经本机构同意，写明条件", "a further processor needs our consent: say on what terms"))
    return found


def check(body: Mapping[str, Any]) -> None:
    """Refused CONTRACT_INCOMPLETE naming the first field that article 21 asks for."""
    found = lint(body)
    if found:
        first = found[0]
        raise Refused(
            f"受托处理合同不能登记：PIPL 21 要求的「{first.field}」——{first.zh}（共 {len(found)} 处）",
            f"The contract cannot be registered: PIPL 21, field {first.field}: {first.en} ({len(found)} findings)",
            code="CONTRACT_INCOMPLETE",
            details={"article": "PIPL 21", "field": first.field, "findings": str(len(found))},
        )


def processors(reader: Reader) -> tuple[str, ...]:
    """Entrusted processors with a contract that two people put in force and nobody ended: ids, ascending."""
    return tuple(sorted({one.name for one in changes.all_changes(reader, KIND, state=changes.IN_FORCE)}))


def recipient_is_processor(party: str) -> Refused:
    return Refused(
        "这是受托处理方，有受托处理合同，不是接收方：不向其提供，也不征求同意",
        "this is an entrusted processor with a contract, not a recipient: nothing is provided to it and no consent towards it counts",
        code="RECIPIENT_IS_PROCESSOR",
        details={"party": party},
    )
