"""What the sections of the page Consent have in common: each owns a part of the page and reads when it is first shown."""

from __future__ import annotations

from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts.sections import begin, unread
from workbench.errors import WorkbenchError
from workbench_consent.pages.words import Words
from workbench_widgets import Component


class Section:
    """One section. name: key of its label (`section.<name>`); operation: who may call it sees the section."""

    name = ""
    operation = ""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.root: Any = None  # Panel has no types
        self.is_read = False

    @property
    def words(self) -> Words:
        """Names in the present language."""
        return Words.of(self.page.me, self.page.lang, self.page.t)

    def t(self, key: str, /, **fields: object) -> str:
        return self.page.t(key, **fields)

    async def show(self) -> None:
        """The section came into view: read once, then draw."""
        if not self.is_read:
            self.is_read = True
            begin(self)
            self.draw()
            try:
                await self.read()
            except WorkbenchError as error:
                unread(self, error)
                raise
        self.draw()

    async def read(self) -> None:
        """Fetch what the section shows."""

    def draw(self) -> None:
        """Set every text from what is known now."""

    def look(self, *widgets: Component) -> None:
        """Give components the page's language; the theme they follow by themselves."""
        for widget in widgets:
            widget.lang = self.page.lang


def typed(field: Any) -> str:  # Any: Panel has no types
    """What stands in a field now, whether or not the person has left it."""
    return str(field.value_input or field.value or "").strip()


__all__ = ["Section", "typed"]
