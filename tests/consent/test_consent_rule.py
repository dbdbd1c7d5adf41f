"""The rule who may be used: every reason, the boundaries in time, and the fast version against the slow one."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from consent_house import DOCUMENT, House, beijing_ms, customer_list, identity_number, phone_number
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench_consent import columns, grants
from workbench_consent.columns import GrantColumns, Term, WithdrawalColumns
from workbench_consent.grants import Customer, Grant, Reason, Subject, Withdrawal
from workbench_consent.subjects import ABSENT, Subjects, links_of, words_of

from workbench.contracts import GrantQuery
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId
from workbench.errors import Refused

BANK = PartyId("bank")
P1, P2 = phone_number(1), phone_number(2)
I1, I2 = identity_number(1), identity_number(2)


def query(at_ms: int, *, purpose: str = "wealth-marketing", recipient: str = "bank", kind: str = "phone") -> GrantQuery:
    return GrantQuery(purpose, PartyId(recipient), at_ms, KeyKind(kind))


def reasons(house: House, people: pl.DataFrame, asked: GrantQuery) -> list[str]:
    return list(house.registry.decide(people, asked).reason)


def row(
    phone: str = "", id_no: str = "", purpose: str = "wealth-marketing", recipient: str = "bank",
    start: str = "2026-01-01", end: str = "2026-12-31", document: str = DOCUMENT,
) -> str:  # fmt: skip
    return f"{phone},{id_no},{purpose},{recipient},{start},{end},{document},counter"


def test_every_reason_has_its_case(house: House) -> None:
    phones = [phone_number(i) for i in range(10, 18)]
    house.give(
        row(phones[0]),
        row(phones[1], start="2026-07-01"),
        row(phones[2], end="2026-05-31"),
        row(phones[3], purpose="customer-service"),
        row(phones[4], recipient="cardnet"),
        row(phones[5]),
        row(phones[6], purpose="customer-service", recipient="cardnet"),
    )
    house.registry.withdraw(phone=phones[5])
    house.registry.withdraw(phone=phones[7])
    people = customer_list(
        *[(f"C{i}", phone, None) for i, phone in enumerate(phones)], ("C8", phone_number(99), None), ("C9", None, I1)
    )
    assert reasons(house, people, query(house.time_ms)) == [
        "", "NOT_YET_VALID", "EXPIRED", "PURPOSE_MISMATCH", "RECIPIENT_MISMATCH", "WITHDRAWN", "NO_GRANT",
        "SUPPRESSED", "NO_GRANT", "MISSING_KEY",
    ]  # fmt: skip


def test_a_bare_date_includes_its_whole_day_in_beijing_to_the_millisecond(house: House) -> None:
    house.give(row(P1, start="2026-03-01", end="2026-11-20"))
    people = customer_list(("C1", P1, None))
    for at, expected in (
        ("2026-02-28 23:59:59.999", "NOT_YET_VALID"),
        ("2026-03-01 00:00:00.000", ""),
        ("2026-11-20 23:59:59.000", ""),
        ("2026-11-20 23:59:59.999", ""),
        ("2026-11-21 00:00:00.000", "EXPIRED"),
    ):
        assert reasons(house, people, query(beijing_ms(at))) == [expected], at


def test_an_instant_ends_a_grant_at_that_instant(house: House) -> None:
    house.give(row(P1, start="2026-03-01T09:00:00+08:00", end="2026-11-20T18:30:00+08:00"))
    people = customer_list(("C1", P1, None))
    for at, expected in (
        ("2026-03-01 08:59:59.999", "NOT_YET_VALID"),
        ("2026-03-01 09:00:00.000", ""),
        ("2026-11-20 18:29:59.999", ""),
        ("2026-11-20 18:30:00.000", "EXPIRED"),
    ):
        assert reasons(house, people, query(beijing_ms(at))) == [expected], at


def test_of_several_live_grants_the_one_that_ends_last_speaks(house: House) -> None:
    house.give(row(P1, end="2026-08-31"), row(P1, end="2026-10-31"), row(P1, end="2026-09-30"))
    decision = house.registry.decide(customer_list(("C1", P1, None)), query(house.time_ms))
    state = house.registry.state()
    last = int(np.argmax(state.grants.until_ms))
    assert decision.valid_until_ms.tolist() == [beijing_ms("2026-11-01 00:00:00")]
    assert decision.grant_digest[0].tobytes() == state.grants.digest[last].tobytes() != bytes(32)


def test_a_grant_that_names_both_identifiers_needs_both(house: House) -> None:
    house.give(row(P1, I1))
    people = customer_list(("C1", P1, I2), ("C2", P2, I1))
    assert reasons(house, people, query(house.time_ms)) == ["NO_GRANT", "NO_GRANT"]
    assert reasons(house, customer_list(("C1", P1, I1)), query(house.time_ms)) == [""]
    assert reasons(house, customer_list(("C1", P1, None)), query(house.time_ms)) == [""]


def test_a_shared_key_counts_once_when_each_holder_has_a_grant(house: House) -> None:
    house.give(row("", I1, end="2026-08-31"), row("", I2))
    people = customer_list(("C2", P1, I2), ("C1", P1, I1))
    decision = house.registry.decide(people, query(house.time_ms))
    assert list(decision.reason) == ["DUPLICATE_KEY", ""]
    assert decision.usable.tolist() == [False, True]
    # The key may be used only as long as the first of the two grants lasts.
    assert decision.valid_until_ms.tolist() == [0, beijing_ms("2026-09-01 00:00:00")]


def test_a_shared_key_is_out_for_all_when_one_holder_has_no_grant(house: House) -> None:
    house.give(row("", I1))
    people = customer_list(("C1", P1, I1), ("C2", P1, I2), ("C3", P2, None))
    decision = house.registry.decide(people, query(house.time_ms))
    assert list(decision.reason) == ["AMBIGUOUS_KEY", "AMBIGUOUS_KEY", "NO_GRANT"]
    assert not decision.grant_digest.any()
    assert decision.counts == {"AMBIGUOUS_KEY": 2, "NO_GRANT": 1}


def test_one_form_that_names_only_a_shared_phone_speaks_for_nobody(house: House) -> None:
    """Otherwise one signature would make every member of a family usable (row B3)."""
    house.give(row(P1))
    people = customer_list(("C1", P1, I1), ("C2", P1, I2))
    assert reasons(house, people, query(house.time_ms)) == ["AMBIGUOUS_KEY"] * 2
    assert reasons(house, people, query(house.time_ms, kind="id_no")) == ["AMBIGUOUS_KEY"] * 2
    # Without numbers nobody can tell whether two rows are one person.
    unknown = customer_list(("C1", P1, None), ("C2", P1, None))
    assert reasons(house, unknown, query(house.time_ms)) == ["AMBIGUOUS_KEY"] * 2
    # Two accounts of one person are one person.
    twice = customer_list(("C1", P1, I1), ("C2", P1, I1))
    assert reasons(house, twice, query(house.time_ms)) == ["", "DUPLICATE_KEY"]


def test_a_phone_somebody_withdrew_is_no_key_for_the_others_who_have_it(house: House) -> None:
    """The partner would meet the one who withdrew; with the identity number as key the others stay usable."""
    house.give(row("", I1), row("", I2))
    house.registry.withdraw(phone=P1, id_no=I1)
    other = customer_list(("C2", P1, I2))
    assert reasons(house, other, query(house.time_ms)) == ["SUPPRESSED"]
    assert reasons(house, other, query(house.time_ms, kind="id_no")) == [""]


def test_an_unknown_purpose_or_recipient_is_refused(house: House) -> None:
    people = customer_list(("C1", P1, None))
    for asked, code in (
        (query(0, purpose="credit-scoring"), "UNKNOWN_PURPOSE"),
        (query(0, recipient="nobody"), "UNKNOWN_RECIPIENT"),
        (query(0, recipient="broker"), "UNKNOWN_RECIPIENT"),
    ):
        with pytest.raises(Refused) as refusal:
            house.registry.decide(people, asked)
        assert refusal.value.code == code


def test_an_empty_list_and_an_empty_registry_have_an_answer(house: House) -> None:
    assert house.registry.decide(customer_list(), query(house.time_ms)).counts == {}
    assert reasons(house, customer_list(("C1", P1, I1)), query(house.time_ms)) == ["NO_GRANT"]


# ---- the fast version and the slow one

PHONES = [None, b"p" * 16, b"q" * 16, b"r" * 15 + b"\x00", b"r" * 16]
NUMBERS = [None, b"1" * 16, b"2" * 16, b"1" * 8 + b"2" * 8]
PURPOSES, RECIPIENTS = ["a", "b"], ["x", "y"]

subjects = st.builds(Subject, st.sampled_from(PHONES), st.sampled_from(NUMBERS))
named_subjects = subjects.filter(lambda subject: subject.phone is not None or subject.id_no is not None)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Customer], list[Grant], list[Withdrawal], GrantQuery]:
    names = st.sampled_from(["A", "B", "C", "D"])
    customers = [Customer(draw(names), subject) for subject in draw(st.lists(subjects, max_size=7))]
    given_ = []
    for record in range(1, draw(st.integers(0, 8)) + 1):
        start = draw(st.integers(0, 5))
        until = start + draw(st.integers(1, 6))
        purpose, recipient = draw(st.sampled_from(PURPOSES)), draw(st.sampled_from(RECIPIENTS))
        subject, seq = draw(named_subjects), draw(st.integers(1, 4))
        given_.append(Grant(record, seq, subject, purpose, recipient, start, until, bytes([record]) * 32))
    withdrawals = [
        Withdrawal(seq, draw(named_subjects), purpose, recipient, draw(st.booleans()), draw(st.booleans()))
        for seq, purpose, recipient in draw(
            st.lists(
                st.tuples(st.integers(1, 5), st.sampled_from(["", *PURPOSES]), st.sampled_from(["", *RECIPIENTS])),
                max_size=4,
            )
        )
    ]
    asked = GrantQuery(
        draw(st.sampled_from(PURPOSES)),
        PartyId(draw(st.sampled_from(RECIPIENTS))),
        draw(st.integers(0, 8)),
        draw(st.sampled_from(list(KeyKind))),
    )
    return customers, given_, withdrawals, asked


def as_columns(people: list[Subject]) -> Subjects:
    return Subjects(
        words_of(b"".join(one.phone or ABSENT for one in people)),
        words_of(b"".join(one.id_no or ABSENT for one in people)),
    )


def fast(
    customers: list[Customer],
    given_: list[Grant],
    withdrawals: list[Withdrawal],
    asked: GrantQuery,
    among: list[bool] | None = None,
) -> list[tuple[Reason, int, int]]:
    terms = [Term(purpose, recipient, "") for purpose in PURPOSES for recipient in RECIPIENTS]
    table = GrantColumns(
        as_columns([one.subject for one in given_]),
        np.array([terms.index(Term(one.purpose, one.recipient, "")) for one in given_], np.uint16),
        np.array([one.from_ms for one in given_], np.int64),
        np.array([one.until_ms for one in given_], np.int64),
        np.array([one.seq for one in given_], np.int64),
        np.frombuffer(b"".join(one.digest for one in given_), np.uint8).reshape(-1, 32),
        np.zeros(len(given_), bool),
        np.arange(len(given_)),
    ).ranked()
    taken_back = WithdrawalColumns(
        as_columns([one.subject for one in withdrawals]),
        np.array([one.seq for one in withdrawals], np.int64),
        np.array([one.purpose for one in withdrawals], object),
        np.array([one.recipient for one in withdrawals], object),
        np.array([one.suppresses and not one.lifted for one in withdrawals], bool),
    )
    table = columns.replace(table, withdrawn=columns.fold(table, terms, taken_back))
    index = columns.index_list(
        as_columns([one.subject for one in customers]),
        pl.Series([one.customer_id for one in customers], dtype=pl.String),
    )
    chosen = None if among is None else np.array(among, bool)
    verdicts = columns.decide(index, links_of(index.subjects, table.subjects), table, terms, taken_back, asked, chosen)
    return [
        (Reason(int(reason)), int(grant) + 1, int(until))
        for reason, grant, until in zip(verdicts.reason, verdicts.grant, verdicts.valid_until_ms, strict=True)
    ]


@settings(max_examples=600, deadline=None)
@given(worlds(), st.lists(st.booleans(), min_size=7, max_size=7), st.booleans())
def test_the_fast_rule_agrees_with_the_slow_one(
    world: tuple[list[Customer], list[Grant], list[Withdrawal], GrantQuery], audience: list[bool], has_audience: bool
) -> None:
    among = audience[: len(world[0])] if has_audience else None
    slow = [
        (one.reason, one.grant.record if one.grant else 0, one.valid_until_ms)
        for one in grants.decide(*world, among=among)
    ]
    assert fast(*world, among=among) == slow


def test_of_several_holders_one_in_the_audience_stands_for_the_key(house: House) -> None:
    house.give(row("", I1), row("", I2))
    people = customer_list(("C1", P1, I1), ("C2", P1, I2))
    for among, expected in (
        ([False, True], ["DUPLICATE_KEY", ""]),
        ([True, False], ["", "DUPLICATE_KEY"]),
        ([True, True], ["", "DUPLICATE_KEY"]),
        ([False, False], ["", "DUPLICATE_KEY"]),
    ):
        decision = house.registry.decide(people, query(house.time_ms), among=np.array(among))
        assert list(decision.reason) == expected


@settings(max_examples=200, deadline=None)
@given(worlds(), st.randoms())
def test_the_order_of_grants_and_customers_changes_nothing(
    world: tuple[list[Customer], list[Grant], list[Withdrawal], GrantQuery], shuffle: st.random.Random
) -> None:
    customers, given_, withdrawals, asked = world
    numbered = [Customer(f"{i}", one.subject) for i, one in enumerate(customers)]
    order = list(range(len(numbered)))
    shuffle.shuffle(order)
    before = fast(numbered, given_, withdrawals, asked)
    after = fast([numbered[i] for i in order], given_, withdrawals[::-1], asked)
    assert after == [before[i] for i in order]


@settings(max_examples=200, deadline=None)
@given(worlds(), named_subjects)
def test_a_withdrawal_never_makes_anybody_usable(
    world: tuple[list[Customer], list[Grant], list[Withdrawal], GrantQuery], leaver: Subject
) -> None:
    customers, given_, withdrawals, asked = world
    before = grants.decide(customers, given_, withdrawals, asked)
    after = grants.decide(customers, given_, [*withdrawals, Withdrawal(9, leaver, "", "")], asked)
    for one, earlier, later in zip(customers, before, after, strict=True):
        assert not (later.reason is Reason.OK and earlier.reason not in (Reason.OK, Reason.DUPLICATE_KEY))
        if later.reason is Reason.OK:
            key = one.key(asked.key_kind)
            named = leaver.phone if asked.key_kind is KeyKind.PHONE else leaver.id_no
            assert key != named, "a key that was withdrawn is still in use"
