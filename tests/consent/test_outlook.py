"""When consents end, and whom to ask again: counted by the one decision, months of Asia/Shanghai."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from consent_house import House, beijing_ms, customer_list, phone_number
from hypothesis import given
from hypothesis import strategies as st
from workbench_consent import outlook

from workbench.crypto import sm3
from workbench.errors import Refused

BY_NAME = {one.name: one for one in outlook.OPERATIONS}
NOW = beijing_ms("2026-06-01 12:00:00")


def call(house: House, name: str, **request: Any) -> Any:
    operation = BY_NAME[name]
    return operation.run(house.context(*operation.roles), operation.request.model_validate(request))


def row(number: int, end: str, recipient: str = "bank") -> str:
    return f"{phone_number(number)},,wealth-marketing,{recipient},2026-01-01,{end},,app"


def filled(house: House) -> None:
    """Customers 1 to 6: ends today, this month, in 80 days, in 20 months, already over, never asked; 7 withdrew."""
    ends = ["2026-06-01", "2026-06-30", "2026-08-20", "2028-02-29", "2026-05-31"]
    house.give(*[row(number, end) for number, end in enumerate(ends, 1)], row(7, "2026-06-20"))
    house.registry.withdraw(phone=phone_number(7))
    house.lists.frames["C-1"] = customer_list(*[(f"k{number}", phone_number(number), None) for number in range(1, 8)])


def test_the_end_of_a_month_belongs_to_it_and_the_counts_add_up(house: House) -> None:
    filled(house)
    reply = call(house, "consent.outlook", list_id="C-1", recipient="bank", months=12)
    mine = next(one for one in reply.rows if one.purpose == "wealth-marketing")
    months = {one.month: one.customers for one in mine.months}
    assert next(iter(months)) == "2026-06" and len(months) == 12 and list(months)[-1] == "2027-05"
    assert (months["2026-06"], months["2026-07"], months["2026-08"], mine.later) == (2, 0, 1, 1)
    assert (mine.usable, mine.within_30, mine.within_90) == (4, 2, 3)
    assert all(one.usable == sum(month.customers for month in one.months) + one.later for one in reply.rows)


def test_whom_to_ask_again_leaves_out_who_withdrew_or_was_never_asked(house: House) -> None:
    filled(house)
    reply = call(
        house, "consent.renewals", list_id="C-1", purpose="wealth-marketing", recipient="bank", within_days=90
    )
    assert (reply.expired, reply.ending) == (1, 3)
    lines = house.downloads.offered[reply.download].decode("utf-8-sig").split()
    assert lines == [
        "customer_id,reason,ends_on", "k1,ENDING,2026-06-01", "k2,ENDING,2026-06-30", "k3,ENDING,2026-08-20",
        "k5,EXPIRED,2026-05-31",
    ]  # fmt: skip
    entry = house.entries("consent.renewals_listed")[-1]
    assert entry["customers"] == "4" and not any(phone_number(number) in str(entry) for number in range(1, 8))


def test_the_status_of_who_ever_signed_is_exported_with_the_event_it_rests_on(house: House) -> None:
    filled(house)
    reply = call(house, "consent.export_status", list_id="C-1", purpose="wealth-marketing", recipient="bank")
    lines = house.downloads.offered[reply.download].decode("utf-8-sig").split()
    assert lines == [
        "customer_id,status,ends_on", "k1,OK,2026-06-01", "k2,OK,2026-06-30", "k3,OK,2026-08-20", "k4,OK,2028-02-29", "k5,EXPIRED,",
        "k7,WITHDRAWN,",
    ]  # fmt: skip
    assert reply.counts == {"OK": 4, "EXPIRED": 1, "NO_GRANT": 1, "WITHDRAWN": 1} and sum(reply.counts.values()) == reply.customers
    entry = house.entries("consent.status_exported")[-1]
    assert entry["file_sm3"] == sm3.digest(house.downloads.offered[reply.download]).hex() and entry["as_of"] == str(reply.as_of)


def test_a_customer_number_that_looks_like_a_formula_is_none_in_the_file(house: House) -> None:
    house.give(row(1, "2026-06-10"))
    house.lists.frames["C-1"] = customer_list(("=1+1", phone_number(1), None))
    reply = call(house, "consent.renewals", list_id="C-1", purpose="wealth-marketing", recipient="bank")
    assert b"'=1+1" in house.downloads.offered[reply.download]


def test_nobody_to_ask_gives_no_file_and_still_an_entry(house: House) -> None:
    house.lists.frames["C-1"] = customer_list(("k1", phone_number(1), None))
    reply = call(house, "consent.renewals", list_id="C-1", purpose="wealth-marketing", recipient="bank")
    assert (reply.expired, reply.ending, reply.download) == (0, 0, "")
    assert house.entries("consent.renewals_listed")[-1]["customers"] == "0"
    with pytest.raises(Refused):
        call(house, "consent.renewals", list_id="C-1", purpose="unknown", recipient="bank")


@given(st.lists(st.integers(NOW + 1, NOW + 3 * 366 * outlook.DAY_MS), max_size=40), st.integers(1, 36))
def test_every_end_falls_into_exactly_one_month_as_its_last_day_says(ends: list[int], months: int) -> None:
    counted = outlook.ends_of(np.array(ends, np.int64), NOW, months)
    assert sum(counted.months.values()) + counted.later == len(ends)
    for month, count in counted.months.items():
        assert count == sum(outlook._last_day(one).startswith(month) for one in ends)
