"""The side of the page: one entry with its meaning, fields, chain of proof, signatures and what can be done with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import panel as pn

from workbench.app.page import PageContext
from workbench_ledger.pages.browser import Card, Later, command, meta, pair, text
from workbench_ledger.pages.words import Words, safe
from workbench_widgets import DataTable, FieldDiff, ProofChain, ProofPath, formats
from workbench_widgets.panel_pane import pane

Reply = Mapping[str, Any]


class Inspector:
    """Shows one entry. act(name) is called with "verify", "receipt", "job", "counterpart", "compare", "log:…" or "close"."""

    def __init__(self, page: PageContext, words: Callable[[], Words], act: Callable[[str], Any]) -> None:
        self._page = page
        self._words = words
        self.entry: Reply | None = None
        self._comparison: Reply | None = None
        self.head = Card(act)
        self._fields = page.follow(DataTable(page_size=40, framed=True))
        self._diff = page.follow(FieldDiff())
        self._chain = page.follow(ProofChain())
        self.path = page.follow(ProofPath())
        self._anchors: Reply | None = None
        self._finding: Reply | None = None
        self._after = Card(act)
        self._panes: dict[str, Any] = {
            "fields": pane(self._fields, margin=0),
            "diff": Later(self._diff),
            "chain": pane(self._chain, margin=0),
            "path": Later(self.path),
        }
        self.view = pn.Column(
            self.head, self._panes["diff"].view, self._panes["fields"], self._panes["chain"], self._panes["path"].view, self._after,
            sizing_mode="stretch_width", margin=0, stylesheets=[GAPS],
        )  # fmt: skip
        self.clear()

    def clear(self) -> None:
        """No entry is chosen."""
        self.entry, self._comparison, self._finding = None, None, None
        self.head.tell(self._words().t("inspector"), [meta(self._words().t("inspector.empty"))])
        for one in self._panes.values():
            one.visible = False
        self._after.clear()

    def loading(self) -> None:
        """Another entry is on its way."""
        self.entry, self._comparison = None, None
        for one in (self._fields, self._chain):
            one.state = "loading"

    def show(self, reply: Reply, comparison: Reply | None) -> None:
        """Show a reply of evidence.entry; comparison: of evidence.compare, when it was asked for."""
        self.entry, self._comparison, self._finding = reply, comparison, None
        self._panes["path"].visible = False
        self.redraw()

    def show_path(self, reply: Reply, anchors: Reply | None) -> None:
        """Draw what was checked, from a reply of evidence.entry; anchors: of ledger.anchors, None when there is none."""
        self.entry, self._anchors = reply, anchors
        self._panes["path"].visible = True
        self.path.turn += 1
        self.redraw()
        self.path.take_focus()

    def show_finding(self, finding: Reply) -> None:
        """A finding that no entry explains: about a tree, a signed head, or the end of a log."""
        self.clear()
        self._finding = finding
        self._draw_finding(self._words(), finding)

    def _draw_finding(self, words: Words, finding: Reply) -> None:
        t, party = words.t, words.party(str(finding["log"]))
        lines = [text(words.named(words.both(finding))), meta(t("finding.no_entry", party=party))]
        todo = t("todo.restore" if finding["log"] == words.own else "todo.restore_mirror", party=words.party(words.own))
        lines.append(pair(t("findings.todo"), todo))
        actions = [{"name": f"log:{finding['log']}", "label": t("action.log", party=party), "primary": True}]
        heading = t("finding.title", party=party, problem=words.problem(str(finding["problem"])))
        self.head.tell(heading, lines, chip=("tampered", words.problem(str(finding["problem"]))), close=t("close"), actions=actions)

    def redraw(self) -> None:
        """The same again, in the language of this moment."""
        if self._finding is not None:
            self._draw_finding(self._words(), self._finding)
            return
        if self.entry is None:
            if not self._panes["fields"].visible:
                self.clear()
            return
        words, entry = self._words(), self.entry["entry"]
        self._draw_head(words, self.entry, entry)
        self._draw_fields(words, self.entry, entry)
        self._draw_chain(words, self.entry)
        self._draw_path(words, self.entry)
        self._draw_after(words, self.entry, entry)

    # ------------------------------------------------------------------ parts

    def _draw_head(self, words: Words, reply: Reply, entry: Reply) -> None:
        t = words.t
        broken = str(reply["problem"])
        if broken:
            chip = ("tampered", words.problem(broken))
        elif entry["seal"] == "PENDING":
            chip = ("pending", t("seal.PENDING"))
        else:
            share = f"{len(entry['cosigners'])}/{len(entry['cosigners']) + len(entry['missing'])}"
            chip = ("sealed" if entry["seal"] == "FULL" else "pending", t(f"seal.{entry['seal']}", share=share))
        when = formats.time(entry["time_ms"], words.lang) if entry["time_ms"] else t("no_time")
        who = safe(str(entry["actor"])) or t("by_node")
        lines = [text(words.meaning(entry)), meta(t("inspector.when", time=when, who=who))]
        if entry["refs"]:
            lines.append(meta(t("inspector.refs", count=words.count(len(entry["refs"])))))
        heading = t("inspector.title", place=words.place(entry), name=words.title(entry))
        self.head.tell(heading, lines, chip=chip, close=t("close"))

    def _draw_fields(self, words: Words, reply: Reply, entry: Reply) -> None:
        t = words.t
        compared = self._comparison is not None and bool(self._comparison["rows"])
        self._panes["diff"].visible = compared
        self._panes["fields"].visible = not compared and bool(reply["fields"])
        if compared and self._comparison is not None:
            others = [party for party, state in self._comparison["copies"].items() if state == "cosigned"]
            self._diff.here_label = t("diff.here")
            self._diff.cosigned_label = t("diff.cosigned", tiles=words.letters(others))
            self._diff.heading = t("fields")
            self._diff.rows = diff_rows(self._comparison["rows"], words)
            return
        self._fields.heading = t("fields")
        closed = [one for one in reply["fields"] if one["value"] is None and one["name"] != "list_key"]
        self._fields.hint = t("fields.closed", count=words.count(len(closed))) if closed else ""
        self._fields.columns = [
            {"key": "name", "label": t("fields.name")},
            {"key": "value", "label": t("fields.value")},
            {"key": "seen", "label": t("fields.seen")},
        ]
        self._fields.rows = field_rows(reply["fields"], entry, words)
        self._fields.state = "done"

    def _draw_chain(self, words: Words, reply: Reply) -> None:
        t = words.t
        self._panes["chain"].visible = True
        proof = reply["proof"]
        self._chain.state = "done" if proof else "empty"
        broken = str(reply["problem"])
        self._chain.heading = t("chain.broken" if broken else "chain")
        if not proof:
            self._chain.proof = {}
            self._chain.notice = {"sentence": t("chain.none"), "reason": t("chain.none_reason")}
            return
        self._chain.notice = {}
        self._chain.proof = {
            "body_base64": reply["body"], "index": proof["index"], "size": proof["size"], "path": proof["path"],
            "root": proof["root"], **({"leaf_hash": proof["leaf"]} if proof["leaf"] else {}),
        }  # fmt: skip
        self._chain.signatures = signature_rows(reply["signatures"], words)
        self._chain.required = max(1, int(reply["at_least"]))
        self._chain.remark = words.maybe(f"chain.{broken}", "", party=words.party(reply["entry"]["log"])) if broken else ""

    def _draw_path(self, words: Words, reply: Reply) -> None:
        proof = reply["proof"]
        if not self._panes["path"].visible:
            return
        t = words.t
        self.path.state = "done" if proof else "empty"
        self.path.notice = {} if proof else {"sentence": t("chain.none"), "reason": t("chain.none_reason")}
        self.path.proof = {} if not proof else {
            "body_base64": reply["body"], "index": proof["index"], "size": proof["size"], "path": proof["path"], "root": proof["root"],
            "text": proof["text"], "sm3": proof["sm3"], **({"leaf_hash": proof["leaf"]} if proof["leaf"] else {}),
        }  # fmt: skip
        self.path.signatures = [
            {**words.tiles(one["party"]), "verdict": "valid" if one["valid"] else "missing",
             **({"time_ms": one["time_ms"]} if one["time_ms"] else {})}
            for one in sorted(reply["signatures"], key=lambda one: words.rank(one["party"]))
        ]  # fmt: skip
        self.path.required = max(1, int(reply["at_least"]))
        self.path.anchors = anchor_rows(self._anchors, words)
        self.path.no_anchor = t("anchors.none")

    def _draw_after(self, words: Words, reply: Reply, entry: Reply) -> None:
        t = words.t
        lines = []
        for one in sorted(reply["signatures"], key=lambda one: words.rank(one["party"])):
            when = formats.time(one["time_ms"], words.lang) if one["time_ms"] else ""
            needed = one["party"] in reply["required"]
            said = t("signed_at", time=when) if one["valid"] else t("unsigned_required" if needed else "unsigned")
            lines.append(
                pair(words.party(one["party"]), said, state="sealed" if one["valid"] else "pending")
            )
        if reply["problem"]:
            lines.append(pair(t("effect"), t("effect.text")))
            lines.append(pair(t("who_changed"), t("who_changed.text")))
        lines.append(meta(t("cosign.means")))
        actions: list[dict[str, Any]] = [{"name": "verify", "label": t("action.verify"), "primary": True}]
        if reply["receipt"] and not reply["problem"]:
            lines += [meta(t("offline")), command(self.offline_command(entry))]
            actions.append({"name": "receipt", "label": t("action.receipt")})
        if entry["counterpart"] or (entry["kind"] == "intersection.message" and entry["job"]):
            actions.append({"name": "counterpart", "label": t("action.counterpart")})
        if reply["problem"] or not entry["job"]:
            actions.append({"name": "compare", "label": t("action.compare")})
        if entry["job"]:
            actions.append({"name": "job", "label": t("action.job")})
        self._after.tell(t("cosignatures"), lines, actions=actions)

    @staticmethod
    def file_name(entry: Reply) -> str:
        """Under which name this entry's receipt is saved."""
        return f"E-{entry['log']}-{entry['index']}.json"

    def offline_command(self, entry: Reply) -> str:
        """How the saved receipt is checked without this program's services."""
        return f"workbench verify {self.file_name(entry)} --trust trust.json"

    def receipt_text(self) -> str:
        """The receipt of the entry shown, as it is saved."""
        return json.dumps(self.entry["receipt"], ensure_ascii=False, indent=1) if self.entry else ""


def field_rows(fields: Sequence[Reply], entry: Reply, words: Words) -> list[dict[str, Any]]:
    """Fields with their explanation, value and who can see it; a closed value is said to be closed."""
    t = words.t
    own = entry["log"] == words.own
    rows = []
    for one in fields:
        shared = one["visibility"] == "shared"
        value = one["value"]
        if value is None and own and one["name"] == "list_key":
            shown = t("value.in_receipt")
        elif value is None:
            shown = t("value.erased" if own else "value.closed", party=words.party(entry["log"]))
        else:
            shown = words.value(one["name"], value, one["unit"]) or t("empty_value")
        seen = t("seen.shared") if shared else t("seen.committed", party=words.party(entry["log"]))
        rows.append({"name": words.both(one), "value": safe(shown), "seen": seen})
    return rows


def diff_rows(rows: Sequence[Reply], words: Words) -> list[dict[str, Any]]:
    """Rows of a field by field comparison; commitments are compared as what they are, without pretending to know values."""
    t = words.t
    made = []
    for row in rows:
        closed = row["visibility"] == "committed"
        here, there = row["here"], row["cosigned"]
        if here is None:
            verdict = "missing_here"
        elif there is None:
            verdict = "missing_cosigned"
        else:
            verdict = "same" if here == there else "differs"
        shown = [_shown(row, value, words, closed=closed) for value in (here, there)]
        if verdict == "differs" and shown[0] == shown[1]:
            shown = [safe(str(here)), safe(str(there))]  # equal when shortened: then at full length
        if verdict == "differs" and shown[0] == shown[1]:
            shown = [f"{shown[0]} (1)", f"{shown[1]} (2)"]
        if not row["visibility"] and here == there and (not here or row["name"] == "kind"):
            continue  # the heading says the kind; no person and no reference is nothing to compare
        explain = t("diff.commitment") if closed else ""
        made.append(
            {"field": words.both(row), "here": shown[0], "cosigned": shown[1], "verdict": verdict, **({"explain": explain} if explain else {})}
        )
    return made


def _shown(row: Reply, value: str | None, words: Words, *, closed: bool) -> str:
    if value is None:
        return ""
    if closed:
        return words.t("commitment", digest=formats.digest("", value))
    return words.value(str(row["name"]), value) or words.t("empty_value")


def signature_rows(signatures: Sequence[Reply], words: Words) -> list[dict[str, Any]]:
    """Co-signatures as the chain of proof takes them."""
    return [
        {**words.tiles(one["party"]), "verdict": "valid" if one["valid"] else "missing", "algorithm": "SM2 · Ed25519"}
        for one in sorted(signatures, key=lambda one: words.rank(one["party"]))
    ]


_ANCHOR_STATES = {"confirmed": "sealed", "waiting": "pending", "none": "neutral", "conflict": "tampered", "lost": "failed"}


def anchor_rows(anchors: Reply | None, words: Words) -> list[dict[str, Any]]:
    """Anchors as the proof path takes them; those that are switched off are left out."""
    return [
        {
            "label": words.maybe(f"anchor.{one['kind']}", str(one["kind"])),
            "word": words.maybe(f"anchor.state.{one['state']}", str(one["state"])),
            "state": _ANCHOR_STATES.get(str(one["state"]), "neutral"),
            **({"time_ms": one["time_ms"]} if one["time_ms"] else {}),
        }
        for one in (anchors["anchors"] if anchors else [])
        if one["state"] != "off"
    ]


GAPS = ":host { display: flex; flex-direction: column; gap: 12px; } div { flex: none; } .scroll-button { display: none; }"
"""Panel puts a hidden element at the end of each column, which the gap would set apart."""
__all__ = ["GAPS", "Inspector", "anchor_rows", "diff_rows", "field_rows", "signature_rows"]
