"""Sections Complaints and Tasks: the clock of seven working days, one complaint opened, and what institutions owe one another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.masking import masked
from workbench.app.parts.notes import Notes
from workbench.app.parts.sections import Section
from workbench_rights.pages import clocks
from workbench_rights.pages.forms import COMPLAINT_ACTS, COMPLAINT_STATES, FILE_ACTS, NOTE, TASK_ACTS, complaint_steps
from workbench_rights.pages.register import PAGE_ROWS, REFRESH_S, Register
from workbench_widgets import DataTable, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
CHIPS = {"OPEN": "pending", "HANDLING": "running", "CLOSED": "sealed"}
TASK_CHIPS = {"OPEN": "pending", "DONE": "sealed", "ENDED": "neutral"}


class Note(Section):
    """For marketing: write a complaint down; compliance takes it from there."""

    name = "note"
    operation = "complaints.note"

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.acting = Acting(page, (NOTE,), self._noted)
        self.acting.offer([NOTE.operation])
        self.told = Notes()
        self.noted: Reply | None = None
        self.root = layout.stack(self.acting.root, self.told)

    def _noted(self, _operation: str, reply: Reply) -> None:
        self.noted = reply
        self.draw()

    def draw(self) -> None:
        t = self.t
        if self.noted is None:
            self.told.tell(notes.text(t("note.explained")))
            return
        self.told.tell(notes.text(t("note.made", number=self.noted["complaint"], due=clocks.due(self.noted, t)), tone="sealed"))


class Complaints(Register):
    """A row a complaint; reading one is an entry of the log."""

    name = "complaints"
    operation = "complaints.list"
    states = COMPLAINT_STATES
    state_words = "complaint_state"

    def __init__(self, page: PageContext, on_change: Callable[[], None]) -> None:
        super().__init__(page, on_change)
        self.noting = Acting(page, (NOTE,), self._noted)
        self.noting.offer([NOTE.operation])
        self.settled = Notes()
        self.acting = Acting(page, COMPLAINT_ACTS, self._acted, choices=self._choices)
        self.acting.offer([])
        self.tasks, self.files = DataTable(page_size=20, state="empty"), DataTable(page_size=20, state="empty")
        self.tasks.on_action(lambda _name, told: page.start(self._finish, str(told.get("id", ""))), "act")
        self.files.on_action(lambda _name, told: page.start(self._take, str(told.get("id", ""))), "act")
        self.finishing = Acting(page, TASK_ACTS, self._acted, from_row=True)
        self.finishing.offer([])
        self.taking = Acting(page, FILE_ACTS, self._acted, from_row=True)
        self.taking.offer([])
        self.of_case = layout.stack(pane(self.tasks), self.finishing.root, pane(self.files), self.taking.root)
        self.of_case.visible = False
        side = layout.stack(self.case, self.acting.root, self.timeline, self.settled)
        main = layout.stack(
            self.noting.root, layout.card(layout.fields(self.state), self.overdue), pane(self.table), layout.buttons(self.older), self.of_case
        )
        self.root = layout.split(main, side, side_px=480)

    def _choices(self, name: str) -> Mapping[str, Any]:
        if name == "parties":
            return self.others()
        found = self.purposes() if name == "purpose" else self.others()
        return {self.t(f"every_{name}"): "", **found}

    async def look_at(self, case: str, *, focus: bool = True) -> None:
        """Open one: what happened, what was done, what is still owed."""
        if not case:
            return
        page = self.page
        self.detail = await page.run(page.client.call, "complaints.get", complaint=case)
        self.finishing.offer([])
        self.taking.offer([])
        self.draw()
        if focus:
            self.case.take_focus()

    async def _noted(self, _operation: str, reply: Reply) -> None:
        await self._again()
        await self.look_at(str(reply["complaint"]), focus=False)

    async def _acted(self, operation: str, _reply: Reply) -> None:
        if operation != "complaints.read_file" and self.detail is not None:
            await self.look_at(str(self.detail["info"]["complaint"]), focus=False)
            await self._fetch()

    async def _finish(self, task: str) -> None:
        self.finishing.offer(["complaints.finish_task"], task=task)
        await self.finishing.open("complaints.finish_task")

    async def _take(self, attachment: str) -> None:
        self.taking.offer(["complaints.read_file"], attachment=attachment)
        await self.taking.open("complaints.read_file")

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        t = self.t
        self.draw_filters()
        for table in (self.tasks, self.files):
            table.lang = self.page.lang
        self._draw_case()
        found = self.found
        if found is None:
            return
        self.table.hint = t("complaints.hint", total=found["total"], overdue=found["overdue"], soon=found["due_soon"])
        self.table.columns = [
            {"key": "complaint", "label": t("column.number"), "kind": "mono"}, {"key": "category", "label": t("field.category")},
            {"key": "state", "label": t("column.state"), "kind": "state"}, {"key": "clock", "label": t("column.clock"), "kind": "state"},
            {"key": "due", "label": t("column.due")}, {"key": "at", "label": t("column.received"), "kind": "date"},
            {"key": "tasks", "label": t("column.tasks"), "kind": "count"},
        ]  # fmt: skip
        rows = [
            {
                "id": one["complaint"], "complaint": one["complaint"],
                "category": self.both(one, "category") + (t("complaints.major") if one["is_major"] else ""),
                "state": {"state": CHIPS.get(one["state"], "neutral"), "label": self.both(one, "state")}, "clock": self._clock(one),
                "due": clocks.unbroken(clocks.due(one, t)), "at": one["received_ms"], "tasks": one["tasks_open"],
            }
            for one in found["complaints"]
        ]  # fmt: skip
        self.draw_rows(found, rows)

    def _clock(self, one: Reply) -> dict[str, Any]:
        """The clock stops when the customer was told."""
        if one["told_ms"] and one["state"] != "CLOSED":
            return {"state": "sealed" if one["told_in_time"] else "refused", "label": self.t("clock.told" if one["told_in_time"] else "clock.told_late")}
        return clocks.clock(one, self.t, is_open=one["state"] != "CLOSED")

    def _draw_case(self) -> None:
        t, detail = self.t, self.detail
        self.of_case.visible = detail is not None
        if detail is None:
            self.case.tell(notes.text(t("case.choose")), notes.text(t("case.recorded"), meta=True))
            self.timeline.tell()
            self.settled.tell()
            self.acting.offer([])
            return
        info = detail["info"]
        stopped = formats.time(info["contact_stopped_ms"], self._lang) if info["contact_stopped_ms"] else ""
        self.case.tell(
            notes.heading(t("case.title", number=info["complaint"], kind=self.both(info, "category")), self._clock(info)["label"]),
            notes.facts(
                (t("column.state"), self.both(info, "state")), (t("column.due"), clocks.due(info, t)), (t("column.handler"), info["handler"]),
                (t("case.customer"), "　".join([*detail["phones"], *detail["id_nos"]])), (t("field.facts"), detail["facts"]),
                (t("field.job"), info["job"], "mono"), (t("case.group"), info["group"], "mono"), (t("case.stopped"), stopped),
                (t("field.outcome"), t(f"option.outcome.{info['outcome']}") if info["outcome"] else ""), (t("field.reason"), detail["reason"]),
            ),
            *([notes.text(t("case.erased"), meta=True)] if detail["is_erased"] else []),
        )  # fmt: skip
        told = [
            t("case.step", time=formats.time(one["at_ms"], self._lang), kind=self.both(one, "kind"), by=one["by"], text=one["text"])
            for one in detail["timeline"]
        ]
        self.timeline.tell(notes.heading(t("case.timeline")), notes.bullets(told) if told else notes.text(t("case.no_step"), meta=True))
        self._draw_settled(detail)
        self.acting.offer(complaint_steps(info["state"]), complaint=info["complaint"])
        may = self.page.may("complaints.finish_task")
        draw_tasks(self, self.tasks, list(detail["tasks"]), may=may, heading=t("tasks.of_case"))
        self._draw_files(detail)

    def _draw_settled(self, detail: Reply) -> None:
        t = self.t
        told = [
            t("case.liable", liable=one["liable"], basis=one["basis"], entries="、".join(one["entries"]))
            + (t("case.package_unknown") if one["package_from"] == "not-exported-here" else "")
            for one in detail["liability"]
        ] + [
            t("case.compensated", amount=formats.money(one["amount_fen"], self._lang), payer=one["payer"], day=one["agreed"])
            for one in detail["compensation"]
        ]
        self.settled.tell(*([notes.bullets(told, title=t("case.settled"))] if told else []))

    def _draw_files(self, detail: Reply) -> None:
        t = self.t
        self.files.heading, self.files.notice = t("files.title"), {"sentence": t("files.none")}
        self.files.row_actions = [{"name": "take", "label": t("files.take")}]
        self.files.columns = [
            {"key": "name", "label": t("files.name")}, {"key": "note", "label": t("field.note")}, {"key": "size", "label": t("files.size"), "kind": "size"},
            {"key": "at", "label": t("column.received"), "kind": "time"}, {"key": "digest", "label": t("files.digest"), "kind": "digest"},
        ]  # fmt: skip
        can = ["take"] if self.page.may("complaints.read_file") else []
        self.files.rows = [
            {
                "id": one["attachment"], "name": masked(one["name"]) or one["attachment"], "note": masked(one["note"]), "size": one["size"],
                "at": one["at_ms"], "digest": {"algorithm": "SM3", "hex": one["digest"]}, "can": can,
            }
            for one in detail["attachments"]
        ]  # fmt: skip
        self.files.total = len(self.files.rows)
        self.files.state = "done" if self.files.rows else "empty"


class Tasks(Section):
    """Every task of every complaint and of the groups that others lead, the overdue ones first."""

    name = "tasks"
    operation = "complaints.tasks"

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.found: Reply | None = None
        self.groups: Reply | None = None
        self.table = DataTable(page_size=PAGE_ROWS, state="loading")
        self.table.on_action(lambda _name, told: page.start(self._finish, str(told.get("id", ""))), "act")
        self.finishing = Acting(page, TASK_ACTS, self._finished, from_row=True)
        self.finishing.offer([])
        self.led = DataTable(page_size=20, state="loading")
        self.root = layout.stack(self.finishing.root, pane(self.table), pane(self.led))

    async def read(self) -> None:
        await self._fetch()
        self.page.refresh_every(REFRESH_S, self._fetch)

    async def _fetch(self) -> None:
        page = self.page
        self.found = await page.run(page.client.call, "complaints.tasks")
        self.groups = await page.run(page.client.call, "complaints.groups")
        self.draw()

    async def _finish(self, task: str) -> None:
        self.finishing.offer(["complaints.finish_task"], task=task)
        await self.finishing.open("complaints.finish_task")

    async def _finished(self, _operation: str, _reply: Reply) -> None:
        await self._fetch()
        self.finishing.offer([])

    def draw(self) -> None:
        t = self.t
        self.table.lang = self.led.lang = self.page.lang
        if self.found is None or self.groups is None:
            return
        rows = sorted(self.found["tasks"], key=lambda one: (one["state"] != "OPEN", one["due_ms"]))
        draw_tasks(self, self.table, rows, may=self.page.may("complaints.finish_task"), heading=t("tasks.title"))
        self.table.hint = t("tasks.hint", overdue=self.found["overdue"])
        self.led.heading, self.led.notice = t("groups.title"), {"sentence": t("groups.none")}
        self.led.columns = [
            {"key": "group", "label": t("column.number"), "kind": "mono"}, {"key": "lead", "label": t("groups.lead"), "kind": "party"},
            {"key": "category", "label": t("field.category")}, {"key": "job", "label": t("field.job"), "kind": "mono"},
            {"key": "known", "label": t("groups.known")}, {"key": "at", "label": t("column.received"), "kind": "time"},
            {"key": "tasks", "label": t("column.tasks"), "kind": "count"}, {"key": "state", "label": t("column.state"), "kind": "state"},
        ]  # fmt: skip
        self.led.rows = [
            {
                "id": one["group"], "group": one["group"], "lead": self.tile(one["lead"]), "category": self.both(one, "category"),
                "job": one["job"], "known": t("groups.is_known" if one["is_known"] else "groups.not_known"), "at": one["created_ms"],
                "tasks": sum(task["state"] == "OPEN" for task in one["tasks"]),
                "state": {"state": TASK_CHIPS.get(one["state"], "neutral"), "label": t(f"option.task_state.{one['state']}")},
            }
            for one in self.groups["groups"]
        ]  # fmt: skip
        self.led.total = len(self.led.rows)
        self.led.state = "done" if self.led.rows else "empty"


def draw_tasks(section: Section, table: DataTable, tasks: list[Reply], *, may: bool, heading: str) -> None:
    """Tasks as rows; an open one of ours can be finished here."""
    t, own = section.t, section.page.me["me"]["party"]
    table.heading, table.notice = heading, {"sentence": t("tasks.none")}
    table.row_actions = [{"name": "finish", "label": t("act.complaints.finish_task")}]
    table.columns = [
        {"key": "party", "label": t("tasks.who"), "kind": "party"}, {"key": "kind", "label": t("field.task_kind")},
        {"key": "text", "label": t("field.text")}, {"key": "state", "label": t("column.state"), "kind": "state"},
        {"key": "due", "label": t("column.due")}, {"key": "result", "label": t("field.result")}, {"key": "letter", "label": t("tasks.letter")},
    ]  # fmt: skip
    rows = []
    for one in tasks:
        state = {"state": TASK_CHIPS.get(one["state"], "neutral"), "label": t(f"option.task_state.{one['state']}")}
        if one["is_overdue"]:
            state = {"state": "failed", "label": t("clock.overdue_task")}
        letter = t(f"letter.{one['letter_state']}") if one["letter_state"] else ""
        rows.append(
            {
                "id": one["task"], "party": section.tile(one["party"]), "kind": t(f"option.task_kind.{one['kind']}"), "text": masked(one["text"]),
                "state": state, "due": clocks.unbroken(one["due_day"]), "result": masked(one["result"]), "letter": " ".join(x for x in (letter, one["letter_code"]) if x),
                "can": ["finish"] if may and one["state"] == "OPEN" and one["party"] == own else [],
            }
        )  # fmt: skip
    table.rows, table.total = rows, len(rows)
    table.state = "done" if rows else "empty"


__all__ = ["CHIPS", "TASK_CHIPS", "Complaints", "Note", "Tasks"]
