"""A register of cases: a table with filters that follows the node while its first page is shown, and the case that is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from workbench.app.page import PageContext
from workbench.app.parts import layout
from workbench.app.parts.notes import Notes
from workbench.app.parts.sections import Section
from workbench_widgets import DataTable, formats

Reply = Mapping[str, Any]
PAGE_ROWS = 50
REFRESH_S = 10.0


class Register(Section):
    """name: also the member of the reply that holds the cases. `operation` takes state, overdue, after and limit.

    state_words: prefix of the words of `states`.
    """

    states: ClassVar[tuple[str, ...]] = ()
    state_words: ClassVar[str] = ""

    def __init__(self, page: PageContext, on_change: Callable[[], None]) -> None:
        super().__init__(page)
        self._changed = on_change
        self.found: Reply | None = None
        self.open_cases: list[Reply] = []
        self.detail: Reply | None = None
        self.after = ""
        self._drawing = False
        self.state = self.filter(layout.select(page, "filter.state", options={}))
        self.overdue = self.filter(layout.ticks(page, "filter.overdue"))
        self.table = DataTable(page_size=PAGE_ROWS, openable=True, state="loading")
        self.table.on_action(lambda _name, told: page.start(self.look_at, str(told.get("id", ""))), "open")
        self.older = layout.button(page, "filter.more", self._older)
        self.case, self.timeline = Notes(), Notes()

    def filter(self, widget: Any) -> Any:  # Any: Panel has no types
        """A choice that reads the register again."""
        widget.param.watch(lambda _event: None if self._drawing else self.page.start(self._again), "value")
        return widget

    def chosen(self) -> dict[str, Any]:
        """What the operation is asked besides state, overdue and place."""
        return {}

    async def look_at(self, case: str, *, focus: bool = True) -> None:
        """Open one; an entry of the log."""
        raise NotImplementedError

    async def read(self) -> None:
        await self._again()
        self.page.refresh_every(REFRESH_S, self._follow)

    async def _again(self) -> None:
        self.after = ""
        await self._fetch()

    async def _follow(self) -> None:
        if not self.after:
            await self._fetch()

    async def _fetch(self) -> None:
        page, call = self.page, self.page.client.call
        state = "open" if self.state.value is None else self.state.value
        self.found = await page.run(
            call, self.operation, state=state, overdue=bool(self.overdue.value), after=self.after, limit=PAGE_ROWS, **self.chosen()
        )
        self.open_cases = list((await page.run(call, self.operation, state="open", limit=500))[self.name])
        self.draw()
        self._changed()

    async def _older(self) -> None:
        if self.found is not None and self.found["next"]:
            self.after = str(self.found["next"])
            await self._fetch()

    @property
    def _lang(self) -> formats.Lang:
        return "zh" if self.page.lang == "zh" else "en"

    def draw_filters(self, **more: Any) -> None:
        """Words of the filters and of the table that shows nothing yet. more: choices of a filter, by its attribute's name."""
        t = self.t
        self._drawing = True
        states = {t("filter.open"): "open", t("filter.any"): "", **{t(f"option.{self.state_words}.{one}"): one for one in self.states}}
        for widget, options in ((self.state, states), *((getattr(self, name), options) for name, options in more.items())):
            layout.set_options(widget, options)
        self.overdue.param.update(options={t("filter.overdue"): True}, value=list(self.overdue.value))
        self._drawing = False
        self.table.lang = self.page.lang
        self.table.heading = t(f"{self.name}.title")
        self.table.notice = {"sentence": t(f"{self.name}.none")}

    def draw_rows(self, found: Reply, rows: list[dict[str, Any]]) -> None:
        """The cases of this page of the register."""
        self.table.rows, self.table.total = rows, len(rows)
        self.table.state = "done" if rows else "empty"
        self.older.visible = bool(found["next"])


__all__ = ["PAGE_ROWS", "REFRESH_S", "Register"]
