"""The answer of the page: can this be believed, and if not, where does it break and who acts. Pure.

Colour follows the worst of what was found: two histories, a changed entry, a missing required signature, frames with
one record, a missing third signature, all well. Nothing is called checked that was not.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench_ledger.pages.words import Words, safe
from workbench_widgets import formats

Reply = Mapping[str, Any]
CONSEQUENCES = frozenset({"TREE", "CHECKPOINT", "SIGNATURE", "CONFLICT", "ROLLED_BACK"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the answer strip, the numbers and the tab say."""

    state: str
    sentence: str
    reason: str = ""
    todo: str = ""
    badge: Mapping[str, str] = field(default_factory=dict)
    numbers: tuple[Mapping[str, Any], ...] = ()
    remark: str = ""
    tab: str = ""


def of_job(check: Reply, one_sided: int, words: Words, *, silent: Collection[str] = ()) -> Answer:
    """The verdict on one job. one_sided: frames that have one record only; silent: institutions that do not answer."""
    t = words.t
    numbers = _numbers(check["checked"], check["agree"], check["changed"], check["pending"], words)
    remark = t("numbers.bodies")
    if check["conflicts"]:
        return _fork(check["conflicts"], numbers, words)
    if check["changed"]:
        return Answer(
            "tampered", t("answer.changed", count=words.count(check["changed"])),
            changed_reason(check["comparisons"], check["problems"], words), restore(check["problems"], words), {}, numbers, remark,
            t("tab.changed", count=words.count(check["changed"])),
        )  # fmt: skip
    sides = _sides(check["logs"], words)
    sight = _sight(check, words)
    missing = _missing(check["logs"], required=True)
    if check["pending"]:
        lacking = words.many(missing) or t("somebody")
        return Answer(
            "pending", t("answer.pending", count=words.count(check["pending"]), missing=lacking),
            _joined(words, sides, sight), waiting(missing, silent, words), {}, numbers, remark, t("tab.pending"),
        )  # fmt: skip
    if one_sided:
        return Answer(
            "pending", t("answer.one_sided", count=words.count(one_sided)), _joined(words, t("reason.one_sided"), sides),
            t("todo.one_sided"), {}, numbers, remark,
        )  # fmt: skip
    third = _missing(check["logs"], required=False)
    badge = {"label": t("badge.degraded", share=_share(check["logs"])), "state": "pending"} if third else {}
    todo = waiting(third, silent, words, required=False) if third else ""
    return Answer(
        "sealed", t("answer.agrees", count=words.count(check["checked"])), _joined(words, sides, sight), todo, badge, numbers, remark
    )


def waiting(missing: Sequence[str], silent: Collection[str], words: Words, *, required: bool = True) -> str:
    """What to do about signatures that are still missing: wait, or call whoever does not answer."""
    away = [one for one in missing if one in silent]
    if away:
        key = "todo.silent" if required else "todo.silent_third"
        return words.t(key, missing=words.many(away), party=words.party(words.own))
    return words.t("todo.pending" if required else "todo.third", missing=words.many(missing) or words.t("somebody"))


def of_log(audit: Reply, words: Words, *, silent: Collection[str] = ()) -> Answer:
    """The verdict on the own log and all mirrors after an audit. silent: institutions that do not answer."""
    t = words.t
    checked = int(audit["entries"]) + sum(int(size) for size in audit["mirrors"].values())
    entries = [one for one in audit["findings"] if one["problem"] not in ("CONFLICT", "ROLLED_BACK")]
    changed, pending = len(changed_places(entries)), int(audit["pending"])
    numbers = _numbers(checked, max(0, checked - changed - pending), changed, pending, words)
    remark = t("numbers.bodies")
    if audit["conflicts"]:
        return _fork(audit["conflicts"], numbers, words)
    if changed:
        reason = changed_reason(audit["comparisons"], audit["findings"], words)
        return Answer(
            "tampered", t("answer.changed", count=words.count(changed)), reason, restore(audit["findings"], words), {}, numbers,
            remark, t("tab.changed", count=words.count(changed)),
        )  # fmt: skip
    held = t("reason.mirrors", mirrors=_mirrors(audit, words))
    if pending:
        return Answer(
            "sealed", t("answer.log_pending", count=words.count(checked), pending=words.count(pending)), held,
            waiting(list(silent), silent, words) if silent else t("todo.log_pending"), {}, numbers, remark,
        )  # fmt: skip
    return Answer("sealed", t("answer.log_agrees", count=words.count(checked)), held, "", {}, numbers, remark)


def _fork(conflicts: Sequence[Reply], numbers: tuple[Mapping[str, Any], ...], words: Words) -> Answer:
    """Two signed histories: worse than any changed entry, since it is an institution that signed both."""
    t = words.t
    return Answer(
        "tampered", t("answer.fork", party=words.party(conflicts[0]["log"])), fork_reason(conflicts, words),
        t("todo.fork", parties=words.many(words.ordered())), {}, numbers, t("numbers.bodies"), t("tab.fork"),
    )  # fmt: skip


def unchecked(total: int, pending: int, words: Words, *, may_audit: bool) -> Answer:
    """A log nobody has checked yet: what is co-signed is known, what lies here is not."""
    t = words.t
    numbers = (
        {"value": total, "label": t("numbers.entries")},
        {"value": total - pending, "label": t("numbers.sealed"), "state": "sealed"},
        {"value": pending, "label": t("numbers.pending"), "state": "pending"},
    )
    todo = t("todo.audit") if may_audit else t("todo.open_job")
    return Answer("info", t("answer.unchecked", count=words.count(total)), t("reason.unchecked"), todo, {}, numbers)


def reading(count: int, words: Words) -> Answer:
    """Entries are listed and nothing has been checked yet: said at once, so that nobody waits before an empty page."""
    return Answer("info", words.t("answer.reading", count=words.count(count)), words.t("reason.reading"))


def hits(found: Reply, words: Words, *, changed: int = 0) -> Answer:
    """How many entries fit a search, how far the index has read, and what a search is not: a check."""
    t, index = words.t, found["index"]
    count, most = int(found["count"]), int(found["counted_to"])
    sentence = t("answer.hits_page") if count < 0 else t("answer.hits_many" if count > most else "answer.hits", count=words.count(min(count, most)))
    whole = index["covered"] == index["size"]
    coverage = t("index.whole" if whole else "index.partial", covered=words.count(index["covered"]), size=words.count(index["size"]))
    warning = t("reason.also_changed", count=words.count(changed)) if changed else ""
    back = t("reason.words_back", count=words.count(int(found["words_back"]))) if found["words_back"] else ""
    todo = t("todo.hits") if whole else t("todo.partial")
    tab = t("tab.changed", count=words.count(changed)) if changed else ""
    return Answer("info" if whole else "pending", sentence, _joined(words, warning, coverage, back), todo, tab=tab)


def no_hits(text: str, kind: str, words: Words, *, changed: int = 0) -> Answer:
    """Nothing fits a search: which fields were looked at, and which cannot be. changed: entries known to be changed."""
    what = safe(text) or kind
    warning = words.t("reason.also_changed", count=words.count(changed)) if changed else ""
    tab = words.t("tab.changed", count=words.count(changed)) if changed else ""
    return Answer(
        "info", words.t("answer.no_hits", what=what), _joined(words, warning, words.t("searched")), words.t("todo.no_hits"), tab=tab
    )


def changed_places(findings: Sequence[Reply]) -> list[tuple[str, int | None]]:
    """Entries that were changed; findings about trees and heads count only where no entry explains them."""
    named = list(dict.fromkeys((one["log"], one["index"]) for one in findings if one["problem"] not in CONSEQUENCES))
    return named or list(dict.fromkeys((one["log"], one["index"]) for one in findings))


def changed_reason(comparisons: Sequence[Reply], problems: Sequence[Reply], words: Words) -> str:
    """Which entry, which field, then and now; then how the copies of the others stand."""
    t = words.t
    for one in comparisons:
        differing = [row for row in one["rows"] if row["here"] != row["cosigned"]]
        where = t("changed.where", place=words.place(one), name=words.title(one))
        if not one["proven"]:
            continue
        agreeing = [party for party, state in one["copies"].items() if state == "cosigned"]
        copies = t("changed.copies", parties=words.many(agreeing))
        if not differing:
            return _joined(words, t("changed.spelling", where=where), copies)
        row = differing[0]
        if row["visibility"] == "committed":
            told = t("changed.commitment", where=where, field=words.both(row))
        else:
            told = t(
                "changed.field", where=where, field=words.both(row), then=_value(row, "cosigned", words),
                now=_value(row, "here", words),
            )  # fmt: skip
        more = t("changed.more_fields", count=words.count(len(differing) - 1)) if len(differing) > 1 else ""
        return _joined(words, told, more, copies)
    for problem in problems:
        if problem["index"] is not None:
            return t("changed.unnamed", place=words.place(problem), problem=words.problem(str(problem["problem"])))
    return words.both(problems[0]) if problems else ""


def restore(problems: Sequence[Reply], words: Words) -> str:
    """Who must do what about changed entries; a damaged mirror is its holder's to restore."""
    own = any(one["log"] == words.own for one in problems)
    return words.t("todo.restore" if own else "todo.restore_mirror", party=words.party(words.own))


def fork_reason(conflicts: Sequence[Reply], words: Words) -> str:
    """Both heads of a contradiction, side by side."""
    one = conflicts[0]
    return words.t(
        "reason.fork", party=words.party(one["log"]), held=head_of(one["held"], words), offered=head_of(one["offered"], words)
    )


def head_of(note: str, words: Words) -> str:
    """A signed head in short: its size and its SHA-256 root."""
    lines = note.split("\n")
    if len(lines) < 3:
        return words.t("no_head")
    size = words.count(int(lines[1])) if lines[1].isdigit() else lines[1]
    return words.t("head_short", size=size, root=f"SHA-256 {lines[2][:8]}…")


def _numbers(checked: int, agree: int, changed: int, pending: int, words: Words) -> tuple[Mapping[str, Any], ...]:
    t = words.t
    return (
        {"value": checked, "label": t("numbers.checked")},
        {"value": agree, "label": t("numbers.agree"), "state": "sealed"},
        {"value": changed, "label": t("numbers.changed"), **({"state": "tampered"} if changed else {})},
        {"value": pending, "label": t("numbers.pending"), **({"state": "pending"} if pending else {})},
    )


def _sides(logs: Sequence[Reply], words: Words) -> str:
    parts = []
    for one in sorted(logs, key=lambda one: words.rank(one["log"])):
        signers = [each["party"] for each in one["signatures"] if each["valid"]]
        share = f"{len(signers)}/{len(one['signatures'])}"
        parts.append(
            words.t("side", party=words.party(one["log"]), count=words.count(one["entries"]), size=words.count(one["size"]), share=share)
        )
    return ("；" if words.lang == "zh" else "; ").join(parts) + ("。" if words.lang == "zh" else ".")


def _sight(check: Reply, words: Words) -> str:
    """What this node cannot see of the others' entries, said whenever there are any."""
    others = [one["log"] for one in check["logs"] if one["log"] != words.own]
    if not others:
        return ""
    key = "reason.digest_only" if len(others) == len(check["logs"]) else "reason.partly_seen"
    return words.t(key, parties=words.many(others), count=words.count(check["without_values"]))


def _missing(logs: Sequence[Reply], *, required: bool) -> list[str]:
    """Institutions whose signature some log lacks; required: only those without whom it is not final."""
    found = {
        each["party"]
        for one in logs
        for each in one["signatures"]
        if not each["valid"] and (not required or each["party"] in one["required"])
    }
    return sorted(found)


def _share(logs: Sequence[Reply]) -> str:
    counts = [(sum(1 for each in one["signatures"] if each["valid"]), len(one["signatures"])) for one in logs]
    fewest, everyone = min(counts)
    return f"{fewest}/{everyone}"


def _mirrors(audit: Reply, words: Words) -> str:
    parts = [f"{words.party(log)} {words.count(int(size))}" for log, size in sorted(audit["mirrors"].items())]
    return ("、" if words.lang == "zh" else ", ").join(parts)


def _value(row: Reply, side: str, words: Words) -> str:
    value = row[side]
    if value is None:
        return words.t("no_value")
    return words.value(str(row["name"]), str(value)) or words.t("empty_value")


def _joined(words: Words, *parts: str) -> str:
    return ("" if words.lang == "zh" else " ").join(one for one in parts if one)


def checked_at(now_ms: int, seconds: float, words: Words) -> str:
    """When a check ended and how long it took."""
    return words.t("checked_at", time=formats.clock(now_ms, words.lang), seconds=f"{seconds:.1f}")


__all__ = ["Answer", "changed_places", "changed_reason", "checked_at", "fork_reason", "head_of", "hits", "no_hits", "of_job", "of_log", "reading", "restore", "unchecked"]
