"""What staff do with questions: look ahead, ask, watch, stop, read again, rate, export. docs/sandbox-design.md section 5."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, Literal

from pydantic import Field, field_validator

from workbench.contracts import OperationContext, Transaction
from workbench.crypto import canonical, labels, sm3
from workbench.domain.party import Role
from workbench.errors import NotFound, Refused, WorkbenchError
from workbench.operations import NoInput, Operation, Reply, Request, View
from workbench_inference.asking import enclosing, house, keeping, routing
from workbench_inference.asking.house import AskRow
from workbench_inference.asking.replies import (
    AskingDesk,
    AskProgress,
    AskTaken,
    AskTold,
    History,
    HistoryLine,
    QuestionPreview,
    ScenarioOffered,
    SourceText,
)
from workbench_inference.asking.service import Asking, asking_of
from workbench_inference.asking.steps import DEADLINE_MS, Asked
from workbench_inference.channels import credentials
from workbench_inference.documents import corpus_store
from workbench_inference.leasing import rows, spending
from workbench_inference.leasing.billing import amount_fen
from workbench_inference.leasing.service import tenant_of
from workbench_inference.policy import tables
from workbench_inference.policy.access import role_for
from workbench_inference.policy.redaction import redact
from workbench_inference.policy.scenarios import named, scenarios
from workbench_inference.roles import at_tenant

ASKERS: Final = frozenset({Role.ADVISER, Role.MARKETING, Role.COMPLIANCE, Role.OPERATOR, Role.AUDITOR})
ALL_SEE: Final = frozenset({Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR})
LOOKERS: Final = ASKERS | ALL_SEE
WAIT_S: Final = 0.25
AROUND: Final = 160
"""Characters shown before and after a cited stretch."""
TITLE: Final = 60
AskName = Field(pattern=r"^ask-[0-9a-f]{32}$")


class QuestionRequest(Request):
    """scenario: one of the seven, by its name or as people call it (投研). model: name of an image, "" for the leased one. kinds: of documents, none for all of the scenario's.

    client_class: C1 to C5 of the customer it is about, "" for nobody. A customer who asks comes through a channel (docs/channels.md).
    files: ids of uploads, at most 8, whose documents, of files_kind, may be read for this question beside the corpus.
    """

    question: str = Field(min_length=1, max_length=4_000, repr=False)
    scenario: str = Field(pattern=r"^[a-z][a-z-]{0,30}$")
    model: str = Field(default="", pattern=r"^([a-z][a-z0-9-]{0,62})?$")
    language: Literal["zh", "en"] = "zh"
    kinds: list[str] = Field(default=[], max_length=5)
    client_class: Literal["", "C1", "C2", "C3", "C4", "C5"] = ""
    files: list[str] = Field(default=[], max_length=enclosing.MOST_FILES)
    files_kind: Literal["prompt", "question", "quote", "fund", "news"] = "news"

    @field_validator("scenario", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return named(value) if isinstance(value, str) else value


class AskRequest(Request):
    """One ask."""

    ask: str = AskName


class ProgressRequest(AskRequest):
    """after: number of the reply before, 0 at first. Waits at most 250 ms for more."""

    after: int = Field(default=0, ge=0)


class HistoryRequest(Request):
    """text: in the redacted question; state: one of ASK_STATES, "" for all."""

    text: str = Field(default="", max_length=60)
    state: str = Field(default="", pattern=r"^[A-Z]{0,12}$")
    watermark: str = Field(default="", pattern=r"^([0-9a-f]{16})?$")
    limit: int = Field(default=50, ge=1, le=500)


class SourceRequest(AskRequest):
    """n: number of the citation."""

    n: int = Field(ge=1, le=999)


class RateRequest(AskRequest):
    """rating: "" takes it back."""

    rating: Literal["", "up", "down"]
    reason: str = Field(default="", max_length=500)


class ExportRequest(Request):
    """Own asks, or all for those who see all. from_ms, until_ms: when they were asked."""

    from_ms: int = Field(default=0, ge=0)
    until_ms: int = Field(default=0, ge=0)


class HistoryExport(Reply):
    """download: id of the file, to be taken once within the hour. receipt: SM3 of the signed receipt inside it, as its entry says."""

    download: str
    name: str
    count: int
    receipt: str


def _asking(ctx: OperationContext) -> Asking:
    return asking_of(ctx.host)


def _sees_all(ctx: OperationContext) -> bool:
    return bool(ctx.caller.person.roles & ALL_SEE)


# ---------------------------------------------------------------------------------------------------------------- asking


def _asked(ctx: OperationContext, request: QuestionRequest) -> Asked:
    ask = f"ask-{ctx.host.random(16).hex()}"
    return Asked(ask, request.question, request.scenario, request.model, request.language, tuple(request.kinds), client_class=request.client_class)


def _preview(ctx: OperationContext, request: QuestionRequest) -> QuestionPreview:
    """Redaction, class and cost before anything is sent; what would refuse it."""
    asking, host = _asking(ctx), asking_of(ctx.host).host
    desk = asking.desk
    redacted = redact(request.question, asking.customers.now())
    tiles = keeping.tiles_told(redacted.text, keeping.tiles_in(redacted.text, redacted))
    base = QuestionPreview(
        text=redacted.text, tiles=tiles, klass="", scenario=request.scenario, template="", documents=0, documents_ms=0, cost_fen=0, code="", rule="",
        zh="", en="",
    )  # fmt: skip
    try:
        sent = enclosing.read(host, request.files, kind=request.files_kind)
        admitted = desk.steps.admit(ctx.caller, replace(_asked(ctx, request), sent=sent))
        prepared = desk.steps.redact(admitted)
    except WorkbenchError as error:
        return base.model_copy(update={"code": error.code, "rule": error.details.get("rule", ""), "zh": error.zh, "en": error.en})
    with host.store.read() as reader:
        count, newest = _documents(reader, admitted.readable.kinds)
        row = tenant_of(host).live(reader, now_ms=host.now_ms())
    return base.model_copy(
        update={
            "klass": prepared.klass, "template": admitted.admission.template.name, "documents": count, "documents_ms": newest,
            "cost_fen": amount_fen(DEADLINE_MS // 1000, row.price if row is not None else 0),
        }
    )  # fmt: skip


def _documents(reader: Any, kinds: tuple[str, ...]) -> tuple[int, int]:
    found = reader.execute(
        f"SELECT count(DISTINCT document), coalesce(max(time_ms), 0) FROM inference_document WHERE removed_ms = 0 AND kind IN ({', '.join('?' * len(kinds))})", kinds
    ).fetchone()
    return int(found[0]), int(found[1])


def _ask(ctx: OperationContext, request: QuestionRequest) -> AskTaken:
    desk, host, asked = _asking(ctx).desk, ctx.host, _asked(ctx, request)
    try:
        asked = replace(asked, sent=enclosing.read(host, request.files, kind=request.files_kind))
    except Refused as error:
        desk.steps.record_refused(ctx.caller, asked, error)
        raise
    finally:
        for one in request.files:
            host.uploads.remove(one)
    ask, before = desk.take_in(ctx.caller, asked)
    return AskTaken(ask=ask, waiting=before)


def _progress(ctx: OperationContext, request: ProgressRequest) -> AskProgress:
    asking = _asking(ctx)
    progress = asking.desk.progress(request.ask)
    if progress is not None:
        asking.desk.wait(progress, request.after, seconds=WAIT_S)
    told = _told(ctx, request.ask)
    return AskProgress(ask=told, next=progress.records if progress is not None else request.after)


def _stop(ctx: OperationContext, request: AskRequest) -> AskTold:
    _asking(ctx).desk.stop(request.ask, ctx.caller.person.token)
    return _told(ctx, request.ask)


# --------------------------------------------------------------------------------------------------------------- reading


def _told(ctx: OperationContext, ask: str) -> AskTold:
    """One ask as this person may see it. NotFound for another's, unless they see all."""
    asking = _asking(ctx)
    host, person = asking.host, ctx.caller.person.token
    progress = asking.desk.progress(ask)
    with host.store.read() as reader:
        row = house.row_of(reader, ask)
        mine = row is not None and row.person == person
        if row is None or not (mine or _sees_all(ctx)):
            raise _no_ask()
        kept = keeping.get(host, reader, ask)
        values = keeping.get_map(host, reader, ask) if mine else {}
        lease = rows.find(reader, row.lease) if row.lease else None
    if progress is not None and progress.is_over and row.state in ("QUEUED", "STREAMING"):
        row = replace(row, state="FAILED", code="STORAGE_FAILED")  # not even that could be written down
    draft = ""
    if mine and progress is not None and row.state in ("QUEUED", "STREAMING"):
        with progress.changed:
            draft = "".join(progress.text)
            if kept is not None:
                kept = replace(kept, steps=tuple(progress.steps))
    return keeping.told(
        host, row, kept, values, mine=mine, price=lease.price if lease is not None else 0, seal=_seal(ctx, kept, lease), draft=draft
    )


def _seal(ctx: OperationContext, kept: keeping.Kept | None, lease: rows.LeaseRow | None) -> str:
    """PENDING or FINAL: whether both institutions have co-signed."""
    if kept is None or not kept.entry:
        return ""
    log, _, index = kept.entry.partition("/")
    ledger = asking_of(ctx.host).host.ledger
    # What was refused before any lease is this institution's own matter: sealed as its kind of entry asks.
    state = ledger.seal_state(log, int(index), required=[lease.partner]) if lease is not None else ledger.seal(log, int(index))
    return "FINAL" if state.is_final else "PENDING"


def _answer(ctx: OperationContext, request: AskRequest) -> AskTold:
    return _told(ctx, request.ask)


def _history(ctx: OperationContext, request: HistoryRequest) -> History:
    host, person = _asking(ctx).host, ctx.caller.person.token
    everyone = _sees_all(ctx)
    with host.store.read() as reader:
        found = reader.execute(
            f"SELECT {house.ASK_COLUMNS} FROM inference_ask WHERE (? OR person = ?) AND (? = '' OR state = ?) AND (? = '' OR watermark = ?)"
            " ORDER BY asked_ms DESC, ask DESC LIMIT 5000",
            (everyone, person, request.state, request.state, request.watermark, request.watermark),
        ).fetchall()
        lines: list[HistoryLine] = []
        total = 0
        wanted = request.text.strip().casefold()
        for one in found:
            row = AskRow(*one)
            if not wanted and total >= request.limit:
                total += 1
                continue
            kept = keeping.get(host, reader, row.ask)
            question = kept.question if kept is not None else ""
            if wanted and wanted not in question.casefold():
                continue
            total += 1
            if len(lines) < request.limit:
                lines.append(
                    HistoryLine(
                        ask=row.ask, asked_ms=row.asked_ms, state=row.state, scenario=row.scenario, title=question[:TITLE], rating=row.rating, mine=row.person == person,
                        channel=row.channel, credential=credentials.name_of(reader, row.credential),
                    )
                )
    return History(lines=lines, total=total)


def _source(ctx: OperationContext, request: SourceRequest) -> SourceText:
    """The stretch of the own document around a citation, compared with what was cited."""
    host = _asking(ctx).host
    told = _told(ctx, request.ask)
    cite = next((one for one in told.citations if one.n == request.n), None)
    if cite is None:
        raise NotFound("没有这条引用", "there is no such citation", code="NO_CITATION")
    with host.store.read() as reader:
        own = keeping.get_sent(host, reader, request.ask, cite.document, cite.version) or corpus_store.read_document(host, reader, cite.document, cite.version)
    return SourceText(
        document=own.document, version=own.version, title=own.title, source=own.source, time_ms=own.time_ms, synthetic=own.synthetic, start=cite.start,
        end=cite.end, before=own.text[max(0, cite.start - AROUND) : cite.start], cited=own.text[cite.start : cite.end],
        after=own.text[cite.end : cite.end + AROUND], sm3=cite.sm3, matches=corpus_store.text_digest(own) == cite.sm3,
    )  # fmt: skip


def _looked(ctx: OperationContext, request: Any, reply: Any) -> View:
    """A look at what somebody else asked leaves an entry."""
    others = sum(not one.mine for one in reply.lines) if isinstance(reply, History) else int(not reply.mine)
    selection = sm3.digest(canonical.format({"request": request.model_dump(mode="json"), "kind": type(request).__name__})).hex()
    return View(selection, others, is_recorded=others > 0)


def _source_looked(ctx: OperationContext, request: SourceRequest, reply: SourceText) -> View:
    return View(sm3.digest(canonical.format(request.model_dump(mode="json"))).hex(), 1)


# ---------------------------------------------------------------------------------------------------- rating and export


def _rate(ctx: OperationContext, request: RateRequest) -> AskTold:
    """Of one's own answer; the reason keeps labels in place of identifiers."""
    asking = _asking(ctx)
    host, person = asking.host, ctx.caller.person.token
    reason = redact(request.reason, asking.customers.now()).text

    def change(tx: Transaction) -> None:
        row = house.row_of(tx, request.ask)
        if row is None or row.person != person:
            raise _no_ask()
        if row.state in ("QUEUED", "STREAMING"):
            raise Refused("回答还没有结束，暂不能评价", "the answer has not ended yet and cannot be rated", code="ASK_UNDER_WAY")
        tx.execute("UPDATE inference_ask SET rating = ?, reason = ? WHERE ask = ?", (request.rating, reason, request.ask))
        values = {"ask": request.ask, "rating": request.rating, "reason": reason}
        host.evidence.append(tx, "inference.rated", values, actor=person)

    host.store.write(change)
    return _told(ctx, request.ask)


def _export(ctx: OperationContext, request: ExportRequest) -> HistoryExport:
    """The history as one file, texts with labels, with a receipt that the contract key signed."""
    host, person = _asking(ctx).host, ctx.caller.person.token
    until = request.until_ms or host.now_ms()
    with host.store.read() as reader:
        found = reader.execute(
            f"SELECT {house.ASK_COLUMNS} FROM inference_ask WHERE (? OR person = ?) AND asked_ms >= ? AND asked_ms <= ? ORDER BY asked_ms, ask",
            (_sees_all(ctx), person, request.from_ms, until),
        ).fetchall()
        asks = []
        for one in found:
            row = AskRow(*one)
            kept = keeping.get(host, reader, row.ask)
            asks.append({**_exported(row, kept), "channel": row.channel, "credential": row.credential})
    content = canonical.format(asks)
    receipt = canonical.format(
        {
            "v": 1, "kind": "history-receipt", "party": host.party, "count": len(asks), "from_ms": request.from_ms, "until_ms": until,
            "made_ms": host.now_ms(), "content": sm3.digest(content).hex(),
        }
    )  # fmt: skip
    signature = host.keys.contract.sign(labels.signing_input("history-receipt", party=host.party, job="", body=receipt))
    digest = sm3.digest(receipt).hex()
    data = canonical.format({"asks": asks, "receipt": receipt.decode(), "signature": signature.hex()})
    name = f"asks-{host.today():%Y%m%d}.json"

    def change(tx: Transaction) -> str:
        host.evidence.append(tx, "inference.history_exported", {"count": str(len(asks)), "receipt": digest}, actor=person)
        return str(host.downloads.offer(tx, ctx.caller, name, data))

    return HistoryExport(download=host.store.write(change), name=name, count=len(asks), receipt=digest)


def _exported(row: AskRow, kept: keeping.Kept | None) -> dict[str, Any]:
    """An ask with labels in place of identifiers, its label 'AI' and its watermark."""
    made: dict[str, Any] = {
        "ask": row.ask, "asked_ms": row.asked_ms, "ended_ms": row.ended_ms, "state": row.state, "code": row.code, "scenario": row.scenario,
        "template": row.template, "model": row.model, "class": row.klass, "lease": row.lease, "watermark": row.watermark, "rating": row.rating,
        "generated_by": "AI",
    }  # fmt: skip
    if kept is not None:
        made |= {
            "question": kept.question, "text": kept.text, "entry": kept.entry, "disclaimer_zh": kept.disclaimer_zh, "disclaimer_en": kept.disclaimer_en,
            "citations": [one.model_dump() for one in kept.citations], "fields": [list(one) for one in kept.fields],
        }  # fmt: skip
    return made


# ------------------------------------------------------------------------------------------------------------------ desk


def _desk(ctx: OperationContext, request: NoInput) -> AskingDesk:
    """What the page needs before a question."""
    asking = _asking(ctx)
    host, desk, now = asking.host, asking.desk, asking.host.now_ms()
    tenant = tenant_of(host)
    person = ctx.caller.person
    with host.store.read() as reader:
        routed = {one.name: routing.routes(desk.sandboxes, reader, scenario=one.name, model="", now_ms=now) for one in scenarios().values()}
        # Of several leases the one that a question goes to first; the lease with the latest end may be the one that only stands in.
        row = next((able[0].row for able in routed.values() if able), None) or tenant.live(reader, now_ms=now)
        newest = row or next((one for one in rows.listed(reader, limit=1) if one.side == rows.TENANT), None)
        model = desk.sandboxes.manifest(row).name if row is not None else ""
        engine = desk.sandboxes.manifest(newest).engine if newest is not None else None
        access = tables.access_rules(reader, host)
        offered, group = [], ""
        for one in scenarios().values():
            able = [
                each.manifest.name for each in routed[one.name]
                if role_for(access, roles=person.roles, scenario=one.name, model=each.manifest.name) is not None
            ]  # fmt: skip
            role = role_for(access, roles=person.roles, scenario=one.name, model=able[0] if able else model or "*")
            if role is None:
                continue
            group = group or role.value
            template = tables.template_in_force(reader, host, one.name, row.order.mode if row is not None else "run")
            count, newest_ms = _documents(reader, one.kinds)
            offered.append(
                ScenarioOffered(
                    scenario=one.name, name_zh=one.zh, name_en=one.en, version=f"v{template.version}", models=able, kinds=list(one.kinds),
                    documents=count, documents_ms=newest_ms,
                )
            )
        mine = tables.quota_of(reader, host, person.token, is_group=False)
        groups = tables.quota_of(reader, host, group, is_group=True) if group else None
        _, spent = spending.spent(reader, tenant.host, side=rows.TENANT)
        budget_fen = spending.budget(reader, tenant.host)
        cost = spending.cost_of(reader, newest) if newest is not None else 0
    client = desk.sandboxes.newest(row.lease) if row is not None else None
    session = client.session if client is not None else None
    said = session.evidence.statement if session is not None else None
    problem = _problem(offered, row is not None)
    return AskingDesk(
        scenarios=offered, asked=mine.used, quota=mine.most, group=group, group_asked=groups.used if groups else 0, group_quota=groups.most if groups else 0,
        spent_fen=spent, budget_fen=budget_fen, provider=str(host.setting("inference.provider")), lease=newest.lease if newest else "",
        lease_state=newest.state.value if newest else "", pool=newest.order.pool if newest else "", cards=newest.cards if newest else 0,
        until_ms=newest.until_ms if newest else 0, began_ms=newest.started_ms if newest else 0, card_seconds=_seconds(cost, newest), amount_fen=cost,
        assurance=said.assurance if said else "", evidence="accepted" if said else "", evidence_ms=session.began_ms if session else 0,
        missing=list(said.missing) if said else [], image=newest.order.image if newest else "", provenance=session.opened.provenance if session else "",
        suite=session.opened.suite if session else "", policy=newest.order.policy if newest else "", session=session.opened.session if session else "",
        waiting=desk.waiting, engine=engine.name if engine else "", engine_kind=engine.kind if engine else "", place=engine.place if engine else "",
        problem_code=problem[0], problem_zh=problem[1], problem_en=problem[2], now_ms=now,
        silent_s=tenant.silent_s(newest) if newest is not None else 0,
    )  # fmt: skip


def _seconds(cost: int, row: rows.LeaseRow | None) -> int:
    """Card-seconds that this amount stands for."""
    return cost * 60 // row.price if row is not None and row.price else 0


def _problem(offered: list[ScenarioOffered], leased: bool) -> tuple[str, str, str]:
    if not leased:
        return "NO_LEASE", "没有可用的租约，暂不能提问；请运维租用", "no lease takes questions now; operators order one"
    if not offered:
        return "ASK_DENIED", "你的岗位没有可用的场景；合规岗或审批岗可以许可", "your role has no scenario; compliance or an approver can allow one"
    return "", "", ""


def _no_ask() -> NotFound:
    return NotFound("没有这次提问，或不是你的", "there is no such question, or it is not yours", code="NO_ASK")


ASK_OPERATIONS: Final = at_tenant((
    Operation(
        name="inference.desk", zh="提问前的情况：场景、额度、租约、沙箱证据", en="what stands before a question: scenarios, quota, lease, evidence of the sandbox",
        request=NoInput, reply=AskingDesk, roles=LOOKERS, run=_desk, weak_token=True, reads_only=True,
    ),
    Operation(
        name="inference.preview", zh="预览脱敏与费用", en="see what would be sent, and its cost", request=QuestionRequest, reply=QuestionPreview,
        roles=ASKERS, run=_preview, weak_token=True, reads_only=True,
    ),
    Operation(
        name="inference.ask", zh="向沙箱中的模型提问", en="ask a model in a sandbox", request=QuestionRequest, reply=AskTaken, roles=ASKERS, run=_ask,
        weak_token=True, own_only=True, evidence=("inference.asked", "inference.ask_refused", "inference.answered", "inference.answer_lost"),
    ),
    Operation(
        name="inference.ask_progress", zh="看回答进行到哪里", en="how far an answer has come", request=ProgressRequest, reply=AskProgress, roles=LOOKERS,
        run=_progress, weak_token=True, reads_only=True, view=lambda ctx, request, reply: _looked(ctx, request, reply.ask),
    ),
    Operation(
        name="inference.ask_stop", zh="停止回答", en="stop an answer", request=AskRequest, reply=AskTold, roles=ASKERS, run=_stop, weak_token=True, own_only=True,
    ),
    Operation(
        name="inference.history", zh="查看提问记录", en="read earlier questions", request=HistoryRequest, reply=History, roles=LOOKERS, run=_history,
        weak_token=True, reads_only=True, view=_looked,
    ),
    Operation(
        name="inference.answer", zh="查看一次提问与回答", en="read one question and its answer", request=AskRequest, reply=AskTold, roles=LOOKERS, run=_answer,
        weak_token=True, reads_only=True, view=_looked,
    ),
    Operation(
        name="inference.source", zh="查看引用的原文", en="read what a citation points at", request=SourceRequest, reply=SourceText, roles=LOOKERS, run=_source,
        weak_token=True, reads_only=True, view=_source_looked,
    ),
    Operation(
        name="inference.rate", zh="评价回答", en="rate an answer", request=RateRequest, reply=AskTold, roles=ASKERS, run=_rate, weak_token=True,
        evidence=("inference.rated",),
    ),
    Operation(
        name="inference.history_export", zh="导出提问记录", en="export earlier questions", request=ExportRequest, reply=HistoryExport, roles=LOOKERS - {Role.REGULATOR},
        run=_export, fresh_password=True, evidence=("inference.history_exported",),
    ),
))  # fmt: skip

told_of: Final = _told
"""One question as a caller may see it, for channels."""
rate_as: Final = _rate
"""Rate an answer as its own asker, for channels."""

__all__ = ["ASK_OPERATIONS", "WAIT_S", "rate_as", "told_of"]
