"""What both pages of leases have: tables that are read each for itself, the receipt that was opened, and their words."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from workbench.app.page import PageContext, is_offline
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.notes import Notes
from workbench.errors import WorkbenchError
from workbench_inference.pages import leases_drawing as drawing
from workbench_inference.pages.leases_acts import KEY_ACTS, PROBE, PROBE_ACTS, STATEMENT_ACTS
from workbench_inference.pages.registers import Registers
from workbench_widgets import AnswerStrip, DataTable, formats

Reply = Mapping[str, Any]
REFRESH_S: Final = 5
REFUSED_S: Final = 60.0
"""So long a refused part is not asked for again by itself."""


class LeasingPage:
    """One opened tab of either page: what was read, and how it is put into components."""

    title = ""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.found: dict[str, Reply] = {}
        self._refused: dict[tuple[Any, ...], float] = {}
        self._problems: dict[str, WorkbenchError] = {}
        self.opened = ""
        self.strip = AnswerStrip(state="loading")
        self.head = Notes(framed=False)
        self.receipt = Notes()
        self.leases = DataTable(page_size=8, openable=True, state="loading")
        self.servers = DataTable(page_size=12, state="loading")
        self.ticks = DataTable(page_size=6, state="loading")
        self.statements = DataTable(page_size=6, state="loading")
        self.statements.on_action(lambda _name, told: page.start(self._settle, str(told.get("id", ""))), "act")
        self.erasures = DataTable(page_size=6, openable=True, state="loading")
        self.erasures.on_action(lambda _name, told: self._open_receipt(str(told.get("id", ""))), "open")
        self.settling = Acting(page, STATEMENT_ACTS, self._acted, from_row=True)
        self.settling.offer([])
        self.keys = DataTable(page_size=4, state="loading")
        self.key_about = Notes(framed=False)
        self.keying = Acting(page, KEY_ACTS, self._acted)
        self.keying.offer([one.operation for one in KEY_ACTS])
        self.sees = DataTable(page_size=8, state="loading")
        self.registers = Registers(page, self._acted)
        self.probing = Acting(page, PROBE_ACTS, self._acted, from_row=True)
        self.probing.offer([])
        self.probed = Notes()
        self._last_probe: Reply | None = None
        self.probe_button = layout.button(page, "leases.probe.run", lambda: self.probing.open(PROBE.operation))
        self.probe_button.visible = False

    # ------------------------------------------------------------------ reading

    async def read(self, operation: str, *components: Any, **request: Any) -> Reply | None:  # Any: components, and fields of a request
        """Ask for what components show; what cannot be asked is said in their place, and the rest of the page lives."""
        page, mark = self.page, (operation, *sorted(request.items()))
        if not page.may(operation) or time.monotonic() - self._refused.get(mark, -REFUSED_S) < REFUSED_S:
            return None
        try:
            self.found[operation] = await page.run(page.client.call, operation, **request)
        except WorkbenchError as error:
            if is_offline(error):
                raise
            self._refused[mark] = time.monotonic()  # each refusal is an entry: it is not asked for every few seconds
            for component in components:
                component.notice = {"sentence": error.zh if page.lang == "zh" else error.en, "code": error.code}
                component.state = "refused" if error.exit_status == 2 else "failed"
            self.found.pop(operation, None)
            self._problems[operation] = error
            return None
        self._refused.pop(mark, None)
        self._problems.pop(operation, None)
        return self.found[operation]

    def told(self, operation: str) -> Reply | None:
        """The last reply of an operation."""
        return self.found.get(operation)

    def of(self, operation: str, *items: Any) -> tuple[Any, ...]:  # Any: Panel has no types
        """Parts that only who may read an operation sees: absent, not grey."""
        return items if self.page.may(operation) else ()

    async def refresh(self) -> None:
        """Read everything and draw it."""
        raise NotImplementedError

    async def _acted(self, operation: str, reply: Reply) -> None:
        self._refused.clear()
        if operation == PROBE.operation:
            self._last_probe = reply
            self._draw_probe()
        await self.refresh()

    async def _settle(self, lease: str) -> None:
        """Open the form for one difference, with the number that stands as agreed."""
        found = next((one for one in (self.told("inference.statements") or {}).get("statements", []) if one["lease"] == lease), None)
        if found is None:
            return
        self.settling.offer(["inference.settle"], lease=lease)
        self.settling.defaults = {"card_seconds": drawing.settled_at(found)}
        await self.settling.open("inference.settle")

    def _open_receipt(self, row: str) -> None:
        self.opened = row
        self._draw_receipt()
        self.receipt.take_focus()

    # ------------------------------------------------------------------ drawing

    @property
    def lang(self) -> formats.Lang:
        """Of the page now."""
        return "zh" if self.page.lang == "zh" else "en"

    def party(self, party: str) -> str:
        """The institution's name in the present language; an unknown id stands for itself."""
        known: dict[str, str] = {one: zh if self.page.lang == "zh" else en for one, zh, en in self.page.me["parties"]}
        return known.get(party, party)

    def put(self, table: DataTable, columns: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], *, heading: str, empty: str, hint: str = "") -> None:
        """Set a table at once; without rows it says why."""
        t = self.page.t
        with table.at_once():
            table.heading, table.hint, table.notice = t(heading), hint, {"sentence": t(empty)}
            table.columns, table.rows, table.total = [dict(one) for one in columns], [dict(one) for one in rows], len(rows)
            table.state = "done" if rows else "empty"

    def words(self, table: DataTable, heading: str) -> None:
        """Heading and language before anything was read."""
        table.lang, table.heading = self.page.lang, self.page.t(heading)

    def draw_answer(self, made: drawing.Verdict, page: str) -> None:
        """The answer strip."""
        t, fields = self.page.t, dict(made.fields)
        with self.strip.at_once():
            self.strip.sentence, self.strip.reason = t(f"{page}.answer.{made.key}", **fields), t(f"{page}.answer.{made.key}.why", **fields)
            self.strip.todo, self.strip.code = t(f"{page}.todo.{made.todo}", **fields) if made.todo else "", ""
            self.strip.state = made.state
        self.page.notify_lab(title=t("leases.tab.alarm") if made.state == "tampered" else "", running=False)

    def draw_problem(self, *operations: str) -> None:
        """The answer strip where what it rests on could not be asked."""
        error = next((self._problems[one] for one in operations if one in self._problems), None)
        if error is None:
            return
        with self.strip.at_once():
            self.strip.sentence, self.strip.reason = self.page.t("leases.answer.unread"), error.zh if self.page.lang == "zh" else error.en
            self.strip.todo, self.strip.code = "", error.code
            self.strip.state = "refused" if error.exit_status == 2 else "failed"

    def draw_ticks(self) -> None:
        """Meters of both ends."""
        t, found = self.page.t, self.told("inference.meters")
        self.words(self.ticks, "leases.ticks")
        if found is not None:
            hint = t("leases.ticks.sum", agreed=formats.count(found["agreed_card_seconds"], self.lang), all=formats.count(found["card_seconds"], self.lang), differing=found["differing"])
            self.put(self.ticks, drawing.tick_columns(t), drawing.tick_rows(found, t, self.lang), heading="leases.ticks", empty="leases.ticks.none", hint=hint)

    def draw_statements(self) -> None:
        """Statements of account of the month and the invoice over them."""
        t, found = self.page.t, self.told("inference.statements")
        self.words(self.statements, "leases.statements")
        if found is not None:
            self.statements.row_actions = [{"name": "inference.settle", "label": t("leases.settle")}] if self.page.may("inference.settle") else []
            hint = t("leases.statements.sum", month=found["month"], minutes=found["card_minutes"], amount=found["amount_yuan"])
            self.put(
                self.statements, drawing.statement_columns(t), drawing.statement_rows(found, t, self.page.may), heading="leases.statements", empty="leases.statements.none", hint=hint
            )

    def draw_keys(self) -> None:
        """Service keys: who signs evidence, meters and receipts, and until when."""
        t, found = self.page.t, self.told("inference.service_keys")
        self.words(self.keys, "leases.keys")
        self.key_about.tell(notes.text(t("leases.keys.about"), meta=True))
        if found is not None:
            self.put(self.keys, drawing.key_columns(t), drawing.key_rows(found, t, self.party), heading="leases.keys", empty="leases.keys.none", hint=t("leases.keys.hint"))

    def draw_sees(self) -> None:
        """Who sees what: the same on both pages, so that both institutions read the same."""
        t = self.page.t
        self.words(self.sees, "leases.sees")
        self.put(self.sees, drawing.seen_columns(t), drawing.seen_rows(t), heading="leases.sees", empty="leases.sees", hint=t("leases.sees.hint"))

    def draw_registers(self) -> None:
        """Who is on duty and what is at risk."""
        self.registers.draw(self.told("inference.duty"), self.told("inference.risks"), self.lang)

    def draw_own_key(self) -> None:
        """The answer strip for who keeps keys and reads nothing of leases."""
        found = self.told("inference.service_keys")
        if found is not None:
            self.draw_answer(drawing.key_verdict(found), "leases.key")
        else:
            self.draw_problem("inference.service_keys")

    def offer_probe(self, lease: Reply | None) -> None:
        """The button that lets the sandboxes of a running lease test themselves, and what the last test said."""
        is_there = lease is not None and lease["state"] == "RUNNING"
        self.probe_button.visible = is_there and PROBE.operation in self.probing.acts
        self.probing.offer([PROBE.operation] if is_there else [], **({"lease": lease["lease"]} if lease is not None and is_there else {}))
        self._draw_probe()

    def _draw_probe(self) -> None:
        t, found = self.page.t, self._last_probe
        if found is None:
            self.probed.tell()
            return
        lines = [
            t("leases.probe.clean" if not one["failed"] else "leases.probe.failed", sandbox=one["sandbox"], tried=one["tried"], names="、".join(one["failed"])) for one in found["sandboxes"]
        ]
        tone = "sealed" if found["is_refused"] else "tampered"
        self.probed.tell(notes.heading(t("leases.probe"), found["lease"]), notes.bullets(lines, tone=tone), notes.text(t("leases.probe.means"), meta=True))

    def draw_erasures(self, now_ms: int) -> None:
        """Receipts of erasures, missing ones too."""
        t, found = self.page.t, self.told("inference.erasures")
        self.words(self.erasures, "leases.erasures")
        if found is not None:
            hint = t("leases.erasures.sum", clean=found["clean"], residue=found["residue"], missing=found["missing"])
            self.put(self.erasures, drawing.erasure_columns(t), drawing.erasure_rows(found, t, now_ms=now_ms), heading="leases.erasures", empty="leases.erasures.none", hint=hint)
        self._draw_receipt()

    def _draw_receipt(self) -> None:
        """The receipt that was opened: what was looked at, and how to check it without this program."""
        t, found = self.page.t, self.told("inference.erasures")
        one = next((one for one in (found or {}).get("erasures", []) if drawing.erasure_id(one) == self.opened), None)
        if one is None:
            self.receipt.tell()
            return
        if one["state"] == "missing":
            self.receipt.tell(
                notes.heading(t("leases.receipt"), one["server"]), notes.text(t("leases.receipt.missing", since=formats.time(one["since_ms"], self.lang)), tone="failed")
            )
            return
        tone = "sealed" if one["state"] == "clean" else "tampered"
        self.receipt.tell(
            notes.heading(t("leases.receipt"), one["server"]), notes.text(t(f"leases.receipt.{one['state']}"), tone=tone),
            notes.facts(*drawing.receipt_facts(one, t, self.lang)),  # type: ignore[arg-type]  # rows of two or three texts
            notes.bullets(drawing.check_lines(one, t), title=t("leases.receipt.checks")), notes.text(t("leases.receipt.means"), meta=True),
            *(notes.command(line, copy=t("leases.copy"), copied=t("leases.copied"), select=t("leases.copy.select")) for line in drawing.receipt_commands(one, str(self.page.me["me"]["party"]))),
        )  # fmt: skip


__all__ = ["REFRESH_S", "LeasingPage"]
