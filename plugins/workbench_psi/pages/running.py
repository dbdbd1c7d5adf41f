"""Step 5 and the waiting before it: phases with progress, messages, what was agreed, what happens on a stop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout
from workbench.app.parts.notes import Notes
from workbench_psi.pages import rows, sidecards
from workbench_psi.pages.answers import PHASES, Job, phase_number
from workbench_psi.pages.names import Names
from workbench_widgets import DataTable, PhaseList, Waterfall, formats
from workbench_widgets.panel_pane import pane


class PhaseClock:
    """When the phases of the present attempt began and ended: as the node kept it, and what this page saw since."""

    def __init__(self) -> None:
        self._attempt = 0
        self.times: dict[str, tuple[int, int | None]] = {}
        self.totals: dict[str, int] = {}

    def see(self, job: Job) -> dict[str, Any]:
        """Take note of a job's progress; returns the progress with the totals seen so far."""
        if job["attempt"] != self._attempt:
            self._attempt, self.times, self.totals = job["attempt"], {}, {}
        self.times |= rows.phase_times(job)
        progress = dict(job["progress"])
        number = phase_number(progress)
        if not number:
            return progress
        name = PHASES[number - 1]
        for earlier in PHASES[: number - 1]:
            started, ended = self.times.get(earlier, (None, None))
            if started is not None and ended is None:
                self.times[earlier] = (started, int(progress["since_ms"]))
        self.times.setdefault(name, (int(progress["since_ms"]), None))
        if progress["total"]:
            self.totals[name] = int(progress["total"])
        return {**progress, "totals": dict(self.totals)}


class RunPanel:
    """The body of a job that waits, runs or is being sealed."""

    def __init__(self, page: PageContext) -> None:
        self._page = page
        self.clock = PhaseClock()
        self.phases = PhaseList(state="loading")
        self.fall = Waterfall(state="loading")
        self.messages = DataTable(page_size=6)
        self.contract, self.learns, self.stop, self.limits, self.near = Notes(), Notes(), Notes(), Notes(), Notes()
        self._phases, self._fall, self._messages = pane(self.phases), pane(self.fall), pane(self.messages)
        self.root = layout.split(
            layout.stack(self._phases, self.near, self._messages, self._fall), layout.stack(self.contract, self.learns, self.stop, self.limits),
            drawer=(page, "drawer.details"),
        )  # fmt: skip

    def show(self, job: Job, names: Names, entries: Sequence[Mapping[str, Any]], *, list_name: str, engine: Mapping[str, Any]) -> None:
        """Draw a job. entries: newest own entries about it, oldest first; engine: security and learns in this language."""
        t = self._page.t
        seen = {**job, "progress": self.clock.see(job)}
        waits = job["state"] in ("PROPOSED", "APPROVED")
        for widget in (self.phases, self.fall, self.messages):
            widget.lang = names.lang
        self.phases.state = "done"
        self.phases.heading, self.phases.hint = t("phases.title"), t("phases.hint")
        self.phases.mine, self.phases.theirs = names.tile(names.own), names.tile(job["partner"])
        records = rows.record_states(self.clock.times, entries)
        self.phases.rows = rows.phase_rows(seen, self.clock.times, records, t)
        self._fall.visible = waits and bool(job["waterfall"])
        if self._fall.visible:
            self.fall.state, self.fall.heading = "done", t("waterfall.before")
            self.fall.rows = rows.waterfall_rows(job["waterfall"], names, job["partner"], t)
        told = rows.message_rows(entries, names, t)
        self._messages.visible = bool(told)
        moved = job["progress"].get("bytes") if job["progress"] else None
        self.messages.heading = t("messages.title")
        self.messages.hint = t("messages.hint_bytes", size=formats.size(moved)) if moved else t("messages.hint")
        self.messages.columns, self.messages.rows, self.messages.total = rows.message_columns(t), told, len(told)
        self.contract.tell(*sidecards.contract(job, names, t, list_name=list_name))
        if engine:
            self.learns.tell(*sidecards.who_learns(engine["learns"], engine["security"], job["partner"], names, t))
        self.near.tell(*sidecards.near_duplicates(rows.near_duplicates(job, entries), job["partner"], names, t, before=waits))
        self.stop.tell(*sidecards.interrupted(job, names, t))
        self.limits.tell(*sidecards.not_promised(t, workspace=self._page.me["workspace"]))
