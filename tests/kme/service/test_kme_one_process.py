"""Two ends without sockets: what one end takes the other's word for, and what happens between two steps."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from kme_pair import LINE, SENDER, imported_plan
from one_process import OneProcess
from workbench_kme.keys import State, SyncState, format_sync
from workbench_kme.keys.model import MAX_BLOCK, Position
from workbench_kme.keys.syncing import MOST_AHEAD
from workbench_kme.physics import ATTACK_KINDS
from workbench_kme.service.transport import Reply
from workbench_kme.service.wire import ATTACKS, to_text
from workbench_kme.sources.imported import make_key_file

from workbench.errors import KeyUnavailable, PeerError, PeerUnavailable, StorageFailed

PULSES = 20_000_000
ASKED: dict[str, Any] = {"number": 2, "size": 256, "origins": (), "master": "sae-broker", "slaves": ("sae-sandbox",)}


@pytest.fixture
def ends(tmp_path: Path) -> Iterator[OneProcess]:
    made = OneProcess(tmp_path / "sites", imported_plan())
    yield made
    made.close()


@pytest.fixture(scope="module")
def simulating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneProcess]:
    """For what is refused and changes nothing."""
    plan = imported_plan(source="simulated", options={"preset": "metro-10", "pulses": PULSES}, demonstration=True)
    made = OneProcess(tmp_path_factory.mktemp("simulating") / "sites", plan)
    yield made
    made.close()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneProcess]:
    """In step, with keys in stock."""
    made = OneProcess(tmp_path_factory.mktemp("compared") / "sites", imported_plan())
    made.bring_file(40)
    yield made
    made.close()


def test_what_fails_in_a_line_is_logged_by_kind_and_place_and_never_by_its_text(
    ends: OneProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    line = ends.here_line

    def fails() -> None:
        line._stop.set()
        raise ValueError("b'the bits of a key'")

    monkeypatch.setattr(line, "_beat_once", fails)
    monkeypatch.setattr(line._wake, "wait", lambda timeout: True)
    line._beat()
    assert "ValueError at " in caplog.text and "test_kme_one_process.py:" in caplog.text
    assert "the bits" not in caplog.text and "Traceback" not in caplog.text


# -------------------------------------------------------------------------- numbers that the other end names


def begin(**changes: Any) -> dict[str, Any]:
    eavesdropper = {"kind": "", "fraction_ppm": 0, **changes.pop("eavesdropper", {})}
    return {"block": 0, "source": "simulated", "nonce": "00" * 16, "pulses": PULSES, "eavesdropper": eavesdropper, **changes}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (begin(eavesdropper={"kind": "x" * 60_000}), "MALFORMED"),
        (begin(eavesdropper={"kind": "intercept-resend"}), "MALFORMED"),
        (begin(eavesdropper={"fraction_ppm": 5}), "MALFORMED"),
        (begin(eavesdropper={"kind": "x", "fraction_ppm": 5}), "MALFORMED"),
        (begin(eavesdropper={"kind": "intercept-resend", "fraction_ppm": -1}), "MALFORMED"),
        (begin(eavesdropper={"kind": "intercept-resend", "fraction_ppm": 1_000_001}), "MALFORMED"),
        (begin(nonce="00" * 15), "MALFORMED"),
        (begin(nonce="00" * 1000), "MALFORMED"),
        (begin(pulses=80 * PULSES), "OTHER_SETTING"),
        (begin(pulses=0), "OTHER_SETTING"),
        (begin(block=MAX_BLOCK), "OUT_OF_REACH"),
        (begin(block=MOST_AHEAD + 1), "OUT_OF_REACH"),
        (begin(block=-1), "BLOCK_NUMBER"),
    ],
)
def test_a_block_that_begins_with_numbers_of_no_sense_is_refused_and_nothing_of_it_is_kept(
    simulating: OneProcess, body: dict[str, Any], code: str
) -> None:
    before = simulating.receiver.journal.line(LINE)
    status, told = simulating.ask_receiver("begin", body)
    assert (status, told["code"]) == (409, code)
    assert simulating.receiver.journal.line(LINE) == before


def test_the_attacks_a_line_can_be_put_under_are_those_of_the_physics() -> None:
    assert ATTACKS == ATTACK_KINDS


def test_a_next_block_out_of_reach_is_not_gone_to(ends: OneProcess) -> None:
    ends.bring_file(4)
    before = ends.sender.journal.line(LINE).next_block
    said = {"next_block": 0}

    def between(verb: str, _body: dict[str, Any], reply: Reply) -> Reply:
        return Reply(409, b'{"code":"BLOCK_NUMBER","next_block":%d}' % said["next_block"]) if verb == "begin" else reply

    ends.there.between = between
    (ends.folders[SENDER] / "inbox" / "more.wbki").write_bytes(make_key_file(LINE, 4))
    for number in (MAX_BLOCK, before + 1 + MOST_AHEAD + 1, 0, before):
        said["next_block"] = number
        with pytest.raises(PeerError, match="OUT_OF_REACH"):
            ends.here_line.maker.make()
    assert ends.sender.journal.line(LINE).next_block == before + 4  # the numbers tried, and no other
    said["next_block"] = before + 1000
    assert not ends.here_line.maker.make()
    assert ends.sender.journal.line(LINE).next_block == before + 1000


@pytest.mark.parametrize(
    "alter",
    [
        lambda state: replace(state, next_block=MAX_BLOCK),
        lambda state: replace(state, next_block=state.next_block + MOST_AHEAD + 1),
        lambda state: replace(state, pointers=(Position(MAX_BLOCK, 0), None)),
        lambda state: replace(state, floors=(Position(MAX_BLOCK, 0), None)),
        lambda state: replace(state, blocks=(*state.blocks, replace(state.blocks[0], block=MAX_BLOCK))),
    ],
)
def test_a_comparison_with_numbers_out_of_reach_changes_nothing(
    compared: OneProcess, alter: Callable[[SyncState], SyncState]
) -> None:
    before = compared.receiver.store.sync_state(LINE)
    state = alter(compared.sender.store.sync_state(LINE))
    status, told = compared.ask_receiver("sync", {"state": to_text(format_sync(state))})
    assert (status, told) == (409, {"code": "SYNC_OUT_OF_REACH"})
    assert compared.receiver.store.sync_state(LINE) == before
    compared.beat()
    assert compared.here_line.get_keys(**ASKED)  # the line lives on


# ----------------------------------------------------------------------------------- between two steps


def revoking(ends: OneProcess, times: int) -> list[UUID]:
    """Revoke the first key of each reservation when the other end has accepted it; the list fills with them."""
    revoked: list[UUID] = []

    def between(verb: str, body: dict[str, Any], reply: Reply) -> Reply:
        if verb == "reserve" and len(revoked) < times:
            revoked.append(UUID(body["keys"][0]))
            ends.sender.store.revoke(LINE, key_ids=revoked[-1:], reason="person left")
        return reply

    ends.there.between = between
    return revoked


def test_a_key_revoked_between_reservation_and_hand_out_is_passed_over_at_both_ends(ends: OneProcess) -> None:
    ends.bring_file(40)
    revoked = revoking(ends, times=2)
    ends.sender.start()
    keys = ends.here_line.get_keys(**ASKED)
    assert len(keys) == 2 and len(revoked) == 2 and not {one.key_id for one in keys} & set(revoked)
    fetched = ends.there_line.get_keys_by_id([one.key_id for one in keys], master="sae-broker", slave="sae-sandbox")
    assert [one.value for one in fetched] == [one.value for one in keys]
    for one in revoked:
        with pytest.raises(KeyUnavailable, match="KEY_GONE"):
            ends.there_line.get_keys_by_id([one], master="sae-broker", slave="sae-sandbox")


def test_when_every_reservation_is_revoked_the_line_answers_that_it_is_out_of_step(ends: OneProcess) -> None:
    ends.bring_file(40)
    revoked = revoking(ends, times=1000)
    ends.sender.start()
    with pytest.raises(KeyUnavailable, match="OUT_OF_STEP"):
        ends.here_line.get_keys(**ASKED)
    assert len(revoked) == 3


def test_a_withdrawal_that_the_other_end_failed_at_is_repeated_until_it_is_done(
    ends: OneProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends.bring_file(8)
    key = ends.here_line.get_keys(**ASKED)[0].key_id
    assert ends.here_line.withdraw("revoke", keys=[str(key)], block=-1, reason="person left") == 1
    for fault in (StorageFailed("x", "x"), sqlite3.OperationalError("disk I/O error"), KeyError("x"), AttributeError("x")):

        def fail(*_arguments: Any, fault: Exception = fault, **_named: Any) -> None:
            raise fault

        with monkeypatch.context() as patched:
            patched.setattr(ends.receiver.store, "revoke", fail)
            with pytest.raises(PeerUnavailable, match="PEER_BUSY"):
                ends.beat()
        assert len(ends.sender.journal.untold(LINE)) == 1
    ends.beat()
    assert ends.sender.journal.untold(LINE) == []
    with pytest.raises(KeyUnavailable, match="KEY_GONE"):
        ends.there_line.get_keys_by_id([key], master="sae-broker", slave="sae-sandbox")


def test_a_withdrawal_that_no_repetition_would_change_is_not_repeated(ends: OneProcess) -> None:
    ends.bring_file(8)
    ends.sender.journal.tell(LINE, {"what": "burn", "keys": [], "block": -1, "reason": "x"})
    ends.sender.journal.tell(LINE, {"what": "revoke", "keys": [], "block": -1, "reason": "\n"})
    ends.beat()
    assert ends.sender.journal.untold(LINE) == []


def test_a_refusal_that_is_not_about_the_withdrawal_itself_does_not_end_it(ends: OneProcess) -> None:
    ends.bring_file(8)
    ends.here_line.withdraw("rekey", keys=[], block=-1, reason="exercise")
    for refusal in (b'{"code":"NOT_NOW"}', b'{"code":"TOO_LARGE"}', b'{"code":"REFUSED"}', b'{"code":""}'):

        def between(verb: str, _body: dict[str, Any], reply: Reply, refusal: bytes = refusal) -> Reply:
            return Reply(409, refusal) if verb == "withdraw" else reply

        ends.there.between = between
        with pytest.raises(PeerError):
            ends.beat()
        assert len(ends.sender.journal.untold(LINE)) == 1 and not ends.here_line.in_step
    ends.there.between = lambda _verb, _body, reply: reply
    ends.beat()
    assert ends.sender.journal.untold(LINE) == [] and ends.here_line.in_step
    assert ends.receiver.store.status(LINE).available == 0


def test_a_storage_that_fails_under_a_reservation_says_nothing_of_the_keys(
    ends: OneProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends.bring_file(8)

    def fail(*_arguments: Any) -> None:
        raise StorageFailed("x", "x")

    monkeypatch.setattr(ends.receiver.store, "accept", fail)
    with pytest.raises(PeerUnavailable, match="PEER_BUSY"):
        ends.here_line.get_keys(**ASKED)


class LosesChanges:
    """A database whose changes run and are undone: the disk refused the commit."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole

    def write(self, change: Callable[[Any], Any], **named: Any) -> Any:
        def lost(tx: Any) -> None:
            change(tx)
            raise StorageFailed("x", "x")

        return self._whole.write(lost, **named)

    def read(self) -> Any:
        return self._whole.read()


def test_a_disk_that_refuses_after_the_other_end_heard_costs_these_keys_and_nothing_else(
    ends: OneProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends.bring_file(20)
    with monkeypatch.context() as patched:
        patched.setattr(ends.sender.store.core, "database", LosesChanges(ends.sender.store.core.database))
        with pytest.raises(StorageFailed):
            ends.here_line.get_keys(**ASKED)
        accepted = {one.key_id for one in ends.receiver.store.keys(LINE, state=State.RESERVED)}
        assert len(accepted) == 2 and not ends.here_line.in_step
        with pytest.raises(StorageFailed):
            ends.beat()  # nothing is compared while the disk refuses
        assert not ends.here_line.in_step
    ends.beat()
    assert ends.here_line.in_step
    assert not {one.key_id for one in ends.here_line.get_keys(**ASKED)} & accepted
    assert {ends.receiver.store.key(one).state for one in accepted} == {State.DESTROYED}
    assert "restored-copy" not in {one.kind for end in (ends.sender, ends.receiver) for one in end.journal.alarms(open_only=True, limit=9)}
