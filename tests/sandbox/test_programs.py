"""The definition of a server inside a sandbox: what an operator may write, what it is named by, and what is refused."""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import StartRefused
from workbench_sandbox.formats.manifest import Engine
from workbench_sandbox.formats.program import Program, parse_program
from workbench_sandbox.server import programs

PROGRAM = Program(
    "small", ("/program/llama-server", "-m", "{model}", "--host", "{socket}", "-t", "{threads}"), {"LLAMA_ARG_CTX_SIZE": "4096"}, (),
    ("/program/llama-server", "/runtime/lib/libllama.so"), "small", "/v1", 60,
)  # fmt: skip


def test_a_definition_is_read_as_it_was_written_and_every_change_has_another_digest() -> None:
    assert parse_program(PROGRAM.encoded) == PROGRAM
    others = (
        replace(PROGRAM, argv=(*PROGRAM.argv, "--log-disable")), replace(PROGRAM, environment={}), replace(PROGRAM, ready_s=61), replace(PROGRAM, model="other"),
        replace(PROGRAM, path=""), replace(PROGRAM, modules=("json",)), replace(PROGRAM, binds=PROGRAM.binds[:1]), replace(PROGRAM, name="large"),
    )  # fmt: skip
    assert len({one.digest for one in (PROGRAM, *others)}) == 9
    for place in range(len(PROGRAM.encoded)):
        altered = bytearray(PROGRAM.encoded)
        altered[place] ^= 1
        try:
            read = parse_program(bytes(altered))
        except ValueError:
            continue
        assert read.digest != PROGRAM.digest, place


def test_places_are_filled_and_nothing_else_is() -> None:
    filled = PROGRAM.arguments(python="P", socket="/scratch/s", model="/image/weights/{socket}", threads="2")
    assert filled == ["/program/llama-server", "-m", "/image/weights/{socket}", "--host", "/scratch/s", "-t", "2"]


@pytest.mark.parametrize(
    "changes",
    [
        {"argv": ("/usr/bin/python3", "{socket}")}, {"argv": ("{python}",)}, {"argv": ("{python}", "-V")}, {"argv": ("{python}", "{socket}", "{host}")},
        {"argv": ("{python}", "{socket}", "a\nb")}, {"environment": {"LD_PRELOAD": "x"}}, {"environment": {"HOME": "/"}}, {"environment": {"a": "b"}},
        {"binds": ("/program/llama-server", "/etc/passwd")}, {"binds": ("/program/../etc", "/program/llama-server")}, {"binds": ("/program/llama-server",) * 2},
        {"ready_s": 0}, {"ready_s": 1801}, {"model": ""}, {"model": "a b"}, {"path": "/v1?x"}, {"path": "v1"}, {"modules": ("os;",)}, {"name": "Small"},
    ],
)  # fmt: skip
def test_what_a_definition_may_not_say_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="."):
        replace(PROGRAM, **changes)


def test_an_operators_setting_becomes_a_definition_without_the_places_of_this_machine(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "serve.py").write_text("pass")
    digests = set()
    for folder in ("a", "b"):
        body = {"argv": ["{python}", "/program/serve.py", "{socket}"], "binds": {"/program/serve.py": str(tmp_path / folder / "serve.py")}}
        found = programs.named({"small": body}, "small")
        digests.add(found.program.digest)
        assert [one.source for one in found.binds()] == [str(tmp_path / folder / "serve.py")]
    assert len(digests) == 1


@pytest.mark.parametrize("body", [None, {}, {"argv": "x"}, {"argv": ["{python}", "{socket}"], "user": "root"}, {"argv": ["{python}", "{socket}"], "binds": {"/program/x": "/nowhere"}}])
def test_a_setting_that_is_no_definition_is_named_in_both_languages(body: Any) -> None:
    with pytest.raises(StartRefused, match="inference.programs") as caught:
        programs.named({"small": body} if body is not None else {}, "small")
    assert caught.value.code == "PROGRAM_WRONG" and "small" in caught.value.zh


def test_a_manifest_names_a_program_exactly_where_one_is_started() -> None:
    assert Engine("openai-http", "upstream", "1", "inside", "small", "a" * 64).program == "small"
    for members in (
        ("openai-http", "upstream", "1", "inside"), ("openai-http", "upstream", "1", "inside", "small"), ("openai-http", "upstream", "1", "behind", "small", "a" * 64),
        ("extractive", "extractive", "1", "inside", "small", "a" * 64), ("openai-http", "upstream", "1", "inside", "../x", "a" * 64),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="server"):
            Engine(*members)


def test_the_libraries_of_a_program_and_of_its_own_libraries_are_those_that_the_loader_would_map(tmp_path: Path) -> None:
    found = {one.inside: one.source for one in programs._libraries(["/bin/true"])}
    assert any(inside.startswith("/lib") for inside in found) and any(inside.startswith("/runtime/lib/libc.so") for inside in found)
    own = tmp_path / "own"
    own.mkdir()
    [libc] = [source for inside, source in found.items() if inside.startswith("/runtime/lib/libc.so")]
    shutil.copy(libc, own / "libc.so.6")
    shutil.copy("/bin/true", own / "true")
    (own / "notes.txt").write_text("no program")
    beside = {one.inside for one in programs._libraries([str(own)])}
    assert not any("libc.so" in one for one in beside), "what lies among its own files is found there"
    assert list(programs._libraries([__file__])) == []


def loaded_by(path: Path, loader: str) -> None:
    """An ELF file that names a loader and holds nothing else: elf(5)."""
    name = loader.encode() + b"\0"
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    path.write_bytes(head + struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(name), len(name), 1) + name)


def installed(path: Path) -> programs.Installed:
    return programs.named({"small": {"argv": ["/program/own", "{socket}"], "binds": {"/program/own": str(path)}}}, "small")


def test_no_loader_but_the_systems_is_ever_run_for_a_file_that_names_one(tmp_path: Path) -> None:
    ran, own = tmp_path / "ran", tmp_path / "own"
    loader = tmp_path / "lib64" / "ld-linux-x86-64.so.2"
    loader.parent.mkdir()
    loader.write_text(f"#!/bin/sh\ntouch {ran}\n")
    loader.chmod(0o755)
    (tmp_path / "link").symlink_to("/lib64")
    for name in (str(loader), f"/lib64/../{loader}", f"/lib/x/../../{loader}", "/bin/sh", "/lib64/ld-linux-x86-64.so.9", "/usr/lib", "lib64/ld-linux-x86-64.so.2", str(tmp_path / "link" / loader.name)):
        loaded_by(own, name)
        with pytest.raises(StartRefused, match="loader that is not the system's") as caught:
            installed(own).binds()
        assert caught.value.code == "PROGRAM_WRONG" and str(tmp_path) not in str(caught.value)
    assert not ran.exists()
    shutil.copy("/bin/true", own)
    assert len(installed(own).binds()) > 2


def test_a_loader_that_does_not_answer_and_a_file_cut_short_are_a_wrong_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own"
    own.write_bytes(Path("/bin/true").read_bytes()[:60])
    with pytest.raises(StartRefused, match="cannot be read as a program"):
        installed(own).binds()
    shutil.copy("/bin/true", own)
    monkeypatch.setattr(programs, "_ASK_S", 0.0)
    with pytest.raises(StartRefused, match="does not say which libraries") as caught:
        installed(own).binds()
    assert caught.value.code == "PROGRAM_WRONG" and isinstance(caught.value.__cause__, subprocess.TimeoutExpired)
