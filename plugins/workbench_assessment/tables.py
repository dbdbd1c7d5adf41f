"""Rows and contents of assessments and breaches; nothing is decided here. Document: docs/assessment.md section 5."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from workbench.contracts import Transaction, Vault
from workbench.errors import NotFound
from workbench_assessment.model import DAY_MS, KEPT_DAYS, Content, as_json, from_json

Reader = sqlite3.Connection | Transaction
_CASE = (
    "assessment, purpose, recipient, data_class, state, conclusion, created_ms, created_by, submitted_by, approved_by,"
    " approved_ms, until_ms, ended_ms, digest, before, writers"
)
_BREACH = "breach, kind, state, opened_ms, opened_by, persons, letters_ms, closed_ms"


class Keeper(Protocol):
    """What of a node is needed here."""

    @property
    def vault(self) -> Vault: ...


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One row of assessment_case. ended_ms: of a revocation, 0 for none. writers: tokens of all who wrote on it."""

    assessment: str
    purpose: str
    recipient: str
    data_class: str
    state: str
    conclusion: str
    created_ms: int
    created_by: str
    submitted_by: str
    approved_by: str
    approved_ms: int
    until_ms: int
    ended_ms: int
    digest: str
    before: str
    writers: str

    def covers_at(self, now_ms: int) -> bool:
        """Whether it lets a job go on at this instant, its class apart."""
        return self.state == "APPROVED" and self.conclusion in ("proceed", "conditions") and now_ms < self.until_ms

    @property
    def keep_until_ms(self) -> int:
        """At least three years after its end; of one that never was in force, after it was made."""
        return (self.ended_ms or self.until_ms or self.created_ms) + KEPT_DAYS * DAY_MS


@dataclass(frozen=True, slots=True)
class BreachRow:
    """One row of assessment_breach. persons: -1 before anybody looked."""

    breach: str
    kind: str
    state: str
    opened_ms: int
    opened_by: str
    persons: int
    letters_ms: int
    closed_ms: int


def cases(reader: Reader) -> list[CaseRow]:
    """All assessments, the newest first."""
    rows = reader.execute(f"SELECT {_CASE} FROM assessment_case ORDER BY created_ms DESC, assessment").fetchall()
    return [CaseRow(*tuple(row)) for row in rows]


def case(reader: Reader, name: str) -> CaseRow:
    """One assessment; NotFound NO_SUCH_ASSESSMENT."""
    row = reader.execute(f"SELECT {_CASE} FROM assessment_case WHERE assessment = ?", (name,)).fetchone()
    if row is None:
        raise NotFound("没有这份影响评估", "there is no such impact assessment", code="NO_SUCH_ASSESSMENT")
    return CaseRow(*tuple(row))


def of_scope(reader: Reader, purpose: str, recipient: str) -> list[CaseRow]:
    """Approved assessments of a purpose towards an institution, whatever their end."""
    rows = reader.execute(
        f"SELECT {_CASE} FROM assessment_case WHERE purpose = ? AND recipient = ? AND state = 'APPROVED' ORDER BY until_ms DESC",
        (purpose, recipient),
    ).fetchall()
    return [CaseRow(*tuple(row)) for row in rows]


def add(tx: Transaction, table: str, values: Mapping[str, Any]) -> None:
    names = ", ".join(values)
    tx.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))})", tuple(values.values()))


def change(tx: Transaction, name: str, **values: Any) -> None:
    told = ", ".join(f"{column} = ?" for column in values)
    tx.execute(f"UPDATE assessment_case SET {told} WHERE assessment = ?", (*values.values(), name))


def keep(tx: Transaction, host: Keeper, name: str, content: Content) -> None:
    host.vault.put(tx, f"assessment/{name}", json.dumps(as_json(content), ensure_ascii=False).encode())


def content(reader: Reader, host: Keeper, name: str) -> Content:
    return from_json(json.loads(host.vault.get(reader, f"assessment/{name}")))


def breaches(reader: Reader) -> list[BreachRow]:
    """All breaches and drills, the newest first."""
    rows = reader.execute(f"SELECT {_BREACH} FROM assessment_breach ORDER BY opened_ms DESC, breach").fetchall()
    return [BreachRow(*tuple(row)) for row in rows]


def breach(reader: Reader, name: str) -> BreachRow:
    """One of them; NotFound NO_BREACH."""
    row = reader.execute(f"SELECT {_BREACH} FROM assessment_breach WHERE breach = ?", (name,)).fetchone()
    if row is None:
        raise NotFound("没有这个泄露事件或演练", "there is no such breach or drill", code="NO_BREACH")
    return BreachRow(*tuple(row))


def change_breach(tx: Transaction, name: str, **values: Any) -> None:
    told = ", ".join(f"{column} = ?" for column in values)
    tx.execute(f"UPDATE assessment_breach SET {told} WHERE breach = ?", (*values.values(), name))


def keep_breach(tx: Transaction, host: Keeper, name: str, value: Mapping[str, Any]) -> None:
    """Scope, texts and report: nothing about a customer."""
    host.vault.put(tx, f"breach/{name}", json.dumps(dict(value), ensure_ascii=False).encode())


def breach_content(reader: Reader, host: Keeper, name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(host.vault.get(reader, f"breach/{name}"))
    return value
