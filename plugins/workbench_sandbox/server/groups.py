"""Control groups of a sandbox: cgroup v2, cgroup v1, or what resource limits can do where neither may be written.

Document: docs/protocols/sandbox.md section 7, `memory`, `processes`, `cpu`, `group-kill`, `no-swap`. What is in force says so in
`how`; nothing is silently replaced. A group is made before its sandbox starts and its folders stand in the pid record.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workbench_sandbox.server import ending
from workbench_sandbox.server.ending import PREFIX

_V1 = ("memory", "pids", "cpu", "freezer")
_PERIOD_US = 100_000
_REMOVE_S = 2.0
PAGE = 4096


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """What a group counts. memory_bytes: with swap; processes: tasks, threads included; cpu_milli: thousandths of a processor."""

    memory_bytes: int
    processes: int
    cpu_milli: int


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups can be made. v2: folder with the unified tree, "" for none; controllers: those that the v2 folder hands to its
    groups; v1: controller -> folder."""

    v2: str = ""
    controllers: frozenset[str] = frozenset()
    v1: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """The folders of one sandbox. limits: controller -> folder that counts it; how: `cgroup-v2`, `cgroup-v1` or `rlimit`."""

    how: str
    folders: tuple[str, ...]
    counting: Mapping[str, str]
    killing: str

    def entrances(self) -> tuple[str, ...]:
        """Files into which a process writes its number to enter."""
        return tuple(f"{one}/cgroup.procs" for one in self.folders)

    def members(self) -> list[int]:
        """Processes in any of the folders."""
        return sorted({pid for folder in self.folders for pid in ending.members(folder)})

    def value(self, controller: str, name: str) -> str:
        """A file of the folder that counts `controller`, "" where there is none."""
        return _read(f"{self.counting[controller]}/{name}").strip() if controller in self.counting else ""

    def out_of_memory(self) -> bool:
        """Whether the kernel killed a member because the group's memory was used up."""
        text = self.value("memory", "memory.events") or self.value("memory", "memory.oom_control")
        return any(line.split()[1] != "0" for line in text.splitlines() if line.startswith("oom_kill ") and len(line.split()) == 2)

    def swapped(self) -> tuple[int, str]:
        """(pages that the group had in swap at its most, how that is known); 0 where the machine or the group had none to use."""
        state, how = _no_swap(self)
        if state == "on":
            return 0, how
        peak = self.value("memory", "memory.swap.peak") or self.value("memory", "memory.swap.current")
        return (-(-int(peak) // PAGE), "memory.swap.peak") if peak.isdigit() else (0, "not counted by a group")

    def kill(self) -> None:
        """End every member. Does not wait for them to be gone. What is no group of a sandbox is not touched: `ending`."""
        ending.end_groups(self.folders, freezer=self.counting["freezer"] if self.killing == "freezer" else "")

    def remove(self) -> int:
        """Take the folders away; how many are left after two seconds."""
        ends = time.monotonic() + _REMOVE_S
        left = list(self.folders)
        while left:
            left = [one for one in left if not _removed(one)]
            if not left or time.monotonic() > ends:
                break
            time.sleep(0.005)
        return len(left)


def find_hierarchy() -> Hierarchy:
    """What this process may write, found by trying: a folder is made and removed."""
    mounts = list(_mounts())
    own = _own_groups()
    v1: dict[str, str] = {}
    for controller in _V1:
        for kind, point, options in mounts:
            if kind == "cgroup" and controller in options and controller in own and _usable(folder := _below(point, own[controller])):
                v1[controller] = folder
    for kind, point, _ in mounts:
        if kind != "cgroup2":
            continue
        here = _below(point, own.get("", "/"))
        # A group that has processes hands no controller on: ours gets them beside it, below the one that delegated to us, or at the top.
        near = [one for one in dict.fromkeys((here, str(Path(here).parent) if here != point else here, point)) if _usable(one)]
        for folder in near:
            controllers = _handed_on(folder)
            if {"memory", "pids"} <= controllers:
                return Hierarchy(folder, controllers, v1)
        if near:
            return Hierarchy(near[0], frozenset(), v1)
    return Hierarchy("", frozenset(), v1)


def make(name: str, limits: GroupLimits, hierarchy: Hierarchy, *, without: frozenset[str] = frozenset()) -> Group:
    """The group of a sandbox with its limits set. without: names of controls that are left out (tests). Raises OSError."""
    folders: list[str] = []
    counting: dict[str, str] = {}
    try:
        if hierarchy.v2:
            folder = _made(hierarchy.v2, name, folders)
            counting |= dict.fromkeys(hierarchy.controllers & {"memory", "pids", "cpu"}, folder)
        if not {"memory", "pids"} <= counting.keys():
            for controller, parent in hierarchy.v1.items():
                counting[controller] = _made(parent, name, folders)
        kind = "rlimit"
        if {"memory", "pids"} <= counting.keys():
            kind = "cgroup-v2" if counting["memory"].startswith(hierarchy.v2 or "\0") else "cgroup-v1"
        group = Group(kind, tuple(folders), counting, _killing(folders, counting))
        for controller, path, value in _settings(group, limits):
            if controller not in without and not (controller == "no-swap" and "memory" in without):
                _write(path, value)
    except OSError:
        for folder in folders:
            _removed(folder)
        raise
    return group


def planned(name: str, hierarchy: Hierarchy) -> tuple[str, ...]:
    """The folders that `make` would make, for the record that is written before."""
    parents = [hierarchy.v2] if hierarchy.v2 else []
    if not {"memory", "pids"} <= hierarchy.controllers:
        parents += hierarchy.v1.values()
    return tuple(str(Path(one, PREFIX + name)) for one in parents)


def restored(folders: Sequence[str], sandbox: str = "") -> Group:
    """The group of a sandbox of an earlier run, by the folders in its record: those that are its own, by name and place."""
    counting = {}
    folders = [one for one in folders if ending.is_group(one, sandbox)]
    for folder in folders:
        for controller, name in (("memory", "memory.stat"), ("freezer", "freezer.state"), ("pids", "pids.max")):
            if Path(folder, name).exists():
                counting[controller] = folder
    return Group("", tuple(folders), counting, _killing(folders, counting))


def controls(group: Group, limits: GroupLimits) -> Mapping[str, tuple[str, str]]:
    """Name of a control -> (state, how), each limit read back."""
    found: dict[str, tuple[str, str]] = {}
    memory = group.value("memory", "memory.max") or group.value("memory", "memory.limit_in_bytes")
    tasks = group.value("pids", "pids.max")
    found["memory"] = (_below_limit(memory, limits.memory_bytes), group.how)
    found["processes"] = (_below_limit(tasks, limits.processes), group.how)
    found["cpu"] = ("on" if 0 < _cpu_milli(group) <= limits.cpu_milli else "off", group.how if "cpu" in group.counting else "none")
    found["group-kill"] = ("on", group.killing)
    found["no-swap"] = _no_swap(group)
    return found


# ------------------------------------------------------------------------------------------------------------ details


def _settings(group: Group, limits: GroupLimits) -> Iterator[tuple[str, str, str]]:
    """(control, file, value) in the order in which they are written."""
    counting = group.counting
    is_v2 = group.how == "cgroup-v2"
    if "memory" in counting:
        folder = counting["memory"]
        yield "memory", f"{folder}/{'memory.max' if is_v2 else 'memory.limit_in_bytes'}", str(limits.memory_bytes)
        for name, value in (("memory.swap.max", "0"), ("memory.memsw.limit_in_bytes", str(limits.memory_bytes))):
            if Path(folder, name).exists():
                yield "no-swap", f"{folder}/{name}", value
        if Path(folder, "memory.oom.group").exists():
            yield "group-kill", f"{folder}/memory.oom.group", "1"
    if "pids" in counting:
        yield "processes", f"{counting['pids']}/pids.max", str(limits.processes)
    if "cpu" in counting:
        quota = max(1_000, limits.cpu_milli * _PERIOD_US // 1_000)
        if Path(counting["cpu"], "cpu.max").exists():
            yield "cpu", f"{counting['cpu']}/cpu.max", f"{quota} {_PERIOD_US}"
        else:
            yield "cpu", f"{counting['cpu']}/cpu.cfs_period_us", str(_PERIOD_US)
            yield "cpu", f"{counting['cpu']}/cpu.cfs_quota_us", str(quota)


def _killing(folders: Sequence[str], counting: Mapping[str, str]) -> str:
    if any(Path(one, "cgroup.kill").exists() for one in folders):
        return "cgroup.kill"
    return "freezer" if "freezer" in counting else "process-group"


def _below_limit(text: str, limit: int) -> str:
    return "on" if text.isdigit() and 0 < int(text) <= limit else "off"


def _cpu_milli(group: Group) -> int:
    """Thousandths of a processor that the group may use, 0 for no limit."""
    text = group.value("cpu", "cpu.max") or f"{group.value('cpu', 'cpu.cfs_quota_us')} {group.value('cpu', 'cpu.cfs_period_us')}"
    parts = text.split()
    if len(parts) != 2 or not all(one.isdigit() for one in parts) or int(parts[1]) == 0:
        return 0
    return int(parts[0]) * 1_000 // int(parts[1])


def _no_swap(group: Group) -> tuple[str, str]:
    if len(_read("/proc/swaps").splitlines()) == 1:
        return "on", "the machine has no swap"
    if group.value("memory", "memory.swap.max") == "0":
        return "on", "memory.swap.max 0"
    both = group.value("memory", "memory.memsw.limit_in_bytes")
    if both and both == group.value("memory", "memory.limit_in_bytes"):
        return "on", "memsw = memory"
    return "off", "swap"


def _mounts() -> Iterator[tuple[str, str, frozenset[str]]]:
    """(kind, mount point, options of the file system) of every control-group tree."""
    for line in _read("/proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            yield kind, left.split(" ")[4], frozenset(options.split(","))


def _own_groups() -> Mapping[str, str]:
    """Controller -> the path of this process's group; "" for the unified tree."""
    found = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for one in controllers.split(","):
            found[one] = path
    return found


def _below(point: str, path: str) -> str:
    return point if path == "/" else point + path


def _handed_on(folder: str) -> frozenset[str]:
    """Controllers that groups below `folder` get; asked for where they are not handed on yet."""
    offered = set(_read(f"{folder}/cgroup.controllers").split())
    wanted = offered & {"memory", "pids", "cpu"}
    if wanted - set(_read(f"{folder}/cgroup.subtree_control").split()):
        for one in sorted(wanted):
            _quietly(lambda one=one: _write(f"{folder}/cgroup.subtree_control", f"+{one}"))  # type: ignore[misc]
    return frozenset(_read(f"{folder}/cgroup.subtree_control").split())


def _usable(folder: str) -> bool:
    path = Path(folder, f"{PREFIX}probe-{os.getpid()}")
    try:
        path.mkdir()
        path.rmdir()
    except OSError:
        return False
    return True


def _made(parent: str, name: str, folders: list[str]) -> str:
    path = Path(parent, PREFIX + name)
    path.mkdir(mode=0o755)
    folders.append(str(path))
    return str(path)


def _removed(folder: str) -> bool:
    try:
        Path(folder).rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _quietly(action: Callable[[], None]) -> None:
    try:
        action()
    except OSError:
        return


def _read(path: str) -> str:
    try:
        return Path(path).read_text("ascii", "replace")
    except OSError:
        return ""


def _write(path: str, value: str) -> None:
    # Opened without creating: a name that the kernel does not have is an error, not a new file.
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, value.encode("ascii"))
    finally:
        os.close(descriptor)
