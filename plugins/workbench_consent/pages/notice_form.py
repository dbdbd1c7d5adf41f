"""The form of a notice: texts in both languages, then one tab a line. It knows the members, not the rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts import layout
from workbench_consent.pages.words import Words

TEXTS = ("title", "summary", "body", "rights", "withdrawal", "refusal", "complaint")
LONG = ("summary", "body")
LINE_TEXTS = ("recipient_name", "purpose_text", "method", "retention", "necessity", "effect", "automated_text")
EMPTY_LINE: Mapping[str, Any] = {
    "purpose": "", "recipient": "", "recipient_contact": "", "categories": [], "channels": [], "retention_days": 0,
    "automated": False, "preset": False, "required": False, **{name: {"zh": "", "en": ""} for name in LINE_TEXTS},
}  # fmt: skip

_PAIRS = """.scroll-button { display: none; }
:host([class]) { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 12px 16px; align-items: end; }"""


class NoticeForm:
    """`content()` is what the operations take; `changed` is called after every change of a person."""

    def __init__(self, page: PageContext, changed: Callable[[], None]) -> None:
        self.page, self._changed = page, changed
        self._fields: dict[tuple[str, str], Any] = {}
        self._kept: dict[str, Any] = {}
        self._lines: list[dict[str, Any]] = []
        self._lines.append(self._free_line())
        self._at = 0
        self._showing = False
        rows = []
        for name in TEXTS:
            rows += [self._text(name, lang, long=name in LONG) for lang in ("zh", "en")]
        self.contact, self.officer = self._plain("controller.contact"), self._plain("controller.officer")
        self.line = layout.select(page, "notice_form.line", options={})
        self.line.param.watch(lambda _event: None if self._showing else self._turn(), "value")
        self.purpose = layout.select(page, "withdraw.purpose", options={})
        self.recipient = layout.select(page, "withdraw.recipient", options={})
        self.recipient_contact = self._plain("line.recipient_contact")
        self.categories = self._plain("line.categories", placeholder="phone, id-no, customer-relation")
        self.channels = self._plain("line.channels", placeholder="sms, call, push")
        self.days = layout.field(pn.widgets.IntInput, page, "notice_form.retention_days", value=0, start=0, end=40_000)
        self.automated = layout.ticks(page, "notice_form.automated")  # one box of a group: its label is found by a screen reader
        line_texts = [self._text(f"line.{name}", lang) for name in LINE_TEXTS for lang in ("zh", "en")]
        for widget in (self.purpose, self.recipient, self.days, self.automated):
            widget.param.watch(self._heard, "value")
        self.root = layout.stack(
            layout.card(_pairs(*rows), layout.fields(self.contact, self.officer)),
            layout.card(
                layout.fields(self.line),
                layout.buttons(layout.button(page, "notice_form.add", self._add), layout.button(page, "notice_form.remove", self._remove)),
                layout.fields(self.purpose, self.recipient, self.recipient_contact, self.categories, self.channels, self.days),
                _pairs(*line_texts), self.automated,
            ),
        )  # fmt: skip

    def _text(self, name: str, lang: str, *, long: bool = False) -> Any:  # Any: Panel has no types
        widget = layout.field(pn.widgets.TextAreaInput, self.page, f"notice_form.{name}.{lang}", rows=8 if long else 3, auto_grow=True, max_length=20_000)
        widget.param.watch(self._heard, "value")
        self._fields[name, lang] = widget
        return widget

    def _plain(self, name: str, **options: Any) -> Any:  # Any: Panel has no types
        widget = layout.field(pn.widgets.TextInput, self.page, f"notice_form.{name}", **options)
        widget.param.watch(self._heard, "value")
        return widget

    def _heard(self, _event: Any) -> None:  # Any: param's record of a change
        if not self._showing:
            self._keep_line()
            self._changed()

    # ------------------------------------------------------------------ lines

    def _turn(self) -> None:
        """Another line is shown; what stood in the fields was kept with every change."""
        self._at = int(self.line.value or 0)
        self._show_line()

    def _add(self) -> None:
        self._lines.append(self._free_line())
        self._at = len(self._lines) - 1
        self.draw(Words.of(self.page.me, self.page.lang, self.page.t))
        self._changed()

    def _free_line(self) -> dict[str, Any]:
        """An empty line for a purpose and recipient that no other line has, where there is one."""
        words = Words.of(self.page.me, self.page.lang, self.page.t)
        taken = {(line["purpose"], line["recipient"]) for line in self._lines}
        pairs = [(purpose, recipient) for recipient in (*words.others(), "") for purpose in words.purposes]
        purpose, recipient = next((pair for pair in pairs if pair not in taken), pairs[0] if pairs else ("", ""))
        return deepcopy(dict(EMPTY_LINE)) | {"purpose": purpose, "recipient": recipient}

    def _remove(self) -> None:
        if len(self._lines) > 1:
            del self._lines[self._at]
            self._at = min(self._at, len(self._lines) - 1)
            self.draw(Words.of(self.page.me, self.page.lang, self.page.t))
            self._changed()

    def _keep_line(self) -> None:
        line = self._lines[self._at]
        line["purpose"], line["recipient"] = self.purpose.value or "", self.recipient.value or ""
        line["recipient_contact"] = (self.recipient_contact.value or "").strip()
        line["categories"], line["channels"] = _codes(self.categories.value), _codes(self.channels.value)
        line["retention_days"], line["automated"] = int(self.days.value or 0), bool(self.automated.value)
        for name in LINE_TEXTS:
            line[name] = {lang: (self._fields[f"line.{name}", lang].value or "").strip() for lang in ("zh", "en")}

    def _show_line(self) -> None:
        line, self._showing = self._lines[self._at], True
        layout.set_options(self.purpose, self.purpose.options or {}, line["purpose"])
        layout.set_options(self.recipient, self.recipient.options or {}, line["recipient"])
        self.recipient_contact.value = line["recipient_contact"]
        self.categories.value, self.channels.value = ", ".join(line["categories"]), ", ".join(line["channels"])
        self.days.value, self.automated.value = line["retention_days"], [True] if line["automated"] else []
        for name in LINE_TEXTS:
            for lang in ("zh", "en"):
                self._fields[f"line.{name}", lang].value = line[name][lang]
        self._showing = False

    # ------------------------------------------------------------------ whole

    def fill(self, content: Mapping[str, Any]) -> None:
        """Show a notice; members that the form does not ask for are kept as they are."""
        self._kept = {name: deepcopy(value) for name, value in content.items() if name in ("controller", "minors")}
        self._lines = [deepcopy(dict(EMPTY_LINE)) | deepcopy(dict(line)) for line in content.get("lines", [])]
        if not self._lines:
            self._lines.append(self._free_line())
        self._at, self._showing = 0, True
        for name in TEXTS:
            for lang in ("zh", "en"):
                self._fields[name, lang].value = content.get(name, {}).get(lang, "")
        controller = content.get("controller", {})
        self.contact.value, self.officer.value = controller.get("contact", ""), controller.get("officer", "")
        self._showing = False
        self.draw(Words.of(self.page.me, self.page.lang, self.page.t))

    def content(self) -> dict[str, Any]:
        """What stands in the form now, as the operations take it."""
        names = {party: (zh, en) for party, zh, en in self.page.me["parties"]}
        own = self.page.me["me"]["party"]
        controller = {"party": own, "name": dict(zip(("zh", "en"), names[own], strict=True)), **self._kept.get("controller", {})}
        controller |= {"contact": (self.contact.value or "").strip(), "officer": (self.officer.value or "").strip()}
        texts = {name: {lang: (self._fields[name, lang].value or "").strip() for lang in ("zh", "en")} for name in TEXTS}
        return {**texts, "controller": controller, "lines": deepcopy(self._lines)} | (
            {"minors": self._kept["minors"]} if "minors" in self._kept else {}
        )

    def draw(self, words: Words) -> None:
        """Options in the present language; the fields follow by themselves."""
        self._showing = True
        layout.set_options(self.purpose, {name: code for code, name in words.purposes.items()})
        layout.set_options(self.recipient, {self.page.t("notice_form.ourselves"): ""} | {words.party(one): one for one in words.others()})
        options = {
            self.page.t(
                "notice_form.line_of", number=at + 1, purpose=words.purpose(line["purpose"]) or "—",
                recipient=words.party(line["recipient"]) if line["recipient"] else self.page.t("notice_form.ourselves"),
            ): at
            for at, line in enumerate(self._lines)
        }  # fmt: skip
        layout.set_options(self.line, options, self._at)
        self.automated.param.update(options={self.page.t("notice_form.automated"): True}, value=list(self.automated.value))
        self._showing = False
        self._show_line()


def _pairs(*widgets: Any) -> Any:  # Any: Panel has no types
    """Chinese beside English, one below the other where there is no room."""
    return pn.Column(*widgets, sizing_mode="stretch_width", margin=0, stylesheets=[_PAIRS])


def _codes(text: str | None) -> list[str]:
    """Codes typed with commas or spaces, ascending and once each, as a notice keeps them."""
    return sorted({one for one in (text or "").replace("，", ",").replace("、", ",").replace(" ", ",").split(",") if one})


__all__ = ["NoticeForm"]
