"""With CI=1 a test that would be skipped for a missing tool fails: what is skipped by name elsewhere must run there.

A test over real processes, sockets, threads or a browser that fails is run once more: a loaded machine can hold up Chromium,
Lab and three nodes at once for longer than any of them may take. The summary lists each such test by name (RERUN), and one that
stands there is looked into like a failure: several were faults of the product. A failure elsewhere counts at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import compiling, stretching
from tests.sharing import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler
from tests.stretching import full_cost as full_cost

stretching.choose(stretching.LEAST)
# No test fails for being slow: a loaded machine takes 200 ms, hypothesis' limit, over anything.
settings.register_profile("workbench", parent=settings.default, deadline=None)
settings.load_profile("workbench")

# One private place for compiled arithmetic: every node and key-management entity that a test starts would otherwise
# compile for itself, half a minute of processor time each.
_COMPILED = Path(tempfile.gettempdir()) / f"workbench-tests-compiled-{os.getuid()}"
_COMPILED.mkdir(mode=0o700, exist_ok=True)
os.environ.setdefault("NUMBA_CACHE_DIR", str(_COMPILED))
# Nor does each of them compile the sources anew where the environment forbids to keep bytecode: a third of a second each.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

MAY_BE_SKIPPED = (
    "this account may not mount a small file system",
    "this kernel",
    "reads the assembler of x86",
    "this processor",
    "this OpenSSL does not know ML-DSA-44",
    "openvino-genai (extra gen)",
    "runsc (gVisor) is not installed",
)
"""Beginnings of reasons that name the machine itself or its distribution, not a tool that `make system` can install; and the
generator, whose model asks for a package that has no wheel, so that no pinned install can bring it (decision 0001); and
gVisor, which not every distribution packages: `make system` installs it where apt knows it."""


_BEGUN = pytest.StashKey[subprocess.Popen[bytes]]()

LIVE = (
    "anchor", "app", "assessment", "browser", "flows", "host", "inference", "jupyter", "kme", "mutual_tls", "node", "package", "privacy", "processes",
    "qkd", "rights", "sandbox", "security",
)  # fmt: skip
"""Folders whose tests start processes, listen on sockets or wait for threads of a node."""


def pytest_sessionstart(session: pytest.Session) -> None:
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        session.stash[_BEGUN] = compiling.begin(worker)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    if _BEGUN in session.stash:
        # Nothing depends on it: what could not be compiled here fails in the tests that need it.
        session.stash[_BEGUN].wait()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.get_closest_marker("browser") or item.path.relative_to(here).parts[0] in LIVE:
            item.add_marker(pytest.mark.flaky(reruns=1))


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
