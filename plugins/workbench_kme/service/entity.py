"""A KME as an object: its folder, device, key store, lines; what the interfaces ask of it.

Document: key-delivery.md sections 5 to 8. Synchronous and thread-safe; listening sockets are `__main__`'s business.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import UUID

from workbench.crypto import certificates, random
from workbench.crypto.certificates import KeyAndCertificate
from workbench.errors import KeyUnavailable, NotFound, Refused, SelfTestFailed, StartRefused
from workbench.store import Database
from workbench_kme.devices import Session
from workbench_kme.devices.group import HOME
from workbench_kme.devices.selftest import vectors_version
from workbench_kme.keys import KEY_MIGRATIONS, KeyStore, Provenance
from workbench_kme.keys import Line as KeyLine
from workbench_kme.keys import Quota as KeyQuota
from workbench_kme.keys.charge import ChargePools
from workbench_kme.keys.model import KeyValue
from workbench_kme.keys.rows import add_event
from workbench_kme.service import config as site_config
from workbench_kme.service.applications import APPLICATION_MIGRATIONS, Application, Applications
from workbench_kme.service.checking import Checks, Found, Schedule
from workbench_kme.service.config import LineConfig, LineSecrets
from workbench_kme.service.devices import Devices
from workbench_kme.service.journal import Journal
from workbench_kme.service.line import LineEnd
from workbench_kme.service.parts import LineParts
from workbench_kme.service.peering import OTHER_TENANT, PeerLink
from workbench_kme.service.pool import PoolKeeper
from workbench_kme.service.schema import SERVICE_MIGRATIONS
from workbench_kme.service.standard import (
    KEY_BITS,
    MAX_KEYS_PER_REQUEST,
    MAX_SLAVES,
    MIN_KEY_BITS,
    DeliveredKey,
    KeyRequest,
)
from workbench_kme.service.views import SelfTest, Test
from workbench_kme.service.wire import unavailable
from workbench_kme.sources import KeySource, SourceContext, source_class

CROSSED_PAUSE_S = 60.0
WITHDRAWN_AT_ONCE = 1000
"""Keys of one notice to the other end: its body is bounded."""


def system_ms() -> int:
    """The clock outside tests."""
    return time.time_ns() // 1_000_000


def _distils() -> bool:
    """Whether correction, verification and amplification give their known answers on this machine."""
    from workbench_kme.distill import known_answers

    try:
        known_answers.self_test()
    except SelfTestFailed:
        return False
    return True


class Entity:
    """An open KME. Opening it starts no thread; `start` does. Raises StartRefused, KeyUnavailable, SelfTestFailed."""

    def __init__(
        self,
        folder: Path,
        passphrase: str,
        *,
        now_ms: Callable[[], int] = system_ms,
        source: random.RandomSource = random.SYSTEM,
    ) -> None:
        self.folder, self.now_ms = folder, now_ms
        self.config = site_config.read_config(folder)
        self.secrets = site_config.parse_secrets(site_config.read_private(folder, "secrets.json"), passphrase)
        self.certificate = site_config.read_private(folder, "kme.pem")
        self.authority = site_config.read_private(folder, "authority.pem")
        self._check_identity()
        kept = {one.line: self._secrets_of(one) for one in self.config.lines}
        sources = {one.line: self._source(one, kept[one.line]) for one in self.config.lines}
        self.started_ms = now_ms()
        self._distils: bool | None = None
        self._crossed: dict[tuple[str, str], float] = {}
        self._testing = threading.Lock()
        database = Database(
            folder / "kme.sqlite", (*KEY_MIGRATIONS, *SERVICE_MIGRATIONS, *APPLICATION_MIGRATIONS), reserve_bytes=0, now_ms=now_ms
        )
        self.checks = Checks(database)
        try:
            began_s = time.monotonic()
            self.devices = Devices(folder, self.config, self.secrets)
            self.device = self.devices.group.home
            self._write_check("start", began_s)  # before a device that failed keeps this KME from opening
            self.session = Session(self.device)
            quota = self.config.quota
            self.store = KeyStore(
                database,
                self.devices.group,
                mark=folder / "kme.mark",
                now_ms=now_ms,
                default_quota=KeyQuota(quota.burst, quota.per_minute),
                # A copy of everything can be told from the original by the other end only.
                peer_required=True,
                source=source,
            )
            self.applications = Applications(folder, self.config, self.store, authority=self.authority)
            self.charges = ChargePools(self.store.core)
            self.journal = Journal(database, now_ms=now_ms)
            self.lines = {
                one.line: self._open_line(one, kept[one.line], sources[one.line], source) for one in self.config.lines
            }
        except BaseException:
            if hasattr(self, "devices"):
                self.devices.group.close()
            database.close()
            raise
        self._database = database
        self.applications.is_elsewhere = self._is_elsewhere
        self.applications.changed = self._applications_changed
        self._note_missing()
        self.schedule = Schedule(
            self.config.self_test_hours,
            check=lambda: self.self_test("schedule"),
            last_ms=lambda: self.last_self_test().time_ms,
            may=lambda: self.enabled,
            now_ms=now_ms,
        )

    def start(self) -> None:
        """Begin to make keys and to watch the other ends."""
        self.checks.tell(self.store.core)
        self.schedule.start()
        for line in self.lines.values():
            line.start()

    def close(self) -> None:
        """Stop everything and let go of the folder."""
        self.schedule.close()
        for line in self.lines.values():
            line.close()
        self.store.close()
        self.session.close()
        self.devices.group.close()
        self._database.close()

    # ---------------------------------------------------------------------------- what delivery asks

    def admits(self, sae: str, fingerprint: str) -> bool:
        """Whether whoever has this certificate is a registered application of this site."""
        return self.applications.admits(sae, fingerprint)

    def is_sae(self, sae: str) -> bool:
        """Whether this SAE belongs to this site, withdrawn ones included."""
        return self.applications.knows(sae)

    def line_to(self, sae: str) -> str:
        """The line whose other end serves this SAE. Raises NotFound."""
        for line, end in self.lines.items():
            if sae in end.far.saes:
                return line
        raise NotFound("没有通往该应用的线路", "no line leads to this application", code="SAE_UNKNOWN")

    def withdraw_application(self, sae: str, *, act: str) -> tuple[bool, int]:
        """(whether it was registered, keys revoked): what it was given and the far applications have not all fetched.

        Raises NotFound NO_APPLICATION.
        """
        withdrawn = self.applications.withdraw(sae, act=act)
        kept: dict[str, list[str]] = {}
        for line, key in self.store.reserved_of(sae):
            kept.setdefault(line, []).append(str(key))
        revoked = 0
        for line in set(kept) & set(self.lines):
            for first in range(0, len(kept[line]), WITHDRAWN_AT_ONCE):
                some = kept[line][first : first + WITHDRAWN_AT_ONCE]
                revoked += self.lines[line].withdraw("revoke", keys=some, block=-1, reason="application withdrawn")
        return withdrawn, revoked

    def tenant_of(self, line: str) -> str:
        """The line's tag."""
        return self.line(line).config.tenant

    def policy_of(self, line: str) -> str:
        """The line's policy."""
        return self.journal.line(line).policy

    def status_014(self, line: str, master: str, slave: str) -> dict[str, Any]:
        """The standard's status object."""
        self._require_line(master, line)
        end = self.line(line)
        return {
            "source_KME_ID": self.config.kme,
            "target_KME_ID": end.config.peer.kme,
            "master_SAE_ID": master,
            "slave_SAE_ID": slave,
            "key_size": KEY_BITS,
            "stored_key_count": self.store.status(line).available,
            "max_key_count": end.config.max_keys,
            "max_key_per_request": MAX_KEYS_PER_REQUEST,
            "max_key_size": KEY_BITS,
            "min_key_size": MIN_KEY_BITS,
            "max_SAE_ID_count": MAX_SLAVES,
            "status_extension": {
                "workbench_status": {
                    "v": 1,
                    "line": line,
                    "tenant": end.config.tenant,
                    "origin": end.source.provenance,
                    "state": end.state(),
                    "policy": self.policy_of(line),
                }
            },
        }

    def get_keys(self, line: str, request: KeyRequest, *, master: str, slave: str) -> list[DeliveredKey]:
        """Reserve at both ends and hand out to the master."""
        self._require_line(master, line)
        origins = [Provenance(one) for one in sorted(request.origins or ())]

        def taken() -> list[KeyValue]:
            slaves = (slave, *request.additional_slaves)
            return self.line(line).get_keys(number=request.number, size=request.size, origins=origins, master=master, slaves=slaves)

        try:
            try:
                values = taken()
            except KeyUnavailable as error:
                if error.code != "DEVICE_OUT":
                    raise
                self.note_devices()
                values = taken()  # a device failed just now; nothing was changed, and its keys are passed over from here on
        except KeyUnavailable as error:
            if error.code == "EXHAUSTED" and origins and self.store.status(line).available >= request.number:
                raise Refused(
                    f"线路 {line} 没有所要求来源的密钥",
                    f"line {line} has no keys of the origins asked for",
                    code="ORIGIN_UNMET",
                ) from error
            raise
        return [self._delivered(one) for one in values]

    def get_keys_by_id(self, line: str, key_ids: list[str], *, master: str, slave: str) -> list[DeliveredKey]:
        """Deliver to a slave; all or none."""
        self._require_line(slave, line)
        values = self.line(line).get_keys_by_id([UUID(one) for one in key_ids], master=master, slave=slave)
        return [self._delivered(one) for one in values]

    # ------------------------------------------------------------------------------------- everything

    def line(self, line: str) -> LineEnd:
        """This end of a line. Raises NotFound NO_SUCH_LINE."""
        if line not in self.lines:
            raise NotFound("本站没有这条线路", "this site has no such line", code="NO_SUCH_LINE")
        return self.lines[line]

    def record(self, kind: str, line: str, **facts: int | str) -> None:
        """One line of what happened, in the order of the key store's own: the node copies it into its evidence."""
        self.store.core.change(lambda tx, now: add_event(tx, now, kind, line, key_ids=(), **facts))

    def self_test(self, cause: str = "asked") -> bool:
        """Run all known answers; a wrong one disables everything until all are right again. Whether they are.

        The distillation's are among them where a line simulates: about ten seconds where its code is compiled first.
        """
        with self._testing:
            began_s = time.monotonic()
            if any(end.source.simulates for end in self.lines.values()):
                self._distils = _distils()
            self.devices.open_others()
            self.devices.group.selftest()
            self._note_check(cause, began_s)
            self.note_devices()
            return self.enabled

    def last_self_test(self) -> SelfTest:
        """The newest check as it is written down."""
        found = self.checks.newest(self.config.self_test_hours)
        assert found is not None, "one is written down before this KME opens"
        return found

    def test_results(self) -> list[Test]:
        """The newest answer to every known question."""
        found = [Test(one.name, one.passed, one.algorithm, one.source) for one in self.device.report.results]
        for name, member in self.devices.group.members.items():
            if name != HOME:
                found += [Test(f"{name}: {one.name}", one.passed, one.algorithm, one.source) for one in member.report.results]
        if self._distils is None:
            return found
        return [*found, Test("distillation", self._distils, "distillation", "workbench_kme.distill.known_answers")]

    @property
    def enabled(self) -> bool:
        """Whether keys are given out: a device serves, and no known answer of the distillation was wrong."""
        return self.devices.group.enabled and self._distils is not False

    def check_distillation(self) -> None:
        """Return if this machine may distil; asked before every block, tested before the first. KeyUnavailable."""
        if self._distils is None:
            with self._testing:
                if self._distils is None:
                    began_s = time.monotonic()
                    self._distils = _distils()
                    self._note_check("first-block", began_s)
        if not self._distils:
            raise unavailable("DEVICE_DISABLED", "密钥提炼自检未通过，已停用", "the distillation failed its self-test")
        if not self.device.enabled:
            raise unavailable(
                "DEVICE_DISABLED", "保管认证密钥池的第一台设备未在服务", "the first device, which keeps the authentication pools, does not serve"
            )

    # ---------------------------------------------------------------------------------------- devices

    def add_device(self, name: str, backend: str) -> None:
        """Another device, from now on; nothing stops meanwhile. Raises as Devices.add."""
        member = self.devices.add(name, backend)
        self.record("device.added", "", device=name, backend=member.kind, kek=member.kek_id.hex())

    def drain_device(self, name: str) -> int:
        """Bring a device's values to the others and take it away; how many. Raises as Devices.drain."""
        return self.devices.drain(name, self.store)

    def note_devices(self) -> None:
        """Write down which devices went out of service or came back; the mark goes to one that serves."""
        news = self.devices.group.news
        while news:
            with suppress(IndexError):  # another thread had it
                name, is_fit = news.popleft()
                self.record("device.back" if is_fit else "device.out-of-service", "", device=name)
                with suppress(SelfTestFailed, KeyUnavailable):  # none serves: then nothing leaves either
                    self.store.core.note()

    def _note_missing(self) -> None:
        """Values may lie under a key whose device is not here: said at every opening."""
        group, core = self.devices.group, self.store.core
        with core.database.read() as reader:
            missing = core.keks(reader) - group.kek_ids
        for kek in sorted(missing):
            self.record("device.missing", "", kek=kek.hex())
        group.look()
        self.note_devices()

    @property
    def version(self) -> str:
        """Version of this program."""
        try:
            return version("evidence-workbench")
        except PackageNotFoundError:
            return "0"

    # ----------------------------------------------------------------------------------------- private

    def _write_check(self, cause: str, began_s: float) -> None:
        took_ms = round((time.monotonic() - began_s) * 1000)
        self.checks.add(Found(self.now_ms(), took_ms, cause, self.test_results(), vectors_version(), self.version))

    def _note_check(self, cause: str, began_s: float) -> None:
        """Write the newest answers down, tell them, and let the alarm stand or end."""
        self._write_check(cause, began_s)
        self.checks.tell(self.store.core)
        for end in self.lines.values():
            end.alarms.hold("self-test", not self.enabled)

    def _delivered(self, value: Any) -> DeliveredKey:  # Any: KeyValue
        """A key on its way out; the store's buffer is overwritten at once."""
        given = DeliveredKey(
            key_id=str(value.key_id),
            value=bytes(value.value),
            block=value.block,
            provenance=str(value.provenance),
            source=self.lines[value.line].source.name,
            line=value.line,
            tenant=self.lines[value.line].config.tenant,
        )
        value.wipe()
        return given

    def _check_identity(self) -> None:
        pair = KeyAndCertificate(self.secrets.tls_key, self.certificate)
        facts = certificates.describe(self.certificate)
        if facts.uris != (site_config.KME_URI + self.config.kme,) or not certificates.key_matches(pair):
            raise StartRefused(
                f"站点 {self.config.site} 的证书与配置不符：请运维人员核对 kme.pem",
                f"the certificate of site {self.config.site} does not fit its configuration: operators check kme.pem",
                code="KME_IDENTITY",
            )

    def _require_line(self, sae: str, line: str) -> None:
        """Return if an application may use this line now.

        Raises Refused OTHER_TENANT, OTHER_LINE, KeyUnavailable APPLICATION_NOT_TOLD.
        """
        found = self.applications.registered(sae)
        if found is None:
            return
        tag = self.tenant_of(line)
        if found.tenant != tag:
            self._note_other_tenant(found, line, tag)
            raise Refused(
                f"应用 {sae} 与线路 {line} 不属同一租户，不供钥", f"the application {sae} and line {line} belong to different tenants: it gets no key",
                code=OTHER_TENANT,
            )  # fmt: skip
        if found.line not in ("", line):
            raise Refused(
                f"应用 {sae} 只登记在线路 {found.line} 上", f"the application {sae} is registered for line {found.line} only", code="OTHER_LINE"
            )
        if not self.line(line).is_told(sae, is_configured=not found.line):
            raise unavailable(
                "APPLICATION_NOT_TOLD",
                f"线路 {line} 的对端还不知道应用 {sae}，或该编号在对端已属他人",
                f"the other end of line {line} does not know the application {sae} yet, or its id is somebody else's there",
            )

    def _note_other_tenant(self, one: Application, line: str, tag: str) -> None:
        """An application reached for another tenant's keys: told once a minute for each application and line."""
        now, mark = time.monotonic(), (one.application, line)
        if now - self._crossed.get(mark, -CROSSED_PAUSE_S) < CROSSED_PAUSE_S:
            return
        self._crossed[mark] = now
        self.record("tenant.refused", line, application=one.application, tenant=one.tenant, line_tenant=tag)

    def _is_elsewhere(self, sae: str) -> bool:
        return any(sae in (*end.config.peer.saes, *end.far.saes) for end in self.lines.values())

    def _is_free(self, line: str, sae: str) -> bool:
        """Whether the other end of a line may name an application so: not one of this site's, nor of another line's."""
        others = (end for name, end in self.lines.items() if name != line)
        return not self.is_sae(sae) and not any(sae in (*end.config.peer.saes, *end.far.saes) for end in others)

    def _applications_changed(self) -> None:
        for end in self.lines.values():
            end.wake()

    def _secrets_of(self, line: LineConfig) -> LineSecrets:
        kept = self.secrets.lines.get(line.line)
        if kept is None:
            raise StartRefused(
                f"线路 {line.line} 在 secrets.json 中没有秘密：请密钥管理员补上",
                f"line {line.line} has no secrets in secrets.json: key staff must add them",
                code="KME_CONFIG",
            )
        return kept

    def _open_line(
        self, line: LineConfig, kept: LineSecrets, key_source: KeySource, source: random.RandomSource
    ) -> LineEnd:
        sender, receiver = self.config.kme, line.peer.kme
        if not line.is_sender:
            sender, receiver = receiver, sender
        self.store.register_line(
            KeyLine(
                line.line,
                sender=sender,
                receiver=receiver,
                own=self.config.kme,
                low_water=line.low_water,
                kept_back=self.config.quota.kept_back,
                max_keys=line.max_keys,
                tenant=line.tenant,
            )
        )
        self.journal.add_line(line.line, policy=line.policy)
        parts = LineParts(
            line,
            store=self.store,
            journal=self.journal,
            source=key_source,
            pool=PoolKeeper(
                self.journal,
                self.session,
                line.line,
                kept.authentication,
                is_sender=line.is_sender,
                mark=self.store.core.keeper,
                distils=key_source.simulates,
            ),
            link=PeerLink(line, self.certificate, self.secrets.tls_key),
            now_ms=self.now_ms,
            random=source,
            device_enabled=lambda: self.enabled,
            check_distillation=self.check_distillation if key_source.simulates else lambda: None,
            record=self.record,
            own_applications=partial(self.applications.told_on, line.line),
            is_free=partial(self._is_free, line.line),
        )
        return LineEnd(parts)

    def _source(self, line: LineConfig, kept: LineSecrets) -> KeySource:
        context = SourceContext(
            line=line.line,
            is_sender=line.is_sender,
            options=line.options,
            folder=self.folder,
            seed=kept.seed,
            tenant=line.tenant,
            was_used=lambda name: self.journal.was_used(name),
            use_once=lambda name: self.journal.use_once(name),
        )
        try:
            made = source_class(line.source)(context)
        except (ValueError, OSError) as error:
            raise StartRefused(
                f"线路 {line.line} 的来源配置有误（{error}）：请运维人员改正",
                f"the source of line {line.line} is configured wrongly ({error}): operators correct it",
                code="KME_CONFIG",
            ) from error
        if line.demonstration and not made.simulates:
            raise StartRefused(
                f"线路 {line.line} 不是仿真线路，不能作为演示线路",
                f"line {line.line} is not simulated and cannot be a demonstration line",
                code="KME_CONFIG",
            )
        return made
