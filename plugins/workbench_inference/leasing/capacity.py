"""What a provider has and takes orders for: servers, freeze windows, price; and the body of a receipt. docs/protocols/sandbox.md sections 4, 9, 10."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from workbench.errors import Refused, VerificationError
from workbench_inference.leasing import rows
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.servers import Server, ServerStage, fits
from workbench_sandbox.formats import reading, relay
from workbench_sandbox.formats.erasing import Check, Receipt
from workbench_sandbox.formats.order import Order
from workbench_sandbox.server.contract import Looked

DEMONSTRATION_FEN: Final = 30
"""Price of a card-minute where nobody has set one, in a demonstration or test; in production an order is refused then."""

_V = TypeVar("_V")


def judge(reader: Reader, host: LeasingHost, order: Order, *, assurance: Sequence[str]) -> None:
    """Raise Refused with the code of section 4 for an order that cannot be taken."""
    now = host.now_ms()
    if order.until_ms <= now:
        raise Refused("租期已过", "the time of this lease is over", code="NO_CAPACITY")
    if reading.ASSURANCES.index(order.assurance) > max(reading.ASSURANCES.index(one) for one in assurance):
        raise Refused(f"本机构没有「{order.assurance}」级别的隔离", f"no isolation of level {order.assurance} is to be had here", code="ASSURANCE_TOO_LOW")
    price = tariff(reader, host)
    if price is None or order.tariff.fen_per_card_minute != price:
        raise Refused("单价与现行价目不符，请按新报价重订", "the price is not the one of today; order at the one that is offered", code="TARIFF_DIFFERS")
    if any(start < order.until_ms and order.from_ms < stop for start, stop in freezes(reader, now)):
        raise Refused("租期碰到冻结窗口，请另选时间", "the time of this lease meets a freeze window; choose another", code="FREEZE_WINDOW")
    if cards_left(reader, order.tenant, order.pool, order.from_ms, order.until_ms) < order.cards:
        raise Refused("该时段的卡不够，请减少或另选时间", "there are not so many cards at that time; take fewer or another time", code="NO_CAPACITY")
    if getattr(host.store, "room_is_short", False) is True:
        raise Refused("算力方磁盘空间不足，暂不出租", "the provider is short of room and leases nothing for now", code="NO_CAPACITY")


def cards_left(reader: Reader, tenant: str, pool: str, from_ms: int, until_ms: int) -> int:
    """Cards of a pool that no other lease of that time has."""
    every = [one for one in known_servers(reader) if fits(one, tenant=tenant, pool=pool)]
    others = [one for one in rows.listed(reader, states=rows.LIVE) if one.order.pool == pool and one.from_ms < until_ms and from_ms < one.until_ms]
    taken = sum(one.cards for one in others if pool == "shared" or one.partner == tenant)
    return max(0, len(every) - taken)



def receipt_of(host: LeasingHost, row: LeaseRow, looked: Looked, *, sandboxes: Sequence[str]) -> Receipt:
    """The receipt's body from what was found."""
    kept = (f"images/{row.order.image}",) if row.order.keep else ()
    reason = looked.reason if looked.reason in relay.CAUSES else "operator"
    return Receipt(
        host.party, row.partner, row.lease, looked.server, tuple(sandboxes), reason, looked.began_ms, looked.ended_ms, looked.assurance,
        tuple(Check(one.name, one.found, one.how) for one in looked.checks), kept,
    )  # fmt: skip


def known_servers(reader: Reader) -> list[Server]:
    """Every server as it was last seen, by name."""
    found = reader.execute("SELECT server, state, dedicated, image, lease, is_drained FROM inference_server ORDER BY server").fetchall()
    return [Server(str(one[0]), ServerStage(str(one[1])), str(one[2]), str(one[3]), str(one[4]), "", bool(one[5])) for one in found]


def freezes(reader: Reader, now_ms: int) -> list[tuple[int, int]]:
    """Stretches in which nothing new is leased, that are not over."""
    found = reader.execute("SELECT from_ms, until_ms FROM inference_freeze WHERE removed_ms = 0 AND until_ms > ? ORDER BY from_ms", (now_ms,)).fetchall()
    return [(int(one[0]), int(one[1])) for one in found]


def tariff(reader: Reader, host: LeasingHost) -> int | None:
    """Fen a card-minute for orders of now; None where a production workspace has none."""
    row = reader.execute("SELECT fen_per_card_minute FROM inference_tariff ORDER BY since_ms DESC LIMIT 1").fetchone()
    return int(row[0]) if row else None if host.kind == "production" else DEMONSTRATION_FEN


def parsed(parse: Callable[[], _V]) -> _V:
    """What a letter says; one that is malformed is refused for good."""
    try:
        return parse()
    except VerificationError as error:
        raise Refused(error.zh, error.en, code=error.code) from error


__all__ = ["DEMONSTRATION_FEN", "cards_left", "freezes", "judge", "known_servers", "parsed", "receipt_of", "tariff"]
