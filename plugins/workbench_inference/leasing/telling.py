"""From rows to the replies of operations: leases, ticks, statements, receipts, costs. Reads only. Document: docs/sandbox-design.md section 5."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from itertools import accumulate
from typing import Final

from workbench.clock import SHANGHAI, local_day
from workbench.domain.party import PartyId
from workbench_inference.leasing import keys, replies, rows, ticking
from workbench_inference.leasing.billing import Line as InvoiceLine
from workbench_inference.leasing.billing import amount_fen, budget_stage, card_minutes, compare_always_on, invoice, yuan
from workbench_inference.leasing.keys import LeasingHost, Reader
from workbench_inference.leasing.lease import ERASE_WITHIN_MS, State
from workbench_inference.leasing.rows import LeaseRow
from workbench_inference.leasing.spending import DAY_MS, budget, cost_of, spent
from workbench_sandbox.formats import reading
from workbench_sandbox.formats.erasing import parse_receipt
from workbench_sandbox.formats.metering import parse_statement, parse_tick

SOON_S: Final = 300


def lease_told(reader: Reader, row: LeaseRow, *, now_ms: int, ready: int, silent_s: int = 0) -> replies.LeaseTold:
    """One lease with its meters and receipts. silent_s: as in the reply."""
    value = rows.value(reader, row)
    ticks = reader.execute("SELECT body, signature FROM inference_tick WHERE lease = ? ORDER BY number DESC LIMIT 1", (row.lease,)).fetchone()
    total = parse_tick(_written(ticks[0], ticks[1]))[0].total_card_seconds if ticks else 0
    account = reader.execute("SELECT body FROM inference_statement WHERE lease = ?", (row.lease,)).fetchone()
    agreed = parse_statement(bytes(account[0])).agreed_card_seconds if account else ticking.spent_seconds(reader, row.lease)
    differing = int(reader.execute("SELECT count(*) FROM inference_tick WHERE lease = ? AND state = 'differs'", (row.lease,)).fetchone()[0])
    amount = cost_of(reader, row)
    image = reader.execute("SELECT manifest FROM inference_image WHERE id = ?", (row.order.image,)).fetchone()
    stage = budget_stage(amount, row.budget_fen)
    left = max(0, (row.until_ms - now_ms) // 1000) if row.state is State.RUNNING else 0
    return replies.LeaseTold(
        lease=row.lease, side=row.side, partner=row.partner, state=row.state.value, mode=row.order.mode, pool=row.order.pool, image=row.order.image,
        image_name=_name(bytes(image[0])) if image else "", cards=row.cards, most_cards=row.most_cards, ready=ready, from_ms=row.from_ms, until_ms=row.until_ms, left_s=left,
        started_ms=row.started_ms, ended_ms=row.ended_ms, cause=row.cause, code=row.code, assurance=row.order.assurance, policy=row.order.policy, keep=row.order.keep,
        card_seconds=total, agreed_card_seconds=agreed, differing=differing, fen_per_card_minute=row.price, amount_fen=amount, budget_fen=row.budget_fen, budget_stage=stage,
        receipts=len(value.erased), servers=len(value.erased | value.held), needs=_needs(row, differing, stage, left), silent_s=silent_s,
    )  # fmt: skip


def _needs(row: LeaseRow, differing: int, stage: str, left_s: int) -> str:
    if row.state is State.UNPROVEN:
        return "unproven"
    if row.state is State.REFUSED:
        return "refused"
    if differing:
        return "difference"
    if stage == "reached" or (stage == "near" and row.state is State.RUNNING):
        return "budget"
    return "ending" if row.state is State.RUNNING and left_s < SOON_S else ""


def tick_told(row: Sequence[object]) -> replies.TickTold:
    """A row of (body, signature, reply, state, reason, at_ms)."""
    body, signature, reply, state, reason, at_ms = row
    tick = parse_tick(_written(body, signature))[0]
    own = ticking.view_seconds(bytes(reply)) if state == "differs" else -1  # type: ignore[call-overload]  # a BLOB column
    counted = asdict(tick)
    del counted["previous"]
    return replies.TickTold(**counted, state=str(state), reason=str(reason), own_card_seconds=own, digest=tick.digest, at_ms=int(str(at_ms)))


def meters(reader: Reader, lease: str, *, before: int, limit: int) -> replies.MetersReply:
    """Ticks of a lease, the newest first. before: only those numbered below it, 0 for all."""
    found = reader.execute(
        "SELECT body, signature, reply, state, reason, at_ms FROM inference_tick WHERE lease = ? AND (? = 0 OR number < ?) ORDER BY number DESC LIMIT ?", (lease, before, before, limit)
    ).fetchall()
    count = int(reader.execute("SELECT count(*) FROM inference_tick WHERE lease = ?", (lease,)).fetchone()[0])
    differing = int(reader.execute("SELECT count(*) FROM inference_tick WHERE lease = ? AND state = 'differs'", (lease,)).fetchone()[0])
    last = ticking.last_tick(reader, lease)
    return replies.MetersReply(
        ticks=[tick_told(tuple(one)) for one in found], count=count, card_seconds=last.total_card_seconds if last else 0, agreed_card_seconds=ticking.spent_seconds(reader, lease),
        differing=differing,
    )  # fmt: skip


def statements(reader: Reader, *, month: str) -> replies.StatementsReply:
    """Statements of leases that began in a month, and the invoice over them."""
    found = reader.execute("SELECT lease, body, agreed, settled_seconds, proposed_by, reason FROM inference_statement ORDER BY lease DESC").fetchall()
    told: list[replies.StatementTold] = []
    lines: list[InvoiceLine] = []
    for lease, body, agreed, settled, proposed_by, reason in found:
        row = rows.get(reader, str(lease))
        if f"{local_day(row.from_ms):%Y-%m}" != month:
            continue
        account = parse_statement(bytes(body))
        seconds = int(settled) if int(settled) >= 0 else account.agreed_card_seconds
        amount = amount_fen(seconds, account.fen_per_card_minute)
        lines.append(InvoiceLine(row.lease, seconds, account.fen_per_card_minute, amount))
        waits = not agreed and int(settled) < 0
        told.append(
            replies.StatementTold(
                lease=row.lease, partner=row.partner, ended_ms=row.ended_ms, ticks=account.ticks, root=account.root, card_seconds=account.card_seconds,
                agreed_card_seconds=account.agreed_card_seconds, settled_card_seconds=int(settled), fen_per_card_minute=account.fen_per_card_minute, amount_fen=amount,
                agreed=bool(agreed), differences=str(reason).split() if waits and not proposed_by else [], proposed_by=(str(proposed_by).split() or [""])[0], reason=str(reason) if proposed_by else "",
                proposed_card_seconds=int(str(proposed_by).split()[1]) if proposed_by else -1,
            )
        )  # fmt: skip
    made = invoice(lines)
    return replies.StatementsReply(
        month=month, statements=told, card_seconds=made.card_seconds, card_minutes=card_minutes(made.card_seconds), amount_fen=made.amount_fen, amount_yuan=yuan(made.amount_fen),
        open=sum(not one.agreed and one.settled_card_seconds < 0 for one in told),
    )  # fmt: skip


def erasures(reader: Reader, host: LeasingHost, *, lease: str, limit: int) -> list[replies.ErasureTold]:
    """Receipts, the newest first, those that are waited for before them. lease: "" for all."""
    made: list[replies.ErasureTold] = []
    now = host.now_ms()
    for row in rows.listed(reader, states=[State.RELEASING, State.UNPROVEN]):
        if lease in ("", row.lease):
            late = now - row.ended_ms >= ERASE_WITHIN_MS
            value = rows.value(reader, row)
            made += [
                replies.ErasureTold(
                    lease=row.lease, server=server, sandboxes=[], state="missing", reason=row.cause, began_ms=0, ended_ms=0, assurance=row.order.assurance, checks=[], kept=[], digest="",
                    received_ms=0, since_ms=row.ended_ms,
                )
                for server in sorted(value.held - value.residue) if late or row.state is State.RELEASING
            ]  # fmt: skip
    found = reader.execute(
        "SELECT receipt, received_ms FROM inference_erasure WHERE ? IN ('', lease) ORDER BY received_ms DESC, server LIMIT ?", (lease, limit)
    ).fetchall()
    return made + [erasure_told(bytes(one[0]), int(one[1])) for one in found]


def erasure_told(written: bytes, received_ms: int) -> replies.ErasureTold:
    """A receipt as written."""
    receipt, _, _ = parse_receipt(written)
    return replies.ErasureTold(
        lease=receipt.lease, server=receipt.server, sandboxes=list(receipt.sandboxes), state="clean" if receipt.clean else "residue", reason=receipt.reason,
        began_ms=receipt.began_ms, ended_ms=receipt.ended_ms, assurance=receipt.assurance,
        checks=[replies.CheckTold(name=one.name, found=one.found, how=one.how) for one in receipt.checks], kept=list(receipt.kept), digest=receipt.digest,
        received_ms=received_ms, since_ms=0,
    )  # fmt: skip


def costs(reader: Reader, host: LeasingHost, *, days: int, side: str) -> replies.CostsReply:
    """What the last days cost beside each day's most cards running around the clock; of today only as much as has passed, of the very
    first day of leasing only what came after its first lease began."""
    today = local_day(host.now_ms())
    first = today - timedelta(days=days - 1)
    found = [one for one in rows.listed(reader) if one.side == side and first <= local_day(one.from_ms) <= today and one.started_ms]
    ever = int(reader.execute("SELECT coalesce(min(started_ms), 0) FROM inference_lease WHERE side = ? AND started_ms > 0", (side,)).fetchone()[0])
    told: list[replies.CostTold] = []
    for day in (first + timedelta(days=number) for number in range(days)):
        mine = [one for one in found if local_day(one.from_ms) == day]
        told.append(_cost_of_day(reader, day, mine, ever_ms=ever, now_ms=host.now_ms()))
    amount, always = sum(one.amount_fen for one in told), sum(one.always_fen for one in told)
    asks = sum(one.asks for one in told)
    _, month = spent(reader, host, side=side)
    budget_fen = budget(reader, host) if side == rows.TENANT else 0
    return replies.CostsReply(
        from_ms=host.now_ms() - days * DAY_MS, until_ms=host.now_ms(), days=told, card_seconds=sum(one.card_seconds for one in told), amount_fen=amount, always_fen=always,
        saved_permille=(always - amount) * 1000 // always if always > 0 else 0, budget_fen=budget_fen, budget_stage=budget_stage(month, budget_fen),
        fen_per_ask=amount // asks if asks else 0,
    )  # fmt: skip


def passed(day: date, now_ms: int) -> tuple[int, int]:
    """(from_ms, until_ms) of a day of Shanghai, as far as it has passed."""
    begins, ends = (int(datetime.combine(one, time.min, SHANGHAI).timestamp() * 1000) for one in (day, day + timedelta(days=1)))
    return begins, max(begins, min(ends, now_ms))


def most_at_once(spans: Iterable[tuple[int, int, int]]) -> int:
    """The most cards that ran beside each other. spans: (from_ms, until_ms, cards), ends exclusive."""
    changes = sorted(one for start, stop, cards in spans for one in ((start, cards), (stop, -cards)))
    return max(accumulate(cards for _, cards in changes), default=0)


def _cost_of_day(reader: Reader, day: date, mine: Sequence[LeaseRow], *, ever_ms: int, now_ms: int) -> replies.CostTold:
    seconds = amount = asks = 0
    spans: list[tuple[int, int, int]] = []
    price = max((one.price for one in mine), default=0)
    for row in mine:
        ticks = ticking.answered(reader, row.lease)
        seconds += sum(one.agreed_card_seconds for one in ticks)
        amount += cost_of(reader, row)
        asks += sum(one.tick.asks for one in ticks)
        spans += [(row.started_ms + 1000 * one.tick.from_s, row.started_ms + 1000 * one.tick.to_s, one.tick.cards) for one in ticks]
    most = most_at_once(spans)
    from_ms, until_ms = passed(day, now_ms)
    from_ms = min(max(from_ms, ever_ms), until_ms)
    compared = compare_always_on(card_seconds=seconds, amount=amount, from_ms=from_ms, until_ms=until_ms, peak_cards=most, fen_per_card_minute=price)
    return replies.CostTold(day=f"{day:%Y-%m-%d}", card_seconds=seconds, amount_fen=amount, always_fen=compared.always_fen, asks=asks, most_cards=most)


def last_night(reader: Reader, *, side: str, now_ms: int) -> tuple[int, int]:
    """(servers erased, with a clean receipt) of leases that ended within the last 24 hours because their time was over."""
    erased = clean = 0
    for row in rows.listed(reader, since_ms=now_ms - DAY_MS):
        if row.side == side and row.ended_ms and row.cause == "lease-ended":
            value = rows.value(reader, row)
            erased += len(value.erased | value.held)
            clean += len(value.erased)
    return erased, clean


def contract_key(host: LeasingHost, party: PartyId) -> str:
    """The pinned contract key of an institution, `04` and 128 hex: what `workbench erase verify` is told."""
    return str(host.pinned_keys(party).contract.format())


def service_key(reader: Reader, party: PartyId) -> replies.ServiceKeyReply:
    """The newest service key of an institution as kept here."""
    found = keys.newest(reader, party)
    value = keys.require_known(reader, party)
    return replies.ServiceKeyReply(party=party, number=found[0] if found else 0, digest=value.digest, from_ms=value.from_ms, until_ms=value.until_ms)


def _name(manifest: bytes) -> str:
    if not manifest:
        return ""
    body = reading.read(manifest, ("tenant", "name", "version", "engine", "files", "runtime", "limits", "licences", "made_ms"), "sandbox-image", most=1 << 20)
    return f"{body['name']} {body['version']}"


def _written(body: object, signature: object) -> bytes:
    raw = bytes(body)  # type: ignore[call-overload]  # a BLOB column
    return len(raw).to_bytes(4, "big") + raw + bytes(signature)  # type: ignore[call-overload, no-any-return]  # a BLOB column


__all__ = [
    "contract_key", "costs", "erasure_told", "erasures", "last_night", "lease_told", "meters", "passed", "service_key", "statements", "tick_told",
]  # fmt: skip
