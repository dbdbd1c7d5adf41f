"""The machine code of the arithmetic, made once at the beginning of a shared run (`make test`) and not by every process it starts.

With an empty folder of compiled code six nodes and two key-management entities begin at the same time, and each would compile
for itself what it finds missing: ten seconds of processor time, where loading takes less than one. The workers divide the parts,
while they collect; a part that another worker makes is waited for.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

PARTS = {
    "curve": ("workbench_psi.curve", "warm_up"),
    "sm3": ("workbench.crypto.sm3", "warm_up"),
    "distilling": ("workbench_kme.distill.known_answers", "self_test"),
}
"""Part -> a module and a function of it that leaves its machine code in NUMBA_CACHE_DIR."""


def begin(worker: str) -> subprocess.Popen[bytes]:
    """A process that returns when all parts are there. worker: "gw0", "gw1", …; every second one begins at the other end."""
    parts = list(PARTS) if int(worker.removeprefix("gw")) % 2 == 0 else list(PARTS)[::-1]
    return subprocess.Popen([sys.executable, "-m", __name__, *parts], cwd=Path(__file__).parents[1])


def main(parts: list[str]) -> None:
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    for part in parts:
        with (folder / f"{part}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file is closed, also by a process that is killed
            module, function = PARTS[part]
            getattr(import_module(module), function)()


if __name__ == "__main__":
    main(sys.argv[1:])
