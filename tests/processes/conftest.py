"""One workspace of three node processes for all tests here, made and filled by the commands that staff use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.supervisor import stop_nodes
from workbench.workspace import load_workspace

from tests.flows import population
from tests.flows.institutions import write_settings
from tests.processes.live import STEP_TIMEOUT_S, Live, workbench


@pytest.fixture(scope="package")
def live() -> Iterator[Live]:
    shared = Path("/dev/shm")
    base = Path(tempfile.mkdtemp(prefix="workbench-processes-", dir=shared if os.access(shared, os.W_OK) else None))
    folder = base / "workspace"
    made = {"init": workbench("init", folder, "--empty", "--json")}
    workspace = load_workspace(folder)
    try:
        for party in workspace.parties:
            write_settings(workspace, party, node__step_timeout_s=STEP_TIMEOUT_S, node__max_request_bytes=200_000)
        made["up"] = workbench("up", folder, "--detach", "--json")
        for party in workspace.parties:
            customers, grants = population.write(base / "files", party, (population.RICH, "customer-service", "test-40"))
            made[f"customers {party}"] = workbench("import", "customers", folder, "--party", party, customers, "--json")
            made[f"consents {party}"] = workbench("import", "consents", folder, "--party", party, grants, "--json")
        yield Live(workspace, made)
    finally:
        stop_nodes(workspace)
        shutil.rmtree(base, ignore_errors=True)
