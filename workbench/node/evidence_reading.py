"""Operations that read and check evidence: timeline of a job, one entry with its proof, receipts, audit, health."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field

from workbench.contracts import Ledger, OperationContext
from workbench.domain.envelope import Envelope, parse_envelope
from workbench.domain.intersection import JobState
from workbench.domain.party import PartyId, Role
from workbench.domain.receipt import job_receipt
from workbench.errors import Denied, NotFound, PeerError, Refused
from workbench.operations import NoInput, Operation, Reply, Request
from workbench.verify import verify_receipt

if TYPE_CHECKING:
    from workbench.host import Workbench

READS = frozenset({Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR, Role.OPERATOR, Role.APPROVER, Role.MARKETING})
CHECKS = frozenset({Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR, Role.OPERATOR})
SHOWN_IN_RECEIPTS = ("list_digest", "list_key", "file_sm3")
AREAS_OF_MARKETING = ("intersection.", "lists.")


class TimelineRequest(Request):
    """job: only this job, joined from all participants' logs; "" for the own log. before: index in the own log."""

    job: str = ""
    kind: str = Field(default="", max_length=80)
    text: str = Field(default="", max_length=120)
    before: int | None = Field(default=None, ge=0)
    limit: int = Field(default=200, ge=1, le=1000)


class EntryInfo(Reply):
    """One entry: values in clear as far as this node can open them; closed: fields only committed here.

    seal: PENDING, SEALED or FULL; counterpart: log and index of the partner's entry about the same frame, "" when none.
    """

    log: str
    index: int
    kind: str
    zh: str
    en: str
    time_ms: int
    job: str
    actor: str
    values: dict[str, str]
    closed: list[str]
    refs: list[str]
    seal: str
    cosigners: list[str]
    missing: list[str]
    counterpart: str = ""


class TimelineReply(Reply):
    """entries: oldest first. one_sided: frames that one participant recorded and the other did not (digest)."""

    entries: list[EntryInfo]
    one_sided: list[str]
    more: bool


class EntryRequest(Request):
    log: str
    index: int = Field(ge=0)


class FieldInfo(Reply):
    name: str
    zh: str
    en: str
    unit: str
    visibility: str
    value: str | None


class EntryReply(Reply):
    """Everything about one entry: body as base64, both paths, checkpoint, and what was checked, step by step."""

    entry: EntryInfo
    fields: list[FieldInfo]
    body: str
    receipt: dict[str, Any]
    steps: list[dict[str, Any]]
    verdict: str


class ReceiptRequest(Request):
    job: str


class ReceiptReply(Reply):
    """receipt: workbench/v1/receipt with the partner's release entry as a link."""

    receipt: dict[str, Any]
    sealed: str


class AuditRequest(Request):
    """compare: also ask partners for their mirrored copies, to name the field that was changed."""

    compare: bool = True


class FindingInfo(Reply):
    log: str
    index: int | None
    field: str
    problem: str
    zh: str
    en: str


class AuditReply(Reply):
    holds: bool
    entries: int
    checkpoint_size: int
    mirrors: dict[str, int]
    findings: list[FindingInfo]


class NodeState(Reply):
    party: str
    name_zh: str
    name_en: str
    state: str
    seen_ms: int
    size: int
    problem_zh: str = ""
    problem_en: str = ""


class HealthLine(Reply):
    name: str
    state: str
    zh: str
    en: str
    owner: str


class StatusReply(Reply):
    """sealed, pending: entries of the own log; running: jobs with their progress; nodes: every institution."""

    party: str
    workspace: str
    now_ms: int
    sealed: int
    pending: int
    nodes: list[NodeState]
    running: list[dict[str, Any]]
    inbox: int
    health: list[HealthLine]
    plugins: list[dict[str, str]]


class MirrorIndex:
    """Which entries of a mirrored log belong to which job; grows with the mirror, rebuilt at every start."""

    def __init__(self, ledger: Ledger, log: PartyId) -> None:
        self._ledger = ledger
        self._log = log
        self._size = 0
        self._by_job: dict[str, list[int]] = {}

    def entries(self, job: str) -> list[int]:
        size = self._ledger.size(self._log)
        while self._size < size:
            stop = min(self._size + 500, size)
            for offset, body in enumerate(self._ledger.entry_bodies(self._log, self._size, stop)):
                envelope = parse_envelope(body)
                if envelope.job:
                    self._by_job.setdefault(envelope.job, []).append(self._size + offset)
            self._size = stop
        return self._by_job.get(job, [])


def _may_see(ctx: OperationContext, kind: str) -> bool:
    """Marketing and approvers read jobs and lists; who checks reads everything."""
    return bool(ctx.caller.person.roles & CHECKS) or kind.startswith(AREAS_OF_MARKETING)


def _own_entry(ctx: OperationContext, reader: Any, index: int) -> EntryInfo:
    host = ctx.host
    view = host.evidence.entry(reader, index, required=_others(host))
    return _entry_info(
        host, host.party, index, view.kind, view.time_ms, view.job, view.actor, dict(view.values), list(view.closed),
        list(view.refs),
    )  # fmt: skip


def _mirrored_entry(ctx: OperationContext, log: PartyId, index: int) -> EntryInfo:
    envelope = _mirrored(ctx.host, log, index)
    return _entry_info(
        ctx.host, log, index, envelope.kind, envelope.time_ms, envelope.job, envelope.actor, dict(envelope.shared),
        sorted(envelope.committed), list(envelope.refs),
    )  # fmt: skip


def _mirrored(host: Workbench, log: PartyId, index: int) -> Envelope:
    bodies = host.ledger.entry_bodies(log, index, index + 1)
    if not bodies:
        raise NotFound(f"没有 {log} 的第 {index} 条", f"There is no entry {index} of {log}", code="NO_SUCH_ENTRY")
    return parse_envelope(bodies[0])


def _entry_info(
    host: Any, log: PartyId, index: int, kind: str, time_ms: int, job: str, actor: str,
    values: dict[str, str], closed: list[str], refs: list[str],
) -> EntryInfo:  # fmt: skip
    known = host.kinds.get(kind)
    seal = host.ledger.seal_state(log, index, required=[party for party in host.parties() if party != log])
    values.pop("list_key", None)
    return EntryInfo(
        log=log,
        index=index,
        kind=kind,
        zh=known.zh if known else kind,
        en=known.en if known else kind,
        time_ms=time_ms,
        job=job,
        actor=host.person_named(actor) if actor and log == host.party else actor,
        values=values,
        closed=closed,
        refs=refs,
        seal=seal.state,
        cosigners=list(seal.cosigners),
        missing=list(seal.missing),
    )


def _others(host: Any) -> list[PartyId]:
    return [party for party in host.parties() if party != host.party]


def _timeline(ctx: OperationContext, request: TimelineRequest) -> TimelineReply:
    host = ctx.host
    with host.store.read() as reader:
        rows = host.evidence.search(
            reader,
            job=request.job or None,
            kind=request.kind or None,
            text=request.text or None,
            before=request.before,
            limit=request.limit,
        )
        mine = [_own_entry(ctx, reader, row.index) for row in reversed(rows) if _may_see(ctx, row.kind)]
    more = len(rows) == request.limit
    if not request.job:
        return TimelineReply(entries=mine, one_sided=[], more=more)
    theirs = []
    for party in _others(host):
        indices = host.mirror_index(party).entries(request.job)
        theirs += [_mirrored_entry(ctx, party, index) for index in indices[-1000:]]
    entries, one_sided = join_frames(mine, theirs)
    return TimelineReply(entries=entries, one_sided=one_sided, more=more)


def join_frames(mine: list[EntryInfo], theirs: list[EntryInfo]) -> tuple[list[EntryInfo], list[str]]:
    """One story of a job: every frame's two records point at each other; frames with one record are named."""
    by_frame: dict[str, list[EntryInfo]] = {}
    for entry in [*mine, *theirs]:
        if entry.kind == "intersection.message":
            by_frame.setdefault(entry.values.get("digest", ""), []).append(entry)
    counterpart: dict[tuple[str, int], str] = {}
    for pair in by_frame.values():
        if len(pair) == 2:
            first, second = pair
            counterpart[first.log, first.index] = f"{second.log}/{second.index}"
            counterpart[second.log, second.index] = f"{first.log}/{first.index}"
    joined = [
        entry.model_copy(update={"counterpart": counterpart.get((entry.log, entry.index), "")})
        for entry in [*mine, *theirs]
    ]
    joined.sort(key=lambda entry: (entry.time_ms, entry.log, entry.index))
    return joined, sorted(digest for digest, pair in by_frame.items() if len(pair) == 1)


def _entry(ctx: OperationContext, request: EntryRequest) -> EntryReply:
    host = ctx.host
    log = PartyId(request.log)
    if log not in host.parties():
        raise NotFound("没有这个机构的日志", "There is no log of that institution", code="UNKNOWN_PARTY")
    if log == host.party:
        with host.store.read() as reader:
            info = _own_entry(ctx, reader, request.index)
    else:
        info = _mirrored_entry(ctx, log, request.index)
    if not _may_see(ctx, info.kind):
        raise Denied("你的岗位不能看这类记录", "Your role may not read this kind of entry")
    ledger = host.ledger
    body = ledger.entry_bodies(log, request.index, request.index + 1)[0]
    receipt = ledger.receipt(log, request.index)
    verdict = verify_receipt(receipt, trust=host.trust_keys())
    kind = host.kinds.get(info.kind)
    fields = [
        FieldInfo(
            name=one.name,
            zh=one.zh,
            en=one.en,
            unit=one.unit,
            visibility=one.visibility.value,
            value=info.values.get(one.name),
        )
        for one in (kind.fields if kind else ())
    ]
    return EntryReply(
        entry=info,
        fields=fields,
        body=base64.b64encode(body).decode(),
        receipt=receipt,
        steps=[{"name": step.name, "ok": step.ok, "zh": step.zh, "en": step.en} for step in verdict.steps],
        verdict=verdict.word,
    )


def _receipt(ctx: OperationContext, request: ReceiptRequest) -> ReceiptReply:
    host = ctx.host
    job = host.jobs.get(request.job)
    if job.state is not JobState.RELEASED:
        raise Refused(
            f"{job.job} 没有放行，没有收据", f"{job.job} was not released; there is no receipt", code="NOT_RELEASED"
        )
    ledger = host.ledger
    index = job.result["own_index"]
    places = [(host.party, index), (job.partner, job.result["partner_index"])]
    with host.store.read() as reader:
        exports = host.evidence.search(reader, job=job.job, kind="intersection.exported", limit=1)
        places += [(host.party, row.index) for row in exports]
        parts = [
            ledger.receipt(
                log,
                place,
                openings=host.evidence.openings(reader, place, SHOWN_IN_RECEIPTS) if log == host.party else None,
            )
            for log, place in places
        ]
    # A receipt is as strong as its weakest entry: an export of a moment ago waits for its co-signatures too.
    seals = [ledger.seal_state(log, place, required=[job.partner]) for log, place in places]
    fewest = min(len(seal.cosigners) for seal in seals)
    return ReceiptReply(receipt=job_receipt(parts), sealed=f"{fewest}/{len(host.parties())}")


def _audit(ctx: OperationContext, request: AuditRequest) -> AuditReply:
    host = ctx.host
    ctx.progress(0, 2, "逐条重算正文", "re-hashing every body")

    def openings() -> Iterator[Any]:
        return iter(())

    def fetch(party: PartyId, log: PartyId, start: int, stop: int) -> list[bytes]:
        if log != host.party:
            return []
        question = json.dumps({"start": start, "stop": stop}).encode()
        try:
            answer = json.loads(host.links.call(party, "bodies", question, timeout_s=10.0))
            return [bytes.fromhex(body) for body in answer]
        except (ValueError, TypeError) as error:
            raise PeerError(f"{party} 的回答格式不对", f"The answer of {party} is malformed", code="MALFORMED") from error

    report = host.ledger.audit(fetch=fetch if request.compare else None)
    ctx.progress(1, 2, "核对开示与承诺", "checking openings against commitments")
    findings = [*report.findings, *host.evidence.check_openings()]
    return AuditReply(
        holds=not findings,
        entries=report.entries,
        checkpoint_size=report.checkpoint_size,
        mirrors=dict(report.mirrors),
        findings=[
            FindingInfo(log=one.log, index=one.index, field=one.field, problem=one.problem, zh=one.zh, en=one.en)
            for one in findings
        ],
    )


def _status(ctx: OperationContext, request: NoInput) -> StatusReply:
    host = ctx.host
    sealed, pending = host.sealing.pending()
    jobs = host.jobs.all(limit=200)
    running = [
        {"job": job.job, "partner": job.partner, "state": job.state.value, **host.flow.progress(job.job)}
        for job in jobs
        if job.state in {JobState.RUNNING, JobState.REVEALING, JobState.CHECKING, JobState.SEALING}
    ]
    return StatusReply(
        party=host.party,
        workspace=host.kind,
        now_ms=host.now_ms(),
        sealed=sealed,
        pending=pending,
        nodes=[NodeState(**state) for state in host.heartbeat.states()],
        running=running,
        inbox=sum(1 for job in jobs if job.side == "partner" and job.state is JobState.PROPOSED),
        health=[HealthLine(name=h.name, state=h.state, zh=h.zh, en=h.en, owner=h.owner) for h in host.health()],
        plugins=[
            {"name": one.name, "version": one.version, "state": one.state, "problem": one.problem}
            for one in host.plugins.plugins
        ],
    )


def _operation(name: str, zh: str, en: str, request: type[Request], reply: type[Reply], run: Any, roles: frozenset[Role],
               *, weak_token: bool = True, long: bool = False) -> Operation:  # fmt: skip
    return Operation(name=name, zh=zh, en=en, request=request, reply=reply, run=run, roles=roles, weak_token=weak_token,
                     long=long, reads_only=True)  # fmt: skip


EVIDENCE_OPERATIONS = (
    _operation("evidence.timeline", "查看证据时间线", "read the timeline of evidence", TimelineRequest, TimelineReply,
               _timeline, READS),
    _operation("evidence.entry", "核对一条证据", "check one entry", EntryRequest, EntryReply, _entry, READS),
    _operation("evidence.receipt", "取回收据", "take a receipt", ReceiptRequest, ReceiptReply, _receipt,
               READS - {Role.OPERATOR}),
    _operation("evidence.audit", "审计全部证据", "audit all evidence", AuditRequest, AuditReply, _audit, CHECKS,
               weak_token=False, long=True),
    _operation("node.status", "查看节点状态", "read the node's state", NoInput, StatusReply, _status, frozenset(Role)),
)  # fmt: skip

__all__ = ["EVIDENCE_OPERATIONS", "MirrorIndex", "join_frames"]
