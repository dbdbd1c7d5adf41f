"""The side column of a narrow page: behind a button, over the page while it is open. The browser's part is drawer.js."""

from __future__ import annotations

from typing import Any

import panel as pn
import param

from workbench.app.page import PageContext
from workbench.app.parts.notes import asset

DRAWER_PX = 720
"""Below this width of the page a side column becomes a drawer; drawer.js and the style of `layout.split` use it."""


class Drawer(pn.custom.JSComponent):
    """The button of a drawer; it opens the neighbour with the class wb-side, keeps the keyboard in it, closes by Escape."""

    label = param.String("")
    close = param.String("")

    _esm = asset("drawer.js").replace("DRAWER_PX", str(DRAWER_PX))
    _stylesheets = [asset("drawer.css")]

    def __init__(self, page: PageContext, key: str, **options: Any) -> None:  # Any: Panel's layout parameters
        super().__init__(  # type: ignore[no-untyped-call]
            **{"sizing_mode": "stretch_width", "margin": 0, "css_classes": ["wb-drawer"], **options}
        )
        self._page, self._key = page, key
        self._say()
        page.on_look(self._say)

    def _say(self) -> None:
        self.param.update(label=self._page.t(self._key), close=self._page.t("drawer.close"))
