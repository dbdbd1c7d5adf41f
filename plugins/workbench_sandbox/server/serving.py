"""One server: its state, its spare, its leased sandbox; what a node may ask of it.

Document: docs/protocols/sandbox.md sections 9 and 10, docs/sandbox-design.md section 1. DIRTY until nothing is found, SANITISED, READY
for one image, LEASED to one tenant, DIRTY again.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from workbench.contracts import KeyShare
from workbench.domain.party import PartyId
from workbench.errors import Refused, WorkbenchError
from workbench_sandbox.formats.evidence import ImageName, OuterFacts, format_facts
from workbench_sandbox.formats.reading import lv4
from workbench_sandbox.formats.relay import sandbox_ended
from workbench_sandbox.inside.link import Type
from workbench_sandbox.inside.worker import now_ms
from workbench_sandbox.server import groups, reaping, starting
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
from workbench_sandbox.server.isolation import Found
from workbench_sandbox.server.starting import Prepared, Sandbox, Settings

_REMEMBERED = 64


class Server:
    """What `main` serves. `work` runs in the thread that started it, as long as the server lives: sandboxes die with it."""

    def __init__(self, folder: Path, settings: Settings, *, boot: str) -> None:
        self.folder, self.settings, self.boot = folder, settings, boot
        self._hierarchy = groups.find_hierarchy() if "groups" not in settings.without else groups.Hierarchy()
        self._lock = threading.RLock()
        self._starting = threading.RLock()
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._state = ServerState(settings.server, "DIRTY", changed_ms=now_ms())
        self._prepared: Prepared | None = None
        self._sandbox: Sandbox | None = None
        self._facts: LeaseFacts | None = None
        self._ended: dict[str, str] = {}
        (folder / "empty").mkdir(mode=0o755, exist_ok=True)
        (folder / reaping.RUNS).mkdir(mode=0o700, exist_ok=True)

    # ------------------------------------------------------------------------------------------------------- the thread

    def work(self) -> None:
        """Start what is to be started, until `stop`."""
        while (job := self._jobs.get()) is not None:
            job()
        self._kill()  # one that was started meanwhile

    def stop(self) -> None:
        """Kill what runs, without a receipt: its record stays for the next start. Ends `work`."""
        self._kill()
        self._jobs.put(None)

    def _kill(self) -> None:
        with self._lock:
            sandbox, self._sandbox = self._sandbox, None
        if sandbox is not None:
            sandbox.kill("launcher-died")

    # --------------------------------------------------------------------------------------------------------- the node's

    def state(self) -> ServerState:
        """A spare that died makes its server dirty."""
        with self._lock:
            sandbox = self._sandbox
            if self._state.state == "READY" and sandbox is not None and sandbox.cause:
                self._become("DIRTY", cause=sandbox.cause, sandbox=sandbox.name)
            return self._state

    def prepare(self, tenant: str, image: str) -> None:
        """In the background. Raises Refused (SERVER_NOT_READY) while it is leased."""
        with self._lock:
            if self._state.state == "LEASED":
                raise not_ready(self.settings.server)
            self._become("DIRTY", image=image, tenant=tenant, cause="preparing")
        self._jobs.put(lambda: self._prepare(tenant, image))

    def lease(self, facts: LeaseFacts) -> str:
        """The spare's name. Raises Refused (SERVER_NOT_READY)."""
        with self._lock:
            state, sandbox = self.state(), self._sandbox
            if state.state != "READY" or sandbox is None or (state.image, state.tenant) != (facts.image, facts.tenant):
                raise not_ready(self.settings.server)
            record = replace(sandbox.running.record, lease=facts.lease, tenant=facts.tenant)
            reaping.write(self.folder, record)
            sandbox.running.record = record
            sandbox.leased_ms = now_ms()
            self._facts = facts
            self._become("LEASED", image=facts.image, tenant=facts.tenant, sandbox=sandbox.name)
            return sandbox.name

    def extend(self, name: str, until_ms: int) -> None:
        """Move the lease's end."""
        sandbox = self._leased(name)
        assert self._facts is not None
        self._facts = replace(self._facts, until_ms=until_ms)
        sandbox.tell(Type.EXTEND, {"until_ms": until_ms})

    def evidence(self, name: str, nonce: str) -> GivenEvidence:
        """A statement on fresh keys, and what is to be compared. Cost: 10 ms, of which 2 inside."""
        sandbox = self._leased(name)
        facts = self._facts
        assert facts is not None
        with sandbox.stating:
            return self._stated(sandbox, facts, nonce)

    def _stated(self, sandbox: Sandbox, facts: LeaseFacts, nonce: str) -> GivenEvidence:
        """One document after the other: facts and the request for their statement are two messages."""
        sandbox.serial += 1
        manifest = sandbox.prepared.manifest
        outer = OuterFacts(
            PartyId(facts.provider), PartyId(facts.tenant), facts.lease, facts.mode, self.settings.server, facts.pool, sandbox.name, sandbox.serial,
            sandbox.started_ms, self.boot, sandbox.running.record.assurance,
            ImageName(sandbox.prepared.image, manifest.name, manifest.version, manifest.engine), sandbox.prepared.bound.digest,
            sandbox.running.record.isolation, manifest.limits, sandbox.outside(),
        )  # fmt: skip
        terms = {
            "tenant_key": facts.tenant_key, "policy": facts.policy, "provenances": list(facts.provenances), "suites": list(facts.suites),
            "until_ms": facts.until_ms,
        }  # fmt: skip
        sandbox.tell(Type.FACTS, lv4(format_facts(outer)) + json.dumps(terms).encode())
        reply = sandbox.request(Type.EVIDENCE, nonce.encode("ascii"), Type.STATEMENT)
        return GivenEvidence(reply.body, outer)

    def start(self, name: str, order: StartOrder, share: KeyShare | None) -> bytes:
        """The hello. The QKD share is overwritten here once it was handed in."""
        sandbox = self._leased(name)
        body = bytearray()
        parts = (share.key_id.encode(), share.provenance.encode(), share.value) if share is not None else (b"", b"", b"")
        for part in (order.session.encode("ascii"), order.evidence.encode("ascii"), *parts):
            body += bytes([len(part)]) + part
        sandbox.secrets += 1
        try:
            return sandbox.request(Type.START, b"", Type.HELLO, secret=body).body
        finally:
            body[:] = bytes(len(body))
            sandbox.secrets -= 1

    def answer(self, name: str, message: bytes) -> bytes:
        """The confirm."""
        return self._leased(name).request(Type.ANSWER, message, Type.CONFIRM).body

    def probe(self, name: str) -> tuple[int, list[str]]:
        """(tried, failed) of the suite, run now."""
        sandbox = self._leased(name)
        reply = sandbox.request(Type.PROBE, b"", Type.PROBE).json()
        if reply["failed"] and not self.settings.without:
            sandbox.ended("probe")
        return int(reply["tried"]), [str(one) for one in reply["failed"]]

    def frames(self, name: str, upload: Upload, *, wait_ms: int) -> Download:
        """See `relaying.Relay.exchange`."""
        sandbox = self._leased(name, alive=False)
        if sandbox.cause and sandbox.relay.drained:
            raise sandbox_ended(sandbox.cause)
        try:
            return sandbox.relay.exchange(upload, wait_ms=wait_ms)
        except ValueError as error:
            raise unknown(name) from error

    def counters(self, name: str) -> Counters:
        """What it did."""
        return self._leased(name, alive=False).counters()

    def erase(self, reason: str) -> Looked:
        """Steps 1 to 4 of section 10. Cost: 60 ms, where nothing is left."""
        self._become("DIRTY", cause=reason)
        looked = self._erased(reason)
        if looked.clean:
            self._become("SANITISED", cause=reason)
        return looked

    def _erased(self, reason: str) -> Looked:
        # Not while one is being started: it would be taken for a leftover.
        with self._starting:
            return self._erased_now(reason)

    def _erased_now(self, reason: str) -> Looked:
        with self._lock:
            sandbox, self._sandbox = self._sandbox, None
            facts, self._facts = self._facts, None
        began = now_ms()
        lease, tenant = (facts.lease, facts.tenant) if facts is not None else ("", "")
        left = reaping.reap(self.folder, clock=now_ms, reason=reason, look_s=self.settings.look_s) if sandbox is None else []
        if left:
            # What was found to be still there is looked for again: its record stays until it is gone.
            looked = reaping.joined(left)
        elif sandbox is None:
            checks = tuple(Check(name, 0, "nothing ran") for name in CHECKS)
            looked = Looked(self.settings.server, lease, tenant, (), reason, began, now_ms(), self.settings.assurance, checks)
        else:
            sandbox.finish()
            sandbox.kill(reason)
            checks = reaping.settle(self.folder, sandbox.running.record, sandbox.running.group, lambda: _looked(sandbox), look_s=self.settings.look_s)
            looked = Looked(
                self.settings.server, lease, tenant, (sandbox.name,), reason, began, now_ms(), sandbox.running.record.assurance, checks
            )  # fmt: skip
            self._remember(sandbox.name, sandbox.cause)
        return looked

    # ------------------------------------------------------------------------------------------------------------ details

    def _prepare(self, tenant: str, image: str) -> None:
        with self._starting:
            self._prepare_now(tenant, image)

    def _prepare_now(self, tenant: str, image: str) -> None:
        try:
            if (self._sandbox is not None or reaping.names(self.folder)) and not self._erased("operator").clean:
                self._become("DIRTY", image=image, tenant=tenant, cause="residue")
                return
            self._become("SANITISED", image=image, tenant=tenant, cause="preparing")
            prepared = self._prepared = starting.prepare(self.settings, tenant, image)
            sandbox = starting.start(
                self.settings, self.folder, prepared, self._hierarchy, boot=self.boot,
                foreign=(str(self.folder), f"/proc/{threading.get_native_id()}"),
            )  # fmt: skip
        except WorkbenchError as error:
            self._explain(error)
            self._become("DIRTY", image=image, tenant=tenant, cause=error.code)
            return
        except OSError:
            self._become("DIRTY", image=image, tenant=tenant, cause="STORAGE_FAILED")
            return
        with self._lock:
            self._sandbox = sandbox
            self._become("READY", image=image, tenant=tenant, sandbox=sandbox.name)

    def _explain(self, error: WorkbenchError) -> None:
        """For the operator who must find out why: the last refusal in full, beside `server.json`. Nothing of a tenant stands in it."""
        with suppress(OSError):
            path = self.folder / "why.txt"
            path.write_text(f"{now_ms()} {error}\n", "utf-8")
            path.chmod(0o600)

    def _leased(self, name: str, *, alive: bool = True) -> Sandbox:
        with self._lock:
            sandbox = self._sandbox
            if name in self._ended:
                raise sandbox_ended(self._ended[name])
            if sandbox is None or sandbox.name != name or self._facts is None:
                raise unknown(name)
            if alive and sandbox.cause:
                raise sandbox_ended(sandbox.cause)
            return sandbox

    def _become(self, state: str, *, image: str = "", tenant: str = "", sandbox: str = "", cause: str = "") -> None:
        with self._lock:
            self._state = ServerState(self.settings.server, state, image, tenant, sandbox, cause, now_ms())

    def _remember(self, name: str, cause: str) -> None:
        with self._lock:
            self._ended[name] = cause
            while len(self._ended) > _REMEMBERED:
                self._ended.pop(next(iter(self._ended)))


def _looked(sandbox: Sandbox) -> list[Found]:
    return sandbox.running.look(keys=sandbox.secrets + sandbox.relay.waiting)


def not_ready(server: str) -> Refused:
    """The refusal of a lease of a server that is not ready for it."""
    return Refused(
        f"服务器 {server} 未就绪，不能出租；请稍后再试或由算力方运维人员查看",
        f"server {server} is not ready and cannot be leased; try again later, or operators of the provider look into it",
        code="SERVER_NOT_READY",
        details={"server": server},
    )


def unknown(name: str) -> Refused:
    """The refusal of a call about a sandbox that is not leased here, or at a place that cannot be."""
    return Refused(
        "没有这样的沙箱在租，或请求的位置不对", "no such sandbox is leased here, or the request names a place that cannot be",
        code="SANDBOX_UNKNOWN", details={"sandbox": name[:40]},
    )  # fmt: skip

