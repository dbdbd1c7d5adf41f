"""The tie between a page and the window around it, drawn by assets/bridge.js: look, tab titles, notices."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

import panel as pn
import param

ICONS = {
    "refused": "M12 3a9 9 0 100 18 9 9 0 000-18zM6 6l12 12",
    "failed": "M9 7H7a5 5 0 000 10h2M15 7h2a5 5 0 013.5 8.5M8 12h4M4 4l16 16",
    "pending": "M7 3h10M7 21h10M8 3v4l4 5 4-5V3M8 21v-4l4-5 4 5v4",
    "sealed": "M6 11h12v9H6zM8.5 11V8a3.5 3.500 0 017 0v3",
    "info": "M12 3a9 9 0 100 18 9 9 0 000-18zM12 11v6M12 7.5v.1",
    "tampered": "M12 3l7 3v5c0 5-3 8.5-7 10-4-1.5-7-5-7-10V6zM9.5 9l5 5.5M14.5 9l-5 5.5",
}


def _asset(name: str) -> str:
    return files("workbench.app").joinpath("assets", name).read_text("utf-8")


class Bridge(pn.custom.JSComponent):
    """Values go over as JSON text: compared cheaply, and rendered by the browser as text only.

    notices: list of {kind, state, icon, title, lines, code, actions}; tab: {title, running}; go: what the window does.
    pressed: the last button of a notice. is_live: False while the page shows only a state and may be reloaded.
    """

    page = param.String("")
    lang: Any = param.Selector(default="zh", objects=["zh", "en"])
    theme: Any = param.Selector(default="light", objects=["light", "dark"])
    visible = param.Boolean(default=True, precedence=0)
    ready = param.Boolean(default=False)
    is_live = param.Boolean(default=False)
    notices = param.String("[]")
    tab = param.String('{"title": "", "running": false}')
    go = param.String("{}")
    pressed = param.String("")

    _esm = _asset("bridge.js")
    _stylesheets = [_asset("notices.css")]

    def __init__(self, **values: Any) -> None:
        super().__init__(**{"sizing_mode": "stretch_width", "margin": 0, **values})  # type: ignore[no-untyped-call]
        self._shown: dict[str, dict[str, Any]] = {}
        self._handlers: dict[tuple[str, str], Callable[[], Any]] = {}
        self._orders = 0
        self.param.watch(self._take, "pressed")

    def put(
        self,
        kind: str,
        *,
        state: str,
        title: str,
        lines: Sequence[str] = (),
        code: str = "",
        actions: Sequence[Mapping[str, Any]] = (),
        handlers: Mapping[str, Callable[[], Any]] | None = None,
    ) -> None:
        """Show a notice, in place of an earlier one of the same kind."""
        self._shown[kind] = {
            "kind": kind, "state": state, "icon": ICONS[state], "title": title,
            "lines": [line for line in lines if line], "code": code, "actions": list(actions),
        }  # fmt: skip
        for name, handler in (handlers or {}).items():
            self._handlers[kind, name] = handler
        self._draw()

    def take_away(self, kind: str) -> None:
        """Take a notice away; one that is not shown is ignored."""
        if self._shown.pop(kind, None) is not None:
            self._draw()

    def order(self, **what: Any) -> None:
        """Let the window do something: open a page, a window, or save a file."""
        self._orders += 1
        self.go = json.dumps({**what, "n": self._orders}, ensure_ascii=False)

    def _draw(self) -> None:
        self.notices = json.dumps(list(self._shown.values()), ensure_ascii=False)

    def _take(self, event: Any) -> Any:
        try:
            told = json.loads(event.new)
            handler = self._handlers[str(told["kind"]), str(told["name"])]
        except (ValueError, KeyError, TypeError):
            return None  # comes from a browser: what is not one of our buttons is nothing
        return handler()
