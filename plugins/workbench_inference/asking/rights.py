"""What questions hold about customers: erased with them, told to them, and what a restored or audited node does about asks.

A question names customers by labels; which customers they are is known by token (`inference_ask_customer`), and what each label stands
for lies in the ask's map. Document: docs/protocols/erasure.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from workbench.clock import local_day
from workbench.contracts import Host, Transaction
from workbench.domain.erasure import ErasureFinding, ErasureRequest
from workbench.domain.evidence import AuditFinding, ReplayNeed, RestoredEntry
from workbench.domain.identifiers import normalise_id_no, normalise_phone
from workbench.domain.subject import SubjectRecord, SubjectRequest
from workbench_inference.asking import keeping
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.policy import restoring, tables
from workbench_inference.policy.redaction import KINDS

OWNER: Final = "inference"
_BATCH: Final = 500


def erase(host: Host, request: ErasureRequest) -> list[ErasureFinding]:
    """Shred text, answer and map of every ask that named this customer. The rows stay, without text; their entries never had any."""
    names = request.customer.names
    if not names:
        return []

    def change(tx: Transaction) -> tuple[int, int]:
        found = _asks_of(tx, names)
        for ask in found:
            keeping.shred(host, tx, ask)
            tx.execute("UPDATE inference_ask SET reason = '', customer = '' WHERE ask = ?", (ask,))
            tx.execute("DELETE FROM inference_ask_customer WHERE ask = ?", (ask,))
        return len(found), tables.forget_customer(tx, names)

    count, invited = host.store.write(change)
    _forget_names(host)
    made = []
    if count:
        made.append(
            ErasureFinding(
                OWNER, "questions", count, count, 0, 0, f"{count} 次提问提到这位客户：问题、回答与脱敏对照已销毁",
                f"{count} questions named this customer: question, answer and map are destroyed",
            )
        )  # fmt: skip
    if invited:
        made.append(ErasureFinding(OWNER, "invitations", invited, invited, 0, 0, "这位客户已移出受邀名单", "this customer is no longer among those invited"))
    return made


def records(host: Host, request: SubjectRequest) -> list[SubjectRecord]:
    """What questions hold about one customer, in words of this node; what stood there is shown as who asked would see it."""
    with host.store.read() as reader:
        made = [
            SubjectRecord(
                OWNER, "invitation", "inference_cohort", "受邀参加向模型提问的试点", "invited to ask a model in the trial", since_ms, {"until": local_day(until_ms - 1).isoformat()},
            )
            for since_ms, until_ms in tables.invitations(reader, request.customer.names)
        ]  # fmt: skip
        for ask in _asks_of(reader, request.customer.names):
            row = reader.execute("SELECT asked_ms, scenario, state FROM inference_ask WHERE ask = ?", (ask,)).fetchone()
            kept = keeping.get(host, reader, ask)
            if row is None or kept is None:
                continue
            said = sorted({KINDS[kind][1] for kind, _, _ in kept.tiles})
            own = _own_values(host, reader, ask, request)
            values = {**own, "question": kept.question, "replaced": "、".join(said), "scenario": str(row[1]), "state": str(row[2])}
            made.append(
                SubjectRecord(
                    OWNER, "question", f"{ask}", "向模型提出的问题，客户信息已换成代称", "a question to a model, with labels in place of the customer's data", int(row[0]),
                    values,
                )
            )  # fmt: skip
    return made


def replay(host: Host, entries: Sequence[RestoredEntry]) -> list[ReplayNeed]:
    """After a restore: texts of asks since the copy never left this node and are gone; what was under way then has no answer."""
    lost = sum(1 for one in entries if one.kind == "inference.asked")

    def change(tx: Transaction) -> None:
        tx.execute("UPDATE inference_ask SET state = 'CUT', code = 'RESTORED' WHERE state IN ('QUEUED', 'STREAMING')")

    host.store.write(change)
    needs = restoring.replay(host, entries)
    if not lost:
        return needs
    return [
        *needs,
        ReplayNeed(
            "inference.asked", lost, f"备份之后的 {lost} 次提问只剩证据，问题与回答的文字没有离开过本机构，已无法恢复；需要时请提问人重新提问",
            f"of {lost} questions since the copy only the evidence is left: their texts never left this institution; whoever needs one asks again",
        )
    ]  # fmt: skip


def audit(host: Host) -> list[AuditFinding]:
    """Rows against the vault: an answered ask whose text is there without its row's entry, or a customer of an ask that is not."""
    node = cast("LeasingHost", host)
    found: list[AuditFinding] = []
    with host.store.read() as reader:
        strays = int(reader.execute("SELECT count(*) FROM inference_ask_customer WHERE ask NOT IN (SELECT ask FROM inference_ask)").fetchone()[0])
        kept = {one.removeprefix(prefix) for prefix in (keeping.ASK, keeping.SENT) for one in host.vault.names(reader, prefix)}
        known = {str(one[0]) for one in reader.execute("SELECT ask FROM inference_ask")}
    if strays or kept - known:
        count = strays + len(kept - known)
        found.append(
            AuditFinding(
                node.party, None, "", "ASK_WITHOUT_ROW", f"有 {count} 条提问的文字或客户代号没有对应的提问记录；合规岗查看", f"{count} texts or customers of questions have no row; compliance looks",
            )
        )  # fmt: skip
    return found


def _asks_of(reader: Reader, names: Sequence[str]) -> list[str]:
    """Asks that named one of these tokens, by name."""
    found: set[str] = set()
    for at in range(0, len(names), _BATCH):
        part = tuple(names[at : at + _BATCH])
        rows = reader.execute(f"SELECT DISTINCT ask FROM inference_ask_customer WHERE token IN ({', '.join('?' * len(part))})", part).fetchall()
        found |= {str(one[0]) for one in rows}
    return sorted(found)


def _own_values(host: Host, reader: Reader, ask: str, request: SubjectRequest) -> dict[str, str]:
    """Of the map, what is this customer's own: label -> value; a question may have named others too."""
    phones, numbers = set(request.customer.phones), set(request.customer.id_nos)
    today = host.today()
    return {
        label: value
        for label, value in keeping.get_map(host, reader, ask).items()
        if normalise_phone(value).value in phones or normalise_id_no(value, today=today).value in numbers
    }


def _forget_names(host: Any) -> None:  # Any: the node, with its background work
    """Names of the customer leave the memory of redaction too."""
    from workbench_inference.asking.service import Asking

    for one in getattr(host, "background", ()):
        if isinstance(one, Asking):
            one.customers.forget()


__all__ = ["audit", "erase", "records", "replay"]
