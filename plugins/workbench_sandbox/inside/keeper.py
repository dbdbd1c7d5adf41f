"""The keeper of a server inside a sandbox. `python -I -S keeper.py DESCRIPTOR`: started by the worker before its filter.

Document: docs/sandbox-design.md section 4. It starts the server's program under the filter `server`, in whose process the probe suite is
run first; waits until it answers; then carries bytes for the worker, which may open no socket. What the server writes is read and
forgotten. When the server ends, so does the keeper, and the worker with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import socket
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Final, NoReturn

if __name__ == "__main__":
    sys.path[:0] = ["/runtime/code", "/runtime/packages"]

from workbench.crypto import sm3
from workbench_sandbox.engines.http_stream import Broken, Exchange
from workbench_sandbox.engines.relayed import Carrier
from workbench_sandbox.inside import filter as filters
from workbench_sandbox.inside import limits, probing
from workbench_sandbox.inside.beside import ALTERED, SILENT, SOCKET, hear, tell

_COPY: Final = "/scratch/.program"
_CONNECT_S: Final = 5.0
_LOOK_S: Final = 0.05
_ANSWER_S: Final = 5.0
_KEPT: Final = 2_000
_PIECE: Final = 1 << 20


class Server:
    """The server's process. process: descriptor of it, readable once it has ended; words: the last that it wrote, until it is ready."""

    def __init__(self, pid: int, output: int) -> None:
        self.process = os.pidfd_open(pid)
        self.words = bytearray()
        self._output = output
        self._is_ready = False
        self._reader = threading.Thread(target=self._read, name="output", daemon=True)
        self._reader.start()

    def has_ended(self, seconds: float) -> bool:
        """Whether it has, waiting for at most so long."""
        poller = select.poll()
        poller.register(self.process, select.POLLIN)
        return bool(poller.poll(seconds * 1000))

    def ready(self) -> None:
        """From here on nothing that it writes is kept."""
        self._is_ready = True
        self.words.clear()

    def last_words(self) -> str:
        self._reader.join(timeout=0.5)
        return self.words.decode("utf-8", "replace")

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while part := os.read(self._output, 4096):
                if not self._is_ready:
                    self.words += part
                    del self.words[:-_KEPT]


def main() -> int:
    """The program."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    try:
        order = hear(channel)
        limits.close_privileges()
        server, said = started(order)
        _wait(server, order)
        server.ready()
    except _Failed as failed:
        tell(channel, {"why": failed.why, "code": failed.code})
        return 1
    except (OSError, EOFError) as error:
        tell(channel, {"why": f"it could not be started: {error}"})
        return 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (filters.PROGRAM_DESCRIPTOR, filters.PROGRAM_DESCRIPTOR))
    _limit(order)
    if order["has_filter"]:
        limits.install(filters.program("server", limits.machine()))
    threading.Thread(target=_end_with, args=(server,), name="watching", daemon=True).start()
    tell(channel, said)
    Carrier(channel, _connected).work()
    return 0


def started(order: Mapping[str, Any]) -> tuple[Server, dict[str, Any]]:
    """The server's process, and what its suite said. Raises _Failed, OSError."""
    argv = [str(one) for one in order["argv"]]
    executable = _copied(argv[0])
    if executable != order["executable"]:
        raise _Failed("its program is not the one that was measured", ALTERED)
    heard, told = os.pipe()
    output, written = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(order, argv, told, written)
    os.close(told)
    os.close(written)
    os.close(filters.PROGRAM_DESCRIPTOR)
    server = Server(pid, output)
    with os.fdopen(heard, "rb") as file:
        report = file.read()
    if not report:
        raise _Failed(f"it was not started: {server.last_words()}")
    body: dict[str, Any] = json.loads(report)
    if "why" in body:
        raise _Failed(str(body["why"]))
    return server, {**body, "executable": executable}


def _copied(path: str) -> str:
    """Make the program's copy that nobody may read, open it as the descriptor that is started, and take its name away; its SM3.

    A program whose file its own user may not read is started not dumpable: its memory is closed to its user, and no core is written.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard <= filters.PROGRAM_DESCRIPTOR:
        raise OSError("too few descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, filters.PROGRAM_DESCRIPTOR + 1), hard))
    hasher = sm3.new()
    with open(path, "rb") as source, open(_COPY, "xb") as copy:  # noqa: PTH123 - a keeper loads no more than it needs
        while piece := source.read(_PIECE):
            hasher.update(piece)
            copy.write(piece)
        os.fchmod(copy.fileno(), 0o111)
    place = os.open(_COPY, os.O_PATH)
    os.unlink(_COPY)  # noqa: PTH108 - as above
    os.dup2(place, filters.PROGRAM_DESCRIPTOR, inheritable=False)
    os.close(place)
    return hasher.digest().hex()


def _become(order: Mapping[str, Any], argv: list[str], told: int, written: int) -> NoReturn:
    """In the server's process: close itself, run the suite, say what it said, become the program."""
    report: dict[str, Any] = {}
    try:
        null = os.open("/dev/null", os.O_RDONLY)
        for number, descriptor in enumerate((null, written, written)):
            os.dup2(descriptor, number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (filters.PROGRAM_DESCRIPTOR, filters.PROGRAM_DESCRIPTOR))
        _limit(order)
        program = filters.program("server", limits.machine())
        if order["has_filter"]:
            limits.install(program)
        scratch, processes, foreign, unwritable = order["suite"]
        probed = probing.run(probing.Suite(scratch, processes, tuple(foreign), tuple(unwritable), is_server=True))
        digest = sm3.digest(program).hex() if order["has_filter"] else ""
        report = {"tried": probed.tried, "refused": probed.refused, "failed": list(probed.failed), "filter": digest}
        os.chdir("/scratch")
        os.write(told, json.dumps(report).encode())
        os.execve(filters.PROGRAM_DESCRIPTOR, argv, order["environment"])  # noqa: S606 - without a shell, by the one descriptor
    except BaseException as error:  # noqa: BLE001 - whatever happens, this process goes no further as a copy of the keeper
        with contextlib.suppress(OSError):
            os.write(2, f"{type(error).__name__}: {error}".encode()[:_KEPT])
    finally:
        os._exit(127)


def _limit(order: Mapping[str, Any]) -> None:
    """What no control group counts, each process counts for itself."""
    if order["memory"]:
        limits.limit_memory(order["memory"])
    if order["processes"]:
        limits.limit_processes(order["processes"])


def _wait(server: Server, order: Mapping[str, Any]) -> None:
    """Until it says which models it has. Raises _Failed."""
    ends = time.monotonic() + order["ready_s"]
    said = "it listens nowhere"
    while time.monotonic() < ends:
        if server.has_ended(_LOOK_S):
            raise _Failed(f"it ended: {server.last_words()}")
        try:
            connection = _connected()
        except OSError:
            continue
        exchange = Exchange(connection, silence_s=_ANSWER_S)
        try:
            status = exchange.ask("GET", order["target"], {"Host": "localhost", "Accept": "application/json"}, b"", lambda: False).status
        except Broken:
            said = "it answers nothing"
            continue
        finally:
            exchange.close()
        if status == 200:
            return
        said = f"it answers {status}"
    raise _Failed(f"it was not ready within {order['ready_s']} s: {said}. {server.last_words()}")


def _connected() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_CONNECT_S)
        connection.connect(SOCKET)
    except OSError:
        connection.close()
        raise
    return connection


def _end_with(server: Server) -> None:
    while not server.has_ended(3600):
        pass
    os._exit(1)


class _Failed(Exception):
    """Why the server is not there."""

    def __init__(self, why: str, code: str = SILENT) -> None:
        super().__init__(why)
        self.why, self.code = why, code


if __name__ == "__main__":
    os._exit(main())
