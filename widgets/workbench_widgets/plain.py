"""Traits that hold plain data only, and never an unmasked identifier of a person.

Widget state is stored in notebooks and travels to browsers, so it must be masked before it gets here. The check is the
last line, not the mask itself: it recognises mainland phone numbers and 18-character ID numbers wherever they stand
in a text, and refuses the whole value. The message names the place and never the value.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final

import traitlets

# A run of digits that stands by itself; digests, times in ms and ids are longer or joined to letters.
_UNMASKED: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:(?:\+?86|0086)[ -]?)?1[0-9]{2}[ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])[0-9]{17}[0-9Xx](?![0-9A-Za-z])"
)
_MAX_DEPTH: Final = 12


def check_plain(value: Any, where: str = "value", depth: int = 0) -> None:  # Any: data of unknown shape, checked here
    """Raise ``ValueError`` unless ``value`` is JSON data without an unmasked phone or ID number.

    Cost: one pass over the data, about 1 µs a value.
    """
    if value is None or isinstance(value, bool | int):
        return
    if isinstance(value, str):
        if holds_unmasked(value):
            raise ValueError(f"{where}: holds an unmasked phone or ID number; mask it first")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where}: not a finite number")
    elif depth >= _MAX_DEPTH:
        raise ValueError(f"{where}: nested too deeply")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            check_plain(item, f"{where}[{number}]", depth + 1)
    elif isinstance(value, dict):
        for number, (key, item) in enumerate(value.items()):
            if not isinstance(key, str) or holds_unmasked(key):
                raise ValueError(f"{where}: key {number} is not a plain text")
            check_plain(item, f"{where}.{key}", depth + 1)
    else:
        raise ValueError(f"{where}: {type(value).__name__} is not plain data")


def holds_unmasked(text: str) -> bool:
    """Whether a text holds something that reads as a whole phone or ID number."""
    return _UNMASKED.search(text) is not None


class PlainText(traitlets.Unicode):  # type: ignore[type-arg]  # traitlets' generics differ between versions
    """A text without an unmasked identifier."""

    def validate(self, obj: Any, value: Any) -> Any:  # Any: traitlets' signature
        text = super().validate(obj, value)
        check_plain(text, str(self.name))
        return text


class PlainList(traitlets.List):  # type: ignore[type-arg]  # items are checked by check_plain
    """A list of JSON data without unmasked identifiers."""

    def validate(self, obj: Any, value: Any) -> Any:  # Any: traitlets' signature
        items = super().validate(obj, value)
        check_plain(items, str(self.name))
        return items


class PlainDict(traitlets.Dict):  # items are checked by check_plain
    """A dictionary of JSON data without unmasked identifiers."""

    def validate(self, obj: Any, value: Any) -> Any:  # Any: traitlets' signature
        items = super().validate(obj, value)
        check_plain(items, str(self.name))
        return items
