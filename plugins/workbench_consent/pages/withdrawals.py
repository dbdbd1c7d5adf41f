"""Section Withdrawals: record one, see which partners have answered, and which exported files must not be used as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.notes import Notes
from workbench_consent.pages.forms import TELL_AGAIN
from workbench_consent.pages.section import Section, typed
from workbench_widgets import DataTable
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
CHIPS = {"waiting": "pending", "acknowledged": "sealed", "overdue": "failed", "refused": "refused", "none": "neutral", "searching": "running"}
WHO = ("subject", "agent", "guardian", "kin")
PAGE_ROWS = 50
REFRESH_S = 5.0
ANSWERS = ("waiting", "acknowledged", "overdue", "refused")


class Withdrawals(Section):
    """For compliance: the form, and one row a partner told."""

    name = "withdrawals"
    operation = "consent.withdrawals"

    def __init__(self, page: PageContext, on_change: Callable[[], None]) -> None:
        super().__init__(page)
        self._changed = on_change
        self.found: Reply | None = None
        self.before = 0
        self._drawing = False
        self.phone = layout.field(pn.widgets.TextInput, page, "customer.phone")
        self.id_no = layout.field(pn.widgets.TextInput, page, "customer.id_no")
        self.purpose = layout.select(page, "withdraw.purpose", options={})
        self.recipient = layout.select(page, "withdraw.recipient", options={})
        self.actor = layout.select(page, "withdraw.actor", options={})
        self.proof = layout.field(pn.widgets.TextInput, page, "withdraw.proof")
        self.reason = layout.field(pn.widgets.TextInput, page, "withdraw.reason")
        self.record = layout.button(page, "withdraw.record", self._record, primary=True)
        self.told = Notes(framed=False)
        self.state = layout.select(page, "withdraw.state", options={}, max_width=320)
        self.table = DataTable(page_size=PAGE_ROWS, state="loading")
        self.table.on_action(lambda _name, told: page.start(self._tell_again, str(told.get("id", ""))), "act")
        self.again = Acting(page, (TELL_AGAIN,), self._told_again, from_row=True)
        self.again.offer([])
        self.older = layout.button(page, "withdraw.older", self._older)
        self.actor.param.watch(lambda _event: self._draw_form(), "value")
        self.state.param.watch(lambda _event: None if self._drawing else page.start(self._again), "value")
        self.form = layout.card(
            layout.fields(self.phone, self.id_no, self.purpose, self.recipient, self.actor, self.proof, self.reason),
            layout.buttons(self.record), self.told,
        )  # fmt: skip
        self.root = layout.stack(
            self.form, layout.card(layout.fields(self.state)), self.again.root, pane(self.table), layout.buttons(self.older)
        )

    async def read(self) -> None:
        wanted = self.page.params.get("state", "")
        if wanted in ANSWERS and self.state.value != wanted:
            self._drawing = True
            self.state.value = wanted
            self._drawing = False
        await self._again()
        self.page.refresh_every(REFRESH_S, self._follow)

    async def _again(self) -> None:
        self.before = 0
        await self._fetch()

    async def _follow(self) -> None:
        if self.before == 0:
            await self._fetch()

    async def _fetch(self) -> None:
        page = self.page
        self.found = await page.run(
            page.client.call, "consent.withdrawals", before=self.before, limit=PAGE_ROWS, state=self.state.value or ""
        )
        self.draw()
        self._changed()

    async def _older(self) -> None:
        if self.found is not None and self.found["next"]:
            self.before = int(self.found["next"])
            await self._fetch()

    async def _record(self) -> None:
        """Ask for it; the person confirms with a fresh password on the node's own page."""
        request = {
            "phone": typed(self.phone), "id_no": typed(self.id_no), "purpose": self.purpose.value or "",
            "recipient": self.recipient.value or "", "by": self.actor.value or "subject", "proof": typed(self.proof),
            "reason": typed(self.reason),
        }  # fmt: skip
        await self.page.confirm("consent.withdraw", request, self._recorded)

    async def _recorded(self, state: str, reply: Any) -> None:  # Any: the operation's reply or an error
        if state == "done":
            self.told.tell(notes.text(self.t("withdraw.done", grants=self.words.count(reply["grants"])), tone="sealed"))
            for widget in (self.phone, self.id_no, self.proof, self.reason):
                widget.value = ""
            await self._again()
        else:
            self.told.tell(notes.text(self.t(f"withdraw.{state}"), tone="refused"))

    async def _tell_again(self, row: str) -> None:
        """Write anew to the partners that refused, with a reason."""
        event = row.partition("/")[0]
        if event.isdigit():
            self.again.offer([TELL_AGAIN.operation], event=int(event))
            await self.again.open(TELL_AGAIN.operation)

    async def _told_again(self, _operation: str, _reply: Reply) -> None:
        await self._again()

    # ------------------------------------------------------------------ drawing

    def _draw_form(self) -> None:
        self.proof.visible = (self.actor.value or "subject") != "subject"

    def draw(self) -> None:
        t, words, found = self.t, self.words, self.found
        self._drawing = True
        every = {t("every_purpose"): ""} | {name: code for code, name in words.purposes.items()}
        layout.set_options(self.purpose, every)
        others = {t("every_recipient"): ""} | {words.party(one): one for one in words.others()}
        layout.set_options(self.recipient, others)
        layout.set_options(self.actor, {t(f"actor.{one}"): one for one in WHO})
        layout.set_options(self.state, {t("withdraw.any"): "", **{t(f"ack.{one}"): one for one in ANSWERS}})
        self._drawing = False
        self.form.visible = self.page.may("consent.withdraw")
        self._draw_form()
        self.look(self.table)
        self.table.heading = t("withdraw.title")
        if found is None:
            return
        counts = found["counts"]
        self.table.hint = t(
            "withdraw.counts", total=words.count(found["total"]), waiting=words.count(counts.get("waiting", 0)),
            overdue=words.count(counts.get("overdue", 0)),
        )  # fmt: skip
        self.table.row_actions = [{"name": "again", "label": t(f"act.{TELL_AGAIN.operation}")}]
        self.table.columns = [
            {"key": "at", "label": t("withdraw.when"), "kind": "time"}, {"key": "scope", "label": t("withdraw.scope")},
            {"key": "partner", "label": t("withdraw.partner"), "kind": "party"}, {"key": "state", "label": t("withdraw.answer"), "kind": "state"},
            {"key": "due", "label": t("withdraw.due"), "kind": "time"}, {"key": "detail", "label": t("withdraw.detail")},
        ]  # fmt: skip
        self.table.rows = [row for one in found["withdrawals"] for row in self._rows(one)]
        self.table.total = len(self.table.rows)
        self.table.state = "done" if self.table.rows else "empty"
        self.table.notice = {"sentence": t("withdraw.none")}
        self.older.visible = bool(found["next"])

    def _rows(self, one: Reply) -> list[dict[str, Any]]:
        """One row a partner, or one that says nobody had to be told."""
        words, t = self.words, self.t
        purpose = words.purpose(one["purpose"]) if one["purpose"] else t("every_purpose")
        recipient = words.party(one["recipient"]) if one["recipient"] else t("every_recipient")
        start = {"at": one["at_ms"], "scope": t("withdraw.scope_of", event=one["event"], pair=t("pair", purpose=purpose, recipient=recipient))}
        may = self.page.may(TELL_AGAIN.operation)
        out = t("withdraw.exports", count=words.count(one["exports"])) if one["exports"] else ""
        if not one["partners"]:
            state = "searching" if one["searching"] else "none"
            return [{**start, "id": f"{one['event']}/", "state": {"state": CHIPS[state], "label": t(f"ack.{state}")}, "detail": out}]
        return [
            {
                **start, "id": f"{one['event']}/{told['partner']}", "can": ["again"] if may and told["state"] == "refused" else [],
                "partner": words.tile(told["partner"]), "state": {"state": CHIPS[told["state"]], "label": t(f"ack.{told['state']}")},
                "due": told["due_ms"], "detail": " · ".join(part for part in (words.both(told), self._answer(told), out) if part),
            }
            for told in one["partners"]
        ]  # fmt: skip

    def _answer(self, told: Reply) -> str:
        """What the partner states under its signature."""
        if not told["answer"]:
            return str(told["last_error"])
        marked = sum(row["customers"] for row in told["answer"])
        return self.t("withdraw.marked", lists=len(told["answer"]), customers=self.words.count(marked))


class ContactStops(Section):
    """For marketing: exported files that name somebody who withdrew, and the list of whom to contact no more."""

    name = "stops"
    operation = "consent.contact_stops"

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.found: Reply | None = None
        self.explained = Notes()
        self.table = DataTable(page_size=PAGE_ROWS, state="loading")
        self.table.on_action(lambda _name, told: page.start(self._take, str(told.get("id", ""))), "act")
        self.root = layout.stack(self.explained, pane(self.table))

    async def read(self) -> None:
        page = self.page
        self.found = await page.run(page.client.call, "consent.contact_stops", limit=500)
        self.draw()

    async def _take(self, job: str) -> None:
        await self.page.confirm("consent.contact_stop_file", {"job": job}, self._taken)

    async def _taken(self, state: str, reply: Any) -> None:  # Any: the operation's reply or an error
        if state == "done":
            if reply["download"]:
                self.page.download(str(reply["download"]))
            await self.read()

    def draw(self) -> None:
        t, words, found = self.t, self.words, self.found
        self.look(self.table)
        self.explained.tell(notes.text(t("stops.explained")))
        self.table.heading = t("stops.title")
        if found is None:
            return
        may = self.page.may("consent.contact_stop_file")
        self.table.hint = t("stops.open", count=words.count(found["open"]))
        self.table.row_actions = [{"name": "take", "label": t("stops.take")}]
        self.table.columns = [
            {"key": "at", "label": t("withdraw.when"), "kind": "time"}, {"key": "job", "label": t("stops.job"), "kind": "mono"},
            {"key": "told", "label": t("customer.what")}, {"key": "exported", "label": t("stops.exported"), "kind": "time"},
            {"key": "by", "label": t("stops.by")}, {"key": "state", "label": t("stops.state"), "kind": "state"},
        ]  # fmt: skip
        # One file serves all stops of a job, so one row of each offers it.
        first = {one["job"]: one["number"] for one in reversed(found["stops"])}
        self.table.rows = [
            {
                "id": one["job"], "at": one["at_ms"], "job": one["job"], "told": words.named(words.both(one)), "exported": one["exported_ms"],
                "by": one["exported_by"], "can": ["take"] if may and first[one["job"]] == one["number"] else [],
                "state": {"state": "done", "label": t("stops.taken")} if one["taken_ms"] else {"state": "pending", "label": t("stops.waiting")},
            }
            for one in found["stops"]
        ]  # fmt: skip
        self.table.total = len(self.table.rows)
        self.table.state = "done" if self.table.rows else "empty"
        self.table.notice = {"sentence": t("stops.none")}


__all__ = ["ContactStops", "Withdrawals"]
