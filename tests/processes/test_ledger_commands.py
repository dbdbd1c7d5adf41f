"""`workbench ledger` against real processes: status, a node that was away, a database put back from an older copy."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.processes.live import Live, wait_until, workbench
from workbench.domain.party import PartyId, Role
from workbench.errors import Refused
from workbench.supervisor import stop_nodes


def leave_entries(live: Live, party: str, count: int) -> None:
    """Refusals are evidence: each attempt leaves one entry."""
    with live.client(party, Role.MARKETING) as client:
        for _ in range(count):
            with pytest.raises(Refused):
                client.call("people.all")


def test_status_names_every_log_and_mirror(live: Live) -> None:
    leave_entries(live, "broker", 1)
    wait_until(lambda: live.nobody_is_behind("broker"), limit_s=60, what="co-signing")
    outcome = workbench("ledger", "status", live.folder, "--party", "broker", "--json")
    value = outcome.value
    assert (outcome.status, value["party"], value["open"], value["conflicts"], value["lost"]) == (0, "broker", True, [], None)
    assert [(one["log"], one["own"]) for one in value["logs"]] == [("bank", False), ("broker", True), ("cardnet", False)]
    assert {one["party"] for one in value["mirrors"]} == {"bank", "cardnet"}
    assert all(one["cosigned_ms"] > 0 for one in value["mirrors"])
    assert workbench("ledger", "members", live.folder, "--party", "broker", "--json").value["members"] == [
        "bank", "broker", "cardnet",
    ]  # fmt: skip


def test_a_node_that_was_away_catches_up_by_itself(live: Live) -> None:
    stop_nodes(live.workspace, parties=(PartyId("cardnet"),))
    leave_entries(live, "broker", 30)
    live.restart("cardnet")
    wait_until(lambda: live.nobody_is_behind("broker"), limit_s=60, what="the mirror that was away")
    outcome = workbench("ledger", "catch-up", live.folder, "--party", "cardnet", "--json")
    assert outcome.status == 0, outcome.out
    assert {one["party"]: one["code"] for one in outcome.value["partners"]} == {"bank": "", "broker": ""}


def test_a_database_put_back_from_an_older_copy_is_made_whole_before_the_node_writes(live: Live, tmp_path: Path) -> None:
    folder = live.workspace.node_folder("cardnet")
    wait_until(lambda: live.nobody_is_behind("cardnet"), limit_s=60, what="co-signing")
    stop_nodes(live.workspace, parties=(PartyId("cardnet"),))
    source, target = sqlite3.connect(folder / "evidence.db"), sqlite3.connect(tmp_path / "copy.db")
    source.backup(target)
    source.close()
    target.close()
    live.restart("cardnet")
    at = live.size("cardnet")
    leave_entries(live, "cardnet", 5)
    wait_until(lambda: live.nobody_is_behind("cardnet"), limit_s=60, what="co-signing")
    bodies = live.rows("cardnet", "SELECT body FROM entry WHERE idx >= ? ORDER BY idx", at)
    stop_nodes(live.workspace, parties=(PartyId("cardnet"),))
    for file in folder.glob("evidence.db*"):
        file.unlink()
    shutil.copy(tmp_path / "copy.db", folder / "evidence.db")
    (folder / "evidence.db").chmod(0o600)
    live.restart("cardnet")
    wait_until(
        lambda: workbench("ledger", "status", live.folder, "--party", "cardnet", "--json").value.get("open") is True,
        limit_s=60,
        what="the restore",
    )
    assert live.rows("cardnet", "SELECT body FROM entry WHERE idx >= ? ORDER BY idx LIMIT ?", at, len(bodies)) == bodies
    restored = live.rows("cardnet", "SELECT count(*) FROM evidence_index WHERE kind = 'ledger.restored'")
    assert restored == [(1,)]
    wait_until(lambda: live.nobody_is_behind("cardnet"), limit_s=60, what="co-signing after the restore")
    audit = workbench("audit", live.folder, "--party", "cardnet", "--json")
    assert audit.status == 0, audit.value["findings"]
