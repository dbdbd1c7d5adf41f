"""What staff can do with anchors. Every action goes through the gate. Document: docs/protocols/anchor.md."""

from __future__ import annotations

import base64
import binascii
from typing import Final

from pydantic import Field

from workbench.contracts import OperationContext
from workbench.domain.checkpoint import Checkpoint, verify_note
from workbench.domain.party import PartyId, Role
from workbench.errors import InvalidRequest
from workbench.operations import NoInput, Operation, Reply, Request
from workbench_anchor import anchoring, stamping, tables
from workbench_anchor.chain import checksummed, is_installed
from workbench_anchor.checking import compare_with_chain
from workbench_anchor.describing import describe_anchors
from workbench_anchor.notes import origin_id, read_note
from workbench_anchor.service import AnchorService, service_of

READERS: Final = frozenset({Role.COMPLIANCE, Role.OPERATOR, Role.AUDITOR, Role.REGULATOR, Role.ADMIN})
OPERATORS: Final = frozenset({Role.OPERATOR})
_NOTE_LENGTH = 20_000
_RECENT = 20


class AnchorsRequest(Request):
    """log, size: of a checkpoint, to ask how far that one is anchored; "" and 0 for the own log as it is."""

    log: str = ""
    size: int = Field(default=0, ge=0)


class AnchorView(Reply):
    """One kind of anchor. kind: "rfc3161" or "evm". state: "off", "none", "waiting", "confirmed", "conflict".

    size: entries that are anchored; time_ms: by the outside authority or chain, 0 for none.
    """

    kind: str
    state: str
    size: int
    time_ms: int
    id: str
    zh: str
    en: str


class AnchorTry(Reply):
    """One anchor that was asked for, newest first. problem: code of what is in the way, "" for nothing."""

    kind: str
    state: str
    size: int
    made_ms: int
    time_ms: int
    problem: str
    note_sha256: str


class FindingView(Reply):
    """A contradiction between chain and log that lasts."""

    log: str
    problem: str
    size: int
    found_ms: int


class AnchorsReply(Reply):
    """address: of the account on the chain, "" while there is none. origin_id: number of the own log in the contract."""

    size: int
    anchors: list[AnchorView]
    recent: list[AnchorTry]
    findings: list[FindingView]
    address: str
    origin_id: str


class AccountRequest(Request):
    """anew: make another account in place of the one there is, after its key may have become known."""

    anew: bool = False


class AccountReply(Reply):
    """What the registrar of the contract is told: address and the log's number."""

    address: str
    origin_id: str


class RequestReply(Reply):
    """request: TimeStampReq in DER, base64. note: what is stamped; size, note_sha256: of it."""

    request: str
    note: str
    size: int
    note_sha256: str


class ResponseRequest(Request):
    """response: TimeStampResp in DER, base64."""

    response: str = Field(min_length=4)


class ResponseReply(Reply):
    """What the accepted stamp says; entry: index of its evidence in the own log."""

    size: int
    time_ms: int
    note_sha256: str
    entry: int


class CheckRequest(Request):
    """note: a checkpoint as a signed note. transaction: hash of its anchor (64 hex digits), "" for the newest head."""

    note: str = Field(max_length=_NOTE_LENGTH)
    transaction: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class CheckReply(Reply):
    """state: CONFIRMED, NOT_THERE, SPLIT_VIEW, ROLLED_BACK or UNREACHABLE; see docs/protocols/anchor.md section 5."""

    state: str
    log: str
    size: int
    chain_size: int
    time_ms: int
    zh: str
    en: str


def _anchors(ctx: OperationContext, request: AnchorsRequest) -> AnchorsReply:
    return _state(service_of(ctx.host), request)


def _state(service: AnchorService, request: AnchorsRequest) -> AnchorsReply:
    host = service.host
    checkpoint = None
    if request.size:
        log = PartyId(request.log or host.party)
        if log not in host.parties():
            raise InvalidRequest("没有这家机构", "there is no such institution")
        checkpoint = Checkpoint(host.project, log, request.size, bytes(32), bytes(32))
    with host.store.read() as reader:
        stamps, sent = tables.last_stamps(reader, _RECENT), tables.last_transactions(reader, _RECENT)
        findings = tables.findings(reader)
    tries = [
        *(
            _try(stamping.WHAT, one.state, one.size, one.made_ms, one.time_ms, one.problem, one.digest)
            for one in stamps
        ),
        *(_try(anchoring.WHAT, one.state, one.size, one.made_ms, one.time_ms, one.problem, one.digest) for one in sent),
    ]
    account = service.anchoring.account() if is_installed() else None
    return AnchorsReply(
        size=service.house.ledger.size(host.party),
        anchors=[
            AnchorView(
                kind=one.kind, state=one.state, size=one.size, time_ms=one.time_ms, id=one.id, zh=one.zh, en=one.en
            )
            for one in describe_anchors(service, checkpoint)
        ],
        recent=sorted(tries, key=lambda one: one.made_ms, reverse=True)[:_RECENT],
        findings=[
            FindingView(log=one.log, problem=one.problem, size=one.size, found_ms=one.found_ms) for one in findings
        ],
        address=checksummed(account.address) if account else "",
        origin_id=origin_id(host.project, host.party).hex(),
    )


def _try(kind: str, state: str, size: int, made_ms: int, time_ms: int, problem: str, digest: bytes) -> AnchorTry:
    return AnchorTry(
        kind=kind, state=state, size=size, made_ms=made_ms, time_ms=time_ms, problem=problem, note_sha256=digest.hex()
    )


def _now(ctx: OperationContext, request: NoInput) -> AnchorsReply:
    service = service_of(ctx.host)
    service.now(actor=ctx.caller.person.token)
    return _state(service, AnchorsRequest())


def _account(ctx: OperationContext, request: AccountRequest) -> AccountReply:
    service = service_of(ctx.host)
    account = service.anchoring.make_account(actor=ctx.caller.person.token, anew=request.anew)
    return AccountReply(address=checksummed(account.address), origin_id=service.anchoring.origin.hex())


def _request(ctx: OperationContext, request: NoInput) -> RequestReply:
    row = service_of(ctx.host).stamping.request_file(actor=ctx.caller.person.token)
    return RequestReply(
        request=base64.b64encode(row.request).decode(), note=row.note, size=row.size, note_sha256=row.digest.hex()
    )


def _response(ctx: OperationContext, request: ResponseRequest) -> ResponseReply:
    try:
        data = base64.b64decode(request.response.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise InvalidRequest("答复不是 base64", "the reply is not base64") from error
    row = service_of(ctx.host).stamping.accept_file(data, actor=ctx.caller.person.token)
    return ResponseReply(size=row.size, time_ms=row.time_ms, note_sha256=row.digest.hex(), entry=row.entry)


def _check(ctx: OperationContext, request: CheckRequest) -> CheckReply:
    service = service_of(ctx.host)
    host = ctx.host
    verify_note(request.note, host.trust_keys(), project=host.project)
    place = service.anchoring.place()
    verdict = compare_with_chain(
        service.anchoring.chain(place),
        chain_id=place.chain_id,
        address=place.contract,
        note=request.note,
        transaction=bytes.fromhex(request.transaction),
    )
    note = read_note(request.note)
    return CheckReply(
        state=verdict.state, log=note.checkpoint.log, size=note.size, chain_size=verdict.size, time_ms=verdict.time_s * 1000,
        zh=verdict.zh, en=verdict.en,
    )  # fmt: skip


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="ledger.anchors", zh="查看外部锚定", en="read the outside anchors",
        request=AnchorsRequest, reply=AnchorsReply, roles=READERS, run=_anchors, weak_token=True, reads_only=True,
    ),
    Operation(
        name="ledger.anchor_now", zh="立即锚定", en="anchor now",
        request=NoInput, reply=AnchorsReply, roles=OPERATORS, run=_now, fresh_password=True,
        evidence=("anchor.ordered", "anchor.stamped", "anchor.anchored", "anchor.failed", "anchor.lost", "anchor.conflict"),
    ),
    Operation(
        name="ledger.anchor_account", zh="生成或查看链上锚定账户", en="make or read the account on the chain",
        request=AccountRequest, reply=AccountReply, roles=OPERATORS, run=_account, fresh_password=True,
        evidence=("anchor.key_made", "anchor.ordered"),
    ),
    Operation(
        name="ledger.anchor_request", zh="取走离线时间戳请求", en="take a request for a time stamp as a file",
        request=NoInput, reply=RequestReply, roles=OPERATORS, run=_request, evidence=("anchor.ordered",),
    ),
    Operation(
        name="ledger.anchor_response", zh="交回离线时间戳答复", en="hand in the reply to a request file",
        request=ResponseRequest, reply=ResponseReply, roles=OPERATORS, run=_response, evidence=("anchor.stamped",),
    ),
    Operation(
        name="ledger.anchor_check", zh="与监管链核对检查点", en="compare a checkpoint with the chain",
        request=CheckRequest, reply=CheckReply, roles=READERS, run=_check, reads_only=True,
    ),
)  # fmt: skip
