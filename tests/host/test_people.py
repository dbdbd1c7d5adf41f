from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.host.house import PASSWORD, House
from workbench.domain.party import PartyId, Role
from workbench.errors import Denied, InvalidRequest, NotFound, Refused, SignInRequired
from workbench.node import first_passwords
from workbench.node.keys import InstitutionKeys, format_bundle
from workbench.node.people import STRANGERS_A_MINUTE, Ticket
from workbench.node.trust import propose_bundle

ACTION = "ab" * 32


def sign_in(house: House, role: Role = Role.MARKETING, audience: str = "command") -> Ticket:
    return house.node.people.sign_in(person=role.value, password=house.password(role), audience=audience)


def fail(house: House, person: str, password: str) -> SignInRequired:
    with pytest.raises(SignInRequired) as refused:
        house.node.people.sign_in(person=person, password=password, audience="command")
    return refused.value


def test_the_right_password_signs_in_and_leaves_an_entry(house: House) -> None:
    ticket = sign_in(house)
    caller = house.node.people.caller(ticket.secret)
    assert caller.person.person == "marketing"
    assert caller.person.roles == {Role.MARKETING}
    assert not caller.kernel
    assert [(one["audience"], one["actor"]) for one in house.entries("people.signed_in")] == [("command", caller.person.token)]


def test_unknown_and_wrong_are_told_apart_by_nobody_but_the_log_and_pause_alike(house: House) -> None:
    said = {str(fail(house, person, "wrong")) for person in ("nobody", "marketing") for _ in range(5)}
    assert len(said) == 1
    slowed = [fail(house, person, "wrong") for person in ("nobody", "marketing")]
    assert {one.code for one in slowed} == {"SIGN_IN_SLOWED"} and len({str(one) for one in slowed}) == 1
    codes = [one["code"] for one in house.entries("people.sign_in_refused")]
    assert codes == ["WRONG_PASSWORD"] * 10 + ["SLOWED"] * 2


def test_failures_pause_only_the_place_they_come_from_and_nobody_can_lock_an_account(house: House) -> None:
    people, right = house.node.people, house.password(Role.MARKETING)
    for _ in range(5):
        fail(house, "marketing", "wrong")
    assert fail(house, "marketing", right).details == {"wait_s": "1"}
    # Somebody else's guesses, for days, keep nobody out who comes from elsewhere or is signed in already.
    ticket = people.sign_in(person="marketing", password=right, audience="command", address="10.1.2.3")
    assert people.confirm(people.caller(ticket.secret), password=right, action_digest=ACTION)
    waits = []
    for _ in range(12):
        slowed = fail(house, "marketing", right)
        assert slowed.code == "SIGN_IN_SLOWED"
        waits.append(int(slowed.details["wait_s"]))
        house.clock.forward(minutes=waits[-1] / 60)
        assert fail(house, "marketing", "wrong").code == "SIGN_IN_FAILED"
    assert waits == [1, 2, 4, 8, 16, 32, *[60] * 6], "twice as long each time, up to the setting"
    house.clock.forward(minutes=1)
    assert sign_in(house).person.person == "marketing", "the next attempt after a pause is verified like any other"


def test_guessing_on_during_a_pause_neither_prolongs_it_nor_fills_the_log(house: House) -> None:
    for _ in range(5):
        fail(house, "marketing", "wrong")
    for _ in range(50):
        fail(house, "marketing", "wrong")
    assert [one["code"] for one in house.entries("people.sign_in_refused")] == ["WRONG_PASSWORD"] * 5 + ["SLOWED"]
    house.clock.forward(minutes=1.01 / 60)
    assert sign_in(house)


def test_names_that_no_account_has_fill_no_log(house: House) -> None:
    for number in range(STRANGERS_A_MINUTE + 5):
        fail(house, f"nobody{number}", "wrong")
    assert len(house.entries("people.sign_in_refused")) == STRANGERS_A_MINUTE


def test_the_right_password_forgets_earlier_failures(house: House) -> None:
    for _ in range(2):
        for _ in range(4):
            fail(house, "marketing", "wrong")
        sign_in(house)


def test_a_ticket_ends_after_fifteen_minutes(house: House) -> None:
    ticket = sign_in(house)
    house.clock.forward(minutes=14.99)
    house.node.people.caller(ticket.secret)
    house.clock.forward(minutes=0.02)
    with pytest.raises(SignInRequired):
        house.node.people.caller(ticket.secret)
    with pytest.raises(SignInRequired):
        house.node.people.renew(ticket.secret)


def test_a_renewed_ticket_replaces_the_old_one_but_not_beyond_eight_hours(house: House) -> None:
    ticket = sign_in(house)
    for _ in range(48):
        house.clock.forward(minutes=9.9)
        old, ticket = ticket, house.node.people.renew(ticket.secret)
        with pytest.raises(SignInRequired):
            house.node.people.caller(old.secret)
    assert ticket.expires_ms <= ticket.renewable_until_ms
    house.clock.forward(minutes=9.9)
    with pytest.raises(SignInRequired):
        house.node.people.renew(ticket.secret)


def test_a_ticket_counts_for_its_audience_only(house: House) -> None:
    ticket = sign_in(house, audience="page")
    house.node.people.caller(ticket.secret, audience="page")
    with pytest.raises(SignInRequired):
        house.node.people.caller(ticket.secret, audience="lab")
    with pytest.raises(InvalidRequest):
        sign_in(house, audience="anything")


def test_a_notebooks_ticket_stays_weak_however_it_is_used(house: House) -> None:
    people = house.node.people
    weak = people.derive(people.caller(sign_in(house, audience="lab").secret), "kernel")
    for ticket in (weak, people.renew(weak.secret)):
        house.clock.forward(minutes=1)
        if ticket is not weak:
            caller = people.caller(ticket.secret)
            assert caller.kernel
            with pytest.raises(Denied, match="KERNEL_TOKEN"):
                people.derive(caller, "page")
            with pytest.raises(Denied, match="KERNEL_TOKEN"):
                people.confirm(caller, password=house.password(Role.MARKETING), action_digest=ACTION)


def test_a_confirmation_belongs_to_one_person(house: House) -> None:
    people = house.node.people
    secret = people.confirm(house.caller(Role.MARKETING), password=house.password(Role.MARKETING), action_digest=ACTION)
    with pytest.raises(Denied, match="CONFIRMATION_NEEDED"):
        people.spend_confirmation(house.caller(Role.APPROVER), secret, ACTION)


def test_a_stolen_confirmation_is_burnt_by_its_first_use_whoever_tries(house: House) -> None:
    people, marketing = house.node.people, house.caller(Role.MARKETING)
    secret = people.confirm(marketing, password=house.password(Role.MARKETING), action_digest=ACTION)
    with pytest.raises(Denied):
        people.spend_confirmation(house.caller(Role.APPROVER), secret, ACTION)
    with pytest.raises(Denied):
        people.spend_confirmation(marketing, secret, ACTION)


def test_a_wrong_password_confirms_nothing_and_slows_further_confirmations(house: House) -> None:
    caller, right = house.caller(Role.MARKETING), house.password(Role.MARKETING)
    codes = []
    for password in ["wrong"] * 5 + [right]:
        with pytest.raises(SignInRequired) as refused:
            house.node.people.confirm(caller, password=password, action_digest=ACTION)
        codes.append(refused.value.code)
    assert codes == ["SIGN_IN_FAILED"] * 5 + ["SIGN_IN_SLOWED"]
    assert {one["operation"] for one in house.entries("people.sign_in_refused")} == {"confirm"}


def test_a_ticket_opens_only_what_it_was_issued_for(house: House) -> None:
    """Decision 17: a ticket that leaks from the Lab server or from a page confirms nothing and makes no others."""
    people, right = house.node.people, house.password(Role.MARKETING)
    callers = {one: people.caller(sign_in(house, audience=one).secret) for one in ("page", "lab", "command", "kernel")}
    for audience, may_confirm, may_derive in (
        ("page", False, False), ("lab", False, True), ("command", True, True), ("kernel", False, False),
    ):  # fmt: skip
        for allowed, attempt in (
            (may_confirm, lambda one: people.confirm(one, password=right, action_digest=ACTION)),
            (may_derive, lambda one: people.derive(one, "kernel")),
        ):
            if allowed:
                assert attempt(callers[audience])
                continue
            with pytest.raises(Denied, match="KERNEL_TOKEN" if audience == "kernel" else "WRONG_AUDIENCE"):
                attempt(callers[audience])
    house.node.gate.call("people.me", {}, callers["lab"])
    with pytest.raises(Denied, match="WRONG_AUDIENCE"):
        house.node.gate.call("intersection.run", {"job": "J-20261121-0a1b2c3d"}, callers["lab"])
    assert house.entries("action.refused")[-1]["code"] == "WRONG_AUDIENCE"


def test_signing_out_ends_the_ticket_and_an_unknown_one_is_ignored(house: House) -> None:
    ticket = sign_in(house)
    house.node.people.sign_out(ticket.secret)
    house.node.people.sign_out("00" * 32)
    with pytest.raises(SignInRequired):
        house.node.people.caller(ticket.secret)


def test_a_disabled_account_loses_tickets_and_confirmations_at_once(house: House) -> None:
    people, admin = house.node.people, house.caller(Role.ADMIN)
    ticket = sign_in(house)
    caller = people.caller(ticket.secret)
    secret = people.confirm(caller, password=house.password(Role.MARKETING), action_digest=ACTION)
    people.disable("marketing", by=admin)
    with pytest.raises(SignInRequired):
        people.caller(ticket.secret)
    with pytest.raises(Denied):
        people.spend_confirmation(caller, secret, ACTION)
    fail(house, "marketing", house.password(Role.MARKETING))
    assert [one["actor"] for one in house.entries("people.disabled")] == [admin.person.token]
    with pytest.raises(NotFound):
        people.disable("nobody", by=admin)


def test_what_a_disabled_person_proposed_for_the_allow_list_is_confirmed_by_nobody(house: House) -> None:
    """One person alone would have decided, and perhaps not even the one whose account it was."""
    partners, admin = house.node.partners, house.caller(Role.ADMIN)
    operator = house.caller(Role.OPERATOR)
    other = InstitutionKeys.create(
        PartyId("bank"), name_zh="银行", name_en="bank", host="10.0.0.3", port=8900, now=datetime(2026, 9, 1, tzinfo=UTC)
    )
    bundle = format_bundle(other.bundle)
    proposal = propose_bundle(partners.trust, bundle, by=operator.person.person, at_ms=house.node.now_ms())
    digest = partners.propose(proposal, by=operator.person)
    house.node.people.disable("operator", by=admin)
    with pytest.raises(Refused, match="PROPOSER_GONE"):
        partners.confirm(digest, by=admin.person)
    assert "bank" not in partners.parties()


def test_a_new_account_needs_a_role_a_good_password_and_a_free_name(house: House) -> None:
    people = house.node.people
    with pytest.raises(InvalidRequest):
        people.add(person="zhao", display_name="赵", roles=[], password=PASSWORD)
    with pytest.raises(Refused, match="WEAK_PASSWORD"):
        people.add(person="zhao", display_name="赵", roles=[Role.MARKETING], password="zhao1234")
    people.add(person="zhao", display_name="赵", roles=[Role.MARKETING, Role.APPROVER], password=PASSWORD, by="P-admin")
    with pytest.raises(InvalidRequest, match="ACCOUNT_EXISTS"):
        people.add(person="zhao", display_name="钱", roles=[Role.ADMIN], password=PASSWORD)
    assert people.caller(people.sign_in(person="zhao", password=PASSWORD, audience="command").secret).person.roles == {
        Role.MARKETING,
        Role.APPROVER,
    }
    assert [one["account"] for one in house.entries("people.added")][-1] == "zhao"


def test_a_demo_administrator_may_give_a_password_and_without_one_the_node_makes_it(house: House) -> None:
    def add(**request: Any) -> Any:
        operation = house.node.gate.registry.named("people.add")
        confirmation = house.confirmation(Role.ADMIN, operation, request)
        return house.node.gate.call("people.add", request, house.caller(Role.ADMIN), confirmation=confirmation)

    given = add(person="zhao", display_name="赵", roles=["marketing"], password=PASSWORD)
    made = add(person="qian", display_name="钱", roles=["marketing"])
    first = first_passwords.read(house.node.folder, "qian")
    assert (given.first_password_file, made.first_password_file) == ("", "first-password-qian.txt")
    for person, password, is_first in (("zhao", PASSWORD, False), ("qian", first, True)):
        ticket = house.node.people.sign_in(person=person, password=password, audience="command")
        assert house.node.people.caller(ticket.secret).first_password == is_first


def test_another_password_ends_the_old_one_with_every_ticket_and_confirmation(house: House) -> None:
    people = house.node.people
    ticket = sign_in(house)
    caller = people.caller(ticket.secret)
    secret = people.confirm(caller, password=house.password(Role.MARKETING), action_digest=ACTION)
    people.change_password(caller, PASSWORD)
    with pytest.raises(SignInRequired):
        people.caller(ticket.secret)
    with pytest.raises(Denied):
        people.spend_confirmation(caller, secret, ACTION)
    fail(house, "marketing", house.password(Role.MARKETING))
    people.sign_in(person="marketing", password=PASSWORD, audience="command")


def test_no_ticket_password_or_confirmation_lies_in_the_nodes_folder(house: House) -> None:
    """Whoever copies the database must not be able to sign in with it."""
    people = house.node.people
    people.add(person="zhao", display_name="赵", roles=[Role.MARKETING], password=PASSWORD)
    ticket = people.sign_in(person="zhao", password=PASSWORD, audience="command")
    secret = people.confirm(people.caller(ticket.secret), password=PASSWORD, action_digest=ACTION)
    house.node.store.close()
    for path in house.node.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            for hidden in (ticket.secret, secret, PASSWORD):
                assert hidden.encode() not in data, path.name
                if hidden != PASSWORD:
                    assert bytes.fromhex(hidden) not in data, path.name


def test_a_ticket_does_not_show_its_secret(house: House) -> None:
    ticket = sign_in(house)
    assert ticket.secret not in repr(ticket)


def test_evidence_names_people_by_token_and_pages_by_display_name(house: House) -> None:
    token = house.caller(Role.MARKETING).person.token
    assert house.node.people.named(token) != token
    assert house.node.people.named("P-of-a-partner") == "P-of-a-partner"


def test_the_clock_of_the_test_is_the_clock_of_the_node(house: House, tmp_path: Path) -> None:
    """Guards the tests above: they would hold for nothing if the node looked at another clock."""
    before = sign_in(house).expires_ms
    house.clock.forward(hours=2)
    assert sign_in(house).expires_ms - before == 2 * 3_600_000


def test_evidence_is_found_by_the_name_of_a_person_who_was_disabled_since(house: House) -> None:
    """Evidence outlives accounts; and disabling twice does not move the day on which it happened."""
    people, admin = house.node.people, house.caller(Role.ADMIN)
    name = house.caller(Role.MARKETING).person.display_name
    sign_in(house)
    people.disable("marketing", by=admin)
    found = house.node.gate.call("evidence.timeline", {"text": name}, house.caller(Role.COMPLIANCE)).entries
    assert "people.signed_in" in {one.kind for one in found}
    with pytest.raises(NotFound, match="NO_SUCH_ACCOUNT"):
        people.disable("marketing", by=admin)
    assert len(house.entries("people.disabled")) == 1
