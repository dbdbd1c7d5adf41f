"""Steps 1 and 2: which list, where it comes from, and how good it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench.app.parts.upload import LIMIT_BYTES, Upload
from workbench.errors import WorkbenchError
from workbench_psi.pages import rows, sidecards
from workbench_psi.pages.answers import Answer
from workbench_psi.pages.names import Names
from workbench_widgets import DataTable, KeyNumbers, ProgressCancel, RejectsTable, formats
from workbench_widgets.panel_pane import pane

FIELDS = ("customer_id", "phone", "id_no", "name", "risk_level")
DATA_CLASSES = ("C1", "C2", "C3")
LAWFUL_BASES = ("consent", "contract", "legal-duty", "public-health", "news", "public-information", "other-law")
ENTRY_FIELDS = ("name", "owner", "source", "subjects", "method")
MAX_SHOWN_REJECTS = 100_000
"""Up to so many refused rows are fetched into the page; a longer list goes straight to the browser."""
AUTOMATIC = "\x00"
"""Value of a field's choice that leaves the decision to the node."""


@dataclass(slots=True)
class Draft:
    """What a person has chosen so far. chosen: the catalogue entry in use; file: a file that is not imported yet."""

    chosen: Mapping[str, Any] | None = None
    file: Mapping[str, Any] | None = None
    mapping: dict[str, str] = field(default_factory=dict)
    imported: Mapping[str, Any] | None = None
    rule: str = ""
    columns: list[str] = field(default_factory=list)
    minimum_crowd: int = 50
    timeout_min: int = 10


class ListStep:
    """Choose a list of the catalogue, or bring a file and declare it."""

    def __init__(self, page: PageContext, draft: Draft, changed: Callable[[], None]) -> None:
        self._page, self._draft, self._changed = page, draft, changed
        self._lists: list[Mapping[str, Any]] = []
        self._sending = ""
        self._title, self._facts, self._upload_title, self._file, self._entry_title = (Notes(framed=False) for _ in range(5))
        self.choice = layout.select(page, "list.choose", options={})
        self.choice.param.watch(self._chosen, "value")
        self.upload = Upload(lambda name, content: page.start(self._take, name, content), self._too_large)
        self.sheet = layout.select(page, "list.sheet", options={}, visible=False)
        self.sheet.param.watch(lambda _event: page.start(self._read_head), "value")
        self.sample = DataTable(page_size=5)
        self._sample = pane(self.sample, visible=False)
        made = {name: layout.field(pn.widgets.TextInput, page, f"entry.{name}") for name in ENTRY_FIELDS}
        self.entry: dict[str, Any] = made
        self.as_of = layout.field(pn.widgets.TextInput, page, "entry.as_of", placeholder=page.label("entry.as_of_hint"), max_length=10)
        self.data_class = layout.select(page, "entry.data_class", options={})
        self.basis = layout.select(page, "entry.lawful_basis", options={})
        for widget in (*made.values(), self.as_of):
            widget.param.watch(lambda _event: self._changed(), "value")
        self._form = layout.card(self._entry_title, layout.fields(*made.values(), self.data_class, self.basis, self.as_of))
        self._form.visible = False
        self.root = layout.stack(
            layout.split(
                layout.card(self._title, self.choice, self._facts), layout.card(self._upload_title, self.upload, self._file, self.sheet),
                side_px=440, from_px=960,
            ),
            self._sample,
            self._form,
        )  # fmt: skip

    async def enter(self) -> None:
        """Read the catalogue."""
        page = self._page
        self._lists = list((await page.run(page.client.call, "lists.all")).lists)
        self.draw()

    def prefer(self, list_id: str) -> None:
        """Choose this list if it is there."""
        found = next((one for one in self._lists if one["list_id"] == list_id), None)
        if found:
            self._draft.chosen = found
        self.draw()

    def answer(self, names: Names) -> Answer:
        t, draft = self._page.t, self._draft
        if self._sending:
            return Answer("running", t("list.sending", name=self._sending), t("list.sending_reason"))
        if draft.file and self._lacking():
            return Answer("pending", t("list.lacking", fields=t("word.comma").join(self._lacking())), t("list.lacking_reason"))
        if draft.file and self._is_wrong_day():
            return Answer("pending", t("list.wrong_day", day=_typed(self.as_of)), t("list.wrong_day_reason"), t("list.wrong_day_todo"))
        if draft.file:
            return Answer(
                "info", t("list.read", name=draft.file["name"], columns=len(draft.file["columns"]), rows=formats.count(draft.file["rows_estimate"])),
                t("list.read_reason"), t("list.read_todo"),
            )  # fmt: skip
        if draft.chosen:
            return Answer(
                "info", t("list.chosen", name=draft.chosen["name"], count=formats.count(draft.chosen["rows"])),
                t("list.chosen_reason", time=formats.time(draft.chosen["created_ms"]), owner=draft.chosen["owner"]),
            )  # fmt: skip
        return Answer("info", t("list.none"), t("list.none_reason"))

    def is_ready(self) -> bool:
        if self._draft.file and (self._lacking() or self._is_wrong_day()):
            return False
        return bool(self._draft.file or self._draft.chosen) and not self._sending

    def _lacking(self) -> list[str]:
        """Names of the fields that an entry of the catalogue cannot do without and that are empty."""
        return [self._page.t(f"entry.{name}") for name, widget in self.entry.items() if not _typed(widget)]

    def _is_wrong_day(self) -> bool:
        """Whether the day of the data is no day, or has not come yet; the node would not count with it."""
        typed = _typed(self.as_of)
        try:
            return bool(typed) and (len(typed) != 10 or date.fromisoformat(typed).isoformat() > formats.date(int(time.time() * 1000)))
        except ValueError:
            return True

    def catalogue(self) -> dict[str, str]:
        """The entry as the person filled it in."""
        values = {name: _typed(widget) for name, widget in self.entry.items()}
        as_of = {"as_of": _typed(self.as_of)} if _typed(self.as_of) else {}
        return {**values, **as_of, "data_class": str(self.data_class.value), "lawful_basis": str(self.basis.value)}

    def draw(self) -> None:
        page, t, draft = self._page, self._page.t, self._draft
        self._title.tell(notes.heading(t("list.catalogue"), t("list.catalogue_hint", count=len(self._lists))))
        options = {t("list.option", name=one["name"], count=formats.count(one["rows"])): one["list_id"] for one in self._lists}
        wanted = draft.chosen["list_id"] if draft.chosen else None
        layout.set_options(self.choice, {t("list.pick"): "", **options}, wanted or "")
        self.choice.visible = bool(self._lists)
        self._facts.tell(*([entry_facts(draft.chosen, page)] if draft.chosen else [notes.text(t("list.empty" if not self._lists else "list.pick_one"), meta=True)]))
        self._upload_title.tell(notes.heading(t("list.bring"), t("list.bring_hint")))
        self.upload.say(choose=t("upload.choose"), hint=t("upload.hint", limit=formats.size(LIMIT_BYTES)), sending=t("upload.sending", share="{share}"))
        self._entry_title.tell(notes.heading(t("entry.title"), t("entry.hint")))
        layout.set_options(self.data_class, {t(f"class.{one}"): one for one in DATA_CLASSES}, self.data_class.value or "C2")
        layout.set_options(self.basis, {t(f"basis.{one}"): one for one in LAWFUL_BASES}, self.basis.value or "consent")
        self._draw_file()

    def _draw_file(self) -> None:
        t, file = self._page.t, self._draft.file
        self._form.visible = self._sample.visible = bool(file)
        self.sheet.visible = bool(file and len(file["sheets"]) > 1)
        if not file:
            self._file.tell()
            return
        self._file.tell(notes.facts(
            (t("file.name"), file["name"]), (t("file.kind"), t(f"kind.{file['kind']}")),
            (t("file.encoding"), file["encoding"]), (t("file.sheet"), file["sheet"]),
            (t("file.rows"), t("file.about", count=formats.count(file["rows_estimate"]))),
        ))  # fmt: skip
        self.sample.lang = self._page.lang
        self.sample.heading, self.sample.hint = t("sample.title"), t("sample.hint")
        self.sample.columns = [{"key": str(one["column"]), "label": one["header"] or "—", "kind": "mono"} for one in file["columns"]]
        self.sample.rows = [{str(at): cell for at, cell in enumerate(row, 1)} for row in file["sample"]]
        self.sample.total = len(file["sample"])

    def _chosen(self, event: Any) -> None:  # Any: param's change record
        found = next((one for one in self._lists if one["list_id"] == event.new), None)
        if found is None or (self._draft.chosen and found["list_id"] == self._draft.chosen["list_id"]):
            return
        self._draft.chosen, self._draft.file, self._draft.imported = found, None, None
        self.draw()
        self._changed()

    def _too_large(self, name: str, size_bytes: int) -> None:
        t = self._page.t
        self._file.tell(notes.text(t("upload.too_large", name=name, size=formats.size(size_bytes), limit=formats.size(LIMIT_BYTES)), tone="failed"))

    async def _take(self, name: str, content: bytes) -> None:
        page = self._page
        self._sending = name
        self._changed()
        try:
            file_id = await page.run(page.client.upload_bytes, name, content)
            _fill(self.as_of, "")  # what stands there is the day of another file
            self._draft.file = {"file": file_id, "name": name, "sheet": "", "sheets": []}
            self._draft.mapping, self._draft.imported = {}, None
            await self._read_head()
        except WorkbenchError:
            self._draft.file = None
            raise
        finally:
            self._sending = ""
            self.draw()
            self._changed()

    async def _read_head(self) -> None:
        """Let the node look at the file; its first rows come back masked."""
        page, draft = self._page, self._draft
        file = draft.file
        sheet = self.sheet.value if self.sheet.visible and self.sheet.value else ""
        if file is None or (file.get("columns") and sheet == file["sheet"]):
            return
        seen = await page.run(page.client.call, "lists.preview", file=file["file"], mapping=draft.mapping, sheet=sheet)
        draft.file = {**seen, "file": file["file"], "name": file["name"]}
        draft.chosen = None
        stem = str(file["name"]).rpartition(".")[0] or str(file["name"])
        defaults = {"name": stem, "owner": self._owner(), **{name: page.t(f"entry.default_{name}") for name in ("source", "subjects", "method")}}
        for name, widget in self.entry.items():
            if not _typed(widget) or name == "name":
                _fill(widget, defaults[name])
        layout.set_options(self.sheet, {one: one for one in seen["sheets"]}, seen["sheet"] or None)

    def _owner(self) -> str:
        return str(self._page.me["party_zh"] if self._page.lang == "zh" else self._page.me["party_en"])


def _typed(widget: Any) -> str:  # Any: a widget of Panel
    """What stands in a field, also before its person has left it."""
    return str(widget.value_input or widget.value or "").strip()


def _fill(widget: Any, text: str) -> None:  # Any: as above
    """Put a text into a field; what was typed there before is forgotten with it."""
    widget.param.update(value=text, value_input=text)


def entry_facts(one: Mapping[str, Any], page: PageContext) -> notes.Block:
    """One catalogue entry as facts."""
    t = page.t
    tags = t("word.comma").join(one["tags"]) or "—"
    return notes.facts(
        (t("entry.owner"), one["owner"]), (t("entry.source"), one["source"]), (t("entry.subjects"), one["subjects"]),
        (t("entry.method"), one["method"]), (t("entry.data_class"), t(f"class.{one['data_class']}")),
        (t("entry.lawful_basis"), t(f"basis.{one['lawful_basis']}") if one["lawful_basis"] in LAWFUL_BASES else one["lawful_basis"]),
        (t("entry.rows"), formats.count(one["rows"])), (t("entry.tags"), tags), (t("entry.created"), formats.time(one["created_ms"])),
    )  # fmt: skip


class QualityStep:
    """Which column is what, the import, and its report."""

    def __init__(self, page: PageContext, draft: Draft, changed: Callable[[], None], entry: Callable[[], dict[str, str]]) -> None:
        self._page, self._draft, self._changed, self._entry = page, draft, changed, entry
        self._refusal: WorkbenchError | None = None
        self._refused_rows = ""
        self._progress: tuple[int, int, str, str] | None = None
        self._cancelled = False
        self._drawing = False
        self.numbers, self.mapping, self.reasons = KeyNumbers(large=True, framed=True), DataTable(page_size=50), DataTable(page_size=20)
        self.rejects, self.progress = RejectsTable(), ProgressCancel()
        self.rejects.on_action(lambda _name, _told: self._download(), "download")
        self.progress.on_action(lambda _name, _told: self._cancel(), "cancel")
        self._numbers, self._reasons, self._mapping = pane(self.numbers), pane(self.reasons), pane(self.mapping)
        self._rejects, self._progress_pane = pane(self.rejects), pane(self.progress)
        self._choose_title, self._note = Notes(framed=False), Notes()
        self.choices: dict[str, Any] = {name: layout.select(page, f"field.{name}", options={}) for name in FIELDS}
        for widget in self.choices.values():
            widget.param.watch(lambda _event: page.start(self._map_again), "value")
        self.start = layout.button(page, "quality.import", self._import, primary=True)
        self._choose = layout.card(self._choose_title, layout.fields(*self.choices.values()), layout.buttons(self.start))
        self.root = layout.stack(
            self._progress_pane, self._numbers,
            layout.split(self._mapping, layout.stack(self._choose, self._rejects, self._reasons, self._note), side_px=480),
        )  # fmt: skip

    async def enter(self) -> None:
        self._refusal = None
        if not self._draft.imported:
            self._refused_rows = ""
        self.draw()

    def is_ready(self) -> bool:
        return self._draft.chosen is not None and self._draft.file is None

    def answer(self, names: Names) -> Answer:
        t, draft = self._page.t, self._draft
        if self._progress:
            return Answer("running", t("quality.importing", name=draft.file["name"] if draft.file else ""), t("quality.importing_reason"))
        if self._refusal:
            told = self._refusal.zh if names.lang == "zh" else self._refusal.en
            sentence, why = split_reason(told)
            return Answer("refused", sentence, f"{why}{t('quality.nothing_imported')}", t("quality.refused_todo"), code=self._refusal.code)
        if draft.file:
            open_guesses = [one for one in draft.file["columns"] if one["guess"]]
            key = "quality.confirm_guess" if open_guesses else "quality.ready"
            return Answer("pending" if open_guesses else "info", t(key, count=len(open_guesses), name=draft.file["name"]), t("quality.ready_reason"))
        if not draft.chosen:
            return Answer("info", t("list.none"), t("list.none_reason"))
        report = draft.chosen["report"]
        if report.get("rejected"):
            return Answer(
                "pending", t("quality.partly", accepted=formats.count(report["accepted"]), rejected=formats.count(report["rejected"])),
                t("quality.partly_reason", merged=formats.count(report["duplicates"])), t("quality.partly_todo"),
            )  # fmt: skip
        return Answer("info", t("quality.all", accepted=formats.count(report.get("accepted", draft.chosen["rows"]))), t("quality.all_reason", merged=formats.count(report.get("duplicates", 0))))

    def draw(self) -> None:
        self._drawing = True
        try:
            self._draw()
        finally:
            self._drawing = False

    def _draw(self) -> None:
        page, t, draft = self._page, self._page.t, self._draft
        for widget in (self.numbers, self.mapping, self.reasons, self.rejects, self.progress):
            widget.lang = page.lang
        names = Names.of(page.me, page.lang)
        columns = draft.file["columns"] if draft.file else (draft.chosen or {}).get("report", {}).get("columns", [])
        self.mapping.heading, self.mapping.hint = t("mapping.title"), t("mapping.hint")
        self.mapping.columns = [
            {"key": "number", "label": t("mapping.number")}, {"key": "header", "label": t("mapping.header")},
            {"key": "use", "label": t("mapping.use")}, {"key": "sure", "label": t("mapping.sure"), "kind": "state"},
        ]  # fmt: skip
        self.mapping.rows = rows.mapping_rows(columns, t)
        self.mapping.total = len(columns)
        self._mapping.visible = bool(columns)
        self._choose.visible = bool(draft.file)
        self._choose_title.tell(notes.heading(t("mapping.choose"), t("mapping.choose_hint")))
        headers = {one["header"]: one["header"] for one in columns if one["header"]}
        for name, widget in self.choices.items():
            found = next((one["header"] for one in columns if one["use"] == "field" and one["field"] == name), None)
            auto = t("mapping.auto", header=found) if found else t("mapping.unused")
            layout.set_options(widget, {auto: AUTOMATIC, **headers, t("mapping.leave_out"): ""}, draft.mapping.get(name, AUTOMATIC))
        self._draw_report(names)
        self._progress_pane.visible = self._progress is not None
        if self._progress:
            done, total, zh, en = self._progress
            self.progress.done, self.progress.total = min(done, total) if total else done, total
            self.progress.phase = zh if page.lang == "zh" else en
            self.progress.stays, self.progress.goes = t("quality.stays"), t("quality.goes")
            self.progress.cancel_label, self.progress.cancelling = t("quality.cancel"), self._cancelled

    def _draw_report(self, names: Names) -> None:
        t, draft = self._page.t, self._draft
        report = (draft.chosen or {}).get("report", {}) if not draft.file else {}
        self._numbers.visible = bool(report)
        if report:
            shared = {"value": int(report.get("shared_keys", 0)), "label": t("quality.shared"), "unit": t("unit.keys")}
            self.numbers.items = [
                {"value": int(report["rows"]), "label": t("quality.rows"), "unit": t("unit.rows")},
                {"value": int(report["accepted"]), "label": t("quality.accepted"), "unit": t("unit.rows")},
                {"value": int(report["rejected"]), "label": t("quality.rejected"), "unit": t("unit.rows")}
                | ({"state": "pending"} if report["rejected"] else {}),
                {"value": int(report["duplicates"]), "label": t("quality.merged"), "unit": t("unit.rows")},
                shared,
            ]
        told = rows.reject_reasons(report, names)
        self._reasons.visible = bool(told)
        self.reasons.heading = t("quality.reasons")
        self.reasons.columns = [{"key": "reason", "label": t("quality.reason")}, {"key": "count", "label": t("quality.cells"), "kind": "count"}]
        self.reasons.rows, self.reasons.total = told, len(told)
        self._rejects.visible = bool(self._refused_rows or self._rejects_id())
        if self._rejects.visible:
            known = draft.imported or {}
            self.rejects.accepted, self.rejects.rejected = int(known.get("accepted", 0)), int(known.get("rejected", self._details("rejected")))
            self.rejects.rows = rows.reject_rows(self._refused_rows, names, t)
            self.rejects.downloadable = bool(self._refused_rows or self._rejects_id())
        blocks = [*sidecards.pointed_out(report, t), notes.heading(t("quality.rule_title")), notes.bullets([t("quality.rule_1"), t("quality.rule_2"), t("quality.rule_3"), t("quality.rule_4")])]
        self._note.tell(*blocks)

    def _details(self, name: str) -> int:
        value = self._refusal.details.get(name, "") if self._refusal else ""
        return int(value) if value.isdigit() else 0

    def _rejects_id(self) -> str:
        if self._refusal:
            return self._refusal.details.get("rejects", "")
        return str((self._draft.imported or {}).get("rejects", ""))

    def _download(self) -> None:
        if self._refused_rows:
            self._note.save_file("rejects.csv", self._refused_rows, kind="text/csv")
        elif self._rejects_id():
            self._page.download(self._rejects_id())

    async def _read_rejects(self) -> None:
        """Fetch the refused rows, masked by the node, to show the first of them; a very long list is only offered."""
        page, offered = self._page, self._rejects_id()
        count = int((self._draft.imported or {}).get("rejected", self._details("rejected")))
        if offered and count <= MAX_SHOWN_REJECTS:
            content = await page.run(page.client.download, offered)
            self._refused_rows = content.decode("utf-8-sig")

    def _cancel(self) -> None:
        self._cancelled = True
        self.draw()

    async def _map_again(self) -> None:
        draft, page = self._draft, self._page
        if self._drawing or draft.file is None:
            return
        chosen = {name: str(widget.value) for name, widget in self.choices.items() if widget.value not in (AUTOMATIC, None)}
        if chosen == draft.mapping:
            return
        draft.mapping = chosen
        seen = await page.run(page.client.call, "lists.preview", file=draft.file["file"], mapping=chosen, sheet=draft.file["sheet"])
        draft.file = {**draft.file, **seen, "name": draft.file["name"]}
        self.draw()
        self._changed()

    async def _import(self) -> None:
        page, draft = self._page, self._draft
        file = draft.file
        if file is None:
            return
        self._refusal, self._cancelled, self._refused_rows = None, False, ""
        latest: list[tuple[int, int, str, str]] = [(0, 0, page.t("quality.starting"), page.t("quality.starting"))]
        work = asyncio.ensure_future(page.run(
            page.client.call, "lists.import", progress=lambda *told: latest.append(told), cancelled=lambda: self._cancelled,
            file=file["file"], catalogue=self._entry(), mapping=draft.mapping, sheet=file["sheet"] if len(file["sheets"]) > 1 else "",
        ))  # fmt: skip
        try:
            while not work.done():
                self._progress = latest[-1]
                del latest[:-1]
                self.draw()
                self._changed()
                await asyncio.wait([work], timeout=0.3)
            reply = work.result()
        except WorkbenchError as refusal:
            self._refusal, draft.file = refusal, None
        else:
            known = (await page.run(page.client.call, "lists.all")).lists
            draft.chosen = next(one for one in known if one.list_id == reply["list_id"])
            draft.file, draft.imported = None, reply
        finally:
            self._progress = None
            self.draw()
            self._changed()
        await self._read_rejects()
        self.draw()


def split_reason(told: str) -> tuple[str, str]:
    """A long refusal of a file: what happened, and the most frequent reason as a sentence of its own ("" if none)."""
    for mark in ("，最多的原因", "; most often"):
        happened, found, why = told.partition(mark)
        if found:
            return happened, f"{mark[1:].strip()}{why}。" if mark[0] == "，" else f"{mark[2:].capitalize()}{why}. "
    return told, ""
