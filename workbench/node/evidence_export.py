"""Operations that export evidence as one ZIP for people outside: a job, a customer, a campaign or a period.

Document: docs/protocols/package.md sections 1, 5 and 8. What is selected and what may be opened is decided here; the
ledger builds the bytes. A typed phone or identity number becomes tokens here and is forgotten, unless the package is
about that customer and is asked to name them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

import polars as pl
from pydantic import Field

from workbench.contracts import AnchorProof, NamesCustomers, NamesImports, OperationContext, Transaction
from workbench.domain.envelope import Opening, parse_envelope
from workbench.domain.erasure import Customer
from workbench.domain.identifiers import parse_id_no, parse_phone
from workbench.domain.intersection import JobState
from workbench.domain.package import (
    MLDSA_PREFIX,
    STEPS_PER_ENTRY,
    KindText,
    PackageAnchor,
    PackageOrder,
    PackageSummary,
    Place,
    Selection,
)
from workbench.domain.party import PartyId, Role
from workbench.errors import Cancelled, Denied, InvalidRequest, NotFound, Refused, VerificationError
from workbench.node.erasing import rows_of
from workbench.node.evidence_reading import kinds_seen_by
from workbench.node.keys import PublicBundle
from workbench.node.trust import export_trust, parse_trust
from workbench.operations import Operation, Reply, Request
from workbench.store.frames import get_frame

if TYPE_CHECKING:
    from workbench.host import Workbench

EXPORTS = frozenset({Role.COMPLIANCE, Role.AUDITOR, Role.REGULATOR})
NAMES_CUSTOMERS = frozenset({Role.COMPLIANCE, Role.AUDITOR})
"""Who may type a phone or identity number; a regulator has the token."""

SHANGHAI = ZoneInfo("Asia/Shanghai")
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
CAMPAIGN = re.compile(r"[A-Za-z0-9._-]{1,64}")
TOKEN = re.compile(r"[0-9a-f]{32}")
DIGEST = re.compile(r"[0-9a-f]{32,}")
IDENTIFIER = re.compile(r"(?<![0-9])(?:1[0-9]{2}[ -]?[0-9]{4}[ -]?[0-9]{4}|[0-9]{17}[0-9Xx])(?![0-9])")
"""A phone or identity number anywhere in a text, the synthetic ones included."""
SUBJECT = "subject"
MESSAGES = "intersection.message"
SLICE = 500


class ExportRequest(Request):
    """Exactly one of job, campaign, customer, phone, id_no, or the two days.

    customer: this institution's token. from_day, to_day: YYYY-MM-DD in Asia/Shanghai, both included.
    """

    job: str = Field(default="", max_length=64)
    campaign: str = Field(default="", max_length=64)
    customer: str = Field(default="", max_length=32)
    phone: str = Field(default="", max_length=40, repr=False)
    id_no: str = Field(default="", max_length=40, repr=False)
    from_day: str = Field(default="", max_length=10)
    to_day: str = Field(default="", max_length=10)


class ExportOpenedRequest(ExportRequest):
    """As ExportRequest, with the committed fields of this institution opened as far as this person may read them.

    name_customer: also write the customer's identifier into the package; only with phone or id_no.
    """

    name_customer: bool = False


class ExportReply(Reply):
    """download: id of the ZIP, to be taken once within the hour. state: "FINAL" or "NOT_FINAL".

    entries: by log. opened, withheld: fields. index: of the entry `evidence.exported` in the own log. package_sm3: of the
    ZIP; verify_py_sm3, verify_html_sm3: of the verifiers in it, to be compared with a release.
    """

    download: str
    name: str
    size: int
    state: Literal["FINAL", "NOT_FINAL"]
    entries: dict[str, int]
    not_final: int
    uncovered: int
    opened: int
    withheld: int
    report_pdf: str
    package_sm3: str
    verify_py_sm3: str
    verify_html_sm3: str
    index: int


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What a request comes to. subject: the customer key that the evidence of this export is sealed under, or ""."""

    selection: Selection
    places: tuple[Place, ...]
    customers: frozenset[str] = frozenset()
    subject: str = ""


def export(ctx: OperationContext, request: ExportRequest) -> ExportReply:
    """Select, build, keep as a download, and leave the entry; cancelled or failed, nothing of it stays."""
    host = ctx.host
    opens = isinstance(request, ExportOpenedRequest)
    ctx.progress(0, 0, "查找记录", "finding the entries")
    chosen = choose(ctx, request)
    openings, withheld = _openings(ctx, chosen) if opens else ({}, 0)
    trust = export_trust(_bundles(host), host.ledger.keys())
    total = STEPS_PER_ENTRY * len(chosen.places)

    def step(done: int) -> None:
        if ctx.cancelled():
            raise Cancelled("导出已停止，没有产生文件", "The export was stopped; there is no file")
        ctx.progress(min(done, total), total, "核对并写入记录", "checking and writing entries")

    order = PackageOrder(
        project=host.project,
        exporter=host.party,
        made_ms=host.now_ms(),
        actor=ctx.caller.person.token,
        workspace=host.kind,
        selection=chosen.selection,
        places=chosen.places,
        openings=lambda index: openings.get(index, {}),
        withheld=withheld,
        trust=trust,
        keys={party: keys.for_notes() for party, keys in parse_trust(trust).items()},
        kinds=_kinds(host),
        step=step,
        font=host.setting("evidence.report_font"),
        mldsa_required=_mldsa_required(host),
        anchors=lambda log, size: _anchors(host, log, size),
    )
    summary = PackageSummary()
    draft = host.downloads.stage(host.ledger.package(order, summary))
    name = file_name(chosen.selection, summary.state)
    told = json.dumps(
        {"by": chosen.selection.by, "value": chosen.selection.value, "from": chosen.selection.from_day, "to": chosen.selection.to_day},
        sort_keys=True,
    )  # fmt: skip
    values = {
        "package_sm3": summary.package_sm3,
        "selection": told,
        "entries": str(sum(summary.entries.values())),
        "opened": str(summary.opened),
        "state": summary.state,
    }

    def change(tx: Transaction) -> tuple[str, int]:
        actor = ctx.caller.person.token
        ref = host.evidence.append(tx, "evidence.exported", values, actor=actor, subject=chosen.subject)
        return host.downloads.offer_staged(tx, ctx.caller, name, draft), ref.index

    try:
        if ctx.cancelled():
            raise Cancelled("导出已停止，没有产生文件", "The export was stopped; there is no file")
        download, index = host.store.write(change)
    except BaseException:
        host.downloads.discard(draft)
        raise
    host.sealing.wake()
    return ExportReply(
        download=download, name=name, size=summary.size, state="NOT_FINAL" if summary.not_final else "FINAL",
        entries=summary.entries, not_final=summary.not_final, uncovered=summary.uncovered, opened=summary.opened,
        withheld=withheld, report_pdf=summary.report_pdf, package_sm3=summary.package_sm3,
        verify_py_sm3=summary.verify_py_sm3, verify_html_sm3=summary.verify_html_sm3, index=index,
    )  # fmt: skip


def choose(ctx: OperationContext, request: ExportRequest) -> _Chosen:
    """The places that a request selects. Raises InvalidRequest, Denied, NotFound (NOTHING_SELECTED)."""
    host = ctx.host
    given = [name for name in ("job", "campaign", "customer", "phone", "id_no") if getattr(request, name)]
    by_days = bool(request.from_day or request.to_day)
    if len(given) + by_days != 1:
        raise InvalidRequest("任务、活动、客户、时段只选一种", "Choose exactly one of job, campaign, customer, or period")
    if by_days:
        chosen = _of_period(ctx, request.from_day, request.to_day)
    elif request.job:
        chosen = _Chosen(Selection("job", request.job), tuple(_of_job(host, request.job)))
    elif request.campaign:
        chosen = _of_campaign(host, request.campaign)
    else:
        chosen = _of_customer(ctx, request)
    if not chosen.places:
        raise NotFound("没有符合的记录，没有导出", "No entry fits; nothing was exported", code="NOTHING_SELECTED")
    return chosen


def _logs(host: Workbench) -> list[PartyId]:
    """Every log held here: the own one, those of the partners, and those of institutions that have left."""
    return list(host.log_parties())


def _bundles(host: Workbench) -> list[PublicBundle]:
    """Keys of all members, former ones too: who left still vouches for what was signed before; the file says until where."""
    others = [one for one in _logs(host) if one != host.party]
    return [host.keys.bundle, *(host.partners.known(one).bundle for one in others)]


def jobs_of_campaign(host: Workbench, campaign: str) -> list[str]:
    """Jobs proposed here under this campaign name, oldest first."""
    with host.store.read() as reader:
        rows = reader.execute(
            "SELECT job FROM host_job WHERE side = 'initiator' AND json_extract(request, '$.campaign') = ? ORDER BY created_ms, job",
            (campaign,),
        ).fetchall()
    return [row[0] for row in rows]


def file_name(selection: Selection, state: str) -> str:
    """What the ZIP is called: what it is about, and NOT_FINAL where it is not."""
    about = selection.value[:8] if selection.by == "customer" else selection.value
    if selection.by == "period":
        about = f"{selection.from_day}_{selection.to_day}"
    ending = "-NOT_FINAL" if state == "NOT_FINAL" else ""
    return f"evidence-{selection.by}-{about}{ending}.zip"


# ------------------------------------------------------------------------------------------ selecting


def _of_job(host: Workbench, job: str, *, messages: bool = True) -> list[Place]:
    """Own entries of a job and those of every other log as far as this node holds them."""
    with host.store.read() as reader:
        rows = reader.execute("SELECT entry_idx FROM evidence_index WHERE job = ? ORDER BY entry_idx", (job,)).fetchall()
    places = [(host.party, int(row[0])) for row in rows]
    for party in _logs(host):
        if party != host.party:
            places += [(party, index) for index in host.mirror_index(party).entries(job)]
    return places if messages else [place for place in places if _kind_at(host, place) != MESSAGES]


def _kind_at(host: Workbench, place: Place) -> str:
    bodies = host.ledger.entry_bodies(place[0], place[1], place[1] + 1)
    try:
        return parse_envelope(bodies[0]).kind if bodies else ""
    except VerificationError:
        return ""  # a damaged entry stays selected, so that the building names it


def _of_campaign(host: Workbench, campaign: str) -> _Chosen:
    if not CAMPAIGN.fullmatch(campaign):
        raise InvalidRequest("活动名的写法不对", "The name of the campaign is malformed")
    places = [place for job in jobs_of_campaign(host, campaign) for place in _of_job(host, job)]
    return _Chosen(Selection("campaign", campaign), tuple(places))


def _of_period(ctx: OperationContext, from_day: str, to_day: str) -> _Chosen:
    host = ctx.host
    start, stop = _midnight(from_day), _midnight(to_day) + timedelta(days=1)
    if stop <= start:
        raise InvalidRequest("时段的起止颠倒了", "The period ends before it begins")
    start_ms, stop_ms = (int(one.timestamp() * 1000) for one in (start, stop))
    places: list[Place] = []
    for party in _logs(host):
        size = host.ledger.size(party)
        for at in range(0, size, SLICE):
            if ctx.cancelled():
                raise Cancelled("导出已停止，没有产生文件", "The export was stopped; there is no file")
            ctx.progress(at, size, f"查找 {party} 的记录", f"finding entries of {party}")
            for offset, body in enumerate(host.ledger.entry_bodies(party, at, min(size, at + SLICE))):
                try:
                    time_ms = parse_envelope(body).time_ms
                except VerificationError:
                    time_ms = start_ms  # a damaged entry is selected, so that the building names it
                if start_ms <= time_ms < stop_ms:
                    places.append((party, at + offset))
    return _Chosen(Selection("period", "", from_day, to_day), tuple(places))


def _midnight(day: str) -> datetime:
    try:
        if DAY.fullmatch(day):
            return datetime.combine(date.fromisoformat(day), datetime.min.time(), SHANGHAI)
    except ValueError:
        pass
    raise InvalidRequest("日期写作 YYYY-MM-DD，起止都要给出", "Days are written YYYY-MM-DD, and both are needed")


def _of_customer(ctx: OperationContext, request: ExportRequest) -> _Chosen:
    """Own entries sealed under the customer's key, the imports that brought their consent, and the story of every job
    whose target list names the customer.
    """
    host = ctx.host
    customer = _customer(ctx, request)
    tokens = customer.names
    with host.store.read() as reader:
        sealed = {one: host.evidence.entries_about(reader, one) for one in tokens}
    places: dict[Place, None] = {(host.party, index): None for indices in sealed.values() for index in indices}
    if isinstance(host.consent, NamesImports):
        places |= {(host.party, index): None for index in host.consent.imports_of(tokens)}
    for job in _jobs_naming(ctx, customer):
        places |= dict.fromkeys(_of_job(host, job, messages=False))
    named = "".join(customer.identifiers) if isinstance(request, ExportOpenedRequest) and request.name_customer else ""
    subject = next((one for one, indices in sealed.items() if indices), "")
    selection = Selection("customer", subject or tokens[0], identifier=named)
    return _Chosen(selection, tuple(places), frozenset(tokens), subject)


def _customer(ctx: OperationContext, request: ExportRequest) -> Customer:
    """Who is meant: by token alone, or by the one identifier that was typed, with the tokens that belong to it."""
    if request.customer:
        if isinstance(request, ExportOpenedRequest) and request.name_customer:
            raise InvalidRequest("写明客户须给出手机号或证件号", "To name the customer, give the phone or identity number")
        if not TOKEN.fullmatch(request.customer):
            raise InvalidRequest("客户代号是 32 位十六进制", "A customer's token has 32 hexadecimal digits")
        return Customer((request.customer,))
    if not ctx.caller.person.roles & NAMES_CUSTOMERS:
        raise Denied("你的岗位不能用手机号或身份证号选取，请用客户代号", "Your role may not select by phone or ID number; use the token")
    registry = ctx.host.consent
    if not isinstance(registry, NamesCustomers):
        raise Refused("授权登记不提供客户代号", "The consent registry gives no customer tokens", code="NO_TOKENS")
    try:
        phone = parse_phone(request.phone) if request.phone else None
        id_no = parse_id_no(request.id_no, today=ctx.host.today()) if request.id_no else None
    except InvalidRequest:
        raise InvalidRequest(
            "手机号或身份证号读不懂，没有导出，也没有留存",
            "The phone or ID number cannot be read; nothing was exported and nothing kept",
        ) from None  # the cause is left out: it must not lead back to what was typed
    tokens = tuple(registry.evidence_names(phone=phone, id_no=id_no))
    return Customer(tokens, (str(phone),) if phone else (), () if phone else (str(id_no),))


def _jobs_naming(ctx: OperationContext, customer: Customer) -> list[str]:
    """Released jobs whose target list here names the customer, by key or by the number in the list it was made of.

    Cost: one list at a time is opened, and the list it was made of once where its key says nothing.
    """
    host = ctx.host
    found = []
    numbers: dict[str, set[str]] = {}
    released = host.jobs.in_state(JobState.RELEASED)
    for done, job in enumerate(released):
        if ctx.cancelled():
            raise Cancelled("导出已停止，没有产生文件", "The export was stopped; there is no file")
        ctx.progress(done, len(released), "查找写有该客户的名单", "finding target lists that name the customer")
        try:
            with host.store.read() as reader:
                frame = get_frame(reader, host.vault, f"result/{job.job}")
        except NotFound:
            continue  # erased
        is_named = bool(rows_of(host, frame, customer).any())
        if not is_named and "customer_id" in frame.columns:
            list_id = str(job.request.get("list_id", ""))
            if list_id not in numbers:
                numbers[list_id] = _numbers(host, list_id, customer)
            is_named = frame["customer_id"].is_in(sorted(numbers[list_id])).any()
        if is_named:
            found.append(str(job.job))
    return found


def _numbers(host: Workbench, list_id: str, customer: Customer) -> set[str]:
    """Customer numbers of this person in one of the own lists; none when the list is gone."""
    try:
        frame = host.lists.frame(list_id)
    except (NotFound, Refused):
        return set()
    return set(frame.filter(pl.Series(rows_of(host, frame, customer)))["customer_id"])


# -------------------------------------------------------------------------------------------- opening


def _openings(ctx: OperationContext, chosen: _Chosen) -> tuple[dict[int, dict[str, Opening]], int]:
    """What may be opened of the own entries, by index; and how many fields were kept back (document section 5)."""
    host = ctx.host
    areas = kinds_seen_by(ctx)
    opened: dict[int, dict[str, Opening]] = {}
    withheld = 0
    own = [index for log, index in chosen.places if log == host.party]
    for at in range(0, len(own), SLICE):
        if ctx.cancelled():
            raise Cancelled("导出已停止，没有产生文件", "The export was stopped; there is no file")
        with host.store.read() as reader:
            for index in own[at : at + SLICE]:
                envelope = parse_envelope(host.ledger.entry_bodies(host.party, index, index + 1)[0])
                found = host.evidence.openings(reader, index, sorted(envelope.committed))
                allowed = not areas or envelope.kind.startswith(areas)
                kept = {name: one for name, one in found.items() if allowed and _may_open(name, one[1], chosen)}
                if "list_digest" not in kept:
                    kept.pop("list_key", None)
                withheld += len(found) - len(kept)
                if kept:
                    opened[index] = kept
    return opened, withheld


def _may_open(name: str, value: str, chosen: _Chosen) -> bool:
    """Never another customer's token, and no identifier but the one that was asked for."""
    if name == SUBJECT:
        return value in chosen.customers
    if DIGEST.fullmatch(value):
        return True  # a run of eleven digits in a digest is chance
    named = chosen.selection.identifier
    return not IDENTIFIER.search(value.replace(named, "") if named else value)


def _mldsa_required(host: Workbench) -> tuple[str, ...]:
    """Prefixes of kinds that need ML-DSA-44 lines here; a string that begins no kind demands nothing."""
    given = {str(one) for one in host.setting("ledger.mldsa_required")}
    return tuple(sorted(one for one in given if MLDSA_PREFIX.fullmatch(one)))


def _anchors(host: Workbench, log: PartyId, size: int) -> list[PackageAnchor]:
    """What plugins anchored outside of the first `size` entries of a log."""
    found: list[AnchorProof] = host.plugins.collect_all("workbench_anchors", host=host, origin=log, size=size)
    return [PackageAnchor(one.kind, one.log, one.state, one.size, one.time_ms, one.digest, one.files) for one in found]


def _kinds(host: Workbench) -> Mapping[str, KindText]:
    return {
        name: KindText(kind.zh, kind.en, {one.name: (one.zh, one.en, one.unit) for one in kind.fields})
        for name, kind in host.kinds.items()
    }


def _operation(name: str, zh: str, en: str, request: type[Request], *, fresh_password: bool) -> Operation:
    run: Callable[[OperationContext, ExportRequest], ExportReply] = export
    return Operation(
        name=name, zh=zh, en=en, request=request, reply=ExportReply, roles=EXPORTS, run=run, long=True,
        fresh_password=fresh_password, evidence=("evidence.exported",),
    )  # fmt: skip


EXPORT_OPERATIONS: Iterable[Operation] = (
    _operation("evidence.export", "导出证据包（不开示字段）", "export evidence, nothing opened", ExportRequest, fresh_password=False),
    _operation(
        "evidence.export_opened", "导出证据包，开示本机构的字段", "export evidence with own fields opened", ExportOpenedRequest,
        fresh_password=True,
    ),
)  # fmt: skip

__all__ = ["EXPORT_OPERATIONS", "choose", "export", "jobs_of_campaign"]
