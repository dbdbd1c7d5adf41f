"""A program of ours as a process of its own: started with its passphrase, known by its command line, ended by its id.

For processes of this machine that outlive whoever starts them: nodes, key-management entities. Ids of processes are used
again, so nothing here acts on an id alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEAT_S = 0.02


@dataclass(frozen=True, slots=True)
class Program:
    """module: what Python runs. arguments: what it is given; with the module they tell its process from any other."""

    module: str
    arguments: tuple[str, ...]

    def is_process(self, pid: int) -> bool:
        """Whether this id is a process of this program now; one that has ended and waits for its parent is none."""
        try:
            parts = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return False
        return state != "Z" and all(word.encode() in parts for word in (self.module, *self.arguments))

    def start(
        self, *, log: Path, passphrase: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """A process in a session of its own; the passphrase is the first line of its input. log: made anew, 0600.

        environment: added to this process's own.
        """
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            child = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.arguments],
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=written,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,
            )
        finally:
            os.close(written)
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it ended already; its log says why
            child.stdin.write(passphrase.encode() + b"\n")
            child.stdin.close()
        return child


def end(processes: Iterable[tuple[Program, int]], *, timeout_s: float) -> None:
    """Let these processes end in good order, all at once; whoever has not after `timeout_s` is killed."""
    alive = [(program, pid) for program, pid in processes if program.is_process(pid)]
    for _, pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)  # a frozen process could not end otherwise
            os.kill(pid, signal.SIGTERM)
    limit = time.monotonic() + timeout_s
    for program, pid in alive:
        while program.is_process(pid) and time.monotonic() < limit:
            reap(pid)
            time.sleep(BEAT_S)
        kill(program, pid)


def kill(program: Program, pid: int) -> None:
    """End a process at once, as a power failure would; nothing where it has ended."""
    if program.is_process(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while program.is_process(pid):
        reap(pid)
        time.sleep(BEAT_S)
    reap(pid)


def reap(pid: int) -> None:
    """Take note that a child has ended, if it is one and has."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def last_error(log: Path) -> dict[str, Any]:
    """What a program that did not start said at last: the members of a WorkbenchError, or nothing."""
    for line in reversed(log.read_text("utf-8", "replace").splitlines()):
        if line.startswith("{"):
            with contextlib.suppress(ValueError):
                value: dict[str, Any] = json.loads(line)
                return value
    return {}
