"""consent ask, asked, decline, capture, backdate: word by word through the parser to the gate of a real node."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.consent.captured_files import pdf
from tests.flows import population
from tests.rights.conftest import Desk, gate_client
from workbench.cli import main
from workbench.commands import consent_asking, consents, lists
from workbench.domain.party import PartyId, Role

PERSON, OTHER = 131, 132
PURPOSE = "customer-service"
Say = Callable[..., Any]


@pytest.fixture
def say(desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.setattr(consent_asking, "client_for", lambda workspace, party, role: gate_client(desk, party, role))
    monkeypatch.setattr(consent_asking, "credentials", lambda workspace, party, role: ("account", "password"))

    def run(*words: str, person: int | None = None, status: int = 0) -> Any:
        monkeypatch.setattr("sys.stdin", io.StringIO("" if person is None else population.phone(person) + "\n"))
        arguments = ["consent", words[0], str(desk.three.workspace.folder), *words[1:], "--party", "broker", "--json"]
        assert main(arguments) == status, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    return run


WHERE = ("--place", "静安营业部", "--identity", "身份证原件")
WHAT = ("--purpose", PURPOSE, "--recipient", "bank", "--until", "2030-12-31")


def test_a_question_is_asked_listed_and_taken_back(desk: Desk, say: Say) -> None:
    made = say("ask", *WHAT, *WHERE, person=PERSON)
    assert made["address"].startswith("https://127.0.0.1:8801/p/sign/")
    listed = say("asked", "--state", "SERVED", "--customer", person=PERSON)
    assert [one["ask"] for one in listed["questions"]] == [made["ask"]]
    assert population.phone(PERSON) not in json.dumps(listed)
    assert say("asked", "--customer", person=OTHER)["total"] == 0
    assert say("ask", "--take-back", made["ask"])["state"] == "CANCELLED"
    assert say("asked", "--customer", person=PERSON)["questions"][0]["state"] == "CANCELLED"
    again = say("ask", "--take-back", made["ask"], status=2)
    assert again["error"]["code"] == "LINK_USED"
    missing = say("ask", *WHAT, person=PERSON, status=2)
    assert missing["error"]["code"] == "INVALID_REQUEST"


def test_who_declined_is_asked_again_after_the_cool_down_only(desk: Desk, say: Say) -> None:
    told = say("decline", "--purpose", PURPOSE, "--recipient", "cardnet", *WHERE, person=OTHER)
    assert told["cool_down_until_ms"] > desk.node.now_ms()
    assert [one["ask"] for one in say("asked", "--state", "COOLING")["questions"]] == [told["ask"]]
    refused = say("ask", "--purpose", PURPOSE, "--recipient", "cardnet", "--until", "2030-12-31", *WHERE, person=OTHER, status=2)
    assert refused["error"]["code"] == "ASKED_TOO_SOON"


def test_a_form_signed_by_an_agent_long_ago_needs_two_people_and_names_the_agent(desk: Desk, say: Say, tmp_path: Path) -> None:
    form = tmp_path / "form.pdf"
    form.write_bytes(pdf("signed long ago"))
    begins = str(desk.node.today().replace(day=1).replace(year=desk.node.today().year - 1))
    arguments = ("capture", str(form), "--method", "wet-scan", "--begins", begins, *WHAT, *WHERE)
    agent = ("--signer", "agent", "--signer-name", "合成代理人", "--signer-relation", "受托人", "--authority", "授权委托书")
    assert say(*arguments, *agent, person=PERSON, status=2)["error"]["code"] == "BACKDATED"
    proposal = say("backdate", "--earliest", begins, "--most", "1", "--reason", "网点漏录，表单日期为一年前")["proposal"]
    assert proposal in [one["proposal"] for one in say("backdate")["proposals"]]
    assert say("backdate", "--approve", proposal)["state"] == "APPROVED"
    assert say(*arguments, "--signer", "agent", "--backdating", proposal, person=PERSON, status=2)["error"]["code"] == "REPRESENTATIVE_MISSING"
    done = say(*arguments, *agent, "--backdating", proposal, person=PERSON)
    assert done["grants"] == 1
    line = desk.call("consent.life_line", Role.COMPLIANCE, phone=population.phone(PERSON))
    assert [one.details["signer_name"] for one in line.events if "signer_name" in one.details] == ["合成代理人"]
    log = b"".join(desk.node.ledger.entry_bodies(PartyId("broker"), 0, desk.node.ledger.size("broker")))
    assert "合成代理人".encode() not in log


@pytest.mark.parametrize("known", [True, False])
def test_a_package_that_nobody_here_exported_is_taken_with_that_mark(desk: Desk, known: bool) -> None:
    complaint = desk.call("complaints.note", Role.COMPLIANCE, channel="web", facts="多次外呼营销，要求说明", job=desk.job).complaint
    desk.call("complaints.handle", Role.COMPLIANCE, complaint=complaint, category="unwanted-contact", is_major=False)
    made = desk.call("evidence.export_opened", Role.COMPLIANCE, party="bank", job=desk.job).package_sm3 if known else "ab" * 32
    if known:
        desk.three.wait_until(lambda: desk.node.ledger.size("bank") == desk.three.nodes["bank"].ledger.size("bank"))
    released = desk.three.entries("broker", job=desk.job, kind="intersection.released")[-1].ref.index
    form = {"complaint": complaint, "liable": "营销部", "basis": "未核对退订即外呼", "entries": [f"broker/{released}"]}
    reply = desk.call("complaints.assess_liability", Role.COMPLIANCE, package_sm3=made, **form)
    expected = "bank" if known else "not-exported-here"
    assert reply.package_from == expected
    assert ("没有导出过" in reply.package_zh) is not known
    assert desk.entries("complaints.liability_assessed")[-1].values["package_from"] == expected
    assert desk.call("complaints.get", Role.COMPLIANCE, complaint=complaint).liability[0].package_from == expected


def test_one_customer_is_decided_and_a_file_imported_from_the_command_line(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit 0 and 3 of decide; import says how many came in, how many not, and where the rejects lie."""
    for module in (consents, lists):
        monkeypatch.setattr(module, "client_for", lambda workspace, party, role: gate_client(desk, party, role))

    def run(*words: str) -> tuple[int, Any]:
        status = main(["consent", words[0], str(desk.three.workspace.folder), *words[1:], "--party", "broker", "--json"])
        return status, json.loads(capsys.readouterr().out)

    phones = [population.phone(number) for number in range(741, 765)]
    about = ("--purpose", "investor-education", "--recipient", "bank", "--at", "2031-01-01")
    status, reply = run("decide", "--phone", phones[0], *about)
    assert (status, reply["usable"]) == (3, False)
    rows = [f"{phone},investor-education,bank,2030-12-01,2031-12-31,{phone[-4:]}.pdf" for phone in phones]
    (tmp_path / "register.csv").write_text("\n".join(["phone,purpose,recipient,valid_from,valid_until,document", *rows]) + "\n", "utf-8")
    with zipfile.ZipFile(tmp_path / "forms.zip", "w") as archive:
        for number, phone in enumerate(phones):
            archive.writestr(f"{phone[-4:]}.pdf", pdf(phone) if number != 7 else pdf(phone)[:-9])
        archive.writestr("stray.pdf", pdf("nobody's"))
    status, reply = run("import", str(tmp_path / "register.csv"), "--documents", str(tmp_path / "forms.zip"))
    assert (status, reply["rows"], reply["accepted"], reply["rejected"], reply["orphans"]) == (0, 24, 23, 1, 1)
    rejects = Path(reply["rejects_file"]).read_text("utf-8-sig")
    assert ("FORM_DAMAGED" in rejects, "stray.pdf" in rejects) == (True, True)
    assert reply["reasons"] == {"FORM_DAMAGED": 1, "FORM_WITHOUT_ROW": 1}
    assert [run("decide", "--phone", phone, *about)[0] for phone in (phones[0], phones[7])] == [0, 3]
    status, reply = run("import", str(tmp_path / "register.csv"), "--documents", str(tmp_path / "forms.zip"), "--max-bad-share", "0.01")
    assert (status, reply["error"]["code"], reply["error"]["details"]["rejected"]) == (2, "QUALITY", "1")
    assert "FORM_DAMAGED" in Path(reply["error"]["details"]["rejects_file"]).read_text("utf-8-sig")
