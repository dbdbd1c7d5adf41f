"""Parties, roles and people: who may act, for whom."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

PartyId = NewType("PartyId", str)
PersonId = NewType("PersonId", str)

_PARTY = re.compile(r"[a-z][a-z0-9-]{1,30}")


def parse_party_id(text: str) -> PartyId:
    """The id of an institution: 2 to 31 lower-case letters, digits and dashes, starting with a letter."""
    if not _PARTY.fullmatch(text):
        raise ValueError("a party id has 2 to 31 lower-case letters, digits and dashes, and starts with a letter")
    return PartyId(text)


class Role(StrEnum):
    """What a person may do; the one table with all operations is generated into docs/operations.md (decision 29)."""

    MARKETING = "marketing"
    APPROVER = "approver"
    COMPLIANCE = "compliance"
    OPERATOR = "operator"
    AUDITOR = "auditor"
    REGULATOR = "regulator"
    ADMIN = "admin"
    ADVISER = "adviser"
    PROVIDER_OPERATOR = "provider-operator"


ROLE_NAMES: dict[Role, tuple[str, str]] = {
    Role.MARKETING: ("营销岗", "marketing"),
    Role.APPROVER: ("审批岗", "approver"),
    Role.COMPLIANCE: ("合规岗", "compliance"),
    Role.OPERATOR: ("运维岗", "operator"),
    Role.AUDITOR: ("审计岗", "auditor"),
    Role.REGULATOR: ("监管", "regulator"),
    Role.ADMIN: ("管理员", "administrator"),
    Role.ADVISER: ("投顾", "adviser"),
    Role.PROVIDER_OPERATOR: ("算力方运维", "provider's operator"),
}


@dataclass(frozen=True, slots=True)
class Person:
    """One member of staff of one institution.

    person: account name, unique in the institution. roles: non-empty. token: the name evidence uses for this person,
    random and stable, so that a mirrored envelope does not carry an account name. until_ms: when the account ends by
    itself, None for never; a regulator's always has such an end.
    """

    person: PersonId
    party: PartyId
    roles: frozenset[Role]
    display_name: str
    token: str
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is behind one request, as the node itself established it (decisions 17 and 18).

    kernel: the request came with a notebook's token, which reads, proposes and runs but never approves, exports,
    unmasks, withdraws or administers. confirmed: digest of the action for which a fresh password was given, or "".
    audience: what the ticket was issued for, "" within this process. first_password: came in with a one-time password,
    which opens nothing but its own change. machine: "" for a person; else the kind of machine behind the request, which may call
    what names that kind and nothing else; `person` is then its credential.
    """

    person: Person
    kernel: bool = False
    confirmed: str = ""
    audience: str = ""
    first_password: bool = False
    machine: str = ""
