"""Finding and loading plugins: a faulty plugin is isolated and reported, a missing or doubled provider stops the start.

Plugins are trusted code (decision 20): the isolation covers faults, not malice.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, version
from types import ModuleType
from typing import Any

import pluggy

from workbench.contracts import API_MAJOR
from workbench.errors import StartRefused
from workbench.hookspecs import SINGLE_PROVIDER_HOOKS, HookSpecs

GROUP = "workbench.plugins"


@dataclass(frozen=True, slots=True)
class LoadedPlugin:
    """What became of one plugin. state: "ok", "failed" or "incompatible"; problem: one line when it is not "ok"."""

    name: str
    module: str
    version: str
    state: str
    problem: str = ""
    load_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class PluginSet:
    """The plugin manager of one workbench with the report on every plugin that was found."""

    manager: pluggy.PluginManager
    plugins: tuple[LoadedPlugin, ...]

    def collect(
        self, hook: str, *, failed: Callable[[str, Exception], None] | None = None, **arguments: Any
    ) -> list[tuple[str, Any]]:
        """Call a hook plugin by plugin and return (plugin name, value) for each implementation.

        With `failed`, an implementation that raises is reported there and the others still answer; without it the
        exception passes.
        """
        results: list[tuple[str, Any]] = []
        caller = getattr(self.manager.hook, hook)
        for implementation in caller.get_hookimpls():
            chosen = {name: arguments[name] for name in implementation.argnames if name in arguments}
            try:
                results.append((implementation.plugin_name, implementation.function(**chosen)))
            except Exception as error:  # a plugin may fail in any way; the host reports it and lives on
                if failed is None:
                    raise
                failed(implementation.plugin_name, error)
        return results

    def collect_all(self, hook: str, **arguments: Any) -> list[Any]:
        """The values of a hook that returns sequences, joined."""
        return [item for _, values in self.collect(hook, **arguments) for item in values]


def found_entry_points() -> Sequence[EntryPoint]:
    """Entry points of the group workbench.plugins in the order of their names."""
    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def load_plugins(sources: Iterable[tuple[str, Callable[[], object]]] | None = None) -> PluginSet:
    """Load all plugins one by one.

    sources: (name, loader) pairs for tests; the installed entry points by default.
    A plugin that fails to import, states another WORKBENCH_API, or implements a hook that does not exist is left out
    and reported. Raises nothing.
    """
    manager = pluggy.PluginManager("workbench")
    manager.add_hookspecs(HookSpecs)
    if sources is None:
        sources = [(point.name, _loader(point)) for point in found_entry_points()]
    reports = [_load_one(manager, name, load) for name, load in sources]
    return PluginSet(manager=manager, plugins=tuple(reports))


def require_providers(plugins: PluginSet) -> None:
    """Refuse a start without exactly one consent registry and ledger and at least one channel, or with a wrapper."""
    failures = "; ".join(f"{one.name}: {one.problem}" for one in plugins.plugins if one.state != "ok")
    for hook in SINGLE_PROVIDER_HOOKS:
        implementations = getattr(plugins.manager.hook, hook).get_hookimpls()
        if any(one.hookwrapper or one.wrapper for one in implementations):
            raise StartRefused(
                f"「{hook}」外面套了包装，节点不启动。管理员移除该插件",
                f"A plugin wraps {hook}; the node does not start. An administrator removes that plugin",
                code="PROVIDER_WRAPPED",
            )
        if len(implementations) != 1:
            names = ", ".join(one.plugin_name for one in implementations) or "none"
            raise StartRefused(
                f"「{hook}」须恰好有一个提供者，现有：{names}。管理员检查插件。{failures}",
                f"{hook} needs exactly one provider, found: {names}. An administrator checks the plugins. {failures}",
                code="PROVIDER_COUNT",
            )
    if not plugins.manager.hook.workbench_channels.get_hookimpls():
        raise StartRefused(
            f"没有任何通道，节点不启动。管理员安装通道插件。{failures}",
            f"There is no channel; the node does not start. An administrator installs a channel plugin. {failures}",
            code="NO_CHANNEL",
        )


def _loader(point: EntryPoint) -> Callable[[], object]:
    return lambda: importlib.import_module(point.value)


def _load_one(manager: pluggy.PluginManager, name: str, load: Callable[[], object]) -> LoadedPlugin:
    started = time.perf_counter()
    module_name = name
    try:
        plugin = load()
        module_name = plugin.__name__ if isinstance(plugin, ModuleType) else type(plugin).__name__
        major = getattr(plugin, "WORKBENCH_API", None)
        if major != API_MAJOR:
            return LoadedPlugin(name, module_name, "", "incompatible", f"WORKBENCH_API is {major}, host has {API_MAJOR}")
        unknown = _unknown_hooks(manager, plugin)
        if unknown:
            return LoadedPlugin(name, module_name, "", "failed", f"unknown hooks: {', '.join(unknown)}")
        manager.register(plugin, name=name)
    except Exception as error:  # import of foreign code may raise anything
        return LoadedPlugin(name, module_name, "", "failed", f"{type(error).__name__}: {error}")
    elapsed_ms = (time.perf_counter() - started) * 1000
    return LoadedPlugin(name, module_name, _version_of(plugin), "ok", load_ms=elapsed_ms)


def _unknown_hooks(manager: pluggy.PluginManager, plugin: object) -> list[str]:
    """Hook implementations whose name no specification has: nearly always a misspelling."""
    marked = [name for name in dir(plugin) if manager.parse_hookimpl_opts(plugin, name) is not None]
    return [name for name in marked if not hasattr(HookSpecs, name)]


def _version_of(plugin: object) -> str:
    stated = getattr(plugin, "__version__", None)
    return str(stated) if stated else version("evidence-workbench")
