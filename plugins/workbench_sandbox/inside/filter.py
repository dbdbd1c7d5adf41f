"""The seccomp filter of a sandbox as a program for the kernel; pure.

Document: docs/protocols/sandbox.md section 7, `filter`. An allow-list: a call that is not named gives EPERM, a program of another
processor or of the x32 table is killed. Written by an assembler of our own, so that no library is needed inside or outside.
Call numbers: Linux, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h (kernel ABI, never changed).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

KINDS = ("lean", "generator", "server")
"""`lean`: Python, arithmetic, an embedder; `generator`: a few calls more for a library with threads of its own; `server`: those, and
what a server on a Unix socket needs, for a program beside the worker and its keeper."""

EPERM, ENOSYS = 1, 38
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000

_NONE = -1
_LEAN: dict[str, tuple[int, int]] = {
    # files: reading everywhere, writing in scratch; what may be opened is decided by the mounts
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "fstat": (5, 80), "newfstatat": (262, 79), "statx": (332, 291),
    "lseek": (8, 62), "pread64": (17, 67), "pwrite64": (18, 68), "readv": (19, 65), "writev": (20, 66), "dup": (32, 23),
    "ftruncate": (77, 46), "fallocate": (285, 47), "fsync": (74, 82), "getcwd": (79, 17), "readlinkat": (267, 78), "readlink": (89, _NONE),
    "access": (21, _NONE), "faccessat": (269, 48), "faccessat2": (439, 439), "getdents64": (217, 61), "openat": (257, 56),
    "unlinkat": (263, 35), "unlink": (87, _NONE), "statfs": (137, 43), "fstatfs": (138, 44),
    # memory
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216), "madvise": (28, 233), "brk": (12, 214),
    "membarrier": (324, 283),
    # threads, signals to itself, sleep, clocks
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "futex": (202, 98), "set_robust_list": (273, 99), "rseq": (334, 293),
    "getcpu": (309, 168), "nanosleep": (35, 101), "clock_nanosleep": (230, 115), "clock_gettime": (228, 113),
    "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, _NONE), "restart_syscall": (219, 128),
    # what it is
    "getpid": (39, 172), "gettid": (186, 178), "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175),
    "getegid": (108, 177), "getrusage": (98, 165), "times": (100, 153), "sysinfo": (99, 179), "uname": (63, 160),
    "getrandom": (318, 278),
    # the descriptors it was given
    "poll": (7, _NONE), "ppoll": (271, 73), "recvfrom": (45, 207), "getsockopt": (55, 209), "shutdown": (48, 210),
    "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip
_GENERATOR: dict[str, tuple[int, int]] = {
    "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, _NONE), "epoll_pwait": (281, 22), "pipe2": (293, 59),
    "eventfd2": (290, 19), "sched_setaffinity": (203, 122), "sched_getparam": (143, 121), "sched_getscheduler": (145, 120),
    "sched_get_priority_max": (146, 125), "sched_get_priority_min": (147, 126), "get_mempolicy": (239, 236), "mlock": (149, 228),
    "munlock": (150, 229), "futex_waitv": (449, 449), "mincore": (27, 232), "select": (23, _NONE), "pselect6": (270, 72),
}  # fmt: skip

_SERVER: dict[str, tuple[int, int]] = {
    # its start: the loader of a program, and of its libraries
    "arch_prctl": (158, _NONE), "set_tid_address": (218, 96), "open": (2, _NONE), "stat": (4, _NONE), "lstat": (6, _NONE), "getdents": (78, _NONE),
    "getrlimit": (97, 163), "getppid": (110, 173), "getgroups": (115, 158), "getresuid": (118, 148), "getresgid": (120, 150),
    # Unix sockets, of which `socket` makes no others: there is no file of the host to reach through one
    "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242), "getsockname": (51, 204),
    "getpeername": (52, 205), "setsockopt": (54, 208), "sendmsg": (46, 211), "recvmsg": (47, 212), "sendfile": (40, 71),
    # files of its own in scratch
    "mkdir": (83, _NONE), "mkdirat": (258, 34), "rmdir": (84, _NONE), "rename": (82, _NONE), "renameat": (264, 38), "renameat2": (316, 276),
    "chmod": (90, _NONE), "fchmod": (91, 52), "fchmodat": (268, 53), "chdir": (80, 49), "umask": (95, 166), "flock": (73, 32),
    "truncate": (76, 45), "fdatasync": (75, 83), "utimensat": (280, 88), "fadvise64": (221, 223),
    # pipes and waiting, its own timers, children that it has not
    "dup2": (33, _NONE), "dup3": (292, 24), "pipe": (22, _NONE), "epoll_create": (213, _NONE), "epoll_pwait2": (441, 441),
    "eventfd": (284, _NONE), "timerfd_create": (283, 85), "timerfd_settime": (286, 86), "signalfd4": (289, 74), "wait4": (61, 260),
    "waitid": (247, 95), "setitimer": (38, 103),
}  # fmt: skip

PROGRAM_DESCRIPTOR = 1023
"""The one descriptor through which a program may be started, once: closed by that start, and above the limit on descriptors, so
that nothing ever has this number again."""

CLONE_THREAD = 0x00010000
CLONE_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A call that is allowed for some arguments only: its low 32 bits must be one of `values` where there are any, must have all
    of `has` and none of `lacks`; `zero`: all 64 bits of it are 0."""

    number: int
    argument: int
    values: tuple[int, ...] = ()
    has: int = 0
    lacks: int = 0
    zero: bool = False


_RULES: dict[str, tuple[tuple[int, int], Rule]] = {
    # threads of its own process, never a process and never a namespace
    "clone": ((56, 220), Rule(0, 0, has=CLONE_THREAD, lacks=CLONE_NAMESPACES)),
    # TCGETS (is it a terminal), FIONREAD, FIONBIO, FIOCLEX
    "ioctl": ((16, 29), Rule(0, 1, values=(0x5401, 0x541B, 0x5421, 0x5451))),
    # duplicating and flags; no locks, no leases, no owner to be signalled
    "fcntl": ((72, 25), Rule(0, 1, values=(0, 1, 2, 3, 4, 1030))),
    # asking whether it is dumpable or may gain rights, and names of threads; nothing is set that anything rests on
    "prctl": ((157, 167), Rule(0, 0, values=(3, 15, 16, 39))),
    # limits are read, not set
    "prlimit64": ((302, 261), Rule(0, 2, zero=True)),
    # over what is connected, never to an address
    "sendto": ((44, 206), Rule(0, 4, zero=True)),
}
_SERVER_RULES: dict[str, tuple[tuple[int, int], Rule]] = {
    "socket": ((41, 198), Rule(0, 0, values=(1,))),
    "socketpair": ((53, 199), Rule(0, 0, values=(1,))),
    "execveat": ((322, 281), Rule(0, 0, values=(PROGRAM_DESCRIPTOR,))),
}
"""AF_UNIX alone; and the start of its program."""
_CLONE3 = (435, 435)
"""Answered with ENOSYS: its flags lie in memory, where a filter cannot read them; C libraries then use clone."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a filter allows on one processor. architecture: AUDIT_ARCH of linux/audit.h; missing: gives ENOSYS."""

    architecture: int
    allowed: frozenset[int]
    rules: tuple[Rule, ...]
    missing: frozenset[int]
    has_x32: bool


def names(kind: str) -> Mapping[str, tuple[int, int]]:
    """Calls that are allowed whatever their arguments: name -> numbers for x86-64 and aarch64, -1 where there is none."""
    if kind not in KINDS:
        raise ValueError("no such kind of filter")
    return {**_LEAN, **(_GENERATOR if kind != "lean" else {}), **(_SERVER if kind == "server" else {})}


def conditions(kind: str) -> Mapping[str, tuple[tuple[int, int], Rule]]:
    """Calls that are allowed for some arguments: name -> (numbers, rule)."""
    return {**_RULES, **(_SERVER_RULES if kind == "server" else {})}


def table(kind: str, machine: str) -> Table:
    """The table for `x86_64` or `aarch64`. Raises ValueError for another processor: nothing runs there."""
    if machine not in _ARCHITECTURES:
        raise ValueError("no filter for this processor")
    column = list(_ARCHITECTURES).index(machine)
    allowed = frozenset(numbers[column] for numbers in names(kind).values() if numbers[column] != _NONE)
    rules = tuple(
        Rule(numbers[column], rule.argument, rule.values, rule.has, rule.lacks, rule.zero) for numbers, rule in conditions(kind).values()
    )
    return Table(_ARCHITECTURES[machine], allowed, rules, frozenset({_CLONE3[column]}), machine == "x86_64")


def program(kind: str, machine: str) -> bytes:
    """The filter as an array of `struct sock_filter` (linux/filter.h), 8 bytes an instruction; at most 4,096 of them."""
    calls = table(kind, machine)
    out = [_load(4), _jump_equal(calls.architecture, 1, 0), _return(KILL), _load(0)]
    if calls.has_x32:
        out += [_jump_at_least(_X32, 0, 1), _return(KILL)]
    for number in sorted(calls.allowed):
        out += [_jump_equal(number, 0, 1), _return(ALLOW)]
    for number in sorted(calls.missing):
        out += [_jump_equal(number, 0, 1), _return(ERRNO | ENOSYS)]
    for rule in calls.rules:
        out += _rule(rule)
    out.append(_return(ERRNO | EPERM))
    return b"".join(out)


def _rule(rule: Rule) -> list[bytes]:
    """Instructions for one call with a condition; falls through with the number loaded where it is another call."""
    low = 16 + 8 * rule.argument
    body: list[bytes] = []
    if rule.zero:
        # Every test that fails jumps to the refusal at the end of this rule.
        body = [_load(low), _jump_equal(0, 0, 3), _load(low + 4), _jump_equal(0, 0, 1), _return(ALLOW)]
    elif rule.values:
        last = len(rule.values) - 1
        body = [_load(low)]
        for place, value in enumerate(rule.values):
            body.append(_jump_equal(value, last - place, 0 if place < last else 1))
        body.append(_return(ALLOW))
    else:
        # JSET is true if any of the bits is set: `has` is one bit.
        body = [_load(low), _jump_any(rule.has, 0, 2), _jump_any(rule.lacks, 1, 0), _return(ALLOW)]
    body.append(_return(ERRNO | EPERM))
    return [_jump_equal(rule.number, 0, len(body)), *body]


def _load(offset: int) -> bytes:
    return struct.pack("=HBBI", 0x20, 0, 0, offset)


def _jump_equal(value: int, then: int, otherwise: int) -> bytes:
    return struct.pack("=HBBI", 0x15, then, otherwise, value)


def _jump_at_least(value: int, then: int, otherwise: int) -> bytes:
    return struct.pack("=HBBI", 0x35, then, otherwise, value)


def _jump_any(bits: int, then: int, otherwise: int) -> bytes:
    return struct.pack("=HBBI", 0x45, then, otherwise, bits)


def _return(value: int) -> bytes:
    return struct.pack("=HBBI", 0x06, 0, 0, value)
