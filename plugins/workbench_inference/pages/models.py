"""The page of models: what may be asked, by whom, from which documents. Docs: docs/sandbox-policy.md, docs/sandbox-documents.md."""

from __future__ import annotations

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.keys import Keys
from workbench.app.parts.notes import Notes
from workbench.app.parts.sections import Sections
from workbench_inference.pages.models_channels import Channels
from workbench_inference.pages.models_images import Images
from workbench_inference.pages.models_sections import Access, Cohort, Documents, ModelsSection, Quotas, Templates
from workbench_inference.pages.models_stages import Stages
from workbench_widgets import AnswerStrip, Badge, formats
from workbench_widgets.panel_pane import pane

REFRESH_S = 5


class ModelsPage:
    """One opened tab. `section=` of the address names what is shown first; `scenario=` opens its template."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.strip = AnswerStrip(state="loading")
        self.head = Notes(framed=False)
        self.templates, self.documents = Templates(page, self.draw_answer), Documents(page, self.draw_answer)
        found: list[ModelsSection] = [self.documents, self.templates, Images(page, self.draw_answer), Access(page, self.draw_answer), Cohort(page, self.draw_answer), Stages(page, self.draw_answer), Channels(page, self.draw_answer), Quotas(page, self.draw_answer)]
        self.sections = Sections(page, found, self.draw_answer)
        badge = None if page.me["workspace"] == "production" else pane(page.follow(Badge(kind="synthetic")))
        self.root = layout.stack(layout.first_line(self.head, badge), pane(self.strip), self.sections.root, Keys(page, names=("rows", "escape")))
        page.on_look(self.draw)

    async def open(self) -> None:
        """By the address; the answer at the top needs scenarios and documents, whichever section is shown."""
        self.draw()
        await self.sections.open(self.page.params.get("section", ""))
        for one in (self.templates, self.documents):
            if not one.is_read and self.page.may(one.operation):
                self.page.start(one.show)
        self.page.refresh_every(REFRESH_S, self._follow_index)
        if self.page.params.get("scenario") and self.templates.is_read:
            await self.templates.look_at(self.page.params["scenario"])

    async def _follow_index(self) -> None:
        """While an index is being made, how far it is; a change of the log says the rest."""
        if (self.documents.found.get("inference.documents") or {}).get("indexing"):
            await self.documents.read()

    def draw(self) -> None:
        """Every text again, after a change of language."""
        self.head.tell(notes.head(self.page.t("models.title"), subject=self.page.t("models.subject"), meta=self.page.t("models.times")))
        self.sections.draw()
        self.draw_answer()

    def draw_answer(self) -> None:
        """What waits for a person here, else what there is."""
        page, strip = self.page, self.strip
        scenarios, documents = self.templates.found.get("inference.scenarios"), self.documents.found.get("inference.documents")
        if scenarios is None:
            strip.lang = page.lang
            return
        lang: formats.Lang = "zh" if page.lang == "zh" else "en"
        waiting = sum(one["state"] == "proposed" for one in scenarios["templates"])
        mine = sum(one["may_publish"] or one["may_promote"] for one in scenarios["templates"])
        trial = sum(one["state"] == "published" and one["mode"] == "debug" and one["in_force"] for one in scenarios["templates"])
        with strip.at_once():
            strip.lang, strip.todo = page.lang, ""
            total = formats.count(documents["total"], lang) if documents else "—"
            strip.sentence = page.t("models.answer", scenarios=len(scenarios["scenarios"]), documents=total, rules=len(scenarios["rules"]))
            strip.reason = page.t("models.answer.waiting", waiting=waiting, trial=trial) if waiting or trial else page.t("models.answer.settled", version=scenarios["rules_version"])
            strip.state = "pending" if mine or waiting or (documents and (documents["is_outdated"] or not documents["total"])) else "info"
            if mine:
                strip.todo = page.t("models.todo.mine", count=mine)
            elif documents and not documents["total"]:
                strip.todo = page.t("models.todo.import")
            elif documents and documents["is_outdated"]:
                strip.todo = page.t("models.todo.index")
            elif waiting:
                strip.todo = page.t("models.todo.other")


__all__ = ["ModelsPage"]
