"""Section Notices: versions and what waits for a second person, and an editor with what is missing beside the text."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench.errors import WorkbenchError
from workbench_consent.pages.notice_form import NoticeForm
from workbench_consent.pages.section import Section, typed
from workbench_widgets import DataTable
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
CHIPS = {"PROPOSED": "pending", "PUBLISHED": "sealed", "REJECTED": "refused", "RETIRED": "neutral"}
PAUSE_S = 0.8
"""After the last key before the text is checked and kept."""


class Notices(Section):
    """Everybody who may read notices sees versions; compliance writes, and another person publishes."""

    name = "notices"
    operation = "notices.list"

    def __init__(self, page: PageContext) -> None:
        super().__init__(page)
        self.found: Reply | None = None
        self.checked: Reply | None = None
        self.shown: Reply | None = None
        self.saved_ms = 0
        self._turn = 0
        self._drawing = False
        self.table = DataTable(page_size=12, state="loading")
        self.table.on_action(lambda _name, told: page.start(self._act, str(told.get("id", "")), str(told.get("name", ""))), "act")
        self.key = layout.field(pn.widgets.TextInput, page, "notice.key", value="joint-service")
        self.write = layout.button(page, "notice.write", self._write)
        self.sample = layout.button(page, "notice.sample", self._sample)
        self.reason = layout.field(pn.widgets.TextInput, page, "notice.reason")
        self.form = NoticeForm(page, self._typed)
        self.confirm = layout.ticks(page, "notice.confirm")
        self.propose = layout.button(page, "notice.propose", self._propose, primary=True)
        self.findings, self.changes, self.preview = Notes(), Notes(framed=False), Notes()
        side = layout.stack(self.findings, layout.card(self.changes, self.confirm, layout.buttons(self.propose)))
        self.editor = layout.stack(layout.split(self.form.root, side, side_px=420))  # a grid itself cannot be hidden
        self.editor.visible = False
        self.start = layout.card(layout.fields(self.key, self.reason), layout.buttons(self.write, self.sample))
        self.root = layout.stack(pane(self.table), self.start, self.preview, self.editor)

    async def read(self) -> None:
        page = self.page
        self.found = await page.run(page.client.call, "notices.list")
        self.draw()

    # ------------------------------------------------------------------ versions

    async def _act(self, row: str, wanted: str) -> None:
        """A button of a row: look at it, or publish, reject or retire it by a fresh password."""
        one = next((v for v in self.found["rows"] if _row_id(v) == row), None) if self.found else None
        if one is None:
            return
        page, named = self.page, {"notice": one["notice"], "version": one["version"]}
        if wanted == "show":
            self.shown = await page.run(page.client.call, "notices.render", language=page.lang, **named)
            self.draw()
            self.preview.take_focus()
        elif wanted == "publish":
            await page.confirm("notices.publish", {**named, "digest": one["digest"]}, self._decided)
        elif wanted in ("reject", "retire"):
            await page.confirm(f"notices.{wanted}", {**named, "reason": typed(self.reason)}, self._decided)

    async def _decided(self, state: str, reply: Any) -> None:  # Any: the operation's reply or an error
        await self.read()

    # ------------------------------------------------------------------ editor

    async def _write(self) -> None:
        """Go on with my draft of this key, else begin with the newest version, else with an empty form."""
        page, key = self.page, typed(self.key)
        drafts = self.found["drafts"] if self.found else []
        try:
            got = await page.run(page.client.call, "notices.get", notice=key, draft=key in drafts)
            content = got["content"]
        except WorkbenchError as error:
            if error.code != "NO_NOTICE":
                raise
            content = {}
        await self._edit(content)

    async def _sample(self) -> None:
        """Begin with the sample text, to be rewritten: it says nothing about this institution."""
        await self._edit((await self.page.run(self.page.client.call, "notices.sample"))["content"])

    async def _edit(self, content: Mapping[str, Any]) -> None:
        self._drawing = True
        self.form.fill(content)
        self._drawing = False
        self.editor.visible = True
        await self._check()

    def _typed(self) -> None:
        if not self._drawing:
            self._turn += 1
            self.page.start(self._soon, self._turn)

    async def _soon(self, turn: int) -> None:
        await asyncio.sleep(PAUSE_S)
        if turn == self._turn:
            await self._check(save=True)

    async def _check(self, *, save: bool = False) -> None:
        """What is still missing, and what differs from the published version; the draft is kept by the way."""
        page, request = self.page, {"notice": typed(self.key), "content": self.form.content()}
        try:
            if save and page.may("notices.draft_save"):
                self.saved_ms = int((await page.run(page.client.call, "notices.draft_save", **request))["saved_ms"])
            checked = await page.run(page.client.call, "notices.lint", **request)
        except WorkbenchError as error:
            if error.exit_status != 2:
                raise
            # What cannot become a version at all, such as two lines for one purpose and recipient, is told in the same place.
            self.findings.tell(notes.text(error.zh if page.lang == "zh" else error.en, tone="refused"))
            self.propose.disabled = True
            return
        fresh = self.checked is None or self.checked["must_confirm"] != checked["must_confirm"]
        self.checked = checked
        if fresh:
            self.confirm.value = []
        self.draw()

    async def _propose(self) -> None:
        page = self.page
        await page.run(
            page.client.call, "notices.propose", notice=typed(self.key), content=self.form.content(), confirm=list(self.confirm.value)
        )
        self.editor.visible = False
        self.checked = None
        await self.read()

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        t, found = self.t, self.found
        self.look(self.table)
        self._drawing = True
        self.form.draw(self.words)
        self._drawing = False
        self.start.visible = self.page.may("notices.propose") or self.page.may("notices.reject")
        self.write.visible = self.key.visible = self.page.may("notices.propose")
        self.sample.visible = self.page.may("notices.propose") and self.page.may("notices.sample")
        if found is None:
            return
        self._draw_versions(found)
        self._draw_preview()
        self._draw_checked()
        self.table.notice = {"sentence": t("notice.none")}

    def _draw_versions(self, found: Reply) -> None:
        t, words, page = self.t, self.words, self.page
        self.table.heading = t("notice.title")
        self.table.hint = t("notice.drafts", names="、".join(found["drafts"])) if found["drafts"] else ""
        self.table.row_actions = [{"name": one, "label": t(f"notice.{one}")} for one in ("show", "publish", "reject", "retire")]
        self.table.columns = [
            {"key": "notice", "label": t("notice.name")}, {"key": "version", "label": t("notice.version"), "kind": "count"},
            {"key": "state", "label": t("notice.state"), "kind": "state"}, {"key": "from", "label": t("notice.from"), "kind": "time"},
            {"key": "people", "label": t("notice.people")}, {"key": "digest", "label": t("notice.digest"), "kind": "digest"},
        ]  # fmt: skip
        rows = []
        for one in found["rows"]:
            can = ["show"]
            if one["state"] == "PROPOSED":
                can += [name for name in ("publish", "reject") if page.may(f"notices.{name}")]
            elif one["state"] == "PUBLISHED" and page.may("notices.retire"):
                can.append("retire")
            label = t(f"notice_state.{one['state']}") + (t("notice.offered") if one["offered"] else "")
            people = t("notice.two", proposed=one["proposed_by"], decided=one["decided_by"] or "—")
            rows.append(
                {
                    "id": _row_id(one), "notice": words.both(one["title"]) or one["notice"], "version": one["version"],
                    "state": {"state": CHIPS.get(one["state"], "neutral"), "label": label}, "from": one["effective_ms"],
                    "people": people, "digest": {"algorithm": "SM3", "hex": one["digest"]}, "can": can,
                }
            )  # fmt: skip
        self.table.rows, self.table.total = rows, len(rows)
        self.table.state = "done" if rows else "empty"

    def _draw_preview(self) -> None:
        """The three layers as the customer is shown them; text only."""
        t, words, shown = self.t, self.words, self.shown
        if shown is None:
            self.preview.tell()
            return
        switches = [t("notice.switch", label=words.both(one["label"]), detail=words.both(one["detail"])) for one in shown["switches"]]
        closing = [(words.both(one["label"]), words.both(one["text"])) for one in shown["closing"]]
        self.preview.tell(
            notes.heading(words.both(shown["title"]), t("notice.preview", version=shown["version"])),
            notes.text(words.both(shown["summary"])),
            notes.bullets(switches, title=t("notice.switches"), mark="dot"),
            notes.facts(*closing),
        )

    def _draw_checked(self) -> None:
        t, words, checked = self.t, self.words, self.checked
        self.propose.visible = self.page.may("notices.propose")
        if checked is None:
            return
        errors = [one for one in checked["findings"] if one["level"] == "error"]
        remarks = [one for one in checked["findings"] if one["level"] != "error"]
        said = [self._finding(one) for one in errors]
        saved = t("notice.saved", time=words.time(self.saved_ms)) if self.saved_ms else ""
        head = notes.heading(t("notice.missing", count=len(errors)) if errors else t("notice.complete"), saved)
        blocks = [head]
        if said:
            blocks.append(notes.bullets(said, mark="no", tone="refused"))
        if remarks:
            blocks.append(notes.bullets([self._finding(one) for one in remarks], title=t("notice.remarks"), mark="warn"))
        self.findings.tell(*blocks, notes.text(t("notice.not_advice"), meta=True))
        told = [
            t("notice.change", what=words.both(one), mark=t("notice.material") if one["material"] else "") for one in checked["changes"]
        ]
        self.changes.tell(
            notes.heading(t("notice.changes", version=checked["version"])),
            *([notes.bullets(told, mark="dot")] if told else [notes.text(t("notice.first" if checked["version"] == 1 else "notice.same"), meta=True)]),
        )
        asked = [one for one in checked["changes"] if one["material"] or one["optional"]]
        options = {t("notice.needs_anew", what=words.both(one)): one["id"] for one in asked}
        kept = [one for one in self.confirm.value if one in options.values()]
        self.confirm.param.update(options=options, value=kept, visible=bool(options))
        self.propose.disabled = not checked["complete"]

    def _finding(self, one: Reply) -> str:
        return self.t("notice.finding", what=self.words.both(one), field=one["field"], article=one["article"])


def _row_id(one: Reply) -> str:
    return f"{one['notice']}/{one['version']}"


__all__ = ["Notices"]
