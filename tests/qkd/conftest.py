"""One node with a key-management entity within this process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from workbench_qkd import channel
from workbench_qkd.service import ChannelService, service_of

from tests.flows.institutions import Institutions, running
from tests.qkd.asking import end
from tests.qkd.entity import Entity
from tests.qkd.linked import Linked, linked
from workbench.domain.party import Role
from workbench.workspace import create_workspace


@dataclass
class Site:
    """The node and its entity. Every test has an entity of its own; the log goes on."""

    three: Institutions
    entity: Entity

    @property
    def node(self) -> Any:
        return self.three.nodes["broker"]

    @property
    def service(self) -> ChannelService:
        return service_of(self.node)

    def call(self, operation: str, /, role: Role = Role.OPERATOR, **request: Any) -> Any:
        return self.three.call("broker", role, operation, **request)

    def entries(self, kind: str) -> list[Any]:
        return self.three.entries("broker", kind=kind)

    def line(self) -> Any:
        return self.call("qkd.status").lines[0]

    def follow(self) -> int:
        return self.service.round()


@pytest.fixture(scope="package")
def institutions_of_channel() -> Iterator[Institutions]:
    folder = Path(tempfile.mkdtemp(prefix="qkd-"))
    workspace = create_workspace(folder / "ws", kind="test", parties=("broker", "bank"))
    with running(workspace, ("broker", "bank")) as three:
        yield three
    shutil.rmtree(folder)


@pytest.fixture(scope="package")
def channel_nodes() -> Iterator[Linked]:
    """Broker and bank over the channel, their entities in this process: made once for the modules that share them."""
    with linked() as made:
        yield made


@pytest.fixture
def linked_two(channel_nodes: Linked, monkeypatch: pytest.MonkeyPatch) -> Iterator[Linked]:
    monkeypatch.setattr(channel, "PAUSE_S", 0.0)
    channel_nodes.stock.left, channel_nodes.stock.away = 200, False
    for entity in channel_nodes.entities.values():
        entity.away = entity.keeps_quiet = False
        entity.usual_state = "CONSUMED"
        entity.change(policy="hybrid-required", state="full")
    for node in channel_nodes.nodes.values():
        node.store.write(lambda tx: tx.execute("DELETE FROM qkd_held"))
    channel_nodes.seen.clear()
    channel_nodes.wire.clear()
    end(channel_nodes)
    yield channel_nodes
    channel_nodes.change = channel_nodes.change_wire = lambda party, path, body: body


@pytest.fixture
def site(institutions_of_channel: Institutions) -> Iterator[Site]:
    """A fresh entity, and tables of the plugin as on the first day."""
    made = Site(institutions_of_channel, Entity())
    made.service.attach(made.entity)
    made.service._nudged_ms = 0
    made.service.measures = made.service.measures.fresh()
    yield made
    tables = ("qkd_policy", "qkd_decision", "qkd_revoke_again", "qkd_proposal", "qkd_followed", "qkd_alarm", "qkd_held", "qkd_tally", "qkd_session")
    tables += ("qkd_quality", "qkd_quality_down", "qkd_quality_latency")
    made.node.store.write(lambda tx: [tx.execute(f"DELETE FROM {one}") for one in tables])
