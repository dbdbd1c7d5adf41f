"""What tests of evidence share: a released job that everybody has co-signed, and rows edited behind a node's back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workbench.contracts import PeerCall
from workbench.domain.party import Role

from tests.flows import population
from tests.flows.institutions import Institutions

MIRRORING = ("mirror", "pull")
"""Where entries and co-signatures travel: what a log sends, and what a mirror asks for that has been behind for a while."""


def no_sealing(call: PeerCall, to: str, header: Any) -> bytes | None:
    """A rule of the wire: nobody co-signs anything new."""
    return None if call.path in MIRRORING else call.body


def sealed_job(house: Institutions) -> str:
    """Id of a job of the broker with the bank, released and co-signed by every institution."""
    mine, _ = house.run("broker", "bank", population.RICH)
    house.wait_until(lambda: signed_by_all(house, mine.job) and is_complete(house, "broker"))
    return str(mine.job)


def is_complete(house: Institutions, party: str) -> bool:
    """Whether a node holds every log as far as it goes, under everybody's co-signature: what it says of a seal changes no more."""
    ledger, everybody = house.nodes[party].ledger, list(house.nodes[party].parties())
    sizes = {log: node.ledger.size(log) for log, node in house.nodes.items()}
    return all(
        ledger.size(log) == size and ledger.seal_state(log, size - 1, required=everybody).state == "FULL" for log, size in sizes.items()
    )


def signed_by_all(house: Institutions, job: str) -> bool:
    """Whether the broker holds both ends of the job and every institution's co-signature on both logs."""
    if len(timeline(house, job, kind="intersection.sealed").entries) < 2:
        return False
    logs = house.call("broker", Role.COMPLIANCE, "evidence.check", job=job).logs
    return all(one.valid for log in logs for one in log.signatures)


def edit_row(path: Path, index: int, change: Callable[[bytes], bytes]) -> Callable[[], None]:
    """Edit a row of an evidence.db as somebody with the file and the sqlite3 tool would; returns how to put it back."""

    def write(change: Callable[[bytes], bytes]) -> bytes:
        with sqlite3.connect(path, timeout=30) as database:
            triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE tbl_name = 'entry' AND type = 'trigger'")
            kept = triggers.fetchall()
            [before] = database.execute("SELECT body FROM entry WHERE idx = ?", (index,)).fetchone()
            for name, _ in kept:
                database.execute(f"DROP TRIGGER {name}")
            database.execute("UPDATE entry SET body = ? WHERE idx = ?", (change(before), index))
            for _, sql in kept:
                database.execute(sql)
        database.close()
        return bytes(before)

    before = write(change)

    def undo() -> None:
        write(lambda _: before)

    return undo


def change_body(house: Institutions, party: str, index: int, change: Callable[[bytes], bytes]) -> Callable[[], None]:
    """As `edit_row`, in the database of a running node."""
    return edit_row(house.nodes[party].folder / "evidence.db", index, change)


def index_of(house: Institutions, party: str, job: str, kind: str) -> int:
    return int(house.entries(party, job, kind)[0].ref.index)


def timeline(house: Institutions, job: str = "", role: Role = Role.COMPLIANCE, **request: Any) -> Any:
    return house.call("broker", role, "evidence.timeline", job=job, limit=1000, **request)
