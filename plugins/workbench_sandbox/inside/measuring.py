"""What a worker sees of its own sandbox: the inside half of the controls of docs/protocols/sandbox.md section 7.

Read after the filter is in force. A control that does not hold is `off`; nothing is taken on trust from the launcher but what
must not be there, which it cannot make look better by lying about it.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workbench.crypto import sm3
from workbench_sandbox.formats.evidence import CONTROLS, Control
from workbench_sandbox.inside import limits
from workbench_sandbox.inside.probing import Probed

NOBODY = 65534
ENVIRONMENT = frozenset({"LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PWD", "HOME"})
"""HOME: `/`, where gVisor sets it; anything else is not taken."""
DEVICES = frozenset(f"/dev/{one}" for one in ("null", "zero", "full", "random", "urandom", "tty"))
"""Nodes that every program needs, bound one by one; made read-only, the kernel would not open them at all."""
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Expected:
    """What the launcher says must be found. mounts: mount points; descriptors: numbers above 2; scratch: bytes; processes: that run
    in here, itself included; server: SM3 of the filter of those that are not itself, "" where there are none."""

    mounts: frozenset[str]
    descriptors: frozenset[int]
    scratch: int
    processes: int = 1
    server: str = ""


def weights_digest(path: Path) -> str:
    """SM3 of a file, hex. Cost: 3 ns a byte."""
    hasher = sm3.new()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            hasher.update(piece)
    return hasher.digest().hex()


def controls(expected: Expected, probed: Probed, *, weights: int) -> tuple[Control, ...]:
    """All that is seen from inside, in the order of section 7."""
    status = _status("self")
    everybody = [status, *_others()]
    found = {
        "user": (all(map(_is_nobody, everybody)), f"uid {status['Uid'].split()[1]}, gid {status['Gid'].split()[1]}"),
        "no-capabilities": _capabilities(everybody),
        "no-new-privileges": (all(one["NoNewPrivs"] == "1" if "NoNewPrivs" in one else limits.gains_nothing() for one in everybody), "prctl"),
        "no-more-namespaces": (probed.refuses("unshare", "setns", "server-unshare", "server-setns"), "tried"),
        "own-processes": _own_processes(expected),
        "no-network": _no_network(probed),
        "files": _files(expected, probed),
        "scratch": _scratch(expected, probed),
        "filter": _filter(probed, everybody, expected.server),
        "no-programs": (probed.refuses("exec", "fork", "server-exec", "server-fork"), "tried"),
        "no-debugging": (
            probed.refuses("ptrace", "process-vm", "perf", "bpf", "server-") and not limits.is_dumpable(),
            "tried, not dumpable" if not limits.is_dumpable() else "dumpable",
        ),
        "no-core": _no_core(),
        "clean-start": _clean_start(expected),
        "image-measured": (True, f"{weights} weights"),
        "probe": (not probed.failed, f"{probed.refused} of {probed.tried}"),
    }
    return tuple(Control(name, "on" if found[name][0] else "off", found[name][1][:200], "inside") for name in CONTROLS if name in found)


def beside(processes: int) -> Probed:
    """What the kernel says now of the processes beside the worker: as many as were started, each under its filter for good."""
    others = [_status(str(one)) for one in _processes() - {os.getpid()}]
    failed = []
    if len(others) + 1 != processes:
        failed.append("server-processes")
    if any((one["Seccomp"], one["NoNewPrivs"]) != ("2", "1") for one in others):
        failed.append("server-unfiltered")
    return Probed(2, 2 - len(failed), tuple(failed))


def _others() -> Iterator[Mapping[str, str]]:
    """The status of every other process that is listed; one that ended meanwhile has none."""
    for one in _processes() - {os.getpid()}:
        with suppress(FileNotFoundError, ProcessLookupError):
            yield _status(str(one))


def _status(process: str) -> Mapping[str, str]:
    lines = Path(f"/proc/{process}/status").read_text("ascii", "replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _is_nobody(status: Mapping[str, str]) -> bool:
    return all(set(status[name].split()) == {str(NOBODY)} for name in ("Uid", "Gid"))


def _capabilities(everybody: Sequence[Mapping[str, str]]) -> tuple[bool, str]:
    # gVisor lists no CapAmb: it is empty where CapPrm is, capabilities(7).
    sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    held = [name for name in sets if any(int(one.get(name, one["CapPrm"]), 16) for one in everybody)]
    return not held, "all sets empty" if not held else " ".join(held)


def _processes() -> set[int]:
    return {int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit()}


def _own_processes(expected: Expected) -> tuple[bool, str]:
    """The first process is itself, and only those that it started are listed."""
    seen = _processes()
    return 1 in seen and os.getpid() == 1 and len(seen) == expected.processes, f"{len(seen)} listed"


def _no_network(probed: Probed) -> tuple[bool, str]:
    lines = Path("/proc/net/dev").read_text("ascii", "replace").splitlines()[2:]
    devices = sorted(line.partition(":")[0].strip() for line in lines)
    is_alone = set(devices) <= {"lo"}
    return is_alone and probed.refuses("socket", "server-socket"), "lo alone, sockets refused" if is_alone else f"{len(devices)} devices"


def mounts() -> Mapping[str, str]:
    """Mount point -> options of the mount, as /proc/self/mountinfo lists them."""
    return read_mounts(Path("/proc/self/mountinfo").read_text("utf-8", "replace"))


def read_mounts(text: str) -> Mapping[str, str]:
    """Mount point -> options of the mount and of its file system."""
    found = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split(" ")
        found[fields[4]] = f"{fields[5]};{right.split(' ', 2)[2]}"
    return found


def writable_mounts(seen: Mapping[str, str]) -> list[str]:
    """Mount points that are not read-only, but for scratch and the device nodes."""
    allowed = DEVICES | {"/scratch"}
    return sorted(point for point, options in seen.items() if "ro" not in options.partition(";")[0].split(",") and point not in allowed)


def _files(expected: Expected, probed: Probed) -> tuple[bool, str]:
    seen = mounts()
    writable = writable_mounts(seen)
    others = set(seen) ^ expected.mounts
    kinds = ("host-", "proc-", "foreign-", "write-")
    is_closed = probed.refuses(*kinds, *(f"server-{one}" for one in kinds))
    if writable:
        return False, f"writable: {' '.join(writable)[:80]}"
    if others:
        return False, f"{len(others)} mounts differ"
    return is_closed, f"{len(seen)} mounts"


def _scratch(expected: Expected, probed: Probed) -> tuple[bool, str]:
    facts = os.statvfs("/scratch")
    size = facts.f_frsize * facts.f_blocks
    return 0 < size <= expected.scratch and probed.refuses("scratch"), f"tmpfs {size}"


def _filter(probed: Probed, everybody: Sequence[Mapping[str, str]], server: str) -> tuple[bool, str]:
    """Every thread and process is under one, and what only a filter refuses was refused."""
    modes = {one["Seccomp"] for one in everybody}
    for one in Path("/proc/self/task").iterdir():
        # A thread of the suite was waited for, and may still be listed for a moment.
        with suppress(FileNotFoundError, ProcessLookupError):
            modes.add(_status(f"self/task/{one.name}")["Seccomp"])
    tried = ("memfd", "io-uring", "userfaultfd", "keyctl", "signal", "socketpair", "process-vm")
    is_tried = probed.refuses(*tried, *(f"server-{one}" for one in tried))
    return modes == {"2"} and is_tried, f"seccomp; server {server}" if server else "seccomp"


def _no_core() -> tuple[bool, str]:
    core = resource.getrlimit(resource.RLIMIT_CORE)
    return core == (0, 0) and not limits.is_dumpable(), "not dumpable, core 0" if core == (0, 0) else "core limit"


def _clean_start(expected: Expected) -> tuple[bool, str]:
    names = set(os.environ)
    # Listing opens a descriptor of its own, which is closed again by the time it is looked at.
    open_now = {number for number in [int(one.name) for one in Path("/proc/self/fd").iterdir()] if _is_open(number)}
    others = open_now - {0, 1, 2} - expected.descriptors
    return names <= ENVIRONMENT and os.environ.get("HOME", "/") == "/" and not others, f"{len(names)} names, {len(open_now)} descriptors"


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
