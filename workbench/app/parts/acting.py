"""What can be done with a thing on a page: a button each, and the form of the one that was chosen.

Texts come from the locale files of the page's plugin: `act.<operation>`, `field.<name>`, `option.<name>.<code>` and the
sentences of `SENTENCES`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import panel as pn

from workbench.app.page import PageContext, is_offline, is_signed_out
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench.app.parts.upload import Upload
from workbench.errors import WorkbenchError

Kind = Literal["text", "secret", "long", "choice", "choices", "day", "number", "tick", "file", "pairs", "words"]
Choices = Callable[[str], Mapping[str, Any]]
"""Field name -> what can be chosen, word to value; for what only the page knows."""
SENTENCES = (
    "act.close", "act.done", "act.password", "act.waiting", "act.declined", "act.working", "act.progress", "act.stop", "act.no_file",
    "act.file", "upload.choose", "upload.hint", "upload.sending", "upload.too_large",
)  # fmt: skip
FILES = ".pdf,.jpg,.jpeg,.png,.csv,.zip,.txt,.xlsx"
SHOWN_AFTER_S = 1.0
LOOK_S = 0.3


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a request. kind: how it is asked for; "choice" without options and "choices" ask the page's `choices`.

    A day is text YYYY-MM-DD and left out when empty; a secret is typed unseen; "pairs" is one "name=value" a line; "words" are separated by commas or spaces.
    label: whose words stand over it (`field.<label>`), where the name alone says too little.
    """

    name: str
    kind: Kind = "text"
    options: tuple[str, ...] = ()
    default: Any = None
    label: str = ""

    @property
    def key(self) -> str:
        return f"field.{self.label or self.name}"


@dataclass(frozen=True, slots=True)
class Act:
    """An operation as a person fills it in. shape: from the values of the fields to the request, where they differ.

    about: the form says beforehand what is asked for and what follows (`about.<operation>`).
    """

    operation: str
    fields: tuple[Field, ...] = ()
    password: bool = False
    shape: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    about: bool = False


class Acting:
    """done(operation, reply) is called when the node has done it; a download in the reply is given to the browser first.

    given: what the page adds to every request. defaults: what stands in a form when it opens, by field. from_row: its acts are
    opened by buttons of a table, so it shows none of its own and takes room only while there is a form or an answer.
    """

    def __init__(
        self, page: PageContext, acts: Sequence[Act], done: Callable[[str, Any], Any], *, choices: Choices | None = None, from_row: bool = False
    ) -> None:
        self.page, self._done, self._from_row = page, done, from_row
        self._choices: Choices = choices or (lambda _name: {})
        self.acts = {one.operation: one for one in acts if page.may(one.operation)}
        self._buttons = {name: layout.button(page, f"act.{name}", partial(self.open, name)) for name in self.acts}
        self.given: dict[str, Any] = {}
        self.defaults: dict[str, Any] = {}
        self.chosen: Act | None = None
        self.fields: dict[str, Any] = {}
        self._captions: dict[str, Notes] = {}
        self._files: dict[str, tuple[str, bytes]] = {}
        self._stopped = False
        self.head, self.told = Notes(framed=False), Notes(framed=False)
        self.stop = layout.button(page, "act.stop", self._stop)
        self.form = layout.stack()
        self.form.visible = self.stop.visible = False  # what is empty takes no room
        own = () if from_row else (layout.buttons(*self._buttons.values()),)
        self.root = layout.card(*own, self.head, self.form, self.told, self.stop)
        self.root.visible = bool(self.acts) and not from_row
        page.on_look(self.draw)

    def offer(self, names: Sequence[str], **given: Any) -> None:
        """Which acts fit now, and the fields that the page gives itself, such as the case's name."""
        for name, button in self._buttons.items():
            button.visible = name in names
        shown = any(name in self.acts for name in names)
        self.root.visible = shown and (not self._from_row or bool(self.chosen is not None or self.told.visible))
        if given != self.given or (self.chosen is not None and self.chosen.operation not in names):
            self._shut()
            self.told.tell()
        self.given = dict(given)

    async def open(self, name: str, **given: Any) -> None:
        """Show the form of an act, or do it at once when nothing is to be filled in; given: further fields."""
        act = self.acts[name]
        if self.chosen is act and not given:
            self._shut()
            return
        self._shut()
        self.told.tell()
        self.chosen, self.given = act, {**self.given, **given}
        if not act.fields:
            await self.do()
            return
        self.fields = {one.name: self._widget(one) for one in act.fields}
        short = [self.fields[one.name] for one in act.fields if one.kind not in ("long", "file", "pairs", "choices", "tick")]
        # Panel shows no label over boxes to tick, so they get a caption.
        self._captions = {one.name: Notes(framed=False) for one in act.fields if one.kind == "choices"}
        rest = []
        for one in act.fields:
            if one.kind in ("long", "file", "pairs", "choices", "tick"):
                rest += [*([self._captions[one.name]] if one.kind == "choices" else []), self.fields[one.name]]
        go = layout.button(self.page, f"act.{name}", self.do, primary=True)
        close = layout.button(self.page, "act.close", self._shut)
        self.draw()  # before it is put up: a select that is shown empty first stays blank in the browser
        self.form[:] = [*([layout.fields(*short)] if short else []), *rest, layout.buttons(go, close)]
        self.form.visible = self.root.visible = True
        self.head.take_focus()

    def _widget(self, field: Field) -> Any:  # Any: Panel has no types
        page, key = self.page, field.key
        first = self.defaults.get(field.name) or field.default
        if field.kind == "file":
            upload = Upload(partial(self._took, field.name), self._too_large)
            upload.accept = FILES
            return upload
        if field.kind == "tick":
            # One box of a group: a single box of Panel has a label that a screen reader does not find.
            made = layout.ticks(page, key)
            made.param.update(options={page.t(key): True}, value=[True] if first else [])
            return made
        if field.kind == "number":
            return layout.field(pn.widgets.IntInput, page, key, value=int(first or 0), start=0)
        if field.kind == "choices":
            made = layout.ticks(page, key)
            if first:
                made.param.update(options={page.t(f"option.{field.name}.{one}"): one for one in field.options}, value=[one for one in field.options if one in first])
            return made
        if field.kind == "choice":
            return layout.select(page, key, options={})
        if field.kind == "secret":
            return layout.field(pn.widgets.PasswordInput, page, key)
        if field.kind in ("long", "pairs"):
            return layout.field(pn.widgets.TextAreaInput, page, key, rows=4, value=first or "")
        return layout.field(pn.widgets.TextInput, page, key, value=first or "", placeholder="2026-12-31" if field.kind == "day" else "")

    def _took(self, name: str, file: str, content: bytes) -> None:
        self._files[name] = (file, content)
        self.told.tell(notes.text(self.page.t("act.file", name=file)))

    def _too_large(self, name: str, _size: int) -> None:
        self.told.tell(notes.text(self.page.t("upload.too_large", name=name), tone="failed"))

    def _shut(self) -> None:
        self.chosen, self.fields, self._files = None, {}, {}
        self.form[:] = []
        self.form.visible = False
        if self._from_row:
            self.root.visible = False
        self.head.tell()

    def _stop(self) -> None:
        self._stopped = True

    # ------------------------------------------------------------------ doing

    def values(self) -> dict[str, Any]:
        """The request as far as it stands in the fields, files apart."""
        made: dict[str, Any] = dict(self.given)
        for field in self.chosen.fields if self.chosen else ():
            widget = self.fields[field.name]
            if field.kind == "file":
                continue
            if field.kind in ("tick", "number", "choice", "choices"):
                made[field.name] = bool(widget.value) if field.kind == "tick" else widget.value
                continue
            text = str((widget.value_input if hasattr(widget, "value_input") else "") or widget.value or "").strip()
            if field.kind == "pairs":
                pairs = (line.partition("=") for line in text.replace("＝", "=").splitlines() if "=" in line)
                made[field.name] = {left.strip(): right.strip() for left, _, right in pairs}
            elif field.kind == "words":
                made[field.name] = text.replace("，", " ").replace("、", " ").replace(",", " ").split()
            elif field.kind != "day" or text:
                made[field.name] = text
        return made

    async def do(self) -> None:
        """Send what stands in the form; a refusal is told beside it and what was typed stays."""
        act, page = self.chosen, self.page
        if act is None:
            return
        request = self.values()
        missing = [one.name for one in act.fields if one.kind == "file" and one.name not in self._files]
        if missing:
            self.told.tell(notes.text(page.t("act.no_file"), tone="refused"))
            return
        try:
            for name, (file, content) in self._files.items():
                request[name] = await page.run(page.client.upload_bytes, file, content)
            if act.shape is not None:
                request = act.shape(request)
            if act.password:
                await page.confirm(act.operation, request, partial(self._confirmed, act))
                self.told.tell(notes.text(page.t("act.waiting")))
                self.root.visible = True
                self.told.take_focus()
                return
            reply = await self._run(act.operation, request)
        except WorkbenchError as error:
            if is_offline(error) or is_signed_out(error):
                raise
            self._refused(error.zh, error.en, error.code)
            return
        await self._finish(act, reply)

    async def _run(self, operation: str, request: Mapping[str, Any]) -> Any:  # Any: the operation's reply
        """Call it, and after a second say how far it is; the person may stop a long one."""
        page, began = self.page, time.monotonic()
        told: list[tuple[int, int, str, str]] = []
        self._stopped = False
        work = asyncio.ensure_future(
            page.run(
                page.client.call, operation, progress=lambda *one: told.append(one), cancelled=lambda: self._stopped, **request
            )
        )
        try:
            while not work.done():
                await asyncio.wait([work], timeout=LOOK_S)
                if work.done() or time.monotonic() - began < SHOWN_AFTER_S:
                    continue
                done, total, zh, en = told[-1] if told else (0, 0, "", "")
                del told[:-1]
                phase = (zh if page.lang == "zh" else en) or page.t("act.working")
                share = f"{100 * done // total} %" if total else ""
                self.told.tell(notes.text(page.t("act.progress", phase=phase, share=share)))
                self.stop.visible = bool(total or phase)
            return work.result()
        finally:
            self.stop.visible = False

    async def _confirmed(self, act: Act, state: str, reply: Any) -> None:  # Any: the operation's reply or an error
        if state == "done":
            await self._finish(act, reply)
        elif state == "declined":
            self.told.tell(notes.text(self.page.t("act.declined"), tone="refused"))
        else:
            error = reply if isinstance(reply, Mapping) else {}
            self._refused(str(error.get("zh", "")), str(error.get("en", "")), str(error.get("code", "")))

    def _refused(self, zh: str, en: str, code: str) -> None:
        sentence = (zh if self.page.lang == "zh" else en) or self.page.t("act.declined")
        self.told.tell(notes.text(f"{sentence}　{code}", tone="refused"))
        self.root.visible = True
        self.told.take_focus()

    async def _finish(self, act: Act, reply: Any) -> None:  # Any: the operation's reply
        self._shut()
        self.told.tell(notes.text(self.page.t("act.done", act=self.page.t(f"act.{act.operation}")), tone="sealed"))
        self.root.visible = True
        self.told.take_focus()
        if isinstance(reply, Mapping) and reply.get("download"):
            self.page.download(str(reply["download"]))
        value = self._done(act.operation, reply)
        if asyncio.iscoroutine(value):
            await value

    # ------------------------------------------------------------------ drawing

    def draw(self) -> None:
        """Texts and words of options in the present language; what was chosen stays."""
        act, t = self.chosen, self.page.t
        if act is None or not self.fields:
            return
        about = [notes.text(t(f"about.{act.operation}"), meta=True)] if act.about else []
        self.head.tell(notes.heading(t(f"act.{act.operation}"), t("act.password") if act.password else ""), *about)
        for field in act.fields:
            widget = self.fields[field.name]
            if field.kind == "file":
                widget.say(choose=t(field.key), hint=t("upload.hint"), sending=t("upload.sending", share="{share}"))
            elif field.kind == "tick":
                widget.param.update(options={t(field.key): True}, value=list(widget.value))
            elif field.kind == "choice":
                options = {t(f"option.{field.name}.{one or 'none'}"): one for one in field.options} or dict(self._choices(field.name))
                layout.set_options(widget, options, widget.value if widget.value is not None else self.defaults.get(field.name) or field.default)
            elif field.kind == "choices":
                self._captions[field.name].tell(notes.text(t(field.key), meta=True))
                options = {t(f"option.{field.name}.{one}"): one for one in field.options} or dict(self._choices(field.name))
                widget.param.update(options=options, value=[one for one in widget.value if one in options.values()])


def words_of(acts: Sequence[Act]) -> set[str]:
    """Every key that the acts ask the locale files for."""
    keys = set(SENTENCES)
    for act in acts:
        keys |= {f"act.{act.operation}", *([f"about.{act.operation}"] if act.about else [])}
        for field in act.fields:
            keys.add(field.key)
            keys |= {f"option.{field.name}.{one or 'none'}" for one in field.options}
    return keys


__all__ = ["Act", "Acting", "Choices", "Field", "words_of"]
