"""A text that is put together from templates and remembers where each value came to stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple

from workbench.domain.documents import FieldSpan

_PLACE: Final = re.compile(r"\{(=?)([a-z0-9_@-]+)\}")


class Value(NamedTuple):
    """What is written: text is the field, `glued` follows it at once (a per-cent sign), unit belongs to it wherever it stands."""

    text: str
    unit: str = ""
    glued: str = ""


class Writer:
    """Collects text; `{name}` in a template writes a value and records its first place, `{=name}` writes it only."""

    __slots__ = ("_length", "_parts", "fields")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self.fields: dict[str, FieldSpan] = {}

    def put(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def fill(self, template: str, values: Mapping[str, Value]) -> None:
        """Write a template. KeyError: it asks for a value that is not there."""
        end = 0
        for place in _PLACE.finditer(template):
            self.put(template[end : place.start()])
            value = values[place[2]]
            if not place[1] and place[2] not in self.fields:
                self.fields[place[2]] = FieldSpan(value.text, value.unit, self._length, self._length + len(value.text))
            self.put(value.text + value.glued)
            end = place.end()
        self.put(template[end:])

    def line(self, template: str, values: Mapping[str, Value], end: str = "\n") -> None:
        self.fill(template, values)
        self.put(end)

    def text(self) -> str:
        return "".join(self._parts)


def names_in(template: str) -> set[str]:
    """The values that a template asks for."""
    return {place[2] for place in _PLACE.finditer(template)}


_MONTHS: Final = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
DATE_STYLES: Final = ("zh", "iso", "slash", "dot", "digits")


def shown_date(day: date, style: str) -> str:
    """A date as documents write it. style: one of DATE_STYLES, or "en"."""
    if style == "zh":
        return f"{day.year}年{day.month}月{day.day}日"
    if style == "slash":
        return f"{day.year}/{day.month:02d}/{day.day:02d}"
    if style == "dot":
        return f"{day.year}.{day.month:02d}.{day.day:02d}"
    if style == "digits":
        return f"{day.year}{day.month:02d}{day.day:02d}"
    if style == "en":
        return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"
    return day.isoformat()


def shown_percent(value: Decimal, style: str) -> Value:
    """A rate as documents write it: 1.20%, 1.2%, 1.20 %, or full-width digits."""
    if style == "short":
        return Value(f"{value.normalize():f}", "%", "%")
    if style == "wide":
        return Value(f"{value:.2f}".translate(WIDE), "%", "％")
    return Value(f"{value:.2f}", "%", " %" if style == "space" else "%")


WIDE: Final = str.maketrans("0123456789.", "０１２３４５６７８９．")
PERCENT_STYLES: Final = ("plain", "plain", "plain", "short", "short", "space")


def spaced(label: str, random: Random) -> str:
    """A label as tables set it: sometimes with blanks between its characters."""
    if len(label) <= 5 and random.random() < 0.12:
        return random.choice((" ", "　")).join(label)
    return label
