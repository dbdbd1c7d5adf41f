"""What an attacker of this laboratory has: a copy of the database file and SQL; and the checks that look at the copy."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workbench.contracts import OperationContext
from workbench.domain.envelope import parse_envelope
from workbench.errors import Refused, VerificationError
from workbench_ledger.attacks.findings import Located
from workbench_ledger.mirror import differing_fields

FEWEST_ENTRIES = 8


@dataclass(frozen=True, slots=True)
class Bench:
    """One rehearsal. ctx: of the operation; folder: scratch, gone afterwards. comparisons: changed entries field by field,
    as the last audit showed them.
    """

    ctx: OperationContext
    folder: Path
    comparisons: list[dict[str, Any]] = field(default_factory=list)

    @property
    def host(self) -> Any:  # the node's services beyond contracts.Host, and its laboratory
        return self.ctx.host

    def copy(self) -> Path:
        """The node's files as they are now; returns the database to be attacked."""
        database: Path = self.host.laboratory.copy_files(self.folder)
        if rows(database, "SELECT count(*) FROM entry")[0][0] < FEWEST_ENTRIES:
            raise Refused(
                "日志里的记录还太少，先跑一次求交再演练", "The log has too few entries; run an intersection first", code="TOO_FEW_ENTRIES"
            )
        return database

    @contextmanager
    def opened(self, *, now_ms: Callable[[], int] | None = None) -> Iterator[Any]:
        """The attacked copy as a node that was never started."""
        with self.host.laboratory.opened(self.folder, now_ms=now_ms) as node:
            yield node

    def audit(self) -> list[Located]:
        """What `workbench audit` says of the copy, partners' copies asked for the fields."""
        with self.opened() as node:
            context = OperationContext(
                host=node, caller=self.ctx.caller, progress=lambda *_: None, cancelled=self.ctx.cancelled
            )
            operation = node.gate.registry.named("evidence.audit")
            report: Any = operation.run(context, operation.request(compare=True))
        self.comparisons[:] = [one.model_dump(mode="json") for one in report.comparisons]
        return [self._named(one) for one in report.findings]

    def _named(self, finding: Any) -> Located:
        """A finding of the audit; without a partner's copy the untouched database names the field of a changed entry."""
        name, zh, en = finding.field, finding.zh, finding.en
        if finding.problem == "EDITED" and not name and finding.index is not None and finding.log == self.host.party:
            true = self.host.ledger.entry_bodies(self.host.party, finding.index, finding.index + 1)
            changed = rows(self.folder / "evidence.db", "SELECT CAST(body AS BLOB) FROM entry WHERE idx = ?", finding.index)
            name = differing_fields(true[0], changed[0][0]) if true and changed else ""
        return Located(finding.log, finding.index, name, finding.problem, self.host.party, zh, en)


def tamper(database: Path, *statements: str | tuple[str, Sequence[Any]]) -> None:
    """Run SQL on the file as an outsider would; triggers that stop mistakes are dropped first."""
    with closing(sqlite3.connect(database)) as connection:
        triggers = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for name in triggers:
            connection.execute(f'DROP TRIGGER "{name}"')
        for one in statements:
            sql, values = (one, ()) if isinstance(one, str) else one
            connection.execute(sql, values)
        connection.commit()


def rows(database: Path, sql: str, *values: Any) -> list[Any]:
    """Rows of the file as it lies there."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return connection.execute(sql, values).fetchall()


def changed_body(body: bytes) -> tuple[bytes, str]:
    """The same envelope with one shared value changed, still canonical, and the name of that field.

    The value keeps its length and its kind of characters, as a careful attacker would. Raises Refused for an envelope
    that shares nothing.
    """
    envelope = parse_envelope(body)
    for name in sorted(envelope.shared, key=lambda one: (one == "partner", one)):
        value = envelope.shared[name]
        if not value or not value.isascii():
            continue
        other = value[:-1] + ("1" if value[-1] != "1" else "2")
        before, after = (json.dumps({name: one}, ensure_ascii=False)[1:-1].replace('": "', '":"').encode() for one in (value, other))
        if body.count(before) == 1:
            return body.replace(before, after), name
    raise Refused("这条记录没有可改的共享字段", "This entry shares no field that could be changed", code="NOTHING_TO_CHANGE")


def telling_entry(database: Path, party: str) -> int:
    """The newest own entry whose change would matter most: a release, else a contract, else any that shares a value."""
    found = rows(database, "SELECT idx, CAST(body AS BLOB) FROM entry ORDER BY idx DESC LIMIT 5000")
    best: dict[str, int] = {}
    for index, body in found:
        try:
            changed_body(body)
            best.setdefault(parse_envelope(body).kind, int(index))
        except (Refused, VerificationError):
            continue
    for kind in ("intersection.released", "intersection.contract", "intersection.message", "partners.changed"):
        if kind in best:
            return best[kind]
    if best:
        return max(best.values())
    raise Refused("日志里没有可演练的记录", "The log has no entry that could be changed", code="TOO_FEW_ENTRIES")
