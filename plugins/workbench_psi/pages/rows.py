"""From the node's replies to the data of components: waterfalls, phases, messages, receipts, lists. Pure."""

from __future__ import annotations

import base64
import csv
import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from workbench_psi.pages.answers import PHASES, Job, phase_number
from workbench_psi.pages.names import CHIP_OF_STATE, NO_RESULT, OPEN_STATES, Names, Translate
from workbench_widgets import formats

Row = dict[str, Any]
RULE_MAX_VALUES = 24
"""Up to so many known values a tag is chosen from a list; beyond, it is typed."""
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LEVEL = re.compile("[Cc][1-5]")


# ---------------------------------------------------------------------------------------------- waterfall


def waterfall_rows(rows: Sequence[Mapping[str, Any]], names: Names, partner: str, t: Translate, *, opened: bool = True) -> list[Row]:
    """Rows for the Waterfall component; opened: reasons of the consent step are shown from the start."""
    made = []
    for row in rows:
        one: Row = {"label": _step_label(row, names, partner, t), "kept": row["kept"], "removed": row["removed"]}
        if row["reasons"]:
            ordered = sorted(row["reasons"].items(), key=lambda item: (-item[1], item[0]))
            one["reasons"] = [{"label": reason_label(code, t), "count": count, "code": code} for code, count in ordered]
            one["open"] = opened
        made.append(one)
    return made


def _step_label(row: Mapping[str, Any], names: Names, partner: str, t: Translate) -> str:
    code = str(row["code"])
    if code == "consent":
        return t("step.consent", mine=names.tiles.get(names.own, ""), theirs=names.tiles.get(partner, partner))
    return t(f"step.{code}") if code in ("imported", "audience", "matched", "recheck") else str(row[names.lang])


def reason_label(code: str, t: Translate) -> str:
    """Why a customer may not be used, in words; a code this page does not know stands for itself."""
    try:
        return t(f"reason.{code}")
    except KeyError:
        return code


def kept_at(rows: Sequence[Mapping[str, Any]], code: str) -> int | None:
    """Customers kept after a step of the waterfall; None when there is no such step."""
    return next((int(row["kept"]) for row in rows if row["code"] == code), None)


# ---------------------------------------------------------------------------------------------- phases


def phase_rows(job: Job, times: Mapping[str, tuple[int, int | None]], records: Mapping[str, str], t: Translate) -> list[Row]:
    """Rows for the PhaseList component, one for each phase and one for sealing.

    times: start and end of the phases this page saw, ms. records: record state by phase. Our finished phases show our
    exact number of customers; what runs, and the partner's side, are points with padding.
    """
    progress = job["progress"]
    number = phase_number(progress) if progress else (len(PHASES) if job["state"] == "SEALING" else 0)
    points = _points(progress)
    made = []
    for at, name in enumerate(PHASES, 1):
        state = "done" if at < number else "running" if at == number else "waiting"
        row: Row = {"name": t(f"phase.{name}"), "state": state, "learn": t(f"learn.{name}", floor=formats.count(job["minimum_crowd"]))}
        if state != "waiting":
            row |= _phase_counts(name, state, progress, {"own": kept_at(job["waterfall"], "consent") or 0, **points})
            started, ended = times.get(name, (None, None))
            now_ms = progress.get("now_ms") if state == "running" else None
            end = ended or now_ms
            row["seconds"] = (end - started) / 1000 if started is not None and end is not None else None
            row["record"] = records.get(name, "pending")
        if state == "running":
            row["note"] = t(f"note.{name}")
        made.append(row)
    return made


PHASE_COLUMNS = (("phase", "text"), ("began", "clock"), ("took", "text"), ("record", "state"))
"""Columns of the table of phases of a run that is over."""


def phase_times(job: Job) -> dict[str, tuple[int, int | None]]:
    """Start and end of the phases of the last attempt as the node kept them, ms; the end of one that runs is None."""
    known = job.get("phases", [])
    starts = [int(one["since_ms"]) for one in known]
    last = int(job["updated_ms"]) if job["is_final"] else None
    return {str(one["name"]): (start, end) for one, start, end in zip(known, starts, [*starts[1:], last], strict=False)}


def phase_table(job: Job, entries: Sequence[Mapping[str, Any]], names: Names, t: Translate) -> list[Row]:
    """Rows of the phases of a run that is over, for a page that was not open while it ran."""
    times = phase_times(job)
    records = record_states(times, entries)
    lang: formats.Lang = "zh" if names.lang == "zh" else "en"
    made = []
    for name, (start, end) in times.items():
        seconds = None if end is None else max(0, end - start) / 1000
        took = formats.quantity(seconds, "s", 1) if seconds is None or seconds < 60 else formats.duration(seconds, lang)
        record = records.get(name, "pending")
        label = t(f"phase.{name}") if name in PHASES else name
        made.append({"phase": label, "began": start, "took": took, "record": {"state": record, "label": t(f"record.{record}")}})
    return made


def phase_columns(t: Translate) -> list[Row]:
    return [{"key": key, "label": t(f"phases.{key}"), "kind": kind} for key, kind in PHASE_COLUMNS]


def _points(progress: Mapping[str, Any]) -> dict[str, int]:
    """Totals of the phases that count points, as far as this page saw them."""
    return dict(progress.get("totals", {})) if progress else {}


def _phase_counts(name: str, state: str, progress: Mapping[str, Any], points: Mapping[str, int]) -> Row:
    done, total = progress.get("done", 0), progress.get("total", 0)
    running = state == "running"
    if name in ("prepare", "mask"):
        own = total if running else points["own"]
        theirs = points.get("compare")
        row: Row = {"mine": {"done": done if running else own, "total": own}} if own else {}
        return row | ({"theirs": {"done": theirs, "total": theirs}} if theirs else {})
    if name == "compare":
        own, theirs = points["own"], points.get("compare") or (total if running else 0)
        row = {"theirs": {"done": done if running else theirs, "total": theirs}} if theirs else {}
        return row | ({"mine": {"done": own, "total": own}} if own and not running else {})
    if name == "reveal" and (running or "reveal" in points):
        slices = points.get("reveal", total)
        share = {"done": done if running else slices, "total": slices}
        return {"mine": share, "theirs": share}
    return {}


def record_states(times: Mapping[str, tuple[int, int | None]], entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Record state by phase: sealed when every own entry up to its end is co-signed.

    entries: the newest own entries about the job, oldest first; what is older than they are is as far as the oldest.
    """
    if not entries:
        return {}
    open_ms = [int(entry["time_ms"]) for entry in entries if entry["seal"] == "PENDING"]
    first_open = min(open_ms) if open_ms else None
    ended = {name: end for name, (_, end) in times.items() if end is not None}
    for earlier, later in itertools.pairwise(PHASES):
        if later in times:
            ended.setdefault(earlier, times[later][0])
    sealed = [name for name, end in ended.items() if first_open is None or end < first_open]
    # The log is one line: what lies before something sealed is sealed too.
    last = max((PHASES.index(name) for name in sealed), default=-1)
    return {name: "sealed" if at <= last else "pending" for at, name in enumerate(PHASES)}


MESSAGE_COLUMNS = (("time", "clock"), ("way", "text"), ("what", "text"), ("size", "size"), ("digest", "digest"), ("seal", "state"))
"""Columns of the table of messages and how the component shows them."""


def near_duplicates(job: Job, entries: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Earlier jobs whose list of ours was nearly the same, the nearest first: {job, share}; share None when not kept.

    A job keeps them while it runs and when it is released; of one that ended otherwise the own entry of its last attempt
    tells how many there were and the nearest. entries: own entries about it, oldest first.
    """
    kept = job["result"].get("near_duplicates") or []
    if kept:
        return [{"job": str(one["job"]), "share": float(one["share"])} for one in kept]
    started = [entry for entry in entries if entry["kind"] == "intersection.attempt_started"]
    nearest = str(started[-1].get("values", {}).get("nearest", "")) if started else ""
    return [{"job": nearest, "share": None}] if nearest else []


def message_columns(t: Translate) -> list[Row]:
    return [{"key": key, "label": t(f"message.{key}"), "kind": kind} for key, kind in MESSAGE_COLUMNS]


def message_rows(entries: Sequence[Mapping[str, Any]], names: Names, t: Translate, *, limit: int = 6) -> list[Row]:
    """The newest protocol messages of the own log, newest first; never a body, only direction, kind, size and digest."""
    own = [entry for entry in entries if entry["log"] == names.own and entry["kind"] == "intersection.message"]
    rows = []
    for entry in own[-limit:][::-1]:
        values = entry["values"]
        partner = str(values.get("partner", ""))
        mine, theirs = names.tiles.get(names.own, names.own), names.tiles.get(partner, partner)
        rows.append(
            {
                "time": entry["time_ms"],
                "way": f"{mine} → {theirs}" if values.get("direction") == "sent" else f"{theirs} → {mine}",
                "what": _message_name(str(values.get("message", "")), t),
                "size": int(values["size"]) if str(values.get("size", "")).isdigit() else None,
                "digest": {"algorithm": "SM3", "hex": str(values.get("digest", ""))},
                "seal": "pending" if entry["seal"] == "PENDING" else "sealed",
            }
        )
    return rows


def _message_name(kind: str, t: Translate) -> str:
    try:
        return t(f"frame.{kind}")
    except KeyError:
        return kind


# ---------------------------------------------------------------------------------------------- result


def receipt_data(job: Job, receipt: Mapping[str, Any], entry: Mapping[str, Any], names: Names) -> Row:
    """Data for the ReceiptCard component.

    receipt: reply of evidence.receipt. entry: reply of evidence.entry for the release entry, which checked it.
    """
    size, roots = checkpoint(str(receipt["checkpoint"]))
    signed = set(entry["entry"]["cosigners"])
    holds = all(step["ok"] for step in entry["steps"])
    number = receipt_name(job["job"])
    parties = sorted(names.parties, key=lambda party: (party != names.own, names.party(party)))
    return {
        "id": number,
        "checkpoint": size,
        "cosigners": [
            {**names.tile(party), "verdict": ("valid" if holds else "invalid") if party in signed else "missing"} for party in parties
        ],
        "required": 2,
        "roots": roots,
        "command": f"workbench verify {number}.json",
        "sealed_ms": job["updated_ms"],
    }


def receipt_name(job: str) -> str:
    """R-20261121-0a1b2c3d for J-20261121-0a1b2c3d."""
    return f"R{job[1:]}"


def checkpoint(note: str) -> tuple[int, list[Row]]:
    """Size and both roots of a signed note (docs/protocols/evidence.md); only to be shown, the node verified it."""
    lines = note.split("\n\n")[0].splitlines()
    roots = [{"algorithm": "SHA-256", "hex": base64.b64decode(lines[2]).hex()}]
    for line in lines[3:]:
        name, _, value = line.partition(" ")
        if name == "sm3":
            roots.append({"algorithm": "SM3", "hex": base64.b64decode(value).hex()})
    return int(lines[1]), roots


def result_columns(columns: Sequence[str], partner: str, names: Names, t: Translate) -> list[Row]:
    """Columns of the masked target list."""
    kinds = {"token": "token", "phone": "masked", "id_no": "masked", "grant_until_ms": "date"}
    made = []
    for name in columns:
        label = name
        if name == "grant_until_ms":
            label = t("column.grant_until_ms", mine=names.tiles.get(names.own, ""), theirs=names.tiles.get(partner, partner))
        elif name in ("token", "phone", "id_no", "risk_level", "name"):
            label = t(f"column.{name}")
        made.append({"key": name, "label": label, "kind": kinds.get(name, "text")})
    checked = t("column.other_grant", mine=names.tiles.get(names.own, ""), theirs=names.tiles.get(partner, partner))
    return [*made, {"key": "other_grant", "label": checked, "kind": "check"}]


def result_rows(rows: Sequence[Mapping[str, str]], t: Translate) -> list[Row]:
    """Rows of the masked target list; what the partner showed for its direction was checked before release."""
    return [
        {
            **row,
            "grant_until_ms": int(row["grant_until_ms"]) if row.get("grant_until_ms", "").isdigit() else None,
            "other_grant": {"ok": True, "label": t("word.shown")},
        }
        for row in rows
    ]


# ---------------------------------------------------------------------------------------------- history

HISTORY_COLUMNS = (("job", "mono"), ("state", "state"), ("with", "party"), ("purpose", "text"), ("side", "text"), ("count", "count"), ("changed", "time"))
GROUPS: Mapping[str, tuple[str, ...]] = {
    "all": (),
    "open": OPEN_STATES,
    "released": ("RELEASED",),
    "none": NO_RESULT,
}
"""What the history can be narrowed to; "all" has no condition."""


def history_columns(t: Translate) -> list[Row]:
    return [{"key": key, "label": t(f"history.{key}"), "kind": kind} for key, kind in HISTORY_COLUMNS]


def history_rows(
    jobs: Sequence[Job], names: Names, t: Translate, *, group: str = "all", partner: str = "", since_ms: int = 0, text: str = "",
    may_copy: bool = False,
) -> list[Row]:  # fmt: skip
    """Jobs that fit, newest change first as the node gives them; a job without result shows a dash, never a number.

    text: words that must all occur in number, state, partner, purpose or audience rule. may_copy: own proposals, whose
    choices are known here, can be copied as new.
    """
    wanted = GROUPS.get(group, ())
    rows = []
    for job in jobs:
        if (wanted and job["state"] not in wanted) or (partner and job["partner"] != partner) or job["updated_ms"] < since_ms:
            continue
        spoken = (job["job"], t(f"state.{job['state']}"), names.party(job["partner"]), names.purpose(job["purpose"]), str(job["request"].get("audience", "")))
        if not all(word in " ".join(spoken).lower() for word in text.lower().split()):
            continue
        rows.append(
            {
                "id": job["job"],
                "job": formats.short_id(job["job"]),
                "state": {"state": CHIP_OF_STATE.get(job["state"], "neutral"), "label": t(f"state.{job['state']}")},
                "with": names.tile(job["partner"]),
                "purpose": names.purpose(job["purpose"]),
                "side": t(f"side.{job['side']}"),
                "count": job["result"].get("released") if job["state"] == "RELEASED" else None,
                "changed": job["updated_ms"],
                "can": ["copy"] if may_copy and job["side"] == "initiator" and job["request"] else [],
            }
        )
    return rows


# ---------------------------------------------------------------------------------------------- list, audience


def rule_columns(tags: Mapping[str, Sequence[str]], others: Sequence[str], t: Translate) -> list[Row]:
    """Columns for the RuleBuilder. tags: name to known values (operation lists.audience); others: tags with many values."""
    made = []
    for name, values in tags.items():
        column: Row = {"name": name, "kind": _kind_of(values)}
        if name == "risk_level":
            column["label"] = t("column.risk_level")
        if column["kind"] in ("choice", "ordered"):
            column["values"] = list(values)
        made.append(column)
    return [*made, *({"name": name, "kind": "text"} for name in others if name not in tags)]


def _kind_of(values: Sequence[str]) -> str:
    if values and all(_LEVEL.fullmatch(one) for one in values):
        return "ordered"
    if values and all(_NUMBER.fullmatch(one) for one in values):
        return "number"
    if values and all(_DATE.fullmatch(one) for one in values):
        return "date"
    return "choice" if 0 < len(values) <= RULE_MAX_VALUES else "text"


def mapping_rows(columns: Sequence[Mapping[str, Any]], t: Translate) -> list[Row]:
    """What becomes of each column of a file, with how sure that is."""
    rows = []
    for one in columns:
        use = str(one["use"])
        if use == "field":
            what = t(f"field.{one['field']}")
        elif use == "tag":
            what = t("use.tag", name=one["field"])
        else:
            what = t("use.ignored")
        sure = {"state": "done", "label": t("sure.known")}
        if one["guess"]:
            sure = {"state": "pending", "label": t("sure.guess", field=t(f"field.{one['guess']}"))}
        elif use == "ignored":
            sure = {"state": "neutral", "label": t("sure.unused")}
        elif use == "tag":
            sure = {"state": "neutral", "label": t("sure.tag")}
        rows.append({"number": str(one["column"]), "header": one["header"], "use": what, "sure": sure})
    return rows


SHOWN_REJECTS = 8


def reject_rows(rejects: str, names: Names, t: Translate) -> list[Row]:
    """The first rows of a rejects file (CSV of the node, values masked) for the RejectsTable component."""
    made = []
    for row in itertools.islice(csv.DictReader(io.StringIO(rejects)), SHOWN_REJECTS):
        told = row["reason_zh" if names.lang == "zh" else "reason_en"] or row["reason"]
        reason, _, fix = told.partition("，" if names.lang == "zh" else ": ")
        made.append(
            {
                "line": int(row["line"]) if row["line"].isdigit() else 0,
                "column": row["column"],
                "masked": row["value"],
                "reason": reason,
                "fix": fix or t("reject.mend"),
            }
        )
    return made


def reject_reasons(report: Mapping[str, Any], names: Names) -> list[Row]:
    """Why cells of a file were refused, most frequent first."""
    texts = report.get("reason_texts", {})
    return [
        {"reason": texts.get(code, {}).get(names.lang, code), "count": count, "code": code}
        for code, count in sorted(report.get("reasons", {}).items(), key=lambda item: (-item[1], item[0]))
    ]
