"""A fourth institution joins and one leaves: docs/protocols/ledger.md section 7, through the gate of real nodes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.app.desk import opened
from tests.flows import population
from tests.flows.institutions import Institutions, fresh_workspace, running, write_settings
from workbench.domain.party import PartyId, Role
from workbench.errors import Denied, NotFound, PeerError, Refused
from workbench.node.keys import format_bundle, load_bundle
from workbench.node.people import DAY_MS
from workbench.node.trust import parse_trust
from workbench.verify import verify_receipt
from workbench.workspace import create_workspace, open_node

THREE = ("broker", "cardnet", "bank")


@dataclass
class Worlds:
    """One world at a time, for a story that cannot be told twice in the same. told: where it was told, and nothing happened since."""

    factory: pytest.TempPathFactory
    stack: ExitStack
    told: Institutions | None = None

    def fresh(self) -> Institutions:
        self.told = None
        self.stack.close()
        return self.stack.enter_context(three_and_one(self.factory.mktemp("members")))


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    with ExitStack() as stack:
        yield Worlds(tmp_path_factory, stack)


@contextmanager
def three_and_one(folder: Path) -> Iterator[Institutions]:
    """Three members, and telecom, which has pinned them and waits outside."""
    project = fresh_workspace()
    outside = create_workspace(folder / "outside", kind="test", parties=("telecom",), project=project.project)
    shutil.move(outside.folder / "telecom", project.folder / "telecom")
    everybody = replace(project, parties=(*THREE, PartyId("telecom")))
    for party in everybody.parties:
        write_settings(everybody, party, node__seal_interval_ms=50)
    with running(everybody, THREE) as made:
        node = open_node(everybody, "telecom")
        people = {str(one.person): one for one in node.people.everyone()}
        bundles = [format_bundle(made.nodes[party].keys.bundle) for party in THREE]
        node.partners.enrol(bundles, proposed_by=people["operator"], approved_by=people["admin"])
        node.close()
        yield made
    shutil.rmtree(project.folder)


def bundle_of(four: Institutions) -> str:
    return format_bundle(load_bundle(four.workspace.node_folder("telecom") / "keys")).decode()


def settled(four: Institutions) -> bool:
    return all(node.ledger.pending()[1] == 0 for node in four.nodes.values())


def test_members_change_only_when_two_people_of_every_institution_want_it(worlds: Worlds) -> None:
    four = worlds.fresh()
    tell_the_story(four)
    worlds.told = four


def tell_the_story(four: Institutions) -> None:
    """One story: refused short cuts, a join, proofs on both sides of it, a leave, and what the one who left can still do."""
    broker = four.nodes["broker"]
    with pytest.raises(NotFound):
        four.call("broker", Role.OPERATOR, "ledger.member_approve", change="m-" + "0" * 32)
    proposed = four.call("broker", Role.OPERATOR, "ledger.member_propose", action="join", bundle=bundle_of(four))
    change = proposed.change
    with pytest.raises(Refused) as again:
        four.call("broker", Role.ADMIN, "ledger.member_propose", action="join", bundle=bundle_of(four))
    assert again.value.code == "MEMBER_PROPOSED"

    def proposal_is_sealed_everywhere() -> bool:
        return all(
            any(one.change.id == change and (one.proposal.log == party or node.members._is_final(one.proposal))
                for one in node.members.all())
            for party, node in four.nodes.items()
        )  # fmt: skip

    four.wait_until(proposal_is_sealed_everywhere)
    before = broker.ledger.size("broker")
    for party in THREE:
        first = four.call(party, Role.OPERATOR, "ledger.member_approve", change=change)
        assert first.state == "agreed"
        with pytest.raises(Denied) as alone:
            four.call(party, Role.OPERATOR, "ledger.member_approve", change=change)
        assert alone.value.code == "SELF_APPROVAL"
        if party != THREE[-1]:
            assert four.call(party, Role.ADMIN, "ledger.member_approve", change=change).state == "approved"
    assert all("telecom" not in node.parties() for node in four.nodes.values())  # one institution is missing still
    assert four.call(THREE[-1], Role.ADMIN, "ledger.member_approve", change=change).state == "approved"
    four.wait_until(lambda: all("telecom" in node.parties() for node in four.nodes.values()))
    row = four.call("cardnet", Role.COMPLIANCE, "ledger.members")
    assert row.members == ["bank", "broker", "cardnet", "telecom"]
    four.wait_until(lambda: in_force(four, "cardnet", change))

    # the new member mirrors everything from entry 0 and counts from the change on
    four.start("telecom")
    four.wait_until(lambda: all(four.nodes["telecom"].ledger.size(one) == four.nodes[one].ledger.size(one) for one in THREE))
    four.wait_until(lambda: settled(four))
    # Each judges by itself, from the logs that it holds, from where on the new member counts.
    four.wait_until(lambda: all("broker" in node.ledger.keys()["telecom"].joined for node in four.nodes.values()))
    joined_at = four.nodes["bank"].ledger.keys()["telecom"].joined["broker"]
    assert joined_at > before
    four.wait_until(lambda: broker.ledger.seal("broker", joined_at).state == "FULL")
    old, new = broker.ledger.seal("broker", 3), broker.ledger.seal("broker", joined_at)
    assert old.state == "FULL"
    assert old.cosigners == ("bank", "broker", "cardnet")
    assert new.cosigners == ("bank", "broker", "cardnet", "telecom")
    assert four.nodes["telecom"].ledger.seal("broker", 3).cosigners == old.cosigners

    old_receipt = broker.ledger.receipt("broker", 3)
    old_trust = broker.trust_keys()

    # cardnet leaves: the three others decide; a job with it is sealed before
    job = four.run("broker", "cardnet", population.RICH)[0].job
    four.wait_until(lambda: broker.jobs.get(job).state == "RELEASED" and settled(four))
    leaving = four.call("bank", Role.OPERATOR, "ledger.member_propose", action="leave", party="cardnet").change
    deciding = ("broker", "bank", "telecom")
    four.wait_until(
        lambda: all(any(one.change.id == leaving for one in four.nodes[party].members.all()) for party in four.nodes)
    )
    with pytest.raises(Refused) as subject:
        four.call("cardnet", Role.OPERATOR, "ledger.member_approve", change=leaving)
    assert subject.value.code == "NOT_DECIDING"
    for party in deciding:
        for role in (Role.OPERATOR, Role.ADMIN):
            approve_when_sealed(four, party, role, leaving)
    four.wait_until(lambda: all("cardnet" not in four.nodes[party].parties() for party in deciding))
    four.wait_until(lambda: "broker" in broker.ledger.keys()["cardnet"].left)  # judged just after the allow-list changed
    left_at = broker.ledger.keys()["cardnet"].left["broker"]

    # nothing of the one that left counts from there on, and its calls are refused; its log and old proofs still verify
    four.wait_until(lambda: settled_of(four, deciding))
    after = broker.ledger.seal("broker", left_at)
    assert "cardnet" not in (*after.cosigners, *after.missing)
    assert broker.ledger.seal("broker", 3).cosigners == ("bank", "broker", "cardnet")
    with pytest.raises(PeerError) as outside:
        four.nodes["cardnet"].links.call("broker", "hello", b"", timeout_s=5)  # type: ignore[arg-type]
    assert outside.value.code == "UNKNOWN_PARTY"
    assert verify_receipt(old_receipt, trust=old_trust).holds
    the_story_of_a_job_with_who_left_is_whole(four, job)
    trust_text = four.call("broker", Role.COMPLIANCE, "ledger.members").trust
    new_trust = {party: one.for_notes() for party, one in parse_trust(trust_text.encode()).items()}
    assert json.loads(trust_text)["v"] == 2
    assert new_trust["cardnet"].left["broker"] == left_at
    assert verify_receipt(old_receipt, trust=new_trust).holds
    assert verify_receipt(broker.ledger.receipt("cardnet", 3), trust=new_trust).holds
    assert broker.ledger.audit().holds
    assert four.nodes["telecom"].ledger.audit().holds


def the_story_of_a_job_with_who_left_is_whole(four: Institutions, job: str) -> None:
    """The log of who left lies here as before: nothing of the job is called one-sided, missing or pending."""
    story = four.call("broker", Role.COMPLIANCE, "evidence.timeline", job=job, limit=1000)
    assert {one.log for one in story.entries} == {"broker", "cardnet"} and story.one_sided == []
    check = four.call("broker", Role.COMPLIANCE, "evidence.check", job=job)
    assert (check.checked, check.pending, check.changed, check.missing) == (story.count, 0, 0, [])
    made, _ = opened(four, Role.COMPLIANCE, job=job)
    assert made.answer.state == "sealed" and "丙卡组织" in made.answer.reason
    assert {one["party"] for one in made.lanes.lanes} == {"bank", "broker", "cardnet", "telecom"}
    assert {(one["from"], one["to"]) for one in made.lanes.rows if one["kind"] == "message"} == {("broker", "cardnet"), ("cardnet", "broker")}


def decide(four: Institutions, deciding: tuple[str, ...], **request: str) -> str:
    """Propose at the bank, and approve by two people of each institution; the id."""
    change = str(four.call("bank", Role.OPERATOR, "ledger.member_propose", **request).change)
    for party in deciding:
        members = four.nodes[party].members
        four.wait_until(lambda members=members: any(one.change.id == change and one.is_open for one in members.all()))
        for role, state in ((Role.ADMIN, "agreed"), (Role.OPERATOR, "approved")):  # who agreed earlier was the operator
            assert approve_when_sealed(four, party, role, change) == state
    return change


def test_who_left_can_join_and_leave_again_and_no_earlier_agreement_or_approval_serves_twice(worlds: Worlds) -> None:
    """After the story above: every change but the first has an id that was used before."""
    four, worlds.told = worlds.told, None
    if four is None:
        tell_the_story(four := worlds.fresh())
    deciding = ("broker", "bank", "telecom")
    bundle = format_bundle(four.nodes["cardnet"].keys.bundle).decode()
    made: list[str] = []
    for action in ("join", "leave", "join"):
        request = {"action": action, **({"bundle": bundle} if action == "join" else {"party": "cardnet"})}
        if len(made) == 1:  # in force once, undone since: nobody has proposed it again
            old = next(one.change.id for one in four.nodes["broker"].members.all() if one.change.action == "leave")
            with pytest.raises(Refused) as stale:
                four.call("broker", Role.OPERATOR, "ledger.member_approve", change=old)
            assert stale.value.code == "STALE_PROPOSAL"
        made.append(decide(four, deciding, **request))
        four.wait_until(
            lambda action=action: all(("cardnet" in four.nodes[party].parties()) is (action == "join") for party in deciding)
        )
        four.wait_until(lambda: all(sorted(row_of(four, party, made[-1]).in_force) == sorted(deciding) for party in deciding))
        four.wait_until(lambda: settled_of(four, deciding))
        assert row_of(four, "broker", made[-1]).state == "in force"
    assert made[0] == made[2]
    assert made[1] == old


def row_of(four: Institutions, party: str, change: str) -> Any:
    rows = four.call(party, Role.COMPLIANCE, "ledger.members").changes
    return next(one for one in rows if one.change == change)


def test_an_agreement_ends_with_its_person_and_after_some_days(apart: Institutions) -> None:
    """Otherwise one administrator could complete what a colleague wanted long ago, or before they were dismissed."""
    broker, bank = apart.nodes["broker"], apart.nodes["bank"]
    change = apart.call("broker", Role.OPERATOR, "ledger.member_propose", action="leave", party="cardnet").change
    apart.wait_until(lambda: bool(bank.members.all()))
    clock = broker.now_ms
    for party in ("broker", "bank"):
        assert approve_when_sealed(apart, party, Role.OPERATOR, change) == "agreed"
    bank.people.disable("operator", by=apart.caller("bank", Role.ADMIN))
    assert approve_when_sealed(apart, "bank", Role.ADMIN, change) == "agreed"
    with pytest.raises(Denied) as alone:
        approve_when_sealed(apart, "bank", Role.ADMIN, change)
    assert alone.value.code == "SELF_APPROVAL"
    broker.now_ms = lambda: clock() + 7 * DAY_MS + 1
    assert approve_when_sealed(apart, "broker", Role.ADMIN, change) == "agreed"
    broker.now_ms = lambda: clock() + 6 * DAY_MS  # the operator's counts still
    assert approve_when_sealed(apart, "broker", Role.ADMIN, change) == "approved"

    # Nor does an approval count at home once one of its two people was disabled before it took effect.
    seconds = {
        node: node.people.add(person="second", display_name="另一位", roles=[Role.OPERATOR], password="Korrekt-Pferd-7-Batterie")
        for node in (broker, bank)
    }
    broker.people.disable("operator", by=apart.caller("broker", Role.ADMIN))
    row = row_of(apart, "broker", change)
    assert (row.state, row.lapsed, row.approved) == ("agreed", True, [])  # what the admin agreed to above counts still
    assert bank.members.approve(change, by=seconds[bank]) == "approved"
    apart.wait_until(lambda: "cardnet" not in bank.parties())  # the bank cannot know: it has the broker's signed word
    apart.wait_until(lambda: "bank" in row_of(apart, "broker", change).in_force)
    broker.members.settle()
    assert "cardnet" in broker.parties()
    assert broker.members.approve(change, by=seconds[broker]) == "approved"
    apart.wait_until(lambda: "cardnet" not in broker.parties())
    apart.wait_until(lambda: row_of(apart, "broker", change).state == "in force")
    assert not row_of(apart, "broker", change).lapsed
    by = [one for one in broker.partners.trust.changes if one.proposal.party == "cardnet"][-1]
    assert (by.proposal.proposed_by, by.approved_by) == ("admin", "second")
    apart.wait_until(lambda: sorted(row_of(apart, "bank", change).in_force) == ["bank", "broker"])


def in_force(four: Institutions, party: str, change: str) -> bool:
    rows = four.call(party, Role.COMPLIANCE, "ledger.members").changes
    return any(one.change == change and one.state == "in force" for one in rows)


def approve_when_sealed(four: Institutions, party: str, role: Role, change: str) -> str:
    node = four.nodes[party]
    state = next(one for one in node.members.all() if one.change.id == change)
    four.wait_until(lambda: state.proposal.log == party or node.members._is_final(state.proposal))
    return str(four.call(party, role, "ledger.member_approve", change=change).state)


def settled_of(four: Institutions, parties: tuple[str, ...]) -> bool:
    return all(four.nodes[party].ledger.pending()[1] == 0 for party in parties)


def test_a_change_that_no_approvals_carry_changes_nothing(apart: Institutions) -> None:
    """An institution cannot drop another one by claiming so in its own log."""
    broker, bank = apart.nodes["broker"], apart.nodes["bank"]
    values = {
        "change": "m-" + "ab" * 16, "action": "leave", "party": "cardnet", "bundle_sm3": "",
        "approvals": f"entry:broker:0:{'00' * 32}",
    }  # fmt: skip
    ref = broker.store.write(lambda tx: broker.evidence.append(tx, "ledger.member_changed", values))
    apart.wait_until(lambda: broker.ledger.seal("broker", ref.index).state == "FULL")
    assert "cardnet" in broker.ledger.seal("broker", ref.index).cosigners
    assert any(line.name == "ledger.members" and line.state == "warning" for line in bank.health())
