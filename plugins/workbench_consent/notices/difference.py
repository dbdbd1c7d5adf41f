"""What changed between two versions, and what of it needs new consent. Document: docs/protocols/notice.md section 4. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from workbench_consent.notices.text import Line, Notice, Words

COMPUTED = frozenset({"purpose", "recipient", "method", "category"})
"""Fields whose change is material by itself (PIPL 14 and 23, law-text)."""
NARROWER = "narrower"

_TOLD: dict[str, tuple[str, str]] = {
    "purpose": ("目的", "purpose"),
    "recipient": ("接收方", "recipient"),
    "method": ("方式", "method"),
    "category": ("信息种类", "categories"),
    "retention": ("保存期限", "retention"),
    "succession": ("接收方名称（依登记的承继）", "name of the recipient, by a registered succession"),
    "contact": ("联系方式", "contact"),
    "necessity": ("必要性", "necessity"),
    "effect": ("影响", "effect"),
    NARROWER: ("范围收窄", "narrower scope"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference of a line. material: needs new consent by itself; zh, en: the sentence; before, after: short texts.

    added: categories that are new. The id names it when people confirm it.
    """

    purpose: str
    recipient: str
    field: str
    material: bool
    before: tuple[str, str]
    after: tuple[str, str]
    added: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.purpose}/{self.recipient}/{self.field}"

    @property
    def sentence(self) -> tuple[str, str]:
        zh, en = _TOLD[self.field]
        towards = (f" → {self.recipient}", f" towards {self.recipient}") if self.recipient else ("（本机构自用）", " (own use)")
        need = ("需重新征求同意", "needs new consent") if self.material else ("需告知", "is to be told")
        if self.field == NARROWER:
            need = ("不影响已有授权", "existing grants are not affected")
        return f"{self.purpose}{towards[0]}：{zh}有变更，{need[0]}", f"{self.purpose}{towards[1]}: {en} changed, {need[1]}"


@dataclass(frozen=True, slots=True)
class Staleness:
    """What one later version means for grants of earlier ones, for one line.

    whole: nothing of the line may be used any more; added: categories the earlier grants do not cover.
    """

    purpose: str
    recipient: str
    whole: bool
    added: tuple[str, ...]


def changes(before: Notice | None, after: Notice, succeeded: Mapping[str, Words] | None = None) -> list[Change]:
    """All differences of lines, in the order of the new version, then what is gone. Nothing before: no difference.

    succeeded: institution -> its name since a registered succession: taking that name is told and needs no new consent.
    """
    if before is None:
        return []
    found: list[Change] = []
    for line in after.lines:
        old = before.line(line.purpose, line.recipient)
        found += _new_line(before, line) if old is None else _line_changes(old, line, (succeeded or {}).get(line.recipient))
    gone = [line for line in before.lines if after.line(line.purpose, line.recipient) is None]
    return found + [Change(one.purpose, one.recipient, NARROWER, False, (one.name, one.name), ("", "")) for one in gone]


def optional(found: Sequence[Change]) -> set[str]:
    """Ids that people may add to the material ones: told changes of their own weighing."""
    return {one.id for one in found if not one.material and one.field != NARROWER}


def staleness(found: Sequence[Change], confirmed: Collection[str]) -> list[Staleness]:
    """What the confirmed changes mean, line by line."""
    lines = dict.fromkeys((one.purpose, one.recipient) for one in found if one.id in confirmed)
    made = []
    for purpose, recipient in lines:
        mine = [one for one in found if (one.purpose, one.recipient) == (purpose, recipient) and one.id in confirmed]
        added = tuple(sorted({code for one in mine for code in one.added}))
        made.append(Staleness(purpose, recipient, any(one.field != "category" for one in mine), added))
    return made


def _new_line(before: Notice, line: Line) -> Iterator[Change]:
    told = (line.purpose_text.zh, line.purpose_text.en)
    yield Change(line.purpose, line.recipient, "purpose", True, ("", ""), told)
    if line.recipient and all(one.recipient != line.recipient for one in before.lines):
        name = (line.recipient_name.zh, line.recipient_name.en)
        yield Change(line.purpose, line.recipient, "recipient", True, ("", ""), name)


def _line_changes(old: Line, new: Line, succeeded: Words | None) -> Iterator[Change]:
    def change(field: str, before: tuple[str, str], after: tuple[str, str], added: tuple[str, ...] = ()) -> Change:
        return Change(new.purpose, new.recipient, field, field in COMPUTED, before, after, added)

    if old.purpose_text != new.purpose_text:
        yield change("purpose", _both(old.purpose_text), _both(new.purpose_text))
    if old.recipient_name != new.recipient_name:
        yield change("succession" if new.recipient_name == succeeded else "recipient", _both(old.recipient_name), _both(new.recipient_name))
    channels = set(new.channels) - set(old.channels)
    if old.method != new.method or channels or (new.automated and not old.automated):
        yield change("method", _method(old), _method(new))
    added = tuple(sorted(set(new.categories) - set(old.categories)))
    if added:
        yield change("category", _codes(old.categories), _codes(new.categories), added)
    if new.retention_days > old.retention_days or (new.retention != old.retention and new.retention_days == old.retention_days):
        yield change("retention", _kept(old), _kept(new))
    if old.recipient_contact != new.recipient_contact:
        yield change("contact", (old.recipient_contact,) * 2, (new.recipient_contact,) * 2)
    for field, was, now in (("necessity", old.necessity, new.necessity), ("effect", old.effect, new.effect)):
        if was != now:
            yield change(field, _both(was), _both(now))
    fewer = set(old.categories) - set(new.categories) or set(old.channels) - set(new.channels)
    if fewer or (old.automated and not new.automated) or new.retention_days < old.retention_days:
        yield change(NARROWER, _scope(old), _scope(new))


def _both(words: Words) -> tuple[str, str]:
    return words.zh, words.en


def _codes(codes: Sequence[str]) -> tuple[str, str]:
    return "、".join(codes), ", ".join(codes)


def _method(line: Line) -> tuple[str, str]:
    channels = _codes(line.channels)
    automated = ("；自动化决策", "; automated decision") if line.automated else ("", "")
    reach = (f"；联系渠道 {channels[0]}", f"; by {channels[1]}") if line.channels else ("", "")
    return line.method.zh + reach[0] + automated[0], line.method.en + reach[1] + automated[1]


def _kept(line: Line) -> tuple[str, str]:
    return f"{line.retention.zh}（{line.retention_days} 天）", f"{line.retention.en} ({line.retention_days} days)"


def _scope(line: Line) -> tuple[str, str]:
    return (f"{'、'.join((*line.categories, *line.channels))}，{line.retention_days} 天",
            f"{', '.join((*line.categories, *line.channels))}, {line.retention_days} days")  # fmt: skip
