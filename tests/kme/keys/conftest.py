"""Devices are opened once for all tests of this folder; every test has key stores of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench_kme.devices import Session

from key_world import PIN, TOKEN, TwoEnds, make_device


@pytest.fixture(scope="session")
def sessions() -> Iterator[tuple[Session, Session]]:
    with make_device(b"sender") as first, make_device(b"receiver") as second:
        yield first.open_session(), second.open_session()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of small commits wait for no disk."""
    shared = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="kme-", dir=shared if shared.is_dir() else None))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def ends(folder: Path, sessions: tuple[Session, Session]) -> Iterator[TwoEnds]:
    world = TwoEnds(folder, sessions)
    yield world
    world.close()


@pytest.fixture(scope="session")
def token_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a fresh SoftHSM2 token. The library reads its configuration once in a process."""
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", "ascii"
    )
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(configuration)
    call = ["softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "5678"]
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    yield folder
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before
