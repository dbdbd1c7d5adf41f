"""Which lease a question goes to, and which next where the first has no sandbox: by scenario and what runs (router)."""

from __future__ import annotations

from dataclasses import dataclass

from workbench_inference.asking.sandboxes import Sandboxes
from workbench_inference.leasing import rows
from workbench_inference.leasing.keys import Reader
from workbench_inference.leasing.rows import LeaseRow
from workbench_sandbox.engines.router import SCENARIOS, Candidate, choose
from workbench_sandbox.formats.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Route:
    """A running lease and what runs under it."""

    row: LeaseRow
    manifest: Manifest


def routes(sandboxes: Sandboxes, reader: Reader, *, scenario: str, model: str, now_ms: int) -> list[Route]:
    """Leases that take asks now, best first; empty without any. model: the one a person asked for, "" for whatever fits the scenario.

    Of each model the lease with the latest end. Where a person named one, no other model stands in for it.
    """
    taking = rows.taking(reader, lambda row: sandboxes.manifest(row).name, now_ms=now_ms)
    newest = {name: Route(row, sandboxes.manifest(row)) for name, row in taking.items()}
    if model:
        return [newest[model]] if model in newest else []
    able = [
        Candidate(name, one.manifest.engine.kind, one.manifest.engine.place, sandboxes.waiting(one.row.lease)) for name, one in newest.items()
    ]
    # Of a scenario that is none the rules say so; nothing is decided here.
    return [newest[name] for name in choose(scenario, able)] if scenario in SCENARIOS else list(newest.values())
