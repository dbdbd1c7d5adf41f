"""The page of questions: what the answer is, and what it rests on. Draws what `ask_drawing` says of the replies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.keys import Keys
from workbench.app.parts.notes import Notes
from workbench.errors import Refused, WorkbenchError
from workbench_inference.pages import ask_drawing as drawing
from workbench_inference.pages.ask_enclosed import Enclosed
from workbench_widgets import AnswerStrip, Badge, ChatMessage, DataTable, LeaseBar, SourcePanel, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
DESK_S: Final = 5
PREVIEW_S: Final = 0.4
MOST_CHARACTERS: Final = 4_000
CLASSES: Final = ("C1", "C2", "C3", "C4", "C5")
"""Of the customer a question is about: what is shown must not stand above it."""
_RING: Final = "textarea.bk-input:focus-visible { outline-offset: -2px !important; }"
"""A box that grows cuts off what stands outside it, its ring of focus too."""
LOOKED_AT: Final = 3
SHOWN: Final = 50
"""Turns of one opened tab; older ones are in the history."""


class AskPage:
    """One opened tab: a conversation of this person, and the source of what was chosen in it."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.desk: Reply | None = None
        self.found: Reply | None = None
        self.turns: dict[str, Reply] = {}
        self.preview: Reply | None = None
        self.opened: tuple[str, int] | None = None
        self.source: Reply | None = None
        self._asked_for = self._refused = 0
        self._drawing = False
        self.strip = AnswerStrip(state="loading")
        self.head = Notes(framed=False)
        self.badge = Badge(kind="simulated_qkd")
        self.badge_pane = pane(self.badge)
        self.badge_pane.visible = False
        self.box = Badge(kind="sandbox_process")
        self.box_pane = pane(self.box)
        self.box_pane.visible = False
        self.lease = LeaseBar(state="loading")
        self.lease.on_action(lambda _name, _told: page.start(self._release), "release")
        self.without = Notes()
        self.chat = ChatMessage(state="loading")
        self.chat.on_action(self._heard)
        self.panel = SourcePanel(state="empty")
        self.panel.on_action(self._of_source)
        self.limits = Notes()
        self.quota = Notes()
        self.past = DataTable(page_size=12, openable=True, state="loading")
        self.past.on_action(lambda _name, told: page.start(self._open_past, str(told.get("id", ""))), "open")
        self.search = layout.field(pn.widgets.TextInput, page, "ask.search", max_length=60)
        self.search.param.watch(lambda _event: page.start(self._read_history), "value")
        self.scenario = layout.select(page, "ask.scenario", options={})
        self.scenario.param.watch(lambda _event: None if self._drawing else self._scenario_chosen(), "value")
        self.model = layout.select(page, "ask.model", options={})
        self.model.visible = False
        self.model.param.watch(lambda _event: None if self._drawing else page.start(self._look_ahead), "value")
        self.klass = layout.select(page, "ask.class", options={})
        self.klass.param.watch(lambda _event: None if self._drawing else page.start(self._look_ahead), "value")
        self.reason = layout.field(pn.widgets.TextInput, page, "ask.rate.reason", max_length=500)
        self.because = layout.buttons(self.reason, layout.button(page, "ask.rate.send", self._tell_reason))
        self.because.visible = False
        self._rated = ""
        self.text = layout.field(pn.widgets.TextAreaInput, page, "ask.question", max_length=MOST_CHARACTERS, rows=3, auto_grow=True, max_rows=10, stylesheets=[_RING])
        self.text.param.watch(lambda _event: page.start(self._look_ahead), "value_input")
        self.told = Notes(framed=False)
        self.enclosed = Enclosed(page)
        self.send = layout.button(page, "ask.send", self._send, primary=True)
        self.fresh = layout.button(page, "ask.new", self._begin_anew)
        self.keep = layout.button(page, "ask.export", self._export)
        self.keep.visible = page.may("inference.history_export")
        self.lease_pane = pane(self.lease)
        self.root = self._root()
        page.on_look(self.draw)

    def _root(self) -> Any:  # Any: Panel has no types
        page = self.page
        composer = layout.card(
            self.text, self.told, self.enclosed.root,
            layout.buttons(self.scenario, self.model, self.klass), layout.buttons(self.enclosed.button, self.enclosed.clear, layout.spacer(), self.send),
        )  # fmt: skip
        composer.visible = page.may("inference.ask")
        self.scenario.param.update(sizing_mode="fixed", width=200)
        self.model.param.update(sizing_mode="fixed", width=230)
        self.klass.param.update(sizing_mode="fixed", width=140)
        talk = layout.stack(self.lease_pane, self.without, layout.buttons(self.badge_pane, self.box_pane), pane(self.chat), self.because, composer)
        side = layout.stack(pane(self.panel), self.limits)
        past = layout.stack(layout.buttons(self.fresh, self.keep), self.search, pane(self.past), self.quota)
        body = layout.split(layout.split(talk, side, side_px=372), past, side_px=236, side_first=True, from_px=760, drawer=(page, "ask.history.open"))
        keys = Keys(page, self._pressed, names=("search", "rows", "send", "escape"))
        return layout.stack(self.head, pane(self.strip), body, keys)

    async def open(self) -> None:
        """The desk and the history once, then the desk every few seconds; a question of the address is opened."""
        self.draw()
        await self.refresh()
        self.page.refresh_every(DESK_S, self.refresh)
        await self._read_history()
        if wanted := self.page.params.get("ask", ""):
            await self._open_past(wanted)
        self.chat.state = "done"

    async def refresh(self) -> None:
        """What a question needs before it: scenarios, quota, lease, evidence of the sandbox."""
        self.desk = await self.page.run(self.page.client.call, "inference.desk")
        # An entry is sealed a while after its answer was shown; the newest few are looked at again, own ones only: a look at another's is an entry.
        for ask in [ask for ask, told in self.turns.items() if told["seal"] == "PENDING" and told["mine"]][-LOOKED_AT:]:
            self._put(await self.page.run(self.page.client.call, "inference.answer", ask=ask))
        self.draw()

    async def _read_history(self) -> None:
        page = self.page
        try:
            self.found = await page.run(page.client.call, "inference.history", text=str(self.search.value or ""))
        except WorkbenchError as error:
            self.past.notice = {"sentence": error.zh if page.lang == "zh" else error.en, "code": error.code}
            self.past.state = "failed"
            return
        self._draw_history()

    async def _open_past(self, ask: str) -> None:
        told = await self.page.run(self.page.client.call, "inference.answer", ask=ask)
        self._put(told)
        self.opened, self.source = None, None
        self.draw()
        if told["state"] in drawing.RUNNING:
            await self._follow(ask, 0)

    def _put(self, told: Reply) -> None:
        """The newest state of a turn, in its place; a new one below the others."""
        self.turns[told["ask"]] = told
        for old in list(self.turns)[:-SHOWN]:
            del self.turns[old]

    # ------------------------------------------------------------------ asking

    def _request(self) -> dict[str, Any]:
        request = {"question": str(self.text.value_input or self.text.value or "").strip(), "scenario": str(self.scenario.value or "")}
        request |= {"language": "en"} if self.page.lang == "en" else {}
        request |= {"model": str(self.model.value)} if self.model.visible and self.model.value else {}
        return request | ({"client_class": str(self.klass.value)} if self.klass.value else {})

    def _scenario_chosen(self) -> None:
        if self.desk is not None:
            self._draw_models(self.desk)
        self.page.start(self._look_ahead)

    async def _look_ahead(self) -> None:
        """What would be sent, a moment after the last key."""
        self._asked_for += 1
        mine = self._asked_for
        await asyncio.sleep(PREVIEW_S)
        if mine != self._asked_for:
            return
        request = self._request()
        found: Reply | None = None
        if request["question"] and request["scenario"]:
            found = await self.page.run(self.page.client.call, "inference.preview", **request)
        if mine == self._asked_for:
            self.preview = found
            self._draw_preview()

    async def _send(self) -> None:
        page, request = self.page, self._request()
        if not request["question"]:
            return
        self.send.disabled = True
        try:
            try:
                taken = await page.run(page.client.call, "inference.ask", **request, **await self.enclosed.request())
            except Refused as refusal:
                # A rule of this institution said no: part of the conversation, as an answer is. Anything else stands above the page.
                found = await page.run(page.client.call, "inference.preview", **request)
                if not found["code"] and not (self.enclosed.files and refusal.details.get("entry")):
                    raise
                self._refused += 1
                self._put(drawing.refused(f"refused-{self._refused}", found, refusal.zh, refusal.en, refusal.code, refusal.details.get("entry", "")))
                self.preview = found
                self._draw_chat()
                return
            self._asked_for += 1
            self.preview = None
            self.enclosed.empty()
            self.text.param.update(value="", value_input="")
            self._draw_preview()
        finally:
            self.send.disabled = False
        await self._follow(taken["ask"], 0)
        await self.refresh()
        await self._read_history()

    async def _follow(self, ask: str, after: int) -> None:
        """Read an answer until it has ended; the tab's title says that one is under way."""
        page = self.page
        try:
            while True:
                told = await page.run(page.client.call, "inference.ask_progress", ask=ask, after=after)
                after = told["next"]
                self._put(told["ask"])
                self._draw_chat()
                if told["ask"]["state"] not in drawing.RUNNING:
                    break
                page.notify_lab(title=page.t("ask.tab"), running=True)
        finally:
            page.notify_lab()
        self.draw()

    def _heard(self, name: str, told: Mapping[str, Any]) -> None:
        ask = str(told.get("id", ""))
        if ask not in self.turns:
            return
        if name == "cite":
            self.page.start(self._open_source, ask, int(told.get("n", 0)))
        elif name == "rate" and told.get("rating") in ("", "up", "down"):
            self.page.start(self._rate, ask, str(told["rating"]))
        elif name == "stop":
            self.page.start(self._stop, ask)
        elif name == "receipt" and self.turns[ask]["entry"]:
            self.page.navigate("evidence", entry=self.turns[ask]["entry"])

    def _pressed(self, key: str) -> None:
        """Ctrl+Enter sends; Escape stops what is under way."""
        if key == "send" and not self.send.disabled:
            self.page.start(self._send)
        elif key == "Escape":
            for ask, told in self.turns.items():
                if told["state"] in drawing.RUNNING:
                    self.page.start(self._stop, ask)

    async def _stop(self, ask: str) -> None:
        await self.page.run(self.page.client.call, "inference.ask_stop", ask=ask)

    async def _rate(self, ask: str, rating: str) -> None:
        self._put(await self.page.run(self.page.client.call, "inference.rate", ask=ask, rating=rating))
        self._rated = ask if rating else ""
        self.reason.value, self.because.visible = "", bool(rating)
        self._draw_chat()

    async def _tell_reason(self) -> None:
        """Why an answer was rated so; a reason is for the report that decides on widening the use."""
        ask, reason = self._rated, str(self.reason.value or "").strip()
        self.because.visible = False
        if ask in self.turns and reason:
            self._put(await self.page.run(self.page.client.call, "inference.rate", ask=ask, rating=self.turns[ask]["rating"], reason=reason))

    async def _open_source(self, ask: str, n: int) -> None:
        self.panel.state = "loading"
        try:
            found = await self.page.run(self.page.client.call, "inference.source", ask=ask, n=n)
        except WorkbenchError as error:
            self.panel.notice = {"sentence": error.zh if self.page.lang == "zh" else error.en, "code": error.code}
            self.panel.state = "failed"
            return
        self.opened, self.source = (ask, n), found
        self._draw_source()
        self._draw_chat()
        self.panel.take_focus()

    def _of_source(self, name: str, told: Mapping[str, Any]) -> None:
        if name == "close":
            self.opened, self.source = None, None
            self._draw_source()
            self._draw_chat()
            self.chat.take_focus()
        elif name == "next" and self.opened is not None:
            self.page.start(self._open_source, self.opened[0], int(told.get("n", 0)))

    async def _begin_anew(self) -> None:
        """An empty conversation; what was asked stays in the history."""
        self.turns, self.opened, self.source = {}, None, None
        self.draw()

    async def _release(self) -> None:
        if self.desk is not None and self.desk["lease"]:
            self.lease.busy = True
            try:
                await self.page.run(self.page.client.call, "inference.lease_release", lease=self.desk["lease"], reason=self.page.t("ask.release.reason"))
            finally:
                self.lease.busy = False
            await self.refresh()

    async def _export(self) -> None:
        await self.page.confirm("inference.history_export", {}, self._exported)

    async def _exported(self, state: str, reply: Any) -> None:  # Any: the operation's reply or an error
        if state == "done" and (download := dict(reply).get("download")):
            self.page.download(str(download))
        elif state == "refused":
            self.page.report(reply)

    # ------------------------------------------------------------------ drawing

    @property
    def _lang(self) -> formats.Lang:
        return "zh" if self.page.lang == "zh" else "en"

    def _party(self, site: str) -> str:
        known: dict[str, str] = {one: zh if self.page.lang == "zh" else en for one, zh, en in self.page.me["parties"]}
        return known.get(site, site)

    @property
    def _own(self) -> str:
        return self._party(str(self.page.me["me"]["party"]))

    def draw(self) -> None:
        """Every text and picture from what is known now."""
        page = self.page
        for component in (self.strip, self.badge, self.box, self.lease, self.chat, self.panel, self.past):
            component.lang = page.lang
        self.head.tell(notes.head(page.t("ask.title"), subject=page.t("ask.subject"), meta=""))
        self._draw_chat()
        self._draw_source()
        self.enclosed.draw()
        self._draw_preview()
        self._draw_history()
        if self.desk is not None:
            self._draw_desk(self.desk)

    def _draw_desk(self, desk: Reply) -> None:
        page, t, lang = self.page, self.page.t, self._lang
        provider = self._party(desk["provider"])
        made = drawing.verdict(desk, lang, provider)
        fields = dict(made.fields)
        with self.strip.at_once():
            self.strip.sentence = desk[f"problem_{page.lang}"] if made.key == "problem" else t(f"ask.answer.{made.key}", **fields)
            self.strip.reason = t(f"ask.answer.{made.key}.why", **fields) if made.key != "problem" else ""
            self.strip.todo = t(f"ask.todo.{made.todo}", **fields) if made.todo else ""
            self.strip.code = desk["problem_code"]
            self.strip.state = made.state
        self._draw_lease(desk)
        self.limits.tell(notes.heading(t("ask.limits")), *(notes.text(line, meta=True) for line in drawing.limits(desk, t, provider)))
        spent = t("ask.spent", spent=formats.money(desk["spent_fen"], lang), budget=formats.money(desk["budget_fen"], lang)) if desk["budget_fen"] else ""
        self.quota.tell(
            notes.heading(t("ask.quota")),
            notes.text(t("ask.quota.mine", asked=formats.count(desk["asked"], lang), quota=formats.count(desk["quota"], lang))),
            *((notes.text(spent),) if spent else ()),
            notes.text(t("ask.quota.group", asked=formats.count(desk["group_asked"], lang), quota=formats.count(desk["group_quota"], lang)), meta=True),
        )
        self._draw_scenarios(desk)

    def _draw_lease(self, desk: Reply) -> None:
        """The lease as a bar, and badges of key and sandbox, which open what is behind them."""
        t, lang, has = self.page.t, self._lang, bool(desk["lease"])
        self.lease_pane.visible = has
        self.without.tell(*(() if has else (notes.text(t("ask.lease.none"), meta=True),)))
        self.badge_pane.visible, self.box_pane.visible = bool(desk["provenance"]), bool(desk["evidence"])
        if has:
            with self.lease.at_once():
                for name, value in drawing.bar(desk, t, releasable=self.page.may("inference.lease_release")).items():
                    setattr(self.lease, name, value)
                self.lease.state = "done"
        for shown, made in ((self.badge, drawing.key_badge(desk, t)), (self.box, drawing.sandbox_badge(desk, t, self._party(desk["provider"])))):
            with shown.at_once():
                for name, value in made.items():
                    setattr(shown, name, value)
                shown.lang = lang

    def _draw_scenarios(self, desk: Reply) -> None:
        name = "name_zh" if self.page.lang == "zh" else "name_en"
        options = {f"{one[name]} {one['version']}": one["scenario"] for one in desk["scenarios"]}
        if options != self.scenario.options:
            self._drawing = True
            layout.set_options(self.scenario, options)
            self._drawing = False
        classes = {self.page.t("ask.class.none"): "", **{one: one for one in CLASSES}}
        if classes != self.klass.options:
            self._drawing = True
            layout.set_options(self.klass, classes)
            self._drawing = False
        self._draw_models(desk)
        self.send.disabled = not options or bool(desk["problem_code"])

    def _draw_models(self, desk: Reply) -> None:
        """Where several models are leased, which one: by rule, or one by name and then no other."""
        able: list[str] = next((one["models"] for one in desk["scenarios"] if one["scenario"] == self.scenario.value), [])
        options = {self.page.t("ask.model.rule", model=able[0] if able else "—"): "", **{one: one for one in able}}
        self.model.visible = len(able) > 1
        if options != self.model.options:
            self._drawing = True
            layout.set_options(self.model, options)
            self._drawing = False

    def _draw_preview(self) -> None:
        t, lang, found = self.page.t, self._lang, self.preview
        if found is None:
            self.told.tell(notes.text(t("ask.hint"), meta=True))
            return
        blocks = []
        if found["tiles"]:
            blocks += [notes.text(drawing.masked(found["tiles"], t, self._own), tone="sealed"), notes.text(t("ask.would_send", text=found["text"]), meta=True)]
        if found["code"]:
            blocks.append(notes.text(f"{found['zh' if self.page.lang == 'zh' else 'en']} {found['code']}", tone="refused"))
        if found["documents"]:
            at, money = formats.time(found["documents_ms"], lang), formats.money(found["cost_fen"], lang)
            blocks.append(notes.text(t("ask.estimate", documents=formats.count(found["documents"], lang), at=at, money=money), meta=True))
        self.told.tell(*blocks)

    def _draw_chat(self) -> None:
        with self.chat.at_once():
            self.chat.turns = [drawing.turn(one, self.page.t, self._lang, self._own) for one in self.turns.values()]
            self.chat.chosen = {"id": self.opened[0], "n": self.opened[1]} if self.opened else {}
            self.chat.state = "done" if self.desk is not None else "loading"

    def _draw_source(self) -> None:
        last = self.turns.get(self.opened[0]) if self.opened else next(reversed(self.turns.values()), None)
        with self.panel.at_once():
            self.panel.steps = drawing.steps(last, self.page.t, self._lang) if last is not None else []
            if self.opened and self.source is not None and last is not None:
                self.panel.source = drawing.source(self.source, self.opened[1], last["citations"])
            else:
                self.panel.source = {}
            self.panel.state = "done" if self.panel.source or self.panel.steps else "empty"

    def _draw_history(self) -> None:
        t = self.page.t
        self.past.heading, self.past.notice = t("ask.history"), {"sentence": t("ask.history.none")}
        if self.found is None:
            return
        made = drawing.history(self.found["lines"], t, self._lang)
        with self.past.at_once():
            self.past.columns, self.past.rows, self.past.total = made["columns"], made["rows"], made["total"]
            self.past.state = "done" if made["rows"] else "empty"


__all__ = ["AskPage"]
