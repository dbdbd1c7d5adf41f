"""双清单: what is collected and what is shared, from the published notices in force. docs/protocols/notice.md section 7. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from workbench_consent.notices.text import Notice, Words


@dataclass(frozen=True, slots=True)
class Collected:
    """One row of the collection list: a category, what for, how, how long; notices: versions that say so."""

    category: str
    purpose: str
    purpose_text: Words
    method: Words
    retention_days: int
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shared:
    """One row of the sharing list: a recipient and a purpose, with everything article 23 asks to be told."""

    recipient: str
    recipient_name: Words
    recipient_contact: str
    purpose: str
    purpose_text: Words
    method: Words
    categories: tuple[str, ...]
    retention_days: int
    notices: tuple[str, ...] = ()


def collected(in_force: Iterable[Notice]) -> list[Collected]:
    """Rows by category and purpose; equal rows of several notices are one."""
    found: dict[Collected, list[str]] = {}
    for notice in in_force:
        for line in notice.lines:
            for category in line.categories:
                row = Collected(category, line.purpose, line.purpose_text, line.method, line.retention_days)
                found.setdefault(row, []).append(notice.name)
    rows = [replace(row, notices=tuple(dict.fromkeys(names))) for row, names in found.items()]
    return sorted(rows, key=lambda one: (one.category, one.purpose, one.notices))


def shared(in_force: Iterable[Notice]) -> list[Shared]:
    """Rows by recipient and purpose; equal rows of several notices are one."""
    found: dict[Shared, list[str]] = {}
    for notice in in_force:
        for line in notice.lines:
            if line.recipient:
                row = Shared(
                    line.recipient, line.recipient_name, line.recipient_contact, line.purpose, line.purpose_text, line.method,
                    line.categories, line.retention_days,
                )  # fmt: skip
                found.setdefault(row, []).append(notice.name)
    rows = [replace(row, notices=tuple(dict.fromkeys(names))) for row, names in found.items()]
    return sorted(rows, key=lambda one: (one.recipient, one.purpose, one.notices))
