"""The parts of the page Evidence and how they are drawn. It reads what the page has seen and decides nothing.

Everything shown as checked was computed anew by the node (evidence.check, evidence.audit) or by the browser (the chain and
the path of proof).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import panel as pn

from workbench.app.page import PageContext
from workbench.app.parts.keys import Keys
from workbench.errors import WorkbenchError
from workbench_ledger.pages import verdict
from workbench_ledger.pages.browser import Card, FindBar, Later, item, meta
from workbench_ledger.pages.finding import Asked, chips_of
from workbench_ledger.pages.graph import stages_of
from workbench_ledger.pages.inspector import GAPS, Inspector, signature_rows
from workbench_ledger.pages.story import Step, folded, lane_rows, steps
from workbench_ledger.pages.verdict import Answer
from workbench_ledger.pages.words import Words
from workbench_widgets import (
    AnswerStrip,
    Badge,
    DataTable,
    JobGraph,
    KeyNumbers,
    Lanes,
    ProgressCancel,
    ReceiptCard,
    formats,
)
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]
KIND_AREAS = (
    "intersection.", "consent.", "notices.", "customers.", "rights.", "complaints.", "assessment.", "breach.", "lists.", "evidence.", "people.", "action.", "peer.", "partners.",
    "letter.", "ledger.", "anchor.", "node.", "files.", "qkd.", "inference.", "attack.",
)  # fmt: skip
"""Areas of kinds to choose from; `regulator.` is not offered, which nothing has written since `evidence.viewed`."""

LAYOUT = """
:host { display: grid; grid-template-columns: minmax(0, 1fr) 424px; gap: 12px; align-items: start; }
@media (min-width: 1320px) { :host { grid-template-columns: minmax(0, 1fr) 572px; } }
@media (max-width: 1199px) { :host { grid-template-columns: minmax(0, 1fr); } }
"""
SIDE = GAPS + """
@media (max-width: 1199px) {
  :host { display: none; }
  :host(.open) { display: flex; position: fixed; top: 0; right: 0; bottom: 0; width: min(612px, 100vw); overflow: auto; z-index: 10; padding: 12px 16px;
    box-sizing: border-box; background: var(--wb-bg); border-left: 1px solid var(--wb-line); box-shadow: -6px 0 18px rgb(0 0 0 / 22%); }
}
"""
TOP = """
:host { display: flex; gap: 12px; align-items: flex-start; position: relative; }
:host > * { min-width: 0; }
@media (max-width: 1199px) { :host { display: block; } }
"""
CORNER = """
:host { margin-top: 6px !important; }
@media (max-width: 1199px) { :host { position: absolute !important; top: 0; right: 0; } }
"""


class Seen(Protocol):
    """What the page knows at a moment; see `EvidencePage`."""

    asked: Asked
    timeline: Reply | None
    found: Reply | None
    check: Reply | None
    audit: Reply | None
    receipt: Reply | None
    status: Reply | None
    index: Reply | None
    anchors: Reply | None
    jobs: list[Reply]
    selected: str
    opened: set[str]
    shape: str
    took_s: float
    auditing: bool
    exporting: bool
    reaching_back: bool
    problem: WorkbenchError | None


Told = Callable[[str, Mapping[str, Any]], Any]


class Board:
    """Widgets of one tab. told(name, payload) hears what a person does: "act", "select", "find", "drop", "key", "page"."""

    def __init__(self, page: PageContext, words: Callable[[], Words], told: Told) -> None:
        self._page, self._words = page, words
        self.bar = FindBar(told)
        self.keys = Keys(page, lambda key: told("key", {"key": key}), names=("search", "rows", "verify", "escape"))
        self.seat = Card()
        self.answer = page.follow(AnswerStrip(state="loading"))
        self.numbers = page.follow(KeyNumbers())
        self.progress = page.follow(ProgressCancel(framed=True))
        self.lanes = page.follow(Lanes(state="loading", height=610))
        self.graph = page.follow(JobGraph())
        self.receipt_card = page.follow(ReceiptCard())
        self.findings = page.follow(DataTable(page_size=10))
        self.heads = page.follow(DataTable(page_size=10))
        self.checked = Card()
        self.promise = Card()
        self.shapes = Card(lambda name: told("act", {"name": name}))
        self.pager = Card(lambda name: told("page", {"name": name}))
        self.inspector = Inspector(page, words, lambda name: told("act", {"name": name}))
        self.answer.on_action(lambda _, payload: told("act", {"name": str(payload.get("name", ""))}))
        self.progress.on_action(lambda *_: told("act", {"name": "stop"}), "cancel")
        self.receipt_card.on_action(lambda name, _: told("act", {"name": name}))
        for component, event in ((self.lanes, "select"), (self.graph, "select"), (self.findings, "open")):
            component.on_action(lambda _, payload: told("select", {"id": str(payload.get("id") or "")}), event)
        self.panes = {name: pane(widget, margin=0) for name, widget in
                      (("answer", self.answer), ("numbers", self.numbers), ("lanes", self.lanes))}  # fmt: skip
        self.panes["numbers"].visible = False
        self.later = {name: Later(widget) for name, widget in (
            ("progress", self.progress), ("graph", self.graph), ("receipt", self.receipt_card), ("findings", self.findings),
            ("heads", self.heads),
        )}  # fmt: skip

    def view(self, more: Sequence[Any] = ()) -> pn.viewable.Viewable:
        """The layout: head, answer, numbers, then the story beside the entry that was chosen; `more` below the story."""
        top: list[Any] = [self.bar]
        if self._page.me["workspace"] != "production":
            badge = self._page.follow(Badge(kind="synthetic", framed=False, meaning=self._page.t("badge.meaning")))
            self._page.on_look(lambda: setattr(badge, "meaning", self._page.t("badge.meaning")))
            if self._page.me["workspace"] == "test":
                badge.label = self._page.t("badge.test")
            top.append(pane(badge, margin=0, sizing_mode="fixed", width=126, stylesheets=[CORNER]))
        panes, later = self.panes, {name: one.view for name, one in self.later.items()}
        left = pn.Column(
            self.shapes, later["graph"], panes["lanes"], self.pager, later["findings"], later["heads"], later["receipt"], *more,
            self.checked, self.promise,
            sizing_mode="stretch_width", margin=0, stylesheets=[GAPS],
        )  # fmt: skip
        self.side = pn.Column(self.inspector.view, sizing_mode="stretch_width", margin=0, stylesheets=[SIDE])
        return pn.Column(
            pn.Row(*top, sizing_mode="stretch_width", margin=0, stylesheets=[TOP]),
            self.seat, panes["answer"], later["progress"], panes["numbers"],
            pn.Column(left, self.side, sizing_mode="stretch_width", margin=0, stylesheets=[LAYOUT]),
            self.keys,
            sizing_mode="stretch_width", margin=0, stylesheets=[GAPS],
        )  # fmt: skip

    # ------------------------------------------------------------------ drawing

    def draw(self, seen: Seen) -> None:
        """Everything again from what is known, in the language of this moment."""
        words = self._words()
        self._draw_bar(seen, words)
        self._draw_seat(seen, words)
        with self.answer.at_once():
            self._draw_answer(seen, words)
        self.draw_story(seen)
        self._draw_shapes(seen, words)
        self._draw_pager(seen, words)
        self._draw_checked(seen, words)
        self._draw_receipt(seen, words)
        self.inspector.redraw()

    def _draw_bar(self, seen: Seen, words: Words) -> None:
        t, asked, page = words.t, seen.asked, self._page
        logs = []
        if not asked.job and page.may("evidence.audit"):
            logs = [
                ("" if one == words.own else one, t("log.own" if one == words.own else "log.mirror", party=words.party(one)))
                for one in [*words.ordered(), *(one[0] for one in words.former)]
            ]
        status = ""
        if seen.auditing:
            status = t("checking")
        elif asked.is_find:
            status = self._coverage(seen, words)
        elif asked.job and seen.check is not None:
            status = verdict.checked_at(int(seen.check["now_ms"]), seen.took_s, words)
        elif not asked.job and seen.audit is not None:
            status = verdict.checked_at(int(seen.audit["now_ms"]), seen.took_s, words)
        areas = [one for one in KIND_AREAS if page.may("evidence.audit") or one in ("intersection.", "lists.")]
        self.bar.draw(
            {
                "title": t("title"), "placeholder": t("search"), "searched": t("searched"), "text": asked.text,
                "kinds": [("", t("kind.all")), *[(one, t(f"kind.{one}")) for one in areas]], "kind": asked.kind,
                "kind_label": t("kind.label"), "logs": logs, "log": asked.log, "log_label": t("log.label"),
                "jobs": [("", t("job.none")), *[(one["job"], self._job_name(one, words)) for one in seen.jobs[:50]]],
                "job": asked.job if any(one["job"] == asked.job for one in seen.jobs) else "", "job_label": t("job.label"),
                "chips": chips_of(asked, seen.found, words), "status": status,
            }
        )  # fmt: skip

    def _coverage(self, seen: Seen, words: Words) -> str:
        index = seen.index
        if index is None:
            return ""
        key = "index.whole" if index["covered"] == index["size"] else "index.partial"
        return words.t(key, covered=words.count(int(index["covered"])), size=words.count(int(index["size"])))

    def _job_name(self, job: Reply, words: Words) -> str:
        return words.t("job.option", tail=str(job["job"])[-8:], partner=words.party(job["partner"]))

    def _draw_seat(self, seen: Seen, words: Words) -> None:
        """The regulator's seat: until when, and that looking is recorded."""
        me = self._page.me["me"]
        until_ms = me.get("until_ms")
        if "regulator" not in me["roles"]:
            self.seat.clear()
            return
        now_ms = int(seen.status["now_ms"]) if seen.status else 0
        left = formats.left(max(0, (int(until_ms) - now_ms) // 1000), words.lang) if until_ms and now_ms else ""
        until = formats.time(int(until_ms), words.lang)[:16] if until_ms else ""
        told = words.t("seat", left=left, until=until) if left else words.t("seat.plain", until=until)
        self.seat.tell(words.t("seat.title"), [meta(told)], chip=("pending", words.t("seat.recorded")))

    def answer_of(self, seen: Seen, words: Words) -> Answer | None:
        """None while nothing is known yet."""
        asked, timeline = seen.asked, seen.timeline
        if seen.problem is not None and timeline is None:
            return Answer("failed", words.t("answer.failed"), words.both(seen.problem.as_dict()), words.t("todo.failed"))
        if timeline is None:
            return None
        changed = len(verdict.changed_places(seen.audit["findings"])) if seen.audit else 0
        if not timeline["entries"]:
            if asked.is_search:
                what = self._asked_words(seen, words)
                return verdict.no_hits(what, words.maybe(f"kind.{asked.kind}", asked.kind), words, changed=changed)
            return Answer("info", words.t("answer.empty"), "", words.t("todo.empty"))
        if asked.is_find and seen.found is not None:
            return verdict.hits(seen.found, words, changed=changed)
        if asked.job:
            if seen.check is None:
                return verdict.reading(len(timeline["entries"]), words)
            return verdict.of_job(seen.check, len(timeline["one_sided"]), words, silent=self._silent(seen))
        if seen.audit is not None:
            return verdict.of_log(seen.audit, words, silent=self._silent(seen))
        if seen.auditing:
            return verdict.reading(int(timeline["total"]), words)
        pending = int(seen.status["pending"]) if seen.status and not asked.log else 0
        return verdict.unchecked(int(timeline["total"]), pending, words, may_audit=self._page.may("evidence.audit"))

    def _asked_words(self, seen: Seen, words: Words) -> str:
        if seen.asked.text:
            return seen.asked.text
        return " · ".join(label for _, label, _ in chips_of(seen.asked, seen.found, words))

    def _silent(self, seen: Seen) -> list[str]:
        """Institutions whose node does not answer, as this node last saw them."""
        return [str(one["party"]) for one in (seen.status["nodes"] if seen.status else []) if one["state"] == "silent"]

    def _draw_answer(self, seen: Seen, words: Words) -> None:
        found = self.answer_of(seen, words)
        strip = self.answer
        if found is None:
            strip.state = "loading"
            self.panes["numbers"].visible = False
            return
        actions: list[dict[str, Any]] = []
        if found.state == "tampered" and self.changed(seen):
            actions.append({"name": "first", "label": words.t("action.show")})
        elif seen.receipt is not None and seen.asked.job:
            actions.append({"name": "job_receipt", "label": words.t("action.job_receipt")})
        elif seen.asked.is_find:
            empty = seen.timeline is not None and not seen.timeline["entries"]
            actions.append({"name": "clear", "label": words.t("action.clear"), "primary": empty})
        if self._page.may("evidence.audit"):
            actions.append(
                {"name": "audit", "label": words.t("action.audit"), "primary": not any(one.get("primary") for one in actions),
                 "disabled": seen.auditing}
            )  # fmt: skip
        elif seen.asked.job and seen.check is not None:
            actions.append({"name": "check", "label": words.t("action.check")})
        strip.sentence, strip.reason, strip.todo = found.sentence, found.reason, found.todo
        strip.badge, strip.actions = dict(found.badge), actions
        strip.state = found.state
        self.numbers.items = [dict(one) for one in found.numbers]
        self.numbers.remark = found.remark
        self.panes["numbers"].visible = bool(found.numbers)
        if not seen.auditing:
            self._page.notify_lab(title=found.tab)

    def changed(self, seen: Seen) -> set[str]:
        """Places of entries that a check found changed."""
        found = [(one["log"], one["index"]) for one in seen.check["problems"]] if seen.check and seen.asked.job else []
        found += verdict.changed_places(seen.audit["findings"]) if seen.audit else []
        return {f"{log}/{index}" for log, index in found if index is not None}

    def steps(self, seen: Seen, words: Words) -> list[Step]:
        """The timeline as rows before they are folded and numbered; hits keep their order, the newest first."""
        if seen.timeline is None:
            return []
        joined = bool(seen.asked.job) and not seen.asked.is_search
        made = steps(seen.timeline["entries"], words, joined=joined, changed=self.changed(seen))
        return made[::-1] if seen.asked.is_find else made

    def draw_story(self, seen: Seen) -> None:
        """The lanes and, of a whole job, the graph."""
        words, timeline, lanes = self._words(), seen.timeline, self.lanes
        whole_job = bool(seen.asked.job) and not seen.asked.is_search
        shows_graph = whole_job and seen.shape == "graph" and timeline is not None and bool(timeline["entries"])
        self.later["graph"].visible, self.panes["lanes"].visible = shows_graph, not shows_graph
        if timeline is None:
            lanes.state = "failed" if seen.problem is not None else "loading"
            return
        made = self.steps(seen, words)
        heads = seen.check["logs"] if whole_job and seen.check else []
        numbered = bool(seen.asked.job) or seen.asked.is_find
        is_folded = whole_job or not (seen.asked.is_find or seen.asked.kind)
        rows = lane_rows(folded(made, words, seen.opened) if is_folded else made, heads, words, numbered=numbered)
        tiles = words.lanes(timeline["entries"])
        lanes.lanes = tiles
        lanes.rows, lanes.offset, lanes.total = rows, 0, len(rows)
        records = len(timeline["entries"])
        said = {"steps": words.count(len(made)), "records": words.count(records), "day": _days(timeline)}
        is_part = bool(seen.asked.job) and not seen.asked.is_find and int(timeline["count"]) > records
        hint = words.t("lanes.hint_part", count=words.count(int(timeline["count"])), **said) if is_part else words.t("lanes.hint", **said)
        lanes.hint = hint
        lanes.notice = {"sentence": words.t("lanes.empty")} if not rows else {}
        lanes.state = "done" if rows else "empty"
        if shows_graph:
            self.graph.lanes = tiles
            self.graph.stages = stages_of(timeline["entries"], words, changed=self.changed(seen))
            self.graph.hint = hint
        self.mark_row(seen)

    def mark_row(self, seen: Seen) -> None:
        """Show in lanes and graph which entry is beside them."""
        records = {one.id: one.records for one in self.steps(seen, self._words())} if seen.selected else {}
        chosen = next(
            (row for row in self.lanes.rows
             if seen.selected and (row.get("id") == seen.selected or seen.selected in records.get(str(row.get("id")), ()))), None
        )  # fmt: skip
        self.lanes.selected = int(chosen["index"]) if chosen else None
        self.graph.selected = seen.selected

    def _draw_shapes(self, seen: Seen, words: Words) -> None:
        """How the story is shown, and the export of what is looked at."""
        t, actions = words.t, []
        if seen.asked.job and not seen.asked.is_search and seen.timeline is not None and seen.timeline["entries"]:
            for name in ("lanes", "graph"):
                actions.append({"name": f"shape:{name}", "label": t(f"shape.{name}"), "primary": seen.shape == name})
        if self._page.may("evidence.export") and seen.asked.exportable() is not None:
            actions.append({"name": "export", "label": t("action.export"), "disabled": seen.exporting})
        if actions:
            self.shapes.tell("", [meta(t("shapes"))] if len(actions) > 1 else [meta(t("shapes.export"))], actions=actions)
        else:
            self.shapes.clear()

    def _draw_pager(self, seen: Seen, words: Words) -> None:
        timeline = seen.timeline
        if timeline is None or not timeline["entries"]:
            self.pager.clear()
            return
        if seen.asked.job and not seen.asked.is_find:
            self._draw_reach(seen, timeline, words)
            return
        if seen.asked.is_find and seen.found is not None:
            turned = bool(seen.asked.pages)
            actions = [
                {"name": "older", "label": words.t("pager.older"), "disabled": not seen.found["next"]},
                {"name": "newer", "label": words.t("pager.newer"), "disabled": not turned},
                {"name": "newest", "label": words.t("pager.newest"), "disabled": not turned},
            ]
            page = words.count(len(seen.asked.pages) + 1)
            self.pager.tell("", [meta(words.t("pager.hits", page=page)), meta(self._coverage(seen, words))], actions=actions)
            return
        first, last = int(timeline["entries"][0]["index"]), int(timeline["entries"][-1]["index"])
        actions = [
            {"name": "older", "label": words.t("pager.older"), "disabled": not timeline["more"]},
            {"name": "newer", "label": words.t("pager.newer"), "disabled": seen.asked.before is None},
            {"name": "newest", "label": words.t("pager.newest"), "disabled": seen.asked.before is None},
        ]
        told = words.t("pager", first=words.count(first), last=words.count(last), total=words.count(int(timeline["total"])))
        self.pager.tell("", [meta(told)], actions=actions)

    def _draw_reach(self, seen: Seen, timeline: Reply, words: Words) -> None:
        """Of a job longer than one page: how much of it is shown, and the button for what is older."""
        if not timeline["older"] and seen.asked.depth == 1:
            self.pager.clear()
            return
        shown, count = words.count(len(timeline["entries"])), words.count(int(timeline["count"]))
        if not timeline["older"]:
            self.pager.tell("", [meta(words.t("pager.story_whole", count=count))])
            return
        label = words.t("pager.loading" if seen.reaching_back else "pager.load")
        self.pager.tell("", [meta(words.t("pager.story", shown=shown, count=count))], actions=[{"name": "older", "label": label}])

    def _draw_checked(self, seen: Seen, words: Words) -> None:
        """What was checked and what not; findings that no field names; contradictory heads; what nobody can promise."""
        t = words.t
        lines = []
        if seen.asked.job and seen.check is not None:
            lines = [item(t(f"checked.{one}")) for one in ("body", "tree", "signatures", "frames")]
            lines += [] if seen.audit is not None else [item(t("checked.not_rest"))]
        if seen.audit is not None:
            audit = seen.audit
            mirrors = words.count(sum(int(one) for one in audit["mirrors"].values()))
            lines += [
                item(t("audited.bodies", own=words.count(audit["entries"]), mirrors=mirrors)),
                item(t("audited.heads", size=words.count(audit["checkpoint_size"]))),
                item(t("audited.openings")), item(t("audited.conflicts", count=words.count(len(audit["conflicts"])))),
            ]  # fmt: skip
            grown = int(seen.timeline["total"]) - int(audit["entries"]) if seen.timeline and not seen.asked.log and not seen.asked.is_find else 0
            if grown > 0:
                lines.append(item(t("audited.grown", count=words.count(grown))))
        if lines:
            lines += [item(one) for one in anchor_lines(seen.anchors, words)]
            self.checked.tell(t("checked"), lines, folds=True, is_open=True)
        else:
            self.checked.clear()
        self._draw_findings(seen, words)
        limits = ["held", "before", "all", "clock", *(["demo"] if self._page.me["workspace"] != "production" else [])]
        self.promise.tell(t("promise"), [item(t(f"promise.{one}")) for one in limits], folds=True, is_open=True)

    def _draw_findings(self, seen: Seen, words: Words) -> None:
        t = words.t
        findings = list(seen.audit["findings"]) if seen.audit else []
        self.later["findings"].visible = bool(findings)
        self.findings.heading = t("findings")
        self.findings.columns = [
            {"key": "place", "label": t("findings.place")}, {"key": "problem", "label": t("findings.problem")},
            {"key": "told", "label": t("findings.told")},
        ]  # fmt: skip
        self.findings.openable = True
        self.findings.rows = [
            {
                "id": f"{one['log']}/{one['index']}" if one["index"] is not None else f"finding:{number}",
                "place": words.place(one) if one["index"] is not None else words.party(one["log"]),
                "problem": words.problem(one["problem"]), "told": words.named(words.both(one)),
            }
            for number, one in enumerate(findings)
        ]  # fmt: skip
        conflicts = list(seen.audit["conflicts"]) if seen.audit else list(seen.check["conflicts"]) if seen.check else []
        self.later["heads"].visible = bool(conflicts)
        self.heads.heading = t("heads")
        self.heads.columns = [
            {"key": "log", "label": t("heads.log")}, {"key": "held", "label": t("heads.held")},
            {"key": "offered", "label": t("heads.offered")}, {"key": "found", "label": t("heads.found"), "kind": "time"},
        ]  # fmt: skip
        self.heads.rows = [
            {
                "log": words.party(one["log"]), "held": verdict.head_of(one["held"], words),
                "offered": verdict.head_of(one["offered"], words), "found": one["found_ms"],
            }
            for one in conflicts
        ]  # fmt: skip

    def _draw_receipt(self, seen: Seen, words: Words) -> None:
        shown = bool(seen.asked.job and seen.receipt is not None and seen.check is not None)
        self.later["receipt"].visible = shown
        if not shown or seen.receipt is None or seen.check is None:
            return
        receipt = seen.receipt["receipt"]
        lines = str(receipt["checkpoint"]).split("\n")
        logs = {one["log"]: one for one in seen.check["logs"]}
        # As strong as the weakest log: an institution counts when it signed every log of the job.
        weakest = [{"party": party, "valid": all(_signed(one, party) for one in logs.values())} for party in words.ordered()]
        required = {party for one in logs.values() for party in one["required"]}
        name = f"R{seen.asked.job[1:]}"
        self.receipt_card.receipt = {
            "id": name, "checkpoint": int(lines[1]) if lines[1].isdigit() else 0,
            "cosigners": [
                {key: value for key, value in one.items() if key != "algorithm"} for one in signature_rows(weakest, words)
            ],
            "required": max(1, len(required)),
            "roots": [{"algorithm": "SHA-256", "hex": _hex(lines[2])}, {"algorithm": "SM3", "hex": _hex(lines[3].removeprefix("sm3 "))}],
            "command": f"workbench verify {name}.json --trust trust.json",
        }  # fmt: skip


def anchor_lines(anchors: Reply | None, words: Words) -> list[str]:
    """How far the own log is anchored outside, in sentences; that nothing is configured is said too."""
    shown = [one for one in (anchors["anchors"] if anchors else []) if one["state"] != "off"]
    if not shown:
        return [words.t("anchors.none")]
    return [words.t("anchors.one", kind=words.maybe(f"anchor.{one['kind']}", one["kind"]), told=words.both(one)) for one in shown]


def _days(timeline: Reply) -> str:
    times = [int(one["time_ms"]) for one in timeline["entries"] if one["time_ms"]]
    if not times:
        return ""
    first, last = formats.date(min(times)), formats.date(max(times))
    return first if first == last else f"{first} – {last}"


def _signed(log: Reply, party: str) -> bool:
    return any(one["party"] == party and one["valid"] for one in log["signatures"])


def _hex(base64_text: str) -> str:
    try:
        return base64.b64decode(base64_text, validate=True).hex()
    except (binascii.Error, ValueError):
        return ""


__all__ = ["Board", "Seen", "anchor_lines"]
