"""What the views of these pages have in common: a strip, components in the page's language, timers that end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from workbench.app.page import PageContext, is_signed_out
from workbench.errors import WorkbenchError
from workbench_psi.pages.answers import Answer
from workbench_psi.pages.names import Names
from workbench_widgets import AnswerStrip, Badge, Component
from workbench_widgets.panel_pane import ComponentPane, pane


class Navigator(Protocol):
    """Where a view can lead within its tab."""

    def history(self) -> None: ...

    def wizard(self, copy: Mapping[str, Any] | None = None, *, draft: Mapping[str, Any] | None = None) -> None: ...

    def job(self, job: str) -> None: ...


class View:
    """One view of a page. `draw` sets every text again, after a change of data or of language."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.strip = AnswerStrip(state="loading")
        self.root: Any = None  # Panel has no types
        self._stops: list[Callable[[], None]] = []
        self.strip.on_action(lambda _event, told: page.start(self.act, str(told.get("name", ""))))

    @property
    def names(self) -> Names:
        """Names in the present language."""
        return Names.of(self.page.me, self.page.lang)

    def t(self, key: str, /, **fields: object) -> str:
        return self.page.t(key, **fields)

    async def open(self) -> None:
        """Read what the view needs, draw it, and begin to follow it."""

    async def begin(self) -> None:
        """Open the view; what a rule refuses is its answer, because there is nothing else to show."""
        try:
            await self.open()
        except WorkbenchError as error:
            if error.exit_status != 2 or is_signed_out(error):
                raise
            self.answer(Answer("refused", error.zh if self.page.lang == "zh" else error.en, code=error.code))

    def draw(self) -> None:
        """Set every text from what is known now."""

    async def act(self, action: str) -> None:
        """A button of the answer strip was pressed."""

    async def key(self, key: str) -> None:
        """A key of the page that this view gives a meaning: "v", "Escape" or "send"."""

    def every(self, seconds: float, callback: Callable[[], Any]) -> None:
        """Call again and again until the view is closed."""
        self._stops.append(self.page.refresh_every(seconds, callback))

    def pause(self) -> None:
        """Stop the timers."""
        while self._stops:
            self._stops.pop()()

    def close(self) -> None:
        """Another view takes this one's place."""
        self.pause()

    async def settle(self) -> None:
        """Keep what is to be kept of a view that was closed; the next one opens afterwards."""

    def answer(self, answer: Answer, *, focus: bool = False) -> None:
        """Show an answer; focus: after an action of the person, so that a keyboard or a screen reader is there."""
        with self.strip.at_once():
            self.look(self.strip)
            for name, value in answer.traits().items():
                setattr(self.strip, name, value)
        if focus:
            self.strip.take_focus()

    def look(self, *widgets: Component) -> None:
        """Give components the page's language; the theme they follow by themselves."""
        for widget in widgets:
            widget.lang = self.page.lang


def origin_badge(page: PageContext) -> ComponentPane | None:
    """The badge of made-up data: in every workspace that is not production, and it cannot be closed."""
    return None if page.me["workspace"] == "production" else pane(page.follow(Badge(kind="synthetic")))
