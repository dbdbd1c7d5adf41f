"""A node that came back from an older copy: no weaker policy, no line that runs again, no revoked key comes back with it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from workbench_qkd import auditing, policies, restoring
from workbench_qkd.service import service_of

from tests.flows.institutions import Institutions, fresh_workspace, running, write_settings
from tests.qkd.entity import KEY_ID, Entity, line
from workbench.domain.envelope import parse_envelope
from workbench.domain.evidence import RestoredEntry
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused
from workbench.node import restore

REASON = "线路设备检修，两日内恢复"
BROKER = PartyId("broker")


class Lines:
    """The broker with four lines in an entity of this process, and a bank that mirrors its log."""

    def __init__(self, two: Institutions) -> None:
        self.two = two
        self.entity = Entity({name: line(name) for name in ("a1", "a2", "a3", "a4")})
        self.attach()

    @property
    def node(self) -> Any:
        return self.two.nodes["broker"]

    def attach(self) -> None:
        service_of(self.node).attach(self.entity)

    def call(self, operation: str, role: Role = Role.OPERATOR, **request: Any) -> Any:
        """As the gate runs it for a person of this role; the password is other tests' business."""
        wanted = self.node.gate.registry.named(operation)
        return wanted.run(self.node.gate.context(self.two.caller("broker", role)), self.node.gate.validate(wanted, request))

    def follow(self) -> None:
        service_of(self.node).round()

    def downgrade(self, name: str, policy: str) -> str:
        asked = str(self.call("qkd.propose_policy", line=name, policy=policy, reason=REASON).proposal.proposal)
        self.call("qkd.confirm", Role.COMPLIANCE, proposal=asked)
        return asked

    def alarm(self, name: str) -> None:
        self.entity.alarm("qber-drift", line=name)
        self.follow()

    def policies(self) -> dict[str, str]:
        with self.node.store.read() as reader:
            found = {name: policies.decided(reader, self.node, name) for name in self.entity.known}
        return {name: made.policy if made.is_sound else f"unsigned {made.policy}" for name, made in found.items() if made is not None}

    def held(self) -> list[str]:
        with self.node.store.read() as reader:
            return sorted(policies.held(reader))

    def mirrored(self) -> None:
        """Wait until the bank has co-signed everything."""
        node = self.node
        self.two.wait_until(lambda: all(one.cosigned >= node.ledger.size(BROKER) for one in node.ledger.exchange.lags() if one.mirror == "bank"))

    def copy(self, path: Path) -> None:
        self.mirrored()
        self.two.stop("broker")
        source, target = sqlite3.connect(self.database), sqlite3.connect(path)
        source.backup(target)
        source.close()
        target.close()
        self.two.start("broker")
        self.attach()

    def bring_back(self, path: Path) -> None:
        self.mirrored()
        self.two.stop("broker")
        for file in self.database.parent.glob("evidence.db*"):
            file.unlink()
        shutil.copy(path, self.database)
        self.database.chmod(0o600)
        self.two.start("broker")

    @property
    def database(self) -> Path:
        return self.two.workspace.node_folder("broker") / "evidence.db"

    def findings(self) -> list[tuple[str, str]]:
        return [(one.log, one.problem) for one in auditing.findings(self.node)]


@pytest.fixture(scope="module")
def lines() -> Iterator[Lines]:
    workspace = fresh_workspace()
    patched = pytest.MonkeyPatch()
    patched.setattr(restore, "HEARING_S", 0.05)  # the third institution does not run
    for party in workspace.parties:
        write_settings(workspace, party, node__seal_interval_ms=20)
    with running(workspace, ("broker", "bank")) as two:
        yield Lines(two)
    patched.undo()
    shutil.rmtree(workspace.folder)


def test_an_older_copy_brings_back_no_weaker_policy_no_stopped_line_and_no_revoked_key(lines: Lines, tmp_path: Path) -> None:
    lines.downgrade("a4", "pqc-only")
    lines.alarm("a3")
    waiting = lines.call("qkd.propose_policy", line="a2", policy="pqc-only", reason=REASON).proposal.proposal
    copy = tmp_path / "copy.db"
    lines.copy(copy)
    lines.call("qkd.propose_policy", line="a1", policy="qkd-required", reason=REASON)
    lines.downgrade("a1", "hybrid-required")
    lines.call("qkd.propose_policy", line="a4", policy="qkd-required", reason=REASON)
    lines.call("qkd.decline", Role.COMPLIANCE, proposal=waiting, reason=REASON)
    asked = lines.call("qkd.propose_resume", line="a3", reason=REASON).proposal
    lines.call("qkd.confirm", Role.COMPLIANCE, proposal=asked)
    lines.alarm("a2")
    lines.call("qkd.revoke", line="a1", key_ids=[KEY_ID], reason=REASON)
    lines.call("qkd.revoke", line="a2", block=7, reason=REASON)
    lines.call("qkd.rekey", line="a3", reason=REASON)
    before = (lines.policies(), lines.held())
    assert before == ({"a1": "hybrid-required", "a4": "qkd-required"}, ["a2"])
    lines.bring_back(copy)
    assert (lines.policies(), lines.held()) == before, "before anything was asked of the entity"
    with pytest.raises(Refused) as over:
        lines.entity.away = False
        lines.attach()
        lines.call("qkd.confirm", Role.COMPLIANCE, proposal=waiting)
    assert over.value.code == "PROPOSAL_OVER", "what was declined is not confirmed on the word of an older copy"
    lines.entity.asked.clear()
    lines.entity.change("a4", policy="pqc-only")
    lines.follow()
    told = lines.entity.asked
    assert [("revoke", "a1", (KEY_ID,), -1), ("revoke", "a2", (), 7), ("rekey", "a3")] == [one for one in told if one[0] in ("revoke", "rekey")]
    assert ("set_policy", "a4", "qkd-required") in told
    lines.follow()
    assert len([one for one in told if one[0] == "rekey"]) == 1, "once"
    assert lines.findings() == []
    lines.downgrade("a4", "hybrid-required")
    assert lines.findings() == [], "the decisions go on where those that came back end"


def test_what_is_not_signed_leaves_a_line_strict_and_stopped(lines: Lines) -> None:
    """The entries that a mirror gives back are judged one by one."""
    node = lines.node
    start = node.ledger.size(BROKER)
    lines.alarm("a1")
    asked = lines.call("qkd.propose_resume", line="a1", reason=REASON).proposal
    lines.call("qkd.confirm", Role.COMPLIANCE, proposal=asked)
    lines.downgrade("a1", "pqc-only")
    entries = []
    for index, body in enumerate(node.ledger.entry_bodies(BROKER, start, node.ledger.size(BROKER)), start):
        one = parse_envelope(body)
        entries.append(RestoredEntry(index, one.kind, one.time_ms, one.job, one.actor, dict(one.shared), tuple(one.committed)))
    kept = [one for one in entries if one.kind.startswith("qkd.")]
    rows = _rows(node)
    for changed in (
        lambda one: replace(one, shared={**one.shared, "decision": one.shared.get("decision", "")[:-4] + "0000"}),
        lambda one: replace(one, shared={**one.shared, "line": "a9"} if one.kind == "qkd.resumed" else {**one.shared, "before": "qkd-required"}),
        lambda one: replace(one, shared={name: value for name, value in one.shared.items() if name != "decision"}),
    ):
        _put(node, rows, without=2)
        told = [changed(one) if one.kind in ("qkd.resumed", "qkd.downgraded") else one for one in kept]
        for _ in range(2):
            [need] = restoring.replay(node, told)
            assert (need.name, need.count) == ("qkd.decision", 2)
        assert "a1" in lines.held()
        assert lines.policies()["a1"] == "unsigned qkd-required"
    _put(node, rows, without=2)
    gap = [one for one in kept if one.kind != "qkd.resumed"]
    assert [(one.name, one.count) for one in restoring.replay(node, gap)] == [("qkd.decision", 1)], "nothing follows what is missing"
    _put(node, rows, without=2)
    for _ in range(2):  # a node that stops in between does it again
        assert restoring.replay(node, kept) == []
        assert "a1" not in lines.held()
        assert lines.policies()["a1"] == "pqc-only"
    assert lines.findings() == []
    unread = RestoredEntry(0, "qkd.revoked", 1, "", "", {"line": "a1", "keys": "1", "recovery": "00"}, ())
    assert [(one.name, one.count) for one in restoring.replay(node, [unread])] == [("qkd.revoked", 1)]


def _rows(node: Any) -> list[tuple[Any, ...]]:
    with node.store.read() as reader:
        return [tuple(row) for row in reader.execute("SELECT number, line, act, body FROM qkd_decision ORDER BY number")]


def _put(node: Any, rows: list[tuple[Any, ...]], *, without: int) -> None:
    """The tables as they were before the newest decisions."""

    def change(tx: Any) -> None:
        tx.execute("DELETE FROM qkd_decision")
        tx.executemany("INSERT INTO qkd_decision (number, line, act, body) VALUES (?, ?, ?, ?)", rows[: len(rows) - without])
        tx.execute("DELETE FROM qkd_held WHERE line = 'a1'")

    node.store.write(change)


def test_an_audit_names_what_a_table_or_a_log_says_otherwise(lines: Lines) -> None:
    node, bank = lines.node, lines.two.nodes["bank"]
    lines.alarm("a4")
    assert lines.findings() == []
    with node.store.read() as reader:
        [row] = [tuple(one) for one in reader.execute("SELECT line, since_ms, cause, block FROM qkd_held WHERE line = 'a4'")]
    node.store.write(lambda tx: tx.execute("DELETE FROM qkd_held WHERE line = 'a4'"))
    assert lines.findings() == [("broker", "LINE_NOT_STOPPED")]
    node.store.write(lambda tx: tx.execute("INSERT INTO qkd_held (line, since_ms, cause, block) VALUES (?, ?, ?, ?)", row))
    node.store.write(lambda tx: tx.execute("UPDATE qkd_policy SET reason = reason, policy = 'pqc-only' WHERE line = 'a4'"))
    assert lines.findings() == [("broker", "POLICY_DIFFERS")]
    lines.call("qkd.propose_policy", line="a4", policy="pqc-only", reason=REASON)
    assert lines.findings() == [("broker", "POLICY_DIFFERS")], "asking mends nothing"
    # Somebody who writes into the log without two people, such as a program of the institution itself.
    forged = dict(node.ledger and _shared(node, "qkd.downgraded"))
    lines.mirrored()
    values = {name: forged.get(name, "") for name in ("proposal", "line", "policy", "before", "first", "second", "reason", "decision")}
    node.store.write(lambda tx: node.evidence.append(tx, "qkd.downgraded", {**values, "line": "a2"}))
    node.store.write(lambda tx: node.evidence.append(tx, "qkd.downgraded", {**values, "decision": "{}"}))
    lines.mirrored()
    seen = [(one.log, one.problem) for one in auditing.findings(bank)]
    assert seen == [("broker", "DECISION_DIFFERS"), ("broker", "DECISION_ALTERED")], "a partner sees it with the pinned key"


def _shared(node: Any, kind: str) -> dict[str, str]:
    size = node.ledger.size(BROKER)
    found = [parse_envelope(body) for body in node.ledger.entry_bodies(BROKER, 0, size) if kind.encode() in body]
    return dict([one for one in found if one.kind == kind][-1].shared)
