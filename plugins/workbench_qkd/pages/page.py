"""The page Quantum channel: is the line sound, are there enough keys, what happened, and who has to decide."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.keys import Keys
from workbench.app.parts.notes import Notes
from workbench.errors import WorkbenchError
from workbench_qkd.pages import drawing
from workbench_qkd.pages.applications import Applications
from workbench_qkd.pages.assurance import Assurance
from workbench_qkd.pages.charges import Charges
from workbench_qkd.pages.devices import Devices
from workbench_qkd.pages.forms import LINE_ACTS, SITE_ACTS, steps
from workbench_qkd.pages.proposals import Proposals
from workbench_widgets import (
    AnswerStrip,
    AttackSlider,
    Badge,
    DataTable,
    KeyLife,
    LineChart,
    LineDiagram,
    PoolGauge,
    formats,
)
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
REFRESH_S = 2.0
ATTACKS = ("intercept-resend", "photon-number-splitting", "detector-blinding")


class ChannelPage:
    """One opened tab. `line=` names the line that is shown first."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.status: Reply | None = None
        self.blocks: Reply | None = None
        self.forecast: Reply | None = None
        self.sessions: Reply | None = None
        self.found_curve: Reply | None = None
        self.tested: Reply | None = None
        self.leak: Reply | None = None
        self.withdrawn: Reply | None = None
        self.chosen = page.params.get("line", "")
        self._drawing = False
        self.strip = AnswerStrip(state="loading")
        self.head = Notes(framed=False)
        self.badge = Badge(kind="simulated_qkd")
        self.badge_pane = pane(self.badge)
        self.choice = layout.select(page, "page.line", options={})
        self.choice.param.watch(lambda _event: None if self._drawing else page.start(self._choose), "value")
        self.diagram = LineDiagram(state="loading")
        self.chart = LineChart(state="loading")
        self.table = DataTable(page_size=8, state="loading")
        self.curve = LineChart(state="loading")
        self.gauge = PoolGauge(state="loading")
        self.life = KeyLife(state="loading")
        self.session_table = DataTable(page_size=6, state="loading")
        self.attack = AttackSlider(state="loading")
        self.attack.on_action(lambda _name, told: page.start(self._attack, told), "set")
        self.proposals = Proposals(page, self.refresh)
        self.charges = Charges(page, self.refresh)
        self.assurance = Assurance(page)
        self.devices = Devices(page, self.refresh)
        self.applications = Applications(page)
        self.acting = Acting(page, LINE_ACTS, self._acted)
        self.testing = Acting(page, SITE_ACTS, self._acted)
        self.told, self.limits, self.note, self.linked = Notes(), Notes(), Notes(framed=False), Notes()
        self.attack_pane = pane(self.attack)
        self.attack_pane.visible = False
        self.body = self._body()
        self.body.visible = False
        self.root = layout.stack(
            layout.first_line(self.head, self.badge_pane), pane(self.strip), self.choice, self.proposals.root, self.body, Keys(page, names=("rows", "escape"))
        )
        page.on_look(self.draw)

    def _body(self) -> Any:  # Any: Panel has no types
        main = layout.stack(pane(self.diagram), pane(self.chart), pane(self.table), self.charges.root, self.applications.root, self.devices.root, pane(self.curve), self.note)
        side = layout.stack(
            self.attack_pane, pane(self.gauge), pane(self.life), pane(self.session_table), self.linked, self.assurance.root, self.acting.root, self.testing.root, self.told, self.limits
        )
        return layout.split(main, side, side_px=400)

    async def open(self) -> None:
        """Read once, then again every few seconds; the curve once."""
        self.draw()
        await self.refresh()
        self.page.refresh_every(REFRESH_S, self.refresh)
        await self._read_curve()

    async def _read_curve(self) -> None:
        try:
            self.found_curve = await self.page.run(self.page.client.call, "qkd.curves")
        except WorkbenchError as error:
            self.curve.notice = {"sentence": error.zh if self.page.lang == "zh" else error.en, "code": error.code}
            self.curve.state = "failed"
            return
        self.draw()

    async def refresh(self) -> None:
        """Everything of the chosen line, side by side; what cannot be asked leaves the last values with a sentence above them."""
        page = self.page
        self.status = await page.run(page.client.call, "qkd.status")
        line = self.line
        if line is not None:
            name = line["line"]
            try:
                found = await asyncio.gather(
                    page.run(page.client.call, "qkd.blocks", line=name), page.run(page.client.call, "qkd.forecast", line=name),
                    page.run(page.client.call, "qkd.sessions", line=name),
                )  # fmt: skip
            except WorkbenchError as error:
                if self.blocks is None:
                    raise
                self._stale(error)
                return
            await self.charges.read(name)
            await self.assurance.read(name)
            await self.applications.read()
            if self.line is not None and self.line["line"] == name:
                self.blocks, self.forecast, self.sessions = found
        self.draw()

    def _stale(self, error: WorkbenchError) -> None:
        for shown in (self.chart, self.table, self.gauge):
            shown.notice = {"sentence": error.zh if self.page.lang == "zh" else error.en, "code": error.code}
            shown.state = "failed"

    @property
    def line(self) -> Reply | None:
        """The line that is shown: the chosen one, else the first."""
        lines = list(self.status["lines"]) if self.status else []
        found = next((one for one in lines if one["line"] == self.chosen), None)
        first: Reply | None = lines[0] if lines else None
        return found or first

    async def _choose(self) -> None:
        self.chosen = str(self.choice.value or "")
        self.blocks = self.forecast = self.sessions = None
        await self.refresh()

    async def _attack(self, told: Mapping[str, Any]) -> None:
        line = self.line
        if line is None or told.get("kind") not in ATTACKS:
            return
        self.attack.busy = True
        try:
            share = min(100, max(0, int(told.get("share", 0))))
            await self.page.run(self.page.client.call, "qkd.eavesdrop", line=line["line"], kind=told["kind"], fraction=share / 100)
        finally:
            self.attack.busy = False
        await self.refresh()

    async def _acted(self, operation: str, reply: Reply) -> None:
        if operation == "qkd.selftest":
            self.tested = reply
        if operation == "qkd.leak_report":
            self.leak = reply
        if operation in ("qkd.revoke", "qkd.rekey"):
            self.withdrawn = reply
        await self.refresh()

    # ------------------------------------------------------------------ drawing

    @property
    def _lang(self) -> formats.Lang:
        return "zh" if self.page.lang == "zh" else "en"

    def _word(self, prefix: str, code: str) -> str:
        """The sentence of a code; a code that a later entity brings stands for itself."""
        try:
            return self.page.t(f"{prefix}.{code}")
        except KeyError:
            return code

    def _party(self, site: str) -> str:
        known: dict[str, str] = {one: zh if self.page.lang == "zh" else en for one, zh, en in self.page.me["parties"]}
        return known.get(site, site)

    def draw(self) -> None:
        """Every text and picture from what is known now."""
        page, line = self.page, self.line
        for component in (self.strip, self.badge, self.diagram, self.chart, self.table, self.curve, self.gauge, self.life, self.session_table, self.attack):
            component.lang = page.lang
        subject = page.t("page.subject", line=line["line"], tenant=line["tenant"] or page.t("tenant.none"), policy=page.t(f"policy.{line['policy']}")) if line else ""
        meta = formats.time(self.status["now_ms"], self._lang) if self.status else ""
        self.head.tell(notes.head(page.t("page.title"), subject=subject, meta=meta))
        self.limits.tell(notes.heading(page.t("limits.title")), *(notes.text(page.t(f"limits.{n}"), meta=True) for n in ("hops", "bulk", "small", "simulated")))
        self.note.tell(notes.text(page.t("curve.note"), meta=True))
        self._draw_curve()
        if self.status is None:
            return
        with self.strip.at_once():
            self._draw_answer(self.status, line)
        self.proposals.draw(self.status["proposals"])
        self._draw_choice(self.status)
        self.body.visible = line is not None
        self.badge_pane.visible = line is not None
        if line is not None:
            self._draw_line(self.status, line)

    def _draw_answer(self, status: Reply, line: Reply | None) -> None:
        page, strip = self.page, self.strip
        made = drawing.verdict(status, line, self._lang)
        fields = dict(made.fields)
        strip.sentence, strip.code = page.t(f"answer.{made.key}", **fields), made.code
        strip.reason = page.t(f"answer.{made.key}.why", **fields) if made.state != "failed" or not status["problem_code"] else status[f"problem_{page.lang}"]
        strip.todo = page.t(f"todo.{made.todo}", **fields) if made.todo else ""
        demo = line is not None and line["eavesdropper_fraction"] > 0
        strip.badge = {"label": page.t("answer.demo"), "state": "simulated"} if demo else {}
        strip.state = made.state
        alarmed = made.state == "tampered"
        page.notify_lab(title=page.t("tab.alarm") if alarmed else "", running=False)

    def _draw_choice(self, status: Reply) -> None:
        names = [one["line"] for one in status["lines"]]
        self.choice.visible = len(names) > 1
        options = {self.page.t("page.line_of", line=one["line"], site=self._party(one["peer_site"])): one["line"] for one in status["lines"]}
        if options != self.choice.options:
            self._drawing = True
            layout.set_options(self.choice, options, self.line["line"] if self.line else None)
            self._drawing = False

    def _draw_line(self, status: Reply, line: Reply) -> None:
        page, t, lang = self.page, self.page.t, self._lang
        self.badge.kind, self.badge.label = drawing.BADGES.get(line["provenance"], "imported_key"), t(f"badge.{line['provenance']}")
        own, other = self._party(str(page.me["me"]["party"])), self._party(line["peer_site"])
        self._set(self.diagram, drawing.diagram(status, line, t, lang, own=own, other=other))
        self.gauge.heading, self.gauge.hint = t("pool.title"), t("pool.size")
        self._set(self.gauge, drawing.pool(line, self.forecast, t, lang))
        self.life.heading, self.life.hint = t("life.title"), t("life.hint")
        self._set(self.life, drawing.life(line, t))
        self._draw_blocks(status, line)
        self._draw_sessions(line)
        self._draw_link(status, line)
        self._draw_attack(line)
        waiting = any(one["act"] == "resume" and one["state"] == "OPEN" and one["line"] == line["line"] for one in status["proposals"])
        self.acting.offer(steps(held=bool(line["held_ms"]), alarmed=line["state"] == "alarm", waiting=waiting), line=line["line"])
        self.testing.offer([one.operation for one in SITE_ACTS])
        self.charges.draw()
        self.assurance.draw(status)
        self.devices.draw(status["devices"])
        self.applications.draw(status, self._party)
        self._draw_told()

    def _draw_blocks(self, status: Reply, line: Reply) -> None:
        t = self.page.t
        self.chart.heading, self.chart.hint = t("chart.title"), t("chart.hint")
        self.table.heading, self.table.notice = t("blocks.title"), {"sentence": t("blocks.none")}
        self.table.columns = drawing.block_columns(t)
        if self.blocks is None:
            return
        self._set(self.chart, drawing.chart(line, self.blocks, t, self._lang, now_ms=status["now_ms"]), empty=not self.blocks["blocks"])
        rows = drawing.block_rows(self.blocks, t, self._lang, self._word)
        self.table.hint = t("blocks.hint", count=formats.count(line["stock"].get("QUARANTINED", 0), self._lang))
        self._set(self.table, {"rows": rows, "total": len(rows)}, empty=not rows)

    def _draw_sessions(self, line: Reply) -> None:
        t = self.page.t
        table = self.session_table
        table.heading, table.notice = t("sessions.title"), {"sentence": t("sessions.none")}
        table.hint = t("sessions.hint", opened=line["opened"], refused=line["refused"])
        table.columns = [
            {"key": "at", "label": t("column.time"), "kind": "clock"}, {"key": "what", "label": t("column.what")},
            {"key": "state", "label": t("column.state"), "kind": "state"}, {"key": "told", "label": t("column.told")},
        ]  # fmt: skip
        if self.sessions is not None:
            rows = drawing.session_rows(self.sessions, t, self._word)
            self._set(table, {"rows": rows, "total": len(rows)}, empty=not rows)

    def _draw_link(self, status: Reply, line: Reply) -> None:
        """What the encrypted link of the sessions is, or would have to be."""
        t = self.page.t
        if not line["link_group"]:
            self.linked.tell(notes.heading(t("link.title")), notes.text(t("link.none", group=status["link_group"]), meta=True))
            return
        self.linked.tell(
            notes.heading(t("link.title"), line["link_version"]),
            notes.facts((t("link.group"), line["link_group"]), (t("link.suite"), line["link_suite"]), (t("link.peer"), f"{line['link_fingerprint'][:16]}…", "mono")),
        )

    def _draw_attack(self, line: Reply) -> None:
        t = self.page.t
        shown = line["demonstration"] and self.page.may("qkd.eavesdrop")
        self.attack_pane.visible = shown
        if shown:
            self.attack.heading = t("attack.title")
            choices = [{"kind": one, "label": t(f"attack.{one}"), "told": t(f"attack.{one}.told")} for one in ATTACKS]
            share = round(line["eavesdropper_fraction"] * 100)
            kind = line["eavesdropper_kind"] if line["eavesdropper_kind"] in ATTACKS else ATTACKS[0]
            self._set(self.attack, {"choices": choices, "kind": kind, "share": share, "warnings": [t("attack.unseen"), t("attack.small")]})

    def _draw_curve(self) -> None:
        t = self.page.t
        self.curve.heading, self.curve.hint = t("curve.title"), t("curve.hint")
        if self.found_curve is not None:
            self._set(self.curve, drawing.curves(self.found_curve, t))

    def _draw_told(self) -> None:
        t, lang = self.page.t, self._lang
        blocks = []
        if self.tested is not None:
            failed = [one["name"] for one in self.tested["tests"] if not one["passed"]]
            blocks.append(notes.text(t("test.failed", names="、".join(failed)) if failed else t("test.passed", count=len(self.tested["tests"])), tone="failed" if failed else "sealed"))
        if self.withdrawn is not None and not self.withdrawn["is_done"]:
            blocks.append(notes.text(t("revoke.not_done", why=self.withdrawn["problem_zh" if lang == "zh" else "problem_en"]), tone="refused"))
        if self.leak is not None:
            told = self.leak
            uses = [t("leak.use", time=formats.time(one["time_ms"], lang), purpose=one["purpose"], reference=one["reference"]) for one in told["uses"]]
            blocks += [
                notes.heading(t("leak.title"), told["key_id"][:8]),
                notes.facts((t("column.state"), told["state"]), (t("leak.origin"), t(f"origin.{told['provenance']}")), (t("leak.siblings"), str(told["siblings"]))),
                notes.bullets(uses) if uses else notes.text(t("leak.none"), meta=True),
            ]
        self.told.tell(*blocks)

    @staticmethod
    def _set(component: Any, traits: Mapping[str, Any], *, empty: bool = False) -> None:  # Any: one of the components
        """Assign what changed and show it, all at once."""
        with component.at_once():
            for name, value in traits.items():
                if getattr(component, name) != value:
                    setattr(component, name, value)
            component.state = "empty" if empty else "done"


__all__ = ["ChannelPage"]
