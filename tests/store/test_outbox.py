"""Messages to partners: docs/store.md, section "Outbox"."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.contracts import Transaction
from workbench.domain.party import PartyId
from workbench.errors import Refused
from workbench.store import Database, Outbox
from workbench.store.outbox import FIRST_PAUSE_MS, LONGEST_PAUSE_MS, pause_ms

BANK, CARDNET = PartyId("bank"), PartyId("cardnet")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "evidence.db") as opened:
        yield opened


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database, now_ms=lambda: 1000)


def put(database: Database, outbox: Outbox, peer: PartyId = BANK, body: bytes = b"body") -> int:
    return database.write(lambda tx: outbox.put(tx, peer, "job/propose", body))


def test_message_waits_until_it_is_acknowledged_and_never_comes_again(database: Database, outbox: Outbox) -> None:
    first, second = put(database, outbox, body=b"one"), put(database, outbox, CARDNET, b"two")
    due = outbox.due(1000)
    assert [(m.id, m.peer, m.path, m.body, m.tries) for m in due] == [
        (first, BANK, "job/propose", b"one", 0),
        (second, CARDNET, "job/propose", b"two", 0),
    ]
    assert database.write(lambda tx: outbox.done(tx, first, 1001))
    assert [m.id for m in outbox.due(1001)] == [second]
    assert not database.write(lambda tx: outbox.done(tx, first, 1002))
    assert database.write(lambda tx: outbox.failed(tx, first, 1002, "late")) is None
    assert [m.id for m in outbox.due(10**15)] == [second]
    with database.read() as reader:
        assert reader.execute("SELECT body FROM outbox WHERE id = ?", (first,)).fetchone()[0] == b""


def test_message_exists_exactly_when_its_change_does(database: Database, outbox: Outbox) -> None:
    def change(tx: Transaction) -> None:
        outbox.put(tx, BANK, "job/propose", b"body")
        raise Refused("不行", "no")

    with pytest.raises(Refused):
        database.write(change)
    assert outbox.due(10**15) == []
    assert outbox.next_ms() is None


def test_failed_message_rests_longer_each_time(database: Database, outbox: Outbox) -> None:
    message, now = put(database, outbox), 1000
    pauses = []
    for _ in range(12):
        following = database.write(partial(outbox.failed, message=message, now_ms=now, error="PEER_UNAVAILABLE" * 50))
        assert following is not None
        assert outbox.due(following - 1) == []
        assert outbox.next_ms() == following
        assert [m.id for m in outbox.due(following)] == [message]
        pauses.append(following - now)
        now = following
    assert pauses[:4] == [1000, 2000, 4000, 8000]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_MS
    assert outbox.due(now)[0].tries == 12
    assert len(outbox.due(now)[0].last_error) == 200


@given(tries=st.integers(0, 10**6))
@settings(max_examples=50)
def test_pause_never_leaves_its_range(tries: int) -> None:
    assert FIRST_PAUSE_MS <= pause_ms(tries) <= LONGEST_PAUSE_MS


def test_partner_heard_of_again_gets_its_messages_at_once(database: Database, outbox: Outbox) -> None:
    to_bank, to_cardnet = put(database, outbox), put(database, outbox, CARDNET)
    for message in (to_bank, to_cardnet):
        database.write(partial(outbox.failed, message=message, now_ms=1000, error="PEER_UNAVAILABLE"))
    assert outbox.due(1500) == []
    assert database.write(lambda tx: outbox.hasten(tx, BANK, 1500)) == 1
    assert [m.id for m in outbox.due(1500)] == [to_bank]


def test_health_page_sees_what_waits_for_whom(database: Database, outbox: Outbox) -> None:
    first, _ = put(database, outbox), put(database, outbox)
    done = put(database, outbox, CARDNET)
    database.write(lambda tx: outbox.failed(tx, first, 1000, "PEER_UNAVAILABLE"))
    database.write(lambda tx: outbox.done(tx, done, 1000))
    waiting = outbox.waiting()
    assert [(w.peer, w.count, w.oldest_ms) for w in waiting] == [(BANK, 2, 1000)]


def test_forgetting_keeps_what_still_waits(database: Database, outbox: Outbox) -> None:
    first, second, third = (put(database, outbox) for _ in range(3))
    database.write(lambda tx: outbox.done(tx, first, 2000))
    database.write(lambda tx: outbox.done(tx, second, 9000))
    assert database.write(lambda tx: outbox.forget(tx, 5000)) == 1
    assert [m.id for m in outbox.due(10**15)] == [third]
    assert put(database, outbox) > third


def test_id_is_never_used_twice(database: Database, outbox: Outbox) -> None:
    """A partner knows a repeated message by its id."""
    last = put(database, outbox)
    database.write(lambda tx: outbox.done(tx, last, 2000))
    database.write(lambda tx: outbox.forget(tx, 5000))
    assert put(database, outbox) > last
