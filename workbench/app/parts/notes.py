"""Short texts of a page as one component: facts, lists, headings, next steps. Text stays text (decision 21)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import panel as pn
import param

Block = Mapping[str, Any]
"""One of the functions below makes it; the browser's part is assets/notes.js."""


def asset(name: str) -> str:
    """One file of this package's assets."""
    return files("workbench.app.parts").joinpath("assets", name).read_text("utf-8")


class Notes(pn.custom.JSComponent):
    """Blocks of text, drawn again whenever they change. file: a text for the browser to keep under a name."""

    blocks = param.String("[]", precedence=0)
    framed = param.Boolean(True, precedence=0)
    file = param.String("{}", precedence=0)
    focus_count = param.Integer(0, precedence=0)

    _esm = asset("notes.js")
    _stylesheets = [asset("notes.css")]

    def __init__(self, *blocks: Block, **options: Any) -> None:  # Any: Panel's layout parameters
        super().__init__(**{"sizing_mode": "stretch_width", "margin": 0, **options})  # type: ignore[no-untyped-call]
        self._saved = 0
        self.tell(*blocks)

    def tell(self, *blocks: Block) -> None:
        """Replace what is shown; without a block the component hides, so that no empty card stays behind."""
        self.param.update(blocks=json.dumps(blocks, ensure_ascii=False), visible=bool(blocks))

    def told(self) -> list[dict[str, Any]]:
        """What is shown now."""
        blocks: list[dict[str, Any]] = json.loads(self.blocks)
        return blocks

    def take_focus(self) -> None:
        """Move the keyboard focus to the first sentence, as after an action: it is read out, and Tab goes on from here."""
        self.focus_count += 1

    def save_file(self, name: str, text: str, *, kind: str = "application/json") -> None:
        """Let the browser keep a text as a file; kind: its media type."""
        self._saved += 1
        # A spreadsheet takes a CSV for UTF-8 only with a mark in front.
        mark = "\ufeff" if kind == "text/csv" else ""
        self.file = json.dumps({"name": name, "text": mark + text, "type": kind, "n": self._saved}, ensure_ascii=False)

    def print_page(self) -> None:
        """Let the browser print the page, badges included."""
        self._saved += 1
        self.file = json.dumps({"name": "", "print": True, "n": self._saved})


def head(title: str, *, job: str = "", parties: Sequence[Mapping[str, Any]] = (), subject: str = "", meta: str = "") -> Block:
    """First line of a page: its name, the job, who with whom, what for."""
    return {"kind": "head", "title": title, "id": job, "parties": list(parties), "subject": subject, "meta": meta}


def heading(title: str, hint: str = "") -> Block:
    """Heading of a card, with a remark at its right."""
    return {"kind": "title", "title": title, "hint": hint}


def text(sentence: str, *, meta: bool = False, tone: str = "") -> Block:
    """One sentence; meta: small and grey."""
    return {"kind": "text", "text": sentence, "meta": meta, "tone": tone}


def facts(*rows: tuple[str, str] | tuple[str, str, str]) -> Block:
    """Label and value; a third member "mono" or a state name sets how the value looks. Rows without a value are left out."""
    return {
        "kind": "facts",
        "rows": [
            {
                "label": row[0],
                "value": row[1],
                "mono": len(row) > 2 and row[2] == "mono",
                "tone": row[2] if len(row) > 2 and row[2] != "mono" else "",
            }
            for row in rows
            if row[1]
        ],
    }


def bullets(rows: Sequence[str], *, title: str = "", mark: str = "dot", tone: str = "") -> Block:
    """A list; mark: "yes", "no", "warn" or "dot"."""
    return {"kind": "list", "title": title, "rows": list(rows), "mark": mark, "tone": tone}


def columns(*blocks: Block) -> Block:
    """Blocks side by side where there is room."""
    return {"kind": "columns", "blocks": list(blocks)}


def next_steps(title: str, *rows: tuple[str, str]) -> Block:
    """What comes next, in order."""
    return {
        "kind": "next",
        "title": title,
        "rows": [{"title": f"{number}　{head}", "text": said} for number, (head, said) in enumerate(rows, 1)],
    }


def command(line: str, *, copy: str, copied: str, select: str) -> Block:
    """A command with a button that copies it; select: what to do when the browser does not allow copying."""
    return {"kind": "code", "text": line, "copy": copy, "copied": copied, "select": select}
