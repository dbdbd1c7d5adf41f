"""The ZIP and what is around it: one spelling, equal bytes, the standard library alone on the other side."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.world import BANK, BROKER, World
from tests.package.package_world import build, digests, files_of, order_of, packed, trust_bytes
from workbench.domain.package import Container, is_name
from workbench_ledger.package.assemble import engine_js, verify_html, verify_py
from workbench_ledger.package.verifier.formats import Bad, damaged_members, read_container

Engine = Callable[[list[dict[str, Any]]], list[Any]]


def read(package: bytes) -> list[str]:
    """Damaged files of a container that can be read. Raises Bad."""
    file = io.BytesIO(package)
    return damaged_members(file, read_container(file, len(package)))


def test_the_same_order_gives_the_same_bytes(sealed: World, package: bytes) -> None:
    places = [(BANK, index) for index in range(9)] + [(BROKER, index) for index in range(12)]
    assert build(sealed, order_of(places, {5: sealed.broker.openings[5]}))[0] == package


def test_other_people_s_software_reads_the_zip(package: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        assert archive.testzip() is None
        infos = archive.infolist()
    names = [one.filename for one in infos]
    assert names[-1] == "manifest.json" and names[:-1] == sorted(names[:-1])
    assert {(one.date_time, one.compress_type, one.external_attr >> 16) for one in infos} == {((1980, 1, 1, 0, 0, 0), 0, 0o100644)}


def test_the_manifest_lists_every_file_with_size_and_both_digests(package: bytes) -> None:
    files = files_of(package)
    said = json.loads(files.pop("manifest.json"))["files"]
    assert {name: (one["size"], one["sha256"], one["sm3"]) for name, one in said.items()} == {
        name: (len(data), *digests(data)) for name, data in files.items()
    }


def test_a_package_holds_what_the_document_lists_and_nothing_else(package: bytes) -> None:
    folders = {name.split("/")[0] for name in files_of(package)}
    expected = {"README.txt", "checkpoints", "entries", "keys", "manifest.json", "openings", "package.json", "proofs", "report.html", "sm2"}
    assert folders - {"report.pdf"} == expected | {"verify.html", "verify.py"}


def test_every_one_byte_change_of_the_zip_is_noticed(package: bytes) -> None:
    """Sampled over the whole file, exhaustive over one local header, one central header and the end."""
    start = package.index(b"PK\1\2")
    positions = [*range(0, len(package), 331), *range(60), *range(start, start + 60), *range(len(package) - 30, len(package))]
    unnoticed = []
    for at in positions:
        changed = package[:at] + bytes([package[at] ^ (1 + at % 255)]) + package[at + 1 :]
        try:
            if not read(changed):
                unnoticed.append(at)
        except Bad:
            pass
    assert unnoticed == []


def test_a_zip_with_anything_around_or_between_its_parts_is_refused(package: bytes) -> None:
    repacked = io.BytesIO()
    with zipfile.ZipFile(repacked, "w") as archive:
        for name, data in files_of(package).items():
            archive.writestr(name, data)
    for other in (b"x" + package, package + b"x", package[:-1], package[1:], b"", b"PK", package[:50], repacked.getvalue()):
        with pytest.raises(Bad):
            read(other)


def test_the_javascript_reader_refuses_the_same_containers(package: bytes, engine: Engine) -> None:
    start = package.index(b"PK\1\2")
    others = [b"x" + package, package + b"x", package[:-1], b"PK", package[:50]]
    for at in (4, 8, 30, start + 5, start + 40, len(package) - 1, len(package) - 12):
        others.append(package[:at] + bytes([package[at] ^ 1]) + package[at + 1 :])
    results = engine([{"data": one.hex()} for one in others])
    assert [one["verdict"] for one in results] == ["FAILED"] * len(others)


def test_names_that_could_leave_the_folder_are_no_names() -> None:
    for name in ("../a", "/a", "a//b", "a/./b", "a/", "a\\b", "", "é", "a" * 161):
        assert not is_name(name)
        with pytest.raises(ValueError, match="cannot follow"):
            Container().add(name, b"")


def test_files_must_ascend() -> None:
    container = Container()
    container.add("b", b"")
    for name in ("a", "b", "manifest.json"):
        with pytest.raises(ValueError, match="cannot follow"):
            container.add(name, b"")


def test_the_python_verifier_needs_python_3_9_and_its_standard_library_only() -> None:
    tree = ast.parse(verify_py(), feature_version=(3, 9))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {one.name.partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported <= sys.stdlib_module_names
    # Newer than 3.9: datetime.UTC, zip(strict=), int.bit_count, dataclass(slots=), removeprefix is 3.9 itself.
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [one for one in calls for keyword in one.keywords if keyword.arg in ("strict", "slots") and isinstance(one.func, ast.Name)]
    assert not {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)} & {"bit_count", "UTC"}


def test_nothing_in_the_verifiers_reaches_for_the_network() -> None:
    page = verify_html().decode("utf-8")
    policy = page.partition('Content-Security-Policy" content="')[2].partition('"')[0]
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy and "http" not in policy
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "importScripts", "sendBeacon", "localStorage", "innerHTML", "eval("):
        assert word not in page
    assert "http://" not in page and "https://" not in page
    assert not {"socket", "urllib", "http", "ssl", "subprocess", "os"} & {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(verify_py()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert "https://" not in engine_js()


def run(verifier: Path, *arguments: Path | str) -> tuple[int, dict[str, Any]]:
    """In an empty environment, isolated from every installed package."""
    command = [sys.executable, "-I", str(verifier), *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={}, cwd="/")
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def test_the_program_checks_zip_and_folder_and_says_whose_keys_it_used(package: bytes, verifier: Path, tmp_path: Path) -> None:
    path, trust, folder = tmp_path / "p.zip", tmp_path / "trust.json", tmp_path / "folder"
    path.write_bytes(package)
    trust.write_bytes(trust_bytes())
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    status, pinned = run(verifier, path, "--trust", trust)
    assert (status, pinned["verdict"], pinned["entries"], pinned["full"]) == (0, "OK", 21, 21)
    status, unpinned = run(verifier, path)
    assert (status, unpinned["verdict"]) == (0, "KEYS_NOT_PINNED")
    assert any("whose the keys are" in one["en"] for one in unpinned["unchecked"])
    assert run(verifier, folder, "--trust", trust)[1]["verdict"] == "OK"
    (folder / "entries" / "note.txt").write_text("x")
    status, extra = run(verifier, folder, "--trust", trust)
    assert (status, extra["verdict"]) == (2, "FAILED")
    assert {one["code"] for step in extra["steps"] for one in step["problems"]} == {"FILE_EXTRA", "FILE_UNKNOWN"}


def test_wrong_usage_is_told_apart_from_wrong_evidence(verifier: Path, tmp_path: Path, package: bytes) -> None:
    path = tmp_path / "p.zip"
    path.write_bytes(package)
    for arguments in ([tmp_path / "absent.zip"], [path, "--trust", path], [path, "--receipt", tmp_path / "absent"], []):
        command = [sys.executable, "-I", str(verifier), *map(str, arguments)]
        assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 64


def test_javascript_and_python_give_one_result(package: bytes, verifier: Path, engine: Engine, tmp_path: Path) -> None:
    path, trust = tmp_path / "p.zip", tmp_path / "trust.json"
    path.write_bytes(package)
    trust.write_bytes(trust_bytes())
    both = engine([{"path": str(path), "trust": trust_bytes().hex()}, {"path": str(path)}])
    assert both == [run(verifier, path, "--trust", trust)[1], run(verifier, path)[1]]


def test_a_forger_s_repacking_is_itself_deterministic(package: bytes) -> None:
    """The helper of the other tests writes what the builder writes, so their forgeries fail for what was forged."""
    assert packed(files_of(package)) == package
