"""Starts, watches and ends the pages' process; talks to it over a Unix socket in a 0700 folder."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx

from workbench.app import SIGN_IN_HEADER, TICKET_HEADER

log = logging.getLogger("workbench.jupyter")

WATCH_S = 1.0
LONGEST_PAUSE_S = 30.0
STOP_S = 5.0
NOT_FOR_PAGES = ("JUPYTER_TOKEN", "JUPYTER_TOKEN_FILE", "JUPYTERHUB_API_TOKEN", "WORKBENCH_SESSION")


class PagesProcess:
    """One process for all pages of this Lab. A death is followed by a new start, ever later up to 30 s apart."""

    def __init__(self, *, node_url: str, prefix: str, origins: Sequence[str], log_path: Path | None = None) -> None:
        self._node_url = node_url
        self.prefix = prefix
        self._origins = list(origins)
        self._log_path = log_path
        self._folder = Path(tempfile.mkdtemp(prefix="workbench-pages-"))  # mkdtemp makes it 0700; paths must stay short
        self.socket = self._folder / "s"
        self._child: subprocess.Popen[bytes] | None = None
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once, `is_ready` tells when pages can be asked for."""
        self._spawn()
        self._watching = asyncio.get_event_loop().create_task(self._watch())

    def is_ready(self) -> bool:
        """Whether the socket takes connections."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(0.5)
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True

    async def told(self, reference: str, ticket: str, goes_on: bool) -> None:
        """Pass on the next ticket of a sign-in, or its end. A process that is not there learns it with the next request."""
        headers = {SIGN_IN_HEADER: reference, TICKET_HEADER: ticket}
        transport = httpx.AsyncHTTPTransport(uds=str(self.socket))
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(transport=transport, timeout=5) as http:
                await http.request("POST" if goes_on else "DELETE", f"http://pages{self.prefix}/_sign_in", headers=headers)

    async def stop(self) -> None:
        """End the process: its standard input closes, then SIGTERM, then SIGKILL."""
        if self._watching is not None:
            self._watching.cancel()
        child, self._child = self._child, None
        if child is not None:
            if child.stdin is not None:
                child.stdin.close()
            child.terminate()
            try:
                await asyncio.to_thread(child.wait, STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
                await asyncio.to_thread(child.wait)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _spawn(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in NOT_FOR_PAGES}
        command = [sys.executable, "-m", "workbench.app.serve", "--socket", str(self.socket), "--prefix", self.prefix]
        command += ["--node-url", self._node_url]
        for origin in self._origins:
            command += ["--origin", origin]
        with contextlib.ExitStack() as stack:
            out = None
            if self._log_path is not None:
                descriptor = os.open(self._log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                out = stack.enter_context(os.fdopen(descriptor, "ab"))
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out, env=environment)

    async def _watch(self) -> None:
        pause_s = WATCH_S
        while True:
            await asyncio.sleep(WATCH_S)
            if self._child is None or self._child.poll() is None:
                pause_s = WATCH_S
                continue
            log.error("the pages' process ended with %s; starting it again in %.0f s", self._child.returncode, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            self._spawn()
