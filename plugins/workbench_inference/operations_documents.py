"""What staff do with documents: import, look, remove, index, and say who may use them for what. docs/sandbox-documents.md."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import Field

from workbench.contracts import OperationContext, Transaction
from workbench.contracts.inference import ReadLimits
from workbench.crypto import sm3
from workbench.domain.party import Role
from workbench.errors import InvalidRequest, NotFound, Refused
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_inference.documents import corpus_store, usages
from workbench_inference.policy.customers import CustomerNames
from workbench_inference.roles import at_tenant

KEEPERS: Final = frozenset({Role.ADVISER, Role.OPERATOR, Role.COMPLIANCE})
ASKERS: Final = frozenset({Role.ADVISER, Role.MARKETING, Role.COMPLIANCE, Role.OPERATOR})
_SHOWN: Final = 200

Kind = Literal["prompt", "question", "quote", "fund", "news"]
DataClass = Literal["public", "internal", "important", "personal"]
ScenarioName = Literal["advice", "research", "banking", "marketing", "risk", "together", "running"]


class DocumentsRequest(Request):
    """kind: "" for all; source: "" for all; after: the last document of the page before."""

    kind: Literal["", "prompt", "question", "quote", "fund", "news"] = ""
    source: str = Field(default="", max_length=512)
    after: str = Field(default="", max_length=64)
    limit: int = Field(default=100, ge=1, le=1000)


class DocumentInfo(Reply):
    """The newest version of one document, without its text."""

    document: str
    version: str
    kind: str
    title: str
    source: str
    time_ms: int
    data_class: str
    is_synthetic: bool
    is_indexed: bool


class CorpusInfo(Reply):
    """corpus: SM3 of the sealed file; embedder: "" where it is searched by words alone."""

    corpus: str
    documents: int
    passages: int
    size_bytes: int
    embedder: str
    is_synthetic: bool
    built_ms: int


class IndexingTold(Reply):
    """A corpus that is being made: passages done of all; embedder "" for words only."""

    done: int
    total: int
    embedder: str


class DocumentsReply(Reply):
    """total: documents that fit; by_kind: of all; is_outdated: documents changed since the newest corpus; next: "" at the end.

    indexing: what is being indexed now; until it is done the corpus before answers, by words alone if it has no embedder.
    """

    total: int
    by_kind: dict[str, int]
    documents: list[DocumentInfo]
    next: str
    corpora: list[CorpusInfo]
    is_outdated: bool
    indexing: IndexingTold | None = None


class ImportDocuments(Request):
    """A file (id of an upload) or a seed of the synthetic corpus. source, time: for rows that say nothing (time: ISO date or time).

    data_class: the least of each document. is_synthetic: compliance states that a file holds synthetic documents only.
    """

    file: str = Field(default="", max_length=64)
    kind: Literal["", "prompt", "question", "quote", "fund", "news"] = ""
    source: str = Field(default="", max_length=512)
    time: str = Field(default="", max_length=40)
    data_class: DataClass = "internal"
    is_synthetic: bool = False
    seed: int | None = Field(default=None, ge=0, le=2**31)


class RejectInfo(Reply):
    place: int
    code: str
    zh: str
    en: str


class ImportedKind(Reply):
    """taken: new or changed; same: there before; redacted: questions in which something was replaced; rejected: of the file."""

    kind: str
    taken: int
    same: int
    redacted: int
    rejected: int


class ImportDocumentsReply(Reply):
    """rejects: the first 200, by row, page or line."""

    imported: list[ImportedKind]
    rejects: list[RejectInfo]
    reasons: dict[str, int]


class RemoveDocuments(Request):
    """documents by name, all versions; or all of a source."""

    documents: list[str] = Field(default=[], max_length=1000)
    source: str = Field(default="", max_length=512)
    reason: str = Field(min_length=1, max_length=200)


class RemovedReply(Reply):
    """corpora: that were given up because they held one of them; index again before the next question."""

    removed: int
    corpora: int


class IndexRequest(Request):
    """words_only: without embeddings. synthetic_only: a corpus for leases in debug."""

    words_only: bool = False
    synthetic_only: bool = False


class IndexReply(Reply):
    """left_out: documents of a class that no sandbox may hold; kept: passages whose embedding was there before."""

    corpus: CorpusInfo
    left_out: int
    kept: int
    milliseconds: int


class UsageInfo(Reply):
    """One contract of use. source: "" for any; most: 0 without limit; is_live: counts at the next ask."""

    usage: str
    kind: str
    source: str
    scenario: str
    roles: list[str]
    most: int
    used: int
    until_ms: int
    revoked_ms: int
    is_live: bool


class UsagesReply(Reply):
    usages: list[UsageInfo]


class GrantUsage(Request):
    """Documents of a kind (of one source, or any) may be read for a scenario by these roles until an ISO date or time."""

    kind: Kind
    source: str = Field(default="", max_length=512)
    scenario: ScenarioName
    roles: list[Role] = Field(min_length=1, max_length=9)
    most: int = Field(default=0, ge=0, le=1_000_000)
    until: datetime
    reason: str = Field(min_length=1, max_length=200)


class RevokeUsage(Request):
    usage: str = Field(max_length=40)
    reason: str = Field(min_length=1, max_length=200)


def _host(ctx: OperationContext) -> Any:  # Any: the node, as corpus_store.DocumentHost and with its uploads
    return ctx.host


def _documents(ctx: OperationContext, request: DocumentsRequest) -> DocumentsReply:
    from workbench_inference.documents import indexing  # needs numpy

    host = _host(ctx)
    going = indexing.under_way(host)
    with host.store.read() as reader:
        every = corpus_store.document_rows(reader, newest_only=True)
        corpora = corpus_store.corpora(reader)
    known = {one.digest for one in corpora}
    fit = [one for one in every if request.kind in ("", one.kind) and request.source in ("", one.source)]
    page = [one for one in fit if one.document > request.after][: request.limit]
    return DocumentsReply(
        total=len(fit),
        by_kind=dict(sorted(Counter(one.kind for one in every).items())),
        documents=[
            DocumentInfo(
                document=one.document, version=one.version, kind=one.kind, title=one.title, source=one.source, time_ms=one.time_ms,
                data_class=one.klass, is_synthetic=bool(one.is_synthetic), is_indexed=one.corpus in known,
            )
            for one in page
        ],
        next=page[-1].document if page and page[-1].document != fit[-1].document else "",
        corpora=[_corpus(one) for one in corpora],
        is_outdated=bool(every) and indexing.outdated(host),
        indexing=IndexingTold(done=going.done, total=going.total, embedder=going.embedder) if going is not None else None,
    )  # fmt: skip


def _corpus(row: corpus_store.CorpusRow) -> CorpusInfo:
    return CorpusInfo(
        corpus=row.digest, documents=row.documents, passages=row.passages, size_bytes=row.size, embedder=row.embedder,
        is_synthetic=bool(row.is_synthetic), built_ms=row.built_ms,
    )  # fmt: skip


def _import(ctx: OperationContext, request: ImportDocuments) -> ImportDocumentsReply:
    from workbench_inference.documents import importing  # needs what reads sheets

    host, actor = _host(ctx), ctx.caller.person.token

    def progress(done: int, total: int) -> None:
        ctx.progress(done, total, "导入资料", "importing documents")

    if (request.seed is None) == (not request.file):
        raise InvalidRequest("请给出一个文件，或合成语料的种子，二者之一", "give a file, or a seed of the synthetic corpus: one of them")
    if request.seed is not None:
        found = importing.import_synthetic(host, request.seed, actor=actor, progress=progress)
        return _imported(found)
    if request.is_synthetic and Role.COMPLIANCE not in ctx.caller.person.roles:
        host.uploads.remove(request.file)
        raise Refused("只有合规岗可以声明文件是合成资料", "only compliance may state that a file holds synthetic documents", code="SYNTHETIC_BY_COMPLIANCE")
    path = host.uploads.path(request.file)
    try:
        content = importing.content_of(path)
        read = importing.read_file(
            host.document_connectors(), content, name=path.name, kind=request.kind, source=request.source, time_ms=_time_ms(request.time),
            limits=ReadLimits(),
        )  # fmt: skip
        made = importing.import_found(
            host, read, name=path.name, kind=request.kind, klass=request.data_class, file_digest=sm3.digest(content).hex(), actor=actor, source=request.source,
            known=CustomerNames(host).now(), is_synthetic=request.is_synthetic, progress=progress, cancelled=ctx.cancelled,
        )  # fmt: skip
    finally:
        host.uploads.remove(request.file)
    return _imported([made])


def _imported(found: list[Any]) -> ImportDocumentsReply:
    rejects = [one for each in found for one in each.rejects]
    return ImportDocumentsReply(
        imported=[
            ImportedKind(kind=one.kind, taken=one.taken, same=one.same, redacted=one.redacted, rejected=len(one.rejects)) for one in found
        ],
        rejects=[RejectInfo(place=one.place, code=one.code, zh=one.zh, en=one.en) for one in rejects[:_SHOWN]],
        reasons=dict(sorted(Counter(one.code for one in rejects).items())),
    )


def _time_ms(text: str) -> int:
    """0 for none. Raises InvalidRequest."""
    from workbench.intake.times import parse_grant_time

    if not text:
        return 0
    found = parse_grant_time(text, is_end=False)
    if found.at_ms is None:
        raise InvalidRequest("时间无法识别，请写成 2026-01-31", "the time cannot be read: write 2026-01-31")
    return found.at_ms


def _remove(ctx: OperationContext, request: RemoveDocuments) -> RemovedReply:
    host = _host(ctx)
    if bool(request.documents) == bool(request.source):
        raise InvalidRequest("请给出资料编号或来源，二者之一", "give names of documents, or a source: one of them")
    wanted = frozenset(request.documents)

    def change(tx: Transaction) -> RemovedReply:
        rows = [
            one for one in corpus_store.document_rows(tx, source=request.source) if not wanted or one.document in wanted
        ]  # fmt: skip
        if not rows or wanted - {one.document for one in rows}:
            raise NotFound("没有这些资料，或已移除；没有移除任何资料", "there are no such documents, or they were removed; nothing was removed", code="DOCUMENT_UNKNOWN")
        corpora = corpus_store.remove_documents(host, tx, rows)
        for kind, count in sorted(Counter(one.kind for one in rows).items()):
            values = {"kind": kind, "rows": str(count), "reason": request.reason}
            host.evidence.append(tx, "inference.documents_removed", values, actor=ctx.caller.person.token)
        return RemovedReply(removed=len({one.document for one in rows}), corpora=corpora)

    reply: RemovedReply = host.store.write(change)
    corpus_store.sweep(host)
    return reply


def _index(ctx: OperationContext, request: IndexRequest) -> IndexReply:
    from workbench_inference.documents import indexing
    from workbench_sandbox.corpus.embedding import installed

    embedder = None if request.words_only else installed()
    made = indexing.index(
        _host(ctx),
        actor=ctx.caller.person.token,
        embedder=embedder,
        synthetic_only=request.synthetic_only,
        progress=lambda done, total: ctx.progress(done, total, "建立索引", "indexing"),
        cancelled=ctx.cancelled,
    )
    return IndexReply(corpus=_corpus(made.row), left_out=made.left_out, kept=made.kept, milliseconds=made.milliseconds)


def _usages(ctx: OperationContext, request: NoInput) -> UsagesReply:
    with ctx.host.store.read() as reader:
        return UsagesReply(usages=[_usage(ctx, one) for one in usages.usages(reader)])


def _grant(ctx: OperationContext, request: GrantUsage) -> UsageInfo:
    if request.until.tzinfo is None:
        raise InvalidRequest("到期时间须带时区", "the end needs a time zone")
    until_ms = int(request.until.timestamp() * 1000)
    made = ctx.host.store.write(
        lambda tx: usages.grant(
            _host(ctx), tx, kind=request.kind, source=request.source, scenario=request.scenario, roles=[one.value for one in request.roles],
            most=request.most, until_ms=until_ms, actor=ctx.caller.person.token, reason=request.reason,
        )
    )  # fmt: skip
    return _usage(ctx, made)


def _revoke(ctx: OperationContext, request: RevokeUsage) -> UsageInfo:
    token = ctx.caller.person.token
    ctx.host.store.write(lambda tx: usages.revoke(_host(ctx), tx, request.usage, actor=token, reason=request.reason))
    with ctx.host.store.read() as reader:
        return _usage(ctx, next(one for one in usages.usages(reader) if one.usage == request.usage))


def _usage(ctx: OperationContext, one: usages.Usage) -> UsageInfo:
    return UsageInfo(
        usage=one.usage, kind=one.kind, source=one.source, scenario=one.scenario, roles=one.roles.split(), most=one.most, used=one.used,
        until_ms=one.until_ms, revoked_ms=one.revoked_ms, is_live=one.is_live(ctx.host.now_ms()),
    )  # fmt: skip


DOCUMENT_OPERATIONS: Final = at_tenant((
    Operation(
        name="inference.documents", zh="查看资料与资料包", en="read documents and corpora", request=DocumentsRequest, reply=DocumentsReply,
        roles=KEEPERS | {Role.AUDITOR, Role.REGULATOR}, run=_documents, weak_token=True, reads_only=True,
    ),
    Operation(
        name="inference.documents_import", zh="导入资料", en="import documents", request=ImportDocuments, reply=ImportDocumentsReply,
        roles=KEEPERS, run=_import, weak_token=True, long=True, takes_file=True, evidence=("inference.documents_imported",),
    ),
    Operation(
        name="inference.documents_remove", zh="移除资料", en="remove documents", request=RemoveDocuments, reply=RemovedReply,
        roles=KEEPERS, run=_remove, evidence=("inference.documents_removed",),
    ),
    Operation(
        name="inference.index", zh="对资料建索引", en="index documents", request=IndexRequest, reply=IndexReply,
        roles=KEEPERS, run=_index, weak_token=True, long=True, evidence=("inference.corpus_indexed",),
    ),
    Operation(
        name="inference.usages", zh="查看资料使用许可", en="read usages of documents", request=NoInput, reply=UsagesReply,
        roles=ASKERS | {Role.AUDITOR, Role.REGULATOR}, run=_usages, weak_token=True, reads_only=True,
    ),
    Operation(
        name="inference.usage_grant", zh="授予资料使用许可", en="grant a usage of documents", request=GrantUsage, reply=UsageInfo,
        roles=frozenset({Role.COMPLIANCE}), run=_grant, fresh_password=True, evidence=("inference.usage_changed",),
    ),
    Operation(
        name="inference.usage_revoke", zh="撤销资料使用许可", en="revoke a usage of documents", request=RevokeUsage, reply=UsageInfo,
        roles=frozenset({Role.COMPLIANCE}), run=_revoke, fresh_password=True, evidence=("inference.usage_changed",),
    ),
))  # fmt: skip

__all__ = ["DOCUMENT_OPERATIONS"]
