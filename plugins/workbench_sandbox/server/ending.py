"""The one place of a server that ends what is not its own child: a signal to a process, a kill of a control group.

Document: docs/protocols/sandbox.md section 10, step 2. Records lie on a disk and may be old, cut or altered; numbers, inodes and paths
are used again for somebody else. So nothing is ended that is not, at this moment and by the kernel's own lists, exactly what was
started: a process by number *and* start time, a group by its path *and* the name of its sandbox – and never the machine's first
process, this one, or one that it descends from.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

SANDBOX = re.compile(r"sb-[0-9a-f]{16}")
PREFIX = "workbench-"
"""Of the folder of a group: `workbench-<sandbox>`."""
_TREES = frozenset({"cgroup", "cgroup2"})
_FREEZE_S = 1.0


def start_time(pid: int) -> int:
    """When a process started, in clock ticks since the machine did; 0 where there is none. Source: proc(5), field 22."""
    try:
        return int(Path(f"/proc/{int(pid)}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def untouchable() -> frozenset[int]:
    """What is never ended: every process at once (0 and below are no processes), the first one, this one, those it descends from."""
    found, pid = {1}, os.getpid()
    while pid > 1 and pid not in found:
        found.add(pid)
        pid = _parent(pid)
    return frozenset(found)


def end_process(pid: int, began: int) -> bool:
    """Kill the process with this number that started then; whether one was there. began: as `start_time`, 0 for not known."""
    return _end(pid, lambda: began > 0 and start_time(pid) == began)


def is_group(folder: str, sandbox: str = "") -> bool:
    """Whether `folder` is the control group of a sandbox (of this one, where one is named) by its name and its place."""
    path = Path(folder)
    named = path.name.removeprefix(PREFIX)
    if path.name != PREFIX + named or not SANDBOX.fullmatch(named) or (sandbox and named != sandbox):
        return False
    return path.is_dir() and str(path.resolve()) == folder and _is_in_a_tree(folder)


def members(folder: str) -> list[int]:
    """Processes of a group and of those below it. One that this process cannot name, because it belongs to another machine's list of
    processes, is listed by the kernel as 0; it is left out."""
    found = set()
    for place, _, _ in os.walk(folder):
        try:
            text = Path(place, "cgroup.procs").read_text("ascii")
        except OSError:
            continue
        found |= {int(one) for one in text.split() if one.isdigit() and int(one) > 0}
    return sorted(found)


def end_groups(folders: Sequence[str], *, freezer: str = "") -> None:
    """End every member of these groups; does not wait for them to be gone. A folder that is no group of a sandbox is left alone, and a
    group that holds something untouchable as a whole: what else is in it is then found, and makes the receipt unclean.

    freezer: where the kernel has no `cgroup.kill`, the folder that freezes its members, so that none is started while they are killed.
    """
    spared = untouchable()
    groups = [one for one in folders if is_group(one) and not spared & set(members(one))]
    for folder in groups:
        with suppress(OSError):  # a kernel without it, or it is gone by now; one that stays does not save the others
            _write(f"{folder}/cgroup.kill", "1")
    if freezer in groups:
        _freeze_and_end(freezer)


def _freeze_and_end(folder: str) -> None:
    state = Path(folder, "freezer.state")
    try:
        with suppress(OSError):  # what cannot be frozen is ended all the same
            _write(str(state), "FROZEN")
            ends = time.monotonic() + _FREEZE_S
            while state.read_text("ascii").strip() == "FREEZING" and time.monotonic() < ends:
                time.sleep(0.001)
        for pid in members(folder):
            _end(pid, lambda pid=pid: pid in members(folder))  # type: ignore[misc]
    finally:
        with suppress(OSError):
            _write(str(state), "THAWED")


def _end(pid: int, is_it: Callable[[], bool]) -> bool:
    """Hold on to the process first, look whether it is the one that is meant, and only then end it: the number cannot become another's."""
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 1 or pid in untouchable():
        return False
    try:
        held = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not is_it():
            return False
        signal.pidfd_send_signal(held, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(held)
    return True


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _is_in_a_tree(folder: str) -> bool:
    """Whether it lies below a mounted tree of control groups, and is not the top of one."""
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    for line in lines:
        left, _, right = line.partition(" - ")
        if right.split(" ", 1)[0] in _TREES and folder.startswith(left.split(" ")[4].rstrip("/") + "/"):
            return True
    return False


def _write(path: str, value: str) -> None:
    # Opened without creating: a name that the kernel does not have is an error, not a new file.
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, value.encode("ascii"))
    finally:
        os.close(descriptor)
