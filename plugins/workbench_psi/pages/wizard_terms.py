"""Steps 3 and 4: who shall take part, with whom, what for, under which terms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench.errors import WorkbenchError
from workbench_psi.pages import rows, sidecards
from workbench_psi.pages.answers import Answer
from workbench_psi.pages.names import Names
from workbench_psi.pages.wizard_list import Draft
from workbench_widgets import KeyNumbers, RuleBuilder, Waterfall, formats
from workbench_widgets.panel_pane import pane

DEBOUNCE_S = 0.4
KEY_KINDS = ("phone", "id_no")


class Direction:
    """Partner, purpose and key: chosen once, used by both steps."""

    def __init__(self, page: PageContext, changed: Callable[[], None]) -> None:
        self._page = page
        self._drawing = False
        self.partner = layout.select(page, "terms.partner", options={})
        self.purpose = layout.select(page, "terms.purpose", options={})
        self.key_kind = layout.select(page, "terms.key", options={})
        self.draw()
        for widget in (self.partner, self.purpose, self.key_kind):
            widget.param.watch(lambda _event: None if self._drawing else changed(), "value")

    def draw(self) -> None:
        names, t = Names.of(self._page.me, self._page.lang), self._page.t
        self._drawing = True
        layout.set_options(self.partner, {names.party(party): party for party in names.others()})
        layout.set_options(self.purpose, {name: code for code, name in names.purposes.items()})
        layout.set_options(self.key_kind, {t(f"field.{kind}"): kind for kind in KEY_KINDS})
        self._drawing = False

    def request(self) -> dict[str, Any]:
        return {"partner": self.partner.value, "purpose": self.purpose.value, "key_kind": self.key_kind.value}


class AudienceStep:
    """The audience rule with a live waterfall; an empty audience is refused here and not later."""

    def __init__(self, page: PageContext, draft: Draft, changed: Callable[[], None], direction: Direction) -> None:
        self._page, self._draft, self._changed, self.direction = page, draft, changed, direction
        self._asked, self._list_id = 0, ""
        self.preview: Mapping[str, Any] | None = None
        self._size: Mapping[str, Any] | None = None
        self._refusal: WorkbenchError | None = None
        self.rule, self.fall, self.numbers = RuleBuilder(), Waterfall(state="loading"), KeyNumbers(large=True, framed=True)
        self.rule.on_action(lambda _name, told: self._ruled(told), "rule")
        self._title = Notes(framed=False)
        self._reasons, self.near = Notes(), Notes()
        self._direction = layout.card(self._title, layout.fields(direction.partner, direction.purpose, direction.key_kind))
        self.root = layout.stack(
            self._direction, self.near, layout.split(
                layout.stack(pane(self.rule), pane(self.fall)), layout.stack(pane(self.numbers), self._reasons), side_px=360,
                drawer=(page, "drawer.coverage"),
            ),
        )  # fmt: skip

    async def enter(self) -> None:
        """Read the tags of the list and count."""
        page, draft = self._page, self._draft
        chosen = draft.chosen
        if chosen is None:
            return
        if chosen["list_id"] != self._list_id:
            self._list_id = chosen["list_id"]
            seen = await page.run(page.client.call, "lists.audience", list_id=self._list_id, rule="")
            tags = {name: list(values) for name, values in seen["tags"].items()}
            self.rule.columns = rows.rule_columns(tags, chosen["tags"], page.t)
            first = next(iter(self.rule.columns), None)
            if draft.rule:
                self.rule.rule, self.rule.free = draft.rule, True
            elif first:
                self.rule.tree = {"join": "and", "items": []}
        self.draw()
        await self.count()

    def changed_direction(self) -> None:
        """Another partner, purpose or key: what was counted is no longer true."""
        self._page.start(self.count)

    def _ruled(self, told: Mapping[str, Any]) -> None:
        self._draft.rule = "" if str(told.get("rule", "")).strip() == "*" else str(told.get("rule", "")).strip()
        self._page.start(self.count)

    async def count(self) -> None:
        """Count the audience and who of it may be used, a moment after the last change."""
        page, draft = self._page, self._draft
        self._asked += 1
        mine = self._asked
        await asyncio.sleep(DEBOUNCE_S)
        if mine != self._asked or draft.chosen is None:
            return
        list_id, rule, direction = draft.chosen["list_id"], draft.rule, self.direction.request()
        try:
            size = await page.run(page.client.call, "lists.audience", list_id=list_id, rule=rule)
            preview = await page.run(page.client.call, "intersection.preview", list_id=list_id, audience=rule, **direction) if size["size"] else None
            refusal = None
        except WorkbenchError as error:
            if error.exit_status != 2:
                raise
            size, preview, refusal = None, None, error
        if mine == self._asked:
            self._size, self.preview, self._refusal = size, preview, refusal
            self.draw()
            self._changed()

    def is_ready(self) -> bool:
        return bool(self.preview and self.preview["customers"])

    def answer(self, names: Names) -> Answer:
        t, preview = self._page.t, self.preview
        partner = names.party(str(self.direction.partner.value))
        purpose = names.purpose(str(self.direction.purpose.value))
        if self._refusal:
            zh = names.lang == "zh"
            return Answer("refused", self._refusal.zh if zh else self._refusal.en, t("audience.refused_reason"), code=self._refusal.code)
        if self._size is not None and not self._size["size"]:
            return Answer("refused", t("audience.empty"), t("audience.empty_reason"), t("audience.empty_todo"), code="EMPTY_AUDIENCE")
        if preview is None:
            return Answer("loading", "")
        if not preview["customers"]:
            return Answer("refused", t("audience.no_consent", purpose=purpose, partner=partner), t("audience.no_consent_reason"), t("audience.no_consent_todo"), code="NO_CONSENT")
        return Answer(
            "info", t("audience.usable", count=formats.count(preview["customers"]), purpose=purpose, partner=partner),
            t("audience.usable_reason", whole=formats.count(preview["waterfall"][0]["kept"]), chosen=formats.count(preview["waterfall"][1]["kept"])),
        )  # fmt: skip

    def draw(self) -> None:
        page, t, preview = self._page, self._page.t, self.preview
        names = Names.of(page.me, page.lang)
        for widget in (self.rule, self.fall, self.numbers):
            widget.lang = page.lang
        self._title.tell(notes.heading(t("audience.direction"), t("audience.direction_hint")))
        self.rule.heading, self.rule.hint = t("audience.rule"), ""
        if self._refusal:
            self.rule.verdict = {"state": "failed", "sentence": self._refusal.zh if page.lang == "zh" else self._refusal.en}
        elif self._size is not None:
            sentence = self._size["zh"] if page.lang == "zh" else self._size["en"]
            said = t("audience.fits", sentence=sentence, count=formats.count(self._size["size"]), total=formats.count(self._size["total"]))
            self.rule.verdict = {"state": "done" if self._size["size"] else "refused", "sentence": said}
        partner = str(self.direction.partner.value)
        self.fall.heading = t("audience.waterfall")
        self.near.tell(*sidecards.near_duplicates((preview or {}).get("near_duplicates", []), partner, names, t, before=True))
        if preview is None:
            self.fall.state = "loading" if self._size is None and not self._refusal else "empty"
            self.fall.notice = {"sentence": t("audience.no_waterfall")} if self.fall.state == "empty" else {}
            self.numbers.items = []
            self._reasons.tell()
            return
        self.fall.state, self.fall.notice = "done", {}
        self.fall.rows = rows.waterfall_rows(preview["waterfall"], names, partner, t, opened=False)
        chosen, usable = preview["waterfall"][1]["kept"], preview["customers"]
        self.numbers.heading = t("coverage.title")
        self.numbers.items = [
            {"value": usable, "label": t("coverage.usable"), "unit": t("unit.people")},
            {"value": formats.share(usable / chosen if chosen else None), "label": t("coverage.share")},
        ]
        told = sorted(preview["reasons"].items(), key=lambda item: (-item[1], item[0]))
        rest = [(rows.reason_label(code, t), formats.count(count)) for code, count in told]
        self._reasons.tell(notes.heading(t("coverage.why"), t("coverage.why_hint", count=formats.count(chosen - usable))), notes.facts(*rest) if rest else notes.text(t("coverage.none"), meta=True), notes.text(t("coverage.who_acts"), meta=True))


class TermsStep:
    """Partner, purpose, floor, time limit, columns; what each side will know; what it costs; propose."""

    def __init__(self, page: PageContext, draft: Draft, changed: Callable[[], None], audience: AudienceStep) -> None:
        self._page, self._draft, self._audience = page, draft, audience
        self._titles = [Notes(framed=False) for _ in range(2)]
        self.floor = layout.field(pn.widgets.IntInput, page, "terms.floor", value=draft.minimum_crowd, start=1, end=10_000_000, step=10)
        self.minutes = layout.field(pn.widgets.IntInput, page, "terms.minutes", value=draft.timeout_min, start=1, end=1440)
        self.columns = layout.ticks(page, "terms.columns")
        self._changed = changed
        for widget in (self.floor, self.minutes, self.columns):
            widget.param.watch(self._keep, "value")
        self._terms = layout.card()
        self.engine, self.learns, self.cost, self.limits, self.near = Notes(), Notes(), Notes(), Notes(), Notes()
        self.root = layout.split(
            layout.stack(self.near, self._terms, self.learns),
            layout.stack(self.cost, self.engine, self.limits),
            drawer=(page, "drawer.cost"),
        )

    def _keep(self, _event: Any) -> None:  # Any: param's change record
        draft = self._draft
        draft.minimum_crowd, draft.timeout_min = int(self.floor.value or 1), int(self.minutes.value or 1)
        draft.columns = list(self.columns.value)
        self._changed()

    async def enter(self) -> None:
        direction = self._audience.direction
        self._terms[:] = [
            self._titles[0], layout.fields(direction.partner, direction.purpose, direction.key_kind, self.floor, self.minutes),
            self._titles[1], self.columns,
        ]  # fmt: skip
        draft = self._draft
        tags = list((draft.chosen or {}).get("tags", []))
        wanted, floor, minutes = [name for name in draft.columns if name in tags], draft.minimum_crowd, draft.timeout_min
        self.columns.param.update(options=tags, value=wanted)
        draft.minimum_crowd, draft.timeout_min = floor, minutes
        self.floor.value, self.minutes.value = floor, minutes
        self.draw()

    def is_ready(self) -> bool:
        return self._audience.is_ready()

    def answer(self, names: Names) -> Answer:
        t, preview = self._page.t, self._audience.preview
        if preview is None or not preview["customers"]:
            return self._audience.answer(names)
        partner = names.party(str(self._audience.direction.partner.value))
        if preview["customers"] < self._draft.minimum_crowd:
            return Answer("refused", t("terms.too_few", count=formats.count(preview["customers"]), floor=formats.count(self._draft.minimum_crowd)), t("terms.too_few_reason"), code="TOO_FEW_CUSTOMERS")
        return Answer(
            "info", t("terms.ready", count=formats.count(preview["customers"]), partner=partner, floor=formats.count(self._draft.minimum_crowd)),
            t("terms.ready_reason", partner=partner), t("near.look") if preview.get("near_duplicates") else "",
        )  # fmt: skip

    def draw(self) -> None:
        page, t, preview = self._page, self._page.t, self._audience.preview
        names = Names.of(page.me, page.lang)
        partner = str(self._audience.direction.partner.value)
        self._titles[0].tell(notes.heading(t("terms.title"), t("terms.hint")))
        self._titles[1].tell(notes.text(t("terms.columns"), meta=True))
        zh = page.lang == "zh"
        self.near.tell(*sidecards.near_duplicates((preview or {}).get("near_duplicates", []), partner, names, t, before=True))
        if preview:
            self.learns.tell(*sidecards.who_learns(preview["learns_zh" if zh else "learns_en"], preview["security_zh" if zh else "security_en"], partner, names, t))
            self.engine.tell(
                notes.heading(t("engine.title")),
                notes.facts((t("engine.name"), preview["engine"]), (t("engine.mode"), t("engine.direct")), (t("engine.floor"), t("engine.floor_first")), (t("engine.both"), t("engine.both_learn"))),
            )
            lang: formats.Lang = "zh" if zh else "en"
            self.cost.tell(
                notes.heading(t("cost.title"), t("cost.hint")),
                notes.facts(
                    (t("cost.ours"), t("contract.people", count=formats.count(preview["customers"]))),
                    (t("cost.bucket"), t("cost.bucket_value", bucket=formats.count(preview["bucket"]), partner=names.party(partner))),
                    (t("cost.time"), formats.estimate(max(1.0, preview["seconds"]), lang)),
                    (t("cost.bytes"), t("cost.about", size=formats.size(preview["bytes"]))),
                    (t("cost.budget"), sidecards.budget(preview, t)),
                ),
            )
        self.limits.tell(*sidecards.not_promised(t, workspace=page.me["workspace"]))

    def request(self) -> dict[str, Any]:
        """The request of intersection.propose."""
        draft = self._draft
        assert draft.chosen is not None  # the step is not ready before
        return {
            **self._audience.direction.request(), "list_id": draft.chosen["list_id"], "audience": draft.rule,
            "minimum_crowd": int(draft.minimum_crowd), "timeout_s": int(draft.timeout_min) * 60, "columns": list(draft.columns),
        }  # fmt: skip
