"""Correcting what the lists say about one customer (PIPL 46): the rows are written anew, the old values stay in evidence.

Document: docs/rights.md section 5. Promises: nothing is written unless every value can be read as an import would read it; the
old object's key is destroyed; target lists of the past stay as they were released.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from workbench.contracts import LearnsLists, Transaction
from workbench.domain.erasure import Customer
from workbench.domain.identifiers import normalise_risk_level, parse_id_no, parse_phone
from workbench.errors import InvalidRequest, NotFound, Refused
from workbench.flows.endings import RUNNING_STATES
from workbench.node.erasing import finds_customers
from workbench.store.frames import stage_frame

if TYPE_CHECKING:
    from workbench.host import Workbench

KEYS = frozenset({"phone", "id_no"})
LONGEST_VALUE = 200


@dataclass(frozen=True, slots=True)
class Correction:
    """What was done to one list. rows: of this customer. columns: those that really changed."""

    list_id: str
    rows: int
    columns: tuple[str, ...]


def correct(
    host: Workbench, customer: Customer, changes: Mapping[str, str], *, actor: str, case: str
) -> list[Correction]:
    """Write `changes` (column -> new value, "" for none) into every row of this customer, list by list.

    Raises Refused CORRECTION_VALUE, CORRECTION_COLUMN (no list of the customer has the column), CORRECTION_WAITS (a key while
    an intersection runs), NotFound NO_ROWS (no list has the customer). Safe to repeat: what is right already is left alone.
    """
    if not changes:
        raise InvalidRequest("请写明要更正的列和新值", "name the columns and their new values")
    wanted = {column: _read(host, column, text) for column, text in changes.items()}
    if KEYS & wanted.keys() and any(host.jobs.in_state(state) for state in sorted(RUNNING_STATES)):
        raise Refused(
            "有求交正在运行，手机号与证件号等它结束后再更正",
            "an intersection is running: correct a phone or identity number after it",
            code="CORRECTION_WAITS",
        )
    mine = []
    for info in host.lists.everything():
        try:
            frame = host.lists.frame(info.list_id)
        except NotFound:
            continue  # erased meanwhile
        mask = pl.Series(finds_customers(host).rows_named(frame, customer.names))
        if mask.any():
            mine.append((info.list_id, frame, mask))
    if not mine:
        raise NotFound("没有名单含有这位客户，没有可更正的", "no list has this customer: there is nothing to correct", code="NO_ROWS")
    unknown = [column for column in wanted if not any(column in frame.columns for _, frame, _ in mine)]
    if unknown:
        raise Refused(
            f"含有这位客户的名单没有这些列：{'、'.join(unknown)}，没有更正任何内容",
            f"no list of this customer has the columns {', '.join(unknown)}; nothing was corrected",
            code="CORRECTION_COLUMN",
        )
    done = [_rewrite(host, one, wanted, customer, actor=actor, case=case) for one in mine]
    return [one for one in done if one is not None]


def _read(host: Workbench, column: str, text: str) -> str | None:
    """The value as an import reads it; Refused CORRECTION_VALUE names the column, never the value."""
    cleaned = text.strip()
    try:
        if column == "customer_id" or len(cleaned) > LONGEST_VALUE:
            raise InvalidRequest("", "")
        if not cleaned:
            return None
        if column == "phone":
            return parse_phone(cleaned)
        if column == "id_no":
            return parse_id_no(cleaned, today=host.today())
        if column == "risk_level":
            level = normalise_risk_level(cleaned)
            if level.fault:
                raise InvalidRequest("", "")
            return level.value
        return cleaned
    except InvalidRequest:
        raise Refused(
            f"「{column}」的新值读不懂或不可更正，没有更正任何内容",
            f"the new value of {column} cannot be read, or this column is not corrected here; nothing was corrected",
            code="CORRECTION_VALUE",
        ) from None  # the cause is left out: it must not lead back to what was typed


def _rewrite(
    host: Workbench,
    one: tuple[str, pl.DataFrame, pl.Series],
    wanted: Mapping[str, str | None],
    customer: Customer,
    *,
    actor: str,
    case: str,
) -> Correction | None:
    list_id, frame, mask = one
    own = frame.filter(mask)
    differs = [
        column for column, value in wanted.items()
        if column in frame.columns and any(old != value for old in own[column].to_list())
    ]  # fmt: skip
    if not differs:
        return None
    corrected = frame.with_columns(
        pl.when(mask).then(pl.lit(wanted[column], pl.String)).otherwise(pl.col(column)).alias(column) for column in differs
    )
    was = {column: sorted({"" if value is None else value for value in own[column].to_list()}) for column in differs}
    now = {column: wanted[column] or "" for column in differs}
    registry, name = host.consent, f"list/{list_id}"
    with host.store.read() as reader:
        derived = host.vault.names(reader, f"{name}/")
    learned = registry.learn(corrected, list_id=list_id) if isinstance(registry, LearnsLists) else None
    draft = stage_frame(host.vault, name, corrected)
    values = {
        "list": list_id, "request": case, "rows": str(own.height), "columns": json.dumps(differs, ensure_ascii=False),
        "was": json.dumps(was, ensure_ascii=False, sort_keys=True), "now": json.dumps(now, ensure_ascii=False, sort_keys=True),
    }  # fmt: skip

    def change(tx: Transaction) -> None:
        for old in derived:
            host.vault.shred(tx, old)
        host.vault.adopt(tx, draft)
        if learned is not None:
            learned(tx)
        host.evidence.append(tx, "lists.corrected", values, actor=actor, subject=customer.names[0])

    try:
        host.store.write(change, timeout_s=300)
    except BaseException:
        host.vault.discard(draft)
        raise
    return Correction(list_id, own.height, tuple(differs))


__all__ = ["Correction", "correct"]
