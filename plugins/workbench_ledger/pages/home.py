"""The page Home: what do I have to deal with now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Act, Acting, Field
from workbench.app.parts.keys import Keys
from workbench.app.parts.notes import Notes
from workbench_ledger.pages import agenda, verdict, waiting
from workbench_ledger.pages.browser import Card, item, text
from workbench_ledger.pages.inspector import GAPS
from workbench_ledger.pages.words import Words, words_of
from workbench_widgets import AnswerStrip, Badge, DataTable, NodeHealth, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
REFRESH_S = 3.0
WAITING_S = 30.0
"""The clocks of other pages run in days; asking for them costs a few operations."""
CLOSING = (Act(agenda.CLOSE_DISPUTE, (Field("finding", "long"),)),)
AUDIT_LIMIT = 20_000
SOON_MS = 2 * 86_400_000
COLUMNS = """
:host { display: grid; grid-template-columns: minmax(0, 3fr) minmax(300px, 2fr); gap: 12px; align-items: start; }
@media (max-width: 1099px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""


class HomePage:
    """One opened tab; the same frame for every role, with what that role may see."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.status: Reply | None = None
        self.jobs: list[Reply] = []
        self.audit: Reply | None = None
        self.waiting: waiting.Found = {}
        self._due: list[agenda.Due] = []
        self.head = Notes(framed=False)
        self.answer = page.follow(AnswerStrip(state="loading"))
        self.todo = page.follow(DataTable(page_size=12, state="loading"))
        self.closing = Acting(page, CLOSING, self._closed, from_row=True)
        self.closing.offer([])
        self.done = page.follow(DataTable(openable=True, page_size=6))
        self.running = page.follow(DataTable(openable=True, page_size=6))
        self.nodes = page.follow(NodeHealth(state="loading"))
        self.steps = Card(lambda name: page.navigate(name))
        self.answer.on_action(lambda _, payload: self._go(str(payload.get("name", ""))))
        self.done.on_action(lambda _, payload: self._open_job("evidence", str(payload.get("id", ""))), "open")
        self.running.on_action(lambda _, payload: self._open_job("intersection", str(payload.get("id", ""))), "open")
        self.todo.on_action(lambda _, payload: page.start(self._act, str(payload.get("id", "")), str(payload.get("name", ""))), "act")
        page.on_look(self.draw)

    def view(self) -> pn.viewable.Viewable:
        """Answer first, then what waits, what runs, how the nodes are, and what was finished."""
        self._panes = {"done": pane(self.done, margin=0), "running": pane(self.running, margin=0), "todo": pane(self.todo, margin=0)}
        left = pn.Column(self._panes["todo"], self.closing.root, self._panes["done"], sizing_mode="stretch_width", margin=0, stylesheets=[GAPS])
        right = pn.Column(
            self._panes["running"], pane(self.nodes, margin=0), self.steps, sizing_mode="stretch_width", margin=0, stylesheets=[GAPS]
        )
        badge = None if self.page.me["workspace"] == "production" else pane(self.page.follow(Badge(kind="synthetic")))
        return pn.Column(
            layout.first_line(self.head, badge), pane(self.answer, margin=0),
            pn.Column(left, right, sizing_mode="stretch_width", margin=0, stylesheets=[COLUMNS]),
            Keys(self.page, names=("rows", "escape")),
            sizing_mode="stretch_width", margin=0, stylesheets=[GAPS],
        )  # fmt: skip

    async def open(self) -> None:
        """Read, show, and keep looking; the log is audited once when it is small and this person may."""
        page = self.page
        self.draw()
        await self.look()
        await self.look_elsewhere()
        page.refresh_every(REFRESH_S, self.look)
        page.refresh_every(WAITING_S, self.look_elsewhere)
        size = int(self.status["sealed"]) + int(self.status["pending"]) if self.status else 0
        if page.may("evidence.audit") and size <= AUDIT_LIMIT:
            self.audit = await page.run(page.client.call, "evidence.audit")
            self.draw()

    async def look(self) -> None:
        """What has changed."""
        page = self.page
        status = await page.run(page.client.call, "node.status")
        jobs = list((await page.run(page.client.intersection.jobs))["jobs"]) if page.may("intersection.jobs") else []
        if (status["nodes"], status["running"], status["health"], jobs) == self._seen():
            return
        self.status, self.jobs = status, jobs
        self.draw()

    async def look_elsewhere(self) -> None:
        """What waits on other pages."""
        found = await waiting.read(self.page)
        if found != self.waiting:
            self.waiting = found
            self.draw()

    def _seen(self) -> tuple[Any, ...]:
        return (self.status["nodes"], self.status["running"], self.status["health"], self.jobs) if self.status else ()

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        """Everything again from what is known."""
        words, status = words_of(self.page), self.status
        me = self.page.me["me"]
        self.head.tell(notes.head(words.t("home.title"), subject=words.party(words.own), meta=str(me["display_name"])))
        if status is None:
            return
        self._due = agenda.due(
            status, self.jobs, set(me["roles"]), self.page.me["operations"], words,
            more=waiting.due(self.waiting, str(me["display_name"]), words), covered=waiting.covered(self.waiting),
        )  # fmt: skip
        with self.answer.at_once():
            self._draw_answer(words, status)
        self._draw_tables(words, status)
        self.nodes.heading = words.t("nodes")
        self.nodes.hint = words.t("nodes.evidence", sealed=words.count(status["sealed"]), pending=words.count(status["pending"]))
        self.nodes.nodes = agenda.node_rows(status, words)
        self.nodes.state = "done"
        if self.jobs or not self.page.may("intersection.propose"):
            self.steps.clear()
        else:
            first = [item(words.t(f"first.{one}")) for one in ("list", "propose", "receipt")]
            self.steps.tell(
                words.t("first"), [text(words.t("first.text")), *first], actions=[{"name": "intersection", "label": words.t("first.go"), "primary": True}]
            )

    def _draw_answer(self, words: Words, status: Reply) -> None:
        strip, t = self.answer, words.t
        strip.code = ""
        if self.audit is not None and not self.audit["holds"]:
            found = verdict.of_log(self.audit, words)
            strip.sentence, strip.reason, strip.todo, strip.state = found.sentence, found.reason, found.todo, "tampered"
            strip.actions = [{"name": "evidence", "label": t("home.evidence"), "primary": True}]
            self.page.notify_lab(title=found.tab)
            return
        strip.todo = ""
        if not self._due:
            strip.sentence, strip.state = t("home.nothing"), "sealed"
            strip.reason = t("home.running", count=words.count(len(status["running"]))) if status["running"] else ""
            strip.actions = []
            return
        first = self._due[0]
        strip.sentence = t("home.due", count=words.count(len(self._due)))
        if first.until_ms and not first.at_once:
            strip.reason = t("home.first_limit", text=first.text, limit=first.day or formats.time(first.until_ms, words.lang)[:16])
        else:
            strip.reason = t("home.first", text=first.text)
        strip.state = "pending"
        strip.actions = [{"name": "first", "label": t("home.go"), "primary": True}] if first.page else []

    def _draw_tables(self, words: Words, status: Reply) -> None:
        t = words.t
        now_ms = int(status["now_ms"])
        self.todo.heading = t("home.todo")
        self.todo.columns = [
            {"key": "text", "label": t("home.what")}, {"key": "left", "label": t("home.left"), "kind": "state"},
            {"key": "until", "label": t("home.until"), "kind": "mono"},
        ]  # fmt: skip
        self.todo.row_actions = [{"name": "close", "label": t(f"act.{agenda.CLOSE_DISPUTE}")}, {"name": "go", "label": t("home.go")}]
        self.todo.rows = [
            {
                "id": one.id, "text": one.text, "left": self._left(one, now_ms, words), "until": self._until(one, words),
                "can": [*(["close"] if one.closes else []), *(["go"] if one.page else [])],
            }
            for one in self._due
        ]  # fmt: skip
        self.todo.total = len(self.todo.rows)
        self.todo.notice = {} if self._due else {"sentence": t("home.nothing")}
        self.todo.state = "done" if self._due else "empty"
        under_way = [*agenda.running(status, self.jobs, words), *waiting.letters_waiting(self.waiting, words)]
        self.running.heading = t("home.now")
        self.running.columns = [{"key": "text", "label": t("home.what")}, {"key": "state", "label": t("home.state"), "kind": "state"}]
        self.running.rows = [{"id": name, "text": told, "state": {"state": state, "label": t(f"now.chip.{state}")}} for name, told, state in under_way]
        self._panes["running"].visible = bool(under_way)
        rows = agenda.released(self.jobs, words)
        self.done.heading = t("home.done")
        self.done.columns = [
            {"key": "job", "label": t("home.job"), "kind": "mono"}, {"key": "partner", "label": t("home.partner")},
            {"key": "count", "label": t("home.count"), "kind": "count", "align": "right"},
        ]  # fmt: skip
        self.done.rows = rows
        self._panes["done"].visible = bool(rows)

    def _until(self, one: agenda.Due, words: Words) -> str:
        """The limit to the minute, or the day of which it is the end."""
        if one.until_ms is None or one.at_once:
            return "—"
        return one.day or formats.time(one.until_ms, words.lang)[:16]

    def _left(self, one: agenda.Due, now_ms: int, words: Words) -> dict[str, str] | None:
        """How much time is left: late and at once stand out, the last days are amber, without a limit there is a dash."""
        if one.until_ms is None:
            return None
        if one.at_once or one.until_ms <= now_ms:
            late = words.t("home.late", time=formats.duration((now_ms - one.until_ms) / 1000, words.lang))
            return {"state": "failed", "label": one.left or late}
        label = one.left or formats.left((one.until_ms - now_ms) / 1000, words.lang)
        return {"state": "pending" if one.until_ms - now_ms <= SOON_MS else "neutral", "label": label}

    # ------------------------------------------------------------------ going

    async def _act(self, chosen: str, name: str) -> None:
        """A button of a line: to its page, or the form that takes it off this one."""
        one = next((one for one in self._due if one.id == chosen), None)
        if one is not None and name == "close" and one.closes:
            self.closing.offer([one.closes], job=one.subject)
            if self.closing.chosen is None:
                await self.closing.open(one.closes)
        else:
            self._do(chosen)

    async def _closed(self, _operation: str, _reply: Any) -> None:  # Any: the operation's reply
        await self.look()

    def _go(self, name: str) -> None:
        if name == "first" and self._due:
            self._do(self._due[0].id)
        elif name == "evidence":
            self.page.navigate("evidence")

    def _do(self, chosen: str) -> None:
        for one in self._due:
            if one.id == chosen and one.page:
                self.page.navigate(one.page, **dict(one.params))

    def _open_job(self, where: str, job: str) -> None:
        if any(one["job"] == job for one in self.jobs):
            self.page.navigate(where, job=job)


__all__ = ["HomePage"]
