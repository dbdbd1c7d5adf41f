"""Which grants of a list end when, and whom to ask again: what compliance plans renewals with. docs/consent.md section 12.

Everything rests on the one decision of the registry; nothing is decided here. Months and days are those of Asia/Shanghai.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field as Bounded

from workbench.contracts import ConsentRegistry, GrantQuery, OperationContext, Transaction
from workbench.crypto import sm3
from workbench.domain.evidence import EvidenceKind, Field, Visibility
from workbench.domain.intersection import KeyKind
from workbench.domain.party import PartyId, Role
from workbench.intake import neutralise_cells
from workbench.operations import Operation, Reply, Request
from workbench_consent.grants import Reason
from workbench_consent.registry import Registry, counts_of

BEIJING: Final = ZoneInfo("Asia/Shanghai")
DAY_MS: Final = 86_400_000
SOON_DAYS: Final = (30, 90)
ASKED_AGAIN: Final = (Reason.EXPIRED, Reason.STALE, Reason.CATEGORY_MISMATCH, Reason.CHANNEL_MISMATCH, Reason.USED_UP)
"""Reasons that a new form would mend, besides grants that end soon. Who withdrew or is kept out is never asked."""

EVIDENCE_KINDS = (
    EvidenceKind(
        "consent.renewals_listed",
        (
            Field("list", Visibility.COMMITTED, "名单", "list"),
            Field("purpose", Visibility.COMMITTED, "用途", "purpose"),
            Field("recipient", Visibility.COMMITTED, "接收方", "recipient"),
            Field("within_days", Visibility.COMMITTED, "到期天数以内", "ending within", "d"),
            Field("customers", Visibility.COMMITTED, "需再次征求的客户数", "customers to ask again", "1"),
        ),
        "列出需要续签授权的客户",
        "customers whose consent is to be renewed were listed",
    ),
    EvidenceKind(
        "consent.status_exported",
        (
            Field("list", Visibility.COMMITTED, "名单", "list"),
            Field("purpose", Visibility.COMMITTED, "用途", "purpose"),
            Field("recipient", Visibility.COMMITTED, "接收方", "recipient"),
            Field("customers", Visibility.COMMITTED, "客户数", "customers", "1"),
            Field("as_of", Visibility.COMMITTED, "依据的授权事件", "consent event it rests on"),
            Field("file_sm3", Visibility.COMMITTED, "文件的 SM3", "SM3 of the file"),
        ),
        "导出一份名单的授权状态",
        "the consent status of a list was exported",
    ),
)


@dataclass(frozen=True, slots=True)
class Ends:
    """When the consent of usable customers ends: months as "2026-12" -> customers, and how many end soon."""

    months: dict[str, int]
    later: int
    within: dict[int, int]


class OutlookRequest(Request):
    """list_id: of a customer list; key_kind: the identifier that would be compared; months: shown one by one."""

    list_id: str
    key_kind: KeyKind = KeyKind.PHONE
    recipient: str = ""
    months: int = Bounded(default=12, ge=1, le=36)


class MonthEnds(Reply):
    """month: "2026-12" in Asia/Shanghai; customers: whose consent ends in it."""

    month: str
    customers: int


class Outlook(Reply):
    """usable = the sum of `months` and `later`. within_30, within_90: days from now; part of the same customers."""

    purpose: str
    recipient: str
    usable: int
    within_30: int
    within_90: int
    months: list[MonthEnds]
    later: int


class OutlookReply(Reply):
    """rows: purpose by purpose and recipient by recipient."""

    customers: int
    at_ms: int
    as_of: int
    rows: list[Outlook]


class RenewalsRequest(Request):
    """within_days: grants that end within so many days; 0 for ended ones only."""

    list_id: str
    purpose: str
    recipient: str
    key_kind: KeyKind = KeyKind.PHONE
    within_days: int = Bounded(default=90, ge=0, le=1100)


class RenewalsReply(Reply):
    """expired: customers whose consent ended, went stale or is used up; ending: those whose consent ends soon; download: CSV with customer_id, reason, ends_on; "" when nobody is to be asked."""

    expired: int
    ending: int
    download: str


class StatusRequest(Request):
    """The customers of a list for whom a grant speaks, one by one."""

    list_id: str
    purpose: str
    recipient: str
    key_kind: KeyKind = KeyKind.PHONE


class StatusReply(Reply):
    """counts: reason code -> customers of the whole list, "OK" for those who may be used.

    download: CSV with customer_id, status, ends_on of those for whom a grant speaks; who never signed is counted only.
    """

    customers: int
    as_of: int
    counts: dict[str, int]
    download: str


def ends_of(until_ms: npt.NDArray[np.int64], at_ms: int, months: int) -> Ends:
    """Count the ends (exclusive, milliseconds) of usable customers by month of their last day. Pure.

    A grant until 2026-12-01T00:00 Asia/Shanghai has its last day, and so its month, in November.
    """
    starts = list(_month_starts(at_ms, months + 1))
    counts = np.searchsorted(np.array([ms for _, ms in starts[1:]], np.int64), until_ms - 1, side="right")
    found = np.bincount(counts, minlength=months + 1)
    return Ends(
        months={name: int(found[number]) for number, (name, _) in enumerate(starts[:-1])},
        later=int(found[months:].sum()),
        within={days: int((until_ms <= at_ms + days * DAY_MS).sum()) for days in SOON_DAYS},
    )


def _month_starts(at_ms: int, count: int) -> Iterator[tuple[str, int]]:
    day = datetime.fromtimestamp(at_ms / 1000, BEIJING).date().replace(day=1)
    for _ in range(count):
        yield f"{day:%Y-%m}", _start_of(day)
        day = day.replace(month=day.month + 1) if day.month < 12 else date(day.year + 1, 1, 1)


def _start_of(day: date) -> int:
    return round(datetime.combine(day, time(), BEIJING).astimezone(UTC).timestamp() * 1000)


def _last_day(until_ms: int) -> str:
    return datetime.fromtimestamp((until_ms - 1) / 1000, BEIJING).date().isoformat()


def _registry(ctx: OperationContext) -> Registry:
    provider: object = ctx.host.provider(ConsentRegistry)  # type: ignore[type-abstract]  # asked for by its Protocol
    if not isinstance(provider, Registry):
        raise TypeError("these operations belong to the registry of this plugin")
    return provider


def _outlook(ctx: OperationContext, request: OutlookRequest) -> OutlookReply:
    registry = _registry(ctx)
    customers = ctx.host.lists.frame(request.list_id)
    at_ms: int = ctx.host.now_ms()
    recipients = [PartyId(request.recipient)] if request.recipient else list(registry.recipients())
    rows: list[Outlook] = []
    as_of = 0
    for purpose in registry.purposes():
        for recipient in recipients:
            decision = registry.decide(customers, GrantQuery(purpose, recipient, at_ms, request.key_kind))
            ends = ends_of(decision.valid_until_ms[decision.usable], at_ms, request.months)
            as_of = decision.as_of
            rows.append(
                Outlook(
                    purpose=purpose,
                    recipient=recipient,
                    usable=int(decision.usable.sum()),
                    within_30=ends.within[30],
                    within_90=ends.within[90],
                    months=[MonthEnds(month=name, customers=count) for name, count in ends.months.items()],
                    later=ends.later,
                )
            )
    return OutlookReply(customers=customers.height, at_ms=at_ms, as_of=as_of, rows=rows)


def _renewals(ctx: OperationContext, request: RenewalsRequest) -> RenewalsReply:
    registry, host = _registry(ctx), ctx.host
    at_ms: int = host.now_ms()
    query = GrantQuery(request.purpose, PartyId(request.recipient), at_ms, request.key_kind)
    customers = host.lists.frame(request.list_id)
    verdicts, state = registry.explain(customers, query)
    expired = np.isin(verdicts.reason, ASKED_AGAIN)
    usable = verdicts.reason == Reason.OK
    ending = usable & (verdicts.valid_until_ms <= at_ms + request.within_days * DAY_MS)
    chosen = np.flatnonzero(expired | ending)
    ends = np.where(usable[chosen], verdicts.valid_until_ms[chosen], state.grants.until_ms[verdicts.grant[chosen]])
    rows = pl.DataFrame(
        {
            "customer_id": neutralise_cells(customers["customer_id"].gather(chosen)),
            "reason": ["ENDING" if usable[row] else Reason(int(verdicts.reason[row])).code for row in chosen],
            "ends_on": [_last_day(int(one)) for one in ends],
        },
        schema={"customer_id": pl.String, "reason": pl.String, "ends_on": pl.String},
    )
    data = b"\xef\xbb\xbf" + rows.write_csv(line_terminator="\r\n").encode()
    values = {
        "list": request.list_id,
        "purpose": query.purpose,
        "recipient": query.recipient,
        "within_days": str(request.within_days),
        "customers": str(len(chosen)),
    }

    def change(tx: Transaction) -> str:
        host.evidence.append(tx, "consent.renewals_listed", values, actor=ctx.caller.person.token)
        return str(host.downloads.offer(tx, ctx.caller, "renewals.csv", data)) if len(chosen) else ""

    return RenewalsReply(expired=int(expired.sum()), ending=int(ending.sum()), download=host.store.write(change))


def _status(ctx: OperationContext, request: StatusRequest) -> StatusReply:
    registry, host = _registry(ctx), ctx.host
    query = GrantQuery(request.purpose, PartyId(request.recipient), host.now_ms(), request.key_kind)
    customers = host.lists.frame(request.list_id)
    verdicts, state = registry.explain(customers, query)
    known = np.flatnonzero(verdicts.grant >= 0)  # who never signed anything is counted, and in no file
    usable = verdicts.reason[known] == Reason.OK
    last_ms = pl.Series("ends_on", verdicts.valid_until_ms[known] - 1, pl.Int64)
    day = last_ms.cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone("Asia/Shanghai").dt.strftime("%Y-%m-%d")
    rows = pl.DataFrame(
        {
            "customer_id": neutralise_cells(customers["customer_id"].gather(known)),
            "status": pl.Series([Reason(int(one)).code or "OK" for one in verdicts.reason[known]], dtype=pl.String),
            "ends_on": day,
        }
    ).with_columns(ends_on=pl.when(pl.Series(usable, dtype=pl.Boolean)).then(pl.col("ends_on")))
    data = b"\xef\xbb\xbf" + rows.write_csv(line_terminator="\r\n").encode()
    values = {
        "list": request.list_id, "purpose": query.purpose, "recipient": query.recipient, "customers": str(rows.height),
        "as_of": str(state.seq), "file_sm3": sm3.digest(data).hex(),
    }  # fmt: skip

    def change(tx: Transaction) -> str:
        host.evidence.append(tx, "consent.status_exported", values, actor=ctx.caller.person.token)
        return str(host.downloads.offer(tx, ctx.caller, "consent-status.csv", data))

    counts = {code or "OK": count for code, count in counts_of(verdicts).items()}
    return StatusReply(customers=customers.height, as_of=state.seq, counts=counts, download=host.store.write(change))


OPERATIONS = (
    Operation(
        name="consent.export_status", zh="导出一份名单的授权状态", en="export the consent status of a list", request=StatusRequest,
        reply=StatusReply, roles=frozenset({Role.COMPLIANCE}), run=_status, evidence=("consent.status_exported",),
    ),
    Operation(
        name="consent.outlook", zh="查看授权到期预测", en="read when consents end", request=OutlookRequest,
        reply=OutlookReply, roles=frozenset({Role.MARKETING, Role.APPROVER, Role.COMPLIANCE, Role.AUDITOR}),
        run=_outlook, weak_token=True, reads_only=True,
    ),
    Operation(
        name="consent.renewals", zh="列出需要续签的客户", en="list customers to ask again", request=RenewalsRequest,
        reply=RenewalsReply, roles=frozenset({Role.COMPLIANCE}), run=_renewals, evidence=("consent.renewals_listed",),
    ),
)  # fmt: skip
