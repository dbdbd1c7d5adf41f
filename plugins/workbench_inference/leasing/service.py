"""Leasing while a node runs: one thread that does what is due, the calls of partners, and the two sides for operations.

Document: docs/sandbox-design.md sections 1 and 5. Nothing of it exists where setting `inference.role` is empty.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from workbench.contracts import HealthReport, PeerCall, PeerPath, Transaction
from workbench.errors import KeyUnavailable, Refused, StartRefused, WorkbenchError
from workbench_inference.leasing import keys, launching, spending
from workbench_inference.leasing.autoscaling import Autoscaler
from workbench_inference.leasing.keys import LeasingHost
from workbench_inference.leasing.provider import Provider
from workbench_inference.leasing.relaying import Relay
from workbench_inference.leasing.tenant import Tenant
from workbench_inference.settings import PROVIDER, TENANT
from workbench_sandbox.formats import relay

ROUND_S: Final = 0.5
BUDGET_MS: Final = 60_000
"""How often the month's budget is looked at."""
FRAMES_THREADS: Final = 24
"""Calls of one tenant that wait for frames at a time: one for each sandbox, and some that send."""


class Leasing:
    """Background work of the plugin at either role. tenant, provider, relay: None where the node is not that."""

    name = "inference-leasing"

    def __init__(self, host: object) -> None:
        self.host = cast("LeasingHost", host)
        self.role = str(self.host.setting("inference.role"))
        self.tenant: Tenant | None = None
        self.provider: Provider | None = None
        self.relay: Relay | None = None
        self.autoscaler: Autoscaler | None = None
        if self.role == TENANT:
            self.tenant = Tenant(self.host, corpus=launching.corpus_source(self.host))
            self.autoscaler = Autoscaler(self.tenant)
        self._told_ms = -BUDGET_MS
        self.started = threading.Event()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- life

    def start(self) -> None:
        """Begin; a provider's servers are made, and the first round reaps what an earlier run left."""
        if self.role == PROVIDER:
            found = launching.launched(self.host)
            self.provider = Provider(self.host, found.servers, assurance=found.assurance, listing=found.listing)
            self.relay = Relay(self.provider)
        if self.role in (TENANT, PROVIDER):
            self._thread = threading.Thread(target=self._rounds, name=self.name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End within seconds; servers are killed and erased."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=20)
        if self.provider is not None:
            try:
                self.provider.close()
            finally:
                self.provider.servers.close()

    def wake(self) -> None:
        """Do the next round now."""
        self._wake.set()

    def round(self) -> None:
        """Everything that is due."""
        if self.provider is not None:
            self.provider.round()
        if self.relay is not None:
            self.relay.round()
        if self.tenant is not None:
            self.tenant.round()
            if not 0 <= self.host.now_ms() - self._told_ms < BUDGET_MS:
                self._told_ms = self.host.now_ms()
                spending.tell_budget(self.host)
        if self.autoscaler is not None:
            self.autoscaler.round()

    def _rounds(self) -> None:
        self._guarded(self._first)
        self.started.set()
        while not self._stop.is_set():
            self._guarded(self.round)
            self._wake.wait(ROUND_S)
            self._wake.clear()

    def _first(self) -> None:
        """A service key where there is none, and what an earlier run left."""

        def key(tx: Transaction) -> None:
            if keys.newest(tx, self.host.party) is None:
                keys.make(tx, self.host)

        self.host.store.write(key)
        if self.provider is not None:
            self.provider.start()
        if self.tenant is not None:
            self.tenant.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        """A fault of one round must not end leasing for ever."""
        try:
            work()
        except WorkbenchError as error:
            self.host.log_fault(error)
        except Exception as fault:  # noqa: BLE001 - logged by type and place
            self.host.log_fault(fault)


def leasing_of(host: object) -> Leasing:
    """The leasing of this node. Raises StartRefused when it could not be made."""
    found = next((one for one in getattr(host, "background", ()) if isinstance(one, Leasing)), None)
    if found is None:
        raise StartRefused("租约功能没有启动：管理员查看健康页与日志", "Leasing did not start: an administrator looks at health and log", code="LEASING_NOT_STARTED")
    return found


def tenant_of(host: object) -> Tenant:
    """The tenant's side; Refused NOT_A_TENANT."""
    found = leasing_of(host).tenant
    if found is None:
        raise Refused("本机构不是租用方", "This institution is no tenant", code="NOT_A_TENANT")
    return found


def provider_of(host: object) -> Provider:
    """The provider's side; Refused NOT_A_PROVIDER, StartRefused while its servers are not there yet."""
    leasing = leasing_of(host)
    found = leasing.provider
    if leasing.role == PROVIDER and (found is None or not leasing.started.is_set()):
        raise _not_yet()
    if found is None:
        raise Refused("本机构不是算力方", "This institution is no provider", code="NOT_A_PROVIDER")
    return found


def _not_yet() -> StartRefused:
    return StartRefused("租约功能还没有启动，稍后再试；久未启动时管理员查看健康页", "Leasing has not started yet; try again, and if it lasts an administrator looks at the health page", code="LEASING_NOT_STARTED")


def peer_paths(host: Any) -> Sequence[PeerPath]:  # Any: the node, which asks before it has its background work
    """Calls below `sandbox/` that this node answers; none without a role."""
    role = str(host.setting("inference.role"))

    def as_provider(call: PeerCall) -> bytes:
        found = leasing_of(host)
        if found.relay is None or not found.started.is_set():
            raise relay.sandbox_refused()
        return found.relay.answer(call)

    def as_tenant(call: PeerCall) -> bytes:
        tenant = tenant_of(host)
        return tenant.tick(call) if call.path == relay.TICK else tenant.pull(call)

    if role == PROVIDER:
        return [
            PeerPath("sandbox/", as_provider, threads=8, refusal=relay.sandbox_refused),
            PeerPath(relay.FRAMES, as_provider, threads=FRAMES_THREADS, refusal=relay.sandbox_refused),
        ]
    if role == TENANT:
        return [PeerPath(one, as_tenant, threads=2, refusal=relay.sandbox_refused) for one in (relay.TICK, relay.PULL)]
    return []


def reports(node: object) -> list[HealthReport]:
    """Lines of the health page: the service key's end, leases that are unproven, servers that are dirty."""
    found = leasing_of(node)
    host = found.host
    if not found.role:
        return []
    made: list[HealthReport] = []
    if found.role == PROVIDER and found.provider is None:
        made.append(HealthReport("inference.servers", "failed", "服务器没有启动，不出租：管理员查看日志", "The servers did not start, nothing is leased: an administrator looks at the log", "admin"))
    with host.store.read() as reader:
        newest = keys.known(reader, host.party)
        unproven = int(reader.execute("SELECT count(*) FROM inference_lease WHERE state = 'UNPROVEN'").fetchone()[0])
        dirty = int(reader.execute("SELECT count(*) FROM inference_server WHERE state = 'DIRTY'").fetchone()[0])
        servers = int(reader.execute("SELECT count(*) FROM inference_server").fetchone()[0])
        try:
            keys.own(reader, host)
        except KeyUnavailable as error:
            made.append(HealthReport("inference.service_key", "failed", error.zh, error.en, "admin"))
    if newest is not None and newest.until_ms - host.now_ms() < keys.RENEW_DAYS * keys.DAY_MS and not made:
        made.append(HealthReport("inference.service_key", "warning", "服务密钥将在 30 天内到期，管理员生成新的", "The service key ends within 30 days; an administrator makes another", "admin"))
    if unproven:
        made.append(HealthReport("inference.unproven", "failed", f"{unproven} 个租约没有干净的擦除收据，合规与算力方核对", f"{unproven} leases have no clean erase receipt; compliance asks the provider", "compliance"))
    if not servers and found.provider is not None:
        made.append(HealthReport("inference.servers", "warning", "没有服务器可出租，算力方运维增加", "There is no server to lease; the provider's operators add one", "provider-operator"))
    if dirty and found.provider is not None:
        made.append(HealthReport("inference.dirty", "warning", f"{dirty} 台服务器未清洁，不能出租", f"{dirty} servers are dirty and not leased", "provider-operator"))
    return made


__all__ = ["Leasing", "leasing_of", "peer_paths", "provider_of", "reports", "tenant_of"]
