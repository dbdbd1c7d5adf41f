"""What can be had and what it gets through, from replies alone: the catalogue of a provider, and answers a minute by cards. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from workbench_inference.pages.leases_drawing import Reply, Say
from workbench_widgets import formats

REFUSALS: Final = frozenset({"NO_CAPACITY", "ASSURANCE_TOO_LOW", "TARIFF_DIFFERS", "FREEZE_WINDOW", "LEASE_CHANGE", "NO_LEASE"})
"""Codes of a provider that have a word on the page; another stands for itself."""
_LEVELS: Final = ("process", "gvisor", "tee")


# ------------------------------------------------------------------ the catalogue


def pool_columns(t: Say) -> list[dict[str, Any]]:
    """Of the table of pools, at either end."""
    return [
        {"key": "pool", "label": t("leases.column.pool")}, {"key": "free", "label": t("catalogue.free"), "kind": "count", "align": "right"},
        {"key": "most", "label": t("catalogue.most"), "kind": "count", "align": "right"}, {"key": "price", "label": t("catalogue.price"), "kind": "money", "align": "right"},
    ]  # fmt: skip


def pool_rows(found: Reply, t: Say) -> list[dict[str, Any]]:
    """One row a pool of `inference.offer`, or of `inference.servers` at a provider."""
    return [
        {"id": one["pool"], "pool": t(f"leases.pool.{one['pool']}"), "free": one["free"], "most": one["most_cards"], "price": found["fen_per_card_minute"]}
        for one in found["pools"]
    ]  # fmt: skip


def catalogue_facts(found: Reply, t: Say, lang: formats.Lang, *, images: str, programs: Sequence[str]) -> list[tuple[str, str]]:
    """Levels of isolation, programs that may run inside, images that are there, and how soon a card answers."""
    join = "、" if lang == "zh" else ", "
    levels = [t(f"leases.assurance.{one}") if one in _LEVELS else one for one in found["assurance"]]
    return [
        (t("catalogue.levels"), join.join(levels) or formats.ABSENT), (t("catalogue.images"), images or t("catalogue.images.none")),
        (t("catalogue.programs"), join.join(programs) or t("catalogue.programs.none")), (t("catalogue.ready"), t("catalogue.ready_is", seconds=found["ready_s"])),
    ]  # fmt: skip


def image_names(offer: Reply, known: Mapping[str, str], lang: formats.Lang) -> str:
    """Images that the provider has of this institution, by name where it is known here."""
    return ("、" if lang == "zh" else ", ").join(known.get(one, one[:8]) for one in offer["images"])


def freeze_lines(offer: Reply, t: Say, lang: formats.Lang) -> list[str]:
    """Stretches in which nothing is leased, and how long one has to wait now."""
    lines = [t("catalogue.freeze", start=formats.time(start, lang), until=formats.time(until, lang)) for start, until in offer["freezes"]]
    return [*([t("catalogue.retry", seconds=offer["retry_after_s"])] if offer["retry_after_s"] else []), *lines]


# ------------------------------------------------------------------ answers by cards


def growth(rows: Sequence[Reply], t: Say, lang: formats.Lang) -> dict[str, Any]:
    """Traits of the chart: the fullest minute and the mean by cards, and where answers would stand if they grew as cards do.

    The straight line goes through the fewest cards that were measured: a line through what was never measured would be a promise.
    """
    if not rows:
        return {"panels": [], "said": t("growth.none")}
    first, last = rows[0], rows[-1]
    each = first["most"] / first["cards"]
    across = max(2, last["cards"])
    straight = [[0, 0], [across, each * across]]
    return {
        "panels": [
            {
                "title": t("growth.axis"),
                "lines": [
                    {"label": t("growth.straight"), "kind": "third", "points": straight}, {"label": t("growth.mean"), "kind": "first", "points": [[one["cards"], one["mean"]] for one in rows]},
                    {"label": t("growth.most"), "kind": "second", "points": [[one["cards"], one["most"]] for one in rows]},
                    {"label": "", "kind": "points", "points": [[one["cards"], one["most"]] for one in rows]},
                ],
            }
        ],
        "timed": False, "across_label": t("growth.cards"), "start": 0.0, "stop": float(across),
        "said": (
            t("growth.said.one", cards=first["cards"], most=first["most"])
            if len(rows) == 1
            else t("growth.said", first=first["cards"], few=first["most"], last=last["cards"], many=last["most"], share=formats.share(last["most"] / (each * last["cards"]) if each else None, 0, lang))
        ),
    }  # fmt: skip


def growth_columns(t: Say) -> list[dict[str, Any]]:
    """Of the same figures as a table."""
    names = ("cards", "most", "each", "mean", "asks", "minutes")
    return [{"key": one, "label": t(f"growth.column.{one}"), "align": "right", **({"kind": "count"} if one not in ("minutes", "each") else {})} for one in names]


def growth_rows(rows: Sequence[Reply]) -> list[dict[str, Any]]:
    """One row a number of cards."""
    return [
        {
            "id": str(one["cards"]), "cards": one["cards"], "most": one["most"], "each": f"{one['most'] / one['cards']:.1f}", "mean": one["mean"], "asks": one["asks"],
            "minutes": f"{one['seconds'] / 60:.1f}",
        }
        for one in rows
    ]  # fmt: skip


# ------------------------------------------------------------------ what became of a decision


def outcome(one: Reply, t: Say) -> dict[str, str]:
    """A decision that the provider refused is red and says why; one of another scaler names it."""
    if one["code"]:
        return {"state": "refused", "label": t("leases.decision.refused", reason=t(f"leases.refusal.{one['code']}") if one["code"] in REFUSALS else one["code"])}
    if one["scaler"] != "processes":
        return {"state": "neutral", "label": t("leases.decision.outside", scaler=one["scaler"])}
    return {"state": "info", "label": t("leases.decision.given")}


def outside_fact(scaling: Reply, t: Say, lang: formats.Lang) -> list[tuple[str, str]]:
    """Which leases a scaler outside counts; nothing where cards are all there is."""
    if scaling["scaler"] == "processes":
        return []
    return [(t("leases.rule.outside"), ("、" if lang == "zh" else ", ").join(scaling["outside"]) or t("leases.rule.outside.none"))]


__all__ = [
    "REFUSALS", "catalogue_facts", "freeze_lines", "growth", "growth_columns", "growth_rows", "image_names", "outcome", "outside_fact", "pool_columns", "pool_rows",
]  # fmt: skip
