"""The filter's program says for every call what a plain reading of its table says."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from workbench_sandbox.inside import filter as filters

X86, ARM = 0xC000003E, 0xC00000B7
ARCHITECTURE = {"x86_64": X86, "aarch64": ARM}


def run(program: bytes, data: bytes) -> int:
    """Classic BPF as linux/filter.h describes it, the five instructions that occur; anything else fails."""
    at, accumulator = 0, 0
    for _ in range(len(program)):
        code, then, otherwise, value = struct.unpack_from("=HBBI", program, 8 * at)
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("=I", data, value)[0]
        elif code == 0x06:
            return int(value)
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += then if holds else otherwise
    raise AssertionError("the program does not end")


def verdict(program: bytes, number: int, arguments: tuple[int, ...] = (), *, architecture: int = X86) -> int:
    """What the kernel would be told. Data: struct seccomp_data of linux/seccomp.h."""
    return run(program, struct.pack("=iIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments))))


def plain(kind: str, machine: str, number: int, arguments: tuple[int, ...]) -> int:
    """The table read naively, one sentence after the other."""
    column = 0 if machine == "x86_64" else 1
    if machine == "x86_64" and number >= 0x40000000:
        return filters.KILL
    if number in {both[column] for both in filters.names(kind).values()}:
        return filters.ALLOW
    yes, no = filters.ALLOW, filters.ERRNO | filters.EPERM
    of = lambda place: arguments[place] if place < len(arguments) else 0  # noqa: E731
    if number == 435:
        return filters.ERRNO | filters.ENOSYS
    if number == (56, 220)[column]:
        return yes if of(0) & 0x10000 and not of(0) & 0x7E020000 else no
    if number == (16, 29)[column]:
        return yes if of(1) & 0xFFFFFFFF in (0x5401, 0x541B, 0x5421, 0x5451) else no
    if number == (72, 25)[column]:
        return yes if of(1) & 0xFFFFFFFF in (0, 1, 2, 3, 4, 1030) else no
    if number == (157, 167)[column]:
        return yes if of(0) & 0xFFFFFFFF in (3, 15, 16, 39) else no
    if number == (302, 261)[column]:
        return yes if of(2) == 0 else no
    if number == (44, 206)[column]:
        return yes if of(4) == 0 else no
    if kind == "server" and number in ((41, 198)[column], (53, 199)[column]):
        return yes if of(0) & 0xFFFFFFFF == 1 else no
    if kind == "server" and number == (322, 281)[column]:
        return yes if of(0) & 0xFFFFFFFF == 1023 else no
    return no


ARGUMENTS = (
    (), (1,), (2,), (10,), (17,), (1023,), (1024,), ((1 << 32) | 1023,), (3,), (4,), (15,), (16,), (22,), (38,), (39,), (0x10000,), (0x3D0F00,), (0x10000 | 0x10000000,), (0x10000 | 0x20000,), (0x02010000,), (0x1200011,),
    *((0, one) for one in (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 1030, 1031, 0x5401, 0x5402, 0x5412, 0x541B, 0x5421, 0x5451, 1 << 33, (1 << 33) | 1)),
    (0, 0, 1), (0, 0, 1 << 32), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1 << 40), (2**64 - 1,) * 6,
)  # fmt: skip


WITH_RULES = {56, 220, 16, 29, 72, 25, 302, 261, 157, 167, 44, 206, 435, 0, 1, 59, 41, 198, 53, 199, 322, 281}


@pytest.mark.parametrize("kind", filters.KINDS)
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_call_gets_the_verdict_of_its_table(kind: str, machine: str) -> None:
    program = filters.program(kind, machine)
    assert len(program) % 8 == 0 and len(program) // 8 <= 4096
    for number in (*range(600), 0x3FFFFFFF, 0x40000000, 0x40000001, 0x40000000 + 59, 0x7FFFFFFF):
        arguments = ARGUMENTS if number in WITH_RULES else ARGUMENTS[:2]
        for one in arguments:
            assert verdict(program, number, one, architecture=ARCHITECTURE[machine]) == plain(kind, machine, number, one), (number, one)


def test_a_program_of_another_processor_is_killed() -> None:
    for machine, other in (("x86_64", ARM), ("x86_64", 0x40000003), ("aarch64", X86), ("aarch64", 0x40000028)):
        program = filters.program("lean", machine)
        assert all(verdict(program, number, architecture=other) == filters.KILL for number in range(0, 500, 7))


def test_what_a_sandbox_must_never_do_is_in_no_table() -> None:
    forbidden = {
        "execve", "execveat", "fork", "vfork", "socket", "socketpair", "connect", "bind", "listen", "accept", "accept4", "ptrace", "kill",
        "tkill", "tgkill", "process_vm_readv", "process_vm_writev", "perf_event_open", "bpf", "mount", "umount2", "unshare", "setns",
        "memfd_create", "io_uring_setup", "keyctl", "add_key", "request_key", "userfaultfd", "seccomp", "sendmsg", "recvmsg",
        "chmod", "fchmod", "chown", "mknod", "mknodat", "link", "linkat", "symlink", "symlinkat", "pidfd_open", "pidfd_getfd", "open_by_handle_at",
        "init_module", "finit_module", "kexec_load", "reboot", "swapon", "settimeofday", "clock_settime", "acct", "pivot_root", "chroot",
        "setuid", "setgid", "setresuid", "capset", "personality", "modify_ldt", "iopl", "ioperm", "shmget", "shmat", "msgget", "semget",
    }  # fmt: skip
    assert not forbidden & set(filters.names("generator"))
    assert 60 <= len(filters.table("lean", "x86_64").allowed) + len(filters.table("lean", "x86_64").rules) <= 80
    assert set(filters.names("lean")) < set(filters.names("generator")) < set(filters.names("server"))
    assert not set(filters.names("server")) & (
        forbidden - {"connect", "bind", "listen", "accept", "accept4", "sendmsg", "recvmsg", "chmod", "fchmod"}
    )
    assert set(filters.conditions("server")) - set(filters.conditions("generator")) == {"socket", "socketpair", "execveat"}


@pytest.mark.parametrize("header", ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm-generic/unistd.h"])
def test_numbers_are_those_of_the_kernel(header: str) -> None:
    file = Path(header)
    if not file.exists():
        pytest.skip("this processor or machine has no headers of this kernel table")
    text = file.read_text()
    known = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    column = 0 if "x86_64" in header else 1
    aliases = {"newfstatat": "fstatat"} if column else {}
    every = {**filters.names("server"), "socket": (41, 198), "socketpair": (53, 199), "execveat": (322, 281), "clone3": (435, 435), "clone": (56, 220), "ioctl": (16, 29), "fcntl": (72, 25), "prctl": (157, 167),
             "prlimit64": (302, 261), "sendto": (44, 206)}  # fmt: skip
    for name, numbers in every.items():
        if numbers[column] != -1:
            assert known[aliases.get(name, name)] == numbers[column], name


def test_an_unknown_kind_or_processor_has_no_filter() -> None:
    with pytest.raises(ValueError, match="kind"):
        filters.program("wide", "x86_64")
    with pytest.raises(ValueError, match="processor"):
        filters.program("lean", "riscv64")
