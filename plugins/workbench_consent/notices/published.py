"""Versions of notices in the database: proposed by one person, published by another, read with their digest.

Document: docs/protocols/notice.md section 5. The bytes of a version never change; what is decided about it is evidence.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from workbench.contracts import Host, Transaction
from workbench.errors import Denied, NotFound, Refused
from workbench_consent import succession, tables
from workbench_consent.notices.difference import Change, Staleness, changes, optional, staleness
from workbench_consent.notices.lint import Finding, Known, errors, lint
from workbench_consent.notices.text import Notice, altered, digest, format_notice, parse_notice

Reader = sqlite3.Connection | Transaction

PROPOSED, PUBLISHED, REJECTED, RETIRED = "PROPOSED", "PUBLISHED", "REJECTED", "RETIRED"
IN_FORCE = (PUBLISHED, RETIRED)
"""States whose text people have signed under."""
_COLUMNS = "number, key, version, body, digest, state, proposed_by, proposed_ms, decided_by, decided_ms, retired_ms, confirmed, reason"


@dataclass(frozen=True, slots=True)
class Version:
    """One version with what was decided about it. confirmed: ids of the changes that need new consent.

    decided_by, decided_ms: of publication or rejection, "" and 0 before; retired_ms: 0 while it is offered.
    """

    number: int
    notice: Notice
    digest: bytes
    state: str
    proposed_by: str
    proposed_ms: int
    decided_by: str
    decided_ms: int
    retired_ms: int
    confirmed: tuple[str, ...]
    reason: str

    def is_offered(self, at_ms: int) -> bool:
        """Whether customers may sign under it at this instant."""
        begun = self.state in IN_FORCE and self.notice.effective_ms <= at_ms
        return begun and not (self.retired_ms and at_ms >= self.retired_ms)


def known_of(host: Host, *, recipients: Collection[str], processors: Collection[str]) -> Known:
    """What a notice may name at this institution now."""
    return Known(
        party=host.party,
        purposes=tuple(host.setting("consent.purposes")),
        categories={code: bool(words[2]) for code, words in host.setting("consent.categories").items()},
        channels=tuple(host.setting("consent.channels")),
        recipients=recipients,
        processors=processors,
    )


def all_versions(reader: Reader, *, key: str = "", states: Collection[str] = ()) -> list[Version]:
    """Versions by key and number, rejected ones too unless `states` says which. Raises VerificationError: altered."""
    rows = reader.execute(f"SELECT {_COLUMNS} FROM consent_notice ORDER BY key, version, number").fetchall()
    found = [_version(row) for row in rows if key in ("", row[1])]
    return [one for one in found if not states or one.state in states]


def version_named(reader: Reader, key: str, version: int) -> Version:
    """The version of this number: the one that was not rejected, else the one rejected last; NotFound NO_NOTICE."""
    found = [one for one in all_versions(reader, key=key) if one.notice.version == version]
    if not found:
        raise NotFound("没有这份告知书或这个版本", "there is no such notice or version", code="NO_NOTICE", details={"notice": f"{key}@{version}"})
    return next((one for one in found if one.state != REJECTED), found[-1])


def newest(reader: Reader, key: str) -> Version | None:
    """The newest version that was published, None before the first."""
    found = all_versions(reader, key=key, states=IN_FORCE)
    return found[-1] if found else None


def stale_since(versions: Sequence[Version]) -> dict[tuple[str, int], list[tuple[int, Staleness]]]:
    """(key, version) -> what later versions made stale of it: from when, and what. versions: published and retired."""
    found: dict[tuple[str, int], list[tuple[int, Staleness]]] = {}
    by_key: dict[str, list[Version]] = {}
    for one in versions:
        by_key.setdefault(one.notice.key, []).append(one)
    for key, chain in by_key.items():
        chain.sort(key=lambda one: one.notice.version)
        for place, later in enumerate(chain):
            if place == 0 or not later.confirmed:
                continue
            steps = staleness(changes(chain[place - 1].notice, later.notice), later.confirmed)
            for earlier in chain[:place]:
                found.setdefault((key, earlier.notice.version), []).extend((later.notice.effective_ms, one) for one in steps)
    return found


def check(notice: Notice, known: Known) -> list[Finding]:
    """All findings; Refused NOTICE_INCOMPLETE while one of them is an error."""
    findings = lint(notice, known)
    stopping = errors(findings)
    if stopping:
        first = stopping[0]
        raise Refused(
            f"告知书不能发布：{first.article} 要求的「{first.field}」——{first.zh}（共 {len(stopping)} 处）",
            f"The notice cannot be published: {first.article}, field {first.field}: {first.en} ({len(stopping)} findings)",
            code="NOTICE_INCOMPLETE",
            details={"article": first.article, "field": first.field, "finding": first.code, "findings": str(len(stopping))},
        )
    return findings


def changes_of(reader: Reader, notice: Notice) -> list[Change]:
    """How this version differs from the newest published one."""
    before = newest(reader, notice.key)
    return changes(before.notice if before else None, notice, succession.names(reader))


def next_version(reader: Reader, key: str) -> int:
    before = newest(reader, key)
    return before.notice.version + 1 if before else 1


def propose(tx: Transaction, host: Host, notice: Notice, known: Known, *, confirmed: Collection[str], actor: str) -> Version:
    """Freeze a version for a second person. Refusals: docs/protocols/notice.md section 5."""
    check(notice, known)
    if all_versions(tx, key=notice.key, states=(PROPOSED,)):
        raise Refused(
            "这份告知书已有一个版本待批准，先由另一位批准或退回", "a version of this notice waits: another person publishes or rejects it first",
            code="NOTICE_WAITS", details={"notice": notice.key},
        )  # fmt: skip
    _require_order(tx, notice)
    found = changes_of(tx, notice)
    _require_difference(tx, notice)
    wanted = {one.id for one in found if one.material}
    if not wanted <= set(confirmed) or not set(confirmed) <= wanted | optional(found):
        raise Refused(
            "实质变更须逐项确认：" + "、".join(sorted(wanted)) if wanted else "没有可确认的变更",
            "confirm every material change: " + ", ".join(sorted(wanted)) if wanted else "there is no such change to confirm",
            code="MATERIAL_UNCONFIRMED",
            details={"changes": " ".join(sorted(wanted)), "notice": notice.name},
        )
    body = format_notice(notice)
    value, now = digest(body), host.now_ms()
    ids = sorted(set(confirmed))
    host.evidence.append(tx, "notices.proposed", {**_values(notice, value), "changes": " ".join(ids) or "none"}, actor=actor)
    tx.execute(
        "INSERT INTO consent_notice (key, version, body, digest, state, proposed_by, proposed_ms, confirmed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (notice.key, notice.version, body, value, PROPOSED, actor, now, json.dumps(ids)),
    )
    return version_named(tx, notice.key, notice.version)


def publish(tx: Transaction, host: Host, known: Known, *, key: str, version: int, expected: str, actor: str) -> Version:
    """Publish what another person proposed; expected: hex digest that was shown."""
    one = _proposed(tx, key, version)
    if one.proposed_by == actor:
        raise Denied("这是你自己提出的，须由另一位批准", "You proposed this; another person must approve it", code="SELF_APPROVAL")
    if one.digest.hex() != expected:
        raise altered()
    check(one.notice, known)
    _require_order(tx, one.notice)
    values = {**_values(one.notice, one.digest), "changes": " ".join(one.confirmed) or "none"}
    entry = host.evidence.append(tx, "notices.published", values, actor=actor)
    _decide(tx, one, PUBLISHED, actor, host.now_ms())
    # A consent event, so that every decision taken before is taken anew: it may be stale now.
    seq = tables.newest_event(tx) + 1
    tables.add_event(tx, "noticed", seq=seq, entry=entry.index, at_ms=host.now_ms(), actor=actor, root=one.digest)
    return version_named(tx, key, version)


def reject(tx: Transaction, host: Host, *, key: str, version: int, reason: str, actor: str) -> Version:
    """Send a proposal back; its proposer may do so too."""
    one = _proposed(tx, key, version)
    host.evidence.append(tx, "notices.rejected", {**_values(one.notice, one.digest), "reason": reason}, actor=actor)
    _decide(tx, one, REJECTED, actor, host.now_ms(), reason)
    return version_named(tx, key, version)


def retire(tx: Transaction, host: Host, *, key: str, version: int, reason: str, actor: str) -> Version:
    """Nobody signs under this version any more; grants under it stay as they are."""
    one = version_named(tx, key, version)
    if one.state != PUBLISHED:
        raise _not_now(one)
    host.evidence.append(tx, "notices.retired", {**_values(one.notice, one.digest), "reason": reason}, actor=actor)
    tx.execute(
        "UPDATE consent_notice SET state = ?, retired_ms = ?, reason = ? WHERE number = ?", (RETIRED, host.now_ms(), reason, one.number)
    )
    return version_named(tx, key, version)


def _version(row: Sequence[object]) -> Version:
    number, _, _, body, value, state, proposed_by, proposed_ms, decided_by, decided_ms, retired_ms, confirmed, reason = row
    if not isinstance(body, bytes) or digest(body) != value:
        raise altered()
    notice = parse_notice(body)
    if (notice.key, notice.version) != (row[1], row[2]):
        raise altered()
    return Version(
        int(str(number)), notice, bytes(value), str(state), str(proposed_by), int(str(proposed_ms)), str(decided_by), int(str(decided_ms)),
        int(str(retired_ms)), tuple(json.loads(str(confirmed))), str(reason),
    )  # fmt: skip


def _proposed(reader: Reader, key: str, version: int) -> Version:
    one = version_named(reader, key, version)
    if one.state != PROPOSED:
        raise _not_now(one)
    return one


def _decide(tx: Transaction, one: Version, state: str, actor: str, now_ms: int, reason: str = "") -> None:
    tx.execute(
        "UPDATE consent_notice SET state = ?, decided_by = ?, decided_ms = ?, reason = ? WHERE number = ?",
        (state, actor, now_ms, reason, one.number),
    )


def _require_order(reader: Reader, notice: Notice) -> None:
    before = newest(reader, notice.key)
    if notice.version != next_version(reader, notice.key) or (before is not None and notice.effective_ms <= before.notice.effective_ms):
        raise Refused(
            "版本须接着最新发布的版本，生效时间须晚于它", "a version follows the newest published one and becomes effective after it",
            code="NOTICE_ORDER", details={"notice": notice.name},
        )  # fmt: skip


def _require_difference(reader: Reader, notice: Notice) -> None:
    before = newest(reader, notice.key)
    if before is not None and format_notice(notice) == format_notice(_renumbered(before.notice, notice)):
        raise Refused("与最新发布的版本内容相同", "it says the same as the newest published version", code="NOTICE_SAME", details={"notice": notice.name})


def _renumbered(before: Notice, after: Notice) -> Notice:
    return replace(before, version=after.version, effective_ms=after.effective_ms)


def _values(notice: Notice, value: bytes) -> dict[str, str]:
    return {"notice": notice.key, "version": str(notice.version), "digest": value.hex(), "lines": str(len(notice.lines))}


def _not_now(one: Version) -> Refused:
    return Refused(
        "这个版本现在不能这样处理", "this is not possible with this version now", code="NOT_NOW",
        details={"notice": one.notice.name, "state": one.state},
    )  # fmt: skip
