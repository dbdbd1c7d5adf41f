"""Commands that need no node: files that are missing, wrong or cannot be written, and one object with --json."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files") / "one"
    assert main(["init", str(made), "--empty", "--parties", "alpha,beta", "--json"]) == 0
    return made


def answered(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, object]]:
    """(exit status, the one object on standard output)."""
    capsys.readouterr()
    status = main([str(one) for one in arguments])
    return status, json.loads(capsys.readouterr().out)


def test_the_trust_file_is_written_and_the_command_says_where_in_one_object(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "trust.json"
    assert answered(capsys, "trust", "export", folder, "--out", out, "--json") == (
        0, {"file": str(out), "parties": ["alpha", "beta"]},
    )  # fmt: skip
    assert answered(capsys, "trust", "export", folder, "--json")[1] == json.loads(out.read_bytes())


@pytest.mark.parametrize("missing", ["receipt", "list", "trust"])
def test_a_file_that_is_not_there_is_named_and_no_traceback(
    missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"receipt": tmp_path / "receipt.json", "list": tmp_path / "list.csv", "trust": tmp_path / "trust.json"}
    names["receipt"].write_text("{}")
    names["list"].write_text("phone\n")
    if missing != "trust":
        del names["trust"]
    names[missing] = tmp_path / f"no-such-{missing}"
    more = [f"--{name}={path}" for name, path in names.items() if name != "receipt"]
    status, value = answered(capsys, "verify", names["receipt"], *more, "--json")
    error = value["error"]
    assert isinstance(error, dict)
    assert (status, error["code"]) == (2, "NO_FILE") and f"no-such-{missing}" in error["en"]


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"v":1,"kind":"trust","parties":[]}'])
def test_a_file_that_is_no_trust_file_is_named(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipt, wrong = tmp_path / "receipt.json", tmp_path / "wrong-keys.json"
    receipt.write_text("{}")
    wrong.write_text(content)
    status, value = answered(capsys, "verify", receipt, "--trust", wrong, "--json")
    error = value["error"]
    assert isinstance(error, dict)
    assert (status, error["code"]) == (2, "TRUST_FILE") and "wrong-keys.json" in error["zh"] and "wrong-keys.json" in error["en"]


def test_a_folder_that_cannot_be_read_as_a_file_is_one_object_too(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKBENCH_PASSPHRASE_FILE", str(tmp_path / "no-such-passphrase"))
    status, value = answered(capsys, "init", tmp_path / "real", "--kind", "production", "--parties", "alpha", "--empty", "--json")
    error = value["error"]
    assert isinstance(error, dict)
    assert status != 0 and "no-such-passphrase" in error["en"]


@pytest.mark.parametrize("out", ["no-such-folder/list.csv", "."])
def test_nothing_is_started_when_the_list_could_not_be_written(
    out: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, value = answered(
        capsys, "intersect", folder, "--party", "alpha", "--with", "beta", "--purpose", "wealth-marketing",
        "--auto-approve", "--out", tmp_path / out, "--json",
    )  # fmt: skip
    error = value["error"]
    assert isinstance(error, dict)
    assert (status, error["code"]) == (1, "FILE_NOT_WRITTEN") and "nothing was started" in error["en"]


def test_what_has_to_be_typed_and_cannot_be_is_refused_and_no_traceback() -> None:
    """A script without a terminal: standard input at its end, no controlling terminal."""
    program = (
        "import argparse, sys; from workbench.commands import common\n"
        "ask = lambda options: print(common.secret_line('NOT_SET', '口令 / passphrase: '))\n"
        "sys.exit(common.each(ask)(argparse.Namespace(json=True)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, start_new_session=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "NO_TERMINAL"


def test_a_command_whose_reader_has_gone_ends_without_a_word() -> None:
    """As in `workbench evidence search … | head -1`."""
    program = (
        "import argparse, sys; from workbench.commands import common\n"
        "def much(options):\n    common.print_result(options, {}, ['x' * 100] * 10_000)\n    return 0\n"
        "sys.exit(common.each(much)(argparse.Namespace(json=False)))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.read(10)
        running.stdout.close()
        said = running.stderr.read()
        assert (running.wait(timeout=60), said) == (128 + signal.SIGPIPE, b"")
