"""Signed forms in by the command, receipts out by the command, checked as a customer checks them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from tests.consent.captured_files import pdf, png
from tests.flows import population
from tests.processes.live import Live, workbench


def test_forms_come_in_and_receipts_go_out_by_command(live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    today = "2030-01-01"  # a day to come: nothing of this is backdated, whenever the test runs
    person, other = 121, 122
    index, forms = tmp_path / "index.csv", tmp_path / "forms"
    forms.mkdir()
    (forms / "a.pdf").write_bytes(pdf("a"))
    (forms / "b.png").write_bytes(png("b"))
    (forms / "stray.pdf").write_bytes(pdf("stray"))
    rows = [f"{population.phone(one)},{population.RICH},cardnet,{today},2030-12-31,{name}" for one, name in ((person, "a.pdf"), (other, "none.pdf"))]
    index.write_text("\n".join(["phone,purpose,recipient,valid_from,valid_until,document", *rows]) + "\n", "utf-8")
    common = ("--party", "broker", "--documents", forms, "--place", "静安营业部", "--json")
    refused = workbench("import", "forms", live.folder, *common, index)
    assert (refused.status, refused.value["error"]["code"]) == (2, "FORMS_REJECTED")
    assert "FORM_MISSING" in Path(refused.value["error"]["details"]["rejects_file"]).read_text("utf-8-sig")
    done = workbench("import", "forms", live.folder, *common, "--max-bad-share", "0.5", index)
    assert done.status == 0, done
    assert (done.value["accepted"], done.value["rejected"], done.value["orphans"]) == (1, 1, 2)
    trust, out = tmp_path / "keys.json", tmp_path / "one.json"
    assert workbench("trust", "export", live.folder, "--out", trust).status == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(population.phone(person) + "\n"))
    issued = workbench(
        "consent", "receipt", live.folder, "--party", "broker", "--customer", "--purpose", population.RICH, "--recipient", "cardnet",
        "--out", out, "--json",
    )  # fmt: skip
    assert issued.status == 0, issued
    assert issued.value["state"] == "NOT_YET_VALID"
    assert population.phone(person) not in json.dumps(issued.value)
    checked = workbench("verify", out, "--trust", trust, "--form", forms / "a.pdf", "--json")
    assert (checked.status, checked.value["verdict"], checked.value["status"]["state"]) == (3, "OK", "NOT_YET_VALID")
    assert workbench("verify", out, "--trust", trust, "--form", forms / "stray.pdf", "--json").status == 2
    assert out.with_suffix(".html").read_bytes().startswith(b"<!doctype html>")
    batch = tmp_path / "all.zip"
    many = workbench("consent", "issue", live.folder, "--party", "broker", "--purpose", "test-40", "--recipient", "bank", "--out", batch, "--json")
    assert many.status == 0, many
    with zipfile.ZipFile(batch) as archive:
        names = [name for name in archive.namelist() if name.startswith("receipts/")]
        assert len(names) == many.value["receipts"] > 100
        archive.extractall(tmp_path)
    first = tmp_path / names[0]
    assert workbench("verify", first, "--trust", trust, "--json").value["verdict"] == "OK"
    anchor = tmp_path / "newest.json"
    fetched = workbench("consent", "receipt", live.folder, "--party", "broker", "--id", first.stem, "--out", anchor, "--json")
    assert fetched.status == 0, fetched
    assert workbench("verify", first, "--receipt", anchor, "--trust", trust, "--json").status == 0
    assert workbench("verify", first, "--receipt", out, "--trust", trust, "--json").status == 2
