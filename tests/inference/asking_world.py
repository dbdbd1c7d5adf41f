"""Two nodes that rent to each other, with documents, contracts of use, and sandboxes whose inside is the worker's own code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.flows.institutions import Institutions
from tests.inference import fake_servers, worked_servers
from tests.qkd.entity import Entity, line
from tests.qkd.linked import Stock
from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld, make_workspace
from workbench.clock import system_now_ms
from workbench.domain.party import Role
from workbench_inference.documents import importing, indexing
from workbench_inference.leasing import launching, service
from workbench_qkd.service import service_of
from workbench_sandbox.inside import worker

SMALL = {"funds": 12, "notices": 4, "news": 3, "quotes": 2, "prompts": 1, "questions": 2, "series": 0}


def join(world: LeaseWorld) -> tuple[Entity, Entity]:
    """One simulated line between the two nodes: an entity at each end, one stock of keys."""
    stock = Stock(left=10_000)
    ends = {}
    for party, other, role in ((BROKER, TELECOM, "sender"), (TELECOM, BROKER, "receiver")):
        ends[party] = Entity({"a1": line(role=role, peer_site=other, peer_kme=f"kme-{other}", peer_saes=[f"sae-{other}"])})
        service_of(world.institutions.nodes[party]).attach(ends[party], stock, sae=f"sae-{party}")
    world.stock = stock  # type: ignore[attr-defined]
    return ends[BROKER], ends[TELECOM]


def stock_of(world: LeaseWorld) -> Stock:
    """The keys that are left between the two nodes."""
    return world.stock  # type: ignore[attr-defined,no-any-return]


class RealTime(LeaseWorld):
    """As LeaseWorld, by the clock of the machine."""

    @property
    def now_ms(self) -> int:  # type: ignore[override]
        return system_now_ms()

    @now_ms.setter
    def now_ms(self, value: int) -> None: ...


@contextmanager
def asking_world(
    folder: Path, *, servers: int = 2, is_real: bool = False, maker: launching.Maker = launching.bubblewrapped, **settings: Any
) -> Iterator[LeaseWorld]:
    """Nothing is done by itself but letters; no lease yet. is_real: sandboxes are those of this machine (of `maker`), the clock too."""
    made: list[fake_servers.FakeServers] = []
    if is_real:
        fake_servers.MAKERS[fake_servers.ISOLATION] = maker
    else:
        worked_servers.work(servers, made=made)
    given = {"inference__policy": "hybrid-required", "inference__controls": ["no-network", "filter"], "inference__budget_fen": 0, **settings}
    workspace = make_workspace(folder, **given)
    pause, service.ROUND_S = service.ROUND_S, 10_000.0  # type: ignore[misc]  # the thread sleeps, the test turns
    corpora, clock = worker.CORPORA, worker.now_ms
    world = (RealTime if is_real else LeaseWorld)(Institutions(workspace), made)
    if not is_real:
        worker.now_ms = lambda: world.now_ms
    try:
        for party in (BROKER, TELECOM):
            world.start(party)
        world.line = join(world)  # type: ignore[attr-defined]
        node = world.institutions.nodes[BROKER]
        importing.import_synthetic(node, 5, actor="", progress=lambda done, total: None, sizes=SMALL)
        indexing.index(node, actor="", embedder=None, synthetic_only=False, progress=lambda done, total: None, cancelled=lambda: False)
        for scenario in ("advice", "research"):
            for kind in ("fund", "news"):
                world.call(
                    BROKER, Role.COMPLIANCE, "inference.usage_grant", kind=kind, scenario=scenario, roles=["adviser", "compliance"],
                    until="2030-01-01T00:00:00Z", reason="测试用途",
                )  # fmt: skip
        yield world
    finally:
        world.institutions.wire.mend()
        for party in list(world.institutions.nodes):
            world.institutions.stop(party)
        service.ROUND_S = pause  # type: ignore[misc]
        worker.CORPORA, worker.now_ms = corpora, clock
        fake_servers.MAKERS.pop(fake_servers.ISOLATION, None)


__all__ = ["asking_world", "join"]
