"""Changes of members as values: what the entries say, the id that everybody confirms, and when a change is complete.

Document: docs/protocols/ledger.md section 7. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from workbench.crypto import canonical, sm3
from workbench.domain.envelope import Envelope, format_entry_ref, parse_entry_ref
from workbench.domain.evidence import EntryRef
from workbench.domain.party import PartyId, parse_party_id
from workbench.errors import VerificationError

PROPOSED = "ledger.member_proposed"
AGREED = "ledger.member_agreed"
APPROVED = "ledger.member_approved"
CHANGED = "ledger.member_changed"

_LABEL = b"workbench/v1/member-change\n"
_CHANGE = re.compile(r"m-[0-9a-f]{32}")
_SM3 = re.compile(r"[0-9a-f]{64}|")


class MemberAction(StrEnum):
    """What a change does."""

    JOIN = "join"
    LEAVE = "leave"


@dataclass(frozen=True, slots=True)
class MemberChange:
    """A change of members, the same at every institution. bundle_sm3: of the new member's public bundle, "" to leave.

    members: before the change, ascending.
    """

    project: str
    action: MemberAction
    party: PartyId
    bundle_sm3: str
    members: tuple[PartyId, ...]

    @property
    def id(self) -> str:
        """What two people of every institution confirm."""
        text = canonical.format(
            {
                "action": self.action.value,
                "bundle_sm3": self.bundle_sm3,
                "members": list(self.members),
                "party": self.party,
                "project": self.project,
            }
        )
        return "m-" + sm3.digest(_LABEL + text).hex()[:32]

    @property
    def deciding(self) -> tuple[PartyId, ...]:
        """The institutions that must approve: every member but the one it is about, ascending."""
        return tuple(one for one in self.members if one != self.party)


def read_proposal(envelope: Envelope, project: str) -> tuple[MemberChange, str]:
    """The change that a proposal entry asks for, and the text of the bundle. Raises VerificationError (MEMBER_CHANGE)."""
    shared = envelope.shared
    try:
        if envelope.kind != PROPOSED:
            raise ValueError("another kind")
        members = tuple(parse_party_id(one) for one in shared["members"].split(" "))
        change = MemberChange(
            project,
            MemberAction(shared["action"]),
            parse_party_id(shared["party"]),
            shared["bundle_sm3"],
            members,
        )
        bundle = shared["bundle"]
        digest = sm3.digest(bundle.encode()).hex() if bundle else ""
        joins = change.action is MemberAction.JOIN
        if list(members) != sorted(set(members)) or change.id != shared["change"] or digest != change.bundle_sm3:
            raise ValueError("it contradicts itself")
        if joins is not bool(bundle) or joins is (change.party in members):
            raise ValueError("it does not fit its action")
    except (KeyError, ValueError) as error:
        raise not_a_change(envelope.log) from error
    return change, bundle


def approves(envelope: Envelope, change: MemberChange) -> bool:
    """Whether an entry is an institution's approval of exactly this change."""
    shared = envelope.shared
    expected = {
        "change": change.id, "action": change.action.value, "party": change.party, "bundle_sm3": change.bundle_sm3,
    }  # fmt: skip
    return envelope.kind == APPROVED and all(shared.get(name) == value for name, value in expected.items())


@dataclass(frozen=True, slots=True)
class ChangedEntry:
    """What a `ledger.member_changed` entry says: from its place on, `party` is a member of that log, or no longer.

    approvals: one entry of every deciding institution.
    """

    change: str
    action: MemberAction
    party: PartyId
    bundle_sm3: str
    approvals: tuple[EntryRef, ...]


def read_changed(envelope: Envelope) -> ChangedEntry:
    """The parsed entry. Raises VerificationError (MEMBER_CHANGE)."""
    shared = envelope.shared
    try:
        if envelope.kind != CHANGED or not _CHANGE.fullmatch(shared["change"]) or not _SM3.fullmatch(shared["bundle_sm3"]):
            raise ValueError("another kind")
        approvals = tuple(parse_entry_ref(one) for one in shared["approvals"].split(" "))
        if [one.log for one in approvals] != sorted({one.log for one in approvals}):
            raise ValueError("approvals repeat or are not in order")
        return ChangedEntry(
            shared["change"],
            MemberAction(shared["action"]),
            parse_party_id(shared["party"]),
            shared["bundle_sm3"],
            approvals,
        )
    except (KeyError, ValueError, VerificationError) as error:
        raise not_a_change(envelope.log) from error


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """Where an entry about members lies. valid: of a change, that its approvals are held here and agree."""

    log: PartyId
    index: int
    kind: str
    change: str
    valid: bool


def format_approvals(approvals: Iterable[EntryRef]) -> str:
    """How the approvals stand in `ledger.member_changed`."""
    return " ".join(format_entry_ref(one) for one in sorted(approvals, key=lambda one: one.log))


def is_complete(entry: ChangedEntry, members: Collection[PartyId], approvals: Mapping[PartyId, Envelope]) -> bool:
    """Whether a changed entry rests on an approval of this change by every member but the one it is about.

    members: of its log just before it. approvals: the envelopes at the places it names, by log.
    """
    deciding = set(members) - {entry.party}
    fits = all(
        one.kind == APPROVED
        and one.log == log
        and one.shared.get("change") == entry.change
        and one.shared.get("action") == entry.action.value
        and one.shared.get("party") == entry.party
        and one.shared.get("bundle_sm3") == entry.bundle_sm3
        for log, one in approvals.items()
    )
    return fits and set(approvals) == {one.log for one in entry.approvals} and deciding <= set(approvals)


def not_a_change(log: PartyId) -> VerificationError:
    """What is raised for an entry about members that says nothing usable."""
    return VerificationError(
        f"{log} 日志中关于成员变更的记录不合格式，不予采信：请 {log} 的合规人员核查",
        f"an entry about a change of members in the log of {log} is malformed; it changes nothing: compliance of {log} "
        "must look into it",
        code="MEMBER_CHANGE",
        details={"log": log},
    )


__all__ = [
    "AGREED",
    "APPROVED",
    "CHANGED",
    "PROPOSED",
    "ChangedEntry",
    "MemberAction",
    "MemberChange",
    "MemberEntry",
    "approves",
    "format_approvals",
    "is_complete",
    "not_a_change",
    "read_changed",
    "read_proposal",
]
