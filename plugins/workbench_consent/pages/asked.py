"""Part of section Capture: who was asked, what became of it, and until when somebody who declined is left alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.app.parts import layout
from workbench.app.parts.acting import Acting
from workbench.app.parts.masking import masked
from workbench_consent.pages.forms import TAKE_BACK
from workbench_consent.pages.section import Section
from workbench_widgets import DataTable
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
CHIPS = {"SERVED": "pending", "OPENED": "running", "SIGNED": "sealed", "REFUSED": "refused", "EXPIRED": "neutral", "CANCELLED": "neutral"}
STATES = ("", *CHIPS, "COOLING")
OPEN = ("SERVED", "OPENED")
PAGE_ROWS = 50


class Asked:
    """For who may read the questions; one that is still open can be taken back from its row."""

    operation = "consent.asked"

    def __init__(self, section: Section) -> None:
        self.section, page = section, section.page
        self.found: Reply | None = None
        self._before: list[str] = []
        self._drawing = False
        self.state = layout.select(page, "asked.state", options={}, max_width=320)
        self.state.param.watch(lambda _event: None if self._drawing else page.start(self.again), "value")
        self.table = DataTable(page_size=PAGE_ROWS, state="loading")
        self.table.on_action(lambda _name, told: page.start(self._take_back, str(told.get("id", ""))), "act")
        self.taking = Acting(page, (TAKE_BACK,), lambda _operation, _reply: page.start(self.read), from_row=True)
        self.taking.offer([])
        self.older = layout.button(page, "withdraw.older", self._older)
        self.root = layout.stack(layout.card(layout.fields(self.state)), self.taking.root, pane(self.table), layout.buttons(self.older))
        self.root.visible = page.may(self.operation)

    async def again(self) -> None:
        """From the newest question on."""
        self._before = []
        await self.read()

    async def read(self) -> None:
        page = self.section.page
        if page.may(self.operation):
            before = self._before[-1] if self._before else ""
            self.found = await page.run(page.client.call, self.operation, state=self.state.value or "", before=before, limit=PAGE_ROWS)
            self.draw()

    async def _older(self) -> None:
        if self.found is not None and self.found["next"]:
            self._before.append(str(self.found["next"]))
            await self.read()

    async def _take_back(self, ask: str) -> None:
        self.taking.offer([TAKE_BACK.operation], ask=ask)
        await self.taking.open(TAKE_BACK.operation)

    def draw(self) -> None:
        section, found = self.section, self.found
        t, words = section.t, section.words
        self._drawing = True
        layout.set_options(self.state, {t(f"asked.{one or 'any'}"): one for one in STATES})
        self._drawing = False
        section.look(self.table)
        self.table.heading, self.table.notice = t("asked.title"), {"sentence": t("asked.none")}
        self.older.visible = found is not None and bool(found["next"])
        if found is None:
            return
        self.table.hint = t("asked.count", count=words.count(found["total"]))
        may = section.page.may(TAKE_BACK.operation)
        self.table.row_actions = [{"name": "back", "label": t("asked.take_back")}]
        self.table.columns = [
            {"key": "at", "label": t("asked.at"), "kind": "time"}, {"key": "who", "label": t("asked.who"), "kind": "masked"},
            {"key": "what", "label": t("asked.what")}, {"key": "way", "label": t("field.way")}, {"key": "state", "label": t("notice.state"), "kind": "state"},
            {"key": "until", "label": t("asked.until")}, {"key": "by", "label": t("asked.by")},
        ]  # fmt: skip
        self.table.rows = [
            {
                "id": one["ask"], "at": one["asked_ms"], "who": "　".join(part for part in (one["phone"], one["id_no"]) if part),
                "what": "　".join(words.pair(offer["purpose"], offer["recipient"]) for offer in one["offers"]),
                "way": self._way(one), "state": {"state": CHIPS.get(one["state"], "neutral"), "label": t(f"asked.{one['state']}")},
                "until": self._until(one), "by": masked(one["asked_by"]), "can": ["back"] if may and one["state"] in OPEN else [],
            }
            for one in found["questions"]
        ]  # fmt: skip
        self.table.total = len(self.table.rows)
        self.table.state = "done" if self.table.rows else "empty"

    def _way(self, one: Reply) -> str:
        way = self.section.t(f"option.way.{one['way']}") if one["way"] in ("page", "assisted") else one["way"]
        return "　".join(part for part in (way, masked(one["place"])) if part)

    def _until(self, one: Reply) -> str:
        """Of an open question the end of its link; of a refusal the day before which nobody asks again."""
        words, t = self.section.words, self.section.t
        if one["cool_down_until_ms"]:
            return t("asked.cooling_until", time=words.time(one["cool_down_until_ms"])[:16])
        return t("asked.link_until", time=words.time(one["expires_ms"])[:16]) if one["state"] in OPEN else "—"


__all__ = ["CHIPS", "STATES", "Asked"]
