"""Servers of a provider whose sandboxes are the worker's own code in this process: what is sealed is opened, answered and sealed there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.network import Fault, deliver
from tests.inference.fake_servers import ISOLATION, Card, FakeServers
from tests.inference.local_sandbox import LocalSandbox, start_body
from tests.sandbox import samples
from workbench.contracts import KeyShare
from workbench.domain.party import PartyId
from workbench_inference.leasing.launching import MAKERS, Launched
from workbench_sandbox.formats import evidence, reading
from workbench_sandbox.inside import worker
from workbench_sandbox.inside.link import Type
from workbench_sandbox.server import volumes
from workbench_sandbox.server.contract import Download, GivenEvidence, Looked, StartOrder, Upload

EXTRACTIVE = "workbench_sandbox.engines.extractive:Extractive"


class WorkedServers(FakeServers):
    """As the pretended ones, but for what happens inside. fault: on the way of frames; engine: module:class."""

    engine = EXTRACTIVE
    fault: Fault = staticmethod(deliver)

    def __init__(self, names: list[str], now_ms: Callable[[], int], folder: Path) -> None:
        super().__init__(names, now_ms, folder)
        self.inside: dict[str, LocalSandbox] = {}

    def evidence(self, sandbox: str, nonce: str) -> GivenEvidence:
        card = self._of(sandbox)
        facts = card.facts
        assert facts is not None
        manifest = volumes.check_image(self._volumes, facts.tenant, facts.image)
        if sandbox not in self.inside:
            measured = replace(
                samples.MEASURED,
                weights=tuple(evidence.Weight(one.path, one.sm3) for one in manifest.of_role("weights")),
                controls=tuple(
                    evidence.Control(name, "on", "tried", "inside") for name in evidence.CONTROLS if name not in ("host-user", "memory")
                ),
            )
            self.inside[sandbox] = LocalSandbox(self.engine, self.fault, measured=measured)
            worker.CORPORA = volumes.corpora_folder(self._volumes, facts.tenant)
        card.serial += 1
        name = evidence.ImageName(manifest.id, manifest.name, manifest.version, manifest.engine)
        outer = replace(
            samples.FACTS, provider=PartyId(facts.provider), tenant=PartyId(facts.tenant), lease=facts.lease, mode=facts.mode, server=card.server,
            pool=facts.pool, sandbox=sandbox, serial=card.serial, started_ms=card.since_ms, image=name, limits=manifest.limits,
            listing="" if manifest.runtime == "image" else manifest.runtime,
            controls=tuple(evidence.Control(one, "on", "seen", "outside") for one in ("host-user", "memory")),
        )  # fmt: skip
        terms = {
            "tenant_key": facts.tenant_key, "policy": facts.policy, "provenances": list(facts.provenances),
            "suites": list(facts.suites), "until_ms": facts.until_ms,
        }  # fmt: skip
        inside = self.inside[sandbox]
        inside.link.send(Type.FACTS, reading.lv4(evidence.format_facts(outer)) + json.dumps(terms).encode())
        return GivenEvidence(inside.request(Type.EVIDENCE, nonce.encode(), Type.STATEMENT), outer)

    def start(self, sandbox: str, order: StartOrder, share: KeyShare | None) -> bytes:
        self._of(sandbox)
        return self.inside[sandbox].request(Type.START, start_body(order.session, order.evidence, share), Type.HELLO)

    def answer(self, sandbox: str, message: bytes) -> bytes:
        self._of(sandbox)
        return self.inside[sandbox].request(Type.ANSWER, message, Type.CONFIRM)

    def frames(self, sandbox: str, upload: Upload, *, wait_ms: int) -> Download:
        card = self._of(sandbox, alive=False)
        inside = self.inside[sandbox]
        if card.counters.state == "ended" and inside.relay.drained:
            self._of(sandbox)  # raises why it ended
        return inside.relay.exchange(upload, wait_ms=min(wait_ms, 200))

    def erase(self, server: str, *, reason: str) -> Looked:
        card = self.cards[server]
        if (inside := self.inside.pop(card.sandbox, None)) is not None:
            inside.shut(overwrite=True)
        return super().erase(server, reason=reason)

    def die(self, sandbox: str, cause: str = "sandbox-died") -> None:
        super().die(sandbox, cause)
        self.inside[sandbox].shut(overwrite=False)

    def close(self) -> None:
        for one in list(self.inside.values()):
            one.shut(overwrite=True)
        super().close()


def work(count: int = 2, *, made: list[FakeServers]) -> None:
    """Let nodes with `inference.isolation` = ISOLATION lease servers of this kind."""
    from workbench_inference.leasing.images import volumes as volumes_of

    def make(host: object) -> Launched:
        names = [f"v-{number:08x}" for number in range(1, count + 1)]
        found = WorkedServers(names, lambda: host.now_ms(), volumes_of(host))  # type: ignore[attr-defined, arg-type]  # a node
        made.append(found)
        return Launched(found)

    MAKERS[ISOLATION] = make


__all__ = ["Card", "WorkedServers", "work"]
