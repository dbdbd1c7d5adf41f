"""Section of the page of models: images this institution signed, what runs each, and signing another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Acting
from workbench.app.parts.notes import Notes
from workbench_inference.pages import models_acts as acts
from workbench_inference.pages.models_sections import ModelsSection, Reply
from workbench_widgets import DataTable, formats
from workbench_widgets.panel_pane import pane

_LIVE = ("ORDERED", "RUNNING")
_STATES = {"signed": "sealed", "ready": "sealed", "pulling": "pending", "refused": "refused"}


class Images(ModelsSection):
    """Which models there are, what each is made of, and which lease runs it now."""

    name = "images"
    operation = "inference.models"
    reads = ("inference.models", "inference.leases")

    def __init__(self, page: PageContext, changed: Callable[[], None]) -> None:
        super().__init__(page, changed)
        self.opened = ""
        self.images = DataTable(page_size=10, openable=True, state="loading")
        self.images.on_action(lambda _name, told: self._open(str(told.get("id", ""))), "open")
        self.detail, self.way = Notes(), Notes()
        self.signing = Acting(page, (acts.SIGN,), self.again, choices=self._choices)
        self.signing.offer([acts.SIGN.operation])
        self.root = layout.split(layout.stack(pane(self.images), self.signing.root), layout.stack(self.detail, self.way), side_px=420)

    def _choices(self, name: str) -> Mapping[str, str]:
        """Engines of which an image could be signed here, in words, and servers that it may start inside."""
        if name == "program":
            return {self.t("models.image.program.none"): "", **{one: one for one in (self.found.get("inference.models") or {}).get("programs", [])}}
        recipes = (self.found.get("inference.models") or {}).get("recipes", [])
        split = [one.split(" ") for one in recipes]
        return {f"{one[0]} · {self._kind(one[1])}": one[0] for one in split}

    def _kind(self, kind: str) -> str:
        return self.t(f"ask.engine.{kind}") if kind in ("extractive", "generator", "upstream") else kind

    def _open(self, image: str) -> None:
        self.opened = image
        self._draw_detail()
        self.detail.take_focus()

    def draw(self) -> None:
        found, t = self.found.get("inference.models"), self.t
        if acts.SIGN.operation in self.signing.acts:
            self.signing.acts[acts.SIGN.operation] = acts.SIGN if (found or {}).get("programs") else acts.SIGN_ALONE
        rows = None if found is None else [
            {
                "id": one["id"], "name": f"{one['name']} {one['version']}", "engine": f"{one['engine']} {one['engine_version']}", "kind": self._kind(one["engine_kind"]),
                "weights": self._weights(one), "size": one["bytes"] or None, "lease": self._leases(one["id"]),
                "state": {"state": _STATES.get(one["state"], "neutral"), "label": t(f"models.image.state.{one['state']}")}, "made": one["made_ms"],
            }
            for one in found["images"]
        ]  # fmt: skip
        columns: list[tuple[str, str] | tuple[str, str, str]] = [("name", "model"), ("kind", "engine_kind"), ("weights", "weights"), ("size", "size", "size"), ("state", "state", "state"), ("made", "made", "time")]
        if "inference.leases" in self.found:
            columns.insert(4, ("lease", "lease"))
        self.table(self.images, "images", columns, rows, t("models.images.hint"))
        self.way.tell(notes.heading(t("models.router")), notes.bullets([t(f"models.router.{one}") for one in ("scenario", "stand_in", "named", "measured")]))
        self._draw_detail()

    def _weights(self, one: Reply) -> str:
        return ", ".join(path.rsplit("/", 1)[-1] for path in one["weights"]) or self.t("models.image.program" if one["engine_kind"] != "extractive" else "models.words_only")

    def _leases(self, image: str) -> str:
        live = [one["lease"] for one in (self.found.get("inference.leases") or {}).get("leases", []) if one["image"] == image and one["state"] in _LIVE]
        return ", ".join(live) or "—"

    def _draw_detail(self) -> None:
        t = self.t
        one: Reply | None = next((one for one in (self.found.get("inference.models") or {}).get("images", []) if one["id"] == self.opened), None)
        if one is None:
            self.detail.tell(notes.text(t("models.image.choose"), meta=True))
            return
        rows: list[tuple[str, Any]] = [
            (t("models.image.id"), formats.digest("SM3", one["id"])), (t("models.column.engine"), f"{one['engine']} {one['engine_version']} · {self._kind(one['engine_kind'])}"),
            (t("models.image.place"), t(f"models.image.place.{one['place']}")), (t("models.column.weights"), self._weights(one)),
            (t("models.image.runtime"), t("models.image.runtime.image") if one["runtime"] == "image" else formats.digest("SM3", one["runtime"])),
            (t("models.image.memory"), formats.size(one["memory_bytes"], self.lang)), (t("models.image.by"), self.party(one["tenant"])),
        ]  # fmt: skip
        if one["program"]:
            rows.insert(3, (t("models.image.inside"), one["program"]))
        licences = notes.bullets(one["licences"], title=t("models.image.licences")) if one["licences"] else notes.text(t("models.image.no_weights"), meta=True)
        self.detail.tell(notes.heading(f"{one['name']} {one['version']}"), notes.facts(*rows), licences)


__all__ = ["Images"]
