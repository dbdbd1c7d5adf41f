"""House style of Panel's own widgets: colours are custom properties, so a change of theme needs no round trip."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from panel.theme.base import Design, Inherit, Theme
from panel.viewable import Viewable


def _asset(name: str) -> str:
    return files("workbench.app").joinpath("assets", name).read_text("utf-8")


class _OneTheme(Theme):
    """Light and dark differ in custom properties of the document only."""

    base_css: Any = None
    _name = "default"


class WorkbenchDesign(Design):
    """Applies assets/controls.css to every component of a page."""

    modifiers = {Viewable: {"stylesheets": [Inherit, _asset("controls.css")]}}
    _themes = {"default": _OneTheme, "dark": _OneTheme}
