"""The probe suite: what a sandbox must not be able to do is tried, and each attempt must fail.

Document: docs/protocols/sandbox.md section 7. Run by every spare after its filter is in force, and on demand.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from workbench_sandbox.inside import limits

_EPERM = 1
_FAMILIES = {"unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "packet": 17}
_MOST_THREADS = 256
_FILES = ("/etc/shadow", "/etc/passwd", "/dev/mem", "/dev/kmsg")
_FOLDERS = ("/home", "/root", "/sys", "/usr/bin", "/var", "/tmp", "/run")  # noqa: S108 - they must not be there
_CONTROLS_OF_PROC = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/sys/kernel/hostname", "/proc/self/oom_score_adj",
    "/proc/sysrq-trigger",
)  # fmt: skip
_CLOSED = ("/", "/dev", "/dev/shm", "/proc")  # noqa: S108 - it must not be writable


@dataclass(frozen=True, slots=True)
class Suite:
    """What the suite needs to know. scratch: its size in bytes; processes: the limit, 0 where none is in force; foreign: places
    that must not exist inside, such as another sandbox's folder and a process of the host; unwritable: folders of the image and
    the runtime; is_server: tried by the process of a server beside the worker, which has Unix sockets and no reach to the worker."""

    scratch: int
    processes: int
    foreign: tuple[str, ...]
    unwritable: tuple[str, ...]
    is_server: bool = False


@dataclass(frozen=True, slots=True)
class Probed:
    """tried, refused: how many; failed: names of those that succeeded, in the order of the suite."""

    tried: int
    refused: int
    failed: tuple[str, ...]

    def refuses(self, *beginnings: str) -> bool:
        """Whether none of the failed ones begins with one of these."""
        return not any(name.startswith(beginnings) for name in self.failed)


def run(suite: Suite) -> Probed:
    """Try everything. Cost: about a millisecond, and a thread for each process that is allowed."""
    results = {name: limits.refused(attempt) for name, attempt in attempts(suite).items()}
    return Probed(len(results), sum(results.values()), tuple(name for name, is_refused in results.items() if not is_refused))


def attempts(suite: Suite) -> Mapping[str, Callable[[], object]]:
    """Name -> what must raise OSError, or RuntimeError for a thread."""
    found: dict[str, Callable[[], object]] = {}
    for name, family in _FAMILIES.items():
        if not (suite.is_server and name == "unix"):
            found[f"socket-{name}"] = partial(_descriptor, "socket", family, 1, 0)
    if suite.is_server:
        found["exec-at"] = partial(_only_eperm, partial(limits.call, "execveat", 3, b"", None, None, 0x1000))
        found["worker-memory"] = partial(_open, "/proc/1/mem", os.O_RDONLY)
        found["worker-descriptors"] = partial(os.listdir, "/proc/1/fd")
    else:
        found["socketpair"] = partial(_only_eperm, partial(limits.call, "socketpair", 1, 1, 0, None))
    # Of a file that is no program: without a filter the answer would be another number, and nothing would be replaced.
    found["exec"] = partial(_only_eperm, partial(limits.call, "execve", b"/proc/self/status", None, None))
    found["fork"] = limits.fork_and_leave
    if 0 < suite.processes <= _MOST_THREADS:
        found["tasks"] = partial(_start_threads, suite.processes)
    for path in _FILES:
        found["host" + _dashed(path)] = partial(_open, path, os.O_RDONLY)
    for path in _FOLDERS:
        found["host" + _dashed(path)] = partial(os.scandir, path)
    for path in _CONTROLS_OF_PROC:
        found["proc" + _dashed(path.removeprefix("/proc"))] = partial(_open, path, os.O_WRONLY)
    found["proc-self-mem"] = partial(_open, "/proc/self/mem", os.O_RDWR)
    for number, path in enumerate(suite.foreign, start=1):
        found[f"foreign-{number}"] = partial(os.stat, path)
    for path in (*_CLOSED, *suite.unwritable):
        found["write" + (_dashed(path) if path != "/" else "-root")] = partial(_make, Path(path, ".probe"))
    found["scratch"] = partial(_fill, suite.scratch + 4096)
    found["ptrace"] = partial(limits.call, "ptrace", 16, 1, 0, 0)
    found["process-vm-readv"] = partial(_only_eperm, partial(limits.call, "process_vm_readv", 1, None, 0, None, 0, 0))
    found["mount"] = partial(limits.call, "mount", b"none", b"/scratch", b"tmpfs", 0, None)
    found["unshare-user"] = partial(limits.call, "unshare", 0x10000000)
    found["unshare-mount"] = partial(limits.call, "unshare", 0x00020000)
    found["setns"] = partial(_only_eperm, partial(limits.call, "setns", 0, 0))
    found["memfd"] = partial(_descriptor, "memfd_create", b"probe", 0)
    found["io-uring"] = partial(_only_eperm, partial(limits.call, "io_uring_setup", 0, None))
    found["bpf"] = partial(_only_eperm, partial(limits.call, "bpf", 0, None, 0))
    found["perf-event"] = partial(_only_eperm, partial(limits.call, "perf_event_open", None, 0, -1, -1, 0))
    found["keyctl"] = partial(limits.call, "keyctl", 0, -3, 0, 0, 0)
    found["userfaultfd"] = partial(_descriptor, "userfaultfd", 0)
    # Signal 0 asks only whether one could be sent.
    found["signal"] = partial(limits.call, "kill", 1, 0)
    return found


def _dashed(path: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", path)


def _descriptor(name: str, *arguments: int | bytes) -> None:
    """A call that gives a descriptor, which is closed again."""
    os.close(limits.call(name, *arguments))


def _only_eperm(action: Callable[[], object]) -> None:
    """What a filter refuses, it refuses with this number; another one means that the kernel looked at the arguments."""
    try:
        action()
    except OSError as error:
        if error.errno == _EPERM:
            raise


def _open(path: str, flags: int) -> None:
    os.close(os.open(path, flags))


def _make(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    with suppress(OSError):  # it could be made: that alone counts
        path.unlink()


def _fill(size: int) -> None:
    """More than scratch holds. Asked for in one piece, so that no page is taken where it is refused."""
    path = Path("/scratch/.probe")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)
        with suppress(OSError):
            path.unlink()


def _start_threads(limit: int) -> None:
    """One task more than the limit. All that could be started are ended and waited for."""
    leave = threading.Event()
    started: list[threading.Thread] = []
    before = threading.stack_size(64 << 10)
    try:
        for _ in range(limit + 1):
            thread = threading.Thread(target=leave.wait, daemon=True)
            thread.start()
            started.append(thread)
    finally:
        leave.set()
        for thread in started:
            thread.join()
        threading.stack_size(before)
