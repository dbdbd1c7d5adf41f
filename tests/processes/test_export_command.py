"""`workbench export` and what a reader outside does with the file: nothing of ours is needed to check it."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.flows import population
from tests.processes.live import Live, workbench


def test_a_campaign_is_exported_and_verified_by_a_program_that_needs_nothing_of_ours(live: Live, tmp_path: Path) -> None:
    target, out, trust = tmp_path / "target.csv", tmp_path / "evidence.zip", tmp_path / "trust.json"
    job = workbench(
        "intersect", live.folder, "--party", "broker", "--with", "bank", "--purpose", "customer-service", "--auto-approve",
        "--campaign", "winter-2026", "--out", target, "--json",
    ).value  # fmt: skip
    assert job["state"] == "RELEASED"
    outcome = workbench("export", live.folder, "--party", "broker", "--campaign", "winter-2026", "--open", "--out", out, "--json")
    assert outcome.status == 0, outcome
    made = outcome.value
    assert (made["state"], made["out"], made["opened"] > 0) == ("FINAL", str(out), True)
    assert stat.S_IMODE(out.stat().st_mode) == stat.S_IMODE(Path(made["receipt"]).stat().st_mode) == 0o600
    assert workbench("trust", "export", live.folder, "--out", trust, "--json").status == 0
    with zipfile.ZipFile(out) as archive:
        (tmp_path / "verify.py").write_bytes(archive.read("verify.py"))
    command = [sys.executable, "-I", str(tmp_path / "verify.py"), str(out), "--trust", str(trust), "--list", str(target)]
    done = subprocess.run([*command, "--receipt", made["receipt"], "--json"], capture_output=True, text=True, timeout=120, check=False, env={})
    assert done.returncode == 0, done.stdout[-2000:]
    found = json.loads(done.stdout)
    assert (found["verdict"], found["entries"]) == ("OK", sum(made["entries"].values()))
    receipt = json.loads(done.stdout) and subprocess.run(
        [sys.executable, "-I", str(tmp_path / "verify.py"), job["receipt"], "--trust", str(trust), "--list", str(target), "--json"],
        capture_output=True, text=True, timeout=120, check=False, env={},
    )  # fmt: skip
    assert json.loads(receipt.stdout)["verdict"] == "OK"


def test_what_cannot_be_exported_is_refused_in_one_object(live: Live, tmp_path: Path) -> None:
    out = tmp_path / "evidence.zip"
    for about in (["--job", "J-unknown"], ["--from", "2026-01-01"], ["--customer-phone", "12"], ["--campaign", "never"]):
        outcome = workbench("export", live.folder, "--party", "broker", *about, "--out", out, "--json")
        assert outcome.status == 2 and "code" in outcome.value["error"], outcome
    assert not out.exists()
    phone = population.phone(70)
    outcome = workbench("export", live.folder, "--party", "broker", "--customer-phone", phone, "--out", out, "--json")
    assert phone not in outcome.out and phone not in outcome.err
