"""Masks for what staff typed themselves, before it goes into a table: components refuse a whole phone or identity number."""

from __future__ import annotations

import re

_WHOLE = re.compile(
    r"(?<![0-9A-Za-z])(?:(?:\+?86|0086)[ -]?)?(1[0-9]{2})[ -]?[0-9]{4}[ -]?([0-9]{4})(?![0-9A-Za-z])"
    r"|(?<![0-9A-Za-z])([0-9]{4})[0-9]{10}([0-9]{3}[0-9Xx])(?![0-9A-Za-z])"
)


def masked(text: str) -> str:
    """The text with 138****5678 and 3101**********123X in place of whole phone and identity numbers; everything else stays. Pure."""
    return _WHOLE.sub(lambda found: f"{found[1]}****{found[2]}" if found[1] else f"{found[3]}**********{found[4]}", text)


__all__ = ["masked"]
