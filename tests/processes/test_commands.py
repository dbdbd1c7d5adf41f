"""The command line from an empty folder to a verified receipt: exit statuses, and one JSON object on standard output."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.cli import WRONG_USAGE
from workbench.commands import intersect as intersect_command
from workbench.errors import WorkbenchError

from tests.flows import population
from tests.processes.live import Live, workbench

COLUMNS = {"rows", "accepted", "rejected", "duplicates", "rejects_file"}
RESULT = {
    "job", "state", "waterfall", "partner_bucket", "cardinality", "released", "result_digest", "receipt", "seconds", "bytes",
}  # fmt: skip


def intersect(live: Live, *more: object, purpose: str = "customer-service", party: str = "broker", partner: str = "bank"):  # type: ignore[no-untyped-def]
    return workbench(
        "intersect", live.folder, "--party", party, "--with", partner, "--purpose", purpose, "--auto-approve", "--json", *more
    )


def test_a_workspace_is_made_and_filled(live: Live) -> None:
    for name, outcome in live.made.items():
        assert outcome.status == 0, (name, outcome)
        assert isinstance(outcome.value, dict)
    assert live.made["init"].value["kind"] == "test"
    assert set(live.made["up"].value["nodes"]) == {"broker", "cardnet", "bank"}
    imported = live.made["customers broker"].value
    assert set(imported) >= COLUMNS
    assert (imported["rows"], imported["accepted"], imported["rejected"]) == (162, 162, 0)
    assert live.made["consents bank"].value["accepted"] > 800
    for party in live.workspace.parties:
        folder = live.workspace.node_folder(party)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for path in (folder / "evidence.db", folder / "signins.json", folder / "passphrase"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert workbench("init", live.folder, "--empty", "--json").status == 2


def test_status_shows_the_nodes(live: Live) -> None:
    outcome = workbench("status", live.folder, "--json")
    assert outcome.status == 0
    nodes = outcome.value["nodes"]
    assert all(node["running"] is True and node["pid"] for node in nodes.values())
    assert all(line["state"] != "failed" for node in nodes.values() for line in node["health"])


def test_the_main_job_from_proposal_to_a_receipt_that_verifies_offline(live: Live, tmp_path: Path) -> None:
    out = tmp_path / "target.csv"
    outcome = intersect(live, "--columns", "资产档", "--audience", "资产档 in (A,B)", "--out", out)
    assert outcome.status == 0, outcome
    value = outcome.value
    assert set(value) >= RESULT and value["state"] == "RELEASED"
    expected = population.expected("broker", "bank", "customer-service", tiers="AB")
    lines = out.read_bytes().decode("utf-8-sig").split("\r\n")
    assert lines[0] == "customer_id,phone,资产档"
    assert [line.split(",")[1] for line in lines[1:-1]] == expected
    assert value["released"] == value["cardinality"] == len(expected) and value["partner_bucket"] == 256
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    trust = tmp_path / "keys.json"
    assert workbench("trust", "export", live.folder, "--out", trust).status == 0
    good = workbench("verify", value["receipt"], "--list", out, "--trust", trust, "--json")
    assert good.status == 0, good
    unpinned = workbench("verify", value["receipt"], "--list", out, "--json")
    assert (unpinned.status, unpinned.value["verdict"], unpinned.value["pinned"]) == (0, "KEYS_NOT_PINNED", False)
    assert "workbench trust export" in unpinned.err and "WARNING" not in good.err and good.value["pinned"]
    out.write_bytes(out.read_bytes().replace(b",A\r\n", b",B\r\n", 1))
    bad = workbench("verify", value["receipt"], "--list", out, "--trust", trust, "--json")
    assert bad.status == 2 and bad.value
    altered = tmp_path / "receipt.json"
    altered.write_text(Path(value["receipt"]).read_text("utf-8").replace("intersection.released", "intersection.refused_"))
    assert workbench("verify", altered, "--trust", trust, "--json").status == 2
    assert workbench("verify", altered, "--json").status == 2
    evidence = workbench("evidence", live.folder, "--party", "broker", "--job", value["job"], "--json")
    assert evidence.status == 0
    logs = {entry["log"] for entry in evidence.value["entries"]}
    assert logs == {"broker", "bank"}, "a job's timeline joins both logs"
    audit = workbench("audit", live.folder, "--party", "broker", "--json")
    assert audit.status == 0 and audit.value["holds"] and audit.value["mirrors"]["bank"] > 100


def test_the_installed_script_prints_one_object_and_leaves_with_the_status(live: Live) -> None:
    """A process of its own, with both streams apart."""
    program = Path(sys.executable).with_name("workbench")
    ran = subprocess.run(
        [program, "intersect", live.folder, "--party", "bank", "--with", "cardnet", "--purpose", "customer-service",
         "--auto-approve", "--json", "--min-crowd", "5000"],
        capture_output=True, check=False, timeout=120, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert ran.returncode == 2
    value = json.loads(ran.stdout)
    assert value["error"]["code"] == "TOO_FEW_CUSTOMERS"
    assert b"TOO_FEW_CUSTOMERS" in ran.stderr


@pytest.mark.parametrize(
    ("code", "more", "change"),
    [
        ("UNKNOWN_PARTY", [], {"partner": "nobody"}),
        ("UNKNOWN_PARTY", [], {"party": "nobody"}),
        ("UNKNOWN_PURPOSE", [], {"purpose": "gossip"}),
        ("EMPTY_AUDIENCE", ["--audience", "资产档 = Z"], {}),
        ("UNKNOWN_COLUMN", ["--columns", "没有"], {}),
    ],
)
def test_a_refusal_leaves_with_two_and_says_why(live: Live, code: str, more: list[str], change: dict[str, str]) -> None:
    outcome = intersect(live, *more, **change)
    assert outcome.status == 2
    assert outcome.value["error"]["code"] == code
    assert outcome.value["error"]["zh"] in outcome.err


def test_a_crowd_below_the_floor_leaves_with_two_and_no_count(live: Live) -> None:
    outcome = intersect(live, "--min-crowd", "120")
    assert outcome.status == 2
    value = outcome.value
    assert value["state"] == "REFUSED_SMALL" and value["cardinality"] is None and value["released"] == 0
    assert value["receipt"] is None and value["result_digest"] is None
    assert "98" not in json.dumps(value["waterfall"]) + json.dumps(value["error"])


@pytest.mark.parametrize(
    "arguments",
    [[], ["gossip"], ["intersect"], ["intersect", "DIR", "--min-crowd", "0"], ["import", "customers"], ["verify"],
     ["import", "customers", "DIR", "--party", "broker", "FILE", "--max-bad-share", "7"],
     ["import", "consents", "DIR", "--party", "broker", "FILE", "--max-bad-share", "nan"]],
)
def test_wrong_usage_leaves_with_64_and_prints_nothing(arguments: list[str]) -> None:
    outcome = workbench(*arguments)
    assert outcome.status == WRONG_USAGE and outcome.out == "" and "usage" in outcome.err.lower()


def test_files_that_cannot_be_imported_are_refused_by_name(live: Live, tmp_path: Path) -> None:
    empty, wrong = tmp_path / "empty.csv", tmp_path / "wrong.csv"
    empty.write_bytes(b"")
    wrong.write_bytes("客户号,手机号\n1,abc\n2,1.38E+10\n3,12345\n".encode())
    lists = workbench("call", live.folder, "--party", "broker", "lists.all").value["lists"]
    for path in (empty, wrong, tmp_path / "missing.csv"):
        outcome = workbench("import", "customers", live.folder, "--party", "broker", path, "--json")
        assert outcome.status == 2, outcome
        assert path.name in outcome.value["error"]["zh"] + outcome.value["error"]["en"]
    assert workbench("call", live.folder, "--party", "broker", "lists.all").value["lists"] == lists


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("NO_JOB", ["evidence", "--party", "broker", "--job", "J-20260101-00000000"]),
        ("NO_OPERATION", ["call", "--party", "broker", "../people"]),
        ("UNKNOWN_OPERATION", ["call", "--party", "broker", "lists.invent"]),
        ("BAD_REQUEST", ["call", "--party", "broker", "intersection.jobs", "[1]"]),
        ("BAD_REQUEST", ["call", "--party", "broker", "intersection.jobs", '{"x"']),
    ],
)
def test_what_is_not_there_is_refused_in_one_object(live: Live, code: str, arguments: list[str]) -> None:
    outcome = workbench(arguments[0], live.folder, *arguments[1:], "--json")
    assert outcome.status == 2 and outcome.value["error"]["code"] == code


def test_a_file_that_cannot_be_written_after_the_release_leaves_job_state_and_error_in_the_one_object(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = intersect_command.write_private

    def full(path: Path, data: bytes) -> None:
        if path.parent == tmp_path:
            raise WorkbenchError("磁盘已满", "The disk is full", code="FILE_NOT_WRITTEN")
        kept(path, data)

    monkeypatch.setattr(intersect_command, "write_private", full)
    outcome = intersect(live, "--out", tmp_path / "list.csv", purpose="customer-service")
    assert outcome.status == 1
    assert outcome.value["state"] == "RELEASED" and outcome.value["job"].startswith("J-")
    assert outcome.value["error"]["code"] == "FILE_NOT_WRITTEN" and Path(outcome.value["receipt"]).is_file()


def test_a_withdrawal_by_the_command_is_in_force_at_once(live: Live) -> None:
    before = intersect(live, purpose="test-40").value["released"]
    done = workbench(
        "consent", "withdraw", live.folder, "--party", "bank", "--phone", population.phone(90), "--purpose", "test-40", "--json"
    )
    assert done.status == 0 and done.value["grants"] >= 1
    assert intersect(live, purpose="test-40").value["released"] == before - 1


def test_a_folder_without_a_workspace_and_a_node_that_is_down_are_named(live: Live, tmp_path: Path) -> None:
    assert workbench("status", tmp_path, "--json").value["error"]["code"] == "NO_WORKSPACE"
    made = workbench("init", tmp_path / "idle", "--empty", "--parties", "alpha", "--json")
    assert made.status == 0
    assert workbench("status", tmp_path / "idle", "--json").status == 1
    down = workbench("evidence", tmp_path / "idle", "--party", "alpha", "--json")
    assert down.status == 2 and down.value["error"]["code"] == "NODE_DOWN"
    assert workbench("down", tmp_path / "idle", "--json").value == {"stopped": []}


def test_an_attack_is_rehearsed_on_a_copy_and_located(live: Live) -> None:
    """A real node in its own process, which goes on meanwhile; partners are asked for their copies over mutual TLS."""
    listed = workbench("attack", live.folder, "--party", "broker", "list", "--json")
    assert listed.status == 0 and len(listed.value["attacks"]) == 12
    for name in ("edited-row", "split-view"):
        outcome = workbench("attack", live.folder, "--party", "broker", name, "--json")
        assert outcome.status == 0, outcome
        found = outcome.value["findings"][0]
        assert outcome.value["is_found"] and found["log"] == "broker" and found["index"] is not None and found["field"]
        assert found["zh"] and found["en"]
    assert workbench("attack", live.folder, "--party", "broker", "no-such-attack", "--json").status == 2
    assert workbench("audit", live.folder, "--party", "broker", "--json").value["holds"] is True
