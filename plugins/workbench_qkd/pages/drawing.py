"""Replies of the node turned into what the components of the page take. Pure: data in, data out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workbench_widgets import formats

Reply = Mapping[str, Any]
Translate = Callable[..., str]
DEMO_ALARMS = frozenset({"qber-drift", "rate-collapse", "qber-limit", "verification", "restored-copy"})
MAIN_STATES = ("STORED", "RESERVED", "DELIVERED", "CONSUMED", "DESTROYED")
SIDE_STATES = ("QUARANTINED", "REVOKED", "EXPIRED")
BLOCK_CHIPS = {"stored": "sealed", "quarantined": "tampered", "aborted": "failed", "rehearsal": "simulated"}
SESSION_CHIPS = {"OPENING": "pending", "OPEN": "running", "ENDED": "neutral", "REFUSED": "refused"}
BADGES = {"simulated": "simulated_qkd", "device-014": "device_key", "imported": "imported_key"}
BASELINE_WIDTH = 0.1
"""Half the width of the band drawn around the baseline, as a share of it: a picture, not the rule of the alarm."""
HOUR_MS = 3_600_000
PAUSE_MS = 120_000
"""A line that tries makes a block at least every 48 s: where more lies between two, it rested, and nothing was measured."""
LIMIT_PERCENT = 11.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the strip says. state: of the strip; key: of its sentence; todo: key or ""; fields: of both."""

    state: str
    key: str
    todo: str = ""
    code: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


def verdict(status: Reply, line: Reply | None, lang: formats.Lang) -> Verdict:
    """The one sentence of the page."""
    if not status["is_configured"]:
        return Verdict("info", "none", "none")
    if status["problem_code"]:
        return Verdict("failed", "away", "away", status["problem_code"])
    if line is None:
        return Verdict("info", "no_lines")
    told = {
        "line": line["line"], "qber": percent(line["qber"], lang), "baseline": percent(line["baseline_qber"], lang),
        "available": formats.count(line["available"], lang), "low": formats.count(line["low_water"], lang),
        "stopped": formats.count(line["stock"].get("QUARANTINED", 0), lang),
    }  # fmt: skip
    alarmed = line["state"] == "alarm"
    if alarmed and line["eavesdropper_fraction"] > 0:
        return Verdict("tampered", "listened", "listened", "LINE_STOPPED", told)
    if alarmed:
        return Verdict("tampered", "alarm", "alarm", "LINE_STOPPED", told)
    if line["eavesdropper_fraction"] > 0:  # a demonstration: say what an operator of a real line would not know
        return Verdict("pending", "unseen_blinding" if line["eavesdropper_kind"] == "detector-blinding" else "unseen", "unseen", "", told)
    if line["state"] == "disabled" or not status["device_enabled"]:
        return Verdict("failed", "disabled", "disabled", "DEVICE_DISABLED", told)
    if line["held_ms"]:
        asked = any(one["act"] == "resume" and one["state"] == "OPEN" and one["line"] == line["line"] for one in status["proposals"])
        return Verdict("pending", "held", "held_asked" if asked else "held", "LINE_STOPPED", told)
    if line["state"] in ("other-tenant", "peer-unreachable", "out-of-step"):
        return Verdict("failed", line["state"], line["state"], "", told)
    if line["tenant"] != line["partner_tenant"]:
        return Verdict("refused", "tenant", "tenant", "TENANT_DIFFERS", told)
    if not line["counts"]:
        return Verdict("refused", "not_counting", "not_counting", "PROVENANCE_REFUSED", told)
    if line["policy"] == "pqc-only":
        return Verdict("pending", "pqc_only", "pqc_only", "", told)
    if not line["available"]:
        return Verdict("pending", "exhausted", "exhausted", "KEY_EXHAUSTED", told)
    if line["available"] < line["low_water"]:
        return Verdict("pending", "low", "low", "", told)
    return Verdict("info", f"fine_{line['provenance']}", "", "", told)


def percent(value: float, lang: formats.Lang) -> str:
    """A share as per cent with one digit; a dash where it is not known."""
    return formats.share(value if value >= 0 else None, 1, lang)


def rate(bps: float, lang: formats.Lang) -> str:
    """bit/s, a dash where it is not known."""
    if bps < 0:
        return "—"
    return formats.quantity(bps / 1000, "kbit/s", 1, lang) if bps >= 1000 else formats.quantity(bps, "bit/s", 0, lang)


def diagram(status: Reply, line: Reply, t: Translate, lang: formats.Lang, *, own: str, other: str) -> dict[str, Any]:
    """Traits of the line diagram. own, other: names of the two sites' institutions."""
    simulated = line["provenance"] == "simulated"
    listens = line["eavesdropper_fraction"] > 0
    stopped = line["state"] == "alarm" or bool(line["held_ms"])
    km = t("diagram.km", km=f"{line['length_km']:g}") if line["length_km"] >= 0 else ""
    quantum = t("diagram.simulated" if simulated else "diagram.quantum" if line["provenance"] == "device-014" else "diagram.imported", km=km)
    clock = t("diagram.clock", mhz=f"{line['clock_hz'] / 1e6:g}") if line["clock_hz"] > 0 else ""
    mine = [t("diagram.kme", kme=status["kme"]), t(f"diagram.{line['role']}", clock=clock)]
    theirs = [t("diagram.kme", kme=line["peer_kme"]), t("diagram.receiver" if line["role"] == "sender" else "diagram.sender", clock="")]
    share = formats.share(line["eavesdropper_fraction"], 0, lang)
    return {
        "left": {"name": own, "rows": mine}, "right": {"name": other, "rows": theirs},
        "quantum": {"label": quantum, "state": "simulated" if simulated else "refused" if stopped else "done"},
        "classical": {"label": t("diagram.classical" if line["peer_reachable"] else "diagram.away"), "state": "done" if line["peer_reachable"] else "failed"},
        "eavesdropper": {"name": t("diagram.eve"), "label": t(f"diagram.eve.{line['eavesdropper_kind']}", share=share)} if listens else {},
    }  # fmt: skip


def chart(line: Reply, found: Reply, t: Translate, lang: formats.Lang, *, now_ms: int) -> dict[str, Any]:
    """Traits of the chart: QBER above, rate below, alarms behind both. Blocks come newest first."""
    blocks = sorted(found["blocks"], key=lambda one: one["block"])
    blocks = [one for one in blocks if one["time_ms"] >= now_ms - HOUR_MS] or blocks
    qber = [[one["time_ms"], one["qber"] * 100 if one["qber"] >= 0 else None] for one in blocks]
    made = [[one["time_ms"], max(0.0, one["rate_bps"]) / 1000 if one["state"] == "stored" else 0.0] for one in blocks]
    alarms = [one for one in found["alarms"] if one["kind"] in DEMO_ALARMS and blocks and (one["cleared_ms"] or now_ms) >= blocks[0]["time_ms"]]
    last = blocks[-1] if blocks else None
    percent_now = percent(last["qber"], lang) if last else "—"
    rate_now = rate(made[-1][1] * 1000, lang) if made else "—"
    base = line["baseline_qber"] * 100
    band = {"low": base * (1 - BASELINE_WIDTH), "high": base * (1 + BASELINE_WIDTH), "label": t("chart.baseline", qber=percent(line["baseline_qber"], lang))}
    return {
        "panels": [
            {
                "title": t("chart.qber"), "lines": [{"label": percent_now, "kind": "first", "points": _drawn(qber)}],
                "bound": {"at": LIMIT_PERCENT, "label": t("chart.limit")}, "top": max(12.0, max((y for _, y in qber if y is not None), default=0) * 1.1),
                **({"band": band} if base > 0 else {}),
            },
            {"title": t("chart.rate"), "lines": [{"label": rate_now, "kind": "second", "points": _drawn(made)}]},
        ],
        "start": float(blocks[0]["time_ms"]) if blocks else 0.0, "stop": float(max(now_ms, last["time_ms"])) if last else 0.0,
        "spans": [{"start": one["raised_ms"], "stop": max(one["raised_ms"], one["cleared_ms"] or now_ms)} for one in alarms],
        "marks": [{"at": one["raised_ms"], "label": t(f"alarm.{one['kind']}")} for one in alarms[:3]],
        "said": t("chart.said", qber=percent_now, baseline=percent(line["baseline_qber"], lang), rate=rate_now, blocks=len(blocks)),
    }  # fmt: skip


def _drawn(points: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Times of a clock that was set back do not run back on the chart; no line is drawn over a time without blocks."""
    made: list[list[Any]] = []
    for at, value in points:
        if made and at - made[-1][0] > PAUSE_MS:
            made.append([made[-1][0], None])
        made.append([max(at, made[-1][0]) if made else at, value])
    return made


def block_columns(t: Translate) -> list[dict[str, Any]]:
    return [
        {"key": "block", "label": t("column.block"), "kind": "count"}, {"key": "at", "label": t("column.time"), "kind": "clock"},
        {"key": "qber", "label": t("column.qber"), "align": "right"}, {"key": "key", "label": t("column.key"), "align": "right"},
        {"key": "leak", "label": t("column.leak"), "align": "right"}, {"key": "efficiency", "label": t("column.efficiency"), "align": "right"},
        {"key": "state", "label": t("column.state"), "kind": "state"}, {"key": "why", "label": t("column.why")},
    ]  # fmt: skip


def block_rows(found: Reply, t: Translate, lang: formats.Lang, words: Callable[[str, str], str]) -> list[dict[str, Any]]:
    """One row a block. words(prefix, code): the sentence of a code, the code itself where there is none."""
    return [
        {
            "id": str(one["block"]), "block": one["block"], "at": one["time_ms"], "qber": percent(one["qber"], lang),
            "key": formats.bits(one["length_bits"] if one["state"] == "stored" and one["length_bits"] >= 0 else 0, lang),
            "leak": formats.bits(one["leak_bits"], lang) if one["leak_bits"] >= 0 else "—",
            "efficiency": f"{one['efficiency']:.3f}" if one["efficiency"] > 0 else "—",
            "state": {"state": BLOCK_CHIPS.get(one["state"], "neutral"), "label": t(f"block.{one['state']}")},
            "why": words("alarm", one["alarm"]) if one["alarm"] else words("aborted", one["aborted"]) if one["aborted"] else "",
        }
        for one in found["blocks"]
    ]  # fmt: skip


def pool(line: Reply, forecast: Reply | None, t: Translate, lang: formats.Lang) -> dict[str, Any]:
    """Traits of the gauge."""
    stopped = line["state"] == "alarm"
    rows = []
    if forecast is not None:
        flow = t("pool.flow", made=formats.quantity(forecast["made_per_hour"], "", 0, lang).strip(), burnt=formats.quantity(forecast["burn_per_hour"], "", 0, lang).strip())
        rows.append({"label": t("pool.flow_label"), "value": t("pool.frozen") if stopped else flow})
        hours = forecast["hours_to_low"]
        told = t("pool.lasts", time=formats.estimate(hours * 3600, lang)) if hours >= 0 else t("pool.does_not_fall")
        rows.append({"label": t("pool.forecast"), "value": told})
    if line["state"] in ("making", "full"):
        rows.append({"label": t("pool.making_label"), "value": t(f"pool.{line['state']}", target=formats.count(line["target_keys"], lang))})
    origin: dict[str, Any] = {"label": t("pool.origin"), "value": t(f"origin.{line['provenance']}")}
    if line["provenance"] == "simulated":
        origin["state"] = "simulated"
    return {"count": line["available"], "capacity": line["max_keys"], "low_water": line["low_water"], "unit": t("pool.unit"), "rows": [*rows, origin]}


def life(line: Reply, t: Translate) -> dict[str, Any]:
    """Traits of the life of a key."""

    def step(state: str) -> dict[str, Any]:
        return {"label": t(f"life.{state}"), "count": int(line["stock"].get(state, 0)), "told": t(f"life.{state}.told")}

    return {"steps": [step(one) for one in MAIN_STATES], "exits": [step(one) for one in SIDE_STATES]}


def session_rows(found: Reply, t: Translate, word: Callable[[str, str], str]) -> list[dict[str, Any]]:
    """word: of a code that this page may not know yet."""
    return [
        {
            "id": one["session"], "session": one["session"], "what": word("what", one["what"]), "at": one["opened_ms"],
            "state": {"state": SESSION_CHIPS.get(one["state"], "neutral"), "label": t(f"session.{one['state']}")},
            "told": one["code"] or (t(f"badge.{one['provenance']}") if one["provenance"] else t("session.no_key")),
        }
        for one in found["sessions"]
    ]  # fmt: skip


def curves(found: Reply, t: Translate) -> dict[str, Any]:
    """Traits of the plots of published against simulated rates, one panel each."""

    def points(one: Reply, name: str) -> list[list[float]]:
        return [[point["km"], point["rate"]] for point in one[name]]

    def panel(one: Reply) -> dict[str, Any]:
        looks = (("bound", "third"), ("model", "first"), ("simulated", "second"), ("published", "points"))
        lines = [{"label": t(f"curve.{name}"), "kind": kind, "points": points(one, name)} for name, kind in looks if one[name]]
        return {"title": t(f"curve.{one['name']}", trust=t(f"trust.{one['trust']}")), "log": True, "lines": lines, "bottom": 1e-8, "top": 10.0}

    return {"timed": False, "across_label": "km", "panels": [panel(one) for one in found["curves"]], "said": t("curve.said")}


__all__ = [
    "BADGES", "Verdict", "block_columns", "block_rows", "chart", "curves", "diagram", "life", "percent", "pool", "rate", "session_rows", "verdict",
]  # fmt: skip
