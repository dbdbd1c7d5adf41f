"""Processes that outlive whoever starts them: known by what they were started with, ended in good order or killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.programs import Program, end, kill, last_error

SOURCE = """
import signal, sys, pathlib
folder, manner = pathlib.Path(sys.argv[1]), sys.argv[2]
if manner == "fails":
    sys.exit('{"code": "NO", "zh": "不", "en": "no"}\\nand one line more')
if manner == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit((folder / "ended").write_text("in good order") and 0))
(folder / "passphrase").write_text(sys.stdin.readline())
while True:
    signal.pause()
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[[str], tuple[Program, int]]:
    (tmp_path / "obstinate.py").write_text(SOURCE)

    def started(manner: str) -> tuple[Program, int]:
        program = Program("obstinate", (str(tmp_path), manner))
        child = program.start(log=tmp_path / "log", passphrase="words of its own", environment={"PYTHONPATH": str(tmp_path)})
        if manner == "fails":
            child.wait(timeout=20)
        else:
            limit = time.monotonic() + 20
            told = tmp_path / "passphrase"  # there a moment before it holds anything
            while not (told.exists() and told.read_text()) and time.monotonic() < limit:
                time.sleep(0.01)
        return program, child.pid

    return started


def test_a_frozen_process_ends_in_good_order_and_its_id_is_its_own_no_longer(tmp_path: Path, start: Callable[[str], tuple[Program, int]]) -> None:
    program, pid = start("good")
    assert (tmp_path / "passphrase").read_text() == "words of its own\n" and program.is_process(pid)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    os.kill(pid, signal.SIGSTOP)
    end([(program, pid)], timeout_s=20)
    assert (tmp_path / "ended").read_text() == "in good order" and not program.is_process(pid)
    kill(program, pid)  # nothing is there to kill, and nothing else is touched


def test_a_process_that_will_not_end_is_killed_and_one_of_other_arguments_is_left_alone(
    tmp_path: Path, start: Callable[[str], tuple[Program, int]]
) -> None:
    program, pid = start("stubborn")
    other = Program("obstinate", (str(tmp_path), "good"))
    assert not other.is_process(pid) and not other.is_process(os.getpid())
    end([(other, pid)], timeout_s=0)
    kill(other, pid)
    assert program.is_process(pid)
    end([(program, pid)], timeout_s=0)
    assert not program.is_process(pid)


def test_what_a_program_said_before_it_failed_is_found_in_its_log(tmp_path: Path, start: Callable[[str], tuple[Program, int]]) -> None:
    program, pid = start("fails")
    assert not program.is_process(pid)
    assert last_error(tmp_path / "log") == {"code": "NO", "zh": "不", "en": "no"}
    (tmp_path / "log").write_text("nothing of ours\n{torn")
    assert last_error(tmp_path / "log") == {}
