"""One sealed world and its package for the tests of this folder; programs assembled once."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.world import BANK, BROKER, World
from tests.package.package_world import build, order_of, write_verifier
from workbench_ledger.package.assemble import engine_js
from workbench_ledger.package.verifier import formats

Cases = list[dict[str, Any]]


@pytest.fixture(scope="session", autouse=True)
def remembered() -> Iterator[None]:
    """Most cases share most signatures: each is computed once."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("verify_sm2", "verify_ed25519", "verify_mldsa44", "is_on_sm2_curve"):
            patch.setattr(formats, name, functools.cache(getattr(formats, name)))
        yield


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Broker: 12 entries, bank: 9, everything co-signed by all three."""
    world = World(tmp_path_factory.mktemp("package") / "world")
    world.broker.write(12)
    world.bank.write(9, partner="broker")
    world.settle()
    yield world
    world.close()


@pytest.fixture(scope="session")
def package(sealed: World) -> bytes:
    """A job with entries of two logs and openings of three fields."""
    places = [(BROKER, index) for index in range(12)] + [(BANK, index) for index in range(9)]
    return build(sealed, order_of(places, {5: sealed.broker.openings[5]}))[0]


@pytest.fixture(scope="session")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_verifier(tmp_path_factory.mktemp("verifier"))


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Cases], list[Any]]:
    """Runs cases in the engine of verify.html under Node, many in one process."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    script = tmp_path_factory.mktemp("engine") / "engine.js"
    script.write_text(engine_js(), "utf-8")
    runner = Path(__file__).with_name("run_engine.js")

    def run(cases: Cases) -> list[Any]:
        asked = json.dumps({"engine": str(script), "cases": cases})
        done = subprocess.run([node, str(runner)], input=asked, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return list(json.loads(done.stdout))

    return run
