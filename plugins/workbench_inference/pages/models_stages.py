"""Section of the page of models: at which stage the trial is, what a step forward rests on, and who decides it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.notes import Notes
from workbench_inference.pages import models_acts as acts
from workbench_inference.pages.models_sections import ModelsSection, Reply
from workbench_widgets import AnswerStrip, DataTable, formats
from workbench_widgets.panel_pane import pane

_CHIPS = {"proposed": "pending", "decided": "sealed", "declined": "refused", "outdated": "neutral", "closed": "neutral"}


class Stages(ModelsSection):
    """Internal staff, invited customers, all customers: forward by two people on a report, back by one at once."""

    name = "stages"
    operation = "inference.stages"
    reads = ("inference.stages",)

    def __init__(self, page: PageContext, changed: Callable[[], None]) -> None:
        super().__init__(page, changed)
        self.opened = 0
        self.now = AnswerStrip(state="loading")
        self.steps = DataTable(page_size=8, openable=True, state="loading")
        self.steps.on_action(lambda _name, told: self._open(str(told.get("id", ""))), "open")
        self.steps.on_action(lambda _name, told: page.start(self._decide, str(told.get("id", "")), str(told.get("name", ""))), "act")
        self.ground, self.asks = Notes(), Notes()
        self.deciding = Acting(page, (acts.STAGE_DECIDE,), self.again, from_row=True)
        self.deciding.offer([])
        self.acting = Acting(page, (acts.STAGE_PROPOSE, acts.STAGE_CLOSE), self.again, choices=self._choices)
        self.root = layout.stack(pane(self.now), layout.split(layout.stack(pane(self.steps), self.deciding.root, self.acting.root), layout.stack(self.ground, self.asks), side_px=480))

    def _choices(self, _name: str) -> Mapping[str, str]:
        return {self.t(f"models.stage.{one}"): one for one in (self.found.get("inference.stages") or {}).get("back", [])}

    def _open(self, row: str) -> None:
        self.opened = int(row or 0)
        self._draw_ground()
        self.ground.take_focus()

    def _step(self, number: int) -> Reply | None:
        return next((one for one in (self.found.get("inference.stages") or {}).get("steps", []) if one["number"] == number), None)

    async def _decide(self, row: str, name: str) -> None:
        """Approve or decline what a row shows, by the report that the page read."""
        one = self._step(int(row or 0))
        if one is not None:
            self._open(row)
            self.deciding.offer([acts.STAGE_DECIDE.operation], number=one["number"], report=one["report"], approve=name == "approve")
            await self.deciding.open(acts.STAGE_DECIDE.operation)

    def draw(self) -> None:
        found, t = self.found.get("inference.stages"), self.t
        self.now.lang = self.page.lang
        if found is None:
            self.table(self.steps, "steps", (), None)
            return
        waiting = [one for one in found["steps"] if one["state"] == "proposed"]
        with self.now.at_once():
            self.now.sentence = t("models.stage.now", stage=t(f"models.stage.{found['stage']}"))
            self.now.reason = t(f"models.stage.{found['stage']}.means", people=formats.count(found["people"], self.lang), cap=formats.count(found["cap"], self.lang))
            mine = any(one["may_decide"] for one in waiting)
            self.now.todo = t("models.stage.todo.mine" if mine else "models.stage.todo.other") if waiting else ""
            self.now.state = "pending" if waiting else "info"
        self.steps.row_actions = [{"name": name, "label": t(f"models.stage.{name}")} for name in ("approve", "decline")] if self.page.may(acts.STAGE_DECIDE.operation) else []
        self.table(
            self.steps, "steps", (("step", "step"), ("state", "state", "state"), ("people", "people"), ("filing", "filing"), ("reason", "reason"), ("made", "made", "time")),
            [
                {
                    "id": str(one["number"]), "step": f"{t('models.stage.' + one['before'])} → {t('models.stage.' + one['after'])}",
                    "state": {"state": _CHIPS[one["state"]], "label": t(f"models.step.{one['state']}")}, "people": f"{one['first']} → {one['second'] or '—'}", "filing": one["filing"],
                    "reason": one["reason"], "made": one["made_ms"], "can": [*(["approve"] if one["may_decide"] else []), *(["decline"] if one["may_decline"] else [])],
                }
                for one in found["steps"]
            ],
            t("models.steps.hint"),
        )  # fmt: skip
        may = [*([acts.STAGE_PROPOSE.operation] if found["next"] else []), *([acts.STAGE_CLOSE.operation] if found["back"] else [])]
        self.acting.offer(may, **({"to": found["next"]} if found["next"] else {}))
        self.asks.tell(
            notes.heading(t("models.stage.asks")), notes.bullets([f"{self.both(one)}" for one in found["asks"]]), notes.text(t("models.stage.asks.means"), meta=True)
        )
        self._draw_ground()

    def _draw_ground(self) -> None:
        t, one = self.t, self._step(self.opened)
        if one is None or one["ground"] is None:
            self.ground.tell(notes.text(t("models.ground.choose" if one is None else "models.ground.none"), meta=True))
            return
        told, lang = one["ground"], self.lang
        refused = "、".join(f"{code} {count}" for code, count in told["refused"].items()) or "0"
        self.ground.tell(
            notes.heading(t("models.ground"), formats.digest("SM3", one["report"])),
            notes.facts(
                (t("models.ground.period"), f"{formats.date(told['from_ms'], lang)} – {formats.date(told['until_ms'], lang)}"),
                (t("models.ground.asked"), t("models.ground.asked_is", asked=told["asked"], answered=told["answered"], abstained=told["abstained"])),
                (t("models.ground.refused"), t("models.ground.refused_is", before=told["refused_before"], after=refused)),
                (t("models.ground.rated"), t("models.ground.rated_is", rated=told["rated"], up=told["up"], down=told["down"])), (t("models.ground.p95"), f"{told['p95_ms'] / 1000:.1f} s"),
            ),
            *([notes.bullets([t(f"models.rating.{rating or 'none'}", text=text) for rating, text in told["reasons"]], title=t("models.ground.reasons"))] if told["reasons"] else []),
        )  # fmt: skip


__all__ = ["Stages"]
