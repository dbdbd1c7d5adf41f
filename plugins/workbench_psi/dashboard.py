"""The page Intersection. See docs/pages.md for what a page gets and returns."""

from __future__ import annotations

import panel as pn

from workbench.app.page import PageContext


def view(page: PageContext) -> pn.viewable.Viewable:
    """A first page that shows who is signed in."""
    name = page.me["me"]["display_name"]
    return pn.Column(pn.pane.Str(page.label("hello", name=name)), pn.widgets.TextInput(name="memo"))
