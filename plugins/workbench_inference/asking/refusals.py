"""What is written down of a question that was never sent: refused by a rule, without a sandbox, or stopped while it waited."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from workbench.contracts import Transaction
from workbench.domain.party import Caller
from workbench.errors import Refused, WorkbenchError
from workbench_inference.asking import enclosing, house, keeping
from workbench_inference.asking.house import AskRow
from workbench_inference.asking.keeping import Kept
from workbench_inference.leasing.keys import LeasingHost
from workbench_inference.policy.customers import CustomerNames

if TYPE_CHECKING:
    from workbench_inference.asking.steps import Asked


def record(host: LeasingHost, customers: CustomerNames, caller: Caller, asked: Asked, error: WorkbenchError) -> None:
    """Entry, row and vault in one transaction; the error's details name the entry. Nothing for one that has ended already: it was stopped."""
    values = {
        "person": caller.person.token, "scenario": asked.scenario, "model": asked.model, "rule": error.details.get("rule", ""), "code": error.code,
        "channel": asked.channel, "credential": asked.credential,
    }  # fmt: skip

    kept: Kept | None = None
    state = "STOPPED" if error.code == "STOPPED" else "REFUSED"
    try:  # before the change: while that runs nobody else writes; and what cannot be redacted is refused and written down all the same
        with host.store.read() as reader:
            row = house.row_of(reader, asked.ask)
        if row is not None:  # it had been taken in: whoever asked reads why, beside the question with its labels
            kept = _unasked(host, customers, asked, row, error, state)
    except WorkbenchError as failure:
        host.log_fault(failure)

    def change(tx: Transaction) -> str:
        row = house.row_of(tx, asked.ask)
        if row is not None and row.state != "QUEUED":
            return ""
        ref = host.evidence.append(tx, "inference.ask_refused", values)
        if row is not None:
            house.ended(tx, asked.ask, state=state, code=error.code, at_ms=host.now_ms())
        if row is not None and kept is not None:
            keeping.put(host, tx, asked.ask, replace(kept, entry=f"{ref.log}/{ref.index}"))
        return f"{ref.log}/{ref.index}"

    try:
        if entry := host.store.write(change):
            error.details["entry"] = entry
    except WorkbenchError as failure:
        host.log_fault(failure)


def _unasked(host: LeasingHost, customers: CustomerNames, asked: Asked, row: AskRow, error: WorkbenchError, state: str) -> Kept:
    """Of a question that was taken in and never sent."""
    redacted, _ = enclosing.redacted(asked.question, (), customers.now())
    return Kept(
        question=redacted.text, tiles=keeping.tiles_in(redacted.text, redacted), scenario=row.scenario, template=row.template, model=row.model, lease="",
        sandbox="", watermark="", asked_ms=row.asked_ms, channel=asked.channel, steps=(), state=state, code=error.code,
        rule=error.details.get("rule", ""), zh=error.zh, en=error.en, where="before", ended_ms=host.now_ms(),
    )  # fmt: skip


def no_lease(model: str) -> Refused:
    """Nothing could be asked: no lease runs that takes this question."""
    what = f"「{model}」" if model else ""
    return Refused(
        f"没有可用的{what}租约，未提问；请运维租用后再问", f"no lease{' of ' + model if model else ''} takes questions now, nothing was asked; operators order one",
        code="NO_LEASE",
    )  # fmt: skip


__all__ = ["no_lease", "record"]
