"""Leases, their sandboxes and receipts as rows, and the state of a lease read from them. Document: docs/sandbox-design.md section 5."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from workbench.contracts import Transaction
from workbench.domain.party import PartyId
from workbench.errors import NotFound
from workbench_inference.leasing.keys import Reader
from workbench_inference.leasing.lease import Lease, State, takes_asks
from workbench_sandbox.formats.order import Order, format_order, parse_order

TENANT, PROVIDER = "tenant", "provider"
LIVE = (State.ORDERED, State.RUNNING)
OPEN = (*LIVE, State.RELEASING, State.UNPROVEN)

_COLUMNS = (
    "lease, side, partner, state, cards, most_cards, from_ms, until_ms, order_body, letter, price, budget_fen, role, started_ms, ended_ms, cause, code"
)


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease as it is kept. order: as it was sent; cards, until_ms: as they stand; price: fen a card-minute; role: for which it was ordered."""

    lease: str
    side: str
    partner: PartyId
    state: State
    cards: int
    most_cards: int
    from_ms: int
    until_ms: int
    order: Order = field(repr=False)
    letter: str
    price: int
    budget_fen: int
    role: str
    started_ms: int
    ended_ms: int
    cause: str
    code: str


def insert(tx: Transaction, order: Order, *, side: str, partner: PartyId, letter: str = "", role: str = "") -> None:
    """A new lease, ORDERED."""
    tx.execute(
        "INSERT INTO inference_lease (lease, side, partner, state, image, pool, mode, cards, most_cards, from_ms, until_ms, order_body, letter, price,"
        " budget_fen, role) VALUES (?, ?, ?, 'ORDERED', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            order.lease, side, partner, order.image, order.pool, order.mode, order.cards, order.most_cards, order.from_ms, order.until_ms, format_order(order),
            letter, order.tariff.fen_per_card_minute, order.tariff.budget_fen, role,
        ),
    )  # fmt: skip


def find(reader: Reader, lease: str) -> LeaseRow | None:
    """The lease, None where there is none."""
    row = reader.execute(f"SELECT {_COLUMNS} FROM inference_lease WHERE lease = ?", (lease,)).fetchone()
    return _row(row) if row else None


def get(reader: Reader, lease: str) -> LeaseRow:
    """As `find`; NotFound NO_LEASE."""
    found = find(reader, lease)
    if found is None:
        raise NotFound(f"没有租约「{lease}」", f"There is no lease {lease}", code="NO_LEASE")
    return found


def listed(reader: Reader, *, states: Sequence[str] = (), limit: int = -1, since_ms: int = 0) -> list[LeaseRow]:
    """Leases, the newest start first. limit: -1 for all, as sums need them; since_ms: those that had not ended by then."""
    where = f"AND state IN ({', '.join('?' * len(states))})" if states else ""
    rows = reader.execute(
        f"SELECT {_COLUMNS} FROM inference_lease WHERE (ended_ms = 0 OR ended_ms >= ?) {where} ORDER BY from_ms DESC, lease DESC LIMIT ?", (since_ms, *states, limit)
    ).fetchall()
    return [_row(one) for one in rows]


def taking(reader: Reader, model_of: Callable[[LeaseRow], str], *, now_ms: int) -> dict[str, LeaseRow]:
    """Of each model the tenant's lease that questions go to: running, not about to end, and of several the one that ends last."""
    running = sorted((one for one in listed(reader, states=[State.RUNNING]) if one.side == TENANT), key=lambda one: (one.until_ms, one.lease))
    return {model_of(one): one for one in running if takes_asks(value(reader, one), now_ms=now_ms)}


def value(reader: Reader, row: LeaseRow, *, accepted: bool = True) -> Lease:
    """What the state table works on. accepted: whether the order was acknowledged; a provider's always was."""
    starts = reader.execute("SELECT server, max(started_ms) FROM inference_sandbox WHERE lease = ? GROUP BY server", (row.lease,)).fetchall()
    receipts = reader.execute("SELECT server, clean, max(received_ms) FROM inference_erasure WHERE lease = ? GROUP BY server, clean", (row.lease,)).fetchall()
    clean = {str(one[0]): int(one[2]) for one in receipts if one[1]}
    unclean = {str(one[0]): int(one[2]) for one in receipts if not one[1]}
    erased = frozenset(server for server, started in ((str(one[0]), int(one[1])) for one in starts) if clean.get(server, -1) >= started)
    held = frozenset(str(one[0]) for one in starts) - erased
    number = reader.execute("SELECT coalesce(max(number), 0) FROM inference_change WHERE lease = ? AND at_s >= 0", (row.lease,)).fetchone()[0]
    return Lease(
        row.lease, cards=row.cards, most_cards=row.most_cards, from_ms=row.from_ms, until_ms=row.until_ms, state=row.state, accepted=accepted, number=int(number),
        held=held, erased=erased, residue=frozenset(server for server in held if server in unclean), is_certain=row.side == PROVIDER, started_ms=row.started_ms, ended_ms=row.ended_ms, cause=row.cause,
    )  # fmt: skip


def save(tx: Transaction, lease: Lease, *, code: str = "") -> None:
    """Write down where a lease stands."""
    tx.execute(
        "UPDATE inference_lease SET state = ?, cards = ?, from_ms = ?, until_ms = ?, started_ms = ?, ended_ms = ?, cause = ?, code = CASE WHEN ? <> '' THEN ? ELSE code END"
        " WHERE lease = ?",
        (lease.state.value, lease.cards, lease.from_ms, lease.until_ms, lease.started_ms, lease.ended_ms, lease.cause, code, code, lease.lease),
    )


def sandbox_seen(tx: Transaction, *, sandbox: str, lease: str, server: str, at_ms: int) -> None:
    """A sandbox that holds a card of this lease; seen again, nothing changes."""
    tx.execute(
        "INSERT INTO inference_sandbox (sandbox, lease, server, started_ms) VALUES (?, ?, ?, ?) ON CONFLICT (sandbox) DO NOTHING", (sandbox, lease, server, at_ms)
    )


def evidence_kept(
    tx: Transaction, *, sandbox: str, lease: str, server: str, serial: int, statement: str, assurance: str, missing: Sequence[str], at_ms: int
) -> None:
    """What the last evidence document of a sandbox said, at either end. statement: SM3, hexadecimal; missing: controls not on."""
    sandbox_seen(tx, sandbox=sandbox, lease=lease, server=server, at_ms=at_ms)
    tx.execute(
        "UPDATE inference_sandbox SET serial = ?, statement = ?, assurance = ?, missing = ? WHERE sandbox = ? AND lease = ?",
        (serial, statement, assurance, " ".join(missing), sandbox, lease),
    )


def sandbox_ended(tx: Transaction, sandbox: str, *, cause: str, at_ms: int) -> bool:
    """Whether it had not ended before."""
    return tx.execute("UPDATE inference_sandbox SET ended_ms = ?, cause = ? WHERE sandbox = ? AND ended_ms = 0", (at_ms, cause, sandbox)).rowcount == 1


def parties(row: LeaseRow, own: PartyId) -> dict[str, str]:
    """The two shared fields of every entry about a lease: tenant first."""
    return {"initiator": own, "partner": row.partner} if row.side == TENANT else {"initiator": row.partner, "partner": own}


@lru_cache(maxsize=64)
def _order(body: bytes) -> Order:
    """An order never changes: it is read from its bytes once, not before each question and each call for frames."""
    return parse_order(body)


def _row(row: Sequence[Any]) -> LeaseRow:  # Any: a row of the database
    lease, side, partner, state, cards, most, begins, until, order, letter, price, budget, role, started, ended, cause, code = row
    return LeaseRow(
        str(lease), str(side), PartyId(str(partner)), State(state), int(cards), int(most), int(begins), int(until), _order(bytes(order)), str(letter), int(price),
        int(budget), str(role), int(started), int(ended), str(cause), str(code),
    )  # fmt: skip


__all__ = [
    "LIVE", "OPEN", "PROVIDER", "TENANT", "LeaseRow", "evidence_kept", "find", "get", "insert", "listed", "parties", "sandbox_ended", "sandbox_seen", "save", "taking", "value",
]  # fmt: skip
