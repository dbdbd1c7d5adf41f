"""Contracts of use: which documents may be read for which scenario, by which roles, how often, until when (row J11).

Who owns documents grants and revokes; who asks uses. Nothing is read without one, and a revoked one counts at the next ask.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from workbench.contracts import Host, Transaction
from workbench.errors import NotFound, Refused
from workbench_inference.documents.corpus_store import document_rows
from workbench_sandbox.formats.asking import MAX_IDS

Reader = sqlite3.Connection | Transaction
_COLUMNS: Final = "usage, kind, source, scenario, roles, most, used, until_ms, revoked_ms, by"


@dataclass(frozen=True, slots=True)
class Usage:
    """source: "" for documents of any; roles: separated by blanks; most: 0 without limit; by: token of who granted it."""

    usage: str
    kind: str
    source: str
    scenario: str
    roles: str
    most: int
    used: int
    until_ms: int
    revoked_ms: int
    by: str

    def is_live(self, now_ms: int) -> bool:
        return not self.revoked_ms and now_ms < self.until_ms and (not self.most or self.used < self.most)


@dataclass(frozen=True, slots=True)
class Readable:
    """What one ask may read. kinds: sorted; ids: empty for all documents of these kinds; usages: that are counted for it."""

    kinds: tuple[str, ...]
    ids: tuple[str, ...]
    usages: tuple[str, ...]


def usages(reader: Reader) -> list[Usage]:
    """Every contract, revoked and ended ones too, newest first."""
    return [Usage(*row) for row in reader.execute(f"SELECT {_COLUMNS} FROM inference_usage ORDER BY usage DESC").fetchall()]


def grant(
    host: Host, tx: Transaction, *, kind: str, source: str, scenario: str, roles: Iterable[str], most: int, until_ms: int, actor: str, reason: str
) -> Usage:
    """Allow it. Refused USAGE_ENDED for an end that is past."""
    if until_ms <= host.now_ms():
        raise Refused("到期时间已过", "its end is in the past", code="USAGE_ENDED")
    name = f"U-{host.now_ms():013d}-{host.random(3).hex()}"
    made = Usage(name, kind, source, scenario, " ".join(sorted(roles)), most, 0, until_ms, 0, actor)
    tx.execute(
        f"INSERT INTO inference_usage ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (made.usage, kind, source, scenario, made.roles, most, 0, until_ms, 0, actor),
    )
    _record(host, tx, made, "granted", actor=actor, reason=reason)
    return made


def revoke(host: Host, tx: Transaction, usage: str, *, actor: str, reason: str) -> Usage:
    """End it now. NotFound; Refused USAGE_ENDED where it was revoked before."""
    found = next((one for one in usages(tx) if one.usage == usage), None)
    if found is None:
        raise NotFound(f"没有资料使用许可 {usage}", f"there is no usage {usage}", code="USAGE_UNKNOWN")
    if found.revoked_ms:
        raise Refused(f"资料使用许可 {usage} 已撤销", f"usage {usage} was revoked before", code="USAGE_ENDED")
    tx.execute("UPDATE inference_usage SET revoked_ms = ? WHERE usage = ?", (host.now_ms(), usage))
    _record(host, tx, found, "revoked", actor=actor, reason=reason)
    return found


def readable(reader: Reader, *, scenario: str, roles: Iterable[str], kinds: Iterable[str], now_ms: int) -> Readable:
    """What somebody with these roles may read of these kinds for a scenario; `Ask.kinds` and `Ask.ids`.

    A kind without a live contract is left out. Where each contract of a kind names sources, its documents are listed.
    Raises Refused USAGE_MISSING where nothing is left.
    """
    own = frozenset(roles)
    live = [
        one for one in usages(reader)
        if one.scenario == scenario and one.is_live(now_ms) and own & frozenset(one.roles.split()) and one.kind in frozenset(kinds)
    ]  # fmt: skip
    if not live:
        raise Refused(
            f"没有许可可以把资料用于场景 {scenario}，或已到期、用完、撤销。请合规岗授予", f"no usage allows documents for {scenario}, or it ended, is used up or was revoked: compliance grants one",
            code="USAGE_MISSING", details={"scenario": scenario},
        )  # fmt: skip
    names = sorted({one.kind for one in live})
    if all(any(one.kind == kind and not one.source for one in live) for kind in names):
        return Readable(tuple(names), (), _counted(live))
    ids: set[str] = set()
    for one in live:
        ids |= {row.document for row in document_rows(reader, kind=one.kind, source=one.source)}
    if not ids:
        raise Refused("许可所指来源没有资料", "the sources that usages name hold no document", code="USAGE_MISSING", details={"scenario": scenario})
    return Readable(tuple(names), tuple(sorted(ids)), _counted(live))


def public_only(reader: Reader, readable: Readable) -> Readable:
    """The same without documents that are not public: what a customer's question may be answered from. Raises Refused USAGE_MISSING
    where nothing is left, TOO_MANY_DOCUMENTS where what is left cannot be named one by one."""
    marks = ", ".join("?" * len(readable.kinds))
    rows = reader.execute(
        f"SELECT document, max(class <> 'public') FROM inference_document WHERE removed_ms = 0 AND kind IN ({marks}) GROUP BY document", readable.kinds
    ).fetchall()
    within = [(str(document), bool(is_withheld)) for document, is_withheld in rows if not readable.ids or str(document) in readable.ids]
    public = tuple(sorted(document for document, is_withheld in within if not is_withheld))
    if not public:
        raise Refused("没有可以给客户看的公开资料", "no public document is there for a customer's question", code="USAGE_MISSING")
    if len(public) == len(rows):
        return readable
    if len(public) > MAX_IDS:
        raise Refused(
            f"公开资料有 {len(public):,} 份，与非公开的同属一类，不能逐份指明（至多 {MAX_IDS:,} 份）：请合规岗把非公开资料归入别的种类",
            f"{len(public):,} public documents share their kind with others and cannot be named one by one (at most {MAX_IDS:,}): compliance imports those that are not public as another kind",
            code="TOO_MANY_DOCUMENTS",
        )  # fmt: skip
    return Readable(readable.kinds, public, readable.usages)


def count(tx: Transaction, names: Sequence[str], *, now_ms: int) -> None:
    """One more use of each, in the transaction of `inference.asked`. Refused USAGE_MISSING where one ended since it was read."""
    known = {one.usage: one for one in usages(tx)}
    for name in names:
        found = known.get(name)
        if found is None or not found.is_live(now_ms):
            raise Refused(f"资料使用许可 {name} 已撤销、到期或用完", f"usage {name} was revoked, ended or is used up", code="USAGE_MISSING")
        tx.execute("UPDATE inference_usage SET used = used + 1 WHERE usage = ?", (name,))


def _counted(live: Sequence[Usage]) -> tuple[str, ...]:
    """One contract for each kind and source: the one that ends first, so that an unlimited one is kept for later."""
    chosen: dict[tuple[str, str], Usage] = {}
    for one in sorted(live, key=lambda each: (each.until_ms, each.usage)):
        chosen.setdefault((one.kind, one.source), one)
    return tuple(sorted(one.usage for one in chosen.values()))


def _record(host: Host, tx: Transaction, usage: Usage, action: str, *, actor: str, reason: str) -> None:
    host.evidence.append(
        tx,
        "inference.usage_changed",
        {
            "usage": usage.usage, "action": action, "kind": usage.kind, "scenario": usage.scenario, "roles": usage.roles, "most": str(usage.most),
            "until": str(usage.until_ms), "reason": reason,
        },
        actor=actor,
    )  # fmt: skip
