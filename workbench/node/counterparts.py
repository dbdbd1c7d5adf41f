"""Frames of a job that one participant recorded and the other did not: named, with who must act.

Document: docs/protocols/ledger.md section 8. Works on what this node holds: its own log and its mirrors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.domain.envelope import Envelope, format_time, parse_envelope
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench.node.evidence_entries import own_rows
from workbench.operations import Reply

if TYPE_CHECKING:
    from workbench.host import Workbench

FRAME = "intersection.message"
SKEW_MS = 5_000
"""Clocks of two institutions may differ by that much (docs/protocols/messages.md section 6)."""


class MissingCounterpart(Reply):
    """A frame with one record. log, index: where that lies; missing: whose record is not there; case: see the document.

    message, round, direction, digest: of the frame as recorded; zh, en: what it means and who acts.
    """

    log: str
    index: int
    missing: str
    case: str
    message: str
    round: str
    direction: str
    digest: str
    time_ms: int
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class _Record:
    log: PartyId
    index: int
    envelope: Envelope

    @property
    def partner(self) -> PartyId:
        return PartyId(self.envelope.shared.get("partner", ""))

    @property
    def direction(self) -> str:
        return self.envelope.shared.get("direction", "")

    @property
    def frame(self) -> tuple[str, frozenset[str]]:
        return self.envelope.shared.get("digest", ""), frozenset({self.log, self.partner})


def missing_counterparts(host: Workbench, job: str) -> list[MissingCounterpart]:
    """Every frame of a job with one record only, oldest first. Cost: about 50 microseconds a frame."""
    by_frame: dict[tuple[str, frozenset[str]], list[_Record]] = {}
    for record in _records(host, job):
        by_frame.setdefault(record.frame, []).append(record)
    alone = []
    for records in by_frame.values():
        ways = {(one.log, one.direction) for one in records}
        for one in records:
            opposite = "received" if one.direction == "sent" else "sent"
            if (one.partner, opposite) not in ways:
                alone.append(one)
    alone.sort(key=lambda one: (one.envelope.time_ms, one.log, one.index))
    return [_named(host, one) for one in alone]


def _records(host: Workbench, job: str) -> Iterator[_Record]:
    for log in host.log_parties():
        own = log == host.party
        indices = [row.index for row in own_rows(host, job, kind=FRAME)] if own else host.mirror_index(log).entries(job)
        for index in indices:
            bodies = host.ledger.entry_bodies(log, index, index + 1)
            try:
                envelope = parse_envelope(bodies[0]) if bodies else None
            except VerificationError:
                continue  # a changed entry is reported as such
            if envelope is not None and envelope.kind == FRAME:
                yield _Record(log, index, envelope)


def _named(host: Workbench, one: _Record) -> MissingCounterpart:
    shared = one.envelope.shared
    message, number = shared.get("message", ""), shared.get("round", "")
    what_zh = f"{format_time(one.envelope.time_ms)} 第 {number} 条消息 {message}"
    what_en = f"message {message}, number {number}, of {format_time(one.envelope.time_ms)}"
    if not _reaches(host, one.partner, one.envelope.time_ms + SKEW_MS):
        case = "NOT_HERE_YET"
        zh = f"{what_zh}：{one.log} 有记录，{one.partner} 的日志在本机尚未到该时刻，镜像正在补齐"
        en = f"{what_en}: {one.log} recorded it; the log of {one.partner} has not come that far here yet"
    elif one.direction == "sent":
        case = "NOT_RECEIVED"
        zh = f"{what_zh}：{one.log} 记录已发出，{one.partner} 没有收到的记录。请双方运维核查线路与日志"
        en = (
            f"{what_en}: {one.log} recorded that it was sent, {one.partner} has no record of receiving it. Operations of "
            "both must check the line and the logs"
        )
    else:
        case = "NOT_SENT"
        zh = f"{what_zh}：{one.log} 收到了 {one.partner} 签名的消息，{one.partner} 的日志没有发出的记录。请 {one.partner} 的合规人员说明"
        en = (
            f"{what_en}: {one.log} received it under the signature of {one.partner}, whose log has no record of sending it. "
            f"Compliance of {one.partner} must explain"
        )
    return MissingCounterpart(
        log=one.log, index=one.index, missing=one.partner, case=case, message=message, round=number,
        direction=one.direction, digest=shared.get("digest", ""), time_ms=one.envelope.time_ms, zh=zh, en=en,
    )  # fmt: skip


def _reaches(host: Workbench, log: PartyId, time_ms: int) -> bool:
    """Whether a log, as held here, goes on after an instant."""
    size = host.ledger.size(log)
    bodies = host.ledger.entry_bodies(log, size - 1, size) if size else []
    try:
        return bool(bodies) and parse_envelope(bodies[0]).time_ms > time_ms
    except VerificationError:
        return False


__all__ = ["MissingCounterpart", "missing_counterparts"]
