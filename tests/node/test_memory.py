"""A process that was arranged gives memory back as soon as it is freed."""

from __future__ import annotations

import json
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import json, os, pathlib
from workbench.node.memory import give_back_promptly
give_back_promptly()
import numpy as np

def resident_mb():
    line = next(one for one in open("/proc/self/status") if one.startswith("VmRSS"))
    return int(line.split()[1]) / 1000

# The library's own limit rises with the first large block that is freed; then blocks lie beside small ones that stay.
np.ones(30 << 20, np.uint8)
start, held, kept = resident_mb(), [], []
for number in range(40):
    held.append(np.ones(4 << 20, np.uint8))
    kept.append(np.ones(100, np.uint8))
full = resident_mb()
held = held[-1:]
print(json.dumps([full - start, resident_mb() - start, sorted(set(os.environ) & {"_RJEM_MALLOC_CONF"})]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is arranged")
def test_large_blocks_are_given_back_when_they_are_freed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    full, left, told = json.loads(done.stdout)
    assert full > 150 and left < 30, (full, left)
    assert told == ["_RJEM_MALLOC_CONF"]
