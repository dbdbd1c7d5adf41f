"""Random histories of imports, withdrawals and liftings: what memory says must be what the tables say, at every step."""

from __future__ import annotations

import random

import pytest
from consent_house import House, customer_list, identity_number, phone_number
from workbench_consent import grants, tables
from workbench_consent.grants import Customer, Grant, Reason, Subject, Withdrawal
from workbench_consent.rows import columns_of
from workbench_consent.subjects import token_at

from workbench.contracts import GrantQuery
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId
from workbench.errors import NotFound

PHONES = [phone_number(i) for i in range(1, 7)]
NUMBERS = [identity_number(i) for i in range(1, 6)]
PURPOSES, RECIPIENTS = ["wealth-marketing", "customer-service"], ["bank", "cardnet"]


def stored(house: House) -> tuple[list[Grant], list[Withdrawal]]:
    """Grants and withdrawals read back one by one, for the slow rule."""
    given: list[Grant] = []
    with house.store.read() as reader:
        terms = tables.terms(reader)
        for chunk in tables.chunks(reader):
            table = columns_of(chunk, len(terms))
            for i in range(chunk.rows):
                term = terms[int(table.term[i])]
                given.append(
                    Grant(
                        chunk.first + i, chunk.seq,
                        Subject(token_at(table.subjects.phone, i), token_at(table.subjects.id_no, i)),
                        term.purpose, term.recipient, int(table.from_ms[i]), int(table.until_ms[i]),
                        chunk.digest[32 * i : 32 * i + 32], term.channel,
                    )
                )  # fmt: skip
        withdrawals = [
            one for (seq,) in reader.execute("SELECT seq FROM consent_event WHERE kind = 'withdrawn' ORDER BY seq")
            for one in tables.withdrawals_of(reader, seq)
        ]  # fmt: skip
        lifted = [row[0] for row in reader.execute("SELECT lifted_seq FROM consent_suppression ORDER BY number")]
    return given, [
        Withdrawal(one.seq, one.subject, one.purpose, one.recipient, one.suppresses, seq is not None)
        for one, seq in zip(withdrawals, lifted, strict=True)
    ]


def step(house: House, chance: random.Random) -> str:
    phone, number = chance.choice([*PHONES, None]), chance.choice([*NUMBERS, None, None])
    if phone is None and number is None:
        phone = PHONES[0]
    action = chance.choices(["give", "withdraw", "lift", "restart"], [5, 3, 1, 1])[0]
    if action == "give":
        rows = [
            f"{chance.choice(PHONES)},{chance.choice([*NUMBERS, ''])},{chance.choice(PURPOSES)},"
            f"{chance.choice(RECIPIENTS)},2026-0{chance.randint(1, 7)}-01,2026-{chance.randint(8, 12):02d}-28,,"
            for _ in range(chance.randint(1, 6))
        ]
        house.give(*rows)
    elif action == "withdraw":
        house.registry.withdraw(
            phone=phone, id_no=number, purpose=chance.choice([None, *PURPOSES]),
            recipient=chance.choice([None, *RECIPIENTS]), suppress=chance.random() < 0.7,
        )  # fmt: skip
    elif action == "lift":
        try:
            house.registry.lift_suppression(phone=phone, id_no=number, reason="测试解除")
        except NotFound:
            return "nothing lifted"
    else:
        house.restart()
    return action


def check(house: House, chance: random.Random) -> None:
    people = [
        (f"C{i}", chance.choice([*PHONES, None]), chance.choice([*NUMBERS, None])) for i in range(chance.randint(1, 9))
    ]
    query = GrantQuery(
        chance.choice(PURPOSES), PartyId(chance.choice(RECIPIENTS)), house.time_ms, chance.choice(list(KeyKind))
    )
    decision = house.registry.decide(customer_list(*people), query)
    given, withdrawals = stored(house)
    customers = [Customer(name, house.registry.subject(phone, number)) for name, phone, number in people]
    expected = grants.decide(customers, given, withdrawals, query)
    assert list(decision.reason) == [one.reason.code for one in expected]
    assert decision.usable.tolist() == [one.reason is Reason.OK for one in expected]
    assert decision.valid_until_ms.tolist() == [one.valid_until_ms for one in expected]
    assert [digest.tobytes() for digest in decision.grant_digest] == [
        one.grant.digest if one.reason is Reason.OK and one.grant else bytes(32) for one in expected
    ]
    assert sum(decision.counts.values()) == len(people)


@pytest.mark.parametrize("seed", range(6))
def test_memory_and_tables_agree_after_every_step(house: House, seed: int) -> None:
    chance = random.Random(seed)
    taken = set()
    for _ in range(30):
        taken.add(step(house, chance))
        check(house, chance)
    assert taken >= {"give", "withdraw", "restart"}
    assert house.registry.audit().findings == ()


@pytest.mark.parametrize("seed", range(4))
def test_who_left_entirely_is_never_usable_again_without_a_lifting(house: House, seed: int) -> None:
    """Row B11, against every later import: the phone, with whatever number it comes."""
    chance = random.Random(seed)
    left: set[str] = set()
    for _ in range(20):
        if chance.random() < 0.2:
            left.add(chance.choice(PHONES))
            house.registry.withdraw(phone=max(left, key=lambda phone: chance.random()))
        house.give(
            *[
                f"{chance.choice(PHONES)},{chance.choice([*NUMBERS, ''])},{chance.choice(PURPOSES)},bank,"
                f"2026-01-01,2026-{chance.randint(8, 12):02d}-28,,"
                for _ in range(3)
            ]
        )
    for phone in left:
        house.registry.withdraw(phone=phone)
    house.give(*[f"{phone},,wealth-marketing,bank,2026-01-0{i},2026-12-31,," for phone in PHONES for i in (7, 8)])
    query = GrantQuery("wealth-marketing", PartyId("bank"), house.time_ms, KeyKind.PHONE)
    for phone in PHONES:
        for number in [*NUMBERS, None]:
            decision = house.registry.decide(customer_list(("C1", phone, number)), query)
            assert not (phone in left and decision.usable.any())
    stranger = phone_number(99)
    house.give(f"{stranger},,wealth-marketing,bank,2026-01-01,2026-12-31,,")
    assert house.registry.decide(customer_list(("C1", stranger, None)), query).usable.all()
