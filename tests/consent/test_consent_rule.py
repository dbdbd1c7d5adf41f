"""The rule who may be used: every reason, the boundaries in time, and the fast version against the slow one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import polars as pl
import pytest
from consent_house import DOCUMENT, House, beijing_ms, customer_list, identity_number, phone_number
from workbench_consent import columns, grants
from workbench_consent.columns import GrantColumns, Term, WithdrawalColumns
from workbench_consent.grants import PLAIN, Conditions, Customer, Grant, Reason, StaleSince, Subject, Withdrawal
from workbench_consent.notices.difference import Staleness
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


@pytest.mark.parametrize(("institutions", "directions"), [(2, 2), (3, 6)])
def test_an_intersection_of_two_needs_both_directions_and_three_institutions_six(institutions: int, directions: int) -> None:
    """Each institution decides in its own direction; without one grant exactly the pair it belongs to loses the customer."""
    parties = ("broker", "bank", "cardnet")[:institutions]
    wanted = [(giver, taker) for giver in parties for taker in parties if giver != taker]
    assert len(wanted) == directions
    person = Subject(b"p" * 16, None)

    def usable(given: Sequence[tuple[str, str]], giver: str, taker: str) -> bool:
        signed = [
            Grant(number, 1, person, "wealth-marketing", to, 0, 10, bytes(32)) for number, (by, to) in enumerate(given, 1) if by == giver
        ]
        return grants.decide([Customer("C", person)], signed, [], query(5, recipient=taker))[0].reason is Reason.OK

    def pairs(given: Sequence[tuple[str, str]]) -> set[frozenset[str]]:
        return {frozenset(pair) for pair in wanted if usable(given, *pair) and usable(given, *reversed(pair))}

    assert pairs(wanted) == {frozenset(pair) for pair in wanted}
    for missing in wanted:
        assert pairs(wanted) - pairs([pair for pair in wanted if pair != missing]) == {frozenset(missing)}


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

DAY = 86_400_000
CONDITIONS = [
    PLAIN,
    Conditions(signer="guardian"),
    Conditions(minor=True),
    Conditions(minor=True, signer="guardian", max_uses=1),
    Conditions(notice="n@1", categories=("phone",), contacts=("sms",)),
    Conditions(notice="n@2", categories=("id-no", "phone", "tags"), contacts=("call", "sms"), signer="self"),
    Conditions(categories=("id-no",), max_uses=2),
]
BORN = [0, 1955_12_30, 1955_12_31, 1956_01_01, 1956_01_02, 1956_01_04, 1980_06_01]
"""Around the fourteenth birthday on the first days of 1970, where the times of these worlds lie."""


@dataclass(frozen=True)
class World:
    """What a decision rests on; times are whole days from the epoch in Asia/Shanghai."""

    customers: list[Customer]
    grants: list[Grant]
    withdrawals: list[Withdrawal]
    query: GrantQuery
    restrictions: list[Withdrawal]
    stale: StaleSince
    used_up: set[int]
    refusals: list[tuple[Reason, list[list[Withdrawal]]]]


def make_world(seed: int) -> World:
    """A small world in which everything happens now and then; the same seed gives the same world."""
    random = Random(seed)
    pick, chance = random.choice, random.random

    def subject(*, named: bool = True) -> Subject:
        made = Subject(pick(PHONES), pick(NUMBERS))
        return subject(named=named) if named and made == Subject(None, None) else made

    def everywhere() -> Withdrawal:
        return Withdrawal(0, subject(), "", "")

    def scope(names: list[str]) -> str:
        return pick(["", *names])

    people = [subject(named=False) for _ in range(random.randint(0, 6))]
    customers = [Customer(pick("ABCD"), one, pick(BORN)) for one in people]
    given_ = []
    for record in range(1, random.randint(0, 8) + 1):
        start = random.randint(0, 4)
        # Mostly forms of people on the list, for what will be asked.
        named = pick(people) if people and chance() < 0.7 else subject()
        named = Subject(named.phone if chance() < 0.8 else None, named.id_no if chance() < 0.8 else None)
        given_.append(
            Grant(
                record, random.randint(1, 4), named if named != Subject(None, None) else subject(), "a" if chance() < 0.8 else "b",
                "x" if chance() < 0.8 else "y", start * DAY, (start + random.randint(1, 9)) * DAY, bytes([record]) * 32, "", pick(CONDITIONS),
            )
        )  # fmt: skip
    few = [0, 0, 0, 1, 2]
    steps = [
        (random.randint(0, 9) * DAY, Staleness(pick("aab"), pick("xxy"), chance() < 0.4, pick([(), ("tags",), ("id-no", "tags")])))
        for _ in range(pick(few))
    ]
    return World(
        customers,
        given_,
        [
            Withdrawal(random.randint(1, 5), subject(), scope(PURPOSES), scope(RECIPIENTS), chance() < 0.5, chance() < 0.5)
            for _ in range(pick(few))
        ],
        GrantQuery(
            "a" if chance() < 0.9 else "b",
            PartyId("x" if chance() < 0.9 else "y"),
            random.randint(0, 7) * DAY + pick([0, 1, 57_599_999, 57_600_000]),
            pick([*KeyKind, KeyKind.PHONE]),
            pick([frozenset(), frozenset(), frozenset({"tags"})]),
            pick(["", "", "sms", "call"]),
        ),
        restrictions=[everywhere() for _ in range(pick(few) // 2)],
        stale={"n@1": steps, "n@2": steps[:1]},
        used_up={one.record for one in given_ if one.conditions.max_uses and chance() < 0.5},
        refusals=[
            (Reason.PROFILING_REFUSED, [[everywhere() for _ in range(pick(few) // 2)]]),
            (Reason.CHANNEL_REFUSED, [[everywhere() for _ in range(random.randint(0, 2))] for _ in range(pick(few))]),
        ],
    )


WORLDS = 2000


def slow(world: World, among: list[bool] | None = None) -> list[grants.Verdict]:
    return grants.decide(
        world.customers, world.grants, world.withdrawals, world.query, among, world.restrictions,
        stale=world.stale, used_up=world.used_up, refusals=world.refusals,
    )  # fmt: skip


def as_columns(people: list[Subject]) -> Subjects:
    return Subjects(
        words_of(b"".join(one.phone or ABSENT for one in people)),
        words_of(b"".join(one.id_no or ABSENT for one in people)),
    )


def withdrawal_columns(entries: list[Withdrawal]) -> WithdrawalColumns:
    return WithdrawalColumns(
        as_columns([one.subject for one in entries]),
        np.array([one.seq for one in entries], np.int64),
        np.array([one.purpose for one in entries], object),
        np.array([one.recipient for one in entries], object),
        np.array([one.suppresses and not one.lifted for one in entries], bool),
    )


def fast(world: World, among: list[bool] | None = None) -> list[tuple[Reason, int, int]]:
    given_, customers = world.grants, world.customers
    terms = [Term(purpose, recipient, "", one) for purpose in PURPOSES for recipient in RECIPIENTS for one in CONDITIONS]
    table = GrantColumns(
        as_columns([one.subject for one in given_]),
        np.array([terms.index(Term(one.purpose, one.recipient, "", one.conditions)) for one in given_], np.uint16),
        np.array([one.from_ms for one in given_], np.int64),
        np.array([one.until_ms for one in given_], np.int64),
        np.array([one.seq for one in given_], np.int64),
        np.frombuffer(b"".join(one.digest for one in given_), np.uint8).reshape(-1, 32),
        np.zeros(len(given_), bool),
        np.arange(len(given_)),
    ).ranked()
    taken_back = withdrawal_columns(world.withdrawals)
    table = columns.replace(table, withdrawn=columns.fold(table, terms, taken_back))
    index = columns.index_list(
        as_columns([one.subject for one in customers]),
        pl.Series([one.customer_id for one in customers], dtype=pl.String),
        np.array([one.born for one in customers], np.int32),
    )
    verdicts = columns.decide(
        index, links_of(index.subjects, table.subjects), table, terms, taken_back, world.query,
        None if among is None else np.array(among, bool),
        withdrawal_columns(world.restrictions) if world.restrictions else None,
        stale=world.stale,
        used_up=np.array([one.record in world.used_up for one in given_], bool),
        refusals=[(why, [withdrawal_columns(group) for group in groups]) for why, groups in world.refusals],
    )  # fmt: skip
    return [
        (Reason(int(reason)), int(grant) + 1, int(until))
        for reason, grant, until in zip(verdicts.reason, verdicts.grant, verdicts.valid_until_ms, strict=True)
    ]


def test_the_fast_rule_agrees_with_the_slow_one() -> None:
    seen: set[Reason] = set()
    for seed in range(WORLDS):
        world, random = make_world(seed), Random(seed)
        among = [random.random() < 0.5 for _ in world.customers] if seed % 3 == 0 else None
        expected = [(one.reason, one.grant.record if one.grant else 0, one.valid_until_ms) for one in slow(world, among)]
        assert fast(world, among) == expected, f"world {seed}"
        seen.update(reason for reason, _, _ in expected)
    assert seen == set(Reason), "otherwise the comparison says nothing about some reason"


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


def test_the_order_of_grants_and_customers_changes_nothing() -> None:
    for seed in range(0, WORLDS, 6):
        world, random = make_world(seed), Random(seed)
        numbered = [Customer(f"{i}", one.subject, one.born) for i, one in enumerate(world.customers)]
        order = list(range(len(numbered)))
        random.shuffle(order)
        before = fast(replace(world, customers=numbered))
        after = fast(replace(world, customers=[numbered[i] for i in order], withdrawals=world.withdrawals[::-1]))
        assert after == [before[i] for i in order], f"world {seed}"


def test_a_withdrawal_never_makes_anybody_usable() -> None:
    for seed in range(WORLDS):
        world = make_world(seed)
        leaver = Subject(Random(seed).choice(PHONES[1:]), Random(seed + 1).choice(NUMBERS))
        after = slow(replace(world, withdrawals=[*world.withdrawals, Withdrawal(9, leaver, "", "")]))
        for one, earlier, later in zip(world.customers, slow(world), after, strict=True):
            assert not (later.reason is Reason.OK and earlier.reason not in (Reason.OK, Reason.DUPLICATE_KEY))
            if later.reason is Reason.OK:
                key = one.key(world.query.key_kind)
                named = leaver.phone if world.query.key_kind is KeyKind.PHONE else leaver.id_no
                assert key != named, "a key that was withdrawn is still in use"


def test_what_narrows_never_makes_anybody_usable() -> None:
    """More staleness, more uses, more refusals: who was out stays out, but for another who stands for a shared key."""
    for seed in range(WORLDS):
        world, random = make_world(seed), Random(seed)
        whole = [(random.randint(0, 8) * DAY, Staleness(purpose, recipient, True, ())) for purpose in PURPOSES for recipient in RECIPIENTS]
        refused = (Reason.PROFILING_REFUSED, [[Withdrawal(0, Subject(random.choice(PHONES[1:]), None), "", "")]])
        before = slow(world)
        for narrower in (
            replace(world, stale={name: [*steps, *whole] for name, steps in world.stale.items()}),
            replace(world, used_up=world.used_up | {random.randint(1, 8)}),
            replace(world, refusals=[*world.refusals, refused]),
            replace(world, query=replace(world.query, categories=world.query.categories | {"tags"})),
        ):
            for earlier, later in zip(before, slow(narrower), strict=True):
                assert not (later.reason is Reason.OK and earlier.reason not in (Reason.OK, Reason.DUPLICATE_KEY)), f"world {seed}"
