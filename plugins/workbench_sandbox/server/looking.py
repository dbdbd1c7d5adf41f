"""What is left of a sandbox after it was killed, counted: section 10 of docs/protocols/sandbox.md.

Everything is looked for in the kernel's own lists, by inode, device and folder, not in what the launcher remembers to have started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from workbench_sandbox.server.ending import PREFIX, start_time
from workbench_sandbox.server.groups import Group
from workbench_sandbox.server.isolation import Found, PidRecord

_NAMES = ("pid", "mnt")


def look(record: PidRecord, group: Group, *, logged: int = 0, keys: int = 0, swapped: int = 0) -> list[Found]:
    """One line for each check but `groups`, which is counted when they are removed. logged: lines that the worker wrote; keys: key
    objects of the launcher that were not overwritten; swapped: pages of the worker that were in swap right before it was killed."""
    in_swap, how = group.swapped()
    everywhere = list(_processes())
    return [
        Found("processes", len(_left(record, group, everywhere)), "cgroup.procs; /proc/*/ns"),
        Found("mounts", _mounts(record, everywhere), "/proc/*/mountinfo"),
        Found("files", _files(record, everywhere), "run folder; /proc/*/fd"),
        Found("shared-memory", _shared_memory(record), "/dev/shm; /proc/sysvipc"),  # noqa: S108
        Found("cores", _cores(record), "core_pattern; by pid"),
        Found("swap", max(in_swap, swapped), how if in_swap or not swapped else "VmSwap before the end"),
        Found("keys", keys, "overwritten by the launcher"),
        Found("logs", logged, "no output but error codes"),
    ]


def is_gone(record: PidRecord, group: Group) -> bool:
    """Whether none of its processes is left."""
    return not _left(record, group, list(_processes()))


def leftover(record: PidRecord, group: Group) -> set[int]:
    """Processes that are still there."""
    return _left(record, group, list(_processes()))


def has_members(record: PidRecord, group: Group) -> bool:
    """Whether one of those that are killed still runs: the group's, and the two of the record."""
    ours = {pid for pid, began in zip(record.pids, record.began, strict=True) if began and start_time(pid) == began}
    return any(_is_alive(one) for one in ours | set(group.members()))


def _left(record: PidRecord, group: Group, everywhere: list[int]) -> set[int]:
    """Members of its groups, and of its namespaces. A namespace that this process or the machine's first one is in is no mark of it."""
    own = os.getpid()
    wanted = {
        kind: record.namespaces[kind]
        for kind in _NAMES
        if record.namespaces.get(kind, 0) not in (0, _namespace(own, kind), _namespace(1, kind))
    }
    found = {one for one in group.members() if _is_alive(one)}
    for pid in everywhere:
        is_there = any(_namespace(pid, kind) == inode for kind, inode in wanted.items())
        if is_there and _is_alive(pid) and not _is_elsewhere(pid, record):
            found.add(pid)
    return found


def _is_elsewhere(pid: int, record: PidRecord) -> bool:
    """Whether it belongs to another sandbox, by its groups: the kernel gives inodes and device numbers of one that is gone to the
    next one at once, so that these alone would name a neighbour."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text("utf-8", "replace")
    except OSError:
        return False
    mine = PREFIX + record.sandbox
    return any(part.startswith(PREFIX + "sb-") and part != mine for line in text.splitlines() for part in line.split("/"))


def _is_alive(pid: int) -> bool:
    """Whether it runs; a process that has ended and waits to be taken note of holds nothing any more."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in ("Z", "X")


def _processes() -> Iterator[int]:
    return (int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit())


def _namespace(pid: int, kind: str) -> int:
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except OSError:
        return 0


def _mounts(record: PidRecord, everywhere: list[int]) -> int:
    """Mounts of its scratch in any process's list, once for each list of mounts."""
    if not record.device:
        return 0
    seen: dict[int, int] = {}
    for pid in everywhere:
        namespace = _namespace(pid, "mnt")
        if (namespace in seen and namespace) or _is_elsewhere(pid, record):
            continue
        try:
            text = Path(f"/proc/{pid}/mountinfo").read_text("utf-8", "replace")
        except OSError:
            continue
        seen[namespace or -pid] = sum(line.split(" ")[2] == record.device for line in text.splitlines())
    return sum(seen.values())


def _files(record: PidRecord, everywhere: list[int]) -> int:
    """Entries of the run folder, and descriptors of any process on something below it or on its scratch, deleted or not."""
    folder = Path(record.folder)
    count = sum(1 for _ in folder.rglob("*")) if folder.is_dir() else 0
    beginning = record.folder.rstrip("/") + "/"
    for pid in everywhere:
        try:
            numbers = list(Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue
        for one in numbers:
            try:
                target = str(one.readlink())
                if target.startswith(beginning) or (
                    record.device and _device(one) == record.device and not _is_elsewhere(pid, record)
                ):
                    count += 1
            except OSError:
                continue
    return count


def _device(path: Path) -> str:
    number = path.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


def _shared_memory(record: PidRecord) -> int:
    """Segments that its user outside owns, outside a namespace. An account that others use too cannot be told apart."""
    if record.uid < 0:
        return 0
    count = 0
    shared = Path("/dev/shm")  # noqa: S108 - looked at, not written
    if shared.is_dir():
        for one in shared.rglob("*"):
            try:
                count += one.lstat().st_uid == record.uid
            except OSError:
                continue
    for name, column in (("shm", 7), ("msg", 7), ("sem", 4)):
        try:
            rows = Path(f"/proc/sysvipc/{name}").read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        count += sum(row.split()[column] == str(record.uid) for row in rows)
    return count


def _cores(record: PidRecord) -> int:
    """Core files of its processes, where the kernel writes files: none is written at all while the limit is 0."""
    try:
        pattern = Path("/proc/sys/kernel/core_pattern").read_text("utf-8").strip()
    except OSError:
        return 0
    if pattern.startswith("|"):
        return 0
    places = {Path(pattern).parent, Path("/"), Path(record.folder)} if "/" in pattern else {Path("/"), Path(record.folder)}
    names = {Path(pattern).name}
    for pid in record.pids:
        names |= {f"core.{pid}", Path(pattern).name.replace("%p", str(pid))}
    began = record.began_ms / 1000
    count = 0
    for place in places:
        for name in names - {"core"} if place == Path("/") else names:
            try:
                count += "%" not in name and (place / name).stat().st_mtime >= began
            except OSError:
                continue
    return count
