"""How these pages name institutions, entries, fields and values. Pure: texts in, texts out.

An entry, a field or a frame of an unknown kind keeps its own name: nothing is hidden because this page is older than
the plugin that wrote it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from workbench_widgets import formats
from workbench_widgets.plain import holds_unmasked

if TYPE_CHECKING:
    from workbench.app.page import PageContext

Entry = Mapping[str, Any]
LETTERS = "甲乙丙丁戊己庚辛"


class Texts(Protocol):
    """A page's texts, or a test's; KeyError for an unknown key."""

    def __call__(self, key: str, /, **fields: object) -> str: ...


@dataclass(frozen=True, slots=True)
class Words:
    """Texts of one language with the names of the institutions. parties, former: (id, Chinese, English) of those of today
    and of those that have left; own: this one's id.
    """

    t: Texts
    lang: formats.Lang
    parties: Sequence[Sequence[str]]
    own: str
    former: Sequence[Sequence[str]] = ()

    def party(self, name: str) -> str:
        """An institution as staff call it."""
        for one, zh, en in (*self.parties, *self.former):
            if one == name:
                return zh if self.lang == "zh" else en
        return name

    def many(self, names: Sequence[str]) -> str:
        """Several institutions."""
        known = [one for one in self.ordered() if one in names]
        return ("、" if self.lang == "zh" else ", ").join(self.party(one) for one in [*known, *(set(names) - set(known))])

    def lane(self, name: str) -> str:
        """An institution above a lane, where there is room for a word."""
        full = self.party(name)
        return full if self.lang == "zh" else full.split(" ")[0]

    def letters(self, names: Sequence[str]) -> str:
        """Several institutions by their letters, in their fixed order."""
        found = [self.tile(one) for one in self.ordered() if one in names]
        return ("、" if self.lang == "zh" else ", ").join(found)

    def named(self, sentence: str) -> str:
        """A sentence of the node with the institutions' names in place of their ids."""
        for one in (*self.parties, *self.former):
            name = rf"(?<![a-z0-9-]){re.escape(one[0])}(?![a-z0-9-])"
            sentence = re.sub(rf" ?{name} ?" if self.lang == "zh" else name, self.party(one[0]), sentence)
        return _capital(sentence)

    def tile(self, name: str) -> str:
        """The letter of an institution, the same in both languages."""
        for one, zh, _ in (*self.parties, *self.former):
            if one == name:
                return zh[:1] or "?"
        return name[:1].upper() or "?"

    def ordered(self) -> list[str]:
        """All institutions in the fixed order of their letters."""
        letters = {letter: place for place, letter in enumerate(LETTERS)}
        return sorted((one[0] for one in self.parties), key=lambda one: (letters.get(self.tile(one), 99), one))

    def rank(self, name: str) -> tuple[int, str]:
        """Where an institution stands among the others; those that have left come last."""
        known = self.ordered()
        return (known.index(name) if name in known else len(known), name)

    def lanes(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        """The institutions of today, and of those that have left the ones that these entries are about, as components take them."""
        told = {str(one["log"]) for one in entries} | {str(one["values"].get("partner", "")) for one in entries}
        return [self.tiles(one) for one in [*self.ordered(), *(one[0] for one in self.former if one[0] in told)]]

    def tiles(self, name: str) -> dict[str, Any]:
        """An institution as the components take it."""
        return {"party": name, "tile": self.tile(name), "name": self.lane(name), "mine": name == self.own}

    def count(self, value: int) -> str:
        return formats.count(value, self.lang)

    def maybe(self, key: str, otherwise: str, **fields: object) -> str:
        """The text of a key, or another one when there is none or a field is missing."""
        try:
            return self.t(key, **fields)
        except (KeyError, IndexError):
            return otherwise

    def both(self, value: Mapping[str, Any]) -> str:
        """The sentence that a reply brings in both languages."""
        return safe(str(value.get(self.lang, "")))

    # ------------------------------------------------------------------ entries

    def place(self, entry: Entry) -> str:
        """Where an entry lies: 甲证券第 186 条."""
        return self.t("place", party=self.party(entry["log"]), index=self.count(entry["index"]))

    def name(self, entry: Entry) -> str:
        """What an entry is, in a few words and with the number that matters, if this node may know it."""
        kind = str(entry["kind"])
        if not kind:
            return self.t("unreadable")
        if kind == "intersection.message" and entry["values"].get("message"):
            return self.frame(str(entry["values"]["message"]))
        plain = _capital(self.both(entry).rstrip("。."))
        values = {name: self._number(value) for name, value in entry["values"].items()}
        short = self.maybe(f"act.{kind}", plain, **values)
        if short == plain and entry["closed"]:
            return self.maybe(f"act.{kind}.closed", plain)
        return safe(short)

    def frame(self, message: str) -> str:
        """The name of a protocol message."""
        return self.maybe(f"frame.{message}", message)

    def title(self, entry: Entry) -> str:
        """What kind of entry it is, without numbers; for headings and for what is said about a changed one."""
        kind = str(entry["kind"])
        message = str(entry.get("values", {}).get("message", ""))
        if kind == "intersection.message" and message:
            return self.t("name.message", frame=self.frame(message))
        return self.maybe(f"name.{kind}", _capital(self.both(entry).rstrip("。.")) or self.t("unreadable"))

    def meaning(self, entry: Entry) -> str:
        """What an entry says, in a sentence."""
        values = entry["values"]
        if entry["kind"] == "intersection.message":
            sender, recipient = route(entry)
            return self.t(
                "meaning.message",
                sender=self.party(sender), recipient=self.party(recipient), frame=self.frame(str(values.get("message", ""))),
            )  # fmt: skip
        return self.maybe(f"meaning.{entry['kind']}", _capital(self.both(entry)))

    def problem(self, problem: str) -> str:
        """What is wrong with an entry, in a few words."""
        return self.maybe(f"problem.{problem}", problem)

    # ------------------------------------------------------------------ values

    def value(self, name: str, value: str, unit: str = "") -> str:
        """One field's value as people read it."""
        if unit in ("1", "customers", "entries", "places") and value.isdigit():
            return self.count(int(value))
        if unit == "B" and value.isdigit():
            return formats.size(int(value), self.lang)
        if unit == "ms" and value.isdigit():
            return formats.time(int(value), self.lang)
        if name == "time" and len(value) == 24:
            return self._time(value)
        if name == "job" and value:
            return formats.short_id(value)
        if name == "kind":
            return self.maybe(f"name.{value}", value)
        if name in ("partner", "recipient", "origin", "party", "initiator"):
            return self.party(value)
        if name == "message":
            return self.frame(value)
        if name == "reasons":
            return self._reasons(value)
        if len(value) == 64 and all(one in "0123456789abcdef" for one in value):
            return formats.digest("", value, 4)
        return safe(self.maybe(f"value.{name}.{value}", value))

    def _time(self, value: str) -> str:
        try:
            return formats.time(round(datetime.fromisoformat(value).timestamp() * 1000), self.lang)
        except ValueError:
            return safe(value)

    def _number(self, value: str) -> str:
        return self.count(int(value)) if value.isdigit() and len(value) < 13 else value

    def _reasons(self, value: str) -> str:
        try:
            counts = {str(code): int(count) for code, count in json.loads(value).items()}
        except (ValueError, TypeError, AttributeError):
            return safe(value)
        parts = [f"{self.maybe(f'reason.{code}', code)} {self.count(count)}" for code, count in counts.items()]
        return (" · ").join(parts) or "—"


def words_of(page: PageContext) -> Words:
    """The texts of a page in its language of this moment."""
    return Words(page.t, "zh" if page.lang == "zh" else "en", page.me["parties"], page.me["me"]["party"], page.me.get("former", ()))


def safe(words: str) -> str:
    """The same text, or a remark in its place when it holds what reads as a whole phone or ID number."""
    return "****" if holds_unmasked(words) else words


def _capital(sentence: str) -> str:
    """A sentence of the node, which may begin in the middle, as one that stands alone."""
    return sentence[:1].upper() + sentence[1:]


def route(entry: Entry) -> tuple[str, str]:
    """Sender and recipient of the frame that a record is about."""
    here, there = str(entry["log"]), str(entry["values"].get("partner", ""))
    return (there, here) if entry["values"].get("direction") == "received" else (here, there)


__all__ = ["Entry", "Texts", "Words", "route", "safe", "words_of"]
