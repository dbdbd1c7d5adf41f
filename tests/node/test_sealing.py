"""How often a node asks a partner to co-sign while a run writes an entry for every message."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from workbench.domain.party import PartyId
from workbench.node.sealing import BACKLOG_BYTES, MOST_SMALL_PULLS, Sealing

BANK = PartyId("bank")


class Seen(threading.Event):
    """An event that nobody waits for in fact: it says at once whether it is set, and keeps what it said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[bool] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.said.append(self.is_set())
        return self.is_set()


def test_who_is_waited_for_is_sent_at_once_and_what_follows_keeps_the_interval() -> None:
    requests = [b"entries"] * 5
    calls: list[str] = []

    def call(party: PartyId, path: str, body: bytes, **_: Any) -> bytes:
        calls.append(path)
        return b""

    ledger = SimpleNamespace(
        next_request=lambda party: requests.pop() if requests else None,
        accept_reply=lambda party, reply, request: None,
        size=lambda party: 0,
        exchange=SimpleNamespace(untold=lambda party: None, pull_question=lambda party, reply: b""),
    )
    host: Any = SimpleNamespace(ledger=ledger, links=SimpleNamespace(call=call), setting=lambda name: 60_000)
    sealing, woken = Sealing(host), Seen()
    sealing._wakes[BANK] = woken

    sealing.pull_soon(BANK)
    assert sealing.round(BANK), "everything is sent in the end"
    assert woken.said == [True, False, False, False, False], "one wake takes one pause and no other"
    assert calls == ["mirror", "pull", "mirror", "mirror", "mirror", "mirror"], "what it was woken for is not put off"


def test_a_partner_that_writes_without_a_break_is_not_followed_entry_by_entry() -> None:
    """Its log is longer at each look. A large answer has more behind it, a small one is what was written meanwhile."""
    answers = [b"x" * BACKLOG_BYTES] * 5 + [b"one entry"] * 100
    size = 0

    def call(party: PartyId, path: str, body: bytes, **_: Any) -> bytes:
        return answers.pop(0)

    def witness(party: PartyId, answer: bytes) -> bytes:
        nonlocal size
        size += 1
        return b""

    ledger = SimpleNamespace(size=lambda party: size, witness=witness, exchange=SimpleNamespace(pull_question=lambda party, reply: b""))
    host: Any = SimpleNamespace(ledger=ledger, links=SimpleNamespace(call=call), setting=lambda name: 60_000)
    assert Sealing(host).pull(BANK) == 5 + MOST_SMALL_PULLS and len(answers) == 100 - MOST_SMALL_PULLS
