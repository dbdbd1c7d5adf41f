"""Step 6: who knows what, why so many, the masked list, the receipt, what comes next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench_psi.pages import rows, sidecards
from workbench_psi.pages.answers import Job
from workbench_psi.pages.names import Names, Translate
from workbench_widgets import DataTable, ReceiptCard, Venn, Waterfall, formats
from workbench_widgets.panel_pane import ComponentPane, pane

PAIRS_PX = 960
"""Cards that belong together stay side by side down to this width, as beside JupyterLab's open sidebar."""
PAGE_ROWS = 5
"""Masked rows shown at once; each look at a page is an entry of evidence."""


class ResultPanel:
    """The body of a released job. on_page(offset, limit), open_evidence() and print_page() are called for its events."""

    def __init__(
        self,
        page: PageContext,
        *,
        on_page: Callable[[int, int], None],
        open_evidence: Callable[[], None],
        print_page: Callable[[], None],
    ) -> None:
        self._page = page
        self.venn, self.fall = Venn(), Waterfall()
        self.table, self.receipt = DataTable(page_size=PAGE_ROWS, state="loading"), ReceiptCard(state="loading")
        self.next, self.contract, self.learns, self.limits, self.call, self.near = Notes(), Notes(), Notes(), Notes(), Notes(), Notes()
        self.unusual = Notes()
        self.phases = DataTable(page_size=20)
        self._phases = pane(self.phases)
        self.table.on_action(lambda _name, told: on_page(int(told.get("offset", 0)), PAGE_ROWS), "page")
        self.receipt.on_action(lambda _name, _told: open_evidence(), "open_evidence")
        self.receipt.on_action(lambda _name, _told: print_page(), "print")
        self.root = layout.stack(
            layout.split(pane(self.fall), pane(self.venn), side_px=400, side_first=True, from_px=PAIRS_PX),
            layout.split(pane(self.table), pane(self.receipt), side_px=360, from_px=PAIRS_PX),
            self.unusual,
            self.next,
            self.near,
            layout.split(layout.stack(self.learns, self.limits), layout.stack(self.contract, self._phases, self.call), drawer=(page, "drawer.contract")),
        )

    def show(
        self, job: Job, names: Names, entries: Sequence[Mapping[str, Any]], *, list_name: str, engine: Mapping[str, Any]
    ) -> None:
        """Draw everything that the job itself tells. entries: own entries about it, oldest first."""
        t, result = self._page.t, job["result"]
        for widget in (self.venn, self.fall, self.table, self.receipt):
            widget.lang = names.lang
        released, matched = int(result["released"]), int(result["cardinality"])
        used = rows.kept_at(job["waterfall"], "consent") or matched
        whole = rows.kept_at(job["waterfall"], "imported") or used
        with self.venn.at_once():
            self.venn.mine = {**names.tile(names.own), "count": used}
            self.venn.partner = {**names.tile(job["partner"]), "bucket": int(result["partner_bucket"])}
            self.venn.released, self.venn.dropped = released, matched - released
        self.venn.caption = t("venn.caption", digest=formats.digest("SM3", result["result_digest"]))
        self.fall.rows = rows.waterfall_rows(job["waterfall"], names, job["partner"], t)
        self.fall.heading = t("waterfall.title", whole=formats.count(whole), rest=formats.count(released))
        self.next.tell(
            notes.next_steps(
                t("next.title"),
                (t("next.export", count=formats.count(released)), t("next.export_text")),
                (t("next.verify"), t("next.verify_text")),
                (t("next.evidence"), t("next.evidence_text")),
            )
        )
        self.contract.tell(*sidecards.contract(job, names, t, list_name=list_name), notes.facts(
            (t("contract.took"), formats.duration(result.get("seconds"), "zh" if names.lang == "zh" else "en")),
            (t("contract.bytes"), formats.size(result.get("bytes"))),
            (t("contract.digest"), formats.digest("SM3", result["contract"]), "mono"),
        ))  # fmt: skip
        if engine:
            self.learns.tell(*sidecards.who_learns(engine["learns"], engine["security"], job["partner"], names, t))
        self.limits.tell(*sidecards.not_promised(t, workspace=self._page.me["workspace"], after_run=True))
        self.call.tell(*sidecards.call_in_notebook(job, t))
        self.near.tell(*sidecards.near_duplicates(rows.near_duplicates(job, entries), job["partner"], names, t, before=False))
        self.unusual.tell(*sidecards.deviations(result.get("baseline", {}), t))
        show_phases(self.phases, self._phases, job, names, entries, t)
        self.table.heading = t("list.title")
        self.receipt.heading = t("receipt.title")

    def show_rows(self, reply: Mapping[str, Any], offset: int, job: Job, names: Names) -> None:
        """Draw one page of the masked list."""
        t = self._page.t
        self.table.columns = rows.result_columns(reply["columns"], job["partner"], names, t)
        self.table.offset, self.table.total = offset, int(reply["total"])
        self.table.rows = rows.result_rows(reply["rows"], t)
        self.table.hint = t("list.hint", total=formats.count(int(reply["total"])), shown=PAGE_ROWS)
        self.table.state = "done"

    def hide_rows(self, sentence: str, code: str) -> None:
        """This person may not see the list."""
        self.table.state, self.table.notice = "refused", {"sentence": sentence, "code": code}

    def show_receipt(self, data: Mapping[str, Any]) -> None:
        """Draw the receipt."""
        self.receipt.receipt, self.receipt.state = dict(data), "done"


class EndPanel:
    """The body of a job that ended without a result: what is known, what is not, and what stays."""

    def __init__(self, page: PageContext) -> None:
        self._page = page
        self.told, self.contract, self.limits, self.digests, self.near = Notes(), Notes(), Notes(), Notes(), Notes()
        self.fall, self.phases = Waterfall(), DataTable(page_size=20)
        self._fall, self._phases = pane(self.fall), pane(self.phases)
        self.root = layout.split(
            layout.stack(self.told, self.digests, self.near, self._fall), layout.stack(self.contract, self._phases, self.limits),
            drawer=(page, "drawer.contract"),
        )  # fmt: skip

    def show(self, job: Job, names: Names, entries: Sequence[Mapping[str, Any]], *, list_name: str) -> None:
        """Draw a job in one of the states without result. entries: own entries about it, oldest first."""
        t, state = self._page.t, str(job["state"])
        self.told.tell(
            notes.heading(t("end.title"), t(f"state.{state}")),
            notes.columns(
                notes.bullets(_known(job, names, t, counted=was_counted(entries)), title=t("end.known"), mark="yes"),
                notes.bullets(_absent(job, names, t, counted=was_counted(entries)), title=t("end.not_there"), mark="no"),
            ),
            notes.bullets([t("end.records"), t("end.shredded")], title=t("end.stays"), mark="dot"),
        )  # fmt: skip
        statement = job["error"].get("details", {}).get("statement", "") if job["error"] else ""
        if state == "DISPUTED":
            self.digests.tell(
                notes.heading(t("dispute.title")),
                notes.text(t("dispute.text")),
                notes.facts((t("dispute.about"), statement_name(statement, t)), (t("dispute.where"), t("dispute.where_text"))),
            )
        self.near.tell(*sidecards.near_duplicates(rows.near_duplicates(job, entries), job["partner"], names, t, before=False))
        show_phases(self.phases, self._phases, job, names, entries, t)
        self._fall.visible = bool(job["waterfall"])
        self.fall.lang = names.lang
        if job["waterfall"]:
            self.fall.heading, self.fall.hint = t("waterfall.before"), t("waterfall.before_hint")
            self.fall.rows = rows.waterfall_rows(job["waterfall"], names, job["partner"], t)
        self.contract.tell(*sidecards.contract(job, names, t, list_name=list_name))
        self.limits.tell(*sidecards.not_promised(t, workspace=self._page.me["workspace"]))


def show_phases(
    table: DataTable, shown: ComponentPane, job: Job, names: Names, entries: Sequence[Mapping[str, Any]], t: Translate
) -> None:
    """How long each phase of the last attempt took; hidden for a job that never ran, or ran before times were kept."""
    told = rows.phase_table(job, entries, names, t)
    shown.visible = bool(told)
    table.lang, table.heading, table.hint = names.lang, t("phases.over"), t("phases.over_hint")
    table.columns, table.rows, table.total = rows.phase_columns(t), told, len(told)


def was_counted(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last attempt had signed the number of common customers when it ended."""
    counted = False
    for entry in entries:
        if entry["kind"] == "intersection.attempt_started":
            counted = False
        elif entry["kind"] == "intersection.cardinality":
            counted = True
    return counted


def statement_name(statement: str, t: Translate) -> str:
    """What two institutions state differently, in words."""
    try:
        return t(f"statement.{statement}")
    except KeyError:
        return statement


def _late(job: Job) -> bool:
    return bool(job["error"]) and job["error"].get("details", {}).get("after_reveal") == "yes"


def _known(job: Job, names: Names, t: Translate, *, counted: bool) -> list[str]:
    """What each side may have learned when the job ended, by state."""
    state = str(job["state"])
    partner, mine = names.party(job["partner"]), names.party(names.own)
    details = job["error"].get("details", {}) if job["error"] else {}
    number = [t("end.number_signed")] if counted else []
    if state == "ABORTED_AFTER_REVEAL":
        own, theirs = str(details.get("own_learned", "")), str(details.get("partner_learned_at_most", ""))
        unknown = t("word.unknown")
        bound = t("word.at_most", count=formats.count(int(theirs))) if theirs.isdigit() else unknown
        return [
            t("end.half_own", party=mine, count=formats.count(int(own)) if own.isdigit() else unknown),
            t("end.half_theirs", party=partner, count=bound),
            *number,
        ]
    if state == "REFUSED_SMALL":
        floor = formats.count(job["minimum_crowd"])
        return [t("end.late_known"), t("end.bucket")] if _late(job) else [t("end.below", floor=floor), t("end.bucket")]
    if state == "DISPUTED":
        return [t("end.disputed"), *number, t("end.bucket")]
    if job["attempt"]:
        return [*number, t("end.bucket_maybe")]
    return [t("end.only_proposal", partner=partner)]


def _absent(job: Job, names: Names, t: Translate, *, counted: bool) -> list[str]:
    """What does not exist, by state."""
    state = str(job["state"])
    if state == "ABORTED_AFTER_REVEAL":
        return [t("end.no_export"), t("end.no_rest")]
    if state == "DISPUTED" or _late(job):
        return [t("end.no_export")]
    return [t("end.no_list"), *([] if counted else [t("end.no_number", partner=names.party(job["partner"]))])]
