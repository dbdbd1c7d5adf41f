"""Calls of a tenant below `sandbox/`, answered by the provider's node: docs/protocols/sandbox.md sections 5, 6 and 8.

The node signs evidence that agrees with what it knows, hands over the QKD key of the id that the tenant names, and relays sealed
frames. It opens none and keeps none. Whatever is wrong is the one refusal; only what section 5 names is said.
"""

from __future__ import annotations

import threading
from typing import Final

from workbench.contracts import KeyShare, PeerCall, Transaction
from workbench.domain.party import PartyId
from workbench.errors import KeyUnavailable, WorkbenchError
from workbench_inference.leasing import images, keys, rows
from workbench_inference.leasing.line_sessions import LineSessions
from workbench_inference.leasing.provider import Provider
from workbench_inference.leasing.servers import Holding
from workbench_sandbox.formats import reading, relay
from workbench_sandbox.formats.evidence import OuterFacts, evidence_refused, parse_evidence, sign_evidence
from workbench_sandbox.formats.order import parse_release
from workbench_sandbox.server.contract import StartOrder

WHAT: Final = "sandbox"
"""What keys are for, as the entity is told."""
BUSY_S: Final = 2
"""After so long a tenant may ask again."""


class Relay:
    """The ten calls but those that a provider makes itself. Safe for threads."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._host = provider.host
        self._lock = threading.Lock()
        self._lines = LineSessions(self._host)
        self._giving: set[str] = set()  # sandboxes whose first evidence is being made: two calls at a time get two of them
        self._fetching: dict[tuple[str, str], str] = {}  # (tenant, corpus) -> "" while it is pulled, else the code of a failure

    def answer(self, call: PeerCall) -> bytes:
        """The reply to a call. Raises for whatever the one refusal stands for."""
        try:
            return relay.accepted(self._answer(call))
        except WorkbenchError as error:
            told = _told(error)
            if told is None:
                raise
            return told

    def _answer(self, call: PeerCall) -> bytes:
        match call.path:
            case relay.OFFER:
                relay.parse_offer_request(call.body)
                return relay.format_offer(self._provider.offer(call.peer))
            case relay.STATE:
                return relay.format_state(self._provider.view(call.peer, relay.parse_state_request(call.body)))
            case relay.RELEASE:
                self._provider.release_now(call.peer, parse_release(call.body))
                return relay.EMPTY
            case relay.EVIDENCE:
                return self._evidence(call.peer, relay.parse_evidence_request(call.body))
            case relay.START:
                return self._start(call.peer, relay.parse_start(call.body))
            case relay.ANSWER:
                return self._agree(call.peer, *relay.parse_answer(call.body))
            case relay.FRAMES:
                return self._frames(call.peer, relay.parse_frames(call.body))
            case relay.FETCH:
                return self._fetch(call.peer, relay.parse_fetch(call.body))
        raise relay.sandbox_refused()

    def _evidence(self, tenant: PartyId, asked: relay.EvidenceRequest) -> bytes:
        """A document of one sandbox of the lease, countersigned; from the first of its server on the card counts."""
        holding = self._for_evidence(tenant, asked)
        try:
            return self._document(tenant, holding, asked.nonce)
        finally:
            with self._lock:
                self._giving.discard(holding.sandbox)

    def _document(self, tenant: PartyId, holding: Holding, nonce: str) -> bytes:
        provider, host = self._provider, self._host
        with host.store.read() as reader:
            row = rows.get(reader, holding.lease)
            key, service = keys.own(reader, host)
            manifest, _ = images.manifest_of(reader, row.order.image)
            serial = int(reader.execute("SELECT serial FROM inference_sandbox WHERE sandbox = ?", (holding.sandbox,)).fetchone()[0])
        given = provider.servers.evidence(holding.sandbox, nonce)
        facts = given.facts
        expected = (host.party, tenant, holding.lease, row.order.mode, holding.server, row.order.pool, holding.sandbox, row.order.image)
        said = (facts.provider, facts.tenant, facts.lease, facts.mode, facts.server, facts.pool, facts.sandbox, facts.image.id)
        if said != expected or facts.serial <= serial or facts.image.name != manifest.name or not facts.limits.fits(manifest.limits):
            raise evidence_refused("facts")
        document = sign_evidence(given.document, facts=facts, nonce=nonce, key=key, service=service)
        provider.heard(holding.lease)
        self._given(holding, row, facts, document)
        provider.gave_evidence(holding)
        return document

    def _given(self, holding: Holding, row: rows.LeaseRow, facts: OuterFacts, document: bytes) -> None:
        parsed = parse_evidence(document)
        missing = [one.name for one in parsed.statement.controls if one.state != "on"]
        digest = reading.digest(parsed.encoded)

        def change(tx: Transaction) -> None:
            rows.evidence_kept(
                tx, sandbox=holding.sandbox, lease=holding.lease, server=holding.server, serial=facts.serial, statement=digest, assurance=facts.assurance, missing=missing,
                at_ms=self._host.now_ms(),
            )  # fmt: skip
            values = {**rows.parties(row, self._host.party), "sandbox": holding.sandbox, "serial": str(facts.serial), "statement": digest}
            values |= {"assurance": facts.assurance, "missing": " ".join(missing)}
            self._host.evidence.append(tx, "inference.evidence_given", values, job=holding.lease)

        self._host.store.write(change)

    def _for_evidence(self, tenant: PartyId, asked: relay.EvidenceRequest) -> Holding:
        """The sandbox that is named, or one of the lease that has given none yet. SANDBOX_BUSY while none of an own live lease is ready."""
        provider = self._provider
        if asked.sandbox:
            found = provider.holding(tenant, asked.sandbox)
            if found.lease != asked.lease:
                raise relay.sandbox_refused()
            return found
        with self._host.store.read() as reader:
            row = rows.find(reader, asked.lease)
            if row is None or row.partner != tenant or row.side != rows.PROVIDER or row.state not in rows.LIVE:
                raise relay.sandbox_refused()
            gave = {str(one[0]) for one in reader.execute("SELECT sandbox FROM inference_sandbox WHERE lease = ? AND serial > 0", (row.lease,))}
        with self._lock:
            free = sorted(one.sandbox for one in provider.held_by(row.lease) if one.sandbox not in gave and one.sandbox not in self._giving)
            if free:
                self._giving.add(free[0])
        if not free:
            raise relay.sandbox_busy(BUSY_S)
        return provider.holding(tenant, free[0])

    def _start(self, tenant: PartyId, asked: relay.Start) -> bytes:
        """The sandbox's hello, under the QKD key of the id that the tenant took."""
        provider, host = self._provider, self._host
        holding = provider.holding(tenant, asked.sandbox)
        provider.heard(holding.lease)
        with host.store.read() as reader:
            row = rows.get(reader, holding.lease)
            kept = reader.execute("SELECT serial, statement FROM inference_sandbox WHERE sandbox = ?", (holding.sandbox,)).fetchone()
        if str(kept[1]) != asked.evidence:
            raise relay.sandbox_refused()
        share: KeyShare | None = None
        name = f"{holding.lease}/{holding.sandbox}/{int(kept[0])}"
        if asked.key_id:
            lines = host.session_keys(tenant)
            share = lines.named(tenant, asked.key_id, name=name, what=WHAT, policy=row.order.policy, renews=bool(asked.session))
            self._lines.begun(holding.sandbox, lines, name)
            if share.provenance != asked.provenance:
                refusal = relay.sandbox_refused()
                self._lines.failed(holding.sandbox, refusal)
                raise refusal
        else:
            self._lines.begun_without(holding.sandbox)
        try:
            return provider.servers.start(holding.sandbox, StartOrder(asked.session, asked.evidence), share)
        except WorkbenchError as error:
            self._lines.failed(holding.sandbox, error)
            raise

    def _agree(self, tenant: PartyId, sandbox: str, message: bytes) -> bytes:
        """The sandbox's confirm; from here on people here can end the session too."""
        holding = self._provider.holding(tenant, sandbox)
        try:
            confirm = self._provider.servers.answer(holding.sandbox, message)
        except WorkbenchError as error:
            self._lines.failed(holding.sandbox, error)
            raise
        self._lines.agreed(holding.sandbox)
        return confirm

    def round(self) -> None:
        """Sessions of sandboxes that are gone are over."""
        self._lines.keep({one.sandbox for one in list(self._provider.held.values())})

    def _frames(self, tenant: PartyId, asked: relay.FramesRequest) -> bytes:
        holding = self._provider.holding(tenant, asked.sandbox)
        self._lines.require_live(holding.sandbox)
        self._provider.heard(holding.lease)
        found = self._provider.servers.frames(holding.sandbox, relay.Upload(asked.upload.first, asked.upload.taken, asked.upload.frames), wait_ms=asked.wait_ms)
        return relay.format_download(relay.Download(found.state, found.first, found.frames, found.received))

    def _fetch(self, tenant: PartyId, asked: relay.Fetch) -> bytes:
        """{} once the corpus lies in the volume; SANDBOX_BUSY while it is pulled."""
        host = self._host
        with host.store.read() as reader:
            row = rows.find(reader, asked.lease)
        if row is None or row.partner != tenant or row.side != rows.PROVIDER or row.state not in rows.LIVE:
            raise relay.sandbox_refused()
        self._provider.heard(asked.lease)
        if images.corpus_file(host, tenant, asked.corpus).is_file():
            return relay.EMPTY
        mark = (tenant, asked.corpus)
        with self._lock:
            state = self._fetching.get(mark)
            if state is None or state:
                self._fetching[mark] = ""
                self._provider.upkeep.in_background(lambda: self._pull_corpus(tenant, asked))
        raise relay.sandbox_busy(BUSY_S)

    def _pull_corpus(self, tenant: PartyId, asked: relay.Fetch) -> None:
        try:
            images.pull_corpus(self._host, tenant, asked.corpus, asked.size)
            code = "DONE"
        except WorkbenchError as error:
            self._host.log_fault(error)
            code = error.code
        with self._lock:
            self._fetching[tenant, asked.corpus] = code


def _told(error: WorkbenchError) -> bytes | None:
    """What section 5 lets a partner know of an error; None for the one refusal."""
    wait = error.details.get("retry_after_s", "")
    seconds = int(wait) if wait.isdigit() else BUSY_S
    if error.code == "SANDBOX_ENDED" and error.details.get("cause") in relay.CAUSES:
        return relay.refused("SANDBOX_ENDED", cause=error.details["cause"])
    if error.code == "SANDBOX_BUSY":
        return relay.refused("SANDBOX_BUSY", retry_after_s=seconds)
    if isinstance(error, KeyUnavailable) and error.code == "QKD_KEY_REQUIRED":
        return relay.refused("QKD_KEY_REQUIRED", retry_after_s=seconds)
    return None


__all__ = ["BUSY_S", "WHAT", "Relay"]
