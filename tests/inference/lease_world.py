"""A tenant and a provider in one process: real stores, letters and keys, links in memory, a clock that tests move, pretended servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.flows.institutions import Institutions, write_settings
from tests.inference import fake_servers
from tests.inference.fake_servers import FakeServers
from workbench.clock import system_now_ms
from workbench.contracts.inference import EngineRecipe, ImageFile
from workbench.domain.party import Role
from workbench.workspace import Workspace, create_workspace
from workbench_inference.leasing import images, rows, service
from workbench_inference.leasing.provider import Provider
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.tenant import Tenant
from workbench_sandbox.formats.manifest import Manifest

BROKER, TELECOM = "broker", "telecom"
HOUR_MS = 3_600_000
LIMITS = {"memory_bytes": 256 << 20, "processes": 24, "cpu_milli": 1000, "scratch_bytes": 4 << 20, "answer_bytes": 64 << 10, "asks_at_once": 2}


@dataclass
class LeaseWorld:
    """Nodes that do nothing by themselves but deliver letters: a test calls `turn`."""

    institutions: Institutions
    made: list[FakeServers]
    now_ms: int = field(default_factory=lambda: system_now_ms() + 60_000)  # ahead of what the store stamps by itself
    started: list[str] = field(default_factory=list)

    def start(self, party: str) -> None:
        self.institutions.start(party, now_ms=lambda: self.now_ms)
        found = self.leasing(party)
        assert found.started.wait(30)

    def leasing(self, party: str) -> service.Leasing:
        return service.leasing_of(self.institutions.nodes[party])

    @property
    def tenant(self) -> Tenant:
        return service.tenant_of(self.institutions.nodes[BROKER])

    @property
    def provider(self) -> Provider:
        return service.provider_of(self.institutions.nodes[TELECOM])

    @property
    def servers(self) -> FakeServers:
        return self.made[-1]

    def image(self, folder: Path, content: bytes = b"answer", *, name: str = "echo", place: str = "inside") -> Manifest:
        """An image of two files, signed by the tenant."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "engine.py").write_bytes(content)
        (folder / "words.bin").write_bytes(content * 400_000)
        recipe = EngineRecipe(
            name, "extractive" if place == "inside" else "upstream", "1", place, "Apache-2.0", "Apache-2.0",
            lambda: [ImageFile("code/engine.py", "code", folder / "engine.py"), ImageFile("weights/words.bin", "weights", folder / "words.bin")], LIMITS,
        )  # fmt: skip
        return images.register(self.tenant.host, recipe, name=name, version="1.0", runtime="image")

    def order(self, image: str, *, cards: int = 2, most: int = 3, hours: float = 1.0, **more: Any) -> str:
        values = {"price": 30, **more}
        return self.tenant.order(image=image, cards=cards, most_cards=most, from_ms=self.now_ms, until_ms=self.now_ms + int(hours * HOUR_MS), **values).lease

    def row(self, party: str, lease: str) -> LeaseRow:
        with self.institutions.nodes[party].store.read() as reader:
            return rows.get(reader, lease)

    def state(self, party: str, lease: str) -> str:
        with self.institutions.nodes[party].store.read() as reader:
            found = rows.find(reader, lease)
        return found.state.value if found else ""

    def turn(self, *, seconds: float = 0.0) -> None:
        """Let time pass, then do what is due at both ends."""
        self.now_ms += int(seconds * 1000)
        for party in (TELECOM, BROKER):
            if party in self.institutions.nodes:
                self.leasing(party).round()

    def until(self, holds: Callable[[], bool], *, seconds: float = 0.1) -> None:
        """Turn until it holds; letters and erasures have threads of their own."""

        def look() -> bool:
            if holds():
                return True
            self.turn(seconds=seconds)
            return holds()

        self.institutions.wait_until(look, timeout_s=30)

    def running(self, image: str, *, cards: int = 2, **more: Any) -> str:
        """A lease with all its cards, seen by both ends."""
        lease = self.order(image, cards=cards, **more)
        self.until(lambda: len(self.provider.held_by(lease)) == cards and self.state(BROKER, lease) == "RUNNING", seconds=0.1)
        return lease

    def query(self, party: str, sql: str, *parameters: Any) -> list[Any]:
        with self.institutions.nodes[party].store.read() as reader:
            return reader.execute(sql, parameters).fetchall()

    def kinds(self, party: str, lease: str) -> list[str]:
        return [one for one in self.institutions.kinds(party, lease) if one.startswith("inference.")]

    def call(self, party: str, role: Role, operation: str, /, **request: Any) -> Any:
        return self.institutions.call(party, role, operation, **request)


def make_workspace(folder: Path, **settings: Any) -> Workspace:
    """Two institutions of a test workspace that rent to each other."""
    workspace = create_workspace(folder / "workspace", kind="test", parties=(BROKER,), providers=(TELECOM,))
    write_settings(workspace, BROKER, **settings)
    write_settings(workspace, TELECOM, inference__isolation=fake_servers.ISOLATION, **settings)
    return workspace


@contextmanager
def lease_world(workspace: Workspace, *, count: int = 3) -> Iterator[LeaseWorld]:
    """Both nodes, started; nothing is done but what `turn` does."""
    made: list[FakeServers] = []
    fake_servers.pretend(count, made=made)
    pause, service.ROUND_S = service.ROUND_S, 10_000.0  # type: ignore[misc]  # the thread sleeps, the test turns
    world = LeaseWorld(Institutions(workspace), made)
    try:
        for party in (BROKER, TELECOM):
            world.start(party)
        yield world
    finally:
        world.institutions.wire.mend()
        for party in list(world.institutions.nodes):
            world.institutions.stop(party)
        service.ROUND_S = pause  # type: ignore[misc]
        fake_servers.MAKERS.pop(fake_servers.ISOLATION, None)
