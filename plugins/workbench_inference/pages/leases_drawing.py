"""What the pages of leases show, tenant's and provider's, from replies alone. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from workbench_widgets import formats

Reply = Mapping[str, Any]
Say = Callable[..., str]

LEASE_CHIPS: Final = {"ORDERED": "pending", "REFUSED": "refused", "RUNNING": "running", "RELEASING": "pending", "ERASED": "sealed", "UNPROVEN": "tampered"}
SERVER_CHIPS: Final = {"DIRTY": "failed", "SANITISED": "pending", "READY": "sealed", "LEASED": "running"}
TICK_CHIPS: Final = {"open": "pending", "agreed": "sealed", "differs": "failed"}
ERASURE_CHIPS: Final = {"clean": "sealed", "residue": "tampered", "missing": "failed"}
MISSING_MS: Final = 300_000
"""So long without a receipt, and emptiness is unproven: docs/protocols/sandbox.md section 4."""
SHOWN_MARKS: Final = 6
_CAUSES: Final = frozenset({
    "released", "lease-ended", "budget", "idle", "tenant-silent", "sandbox-died", "memory", "launcher-died", "freeze", "operator", "probe", "unsigned", "renewed",
    "evidence-due", "frames-refused", "restart",
})  # fmt: skip
_RULES: Final = frozenset({"queue-up", "queue-down", "keep", "cooling", "calendar", "idle", "person"})
_REASONS: Final = frozenset({"seconds", "cards", "asks", "chain", "unknown"})
_DIFFERENCES: Final = frozenset({"ticks", "root", "card_seconds", "agreed_card_seconds", "fen_per_card_minute", "amount_fen", "price", "amount"})
_CHECKS: Final = frozenset({"processes", "mounts", "files", "groups", "shared-memory", "cores", "swap", "keys", "logs"})


RENEW_DAYS: Final = 30
"""So many days before the end of a service key the page asks for the next one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer strip: state, key of its sentence, fields of the sentence, key of what is to be done."""

    state: str
    key: str
    fields: Mapping[str, object] = field(default_factory=dict)
    todo: str = ""


def _named(prefix: str, code: str, known: frozenset[str], t: Say) -> str:
    """The word of a code; a code that a later version brings stands for itself."""
    return t(f"{prefix}.{code}") if code in known else code


# ------------------------------------------------------------------ answers


def tenant_verdict(leases: Reply, servers: Reply | None, lang: formats.Lang, *, now_ms: int) -> Verdict:
    """How much is used, and whether everything was erased."""
    found: Sequence[Reply] = leases["leases"]
    share = leases["month_fen"] / leases["budget_fen"] if leases["budget_fen"] else None
    fields: dict[str, object] = {
        "live": leases["live"], "today": formats.money(leases["today_fen"], lang), "share": formats.share(share, 0, lang), "month": formats.money(leases["month_fen"], lang),
        "budget": formats.money(leases["budget_fen"], lang) if leases["budget_fen"] else formats.ABSENT,
        "erased": leases["last_night_erased"], "clean": leases["last_night_clean"],
    }  # fmt: skip
    for state, needs in (("tampered", "unproven"), ("failed", "difference")):
        bad = [one for one in found if one["needs"] == needs]
        if bad:
            return Verdict(state, needs, fields | {"count": len(bad), "lease": bad[0]["lease"]}, needs)
    if leases["last_night_clean"] < leases["last_night_erased"]:
        return Verdict("failed", "waiting", fields | {"missing": leases["last_night_erased"] - leases["last_night_clean"]}, "unproven")
    if freeze := _freeze(servers, now_ms):
        return Verdict("pending", "frozen", fields | {"until": formats.time(freeze["until_ms"], lang), "reason": freeze["reason"]})
    if leases["budget_fen"] and leases["month_fen"] >= leases["budget_fen"]:
        return Verdict("refused", "spent", fields, "budget")
    if leases["budget_fen"] and share is not None and share >= 0.8:
        return Verdict("pending", "near_budget", fields, "budget")
    refused = next((one for one in found if one["needs"] == "refused"), None)
    if refused is not None and not leases["live"]:
        return Verdict("refused", "refused", fields | {"lease": refused["lease"], "code": refused["code"]}, "refused")
    if not found:
        return Verdict("info", "none", fields, "none")
    ordered = next((one for one in found if one["state"] == "ORDERED"), None)
    if ordered is not None and not leases["live"]:
        return Verdict("pending", "ordered", fields | {"lease": ordered["lease"]})
    return Verdict("sealed", "live" if leases["live"] else "idle", fields)


def provider_verdict(servers: Reply, leases: Reply, lang: formats.Lang, *, now_ms: int) -> Verdict:
    """Which cards can be rented out, and what keeps others from it."""
    meters_differ = sum(one["differing"] for one in leases["leases"])
    fields: dict[str, object] = {
        "leased": servers["leased"], "ready": servers["ready"], "dirty": servers["dirty"], "all": len(servers["servers"]), "differ": meters_differ,
        "tenants": len({one["partner"] for one in leases["leases"] if one["state"] == "RUNNING"}),
    }  # fmt: skip
    unproven = [one for one in leases["leases"] if one["needs"] == "unproven"]
    if unproven:
        return Verdict("tampered", "unproven", fields | {"lease": unproven[0]["lease"], "count": len(unproven)}, "unproven")
    if servers["dirty"]:
        return Verdict("failed", "dirty", fields, "dirty")
    if meters_differ:
        return Verdict("failed", "difference", fields, "difference")
    if freeze := _freeze(servers, now_ms):
        return Verdict("pending", "frozen", fields | {"until": formats.time(freeze["until_ms"], lang), "reason": freeze["reason"]})
    if not servers["servers"]:
        return Verdict("info", "none", fields, "none")
    return Verdict("sealed", "good", fields)


def _freeze(servers: Reply | None, now_ms: int) -> Reply | None:
    """The freeze window of now."""
    return next((one for one in (servers or {}).get("freezes", []) if one["from_ms"] <= now_ms < one["until_ms"]), None)


# ------------------------------------------------------------------ leases


def chosen(leases: Sequence[Reply], wanted: str) -> Reply | None:
    """The lease that is shown: the wanted one, else of those that run the one with the most cards, else the newest."""
    found = next((one for one in leases if one["lease"] == wanted), None)
    return found or max((one for one in leases if one["state"] == "RUNNING"), key=lambda one: int(one["most_cards"]), default=None) or (leases[0] if leases else None)


def bar(one: Reply, t: Say, *, now_ms: int, releasable: bool) -> dict[str, Any]:
    """Traits of the lease bar."""
    level = t(f"leases.assurance.{one['assurance']}") if one["assurance"] in ("process", "gvisor", "tee") else one["assurance"]
    chips = [
        {"state": LEASE_CHIPS.get(one["state"], "neutral"), "label": t(f"leases.state.{one['state']}")}, {"state": "neutral", "label": _pool(one["pool"], t)},
        {"state": "neutral", "label": t("leases.sandbox_at", level=level)},
    ]  # fmt: skip
    if one["mode"] == "debug":
        chips.append({"state": "simulated", "label": t("leases.debug")})
    is_live = one["state"] == "RUNNING"
    return {
        "lease": one["lease"], "title": one["image_name"] or one["image"][:12], "chips": chips, "cards": one["cards"], "most_cards": one["most_cards"], "from_ms": one["from_ms"],
        "until_ms": one["ended_ms"] or one["until_ms"], "now_ms": one["ended_ms"] or now_ms, "card_seconds": one["agreed_card_seconds"], "amount_fen": one["amount_fen"],
        "price_fen": one["fen_per_card_minute"], "budget_fen": one["budget_fen"], "ends": t("leases.ends.keep" if one["keep"] else "leases.ends.erase") if is_live else _ended(one, t),
        "releasable": releasable and one["state"] in ("ORDERED", "RUNNING"),
    }  # fmt: skip


def _pool(pool: str, t: Say) -> str:
    return t(f"leases.pool.{pool}") if pool in ("shared", "dedicated") else pool


def _ended(one: Reply, t: Say) -> str:
    if one["code"]:
        return t("leases.refused_with", code=one["code"])
    return t("leases.ended_for", cause=_named("leases.cause", one["cause"], _CAUSES, t)) if one["cause"] else ""


def lease_columns(t: Say, *, side: str) -> list[dict[str, Any]]:
    """Of the table of leases. side: whose page it is."""
    other = {"key": "model", "label": t("leases.column.model")} if side == "tenant" else {"key": "partner", "label": t("leases.column.tenant")}
    return [
        {"key": "lease", "label": t("leases.column.lease"), "kind": "mono"}, other, {"key": "pool", "label": t("leases.column.pool")},
        {"key": "state", "label": t("leases.column.state"), "kind": "state"}, {"key": "left", "label": t("leases.column.left"), "align": "right"},
        {"key": "seconds", "label": t("leases.column.seconds"), "kind": "count", "align": "right"}, {"key": "amount", "label": t("leases.column.amount"), "kind": "money", "align": "right"},
        {"key": "receipts", "label": t("leases.column.receipts"), "kind": "state"},
    ]  # fmt: skip


def lease_rows(leases: Sequence[Reply], t: Say, lang: formats.Lang, party: Callable[[str], str]) -> list[dict[str, Any]]:
    """One row a lease."""
    return [
        {
            "id": one["lease"], "lease": one["lease"], "model": one["image_name"] or one["image"][:12], "partner": party(one["partner"]), "pool": _pool(one["pool"], t),
            "state": {"state": LEASE_CHIPS.get(one["state"], "neutral"), "label": t(f"leases.state.{one['state']}")},
            "left": formats.left(one["left_s"], lang) if one["state"] == "RUNNING" else formats.ABSENT, "seconds": one["agreed_card_seconds"], "amount": one["amount_fen"],
            "receipts": _receipts(one, t),
        }
        for one in leases
    ]  # fmt: skip


def _receipts(one: Reply, t: Say) -> dict[str, str]:
    state = "neutral" if one["state"] in ("ORDERED", "REFUSED", "RUNNING") else "tampered" if one["state"] == "UNPROVEN" else "sealed" if one["receipts"] >= one["servers"] else "pending"
    return {"state": state, "label": t("leases.receipts_of", receipts=one["receipts"], servers=one["servers"])}


# ------------------------------------------------------------------ load and decisions


def load(scaling: Reply, t: Say, lang: formats.Lang) -> dict[str, Any]:
    """Traits of the chart of cards and waiting asks, with the last decisions as marks."""
    curve: Sequence[Reply] = scaling["curve"]
    cards: list[list[float]] = []
    for point in curve:
        if cards and cards[-1][1] != point["cards"]:
            cards.append([point["time_ms"], cards[-1][1]])  # a card comes at once: a step, not a slope
        cards.append([point["time_ms"], point["cards"]])
    marks = [{"at": one["time_ms"], "label": f"{one['before']}→{one['after']}" + (f" {t('leases.load.refused')}" if one["code"] else ""), "quiet": not one["code"]} for one in reversed(scaling["decisions"][:SHOWN_MARKS])]
    last = curve[-1] if curve else {"cards": 0, "queue": 0}
    return {
        "panels": [
            {
                "title": t("leases.load.cards"), "lines": [{"label": formats.count(last["cards"], lang), "kind": "second", "points": cards}], "top": max(scaling["most"], 1),
                "bound": {"at": scaling["most"], "label": t("leases.load.most", count=scaling["most"])},
            },
            {"title": t("leases.load.queue"), "lines": [{"label": formats.count(last["queue"], lang), "kind": "first", "points": [[one["time_ms"], one["queue"]] for one in curve]}]},
        ],
        "marks": marks, "said": t("leases.load.said", cards=last["cards"], queue=last["queue"], least=scaling["least"], most=scaling["most"]),
    }  # fmt: skip


def decision_columns(t: Say) -> list[dict[str, Any]]:
    return [
        {"key": "at", "label": t("leases.column.time"), "kind": "clock"}, {"key": "change", "label": t("leases.column.cards")},
        {"key": "queue", "label": t("leases.column.queue"), "kind": "count", "align": "right"}, {"key": "rule", "label": t("leases.column.rule")},
        {"key": "why", "label": t("leases.column.why")},
    ]  # fmt: skip


def decision_rows(scaling: Reply, t: Say, lang: formats.Lang) -> list[dict[str, Any]]:
    """Newest first, each with its reason as the node wrote it."""
    return [
        {
            "id": str(one["number"]), "at": one["time_ms"], "change": f"{one['before']} → {one['after']}", "queue": one["queue"], "rule": _named("leases.rule", one["rule"], _RULES, t),
            "why": one["zh" if lang == "zh" else "en"],
        }
        for one in scaling["decisions"]
    ]  # fmt: skip


def capacity(scaling: Reply, t: Say) -> str:
    """How many questions of the last hour, how long they took, and what a card gets through."""
    if not scaling["asks_hour"]:
        return t("leases.rule.capacity_none")
    return t("leases.rule.capacity_is", asks=scaling["asks_hour"], seconds=f"{scaling['p95_ms'] / 1000:.1f}", per=scaling["asks_per_card_minute"])


def rule_facts(scaling: Reply, t: Say) -> list[tuple[str, str]]:
    """The rule that decides."""
    return [
        (t("leases.rule.range"), t("leases.rule.range_is", least=scaling["least"], most=scaling["most"])),
        (t("leases.rule.wait"), t("leases.rule.wait_is", seconds=scaling["wait_s"], queue=scaling["queue_per_server"])),
        (t("leases.rule.down"), t("leases.rule.down_is", seconds=scaling["cooldown_s"])), (t("leases.rule.scaler"), scaling["scaler"]),
        (t("leases.rule.calendar"), scaling["calendar"] or t("leases.rule.no_calendar")),
        (t("leases.rule.capacity"), capacity(scaling, t)),
    ]  # fmt: skip


def calendar_facts(schedule: Reply, t: Say, lang: formats.Lang, images: Mapping[str, str]) -> list[tuple[str, str]]:
    """When is leased by itself, and what. images: id -> name."""
    join = "、" if lang == "zh" else ", "
    rows = [
        (t("leases.calendar.days"), join.join(t(f"option.days.{one}") for one in schedule["days"])),
        (t("leases.calendar.hours"), t("leases.calendar.hours_is", start=schedule["opens_at"], stop=schedule["release_at"])),
        (t("leases.calendar.peak"), t("leases.calendar.peak_is", peak=join.join(schedule["peak"]) or "—", cards=schedule["peak_cards"], other=schedule["other_cards"])),
        (t("leases.calendar.image"), t("leases.calendar.image_is", name=images.get(schedule["image"], schedule["image"][:8]), most=schedule["most_cards"]) if schedule["image"] else t("leases.calendar.image.none")),
    ]
    return [*rows, (t("leases.calendar.closed"), join.join(schedule["closed"]))] if schedule["closed"] else rows


SEEN: Final = {
    "text": ("yes", "no", "root", "no"), "map": ("yes", "no", "no", "no"), "who": ("yes", "no", "with_text", "no"), "keys": ("yes", "no", "root", "no"), "sizes": ("yes", "sums", "yes", "no"),
    "meters": ("yes", "yes", "yes", "shared"),
}  # fmt: skip
"""docs/protocols/sandbox.md section 12, in the order of who looks: this tenant, staff of the provider, root of its machine, other institutions."""


def seen_columns(t: Say) -> list[dict[str, Any]]:
    """Of the table of who sees what."""
    return [{"key": "what", "label": t("leases.sees.what")}, *({"key": one, "label": t(f"leases.sees.by.{one}")} for one in ("tenant", "staff", "root", "others"))]


def seen_rows(t: Say) -> list[dict[str, Any]]:
    """Who sees what, whoever asks."""
    return [
        {"id": name, "what": t(f"leases.sees.{name}"), **{by: t(f"leases.sees.is.{how}") for by, how in zip(("tenant", "staff", "root", "others"), sees, strict=True)}} for name, sees in SEEN.items()
    ]  # fmt: skip


def key_verdict(found: Reply) -> Verdict:
    """Whether this institution can sign evidence, meters and receipts: the answer for who keeps its keys."""
    newest = next((one for one in found["keys"] if one["party"] == found["party"] and one["is_newest"]), None)
    if newest is None or newest["until_ms"] <= found["now_ms"]:
        return Verdict("refused", "none", {}, "make")
    days = (newest["until_ms"] - found["now_ms"]) // 86_400_000
    return Verdict("pending" if days < RENEW_DAYS else "sealed", "soon" if days < RENEW_DAYS else "valid", {"number": newest["number"], "days": days}, "make" if days < RENEW_DAYS else "")


def key_columns(t: Say) -> list[dict[str, Any]]:
    """Of the table of service keys."""
    return [
        {"key": "party", "label": t("leases.column.party")}, {"key": "number", "label": t("leases.column.number"), "kind": "count"}, {"key": "digest", "label": t("leases.column.digest"), "kind": "digest"},
        {"key": "until", "label": t("leases.column.until"), "kind": "date"}, {"key": "state", "label": t("leases.column.state"), "kind": "state"},
    ]  # fmt: skip


def key_rows(found: Reply, t: Say, party: Callable[[str], str]) -> list[dict[str, Any]]:
    """Service keys, own ones first."""
    made = []
    for one in found["keys"]:
        state = "past" if one["until_ms"] <= found["now_ms"] else "newest" if one["is_newest"] else "before"
        made.append(
            {
                "id": f"{one['party']}/{one['number']}", "party": party(one["party"]), "number": one["number"], "digest": {"algorithm": "SM3", "hex": one["digest"]}, "until": one["until_ms"],
                "state": {"state": {"past": "refused", "newest": "sealed", "before": "neutral"}[state], "label": t(f"leases.key.{state}")},
            }
        )  # fmt: skip
    return made


# ------------------------------------------------------------------ servers


def server_columns(t: Say, *, side: str) -> list[dict[str, Any]]:
    """Of the table of cards. At a provider: ciphertext by size, and nothing of what is in it."""
    head = [{"key": "server", "label": t("leases.column.server"), "kind": "mono"}, {"key": "state", "label": t("leases.column.state"), "kind": "state"}]
    since = {"key": "since", "label": t("leases.column.since"), "kind": "clock"}
    if side == "tenant":
        return [*head, {"key": "lease", "label": t("leases.column.lease"), "kind": "mono"}, since]
    return [
        *head, {"key": "tenant", "label": t("leases.column.tenant")}, {"key": "pool", "label": t("leases.column.pool")},
        {"key": "bytes_in", "label": t("leases.column.bytes_in"), "kind": "size", "align": "right"}, {"key": "bytes_out", "label": t("leases.column.bytes_out"), "kind": "size", "align": "right"},
        since, {"key": "why", "label": t("leases.column.cause")},
    ]  # fmt: skip


def server_rows(servers: Reply, t: Say, party: Callable[[str], str], may: Callable[[str], bool]) -> list[dict[str, Any]]:
    """One row a card; its buttons are those that fit its state and the person's roles."""
    return [
        {
            "id": one["server"], "server": one["server"], "lease": one["lease"] or formats.ABSENT, "tenant": party(one["tenant"]) if one["tenant"] else formats.ABSENT,
            "pool": t("leases.pool.for", party=party(one["dedicated"])) if one["dedicated"] else _pool(one["pool"], t),
            "state": {"state": SERVER_CHIPS.get(one["state"], "neutral"), "label": t("leases.server.drained" if one["is_drained"] else f"leases.server.{one['state']}")},
            "bytes_in": one["bytes_in"], "bytes_out": one["bytes_out"], "since": one["changed_ms"], "why": _named("leases.cause", one["cause"], _CAUSES, t) if one["cause"] else "",
            "can": [name for name in ("inference.server_clean", "inference.server_drain") if may(name) and server_may(name, one)],
        }
        for one in servers["servers"]
    ]  # fmt: skip


def server_may(operation: str, one: Reply) -> bool:
    """Whether an act fits a card now: only a dirty one is cleaned, and one that is leased is not taken away from its tenant."""
    if operation == "inference.server_clean":
        return bool(one["state"] == "DIRTY")
    return bool(one["state"] != "LEASED" and not one["is_drained"])


# ------------------------------------------------------------------ meters, statements, receipts


def tick_columns(t: Say) -> list[dict[str, Any]]:
    return [
        {"key": "number", "label": t("leases.column.tick"), "kind": "count"}, {"key": "period", "label": t("leases.column.period")},
        {"key": "cards", "label": t("leases.column.cards"), "kind": "count", "align": "right"}, {"key": "seconds", "label": t("leases.column.seconds"), "align": "right"},
        {"key": "asks", "label": t("leases.column.asks"), "kind": "count", "align": "right"}, {"key": "state", "label": t("leases.column.state"), "kind": "state"},
    ]  # fmt: skip


def tick_rows(meters: Reply, t: Say, lang: formats.Lang) -> list[dict[str, Any]]:
    """Newest first; where the ends differ, both numbers stand there."""
    return [
        {
            "id": f"{one['lease']}/{one['number']}", "number": one["number"], "period": t("leases.period", start=formats.count(one["from_s"], lang), stop=formats.count(one["to_s"], lang)),
            "cards": one["cards"],
            "seconds": t("leases.both", theirs=one["card_seconds"], own=one["own_card_seconds"]) if one["state"] == "differs" and one["own_card_seconds"] >= 0 else formats.count(one["card_seconds"], lang),
            "asks": one["asks"], "state": {"state": TICK_CHIPS.get(one["state"], "neutral"), "label": _tick_word(one, t)},
        }
        for one in meters["ticks"]
    ]  # fmt: skip


def _tick_word(one: Reply, t: Say) -> str:
    return t("leases.tick.differs", reason=_named("leases.reason", one["reason"], _REASONS, t)) if one["state"] == "differs" else t(f"leases.tick.{one['state']}")


def statement_columns(t: Say) -> list[dict[str, Any]]:
    return [
        {"key": "lease", "label": t("leases.column.lease"), "kind": "mono"}, {"key": "minutes", "label": t("leases.column.minutes"), "align": "right"},
        {"key": "amount", "label": t("leases.column.amount"), "kind": "money", "align": "right"}, {"key": "state", "label": t("leases.column.state"), "kind": "state"},
        {"key": "why", "label": t("leases.column.difference")},
    ]  # fmt: skip


def statement_rows(statements: Reply, t: Say, may: Callable[[str], bool]) -> list[dict[str, Any]]:
    """One row a statement of account; a difference is settled by people."""
    rows = []
    for one in statements["statements"]:
        counted = one["settled_card_seconds"] if one["settled_card_seconds"] >= 0 else one["agreed_card_seconds"]
        state, word = ("sealed", "agreed") if one["agreed"] else ("sealed", "settled") if one["settled_card_seconds"] >= 0 else ("pending", "proposed") if one["proposed_by"] else ("failed", "differs")
        rows.append({
            "id": one["lease"], "lease": one["lease"], "minutes": f"{counted * 100 // 60 / 100:.2f}", "amount": one["amount_fen"],
            "state": {"state": state, "label": t(f"leases.statement.{word}")}, "why": "、".join(_named("leases.differs", name, _DIFFERENCES, t) for name in one["differences"]) or _proposal(one, t),
            "can": ["inference.settle"] if may("inference.settle") and word in ("differs", "proposed") else [],
        })  # fmt: skip
    return rows


def _proposal(one: Reply, t: Say) -> str:
    """What was proposed and why, while it waits for another person."""
    return t("leases.settle.waits", seconds=one["proposed_card_seconds"], reason=one["reason"]) if one["proposed_by"] else ""


def settled_at(one: Reply) -> int:
    """The number that a settlement begins with: the one that was proposed, else what both ends agree on."""
    proposed = int(one["proposed_card_seconds"])
    return proposed if proposed >= 0 else int(one["agreed_card_seconds"])


def erasure_columns(t: Say) -> list[dict[str, Any]]:
    return [
        {"key": "server", "label": t("leases.column.server"), "kind": "mono"}, {"key": "lease", "label": t("leases.column.lease"), "kind": "mono"},
        {"key": "state", "label": t("leases.column.state"), "kind": "state"},
    ]  # fmt: skip


def erasure_rows(erasures: Reply, t: Say, *, now_ms: int) -> list[dict[str, Any]]:
    """One row a receipt, or a receipt that is waited for; after five minutes emptiness is unproven."""
    rows = []
    for one in erasures["erasures"]:
        state = one["state"]
        is_late = state == "missing" and now_ms - one["since_ms"] >= MISSING_MS
        rows.append({
            "id": erasure_id(one), "server": one["server"], "lease": formats.short_id(one["lease"]),
            "state": {"state": "tampered" if is_late else ERASURE_CHIPS.get(state, "neutral"), "label": t("leases.erasure.unproven" if is_late else f"leases.erasure.{state}")},
        })  # fmt: skip
    return rows


def erasure_id(one: Reply) -> str:
    return f"{one['lease']}/{one['server']}/{one['received_ms']}"


def check_lines(one: Reply, t: Say) -> list[str]:
    """What each check of a receipt looked at and found."""
    return [t("leases.check.line", name=_named("leases.check", check["name"], _CHECKS, t), found=check["found"], how=check["how"]) for check in one["checks"]]


def receipt_facts(one: Reply, t: Say, lang: formats.Lang) -> list[tuple[str, ...]]:
    """Facts of one receipt."""
    return [
        (t("leases.column.lease"), one["lease"]), (t("leases.column.server"), one["server"]), (t("leases.column.cause"), _named("leases.cause", one["reason"], _CAUSES, t)),
        (t("leases.column.time"), formats.time(one["ended_ms"] or None, lang)),
        (t("leases.column.took"), t("leases.milliseconds", count=one["ended_ms"] - one["began_ms"])), (t("leases.kept"), "、".join(one["kept"]) or t("leases.kept.none")),
        (t("leases.column.receipt"), formats.digest("SM3", one["digest"]), "mono"),
    ]  # fmt: skip


def receipt_commands(one: Reply, party: str) -> tuple[str, str]:
    """How the receipt is written to a file at this institution, and checked where no node is."""
    folder, lease = "receipts", one["lease"]
    return (
        f"workbench erase list --party {party} --lease {lease} --out {folder} DIR",
        f"workbench erase verify --trust {folder}/contract-key.txt {folder}/{lease}-{one['server']}.receipt",
    )


def cost_points(costs: Reply, t: Say) -> list[dict[str, Any]]:
    """Steps of the curve of cost, one a day."""
    return [
        {"label": one["day"][5:], "paid_fen": one["amount_fen"], "always_fen": one["always_fen"], "card_seconds": one["card_seconds"], "note": t("leases.cost.note", asks=one["asks"], cards=one["most_cards"])}
        for one in costs["days"]
    ]  # fmt: skip


def sandbox_lines(lease: Reply, t: Say, lang: formats.Lang) -> list[str]:
    """One line a sandbox: which card, what its evidence says, which controls are not on."""
    return [
        t("leases.sandbox.line", sandbox=one["sandbox"], server=one["server"], serial=one["serial"], missing="、".join(one["missing"]) or t("leases.sandbox.all_on"))
        if one["serial"]
        else t("leases.sandbox.no_evidence", sandbox=one["sandbox"], server=one["server"])
        for one in lease["sandboxes"]
        if not one["ended_ms"]
    ]


def change_lines(lease: Reply, t: Say, lang: formats.Lang) -> list[str]:
    """One line a change of the lease."""
    return [
        t("leases.change.waits" if one["at_s"] < 0 else "leases.change.line", number=one["number"], cards=one["cards"], at=formats.count(max(0, one["at_s"]), lang), until=formats.time(one["until_ms"], lang))
        for one in lease["changes"]
    ]


def key_numbers(servers: Reply, statements: Reply | None, t: Say, lang: formats.Lang) -> list[dict[str, Any]]:
    """Numbers of a provider: cards by state, ciphertext by size, card-minutes of the month."""
    bytes_all = sum(one["bytes_in"] + one["bytes_out"] for one in servers["servers"])
    made: list[dict[str, Any]] = [
        {"value": servers["leased"], "label": t("leases.server.LEASED"), "state": "info"}, {"value": servers["ready"], "label": t("leases.server.READY"), "state": "sealed"},
        {"value": servers["sanitised"], "label": t("leases.server.SANITISED")}, {"value": servers["dirty"], "label": t("leases.server.DIRTY"), **({"state": "failed"} if servers["dirty"] else {})},
        {"value": formats.size(bytes_all, lang), "label": t("provider.ciphertext")},
    ]  # fmt: skip
    if statements is not None:
        made += [{"value": statements["card_minutes"], "label": t("provider.minutes")}, {"value": f"¥{statements['amount_yuan']}", "label": t("provider.invoice")}]
    return made


__all__ = [
    "ERASURE_CHIPS", "LEASE_CHIPS", "SERVER_CHIPS", "TICK_CHIPS", "Verdict", "bar", "calendar_facts", "change_lines", "check_lines", "chosen", "cost_points", "decision_columns",
    "decision_rows", "erasure_columns", "erasure_id", "erasure_rows", "key_columns", "key_numbers", "key_rows", "key_verdict", "lease_columns", "lease_rows", "load",
    "provider_verdict", "receipt_commands", "receipt_facts", "rule_facts", "sandbox_lines", "seen_columns", "seen_rows", "server_columns", "server_may", "server_rows", "settled_at", "statement_columns",
    "statement_rows", "tenant_verdict", "tick_columns", "tick_rows",
]  # fmt: skip
