"""A further institution joins the project, or one leaves: proposed, approved by two people at every other, then in force.

Document: docs/protocols/ledger.md section 7. The allow-list keeps its own two-person rule (workbench.node.trust): the two
people who approve here are the proposer and the approver of its change, which is made when the change takes effect.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workbench.contracts import Transaction
from workbench.crypto import sm3
from workbench.domain.envelope import Envelope, format_entry_ref, parse_envelope
from workbench.domain.evidence import EntryRef
from workbench.domain.membership import (
    AGREED,
    APPROVED,
    CHANGED,
    PROPOSED,
    MemberAction,
    MemberChange,
    MemberEntry,
    approves,
    format_approvals,
    read_changed,
    read_proposal,
)
from workbench.domain.merkle import SHA256
from workbench.domain.party import PartyId, Person, PersonId
from workbench.errors import Denied, NotFound, Refused, VerificationError, WorkbenchError
from workbench.node import trust as allow_list
from workbench.node.keys import parse_bundle
from workbench.node.partners import ADMINS
from workbench.node.people import DAY_MS

if TYPE_CHECKING:
    from workbench.host import Workbench

_Told = tuple[MemberEntry, Envelope, EntryRef]


@dataclass(slots=True)
class ChangeState:
    """One change as this node sees it.

    Who leaves, comes back and leaves again does so by a change of the same id; with is_open only the entries of this time
    are told, otherwise the change has taken effect here and was not proposed again.
    proposal: where it was proposed first. agreed: token of the first person here, "" none or no longer. approvals: log ->
    entry. people: the two who approved here, as the allow-list names them. lapsed: approved here, but one of the two may not
    decide any more, so that the approval carries nothing here. changed: logs in which it is in force.
    """

    change: MemberChange
    bundle: str
    proposal: EntryRef
    is_open: bool
    agreed: str = ""
    approvals: dict[PartyId, EntryRef] = field(default_factory=dict)
    people: tuple[PersonId, PersonId] | None = None
    lapsed: bool = False
    changed: dict[PartyId, int] = field(default_factory=dict)

    def missing(self) -> tuple[PartyId, ...]:
        """Institutions that have not approved, ascending."""
        return tuple(one for one in self.change.deciding if one not in self.approvals)


@dataclass(slots=True)
class _Past:
    """What a change of the same id used up when it took effect here before.

    approvals: named by own changed entries. ends: log -> last changed entry that named one of them. ended_ms: time of the
    last own one.
    """

    approvals: set[EntryRef] = field(default_factory=set)
    ends: dict[PartyId, int] = field(default_factory=dict)
    ended_ms: int = -1

    def has(self, told: _Told) -> bool:
        """Whether this entry belongs to an earlier time.

        A log that does not tell of the effect, as that of the institution that left, is judged by time: the change can
        only be proposed again after others have undone it.
        """
        entry, envelope, ref = told
        end = self.ends.get(entry.log)
        return ref in self.approvals or (envelope.time_ms <= self.ended_ms if end is None else entry.index <= end)


class MemberChanges:
    """Changes of members at one node."""

    def __init__(self, host: Workbench) -> None:
        self._host = host
        self._lock = threading.Lock()

    def members(self) -> tuple[PartyId, ...]:
        """The members as this node's own log has them now, ascending."""
        return tuple(sorted(self._host.parties()))

    def all(self) -> list[ChangeState]:
        """Every change proposed in any log that this node holds, by id. Entries that contradict themselves are left out."""
        told = [
            (one, *read) for one in self._host.ledger.member_entries() if (read := self._read(one.log, one.index)) is not None
        ]
        pasts = self._pasts(told)
        found: dict[str, ChangeState] = {}
        for entry in told:
            one, envelope, ref = entry
            if one.kind == PROPOSED:
                try:
                    change, bundle = read_proposal(envelope, self._host.project)
                except VerificationError:
                    continue
                is_open = change.id not in pasts or not pasts[change.id].has(entry)
                if change.id not in found or (is_open and not found[change.id].is_open):
                    found[change.id] = ChangeState(change, bundle, ref, is_open)
        deciders = self._deciders()
        for entry in told:
            one, envelope, ref = entry
            state = found.get(one.change)
            if state is None or (state.is_open and one.change in pasts and pasts[one.change].has(entry)):
                continue
            if one.kind == AGREED and one.log == self._host.party:
                state.agreed = state.agreed or (envelope.actor if self._agrees(envelope, deciders) else "")
            elif one.kind == APPROVED and approves(envelope, state.change):
                if one.log == self._host.party and state.is_open and one.log not in state.approvals:
                    state.people = self._approvers(ref, deciders)
                    state.lapsed = state.people is None
                    if state.lapsed:
                        continue
                state.approvals.setdefault(one.log, ref)
            elif one.kind == CHANGED and one.valid:
                state.changed.setdefault(one.log, one.index)
        return [found[name] for name in sorted(found)]

    def propose(self, *, action: MemberAction, party: str, bundle: str, by: Person) -> MemberChange:
        """Write the proposal into the own log. Raises Refused or VerificationError when the change makes no sense."""
        host = self._host
        if action is MemberAction.JOIN:
            party = str(parse_bundle(bundle.encode()).party)
        change = self._checked(
            MemberChange(
                host.project, action, PartyId(party), sm3.digest(bundle.encode()).hex() if bundle else "", self.members()
            ),
            bundle,
            by,
        )
        if any(one.change.id == change.id and one.is_open and not one.changed for one in self.all()):
            raise Refused("同一变更已有提议，请批准", "This change is proposed already; approve it", code="MEMBER_PROPOSED")
        values = {
            "change": change.id,
            "action": change.action.value,
            "party": change.party,
            "bundle": bundle,
            "bundle_sm3": change.bundle_sm3,
            "members": " ".join(change.members),
        }
        host.store.write(lambda tx: host.evidence.append(tx, PROPOSED, values, actor=by.token))
        host.sealing.wake()
        return change

    def approve(self, change_id: str, *, by: Person) -> str:
        """As first person agree, as second one approve; "agreed" or "approved".

        Raises NotFound, Denied for the person who agreed already, Refused when the proposal is not sealed here, is not
        about the members of now, or was approved before. An agreement counts while its person is an administrator here
        and for `members.agreement_days`; after that the next person agrees as the first one. An approval counts here, until
        it takes effect, while both its people are administrators here; after that two people approve anew.
        """
        host = self._host
        with self._lock:
            state = next((one for one in self.all() if one.change.id == change_id), None)
            if state is None:
                raise NotFound("没有这份成员变更提议", "There is no such change of members", code="NO_MEMBER_CHANGE")
            change = state.change
            if host.party not in change.deciding:
                raise Refused(
                    "此变更关于本机构，由其他机构决定", "This change is about this institution; the others decide",
                    code="NOT_DECIDING",
                )  # fmt: skip
            if not state.is_open and change.members == self.members():
                raise _other_members()  # undone since: it is to be proposed again
            if host.party in state.approvals:
                raise Refused("本机构已批准", "This institution has approved already", code="MEMBER_APPROVED")
            if state.proposal.log != host.party and not self._is_final(state.proposal):
                raise Refused(
                    "提议尚未共签定稿，请稍候", "The proposal is not co-signed yet; wait a moment", code="NOT_SEALED"
                )
            self._checked(change, state.bundle, by)
            values = {"change": change.id, "action": change.action.value, "party": str(change.party)}
            if not state.agreed:
                host.store.write(lambda tx: host.evidence.append(tx, AGREED, values, actor=by.token))
                host.sealing.wake()
                return "agreed"
            first = state.agreed
            if first == by.token:
                raise Denied("须由另一位批准", "Another person must approve", code="SELF_APPROVAL")
            more = {
                "bundle_sm3": change.bundle_sm3,
                "people": "2",
                "proposal": format_entry_ref(state.proposal),
                "first": first,
                "second": by.token,
            }
            host.store.write(lambda tx: host.evidence.append(tx, APPROVED, values | more, actor=by.token))
        host.sealing.wake()
        self.settle()
        return "approved"

    def settle(self) -> list[str]:
        """Put into force what every deciding institution has approved, sealed; ids of what took effect now."""
        entries = self._host.ledger.member_entries()
        if not entries:
            return []
        self._host.ledger.judge_members()
        done = []
        with self._lock:
            for state in self.all():
                own = self._host.party
                is_mine = state.is_open and state.people is not None and own not in state.changed
                if not is_mine or state.missing() or not all(map(self._is_final, state.approvals.values())):
                    continue
                try:
                    self._take_effect(state)
                except WorkbenchError as error:  # a later change came first; people propose anew
                    self._host.log_fault(error)
                    continue
                done.append(state.change.id)
        if done:
            self._host.ledger.judge_members()
            self._host.sealing.wake()
        return done

    # ---- private

    def _pasts(self, told: Sequence[_Told]) -> dict[str, _Past]:
        """By id, what the changes that took effect here have used up; nothing for those that never did."""
        pasts: dict[str, _Past] = {}
        changed = [(one, envelope, set(read_changed(envelope).approvals)) for one, envelope, _ in told if one.kind == CHANGED]
        for one, envelope, approvals in changed:
            if one.log == self._host.party:
                past = pasts.setdefault(one.change, _Past())
                past.approvals |= approvals
                past.ended_ms = max(past.ended_ms, envelope.time_ms)
        for one, _, approvals in changed:
            if one.change in pasts and not approvals.isdisjoint(pasts[one.change].approvals):
                ends = pasts[one.change].ends
                ends[one.log] = max(one.index, ends.get(one.log, -1))
        return pasts

    def _deciders(self) -> Mapping[str, PersonId]:
        """Token -> account of everybody who may decide about members here now."""
        now = self._host.now_ms()
        return {
            one.token: one.person
            for one in self._host.people.everyone()
            if one.roles & ADMINS and (one.until_ms is None or now < one.until_ms)
        }

    def _agrees(self, envelope: Envelope, deciders: Mapping[str, PersonId]) -> bool:
        """Whether an agreement still counts: not too old, and given by who may still decide here."""
        age_ms = self._host.now_ms() - envelope.time_ms
        return age_ms <= self._host.setting("members.agreement_days") * DAY_MS and envelope.actor in deciders

    def _approvers(self, ref: EntryRef, deciders: Mapping[str, PersonId]) -> tuple[PersonId, PersonId] | None:
        """The two people of an own approval; None when one of them may not decide any more, or a restore lost who it was.

        Who is dismissed, or whose account was taken over, must not have decided what takes effect only now.
        """
        with self._host.store.read() as reader:
            values = self._host.evidence.view(reader, ref.index)
        first, second = (deciders.get(values.get(name, "")) for name in ("first", "second"))
        return (first, second) if first is not None and second is not None else None

    def _take_effect(self, state: ChangeState) -> None:
        host = self._host
        change = state.change
        if change.members != self.members():
            raise _other_members()
        assert state.people is not None, "settle asks for it"
        first, second = state.people
        approvals = [state.approvals[one] for one in change.deciding]
        values = {
            "change": change.id,
            "action": change.action.value,
            "party": str(change.party),
            "bundle_sm3": change.bundle_sm3,
            "approvals": format_approvals(approvals),
        }

        def also(tx: Transaction) -> None:
            host.evidence.append(tx, CHANGED, values)

        host.partners.carry_out(
            lambda trust: (
                allow_list.propose_bundle(trust, state.bundle.encode(), by=first, at_ms=host.now_ms())
                if change.action is MemberAction.JOIN
                else allow_list.propose_removal(trust, change.party, by=first, at_ms=host.now_ms())
            ),
            by=second,
            also=also,
        )

    def _checked(self, change: MemberChange, bundle: str, by: Person) -> MemberChange:
        """The change, if it fits the members and the allow-list of now."""
        host = self._host
        if change.members != self.members():
            raise _other_members()
        if change.action is MemberAction.JOIN:
            if change.party in change.members:
                raise Refused("该机构已是成员", "That institution is a member already", code="ALREADY_MEMBER")
            allow_list.propose_bundle(host.partners.trust, bundle.encode(), by=by.person, at_ms=host.now_ms())
        elif change.party not in change.members:
            raise NotFound("该机构不是成员", "That institution is not a member", code="UNKNOWN_PARTY")
        elif len(change.members) <= 2:
            raise Refused(
                "只剩两家时不能再退出一家", "With two members left none can leave", code="TOO_FEW_MEMBERS"
            )
        return change

    def _is_final(self, ref: EntryRef) -> bool:
        return self._host.ledger.seal(ref.log, ref.index).is_final

    def _read(self, log: PartyId, index: int) -> tuple[Envelope, EntryRef] | None:
        bodies = self._host.ledger.entry_bodies(log, index, index + 1)
        try:
            return (parse_envelope(bodies[0]), EntryRef(log, index, SHA256.leaf(bodies[0]))) if bodies else None
        except VerificationError:
            return None


def _other_members() -> Refused:
    return Refused(
        "成员在提议之后已有变动，请重新提议", "The members have changed since this was proposed; propose it again",
        code="STALE_PROPOSAL",
    )  # fmt: skip


__all__ = ["ChangeState", "MemberChanges"]
