"""Sections of the page of models: documents, templates, access, invited customers, quotas. Each draws the replies of its operations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.notes import Notes
from workbench.app.parts.sections import Section
from workbench_inference.pages import models_acts as acts
from workbench_widgets import DataTable, KeyNumbers, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]


class ModelsSection(Section):
    """A section that tells the page when it has read. found: replies by operation."""

    reads: tuple[str, ...] = ()

    def __init__(self, page: PageContext, changed: Callable[[], None]) -> None:
        super().__init__(page)
        self._changed = changed
        self.found: dict[str, Reply] = {}

    @property
    def lang(self) -> formats.Lang:
        return "zh" if self.page.lang == "zh" else "en"

    async def read(self) -> None:
        """Everything this person may read, side by side."""
        page = self.page
        names = [one for one in self.reads if page.may(one)]
        replies = await asyncio.gather(*(page.run(page.client.call, one) for one in names))
        self.found = dict(zip(names, replies, strict=True))
        self.draw()
        self._changed()

    async def again(self, _operation: str, _reply: Any) -> None:
        """After an act."""
        await self.read()

    def table(self, table: DataTable, key: str, columns: Sequence[tuple[str, str] | tuple[str, str, str]], rows: Sequence[Mapping[str, Any]] | None, hint: str = "") -> None:
        """Set a table at once; columns: key, name of its label, kind. rows None: nothing was read yet."""
        t = self.t
        with table.at_once():
            table.lang, table.heading, table.hint, table.notice = self.page.lang, t(f"models.{key}"), hint, {"sentence": t(f"models.{key}.none")}
            if rows is None:
                return
            table.columns = [{"key": one[0], "label": t(f"models.column.{one[1]}"), **({"kind": one[2]} if len(one) > 2 else {})} for one in columns]
            table.rows, table.total = [dict(one) for one in rows], len(rows)
            table.state = "done" if rows else "empty"

    def kinds(self, names: Sequence[str]) -> str:
        return self._joined(f"option.kind.{one}" for one in names)

    def roles(self, names: Sequence[str]) -> str:
        return self._joined(f"option.role.{one}" for one in names)

    def scenario(self, name: str) -> str:
        return self.t(f"option.scenario.{name}")

    def _joined(self, keys: Any) -> str:
        return ("、" if self.lang == "zh" else ", ").join(self.t(one) for one in keys)


class Documents(ModelsSection):
    """What questions are answered from, and who may use it for what."""

    name = "documents"
    operation = "inference.documents"
    reads = ("inference.documents", "inference.usages")

    def __init__(self, page: PageContext, changed: Callable[[], None]) -> None:
        super().__init__(page, changed)
        self.numbers = KeyNumbers(large=True, framed=True, state="loading")
        self.documents = DataTable(page_size=12, state="loading")
        self.corpora = DataTable(page_size=5, state="loading")
        self.usages = DataTable(page_size=8, state="loading")
        self.usages.on_action(lambda _name, told: page.start(self._revoke, str(told.get("id", ""))), "act")
        self.acting = Acting(page, acts.DOCUMENT_ACTS, self.again)
        self.acting.offer([one.operation for one in acts.DOCUMENT_ACTS])
        self.granting = Acting(page, (acts.GRANT,), self.again)
        self.granting.offer([acts.GRANT.operation])
        self.revoking = Acting(page, (acts.REVOKE,), self.again, from_row=True)
        self.revoking.offer([])
        side = layout.stack(pane(self.usages), self.revoking.root, self.granting.root)
        self.root = layout.stack(pane(self.numbers), layout.split(layout.stack(self.acting.root, pane(self.documents), pane(self.corpora)), side, side_px=520))

    async def _revoke(self, usage: str) -> None:
        self.revoking.offer([acts.REVOKE.operation], usage=usage)
        await self.revoking.open(acts.REVOKE.operation)

    def draw(self) -> None:
        found, t = self.found.get("inference.documents"), self.t
        self.numbers.lang = self.page.lang
        if found is not None:
            with self.numbers.at_once():
                counts = found["by_kind"]
                self.numbers.items = [{"value": int(counts.get(one, 0)), "label": t(f"option.kind.{one}")} for one in acts.DOCUMENT_KINDS]
                self.numbers.remark = _indexed(found, t, self.lang)
                self.numbers.state = "done"
        rows = None if found is None else [
            {
                "id": one["document"], "title": one["title"] or one["document"], "kind": t(f"option.kind.{one['kind']}"), "source": one["source"], "time": one["time_ms"] or None,
                "class": t(f"models.class.{one['data_class']}"), "origin": {"state": "simulated", "label": t("models.synthetic")} if one["is_synthetic"] else t("models.real"),
            }
            for one in found["documents"]
        ]  # fmt: skip
        hint = t("models.documents.shown", shown=formats.count(len(rows or []), self.lang), total=formats.count(found["total"], self.lang)) if found else ""
        columns = (("title", "title"), ("kind", "kind"), ("source", "source"), ("time", "time", "date"), ("class", "class"), ("origin", "origin", "state"))
        self.table(self.documents, "documents", columns, _plain(rows), hint)
        self.table(
            self.corpora, "corpora", (("corpus", "corpus", "digest"), ("documents", "documents", "count"), ("passages", "passages", "count"), ("size", "size", "size"), ("embedder", "embedder"), ("built", "built", "time")),
            None if found is None else [
                {
                    "id": one["corpus"], "corpus": {"algorithm": "SM3", "hex": one["corpus"]}, "documents": one["documents"], "passages": one["passages"], "size": one["size_bytes"],
                    "embedder": one["embedder"] or t("models.words_only"), "built": one["built_ms"],
                }
                for one in found["corpora"]
            ],
        )  # fmt: skip
        self._draw_usages()

    def _draw_usages(self) -> None:
        found, t = self.found.get("inference.usages"), self.t
        self.usages.row_actions = [{"name": "revoke", "label": t("models.revoke")}] if self.page.may(acts.REVOKE.operation) else []
        self.table(
            self.usages, "usages", (("scenario", "scenario"), ("kind", "kind"), ("roles", "roles"), ("used", "used"), ("until", "until", "date"), ("state", "state", "state")),
            None if found is None else [
                {
                    "id": one["usage"], "scenario": self.scenario(one["scenario"]), "kind": t(f"option.kind.{one['kind']}") + (f" · {one['source']}" if one["source"] else ""),
                    "roles": self.roles(one["roles"]), "used": f"{one['used']} / {one['most'] or '∞'}", "until": one["until_ms"],
                    "state": {"state": "sealed" if one["is_live"] else "refused", "label": t("models.live" if one["is_live"] else "models.ended")},
                    "can": ["revoke"] if one["is_live"] else [],
                }
                for one in found["usages"]
            ],
            t("models.usages.hint"),
        )  # fmt: skip


def _indexed(found: Reply, t: Callable[..., str], lang: formats.Lang) -> str:
    """How the documents are searched now, and how far the index is that is being made."""
    going, searched = found["indexing"], t("models.outdated") if found["is_outdated"] else t("models.indexed")
    if going is None:
        return searched
    by_words = bool(found["corpora"]) and not found["corpora"][0]["embedder"] and bool(going["embedder"])
    key = "models.indexing.words_so_far" if by_words else "models.indexing"
    return t(key, done=formats.count(going["done"], lang), total=formats.count(going["total"], lang))


def _plain(rows: list[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """A state cell takes a state or a state with a label; what is real has a neutral one."""
    for row in rows or []:
        if isinstance(row["origin"], str):
            row["origin"] = {"state": "neutral", "label": row["origin"]}
    return rows


class Templates(ModelsSection):
    """Scenarios with the template each is asked with, versions that wait for a second person, rules of content."""

    name = "templates"
    operation = "inference.scenarios"
    reads = ("inference.scenarios",)

    def __init__(self, page: PageContext, changed: Callable[[], None]) -> None:
        super().__init__(page, changed)
        self.detail: Reply | None = None
        self.scenarios = DataTable(page_size=8, openable=True, state="loading")
        self.scenarios.on_action(lambda _name, told: page.start(self.look_at, str(told.get("id", ""))), "open")
        self.versions = DataTable(page_size=8, openable=True, state="loading")
        self.versions.on_action(lambda _name, told: page.start(self._open_version, str(told.get("id", ""))), "open")
        self.versions.on_action(lambda _name, told: page.start(self._act, str(told.get("id", "")), str(told.get("name", ""))), "act")
        self.rules = DataTable(page_size=20, state="loading")
        self.text, self.before = Notes(), Notes()
        self.confirming = Acting(page, (acts.PUBLISH, acts.PROMOTE, acts.PUBLISH_RULES), self.again, from_row=True)
        self.confirming.offer([])
        self.proposing = Acting(page, (acts.PROPOSE,), self.again)
        self.proposing.offer([])
        self.ruling = Acting(page, (acts.PROPOSE_RULES,), self.again)
        self.ruling.offer([acts.PROPOSE_RULES.operation])
        side = layout.stack(self.text, self.before, self.proposing.root)
        self.root = layout.stack(layout.split(layout.stack(pane(self.scenarios), pane(self.versions), self.confirming.root, pane(self.rules), self.ruling.root), side, side_px=520))

    async def read(self) -> None:
        await super().read()
        if self.page.may(acts.PROPOSE_RULES.operation):
            told = await self.page.run(self.page.client.call, "inference.rules")
            self.ruling.defaults = {"text": told["text"]}

    async def look_at(self, scenario: str) -> None:
        """The template that this scenario is asked with now."""
        one = next((one for one in self.found["inference.scenarios"]["scenarios"] if one["scenario"] == scenario), None)
        if one is not None:
            await self._look(scenario, one["run"])

    async def _open_version(self, row: str) -> None:
        kind, name, version = row.split("/")
        if kind == "template":
            await self._look(name, int(version))
        else:
            told = await self.page.run(self.page.client.call, "inference.rules", version=int(version))
            self.detail = None
            self.proposing.offer([])
            self.text.tell(notes.heading(self.t("models.rules.version", version=version), formats.digest("SM3", told["version"]["digest"])), notes.text(told["text"], meta=True))
            self.before.tell()
            self.text.take_focus()

    async def _look(self, scenario: str, version: int) -> None:
        self.detail = await self.page.run(self.page.client.call, "inference.template", scenario=scenario, version=version)
        self.draw()
        self.text.take_focus()

    async def _act(self, row: str, name: str) -> None:
        """Publish or promote what a row shows; the digest of the version that the page read goes along."""
        one = next((one for one in self.found["inference.scenarios"]["templates"] if _row(one) == row), None)
        if one is None:
            return
        if one["kind"] == "rules":
            operation, given = acts.PUBLISH_RULES.operation, {"version": one["version"], "digest": one["digest"]}
        else:
            operation = acts.PROMOTE.operation if name == "promote" else acts.PUBLISH.operation
            given = {"scenario": one["name"], "version": one["version"], "digest": one["digest"]}
        self.confirming.offer([operation], **given)
        await self.confirming.open(operation)

    def draw(self) -> None:
        found, t = self.found.get("inference.scenarios"), self.t
        self.table(
            self.scenarios, "scenarios",
            (("scenario", "scenario"), ("roles", "roles"), ("kinds", "kinds"), ("class", "class"), ("version", "version"), ("client", "client")),
            None if found is None else [
                {
                    "id": one["scenario"], "scenario": self.both(one), "roles": self.roles(one["roles"]), "kinds": self.kinds(one["kinds"]), "class": t(f"models.class.{one['data_class']}"),
                    "version": t("models.versions.two", run=one["run"], debug=one["debug"]) if one["run"] != one["debug"] else f"v{one['run']}", "client": t(f"models.asks.{one['asks_client_class']}"),
                }
                for one in found["scenarios"]
            ],
            t("models.scenarios.hint"),
        )  # fmt: skip
        labels = [("publish", "models.publish", acts.PUBLISH), ("promote", "models.promote", acts.PROMOTE)]
        self.versions.row_actions = [{"name": name, "label": t(label)} for name, label, act in labels if self.page.may(act.operation)]
        self.table(
            self.versions, "versions", (("name", "template"), ("version", "version"), ("state", "state", "state"), ("people", "people"), ("made", "made", "time")),
            None if found is None else [
                {
                    "id": _row(one), "name": t("models.rules") if one["kind"] == "rules" else self.scenario(one["name"]), "version": f"v{one['version']}",
                    "state": {"state": _STATE[one["state"], one["mode"]], "label": t(f"models.state.{one['state']}.{one['mode']}") + ("" if not one["in_force"] else t("models.in_force"))},
                    "people": f"{one['first']} → {one['second'] or '—'}", "made": one["made_ms"],
                    "can": [*(["publish"] if one["may_publish"] else []), *(["promote"] if one["may_promote"] else [])],
                }
                for one in found["templates"]
            ],
            t("models.versions.hint"),
        )  # fmt: skip
        self.table(
            self.rules, "rules", (("rule", "rule"), ("where", "where"), ("stage", "stage")),
            None if found is None else [
                {
                    "id": f"{one['name']}", "rule": self.both(one), "stage": self._joined(f"models.stage.{stage}" for stage in one["stages"]),
                    "where": t("models.everywhere") if len(one["scenarios"]) == len(acts.SCENARIOS) else self._joined(f"option.scenario.{name}" for name in one["scenarios"]),
                }
                for one in found["rules"]
            ],
            t("models.rules.hint", version=found["rules_version"], digest=formats.digest("SM3", found["rules_digest"])) if found else "",
        )  # fmt: skip
        self._draw_text()

    def _draw_text(self) -> None:
        t, detail = self.t, self.detail
        if detail is None:
            if not self.text.told():
                self.text.tell(notes.text(t("models.template.choose"), meta=True))
            self.before.tell()
            self.proposing.offer([])
            return
        version, lang = detail["version"], self.lang
        self.text.tell(
            notes.heading(t("models.template.title", scenario=self.scenario(version["name"]), version=version["version"]), formats.digest("SM3", version["digest"])),
            *(notes.text(line) for line in detail[f"text_{lang}"].splitlines() if line),
            notes.facts((t("models.disclaimer"), detail[f"disclaimer_{lang}"]), (t("models.disclaimer.client"), detail[f"client_disclaimer_{lang}"])),
        )  # fmt: skip
        if detail[f"before_{lang}"] != detail[f"text_{lang}"]:
            self.before.tell(notes.heading(t("models.template.before")), *(notes.text(line, meta=True) for line in detail[f"before_{lang}"].splitlines() if line))
        else:
            self.before.tell()
        self.proposing.offer([acts.PROPOSE.operation], scenario=version["name"])
        self.proposing.defaults = {name: detail[name] for name in acts.TEXTS}


_STATE = {
    ("proposed", "debug"): "pending", ("proposed", "run"): "pending", ("published", "debug"): "info", ("published", "run"): "sealed", ("retired", "debug"): "refused",
    ("retired", "run"): "refused",
}  # fmt: skip


def _row(one: Reply) -> str:
    return f"{one['kind']}/{one['name']}/{one['version']}"


class Access(ModelsSection):
    """Who may ask what: roles down, scenarios across, for one model at a time."""

    name = "access"
    operation = "inference.access"
    reads = ("inference.access",)

    def __init__(self, page: PageContext, changed: Callable[[], None]) -> None:
        super().__init__(page, changed)
        self.model = layout.select(page, "field.model", options={"*": "*"}, value="*")
        self.model.param.watch(lambda _event: self.draw(), "value")
        self.cells = DataTable(page_size=20, state="loading")
        self.changes = DataTable(page_size=8, state="loading")
        self.acting = Acting(page, (acts.ACCESS,), self.again)
        self.acting.offer([acts.ACCESS.operation])
        self.root = layout.stack(layout.fields(self.model), pane(self.cells), self.acting.root, pane(self.changes))

    def draw(self) -> None:
        found, t = self.found.get("inference.access"), self.t
        if found is None:
            self.table(self.cells, "access", (), None)
            self.table(self.changes, "changes", (), None)
            return
        options = {t("models.every_model") if one == "*" else one: one for one in found["models"]}
        if self.model.options != options:
            layout.set_options(self.model, options, self.model.value or "*")
        self.model.visible = len(options) > 1
        chosen = self.model.value or "*"
        cells = {(one["role"], one["scenario"]): one for one in found["cells"] if one["model"] == chosen}
        with self.cells.at_once():
            self.cells.lang, self.cells.heading = self.page.lang, t("models.access")
            self.cells.hint = t("models.access.defaults" if found["defaults"] else "models.access.closed")
            self.cells.notice = {"sentence": t("models.access.none")}
            self.cells.columns = [{"key": "role", "label": t("models.column.role")}, *({"key": one, "label": self.scenario(one), "kind": "check"} for one in found["scenarios"])]
            self.cells.rows = [
                {"id": role, "role": t(f"option.role.{role}"), **{one: self._cell(cells[role, one]) for one in found["scenarios"]}} for role in found["roles"]
            ]
            self.cells.total = len(self.cells.rows)
            self.cells.state = "done"
        set_by_people = sorted((one for one in found["cells"] if one["since_ms"]), key=lambda one: -one["since_ms"])
        self.table(
            self.changes, "changes", (("role", "role"), ("scenario", "scenario"), ("model", "model", "mono"), ("allowed", "allowed", "check"), ("by", "by"), ("since", "made", "time")),
            [
                {
                    "id": f"{one['role']}/{one['scenario']}/{one['model']}", "role": t(f"option.role.{one['role']}"), "scenario": self.scenario(one["scenario"]), "model": one["model"],
                    "allowed": {"ok": one["allowed"], "label": t("models.allowed" if one["allowed"] else "models.denied")}, "by": one["by"], "since": one["since_ms"],
                }
                for one in set_by_people
            ],
        )  # fmt: skip

    def _cell(self, one: Reply) -> dict[str, Any] | None:
        """A mark where it is allowed, a dash where it is not: most cells are not, and that is no failure."""
        return {"ok": True, "label": self.t("models.allowed")} if one["allowed"] else None


class Cohort(ModelsSection):
    """Invited customers: how many, until when; nobody by name or number."""

    name = "cohort"
    operation = "inference.cohort"
    reads = ("inference.cohort", "lists.all")

    def __init__(self, page: PageContext, changed: Callable[[], None]) -> None:
        super().__init__(page, changed)
        self.numbers = KeyNumbers(large=True, framed=True, state="loading")
        self.ends = DataTable(page_size=12, state="loading")
        self.acting = Acting(page, (acts.COHORT,), self.again, choices=self._choices)
        self.acting.offer([acts.COHORT.operation])
        self.what = Notes()
        self.root = layout.stack(pane(self.numbers), layout.split(layout.stack(self.acting.root, pane(self.ends)), layout.stack(self.what), side_px=420))

    def _choices(self, _name: str) -> Mapping[str, str]:
        """Lists of this institution by name, beside none."""
        lists = (self.found.get("lists.all") or {}).get("lists", [])
        return {self.t("models.cohort.one"): "", **{f"{one['name']} · {one['list_id']}": one["list_id"] for one in lists}}

    def draw(self) -> None:
        found, t = self.found.get("inference.cohort"), self.t
        self.numbers.lang = self.page.lang
        self.what.tell(notes.heading(t("models.cohort.what")), notes.bullets([t(f"models.cohort.rule.{one}") for one in ("cap", "batch", "token", "channel")]))
        if found is not None:
            with self.numbers.at_once():
                self.numbers.items = [
                    {"value": found["people"], "label": t("models.cohort.people")}, {"value": max(0, found["cap"] - found["people"]), "label": t("models.cohort.left")},
                    {"value": found["cap"], "label": t("models.cohort.cap")},
                ]  # fmt: skip
                self.numbers.remark = t(f"models.stage_of.{found['stage']}")
                self.numbers.state = "done"
        rows = None if found is None else [{"id": one["day"], "day": one["day"], "people": one["people"]} for one in found["ends"]]
        self.table(self.ends, "ends", (("day", "day"), ("people", "count", "count")), rows)


class Quotas(ModelsSection):
    """Questions of the month by person and role, and what people think of the answers."""

    name = "quota"
    operation = "inference.quota"
    reads = ("inference.quota", "inference.feedback")

    def __init__(self, page: PageContext, changed: Callable[[], None]) -> None:
        super().__init__(page, changed)
        self.lines = DataTable(page_size=20, state="loading")
        self.feedback = DataTable(page_size=12, openable=True, state="loading")
        self.feedback.on_action(lambda _name, told: self._open(str(told.get("id", ""))), "open")
        self.reasons = Notes()
        self.acting = Acting(page, (acts.QUOTA,), self.again)
        self.acting.offer([acts.QUOTA.operation])
        self.opened = ""
        feedback = layout.stack(pane(self.feedback), self.reasons) if page.may("inference.feedback") else layout.stack()
        self.root = layout.split(feedback, layout.stack(pane(self.lines), self.acting.root), side_px=520) if page.may("inference.feedback") else layout.stack(pane(self.lines), self.acting.root)

    def _open(self, row: str) -> None:
        self.opened = row
        self._draw_reasons()
        self.reasons.take_focus()

    def draw(self) -> None:
        found, t = self.found.get("inference.quota"), self.t
        rows = None
        if found is not None:
            every = found["everybody"] or [found["mine"], *found["groups"]]
            rows = [
                {
                    "id": one["whose"], "whose": t(f"option.role.{one['whose']}") if one["is_group"] else one["whose"], "used": one["used"], "most": one["most"], "set": t("models.quota.set" if one["is_set"] else "models.quota.setting"),
                    "state": {"state": "refused" if one["used"] >= one["most"] else "pending" if one["used"] * 5 >= one["most"] * 4 else "neutral", "label": t("models.quota.spent" if one["used"] >= one["most"] else "models.quota.left", left=formats.count(max(0, one["most"] - one["used"]), self.lang))},
                }
                for one in every
            ]  # fmt: skip
        self.table(
            self.lines, "quota", (("whose", "whose"), ("used", "used", "count"), ("most", "most", "count"), ("state", "left", "state"), ("set", "origin")), rows,
            t("models.quota.hint", month=found["month"], used=formats.count(found["used"], self.lang)) if found else "",
        )
        told = self.found.get("inference.feedback")
        self.table(
            self.feedback, "feedback",
            (("scenario", "scenario"), ("template", "template", "mono"), ("model", "model", "mono"), ("asked", "asked", "count"), ("abstained", "abstained", "count"), ("refused", "refused", "count"), ("up", "up", "count"), ("down", "down", "count")),
            None if told is None else [{**one, "id": _line(one), "scenario": self.scenario(one["scenario"])} for one in told["lines"]],
            t("models.feedback.hint", from_day=told["from_day"], to_day=told["to_day"]) if told else "",
        )  # fmt: skip
        self._draw_reasons()

    def _draw_reasons(self) -> None:
        t, told = self.t, self.found.get("inference.feedback")
        one = next((one for one in (told or {}).get("lines", []) if _line(one) == self.opened), None)
        if one is None:
            self.reasons.tell()
            return
        lines = [t(f"models.rating.{reason['rating'] or 'none'}", text=reason["text"]) for reason in one["reasons"]]
        self.reasons.tell(notes.heading(t("models.reasons", scenario=self.scenario(one["scenario"]))), notes.bullets(lines) if lines else notes.text(t("models.reasons.none"), meta=True))


def _line(one: Reply) -> str:
    return f"{one['scenario']}/{one['template']}/{one['model']}"


__all__ = ["Access", "Cohort", "Documents", "ModelsSection", "Quotas", "Templates"]
