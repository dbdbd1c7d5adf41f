"""The regulator's seat: reads, never writes, for a limited time, and what is looked at is evidence too (rows D7, N4)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.host.conftest import house, institution, workspace
from tests.host.house import PASSWORD, House
from workbench.domain.party import Caller, Role
from workbench.errors import Denied, InvalidRequest, NotFound, SignInRequired
from workbench.node.people import DAY_MS, LONGEST_DAYS, REGULATOR_DAYS

__all__ = ["house", "institution", "workspace"]

OWN_PASSWORD = {"people.change_password"}
EXPORTS = {"evidence.export", "evidence.export_opened"}
"""The one thing a regulator writes: their own password."""


def seat(house: House, days: float | None = 2) -> None:
    until_ms = None if days is None else house.clock.now_ms + round(days * DAY_MS)
    house.node.people.add(person="visitor", display_name="监管员", roles=[Role.REGULATOR], password=PASSWORD, until_ms=until_ms)


def extend(house: House, **request: Any) -> Any:
    """As an administrator, with a fresh password."""
    operation = house.node.gate.registry.named("people.extend")
    confirmation = house.confirmation(Role.ADMIN, operation, request)
    return house.node.gate.call("people.extend", request, house.caller(Role.ADMIN), confirmation=confirmation)


def test_no_operation_of_a_regulator_writes_anything(house: House) -> None:
    open_to = [one for one in house.node.gate.registry if Role.REGULATOR in one.roles]
    assert len(open_to) > 8
    assert {one.name for one in open_to if one.own_only} == {"tasks.cancel"}
    writing = {one.name: set(one.evidence) for one in open_to if one.leaves_entry}
    assert set(writing) == OWN_PASSWORD | EXPORTS
    assert all(writing[name] == {"evidence.exported"} for name in EXPORTS), "an export leaves its entry and nothing else"


def test_after_the_until_date_sign_in_tickets_and_renewal_end_and_say_who_acts(house: House) -> None:
    people = house.node.people
    seat(house, days=0.01)
    ticket = people.sign_in(person="visitor", password=PASSWORD, audience="page")
    assert ticket.expires_ms <= house.clock.now_ms + round(0.01 * DAY_MS)
    assert people.caller(ticket.secret).person.until_ms is not None
    house.clock.forward(minutes=14.5)
    for act in (
        lambda: people.caller(ticket.secret),
        lambda: people.renew(ticket.secret),
        lambda: people.sign_in(person="visitor", password=PASSWORD, audience="page"),
    ):
        with pytest.raises(SignInRequired) as refused:
            act()
        assert refused.value.code == "ACCESS_ENDED"
        assert "管理员" in refused.value.zh and "administrator" in refused.value.en and "people.extend" in refused.value.en
    assert house.entries("people.sign_in_refused")[-1]["code"] == "ACCESS_ENDED"


def test_only_the_right_password_learns_that_access_has_ended(house: House) -> None:
    seat(house, days=0.01)
    house.clock.forward(hours=1)
    with pytest.raises(SignInRequired) as refused:
        house.node.people.sign_in(person="visitor", password="wrong", audience="page")
    assert refused.value.code == "SIGN_IN_FAILED"


def test_an_administrator_extends_the_seat_and_the_log_says_so(house: House) -> None:
    seat(house, days=0.01)
    house.clock.forward(hours=1)
    until_ms = house.clock.now_ms + DAY_MS
    reply = extend(house, person="visitor", until_ms=until_ms)
    assert reply.until_ms == until_ms
    assert house.node.people.sign_in(person="visitor", password=PASSWORD, audience="page")
    [entry] = house.entries("people.extended")
    assert (entry["until"], entry["actor"]) == (str(until_ms), house.caller(Role.ADMIN).person.token)
    with pytest.raises(Denied):
        house.node.gate.call("people.extend", {"person": "visitor", "until_ms": until_ms}, house.caller(Role.COMPLIANCE))
    with pytest.raises(NotFound):
        extend(house, person="marketing", until_ms=until_ms)


def test_a_regulator_always_has_an_end_and_no_other_role(house: House) -> None:
    seat(house, days=None)
    [visitor] = [one for one in house.node.people.everyone() if one.person == "visitor"]
    assert visitor.until_ms == house.clock.now_ms + REGULATOR_DAYS * DAY_MS
    people = house.node.people
    for roles, until_ms, code in (
        ([Role.REGULATOR, Role.MARKETING], None, "REGULATOR_ALONE"),
        ([Role.REGULATOR], house.clock.now_ms, "BAD_UNTIL"),
        ([Role.REGULATOR], house.clock.now_ms + (LONGEST_DAYS + 1) * DAY_MS, "BAD_UNTIL"),
    ):
        with pytest.raises(InvalidRequest) as refused:
            people.add(person="another", display_name="另一人", roles=roles, password=PASSWORD, until_ms=until_ms)
        assert refused.value.code == code


def test_the_seat_says_on_every_page_until_when_it_lasts(house: House) -> None:
    seat(house)
    [visitor] = [one for one in house.node.people.everyone() if one.person == "visitor"]
    me = house.node.gate.call("people.me", {}, Caller(person=visitor))
    assert me.me.until_ms == visitor.until_ms and "evidence.search" in me.operations


def test_a_search_of_the_regulator_is_recorded_with_its_count_and_paging_is_another_view(house: House) -> None:
    regulator = house.caller(Role.REGULATOR)
    gate = house.node.gate
    first = gate.call("evidence.search", {"limit": 3}, regulator)
    for _ in range(3):
        gate.call("evidence.index_status", {}, regulator)
    gate.call("evidence.search", {"limit": 3, "before": first.next}, regulator)
    seen = house.entries("evidence.viewed")
    assert [(one["operation"], one["count"]) for one in seen] == [("evidence.search", "3"), ("evidence.search", "3")]
    assert len({one["selection"] for one in seen}) == 2 and {one["actor"] for one in seen} == {regulator.person.token}


def test_other_readers_leave_nothing_unless_they_look_at_one_customer(house: House) -> None:
    gate = house.node.gate
    gate.call("evidence.search", {"text": "node."}, house.caller(Role.AUDITOR))
    assert house.entries("evidence.viewed") == []
    gate.call("evidence.search", {"text": "199 1234 5678"}, house.caller(Role.COMPLIANCE))
    assert [one["operation"] for one in house.entries("evidence.viewed")] == ["evidence.search"]
    for role in (Role.REGULATOR, Role.OPERATOR, Role.MARKETING):
        with pytest.raises(Denied):
            gate.call("evidence.search", {"text": "19912345678"}, house.caller(role))
    with pytest.raises(Denied):
        gate.call("evidence.search", {"customers": ["ab" * 16]}, house.caller(Role.MARKETING))


@pytest.mark.parametrize(
    "odd", [{"place": "broker/²"}, {"place": "broker/" + "9" * 20}, {"from_ms": 2**63}, {"until_ms": 2**63}]
)
def test_a_place_or_time_that_no_log_can_have_is_refused_and_breaks_nothing(house: House, odd: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        house.node.gate.call("evidence.search", odd, house.caller(Role.COMPLIANCE))
