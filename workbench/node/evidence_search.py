"""Operations that search the evidence of this node: own and mirrored entries, a page at a time.

Document: docs/evidence.md, section "Search". A typed phone or identity number becomes tokens here and is forgotten: it is
in no reply, entry, log line or error, and the digest of what was asked for holds the tokens in its place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import Field

from workbench.contracts import EvidenceIndex, NamesCustomers, OperationContext
from workbench.crypto import sm3
from workbench.domain.identifiers import parse_id_no, parse_phone
from workbench.domain.party import PartyId, Role
from workbench.domain.search import COUNTED, SearchHit, SearchQuery, parse_page_key
from workbench.errors import Denied, InvalidRequest, NotFound, Refused
from workbench.node.evidence_entries import CHECKS, READS, EntryInfo, entries_at, entry_at, kinds_seen_by
from workbench.node.evidence_export import jobs_of_campaign
from workbench.node.evidence_words import Asked, Surroundings, understand
from workbench.operations import NoInput, Operation, Reply, Request, View

if TYPE_CHECKING:
    from workbench.host import Workbench

MAY_NAME_CUSTOMERS = frozenset({Role.COMPLIANCE, Role.AUDITOR})
"""Who may look for a customer by phone or identity number; others who check have the token."""

WORDS_BACK = 20_000
"""Words that no condition explains are looked for in so many of the newest own entries."""

_TOKEN = "^[0-9a-f]{32}$"


class SearchRequest(Request):
    """text: what a person typed; everything in it that names something becomes a condition (reply: asked).

    The other fields are conditions; all must hold, several persons, kinds or customers mean any of them. customers: names
    of customer keys (tokens). place: log and index of one entry, "broker/186". before: `next` of the page before.
    """

    text: str = Field(default="", max_length=200, repr=False)
    job: str = Field(default="", max_length=64)
    campaign: str = Field(default="", max_length=64)
    customers: list[str] = Field(default=[], max_length=100)
    persons: list[str] = Field(default=[], max_length=50)
    kinds: list[str] = Field(default=[], max_length=100)
    party: str = Field(default="", max_length=31)
    digest: str = Field(default="", max_length=128)
    state: str = Field(default="", max_length=10)
    from_ms: int | None = Field(default=None, ge=0, le=2**53 - 1)
    until_ms: int | None = Field(default=None, ge=0, le=2**53 - 1)
    place: str = Field(default="", max_length=60)
    words: str = Field(default="", max_length=120)
    before: str = Field(default="", max_length=80)
    limit: int = Field(default=50, ge=1, le=200)


class Conditions(Reply):
    """What was understood; sent back as the fields of the same names, it asks the same again without `text`."""

    job: str = ""
    campaign: str = ""
    customers: list[str] = []
    persons: list[str] = []
    kinds: list[str] = []
    party: str = ""
    digest: str = ""
    state: str = ""
    from_ms: int | None = None
    until_ms: int | None = None
    place: str = ""
    words: str = ""


class LogCoverage(Reply):
    """The index has read the first `covered` of `size` entries of a log."""

    log: str
    covered: int
    size: int


class IndexStatusReply(Reply):
    """covered of size entries in all logs together; a search is complete only when both are equal."""

    covered: int
    size: int
    logs: list[LogCoverage]


class SearchReply(Reply):
    """entries: newest first. next: key of the following page, "" when there is none.

    count: entries that fit, up to `counted_to` and one more; counted for the first page only (else -1). words_back: how
    many of the newest own entries were searched for words, 0 when there were none. persons, kinds: names of those asked.
    """

    entries: list[EntryInfo]
    next: str
    count: int
    counted_to: int
    asked: Conditions
    persons: dict[str, str]
    kinds: dict[str, tuple[str, str]]
    words_back: int
    index: IndexStatusReply


def index_of(host: Workbench) -> EvidenceIndex:
    """The search index of this node's ledger; NotFound when the ledger offers none."""
    index = getattr(host.ledger, "index", None)
    if not isinstance(index, EvidenceIndex):
        raise NotFound("本机构的账本没有检索索引", "The ledger of this node has no search index", code="NO_INDEX")
    return index


def index_status(host: Workbench) -> IndexStatusReply:
    """How far the index has read."""
    logs = [LogCoverage(log=one.log, covered=one.covered, size=one.size) for one in index_of(host).coverage()]
    return IndexStatusReply(covered=sum(one.covered for one in logs), size=sum(one.size for one in logs), logs=logs)


def _status(ctx: OperationContext, request: NoInput) -> IndexStatusReply:
    return index_status(ctx.host)


def _search(ctx: OperationContext, request: SearchRequest) -> SearchReply:
    host = ctx.host
    index = index_of(host)
    asked = _conditions(ctx, request)
    index.catch_up()
    query = _query(ctx, asked, request)
    hits: list[SearchHit] = []
    count = 0
    entries: list[EntryInfo] = []
    if asked.place is not None:
        entries = _single(ctx, *asked.place)
        count = len(entries)
    elif query is not None:
        hits = list(index.search(query))
        count = index.count(query) if query.before is None else -1
        entries = _entries(ctx, hits)
    people = {token: host.person_named(token) for token in asked.persons}
    return SearchReply(
        entries=entries,
        next=str(hits[-1].key) if query is not None and len(hits) == query.limit else "",
        count=count,
        counted_to=COUNTED,
        asked=_as_reply(asked),
        persons={token: name for token, name in people.items() if name != token},
        kinds={name: (host.kinds[name].zh, host.kinds[name].en) for name in asked.kinds if name in host.kinds},
        words_back=min(WORDS_BACK, host.ledger.size(host.party)) if asked.words else 0,
        index=index_status(host),
    )


def _entries(ctx: OperationContext, hits: Sequence[SearchHit]) -> list[EntryInfo]:
    """The entries behind hits, in their order; those of one log are read together."""
    found: dict[tuple[str, int], EntryInfo] = {}
    for log in {hit.log for hit in hits}:
        for one in entries_at(ctx, log, [hit for hit in hits if hit.log == log]):
            found[log, one.index] = one
    return [found[hit.log, hit.index] for hit in hits]


def _single(ctx: OperationContext, log: str, index: int) -> list[EntryInfo]:
    """The entry at a place, if there is one that this person may see."""
    try:
        one = entry_at(ctx, PartyId(log), index)
    except NotFound:
        return []
    allowed = kinds_seen_by(ctx)
    return [one] if not allowed or one.kind.startswith(allowed) else []


def _conditions(ctx: OperationContext, request: SearchRequest) -> Asked:
    """Fields and text of the request as conditions; identifiers of a customer are tokens from here on."""
    host = ctx.host
    parties = host.parties()
    if request.party and request.party not in parties:
        raise NotFound("没有这个机构的日志", "There is no log of that institution", code="UNKNOWN_PARTY")
    if request.state not in ("", "pending", "sealed", "full") or any(not re.match(_TOKEN, one) for one in request.customers):
        raise InvalidRequest("检索条件的写法不对", "A condition of the search is malformed")
    log, _, number = request.place.partition("/")
    if request.place and (log not in parties or not re.fullmatch(r"[0-9]{1,16}", number)):
        raise InvalidRequest("位置写作 机构/序号", "A place is written as institution/index")
    if request.digest and not re.fullmatch(r"[0-9a-f]{8,128}", request.digest):
        raise InvalidRequest("摘要至少给出前 8 位十六进制", "A digest is given by its first 8 hex digits or more")
    asked = Asked(
        job=request.job, campaign=request.campaign, customers=tuple(request.customers), persons=tuple(request.persons),
        kinds=tuple(request.kinds), party=request.party, digest=request.digest, state=request.state, from_ms=request.from_ms,
        until_ms=request.until_ms, place=(log, int(number)) if request.place else None, words=request.words,
    )  # fmt: skip
    understood = understand(request.text, _surroundings(ctx), asked)
    asked = understood.asked
    if understood.identifiers:
        customers = _tokens(ctx, understood.identifiers)
        asked = replace(asked, customers=(*asked.customers, *customers))
    elif len(asked.digest) == 32 and _places(host, (asked.digest,)):
        asked = replace(asked, digest="", customers=(asked.digest,))
    if asked.customers and not ctx.caller.person.roles & CHECKS:
        raise Denied("你的岗位不能按客户检索证据", "Your role may not search evidence by customer")
    return asked


def _tokens(ctx: OperationContext, identifiers: tuple[str, ...]) -> list[str]:
    """Names of the customer keys behind phone and identity numbers, computed in this institution's vault."""
    host = ctx.host
    if not ctx.caller.person.roles & MAY_NAME_CUSTOMERS:
        raise Denied(
            "你的岗位不能用手机号或身份证号检索，请用客户代号", "Your role may not search by phone or ID number; use the customer's token"
        )
    registry = host.consent
    if not isinstance(registry, NamesCustomers):
        raise Refused("授权登记不提供客户代号", "The consent registry gives no customer tokens", code="NO_TOKENS")
    names: dict[str, None] = {}
    for typed in identifiers:
        digits = re.sub(r"[^0-9Xx]", "", typed)
        try:
            phone = parse_phone(typed) if len(digits) in (11, 13) else None
            id_no = None if phone else parse_id_no(digits, today=host.today())
        except InvalidRequest:
            raise InvalidRequest(
                "检索里的手机号或身份证号读不懂，没有检索，也没有留存",
                "The phone or ID number in the search cannot be read; nothing was searched and nothing kept",
            ) from None  # the cause is left out: it must not lead back to what was typed
        names |= dict.fromkeys(registry.evidence_names(phone=phone, id_no=id_no))
    return list(names)[:100]


def _surroundings(ctx: OperationContext) -> Surroundings:
    host = ctx.host
    return Surroundings(
        people=host.people.names(),
        kinds={name: (kind.zh, kind.en) for name, kind in host.kinds.items()},
        parties={party: host.names(party) for party in host.parties()},
        campaigns=_campaigns(host),
    )


def _campaigns(host: Workbench) -> frozenset[str]:
    """Names of campaigns that proposals made here carry."""
    with host.store.read() as reader:
        rows = reader.execute("SELECT DISTINCT json_extract(request, '$.campaign') FROM host_job WHERE side = 'initiator'")
        return frozenset(name for (name,) in rows if name)


def _query(ctx: OperationContext, asked: Asked, request: SearchRequest) -> SearchQuery | None:
    """The question for the index; None when a condition cannot be met by any entry."""
    host = ctx.host
    allowed = kinds_seen_by(ctx)
    kinds = asked.kinds or allowed
    if asked.kinds and allowed:
        kinds = tuple(one for one in asked.kinds if one.startswith(allowed))
        if not kinds:
            return None
    places: set[int] | None = None
    if asked.customers:
        places = _places(host, asked.customers)
    if asked.words:
        with host.store.read() as reader:
            back = host.ledger.size(host.party) - WORDS_BACK
            rows = host.evidence.search(reader, text=asked.words, after=back - 1 if back > 0 else None, limit=1000)
        found = {row.index for row in rows}
        places = found if places is None else places & found
    if places is not None and not places:
        return None
    try:
        before = parse_page_key(request.before) if request.before else None
    except ValueError:
        raise InvalidRequest("翻页位置的写法不对，请重新检索", "The place of the page is malformed; search again") from None
    # A campaign is known by the jobs proposed under its name; entries of later kinds may carry it themselves.
    jobs = tuple(jobs_of_campaign(host, asked.campaign)) if asked.campaign else ()
    return SearchQuery(
        log=asked.party, kinds=kinds, job=asked.job, jobs=jobs, campaign="" if jobs else asked.campaign, actors=asked.persons, digest=asked.digest,
        from_ms=asked.from_ms, until_ms=asked.until_ms, state=asked.state,
        places=None if places is None else tuple(sorted(places)), before=before, limit=request.limit,
    )  # fmt: skip


def _places(host: Workbench, customers: tuple[str, ...]) -> set[int]:
    """Own entries whose openings are sealed under one of these customers' keys; erased ones are found no more."""
    with host.store.read() as reader:
        return {index for one in customers for index in host.evidence.entries_about(reader, one)}


def _as_reply(asked: Asked) -> Conditions:
    return Conditions(
        job=asked.job, campaign=asked.campaign, customers=list(asked.customers), persons=list(asked.persons),
        kinds=list(asked.kinds), party=asked.party, digest=asked.digest, state=asked.state, from_ms=asked.from_ms,
        until_ms=asked.until_ms, place="/".join(map(str, asked.place)) if asked.place else "", words=asked.words,
    )  # fmt: skip


def _view(ctx: OperationContext, request: SearchRequest, reply: SearchReply) -> View:
    """A look at a search: its digest holds what was understood, so tokens stand in place of identifiers."""
    asked = {**reply.asked.model_dump(), "before": request.before, "operation": "evidence.search"}
    text = json.dumps(asked, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    # Sealed under the customer's key only if there is something about them: a stranger leaves no key behind.
    customers = reply.asked.customers
    subject = next((one for one in customers if reply.entries and _places(ctx.host, (one,))), "")
    return View(sm3.digest(text.encode()).hex(), len(reply.entries), subject, is_recorded=bool(customers))


SEARCH_OPERATIONS = (
    Operation(
        name="evidence.search",
        zh="检索证据",
        en="search the evidence",
        request=SearchRequest,
        reply=SearchReply,
        roles=READS,
        run=_search,
        weak_token=True,
        reads_only=True,
        evidence=("evidence.viewed",),
        view=_view,
    ),
    Operation(
        name="evidence.index_status",
        zh="查看检索索引的覆盖",
        en="read how far the search index has come",
        request=NoInput,
        reply=IndexStatusReply,
        roles=READS,
        run=_status,
        weak_token=True,
        reads_only=True,
    ),
)

__all__ = ["SEARCH_OPERATIONS", "index_of", "index_status"]
