"""The servers of a provider as processes of their own: `Servers` over one Unix socket each.

Document: docs/sandbox-design.md sections 1 and 6.1. A server whose process is gone answers SANDBOX_ENDED (`launcher-died`) until it is
reaped or erased; both look for what it left by its records, and start it anew.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workbench.contracts import KeyShare
from workbench.errors import StartRefused
from workbench_sandbox.formats.erasing import CHECKS, Check
from workbench_sandbox.formats.evidence import parse_facts
from workbench_sandbox.formats.relay import sandbox_ended
from workbench_sandbox.inside.worker import now_ms
from workbench_sandbox.server import programs, reaping, runtime, wire
from workbench_sandbox.server.contract import (
    Counters,
    Download,
    GivenEvidence,
    LeaseFacts,
    Looked,
    ServerState,
    StartOrder,
    Upload,
)
from workbench_sandbox.server.serving import not_ready, unknown
from workbench_sandbox.server.starting import Settings, engine_code
from workbench_sandbox.server.wire import Gone, Packet

_START_S = 30.0
_CALL_S = 60.0
_STOP_S = 10.0


class ServerProcess:
    """One server: its folder, its process, its connections. Safe for threads."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self._lock = threading.Lock()
        self._idle: list[socket.socket] = []
        self._held: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.boot = ""

    @property
    def name(self) -> str:
        """`v-<8 hex>`."""
        return self.settings.server

    @property
    def pid(self) -> int:
        """Of its process, 0 for none."""
        return self._process.pid if self._process is not None else 0

    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and wait until it answers. Raises StartRefused (SERVER_START), OSError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.folder / "server.json").write_bytes(self.settings.format())
        (self.folder / wire.SOCKET).unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "workbench_sandbox.server", str(self.folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True,
        )  # fmt: skip
        ends = time.monotonic() + _START_S
        while time.monotonic() < ends and self.alive():
            try:
                self._held = wire.connect(self.folder, timeout_s=_CALL_S)
                hello = self._over(self._held, Packet(wire.CALL, {"call": "hold"}))
            except Gone:
                time.sleep(0.01)
                continue
            if hello.body.get("release") == wire.RELEASE:
                self.boot = str(hello.body["boot"])
                return
            break
        self.stop()
        raise StartRefused(
            f"服务器 {self.name} 的进程未能启动；请算力方运维人员查看",
            f"the process of server {self.name} did not start; operators of the provider look into it",
            code="SERVER_START",
        )

    def call(self, name: str, body: Mapping[str, Any], parts: Sequence[bytes] = (), *, timeout_s: float = _CALL_S) -> Packet:
        """One call. Raises WorkbenchError as the server did, Gone if its process is."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = wire.connect(self.folder, timeout_s=timeout_s)
        connection.settimeout(timeout_s)
        try:
            reply = self._over(connection, Packet(wire.CALL, {"call": name, **body}, parts))
        except Gone:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)
        if reply.type == wire.REFUSAL:
            raise wire.raised(reply)
        return reply

    def stop(self) -> None:
        """Let it kill what runs, and end; its records stay."""
        with self._lock:
            waiting, self._idle = self._idle, []
        for one in waiting:
            one.close()
        if self._held is not None:
            self._held.close()
            self._held = None
        if self._process is not None:
            try:
                self._process.wait(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    @staticmethod
    def _over(connection: socket.socket, packet: Packet) -> Packet:
        wire.send(connection, packet)
        return wire.receive(connection)


class ServerProcesses:
    """`Servers`: those of the folders below `folder`, by name. Start what an earlier run left with `reap`, before anything else."""

    def __init__(
        self, folder: Path, volumes: Path, *, first_uid: int = 64_000, engines: Mapping[str, runtime.EngineCode] | None = None,
        without: frozenset[str] = frozenset(), look_s: float = reaping.LOOK_S, upstream: Mapping[str, Any] | None = None,
        shared: Path | None = None, inside: Mapping[str, Any] | None = None, isolation: str = "bubblewrap",
    ) -> None:  # fmt: skip
        """folder: of all servers, the node's own; volumes: where images and corpora of tenants lie; first_uid: server n runs its
        sandboxes as first_uid + n where this account may change users; engines, without, look_s: for tests;
        upstream, inside, isolation: settings `inference.upstream`, `inference.programs`, `inference.isolation`."""
        self._folder, self._volumes = folder, volumes
        self._first_uid, self._engines, self._without = first_uid, dict(engines or {}), without
        self._look_s, self._upstream = look_s, dict(upstream or {})
        self._programs, self._isolation = dict(inside or {}), isolation
        self._shared = shared or folder / "shared"
        self._lock = threading.RLock()
        self._servers: dict[str, ServerProcess] = {}
        self._sandboxes: dict[str, str] = {}
        self._lost: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        volumes.mkdir(parents=True, exist_ok=True, mode=0o700)

    # ----------------------------------------------------------------------------------------------------- which there are

    def add(self, server: str) -> None:
        """A server of this name, DIRTY. Raises StartRefused (SERVER_START)."""
        with self._lock:
            if server in self._servers:
                return
            process = ServerProcess(self._folder / server, self._settings(server))
            process.start()
            self._servers[server] = process

    def remove(self, server: str) -> None:
        """End a server that was erased; what it left is found by `reap`."""
        with self._lock:
            process = self._servers.pop(server, None)
        if process is not None:
            process.stop()
            if not reaping.names(process.folder):
                shutil.rmtree(process.folder, ignore_errors=True)

    def listing(self, engine: str, program: str = "") -> bytes:
        """The runtime listing for an engine, and the server beside it, on this machine: what a tenant looks at and names by its SM3 in
        a manifest."""
        settings = self._settings("v-00000000")
        installed = programs.named(settings.programs, program) if program else None
        return runtime.survey(engine_code(engine, settings), shared=self._shared, program=installed).listing

    # ------------------------------------------------------------------------------------------------------------ Servers

    def states(self) -> Sequence[ServerState]:
        with self._lock:
            servers = sorted(self._servers.items())
        found = []
        for name, process in servers:
            try:
                found.append(ServerState(**process.call("state", {}).body))
            except Gone:
                sandbox = next((one for one, owner in self._sandboxes.items() if owner == name), "")
                found.append(ServerState(name, "DIRTY", sandbox=sandbox, cause="launcher-died"))
        return found

    def prepare(self, server: str, *, tenant: str, image: str) -> None:
        process = self._server(server)
        try:
            process.call("prepare", {"tenant": tenant, "image": image})
        except Gone:
            raise not_ready(server) from None

    def lease(self, server: str, facts: LeaseFacts) -> str:
        process = self._server(server)
        try:
            sandbox = str(process.call("lease", {"facts": asdict(facts)}).body["sandbox"])
        except Gone:
            raise not_ready(server) from None
        with self._lock:
            self._sandboxes[sandbox] = server
        return sandbox

    def extend(self, sandbox: str, until_ms: int) -> None:
        self._call(sandbox, "extend", {"until_ms": until_ms})

    def evidence(self, sandbox: str, nonce: str) -> GivenEvidence:
        parts = self._call(sandbox, "evidence", {"nonce": nonce}).parts
        return GivenEvidence(parts[0], parse_facts(parts[1]))

    def start(self, sandbox: str, order: StartOrder, share: KeyShare | None) -> bytes:
        body = {"session": order.session, "evidence": order.evidence, "key_id": "", "provenance": ""}
        if share is not None:
            body |= {"key_id": share.key_id, "provenance": share.provenance}
        return self._call(sandbox, "start", body, (share.value,) if share is not None else ()).parts[0]

    def answer(self, sandbox: str, message: bytes) -> bytes:
        return self._call(sandbox, "answer", {}, (message,)).parts[0]

    def frames(self, sandbox: str, upload: Upload, *, wait_ms: int) -> Download:
        body = {"first": upload.first, "taken": upload.taken, "wait_ms": wait_ms}
        reply = self._call(sandbox, "frames", body, upload.frames)
        return Download(reply.body["state"], reply.body["first"], tuple(reply.parts), reply.body["received"])

    def counters(self, sandbox: str) -> Counters:
        return Counters(**self._call(sandbox, "counters", {}).body)

    def probe(self, sandbox: str) -> tuple[int, tuple[str, ...]]:
        """(tried, names of what was not refused) of the suite, run now."""
        body = self._call(sandbox, "probe", {}).body
        return int(body["tried"]), tuple(body["failed"])

    def erase(self, server: str, *, reason: str) -> Looked:
        process = self._server(server)
        try:
            looked = _looked(process.call("erase", {"reason": reason}).body["looked"])
        except Gone:
            looked = self._erase_dead(process)
        self._forget(server)
        return looked

    def reap(self) -> Sequence[Looked]:
        found: list[Looked] = []
        with self._lock:
            running = {one.folder for one in self._servers.values() if one.alive()}
        for folder in sorted(one for one in self._folder.iterdir() if one.is_dir() and one not in running and one != self._shared):
            found += reaping.reap(folder, clock=now_ms)
        return found

    def close(self) -> None:
        with self._lock:
            servers, self._servers = list(self._servers.values()), {}
        for one in servers:
            one.stop()
            reaping.reap(one.folder, clock=now_ms, reason="operator")

    # ------------------------------------------------------------------------------------------------------------ details

    def _settings(self, server: str) -> Settings:
        with self._lock:
            number = len(self._servers)
            taken = {one.settings.uid for one in self._servers.values()}
        uid = next(one for one in range(self._first_uid, self._first_uid + number + 1) if one not in taken) if os.geteuid() == 0 else -1
        return Settings(
            server, uid, str(self._volumes), str(self._shared), self._engines, self._without, self._look_s, self._upstream, self._programs, self._isolation
        )  # fmt: skip

    def _server(self, name: str) -> ServerProcess:
        with self._lock:
            process = self._servers.get(name)
        if process is None:
            raise not_ready(name)
        return process

    def _call(self, sandbox: str, name: str, body: Mapping[str, Any], parts: Sequence[bytes] = ()) -> Packet:
        with self._lock:
            server = self._sandboxes.get(sandbox, "")
            process = self._servers.get(server)
        if process is None:
            raise unknown(sandbox)
        try:
            return process.call(name, {"sandbox": sandbox, **body}, parts)
        except Gone:
            raise sandbox_ended("launcher-died") from None

    def _erase_dead(self, process: ServerProcess) -> Looked:
        """By the records, and a new process in place of the dead one."""
        process.stop()
        began = now_ms()
        found = reaping.reap(process.folder, clock=now_ms)
        process.start()
        if found:
            return reaping.joined(found)
        checks = tuple(Check(name, 0, "nothing ran") for name in CHECKS)
        return Looked(process.name, "", "", (), "launcher-died", began, now_ms(), process.settings.assurance, checks)

    def _forget(self, server: str) -> None:
        """Only the last few of a server are remembered, by itself, so that a tenant that asks later learns why it ended."""
        with self._lock:
            mine = [one for one, owner in self._sandboxes.items() if owner == server]
            for one in mine[:-64]:
                self._sandboxes.pop(one)


def _looked(body: Mapping[str, Any]) -> Looked:
    return Looked(
        body["server"], body["lease"], body["tenant"], tuple(body["sandboxes"]), body["reason"], body["began_ms"], body["ended_ms"],
        body["assurance"], tuple(Check(**one) for one in body["checks"]),
    )  # fmt: skip


__all__ = ["ServerProcess", "ServerProcesses"]
