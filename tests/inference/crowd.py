"""Many who ask at once, of sandboxes that are real: servers are processes, workers run under bubblewrap, rounds are the nodes' own.

Both nodes and the callers are in this process; an engine by words answers, alone or held for a while (`pacing/paced_engine.py`).
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.inference.asking_world import asking_world
from tests.inference.lease_world import BROKER, TELECOM, LeaseWorld
from workbench.contracts.inference import EngineRecipe, ImageFile
from workbench.crypto import sm3
from workbench.domain.party import Role
from workbench.errors import Refused
from workbench_inference.asking.service import asking_of
from workbench_inference.leasing import images, service, upkeep
from workbench_inference.leasing.keys import LeasingHost
from workbench_inference.leasing.launching import Launched
from workbench_sandbox.formats.manifest import Manifest
from workbench_sandbox.server.processes import ServerProcesses
from workbench_sandbox.server.runtime import EngineCode

MIB = 1 << 20
LIMITS = {"memory_bytes": 512 * MIB, "processes": 24, "cpu_milli": 1000, "scratch_bytes": 16 * MIB, "answer_bytes": 64 << 10, "asks_at_once": 2}
PACED = EngineCode("paced_engine:Paced", ("workbench_sandbox.corpus.search", "workbench_sandbox.corpus.native"), (str(Path(__file__).parent / "pacing"),))
ROUND_S = 0.5
FIELDS = ("管理费率", "托管费率", "基金经理", "风险等级", "成立日期", "业绩比较基准")


def launched(host: LeasingHost) -> Launched:
    """As `launching.bubblewrapped`, with the paced engine beside those that are installed."""
    servers = ServerProcesses(host.folder / "servers", images.volumes(host), first_uid=int(host.setting("inference.first_uid")), engines={"paced": PACED})
    return Launched(servers, ("process",), functools.cache(lambda engine, program: sm3.digest(servers.listing(engine, program)).hex()))


@contextmanager
def crowded_world(folder: Path, *, cards: int, **settings: Any) -> Iterator[LeaseWorld]:
    """Two nodes that do their rounds by themselves, so many real servers at the provider, documents by words; no lease yet."""
    before, upkeep.FIRST_SERVERS = upkeep.FIRST_SERVERS, cards  # type: ignore[misc]
    try:
        with asking_world(folder, is_real=True, maker=launched, **{"inference__most_per_person": 1_000_000, "inference__most_per_group": 1_000_000, **settings}) as world:
            service.ROUND_S = ROUND_S  # type: ignore[misc]  # asking_world puts it back
            for party in (BROKER, TELECOM):
                world.leasing(party).wake()
            yield world
    finally:
        upkeep.FIRST_SERVERS = before  # type: ignore[misc]


def image(world: LeaseWorld, folder: Path, *, pause_s: float = 0.0) -> Manifest:
    """A signed image of the engine by words; with a pause, of the paced one."""
    name = "paced" if pause_s else "extractive"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pause.txt").write_text(str(pause_s), "ascii")
    files = (lambda: [ImageFile("weights/pause.txt", "weights", folder / "pause.txt")]) if pause_s else tuple
    recipe = EngineRecipe(name, "extractive", "1", "inside", "Apache-2.0", "Apache-2.0", files, LIMITS)
    return images.register(world.tenant.host, recipe, name=name, version="1.0", runtime=str(world.provider.listing(name, "")))  # type: ignore[misc]


def leased(world: LeaseWorld, manifest: Manifest, *, cards: int, most: int) -> str:
    """A lease with all its cards, seen by both ends."""
    lease = world.order(manifest.id, cards=cards, most=most, hours=2)
    world.institutions.wait_until(lambda: len(world.provider.held_by(lease)) == cards and world.state(BROKER, lease) == "RUNNING", timeout_s=180)
    return lease


@dataclass
class Crowd:
    """So many callers, each asking again as soon as it has its answer; who is told to come again (ASKS_WAIT) waits `again_s`.

    took: (second since the start, seconds) of each question that ended well. states: of all that ended. refused: by code.
    """

    world: LeaseWorld
    callers: int
    again_s: float = 0.5
    took: list[tuple[float, float]] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(self.callers)]
        self._node = self.world.institutions.nodes[BROKER]
        self._caller = self.world.institutions.caller(BROKER, Role.ADVISER)
        self._desk = asking_of(self._node).desk
        self._titles = [str(one[0]) for one in self.world.query(BROKER, "SELECT title FROM inference_document WHERE kind = 'fund' ORDER BY document")]
        self.began = time.monotonic()

    def __enter__(self) -> Crowd:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        """No further question; those that were taken in are waited for."""
        self._stop.set()
        for one in self._threads:
            one.join(timeout=180)
        assert not any(one.is_alive() for one in self._threads), "a question never ended"

    def _ask(self, number: int) -> None:
        at = number
        while not self._stop.is_set():
            at += self.callers
            began = time.monotonic()
            try:
                asked = self._node.gate.call(
                    "inference.ask", {"question": f"{self._titles[at % len(self._titles)]}的{FIELDS[at % len(FIELDS)]}是什么？", "scenario": "research"}, self._caller
                )
            except Refused as error:
                with self._lock:
                    self.refused[error.code] += 1
                self._stop.wait(self.again_s)
                continue
            progress = self._desk.progress(asked.ask)
            while progress is not None and not progress.is_over:
                self._desk.wait(progress, progress.records, seconds=5)
            ended = time.monotonic()
            (state,) = self.world.query(BROKER, "SELECT state FROM inference_ask WHERE ask = ?", asked.ask)[0]
            with self._lock:
                self.states[str(state)] += 1
                if state in ("ANSWERED", "ABSTAINED"):
                    self.took.append((ended - self.began, ended - began))


def remains(folder: Path) -> list[str]:
    """Processes, mounts and groups that still have something to do with servers below a folder."""
    found: list[str] = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            found += [f"process {line}"] if str(folder) in line else []
    found += [f"mount {one}" for one in Path("/proc/self/mountinfo").read_text("utf-8").splitlines() if str(folder) in one]
    return found


__all__ = ["Crowd", "crowded_world", "image", "leased", "remains"]
