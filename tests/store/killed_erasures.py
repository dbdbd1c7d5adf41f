"""Erases a customer and kills itself at every step in turn: run by test_killed_erasures.py.

`python killed_erasures.py STAGE TEMPLATE TARGET`: for n = 1, 2, … a process of its own opens a copy of the institution in
TEMPLATE as TARGET/n and does the stage, and ends itself with SIGKILL at step n. Steps are: a change whose statements have
run and that is not committed; a change that is; a file of a signed form about to be destroyed, and destroyed. The copy in
which no step was left to kill at is the last one. The processes are forked before anything has started a thread.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from tests.host.house import House, copied, opened, with_plugins
from workbench.domain.party import Role
from workbench.store import blobs
from workbench.store.database import Database
from workbench.workspace import load_workspace

THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS"), "1")
PHONE = "10000000001"
REASON = "asked for it in writing"
AFTER_ALL_TERMS_H = 24 * 365 * 30


class Steps:
    """Counts what has been done; the process ends at the step given."""

    def __init__(self, last: int) -> None:
        self._left = last

    def __call__(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def put_in_place(steps: Steps) -> None:
    """Steps around every change of the database and every file of a form that goes."""
    write, destroy = Database.write, blobs._destroy

    def stepped_write(store: Database, change: Callable[[Any], Any], **keywords: Any) -> Any:
        def until_commit(tx: Any) -> Any:
            result = change(tx)
            steps()
            return result

        result = write(store, until_commit, **keywords)
        steps()
        return result

    def stepped_destroy(path: Path) -> None:
        steps()
        destroy(path)
        steps()

    Database.write = stepped_write  # type: ignore[method-assign,assignment]
    blobs._destroy = stepped_destroy


def first_stage(house: House) -> None:
    """Ask and erase, as compliance of a test workspace does in one go."""
    house.node.erasure.ask(house.caller(Role.COMPLIANCE), phone=PHONE, id_no="", reason=REASON)


def second_stage(house: House) -> None:
    """The sweep after the last term has ended."""
    house.clock.forward(hours=AFTER_ALL_TERMS_H)
    house.node.erasure.sweep()


STAGES = {"first": first_stage, "second": second_stage}


def run(stage: str, template: Path, target: Path, last: int) -> None:
    with opened(copied(load_workspace(template), target)) as house:
        put_in_place(Steps(last))
        STAGES[stage](house)


def main(stage: str, template: Path, target: Path) -> None:
    with_plugins()  # imported once for all
    assert threading.active_count() == 1
    for last in count(1):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                run(stage, template, target / str(last), last)
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
