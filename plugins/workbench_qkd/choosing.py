"""Which of several lines to a partner a session takes. Document: docs/quantum-channel.md section 13.

Only lines of the partner's tenant are looked at. The strictest policy among them counts: another line is taken in a line's place,
a weaker policy, or a line of another tenant, never.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from workbench.domain.party import PartyId
from workbench.errors import KeyUnavailable
from workbench_kme.service import views
from workbench_qkd import policies, tenants
from workbench_qkd.model import CUT, POLICIES, counts, needs_share
from workbench_qkd.service import ChannelService


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line that leads to the partner. policy: in force here; held: an alarm stopped it."""

    line: views.Line
    policy: str
    held: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The line for a session and the policy it is under. passed: lines before it by name -> why they were not taken."""

    taken: Candidate
    policy: str
    is_usable: bool
    passed: dict[str, str]
    among: tuple[Candidate, ...]

    def of(self, line: str) -> Candidate | None:
        """The line of this name, where it leads to the partner."""
        return next((one for one in self.among if one.line.line == line), None)


def why_not(one: Candidate, policy: str, required_origins: Collection[str]) -> str:
    """Why a session under this policy cannot take a key of this line now, "" if it can."""
    line = one.line
    if one.policy != policy:
        return "policy"
    if one.held:
        return "held"
    if line.state in CUT:
        return line.state
    if not line.peer_reachable:
        return "peer-unreachable"
    if needs_share(policy) and not counts(policy, line.provenance, required_origins):
        return "origin"
    if needs_share(policy) and line.available <= 0:
        return "no keys"
    return ""


def first_usable(candidates: Sequence[Candidate], required_origins: Collection[str]) -> Choice:
    """Pure. The first usable line by name; where none is, the first of the strictest policy, whose refusal then says what is missing.

    candidates: at least one.
    """
    ordered = tuple(sorted(candidates, key=lambda one: one.line.line))
    policy = min((one.policy for one in ordered), key=POLICIES.index)
    passed: dict[str, str] = {}
    for one in ordered:
        reason = why_not(one, policy, required_origins)
        if not reason:
            return Choice(one, policy, True, passed, ordered)
        passed[one.line.line] = reason
    first = next(one for one in ordered if one.policy == policy)
    return Choice(first, policy, False, {}, ordered)


def choose(service: ChannelService, peer: PartyId) -> Choice:
    """The line for a session to a partner now, from what the entity and this node say. Raises KeyUnavailable NO_LINE, Refused TENANT_DIFFERS, and as the entity."""
    host = service.host
    leading = [one for one in service.client().lines() if one.peer_site == peer]
    if not leading:
        raise no_line(peer)
    tag = tenants.tag_of(host, peer)
    found = [one for one in leading if one.tenant == tag]
    if not found:
        raise tenants.differs(peer, tag)
    with host.store.read() as reader:
        held = policies.held(reader)
        made = [Candidate(one, policies.in_force(reader, host, one.line, one.policy), one.line in held) for one in found]
    return first_usable(made, host.setting("qkd.required_origins"))


def no_line(peer: str) -> KeyUnavailable:
    """No line of this site leads there."""
    return KeyUnavailable(
        f"没有通往 {peer} 的线路，不改走其他通道。运维接通线路，或由双方改设 node.channels",
        f"No line leads to {peer}, and no other channel is used instead. Operations connect one, or both ends change node.channels",
        code="NO_LINE",
    )


__all__ = ["CUT", "Candidate", "Choice", "choose", "first_usable", "no_line", "why_not"]
