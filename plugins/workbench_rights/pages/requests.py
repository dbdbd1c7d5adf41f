"""Section Requests: what customers asked for, each with its clock, and the one that is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.notes import Notes
from workbench_rights.pages import clocks
from workbench_rights.pages.forms import KINDS, RECEIVE, REQUEST_ACTS, REQUEST_STATES
from workbench_rights.pages.register import Register
from workbench_widgets import formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
CHIPS = {
    "RECEIVED": "pending", "IDENTIFIED": "pending", "GRANTED": "running", "PARTLY": "running", "REFUSED": "refused",
    "ANSWERED": "sealed", "CLOSED": "neutral",
}  # fmt: skip
DONE = ("ANSWERED", "CLOSED")


class Requests(Register):
    """A row a request; opening one is an entry of the log, and the page says so."""

    name = "requests"
    operation = "rights.list"
    states = REQUEST_STATES
    state_words = "request_state"

    def __init__(self, page: PageContext, on_change: Callable[[], None]) -> None:
        super().__init__(page, on_change)
        self.explained: Reply | None = None
        self.kind = self.filter(layout.select(page, "filter.kind", options={}))
        self.receiving = Acting(page, (RECEIVE,), self._received)
        self.receiving.offer([RECEIVE.operation])
        self.why = Notes()
        self.acting = Acting(page, REQUEST_ACTS, self._acted)
        self.acting.offer([])
        side = layout.stack(self.case, self.acting.root, self.timeline, self.why)
        main = layout.stack(
            self.receiving.root, layout.card(layout.fields(self.state, self.kind), self.overdue), pane(self.table), layout.buttons(self.older)
        )
        self.root = layout.split(main, side, side_px=480)

    def chosen(self) -> dict[str, Any]:
        return {"kind": self.kind.value or ""}

    async def look_at(self, case: str, *, focus: bool = True) -> None:
        """Open one: its content, its steps, and what can be done now."""
        if not case:
            return
        page = self.page
        self.explained = None
        self.detail = await page.run(page.client.call, "rights.get", request=case)
        self.draw()
        if focus:
            self.case.take_focus()

    async def _received(self, operation: str, reply: Reply) -> None:
        await self._again()
        await self.look_at(str(reply["request"]), focus=False)

    async def _acted(self, operation: str, reply: Reply) -> None:
        if operation == "rights.explain":
            self.explained = reply
            self.draw()
            return
        if self.detail is not None:
            await self.look_at(str(self.detail["info"]["request"]), focus=False)
        await self._fetch()

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        t = self.t
        self.draw_filters(kind={t("filter.every_kind"): "", **{t(f"option.kind.{one}"): one for one in KINDS}})
        self._draw_case()
        found = self.found
        if found is None:
            return
        self.table.hint = t("requests.hint", total=found["total"], overdue=found["overdue"])
        self.table.columns = [
            {"key": "request", "label": t("column.number"), "kind": "mono"}, {"key": "kind", "label": t("column.asked")},
            {"key": "state", "label": t("column.state"), "kind": "state"}, {"key": "clock", "label": t("column.clock"), "kind": "state"},
            {"key": "due", "label": t("column.due")}, {"key": "at", "label": t("column.received"), "kind": "date"},
        ]  # fmt: skip
        rows = [
            {
                "id": one["request"], "request": one["request"], "kind": self.both(one, "kind"),
                "state": {"state": CHIPS.get(one["state"], "neutral"), "label": self.both(one, "state")},
                "clock": clocks.clock(one, t, is_open=one["state"] not in DONE), "due": clocks.unbroken(clocks.due(one, t)), "at": one["received_ms"],
            }
            for one in found["requests"]
        ]  # fmt: skip
        self.draw_rows(found, rows)

    def _draw_case(self) -> None:
        t, detail = self.t, self.detail
        if detail is None:
            self.case.tell(notes.text(t("case.choose")), notes.text(t("case.recorded"), meta=True))
            self.timeline.tell()
            self.why.tell()
            self.acting.offer([])
            return
        info = detail["info"]
        told = clocks.clock(info, t, is_open=info["state"] not in DONE)
        changes = [f"{column}: {value}" for column, value in detail["changes"].items()]
        self.case.tell(
            notes.heading(t("case.title", number=info["request"], kind=self.both(info, "kind")), told["label"]),
            notes.facts(
                (t("column.state"), self.both(info, "state")), (t("column.due"), clocks.due(info, t)), (t("case.ground"), info["ground"]),
                (t("case.customer"), "　".join([*detail["phones"], *detail["id_nos"]])), (t("field.applicant"), self.both(info, "applicant")),
                (t("field.authority"), detail["authority"]), (t("field.details"), detail["details"]), (t("field.changes"), "　".join(changes)),
                (t("field.note"), detail["identity_note"]), (t("case.decided_because"), detail["reason"]),
                (t("case.restriction"), self._restriction(info)), (t("case.complaint"), info["complaint"]), (t("case.erasure"), info["erasure"], "mono"),
            ),
            *([notes.text(t("case.erased"), meta=True)] if detail["is_erased"] else []),
        )  # fmt: skip
        steps = [(info["received_ms"], t("step.received", channel=self.both(info, "channel")))]
        if info["identified_ms"]:
            steps.append((info["identified_ms"], t("step.identified", by=info["identified_by"], method=self.both(info, "method"))))
        if info["decided_ms"]:
            decision = t(f"option.decision.{info['decision']}") if info["decision"] else ""
            steps.append((info["decided_ms"], t("step.decided", by=info["decided_by"], decision=decision)))
        if info["answered_ms"]:
            steps.append((info["answered_ms"], t("step.answered")))
        self.timeline.tell(
            notes.heading(t("case.timeline")), notes.bullets([f"{formats.time(at, self._lang)}　{what}" for at, what in steps], mark="yes")
        )
        self.acting.offer(info["steps"], request=info["request"])
        self._draw_explained()

    def _restriction(self, info: Reply) -> str:
        if not info["restricted_from_ms"]:
            return ""
        start = formats.time(info["restricted_from_ms"], self._lang)
        if info["is_restricting"]:
            return self.t("case.restricting", start=start)
        return self.t("case.restricted", start=start, end=formats.time(info["restriction_until_ms"], self._lang))

    def _draw_explained(self) -> None:
        t = self.t
        if self.explained is None:
            self.why.tell()
            return
        told = [f"{one['job']}　{self.party(one['partner'])}　{self.both(one)}" for one in self.explained["intersections"]]
        self.why.tell(
            notes.heading(t("case.explained")),
            notes.bullets(told) if told else notes.text(t("case.nothing_decided"), meta=True),
        )


__all__ = ["CHIPS", "DONE", "Requests"]
