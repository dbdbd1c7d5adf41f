"""Rows and sealed contents of rights requests and complaints; nothing is decided here. Document: docs/rights.md section 10."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from workbench.contracts import Transaction, Vault
from workbench.domain.erasure import Customer
from workbench.errors import NotFound, Refused
from workbench_rights.model import RequestState, RightsKind

Reader = sqlite3.Connection | Transaction

_COLUMNS = (
    "request, kind, state, channel, applicant, received_ms, due_day, due_ms, is_estimated, is_extended, method, identified_by,"
    " identified_ms, decided_by, decided_ms, decision, answered_ms, erasure, complaint, created_by"
)


class Keeper(Protocol):
    """What of a node is needed here: a Host, or the node itself."""

    @property
    def vault(self) -> Vault: ...

    def random(self, size_bytes: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One row of rights_request."""

    request: str
    kind: RightsKind
    state: RequestState
    channel: str
    applicant: str
    received_ms: int
    due_day: str
    due_ms: int
    is_estimated: bool
    is_extended: bool
    method: str
    identified_by: str
    identified_ms: int
    decided_by: str
    decided_ms: int
    decision: str
    answered_ms: int
    erasure: str
    complaint: str
    created_by: str

    @property
    def was_granted(self) -> bool:
        """In whole or in part."""
        return self.decision in ("granted", "partly")

    def is_overdue(self, now_ms: int) -> bool:
        return now_ms >= self.due_ms and self.state not in (RequestState.ANSWERED, RequestState.CLOSED)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What lies in the vault about one case: whose it is and what was said. texts: name -> text."""

    customer: Customer
    texts: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def text(self, name: str) -> str:
        return str(self.texts.get(name, ""))


def new_id(host: Keeper, letter: str) -> str:
    return f"{letter}-{host.random(6).hex()}"


def requests(reader: Reader, *, state: str = "", kind: str = "") -> list[RequestRow]:
    """Requests, the newest first. state: one of them, "open" for every open one, "" for all."""
    rows = reader.execute(f"SELECT {_COLUMNS} FROM rights_request ORDER BY received_ms DESC, request").fetchall()
    found = [_row(row) for row in rows]
    ended = (RequestState.ANSWERED, RequestState.CLOSED)
    return [
        one for one in found
        if kind in ("", one.kind) and (state in ("", one.state) or (state == "open" and one.state not in ended))
    ]  # fmt: skip


def request(reader: Reader, name: str) -> RequestRow:
    """One request; NotFound NO_RIGHTS_REQUEST."""
    row = reader.execute(f"SELECT {_COLUMNS} FROM rights_request WHERE request = ?", (name,)).fetchone()
    if row is None:
        raise NotFound("没有这项权利请求", "there is no such rights request", code="NO_RIGHTS_REQUEST")
    return _row(row)


def _row(row: Any) -> RequestRow:
    values = dict(zip(_COLUMNS.replace(" ", "").split(","), tuple(row), strict=True))
    values |= {"kind": RightsKind(values["kind"]), "state": RequestState(values["state"])}
    return RequestRow(**{**values, "is_estimated": bool(values["is_estimated"]), "is_extended": bool(values["is_extended"])})


def add(tx: Transaction, values: Mapping[str, Any]) -> None:
    names = ", ".join(values)
    tx.execute(f"INSERT INTO rights_request ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values()))


def change(tx: Transaction, name: str, **values: Any) -> None:
    told = ", ".join(f"{column} = ?" for column in values)
    tx.execute(f"UPDATE rights_request SET {told} WHERE request = ?", (*values.values(), name))


# ---- what is sealed


def seal(tx: Transaction, host: Keeper, place: str, sealed: Sealed) -> None:
    """Write the content of a case and the tokens it is found by. place: "rights/<id>" or "complaint/<id>"."""
    customer = sealed.customer
    content = {
        "names": customer.names, "phones": customer.phones, "id_nos": customer.id_nos, "texts": dict(sealed.texts),
    }  # fmt: skip
    host.vault.put(tx, place, json.dumps(content, ensure_ascii=False).encode())
    tx.executemany(
        "INSERT OR IGNORE INTO rights_subject (ref, name) VALUES (?, ?)", [(place, name) for name in customer.names]
    )


def sealed(reader: Reader, host: Keeper, place: str) -> Sealed:
    """The content; Refused CASE_ERASED after an erasure took it out."""
    try:
        value = json.loads(host.vault.get(reader, place))
    except NotFound:
        raise Refused(
            "这位客户已被擦除，内容在限制存放中：合规岗或审计岗写明理由后查看",
            "this customer was erased and the content is in restricted storage: compliance or an auditor reads it with a reason",
            code="CASE_ERASED",
        ) from None
    return Sealed(Customer(tuple(value["names"]), tuple(value["phones"]), tuple(value["id_nos"])), value["texts"])


def is_sealed(reader: Reader, host: Keeper, place: str) -> bool:
    """Whether the content is still there."""
    return bool(host.vault.names(reader, place))


def add_texts(tx: Transaction, host: Keeper, place: str, **texts: Any) -> None:
    """Put more texts to a case; nothing happens once it is erased."""
    if not is_sealed(tx, host, place):
        return
    known = sealed(tx, host, place)
    seal(tx, host, place, Sealed(known.customer, {**known.texts, **texts}))


def places_of(reader: Reader, names: Sequence[str]) -> list[str]:
    """Cases of whoever has one of these tokens, sorted."""
    marks = ",".join("?" * len(names))
    rows = reader.execute(f"SELECT DISTINCT ref FROM rights_subject WHERE name IN ({marks}) ORDER BY ref", tuple(names))
    return [str(ref) for (ref,) in rows]


# ---- restrictions


def restrict(tx: Transaction, name: str, customer: Customer, *, now_ms: int) -> None:
    tx.executemany(
        "INSERT OR REPLACE INTO rights_restriction (request, name, from_ms, until_ms) VALUES (?, ?, ?, NULL)",
        [(name, one, now_ms) for one in customer.names],
    )


def lift(tx: Transaction, name: str, *, now_ms: int) -> int:
    """End the restriction of a request; how many tokens it named."""
    return tx.execute(
        "UPDATE rights_restriction SET until_ms = ? WHERE request = ? AND until_ms IS NULL", (now_ms, name)
    ).rowcount


def restricted(reader: Reader) -> list[str]:
    """Tokens of everybody who restricts processing now."""
    return [str(name) for (name,) in reader.execute("SELECT DISTINCT name FROM rights_restriction WHERE until_ms IS NULL")]


def restriction(reader: Reader, name: str) -> tuple[int, int | None] | None:
    """(from_ms, until_ms) of a request's restriction; None when it has none."""
    row = reader.execute("SELECT from_ms, until_ms FROM rights_restriction WHERE request = ? LIMIT 1", (name,)).fetchone()
    return None if row is None else (int(row[0]), None if row[1] is None else int(row[1]))
