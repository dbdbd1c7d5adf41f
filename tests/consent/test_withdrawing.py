"""A withdrawal counts from its own transaction: against clocks, windows, lists and files that come later."""

from __future__ import annotations

from pathlib import Path

import pytest
from consent_house import House, beijing_ms, customer_list, identity_number, phone_number

from workbench.contracts import GrantQuery
from workbench.domain.erasure import Customer, ErasureRequest, Stage
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId
from workbench.errors import InvalidRequest, WorkbenchError


P1, P2 = phone_number(1), phone_number(2)
I1, I2 = identity_number(1), identity_number(2)
SHORT = I1[:6] + I1[8:17]
"""The number of the first person as it was written before 1999: 15 digits, no century, no check character."""


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def row(phone: str = "", id_no: str = "", purpose: str = "wealth-marketing", recipient: str = "bank", until: str = "2026-12-31") -> str:
    return f"{phone},{id_no},{purpose},{recipient},2026-01-01,{until},,"


def reason(house: House, phone: str | None = P1, id_no: str | None = I1, recipient: str = "bank", purpose: str = "wealth-marketing") -> str:
    query = GrantQuery(purpose, PartyId(recipient), house.now_ms(), KeyKind.PHONE if phone else KeyKind.ID_NO)
    return str(house.registry.decide(customer_list(("1", phone, id_no)), query).reason[0])


def test_the_very_next_decision_of_the_same_millisecond_leaves_the_customer_out(house: House) -> None:
    house.give(row(P1, I1))
    at = house.time_ms
    assert reason(house) == ""
    house.registry.withdraw(phone=P1, id_no=I1)
    assert house.time_ms == at and reason(house) == "WITHDRAWN"
    for moved in (-86_400_000, -1000, -1, 1, 1000, 86_400_000):  # a clock that was set back does not bring anybody back
        house.time_ms = at + moved
        assert reason(house) == "WITHDRAWN"
    house.restart()
    assert reason(house) == "WITHDRAWN"


def test_a_withdrawal_in_the_last_second_of_the_window_and_after_it(house: House) -> None:
    house.give(row(P1, I1, until="2026-06-01"), row(P2, I2, until="2026-06-01"))
    end = beijing_ms("2026-06-02 00:00:00")
    house.time_ms = end - 1
    assert reason(house) == "" and reason(house, P2, I2) == ""
    house.registry.withdraw(phone=P1, id_no=I1)
    assert (reason(house), reason(house, P2, I2)) == ("WITHDRAWN", "")
    house.time_ms = end
    assert (reason(house), reason(house, P2, I2)) == ("WITHDRAWN", "EXPIRED")
    house.registry.withdraw(phone=P2, id_no=I2)
    assert reason(house, P2, I2) == "WITHDRAWN"


def test_a_decision_taken_before_is_known_to_be_stale_inside_the_change_that_uses_it(house: House) -> None:
    house.give(row(P1, I1))
    query = GrantQuery("wealth-marketing", PartyId("bank"), house.now_ms(), KeyKind.PHONE)
    decision = house.registry.decide(customer_list(("1", P1, I1)), query)

    def change(tx: object) -> tuple[int, int]:
        before = house.registry.newest_event(tx)  # type: ignore[arg-type]
        house.registry.withdraw(phone=P1, id_no=I1, tx=tx)  # type: ignore[arg-type]
        return before, house.registry.newest_event(tx)  # type: ignore[arg-type]

    before, after = house.store.write(change)
    assert before == decision.as_of < after and house.registry.changed_since(decision.as_of)


def test_only_the_scope_that_was_named_is_taken_back(house: House) -> None:
    house.give(row(P1, I1), row(P1, I1, recipient="cardnet"), row(P1, I1, purpose="investor-education"))
    house.registry.withdraw(phone=P1, id_no=I1, purpose="wealth-marketing", recipient="bank")
    assert reason(house) == "WITHDRAWN"
    assert reason(house, recipient="cardnet") == "" and reason(house, purpose="investor-education") == ""
    house.registry.withdraw(phone=P1, id_no=I1, recipient="cardnet")
    assert reason(house, recipient="cardnet") == "WITHDRAWN" and reason(house, purpose="investor-education") == ""
    house.registry.withdraw(phone=P1, id_no=I1)
    assert reason(house, purpose="investor-education") == "WITHDRAWN"
    told = house.registry.withdrawals_after(0)
    assert [(one.purpose, one.recipient) for one in told] == [("wealth-marketing", "bank"), ("", "cardnet"), ("", "")]
    assert [one.event for one in told] == sorted({one.event for one in told})
    assert house.registry.withdrawals_after(told[1].event) == told[2:]


def test_rows_meant_by_a_withdrawal_are_those_the_gate_refuses_for_it(house: House) -> None:
    house.give(row(P1, I1), row(P2, I2), row("", I2))
    event = house.registry.withdraw(phone=P1).event  # forms tie the number to the phone
    customers = customer_list(("1", P1, I1), ("2", P2, I2), ("3", None, I1), ("4", P1, None), ("5", None, None), ("6", P2, I1))
    assert house.registry.rows_meant(customers, [event]).tolist() == [True, False, True, True, False, True]
    assert house.registry.rows_meant(customers, []).tolist() == [False] * 6
    other = house.registry.withdraw(id_no=I2).event
    assert house.registry.rows_meant(customers, [event, other]).tolist() == [True, True, True, True, False, True]


@pytest.mark.parametrize("written", [I1, I1.lower(), SHORT])
def test_a_new_file_does_not_bring_back_who_withdrew_whatever_way_the_number_is_written(house: House, written: str) -> None:
    house.give(row(P1, I1))
    house.registry.withdraw(phone=P1, id_no=I1)
    done = house.give(row(P1, written, until="2027-12-31"), row("", written, until="2028-12-31"), row(P2, I2))
    assert (done.accepted, done.suppressed) == (1, 2), done
    assert (reason(house), reason(house, None, I1), reason(house, P2, I2)) == ("WITHDRAWN", "WITHDRAWN", "")


@pytest.mark.parametrize("written", [I1, SHORT])
def test_nor_does_it_after_an_erasure_when_nothing_of_the_grants_is_left(house: House, written: str) -> None:
    house.give(row(P1, I1))
    names = house.registry.customer_names(phones=(P1,), id_nos=(I1,))
    house.registry.erase(ErasureRequest("E-1", Stage.RESTRICT, Customer(names, (P1,), (I1,)), "t-chen", "asked"))
    done = house.give(row(P1, written, until="2027-12-31"), row("", written, until="2028-12-31"))
    assert (done.accepted, done.suppressed) == (0, 2)
    assert reason(house) == "SUPPRESSED" and reason(house, None, I1) == "SUPPRESSED"


def test_who_acts_for_the_customer_needs_a_proof_and_the_entry_says_who_it_was(house: House) -> None:
    house.give(row(P1, I1))
    for by in ("agent", "guardian", "kin"):
        for proof in ("", "  ", "ab"):
            with pytest.raises(InvalidRequest, match="PROOF_NEEDED"):
                house.registry.withdraw(phone=P1, by=by, proof=proof)
    with pytest.raises(InvalidRequest):
        house.registry.withdraw(phone=P1, by="neighbour", proof="letter 7")
    assert reason(house) == "" and house.entries("consent.withdrawn") == []
    house.registry.withdraw(phone=P1, by="agent", proof="委托书 2026-3")
    [entry] = house.entries("consent.withdrawn")
    assert (entry["by"], entry["proof"]) == ("agent", "委托书 2026-3") and reason(house) == "WITHDRAWN"


def test_a_withdrawal_without_anybody_is_refused(house: House) -> None:
    with pytest.raises(WorkbenchError):
        house.registry.withdraw(by="subject")
