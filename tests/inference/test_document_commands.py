"""The commands of documents, word by word through the parser to the gate of a real node, without a server in between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gate_client import GateClient
from tests.host.house import House, copied, opened
from workbench.cli import main
from workbench.commands import documents
from workbench.domain.party import Role
from workbench.workspace import Workspace

Say = Callable[..., Any]


@pytest.fixture(scope="module")
def house(made_institution: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(copied(made_institution, tmp_path_factory.mktemp("commands") / "workspace"), settings={"inference.role": "tenant"}) as made:
        yield made


@pytest.fixture
def say(house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    def client(role: Role) -> GateClient:
        gate = house.node.gate
        return GateClient(
            gate.registry, lambda operation, **request: gate.call(operation, request, house.caller(role), is_confirmed=True),
            upload=lambda path: str(house.node.uploads.adopt(path)),
        )  # fmt: skip

    monkeypatch.setattr(documents, "client_for", lambda workspace, party, role: client(role))

    def run(verb: str, *rest: str, as_json: bool = True, status: int = 0) -> Any:
        arguments = ["documents", verb, str(house.workspace.folder), *rest, "--party", "broker"]
        assert main([*arguments, "--json"] if as_json else arguments) == status
        out = capsys.readouterr().out
        return json.loads(out) if as_json else out

    return run


def test_documents_from_import_to_removal(say: Say, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("基金代码,基金名称,管理费率\n790001,澄澜一号,1.2%\n790002,澄澜二号\n", "utf-8")
    made = say("import", str(tmp_path / "f.csv"), "--kind", "fund", "--source", "季报", "--time", "2026-06-30", "--class", "public")
    assert made["imported"] == [{"kind": "fund", "taken": 1, "same": 0, "redacted": 0, "rejected": 1}] and made["reasons"] == {"CELL_COUNT": 1}
    (tmp_path / "s.md").write_text("# 虚构\n\n说明。", "utf-8")
    say("import", str(tmp_path / "s.md"), "--kind", "prompt", "--source", "演示", "--time", "2026-01-01", "--synthetic")
    corpus = say("index", "--words-only")["corpus"]
    assert (corpus["documents"], corpus["embedder"], corpus["is_synthetic"]) == (2, "", False)
    assert say("index", "--words-only", "--synthetic-only")["corpus"]["documents"] == 1
    shown = say("list", "--kind", "fund", as_json=False)
    assert "fund-790001" in shown and "澄澜一号" in shown and "未入资料包" not in shown
    assert say("remove", "fund-790001", "--reason", "下架")["removed"] == 1
    assert say("list")["is_outdated"] is True and say("remove", "fund-790001", "--reason", "下架", status=2)["error"]["code"] == "DOCUMENT_UNKNOWN"


def test_the_synthetic_corpus_is_one_command(say: Say) -> None:
    made = {one["kind"]: one for one in say("synthetic", "--seed", "4")["imported"]}
    assert made["fund"]["taken"] >= 300 and made["news"]["taken"] >= 700
    assert "合成" in say("list", "--limit", "3", as_json=False)


def test_usages_from_the_command_line(say: Say) -> None:
    made = say("grant", "--kind", "fund", "--scenario", "advice", "--role", "adviser", "--until", "2030-01-01T00:00:00+08:00", "--reason", "试用")
    assert made["is_live"] and made["roles"] == ["adviser"]
    assert "advice" in say("usages", as_json=False)
    assert say("revoke", made["usage"], "--reason", "停用")["is_live"] is False
    assert say("revoke", made["usage"], "--reason", "停用", status=2)["error"]["code"] == "USAGE_ENDED"
