"""Letters: durable signed messages between institutions outside an intersection (docs/protocols/letters.md)."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from workbench.contracts.storing import Transaction
from workbench.domain.party import PartyId


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter that has arrived: intact, signed by `sender`, never taken before.

    id: 32 hex. job: "" for none. posted_ms: by the sender's clock. digest: of the letter, as both logs name it.
    prepared: what `LetterKind.prepare` returned, None without it.
    """

    id: str
    sender: PartyId
    kind: str
    job: str
    posted_ms: int
    digest: str
    body: bytes = field(repr=False)
    prepared: Any = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LetterState:
    """A letter of this institution. acknowledged_ms: when its signed acknowledgement came, None while it waits.

    refused_code: "" or why the partner will not take it. answer: what its receiver returned; b"" while it waits and for a
    refusal. tries: deliveries that failed so far; last_error: the code of the last one.
    """

    id: str
    to: PartyId
    kind: str
    job: str
    posted_ms: int
    acknowledged_ms: int | None
    refused_code: str
    answer: bytes = field(repr=False)
    tries: int = 0
    last_error: str = ""

    @property
    def state(self) -> str:
        """WAITING, ACKNOWLEDGED or REFUSED."""
        if self.acknowledged_ms is None:
            return "WAITING"
        return "REFUSED" if self.refused_code else "ACKNOWLEDGED"


@dataclass(frozen=True, slots=True)
class LetterKind:
    """A kind of letter somebody here receives (hook workbench_letters).

    name: `[a-z][a-z0-9.-]{0,63}`, the owner's name and a dot first. receive: runs once per letter, in one transaction with its
    entry; what it returns is the signed answer. It may raise Refused or ProtocolViolation: nothing of it happens then, and
    the code becomes a signed refusal, which is final; any other failure makes the letter come again. It must not matter
    when it runs twice, because a restored node forgets what it took. prepare: slow work on the letter ahead of the
    transaction, for `Letter.prepared`; raises as `receive`. acknowledged: runs at the sender in the transaction that keeps
    the acknowledgement of a letter of this kind, or its refusal.
    """

    name: str
    receive: Callable[[Transaction, Letter], bytes]
    prepare: Callable[[Letter], Any] | None = None
    acknowledged: Callable[[Transaction, LetterState], None] | None = None


class Letters(Protocol):
    """The letters of one node."""

    def post(self, tx: Transaction, *, to: PartyId, kind: str, body: bytes, job: str = "") -> str:
        """Write a letter in the caller's transaction; its id, 32 hex. Delivered until it is acknowledged or refused.

        body: at most 262,144 bytes, without a phone or identity number. Raises Refused UNKNOWN_PARTNER,
        IDENTIFIER_IN_MESSAGE or TooLarge; ValueError for a kind or job of another form.
        """

    def state(self, reader: sqlite3.Connection | Transaction, letter_id: str) -> LetterState:
        """How a letter of this institution stands; NotFound NO_LETTER."""
