"""The commands of the desks, word by word through the parser to the gate of a real node, without a server in between."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.flows import population
from tests.rights.conftest import ANNA, Desk, gate_client
from workbench.cli import main
from workbench.commands import desks

Say = Callable[..., Any]


@pytest.fixture
def say(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.setattr(desks, "client_for", lambda workspace, party, role: gate_client(desk, party, role))

    def run(*words: str, party: str = "broker", as_json: bool = True) -> Any:
        group, verb, *rest = words
        arguments = [group, verb, str(desk.three.workspace.folder), *rest, "--party", party]
        assert main([*arguments, "--json"] if as_json else arguments) == 0, capsys.readouterr().err
        out = capsys.readouterr().out
        return json.loads(out) if as_json else out

    return run


def test_a_rights_request_from_the_command_line(desk: Desk, say: Say, tmp_path: Path) -> None:
    made = say("rights", "receive", "copy", "--phone", population.phone(ANNA), "--id-no", population.id_no(ANNA), "--details", "要一份复印件")
    request = made["request"]
    say("rights", "identify", request, "--method", "in-person", "--note", "证件相符")
    say("rights", "decide", request, "granted", "--reason", "依法办理，核身无误")
    out = tmp_path / "answer.zip"
    reply = say("rights", "answer", request, "--out", str(out))
    assert reply["records"] > 50 and "download" not in reply and out.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(io.BytesIO(out.read_bytes())) as archive:
        assert sorted(archive.namelist()) == ["letter.txt", "records.csv", "records.json"]
    assert request in [one["request"] for one in say("rights", "list")["requests"]]
    assert "要一份复印件" in say("rights", "show", request, as_json=False)
    say("rights", "evidence-pack", request, "--out", str(tmp_path / "pack.zip"))
    assert (tmp_path / "pack.zip").read_bytes()[:2] == b"PK"


def test_every_other_verb_of_the_rights_desk(desk: Desk, say: Say) -> None:
    who = ("--phone", population.phone(98), "--id-no", population.id_no(98))
    request = say("rights", "receive", "correction", *who, "--change", "资产档=A")["request"]
    assert say("rights", "extend", request, "--days", "5", "--reason", "须调取原始单据")["days_left"] == 20
    assert say("rights", "close", request, "--reason", "客户来电撤回")["state"] == "CLOSED"
    request = say("rights", "receive", "restriction", *who)["request"]
    say("rights", "identify", request, "--method", "video")
    assert say("rights", "decide", request, "granted", "--reason", "依法办理，核身无误")["is_restricting"]
    assert say("rights", "lift", request, "--reason", "争议已核清")["is_restricting"] is False
    request = say("rights", "receive", "explanation", *who)["request"]
    say("rights", "identify", request, "--method", "video")
    assert desk.job in say("rights", "explain", request, as_json=False)


def test_a_complaint_from_the_command_line(desk: Desk, say: Say, tmp_path: Path) -> None:
    (tmp_path / "fax.txt").write_text("传真件", "utf-8")
    name = say("complaints", "note", "--channel", "fax", "--facts", "传真投诉营销短信", "--phone", population.phone(102), "--marketing")["complaint"]
    say("complaints", "handle", name, "--category", "unwanted-contact", "--major")
    say("complaints", "step", name, "contact", "--text", "已致电客户")
    attached = say("complaints", "attach", name, str(tmp_path / "fax.txt"), "--note", "传真原件")["attachment"]
    out = tmp_path / "again.txt"
    say("complaints", "read-file", attached, "--reason", "核对原件内容", "--out", str(out))
    assert out.read_text("utf-8") == "传真件"
    assert say("complaints", "stop-contact", name)["event"] > 0
    task = say("complaints", "task", name, "--text", "补训客服", "--owner", "客服中心", "--due", "2026-12-20", "--rectification")["task"]
    say("complaints", "group", name, "--invite", "bank", "2026-12-20", "核对外发记录")
    group = next(one for one in say("complaints", "groups")["groups"] if one["complaint"] == name)
    desk.three.wait_until(lambda: any(one["group"] == group["group"] for one in say("complaints", "groups", party="bank")["groups"]))
    say("complaints", "done", group["tasks"][0]["task"], "--result", "银行未外发", party="bank")
    say("complaints", "done", task, "--result", "已补训")
    index = desk.three.entries("broker", job=desk.job, kind="intersection.released")[-1].ref.index
    say("complaints", "liability", name, "--liable", "营销部", "--basis", "未核对退订名单", "--entry", f"broker/{index}")
    say("complaints", "compensation", name, "--fen", "1000", "--payer", "broker", "--day", "2026-11-21")
    assert say("complaints", "told", name, "--text", "结果已告知")["told_in_time"]
    desk.three.wait_until(lambda: say("complaints", "show", name)["info"]["tasks_open"] == 0)
    assert say("complaints", "close", name, "upheld", "--reason", "已办结并致歉")["state"] == "CLOSED"
    assert say("complaints", "reopen", name, "--reason", "客户补充事实")["state"] == "HANDLING"
    assert name in say("complaints", "list", as_json=False) and "补训客服" in say("complaints", "show", name, as_json=False)
    assert task in [one["task"] for one in say("complaints", "tasks")["tasks"]]
