"""One intersection: waiting, running, sealed or ended. The same view for whoever proposed and whoever approved."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench.errors import WorkbenchError
from workbench_psi.pages import answers, rows, sidecards
from workbench_psi.pages.names import NO_RESULT, WORKING
from workbench_psi.pages.result import PAGE_ROWS, EndPanel, ResultPanel
from workbench_psi.pages.running import RunPanel
from workbench_psi.pages.view import Navigator, View, origin_badge
from workbench_psi.pages.wizard_list import entry_facts
from workbench_widgets import Stepper, formats
from workbench_widgets.panel_pane import pane

STEPS = ("list", "quality", "audience", "terms", "run", "result")
POLL_S = 0.5
SLOW_TICKS = 4
"""Waiting for people is looked at so many times less often than a run."""
RECENT_ENTRIES = 60
QUALITY_COUNTS = (("rows", "rows"), ("accepted", "accepted"), ("rejected", "rejected"), ("merged", "duplicates"), ("shared", "shared_keys"))


class JobView(View):
    """Follows one job until it ends; a closed tab stops nothing, an opened one continues."""

    def __init__(self, page: PageContext, job: str, go: Navigator, *, focus: bool = False) -> None:
        super().__init__(page)
        self._id, self._go, self._focus = job, go, focus
        self._job: Mapping[str, Any] | None = None
        self._asking, self._ticks = False, 0
        self._entries: list[Mapping[str, Any]] = []
        self._records: int | None = None
        self._receipt: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
        self._page_of_rows: tuple[Mapping[str, Any], int] | None = None
        self._lists: dict[str, Mapping[str, Any]] = {}
        self._reviewed = -1
        self._panel: RunPanel | ResultPanel | EndPanel | None = None
        self.head = Notes(framed=False)
        self.stepper, self.review = Stepper(), Notes()
        self.stepper.on_action(lambda _name, told: self._look_back(int(told.get("step", -1))), "open")
        self._body = layout.stack()
        first = layout.first_line(self.head, origin_badge(page))
        self.back = layout.button(page, "action.history", go.history)
        self.copy = layout.button(page, "action.copy", lambda: self.act("copy"))
        self.copy.visible = False
        self.root = layout.stack(first, pane(self.stepper), pane(self.strip), self.review, self._body, layout.buttons(self.back, self.copy))

    # ------------------------------------------------------------------ following

    async def open(self) -> None:
        """Read the job and begin to follow it."""
        page = self.page
        self._job = await page.run(page.client.call, "intersection.job", job=self._id)
        if page.may("lists.all"):
            known = (await page.run(page.client.call, "lists.all")).lists
            self._lists = {one.list_id: one for one in known}
        await self._read_around()
        self.draw()
        if self._focus:
            self.strip.take_focus()
        self._follow()

    def _follow(self) -> None:
        self.pause()
        if self._job is not None and not self._is_over():
            self.every(POLL_S, self._tick)

    def _is_over(self) -> bool:
        """Nothing changes any more: the job has ended and all that is known of it is co-signed by those who must."""
        return bool(self._job is not None and self._job["is_final"]) and all(one["seal"] != "PENDING" for one in self._entries)

    async def _tick(self) -> None:
        self._ticks += 1
        before = self._job
        assert before is not None  # the timer starts after the first reading
        if before["state"] not in WORKING and before["state"] != "SEALING" and self._ticks % SLOW_TICKS:
            return
        page = self.page
        job = await page.run(page.client.call, "intersection.job", job=self._id)
        changed, known = job["state"] != before["state"], self._entries
        self._job = job
        if changed:
            self._asking = False
        if changed or self._ticks % SLOW_TICKS == 0:
            await self._read_around()
        if not before["is_final"] or self._entries != known:
            self.draw()  # a change is spoken by the strip itself; the focus stays where the person is
        if self._is_over():
            self.pause()

    async def _read_around(self) -> None:
        """Read what belongs to the state: entries while it runs; list, receipt and entry when it is released."""
        page, job = self.page, self._job
        assert job is not None
        if not page.may("evidence.timeline"):
            return
        limit = 1000 if job["is_final"] else RECENT_ENTRIES
        told = await page.run(page.client.call, "evidence.timeline", text=self._id, kind="intersection.", limit=limit)
        self._entries = list(told["entries"])
        self._records = sum(1 for one in self._entries if one["seal"] != "PENDING") if job["is_final"] else None
        if job["state"] != "RELEASED":
            return
        if page.may("evidence.receipt") and (self._receipt is None or len(self._receipt[1]["entry"]["cosigners"]) < len(self.names.parties)):
            receipt = (await page.run(page.client.call, "evidence.receipt", job=self._id))["receipt"]
            entry = await page.run(
                page.client.call, "evidence.entry", log=self.names.own, index=int(job["result"]["own_index"])
            )
            self._receipt = (receipt, entry)
        if page.may("intersection.result") and self._page_of_rows is None:
            await self._read_rows(0)

    async def _read_rows(self, offset: int) -> None:
        page = self.page
        reply = await page.run(page.client.call, "intersection.result", job=self._id, offset=offset, limit=PAGE_ROWS)
        self._page_of_rows = (reply, offset)

    async def _turn(self, offset: int) -> None:
        await self._read_rows(offset)
        self.draw()

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        job, names, t = self._job, self.names, self.t
        if job is None:
            return
        self.look(self.stepper)
        state = str(job["state"])
        self.head.tell(
            notes.head(
                t("page.result" if state == "RELEASED" else "page.job"),
                job=job["job"],
                parties=[names.tile(names.own), names.tile(job["partner"])],
                subject=f"{names.party(job['partner'])} · {names.purpose(job['purpose'])}",
                meta=t("page.zone") if job["is_final"] else t("page.may_close"),
            )
        )
        self.stepper.steps = [t(f"steps.{name}") for name in STEPS]
        ran = job["attempt"] > 0
        self.stepper.current = 6 if state == "RELEASED" else 5 if ran and state in (*NO_RESULT, "SEALING") else 4
        self.stepper.locked_before = 4
        chip = {"ABORTED": "failed", "ABORTED_AFTER_REVEAL": "failed", "DISPUTED": "tampered"}.get(state, "refused")
        self.stepper.stopped = chip if state in NO_RESULT else ""
        around = answers.Circumstances(
            now_ms=int(time.time() * 1000),
            may=self.page.may,
            records=self._known_records(),
            cosigners=len(self._receipt[1]["entry"]["cosigners"]) if self._receipt else 0,
            parties=len(names.parties),
            asking_cancel=self._asking,
        )
        self.answer(answers.answer_for(job, names, t, around))
        self.page.notify_lab(title=answers.title_for(job, t), running=state in (*WORKING, "SEALING"))
        offered = {action["name"] for action in self.strip.actions}
        self.copy.visible = bool(job["is_final"] and job["side"] == "initiator" and self.page.may("intersection.propose") and "copy" not in offered)
        self._draw_body(job)

    def _known_records(self) -> int | None:
        """How many entries are known to lie in the own log about this job; None when only the newest were read."""
        if not self._asking:
            return self._records
        return len(self._entries) if len(self._entries) < RECENT_ENTRIES else None

    def _draw_body(self, job: Mapping[str, Any]) -> None:
        names = self.names
        chosen = self._lists.get(str(job["request"].get("list_id", "")), {})
        list_name = str(chosen.get("name", ""))
        self.review.tell(*self._review_blocks(job, chosen))
        if job["state"] == "RELEASED":
            panel = self._panel_of(ResultPanel)
            panel.show(job, names, self._entries, list_name=list_name, engine=sidecards.declared(job, names))
            if self._page_of_rows:
                panel.show_rows(*self._page_of_rows, job, names)
            elif not self.page.may("intersection.result"):
                panel.hide_rows(self.t("list.not_yours"), "DENIED")
            if self._receipt:
                panel.show_receipt(rows.receipt_data(job, *self._receipt, names))
        elif job["state"] in NO_RESULT:
            self._panel_of(EndPanel).show(job, names, self._entries, list_name=list_name)
        else:
            self._panel_of(RunPanel).show(job, names, self._entries, list_name=list_name, engine=sidecards.declared(job, names))

    def _look_back(self, step: int) -> None:
        """Open a done step to read; the same step again closes it."""
        self._reviewed = -1 if step == self._reviewed else step
        self.draw()

    def _review_blocks(self, job: Mapping[str, Any], chosen: Mapping[str, Any]) -> list[notes.Block]:
        """What was decided in one of the steps before the run; it can be read and no longer changed."""
        t, names, step = self.t, self.names, self._reviewed
        if step not in range(4):
            return []
        title = notes.heading(t(f"steps.{STEPS[step]}"), t("review.hint"))
        if step == 3:
            return [title, *sidecards.contract(job, names, t)[1:2]]
        if not chosen:
            return [title, notes.text(t("review.not_here"), meta=True)]
        if step == 0:
            return [title, entry_facts(chosen, self.page)]
        if step == 1:
            report = chosen["report"]
            told = [(t(f"quality.{one}"), formats.count(report.get(source))) for one, source in QUALITY_COUNTS]
            return [title, notes.facts(*told)]
        rule = str(job["request"].get("audience", "")) or t("contract.everybody")
        counts = [(str(row["label"]), formats.count(row["kept"])) for row in rows.waterfall_rows(job["waterfall"][:3], names, job["partner"], t)]
        return [title, notes.facts((t("contract.rule"), rule, "mono"), *counts)]

    def _panel_of(self, kind: type[Any]) -> Any:  # Any: one of three classes, each with its own methods
        if not isinstance(self._panel, kind):
            if kind is ResultPanel:
                self._panel = ResultPanel(
                    self.page,
                    on_page=lambda offset, _limit: self.page.start(self._turn, offset),
                    open_evidence=lambda: self.page.navigate("evidence", job=self._id),
                    print_page=self.head.print_page,
                )
            else:
                self._panel = kind(self.page)
            self._body[:] = [self._panel.root]
        return self._panel

    # ------------------------------------------------------------------ acting

    async def act(self, action: str) -> None:
        job = self._job
        if job is None:
            return
        page = self.page
        if action in ("cancel", "keep"):
            self._asking = action == "cancel"
            self.draw()
            self.strip.take_focus()
        elif action == "cancel_now":
            self._asking = False
            await page.run(page.client.call, "intersection.cancel", job=self._id)
            await self._again()
        elif action == "run":
            await page.run(page.client.call, "intersection.run", job=self._id)
            await self._again()
            self._follow()
        elif action == "copy":
            self._go.wizard(job)
        elif action == "evidence":
            page.navigate("evidence", job=self._id)
        elif action == "inbox":
            page.navigate("inbox", job=self._id)
        elif action == "export":
            request = {"job": self._id, "columns": list(job["request"].get("columns", []))}
            await page.confirm("intersection.export", request, self._exported)
        elif action == "receipt":
            await self._save_receipt()

    async def key(self, key: str) -> None:
        """Escape asks before it stops a run, and a second one keeps it running; v goes to where this job is verified."""
        if key == "v":
            await self.act("evidence")
        elif key == "Escape" and self._asking:
            await self.act("keep")
        elif key == "Escape" and any(action["name"] == "cancel" for action in self.strip.actions):
            await self.act("cancel")

    async def _again(self) -> None:
        page = self.page
        self._job = await page.run(page.client.call, "intersection.job", job=self._id)
        self._ticks = -1
        self.draw()
        self.strip.take_focus()

    async def _exported(self, state: str, reply: Any) -> None:
        if state == "done":
            self.page.download(reply["download"])
            t, job = self.t, self._job
            assert job is not None
            self.strip.reason = t(
                "export.done", count=f"{int(reply['customers']):,}", withheld=f"{int(reply['withheld']):,}", name=reply["name"]
            )
            self.strip.take_focus()
        elif state == "refused" and isinstance(reply, Mapping):
            self.page.report(_as_error(reply))

    async def _save_receipt(self) -> None:
        page = self.page
        reply = await page.run(page.client.call, "evidence.receipt", job=self._id)
        text = json.dumps(reply["receipt"], ensure_ascii=False, indent=2) + "\n"
        self.head.save_file(f"{rows.receipt_name(self._id)}.json", text)


def _as_error(reply: Mapping[str, Any]) -> WorkbenchError:
    """The refusal of an action that was confirmed on the node's page."""
    from workbench.errors import Refused

    error = reply.get("error", reply)
    return Refused(str(error.get("zh", "")), str(error.get("en", "")), code=str(error.get("code", "REFUSED")))


__all__ = ["STEPS", "JobView"]
