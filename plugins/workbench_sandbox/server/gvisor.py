"""Isolation by gVisor (`runsc`): the level exists, this version starts none. Document: docs/protocols/sandbox.md sections 6 and 7."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from workbench.errors import StartRefused
from workbench_sandbox.server.isolation import Missing, PidRecord, Running, StartPlan


def find_program() -> str:
    """Where `runsc` is, "" where it is not."""
    return shutil.which("runsc") or ""


class Gvisor:
    """`Isolation` by gVisor: says what is missing, and refuses to start until it is built."""

    name = "gvisor"
    assurance = "gvisor"

    def available(self) -> Sequence[Missing]:
        """Always something: no package brings `runsc`, and this version has no launcher for it."""
        missing = []
        if not find_program():
            missing.append(Missing("files", "未安装 runsc（gVisor），没有软件包提供它", "runsc (gVisor) is not installed; no package brings it"))
        missing.append(Missing("filter", "本版本尚不启动 gVisor 沙箱", "this version starts no sandbox under gVisor"))
        return missing

    def start(self, plan: StartPlan, record: PidRecord) -> Running:
        """Raises StartRefused (SANDBOX_START): an order for this level is refused before it comes to this."""
        raise StartRefused(
            "本版本尚不启动 gVisor 沙箱，未启动任何程序；请改用 process 级别",
            "this version starts no sandbox under gVisor and nothing was started; order level process",
            code="SANDBOX_START",
        )
