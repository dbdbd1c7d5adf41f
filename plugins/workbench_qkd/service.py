"""The site's key-management entity as this node reaches it, and the work that carries its events into evidence."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from workbench.contracts import BackgroundWork, Host, Transaction
from workbench.domain.party import PartyId
from workbench.errors import KeyUnavailable, PeerError, Refused, StartRefused, WorkbenchError
from workbench_kme.service import views
from workbench_kme.service.client import ReceivedKey
from workbench_qkd import following, policies
from workbench_qkd.bandwidth import SETTING as BANDWIDTH
from workbench_qkd.bandwidth import Bandwidth
from workbench_qkd.connecting import Place, connected, key_client, place
from workbench_qkd.measuring import Measures, causes
from workbench_qkd.model import counts

FIRST_PAUSE_S = 0.5
EVENTS_A_ROUND = 500
ALARMS_A_ROUND = 1000
BLOCKS_A_PAGE = 100
DEMONSTRATION_MS = 4_000


class NoEntity(KeyUnavailable):
    """This node has no key-management entity: a lasting state that operators change, so a refusal and no fault of the server."""

    exit_status = 2
    http_status = 409


class ChannelHost(Host, Protocol):
    """contracts.Host, and what of the node only this plugin needs. folder: of the institution."""

    folder: Path
    keys: Any  # the institution's; `message` signs what goes to partners
    background: Iterable[BackgroundWork]
    people: Any  # accounts and tickets

    def pinned_keys(self, party: PartyId) -> Any:
        """Public keys of a partner as the allow-list pins them."""

    def log_fault(self, fault: BaseException) -> None:
        """An unexpected failure to the log, without values."""


class Management(Protocol):
    """What this plugin asks of a key-management entity: docs/protocols/key-delivery.md section 7, one method a row."""

    def overview(self) -> views.Overview: ...
    def lines(self) -> list[views.Line]: ...
    def line(self, line: str) -> views.Line: ...
    def blocks(self, line: str, *, limit: int = 100, before: int = -1) -> list[views.Block]: ...
    def alarms(self, *, open_only: bool = False, limit: int = 100) -> list[views.Alarm]: ...
    def events(self, *, after: int = 0, limit: int = 500) -> list[views.Event]: ...
    def eavesdrop(self, line: str, kind: str, fraction: float) -> views.Line: ...
    def recover(self, line: str) -> views.Line: ...
    def set_policy(self, line: str, policy: str, *, act: str) -> views.Line: ...
    def rekey(self, line: str, *, reason: str) -> int: ...
    def forecast(self, line: str) -> views.Forecast: ...
    def revoke(self, line: str, *, key_ids: Sequence[str] = (), block: int = -1, reason: str) -> int: ...
    def key(self, key_id: str) -> views.Key: ...
    def leak_report(self, key_id: str) -> views.LeakReport: ...
    def self_test(self) -> views.SelfTest: ...
    def last_self_test(self) -> views.SelfTest: ...
    def self_tests(self, *, limit: int = 100) -> list[views.Check]: ...
    def devices(self) -> list[views.Device]: ...
    def add_device(self, name: str, *, backend: str = "soft") -> views.Device: ...
    def drain_device(self, name: str) -> int: ...
    def consume(self, key_ids: Sequence[str], *, sae: str, purpose: str, reference: str) -> int: ...
    def applications(self) -> views.Applications: ...
    def register_application(self, wanted: Mapping[str, Any], *, act: str) -> views.Application: ...
    def set_application(self, wanted: Mapping[str, Any], *, act: str) -> views.Application: ...
    def withdraw_application(self, application: str, *, act: str) -> views.ApplicationWithdrawn: ...
    def charges(self) -> list[views.ChargePool]: ...
    def fill_charges(self, *, person: str, device: str, line: str, count: int, low_water: int, after: int, passphrase: str) -> views.ChargeFilling: ...
    def deliver_under_charge(
        self, *, person: str, device: str, line: str, sae: str, slave: str, origins: Sequence[str] = ()
    ) -> views.ChargeDelivery: ...
    def revoke_charges(self, *, person: str, device: str = "", reason: str) -> views.ChargesRevoked: ...
    def close(self) -> None: ...


class Keys(Protocol):
    """Taking keys as an application of the site: ETSI GS QKD 014 (docs/protocols/key-delivery.md section 6)."""

    def get_keys(self, slave: str, *, number: int = 1, size: int = 256, additional_slaves: Sequence[str] = (), origins: Sequence[str] = ()) -> list[ReceivedKey]: ...
    def get_keys_by_id(self, master: str, key_ids: Sequence[str]) -> list[ReceivedKey]: ...
    def close(self) -> None: ...


class ChannelService:
    """The connection to the site's entity and the thread that follows it. problem: what the last round failed with."""

    name = "qkd"

    def __init__(self, host: Host, *, connect: Callable[[Place], Management] | None = None) -> None:
        self.host = cast("ChannelHost", host)
        self.problem: WorkbenchError | None = None
        self.conversations: Any = None  # workbench_qkd.conversing makes it, which stands above this module
        self.making = threading.Lock()
        self.bandwidth = Bandwidth(lambda: self.host.setting(BANDWIDTH))
        self._connect: Callable[[Place], Management] = connect or connected
        self._client: Management | None = None
        self._place: Place | None = None
        self._attached: Management | None = None
        self._attached_keys: tuple[Keys | None, str] = (None, "")
        self._rekeyed: dict[str, int] = {}
        self._renewals = 0
        self.missing_frames: dict[PartyId, tuple[int, int]] = {}
        self.refused_frames: dict[PartyId, tuple[int, int]] = {}  # of a partner: when the last one came, how many in this run
        self.measures = Measures(lambda: self.host.store, now_ms=lambda: self.host.now_ms(), pause_s=lambda: float(self.host.setting("qkd.follow_s")))
        self._source = ""
        self._nudged_ms = 0
        self._lock = threading.Lock()
        self._round = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def attach(self, client: Management, keys: Keys | None = None, *, sae: str = "") -> None:
        """Use these clients instead of those that the settings name: an entity within this process."""
        with self._lock:
            self._attached, self._attached_keys = client, (keys, sae)

    def turn(self, line: str) -> int:
        """How often all keys of a line were replaced in this run: a key taken before the last time begins no session."""
        return self._rekeyed.get(line, 0)

    def replaced(self, line: str) -> None:
        """All keys of a line are replaced; call it in the transaction that ends the line's sessions."""
        self._rekeyed[line] = self.turn(line) + 1

    @property
    def renewals(self) -> int:
        """How often in this run all sessions had to take fresh keys: one whose key was asked for before the last time carries nothing more."""
        return self._renewals

    def renew_sessions(self) -> None:
        """Every session of the channel takes a fresh key before it is used again, or ends: somebody with rights here was revoked."""
        with self._lock:
            self._renewals += 1

    def count_refused(self, peer: PartyId) -> int:
        """Another frame or record of this partner did not verify; how many in this run."""
        with self._lock:
            number = self.refused_frames.get(peer, (0, 0))[1] + 1
            self.refused_frames[peer] = (self.host.now_ms(), number)
            return number

    def count_missing(self, peer: PartyId, more: int) -> int:
        """Frames of this partner never came; how many in this run."""
        with self._lock:
            number = self.missing_frames.get(peer, (0, 0))[1] + more
            self.missing_frames[peer] = (self.host.now_ms(), number)
            return number

    @property
    def is_configured(self) -> bool:
        """Whether there is an entity: attached, or named by the settings."""
        return self._attached is not None or bool(self.host.setting("qkd.kme"))

    def client(self) -> Management:
        """The entity's management interface. KeyUnavailable NO_KME without a setting; StartRefused WRONG_SETTING for a bad one."""
        if self._attached is not None:
            return self._attached
        if not self.is_configured:
            raise NoEntity(
                "本节点没有配置密钥管理实体。运维设置 qkd.kme 后重启节点",
                "This node has no key-management entity. Operations set qkd.kme and restart the node",
                code="NO_KME",
            )
        found = place(self.host.setting("qkd.kme"), self.host.folder)
        with self._lock:
            # An entity of this machine may come back at another port, with renewed certificates.
            if self._client is None or found != self._place:
                if self._client is not None:
                    self._client.close()
                self._client, self._place = self._connect(found), found
            return self._client

    def keys(self, line: str = "") -> tuple[Keys, str]:
        """(client that takes keys of a line, this node's id as an application on it). A new client; close it.

        Raises as `client`, and NO_SAE.
        """
        attached, sae = self._attached_keys
        if attached is not None:
            return attached, sae
        self.client()
        assert self._place is not None
        return key_client(self._place, line), self._place.for_line(line)[0]

    def own_applications(self) -> frozenset[str]:
        """What this node is as an application, as far as its settings say and the entity could be asked."""
        attached, sae = self._attached_keys
        found = self._place
        if attached is not None or found is None:
            named = [sae]
        else:
            named = [found.sae, *(one for one, _ in found.line_saes.values())]
        return frozenset(one for one in named if one)

    def start(self) -> None:
        """Begin to follow, when there is an entity."""
        if self.is_configured:
            self._thread = threading.Thread(target=self._rounds, name="qkd", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            try:
                self.measures.flush()
            except WorkbenchError as error:  # the time not written is a gap
                self.host.log_fault(error)
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def round(self) -> int:
        """Carry what is new into evidence, put decided policies into force; how many events. Never two at once."""
        with self._round:
            host = self.host
            client, lines = self._seen()
            source = self._source
            self._notice_replacement(source, lines)
            taken = self._follow_events(client, source)
            for line in lines:
                blocks = self._new_blocks(client, source, line.line)
                if blocks:
                    taken += host.store.write(lambda tx, name=line.line, found=blocks: following.take_blocks(tx, host, source, name, found))  # type: ignore[misc]
                self._keep_demonstrating(client, line)
            alarms = client.alarms(limit=ALARMS_A_ROUND)
            if alarms:
                taken += host.store.write(lambda tx: following.take_alarms(tx, host, source, alarms))
            before = self.host.now_ms() - int(self.host.setting("qkd.count_minutes")) * following.MINUTE_MS
            with self.host.store.read() as reader:
                is_due = reader.execute("SELECT 1 FROM qkd_tally WHERE from_ms <= ? LIMIT 1", (before,)).fetchone() is not None
            if is_due:
                self.host.store.write(lambda tx: following.flush(tx, self.host, older_than_ms=before))
            self._revoke_again(client)
            self.enforce()
            return taken

    def _seen(self) -> tuple[Management, list[views.Line]]:
        """The entity and its lines now; whether keys can be had counts for the quality of service, its silence too."""
        try:
            client = self.client()
            if not self._source:
                told = client.overview()
                self._source = f"{told.site}/{told.kme}"
            lines = client.lines()
        except NoEntity:
            raise
        except (PeerError, KeyUnavailable):
            self.measures.see_nobody()
            raise
        host, required = self.host, self.host.setting("qkd.required_origins")
        with host.store.read() as reader:
            policy = {one.line: policies.in_force(reader, host, one.line, one.policy) for one in lines}
            held = policies.held(reader)
        self.measures.see(causes(lines, held=held, counts=lambda one: counts(policy[one.line], one.provenance, required)))
        return client, lines

    def _revoke_again(self, client: Management) -> None:
        """What the entity could not be told, and after a restore what was revoked since the copy: the entity may be an older one too.

        A revocation that it refuses, such as of a line that is no more, is written down and not asked for again.
        """
        host = self.host
        with host.store.read() as reader:
            rows = reader.execute("SELECT entry, line, keys, block, is_all FROM qkd_revoke_again ORDER BY entry").fetchall()
        for entry, line, keys, block, is_all in rows:
            reason, key_ids, event = f"again: entry {entry}", [str(one) for one in json.loads(keys)], "revoked.again"
            try:
                changed = client.rekey(line, reason=reason) if is_all else client.revoke(line, key_ids=key_ids, block=block, reason=reason)
                facts = f"entry={entry} keys={changed}"
            except Refused as error:
                event, facts = "revoked.refused", f"code={error.code} entry={entry}"

            def done(tx: Transaction, entry: int = entry, values: dict[str, str] = {"line": line, "event": event, "facts": facts}) -> None:  # noqa: B006
                tx.execute("DELETE FROM qkd_revoke_again WHERE entry = ?", (entry,))
                host.evidence.append(tx, "qkd.told", values)

            host.store.write(done)

    def _notice_replacement(self, source: str, lines: Sequence[views.Line]) -> None:
        """An entity never goes back below a block number; one that did is another one under the same name, and is followed from its start."""
        with self.host.store.read() as reader:
            anew = [one.line for one in lines if 0 <= one.last_block < following.last_number(reader, f"{source} {one.line} blocks")]
        if anew:
            self.host.store.write(lambda tx: following.begin_anew(tx, self.host, source, anew))

    def _follow_events(self, client: Management, source: str) -> int:
        taken = 0
        while True:
            with self.host.store.read() as reader:
                after = max(0, following.last_number(reader, f"{source} events"))
            told = client.events(after=after, limit=EVENTS_A_ROUND)
            if not told:
                return taken
            taken += self.host.store.write(lambda tx, told=told: following.take_events(tx, self.host, source, told))  # type: ignore[misc]

    def _new_blocks(self, client: Management, source: str, line: str) -> list[views.Block]:
        """Every block after the cursor, however long the node was away."""
        with self.host.store.read() as reader:
            last = following.last_number(reader, f"{source} {line} blocks")
        found: list[views.Block] = []
        before = -1
        while page := client.blocks(line, limit=BLOCKS_A_PAGE, before=before):
            found += [one for one in page if one.block > last]
            before = page[-1].block
            if before <= last or len(page) < BLOCKS_A_PAGE:
                break
        return found

    def _keep_demonstrating(self, client: Management, line: views.Line) -> None:
        """A full line makes no blocks; while its eavesdropper listens one is made now and then, or nobody would see a thing."""
        now = self.host.now_ms()
        if line.role == "sender" and line.eavesdropper_fraction > 0 and line.state == "full" and now - self._nudged_ms >= DEMONSTRATION_MS:
            self._nudged_ms = now
            client.recover(line.line)

    def enforce(self) -> None:
        """Tell the entity what the people of this site decided, where it keeps another policy."""
        client = self.client()
        for line in client.lines():
            with self.host.store.read() as reader:
                made = policies.decided(reader, self.host, line.line)
            if made is not None and made.is_sound and made.policy != line.policy:
                client.set_policy(line.line, made.policy, act=f"{self.host.party} {made.since_ms}")

    def _rounds(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._stop.wait(pause):
            pause = max(0.2, float(self.host.setting("qkd.follow_s")))
            try:
                self.round()
                self.problem = None
            except WorkbenchError as error:
                if self.problem is None:
                    self.host.log_fault(error)
                self.problem = error
            except Exception as fault:  # noqa: BLE001 - a fault in one round must not end following for ever
                self.host.log_fault(fault)


def service_of(host: object) -> ChannelService:
    """The service that this plugin gave this node. Raises StartRefused when it could not be made."""
    found = next((one for one in getattr(host, "background", ()) if isinstance(one, ChannelService)), None)
    if found is None:
        raise StartRefused(
            "量子通道插件没有启动：管理员查看健康页与日志", "The plugin of the quantum channel did not start: an administrator looks at health and log",
            code="CHANNEL_NOT_STARTED",
        )  # fmt: skip
    return found
