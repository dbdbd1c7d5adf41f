"""Complaints from the first note to the end: clock, timeline, tasks, files, stop of contact. docs/rights.md section 7."""

from __future__ import annotations

import ast
import re
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.flows import population
from tests.package.test_export import settle, verdict
from tests.rights.conftest import Desk, PURPOSE
from workbench.crypto import sm3
from workbench.domain.party import Role
from workbench.errors import Denied, NotFound, Refused
from workbench_rights import complaints as rules

DAY_MS = 86_400_000


def note(desk: Desk, person: int = 90, *, role: Role = Role.COMPLIANCE, **more: Any) -> str:
    who = {"phone": population.phone(person), "id_no": population.id_no(person)}
    made = desk.call("complaints.note", role, **{"channel": "phone", "facts": "反复接到营销电话", **who, **more})
    return str(made.complaint)


def test_marketing_notes_a_complaint_and_can_do_nothing_else_with_it(desk: Desk) -> None:
    name = note(desk, role=Role.MARKETING, category="unwanted-contact")
    for operation, more in (("complaints.get", {}), ("complaints.close", {"outcome": "upheld", "reason": "已经向客户道歉"})):
        with pytest.raises(Denied):
            desk.call(operation, Role.MARKETING, complaint=name, **more)
    with pytest.raises(Denied):
        desk.call("complaints.list", Role.MARKETING)
    shown = desk.call("complaints.get", Role.AUDITOR, complaint=name)
    assert shown.facts == "反复接到营销电话" and shown.info.channel_zh == "电话" and shown.info.state == "OPEN"
    assert population.phone(90) not in shown.model_dump_json()
    with pytest.raises(Denied):
        desk.call("complaints.told", Role.AUDITOR, complaint=name, text="已联系客户")


@pytest.mark.parametrize("channel", ["web", "post", "phone", "e-mail", "fax", "counter"])
def test_every_channel_is_taken_down(desk: Desk, channel: str) -> None:
    assert desk.call("complaints.get", complaint=note(desk, channel=channel)).info.channel == channel


def test_progress_is_told_within_seven_working_days_or_the_breach_is_on_record(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    in_time, late = note(desk), note(desk, 91)
    info = desk.call("complaints.get", complaint=late).info
    assert info.days_left == 7 and not info.is_overdue and not info.is_due_soon
    told = desk.call("complaints.told", complaint=in_time, text="已联系客户，正在核实")
    assert told.told_in_time and told.told_ms
    monkeypatch.setattr(desk.node, "now_ms", lambda: info.due_ms - DAY_MS)
    assert desk.call("complaints.get", complaint=late).info.is_due_soon
    monkeypatch.setattr(desk.node, "now_ms", lambda: info.due_ms)
    overdue = [one.complaint for one in desk.call("complaints.list", overdue=True).complaints]
    assert late in overdue and in_time not in overdue
    assert any(one.name == "complaints" and one.state == "warning" for one in desk.node.health())
    after = desk.call("complaints.told", complaint=late, text="迟到的告知")
    assert not after.told_in_time and not after.is_overdue
    assert desk.entries("complaints.told")[-1].values["in_time"] == "no"
    desk.call("complaints.close", complaint=late, outcome="upheld", reason="已办结，向客户致歉")
    assert desk.entries("complaints.closed")[-1].values["told_in_time"] == "no"


def test_the_timeline_keeps_every_step_in_order(desk: Desk) -> None:
    name = note(desk)
    desk.call("complaints.handle", complaint=name, category="service", is_major=False)
    for kind in ("contact", "negotiation", "mediation", "arbitration", "litigation", "settlement"):
        desk.call("complaints.step", complaint=name, kind=kind, text=f"{kind} 的经过")
    shown = desk.call("complaints.get", complaint=name)
    assert [one.kind for one in shown.timeline] == ["contact", "negotiation", "mediation", "arbitration", "litigation", "settlement"]
    assert [one.number for one in shown.timeline] == list(range(1, 7)) and shown.timeline[2].text == "mediation 的经过"
    assert shown.info.state == "HANDLING" and shown.info.handler and shown.info.category == "service"


def test_contact_stops_at_once_in_the_next_decision_and_export(desk: Desk) -> None:
    person = 93
    before = desk.three.exported("broker", desk.job)[1].decode("utf-8-sig")
    assert population.phone(person) in before
    name = note(desk, person, category="unwanted-contact")
    done = desk.call("complaints.stop_contact", complaint=name)
    assert done.event > 0 and done.info.contact_stopped_ms
    code = desk.call("consent.check", phone=population.phone(person), id_no=population.id_no(person), purpose=PURPOSE, recipient="bank").code
    assert code in ("WITHDRAWN", "SUPPRESSED")
    assert population.phone(person) not in desk.three.exported("broker", desk.job)[1].decode("utf-8-sig")
    with pytest.raises(Refused) as refused:
        desk.call("complaints.stop_contact", complaint=note_without_name(desk))
    assert refused.value.code == "NO_CUSTOMER"


def note_without_name(desk: Desk) -> str:
    return str(desk.call("complaints.note", channel="web", facts="匿名反映短信太多").complaint)


def test_closing_is_refused_while_a_task_is_open_and_before_the_customer_was_told(desk: Desk) -> None:
    name = note(desk)
    due_day = str(desk.node.today() + timedelta(days=30))
    task = desk.call("complaints.add_task", complaint=name, text="核对外呼记录", owner="客服中心", due_day=due_day).task
    plan = desk.call("complaints.add_task", complaint=name, kind="rectification", text="修订外呼名单流程", owner="营销部", due_day=due_day).task
    end = {"complaint": name, "outcome": "upheld", "reason": "已办结，向客户致歉"}
    for one in (task, plan):
        with pytest.raises(Refused) as refused:
            desk.call("complaints.close", **end)
        assert refused.value.code == "TASK_OPEN" and one in refused.value.details["tasks"]
        desk.call("complaints.finish_task", task=one, result="已完成")
    with pytest.raises(Refused) as refused:
        desk.call("complaints.close", **end)
    assert refused.value.code == "NOT_TOLD"
    desk.call("complaints.told", complaint=name, text="结果已告知")
    assert desk.call("complaints.close", **end).state == "CLOSED"
    for operation, more in (("complaints.step", {"kind": "contact", "text": "再联系"}), ("complaints.told", {"text": "再告知"})):
        with pytest.raises(Refused) as refused:
            desk.call(operation, complaint=name, **more)
        assert refused.value.code == "WRONG_STATE"
    assert desk.call("complaints.reopen", complaint=name, reason="客户补充新事实").state == "HANDLING"
    shown = desk.call("complaints.get", complaint=name)
    assert {one.task: (one.kind, one.state, one.result, one.owner) for one in shown.tasks} == {
        task: ("task", "DONE", "已完成", "客服中心"), plan: ("rectification", "DONE", "已完成", "营销部"),
    }


def test_overdue_tasks_of_the_rectification_plan_are_listed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    name = note(desk)
    due_day: date = desk.node.today() + timedelta(days=3)
    task = desk.call("complaints.add_task", complaint=name, kind="rectification", text="更换外呼供应商", owner="营销部", due_day=str(due_day)).task
    assert task not in [one.task for one in desk.call("complaints.tasks", Role.AUDITOR, overdue=True).tasks]
    assert task in [one.task for one in desk.call("complaints.tasks", open=True).tasks]
    now = desk.node.now_ms()
    monkeypatch.setattr(desk.node, "now_ms", lambda: now + 5 * DAY_MS)
    [late] = [one for one in desk.call("complaints.tasks", overdue=True).tasks if one.task == task]
    assert (late.owner, late.text, late.due_day, late.kind) == ("营销部", "更换外呼供应商", str(due_day), "rectification")
    assert any(one.name == "tasks" and one.state == "warning" for one in desk.node.health())
    desk.call("complaints.finish_task", task=task, result="已更换")
    assert desk.entries("complaints.task_done")[-1].values["in_time"] == "no"


def test_an_attachment_is_encrypted_its_salted_digest_on_the_ledger_and_one_byte_changed_is_found(desk: Desk, tmp_path: Path) -> None:
    content = "录音文字稿：客户要求停止联系 Attach-Canary-55".encode() * 20
    (tmp_path / "transcript.txt").write_bytes(content)
    name = note(desk)
    added = desk.call("complaints.add_file", complaint=name, file=desk.three.upload("broker", tmp_path / "transcript.txt"), note="录音文字稿")
    [shown] = desk.call("complaints.get", complaint=name).attachments
    assert (shown.attachment, shown.name, shown.size) == (added.attachment, "transcript.txt", len(content))
    entry = desk.entries("complaints.file_added")[-1]
    assert entry.values["digest"] == shown.digest and entry.ref.index == shown.entry
    assert shown.digest != sm3.digest(content).hex(), "a bare digest would confirm a guess"
    with desk.node.store.read() as reader:
        salt = bytes.fromhex(rules.cases.sealed(reader, desk.node, f"complaint/{name}").texts["files"][added.attachment]["salt"])
    assert sm3.digest(b"workbench/v1/complaint-file\n" + salt + sm3.digest(content)).hex() == shown.digest
    files = [path for path in (desk.node.folder / "blobs").rglob("*.blob") if path.stat().st_size > len(content)]
    assert all(b"Attach-Canary-55" not in path.read_bytes() for path in files)
    read = desk.call("complaints.read_file", attachment=added.attachment, reason="调解时核对")
    assert desk.taken(read.download) == content and desk.entries("complaints.file_read")[-1].values["file"] == added.attachment
    assert desk.node.plugins.collect_all("workbench_audit", host=desk.node) == []
    with desk.node.store.read() as reader:
        row = reader.execute("SELECT hex(id) FROM blob_object JOIN blob_reference USING (name) WHERE ref = ?", (added.attachment,)).fetchone()
    path = next((desk.node.folder / "blobs").rglob(f"{row[0].lower()}.blob"))
    good = path.read_bytes()
    path.write_bytes(good[:-40] + bytes([good[-40] ^ 1]) + good[-39:])
    [finding] = desk.node.plugins.collect_all("workbench_audit", host=desk.node)
    assert (finding.problem, finding.index) == ("FILE_CHANGED", shown.entry)
    path.write_bytes(good)
    desk.node.store.write(lambda tx: tx.execute("UPDATE rights_file SET digest = ? WHERE file = ?", ("00" * 32, added.attachment)) and None)
    assert [one.problem for one in desk.node.plugins.collect_all("workbench_audit", host=desk.node)] == ["FILE_SWAPPED"]
    desk.node.store.write(lambda tx: tx.execute("UPDATE rights_file SET digest = ? WHERE file = ?", (shown.digest, added.attachment)) and None)


def test_liability_rests_on_entries_that_exist_and_a_bundle_that_was_exported(desk: Desk) -> None:
    name = note(desk, job=desk.job)
    settle(desk.three)
    pack = desk.call("complaints.evidence_pack", complaint=name)
    data = desk.taken(pack.download)
    assert sm3.digest(data).hex() == pack.package_sm3 == desk.entries("evidence.exported")[-1].values["package_sm3"]
    found = verdict(desk.three, data)
    assert (pack.state, found["verdict"]) == ("FINAL", "OK"), found["en"]
    assert found["entries"] == sum(pack.entries.values()) > 0 and not [one for step in found["steps"] for one in step["problems"]]
    released = desk.three.entries("broker", job=desk.job, kind="intersection.released")[-1].ref.index
    form = {"complaint": name, "liable": "营销部", "basis": "未核对退订即外呼", "package_sm3": pack.package_sm3}
    for wrong in ("broker/999999", "nobody/1", "broker/x"):
        with pytest.raises(NotFound) as refused:
            desk.call("complaints.assess_liability", entries=[f"broker/{released}", wrong], **form)
        assert refused.value.code == "NO_SUCH_ENTRY"
    desk.call("complaints.assess_liability", entries=[f"broker/{released}"], **form)
    desk.call("complaints.record_compensation", complaint=name, amount_fen=50_000, payer="broker", agreed_day="2026-11-20", text="话费补偿")
    shown = desk.call("complaints.get", complaint=name)
    assert [(one.liable, one.entries, one.package_sm3) for one in shown.liability] == [("营销部", [f"broker/{released}"], pack.package_sm3)]
    assert [(one.amount_fen, one.currency, one.payer) for one in shown.compensation] == [(50_000, "CNY", "broker")]
    assert desk.entries("complaints.compensation_recorded")[-1].values["amount_fen"] == "50000"


FINANCE = ("alipay", "wechatpay", "stripe", "paypal", "quickfix", "ccxt", "ctpbee", "vnpy", "easytrader", "tushare", "ib_insync", "xtquant", "unionpay", "swift")


def test_no_adapter_to_trading_or_payment_exists() -> None:
    """H7: a compensation is a record. No module of ours imports, names or ships anything that could place an order or pay."""
    root = Path(__file__).parents[2]
    sources = [path for folder in ("workbench", "plugins", "widgets") for path in (root / folder).rglob("*.py")]
    assert len(sources) > 300
    tops = {}
    for path in sources:
        text = path.read_text("utf-8")
        for found in re.findall(r"^\s*(?:from|import)\s+([A-Za-z_]\w*)", text, re.MULTILINE):
            tops[found] = path.name
        words = {"payment_gateway", "place_order", "submit_order", "transfer_money", "trading_adapter"}
        assert not words & set(text.replace("(", " ").replace(".", " ").split()), path.name
    assert {"workbench", "polars", "pydantic"} <= tops.keys(), "the search sees no imports"
    assert not [one for one in tops if any(word in one.lower() for word in FINANCE)]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    assert not [one for one in declared if any(word in one.lower().replace("-", "_") for word in FINANCE)]
    for extra in ("web3", "eth_account"):  # the one library that could move value: only anchoring asks for it, and it is optional
        assert {path.parent.name for path in sources if re.search(rf"(?:import|from|\"){extra}", path.read_text("utf-8"))} <= {"workbench_anchor"}


def test_the_complaints_plugin_reaches_no_network_of_its_own() -> None:
    """Its only way out are the letters of the node; so nothing in it could pay even by mistake."""
    folder = Path(__file__).parents[2] / "plugins" / "workbench_rights"
    for path in folder.rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {one.split(".")[0] for one in names} & {"socket", "httpx", "aiohttp", "urllib", "requests", "subprocess", "ssl"}, path.name


def test_a_rights_request_of_kind_complaint_opens_one_with_its_own_clock(desk: Desk) -> None:
    request = desk.call(
        "rights.receive", kind="complaint", phone=population.phone(94), id_no=population.id_no(94), details="营销电话过于频繁", channel="fax"
    )
    shown = desk.call("complaints.get", complaint=request.complaint)
    assert shown.facts == "营销电话过于频繁" and shown.info.request == request.request and shown.info.channel == "fax"
    assert (shown.info.days_left, request.days_left) == (7, 15)


def test_what_a_complaint_holds_is_told_to_its_customer_and_goes_with_an_erasure(desk: Desk, tmp_path: Path) -> None:
    person = 96
    (tmp_path / "letter.pdf").write_bytes(b"%PDF Erase-Canary-96" * 50)
    name = note(desk, person, facts="Facts-Canary-96 的经过")
    desk.call("complaints.step", complaint=name, kind="contact", text="Step-Canary-96")
    added = desk.call("complaints.add_file", complaint=name, file=desk.three.upload("broker", tmp_path / "letter.pdf"))
    from tests.rights.test_every_record import told

    [record] = [one for one in told(desk, person) if one.kind == "complaints.complaint"]
    text = str(record.values)
    assert "Facts-Canary-96" in text and "Step-Canary-96" in text and "letter.pdf" in text and "salt" not in text
    reply = desk.call("customers.erase", phone=population.phone(person), id_no=population.id_no(person), reason="客户要求删除")
    mine = next(one for one in reply.findings if one.owner == "rights")
    assert mine.found == mine.restricted >= 1 and mine.until_ms
    shown = desk.call("complaints.get", complaint=name)
    assert shown.is_erased and shown.facts == "" and shown.info.state == "OPEN"
    with pytest.raises(Refused) as refused:
        desk.call("complaints.read_file", attachment=added.attachment, reason="看看还在不在")
    assert refused.value.code == "CASE_ERASED"
    desk.call("complaints.told", complaint=name, text="已书面答复")
    assert desk.call("complaints.close", complaint=name, outcome="upheld", reason="已办结，向客户致歉").state == "CLOSED"
    assert desk.node.plugins.collect_all("workbench_audit", host=desk.node) == []
