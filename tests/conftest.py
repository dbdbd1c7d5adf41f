"""With CI=1 a test that would be skipped for a missing tool fails: what is skipped by name elsewhere must run there.

A browser test that ran out of time is tried once more: a loaded machine can hold up Chromium, Lab and three nodes at once
for longer than a page may take. Any other failure of it counts at once, and so does every failure elsewhere.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# One private place for compiled arithmetic: every node and key-management entity that a test starts would otherwise
# compile for itself, half a minute of processor time each.
_COMPILED = Path(tempfile.gettempdir()) / f"workbench-tests-compiled-{os.getuid()}"
_COMPILED.mkdir(mode=0o700, exist_ok=True)
os.environ.setdefault("NUMBA_CACHE_DIR", str(_COMPILED))

MAY_BE_SKIPPED = (
    "this account may not mount a small file system",
    "reads the assembler of x86",
    "this processor",
    "this OpenSSL does not know ML-DSA-44",
)
"""Beginnings of reasons that name the machine itself or its distribution, not a tool that `make system` can install."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=["TimeoutError", "Timeout"]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") != "1" or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2]).removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.startswith(MAY_BE_SKIPPED):
        report.outcome = "failed"
        report.longrepr = f"skipped with CI=1, which must have everything: {reason}"
