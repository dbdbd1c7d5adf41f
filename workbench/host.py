"""Workbench: one institution's node as an object, never a module global. Tests and demos run three in one process.

It puts the parts together (plugins checked, store, vault, ledger, evidence, people, flows) and holds no business rule.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import polars as pl

from workbench import __version__
from workbench.clock import local_day, system_now_ms, system_random
from workbench.contracts import (
    BackgroundWork,
    Channel,
    ConsentRegistry,
    DocumentConnector,
    EngineRecipe,
    HealthReport,
    IntersectionEngine,
    Ledger,
    LetterKind,
    Machines,
    Scaler,
    SessionKeys,
)
from workbench.crypto import ed25519, mldsa, sm2
from workbench.domain.checkpoint import PartyKeys
from workbench.domain.erasure import Customer
from workbench.domain.erasure import Terms as RetentionTerms
from workbench.domain.evidence import ReplayNeed, RestoredEntry
from workbench.domain.intersection import JobId, JobState, KeyKind, new_job_id
from workbench.domain.party import PartyId
from workbench.domain.subject import SubjectRecord, SubjectRequest
from workbench.errors import KeyUnavailable, NotFound, Refused, StartRefused, WorkbenchError
from workbench.flows import question
from workbench.flows.intersection import IntersectionFlow
from workbench.flows.jobs import JobRows
from workbench.flows.withdrawal import Withdrawals
from workbench.gate import Gate
from workbench.loading import PluginSet, load_plugins, require_providers
from workbench.node import channels, first_passwords
from workbench.node.accounts_again import replay_accounts, sealed_name
from workbench.node.correcting import Correction, correct
from workbench.node.drafts import DRAFT_OPERATIONS
from workbench.node.erasing import identify
from workbench.node.erasure import Erasure
from workbench.node.erasure_operations import ERASURE_OPERATIONS
from workbench.node.evidence_export import EXPORT_OPERATIONS
from workbench.node.evidence_reading import EVIDENCE_OPERATIONS, MirrorIndex
from workbench.node.evidence_search import SEARCH_OPERATIONS
from workbench.node.files import Downloads, Uploads
from workbench.node.heartbeat import Heartbeat
from workbench.node.intersections import INTERSECTION_OPERATIONS
from workbench.node.keys import InstitutionKeys
from workbench.node.kinds import HOST_KINDS
from workbench.node.laboratory import Laboratory
from workbench.node.ledger_operations import LEDGER_OPERATIONS
from workbench.node.letters import LetterService
from workbench.node.links import Links, NoLinks
from workbench.node.lists import LIST_OPERATIONS, Lists
from workbench.node.members import MemberChanges
from workbench.node.negotiations import Negotiations
from workbench.node.page_operations import PAGE_OPERATIONS
from workbench.node.partners import PARTNER_OPERATIONS, Partners
from workbench.node.peer import PeerApi
from workbench.node.people import People
from workbench.node.people_operations import PEOPLE_OPERATIONS
from workbench.node.restore import RESTORE_MIGRATIONS, Restoring
from workbench.node.schema import HOST_MIGRATIONS
from workbench.node.sealing import Sealing
from workbench.node.subject_records import subject_records
from workbench.node.tasks import TASK_OPERATIONS, Tasks
from workbench.node.trust import Partner
from workbench.node.withdrawals import WITHDRAWAL_OPERATIONS
from workbench.node.withdrawals import health as withdrawal_health
from workbench.operations import Registry
from workbench.settings import HOST_SETTINGS, Settings
from workbench.store import Database
from workbench.store.blobs import BLOB_MIGRATIONS, Blobs
from workbench.store.evidence_log import EvidenceLog
from workbench.store.frames import get_frame
from workbench.store.outbox import Outbox
from workbench.store.restricted import ERASURE_MIGRATIONS, Restricted
from workbench.store.vault import Vault

T = TypeVar("T")
log = logging.getLogger("workbench")

HOST_OPERATIONS = (
    *LIST_OPERATIONS,
    *INTERSECTION_OPERATIONS,
    *DRAFT_OPERATIONS,
    *EVIDENCE_OPERATIONS,
    *ERASURE_OPERATIONS,
    *WITHDRAWAL_OPERATIONS,
    *EXPORT_OPERATIONS,
    *SEARCH_OPERATIONS,
    *PARTNER_OPERATIONS,
    *LEDGER_OPERATIONS,
    *PEOPLE_OPERATIONS,
    *TASK_OPERATIONS,
    *PAGE_OPERATIONS,
)


@dataclass(frozen=True, slots=True)
class PinnedPublicKeys:
    """Public keys of one institution as the allow-list pins them."""

    message: sm2.PublicKey
    contract: sm2.PublicKey
    ed25519: ed25519.PublicKey
    sm2: sm2.PublicKey
    mldsa44: mldsa.PublicKey | None = None


@dataclass(frozen=True, slots=True)
class CosigningKeys:
    """Private keys that sign checkpoints and nothing else."""

    ed25519: ed25519.PrivateKey
    sm2: sm2.PrivateKey
    mldsa44: mldsa.PrivateKey | None = None


class Workbench:
    """One node. folder: its own 0700 directory. kind: "demo", "test" or "production".

    links: how to reach partners; set by `connect_links` before `start`. Everything with a clock or chance takes
    `now_ms` and `random` from here.
    """

    def __init__(
        self,
        *,
        folder: Path,
        kind: str,
        project: str,
        keys: InstitutionKeys,
        vault_key: bytes,
        settings: dict[str, Any] | None = None,
        plugins: PluginSet | None = None,
        now_ms: Callable[[], int] = system_now_ms,
        random: Callable[[int], bytes] = system_random,
    ) -> None:
        self.folder = folder
        self.kind = kind
        self.project = project
        self.keys = keys
        self.party: PartyId = keys.party
        self.now_ms = now_ms
        self.random = random
        self.plugins = plugins or load_plugins()
        require_providers(self.plugins)
        self.settings = Settings([*HOST_SETTINGS, *self.plugins.collect_all("workbench_settings")], settings, workspace=kind)
        self.store = Database(
            folder / "evidence.db", [*HOST_MIGRATIONS, *RESTORE_MIGRATIONS, *BLOB_MIGRATIONS, *ERASURE_MIGRATIONS, *self.plugins.collect_all("workbench_migrations")], now_ms=now_ms
        )
        self.vault = Vault(self.store, vault_key)
        self.partners = Partners(self)
        self.ledger: Ledger = self.plugins.collect("workbench_ledger", host=self)[0][1]
        kinds = [*HOST_KINDS, *self.plugins.collect_all("workbench_evidence_kinds")]
        self.kinds = {one.name: one for one in kinds}
        self.evidence = EvidenceLog(
            kinds, self.ledger, self.vault, now_ms=now_ms, random=random, party=self.party
        )
        self.blobs = Blobs(self.store, self.vault, folder / "blobs", now_ms=now_ms, source=random)
        self.restricted = Restricted(
            self.vault, self.evidence, self.ledger, self.blobs, party=self.party,
            terms=RetentionTerms(self.setting("erasure.retention")), now_ms=now_ms, source=random,
        )  # fmt: skip
        self.consent: ConsentRegistry = self.plugins.collect("workbench_consent_registry", host=self)[0][1]
        self.engines: list[IntersectionEngine] = self.plugins.collect_all("workbench_intersection_engines")
        self.people = People(
            party=self.party,
            store=self.store,
            evidence=self.evidence,
            now_ms=now_ms,
            random=random,
            sealed_name=lambda token: sealed_name(self, token),
            slowest_s=lambda: self.setting("people.slowest_sign_in_s"),
        )
        self.uploads = Uploads(folder / "uploads", max_bytes=self.setting("node.max_upload_bytes"))
        self.downloads = Downloads(store=self.store, vault=self.vault, now_ms=now_ms)
        self.lists = Lists(self)
        self.jobs = JobRows(self.store)
        self.tasks = Tasks(self)
        self.flow = IntersectionFlow(self)
        self.question = question
        self.negotiations = Negotiations(self, Outbox(self.store, now_ms=now_ms))
        self.withdrawals = Withdrawals(self)
        self.letters = LetterService(self, Outbox(self.store, now_ms=now_ms), self._letter_kinds())
        self.sealing = Sealing(self)
        self.heartbeat = Heartbeat(self)
        self.erasure = Erasure(self)
        self.restoring = Restoring(self)
        self.members = MemberChanges(self)
        self._mirrors: dict[PartyId, MirrorIndex] = {}
        self.peer_api = PeerApi(self)
        operations = [*HOST_OPERATIONS, *self.plugins.collect_all("workbench_operations")]
        self.gate = Gate(self, Registry(one for one in operations if one.exists(workspace=kind, setting=self.setting)))
        self.laboratory = Laboratory(
            self,
            lambda at, clock: Workbench(
                folder=at, kind=kind, project=project, keys=keys, vault_key=vault_key, settings=settings,
                plugins=self.plugins, now_ms=clock, random=random,
            ),
        )  # fmt: skip
        self.links: Links = NoLinks()
        self._without_background: list[str] = []
        self.background: list[BackgroundWork] = self._background_of_plugins()
        self._without_part: list[tuple[str, str]] = []
        self._session_keys: list[SessionKeys] = [one for _, one in self._parts("workbench_session_keys")]
        self._machines: list[Machines] = [one for _, one in self._parts("workbench_machines")]
        channels_of_plugins = [one.name for _, one in self._parts("workbench_carried_channels")]
        self.peer_api.serve(self._parts("workbench_peer_paths"), channels=channels_of_plugins)
        self._is_started = False

    # ------------------------------------------------------------------ life

    def start(self, links: Links) -> None:
        """Test the arithmetic, write the first entry of this run, settle what a stop left open, begin to work."""
        self.links = links
        for engine in self.engines:
            engine.self_test()
        self.sealing.start()
        self.heartbeat.start()
        self._is_started = True
        self.restoring.start(self._begin)

    def _begin(self) -> None:
        """What writes, once the mirrors have confirmed that the own log is complete (docs/protocols/ledger.md section 5)."""
        self.ledger.start()
        loaded = ", ".join(f"{one.name} {one.version} {one.state}" for one in self.plugins.plugins)
        values = {"version": __version__, "plugins": loaded, "workspace": self.kind}
        self.store.write(lambda tx: self.evidence.append(tx, "node.started", values))
        first_passwords.remove_ended(self.folder, self.people.past_first_password(), now_ms=self.now_ms())
        self.erasure.start()
        self.flow.recover()
        self.negotiations.start()
        self.letters.start()
        self.withdrawals.start()
        for work in self.background:
            work.start()

    def close(self) -> None:
        """Stop background work and close the file; running attempts are ended and can be run again."""
        for work in self.background:
            work.stop()
        self.erasure.stop()
        self.flow.close()
        self.restoring.stop()
        if self._is_started:
            self.heartbeat.stop()
            self.sealing.stop()
            self.negotiations.stop()
            self.withdrawals.stop()
            self.letters.stop()
        self.tasks.close()
        self.peer_api.close()
        self.links.close()
        self.store.close()

    # ------------------------------------------------------------------ what operations and providers use

    def setting(self, name: str) -> Any:
        """The value of a declared setting."""
        return self.settings[name]

    def today(self) -> date:
        """The calendar day in Asia/Shanghai."""
        return local_day(self.now_ms())

    def new_job_id(self) -> JobId:
        return new_job_id(f"{self.today():%Y%m%d}", self.random(4))

    def threads(self) -> int:
        """Threads for arithmetic."""
        return int(self.setting("node.threads")) or os.cpu_count() or 1

    def parties(self) -> Sequence[PartyId]:
        """All institutions of the project, this one included, sorted."""
        return self.partners.parties()

    def names(self, party: PartyId) -> tuple[str, str]:
        """Chinese and English name of an institution."""
        bundle = self.keys.bundle if party == self.party else self.partners.known(party).bundle
        return bundle.name_zh, bundle.name_en

    def pinned_keys(self, party: PartyId) -> PinnedPublicKeys:
        """Public keys of an institution as pinned by the allow-list (its own for this one)."""
        bundle = self.keys.bundle if party == self.party else self.partners.known(party).bundle
        return PinnedPublicKeys(
            bundle.message_key, bundle.contract_key, bundle.cosign_ed25519, bundle.cosign_sm2, bundle.cosign_mldsa44
        )

    def former_parties(self) -> Sequence[PartyId]:
        """Institutions that once belonged to the allow-list, sorted: their keys stay good for what they signed then."""
        return self.partners.former()

    def log_parties(self) -> Sequence[PartyId]:
        """Every institution whose log is held here: those of today, then those that have left."""
        return [*self.parties(), *(one for one in self.former_parties() if one not in self.parties())]

    def job_participants(self, log: PartyId, job: str) -> frozenset[PartyId]:
        """Who takes part in a job, as far as this node knows: from its own jobs, else from the entries of that log."""
        try:
            own = self.jobs.get(job)
            if log in (self.party, own.partner):
                return frozenset({self.party, own.partner})
        except NotFound:
            pass  # a job of others, seen from outside
        if log == self.party:
            return frozenset()
        return self.mirror_index(log).participants(job)

    def trust_keys(self) -> dict[PartyId, PartyKeys]:
        """Co-signing keys of every institution, former ones too, as this node pins them, for `workbench.verify`."""
        return dict(self.ledger.keys())

    def mirror_index(self, party: PartyId) -> MirrorIndex:
        """Where a job's entries lie in this node's mirror of a partner's log."""
        if party not in self._mirrors:
            self._mirrors[party] = MirrorIndex(self.ledger, party)
        return self._mirrors[party]

    @property
    def cosigning_keys(self) -> CosigningKeys:
        third = self.keys.cosign_mldsa44 if self.setting("ledger.mldsa") else None
        return CosigningKeys(self.keys.cosign_ed25519, self.keys.cosign_sm2, third)

    def partner(self, party: PartyId) -> Partner:
        return self.partners.partner(party)

    def provider(self, contract: type[T]) -> T:
        """The one provider of a contract."""
        providers: dict[object, Any] = {
            Ledger: self.ledger,
            ConsentRegistry: self.consent,
        }
        return cast("T", providers[contract])

    def engine(self, named: str = "") -> IntersectionEngine:
        """The engine "name/version", or the first one installed."""
        for engine in self.engines:
            if not named or f"{engine.name}/{engine.version}" == named:
                return engine
        raise Refused(
            f"本机构没有引擎「{named}」，运维安装后重试" if named else "没有求交引擎",
            f"This institution has no engine {named}; operations install it",
            code="NO_ENGINE",
        )

    def channel(self) -> Channel:
        """The channel of every link: the one that listens, with those that the setting node.channels picks for partners."""
        listening = self.plugins.collect_all("workbench_channels")
        carried = self.plugins.collect_all("workbench_carried_channels", host=self)
        known = [*self.parties(), *self.former_parties()]
        return channels.chosen(listening, carried, self.setting("node.channels"), known=known)

    def purposes(self) -> dict[str, tuple[str, str]]:
        """Purpose codes with their Chinese and English names, from the consent registry's setting."""
        return {code: (names[0], names[1]) for code, names in self.setting("consent.purposes").items()}

    def guard(self, stage: str, **facts: str) -> None:
        """Ask every guard of the plugins; Refused when one says no, or cannot answer: a guard may only stop.

        stage: "proposal", "approval", "release", "export", "prompt" or "answer". facts: job, partner, purpose, list,
        customers (a count), columns; of a prompt and an answer scenario, template, model, class, counts. No text and no
        identifier of a customer.
        """

        def failed(plugin: str, error: Exception) -> None:
            if isinstance(error, Refused):
                raise error
            self.log_fault(error)
            raise Refused(
                f"插件「{plugin}」的检查出错，已停止。管理员检查该插件",
                f"The guard of plugin {plugin} failed, so this was stopped. An administrator checks that plugin",
                code="GUARD_FAILED",
                details={"stage": stage},
            ) from error

        self.plugins.collect("workbench_guard", failed=failed, host=self, stage=stage, facts=MappingProxyType(facts))

    def replay(self, entries: Sequence[RestoredEntry]) -> list[ReplayNeed]:
        """Offer own entries that came back after a restore to every plugin; what people must do again.

        Raises StartRefused when a plugin fails: the node stays closed rather than forget a withdrawal.
        """

        def failed(plugin: str, error: Exception) -> None:
            self.log_fault(error)
            raise StartRefused(
                f"插件「{plugin}」无法重放取回的记录，节点不开放写入。管理员检查该插件",
                f"Plugin {plugin} cannot replay the entries that came back; the node stays closed. An administrator checks it",
                code="REPLAY_FAILED",
            ) from error

        found = self.plugins.collect("workbench_replay", failed=failed, host=self, entries=entries)
        needs = [need for _, some in found for need in some]
        return needs + self.erasure.replay(entries) + replay_accounts(self, entries) + self.partners.replay(entries)

    def identify_customer(self, phone: str | None, id_no: str | None) -> Customer:
        """Everything known to be this person's, from normalised identifiers; Refused AMBIGUOUS_CUSTOMER."""
        return identify(self, phone, id_no)

    def subject_records(self, request: SubjectRequest) -> list[SubjectRecord]:
        """Every record about one customer, of host and plugins; Refused when somebody cannot answer (docs/rights.md)."""
        return subject_records(self, request)

    def correct_customer(
        self, customer: Customer, changes: Mapping[str, str], *, actor: str, case: str
    ) -> list[Correction]:
        """Write new values into every list row of a customer; see workbench.node.correcting.correct."""
        return correct(self, customer, changes, actor=actor, case=case)

    def released_keys(self, job: str, partner: PartyId) -> tuple[KeyKind, list[str]]:
        """Identifiers compared in our released list of a job with this partner; none when there is no such list here."""
        rows = self.released_rows(job)
        if rows is None or self.jobs.get(job).partner != partner:
            return KeyKind.PHONE, []
        kind = self.jobs.get(job).terms.key_kind
        return kind, rows[kind.value].to_list()

    def released_rows(self, job: str) -> pl.DataFrame | None:
        """Our released list of a job; None when there is none here (any more)."""
        try:
            if self.jobs.get(job).state is not JobState.RELEASED:
                return None
            with self.store.read() as reader:
                return get_frame(reader, self.vault, f"result/{job}")
        except NotFound:
            return None

    def restricted_customers(self) -> frozenset[str]:
        """Names of the customers who restrict processing now; Refused when a plugin cannot say: then nobody is used."""

        def failed(plugin: str, error: Exception) -> None:
            self.log_fault(error)
            raise Refused(
                f"插件「{plugin}」说不出谁限制了处理，因此谁都不能使用。管理员检查该插件",
                f"Plugin {plugin} cannot say who restricts processing, so nobody is used. An administrator checks it",
                code="RESTRICTIONS_UNKNOWN",
            ) from error

        found = self.plugins.collect("workbench_restricted_customers", failed=failed, host=self)
        return frozenset(name for _, names in found for name in names)

    def call(self, partner: PartyId, path: str, body: bytes, *, timeout_s: float) -> bytes:
        """A partner's reply under the channel picked for it; see workbench.contracts.Host."""
        return self.links.call(partner, path, body, timeout_s=timeout_s)

    def session_keys(self, partner: PartyId) -> SessionKeys:
        """Where keys for sessions with a partner outside this node's links come from; KeyUnavailable NO_LINE."""
        for one in self._session_keys:
            if one.serves(partner):
                return one
        raise KeyUnavailable(
            f"没有通往 {partner} 的线路，会话拿不到密钥，不改用其他密钥。运维接通线路",
            f"No line leads to {partner}, so no session gets a key, and no other key is used. Operations connect one",
            code="NO_LINE",
        )

    def machines(self, secret: str) -> Machines | None:
        """Whose credentials begin so; None where a secret is no machine's."""
        return next((one for one in self._machines if secret.startswith(one.prefix)), None) if secret else None

    def answer_engines(self) -> Sequence[EngineRecipe]:
        """Engines that answer questions in a sandbox, by name."""
        found: list[EngineRecipe] = self.plugins.collect_all("workbench_answer_engines")
        return sorted(found, key=lambda one: one.name)

    def document_connectors(self) -> Sequence[DocumentConnector]:
        """Kinds of file from which documents are read, by name."""
        found: list[DocumentConnector] = self.plugins.collect_all("workbench_document_connectors")
        return sorted(found, key=lambda one: one.name)

    def scalers(self) -> Sequence[Scaler]:
        """Who can start and stop servers, by name."""
        found: list[Scaler] = self.plugins.collect_all("workbench_scalers", host=self)
        return sorted(found, key=lambda one: one.name)

    def person_named(self, token: str) -> str:
        return self.people.named(token)

    def health(self) -> list[HealthReport]:
        """Lines of host and plugins; a plugin whose check fails becomes a failed line of its own."""
        lines: list[HealthReport] = [*self.letters.health(), *withdrawal_health(self)]

        def failed(plugin: str, error: Exception) -> None:
            self.log_fault(error)
            lines.append(
                HealthReport(plugin, "failed", f"插件「{plugin}」的检查出错", f"The check of plugin {plugin} failed", "admin")
            )

        for _, reports in self.plugins.collect("workbench_health", failed=failed, host=self):
            lines.extend(reports)
        for name, hook in self._without_part:
            zh, en = f"插件「{name}」没有给出「{hook}」", f"Plugin {name} did not give its {hook}"
            lines.append(HealthReport(name, "failed", zh, en, "admin"))
        for name in self._without_background:
            zh, en = f"插件「{name}」的后台工作没有启动", f"The background work of plugin {name} did not start"
            lines.append(HealthReport(name, "failed", zh, en, "admin"))
        for plugin in self.plugins.plugins:
            if plugin.state != "ok":
                lines.append(HealthReport(plugin.name, "failed", plugin.problem, plugin.problem, "admin"))
        return lines

    def _letter_kinds(self) -> list[LetterKind]:
        """Kinds of letter that host and plugins receive; those of a plugin that fails here are unknown, and refused."""
        found = self.plugins.collect("workbench_letters", failed=lambda plugin, error: self.log_fault(error), host=self)
        return [*self.withdrawals.letter_kinds(), *(kind for _, kinds in found for kind in kinds)]

    def _background_of_plugins(self) -> list[BackgroundWork]:
        """What plugins do while the node runs; a plugin that fails here is named on the health page."""

        def failed(plugin: str, error: Exception) -> None:
            self.log_fault(error)
            self._without_background.append(plugin)

        found = self.plugins.collect("workbench_background", failed=failed, host=self)
        return [work for _, works in found for work in works]

    def _parts(self, hook: str) -> list[tuple[str, Any]]:
        """(plugin, part) of a hook that returns sequences; a plugin that fails here is named on the health page."""

        def failed(plugin: str, error: Exception) -> None:
            self.log_fault(error)
            self._without_part.append((plugin, hook))

        return [(plugin, one) for plugin, many in self.plugins.collect(hook, failed=failed, host=self) for one in many]

    def lab_redirects(self) -> list[str]:
        """Addresses to which a sign-in may return: the Labs that the supervisor registered in the node's folder."""
        path = self.folder / "run" / "labs.json"
        return list(json.loads(path.read_text("utf-8"))) if path.exists() else []

    def log_fault(self, fault: BaseException) -> None:
        """A programming mistake or an unexpected failure: to the log with its type and place, without values."""
        if isinstance(fault, WorkbenchError):
            log.warning("%s: %s", fault.code, fault.en)
            return
        place = fault.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "unknown place"
        log.error("internal fault: %s at %s", type(fault).__name__, where)


__all__ = ["NotFound", "Workbench"]
