"""The page Evidence: can this be believed, and if not, where does it break.

It reads through operations only; what a role may not read the node leaves out. The rows of the story come first; what
takes longer (checks, receipt, the entry beside them) follows and is shown as it arrives.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import panel as pn

from workbench.app.page import PageContext, is_offline
from workbench.client.timeline import PAGE_ROWS as STORY_ROWS
from workbench.client.timeline import join_pages, read_story
from workbench.errors import WorkbenchError
from workbench_ledger.pages.board import Board
from workbench_ledger.pages.finding import JOB, Asked
from workbench_ledger.pages.laboratory import Laboratory
from workbench_ledger.pages.story import LONG_ROUTINE, ROUTINE, RUN, newest_within, place
from workbench_ledger.pages.words import Words, words_of

Reply = Mapping[str, Any]
PAGE_ROWS = 18
FOLDED_ROWS = 10 * PAGE_ROWS
HITS = 50
AUTOMATIC_AUDIT = 20_000
"""Logs up to this size are audited when the page opens; larger ones when somebody asks (10 microseconds an entry)."""
REFRESH_S = 4.0


class EvidencePage:
    """One opened tab; fulfils board.Seen."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.asked = Asked(job=page.params.get("job", "")[:64], text=page.params.get("text", "")[:120])
        self.timeline: Reply | None = None
        self.found: Reply | None = None
        self.check: Reply | None = None
        self.audit: Reply | None = None
        self.receipt: Reply | None = None
        self.jobs: list[Reply] = []
        self.status: Reply | None = None
        self.index: Reply | None = None
        self.anchors: Reply | None = None
        self.selected = page.params.get("entry", "")
        self.opened: set[str] = set()
        self.shape = "lanes"
        self.took_s = 0.0
        self.auditing = False
        self.exporting = False
        self.reaching_back = False
        self.problem: WorkbenchError | None = None
        self._stop = False
        self._turn = 0
        self.board = Board(page, self.words, self._heard)
        self.laboratory = Laboratory(page, self.words)
        self.bar, self.answer, self.numbers = self.board.bar, self.board.answer, self.board.numbers
        self.progress, self.lanes, self.inspector = self.board.progress, self.board.lanes, self.board.inspector
        self.findings, self.receipt_card = self.board.findings, self.board.receipt_card
        page.on_look(self.draw)

    def view(self) -> pn.viewable.Viewable:
        """The page's layout."""
        return self.board.view([self.laboratory.view])

    def words(self) -> Words:
        """Texts of this moment's language."""
        return words_of(self.page)

    def draw(self) -> None:
        """Everything again from what is known."""
        self.board.draw(self)
        self.laboratory.draw()

    # ------------------------------------------------------------------ reading

    async def open(self) -> None:
        """First view: the job of the address, or for who reads jobs only their newest one, or the own log."""
        page = self.page
        self.draw()
        if self.asked.job or page.may("evidence.audit") or not page.may("intersection.jobs"):
            await asyncio.gather(self.load(), self._read_jobs())
        else:
            await self._read_jobs()
            if self.jobs and not self.asked.is_find:
                self.asked.job = str(self.jobs[0]["job"])
            await self.load()
        await self.laboratory.open()
        if page.may("ledger.anchors"):
            self.anchors = await page.run(page.client.call, "ledger.anchors")
            self.draw()
        page.refresh_every(REFRESH_S, self._look_again)

    async def _read_jobs(self) -> None:
        if self.page.may("intersection.jobs"):
            self.jobs = list((await self.page.run(self.page.client.intersection.jobs))["jobs"])
            if self.timeline is not None:
                self.draw()

    async def load(self) -> None:
        """Read what was asked for and show it; then check it, and show one entry beside it."""
        self._turn += 1
        turn = self._turn
        self.lanes.state = "loading"
        try:
            status, _ = await asyncio.gather(self.page.run(self.page.client.call, "node.status"), self._read(turn))
        except WorkbenchError as error:
            self.problem = error
            self.draw()
            raise
        if turn != self._turn:
            return  # something else was asked for meanwhile
        self.status = status
        self.draw()
        if self.asked.job and not self.asked.is_find:
            # The entry that matters most unless a check says otherwise: it is read while the others are checked.
            await asyncio.gather(self._check(turn), self._select(self._first_choice(), False))
        else:
            await self._check(turn)
        first = self._first_choice()
        if turn == self._turn and (self.selected != first or self.inspector.entry is None):
            await self._select(first, False)

    async def _read(self, turn: int) -> None:
        """The timeline or a page of hits, drawn as soon as it is here."""
        page, asked, depth = self.page, self.asked, self.asked.depth
        if asked.is_find:
            found = await page.run(page.client.evidence.search, limit=HITS, **asked.request())
            index: Reply | None = found["index"]
            if turn == self._turn:
                asked.understood(found)
            only_job = bool(asked.conditions) and not asked.pages and asked.exportable() == {"job": asked.conditions.get("job")}  # type: ignore[union-attr]
            if turn == self._turn and only_job:
                self.asked = Asked(job=str(found["asked"]["job"]))
                await self._read(turn)
                return
            timeline: Reply = {"entries": found["entries"], "one_sided": [], "more": bool(found["next"]), "total": index["size"] if index else 0}
        elif asked.job:
            # Pages that were loaded are read again too: their seals may have come meanwhile.
            found, index = None, self.index
            timeline = await page.run(read_story, page.client, asked.job, kind=asked.kind, pages=depth, limit=STORY_ROWS)
        else:
            found, index = None, self.index
            timeline = await self._read_log(asked)
        if turn == self._turn and depth == asked.depth:
            self.problem, self.timeline, self.found, self.index = None, timeline, found, index
            self.draw()

    async def _read_log(self, asked: Asked) -> Reply:
        """A page of a log; where runs of a routine fold, as many more entries as its rows have room for."""
        page, said = self.page, {"log": asked.log, "kind": asked.kind, "before": asked.before}
        timeline: Reply = await page.run(page.client.evidence.timeline, limit=PAGE_ROWS, **said)
        if asked.kind or not timeline["more"] or sum(one["kind"] in ROUTINE for one in timeline["entries"]) < LONG_ROUTINE:
            return timeline
        timeline = await page.run(page.client.evidence.timeline, limit=FOLDED_ROWS, **said)
        shown = newest_within(timeline["entries"], PAGE_ROWS)
        return {**timeline, "entries": shown, "more": timeline["more"] or len(shown) < len(timeline["entries"])}

    async def _check(self, turn: int) -> None:
        """Check what is shown: a job's entries at once, a log if it is small."""
        page, asked, timeline = self.page, self.asked, self.timeline
        if timeline is None or asked.is_find:
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
        self.check, self.took_s = found, time.monotonic() - began
        self.draw()
        await self._take_receipt(turn)
        self.draw()

    async def _take_receipt(self, turn: int) -> None:
        """The receipt of the job asked for. The one that is shown stays until then, and is never that of another job."""
        job, receipt = self._job(), None
        if job is not None and job["state"] == "RELEASED" and self.page.may("evidence.receipt"):
            try:
                receipt = await self.page.run(self.page.client.evidence.receipt, job=self.asked.job)
            except WorkbenchError as error:
                if is_offline(error):
                    raise
                receipt = None  # a damaged entry has no receipt; the answer says so already
        if turn == self._turn:
            self.receipt = receipt

    async def _look_again(self) -> None:
        """Follow what changes by itself: seals arrive, entries are added, a job goes on, an index grows."""
        if self.timeline is None or self.auditing:
            return
        asked, turn = self.asked, self._turn
        status = await self.page.run(self.page.client.call, "node.status")
        before, self.status = self.status, status
        self.board.draw(self) if "regulator" in self.page.me["me"]["roles"] else None
        same = before is not None and (before["sealed"], before["pending"]) == (status["sealed"], status["pending"])
        waiting = self.check is not None and (self.check["pending"] or self.timeline["one_sided"] or self._lacks_third())
        growing = asked.is_find and self.index is not None and self.index["covered"] != self.index["size"]
        if asked.is_find and (asked.pages or (same and not growing)):
            return
        if not asked.is_find and same and not (asked.job and waiting):
            return
        await self._read(turn)
        if asked.job and turn == self._turn:
            await self._check(turn)
        self.draw()

    def _lacks_third(self) -> bool:
        logs = self.check["logs"] if self.check else []
        return any(not one["valid"] for log in logs for one in log["signatures"])

    # ------------------------------------------------------------------ checking, exporting

    async def _run_audit(self) -> None:
        """Re-hash every body of this node, its mirrors' copies included; the person may stop it."""
        if self.auditing:
            return
        page, began = self.page, time.monotonic()
        self.auditing = True
        self.progress.heading = page.t("audit.running")
        self.progress.stays, self.progress.goes = page.t("audit.stays"), page.t("audit.goes")
        self.progress.cancel_label = page.t("audit.cancel")
        self.draw()
        try:
            self.audit, self.took_s = await self._run_long("evidence.audit", "tab.checking"), time.monotonic() - began
        except WorkbenchError as error:
            if error.code != "CANCELLED":
                raise
        finally:
            self.auditing = False
            self.draw()

    async def _export(self) -> None:
        """Build the evidence package of what is looked at, and let the browser save it."""
        wanted = self.asked.exportable()
        if self.exporting or wanted is None or not self.page.may("evidence.export"):
            return
        page = self.page
        self.exporting = True
        self.progress.heading = page.t("export.running")
        self.progress.stays, self.progress.goes = page.t("export.stays"), page.t("export.goes")
        self.progress.cancel_label = page.t("export.cancel")
        self.draw()
        try:
            made = await self._run_long("evidence.export", "tab.exporting", **wanted)
            page.download(str(made["download"]))
        except WorkbenchError as error:
            if error.code != "CANCELLED":
                raise
        finally:
            self.exporting = False
            self.draw()

    async def _run_long(self, operation: str, tab: str, **request: Any) -> Any:
        """Run a long operation with its progress above the page; the person may stop it."""
        page, began, board = self.page, time.monotonic(), self.board
        self._stop = False
        self.progress.cancelling = False
        told = {"done": 0, "total": 0, "zh": "", "en": ""}

        def progress(done: int, total: int, zh: str, en: str) -> None:
            told.update(done=done, total=total, zh=zh, en=en)  # read by `follow`, on the page's own thread

        def follow() -> None:
            done, total = int(str(told["done"])), int(str(told["total"]))
            self.progress.done, self.progress.total = done, max(total, 0)
            self.progress.phase = str(told[page.lang])
            board.later["progress"].visible = time.monotonic() - began > 1
            page.notify_lab(title=page.t(tab, share=f"{100 * done // total} %" if total else ""), running=True)

        stop = page.refresh_every(0.4, follow)
        try:
            return await page.run(page.client.call, operation, progress=progress, cancelled=lambda: self._stop, **request)
        finally:
            stop()
            board.later["progress"].visible = False

    # ------------------------------------------------------------------ what people do

    def _heard(self, name: str, payload: Mapping[str, Any]) -> None:
        """What the parts tell; whatever else a browser sends is nothing."""
        handlers: dict[str, tuple[Any, tuple[Any, ...]]] = {
            "find": (self._find, (payload,)),
            "drop": (self._drop, (str(payload.get("what", "")),)),
            "key": (self._key, (str(payload.get("key", "")),)),
            "act": (self._act, (str(payload.get("name", "")),)),
            "page": (self._turn_page, (str(payload.get("name", "")),)),
            "select": (self._select, (str(payload.get("id", "")), True)),
        }
        if name in handlers:
            handler, arguments = handlers[name]
            self.page.start(handler, *arguments)

    async def _find(self, payload: Mapping[str, Any]) -> None:
        words = str(payload.get("text", ""))[:120].strip()
        job = str(payload.get("job", ""))[:64]
        named = JOB.search(words)
        if named:
            job, words = named.group(), words.replace(named.group(), "").strip()
        log = str(payload.get("log", ""))
        known = {one[0] for one in (*self.page.me["parties"], *self.page.me.get("former", ()))}
        await self._ask(
            Asked(job=job, log=log if log in known else "", kind=str(payload.get("kind", ""))[:80], text=words)
        )

    async def _drop(self, what: str) -> None:
        if self.asked.is_find:
            await self._ask(self.asked.without(what))
        elif what == "job":
            await self._ask(Asked(log=self.asked.log, kind=self.asked.kind))

    async def _ask(self, asked: Asked) -> None:
        if asked.job != self.asked.job:
            self.check, self.receipt = None, None
        self.asked, self.selected = asked, ""
        self.opened.clear()
        await self.load()

    async def _turn_page(self, name: str) -> None:
        timeline, asked = self.timeline, self.asked
        if timeline is None or not timeline["entries"]:
            return
        if asked.is_find:
            if name == "older" and self.found is not None and self.found["next"]:
                asked.pages.append(str(self.found["next"]))
            elif name == "newer" and asked.pages:
                asked.pages.pop()
            elif name == "newest":
                asked.pages.clear()
        elif asked.job:
            await self._reach_back()
            return
        else:
            first, last = int(timeline["entries"][0]["index"]), int(timeline["entries"][-1]["index"])
            newer = last + 1 + PAGE_ROWS
            asked.before = {"older": first, "newer": newer if newer < timeline["total"] else None}.get(name)
        self.selected = ""
        await self.load()

    async def _reach_back(self) -> None:
        """Add the page before the oldest one that is shown of a job's story; what is chosen stays chosen."""
        page, asked, turn, timeline = self.page, self.asked, self._turn, self.timeline
        if timeline is None or self.reaching_back or not timeline["older"]:
            return
        self.reaching_back = True
        self.draw()
        try:
            before = await page.run(
                page.client.evidence.timeline, job=asked.job, kind=asked.kind, limit=STORY_ROWS, older=timeline["older"]
            )
            if turn == self._turn:
                asked.depth += 1
                self.timeline = join_pages(before, self.timeline or timeline)
        finally:
            self.reaching_back = False
            self.draw()

    async def _key(self, key: str) -> None:
        if key == "v":
            await self._act("audit" if self.page.may("evidence.audit") else "check")
        elif key == "Escape":
            await self._act("close")

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
            if "open" in self.board.side.css_classes:
                self.board.side.css_classes = []
                self.lanes.take_focus()
        elif name.startswith("shape:"):
            self.shape = name.removeprefix("shape:")
            self.draw()
        elif name == "stop":
            self._stop, self.progress.cancelling = True, True
        elif name == "export":
            await self._export()
        elif name == "first":
            await self._select(self._first_choice(), True)
        elif name == "print":
            self.bar.print_page()
        elif name == "open_evidence":
            await self._select(self._released() or self._first_choice(), True)
        elif name.startswith("log:"):
            await self._ask(Asked(log="" if name[4:] == self.words().own else name[4:]))
        elif name == "job_receipt" and self.receipt is not None:
            self.bar.offer_file(f"R{self.asked.job[1:]}.json", _json(self.receipt["receipt"]))
        elif entry is not None:
            await self._act_on_entry(name, entry)

    async def _act_on_entry(self, name: str, reply: Reply) -> None:
        entry = reply["entry"]
        if name == "verify":
            await self._verify(str(entry["log"]), int(entry["index"]))
        elif name == "receipt":
            self.bar.offer_file(self.inspector.file_name(entry), self.inspector.receipt_text())
        elif name == "job" and entry["job"] == self.asked.job and not self.asked.is_find:
            self.page.navigate("intersection", job=str(entry["job"]))
        elif name == "job":
            await self._ask(Asked(job=str(entry["job"])))
        elif name == "counterpart":
            there = self._other_record(place(entry))
            if there:
                await self._select(there, True)
            elif entry["job"] and (entry["job"] != self.asked.job or self.asked.is_find):
                self.selected, self.asked, self.check = place(entry), Asked(job=str(entry["job"])), None
                await self.load()
        elif name == "compare":
            comparison = await self.page.run(self.page.client.evidence.compare, log=entry["log"], index=entry["index"])
            self.inspector.show(reply, comparison)

    def _other_record(self, here: str) -> str:
        """Where the other record of a frame lies, as far as one of its two is shown; "" otherwise."""
        for one in self._entries():
            if place(one) == here:
                return str(one["counterpart"])
            if one["counterpart"] == here:
                return place(one)
        return ""

    async def _verify(self, log: str, index: int) -> None:
        """Everything about one entry once more, computed anew, and drawn from its body up to the co-signatures."""
        page = self.page
        reply = await page.run(page.client.evidence.entry, log=log, index=index)
        anchors: Reply | None = None
        if page.may("ledger.anchors") and reply["proof"]:
            anchors = await page.run(page.client.call, "ledger.anchors", log=log, size=int(reply["proof"]["size"]))
        if self.selected == f"{log}/{index}":
            self.inspector.show_path(reply, anchors)

    async def _select(self, chosen: str, by_person: bool) -> None:
        """Show one entry in the side column, open a run of frames, or say what a finding without a place means."""
        if chosen.startswith(RUN):
            self.opened.add(chosen)
            self.board.draw_story(self)
            return
        if chosen.startswith("finding:"):
            self._show_finding(chosen.removeprefix("finding:"))
            return
        log, _, index = chosen.rpartition("/")
        if not log or not index.isdigit():
            if not by_person:
                self.inspector.clear()
            return
        self.selected = chosen
        self.board.mark_row(self)
        self.inspector.loading()
        reply = await self.page.run(self.page.client.evidence.entry, log=log, index=int(index))
        comparison = None
        if reply["problem"] in ("EDITED", "DELETED", "UNREADABLE", "OPENING"):
            comparison = await self.page.run(self.page.client.evidence.compare, log=log, index=int(index))
        if self.selected != chosen:
            return
        self.inspector.show(reply, comparison)
        if by_person:
            self.board.side.css_classes = ["open"]
            self.inspector.head.take_focus()

    def _show_finding(self, number: str) -> None:
        """A finding about a tree, a head or the end of a log has no entry to open: the log it is about is shown instead."""
        findings = list(self.audit["findings"]) if self.audit else []
        if number.isdigit() and int(number) < len(findings):
            self.selected = ""
            self.board.mark_row(self)
            self.inspector.show_finding(findings[int(number)])
            self.board.side.css_classes = ["open"]
            self.inspector.head.take_focus()

    # ------------------------------------------------------------------ choosing

    def _entries(self) -> list[Reply]:
        return list(self.timeline["entries"]) if self.timeline else []

    def _job(self) -> Reply | None:
        return next((one for one in self.jobs if one["job"] == self.asked.job), None)

    def _released(self) -> str:
        own = self.words().own
        return next((place(one) for one in self._entries() if one["kind"] == "intersection.released" and one["log"] == own), "")

    def _first_choice(self) -> str:
        """What to show first: what was asked for, else what is wrong, else the release, else the newest."""
        entries = self._entries()
        changed = self.board.changed(self)
        wrong = [place(one) for one in entries if one["problem"] or place(one) in changed]
        if self.selected and (self.page.params.get("entry") == self.selected or not (wrong or changed)):
            return self.selected
        if not entries:
            return ""
        if wrong or changed:
            return self.selected if self.selected in (*wrong, *changed) else (wrong or sorted(changed))[0]
        newest = entries[0] if self.asked.is_find else entries[-1]
        return (self._released() if self.asked.job and not self.asked.is_find else "") or place(newest)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


__all__ = ["Asked", "EvidencePage"]
