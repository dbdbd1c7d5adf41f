"""The two components of these pages in the browser: the head with its search, and a card of sentences.

Values go over as JSON text and are shown as text only (decision 21). What comes back from a browser is checked here:
anything that is not one of our messages is nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import panel as pn
import param

from workbench_widgets.component import Component
from workbench_widgets.panel_pane import pane

Told = Callable[[str, Mapping[str, Any]], Any]


def _asset(name: str) -> str:
    return files("workbench_ledger.pages").joinpath("assets", name).read_text("utf-8")


def _read(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) and isinstance(value.get("name"), str) else {}


class Later:
    """A component that takes no room and no bytes until it is first shown: each brings 56 KB of script along.

    `view` goes into the layout at once; `visible` is set as of any Panel object.
    """

    def __init__(self, widget: Component) -> None:
        self._widget = widget
        self.view = pn.Column(sizing_mode="stretch_width", margin=0, visible=False)

    @property
    def visible(self) -> bool:
        return bool(self.view.visible)

    @visible.setter
    def visible(self, shown: bool) -> None:
        if shown and not self.view.objects:
            self.view.append(pane(self._widget, margin=0))
        if self.view.visible != shown:
            self.view.visible = shown


class FindBar(pn.custom.JSComponent):
    """Title, search, filters and a line of state.

    `told(name, payload)` is called with "find" {text, kind, log, job} and "drop" {what}.
    """

    shown = param.String('{"title":"","placeholder":"","searched":"","text":"","kinds":[],"kind":"","logs":[],"log":"","jobs":[],'
                         '"job":"","chips":[],"status":"","kind_label":"","log_label":"",'
                         '"job_label":""}')  # fmt: skip
    told = param.String("")
    saved = param.String("{}")

    _esm = _asset("find_bar.js")
    _stylesheets = [_asset("find_bar.css")]

    def __init__(self, heard: Told, **layout: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", "margin": 0, "css_classes": ["wb-search"], **layout})  # type: ignore[no-untyped-call]
        self._heard = heard
        self._saves = 0
        self.param.watch(self._take, "told")

    def draw(self, values: Mapping[str, Any]) -> None:
        """What the head shows, as the script's `draw` reads it."""
        self.shown = json.dumps(values, ensure_ascii=False)

    def offer_file(self, name: str, text: str) -> None:
        """Let the browser save a text as a file."""
        self._saves += 1
        self.saved = json.dumps({"name": name, "text": text, "n": self._saves}, ensure_ascii=False)

    def print_page(self) -> None:
        """Open the browser's print dialog."""
        self._saves += 1
        self.saved = json.dumps({"print": True, "n": self._saves})

    def _take(self, event: Any) -> Any:
        told = _read(event.new)
        return self._heard(told["name"], told) if told else None


class Card(pn.custom.JSComponent):
    """A card of sentences; `heard(name)` is called when one of its buttons is pressed, "close" included.

    Lines are made by `text`, `pair`, `item` and `command`. An empty card takes no room.
    """

    shown = param.String('{"heading":"","lines":[],"actions":[]}')
    pressed = param.String("")
    focus_count = param.Integer(0)

    _esm = _asset("card.js")
    _stylesheets = [_asset("card.css")]

    def __init__(self, heard: Callable[[str], Any] | None = None, **layout: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", "margin": 0, **layout})  # type: ignore[no-untyped-call]
        self._heard = heard
        self._names: set[str] = {"close"}
        self.param.watch(self._take, "pressed")

    def tell(
        self,
        heading: str,
        lines: Sequence[Mapping[str, Any]],
        *,
        hint: str = "",
        chip: tuple[str, str] | None = None,
        actions: Sequence[Mapping[str, Any]] = (),
        close: str = "",
        folds: bool = False,
        is_open: bool = False,
    ) -> None:
        """chip: state and word. actions: {name, label, primary?, disabled?}. close: label of the drawer's button."""
        self._names = {"close", *(str(one["name"]) for one in actions)}
        self.visible = bool(heading or lines)
        told = {
            "heading": heading, "lines": list(lines), "hint": hint, "actions": list(actions), "close": close,
            "folds": folds, "open": is_open, "chip": {"state": chip[0], "word": chip[1]} if chip else None,
        }  # fmt: skip
        self.shown = json.dumps(told, ensure_ascii=False)

    def clear(self) -> None:
        """Show nothing."""
        self.tell("", [])

    def take_focus(self) -> None:
        """Move the keyboard focus to the heading."""
        self.focus_count += 1

    def _take(self, event: Any) -> Any:
        name = str(_read(event.new).get("name", ""))
        return self._heard(name) if self._heard is not None and name in self._names else None


def text(words: str) -> dict[str, Any]:
    """A paragraph."""
    return {"kind": "text", "text": words}


def meta(words: str) -> dict[str, Any]:
    """A small remark."""
    return {"kind": "meta", "text": words}


def pair(label: str, words: str, *, state: str = "", mono: bool = False) -> dict[str, Any]:
    """A row of label and value."""
    return {"kind": "pair", "label": label, "text": words, "state": state, "mono": mono}


def item(words: str, *, label: str = "", state: str = "") -> dict[str, Any]:
    """A point of a list."""
    return {"kind": "item", "text": words, "label": label, "state": state}


def command(words: str) -> dict[str, Any]:
    """A line for a terminal."""
    return {"kind": "command", "text": words}


__all__ = ["Card", "FindBar", "Later", "command", "item", "meta", "pair", "text"]
