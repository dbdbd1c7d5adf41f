"""The line of a demo workspace, where the plugin of the quantum channel is installed: made, started and stopped with the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from workbench.commands.common import say
from workbench.errors import Refused, WorkbenchError
from workbench.workspace import Workspace

MODULE = "workbench_qkd.demonstration"
KEYS_S = 120.0


def make_line(workspace: Workspace, *ends: Sequence[str]) -> None:
    """A line between the two institutions of each pair, once; nodes must be stopped. Without the plugin nothing happens."""
    module = _module(workspace)
    if module is not None:
        module.make(workspace.folder, *ends)


def start_line(workspace: Workspace) -> None:
    """Start what `make_line` made. A demonstration goes on without it, and says so."""
    module = _module(workspace)
    if module is None:
        return
    try:
        started = module.start(workspace.folder)
    except (WorkbenchError, OSError) as error:
        reason = error.zh if isinstance(error, WorkbenchError) else type(error).__name__
        say(f"量子通道没有启动：{reason} / the quantum channel did not start; the nodes run")
        return
    if started:
        say(f"密钥管理实体已启动：{'、'.join(started)}（模拟线路）/ key-management entities started (simulated line)")


def carry_over_line(workspace: Workspace, ends: Sequence[str]) -> None:
    """Have the two nodes call one another over the channel of their line; they must be stopped. Refused without the plugin."""
    module = _module(workspace)
    if module is None:
        raise Refused("没有安装量子通道插件", "The plugin of the quantum channel is not installed", code="NOT_INSTALLED")
    module.carry(workspace.folder, ends)


def await_line(workspace: Workspace, ends: Sequence[str]) -> None:
    """Return when the line of the two nodes has keys: nothing goes another way. Raises Refused KEY_EXHAUSTED."""
    say("等线路成码，首次需编译 / waiting for keys of the line, a first start compiles")
    module = _module(workspace)
    if module is None or not module.await_keys(workspace.folder, ends, limit_s=KEYS_S):
        raise Refused(
            f"线路 {KEYS_S:.0f} 秒内没有密钥，见 kme 各目录的 run/kme.log；不改走其他通道", f"The line had no keys within {KEYS_S:.0f} s, see run/kme.log of each folder in kme; no other channel is used",
            code="KEY_EXHAUSTED",
        )  # fmt: skip


def stop_line(workspace: Workspace) -> None:
    """Stop it."""
    module = _module(workspace)
    if module is not None:
        module.stop(workspace.folder)


def _module(workspace: Workspace) -> Any:  # Any: a module of a plugin, which this program does not know; None where there is none
    try:
        return import_module(MODULE) if workspace.kind == "demo" else None
    except ImportError:
        return None


__all__ = ["await_line", "carry_over_line", "make_line", "start_line", "stop_line"]
