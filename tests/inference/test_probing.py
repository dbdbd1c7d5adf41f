"""The probe suite on demand, over two nodes: what a sandbox says is sealed and signed, and stands at who asked."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from tests.inference.asking_world import asking_world
from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld
from tests.inference.local_sandbox import LocalWorker
from tests.inference.test_asking import ask, fund
from tests.sandbox.world import until
from workbench.domain.party import Role
from workbench.errors import Denied, NotFound, Refused
from workbench_inference.asking.service import asking_of
from workbench_sandbox.inside import probing
from workbench_sandbox.inside.link import Link, Type
from workbench_sandbox.server.starting import Sandbox


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeaseWorld]:
    with asking_world(tmp_path_factory.mktemp("probing")) as made:
        yield made


@pytest.fixture(scope="module")
def lease(world: LeaseWorld, tmp_path_factory: pytest.TempPathFactory) -> str:
    image = world.image(tmp_path_factory.mktemp("image"), name="extractive")
    return world.running(image.id, cards=1, hours=2)


def probed(world: LeaseWorld, lease: str, party: str = BROKER, role: Role = Role.OPERATOR) -> Any:
    return world.call(party, role, "inference.probe", lease=lease)


def test_a_tenant_asks_and_gets_a_signed_answer_with_an_entry(world: LeaseWorld, lease: str) -> None:
    told = probed(world, lease)
    [one] = told.sandboxes
    assert told.is_refused and (one.tried, one.refused, one.failed) == (49, 49, []) and len(one.frame) == 64
    assert world.institutions.kinds(BROKER)[-1] == "inference.probed"
    assert ask(world, f"{fund(world)}的管理费率是多少？").state == "ANSWERED"


def test_its_provider_asks_through_the_launcher(world: LeaseWorld, lease: str) -> None:
    told = probed(world, lease, TELECOM, Role.PROVIDER_OPERATOR)
    assert told.is_refused and told.sandboxes[0].frame == "" and told.sandboxes[0].tried == 49
    assert world.institutions.kinds(TELECOM)[-1] == "inference.probed"


def test_others_may_not_ask_and_a_lease_that_does_not_run_has_no_sandbox(world: LeaseWorld, lease: str) -> None:
    with pytest.raises(Denied):
        probed(world, lease, role=Role.ADVISER)
    with pytest.raises(NotFound):
        probed(world, "L-20260101-00000000")


def test_what_was_not_refused_ends_the_session_and_is_named(world: LeaseWorld, lease: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(world, f"{fund(world)}的管理费率是多少？")
    client = asking_of(world.institutions.nodes[BROKER]).desk.sandboxes.newest(lease)
    assert client is not None and client.session is not None
    monkeypatch.setattr(LocalWorker, "suite", probing.Probed(49, 47, ("mount", "server-fork")))
    told = probed(world, lease)
    assert not told.is_refused and told.sandboxes[0].failed == ["mount", "server-fork"]
    assert client.session is None and client.cause == "probe"


def test_a_lease_that_has_ended_cannot_be_asked(world: LeaseWorld, lease: str) -> None:
    world.call(BROKER, Role.OPERATOR, "inference.lease_release", lease=lease, reason="试用结束")
    with pytest.raises(Refused) as caught:
        probed(world, lease)
    assert caught.value.code == "LEASE_NOT_RUNNING"



def test_a_launcher_that_hears_of_it_ends_the_sandbox() -> None:
    own, theirs = socket.socketpair()
    sandbox = Sandbox("sb-0000000000000000", SimpleNamespace(channel=own, alive=lambda: True, cause=lambda: "sandbox-died"), None)  # type: ignore[arg-type]
    sandbox.begin()
    Link(theirs.fileno()).send(Type.COUNTERS, {"failed": ["mount"]})
    until(lambda: sandbox.cause != "", seconds=5)
    assert sandbox.cause == "probe"
    for one in (own, theirs):
        one.close()
