"""The process of one server: `python -m workbench_sandbox.server DIR`.

Document: docs/sandbox-design.md section 1. `DIR/server.json` says who it is. It serves its node over `DIR/run.sock` (0600) until the node's
first connection closes; then it kills what runs and ends. What it leaves, its record names.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workbench.contracts import KeyShare
from workbench.errors import StorageFailed, WorkbenchError
from workbench_sandbox.formats.evidence import format_facts
from workbench_sandbox.server import wire
from workbench_sandbox.server.contract import LeaseFacts, StartOrder, Upload
from workbench_sandbox.server.serving import Server
from workbench_sandbox.server.starting import Settings
from workbench_sandbox.server.wire import Gone, Packet

_FIRST_S = 30.0
_Answer = tuple[Mapping[str, Any], Sequence[bytes]]


class Program:
    """The socket of one server, and its threads."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(folder, Settings.parse((folder / "server.json").read_bytes()), boot=secrets.token_hex(16))
        self._folder = folder
        self._stopping = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._held = threading.Event()

    def run(self) -> None:
        """Serve until told to stop. Raises OSError if the socket cannot be made."""
        (self._folder / wire.SOCKET).unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            with wire.short_path(self._folder) as path:
                self._listener.bind(path)
        finally:
            os.umask(before)
        self._listener.listen(64)
        threading.Thread(target=self._accept, name="accepting", daemon=True).start()
        threading.Thread(target=self._expect_first, name="expecting the node", daemon=True).start()
        self.server.work()
        self._listener.close()
        (self._folder / wire.SOCKET).unlink(missing_ok=True)

    def stop(self) -> None:
        """Kill, end."""
        if not self._stopping.is_set():
            self._stopping.set()
            self.server.stop()

    def _expect_first(self) -> None:
        """A node that never comes is not waited for."""
        if not self._held.wait(_FIRST_S):
            self.stop()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), name="serving", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        is_first = False
        with connection:
            try:
                while True:
                    call = wire.receive(connection)
                    name = str(call.body.get("call"))
                    if name == "hold":
                        is_first = True
                        self._held.set()
                    wire.send(connection, self._answer(name, call))
            except Gone:
                pass
        if is_first:
            self.stop()

    def _answer(self, name: str, call: Packet) -> Packet:
        try:
            body, parts = CALLS[name](self.server, call)
            return Packet(wire.REPLY, body, parts)
        except WorkbenchError as error:
            return wire.refusal(error)
        except OSError as error:
            return wire.refusal(
                StorageFailed(
                    "服务器无法写入其目录，未作处理；请运维人员查看磁盘",
                    f"a server cannot write to its folder and did nothing; operators look at the disk ({error.strerror})",
                )
            )


def _lease(server: Server, call: Packet) -> _Answer:
    facts = {**call.body["facts"]}
    facts["provenances"], facts["suites"] = tuple(facts["provenances"]), tuple(facts["suites"])
    return {"sandbox": server.lease(LeaseFacts(**facts))}, ()


def _extend(server: Server, call: Packet) -> _Answer:
    server.extend(call.body["sandbox"], call.body["until_ms"])
    return {}, ()


def _evidence(server: Server, call: Packet) -> _Answer:
    given = server.evidence(call.body["sandbox"], call.body["nonce"])
    return {}, (given.document, format_facts(given.facts))


def _start(server: Server, call: Packet) -> _Answer:
    body = call.body
    share = KeyShare(body["key_id"], body["provenance"], call.parts[0]) if body["key_id"] else None
    return {}, (server.start(body["sandbox"], StartOrder(body["session"], body["evidence"]), share),)


def _frames(server: Server, call: Packet) -> _Answer:
    body = call.body
    given = server.frames(body["sandbox"], Upload(body["first"], body["taken"], tuple(call.parts)), wait_ms=body["wait_ms"])
    return {"state": given.state, "first": given.first, "received": given.received}, given.frames


def _prepare(server: Server, call: Packet) -> _Answer:
    server.prepare(call.body["tenant"], call.body["image"])
    return {}, ()


def _erase(server: Server, call: Packet) -> _Answer:
    return {"looked": asdict(server.erase(call.body["reason"]))}, ()


def _probe(server: Server, call: Packet) -> _Answer:
    tried, failed = server.probe(call.body["sandbox"])
    return {"tried": tried, "failed": failed}, ()


CALLS: Mapping[str, Callable[[Server, Packet], _Answer]] = {
    "hold": lambda server, call: ({"release": wire.RELEASE, "server": server.settings.server, "boot": server.boot, "pid": os.getpid()}, ()),
    "state": lambda server, call: (asdict(server.state()), ()),
    "prepare": _prepare,
    "lease": _lease,
    "extend": _extend,
    "evidence": _evidence,
    "start": _start,
    "answer": lambda server, call: ({}, (server.answer(call.body["sandbox"], call.parts[0]),)),
    "frames": _frames,
    "counters": lambda server, call: (asdict(server.counters(call.body["sandbox"])), ()),
    "probe": _probe,
    "erase": _erase,
}


def main(arguments: Sequence[str]) -> int:
    """The program. 0: ended in good order; 2: its folder is not usable."""
    if len(arguments) != 1:
        print("usage: python -m workbench_sandbox.server DIR", file=sys.stderr)
        return 2
    try:
        program = Program(Path(arguments[0]).resolve())
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"the server's folder cannot be used: {type(error).__name__}", file=sys.stderr)
        return 2
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: threading.Thread(target=program.stop, daemon=True).start())
    program.run()
    return 0
