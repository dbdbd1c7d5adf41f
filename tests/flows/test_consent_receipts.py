"""Consent receipts through the gate of real nodes: issued, co-signed, handed out, and checked by three verifiers."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from workbench_ledger.package.assemble import engine_js, verify_py

from tests.flows import population
from tests.flows.institutions import Institutions, fresh_workspace, running, write_settings
from workbench.cli import main as workbench
from workbench.crypto import canonical
from workbench.domain.party import PartyId, Role
from workbench.errors import NotFound, Refused
from workbench.node.staff import build_staff_app
from workbench.node.trust import export_trust, parse_trust
from workbench.verify import VerdictWord
from workbench.verify_consent import ConsentVerdict, verify_consent_receipt

PERSON = 70
LIVE_AT_MS = 0
"""A reader's clock from long ago: no window has ended by it."""


@pytest.fixture(scope="module")
def three() -> Iterator[Institutions]:
    workspace = fresh_workspace()
    for party in workspace.parties:
        write_settings(workspace, party, node__seal_interval_ms=50)
    with running(workspace) as made:
        yield made


@pytest.fixture(scope="module")
def trust(three: Institutions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    node = three.nodes["broker"]
    bundles = [node.keys.bundle, *(node.partner(party).bundle for party in node.parties() if party != node.party)]
    path = tmp_path_factory.mktemp("trust") / "trust.json"
    path.write_bytes(export_trust(bundles))
    return path


@pytest.fixture(scope="module")
def one(three: Institutions) -> tuple[Any, bytes]:
    """A receipt of one customer's grant, and its file."""
    reply = compliance(three, "consent.receipt", phone=population.phone(PERSON), id_no=population.id_no(PERSON), recipient="bank")
    return reply, taken(three, reply.json_file)


def compliance(three: Institutions, operation: str, **request: Any) -> Any:
    return three.call("broker", Role.COMPLIANCE, operation, **request)


def taken(three: Institutions, download: str) -> bytes:
    return three.nodes["broker"].downloads.take(three.caller("broker", Role.COMPLIANCE), download)[1]


def checked(data: bytes, trust: Path | None, **options: Any) -> ConsentVerdict:
    pinned = parse_trust(trust.read_bytes()) if trust else None
    return verify_consent_receipt(
        data,
        trust=None if pinned is None else {party: keys.for_notes() for party, keys in pinned.items()},
        contracts=None if pinned is None else {party: keys.contract_key for party, keys in pinned.items()},
        **{"now_ms": LIVE_AT_MS, **options},
    )


def outside(tmp_path: Path, data: bytes, *arguments: str) -> tuple[int, Any]:
    """`verify.py` as a customer runs it: one file, another process, nothing installed."""
    (tmp_path / "verify.py").write_bytes(verify_py())
    (tmp_path / "receipt.json").write_bytes(data)
    command = [sys.executable, "-I", "verify.py", "receipt.json", "--json", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def test_a_customer_s_receipt_is_sealed_masked_and_says_as_of_which_height(
    three: Institutions, one: tuple[Any, bytes], trust: Path
) -> None:
    reply, data = one
    found = checked(data, trust)
    assert found.word is VerdictWord.OK, found.en
    assert found.status is not None
    assert (found.status.state, found.status.is_live, found.exit_status) == ("LIVE", True, 0)
    assert found.en.startswith("the receipt is genuine: as of height ")
    assert reply.is_final
    assert found.anchor is not None
    assert found.anchor.index == reply.entry >= found.status.size
    subject = reply.receipt["content"]["subject"]
    assert (subject["phone"], subject["id_no"][:4]) == (f"100****{population.phone(PERSON)[-4:]}", "9901")
    page, pdf = taken(three, reply.page), taken(three, reply.pdf)
    assert pdf.startswith(b"%PDF-")
    for secret in (population.phone(PERSON), population.id_no(PERSON)):
        assert secret.encode() not in data + page + pdf
    text = page.decode()
    assert reply.receipt_id in text
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/2000/svg", "")


def test_all_verifiers_give_the_same_verdict(
    one: tuple[Any, bytes], trust: Path, tmp_path: Path, engine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """workbench verify, verify.py and the engine of verify.html: pinned, not pinned, altered, another institution's keys."""
    _, data = one
    at = data.index(b'"purpose":{"code":"') + 20
    altered = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    others = canonical.parse_object(trust.read_bytes().rstrip())
    parties: Any = others["parties"]
    parties[0]["contract_key"], parties[1]["contract_key"] = parties[1]["contract_key"], parties[0]["contract_key"]
    wrong = tmp_path / "wrong.json"
    wrong.write_bytes(canonical.format(others))
    cases = [(data, trust, "OK"), (data, None, "KEYS_NOT_PINNED"), (altered, trust, "FAILED"), (data, wrong, "FAILED")]
    asked = [
        {"data": one.hex(), "trust": keys.read_bytes().hex() if keys else None, "now": LIVE_AT_MS} for one, keys, _ in cases
    ]
    for (content, keys, word), page in zip(cases, engine(asked), strict=True):
        options = ["--trust", str(keys)] if keys else []
        status, file = outside(tmp_path, content, *options)
        (tmp_path / "receipt.json").write_bytes(content)
        own_status = workbench(["verify", str(tmp_path / "receipt.json"), "--json", *options])
        own = json.loads(capsys.readouterr().out)
        assert [own["verdict"], file["verdict"], page["verdict"]] == [word] * 3
        assert own_status == status == (0 if word != "FAILED" else 2)
        failed = [step["name"] for step in own["steps"] if step["state"] == "failed"]
        assert failed == [step["name"] for step in file["steps"] if not step["ok"]]
        assert file["steps"] == page["steps"]
        assert file.get("status") == page.get("status")
        if word != "FAILED":
            assert own["status"] == file["status"]


def test_the_verifiers_agree_on_odd_contents(one: tuple[Any, bytes], trust: Path, tmp_path: Path, engine: Any) -> None:
    """Values outside what they may be, in canonical spelling: all three say that the form does not hold."""
    good: Any = canonical.parse_object(one[1][:-1])
    odd: list[bytes] = []
    for path, value in (
        (("batch", "index"), 1), (("batch", "size"), 0), (("proof", "alg"), "SM2"), (("anchor",), "x"), (("content", "status", "state"), "toString"),
        (("content", "uses", "total"), -1), (("content", "events"), []), (("content", "grant", "record"), 0), (("content", "grant", "v"), 3),
        (("content", "withdrawal", "url"), None), (("content", "subject", "token"), "é" * 32), (("content", "v"), ""),
        (("content", "processing", "information"), [{}]), (("content", "schema"), "iso27560:2023+cn2"), (("content",), []),
    ):  # fmt: skip
        changed = json.loads(json.dumps(good))
        place = changed
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        odd.append(canonical.format(changed) + b"\n")
    odd += [one[1].replace(b",", b", ", 1), one[1][:-1], one[1] + b"\n"]
    keys = trust.read_bytes()
    pages = engine([{"data": data.hex(), "trust": keys.hex()} for data in odd])
    for data, page in zip(odd, pages, strict=True):
        assert checked(data, trust).steps[-1].name == "format"
        assert ([step["name"] for step in page["steps"]], page["verdict"]) == (["format"], "FAILED")
    for data in odd[:3]:
        assert outside(tmp_path, data)[1]["steps"] == engine([{"data": data.hex()}])[0]["steps"]


def test_a_withdrawn_grant_is_shown_as_such_and_its_receipt_is_told_apart(
    three: Institutions, trust: Path, tmp_path: Path, engine: Any
) -> None:
    person = 90
    before = compliance(three, "consent.receipt", phone=population.phone(person), recipient="cardnet", purpose="test-40")
    three.nodes["broker"].consent.withdraw(phone=population.phone(person), purpose="test-40")
    now = compliance(three, "consent.receipt_status", receipt_id=before.receipt_id)
    assert (before.state, now.state, now.record) == ("LIVE", "WITHDRAWN", before.record)
    after = compliance(three, "consent.receipt", record=before.record)
    data = taken(three, after.json_file)
    found = checked(data, trust)
    assert (found.word, found.exit_status) == (VerdictWord.OK, 3)
    status, file = outside(tmp_path, data, "--trust", str(trust))
    page = engine([{"data": data.hex(), "trust": trust.read_bytes().hex(), "now": LIVE_AT_MS}])[0]
    assert (status, file["verdict"], file["status"]["state"], page["status"]["state"]) == (3, "OK", "WITHDRAWN", "WITHDRAWN")
    assert [one["type"] for one in after.receipt["content"]["events"]] == ["recorded", "withdrawn"]


def test_a_receipt_is_not_given_for_another_customer(three: Institutions) -> None:
    with pytest.raises(Refused) as refused:
        compliance(three, "consent.receipt", record=1, phone=population.phone(101))
    assert refused.value.code == "RECEIPT_OTHER_CUSTOMER"
    with pytest.raises(NotFound):
        compliance(three, "consent.receipt", phone=population.phone(population.STRANGER))


def test_a_batch_is_one_entry_and_every_receipt_of_it_stands_alone(three: Institutions, trust: Path) -> None:
    before = len(three.entries("broker", kind="consent.receipts_issued"))
    reply = compliance(three, "consent.receipts_issue", purpose="investor-education", recipient="bank")
    assert len(three.entries("broker", kind="consent.receipts_issued")) == before + 1
    with zipfile.ZipFile(io.BytesIO(taken(three, reply.download))) as archive:
        names = archive.namelist()
        files = [name for name in names if name.startswith("receipts/")]
        assert len(files) == reply.receipts > 100
        assert archive.read("index.csv").count(b"\n") == reply.receipts + 1
        words = [checked(archive.read(name), trust).word for name in files[:3] + files[-1:]]
        assert words == [VerdictWord.OK] * 4
        everything = b"".join(archive.read(name) for name in names)
    assert population.phone(PERSON).encode() not in everything
    assert reply.states == {"LIVE": reply.receipts}
    assert compliance(three, "consent.receipts").batches[0].receipts == reply.receipts


def test_a_receipt_without_its_ledger_proof_is_completed_by_one_beside_it(
    three: Institutions, one: tuple[Any, bytes], trust: Path, tmp_path: Path
) -> None:
    value: Any = canonical.parse_object(one[1][:-1])
    value["anchor"] = None
    bare = canonical.format(value) + b"\n"
    assert checked(bare, trust).word is VerdictWord.NOT_FINAL
    anchor = compliance(three, "consent.receipt_anchor", receipt_id=one[0].receipt_id).anchor
    assert checked(bare, trust, anchor=anchor).word is VerdictWord.OK
    (tmp_path / "anchor.json").write_text(json.dumps(anchor), "utf-8")
    assert outside(tmp_path, bare, "--trust", str(trust))[0] == 2
    assert outside(tmp_path, bare, "--trust", str(trust), "--receipt", "anchor.json")[0] == 0
    other = three.nodes["broker"].ledger.receipt(PartyId("broker"), 0)
    assert checked(bare, trust, anchor=other).zh.startswith("不成立（issued）")


def test_runs_stand_on_the_receipts_of_those_who_were_in_them(three: Institutions) -> None:
    job, _ = three.run("broker", "bank", "test-41")
    inside = compliance(three, "consent.receipt", phone=population.phone(PERSON), purpose="test-41", recipient="bank")
    beside = compliance(three, "consent.receipt", phone=population.phone(PERSON), purpose="test-41", recipient="cardnet")
    uses = inside.receipt["content"]["uses"]
    assert {run["job"] for run in uses["runs"]} == {job.job}
    index = int(uses["runs"][0]["entry"].split(":")[2])
    entry = next(found for found in three.entries("broker", job.job, "consent.snapshot") if found.ref.index == index)
    assert entry.ref.leaf.hex() == uses["runs"][0]["entry"].split(":")[3]
    assert beside.receipt["content"]["uses"]["total"] == 0


def test_a_customer_agrees_on_the_node_s_page_and_takes_a_receipt_home(
    three: Institutions, trust: Path, tmp_path: Path, engine: Any
) -> None:
    """From the link to the receipt: the page of a real node, a grant under the second digest, three verifiers, the form beside it."""
    place, person, purpose = "127.0.0.1:8801", 120, "test-42"
    node = three.nodes["broker"]
    web = TestClient(build_staff_app(node, allowed_hosts={place}), base_url=f"http://{place}")
    offers = [{"purpose": purpose, "recipient": one, "until": "2030-12-31"} for one in ("bank", "cardnet")]
    about = {"place": "静安营业部", "identity": "身份证原件，柜台核对", "phone": population.phone(person), "id_no": population.id_no(person)}
    asked = compliance(three, "consent.ask", offers=offers, otp_stated=True, **about)
    before = len(node.consent.state().grants)
    shown = web.get(asked.path)
    assert shown.status_code == 200
    assert shown.text.count('type="checkbox"') == 2
    assert population.phone(person) not in shown.text
    told = {f"{purpose}/bank": "on", "decision": "yes"}
    assert web.post(asked.path, data=told, headers={"Origin": "https://evil.example"}).status_code == 403
    done = web.post(asked.path, data=told, headers={"Origin": f"http://{place}"})
    assert (done.status_code, "同意了 1 项" in done.text) == (200, True)
    assert web.post(asked.path, data=told, headers={"Origin": f"http://{place}"}).status_code == Refused("", "").http_status
    assert len(node.consent.state().grants) == before + 1
    reply = compliance(three, "consent.receipt", record=before + 1, phone=about["phone"])
    data, form = taken(three, reply.json_file), node.consent.form(before + 1)
    content = reply.receipt["content"]
    assert (content["grant"]["v"], content["grant_v2"]["method"], content["notice"]["document"]) == (2, "click", "kept")
    assert json.loads(form)["method"] == "page, otp-stated"
    (tmp_path / "form.json").write_bytes(form)
    keys = trust.read_bytes().hex()
    page, wrong = engine(
        [{"data": data.hex(), "trust": keys, "form": one.hex(), "now": LIVE_AT_MS} for one in (form, form[:-1] + b" ")]
    )
    status, file = outside(tmp_path, data, "--trust", str(trust), "--form", "form.json")
    assert (status, file["verdict"], page["verdict"], wrong["verdict"]) == (0, "OK", "OK", "FAILED")
    assert checked(data, trust, document=form).word is VerdictWord.OK
    assert [step["name"] for step in page["steps"]] == [step["name"] for step in file["steps"]]
    with pytest.raises(Refused) as soon:
        compliance(three, "consent.ask", offers=offers[1:], **about)
    assert soon.value.code == "ASKED_TOO_SOON"
    assert compliance(three, "consent.funnel").signed == 1


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The engine of verify.html under Node."""
    import shutil

    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    script = tmp_path_factory.mktemp("engine") / "engine.js"
    script.write_text(engine_js(), "utf-8")
    runner = Path(__file__).parents[1] / "package" / "run_engine.js"

    def run(cases: list[dict[str, Any]]) -> Any:
        asked = json.dumps({"engine": str(script), "cases": cases})
        done = subprocess.run([node, str(runner)], input=asked, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run
