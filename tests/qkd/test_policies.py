"""What one person may decide about a line, what takes two, and what no failure in between may weaken."""

from __future__ import annotations

from typing import Any

import pytest

from tests.qkd.conftest import Site
from workbench.domain.party import Role
from workbench.errors import Denied, Refused, WorkbenchError

REASON = "线路设备检修，两日内恢复"


def proposed(site: Site, policy: str = "pqc-only", role: Role = Role.OPERATOR) -> str:
    reply = site.call("qkd.propose_policy", role, line="a1", policy=policy, reason=REASON)
    return str(reply.proposal.proposal)


def test_a_weaker_policy_takes_a_second_person_and_names_both_in_one_entry(site: Site) -> None:
    name = proposed(site)
    assert site.line().policy == "hybrid-required", "nothing changes before the second person"
    assert site.entity.asked == []
    with pytest.raises(Denied) as refused:
        site.call("qkd.confirm", proposal=name)
    assert refused.value.code == "SELF_APPROVAL"
    site.call("qkd.confirm", Role.COMPLIANCE, proposal=name)
    assert site.line().policy == "pqc-only"
    assert ("set_policy", "a1", "pqc-only") in site.entity.asked
    entry = site.entries("qkd.downgraded")[-1]
    people = {one.person: one.token for one in site.node.people.everyone()}
    assert (entry.values["first"], entry.values["second"]) == (people["operator"], people["compliance"])
    assert entry.values["before"] == "hybrid-required"
    assert entry.values["reason"] == REASON


def test_a_stricter_policy_is_one_persons_act_and_holds_at_once(site: Site) -> None:
    reply = site.call("qkd.propose_policy", Role.COMPLIANCE, line="a1", policy="qkd-required", reason=REASON)
    assert (reply.proposal, reply.policy) == (None, "qkd-required")
    found = site.line()
    assert (found.policy, found.told_policy) == ("qkd-required", "qkd-required")
    assert not found.counts, "simulated keys are no keys of a device"
    assert site.entries("qkd.policy_tightened")[-1].values["policy"] == "qkd-required"


def test_an_entity_that_cannot_be_told_leaves_the_line_stricter_never_weaker(site: Site) -> None:
    name = proposed(site)
    site.entity.before = lambda: None
    real = site.entity.set_policy

    def failing(*_: Any, **__: Any) -> Any:
        raise Refused("写不了", "cannot write", code="STORAGE")

    site.entity.set_policy = failing  # type: ignore[method-assign]
    with pytest.raises(Refused):
        site.call("qkd.confirm", Role.COMPLIANCE, proposal=name)
    assert site.line().policy == "hybrid-required", "decided, but its entity has not been told: the stricter one counts"
    site.entity.set_policy = real  # type: ignore[method-assign]
    site.follow()
    assert site.line().policy == "pqc-only"


def test_an_entity_with_a_weaker_policy_than_decided_is_brought_back(site: Site) -> None:
    site.call("qkd.propose_policy", line="a1", policy="qkd-required", reason=REASON)
    site.entity.change(policy="pqc-only")
    assert site.line().policy == "qkd-required", "what people decided counts while the two disagree"
    site.follow()
    assert site.entity.known["a1"].policy == "qkd-required"


def test_a_proposal_ends_with_its_time_and_with_a_change_of_the_policy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    name = proposed(site)
    later = site.node.now_ms() + 25 * 3_600_000
    with monkeypatch.context() as patched:
        patched.setattr(site.node, "now_ms", lambda: later)
        with pytest.raises(Refused) as over:
            site.three.nodes["broker"].gate.registry.named("qkd.confirm").run(
                site.node.gate.context(site.three.caller("broker", Role.COMPLIANCE)), _name(name)
            )
        assert over.value.code == "PROPOSAL_OVER"
    site.call("qkd.propose_policy", Role.COMPLIANCE, line="a1", policy="qkd-required", reason=REASON)
    with pytest.raises(Refused) as moved:
        site.call("qkd.confirm", Role.COMPLIANCE, proposal=name)
    assert moved.value.code == "POLICY_MOVED"
    assert site.line().policy == "qkd-required"


def _name(name: str) -> Any:
    from workbench_qkd.messages import ProposalName

    return ProposalName(proposal=name)


def test_a_declined_proposal_stays_declined_and_the_same_one_is_not_asked_twice(site: Site) -> None:
    name = proposed(site)
    with pytest.raises(Refused) as twice:
        proposed(site, role=Role.COMPLIANCE)
    assert twice.value.code == "PROPOSED_ALREADY"
    site.call("qkd.decline", Role.COMPLIANCE, proposal=name, reason="没有必要，等线路恢复")
    with pytest.raises(Refused) as over:
        site.call("qkd.confirm", Role.COMPLIANCE, proposal=name)
    assert over.value.code == "PROPOSAL_OVER"
    assert site.entries("qkd.proposal_declined")[-1].values["proposal"] == name


@pytest.mark.parametrize("role", [Role.MARKETING, Role.APPROVER, Role.AUDITOR, Role.REGULATOR, Role.ADMIN])
def test_nobody_else_decides_about_a_line(site: Site, role: Role) -> None:
    name = proposed(site)
    with pytest.raises(Denied):
        site.node.gate.call("qkd.confirm", {"proposal": name}, site.three.caller("broker", role))
    assert site.line().policy == "hybrid-required"


def test_a_notebooks_token_decides_nothing(site: Site) -> None:
    with pytest.raises(WorkbenchError) as refused:
        site.three.call("broker", Role.OPERATOR, "qkd.propose_policy", kernel=True, line="a1", policy="pqc-only", reason=REASON)
    assert refused.value.code == "KERNEL_TOKEN"
