"""Nodes that were away, or came back from an older copy: docs/protocols/ledger.md sections 4, 5, 6 and 8, on real nodes."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.flows import population
from tests.flows.institutions import Institutions, fresh_workspace, running, write_settings
from workbench.contracts import PeerCall
from workbench.domain.evidence import RestoredEntry
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused, VerificationError
from workbench.node import counterparts, restore


@pytest.fixture(scope="module")
def trio() -> Iterator[Institutions]:
    """Institutions of this file, quick to co-sign; every test leaves them running and whole."""
    workspace = fresh_workspace()
    for party in workspace.parties:
        write_settings(workspace, party, node__seal_interval_ms=20)
    with running(workspace) as made:
        yield made
    shutil.rmtree(workspace.folder)


def sealed(trio: Institutions) -> bool:
    return all(node.ledger.exchange.lags() and not behind(node) for node in trio.nodes.values())


def behind(node: Any) -> bool:
    size = node.ledger.size(node.party)
    return any(lag.cosigned < size for lag in node.ledger.exchange.lags())


def stopped_copy(trio: Institutions, party: str, path: Path) -> int:
    """Stop a node and copy its database; start it again. How many own entries the copy has."""
    trio.wait_until(lambda: sealed(trio))
    size = trio.nodes[party].ledger.size(PartyId(party))
    trio.stop(party)
    source = sqlite3.connect(trio.workspace.node_folder(party) / "evidence.db")
    target = sqlite3.connect(path)
    source.backup(target)
    source.close()
    target.close()
    trio.start(party)
    return size


def bring_back(trio: Institutions, party: str, path: Path, *, start: bool = True) -> None:
    """What an operator does who restores yesterday's file."""
    trio.stop(party)
    folder = trio.workspace.node_folder(party)
    for file in folder.glob("evidence.db*"):
        file.unlink()
    shutil.copy(path, folder / "evidence.db")
    (folder / "evidence.db").chmod(0o600)
    if start:
        trio.start(party)


def withdraw(trio: Institutions, party: str, phone: str) -> None:
    trio.call(party, Role.COMPLIANCE, "consent.withdraw", phone=phone, reason="asked at the counter")


def test_a_node_restored_from_an_older_copy_gets_its_entries_back_before_it_writes(
    trio: Institutions, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.db"
    at = stopped_copy(trio, "broker", copy)
    node = trio.nodes["broker"]
    withdraw(trio, "broker", population.phone(8))
    for _ in range(3):
        with pytest.raises(Refused):
            trio.call("broker", Role.MARKETING, "people.all")
    trio.wait_until(lambda: sealed(trio))
    size = node.ledger.size("broker")
    kinds = trio.kinds("broker")[at:]
    with node.store.read() as reader:
        taken_back = reader.execute("SELECT phone, id_no, purpose, recipient FROM consent_suppression").fetchall()
    assert taken_back
    bring_back(trio, "broker", copy)
    node = trio.nodes["broker"]
    assert node.ledger.is_open()
    assert trio.kinds("broker")[at:size] == kinds
    told = trio.entries("broker", kind="ledger.restored")[-1].values
    assert (told["from"], told["to"]) == (str(at), str(size))
    assert "consent.withdrawn:1" in told["kinds"].split(" ")
    assert set(told["mirrors"].split(" ")) <= {"bank", "cardnet"}
    assert int(told["values_lost"]) > 0
    assert trio.kinds("broker")[size] == "ledger.restored"  # the first entry after what came back
    with node.store.read() as reader:  # the withdrawal is in force again, without anybody's doing
        again = reader.execute("SELECT phone, id_no, purpose, recipient FROM consent_suppression").fetchall()
    assert [tuple(row) for row in again] == [tuple(row) for row in taken_back]
    assert trio.call("broker", Role.COMPLIANCE, "consent.replay").waiting == []
    trio.wait_until(lambda: sealed(trio))
    report = trio.call("broker", Role.COMPLIANCE, "evidence.audit", compare=False)
    assert report.findings == []
    status = trio.call("broker", Role.OPERATOR, "ledger.status")
    assert status.open
    assert status.lost is None


def test_a_withdrawal_that_cannot_be_opened_keeps_filter_and_export_closed_until_people_have_entered_it(
    trio: Institutions, purpose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = trio.nodes["broker"]
    index = node.ledger.size("broker") - 1
    entry = RestoredEntry(index, "consent.withdrawn", node.now_ms(), "", "", {"root": "00" * 32, "recovery": ""}, ("subject",))
    needs = node.replay([entry])
    assert [(one.name, one.count) for one in needs] == [("consent.withdrawn", 1)]
    with pytest.raises(Refused) as closed:
        trio.propose("broker", "bank", purpose)
    assert closed.value.code == "REPLAY_PENDING"
    assert trio.call("broker", Role.OPERATOR, "ledger.status").needs[0].count == 1
    waiting = trio.call("broker", Role.COMPLIANCE, "consent.replay").waiting
    assert [one.entry for one in waiting] == [index]
    trio.call("broker", Role.COMPLIANCE, "consent.replay_confirm", entries=[index], reason="entered from the counter's list")
    assert trio.entries("broker", kind="consent.replayed")[-1].values["left"] == "0"
    trio.propose("broker", "bank", purpose)


def test_attempts_of_after_the_copy_stay_spent(trio: Institutions, purpose: str) -> None:
    """Otherwise a restore would give a partner new attempts to compare lists with."""
    node = trio.nodes["broker"]
    before = node.flow._rules.attempts_left(PartyId("bank"), purpose)

    def entry(index: int, kind: str, **shared: str) -> RestoredEntry:
        return RestoredEntry(index, kind, node.now_ms(), "J-lost", "", shared, ())

    came_back = [
        entry(1, "consent.snapshot", purpose=purpose, recipient="bank", attempt="1"),
        entry(2, "intersection.attempt_started", partner="bank", attempt="1"),
        entry(3, "intersection.attempt_started", partner="bank", attempt="2"),
    ]
    for _ in range(2):  # safe to repeat
        assert restore.count_attempts(node, came_back) == 2
    assert node.flow._rules.attempts_left(PartyId("bank"), purpose) == before - 2
    assert node.flow._rules.attempts_left(PartyId("cardnet"), purpose) == before


def test_a_manual_node_waits_closed_until_its_operator_asks(
    trio: Institutions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore, "AGAIN_S", 0.05)
    monkeypatch.setattr(restore, "PATIENCE_S", 0.3)
    copy = tmp_path / "copy.db"
    stopped_copy(trio, "cardnet", copy)
    size = trio.nodes["cardnet"].ledger.size("cardnet")
    trio.wait_until(lambda: sealed(trio))
    write_settings(trio.workspace, "cardnet", ledger__restore="manual")
    bring_back(trio, "cardnet", copy)
    node = trio.nodes["cardnet"]
    assert not node.ledger.is_open()
    with pytest.raises(VerificationError) as stopped:
        node.store.write(lambda tx: node.evidence.append(tx, "people.password_changed", {}))
    assert stopped.value.code == "ROLLED_BACK"
    run = node.folder / "run"
    state = json.loads((run / restore.STATE_FILE).read_text("utf-8"))
    assert (state["open"], state["lost"]["signed"]) == (False, size)
    assert any(line.name == "ledger.own" and line.state == "failed" for line in node.health())
    trio.nodes["bank"].store.write(
        lambda tx: trio.nodes["bank"].evidence.append(tx, "people.password_changed", {})
    )
    trio.wait_until(lambda: node.ledger.size("bank") == trio.nodes["bank"].ledger.size("bank"))  # it serves as mirror
    (run / restore.REQUEST_FILE).touch(mode=0o600)
    trio.wait_until(lambda: node.ledger.is_open() and json.loads((run / restore.STATE_FILE).read_text("utf-8"))["open"])
    assert not (run / restore.REQUEST_FILE).exists()
    assert trio.entries("cardnet", kind="ledger.restored")[-1].values["to"] == str(size)
    write_settings(trio.workspace, "cardnet", ledger__restore="automatic")


def test_a_mirror_that_is_sent_nothing_asks_by_itself(trio: Institutions, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request of the broker to the bank is lost; the bank's own questions are not."""

    def lose(call: PeerCall, to: PartyId, header: Any) -> bytes | None:
        return None if (call.peer, to, call.path) == ("broker", "bank", "mirror") else call.body

    trio.wire.rules.append(lose)
    broker, bank = trio.nodes["broker"], trio.nodes["bank"]
    broker.store.write(
        lambda tx: [broker.evidence.append(tx, "people.password_changed", {}) for _ in range(25)]
    )
    for _ in range(2):
        bank.heartbeat.greet(PartyId("broker"))
    trio.wait_until(lambda: bank.ledger.size("broker") == broker.ledger.size("broker"))
    trio.wait_until(lambda: broker.ledger.seal_state("broker", broker.ledger.size("broker") - 1, required=["bank"]).state != "PENDING")
    trio.wire.mend()


def test_a_node_that_was_away_for_many_entries_catches_up_in_both_directions(trio: Institutions) -> None:
    trio.wait_until(lambda: sealed(trio))
    trio.stop("bank")
    for party in ("broker", "cardnet"):
        node = trio.nodes[party]
        node.store.write(lambda tx, node=node: [node.evidence.append(tx, "people.password_changed", {}) for _ in range(700)])
    bank = trio.start("bank")
    trio.wait_until(lambda: sealed(trio))
    for party in ("broker", "cardnet"):
        assert bank.ledger.roots(party) == trio.nodes[party].ledger.roots(party)
    before = trio.kinds("bank").count("ledger.caught_up")
    reply = trio.call("bank", Role.OPERATOR, "ledger.catch_up")
    assert [(one.party, one.code) for one in reply.partners] == [("broker", ""), ("cardnet", "")]
    assert trio.kinds("bank").count("ledger.caught_up") == before + 1
    assert all(one.behind >= 0 for one in reply.status.mirrors)


def test_a_contradiction_found_by_one_is_kept_and_shown_by_all(trio: Institutions) -> None:
    """The broker's key signs a second history; whoever learns of it tells everybody, the broker included."""
    from workbench.domain import checkpoint as notes

    broker, bank = trio.nodes["broker"], trio.nodes["bank"]
    trio.wait_until(lambda: sealed(trio))
    size = bank.ledger.size("broker")
    head = notes.Checkpoint(broker.project, broker.party, size, bytes(32), bytes(32))
    keys = broker.cosigning_keys
    pair = notes.cosign(head, party=broker.party, ed25519_key=keys.ed25519, sm2_key=keys.sm2, time_s=broker.now_ms() // 1000)
    second = notes.format_note(notes.format_checkpoint(head), [notes.sign_log(head, keys.ed25519), *pair.lines])
    with pytest.raises(VerificationError):
        bank.ledger.observe(second)
    bank.sealing.wake()
    trio.wait_until(lambda: all(node.ledger.conflicts() for node in trio.nodes.values()))
    for party in trio.nodes:
        status = trio.call(party, Role.OPERATOR, "ledger.status")
        assert [(one.log, one.size) for one in status.conflicts] == [("broker", size)]
        texts = {notes.split_note(one)[0] for one in (status.conflicts[0].held, status.conflicts[0].offered)}
        assert len(texts) == 2
        assert any(line.name == "ledger.conflicts" for line in trio.nodes[party].health())
        trio.wait_until(lambda party=party: "ledger.conflict" in trio.kinds(party))


def test_a_frame_that_one_side_withheld_is_named_with_who_must_act(
    trio: Institutions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counterparts, "SKEW_MS", 0)
    broker, bank = trio.nodes["broker"], trio.nodes["bank"]
    job = broker.new_job_id()

    def record(node: Any, partner: str, direction: str, digest: str) -> None:
        values = {
            "partner": partner, "attempt": "1", "direction": direction, "message": "slice", "round": "7", "size": "20",
            "digest": digest,
        }  # fmt: skip
        node.store.write(lambda tx: node.evidence.append(tx, "intersection.message", values, job=job))

    record(broker, "bank", "sent", "aa" * 32)
    record(bank, "broker", "received", "aa" * 32)
    record(broker, "bank", "sent", "bb" * 32)
    record(broker, "bank", "received", "cc" * 32)
    trio.wait_until(lambda: sealed(trio))
    bank.store.write(lambda tx: bank.evidence.append(tx, "people.password_changed", {}))  # its log goes on
    trio.wait_until(lambda: sealed(trio))
    for party in ("broker", "bank", "cardnet"):
        reply = trio.call(party, Role.COMPLIANCE, "evidence.check", job=job)
        found = {one.digest: one for one in reply.missing}
        assert {digest: one.case for digest, one in found.items()} == {"bb" * 32: "NOT_RECEIVED", "cc" * 32: "NOT_SENT"}
        assert all((one.log, one.missing, one.round, one.message) == ("broker", "bank", "7", "slice") for one in found.values())
        assert "bank" in found["cc" * 32].zh
        assert "合规" in found["cc" * 32].zh
    record(broker, "bank", "sent", "dd" * 32)
    found = {one.digest: one.case for one in trio.call("broker", Role.COMPLIANCE, "evidence.check", job=job).missing}
    assert found["dd" * 32] == "NOT_HERE_YET"


def test_a_finished_job_misses_nothing(trio: Institutions, purpose: str) -> None:
    one, _ = trio.run("broker", "cardnet", purpose)
    trio.wait_until(lambda: sealed(trio))
    assert trio.call("broker", Role.COMPLIANCE, "evidence.check", job=one.job).missing == []
