"""Which sources there are: three of this package, and those that other distributions name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeAlias

from workbench.errors import StartRefused
from workbench_kme.sources.contract import KeySource, SourceContext

GROUP = "workbench_kme.sources"
PROVENANCES = ("simulated", "device-014", "imported")
_OWN = {
    "simulated": "workbench_kme.sources.simulated:Simulated",
    "device-014": "workbench_kme.sources.device_014:Device014",
    "imported": "workbench_kme.sources.imported:Imported",
}

SourceClass: TypeAlias = Callable[[SourceContext], KeySource]


def source_names(found: list[EntryPoint] | None = None) -> list[str]:
    """Names of all sources, sorted. found: entry points of the group, by default those installed."""
    return sorted({*_OWN, *(one.name for one in _others(found))})


def source_class(name: str, found: list[EntryPoint] | None = None) -> SourceClass:
    """The class of a source. Raises StartRefused: unknown, named twice, or of a provenance that does not exist."""
    if name in _OWN:
        module, _, attribute = _OWN[name].partition(":")
        # Any: the class is checked below as one from elsewhere is.
        chosen: Any = getattr(import_module(module), attribute)
    else:
        named = [one for one in _others(found) if one.name == name]
        if len(named) != 1:
            raise StartRefused(
                f"密钥来源 {name} 未安装或重名：请运维人员核对已安装的软件包",
                f"the key source {name} is not installed, or is there twice: operators must check installed packages",
                code="KME_SOURCE",
            )
        chosen = named[0].load()
    if getattr(chosen, "name", "") != name or getattr(chosen, "provenance", "") not in PROVENANCES:
        raise StartRefused(
            f"密钥来源 {name} 自述的名称或来源类别不符",
            f"the key source {name} calls itself otherwise, or names a provenance that does not exist",
            code="KME_SOURCE",
        )
    source: SourceClass = chosen
    return source


def _others(found: list[EntryPoint] | None) -> list[EntryPoint]:
    """Entry points of the group; a name of our own is not theirs to take."""
    listed = list(entry_points(group=GROUP)) if found is None else found
    for one in listed:
        if one.name in _OWN:
            raise StartRefused(
                f"软件包想要取代内置密钥来源 {one.name}：请卸载它",
                f"an installed package would replace the built-in key source {one.name}: remove it",
                code="KME_SOURCE",
            )
    return listed
