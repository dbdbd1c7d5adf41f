"""Servers of a provider without processes: every state, document and count of docs/sandbox-design.md section 6.1, made at once.

Small and real: images are measured, evidence is signed with keys made here, a receipt counts what a test planted.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.sandbox import samples
from workbench.channel.prepared import PreparedShares
from workbench.channel.terms import DEFAULT_SUITES
from workbench.contracts import KeyShare
from workbench.crypto import random, sm2
from workbench.domain.party import PartyId
from workbench.errors import Refused
from workbench_inference.leasing.launching import MAKERS, Launched
from workbench_sandbox.formats import evidence, relay
from workbench_sandbox.server import volumes
from workbench_sandbox.server.contract import (
    CHECKS,
    Check,
    Counters,
    Download,
    GivenEvidence,
    LeaseFacts,
    Looked,
    ServerState,
    StartOrder,
    Upload,
)

ISOLATION = "pretended"


@dataclass
class Card:
    """One server. planted: what its next look finds, by check."""

    server: str
    state: str = "DIRTY"
    tenant: str = ""
    image: str = ""
    sandbox: str = ""
    facts: LeaseFacts | None = None
    ran: list[str] = field(default_factory=list)
    key: sm2.PrivateKey | None = None
    serial: int = 0
    since_ms: int = 0
    counters: Counters = field(default_factory=Counters)
    planted: dict[str, int] = field(default_factory=dict)
    cause: str = ""


class FakeServers:
    """Fulfils `Servers`. now_ms: clock of the node; folder: of the volumes. holds_ready: makes nothing ready until it is let."""

    def __init__(self, names: Sequence[str], now_ms: Callable[[], int], folder: Path) -> None:
        self.cards = {name: Card(name) for name in names}
        self._now_ms = now_ms
        self._volumes = folder
        self._lock = threading.RLock()
        self.is_closed = False
        self.left: list[Looked] = []
        self.started: list[tuple[str, StartOrder, KeyShare | None]] = []

    def states(self) -> Sequence[ServerState]:
        with self._lock:
            return [ServerState(one.server, one.state, one.image, one.tenant, one.sandbox, one.cause, one.since_ms) for one in self.cards.values()]

    def add(self, server: str) -> None:
        with self._lock:
            self.cards.setdefault(server, Card(server))

    def remove(self, server: str) -> None:
        with self._lock:
            del self.cards[server]

    def prepare(self, server: str, *, tenant: str, image: str) -> None:
        with self._lock:
            card = self.cards[server]
            if card.state == "LEASED":
                raise _refused("SERVER_NOT_READY")
            try:
                volumes.check_image(self._volumes, tenant, image)
            except Refused as error:
                card.state, card.cause, card.since_ms = "DIRTY", error.code, self._now_ms()
                return
            card.state, card.tenant, card.image, card.cause, card.since_ms = "READY", tenant, image, "", self._now_ms()
            card.sandbox, card.key, card.serial = f"sb-{secrets.token_hex(8)}", sm2.generate(), 0

    def lease(self, server: str, facts: LeaseFacts) -> str:
        with self._lock:
            card = self.cards[server]
            if card.state != "READY" or (card.image, card.tenant) != (facts.image, facts.tenant):
                raise _refused("SERVER_NOT_READY")
            card.state, card.facts, card.since_ms = "LEASED", facts, self._now_ms()
            card.counters = Counters(since_ms=self._now_ms())
            card.ran.append(card.sandbox)
            return card.sandbox

    def extend(self, sandbox: str, until_ms: int) -> None:
        with self._lock:
            card = self._of(sandbox)
            assert card.facts is not None
            card.facts = replace(card.facts, until_ms=until_ms)

    def evidence(self, sandbox: str, nonce: str) -> GivenEvidence:
        with self._lock:
            card = self._of(sandbox)
            facts, key = card.facts, card.key
            assert facts is not None and key is not None
            card.serial += 1
            manifest = volumes.check_image(self._volumes, facts.tenant, facts.image)
            now = self._now_ms()
            name = evidence.ImageName(manifest.id, manifest.name, manifest.version, manifest.engine)
            outer = replace(
                samples.FACTS, provider=PartyId(facts.provider), tenant=PartyId(facts.tenant), lease=facts.lease, mode=facts.mode, server=card.server, pool=facts.pool,
                sandbox=sandbox, serial=card.serial, started_ms=card.since_ms, image=name, limits=manifest.limits,
            )  # fmt: skip
            shares = evidence.PublicShares.of(key.public, PreparedShares.make(DEFAULT_SUITES, random.SYSTEM).public())
            measured = replace(samples.MEASURED, weights=tuple(evidence.Weight(one.path, one.sm3) for one in manifest.of_role("weights")))
            encoded = evidence.make_statement(outer, measured, shares, nonce=nonce, made_ms=now, until_ms=now + 60_000)
            return GivenEvidence(evidence.sign_statement(encoded, key=key), outer)

    def start(self, sandbox: str, order: StartOrder, share: KeyShare | None) -> bytes:
        with self._lock:
            self._of(sandbox)
            self.started.append((sandbox, order, share))
            return b"hello of " + sandbox.encode()

    def answer(self, sandbox: str, message: bytes) -> bytes:
        self._of(sandbox)
        return b"confirm " + message

    def frames(self, sandbox: str, upload: Upload, *, wait_ms: int) -> Download:
        """Each frame comes back."""
        with self._lock:
            card = self._of(sandbox)
            size = sum(map(len, upload.frames))
            told = card.counters
            card.counters = replace(
                told, asks=told.asks + len(upload.frames), bytes_in=told.bytes_in + size, bytes_out=told.bytes_out + size, asked_ms=self._now_ms()
            )
            return Download(relay.LIVE, upload.first, upload.frames, upload.first + len(upload.frames))

    def counters(self, sandbox: str) -> Counters:
        with self._lock:
            return self._of(sandbox, alive=False).counters

    def probe(self, sandbox: str) -> tuple[int, tuple[str, ...]]:
        with self._lock:
            self._of(sandbox)
        return 49, ()

    def erase(self, server: str, *, reason: str) -> Looked:
        with self._lock:
            card = self.cards[server]
            now, facts = self._now_ms(), card.facts
            checks = tuple(Check(name, card.planted.get(name, 0), "pretended") for name in CHECKS)
            looked = Looked(
                server, facts.lease if facts else "", facts.tenant if facts else "", tuple(card.ran), reason, now, now + 3, "process", checks
            )
            card.state, card.cause, card.since_ms = ("SANITISED" if looked.clean else "DIRTY"), reason, now
            card.sandbox = card.image = card.tenant = ""
            if looked.clean:
                card.facts, card.ran = None, []
            return looked

    def reap(self) -> Sequence[Looked]:
        found, self.left = self.left, []
        return found

    def close(self) -> None:
        self.is_closed = True

    def die(self, sandbox: str, cause: str = "sandbox-died") -> None:
        """For tests: a sandbox ends by itself."""
        with self._lock:
            card = self._of(sandbox)
            card.counters = replace(card.counters, state="ended", cause=cause)

    def _of(self, sandbox: str, *, alive: bool = True) -> Card:
        found = next((one for one in self.cards.values() if one.sandbox == sandbox and one.state == "LEASED"), None)
        if found is None:
            raise _refused("SANDBOX_UNKNOWN")
        if alive and found.counters.state == "ended":
            raise relay.sandbox_ended(found.counters.cause)
        return found


def _refused(code: str) -> Refused:
    return Refused("不行", "no", code=code)


def pretend(count: int = 3, *, made: list[FakeServers] | None = None) -> None:
    """Let nodes with `inference.isolation` = ISOLATION lease servers of this kind; each is appended to `made`."""
    from workbench_inference.leasing.images import volumes as volumes_of

    def make(host: object) -> Launched:
        found = FakeServers([f"v-{number:08x}" for number in range(1, count + 1)], lambda: host.now_ms(), volumes_of(host))  # type: ignore[attr-defined, arg-type]  # a node
        if made is not None:
            made.append(found)
        return Launched(found)

    MAKERS[ISOLATION] = make
