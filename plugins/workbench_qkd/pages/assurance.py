"""Two cards of the page Quantum channel: how well the line served today, and when the key device was last checked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.notes import Notes
from workbench.errors import WorkbenchError
from workbench_qkd.pages.drawing import rate
from workbench_widgets import formats

Reply = Mapping[str, Any]
Translate = Callable[..., str]
READ_AGAIN_S = 30.0
LISTED = 3
LONG_MS = 86_000_000
TONES = {"reached": "sealed", "missed": "failed", "unknown": "pending", "none": ""}
CHECK_TONES = {"passed": "sealed", "failed": "failed", "overdue": "pending", "unscheduled": "failed"}


class Assurance:
    """Both cards. The last day of the line that is shown, read again now and then."""

    def __init__(self, page: PageContext) -> None:
        self.page = page
        self.line = ""
        self.found: Reply | None = None
        self._read_s = 0.0
        self.service, self.device = Notes(), Notes()
        self.root = layout.stack(self.service, self.device)

    async def read(self, line: str) -> None:
        """Ask for the quality of service of a line; what cannot be asked leaves the card away and is said above the page."""
        page = self.page
        if not page.may("qkd.quality") or (line == self.line and time.monotonic() - self._read_s < READ_AGAIN_S):
            return
        if line != self.line:
            self.found = None
        self.line, self._read_s = line, time.monotonic()
        try:
            self.found = await page.run(page.client.call, "qkd.quality", line=line)
        except WorkbenchError as error:
            self.found = None
            self.service.tell(notes.heading(page.t("quality.title")), notes.text(f"{error.zh if page.lang == 'zh' else error.en}　{error.code}", tone="refused"))

    def draw(self, status: Reply) -> None:
        """From what was read last."""
        page = self.page
        lang: formats.Lang = "zh" if page.lang == "zh" else "en"
        self.device.tell(*check_blocks(status, page.t, lang))
        if self.found is not None:
            self.service.tell(*quality_blocks(self.found, page.t, lang))


def quality_blocks(found: Reply, t: Translate, lang: formats.Lang) -> list[Any]:
    """The card: what was watched first, then each objective with what was found, then the newest times without keys."""
    wanted = {one["name"]: one for one in found["objectives"]}

    def row(name: str, value: str, objective: str) -> tuple[str, str, str]:
        one = wanted[name]
        told = value if one["verdict"] == "none" else t("quality.of", value=value, objective=objective, verdict=t(f"quality.{one['verdict']}"))
        return t(f"quality.{name}"), told, TONES[one["verdict"]]

    latency = t("quality.percentiles", p50=_ms(found["p50_ms"]), p95=_ms(found["p95_ms"])) if found["p95_ms"] >= 0 else t("quality.not_measured")
    mean = t("quality.rates", mean=rate(found["mean_bps"], lang), least=rate(found["least_bps"], lang)) if found["mean_bps"] >= 0 else t("quality.not_measured")
    blocks = [
        notes.heading(t("quality.title"), t("quality.hint")),
        notes.facts(
            (t("quality.observed"), down(found["coverage"], lang)),
            row("availability", down(found["availability"], lang), f"{wanted['availability']['wanted']:g} %"),
            row("latency", latency, f"{wanted['latency']['wanted']:g} ms"),
            row("rate", mean, rate(wanted["rate"]["wanted"], lang)),
            (t("quality.requests"), t("quality.asked", requests=formats.count(found["requests"], lang), failed=formats.count(found["failed_requests"], lang))),
        ),
    ]
    if found["coverage"] < 1:
        blocks.append(notes.text(t("quality.gaps", time=length(found["gap_ms"], lang)), meta=True))
    if found["downtimes"]:
        rows = [
            t("quality.down", time=formats.time(one["from_ms"], lang), cause=t(f"quality.cause.{one['cause']}"), length=length(one["ms"], lang))
            for one in found["downtimes"][:LISTED]
        ]
        blocks.append(notes.bullets(rows, title=t("quality.downs"), mark="warn"))
        more = len(found["downtimes"]) + found["downtimes_left_off"] - LISTED
        if more > 0:
            blocks.append(notes.text(t("quality.more", count=formats.count(more, lang)), meta=True))
    return blocks


def check_blocks(status: Reply, t: Translate, lang: formats.Lang) -> list[Any]:
    """When the key device was checked, what came of it, when the next check is due. Nothing while the entity is away."""
    state = status["self_test_state"]
    if not state:
        return []
    cause = status["self_test_cause"]
    due = status["self_test_next_ms"]
    return [
        notes.heading(t("check.title"), t("check.every", hours=status["self_test_hours"]) if status["self_test_hours"] else t("check.never")),
        notes.text(t(f"check.{state}"), tone=CHECK_TONES.get(state, "")),
        notes.facts(
            (t("check.last"), formats.time(status["self_tested_ms"], lang)),
            (t("check.cause"), t(f"check.cause.{cause}") if cause else ""),
            (t("check.next"), formats.time(due, lang) if due else ""),
        ),
    ]


def length(ms: int, lang: formats.Lang) -> str:
    """A length of time; from a day on in hours, for whole days would round up too much."""
    if ms < LONG_MS:
        return formats.duration(ms / 1000, lang)
    return formats.quantity(ms / 3_600_000, "小时" if lang == "zh" else "h", 1, lang)


def down(share: float, lang: formats.Lang) -> str:
    """A share as per cent, rounded down: what is not whole is not called whole."""
    return formats.share(math.floor(share * 10_000) / 10_000 if share >= 0 else None, 2, lang)


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


__all__ = ["CHECK_TONES", "TONES", "Assurance", "check_blocks", "down", "length", "quality_blocks"]
