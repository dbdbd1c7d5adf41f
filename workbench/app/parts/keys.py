"""The keys that work on a whole page, and the sheet that names them. The browser's part is assets/keys.js.

After "g" a letter opens another page, whichever page is shown: nothing is to be done for it by the page itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import panel as pn
import param

from workbench.app.page import PageContext
from workbench.app.parts.notes import asset

LETTER_OF_PAGE: Mapping[str, str] = {
    "home": "h", "intersection": "i", "inbox": "n", "evidence": "e", "consent": "c", "rights": "r", "assessment": "p", "health": "s",
    "quantum": "q", "ask": "a", "leases": "l",
}  # fmt: skip
"""Letters that are kept for these pages, installed or not; a page that is not here takes a free one, see `letters`."""
KEYS: Mapping[str, str] = {"search": "/", "rows": "↑ ↓ Enter", "send": "Ctrl+Enter", "verify": "v", "escape": "Esc"}
"""What a page may use, by the name of its sentence (`key.<name>`), in the order of the sheet."""
USUAL = ("search", "rows", "escape")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def letters(names: Sequence[str]) -> dict[str, str]:
    """Letter -> page, for pages in the order of the menu; a page beyond the alphabet has none. Pure.

    A page of LETTER_OF_PAGE has its own letter. Any other takes the first letter of its name that is free, else the first
    free one of the alphabet; "g" opens nothing, so that a key pressed twice does no harm.
    """
    kept = {*LETTER_OF_PAGE.values(), "g"}
    made = {LETTER_OF_PAGE[name]: name for name in names if name in LETTER_OF_PAGE}
    for name in names:
        if name not in LETTER_OF_PAGE:
            free = next((one for one in (*name.lower(), *_ALPHABET) if one in _ALPHABET and one not in kept and one not in made), None)
            if free is not None:
                made[free] = name
    return made


class Keys(pn.custom.JSComponent):
    """`heard(key)` is called with "v", "Escape" or "send"; searching, rows, the sheet and other pages need nothing of the page.

    names: which of KEYS mean something on this page; the sheet names these only. own: this page's name and what "g" with its
    letter does here, where that is more than opening it once more.
    Single keys can be switched off for this browser (WCAG 2.1.4), on all pages together.
    """

    shown = param.String("{}")
    pressed = param.String("")

    _esm = asset("keys.js")
    _stylesheets = [asset("keys.css")]

    def __init__(
        self,
        page: PageContext,
        heard: Callable[[str], Any] | None = None,
        *,
        names: Sequence[str] = USUAL,
        own: tuple[str, Callable[[], Any]] | None = None,
        **options: Any,
    ) -> None:  # Any: Panel's parameters
        super().__init__(**{"sizing_mode": "stretch_width", "margin": 0, **options})  # type: ignore[no-untyped-call]
        self._page, self._heard, self._names, self._own = page, heard, [one for one in KEYS if one in names], own
        self._pages: list[Mapping[str, Any]] | None = None
        self.param.watch(self._take, "pressed")
        self.draw()
        page.on_look(self.draw)

    def draw(self) -> None:
        """The sheet in the present language: this page's keys, then the pages that this person may open."""
        t = self._page.t
        told = [[KEYS[name], t(f"key.{name}")] for name in self._names]
        told.append(["?", t("key.help")])
        found = {one["name"]: one["title_zh" if self._page.lang == "zh" else "title_en"] for one in self._pages or ()}
        told += [[f"g {letter}", found[name]] for letter, name in letters(list(found)).items()]
        self.shown = json.dumps({"help": t("key.title"), "switch": t("key.switch"), "keys": told}, ensure_ascii=False)

    def _take(self, event: Any) -> Any:
        try:
            key = str(json.loads(event.new)["key"])
        except (ValueError, KeyError, TypeError):
            return None  # comes from a browser: what is none of our keys is nothing
        if key == "help":
            return self._page.start(self._learn)
        if len(key) == 2 and key[0] == "g" and key[1] in _ALPHABET:
            return self._page.start(self.go, key[1])
        return self._heard(key) if self._heard is not None and key in ("v", "Escape", "send") else None

    async def _learn(self) -> None:
        """Which pages there are for this person; asked once, when somebody wants to know."""
        if self._pages is None:
            self._pages = list((await self._page.run(self._page.client.call, "pages.list"))["pages"])
            self.draw()

    async def go(self, letter: str) -> None:
        """Open the page of a letter; nothing happens where this person has none of that letter."""
        await self._learn()
        wanted = letters([one["name"] for one in self._pages or ()]).get(letter)
        if wanted is not None and self._own is not None and wanted == self._own[0]:
            self._own[1]()
        elif wanted is not None:
            self._page.navigate(wanted)


__all__ = ["KEYS", "LETTER_OF_PAGE", "USUAL", "Keys", "letters"]
