"""Section Customer: one person's consent from the first form to the last trace, and why they may or may not be used now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.notes import Notes
from workbench_consent.pages.forms import CUSTOMER_ACTS, SIGNERS, WITHDRAW
from workbench_consent.pages.receipts import IssuedReceipt
from workbench_consent.pages.section import Section, typed
from workbench_widgets import DataTable
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
CHIPS = {
    "consent": "sealed", "list": "neutral", "use": "running", "withdrawal": "refused", "left": "pending", "set-aside": "neutral",
    "evidence": "neutral", "other": "neutral",
}  # fmt: skip
"""Which chip of the components stands for a step of the line."""


PLACES = ("question", "grant", "receipt", "withdrawal", "opt-out", "upload", "download", "exports", "row")
"""First words of the places that records tell."""


class Customer(Section):
    """Asks for a phone or an identity number; neither stays in the page's address, and looking is an entry."""

    name = "customer"
    operation = "consent.life_line"

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.line: Reply | None = None
        self.erased = ""
        self.phone = layout.field(pn.widgets.TextInput, page, "customer.phone", css_classes=["wb-search"])
        self.id_no = layout.field(pn.widgets.TextInput, page, "customer.id_no")
        self.look_up = layout.button(page, "customer.look", self._look, primary=True)
        self.recorded = Notes(framed=False)
        self.verdict: Reply | None = None
        self.refusals: list[Reply] = []
        self.names: dict[str, tuple[str, str]] = {}
        self.answer, self.receipt = Notes(), IssuedReceipt(self)
        self.acting = Acting(page, CUSTOMER_ACTS, self._acted, choices=self._choices)
        self.acting.offer([])
        self.told = Notes()
        self.table = DataTable(page_size=25, state="empty")
        self.root = layout.stack(
            layout.card(layout.fields(self.phone, self.id_no), layout.buttons(self.look_up), self.recorded),
            self.acting.root, self.answer, self.receipt.root, self.told, pane(self.table),
        )  # fmt: skip

    async def _look(self) -> None:
        page = self.page
        self.table.state = "loading"
        try:
            self.line = await page.run(page.client.call, "consent.life_line", phone=typed(self.phone), id_no=typed(self.id_no))
        except Exception:
            self.table.state = "empty"
            raise
        if page.may("consent.refusals") and not self.refusals:
            self.refusals = list((await page.run(page.client.call, "consent.refusals"))["rows"])
            self.names = {one["what"]: (one["zh"], one["en"]) for one in self.refusals}
            if page.may("notices.registers"):
                collected = (await page.run(page.client.call, "notices.registers"))["collected"]
                self.names |= {one["category"]: (one["category_zh"], one["category_en"]) for one in collected}
        self.verdict = None
        self.receipt.show(None)
        # The forms below are about the person whose line is shown, whatever is typed into the fields afterwards.
        self.acting.offer([one.operation for one in CUSTOMER_ACTS], phone=typed(self.phone), id_no=typed(self.id_no))
        self.draw()
        self.told.take_focus()

    def _choices(self, name: str) -> Mapping[str, Any]:
        words, whole = self.words, self.acting.chosen is not None and self.acting.chosen.operation == WITHDRAW
        if name == "purpose":
            return ({self.t("every_purpose"): ""} if whole else {}) | {title: code for code, title in words.purposes.items()}
        if name == "what":
            return {words.both(one): one["what"] for one in self.refusals}
        return ({self.t("every_recipient"): ""} if whole else {}) | {words.party(one): one for one in words.others()}

    async def _acted(self, operation: str, reply: Reply) -> None:
        if operation == "consent.receipt":
            self.receipt.show(reply)
        elif operation == "consent.decide":
            self.verdict = reply
        elif operation == "customers.erase":
            self._forget(reply)
        else:
            # What was answered before no longer holds, and the line has one step more.
            self.verdict = None
            self.line = await self.page.run(self.page.client.call, "consent.life_line", **self.acting.given)
        self.draw()

    def _forget(self, reply: Reply) -> None:
        """Nothing about an erased customer stays on the page."""
        self.line = self.verdict = None
        self.receipt.show(None)
        self.phone.value = self.id_no.value = ""
        self.acting.offer([])
        self.table.rows, self.table.state = [], "empty"
        self.erased = str(reply["request"])

    def _draw_verdict(self) -> None:
        """Usable or not, by which rule, resting on which record."""
        t, words, found = self.t, self.words, self.verdict
        if found is None:
            self.answer.tell()
            return
        record = found["record"]
        facts = [(t("decide.rule"), t("decide.rule_of", rule=found["rule"], text=words.both(found, "rule_zh", "rule_en")))]
        if record is not None:
            period = t("customer.period", start=words.time(record["from_ms"]), end=words.time(record["until_ms"]))
            facts += [
                (t("receipt.record"), t("decide.record", record=record["record"], event=record["event"])), (t("decide.period"), period),
                (t("notice.name"), record["notice"]), (t("field.signer"), t(f"option.signer.{record['signer']}") if record["signer"] in SIGNERS else record["signer"]),
                (t("decide.categories"), self._named(record["categories"])), (t("decide.contacts"), self._named(record["contacts"])),
            ]  # fmt: skip
        if found["valid_until_ms"]:
            facts.append((t("decide.until"), words.time(found["valid_until_ms"])))
        self.answer.tell(
            notes.heading(t("decide.yes" if found["usable"] else "decide.no"), found["code"]),
            notes.text(words.both(found), tone="sealed" if found["usable"] else "refused"),
            notes.facts(*facts),
            notes.text(t("decide.as_of", time=words.time(found["at_ms"]), event=words.count(found["as_of"])), meta=True),
        )

    def draw(self) -> None:
        words, t, line = self.words, self.t, self.line
        self.look(self.table)
        self._draw_verdict()
        self.receipt.draw()
        self.table.heading = t("customer.line")
        self.table.notice = {"sentence": t("customer.ask")}
        self.recorded.tell(notes.text(t("customer.recorded"), meta=True))
        if line is None:
            self.told.tell(*([notes.text(t("customer.erased", request=self.erased), tone="sealed")] if self.erased else []))
            return
        found = [(t(f"step.{step}"), t("customer.times", count=words.count(count))) for step, count in sorted(line["counts"].items())]
        self.told.tell(notes.heading(t("customer.records")), notes.facts(*found) if found else notes.text(t("customer.nothing"), meta=True))
        self.table.columns = [
            {"key": "at", "label": t("customer.when"), "kind": "time"}, {"key": "step", "label": t("customer.step"), "kind": "state"},
            {"key": "told", "label": t("customer.what")}, {"key": "detail", "label": t("customer.detail")},
            {"key": "place", "label": t("customer.place"), "kind": "mono"},
        ]  # fmt: skip
        self.table.rows = [
            {
                "at": one["at_ms"] or None,
                "step": {"state": CHIPS.get(one["step"], "neutral"), "label": t(f"step.{one['step']}")},
                "told": words.both(one), "detail": self._detail(one), "place": self._place(one["place"]),
            }
            for one in reversed(line["events"])
        ]  # fmt: skip
        self.table.total = len(self.table.rows)
        self.table.state = "done" if self.table.rows else "empty"
        self.table.notice = {"sentence": t("customer.nothing")}
        self.table.hint = t("customer.left_out", count=words.count(line["left_out"])) if line["left_out"] else ""

    def _named(self, codes: Sequence[str]) -> str:
        """Categories or channels in words; a code that no notice names now stands for itself."""
        at = 0 if self.page.lang == "zh" else 1
        return ("、" if at == 0 else ", ").join(self.names[code][at] if code in self.names else code for code in codes)

    def _place(self, place: str) -> str:
        """Where the record lies: what it is in words, then its number; a long number keeps its ends."""
        parts = [self.t(f"place.{part}") if part in PLACES else part for part in place.split(" ")]
        return " ".join(part if len(part) <= 24 else f"{part[:14]}…{part[-6:]}" for part in parts)

    def _detail(self, event: Reply) -> str:
        """Purpose and partner in words, then the period, then the remark."""
        words, found, parts = self.words, event["details"], []
        partner = found.get("recipient") or found.get("partner", "")
        if found.get("purpose"):
            every = self.t("every")
            purpose = every if found["purpose"] == "*" else words.purpose(found["purpose"])
            parts.append(self.t("pair", purpose=purpose, recipient=every if partner == "*" else words.party(partner)) if partner else purpose)
        if found.get("valid_from_ms") and found.get("valid_until_ms"):
            parts.append(self.t("customer.period", start=words.time(int(found["valid_from_ms"])), end=words.time(int(found["valid_until_ms"]))))
        if found.get("signer_name"):
            who = self.t(f"option.signer.{found['signer']}") if found.get("signer") in SIGNERS else ""
            told = "，".join(one for one in (found["signer_name"], found.get("signer_relation", ""), found.get("authority", "")) if one)
            parts.append(self.t("customer.signed_by", signer=who, person=told))
        if found.get("kept_out") == "yes":
            parts.append(self.t("customer.kept_out"))
        note = words.both(event, "note_zh", "note_en")
        return " · ".join([*parts, *([note] if note else [])])


__all__ = ["Customer"]
