"""Part of the page Quantum channel: who of the site gets keys 应用, of which tenant, and what left towards whom within which quota."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench.errors import WorkbenchError
from workbench_widgets import DataTable, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
Translate = Callable[..., str]
EVERY_ROUNDS = 5
"""The list changes when people change it: it is asked for at the first of so many rounds."""


class Applications:
    """Applications as they were told last, bandwidth of the last status."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.found: Reply | None = None
        self._round = 0
        self.table = DataTable(page_size=8, state="loading")
        self.problem = Notes(framed=False)
        self.bandwidth = DataTable(page_size=8, state="loading")
        self.root = layout.stack(pane(self.table), self.problem, pane(self.bandwidth))
        self.may = page.may("qkd.applications")
        self.table_pane = self.root[0]
        self.table_pane.visible = self.may

    async def read(self) -> None:
        """Ask for the applications; what cannot be asked is said in their place."""
        page, is_due = self.page, self._round % EVERY_ROUNDS == 0
        self._round += 1
        if not self.may or not is_due:
            return
        try:
            self.found = await page.run(page.client.call, "qkd.applications")
        except WorkbenchError as error:
            self.table.notice = {"sentence": error.zh if page.lang == "zh" else error.en, "code": error.code}
            self.table.state = "failed"

    def draw(self, status: Reply, party: Callable[[str], str]) -> None:
        """party: name of a site's institution."""
        t, lang = self.page.t, _lang(self.page)
        for table in (self.table, self.bandwidth):
            table.lang = self.page.lang
        _fill(
            self.bandwidth, bandwidth_rows(status, t, lang, party), bandwidth_columns(t), title=t("bandwidth.title"), hint=t("bandwidth.hint"),
            none=t("bandwidth.none"),
        )  # fmt: skip
        self.table.heading = t("application.title")
        if self.found is None:
            return
        rows = application_rows(self.found["applications"], t, lang)
        _fill(self.table, rows, application_columns(t), title=t("application.title"), hint=t("application.hint"), none=t("application.none"))
        self.problem.tell(*([notes.text(t("application.problem", problem=self.found["problem"]), tone="failed")] if self.found["problem"] else []))


def application_columns(t: Translate) -> list[dict[str, Any]]:
    """Of the table of applications."""
    return [
        {"key": "name", "label": t("column.application"), "kind": "mono"}, {"key": "state", "label": t("column.pool_state"), "kind": "state"},
        {"key": "tenant", "label": t("column.tenant")}, {"key": "line", "label": t("column.line")}, {"key": "quota", "label": t("column.quota")},
        {"key": "per_hour", "label": t("column.per_hour")}, {"key": "waiting", "label": t("column.waiting")},
    ]  # fmt: skip


def application_rows(found: list[Reply], t: Translate, lang: formats.Lang) -> list[dict[str, Any]]:
    """Registered ones first, then withdrawn ones, by id."""
    return [_row(one, t, lang) for one in sorted(found, key=lambda one: (one["state"] != "registered", one["application"]))]


def _row(one: Reply, t: Translate, lang: formats.Lang) -> dict[str, Any]:
    registered = one["state"] == "registered"
    chip, word = ("sealed", "application.registered") if registered else ("neutral", "application.withdrawn")
    if registered and not one["known_there"]:
        chip, word = "pending", "application.untold"
    elif registered and one["own"]:
        word = "application.own"
    reserved = formats.count(one["reserved"], lang)
    waiting = t("application.bound", reserved=reserved, most=formats.count(one["most_reserved"], lang)) if one["most_reserved"] else reserved
    return {
        "id": one["application"], "name": one["application"], "state": {"state": chip, "label": t(word)}, "tenant": one["tenant"] or t("tenant.none"),
        "line": one["line"] or t("application.any"), "quota": f"{formats.count(one['left'], lang)} / {formats.count(one['burst'], lang)}" if registered else "—",
        "per_hour": formats.count(one["per_hour"], lang) if registered else "—", "waiting": waiting,
    }  # fmt: skip


def bandwidth_columns(t: Translate) -> list[dict[str, Any]]:
    """Of the table of bandwidth."""
    return [
        {"key": "partner", "label": t("column.partner")}, {"key": "line", "label": t("column.line")}, {"key": "tenant", "label": t("column.tenant")},
        {"key": "sent", "label": t("column.sent")}, {"key": "rate", "label": t("column.rate")},
        {"key": "waited", "label": t("column.waited")},
    ]  # fmt: skip


def bandwidth_rows(status: Reply, t: Translate, lang: formats.Lang, party: Callable[[str], str]) -> list[dict[str, Any]]:
    """One row a line; quota and waits are the institution's, whichever of its lines is taken."""
    by_partner = {one["partner"]: one for one in status["bandwidth"]}
    made = []
    for line in status["lines"]:
        one = by_partner.get(line["peer_site"])
        if one is None:
            continue
        sent = sum(use["sent_bytes"] for use in one["lines"] if (use["line"], use["tenant"]) == (line["line"], line["tenant"]))
        word = "bandwidth.now" if one["waiting"] else "bandwidth.waited"
        waited = t(word, waits=formats.count(one["waits"], lang), seconds=formats.duration(one["waited_ms"] / 1000, lang), waiting=one["waiting"])
        made.append(
            {
                "id": line["line"], "partner": party(line["peer_site"]), "line": line["line"], "tenant": line["tenant"] or t("tenant.none"),
                "sent": formats.size(sent, lang), "rate": t("bandwidth.rate", rate=formats.size(one["bytes_per_s"], lang)) if one["bytes_per_s"] else t("bandwidth.free"),
                "waited": waited if one["waits"] or one["waiting"] else "—",
            }
        )  # fmt: skip
    return made


def _fill(table: Any, rows: list[dict[str, Any]], columns: list[dict[str, Any]], *, title: str, hint: str, none: str) -> None:  # Any: a DataTable
    with table.at_once():
        table.heading, table.hint, table.notice = title, hint, {"sentence": none}
        table.columns, table.rows, table.total = columns, rows, len(rows)
        table.state = "done" if rows else "empty"


def _lang(page: PageContext) -> formats.Lang:
    return "zh" if page.lang == "zh" else "en"


__all__ = ["Applications", "application_columns", "application_rows", "bandwidth_columns", "bandwidth_rows"]
