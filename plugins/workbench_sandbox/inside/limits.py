"""What a worker does to itself before it counts as a spare, and what it can read of it afterwards; the only calls of the kernel.

Document: docs/protocols/sandbox.md section 7. Nothing here can be undone by the process.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
from collections.abc import Callable
from contextlib import suppress

_PR_SET_DUMPABLE, _PR_GET_DUMPABLE = 4, 3
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39
_SECCOMP_SET_MODE_FILTER, _TSYNC = 1, 1
_M_ARENA_MAX = -8
"""malloc.h of glibc."""

NUMBERS: dict[str, tuple[int, int]] = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "execve": (59, 221), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "mount": (165, 40), "unshare": (272, 97), "setns": (308, 268), "memfd_create": (319, 279),
    "io_uring_setup": (425, 425), "bpf": (321, 280), "keyctl": (250, 219), "userfaultfd": (323, 282), "perf_event_open": (298, 241),
    "kill": (62, 129), "seccomp": (317, 277), "execveat": (322, 281),
}  # fmt: skip
"""Calls made by number, x86-64 and aarch64; the same sources as filter.py."""


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def machine() -> str:
    """`x86_64` or `aarch64`, as the kernel names it."""
    return platform.machine()


def call(name: str, *arguments: int | bytes | None) -> int:
    """A call of the kernel by name. Raises OSError."""
    number = NUMBERS[name][0 if machine() == "x86_64" else 1]
    values = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = int(_libc().syscall(ctypes.c_long(number), *values))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def close_privileges() -> None:
    """No program started later can gain a right; memory cannot be looked at by its own user, no core is written."""
    libc = _libc()
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def is_dumpable() -> bool:
    """Whether the kernel would write this process's memory somewhere."""
    return int(_libc().prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)) != 0


def gains_nothing() -> bool:
    """Whether no program that this one becomes can have more rights than it: said by the kernel."""
    return int(_libc().prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)) == 1


def limit_memory(size: int) -> None:
    """Address space, where no control group counts memory.

    glibc reserves 64 MiB of it for every thread that allocates, which the suite's threads would use up: one arena serves all.
    """
    with suppress(AttributeError):  # another C library
        _libc().mallopt(_M_ARENA_MAX, 1)
    _lower(resource.RLIMIT_AS, size)


def limit_processes(count: int) -> None:
    """Processes and threads of this user in this user namespace, where no control group counts them."""
    _lower(resource.RLIMIT_NPROC, count)


def install(program: bytes) -> None:
    """The filter, for every thread there is and every one to come. Raises OSError."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    number = NUMBERS["seccomp"][0 if machine() == "x86_64" else 1]
    result = _libc().syscall(ctypes.c_long(number), _SECCOMP_SET_MODE_FILTER, _TSYNC, ctypes.byref(header))
    if result != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def _lower(which: int, value: int) -> None:
    _, most = resource.getrlimit(which)
    least = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(which, (least, least))


_loaded: list[ctypes.CDLL] = []


def _libc() -> ctypes.CDLL:
    if not _loaded:
        _loaded.append(ctypes.CDLL(None, use_errno=True))
    return _loaded[0]


def refused(action: Callable[[], object]) -> bool:
    """Whether the kernel refuses `action`."""
    try:
        action()
    except (OSError, RuntimeError):  # RuntimeError: a thread that cannot be started
        return True
    return False


def fork_and_leave() -> None:
    """A process, if there may be one: it ends at once and is waited for. Raises OSError."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
