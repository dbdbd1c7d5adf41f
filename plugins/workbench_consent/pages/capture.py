"""Section Capture: what became of questions, links for the signing page, signed forms one by one and in bulk, backdating."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.masking import masked
from workbench.app.parts.notes import Notes
from workbench_consent.pages.asked import Asked
from workbench_consent.pages.forms import APPROVE, CAPTURE_ACTS
from workbench_consent.pages.section import Section
from workbench_widgets import DataTable, KeyNumbers
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
REFRESH_S = 10.0


class Capture(Section):
    """Compliance asks and takes forms in; other readers see the funnel only."""

    name = "capture"
    operation = "consent.funnel"

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.funnel: Reply | None = None
        self.waiting: Reply | None = None
        self.done: tuple[str, Reply] | None = None
        self.offered: dict[str, str] = {}
        self.numbers = KeyNumbers(framed=True, large=True, state="loading")
        self.table = DataTable(page_size=20, state="loading")
        self.acting = Acting(page, CAPTURE_ACTS, self._acted, choices=self._choices)
        self.acting.offer([one.operation for one in CAPTURE_ACTS])
        self.told = Notes()
        self.backdatings = DataTable(page_size=10, state="loading")
        self.backdatings.on_action(lambda _name, told: page.start(self._approve, str(told.get("id", ""))), "act")
        self.approving = Acting(page, (APPROVE,), self._acted, from_row=True)
        self.approving.offer([])
        self.second = layout.stack(self.approving.root, pane(self.backdatings))
        self.asked = Asked(self)
        self.root = layout.stack(pane(self.numbers), self.acting.root, self.told, pane(self.table), self.asked.root, self.second)

    def _choices(self, name: str) -> Mapping[str, Any]:
        words = self.words
        if name == "purpose":
            return {title: code for code, title in words.purposes.items()}
        if name == "notice":
            return {**self.offered, self.t("capture.no_notice"): ""}
        if name == "backdating":
            usable = [one["proposal"] for one in (self.waiting["proposals"] if self.waiting else []) if one["state"] == "APPROVED"]
            return {self.t("capture.no_backdating"): "", **{one: one for one in usable}}
        return {words.party(one): one for one in words.others()}

    async def read(self) -> None:
        await self._fetch()
        self.page.refresh_every(REFRESH_S, self._fetch)

    async def _fetch(self) -> None:
        page = self.page
        self.funnel = await page.run(page.client.call, "consent.funnel")
        if page.may("consent.backdatings"):
            self.waiting = await page.run(page.client.call, "consent.backdatings")
        await self.asked.read()
        if page.may("consent.ask") and page.may("notices.list"):
            versions = (await page.run(page.client.call, "notices.list"))["rows"]
            self.offered = {
                self.t("capture.notice", title=self.words.both(one["title"]) or one["notice"], version=one["version"]): f"{one['notice']}@{one['version']}"
                for one in versions if one["offered"]
            }  # fmt: skip
        self.draw()

    async def _acted(self, operation: str, reply: Reply) -> None:
        self.done = (operation, reply)
        if operation == "consent.forms_import" and reply["rejects"]:
            self.page.download(str(reply["rejects"]))
        await self._fetch()

    async def _approve(self, proposal: str) -> None:
        self.approving.offer([APPROVE.operation], proposal=proposal)
        await self.approving.open(APPROVE.operation)

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        t, found = self.t, self.funnel
        self.look(self.numbers, self.table, self.backdatings)
        self.table.heading, self.table.notice = t("capture.title"), {"sentence": t("capture.none")}
        self.second.visible = self.page.may("consent.backdatings")
        self._draw_done()
        self._draw_backdatings()
        self.asked.draw()
        if found is None:
            return
        self.numbers.items = [
            {"value": found[name], "label": t(f"capture.{name}")} for name in ("served", "opened", "signed", "refused", "expired", "cancelled")
        ]
        self.numbers.state = "done"
        self.table.columns = [
            {"key": "purpose", "label": t("matrix.purpose")}, {"key": "recipient", "label": t("matrix.recipient"), "kind": "party"},
            {"key": "way", "label": t("field.way")}, {"key": "served", "label": t("capture.served"), "kind": "count"},
            {"key": "opened", "label": t("capture.opened"), "kind": "count"}, {"key": "signed", "label": t("capture.signed"), "kind": "count"},
            {"key": "refused", "label": t("capture.refused"), "kind": "count"}, {"key": "expired", "label": t("capture.expired"), "kind": "count"},
            {"key": "rate", "label": t("capture.rate"), "kind": "share"},
        ]  # fmt: skip
        words = self.words
        self.table.rows = [
            {
                "purpose": words.purpose(one["purpose"]), "recipient": words.tile(one["recipient"]),
                "way": t(f"option.way.{one['way']}") if one["way"] in ("page", "assisted") else one["way"], "served": one["served"],
                "opened": one["opened"], "signed": one["signed"], "refused": one["refused"], "expired": one["expired"],
                "rate": one["signed"] / one["opened"] if one["opened"] else None,
            }
            for one in found["rows"]
        ]  # fmt: skip
        self.table.total = len(self.table.rows)
        self.table.state = "done" if self.table.rows else "empty"

    def _draw_done(self) -> None:
        """What the last act gave: a link once, or how many forms were taken and why not the others."""
        t, words = self.t, self.words
        if self.done is None:
            self.told.tell()
            return
        operation, reply = self.done
        if operation == "consent.ask":
            link = {"copy": t("capture.copy"), "copied": t("capture.copied"), "select": t("capture.select")}
            until = t("capture.link", ask=reply["ask"], time=words.time(reply["expires_ms"]))
            self.told.tell(notes.text(until), notes.command(_address(self.page, str(reply["path"])), **link))
        elif operation == "consent.forms_import":
            why = [
                t("capture.why", reason=words.both(reply["sentences"].get(code, {})) or code, count=words.count(count))
                for code, count in sorted(reply["reasons"].items(), key=lambda one: -one[1])
            ]
            told = t(
                "capture.imported", rows=words.count(reply["rows"]), accepted=words.count(reply["accepted"]), rejected=words.count(reply["rejected"]),
                duplicates=words.count(reply["duplicates"]), suppressed=words.count(reply["suppressed"]), orphans=words.count(reply["orphans"]),
            )  # fmt: skip
            partly = bool(reply["rejected"] or reply["orphans"])
            self.told.tell(notes.text(told, tone="pending" if partly else "sealed"), *([notes.bullets(why, mark="warn")] if why else []))
        elif operation == "consent.capture":
            self.told.tell(notes.text(t("capture.captured", grants=words.count(reply["grants"]), event=reply["event"]), tone="sealed"))
        elif operation == "consent.backdating_propose":
            self.told.tell(notes.text(t("capture.proposed", proposal=reply["proposal"])))
        else:
            self.told.tell()

    def _draw_backdatings(self) -> None:
        t = self.t
        self.backdatings.heading, self.backdatings.notice = t("backdating.title"), {"sentence": t("backdating.none")}
        if self.waiting is None:
            return
        self.backdatings.row_actions = [{"name": "approve", "label": t(f"act.{APPROVE.operation}")}]
        self.backdatings.columns = [
            {"key": "proposal", "label": t("backdating.proposal"), "kind": "mono"}, {"key": "earliest", "label": t("backdating.earliest")},
            {"key": "most", "label": t("field.most"), "kind": "count"}, {"key": "reason", "label": t("field.reason")},
            {"key": "at", "label": t("withdraw.when"), "kind": "time"}, {"key": "state", "label": t("notice.state"), "kind": "state"},
        ]  # fmt: skip
        chips = {"WAITING": "pending", "APPROVED": "sealed", "USED": "neutral"}
        may = self.page.may(APPROVE.operation)
        self.backdatings.rows = [
            {
                "id": one["proposal"], "proposal": one["proposal"], "earliest": one["earliest"], "most": one["most"], "reason": masked(one["reason"]),
                "at": one["proposed_ms"],
                "state": {"state": chips[one["state"]], "label": t(f"backdating.{one['state']}") + (t("backdating.mine") if one["mine"] else "")},
                "can": ["approve"] if may and one["state"] == "WAITING" and not one["mine"] else [],
            }
            for one in self.waiting["proposals"]
        ]  # fmt: skip
        self.backdatings.total = len(self.backdatings.rows)
        self.backdatings.state = "done" if self.backdatings.rows else "empty"


def _address(page: PageContext, path: str) -> str:
    """The signing page's address at the node; the path alone where the client does not know the node's address."""
    url = getattr(page.client, "url", "")
    return (url if isinstance(url, str) else "") + path


__all__ = ["Capture"]
