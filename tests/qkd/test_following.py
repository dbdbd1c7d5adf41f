"""Events of the entity become evidence once each; an alarm about keys holds the line until two people resume."""

from __future__ import annotations


import pytest

from tests.qkd.conftest import Site
from tests.qkd.entity import block
from workbench.domain.party import Role
from workbench.errors import Refused


def alarm(site: Site, kind: str = "qber-drift") -> None:
    site.entity.alarm(kind)
    site.entity.change(state="alarm", open_alarms=1, eavesdropper_fraction=0.2, eavesdropper_kind="intercept-resend")
    site.follow()


def test_each_block_becomes_one_entry_however_long_the_node_was_away(site: Site) -> None:
    before = len(site.entries("qkd.block_distilled"))
    site.entity.made = [block(number) for number in range(230)]
    site.entity.made[5] = block(5, state="quarantined", qber=0.08, alarm="qber-drift", keys=0)
    site.entity.made[6] = block(6, state="aborted", qber=-1.0, aborted="stopped", keys=0)
    site.entity.change(last_block=229)
    assert site.follow() == 230
    assert site.follow() == 0, "the cursor moved with the entries"
    site.entity.made.append(block(230))
    site.entity.change(last_block=230)
    assert site.follow() == 1
    made = site.entries("qkd.block_distilled")[before:]
    assert [int(one.values["block"]) for one in made] == [n for n in range(231) if n not in (5, 6)]
    assert (made[0].values["qber"], made[0].values["keys"], made[0].values["provenance"]) == ("5000", "700", "simulated")
    aborted = site.entries("qkd.block_aborted")[-2:]
    assert [(one.values["cause"], one.values["qber"]) for one in aborted] == [("qber-drift", "80000"), ("stopped", "")]


def test_an_entity_that_counts_from_a_lower_block_is_followed_anew(site: Site) -> None:
    """Another database under the same name, such as one made again: its blocks must not hide behind the old cursor."""
    site.entity.made = [block(number) for number in range(40)]
    site.entity.change(last_block=39)
    site.follow()
    before = len(site.entries("qkd.block_distilled"))
    site.entity.made = [block(number) for number in range(3)]
    site.entity.change(last_block=2)
    site.follow()
    assert len(site.entries("qkd.block_distilled")) == before + 3
    assert site.entries("qkd.told")[-1].values["event"] == "entity.replaced"


def test_an_alarm_and_its_end_are_one_entry_each(site: Site) -> None:
    raised, cleared = len(site.entries("qkd.alarm_raised")), len(site.entries("qkd.alarm_cleared"))
    alarm(site)
    site.follow()
    site.entity.alarm("qber-drift", cleared=True)
    site.follow()
    site.follow()
    assert len(site.entries("qkd.alarm_raised")) == raised + 1
    assert len(site.entries("qkd.alarm_cleared")) == cleared + 1


def test_a_full_demonstration_line_makes_blocks_while_somebody_listens(site: Site) -> None:
    site.follow()
    assert ("recover", "a1") not in site.entity.asked
    site.entity.change(eavesdropper_kind="photon-number-splitting", eavesdropper_fraction=0.5)
    site.follow()
    site.follow()
    assert site.entity.asked.count(("recover", "a1")) == 1


def test_an_event_this_version_does_not_know_is_evidence_too(site: Site) -> None:
    site.entity.tell("weather.changed", cloud="much")
    site.follow()
    entry = site.entries("qkd.told")[-1]
    assert (entry.values["event"], entry.values["facts"]) == ("weather.changed", "cloud=much")


def test_what_became_of_keys_is_counted_in_one_entry_a_line(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(site.entries("qkd.keys_counted"))
    for count in (3, 4):
        site.entity.tell("key.reserved", keys=count)
        site.entity.tell("key.delivered", keys=count - 1)
    site.follow()
    assert len(site.entries("qkd.keys_counted")) == before, "one entry for many deliveries, not one each"
    later = site.node.now_ms() + 11 * 60_000 + 10**12
    monkeypatch.setattr(site.node, "now_ms", lambda: later)
    monkeypatch.setattr(site.node.evidence, "_now_ms", lambda: later, raising=False)
    site.follow()
    entry = site.entries("qkd.keys_counted")[-1]
    assert (entry.values["reserved"], entry.values["delivered"], entry.values["consumed"]) == ("7", "5", "0")


def test_an_alarm_holds_the_line_after_the_entity_has_recovered(site: Site) -> None:
    alarm(site)
    with pytest.raises(Refused) as early:
        site.call("qkd.propose_resume", line="a1", reason="窃听演示已关闭")
    assert early.value.code == "ALARM_STANDS", "nobody votes an eavesdropper away"
    site.entity.alarm("qber-drift", cleared=True)
    site.entity.change(state="making", open_alarms=0, eavesdropper_fraction=0.0, eavesdropper_kind="")
    site.follow()
    found = site.line()
    assert found.held_ms > 0
    assert found.held_cause == "qber-drift"
    name = site.call("qkd.propose_resume", line="a1", reason="误码率已回到基线").proposal
    with pytest.raises(Refused) as own:
        site.call("qkd.confirm", proposal=name)
    assert own.value.code == "SELF_APPROVAL"
    site.call("qkd.confirm", Role.COMPLIANCE, proposal=name)
    assert site.line().held_ms == 0
    assert site.entries("qkd.resumed")[-1].values["line"] == "a1"


def test_an_alarm_that_comes_back_before_the_second_person_stops_the_resumption(site: Site) -> None:
    alarm(site)
    site.entity.change(state="making", open_alarms=0)
    name = site.call("qkd.propose_resume", line="a1", reason="误码率已回到基线").proposal
    site.entity.change(state="alarm", open_alarms=1)
    with pytest.raises(Refused) as still:
        site.call("qkd.confirm", Role.COMPLIANCE, proposal=name)
    assert still.value.code == "ALARM_STANDS"
    assert site.line().held_ms > 0


def test_an_alarm_that_has_left_the_list_of_the_newest_holds_its_line_all_the_same(site: Site) -> None:
    site.entity.tell("alarm.raised", alarm="low-stock", block=-1)
    site.follow()
    assert not site.line().held_ms
    site.entity.tell("alarm.raised", alarm="qber-drift", block=9)
    site.entity.tell("alarm.cleared", alarms="qber-drift")
    site.follow()
    assert (site.line().held_cause, site.line().held_ms > 0) == ("qber-drift", True)


@pytest.mark.parametrize("kind", ["peer-unreachable", "low-stock", "out-of-step"])
def test_an_alarm_that_leaves_the_keys_sound_holds_nothing(site: Site, kind: str) -> None:
    alarm(site, kind)
    assert site.line().held_ms == 0
    assert site.entries("qkd.alarm_raised")[-1].values["cause"] == kind


def test_health_names_what_is_wrong_and_who_mends_it(site: Site) -> None:
    def states() -> dict[str, str]:
        return {one.name: one.state for one in site.node.health() if one.name.startswith("qkd")}

    assert states() == {"qkd.a1": "ok"}
    alarm(site)
    assert states()["qkd.a1"] == "failed"
    site.entity.away = True
    assert states() == {"qkd": "failed"}
