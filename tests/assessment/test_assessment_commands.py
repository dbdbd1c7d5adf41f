"""The commands of assessments, word by word through the parser to the gate of a real node, without a server in between."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.assessment.conftest import Office, WORDS
from tests.gate_client import GateClient
from workbench.cli import main
from workbench.commands import desks
from workbench.domain.party import Role

Say = Callable[..., Any]


@pytest.fixture
def say(office: Office, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    def client(role: Role) -> GateClient:
        node, three = office.node, office.three
        return GateClient(
            node.gate.registry, lambda operation, **request: office.call(operation, role, **request),
            download=lambda download: bytes(node.downloads.take(three.caller("broker", role), download)[1]),
        )  # fmt: skip

    monkeypatch.setattr(desks, "client_for", lambda workspace, party, role: client(role))

    def run(verb: str, *rest: str, as_json: bool = True) -> Any:
        arguments = ["assessment", verb, str(office.three.workspace.folder), *rest, "--party", "broker"]
        assert main([*arguments, "--json"] if as_json else arguments) == 0, capsys.readouterr().err
        out = capsys.readouterr().out
        return json.loads(out) if as_json else out

    return run


def test_an_assessment_from_the_command_line(office: Office, say: Say, tmp_path: Path) -> None:
    name = say("draft", "--purpose", "test-20", "--recipient", "bank")["info"]["assessment"]
    words = [part for key, value in WORDS.items() for part in (f"--{key}", value)]
    assert say("write", name, *words, "--valid-days", "90")["lacking"] == []
    say("submit", name)
    assert say("give-back", name, "--reason", "请补充剩余风险")["info"]["state"] == "DRAFT"
    say("submit", name)
    assert say("approve", name)["info"]["covers"]
    assert say("status", "--purpose", "test-20", "--recipient", "bank")["assessment"] == name
    say("export", name, "--out", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        assert sorted(archive.namelist()) == ["content.json", "report.txt"]
    assert "阶段 / stage: trial" in say("list", as_json=False) and name in say("show", name, as_json=False)
    assert say("revoke", name, "--reason", "活动取消，不再开展")["info"]["state"] == "REVOKED"


def test_processing_records_from_the_command_line(office: Office, say: Say, tmp_path: Path) -> None:
    out = tmp_path / "records.csv"
    made = say("records", "--from", "2020-01-01", "--out", str(out))
    rows = list(csv.DictReader(io.StringIO(out.read_text("utf-8-sig"))))
    assert made["records"] == len(rows) >= 1 and office.job in [row["job"] for row in rows] and out.stat().st_mode & 0o777 == 0o600


def test_a_drill_from_the_command_line(office: Office, say: Say, tmp_path: Path) -> None:
    name = say("breach", "drill", "--what", "年度演练：名单误发", "--job", office.job)["breach"]
    assert say("affected", name)["persons"] == len(office.three.released_phones("broker", office.job))
    pairs = [part for word in ("cause", "harm", "done", "advice", "contact") for part in (f"--{word}", f"{word} 的中文内容", f"{word} in English")]
    say("letters", name, *pairs, "--reason", "可能造成危害", "--out", str(tmp_path / "letters.zip"))
    say("table", name, "--out", str(tmp_path / "table.csv"))
    assert "DRILL" in (tmp_path / "table.csv").read_text("utf-8-sig")
    end = ("--report", "演练按预案完成，用时四十分钟，发现通讯录过期。", "--plan", "应急通讯录改为每季度核对一次并由双人签字确认。")
    assert say("close-breach", name, *end)["state"] == "CLOSED"
    assert name in say("breaches", as_json=False)
