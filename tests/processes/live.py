"""A workspace whose nodes are real processes with mutual TLS between them, driven by the command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.cli import main
from workbench.client.session import Client, sign_in
from workbench.domain.party import PartyId, Role
from workbench.supervisor import running_nodes, start_nodes
from workbench.workspace import Workspace

STEP_TIMEOUT_S = 8


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit status, standard output as text, and its one JSON object where it has one."""

    status: int
    out: str
    err: str

    @property
    def value(self) -> dict[str, Any]:
        lines = self.out.strip().splitlines()
        assert len(lines) == 1, f"standard output is not one JSON object: {self.out!r}"
        value: dict[str, Any] = json.loads(lines[0])
        return value


def workbench(*arguments: object) -> Outcome:
    """Run one command in this process, exactly as the installed script does."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(one) for one in arguments])
        except SystemExit as left:
            status = int(left.code or 0)
    return Outcome(status, out.getvalue(), err.getvalue())


@dataclass
class Live:
    """The running workspace. made: what the commands that made it printed."""

    workspace: Workspace
    made: dict[str, Outcome]

    @property
    def folder(self) -> Path:
        return self.workspace.folder

    @contextlib.contextmanager
    def client(self, party: str, role: Role) -> Iterator[Client]:
        account, password = self.workspace.sign_in(party, role)
        with sign_in(running_nodes(self.workspace)[PartyId(party)].staff_url, account, password) as client:
            yield client

    def signal(self, party: str, number: signal.Signals) -> None:
        """A signal to the node of a party, which this workspace started."""
        os.kill(running_nodes(self.workspace)[PartyId(party)].pid, number)

    def restart(self, party: str) -> None:
        start_nodes(self.workspace, parties=(PartyId(party),))

    def rows(self, party: str, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a party's database, read from outside."""
        path = self.workspace.node_folder(party) / "evidence.db"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as reader:
            return reader.execute(sql, values).fetchall()

    def state(self, party: str, job: str) -> str:
        return str(self.rows(party, "SELECT state FROM host_job WHERE job = ?", job)[0][0])

    def messages(self, party: str, job: str) -> int:
        """How many frames of a job this party has recorded."""
        sql = "SELECT count(*) FROM evidence_index WHERE job = ? AND kind = 'intersection.message'"
        return int(self.rows(party, sql, job)[0][0])

    def size(self, party: str) -> int:
        """How many entries a party's own log has."""
        return int(self.rows(party, "SELECT count(*) FROM entry")[0][0])

    def nobody_is_behind(self, party: str) -> bool:
        """Whether all three have signed a party's whole log; read from the file: asking the node would leave an entry, a sign-in."""
        signed = self.rows(party, "SELECT signer, max(size) FROM ledger_cosignature WHERE log = ? GROUP BY signer", party)
        return len(signed) == 3 and {size for _, size in signed} == {self.size(party)}

    def refusals(self, party: str, code: str) -> int:
        """How many refusals of peers with this code are in a party's own log, read as text."""
        sql = "SELECT count(*) FROM entry WHERE CAST(body AS TEXT) LIKE '%\"peer.refused\"%' AND CAST(body AS TEXT) LIKE ?"
        return int(self.rows(party, sql, f'%"code":"{code}"%')[0][0])


def wait_until(claim: Callable[[], bool], *, limit_s: float, what: str, pause_s: float = 0.02) -> float:
    """Seconds until the claim held; AssertionError beyond the limit."""
    start = time.monotonic()
    while not claim():
        assert time.monotonic() - start < limit_s, f"{what}: not within {limit_s} s"
        time.sleep(pause_s)
    return time.monotonic() - start
