"""One institution for the tests of documents, made once: keys and password hashes take a second."""

from __future__ import annotations

import pytest

from tests.host.house import template
from workbench.workspace import Workspace


@pytest.fixture(scope="session")
def made_institution(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Copy it before anything is written: `tests.host.house.copied`."""
    return template(tmp_path_factory.mktemp("institution"))
