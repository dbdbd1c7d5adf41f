from __future__ import annotations

import types
from collections.abc import Callable

import pluggy
import pytest

from tests.host.house import plugin_module, with_plugins
from workbench.errors import StartRefused
from workbench.hookspecs import HookSpecs, hookimpl
from workbench.loading import PluginSet, found_entry_points, load_plugins, require_providers

wrapper = pluggy.HookimplMarker("workbench")


def answering(value: object) -> Callable[..., object]:
    """A hook implementation without arguments."""

    def implementation() -> object:
        return value

    return hookimpl(implementation)


@hookimpl
def workbench_ledger(host: object) -> str:
    return "a second ledger"


@hookimpl
def workbench_health(host: object) -> list[str]:
    raise RuntimeError("this check is broken")


def loaded(*plugins: tuple[str, Callable[[], object]]) -> PluginSet:
    return load_plugins(plugins)


def report_of(plugins: PluginSet, name: str) -> tuple[str, str]:
    return next((one.state, one.problem) for one in plugins.plugins if one.name == name)


def without(name: str) -> PluginSet:
    return load_plugins([(point.name, point.load) for point in found_entry_points() if point.name != name])


def test_every_installed_plugin_loads() -> None:
    plugins = load_plugins()
    assert {one.name: one.problem for one in plugins.plugins if one.state != "ok"} == {}
    assert {"psi", "ledger", "consent", "mutual_tls"} <= {one.name for one in plugins.plugins}
    require_providers(plugins)


def test_a_plugin_that_fails_to_import_is_reported_and_the_others_load() -> None:
    def broken() -> object:
        raise ImportError("no module named nowhere")

    plugins = loaded(("broken", broken), ("well", lambda: plugin_module("well", workbench_settings=answering([]))))
    assert report_of(plugins, "broken") == ("failed", "ImportError: no module named nowhere")
    assert report_of(plugins, "well") == ("ok", "")
    assert [name for name, _ in plugins.collect("workbench_settings")] == ["well"]


@pytest.mark.parametrize("stated", [None, 0, 2, "1"])
def test_a_plugin_for_another_major_version_is_left_out(stated: object) -> None:
    module = plugin_module("old", workbench_settings=answering(["never"]))
    module.WORKBENCH_API = stated  # type: ignore[attr-defined]  # modules take any attribute
    plugins = loaded(("old", lambda: module))
    assert report_of(plugins, "old")[0] == "incompatible"
    assert plugins.collect("workbench_settings") == []


def test_a_misspelt_hook_leaves_the_plugin_out_and_is_named() -> None:
    module = plugin_module("typo", workbench_dashbords=answering([]), workbench_settings=answering(["never"]))
    plugins = loaded(("typo", lambda: module))
    assert report_of(plugins, "typo") == ("failed", "unknown hooks: workbench_dashbords")
    assert plugins.collect("workbench_settings") == []


def test_a_plugin_that_asks_for_an_argument_the_hook_lacks_is_left_out() -> None:
    @hookimpl
    def workbench_settings(nonsense: object) -> list[object]:
        return []

    plugins = loaded(("odd", lambda: plugin_module("odd", workbench_settings=workbench_settings)))
    assert report_of(plugins, "odd")[0] == "failed"


@pytest.mark.parametrize(
    ("name", "code"), [("ledger", "PROVIDER_COUNT"), ("consent", "PROVIDER_COUNT"), ("mutual_tls", "NO_CHANNEL")]
)
def test_a_missing_provider_stops_the_start(name: str, code: str) -> None:
    with pytest.raises(StartRefused) as refused:
        require_providers(without(name))
    assert refused.value.code == code


def test_two_providers_stop_the_start_and_both_are_named() -> None:
    plugins = with_plugins(plugin_module("other", workbench_ledger=workbench_ledger))
    with pytest.raises(StartRefused, match="ledger, other|other, ledger"):
        require_providers(plugins)


def test_a_provider_that_failed_to_import_is_named_with_its_reason() -> None:
    def broken() -> object:
        raise RuntimeError("libcrypto is gone")

    sources: list[tuple[str, Callable[[], object]]] = [
        (point.name, broken if point.name == "ledger" else point.load) for point in found_entry_points()
    ]
    with pytest.raises(StartRefused, match="ledger: RuntimeError: libcrypto is gone"):
        require_providers(load_plugins(sources))


@pytest.mark.parametrize("options", [{"hookwrapper": True}, {"wrapper": True}])
def test_a_wrapper_around_a_provider_stops_the_start(options: dict[str, bool]) -> None:
    """A wrapper could answer in the provider's place, for example with a registry that lets everybody through."""

    def workbench_consent_registry(host: object) -> object:
        return (yield)

    module = plugin_module("wraps", workbench_consent_registry=wrapper(**options)(workbench_consent_registry))
    with pytest.raises(StartRefused) as refused:
        require_providers(with_plugins(module))
    assert refused.value.code == "PROVIDER_WRAPPED"


def test_one_implementation_that_raises_is_reported_and_the_others_answer() -> None:
    @hookimpl
    def workbench_health_of_well(host: object) -> list[str]:
        return ["well"]

    plugins = loaded(
        ("bad", lambda: plugin_module("bad", workbench_health=workbench_health)),
        ("good", lambda: plugin_module("good", workbench_health=workbench_health_of_well)),
    )
    faults: dict[str, Exception] = {}
    answers = plugins.collect("workbench_health", failed=faults.__setitem__, host=object())
    assert answers == [("good", ["well"])]
    assert [str(one) for one in faults.values()] == ["this check is broken"] and list(faults) == ["bad"]
    with pytest.raises(RuntimeError, match="this check is broken"):
        plugins.collect("workbench_health", host=object())


def test_two_workbenches_do_not_share_their_plugins() -> None:
    """One manager an object, never a global: three institutions in one process may run different plugins."""
    one = loaded(("well", lambda: plugin_module("well", workbench_settings=answering(["a"]))))
    other = loaded()
    assert one.collect_all("workbench_settings") == ["a"]
    assert other.collect_all("workbench_settings") == []


def test_the_version_of_a_plugin_is_its_own_or_the_distributions() -> None:
    bare = types.ModuleType("bare")
    bare.WORKBENCH_API = 1  # type: ignore[attr-defined]
    plugins = loaded(("own", lambda: plugin_module("own")), ("bare", lambda: bare))
    versions = {one.name: one.version for one in plugins.plugins}
    assert versions["own"] == "9.9"
    assert versions["bare"].startswith("0.")


def test_no_hook_of_the_page_is_without_words() -> None:
    for name, function in vars(HookSpecs).items():
        if name.startswith("workbench_"):
            assert function.__doc__, name
            assert "return" in function.__annotations__, name
