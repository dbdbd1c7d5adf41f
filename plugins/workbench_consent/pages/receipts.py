"""Section Receipts: one for a customer in hand, many as a file, and where the grant of a receipt stands now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.notes import Notes
from workbench_consent.pages.forms import RECEIPT_ACTS
from workbench_consent.pages.section import Section
from workbench_widgets import DataTable
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
FILES = ("page", "pdf", "json_file")
"""Members of the reply that are files, each to be taken once."""


class IssuedReceipt:
    """What one receipt says, and a button for each of its files that was not taken yet."""

    def __init__(self, section: Section) -> None:
        self.section = section
        self.reply: Reply | None = None
        self._taken: set[str] = set()
        self.told = Notes()
        self.buttons = {name: layout.button(section.page, f"receipt.{name}", lambda name=name: self._take(name)) for name in FILES}
        self.root = layout.stack(self.told, layout.buttons(*self.buttons.values()))
        self.root.visible = False
        self.draw()

    def show(self, reply: Reply | None) -> None:
        """A new receipt, or none."""
        self.reply, self._taken = reply, set()
        self.draw()

    def _take(self, name: str) -> None:
        if self.reply is not None and self.reply[name] and name not in self._taken:
            self._taken.add(name)
            self.section.page.download(str(self.reply[name]))
            self.draw()

    def draw(self) -> None:
        t, words, reply = self.section.t, self.section.words, self.reply
        for name, button in self.buttons.items():
            button.visible = reply is not None and bool(reply[name])
            button.disabled = name in self._taken
        self.root.visible = reply is not None
        if reply is None:
            self.told.tell()
            return
        others = "、".join(str(one) for one in reply["others"][:20])
        self.told.tell(
            notes.heading(t("receipt.made"), reply["receipt_id"]),
            notes.text(words.both(reply)),
            notes.facts(
                (t("receipt.record"), str(reply["record"])), (t("receipt.entry"), str(reply["entry"])),
                (t("receipt.sealed"), reply["sealed"] + ("" if reply["is_final"] else t("receipt.not_final"))),
                (t("receipt.digest"), reply["digest"], "mono"), (t("receipt.others"), others),
            ),
            notes.text(t("receipt.once"), meta=True),
        )  # fmt: skip


class Receipts(Section):
    """Receipts issued here, newest first, and the ways to issue one."""

    name = "receipts"
    operation = "consent.receipts"

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.found: Reply | None = None
        self.bulk: Reply | None = None
        self.status: Reply | None = None
        self.lists: dict[str, str] = {}
        self.one = IssuedReceipt(self)
        self.told = Notes()
        self.acting = Acting(page, RECEIPT_ACTS, self._acted, choices=self._choices)
        self.acting.offer([one.operation for one in RECEIPT_ACTS])
        self.table = DataTable(page_size=20, state="loading")
        self.root = layout.stack(self.acting.root, self.one.root, self.told, pane(self.table))

    def _choices(self, name: str) -> Mapping[str, Any]:
        words = self.words
        if name == "list_id":
            return {self.t("receipts.no_list"): "", **self.lists}
        if name == "purpose":
            return {self.t("every_purpose"): "", **{title: code for code, title in words.purposes.items()}}
        return {self.t("every_recipient"): "", **{words.party(one): one for one in words.others()}}

    async def read(self) -> None:
        page = self.page
        if page.may("lists.all"):
            self.lists = {one["name"]: one["list_id"] for one in (await page.run(page.client.call, "lists.all"))["lists"]}
        await self._fetch()

    async def _fetch(self) -> None:
        self.found = await self.page.run(self.page.client.call, "consent.receipts")
        self.draw()

    async def _acted(self, operation: str, reply: Reply) -> None:
        self.bulk = reply if operation == "consent.receipts_issue" else None
        self.status = reply if operation == "consent.receipt_status" else None
        self.one.show(reply if operation == "consent.receipt" else None)
        await self._fetch()

    def draw(self) -> None:
        t, words, found = self.t, self.words, self.found
        self.look(self.table)
        self.one.draw()
        self._draw_told()
        self.table.heading, self.table.notice = t("receipts.title"), {"sentence": t("receipts.none")}
        if found is None:
            return
        self.table.columns = [
            {"key": "batch", "label": t("receipts.batch"), "kind": "mono"}, {"key": "at", "label": t("withdraw.when"), "kind": "time"},
            {"key": "receipts", "label": t("receipts.count"), "kind": "count"}, {"key": "entry", "label": t("receipt.entry"), "kind": "mono"},
            {"key": "sealed", "label": t("receipt.sealed")},
        ]  # fmt: skip
        self.table.rows = [{**one, "batch": str(one["batch"]), "at": one["at_ms"], "entry": f"{words.own}/{one['entry']}"} for one in found["batches"]]
        self.table.total = len(self.table.rows)
        self.table.state = "done" if self.table.rows else "empty"

    def _draw_told(self) -> None:
        t, words = self.t, self.words
        if self.bulk is not None:
            made = self.bulk
            self.told.tell(
                notes.text(t("receipts.issued", count=words.count(made["receipts"]), batch=made["batch"], entry=made["entry"], sealed=made["sealed"]), tone="sealed"),
                notes.facts((t("receipts.root"), made["root"], "mono")),
                notes.text(t("receipt.once"), meta=True),
            )  # fmt: skip
        elif self.status is not None:
            now = self.status
            until = words.time(now["until_ms"])
            self.told.tell(notes.heading(now["receipt_id"]), notes.text(words.both(now)), notes.facts((t("receipt.record"), str(now["record"])), (t("receipt.until"), until)))
        else:
            self.told.tell()


__all__ = ["IssuedReceipt", "Receipts"]
