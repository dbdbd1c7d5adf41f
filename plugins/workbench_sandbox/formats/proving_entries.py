"""What of a lease file stands in the logs, and which question and answer it was about: docs/protocols/sandbox.md section 14.1.

Pure. Entries come from an evidence package that was verified before; whether their commitments open was checked there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workbench.crypto import canonical, labels, sm3
from workbench.crypto.canonical import Json
from workbench.crypto.sm2 import PublicKey
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_sandbox.formats import reading
from workbench_sandbox.formats.leasefile import LeaseFile
from workbench_sandbox.formats.proving import Proof, Step

SKEW_MS = 5_000
HISTORY = "history-receipt"
MAX_ASKS = 1_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a verified package. kind: without `inference.`; opened: fields that the package opens."""

    log: PartyId
    index: int
    time_ms: int
    kind: str
    shared: Mapping[str, str]
    opened: Mapping[str, str]

    def value(self, name: str) -> str | None:
        """A shared or opened field; None where it stays committed."""
        return self.shared.get(name, self.opened.get(name))


class _Log:
    """Entries of one lease, by log and kind."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = sorted(entries, key=lambda one: (one.log, one.index))

    def of(self, *kinds: str, log: PartyId | None = None) -> list[Entry]:
        """In the order of their log."""
        return [one for one in self._entries if one.kind in kinds and log in (None, one.log)]


def prove_entries(file: LeaseFile, found: Proof, entries: Iterable[Entry]) -> None:
    """The step `entries`: each signed thing of the file is named where its institution wrote it down, in the right order."""
    step = Step("entries", "这些凭证都写在双方的日志里，先问、后答、再擦除", "all of this stands in the logs of both ends: asked, then answered, then erased")
    found.steps.append(step)
    log = _Log(entries)
    tenant, provider = file.order.tenant, file.order.provider
    order = next(one for one in found.steps if one.name == "order")
    order.open.clear()
    _order(file, log, order)
    _evidence(found, log, step, tenant, provider)
    asked, over = log.of("asked", log=tenant), log.of("answered", "answer_lost", log=tenant)
    _asks(found, step, asked, over)
    _meters(file, found, log, step)
    _erased(found, log, step, (tenant, provider), over)


def _order(file: LeaseFile, log: _Log, step: Step) -> None:
    for kind, party in (("lease_ordered", file.order.tenant), ("leased", file.order.provider)):
        named = {one.shared.get("digest") for one in log.of(kind, log=party)}
        if not named:
            step.lacks(f"证据包里没有 {party} 的 {kind}", f"the package has no {kind} of {party}")
        elif named != {file.order.digest}:
            step.bad(f"{party} 的 {kind} 写的是别的订单", f"{kind} of {party} names another order")


def _evidence(found: Proof, log: _Log, step: Step, tenant: PartyId, provider: PartyId) -> None:
    accepted = {one.shared["statement"] for one in log.of("evidence_accepted", log=tenant)}
    given = {one.shared["statement"] for one in log.of("evidence_given", log=provider)}
    here = {one.digest for one in found.documents}
    for digest in sorted(here - accepted):
        step.bad(f"沙箱证据 {digest[:16]} 没有被租用方记为通过", f"evidence {digest[:16]} was not written down as accepted by the tenant")
    for digest in sorted(accepted - here):
        step.lacks(f"凭证里没有沙箱证据 {digest[:16]} 的原文", f"the file has not the evidence {digest[:16]} itself")
    for digest in sorted(accepted - given):
        step.lacks(f"证据包里没有算力方出具 {digest[:16]} 的记录", f"the package has no entry of the provider about evidence {digest[:16]}")
    for one in log.of("session_opened", "session_renewed", log=tenant):
        if one.shared["statement"] not in accepted:
            step.bad(f"会话 {one.shared['session'][:16]} 不依据通过的沙箱证据", f"session {one.shared['session'][:16]} does not rest on accepted evidence")


def _asks(found: Proof, step: Step, asked: Sequence[Entry], over: Sequence[Entry]) -> None:
    began = {one.shared["ask"]: one for one in asked}
    ended = {one.shared["ask"]: one for one in over}
    for name, one in ended.items():
        if name not in began or began[name].index >= one.index:
            step.bad(f"{name} 没有先记为发出", f"{name} was not written down as asked before")
        if one.kind != "answered":
            continue
        end = one.opened.get("end")
        if end is None:
            step.lacks(f"证据包没有开示 {name} 的结束记录", f"the package does not open the end of {name}")
        elif end not in found.ends:
            step.lacks(f"{name} 的结束记录没有沙箱的签名可对", f"no signature of the sandbox over the end of {name} is in the file")
    for name in sorted(began.keys() - ended.keys()):
        step.lacks(f"{name} 只有发出的记录", f"{name} was asked; its end is not in the package")


def _meters(file: LeaseFile, found: Proof, log: _Log, step: Step) -> None:
    if found.statement is None:
        return
    said = found.statement
    for party in (file.order.tenant, file.order.provider):
        parts = log.of("metered", log=party)
        sums = tuple(sum(int(one.shared[name]) for one in parts) for name in ("ticks", "card_seconds", "agreed"))
        if parts and sums != (said.ticks, said.card_seconds, said.agreed_card_seconds):
            step.bad(f"{party} 日志里的计量合计与对账单不同", f"the meters in the log of {party} do not add up to the statement")
        for one in parts:
            inside = [each.tick.digest for each in found.ticks if int(one.shared["from"]) <= each.tick.from_s and each.tick.to_s <= int(one.shared["to"])]
            if one.opened.get("root") not in (None, reading.root(inside)):
                step.bad(f"{party} 的计量记录 {one.index} 不是这些计量", f"entry {one.index} of {party} is of other ticks")
        for one in log.of("statement", log=party):
            numbers = (one.shared["card_seconds"], one.shared["agreed"]) == (str(said.card_seconds), str(said.agreed_card_seconds))
            if not numbers or one.opened.get("statement") not in (None, reading.digest(file.statement)):
                step.bad(f"{party} 日志里的对账单是另一份", f"the log of {party} names another statement")
        if not parts:
            step.lacks(f"证据包里没有 {party} 的计量记录", f"the package has no meters of {party}")


def _erased(found: Proof, log: _Log, step: Step, parties: Sequence[PartyId], over: Sequence[Entry]) -> None:
    for party in parties:
        written = {one.shared["receipt"]: one for one in log.of("erased", log=party)}
        for receipt in found.receipts:
            if receipt.digest not in written:
                step.lacks(f"{party} 的日志里没有 {receipt.server} 的这份擦除收据", f"the log of {party} does not name this receipt of {receipt.server}")
        for digest in sorted(written.keys() - {one.digest for one in found.receipts}):
            step.lacks(f"凭证里没有 {party} 记下的擦除收据 {digest[:16]}", f"the file has not receipt {digest[:16]} that {party} wrote down")
    last = max((one.time_ms for one in over if one.kind == "answered"), default=0)
    if found.receipts and last > max(one.ended_ms for one in found.receipts) + SKEW_MS:
        step.bad("最后的擦除收据早于最后的回答", "the last receipt is older than the last answer")


# -------------------------------------------------------------------------------------------------------------- history


def prove_history(file: LeaseFile, found: Proof, entries: Iterable[Entry], data: bytes, contracts: Mapping[PartyId, PublicKey]) -> None:
    """The step `texts`: each question and answer of an exported history is the one whose digest the entries hold."""
    step = Step("texts", "导出的提问与回答就是日志中所记摘要的原文", "the exported questions and answers are those whose digests the log holds")
    found.steps.append(step)
    try:
        asks = read_history(data, contracts, tenant=file.order.tenant)
    except VerificationError:
        step.bad("提问记录的收据不成立，或内容被改", "the receipt of the history does not hold, or its content was changed")
        return
    log = _Log(entries)
    asked = {one.shared["ask"]: one for one in log.of("asked", log=file.order.tenant)}
    answered = {one.shared["ask"]: one for one in log.of("answered", log=file.order.tenant)}
    of_lease = [one for one in asks if one.get("lease") == file.order.lease]
    for one in of_lease:
        name = str(one.get("ask"))
        for entry, text, member, zh, en in (
            (asked.get(name), one.get("question"), "question", "问题", "the question"), (answered.get(name), one.get("text"), "shown", "回答", "the answer"),
        ):  # fmt: skip
            if text is None or (entry is None and member == "shown" and one.get("state") != "ANSWERED"):
                continue
            said = entry.opened.get(member) if entry is not None else None
            if said is None:
                step.lacks(f"证据包没有开示 {name} 的{zh}摘要", f"the package does not open the digest of {en} of {name}")
            elif said != sm3.digest(str(text).encode()).hex():
                step.bad(f"{name} 的{zh}与日志所记不同", f"{en} of {name} is not what the log holds")
    if not of_lease:
        step.lacks("提问记录里没有这份租约的提问", "the history has no question of this lease")


def read_history(data: bytes, contracts: Mapping[PartyId, PublicKey], *, tenant: PartyId) -> list[dict[str, Json]]:
    """The asks of an exported history whose receipt the tenant's contract key signed. Raises VerificationError (HISTORY_FILE)."""
    try:
        value = canonical.parse_object(data)
        receipt = str(value["receipt"]).encode()
        contracts[tenant].verify(labels.signing_input(HISTORY, party=tenant, job="", body=receipt), bytes.fromhex(str(value["signature"])))
        said, asks = canonical.parse_object(receipt), reading.items(value["asks"], most=MAX_ASKS)
        reading.need(said["party"] == tenant and said["count"] == len(asks), "count")
        reading.need(said["content"] == sm3.digest(canonical.format(asks)).hex(), "content")
        return [one for one in asks if isinstance(one, dict)]
    except (KeyError, TypeError, ValueError, VerificationError) as error:
        raise VerificationError(
            "提问记录的收据不成立，或内容被改", "the receipt of the history does not hold, or its content was changed", code="HISTORY_FILE"
        ) from error
