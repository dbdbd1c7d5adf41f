"""The page Consent: an answer, and sections of which one is shown at a time."""

from __future__ import annotations

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.keys import Keys
from workbench.app.parts.notes import Notes
from workbench.errors import WorkbenchError
from workbench_consent.pages.capture import Capture
from workbench_consent.pages.coverage import Coverage
from workbench_consent.pages.customer import Customer
from workbench_consent.pages.erasures import Erasures
from workbench_consent.pages.notices import Notices
from workbench_consent.pages.receipts import Receipts
from workbench_consent.pages.section import Section
from workbench_consent.pages.withdrawals import ContactStops, Withdrawals
from workbench_consent.pages.words import Words
from workbench_widgets import AnswerStrip, Badge
from workbench_widgets.panel_pane import pane

_CHOSEN = """.bk-btn.bk-active { background: var(--wb-primary) !important; color: var(--wb-on-primary) !important; border-color: var(--wb-primary) !important; box-shadow: none; }
.bk-btn-group { flex-wrap: wrap; }"""


class ConsentPage:
    """One opened tab. `section=` in the address names what is shown first."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.strip = AnswerStrip(state="loading")
        self.head = Notes(framed=False)
        self.coverage = Coverage(page, self.draw_answer)
        self.withdrawals = Withdrawals(page, self.draw_answer)
        found: list[Section] = [
            self.coverage, Customer(page), Capture(page), Receipts(page), self.withdrawals, ContactStops(page), Erasures(page), Notices(page)
        ]  # fmt: skip
        self.sections = [one for one in found if page.may(one.operation)]
        self.choice = pn.widgets.RadioButtonGroup(options={}, color="default", margin=0, stylesheets=[_CHOSEN])  # type: ignore[no-untyped-call]
        self.choice.param.watch(lambda _event: None if self._drawing else page.start(self._shown), "value")
        self._drawing = False
        self.place = layout.stack()
        badge = None if page.me["workspace"] == "production" else pane(page.follow(Badge(kind="synthetic")))
        self.root = layout.stack(
            layout.first_line(self.head, badge), pane(self.strip), layout.buttons(self.choice), self.place, Keys(page)
        )
        page.on_look(self.draw)

    async def open(self) -> None:
        """The first section, by the address."""
        wanted = self.page.params.get("section", "")
        self.draw()
        if self.withdrawals in self.sections:
            self.page.start(self.withdrawals.show)  # the answer tells what waits for partners
        if self.coverage in self.sections and wanted not in ("", self.coverage.name):
            self.page.start(self.coverage.show)  # and how many may be used, whichever section is shown
        names = [one.name for one in self.sections]
        self.choice.value = wanted if wanted in names else (names[0] if names else None)
        await self._shown()

    async def _shown(self) -> None:
        section = next((one for one in self.sections if one.name == self.choice.value), None)
        if section is None:
            return
        section.draw()  # before it is put up: a select that is shown empty first stays blank in the browser
        self.place[:] = [section.root]
        try:
            await section.show()
        except WorkbenchError as error:
            if error.exit_status != 2:
                raise
            self.strip.sentence = error.zh if self.page.lang == "zh" else error.en
            self.strip.state, self.strip.code = "refused", error.code
            return
        self.draw_answer()

    def draw(self) -> None:
        """Every text again, after a change of language or data."""
        page = self.page
        self._drawing = True
        chosen = self.choice.value
        self.choice.options = {page.t(f"section.{one.name}"): one.name for one in self.sections}
        if chosen is not None:
            self.choice.value = chosen
        self._drawing = False
        self.head.tell(notes.head(page.t("page.title"), meta=page.t("page.zone")))
        for one in self.sections:
            if one.is_read:
                one.draw()
        self.draw_answer()

    def draw_answer(self) -> None:
        """How many may be used for the chosen purpose and partner, and what is to be done."""
        with self.strip.at_once():
            self._draw_answer()

    def _draw_answer(self) -> None:
        strip, page, words = self.strip, self.page, Words.of(self.page.me, self.page.lang, self.page.t)
        strip.lang, strip.code, strip.todo, strip.reason = page.lang, "", "", ""
        coverage, row, ends = self.coverage.coverage, self.coverage.row(), self.coverage.ends()
        if coverage is None or row is None:
            if self.coverage.is_read and not self.coverage.list_id.value and not self.coverage.lists:
                strip.state, strip.sentence = "info", page.t("answer.no_list")
            return
        all_of, usable = words.count(coverage["customers"]), words.count(row["usable"])
        strip.sentence = page.t("answer.usable", all=all_of, usable=usable, pair=words.pair(row["purpose"], row["recipient"]))
        strip.reason = page.t("answer.as_of", time=words.time(coverage["at_ms"]), event=words.count(coverage["as_of"]))
        strip.state = "info" if row["usable"] else "refused"
        if ends is not None and ends["within_90"]:
            strip.sentence += page.t("answer.soon", count=words.count(ends["within_90"]))
            strip.todo = page.t("answer.renew")
        counts = self.withdrawals.found["counts"] if self.withdrawals.found else {}
        if counts.get("waiting"):
            strip.sentence += page.t("answer.acks", count=words.count(counts["waiting"]))
        if counts.get("overdue"):
            strip.state, strip.todo = "pending", page.t("answer.overdue", count=words.count(counts["overdue"]))
        elif self.coverage.renewed is not None:
            made = self.coverage.renewed
            strip.todo = page.t("answer.renewals", count=words.count(made["expired"] + made["ending"]))


__all__ = ["ConsentPage"]
