"""The page Evidence: can this be believed, and if not, where does it break.

It reads through operations only; what a role may not read the node leaves out. Everything shown as checked was computed
anew by the node (evidence.check, evidence.audit) or by the browser (the chain of proof).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import panel as pn

from workbench.app.page import PageContext, is_offline
from workbench.errors import WorkbenchError
from workbench_ledger.pages import verdict
from workbench_ledger.pages.browser import Card, FindBar, item, meta
from workbench_ledger.pages.inspector import GAPS, Inspector, signature_rows
from workbench_ledger.pages.story import RUN, Step, folded, lane_rows, place, steps
from workbench_ledger.pages.verdict import Answer
from workbench_ledger.pages.words import Words
from workbench_widgets import AnswerStrip, Badge, DataTable, KeyNumbers, Lanes, ProgressCancel, ReceiptCard, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
JOB = re.compile(r"J-[0-9]{8}-[0-9a-f]{4,16}")
PAGE_ROWS = 18
AUTOMATIC_AUDIT = 20_000
"""Logs up to this size are audited when the page opens; larger ones when somebody asks (10 microseconds an entry)."""
REFRESH_S = 4.0
KIND_AREAS = ("intersection.", "consent.", "lists.", "people.", "action.", "peer.", "partners.", "ledger.", "node.", "files.")
PAGES = {"gi": "intersection"}
"""The second letter opens a page of the same release; others follow with their pages."""

LAYOUT = """
:host { display: grid; grid-template-columns: minmax(0, 1fr) 424px; gap: 12px; align-items: start; }
@media (min-width: 1320px) { :host { grid-template-columns: minmax(0, 1fr) 572px; } }
@media (max-width: 1199px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""
SIDE = GAPS + """
@media (max-width: 1199px) {
  :host { display: none; }
  :host(.open) { display: flex; position: fixed; top: 0; right: 0; bottom: 0; width: min(612px, 100vw); overflow: auto; z-index: 10; padding: 12px 16px;
    box-sizing: border-box; background: var(--wb-bg); border-left: 1px solid var(--wb-line); box-shadow: -6px 0 18px rgb(0 0 0 / 22%); }
}
"""
TOP = """
:host { display: flex; gap: 12px; align-items: flex-start; position: relative; }
:host > * { min-width: 0; }
@media (max-width: 1199px) { :host { display: block; } }
"""
CORNER = """
:host { margin-top: 6px !important; }
@media (max-width: 1199px) { :host { position: absolute !important; top: 0; right: 0; } }
"""


@dataclass(slots=True)
class Asked:
    """What is looked at: one job, or a page of one log, narrowed by kind and text. before: last index, exclusive."""

    job: str = ""
    log: str = ""
    kind: str = ""
    text: str = ""
    before: int | None = None

    @property
    def is_search(self) -> bool:
        return bool(self.kind or self.text)


class EvidencePage:
    """One opened tab."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.asked = Asked(job=page.params.get("job", "")[:64], text=page.params.get("text", "")[:120])
        self.timeline: Reply | None = None
        self.check: Reply | None = None
        self.audit: Reply | None = None
        self.receipt: Reply | None = None
        self.jobs: list[Reply] = []
        self.status: Reply | None = None
        self.selected = page.params.get("entry", "")
        self._opened: set[str] = set()
        self._checked_for: tuple[Any, ...] = ()
        self._took_s = 0.0
        self._auditing = False
        self._stop_audit = False
        self._turn = 0
        self._problem: WorkbenchError | None = None
        self._make_parts()
        page.on_look(self.draw)

    # ------------------------------------------------------------------ parts

    def _make_parts(self) -> None:
        page = self.page
        self.bar = FindBar(self._heard)
        self.answer = page.follow(AnswerStrip(state="loading"))
        self.numbers = page.follow(KeyNumbers())
        self.progress = page.follow(ProgressCancel(framed=True))
        self.lanes = page.follow(Lanes(state="loading", height=610))
        self.receipt_card = page.follow(ReceiptCard())
        self.findings = page.follow(DataTable(page_size=10))
        self.heads = page.follow(DataTable(page_size=10))
        self.checked = Card()
        self.promise = Card()
        self.pager = Card(lambda name: self.page.start(self._turn_page, name))
        self.inspector = Inspector(page, self.words, lambda name: self.page.start(self._act, name))
        self.answer.on_action(lambda _, payload: page.start(self._act, str(payload.get("name", ""))))
        self.progress.on_action(lambda *_: self._ask_to_stop(), "cancel")
        self.lanes.on_action(lambda _, payload: page.start(self._select, str(payload.get("id") or ""), True), "select")
        self.receipt_card.on_action(lambda name, _: page.start(self._act, name))
        self.findings.on_action(lambda _, payload: page.start(self._select, str(payload.get("id") or ""), True), "open")
        self._panes = {
            name: pane(widget, margin=0)
            for name, widget in (
                ("answer", self.answer), ("numbers", self.numbers), ("progress", self.progress), ("lanes", self.lanes),
                ("receipt", self.receipt_card), ("findings", self.findings), ("heads", self.heads),
            )
        }  # fmt: skip
        for name in ("numbers", "progress", "receipt", "findings", "heads"):
            self._panes[name].visible = False

    def view(self) -> pn.viewable.Viewable:
        """The page's layout: head, answer, numbers, then the story beside the entry that was chosen."""
        top: list[Any] = [self.bar]
        if self.page.me["workspace"] != "production":
            badge = self.page.follow(Badge(kind="synthetic", framed=False, meaning=self.page.t("badge.meaning")))
            self.page.on_look(lambda: setattr(badge, "meaning", self.page.t("badge.meaning")))
            if self.page.me["workspace"] == "test":
                badge.label = self.page.t("badge.test")
            top.append(pane(badge, margin=0, sizing_mode="fixed", width=126, stylesheets=[CORNER]))
        left = pn.Column(
            self._panes["lanes"], self.pager, self._panes["findings"], self._panes["heads"], self._panes["receipt"], self.checked,
            self.promise,
            sizing_mode="stretch_width", margin=0, stylesheets=[GAPS],
        )  # fmt: skip
        self.side = pn.Column(self.inspector.view, sizing_mode="stretch_width", margin=0, stylesheets=[SIDE])
        return pn.Column(
            pn.Row(*top, sizing_mode="stretch_width", margin=0, stylesheets=[TOP]),
            self._panes["answer"],
            self._panes["progress"],
            self._panes["numbers"],
            pn.Column(left, self.side, sizing_mode="stretch_width", margin=0, stylesheets=[LAYOUT]),
            sizing_mode="stretch_width", margin=0, stylesheets=[GAPS],
        )  # fmt: skip

    def words(self) -> Words:
        """Texts of this moment's language."""
        lang = "zh" if self.page.lang == "zh" else "en"
        return Words(self.page.t, lang, self.page.me["parties"], self.page.me["me"]["party"])  # type: ignore[arg-type]

    # ------------------------------------------------------------------ reading

    async def open(self) -> None:
        """First view: the job of the address, or for who reads jobs only their newest one, or the own log."""
        page = self.page
        self.draw()
        if page.may("intersection.jobs"):
            self.jobs = list((await page.run(page.client.intersection.jobs))["jobs"])
        if not self.asked.job and not page.may("evidence.audit") and self.jobs:
            self.asked.job = str(self.jobs[0]["job"])
        await self.load()
        page.refresh_every(REFRESH_S, self._look_again)

    async def load(self) -> None:
        """Read what was asked for, show it, then check it."""
        page, asked = self.page, self.asked
        self._turn += 1
        turn = self._turn
        self.lanes.state = "loading"
        try:
            timeline = await page.run(
                page.client.evidence.timeline, job=asked.job, log="" if asked.job else asked.log, kind=asked.kind, text=asked.text,
                before=asked.before, limit=1000 if asked.job else PAGE_ROWS,
            )  # fmt: skip
            self.status = await page.run(page.client.call, "node.status")
        except WorkbenchError as error:
            self._problem = error
            self.draw()
            raise
        if turn != self._turn:
            return  # something else was asked for meanwhile
        self._problem = None
        self.timeline = timeline
        self.draw()
        await self._check(turn)
        if turn == self._turn:
            await self._select(self._first_choice(), False)

    async def _check(self, turn: int) -> None:
        """Check what is shown: a job's entries at once, a log if it is small."""
        page, asked, timeline = self.page, self.asked, self.timeline
        if timeline is None:
            return
        if not asked.job:
            if self.audit is None and page.may("evidence.audit") and timeline["total"] <= AUTOMATIC_AUDIT:
                await self._run_audit()
            return
        if not timeline["entries"] and not asked.is_search:
            return
        began = time.monotonic()
        try:
            found = await page.run(page.client.evidence.check, job=asked.job)
        except WorkbenchError as error:
            if error.code != "NO_JOB":
                raise
            return
        if turn != self._turn or asked.job != self.asked.job:
            return
        self.check, self._took_s = found, time.monotonic() - began
        await self._take_receipt()
        self.draw()

    async def _take_receipt(self) -> None:
        job = self._job()
        self.receipt = None
        if job is None or job["state"] != "RELEASED" or not self.page.may("evidence.receipt"):
            return
        try:
            self.receipt = await self.page.run(self.page.client.evidence.receipt, job=self.asked.job)
        except WorkbenchError as error:
            if is_offline(error):
                raise
            self.receipt = None  # a damaged entry has no receipt; the answer says so already

    async def _look_again(self) -> None:
        """Follow what changes by itself: seals arrive, entries are added, a job goes on."""
        if self.timeline is None or self._auditing:
            return
        asked, turn = self.asked, self._turn
        status = await self.page.run(self.page.client.call, "node.status")
        before, self.status = self.status, status
        same = before is not None and (before["sealed"], before["pending"]) == (status["sealed"], status["pending"])
        waiting = self.check is not None and (self.check["pending"] or self.timeline["one_sided"] or self._lacks_third())
        if same and not (asked.job and waiting):
            return
        timeline = await self.page.run(
            self.page.client.evidence.timeline, job=asked.job, log="" if asked.job else asked.log, kind=asked.kind, text=asked.text,
            before=asked.before, limit=1000 if asked.job else PAGE_ROWS,
        )  # fmt: skip
        if turn != self._turn:
            return
        self.timeline = timeline
        if asked.job:
            await self._check(turn)
        self.draw()

    def _lacks_third(self) -> bool:
        logs = self.check["logs"] if self.check else []
        return any(not one["valid"] for log in logs for one in log["signatures"])

    # ------------------------------------------------------------------ checking

    async def _run_audit(self) -> None:
        """Re-hash every body of this node, its mirrors' copies included; the person may stop it."""
        if self._auditing:
            return
        page = self.page
        self._auditing, self._stop_audit = True, False
        told = {"done": 0, "total": 0, "zh": "", "en": ""}

        def progress(done: int, total: int, zh: str, en: str) -> None:
            told.update(done=done, total=total, zh=zh, en=en)  # read by `follow`, on the page's own thread

        def follow() -> None:
            done, total = int(str(told["done"])), int(str(told["total"]))
            self.progress.done, self.progress.total = done, max(total, 0)
            self.progress.phase = str(told[page.lang])
            self._panes["progress"].visible = self._auditing and time.monotonic() - began > 1
            share = f"{100 * done // total} %" if total else ""
            page.notify_lab(title=page.t("tab.checking", share=share), running=True)

        began = time.monotonic()
        self.progress.heading = page.t("audit.running")
        self.progress.stays, self.progress.goes = page.t("audit.stays"), page.t("audit.goes")
        self.progress.cancel_label = page.t("audit.cancel")
        self.progress.cancelling = False
        self.draw()
        stop = page.refresh_every(0.4, follow)
        try:
            audit = await page.run(
                page.client.call, "evidence.audit", progress=progress, cancelled=lambda: self._stop_audit
            )
            self.audit, self._took_s = audit, time.monotonic() - began
        except WorkbenchError as error:
            if error.code != "CANCELLED":
                raise
        finally:
            stop()
            self._auditing = False
            self._panes["progress"].visible = False
            self.draw()

    def _ask_to_stop(self) -> None:
        self._stop_audit = True
        self.progress.cancelling = True

    # ------------------------------------------------------------------ what people do

    def _heard(self, name: str, payload: Mapping[str, Any]) -> None:
        if name == "find":
            self.page.start(self._find, payload)
        elif name == "drop":
            self.page.start(self._drop, str(payload.get("what", "")))
        elif name == "key":
            self.page.start(self._key, str(payload.get("key", "")))

    async def _find(self, payload: Mapping[str, Any]) -> None:
        words = str(payload.get("text", ""))[:120].strip()
        job = str(payload.get("job", ""))[:64]
        named = JOB.search(words)
        if named:
            job, words = named.group(), words.replace(named.group(), "").strip()
        log = str(payload.get("log", ""))
        known = {one[0] for one in self.page.me["parties"]}
        await self._ask(
            Asked(job=job, log=log if log in known else "", kind=str(payload.get("kind", ""))[:80], text=words)
        )

    async def _drop(self, what: str) -> None:
        asked = self.asked
        if what == "job":
            await self._ask(Asked(log=asked.log, kind=asked.kind, text=asked.text))
        elif what == "text":
            await self._ask(Asked(job=asked.job, log=asked.log))

    async def _ask(self, asked: Asked) -> None:
        if asked.job != self.asked.job:
            self.check, self.receipt = None, None
        self.asked, self.selected = asked, ""
        self._opened.clear()
        await self.load()

    async def _turn_page(self, name: str) -> None:
        timeline = self.timeline
        if timeline is None or not timeline["entries"]:
            return
        first, last = int(timeline["entries"][0]["index"]), int(timeline["entries"][-1]["index"])
        if name == "older":
            self.asked.before = first
        elif name == "newer":
            before = last + 1 + PAGE_ROWS
            self.asked.before = before if before < timeline["total"] else None
        elif name == "newest":
            self.asked.before = None
        self.selected = ""
        await self.load()

    async def _key(self, key: str) -> None:
        if key == "v":
            await self._act("audit" if self.page.may("evidence.audit") else "check")
        elif key == "Escape":
            await self._act("close")
        elif key in PAGES:
            self.page.navigate(PAGES[key])

    async def _act(self, name: str) -> None:
        entry = self.inspector.entry
        if name == "audit":
            await self._run_audit()
            if self.asked.job:
                await self._check(self._turn)
            self.answer.take_focus()
        elif name == "check":
            await self._check(self._turn)
            self.answer.take_focus()
        elif name == "clear":
            await self._ask(Asked())
        elif name == "close":
            if "open" in self.side.css_classes:
                self.side.css_classes = []
                self.lanes.take_focus()
        elif name == "first":
            await self._select(self._first_choice(), True)
        elif name == "print":
            self.bar.print_page()
        elif name == "open_evidence":
            await self._select(self._released() or self._first_choice(), True)
        elif name == "job_receipt" and self.receipt is not None:
            self.bar.offer_file(f"R{self.asked.job[1:]}.json", _json(self.receipt["receipt"]))
        elif entry is not None:
            await self._act_on_entry(name, entry)

    async def _act_on_entry(self, name: str, reply: Reply) -> None:
        entry = reply["entry"]
        if name == "receipt":
            self.bar.offer_file(self.inspector.file_name(entry), self.inspector.receipt_text())
        elif name == "job" and entry["job"] == self.asked.job:
            self.page.navigate("intersection", job=str(entry["job"]))
        elif name == "job":
            await self._ask(Asked(job=str(entry["job"])))
        elif name == "counterpart":
            there = self._counterpart(entry)
            if there:
                await self._select(there, True)
            elif entry["job"] and entry["job"] != self.asked.job:
                self.selected = place(entry)
                self.asked = Asked(job=str(entry["job"]))
                self.check = None
                await self.load()
        elif name == "compare":
            comparison = await self.page.run(
                self.page.client.evidence.compare, log=entry["log"], index=entry["index"]
            )
            self.inspector.show(reply, comparison)

    def _counterpart(self, entry: Reply) -> str:
        for one in self.timeline["entries"] if self.timeline else []:
            if place(one) == place(entry):
                return str(one["counterpart"])
        return ""

    async def _select(self, chosen: str, by_person: bool) -> None:
        """Show one entry in the side column, or open a run of frames."""
        if chosen.startswith(RUN):
            self._opened.add(chosen)
            self._draw_lanes()
            return
        log, _, index = chosen.rpartition("/")
        if not log or not index.isdigit():
            if not by_person:
                self.inspector.clear()
            return
        self.selected = chosen
        self._mark_row()
        self.inspector.loading()
        reply = await self.page.run(self.page.client.evidence.entry, log=log, index=int(index))
        comparison = None
        if reply["problem"] in ("EDITED", "DELETED", "UNREADABLE", "OPENING"):
            comparison = await self.page.run(self.page.client.evidence.compare, log=log, index=int(index))
        if self.selected != chosen:
            return
        self.inspector.show(reply, comparison)
        if by_person:
            self.side.css_classes = ["open"]
            self.inspector.head.take_focus()

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        """Everything again from what is known, in the language of this moment."""
        words = self.words()
        self._draw_bar(words)
        self._draw_answer(words)
        self._draw_lanes()
        self._draw_pager(words)
        self._draw_checked(words)
        self._draw_receipt(words)
        self.inspector.redraw()

    def _draw_bar(self, words: Words) -> None:
        t, asked, page = words.t, self.asked, self.page
        chips = [("job", t("chip.job", job=asked.job), t("chip.drop"))] if asked.job else []
        logs = []
        if not asked.job and page.may("evidence.audit"):
            logs = [
                ("" if one == words.own else one, t("log.own" if one == words.own else "log.mirror", party=words.party(one)))
                for one in words.ordered()
            ]
        status = ""
        if self._auditing:
            status = t("checking")
        elif asked.job and self.check is not None:
            status = verdict.checked_at(int(self.check["now_ms"]), self._took_s, words)
        elif not asked.job and self.audit is not None:
            status = verdict.checked_at(int(self.audit["now_ms"]), self._took_s, words)
        areas = [one for one in KIND_AREAS if page.may("evidence.audit") or one in ("intersection.", "lists.")]
        keys = [("/", t("key.search")), ("v", t("key.verify")), ("↑ ↓ Enter", t("key.rows")), ("Esc", t("key.close"))]
        keys += [("g i", t("key.intersection")), ("?", t("key.help"))]
        self.bar.draw(
            {
                "title": t("title"), "placeholder": t("search"), "searched": t("searched"), "text": asked.text,
                "kinds": [("", t("kind.all")), *[(one, t(f"kind.{one}")) for one in areas]], "kind": asked.kind,
                "kind_label": t("kind.label"), "logs": logs, "log": asked.log, "log_label": t("log.label"),
                "jobs": [("", t("job.none")), *[(one["job"], self._job_name(one, words)) for one in self.jobs[:50]]],
                "job": asked.job if any(one["job"] == asked.job for one in self.jobs) else "", "job_label": t("job.label"),
                "chips": chips, "status": status, "keys": keys, "keys_switch": t("key.switch"), "help": t("key.help"),
            }
        )  # fmt: skip

    def _job_name(self, job: Reply, words: Words) -> str:
        return words.t("job.option", tail=str(job["job"])[-8:], partner=words.party(job["partner"]))

    def _answer(self, words: Words) -> Answer | None:
        """None while nothing is known yet."""
        asked, timeline = self.asked, self.timeline
        if self._problem is not None and timeline is None:
            return Answer("failed", words.t("answer.failed"), words.both(self._problem.as_dict()), words.t("todo.failed"))
        if timeline is None:
            return None
        if not timeline["entries"]:
            if asked.is_search:
                changed = len(verdict.changed_places(self.audit["findings"])) if self.audit else 0
                return verdict.no_hits(asked.text, words.maybe(f"kind.{asked.kind}", asked.kind), words, changed=changed)
            return Answer("info", words.t("answer.empty"), "", words.t("todo.empty"))
        if asked.job:
            if self.check is None:
                return None
            return verdict.of_job(self.check, len(timeline["one_sided"]), words, silent=self._silent())
        if self.audit is not None:
            return verdict.of_log(self.audit, words, silent=self._silent())
        if self._auditing:
            return None
        pending = int(self.status["pending"]) if self.status and not asked.log else 0
        return verdict.unchecked(int(timeline["total"]), pending, words, may_audit=self.page.may("evidence.audit"))

    def _silent(self) -> list[str]:
        """Institutions whose node does not answer, as this node last saw them."""
        return [str(one["party"]) for one in (self.status["nodes"] if self.status else []) if one["state"] == "silent"]

    def _draw_answer(self, words: Words) -> None:
        found = self._answer(words)
        strip = self.answer
        if found is None:
            strip.state = "loading"
            self._panes["numbers"].visible = False
            return
        actions: list[dict[str, Any]] = []
        if found.state == "tampered" and self._changed():
            actions.append({"name": "first", "label": words.t("action.show")})
        elif self.receipt is not None and self.asked.job:
            actions.append({"name": "job_receipt", "label": words.t("action.job_receipt")})
        elif self.timeline is not None and not self.timeline["entries"] and self.asked.is_search:
            actions.append({"name": "clear", "label": words.t("action.clear"), "primary": True})
        if self.page.may("evidence.audit"):
            actions.append(
                {"name": "audit", "label": words.t("action.audit"), "primary": not any(one.get("primary") for one in actions),
                 "disabled": self._auditing}
            )  # fmt: skip
        elif self.asked.job and self.check is not None:
            actions.append({"name": "check", "label": words.t("action.check")})
        strip.sentence, strip.reason, strip.todo = found.sentence, found.reason, found.todo
        strip.badge, strip.actions = dict(found.badge), actions
        strip.state = found.state
        self.numbers.items = [dict(one) for one in found.numbers]
        self.numbers.remark = found.remark
        self._panes["numbers"].visible = bool(found.numbers)
        if not self._auditing:
            self.page.notify_lab(title=found.tab)

    def _changed(self) -> set[str]:
        found = [(one["log"], one["index"]) for one in self.check["problems"]] if self.check and self.asked.job else []
        found += verdict.changed_places(self.audit["findings"]) if self.audit else []
        return {f"{log}/{index}" for log, index in found if index is not None}

    def _steps(self, words: Words) -> list[Step]:
        if self.timeline is None:
            return []
        joined = bool(self.asked.job) and not self.asked.is_search
        return steps(self.timeline["entries"], words, joined=joined, changed=self._changed())

    def _draw_lanes(self) -> None:
        words, timeline = self.words(), self.timeline
        lanes = self.lanes
        if timeline is None:
            lanes.state = "failed" if self._problem is not None else "loading"
            return
        made = self._steps(words)
        heads = self.check["logs"] if self.asked.job and self.check and not self.asked.is_search else []
        rows = lane_rows(folded(made, words, self._opened) if self.asked.job else made, heads, words, numbered=bool(self.asked.job))
        lanes.lanes = [words.tiles(one) for one in words.ordered()]
        lanes.rows, lanes.offset, lanes.total = rows, 0, len(rows)
        records = len(timeline["entries"])
        lanes.hint = words.t("lanes.hint", steps=words.count(len(made)), records=words.count(records), day=self._days())
        lanes.notice = {"sentence": words.t("lanes.empty")} if not rows else {}
        lanes.state = "done" if rows else "empty"
        self._mark_row()

    def _days(self) -> str:
        times = [int(one["time_ms"]) for one in (self.timeline["entries"] if self.timeline else []) if one["time_ms"]]
        if not times:
            return ""
        first, last = formats.date(min(times)), formats.date(max(times))
        return first if first == last else f"{first} – {last}"

    def _mark_row(self) -> None:
        chosen = next((row for row in self.lanes.rows if self._covers(str(row.get("id", "")))), None)
        self.lanes.selected = int(chosen["index"]) if chosen else None

    def _covers(self, row_id: str) -> bool:
        if row_id == self.selected:
            return True
        records = {one.id: one.records for one in self._steps(self.words())} if self.selected else {}
        return self.selected in records.get(row_id, ())

    def _draw_pager(self, words: Words) -> None:
        timeline = self.timeline
        if timeline is None or self.asked.job or not timeline["entries"]:
            self.pager.clear()
            return
        first, last = int(timeline["entries"][0]["index"]), int(timeline["entries"][-1]["index"])
        actions = [
            {"name": "older", "label": words.t("pager.older"), "disabled": not timeline["more"]},
            {"name": "newer", "label": words.t("pager.newer"), "disabled": self.asked.before is None},
            {"name": "newest", "label": words.t("pager.newest"), "disabled": self.asked.before is None},
        ]
        told = words.t("pager", first=words.count(first), last=words.count(last), total=words.count(int(timeline["total"])))
        self.pager.tell("", [meta(told)], actions=actions)

    def _draw_checked(self, words: Words) -> None:
        """What was checked and what not; findings that no field names; contradictory heads; what nobody can promise."""
        t = words.t
        lines = []
        if self.asked.job and self.check is not None:
            lines = [item(t(f"checked.{one}")) for one in ("body", "tree", "signatures", "frames")]
            lines += [] if self.audit is not None else [item(t("checked.not_rest"))]
        if self.audit is not None:
            audit = self.audit
            mirrors = words.count(sum(int(one) for one in audit["mirrors"].values()))
            lines += [
                item(t("audited.bodies", own=words.count(audit["entries"]), mirrors=mirrors)),
                item(t("audited.heads", size=words.count(audit["checkpoint_size"]))),
                item(t("audited.openings")), item(t("audited.conflicts", count=words.count(len(audit["conflicts"])))),
            ]  # fmt: skip
            grown = int(self.timeline["total"]) - int(audit["entries"]) if self.timeline and not self.asked.log else 0
            if grown > 0:
                lines.append(item(t("audited.grown", count=words.count(grown))))
        if lines:
            self.checked.tell(t("checked"), lines, folds=True, is_open=True)
        else:
            self.checked.clear()
        self._draw_findings(words)
        self.promise.tell(
            t("promise"), [item(t(f"promise.{one}")) for one in self._limits()], folds=True, is_open=True
        )

    def _limits(self) -> list[str]:
        limits = ["held", "before", "all", "clock"]
        return [*limits, "demo"] if self.page.me["workspace"] != "production" else limits

    def _draw_findings(self, words: Words) -> None:
        t = words.t
        findings = list(self.audit["findings"]) if self.audit else []
        self._panes["findings"].visible = bool(findings)
        self.findings.heading = t("findings")
        self.findings.columns = [
            {"key": "place", "label": t("findings.place")}, {"key": "problem", "label": t("findings.problem")},
            {"key": "told", "label": t("findings.told")},
        ]  # fmt: skip
        self.findings.openable = True
        self.findings.rows = [
            {
                "id": f"{one['log']}/{one['index']}" if one["index"] is not None else "",
                "place": words.place(one) if one["index"] is not None else words.party(one["log"]),
                "problem": words.problem(one["problem"]), "told": words.named(words.both(one)),
            }
            for one in findings
        ]  # fmt: skip
        conflicts = list(self.audit["conflicts"]) if self.audit else list(self.check["conflicts"]) if self.check else []
        self._panes["heads"].visible = bool(conflicts)
        self.heads.heading = t("heads")
        self.heads.columns = [
            {"key": "log", "label": t("heads.log")}, {"key": "held", "label": t("heads.held")},
            {"key": "offered", "label": t("heads.offered")}, {"key": "found", "label": t("heads.found"), "kind": "time"},
        ]  # fmt: skip
        self.heads.rows = [
            {
                "log": words.party(one["log"]), "held": verdict.head_of(one["held"], words),
                "offered": verdict.head_of(one["offered"], words), "found": one["found_ms"],
            }
            for one in conflicts
        ]  # fmt: skip

    def _draw_receipt(self, words: Words) -> None:
        shown = bool(self.asked.job and self.receipt is not None and self.check is not None)
        self._panes["receipt"].visible = shown
        if not shown or self.receipt is None or self.check is None:
            return
        receipt = self.receipt["receipt"]
        lines = str(receipt["checkpoint"]).split("\n")
        logs = {one["log"]: one for one in self.check["logs"]}
        # As strong as the weakest log: an institution counts when it signed every log of the job.
        weakest = [
            {"party": party, "valid": all(self._signed(one, party) for one in logs.values())} for party in words.ordered()
        ]
        required = {party for one in logs.values() for party in one["required"]}
        name = f"R{self.asked.job[1:]}"
        self.receipt_card.receipt = {
            "id": name, "checkpoint": int(lines[1]) if lines[1].isdigit() else 0,
            "cosigners": [
                {key: value for key, value in one.items() if key != "algorithm"} for one in signature_rows(weakest, words)
            ],
            "required": max(1, len(required)),
            "roots": [{"algorithm": "SHA-256", "hex": _hex(lines[2])}, {"algorithm": "SM3", "hex": _hex(lines[3].removeprefix("sm3 "))}],
            "command": f"workbench verify {name}.json --trust trust.json",
        }  # fmt: skip

    @staticmethod
    def _signed(log: Reply, party: str) -> bool:
        return any(one["party"] == party and one["valid"] for one in log["signatures"])

    # ------------------------------------------------------------------ choosing

    def _job(self) -> Reply | None:
        return next((one for one in self.jobs if one["job"] == self.asked.job), None)

    def _released(self) -> str:
        for one in self.timeline["entries"] if self.timeline else []:
            if one["kind"] == "intersection.released" and one["log"] == self.words().own:
                return place(one)
        return ""

    def _first_choice(self) -> str:
        """What to show first: what was asked for, else what is wrong, else the release, else the newest."""
        entries = list(self.timeline["entries"]) if self.timeline else []
        if self.selected:
            return self.selected
        if not entries:
            return ""
        changed = self._changed()
        wrong = [place(one) for one in entries if one["problem"] or place(one) in changed]
        if wrong or changed:
            return (wrong or sorted(changed))[0]
        return (self._released() if self.asked.job else "") or place(entries[-1])


def _hex(base64_text: str) -> str:
    try:
        return base64.b64decode(base64_text, validate=True).hex()
    except (binascii.Error, ValueError):
        return ""


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


__all__ = ["Asked", "EvidencePage"]
