"""The tokens kept with a list: found for that list alone, erased with it, refused when altered, never in clear."""

from __future__ import annotations

import sqlite3
from unittest.mock import patch

import polars as pl
import pytest
from consent_house import House, customer_list, identity_number, phone_number
from hypothesis import given, settings
from hypothesis import strategies as st
from workbench_consent.list_tokens import ListTokens

from workbench.contracts import GrantQuery, LearnsLists
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId
from workbench.errors import VerificationError

CUSTOMERS = customer_list(
    *((f"K{number}", phone_number(number), identity_number(number) if number % 3 else None) for number in range(50)),
    ("K50", None, identity_number(50)),
)
TEXT = st.one_of(st.none(), st.text(alphabet="1甲", max_size=3))
ROWS = st.lists(st.tuples(st.text(alphabet="K1", max_size=2), TEXT, TEXT), max_size=4)


def learn(house: House, customers: pl.DataFrame = CUSTOMERS, list_id: str = "C-1") -> None:
    assert isinstance(house.registry, LearnsLists)
    house.store.write(house.registry.learn(customers, list_id=list_id))


def names(house: House) -> list[str]:
    with house.store.read() as reader:
        return house.vault.names(reader, "list/")


def decided(house: House, customers: pl.DataFrame) -> list[str]:
    query = GrantQuery("wealth-marketing", PartyId("bank"), house.now_ms(), KeyKind.PHONE)
    return house.registry.decide(customers, query).reason.tolist()


def test_a_decision_with_kept_tokens_is_the_one_without(house: House) -> None:
    house.give(*(f"{phone_number(number)},,wealth-marketing,bank,2026-01-01,2026-12-31,," for number in range(0, 50, 2)))
    before = decided(house, CUSTOMERS)
    learn(house)
    house.restart()
    with patch.object(ListTokens, "make", side_effect=AssertionError("the tokens were made again")):
        assert decided(house, CUSTOMERS) == before
    assert "" in before and "NO_GRANT" in before


def test_a_list_with_any_other_row_does_not_find_them(house: House) -> None:
    learn(house)
    other = CUSTOMERS.with_columns(pl.when(pl.col("customer_id") == "K7").then(pl.lit(phone_number(99))).otherwise("phone").alias("phone"))
    tokens = house.registry._list_tokens
    assert tokens.stored(tokens.digest(other)) is None
    assert tokens.stored(tokens.digest(CUSTOMERS.reverse())) is None
    found = tokens.stored(tokens.digest(CUSTOMERS))
    made = tokens.make(CUSTOMERS)
    assert found is not None
    assert (found.phone == made.phone).all() and (found.id_no == made.id_no).all()


def test_what_is_kept_is_erased_by_the_list_s_name_and_says_nothing(house: House) -> None:
    learn(house)
    learn(house, CUSTOMERS.head(3), "C-2")
    kept = [name for name in names(house) if name.startswith("list/C-1/")]
    assert len(kept) == 1
    house.store.write(lambda tx: [house.vault.shred(tx, name) for name in kept])
    tokens = house.registry._list_tokens
    assert tokens.stored(tokens.digest(CUSTOMERS)) is None
    assert tokens.stored(tokens.digest(CUSTOMERS.head(3))) is not None
    house.store.checkpoint()
    raw = house.path.read_bytes()
    plain = tokens.make(CUSTOMERS.head(3)).phone.T.astype("<u8").tobytes()
    assert plain[:16] not in raw and phone_number(1).encode() not in raw


def test_altered_tokens_are_refused(house: House) -> None:
    learn(house)
    house.store.checkpoint()
    with sqlite3.connect(house.path) as editor:
        editor.execute("UPDATE vault_chunk SET sealed = substr(sealed, 1, length(sealed) - 1) || x'00'")
    house.restart()
    with pytest.raises(VerificationError):
        decided(house, CUSTOMERS)


@settings(max_examples=200, deadline=None)
@given(first=ROWS, second=ROWS)
def test_the_digest_tells_lists_apart_and_not_how_they_are_held(first: list[tuple[str, str | None, str | None]], second: list[tuple[str, str | None, str | None]]) -> None:
    tokens = DIGESTS
    one, other = customer_list(*first), customer_list(*second)
    assert (tokens.digest(one) == tokens.digest(other)) == (first == second)
    held_otherwise = pl.concat([other, one, other]).slice(other.height, one.height)
    assert tokens.digest(held_otherwise) == tokens.digest(one)


class _KeyOnly:
    def token_key(self, purpose: str) -> bytes:
        return purpose.encode().ljust(32, b"k")


DIGESTS = ListTokens(None, _KeyOnly(), bytes(32))  # type: ignore[arg-type]  # a digest needs the key alone
