"""How `make test` shares the files between its two workers: what is long goes first, and folders that share an expensive set-up
(nodes as processes, a JupyterLab) stay with one worker, which makes it once.

Without this xdist begins with the files that have the most tests. The long ones have few: they came last, one worker waited for
the other, and both started three nodes, a Lab and an institution of every kind.
"""

from __future__ import annotations

from typing import Any

import pytest

TOGETHER = {
    "browser": "a Lab and three nodes",
    "jupyter": "a Lab and three nodes",
    "processes": "tests/processes",
    "qkd": "tests/qkd",
    "rights": "tests/rights",
    "assessment": "tests/assessment",
    "package": "tests/package",
    "anchor": "tests/anchor",
}
"""Folder -> the name of what its files share."""

ALONE = ("tests/browser/test_quantum_page.py",)
"""Files of those folders that have a set-up of their own."""

LONGEST_FIRST = (
    "a Lab and three nodes", "tests/processes", "tests/qkd", "tests/host/test_demo.py", "tests/host/test_enrolled_apart.py",
    "tests/flows/test_stops.py", "tests/node/test_roles.py", "tests/rights", "tests/node/test_openapi.py",
    "tests/browser/test_quantum_page.py", "tests/store/test_killed_erasures.py", "tests/assessment", "tests/package", "tests/anchor",
    "tests/kme/service/test_kme_pair.py", "tests/kme/service/test_kme_distilling.py", "tests/flows/test_wire.py",
    "tests/flows/test_withdrawal.py", "tests/app/test_intersection_drafts.py", "tests/flows/test_consent_receipts.py",
    "tests/flows/test_four_institutions.py", "tests/app/test_evidence_explorer.py", "tests/app/test_consent_page.py",
    "tests/flows/test_consent_boundaries.py", "tests/flows/test_evidence_reading.py", "tests/flows/test_good_path.py",
    "tests/flows/test_letters.py", "tests/flows/test_members.py", "tests/store/test_killed.py", "tests/ledger/test_killed_nodes.py",
)  # fmt: skip
"""Units that take more than about twenty seconds; a name that is no longer there does no harm."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The scheduler of `--dist loadfile`; xdist's own for every other way of sharing."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class LongestFirst(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

        def remove_node(self, node: Any) -> str | None:
            # xdist would hand out again what a crashed worker had finished: nothing to run, no report, and all wait for ever.
            units = self.assigned_work[node]
            self.assigned_work[node] = {name: unit for name, unit in units.items() if not all(unit.values())}
            return super().remove_node(node)

        def _assign_work_unit(self, node: Any) -> None:
            self.workqueue.move_to_end(min(self.workqueue, key=_rank), last=False)
            super()._assign_work_unit(node)

    return LongestFirst(config, log)


def unit_of(nodeid: str) -> str:
    """What a test goes with: its file, or all that shares its set-up."""
    file = nodeid.partition("::")[0]
    folder = file.removeprefix("tests/").partition("/")[0]
    return file if file in ALONE else TOGETHER.get(folder, file)


def _rank(unit: str) -> int:
    return LONGEST_FIRST.index(unit) if unit in LONGEST_FIRST else len(LONGEST_FIRST)
