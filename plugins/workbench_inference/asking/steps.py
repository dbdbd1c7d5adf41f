"""The steps of one question at this house, in the order of `workbench.flows.question`.

Each method does one step and nothing of another. What passes between them holds the question's text and its map, so no value here
shows either in its repr; both go to the vault and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from workbench.contracts import ConsentRegistry, FindsCustomers, Transaction
from workbench.crypto import sm3
from workbench.domain.documents import SourceDocument
from workbench.domain.identifiers import normalise_id_no, normalise_phone
from workbench.domain.party import Caller
from workbench.errors import NotFound, Refused, VerificationError, WorkbenchError
from workbench_inference.asking import enclosing, house, keeping, refusals, routing
from workbench_inference.asking.client import Came, CorpusFile, SandboxClient
from workbench_inference.asking.keeping import Kept, Step
from workbench_inference.asking.refusals import no_lease
from workbench_inference.asking.replies import CitedSource
from workbench_inference.asking.routing import Route
from workbench_inference.asking.sandboxes import Sandboxes, stopped
from workbench_inference.documents import corpus_store, usages
from workbench_inference.documents.usages import Readable
from workbench_inference.leasing import rows, spending
from workbench_inference.leasing.keys import Reader
from workbench_inference.leasing.lease import ENDING_MS, State
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.tenant import Tenant
from workbench_inference.policy import admission, tables
from workbench_inference.policy.admission import Admission
from workbench_inference.policy.classes import class_of, require_level
from workbench_inference.policy.customers import CustomerNames
from workbench_inference.policy.leaks import LeakList
from workbench_inference.policy.redaction import Redacted
from workbench_inference.policy.suitability import Answer, check_answer, check_prompt, products_of
from workbench_sandbox.corpus import format_documents
from workbench_sandbox.engines.grounding import cited as grounds
from workbench_sandbox.engines.grounding import keep_grounded
from workbench_sandbox.engines.router import falls_back
from workbench_sandbox.formats.asking import MAX_QUESTION, Ask, Cite, Dropped, FieldValue, Open, Record, Stage, Text
from workbench_sandbox.formats.manifest import Engine
from workbench_sandbox.formats.reading import digest

DEADLINE_MS: Final = 60_000
MOST_TOKENS: Final = 1_024
_STATES: Final = {
    "answered": "ANSWERED", "abstained": "ABSTAINED", "stopped": "STOPPED", "cut": "CUT", "refused": "REFUSED", "failed": "FAILED",
}  # fmt: skip
_MARK: Final = re.compile(r"\[(\d{1,3})\]")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks. ask: its name, drawn before; model: name of an image, "" for the one that is leased; kinds: of documents
    wanted, none for all of the scenario's; client_class: C1 to C5 of the customer it is about, "" for nobody; customer: tokens of who
    stands behind channel `client`; credential: token of the machine that brought it, "" for a person's own session; sent: documents for
    this question alone."""

    ask: str
    question: str = field(repr=False)
    scenario: str
    model: str = ""
    language: str = "zh"
    kinds: tuple[str, ...] = ()
    channel: str = "internal"
    client_class: str = ""
    customer: tuple[str, ...] = ()
    credential: str = ""
    sent: tuple[SourceDocument, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Admitted:
    """Step 1 held. model: the image's name; engine: of the leased image, None without a lease; others: that stand in where this lease
    has no sandbox."""

    caller: Caller
    asked: Asked
    admission: Admission
    readable: Readable
    model: str
    mode: str
    lease: str
    engine: Engine | None
    assurance: str
    others: tuple[Admitted, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """Steps 2 and 3 held: what may be sent. sent: documents for this question alone, redacted with it; context: as they travel."""

    admitted: Admitted
    redacted: Redacted = field(repr=False)
    klass: str
    at_ms: int
    sent: tuple[SourceDocument, ...] = field(default=(), repr=False)
    context: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class Leased:
    """A verified session, and the question as it will be sealed. steps: what happened when, for the page."""

    prepared: Prepared
    row: LeaseRow
    client: SandboxClient
    ask: Ask = field(repr=False)
    steps: list[Step]


@dataclass(frozen=True, slots=True)
class Judged:
    """An answer with a state. kept: what goes to the vault."""

    kept: Kept = field(repr=False)
    came: Came


class HouseSteps:
    """`flows.question.QuestionSteps` over this node. step: told each step as it happens, for whoever watches. is_stopped: whether who
    asked wants no more of it."""

    def __init__(
        self, tenant: Tenant, sandboxes: Sandboxes, customers: CustomerNames, step: Any = None, is_stopped: Callable[[str], bool] = lambda ask: False
    ) -> None:  # fmt: skip
        self._tenant, self._host, self._sandboxes, self._customers = tenant, tenant.host, sandboxes, customers
        self._step, self._is_stopped = step, is_stopped

    # ------------------------------------------------------------------------------------------------------------ 1

    def admit(self, caller: Caller, asked: Asked) -> Admitted:
        """Role × scenario × model, use of the documents, cohort, quota, budget."""
        host = self._host
        now = host.now_ms()
        if not 1 <= len(asked.question.strip()) <= MAX_QUESTION // 2:
            raise Refused("问题为 1 至 4000 个字符", "a question has 1 to 4,000 characters", code="QUESTION_LENGTH")
        with host.store.read() as reader:
            tables.require_scenario(asked.scenario)
            able = routing.routes(self._sandboxes, reader, scenario=asked.scenario, model=asked.model, now_ms=now)
            if not able:
                raise no_lease(asked.model)
            admitted: list[Admitted] = []
            refused: Refused | None = None
            for route in able:
                try:
                    admitted.append(self._admitted(reader, caller, asked, route, now))
                except Refused as error:
                    refused = refused or error
            if not admitted and refused is not None:
                raise refused
            _, spent = spending.spent(reader, self._host, side=rows.TENANT)
            budget = spending.budget(reader, self._host)
        if budget and spent >= budget:
            raise Refused(
                "本月算力预算已用完，暂停提问；运维或管理员可以调整预算", "this month's budget for computing is spent: operators or an administrator change it",
                code="BUDGET_SPENT",
            )  # fmt: skip
        return replace(admitted[0], others=tuple(admitted[1:]))

    def _admitted(self, reader: Reader, caller: Caller, asked: Asked, route: Route, now_ms: int) -> Admitted:
        """By one lease."""
        row, manifest = route.row, route.manifest
        standing = self._customers.standing(reader, asked.customer) if asked.customer else None
        found = admission.admit(
            reader, self._host, caller, scenario=asked.scenario, model=manifest.name, documents=asked.kinds, channel=asked.channel,
            client_class=asked.client_class, customer=asked.customer, standing=standing, mode=row.order.mode,
        )  # fmt: skip
        readable = usages.readable(reader, scenario=asked.scenario, roles=[found.role.value], kinds=found.kinds, now_ms=now_ms)
        if found.channel.public_only:
            readable = usages.public_only(reader, readable)
        asked = replace(asked, client_class=found.client_class)
        return Admitted(caller, asked, found, readable, manifest.name, row.order.mode, row.lease, manifest.engine, row.order.assurance)

    # -------------------------------------------------------------------------------------------------------- 2 and 3

    def redact(self, admitted: Admitted) -> Prepared:
        """Identifiers become labels; the class of it all against what the lease may read; rules of content."""
        asked, found = admitted.asked, admitted.admission
        redacted, sent = enclosing.redacted(asked.question, asked.sent, self._customers.now())
        with self._host.store.read() as reader:
            classes = self._classes(reader, admitted.readable)
        klass = class_of(redacted, [*classes, *(one.klass for one in sent)], found.klass)
        admitted = self._fitting(admitted, redacted, klass)
        verdict = check_prompt(redacted.text, found.scenario, asked.client_class, rules=found.rules, channel=found.channel.name)
        if not verdict.may_pass:
            raise Refused(verdict.zh, verdict.en, code=verdict.code, details={"rule": verdict.rule})
        return Prepared(admitted, redacted, klass, self._host.now_ms(), sent, format_documents(sent))

    def _fitting(self, admitted: Admitted, redacted: Redacted, klass: str) -> Admitted:
        """Of the leases that may be asked those that may read this: the first, and the others behind it. Raises as the first one does."""
        levels = dict(self._host.setting("inference.class_levels"))
        fit: list[Admitted] = []
        refused: WorkbenchError | None = None
        for one in (admitted, *admitted.others):
            try:
                enclosing.require_kinds(one.asked.sent, one.readable.kinds, one.mode)
                enclosing.require_fits(redacted.text, self._prompt(one, redacted))
                require_level(klass, levels, assurance=one.assurance, behind=one.engine is not None and one.engine.place == "behind")
            except Refused as error:
                refused = refused or error
            else:
                fit.append(one)
        if refused is not None and not fit:
            raise refused
        return replace(fit[0], others=tuple(fit[1:]))

    def _classes(self, reader: Reader, readable: Readable) -> list[str]:
        """Data classes of every document that may be read; what no sandbox may hold is in no corpus."""
        listed = reader.execute(
            f"SELECT DISTINCT class, document FROM inference_document WHERE removed_ms = 0 AND kind IN ({', '.join('?' * len(readable.kinds))})",
            readable.kinds,
        ).fetchall()
        levels = self._host.setting("inference.class_levels")
        return sorted(
            {
                str(klass) for klass, document in listed
                if (not readable.ids or str(document) in readable.ids) and corpus_store.is_within_reach(levels, str(klass))
            }
        )  # fmt: skip

    def facts(self, prepared: Prepared) -> Mapping[str, str]:
        """For guards."""
        found = prepared.admitted.admission
        counts = " ".join(f"{kind}={count}" for kind, count in prepared.redacted.counts.items())
        return {
            "scenario": found.scenario.name, "template": found.template.name, "model": prepared.admitted.model, "class": prepared.klass,
            "counts": counts,
        }  # fmt: skip

    # -------------------------------------------------------------------------------------------------------- 5 and 6

    def lease(self, prepared: Prepared) -> Leased:
        """A running lease, the sandbox that is free, its evidence and session, the corpus that it reads; else the next lease that may."""
        first: WorkbenchError | None = None
        tried = (prepared.admitted, *prepared.admitted.others)
        for number, one in enumerate(tried, 1):
            try:
                leased = self._leased(replace(prepared, admitted=one), has_standby=number < len(tried))
            except WorkbenchError as error:
                if not falls_back(error.code):
                    raise
                first = first or error
                continue
            if first is not None:  # whoever asked reads which model answers instead of which
                leased.steps.append(Step("stood_in", self._host.now_ms(), {"model": one.model, "instead": tried[0].model, "code": first.code}))
                self._tell(leased, leased.steps[-1])
            return leased
        assert first is not None  # one lease at least was tried
        raise first

    def _leased(self, prepared: Prepared, *, has_standby: bool) -> Leased:
        host, admitted = self._host, prepared.admitted
        with host.store.read() as reader:
            row = rows.find(reader, admitted.lease)
            if row is None or row.state is not State.RUNNING or host.now_ms() >= row.until_ms - ENDING_MS:
                row = self._tenant.live(reader, now_ms=host.now_ms())  # another one, if it runs what was asked for
            if row is None or self._sandboxes.manifest(row).name != admitted.model:
                raise no_lease(admitted.model)
            corpus = corpus_store.require_corpus(reader, mode=row.order.mode)
        file = CorpusFile(corpus.digest, corpus.size, corpus.digest, lambda: corpus_store.volume_key(host))
        ask = admitted.asked.ask
        client = self._sandboxes.take(row, file, has_standby=has_standby, ask=ask, is_stopped=lambda: self._is_stopped(ask))
        try:
            session = client.session
            if session is None:
                raise no_lease(admitted.model)
            said = session.evidence.statement
            behind = said.control("engine-inside").state != "on"
            require_level(prepared.klass, dict(host.setting("inference.class_levels")), assurance=said.assurance, behind=behind)
            made = self._ask(prepared, corpus.digest)
        except BaseException:
            self._sandboxes.give(client)
            raise
        steps = [
            Step("redacted", prepared.at_ms, {"count": str(len(prepared.redacted.tiles)), "sm3": sm3.digest(made.question.encode()).hex()}),
            Step("evidence", session.began_ms, {"serial": str(said.serial), "sandbox": said.sandbox, "sm3": session.evidence.digest}),
            Step("key", session.began_ms, {"key_id": session.opened.key_id, "provenance": session.opened.provenance}),
        ]
        leased = Leased(prepared, row, client, made, steps)
        for one in steps:
            self._tell(leased, one)
        return leased

    def _ask(self, prepared: Prepared, corpus: str) -> Ask:
        host, admitted = self._host, prepared.admitted
        asked, template, now = admitted.asked, admitted.admission.template, host.now_ms()
        prompt, ids = self._prompt(admitted, prepared.redacted), admitted.readable.ids
        if ids:  # only some may be read: those that were sent are among them
            ids = (*ids, *(one.document for one in prepared.sent))
        return Ask(
            asked.ask, now, now + DEADLINE_MS, admitted.admission.scenario.name, f"{template.scenario}@{template.version}", template.digest,
            prepared.redacted.text, prompt, corpus, admitted.readable.kinds, ids, now, len(prepared.sent), asked.language, MOST_TOKENS,
            int.from_bytes(host.random(6), "big"), host.random(8).hex(),
        )  # fmt: skip

    def _prompt(self, admitted: Admitted, redacted: Redacted) -> str:
        """The filled template for an engine that takes one."""
        if admitted.engine is None or admitted.engine.kind == "extractive":
            return ""
        asked = admitted.asked
        return admitted.admission.template.filled(
            redacted.text, asked.language, client_class=asked.client_class, documents_day="", today=self._host.today().isoformat()
        )

    # ------------------------------------------------------------------------------------------------------------ 7

    def seal(self, leased: Leased) -> bytes:
        """Nothing leaves."""
        try:
            return leased.client.seal(leased.ask, context=leased.prepared.context)
        except ValueError as error:  # a member of the ask beyond its format: nothing was sealed
            self._sandboxes.give(leased.client)
            raise enclosing.too_large("超出提问格式的限度", "beyond the limits of its format") from error
        except BaseException:
            self._sandboxes.give(leased.client)
            raise

    def unsent(self, leased: Leased) -> None:
        """`asked` did not get to the disk: the frame is dropped."""
        leased.client.drop(leased.ask.ask)
        self._sandboxes.give(leased.client)

    def record_asked(self, leased: Leased, frame: bytes) -> None:
        """Row, map, question, quota, uses and entry in one transaction, on disk when this returns."""
        host, ask, prepared = self._host, leased.ask, leased.prepared
        admitted = prepared.admitted
        person, role = admitted.caller.person.token, admitted.admission.role.value
        tokens = self._customer_tokens(prepared.redacted)
        sealed = sm3.digest(frame).hex()
        sent = Step("sent", host.now_ms(), {"bytes": str(len(frame)), "documents": str(len(prepared.sent)), "sm3": sealed})
        values = {
            **rows.parties(leased.row, host.party), "ask": ask.ask, "frame": sealed, "person": person, "scenario": ask.scenario,
            "template": ask.template, "model": admitted.model, "question": sm3.digest(ask.question.encode()).hex(),
            "redacted": " ".join(f"{kind}={count}" for kind, count in prepared.redacted.counts.items()), "class": prepared.klass,
            "channel": admitted.asked.channel, "credential": admitted.asked.credential, "documents": str(len(prepared.sent)),
            "context": sm3.digest(prepared.context).hex() if prepared.sent else "",
        }  # fmt: skip
        kept = self._draft(leased)

        def change(tx: Transaction) -> str:
            sent = tx.execute(
                "UPDATE inference_ask SET lease = ?, model = ?, state = 'STREAMING', template = ?, class = ?, watermark = ?, asked_ms = ?"
                " WHERE ask = ? AND state = 'QUEUED'",
                (leased.row.lease, admitted.model, ask.template, prepared.klass, ask.watermark, ask.time_ms, ask.ask),
            ).rowcount  # fmt: skip
            if not sent:  # it was stopped while it waited, and said so: it is not sent after all
                raise stopped()
            usages.count(tx, admitted.readable.usages, now_ms=host.now_ms())
            tables.spend(host, tx, person=admitted.admission.person.whose, role=role)
            tx.executemany("INSERT OR IGNORE INTO inference_ask_customer (token, ask) VALUES (?, ?)", [(one, ask.ask) for one in tokens])
            keeping.put_map(host, tx, ask.ask, prepared.redacted.values)
            keeping.put_sent(host, tx, ask.ask, prepared.context)
            ref = host.evidence.append(tx, "inference.asked", values, job=leased.row.lease)
            keeping.put(host, tx, ask.ask, replace(kept, entry=f"{ref.log}/{ref.index}"))
            return f"{ref.log}/{ref.index}"

        host.store.write(change)
        leased.steps.append(sent)
        self._tell(leased, sent)

    def _customer_tokens(self, redacted: Redacted) -> list[str]:
        """Names of the customers whose phone or identity number stood in the question, so that an erasure finds it."""
        registry: Any = self._host.provider(ConsentRegistry)  # type: ignore[type-abstract]  # the contract is a Protocol
        if not isinstance(registry, FindsCustomers):
            return []
        phones: set[str] = set()
        numbers: set[str] = set()
        for tile in redacted.tiles:
            value = redacted.values.get(tile.label, "")
            if tile.kind == "phone" and (phone := normalise_phone(value).value):
                phones.add(phone)
            elif tile.kind == "id" and (number := normalise_id_no(value, today=self._host.today()).value):
                numbers.add(number)
        return sorted(set(registry.tokens_of(phones=sorted(phones), id_nos=sorted(numbers)))) if phones or numbers else []

    # -------------------------------------------------------------------------------------------------------- 8 to 10

    def send(self, leased: Leased, frame: bytes) -> Iterator[Record | Came]:
        """Records as they come, the end last."""
        try:
            leased.client.send(leased.ask.ask, frame)
            for came in leased.client.receive(leased.ask.ask):
                if isinstance(came, Stage):
                    name = {"retrieve": "retrieved", "draft": "drafted", "ground": "grounded"}[came.name]
                    step = Step(name, self._host.now_ms(), {"ms": str(came.ms)})
                    leased.steps.append(step)
                    self._tell(leased, step)
                yield came
        finally:
            self._sandboxes.give(leased.client)

    def is_end(self, came: Record | Came) -> bool:
        """The last of them."""
        return isinstance(came, Came)

    def stop(self, leased: Leased) -> None:
        """The end comes all the same."""
        leased.client.stop(leased.ask.ask)

    # ----------------------------------------------------------------------------------------------------------- 11

    def judge(self, leased: Leased, records: list[Record], came: Came) -> Judged:
        """Citations byte for byte against the own documents, grounding, suitability, content, leaks."""
        host, end = self._host, came.end
        told = {"citations": str(end.citations), "bytes": str(end.bytes), "sm3": digest(came.encoded), "records_sm3": end.digest}
        returned = Step("returned", host.now_ms(), told)
        leased.steps.append(returned)
        kept = self._draft(leased)
        state, code = _STATES[end.state], end.code
        if state in ("CUT", "REFUSED", "FAILED"):
            zh, en = _sentences(state, code)
            return Judged(replace(kept, state=state, code=code or state, zh=zh, en=en, where="after", steps=tuple(leased.steps)), came)
        opened = next((one for one in records if isinstance(one, Open)), None)
        text = "".join(one.d for one in records if isinstance(one, Text))
        cites = [self._cited(leased, one) for one in records if isinstance(one, Cite)]
        fields = [one for one in records if isinstance(one, FieldValue)]
        dropped = sum(one.count for one in records if isinstance(one, Dropped))
        if _writes(leased, opened) and state in ("ANSWERED", "STOPPED"):
            text, without = self._grounded(leased, text, cites)  # what a sandbox says of its own sentences is looked at again
            dropped += without
        kept = replace(
            kept, state=state, engine=opened.engine if opened else "", engine_kind=opened.kind if opened else "",
            engine_version=opened.version if opened else "", place=opened.place if opened else "", dropped=dropped,
            citations=tuple(text_of for text_of, _ in cites), fields=tuple((one.name, one.value, one.unit, one.cite) for one in fields),
            tokens_in=end.tokens_in, tokens_out=end.tokens_out, card_ms=end.card_ms, ended_ms=host.now_ms(),
        )  # fmt: skip
        refusal = self._refusal(leased, text, cites, fields, is_bare=_writes(leased, opened) and bool(dropped) and not text and state == "ANSWERED")
        if refusal is not None:
            rule, code, zh, en = refusal
            kept = replace(kept, state="REFUSED", rule=rule, code=code, zh=zh, en=en, where="after", citations=(), fields=())
        else:
            numbers = {one.n for one, _ in cites}
            kept = replace(kept, text=_MARK.sub(lambda mark: f"⟦{mark[1]}⟧" if int(mark[1]) in numbers else mark[0], text))
        leased.steps.append(Step("judged", host.now_ms(), {"sm3": sm3.digest(kept.text.encode()).hex()}))
        return Judged(replace(kept, steps=tuple(leased.steps)), came)

    def _cited(self, leased: Leased, cite: Cite) -> tuple[CitedSource, SourceDocument | None]:
        """A citation beside this institution's own copy; it matches where text and stretch are the same, and it was allowed to be read."""
        readable = leased.prepared.admitted.readable
        sent = next((one for one in leased.prepared.sent if (one.document, one.version) == (cite.document, cite.version)), None)
        place: dict[str, Any] = {"n": cite.n, "document": cite.document, "version": cite.version, "start": cite.start, "end": cite.end, "sm3": cite.sm3}
        with self._host.store.read() as reader:
            try:
                own = sent or corpus_store.read_document(self._host, reader, cite.document, cite.version)
            except (NotFound, VerificationError):
                return CitedSource(kind="", title="", source="", time_ms=0, synthetic=False, matches=False, **place), None
        span = own.text[cite.start : cite.end]
        matches = (
            corpus_store.text_digest(own) == cite.sm3
            and len(span) == cite.end - cite.start
            and sm3.digest(span.encode()).hex() == cite.span_sm3
            and own.kind in readable.kinds
            and (sent is not None or not readable.ids or own.document in readable.ids)
        )
        made = CitedSource(
            kind=own.kind, title=own.title, source=own.source, time_ms=own.time_ms, synthetic=own.synthetic, matches=matches, **place
        )
        return made, own if matches else None

    def _grounded(self, leased: Leased, text: str, cites: list[tuple[CitedSource, SourceDocument | None]]) -> tuple[str, int]:
        """The sentences that stand in what is cited, and how many do not; without a citation none does."""
        documents = [(own.title, own.text) for _, own in cites if own is not None]
        kept, dropped = keep_grounded(text, grounds(documents, leased.prepared.redacted.text))
        return kept, sum(dropped.values())

    def _refusal(
        self, leased: Leased, text: str, cites: list[tuple[CitedSource, SourceDocument | None]], fields: list[FieldValue], *, is_bare: bool,
    ) -> tuple[str, str, str, str] | None:  # fmt: skip
        """(rule, code, zh, en) of what stops an answer, None where it may be shown. is_bare: no sentence of it stands in what it cites."""
        prepared = leased.prepared
        found, asked = prepared.admitted.admission, prepared.admitted.asked
        if any(own is None for _, own in cites):
            return (
                "citation", "CITATION_DIFFERS", "有引用与本机构的资料不一致，回答未展示；请运维重建索引后再问",
                "a citation differs from this institution's own document: the answer is not shown, operators index anew",
            )  # fmt: skip
        documents = [own for _, own in cites if own is not None]
        spans = tuple(own.text[one.start : one.end] for one, own in cites if own is not None)
        if is_bare:
            return (
                "grounding", "ANSWER_UNGROUNDED", "回答中的数字或名称在所引资料中找不到，未展示", "numbers or names of the answer stand in no cited source: it is not shown",
            )  # fmt: skip
        numbered = {one.n: own.document for one, own in cites if own is not None}
        told = {numbered[one.cite]: one.value for one in fields if one.name == "risk_class" and one.cite in numbered}
        secrets = LeakList(
            prompt_parts=found.template.instructions(), values=tuple(prepared.redacted.values.values()), known=self._customers.now()
        )
        verdict = check_answer(
            Answer(text, spans, products_of(documents, told)), found.scenario, asked.client_class, secrets, rules=found.rules, channel=found.channel.name,
            question=prepared.redacted.text,
        )  # fmt: skip
        return None if verdict.may_pass else (verdict.rule, verdict.code, verdict.zh, verdict.en)

    # ----------------------------------------------------------------------------------------------------------- 12

    def record_answered(self, leased: Leased, answer: Judged) -> None:
        """Row, vault and entry in one transaction; before it nothing of the answer counts."""
        host, end, kept = self._host, answer.came.end, answer.kept
        values = {
            **rows.parties(leased.row, host.party), "ask": leased.ask.ask, "frame": answer.came.frame, "end": digest(answer.came.encoded),
            "number": str(end.number), "state": kept.state.lower(), "answer": end.digest,
            "shown": sm3.digest(kept.text.encode()).hex(), "citations": str(end.citations), "dropped": str(end.dropped),
            "tokens_in": str(end.tokens_in), "tokens_out": str(end.tokens_out), "card_ms": str(end.card_ms), "watermark": leased.ask.watermark,
            "engine": f"{kept.engine} {kept.engine_version}".strip(),
        }  # fmt: skip
        counts = {
            "tokens_in": end.tokens_in, "tokens_out": end.tokens_out, "card_ms": end.card_ms, "citations": end.citations, "dropped": end.dropped,
        }  # fmt: skip

        def change(tx: Transaction) -> None:
            house.ended(tx, leased.ask.ask, state=kept.state, code=kept.code, at_ms=host.now_ms(), counts=counts)
            ref = host.evidence.append(tx, "inference.answered", values, job=leased.row.lease)
            keeping.put(host, tx, leased.ask.ask, replace(kept, entry=f"{ref.log}/{ref.index}", ended_ms=host.now_ms()))

        host.store.write(change)

    # ----------------------------------------------------------------------------------------------------------- 13

    def show(self, leased: Leased, answer: Judged) -> str:
        """The ask's name: what a person sees of it is read with their own rights (`keeping.told`)."""
        return leased.ask.ask

    # ------------------------------------------------------------------------------------------------- what went wrong

    def record_refused(self, caller: Caller, asked: Asked, error: WorkbenchError) -> None:
        """Nothing was sent. The refusal's details name its entry, so that who asked finds it."""
        refusals.record(self._host, self._customers, caller, asked, error)

    def record_lost(self, leased: Leased, error: WorkbenchError) -> None:
        """It was sent, and no answer counts: what had come is not kept."""
        host = self._host
        cause = error.details.get("cause", "") or error.code
        state = "CUT" if error.code == "ANSWER_LOST" else "FAILED"
        kept = replace(self._draft(leased), state=state, code=error.code, zh=error.zh, en=error.en, where="after", steps=tuple(leased.steps))

        def change(tx: Transaction) -> None:
            house.ended(tx, leased.ask.ask, state=state, code=error.code, at_ms=host.now_ms())
            house.lost(tx, host, leased.row, leased.ask.ask, cause)
            keeping.put(host, tx, leased.ask.ask, replace(kept, ended_ms=host.now_ms()))

        try:
            host.store.write(change)
        except WorkbenchError as failure:
            host.log_fault(failure)

    # ------------------------------------------------------------------------------------------------------- inside

    def _draft(self, leased: Leased) -> Kept:
        """What is known of an ask before its answer."""
        prepared, ask = leased.prepared, leased.ask
        asked, template = prepared.admitted.asked, prepared.admitted.admission.template
        disclaimer = template.disclaimed(asked.channel)
        return Kept(
            question=ask.question, tiles=keeping.tiles_in(ask.question, prepared.redacted), scenario=ask.scenario, template=template.name,
            model=prepared.admitted.model, lease=leased.row.lease, sandbox=leased.client.sandbox, watermark=ask.watermark, asked_ms=ask.time_ms,
            channel=asked.channel, steps=tuple(leased.steps), disclaimer_zh=disclaimer.get("zh", ""), disclaimer_en=disclaimer.get("en", ""),
        )  # fmt: skip

    def _tell(self, leased: Leased, step: Step) -> None:
        if self._step is not None:
            self._step(leased.ask.ask, step, leased)


def _writes(leased: Leased, opened: Open | None) -> bool:
    """Whether sentences of an answer may be an engine's own: of any image but an extractive one, whatever its sandbox says of itself."""
    engine = leased.prepared.admitted.engine
    return engine is None or engine.kind != "extractive" or (opened is not None and opened.kind != "extractive")


def _sentences(state: str, code: str) -> tuple[str, str]:
    """Why an answer of the sandbox is none."""
    if state == "CUT":
        return "租约或沙箱已结束，没有完整的回答；可以重新提问", "the lease or the sandbox ended, there is no whole answer; ask again"
    if code in ("ENGINE_BUSY", "ASK_LATE"):
        return "引擎正忙，没有回答；请稍后再问", "the engine was busy and gave no answer; ask again later"
    return f"沙箱没有回答（{code}）；请运维查看", f"the sandbox gave no answer ({code}); operators look at it"


__all__ = ["DEADLINE_MS", "Admitted", "Asked", "HouseSteps", "Judged", "Leased", "Prepared", "no_lease"]
