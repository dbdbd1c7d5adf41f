"""The audit: re-hash every body, compare with everything that was stored and signed, and locate what does not hold.

Document: docs/protocols/evidence.md section 11. It reads one snapshot, changes nothing, and trusts no stored hash: a
stored hash only helps to say which entry differs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from workbench.domain.checkpoint import PartyKeys, parse_checkpoint, split_note, verify_note
from workbench.domain.envelope import parse_envelope
from workbench.domain.evidence import AuditFinding, AuditReport
from workbench.domain.party import PartyId
from workbench.errors import VerificationError, WorkbenchError
from workbench_ledger import tables
from workbench_ledger.context import Context
from workbench_ledger.mirror import ROLLED_BACK, differing_fields
from workbench_ledger.rehash import Hashed, in_processes
from workbench_ledger.restore import find_lost

FetchBodies = Callable[[PartyId, PartyId, int, int], Sequence[bytes]]
"""Asks an institution (first) for bodies start <= index < stop of a log (second); may raise WorkbenchError."""

MAX_FINDINGS = 200
_NEWEST_SIGNATURES = 8


@dataclass(slots=True)
class _Log:
    """What is being found out about one log."""

    log: PartyId
    own: bool
    findings: list[AuditFinding] = field(default_factory=list)
    size: int = 0
    checkpoint_size: int = 0
    suspects: list[int] = field(default_factory=list)


def run_audit(
    context: Context,
    *,
    fetch: FetchBodies | None = None,
    step: Callable[[int], None] | None = None,
) -> AuditReport:
    """The report on the own log and all mirrors; see Ledger.audit."""
    count = _Count(step)
    with context.store.read() as reader:
        own = _audit_log(context, reader, context.party, count)
        logs = [_audit_log(context, reader, party, count) for party in context.parties() if party != context.party]
        findings = [finding for one in (own, *logs) for finding in one.findings]
        findings += _conflicts(context, reader)
    if fetch is not None:
        findings = [*_against_peers(context, own, fetch), *findings]
    return AuditReport(
        log=context.party,
        entries=own.size,
        checkpoint_size=own.checkpoint_size,
        mirrors={one.log: one.size for one in logs},
        findings=tuple(_without_repeats(findings)[:MAX_FINDINGS]),
    )


@dataclass(slots=True)
class _Count:
    """Bodies hashed so far in all logs, told to whoever waits."""

    step: Callable[[int], None] | None
    bodies: int = 0

    def add(self, bodies: int) -> None:
        self.bodies += bodies
        if self.step is not None:
            self.step(self.bodies)


# ------------------------------------------------------------------------------------------- one log


def _audit_log(context: Context, reader: sqlite3.Connection, log: PartyId, count: _Count) -> _Log:
    result = _Log(log, own=log == context.party)
    try:
        head = tables.read_head(reader, log)
    except VerificationError:
        result.findings.append(_tree(context, log, None))
        return result
    signed = _signed_sizes(reader, log)
    expected = max([head.size, *signed])
    result.size, result.checkpoint_size = head.size, max(signed, default=0)
    recomputed = _rehash(context, reader, result, expected, signed, count)
    if recomputed.complete and recomputed.head != head:
        result.findings.append(_tree(context, log, None))
    _compare_nodes(context, reader, result, recomputed)
    _compare_checkpoints(context, reader, result, recomputed)
    _compare_state(context, reader, result, recomputed)
    _verify_signatures(context, reader, result)
    return result


@dataclass(slots=True)
class _Recomputed:
    """Trees over the bodies as they lie. roots: at every signed size. nodes: completed subtrees that are stored."""

    head: tables.Head
    roots: dict[int, tables.Roots]
    nodes: dict[tuple[int, int], tables.Roots]
    complete: bool


def _rehash(
    context: Context, reader: sqlite3.Connection, result: _Log, expected: int, signed: Sequence[int], count: _Count
) -> _Recomputed:
    """Hash every body; find missing, extra, edited and reordered ones by the stored leaves."""
    log = result.log
    hashed = Hashed(0, 0)
    path = getattr(context.store, "path", None)
    for block in in_processes(reader, path, log, expected, own=result.own, sizes=[*signed, expected]):
        present = block.stop - block.start - sum(stop - start for start, stop in block.gaps)
        hashed.add(block)
        count.add(present)
    missing = hashed.gaps
    if missing and missing[-1][1] == expected:
        *missing, (present, _) = missing
        result.findings.append(_truncated(context, log, present, expected))
    result.findings[:0] = [one for start, stop in missing for one in _missing(context, log, start, stop)]
    extra = _indices_from(reader, log, expected, own=result.own)
    result.findings += [_extra(context, log, index) for index in extra]
    _report_wrong(context, reader, result, hashed.wrong)
    # A changed body is counted with what it is now: the signed roots must then disagree.
    roots = {size: hashed.head(size).roots for size in signed if size <= hashed.whole}
    complete = not hashed.gaps and not extra
    head = hashed.head(expected) if complete else tables.Head()
    return _Recomputed(head, roots, hashed.nodes, complete)


def _indices_from(reader: tables.Reader, log: PartyId, start: int, *, own: bool) -> list[int]:
    """Indices of bodies beyond what the log has, as many as are reported."""
    rows = reader.execute(
        "SELECT idx FROM entry WHERE idx >= ? ORDER BY idx LIMIT ?"
        if own
        else "SELECT idx FROM ledger_mirror_entry WHERE origin = ? AND idx >= ? ORDER BY idx LIMIT ?",
        (start, MAX_FINDINGS) if own else (log, start, MAX_FINDINGS),
    )
    return [row[0] for row in rows.fetchall()]


def _report_wrong(
    context: Context,
    reader: tables.Reader,
    result: _Log,
    wrong: Mapping[int, tuple[bytes, bytes]],
) -> None:
    """Tell reordered bodies from edited ones: a reordered body carries the stored leaf of another wrong place."""
    stored = _stored_leaves(reader, result.log, wrong)
    places = {pair: index for index, pair in stored.items()}
    for index, pair in wrong.items():
        origin = places.get(pair)
        if origin is not None and origin != index:
            result.findings.append(_reordered(context, result.log, index, origin))
            continue
        result.suspects.append(index)
        result.findings.append(_edited(context, result.log, index, _problem_field(reader, result, index)))


def _problem_field(reader: tables.Reader, result: _Log, index: int) -> str:
    """Which part of a changed entry is visibly impossible, without another copy; "" when nothing is."""
    bodies = tables.read_bodies(reader, result.log, index, index + 1, own=result.own)
    try:
        envelope = parse_envelope(bodies[0])
    except (VerificationError, IndexError):
        return ""
    return "log" if envelope.log != result.log else ""


def _compare_nodes(context: Context, reader: tables.Reader, result: _Log, recomputed: _Recomputed) -> None:
    """Stored subtrees must follow from the bodies; where bodies were already found wrong, they cannot."""
    if not recomputed.complete or result.suspects:
        return
    rows = reader.execute(
        "SELECT level, idx, sha256, sm3 FROM ledger_node WHERE log = ? AND level > 0 ORDER BY level, idx", (result.log,)
    ).fetchall()
    stored = {(level, index): (sha256, sm3) for level, index, sha256, sm3 in rows}
    for key in sorted(stored.keys() | recomputed.nodes.keys()):
        if stored.get(key) != recomputed.nodes.get(key):
            result.findings.append(_tree(context, result.log, key[1] << key[0]))
            return


def _compare_checkpoints(context: Context, reader: tables.Reader, result: _Log, recomputed: _Recomputed) -> None:
    """Every signed head must have the recomputed roots; the first that has not brackets the change."""
    log, last_good = result.log, 0
    for size in _signed_sizes(reader, log):
        try:
            note = tables.read_note(reader, log, size)
        except VerificationError:
            note = None
        if note is None:
            result.findings.append(_signature(context, log, size, log))
            continue
        roots = recomputed.roots.get(size)
        if roots is None:
            continue  # bodies below this size are missing, which has been reported
        if roots == note.checkpoint.roots:
            last_good = size
            continue
        signers = ", ".join(note.signers)
        result.findings.append(_checkpoint(context, log, last_good, size, signers))
        result.suspects += range(last_good, min(size, last_good + MAX_FINDINGS))
        return


def _compare_state(context: Context, reader: tables.Reader, result: _Log, recomputed: _Recomputed) -> None:
    """As mirror: what was persisted for signing must be what lies here."""
    row = reader.execute(
        "SELECT size, sha256, sm3 FROM ledger_witness_state WHERE origin = ?", (result.log,)
    ).fetchone()
    if result.own or row is None or not recomputed.complete:
        return
    if (recomputed.head.size, *recomputed.head.roots) != tuple(row):
        result.findings.append(_tree(context, result.log, None))


def _verify_signatures(context: Context, reader: tables.Reader, result: _Log) -> None:
    """The newest heads and the newest co-signature of every institution must verify under pinned keys."""
    log, keys = result.log, context.pinned()
    rows = reader.execute(
        "SELECT max(size) FROM ledger_cosignature WHERE log = ? GROUP BY signer UNION "
        "SELECT size FROM (SELECT size FROM ledger_checkpoint WHERE log = ? ORDER BY size DESC LIMIT ?)",
        (log, log, _NEWEST_SIGNATURES),
    ).fetchall()
    for (size,) in rows:
        try:
            _verify_note(context, reader, log, size, keys)
        except VerificationError as error:
            result.findings.append(_signature(context, log, size, error.details.get("party", log)))


def _verify_note(
    context: Context, reader: tables.Reader, log: PartyId, size: int, keys: Mapping[PartyId, PartyKeys]
) -> None:
    """A stored head as a whole, and every pair kept with it under the key of the institution it is kept for."""
    note = tables.read_note(reader, log, size)
    if note is None:
        raise tables.damaged(log)
    cosignatures = verify_note(note.format(), keys, project=context.project).cosignatures
    for one in note.cosignatures:
        if cosignatures.get(one.party) != one:
            raise VerificationError("签名不成立", "does not hold", details={"party": one.party})


def _signed_sizes(reader: tables.Reader, log: PartyId) -> list[int]:
    rows = reader.execute(
        "SELECT size FROM ledger_checkpoint WHERE log = ? UNION SELECT size FROM ledger_cosignature WHERE log = ? "
        "ORDER BY size",
        (log, log),
    ).fetchall()
    return [row[0] for row in rows]


def _stored_leaves(reader: tables.Reader, log: PartyId, indices: Iterable[int]) -> dict[int, tuple[bytes, bytes]]:
    """Both leaves of some entries, as stored; missing ones are left out."""
    stored = {}
    for index in indices:
        row = reader.execute(
            "SELECT sha256, sm3 FROM ledger_node WHERE log = ? AND level = 0 AND idx = ?", (log, index)
        ).fetchone()
        if row is not None:
            stored[index] = (row[0], row[1])
    return stored


# ------------------------------------------------------------------------------------- peers, conflicts


def _against_peers(context: Context, own: _Log, fetch: FetchBodies) -> Iterator[AuditFinding]:
    """Fetch the mirrors' copies of what looks wrong, a stretch at a time, and name the fields that differ."""
    for peer in context.parties():
        if peer == context.party:
            continue
        for start, stop in _stretches(own.suspects):
            with context.store.read() as reader:
                mine = dict(tables.numbered_bodies(reader, context.party, start, stop, own=True))
            try:
                theirs = fetch(peer, context.party, start, stop)
            except WorkbenchError:
                break  # an absent or faulty peer must not end the audit, nor be asked again and again
            for index, body in enumerate(theirs, start):
                if index in mine and body != mine[index]:
                    yield _edited(context, context.party, index, differing_fields(mine[index], body), peer=peer)


def _stretches(indices: Iterable[int]) -> list[tuple[int, int]]:
    """Neighbouring indices as start and stop; at most as many entries as findings are reported."""
    stretches: list[tuple[int, int]] = []
    for index in sorted(set(indices))[:MAX_FINDINGS]:
        if stretches and stretches[-1][1] == index:
            stretches[-1] = (stretches[-1][0], index + 1)
        else:
            stretches.append((index, index + 1))
    return stretches


def _conflicts(context: Context, reader: tables.Reader) -> list[AuditFinding]:
    rows = reader.execute(
        "SELECT log, size, problem, idx, field, held_note, offered_note, prefix FROM ledger_conflict ORDER BY number"
    ).fetchall()
    if find_lost(context, reader) is None:
        rows = [row for row in rows if row[2] != ROLLED_BACK]  # what was lost has come back and was checked
    found = []
    for log, size, problem, index, name, held, offered, prefix in rows:
        code = ROLLED_BACK if problem == ROLLED_BACK else "CONFLICT"
        if code == ROLLED_BACK:
            zh, en = _LACKS
        else:
            zh, en = _CONTRADICT if prefix or _one_size(held, offered) else _DOES_NOT_LEAD
        zh, en = zh.format(log=log, size=size), en.format(log=log, size=size)
        found.append(AuditFinding(PartyId(log), index, name, code, zh, en))
    return found


_LACKS = (
    "{log} 的日志缺少它自己签过的记录（签过 {size} 条）：本机是从旧副本恢复的。请 {log} 的运维人员从镜像取回",
    (
        "the log of {log} lacks entries that its own key signed ({size} of them): this node was restored from an older copy. "
        "Operators of {log} must get them back from a mirror"
    ),
)
_CONTRADICT = (
    "{log} 的日志有两份互相矛盾的已签检查点（条数 {size}），两份均已保留。请各家合规人员比对",
    (
        "the log of {log} has two signed heads that contradict each other (size {size}); both are kept. "
        "Compliance of all institutions must compare them"
    ),
)
_DOES_NOT_LEAD = (
    "{log} 送来的记录接不到它所签的检查点（条数 {size}）：可能改了历史，也可能送出前被改。双方检查点均已保留，请各家合规人员比对",
    (
        "what {log} sent does not lead to the head it signed (size {size}): its history was changed, or the entries were before "
        "they were sent. Its head and the one held here are kept; compliance of all institutions must compare them"
    ),
)
"""Nobody else can tell from two heads of different sizes alone: so it is not called a contradiction of two signatures."""


def _one_size(held: str, offered: str) -> bool:
    """Whether two kept heads speak of one size: then they alone prove the contradiction."""
    return bool(held and offered) and parse_checkpoint(split_note(held)[0]).size == parse_checkpoint(split_note(offered)[0]).size


def _without_repeats(findings: Sequence[AuditFinding]) -> list[AuditFinding]:
    """One finding for an entry and problem: the first, which names the most."""
    seen: set[tuple[str, int | None, str]] = set()
    kept = []
    for one in findings:
        key = (one.log, one.index, one.problem)
        if one.index is None or one.problem == "CONFLICT" or key not in seen:
            kept.append(one)
        seen.add(key)
    return kept


# ---------------------------------------------------------------------------------------- the findings


def _whose(context: Context, log: PartyId) -> tuple[str, str, str, str]:
    """How a copy is called and who must act, in both languages."""
    if log == context.party:
        zh, en = f"{log} 日志", f"the log of {log}"
    else:
        zh, en = f"{context.party} 保存的 {log} 日志副本", f"the copy of the log of {log} held by {context.party}"
    act_zh = f"请 {context.party} 的运维人员从镜像恢复，合规人员复核"
    act_en = f"operators of {context.party} must restore it from a mirror, compliance must confirm"
    return zh, en, act_zh, act_en


def _edited(context: Context, log: PartyId, index: int, name: str, *, peer: str = "") -> AuditFinding:
    zh, en, act_zh, act_en = _whose(context, log)
    what_zh = f"的字段 {name} 被改动" if name else "的正文被改动"
    what_en = f"field {name}" if name else "the body"
    by_zh, by_en = (f"（与 {peer} 的副本比对）", f" (compared with the copy of {peer})") if peer else ("", "")
    return AuditFinding(
        log,
        index,
        name,
        "EDITED",
        f"{zh}第 {index} 条{what_zh}{by_zh}。{act_zh}",
        f"entry {index} of {en}: {what_en} was changed{by_en}. {act_en}",
    )


def _reordered(context: Context, log: PartyId, index: int, origin: int) -> AuditFinding:
    zh, en, act_zh, act_en = _whose(context, log)
    return AuditFinding(
        log,
        index,
        "",
        "REORDERED",
        f"{zh}第 {index} 条的位置上是原第 {origin} 条：顺序被改动。{act_zh}",
        f"in {en}, entry {index} is what used to be entry {origin}: the order was changed. {act_en}",
    )


def _missing(context: Context, log: PartyId, start: int, stop: int) -> list[AuditFinding]:
    zh, en, act_zh, act_en = _whose(context, log)
    return [
        AuditFinding(
            log,
            index,
            "",
            "DELETED",
            f"{zh}第 {index} 条被删除。{act_zh}",
            f"entry {index} of {en} was deleted. {act_en}",
        )
        for index in range(start, min(stop, start + MAX_FINDINGS))
    ]


def _truncated(context: Context, log: PartyId, present: int, expected: int) -> AuditFinding:
    zh, en, act_zh, act_en = _whose(context, log)
    return AuditFinding(
        log,
        present,
        "",
        "TRUNCATED",
        f"{zh}末尾缺少第 {present} 至 {expected - 1} 条。{act_zh}",
        f"{en} lacks its end, entries {present} to {expected - 1}. {act_en}",
    )


def _extra(context: Context, log: PartyId, index: int) -> AuditFinding:
    zh, en, act_zh, act_en = _whose(context, log)
    return AuditFinding(
        log,
        index,
        "",
        "EXTRA",
        f"{zh}第 {index} 条不是由账本写入的。{act_zh}",
        f"entry {index} of {en} was not written by the ledger. {act_en}",
    )


def _tree(context: Context, log: PartyId, index: int | None) -> AuditFinding:
    zh, en, act_zh, act_en = _whose(context, log)
    return AuditFinding(
        log,
        index,
        "",
        "TREE",
        f"{zh}保存的哈希树与正文不符。{act_zh}",
        f"the stored tree of {en} does not follow from the bodies. {act_en}",
    )


def _checkpoint(context: Context, log: PartyId, good: int, size: int, signers: str) -> AuditFinding:
    zh, en, act_zh, act_en = _whose(context, log)
    return AuditFinding(
        log,
        good,
        "",
        "CHECKPOINT",
        f"{zh}第 {good} 至 {size - 1} 条之间有改动：{size} 条的检查点（共签：{signers}）与重算的树根不符。{act_zh}",
        f"between entries {good} and {size - 1} of {en} something was changed: the checkpoint of {size} entries "
        f"(co-signed by {signers}) has other roots than the bodies. {act_en}",
    )


def _signature(context: Context, log: PartyId, size: int, party: str) -> AuditFinding:
    zh, en, act_zh, act_en = _whose(context, log)
    return AuditFinding(
        log,
        None,
        party,
        "SIGNATURE",
        f"{zh}在 {size} 条处的检查点：{party} 的签名缺失或不成立。{act_zh}",
        f"the checkpoint of {en} at {size} entries: the signature of {party} is missing or does not hold. {act_en}",
    )
