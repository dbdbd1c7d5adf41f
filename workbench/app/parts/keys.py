"""The keys that work on a whole page, and the sheet that names them. The browser's part is assets/keys.js."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import panel as pn
import param

from workbench.app.page import PageContext
from workbench.app.parts.notes import asset

PAGE_OF_LETTER: Mapping[str, str] = {
    "h": "home", "i": "intersection", "n": "inbox", "e": "evidence", "c": "consent", "q": "quantum", "a": "ask", "l": "leases",
}  # fmt: skip
"""After "g": which page a letter opens, if this person may open it."""
SHOWN = ("/", "↑ ↓ Enter", "Ctrl+Enter", "v", "Esc", "g", "?")


class Keys(pn.custom.JSComponent):
    """`heard(key)` is called with "v", "Escape", "send" or "g" and a letter; searching, rows and help stay in the browser.

    Single keys can be switched off for this browser (WCAG 2.1.4); the switch is the one of the page Evidence.
    """

    shown = param.String("{}")
    pressed = param.String("")

    _esm = asset("keys.js")
    _stylesheets = [asset("keys.css")]

    def __init__(self, page: PageContext, heard: Callable[[str], Any], **options: Any) -> None:  # Any: Panel's parameters
        super().__init__(**{"sizing_mode": "stretch_width", "margin": 0, **options})  # type: ignore[no-untyped-call]
        self._page, self._heard = page, heard
        self.param.watch(self._take, "pressed")
        self.draw()
        page.on_look(self.draw)

    def draw(self) -> None:
        """The sheet in the present language."""
        t = self._page.t
        names = ("search", "rows", "send", "verify", "escape", "go", "help")
        told = [[key, t(f"key.{name}")] for key, name in zip(SHOWN, names, strict=True)]
        self.shown = json.dumps({"help": t("key.title"), "switch": t("key.switch"), "keys": told}, ensure_ascii=False)

    def _take(self, event: Any) -> Any:
        try:
            key = str(json.loads(event.new)["key"])
        except (ValueError, KeyError, TypeError):
            return None  # comes from a browser: what is none of our keys is nothing
        known = key in ("v", "Escape", "send") or (len(key) == 2 and key[0] == "g" and key[1] in PAGE_OF_LETTER)
        return self._heard(key) if known else None


async def go_to(page: PageContext, letter: str) -> None:
    """Open the page of a letter, if there is one and this person may open it; nothing happens otherwise."""
    wanted = PAGE_OF_LETTER[letter]
    if wanted in {one.name for one in (await page.run(page.client.call, "pages.list")).pages}:
        page.navigate(wanted)
