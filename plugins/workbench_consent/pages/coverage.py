"""Section Coverage: how many of a list may be used, purpose by purpose and partner by partner, why not the others, and when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from workbench.app.page import PageContext
from workbench.app.parts import layout
from workbench_consent.pages.section import Section
from workbench_widgets import DataTable, MonthBars, Waterfall
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
MONTHS = 12
SOON_DAYS = 90
DAY_MS = 86_400_000
BEIJING = ZoneInfo("Asia/Shanghai")


class Coverage(Section):
    """The first section; marketing sees nothing else."""

    name = "coverage"
    operation = "consent.coverage"

    def __init__(self, page: PageContext, on_change: Callable[[], None]) -> None:
        super().__init__(page)
        self._changed = on_change
        self._drawing = False
        self.lists: list[Reply] = []
        self.coverage: Reply | None = None
        self.outlook: Reply | None = None
        self.chosen: tuple[str, str] | None = None
        self.renewed: Reply | None = None
        self.list_id = layout.select(page, "coverage.list", options={})
        self.key_kind = layout.select(page, "coverage.key", options={})
        self.matrix = DataTable(openable=True, page_size=20, state="loading")
        self.reasons = Waterfall(state="loading")
        self.bars = MonthBars(state="loading")
        self.renew = layout.button(page, "renew.make", self._list_renewals)
        self.status = layout.button(page, "status.export", self._export_status)
        for widget in (self.list_id, self.key_kind):
            widget.param.watch(lambda _event: None if self._drawing else page.start(self._choose_list), "value")
        self.matrix.on_action(lambda _name, told: self._choose(str(told.get("id", ""))), "open")
        side = layout.stack(pane(self.reasons), pane(self.bars), layout.buttons(self.renew, self.status))
        self.root = layout.stack(
            layout.card(layout.fields(self.list_id, self.key_kind)), layout.split(pane(self.matrix), side, side_px=480)
        )

    async def read(self) -> None:
        page = self.page
        self.lists = list((await page.run(page.client.call, "lists.all")).lists)
        self._options()
        await self._decide()

    async def _choose_list(self) -> None:
        self.coverage = self.outlook = None
        self.draw()
        await self._decide()

    async def _decide(self) -> None:
        """Two decisions of the registry over the whole list, side by side."""
        page, list_id = self.page, self.list_id.value
        if not list_id:
            self.draw()
            return
        request = {"list_id": list_id, "key_kind": self.key_kind.value}
        coverage, outlook = await asyncio.gather(
            page.run(page.client.call, "consent.coverage", **request),
            page.run(page.client.call, "consent.outlook", months=MONTHS, **request),
        )
        if self.list_id.value != list_id or self.key_kind.value != request["key_kind"]:
            return  # something else was chosen meanwhile
        self.coverage, self.outlook = coverage, outlook
        known = [(one["purpose"], one["recipient"]) for one in coverage["rows"]]
        if self.chosen not in known:
            best = max(coverage["rows"], key=lambda one: one["usable"], default=None)
            self.chosen = (best["purpose"], best["recipient"]) if best else None
        self.draw()
        self._changed()

    def _choose(self, row: str) -> None:
        purpose, _, recipient = row.partition("|")
        self.chosen = (purpose, recipient)
        self.draw()
        self._changed()

    async def _list_renewals(self) -> None:
        """A file of customer numbers for those to ask again."""
        if self.chosen is None or not self.list_id.value:
            return
        page, (purpose, recipient) = self.page, self.chosen
        made: Reply = await page.run(
            page.client.call, "consent.renewals", list_id=self.list_id.value, key_kind=self.key_kind.value, purpose=purpose,
            recipient=recipient, within_days=SOON_DAYS,
        )  # fmt: skip
        self.renewed = made
        if made["download"]:
            page.download(str(made["download"]))
        self.draw()
        self._changed()

    async def _export_status(self) -> None:
        """Every customer of the list with the registry's answer, as a file of customer numbers."""
        if self.chosen is None or not self.list_id.value:
            return
        page, (purpose, recipient) = self.page, self.chosen
        made = await page.run(
            page.client.call, "consent.export_status", list_id=self.list_id.value, key_kind=self.key_kind.value, purpose=purpose,
            recipient=recipient,
        )  # fmt: skip
        page.download(str(made["download"]))

    # ------------------------------------------------------------------ drawing

    def _options(self) -> None:
        self._drawing = True
        words = self.words
        layout.set_options(
            self.list_id, {self.t("coverage.list_option", name=one["name"], rows=words.count(one["rows"])): one["list_id"] for one in self.lists}
        )
        layout.set_options(self.key_kind, {self.t(f"key_kind.{one}"): one for one in ("phone", "id_no")})
        self._drawing = False

    def row(self) -> Reply | None:
        """What the registry said about the chosen purpose and recipient."""
        rows = self.coverage["rows"] if self.coverage else []
        return next((one for one in rows if (one["purpose"], one["recipient"]) == self.chosen), None)

    def ends(self) -> Reply | None:
        """When the consents of the chosen purpose and recipient end."""
        rows = self.outlook["rows"] if self.outlook else []
        return next((one for one in rows if (one["purpose"], one["recipient"]) == self.chosen), None)

    def draw(self) -> None:
        self._options()
        self.look(self.matrix, self.reasons, self.bars)
        self.renew.visible, self.status.visible = self.page.may("consent.renewals"), self.page.may("consent.export_status")
        if not self.lists and self.is_read and self.coverage is None and not self.list_id.value:
            for widget in (self.matrix, self.reasons, self.bars):
                widget.state, widget.notice = "empty", {"sentence": self.t("coverage.no_list")}
            return
        if self.coverage is None:
            self.matrix.state = self.reasons.state = self.bars.state = "loading"
            return
        self._draw_matrix(self.coverage)
        self._draw_reasons(self.coverage)
        self._draw_bars()

    def _draw_matrix(self, coverage: Reply) -> None:
        words, t = self.words, self.t
        ends = {(one["purpose"], one["recipient"]): one for one in self.outlook["rows"]} if self.outlook else {}
        self.matrix.heading = t("matrix.title")
        self.matrix.hint = t("matrix.hint", count=words.count(coverage["customers"]), time=words.time(coverage["at_ms"]))
        self.matrix.columns = [
            {"key": "purpose", "label": t("matrix.purpose")}, {"key": "recipient", "label": t("matrix.recipient"), "kind": "party"},
            {"key": "usable", "label": t("matrix.usable"), "kind": "count"}, {"key": "share", "label": t("matrix.share"), "kind": "share"},
            {"key": "soon", "label": t("matrix.soon"), "kind": "count"}, {"key": "most", "label": t("matrix.most")},
        ]  # fmt: skip
        rows = []
        for one in sorted(coverage["rows"], key=lambda row: -row["usable"]):
            pair = (one["purpose"], one["recipient"])
            rows.append(
                {
                    "id": "|".join(pair), "purpose": words.purpose(one["purpose"]), "recipient": words.tile(one["recipient"]),
                    "usable": one["usable"], "share": one["usable"] / max(1, coverage["customers"]),
                    "soon": ends[pair]["within_90"] if pair in ends else 0, "most": self._most(one["counts"]),
                }
            )  # fmt: skip
        self.matrix.rows, self.matrix.total = rows, len(rows)
        self.matrix.state = "done" if rows else "empty"

    def _most(self, counts: Mapping[str, int]) -> str:
        """The reason that leaves out most, with its number."""
        lost = {code: count for code, count in counts.items() if code != "OK"}
        if not lost:
            return self.t("matrix.nobody_out")
        code = max(lost, key=lambda one: lost[one])
        return self.t("matrix.reason", reason=self.reason(code), count=self.words.count(lost[code]))

    def reason(self, code: str) -> str:
        """A reason's short name, or the node's own sentence where this page is older than the code."""
        try:
            return self.t(f"reason.{code}")
        except KeyError:
            known = self.coverage["reasons"] if self.coverage else {}
            return self.words.both(known[code]) if code in known else code

    def _draw_reasons(self, coverage: Reply) -> None:
        found, words = self.row(), self.words
        if found is None:
            self.reasons.state = "empty"
            return
        lost = {code: count for code, count in found["counts"].items() if code != "OK" and count}
        self.reasons.heading = words.pair(found["purpose"], found["recipient"])
        out = coverage["customers"] - found["usable"]
        self.reasons.rows = [
            {"label": self.t("reasons.all"), "kept": coverage["customers"], "removed": 0},
            {
                "label": self.t("reasons.usable"), "kept": found["usable"], "removed": out, "open": True,
                "reasons": [
                    {"label": self.reason(code), "count": count, "code": code} for code, count in sorted(lost.items(), key=lambda one: -one[1])
                ],
            },
        ]  # fmt: skip
        self.reasons.state = "done"

    def _draw_bars(self) -> None:
        ends, words, t = self.ends(), self.words, self.t
        if ends is None:
            self.bars.state = "empty"
            return
        self.bars.heading, self.bars.unit = t("ends.title"), t("ends.unit")
        self.bars.hint = t("ends.hint", later=words.count(ends["later"])) if ends["later"] else ""
        last = _month_of(self.outlook["at_ms"] + SOON_DAYS * DAY_MS) if self.outlook else ""
        self.bars.bars = [
            {
                "label": t("ends.month", month=int(one["month"][5:])), "count": one["customers"], "soon": one["month"] <= last,
                "title": t("ends.of_month", month=one["month"], count=words.count(one["customers"])),
            }
            for one in ends["months"]
        ]  # fmt: skip
        self.bars.state = "done"


def _month_of(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, BEIJING):%Y-%m}"


__all__ = ["Coverage"]
