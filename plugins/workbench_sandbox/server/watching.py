"""What a launcher sees of a sandbox from outside, read from the kernel and not from what it asked for.

Document: docs/protocols/sandbox.md section 7, column "launcher sees".
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench_sandbox.formats.evidence import CONTROLS, Control
from workbench_sandbox.inside.measuring import NOBODY, read_mounts, writable_mounts

NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup")
_PERIOD = {"own-ipc": "ipc", "own-hostname": "uts", "own-cgroup-view": "cgroup"}


def namespaces(pid: int | str = "self") -> Mapping[str, int]:
    """Kind -> inode of the namespaces of a process; those that may not be seen are left out."""
    found = {}
    for kind in NAMESPACES:
        try:
            found[kind] = os.stat(f"/proc/{pid}/ns/{kind}").st_ino
        except OSError:
            continue
    return found


def status(pid: int) -> Mapping[str, str]:
    """/proc/PID/status by name; empty where there is no such process."""
    try:
        text = Path(f"/proc/{pid}/status").read_text("ascii", "replace")
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def in_swap(pid: int) -> int:
    """Pages of a process that are in swap now; 0 where there is no such process."""
    words = status(pid).get("VmSwap", "0 kB").split() if pid else []
    return int(words[0]) // 4 if words and words[0].isdigit() else 0


def mounted(pid: int, point: str) -> tuple[str, str]:
    """(device number, options of the file system) of a place in the mounts of a process, ("", "") where they cannot be seen."""
    for line in mountinfo(pid).splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        if fields[4] == point:
            return fields[2], right.split(" ", 2)[2]
    return "", ""


def mountinfo(pid: int) -> str:
    """The mounts of a process as the kernel lists them, "" where they cannot be seen."""
    try:
        return Path(f"/proc/{pid}/mountinfo").read_text("utf-8", "replace")
    except OSError:
        return ""


def controls(
    pid: int, *, scratch_bytes: int, mounts: frozenset[str], tasks: int, beside: int = 0, members: Sequence[int] = ()
) -> dict[str, tuple[str, str]]:
    """Name -> (state, how) of what the kernel shows of the worker with this number outside.

    mounts: the mount points that are expected; tasks: processes of the group, 0 where no group counts them; beside: those that the
    worker starts; members: the group's, of which those in the worker's namespace are held to the same.
    """
    seen, own, other = status(pid), namespaces(), namespaces(pid)
    if not seen:
        return {}
    user = int(seen["Uid"].split()[1])
    found = {
        "host-user": ("on" if user not in (0, os.geteuid()) else "off", f"uid {user}" if user != os.geteuid() else "the node's account"),
        "user": _differs(own, other, "user"),
        "no-capabilities": _capabilities(seen),
        "no-new-privileges": ("on" if seen["NoNewPrivs"] == "1" else "off", "prctl"),
        "own-processes": ("on" if len(seen["NSpid"].split()) > 1 else "off", f"{len(seen['NSpid'].split())} levels"),
        "no-network": _differs(own, other, "net"),
        "files": _files(pid, mounts),
        "scratch": _scratch(pid, scratch_bytes),
        "filter": ("on" if seen.get("Seccomp") == "2" else "off", "seccomp"),
        "no-core": no_core(pid),
    }  # fmt: skip
    if tasks:
        # bubblewrap outside, the worker and what it started inside.
        found["no-programs"] = ("on" if tasks <= 2 + beside else "off", f"{tasks} processes")
    for name, kind in _PERIOD.items():
        found[name] = _differs(own, other, kind)
    found["no-debugging"] = _no_debugging(pid)
    for one in set(members) - {pid} if beside else ():
        if namespaces(one).get("pid") == other.get("pid"):
            _held_too(one, found)
    return found


def _held_too(pid: int, found: dict[str, tuple[str, str]]) -> None:
    """A process beside the worker has what the worker has, or the control is off."""
    seen, own, other = status(pid), namespaces(), namespaces(pid)
    if not seen:
        return
    for name, (state, how) in (
        ("user", _differs(own, other, "user")),
        ("no-capabilities", _capabilities(seen)),
        ("no-new-privileges", ("on" if seen["NoNewPrivs"] == "1" else "off", "of a process beside the worker")),
        ("no-network", _differs(own, other, "net")),
        ("filter", ("on" if seen.get("Seccomp") == "2" else "off", "a process beside the worker has none")),
        ("no-core", no_core(pid)),
        ("no-debugging", _no_debugging(pid)),
    ):
        if state != "on" and found[name][0] == "on":
            found[name] = state, how


def as_controls(found: Mapping[str, tuple[str, str]]) -> tuple[Control, ...]:
    """In the order of section 7."""
    return tuple(Control(name, found[name][0], found[name][1][:200], "outside") for name in CONTROLS if name in found)


def _differs(own: Mapping[str, int], other: Mapping[str, int], kind: str) -> tuple[str, str]:
    if kind not in own or kind not in other:
        return "unknown", "may not be seen"
    return ("on", "namespace") if own[kind] != other[kind] else ("off", "shared with the launcher")


def _capabilities(seen: Mapping[str, str]) -> tuple[str, str]:
    held = [name for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(seen[name], 16)]
    return ("off", " ".join(held)) if held else ("on", "all sets empty")


def _files(pid: int, mounts: frozenset[str]) -> tuple[str, str]:
    text = mountinfo(pid)
    if not text:
        return "unknown", "may not be seen"
    seen = read_mounts(text)
    writable = writable_mounts(seen)
    if writable:
        return "off", f"{len(writable)} writable"
    return ("on", f"{len(seen)} mounts") if set(seen) == mounts else ("off", f"{len(set(seen) ^ mounts)} mounts differ")


def _scratch(pid: int, size: int) -> tuple[str, str]:
    device, options = mounted(pid, "/scratch")
    if not device:
        return "unknown", "may not be seen"
    told = next((one for one in options.split(",") if one.startswith("size=")), "")
    number = int(told[5:-1]) * 1024 if told.endswith("k") else int(told[5:] or 0)
    return ("on", f"tmpfs {told}") if 0 < number <= size else ("off", "no size")


def no_core(pid: int) -> tuple[str, str]:
    """The limit on core files of a process."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text("ascii", "replace").splitlines()
    except OSError:
        return "unknown", "may not be seen"
    row = next(line for line in lines if line.startswith("Max core file size"))
    return ("on", "core 0") if row.split()[4:6] == ["0", "0"] else ("off", "core limit")


def _no_debugging(pid: int) -> tuple[str, str]:
    """A process that is not dumpable belongs to root, or to nobody where root is not mapped."""
    try:
        owner = os.stat(f"/proc/{pid}/environ").st_uid
    except OSError:
        return "unknown", "may not be seen"
    return ("on", "owned by root") if owner in (0, NOBODY) else ("off", f"owned by {owner}")
