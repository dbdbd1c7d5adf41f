"""Isolation by gVisor (`runsc`) inside bubblewrap's walls: level `gvisor`. Document: docs/protocols/sandbox.md section 7.

A kernel of its own (the *sentry*) answers the calls of the worker, so that a flaw of the host's is not within its reach. All of runsc –
what starts it, sentry, the *gofer* that opens files for it, and the processes in which the worker's code runs – lies within the
namespaces, the read-only binds, the user and the group of bubblewrap: what holds at level `process` holds around it. The OCI bundle is
written nowhere: its configuration is handed over as a descriptor, runsc's state lies in a small file system of the same namespace.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.errors import StartRefused
from workbench_sandbox.formats.evidence import Control
from workbench_sandbox.inside.measuring import NOBODY, read_mounts
from workbench_sandbox.server import bubblewrap, groups, runtime, watching
from workbench_sandbox.server.bubblewrap import Bubblewrap, BubblewrapRunning, start_refused
from workbench_sandbox.server.isolation import Missing, PidRecord, StartPlan

ROOT = "/rootfs"
OWN_TASKS = 128
"""Tasks of runsc itself beside those that the worker may have: threads of its three programs, two for each thread of the worker."""
_PROGRAM, _STATE, _BUNDLE = "/runsc", "/state", "/bundle"
_STATE_BYTES = 1 << 20
_EMPTY = ("/proc", "/dev", "/sys", "/tmp", "/scratch")  # noqa: S108 - folders on which gVisor mounts
_MOUNTS = frozenset({"/", "/dev/pts", *_EMPTY})
_PLATFORMS = ("systrap", "ptrace")
"""The better one first; `kvm` would need a device of the host inside."""
_TRIAL_S = 20.0
_PLAIN = {"overlay2": "none", "directfs": "false", "host-uds": "none", "host-fifo": "none"}
"""What other versions do by themselves: a layer to write on, files opened by the sentry, sockets and pipes of the host."""
_NAMESPACES = {"user": "user", "no-network": "net", "own-ipc": "ipc", "own-hostname": "uts", "own-cgroup-view": "cgroup"}


@cache
def find_program() -> str:
    """Where `runsc` is, "" where it is not."""
    found = shutil.which("runsc")
    return str(Path(found).resolve()) if found else ""


@cache
def version() -> str:
    """Such as `runsc 0.0~20221219.0 ptrace`; "" where there is none."""
    if not find_program():
        return ""
    said = _said("--version").partition("\n")[0].removeprefix("runsc version ").strip()
    return f"runsc {said[:40]} {best_platform()}"


@cache
def best_platform() -> str:
    """The best way that this runsc has to run the worker's code."""
    return next((one for one in _PLATFORMS if one in _flags().get("platform", "")), "ptrace")


@cache
def _flags() -> Mapping[str, str]:
    """Flags of this runsc: name -> what it says about it."""
    parts = (one.partition(" ") for one in _said("flags").replace("\n    \t", " ").split("\n  -")[1:])
    return {name.strip(): text for name, _, text in parts}


def _said(*arguments: str) -> str:
    done = subprocess.run([find_program(), *arguments], capture_output=True, check=False, timeout=20)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


@cache
def trial() -> str:
    """Why this machine starts no sandbox under gVisor, "" where it does: runsc is asked for its version within one. Cost: 0.4 s."""
    with tempfile.TemporaryDirectory(prefix="workbench-trial-") as folder:
        plan, record = bubblewrap.empty_plan(Path(folder))
        found = runtime.Runtime((runtime.Bind(find_program(), "/runtime/runsc"),), (), b"", ())
        limits = replace(plan.limits, memory_bytes=256 << 20)
        plan = replace(plan, runtime=found, limits=limits, hierarchy=groups.find_hierarchy(), program=("/runtime/runsc", "--version"))
        try:
            running = Gvisor().start(plan, record)
        except StartRefused as refused:
            return refused.en.rpartition(": ")[2]
        try:
            running.release()
            ends = time.monotonic() + _TRIAL_S
            while running.alive() and time.monotonic() < ends:
                time.sleep(0.005)
        finally:
            running.kill()
            running.close()
        running.group.remove()
        words = running.first_words()
        return "" if "runsc version" in words else words or "runsc ended without a word"


class Gvisor(Bubblewrap):
    """`Isolation` by gVisor."""

    assurance = "gvisor"

    @property
    def name(self) -> str:
        return f"{version()}, {bubblewrap.version()}"

    @property
    def running(self) -> type[BubblewrapRunning]:
        return GvisorRunning

    def available(self) -> Sequence[Missing]:
        if not find_program():
            return (Missing("files", "未安装 runsc（gVisor）：Debian 的软件包是 runsc", "runsc (gVisor) is not installed; Debian's package is runsc"),)
        missing = [one for one in super().available() if one.control != "cpu"]
        if not _has_groups(groups.find_hierarchy()):
            missing.append(Missing("memory", "gVisor 需要可写的控制组", "gVisor needs control groups that may be written"))
        elif not any(one.control != "host-user" for one in missing) and (why := trial()):
            missing.append(Missing("filter", f"本机不让 gVisor 启动：{why[-120:]}", f"this machine lets none start under gVisor: {why[-120:]}"))
        return tuple(missing)

    def streams(self, channel: int, handed: Sequence[int]) -> tuple[int, int, int]:
        """runsc of 2022 hands a program its three standard descriptors and no other: channel, engine behind, what is written."""
        return (channel, handed[0], subprocess.PIPE) if handed else (channel, subprocess.PIPE, subprocess.STDOUT)

    def inherited(self, channel: int, handed: Sequence[int]) -> tuple[int, ...]:
        return ()

    def limits(self, plan: StartPlan) -> groups.GroupLimits:
        """Memory and processor of runsc are within those of the worker; its tasks are not."""
        one = super().limits(plan)
        return groups.GroupLimits(one.memory_bytes, one.processes + OWN_TASKS, one.cpu_milli)

    def binds(self, plan: StartPlan) -> list[tuple[str, str]]:
        return [(find_program(), _PROGRAM), *((source, ROOT + inside) for source, inside in super().binds(plan))]

    def start(self, plan: StartPlan, record: PidRecord) -> BubblewrapRunning:
        """Raises StartRefused (SANDBOX_START). As `Bubblewrap.start`."""
        if not find_program():
            raise start_refused("runsc (gVisor) is not installed; Debian's package is runsc")
        if plan.beside or len(plan.handed) > 1:
            raise start_refused("a server beside the worker is not started under gVisor; an engine without one, or level process")
        if not _has_groups(plan.hierarchy):
            raise start_refused("gVisor needs control groups that may be written")
        return super().start(plan, record)

    def arguments(
        self, plan: StartPlan, binds: Sequence[tuple[str, str]], at: str, *, told: int, block: int, channel: int
    ) -> tuple[list[str], list[int]]:
        bundle = os.memfd_create("bundle")
        os.write(bundle, json.dumps(configuration(plan)).encode())
        os.lseek(bundle, 0, os.SEEK_SET)
        # Its own root within its own user namespace: runsc builds the worker's from there, and has no right outside of it.
        out = [bubblewrap.gathered_program(at), "--unshare-user", "--uid", "0", "--gid", "0", "--cap-add", "ALL", "--as-pid-1"]
        out += ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup", "--new-session", "--clearenv"]
        out += ["--die-with-parent"] if "dies-with-launcher" not in plan.without else []
        for folder in _parents(inside for _, inside in binds):
            out += ["--perms", "0755", "--dir", folder]
        for folder in ("/tmp", *(ROOT + one for one in _EMPTY)):  # noqa: S108
            out += ["--perms", "0755", "--dir", folder]
        for number, (source, inside) in enumerate(binds):
            out += ["--ro-bind", f"{at}/b/{number}" if at else source, inside]
        out += ["--file", str(bundle), f"{_BUNDLE}/config.json", "--proc", "/proc", "--dev", "/dev"]
        out += ["--size", str(_STATE_BYTES), "--perms", "0700", "--tmpfs", _STATE]
        out += ["--remount-ro", "/dev", "--remount-ro", "/", "--hostname", "sandbox", "--chdir", "/"]
        out += ["--info-fd", str(told), "--block-fd", str(block), "--", _PROGRAM, f"--root={_STATE}", "--rootless", "--network=none"]
        out += [f"--platform={best_platform()}", "--ignore-cgroups", "--file-access=exclusive"]
        out += [f"--{name}={value}" for name, value in _PLAIN.items() if name in _flags()]
        out += ["run", f"--bundle={_BUNDLE}", plan.sandbox]
        return out, [bundle]


class GvisorRunning(BubblewrapRunning):
    """One sandbox of runsc's."""

    state_at = _STATE

    @property
    def mounts(self) -> frozenset[str]:
        return _MOUNTS

    @property
    def most_tasks(self) -> int:
        return 0

    def number_of(self, descriptor: int) -> int:
        return 1

    def seen(self) -> tuple[Control, ...]:
        """The controls from outside: of every process that belongs to it, for the host sees no worker among them."""
        outermost, first = self.record.pids
        found = _controls([one for one in self.group.members() if one != outermost], first, _inside(self._plan))
        if not found:
            return ()
        found |= groups.controls(self.group, self._limits)
        state, how = found["processes"]
        found["processes"] = state, f"{how}, of them {OWN_TASKS} for runsc"
        dies = "dies-with-launcher" not in self._plan.without
        found["dies-with-launcher"] = ("on", "parent-death signal") if dies else ("off", "left out")
        return watching.as_controls(found)


def configuration(plan: StartPlan) -> Mapping[str, Any]:
    """The OCI bundle of a start: config.json. Source: Open Container Initiative, runtime specification 1.0.2."""
    without, limits = plan.without, plan.limits
    empty: dict[str, list[str]] = {one: [] for one in ("bounding", "effective", "inheritable", "permitted", "ambient")}
    user = NOBODY if "user" not in without else 1000
    environment = [f"LD_LIBRARY_PATH={runtime.LIBRARIES}", "OMP_NUM_THREADS=1", "HOME=/"]
    mounts = [
        {"destination": "/proc", "type": "proc", "options": ["ro"]},
        {"destination": "/dev", "type": "tmpfs", "options": ["ro"]},
        {"destination": "/dev/pts", "type": "devpts", "options": ["ro"]},
        # gVisor mounts these two whether they are named or not: closed, so that there is nothing in them to list or to write.
        {"destination": "/sys", "type": "tmpfs", "options": ["ro", "mode=0000"]},
        {"destination": "/tmp", "type": "tmpfs", "options": ["ro" if "files" not in without else "rw", "mode=0000"]},  # noqa: S108
        {
            "destination": "/scratch", "type": "tmpfs",
            "options": [f"size={limits.scratch_bytes if 'scratch' not in without else 1 << 30}", "mode=0700", f"uid={user}", f"gid={user}"],
        },
    ]  # fmt: skip
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False, "user": {"uid": user, "gid": user}, "args": [*plan.program, "0"], "cwd": "/", "noNewPrivileges": True,
            "env": environment + (["HOST_SECRET=1"] if "clean-start" in without else []),
            "capabilities": empty if "no-capabilities" not in without else {one: ["CAP_SYS_PTRACE"] for one in empty},
            "rlimits": [{"type": "RLIMIT_CORE", "hard": 0, "soft": 0}],
        },
        "root": {"path": ROOT, "readonly": True},
        "hostname": "sandbox",
        "mounts": [{"source": "none", **one} for one in mounts],
        "linux": {"namespaces": [{"type": one} for one in ("pid", "network", "ipc", "uts", "mount")]},
    }  # fmt: skip


def _inside(plan: StartPlan) -> frozenset[str]:
    """Mount points of the gofer: the worker's root, and what is bound below it."""
    return frozenset({"/"} | {inside for _, inside in bubblewrap.read_only(plan)})


def _controls(pids: Sequence[int], first: int, files: frozenset[str]) -> dict[str, tuple[str, str]]:
    """Name -> (state, how), the worst of all processes of one sandbox; {} where none is there. first: runsc that started the others."""
    own, found = watching.namespaces(), dict[str, tuple[str, str]]()
    gofers = 0
    program = os.stat(find_program())
    for pid in pids:
        seen, other = watching.status(pid), watching.namespaces(pid)
        if not seen or seen["State"].startswith("Z"):
            continue  # it ended, or is not waited for yet
        user = int(seen["Uid"].split()[1])
        rows = {
            "host-user": (user not in (0, os.geteuid()), f"uid {user}" if user != os.geteuid() else "the node's account"),
            "no-capabilities": (own.get("user", 0) != other.get("user", 0), "none of the host's; runsc's own in a user namespace"),
            "no-new-privileges": (seen["NoNewPrivs"] == "1", "prctl"),
            "own-processes": (len(seen["NSpid"].split()) > 1, "namespace"),
            "files": _files(pid, first, files),
            "filter": (pid == first or seen.get("Seccomp") == "2", "runsc's own around a kernel of its own; inside seccomp"),
            "no-programs": (_is(pid, program), "bubblewrap and runsc alone"),
            "no-core": (watching.no_core(pid)[0] == "on" and not _piped(), "core 0" if not _piped() else "core_pattern is a program"),
        } | {name: (own.get(kind, 0) != other.get(kind, 0) != 0, "namespace") for name, kind in _NAMESPACES.items()}  # fmt: skip
        gofers += pid != first and set(read_mounts(watching.mountinfo(pid))) == files
        for name, (holds, how) in rows.items():
            if name not in found or not holds:
                found[name] = ("on" if holds else "off", how)
    if found and gofers != 1:
        found["files"] = ("off", f"{gofers} gofers with the files of the image")
    return found


def _files(pid: int, first: int, files: frozenset[str]) -> tuple[bool, str]:
    """What runsc itself built of the binds, it hands on to the gofer alone; sentry and worker have an empty root."""
    seen = read_mounts(watching.mountinfo(pid))
    writable = {point for point, options in seen.items() if "ro" not in options.partition(";")[0].split(",")} - {"/proc"}
    if pid == first:
        return bool(seen), f"{len(files)} mounts of the gofer, none of the sentry"
    return bool(seen) and not writable and set(seen) in ({"/", "/proc"}, files), f"{len(files)} mounts of the gofer, none of the sentry"


def _is(pid: int, program: os.stat_result) -> bool:
    try:
        one = os.stat(f"/proc/{pid}/exe")
    except OSError:
        return False
    return (one.st_dev, one.st_ino) == (program.st_dev, program.st_ino)


def _piped() -> bool:
    """Whether the kernel hands cores to a program, which heeds no limit: core(5). The sentry's memory would be in it."""
    try:
        return Path("/proc/sys/kernel/core_pattern").read_text("utf-8").startswith("|")
    except OSError:
        return True


def _parents(places: Iterable[str]) -> list[str]:
    """Every folder above these places, but the root, those above others first."""
    return sorted({str(one) for place in places for one in PurePosixPath(place).parents} - {"/"})


def _has_groups(hierarchy: groups.Hierarchy) -> bool:
    return {"memory", "pids"} <= hierarchy.controllers or {"memory", "pids"} <= hierarchy.v1.keys()


__all__ = ["OWN_TASKS", "Gvisor", "GvisorRunning", "best_platform", "configuration", "find_program", "trial", "version"]
