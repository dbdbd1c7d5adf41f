"""Two ends as two processes of the operating system that share nothing but the messages between them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("distill_child.py")


def _carry(source: subprocess.Popen[bytes], target: subprocess.Popen[bytes], seen: list[bytes]) -> None:
    assert source.stdout is not None and target.stdin is not None
    while size := source.stdout.read(4):
        message = source.stdout.read(int.from_bytes(size, "big"))
        seen.append(message)
        try:
            target.stdin.write(size + message)
            target.stdin.flush()
        except BrokenPipeError:
            break
    target.stdin.close()


@pytest.mark.timeout(120)
def test_two_processes_that_exchange_only_messages_hold_the_same_keys() -> None:
    both = [
        subprocess.Popen([sys.executable, str(CHILD), role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for role in ("sender", "receiver")
    ]
    seen: tuple[list[bytes], list[bytes]] = ([], [])
    carriers = [
        threading.Thread(target=_carry, args=(both[0], both[1], seen[0])),
        threading.Thread(target=_carry, args=(both[1], both[0], seen[1])),
    ]
    for carrier in carriers:
        carrier.start()
    try:
        errors = [child.stderr.read().decode() for child in both if child.stderr is not None]
        codes = [child.wait(timeout=60) for child in both]
    finally:
        for child in both:
            child.kill()
            child.wait()
        for carrier in carriers:
            carrier.join()
    assert codes == [0, 0], errors
    assert errors[0] == errors[1]
    sifted, keys, _, aborted = errors[0].rstrip("\n").split(" ")
    assert int(keys) >= 100 and aborted == ""
    assert 20 < len(seen[0]) + len(seen[1]) < 400, "rounds are shared by all frames of a block"
    assert sum(map(len, seen[0] + seen[1])) < 6 * int(sifted)
