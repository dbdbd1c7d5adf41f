"""One provider for all modules: its image is made and measured once; each module has a server of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox.world import World


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("provider"))
    try:
        world.make_image()
        yield world
    finally:
        world.close()
