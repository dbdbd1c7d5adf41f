"""A fresh institution for each test of the host, copied from one that is made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.house import House, copied, opened, template
from workbench.workspace import Workspace


@pytest.fixture(scope="session")
def institution(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return template(tmp_path_factory.mktemp("host"))


@pytest.fixture
def workspace(institution: Workspace, tmp_path: Path) -> Workspace:
    return copied(institution, tmp_path / "workspace")


@pytest.fixture
def house(workspace: Workspace) -> Iterator[House]:
    with opened(workspace) as made:
        yield made
