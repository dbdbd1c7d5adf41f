"""A lease from its order to its statement, over two nodes. docs/protocols/sandbox.md sections 4, 9 and 10."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld, lease_world, make_workspace
from workbench_sandbox.formats.manifest import Manifest


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    with lease_world(make_workspace(tmp_path_factory.mktemp("leases"))) as made:
        yield made


@pytest.fixture(scope="module")
def image(world: LeaseWorld, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return world.image(tmp_path_factory.mktemp("image"))


def test_a_lease_from_order_to_statement_leaves_its_evidence_at_both_ends(world: LeaseWorld, image: Manifest) -> None:
    lease = world.running(image.id)
    assert world.state(TELECOM, lease) == "RUNNING"
    for _ in range(31):
        world.turn(seconds=5)
    world.until(lambda: bool(world.query(BROKER, "SELECT 1 FROM inference_tick WHERE lease = ? AND state = 'agreed'", lease)))
    world.tenant.release(lease, reason="done")
    assert world.state(BROKER, lease) == "RELEASING"
    world.until(lambda: world.state(BROKER, lease) == "ERASED" and world.state(TELECOM, lease) == "ERASED")
    world.until(lambda: bool(world.query(BROKER, "SELECT 1 FROM inference_statement WHERE lease = ?", lease)))
    world.until(lambda: bool(world.query(TELECOM, "SELECT 1 FROM inference_statement WHERE lease = ? AND agreed = 1", lease)))
