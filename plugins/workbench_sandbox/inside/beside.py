"""The worker's side of a server in its own sandbox: the keeper is started, told what to start, and heard, before the worker's filter.

Document: docs/sandbox-design.md section 4. The keeper (`keeper.py`) starts the server, waits until it answers, and from then on
carries bytes between the worker's one descriptor and the server's Unix socket. Nothing of it leaves the sandbox.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from workbench_sandbox.formats.program import Program
from workbench_sandbox.inside import probing

SOCKET: Final = "/scratch/server.sock"
SILENT: Final = "SERVER_SILENT"
ALTERED: Final = "SERVER_ALTERED"
"""Why there is no server: it does not answer; its program is not the one that the runtime listing names."""
_MOST: Final = 1 << 20
_START_S: Final = 30.0
_WORDS: Final = 400


class ServerSilent(Exception):
    """The server was not started, ended, or did not answer in time. why: what it wrote; nothing of a tenant is in here by then.
    code: SILENT or ALTERED."""

    def __init__(self, why: str, code: str = SILENT) -> None:
        super().__init__(why)
        self.code = ALTERED if code == ALTERED else SILENT
        self.why = " ".join(why.split())[-_WORDS:]


@dataclass(frozen=True, slots=True)
class Beside:
    """The server as it runs. channel: to its keeper; keeper: descriptor of the keeper's process, readable once it has ended;
    probed: what the server's own process tried before its program began; filter: SM3 of its filter, executable: of its program."""

    channel: socket.socket
    keeper: int
    probed: probing.Probed
    filter: str
    executable: str

    def descriptors(self) -> frozenset[int]:
        """Those that the worker holds for it."""
        return frozenset({self.channel.fileno(), self.keeper})


def start(program: Program, plan: Mapping[str, Any], suite: probing.Suite) -> Beside:
    """Start it and wait until it answers. Raises ServerSilent, OSError."""
    own, theirs = socket.socketpair()
    try:
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", *_compiled(), str(Path(__file__).with_name("keeper.py")), str(theirs.fileno())],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, close_fds=True, pass_fds=(theirs.fileno(),), cwd="/",
        )  # fmt: skip
        theirs.close()
        descriptor = os.pidfd_open(keeper.pid)
        tell(own, _order(program, plan, suite))
        own.settimeout(program.ready_s + _START_S)
        said = hear(own)
        if "why" in said:
            raise ServerSilent(str(said["why"]), str(said.get("code")))
        keeper.returncode = 0  # nobody waits for it: the sandbox ends with it
        probed = probing.Probed(int(said["tried"]), int(said["refused"]), tuple(f"server-{one}" for one in said["failed"]))
        return Beside(own, descriptor, probed, str(said["filter"]), str(said["executable"]))
    except (TimeoutError, EOFError) as error:
        raise ServerSilent("its keeper ended") from error


def tell(channel: socket.socket, body: Mapping[str, Any]) -> None:
    """One message, `u32 length ‖ JSON`. Raises OSError."""
    data = json.dumps(body).encode()
    channel.sendall(len(data).to_bytes(4, "big") + data)


def hear(channel: socket.socket) -> dict[str, Any]:
    """One message. Raises EOFError for anything that is none, OSError."""
    size = int.from_bytes(_exactly(channel, 4), "big")
    if size > _MOST:
        raise EOFError
    body = json.loads(_exactly(channel, size))
    if not isinstance(body, dict):
        raise EOFError  # noqa: TRY004 - it is what the other end sent
    return body


def _exactly(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _order(program: Program, plan: Mapping[str, Any], suite: probing.Suite) -> dict[str, Any]:
    threads = str(plan["threads"])
    environment = {
        **program.environment, "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", ""), "HOME": "/scratch", "TMPDIR": "/scratch",
        "OMP_NUM_THREADS": threads,
    }  # fmt: skip
    return {
        "argv": program.arguments(python=sys.executable, socket=SOCKET, model=plan["model"], threads=threads), "environment": environment,
        "target": f"{program.path}/models", "ready_s": program.ready_s, "has_filter": bool(plan["filter"]), "memory": plan["memory"],
        "processes": plan["processes"] if plan["by_limits"] else 0, "executable": plan["executable"],
        "suite": [suite.scratch, suite.processes, list(suite.foreign), list(suite.unwritable)],
    }  # fmt: skip


def _compiled() -> list[str]:
    return ["-X", f"pycache_prefix={sys.pycache_prefix}"] if sys.pycache_prefix else []
