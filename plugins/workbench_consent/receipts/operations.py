"""What staff can do with receipts. docs/protocols/consent-receipt.md section 7."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from pydantic import Field

from workbench.contracts import ConsentRegistry, Ledger, OperationContext
from workbench.crypto import canonical
from workbench.domain.consent_receipt import STATES, leaf_of, parse, status_sentence
from workbench.domain.identifiers import mask_id_no, mask_phone, parse_id_no, parse_phone
from workbench.domain.intersection import KeyKind
from workbench.domain.party import Role
from workbench.errors import InvalidRequest, NotFound, Refused
from workbench.operations import Operation, Reply, Request
from workbench_consent.grants import Subject
from workbench_consent.projection import State
from workbench_consent.receipts import archive, issuing
from workbench_consent.receipts.content import Masks, Words
from workbench_consent.receipts.facts import Around, Facts, gather
from workbench_consent.receipts.printing import local_time, page_of, render_html, render_pdf
from workbench_consent.registry import Registry
from workbench_consent.subjects import Rows, Subjects, meant, token_at, tokens
from workbench_consent.withdrawing import columns_of_subject

COMPLIANCE: Final = frozenset({Role.COMPLIANCE})
READERS: Final = frozenset({Role.COMPLIANCE, Role.AUDITOR})
INSIDE_UP_TO: Final = 2000
"""Of a larger batch the anchor lies once beside the receipts."""
POLL_S: Final = 0.2


class ReceiptRequest(Request):
    """record: number of a grant, or 0 and phone or id_no: then the customer's newest grant that fits purpose and recipient.

    With a record, phone and id_no say whose it must be; given identifiers stand masked on the receipt.
    """

    record: int = Field(default=0, ge=0)
    phone: str = ""
    id_no: str = ""
    purpose: str = ""
    recipient: str = ""


class ReceiptReply(Reply):
    """json_file, page, pdf: downloads, each to be taken once; pdf is "" without a font. state: code, with its sentences zh, en.

    digest: of the receipt, in hex; entry: index of the issuing entry in the own log; sealed: "2/3"; is_final: its required
    co-signatures are in the receipt. receipt: the JSON object of the file. others: further grants of the same customer.
    """

    receipt_id: str
    record: int
    digest: str
    state: str
    zh: str
    en: str
    entry: int
    sealed: str
    is_final: bool
    json_file: str
    page: str
    pdf: str
    receipt: dict[str, Any]
    others: list[int]


class IssueRequest(Request):
    """Which grants: of one import (event), of one purpose or recipient, of the customers of a list; all that are given apply.

    list_id: then identifiers stand masked on the receipts, as the list has them. live_only: leave out what is not LIVE.
    pages: a printable page for each, of at most 2,000. at_most: refuse more than this.
    """

    event: int = Field(default=0, ge=0)
    list_id: str = ""
    purpose: str = ""
    recipient: str = ""
    live_only: bool = True
    pages: bool = False
    at_most: int = Field(default=1_000_000, ge=1, le=1_000_000)


class IssueReply(Reply):
    """download: the ZIP, once. states: code -> receipts. anchor: the issuing entry is in `entry` of the own log."""

    receipts: int
    states: dict[str, int]
    batch: int
    entry: int
    root: str
    sealed: str
    is_final: bool
    inside: bool
    download: str
    size_bytes: int


class AnchorRequest(Request):
    """receipt_id: of a receipt issued here; the newest anchor of its batch."""

    receipt_id: str = Field(min_length=35, max_length=35)


class AnchorReply(Reply):
    """anchor: a receipt of the issuing entry (evidence.md section 9), to be given to a verifier beside the file."""

    receipt_id: str
    entry: int
    sealed: str
    is_final: bool
    anchor: dict[str, Any]


class StatusRequest(Request):
    receipt_id: str = Field(min_length=35, max_length=35)


class StatusReply(Reply):
    """Where the grant of a receipt stands at this node now; zh, en: a sentence. issued_state is what its batch is about."""

    receipt_id: str
    record: int
    entry: int
    state: str
    zh: str
    en: str
    at_ms: int
    size: int
    until_ms: int


class BatchesRequest(Request):
    limit: int = Field(default=50, ge=1, le=500)


class Batch(Reply):
    batch: int
    at_ms: int
    entry: int
    receipts: int
    sealed: str


class BatchesReply(Reply):
    """Newest first."""

    batches: list[Batch]


def _registry(ctx: OperationContext) -> Registry:
    # Contracts are asked for by their Protocol, which mypy takes for an attempt to make one.
    provider: object = ctx.host.provider(ConsentRegistry)  # type: ignore[type-abstract]
    if not isinstance(provider, Registry):
        raise TypeError("these operations belong to the registry of this plugin")
    return provider


def words_of(ctx: OperationContext) -> Words:
    """What a receipt says besides the grant, as this institution's settings have it."""
    host, registry = ctx.host, _registry(ctx)
    return Words(
        parties={party: host.names(party) for party in host.parties()},
        purposes=registry.purposes(),
        contacts=host.setting("consent.receipt_contacts"),
        texts=host.setting("consent.receipt_texts"),
        information=host.setting("consent.receipt_information"),
        categories=host.setting("consent.categories"),
    )


def _issue(
    ctx: OperationContext, records: Rows, *, selection: str, masks: Callable[[Facts], Masks] | None = None
) -> issuing.Issued:
    host: Any = ctx.host  # the node is a Host; its parts have narrower types than the contract names
    contract = host.keys.contract
    ledger: Ledger = host.provider(Ledger)
    total = len(records)

    def step(done: int) -> None:
        ctx.progress(done, 2 * total, "算凭据的摘要", "hashing receipts")
        _stop_if_asked(ctx, "已停止，没有出具任何凭据", "stopped; no receipt was issued")

    return issuing.issue(
        host,
        _registry(ctx).state,
        records,
        words_of(ctx),
        issuing.Signer(contract.public, contract.sign),
        size=lambda: ledger.size(host.party),
        selection=selection,
        actor=ctx.caller.person.token,
        masks=masks,
        around=lambda state: _around(ctx, state),
        step=step,
    )


def _around(ctx: OperationContext, state: State) -> Around:
    """What a status depends on besides grants and withdrawals, as of now."""
    return Around(*_registry(ctx).surroundings(state), restricted=ctx.host.restricted_customers())


def _anchor(ctx: OperationContext, entry: int, *, wait_s: float) -> tuple[dict[str, Any], str, bool]:
    """The receipt of the issuing entry, "2/3", and whether it is final; waits for co-signatures, at most so long."""
    host = ctx.host
    ledger: Ledger = host.provider(Ledger)  # type: ignore[type-abstract]  # asked for by its Protocol
    deadline = time.monotonic() + wait_s
    while True:
        seal = ledger.seal(host.party, entry)
        is_final = seal.state != "PENDING"
        if is_final or time.monotonic() >= deadline or ctx.cancelled():
            break
        ctx.progress(0, 0, "等待其他机构共签", "waiting for the co-signatures of the other institutions")
        time.sleep(POLL_S)
    return ledger.receipt(host.party, entry), f"{len(seal.cosigners)}/{len(host.parties())}", is_final


def _receipt(ctx: OperationContext, request: ReceiptRequest) -> ReceiptReply:
    host, registry = ctx.host, _registry(ctx)
    phone = parse_phone(request.phone) if request.phone.strip() else None
    id_no = parse_id_no(request.id_no, today=host.today()) if request.id_no.strip() else None
    subject = registry.subject(phone, id_no)
    state = registry.state()
    record, others = _record_meant(state, subject, request)

    def masks(facts: Facts) -> Masks:
        return lambda row: (mask_id_no(id_no) if id_no else "", mask_phone(phone) if phone else "")

    issued = _issue(ctx, np.array([record], np.int64), selection="one grant", masks=masks)
    anchor, sealed, is_final = _anchor(ctx, issued.entry, wait_s=host.setting("consent.receipt_wait_s"))
    data = issued.file(0, canonical.format(anchor))
    receipt = parse(data)  # what leaves is what a verifier takes
    page = page_of(receipt.content, leaf_of(receipt.body), sealed=sealed, is_final=is_final)
    pdf, _ = render_pdf(page, host.setting("evidence.report_font"))
    name = receipt.receipt_id
    zh, en = status_sentence(receipt.content, local_time(issued.facts.at_ms))
    files = [(f"{name}.json", data), (f"{name}.html", render_html(page))] + ([(f"{name}.pdf", pdf)] if pdf else [])
    downloads = host.store.write(lambda tx: [host.downloads.offer(tx, ctx.caller, one, part) for one, part in files])
    return ReceiptReply(
        receipt_id=name,
        record=record,
        digest=receipt.digest.hex(),
        state=issued.facts.state[0],
        zh=zh,
        en=en,
        entry=issued.entry,
        sealed=sealed,
        is_final=is_final,
        json_file=downloads[0],
        page=downloads[1],
        pdf=downloads[2] if pdf else "",
        receipt=dict(canonical.parse_object(data[:-1])),
        others=others,
    )


def _record_meant(state: State, subject: Subject, request: ReceiptRequest) -> tuple[int, list[int]]:
    """The record of a request and the customer's others, at most 100, newest first."""
    grants = state.grants
    named = subject.phone is not None or subject.id_no is not None
    if not request.record and not named:
        raise InvalidRequest("请给出授权记录号，或客户的手机号、身份证号", "give the number of a grant, or the customer's phone or identity number")
    if request.record > len(grants):
        raise NotFound("没有这条授权", "there is no such grant", code="NO_GRANT_RECORD")
    theirs = np.flatnonzero(meant(grants.subjects, columns_of_subject(subject))) + 1 if named else np.zeros(0, np.int64)
    if request.record:
        if named and request.record not in theirs:
            raise Refused(
                f"授权 {request.record} 不是这位客户的，没有出具凭据：核对记录号与证件",
                f"grant {request.record} is not this customer's and no receipt was issued: check number and identity",
                code="RECEIPT_OTHER_CUSTOMER",
                details={"record": str(request.record)},
            )
        return request.record, [one for one in theirs[::-1].tolist() if one != request.record][:100]
    fitting = [
        one
        for one in theirs[::-1].tolist()
        if request.purpose in ("", state.terms[int(grants.term[one - 1])].purpose)
        and request.recipient in ("", state.terms[int(grants.term[one - 1])].recipient)
    ]
    if not fitting:
        raise NotFound("这位客户没有这样的授权", "this customer has no such grant", code="NO_GRANT_RECORD")
    return fitting[0], [one for one in theirs[::-1].tolist() if one != fitting[0]][:100]


def _issue_many(ctx: OperationContext, request: IssueRequest) -> IssueReply:
    host, registry = ctx.host, _registry(ctx)
    state = registry.state()
    records, masks = _selected(ctx, state, request)
    if request.live_only and len(records):
        with host.store.read() as reader:
            facts = gather(reader, state, records, at_ms=host.now_ms(), size=0, party=host.party, around=_around(ctx, state))
        records = records[np.array([one == "LIVE" for one in facts.state], bool)]
    most = min(request.at_most, archive.MOST_PAGES) if request.pages else request.at_most
    if not len(records):
        raise NotFound("没有符合条件的授权，没有出具凭据", "no grant fits; no receipt was issued", code="NO_GRANT_RECORD")
    if len(records) > most:
        raise Refused(
            f"符合条件的授权有 {len(records):,} 条，一次最多 {most:,} 份：缩小范围或不要可打印页",
            f"{len(records):,} grants fit and at most {most:,} receipts are issued at once: choose fewer, or no pages",
            code="TOO_MANY_RECEIPTS",
            details={"records": str(len(records)), "most": str(most)},
        )
    issued = _issue(ctx, records, selection=_selection(request), masks=masks)
    anchor, sealed, is_final = _anchor(ctx, issued.entry, wait_s=host.setting("consent.receipt_wait_s"))
    inside = len(issued) <= INSIDE_UP_TO

    def step(done: int) -> None:
        ctx.progress(len(issued) + done, 2 * len(issued), "写凭据文件", "writing receipts")
        _stop_if_asked(
            ctx, "已停止写文件；签发记录已留存，可重新出具", "stopped while writing; the issuing entry stays, issue again"
        )

    size_bytes = 0

    def counted(parts: Iterator[bytes]) -> Iterator[bytes]:
        nonlocal size_bytes
        for part in parts:
            size_bytes += len(part)
            yield part

    draft = host.downloads.stage(
        counted(
            archive.parts_of(
                issued, canonical.format(anchor), inside=inside, pages=request.pages, sealed=sealed, is_final=is_final, step=step
            )
        )
    )
    name = f"consent-receipts-{issued.batch:06d}{'' if is_final else '-NOT_FINAL'}.zip"
    download = host.store.write(lambda tx: host.downloads.offer_staged(tx, ctx.caller, name, draft))
    return IssueReply(
        receipts=len(issued),
        states={code: issued.facts.state.count(code) for code in STATES if code in issued.facts.state},
        batch=issued.batch,
        entry=issued.entry,
        root=issued.root.hex(),
        sealed=sealed,
        is_final=is_final,
        inside=inside,
        download=download,
        size_bytes=size_bytes,
    )


def _selected(ctx: OperationContext, state: State, request: IssueRequest) -> tuple[Rows, Callable[[Facts], Masks] | None]:
    """Records that a request means, ascending, none erased; and how to mask identifiers, for a list."""
    grants = state.grants
    chosen = ~((grants.subjects.phone == 0).all(axis=0) & (grants.subjects.id_no == 0).all(axis=0))
    if request.event:
        chosen &= grants.seq == request.event
    wanted = [request.purpose in ("", one.purpose) and request.recipient in ("", one.recipient) for one in state.terms]
    if len(grants):
        chosen &= np.array(wanted, bool)[grants.term]
    masks = None
    if request.list_id:
        registry = _registry(ctx)
        frame = ctx.host.lists.frame(request.list_id)
        listed = Subjects(
            tokens(registry.token_key, KeyKind.PHONE, frame["phone"]), tokens(registry.token_key, KeyKind.ID_NO, frame["id_no"])
        )
        chosen &= meant(grants.subjects, listed)
        known = [
            {token_at(words, row): text for row, text in enumerate(frame[name].to_list()) if text}
            for name, words in (("id_no", listed.id_no), ("phone", listed.phone))
        ]
        masks = _masks_from(*known)
    return np.flatnonzero(chosen) + 1, masks


def _masks_from(id_nos: dict[bytes | None, str], phones: dict[bytes | None, str]) -> Callable[[Facts], Masks]:
    """Only what the grant itself names is put in, as the list spells it."""

    def of(facts: Facts) -> Masks:
        subjects = facts.grants.subjects

        def mask(row: int) -> tuple[str, str]:
            id_no = id_nos.get(token_at(subjects.id_no, row), "")
            phone = phones.get(token_at(subjects.phone, row), "")
            return mask_id_no(id_no) if id_no else "", mask_phone(phone) if phone else ""

        return mask

    return of


def _selection(request: IssueRequest) -> str:
    parts = [f"{name} {value}" for name, value in request.model_dump().items() if name in _SELECTORS and value]
    return ", ".join(parts) or "every grant"


_SELECTORS = ("event", "list_id", "purpose", "recipient", "live_only")


def _newest_anchor(ctx: OperationContext, request: AnchorRequest) -> AnchorReply:
    with ctx.host.store.read() as reader:
        _, _, entry = issuing.find(reader, request.receipt_id)
    anchor, sealed, is_final = _anchor(ctx, entry, wait_s=0)
    return AnchorReply(receipt_id=request.receipt_id, entry=entry, sealed=sealed, is_final=is_final, anchor=anchor)


def _status(ctx: OperationContext, request: StatusRequest) -> StatusReply:
    host = ctx.host
    ledger: Ledger = host.provider(Ledger)  # type: ignore[type-abstract]  # asked for by its Protocol
    size, now = ledger.size(host.party), host.now_ms()
    state = _registry(ctx).state()
    with host.store.read() as reader:
        record, _, entry = issuing.find(reader, request.receipt_id)
        facts = gather(reader, state, np.array([record], np.int64), at_ms=now, size=size, party=host.party, around=_around(ctx, state))
    zh, en = STATES[facts.state[0]]
    return StatusReply(
        receipt_id=request.receipt_id,
        record=record,
        entry=entry,
        state=facts.state[0],
        zh=f"截至本机构日志第 {size} 条：{zh}",
        en=f"as of height {size} of our log: {en}",
        at_ms=now,
        size=size,
        until_ms=int(facts.grants.until_ms[0]),
    )


def _batches(ctx: OperationContext, request: BatchesRequest) -> BatchesReply:
    host = ctx.host
    ledger: Ledger = host.provider(Ledger)  # type: ignore[type-abstract]  # asked for by its Protocol
    with host.store.read() as reader:
        found = list(issuing.issued_batches(reader, request.limit))
    total = len(host.parties())
    return BatchesReply(
        batches=[
            Batch(
                batch=batch, at_ms=at_ms, entry=entry, receipts=receipts,
                sealed=f"{len(ledger.seal(host.party, entry).cosigners)}/{total}",
            )
            for batch, at_ms, entry, receipts in found
        ]
    )  # fmt: skip


def _stop_if_asked(ctx: OperationContext, zh: str, en: str) -> None:
    if ctx.cancelled():
        raise Refused(zh, en, code="CANCELLED")


OPERATIONS = (
    Operation(
        name="consent.receipt", zh="出具一份授权凭据", en="issue one consent receipt", request=ReceiptRequest, reply=ReceiptReply,
        roles=COMPLIANCE, run=_receipt, long=True, evidence=("consent.receipts_issued",),
    ),
    Operation(
        name="consent.receipts_issue", zh="批量出具授权凭据", en="issue consent receipts in bulk", request=IssueRequest,
        reply=IssueReply, roles=COMPLIANCE, run=_issue_many, long=True, evidence=("consent.receipts_issued",),
    ),
    Operation(
        name="consent.receipt_anchor", zh="取凭据的最新账本证明", en="take the newest ledger proof of a receipt",
        request=AnchorRequest, reply=AnchorReply, roles=READERS, run=_newest_anchor, reads_only=True,
    ),
    Operation(
        name="consent.receipt_status", zh="按编号查凭据现状", en="look up where the grant of a receipt stands",
        request=StatusRequest, reply=StatusReply, roles=READERS, run=_status, reads_only=True,
    ),
    Operation(
        name="consent.receipts", zh="查看出具过的凭据批次", en="read which receipts were issued", request=BatchesRequest,
        reply=BatchesReply, roles=READERS, run=_batches, weak_token=True, reads_only=True,
    ),
)  # fmt: skip
