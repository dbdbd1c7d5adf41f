"""A page of several sections of which one is shown at a time; each reads when it is first shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import panel as pn

from workbench.app.page import PageContext, is_offline
from workbench.app.parts import layout
from workbench.errors import WorkbenchError

RETRY_S = 3.0
_CHOSEN = """.bk-btn.bk-active { background: var(--wb-primary) !important; color: var(--wb-on-primary) !important; border-color: var(--wb-primary) !important; box-shadow: none; }
.bk-btn-group { flex-wrap: wrap; }"""


def unread(section: Any, error: WorkbenchError) -> None:  # Any: a section of any page
    """What the section could not read says so instead of a skeleton without end.

    It is read again when it is shown again, and by itself every three seconds while the node is away.
    """
    section.is_read = False
    for widget in _readers(section):
        widget.notice = {"sentence": error.zh if section.page.lang == "zh" else error.en, "code": error.code}
        widget.state = "refused" if error.exit_status == 2 else "failed"
    if is_offline(error) and not getattr(section, "is_waiting", False):
        section.is_waiting = True
        stop: list[Callable[[], None]] = []

        async def again() -> None:
            if not section.is_read:
                await section.show()  # raises while the node is still away
            section.is_waiting = False
            stop[0]()

        stop.append(section.page.refresh_every(RETRY_S, again))


def begin(section: Any) -> None:  # Any: a section of any page
    """Skeletons again where the last try to read failed."""
    for widget in _readers(section):
        widget.state = "loading"


def _readers(section: Any) -> list[Any]:
    """Components of a section that show what it reads and have nothing to show yet."""
    return [one for one in vars(section).values() if hasattr(one, "notice") and getattr(one, "state", None) in ("loading", "failed", "refused")]


class Section:
    """One section. name: key of its label (`section.<name>`); operation: who may call it sees the section."""

    name = ""
    operation = ""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.root: Any = None  # Panel has no types
        self.is_read = False

    def t(self, key: str, /, **fields: object) -> str:
        return self.page.t(key, **fields)

    def both(self, value: Mapping[str, Any], prefix: str = "") -> str:
        """What a reply says in both languages: its members zh and en, or `<prefix>_zh` and `<prefix>_en`."""
        return str(value.get((f"{prefix}_" if prefix else "") + ("zh" if self.page.lang == "zh" else "en"), ""))

    def party(self, party: str) -> str:
        """The institution's name in the present language; an unknown id stands for itself."""
        known: dict[str, str] = {one: zh if self.page.lang == "zh" else en for one, zh, en in self.page.me["parties"]}
        return str(known.get(party, party))

    def tile(self, party: str) -> dict[str, Any]:
        """The form of a party that components take."""
        letters = {one: zh[:1] for one, zh, _ in self.page.me["parties"]}
        mine = {"mine": True} if party == self.page.me["me"]["party"] else {}
        return {"tile": letters.get(party, party[:1].upper() or "?"), "name": self.party(party), **mine}

    def others(self) -> dict[str, str]:
        """Names of the other institutions to their ids, for a choice."""
        own = self.page.me["me"]["party"]
        return {self.party(one): one for one, _, _ in self.page.me["parties"] if one != own}

    def purposes(self) -> dict[str, str]:
        """Names of purposes to their codes, for a choice."""
        return {names[0 if self.page.lang == "zh" else 1]: code for code, names in self.page.me["purposes"].items()}

    def purpose(self, code: str) -> str:
        names = self.page.me["purposes"].get(code)
        return names[0 if self.page.lang == "zh" else 1] if names else code

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


class Sections:
    """The row of sections that this person may open, and the place of the one that is shown."""

    def __init__(self, page: PageContext, found: Sequence[Section], shown: Callable[[], None]) -> None:
        self.page, self._told = page, shown
        self.all = [one for one in found if page.may(one.operation)]
        self.choice = pn.widgets.RadioButtonGroup(options={}, color="default", margin=0, stylesheets=[_CHOSEN])  # type: ignore[no-untyped-call]
        self._drawing = False
        self.choice.param.watch(lambda _event: None if self._drawing else page.start(self.show), "value")
        self.place = layout.stack()
        self.root = layout.stack(layout.buttons(self.choice), self.place)

    async def open(self, wanted: str) -> None:
        """Show the section of this name, else the first."""
        self.draw()
        names = [one.name for one in self.all]
        self._drawing = True
        self.choice.value = wanted if wanted in names else (names[0] if names else None)
        self._drawing = False
        await self.show()

    @property
    def shown(self) -> Section | None:
        return next((one for one in self.all if one.name == self.choice.value), None)

    async def show(self) -> None:
        """Put the chosen section in its place and let it read."""
        section = self.shown
        if section is not None:
            section.draw()  # before it is put up: a select that is shown empty first stays blank in the browser
            self.place[:] = [section.root]
            await section.show()
            self._told()

    def draw(self) -> None:
        """Labels and sections again, after a change of language."""
        self._drawing = True
        chosen = self.choice.value
        self.choice.options = {self.page.t(f"section.{one.name}"): one.name for one in self.all}
        if chosen is not None:
            self.choice.value = chosen
        self._drawing = False
        self.choice.visible = len(self.all) > 1
        for one in self.all:
            if one.is_read:
                one.draw()


__all__ = ["Section", "Sections", "begin", "unread"]
