"""What isolates: the contract that bubblewrap and gVisor stand behind. Document: docs/sandbox-design.md section 4."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from workbench_sandbox.formats.evidence import Control
from workbench_sandbox.formats.manifest import Limits
from workbench_sandbox.server.groups import Hierarchy
from workbench_sandbox.server.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Missing:
    """A control that this machine cannot put in force, and what is missing for it."""

    control: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class StartPlan:
    """One start. folder: of the run, the server's own; image, corpora: folders of the volume, or None; uid: the user outside, -1 to
    stay the account one is; without: controls that are left out, for tests that look whether the evidence says so; handed: further
    descriptors that the program inherits under their numbers; beside: processes that it starts itself before it closes itself in."""

    sandbox: str
    folder: Path
    runtime: Runtime
    compiled: Path
    image: Path | None
    corpora: Path | None
    limits: Limits
    uid: int
    hierarchy: Hierarchy
    program: Sequence[str]
    without: frozenset[str] = frozenset()
    handed: tuple[int, ...] = ()
    beside: int = 0


@dataclass(frozen=True, slots=True)
class PidRecord:
    """What is written down before a sandbox's program runs, so that a later start finds what is left of it.

    pids: outermost process first, 0 while none has started; began: their start times in clock ticks since the machine started
    (/proc/PID/stat), boot: the machine's start; namespaces: kind -> inode; device: number of scratch's file system, "" where nobody
    could see it; uid: the user outside.
    """

    sandbox: str
    server: str
    lease: str
    tenant: str
    boot: str
    machine_boot: str
    folder: str
    uid: int
    began_ms: int
    pids: tuple[int, ...] = ()
    began: tuple[int, ...] = ()
    groups: tuple[str, ...] = ()
    namespaces: Mapping[str, int] = field(default_factory=dict)
    device: str = ""
    isolation: str = ""
    assurance: str = "process"


@dataclass(frozen=True, slots=True)
class Found:
    """One line of what was looked for after the end: section 10 of the protocol."""

    name: str
    found: int
    how: str


class Running(Protocol):
    """One sandbox that runs."""

    record: PidRecord
    channel: socket.socket

    @property
    def mounts(self) -> frozenset[str]:
        """The mount points that the worker sees, no more and no fewer."""

    @property
    def most_tasks(self) -> int:
        """The limit of tasks that the worker runs into when it tries, 0 where what then ends is the sandbox itself."""

    def number_of(self, descriptor: int) -> int:
        """Under which number the worker has a descriptor that it was handed."""

    def release(self) -> None:
        """Let its program start; the record is on disk."""

    def seen(self) -> Sequence[Control]:
        """The controls as they are seen from outside."""

    def alive(self) -> bool: ...

    def cause(self) -> str:
        """Why it ended: `memory` or `sandbox-died`."""

    def kill(self) -> None:
        """End everything in it; waits until its processes are gone, at most five seconds."""

    def close(self) -> None:
        """Let go of its descriptors, once nobody uses them any more."""

    def look(self) -> Sequence[Found]:
        """What is left; section 10 of the protocol."""


class Isolation(Protocol):
    """A way to isolate. name: with version, as evidence says it; assurance: the level it can reach."""

    name: str
    assurance: str

    def available(self) -> Sequence[Missing]:
        """What this machine lacks; empty where all controls can be in force."""

    def start(self, plan: StartPlan, record: PidRecord) -> Running:
        """Start it up to the point where only its program is missing. Raises StartRefused."""
