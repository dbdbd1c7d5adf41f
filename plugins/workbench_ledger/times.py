"""The clock of a log, as its own entries and the co-signatures of others show it: set back, or ahead of everybody.

Document: docs/protocols/evidence.md section 11. Times are claims of the institution whose log it is; what can be checked
is that they run forward, and that no entry is later than the co-signature another institution gave on it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from workbench.contracts import Store
from workbench.domain.envelope import parse_time
from workbench.domain.evidence import AuditFinding
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_ledger import tables

PROBLEM = "CLOCK"
MAX_FINDINGS = 50
_MARK = b'"time":"'
_TEXT_BYTES = 24


def find(store: Store, party: PartyId, *, tolerance_ms: int) -> list[AuditFinding]:
    """Every place of the own log at which its clock cannot have been right.

    tolerance_ms: the difference between clocks that partners accept. Cost: about 2 microseconds an entry.
    """
    with store.read() as reader:
        rows = reader.execute(
            "SELECT size, signer, min(time_s) FROM ledger_cosignature WHERE log = ? AND signer <> ? GROUP BY size", (party, party)
        ).fetchall()
        signed = {int(size) - 1: (PartyId(signer), int(time_s) * 1000) for size, signer, time_s in rows}
        bodies = tables.numbered_bodies(reader, party, 0, 1 << 62, own=True)
        return check(party, bodies, signed, tolerance_ms=tolerance_ms)


def check(
    party: PartyId,
    bodies: Iterable[tuple[int, bytes]],
    signed: Mapping[int, tuple[PartyId, int]],
    *,
    tolerance_ms: int,
) -> list[AuditFinding]:
    """Pure core of `find`. signed: last entry under a head -> who co-signed it first, and when by that clock (ms).

    A body whose time cannot be read is left to the re-hashing, which names it.
    """
    findings: list[AuditFinding] = []
    latest, latest_index = "", -1
    for index, body in bodies:
        text = _time_text(body)
        if text < latest and (late_ms := _between(text, latest)) > tolerance_ms:
            findings.append(_set_back(party, index, latest_index, late_ms))
            latest, latest_index = text, index  # from here on by the new clock: one finding for one change
        elif text > latest:
            latest, latest_index = text, index
        if index in signed and text:
            signer, at_ms = signed[index]
            ahead_ms = _after(text, at_ms + 999)  # co-signatures carry whole seconds
            if ahead_ms > tolerance_ms:
                findings.append(_ahead(party, index, signer, ahead_ms))
        if len(findings) >= MAX_FINDINGS:
            break
    return findings


def _time_text(body: bytes) -> str:
    """The time of an entry as it is written; canonical JSON puts it last but one. "" when it is not there."""
    at = body.rfind(_MARK)
    text = body[at + len(_MARK) : at + len(_MARK) + _TEXT_BYTES] if at >= 0 else b""
    return text.decode("ascii", "replace")


def _between(earlier: str, later: str) -> int:
    try:
        return parse_time(later) - parse_time(earlier)
    except VerificationError:
        return 0


def _after(text: str, moment_ms: int) -> int:
    try:
        return parse_time(text) - moment_ms
    except VerificationError:
        return 0


def _set_back(party: PartyId, index: int, before: int, late_ms: int) -> AuditFinding:
    seconds = late_ms / 1000
    return AuditFinding(
        party,
        index,
        "time",
        PROBLEM,
        f"{party} 日志第 {index} 条的时间比第 {before} 条早 {seconds:,.0f} 秒：{party} 的时钟被调回。"
        f"请 {party} 的运维人员校准时钟并说明原因，合规人员判断第 {index} 条起的时间能否采信",
        f"entry {index} of the log of {party}, field time: {seconds:,.0f} s earlier than entry {before} before it, so the clock of"
        f" {party} was set back. Operators of {party} set it right and say why; compliance judges the times from entry {index} on",
    )


def _ahead(party: PartyId, index: int, signer: PartyId, ahead_ms: int) -> AuditFinding:
    seconds = ahead_ms / 1000
    return AuditFinding(
        party,
        index,
        "time",
        PROBLEM,
        f"{party} 日志第 {index} 条的时间比 {signer} 为它共签的时刻还晚 {seconds:,.0f} 秒：两家时钟至少一家不准。"
        f"请 {party} 与 {signer} 的运维人员核对时钟",
        f"entry {index} of the log of {party}, field time: {seconds:,.0f} s later than the co-signature of {signer} on it, so one"
        f" of the two clocks was wrong. Operators of {party} and {signer} compare their clocks",
    )
