"""Nothing foreign is ended, whatever a record says: old, cut or altered records, numbers and groups of somebody else. The victims are this test's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from workbench_sandbox.server import ending, groups, looking, reaping
from workbench_sandbox.server.isolation import PidRecord

SANDBOX, OTHER = "sb-00000000000000e1", "sb-00000000000000e2"
HIERARCHY = groups.find_hierarchy()
TREES = [one for one in (HIERARCHY.v2, HIERARCHY.v1.get("freezer", "")) if one]
GROUPED = pytest.mark.skipif(not TREES, reason="this kernel or account has no control groups to write")
VICTIM = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"]
NODE = """
import os, subprocess, sys
from pathlib import Path
from workbench_sandbox.server import ending, groups
folder = sys.argv[1]
other = subprocess.Popen(["sleep", "60"])
for pid in (os.getpid(), other.pid):
    Path(folder, "cgroup.procs").write_text(str(pid))
groups.restored([folder], sys.argv[2]).kill()
ending.end_process(os.getpid(), ending.start_time(os.getpid()))
ending.end_process(os.getppid(), ending.start_time(os.getppid()))
print("alive", other.poll() is None, flush=True)
other.kill()
"""
CHILD = """
import os, subprocess, sys
from workbench_sandbox.server import ending
pids = [os.getppid(), os.getpid(), 1]
print(*[ending.end_process(pid, ending.start_time(pid)) for pid in pids], flush=True)
"""


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(VICTIM, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert child.stdout is not None and child.stdout.readline()
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close() if child.stdout else None


@pytest.fixture
def made() -> Iterator[Callable[[str, str], Path]]:
    """Makes a group below a tree; all are taken away again."""
    folders: list[Path] = []

    def make(tree: str, name: str) -> Path:
        folders.append(Path(tree, name))
        folders[-1].mkdir(parents=True)
        return folders[-1]

    yield make
    for one in reversed(folders):
        one.rmdir()


def record(folder: Path, victim: subprocess.Popen[bytes], **changes: Any) -> PidRecord:
    began = ending.start_time(victim.pid)
    whole = PidRecord(
        SANDBOX, "v-0000000f", "L-1", "broker", "", reaping.machine_boot(), str(folder / "run" / SANDBOX), -1, 0, (victim.pid,), (began,)
    )  # fmt: skip
    return replace(whole, **changes)


def reaped(folder: Path) -> list[bool]:
    return [one.clean for one in reaping.reap(folder, clock=lambda: 7, look_s=0.05)]


def test_a_process_is_ended_by_its_number_and_start_time_and_never_by_one_of_them(victim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    began = ending.start_time(victim.pid)
    for pid, when in ((victim.pid, began - 1), (victim.pid, began + 1), (victim.pid, 0), (-victim.pid, began), (0, 0), (-1, began), (True, began)):
        assert not ending.end_process(pid, when)
    for changes in ({"began": (began + 1,)}, {"machine_boot": "another start of the machine"}, {"machine_boot": ""}):
        reaping.write(tmp_path, record(tmp_path, victim, **changes))
        assert reaped(tmp_path) == [True] and reaping.names(tmp_path) == []
    assert victim.poll() is None
    reaping.write(tmp_path, record(tmp_path, victim))
    assert reaped(tmp_path) == [True] and victim.wait(timeout=10) != 0


def test_neither_itself_nor_what_it_descends_from_nor_the_first_process_is_ended() -> None:
    """Said by a grandchild, so that what would be hit is not the run of these tests."""
    parent = [sys.executable, "-c", f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {CHILD!r}]))"]
    done = subprocess.run(parent, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout.split()) == (0, [b"False"] * 3)
    assert {1, os.getpid(), os.getppid()} <= ending.untouchable()


@pytest.mark.parametrize(
    "alter",
    [
        lambda body: body.pop("groups"), lambda body: body.pop("sandbox"), lambda body: body.update(more=1),
        lambda body: body.update(pids=["self"]), lambda body: body.update(pids=[True]), lambda body: body.update(began=[]),
        lambda body: body.update(sandbox=OTHER), lambda body: body.update(sandbox="../" + OTHER), lambda body: body.update(groups=[7]),
        lambda body: body.update(machine_boot=None), lambda body: body.update(namespaces={"mnt": "4026531841"}), lambda body: body.update(uid="0"),
        lambda body: body.clear(),
    ],
)  # fmt: skip
def test_by_a_record_that_is_not_as_it_was_written_nothing_is_ended_and_nothing_is_clean(
    victim: subprocess.Popen[bytes], tmp_path: Path, alter: Callable[[dict[str, Any]], object]
) -> None:
    reaping.write(tmp_path, record(tmp_path, victim))
    path = tmp_path / "records" / f"{SANDBOX}.json"
    body = asdict(record(tmp_path, victim))
    alter(body)
    path.write_text(json.dumps(body))
    assert reaping.read(tmp_path) == [] and reaping.names(tmp_path) == reaping.unreadable(tmp_path) == [SANDBOX]
    assert reaped(tmp_path) == [False] and victim.poll() is None and path.exists()


def test_a_cut_record_is_no_record_and_a_folder_elsewhere_is_not_removed(victim: subprocess.Popen[bytes], tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "kept").write_text("x")
    (tmp_path / "run" / SANDBOX).mkdir(parents=True)
    reaping.write(tmp_path, replace(record(tmp_path, victim, pids=(), began=()), folder=str(precious)))
    assert reaped(tmp_path) == [True] and (precious / "kept").exists() and not (tmp_path / "run" / SANDBOX).exists()
    reaping.write(tmp_path, record(tmp_path, victim))
    path = tmp_path / "records" / f"{SANDBOX}.json"
    path.write_bytes(path.read_bytes()[:-9])
    assert reaped(tmp_path) == [False] and victim.poll() is None


@GROUPED
@pytest.mark.parametrize("tree", TREES)
def test_only_the_group_of_the_sandbox_itself_is_ended(
    tree: str, victim: subprocess.Popen[bytes], tmp_path: Path, made: Callable[[str, str], Path]
) -> None:
    """A record that names another's group, one above it, the top of the tree, a link or a folder that is no group."""
    foreign, other = made(tree, "workbench-e-foreign"), made(tree, f"workbench-e-foreign/workbench-{OTHER}")
    link, plain = tmp_path / f"workbench-{SANDBOX}", tmp_path / "x" / f"workbench-{SANDBOX}"
    link.symlink_to(other)
    plain.mkdir(parents=True)
    (plain / "cgroup.procs").write_text(f"0\n{victim.pid}\n")
    assert ending.members(str(plain)) == [victim.pid]  # 0 stands for a process of another list, and would be a whole group of processes
    (other / "cgroup.procs").write_text(str(victim.pid))
    around = f"{other}/../../workbench-e-foreign/workbench-{OTHER}"
    for named in (tree, f"{tree}/", "/", "", str(foreign), str(other), str(link), str(plain), around, f"{tree}/workbench-{SANDBOX}"):
        reaping.write(tmp_path, record(tmp_path, victim, pids=(), began=(), groups=(named,)))
        assert reaped(tmp_path) == [True] and victim.poll() is None, named
    assert other.is_dir() and foreign.is_dir()
    mine = made(tree, f"workbench-{SANDBOX}")
    (mine / "cgroup.procs").write_text(str(victim.pid))
    reaping.write(tmp_path, record(tmp_path, victim, pids=(), began=(), groups=(str(mine),)))
    assert reaped(tmp_path) == [True] and victim.wait(timeout=10) != 0 and not mine.exists()
    mine.mkdir()


@GROUPED
@pytest.mark.parametrize("tree", TREES)
def test_a_group_that_holds_the_node_itself_is_left_alone_and_counted(tree: str, made: Callable[[str, str], Path]) -> None:
    mine = made(tree, f"workbench-{SANDBOX}")
    node = subprocess.Popen([sys.executable, "-c", NODE, str(mine), SANDBOX], stdout=subprocess.PIPE)
    try:
        assert node.stdout is not None and node.stdout.readline() == b"alive True\n"
        assert node.wait(timeout=10) == 0
    finally:
        node.kill()
        node.communicate()
    keeper = subprocess.Popen(VICTIM, stdout=subprocess.PIPE)
    try:
        (mine / "cgroup.procs").write_text(str(keeper.pid))
        empty = PidRecord(SANDBOX, "", "", "", "", "", "/nowhere", -1, 0)
        assert looking.leftover(empty, groups.restored([str(mine)], SANDBOX)) == {keeper.pid}
    finally:
        keeper.kill()
        keeper.communicate()


def test_a_group_that_cannot_be_ended_does_not_save_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one that is taken away at that moment: what is left of it is found later."""
    monkeypatch.setattr(ending, "is_group", lambda folder, sandbox="": True)
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    (broken / "cgroup.kill").mkdir(parents=True)
    whole.mkdir()
    (whole / "cgroup.kill").write_text("")
    ending.end_groups([str(broken), str(tmp_path / "gone"), str(whole)])
    assert (whole / "cgroup.kill").read_text() == "1"
    ending.end_groups([str(broken)], freezer=str(broken))  # without a freezer either: no error stops who ends the rest


def test_nothing_else_of_the_package_sends_a_signal_or_writes_into_a_group_to_end_it() -> None:
    package = Path(ending.__file__).parents[1]
    calls = ("os.kill", "killpg", "pidfd_send_signal", "tgkill", "/cgroup.kill\"", "freezer.state\", \"")
    found = {path.name for path in package.rglob("*.py") if any(one in path.read_text("utf-8") for one in calls)}
    assert found == {"ending.py"}
