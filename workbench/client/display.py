"""What a notebook shows: rows as tables with every string as text, and widgets where some are installed.

The host knows no widget: it asks the entry points "workbench.widgets" for one by name, and without it shows a sentence.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from typing import Any

from workbench.client.session import Record

GROUP = "workbench.widgets"
SHOWN_ROWS = 50


class Rows(list[Record]):
    """A list of rows that a notebook shows as a table; strings from files and partners are shown as text."""

    def __init__(self, rows: Iterable[Record], columns: Sequence[str] = ()) -> None:
        super().__init__(rows)
        self.columns = list(columns) or (list(self[0]) if self else [])

    def __repr__(self) -> str:
        lines = ["  ".join(self.columns)]
        lines += ["  ".join(_text(row.get(name)) for name in self.columns) for row in self[:SHOWN_ROWS]]
        if len(self) > SHOWN_ROWS:
            lines.append(f"… {len(self) - SHOWN_ROWS:,}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_text(row.get(name)))}</td>" for name in self.columns) + "</tr>"
            for row in self[:SHOWN_ROWS]
        )
        rest = f"<p>… {len(self) - SHOWN_ROWS:,}</p>" if len(self) > SHOWN_ROWS else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"


def make_widget(name: str, **values: Any) -> Any:
    """An installed widget by name ("venn", "waterfall", "progress"), or None when there is none."""
    found = next((point for point in entry_points(group=GROUP) if point.name == name), None)
    return found.load()(**values) if found is not None else None


def show(thing: Any) -> None:
    """Display something below the running cell; without IPython nothing happens."""
    try:
        from IPython.display import display
    except ImportError:
        return
    display(thing)  # type: ignore[no-untyped-call]  # IPython has no types here


def _text(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_text(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(one) for one in value)
    return str(value)


__all__ = ["Rows", "make_widget", "show"]
