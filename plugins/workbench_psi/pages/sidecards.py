"""Cards that stand beside an intersection: what was agreed, who learns what, what is not promised. Texts only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workbench.app.parts import notes
from workbench.app.parts.notes import Block
from workbench_psi.pages.answers import Job
from workbench_psi.pages.names import Names, Translate
from workbench_psi.pages.rows import kept_at, reason_label
from workbench_widgets import formats


def contract(job: Job, names: Names, t: Translate, *, list_name: str = "") -> list[Block]:
    """What both sides signed, and our own choices, which never leave this institution."""
    request = job["request"]
    mine, theirs = names.party(names.own), names.party(job["partner"])
    proposer, approver = (mine, theirs) if job["side"] == "initiator" else (theirs, mine)
    rows = job["waterfall"]
    whole, usable = kept_at(rows, "imported"), kept_at(rows, "consent")
    sizes = t("contract.sizes", whole=formats.count(whole), usable=formats.count(usable)) if usable is not None else ""
    proposed = t("contract.by", party=proposer, person=job["proposed_by"]) if job["proposed_by"] else proposer
    decided = job["state"] not in ("PROPOSED", "REJECTED", "WITHDRAWN", "EXPIRED")
    approved = t("contract.by", party=approver, person=job["approved_by"]) if job["approved_by"] else approver
    own = notes.facts(
        (t("contract.list"), list_name),
        (t("contract.rule"), str(request.get("audience", "")) or t("contract.everybody"), "mono"),
        (t("contract.size"), sizes),
        (t("contract.columns"), t("word.comma").join(request.get("columns", []))),
        (t("contract.total_time"), formats.duration(request.get("timeout_s"), _lang(names)) if request.get("timeout_s") else ""),
        (t("contract.attempt"), t("contract.attempt_no", number=job["attempt"]) if job["attempt"] else ""),
    )
    return [
        notes.heading(t("contract.title")),
        notes.facts(
            (t("contract.purpose"), names.purpose(job["purpose"])),
            (t("contract.key"), t(f"field.{job['key_kind']}")),
            (t("contract.floor"), t("contract.people", count=formats.count(job["minimum_crowd"]))),
            (t("contract.directions"), t("contract.both_ways", mine=mine, theirs=theirs)),
            (t("contract.until"), formats.time(job["valid_until_ms"])),
            (t("contract.engine"), t("contract.engine_mode", engine=job["engine"])),
            (t("contract.proposed"), f"{proposed} · {formats.time(job['created_ms'])}"),
            (t("contract.approved"), approved if decided else t("contract.not_yet")),
        ),
        *([notes.text(t("contract.own_side", party=mine), meta=True), own] if request else []),
    ]


def declared(job: Job, names: Names) -> dict[str, Any]:
    """What the engine of this plugin declares about a job that uses it: security and learns; {} for another engine."""
    from workbench_psi.engine import GUARANTEES, NAME, VERSION

    if job["engine"] != f"{NAME}/{VERSION}":
        return {}
    zh = names.lang == "zh"
    return {
        "learns": GUARANTEES.learns_zh if zh else GUARANTEES.learns_en,
        "security": GUARANTEES.security_model_zh if zh else GUARANTEES.security_model_en,
    }


def who_learns(learns: Sequence[str], security: str, partner: str, names: Names, t: Translate) -> list[Block]:
    """What each side will know, what it will not, and under which assumption; learns and security come from the engine."""
    theirs = names.party(partner)
    return [
        notes.heading(t("learns.title"), t("learns.hint")),
        notes.columns(
            notes.bullets(learns, title=t("learns.both"), mark="yes"),
            notes.bullets(
                [t("learns.not_others", partner=theirs), t("learns.not_tags"), t("learns.not_size"), t("learns.not_names")],
                title=t("learns.neither"), mark="no",
            ),
        ),
        notes.bullets([security], title=t("learns.premise"), mark="warn"),
    ]  # fmt: skip


def not_promised(t: Translate, *, workspace: str, after_run: bool = False) -> list[Block]:
    """What this page cannot promise; said on it and not in small print."""
    rows = [t("limits.honest"), t("limits.fairness"), t("limits.list_true"), t("limits.after_export")]
    if after_run:
        rows = [t("limits.receipt"), *rows]
    if workspace != "production":
        rows.append(t("limits.one_machine"))
    return [notes.heading(t("limits.title")), notes.bullets(rows, mark="warn")]


def budget(preview: Mapping[str, Any], t: Translate) -> str:
    """Attempts that this period leaves for this partner and purpose."""
    return t("budget.left", left=formats.count(preview["attempts_left"]), limit=formats.count(preview["attempts_limit"]), days=preview["period_days"])


def near_duplicates(found: Sequence[Mapping[str, Any]], partner: str, names: Names, t: Translate, *, before: bool) -> list[Block]:
    """Why a list that is nearly the same as an earlier one tells the partner who was added; [] when there is none.

    found: {job, share}, share None when it is not known; before: nothing has been compared yet.
    """
    if not found:
        return []
    told = [
        t("near.one", job=one["job"], share=formats.share(one["share"])) if one.get("share") is not None else t("near.one_unknown", job=one["job"])
        for one in found
    ]
    theirs = names.party(partner)
    return [
        notes.heading(t("near.title")),
        notes.bullets(told, mark="warn", tone="pending"),
        notes.text(t("near.why", partner=theirs)),
        notes.text(t("near.why_floor")),
        notes.bullets([t("near.wait"), t("near.use_last")] if before else [t("near.next_time")], title=t("near.todo")),
        notes.text(t("near.recorded", partner=theirs), meta=True),
    ]


def deviations(baseline: Mapping[str, Any], t: Translate) -> list[Block]:
    """Shares of this result that are far from the median of earlier ones; [] when none is. baseline: of the job's result."""
    found = baseline.get("deviations", [])
    if not found:
        return []
    told = [
        t(
            "baseline.below" if one["is_below"] else "baseline.one",
            name=t("baseline.matched") if one["code"] == "MATCHED" else reason_label(one["code"], t),
            share=formats.share(one["share"]),
            median=formats.share(one["median"]),
        )
        for one in found
    ]
    return [
        notes.heading(t("baseline.title"), t("baseline.hint", count=baseline["earlier"])),
        notes.bullets(told, mark="warn", tone="pending"),
        notes.text(t("baseline.todo"), meta=True),
    ]


def pointed_out(report: Mapping[str, Any], t: Translate) -> list[Block]:
    """What the quality report says besides refused rows: the age of the data, and customers whose rows disagree."""
    age = report.get("age")
    if not age:  # a list of before these were counted
        return []
    told = [] if age["source"] else [t("quality.age_unknown")]
    if age["stale"]:
        told.append(t("quality.stale", count=formats.count(age["stale"]), days=age["days"], oldest=age["oldest"]))
    if age["source"] and age["undated"]:
        told.append(t("quality.undated", count=formats.count(age["undated"])))
    if report["class_conflicts"]:
        told.append(t("quality.conflicts", count=formats.count(report["class_conflicts"])))
        for one in report["conflicts"]:
            lines = " → ".join(
                t("quality.conflict_line", level=level or t("quality.no_level"), line=line)
                for level, line in zip(one["levels"], one["lines"], strict=True)
            )
            told.append(f"{one['customer']}　{lines}")
    span = [notes.text(t("quality.age", oldest=age["oldest"], newest=age["newest"]), meta=True)] if age["oldest"] else []
    points = [notes.bullets(told, mark="warn", tone="pending")] if told else []
    return [notes.heading(t("quality.pointed_out")), *points, *span] if points or span else []


def interrupted(job: Job, names: Names, t: Translate) -> list[Block]:
    """What happens when the run stops half-way."""
    return [notes.heading(t("stop.title")), notes.text(t("stop.text", partner=names.party(job["partner"])))]


def call_in_notebook(job: Job, t: Translate) -> list[Block]:
    """The same intersection from a notebook."""
    request: Mapping[str, Any] = job["request"]
    if job["side"] != "initiator" or not request:
        return []
    shown = {
        "purpose": job["purpose"],
        "key_kind": job["key_kind"],
        "audience": request.get("audience", ""),
        "minimum_crowd": request.get("minimum_crowd"),
        "columns": request.get("columns", []),
    }
    given = [f"{name}={value!r}" for name, value in shown.items() if value not in ("", [], None)]
    line = f"wb.intersect({', '.join([repr(job['partner']), *given])})"
    return [
        notes.heading(t("notebook.title")),
        notes.command(line, copy=t("word.copy"), copied=t("word.copied"), select=t("word.select")),
    ]


def _lang(names: Names) -> formats.Lang:
    return "zh" if names.lang == "zh" else "en"
