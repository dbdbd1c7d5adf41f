"""Parts of both pages of leases: who is on duty, and what is at risk. Operations: workbench_inference.operations_running."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Act, Acting, Field
from workbench.app.parts.notes import Notes
from workbench.errors import InvalidRequest
from workbench_inference.pages.leases_acts import SHANGHAI
from workbench_widgets import DataTable, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
LEVELS: Final = ("low", "middle", "high")
STATES: Final = ("open", "watched", "closed")
_CHIPS: Final = {"open": "pending", "watched": "info", "closed": "sealed"}
_REASON: Final = Field("reason")


def _turn(values: dict[str, Any]) -> dict[str, Any]:
    """From a beginning as people write it and a number of hours to two times. Raises InvalidRequest BAD_TIME."""
    try:
        begin = datetime.strptime(str(values["begins"]), "%Y-%m-%d %H:%M").replace(tzinfo=SHANGHAI)
    except ValueError as error:
        raise InvalidRequest("起始时间写成 2026-11-30 22:00（北京时间）", "The beginning is written 2026-11-30 22:00 (Asia/Shanghai)", code="BAD_TIME") from error
    from_ms = int(begin.timestamp() * 1000)
    return {"person": values["person"], "from_ms": from_ms, "until_ms": from_ms + 3_600_000 * int(values["hours"] or 0), "note": values["note"]}


def _filled(values: dict[str, Any]) -> dict[str, Any]:
    """What was left empty stays as it is."""
    return {name: value for name, value in values.items() if value not in ("", None)}


def _dated(values: dict[str, Any]) -> dict[str, Any]:
    """A risk has a day by when it is settled. Raises InvalidRequest BAD_TIME."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", str(values.get("due", ""))):
        raise InvalidRequest("写明期限，如 2026-12-31", "Say by when, such as 2026-12-31", code="BAD_TIME")
    return values


DUTY_SET: Final = Act("inference.duty_set", (Field("person", label="duty_person"), Field("begins"), Field("hours", "number", default=8), Field("note")), shape=_turn, about=True)
DUTY_REMOVE: Final = Act("inference.duty_remove", (_REASON,))
RISK_ADD: Final = Act(
    "inference.risk_add", (Field("title", label="risk_title"), Field("level", "choice", LEVELS), Field("owner", label="risk_owner"), Field("due", "day")), shape=_dated, about=True,
)
RISK_CHANGE: Final = Act(
    "inference.risk_change", (Field("state", "choice", ("", *STATES)), Field("level", "choice", ("", *LEVELS)), Field("owner", label="risk_owner"), Field("due", "day"), _REASON), shape=_filled,
)
EXPORT: Final = Act("inference.register_export", (Field("what", "choice", ("duty", "risks")),))
EVERY: Final = (DUTY_SET, DUTY_REMOVE, RISK_ADD, RISK_CHANGE, EXPORT)


class Registers:
    """Two tables with what can be done about them. done: called after each act, as `Acting` does."""

    def __init__(self, page: PageContext, done: Callable[[str, Any], Any]) -> None:
        self.page = page
        self.duty = DataTable(page_size=6, state="loading")
        self.duty.on_action(lambda _name, told: page.start(self._row, DUTY_REMOVE, "duty", str(told.get("id", ""))), "act")
        self.gaps = Notes(framed=False)
        self.risks = DataTable(page_size=6, state="loading")
        self.risks.on_action(lambda _name, told: page.start(self._row, RISK_CHANGE, "risk", str(told.get("id", ""))), "act")
        self.of_row = Acting(page, (DUTY_REMOVE, RISK_CHANGE), done, from_row=True)
        self.of_row.offer([])
        self.acting = Acting(page, (DUTY_SET, RISK_ADD, EXPORT), done)
        self.acting.offer([DUTY_SET.operation, RISK_ADD.operation, EXPORT.operation])
        duty = (pane(self.duty), self.gaps) if page.may("inference.duty") else ()
        risks = (pane(self.risks),) if page.may("inference.risks") else ()
        self.root = layout.stack(*duty, *risks, self.of_row.root, self.acting.root)

    async def _row(self, act: Act, name: str, row: str) -> None:
        if row and act.operation in self.of_row.acts:
            self.of_row.offer([act.operation], **{name: int(row)})
            await self.of_row.open(act.operation)

    def draw(self, duty: Reply | None, risks: Reply | None, lang: formats.Lang) -> None:
        """From the replies; None: nothing was read."""
        t, may = self.page.t, self.page.may
        for table, key in ((self.duty, "running.duty"), (self.risks, "running.risks")):
            table.lang, table.heading = self.page.lang, t(key)
        if duty is not None:
            lines = [t("running.gap", start=formats.time(one["from_ms"], lang), until=formats.time(one["until_ms"], lang), reason=one["reason"]) for one in duty["gaps"]]
            self.gaps.tell(*([notes.bullets(lines, title=t("running.gaps"), tone="pending")] if lines else []))
            self.duty.row_actions = [{"name": DUTY_REMOVE.operation, "label": t("running.duty.remove")}] if may(DUTY_REMOVE.operation) else []
            with self.duty.at_once():
                self.duty.hint = t("running.duty.now", names="、".join(duty["on_duty"])) if duty["on_duty"] else t("running.duty.nobody")
                self.duty.notice = {"sentence": t("running.duty.none")}
                self.duty.columns = [
                    {"key": "person", "label": t("running.column.person")}, {"key": "from", "label": t("running.column.from"), "kind": "time"}, {"key": "until", "label": t("running.column.until"), "kind": "time"},
                    {"key": "note", "label": t("running.column.note")}, {"key": "state", "label": t("running.column.state"), "kind": "state"},
                ]  # fmt: skip
                self.duty.rows = [
                    {
                        "id": str(one["duty"]), "person": f"{one['person']}（{one['account']}）" if one["account"] else one["person"], "from": one["from_ms"], "until": one["until_ms"], "note": one["note"],
                        "state": {"state": "sealed" if one["is_on"] else "neutral", "label": t("running.duty.on" if one["is_on"] else "running.duty.off")}, "can": [DUTY_REMOVE.operation],
                    }
                    for one in duty["turns"]
                ]  # fmt: skip
                self.duty.total, self.duty.state = len(self.duty.rows), "done" if self.duty.rows else "empty"
        if risks is not None:
            self.risks.row_actions = [{"name": RISK_CHANGE.operation, "label": t("running.risk.change")}] if may(RISK_CHANGE.operation) else []
            with self.risks.at_once():
                self.risks.hint = t("running.risks.sum", open=risks["open"], overdue=risks["overdue"])
                self.risks.notice = {"sentence": t("running.risks.none")}
                self.risks.columns = [
                    {"key": "title", "label": t("running.column.title")}, {"key": "level", "label": t("running.column.level")}, {"key": "owner", "label": t("running.column.owner")},
                    {"key": "due", "label": t("running.column.due")}, {"key": "state", "label": t("running.column.state"), "kind": "state"},
                ]  # fmt: skip
                self.risks.rows = [
                    {
                        "id": str(one["risk"]), "title": one["title"], "level": t(f"option.level.{one['level']}"), "owner": one["owner"], "due": one["due"],
                        "state": {"state": "failed" if one["is_overdue"] else _CHIPS[one["state"]], "label": t("running.risk.overdue") if one["is_overdue"] else t(f"option.state.{one['state']}")},
                        "can": [RISK_CHANGE.operation] if one["state"] != "closed" else [],
                    }
                    for one in risks["risks"]
                ]  # fmt: skip
                self.risks.total, self.risks.state = len(self.risks.rows), "done" if self.risks.rows else "empty"


__all__ = ["EVERY", "Registers"]
