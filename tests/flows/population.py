"""The customers and grants of the tests, and a naive model of who may be used: written apart from the registry.

Person i has the phone 100 and i; institutions know overlapping ranges of people. The model is plain sets in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from workbench.domain.identifiers import id_check_character

KNOWN = {"broker": range(160), "cardnet": range(30, 190), "bank": range(60, 220)}
TIERS = "ABC"
RICH = "wealth-marketing"
"""The purpose with every kind of exception; all others are granted by everybody to everybody."""
SPARE = tuple(f"test-{number:02d}" for number in range(1, 49))
"""Purposes that one test each may spoil with withdrawals and budgets."""
UNUSED = "test-never"
"""A purpose that no job of any test has."""
PURPOSES = {
    RICH: ["财富产品营销", "wealth marketing"],
    "investor-education": ["投资者教育", "investor education"],
    "customer-service": ["客户服务", "customer service"],
} | {name: [name, name] for name in (*SPARE, UNUSED)}

SHARED_PHONE = 155
"""At the broker a second customer, without any grant, has this person's phone."""
TWICE = 154
"""At the broker the same person is listed a second time under another number, with grants."""
STRANGER = 100
"""Known to all, and has never consented to anything."""


def phone(person: int) -> str:
    return f"100{person:08d}"


def id_no(person: int) -> str:
    stem = f"990101{1950 + person % 50}0{1 + person % 9}1{person % 9}{person:03d}"
    return stem + id_check_character(stem)


def tier(person: int) -> str:
    return TIERS[person % 3]


def may_use(party: str, recipient: str, purpose: str, person: int) -> str:
    """"" when `party` may use this person towards `recipient`, else the reason code of docs/consent.md."""
    if person not in KNOWN[party]:
        return "UNKNOWN"
    if party == "broker" and person == SHARED_PHONE:
        return "AMBIGUOUS_KEY"
    if person == STRANGER:
        return "NO_GRANT"
    if purpose != RICH:
        return ""
    if person % 10 == 1:
        return "PURPOSE_MISMATCH"
    if person % 10 == 3:
        return "EXPIRED"
    if person % 10 == 5 and recipient != "bank" and party != "bank":
        return "RECIPIENT_MISMATCH"
    if person % 10 == 7 and party == "bank":
        return "PURPOSE_MISMATCH"
    return ""


def usable(party: str, recipient: str, purpose: str, *, tiers: str = TIERS) -> set[str]:
    """Phones that may be used."""
    return {phone(one) for one in KNOWN[party] if tier(one) in tiers and not may_use(party, recipient, purpose, one)}


def expected(first: str, second: str, purpose: str, *, tiers: str = TIERS) -> list[str]:
    """The intersection both must find, by naive sets; tiers: audience of the first alone. Ascending."""
    return sorted(usable(first, second, purpose, tiers=tiers) & usable(second, first, purpose))


def customers_csv(party: str) -> str:
    rows = ["客户号,手机号,身份证号,姓名,风险等级,资产档,备注"]
    rows += [_customer(party, one, str(one)) for one in KNOWN[party]]
    if party == "broker":
        rows.append(f"broker-x,{phone(SHARED_PHONE)},{id_no(901)},合成客户,C1,C,共用手机")
        rows.append(_customer(party, TWICE, f"{TWICE}b"))
    return "\n".join(rows) + "\n"


def grants_csv(party: str, purposes: Iterable[str] = tuple(PURPOSES)) -> str:
    rows = ["phone,id_no,purpose,recipient,valid_from,valid_until"]
    rows += [",".join(one) for one in _grants(party, purposes)]
    return "\n".join(rows) + "\n"


def _customer(party: str, person: int, number: str) -> str:
    return f"{party}-{number},{phone(person)},{id_no(person)},合成客户,C{1 + person % 5},{tier(person)},=1+1"


def _grants(party: str, purposes: Iterable[str]) -> Iterator[Iterable[str]]:
    others = [other for other in KNOWN if other != party]
    for person in KNOWN[party]:
        who = (phone(person), id_no(person))
        for recipient in others:
            for purpose in purposes:
                reason = may_use(party, recipient, purpose, person)
                if reason in ("", "AMBIGUOUS_KEY"):
                    yield (*who, purpose, recipient, "2020-01-01", "2099-12-31")
                elif reason == "EXPIRED":
                    yield (*who, purpose, recipient, "2020-01-01", "2021-12-31")


def write(folder: Path, party: str, purposes: Iterable[str] = tuple(PURPOSES)) -> tuple[Path, Path]:
    """Customers and grants for these purposes as files."""
    folder.mkdir(parents=True, exist_ok=True)
    customers, grants = folder / f"{party}.csv", folder / f"{party}-grants.csv"
    customers.write_text(customers_csv(party), "utf-8")
    grants.write_text(grants_csv(party, purposes), "utf-8")
    return customers, grants
