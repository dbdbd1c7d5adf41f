"""Operations that read and check evidence: timeline of a job, one entry with its proof, receipts, audit, health."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from workbench.contracts import OperationContext
from workbench.domain.checkpoint import format_checkpoint
from workbench.domain.intersection import JobState
from workbench.domain.merkle import SM3
from workbench.domain.party import PartyId, Role
from workbench.domain.receipt import job_receipt
from workbench.errors import Denied, NotFound, Refused, VerificationError
from workbench.node.evidence_audit import AuditReply, AuditRequest, run_audit
from workbench.node.evidence_checking import (
    Checked,
    Checker,
    Comparison,
    JobCheckReply,
    JobCheckRequest,
    SignatureInfo,
    check_job,
)
from workbench.node.evidence_coverage import COVERAGE_OPERATION
from workbench.node.evidence_entries import (
    CHECKS,
    READS,
    EntryInfo,
    Place,
    entries_at,
    entry_at,
    kinds_seen_by,
    own_rows,
)
from workbench.node.mirrored_jobs import MirrorIndex
from workbench.operations import NoInput, Operation, Reply, Request
from workbench.verify import verify_receipt

if TYPE_CHECKING:
    from workbench.host import Workbench

SHOWN_IN_RECEIPTS = ("list_digest", "list_key", "file_sm3")
MIRROR_SEARCH = 20_000
OTHERS_ON_PAGE = 1000


class TimelineRequest(Request):
    """job: only this job, joined from all participants' logs; "" for one log. before: index in that log.

    log: whose log without a job, the own one by default, or a mirror. text: part of a shared value, a kind, a job, a
    person's token or display name. older: with a job, the next page: of each log only what lies below this index, as the
    reply before said. limit: own entries of one page; of every other log up to OTHERS_ON_PAGE come with them.
    """

    job: str = ""
    log: str = Field(default="", max_length=31)
    kind: str = Field(default="", max_length=80)
    text: str = Field(default="", max_length=120)
    before: int | None = Field(default=None, ge=0)
    limit: int = Field(default=200, ge=1, le=1000)
    older: dict[str, int] = {}


class TimelineReply(Reply):
    """entries: oldest first. one_sided: frames that one participant recorded and the other did not (digest), of the whole
    job and not of this page alone. older: what to ask with for the page before this one of a job, {} with its last page.

    total: entries of the log that was read, whatever was asked for. count: with a job, entries of its whole story that fit,
    on this page and all others; 0 without a job.
    """

    entries: list[EntryInfo]
    one_sided: list[str]
    more: bool
    total: int = 0
    older: dict[str, int] = {}
    count: int = 0


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
    """Everything about one entry: body as base64, both paths, checkpoint, and what was checked, step by step.

    receipt: {} for a body that no receipt can be made of. proof: index, size, path (hex, from the leaf upwards), root and
    leaf as stored (hex) of the SHA-256 tree, the same of the SM3 tree with the hashes on the way up, and the signed text;
    {} when no head covers the entry. problem: of the chain, see PROBLEMS.
    required, at_least: whose co-signatures, and of how many institutions in all, make the entry final.
    """

    entry: EntryInfo
    fields: list[FieldInfo]
    body: str
    receipt: dict[str, Any]
    steps: list[dict[str, Any]]
    verdict: str
    problem: str = ""
    proof: dict[str, Any] = {}
    signatures: list[SignatureInfo] = []
    required: list[str] = []
    at_least: int = 1


class ReceiptRequest(Request):
    job: str


class ReceiptReply(Reply):
    """receipt: workbench/v1/receipt with the partner's release entry as a link. is_final: every required co-signature is
    in it; sealed counts who has signed, which may be somebody else.
    """

    receipt: dict[str, Any]
    sealed: str
    is_final: bool


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


class LetterLine(Reply):
    """Letters to one partner: waiting since oldest_ms (0 for none), refused, and the code of the last failed delivery."""

    partner: str
    waiting: int
    oldest_ms: int
    refused: int
    last_error: str


class StatusReply(Reply):
    """sealed, pending: entries of the own log; running: jobs with their progress; nodes: every institution.

    letters: partners to whom letters wait or who refused some.
    """

    party: str
    workspace: str
    now_ms: int
    sealed: int
    pending: int
    nodes: list[NodeState]
    running: list[dict[str, Any]]
    inbox: int
    health: list[HealthLine]
    letters: list[LetterLine]
    plugins: list[dict[str, str]]


def _may_see(ctx: OperationContext, kind: str) -> bool:
    areas = kinds_seen_by(ctx)
    return not areas or kind.startswith(areas)


def _others(host: Any) -> list[PartyId]:
    """Whose logs are mirrored here; an institution that left is part of the stories it took part in."""
    return [party for party in host.log_parties() if party != host.party]


def _timeline(ctx: OperationContext, request: TimelineRequest) -> TimelineReply:
    host = ctx.host
    log = _log_named(host, request.log)
    text = _token_of(host, request.text)
    if request.job:
        return _job_timeline(ctx, request, text)
    if log != host.party:
        return _mirror_timeline(ctx, log, request, text)
    with host.store.read() as reader:
        rows = host.evidence.search(
            reader, kind=request.kind or None, text=text or None, before=request.before, limit=request.limit
        )
    mine = entries_at(ctx, host.party, [row for row in reversed(rows) if _may_see(ctx, row.kind)])
    return TimelineReply(
        entries=mine, one_sided=[], more=len(rows) == request.limit, total=host.ledger.size(host.party)
    )


def _job_timeline(ctx: OperationContext, request: TimelineRequest, text: str) -> TimelineReply:
    """A page of a job's story. All of its entries are read each time: a frame's other record may lie on another page.
    Cost: that of reading every entry of the job, whatever the page.
    """
    host = ctx.host
    mine = entries_at(ctx, host.party, [row for row in own_rows(host, request.job) if _may_see(ctx, row.kind)])
    theirs: list[EntryInfo] = []
    for party in _others(host):
        theirs += entries_at(ctx, party, [Place(index) for index in host.mirror_index(party).entries(request.job)])
    entries, one_sided = join_frames(mine, [one for one in theirs if _may_see(ctx, one.kind)])
    fitting = [one for one in entries if _fits(one, request.kind, text)]
    below: dict[str, int] = dict(request.older)
    if request.before is not None:
        below[host.party] = min(request.before, below.get(host.party, request.before))
    page, older, more = page_of(fitting, below, {host.party: request.limit}, others=OTHERS_ON_PAGE)
    return TimelineReply(
        entries=page, one_sided=one_sided, more=more, total=host.ledger.size(host.party), older=older if more else {},
        count=len(fitting),
    )  # fmt: skip


def page_of(
    entries: list[EntryInfo], below: Mapping[str, int], limits: Mapping[str, int], *, others: int
) -> tuple[list[EntryInfo], dict[str, int], bool]:
    """Of each log the newest entries below an index: the page in its old order, where the next begins, and if there is one.

    entries: in any order that keeps the indices of each log rising. below: by log, without a bound where none is given.
    limits: entries of one log on a page, `others` for a log not named there.
    """
    by_log: dict[str, list[int]] = {}
    for one in entries:
        if one.index < below.get(one.log, one.index + 1):
            by_log.setdefault(one.log, []).append(one.index)
    shown = {log: sorted(indices)[-limits.get(log, others) :] for log, indices in by_log.items()}
    # A log without anything left is named too: asked without a bound it would begin anew.
    older = {**{one.log: below.get(one.log, 0) for one in entries}, **{log: indices[0] for log, indices in shown.items()}}
    more = any(len(shown[log]) < len(indices) for log, indices in by_log.items())
    wanted = {(log, index) for log, indices in shown.items() for index in indices}
    return [one for one in entries if (one.log, one.index) in wanted], older, more


def _mirror_timeline(ctx: OperationContext, log: PartyId, request: TimelineRequest, text: str) -> TimelineReply:
    """Newest entries of another institution's log as mirrored here; a search reads back at most MIRROR_SEARCH entries."""
    host = ctx.host
    total = host.ledger.size(log)
    stop = total if request.before is None else min(total, request.before)
    last = max(0, stop - MIRROR_SEARCH)
    found: list[EntryInfo] = []
    while stop > last and len(found) < request.limit:
        stop -= 1
        one = entry_at(ctx, log, stop)
        if _may_see(ctx, one.kind) and _fits(one, request.kind, text):
            found.append(one)
    return TimelineReply(entries=found[::-1], one_sided=[], more=stop > 0, total=total)


def _log_named(host: Workbench, name: str) -> PartyId:
    if name and name not in host.log_parties():
        raise NotFound("没有这个机构的日志", "There is no log of that institution", code="UNKNOWN_PARTY")
    return PartyId(name) if name else host.party


def _token_of(host: Workbench, text: str) -> str:
    """A person's display name as the token that stands in the entries, also of a disabled one; any other text as it is."""
    people = {shown: token for token, (_, shown) in host.people.names().items()} if text else {}
    return people.get(text.strip(), text.strip())


def _fits(entry: EntryInfo, kind: str, text: str) -> bool:
    """The same rule as the search of the own log, for entries that are not in its index."""
    if kind and not (entry.kind.startswith(kind) if kind.endswith(".") else entry.kind == kind):
        return False
    words = "\n".join([entry.kind, entry.job, entry.actor_token, *entry.values.values()])
    return text.lower() in words.lower()


def join_frames(mine: list[EntryInfo], theirs: list[EntryInfo]) -> tuple[list[EntryInfo], list[str]]:
    """One story of a job: every frame's two records point at each other; frames with one record are named.

    A record counts only between its log and the partner it names, so that nobody else's entry fills a gap.
    """
    by_frame: dict[tuple[str, frozenset[str]], list[EntryInfo]] = {}
    for entry in [*mine, *theirs]:
        if entry.kind == "intersection.message":
            between = frozenset({entry.log, entry.values.get("partner", "")})
            by_frame.setdefault((entry.values.get("digest", ""), between), []).append(entry)
    counterpart: dict[tuple[str, int], str] = {}
    one_sided = set()
    for (digest, _), records in by_frame.items():
        sent, received = ([one for one in records if one.values.get("direction") == way] for way in ("sent", "received"))
        if not sent or not received or sent[0].log == received[0].log:
            one_sided.add(digest)
            continue
        for one, other in ((sent[0], received[0]), (received[0], sent[0])):
            counterpart[one.log, one.index] = f"{other.log}/{other.index}"
    joined = [
        entry.model_copy(update={"counterpart": counterpart.get((entry.log, entry.index), "")})
        for entry in [*mine, *theirs]
    ]
    joined.sort(key=lambda entry: (entry.time_ms, entry.log, entry.index))
    return joined, sorted(one_sided)


def _entry(ctx: OperationContext, request: EntryRequest) -> EntryReply:
    host = ctx.host
    log = _log_named(host, request.log)
    checker = Checker(host)
    checked = checker.check(log, request.index)
    info = _info_of(ctx, log, request.index)
    if not _may_see(ctx, info.kind):
        raise Denied("你的岗位不能看这类记录", "Your role may not read this kind of entry")
    receipt: dict[str, Any] = {}
    steps = []
    verdict = "NOT_FINAL" if checked.proof is None else "FAILED"
    if checked.proof is not None:
        try:
            receipt = host.ledger.receipt(log, request.index)
            found = verify_receipt(receipt, trust=host.trust_keys())
            steps = [{"name": step.name, "ok": step.ok, "zh": step.zh, "en": step.en} for step in found.steps]
            verdict = found.word
        except (VerificationError, UnicodeDecodeError) as error:
            zh = error.zh if isinstance(error, VerificationError) else "正文不是文字"
            en = error.en if isinstance(error, VerificationError) else "the body is no text"
            steps = [{"name": "entry", "ok": False, "zh": zh, "en": en}]
    kind, seal = host.kinds.get(info.kind), host.ledger.seal(log, request.index)
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
        body=base64.b64encode(checked.body).decode(),
        receipt=receipt,
        steps=steps,
        verdict=verdict,
        problem=checked.problem or info.problem,
        proof=_proof_of(checked),
        signatures=checker.signatures(checked),
        required=list(seal.required),
        at_least=max(seal.at_least, len(seal.required)),
    )


def _info_of(ctx: OperationContext, log: PartyId, index: int) -> EntryInfo:
    host = ctx.host
    row = None
    if log == host.party:
        with host.store.read() as reader:
            row = next(iter(host.evidence.search(reader, after=index - 1, before=index + 1, limit=1)), None)
    return entries_at(ctx, log, [row or Place(index)])[0]


def _proof_of(checked: Checked) -> dict[str, Any]:
    if checked.proof is None or checked.note is None:
        return {}
    checkpoint = checked.note.checkpoint
    path = [one.hex() for one in checked.proof.sm3_path]
    return {
        "index": checked.index,
        "size": checked.proof.size,
        "path": [one.hex() for one in checked.proof.sha256_path],
        "root": checkpoint.roots[0].hex(),
        "leaf": checked.stored_leaf.hex(),
        # Browsers have no SM3: the values on the way up are the node's, computed from the body as it lies here.
        "sm3": {"leaf": SM3.leaf(checked.body).hex(), "path": path, "hashes": _climb(checked), "root": checkpoint.roots[1].hex()},
        "text": format_checkpoint(checkpoint),
    }


def _climb(checked: Checked) -> list[str]:
    """Hashes from the leaf's parent up to the root in the SM3 tree (RFC 9162 section 2.1.3.2)."""
    assert checked.proof is not None
    place, last, now = checked.index, checked.proof.size - 1, SM3.leaf(checked.body)
    hashes = []
    for sibling in checked.proof.sm3_path:
        if place % 2 or place == last:
            now = SM3.node(sibling, now)
            while place % 2 == 0 and place:
                place, last = place // 2, last // 2
        else:
            now = SM3.node(now, sibling)
        place, last = place // 2, last // 2
        hashes.append(now.hex())
    return hashes


def _compare(ctx: OperationContext, request: EntryRequest) -> Comparison:
    host = ctx.host
    log = _log_named(host, request.log)
    info = _info_of(ctx, log, request.index)
    if not _may_see(ctx, info.kind):
        raise Denied("你的岗位不能看这类记录", "Your role may not read this kind of entry")
    checker = Checker(host)
    return checker.compare(checker.check(log, request.index))


def _check_job(ctx: OperationContext, request: JobCheckRequest) -> JobCheckReply:
    host = ctx.host
    places = [(host.party, row.index) for row in own_rows(host, request.job) if _may_see(ctx, row.kind)]
    for party in _others(host):
        indices = host.mirror_index(party).entries(request.job)
        entries = entries_at(ctx, party, [Place(index) for index in indices])
        places += [(party, one.index) for one in entries if _may_see(ctx, one.kind)]
    if not places:
        raise NotFound("没有这个任务的记录", "There are no entries about that job", code="NO_JOB")
    return check_job(ctx, request.job, places)


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
    # A receipt is as strong as its weakest entry: an export of a moment ago waits for its co-signatures too. The seals
    # are read before the receipt: co-signatures that come meanwhile make it better than said, never worse.
    places += [(host.party, row.index) for row in exports]
    seals = [ledger.seal(log, place) for log, place in places]
    with host.store.read() as reader:
        parts = [
            ledger.receipt(
                log,
                place,
                openings=host.evidence.openings(reader, place, SHOWN_IN_RECEIPTS) if log == host.party else None,
            )
            for log, place in places
        ]
    fewest = min(len(seal.cosigners) for seal in seals)
    is_final = all({host.party, job.partner} <= set(seal.cosigners) for seal in seals)
    return ReceiptReply(receipt=job_receipt(parts), sealed=f"{fewest}/{len(host.parties())}", is_final=is_final)


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
        letters=[
            LetterLine(
                partner=one.partner, waiting=one.waiting, oldest_ms=one.oldest_ms, refused=one.refused, last_error=one.last_error
            )
            for one in host.letters.counts()
        ],
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
    _operation("evidence.compare", "与其他机构的副本比对一条证据", "compare one entry with the copies of others", EntryRequest,
               Comparison, _compare, READS),
    _operation("evidence.check", "核对一个任务的全部记录", "check all entries of one job", JobCheckRequest, JobCheckReply,
               _check_job, READS),
    _operation("evidence.receipt", "取回收据", "take a receipt", ReceiptRequest, ReceiptReply, _receipt,
               READS - {Role.OPERATOR}),
    _operation("evidence.audit", "审计全部证据", "audit all evidence", AuditRequest, AuditReply, run_audit, CHECKS,
               weak_token=False, long=True),
    COVERAGE_OPERATION,
    _operation("node.status", "查看节点状态", "read the node's state", NoInput, StatusReply, _status, frozenset(Role)),
)  # fmt: skip

__all__ = ["CHECKS", "EVIDENCE_OPERATIONS", "READS", "EntryInfo", "MirrorIndex", "entry_at", "join_frames", "kinds_seen_by"]
