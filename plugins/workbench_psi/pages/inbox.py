"""The partner's inbox: what does the other side want, and shall I approve it?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench.errors import WorkbenchError
from workbench_psi.pages import rows, sidecards
from workbench_psi.pages.answers import Answer, Circumstances, answer_for
from workbench_psi.pages.names import CHIP_OF_STATE, NO_RESULT
from workbench_psi.pages.view import View, origin_badge
from workbench_psi.pages.wizard_terms import DEBOUNCE_S
from workbench_widgets import DataTable, RuleBuilder, TwoPersonAction, Waterfall, formats
from workbench_widgets.panel_pane import pane

POLL_S = 2.0
TABS = ("waiting", "own", "decided")
COMPARED = ("purpose", "key_kind", "minimum_crowd", "engine")
DAY_MS = 86_400_000
PERIOD_DAYS = 30
"""The span in which repeated proposals of one partner for one purpose are counted."""


class Inbox(View):
    """List on the left; the chosen proposal with everything its approver needs on the right."""

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self._jobs: list[Mapping[str, Any]] | None = None
        self._lists: list[Mapping[str, Any]] = []
        self._chosen = page.params.get("job", "")
        self._preview: Mapping[str, Any] | None = None
        self._refusal: WorkbenchError | None = None
        self._asked, self._counted_for, self._rule, self._drawing = 0, "", "", False
        self.head = Notes(framed=False)
        self.tab = layout.select(page, "inbox.show", options={})
        self.tab.param.watch(lambda _event: None if self._drawing else self._switch(), "value")
        self.table = DataTable(openable=True, page_size=10, state="loading")
        self.table.on_action(lambda _name, told: page.start(self.choose, str(told.get("id", ""))), "open")
        self.terms, self.changes, self.learns, self.risks, self.limits = Notes(), DataTable(), Notes(), Notes(), Notes()
        self.fall, self.decision, self.rule = Waterfall(state="loading"), TwoPersonAction(), RuleBuilder()
        self.decision.on_action(lambda _name, _told: page.start(self._approve), "confirm")
        self.decision.on_action(lambda _name, told: page.start(self._reject, str(told.get("reason", ""))), "decline")
        self.rule.on_action(lambda _name, told: self._ruled(told), "rule")
        self._own_title, self._no_title = Notes(framed=False), Notes(framed=False)
        self.no_reason = layout.field(pn.widgets.TextAreaInput, page, "decision.reason", rows=2)
        self._no = layout.card(self._no_title, self.no_reason, layout.button(page, "decision.reject", self._say_no))
        self.list_choice = layout.select(page, "inbox.list", options={})
        self.list_choice.param.watch(lambda _event: None if self._drawing else page.start(self._another_list), "value")
        self.columns = layout.ticks(page, "inbox.columns")
        self._columns_title = Notes(framed=False)
        self._own = layout.card(self._own_title, self.list_choice, self._columns_title, self.columns)
        self._changes, self._fall, self._decision, self._rule_pane = pane(self.changes), pane(self.fall), pane(self.decision), pane(self.rule)
        first = layout.first_line(self.head, origin_badge(page))
        self._detail = layout.stack(layout.split(
            layout.stack(self._own, self._fall, self._rule_pane, self.learns, self._changes),
            layout.stack(self._decision, self._no, self.terms, self.risks, self.limits), side_px=380, from_px=900, side_up=True,
        ))  # fmt: skip
        self._list = layout.stack(layout.card(self.tab), pane(self.table))
        self.root = layout.stack(first, pane(self.strip), layout.split(
            self._detail, self._list, side_px=380, side_first=True, drawer=(page, "drawer.proposals")
        ))  # fmt: skip

    # ------------------------------------------------------------------ reading

    async def open(self) -> None:
        page = self.page
        self._lists = list((await page.run(page.client.call, "lists.all")).lists) if page.may("lists.all") else []
        await self._read()
        self.every(POLL_S, self._read)

    async def _read(self) -> None:
        page = self.page
        self._jobs = list((await page.run(page.client.call, "intersection.jobs")).jobs)
        if not self._chosen and self._of("waiting"):
            self._chosen = str(self._of("waiting")[0]["job"])
        self.draw()
        job = self._job()
        if job and job["job"] != self._counted_for and self._decides(job):
            await self._count(job)

    def _of(self, tab: str) -> list[Mapping[str, Any]]:
        jobs = self._jobs or []
        if tab == "own":
            return [job for job in jobs if job["side"] == "initiator"]
        theirs = [job for job in jobs if job["side"] == "partner"]
        return [job for job in theirs if (job["state"] == "PROPOSED") == (tab == "waiting")]

    def _job(self) -> Mapping[str, Any] | None:
        return next((job for job in self._jobs or [] if job["job"] == self._chosen), None)

    def _decides(self, job: Mapping[str, Any]) -> bool:
        return bool(job["side"] == "partner" and job["state"] == "PROPOSED" and self.page.may("intersection.preview"))

    async def choose(self, job: str) -> None:
        """Show another proposal."""
        self._uncounted()
        self._chosen, self._counted_for, self._rule = job, "", ""
        self.rule.tree, self.rule.rule, self.rule.free = {"join": "and", "items": []}, "", False
        self.draw()
        self.strip.take_focus()
        await self._read()

    def _switch(self) -> None:
        first = self._of(str(self.tab.value))
        if first:
            self.page.start(self.choose, str(first[0]["job"]))
        self.draw()

    async def _another_list(self) -> None:
        self._uncounted()
        self._rule, self.rule.tree, self.rule.rule = "", {"join": "and", "items": []}, ""
        self.draw()
        job = self._job()
        if job:
            await self._count(job)

    def _uncounted(self) -> None:
        """What was counted holds no longer and a count under way is not heard: nothing is approved beside another choice's numbers."""
        self._asked += 1
        self._preview, self._refusal, self.fall.state = None, None, "loading"

    def _ruled(self, told: Mapping[str, Any]) -> None:
        rule = str(told.get("rule", "")).strip()
        self._uncounted()
        self._rule = "" if rule == "*" else rule
        self.draw()
        job = self._job()
        if job:
            self.page.start(self._count, job)

    async def _count(self, job: Mapping[str, Any]) -> None:
        """What our side would bring in with the chosen list, a moment after the last change."""
        page = self.page
        self._asked += 1
        mine, self._counted_for = self._asked, str(job["job"])
        await asyncio.sleep(DEBOUNCE_S)
        list_id = str(self.list_choice.value or "")
        if mine != self._asked or not list_id:
            return
        try:
            seen = await page.run(page.client.call, "lists.audience", list_id=list_id, rule="") if page.may("lists.audience") else None
            preview = await page.run(page.client.call, "intersection.preview", job=job["job"], list_id=list_id, audience=self._rule)
            refusal = None
        except WorkbenchError as error:
            if error.exit_status != 2:
                if mine == self._asked:
                    self._counted_for = ""  # counted again with the next reading
                raise
            seen, preview, refusal = None, None, error
        if mine != self._asked:
            return
        self._preview, self._refusal = preview, refusal
        if seen:
            chosen = next((one for one in self._lists if one["list_id"] == list_id), None)
            columns = rows.rule_columns(seen["tags"], chosen["tags"] if chosen else [], self.t)
            if self.rule.columns != columns:
                self.rule.columns = columns
        self.draw()

    async def key(self, key: str) -> None:
        """v: where the shown proposal's evidence is verified."""
        if key == "v" and self._chosen and self.page.may("evidence.timeline"):
            self.page.navigate("evidence", job=self._chosen)

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        t = self.t
        if self._jobs is None:
            return
        self.head.tell(notes.head(t("inbox.title"), meta=t("page.zone")))
        self._draw_list()
        job = self._job()
        self._detail.visible = job is not None
        waiting = self._of("waiting")
        self.page.notify_lab(title=t("tab.inbox", count=len(waiting)) if waiting else "", running=False)
        if job is None:
            if self._chosen:
                self.answer(Answer("refused", t("inbox.unknown"), t("inbox.unknown_reason"), code="NO_JOB"))
            else:
                self.answer(Answer("info", t("inbox.nothing"), t("inbox.nothing_reason")))
            return
        self.answer(self._answer(job))
        self._draw_decision(job)
        self._draw_detail(job)
        self._draw_ask(job)

    def _draw_ask(self, job: Mapping[str, Any]) -> None:
        """Who asks for what: the terms, what is asked of us, and the columns, which never cross."""
        t, names, partner = self.t, self.names, self.names.party(job["partner"])
        blocks = sidecards.contract(job, names, t)
        if self._decides(job):
            preview = self._preview
            blocks += [
                notes.facts(
                    (t("ask.columns"), t("ask.columns_value", partner=partner)),
                    (t("ask.budget"), sidecards.budget(preview, t) if preview else ""),
                    (t("ask.list"), str(preview["list_name"]) if preview else ""),
                    (t("ask.size"), t("contract.people", count=formats.count(preview["customers"])) if preview else ""),
                ),
                notes.text(t("ask.export", partner=partner), meta=True),
            ]
        self.terms.tell(*blocks)

    def _draw_list(self) -> None:
        t, names = self.t, self.names
        self.look(self.table)
        self._drawing = True
        counts = {tab: len(self._of(tab)) for tab in TABS}
        layout.set_options(self.tab, {t(f"inbox.tab_{tab}", count=counts[tab]): tab for tab in TABS}, self._tab_of(self._job()))
        self._drawing = False
        jobs = self._of(str(self.tab.value or "waiting"))
        self.table.heading = ""
        self.table.columns = [
            {"key": "with", "label": t("history.with"), "kind": "party"}, {"key": "job", "label": t("history.job"), "kind": "mono"},
            {"key": "state", "label": t("history.state"), "kind": "state"},
        ]  # fmt: skip
        shown = [
            {
                "id": job["job"], "with": names.tile(job["partner"]), "job": formats.short_id(job["job"]),
                "state": {"state": CHIP_OF_STATE.get(job["state"], "neutral"), "label": t(f"state.{job['state']}")},
            }
            for job in jobs
        ]  # fmt: skip
        if self.table.rows != shown:
            self.table.rows, self.table.total = shown, len(shown)
        self.table.state, self.table.notice = ("done", {}) if shown else ("empty", {"sentence": t("inbox.none_here")})

    def _tab_of(self, job: Mapping[str, Any] | None) -> str:
        if job is None:
            return str(self.tab.value or "waiting")
        return next(tab for tab in TABS if any(one["job"] == job["job"] for one in self._of(tab)))

    def _answer(self, job: Mapping[str, Any]) -> Answer:
        t, names = self.t, self.names
        partner, purpose = names.party(job["partner"]), names.purpose(job["purpose"])
        if job["side"] == "partner" and job["state"] == "PROPOSED":
            if job["valid_until_ms"] <= time.time() * 1000:
                return Answer("refused", t("inbox.expired", partner=partner), t("answer.nothing_happened"), code="EXPIRED")
            if self._too_wide(job):
                return Answer("refused", *self._wide_words(job), code=self._wide_code())
            if self._preview is None:
                return Answer("pending", t("inbox.wants_short", partner=partner, purpose=purpose), t("inbox.counting"))
            count, floor = formats.count(self._preview["customers"]), formats.count(job["minimum_crowd"])
            sentence = t("inbox.wants", partner=partner, purpose=purpose, count=count, floor=floor)
            return Answer("pending", sentence, t("inbox.wants_reason"), t("inbox.wants_todo" if self.page.may("intersection.approve") else "inbox.not_approver"))
        around = Circumstances(now_ms=int(time.time() * 1000), may=lambda _operation: False)
        return answer_for(job, names, t, around)

    def _too_wide(self, job: Mapping[str, Any]) -> bool:
        """Whether what is asked exceeds what our customers consented to; the node refuses the approval in any case."""
        preview = self._preview
        return self._refusal is not None or (preview is not None and preview["customers"] < max(1, job["minimum_crowd"]))

    def _wide_code(self) -> str:
        if self._refusal:
            return self._refusal.code
        return "TOO_FEW_CUSTOMERS" if self._preview and self._preview["customers"] else "NO_CONSENT"

    def _wide_words(self, job: Mapping[str, Any]) -> tuple[str, str, str]:
        t, names = self.t, self.names
        if self._refusal:
            return (self._refusal.zh if names.lang == "zh" else self._refusal.en, t("inbox.wide_reason"), t("inbox.wide_todo"))
        assert self._preview is not None  # _too_wide said so
        sentence = t(
            "inbox.wide", purpose=names.purpose(job["purpose"]), partner=names.party(job["partner"]),
            count=formats.count(self._preview["customers"]), floor=formats.count(job["minimum_crowd"]),
        )  # fmt: skip
        return sentence, t("inbox.wide_reason"), t("inbox.wide_todo")

    def _draw_decision(self, job: Mapping[str, Any]) -> None:
        t, names = self.t, self.names
        self.look(self.decision)
        own = job["side"] == "initiator"
        partner, mine = names.party(job["partner"]), names.party(names.own)
        asker = names.own if own else job["partner"]
        self.decision.heading = t("decision.title")
        self.decision.asked_by = {
            **names.tile(asker), "name": job["proposed_by"] or names.party(asker), "role": t("decision.marketing"), "party_name": names.party(asker),
            "at_ms": job["created_ms"],
        }  # fmt: skip
        self.decision.confirm_role = t("decision.role", party=partner if own else mine)
        customers = formats.count(self._preview["customers"]) if self._preview else t("word.unknown")
        lines = [
            t("decision.line_1", partner=partner, purpose=names.purpose(job["purpose"]), key=t(f"field.{job['key_kind']}"), floor=formats.count(job["minimum_crowd"])),
            t("decision.line_own", partner=partner) if own else t("decision.line_2", count=customers, partner=partner),
        ]
        self.decision.changes = lines
        self.decision.expires_ms = job["valid_until_ms"]
        may = self.page.may("intersection.approve") and self._decides(job) and not self._too_wide(job) and self._preview is not None
        self.decision.viewer = "asker" if own else "confirmer" if may else "reader"
        state = str(job["state"])
        outcome = "open" if state == "PROPOSED" else "expired" if state == "EXPIRED" else "declined" if state in ("REJECTED", "WITHDRAWN") else "confirmed"
        if state in NO_RESULT and not job["attempt"] and state in ("CANCELLED", "ABORTED"):
            outcome = "declined"
        self.decision.outcome = outcome
        self.decision.confirm_label, self.decision.decline_label = t("decision.approve"), t("decision.reject")
        # Who sees that too much is asked cannot approve, but can still say no.
        self._no.visible = self._decides(job) and self._too_wide(job) and self.page.may("intersection.reject")
        self._decision.visible = not self._no.visible
        self._no_title.tell(notes.heading(t("decision.blocked")), notes.bullets([*lines, t("decision.node_refuses")]))

    def _draw_detail(self, job: Mapping[str, Any]) -> None:
        t, names = self.t, self.names
        decides = self._decides(job)
        self._own.visible = self._rule_pane.visible = decides
        self._fall.visible = decides or bool(job["waterfall"])
        self.look(self.fall, self.rule, self.changes)
        if decides:
            self._own_title.tell(notes.heading(t("inbox.our_list"), t("inbox.our_list_hint")))
            self._drawing = True
            layout.set_options(self.list_choice, {t("list.option", name=one["name"], count=formats.count(one["rows"])): one["list_id"] for one in self._lists})
            self._drawing = False
            chosen = next((one for one in self._lists if one["list_id"] == self.list_choice.value), None)
            tags = list(chosen["tags"]) if chosen else []
            if self.columns.options != tags:
                self.columns.param.update(options=tags, value=[one for one in self.columns.value if one in tags])
            self._columns_title.tell(notes.text(t("inbox.columns")), notes.text(t("inbox.columns_hint", partner=names.party(job["partner"])), meta=True))
            self.rule.heading, self.rule.hint = t("inbox.narrow"), t("inbox.narrow_hint")
            self.fall.heading = t("inbox.our_consent")
            if self._preview:
                self.fall.state = "done"
                self.fall.rows = rows.waterfall_rows(self._preview["waterfall"], names, job["partner"], t)
            elif self._refusal:
                self.fall.state, self.fall.notice = "empty", {"sentence": t("audience.no_waterfall")}
        elif job["waterfall"]:
            self.fall.state, self.fall.heading = "done", t("waterfall.before")
            self.fall.rows = rows.waterfall_rows(job["waterfall"], names, job["partner"], t)
        preview, zh = self._preview, names.lang == "zh"
        if preview:
            self.learns.tell(*sidecards.who_learns(preview["learns_zh" if zh else "learns_en"], preview["security_zh" if zh else "security_en"], job["partner"], names, t))
        else:
            engine = sidecards.declared(job, names)
            self.learns.tell(*(sidecards.who_learns(engine["learns"], engine["security"], job["partner"], names, t) if engine else []))
        self._draw_changes(job)
        self._draw_risks(job)
        self.limits.tell(*sidecards.not_promised(t, workspace=self.page.me["workspace"]))

    def _earlier(self, job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        same = [one for one in self._jobs or [] if one["partner"] == job["partner"] and one["side"] == job["side"] and one["created_ms"] < job["created_ms"]]
        return sorted(same, key=lambda one: -int(one["created_ms"]))

    def _draw_changes(self, job: Mapping[str, Any]) -> None:
        """What differs from the last proposal of the same institution."""
        t, names, earlier = self.t, self.names, self._earlier(job)
        self._changes.visible = job["side"] == "partner"
        self.changes.heading = t("compare.title")
        if not earlier:
            self.changes.state, self.changes.notice = "empty", {"sentence": t("compare.first", partner=names.party(job["partner"]))}
            return
        last = earlier[0]
        self.changes.hint = t("compare.hint", job=formats.short_id(last["job"]), time=formats.time(last["created_ms"]))
        self.changes.columns = [
            {"key": "term", "label": t("compare.term")}, {"key": "was", "label": t("compare.was")}, {"key": "now", "label": t("compare.now")},
            {"key": "same", "label": "", "kind": "state"},
        ]  # fmt: skip
        shown = []
        for name in COMPARED:
            was, now = self._term(last, name), self._term(job, name)
            same = {"state": "neutral", "label": t("compare.same")} if was == now else {"state": "pending", "label": t("compare.differs")}
            shown.append({"term": t(f"compare.{name}"), "was": was, "now": now, "same": same})
        self.changes.rows, self.changes.total, self.changes.state = shown, len(shown), "done"

    def _term(self, job: Mapping[str, Any], name: str) -> str:
        value = job[name]
        if name == "purpose":
            return self.names.purpose(str(value))
        if name == "key_kind":
            return self.t(f"field.{value}")
        return formats.count(value) if name == "minimum_crowd" else str(value)

    def _draw_risks(self, job: Mapping[str, Any]) -> None:
        t, names = self.t, self.names
        since = int(job["created_ms"]) - PERIOD_DAYS * DAY_MS
        again = [one for one in self._earlier(job) if one["purpose"] == job["purpose"] and one["created_ms"] > since]
        told = []
        if again:
            told.append(t("risk.again", partner=names.party(job["partner"]), count=len(again), days=PERIOD_DAYS))
        chosen = next((one for one in self._lists if one["list_id"] == self.list_choice.value), None)
        if self._decides(job) and chosen and chosen["lawful_basis"] != "consent":
            told.append(t("risk.basis", name=chosen["name"]))
        if self._decides(job) and self._preview and self._preview["near_duplicates"]:
            nearest = self._preview["near_duplicates"][0]
            told.append(t("risk.near", job=nearest["job"], share=formats.share(nearest["share"]), partner=names.party(job["partner"])))
        if self._decides(job) and self._preview and self._preview["attempts_left"] <= self._preview["attempts_limit"] // 10:
            told.append(t("risk.budget", left=formats.count(self._preview["attempts_left"])))
        if self._decides(job) and self._preview and self._preview["customers"] < 2 * job["minimum_crowd"]:
            told.append(t("risk.small"))
        told = told or [t("risk.none")]
        self.risks.tell(notes.heading(t("risk.title")), notes.bullets(told, mark="warn" if told != [t("risk.none")] else "dot"))

    # ------------------------------------------------------------------ deciding

    async def _approve(self) -> None:
        """Hand the approval to the node's own page, where the approver gives a fresh password."""
        job = self._job()
        if job is None or self._preview is None:  # pressed on numbers that have just gone; the strip says that it counts
            return
        request = {"job": job["job"], "list_id": str(self.list_choice.value or ""), "audience": self._rule, "columns": list(self.columns.value)}
        await self.page.confirm("intersection.approve", request, self._decided)

    async def _decided(self, state: str, reply: Any) -> None:
        if state == "refused" and isinstance(reply, Mapping):
            from workbench.errors import Refused

            self.page.report(Refused(str(reply.get("zh", "")), str(reply.get("en", "")), code=str(reply.get("code", ""))))
        await self._read()
        self.strip.take_focus()

    async def _say_no(self) -> None:
        await self._reject(str(self.no_reason.value_input or self.no_reason.value).strip())

    async def _reject(self, reason: str) -> None:
        page, job = self.page, self._job()
        if job is None or not reason:
            return
        await page.run(page.client.call, "intersection.reject", job=job["job"], reason=reason)
        await self._read()
        self.strip.take_focus()
