"""One running workspace for most tests of the flow; each test takes a purpose of its own to spoil."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.flows import population
from tests.flows.institutions import Institutions, fresh_institutions, fresh_workspace, running

_SPARE = iter(population.SPARE)


@pytest.fixture(scope="session")
def shared() -> Iterator[Institutions]:
    with running(fresh_workspace()) as made:
        yield made


@pytest.fixture
def three(shared: Institutions) -> Iterator[Institutions]:
    """The shared institutions, all running and with an undisturbed wire."""
    yield shared
    shared.wire.mend()
    shared.wire.keeps, shared.wire.calls = False, []
    for party in shared.workspace.parties:
        if party not in shared.nodes:
            shared.start(party)


@pytest.fixture
def apart() -> Iterator[Institutions]:
    """Institutions of this test alone."""
    with fresh_institutions() as made:
        yield made


@pytest.fixture
def purpose() -> str:
    """A purpose that no other test uses: everybody but a few has granted it."""
    return next(_SPARE)
