"""What a restored node forgot of this desk: restrictions are put in force again at once, the rest is told to people.

Document: docs/rights.md section 4; docs/protocols/erasure.md section 5 for the sealed field. The mirrors hold the entry and cannot
read it. A restriction that was lifted after the copy comes back too: forgetting a lifting harms nobody, the other way round does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from workbench.clock import local_day
from workbench.contracts import Host, Transaction, Vault
from workbench.domain.erasure import Customer, open_recovery, pack_names, seal_recovery, unpack_names
from workbench.domain.evidence import ReplayNeed, RestoredEntry
from workbench.errors import VerificationError
from workbench_rights import cases
from workbench_rights.model import RequestState, RightsKind

RESTRICTED = "rights.restricted"
NONCE_SIZE = 12
AGAIN = {
    "rights.received": ("项权利请求", "rights requests"),
    "complaints.opened": ("件投诉", "complaints"),
    "complaints.group_joined": ("个专项小组的任务", "tasks of task groups"),
}


def recovery(vault: Vault, nonce: bytes, request: str, customer: Customer) -> str:
    """The customer's tokens, sealed for this institution's own restored node."""
    message = pack_names(request, customer.names)
    return seal_recovery(vault.token_key("recovery"), message, binding=RESTRICTED, nonce=nonce)


def replay(host: Host, entries: Sequence[RestoredEntry]) -> list[ReplayNeed]:
    """Put restrictions in force again; say what must be entered again. Safe to repeat."""
    unreadable = 0
    for entry in entries:
        if entry.kind != RESTRICTED:
            continue
        try:
            message = open_recovery(host.vault.token_key("recovery"), entry.shared.get("recovery", ""), binding=RESTRICTED)
            request, names = unpack_names(message)
        except VerificationError:
            unreadable += 1
            continue
        host.store.write(lambda tx, at=entry.time_ms, name=request, tokens=names: _again(tx, at, name, tokens))  # type: ignore[misc]
    needs = []
    if unreadable:
        needs.append(
            ReplayNeed(
                RESTRICTED, unreadable, f"有 {unreadable} 项限制处理无法从取回的记录恢复：合规岗按原申请再限制一次",
                f"{unreadable} restrictions cannot be read from what came back: compliance restricts those customers once more",
            )
        )  # fmt: skip
    lost = Counter(entry.kind for entry in entries)
    for kind, (zh, en) in AGAIN.items():
        if lost[kind]:
            needs.append(
                ReplayNeed(
                    kind, lost[kind], f"旧副本之后的 {lost[kind]} {zh}内容已丢失：合规岗按原件重新登记",
                    f"{lost[kind]} {en} of after the copy are lost: compliance enters them again from the originals",
                )
            )  # fmt: skip
    return needs


def _again(tx: Transaction, at_ms: int, request: str, names: Sequence[str]) -> None:
    """The restriction, and a row of its request so that it can be lifted; what was said about it is gone."""
    known = tx.execute("SELECT 1 FROM rights_restriction WHERE request = ?", (request,)).fetchone()
    if known:
        return
    if tx.execute("SELECT 1 FROM rights_request WHERE request = ?", (request,)).fetchone() is None:
        cases.add(
            tx,
            {
                "request": request, "kind": RightsKind.RESTRICTION.value, "state": RequestState.ANSWERED.value, "channel": "counter",
                "applicant": "subject", "received_ms": at_ms, "due_day": local_day(at_ms).isoformat(), "due_ms": at_ms,
                "is_estimated": 0, "identified_ms": at_ms, "decided_ms": at_ms, "decision": "granted", "answered_ms": at_ms,
                "created_by": "",
            },
        )  # fmt: skip
    cases.restrict(tx, request, Customer(tuple(names)), now_ms=at_ms)


__all__ = ["recovery", "replay"]
