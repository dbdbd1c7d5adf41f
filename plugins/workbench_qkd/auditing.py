"""What every audit looks at: decisions about lines in all logs, and that this node does what its own log says.

Document: docs/protocols/qkd-channel.md section 9. Needs nothing but the logs and the pinned contract keys for the logs of others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from workbench.contracts import Host, Ledger
from workbench.domain.envelope import Envelope, parse_envelope
from workbench.domain.evidence import AuditFinding
from workbench.domain.party import PartyId
from workbench.errors import VerificationError
from workbench_qkd import deciding, policies
from workbench_qkd.following import HOLDING_ALARMS

DECIDED: Final = frozenset({"qkd.policy_tightened", "qkd.downgraded", "qkd.resumed"})
ASKED: Final = frozenset({"qkd.downgrade_proposed", "qkd.resume_proposed"})
_PAGE: Final = 1000
_TRIES: Final = 3
_MARK: Final = b'"kind":"qkd.'


def findings(host: Host) -> list[AuditFinding]:
    """Cost: reads every log once, two SM2 verifications a decision."""
    ledger = host.provider(Ledger)  # type: ignore[type-abstract]
    found: list[AuditFinding] = []
    for party in host.parties():
        for _ in range(_TRIES):
            size = ledger.size(party)
            told = _of_log(host, ledger, party, size)
            if not told or ledger.size(party) == size:  # otherwise the tables may be ahead of what was read
                break
        found += told
    return found


def _of_log(host: Host, ledger: Ledger, party: PartyId, size: int) -> list[AuditFinding]:
    node: Any = host
    found: list[AuditFinding] = []
    decisions, held = _Decisions(party, node.pinned_keys(party).contract), dict[str, int]()
    for index, one in _entries(ledger, party, size):
        problem = decisions.look(one)
        if problem:
            found.append(_finding(party, index, problem))
        if one.kind == "qkd.alarm_raised" and one.shared.get("cause") in HOLDING_ALARMS:
            held.setdefault(one.shared["line"], index)
        if one.kind == "qkd.resumed" and not problem:
            held.pop(one.shared["line"], None)
    return found + (_own(node, decisions.bodies, held) if party == host.party else [])


class _Decisions:
    """One institution's decisions in the order of its log."""

    def __init__(self, party: PartyId, key: Any) -> None:
        self._party, self._key = party, key
        self.bodies: list[bytes] = []

    def look(self, one: Envelope) -> str:
        """What is wrong with this entry, "" for nothing."""
        try:
            if one.kind in ASKED:
                request, _ = deciding.read_request(one.shared.get("request", "").encode(), party=self._party, key=self._key)
                return "" if deciding.asks(one.kind, one.shared, request) else "DECISION_DIFFERS"
            if one.kind not in DECIDED:
                return ""
            body = one.shared.get("decision", "").encode()
            made = deciding.read_decision(body, party=self._party, key=self._key)
        except VerificationError:
            return "DECISION_ALTERED"
        previous = deciding.digest(self.bodies[-1]) if self.bodies else ""
        follows = (made.number, made.previous) == (len(self.bodies) + 1, previous)
        self.bodies.append(body)
        return "" if follows and deciding.tells(one.kind, one.shared, made) else "DECISION_DIFFERS"


def _own(node: Any, bodies: list[bytes], held: Mapping[str, int]) -> list[AuditFinding]:
    """Whether this node's tables say what its log says."""
    found = []
    with node.store.read() as reader:
        kept, stopped = policies.decisions(reader), policies.held(reader)
        lines = [row[0] for row in reader.execute("SELECT line FROM qkd_policy UNION SELECT line FROM qkd_decision WHERE act = 'policy'")]
        unsound = [line for line in lines if (made := policies.decided(reader, node, line)) is None or not made.is_sound]
    if kept != bodies or unsound:
        found.append(_finding(node.party, None, "POLICY_DIFFERS"))
    found += [_finding(node.party, index, "LINE_NOT_STOPPED") for line, index in held.items() if line not in stopped]
    return found


def _entries(ledger: Ledger, party: PartyId, size: int) -> Iterator[tuple[int, Envelope]]:
    """Entries of this plugin in a log as held here, oldest first; a body that is none is the ledger's own finding."""
    for start in range(0, size, _PAGE):
        for index, body in enumerate(ledger.entry_bodies(party, start, min(start + _PAGE, size)), start):
            if _MARK in body:
                try:
                    yield index, parse_envelope(body)
                except VerificationError:
                    continue


_SAID: Final = {
    "DECISION_ALTERED": (
        "关于线路的提议或决定没有本机构合同密钥的有效签名，或没有两人：不予采信，合规岗查谁写入了它",
        "a request or decision about a line has no valid signature of the institution's contract key, or no two people: it counts for nothing; compliance finds out who wrote it",
    ),
    "DECISION_DIFFERS": (
        "关于线路的决定与其记录所说不同，或与前一项不连续：合规岗对照各机构的日志",
        "a decision about a line says something else than its entry, or does not follow the one before: compliance compares the logs",
    ),
    "POLICY_DIFFERS": (
        "本节点的线路策略与日志中签署的决定不符：按最严策略执行，合规岗查谁动过数据库，两人重新决定",
        "the policies of lines at this node are not those of the signed decisions in the log: the strictest counts; compliance finds out who touched the database, two people decide anew",
    ),
    "LINE_NOT_STOPPED": (
        "日志说线路因报警停用且无人恢复，节点却没有停用它：运维先停用通道，合规岗查谁动过数据库",
        "the log says that an alarm stopped a line and nobody resumed it, yet the node does not stop it: operations stop the channel, compliance finds out who touched the database",
    ),
}  # fmt: skip


def _finding(party: PartyId, index: int | None, problem: str) -> AuditFinding:
    return AuditFinding(party, index, "decision", problem, *_SAID[problem])


__all__ = ["findings"]
