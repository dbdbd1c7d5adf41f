"""Section of the page of models: machines that may ask, the office system and the customers' app. docs/channels.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from workbench.app.page import PageContext
from workbench.app.parts import layout, notes
from workbench.app.parts.acting import Act, Acting, Field
from workbench.app.parts.notes import Notes
from workbench_inference.pages.models_sections import ModelsSection
from workbench_widgets import DataTable
from workbench_widgets.panel_pane import pane

CONFIRM: Final = Act("inference.channel_confirm", (Field("reason"),), password=True)
REVOKE: Final = Act("inference.channel_revoke", (Field("reason"),))
EVERY: Final = (CONFIRM, REVOKE)
_STATE: Final = {"waiting": "pending", "live": "sealed", "ended": "neutral", "revoked": "refused"}
_RULES: Final = ("scope", "class", "words", "made")


class Channels(ModelsSection):
    """A secret is made on the command line, which writes it into a file; no page shows one."""

    name = "channels"
    operation = "inference.channels"
    reads = ("inference.channels",)

    def __init__(self, page: PageContext, changed: Callable[[], None]) -> None:
        super().__init__(page, changed)
        self.credentials = DataTable(page_size=12, state="loading")
        self.credentials.on_action(lambda _name, told: page.start(self._act, str(told.get("id", "")), str(told.get("name", ""))), "act")
        self.acting = Acting(page, EVERY, self.again, from_row=True)
        self.acting.offer([])
        self.what = Notes()
        self.root = layout.split(layout.stack(pane(self.credentials), self.acting.root), layout.stack(self.what), side_px=420)

    async def _act(self, credential: str, name: str) -> None:
        one = next((one for one in self.found["inference.channels"]["channels"] if one["credential"] == credential), None)
        if one is not None:
            act = CONFIRM if name == "confirm" else REVOKE
            self.acting.offer([act.operation], name=one["name"])
            await self.acting.open(act.operation)

    def draw(self) -> None:
        found, t = self.found.get("inference.channels"), self.t
        self.what.tell(notes.heading(t("models.channels.what")), notes.bullets([t(f"models.channels.rule.{one}") for one in _RULES]))
        labels = [("confirm", CONFIRM), ("revoke", REVOKE)]
        self.credentials.row_actions = [{"name": name, "label": t(f"models.channels.{name}")} for name, act in labels if self.page.may(act.operation)]
        self.table(
            self.credentials, "channels",
            (("name", "name", "mono"), ("channel", "channel"), ("role", "role"), ("state", "state", "state"), ("asks", "asked", "count"), ("until", "until", "date"), ("people", "added")),
            None if found is None else [
                {
                    "id": one["credential"], "name": one["name"], "channel": t(f"models.channel.{one['channel']}"), "role": t(f"option.role.{one['role']}"), "asks": one["asks"],
                    "state": {"state": _STATE[one["state"]], "label": t(f"models.credential.{one['state']}")}, "until": one["until_ms"] - 1,
                    "people": f"{one['first']} → {one['second'] or '—'}",
                    "can": [*(["confirm"] if one["may_confirm"] else []), *(["revoke"] if one["state"] != "revoked" else [])],
                }
                for one in found["channels"]
            ],
            t("models.channels.hint"),
        )  # fmt: skip


__all__ = ["CONFIRM", "EVERY", "REVOKE", "Channels"]
