"""A lease proven from files alone: exported at both ends, checked by commands that know no node, and refused when one thing is changed."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.inference.asking_world import asking_world
from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld
from workbench.cli import main
from workbench.crypto import canonical
from workbench.domain.party import Role
from workbench.errors import Denied
from workbench_sandbox.formats.leasefile import is_lease_file, parse_lease_file

TEXT = "的管理费率是多少？我的手机10012345678"


class Files:
    """What a compliance officer has on a disk. lease: released and erased; answered: how many questions were."""

    def __init__(self, folder: Path, lease: str, answered: int) -> None:
        self.folder, self.lease, self.answered = folder, lease, answered

    def __getitem__(self, name: str) -> str:
        return str(self.folder / name)

    def write(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)


def lease_file(world: LeaseWorld, party: str, lease: str) -> bytes:
    role = Role.COMPLIANCE if party == BROKER else Role.AUDITOR
    return base64.b64decode(world.call(party, role, "inference.lease_file", lease=lease).data)


def taken(world: LeaseWorld, role: Role, download: str) -> bytes:
    return bytes(world.institutions.nodes[BROKER].downloads.take(world.institutions.caller(BROKER, role), download)[1])


def asked(world: LeaseWorld, text: str) -> str:
    name = world.call(BROKER, Role.ADVISER, "inference.ask", question=text, scenario="research").ask
    after, told = 0, None
    while told is None or told.state in ("QUEUED", "STREAMING"):
        found = world.call(BROKER, Role.ADVISER, "inference.ask_progress", ask=name, after=after)
        after, told = found.next, found.ask
    return str(told.state)


def sealed(world: LeaseWorld, lease: str) -> None:
    """Wait until both ends have co-signed everything about the lease."""

    def holds() -> bool:
        for node in world.institutions.nodes.values():
            node.sealing.wake()
        node = world.institutions.nodes[BROKER]
        return all(
            node.ledger.seal_state(party, entry.index if hasattr(entry, "index") else entry, required=[BROKER, TELECOM]).state in ("SEALED", "FULL")
            for party, entries in ((BROKER, [one.ref.index for one in world.institutions.entries(BROKER, lease)]), (TELECOM, node.mirror_index(TELECOM).entries(lease)))
            for entry in entries
        )

    world.institutions.wait_until(holds)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    folder = tmp_path_factory.mktemp("files")
    with asking_world(tmp_path_factory.mktemp("world"), servers=1) as world:
        node = world.institutions.nodes[BROKER]
        node.settings._values["evidence.report_font"] = "no such font"
        lease = world.running(world.image(tmp_path_factory.mktemp("image"), name="extractive").id, cards=1, hours=1)
        fund = str(world.query(BROKER, "SELECT title FROM inference_document WHERE kind = 'fund' ORDER BY document LIMIT 1")[0][0])
        states = [asked(world, fund + TEXT), asked(world, f"{fund}由谁托管？")]
        world.institutions.wait_until(lambda: sum(len(one.ends) for one in parse_lease_file(lease_file(world, BROKER, lease)).ends) == 2)
        for _ in range(3):
            world.turn(seconds=61)
        world.tenant.release(lease, reason="收盘")
        world.until(lambda: world.state(BROKER, lease) == world.state(TELECOM, lease) == "ERASED", seconds=1)
        world.until(lambda: bool(world.query(BROKER, "SELECT 1 FROM inference_statement WHERE lease = ? AND agreed = 1", lease)), seconds=1)
        sealed(world, lease)
        made = Files(folder, lease, states.count("ANSWERED"))
        made.write("tenant.json", lease_file(world, BROKER, lease))
        made.write("provider.json", lease_file(world, TELECOM, lease))
        made.write("package.zip", taken(world, Role.COMPLIANCE, world.call(BROKER, Role.COMPLIANCE, "evidence.export_opened", job=lease).download))
        made.write("closed.zip", taken(world, Role.COMPLIANCE, world.call(BROKER, Role.COMPLIANCE, "evidence.export", job=lease).download))
        made.write("history.json", taken(world, Role.COMPLIANCE, world.call(BROKER, Role.COMPLIANCE, "inference.history_export").download))
        with zipfile.ZipFile(folder / "package.zip") as package:
            made.write("trust.json", package.read("keys/trust.json"))  # as every institution pins them
        with pytest.raises(Denied):
            world.call(BROKER, Role.MARKETING, "inference.lease_file", lease=lease)
        yield made


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    status = main([*arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def state(told: Any, name: str) -> str:
    return str(next(one["state"] for one in told["steps"] if one["name"] == name))


def changed(files: Files, name: str, alter: Any) -> str:
    """Another spelling of a lease file, after `alter` had its members."""
    value = json.loads(Path(files[name]).read_text("utf-8"))
    alter(value)
    files.write("changed.json", canonical.format(value))
    return files["changed.json"]


def test_asked_sealed_answered_and_erased_is_proven_by_files_alone(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    prove = ["lease", "prove", files["tenant.json"], "--trust", files["trust.json"]]
    status, told = said(capsys, *prove, "--package", files["package.zip"], "--history", files["history.json"])
    assert [(one["name"], one["state"], one["problems"], one["open"]) for one in told["steps"] if one["state"] != "ok"] == []
    assert (status, told["verdict"], told["package"], told["asks"]) == (0, "ok", "OK", 2) and files.answered >= 1
    assert [one["name"] for one in told["steps"]] == ["order", "keys", "evidence", "ends", "ticks", "statement", "erased", "entries", "texts"]
    assert "10012345678" not in json.dumps(told) and "10012345678" not in Path(files["history.json"]).read_text("utf-8")
    status, told = said(capsys, *prove, "--package", files["closed.zip"])  # commitments that stay closed leave something unproven, and say so
    assert (status, told["verdict"], state(told, "entries")) == (2, "not-proven", "not-proven")
    status, told = said(capsys, "lease", "prove", files["provider.json"], "--trust", files["trust.json"])
    assert (status, state(told, "evidence"), state(told, "ticks"), state(told, "erased")) == (2, "not-proven", "ok", "ok")


def test_the_package_of_the_lease_is_taken_by_the_verifier_that_lies_in_it(files: Files, tmp_path: Path) -> None:
    with zipfile.ZipFile(files["package.zip"]) as package:
        (tmp_path / "verify.py").write_bytes(package.read("verify.py"))
        report = package.read("report.html").decode("utf-8")
        kinds = {json.loads(package.read(one))["kind"] for one in package.namelist() if one.startswith("entries/")}
    run = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "verify.py"), files["package.zip"], "--trust", files["trust.json"]], capture_output=True, text=True, check=False, env={}
    )
    assert run.returncode == 0, run.stdout
    assert {"inference.asked", "inference.answered", "inference.erased", "inference.metered", "inference.evidence_given"} <= kinds
    for words in ("脱敏并密封的提问发出", "擦除收据：算力方签署的所查所见", "a question was sent, redacted and sealed", "receipt of an erasure"):
        assert words in report
    assert not re.search(r"[0-9]{13} ms", report)  # from and until of the lease are told as times of day


def test_meters_and_receipts_hold_and_both_ends_say_the_same(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    trust = ["--trust", files["trust.json"]]
    for name in ("tenant.json", "provider.json"):
        status, told = said(capsys, "meter", "verify", files[name], *trust)
        assert status == 0 and told["ticks"] >= 3 and told["card_seconds"] == told["agreed_card_seconds"] > 0 and told["differing"] == 0
        status, told = said(capsys, "erase", "verify", files[name], *trust)
        assert told["receipts"] == told["clean"] == 1 and state(told, "erased") == "ok"
        assert status == (0 if name == "tenant.json" else 2)  # what ran there is known from the tenant's file
    status, told = said(capsys, "meter", "reconcile", files["tenant.json"], files["provider.json"], *trust)
    assert (status, told["differences"], told["parties"]) == (0, 0, [BROKER, TELECOM])
    status, told = said(capsys, "meter", "reconcile", files["tenant.json"], files["tenant.json"], *trust)
    assert (status, told["error"]["code"]) == (2, "BAD_REQUEST")
    other = changed(files, "provider.json", lambda one: one["ticks"].pop())
    status, told = said(capsys, "meter", "reconcile", files["tenant.json"], other, *trust)
    assert (status, told["differences"], state(told, "same")) == (2, 1, "failed")


def test_a_receipt_by_itself_is_held_against_the_trust_file(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipt = parse_lease_file(Path(files["tenant.json"]).read_bytes()).receipts[0]
    path = tmp_path / "one.receipt"
    path.write_bytes(receipt)
    status, told = said(capsys, "erase", "verify", str(path), "--trust", files["trust.json"])
    assert (status, told["clean"], told["lease"]) == (0, True, files.lease)


def flip(text: str) -> str:
    return text[:-1] + ("1" if text[-1] != "1" else "2")


def test_one_changed_part_fails_its_step_and_no_other_is_believed_for_it(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    tenant = parse_lease_file(Path(files["tenant.json"]).read_bytes())
    assert len(tenant.evidence) == 1 and len(tenant.ticks) >= 3 and sum(len(one.ends) for one in tenant.ends) == 2
    changes: dict[str, Any] = {
        "keys": lambda one: one["service_keys"][TELECOM].__setitem__(0, flip(one["service_keys"][TELECOM][0])),
        "evidence": lambda one: one["evidence"].__setitem__(0, one["evidence"][0][:600] + flip(one["evidence"][0][600:610]) + one["evidence"][0][610:]),
        "ends": lambda one: one["ends"][0].__setitem__("signature", flip(one["ends"][0]["signature"])),
        "ticks": lambda one: one["ticks"][1].__setitem__("reply", flip(one["ticks"][1]["reply"])),
        "statement": lambda one: one["ticks"].pop(),
        "erased": lambda one: one["receipts"].__setitem__(0, flip(one["receipts"][0])),
    }
    for name, alter in changes.items():
        status, told = said(capsys, "lease", "prove", changed(files, "tenant.json", alter), "--trust", files["trust.json"])
        assert (status, told["verdict"], state(told, name)) == (2, "failed", "failed"), name
    swapped = changed(files, "tenant.json", lambda one: one["ticks"].reverse())
    assert state(said(capsys, "meter", "verify", swapped, "--trust", files["trust.json"])[1], "ticks") == "failed"
    without = changed(files, "tenant.json", lambda one: one["receipts"].clear())
    assert state(said(capsys, "erase", "verify", without, "--trust", files["trust.json"])[1], "erased") == "not-proven"
    unproven = changed(files, "tenant.json", lambda one: one["ends"].clear())
    arguments = ["lease", "prove", unproven, "--trust", files["trust.json"], "--package", files["package.zip"]]
    assert state(said(capsys, *arguments)[1], "entries") == "not-proven"


def test_other_texts_another_package_and_a_file_that_is_none_are_refused(files: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prove = ["lease", "prove", files["tenant.json"], "--trust", files["trust.json"]]
    history = Path(files["history.json"]).read_bytes()
    files.write("texts.json", history.replace("托管".encode(), "管托".encode(), 1))
    assert state(said(capsys, *prove, "--package", files["package.zip"], "--history", files["texts.json"])[1], "texts") == "failed"
    damaged = bytearray(Path(files["package.zip"]).read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(damaged))) as package:
        info = next(one for one in package.infolist() if one.filename.startswith("entries/"))
    damaged[info.header_offset + 80] ^= 1
    files.write("damaged.zip", bytes(damaged))
    status, told = said(capsys, *prove, "--package", files["damaged.zip"])
    assert (status, told["error"]["code"]) == (2, "PACKAGE_REFUSED")
    for data in (b"{}", b"", Path(files["tenant.json"]).read_bytes()[:-1], Path(files["tenant.json"]).read_bytes() + b"\n"):
        (tmp_path / "none.json").write_bytes(data)
        status, told = said(capsys, "meter", "verify", str(tmp_path / "none.json"), "--trust", files["trust.json"])
        assert (status, told["error"]["code"]) == (2, "LEASE_FILE")
    assert not is_lease_file(Path(files["history.json"]).read_bytes())
    status, told = said(capsys, "meter", "verify", files["tenant.json"], "--trust", files["tenant.json"])
    assert (status, told["error"]["code"]) == (2, "TRUST_FILE")
