"""What staff see and settle of meters, statements, receipts and costs. docs/protocols/sandbox.md sections 9 and 10."""

from __future__ import annotations

import base64
from typing import Any, Final

from pydantic import Field

from workbench.contracts import OperationContext, Transaction
from workbench.domain.party import PartyId, Role
from workbench.errors import Denied, NotFound, Refused
from workbench.operations import Operation, Request
from workbench_inference.asking.proof import lease_file
from workbench_inference.leasing import replies, rows, telling
from workbench_inference.leasing.billing import amount_fen
from workbench_inference.leasing.service import leasing_of
from workbench_inference.roles import at_both
from workbench_sandbox.formats import reading
from workbench_sandbox.formats.metering import parse_statement

LOOKERS: Final = frozenset({Role.OPERATOR, Role.ADVISER, Role.AUDITOR, Role.REGULATOR, Role.COMPLIANCE, Role.PROVIDER_OPERATOR})
READERS: Final = LOOKERS - {Role.ADVISER}
PART_BYTES: Final = 1 << 20
SETTLERS: Final = frozenset({Role.COMPLIANCE, Role.OPERATOR, Role.PROVIDER_OPERATOR})


class MetersRequest(Request):
    """before: ticks numbered below it, 0 for the newest."""

    lease: str = Field(max_length=32)
    before: int = Field(default=0, ge=0)
    limit: int = Field(default=100, ge=1, le=1000)


class StatementsRequest(Request):
    """month: yyyy-mm, "" for this one (Asia/Shanghai)."""

    month: str = Field(default="", pattern=r"(?:[0-9]{4}-(?:0[1-9]|1[0-2]))?")


class ErasuresRequest(Request):
    """lease: "" for all; server: with a lease, the one receipt whose bytes are wanted."""

    lease: str = Field(default="", max_length=32)
    server: str = Field(default="", max_length=16)
    limit: int = Field(default=100, ge=1, le=1000)


class LeaseFileRequest(Request):
    """part: which MiB of it, from 0."""

    lease: str = Field(max_length=32)
    part: int = Field(default=0, ge=0, le=64)


class CostsRequest(Request):
    """The last so many days, today included."""

    days: int = Field(default=7, ge=1, le=366)


class SettleRequest(Request):
    """card_seconds: what is paid. Said by one person, and by another with the same number."""

    lease: str = Field(max_length=32)
    card_seconds: int = Field(ge=0)
    reason: str = Field(min_length=1, max_length=200)


def meters(ctx: OperationContext, request: MetersRequest) -> replies.MetersReply:
    """Ticks of a lease."""
    with ctx.host.store.read() as reader:
        rows.get(reader, request.lease)
        return telling.meters(reader, request.lease, before=request.before, limit=request.limit)


def statements(ctx: OperationContext, request: StatementsRequest) -> replies.StatementsReply:
    """Statements of a month and their invoice."""
    with ctx.host.store.read() as reader:
        return telling.statements(reader, month=request.month or f"{ctx.host.today():%Y-%m}")


def erasures(ctx: OperationContext, request: ErasuresRequest) -> replies.ErasuresReply:
    """Receipts, and those that are waited for."""
    host = leasing_of(ctx.host).host
    written, key = b"", ""
    with host.store.read() as reader:
        told = telling.erasures(reader, host, lease=request.lease, limit=request.limit)
        if request.server:
            row = reader.execute(
                "SELECT receipt FROM inference_erasure WHERE lease = ? AND server = ? ORDER BY received_ms DESC LIMIT 1", (request.lease, request.server)
            ).fetchone()
            if row is None:
                raise NotFound("没有这份收据", "There is no such receipt", code="NO_RECEIPT")
            written = bytes(row[0])
            told = [one for one in told if one.server == request.server]
            of = rows.get(reader, request.lease)
            key = telling.contract_key(host, of.partner if of.side == rows.TENANT else PartyId(host.party))
    states = [one.state for one in told]
    return replies.ErasuresReply(
        erasures=told, clean=states.count("clean"), residue=states.count("residue"), missing=states.count("missing"), receipt=base64.b64encode(written).decode(), contract_key=key
    )


def file(ctx: OperationContext, request: LeaseFileRequest) -> replies.LeaseFileReply:
    """One part of the lease file: what of it others signed, to be checked without a node."""
    host = leasing_of(ctx.host).host
    with host.store.read() as reader:
        data = lease_file(reader, host, request.lease).encoded
    start = request.part * PART_BYTES
    if start >= len(data):
        raise NotFound("这份凭证没有这一部分", "The lease file has no such part", code="NO_PART")
    return replies.LeaseFileReply(
        lease=request.lease, parts=-(-len(data) // PART_BYTES), size=len(data), sm3=reading.digest(data), data=base64.b64encode(data[start : start + PART_BYTES]).decode(),
    )  # fmt: skip


def costs(ctx: OperationContext, request: CostsRequest) -> replies.CostsReply:
    """What the last days cost beside cards that never stop."""
    leasing = leasing_of(ctx.host)
    side = rows.TENANT if leasing.tenant is not None else rows.PROVIDER
    with leasing.host.store.read() as reader:
        return telling.costs(reader, leasing.host, days=request.days, side=side)


def settle(ctx: OperationContext, request: SettleRequest) -> replies.SettledReply:
    """One person proposes what a difference is settled at, another says the same number; both institutions do so for themselves."""
    host, token = ctx.host, ctx.caller.person.token

    def change(tx: Transaction) -> replies.SettledReply:
        kept = tx.execute("SELECT body, agreed, settled_seconds, proposed_by, reason FROM inference_statement WHERE lease = ?", (request.lease,)).fetchone()
        if kept is None:
            raise NotFound("这个租约还没有对账单", "This lease has no statement of account yet", code="NO_STATEMENT")
        row, account = rows.get(tx, request.lease), parse_statement(bytes(kept[0]))
        if kept[1] or int(kept[2]) >= 0:
            raise Refused("双方一致或已经商定，没有要处理的差异", "Both ends agree, or it is settled already: there is no difference", code="NOTHING_TO_SETTLE")
        if request.card_seconds > account.card_seconds:
            raise Refused("不能高于算力方所计的卡·秒", "It cannot be above the card-seconds that the provider counted", code="SETTLE_BOUNDS")
        agreement = reading.digest(reading.write({"lease": request.lease, "card_seconds": request.card_seconds}))
        amount = amount_fen(request.card_seconds, account.fen_per_card_minute)
        both = rows.parties(row, host.party)
        proposed = str(kept[3])
        if not proposed or proposed.split()[1:] != [str(request.card_seconds)]:  # a first proposal, or another number: begins anew
            tx.execute("UPDATE inference_statement SET proposed_by = ?, reason = ? WHERE lease = ?", (f"{token} {request.card_seconds}", request.reason, request.lease))
            values = {**both, "card_seconds": str(request.card_seconds), "agreement": agreement, "reason": request.reason}
            host.evidence.append(tx, "inference.settle_proposed", values, job=request.lease, actor=token)
            return replies.SettledReply(lease=request.lease, state="proposed", card_seconds=request.card_seconds, amount_fen=amount)
        if proposed.split()[0] == token:
            raise Denied("须由另一人确认", "Another person has to confirm it", code="OTHER_PERSON")
        tx.execute("UPDATE inference_statement SET settled_seconds = ?, amount_fen = ?, proposed_by = ? WHERE lease = ?", (request.card_seconds, amount, "", request.lease))
        values = {**both, "card_seconds": str(request.card_seconds), "agreement": agreement, "people": f"{proposed.split()[0]} {token}", "reason": request.reason}
        host.evidence.append(tx, "inference.settled", values, job=request.lease, actor=token)
        return replies.SettledReply(lease=request.lease, state="settled", card_seconds=request.card_seconds, amount_fen=amount)

    return host.store.write(change)


def _reads(name: str, zh: str, en: str, request: type[Request], reply: Any, run: Any) -> Operation:
    return Operation(name=name, zh=zh, en=en, request=request, reply=reply, roles=LOOKERS, run=run, reads_only=True, weak_token=True)


METER_OPERATIONS: Final = at_both(
    (
        _reads("inference.meters", "查看计量", "look at meters", MetersRequest, replies.MetersReply, meters),
        _reads("inference.statements", "查看对账单与账单", "look at statements and their invoice", StatementsRequest, replies.StatementsReply, statements),
        _reads("inference.erasures", "查看擦除收据", "look at erase receipts", ErasuresRequest, replies.ErasuresReply, erasures),
        Operation(
            name="inference.lease_file", zh="导出租约凭证", en="export a lease file", request=LeaseFileRequest, reply=replies.LeaseFileReply, roles=READERS, run=file,
            reads_only=True, weak_token=True,
        ),
        _reads("inference.costs", "查看成本", "look at costs", CostsRequest, replies.CostsReply, costs),
        Operation(
            name="inference.settle", zh="商定计量差异", en="settle a difference of meters", request=SettleRequest, reply=replies.SettledReply, roles=SETTLERS, run=settle,
            fresh_password=True, evidence=("inference.settle_proposed", "inference.settled"),
        ),
    )
)

__all__ = ["METER_OPERATIONS"]
