"""Who may be used, for what purpose, towards whom: what a consent registry offers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from workbench.contracts.storing import Transaction
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId

if TYPE_CHECKING:
    import numpy as np
    import polars as pl


@dataclass(frozen=True, slots=True)
class GrantQuery:
    """Which customers may be used: for this purpose, towards this recipient, at this instant.

    categories: personal information needed besides the identifier compared. contact: channel by which customers will be
    contacted, "" while none is chosen. job: whose own uses do not count against a grant's largest number of uses.
    """

    purpose: str
    recipient: PartyId
    at_ms: int
    key_kind: KeyKind
    categories: frozenset[str] = frozenset()
    contact: str = ""
    job: str = ""


@dataclass(frozen=True, slots=True)
class ConsentDecision:
    """The registry's answer for a frame of customers, row by row in the order of the frame.

    usable: bool array (n). reason: array of short codes (n), "" where usable. grant_digest: (n, 32) uint8, zero where
    not usable. valid_until_ms: int64 (n), 0 where not usable. as_of: sequence number of the newest consent event the
    answer rests on. counts: reason code -> number of customers.
    """

    usable: np.ndarray
    reason: np.ndarray
    grant_digest: np.ndarray
    valid_until_ms: np.ndarray
    as_of: int
    counts: Mapping[str, int]


class ConsentRegistry(Protocol):
    """Directed grants and their withdrawal (hook workbench_consent_registry, exactly one)."""

    name: str

    def decide(self, customers: pl.DataFrame, query: GrantQuery, *, among: np.ndarray | None = None) -> ConsentDecision:
        """Who may be used; customers: columns customer_id, phone, id_no (null when absent), the whole list.

        among: bool array (n), who belongs to the audience: one of them stands for a key that several may be used for.
        Cost aim: 10^6 rows in 2 s. Reason codes are documented in docs/consent.md.
        """

    def changed_since(self, as_of: int) -> bool:
        """True when a consent event after `as_of` exists, so that a decision must be taken anew."""

    def take_snapshot(
        self, tx: Transaction, *, job: str, attempt: int, query: GrantQuery, decision: ConsentDecision, actor: str = ""
    ) -> str:
        """Write down what a decision allows for one attempt of one job; returns the snapshot's id (row C5)."""

    def use_snapshot(self, tx: Transaction, snapshot: str, *, job: str, attempt: int, query: GrantQuery) -> None:
        """Spend a snapshot on the attempt it was taken for; Refused when it was spent, is stale or is of another run."""


@runtime_checkable
class NamesCustomers(Protocol):
    """What a consent registry may offer besides: under which names the evidence about a customer is sealed."""

    def evidence_names(self, *, phone: str | None, id_no: str | None) -> Sequence[str]:
        """Tokens of a person, from normalised identifiers and from what signed forms add to them; none is stored."""


@runtime_checkable
class NamesImports(Protocol):
    """What a consent registry may offer besides: which imports brought the grants of a customer."""

    def imports_of(self, names: Sequence[str]) -> Sequence[int]:
        """Indices in the own log of the entries that recorded these imports, ascending; names: tokens in hex."""


@runtime_checkable
class FindsCustomers(Protocol):
    """What a consent registry offers for erasures: customers by token, never by identifier."""

    def customer_names(self, *, phones: Sequence[str], id_nos: Sequence[str]) -> tuple[str, ...]:
        """Tokens in hex of everything that belongs to this person, signed forms included; normalised identifiers.

        Raises Refused AMBIGUOUS_CUSTOMER when a phone alone is known to several persons.
        """

    def tokens_of(self, *, phones: Sequence[str], id_nos: Sequence[str]) -> tuple[str, ...]:
        """Tokens in hex of exactly these normalised identifiers; nothing is looked up."""

    def rows_named(self, customers: pl.DataFrame, names: Sequence[str]) -> np.ndarray:
        """bool (n): rows (columns phone, id_no) of this person: the number agrees, or there is none and the phone does."""


@dataclass(frozen=True, slots=True)
class CustomerDecision:
    """Why one customer was or was not usable. code: "OK" or a reason; zh, en: its sentence.

    record: number of the grant that speaks for it, 0 for none; from_ms, until_ms, channel, digest (hex): of that grant.
    """

    code: str
    zh: str
    en: str
    record: int = 0
    from_ms: int = 0
    until_ms: int = 0
    channel: str = ""
    digest: str = ""


@runtime_checkable
class ExplainsCustomers(Protocol):
    """What a consent registry may offer besides: the decision about one customer, in words, with the grant behind it."""

    def explain_customer(
        self, customers: pl.DataFrame, row: int, query: GrantQuery, *, names: Sequence[str]
    ) -> CustomerDecision:
        """The customer in `row` of a list, at the instant of the query, by what is known today; names: its tokens.

        A grant withdrawn since is named all the same: past use rested on it.
        """


@dataclass(frozen=True, slots=True)
class TakenBack:
    """One withdrawal as the registry keeps it. event: its number; entry: of the own log; purpose, recipient: "" for all."""

    event: int
    at_ms: int
    entry: int
    purpose: str
    recipient: str


@runtime_checkable
class TellsWithdrawals(Protocol):
    """What a consent registry offers so that withdrawals reach partners and exports: by number, never by identifier."""

    def withdrawals_after(self, event: int) -> Sequence[TakenBack]:
        """Withdrawals with a higher number, ascending."""

    def newest_event(self, reader: sqlite3.Connection | Transaction) -> int:
        """Number of the newest consent event as this reader sees it, inside a change that of the change."""

    def rows_meant(self, customers: pl.DataFrame, events: Sequence[int]) -> np.ndarray:
        """bool (n): rows (columns phone, id_no) whose person one of these withdrawals means."""


@runtime_checkable
class LearnsLists(Protocol):
    """What a consent registry may offer besides: to prepare for a list while it is imported."""

    def learn(self, customers: pl.DataFrame, *, list_id: str) -> Callable[[Transaction], None]:
        """Prepare outside any change; call the result in the change that stores the list.

        What is kept of the list lies in the vault under names that start with `list/{list_id}/`: they are erased with
        `list/{list_id}` itself.
        """

    def forget_large(self) -> None:
        """Give back the memory that large lists and many grants have taken; the next decision reads them again."""
