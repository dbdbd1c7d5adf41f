"""How a lease is closed at the provider: receipts, the statement of account, what goes from the volume. docs/protocols/sandbox.md sections 9 and 10."""

from __future__ import annotations

from typing import Final

from workbench.contracts import Transaction
from workbench_inference.leasing import capacity, images, keys, rows, ticking
from workbench_inference.leasing.keys import LeasingHost
from workbench_inference.leasing.lease import ERASE_WITHIN_MS, Receipt, State, next_state
from workbench_inference.leasing.metering import account
from workbench_inference.leasing.rows import LeaseRow
from workbench_sandbox.formats import reading, relay
from workbench_sandbox.formats.erasing import sign_receipt
from workbench_sandbox.formats.metering import format_statement, parse_statement_answer
from workbench_sandbox.server.contract import Looked

ERASED: Final = "inference.erased"
STATEMENT: Final = "inference.statement"


def receipted(host: LeasingHost, looked: Looked, *, lease: str = "", reaped: bool = False) -> None:
    """Sign what was found: receipt, entry, letter and state in one transaction. Nothing for a server that owes this lease none."""

    def change(tx: Transaction) -> LeaseRow | None:
        row = rows.find(tx, lease or looked.lease)
        if row is None or row.side != rows.PROVIDER:
            return None
        value = rows.value(tx, row)
        if looked.server not in value.held:
            return None
        key, service = keys.own(tx, host)
        ran = [str(one[0]) for one in tx.execute("SELECT sandbox FROM inference_sandbox WHERE lease = ? AND server = ?", (row.lease, looked.server))]
        body = capacity.receipt_of(host, row, looked, sandboxes=sorted({*ran, *looked.sandboxes}))
        written = sign_receipt(body, key=key, service=service)
        began = tx.execute("SELECT max(started_ms) FROM inference_sandbox WHERE lease = ? AND server = ?", (row.lease, looked.server)).fetchone()[0]
        at_ms = max(host.now_ms(), int(began))  # a receipt of the same millisecond as the start must count as later
        tx.execute(
            "INSERT OR REPLACE INTO inference_erasure (lease, server, receipt, clean, received_ms) VALUES (?, ?, ?, ?, ?)",
            (row.lease, looked.server, written, int(body.clean), at_ms),
        )
        both = rows.parties(row, host.party)
        for sandbox in ran:
            rows.sandbox_ended(tx, sandbox, cause=looked.reason if looked.reason in relay.CAUSES else "operator", at_ms=host.now_ms())
        if reaped:
            host.evidence.append(tx, "inference.reaped", {**both, "server": looked.server, "sandboxes": " ".join(body.sandboxes), "cause": body.reason}, job=row.lease)
        values = {"server": looked.server, "receipt": body.digest, "clean": "true" if body.clean else "false", "reason": body.reason}
        values["checks"] = " ".join(f"{one.name}={one.found}" for one in body.checks)
        host.evidence.append(tx, "inference.erased", both | values, job=row.lease)
        host.letters.post(tx, to=row.partner, kind=ERASED, body=written, job=row.lease)
        rows.save(tx, next_state(value, Receipt(looked.server, body.clean), now_ms=host.now_ms()))
        return rows.get(tx, row.lease)

    after = host.store.write(change)
    keys.send_now(host)
    if after is not None and after.state is State.ERASED and not after.order.keep:
        _clear_volume(host, after)


def settle(host: LeasingHost, row: LeaseRow) -> bool:
    """The statement of account, once the last tick is answered or nobody answers any more; whether it was made now."""
    with host.store.read() as reader:
        if reader.execute("SELECT 1 FROM inference_statement WHERE lease = ?", (row.lease,)).fetchone() or rows.get(reader, row.lease).started_ms == 0:
            return False
        waiting = ticking.unanswered(reader, row.lease)
        found = ticking.answered(reader, row.lease)
    if waiting and host.now_ms() - row.ended_ms < ERASE_WITHIN_MS:
        return False
    made = account(row.lease, found, fen_per_card_minute=row.price)

    def change(tx: Transaction) -> None:
        if tx.execute("SELECT 1 FROM inference_statement WHERE lease = ?", (row.lease,)).fetchone():
            return
        ticking.close_entries(tx, host, row.lease)
        body = format_statement(made)
        tx.execute("INSERT INTO inference_statement (lease, body, amount_fen) VALUES (?, ?, ?)", (row.lease, body, made.amount_fen))
        values = {"card_seconds": str(made.card_seconds), "agreed": str(made.agreed_card_seconds), "statement": reading.digest(body), "amount": str(made.amount_fen)}
        host.evidence.append(tx, "inference.statement", {**rows.parties(row, host.party), **values, "price": str(row.price)}, job=row.lease)
        host.letters.post(tx, to=row.partner, kind=STATEMENT, body=body, job=row.lease)

    host.store.write(change)
    keys.send_now(host)
    return True


def _clear_volume(host: LeasingHost, row: LeaseRow) -> None:
    """Image and sealed files of an order that keeps nothing, unless another lease of the tenant has them."""
    with host.store.read() as reader:
        others = [one for one in rows.listed(reader, states=rows.OPEN) if one.side == rows.PROVIDER and one.partner == row.partner and one.lease != row.lease]
    if all(one.order.image != row.order.image for one in others):
        images.drop_files(host, row.partner, row.order.image)
        host.store.write(lambda tx: images.forget(tx, row.order.image))
    if not others:
        images.drop_corpora(host, row.partner)


def statement_answered(tx: Transaction, lease: str, answer: bytes, code: str) -> None:
    """What the tenant says of a statement: agreed, or in which members it differs."""
    found = [code] if code else list(parse_statement_answer(answer))
    tx.execute("UPDATE inference_statement SET agreed = ?, reason = CASE WHEN settled_seconds < 0 THEN ? ELSE reason END WHERE lease = ?", (int(not found), " ".join(found), lease))


__all__ = ["ERASED", "STATEMENT", "receipted", "settle", "statement_answered"]
